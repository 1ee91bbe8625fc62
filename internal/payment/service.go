package payment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/jobs"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/payment/provider"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// Service reads and writes payments. It is safe for concurrent use.
//
// The viewer is the actor of the context (see [auth.From]). Customers see their own payments, without the provider's
// reference; staff sees everybody's. What the viewer may not see is left out exactly as if it did not exist. Batch
// reads return what they find and take one statement however many keys there are; a viewer who owns none of the keys
// costs none.
type Service struct {
	db       *postgres.DB
	sealer   *seal.Sealer
	currency money.Currency
	cfg      Config
	tables   tables
}

// Config is what New needs.
type Config struct {
	DB       *postgres.DB // holds the schema "payments"
	Sealer   *seal.Sealer
	Currency money.Currency // the shop's, in which filters give their amounts

	// Without providers payments are read and nothing is asked of anybody; with them, Jobs is needed.
	Jobs      *jobs.Queue
	Providers map[string]provider.Provider // by name
	Default   string                       // the one that new payments go to

	// Tell is told what is known of an order's money, as often as that changes, and again. May be nil.
	Tell func(ctx context.Context, order id.Key, f order.PaymentFacts) error
	// Placed reports whether an order has its goods: before that it may come to nothing, and nothing is captured. nil: all have.
	Placed func(ctx context.Context, order id.Key) (bool, error)
	// LineAmounts is what lines of an order are worth, in minor units, of which so many were refunded before; nil: nothing is
	// refunded by lines. Errors with a code are shown.
	LineAmounts func(ctx context.Context, order id.Key, lines, before []LineQuantity) (int64, error)

	Log *slog.Logger // nil: nothing is logged
	// TakeOver is how long a request has to finish what it began, before a job does; 0: 15 seconds.
	TakeOver time.Duration
	// At is for the injection of faults: called before and after each commit and each call of a provider, with the name of
	// the point, like "ask/committed" or "capture/calling". Nil in production.
	At func(point string)
}

// New returns the service, with its jobs in the queue.
func New(c Config) *Service {
	if len(c.Providers) > 0 && c.Jobs == nil {
		panic("payment: providers without a queue of jobs")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.TakeOver == 0 {
		c.TakeOver = 15 * time.Second
	}
	if c.At == nil {
		c.At = func(string) {}
	}
	s := &Service{db: c.DB, sealer: c.Sealer, currency: c.Currency, cfg: c}
	s.tables = s.newTables()
	if c.Jobs != nil {
		s.handleJobs()
	}
	return s
}

// ByKeys returns the payments with these keys, in any order.
func (s *Service) ByKeys(ctx context.Context, keys []id.Key) ([]*Payment, error) {
	return batch(ctx, s, paymentsByKey, s.tables.payments, keys)
}

// PaymentsOf returns the payments of the orders: by order, the oldest first.
func (s *Service) PaymentsOf(ctx context.Context, orders []id.Key) ([]*Payment, error) {
	return batch(ctx, s, paymentsByOrder, s.tables.payments, orders)
}

// List returns a page of all payments. For staff: others get Forbidden or Unauthenticated. A filter, sort or cursor that
// makes no sense gets BadUserInput.
func (s *Service) List(ctx context.Context, f Filter, sort Sort, args page.Args) (*Connection, error) {
	b, err := s.filter(ctx, f)
	if err != nil {
		return nil, err
	}
	if sort.Field != SortCreatedAt {
		return nil, fault.Input("payments can not be sorted by this", "sort", "field")
	}
	desc := sort.Direction != page.Ascending
	name := fmt.Sprintf("payments/%s/%t", sort.Field, desc)
	// IDs sort by the time they were made.
	keys := []postgres.Key{{Expr: "p.id", Cast: "uuid", Desc: desc}}
	w, err := args.Window(name, len(keys))
	if err != nil {
		return nil, err
	}
	tail, err := b.Page(w, keys)
	if err != nil {
		return nil, err
	}
	payments := s.tables.payments.In(ctx)
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "payments.list", SQL: "SELECT " + payments.SQL + " " + fromPayments + b.Where() + tail,
		Reads: postgres.All("payments.payments"),
	}, payments.Scan, b.Args()...)
	if err != nil {
		return nil, err
	}
	cursor := func(p *Payment) string { return page.Cursor(name, p.ID.String()) }
	return &Connection{Connection: page.Build(w, rows, cursor), Filter: f}, nil
}

