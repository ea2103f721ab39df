-- Chats and memberships. Times leave as microseconds since 1970.

-- name: LockMembersToBe
-- The users that exist; their status cannot change before the transaction ends.
SELECT id, login, name, status, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM users
WHERE id = ANY (:ids::bigint[])
ORDER BY id
FOR SHARE;

-- name: InsertChat
INSERT INTO chats (id, title, description, chat_type, creator_user_id, user_count, retention_us,
                   purge_at)
VALUES (:id, :title, :description, :chat_type, :creator_user_id, :user_count, :retention_us::bigint,
        CASE WHEN :retention_us::bigint IS NOT NULL THEN now() END);

-- name: InsertMembers
INSERT INTO chat_user (chat_id, user_id, role)
SELECT :chat_id, member.id, CASE WHEN member.id = :creator_user_id THEN 'owner' ELSE 'member' END
FROM unnest(:user_ids::bigint[]) AS member (id);

-- name: GetChat
SELECT id, title, description, chat_type, creator_user_id, user_count, version,
       coalesce(retention_us, 0) AS retention_us,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM chats
WHERE id = :id;

-- name: GetUsersOfChats
-- The first members by id of each chat.
SELECT member.chat_id, u.id, u.login, u.name, u.status, u.version,
       (extract(epoch FROM u.created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM u.updated_at) * 1000000)::bigint AS update_us
FROM unnest(:chat_ids::bigint[]) AS chat (id)
CROSS JOIN LATERAL (
  SELECT chat_id, user_id
  FROM chat_user
  WHERE chat_id = chat.id
  ORDER BY user_id
  LIMIT :per_chat
) AS member
JOIN users AS u ON u.id = member.user_id
ORDER BY member.chat_id, u.id;

-- name: BatchGetChats
SELECT id, title, description, chat_type, creator_user_id, user_count, version,
       coalesce(retention_us, 0) AS retention_us,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM chats
WHERE id = ANY (:ids::bigint[]);

-- name: ListChats
SELECT id, title, description, chat_type, creator_user_id, user_count, version,
       coalesce(retention_us, 0) AS retention_us,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM chats
WHERE id > :after AND (:chat_type::text IS NULL OR chat_type = :chat_type::text)
ORDER BY id
OFFSET :offset LIMIT :limit;

-- name: ListUserChats
SELECT c.id, c.title, c.description, c.chat_type, c.creator_user_id, c.user_count, c.version,
       coalesce(c.retention_us, 0) AS retention_us,
       (extract(epoch FROM c.created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM c.updated_at) * 1000000)::bigint AS update_us
FROM chat_user AS member
JOIN chats AS c ON c.id = member.chat_id
WHERE member.user_id = :user_id AND member.chat_id > :after
ORDER BY member.chat_id
OFFSET :offset LIMIT :limit;

-- name: ListChatUsers
SELECT member.role, (extract(epoch FROM member.joined_at) * 1000000)::bigint AS join_us,
       u.id, u.login, u.name, u.status, u.version,
       (extract(epoch FROM u.created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM u.updated_at) * 1000000)::bigint AS update_us
FROM chat_user AS member
JOIN users AS u ON u.id = member.user_id
WHERE member.chat_id = :chat_id AND member.user_id > :after
ORDER BY member.user_id
OFFSET :offset LIMIT :limit;

-- name: LockChat
-- Everything that changes a chat, its members or its messages goes through this lock.
SELECT id, title, description, chat_type, creator_user_id, user_count, version,
       coalesce(retention_us, 0) AS retention_us,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM chats
WHERE id = :id
FOR NO KEY UPDATE;

-- name: UpdateChat
-- Nothing is written, and the version stays, if all is as it was said to become.
UPDATE chats
SET title = COALESCE(:title::text, title),
    description = CASE WHEN :set_description::integer = 1 THEN :description::text
                       ELSE description END,
    chat_type = COALESCE(:chat_type::text, chat_type),
    retention_us = CASE WHEN :set_retention::integer = 1 THEN :retention_us::bigint
                        ELSE retention_us END,
    purge_at = CASE WHEN :set_retention::integer = 1 THEN now() ELSE purge_at END,
    version = version + 1,
    updated_at = now()
WHERE id = :id
  AND (title, description, chat_type, retention_us) IS DISTINCT FROM
      (COALESCE(:title::text, title),
       CASE WHEN :set_description::integer = 1 THEN :description::text ELSE description END,
       COALESCE(:chat_type::text, chat_type),
       CASE WHEN :set_retention::integer = 1 THEN :retention_us::bigint ELSE retention_us END);

-- name: DeleteChat
-- Memberships and messages go with it.
DELETE FROM chats WHERE id = :id;

-- name: InsertMember
-- Changes nothing for who is a member already. What was said before the member came is not unread.
INSERT INTO chat_user (chat_id, user_id, role, read_seq, joined_seq, joined_event)
SELECT id, :user_id::bigint, :role::text, last_seq, last_seq, last_event
FROM chats
WHERE id = :chat_id::bigint
ON CONFLICT (chat_id, user_id) DO NOTHING;

-- name: DeleteMember
DELETE FROM chat_user WHERE chat_id = :chat_id AND user_id = :user_id RETURNING role;

-- name: FindOwner
SELECT user_id AS id FROM chat_user WHERE chat_id = :chat_id AND role = 'owner' LIMIT 1;

-- name: AddToUserCount
UPDATE chats SET user_count = user_count + :difference WHERE id = :id;
