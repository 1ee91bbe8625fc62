-- Carts with their lines, and the terms that they are priced by: discounts, shipping, taxes. Carts are keyed by their
-- owner first, a user or a guest to be. What a customer has written into one is sealed.

-- +goose Up
-- What staff offers, and what of it was taken. An order has at most one discount.
CREATE TABLE orders.discounts (
    id uuid PRIMARY KEY,
    code text NOT NULL UNIQUE CHECK (code ~ '^[A-Z0-9_-]{3,32}$'),
    kind text NOT NULL CHECK (kind IN ('PERCENTAGE', 'FIXED', 'FREE_SHIPPING')),
    basis_points int CHECK (basis_points BETWEEN 1 AND 10000),
    amount bigint CHECK (amount > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'), -- of amount and minimum_subtotal
    minimum_subtotal bigint NOT NULL DEFAULT 0 CHECK (minimum_subtotal >= 0),
    starts_at timestamptz,
    ends_at timestamptz,
    usage_limit int CHECK (usage_limit > 0),
    customer_limit int CHECK (customer_limit > 0),
    used int NOT NULL DEFAULT 0,
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT discounts_have_what_their_kind_takes CHECK
        ((basis_points IS NOT NULL) = (kind = 'PERCENTAGE') AND (amount IS NOT NULL) = (kind = 'FIXED')),
    CONSTRAINT discounts_end_after_they_start CHECK (ends_at > starts_at),
    CONSTRAINT discounts_are_not_used_up_twice CHECK (used >= 0)
);

-- Which order took which discount: found by the order alone when it is given back.
CREATE TABLE orders.discount_redemptions (
    order_id uuid PRIMARY KEY,
    discount_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX discount_redemptions_by_customer ON orders.discount_redemptions (discount_id, owner_id);

CREATE TABLE orders.shipping_methods (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (name <> ''),
    description text CHECK (description <> ''),
    countries text[] NOT NULL, -- empty: everywhere
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    position int NOT NULL DEFAULT 0,
    active boolean NOT NULL DEFAULT true
);

-- What a method costs for goods that are worth from_subtotal up to, not including, to_subtotal.
CREATE TABLE orders.shipping_rates (
    method_id uuid NOT NULL REFERENCES orders.shipping_methods,
    from_subtotal bigint NOT NULL CHECK (from_subtotal >= 0),
    to_subtotal bigint,
    price bigint NOT NULL CHECK (price >= 0),
    PRIMARY KEY (method_id, from_subtotal),
    CHECK (to_subtotal > from_subtotal)
);

CREATE TABLE orders.tax_rates (
    country text PRIMARY KEY CHECK (country ~ '^[A-Z]{2}$'),
    name text NOT NULL CHECK (name <> ''),
    basis_points int NOT NULL CHECK (basis_points BETWEEN 0 AND 10000),
    applies_to_shipping boolean NOT NULL
);

CREATE TABLE orders.carts (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    status text NOT NULL DEFAULT 'OPEN' CHECK (status IN ('OPEN', 'PLACING', 'ORDERED', 'MERGED', 'ABANDONED')),
    guest boolean NOT NULL,
    email bytea,
    shipping_address bytea,
    billing_address bytea,
    note bytea,
    shipping_method_id uuid,
    discount_id uuid,
    order_id uuid,
    merged_owner_id uuid,
    merged_cart_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, id),
    CONSTRAINT carts_know_their_order CHECK ((order_id IS NOT NULL) = (status IN ('PLACING', 'ORDERED'))),
    CONSTRAINT carts_know_what_they_became CHECK ((merged_owner_id IS NOT NULL) = (status = 'MERGED')
        AND (merged_owner_id IS NULL) = (merged_cart_id IS NULL))
);
-- Nobody fills two carts at once.
CREATE UNIQUE INDEX carts_open ON orders.carts (owner_id) WHERE status IN ('OPEN', 'PLACING');
CREATE INDEX carts_idle ON orders.carts (updated_at) WHERE status = 'OPEN';

CREATE TABLE orders.cart_lines (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    cart_id uuid NOT NULL,
    variant_id uuid NOT NULL,
    quantity int NOT NULL CHECK (quantity BETWEEN 1 AND 9999),
    unit_price bigint NOT NULL CHECK (unit_price >= 0), -- that the customer was last told
    PRIMARY KEY (owner_id, id),
    UNIQUE (owner_id, cart_id, variant_id),
    FOREIGN KEY (owner_id, cart_id) REFERENCES orders.carts
);

-- Which cart of a guest to be a token leads to. A token is 32 random bytes, of which this is the SHA-256.
CREATE TABLE orders.cart_tokens (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    owner_id uuid NOT NULL,
    cart_id uuid NOT NULL UNIQUE
);

-- +goose Down
DROP TABLE orders.cart_tokens, orders.cart_lines, orders.carts, orders.tax_rates, orders.shipping_rates,
    orders.shipping_methods, orders.discount_redemptions, orders.discounts;
