package user

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/mail"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// EmailVerificationRequestPayload is the outcome of asking for a mail that verifies the e-mail address.
type EmailVerificationRequestPayload struct {
	Requested  bool
	UserErrors []fault.Problem
}

// EmailVerifyInput is what the mail holds.
type EmailVerifyInput struct{ Token string }

// EmailVerifyPayload is the outcome of verifying an e-mail address.
type EmailVerifyPayload struct {
	Verified   bool
	UserErrors []fault.Problem
}

// EmailChangeRequestInput is the e-mail address that the viewer wants to have.
type EmailChangeRequestInput struct {
	NewEmail string
	Password string
}

// EmailChangeRequestPayload is the outcome of asking for another e-mail address.
type EmailChangeRequestPayload struct {
	Requested  bool
	UserErrors []fault.Problem
}

// EmailChangeConfirmInput is what the mail to the new address holds.
type EmailChangeConfirmInput struct{ Token string }

// EmailChangeConfirmPayload is the outcome of confirming another e-mail address.
type EmailChangeConfirmPayload struct {
	Changed    bool
	UserErrors []fault.Problem
}

// PasswordResetRequestInput is the e-mail address of whoever has lost their password.
type PasswordResetRequestInput struct{ Email string }

// PasswordResetRequestPayload is the outcome of asking for a mail that sets a password: always the same.
type PasswordResetRequestPayload struct {
	Requested  bool
	UserErrors []fault.Problem
}

// PasswordResetInput is what the mail holds, and the password from now on.
type PasswordResetInput struct {
	Token       string
	NewPassword string
}

// PasswordResetPayload is the outcome of setting a password by mail.
type PasswordResetPayload struct {
	Changed    bool
	UserErrors []fault.Problem
}

// AccountDeleteInput is the viewer's password.
type AccountDeleteInput struct{ Password string }

// AccountDeletePayload is the outcome of deleting the account.
type AccountDeletePayload struct {
	Deleted    bool
	UserErrors []fault.Problem
}

const (
	verifyEmail = `UPDATE users.users SET email_verified_at = $2, updated_at = $2 WHERE owner_id = $1`

	upsertEmailChange = `INSERT INTO users.email_changes AS c (owner_id, email, expires_at) VALUES ($1, $2, $3)
		ON CONFLICT (owner_id) DO UPDATE SET email = EXCLUDED.email, expires_at = EXCLUDED.expires_at, noticed = false`

	deleteEmailChange = `DELETE FROM users.email_changes WHERE owner_id = $1 AND expires_at > $2 RETURNING email`

	deleteEmail = `DELETE FROM users.email_index WHERE owner_id = $1`

	changeEmail = `UPDATE users.users SET email = $2, email_verified_at = $3, updated_at = $3 WHERE owner_id = $1`

	// Whoever has got the mail has the address.
	resetPassword = `UPDATE users.users SET password_hash = $2, email_verified_at = coalesce(email_verified_at, $3), updated_at = $3
		WHERE owner_id = $1`

	byOwner = ` WHERE owner_id = $1`

	eraseUser = `UPDATE users.users SET status = 'DELETED', roles = '{CUSTOMER}', name = NULL, email = NULL, email_verified_at = NULL, phone = NULL,
		password_hash = NULL, default_shipping_address_id = NULL, default_billing_address_id = NULL, updated_at = $2 WHERE owner_id = $1`

	liveSessions = `SELECT id FROM users.sessions WHERE owner_id = $1 AND ended_at IS NULL`

	deleteMailsTo = `DELETE FROM users.mailbox WHERE recipient = $1`
)

