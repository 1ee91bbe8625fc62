package order

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/feed"
	"emporium/internal/id"
	"emporium/internal/jobs"
	"emporium/internal/money"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/product"
	"emporium/internal/seal"
	"emporium/internal/user"
)

// Service reads and writes orders. It is safe for concurrent use.
//
// The viewer is the actor of the context (see [auth.From]). Customers see their own orders, but for those that the shop is
// still writing, and what belongs to them, staff sees everybody's; what the viewer may not see is left out exactly as if it did not exist. Batch reads return
// what they find and take one statement however many keys there are; a viewer who owns none of the keys costs none.
type Service struct {
	db          *postgres.DB
	sealer      *seal.Sealer
	currency    money.Currency
	products    *product.Service
	users       *user.Service
	taxRule     TaxRule
	taxIncluded bool
	now         func() time.Time
	payments    Payments
	jobs        *jobs.Queue
	notify      func(ctx context.Context, o *Order, n Notice) error
	log         *slog.Logger
	at          func(point string)
	tables      tables
	changes     *feed.Feed[id.Key]
}

// Config is what the service works with. DB and Sealer are needed by all of it; Products and Users, whose verbs it calls
// outside of its own transactions, by carts and orders; Payments and Jobs by what changes orders.
type Config struct {
	DB       *postgres.DB // holds the schema "orders"
	Sealer   *seal.Sealer
	Currency money.Currency // the shop's: of carts and new orders, and of the amounts of filters

	Products *product.Service
	Users    *user.Service // the address book

	TaxRule     TaxRule // nil: the rates in the table orders.tax_rates
	TaxIncluded bool    // prices include the tax

	Payments Payments
	Jobs     *jobs.Queue                                         // of the same database
	Notify   func(ctx context.Context, o *Order, n Notice) error // tells a customer; nil: nobody is told

	Log *slog.Logger     // nil: nothing is logged
	Now func() time.Time // nil: time.Now
	At  func(string)     // told of each step of an order, for tests that kill the process there; nil in production
}

// New returns the service; it does no I/O.
func New(cfg Config) *Service {
	if cfg.TaxRule == nil {
		cfg.TaxRule = tableTax{cfg.DB}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Service{db: cfg.DB, sealer: cfg.Sealer, currency: cfg.Currency, products: cfg.Products, users: cfg.Users,
		taxRule: cfg.TaxRule, taxIncluded: cfg.TaxIncluded, payments: cfg.Payments, jobs: cfg.Jobs, notify: cfg.Notify,
		log: cfg.Log, now: cfg.Now, at: cfg.At}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.at == nil {
		s.at = func(string) {}
	}
	s.tables = s.newTables()
	s.changes = feed.New(s.changedSince, s.log)
	if cfg.Jobs != nil {
		s.runJobs(cfg.Jobs)
	}
	return s
}

// ByKeys returns the orders with these keys, in any order.
func (s *Service) ByKeys(ctx context.Context, keys []id.Key) ([]*Order, error) {
	by := ordersByKey
	if !auth.Staff(ctx) {
		by = publishedByKey
	}
	return batch(ctx, s, by, s.tables.orders, keys)
}

// ByNumber returns the order with this number, in any case and between blanks; nil if the viewer may see none.
func (s *Service) ByNumber(ctx context.Context, number string) (*Order, error) {
	number, ok := parseNumber(number)
	if !ok {
		return nil, nil
	}
	var b postgres.Builder
	b.And(hasNumber, number)
	reads := numbersByNumber.OfTexts(number)
	if auth.Staff(ctx) {
		reads = append(reads, postgres.All("orders.orders")...) // whichever has it, or comes to have it
	} else {
		viewer := auth.From(ctx)
		if !viewer.SignedIn() {
			return nil, nil
		}
		reads = append(reads, ordersByOwner.Of(viewer.ID)...)
		b.And("o.owner_id = ?", viewer.ID)
		b.And(notDraft)
	}
	orders := s.tables.orders.In(ctx)
	o, _, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name: "orders.order_by_number", SQL: "SELECT " + orders.SQL + " " + fromOrders + b.Where(),
		Reads: reads,
	}, orders.Scan, b.Args()...)
	return o, err
}

