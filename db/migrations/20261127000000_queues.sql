-- Queues have settings: whether they are paused, how much of them may run, how their tasks are retried,
-- where they are pushed to. Tasks may belong to a schedule, have a retry policy, a run timeout and a
-- concurrency key. What few tasks have is in one column, options.
-- migrate:up
-- +goose Up
LOCK TABLE tasks, task_history, dead_tasks IN ACCESS EXCLUSIVE MODE;
DROP VIEW all_tasks;

-- A queue needs no row: one that has none has the defaults. What is null here is the default.
CREATE TABLE queues (
  name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9._-]{1,128}$'),
  paused_at timestamptz,
  pause_note text NOT NULL DEFAULT '' CHECK (char_length(pause_note) <= 256),
  -- For tasks that are created without.
  max_attempts integer CHECK (max_attempts BETWEEN 1 AND 100),
  -- {"first_us": 1, "longest_us": 1, "multiplier": 2.0, "jitter": 0.1}, what is not there is the
  -- default. A task's own (tasks.options) goes before it.
  retry jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(retry) = 'object'),
  -- How many tasks may run at a time; of those with the same concurrency_key.
  max_running integer CHECK (max_running >= 1),
  max_running_per_key integer CHECK (max_running_per_key >= 1),
  -- A token bucket: a claim takes a token, there are never more than `burst`.
  rate_per_second double precision CHECK (rate_per_second > 0),
  burst integer CHECK (burst >= 1),
  tokens double precision CHECK (tokens >= 0),
  tokens_at timestamptz,
  limited boolean NOT NULL GENERATED ALWAYS AS
    (num_nonnulls(max_running, max_running_per_key, rate_per_second) > 0) STORED,
  -- Where the tasks are pushed to; null: workers come for them.
  target jsonb CHECK (jsonb_typeof(target) = 'object'),
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK (num_nulls(rate_per_second, burst, tokens, tokens_at) IN (0, 4))
) WITH (fillfactor = 70);

ALTER TABLE tasks
  -- What only some have: {"local_time": {"date_time", "time_zone", "gap_policy", "fold_policy",
  -- "resolution"}, "retry": as of a queue, "run_timeout_us": 1}.
  ADD COLUMN options jsonb CHECK (jsonb_typeof(options) = 'object'),
  ADD COLUMN concurrency_key text COLLATE "C",
  ADD COLUMN schedule_id bigint,
  -- Which firing of the schedule this is.
  ADD COLUMN fire_at timestamptz,
  -- While running: no lease lasts longer.
  ADD COLUMN deadline_at timestamptz,
  -- While pending: too many with its concurrency key run.
  ADD COLUMN blocked boolean NOT NULL DEFAULT false,
  ADD CHECK ((schedule_id IS NULL) = (fire_at IS NULL)),
  ADD CHECK (NOT blocked OR state = 'pending' AND concurrency_key IS NOT NULL);
UPDATE tasks
SET options = jsonb_build_object('local_time', jsonb_build_object(
      'date_time', local_date_time, 'time_zone', time_zone, 'gap_policy', gap_policy,
      'fold_policy', fold_policy, 'resolution', local_resolution))
WHERE local_date_time IS NOT NULL;
ALTER TABLE tasks
  DROP COLUMN local_date_time, DROP COLUMN time_zone, DROP COLUMN gap_policy,
  DROP COLUMN fold_policy, DROP COLUMN local_resolution;
DROP INDEX tasks_due;
CREATE INDEX tasks_due ON tasks (queue, priority, run_at, id) WHERE state = 'pending' AND NOT blocked;
-- As small as what is in flight: leases that have run out, how much of a queue runs.
DROP INDEX tasks_running;
CREATE INDEX tasks_running ON tasks (queue, concurrency_key) WHERE state = 'running';
CREATE INDEX tasks_blocked ON tasks (queue, concurrency_key, priority DESC, run_at, id) WHERE blocked;
CREATE UNIQUE INDEX tasks_of_schedule ON tasks (schedule_id, fire_at) WHERE schedule_id IS NOT NULL;
-- To resolve local times anew when zones change.
CREATE INDEX tasks_with_local_time ON tasks (id)
  WHERE state = 'pending' AND (options -> 'local_time') IS NOT NULL;

