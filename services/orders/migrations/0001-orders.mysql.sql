CREATE TABLE IF NOT EXISTS orders (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id BIGINT NOT NULL,
    status VARCHAR(16) NOT NULL,
    total_cents BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    reservation_key VARCHAR(36) NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    UNIQUE KEY orders_reservation (reservation_key),
    KEY orders_user (user_id, id),
    CONSTRAINT orders_of_user FOREIGN KEY (user_id) REFERENCES users (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS order_items (
    order_id BIGINT NOT NULL,
    line BIGINT NOT NULL,
    product_id VARCHAR(36) NOT NULL,
    quantity BIGINT NOT NULL,
    unit_price_cents BIGINT NOT NULL,
    PRIMARY KEY (order_id, line),
    CONSTRAINT items_of_order FOREIGN KEY (order_id) REFERENCES orders (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS outbox (
    seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id VARCHAR(36) NOT NULL,
    aggregatetype VARCHAR(32) NOT NULL,
    aggregateid VARCHAR(20) NOT NULL,
    type VARCHAR(32) NOT NULL,
    payload VARCHAR(12000) NOT NULL,
    traceparent VARCHAR(64),
    UNIQUE KEY outbox_id (id)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

CREATE TABLE IF NOT EXISTS outbox_batches (
    outbox_seq BIGINT NOT NULL PRIMARY KEY,
    batch BIGINT NOT NULL,
    KEY outbox_batches_batch (batch)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS relay_lease (
    name VARCHAR(32) NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    holder VARCHAR(36) NOT NULL,
    expires_at_ms BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

INSERT IGNORE INTO relay_lease (name, epoch, holder, expires_at_ms) VALUES ('orders', 0, '', 0);

CREATE TABLE IF NOT EXISTS stock_claims (
    reservation_key VARCHAR(36) NOT NULL PRIMARY KEY,
    releasing BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    KEY stock_claims_age (releasing, created_at_ms)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;

CREATE TABLE IF NOT EXISTS idempotency_keys (
    user_id BIGINT NOT NULL,
    idempotency_key VARCHAR(128) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    reservation_key VARCHAR(36) NOT NULL,
    reply VARCHAR(12000),
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, idempotency_key),
    KEY idempotency_keys_reservation (reservation_key),
    KEY idempotency_keys_age (created_at_ms)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin
