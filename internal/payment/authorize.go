package payment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/payment/provider"
	"emporium/internal/postgres"
)

// callDeadline bounds a call of a provider with all its tries, so that what follows fits into a job too.
const callDeadline = 30 * time.Second

// What customers are told where the provider says nothing.
const (
	notMade   = "The payment could not be made."
	cancelled = "The payment was cancelled."
	paidBack  = "The payment was paid back."

	noProvider = "No payments are taken at the moment."
)

// call asks a provider, outside of any transaction, between two points of the injection of faults.
func (s *Service) call(
	ctx context.Context, name, point string, ask func(ctx context.Context, p provider.Provider) (provider.State, error),
) (*provider.State, error) {
	p := s.cfg.Providers[name]
	if p == nil {
		return nil, fault.Newf(fault.Conflict, "there is no provider %q here", name)
	}
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	s.cfg.At(point + "/calling")
	st, err := ask(ctx, p)
	s.cfg.At(point + "/called")
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", name, point, err)
	}
	return &st, nil
}

// refused reports whether a provider will not do what was asked for, now or later.
func refused(err error) bool {
	var e *provider.Error
	return errors.As(err, &e) && !e.Temporary && !e.Unknown
}

// refusedAs reports whether that is for a reason.
func refusedAs(err error, code provider.ErrorCode) bool {
	var e *provider.Error
	return errors.As(err, &e) && e.Code == code
}

var _ order.Payments = (*Service)(nil)

// Authorize asks the provider to promise the amount; see [order.Payments]. Without a provider it is refused. It fails with Conflict while another payment of
// the order is under way, and once the order was released.
func (s *Service) Authorize(ctx context.Context, r order.PaymentRequest) (order.PaymentOutcome, error) {
	if s.cfg.Providers[s.cfg.Default] == nil {
		return order.PaymentOutcome{State: order.PaymentRefused, Message: noProvider}, nil
	}
	key := id.Key{Owner: r.Order.Owner, ID: r.PaymentID}
	a, err := s.begin(ctx, key, r)
	if err == nil && a.Status == StatusPending {
		a, err = s.ask(ctx, key, &request{Number: r.Number, Method: r.Method, ReturnURL: r.ReturnURL})
	}
	if err != nil {
		return order.PaymentOutcome{}, err
	}
	return a.outcome(), nil
}

// outcome is what became of a payment, for the order.
func (a *account) outcome() order.PaymentOutcome {
	refused := func(why string) order.PaymentOutcome {
		if a.Failure != nil {
			why = *a.Failure
		}
		return order.PaymentOutcome{State: order.PaymentRefused, Message: why}
	}
	switch a.Status {
	case StatusPending:
		return order.PaymentOutcome{State: order.PaymentAsked}
	case StatusActionRequired:
		return order.PaymentOutcome{State: order.PaymentActionRequired}
	case StatusFailed:
		return refused(notMade)
	case StatusVoided:
		return refused(cancelled)
	case StatusRefunded:
		return refused(paidBack)
	default:
		return order.PaymentOutcome{State: order.PaymentPromised}
	}
}

// begin writes a payment down before anybody is asked, and the job that sees to it; or finds the one that is there.
func (s *Service) begin(ctx context.Context, key id.Key, r order.PaymentRequest) (*account, error) {
	sealed, err := sealRequest(s, key, &request{Number: r.Number, Method: r.Method, ReturnURL: r.ReturnURL})
	if err != nil {
		return nil, err
	}
	a, found, err := s.account(ctx, s.db, key)
	if err == nil && !found {
		err = s.inTx(ctx, "authorize", func(ctx context.Context, tx *postgres.Tx) error {
			if closed, err := isClosed(ctx, tx, r.Order); err != nil {
				return err
			} else if closed {
				return errClosed()
			}
			n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "payments.insert", SQL: `INSERT INTO payments.payments (owner_id, id, order_id,
				provider, method_kind, currency, amount, request) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (owner_id, id) DO NOTHING`},
				key.Owner, key.ID, r.Order.ID, s.cfg.Default, unknownMethod, r.Currency, r.Amount, sealed)
			if err != nil || n == 0 {
				return err
			}
			// After the insert, which has waited for another one to begin or end. What was owed when the order made this attempt
			// may have been paid by another since.
			if kept, err := keptFor(ctx, tx, r.Order); err != nil {
				return err
			} else if kept+r.Amount > r.Total {
				return fault.New(fault.Conflict, "so much is not owed for this order any more")
			}
			return s.later(ctx, tx, syncArgs{key.Owner, key.ID}, time.Now().Add(s.cfg.TakeOver))
		})
		if err != nil && !postgres.Violates(err, "payments_one_live") {
			return nil, err
		}
		// The live one may be this one: two calls have begun it at once.
		a, found, err = s.account(ctx, s.db, key)
	}
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, fault.New(fault.Conflict, "another payment of this order is under way")
	case a.OrderID != r.Order.ID || a.AmountMinor != r.Amount || a.Currency != r.Currency:
		return nil, fault.New(fault.Conflict, "this payment was begun for something else")
	}
	return a, nil
}

