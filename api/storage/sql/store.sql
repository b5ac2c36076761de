-- What LangGraph's own tables of the store lack: its `INSERT OR REPLACE` makes a replaced item look new, and its times
-- have neither fractions, so that items of one second have no order, nor a zone.

CREATE TABLE IF NOT EXISTS store_replaced (
    prefix TEXT NOT NULL,
    key TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    PRIMARY KEY (prefix, key)
) WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS store_replacing BEFORE INSERT ON store
BEGIN
    INSERT OR REPLACE INTO store_replaced (prefix, key, created_at)
    SELECT prefix, key, created_at FROM store WHERE prefix = NEW.prefix AND key = NEW.key;
END;

CREATE TRIGGER IF NOT EXISTS store_inserted AFTER INSERT ON store
BEGIN
    UPDATE store
    SET updated_at = strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now'),
        created_at = coalesce(
            (SELECT created_at FROM store_replaced WHERE prefix = NEW.prefix AND key = NEW.key),
            strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')
        )
    WHERE prefix = NEW.prefix AND key = NEW.key;
    DELETE FROM store_replaced WHERE prefix = NEW.prefix AND key = NEW.key;
END;
