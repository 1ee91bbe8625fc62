package user_test

import (
	"context"
	"testing"
	"time"

	"emporium/internal/jobs"
	"emporium/internal/mail"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/user"
)

// post is a mailbox that tells of each mail.
type post struct {
	*user.Mailbox
	came chan mail.Message
	fail func(mail.Message) error // may be nil; the mail is not kept then
}

// Send keeps the mail and tells of it.
func (p *post) Send(ctx context.Context, m mail.Message) error {
	if p.fail != nil {
		if err := p.fail(m); err != nil {
			return err
		}
	}
	err := p.Mailbox.Send(ctx, m)
	p.came <- m
	return err
}

// newMailWorld is a world whose jobs run.
func newMailWorld(t testing.TB, change ...func(*user.Config)) (*world, *post) {
	t.Helper()
	p := &post{came: make(chan mail.Message, 100)}
	d := pgtest.New(t)
	w := newWorldOn(t, d, append(change, func(c *user.Config) {
		writer, err := mail.NewWriter("The Shop <shop@example.com>", "https://shop.example.com/de")
		must(t, err)
		p.Mailbox = user.NewMailbox(c.DB, writer)
		c.Mailer = p
		c.Jobs, err = jobs.Open(t.Context(), d.Users, d.URLs["users"], "users", jobs.Options{})
		must(t, err)
		t.Cleanup(c.Jobs.Close)
	})...)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.cfg.Jobs.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the queue stopped: %v", err)
		}
	})
	return w, p
}

// next waits for a mail and returns the token in it, if there is one.
func (p *post) next(t testing.TB, template mail.Template, to string) (token string) {
	t.Helper()
	select {
	case m := <-p.came:
		if m.Template != template || m.To != to {
			t.Fatalf("%s came to %s, want %s to %s", m.Template, m.To, template, to)
		}
		link, _ := m.Data.(mail.Link)
		return link.Token
	case <-time.After(20 * time.Second):
		t.Fatal("no mail came")
		return ""
	}
}
