CREATE TABLE IF NOT EXISTS refresh_tokens (
    token_hash VARCHAR(64) NOT NULL PRIMARY KEY,
    family VARCHAR(36) NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    is_used BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);

CREATE INDEX IF NOT EXISTS refresh_tokens_family ON refresh_tokens (family);

CREATE INDEX IF NOT EXISTS refresh_tokens_user ON refresh_tokens (user_id);

CREATE INDEX IF NOT EXISTS refresh_tokens_expiry ON refresh_tokens (expires_at_ms);

CREATE TABLE IF NOT EXISTS signing_keys (
    kid VARCHAR(36) NOT NULL PRIMARY KEY,
    pkcs8 VARCHAR(96) NOT NULL,
    created_at_ms BIGINT NOT NULL
)
