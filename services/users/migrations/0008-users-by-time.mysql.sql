SET @make_index = (
    SELECT IF(COUNT(*) = 0, 'CREATE INDEX users_created ON users (created_at_ms)', 'DO 0')
    FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'users' AND index_name = 'users_created'
);

PREPARE make_index FROM @make_index;

EXECUTE make_index;

DEALLOCATE PREPARE make_index