// OwnerByNumber returns who owns the order with this number, in any case and between blanks, and whether there is one.
// For staff: others get Forbidden or Unauthenticated.
func (s *Service) OwnerByNumber(ctx context.Context, number string) (uuid.UUID, bool, error) {
	switch {
	case auth.Staff(ctx):
	case !auth.From(ctx).SignedIn():
		return uuid.Nil, false, errAnonymous()
	default:
		return uuid.Nil, false, fault.New(fault.Forbidden, "only staff may find customers by the number of an order")
	}
	number, ok := parseNumber(number)
	if !ok {
		return uuid.Nil, false, nil
	}
	return postgres.First(ctx, s.db, postgres.Stmt{
		Name: "orders.owner_by_number", SQL: ownerByNumber, Reads: numbersByNumber.OfTexts(number),
	}, pgx.RowTo[uuid.UUID], number)
}

func errAnonymous() error { return fault.New(fault.Unauthenticated, "sign in to see orders") }

// List returns a page of the viewer's own orders, for staff of everybody's. Anonymous viewers get Unauthenticated; a
// filter, sort or cursor that makes no sense gets BadUserInput.
func (s *Service) List(ctx context.Context, f Filter, sort Sort, args page.Args) (*Connection, error) {
	b, reads, err := s.filter(ctx, f)
	if err != nil {
		return nil, err
	}
	by, err := sort.listing()
	if err != nil {
		return nil, err
	}
	w, err := args.Window(by.name, len(by.keys))
	if err != nil {
		return nil, err
	}
	tail, err := b.Page(w, by.keys)
	if err != nil {
		return nil, err
	}
	orders := s.tables.orders.In(ctx, by.needed...)
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "orders.list", SQL: "SELECT " + orders.SQL + " " + fromOrders + b.Where() + tail, Reads: reads,
	}, orders.Scan, b.Args()...)
	if err != nil {
		return nil, err
	}
	return &Connection{Connection: page.Build(w, rows, by.cursor), Filter: f}, nil
}

// Count returns how many orders List has in all.
func (s *Service) Count(ctx context.Context, f Filter) (int, error) {
	b, reads, err := s.filter(ctx, f)
	if err != nil {
		return 0, err
	}
	n, _, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name: "orders.count", SQL: "SELECT count(*) FROM orders.orders o" + b.Where(), Reads: reads,
	}, pgx.RowTo[int], b.Args()...)
	return n, err
}

// ListByOwners returns a page of the orders of each owner, the newest first, in one statement for all. Each owner asked
// for has a connection, which is empty if the viewer may see none of the orders.
func (s *Service) ListByOwners(ctx context.Context, owners []uuid.UUID, args page.Args) (map[uuid.UUID]*Connection, error) {
	by, err := newestFirst.listing()
	if err != nil {
		return nil, err
	}
	w, err := args.Window(by.name, len(by.keys))
	if err != nil {
		return nil, err
	}
	var b postgres.Builder
	visible := visibleOwners(ctx, owners)
	if len(visible) == 1 {
		b.And("o.owner_id = ?", visible[0])
	} else {
		b.And("o.owner_id = w.owner_id")
	}
	if !auth.Staff(ctx) {
		b.And(notDraft)
	}
	tail, err := b.Page(w, by.keys)
	if err != nil {
		return nil, err
	}
	found := make(map[uuid.UUID][]*Order, len(owners))
	if len(visible) > 0 {
		orders := s.tables.orders.In(ctx)
		stmt := postgres.Stmt{Name: "orders.list_by_owner", Reads: ordersByOwner.Of(visible...),
			SQL: "SELECT " + orders.SQL + " " + fromOrders + b.Where() + tail}
		if len(visible) > 1 {
			direction := "DESC"
			if w.Backward {
				direction = "ASC"
			}
			stmt.Reads = append(stmt.Reads, ownersByOwner.Of(visible...)...)
			stmt.SQL = "SELECT o.* FROM orders.owners w CROSS JOIN LATERAL (" + stmt.SQL + ") o WHERE w.owner_id = ANY(" +
				b.Arg(visible) + ") ORDER BY o.owner, o.id " + direction
		}
		rows, err := postgres.Select(ctx, s.db, stmt, orders.Scan, b.Args()...)
		if err != nil {
			return nil, err
		}
		for _, o := range rows {
			found[o.Owner] = append(found[o.Owner], o)
		}
	}
	pages := make(map[uuid.UUID]*Connection, len(owners))
	for _, owner := range owners {
		pages[owner] = &Connection{Connection: page.Build(w, found[owner], by.cursor), Owner: &owner}
	}
	return pages, nil
}