ALTER TABLE task_history
  ADD COLUMN options jsonb, ADD COLUMN concurrency_key text COLLATE "C", ADD COLUMN schedule_id bigint,
  ADD COLUMN fire_at timestamptz;
UPDATE task_history
SET options = jsonb_build_object('local_time', jsonb_build_object(
      'date_time', local_date_time, 'time_zone', time_zone, 'gap_policy', gap_policy,
      'fold_policy', fold_policy, 'resolution', local_resolution))
WHERE local_date_time IS NOT NULL;
ALTER TABLE task_history
  DROP COLUMN local_date_time, DROP COLUMN time_zone, DROP COLUMN gap_policy,
  DROP COLUMN fold_policy, DROP COLUMN local_resolution;
-- ListTasks of what did not succeed, which may be little among much.
CREATE INDEX task_history_unsuccessful ON task_history (state, id) WHERE state <> 'succeeded';

ALTER TABLE dead_tasks
  ADD COLUMN options jsonb, ADD COLUMN concurrency_key text COLLATE "C", ADD COLUMN schedule_id bigint,
  ADD COLUMN fire_at timestamptz;
UPDATE dead_tasks
SET options = jsonb_build_object('local_time', jsonb_build_object(
      'date_time', local_date_time, 'time_zone', time_zone, 'gap_policy', gap_policy,
      'fold_policy', fold_policy, 'resolution', local_resolution))
WHERE local_date_time IS NOT NULL;
ALTER TABLE dead_tasks
  DROP COLUMN local_date_time, DROP COLUMN time_zone, DROP COLUMN gap_policy,
  DROP COLUMN fold_policy, DROP COLUMN local_resolution;

-- Every task, wherever it is.
CREATE VIEW all_tasks AS
SELECT id, queue, name, payload, headers, run_at, expires_at, priority, state, attempt, max_attempts,
       lease_token, lease_until, cancel_requested, errors, ''::bytea AS result, options,
       concurrency_key, schedule_id, fire_at, created_at, updated_at
FROM tasks
UNION ALL
SELECT id, queue, name, payload, headers, run_at, expires_at, priority, state, attempt, max_attempts,
       lease_token, NULL, false, errors, result, options,
       concurrency_key, schedule_id, fire_at, created_at, finished_at
FROM task_history
UNION ALL
SELECT id, queue, name, payload, headers, run_at, expires_at, priority, 'dead', attempt, max_attempts,
       NULL, NULL, false, errors, '', options,
       concurrency_key, schedule_id, fire_at, created_at, died_at
FROM dead_tasks;


-- How much there is in a queue, and has been: the sums over its rows. Every connection has a row of its
-- own, so that none waits for another to commit; what ended connections have left is folded into that
-- of connection 0. The triggers below keep them, whoever changes the tables.
CREATE TABLE queue_counters (
  queue text COLLATE "C" NOT NULL,
  backend integer NOT NULL,
  pending bigint NOT NULL DEFAULT 0,
  running bigint NOT NULL DEFAULT 0,
  dead bigint NOT NULL DEFAULT 0,
  created bigint NOT NULL DEFAULT 0,
  succeeded bigint NOT NULL DEFAULT 0,
  cancelled bigint NOT NULL DEFAULT 0,
  expired bigint NOT NULL DEFAULT 0,
  died bigint NOT NULL DEFAULT 0,
  -- Attempts that failed and were followed by another.
  retried bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (queue, backend)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
INSERT INTO queue_counters (queue, backend, pending, running, dead, created, succeeded, cancelled,
                            expired, died)
SELECT queue, 0, count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'running'),
       count(*) FILTER (WHERE state = 'dead'), count(*), count(*) FILTER (WHERE state = 'succeeded'),
       count(*) FILTER (WHERE state = 'cancelled'), count(*) FILTER (WHERE state = 'expired'),
       count(*) FILTER (WHERE state = 'dead')
FROM all_tasks
GROUP BY queue;

