-- Tasks come and go by the ten thousand a second. A claim moves a task's row, and with it its entry in every
-- index; with room in each page the new entry finds a place beside the old one, and what is dead is removed
-- there before the page has to be split. And entries that differ have one place each, where many that are
-- equal are searched for one with room.
-- What is in a queue is counted by the statements that move tasks, which know it; triggers are handed a copy
-- of every row. What comes in is counted by the trigger as before, whoever brings it.
-- migrate:up
-- +goose Up
LOCK TABLE tasks, task_history, dead_tasks IN ACCESS EXCLUSIVE MODE;
ALTER INDEX tasks_pkey SET (fillfactor = 50);
REINDEX INDEX tasks_pkey;
DROP INDEX tasks_by_queue;
CREATE INDEX tasks_by_queue ON tasks (queue, id) WITH (fillfactor = 50);
DROP INDEX tasks_running;
CREATE INDEX tasks_running ON tasks (queue, concurrency_key, id) WHERE state = 'running';
DROP TRIGGER count_moved ON tasks;
DROP TRIGGER count_gone ON tasks;
DROP TRIGGER count_ended ON task_history;
DROP TRIGGER count_dead ON dead_tasks;
DROP TRIGGER count_revived ON dead_tasks;
DROP FUNCTION count_moved_tasks, count_gone_tasks, count_ended_tasks, count_dead_tasks, count_revived_tasks;

-- migrate:down
-- +goose Down
LOCK TABLE tasks, task_history, dead_tasks IN ACCESS EXCLUSIVE MODE;
DROP INDEX tasks_running;
CREATE INDEX tasks_running ON tasks (queue, concurrency_key) WHERE state = 'running';
DROP INDEX tasks_by_queue;
CREATE INDEX tasks_by_queue ON tasks (queue, id);
ALTER INDEX tasks_pkey RESET (fillfactor);
REINDEX INDEX tasks_pkey;

-- +goose StatementBegin
CREATE FUNCTION count_moved_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Back from running: an attempt that was released is not counted any more.
  INSERT INTO queue_counters AS c (queue, backend, pending, running, retried)
  SELECT queue, pg_backend_pid(), -sum(running), sum(running),
         CASE WHEN sum(running) < 0 THEN greatest(0, sum(attempt) - sum(running)) ELSE 0 END
  FROM (
    SELECT queue, (state = 'running')::int AS running, attempt FROM now_there
    UNION ALL
    SELECT queue, -(state = 'running')::int, -attempt FROM was_there
  ) AS moved
  GROUP BY queue
  HAVING sum(running) <> 0
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE
  SET pending = c.pending + excluded.pending, running = c.running + excluded.running,
      retried = c.retried + excluded.retried;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION count_gone_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO queue_counters AS c (queue, backend, pending, running)
  SELECT queue, pg_backend_pid(), -count(*) FILTER (WHERE state = 'pending'),
         -count(*) FILTER (WHERE state = 'running')
  FROM was_there
  GROUP BY queue
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE
  SET pending = c.pending + excluded.pending, running = c.running + excluded.running;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION count_ended_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO queue_counters AS c (queue, backend, succeeded, cancelled, expired)
  SELECT queue, pg_backend_pid(), count(*) FILTER (WHERE state = 'succeeded'),
         count(*) FILTER (WHERE state = 'cancelled'), count(*) FILTER (WHERE state = 'expired')
  FROM now_there
  GROUP BY queue
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE
  SET succeeded = c.succeeded + excluded.succeeded, cancelled = c.cancelled + excluded.cancelled,
      expired = c.expired + excluded.expired;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION count_dead_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO queue_counters AS c (queue, backend, dead, died)
  SELECT queue, pg_backend_pid(), count(*), count(*)
  FROM now_there
  GROUP BY queue
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE
  SET dead = c.dead + excluded.dead, died = c.died + excluded.died;
  RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION count_revived_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO queue_counters AS c (queue, backend, dead)
  SELECT queue, pg_backend_pid(), -count(*)
  FROM was_there
  GROUP BY queue
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE SET dead = c.dead + excluded.dead;
  RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER count_moved AFTER UPDATE ON tasks
  REFERENCING NEW TABLE AS now_there OLD TABLE AS was_there
  FOR EACH STATEMENT EXECUTE FUNCTION count_moved_tasks();
CREATE TRIGGER count_gone AFTER DELETE ON tasks
  REFERENCING OLD TABLE AS was_there FOR EACH STATEMENT EXECUTE FUNCTION count_gone_tasks();
CREATE TRIGGER count_ended AFTER INSERT ON task_history
  REFERENCING NEW TABLE AS now_there FOR EACH STATEMENT EXECUTE FUNCTION count_ended_tasks();
CREATE TRIGGER count_dead AFTER INSERT ON dead_tasks
  REFERENCING NEW TABLE AS now_there FOR EACH STATEMENT EXECUTE FUNCTION count_dead_tasks();
CREATE TRIGGER count_revived AFTER DELETE ON dead_tasks
  REFERENCING OLD TABLE AS was_there FOR EACH STATEMENT EXECUTE FUNCTION count_revived_tasks();
