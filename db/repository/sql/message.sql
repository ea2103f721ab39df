-- Messages. Two kinds of statements: those with $1, $2... are for the hot lane (db/core/read_lane.h,
-- merge_lane.h), binary both ways; those with :names are for sessions, and times leave them as
-- microseconds since 1970. A message below its chat's first_seq is not there for anybody.

-- name: LockChatToSend
-- First the lock, in a statement of its own: the next one's snapshot then sees what whoever held the
-- lock before has committed.
SELECT id FROM chats WHERE id = :chat_id FOR NO KEY UPDATE;

-- name: LockChatNowOrNever
SELECT id FROM chats WHERE id = $1::bigint FOR NO KEY UPDATE NOWAIT;

-- name: AdvanceChats
-- The lock on all chats of a batch, taken by the update itself, in the order of their ids as far as
-- the server keeps to it; and room for their messages. Messages' times never go back.
UPDATE chats AS c
SET last_seq = c.last_seq + room.messages, last_sent_at = greatest(c.last_sent_at, now())
FROM unnest($1::bigint[], $2::bigint[]) AS room (chat_id, messages)
WHERE c.id = room.chat_id;

-- name: InsertMessages
-- Under the locks of AdvanceChats, and with a snapshot later than they: judges each message, writes
-- those that may be written without leaving holes, and gives back the room of those that may not. One
-- row comes back for each: what it was judged by, the seq, id and time it was written with, and the
-- message that its request id wrote before, of which retention may have left no more than its seq.
WITH item AS MATERIALIZED (
  SELECT i.position, i.chat_id, i.user_id, i.text, i.request_id, i.fingerprint, i.reply_to_seq,
         c.last_seq, c.last_sent_at,
         member.user_id IS NOT NULL AS is_member,
         coalesce(u.status = 'active', false) AS is_active,
         i.reply_to_seq IS NULL OR (i.reply_to_seq >= c.first_seq AND reply.seq IS NOT NULL)
           AS has_reply,
         c.first_seq,
         coalesce(earlier.seq, retired.seq) AS earlier_seq,
         coalesce(earlier.request_fingerprint, retired.request_fingerprint) AS earlier_fingerprint
  FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[])
       WITH ORDINALITY
       AS i (chat_id, user_id, text, request_id, fingerprint, reply_to_seq, position)
  JOIN chats AS c ON c.id = i.chat_id
  LEFT JOIN chat_user AS member ON member.chat_id = i.chat_id AND member.user_id = i.user_id
  LEFT JOIN users AS u ON u.id = member.user_id
  LEFT JOIN messages AS earlier
    ON earlier.chat_id = i.chat_id AND earlier.user_id = i.user_id
   AND earlier.request_id = i.request_id
  LEFT JOIN retired_requests AS retired
    ON c.first_seq > 1 AND retired.chat_id = i.chat_id AND retired.user_id = i.user_id
   AND retired.request_id = i.request_id
  LEFT JOIN messages AS reply ON reply.chat_id = i.chat_id AND reply.seq = i.reply_to_seq
), placed AS MATERIALIZED (
  SELECT item.*, count(*) OVER (PARTITION BY chat_id) AS room,
         count(*) FILTER (WHERE is_active AND has_reply AND earlier_seq IS NULL)
           OVER (PARTITION BY chat_id ORDER BY position) AS place
  FROM item
), numbered AS MATERIALIZED (
  SELECT placed.*, last_seq - room + place AS seq,
         CASE WHEN is_active AND has_reply AND earlier_seq IS NULL
              THEN nextval('message_id_seq') END AS id
  FROM placed
), inserted AS (
  INSERT INTO messages (chat_id, seq, id, user_id, text, search, request_id, request_fingerprint,
                        reply_to_seq, created_at, updated_at)
  SELECT chat_id, seq, id, user_id, text, to_tsvector($7::text::regconfig, text), request_id,
         fingerprint, reply_to_seq, last_sent_at, last_sent_at
  FROM numbered
  WHERE id IS NOT NULL
), given_back AS (
  UPDATE chats
  SET last_seq = chats.last_seq - waste.messages
  FROM (SELECT chat_id, max(room) - max(place) AS messages FROM numbered
        GROUP BY chat_id HAVING max(room) > max(place)) AS waste
  WHERE chats.id = waste.chat_id
), counted AS (
  UPDATE chat_user
  SET own_unread = own_unread + own.messages
  FROM (SELECT chat_id, user_id, count(*) AS messages FROM numbered
        WHERE id IS NOT NULL GROUP BY chat_id, user_id) AS own
  WHERE chat_user.chat_id = own.chat_id AND chat_user.user_id = own.user_id
)
SELECT numbered.position, numbered.is_member, numbered.is_active, numbered.has_reply,
       numbered.seq, numbered.id, numbered.last_sent_at, numbered.earlier_seq,
       numbered.earlier_fingerprint, earlier.chat_id, earlier.seq, earlier.id, earlier.user_id, earlier.text, earlier.deleted,
       earlier.revision, earlier.version, earlier.reply_to_seq, earlier.created_at,
       earlier.updated_at
FROM numbered
LEFT JOIN messages AS earlier
  ON earlier.chat_id = numbered.chat_id AND earlier.seq = numbered.earlier_seq
 AND earlier.seq >= numbered.first_seq;

-- name: GetMessage
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted, m.revision, m.version,
       m.reply_to_seq, m.created_at, m.updated_at
FROM messages AS m
JOIN chats AS c ON c.id = m.chat_id
WHERE m.chat_id = $1::bigint AND m.seq = $2::bigint AND m.seq >= c.first_seq;

-- name: GetMessageById
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted, m.revision, m.version,
       m.reply_to_seq, m.created_at, m.updated_at
FROM messages AS m
JOIN chats AS c ON c.id = m.chat_id
WHERE m.id = $1::bigint AND m.seq >= c.first_seq;

-- name: BatchGetMessages
-- Each by its key. With `seq = ANY`, or a join that may be turned round, a big chat among many small ones
-- was read from end to end.
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted, m.revision, m.version,
       m.reply_to_seq, m.created_at, m.updated_at
FROM chats AS c
CROSS JOIN unnest($2::bigint[]) AS wanted (seq)
CROSS JOIN LATERAL (
  SELECT * FROM messages WHERE chat_id = $1::bigint AND seq = wanted.seq LIMIT 1) AS m
WHERE c.id = $1::bigint AND m.seq >= c.first_seq;

-- name: BatchGetMessagesById
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted, m.revision, m.version,
       m.reply_to_seq, m.created_at, m.updated_at
FROM unnest($1::bigint[]) AS wanted (id)
JOIN messages AS m ON m.id = wanted.id
JOIN chats AS c ON c.id = m.chat_id
WHERE m.seq >= c.first_seq;

-- name: ListNewest
-- The newest messages before $2; with $4, tombstones too. No row: there is no such chat. One row of
-- NULLs: there is nothing to list.
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted, m.revision, m.version,
       m.reply_to_seq, m.created_at, m.updated_at
FROM chats AS c
LEFT JOIN LATERAL (
  SELECT *
  FROM messages
  WHERE chat_id = $1::bigint AND seq < $2::bigint AND seq >= c.first_seq
    AND (NOT deleted OR $4::boolean)
  ORDER BY seq DESC
  LIMIT $3::bigint
) AS m ON true
WHERE c.id = $1::bigint;

-- name: ListNewestAtOffset
-- The same, $5 messages further. Without tombstones a message's distance from the newest one is plain
-- subtraction; `step` goes as far, then as much further as there were tombstones on the way, and so
-- on until so little is left that the messages themselves are stepped over (else it would creep
-- through a long run of tombstones). Of whole blocks of seqs tombstones are counted already; of the
-- two that it cuts they are counted in the index of tombstones.
WITH RECURSIVE chat AS (
  SELECT id, first_seq, least($2::bigint - 1, last_seq) AS newest FROM chats WHERE id = $1::bigint
), step (first_seq, seq, to_go) AS (
  SELECT first_seq, newest, $5::bigint FROM chat
  UNION ALL
  SELECT first_seq, seq - to_go, CASE WHEN $4::boolean THEN 0 ELSE met.tombstones END
  FROM step
  CROSS JOIN LATERAL (
    SELECT seq AS high, greatest(seq - to_go, first_seq - 1) AS low) AS way
  CROSS JOIN LATERAL (
    SELECT (SELECT coalesce(sum(tombstones), 0)::bigint
            FROM tombstone_blocks
            WHERE chat_id = $1::bigint AND block > low / 16384 AND block < high / 16384)
         + (SELECT count(*)
            FROM messages AS m
            WHERE m.chat_id = $1::bigint AND m.deleted
              AND m.seq > low AND m.seq <= least(high, low / 16384 * 16384 + 16383))
         + (SELECT count(*)
            FROM messages AS m
            WHERE m.chat_id = $1::bigint AND m.deleted AND high / 16384 > low / 16384
              AND m.seq >= high / 16384 * 16384 AND m.seq <= high) AS tombstones) AS met
  WHERE to_go > 256 AND seq >= first_seq
)
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted, m.revision, m.version,
       m.reply_to_seq, m.created_at, m.updated_at
FROM chat AS c
CROSS JOIN (SELECT seq, to_go FROM step ORDER BY seq LIMIT 1) AS reached
LEFT JOIN LATERAL (
  SELECT *
  FROM messages
  WHERE chat_id = $1::bigint AND seq <= reached.seq AND seq >= c.first_seq
    AND (NOT deleted OR $4::boolean)
  ORDER BY seq DESC
  OFFSET reached.to_go LIMIT $3::bigint
) AS m ON true;

-- name: ListOldest
-- The oldest messages after $2; otherwise like ListNewest.
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted, m.revision, m.version,
       m.reply_to_seq, m.created_at, m.updated_at
FROM chats AS c
LEFT JOIN LATERAL (
  SELECT *
  FROM messages
  WHERE chat_id = $1::bigint AND seq > $2::bigint AND seq >= c.first_seq
    AND (NOT deleted OR $4::boolean)
  ORDER BY seq
  LIMIT $3::bigint
) AS m ON true
WHERE c.id = $1::bigint;

-- name: ListOldestAtOffset
-- Like ListNewestAtOffset, upwards.
WITH RECURSIVE chat AS (
  SELECT id, first_seq, last_seq,
         least(greatest($2::bigint, first_seq - 1), last_seq) AS oldest
  FROM chats
  WHERE id = $1::bigint
), step (last_seq, seq, to_go) AS (
  SELECT last_seq, oldest, $5::bigint FROM chat
  UNION ALL
  SELECT last_seq, seq + to_go, CASE WHEN $4::boolean THEN 0 ELSE met.tombstones END
  FROM step
  CROSS JOIN LATERAL (
    SELECT seq AS low, least(seq + to_go, last_seq) AS high) AS way
  CROSS JOIN LATERAL (
    SELECT (SELECT coalesce(sum(tombstones), 0)::bigint
            FROM tombstone_blocks
            WHERE chat_id = $1::bigint AND block > low / 16384 AND block < high / 16384)
         + (SELECT count(*)
            FROM messages AS m
            WHERE m.chat_id = $1::bigint AND m.deleted
              AND m.seq > low AND m.seq <= least(high, low / 16384 * 16384 + 16383))
         + (SELECT count(*)
            FROM messages AS m
            WHERE m.chat_id = $1::bigint AND m.deleted AND high / 16384 > low / 16384
              AND m.seq >= high / 16384 * 16384 AND m.seq <= high) AS tombstones) AS met
  WHERE to_go > 256 AND seq <= last_seq
)
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted, m.revision, m.version,
       m.reply_to_seq, m.created_at, m.updated_at
FROM chat AS c
CROSS JOIN (SELECT seq, to_go FROM step ORDER BY seq DESC LIMIT 1) AS reached
LEFT JOIN LATERAL (
  SELECT *
  FROM messages
  WHERE chat_id = $1::bigint AND seq > reached.seq AND seq >= c.first_seq
    AND (NOT deleted OR $4::boolean)
  ORDER BY seq
  OFFSET reached.to_go LIMIT $3::bigint
) AS m ON true;

-- name: FindSeqAtTime
-- The first seq that was sent at $2 or later; last_seq + 1 if none was. Times never go back with seq,
-- so that it is found by halving.
WITH RECURSIVE half (low, high) AS (
  SELECT first_seq, last_seq + 1 FROM chats WHERE id = $1::bigint
  UNION ALL
  SELECT CASE WHEN m.created_at < $2::timestamptz THEN m.seq + 1 ELSE low END,
         CASE WHEN m.created_at < $2::timestamptz THEN high ELSE m.seq END
  FROM half
  JOIN messages AS m ON m.chat_id = $1::bigint AND m.seq = (low + high) / 2
  WHERE low < high
)
SELECT max(low) FROM half HAVING count(*) > 0;

-- name: LocateMessage
SELECT chat_id, seq FROM messages WHERE id = :id;

-- name: ReadMessage
SELECT chat_id, seq, id, user_id, text, deleted::integer AS deleted, revision, version,
       coalesce(reply_to_seq, 0) AS reply_to_seq,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM messages AS m
WHERE chat_id = :chat_id AND seq = :seq
  AND seq >= (SELECT first_seq FROM chats WHERE id = :chat_id);

-- name: KeepRevision
-- What a message says now, before it is edited.
INSERT INTO message_revisions (chat_id, seq, revision, text, created_at)
SELECT chat_id, seq, revision, text, updated_at
FROM messages
WHERE chat_id = :chat_id AND seq = :seq;

-- name: EditMessage
UPDATE messages
SET text = :text::text, search = to_tsvector(:language::text::regconfig, :text::text),
    revision = revision + 1, version = version + 1, updated_at = greatest(updated_at, now())
WHERE chat_id = :chat_id AND seq = :seq
RETURNING chat_id, seq, id, user_id, text, deleted::integer AS deleted, revision, version,
          coalesce(reply_to_seq, 0) AS reply_to_seq,
          (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
          (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us;

-- name: FindManager
-- Whether the user is an owner or admin of the chat.
SELECT user_id AS id
FROM chat_user
WHERE chat_id = :chat_id AND user_id = :user_id AND role IN ('owner', 'admin');

-- name: DeleteRevisions
DELETE FROM message_revisions WHERE chat_id = :chat_id AND seq = :seq;

-- name: DeleteMessage
UPDATE messages
SET text = '', search = NULL, deleted = true, version = version + 1,
    updated_at = greatest(updated_at, now())
WHERE chat_id = :chat_id AND seq = :seq
RETURNING chat_id, seq, id, user_id, text, deleted::integer AS deleted, revision, version,
          coalesce(reply_to_seq, 0) AS reply_to_seq,
          (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
          (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us;

-- name: InsertEvent
-- Under the chat's lock. A deletion is counted in its block of seqs.
WITH numbered AS (
  UPDATE chats SET last_event = last_event + 1 WHERE id = :chat_id::bigint RETURNING last_event
), counted AS (
  INSERT INTO tombstone_blocks AS b (chat_id, block, tombstones)
  SELECT :chat_id::bigint, :seq::bigint / 16384, 1 WHERE :kind::text = 'deleted'
  ON CONFLICT (chat_id, block) DO UPDATE SET tombstones = b.tombstones + 1
)
INSERT INTO message_events (chat_id, event, seq, kind)
SELECT :chat_id::bigint, last_event, :seq::bigint, :kind::text FROM numbered;

-- name: ListRevisions
-- What the message says now, and what it said before; of a tombstone nothing.
SELECT revision, text, (extract(epoch FROM created_at) * 1000000)::bigint AS create_us
FROM (
  SELECT revision, text, CASE WHEN revision = 1 THEN created_at ELSE updated_at END AS created_at
  FROM messages
  WHERE chat_id = :chat_id AND seq = :seq AND NOT deleted
  UNION ALL
  SELECT revision, text, created_at
  FROM message_revisions
  WHERE chat_id = :chat_id AND seq = :seq
) AS said
WHERE revision < :before
ORDER BY revision DESC
OFFSET :offset LIMIT :limit;

-- name: LockReadMark
-- A send counts itself in this row, so that the next statement sees all that it has counted.
SELECT user_id AS id
FROM chat_user
WHERE chat_id = :chat_id AND user_id = :user_id
FOR NO KEY UPDATE;

-- name: MoveReadMark
-- Forward only, and not beyond the last message.
UPDATE chat_user AS mark
SET read_seq = target.seq,
    own_unread = (SELECT count(*) FROM messages AS own
                  WHERE own.user_id = :user_id AND own.chat_id = :chat_id AND own.seq > target.seq)
FROM (SELECT least(:seq::bigint, last_seq) AS seq FROM chats WHERE id = :chat_id) AS target
WHERE mark.chat_id = :chat_id AND mark.user_id = :user_id AND mark.read_seq < target.seq;

-- name: GetUnreadCounts
-- Of all chats of the user $1, or of those in $2. Counters and subtraction; what is counted are the
-- tombstones of others after the mark, in their own index. own_unread counts from read_seq, so that it
-- is counted anew where retention has moved beyond that.
SELECT counted.chat_id, counted.read_seq, counted.last_seq,
       counted.last_seq - counted.floor - counted.own
         - (SELECT count(*) FROM messages AS gone
            WHERE gone.chat_id = counted.chat_id AND gone.seq > counted.floor AND gone.deleted
              AND gone.user_id <> $1::bigint)
FROM (
  SELECT mark.chat_id, mark.read_seq, c.last_seq,
         greatest(mark.read_seq, c.first_seq - 1) AS floor,
         CASE WHEN mark.own_unread > 0 AND c.first_seq - 1 > mark.read_seq
              THEN (SELECT count(*) FROM messages AS own
                    WHERE own.user_id = $1::bigint AND own.chat_id = mark.chat_id
                      AND own.seq >= c.first_seq)
              ELSE mark.own_unread END AS own
  FROM chat_user AS mark
  JOIN chats AS c ON c.id = mark.chat_id
  WHERE mark.user_id = $1::bigint AND ($2::bigint[] = '{}' OR mark.chat_id = ANY ($2::bigint[]))
) AS counted
ORDER BY counted.chat_id;

-- name: FindReader
SELECT id FROM users WHERE id = $1::bigint;

-- name: FindChat
SELECT id FROM chats WHERE id = :chat_id;
