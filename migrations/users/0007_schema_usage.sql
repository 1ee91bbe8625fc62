-- Which clients use what of the GraphQL schema, so that it can be said whether a field may go. It is here because the users' domain
-- already keeps what is told of all services, the audit log; a domain of its own would ask for a database, a queue and a
-- connection pool for two small tables that nobody reads but an operator. They hold no personal data, and no answer is made of them,
-- so that they are not in the publication. Both are small: clients are at most a hundred, what they use is of the schema.

-- +goose Up
CREATE TABLE users.schema_clients (
    name text NOT NULL,    -- as the client gives it; '' if it gives none, 'other' for those beyond the hundred
    version text NOT NULL, -- likewise
    PRIMARY KEY (name, version)
);

-- Written once a minute by each process, by which the instants are told.
CREATE TABLE users.schema_usage (
    coordinate text NOT NULL, -- Type.field, Type.field(argument:), Input.field, Enum.VALUE
    client_name text NOT NULL,
    client_version text NOT NULL,
    count bigint NOT NULL CHECK (count > 0), -- of operations
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL CHECK (last_seen >= first_seen),
    PRIMARY KEY (coordinate, client_name, client_version),
    FOREIGN KEY (client_name, client_version) REFERENCES users.schema_clients ON DELETE CASCADE
);
CREATE INDEX schema_usage_by_client ON users.schema_usage (client_name, client_version);
CREATE INDEX schema_usage_by_last_seen ON users.schema_usage (last_seen);

-- +goose Down
DROP TABLE users.schema_usage, users.schema_clients;
