package user

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

const (
	insertGuest = `INSERT INTO users.users (owner_id, guest, name, email, created_at, updated_at) VALUES ($1, true, $2, $3, $4, $4)
		ON CONFLICT (owner_id) DO NOTHING`

	// The lock holds off whoever closes the account until its session is there to be ended.
	lockGuest = `SELECT roles FROM users.users WHERE owner_id = $1 AND status = 'ACTIVE' AND guest FOR NO KEY UPDATE`
)

// CreateGuest makes a customer without credentials, who is not found by the e-mail address: any number of guests may give
// the same. A name or e-mail address may be "", which is none. Done again with the same ID it changes nothing, whatever
// the name and the e-mail address are by then; an ID that has an account is fault.Conflict, and a name or an e-mail address
// that is none fault.BadUserInput. Access is not checked: this is for other services, which have checked it.
func (s *Service) CreateGuest(ctx context.Context, guestID uuid.UUID, email, name string) error {
	var sealedName, sealedEmail []byte
	if name != "" {
		name, ok := normalizeName(name)
		if !ok {
			return fault.New(fault.BadUserInput, badName)
		}
		sealedName = s.sealer.SealString(userField(guestID, "name"), name)
	}
	if email != "" {
		email, err := seal.NormalizeEmail(email)
		if err != nil {
			return err
		}
		sealedEmail = s.sealer.SealString(userField(guestID, "email"), email)
	}
	n, err := postgres.Exec(ctx, s.db, postgres.Stmt{Name: "users.insert_guest", SQL: insertGuest}, guestID, sealedName, sealedEmail, s.now())
	if err != nil || n == 1 {
		return err
	}
	guest, found, err := postgres.First(ctx, s.db, postgres.Stmt{Name: "users.is_guest",
		SQL: `SELECT guest FROM users.users WHERE owner_id = $1`, Reads: usersByOwner.Of(guestID)}, pgx.RowTo[bool], guestID)
	if err == nil && found && !guest {
		err = fault.New(fault.Conflict, "this is no guest")
	}
	return err
}

// OpenGuestSession opens a session of a guest that lasts for ttl, a second at least, and returns its access token, which
// lasts as long. There is no refresh token: a guest has nothing to sign in with again. It fails with fault.NotFound where
// there is no active guest. Access is not checked: this is for other services, which have checked it.
func (s *Service) OpenGuestSession(ctx context.Context, guestID uuid.UUID, ttl time.Duration) (token string, expiresAt time.Time, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		roles, ok, err := postgres.First(ctx, tx, postgres.Stmt{
			Name: "users.lock_guest", SQL: lockGuest, Reads: usersByOwner.Of(guestID),
		}, pgx.RowTo[[]auth.Role], guestID)
		if err != nil {
			return err
		}
		if !ok {
			return fault.New(fault.NotFound, "there is no such guest")
		}
		now := s.now()
		actor := auth.Actor{ID: guestID, Session: id.New(), Roles: auth.Roles(roles...)}
		if err := s.insertSession(ctx, tx, actor, now, now.Add(ttl)); err != nil {
			return err
		}
		if token, err = s.issuer.Issue(actor, ttl); err != nil {
			return err
		}
		expiresAt = now.Add(ttl).UTC().Truncate(time.Second)
		return s.record(ctx, tx, guestID, guestID, AuditSignedIn, details{"session": actor.Session})
	})
	if err != nil {
		return "", time.Time{}, err
	}
	return token, expiresAt, nil
}
