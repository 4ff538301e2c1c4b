SET @add_columns = (
    SELECT IF(COUNT(*) = 0, 'ALTER TABLE orders ADD COLUMN expires_at_ms BIGINT NULL, ADD COLUMN paid_by VARCHAR(36) NULL, ADD COLUMN delivery VARCHAR(2000) NULL', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'orders' AND column_name = 'expires_at_ms'
);

PREPARE add_columns FROM @add_columns;

EXECUTE add_columns;

DEALLOCATE PREPARE add_columns;

SET @make_index = (
    SELECT IF(COUNT(*) = 0, 'CREATE INDEX orders_unpaid ON orders (status, expires_at_ms)', 'DO 0')
    FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'orders' AND index_name = 'orders_unpaid'
);

PREPARE make_index FROM @make_index;

EXECUTE make_index;

DEALLOCATE PREPARE make_index;

UPDATE orders SET expires_at_ms = UNIX_TIMESTAMP() * 1000 + 86400000 WHERE status = 'pending' AND expires_at_ms IS NULL;

CREATE TABLE IF NOT EXISTS unpaid_orders (
    user_id BIGINT NOT NULL PRIMARY KEY,
    orders BIGINT NOT NULL,
    pieces BIGINT NOT NULL
) ENGINE = InnoDB;

DELETE FROM unpaid_orders;

INSERT INTO unpaid_orders (user_id, orders, pieces)
    SELECT o.user_id, COUNT(DISTINCT o.id), SUM(i.quantity)
    FROM orders o JOIN order_items i ON i.order_id = o.id
    WHERE o.status = 'pending' GROUP BY o.user_id;

CREATE TABLE IF NOT EXISTS payments (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    order_id BIGINT NOT NULL,
    status VARCHAR(16) NOT NULL,
    token VARCHAR(128) NOT NULL,
    total_cents BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    reason VARCHAR(1000) CHARACTER SET utf8mb4 NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    KEY payments_order (order_id, id),
    KEY payments_open (status, updated_at_ms),
    CONSTRAINT payments_of_order FOREIGN KEY (order_id) REFERENCES orders (id)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin
