package user

import (
	"context"
	_ "embed"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/mail"
	"emporium/internal/postgres"
)

// mailboxSize is how many mails a mailbox keeps, the latest.
const mailboxSize = 200

const (
	insertMail = `INSERT INTO users.mailbox (id, recipient, subject, body_text, body_html) VALUES ($1, $2, $3, $4, $5)`

	deleteOldMails = `DELETE FROM users.mailbox WHERE id <= (SELECT id FROM users.mailbox ORDER BY id DESC OFFSET $1 LIMIT 1)`

	selectMails = `SELECT id, recipient, subject, body_text, body_html FROM users.mailbox`
)

// Mailbox is a Mailer for development: it keeps the latest 200 mails, to whomever they go, and shows them to everyone who
// can reach it. They are not sealed. It is safe for concurrent use.
type Mailbox struct {
	db     *postgres.DB
	writer *mail.Writer
}

// NewMailbox returns the mailbox in a database of users.
func NewMailbox(db *postgres.DB, w *mail.Writer) *Mailbox { return &Mailbox{db, w} }

// Send keeps a mail.
func (b *Mailbox) Send(ctx context.Context, m mail.Message) error {
	written, err := b.writer.Write(m)
	if err != nil {
		return err
	}
	return b.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_mail", SQL: insertMail},
			id.New(), written.To, written.Subject, written.Text, written.HTML); err != nil {
			return err
		}
		_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.delete_old_mails", SQL: deleteOldMails,
			Reads: postgres.All("users.mailbox")}, mailboxSize)
		return err
	})
}

// KeptMail is a mail in a mailbox.
type KeptMail struct {
	ID                      uuid.UUID
	To, Subject, Text, HTML string
}

// At is when the mail was sent.
func (m *KeptMail) At() (time.Time, error) { return id.Time(m.ID) }

// Mails returns all mails, the latest first.
func (b *Mailbox) Mails(ctx context.Context) ([]*KeptMail, error) {
	return postgres.Select(ctx, b.db, postgres.Stmt{Name: "users.mails", SQL: selectMails + " ORDER BY id DESC",
		Reads: postgres.All("users.mailbox")}, pgx.RowToAddrOfStructByPos[KeptMail])
}

//go:embed mailbox.html
var mailboxHTML string

var mailboxPage = template.Must(template.New("mailbox.html").Parse(mailboxHTML))

// ServeHTTP shows the mails at /mailbox, and one of them at /mailbox/ID. The pages run no script.
func (b *Mailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var page struct {
		Mails []*KeptMail
		Mail  *KeptMail
	}
	var err error
	if name := r.PathValue("id"); name == "" {
		page.Mails, err = b.Mails(r.Context())
	} else {
		key, wrong := uuid.Parse(name)
		found := false
		if wrong == nil {
			page.Mail, found, err = postgres.First(r.Context(), b.db, postgres.Stmt{Name: "users.mail", SQL: selectMails + " WHERE id = $1",
				Reads: mailsByID.Of(key)}, pgx.RowToAddrOfStructByPos[KeptMail], key)
		}
		if !found && err == nil {
			http.NotFound(w, r)
			return
		}
	}
	if err != nil {
		slog.ErrorContext(r.Context(), "mailbox", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")
	_ = mailboxPage.Execute(w, page)
}
