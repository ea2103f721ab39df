-- Wrong passwords. A subject may have so many in a row, and after that one in each step of time:
-- forgiven_at moves on by a step with each, and while it is further away than `spare`, which is all
-- steps of the row but one, the next attempt has to wait. An empty subject has no limit.

-- name: GetAttemptWait
-- How long the next attempt has to wait; 0 if it may come now.
SELECT coalesce(max((extract(epoch FROM forgiven_at - now()) * 1000000)::bigint - limits.spare_us), 0)
         AS wait_us
FROM (VALUES (:login, :login_spare_us::bigint), (:caller, :caller_spare_us::bigint))
       AS limits (subject, spare_us)
JOIN password_attempts USING (subject);

-- name: AddFailures
-- In one order, so that two of these cannot wait for each other.
INSERT INTO password_attempts AS attempt (subject, forgiven_at)
SELECT failed.subject, now() + failed.step_us * interval '1 microsecond'
FROM (VALUES (:login, :login_step_us::bigint), (:caller, :caller_step_us::bigint))
       AS failed (subject, step_us)
WHERE failed.subject <> ''
ORDER BY failed.subject
ON CONFLICT (subject) DO UPDATE
SET forgiven_at = greatest(attempt.forgiven_at, now()) + (excluded.forgiven_at - now());

-- name: RemoveForgiven
-- A few of those that are of no use any more: one more than can have been added.
DELETE FROM password_attempts
WHERE subject IN (
  SELECT subject
  FROM password_attempts
  WHERE forgiven_at < now()
  ORDER BY forgiven_at
  LIMIT 3
  FOR UPDATE SKIP LOCKED
);

-- name: ForgiveLogin
DELETE FROM password_attempts WHERE subject = :login;
