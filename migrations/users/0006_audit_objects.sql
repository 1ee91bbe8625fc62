-- The log tells of more than accounts by now: what an entry is about is an object of any kind. Entries so far are about users.

-- +goose Up
ALTER TABLE users.audit
    ADD COLUMN subject_kind smallint NOT NULL DEFAULT 1, -- as in global IDs; 1 is a user
    ADD COLUMN subject_owner_id uuid;                    -- of what somebody owns

-- +goose Down
DELETE FROM users.audit WHERE subject_kind <> 1;
ALTER TABLE users.audit DROP COLUMN subject_kind, DROP COLUMN subject_owner_id;
