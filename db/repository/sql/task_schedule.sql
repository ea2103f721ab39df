-- Schedules, and the tasks they make. Whoever moves a schedule on, or writes a task of one, holds the
-- lock of its row. Times are bigint microseconds since 1970 on the way in, and before the year 2200:
-- there the multiplication with an interval is exact.

-- name: Now
SELECT (extract(epoch FROM now()) * 1000000)::bigint AS id;

-- name: InsertSchedule
-- No row: the name is taken.
INSERT INTO schedules (id, name, cron, interval_us, anchor_at, time_zone, start_at, end_at, queue,
  task_name, payload, headers, priority, max_attempts, expire_after_us, options, concurrency_key,
  misfire_policy, misfire_limit, catch_up_window_us, overlap_policy, jitter_us, considered_until,
  next_fire_at)
VALUES (:id::bigint, :name::text, :cron::text, :interval_us::bigint,
  'epoch'::timestamptz + :anchor_us::bigint * interval '1 microsecond', :time_zone::text,
  'epoch'::timestamptz + :start_us::bigint * interval '1 microsecond',
  'epoch'::timestamptz + :end_us::bigint * interval '1 microsecond', :queue::text, :task_name::text,
  decode(:payload::text, 'hex'), :headers::text::jsonb, :priority::smallint, :max_attempts::int,
  :expire_after_us::bigint, :options::text::jsonb, :concurrency_key::text, :misfire_policy::text,
  :misfire_limit::int, :catch_up_window_us::bigint, :overlap_policy::text, :jitter_us::bigint,
  'epoch'::timestamptz + :considered_us::bigint * interval '1 microsecond',
  'epoch'::timestamptz + :next_us::bigint * interval '1 microsecond')
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: GetSchedule
SELECT {ShownSchedule}
FROM schedules AS s
WHERE s.id = :id::bigint;

-- name: GetScheduleByName
SELECT {ShownSchedule}
FROM schedules AS s
WHERE s.name = :name::text;

-- name: ListSchedules
-- As ListTasks: cut so that the answer stays small.
WITH page AS MATERIALIZED (
  SELECT s.id, octet_length(s.payload) + octet_length(s.headers::text) + 1024 AS bytes
  FROM schedules AS s
  WHERE (:queue::text = '' OR s.queue = :queue::text) AND s.id < :before::bigint
  ORDER BY s.id DESC
  LIMIT :limit::bigint OFFSET :offset::bigint
), cut AS (
  SELECT id, row_number() OVER w AS position, sum(bytes) OVER w AS total, count(*) OVER () AS found
  FROM page
  WINDOW w AS (ORDER BY id DESC)
)
SELECT cut.found, {ShownSchedule}
FROM cut
JOIN schedules AS s ON s.id = cut.id
WHERE cut.position = 1 OR cut.total <= :max_bytes::bigint
ORDER BY s.id DESC;

-- name: LockSchedule
SELECT {ShownSchedule}
FROM schedules AS s
WHERE s.id = :id::bigint
FOR NO KEY UPDATE;

-- name: UpdateSchedule
-- A locked one, to what its owner says of it, and where that leaves it.
UPDATE schedules
SET name = :name::text, cron = :cron::text, interval_us = :interval_us::bigint,
    anchor_at = 'epoch'::timestamptz + :anchor_us::bigint * interval '1 microsecond',
    time_zone = :time_zone::text,
    start_at = 'epoch'::timestamptz + :start_us::bigint * interval '1 microsecond',
    end_at = 'epoch'::timestamptz + :end_us::bigint * interval '1 microsecond', queue = :queue::text,
    task_name = :task_name::text, payload = decode(:payload::text, 'hex'),
    headers = :headers::text::jsonb, priority = :priority::smallint,
    max_attempts = :max_attempts::int, expire_after_us = :expire_after_us::bigint,
    options = :options::text::jsonb, concurrency_key = :concurrency_key::text,
    misfire_policy = :misfire_policy::text, misfire_limit = :misfire_limit::int,
    catch_up_window_us = :catch_up_window_us::bigint, overlap_policy = :overlap_policy::text,
    jitter_us = :jitter_us::bigint,
    considered_until = 'epoch'::timestamptz + :considered_us::bigint * interval '1 microsecond',
    next_fire_at = 'epoch'::timestamptz + :next_us::bigint * interval '1 microsecond',
    missed = missed + :missed::bigint, version = version + 1, updated_at = now()
WHERE id = :id::bigint;

-- name: PauseSchedule
-- What waits is discarded: nothing fires any more.
UPDATE schedules
SET paused_at = coalesce(paused_at, now()), pause_note = :note::text,
    missed = missed + (buffered_fire_at IS NOT NULL)::int, buffered_fire_at = NULL,
    version = version + 1, updated_at = now()
WHERE id = :id::bigint AND (paused_at IS NULL OR pause_note <> :note::text);