// RequestEmailVerification sends the viewer a mail that verifies the e-mail address. There is a bound on how many a viewer
// can ask for: more are fault.RateLimited.
func (s *Service) RequestEmailVerification(ctx context.Context) (*EmailVerificationRequestPayload, error) {
	a := auth.From(ctx)
	if err := requireSignedIn(a); err != nil {
		return nil, err
	}
	if err := s.allow(ctx, auth.ThrottleMail, a.ID.String()); err != nil {
		return nil, err
	}
	var verified bool
	_, err := s.changeOwn(ctx, func(ctx context.Context, tx *postgres.Tx, u *User) error {
		if verified = u.EmailVerified(); verified {
			return nil
		}
		return s.later(ctx, tx, linkJob{u.ID, mail.EmailVerification})
	})
	if err != nil {
		return nil, err
	}
	if verified {
		return &EmailVerificationRequestPayload{UserErrors: []fault.Problem{fault.NewProblem(fault.ProblemInvalid, "the e-mail address is verified already")}}, nil
	}
	return &EmailVerificationRequestPayload{Requested: true}, nil
}

// VerifyEmail marks an e-mail address as its user's, for whoever has the token that was sent there. Refused tokens count
// against address, the network address of the client: too many are fault.RateLimited in place of the refusal.
func (s *Service) VerifyEmail(ctx context.Context, in EmailVerifyInput, address string) (*EmailVerifyPayload, error) {
	problem, err := s.byToken(ctx, address, func(ctx context.Context, tx *postgres.Tx) error {
		u, err := s.useToken(ctx, tx, in.Token, toVerifyEmail)
		if err != nil {
			return err
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.verify_email", SQL: verifyEmail}, u.ID, s.now()); err != nil {
			return err
		}
		return s.record(ctx, tx, u.ID, u.ID, AuditEmailVerified, nil)
	})
	if err != nil {
		return nil, err
	}
	return &EmailVerifyPayload{Verified: problem == nil, UserErrors: problems(problem)}, nil
}

// byToken runs change in a transaction and returns the problem that its token is bad, or that the e-mail address is taken;
// then nothing is written.
func (s *Service) byToken(ctx context.Context, address string, change func(ctx context.Context, tx *postgres.Tx) error) (*fault.Problem, error) {
	switch err := s.db.InTx(ctx, change); {
	case errors.Is(err, errBadToken):
		return s.badToken(ctx, address)
	case errors.Is(err, errTaken):
		return new(fault.NewProblem(fault.ProblemTaken, "an account with this e-mail address exists by now")), nil
	default:
		return nil, err
	}
}

func (s *Service) badToken(ctx context.Context, address string) (*fault.Problem, error) {
	if err := s.allow(ctx, auth.ThrottleAddress, address); err != nil {
		return nil, err
	}
	return new(fault.NewProblem(fault.ProblemInvalidToken, errBadToken.Error(), "token")), nil
}

// problems is the list of one problem, or none.
func problems(p *fault.Problem) []fault.Problem {
	if p == nil {
		return nil
	}
	return []fault.Problem{*p}
}

