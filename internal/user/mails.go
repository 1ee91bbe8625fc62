package user

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/jobs"
	"emporium/internal/mail"
	"emporium/internal/postgres"
)

// What a token that was sent by mail is for.
const (
	toVerifyEmail = "VERIFY_EMAIL"
	toChangeEmail = "CHANGE_EMAIL"
	toSetPassword = "SET_PASSWORD" // that was lost, or that there never was
)

// link is what a mail with a token comes to.
type link struct {
	purpose string
	lasts   time.Duration
}

var links = map[mail.Template]link{
	mail.EmailVerification: {toVerifyEmail, 72 * time.Hour},
	mail.EmailChange:       {toChangeEmail, 24 * time.Hour},
	mail.PasswordReset:     {toSetPassword, time.Hour},
	mail.Invitation:        {toSetPassword, 7 * 24 * time.Hour},
}

// Tokens are made by the job that sends them: they are never in the arguments of a job.
const (
	insertMailToken = `INSERT INTO users.tokens (hash, owner_id, purpose, expires_at) VALUES ($1, $2, $3, $4)`

	tokenOwner = `SELECT owner_id FROM users.tokens WHERE hash = $1 AND purpose = $2 AND expires_at > $3`

	// Of those who use a token at once one finds it.
	useMailToken = `DELETE FROM users.tokens WHERE hash = $1`

	deleteTokens = `DELETE FROM users.tokens WHERE owner_id = $1 AND ($2 = '' OR purpose = $2)`

	emailChange = `SELECT email, noticed FROM users.email_changes WHERE owner_id = $1 AND expires_at > $2`

	forgetEmailChange = `DELETE FROM users.email_changes WHERE owner_id = $1`

	markNoticed = `UPDATE users.email_changes SET noticed = true WHERE owner_id = $1 AND email = $2`
)

// linkJob sends a mail with a token to a user.
type linkJob struct {
	UserID   uuid.UUID     `json:"userId"`
	Template mail.Template `json:"template"`
}

func (linkJob) Kind() string { return "users.send_link" }

// resetJob sends a mail with a token to whomever an e-mail address belongs, if to anybody: by its blind index, which
// tells nobody the address, so that the request that adds the job does the same whether there is an account or not.
type resetJob struct {
	EmailIndex []byte `json:"emailIndex"`
}

func (resetJob) Kind() string { return "users.password_reset" }

// changeJob tells both e-mail addresses of a change.
type changeJob struct {
	UserID uuid.UUID `json:"userId"`
}

func (changeJob) Kind() string { return "users.email_change" }

// forgetJob tells other services that an account was deleted.
type forgetJob struct {
	UserID uuid.UUID `json:"userId"`
}

func (forgetJob) Kind() string { return "users.forget" }

// forgetAgain is when other services are told again that could not forget somebody yet.
const forgetAgain = time.Minute

// cleanUpJob deletes what has expired.
type cleanUpJob struct{}

func (cleanUpJob) Kind() string { return "users.clean_up" }

const (
	cleanUpEvery = time.Hour
	cleanUpBatch = 1000
)

// work registers the jobs of the service.
func (s *Service) work(q *jobs.Queue) {
	jobs.Handle(q, func(ctx context.Context, j linkJob) error { return s.sendLink(ctx, j.UserID, j.Template) })
	jobs.Handle(q, func(ctx context.Context, j resetJob) error {
		owner, found, err := s.ownerByIndex(ctx, s.db, j.EmailIndex)
		if err != nil || !found {
			return err
		}
		return s.sendLink(ctx, owner, mail.PasswordReset)
	})
	jobs.Handle(q, func(ctx context.Context, j changeJob) error { return s.sendChange(ctx, j.UserID) })
	jobs.Handle(q, func(ctx context.Context, j forgetJob) error {
		if s.forget == nil {
			return nil
		}
		err := s.forget(ctx, j.UserID)
		if fault.Is(err, fault.InProgress) {
			return jobs.Later(forgetAgain)
		}
		return err
	})
	jobs.Handle(q, func(ctx context.Context, _ cleanUpJob) error { return s.cleanUp(ctx) })
	q.Every(cleanUpEvery, cleanUpJob{})
}

// later adds a job to a transaction.
func (s *Service) later(ctx context.Context, tx *postgres.Tx, j jobs.Args) error {
	if s.jobs == nil {
		return nil
	}
	return s.jobs.Add(ctx, tx, j, time.Time{})
}

// sendLink sends a mail with a new token to a user with an active account.
func (s *Service) sendLink(ctx context.Context, owner uuid.UUID, template mail.Template) error {
	var m *mail.Message
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		m = nil
		u, err := s.lock(ctx, tx, owner)
		if err != nil || !u.canSignIn() || template == mail.EmailVerification && u.EmailVerified() {
			return err
		}
		m, err = s.newLink(ctx, tx, u, template, *u.Email)
		return err
	})
	if err != nil || m == nil {
		return err
	}
	return s.send(ctx, *m)
}

// canSignIn reports whether there is an account that can be signed in to, once it has a password.
func (u *User) canSignIn() bool {
	return u != nil && u.Status == StatusActive && !u.Guest && u.Email != nil
}

