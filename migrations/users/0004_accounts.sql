-- What is proved by mail, keys of machines, and accounts that were deleted.

-- +goose Up
ALTER TABLE users.users
    ADD COLUMN email_verified_at timestamptz,
    DROP CONSTRAINT users_status_check,
    DROP CONSTRAINT accounts_have_an_email,
    ADD CONSTRAINT users_status_check CHECK (status IN ('ACTIVE', 'DEACTIVATED', 'DELETED')),
    ADD CONSTRAINT accounts_have_an_email CHECK (guest OR email IS NOT NULL OR status = 'DELETED'),
    ADD CONSTRAINT what_is_verified_is_there CHECK (email_verified_at IS NULL OR email IS NOT NULL),
    ADD CONSTRAINT nothing_is_left_of_the_deleted CHECK (status <> 'DELETED'
        OR num_nonnulls(name, email, phone, password_hash, default_shipping_address_id, default_billing_address_id) = 0);

ALTER TABLE users.sessions
    DROP CONSTRAINT sessions_ended_because_check,
    ADD CONSTRAINT sessions_ended_because_check
        CHECK (ended_because IN ('SIGNED_OUT', 'TOKEN_REUSED', 'PASSWORD_CHANGED', 'EMAIL_CHANGED', 'DEACTIVATED'));
CREATE INDEX sessions_by_expiry ON users.sessions (expires_at);

-- A token that was sent by mail: who knows it has got the mail. Keyed by its hash, by which it is found without the owner.
-- One that was used is deleted, and so are older ones when a new one of the same purpose is made.
CREATE TABLE users.tokens (
    hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    owner_id uuid NOT NULL,
    purpose text NOT NULL CHECK (purpose IN ('VERIFY_EMAIL', 'CHANGE_EMAIL', 'SET_PASSWORD')),
    expires_at timestamptz NOT NULL
);
CREATE INDEX tokens_by_owner ON users.tokens (owner_id);
CREATE INDEX tokens_by_expiry ON users.tokens (expires_at);

-- The e-mail address that an account is to have, sealed, until it is confirmed.
CREATE TABLE users.email_changes (
    owner_id uuid PRIMARY KEY REFERENCES users.users,
    email bytea NOT NULL,
    noticed boolean NOT NULL DEFAULT false, -- the address so far has been told; only then the new one gets its token
    expires_at timestamptz NOT NULL
);
CREATE INDEX email_changes_by_expiry ON users.email_changes (expires_at);

-- Keys by which machines act, with the role SERVICE. What is secret of a key is hashed.
CREATE TABLE users.api_keys (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz -- to the minute
);

-- The latest mails, where no mail server is: for development alone, on the private servers, and so not sealed.
CREATE TABLE users.mailbox (
    id uuid PRIMARY KEY, -- UUIDv7
    recipient text NOT NULL,
    subject text NOT NULL,
    body_text text NOT NULL,
    body_html text NOT NULL
);

-- +goose Down
DROP TABLE users.tokens, users.email_changes, users.api_keys, users.mailbox;
DROP INDEX users.sessions_by_expiry;
UPDATE users.sessions SET ended_because = 'SIGNED_OUT' WHERE ended_because = 'EMAIL_CHANGED';
ALTER TABLE users.sessions
    DROP CONSTRAINT sessions_ended_because_check,
    ADD CONSTRAINT sessions_ended_because_check
        CHECK (ended_because IN ('SIGNED_OUT', 'TOKEN_REUSED', 'PASSWORD_CHANGED', 'DEACTIVATED'));
-- Nobody had no e-mail address before but guests.
UPDATE users.users SET guest = true, status = 'DEACTIVATED' WHERE status = 'DELETED';
ALTER TABLE users.users
    DROP COLUMN email_verified_at,
    DROP CONSTRAINT nothing_is_left_of_the_deleted,
    DROP CONSTRAINT users_status_check,
    DROP CONSTRAINT accounts_have_an_email,
    ADD CONSTRAINT users_status_check CHECK (status IN ('ACTIVE', 'DEACTIVATED')),
    ADD CONSTRAINT accounts_have_an_email CHECK (guest OR email IS NOT NULL);
