// Rows for the tables of each migration, for the test that goes up and down with them.
#pragma once

#include <map>
#include <string>

namespace parley::testing {

// From a migration's version to SQL that writes rows into what it makes and changes, of every kind
// that its down section has to deal with. May be run again and again.
inline const std::map<std::string, std::string>& StairwayRows() {
  static const std::map<std::string, std::string> rows = {
      {"20261101000000", R"(
DO $$
DECLARE
  ann bigint;
  chat bigint;
BEGIN
  INSERT INTO users (login, login_key, name) VALUES ('Ann', gen_random_uuid(), NULL) RETURNING id INTO ann;
  INSERT INTO chats (title, chat_type, creator_user_id, last_seq, user_count)
  VALUES (U&'\+01F600', 'group', ann, 3, 1) RETURNING id INTO chat;
  INSERT INTO chat_user (chat_id, user_id, role) VALUES (chat, ann, 'owner');
  INSERT INTO messages (chat_id, seq, user_id, text, deleted, request_id, request_fingerprint)
  VALUES (chat, 1, ann, 'one', false, 'r', 'f'), (chat, 2, ann, '', true, NULL, NULL),
         (chat, 3, ann, U&'\+01F600', false, NULL, NULL);
  INSERT INTO requests (operation, scope_id, request_id, fingerprint, resource_id)
  VALUES ('CreateUser', 0, gen_random_uuid(), 'f', ann);
END $$)"},
      {"20261101000100", R"(
INSERT INTO tasks (queue, name, payload, run_at, priority, state, attempt, max_attempts, lease_token,
                   lease_until, last_error)
VALUES ('q', 'n', '\x00', now(), 5, 'pending', 0, 10, NULL, NULL, ''),
       ('q', 'n', '', now(), 5, 'pending', 1, 10, NULL, NULL, 'once'),
       ('q', 'n', '', now(), 5, 'running', 1, 10, repeat('ab', 16), now() + interval '1 minute', ''),
       ('q', 'n', '', now(), 5, 'succeeded', 1, 10, repeat('ab', 16), NULL, ''),
       ('q', 'n', '', now(), 5, 'dead', 10, 10, NULL, NULL, 'boom'),
       ('q', 'n', '', now(), 5, 'cancelled', 0, 10, NULL, NULL, '');
INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts, local_date_time, time_zone,
                   gap_policy, fold_policy, local_resolution)
VALUES ('q', 'n', '', now() + interval '1 day', 0, 10, '2027-03-28T02:30', 'Europe/Berlin', 'shift', 'first',
        'shifted'))"},
      {"20261124000000", R"(
DO $$
DECLARE
  ann bigint;
  chat bigint;
BEGIN
  INSERT INTO users (login, login_key) VALUES ('Ann', gen_random_uuid()) RETURNING id INTO ann;
  INSERT INTO chats (title, chat_type, creator_user_id, last_seq, last_event, first_seq, user_count,
                     retention_us, purge_at, last_sent_at)
  VALUES ('t', 'group', ann, 4, 2, 2, 1, 1000000, now(), now()) RETURNING id INTO chat;
  INSERT INTO chat_user (chat_id, user_id, role, read_seq, own_unread) VALUES (chat, ann, 'owner', 2, 2);
  INSERT INTO messages (chat_id, seq, user_id, text, deleted, reply_to_seq, search)
  VALUES (chat, 2, ann, 'one', false, NULL, to_tsvector('simple', 'one')), (chat, 3, ann, '', true, 2, NULL),
         (chat, 4, ann, 'three', false, 2, to_tsvector('simple', 'three'));
  INSERT INTO tombstone_blocks (chat_id, block, tombstones) VALUES (chat, 0, 1);
  INSERT INTO message_revisions (chat_id, seq, revision, text, created_at) VALUES (chat, 2, 1, 'on', now());
  INSERT INTO message_events (chat_id, event, seq, kind) VALUES (chat, 1, 2, 'updated'), (chat, 2, 3, 'deleted');
  INSERT INTO retired_requests (chat_id, user_id, request_id, request_fingerprint, seq)
  VALUES (chat, ann, 'r', 'f', 1);
  INSERT INTO scheduled_messages (chat_id, user_id, text, run_at, local_resolution, task_id, state, seq,
                                  failure_reason)
  VALUES (chat, ann, 'later', now(), 'unique', 1, 'scheduled', NULL, ''), (chat, ann, '', now(), NULL, 2, 'sent', 4, ''),
         (chat, ann, '', now(), NULL, 3, 'failed', NULL, 'CHAT_NOT_FOUND');
  INSERT INTO erasures (user_id, task_id) VALUES (ann, 4);
  INSERT INTO requests (operation, scope_id, request_id, fingerprint, resource_id)
  VALUES ('ScheduleMessage', chat, 'r', 'f', 1);
  INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts)
  VALUES ('parley.erase-user', 'n', '', now(), 0, 10), ('parley.scheduled-messages', 'n', '', now(), 0, 10);
END $$)"},
      {"20261126000000", R"(
INSERT INTO tasks (queue, name, payload, run_at, expires_at, priority, state, attempt, max_attempts,
                   lease_token, lease_until, cancel_requested, errors)
VALUES ('q', 'n', '\x00', now(), now(), 5, 'pending', 1, 10, NULL, NULL, false,
        '[{"attempt": 1, "us": 1767225600000000, "error": "once"}]'),
       ('q', 'n', '', now(), NULL, 5, 'running', 1, 10, gen_random_uuid(), now(), true, '[]');
INSERT INTO task_history (id, queue, name, payload, headers, run_at, priority, state, attempt,
                          max_attempts, lease_token, errors, result, created_at)
SELECT nextval('task_id_seq'), 'q', 'n', '', '{"a": "b"}', now(), 5, state, 1, 10, token, '[]', '\x01', now()
FROM (VALUES ('succeeded', gen_random_uuid()), ('cancelled', NULL), ('expired', NULL)) AS v (state, token);
INSERT INTO dead_tasks (id, queue, name, payload, headers, run_at, priority, attempt, max_attempts,
                        errors, created_at)
VALUES (nextval('task_id_seq'), 'q', 'n', '', '{}', now(), 5, 10, 10,
        '[{"attempt": 10, "us": 1767225600000000, "error": "boom"}]', now()))"},
      {"20261127000000", R"(
INSERT INTO queues (name, paused_at, max_running, rate_per_second, burst, tokens, tokens_at, target)
VALUES (gen_random_uuid(), now(), 3, 1.5, 2, 1, now(), '{"kind": "grpc"}');
INSERT INTO tasks (queue, name, payload, run_at, priority, max_attempts, options, concurrency_key, blocked,
                   schedule_id, fire_at)
VALUES ('q', 'n', '', now(), 0, 10,
        '{"local_time": {"date_time": "2027-03-28T02:30", "time_zone": "Europe/Berlin", "gap_policy": "shift",
                         "fold_policy": "first", "resolution": "shifted"}}', NULL, false, NULL, NULL),
       ('q', 'n', '', now(), 0, 10, '{"run_timeout_us": 1000000}', 'k', true, 7, clock_timestamp());
INSERT INTO task_history (id, queue, name, payload, headers, run_at, priority, state, attempt,
                          max_attempts, errors, created_at, options, concurrency_key, schedule_id, fire_at)
SELECT nextval('task_id_seq'), 'q', 'n', '', '{}', now(), 5, 'cancelled', 0, 10, '[]', now(), options, 'k', 7, now()
FROM tasks WHERE options ? 'local_time';
INSERT INTO dead_tasks (id, queue, name, payload, headers, run_at, priority, attempt, max_attempts,
                        errors, created_at, options, concurrency_key, schedule_id, fire_at)
SELECT nextval('task_id_seq'), 'q', 'n', '', '{}', now(), 5, 10, 10, '[]', now(), options, 'k', 7, now()
FROM tasks WHERE options ? 'local_time')"},
      {"20261127002000", R"(
INSERT INTO task_keys (queue, dedupe_key, task_id, window_us, look_at)
VALUES ('q', gen_random_uuid(), 1, 0, now()))"},
      {"20261127002100", R"(
SELECT parley_enqueue('q', 'n', concurrency_key => 'k', dedupe_key => gen_random_uuid()::text,
                      run_timeout => interval '1 minute'))"},
      {"20261127004000", R"(
SELECT parley_enqueue('q2', 'n'))"},
      {"20261127005000", R"(
INSERT INTO schedules (cron, time_zone, queue, task_name, payload, priority, misfire_policy, misfire_limit,
                       catch_up_window_us, overlap_policy, jitter_us, considered_until)
VALUES ('0 3 * * *', 'Europe/Berlin', 'q', 'n', '', 0, 'latest', 1, 60000000, 'skip', 0, now()))"},
      {"20261127151500", R"(
INSERT INTO legacy_passwords (user_id, password, accepted)
SELECT id, 'p', true FROM users WHERE id NOT IN (SELECT user_id FROM legacy_passwords) LIMIT 1)"},
      {"20261127200000", R"(
INSERT INTO password_attempts (subject, forgiven_at) VALUES ('login:ann', now()))"},
  };
  return rows;
}

}  // namespace parley::testing
