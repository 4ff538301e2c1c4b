CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT NOT NULL REFERENCES users (id),
    status VARCHAR(16) NOT NULL,
    total_cents BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    reservation_key VARCHAR(36) NOT NULL UNIQUE,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);

CREATE INDEX IF NOT EXISTS orders_user ON orders (user_id, id);

CREATE TABLE IF NOT EXISTS order_items (
    order_id BIGINT NOT NULL REFERENCES orders (id),
    line BIGINT NOT NULL,
    product_id VARCHAR(36) NOT NULL,
    quantity BIGINT NOT NULL,
    unit_price_cents BIGINT NOT NULL,
    PRIMARY KEY (order_id, line)
);

CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id VARCHAR(36) NOT NULL UNIQUE,
    aggregatetype VARCHAR(32) NOT NULL,
    aggregateid VARCHAR(20) NOT NULL,
    type VARCHAR(32) NOT NULL,
    payload VARCHAR(12000) NOT NULL,
    traceparent VARCHAR(64)
);

CREATE TABLE IF NOT EXISTS outbox_batches (
    outbox_seq INTEGER PRIMARY KEY,
    batch BIGINT NOT NULL
);

CREATE INDEX IF NOT EXISTS outbox_batches_batch ON outbox_batches (batch);

CREATE TABLE IF NOT EXISTS relay_lease (
    name VARCHAR(32) NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    holder VARCHAR(36) NOT NULL,
    expires_at_ms BIGINT NOT NULL
);

INSERT OR IGNORE INTO relay_lease (name, epoch, holder, expires_at_ms) VALUES ('orders', 0, '', 0);

CREATE TABLE IF NOT EXISTS stock_claims (
    reservation_key VARCHAR(36) NOT NULL PRIMARY KEY,
    releasing BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

CREATE INDEX IF NOT EXISTS stock_claims_age ON stock_claims (releasing, created_at_ms);

CREATE TABLE IF NOT EXISTS idempotency_keys (
    user_id BIGINT NOT NULL,
    idempotency_key VARCHAR(128) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    reservation_key VARCHAR(36) NOT NULL,
    reply VARCHAR(12000),
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, idempotency_key)
);

CREATE INDEX IF NOT EXISTS idempotency_keys_reservation ON idempotency_keys (reservation_key);

CREATE INDEX IF NOT EXISTS idempotency_keys_age ON idempotency_keys (created_at_ms)
