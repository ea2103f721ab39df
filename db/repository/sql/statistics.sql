-- What the database says of itself, for whoever watches it. Read every quarter of a minute by each
-- process.

-- name: GetTableRows
-- By PostgreSQL's own count, which is not exact.
SELECT relname::text AS name, n_live_tup AS live_rows, n_dead_tup AS dead_rows
FROM pg_stat_user_tables
WHERE relname = ANY (:tables::text[]) AND schemaname = ANY (current_schemas(false))
ORDER BY relname;

-- name: GetOldestXmin
-- In transactions, how far back lies what vacuum must not remove yet: for a long transaction of this
-- database, a replication slot, or a transaction that was prepared and left. Of the transactions of
-- other roles only a role that has pg_read_all_stats sees anything.
SELECT coalesce(max(age(held.xmin)), 0)::bigint AS id
FROM (
  SELECT backend_xmin
  FROM pg_stat_activity
  WHERE backend_type <> 'autovacuum worker'
    AND (datname = current_database() OR backend_type = 'walsender')
  UNION ALL
  SELECT xmin FROM pg_replication_slots
  UNION ALL
  SELECT transaction FROM pg_prepared_xacts WHERE database = current_database()
) AS held(xmin);

-- name: GetOldestDueTask
-- For how long the first task has been due, in microseconds; no row: none is. What a queue's pause or
-- a limit by key holds back is not counted. Queues are found one after the other, and in each the first
-- of each priority: probes of the due index only, however many tasks there are.
WITH RECURSIVE waiting (queue) AS (
  (
    SELECT queue FROM tasks WHERE state = 'pending' AND NOT blocked ORDER BY queue LIMIT 1
  )
  UNION ALL
  SELECT (
    SELECT t.queue
    FROM tasks AS t
    WHERE t.state = 'pending' AND NOT t.blocked AND t.queue > w.queue
    ORDER BY t.queue
    LIMIT 1
  )
  FROM waiting AS w
  WHERE w.queue IS NOT NULL
)
SELECT (extract(epoch FROM now() - min(due.run_at)) * 1000000)::bigint AS id
FROM waiting AS w
LEFT JOIN queues AS q ON q.name = w.queue
CROSS JOIN generate_series(0, 9) AS p(priority)
CROSS JOIN LATERAL (
  SELECT t.run_at
  FROM tasks AS t
  WHERE t.state = 'pending' AND NOT t.blocked AND t.queue = w.queue
    AND t.priority = p.priority::smallint AND t.run_at <= now()
    AND (t.expires_at IS NULL OR t.expires_at > now())
  ORDER BY t.run_at
  LIMIT 1
) AS due
WHERE w.queue IS NOT NULL AND q.paused_at IS NULL
HAVING count(*) > 0;
