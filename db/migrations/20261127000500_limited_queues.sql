-- Which queues limit what runs, for statements that end tasks: there are few, whatever there is else.
-- migrate:up
-- +goose Up
CREATE INDEX queues_limited ON queues (name) WHERE limited;

-- migrate:down
-- +goose Down
DROP INDEX queues_limited;
