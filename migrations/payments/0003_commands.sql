-- The shop's own commands, the providers' messages, and what reconciliation has found. Facts stay unbounded; the columns
-- *_commanded bound what the shop itself asks of a provider.

-- +goose Up
ALTER TABLE payments.payments
    -- What the provider is asked with: sealed, and gone once it has answered.
    ADD COLUMN request bytea,
    ADD COLUMN asked_at timestamptz,
    -- What the customer has to do: sealed, while it is to be done.
    ADD COLUMN action bytea,
    ADD COLUMN failure text,
    ADD COLUMN multi_capture boolean NOT NULL DEFAULT false,
    -- The order's one attempt under way. Not derived from the status: what was refused may be authorized after all.
    ADD COLUMN live boolean NOT NULL DEFAULT true,
    -- The order was released: nothing is captured any more.
    ADD COLUMN closed boolean NOT NULL DEFAULT false,
    ADD COLUMN captured bigint NOT NULL DEFAULT 0, -- as in the ledger
    ADD COLUMN capture_commanded bigint NOT NULL DEFAULT 0,
    ADD COLUMN refund_commanded bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT payments_capture_bounded CHECK (capture_commanded BETWEEN 0 AND amount),
    ADD CONSTRAINT payments_refund_bounded CHECK (refund_commanded BETWEEN 0 AND captured);
UPDATE payments.payments p SET live = p.status IN ('PENDING', 'ACTION_REQUIRED', 'AUTHORIZED'),
    captured = (SELECT coalesce(sum(e.amount), 0) FROM payments.events e WHERE e.owner_id = p.owner_id AND e.payment_id = p.id
        AND e.kind = 'CAPTURED' AND e.currency = p.currency);
DROP INDEX payments.payments_one_live;
CREATE UNIQUE INDEX payments_one_live ON payments.payments (owner_id, order_id) WHERE live;

ALTER TABLE payments.events DROP CONSTRAINT events_kind_check;
ALTER TABLE payments.events ADD CONSTRAINT events_kind_check CHECK (kind IN
    ('ACTION_REQUIRED', 'AUTHORIZED', 'CAPTURED', 'REFUNDED', 'REFUND_FAILED', 'VOIDED', 'FAILED'));

-- What the shop asks of a provider; the ID is the provider's idempotency key.
CREATE TABLE payments.commands (
    owner_id uuid NOT NULL,
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    order_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('CAPTURE', 'VOID', 'REFUND')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount bigint NOT NULL CHECK (amount > 0 OR kind = 'VOID' AND amount = 0),
    final boolean NOT NULL DEFAULT false, -- of a capture: the rest is given up
    status text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'SUCCEEDED', 'FAILED')),
    reason text CHECK (reason IN ('CUSTOMER_REQUEST', 'RETURNED', 'DEFECTIVE', 'DUPLICATE', 'FRAUD', 'CANCELED', 'OTHER')),
    note text CHECK (length(note) <= 1000),
    lines jsonb,
    failure text,
    actor_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (owner_id, id),
    FOREIGN KEY (owner_id, payment_id) REFERENCES payments.payments,
    CONSTRAINT commands_finished CHECK ((status = 'PENDING') = (finished_at IS NULL))
);
CREATE INDEX commands_by_payment ON payments.commands (owner_id, payment_id, id);

-- Orders whose money was released: none is asked for any more.
CREATE TABLE payments.closed_orders (
    owner_id uuid NOT NULL,
    order_id uuid NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, order_id)
);

-- What providers have sent, once each. The payload is sealed for the row's id.
CREATE TABLE payments.inbox (
    provider text NOT NULL,
    event_id text NOT NULL CHECK (event_id <> ''),
    id uuid NOT NULL UNIQUE,
    payload bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    applied_at timestamptz,
    outcome text CHECK (outcome IN ('APPLIED', 'KNOWN', 'UNKNOWN_PAYMENT')),
    PRIMARY KEY (provider, event_id)
);
CREATE INDEX inbox_applied ON payments.inbox (applied_at) WHERE applied_at IS NOT NULL;

-- Where a provider's books and the ledger differ, or did. The reference is sealed for the row's id; the subject is its
-- blind index, or that of the payment.
CREATE TABLE payments.differences (
    id uuid PRIMARY KEY,
    provider text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('MISSING_FACT', 'UNKNOWN_PAYMENT', 'AMOUNT_MISMATCH', 'MISSING_AT_PROVIDER')),
    subject bytea NOT NULL CHECK (octet_length(subject) = 32),
    owner_id uuid,
    payment_id uuid,
    reference bytea,
    details jsonb NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz
);
CREATE UNIQUE INDEX differences_open ON payments.differences (provider, kind, subject) WHERE resolved_at IS NULL;

CREATE TABLE payments.idempotency_keys (
    actor_id uuid NOT NULL,
    key text NOT NULL CHECK (key <> '' AND length(key) <= 255),
    request_hash bytea NOT NULL,
    outcome jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (actor_id, key)
);
CREATE INDEX idempotency_keys_by_age ON payments.idempotency_keys (created_at);

-- +goose Down
DROP TABLE payments.idempotency_keys, payments.differences, payments.inbox, payments.closed_orders, payments.commands;
DELETE FROM payments.provider_events d USING payments.events e
    WHERE e.kind = 'REFUND_FAILED' AND d.provider = e.provider AND d.event_id = e.event_id;
DELETE FROM payments.events WHERE kind = 'REFUND_FAILED';
ALTER TABLE payments.events DROP CONSTRAINT events_kind_check;
ALTER TABLE payments.events ADD CONSTRAINT events_kind_check CHECK (kind IN
    ('ACTION_REQUIRED', 'AUTHORIZED', 'CAPTURED', 'REFUNDED', 'VOIDED', 'FAILED'));
DROP INDEX payments.payments_one_live;
CREATE UNIQUE INDEX payments_one_live ON payments.payments (owner_id, order_id)
    WHERE status IN ('PENDING', 'ACTION_REQUIRED', 'AUTHORIZED');
ALTER TABLE payments.payments DROP COLUMN request, DROP COLUMN asked_at, DROP COLUMN action, DROP COLUMN failure,
    DROP COLUMN multi_capture, DROP COLUMN live, DROP COLUMN closed, DROP COLUMN captured, DROP COLUMN capture_commanded,
    DROP COLUMN refund_commanded;