// newLink makes a token in place of those of the same purpose, and the mail that it is sent with.
func (s *Service) newLink(ctx context.Context, tx *postgres.Tx, u *User, template mail.Template, to string) (*mail.Message, error) {
	l := links[template]
	if err := s.dropTokens(ctx, tx, u.ID, l.purpose); err != nil {
		return nil, err
	}
	token, hash := auth.NewSecret()
	if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_mail_token", SQL: insertMailToken},
		hash[:], u.ID, l.purpose, s.now().Add(l.lasts)); err != nil {
		return nil, err
	}
	return &mail.Message{Template: template, To: to, Data: mail.Link{Person: u.person(), Token: token, Hours: int(l.lasts.Hours())}}, nil
}

func (u *User) person() (p mail.Person) {
	if u.Name != nil {
		p.Name = *u.Name
	}
	return p
}

// dropTokens makes a user's tokens of a purpose void; all of them for "".
func (s *Service) dropTokens(ctx context.Context, tx *postgres.Tx, owner uuid.UUID, purpose string) error {
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.delete_tokens", SQL: deleteTokens, Reads: postgres.All("users.tokens")}, owner, purpose)
	return err
}

// forgetChange makes void what would give an account another e-mail address, for whoever has asked for it: the warning
// that its user was sent tells them to change the password, so that this has to be enough.
func (s *Service) forgetChange(ctx context.Context, tx *postgres.Tx, owner uuid.UUID) error {
	if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.forget_email_change", SQL: forgetEmailChange,
		Reads: postgres.All("users.email_changes")}, owner); err != nil {
		return err
	}
	return s.dropTokens(ctx, tx, owner, toChangeEmail)
}

// send sends a mail. One that its recipient's server refuses is not tried again.
func (s *Service) send(ctx context.Context, m mail.Message) error {
	err := s.mailer.Send(ctx, m)
	if errors.Is(err, mail.ErrRefused) {
		return jobs.Never(err)
	}
	return err
}

// sendChange tells the e-mail address of a user, and then the one that it is to become, which gets a token. The order
// matters: whoever takes an account over does not get the token before its user has had the warning.
func (s *Service) sendChange(ctx context.Context, owner uuid.UUID) error {
	type row struct {
		Email   []byte
		Noticed bool
	}
	for {
		var m *mail.Message
		var change row
		err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
			m = nil
			u, err := s.lock(ctx, tx, owner)
			if err != nil || !u.canSignIn() {
				return err
			}
			var found bool
			if change, found, err = postgres.First(ctx, tx, postgres.Stmt{Name: "users.email_change", SQL: emailChange,
				Reads: changesByOwner.Of(owner), Volatile: true}, pgx.RowToStructByPos[row], owner, s.now()); err != nil || !found {
				return err
			}
			if !change.Noticed {
				m = &mail.Message{Template: mail.EmailChangeNotice, To: *u.Email, Data: u.person()}
				return nil
			}
			to, err := s.sealer.OpenString(changeField(owner), change.Email)
			if err != nil {
				return err
			}
			m, err = s.newLink(ctx, tx, u, mail.EmailChange, to)
			return err
		})
		switch {
		case err != nil || m == nil:
			return err
		case change.Noticed:
			return s.send(ctx, *m)
		}
		// An address that takes no mail any more must not keep the account.
		if err := s.mailer.Send(ctx, *m); err != nil && !errors.Is(err, mail.ErrRefused) {
			return err
		}
		if _, err := postgres.Exec(ctx, s.db, postgres.Stmt{Name: "users.mark_noticed", SQL: markNoticed}, owner, change.Email); err != nil {
			return err
		}
	}
}

// errBadToken says that a token is unknown, expired or used; it rolls a transaction back.
var errBadToken = errors.New("the token is unknown, expired or used")

// ownerOf returns whose token it is; errBadToken for one that can not be used.
func (s *Service) ownerOf(ctx context.Context, q postgres.Querier, token, purpose string) (owner uuid.UUID, hash []byte, err error) {
	sum, ok := auth.ParseSecret(token)
	if !ok {
		return owner, nil, errBadToken
	}
	owner, found, err := postgres.First(ctx, q, postgres.Stmt{Name: "users.token_owner", SQL: tokenOwner, Reads: postgres.All("users.tokens"), Volatile: true},
		pgx.RowTo[uuid.UUID], sum[:], purpose, s.now())
	if err == nil && !found {
		err = errBadToken
	}
	return owner, sum[:], err
}

// useToken uses a token up and returns its user, whose account is held locked; errBadToken for one that can not be used.
func (s *Service) useToken(ctx context.Context, tx *postgres.Tx, token, purpose string) (*User, error) {
	owner, hash, err := s.ownerOf(ctx, tx, token, purpose)
	if err != nil {
		return nil, err
	}
	u, err := s.lock(ctx, tx, owner)
	if err != nil {
		return nil, err
	}
	n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.use_mail_token", SQL: useMailToken, Reads: postgres.All("users.tokens")}, hash)
	if err == nil && (n == 0 || !u.canSignIn()) {
		err = errBadToken
	}
	return u, err
}
