-- What was done to accounts, and by whom. Rows are only ever added, in the transaction of what they tell of. They hold
-- no personal data: details name the fields that were changed, never what they hold. No foreign keys: the log outlives
-- what it tells of.

-- +goose Up
CREATE TABLE users.audit (
    subject_id uuid NOT NULL, -- the user that it was done to
    id uuid NOT NULL,         -- UUIDv7
    at timestamptz NOT NULL,  -- as the id has it
    actor_id uuid,            -- the user who did it; NULL when it is not known, or was nobody of the graph
    action text NOT NULL CHECK (action ~ '^[A-Z]+(_[A-Z]+)*$'),
    details jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object'),
    PRIMARY KEY (subject_id, id)
);
CREATE INDEX audit_by_id ON users.audit (id);
CREATE INDEX audit_by_actor ON users.audit (actor_id, id);
CREATE INDEX audit_by_action ON users.audit (action, id);

-- The one row is locked by whoever changes roles or closes accounts, so that of two admins who remove each other one
-- comes second, and of any number the last one stays.
CREATE TABLE users.staff_lock (
    single boolean PRIMARY KEY DEFAULT true CHECK (single)
);
INSERT INTO users.staff_lock DEFAULT VALUES;

-- +goose Down
DROP TABLE users.audit, users.staff_lock;
