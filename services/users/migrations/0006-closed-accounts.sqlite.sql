ALTER TABLE users ADD COLUMN closed_at_ms BIGINT;

CREATE INDEX users_closed ON users (closed_at_ms)
