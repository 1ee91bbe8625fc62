-- What the response cache follows. Rows are written to the log with all their columns as they were before a change: what a
-- row has left is void too. The table of migrations is among them, because they change what no row says.

-- +goose Up
-- +goose StatementBegin
DO $$ BEGIN
    CREATE PUBLICATION emporium;
EXCEPTION WHEN duplicate_object OR unique_violation THEN -- another domain in this database has made it
END $$;
-- +goose StatementEnd
ALTER TABLE users.users REPLICA IDENTITY FULL;
ALTER TABLE users.email_index REPLICA IDENTITY FULL;
ALTER TABLE users.phone_index REPLICA IDENTITY FULL;
ALTER TABLE users.addresses REPLICA IDENTITY FULL;
ALTER TABLE users.sessions REPLICA IDENTITY FULL;
ALTER TABLE users.api_keys REPLICA IDENTITY FULL;
ALTER TABLE users.audit REPLICA IDENTITY FULL;
ALTER TABLE users.schema_migrations REPLICA IDENTITY FULL;
ALTER PUBLICATION emporium ADD TABLE
    users.users, users.email_index, users.phone_index, users.addresses, users.sessions, users.api_keys,
    users.audit, users.schema_migrations;

-- +goose Down
ALTER PUBLICATION emporium DROP TABLE
    users.users, users.email_index, users.phone_index, users.addresses, users.sessions, users.api_keys,
    users.audit, users.schema_migrations;
ALTER TABLE users.users REPLICA IDENTITY DEFAULT;
ALTER TABLE users.email_index REPLICA IDENTITY DEFAULT;
ALTER TABLE users.phone_index REPLICA IDENTITY DEFAULT;
ALTER TABLE users.addresses REPLICA IDENTITY DEFAULT;
ALTER TABLE users.sessions REPLICA IDENTITY DEFAULT;
ALTER TABLE users.api_keys REPLICA IDENTITY DEFAULT;
ALTER TABLE users.audit REPLICA IDENTITY DEFAULT;
ALTER TABLE users.schema_migrations REPLICA IDENTITY DEFAULT;
