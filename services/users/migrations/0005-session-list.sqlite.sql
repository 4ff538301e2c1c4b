CREATE TABLE IF NOT EXISTS sessions (
    family VARCHAR(36) NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    began_at_ms BIGINT NOT NULL,
    used_at_ms BIGINT NOT NULL,
    address VARCHAR(45) NOT NULL,
    user_agent VARCHAR(200) NOT NULL
);

CREATE INDEX IF NOT EXISTS sessions_user ON sessions (user_id);

CREATE INDEX IF NOT EXISTS sessions_used ON sessions (used_at_ms);

CREATE TABLE IF NOT EXISTS token_epochs (
    user_id INTEGER NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    changed_at_ms BIGINT NOT NULL
);

CREATE INDEX IF NOT EXISTS token_epochs_changed ON token_epochs (changed_at_ms)
