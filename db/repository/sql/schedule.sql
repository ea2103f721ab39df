-- Messages to be sent later. What is shown of one depends on its task too: a task that is dead or was
-- cancelled by other means, perhaps so long ago that it is forgotten, will send nothing. Locks: the chat, then the scheduled message, then its
-- task.

-- name: FindSender
-- A member, and whether it may send. No row: no member.
SELECT u.id, (u.status = 'active')::integer AS active
FROM chat_user AS member
JOIN users AS u ON u.id = member.user_id
WHERE member.chat_id = :chat_id AND member.user_id = :user_id;

-- name: FindMessageToAnswer
SELECT m.id
FROM messages AS m
JOIN chats AS c ON c.id = m.chat_id
WHERE m.chat_id = :chat_id AND m.seq = :seq AND m.seq >= c.first_seq;

-- name: InsertScheduledMessage
-- The time is the task's: one that has passed has become now.
INSERT INTO scheduled_messages (chat_id, id, user_id, text, reply_to_seq, run_at, local_resolution,
                                task_id)
SELECT :chat_id::bigint, :id::bigint, :user_id::bigint, :text::text, :reply_to_seq::bigint, t.run_at,
       t.options #>> '{local_time,resolution}', t.id
FROM tasks AS t
WHERE t.id = :task_id::bigint;

-- name: GetScheduledMessage
SELECT s.chat_id, s.id, s.user_id, coalesce(s.reply_to_seq, 0) AS reply_to_seq,
       (extract(epoch FROM s.run_at) * 1000000)::bigint AS run_us, s.local_resolution, s.task_id,
       CASE WHEN s.state <> 'scheduled' THEN s.state WHEN t.state = 'dead' THEN 'failed'
            WHEN t.state = 'cancelled' OR t.id IS NULL THEN 'cancelled' ELSE 'scheduled' END AS state,
       CASE WHEN t.state = 'cancelled' OR t.id IS NULL AND s.state = 'scheduled' THEN ''
            ELSE s.text END AS text,
       CASE WHEN s.state = 'scheduled' AND t.state = 'dead' THEN 'ATTEMPTS_EXHAUSTED'
            ELSE s.failure_reason END AS failure_reason,
       coalesce(s.seq, 0) AS seq,
       (extract(epoch FROM s.created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM CASE WHEN s.state = 'scheduled' AND t.state IN ('dead', 'cancelled')
                                THEN t.updated_at ELSE s.updated_at END) * 1000000)::bigint
         AS update_us
FROM scheduled_messages AS s
LEFT JOIN all_tasks AS t ON t.id = s.task_id
WHERE s.chat_id = :chat_id AND s.id = :id;

-- name: FindChatOfScheduledMessage
SELECT chat_id AS id FROM scheduled_messages WHERE id = :id;

-- name: LockScheduledMessage
SELECT id FROM scheduled_messages WHERE chat_id = :chat_id AND id = :id FOR NO KEY UPDATE;

-- name: ListScheduledMessages
SELECT chat_id, id, user_id, reply_to_seq, run_us, local_resolution, task_id, state, text,
       failure_reason, seq, create_us, update_us
FROM (
  SELECT s.chat_id, s.id, s.user_id, coalesce(s.reply_to_seq, 0) AS reply_to_seq,
         (extract(epoch FROM s.run_at) * 1000000)::bigint AS run_us, s.local_resolution, s.task_id,
         CASE WHEN s.state <> 'scheduled' THEN s.state WHEN t.state = 'dead' THEN 'failed'
              WHEN t.state = 'cancelled' OR t.id IS NULL THEN 'cancelled' ELSE 'scheduled' END AS state,
         CASE WHEN t.state = 'cancelled' OR t.id IS NULL AND s.state = 'scheduled' THEN ''
            ELSE s.text END AS text,
         CASE WHEN s.state = 'scheduled' AND t.state = 'dead' THEN 'ATTEMPTS_EXHAUSTED'
              ELSE s.failure_reason END AS failure_reason,
         coalesce(s.seq, 0) AS seq,
         (extract(epoch FROM s.created_at) * 1000000)::bigint AS create_us,
         (extract(epoch FROM CASE WHEN s.state = 'scheduled' AND t.state IN ('dead', 'cancelled')
                                  THEN t.updated_at ELSE s.updated_at END) * 1000000)::bigint
           AS update_us
  FROM scheduled_messages AS s
  LEFT JOIN all_tasks AS t ON t.id = s.task_id
  WHERE s.user_id = :user_id::bigint AND s.id < :before::bigint
    AND (:chat_id::bigint = 0 OR s.chat_id = :chat_id::bigint)
) AS shown
WHERE (:state::text = '' OR state = :state::text)
ORDER BY id DESC
OFFSET :offset::bigint LIMIT :limit::bigint;

-- name: FindSentMessage
-- Its seq, even if retention has removed it.
SELECT seq AS id
FROM messages
WHERE chat_id = :chat_id AND user_id = :user_id AND request_id = :request_id
UNION ALL
SELECT seq
FROM retired_requests
WHERE chat_id = :chat_id AND user_id = :user_id AND request_id = :request_id;

-- name: MarkCancelled
UPDATE scheduled_messages
SET state = 'cancelled', text = '', updated_at = now()
WHERE chat_id = :chat_id AND id = :id AND state = 'scheduled';

-- name: MarkSent
UPDATE scheduled_messages
SET state = 'sent', seq = :seq, text = '', updated_at = now()
WHERE chat_id = :chat_id AND id = :id AND state = 'scheduled';

-- name: MarkFailed
UPDATE scheduled_messages
SET state = 'failed', failure_reason = :failure_reason, updated_at = now()
WHERE chat_id = :chat_id AND id = :id AND state = 'scheduled';