// RequestEmailChange sends a mail with a token to the e-mail address that the viewer wants to have, after a warning to the
// one so far. Until the token is used nothing changes. A later request takes the place of an earlier one. There is a
// bound on how many mails are sent to one address: more are fault.RateLimited.
func (s *Service) RequestEmailChange(ctx context.Context, in EmailChangeRequestInput) (*EmailChangeRequestPayload, error) {
	if err := requireSignedIn(auth.From(ctx)); err != nil {
		return nil, err
	}
	email, err := seal.NormalizeEmail(in.NewEmail)
	if err != nil {
		return &EmailChangeRequestPayload{UserErrors: []fault.Problem{
			fault.NewProblem(fault.ProblemInvalid, "this is not a valid e-mail address", "newEmail")}}, nil
	}
	index := s.emailIndex(email)
	if err := s.allow(ctx, auth.ThrottleMail, string(index)); err != nil {
		return nil, err
	}
	problem, err := s.changeProven(ctx, in.Password, func(ctx context.Context, tx *postgres.Tx, u *User) (*fault.Problem, error) {
		if same(&email, u.Email) {
			return new(fault.NewProblem(fault.ProblemInvalid, "this is the e-mail address of the account already", "newEmail")), nil
		}
		if _, taken, err := s.ownerByIndex(ctx, tx, index); err != nil {
			return nil, err
		} else if taken {
			return new(fault.NewProblem(fault.ProblemTaken, "an account with this e-mail address exists already", "newEmail")), nil
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.upsert_email_change", SQL: upsertEmailChange, Reads: postgres.All("users.email_changes")},
			u.ID, s.sealer.SealString(changeField(u.ID), email), s.now().Add(links[mail.EmailChange].lasts)); err != nil {
			return nil, err
		}
		if err := s.dropTokens(ctx, tx, u.ID, toChangeEmail); err != nil {
			return nil, err
		}
		if err := s.later(ctx, tx, changeJob{u.ID}); err != nil {
			return nil, err
		}
		return nil, s.record(ctx, tx, u.ID, u.ID, AuditEmailChangeRequested, nil)
	})
	if err != nil {
		return nil, err
	}
	return &EmailChangeRequestPayload{Requested: problem == nil, UserErrors: problems(problem)}, nil
}

// ConfirmEmailChange gives an account the e-mail address that its user has asked for, for whoever has the token that was
// sent there, and ends all its sessions but the viewer's. What was sent to the former address is void. Refused tokens count
// as those of VerifyEmail do.
func (s *Service) ConfirmEmailChange(ctx context.Context, in EmailChangeConfirmInput, address string) (*EmailChangeConfirmPayload, error) {
	var u *User
	var ended []uuid.UUID
	problem, err := s.byToken(ctx, address, func(ctx context.Context, tx *postgres.Tx) (err error) {
		if u, err = s.useToken(ctx, tx, in.Token, toChangeEmail); err != nil {
			return err
		}
		now := s.now()
		sealed, found, err := postgres.First(ctx, tx, postgres.Stmt{Name: "users.delete_email_change", SQL: deleteEmailChange,
			Reads: changesByOwner.Of(u.ID)}, pgx.RowTo[[]byte], u.ID, now)
		if err != nil {
			return err
		}
		if !found {
			return errBadToken
		}
		email, err := s.sealer.OpenString(changeField(u.ID), sealed)
		if err != nil {
			return err
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.delete_email", SQL: deleteEmail, Reads: postgres.All("users.email_index")}, u.ID); err != nil {
			return err
		}
		if n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_email", SQL: insertEmail}, s.emailIndex(email), u.ID); err != nil {
			return err
		} else if n == 0 {
			return errTaken
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.change_email", SQL: changeEmail},
			u.ID, s.sealer.SealString(userField(u.ID, "email"), email), now); err != nil {
			return err
		}
		if err := s.dropTokens(ctx, tx, u.ID, ""); err != nil {
			return err
		}
		if ended, err = s.endOthers(ctx, tx, u.ID, endedEmailChanged); err != nil {
			return err
		}
		return s.record(ctx, tx, u.ID, u.ID, AuditEmailChanged, details{"sessionsEnded": len(ended)})
	})
	if err != nil {
		return nil, err
	}
	if problem == nil {
		s.checks.end(u.ID, ended...)
	}
	return &EmailChangeConfirmPayload{Changed: problem == nil, UserErrors: problems(problem)}, nil
}

// endOthers ends all sessions of a user but the one that asks.
func (s *Service) endOthers(ctx context.Context, tx *postgres.Tx, owner uuid.UUID, because string) ([]uuid.UUID, error) {
	but := uuid.Nil
	if a := auth.From(ctx); a.Is(owner) {
		but = a.Session
	}
	return postgres.Select(ctx, tx, postgres.Stmt{Name: "users.end_sessions", SQL: endSessions}, pgx.RowTo[uuid.UUID], owner, but, s.now(), because)
}

