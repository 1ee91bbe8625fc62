-- The ledger of the stock, what orders hold of it, and the keys of mutations that move it. The stock and its movements
-- are keyed by the variant, holds by the order, so that each statement of a sale goes to one shard once they are
-- distributed.

-- +goose Up
-- Append-only: the sum of a variant's movements is what is on hand, and zero for one that has no row of stock. There is no
-- reference to variants: a ledger outlives them.
CREATE TABLE products.stock_movements (
    variant_id uuid NOT NULL,
    id uuid NOT NULL,
    delta int NOT NULL CHECK (delta <> 0),
    reason text NOT NULL CHECK (reason IN
        ('OPENING', 'IMPORT', 'SALE', 'RETURN', 'COUNT', 'RECEIVED', 'DAMAGED', 'LOST', 'CORRECTION')),
    actor_id uuid,
    order_id uuid,
    note text CHECK (note <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (variant_id, id),
    CONSTRAINT stock_movements_of_orders_name_them CHECK ((reason IN ('SALE', 'RETURN')) = (order_id IS NOT NULL)),
    CONSTRAINT stock_movements_go_the_right_way CHECK (CASE reason WHEN 'SALE' THEN delta < 0 WHEN 'RETURN' THEN delta > 0 ELSE true END)
);

-- What an order has of the stock, and what became of it. A row of a state other than HELD is final.
CREATE TABLE products.hold_orders (
    order_id uuid PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('HELD', 'SOLD', 'RELEASED')),
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX hold_orders_by_expiry ON products.hold_orders (expires_at, order_id) WHERE state = 'HELD';

-- The sum of a variant's quantities of orders in state HELD is what is held in its stock.
CREATE TABLE products.holds (
    order_id uuid NOT NULL REFERENCES products.hold_orders,
    variant_id uuid NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    restocked int NOT NULL DEFAULT 0, -- of these, sold and come back
    PRIMARY KEY (order_id, variant_id),
    CONSTRAINT holds_come_back_once CHECK (restocked BETWEEN 0 AND quantity)
);

-- What has come back of an order, by the caller's key.
CREATE TABLE products.restocks (
    order_id uuid NOT NULL REFERENCES products.hold_orders,
    key text NOT NULL CHECK (key <> '' AND length(key) <= 255),
    lines jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, key)
);

CREATE TABLE products.idempotency_keys (
    actor_id uuid NOT NULL,
    key text NOT NULL CHECK (key <> '' AND length(key) <= 255),
    request_hash bytea NOT NULL,
    outcome jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (actor_id, key)
);
CREATE INDEX idempotency_keys_by_age ON products.idempotency_keys (created_at);

-- Orders under way and returns need the stock of a variant that the catalogue no longer has.
ALTER TABLE products.stock DROP CONSTRAINT stock_variant_id_fkey;
-- Nothing could hold anything so far.
UPDATE products.stock SET held = 0 WHERE held <> 0;
-- A UUIDv7: 48 bits of milliseconds, then the random bits, variant included, of a UUIDv4, and the version (bits 52 and 53
-- of 0100 make 0111).
INSERT INTO products.stock_movements (variant_id, id, delta, reason)
SELECT variant_id, encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1),
    'hex')::uuid, on_hand, 'OPENING'
FROM products.stock WHERE on_hand <> 0;

-- +goose Down
DROP TABLE products.idempotency_keys, products.restocks, products.holds, products.hold_orders, products.stock_movements;
DELETE FROM products.stock WHERE variant_id NOT IN (SELECT id FROM products.variants);
UPDATE products.stock SET held = 0 WHERE held <> 0;
ALTER TABLE products.stock ADD CONSTRAINT stock_variant_id_fkey
    FOREIGN KEY (variant_id) REFERENCES products.variants ON DELETE CASCADE;
