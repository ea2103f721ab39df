-- Tasks. "Scheduled", "to be tried again" and "ready" are one stored state, pending: whether a task is
-- due follows from run_at, so nothing has to move tasks from one to the next. Finished tasks stay.
-- migrate:up
-- +goose Up
CREATE SEQUENCE task_id_seq;
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

-- migrate:down
-- +goose Down
DROP TABLE tasks;