// RequestPasswordReset sends a mail with a token to whoever has an account with an e-mail address. The answer, and the work
// until then, are the same whether there is one or not. The attempt counts against the e-mail address and against address,
// the network address of the client: too many are fault.RateLimited.
func (s *Service) RequestPasswordReset(ctx context.Context, in PasswordResetRequestInput, address string) (*PasswordResetRequestPayload, error) {
	if err := s.allow(ctx, auth.ThrottleAddress, address); err != nil {
		return nil, err
	}
	// What is no e-mail address normalises to "", which is nobody's.
	email, _ := seal.NormalizeEmail(in.Email)
	index := s.emailIndex(email)
	if err := s.allow(ctx, auth.ThrottleMail, string(index)); err != nil {
		return nil, err
	}
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error { return s.later(ctx, tx, resetJob{index}) })
	if err != nil {
		return nil, err
	}
	return &PasswordResetRequestPayload{Requested: true}, nil
}

// ResetPassword sets the password of an account, for whoever has the token that was sent to its e-mail address, and ends all
// its sessions and the change of its e-mail address that somebody has asked for. A password that is refused leaves the token
// as it is. Refused tokens count as those of VerifyEmail do.
func (s *Service) ResetPassword(ctx context.Context, in PasswordResetInput, address string) (*PasswordResetPayload, error) {
	refuse := func(p *fault.Problem, err error) (*PasswordResetPayload, error) {
		if err != nil {
			return nil, err
		}
		return &PasswordResetPayload{UserErrors: problems(p)}, nil
	}
	owner, _, err := s.ownerOf(ctx, s.db, in.Token, toSetPassword)
	if errors.Is(err, errBadToken) {
		return refuse(s.badToken(ctx, address))
	}
	if err != nil {
		return nil, err
	}
	users := s.tables.users.In(ctx, "Name", "Email", "Status", "Guest")
	u, _, err := postgres.First(ctx, s.db, postgres.Stmt{Name: "users.of_token", SQL: "SELECT " + users.SQL + " " + fromUsers + byOwner,
		Reads: usersByOwner.Of(owner)}, users.Scan, owner)
	if err != nil {
		return nil, err
	}
	if !u.canSignIn() {
		return refuse(s.badToken(ctx, address))
	}
	if p := checkPassword(in.NewPassword, "newPassword", *u.Email, u.person().Name); p != nil {
		return refuse(p, nil)
	}
	hash, err := s.hasher.Hash(ctx, in.NewPassword)
	if err != nil {
		return nil, err
	}
	var ended []uuid.UUID
	problem, err := s.byToken(ctx, address, func(ctx context.Context, tx *postgres.Tx) error {
		u, err := s.useToken(ctx, tx, in.Token, toSetPassword)
		if err != nil {
			return err
		}
		now := s.now()
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.reset_password", SQL: resetPassword}, u.ID, hash, now); err != nil {
			return err
		}
		if err := s.forgetChange(ctx, tx, u.ID); err != nil {
			return err
		}
		if ended, err = postgres.Select(ctx, tx, postgres.Stmt{Name: "users.end_sessions", SQL: endSessions},
			pgx.RowTo[uuid.UUID], u.ID, uuid.Nil, now, endedPasswordChanged); err != nil {
			return err
		}
		return s.record(ctx, tx, u.ID, u.ID, AuditPasswordReset, details{"sessionsEnded": len(ended)})
	})
	if err != nil || problem != nil {
		return refuse(problem, err)
	}
	s.checks.end(owner, ended...)
	s.throttle.Reset(ctx, auth.ThrottleAccount, string(s.emailIndex(*u.Email)))
	return &PasswordResetPayload{Changed: true}, nil
}

