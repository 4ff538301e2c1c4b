CREATE TABLE IF NOT EXISTS known_clients (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client VARCHAR(80) NOT NULL,
    seen_at_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, client)
)
