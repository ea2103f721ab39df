-- Claims of queues that limit what runs: one queue, one transaction. Its row is locked first, so that
-- nobody else claims from it, and in a statement of its own: what is counted is then counted with a
-- snapshot that is later than the lock, and sees all that whoever had it before has claimed. For the hot
-- lane.

-- name: LockLimitedQueue
-- Nobody waits here: who finds the row locked claims nothing, and comes again. The name that is set, until
-- the end of the transaction, tells the next statement whose lock it has.
SELECT set_config('parley.locked_queue', locked.name, true)
FROM (
  SELECT q.name
  FROM queues AS q
  WHERE q.name = $1::text AND q.limited AND q.paused_at IS NULL
  FOR NO KEY UPDATE SKIP LOCKED
) AS locked;

-- name: ClaimLimitedTasks
-- As ClaimTasks, of one queue, as far as there is room: below max_running, with a token in the bucket.
-- Of the tasks with a key as many fit as may run besides those that do. What is due and does not fit is
-- blocked: it leaves the due index, and no claim meets it again before there is room for its key. So
-- besides the head of the due index, the first blocked tasks of those keys are candidates that have room;
-- there are about as many blocked keys as tasks that run. Read first, locked then: only what is claimed or
-- blocked is locked.
WITH limits AS MATERIALIZED (
  SELECT q.name, q.max_running_per_key AS per_key, bucket.tokens, clock.at,
         greatest(0, least($2::bigint, q.max_running - running.count, floor(bucket.tokens)::bigint)) AS room
  FROM queues AS q
  CROSS JOIN (SELECT clock_timestamp() AS at) AS clock
  CROSS JOIN LATERAL (SELECT {TokensNow} AS tokens) AS bucket
  CROSS JOIN LATERAL {RunningOfQueue} AS running
  WHERE q.name = $1::text AND q.name = current_setting('parley.locked_queue', true)
), reach AS MATERIALIZED (
  -- How far it looks beyond what it can take: for what others have locked, and for keys that have room. If
  -- that is not far enough, the next claim gets further, because this one has blocked what it met.
  SELECT CASE WHEN room = 0 THEN 0 WHEN per_key IS NULL THEN room + 20 ELSE room + 500 END AS tasks
  FROM limits
), due AS MATERIALIZED (
  SELECT head.*
  FROM generate_series(9, 0, -1) AS p(priority)
  CROSS JOIN LATERAL (
    SELECT t.id, t.concurrency_key AS key, t.priority, t.run_at
    FROM tasks AS t
    WHERE t.state = 'pending' AND NOT t.blocked AND t.queue = $1::text
      AND t.priority = p.priority::smallint AND t.run_at <= now()
      AND (t.expires_at IS NULL OR t.expires_at > now())
    ORDER BY t.run_at, t.id
    LIMIT (SELECT reach.tasks FROM reach)
  ) AS head
  LIMIT (SELECT reach.tasks FROM reach)
), freed AS MATERIALIZED (
  SELECT head.*
  FROM limits AS asked
  CROSS JOIN LATERAL ({BlockedKeys}) AS k
  CROSS JOIN LATERAL (SELECT asked.per_key - {RunningOfKey} AS count) AS free
  CROSS JOIN LATERAL (
    SELECT t.id, t.concurrency_key AS key, t.priority, t.run_at
    FROM tasks AS t
    WHERE t.blocked AND t.queue = asked.name AND t.concurrency_key = k.key
      AND (t.expires_at IS NULL OR t.expires_at > now())
    ORDER BY t.priority DESC, t.run_at, t.id
    LIMIT least(free.count, asked.room)
  ) AS head
  WHERE asked.room > 0 AND asked.per_key IS NOT NULL
), ranked AS (
  SELECT c.*, row_number() OVER (PARTITION BY c.key ORDER BY c.priority DESC, c.run_at, c.id) AS place
  FROM (SELECT due.*, false AS blocked FROM due UNION ALL SELECT freed.*, true FROM freed) AS c
), judged AS MATERIALIZED (
  SELECT k.*,
         CASE WHEN k.key IS NULL OR asked.per_key IS NULL THEN true
              WHEN k.place > asked.per_key THEN false
              ELSE k.place <= asked.per_key - {RunningOfKey} END AS fits
  FROM ranked AS k
  CROSS JOIN limits AS asked
), candidate AS MATERIALIZED (
  SELECT t.id, t.state, t.bytes
  FROM (
    SELECT j.id, j.priority, j.run_at FROM judged AS j WHERE j.fits ORDER BY j.priority DESC, j.run_at, j.id
  ) AS j
  CROSS JOIN LATERAL (
    SELECT t.id, t.state, {ClaimedBytes} AS bytes
    FROM tasks AS t
    WHERE t.id = j.id AND t.state || '' = 'pending' AND t.run_at <= now()
      AND (t.expires_at IS NULL OR t.expires_at > now())
    FOR NO KEY UPDATE SKIP LOCKED
  ) AS t
  ORDER BY j.priority DESC, j.run_at, j.id
  LIMIT (SELECT l.room FROM limits AS l)
), cut AS MATERIALIZED (
  SELECT id, state, row_number() OVER w AS position, sum(bytes) OVER w AS total
  FROM candidate
  WINDOW w AS (ROWS UNBOUNDED PRECEDING)
), claimed AS (
  UPDATE tasks AS t
  SET state = 'running', blocked = false, {BeginLease}
  FROM cut
  WHERE t.id = cut.id AND t.state = cut.state
    AND (cut.position = 1 OR cut.total <= $3::bigint)
  RETURNING {ClaimedTask}
), spent AS (
  UPDATE queues AS q
  SET tokens = l.tokens - taken.count, tokens_at = l.at
  FROM limits AS l
  CROSS JOIN (SELECT count(*) FROM claimed) AS taken
  WHERE q.name = l.name AND l.tokens IS NOT NULL AND taken.count > 0
), counted AS (
  INSERT INTO queue_counters AS c (queue, backend, pending, running)
  SELECT queue, pg_backend_pid(), -count(*), count(*) FROM claimed GROUP BY queue
  {AddCounts}
), saturated AS MATERIALIZED (
  SELECT l.id, l.state
  FROM judged AS j
  CROSS JOIN LATERAL (
    SELECT t.id, t.state
    FROM tasks AS t
    WHERE t.id = j.id AND t.state || '' = 'pending' AND t.run_at <= now()
    FOR NO KEY UPDATE SKIP LOCKED
  ) AS l
  WHERE NOT j.fits AND NOT j.blocked
), shut AS (
  UPDATE tasks AS t
  SET blocked = true
  FROM saturated AS s
  WHERE t.id = s.id AND t.state = s.state
)
SELECT * FROM claimed;

