-- Orders with their lines, parcels and events, each keyed by its owner first. Prices, names and addresses are those of
-- the day the order was placed. Addresses and contact data are sealed; an e-mail address is found by its blind index.

-- +goose Up
-- Everybody who has ever begun an order: what "the latest five of each" hangs on.
CREATE TABLE orders.owners (
    owner_id uuid PRIMARY KEY
);

CREATE TABLE orders.orders (
    owner_id uuid NOT NULL REFERENCES orders.owners,
    id uuid NOT NULL,
    number text NOT NULL CHECK (number ~ '^EM-[0-9A-Z]{4}-[0-9A-Z]{4}$'),
    status text NOT NULL DEFAULT 'PENDING' CHECK (status IN
        ('PENDING', 'PLACED', 'CONFIRMED', 'COMPLETED', 'CANCELED', 'PAYMENT_FAILED', 'EXPIRED')),
    payment_status text NOT NULL DEFAULT 'UNPAID' CHECK (payment_status IN
        ('UNPAID', 'AUTHORIZED', 'PARTIALLY_PAID', 'PAID', 'PARTIALLY_REFUNDED', 'REFUNDED', 'VOIDED')),
    fulfillment_status text NOT NULL DEFAULT 'UNFULFILLED' CHECK (fulfillment_status IN
        ('UNFULFILLED', 'PARTIALLY_FULFILLED', 'FULFILLED', 'DELIVERED', 'RETURNED')),
    email bytea,
    email_index bytea CHECK (octet_length(email_index) = 32),
    shipping_address bytea,
    billing_address bytea,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    subtotal bigint NOT NULL CHECK (subtotal >= 0),
    discount_total bigint NOT NULL DEFAULT 0 CHECK (discount_total BETWEEN 0 AND subtotal),
    shipping_total bigint NOT NULL DEFAULT 0 CHECK (shipping_total >= 0),
    tax_total bigint NOT NULL DEFAULT 0 CHECK (tax_total >= 0),
    tax_included boolean NOT NULL,
    total bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    placed_at timestamptz,
    canceled_at timestamptz,
    PRIMARY KEY (owner_id, id),
    CONSTRAINT orders_total_adds_up CHECK
        (total = subtotal - discount_total + shipping_total + CASE WHEN tax_included THEN 0 ELSE tax_total END),
    CONSTRAINT orders_tax_is_part_of_total CHECK (tax_total <= total),
    CONSTRAINT orders_placed_have_a_date CHECK
        (status IN ('CANCELED') OR (placed_at IS NULL) = (status IN ('PENDING', 'PAYMENT_FAILED', 'EXPIRED'))),
    CONSTRAINT orders_canceled_have_a_date CHECK ((canceled_at IS NULL) = (status <> 'CANCELED')),
    CONSTRAINT orders_email_has_its_index CHECK ((email IS NULL) = (email_index IS NULL))
);
-- Staff lists. An owner's own list is the primary key.
CREATE INDEX orders_by_id ON orders.orders (id);
CREATE INDEX orders_by_status ON orders.orders (status, id);
CREATE INDEX orders_by_payment_status ON orders.orders (payment_status, id);
CREATE INDEX orders_by_fulfillment_status ON orders.orders (fulfillment_status, id);
CREATE INDEX orders_by_created ON orders.orders (created_at);
CREATE INDEX orders_by_total ON orders.orders (total, id);
CREATE INDEX orders_by_email ON orders.orders (email_index);

-- Which order a number belongs to: unique whatever the owner.
CREATE TABLE orders.order_numbers (
    number text PRIMARY KEY,
    owner_id uuid NOT NULL,
    order_id uuid NOT NULL,
    UNIQUE (order_id)
);

CREATE TABLE orders.lines (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    position int NOT NULL CHECK (position > 0),
    product_id uuid NOT NULL,
    variant_id uuid NOT NULL,
    title text NOT NULL,
    variant_title text,
    sku text,
    image_url text,
    quantity int NOT NULL CHECK (quantity > 0),
    currency text NOT NULL,
    unit_price bigint NOT NULL CHECK (unit_price >= 0),
    discount bigint NOT NULL DEFAULT 0 CHECK (discount BETWEEN 0 AND unit_price * quantity),
    tax bigint NOT NULL DEFAULT 0 CHECK (tax >= 0),
    total bigint NOT NULL,
    PRIMARY KEY (owner_id, id),
    UNIQUE (owner_id, order_id, position),
    FOREIGN KEY (owner_id, order_id) REFERENCES orders.orders,
    CONSTRAINT lines_total_adds_up CHECK (total = unit_price * quantity - discount)
);

CREATE TABLE orders.fulfillments (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    status text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'SHIPPED', 'DELIVERED', 'RETURNED', 'CANCELED')),
    carrier text,
    tracking_number text,
    tracking_url text CHECK (tracking_url ~ '^https?://'),
    created_at timestamptz NOT NULL DEFAULT now(),
    shipped_at timestamptz,
    delivered_at timestamptz,
    PRIMARY KEY (owner_id, id),
    FOREIGN KEY (owner_id, order_id) REFERENCES orders.orders,
    CHECK (status NOT IN ('SHIPPED', 'DELIVERED') OR shipped_at IS NOT NULL),
    CHECK (status <> 'DELIVERED' OR delivered_at IS NOT NULL)
);
CREATE INDEX fulfillments_by_order ON orders.fulfillments (owner_id, order_id, id);

CREATE TABLE orders.fulfillment_lines (
    owner_id uuid NOT NULL,
    fulfillment_id uuid NOT NULL,
    line_id uuid NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (owner_id, fulfillment_id, line_id),
    FOREIGN KEY (owner_id, fulfillment_id) REFERENCES orders.fulfillments ON DELETE CASCADE,
    FOREIGN KEY (owner_id, line_id) REFERENCES orders.lines
);

CREATE TABLE orders.events (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN
        ('CREATED', 'PLACED', 'CONFIRMED', 'PAYMENT_AUTHORIZED', 'PAYMENT_CAPTURED', 'PAYMENT_FAILED', 'REFUNDED',
         'SHIPPED', 'DELIVERED', 'RETURNED', 'CANCELED', 'EXPIRED', 'COMPLETED', 'NOTE')),
    message text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, id),
    FOREIGN KEY (owner_id, order_id) REFERENCES orders.orders
);
CREATE INDEX events_by_order ON orders.events (owner_id, order_id, id);

-- +goose Down
DROP TABLE orders.events, orders.fulfillment_lines, orders.fulfillments, orders.lines, orders.order_numbers,
    orders.orders, orders.owners;
