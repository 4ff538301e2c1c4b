CREATE TABLE IF NOT EXISTS refresh_tokens (
    token_hash VARCHAR(64) NOT NULL PRIMARY KEY,
    family VARCHAR(36) NOT NULL,
    user_id BIGINT NOT NULL,
    is_used BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    KEY refresh_tokens_family (family),
    KEY refresh_tokens_expiry (expires_at_ms),
    CONSTRAINT tokens_of_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

CREATE TABLE IF NOT EXISTS signing_keys (
    kid VARCHAR(36) NOT NULL PRIMARY KEY,
    pkcs8 VARCHAR(96) NOT NULL,
    created_at_ms BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin
