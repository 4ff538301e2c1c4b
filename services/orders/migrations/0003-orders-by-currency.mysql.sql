SET @make_index = (
    SELECT IF(COUNT(*) = 0, 'CREATE INDEX orders_created_in ON orders (created_at_ms, currency, total_cents)', 'DO 0')
    FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'orders' AND index_name = 'orders_created_in'
);

PREPARE make_index FROM @make_index;

EXECUTE make_index;

DEALLOCATE PREPARE make_index;

SET @drop_index = (
    SELECT IF(COUNT(*) = 0, 'DO 0', 'DROP INDEX orders_created ON orders')
    FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'orders' AND index_name = 'orders_created'
);

PREPARE drop_index FROM @drop_index;

EXECUTE drop_index;

DEALLOCATE PREPARE drop_index
