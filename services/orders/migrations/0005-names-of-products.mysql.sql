SET @add_column = (
    SELECT IF(COUNT(*) = 0, 'ALTER TABLE order_items ADD COLUMN name VARCHAR(120) NULL', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'order_items' AND column_name = 'name'
);

PREPARE add_column FROM @add_column;

EXECUTE add_column;

DEALLOCATE PREPARE add_column;

ALTER TABLE outbox MODIFY payload VARCHAR(15900) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL;

ALTER TABLE idempotency_keys MODIFY reply VARCHAR(15900) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL
