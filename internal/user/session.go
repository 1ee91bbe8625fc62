package user

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/mail"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// Why a session has ended.
const (
	endedSignedOut       = "SIGNED_OUT"
	endedTokenReused     = "TOKEN_REUSED"
	endedPasswordChanged = "PASSWORD_CHANGED"
	endedEmailChanged    = "EMAIL_CHANGED"
	endedDeactivated     = "DEACTIVATED"
)

const (
	maxName = 200 // characters
	badName = "the name must have 1 to 200 characters, none of them a control character"
)

// raceTries is how often a password is verified that was hashed anew or changed in the meantime.
const raceTries = 3

// errRaced says that the password hash is no longer the one that was verified; errTaken that the e-mail address has an
// account. Both roll a transaction back.
var (
	errRaced = errors.New("the password was changed meanwhile")
	errTaken = errors.New("the e-mail address is taken")
)

// SignUp opens an account and signs in. The attempt counts against address, the network address of the client: too many
// are fault.RateLimited.
func (s *Service) SignUp(ctx context.Context, in SignUpInput, address string) (*SignInPayload, error) {
	var problems []fault.Problem
	email, err := seal.NormalizeEmail(in.Email)
	if err != nil {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, "this is not a valid e-mail address", "email"))
	}
	name, ok := normalizeName(in.Name)
	if !ok {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, badName, "name"))
	}
	if p := checkPassword(in.Password, "password", email, name); p != nil {
		problems = append(problems, *p)
	}
	if problems != nil {
		return &SignInPayload{UserErrors: problems}, nil
	}

	if err := s.allow(ctx, auth.ThrottleAddress, address); err != nil {
		return nil, err
	}
	hash, err := s.hasher.Hash(ctx, in.Password)
	if err != nil {
		return nil, err
	}
	owner := id.New()
	var tokens *Tokens
	err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		// The unique index decides between two that want the same address: the second waits for the first here.
		n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_email", SQL: insertEmail}, s.emailIndex(email), owner)
		if err != nil {
			return err
		}
		if n == 0 {
			return errTaken
		}
		roles, _, err := postgres.First(ctx, tx, postgres.Stmt{Name: "users.insert", SQL: insertUser}, pgx.RowTo[[]auth.Role],
			owner, s.sealer.SealString(userField(owner, "name"), name), s.sealer.SealString(userField(owner, "email"), email),
			hash, s.now())
		if err != nil {
			return err
		}
		var session uuid.UUID
		if tokens, session, err = s.startSession(ctx, tx, owner, roles); err != nil {
			return err
		}
		if err := s.later(ctx, tx, linkJob{owner, mail.EmailVerification}); err != nil {
			return err
		}
		return s.record(ctx, tx, owner, owner, AuditSignedUp, details{"session": session})
	})
	if errors.Is(err, errTaken) {
		return refuse(fault.ProblemTaken, "an account with this e-mail address exists already", "email"), nil
	}
	if err != nil {
		return nil, err
	}
	return &SignInPayload{Tokens: tokens}, nil
}

// normalizeName is [seal.NormalizeText] for a person's name, which is not empty.
func normalizeName(name string) (string, bool) {
	name, ok := seal.NormalizeText(name, maxName)
	return name, ok && name != ""
}

// checkPassword returns what is wrong with a new password, or nil.
func checkPassword(password, field string, context ...string) *fault.Problem {
	err := auth.CheckPassword(password, context...)
	if err == nil {
		return nil
	}
	p := fault.NewProblem(fault.ProblemWeakPassword, "the password is not acceptable", field)
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		p.Message = f.Message
	}
	return &p
}

// SignIn signs in by e-mail address and password. The attempt counts against the account, whether there is one or not,
// and against address, the network address of the client: too many are fault.RateLimited. An unknown e-mail address, a
// wrong password, a guest, an account without a password and a deactivated one all take the same work and get the same
// answer.
func (s *Service) SignIn(ctx context.Context, in SignInInput, address string) (*SignInPayload, error) {
	if err := s.allow(ctx, auth.ThrottleAddress, address); err != nil {
		return nil, err
	}
	// What is no e-mail address normalises to "", which is nobody's.
	email, _ := seal.NormalizeEmail(in.Email)
	index := s.emailIndex(email)
	if err := s.allow(ctx, auth.ThrottleAccount, string(index)); err != nil {
		return nil, err
	}
	owner, _, err := s.ownerByIndex(ctx, s.db, index)
	if err != nil {
		return nil, err
	}
	var tokens *Tokens
	ok, err := s.prove(ctx, owner, in.Password, func(l login, rehash bool) error {
		err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
			roles, found, err := postgres.First(ctx, tx, postgres.Stmt{
				Name: "users.lock_credentials", SQL: lockCredentials, Reads: usersByOwner.Of(owner),
			}, pgx.RowTo[[]auth.Role], owner, l.Hash)
			if err != nil {
				return err
			}
			if !found {
				return errRaced
			}
			var session uuid.UUID
			if tokens, session, err = s.startSession(ctx, tx, owner, roles); err != nil {
				return err
			}
			return s.record(ctx, tx, owner, owner, AuditSignedIn, details{"session": session})
		})
		if err == nil && rehash {
			s.rehash(ctx, owner, l.Hash, in.Password)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return refuse(fault.ProblemWrongCredentials, "the e-mail address or the password is wrong"), nil
	}
	s.throttle.Reset(ctx, auth.ThrottleAccount, string(index))
	return &SignInPayload{Tokens: tokens}, nil
}

// ownerByIndex returns whose account has the e-mail address of a blind index.
func (s *Service) ownerByIndex(ctx context.Context, q postgres.Querier, index []byte) (owner uuid.UUID, found bool, err error) {
	return postgres.First(ctx, q, postgres.Stmt{
		Name: "users.owner_by_email", SQL: ownerByEmail, Reads: postgres.All("users.email_index"),
	}, pgx.RowTo[uuid.UUID], index)
}

// prove verifies the password of an account and then calls act, which fails with errRaced when the account's hash is no
// longer the one that was verified; then both are done again. It reports whether the password was right and act has
// succeeded. Where there is no such account, it does the same work for nothing.
func (s *Service) prove(ctx context.Context, owner uuid.UUID, password string, act func(l login, rehash bool) error) (bool, error) {
	for range raceTries {
		l, found, err := s.login(ctx, owner)
		if err != nil {
			return false, err
		}
		if !found {
			return false, s.hasher.VerifyDummy(ctx, password)
		}
		ok, rehash, err := s.hasher.Verify(ctx, password, l.Hash)
		if err != nil || !ok {
			return false, err
		}
		if err := act(l, rehash); !errors.Is(err, errRaced) {
			return err == nil, err
		}
	}
	return false, fault.New(fault.Conflict, "the account is being changed; try again")
}

func (s *Service) login(ctx context.Context, owner uuid.UUID) (login, bool, error) {
	return postgres.First(ctx, s.db, postgres.Stmt{
		Name: "users.credentials", SQL: credentials, Reads: usersByOwner.Of(owner),
	}, pgx.RowToStructByPos[login], owner)
}

// rehash brings a stored hash to the current parameters. Signing in does not depend on it: it is tried again next time.
func (s *Service) rehash(ctx context.Context, owner uuid.UUID, old, password string) {
	hash, err := s.hasher.Hash(ctx, password)
	if err == nil {
		_, err = postgres.Exec(ctx, s.db, postgres.Stmt{Name: "users.update_password", SQL: updatePassword}, owner, old, hash, s.now())
	}
	if err != nil {
		s.log.WarnContext(ctx, "a password could not be hashed anew", "error", err)
	}
}

// startSession writes a session with its first refresh token.
func (s *Service) startSession(ctx context.Context, tx *postgres.Tx, owner uuid.UUID, roles []auth.Role) (*Tokens, uuid.UUID, error) {
	now := s.now()
	actor := auth.Actor{ID: owner, Session: id.New(), Roles: auth.Roles(roles...)}
	expires := now.Add(s.sessionTTL)
	if err := s.insertSession(ctx, tx, actor, now, expires); err != nil {
		return nil, uuid.Nil, err
	}
	tokens, err := s.issue(ctx, tx, actor, now, expires)
	return tokens, actor.Session, err
}

func (s *Service) insertSession(ctx context.Context, tx *postgres.Tx, a auth.Actor, now, expires time.Time) error {
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_session", SQL: insertSession}, a.ID, a.Session, now, expires)
	return err
}

