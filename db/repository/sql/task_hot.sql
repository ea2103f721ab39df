-- The statements on tasks that carry the load, for the hot lane: binary values, many tasks at a time.
-- The clock is the database's, always now(): a volatile clock could not bound an index scan.

-- name: InsertTasks
-- Of each: what to do, when, and the id and digest of the request, if it is to be remembered. A
-- request that came before creates nothing. First the ids, by place; then, with place 0, what was
-- created: joined here, the two would be compared each with each.
WITH new AS MATERIALIZED (
  SELECT nextval('task_id_seq') AS id, n.*
  FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::timestamptz[], $6::bigint[],
              $7::timestamptz[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::text[],
              $13::text[])
    WITH ORDINALITY
    AS n(queue, name, payload, headers, run_at, delay_us, expires_at, priority, max_attempts,
         options, concurrency_key, request_id, fingerprint, place)
), claimed AS (
  INSERT INTO requests (operation, scope_id, request_id, fingerprint, resource_id)
  SELECT 'CreateTask', 0, request_id, fingerprint, id
  FROM new
  WHERE request_id IS NOT NULL
  ORDER BY request_id
  ON CONFLICT (operation, scope_id, request_id) DO NOTHING
  RETURNING resource_id
), created AS (
  INSERT INTO tasks (id, queue, name, payload, headers, run_at, expires_at, priority, max_attempts,
                     options, concurrency_key)
  SELECT n.id, n.queue, n.name, n.payload, n.headers::jsonb,
         greatest(now(), coalesce(n.run_at, now()) + n.delay_us * interval '1 microsecond'),
         n.expires_at, n.priority::smallint,
         coalesce(nullif(n.max_attempts::integer, 0), q.max_attempts, {DefaultAttempts}),
         n.options::jsonb, n.concurrency_key
  FROM new AS n
  LEFT JOIN queues AS q ON q.name = n.queue
  WHERE n.request_id IS NULL OR n.id IN (SELECT resource_id FROM claimed)
  RETURNING id, run_at, created_at, max_attempts
)
SELECT place, id, NULL AS run_at, NULL::timestamptz AS created_at, NULL::integer AS max_attempts
FROM new
UNION ALL
SELECT 0, id, run_at, created_at, max_attempts FROM created;

-- name: FindTaskRequests
SELECT r.request_id, r.resource_id, r.fingerprint
FROM unnest($1::text[]) AS asked(id)
JOIN requests AS r
  ON r.operation = 'CreateTask' AND r.scope_id = 0 AND r.request_id = asked.id;

-- name: ClaimTasks
-- For each priority, from the greatest, one index range a queue: nothing that is not due is read,
-- and once there are enough, lower priorities are not looked at. What is sorted is only how the heads
-- of several queues interleave, at most max_tasks of each. MATERIALIZED, because a sub-query may be
-- run again and would then lock more than LIMIT. Only if all together weigh too much is each looked
-- at. What was locked is found again by its place, which nobody can change meanwhile; one that moved
-- before it was locked is not found, and left to the next claim. The state is asked again where it
-- changes, but not as a constant, which would look like the condition of tasks_due.
-- Queues that are paused, or limited (ClaimLimitedTasks), give nothing here.
WITH open AS MATERIALIZED (
  SELECT q.queue
  FROM unnest($1::text[]) AS q(queue)
  WHERE NOT EXISTS (
    SELECT FROM queues AS s WHERE s.name = q.queue AND (s.paused_at IS NOT NULL OR s.limited))
), candidate AS MATERIALIZED (
  SELECT head.place, head.bytes
  FROM generate_series(9, 0, -1) AS p(priority)
  CROSS JOIN LATERAL (
    SELECT due.place, due.bytes
    FROM open AS q
    CROSS JOIN LATERAL (
      SELECT t.ctid AS place, t.id, t.run_at, {ClaimedBytes} AS bytes
      FROM tasks AS t
      WHERE t.state = 'pending' AND NOT t.blocked AND t.queue = q.queue AND t.priority = p.priority::smallint
        AND t.run_at <= now() AND (t.expires_at IS NULL OR t.expires_at > now())
      ORDER BY t.run_at, t.id
      LIMIT $2::bigint
      FOR NO KEY UPDATE SKIP LOCKED
    ) AS due
    ORDER BY due.run_at, due.id
    LIMIT $2::bigint
  ) AS head
  LIMIT $2::bigint
), cut AS (
  SELECT place FROM candidate WHERE (SELECT sum(bytes) <= $3::bigint FROM candidate)
  UNION ALL
  SELECT place
  FROM (
    SELECT place, row_number() OVER w AS position, sum(bytes) OVER w AS total
    FROM candidate
    WHERE (SELECT sum(bytes) > $3::bigint FROM candidate)
    WINDOW w AS (ROWS UNBOUNDED PRECEDING)
  ) AS weighed
  WHERE position = 1 OR total <= $3::bigint
), claimed AS (
  UPDATE tasks AS t
  SET state = 'running', {BeginLease}
  WHERE t.ctid = ANY (ARRAY(SELECT place FROM cut)) AND t.state || '' = 'pending'
  RETURNING {ClaimedTask}
), counted AS (
  INSERT INTO queue_counters AS c (queue, backend, pending, running)
  SELECT queue, pg_backend_pid(), -count(*), count(*) FROM claimed GROUP BY queue ORDER BY queue
  {AddCounts}
)
SELECT * FROM claimed;

