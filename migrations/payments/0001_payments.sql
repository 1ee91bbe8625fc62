-- Payments and their ledger. The ledger is what the provider has reported, unique by provider and event, never changed;
-- the amounts authorized, captured and refunded are derived from it. The provider's references are sealed.

-- +goose Up
CREATE TABLE payments.payments (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    provider text NOT NULL CHECK (provider ~ '^[a-z0-9_]+$'),
    status text NOT NULL DEFAULT 'PENDING' CHECK (status IN
        ('PENDING', 'ACTION_REQUIRED', 'AUTHORIZED', 'PARTIALLY_CAPTURED', 'CAPTURED', 'PARTIALLY_REFUNDED', 'REFUNDED',
         'VOIDED', 'FAILED')),
    method_kind text NOT NULL CHECK (method_kind <> ''),
    method_brand text,
    method_last_four text CHECK (method_last_four ~ '^[0-9]{4}$'),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount bigint NOT NULL CHECK (amount > 0),
    reference bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, id)
);
CREATE INDEX payments_by_order ON payments.payments (owner_id, order_id, id);
CREATE INDEX payments_by_id ON payments.payments (id);
CREATE INDEX payments_by_status ON payments.payments (status, id);
CREATE INDEX payments_by_provider ON payments.payments (provider, id);
-- An order has at most one payment under way at a time.
CREATE UNIQUE INDEX payments_one_live ON payments.payments (owner_id, order_id)
    WHERE status IN ('PENDING', 'ACTION_REQUIRED', 'AUTHORIZED');

CREATE TABLE payments.events (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    order_id uuid NOT NULL,
    provider text NOT NULL,
    event_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('ACTION_REQUIRED', 'AUTHORIZED', 'CAPTURED', 'REFUNDED', 'VOIDED', 'FAILED')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount bigint NOT NULL CHECK (amount >= 0),
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, id),
    UNIQUE (owner_id, provider, event_id),
    FOREIGN KEY (owner_id, payment_id) REFERENCES payments.payments
);
CREATE INDEX events_by_payment ON payments.events (owner_id, payment_id, occurred_at, id);
CREATE INDEX events_by_order ON payments.events (owner_id, order_id);

-- Which payment an event of a provider belongs to: unique whatever the owner.
CREATE TABLE payments.provider_events (
    provider text NOT NULL,
    event_id text NOT NULL,
    owner_id uuid NOT NULL,
    PRIMARY KEY (provider, event_id)
);

-- Which payment a provider's reference means, found by its blind index.
CREATE TABLE payments.provider_references (
    provider text NOT NULL,
    reference_index bytea NOT NULL CHECK (octet_length(reference_index) = 32),
    owner_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    PRIMARY KEY (provider, reference_index)
);

-- +goose Down
DROP TABLE payments.provider_references, payments.provider_events, payments.events, payments.payments;
