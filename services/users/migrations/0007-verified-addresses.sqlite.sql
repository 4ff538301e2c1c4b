ALTER TABLE users ADD COLUMN email_verified_at_ms BIGINT;

UPDATE users SET email_verified_at_ms = created_at_ms WHERE id IN (SELECT user_id FROM admins);

CREATE TABLE IF NOT EXISTS stated_addresses (
    user_id INTEGER NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    email VARCHAR(254) NOT NULL
);

CREATE INDEX IF NOT EXISTS stated_addresses_email ON stated_addresses (email);

CREATE TABLE IF NOT EXISTS account_mail (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    kind VARCHAR(24) NOT NULL,
    email VARCHAR(254) NOT NULL,
    slot BIGINT,
    created_at_ms BIGINT NOT NULL,
    due_at_ms BIGINT,
    attempts BIGINT NOT NULL
);

CREATE UNIQUE INDEX IF NOT EXISTS account_mail_slot ON account_mail (email, kind, slot);

CREATE INDEX IF NOT EXISTS account_mail_due ON account_mail (due_at_ms);

CREATE INDEX IF NOT EXISTS account_mail_created ON account_mail (created_at_ms);

CREATE TABLE IF NOT EXISTS mail_tokens (
    token_hash VARCHAR(64) NOT NULL PRIMARY KEY,
    kind VARCHAR(24) NOT NULL,
    email VARCHAR(254) NOT NULL,
    expires_at_ms BIGINT NOT NULL
);

CREATE INDEX IF NOT EXISTS mail_tokens_email ON mail_tokens (email);

CREATE INDEX IF NOT EXISTS mail_tokens_expiry ON mail_tokens (expires_at_ms)
