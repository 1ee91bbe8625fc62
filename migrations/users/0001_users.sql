-- Users, their address books and sessions. Names, e-mail addresses, telephone numbers and address lines are sealed
-- (AEAD bound to table, column and row); e-mail addresses and telephone numbers are found by keyed blind indexes.

-- +goose Up
CREATE TABLE users.users (
    owner_id uuid PRIMARY KEY,
    guest boolean NOT NULL DEFAULT false,
    status text NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'DEACTIVATED')),
    roles text[] NOT NULL DEFAULT '{CUSTOMER}'
        CHECK (roles <@ ARRAY['CUSTOMER', 'SUPPORT', 'MANAGER', 'ADMIN', 'SERVICE'] AND cardinality(roles) > 0),
    name bytea,
    email bytea,
    phone bytea,
    password_hash text CHECK (password_hash LIKE '$argon2id$%'),
    default_shipping_address_id uuid,
    default_billing_address_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT guests_have_no_password CHECK (NOT (guest AND password_hash IS NOT NULL)),
    CONSTRAINT guests_are_customers CHECK (NOT guest OR roles = '{CUSTOMER}'),
    CONSTRAINT accounts_have_an_email CHECK (guest OR email IS NOT NULL)
);
CREATE INDEX users_by_status ON users.users (status, owner_id);
CREATE INDEX users_by_created ON users.users (created_at);
CREATE INDEX users_by_role ON users.users USING gin (roles);

-- Which user an e-mail address belongs to: keyed by the blind index, so that it is unique whatever the owner.
CREATE TABLE users.email_index (
    email_index bytea PRIMARY KEY CHECK (octet_length(email_index) = 32),
    owner_id uuid NOT NULL UNIQUE
);

-- Which users have a telephone number; several may share one.
CREATE TABLE users.phone_index (
    phone_index bytea NOT NULL CHECK (octet_length(phone_index) = 32),
    owner_id uuid NOT NULL,
    PRIMARY KEY (phone_index, owner_id)
);
CREATE INDEX phone_index_by_owner ON users.phone_index (owner_id);

CREATE TABLE users.addresses (
    owner_id uuid NOT NULL REFERENCES users.users,
    id uuid NOT NULL,
    country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    details bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, id)
);

ALTER TABLE users.users
    ADD CONSTRAINT default_shipping_address_is_ones_own
        FOREIGN KEY (owner_id, default_shipping_address_id) REFERENCES users.addresses
        ON DELETE SET NULL (default_shipping_address_id) DEFERRABLE INITIALLY DEFERRED,
    ADD CONSTRAINT default_billing_address_is_ones_own
        FOREIGN KEY (owner_id, default_billing_address_id) REFERENCES users.addresses
        ON DELETE SET NULL (default_billing_address_id) DEFERRABLE INITIALLY DEFERRED;

-- A session is a family of refresh tokens: each is used once and names its successor's session; a second use ends it.
CREATE TABLE users.sessions (
    owner_id uuid NOT NULL REFERENCES users.users,
    id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended_because text CHECK (ended_because IN ('SIGNED_OUT', 'TOKEN_REUSED', 'PASSWORD_CHANGED', 'DEACTIVATED')),
    PRIMARY KEY (owner_id, id),
    CHECK ((ended_at IS NULL) = (ended_because IS NULL)),
    CHECK (expires_at > created_at)
);

CREATE TABLE users.refresh_tokens (
    owner_id uuid NOT NULL,
    token_hash bytea NOT NULL CHECK (octet_length(token_hash) = 32),
    session_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz,
    PRIMARY KEY (owner_id, token_hash),
    FOREIGN KEY (owner_id, session_id) REFERENCES users.sessions ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_by_session ON users.refresh_tokens (owner_id, session_id);
-- At most one token of a session can be used.
CREATE UNIQUE INDEX refresh_tokens_one_live ON users.refresh_tokens (owner_id, session_id) WHERE used_at IS NULL;

-- +goose Down
DROP TABLE users.refresh_tokens, users.sessions, users.phone_index, users.email_index;
ALTER TABLE users.users
    DROP CONSTRAINT default_shipping_address_is_ones_own,
    DROP CONSTRAINT default_billing_address_is_ones_own;
DROP TABLE users.addresses, users.users;
