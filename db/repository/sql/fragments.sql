-- What several statements have in common: {Name} stands for it. There is one place to change when a
-- task gets another column. In a fragment, one may stand that comes after it.

-- fragment: TaskColumns
-- What stays with a task from its creation to the history, but for its errors and its state.
id, queue, name, payload, headers, run_at, expires_at, priority, attempt, max_attempts, options,
concurrency_key, schedule_id, fire_at, created_at

-- fragment: ListedTasks
-- The tasks of `page`, by place and id, cut so that the answer stays small. `found` tells how many there were
-- before. Each is read by its id, wherever it is: a join might do so by reading all there are.
SELECT t.found, {ShownTask}
FROM (
  SELECT a.*, page.place, row_number() OVER w AS position, count(*) OVER () AS found,
         sum(octet_length(a.payload) + octet_length(a.headers::text) + 2 * octet_length(a.errors::text)
               + octet_length(a.result) + octet_length(a.name) + 512) OVER w AS total
  FROM page
  CROSS JOIN LATERAL (SELECT s.* FROM all_tasks AS s WHERE s.id = page.id LIMIT 1) AS a
  WINDOW w AS (ORDER BY page.place DESC, page.id DESC)
) AS t
WHERE t.position = 1 OR t.total <= :max_bytes::bigint
ORDER BY t.place DESC, t.id DESC

-- fragment: RemoveDead
-- After `candidate`, dead tasks: removes them, and counts that. What is left of them is their dedupe keys, which
-- the reaper removes as those of all tasks that are no more.
removed AS (
  DELETE FROM dead_tasks AS d WHERE d.id = ANY (ARRAY({CutToBytes})) RETURNING d.id, d.queue
), counted AS (
  INSERT INTO queue_counters AS c (queue, backend, dead)
  SELECT queue, pg_backend_pid(), -count(*) FROM removed GROUP BY queue ORDER BY queue
  {AddCounts}
)
SELECT r.id FROM removed AS r

-- fragment: DiedBy
-- Any time without one.
coalesce('epoch'::timestamptz + :died_us::bigint * interval '1 microsecond', 'infinity')

