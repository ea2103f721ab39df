-- Finding messages by their words. Times go in and out as microseconds since 1970.
--
-- Every search is confined to a scope: the chats of the user between two ids (one chat, or all). The
-- words are made a tsquery once, in a query of their own, not for every row. The scope is joined chat
-- by chat, which reads the index messages_search by chat and words together; what others write in
-- chats outside the scope costs nothing.

-- name: HasLanguage
SELECT oid::bigint AS id
FROM pg_ts_config
WHERE cfgname = :language AND pg_ts_config_is_visible(oid);

-- name: UnderstandQuery
-- What an index can be asked for: nothing at all, 0; everything, 1, as in a query of nothing but
-- words that must not occur; or words, 2.
SELECT CASE querytree(words) WHEN '' THEN 0 WHEN 'T' THEN 1 ELSE 2 END::bigint AS id
FROM websearch_to_tsquery(:language::text::regconfig, :query::text) AS words;

-- name: FindScope
-- Why a search may find nothing.
SELECT EXISTS (SELECT 1 FROM users WHERE id = :user_id::bigint)::integer AS user_exists,
       EXISTS (SELECT 1 FROM chats WHERE id = :chat_id::bigint)::integer AS chat_exists,
       EXISTS (SELECT 1 FROM chat_user
               WHERE chat_id = :chat_id::bigint AND user_id = :user_id::bigint)::integer
         AS is_member;

-- name: SearchNewest
WITH scope AS MATERIALIZED (
  SELECT c.id, c.first_seq
  FROM chat_user AS member
  JOIN chats AS c ON c.id = member.chat_id
  WHERE member.user_id = :user_id::bigint
    AND member.chat_id BETWEEN :first_chat_id::bigint AND :last_chat_id::bigint
), wanted AS MATERIALIZED (
  SELECT websearch_to_tsquery(:language::text::regconfig, :query::text) AS words
), found AS (
  SELECT m.chat_id, m.seq, m.created_at
  FROM scope
  JOIN messages AS m ON m.chat_id = scope.id AND m.seq >= scope.first_seq
  WHERE m.search @@ (SELECT words FROM wanted) AND NOT m.deleted
    AND (:after_us::bigint IS NULL
         OR (m.created_at, m.chat_id, m.seq)
            < ('epoch'::timestamptz + :after_us::bigint * interval '1 microsecond',
               :after_chat_id::bigint, :after_seq::bigint))
  ORDER BY m.created_at DESC, m.chat_id DESC, m.seq DESC
  OFFSET :offset LIMIT :limit
)
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted::integer AS deleted, m.revision,
       m.version, coalesce(m.reply_to_seq, 0) AS reply_to_seq,
       (extract(epoch FROM m.created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM m.updated_at) * 1000000)::bigint AS update_us,
       '0' AS rank
FROM found
JOIN messages AS m ON m.chat_id = found.chat_id AND m.seq = found.seq
ORDER BY found.created_at DESC, found.chat_id DESC, found.seq DESC;

-- name: WalkNewest
-- For queries that the index cannot be asked: it would answer by reading all that it has, once for
-- each chat. Nearly every message matches, so each chat is walked from its end until it has given
-- what a page may need. The function, unlike its operator, keeps the planner off the index.
WITH scope AS MATERIALIZED (
  SELECT c.id, c.first_seq
  FROM chat_user AS member
  JOIN chats AS c ON c.id = member.chat_id
  WHERE member.user_id = :user_id::bigint
    AND member.chat_id BETWEEN :first_chat_id::bigint AND :last_chat_id::bigint
), wanted AS MATERIALIZED (
  SELECT websearch_to_tsquery(:language::text::regconfig, :query::text) AS words
)
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted::integer AS deleted, m.revision,
       m.version, coalesce(m.reply_to_seq, 0) AS reply_to_seq,
       (extract(epoch FROM m.created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM m.updated_at) * 1000000)::bigint AS update_us,
       '0' AS rank
