ALTER TABLE order_items ADD COLUMN category VARCHAR(64);

CREATE INDEX IF NOT EXISTS order_items_product ON order_items (product_id, order_id);

CREATE INDEX IF NOT EXISTS order_items_category ON order_items (category, order_id)
