SET @add_column = (
    SELECT IF(COUNT(*) = 0, 'ALTER TABLE order_items ADD COLUMN category VARCHAR(64) NULL', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'order_items' AND column_name = 'category'
);

PREPARE add_column FROM @add_column;

EXECUTE add_column;

DEALLOCATE PREPARE add_column;

SET @make_index = (
    SELECT IF(COUNT(*) = 0, 'CREATE INDEX order_items_product ON order_items (product_id, order_id)', 'DO 0')
    FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'order_items' AND index_name = 'order_items_product'
);

PREPARE make_index FROM @make_index;

EXECUTE make_index;

DEALLOCATE PREPARE make_index;

SET @make_index = (
    SELECT IF(COUNT(*) = 0, 'CREATE INDEX order_items_category ON order_items (category, order_id)', 'DO 0')
    FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'order_items' AND index_name = 'order_items_category'
);

PREPARE make_index FROM @make_index;

EXECUTE make_index;

DEALLOCATE PREPARE make_index
