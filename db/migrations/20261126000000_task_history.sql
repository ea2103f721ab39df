-- Tasks that have ended leave the table that workers claim from: succeeded, cancelled and expired ones
-- go to a history in daily partitions, whose old days are dropped whole; dead ones wait to be driven
-- again. What failed attempts said is kept, not only the last.
-- migrate:up
-- +goose Up
LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE;
CREATE TEMPORARY TABLE all_of_them ON COMMIT DROP AS
SELECT *,
       CASE WHEN last_error = '' THEN '[]'
            ELSE jsonb_build_array(jsonb_build_object(
              'attempt', attempt, 'us', (extract(epoch FROM updated_at) * 1000000)::bigint,
              'error', last_error)) END AS errors
FROM tasks;
ALTER SEQUENCE task_id_seq OWNED BY NONE;
DROP TABLE tasks;

-- Pending and running tasks. A task is written when it is created, when it is claimed, and when it
-- leaves; every check is made again each time, so there are only cheap ones here.
CREATE TABLE tasks (
  id bigint PRIMARY KEY DEFAULT nextval('task_id_seq'),
  queue text COLLATE "C" NOT NULL CHECK (octet_length(queue) BETWEEN 1 AND 128),
  name text NOT NULL CHECK (name <> ''),
  payload bytea NOT NULL CHECK (octet_length(payload) <= 1048576),
  headers jsonb NOT NULL DEFAULT '{}',
  run_at timestamptz NOT NULL,
  -- A task that no worker has then is expired.
  expires_at timestamptz,
  priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 9),
  state text COLLATE "C" NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running')),
  attempt integer NOT NULL DEFAULT 0,
  max_attempts integer NOT NULL CHECK (max_attempts BETWEEN 1 AND 100),
  -- Random, new with every claim.
  lease_token uuid,
  -- Not indexed, so that extending a lease stays a HOT update.
  lease_until timestamptz,
  -- A running task that is not to be tried again.
  cancel_requested boolean NOT NULL DEFAULT false,
  -- What failed attempts said, the oldest first: [{"attempt": 1, "us": 1767225600000000, "error": ""}]
  errors jsonb NOT NULL DEFAULT '[]',
  -- What was asked for and how it was understood, if the task was given a local time.
  local_date_time text,
  time_zone text,
  gap_policy text CHECK (gap_policy IN ('shift', 'reject')),
  fold_policy text CHECK (fold_policy IN ('first', 'second', 'reject')),
  local_resolution text CHECK (local_resolution IN ('unique', 'shifted', 'ambiguous')),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK (attempt BETWEEN 0 AND max_attempts),
  CHECK ((state = 'running') = (lease_until IS NOT NULL)),
  CHECK ((state = 'running') = (lease_token IS NOT NULL)),
  CHECK (num_nulls(local_date_time, time_zone, gap_policy, fold_policy, local_resolution) IN (0, 5))
) WITH (
  -- A task is updated once, by the claim, before it leaves; dead rows must go before they pile up in
  -- the due index, whatever the size of the table.
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 2000,
  autovacuum_vacuum_cost_delay = 0
);
ALTER SEQUENCE task_id_seq OWNED BY tasks.id;
-- Out of line and uncompressed: updates do not copy it, and its length is known without reading it.
ALTER TABLE tasks ALTER COLUMN payload SET STORAGE EXTERNAL;
-- One range a queue and priority, in the order in which tasks are claimed. Tasks that are not due yet
-- lie behind those that are, so a claim never meets them.
CREATE INDEX tasks_due ON tasks (queue, priority, run_at, id) WHERE state = 'pending';
-- For the search for leases that have run out. As small as what is in flight.
CREATE INDEX tasks_running ON tasks (id) WHERE state = 'running';
CREATE INDEX tasks_expiring ON tasks (expires_at) WHERE state = 'pending' AND expires_at IS NOT NULL;
-- ListTasks of a queue; without one it walks the primary key.
CREATE INDEX tasks_by_queue ON tasks (queue, id);

-- Tasks that have ended and will not run again.
CREATE TABLE task_history (
  id bigint NOT NULL,
  finished_at timestamptz NOT NULL DEFAULT now(),
  queue text COLLATE "C" NOT NULL,
  name text NOT NULL,
  payload bytea NOT NULL,
  headers jsonb NOT NULL,
  run_at timestamptz NOT NULL,
  expires_at timestamptz,
  priority smallint NOT NULL,
  state text COLLATE "C" NOT NULL CHECK (state IN ('succeeded', 'cancelled', 'expired')),
  attempt integer NOT NULL,
  max_attempts integer NOT NULL,
  -- Of the lease that ended it, so that a repeated ack can be told from a stale one.
  lease_token uuid,
  errors jsonb NOT NULL,
  result bytea NOT NULL DEFAULT '' CHECK (octet_length(result) <= 262144),
  local_date_time text,
  time_zone text,
  gap_policy text,
  fold_policy text,
  local_resolution text,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (id, finished_at)
) PARTITION BY RANGE (finished_at);
ALTER TABLE task_history ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX task_history_by_queue ON task_history (queue, id);

