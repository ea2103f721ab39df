-- Tasks. Every change of state names the state it starts from; whoever holds a lease is known by
-- its token. The clock is the database's. A statement that changes a task returns its id; who wants to
-- see the task reads it after, in the same transaction. Claims and the like are in task_hot.sql.

-- name: InsertTask
-- A time that has passed means now. Whole seconds and the rest are added apart, because an interval
-- is multiplied in floating point, which has no room for the microseconds of the year 9999.
INSERT INTO tasks (id, queue, name, payload, headers, run_at, expires_at, priority, max_attempts,
  local_date_time, time_zone, gap_policy, fold_policy, local_resolution)
VALUES (:id::bigint, :queue::text, :name::text, decode(:payload::text, 'hex'),
  :headers::text::jsonb, greatest(now(),
    coalesce('epoch'::timestamptz + :run_at_s::bigint * interval '1 second'
               + :run_at_us::bigint * interval '1 microsecond', now())
      + :delay_us::bigint * interval '1 microsecond'),
  'epoch'::timestamptz + :expires_at_s::bigint * interval '1 second'
    + :expires_at_us::bigint * interval '1 microsecond',
  :priority::smallint, :max_attempts::int, :local_date_time::text, :time_zone::text,
  :gap_policy::text, :fold_policy::text, :local_resolution::text)
RETURNING id;

