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

// The lock keeps the account as it is until its session is written.
const activeAccount = `
	SELECT roles FROM users.users WHERE owner_id = $1 AND status = 'ACTIVE' AND NOT guest FOR NO KEY UPDATE`

// OpenSession opens a session of an active account without its password: for an operator at the machine, not for a
// viewer. It fails with NotFound where there is none.
func (s *Service) OpenSession(ctx context.Context, email string) (*Tokens, error) {
	email, err := seal.NormalizeEmail(email)
	if err != nil {
		return nil, fault.Wrap(fault.BadUserInput, err, "not an e-mail address")
	}
	none := fault.New(fault.NotFound, "there is no active account with this e-mail address")
	owner, ok, err := s.ownerByIndex(ctx, s.db, s.emailIndex(email))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, none
	}
	var tokens *Tokens
	err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		roles, ok, err := postgres.First(ctx, tx, postgres.Stmt{
			Name: "users.active_account", SQL: activeAccount, Reads: usersByOwner.Of(owner),
		}, pgx.RowTo[[]auth.Role], owner)
		if err != nil {
			return err
		}
		if !ok {
			return none
		}
		var session uuid.UUID
		if tokens, session, err = s.startSession(ctx, tx, owner, roles); err != nil {
			return err
		}
		return s.record(ctx, tx, uuid.Nil, owner, AuditSignedIn, details{"session": session, "operator": true})
	})
	return tokens, err
}
