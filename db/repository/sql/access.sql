-- What a user may do with chats, asked on behalf of callers who act for that user.

-- name: CountRoles
-- Of the chats that are named, and of those of the messages that are named and exist: how many there
-- are, and in how many of them the user is what. A user who is blocked, or erased, is nothing anywhere.
WITH wanted AS (
  SELECT unnest(:chat_ids::bigint[]) AS chat_id
  UNION
  SELECT chat_id FROM messages WHERE id = ANY (:message_ids::bigint[])
)
SELECT count(*) AS wanted, count(member.role) AS member,
       count(*) FILTER (WHERE member.role IN ('owner', 'admin')) AS manager,
       count(*) FILTER (WHERE member.role = 'owner') AS owner
FROM wanted
LEFT JOIN chat_user AS member
  ON member.chat_id = wanted.chat_id AND member.user_id = :user_id
  AND EXISTS (SELECT 1 FROM users WHERE id = :user_id AND status = 'active');