-- +goose StatementBegin
CREATE FUNCTION count_new_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- A task that is driven again was created before.
  INSERT INTO queue_counters AS c (queue, backend, pending, running, created)
  SELECT queue, pg_backend_pid(), count(*) FILTER (WHERE state = 'pending'),
         count(*) FILTER (WHERE state = 'running'), count(*) FILTER (WHERE created_at = now())
  FROM now_there
  GROUP BY queue
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE
  SET pending = c.pending + excluded.pending, running = c.running + excluded.running,
      created = c.created + excluded.created;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION count_moved_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Back from running: an attempt that was released is not counted any more.
  INSERT INTO queue_counters AS c (queue, backend, pending, running, retried)
  SELECT queue, pg_backend_pid(), -sum(running), sum(running),
         CASE WHEN sum(running) < 0 THEN greatest(0, sum(attempt) - sum(running)) ELSE 0 END
  FROM (
    SELECT queue, (state = 'running')::int AS running, attempt FROM now_there
    UNION ALL
    SELECT queue, -(state = 'running')::int, -attempt FROM was_there
  ) AS moved
  GROUP BY queue
  HAVING sum(running) <> 0
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE
  SET pending = c.pending + excluded.pending, running = c.running + excluded.running,
      retried = c.retried + excluded.retried;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION count_gone_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO queue_counters AS c (queue, backend, pending, running)
  SELECT queue, pg_backend_pid(), -count(*) FILTER (WHERE state = 'pending'),
         -count(*) FILTER (WHERE state = 'running')
  FROM was_there
  GROUP BY queue
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE
  SET pending = c.pending + excluded.pending, running = c.running + excluded.running;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION count_ended_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO queue_counters AS c (queue, backend, succeeded, cancelled, expired)
  SELECT queue, pg_backend_pid(), count(*) FILTER (WHERE state = 'succeeded'),
         count(*) FILTER (WHERE state = 'cancelled'), count(*) FILTER (WHERE state = 'expired')
  FROM now_there
  GROUP BY queue
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE
  SET succeeded = c.succeeded + excluded.succeeded, cancelled = c.cancelled + excluded.cancelled,
      expired = c.expired + excluded.expired;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION count_dead_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO queue_counters AS c (queue, backend, dead, died)
  SELECT queue, pg_backend_pid(), count(*), count(*)
  FROM now_there
  GROUP BY queue
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE
  SET dead = c.dead + excluded.dead, died = c.died + excluded.died;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION count_revived_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO queue_counters AS c (queue, backend, dead)
  SELECT queue, pg_backend_pid(), -count(*)
  FROM was_there
  GROUP BY queue
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE SET dead = c.dead + excluded.dead;
  RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER count_new AFTER INSERT ON tasks
  REFERENCING NEW TABLE AS now_there FOR EACH STATEMENT EXECUTE FUNCTION count_new_tasks();
CREATE TRIGGER count_moved AFTER UPDATE ON tasks
  REFERENCING NEW TABLE AS now_there OLD TABLE AS was_there
  FOR EACH STATEMENT EXECUTE FUNCTION count_moved_tasks();
CREATE TRIGGER count_gone AFTER DELETE ON tasks
  REFERENCING OLD TABLE AS was_there FOR EACH STATEMENT EXECUTE FUNCTION count_gone_tasks();
CREATE TRIGGER count_ended AFTER INSERT ON task_history
  REFERENCING NEW TABLE AS now_there FOR EACH STATEMENT EXECUTE FUNCTION count_ended_tasks();
CREATE TRIGGER count_dead AFTER INSERT ON dead_tasks
  REFERENCING NEW TABLE AS now_there FOR EACH STATEMENT EXECUTE FUNCTION count_dead_tasks();
CREATE TRIGGER count_revived AFTER DELETE ON dead_tasks
  REFERENCING OLD TABLE AS was_there FOR EACH STATEMENT EXECUTE FUNCTION count_revived_tasks();

-- migrate:down
-- +goose Down
LOCK TABLE tasks, task_history, dead_tasks IN ACCESS EXCLUSIVE MODE;
DROP VIEW all_tasks;
DROP TRIGGER count_new ON tasks;
DROP TRIGGER count_moved ON tasks;
DROP TRIGGER count_gone ON tasks;
DROP TRIGGER count_ended ON task_history;
DROP TRIGGER count_dead ON dead_tasks;
DROP TRIGGER count_revived ON dead_tasks;
DROP FUNCTION count_new_tasks, count_moved_tasks, count_gone_tasks, count_ended_tasks,
  count_dead_tasks, count_revived_tasks;
