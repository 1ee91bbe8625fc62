package payment

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/payment/provider"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

const (
	// unknownAfter is when a payment that we do not know is reported: that of an event which came early is known soon.
	unknownAfter = time.Minute
	// unknownFor is how long it is looked for.
	unknownFor = 72 * time.Hour
)

// Receive stores what a provider has sent, once, and leaves it to a job. It fails with NotFound for a provider that there is
// not, with Unauthenticated when the message is not the provider's, and with BadUserInput when it can not be read.
func (s *Service) Receive(ctx context.Context, providerName string, header http.Header, body []byte) error {
	p := s.cfg.Providers[providerName]
	if p == nil {
		return fault.New(fault.NotFound, "there is no such provider")
	}
	e, err := p.ParseWebhook(header, body, time.Now())
	switch {
	case errors.Is(err, provider.ErrSignature):
		return fault.Wrap(fault.Unauthenticated, err, "the message is not the provider's")
	case err != nil || e.ID == "":
		return fault.Wrap(fault.BadUserInput, err, "the message can not be read")
	case !e.Relevant:
		return nil
	}
	row := id.New()
	payload, err := seal.SealJSON(s.sealer, inboxField(row), e)
	if err != nil {
		return err
	}
	return s.inTx(ctx, "receive", func(ctx context.Context, tx *postgres.Tx) error {
		n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "payments.receive",
			SQL: "INSERT INTO payments.inbox (provider, event_id, id, payload) VALUES ($1, $2, $3, $4) ON CONFLICT (provider, event_id) DO NOTHING"},
			providerName, e.ID, row, payload)
		if err != nil || n == 0 {
			return err
		}
		return s.later(ctx, tx, inboxArgs{row}, time.Time{})
	})
}

func inboxField(row uuid.UUID) seal.Field {
	return seal.Field{Table: "payments.inbox", Column: "payload", Row: row[:]}
}

// message is a row of the inbox.
type message struct {
	Provider string
	Payload  []byte
	Applied  bool
}

// applyInbox applies a message. It returns false while the payment that it is about is not known here.
func (s *Service) applyInbox(ctx context.Context, row uuid.UUID) (done bool, err error) {
	m, found, err := postgres.First(ctx, s.db, postgres.Stmt{Name: "payments.message",
		SQL:   "SELECT provider, payload, applied_at IS NOT NULL FROM payments.inbox WHERE id = $1",
		Reads: postgres.All("payments.inbox")}, pgx.RowToStructByPos[message], row)
	if err != nil || !found || m.Applied {
		return err == nil, err
	}
	e, err := seal.OpenJSON[provider.Event](s.sealer, inboxField(row), m.Payload)
	if err != nil {
		return false, err
	}
	key, found, err := s.find(ctx, m.Provider, e.State.PaymentID, e.State.Reference)
	if err != nil {
		return false, err
	}
	if !found {
		if age(row) < unknownAfter {
			return false, nil
		}
		if err := s.differ(ctx, unknownPayment(m.Provider, &e.State)); err != nil {
			return false, err
		}
		_, err := postgres.Exec(ctx, s.db, postgres.Stmt{Name: "payments.message_unknown",
			SQL: "UPDATE payments.inbox SET outcome = 'UNKNOWN_PAYMENT' WHERE id = $1 AND applied_at IS NULL"}, row)
		return age(row) > unknownFor, err
	}
	st := &e.State
	if e.Incomplete {
		if st, err = s.call(ctx, m.Provider, "find", func(ctx context.Context, p provider.Provider) (provider.State, error) {
			st, found, err := p.Find(ctx, e.State.PaymentID, e.State.Reference)
			if err == nil && !found {
				err = errUnheard
			}
			return st, err
		}); err != nil {
			return false, err
		}
	}
	_, _, err = s.apply(ctx, key, st, func(ctx context.Context, tx *postgres.Tx, _ *account, changed bool) error {
		outcome := "KNOWN"
		if changed {
			outcome = "APPLIED"
		}
		_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "payments.message_applied",
			SQL: "UPDATE payments.inbox SET applied_at = now(), outcome = $2 WHERE id = $1 AND applied_at IS NULL"}, row, outcome)
		return err
	})
	return err == nil, err
}
