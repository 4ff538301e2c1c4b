SET @add_column = (
    SELECT IF(COUNT(*) = 0, 'ALTER TABLE users ADD COLUMN email_verified_at_ms BIGINT NULL', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'users' AND column_name = 'email_verified_at_ms'
);

PREPARE add_column FROM @add_column;

EXECUTE add_column;

DEALLOCATE PREPARE add_column;

UPDATE users SET email_verified_at_ms = created_at_ms WHERE id IN (SELECT user_id FROM admins);

CREATE TABLE IF NOT EXISTS stated_addresses (
    user_id BIGINT NOT NULL PRIMARY KEY,
    email VARCHAR(254) NOT NULL,
    KEY stated_addresses_email (email),
    CONSTRAINT address_of_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS account_mail (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    kind VARCHAR(24) NOT NULL,
    email VARCHAR(254) NOT NULL,
    slot BIGINT NULL,
    created_at_ms BIGINT NOT NULL,
    due_at_ms BIGINT NULL,
    attempts BIGINT NOT NULL,
    UNIQUE KEY account_mail_slot (email, kind, slot),
    KEY account_mail_due (due_at_ms),
    KEY account_mail_created (created_at_ms)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS mail_tokens (
    token_hash VARCHAR(64) NOT NULL PRIMARY KEY,
    kind VARCHAR(24) NOT NULL,
    email VARCHAR(254) NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    KEY mail_tokens_email (email),
    KEY mail_tokens_expiry (expires_at_ms)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
