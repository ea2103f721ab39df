-- How long chats keep their messages. chats.first_seq is the oldest message that can be read; what
-- lies below it is hidden, and removed in batches. chats.purge_at says when a chat is to be looked at
-- next; NULL: never.

-- name: FindChatsToTend
SELECT id FROM chats WHERE purge_at <= now() ORDER BY purge_at LIMIT :limit;

-- name: LockChatToTend
-- No row: another process has just seen to it. It is waited for: a busy chat is always locked by
-- senders, and whoever waits has its turn.
SELECT id FROM chats WHERE id = :chat_id AND purge_at <= now() FOR NO KEY UPDATE;

-- name: HideExpired
-- Under the chat's lock. Messages' times never go back with seq, so that the first one that is young
-- enough is found by halving.
WITH RECURSIVE half (low, high, cutoff) AS (
  SELECT first_seq, last_seq + 1, now() - retention_us * interval '1 microsecond'
  FROM chats
  WHERE id = :chat_id::bigint AND retention_us IS NOT NULL
  UNION ALL
  SELECT CASE WHEN m.created_at < cutoff THEN m.seq + 1 ELSE low END,
         CASE WHEN m.created_at < cutoff THEN high ELSE m.seq END,
         cutoff
  FROM half
  JOIN messages AS m ON m.chat_id = :chat_id::bigint AND m.seq = (low + high) / 2
  WHERE low < high
)
UPDATE chats
SET first_seq = expired.first_seq
FROM (SELECT max(low) AS first_seq FROM half) AS expired
WHERE id = :chat_id::bigint AND chats.first_seq < expired.first_seq;

-- name: RestChat
-- Until the oldest message expires, if nothing is left to remove. Not for less than a thousandth of
-- the retention (1 s to 1 min): a busy chat is not to be visited for each of its messages.
UPDATE chats AS c
SET purge_at = CASE WHEN c.retention_us IS NOT NULL THEN greatest(
      coalesce((SELECT created_at FROM messages WHERE chat_id = :chat_id::bigint AND seq = c.first_seq),
               now()) + c.retention_us * interval '1 microsecond',
      now() + greatest(interval '1 second',
                       least(interval '1 minute', c.retention_us * interval '1 microsecond' / 1000))) END
WHERE c.id = :chat_id::bigint
  AND NOT EXISTS (SELECT 1 FROM messages WHERE chat_id = :chat_id::bigint AND seq < c.first_seq);

-- name: LockChatToPurge
-- The chat first, as everywhere; senders are not kept waiting by this one.
SELECT id FROM chats WHERE id = :chat_id FOR KEY SHARE;

-- name: PurgeMessages
-- From the bottom. What was sent with a request id leaves it behind, for a repeat must never send
-- again.
WITH batch AS MATERIALIZED (
  SELECT seq, user_id, request_id, request_fingerprint
  FROM messages
  WHERE chat_id = :chat_id::bigint
    AND seq < (SELECT first_seq FROM chats WHERE id = :chat_id::bigint)
  ORDER BY seq
  LIMIT :limit::bigint
  FOR UPDATE SKIP LOCKED
), uncounted AS (
  DELETE FROM tombstone_blocks AS b
  USING chats AS c
  WHERE c.id = :chat_id::bigint AND b.chat_id = :chat_id::bigint AND b.block < c.first_seq / 16384
), kept AS (
  INSERT INTO retired_requests (chat_id, user_id, request_id, request_fingerprint, seq)
  SELECT :chat_id::bigint, user_id, request_id, request_fingerprint, seq
  FROM batch
  WHERE request_id IS NOT NULL
)
DELETE FROM messages AS m
USING batch
WHERE m.chat_id = :chat_id::bigint AND m.seq = batch.seq;