// CountByOwners returns how many orders each owner has; owners without any that the viewer may see are left out.
func (s *Service) CountByOwners(ctx context.Context, owners []uuid.UUID) (map[uuid.UUID]int, error) {
	counts := make(map[uuid.UUID]int, len(owners))
	visible := visibleOwners(ctx, owners)
	if len(visible) == 0 {
		return counts, nil
	}
	var b postgres.Builder
	b.And("o.owner_id = ANY(?)", visible)
	if !auth.Staff(ctx) {
		b.And(notDraft)
	}
	type count struct {
		owner uuid.UUID
		n     int
	}
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "orders.count_by_owner", SQL: "SELECT o.owner_id, count(*) FROM orders.orders o" + b.Where() + " GROUP BY o.owner_id",
		Reads: ordersByOwner.Of(visible...),
	}, func(row pgx.CollectableRow) (c count, err error) { return c, row.Scan(&c.owner, &c.n) }, b.Args()...)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		counts[row.owner] = row.n
	}
	return counts, nil
}

// LinesOf returns the lines of the orders: by order, then by position.
func (s *Service) LinesOf(ctx context.Context, orders []id.Key) ([]*Line, error) {
	return batch(ctx, s, linesByOrder, s.tables.lines, orders)
}

// Lines returns the lines with these keys, in any order.
func (s *Service) Lines(ctx context.Context, keys []id.Key) ([]*Line, error) {
	return batch(ctx, s, linesByKey, s.tables.lines, keys)
}

// FulfillmentsOf returns the parcels of the orders: by order, the oldest first.
func (s *Service) FulfillmentsOf(ctx context.Context, orders []id.Key) ([]*Fulfillment, error) {
	return batch(ctx, s, fulfillmentsByOrder, s.tables.fulfillments, orders)
}

// Fulfillments returns the parcels with these keys, in any order.
func (s *Service) Fulfillments(ctx context.Context, keys []id.Key) ([]*Fulfillment, error) {
	return batch(ctx, s, fulfillmentsByKey, s.tables.fulfillments, keys)
}

// FulfillmentLinesOf returns what is in the parcels: by parcel, then as the lines stand in the order.
func (s *Service) FulfillmentLinesOf(ctx context.Context, fulfillments []id.Key) ([]*FulfillmentLine, error) {
	return batch(ctx, s, fulfillmentLines, s.tables.fulfillmentLines, fulfillments)
}

// EventsOf returns what happened to the orders: by order, the oldest first.
func (s *Service) EventsOf(ctx context.Context, orders []id.Key) ([]*Event, error) {
	return batch(ctx, s, eventsByOrder, s.tables.events, orders)
}

// Events returns the events with these keys, in any order.
func (s *Service) Events(ctx context.Context, keys []id.Key) ([]*Event, error) {
	return batch(ctx, s, eventsByKey, s.tables.events, keys)
}

// visibleOwners returns those of the owners whose orders the viewer may ask for.
func visibleOwners(ctx context.Context, owners []uuid.UUID) []uuid.UUID {
	sees := auth.Sees(ctx)
	return slices.DeleteFunc(slices.Clone(owners), func(o uuid.UUID) bool { return !sees(o) })
}

// filter returns the conditions on orders.orders o for what the viewer may see and the filter lets through, and the tags
// of what they read. An empty list of statuses asks for nothing.
func (s *Service) filter(ctx context.Context, f Filter) (*postgres.Builder, []postgres.Read, error) {
	b, reads := &postgres.Builder{}, postgres.All("orders.orders")
	if !auth.Staff(ctx) {
		viewer := auth.From(ctx)
		if !viewer.SignedIn() {
			return nil, nil, errAnonymous()
		}
		b.And("o.owner_id = ?", viewer.ID)
		b.And(notDraft)
		reads = ordersByOwner.Of(viewer.ID)
	}
	if f.CustomerID != nil {
		if f.CustomerID.Kind != id.User {
			return nil, nil, fault.Input("`customerId` is not the ID of a user", "filter", "customerId")
		}
		b.And("o.owner_id = ?", f.CustomerID.Key)
		reads = ordersByOwner.Of(f.CustomerID.Key)
	}
	if len(f.Statuses) > 0 {
		b.And("o.status = ANY(?)", f.Statuses)
	}
	if len(f.PaymentStatuses) > 0 {
		b.And("o.payment_status = ANY(?)", f.PaymentStatuses)
	}
	if len(f.FulfillmentStatuses) > 0 {
		b.And("o.fulfillment_status = ANY(?)", f.FulfillmentStatuses)
	}
	if r := f.CreatedAt; r != nil {
		if r.From != nil && r.Until != nil && r.Until.Before(*r.From) {
			return nil, nil, fault.Input("the range ends before it begins", "filter", "createdAt")
		}
		if r.From != nil {
			b.And("o.created_at >= ?", *r.From)
		}
		if r.Until != nil {
			b.And("o.created_at < ?", *r.Until)
		}
	}
	if f.Total != nil {
		from, to, err := f.Total.Minor(s.currency)
		if err != nil {
			return nil, nil, inField(err, "filter", "total")
		}
		b.And("o.currency = ?", s.currency)
		if from != nil {
			b.And("o.total >= ?", *from)
		}
		if to != nil {
			b.And("o.total <= ?", *to)
		}
	}
	if f.Number != nil {
		if number, ok := parseNumber(*f.Number); ok {
			b.And(hasNumber, number)
			reads = append(reads, numbersByNumber.OfTexts(number)...)
		} else {
			b.And("false")
		}
	}
	if f.Email != nil {
		email, err := seal.NormalizeEmail(*f.Email)
		if err != nil {
			return nil, nil, inField(err, "filter", "email")
		}
		b.And("o.email_index = ?", s.sealer.Index(emailIndex, email))
	}
	return b, reads, nil
}

// inField says which field of the input an error with a public message is about.
func inField(err error, field ...string) error {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return fault.Input(e.Message, field...)
	}
	return err
}

var newestFirst = Sort{Field: SortCreatedAt, Direction: page.Descending}

// listing is how a list is read in the order of a Sort.
type listing struct {
	name   string // what its cursors are made for
	keys   []postgres.Key
	needed []string // the fields that its cursors are made of, beside the ID
	cursor func(*Order) string
}

func (o Sort) listing() (listing, error) {
	desc := o.Direction != page.Ascending
	l := listing{name: fmt.Sprintf("orders/%s/%t", o.Field, desc)}
	byID := postgres.Key{Expr: "o.id", Cast: "uuid", Desc: desc}
	switch o.Field {
	case SortCreatedAt:
		// IDs sort by the time they were made, and owners' lists are the primary key.
		l.keys = []postgres.Key{byID}
		l.cursor = func(o *Order) string { return page.Cursor(l.name, o.ID.String()) }
	case SortTotal:
		l.keys, l.needed = []postgres.Key{{Expr: "o.total", Cast: "bigint", Desc: desc}, byID}, []string{"TotalMinor"}
		l.cursor = func(o *Order) string {
			return page.Cursor(l.name, strconv.FormatInt(o.TotalMinor, 10), o.ID.String())
		}
	default:
		return l, fault.Input("orders can not be sorted by this", "sort", "field")
	}
	return l, nil
}