DROP TABLE queue_counters;
ALTER TABLE tasks
  ADD COLUMN local_date_time text, ADD COLUMN time_zone text,
  ADD COLUMN gap_policy text, ADD COLUMN fold_policy text, ADD COLUMN local_resolution text;
UPDATE tasks
SET local_date_time = options #>> '{local_time,date_time}',
    time_zone = options #>> '{local_time,time_zone}',
    gap_policy = options #>> '{local_time,gap_policy}',
    fold_policy = options #>> '{local_time,fold_policy}',
    local_resolution = options #>> '{local_time,resolution}'
WHERE options ? 'local_time';
ALTER TABLE task_history
  ADD COLUMN local_date_time text, ADD COLUMN time_zone text,
  ADD COLUMN gap_policy text, ADD COLUMN fold_policy text, ADD COLUMN local_resolution text;
UPDATE task_history
SET local_date_time = options #>> '{local_time,date_time}',
    time_zone = options #>> '{local_time,time_zone}',
    gap_policy = options #>> '{local_time,gap_policy}',
    fold_policy = options #>> '{local_time,fold_policy}',
    local_resolution = options #>> '{local_time,resolution}'
WHERE options ? 'local_time';
ALTER TABLE dead_tasks
  ADD COLUMN local_date_time text, ADD COLUMN time_zone text,
  ADD COLUMN gap_policy text, ADD COLUMN fold_policy text, ADD COLUMN local_resolution text;
UPDATE dead_tasks
SET local_date_time = options #>> '{local_time,date_time}',
    time_zone = options #>> '{local_time,time_zone}',
    gap_policy = options #>> '{local_time,gap_policy}',
    fold_policy = options #>> '{local_time,fold_policy}',
    local_resolution = options #>> '{local_time,resolution}'
WHERE options ? 'local_time';
DROP INDEX tasks_due, tasks_running, tasks_blocked, tasks_of_schedule, tasks_with_local_time,
  task_history_unsuccessful;
ALTER TABLE tasks
  DROP COLUMN options, DROP COLUMN concurrency_key, DROP COLUMN schedule_id, DROP COLUMN fire_at,
  DROP COLUMN deadline_at, DROP COLUMN blocked,
  ADD CHECK (gap_policy IN ('shift', 'reject')),
  ADD CHECK (fold_policy IN ('first', 'second', 'reject')),
  ADD CHECK (local_resolution IN ('unique', 'shifted', 'ambiguous')),
  ADD CHECK (num_nulls(local_date_time, time_zone, gap_policy, fold_policy, local_resolution) IN (0, 5));
ALTER TABLE task_history
  DROP COLUMN options, DROP COLUMN concurrency_key, DROP COLUMN schedule_id, DROP COLUMN fire_at;
ALTER TABLE dead_tasks
  DROP COLUMN options, DROP COLUMN concurrency_key, DROP COLUMN schedule_id, DROP COLUMN fire_at;
CREATE INDEX tasks_due ON tasks (queue, priority, run_at, id) WHERE state = 'pending';
CREATE INDEX tasks_running ON tasks (id) WHERE state = 'running';
DROP TABLE queues;
CREATE VIEW all_tasks AS
SELECT id, queue, name, payload, headers, run_at, expires_at, priority, state, attempt, max_attempts,
       lease_token, lease_until, cancel_requested, errors, ''::bytea AS result, local_date_time,
       time_zone, gap_policy, fold_policy, local_resolution, created_at, updated_at
FROM tasks
UNION ALL
SELECT id, queue, name, payload, headers, run_at, expires_at, priority, state, attempt, max_attempts,
       lease_token, NULL, false, errors, result, local_date_time,
       time_zone, gap_policy, fold_policy, local_resolution, created_at, finished_at
FROM task_history
UNION ALL
SELECT id, queue, name, payload, headers, run_at, expires_at, priority, 'dead', attempt, max_attempts,
       NULL, NULL, false, errors, '', local_date_time,
       time_zone, gap_policy, fold_policy, local_resolution, created_at, died_at
FROM dead_tasks;
