-- The settings of queues, and what is counted in them. Times leave as microseconds since 1970.

-- name: InsertQueue
-- No row: somebody has given it settings.
INSERT INTO queues AS q (name, max_attempts, retry, max_running, max_running_per_key, rate_per_second,
                         burst, tokens, tokens_at, paused_at, pause_note, target)
SELECT :name, nullif(:max_attempts::int, 0), :retry::text::jsonb, nullif(:max_running::int, 0),
       nullif(:max_running_per_key::int, 0), r.rate, r.burst, r.burst,
       CASE WHEN r.rate IS NOT NULL THEN clock_timestamp() END,
       CASE WHEN :paused::int = 1 THEN now() END, :pause_note, :target::text::jsonb
FROM (VALUES (:rate::text::float8, :burst::int)) AS r(rate, burst)
ON CONFLICT (name) DO NOTHING
RETURNING {ShownQueue};

-- name: GetQueue
SELECT {ShownQueue} FROM queues AS q WHERE q.name = :name;

-- name: LockQueue
SELECT {ShownQueue} FROM queues AS q WHERE q.name = :name FOR NO KEY UPDATE;

-- name: UpdateQueue
-- A locked one. A bucket is full when it is new; else what is in it stays, as far as it has room.
UPDATE queues AS q
SET max_attempts = nullif(:max_attempts::int, 0), retry = :retry::text::jsonb,
    max_running = nullif(:max_running::int, 0),
    max_running_per_key = nullif(:max_running_per_key::int, 0),
    rate_per_second = r.rate, burst = r.burst,
    tokens = CASE WHEN r.rate IS NULL THEN NULL
                  ELSE least(r.burst, coalesce({TokensNow}, r.burst)) END,
    tokens_at = CASE WHEN r.rate IS NOT NULL THEN clock.at END,
    paused_at = CASE WHEN :paused::int = 1 THEN coalesce(q.paused_at, now()) END,
    pause_note = :pause_note, target = :target::text::jsonb, version = q.version + 1,
    updated_at = now()
FROM (VALUES (:rate::text::float8, :burst::int)) AS r(rate, burst)
CROSS JOIN (SELECT clock_timestamp() AS at) AS clock
WHERE q.name = :name
RETURNING {ShownQueue};

-- name: ListQueues
-- Also those that only have counters. One probe a name in each of the two indexes.
WITH RECURSIVE names (name) AS (
  SELECT least((SELECT min(q.name) FROM queues AS q WHERE q.name > :after::text),
               (SELECT min(c.queue) FROM queue_counters AS c WHERE c.queue > :after::text))
  UNION ALL
  SELECT least((SELECT min(q.name) FROM queues AS q WHERE q.name > n.name),
               (SELECT min(c.queue) FROM queue_counters AS c WHERE c.queue > n.name))
  FROM names AS n
  WHERE n.name IS NOT NULL
), page AS (
  SELECT n.name FROM names AS n WHERE n.name IS NOT NULL OFFSET :offset LIMIT :limit
)
SELECT p.name AS listed_name, {ShownQueue}
FROM page AS p
LEFT JOIN queues AS q ON q.name = p.name
ORDER BY p.name;

-- name: GetQueueStats
-- Sums over its counters, and probes of the due index: a priority's tasks are there in the order of
-- their times. Blocked ones are due; of those, the first of each key and priority.
SELECT counted.*, (extract(epoch FROM q.paused_at) * 1000000)::bigint AS pause_us,
  (extract(epoch FROM least(head.due, blocked.due)) * 1000000)::bigint AS oldest_due_us,
  (extract(epoch FROM head.next) * 1000000)::bigint AS next_due_us
