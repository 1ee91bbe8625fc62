-- What the response cache follows. Rows are written to the log with all their columns as they were before a change: what a
-- row has left is void too. The table of migrations is among them, because they change what no row says.

-- +goose Up
-- +goose StatementBegin
DO $$ BEGIN
    CREATE PUBLICATION emporium;
EXCEPTION WHEN duplicate_object OR unique_violation THEN -- another domain in this database has made it
END $$;
-- +goose StatementEnd
ALTER TABLE products.categories REPLICA IDENTITY FULL;
ALTER TABLE products.products REPLICA IDENTITY FULL;
ALTER TABLE products.options REPLICA IDENTITY FULL;
ALTER TABLE products.media REPLICA IDENTITY FULL;
ALTER TABLE products.variants REPLICA IDENTITY FULL;
ALTER TABLE products.stock REPLICA IDENTITY FULL;
ALTER TABLE products.collections REPLICA IDENTITY FULL;
ALTER TABLE products.collection_products REPLICA IDENTITY FULL;
ALTER TABLE products.stock_movements REPLICA IDENTITY FULL;
ALTER TABLE products.price_changes REPLICA IDENTITY FULL;
ALTER TABLE products.schema_migrations REPLICA IDENTITY FULL;
ALTER PUBLICATION emporium ADD TABLE
    products.categories, products.products, products.options, products.media, products.variants,
    products.stock, products.collections, products.collection_products, products.stock_movements,
    products.price_changes, products.schema_migrations;

-- +goose Down
ALTER PUBLICATION emporium DROP TABLE
    products.categories, products.products, products.options, products.media, products.variants,
    products.stock, products.collections, products.collection_products, products.stock_movements,
    products.price_changes, products.schema_migrations;
ALTER TABLE products.categories REPLICA IDENTITY DEFAULT;
ALTER TABLE products.products REPLICA IDENTITY DEFAULT;
ALTER TABLE products.options REPLICA IDENTITY DEFAULT;
ALTER TABLE products.media REPLICA IDENTITY DEFAULT;
ALTER TABLE products.variants REPLICA IDENTITY DEFAULT;
ALTER TABLE products.stock REPLICA IDENTITY DEFAULT;
ALTER TABLE products.collections REPLICA IDENTITY DEFAULT;
ALTER TABLE products.collection_products REPLICA IDENTITY DEFAULT;
ALTER TABLE products.stock_movements REPLICA IDENTITY DEFAULT;
ALTER TABLE products.price_changes REPLICA IDENTITY DEFAULT;
ALTER TABLE products.schema_migrations REPLICA IDENTITY DEFAULT;
