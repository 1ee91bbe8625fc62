package user

import (
	"context"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

const userColumns = `owner_id AS id, guest, status, roles, name, email, email_verified_at, phone,
	default_shipping_address_id, default_billing_address_id, created_at`

const addressColumns = `owner_id AS owner, id, country, details AS postal`

const auditColumns = `subject_id, id, at, actor_id, action, details, subject_kind, subject_owner_id`

// Where a statement has a viewer, it is the only owner whose rows are returned; NULL is staff, who see everybody's.
const (
	viewed = ` AND ($2::uuid IS NULL OR owner_id = $2)`

	fromUsers     = `FROM users.users`
	byEmail       = ` WHERE owner_id = (SELECT owner_id FROM users.email_index WHERE email_index = $1)`
	fromAddresses = `FROM users.addresses`
)

// The columns by which reads are told apart.
var (
	usersByOwner     = postgres.ColumnOf("users.users", "owner_id")
	addressesByID    = postgres.ColumnOf("users.addresses", "id")
	addressesByOwner = postgres.ColumnOf("users.addresses", "owner_id")
	sessionsByID     = postgres.ColumnOf("users.sessions", "id")
	changesByOwner   = postgres.ColumnOf("users.email_changes", "owner_id")
	apiKeysByID      = postgres.ColumnOf("users.api_keys", "id")
	mailsByID        = postgres.ColumnOf("users.mailbox", "id")
)

var addressesByKey = postgres.ByKeys{Name: "users.addresses_by_key", From: fromAddresses, Owner: "owner_id", Column: "id",
	Reads: addressesByID}

// Signing in finds the owner and then the account by two statements, each of which one shard answers.
const (
	ownerByEmail = `SELECT owner_id FROM users.email_index WHERE email_index = $1`

	// Accounts that nobody can sign in to are not found.
	credentials = `SELECT password_hash, name, email FROM users.users
		WHERE owner_id = $1 AND status = 'ACTIVE' AND NOT guest AND password_hash IS NOT NULL`

	// The lock holds off a change of the password, which ends sessions, until the new session is there to be ended.
	lockCredentials = `SELECT roles FROM users.users
		WHERE owner_id = $1 AND password_hash = $2 AND status = 'ACTIVE' FOR NO KEY UPDATE`

	updatePassword = `UPDATE users.users SET password_hash = $3, updated_at = $4
		WHERE owner_id = $1 AND password_hash = $2 AND status = 'ACTIVE'`

	insertEmail = `INSERT INTO users.email_index (email_index, owner_id) VALUES ($1, $2)
		ON CONFLICT (email_index) DO NOTHING`

	insertUser = `INSERT INTO users.users (owner_id, name, email, password_hash, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $5) RETURNING roles`

	insertSession = `INSERT INTO users.sessions (owner_id, id, created_at, expires_at) VALUES ($1, $2, $3, $4)`

	insertToken = `INSERT INTO users.refresh_tokens (owner_id, token_hash, session_id, created_at)
		VALUES ($1, $2, $3, $4)`

	liveSession = `SELECT s.expires_at, u.roles FROM users.sessions s JOIN users.users u ON u.owner_id = s.owner_id
		WHERE s.owner_id = $1 AND s.id = $2 AND s.ended_at IS NULL AND s.expires_at > $3 AND u.status = 'ACTIVE'`

	// Of those who use a token at once one finds it unused; the others wait for it here, and find it used.
	useToken = `UPDATE users.refresh_tokens SET used_at = $4
		WHERE owner_id = $1 AND token_hash = $2 AND session_id = $3 AND used_at IS NULL`

	usedToken = `SELECT true FROM users.refresh_tokens WHERE owner_id = $1 AND token_hash = $2 AND session_id = $3`

	endSession = `UPDATE users.sessions SET ended_at = $3, ended_because = $4
		WHERE owner_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > $3 RETURNING id`

	endSessions = `UPDATE users.sessions SET ended_at = $3, ended_because = $4
		WHERE owner_id = $1 AND id <> $2 AND ended_at IS NULL AND expires_at > $3 RETURNING id`

	// No row: no user. No expiry: no such session, or it has ended.
	checkSession = `SELECT u.status = 'ACTIVE', u.roles, s.expires_at
		FROM users.users u LEFT JOIN users.sessions s
			ON s.owner_id = u.owner_id AND s.id = $2 AND s.ended_at IS NULL
		WHERE u.owner_id = $1`
)

// Whatever changes an account or its address book locks the account first, so that one change comes after the other.
const (
	lockUser = ` WHERE owner_id = $1 FOR NO KEY UPDATE`

	updateProfile = `UPDATE users.users SET name = $2, phone = $3, updated_at = $4 WHERE owner_id = $1`

	deletePhone = `DELETE FROM users.phone_index WHERE phone_index = $1 AND owner_id = $2`

	insertPhone = `INSERT INTO users.phone_index (phone_index, owner_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`

	countAddresses = `SELECT count(*) FROM users.addresses WHERE owner_id = $1`

	insertAddress = `INSERT INTO users.addresses (owner_id, id, country, details, created_at) VALUES ($1, $2, $3, $4, $5)`

	updateAddress = `UPDATE users.addresses SET country = $3, details = $4 WHERE owner_id = $1 AND id = $2`

	// The account's defaults that it was become NULL by the foreign keys.
	deleteAddress = `DELETE FROM users.addresses WHERE owner_id = $1 AND id = $2`

	updateDefaults = `UPDATE users.users SET default_shipping_address_id = $2, default_billing_address_id = $3, updated_at = $4
		WHERE owner_id = $1`

	lockStaff = `SELECT single FROM users.staff_lock FOR UPDATE`

	activeRoles = `SELECT roles FROM users.users WHERE owner_id = $1 AND status = 'ACTIVE'`

	otherAdmin = `SELECT true FROM users.users WHERE roles @> '{ADMIN}' AND status = 'ACTIVE' AND owner_id <> $1 LIMIT 1`

	updateStatus = `UPDATE users.users SET status = $2, updated_at = $3 WHERE owner_id = $1`

	updateRoles = `UPDATE users.users SET roles = $2, updated_at = $3 WHERE owner_id = $1`

	insertAudit = `INSERT INTO users.audit (subject_id, id, at, actor_id, action, details, subject_kind, subject_owner_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`
)

// userField and addressField are the places that values are sealed for.
func userField(owner uuid.UUID, column string) seal.Field {
	return seal.Field{Table: "users.users", Column: column, Row: owner[:]}
}

func addressField(key id.Key) seal.Field {
	return seal.Field{Table: "users.addresses", Column: "details", Row: append(key.Owner[:], key.ID[:]...)}
}

// changeField is where the e-mail address is sealed for that an account is to have.
func changeField(owner uuid.UUID) seal.Field {
	return seal.Field{Table: "users.email_changes", Column: "email", Row: owner[:]}
}

func (s *Service) emailIndex(normalized string) []byte {
	return s.sealer.Index("users.email", normalized)
}
func (s *Service) phoneIndex(normalized string) []byte {
	return s.sealer.Index("users.phone", normalized)
}

// tables are how rows become what they are here.
type tables struct {
	users     *postgres.Table[User]
	addresses *postgres.Table[Address]
	audit     *postgres.Table[AuditEntry]
	apiKeys   *postgres.Table[APIKey]
}

func (s *Service) newTables() tables {
	opened := func(column string, into func(*User) **string) postgres.Unseal[User] {
		return func(_ context.Context, u *User, sealed []byte) (err error) {
			*into(u), err = s.sealer.OpenNullable(userField(u.ID, column), sealed)
			return err
		}
	}
	return tables{
		users: postgres.TableOf(userColumns, map[string]postgres.Unseal[User]{
			"Name":  opened("name", func(u *User) **string { return &u.Name }),
			"Email": opened("email", func(u *User) **string { return &u.Email }),
			"Phone": opened("phone", func(u *User) **string { return &u.Phone }),
		}),
		addresses: postgres.TableOf(addressColumns, map[string]postgres.Unseal[Address]{
			"Postal": func(_ context.Context, a *Address, sealed []byte) (err error) {
				a.Postal, err = seal.OpenJSON[Postal](s.sealer, addressField(a.Key()), sealed)
				return err
			},
		}),
		audit:   postgres.TableOf[AuditEntry](auditColumns, nil),
		apiKeys: postgres.TableOf[APIKey](apiKeyColumns, nil),
	}
}

// login is what proves an account: its password hash, and what the password must not be.
type login struct {
	Hash        string
	Name, Email []byte // sealed
}

// only returns the viewer's argument of a statement; ok is false for anonymous viewers, for whom there is nothing.
func only(ctx context.Context) (viewer *uuid.UUID, ok bool) {
	if auth.Staff(ctx) {
		return nil, true
	}
	a := auth.From(ctx)
	return &a.ID, a.SignedIn()
}