FROM scope
CROSS JOIN LATERAL (
  SELECT *
  FROM messages
  WHERE chat_id = scope.id AND seq >= scope.first_seq
    AND ts_match_vq(search, (SELECT words FROM wanted)) AND NOT deleted
    AND (:after_us::bigint IS NULL
         OR (created_at, chat_id, seq)
            < ('epoch'::timestamptz + :after_us::bigint * interval '1 microsecond',
               :after_chat_id::bigint, :after_seq::bigint))
  ORDER BY seq DESC
  LIMIT :offset::bigint + :limit::bigint
) AS m
ORDER BY m.created_at DESC, m.chat_id DESC, m.seq DESC
OFFSET :offset LIMIT :limit;

-- name: SearchRanked
-- A rank goes out and comes back as text that PostgreSQL reads as the same number.
WITH scope AS MATERIALIZED (
  SELECT c.id, c.first_seq
  FROM chat_user AS member
  JOIN chats AS c ON c.id = member.chat_id
  WHERE member.user_id = :user_id::bigint
    AND member.chat_id BETWEEN :first_chat_id::bigint AND :last_chat_id::bigint
), wanted AS MATERIALIZED (
  SELECT websearch_to_tsquery(:language::text::regconfig, :query::text) AS words
), matching AS (
  SELECT m.chat_id, m.seq, m.created_at, ts_rank(m.search, (SELECT words FROM wanted)) AS rank
  FROM scope
  JOIN messages AS m ON m.chat_id = scope.id AND m.seq >= scope.first_seq
  WHERE m.search @@ (SELECT words FROM wanted) AND NOT m.deleted
), found AS (
  SELECT chat_id, seq, created_at, rank
  FROM matching
  WHERE :after_us::bigint IS NULL
    OR (rank, created_at, chat_id, seq)
       < (:after_rank::text::real,
          'epoch'::timestamptz + :after_us::bigint * interval '1 microsecond',
          :after_chat_id::bigint, :after_seq::bigint)
  ORDER BY rank DESC, created_at DESC, chat_id DESC, seq DESC
  OFFSET :offset LIMIT :limit
)
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted::integer AS deleted, m.revision,
       m.version, coalesce(m.reply_to_seq, 0) AS reply_to_seq,
       (extract(epoch FROM m.created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM m.updated_at) * 1000000)::bigint AS update_us,
       found.rank::text AS rank
FROM found
JOIN messages AS m ON m.chat_id = found.chat_id AND m.seq = found.seq
ORDER BY found.rank DESC, found.created_at DESC, found.chat_id DESC, found.seq DESC;

-- name: WalkRanked
-- SearchRanked for queries that the index cannot be asked: it reads the scope once.
WITH scope AS MATERIALIZED (
  SELECT c.id, c.first_seq
  FROM chat_user AS member
  JOIN chats AS c ON c.id = member.chat_id
  WHERE member.user_id = :user_id::bigint
    AND member.chat_id BETWEEN :first_chat_id::bigint AND :last_chat_id::bigint
), wanted AS MATERIALIZED (
  SELECT websearch_to_tsquery(:language::text::regconfig, :query::text) AS words
), matching AS (
  SELECT m.chat_id, m.seq, m.created_at, ts_rank(m.search, (SELECT words FROM wanted)) AS rank
  FROM scope
  JOIN messages AS m ON m.chat_id = scope.id AND m.seq >= scope.first_seq
  WHERE ts_match_vq(m.search, (SELECT words FROM wanted)) AND NOT m.deleted
), found AS (
  SELECT chat_id, seq, created_at, rank
  FROM matching
  WHERE :after_us::bigint IS NULL
    OR (rank, created_at, chat_id, seq)
       < (:after_rank::text::real,
          'epoch'::timestamptz + :after_us::bigint * interval '1 microsecond',
          :after_chat_id::bigint, :after_seq::bigint)
  ORDER BY rank DESC, created_at DESC, chat_id DESC, seq DESC
  OFFSET :offset LIMIT :limit
)
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted::integer AS deleted, m.revision,
       m.version, coalesce(m.reply_to_seq, 0) AS reply_to_seq,
       (extract(epoch FROM m.created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM m.updated_at) * 1000000)::bigint AS update_us,
       found.rank::text AS rank
FROM found
JOIN messages AS m ON m.chat_id = found.chat_id AND m.seq = found.seq
ORDER BY found.rank DESC, found.created_at DESC, found.chat_id DESC, found.seq DESC;
