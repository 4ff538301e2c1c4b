ALTER TABLE orders ADD COLUMN expires_at_ms BIGINT;

ALTER TABLE orders ADD COLUMN paid_by VARCHAR(36);

ALTER TABLE orders ADD COLUMN delivery VARCHAR(2000);

CREATE INDEX orders_unpaid ON orders (status, expires_at_ms);

UPDATE orders SET expires_at_ms = CAST(strftime('%s', 'now') AS INTEGER) * 1000 + 86400000 WHERE status = 'pending';

CREATE TABLE unpaid_orders (
    user_id INTEGER PRIMARY KEY,
    orders BIGINT NOT NULL,
    pieces BIGINT NOT NULL
);

INSERT INTO unpaid_orders (user_id, orders, pieces)
    SELECT o.user_id, COUNT(DISTINCT o.id), SUM(i.quantity)
    FROM orders o JOIN order_items i ON i.order_id = o.id
    WHERE o.status = 'pending' GROUP BY o.user_id;

CREATE TABLE payments (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    order_id BIGINT NOT NULL REFERENCES orders (id),
    status VARCHAR(16) NOT NULL,
    token VARCHAR(128) NOT NULL,
    total_cents BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    reason VARCHAR(1000),
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);

CREATE INDEX payments_order ON payments (order_id, id);

CREATE INDEX payments_open ON payments (status, updated_at_ms)