-- fragment: ShownTask
-- What ReadTaskRow (task_rows.h) reads, of all_tasks AS t.
t.id, t.queue, t.name, encode(t.payload, 'hex') AS payload, t.headers::text AS headers,
(extract(epoch FROM t.run_at) * 1000000)::bigint AS run_at,
(extract(epoch FROM t.expires_at) * 1000000)::bigint AS expires_at, t.priority::int AS priority,
t.state, t.attempt, t.max_attempts, t.lease_token::text AS lease_token,
(extract(epoch FROM t.lease_until) * 1000000)::bigint AS lease_until,
t.cancel_requested::int AS cancel_requested, t.errors::text AS errors,
encode(t.result, 'hex') AS result, t.options::text AS options, t.concurrency_key, t.schedule_id,
(extract(epoch FROM t.fire_at) * 1000000)::bigint AS fire_at,
(extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
(extract(epoch FROM t.updated_at) * 1000000)::bigint AS updated_at

-- fragment: RunAt
-- A time that has passed means now. Whole seconds and the rest are added apart, because an interval
-- is multiplied in floating point, which has no room for the microseconds of the year 9999.
greatest(now(),
  coalesce('epoch'::timestamptz + :run_at_s::bigint * interval '1 second'
             + :run_at_us::bigint * interval '1 microsecond', now())
    + :delay_us::bigint * interval '1 microsecond')

-- fragment: TasksOfJson
-- New tasks, of an array of what NewTaskToJson (keyed_task_creator.cc) makes of them. The times are
-- those of RunAt.
SELECT j.id, j.queue, j.name, decode(j.payload, 'hex') AS payload, j.headers,
       greatest(now(),
         coalesce('epoch'::timestamptz + j.run_at_s * interval '1 second'
                    + j.run_at_us * interval '1 microsecond', now())
           + j.delay_us * interval '1 microsecond') AS run_at,
       'epoch'::timestamptz + j.expires_at_s * interval '1 second'
         + j.expires_at_us * interval '1 microsecond' AS expires_at,
       j.priority,
       coalesce(nullif(j.max_attempts, 0), q.max_attempts, {DefaultAttempts}) AS max_attempts,
       j.options, j.concurrency_key
FROM jsonb_to_recordset(:tasks::text::jsonb) AS j(
  id bigint, queue text, name text, payload text, headers jsonb, run_at_s bigint, run_at_us bigint,
  delay_us bigint, expires_at_s bigint, expires_at_us bigint, priority smallint, max_attempts integer,
  options jsonb, concurrency_key text)
LEFT JOIN queues AS q ON q.name = j.queue

-- fragment: DefaultAttempts
10

-- fragment: DefaultRetry
'{"first_us": 1000000, "longest_us": 3600000000, "multiplier": 2, "jitter": 0.1}'::jsonb

-- fragment: ClaimedTask
-- What a claim returns; TaskClaimer reads it by position.
t.id, t.queue, t.name, t.payload, nullif(t.headers, '{}')::text, t.run_at, t.expires_at,
t.priority::integer, t.attempt, t.max_attempts, t.lease_until, nullif(t.errors, '[]')::text,
t.options::text, t.concurrency_key, t.schedule_id, t.fire_at, t.created_at, t.updated_at

-- fragment: BeginLease
-- What a claim sets besides the state: under the token $4, for $5 microseconds, or for as long as the task may
-- run, if that is less.
attempt = t.attempt + 1, lease_token = $4::text::uuid,
lease_until = now() + least($5::bigint, (t.options ->> 'run_timeout_us')::bigint)
                      * interval '1 microsecond',
deadline_at = now() + (t.options ->> 'run_timeout_us')::bigint * interval '1 microsecond',
updated_at = now()

-- fragment: ClaimedBytes
-- About as much as a task takes in an answer, and not less. Most have neither headers nor errors: to write
-- those out in order to measure them would take longer than all else.
octet_length(t.payload) + octet_length(t.name) + 512
  + CASE WHEN pg_column_size(t.headers) < 16 THEN 0 ELSE octet_length(t.headers::text) END
  + CASE WHEN pg_column_size(t.errors) < 16 THEN 0 ELSE 2 * octet_length(t.errors::text) END

-- fragment: MovedBytes
-- About as much of tasks AS t, or dead_tasks, as there is to be written when one of them goes to another table.
-- No payload is read for it.
octet_length(t.payload) + pg_column_size(t.headers) + pg_column_size(t.errors) + 512

-- fragment: CutToBytes
-- Of candidate (id, bytes), in its order, as many as weigh no more than max_bytes together, but the first in
-- any case.
SELECT weighed.id
FROM (
  SELECT c.id, row_number() OVER w AS position, sum(c.bytes) OVER w AS total
  FROM candidate AS c
  WINDOW w AS (ROWS UNBOUNDED PRECEDING)
) AS weighed
WHERE weighed.position = 1 OR weighed.total <= :max_bytes::bigint

-- fragment: AddCounts
-- At the end of an INSERT INTO queue_counters AS c, in the order of the queues. Every connection has rows of
-- its own, so that none waits for another to commit.
ON CONFLICT (queue, backend) DO UPDATE
SET pending = c.pending + excluded.pending, running = c.running + excluded.running,
    dead = c.dead + excluded.dead, created = c.created + excluded.created,
    succeeded = c.succeeded + excluded.succeeded, cancelled = c.cancelled + excluded.cancelled,
    expired = c.expired + excluded.expired, died = c.died + excluded.died,
    retried = c.retried + excluded.retried

-- fragment: ShownQueue
-- What QueueRepository reads, of queues AS q.
q.name, coalesce(q.max_attempts, 0) AS max_attempts, q.retry::text AS retry,
coalesce(q.max_running, 0) AS max_running, coalesce(q.max_running_per_key, 0) AS max_running_per_key,
q.rate_per_second AS rate, q.burst, (extract(epoch FROM q.paused_at) * 1000000)::bigint AS pause_us,
q.pause_note, q.target::text AS target, q.version, (extract(epoch FROM q.created_at) * 1000000)::bigint AS create_us,
(extract(epoch FROM q.updated_at) * 1000000)::bigint AS update_us

-- fragment: TokensNow
-- In the bucket of queues AS q at clock.at, which is the clock's time and not the transaction's: that may
-- have begun before another one took tokens.
least(q.burst, q.tokens
  + q.rate_per_second * greatest(0, extract(epoch FROM clock.at - q.tokens_at)::float8))

-- fragment: BlockedKeys
-- Of asked.name, a queue: the concurrency keys of its blocked tasks, by one probe a key.
WITH RECURSIVE blocked_key (key) AS (
  (SELECT t.concurrency_key
   FROM tasks AS t
   WHERE t.blocked AND t.queue = asked.name
   ORDER BY t.concurrency_key
   LIMIT 1)
  UNION ALL
  SELECT (SELECT t.concurrency_key
          FROM tasks AS t
          WHERE t.blocked AND t.queue = asked.name AND t.concurrency_key > b.key
          ORDER BY t.concurrency_key
          LIMIT 1)
  FROM blocked_key AS b
  WHERE b.key IS NOT NULL
)
SELECT b.key FROM blocked_key AS b WHERE b.key IS NOT NULL

-- fragment: RunningOfKey
-- How many tasks of asked.name, a queue, run that have the key k.key, but not above asked.per_key.
(SELECT count(*)
 FROM (
   SELECT
   FROM tasks AS t
   WHERE t.state = 'running' AND t.queue = asked.name AND t.concurrency_key = k.key
   LIMIT asked.per_key
 ) AS t)

-- fragment: RunningOfQueue
-- How many tasks of queues AS q run, but not above its limit.
(SELECT count(*)
 FROM (
   SELECT
   FROM tasks AS t
   WHERE t.state = 'running' AND t.queue = q.name
   LIMIT coalesce(q.max_running, 0)
 ) AS t)

-- fragment: ShownSchedule
-- What ReadSchedule (schedule_rows.h) reads, of schedules AS s.
{ScheduleTiming}, s.name, s.queue, s.task_name, encode(s.payload, 'hex') AS payload,
s.headers::text AS headers, s.priority::int AS priority, s.max_attempts, s.expire_after_us,
s.options::text AS options, s.concurrency_key, s.pause_note,
(extract(epoch FROM s.paused_at) * 1000000)::bigint AS paused_at,
(extract(epoch FROM s.last_fire_at) * 1000000)::bigint AS last_fire_at, s.last_task_id,
s.fired, s.missed, s.overlapped, s.buffered, s.triggered, s.backfilled, s.version,
(extract(epoch FROM s.created_at) * 1000000)::bigint AS created_at,
(extract(epoch FROM s.updated_at) * 1000000)::bigint AS updated_at

-- fragment: ScheduleTiming
-- What ReadScheduleTiming reads: all that says when and how it fires. Stands in ShownSchedule, so after
-- it.
s.id, s.cron, s.interval_us, (extract(epoch FROM s.anchor_at) * 1000000)::bigint AS anchor_at,
s.time_zone, (extract(epoch FROM s.start_at) * 1000000)::bigint AS start_at,
(extract(epoch FROM s.end_at) * 1000000)::bigint AS end_at, s.misfire_policy, s.misfire_limit,
s.catch_up_window_us, s.overlap_policy, s.jitter_us,
(extract(epoch FROM s.considered_until) * 1000000)::bigint AS considered_until,
(extract(epoch FROM s.next_fire_at) * 1000000)::bigint AS next_fire_at,
(extract(epoch FROM s.buffered_fire_at) * 1000000)::bigint AS buffered_fire_at,
(extract(epoch FROM now()) * 1000000)::bigint AS now
