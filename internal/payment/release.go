package payment

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/postgres"
)

// Release makes sure that no money of the order stays with, or can still reach, the shop; see [order.Payments]. What
// was never asked for is never asked for. What was asked with an unknown outcome is asked again until it is known, and
// then given back: nothing else makes sure that nothing is authorized later.
func (s *Service) Release(ctx context.Context, of id.Key, refund bool) error {
	// Committed before the payments are looked at: a payment that is begun later finds it before it asks.
	if err := s.inTx(ctx, "close", func(ctx context.Context, tx *postgres.Tx) error {
		_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "payments.close_order",
			SQL: "INSERT INTO payments.closed_orders (owner_id, order_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"}, of.Owner, of.ID)
		return err
	}); err != nil {
		return err
	}
	ids, err := postgres.Select(ctx, s.db, postgres.Stmt{Name: "payments.payments_to_release",
		SQL:   "SELECT id FROM payments.payments WHERE owner_id = $1 AND order_id = $2 ORDER BY id",
		Reads: postgres.All("payments.payments")}, pgx.RowTo[uuid.UUID], of.Owner, of.ID)
	if err != nil {
		return err
	}
	var failed []error
	for _, payment := range ids { // one that fails does not keep the others
		if err := s.release(ctx, id.Key{Owner: of.Owner, ID: payment}, refund); err != nil {
			failed = append(failed, fmt.Errorf("payment %s: %w", payment, err))
		}
	}
	return errors.Join(failed...)
}

// releaseSteps are far more than a release takes: a capture that was under way, what it turns out to be, a void, a refund.
const releaseSteps = 10

func (s *Service) release(ctx context.Context, key id.Key, refund bool) error {
	if err := s.inTx(ctx, "release", func(ctx context.Context, tx *postgres.Tx) error {
		a, err := s.lock(ctx, tx, key)
		switch {
		case err != nil:
			return err
		case a.Status == StatusPending && a.AskedAt == nil:
			a.Closed = true
			if err := s.save(ctx, tx, a); err != nil {
				return err
			}
			_, err = s.applyTo(ctx, tx, a, neverAsked())
			return err
		case a.Closed:
			return nil
		}
		a.Closed = true
		return s.save(ctx, tx, a)
	}); err != nil {
		return err
	}
	for range releaseSteps {
		if done, err := s.releaseStep(ctx, key, refund); err != nil || done {
			return err
		}
	}
	return fault.New(fault.Conflict, "the money of the order moves while it is released; try again")
}

// releaseStep brings a payment a step closer to where no money of it can reach or stay with the shop.
func (s *Service) releaseStep(ctx context.Context, key id.Key, refund bool) (done bool, err error) {
	pending, err := s.commandsWhere(ctx, s.db, key, " AND c.status = 'PENDING'")
	if err != nil {
		return false, err
	}
	for _, c := range pending {
		status, err := s.pursue(ctx, c.Key())
		if err != nil {
			return false, err
		}
		if status == CommandPending {
			return false, fault.Newf(fault.InProgress, "the provider has not finished a %s yet", c.Kind)
		}
	}
	a, found, err := s.account(ctx, s.db, key)
	if err != nil || !found {
		return !found, err
	}
	if a.Status == StatusPending && a.Reference == nil {
		_, err := s.settle(ctx, a)
		return false, err
	}
	var issued *Command
	err = s.inTx(ctx, "command", func(ctx context.Context, tx *postgres.Tx) error {
		issued, done = nil, true
		c, _, err := s.issue(ctx, tx, key, nil, func(a *account, t sums, before []*Command) (*Command, *fault.Problem) {
			voided := false
			for _, b := range before {
				if b.Status == CommandPending { // of another release, meanwhile
					done = false
					return nil, nil
				}
				voided = voided || b.Kind == CommandVoid && b.Status == CommandSucceeded
			}
			open := t.Authorized - t.Voided - t.Captured
			switch reason := RefundCanceled; {
			case open > 0, a.Status == StatusPending, a.Status == StatusActionRequired:
				return &Command{Kind: CommandVoid, AmountMinor: max(0, open)}, nil
			case a.Status == StatusFailed && a.Reference != nil && !voided: // the customer could try another card
				return &Command{Kind: CommandVoid}, nil
			case refund && t.Captured > t.Refunded:
				return &Command{Kind: CommandRefund, AmountMinor: a.refundable(t), Reason: &reason}, nil
			}
			return nil, nil
		})
		issued = c
		return err
	})
	if err != nil || issued == nil {
		return done && err == nil, err
	}
	status, err := s.drive(ctx, issued.Key())
	switch {
	case err != nil:
		return false, err
	case status == CommandPending:
		return false, fault.Newf(fault.InProgress, "the provider has not finished a %s yet", issued.Kind)
	case status == CommandFailed:
		if c, _, err := s.commandOf(ctx, s.db, issued.Key()); err != nil {
			return false, err
		} else if c != nil && c.Failure != nil && *c.Failure != tookAll {
			return false, fault.Newf(fault.Conflict, "the provider refuses a %s: %s", issued.Kind, *c.Failure)
		}
	}
	return false, nil
}