// Count returns how many payments List has in all. For staff, like List.
func (s *Service) Count(ctx context.Context, f Filter) (int, error) {
	b, err := s.filter(ctx, f)
	if err != nil {
		return 0, err
	}
	n, _, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name: "payments.count", SQL: "SELECT count(*) FROM payments.payments p" + b.Where(),
		Reads: postgres.All("payments.payments"),
	}, pgx.RowTo[int], b.Args()...)
	return n, err
}

// EventsOf returns the ledgers of the payments: by payment, then by when it happened.
func (s *Service) EventsOf(ctx context.Context, payments []id.Key) ([]*Event, error) {
	return batch(ctx, s, eventsByPayment, s.tables.events, payments)
}

// Events returns the ledger's entries with these keys, in any order.
func (s *Service) Events(ctx context.Context, keys []id.Key) ([]*Event, error) {
	return batch(ctx, s, eventsByKey, s.tables.events, keys)
}

// TotalsOf returns the sums of the ledgers of the payments. Payments without entries, and those that the viewer may not
// see, are left out: their sums are zero.
func (s *Service) TotalsOf(ctx context.Context, payments []id.Key) (map[id.Key]Totals, error) {
	rows, err := batch(ctx, s, totalsByPayment, s.tables.sums, payments)
	if err != nil {
		return nil, err
	}
	totals := make(map[id.Key]Totals, len(rows))
	for _, r := range rows {
		totals[id.Key{Owner: r.Owner, ID: r.PaymentID}] = r.totals()
	}
	return totals, nil
}

// TotalsOfOrders returns the sums of the ledgers of all payments of the orders. Orders without entries, and those that
// the viewer may not see, are left out: their sums are zero.
func (s *Service) TotalsOfOrders(ctx context.Context, orders []id.Key) (map[id.Key]Totals, error) {
	rows, err := batch(ctx, s, totalsByOrder, s.tables.sums, orders)
	if err != nil {
		return nil, err
	}
	totals := make(map[id.Key]Totals, len(orders))
	for _, r := range rows {
		order := id.Key{Owner: r.Owner, ID: r.OrderID}
		sum, one := totals[order], r.totals()
		totals[order] = Totals{
			Authorized: sum.Authorized + one.Authorized,
			Captured:   sum.Captured + one.Captured,
			Refunded:   sum.Refunded + one.Refunded,
		}
	}
	return totals, nil
}

// sums are those of the ledger of one payment, in minor units of its currency.
type sums struct {
	Owner, PaymentID, OrderID              uuid.UUID
	Authorized, Voided, Captured, Refunded int64
}

// totals can not promise less than nothing: a void may be reported before what it voids. That holds for each payment, so
// that such a void does not eat up what another payment of the order promises.
func (s sums) totals() Totals {
	return Totals{Authorized: max(s.Authorized-s.Voided, 0), Captured: s.Captured, Refunded: s.Refunded}
}

// filter returns the conditions on payments.payments p for what the filter lets through, or refuses the viewer. An empty
// list of statuses asks for nothing.
func (s *Service) filter(ctx context.Context, f Filter) (*postgres.Builder, error) {
	if err := mayList(ctx); err != nil {
		return nil, err
	}
	b := &postgres.Builder{}
	if len(f.Statuses) > 0 {
		b.And("p.status = ANY(?)", f.Statuses)
	}
	if f.Provider != nil {
		b.And("p.provider = ?", *f.Provider)
	}
	if r := f.CreatedAt; r != nil {
		if r.From != nil && r.Until != nil && r.Until.Before(*r.From) {
			return nil, fault.Input("the range ends before it begins", "filter", "createdAt")
		}
		if r.From != nil {
			b.And("p.created_at >= ?", *r.From)
		}
		if r.Until != nil {
			b.And("p.created_at < ?", *r.Until)
		}
	}
	if f.Amount != nil {
		from, to, err := f.Amount.Minor(s.currency)
		if err != nil {
			if e, ok := errors.AsType[*fault.Error](err); ok {
				return nil, fault.Input(e.Message, "filter", "amount")
			}
			return nil, err
		}
		b.And("p.currency = ?", s.currency)
		if from != nil {
			b.And("p.amount >= ?", *from)
		}
		if to != nil {
			b.And("p.amount <= ?", *to)
		}
	}
	return b, nil
}

// mayList refuses those who are not staff.
func mayList(ctx context.Context) error {
	switch {
	case auth.Staff(ctx):
		return nil
	case !auth.From(ctx).SignedIn():
		return fault.New(fault.Unauthenticated, "sign in to see payments")
	default:
		return fault.New(fault.Forbidden, "only staff may list payments")
	}
}
