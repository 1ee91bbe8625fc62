package user

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

const accountByEmail = `
	SELECT u.owner_id, u.roles FROM users.email_index i JOIN users.users u USING (owner_id)
	WHERE i.email_index = $1 AND u.status = 'ACTIVE' AND NOT u.guest`

// OpenSession opens a session of an active account without its password: for an operator at the machine, not for a
// viewer. It fails with NotFound where there is none.
func (s *Service) OpenSession(ctx context.Context, email string) (*Tokens, error) {
	email, err := seal.NormalizeEmail(email)
	if err != nil {
		return nil, fault.Wrap(fault.BadUserInput, err, "not an e-mail address")
	}
	type account struct {
		Owner uuid.UUID
		Roles []auth.Role
	}
	a, ok, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name: "users.account_by_email", SQL: accountByEmail, Reads: postgres.All("users.email_index", "users.users"),
	}, pgx.RowToStructByPos[account], s.emailIndex(email))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no active account with this e-mail address")
	}
	var tokens *Tokens
	err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
		tokens, err = s.startSession(ctx, tx, a.Owner, a.Roles)
		return err
	})
	return tokens, err
}