// issue writes a fresh refresh token of a session and signs an access token that does not outlive it.
func (s *Service) issue(ctx context.Context, tx *postgres.Tx, a auth.Actor, now, sessionExpires time.Time) (*Tokens, error) {
	refresh, hash := auth.NewRefreshToken(a.ID, a.Session)
	if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_token", SQL: insertToken},
		a.ID, hash[:], a.Session, now); err != nil {
		return nil, err
	}
	ttl := min(s.accessTTL, sessionExpires.Sub(now))
	access, err := s.issuer.Issue(a, ttl)
	if err != nil {
		return nil, err
	}
	return &Tokens{AccessToken: access, ExpiresAt: now.Add(ttl).UTC().Truncate(time.Second), RefreshToken: &refresh}, nil
}

// Refresh exchanges a refresh token for new tokens of the same session, which ends when it would have ended anyway.
//
// Each token works once. A second use of one means that two have it, of whom one may be a thief: it ends the session,
// and with it the tokens that the first use was answered with. This holds for uses at the same time too: of any number,
// exactly one is answered with tokens, and these are void as soon as the next one is through. So a client refreshes one
// at a time. There is no grace for an answer that was lost: the user signs in again.
//
// Refused tokens count against address, the network address of the client: too many are fault.RateLimited in place of
// the refusal. Good ones do not count, since many clients may share an address.
func (s *Service) Refresh(ctx context.Context, refreshToken, address string) (*SignInPayload, error) {
	owner, session, hash, err := auth.ParseRefreshToken(refreshToken)
	var tokens *Tokens
	var reused bool
	if err == nil {
		err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
			tokens, reused, err = s.rotate(ctx, tx, owner, session, hash[:])
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if reused {
		s.checks.end(owner, session)
		s.log.WarnContext(ctx, "a refresh token was used twice; its session was ended", "session", session)
	}
	if tokens == nil {
		if err := s.allow(ctx, auth.ThrottleAddress, address); err != nil {
			return nil, err
		}
		return refuse(fault.ProblemInvalidToken, "the refresh token is unknown, expired or used", "refreshToken"), nil
	}
	return &SignInPayload{Tokens: tokens}, nil
}

// rotate uses a token up and returns new ones; nil if it can not be used. A used one ends its session.
func (s *Service) rotate(ctx context.Context, tx *postgres.Tx, owner, session uuid.UUID, hash []byte) (_ *Tokens, reused bool, err error) {
	now := s.now()
	type row struct {
		Expires time.Time
		Roles   []auth.Role
	}
	// An access token lives a second at least.
	live, found, err := postgres.First(ctx, tx, postgres.Stmt{
		Name: "users.live_session", SQL: liveSession,
		Reads: append(sessionsByID.Of(session), usersByOwner.Of(owner)...), Volatile: true,
	}, pgx.RowToStructByPos[row], owner, session, now.Add(time.Second))
	if err != nil || !found {
		return nil, false, err
	}
	n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.use_token", SQL: useToken}, owner, hash, session, now)
	if err != nil {
		return nil, false, err
	}
	if n == 1 {
		actor := auth.Actor{ID: owner, Session: session, Roles: auth.Roles(live.Roles...)}
		tokens, err := s.issue(ctx, tx, actor, now, live.Expires)
		return tokens, false, err
	}
	_, used, err := postgres.First(ctx, tx, postgres.Stmt{
		Name: "users.used_token", SQL: usedToken, Reads: postgres.All("users.refresh_tokens"),
	}, pgx.RowTo[bool], owner, hash, session)
	if err != nil || !used {
		return nil, false, err
	}
	if _, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.end_session", SQL: endSession}, owner, session, now, endedTokenReused); err != nil {
		return nil, false, err
	}
	return nil, true, s.record(ctx, tx, uuid.Nil, owner, AuditTokenReused, details{"session": session})
}

// SignOut ends the viewer's session, or nothing when it has ended already or is an external issuer's.
func (s *Service) SignOut(ctx context.Context) (*SignOutPayload, error) {
	a := auth.From(ctx)
	return s.signOut(ctx, a, postgres.Stmt{Name: "users.end_session", SQL: endSession}, a.Session)
}

// SignOutEverywhere ends all sessions of the viewer.
func (s *Service) SignOutEverywhere(ctx context.Context) (*SignOutPayload, error) {
	return s.signOut(ctx, auth.From(ctx), postgres.Stmt{Name: "users.end_sessions", SQL: endSessions}, uuid.Nil)
}

