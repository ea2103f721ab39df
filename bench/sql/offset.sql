-- What a page at a depth costs with a plain OFFSET. -D chat, -D depth.
SELECT chat_id, seq, id, user_id, text, deleted, revision, version, reply_to_seq,
       created_at, updated_at
FROM messages
WHERE chat_id = :chat AND NOT deleted
ORDER BY seq DESC
OFFSET :depth LIMIT 20;