-- name: ResumeSchedule
UPDATE schedules
SET paused_at = NULL, pause_note = '', missed = missed + :missed::bigint,
    considered_until = 'epoch'::timestamptz + :considered_us::bigint * interval '1 microsecond',
    next_fire_at = 'epoch'::timestamptz + :next_us::bigint * interval '1 microsecond',
    version = version + 1, updated_at = now()
WHERE id = :id::bigint AND paused_at IS NOT NULL;

-- name: DeleteSchedule
DELETE FROM schedules WHERE id = :id::bigint;

-- name: NextFiring
-- In how long the next schedule fires, but for `except`, and whether a firing waits for the end of a task.
SELECT (extract(epoch FROM (SELECT min(s.next_fire_at) FROM schedules AS s
                            WHERE s.paused_at IS NULL AND s.id <> ALL(:except::bigint[]))
                           - now()) * 1000000)::bigint AS due_in,
       EXISTS (SELECT FROM schedules AS s WHERE s.buffered_fire_at IS NOT NULL)::int AS buffering;

-- name: FindDueSchedules
-- Those that fire, and those whose waiting firing has its way free, but for `except`. However many have to
-- catch up, they keep none of those waiting that are in time; of themselves the one goes first that is
-- furthest behind.
SELECT due.id
FROM (
  (SELECT s.id, 1 AS turn, s.next_fire_at AS fire_at
   FROM schedules AS s
   WHERE s.paused_at IS NULL AND s.next_fire_at <= now()
     AND s.next_fire_at > now() - :grace_us::bigint * interval '1 microsecond'
     AND s.id <> ALL(:except::bigint[])
   ORDER BY s.next_fire_at
   LIMIT :max_schedules::int)
  UNION ALL
  (SELECT s.id, 1, s.buffered_fire_at
   FROM schedules AS s
   WHERE s.buffered_fire_at IS NOT NULL AND s.id <> ALL(:except::bigint[])
     AND NOT EXISTS (SELECT FROM tasks AS t WHERE t.schedule_id = s.id)
   LIMIT :max_schedules::int)
  UNION ALL
  (SELECT s.id, 2, s.next_fire_at
   FROM schedules AS s
   WHERE s.paused_at IS NULL
     AND s.next_fire_at <= now() - :grace_us::bigint * interval '1 microsecond'
     AND s.id <> ALL(:except::bigint[])
   ORDER BY s.next_fire_at
   LIMIT :max_schedules::int)
) AS due
GROUP BY due.id
ORDER BY min(due.turn), min(due.fire_at);

-- name: LockDueSchedules
-- Of these, in their order, those that still are what FindDueSchedules looks for. What another process has
-- its hands on is passed over.
SELECT (octet_length(s.payload) + octet_length(s.headers::text) + 1024)::bigint AS task_bytes,
       {ScheduleTiming}
FROM schedules AS s
WHERE s.id = ANY(:ids::bigint[]) AND s.paused_at IS NULL
  AND (s.next_fire_at <= now()
       OR s.buffered_fire_at IS NOT NULL
          AND NOT EXISTS (SELECT FROM tasks AS t WHERE t.schedule_id = s.id))
ORDER BY array_position(:ids::bigint[], s.id)
FOR NO KEY UPDATE SKIP LOCKED;

-- name: FindSchedulesWithTasks
SELECT DISTINCT t.schedule_id AS id
FROM tasks AS t
WHERE t.schedule_id = ANY(:ids::bigint[]);

-- name: LockTasksOfSchedules
-- Those that are to be cancelled, as many as fit into a transaction.
WITH candidate AS MATERIALIZED (
  SELECT t.id, CASE t.state WHEN 'pending' THEN {MovedBytes} ELSE 0 END AS bytes
  FROM tasks AS t
  WHERE t.schedule_id = ANY(:ids::bigint[]) AND NOT t.cancel_requested
  ORDER BY t.id
  LIMIT :max_tasks::int
  FOR NO KEY UPDATE
)
{CutToBytes};

-- name: FindSchedulesToCancel
-- Whose tasks have not all been cancelled.
SELECT DISTINCT t.schedule_id AS id
FROM tasks AS t
WHERE t.schedule_id = ANY(:ids::bigint[]) AND NOT t.cancel_requested;

-- name: CancelTasks
-- Locked ones: those that are pending.
WITH ended AS (
  DELETE FROM tasks AS t
  WHERE t.id = ANY(:ids::bigint[]) AND t.state || '' = 'pending'
  RETURNING t.*
), counted AS (
  INSERT INTO queue_counters AS c (queue, backend, pending, cancelled)
  SELECT queue, pg_backend_pid(), -count(*), count(*) FROM ended GROUP BY queue ORDER BY queue
  {AddCounts}
)
INSERT INTO task_history (state, errors, {TaskColumns})
SELECT 'cancelled', errors, {TaskColumns}
FROM ended
RETURNING id;

-- name: RequestCancels
-- Locked ones: those that a worker has.
UPDATE tasks AS t
SET cancel_requested = true, updated_at = now()
WHERE t.id = ANY(:ids::bigint[]) AND t.state || '' = 'running' AND NOT t.cancel_requested
RETURNING t.id;

-- name: InsertFirings
-- The tasks of firings; an id of 0 is the next one. A firing that has a task, live or dead, gets no
-- other.
INSERT INTO tasks (id, queue, name, payload, headers, run_at, expires_at, priority, max_attempts, options,
  concurrency_key, schedule_id, fire_at)
SELECT coalesce(nullif(f.task_id, 0), nextval('task_id_seq')), s.queue, s.task_name, s.payload, s.headers, f.run_at,
       f.run_at + s.expire_after_us * interval '1 microsecond', s.priority,
       coalesce(s.max_attempts, q.max_attempts, {DefaultAttempts}), s.options, s.concurrency_key,
       s.id, f.fire_at
FROM (
  SELECT u.schedule_id, u.task_id, 'epoch'::timestamptz + u.fire_us * interval '1 microsecond' AS fire_at,
         greatest(now(), 'epoch'::timestamptz
                           + (u.fire_us + u.delay_us) * interval '1 microsecond') AS run_at
  FROM unnest(:schedule_ids::bigint[], :fire_us::bigint[], :delay_us::bigint[], :task_ids::bigint[])
    AS u(schedule_id, fire_us, delay_us, task_id)
) AS f
JOIN schedules AS s ON s.id = f.schedule_id
LEFT JOIN queues AS q ON q.name = s.queue
WHERE NOT EXISTS (
  SELECT FROM dead_tasks AS d WHERE d.schedule_id = f.schedule_id AND d.fire_at = f.fire_at)
ORDER BY f.schedule_id, f.fire_at
ON CONFLICT (schedule_id, fire_at) WHERE schedule_id IS NOT NULL DO NOTHING
RETURNING id, queue, schedule_id, (extract(epoch FROM run_at - now()) * 1000000)::bigint AS due_in;

-- name: AdvanceSchedules
-- Locked ones. A time of 0 is none; those that are not dealt with up to now have another one. The clock of a
-- transaction is that of its beginning, so that another one may have gone further.
UPDATE schedules AS s
SET considered_until = greatest(s.considered_until,
      coalesce('epoch'::timestamptz + nullif(a.until_us, 0) * interval '1 microsecond', now())),
    next_fire_at = 'epoch'::timestamptz + nullif(a.next_us, 0) * interval '1 microsecond',
    buffered_fire_at = 'epoch'::timestamptz + nullif(a.buffered_us, 0) * interval '1 microsecond',
    last_fire_at = coalesce('epoch'::timestamptz
                              + nullif(a.last_fire_us, 0) * interval '1 microsecond', s.last_fire_at),
    last_task_id = coalesce(nullif(a.last_task_id, 0), s.last_task_id),
    fired = s.fired + a.fired, missed = s.missed + a.missed,
    overlapped = s.overlapped + a.overlapped, buffered = s.buffered + a.buffered
FROM unnest(:ids::bigint[], :until_us::bigint[], :next_us::bigint[], :buffered_us::bigint[],
            :last_fire_us::bigint[], :last_task_ids::bigint[], :fired::bigint[], :missed::bigint[],
            :overlapped::bigint[], :buffered::bigint[])
       AS a(id, until_us, next_us, buffered_us, last_fire_us, last_task_id, fired, missed, overlapped,
            buffered)
WHERE s.id = a.id AND s.paused_at IS NULL;

-- name: FreeFireTime
-- The first microsecond, from now on, at which no task of a locked schedule is.
SELECT greatest((extract(epoch FROM now()) * 1000000)::bigint,
                (extract(epoch FROM max(t.fire_at)) * 1000000)::bigint + 1) AS id
FROM tasks AS t
WHERE t.schedule_id = :id::bigint AND t.fire_at >= now();

-- name: CountTriggered
-- Firings by hand, of a locked schedule.
UPDATE schedules
SET triggered = triggered + 1, last_fire_at = now(), last_task_id = :task_id::bigint
WHERE id = :id::bigint;

-- name: CountBackfilled
UPDATE schedules SET backfilled = backfilled + :count::bigint WHERE id = :id::bigint;

-- name: ListSchedulesByCron
-- Those that fire when clocks in a zone show it, from an id on.
SELECT {ScheduleTiming}
FROM schedules AS s
WHERE s.id > :after::bigint AND s.cron IS NOT NULL AND s.next_fire_at IS NOT NULL
ORDER BY s.id
LIMIT :limit::int;

-- name: MoveNextFiring
-- If the schedule has not moved on meanwhile.
UPDATE schedules
SET next_fire_at = 'epoch'::timestamptz + :next_us::bigint * interval '1 microsecond'
WHERE id = :id::bigint
  AND considered_until = 'epoch'::timestamptz + :considered_us::bigint * interval '1 microsecond'
RETURNING id;
