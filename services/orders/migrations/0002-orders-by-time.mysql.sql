SET @make_index = (
    SELECT IF(COUNT(*) = 0, 'CREATE INDEX orders_created ON orders (created_at_ms, total_cents)', 'DO 0')
    FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'orders' AND index_name = 'orders_created'
);

PREPARE make_index FROM @make_index;

EXECUTE make_index;

DEALLOCATE PREPARE make_index