-- name: ReleaseClaim
-- What a claim took whose answer got lost.
WITH released AS (
  UPDATE tasks AS t
  SET state = 'pending', attempt = t.attempt - 1, lease_token = NULL, lease_until = NULL,
      deadline_at = NULL, updated_at = now()
  WHERE t.state = 'running' AND t.lease_token = $1::text::uuid AND NOT t.cancel_requested
  RETURNING t.queue
)
INSERT INTO queue_counters AS c (queue, backend, pending, running)
SELECT queue, pg_backend_pid(), count(*), -count(*) FROM released GROUP BY queue ORDER BY queue
{AddCounts};

-- name: NextDue
-- How long until the first task of each queue is due; negative if it is, null if none is pending. Of
-- queues that are limited NextDueLimited tells. No row: the queue is paused.
SELECT q.queue, coalesce(s.limited, false) AS limited,
  CASE WHEN s.limited IS NOT TRUE THEN (
    SELECT (extract(epoch FROM min(head.run_at) - now()) * 1000000)::bigint
    FROM generate_series(0, 9) AS p(priority)
    CROSS JOIN LATERAL (
      SELECT t.run_at
      FROM tasks AS t
      WHERE t.state = 'pending' AND NOT t.blocked AND t.queue = q.queue
        AND t.priority = p.priority::smallint AND (t.expires_at IS NULL OR t.expires_at > now())
      ORDER BY t.run_at
      LIMIT 1
    ) AS head
  ) END AS due_in
FROM unnest($1::text[]) AS q(queue)
LEFT JOIN queues AS s ON s.name = q.queue
WHERE s.paused_at IS NULL;

-- name: AckTasks
-- Into the history, with the token, so that the same ack can be answered again. Leases that are lost
-- return no row. The queue is told where there is room now for others.
WITH acked AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bytea[]) AS a(id, token, result)
), ended AS (
  DELETE FROM tasks AS t
  USING acked
  WHERE t.id = acked.id AND t.state || '' = 'running' AND t.lease_token = acked.token
  RETURNING t.*, acked.result
), counted AS (
  INSERT INTO queue_counters AS c (queue, backend, running, succeeded)
  SELECT queue, pg_backend_pid(), -count(*), count(*) FROM ended GROUP BY queue ORDER BY queue
  {AddCounts}
)
INSERT INTO task_history (state, lease_token, result, errors, {TaskColumns})
SELECT 'succeeded', lease_token, result, errors, {TaskColumns}
FROM ended
RETURNING id, uuid_send(lease_token),
  CASE WHEN queue IN (SELECT q.name FROM queues AS q WHERE q.limited) THEN queue END;
