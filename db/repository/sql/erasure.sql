-- Erasures of users. Each step is a transaction of its own that may be repeated; one that concerns a
-- chat holds the chat's lock.

-- name: GetErasure
-- What remains is counted in the index by author.
SELECT e.user_id, e.messages_erased, e.task_id,
       (SELECT count(*) FROM messages AS m WHERE m.user_id = e.user_id AND NOT m.deleted)
         AS messages_remaining,
       (extract(epoch FROM e.created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM e.finished_at) * 1000000)::bigint AS finish_us,
       coalesce(t.state, '') AS task_state, coalesce(t.errors -> -1 ->> 'error', '') AS last_error
FROM erasures AS e
LEFT JOIN all_tasks AS t ON t.id = e.task_id
WHERE e.user_id = :user_id;

-- name: FindErasure
SELECT user_id AS id FROM erasures WHERE user_id = :user_id;

-- name: AnonymizeUser
-- No login that anybody can have has a key with capitals: the name is free, whoever had it before.
UPDATE users
SET login = 'erased-' || id, login_key = 'ERASED-' || id, name = NULL, password_hash = NULL,
    status = 'blocked', version = version + 1, updated_at = now()
WHERE id = :user_id;

-- name: ForgetLegacyPassword
DELETE FROM legacy_passwords WHERE user_id = :user_id;

-- name: InsertErasure
INSERT INTO erasures (user_id, task_id) VALUES (:user_id, :task_id);

-- name: RenewErasure
-- Its task has come to an end, and it has not.
UPDATE erasures SET task_id = :task_id WHERE user_id = :user_id AND finished_at IS NULL;

-- name: FindChatToLeave
SELECT chat_id AS id FROM chat_user WHERE user_id = :user_id ORDER BY chat_id LIMIT 1;

-- name: PromoteHeir
UPDATE chat_user
SET role = 'owner'
WHERE chat_id = :chat_id::bigint AND user_id = (
  SELECT user_id
  FROM chat_user
  WHERE chat_id = :chat_id::bigint
  ORDER BY role <> 'admin', joined_at, user_id
  LIMIT 1);

-- name: FindChatWithScheduled
SELECT chat_id AS id
FROM scheduled_messages
WHERE user_id = :user_id AND (state = 'scheduled' OR text <> '')
ORDER BY id
LIMIT 1;

-- name: WipeScheduled
-- The user has left: what is being sent at this moment is refused, or was sent before.
WITH batch AS MATERIALIZED (
  SELECT id, task_id, state
  FROM scheduled_messages
  WHERE chat_id = :chat_id::bigint AND user_id = :user_id::bigint
    AND (state = 'scheduled' OR text <> '')
  ORDER BY id
  LIMIT :limit::bigint
  FOR NO KEY UPDATE
), stopped AS (
  DELETE FROM tasks AS t
  USING batch
  WHERE t.id = batch.task_id AND batch.state = 'scheduled' AND t.state || '' = 'pending'
  RETURNING t.*
), kept AS (
  INSERT INTO task_history (state, errors, {TaskColumns})
  SELECT 'cancelled', errors, {TaskColumns}
  FROM stopped
), counted AS (
  INSERT INTO queue_counters AS c (queue, backend, pending, cancelled)
  SELECT queue, pg_backend_pid(), -count(*), count(*) FROM stopped GROUP BY queue ORDER BY queue
  {AddCounts}
)
UPDATE scheduled_messages AS s
SET text = '', state = CASE WHEN s.state = 'scheduled' THEN 'cancelled' ELSE s.state END,
    updated_at = now()
FROM batch
WHERE s.chat_id = :chat_id::bigint AND s.id = batch.id;

-- name: ForgetRequests
-- Ids that callers have chosen, and digests: that of a short text can be guessed.
DELETE FROM requests
WHERE operation = :operation::text AND scope_id = :user_id::bigint AND request_id IN (
  SELECT request_id
  FROM requests
  WHERE operation = :operation::text AND scope_id = :user_id::bigint
  LIMIT :limit::bigint);

-- name: ForgetRetiredRequests
DELETE FROM retired_requests
WHERE (chat_id, user_id, request_id) IN (
  SELECT chat_id, user_id, request_id
  FROM retired_requests
  WHERE user_id = :user_id::bigint
  LIMIT :limit::bigint);

-- name: ForgetCreateRequest
-- Neither the id nor the digest of login and name may stay.
DELETE FROM requests WHERE operation = 'CreateUser' AND scope_id = 0 AND resource_id = :user_id;

-- name: FindChatToRedact
-- The first chat after a place in the author's messages.
SELECT chat_id AS id
FROM messages
WHERE user_id = :user_id::bigint AND (chat_id, seq) > (:chat_id::bigint, :seq::bigint)
ORDER BY chat_id, seq
LIMIT 1;

-- name: RedactMessages
-- A batch of one chat, under its lock. Rows are locked before anything that hangs on them, so that
-- retention, which deletes without the chat's lock, comes before or after. Deletions are numbered
-- like others; tombstones only lose their request ids.
WITH batch AS MATERIALIZED (
  SELECT seq, deleted
  FROM messages
  WHERE user_id = :user_id::bigint AND chat_id = :chat_id::bigint AND seq > :after::bigint
  ORDER BY seq
  LIMIT :limit::bigint
  FOR NO KEY UPDATE
), redacted AS (
  UPDATE messages AS m
  SET text = '', deleted = true, search = NULL, request_id = NULL, request_fingerprint = NULL,
      version = CASE WHEN m.deleted THEN m.version ELSE m.version + 1 END,
      updated_at = CASE WHEN m.deleted THEN m.updated_at ELSE greatest(now(), m.updated_at) END
  FROM batch
  WHERE m.chat_id = :chat_id::bigint AND m.seq = batch.seq
    AND (NOT m.deleted OR m.request_id IS NOT NULL)
), forgotten AS (
  DELETE FROM message_revisions AS r
  USING batch
  WHERE r.chat_id = :chat_id::bigint AND r.seq = batch.seq
), told AS (
  SELECT seq, row_number() OVER (ORDER BY seq) AS place FROM batch WHERE NOT deleted
), advanced AS (
  UPDATE chats
  SET last_event = last_event + (SELECT count(*) FROM told)
  WHERE id = :chat_id::bigint AND EXISTS (SELECT 1 FROM told)
  RETURNING last_event - (SELECT count(*) FROM told) AS before
), counted AS (
  INSERT INTO tombstone_blocks AS b (chat_id, block, tombstones)
  SELECT :chat_id::bigint, seq / 16384, count(*) FROM told GROUP BY seq / 16384
  ON CONFLICT (chat_id, block) DO UPDATE SET tombstones = b.tombstones + excluded.tombstones
), events AS (
  INSERT INTO message_events (chat_id, event, seq, kind)
  SELECT :chat_id::bigint, advanced.before + told.place, told.seq, 'deleted'
  FROM told
  CROSS JOIN advanced
)
SELECT count(*) AS found, coalesce(max(seq), 0) AS last_seq,
       count(*) FILTER (WHERE NOT deleted) AS erased
FROM batch;

-- name: CountErased
UPDATE erasures SET messages_erased = messages_erased + :erased WHERE user_id = :user_id;

-- name: FinishErasure
UPDATE erasures SET finished_at = now() WHERE user_id = :user_id AND finished_at IS NULL;
