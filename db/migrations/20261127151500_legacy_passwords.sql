-- Passwords that an adopted database kept as plain text, until each has been verified once and is an
-- Argon2id hash. Nothing but `parley-migrate adopt` adds any.
-- parley:phase expand
-- migrate:up
-- +goose Up
CREATE TABLE legacy_passwords (
  user_id bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  password text NOT NULL,
  -- Whether VerifyPassword takes it. If not, it is kept, and of no use to anybody.
  accepted boolean NOT NULL
);

-- migrate:down
-- +goose Down
DROP TABLE legacy_passwords;
