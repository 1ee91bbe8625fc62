package order_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/seal"
)

var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type shop struct {
	*order.Service
	db   *postgres.DB
	keys *seal.Keyset
	dbs  *pgtest.Databases
}

func open(t testing.TB) *shop {
	t.Helper()
	dbs, keys := pgtest.New(t), seal.New()
	return &shop{order.New(order.Config{DB: dbs.Orders, Sealer: sealer(t, keys), Currency: "EUR"}), dbs.Orders, keys, dbs}
}

func sealer(t testing.TB, keys *seal.Keyset) *seal.Sealer {
	t.Helper()
	s, err := seal.NewSealer(keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shop) load(t testing.TB, drafts ...*order.Draft) {
	t.Helper()
	if err := s.Load(t.Context(), slices.Values(drafts), nil); err != nil {
		t.Fatal(err)
	}
}

// rows runs a statement that returns one text for each row, beside the service.
func (s *shop) rows(t testing.TB, sql string, args ...any) []string {
	t.Helper()
	found, err := postgres.Select(t.Context(), s.db, postgres.Stmt{Name: "test", SQL: sql, Reads: allTables}, pgx.RowTo[string], args...)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var tables = []string{"orders.owners", "orders.orders", "orders.order_numbers", "orders.lines", "orders.fulfillments",
	"orders.fulfillment_lines", "orders.events"}

var allTables = postgres.All(append(tables, "orders.carts", "orders.cart_lines", "orders.cart_tokens", "orders.discounts",
	"orders.discount_redemptions", "orders.shipping_methods", "orders.shipping_rates", "orders.tax_rates")...)

func as(ctx context.Context, user uuid.UUID, roles ...auth.Role) context.Context {
	return auth.With(ctx, auth.Actor{ID: user, Roles: auth.Roles(roles...)})
}

func staff(ctx context.Context) context.Context { return as(ctx, id.New(), auth.RoleSupport) }

// draft is an order of 50.00 EUR with two lines, two parcels and three events.
func draft(owner uuid.UUID, at time.Time, edits ...func(*order.Draft)) *order.Draft {
	next := func() uuid.UUID { return id.At(at, uuid.New()) }
	oid, first, second, sent, packed := next(), next(), next(), next(), next()
	later := at.Add(time.Hour)
	d := &order.Draft{
		Order: order.Order{
			Owner: owner, ID: oid, Number: order.NewNumber(),
			Status: order.StatusConfirmed, PaymentStatus: order.PaymentPaid, FulfillmentStatus: order.PartiallyFulfilled,
			Email: new("kim.lee@example.com"),
			ShippingAddress: &order.PostalAddress{Owner: owner, Name: "Kim Lee", Company: new("Lee & Sons"), Line1: "Am Markt 1",
				Line2: new("3rd floor"), City: "Köln", Region: new("NRW"), PostalCode: new("50667"), Country: "DE", Phone: new("+492211234567")},
			BillingAddress: &order.PostalAddress{Owner: owner, Name: "Robin Lee", Line1: "Ring 2", City: "Bonn", Country: "DE"},
			Currency:       "EUR", SubtotalMinor: 5000, DiscountMinor: 500, ShippingMinor: 500, TaxMinor: 798, TaxIncluded: true,
			TotalMinor: 5000, CreatedAt: at, PlacedAt: new(at.Add(time.Minute)),
			Taxes: []order.OrderTax{{Name: "VAT", BasisPoints: 1900, Minor: 798}}, ShippingMethod: new("Standard"),
			DiscountCode: new("TEN"), Note: new("Ring twice."), ExpiresAt: new(at.Add(time.Hour)),
		},
		Lines: []order.Line{
			{Owner: owner, ID: first, OrderID: oid, Position: 1, ProductID: next(), VariantID: next(), Title: "Mug",
				VariantTitle: new("blue"), SKU: new("MUG-1"), ImageURL: new("https://example.com/mug.jpg"), Quantity: 3,
				Currency: "EUR", UnitPriceMinor: 1000, DiscountMinor: 500, TaxMinor: 399, TotalMinor: 2500},
			{Owner: owner, ID: second, OrderID: oid, Position: 2, ProductID: next(), VariantID: next(), Title: "Pot", Quantity: 1,
				Currency: "EUR", UnitPriceMinor: 2000, TaxMinor: 399, TotalMinor: 2000},
		},
		Fulfillments: []order.Fulfillment{
			{Owner: owner, ID: sent, OrderID: oid, Status: order.ParcelDelivered, Carrier: new("DHL"), TrackingNumber: new("0034"),
				TrackingURL: new("https://example.com/0034"), CreatedAt: at, ShippedAt: &later, DeliveredAt: new(later.Add(time.Hour))},
			{Owner: owner, ID: packed, OrderID: oid, Status: order.ParcelPending, CreatedAt: later},
		},
		FulfillmentLines: []order.FulfillmentLine{
			{Owner: owner, FulfillmentID: sent, LineID: first, Quantity: 2},
			{Owner: owner, FulfillmentID: sent, LineID: second, Quantity: 1},
			{Owner: owner, FulfillmentID: packed, LineID: first, Quantity: 1},
		},
		Events: []order.Event{
			{Owner: owner, ID: next(), OrderID: oid, Kind: order.EventCreated, CreatedAt: at},
			{Owner: owner, ID: next(), OrderID: oid, Kind: order.EventPlaced, Message: "Placed.", CreatedAt: at.Add(time.Minute)},
			{Owner: owner, ID: next(), OrderID: oid, Kind: order.EventShipped, Message: "Sent.", ActorID: new(id.New()), CreatedAt: later},
		},
	}
	for _, edit := range edits {
		edit(d)
	}
	return d
}

// costs makes the order's total the amount of minor units.
func costs(total int64) func(*order.Draft) {
	return func(d *order.Draft) {
		o := &d.Order
		o.SubtotalMinor, o.DiscountMinor, o.ShippingMinor, o.TaxMinor, o.TotalMinor = total, 0, 0, 0, total
	}
}

// equal compares two values deeply.
func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, dump(got), dump(want))
	}
}

