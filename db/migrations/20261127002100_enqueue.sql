-- parley_enqueue creates a task in the caller's own transaction: it is there if the transaction commits.
-- migrate:up
-- +goose Up
-- +goose StatementBegin
-- What CreateTask (proto/parley/scheduler/v1/scheduler_service.proto) does, with the same limits, for
-- callers in the same database; what is null is not said. Returns the task's id.
--
-- It runs with the rights of its owner, so that a caller needs the right to execute it and no other: who
-- could write the tables could do anything to any task. Nobody has that right until it is granted.
--
-- Bad input is an error 22023 that names all that is wrong, a dedupe_key that is taken one of 23505.
-- Until the end of the transaction, others who want the same dedupe_key wait.
CREATE FUNCTION parley_enqueue(
  queue text,
  name text,
  payload bytea DEFAULT '',
  headers jsonb DEFAULT '{}',
  run_at timestamptz DEFAULT NULL,       -- now
  priority integer DEFAULT 0,
  max_attempts integer DEFAULT NULL,     -- what the queue says, and if it says nothing, 10
  expires_at timestamptz DEFAULT NULL,   -- never
  concurrency_key text DEFAULT NULL,
  dedupe_key text DEFAULT NULL,
  dedupe_policy text DEFAULT NULL,       -- 'reject' (the default), 'replace', 'keep'
  dedupe_window interval DEFAULT NULL,
  run_timeout interval DEFAULT NULL,
  initial_backoff interval DEFAULT NULL,  -- this and the next three: what the queue says
  max_backoff interval DEFAULT NULL,
  backoff_multiplier double precision DEFAULT NULL,
  jitter double precision DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_column
DECLARE
  wrong_headers text;
  wrong text;
  new_options jsonb;
  new_id bigint := nextval('task_id_seq');
  key_outcome text := 'new';
BEGIN
  payload := coalesce(parley_enqueue.payload, '');
  headers := coalesce(parley_enqueue.headers, '{}');
  priority := coalesce(parley_enqueue.priority, 0);
  run_at := greatest(now(), coalesce(parley_enqueue.run_at, now()));
  concurrency_key := nullif(parley_enqueue.concurrency_key, '');
  dedupe_key := nullif(parley_enqueue.dedupe_key, '');

  IF jsonb_typeof(parley_enqueue.headers) <> 'object' THEN
    wrong_headers := 'headers must be an object of strings';
  ELSIF parley_enqueue.headers <> '{}' THEN
    SELECT nullif(concat_ws('; ',
      CASE WHEN bool_or(jsonb_typeof(h.value) <> 'string') THEN 'headers must be an object of strings' END,
      CASE WHEN count(*) > 64 THEN 'headers must have at most 64 entries' END,
      CASE WHEN bool_or(char_length(h.key) NOT BETWEEN 1 AND 256)
        THEN 'headers must have names of 1 to 256 characters' END,
      CASE WHEN sum(octet_length(h.key) + octet_length(h.value #>> '{}')) > 16384
        THEN 'headers must be at most 16 KiB in all' END), '')
    INTO wrong_headers
    FROM jsonb_each(parley_enqueue.headers) AS h;
  END IF;
  wrong := concat_ws('; ',
    CASE WHEN coalesce(parley_enqueue.queue, '') !~ '^[A-Za-z0-9._-]{1,128}$'
      THEN 'queue must be 1 to 128 of the characters A-Z a-z 0-9 . _ -' END,
    CASE WHEN starts_with(parley_enqueue.queue, 'parley.')
      THEN 'queue must not begin with "parley.", which is reserved for the suite''s own' END,
    CASE WHEN char_length(coalesce(parley_enqueue.name, '')) NOT BETWEEN 1 AND 256
      THEN 'name must have 1 to 256 characters' END,
    CASE WHEN octet_length(parley_enqueue.payload) > 1048576 THEN 'payload must be at most 1 MiB' END,
    wrong_headers,
    CASE WHEN parley_enqueue.run_at >= '10000-01-01 00:00+00'
      THEN 'run_at must be before the year 10000' END,
    CASE WHEN parley_enqueue.expires_at < '0001-01-01 00:00+00'
           OR parley_enqueue.expires_at >= '10000-01-01 00:00+00'
      THEN 'expires_at must be in the years 1 to 9999' END,
    CASE WHEN parley_enqueue.priority NOT BETWEEN 0 AND 9 THEN 'priority must be 0 to 9' END,
    CASE WHEN parley_enqueue.max_attempts NOT BETWEEN 0 AND 100
      THEN 'max_attempts must be 1 to 100, or 0 for what the queue says' END,
    CASE WHEN char_length(parley_enqueue.concurrency_key) > 128
      THEN 'concurrency_key must have at most 128 characters' END,
    CASE WHEN char_length(parley_enqueue.dedupe_key) > 256
      THEN 'dedupe_key must have at most 256 characters' END,
    CASE WHEN parley_enqueue.dedupe_policy NOT IN ('reject', 'replace', 'keep')
      THEN 'dedupe_policy must be reject, replace or keep' END,
    CASE WHEN extract(epoch FROM parley_enqueue.dedupe_window) NOT BETWEEN 0 AND 366 * 86400
      THEN 'dedupe_window must be 0 to 366 days' END,
    CASE WHEN parley_enqueue.dedupe_key IS NULL
           AND num_nonnulls(parley_enqueue.dedupe_policy, parley_enqueue.dedupe_window) > 0
      THEN 'dedupe_policy and dedupe_window must not be set without a dedupe_key' END,
    CASE WHEN parley_enqueue.run_timeout NOT BETWEEN interval '1 second' AND interval '30 days'
      THEN 'run_timeout must be 1 s to 30 days' END,
    CASE WHEN parley_enqueue.initial_backoff NOT BETWEEN interval '0' AND interval '30 days'
      THEN 'initial_backoff must be 0 to 30 days' END,
    CASE WHEN parley_enqueue.max_backoff NOT BETWEEN interval '0' AND interval '30 days'
      THEN 'max_backoff must be 0 to 30 days' END,
    CASE WHEN parley_enqueue.backoff_multiplier NOT BETWEEN 1 AND 10
      THEN 'backoff_multiplier must be 1 to 10' END,
    CASE WHEN parley_enqueue.jitter NOT BETWEEN 0 AND 1 THEN 'jitter must be 0 to 1' END);
  IF wrong <> '' THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'parley_enqueue: ' || wrong;
  END IF;

  max_attempts := coalesce(nullif(parley_enqueue.max_attempts, 0),
    (SELECT q.max_attempts FROM queues AS q WHERE q.name = parley_enqueue.queue), 10);
  new_options := nullif(jsonb_strip_nulls(jsonb_build_object(
    'retry', nullif(jsonb_strip_nulls(jsonb_build_object(
      'first_us', (extract(epoch FROM parley_enqueue.initial_backoff) * 1000000)::bigint,
      'longest_us', (extract(epoch FROM parley_enqueue.max_backoff) * 1000000)::bigint,
      'multiplier', parley_enqueue.backoff_multiplier, 'jitter', parley_enqueue.jitter)), '{}'),
    'run_timeout_us', (extract(epoch FROM parley_enqueue.run_timeout) * 1000000)::bigint,
    'dedupe_key', parley_enqueue.dedupe_key)), '{}');

  IF parley_enqueue.dedupe_key IS NOT NULL THEN
    SELECT k.outcome, k.holder
    INTO key_outcome, new_id
    FROM take_task_key(parley_enqueue.queue, parley_enqueue.dedupe_key,
                       coalesce(parley_enqueue.dedupe_policy, 'reject'),
                       coalesce((extract(epoch FROM parley_enqueue.dedupe_window) * 1000000)::bigint, 0),
                       new_id) AS k;
    IF key_outcome = 'taken' THEN
      RAISE EXCEPTION USING ERRCODE = 'unique_violation',
        MESSAGE = format('parley_enqueue: task %s has the dedupe_key', new_id),
        CONSTRAINT = 'DEDUPE_KEY_TAKEN';
    ELSIF key_outcome = 'kept' THEN
      RETURN new_id;
    END IF;
  END IF;
  IF key_outcome = 'replaced' THEN
    UPDATE tasks AS t
    SET name = parley_enqueue.name, payload = parley_enqueue.payload, headers = parley_enqueue.headers,
        run_at = parley_enqueue.run_at, expires_at = parley_enqueue.expires_at,
        priority = parley_enqueue.priority, max_attempts = parley_enqueue.max_attempts,
        options = new_options, concurrency_key = parley_enqueue.concurrency_key, attempt = 0,
        errors = '[]', blocked = false, updated_at = now()
    WHERE t.id = new_id AND t.state || '' = 'pending';
  ELSE
    INSERT INTO tasks (id, queue, name, payload, headers, run_at, expires_at, priority, max_attempts,
                       options, concurrency_key)
    VALUES (new_id, parley_enqueue.queue, parley_enqueue.name, parley_enqueue.payload,
            parley_enqueue.headers, parley_enqueue.run_at, parley_enqueue.expires_at,
            parley_enqueue.priority, parley_enqueue.max_attempts, new_options,
            parley_enqueue.concurrency_key);
  END IF;
  -- Heard once the transaction commits.
  PERFORM pg_notify('parley_tasks', parley_enqueue.queue);
  RETURN new_id;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- What it names is looked up where it was created, and not first among the caller's temporary tables.
DO $$ BEGIN
  EXECUTE format('ALTER FUNCTION parley_enqueue SET search_path = %I, pg_temp', current_schema());
END $$;
-- +goose StatementEnd
REVOKE EXECUTE ON FUNCTION parley_enqueue FROM PUBLIC;

-- migrate:down
-- +goose Down
DROP FUNCTION parley_enqueue;
