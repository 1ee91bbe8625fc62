-- The catalogue: categories, products with options, variants and media, collections, and the stock in a table of its
-- own, because it changes much more often than the rest.

-- +goose Up
-- Trigrams make search tolerate typing errors. The extension is trusted: no superuser is needed.
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

CREATE TABLE products.categories (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug <> '' AND length(slug) <= 255),
    name text NOT NULL CHECK (name <> '' AND length(name) <= 255),
    description text,
    parent_id uuid REFERENCES products.categories,
    -- The categories above, from the top down: the last is the parent.
    ancestor_ids uuid[] NOT NULL DEFAULT '{}',
    position int NOT NULL DEFAULT 1 CHECK (position > 0),
    CONSTRAINT categories_parent_is_last_ancestor
        CHECK (parent_id IS NOT DISTINCT FROM ancestor_ids[cardinality(ancestor_ids)]),
    CONSTRAINT categories_have_no_cycle CHECK (NOT id = ANY (ancestor_ids))
);
CREATE INDEX categories_by_parent ON products.categories (parent_id, position, id);
CREATE INDEX categories_by_ancestor ON products.categories USING gin (ancestor_ids);

CREATE TABLE products.products (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug <> '' AND length(slug) <= 255),
    title text NOT NULL CHECK (title <> '' AND length(title) <= 255),
    description text NOT NULL DEFAULT '',       -- plain text, made from the HTML
    description_html text NOT NULL DEFAULT '',  -- sanitised
    vendor text CHECK (vendor <> ''),
    type text CHECK (type <> ''),
    tags text[] NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'DRAFT' CHECK (status IN ('DRAFT', 'ACTIVE', 'ARCHIVED')),
    category_id uuid REFERENCES products.categories,
    seo_title text,
    seo_description text,
    metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    -- Drawn from the variants whenever they change, so that lists filter and sort by an index.
    currency text CHECK (currency ~ '^[A-Z]{3}$'),
    price_min bigint CHECK (price_min >= 0),
    price_max bigint CHECK (price_max >= price_min),
    option_pairs text[] NOT NULL DEFAULT '{}', -- each "name<US>value", <US> being U+001F
    search_text text NOT NULL DEFAULT '',      -- vendor, type and tags
    search tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', title), 'A')
        || setweight(to_tsvector('english', title), 'A')
        || setweight(to_tsvector('simple', search_text), 'B')
        || setweight(to_tsvector('english', search_text), 'B')
        || setweight(to_tsvector('english', description), 'C')
    ) STORED,
    CONSTRAINT products_prices_come_together CHECK (num_nulls(currency, price_min, price_max) IN (0, 3)),
    CONSTRAINT products_active_are_published CHECK (status <> 'ACTIVE' OR published_at IS NOT NULL)
);
CREATE INDEX products_by_created ON products.products (status, id);
-- Products without a price come last in either direction, so there are two of these.
CREATE INDEX products_by_price_up ON products.products (status, coalesce(price_min, 9223372036854775807), id);
CREATE INDEX products_by_price_down ON products.products (status, coalesce(price_min, -1), id);
CREATE INDEX products_by_title ON products.products (status, lower(title) COLLATE "C", id);
CREATE INDEX products_by_category ON products.products (category_id, status, id);
CREATE INDEX products_by_vendor ON products.products (vendor);
CREATE INDEX products_by_type ON products.products (type);
CREATE INDEX products_by_tag ON products.products USING gin (tags);
CREATE INDEX products_by_option ON products.products USING gin (option_pairs);
CREATE INDEX products_by_search ON products.products USING gin (search);
CREATE INDEX products_by_trigram ON products.products USING gin (lower(title) public.gin_trgm_ops);

CREATE TABLE products.options (
    product_id uuid NOT NULL REFERENCES products.products ON DELETE CASCADE,
    position int NOT NULL CHECK (position BETWEEN 1 AND 3),
    name text NOT NULL CHECK (name <> ''),
    option_values text[] NOT NULL CHECK (cardinality(option_values) > 0),
    PRIMARY KEY (product_id, position),
    UNIQUE (product_id, name)
);

CREATE TABLE products.media (
    id uuid PRIMARY KEY,
    product_id uuid NOT NULL REFERENCES products.products ON DELETE CASCADE,
    kind text NOT NULL DEFAULT 'IMAGE' CHECK (kind IN ('IMAGE', 'VIDEO')),
    url text NOT NULL CHECK (url ~ '^(https?://|/)'),
    alt text,
    position int NOT NULL CHECK (position > 0),
    width int CHECK (width > 0),
    height int CHECK (height > 0),
    UNIQUE (product_id, id),
    UNIQUE (product_id, position) DEFERRABLE INITIALLY DEFERRED,
    CHECK ((width IS NULL) = (height IS NULL))
);

CREATE TABLE products.variants (
    id uuid PRIMARY KEY,
    product_id uuid NOT NULL REFERENCES products.products ON DELETE CASCADE,
    position int NOT NULL CHECK (position > 0),
    -- Checked at the end of the transaction, so that an import may move numbers between products.
    sku text UNIQUE DEFERRABLE INITIALLY DEFERRED CHECK (sku <> ''),
    barcode text CHECK (barcode <> ''),
    -- The option values in the order of the product's options; empty for a product without options.
    option_values text[] NOT NULL DEFAULT '{}' CHECK (cardinality(option_values) <= 3),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    price bigint NOT NULL CHECK (price >= 0),
    compare_at_price bigint CHECK (compare_at_price >= 0),
    weight_grams int CHECK (weight_grams >= 0),
    image_id uuid,
    -- Checked at the end of the statement, so that one statement may swap values between variants.
    UNIQUE (product_id, option_values) DEFERRABLE,
    UNIQUE (product_id, position) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT variants_image_is_of_the_product
        FOREIGN KEY (product_id, image_id) REFERENCES products.media (product_id, id) ON DELETE SET NULL (image_id)
);

CREATE TABLE products.stock (
    variant_id uuid PRIMARY KEY REFERENCES products.variants ON DELETE CASCADE,
    on_hand int NOT NULL DEFAULT 0 CHECK (on_hand >= 0),
    held int NOT NULL DEFAULT 0 CHECK (held >= 0),
    CONSTRAINT stock_is_never_oversold CHECK (held <= on_hand)
);

CREATE TABLE products.collections (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug <> '' AND length(slug) <= 255),
    title text NOT NULL CHECK (title <> '' AND length(title) <= 255),
    description text
);
CREATE INDEX collections_by_title ON products.collections (lower(title) COLLATE "C", id);

CREATE TABLE products.collection_products (
    collection_id uuid NOT NULL REFERENCES products.collections ON DELETE CASCADE,
    product_id uuid NOT NULL REFERENCES products.products ON DELETE CASCADE,
    position int NOT NULL CHECK (position > 0),
    PRIMARY KEY (collection_id, product_id)
);
CREATE INDEX collection_products_by_product ON products.collection_products (product_id);

-- +goose Down
DROP TABLE products.collection_products, products.collections, products.stock, products.variants, products.media,
    products.options, products.products, products.categories;