-- name: GetTask
SELECT
  t.id, t.queue, t.name, encode(t.payload, 'hex') AS payload, t.headers::text AS headers,
  (extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at,
  (extract(epoch FROM t.expires_at) * 1000000)::bigint AS expires_at, t.priority::int AS priority,
  t.state, t.attempt, t.max_attempts, t.lease_token::text AS lease_token,
  (extract(epoch FROM t.lease_until) * 1000000)::bigint AS lease_until,
  t.cancel_requested::int AS cancel_requested, t.errors::text AS errors,
  encode(t.result, 'hex') AS result,
  (extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
  (extract(epoch FROM t.updated_at) * 1000000)::bigint AS updated_at,
  t.local_date_time, t.time_zone, t.gap_policy, t.fold_policy, t.local_resolution
FROM all_tasks AS t
WHERE t.id = :id::bigint;

-- name: ListTasks
-- The page is found in an index first; then it is cut so that the answer stays small. `found` tells
-- how many rows the page had before the cut.
WITH page AS MATERIALIZED (
  SELECT t.id,
         octet_length(t.payload) + octet_length(t.headers::text) + 2 * octet_length(t.errors::text)
           + octet_length(t.result) + octet_length(t.name) + 512 AS bytes
  FROM all_tasks AS t
  WHERE (:queue::text = '' OR t.queue = :queue::text)
    AND (:state::text = '' OR t.state = :state::text)
    AND t.id < :before::bigint
  ORDER BY t.id DESC
  LIMIT :limit::bigint OFFSET :offset::bigint
), cut AS (
  SELECT id, row_number() OVER w AS position, sum(bytes) OVER w AS total, count(*) OVER () AS found
  FROM page
  WINDOW w AS (ORDER BY id DESC)
)
SELECT cut.found,
  t.id, t.queue, t.name, encode(t.payload, 'hex') AS payload, t.headers::text AS headers,
  (extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at,
  (extract(epoch FROM t.expires_at) * 1000000)::bigint AS expires_at, t.priority::int AS priority,
  t.state, t.attempt, t.max_attempts, t.lease_token::text AS lease_token,
  (extract(epoch FROM t.lease_until) * 1000000)::bigint AS lease_until,
  t.cancel_requested::int AS cancel_requested, t.errors::text AS errors,
  encode(t.result, 'hex') AS result,
  (extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
  (extract(epoch FROM t.updated_at) * 1000000)::bigint AS updated_at,
  t.local_date_time, t.time_zone, t.gap_policy, t.fold_policy, t.local_resolution
FROM cut
JOIN all_tasks AS t ON t.id = cut.id
WHERE cut.position = 1 OR cut.total <= :max_bytes::bigint
ORDER BY t.id DESC;

-- name: LockTask
-- A live task, until the end of the transaction; waits for whoever else changes it.
SELECT t.state FROM tasks AS t WHERE t.id = :id::bigint FOR NO KEY UPDATE;

-- name: EndPendingTask
-- A locked one. The empty text keeps the condition from looking like that of tasks_due, which a plan
-- made while the table was small could walk from end to end for ever after.
WITH ended AS (
  DELETE FROM tasks AS t WHERE t.id = :id::bigint AND t.state || '' = 'pending' RETURNING t.*
)
INSERT INTO task_history (state, id, queue, name, payload, headers, run_at, expires_at, priority,
    attempt, max_attempts, errors, local_date_time, time_zone, gap_policy, fold_policy,
    local_resolution, created_at)
SELECT 'cancelled', ended.id, ended.queue, ended.name, ended.payload, ended.headers, ended.run_at,
    ended.expires_at, ended.priority, ended.attempt, ended.max_attempts, ended.errors,
    ended.local_date_time, ended.time_zone, ended.gap_policy, ended.fold_policy,
    ended.local_resolution, ended.created_at
FROM ended
RETURNING id;

-- name: RequestCancel
UPDATE tasks AS t
SET cancel_requested = true, updated_at = now()
WHERE t.id = :id::bigint AND t.state || '' = 'running'
RETURNING t.id;

-- name: RescheduleTask
UPDATE tasks AS t
SET run_at = greatest(now(),
      coalesce('epoch'::timestamptz + :run_at_s::bigint * interval '1 second'
                 + :run_at_us::bigint * interval '1 microsecond', now())
        + :delay_us::bigint * interval '1 microsecond'),
    local_date_time = :local_date_time::text, time_zone = :time_zone::text,
    gap_policy = :gap_policy::text, fold_policy = :fold_policy::text,
    local_resolution = :local_resolution::text, updated_at = now()
WHERE t.id = :id::bigint AND t.state || '' = 'pending'
RETURNING t.id;

-- name: AckTask
-- One, for who ends its task in the transaction that does the work; see AckTasks (task_hot.sql).
WITH ended AS (
  DELETE FROM tasks AS t
  WHERE t.id = :id::bigint AND t.state || '' = 'running' AND t.lease_token = :token::uuid
  RETURNING t.*
)
INSERT INTO task_history (state, id, queue, name, payload, headers, run_at, expires_at, priority,
    attempt, max_attempts, errors, local_date_time, time_zone, gap_policy, fold_policy,
    local_resolution, created_at, lease_token)
SELECT 'succeeded', ended.id, ended.queue, ended.name, ended.payload, ended.headers, ended.run_at,
    ended.expires_at, ended.priority, ended.attempt, ended.max_attempts, ended.errors,
    ended.local_date_time, ended.time_zone, ended.gap_policy, ended.fold_policy,
    ended.local_resolution, ended.created_at, ended.lease_token
FROM ended
RETURNING id;

-- name: EndAttempts
-- Of each: its token; whether it failed, failed for good, or is as if it had not been claimed
-- ('released'); what went wrong; how long it rests after its first failed attempt (twice as long after
-- the second, and so on), how long at most, and a factor for that in millionths. `ended_as` is empty
-- for those that will be tried again. Of the errors the last 100 are kept. Leases that are lost return
-- no row.
WITH stopped AS MATERIALIZED (
  SELECT t.id, (f.kind = 'released')::int AS released,
         CASE WHEN t.cancel_requested THEN 'cancelled'
              WHEN f.kind = 'released' THEN ''
              WHEN f.kind = 'final' OR t.attempt >= t.max_attempts THEN 'dead'
              ELSE '' END AS ended_as,
         CASE WHEN f.kind = 'released' THEN t.errors
              ELSE (CASE WHEN jsonb_array_length(t.errors) < 100 THEN t.errors ELSE t.errors - 0 END)
                || jsonb_build_object('attempt', t.attempt,
                'us', (extract(epoch FROM now()) * 1000000)::bigint, 'error', f.error) END AS errors,
         CASE WHEN f.kind = 'released' THEN t.run_at
              ELSE now() + least(f.longest_us, f.first_us * power(2::float8, t.attempt - 1))
                     * (f.factor / 1e6) * interval '1 microsecond' END AS run_at
  FROM unnest(:ids::bigint[], :tokens::text[]::uuid[], :kinds::text[], :errors::text[],
              :first_us::bigint[], :longest_us::bigint[], :factors::bigint[])
         AS f(id, token, kind, error, first_us, longest_us, factor)
  JOIN tasks AS t ON t.id = f.id AND t.state || '' = 'running' AND t.lease_token = f.token
  ORDER BY t.id
  FOR NO KEY UPDATE OF t
), again AS (
  UPDATE tasks AS t
  SET state = 'pending', run_at = stopped.run_at, attempt = t.attempt - stopped.released,
      errors = stopped.errors, lease_token = NULL, lease_until = NULL, updated_at = now()
  FROM stopped
  WHERE t.id = stopped.id AND stopped.ended_as = ''
  RETURNING t.id, t.queue
), ended AS (
  DELETE FROM tasks AS t
  USING stopped
  WHERE t.id = stopped.id AND stopped.ended_as <> ''
  RETURNING t.id, t.queue, t.name, t.payload, t.headers, t.run_at, t.expires_at, t.priority,
      t.attempt, t.max_attempts, stopped.errors, t.local_date_time, t.time_zone, t.gap_policy,
      t.fold_policy, t.local_resolution, t.created_at, stopped.ended_as
), buried AS (
  INSERT INTO dead_tasks (id, queue, name, payload, headers, run_at, expires_at, priority,
      attempt, max_attempts, errors, local_date_time, time_zone, gap_policy, fold_policy,
      local_resolution, created_at)
  SELECT ended.id, ended.queue, ended.name, ended.payload, ended.headers, ended.run_at,
      ended.expires_at, ended.priority, ended.attempt, ended.max_attempts, ended.errors,
      ended.local_date_time, ended.time_zone, ended.gap_policy, ended.fold_policy,
      ended.local_resolution, ended.created_at
  FROM ended
  WHERE ended.ended_as = 'dead'
), cancelled AS (
  INSERT INTO task_history (state, id, queue, name, payload, headers, run_at, expires_at, priority,
      attempt, max_attempts, errors, local_date_time, time_zone, gap_policy, fold_policy,
      local_resolution, created_at)
  SELECT 'cancelled', ended.id, ended.queue, ended.name, ended.payload, ended.headers, ended.run_at,
      ended.expires_at, ended.priority, ended.attempt, ended.max_attempts, ended.errors,
      ended.local_date_time, ended.time_zone, ended.gap_policy, ended.fold_policy,
      ended.local_resolution, ended.created_at
  FROM ended
  WHERE ended.ended_as = 'cancelled'
)
SELECT again.id, again.queue, 'pending' AS state FROM again
UNION ALL
SELECT ended.id, ended.queue, ended.ended_as FROM ended;

-- name: ExtendLeases
UPDATE tasks AS t
SET lease_until = now() + e.lease_us * interval '1 microsecond', updated_at = now()
FROM unnest(:ids::bigint[], :tokens::text[]::uuid[], :lease_us::bigint[]) AS e(id, token, lease_us)
WHERE t.id = e.id AND t.state || '' = 'running' AND t.lease_token = e.token
RETURNING t.id, t.lease_token::text AS lease_token, t.cancel_requested::int AS cancel_requested;

-- name: FindRunning
SELECT t.id, t.lease_token::text AS lease_token, t.cancel_requested::int AS cancel_requested
FROM tasks AS t
WHERE t.id = ANY(:ids::bigint[]) AND t.state || '' = 'running';

-- name: LockExpiredLeases
-- For EndAttempts, in the same transaction: the attempt stays counted, for a task that kills its workers
-- must come to an end.
SELECT t.id, t.lease_token::text AS lease_token, t.cancel_requested::int AS cancel_requested
FROM tasks AS t
WHERE t.state = 'running' AND t.lease_until < now()
ORDER BY t.id
LIMIT :max_tasks::int
FOR NO KEY UPDATE SKIP LOCKED;

-- name: ExpireTasks
WITH expired AS MATERIALIZED (
  SELECT t.id, t.state
  FROM tasks AS t
  WHERE t.state = 'pending' AND t.expires_at <= now()
  ORDER BY t.expires_at
  LIMIT :max_tasks::int
  FOR NO KEY UPDATE SKIP LOCKED
), ended AS (
  DELETE FROM tasks AS t USING expired WHERE t.id = expired.id AND t.state = expired.state RETURNING t.*
)
INSERT INTO task_history (state, id, queue, name, payload, headers, run_at, expires_at, priority,
    attempt, max_attempts, errors, local_date_time, time_zone, gap_policy, fold_policy,
    local_resolution, created_at)
SELECT 'expired', ended.id, ended.queue, ended.name, ended.payload, ended.headers, ended.run_at,
    ended.expires_at, ended.priority, ended.attempt, ended.max_attempts, ended.errors,
    ended.local_date_time, ended.time_zone, ended.gap_policy, ended.fold_policy,
    ended.local_resolution, ended.created_at
FROM ended
RETURNING id;

-- name: LockDeadTasks
-- Those of a queue that were created first.
SELECT d.id
FROM dead_tasks AS d
WHERE d.queue = :queue::text
ORDER BY d.id
LIMIT :max_tasks::int
FOR UPDATE SKIP LOCKED;

-- name: RedriveTasks
-- With all their attempts before them; what has been tried stays in their errors.
WITH revived AS (
  DELETE FROM dead_tasks AS d WHERE d.id = ANY(:ids::bigint[]) RETURNING d.*
)
INSERT INTO tasks (id, queue, name, payload, headers, run_at, priority, max_attempts, errors,
                   local_date_time, time_zone, gap_policy, fold_policy, local_resolution,
                   created_at)
SELECT r.id, r.queue, r.name, r.payload, r.headers, now(), r.priority, r.max_attempts, r.errors,
       r.local_date_time, r.time_zone, r.gap_policy, r.fold_policy, r.local_resolution,
       r.created_at
FROM revived AS r
RETURNING id, queue;

-- name: ExtendTaskHistory
-- So that what ends always finds its day's partition.
SELECT extend_task_history((now() AT TIME ZONE 'UTC')::date,
                           (now() AT TIME ZONE 'UTC')::date + :days::int)::bigint AS id;

-- name: DropTaskHistory
SELECT drop_task_history((now() AT TIME ZONE 'UTC')::date - :days::int)::int::bigint AS id;

-- name: NotifyQueues
-- In a transaction of its own: a commit with a notification is serialized with all others like it.
SELECT pg_notify('parley_tasks', q.queue)::text AS sent
FROM unnest(:queues::text[]) AS q(queue);
