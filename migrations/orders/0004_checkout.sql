-- How orders come to be and go on: what the driver of an order needs, why one came to nothing, what was fulfilled, came
-- back and was edited, and the keys of mutations that make orders or move money.

-- +goose Up
ALTER TABLE orders.orders
    DROP CONSTRAINT orders_status_check,
    ADD CONSTRAINT orders_status_check CHECK (status IN
        ('DRAFT', 'PENDING', 'PLACED', 'CONFIRMED', 'COMPLETED', 'CANCELED', 'PAYMENT_FAILED', 'EXPIRED')),
    DROP CONSTRAINT orders_placed_have_a_date,
    ADD CONSTRAINT orders_placed_have_a_date CHECK
        (status = 'CANCELED' OR (placed_at IS NULL) = (status IN ('DRAFT', 'PENDING', 'PAYMENT_FAILED', 'EXPIRED'))),
    ADD cart_id uuid,
    ADD guest boolean NOT NULL DEFAULT false,       -- the owner is to be made a guest when the order is placed
    ADD payment_id uuid,                            -- the payment that it was, or is, placed with
    ADD payment_method bytea,                       -- sealed; until the order is placed or given up
    ADD return_url text,
    ADD expires_at timestamptz,                     -- when an order that is still PENDING is given up
    ADD lease_until timestamptz,                    -- until when somebody drives it
    ADD lease uuid,                                 -- who
    ADD cancel_reason text CHECK (cancel_reason IN ('CUSTOMER', 'STAFF', 'FRAUD', 'OUT_OF_STOCK', 'OTHER')),
    ADD cancel_restock boolean NOT NULL DEFAULT true,
    ADD cancel_refund boolean NOT NULL DEFAULT true,
    ADD settled_at timestamptz,                     -- when the goods and the money of an order that was given up were back
    ADD failure text,                               -- why it came to nothing, for the customer
    ADD payment_revision bigint NOT NULL DEFAULT 0, -- of the facts that the payment status was made of
    ADD authorized bigint NOT NULL DEFAULT 0,       -- of the facts, with voided, captured and refunded
    ADD voided bigint NOT NULL DEFAULT 0,
    ADD captured bigint NOT NULL DEFAULT 0,
    ADD refunded bigint NOT NULL DEFAULT 0,
    ADD shipping_method text,
    ADD discount_code text,
    ADD tax_lines jsonb,
    ADD note bytea,                                 -- sealed
    ADD changed_in xid8 NOT NULL DEFAULT pg_current_xact_id(), -- the transaction of the latest change
    ADD CONSTRAINT orders_pending_end CHECK (status <> 'PENDING' OR expires_at IS NOT NULL OR cart_id IS NULL);
-- What has changed since: for whoever follows orders.
CREATE INDEX orders_by_change ON orders.orders (changed_in);
-- What has to be seen through.
CREATE INDEX orders_open ON orders.orders (expires_at) WHERE status = 'PENDING';
CREATE INDEX orders_unsettled ON orders.orders (updated_at) WHERE status IN ('CANCELED', 'PAYMENT_FAILED', 'EXPIRED') AND settled_at IS NULL;

-- Orders of before were settled by hand.
UPDATE orders.orders SET settled_at = now() WHERE status IN ('CANCELED', 'PAYMENT_FAILED', 'EXPIRED');

-- What was promised and paid before is known by the state alone. Where that is not exact it errs on the side of the customer:
-- nothing that was paid is asked for again.
UPDATE orders.orders SET authorized = total,
    voided = CASE WHEN payment_status = 'VOIDED' THEN total ELSE 0 END,
    captured = CASE WHEN payment_status IN ('PAID', 'PARTIALLY_REFUNDED', 'REFUNDED') THEN total ELSE 0 END,
    refunded = CASE WHEN payment_status = 'REFUNDED' THEN total ELSE 0 END
WHERE payment_status <> 'UNPAID';

-- Counted on the line, under the lock of the order, so that nothing is sent or comes back twice.
ALTER TABLE orders.lines
    DROP CONSTRAINT lines_quantity_check,
    ADD CONSTRAINT lines_quantity_check CHECK (quantity >= 0), -- an edit may take all of a line
    ADD tax_name text,                      -- with tax_basis_points the rate that the line bears
    ADD tax_basis_points int CHECK (tax_basis_points >= 0),
    ADD hold_id uuid,                       -- what its stock is held and sold under; null: the order
    ADD fulfilled int NOT NULL DEFAULT 0,   -- in parcels that were not cancelled
    ADD returned int NOT NULL DEFAULT 0,
    ADD CONSTRAINT lines_are_sent_once CHECK (fulfilled BETWEEN 0 AND quantity),
    ADD CONSTRAINT lines_come_back_once CHECK (returned BETWEEN 0 AND fulfilled);
UPDATE orders.lines l SET fulfilled = least(l.quantity, (
    SELECT coalesce(sum(f.quantity), 0) FROM orders.fulfillment_lines f
    JOIN orders.fulfillments p ON p.owner_id = f.owner_id AND p.id = f.fulfillment_id
    WHERE f.owner_id = l.owner_id AND f.line_id = l.id AND p.status <> 'CANCELED'));