// DeleteAccount erases what is known of the viewer: name, e-mail address, telephone number, address book, sessions, tokens,
// and, by a job, what Config.Forget takes. The e-mail address can be used for another account. What is left is a row that orders belong to, which keep what they
// were placed with. The last admin stays.
func (s *Service) DeleteAccount(ctx context.Context, in AccountDeleteInput) (*AccountDeletePayload, error) {
	owner := auth.From(ctx).ID
	var ended []uuid.UUID
	problem, err := s.changeProven(ctx, in.Password, func(ctx context.Context, tx *postgres.Tx, u *User) (*fault.Problem, error) {
		if last, err := s.lastAdmin(ctx, tx, u); last != nil || err != nil {
			if last != nil {
				last.Field = []string{}
			}
			return last, err
		}
		var err error
		if ended, err = postgres.Select(ctx, tx, postgres.Stmt{Name: "users.live_sessions", SQL: liveSessions,
			Reads: postgres.All("users.sessions")}, pgx.RowTo[uuid.UUID], u.ID); err != nil {
			return nil, err
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.erase", SQL: eraseUser}, u.ID, s.now()); err != nil {
			return nil, err
		}
		for _, table := range []string{"users.addresses", "users.sessions", "users.email_index", "users.phone_index", "users.tokens", "users.email_changes"} {
			if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.erase_" + table[len("users."):], SQL: "DELETE FROM " + table + byOwner,
				Reads: postgres.All(table)}, u.ID); err != nil {
				return nil, err
			}
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.erase_mails", SQL: deleteMailsTo, Reads: postgres.All("users.mailbox")}, u.Email); err != nil {
			return nil, err
		}
		if err := s.later(ctx, tx, forgetJob{u.ID}); err != nil {
			return nil, err
		}
		return nil, s.record(ctx, tx, u.ID, u.ID, AuditDeleted, details{"sessionsEnded": len(ended)})
	})
	if err != nil {
		return nil, err
	}
	if problem == nil {
		s.checks.end(owner, ended...)
		s.checks.changed(owner, s.now())
	}
	return &AccountDeletePayload{Deleted: problem == nil, UserErrors: problems(problem)}, nil
}

// changeProven runs change in a transaction that holds the viewer's account locked, once the viewer has proved by the
// password that it is theirs, behind all changes of staff. Change writes nothing when it returns a problem. Attempts count
// against the account as those to sign in do. An actor of an external issuer has no password here.
func (s *Service) changeProven(
	ctx context.Context, password string, change func(ctx context.Context, tx *postgres.Tx, u *User) (*fault.Problem, error),
) (*fault.Problem, error) {
	a := auth.From(ctx)
	if err := requireSignedIn(a); err != nil {
		return nil, err
	}
	l, found, err := s.login(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	if !found {
		return new(fault.NewProblem(fault.ProblemInvalid, "this account has no password", "password")), nil
	}
	email, err := s.sealer.OpenString(userField(a.ID, "email"), l.Email)
	if err != nil {
		return nil, err
	}
	account := string(s.emailIndex(email))
	if err := s.allow(ctx, auth.ThrottleAccount, account); err != nil {
		return nil, err
	}
	var problem *fault.Problem
	ok, err := s.prove(ctx, a.ID, password, func(l login, _ bool) error {
		return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
			if err := s.lockStaff(ctx, tx); err != nil {
				return err
			}
			_, found, err := postgres.First(ctx, tx, postgres.Stmt{
				Name: "users.lock_credentials", SQL: lockCredentials, Reads: usersByOwner.Of(a.ID),
			}, pgx.RowTo[[]auth.Role], a.ID, l.Hash)
			if err != nil {
				return err
			}
			if !found {
				return errRaced
			}
			u, err := s.lock(ctx, tx, a.ID)
			if err != nil {
				return err
			}
			problem, err = change(ctx, tx, u)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return new(fault.NewProblem(fault.ProblemWrongCredentials, "this is not the password", "password")), nil
	}
	s.throttle.Reset(ctx, auth.ThrottleAccount, account)
	return problem, nil
}
