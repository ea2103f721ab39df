-- Tasks. Every change of state names the state it starts from; whoever holds a lease is known by
-- its token. The clock is the database's. A statement that changes a task returns its id; who wants to
-- see the task reads it after, in the same transaction. And it counts what it moves (queue_counters); what
-- comes in is counted by a trigger. Claims and the like are in task_hot.sql.

-- name: InsertTask
INSERT INTO tasks (id, queue, name, payload, headers, run_at, expires_at, priority, max_attempts,
  options, concurrency_key, schedule_id, fire_at)
SELECT :id::bigint, n.queue, :name::text, decode(:payload::text, 'hex'), :headers::text::jsonb,
  {RunAt},
  'epoch'::timestamptz + :expires_at_s::bigint * interval '1 second'
    + :expires_at_us::bigint * interval '1 microsecond',
  :priority::smallint, coalesce(nullif(:max_attempts::int, 0), q.max_attempts, {DefaultAttempts}),
  :options::text::jsonb, :concurrency_key::text, :schedule_id::bigint,
  'epoch'::timestamptz + :fire_at_s::bigint * interval '1 second'
    + :fire_at_us::bigint * interval '1 microsecond'
FROM (VALUES (:queue::text COLLATE "C")) AS n(queue)
LEFT JOIN queues AS q ON q.name = n.queue
RETURNING id;

-- name: GetTask
SELECT {ShownTask}
FROM all_tasks AS t
WHERE t.id = :id::bigint;

-- name: FindLive
-- The primary key of one small table: cheap enough to be asked again and again.
SELECT t.id FROM tasks AS t WHERE t.id = ANY(:ids::bigint[]);

-- name: ReadTasks
SELECT {ShownTask}
FROM all_tasks AS t
WHERE t.id = ANY(:ids::bigint[]);

-- name: LockTask
-- A live task, until the end of the transaction; waits for whoever else changes it.
SELECT t.state FROM tasks AS t WHERE t.id = :id::bigint FOR NO KEY UPDATE;

-- name: EndPendingTask
-- A locked one. The empty text keeps the condition from looking like that of tasks_due, which a plan
-- made while the table was small could walk from end to end for ever after.
WITH ended AS (
  DELETE FROM tasks AS t WHERE t.id = :id::bigint AND t.state || '' = 'pending' RETURNING t.*
), counted AS (
  INSERT INTO queue_counters AS c (queue, backend, pending, cancelled)
  SELECT queue, pg_backend_pid(), -1, 1 FROM ended
  {AddCounts}
)
INSERT INTO task_history (state, errors, {TaskColumns})
SELECT 'cancelled', errors, {TaskColumns}
FROM ended
RETURNING id;

-- name: RequestCancel
UPDATE tasks AS t
SET cancel_requested = true, updated_at = now()
WHERE t.id = :id::bigint AND t.state || '' = 'running'
RETURNING t.id;

-- name: RescheduleTask
UPDATE tasks AS t
SET run_at = {RunAt},
    options = nullif(jsonb_strip_nulls(coalesce(t.options, '{}')
                || jsonb_build_object('local_time', :local_time::text::jsonb)), '{}'),
    blocked = false, updated_at = now()
WHERE t.id = :id::bigint AND t.state || '' = 'pending'
RETURNING t.id;