ALTER TABLE orders.events
    DROP CONSTRAINT events_kind_check,
    ADD CONSTRAINT events_kind_check CHECK (kind IN
        ('CREATED', 'PLACED', 'CONFIRMED', 'PAYMENT_AUTHORIZED', 'PAYMENT_CAPTURED', 'PAYMENT_FAILED', 'PAYMENT_VOIDED', 'REFUNDED',
         'PACKED', 'SHIPPED', 'DELIVERED', 'RETURNED', 'CANCELED', 'EXPIRED', 'COMPLETED', 'EDITED', 'NOTE')),
    ADD actor_id uuid; -- who did it; null: the shop by itself

-- Goods that came back. Those that are put on sale again are restocked under the ID of the return.
CREATE TABLE orders.returns (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    reason text,
    restock boolean NOT NULL,
    restocked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, id),
    FOREIGN KEY (owner_id, order_id) REFERENCES orders.orders
);
CREATE INDEX returns_by_order ON orders.returns (owner_id, order_id, id);
CREATE TABLE orders.return_lines (
    owner_id uuid NOT NULL,
    return_id uuid NOT NULL,
    line_id uuid NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (owner_id, return_id, line_id),
    FOREIGN KEY (owner_id, return_id) REFERENCES orders.returns,
    FOREIGN KEY (owner_id, line_id) REFERENCES orders.lines
);

-- Changes of an order's lines. What they add is held under the ID of the edit before they are applied.
CREATE TABLE orders.edits (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    status text NOT NULL CHECK (status IN ('PENDING', 'APPLIED', 'REFUSED')),
    changes jsonb NOT NULL,
    problem jsonb,        -- why it was refused
    settled_at timestamptz, -- when the stock was moved
    actor_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, id),
    FOREIGN KEY (owner_id, order_id) REFERENCES orders.orders
);
CREATE UNIQUE INDEX edits_one_at_a_time ON orders.edits (owner_id, order_id) WHERE status = 'PENDING';

CREATE TABLE orders.idempotency_keys (
    actor_id uuid NOT NULL,
    key text NOT NULL CHECK (key <> '' AND length(key) <= 255),
    request_hash bytea NOT NULL,
    outcome jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (actor_id, key)
);
CREATE INDEX idempotency_keys_by_age ON orders.idempotency_keys (created_at);

-- +goose Down
DROP TABLE orders.idempotency_keys, orders.edits, orders.return_lines, orders.returns;
DELETE FROM orders.events WHERE kind IN ('PAYMENT_VOIDED', 'PACKED', 'EDITED');
ALTER TABLE orders.events
    DROP COLUMN actor_id,
    DROP CONSTRAINT events_kind_check,
    ADD CONSTRAINT events_kind_check CHECK (kind IN
        ('CREATED', 'PLACED', 'CONFIRMED', 'PAYMENT_AUTHORIZED', 'PAYMENT_CAPTURED', 'PAYMENT_FAILED', 'REFUNDED',
         'SHIPPED', 'DELIVERED', 'RETURNED', 'CANCELED', 'EXPIRED', 'COMPLETED', 'NOTE'));
DELETE FROM orders.lines WHERE quantity = 0;
ALTER TABLE orders.lines
    DROP CONSTRAINT lines_come_back_once, DROP CONSTRAINT lines_are_sent_once,
    DROP COLUMN returned, DROP COLUMN fulfilled, DROP COLUMN hold_id,
    DROP COLUMN tax_basis_points, DROP COLUMN tax_name,
    DROP CONSTRAINT lines_quantity_check, ADD CONSTRAINT lines_quantity_check CHECK (quantity > 0);
UPDATE orders.orders SET status = 'CANCELED', canceled_at = now() WHERE status = 'DRAFT';
ALTER TABLE orders.orders
    DROP CONSTRAINT orders_pending_end,
    DROP COLUMN changed_in, DROP COLUMN note, DROP COLUMN tax_lines, DROP COLUMN discount_code, DROP COLUMN shipping_method,
    DROP COLUMN refunded, DROP COLUMN captured, DROP COLUMN voided, DROP COLUMN authorized, DROP COLUMN payment_revision, DROP COLUMN failure, DROP COLUMN settled_at, DROP COLUMN cancel_refund, DROP COLUMN cancel_restock,
    DROP COLUMN cancel_reason, DROP COLUMN lease, DROP COLUMN lease_until, DROP COLUMN expires_at, DROP COLUMN return_url,
    DROP COLUMN payment_method, DROP COLUMN payment_id, DROP COLUMN guest, DROP COLUMN cart_id,
    DROP CONSTRAINT orders_placed_have_a_date,
    ADD CONSTRAINT orders_placed_have_a_date CHECK
        (status IN ('CANCELED') OR (placed_at IS NULL) = (status IN ('PENDING', 'PAYMENT_FAILED', 'EXPIRED'))),
    DROP CONSTRAINT orders_status_check,
    ADD CONSTRAINT orders_status_check CHECK (status IN
        ('PENDING', 'PLACED', 'CONFIRMED', 'COMPLETED', 'CANCELED', 'PAYMENT_FAILED', 'EXPIRED'));
