-- Wrong passwords, so that nobody can go on guessing: of each login, whether it exists or not, and of
-- each caller. A row is of no use once its time has come, and is removed by those who add others.
-- parley:phase expand
-- migrate:up
-- +goose Up
CREATE TABLE password_attempts (
  -- "login:" and the login's key, or "caller:" and the caller's name.
  subject text COLLATE "C" PRIMARY KEY,
  -- When all will be forgiven. Every wrong password moves it on by a fixed step.
  forgiven_at timestamptz NOT NULL
);
CREATE INDEX password_attempts_by_forgiven_at ON password_attempts (forgiven_at);

-- migrate:down
-- +goose Down
DROP TABLE password_attempts;
