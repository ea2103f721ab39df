-- Schedules: what makes tasks again and again, by a cron expression or an interval. Any process makes
-- the firings that are due, under the lock of the schedule's row; the row says how far they have been
-- made, and moves on in the transaction that writes their tasks.
-- migrate:up
-- +goose Up
CREATE SEQUENCE schedule_id_seq;
CREATE TABLE schedules (
  id bigint PRIMARY KEY DEFAULT nextval('schedule_id_seq'),
  name text COLLATE "C" UNIQUE CHECK (char_length(name) BETWEEN 1 AND 128),
  -- When.
  cron text CHECK (cron <> ''),
  interval_us bigint CHECK (interval_us >= 1000000),
  anchor_at timestamptz,
  time_zone text NOT NULL,
  start_at timestamptz,
  end_at timestamptz,
  -- What: the columns of its tasks. What is null is the queue's, or is not there.
  queue text COLLATE "C" NOT NULL CHECK (queue ~ '^[A-Za-z0-9._-]{1,128}$'),
  task_name text NOT NULL CHECK (char_length(task_name) BETWEEN 1 AND 256),
  payload bytea NOT NULL CHECK (octet_length(payload) <= 1048576),
  headers jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(headers) = 'object'),
  priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 9),
  max_attempts integer CHECK (max_attempts BETWEEN 1 AND 100),
  expire_after_us bigint CHECK (expire_after_us > 0),
  options jsonb CHECK (jsonb_typeof(options) = 'object'),
  concurrency_key text COLLATE "C",
  -- How.
  misfire_policy text COLLATE "C" NOT NULL CHECK (misfire_policy IN ('skip', 'latest', 'all')),
  misfire_limit integer NOT NULL CHECK (misfire_limit BETWEEN 1 AND 1000),
  catch_up_window_us bigint NOT NULL CHECK (catch_up_window_us >= 0),
  overlap_policy text COLLATE "C" NOT NULL
    CHECK (overlap_policy IN ('skip', 'buffer_one', 'allow', 'cancel_other')),
  jitter_us bigint NOT NULL CHECK (jitter_us >= 0),
  paused_at timestamptz,
  pause_note text NOT NULL DEFAULT '' CHECK (char_length(pause_note) <= 256),
  -- Where it stands. Firings up to considered_until have been dealt with; the next one is the first that
  -- is later, and null if there is none. One may wait until the schedule has no task any more.
  considered_until timestamptz NOT NULL,
  next_fire_at timestamptz,
  buffered_fire_at timestamptz,
  last_fire_at timestamptz,
  last_task_id bigint,
  -- What became of its firings.
  fired bigint NOT NULL DEFAULT 0,
  missed bigint NOT NULL DEFAULT 0,
  overlapped bigint NOT NULL DEFAULT 0,
  buffered bigint NOT NULL DEFAULT 0,
  triggered bigint NOT NULL DEFAULT 0,
  backfilled bigint NOT NULL DEFAULT 0,
  -- Of what its owner says.
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK (num_nonnulls(cron, interval_us) = 1),
  CHECK ((interval_us IS NULL) = (anchor_at IS NULL)),
  CHECK (start_at < end_at),
  CHECK (next_fire_at > considered_until),
  CHECK (paused_at IS NOT NULL OR pause_note = ''),
  CHECK (paused_at IS NULL OR buffered_fire_at IS NULL)
) WITH (fillfactor = 70);
ALTER SEQUENCE schedule_id_seq OWNED BY schedules.id;
-- Firings do not copy it.
ALTER TABLE schedules ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX schedules_due ON schedules (next_fire_at) WHERE paused_at IS NULL;
CREATE INDEX schedules_buffering ON schedules (id) WHERE buffered_fire_at IS NOT NULL;
CREATE INDEX schedules_by_queue ON schedules (queue, id);

-- A firing whose task is dead has had its task.
CREATE INDEX dead_tasks_of_schedule ON dead_tasks (schedule_id, fire_at) WHERE schedule_id IS NOT NULL;

-- migrate:down
-- +goose Down
DROP INDEX dead_tasks_of_schedule;
DROP TABLE schedules;