-- Tasks that are out of attempts.
CREATE TABLE dead_tasks (
  id bigint PRIMARY KEY,
  died_at timestamptz NOT NULL DEFAULT now(),
  queue text COLLATE "C" NOT NULL,
  name text NOT NULL,
  payload bytea NOT NULL,
  headers jsonb NOT NULL,
  run_at timestamptz NOT NULL,
  expires_at timestamptz,
  priority smallint NOT NULL,
  attempt integer NOT NULL,
  max_attempts integer NOT NULL,
  errors jsonb NOT NULL,
  local_date_time text,
  time_zone text,
  gap_policy text,
  fold_policy text,
  local_resolution text,
  created_at timestamptz NOT NULL
);
ALTER TABLE dead_tasks ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX dead_tasks_by_queue ON dead_tasks (queue, id);

-- Every task, wherever it is.
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

-- +goose StatementBegin
-- Makes the history's partitions for the days (UTC) from `first` to `last`, where there are none. Whoever
-- reads or writes the history is not kept waiting; another who does the same is.
CREATE FUNCTION extend_task_history(first date, last date) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  day date;
  made integer := 0;
BEGIN
  FOR day IN SELECT generate_series(first::timestamp, last::timestamp, interval '1 day') LOOP
    CONTINUE WHEN to_regclass(format('task_history_%s', to_char(day, 'YYYYMMDD'))) IS NOT NULL;
    LOCK TABLE task_history IN SHARE UPDATE EXCLUSIVE MODE;
    CONTINUE WHEN to_regclass(format('task_history_%s', to_char(day, 'YYYYMMDD'))) IS NOT NULL;
    EXECUTE format('CREATE TABLE task_history_%s (LIKE task_history INCLUDING DEFAULTS'
                   ' INCLUDING CONSTRAINTS INCLUDING STORAGE)', to_char(day, 'YYYYMMDD'));
    EXECUTE format('ALTER TABLE task_history ATTACH PARTITION task_history_%s FOR VALUES FROM (%L) TO (%L)',
                   to_char(day, 'YYYYMMDD'), day || ' 00:00:00+00', day + 1 || ' 00:00:00+00');
    made := made + 1;
  END LOOP;
  RETURN made;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- Drops the partition of the oldest day if it is before `oldest`; says whether it did. Nobody is kept
-- waiting for longer than a tenth of a second; if the history is in use for longer, it fails.
CREATE FUNCTION drop_task_history(oldest date) RETURNS boolean
LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
DECLARE
  partition name;
BEGIN
  SELECT c.relname INTO partition
  FROM pg_inherits AS i
  JOIN pg_class AS c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'task_history'::regclass
    AND c.relname < format('task_history_%s', to_char(oldest, 'YYYYMMDD')) COLLATE "C"
  ORDER BY c.relname
  LIMIT 1;
  IF partition IS NULL THEN RETURN false; END IF;
  EXECUTE format('DROP TABLE %I', partition);
  RETURN true;
END $$;
-- +goose StatementEnd

SELECT extend_task_history(
  (least((SELECT min(updated_at) FROM all_of_them WHERE state IN ('succeeded', 'cancelled')), now())
     AT TIME ZONE 'UTC')::date,
  (now() AT TIME ZONE 'UTC')::date + 7);

INSERT INTO tasks (id, queue, name, payload, headers, run_at, priority, state, attempt, max_attempts,
                   lease_token, lease_until, errors, local_date_time, time_zone, gap_policy,
                   fold_policy, local_resolution, created_at, updated_at)
SELECT id, queue, name, payload, headers, run_at, priority, state, attempt, max_attempts,
       lease_token::uuid, lease_until, errors, local_date_time, time_zone, gap_policy,
       fold_policy, local_resolution, created_at, updated_at
FROM all_of_them
WHERE state IN ('pending', 'running');
INSERT INTO task_history (id, finished_at, queue, name, payload, headers, run_at, priority, state, attempt,
                          max_attempts, lease_token, errors, local_date_time, time_zone, gap_policy,
                          fold_policy, local_resolution, created_at)
SELECT id, updated_at, queue, name, payload, headers, run_at, priority, state, attempt, max_attempts,
       lease_token::uuid, errors, local_date_time, time_zone, gap_policy, fold_policy,
       local_resolution, created_at
