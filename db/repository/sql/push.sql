-- Queues whose tasks are pushed to a target, and their tasks that are with it.

-- name: ListPushQueues
SELECT q.name, q.target::text AS target FROM queues AS q WHERE q.target IS NOT NULL ORDER BY q.name;

-- name: ListHandoffPlaces
-- What the tokens of leases of pushers' begin with, by queue; a worker's is another kind of token.
SELECT DISTINCT t.queue, left(replace(t.lease_token::text, '-', ''), :size::int) AS token_prefix
FROM tasks AS t
WHERE t.state = 'running'
  AND t.lease_token BETWEEN rpad(:prefix::text, 32, '0')::uuid AND rpad(:prefix::text, 32, 'f')::uuid
ORDER BY t.queue, token_prefix;

-- name: ListPushedTasks
-- Those under leases whose tokens begin so. `age_us`: since the claim, or
-- the request to cancel it. `left_us`: of the lease, null if it ends with the run timeout. `may_expire`: it
-- has not done so by this clock; those of the services and of Celery may be others.
SELECT t.id, t.lease_token::text AS lease_token, t.cancel_requested::int AS cancel_requested,
  (extract(epoch FROM t.created_at) * 1000000)::bigint AS created_at,
  COALESCE(t.expires_at > now(), false)::int AS may_expire,
  (extract(epoch FROM now() - t.updated_at) * 1000000)::bigint AS age_us,
  CASE WHEN t.lease_until IS DISTINCT FROM t.deadline_at
       THEN (extract(epoch FROM t.lease_until - now()) * 1000000)::bigint END AS left_us
FROM tasks AS t
WHERE t.queue = :queue::text AND t.state = 'running'
  AND t.lease_token BETWEEN rpad(:prefix::text, 32, '0')::uuid AND rpad(:prefix::text, 32, 'f')::uuid;
