-- What the benchmarks run on, in an empty database with Parley's schema. Run it by psql as a
-- superuser, with -v chats=1000 -v messages=1000 -v deep=1000000.
--
-- Users 1..2000 write; user 2001 is a member of all chats 1..:chats, and the author of every 50th
-- message. The senders of chat c are (c * 7 + k * 13) % 2000 + 1 for k = 1..20; send.sql and
-- workload.cc count on that. Chat :chats + 1 is the deep one, chat :chats + 2 the one that everybody
-- sends to. Of each chat's messages one in 1,000 is a tombstone. The chats were written side by
-- side, as they are in life: the messages of one do not lie together.
\set ON_ERROR_STOP on
\set deep_chat :chats + 1
\set busy_chat :chats + 2

BEGIN;
-- The rows refer to each other as they should; nobody needs to look them up one by one. At the end the
-- foreign keys are checked all at once.
SET LOCAL session_replication_role = replica;
SET LOCAL maintenance_work_mem = '512MB';

-- Indexes are built in one go, from what the schema says, after the rows.
CREATE TEMPORARY TABLE later ON COMMIT DROP AS
SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index AS i
WHERE i.indrelid = 'messages'::regclass
  AND NOT EXISTS (SELECT 1 FROM pg_constraint AS c WHERE c.conindid = i.indexrelid);
SELECT format('DROP INDEX %s', name) FROM later
\gexec

INSERT INTO users (id, login, login_key)
SELECT n, 'bench' || n, 'bench' || n FROM generate_series(1, 2001) AS n;

INSERT INTO chats (id, title, chat_type, creator_user_id, last_seq, last_event, last_sent_at,
                   user_count, created_at, updated_at)
SELECT c, 'Chat ' || c, 'group', (c * 7 + 13) % 2000 + 1, messages, messages / 1000,
       date_trunc('hour', now()) - interval '1 day', members,
       date_trunc('hour', now()) - interval '1 year', date_trunc('hour', now()) - interval '1 year'
FROM (SELECT c, CASE WHEN c = :deep_chat THEN :deep ELSE :messages END AS messages,
             CASE WHEN c <= :chats THEN 21 ELSE 20 END AS members
      FROM generate_series(1, :busy_chat) AS c) AS made;

-- The senders have read everything; the reader has read a part, another one of each chat.
INSERT INTO chat_user (chat_id, user_id, role, joined_at, read_seq, own_unread)
SELECT c.id, (c.id * 7 + k * 13) % 2000 + 1, CASE WHEN k = 1 THEN 'owner' ELSE 'member' END,
       c.created_at, c.last_seq, 0
FROM chats AS c, generate_series(1, 20) AS k
UNION ALL
SELECT c.id, 2001, 'member', c.created_at, c.id * 37 % (c.last_seq + 1),
       c.last_seq / 50 - c.id * 37 % (c.last_seq + 1) / 50
FROM chats AS c
WHERE c.id <= :chats;

CREATE FUNCTION pg_temp.write(chats bigint[], seqs bigint) RETURNS void LANGUAGE sql AS $$
  INSERT INTO messages (chat_id, seq, user_id, text, deleted, version, search,
                        created_at, updated_at)
  SELECT chat_id, seq, user_id, text, text = '', CASE WHEN text = '' THEN 2 ELSE 1 END,
         CASE WHEN text <> '' THEN to_tsvector('simple', text) END, at, at
  FROM (SELECT c AS chat_id, seq,
               CASE WHEN seq % 50 = 0 AND cardinality(chats) > 1 THEN 2001
                    ELSE (c * 7 + (seq % 20 + 1) * 13) % 2000 + 1 END AS user_id,
               CASE WHEN seq % 1000 = 501 THEN ''
                    ELSE 'hello this is a bench message number ' || seq % 20 + 1 END AS text,
               date_trunc('hour', now()) - interval '1 day'
                 - (seqs - seq) * interval '20 seconds' AS at
        FROM generate_series(1, seqs) AS seq, unnest(chats) AS c
        ORDER BY seq, c) AS made
$$;
SELECT pg_temp.write(ARRAY[:deep_chat], :deep),
       pg_temp.write(ARRAY[:busy_chat], :messages),
       pg_temp.write(ARRAY(SELECT generate_series(1, :chats)), :messages);

INSERT INTO message_events (chat_id, event, seq, kind)
SELECT chat_id, row_number() OVER (PARTITION BY chat_id ORDER BY seq), seq, 'deleted'
FROM messages
WHERE deleted;

INSERT INTO tombstone_blocks (chat_id, block, tombstones)
SELECT chat_id, seq / 16384, count(*) FROM messages WHERE deleted GROUP BY chat_id, seq / 16384;

SELECT definition FROM later
\gexec
SELECT setval('users_id_seq', 2001), setval('chats_id_seq', :busy_chat);
COMMIT;

-- What the schema cannot see by itself. Each of these must be nobody.
DO $$
DECLARE wrong text;
BEGIN
  SELECT concat_ws(', ',
    (SELECT 'chats' FROM chats AS c
     WHERE c.last_seq <> (SELECT max(seq) FROM messages AS m WHERE m.chat_id = c.id)
        OR c.last_seq <> (SELECT count(*) FROM messages AS m WHERE m.chat_id = c.id)
        OR c.last_sent_at <> (SELECT max(created_at) FROM messages AS m WHERE m.chat_id = c.id)
        OR c.last_event <> (SELECT count(*) FROM message_events AS e WHERE e.chat_id = c.id)
        OR c.last_event <> (SELECT count(*) FROM messages AS m WHERE m.chat_id = c.id AND m.deleted)
        OR c.last_event <> (SELECT sum(tombstones) FROM tombstone_blocks AS b WHERE b.chat_id = c.id)
        OR c.user_count <> (SELECT count(*) FROM chat_user AS u WHERE u.chat_id = c.id)
     LIMIT 1),
    (SELECT 'authors' FROM messages AS m
     WHERE NOT EXISTS (SELECT 1 FROM chat_user AS u
                       WHERE u.chat_id = m.chat_id AND u.user_id = m.user_id)
     LIMIT 1),
    (SELECT 'own_unread' FROM chat_user AS u
     WHERE own_unread <> (SELECT count(*) FROM messages AS m
                          WHERE m.chat_id = u.chat_id AND m.user_id = u.user_id
                            AND m.seq > u.read_seq)
     LIMIT 1),
    (SELECT 'members' FROM chat_user AS m
     WHERE NOT EXISTS (SELECT 1 FROM users AS u WHERE u.id = m.user_id)
     LIMIT 1)) INTO wrong;
  IF wrong <> '' THEN RAISE EXCEPTION 'prepared rows are wrong: %', wrong; END IF;
END $$;
VACUUM ANALYZE;
CHECKPOINT;