func (s *Service) signOut(ctx context.Context, a auth.Actor, stmt postgres.Stmt, session uuid.UUID) (*SignOutPayload, error) {
	if err := requireSignedIn(a); err != nil {
		return nil, err
	}
	var ended []uuid.UUID
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
		ended, err = postgres.Select(ctx, tx, stmt, pgx.RowTo[uuid.UUID], a.ID, session, s.now(), endedSignedOut)
		if err != nil || len(ended) == 0 {
			return err
		}
		return s.record(ctx, tx, a.ID, a.ID, AuditSignedOut, details{"sessionsEnded": len(ended)})
	})
	if err != nil {
		return nil, err
	}
	s.checks.end(a.ID, ended...)
	return &SignOutPayload{SessionsEnded: len(ended)}, nil
}

// ChangePassword changes the viewer's password and ends all of their other sessions. What mails hold that would set another
// password or e-mail address is void: somebody else may have asked for it, or have read the mail. Attempts count against the account
// as those to sign in do. An actor of an external issuer has no password here.
func (s *Service) ChangePassword(ctx context.Context, in PasswordChangeInput) (*PasswordChangePayload, error) {
	a := auth.From(ctx)
	if err := requireSignedIn(a); err != nil {
		return nil, err
	}
	l, found, err := s.login(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	if !found {
		return refusePassword(fault.ProblemInvalid, "this account has no password"), nil
	}
	email, err := s.sealer.OpenString(userField(a.ID, "email"), l.Email)
	if err != nil {
		return nil, err
	}
	name, err := s.sealer.OpenString(userField(a.ID, "name"), l.Name)
	if err != nil {
		return nil, err
	}
	if p := checkPassword(in.NewPassword, "newPassword", email, name); p != nil {
		return &PasswordChangePayload{UserErrors: []fault.Problem{*p}}, nil
	}

	account := string(s.emailIndex(email))
	if err := s.allow(ctx, auth.ThrottleAccount, account); err != nil {
		return nil, err
	}
	var hash string
	var ended []uuid.UUID
	ok, err := s.prove(ctx, a.ID, in.CurrentPassword, func(l login, _ bool) (err error) {
		if hash == "" {
			if hash, err = s.hasher.Hash(ctx, in.NewPassword); err != nil {
				return err
			}
		}
		return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
			now := s.now()
			n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.update_password", SQL: updatePassword}, a.ID, l.Hash, hash, now)
			if err != nil {
				return err
			}
			if n == 0 {
				return errRaced
			}
			if err := s.forgetChange(ctx, tx, a.ID); err != nil {
				return err
			}
			if err := s.dropTokens(ctx, tx, a.ID, toSetPassword); err != nil {
				return err
			}
			ended, err = postgres.Select(ctx, tx, postgres.Stmt{Name: "users.end_sessions", SQL: endSessions},
				pgx.RowTo[uuid.UUID], a.ID, a.Session, now, endedPasswordChanged)
			if err != nil {
				return err
			}
			return s.record(ctx, tx, a.ID, a.ID, AuditPasswordChanged, details{"sessionsEnded": len(ended)})
		})
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return refusePassword(fault.ProblemWrongCredentials, "this is not the password so far", "currentPassword"), nil
	}
	s.checks.end(a.ID, ended...)
	s.throttle.Reset(ctx, auth.ThrottleAccount, account)
	return &PasswordChangePayload{Changed: true}, nil
}

// allow takes an attempt from the throttle.
func (s *Service) allow(ctx context.Context, kind, key string) error {
	ok, wait := s.throttle.Allow(ctx, kind, key)
	if ok {
		return nil
	}
	return fault.Newf(fault.RateLimited, "too many attempts; try again in %.0f seconds", math.Ceil(max(wait.Seconds(), 1)))
}

func refuse(code fault.ProblemCode, message string, field ...string) *SignInPayload {
	return &SignInPayload{UserErrors: []fault.Problem{fault.NewProblem(code, message, field...)}}
}

func refusePassword(code fault.ProblemCode, message string, field ...string) *PasswordChangePayload {
	return &PasswordChangePayload{UserErrors: []fault.Problem{fault.NewProblem(code, message, field...)}}
}
