-- Users. Times leave as microseconds since 1970.

-- name: InsertUser
-- No row: the login is taken.
INSERT INTO users (id, login, login_key, name, password_hash)
VALUES (:id, :login, :login_key, :name, :password_hash)
ON CONFLICT (login_key) DO NOTHING
RETURNING id, login, name, status, version,
          (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
          (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us;

-- name: GetUser
SELECT id, login, name, status, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM users
WHERE id = :id;

-- name: GetUserByLogin
SELECT id, login, name, status, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM users
WHERE login_key = :login_key;

-- name: GetCredentials
-- A password that came with an adopted database counts only while there is no hash.
SELECT u.id, u.login, u.name, u.status, u.version,
       (extract(epoch FROM u.created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM u.updated_at) * 1000000)::bigint AS update_us,
       u.password_hash,
       CASE WHEN u.password_hash IS NULL THEN legacy.password END AS legacy_password
FROM users AS u
LEFT JOIN legacy_passwords AS legacy ON legacy.user_id = u.id AND legacy.accepted
WHERE u.login_key = :login_key;

-- name: TakeLegacyPassword
-- Under the user's lock. No row: it has been replaced or removed since it was read. Not by the password,
-- which a server that logs statements would write down.
DELETE FROM legacy_passwords
WHERE user_id = :id AND accepted
RETURNING user_id AS id;

-- name: StoreFirstHash
-- The password stays what it was, so the user's version does too.
UPDATE users SET password_hash = :password_hash WHERE id = :id AND password_hash IS NULL;

-- name: DropLegacyPassword
DELETE FROM legacy_passwords WHERE user_id = :id;

-- name: BatchGetUsers
SELECT id, login, name, status, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM users
WHERE id = ANY (:ids::bigint[]);

-- name: ListUsers
SELECT id, login, name, status, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM users
WHERE id > :after AND (:status::text IS NULL OR status = :status::text)
ORDER BY id
OFFSET :offset LIMIT :limit;

-- name: ListUsersByLogin
-- The prefix is a range of the "C" collation, so that the unique index serves it.
SELECT id, login, name, status, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us,
       login_key
FROM users
WHERE login_key >= :prefix::text AND login_key < :prefix::text || U&'\+10FFFF'
  AND login_key > :after
  AND (:status::text IS NULL OR status = :status::text)
ORDER BY login_key
OFFSET :offset LIMIT :limit;

-- name: LockUser
-- Waits for whoever writes this user or refers to it; no row: no such user.
SELECT id, login, name, status, version,
       (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
       (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us
FROM users
WHERE id = :id
FOR UPDATE;

-- name: UpdateUser
-- What is as it was said to become keeps its version, so that a repeated update changes nothing.
WITH wanted AS (
  SELECT id,
         COALESCE(:login::text, login) AS login,
         COALESCE(:login_key::text, login_key) AS login_key,
         CASE WHEN :set_name::integer = 1 THEN :name::text ELSE name END AS name,
         COALESCE(:status::text, status) AS status
  FROM users
  WHERE id = :id::bigint
)
UPDATE users AS u
SET login = wanted.login, login_key = wanted.login_key, name = wanted.name,
    status = wanted.status,
    version = CASE WHEN (u.login, u.name, u.status)
                        IS DISTINCT FROM (wanted.login, wanted.name, wanted.status)
                   THEN u.version + 1 ELSE u.version END,
    updated_at = CASE WHEN (u.login, u.name, u.status)
                           IS DISTINCT FROM (wanted.login, wanted.name, wanted.status)
                      THEN now() ELSE u.updated_at END
FROM wanted
WHERE u.id = wanted.id
RETURNING u.id, u.login, u.name, u.status, u.version,
          (extract(epoch FROM u.created_at) * 1000000)::bigint AS create_us,
          (extract(epoch FROM u.updated_at) * 1000000)::bigint AS update_us;

-- name: SetPassword
UPDATE users
SET password_hash = :password_hash, version = version + 1, updated_at = now()
WHERE id = :id
RETURNING id, login, name, status, version,
          (extract(epoch FROM created_at) * 1000000)::bigint AS create_us,
          (extract(epoch FROM updated_at) * 1000000)::bigint AS update_us;

-- name: FindMessageOfUser
-- Or one that is to be sent, or was.
(SELECT id FROM messages WHERE user_id = :id LIMIT 1)
UNION ALL
(SELECT id FROM scheduled_messages WHERE user_id = :id LIMIT 1)
LIMIT 1;

-- name: ListChatsToLeave
SELECT chat_id AS id FROM chat_user WHERE user_id = :id ORDER BY chat_id;

-- name: LeaveAllChats
DELETE FROM chat_user WHERE user_id = :id RETURNING chat_id AS id;

-- name: SubtractFromUserCounts
UPDATE chats SET user_count = user_count - 1 WHERE id = ANY (:ids::bigint[]);

-- name: DeleteUser
DELETE FROM users WHERE id = :id;
