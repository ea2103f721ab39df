-- Users, chats, memberships, messages, request ids.
--
-- chat_id leads every key of chats, chat_user and messages, so that they can be distributed by chat
-- one day; ids come from plain sequences for the same reason.
-- migrate:up
-- +goose Up
CREATE TABLE users (
  id bigserial PRIMARY KEY,
  login text NOT NULL CHECK (char_length(login) BETWEEN 1 AND 256),
  -- The login in the form in which logins are compared (NFKC, case folded).
  login_key text COLLATE "C" NOT NULL UNIQUE,
  name text CHECK (char_length(name) <= 256),
  password_hash text,
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'blocked')),
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- ListUsers by status.
CREATE INDEX users_by_status ON users (status, id);

CREATE TABLE chats (
  id bigserial PRIMARY KEY,
  title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 256),
  description text CHECK (char_length(description) <= 512),
  chat_type text NOT NULL CHECK (chat_type IN ('private', 'group', 'channel')),
  -- No foreign key: the creator may be deleted, the chat stays.
  creator_user_id bigint NOT NULL,
  -- Advanced in the transaction that inserts a message, under this row's lock: inside a chat,
  -- commit order is seq order, and there are no holes. Not indexed, so that updates stay HOT.
  last_seq bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
  user_count integer NOT NULL DEFAULT 0 CHECK (user_count >= 0),
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

-- ListChats by type.
CREATE INDEX chats_by_type ON chats (chat_type, id);

CREATE TABLE chat_user (
  chat_id bigint NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
  user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  role text NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  joined_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (chat_id, user_id)
);
-- The chats of a user, and the cascade from users.
CREATE INDEX chat_user_by_user ON chat_user (user_id, chat_id);

CREATE SEQUENCE message_id_seq;
CREATE TABLE messages (
  chat_id bigint NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
  seq bigint NOT NULL CHECK (seq > 0),
  id bigint NOT NULL DEFAULT nextval('message_id_seq'),
  user_id bigint NOT NULL REFERENCES users (id),
  text text NOT NULL CHECK (char_length(text) <= 1024),
  deleted boolean NOT NULL DEFAULT false,
  revision integer NOT NULL DEFAULT 1,
  version bigint NOT NULL DEFAULT 1,
  -- For ever, tombstones included: a repeated send finds the message it wrote.
  request_id text,
  request_fingerprint text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (chat_id, seq),
  CHECK (deleted = (text = '')),
  CHECK ((request_id IS NULL) = (request_fingerprint IS NULL))
);
ALTER SEQUENCE message_id_seq OWNED BY messages.id;
CREATE UNIQUE INDEX messages_request ON messages (chat_id, user_id, request_id)
  WHERE request_id IS NOT NULL;
-- By id alone. Not unique: the sequence makes the ids so, and a unique key would need chat_id.
CREATE INDEX messages_by_id ON messages (id);
-- Whether a user has written anything (DeleteUser, and the foreign key behind it).
CREATE INDEX messages_by_user ON messages (user_id);

CREATE TABLE requests (
  operation text NOT NULL,
  scope_id bigint NOT NULL,
  request_id text NOT NULL,
  fingerprint text NOT NULL,
  -- What the first request created. No foreign key: the id is remembered after the resource is gone.
  resource_id bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (operation, scope_id, request_id)
);

-- migrate:down
-- +goose Down
DROP TABLE requests;
DROP TABLE messages;
DROP TABLE chat_user;
DROP TABLE chats;
DROP TABLE users;
