-- Tasks. Every change of state names the state it starts from; whoever holds a lease is known by
-- its token. The clock is the database's, always now(): a volatile clock could not bound an index
-- scan.

-- name: InsertTask
-- A time that has passed means now. Whole seconds and the rest are added apart, because an interval
-- is multiplied in floating point, which has no room for the microseconds of the year 9999.
INSERT INTO tasks AS t (id, queue, name, payload, headers, run_at, priority, max_attempts,
  local_date_time, time_zone, gap_policy, fold_policy, local_resolution)
VALUES (:id::bigint, :queue::text, :name::text, decode(:payload::text, 'hex'),
  :headers::text::jsonb, greatest(now(),
    coalesce('epoch'::timestamptz + :run_at_s::bigint * interval '1 second'
               + :run_at_us::bigint * interval '1 microsecond', now())
      + :delay_us::bigint * interval '1 microsecond'),
  :priority::smallint, :max_attempts::int, :local_date_time::text, :time_zone::text,
  :gap_policy::text, :fold_policy::text, :local_resolution::text)
RETURNING
  t.id, t.queue, t.name, encode(t.payload, 'hex') AS payload, t.headers::text AS headers,
  (extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at, t.priority::int AS priority, t.state,
  t.attempt, t.max_attempts, t.lease_token, t.last_error,
  (extract(epoch FROM t.lease_until) * 1000000)::bigint AS lease_until,
  (extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
  (extract(epoch FROM t.updated_at) * 1000000)::bigint AS updated_at,
  t.local_date_time, t.time_zone, t.gap_policy, t.fold_policy, t.local_resolution;

-- name: GetTask
SELECT
  t.id, t.queue, t.name, encode(t.payload, 'hex') AS payload, t.headers::text AS headers,
  (extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at, t.priority::int AS priority, t.state,
  t.attempt, t.max_attempts, t.lease_token, t.last_error,
  (extract(epoch FROM t.lease_until) * 1000000)::bigint AS lease_until,
  (extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
  (extract(epoch FROM t.updated_at) * 1000000)::bigint AS updated_at,
  t.local_date_time, t.time_zone, t.gap_policy, t.fold_policy, t.local_resolution
FROM tasks AS t
WHERE t.id = :id::bigint;

-- name: ListTasks
-- The page is found in an index first; then it is cut so that the answer stays small. `found` tells
-- how many rows the page had before the cut.
WITH page AS MATERIALIZED (
  SELECT t.id,
         octet_length(t.payload) + octet_length(t.headers::text) + octet_length(t.last_error)
           + octet_length(t.name) + 512 AS bytes
  FROM tasks AS t
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
  (extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at, t.priority::int AS priority, t.state,
  t.attempt, t.max_attempts, t.lease_token, t.last_error,
  (extract(epoch FROM t.lease_until) * 1000000)::bigint AS lease_until,
  (extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
  (extract(epoch FROM t.updated_at) * 1000000)::bigint AS updated_at,
  t.local_date_time, t.time_zone, t.gap_policy, t.fold_policy, t.local_resolution
FROM cut
JOIN tasks AS t ON t.id = cut.id
WHERE cut.position = 1 OR cut.total <= :max_bytes::bigint
ORDER BY t.id DESC;

-- name: CancelTask
-- The empty text keeps the condition from looking like that of tasks_due, which a plan made while
-- the table was small could walk from end to end for ever after.
UPDATE tasks AS t
SET state = 'cancelled', updated_at = now()
WHERE t.id = :id::bigint AND t.state || '' = 'pending'
RETURNING
  t.id, t.queue, t.name, encode(t.payload, 'hex') AS payload, t.headers::text AS headers,
  (extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at, t.priority::int AS priority, t.state,
  t.attempt, t.max_attempts, t.lease_token, t.last_error,
  (extract(epoch FROM t.lease_until) * 1000000)::bigint AS lease_until,
  (extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
  (extract(epoch FROM t.updated_at) * 1000000)::bigint AS updated_at,
  t.local_date_time, t.time_zone, t.gap_policy, t.fold_policy, t.local_resolution;

-- name: ClaimTasks
-- For each priority, from the greatest, one index range a queue: nothing that is not due is read,
-- and once there are enough, lower priorities are not looked at. What is sorted is only how the heads
-- of several queues interleave, at most max_tasks of each. MATERIALIZED, because a sub-query may be
-- run again and would then lock more than LIMIT. The state is asked again where it changes, but not
-- as a constant: see CancelTask.
WITH candidate AS MATERIALIZED (
  SELECT head.id, head.state, head.bytes
  FROM generate_series(9, 0, -1) AS p(priority)
  CROSS JOIN LATERAL (
    SELECT due.id, due.state, due.bytes
    FROM unnest(:queues::text[]) AS q(queue)
    CROSS JOIN LATERAL (
      SELECT t.id, t.state, t.run_at,
             octet_length(t.payload) + octet_length(t.headers::text) + octet_length(t.last_error)
           + octet_length(t.name) + 512 AS bytes
      FROM tasks AS t
      WHERE t.state = 'pending' AND t.queue = q.queue AND t.priority = p.priority::smallint
        AND t.run_at <= now()
      ORDER BY t.run_at, t.id
      LIMIT :max_tasks::int
      FOR NO KEY UPDATE SKIP LOCKED
    ) AS due
    ORDER BY due.run_at, due.id
    LIMIT :max_tasks::int
  ) AS head
  LIMIT :max_tasks::int
), cut AS MATERIALIZED (
  SELECT id, state, row_number() OVER w AS position, sum(bytes) OVER w AS total
  FROM candidate
  WINDOW w AS (ROWS UNBOUNDED PRECEDING)
)
UPDATE tasks AS t
SET state = 'running', attempt = t.attempt + 1, lease_token = :token::text,
    lease_until = now() + :lease_us::bigint * interval '1 microsecond', updated_at = now()
FROM cut
WHERE t.id = cut.id AND t.state = cut.state
  AND (cut.position = 1 OR cut.total <= :max_bytes::bigint)
RETURNING
  t.id, t.queue, t.name, encode(t.payload, 'hex') AS payload, t.headers::text AS headers,
  (extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at, t.priority::int AS priority, t.state,
  t.attempt, t.max_attempts, t.lease_token, t.last_error,
  (extract(epoch FROM t.lease_until) * 1000000)::bigint AS lease_until,
  (extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
  (extract(epoch FROM t.updated_at) * 1000000)::bigint AS updated_at,
  t.local_date_time, t.time_zone, t.gap_policy, t.fold_policy, t.local_resolution;

-- name: NextDue
-- How long until the first task of each queue is due; negative if it is. No row: none is pending.
SELECT q.queue, (extract(epoch FROM min(head.run_at) - now()) * 1000000)::bigint AS due_in
FROM unnest(:queues::text[]) AS q(queue)
CROSS JOIN generate_series(0, 9) AS p(priority)
CROSS JOIN LATERAL (
  SELECT t.run_at
  FROM tasks AS t
  WHERE t.state = 'pending' AND t.queue = q.queue AND t.priority = p.priority::smallint
  ORDER BY t.run_at
  LIMIT 1
) AS head
GROUP BY q.queue;

-- name: AckTask
-- The token stays, so that the same ack can be answered again.
UPDATE tasks AS t
SET state = 'succeeded', lease_until = NULL, updated_at = now()
WHERE t.id = :id::bigint AND t.state = 'running' AND t.lease_token = :token::text
RETURNING
  t.id, t.queue, t.name, encode(t.payload, 'hex') AS payload, t.headers::text AS headers,
  (extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at, t.priority::int AS priority, t.state,
  t.attempt, t.max_attempts, t.lease_token, t.last_error,
  (extract(epoch FROM t.lease_until) * 1000000)::bigint AS lease_until,
  (extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
  (extract(epoch FROM t.updated_at) * 1000000)::bigint AS updated_at,
  t.local_date_time, t.time_zone, t.gap_policy, t.fold_policy, t.local_resolution;

-- name: FailTask
-- `final`: it is not to be tried again, whatever attempts are left.
UPDATE tasks AS t
SET state = CASE WHEN t.attempt < t.max_attempts AND :final::int = 0 THEN 'pending' ELSE 'dead' END,
    run_at = CASE WHEN t.attempt < t.max_attempts AND :final::int = 0
                  THEN now() + :retry_us::bigint * interval '1 microsecond' ELSE t.run_at END,
    lease_token = NULL, lease_until = NULL, last_error = :error::text, updated_at = now()
WHERE t.id = :id::bigint AND t.state = 'running' AND t.lease_token = :token::text
RETURNING
  t.id, t.queue, t.name, encode(t.payload, 'hex') AS payload, t.headers::text AS headers,
  (extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at, t.priority::int AS priority, t.state,
  t.attempt, t.max_attempts, t.lease_token, t.last_error,
  (extract(epoch FROM t.lease_until) * 1000000)::bigint AS lease_until,
  (extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
  (extract(epoch FROM t.updated_at) * 1000000)::bigint AS updated_at,
  t.local_date_time, t.time_zone, t.gap_policy, t.fold_policy, t.local_resolution;

-- name: ExtendLease
UPDATE tasks AS t
SET lease_until = now() + :lease_us::bigint * interval '1 microsecond', updated_at = now()
WHERE t.id = :id::bigint AND t.state = 'running' AND t.lease_token = :token::text
RETURNING
  t.id, t.queue, t.name, encode(t.payload, 'hex') AS payload, t.headers::text AS headers,
  (extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at, t.priority::int AS priority, t.state,
  t.attempt, t.max_attempts, t.lease_token, t.last_error,
  (extract(epoch FROM t.lease_until) * 1000000)::bigint AS lease_until,
  (extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
  (extract(epoch FROM t.updated_at) * 1000000)::bigint AS updated_at,
  t.local_date_time, t.time_zone, t.gap_policy, t.fold_policy, t.local_resolution;

-- name: ReleaseTasks
-- As if they had not been claimed.
UPDATE tasks AS t
SET state = 'pending', attempt = t.attempt - 1, lease_token = NULL, lease_until = NULL,
    updated_at = now()
WHERE t.id = ANY(:ids::bigint[]) AND t.state = 'running' AND t.lease_token = :token::text;

-- name: RescueExpired
-- The attempt stays counted: a task that kills its workers must come to an end.
WITH expired AS MATERIALIZED (
  SELECT t.id, t.state
  FROM tasks AS t
  WHERE t.state = 'running' AND t.lease_until < now()
  ORDER BY t.id
  LIMIT :max_tasks::int
  FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE tasks AS t
SET state = CASE WHEN t.attempt < t.max_attempts THEN 'pending' ELSE 'dead' END,
    run_at = CASE WHEN t.attempt < t.max_attempts THEN now() ELSE t.run_at END,
    lease_token = NULL, lease_until = NULL, last_error = 'the lease ran out', updated_at = now()
FROM expired
WHERE t.id = expired.id AND t.state = expired.state AND t.lease_until < now()
RETURNING t.id, t.queue, t.state;

-- name: NotifyQueues
-- In a transaction of its own: a commit with a notification is serialized with all others like it.
SELECT pg_notify('parley_tasks', q.queue)::text AS sent
FROM unnest(:queues::text[]) AS q(queue);