func dump(v any) string {
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Slice {
		return fmt.Sprintf("%+v", reflect.Indirect(r))
	}
	lines := make([]string, r.Len())
	for i := range lines {
		lines[i] = fmt.Sprintf("\n  %+v", reflect.Indirect(r.Index(i)))
	}
	return fmt.Sprintf("%d items%s", len(lines), strings.Join(lines, ""))
}

// pointers returns a pointer to each item.
func pointers[T any](items []T) []*T {
	all := make([]*T, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	return all
}

// keysOf returns the texts of the keys of the items.
func keysOf[T any](items []T, key func(T) id.Key) []string {
	all := make([]string, len(items))
	for i, item := range items {
		k := key(item)
		all[i] = k.Owner.String() + "/" + k.ID.String()
	}
	slices.Sort(all)
	return all
}

func TestWhatIsReadIsWhatWasLoaded(t *testing.T) {
	t.Parallel()
	s, owner := open(t), id.New()
	full := draft(owner, day)
	bare := draft(owner, day.Add(time.Hour), func(d *order.Draft) {
		o := &d.Order
		o.Status, o.PaymentStatus, o.FulfillmentStatus = order.StatusPending, order.PaymentUnpaid, order.Unfulfilled
		o.Email, o.ShippingAddress, o.BillingAddress, o.PlacedAt = nil, nil, nil, nil
		d.Lines, d.Fulfillments, d.FulfillmentLines, d.Events = d.Lines[:1], nil, nil, nil
	})
	canceled := draft(owner, day.Add(2*time.Hour), func(d *order.Draft) {
		d.Order.Status, d.Order.CanceledAt = order.StatusCanceled, new(day.Add(3*time.Hour))
	})
	s.load(t, full, bare, canceled)
	ctx := as(t.Context(), owner, auth.RoleCustomer)
	keys := []id.Key{full.Order.Key(), bare.Order.Key(), canceled.Order.Key()}
	slices.SortFunc(keys, func(a, b id.Key) int { return strings.Compare(a.ID.String(), b.ID.String()) })

	orders, err := s.ByKeys(ctx, keys)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(orders, func(a, b *order.Order) int { return a.CreatedAt.Compare(b.CreatedAt) })
	equal(t, "orders", orders, []*order.Order{&full.Order, &bare.Order, &canceled.Order})

	lines, err := s.LinesOf(ctx, keys)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "lines", lines, pointers(slices.Concat(full.Lines, bare.Lines, canceled.Lines)))
	parcels, err := s.FulfillmentsOf(ctx, keys)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "parcels", parcels, pointers(slices.Concat(full.Fulfillments, canceled.Fulfillments)))
	events, err := s.EventsOf(ctx, keys)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "events", events, pointers(slices.Concat(full.Events, canceled.Events)))
	for i := range full.Fulfillments {
		f := &full.Fulfillments[i]
		packed, err := s.FulfillmentLinesOf(ctx, []id.Key{f.Key()})
		if err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(slices.Clone(full.FulfillmentLines), func(l order.FulfillmentLine) bool {
			return l.FulfillmentID != f.ID
		})
		equal(t, "lines of a parcel", packed, pointers(want))
	}
}