FROM all_of_them
WHERE state IN ('succeeded', 'cancelled');
INSERT INTO dead_tasks (id, died_at, queue, name, payload, headers, run_at, priority, attempt,
                        max_attempts, errors, local_date_time, time_zone, gap_policy, fold_policy,
                        local_resolution, created_at)
SELECT id, updated_at, queue, name, payload, headers, run_at, priority, attempt, max_attempts, errors,
       local_date_time, time_zone, gap_policy, fold_policy, local_resolution, created_at
FROM all_of_them
WHERE state = 'dead';

-- migrate:down
-- +goose Down
LOCK TABLE tasks, task_history, dead_tasks IN ACCESS EXCLUSIVE MODE;
CREATE TEMPORARY TABLE all_of_them ON COMMIT DROP AS SELECT * FROM all_tasks WHERE state <> 'expired';
ALTER SEQUENCE task_id_seq OWNED BY NONE;
DROP FUNCTION extend_task_history;
DROP FUNCTION drop_task_history;
DROP VIEW all_tasks;
DROP TABLE dead_tasks;
DROP TABLE task_history;
DROP TABLE tasks;
CREATE TABLE tasks (
  id bigint PRIMARY KEY DEFAULT nextval('task_id_seq'),
  queue text COLLATE "C" NOT NULL CHECK (queue ~ '^[A-Za-z0-9._-]{1,128}$'),
  name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 256),
  payload bytea NOT NULL CHECK (octet_length(payload) <= 1048576),
  headers jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(headers) = 'object'),
  run_at timestamptz NOT NULL,
  priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 9),
  state text COLLATE "C" NOT NULL DEFAULT 'pending'
    CHECK (state IN ('pending', 'running', 'succeeded', 'dead', 'cancelled')),
  attempt integer NOT NULL DEFAULT 0,
  max_attempts integer NOT NULL CHECK (max_attempts BETWEEN 1 AND 100),
  -- 128 random bits. Kept after success, so that a repeated ack can be told from a stale one.
  lease_token text COLLATE "C" CHECK (lease_token ~ '^[0-9a-f]{32}$'),
  -- Not indexed, so that extending a lease stays a HOT update.
  lease_until timestamptz,
  last_error text NOT NULL DEFAULT '' CHECK (char_length(last_error) <= 1024),
  -- What was asked for and how it was understood, if the task was created with a local time.
  local_date_time text,
  time_zone text,
  gap_policy text CHECK (gap_policy IN ('shift', 'reject')),
  fold_policy text CHECK (fold_policy IN ('first', 'second', 'reject')),
  local_resolution text CHECK (local_resolution IN ('unique', 'shifted', 'ambiguous')),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK (attempt BETWEEN 0 AND max_attempts),
  CHECK (attempt > 0 OR state IN ('pending', 'cancelled')),
  CHECK ((state = 'running') = (lease_until IS NOT NULL)),
  CHECK ((state IN ('running', 'succeeded')) = (lease_token IS NOT NULL)),
  CHECK (num_nulls(local_date_time, time_zone, gap_policy, fold_policy, local_resolution) IN (0, 5))
) WITH (
  -- A task is updated at least twice, claim and ack; dead rows must go before they pile up in the due
  -- index, whatever the size of the table.
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 2000,
  autovacuum_vacuum_cost_delay = 0
);
ALTER SEQUENCE task_id_seq OWNED BY tasks.id;
-- Out of line and uncompressed: updates do not copy it, and its length is known without reading it.
ALTER TABLE tasks ALTER COLUMN payload SET STORAGE EXTERNAL;
-- One range a queue and priority, in the order in which tasks are claimed. Tasks that are not due yet
-- lie behind those that are, so a claim never meets them.
CREATE INDEX tasks_due ON tasks (queue, priority, run_at, id) WHERE state = 'pending';
-- For the search for leases that have run out. As small as what is in flight.
CREATE INDEX tasks_running ON tasks (id) WHERE state = 'running';
-- ListTasks with a filter; without one it walks the primary key.
CREATE INDEX tasks_by_queue ON tasks (queue, id);
CREATE INDEX tasks_by_state ON tasks (state, id);
INSERT INTO tasks (id, queue, name, payload, headers, run_at, priority, state, attempt, max_attempts,
                   lease_token, lease_until, last_error, local_date_time, time_zone, gap_policy,
                   fold_policy, local_resolution, created_at, updated_at)
SELECT id, queue, name, payload, headers, run_at, priority, state, attempt, max_attempts,
       CASE WHEN state IN ('running', 'succeeded') THEN replace(lease_token::text, '-', '') END,
       lease_until, coalesce(errors -> -1 ->> 'error', ''), local_date_time, time_zone, gap_policy,
       fold_policy, local_resolution, created_at, updated_at
FROM all_of_them;
