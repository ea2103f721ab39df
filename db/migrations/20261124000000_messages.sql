-- What history at constant cost, unread counts, replies, revisions, watching, search, messages sent
-- later, erasure and retention are made of.
-- migrate:up
-- +goose Up
-- Lets one GIN index lead with chat_id.
CREATE EXTENSION IF NOT EXISTS btree_gin;

-- None of these is indexed, so that a send stays a HOT update of its chat.
ALTER TABLE chats
  -- The oldest message there is to read. Retention moves it up; what lies below is hidden at once
  -- and removed later.
  ADD COLUMN first_seq bigint NOT NULL DEFAULT 1,
  -- Edits and deletions are numbered like messages: under the chat's lock, without holes.
  ADD COLUMN last_event bigint NOT NULL DEFAULT 0 CHECK (last_event >= 0),
  -- Messages' times never go back from one seq to the next, whatever the clock does.
  ADD COLUMN last_sent_at timestamptz,
  ADD COLUMN retention_us bigint CHECK (retention_us > 0),
  -- When retention has something to do here next; NULL: never.
  ADD COLUMN purge_at timestamptz,
  ADD CHECK (first_seq BETWEEN 1 AND last_seq + 1);
-- Retention may have been at work before this was rolled back.
UPDATE chats
SET last_sent_at = (SELECT max(created_at) FROM messages WHERE chat_id = chats.id),
    first_seq = coalesce((SELECT min(seq) FROM messages WHERE chat_id = chats.id), last_seq + 1)
WHERE last_seq > 0;
CREATE INDEX chats_to_tend ON chats (purge_at) WHERE purge_at IS NOT NULL;

ALTER TABLE chat_user
  -- The last seq that the member has read; at first, the last one before the member joined.
  ADD COLUMN read_seq bigint NOT NULL DEFAULT 0 CHECK (read_seq >= 0),
  -- How many of the messages after read_seq, tombstones included, are the member's own.
  ADD COLUMN own_unread bigint NOT NULL DEFAULT 0 CHECK (own_unread >= 0),
  -- Where the chat was when the member joined. A watch that learns of it later begins here.
  ADD COLUMN joined_seq bigint NOT NULL DEFAULT 0,
  ADD COLUMN joined_event bigint NOT NULL DEFAULT 0,
  SET (fillfactor = 80);
-- Nobody wants to find years of history unread.
UPDATE chat_user
SET read_seq = chats.last_seq
FROM chats
WHERE chats.id = chat_user.chat_id;

ALTER TABLE messages
  ADD COLUMN reply_to_seq bigint,
  -- Lexemes, in the language that the service was configured with when the text was written; NULL
  -- for tombstones. Not a generated column: that would nail the language to the schema, and a
  -- regconfig column beside it, as its parameter, keeps pg_upgrade from working.
  ADD COLUMN search tsvector,
  ADD CHECK (reply_to_seq BETWEEN 1 AND seq - 1),
  ADD CHECK (NOT deleted OR search IS NULL),
  SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.05);
UPDATE messages SET search = to_tsvector('simple', text) WHERE NOT deleted;
-- What an offset has to step over. With the author, for unread counts.
CREATE INDEX messages_tombstones ON messages (chat_id, seq) INCLUDE (user_id) WHERE deleted;
-- Whether a user has written anything, what is to be erased, own messages after a read mark.
CREATE INDEX messages_by_author ON messages (user_id, chat_id, seq);
DROP INDEX messages_by_user;
-- What was added last lies unsorted until there is so much of it (KiB): sorting it in keeps one sender
-- waiting, and a search reads all of it.
CREATE INDEX messages_search ON messages USING gin (chat_id, search)
  WITH (gin_pending_list_limit = 512);

-- How many tombstones there are among the seqs 16384 * block to 16384 * block + 16383, and no row if
-- there are none. So an offset does not have to count them one by one. Blocks below first_seq go with
-- the messages; what the block of first_seq itself says may be too much, and nobody asks it.
CREATE TABLE tombstone_blocks (
  chat_id bigint NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
  block bigint NOT NULL CHECK (block >= 0),
  tombstones bigint NOT NULL CHECK (tombstones > 0),
  PRIMARY KEY (chat_id, block)
) WITH (fillfactor = 80);
INSERT INTO tombstone_blocks (chat_id, block, tombstones)
SELECT chat_id, seq / 16384, count(*) FROM messages WHERE deleted GROUP BY chat_id, seq / 16384;

-- What a message said before an edit; the last words are in the message itself.
CREATE TABLE message_revisions (
  chat_id bigint NOT NULL,
  seq bigint NOT NULL,
  revision integer NOT NULL CHECK (revision > 0),
  text text NOT NULL CHECK (char_length(text) BETWEEN 1 AND 1024),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (chat_id, seq, revision),
  FOREIGN KEY (chat_id, seq) REFERENCES messages (chat_id, seq) ON DELETE CASCADE
);

-- Edits and deletions in the order of their commits, for those who watch a chat. What was sent needs
-- no event: the message is one.
CREATE TABLE message_events (
  chat_id bigint NOT NULL,
  event bigint NOT NULL CHECK (event > 0),
  seq bigint NOT NULL,
  kind text NOT NULL CHECK (kind IN ('updated', 'deleted')),
  PRIMARY KEY (chat_id, event),
  FOREIGN KEY (chat_id, seq) REFERENCES messages (chat_id, seq) ON DELETE CASCADE
);
-- For the cascade.
CREATE INDEX message_events_by_message ON message_events (chat_id, seq);

-- The request ids of messages that retention has removed: repeating one must never send again.
CREATE TABLE retired_requests (
  chat_id bigint NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
  user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  request_id text NOT NULL,
  request_fingerprint text NOT NULL,
  seq bigint NOT NULL,
  PRIMARY KEY (chat_id, user_id, request_id)
);
-- For the cascade, and for an erasure.
CREATE INDEX retired_requests_by_user ON retired_requests (user_id);

CREATE SEQUENCE scheduled_message_id_seq;
CREATE TABLE scheduled_messages (
  chat_id bigint NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
  id bigint NOT NULL DEFAULT nextval('scheduled_message_id_seq'),
  user_id bigint NOT NULL REFERENCES users (id),
  -- Empty once the message carries it, or nobody is to see it any more.
  text text NOT NULL CHECK (char_length(text) <= 1024),
  reply_to_seq bigint CHECK (reply_to_seq > 0),
  run_at timestamptz NOT NULL,
  -- How run_at was understood, if it was given as a local time.
  local_resolution text CHECK (local_resolution IN ('unique', 'shifted', 'ambiguous')),
  task_id bigint NOT NULL,
  state text NOT NULL DEFAULT 'scheduled'
    CHECK (state IN ('scheduled', 'sent', 'cancelled', 'failed')),
  -- Of the message that was sent.
  seq bigint,
  failure_reason text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (chat_id, id),
  CHECK ((state = 'sent') = (seq IS NOT NULL)),
  CHECK ((state = 'failed') = (failure_reason <> ''))
);
ALTER SEQUENCE scheduled_message_id_seq OWNED BY scheduled_messages.id;
CREATE INDEX scheduled_messages_by_id ON scheduled_messages (id);
CREATE INDEX scheduled_messages_by_user ON scheduled_messages (user_id, id);

-- An erasure finds the request that created the user.
CREATE INDEX requests_of_users ON requests (resource_id) WHERE operation = 'CreateUser';

-- Users whose messages are being, or have been, erased.
CREATE TABLE erasures (
  user_id bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  task_id bigint NOT NULL,
  messages_erased bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
);

-- migrate:down
-- +goose Down
-- What is left to do of them cannot be done without their tables.
UPDATE tasks
SET state = 'cancelled', updated_at = now()
WHERE queue IN ('parley.erase-user', 'parley.scheduled-messages') AND state = 'pending';
DELETE FROM requests WHERE operation = 'ScheduleMessage';
DROP TABLE erasures;
DROP INDEX requests_of_users;
DROP TABLE scheduled_messages;
DROP TABLE retired_requests;
DROP TABLE message_events;
DROP TABLE message_revisions;
DROP TABLE tombstone_blocks;
DROP INDEX messages_search;
CREATE INDEX messages_by_user ON messages (user_id);
DROP INDEX messages_by_author;
DROP INDEX messages_tombstones;
ALTER TABLE messages
  RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor),
  DROP COLUMN search,
  DROP COLUMN reply_to_seq;
ALTER TABLE chat_user
  RESET (fillfactor),
  DROP COLUMN joined_event,
  DROP COLUMN joined_seq,
  DROP COLUMN own_unread,
  DROP COLUMN read_seq;
DROP INDEX chats_to_tend;
ALTER TABLE chats
  DROP COLUMN purge_at,
  DROP COLUMN retention_us,
  DROP COLUMN last_sent_at,
  DROP COLUMN last_event,
  DROP COLUMN first_seq;
