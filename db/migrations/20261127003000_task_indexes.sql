-- Indexes for tasks that come and go by the ten thousand a second. A claim moves a task's row, and with it
-- its entry in every index; with room in each page the new entry finds a place beside the old one, and what
-- is dead is removed there before the page has to be split. And entries that differ have one place each,
-- where many that are equal are searched for one with room.
-- migrate:up
-- +goose Up
LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE;
ALTER INDEX tasks_pkey SET (fillfactor = 50);
REINDEX INDEX tasks_pkey;
DROP INDEX tasks_by_queue;
CREATE INDEX tasks_by_queue ON tasks (queue, id) WITH (fillfactor = 50);
DROP INDEX tasks_running;
CREATE INDEX tasks_running ON tasks (queue, concurrency_key, id) WHERE state = 'running';

-- migrate:down
-- +goose Down
LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE;
DROP INDEX tasks_running;
CREATE INDEX tasks_running ON tasks (queue, concurrency_key) WHERE state = 'running';
DROP INDEX tasks_by_queue;
CREATE INDEX tasks_by_queue ON tasks (queue, id);
ALTER INDEX tasks_pkey RESET (fillfactor);
REINDEX INDEX tasks_pkey;
