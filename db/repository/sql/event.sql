-- What happens in chats, for those who watch them. Times leave as microseconds since 1970.

-- name: FindPositions
SELECT id AS chat_id, last_seq, last_event
FROM chats
WHERE id = ANY (:chat_ids::bigint[]);

-- name: FindMoved
-- Which of these chats have gone on since.
SELECT chats.id
FROM unnest(:chat_ids::bigint[], :seqs::bigint[], :events::bigint[]) AS known (chat_id, seq, event)
JOIN chats ON chats.id = known.chat_id
WHERE chats.last_seq > known.seq OR chats.last_event > known.event;

-- name: ReadEvents
-- The chat itself, then what was sent, then what was changed, all in one snapshot: so whatever is
-- not among the rows although the chat counts it has been removed, and will not come later.
WITH chat AS MATERIALIZED (
  SELECT id, first_seq, last_seq, last_event FROM chats WHERE id = :chat_id::bigint
), sent AS (
  SELECT seq
  FROM messages
  WHERE chat_id = :chat_id::bigint AND seq > :seq::bigint
    AND seq >= (SELECT first_seq FROM chat)
  ORDER BY seq
  LIMIT :limit::bigint
), changed AS (
  SELECT e.kind, e.event, e.seq
  FROM message_events AS e
  WHERE e.chat_id = :chat_id::bigint AND e.event > :event::bigint
    AND e.seq >= (SELECT first_seq FROM chat)
  ORDER BY e.event
  LIMIT :limit::bigint
), happened AS (
  SELECT 1 AS place, 'sent' AS kind, 0::bigint AS event, seq FROM sent
  UNION ALL
  SELECT 2, kind, event, seq FROM changed
)
SELECT 0 AS place, 'chat' AS kind, last_event AS event, id AS chat_id, last_seq AS seq,
       0::bigint AS id, 0::bigint AS user_id, '' AS text, 0 AS deleted, 0 AS revision,
       0::bigint AS version, 0::bigint AS reply_to_seq, 0::bigint AS create_us,
       0::bigint AS update_us
FROM chat
UNION ALL
SELECT happened.place, happened.kind, happened.event, m.chat_id, m.seq, m.id, m.user_id, m.text,
       m.deleted::integer, m.revision, m.version, coalesce(m.reply_to_seq, 0),
       (extract(epoch FROM m.created_at) * 1000000)::bigint,
       (extract(epoch FROM m.updated_at) * 1000000)::bigint
FROM happened
JOIN messages AS m ON m.chat_id = :chat_id::bigint AND m.seq = happened.seq
ORDER BY place, event, seq;

-- name: ListMemberships
SELECT chat_id, user_id, joined_seq, joined_event
FROM chat_user
WHERE user_id = ANY (:user_ids::bigint[]);

-- name: FindMembers
-- Those of the users who are in the chat.
SELECT chat_id, user_id, joined_seq, joined_event
FROM chat_user
WHERE chat_id = :chat_id AND user_id = ANY (:user_ids::bigint[]);

-- name: FindUsers
SELECT id FROM users WHERE id = ANY (:user_ids::bigint[]);

-- name: NotifyIds
-- In a transaction of its own: a commit with a notification is serialized with all others like it. It
-- does not wait for the disk, nor does a writer's commit wait behind it: after a crash nobody listens.
SELECT pg_notify(:channel::text, :payload::text)::text AS sent,
  set_config('synchronous_commit', 'off', true) AS unsynced;