FROM (VALUES (:name::text COLLATE "C")) AS asked(name)
LEFT JOIN queues AS q ON q.name = asked.name
CROSS JOIN LATERAL (
  SELECT coalesce(sum(pending), 0)::bigint AS pending, coalesce(sum(running), 0)::bigint AS running,
         coalesce(sum(dead), 0)::bigint AS dead, coalesce(sum(created), 0)::bigint AS created,
         coalesce(sum(succeeded), 0)::bigint AS succeeded,
         coalesce(sum(cancelled), 0)::bigint AS cancelled,
         coalesce(sum(expired), 0)::bigint AS expired, coalesce(sum(died), 0)::bigint AS died,
         coalesce(sum(retried), 0)::bigint AS retried
  FROM queue_counters AS c
  WHERE c.queue = asked.name
) AS counted
CROSS JOIN LATERAL (
  SELECT min(due.run_at) AS due, min(later.run_at) AS next
  FROM generate_series(0, 9) AS p(priority)
  LEFT JOIN LATERAL (
    SELECT t.run_at
    FROM tasks AS t
    WHERE t.state = 'pending' AND NOT t.blocked AND t.queue = asked.name
      AND t.priority = p.priority::smallint AND t.run_at <= now()
      AND (t.expires_at IS NULL OR t.expires_at > now())
    ORDER BY t.run_at
    LIMIT 1
  ) AS due ON true
  LEFT JOIN LATERAL (
    SELECT t.run_at
    FROM tasks AS t
    WHERE t.state = 'pending' AND NOT t.blocked AND t.queue = asked.name
      AND t.priority = p.priority::smallint AND t.run_at > now()
      AND (t.expires_at IS NULL OR t.expires_at > now())
    ORDER BY t.run_at
    LIMIT 1
  ) AS later ON true
) AS head
CROSS JOIN LATERAL (
  SELECT min(first.run_at) AS due
  FROM ({BlockedKeys}) AS k
  CROSS JOIN generate_series(0, 9) AS p(priority)
  CROSS JOIN LATERAL (
    SELECT t.run_at
    FROM tasks AS t
    WHERE t.blocked AND t.queue = asked.name AND t.concurrency_key = k.key
      AND t.priority = p.priority::smallint AND (t.expires_at IS NULL OR t.expires_at > now())
    ORDER BY t.run_at
    LIMIT 1
  ) AS first
) AS blocked;

-- name: GetLastTaskId
SELECT last_value AS id FROM task_id_seq;

-- name: PurgeTasks
-- The first of those that are left; so that a step is over soon, no more than weigh :max_bytes, but one.
WITH candidate AS MATERIALIZED (
  SELECT t.id, {MovedBytes} AS bytes
  FROM tasks AS t
  WHERE (t.queue, t.id) >= (:queue::text, :after::bigint + 1)
    AND (t.queue, t.id) <= (:queue::text, :up_to::bigint) AND t.state || '' = 'pending'
  ORDER BY t.queue, t.id
  LIMIT :max_tasks::int
  FOR UPDATE
), ended AS (
  DELETE FROM tasks AS t
  WHERE t.id = ANY (ARRAY({CutToBytes})) AND t.state || '' = 'pending'
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

-- name: PurgeDeadTasks
-- The same for dead ones, which are gone for good.
WITH candidate AS MATERIALIZED (
  SELECT t.id, {MovedBytes} AS bytes
  FROM dead_tasks AS t
  WHERE (t.queue, t.id) >= (:queue::text, :after::bigint + 1)
    AND (t.queue, t.id) <= (:queue::text, :up_to::bigint)
  ORDER BY t.queue, t.id
  LIMIT :max_tasks::int
  FOR UPDATE
), {RemoveDead};

-- name: UnblockTasks
-- What a claim that honours a limit by key has blocked, nobody would look at when there is no such limit.
WITH freed AS MATERIALIZED (
  SELECT t.id
  FROM (
    WITH RECURSIVE queue_of_blocked (name) AS (
      SELECT min(t.queue) FROM tasks AS t WHERE t.blocked
      UNION ALL
      SELECT (SELECT min(t.queue) FROM tasks AS t WHERE t.blocked AND t.queue > n.name)
      FROM queue_of_blocked AS n
      WHERE n.name IS NOT NULL
    )
    SELECT name FROM queue_of_blocked WHERE name IS NOT NULL
  ) AS n
  JOIN tasks AS t ON t.blocked AND t.queue = n.name
  WHERE NOT EXISTS (
    SELECT FROM queues AS q WHERE q.name = n.name AND q.max_running_per_key IS NOT NULL)
  LIMIT :max_tasks::int
  FOR NO KEY UPDATE OF t SKIP LOCKED
)
UPDATE tasks AS t SET blocked = false FROM freed WHERE t.id = freed.id AND t.blocked RETURNING t.id;

-- name: FoldCounters
-- A process id may come back: whoever has got it then waits a moment, and begins a new row.
WITH gone AS MATERIALIZED (
  SELECT c.queue, c.backend
  FROM queue_counters AS c
  WHERE c.backend <> 0 AND c.backend NOT IN (SELECT a.pid FROM pg_stat_activity AS a)
  ORDER BY c.queue, c.backend
  FOR UPDATE SKIP LOCKED
), taken AS (
  DELETE FROM queue_counters AS c
  USING gone
  WHERE c.queue = gone.queue AND c.backend = gone.backend
  RETURNING c.*
)
INSERT INTO queue_counters AS c (queue, backend, pending, running, dead, created, succeeded, cancelled,
                                 expired, died, retried)
SELECT queue, 0, sum(pending), sum(running), sum(dead), sum(created), sum(succeeded), sum(cancelled),
       sum(expired), sum(died), sum(retried)
FROM taken
GROUP BY queue
ORDER BY queue
{AddCounts};
