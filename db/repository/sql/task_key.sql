-- Tasks with a dedupe key. Locks are taken in one order by all: request ids, keys by queue and key, then
-- tasks.

-- name: NextTaskIds
SELECT nextval('task_id_seq') AS id FROM generate_series(1, :count::int);

-- name: ClaimRequests
-- Those that came before, and twins in the same batch but the first, return no row.
INSERT INTO requests (operation, scope_id, request_id, fingerprint, resource_id)
SELECT 'CreateTask', 0, r.request_id, r.fingerprint, r.id
FROM unnest(:request_ids::text[], :fingerprints::text[], :ids::bigint[])
  WITH ORDINALITY AS r(request_id, fingerprint, id, place)
ORDER BY r.request_id, r.place
ON CONFLICT (operation, scope_id, request_id) DO NOTHING
RETURNING resource_id AS id;

-- name: FindRequests
SELECT r.request_id, r.resource_id, r.fingerprint
FROM requests AS r
WHERE r.operation = 'CreateTask' AND r.scope_id = 0 AND r.request_id = ANY(:request_ids::text[]);

-- name: PointRequests
-- At the tasks that they have led to.
UPDATE requests AS r
SET resource_id = p.task_id
FROM unnest(:request_ids::text[], :task_ids::bigint[]) AS p(request_id, task_id)
WHERE r.operation = 'CreateTask' AND r.scope_id = 0 AND r.request_id = p.request_id;

-- name: ForgetRequests
-- Those that were refused.
DELETE FROM requests AS r
WHERE r.operation = 'CreateTask' AND r.scope_id = 0 AND r.request_id = ANY(:request_ids::text[]);

-- name: TakeKeys
-- No key twice. Those that go on waiting for others must do so in the same order.
SELECT k.id, taken.outcome, taken.holder
FROM (
  SELECT *
  FROM unnest(:ids::bigint[], :queues::text[], :keys::text[], :policies::text[], :windows_us::bigint[])
    AS k(id, queue, dedupe_key, policy, window_us)
  ORDER BY k.queue COLLATE "C", k.dedupe_key COLLATE "C"
) AS k
CROSS JOIN LATERAL take_task_key(k.queue, k.dedupe_key, k.policy, k.window_us, k.id) AS taken;

-- name: InsertTasks
INSERT INTO tasks (id, queue, name, payload, headers, run_at, expires_at, priority, max_attempts,
                   options, concurrency_key)
SELECT n.id, n.queue, n.name, n.payload, n.headers, n.run_at, n.expires_at, n.priority, n.max_attempts,
       n.options, n.concurrency_key
FROM ({TasksOfJson}) AS n
RETURNING id;

-- name: ReplaceTasks
-- Pending ones, locked by take_task_key: as if they were new, but for the id and the time of creation.
UPDATE tasks AS t
SET name = n.name, payload = n.payload, headers = n.headers, run_at = n.run_at,
    expires_at = n.expires_at, priority = n.priority, max_attempts = n.max_attempts,
    options = n.options, concurrency_key = n.concurrency_key, attempt = 0, errors = '[]',
    blocked = false, updated_at = now()
FROM ({TasksOfJson}) AS n
WHERE t.id = n.id AND t.state || '' = 'pending'
RETURNING t.id;

-- name: LockKeysToLookAt
SELECT k.queue, k.dedupe_key
FROM task_keys AS k
WHERE k.look_at <= now()
ORDER BY k.look_at
LIMIT :max_keys::int
FOR UPDATE SKIP LOCKED;

-- name: SweepKeys
-- Locked ones: a statement of its own, which sees what has become of their tasks since. A key stays as
-- long as its task is live, or dead and may be driven again, and until its window is over. A task may be
-- driven, or end, sooner than it is due: so it is looked at twice a day at least, before the history
-- forgets it.
WITH looked AS MATERIALIZED (
  SELECT k.queue, k.dedupe_key, t.run_at, t.id IS NOT NULL AS live, d.id IS NOT NULL AS dead,
         CASE WHEN t.id IS NULL AND d.id IS NULL THEN task_key_free_at(k) END AS free_at
  FROM unnest(:queues::text[], :keys::text[]) AS a(queue, dedupe_key)
  JOIN task_keys AS k ON k.queue = a.queue AND k.dedupe_key = a.dedupe_key
  LEFT JOIN tasks AS t ON t.id = k.task_id
  LEFT JOIN dead_tasks AS d ON d.id = k.task_id
), next AS (
  SELECT queue, dedupe_key, free_at,
         CASE WHEN live THEN least(greatest(run_at, now()) + interval '10 minutes',
                                   now() + interval '12 hours')
              WHEN dead THEN now() + interval '12 hours'
              WHEN free_at > now() THEN free_at END AS look_at
  FROM looked
), removed AS (
  DELETE FROM task_keys AS k
  USING next AS n
  WHERE k.queue = n.queue AND k.dedupe_key = n.dedupe_key AND n.look_at IS NULL
)
UPDATE task_keys AS k
SET free_at = n.free_at, look_at = n.look_at
FROM next AS n
WHERE k.queue = n.queue AND k.dedupe_key = n.dedupe_key AND n.look_at IS NOT NULL;
