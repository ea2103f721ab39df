-- Messages. Times leave as microseconds since 1970.

-- name: LockChatToSend
-- First the lock, in a statement of its own: the next one's snapshot then sees what whoever held the
-- lock before has committed, so that the look-up by request id cannot miss a twin.
SELECT id FROM chats WHERE id = :chat_id FOR NO KEY UPDATE;

-- name: FindSentMessage
SELECT chat_id, seq, id, user_id, text, deleted::integer AS deleted, revision, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us,
       request_fingerprint
FROM messages
WHERE chat_id = :chat_id AND user_id = :user_id AND request_id = :request_id;

-- name: InsertMessage
-- Only an active member's message is written and takes a seq. The time is read under the lock, so
-- that it never goes back from one seq to the next.
WITH sender AS (
  SELECT 1
  FROM chat_user AS member
  JOIN users AS u ON u.id = member.user_id
  WHERE member.chat_id = :chat_id::bigint AND member.user_id = :user_id::bigint
    AND u.status = 'active'
), advanced AS (
  UPDATE chats
  SET last_seq = last_seq + 1
  WHERE id = :chat_id::bigint AND EXISTS (SELECT 1 FROM sender)
  RETURNING last_seq, clock_timestamp() AS sent_at
)
INSERT INTO messages (chat_id, seq, user_id, text, request_id, request_fingerprint,
                      created_at, updated_at)
SELECT :chat_id::bigint, last_seq, :user_id::bigint, :text::text, :request_id::text,
       :request_fingerprint::text, sent_at, sent_at
FROM advanced
RETURNING chat_id, seq, id, user_id, text, deleted::integer AS deleted, revision, version,
          (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
          (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us;

-- name: FindMember
SELECT user_id AS id FROM chat_user WHERE chat_id = :chat_id AND user_id = :user_id;

-- name: GetMessage
SELECT chat_id, seq, id, user_id, text, deleted::integer AS deleted, revision, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM messages
WHERE chat_id = :chat_id AND seq = :seq;

-- name: GetMessageById
SELECT chat_id, seq, id, user_id, text, deleted::integer AS deleted, revision, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM messages
WHERE id = :id;

-- name: ListMessagesBefore
SELECT chat_id, seq, id, user_id, text, deleted::integer AS deleted, revision, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM messages
WHERE chat_id = :chat_id AND seq < :seq AND NOT deleted
ORDER BY seq DESC
OFFSET :offset LIMIT :limit;

-- name: ListMessagesAfter
SELECT chat_id, seq, id, user_id, text, deleted::integer AS deleted, revision, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM messages
WHERE chat_id = :chat_id AND seq > :seq AND NOT deleted
ORDER BY seq
OFFSET :offset LIMIT :limit;

-- name: FindChat
SELECT id FROM chats WHERE id = :chat_id;

-- name: EditMessage
-- The same text again is no edit.
UPDATE messages
SET text = :text::text,
    revision = CASE WHEN text = :text::text THEN revision ELSE revision + 1 END,
    version = CASE WHEN text = :text::text THEN version ELSE version + 1 END,
    updated_at = CASE WHEN text = :text::text THEN updated_at ELSE clock_timestamp() END
WHERE chat_id = :chat_id AND seq = :seq AND user_id = :user_id AND NOT deleted
  AND (:version::bigint IS NULL OR version = :version::bigint)
RETURNING chat_id, seq, id, user_id, text, deleted::integer AS deleted, revision, version,
          (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
          (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us;

-- name: DeleteMessage
-- Leaves a tombstone; one that is there already stays as it is.
UPDATE messages
SET text = '', deleted = true,
    version = CASE WHEN deleted THEN version ELSE version + 1 END,
    updated_at = CASE WHEN deleted THEN updated_at ELSE clock_timestamp() END
WHERE chat_id = :chat_id AND seq = :seq
  AND (user_id = :user_id OR EXISTS (
         SELECT 1
         FROM chat_user AS member
         WHERE member.chat_id = :chat_id AND member.user_id = :user_id
           AND member.role IN ('owner', 'admin')))
RETURNING chat_id, seq, id, user_id, text, deleted::integer AS deleted, revision, version,
          (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
          (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us;
