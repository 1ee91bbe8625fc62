package user

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

const (
	maxKeyName = 100 // characters

	// keyUsedEvery is how precisely it is known when a key was used last.
	keyUsedEvery = time.Minute
)

// APIKey is a key by which a machine acts, with the role SERVICE. What is secret of it is known when it is made, and to
// nobody here afterwards.
type APIKey struct {
	ID         uuid.UUID
	Name       string
	CreatedBy  uuid.UUID
	CreatedAt  time.Time
	ExpiresAt  *time.Time
	RevokedAt  *time.Time
	LastUsedAt *time.Time // to the minute
}

// GlobalID returns the ID in the graph.
func (k *APIKey) GlobalID() id.ID { return id.Of(id.APIKey, k.ID) }

// APIKeyConnection is a page of keys.
type APIKeyConnection = page.Connection[*APIKey]

// APIKeyEdge is a key in a list.
type APIKeyEdge = page.Edge[*APIKey]

// APIKeyCreateInput is what a key is for, and until when.
type APIKeyCreateInput struct {
	Name      string
	ExpiresAt *time.Time
}

// APIKeyCreatePayload is a new key, and the secret, which is shown once.
type APIKeyCreatePayload struct {
	APIKey     *APIKey
	Secret     *string
	UserErrors []fault.Problem
}

// APIKeyRevokeInput is the key that is to be accepted no more.
type APIKeyRevokeInput struct{ APIKeyID id.ID }

// APIKeyPayload is the outcome of what is done to a key.
type APIKeyPayload struct {
	APIKey     *APIKey
	UserErrors []fault.Problem
}

const (
	apiKeyColumns = `id, name, created_by, created_at, expires_at, revoked_at, last_used_at`

	insertAPIKey = `INSERT INTO users.api_keys (id, name, hash, created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`

	revokeAPIKey = `UPDATE users.api_keys SET revoked_at = $2 WHERE id = $1`

	checkAPIKey = `SELECT hash, revoked_at IS NULL, last_used_at, expires_at
		FROM users.api_keys WHERE id = $1`

	useAPIKey = `UPDATE users.api_keys SET last_used_at = $2 WHERE id = $1 AND coalesce(last_used_at <= $3, true)`
)

// CreateAPIKey makes a key for a machine; for admins.
func (s *Service) CreateAPIKey(ctx context.Context, in APIKeyCreateInput) (*APIKeyCreatePayload, error) {
	a := auth.From(ctx)
	if err := requireRole(ctx, auth.RoleAdmin); err != nil {
		return nil, err
	}
	var problems []fault.Problem
	name, ok := seal.NormalizeText(in.Name, maxKeyName)
	if !ok || name == "" {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid,
			fmt.Sprintf("the name must have 1 to %d characters, none of them a control character", maxKeyName), "name"))
	}
	now := s.now()
	if in.ExpiresAt != nil && !in.ExpiresAt.After(now) {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, "a key does not expire before it is made", "expiresAt"))
	}
	if problems != nil {
		return &APIKeyCreatePayload{UserErrors: problems}, nil
	}
	k := &APIKey{ID: id.New(), Name: name, CreatedBy: a.ID, CreatedAt: now, ExpiresAt: in.ExpiresAt}
	secret, hash := auth.NewAPIKey(k.ID)
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		if _, err := s.asStaff(ctx, tx, []auth.Role{auth.RoleAdmin}); err != nil {
			return err
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_api_key", SQL: insertAPIKey},
			k.ID, k.Name, hash[:], k.CreatedBy, k.CreatedAt, k.ExpiresAt); err != nil {
			return err
		}
		return s.record(ctx, tx, a.ID, k.CreatedBy, AuditAPIKeyCreated, details{"apiKey": k.ID})
	})
	if err != nil {
		return nil, err
	}
	return &APIKeyCreatePayload{APIKey: k, Secret: &secret}, nil
}

