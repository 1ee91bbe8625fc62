-- What staff needs to edit the catalogue: when a product goes on sale and off it, what prices were, and the order of what is
-- in a collection.

-- +goose Up
ALTER TABLE products.products
    ADD COLUMN publish_at timestamptz,
    ADD COLUMN unpublish_at timestamptz,
    ADD CONSTRAINT products_to_be_published_are_drafts CHECK (publish_at IS NULL OR status = 'DRAFT'),
    ADD CONSTRAINT products_go_off_sale_after_they_are_on_it
        CHECK (unpublish_at IS NULL OR status = 'ACTIVE' OR coalesce(publish_at < unpublish_at, false));
-- By what is due next: the earlier of both, where there are both.
CREATE INDEX products_by_schedule ON products.products (least(publish_at, unpublish_at), id)
    WHERE publish_at IS NOT NULL OR unpublish_at IS NOT NULL;

CREATE INDEX collection_products_by_position ON products.collection_products (collection_id, position, product_id);

-- Append-only. There is no reference to variants: the history outlives them.
CREATE TABLE products.price_changes (
    variant_id uuid NOT NULL,
    id uuid NOT NULL,
    old_currency text NOT NULL CHECK (old_currency ~ '^[A-Z]{3}$'),
    old_price bigint NOT NULL CHECK (old_price >= 0),
    old_compare_at_price bigint CHECK (old_compare_at_price >= 0),
    new_currency text NOT NULL CHECK (new_currency ~ '^[A-Z]{3}$'),
    new_price bigint NOT NULL CHECK (new_price >= 0),
    new_compare_at_price bigint CHECK (new_compare_at_price >= 0),
    actor_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (variant_id, id),
    CONSTRAINT price_changes_change_something CHECK
        ((old_currency, old_price, old_compare_at_price) IS DISTINCT FROM (new_currency, new_price, new_compare_at_price))
);

-- +goose Down
DROP TABLE products.price_changes;
DROP INDEX products.products_by_schedule, products.collection_products_by_position;
ALTER TABLE products.products DROP COLUMN publish_at, DROP COLUMN unpublish_at;
