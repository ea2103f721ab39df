-- Dedupe keys: of the tasks of a queue that have the same key, one at a time is to be done.
-- migrate:up
-- +goose Up
-- Whose a key is. That a task has ended is not noted here, so that what ends tasks need not know of
-- keys: whoever wants the key finds out (take_task_key), and so does the reaper, later, to remove what
-- is not needed any more.
CREATE TABLE task_keys (
  queue text COLLATE "C" NOT NULL CHECK (octet_length(queue) BETWEEN 1 AND 128),
  dedupe_key text COLLATE "C" NOT NULL CHECK (char_length(dedupe_key) BETWEEN 1 AND 256),
  task_id bigint NOT NULL,
  -- So long after the task has succeeded the key is still its own.
  window_us bigint NOT NULL CHECK (window_us >= 0),
  -- When that is over, once the reaper has seen the task succeeded: the history forgets it one day.
  free_at timestamptz,
  -- When the reaper is to look at it.
  look_at timestamptz NOT NULL,
  PRIMARY KEY (queue, dedupe_key)
) WITH (
  fillfactor = 80,
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 2000
);
CREATE INDEX task_keys_to_look_at ON task_keys (look_at);

-- +goose StatementBegin
-- When the window ends of a key whose task has ended; null if it has none, or has not succeeded.
CREATE FUNCTION task_key_free_at(held task_keys) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
  SELECT coalesce(held.free_at, CASE WHEN held.window_us > 0 THEN (
    SELECT max(h.finished_at) + held.window_us * interval '1 microsecond'
    FROM task_history AS h
    WHERE h.id = held.task_id AND h.state = 'succeeded') END);
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- Finds out whose a key is, or gives it to the task `new_id`, which is to be written in the same
-- transaction; until its end, nobody else gets an answer about this key. `policy` is what to do if the
-- key is taken. The outcome, and the key's holder after it:
--   new       it is new_id's
--   replaced  its task is pending, and locked: it is to be overwritten
--   kept      it is another's, and that is as well
--   taken     it is another's
-- A pending task that has expired stands in nobody's way.
CREATE FUNCTION take_task_key(of_queue text, wanted text, policy text, new_window_us bigint,
                              new_id bigint, OUT outcome text, OUT holder bigint)
LANGUAGE plpgsql AS $$
DECLARE
  held task_keys;
  look timestamptz := now() + interval '1 minute';
BEGIN
  LOOP
    -- Waits for whoever has just written it.
    INSERT INTO task_keys (queue, dedupe_key, task_id, window_us, look_at)
    VALUES (of_queue, wanted, new_id, new_window_us, look)
    ON CONFLICT (queue, dedupe_key) DO NOTHING;
    IF FOUND THEN
      outcome := 'new';
      holder := new_id;
      RETURN;
    END IF;
    SELECT * INTO held FROM task_keys WHERE queue = of_queue AND dedupe_key = wanted FOR UPDATE;
    EXIT WHEN FOUND;  -- or else the reaper has removed it in between
  END LOOP;

  outcome := 'new';
  holder := new_id;
  IF policy = 'replace' THEN
    PERFORM
    FROM tasks AS t
    WHERE t.id = held.task_id AND t.state || '' = 'pending'
      AND (t.expires_at IS NULL OR t.expires_at > now())
    FOR NO KEY UPDATE;
    IF FOUND THEN
      outcome := 'replaced';
      holder := held.task_id;
    END IF;
  ELSIF EXISTS (SELECT FROM tasks AS t
                WHERE t.id = held.task_id
                  AND (t.state || '' = 'running' OR t.expires_at IS NULL OR t.expires_at > now()))
     OR coalesce(task_key_free_at(held) > now(), false) THEN
    outcome := CASE policy WHEN 'keep' THEN 'kept' ELSE 'taken' END;
    holder := held.task_id;
    RETURN;
  END IF;
  UPDATE task_keys
  SET task_id = holder, window_us = new_window_us, free_at = NULL, look_at = look
  WHERE queue = of_queue AND dedupe_key = wanted;
END $$;
-- +goose StatementEnd

-- migrate:down
-- +goose Down
DROP FUNCTION take_task_key, task_key_free_at;
DROP TABLE task_keys;
