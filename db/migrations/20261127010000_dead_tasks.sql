-- Dead tasks are listed by their deaths, and dropped by them if that is asked for; and what did not succeed
-- is listed by queue, however much has succeeded there. None of these tables is what workers claim from, and
-- what succeeds writes to none of these indexes.
-- migrate:up
-- +goose Up
CREATE INDEX dead_tasks_by_death ON dead_tasks (died_at, id);
CREATE INDEX dead_tasks_by_queue_and_death ON dead_tasks (queue, died_at, id);
CREATE INDEX task_history_unsuccessful_by_queue ON task_history (queue, state, id)
  WHERE state <> 'succeeded';

-- migrate:down
-- +goose Down
DROP INDEX dead_tasks_by_death, dead_tasks_by_queue_and_death, task_history_unsuccessful_by_queue;
