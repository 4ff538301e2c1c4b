CREATE TABLE IF NOT EXISTS known_clients (
    user_id BIGINT NOT NULL,
    client VARCHAR(80) NOT NULL,
    seen_at_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, client),
    CONSTRAINT client_of_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin
