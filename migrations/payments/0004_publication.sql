-- What the response cache follows. Rows are written to the log with all their columns as they were before a change: what a
-- row has left is void too. The table of migrations is among them, because they change what no row says.

-- +goose Up
-- +goose StatementBegin
DO $$ BEGIN
    CREATE PUBLICATION emporium;
EXCEPTION WHEN duplicate_object OR unique_violation THEN -- another domain in this database has made it
END $$;
-- +goose StatementEnd
ALTER TABLE payments.payments REPLICA IDENTITY FULL;
ALTER TABLE payments.events REPLICA IDENTITY FULL;
ALTER TABLE payments.commands REPLICA IDENTITY FULL;
ALTER TABLE payments.differences REPLICA IDENTITY FULL;
ALTER TABLE payments.schema_migrations REPLICA IDENTITY FULL;
ALTER PUBLICATION emporium ADD TABLE
    payments.payments, payments.events, payments.commands, payments.differences, payments.schema_migrations;

-- +goose Down
ALTER PUBLICATION emporium DROP TABLE
    payments.payments, payments.events, payments.commands, payments.differences, payments.schema_migrations;
ALTER TABLE payments.payments REPLICA IDENTITY DEFAULT;
ALTER TABLE payments.events REPLICA IDENTITY DEFAULT;
ALTER TABLE payments.commands REPLICA IDENTITY DEFAULT;
ALTER TABLE payments.differences REPLICA IDENTITY DEFAULT;
ALTER TABLE payments.schema_migrations REPLICA IDENTITY DEFAULT;
