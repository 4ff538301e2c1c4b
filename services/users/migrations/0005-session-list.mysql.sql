CREATE TABLE IF NOT EXISTS sessions (
    family VARCHAR(36) NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    began_at_ms BIGINT NOT NULL,
    used_at_ms BIGINT NOT NULL,
    address VARCHAR(45) NOT NULL,
    user_agent VARCHAR(200) NOT NULL,
    KEY sessions_used (used_at_ms),
    CONSTRAINT session_of_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

CREATE TABLE IF NOT EXISTS token_epochs (
    user_id BIGINT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    changed_at_ms BIGINT NOT NULL,
    KEY token_epochs_changed (changed_at_ms)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin
