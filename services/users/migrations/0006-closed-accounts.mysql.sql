SET @add_column = (
    SELECT IF(COUNT(*) = 0, 'ALTER TABLE users ADD COLUMN closed_at_ms BIGINT NULL, ADD KEY users_closed (closed_at_ms)', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'users' AND column_name = 'closed_at_ms'
);

PREPARE add_column FROM @add_column;

EXECUTE add_column;

DEALLOCATE PREPARE add_column
