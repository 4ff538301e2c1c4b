CREATE INDEX IF NOT EXISTS orders_created ON orders (created_at_ms, total_cents)