// RevokeAPIKey makes a key void, which takes effect as the end of a session does (see Check); for admins. Done again it
// changes nothing.
func (s *Service) RevokeAPIKey(ctx context.Context, in APIKeyRevokeInput) (*APIKeyPayload, error) {
	a := auth.From(ctx)
	if err := requireRole(ctx, auth.RoleAdmin); err != nil {
		return nil, err
	}
	var k *APIKey
	now := s.now()
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		if _, err := s.asStaff(ctx, tx, []auth.Role{auth.RoleAdmin}); err != nil {
			return err
		}
		keys := s.tables.apiKeys.In(ctx, "CreatedBy", "RevokedAt")
		var found bool
		var err error
		k, found, err = postgres.First(ctx, tx, postgres.Stmt{Name: "users.api_key", SQL: "SELECT " + keys.SQL + " FROM users.api_keys WHERE id = $1",
			Reads: apiKeysByID.Of(in.APIKeyID.Key)}, keys.Scan, in.APIKeyID.Key)
		switch {
		case err != nil:
			return err
		case !found || in.APIKeyID.Kind != id.APIKey:
			return &fault.Error{Code: fault.NotFound, Message: "there is no such key", Field: []string{"input", "apiKeyId"}}
		case k.RevokedAt != nil:
			return nil
		}
		k.RevokedAt = &now
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.revoke_api_key", SQL: revokeAPIKey}, k.ID, now); err != nil {
			return err
		}
		return s.record(ctx, tx, a.ID, k.CreatedBy, AuditAPIKeyRevoked, details{"apiKey": k.ID})
	})
	if err != nil {
		return nil, err
	}
	s.checks.end(k.ID, keySession)
	return &APIKeyPayload{APIKey: k}, nil
}

// APIKeys returns a page of the keys, the newest first, those that hold no more too; for admins.
func (s *Service) APIKeys(ctx context.Context, args page.Args) (*APIKeyConnection, error) {
	if err := requireRole(ctx, auth.RoleAdmin); err != nil {
		return nil, err
	}
	const name = "API KEYS"
	w, err := args.Window(name, 1)
	if err != nil {
		return nil, err
	}
	b := new(postgres.Builder)
	tail, err := b.Page(w, []postgres.Key{{Expr: "id", Cast: "uuid", Desc: true}})
	if err != nil {
		return nil, err
	}
	keys := s.tables.apiKeys.In(ctx)
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{Name: "users.api_keys", SQL: "SELECT " + keys.SQL + " FROM users.api_keys" + b.Where() + tail,
		Reads: postgres.All("users.api_keys")}, keys.Scan, b.Args()...)
	if err != nil {
		return nil, err
	}
	return new(page.Build(w, rows, func(k *APIKey) string { return page.Cursor(name, k.ID.String()) })), nil
}

// keySession stands for a session where what is remembered is a key.
var keySession = uuid.UUID{15: 1}

// CheckAPIKey turns the key of a machine into the actor of the request: its ID is the key's, its role SERVICE. It is
// fault.Unauthenticated when the key is unknown, expired or revoked. What it finds is believed as long as what Check does.
func (s *Service) CheckAPIKey(ctx context.Context, key string) (auth.Actor, error) {
	refused := fault.New(fault.Unauthenticated, "invalid or expired token")
	keyID, hash, ok := auth.ParseAPIKey(key)
	if !ok {
		return auth.Actor{}, refused
	}
	found, err := s.remembered(ctx, checkKey{keyID, keySession}, s.checkAPIKey)
	if err != nil {
		return auth.Actor{}, err
	}
	if subtle.ConstantTimeCompare(found.hash[:], hash[:]) != 1 || !found.ok || !found.expires.IsZero() && !s.now().Before(found.expires) {
		return auth.Actor{}, refused
	}
	return auth.Actor{ID: keyID, Roles: auth.Roles(auth.RoleService)}, nil
}

// checkAPIKey asks the database, and notes there that the key is used, once a minute. Keys that are made up are not
// remembered: they would push out what is.
func (s *Service) checkAPIKey(ctx context.Context, key checkKey) (checked, error) {
	read := checked{at: s.now()} // before the statement: what it misses has happened later
	type row struct {
		Hash     []byte
		OK       bool
		LastUsed *time.Time
		Expires  *time.Time
	}
	r, found, err := postgres.First(ctx, s.db, postgres.Stmt{Name: "users.check_api_key", SQL: checkAPIKey, Reads: apiKeysByID.Of(key.owner)},
		pgx.RowToStructByPos[row], key.owner)
	if err != nil || !found {
		read.unknown = true
		return read, err
	}
	read.ok, read.hash = r.OK, [sha256.Size]byte(r.Hash)
	if r.Expires != nil {
		read.expires = *r.Expires
	}
	if r.OK && (r.Expires == nil || read.at.Before(*r.Expires)) && (r.LastUsed == nil || !r.LastUsed.After(read.at.Add(-keyUsedEvery))) {
		if _, err := postgres.Exec(ctx, s.db, postgres.Stmt{Name: "users.use_api_key", SQL: useAPIKey, Reads: apiKeysByID.Of(key.owner)},
			key.owner, read.at, read.at.Add(-keyUsedEvery)); err != nil {
			s.log.WarnContext(ctx, "the use of a key could not be noted", "error", err)
		}
	}
	return read, nil
}