-- name: ListLocalTimes
-- Tasks that are not due yet and were given a local time, from an id on.
SELECT t.id, t.queue, (t.options -> 'local_time')::text AS local_time,
       (extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at
FROM tasks AS t
WHERE t.state = 'pending' AND (t.options -> 'local_time') IS NOT NULL AND t.id > :after::bigint
  AND t.attempt = 0 AND t.run_at > now()
ORDER BY t.id
LIMIT :limit::int;

-- name: MoveToLocalTime
-- If it still is the local time that the task waits for.
UPDATE tasks AS t
SET run_at = {RunAt},
    options = t.options || jsonb_build_object('local_time', :local_time::text::jsonb),
    updated_at = now()
WHERE t.id = :id::bigint AND t.state || '' = 'pending' AND t.attempt = 0
  AND t.options -> 'local_time' = :old_local_time::text::jsonb
RETURNING t.id;

-- name: AckTask
-- One, for who ends its task in the transaction that does the work; see AckTasks (task_hot.sql).
WITH ended AS (
  DELETE FROM tasks AS t
  WHERE t.id = :id::bigint AND t.state || '' = 'running' AND t.lease_token = :token::uuid
  RETURNING t.*
), counted AS (
  INSERT INTO queue_counters AS c (queue, backend, running, succeeded)
  SELECT queue, pg_backend_pid(), -1, 1 FROM ended
  {AddCounts}
)
INSERT INTO task_history (state, errors, lease_token, {TaskColumns})
SELECT 'succeeded', errors, lease_token, {TaskColumns}
FROM ended
RETURNING id;

-- name: EndAttempts
-- Of each: its token; how it ended, and what went wrong. 'failed': it rests as its policy, or that of
-- its queue, says, longer with every attempt; 'abandoned': it failed, and is due at once; 'final': it
-- is not to be tried again; 'released': as if it had not been claimed. `ended_as` is empty for those
-- that will be tried again. Of the errors the last 100 are kept. Leases that are lost return no row.
-- `limited`: there is room in the queue now for others.
WITH stopped AS MATERIALIZED (
  SELECT t.id, f.kind, (f.kind = 'released')::int AS released,
         CASE WHEN t.cancel_requested THEN 'cancelled'
              WHEN f.kind = 'released' THEN ''
              WHEN f.kind = 'final' OR t.attempt >= t.max_attempts THEN 'dead'
              ELSE '' END AS ended_as,
         CASE WHEN f.kind = 'released' THEN t.errors
              ELSE (CASE WHEN jsonb_array_length(t.errors) < 100 THEN t.errors ELSE t.errors - 0 END)
                || jsonb_build_object('attempt', t.attempt,
                'us', (extract(epoch FROM now()) * 1000000)::bigint, 'error', f.error) END AS all_errors,
         {DefaultRetry} || coalesce((SELECT q.retry FROM queues AS q WHERE q.name = t.queue), '{}')
           || coalesce(t.options -> 'retry', '{}') AS retry
  FROM unnest(:ids::bigint[], :tokens::text[]::uuid[], :kinds::text[], :errors::text[])
         AS f(id, token, kind, error)
  JOIN tasks AS t ON t.id = f.id AND t.state || '' = 'running' AND t.lease_token = f.token
  ORDER BY t.id
  FOR NO KEY UPDATE OF t
), again AS (
  UPDATE tasks AS t
  SET state = 'pending',
      run_at = CASE stopped.kind
        WHEN 'released' THEN t.run_at
        WHEN 'abandoned' THEN now()
        -- Jitter below the longest too, or all that failed together would come together for ever.
        ELSE now() + least((stopped.retry ->> 'longest_us')::float8
                             * (1 - (stopped.retry ->> 'jitter')::float8 * random()),
                           (stopped.retry ->> 'first_us')::float8
                             * power((stopped.retry ->> 'multiplier')::float8, t.attempt - 1)
                             * (1 + (stopped.retry ->> 'jitter')::float8 * (2 * random() - 1)))
                     * interval '1 microsecond' END,
      attempt = t.attempt - stopped.released, errors = stopped.all_errors, lease_token = NULL,
      lease_until = NULL, deadline_at = NULL, updated_at = now()
  FROM stopped
  WHERE t.id = stopped.id AND stopped.ended_as = ''
  RETURNING t.id, t.queue, stopped.released
), ended AS (
  DELETE FROM tasks AS t
  USING stopped
  WHERE t.id = stopped.id AND stopped.ended_as <> ''
  RETURNING t.*, stopped.all_errors, stopped.ended_as
), buried AS (
  INSERT INTO dead_tasks (errors, {TaskColumns})
  SELECT all_errors, {TaskColumns}
  FROM ended
  WHERE ended_as = 'dead'
), cancelled AS (
  INSERT INTO task_history (state, errors, {TaskColumns})
  SELECT 'cancelled', all_errors, {TaskColumns}
  FROM ended
  WHERE ended_as = 'cancelled'
), counted AS (
  INSERT INTO queue_counters AS c (queue, backend, pending, running, dead, died, cancelled, retried)
  SELECT queue, pg_backend_pid(), sum(pending), -count(*), sum(died), sum(died), sum(cancelled), sum(retried)
  FROM (
    SELECT queue, 1 AS pending, 0 AS died, 0 AS cancelled, 1 - released AS retried FROM again
    UNION ALL
    SELECT queue, 0, (ended_as = 'dead')::int, (ended_as = 'cancelled')::int, 0 FROM ended
  ) AS m
  GROUP BY queue
  ORDER BY queue
  {AddCounts}
)
SELECT moved.id, moved.queue, moved.state,
  (moved.queue IN (SELECT q.name FROM queues AS q WHERE q.limited))::int AS limited
FROM (
  SELECT again.id, again.queue, 'pending' AS state FROM again
  UNION ALL
  SELECT ended.id, ended.queue, ended.ended_as FROM ended
) AS moved;

-- name: ExtendLeases
-- Not beyond the end of the task's run timeout.
UPDATE tasks AS t
SET lease_until = least(now() + e.lease_us * interval '1 microsecond', t.deadline_at),
    updated_at = now()
FROM unnest(:ids::bigint[], :tokens::text[]::uuid[], :lease_us::bigint[]) AS e(id, token, lease_us)
WHERE t.id = e.id AND t.state || '' = 'running' AND t.lease_token = e.token
RETURNING t.id, t.lease_token::text AS lease_token, t.cancel_requested::int AS cancel_requested,
  (extract(epoch FROM t.lease_until - now()) * 1000000)::bigint AS left_us;

-- name: FindRunning
SELECT t.id, t.lease_token::text AS lease_token, t.cancel_requested::int AS cancel_requested,
  (extract(epoch FROM t.lease_until - now()) * 1000000)::bigint AS left_us
FROM tasks AS t
WHERE t.id = ANY(:ids::bigint[]) AND t.state || '' = 'running';

-- name: LockExpiredLeases
-- For EndAttempts, in the same transaction: the attempt stays counted, for a task that kills its workers
-- must come to an end. What has come to it moves, and weighs. All that run are looked at, in an index that
-- holds no others; asked for the first ids at once, a plan could walk the primary key past all that are
-- pending.
WITH expired AS MATERIALIZED (
  SELECT t.id FROM tasks AS t WHERE t.state = 'running' AND t.lease_until < now()
), candidate AS MATERIALIZED (
  SELECT t.id, t.lease_token, t.deadline_at,
         CASE WHEN t.cancel_requested OR t.attempt >= t.max_attempts THEN {MovedBytes} ELSE 0 END AS bytes
  FROM tasks AS t
  WHERE t.id = ANY(ARRAY(SELECT e.id FROM expired AS e ORDER BY e.id LIMIT :max_tasks::int))
    AND t.state || '' = 'running' AND t.lease_until < now()
  ORDER BY t.id
  FOR NO KEY UPDATE SKIP LOCKED
)
SELECT l.id, l.lease_token::text AS lease_token, coalesce((l.deadline_at <= now())::int, 0) AS timed_out
FROM candidate AS l
WHERE l.id IN ({CutToBytes});

-- name: ExpireTasks
WITH candidate AS MATERIALIZED (
  SELECT t.id, {MovedBytes} AS bytes
  FROM tasks AS t
  WHERE t.state = 'pending' AND t.expires_at <= now()
  ORDER BY t.expires_at
  LIMIT :max_tasks::int
  FOR NO KEY UPDATE SKIP LOCKED
), ended AS (
  DELETE FROM tasks AS t
  WHERE t.id = ANY (ARRAY({CutToBytes})) AND t.state || '' = 'pending'
  RETURNING t.*
), counted AS (
  INSERT INTO queue_counters AS c (queue, backend, pending, expired)
  SELECT queue, pg_backend_pid(), -count(*), count(*) FROM ended GROUP BY queue ORDER BY queue
  {AddCounts}
)
INSERT INTO task_history (state, errors, {TaskColumns})
SELECT 'expired', errors, {TaskColumns}
FROM ended
RETURNING id;

-- name: LockDeadTasks
-- Those of a queue that were created first, but for those of whose firings there are other tasks by now. Each
-- is looked up, in a unique index: a join might walk all tasks.
WITH candidate AS MATERIALIZED (
  SELECT t.id, {MovedBytes} AS bytes
  FROM dead_tasks AS t
  WHERE (t.queue, t.id) >= (:queue::text, 1) AND t.queue <= :queue::text
    AND (SELECT o.id FROM tasks AS o
         WHERE o.schedule_id = t.schedule_id AND o.fire_at = t.fire_at) IS NULL
  ORDER BY t.queue, t.id
  LIMIT :max_tasks::int
  FOR UPDATE OF t SKIP LOCKED
)
{CutToBytes};

-- name: RedriveTasks
-- With all their attempts before them; what has been tried stays in their errors. One of whose firing there
-- is another task by now stays as it is.
WITH dead AS MATERIALIZED (
  SELECT d.* FROM dead_tasks AS d WHERE d.id = ANY(:ids::bigint[]) ORDER BY d.id FOR UPDATE
), revived AS (
  INSERT INTO tasks (errors, id, queue, name, payload, headers, run_at, priority, max_attempts, options,
                     concurrency_key, schedule_id, fire_at, created_at)
  SELECT errors, id, queue, name, payload, headers, now(), priority, max_attempts, options,
         concurrency_key, schedule_id, fire_at, created_at
  FROM dead
  ON CONFLICT (schedule_id, fire_at) WHERE schedule_id IS NOT NULL DO NOTHING
  RETURNING id, queue
), gone AS (
  DELETE FROM dead_tasks AS d USING revived AS r WHERE d.id = r.id RETURNING d.queue
), counted AS (
  INSERT INTO queue_counters AS c (queue, backend, dead)
  SELECT queue, pg_backend_pid(), -count(*) FROM gone GROUP BY queue ORDER BY queue
  {AddCounts}
)
SELECT id, queue FROM revived;

-- name: FindOtherOfFiring
-- The live task that has the firing of a dead one.
SELECT t.id
FROM dead_tasks AS d
JOIN tasks AS t ON t.schedule_id = d.schedule_id AND t.fire_at = d.fire_at
WHERE d.id = :id::bigint;

-- name: DropDeadTasks
-- As PurgeDeadTasks, of all queues.
WITH candidate AS MATERIALIZED (
  SELECT t.id, {MovedBytes} AS bytes
  FROM dead_tasks AS t
  WHERE t.died_at <= now() - :days::int * interval '1 day'
  ORDER BY t.died_at, t.id
  LIMIT :max_tasks::int
  FOR UPDATE SKIP LOCKED
), {RemoveDead};

-- name: ExtendTaskHistory
-- So that what ends always finds its day's partition.
SELECT extend_task_history((now() AT TIME ZONE 'UTC')::date,
                           (now() AT TIME ZONE 'UTC')::date + :days::int)::bigint AS id;

-- name: DropTaskHistory
SELECT drop_task_history((now() AT TIME ZONE 'UTC')::date - :days::int)::int::bigint AS id;

-- name: NotifyQueues
-- In a transaction of its own: a commit with a notification is serialized with all others like it. It
-- does not wait for the disk, nor does a writer's commit wait behind it: after a crash nobody listens.
SELECT pg_notify('parley_tasks', q.queue)::text AS sent,
  set_config('synchronous_commit', 'off', true) AS unsynced
FROM unnest(:queues::text[]) AS q(queue);
