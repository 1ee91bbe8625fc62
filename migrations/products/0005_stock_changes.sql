-- What has changed of the stock since: for whoever follows it.

-- +goose Up
ALTER TABLE products.stock
    ADD changed_in xid8 NOT NULL DEFAULT pg_current_xact_id(); -- the transaction of the latest change
CREATE INDEX stock_by_change ON products.stock (changed_in);

-- +goose Down
ALTER TABLE products.stock DROP COLUMN changed_in;
