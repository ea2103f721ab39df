-- The newest page of a chat, as the service reads it. -D first, -D last: the chats, at random.
\set chat random(:first, :last)
SELECT m.chat_id, m.seq, m.id, m.user_id, m.text, m.deleted, m.revision, m.version,
       m.reply_to_seq, m.created_at, m.updated_at
FROM chats AS c
LEFT JOIN LATERAL (
  SELECT *
  FROM messages
  WHERE chat_id = c.id AND seq <= c.last_seq AND seq >= c.first_seq AND NOT deleted
  ORDER BY seq DESC
  LIMIT 21
) AS m ON true
WHERE c.id = :chat;