// keptFor is what is promised or paid for an order, by all of its payments.
func keptFor(ctx context.Context, q postgres.Querier, of id.Key) (int64, error) {
	kept, _, err := postgres.First(ctx, q, postgres.Stmt{Name: "payments.kept_for_order", SQL: `SELECT coalesce(sum(CASE
			WHEN e.kind IN ('AUTHORIZED', 'REFUND_FAILED') THEN e.amount WHEN e.kind IN ('VOIDED', 'REFUNDED') THEN -e.amount END), 0)::bigint
		FROM payments.events e JOIN payments.payments p ON p.owner_id = e.owner_id AND p.id = e.payment_id AND p.currency = e.currency
		WHERE e.owner_id = $1 AND e.order_id = $2`,
		Reads: postgres.All("payments.events", "payments.payments")}, pgx.RowTo[int64], of.Owner, of.ID)
	return kept, err
}

func isClosed(ctx context.Context, q postgres.Querier, of id.Key) (bool, error) {
	closed, _, err := postgres.First(ctx, q, postgres.Stmt{Name: "payments.is_closed",
		SQL:   "SELECT EXISTS (SELECT FROM payments.closed_orders WHERE owner_id = $1 AND order_id = $2)",
		Reads: postgres.All("payments.closed_orders")}, pgx.RowTo[bool], of.Owner, of.ID)
	return closed, err
}

// errClosed returns a fresh error.
func errClosed() error {
	return fault.New(fault.Conflict, "the order was given up: nothing is paid for it any more")
}

// ask asks the provider about a payment that was begun, unless its order was released meanwhile. Whoever releases an order
// either finds the mark that somebody is asking, or has closed the order before it was set.
func (s *Service) ask(ctx context.Context, key id.Key, r *request) (*account, error) {
	var a *account
	closed := false
	err := s.inTx(ctx, "ask", func(ctx context.Context, tx *postgres.Tx) (err error) {
		if a, err = s.lock(ctx, tx, key); err != nil || a.Status != StatusPending {
			return err
		}
		if closed, err = isClosed(ctx, tx, a.OrderKey()); err != nil || closed && a.AskedAt != nil {
			return err
		}
		if closed {
			_, err = s.applyTo(ctx, tx, a, neverAsked())
			return err
		}
		if a.AskedAt != nil {
			return nil
		}
		a.AskedAt = new(time.Now())
		return s.save(ctx, tx, a)
	})
	switch {
	case err != nil:
		return nil, err
	case closed: // what has become of it is found out by Release
		return nil, errClosed()
	case a.Status != StatusPending:
		return a, nil
	}
	return s.authorize(ctx, a, r)
}

// neverAsked is the state of a payment that was begun and nobody was asked about.
func neverAsked() *provider.State {
	return &provider.State{Status: provider.Failed, Failure: &provider.Failure{Code: provider.ProcessingError, Message: cancelled}}
}

// authorize makes the call. The same call again is answered with the same payment.
func (s *Service) authorize(ctx context.Context, a *account, r *request) (*account, error) {
	st, err := s.call(ctx, a.Provider, "authorize", func(ctx context.Context, p provider.Provider) (provider.State, error) {
		in := provider.AuthorizeRequest{PaymentID: a.ID, Amount: a.AmountMinor, Currency: a.Currency, Method: r.Method,
			OrderNumber: r.Number, Description: "Order " + r.Number}
		if r.ReturnURL != nil {
			in.ReturnURL = *r.ReturnURL
		}
		return p.Authorize(ctx, in)
	})
	switch {
	case refusedAs(err, provider.CodeKeyReused): // with another method: what the first call has brought counts
		return s.look(ctx, a)
	case refused(err):
		s.cfg.Log.ErrorContext(ctx, "a provider refuses to be asked for a payment", "payment", a.ID, "error", err)
		st = &provider.State{Status: provider.Failed, Failure: &provider.Failure{Code: provider.ProcessingError, Message: notMade}}
	case err != nil:
		return nil, err
	}
	after, _, err := s.apply(ctx, a.Key(), st)
	return after, err
}

// errUnheard says that a provider has not heard of a payment.
var errUnheard = errors.New("the provider has not heard of the payment")

// known asks the provider what it knows of a payment.
func (s *Service) known(ctx context.Context, a *account) (*provider.State, error) {
	return s.call(ctx, a.Provider, "find", func(ctx context.Context, p provider.Provider) (provider.State, error) {
		reference := ""
		if a.Reference != nil {
			reference = *a.Reference
		}
		st, found, err := p.Find(ctx, a.ID, reference)
		if err == nil && !found {
			err = errUnheard
		}
		return st, err
	})
}

// look takes over what the provider knows of a payment.
func (s *Service) look(ctx context.Context, a *account) (*account, error) {
	st, err := s.known(ctx, a)
	if err != nil {
		return nil, err
	}
	after, _, err := s.apply(ctx, a.Key(), st)
	return after, err
}

// settle finds out what became of a payment that a provider was asked about. Where Find knows nothing, the same call again
// does: the first may still be on its way.
func (s *Service) settle(ctx context.Context, a *account) (*account, error) {
	after, err := s.look(ctx, a)
	if errors.Is(err, errUnheard) && a.Request != nil {
		return s.authorize(ctx, a, a.Request)
	}
	return after, err
}

// sync sees to a payment until it is known: the job that is written with it. It returns false while there is more to come.
func (s *Service) sync(ctx context.Context, key id.Key) (done bool, err error) {
	a, found, err := s.account(ctx, s.db, key)
	if err != nil || !found {
		return !found, err
	}
	if (a.Status == StatusPending || a.Status == StatusActionRequired) && a.AskedAt != nil {
		if a, err = s.settle(ctx, a); err != nil {
			return false, err
		}
	}
	return a.Status != StatusPending && a.Status != StatusActionRequired, nil
}
