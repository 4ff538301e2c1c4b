CREATE INDEX IF NOT EXISTS orders_created_in ON orders (created_at_ms, currency, total_cents);

DROP INDEX IF EXISTS orders_created