// TestOwnership runs every verb as everybody who may come along: who owns, who owns something else, who owns nothing.
func TestOwnership(t *testing.T) {
	t.Parallel()
	s, ann, bob := open(t), id.New(), id.New()
	of := map[uuid.UUID]*order.Draft{ann: draft(ann, day), bob: draft(bob, day.Add(time.Hour))}
	s.load(t, of[ann], of[bob])
	before := s.rows(t, "SELECT o::text FROM orders.orders o ORDER BY id")

	// Keys of both, of nobody, and forged ones: the ID of the one beside the owner of the other.
	asked := func(keys func(*order.Draft) []id.Key) []id.Key {
		all := []id.Key{{Owner: id.New(), ID: id.New()}}
		for _, d := range of {
			for _, k := range keys(d) {
				all = append(all, k, id.Key{Owner: k.Owner, ID: id.New()})
			}
		}
		return all
	}
	forged := func(keys func(*order.Draft) []id.Key) []id.Key {
		return []id.Key{{Owner: ann, ID: keys(of[bob])[0].ID}, {Owner: uuid.Nil, ID: keys(of[bob])[0].ID}}
	}
	orderKeys := func(d *order.Draft) []id.Key { return []id.Key{d.Order.Key()} }
	lineKeys := func(d *order.Draft) []id.Key { return []id.Key{d.Lines[0].Key(), d.Lines[1].Key()} }
	parcelKeys := func(d *order.Draft) []id.Key { return []id.Key{d.Fulfillments[0].Key(), d.Fulfillments[1].Key()} }
	eventKeys := func(d *order.Draft) []id.Key {
		return []id.Key{d.Events[0].Key(), d.Events[1].Key(), d.Events[2].Key()}
	}
	packedKeys := func(d *order.Draft) (keys []id.Key) {
		for _, l := range d.FulfillmentLines {
			keys = append(keys, l.FulfillmentKey())
		}
		return keys
	}
	self := func(k id.Key) id.Key { return k }

	batches := []struct {
		name   string
		keys   func(*order.Draft) []id.Key // to ask for
		expect func(*order.Draft) []id.Key // to come back, for who may see it
		read   func(context.Context, []id.Key) ([]string, error)
	}{
		{"ByKeys", orderKeys, orderKeys, func(ctx context.Context, k []id.Key) ([]string, error) {
			got, err := s.ByKeys(ctx, k)
			return keysOf(got, (*order.Order).Key), err
		}},
		{"LinesOf", orderKeys, lineKeys, func(ctx context.Context, k []id.Key) ([]string, error) {
			got, err := s.LinesOf(ctx, k)
			return keysOf(got, (*order.Line).Key), err
		}},
		{"Lines", lineKeys, lineKeys, func(ctx context.Context, k []id.Key) ([]string, error) {
			got, err := s.Lines(ctx, k)
			return keysOf(got, (*order.Line).Key), err
		}},
		{"FulfillmentsOf", orderKeys, parcelKeys, func(ctx context.Context, k []id.Key) ([]string, error) {
			got, err := s.FulfillmentsOf(ctx, k)
			return keysOf(got, (*order.Fulfillment).Key), err
		}},
		{"Fulfillments", parcelKeys, parcelKeys, func(ctx context.Context, k []id.Key) ([]string, error) {
			got, err := s.Fulfillments(ctx, k)
			return keysOf(got, (*order.Fulfillment).Key), err
		}},
		{"FulfillmentLinesOf", parcelKeys, packedKeys, func(ctx context.Context, k []id.Key) ([]string, error) {
			got, err := s.FulfillmentLinesOf(ctx, k)
			return keysOf(got, (*order.FulfillmentLine).FulfillmentKey), err
		}},
		{"EventsOf", orderKeys, eventKeys, func(ctx context.Context, k []id.Key) ([]string, error) {
			got, err := s.EventsOf(ctx, k)
			return keysOf(got, (*order.Event).Key), err
		}},
		{"Events", eventKeys, eventKeys, func(ctx context.Context, k []id.Key) ([]string, error) {
			got, err := s.Events(ctx, k)
			return keysOf(got, (*order.Event).Key), err
		}},
	}

	for _, viewer := range []struct {
		name  string
		actor auth.Actor
		sees  []uuid.UUID
	}{
		{"anonymous", auth.Actor{}, nil},
		{"anonymous with a role", auth.Actor{Roles: auth.Roles(auth.RoleAdmin)}, nil},
		{"owner", auth.Actor{ID: ann, Roles: auth.Roles(auth.RoleCustomer)}, []uuid.UUID{ann}},
		{"other owner", auth.Actor{ID: bob, Roles: auth.Roles(auth.RoleCustomer)}, []uuid.UUID{bob}},
		{"customer without orders", auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleCustomer)}, nil},
		{"machine", auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleService)}, nil},
		{"support", auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleSupport)}, []uuid.UUID{ann, bob}},
		{"manager", auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleManager)}, []uuid.UUID{ann, bob}},
		{"admin", auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleAdmin)}, []uuid.UUID{ann, bob}},
		{"manager who buys", auth.Actor{ID: ann, Roles: auth.Roles(auth.RoleCustomer, auth.RoleManager)}, []uuid.UUID{ann, bob}},
	} {
		t.Run(viewer.name, func(t *testing.T) {
			as := func() (context.Context, *postgres.Recorder) {
				return postgres.Record(auth.With(t.Context(), viewer.actor))
			}
			atMost := func(what string, r *postgres.Recorder) {
				if n := len(r.Statements()); n > 1 || n > 0 && !viewer.actor.SignedIn() {
					t.Errorf("%s took %v", what, r.Statements())
				}
			}
			want := func(keys func(*order.Draft) []id.Key) []string {
				var all []id.Key
				for _, owner := range viewer.sees {
					all = append(all, keys(of[owner])...)
				}
				return keysOf(all, self)
			}
			for _, b := range batches {
				ctx, r := as()
				got, err := b.read(ctx, asked(b.keys))
				if err != nil || !slices.Equal(got, want(b.expect)) {
					t.Errorf("%s = %v, %v; want %v", b.name, got, err, want(b.expect))
				}
				atMost(b.name, r)
				if got, err := b.read(ctx, forged(b.keys)); err != nil || len(got) != 0 {
					t.Errorf("%s of forged keys = %v, %v", b.name, got, err)
				}
				if got, err := b.read(ctx, nil); err != nil || len(got) != 0 {
					t.Errorf("%s of no keys = %v, %v", b.name, got, err)
				}
			}

			for owner, d := range of {
				ctx, r := as()
				sees := slices.Contains(viewer.sees, owner)
				got, err := s.ByNumber(ctx, d.Order.Number)
				if err != nil || (got != nil) != sees {
					t.Fatalf("ByNumber = %+v, %v; want one: %t", got, err, sees)
				}
				if sees {
					equal(t, "ByNumber", got, &d.Order)
				}
				atMost("ByNumber", r)

				ctx, r = as()
				who, ok, err := s.OwnerByNumber(ctx, d.Order.Number)
				switch {
				case !viewer.actor.SignedIn():
					if !fault.Is(err, fault.Unauthenticated) || ok || who != uuid.Nil {
						t.Errorf("OwnerByNumber = %s, %t, %v", who, ok, err)
					}
				case !viewer.actor.Staff():
					if !fault.Is(err, fault.Forbidden) || ok || who != uuid.Nil || len(r.Statements()) != 0 {
						t.Errorf("OwnerByNumber = %s, %t, %v", who, ok, err)
					}
				default:
					if err != nil || !ok || who != owner {
						t.Errorf("OwnerByNumber = %s, %t, %v", who, ok, err)
					}
				}
				atMost("OwnerByNumber", r)
			}

			ctx, r := as()
			list, err := s.List(ctx, order.Filter{}, byTime(page.Ascending), page.Args{First: new(10)})
			n, nerr := s.Count(ctx, order.Filter{})
			if !viewer.actor.SignedIn() {
				if !fault.Is(err, fault.Unauthenticated) || !fault.Is(nerr, fault.Unauthenticated) || list != nil || n != 0 ||
					len(r.Statements()) != 0 {
					t.Errorf("List, Count = %v, %v, %d, %v", list, err, n, nerr)
				}
			} else if err != nil || nerr != nil || n != len(viewer.sees) ||
				!slices.Equal(keysOf(list.Nodes(), (*order.Order).Key), want(orderKeys)) || len(r.Statements()) != 2 {
				t.Errorf("List, Count = %v, %v, %d, %v", list, err, n, nerr)
			}
			for owner := range of { // somebody else's orders, asked for by name
				filter := order.Filter{CustomerID: new(id.Of(id.User, owner))}
				list, err := s.List(ctx, filter, byTime(page.Ascending), page.Args{First: new(10)})
				n, nerr := s.Count(ctx, filter)
				sees := slices.Contains(viewer.sees, owner)
				if viewer.actor.SignedIn() && (err != nil || nerr != nil || (n == 1) != sees || (len(list.Edges) == 1) != sees) {
					t.Errorf("List, Count of a customer = %v, %v, %d, %v", list, err, n, nerr)
				}
			}

			ctx, r = as()
			stranger := id.New()
			pages, err := s.ListByOwners(ctx, []uuid.UUID{ann, bob, stranger}, page.Args{First: new(10)})
			if err != nil || len(pages) != 3 {
				t.Fatalf("ListByOwners = %v, %v", pages, err)
			}
			atMost("ListByOwners", r)
			ctx, r = as()
			counts, err := s.CountByOwners(ctx, []uuid.UUID{ann, bob, stranger})
			if err != nil {
				t.Fatal(err)
			}
			atMost("CountByOwners", r)
			for _, owner := range []uuid.UUID{ann, bob, stranger} {
				expect := 0
				if slices.Contains(viewer.sees, owner) {
					expect = 1
				}
				if c := pages[owner]; len(c.Edges) != expect || *c.Owner != owner || counts[owner] != expect {
					t.Errorf("%d orders, %d counted of %s; want %d", len(c.Edges), counts[owner], *c.Owner, expect)
				}
			}
		})
	}
	if after := s.rows(t, "SELECT o::text FROM orders.orders o ORDER BY id"); !slices.Equal(before, after) {
		t.Error("reading has written")
	}
}

func byTime(d page.Direction) order.Sort  { return order.Sort{Field: order.SortCreatedAt, Direction: d} }
func byTotal(d page.Direction) order.Sort { return order.Sort{Field: order.SortTotal, Direction: d} }

func TestNumbers(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^EM-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`)
	seen := map[string]bool{}
	used := [8]map[byte]bool{}
	for range 20_000 {
		n := order.NewNumber()
		if !form.MatchString(n) {
			t.Fatalf("%q has the wrong form", n)
		}
		seen[n] = true
		for i, c := range []byte(n[3:7] + n[8:]) {
			if used[i] == nil {
				used[i] = map[byte]bool{}
			}
			used[i][c] = true
		}
	}
	// 20,000 of 2⁴⁰: two equal ones come up once in 5,500 runs, three pairs of them never.
	if len(seen) < 19_998 {
		t.Errorf("only %d of 20,000 numbers differ", len(seen))
	}
	for i, digits := range used {
		if len(digits) != 32 {
			t.Errorf("place %d uses %d of 32 digits", i, len(digits))
		}
	}
	for bits, want := range map[uint64]string{
		0: "EM-0000-0000", 31: "EM-0000-000Z", 32: "EM-0000-0010", 1 << 20: "EM-0001-0000", 1<<40 - 1: "EM-ZZZZ-ZZZZ", 1 << 40: "EM-0000-0000",
	} {
		if got := order.NumberFrom(bits); got != want {
			t.Errorf("NumberFrom(%d) = %s, want %s", bits, got, want)
		}
	}

	s, owner := open(t), id.New()
	d := draft(owner, day, func(d *order.Draft) { d.Order.Number = "EM-7K3P-Q9XD" })
	s.load(t, d)
	for text, found := range map[string]bool{
		"EM-7K3P-Q9XD": true, " em-7k3p-q9xd\n": true, "EM-7K3P-Q9XE": false,
		"": false, "7K3P-Q9XD": false, "EM7K3PQ9XD": false, "EM-7K3P-Q9XD\x00": false, "%": false, "EM-7K3P-Q9X": false,
	} {
		for _, ctx := range []context.Context{as(t.Context(), owner), staff(t.Context())} {
			ctx, r := postgres.Record(ctx)
			o, err := s.ByNumber(ctx, text)
			if err != nil || (o != nil) != found || len(r.Statements()) > 1 {
				t.Errorf("ByNumber(%q) = %v, %v by %v", text, o, err, r.Statements())
			}
			n, err := s.Count(ctx, order.Filter{Number: &text})
			if err != nil || (n == 1) != found {
				t.Errorf("Count of number %q = %d, %v", text, n, err)
			}
		}
		who, ok, err := s.OwnerByNumber(staff(t.Context()), text)
		if err != nil || ok != found || found && who != owner {
			t.Errorf("OwnerByNumber(%q) = %s, %t, %v", text, who, ok, err)
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	s, ann, bob := open(t), id.New(), id.New()
	at := func(h int) time.Time { return day.Add(time.Duration(h) * time.Hour) }
	drafts := []*order.Draft{
		draft(ann, at(0), costs(1000)),
		draft(ann, at(1), costs(2000), func(d *order.Draft) {
			d.Order.Status, d.Order.PlacedAt, d.Order.PaymentStatus = order.StatusExpired, nil, order.PaymentVoided
		}),
		draft(bob, at(2), costs(2000), func(d *order.Draft) {
			d.Order.Email, d.Order.FulfillmentStatus = new("BOB@Example.com"), order.Delivered
		}),
		draft(bob, at(3), costs(3000), func(d *order.Draft) { d.Order.Currency, d.Order.Email = "USD", nil }),
	}
	s.load(t, drafts...)
	amount := func(text string) *money.Decimal {
		d, err := money.ParseDecimal(text)
		if err != nil {
			t.Fatal(err)
		}
		return &d
	}
	for _, c := range []struct {
		name   string
		filter order.Filter
		all    []int // of drafts, for staff
	}{
		{"nothing", order.Filter{}, []int{0, 1, 2, 3}},
		{"empty lists", order.Filter{Statuses: []order.Status{}}, []int{0, 1, 2, 3}},
		{"status", order.Filter{Statuses: []order.Status{order.StatusExpired}}, []int{1}},
		{"statuses", order.Filter{Statuses: []order.Status{order.StatusExpired, order.StatusConfirmed}}, []int{0, 1, 2, 3}},
		{"payment status", order.Filter{PaymentStatuses: []order.PaymentStatus{order.PaymentVoided, order.PaymentRefunded}}, []int{1}},
		{"fulfilment status", order.Filter{FulfillmentStatuses: []order.FulfillmentStatus{order.Delivered}}, []int{2}},
		{"from", order.Filter{CreatedAt: &page.TimeRange{From: new(at(1))}}, []int{1, 2, 3}},
		{"until", order.Filter{CreatedAt: &page.TimeRange{Until: new(at(1))}}, []int{0}},
		{"span", order.Filter{CreatedAt: &page.TimeRange{From: new(at(1)), Until: new(at(3))}}, []int{1, 2}},
		{"no span", order.Filter{CreatedAt: &page.TimeRange{From: new(at(1)), Until: new(at(1))}}, nil},
		{"at least", order.Filter{Total: &money.Range{Min: amount("20")}}, []int{1, 2}},
		{"at most", order.Filter{Total: &money.Range{Max: amount("20.00")}}, []int{0, 1, 2}},
		{"between", order.Filter{Total: &money.Range{Min: amount("10.01"), Max: amount("19.99")}}, nil},
		{"customer", order.Filter{CustomerID: new(id.Of(id.User, bob))}, []int{2, 3}},
		{"nobody", order.Filter{CustomerID: new(id.Of(id.User, id.New()))}, nil},
		{"number", order.Filter{Number: new(strings.ToLower(drafts[1].Order.Number))}, []int{1}},
		{"email", order.Filter{Email: new("Bob@example.com")}, []int{2}},
		{"unknown email", order.Filter{Email: new("bob@example.org")}, nil},
		{"all at once", order.Filter{
			Statuses: []order.Status{order.StatusConfirmed}, PaymentStatuses: []order.PaymentStatus{order.PaymentPaid},
			FulfillmentStatuses: []order.FulfillmentStatus{order.Delivered}, CreatedAt: &page.TimeRange{From: new(day)},
			Total: &money.Range{Min: amount("1"), Max: amount("99")}, CustomerID: new(id.Of(id.User, bob)),
			Number: &drafts[2].Order.Number, Email: new("bob@example.com"),
		}, []int{2}},
	} {
		for viewer, ctx := range map[uuid.UUID]context.Context{
			uuid.Nil: staff(t.Context()), ann: as(t.Context(), ann), bob: as(t.Context(), bob),
		} {
			want := []uuid.UUID{}
			for _, i := range c.all {
				if viewer == uuid.Nil || viewer == drafts[i].Order.Owner {
					want = append(want, drafts[i].Order.ID)
				}
			}
			list, err := s.List(ctx, c.filter, byTime(page.Ascending), page.Args{First: new(100)})
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			got := []uuid.UUID{}
			for _, o := range list.Nodes() {
				got = append(got, o.ID)
			}
			equal(t, c.name, got, want)
			equal(t, c.name+": filter", list.Filter, c.filter)
			if n, err := s.Count(ctx, c.filter); err != nil || n != len(want) {
				t.Errorf("%s: Count = %d, %v; want %d", c.name, n, err, len(want))
			}
		}
	}

	for _, c := range []struct {
		name   string
		filter order.Filter
		field  string
	}{
		{"customer that is an order", order.Filter{CustomerID: new(drafts[0].Order.GlobalID())}, "filter.customerId"},
		{"email", order.Filter{Email: new("bob")}, "filter.email"},
		{"third decimal", order.Filter{Total: &money.Range{Min: amount("1.001")}}, "filter.total"},
		{"amounts turned around", order.Filter{Total: &money.Range{Min: amount("2"), Max: amount("1")}}, "filter.total"},
		{"times turned around", order.Filter{CreatedAt: &page.TimeRange{From: new(at(2)), Until: new(at(1))}}, "filter.createdAt"},
	} {
		ctx, r := postgres.Record(staff(t.Context()))
		list, err := s.List(ctx, c.filter, byTime(page.Ascending), page.Args{First: new(1)})
		_, nerr := s.Count(ctx, c.filter)
		for _, err := range []error{err, nerr} {
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Code != fault.BadUserInput || strings.Join(e.Field, ".") != c.field || list != nil {
				t.Errorf("%s: %+v", c.name, err)
			}
		}
		if len(r.Statements()) != 0 {
			t.Errorf("%s took %v", c.name, r.Statements())
		}
	}
}

// TestPages walks through lists forwards and backwards, by every sort and as everybody, while orders come in.
func TestPages(t *testing.T) {
	t.Parallel()
	s, ann, bob := open(t), id.New(), id.New()
	var drafts []*order.Draft
	for i := range 12 {
		owner := ann
		if i%3 == 0 {
			owner = bob
		}
		drafts = append(drafts, draft(owner, day.Add(time.Duration(i)*time.Minute), costs(int64(i*7%4)*100)))
	}
	s.load(t, drafts...)
	for _, sort := range []order.Sort{byTime(page.Ascending), byTime(page.Descending), byTotal(page.Ascending), byTotal(page.Descending)} {
		for viewer, ctx := range map[uuid.UUID]context.Context{uuid.Nil: staff(t.Context()), ann: as(t.Context(), ann)} {
			var want []uuid.UUID
			mine := slices.DeleteFunc(slices.Clone(drafts), func(d *order.Draft) bool {
				return viewer != uuid.Nil && d.Order.Owner != viewer
			})
			slices.SortFunc(mine, func(a, b *order.Draft) int {
				c := strings.Compare(a.Order.ID.String(), b.Order.ID.String())
				if sort.Field == order.SortTotal && a.Order.TotalMinor != b.Order.TotalMinor {
					c = int(a.Order.TotalMinor - b.Order.TotalMinor)
				}
				if sort.Direction == page.Descending {
					return -c
				}
				return c
			})
			for _, d := range mine {
				want = append(want, d.Order.ID)
			}

			for _, size := range []int{1, 5, 100} {
				var forth, back []uuid.UUID
				for args := (page.Args{First: &size}); ; {
					c, err := s.List(ctx, order.Filter{}, sort, args)
					if err != nil {
						t.Fatal(err)
					}
					for _, o := range c.Nodes() {
						forth = append(forth, o.ID)
					}
					if c.PageInfo.HasPreviousPage != (args.After != nil) {
						t.Errorf("%+v after %v has a previous page: %t", sort, args.After, c.PageInfo.HasPreviousPage)
					}
					if !c.PageInfo.HasNextPage {
						break
					}
					args.After = c.PageInfo.EndCursor()
				}
				for args := (page.Args{Last: &size}); ; {
					c, err := s.List(ctx, order.Filter{}, sort, args)
					if err != nil {
						t.Fatal(err)
					}
					for _, o := range slices.Backward(c.Nodes()) {
						back = append(back, o.ID)
					}
					if !c.PageInfo.HasPreviousPage {
						break
					}
					args.Before = c.PageInfo.StartCursor()
				}
				slices.Reverse(back)
				equal(t, fmt.Sprintf("%+v by %d", sort, size), forth, want)
				equal(t, fmt.Sprintf("%+v by %d, backwards", sort, size), back, want)
			}
			c, err := s.List(ctx, order.Filter{}, sort, page.Args{First: new(0)})
			if err != nil || len(c.Edges) != 0 || !c.PageInfo.HasNextPage {
				t.Errorf("first: 0 = %+v, %v", c, err)
			}
		}
	}

	ctx := staff(t.Context())
	first, err := s.List(ctx, order.Filter{}, byTime(page.Descending), page.Args{First: new(2)})
	if err != nil {
		t.Fatal(err)
	}
	s.load(t, draft(ann, day.Add(time.Hour)))
	next, err := s.List(ctx, order.Filter{}, byTime(page.Descending), page.Args{First: new(2), After: first.PageInfo.EndCursor()})
	if err != nil || next.Nodes()[0].ID != drafts[9].Order.ID || next.Nodes()[1].ID != drafts[8].Order.ID {
		t.Errorf("after an insert the next page is %v, %v", next, err)
	}

	cursor := first.PageInfo.EndCursor()
	for name, c := range map[string]struct {
		sort order.Sort
		args page.Args
	}{
		"too many":                {byTime(page.Ascending), page.Args{First: new(101)}},
		"neither first nor last":  {byTime(page.Ascending), page.Args{}},
		"cursor of another order": {byTime(page.Ascending), page.Args{First: new(1), After: cursor}},
		"cursor of another sort":  {byTotal(page.Descending), page.Args{First: new(1), After: cursor}},
		"cursor of another list":  {byTime(page.Descending), page.Args{First: new(1), After: new(page.Cursor("products", "1"))}},
		"unknown sort":            {order.Sort{Field: "NAME"}, page.Args{First: new(1)}},
	} {
		if list, err := s.List(ctx, order.Filter{}, c.sort, c.args); !fault.Is(err, fault.BadUserInput) || list != nil {
			t.Errorf("%s = %v, %v", name, list, err)
		}
	}
}

func TestListByOwnersIsManySingleLists(t *testing.T) {
	t.Parallel()
	s := open(t)
	owners := make([]uuid.UUID, 20)
	var drafts []*order.Draft
	var middle *order.Draft
	for i := range owners {
		owners[i] = id.New()
		for n := range i % 7 {
			d := draft(owners[i], day.Add(time.Duration(n*20+i)*time.Minute))
			drafts = append(drafts, d)
			if n == 3 && middle == nil {
				middle = d
			}
		}
	}
	s.load(t, drafts...)
	var cursor string // of an order in the middle
	list, err := s.List(staff(t.Context()), order.Filter{}, byTime(page.Descending), page.Args{First: new(100)})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Edges {
		if e.Node.ID == middle.Order.ID {
			cursor = e.Cursor()
		}
	}
	for _, viewer := range []context.Context{staff(t.Context()), as(t.Context(), owners[6])} {
		all, err := s.ListByOwners(viewer, owners, page.Args{First: new(100)})
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range []page.Args{
			{First: new(2)}, {Last: new(2)}, {First: new(100)}, {Last: new(100)}, {First: new(0)},
			{First: new(2), After: &cursor}, {First: new(2), Before: &cursor},
			{Last: new(2), After: &cursor}, {Last: new(2), Before: &cursor}, {Last: new(3), After: &cursor, Before: &cursor},
		} {
			ctx, r := postgres.Record(viewer)
			pages, err := s.ListByOwners(ctx, append(owners, owners[3]), args)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(r.Statements(), []string{"orders.list_by_owner"}) || len(pages) != len(owners) {
				t.Errorf("%d pages by %v", len(pages), r.Statements())
			}
			for _, owner := range owners {
				filter := order.Filter{CustomerID: new(id.Of(id.User, owner))}
				single, err := s.List(viewer, filter, byTime(page.Descending), args)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "page", shown(pages[owner]), shown(single))
				if pages[owner].Owner == nil || *pages[owner].Owner != owner {
					t.Errorf("a page does not know its owner")
				}
			}
		}
		ctx, r := postgres.Record(viewer)
		counts, err := s.CountByOwners(ctx, owners)
		if err != nil || len(r.Statements()) != 1 {
			t.Fatal(err, r.Statements())
		}
		for _, owner := range owners {
			if counts[owner] != len(all[owner].Edges) {
				t.Errorf("%d counted, %d listed", counts[owner], len(all[owner].Edges))
			}
		}
	}
	if pages, err := s.ListByOwners(staff(t.Context()), owners, page.Args{}); !fault.Is(err, fault.BadUserInput) || pages != nil {
		t.Errorf("without first and last = %v, %v", pages, err)
	}
}

// TestNothingPersonalIsPlain looks for what is personal in every column of every table, as text and as bytes.
func TestNothingPersonalIsPlain(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := draft(id.New(), day)
	s.load(t, d)
	a, b := d.Order.ShippingAddress, d.Order.BillingAddress
	secrets := []string{*d.Order.Email, "kim.lee", a.Name, "Kim", *a.Company, a.Line1, *a.Line2, a.City, *a.PostalCode, *a.Phone, b.Name, b.Line1, b.City}
	found := 0
	for _, table := range tables {
		for _, row := range s.rows(t, "SELECT lower(r::text) FROM "+table+" r") {
			found++
			for _, secret := range secrets {
				secret = strings.ToLower(secret)
				for _, form := range []string{secret, hex.EncodeToString([]byte(secret))} {
					if strings.Contains(row, form) {
						t.Errorf("%s holds %q", table, secret)
					}
				}
			}
		}
	}
	if found < 13 {
		t.Errorf("looked at %d rows only", found)
	}
	// A sealed value opens in its own row alone.
	other := draft(id.New(), day)
	s.load(t, other)
	if _, err := postgres.Exec(t.Context(), s.db, postgres.Stmt{Name: "test", SQL: `UPDATE orders.orders o
		SET email = v.email, shipping_address = v.shipping_address FROM orders.orders v WHERE v.id = $1 AND o.id = $2`},
		d.Order.ID, other.Order.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ByKeys(staff(t.Context()), []id.Key{other.Order.Key()}); !errors.Is(err, seal.ErrOpen) || len(got) != 0 {
		t.Errorf("a value from another row opened: %v, %v", got, err)
	}
}

// shownPage is what a connection shows.
type shownPage struct {
	orders     []*order.Order
	cursors    []string
	next, back bool
	start, end *string
}

func shown(c *order.Connection) shownPage {
	p := shownPage{orders: c.Nodes(), next: c.PageInfo.HasNextPage, back: c.PageInfo.HasPreviousPage,
		start: c.PageInfo.StartCursor(), end: c.PageInfo.EndCursor()}
	for _, e := range c.Edges {
		p.cursors = append(p.cursors, e.Cursor())
	}
	return p
}