-- name: NextDueLimited
-- Of queues that limit what runs and are not paused: how long until the first task is due, null if none is
-- pending; and how long nothing may run, however much is due, null if not before a task ends. While the
-- bucket is empty it is not looked into for every single token, but about a hundred times a second at
-- most.
SELECT q.name,
  CASE
    WHEN asked.per_key IS NOT NULL AND EXISTS (
      SELECT
      FROM ({BlockedKeys}) AS k
      WHERE {RunningOfKey} < asked.per_key
    ) THEN 0
    ELSE (
      SELECT (extract(epoch FROM min(head.run_at) - now()) * 1000000)::bigint
      FROM generate_series(0, 9) AS p(priority)
      CROSS JOIN LATERAL (
        SELECT t.run_at
        FROM tasks AS t
        WHERE t.state = 'pending' AND NOT t.blocked AND t.queue = q.name
          AND t.priority = p.priority::smallint AND (t.expires_at IS NULL OR t.expires_at > now())
        ORDER BY t.run_at
        LIMIT 1
      ) AS head
    ) END AS due_in,
  CASE WHEN running.count < coalesce(q.max_running, 1) THEN coalesce(bucket.full_in, 0) END AS open_in
FROM queues AS q
CROSS JOIN LATERAL (SELECT q.name, q.max_running_per_key AS per_key) AS asked
CROSS JOIN (SELECT clock_timestamp() AS at) AS clock
CROSS JOIN LATERAL (SELECT {TokensNow} AS tokens) AS filled
CROSS JOIN LATERAL (
  SELECT CASE WHEN filled.tokens < 1
              THEN ceil((greatest(1, least(q.rate_per_second / 100, q.burst / 2.0)) - filled.tokens)
                        / q.rate_per_second * 1000000)::bigint END AS full_in
) AS bucket
CROSS JOIN LATERAL {RunningOfQueue} AS running
WHERE q.name = ANY($1::text[]) AND q.limited AND q.paused_at IS NULL;
