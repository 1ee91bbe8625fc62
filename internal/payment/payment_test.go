package payment_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/seal"
)

var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type shop struct {
	*payment.Service
	db   *postgres.DB
	keys *seal.Keyset
	dbs  *pgtest.Databases
}

func open(t testing.TB) *shop {
	t.Helper()
	dbs, keys := pgtest.New(t), seal.New()
	return &shop{payment.New(payment.Config{DB: dbs.Payments, Sealer: sealer(t, keys), Currency: "EUR"}), dbs.Payments, keys, dbs}
}

func sealer(t testing.TB, keys *seal.Keyset) *seal.Sealer {
	t.Helper()
	s, err := seal.NewSealer(keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shop) load(t testing.TB, drafts ...*payment.Draft) {
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

func (s *shop) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := postgres.Exec(t.Context(), s.db, postgres.Stmt{Name: "test", SQL: sql, Reads: allTables}, args...); err != nil {
		t.Fatal(err)
	}
}

var tables = []string{"payments.payments", "payments.events", "payments.provider_events", "payments.provider_references"}

var allTables = postgres.All(append(tables, "payments.commands", "payments.closed_orders", "payments.inbox", "payments.differences",
	"payments.idempotency_keys", "payments.river_job")...)

func as(ctx context.Context, user uuid.UUID, roles ...auth.Role) context.Context {
	return auth.With(ctx, auth.Actor{ID: user, Roles: auth.Roles(roles...)})
}

func staff(ctx context.Context) context.Context { return as(ctx, id.New(), auth.RoleSupport) }

// draft is a captured payment of 50.00 EUR with one entry for each of the kinds and amounts that are given.
func draft(owner uuid.UUID, at time.Time, entries []entry, edits ...func(*payment.Payment)) *payment.Draft {
	p := payment.Payment{Owner: owner, ID: id.At(at, uuid.New()), OrderID: id.At(at, uuid.New()), Provider: "acme",
		Status: payment.StatusCaptured, Method: payment.Method{Kind: "card", Brand: new("visa"), LastFour: new("4242")},
		Currency: "EUR", AmountMinor: 5000, Reference: new("acme-ref-" + uuid.NewString()), CreatedAt: at}
	for _, edit := range edits {
		edit(&p)
	}
	d := &payment.Draft{Payment: p}
	for i, e := range entries {
		when := at.Add(time.Duration(i) * time.Minute)
		d.Events = append(d.Events, payment.EventDraft{EventID: "evt_" + uuid.NewString(), Event: payment.Event{
			Owner: owner, ID: id.At(when, uuid.New()), PaymentID: p.ID, OrderID: p.OrderID, Kind: e.kind, Currency: p.Currency,
			AmountMinor: e.amount, OccurredAt: when}})
	}
	return d
}

type entry struct {
	kind   payment.EventKind
	amount int64
}

var paid = []entry{{payment.EventAuthorized, 5000}, {payment.EventCaptured, 5000}}

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

func events(d *payment.Draft) []*payment.Event {
	all := make([]*payment.Event, len(d.Events))
	for i := range d.Events {
		all[i] = &d.Events[i].Event
	}
	return all
}

func TestWhatIsReadIsWhatWasLoaded(t *testing.T) {
	t.Parallel()
	s, owner := open(t), id.New()
	first := draft(owner, day, []entry{{payment.EventActionRequired, 0}, {payment.EventFailed, 0}}, func(p *payment.Payment) {
		p.Status, p.Method = payment.StatusFailed, payment.Method{Kind: "bank_debit"}
	})
	second := draft(owner, day.Add(time.Hour), paid, func(p *payment.Payment) { p.OrderID, p.Reference = first.Payment.OrderID, nil })
	// What happened earlier was reported later.
	second.Events[0].Event.OccurredAt = second.Events[1].Event.OccurredAt.Add(time.Second)
	s.load(t, second, first)

	got, err := s.PaymentsOf(staff(t.Context()), []id.Key{first.Payment.OrderKey()})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "payments", got, []*payment.Payment{&first.Payment, &second.Payment})
	if ref := got[0].ProviderDetails().Reference; ref == nil || *ref != *first.Payment.Reference {
		t.Errorf("reference %v", ref)
	}
	ledger, err := s.EventsOf(staff(t.Context()), []id.Key{second.Payment.Key()})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "ledger", ledger, []*payment.Event{&second.Events[1].Event, &second.Events[0].Event})

	// The customer sees the same, but for what the provider calls it.
	own, err := s.ByKeys(as(t.Context(), owner, auth.RoleCustomer), []id.Key{first.Payment.Key()})
	if err != nil {
		t.Fatal(err)
	}
	want := first.Payment
	want.Reference = nil
	equal(t, "own payment", own, []*payment.Payment{&want})

	for i, column := range []string{"provider || ' ' || owner_id || ' ' || payment_id", "encode(reference_index, 'hex')"} {
		wants := []string{
			fmt.Sprintf("acme %s %s", owner, first.Payment.ID),
			hex.EncodeToString(sealer(t, s.keys).Index("payments.reference", "acme\x00"+*first.Payment.Reference)),
		}
		if rows := s.rows(t, "SELECT "+column+" FROM payments.provider_references"); !slices.Equal(rows, wants[i:i+1]) {
			t.Errorf("directory of references: %v", rows)
		}
	}
	if rows := s.rows(t, "SELECT count(*)::text FROM payments.provider_events WHERE owner_id = $1 AND provider = 'acme'", owner); rows[0] != "4" {
		t.Errorf("directory of events: %v", rows)
	}
}

// TestOwnership runs every verb as everybody who may come along: who owns, who owns something else, who owns nothing.
func TestOwnership(t *testing.T) {
	t.Parallel()
	s, ann, bob := open(t), id.New(), id.New()
	of := map[uuid.UUID]*payment.Draft{ann: draft(ann, day, paid), bob: draft(bob, day.Add(time.Hour), paid)}
	s.load(t, of[ann], of[bob])

	text := func(k id.Key) string { return k.Owner.String() + "/" + k.ID.String() }
	payments := func(d *payment.Draft) []id.Key { return []id.Key{d.Payment.Key()} }
	orders := func(d *payment.Draft) []id.Key { return []id.Key{d.Payment.OrderKey()} }
	entries := func(d *payment.Draft) []id.Key { return []id.Key{d.Events[0].Event.Key(), d.Events[1].Event.Key()} }
	texts := func(d map[id.Key]payment.Totals) (all []string) {
		for k, sum := range d {
			if sum != (payment.Totals{Authorized: 5000, Captured: 5000}) {
				t.Errorf("totals %+v", sum)
			}
			all = append(all, text(k))
		}
		return all
	}
	batches := []struct {
		name   string
		keys   func(*payment.Draft) []id.Key // to ask for
		expect func(*payment.Draft) []id.Key // to come back, for who may see it
		read   func(context.Context, []id.Key) ([]string, error)
	}{
		{"ByKeys", payments, payments, func(ctx context.Context, k []id.Key) (all []string, err error) {
			got, err := s.ByKeys(ctx, k)
			for _, p := range got {
				if (p.Reference != nil) != auth.From(ctx).Staff() {
					t.Errorf("reference %v", p.Reference)
				}
				all = append(all, text(p.Key()))
			}
			return all, err
		}},
		{"PaymentsOf", orders, payments, func(ctx context.Context, k []id.Key) (all []string, err error) {
			got, err := s.PaymentsOf(ctx, k)
			for _, p := range got {
				all = append(all, text(p.Key()))
			}
			return all, err
		}},
		{"EventsOf", payments, entries, func(ctx context.Context, k []id.Key) (all []string, err error) {
			got, err := s.EventsOf(ctx, k)
			for _, e := range got {
				all = append(all, text(e.Key()))
			}
			return all, err
		}},
		{"Events", entries, entries, func(ctx context.Context, k []id.Key) (all []string, err error) {
			got, err := s.Events(ctx, k)
			for _, e := range got {
				all = append(all, text(e.Key()))
			}
			return all, err
		}},
		{"TotalsOf", payments, payments, func(ctx context.Context, k []id.Key) ([]string, error) {
			got, err := s.TotalsOf(ctx, k)
			return texts(got), err
		}},
		{"TotalsOfOrders", orders, orders, func(ctx context.Context, k []id.Key) ([]string, error) {
			got, err := s.TotalsOfOrders(ctx, k)
			return texts(got), err
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
		{"customer without payments", auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleCustomer)}, nil},
		{"machine", auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleService)}, nil},
		{"support", auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleSupport)}, []uuid.UUID{ann, bob}},
		{"manager", auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleManager)}, []uuid.UUID{ann, bob}},
		{"admin", auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleAdmin)}, []uuid.UUID{ann, bob}},
	} {
		t.Run(viewer.name, func(t *testing.T) {
			for _, b := range batches {
				asked := []id.Key{{Owner: id.New(), ID: id.New()}}
				for owner, d := range of {
					asked = append(append(asked, b.keys(d)...), id.Key{Owner: owner, ID: id.New()})
				}
				var want []string
				for _, owner := range viewer.sees {
					for _, k := range b.expect(of[owner]) {
						want = append(want, text(k))
					}
				}
				ctx, r := postgres.Record(auth.With(t.Context(), viewer.actor))
				got, err := b.read(ctx, asked)
				slices.Sort(got)
				slices.Sort(want)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%s = %v, %v; want %v", b.name, got, err, want)
				}
				if n := len(r.Statements()); n > 1 || n > 0 && !viewer.actor.SignedIn() {
					t.Errorf("%s took %v", b.name, r.Statements())
				}
				forged := []id.Key{{Owner: ann, ID: b.keys(of[bob])[0].ID}, {ID: b.keys(of[bob])[0].ID}}
				for _, keys := range [][]id.Key{forged, nil} {
					if got, err := b.read(ctx, keys); err != nil || len(got) != 0 {
						t.Errorf("%s of %v = %v, %v", b.name, keys, got, err)
					}
				}
			}

			ctx, r := postgres.Record(auth.With(t.Context(), viewer.actor))
			list, err := s.List(ctx, payment.Filter{}, byTime(page.Ascending), page.Args{First: new(10)})
			n, nerr := s.Count(ctx, payment.Filter{})
			refusal := fault.Forbidden
			if !viewer.actor.SignedIn() {
				refusal = fault.Unauthenticated
			}
			switch {
			case viewer.actor.Staff():
				if err != nil || nerr != nil || n != 2 || len(r.Statements()) != 2 {
					t.Fatalf("List, Count = %v, %v, %d, %v", list, err, n, nerr)
				}
				equal(t, "list", list.Nodes(), []*payment.Payment{&of[ann].Payment, &of[bob].Payment})
			case !fault.Is(err, refusal) || !fault.Is(nerr, refusal) || list != nil || n != 0 || len(r.Statements()) != 0:
				t.Errorf("List, Count = %v, %v, %d, %v", list, err, n, nerr)
			}
		})
	}
}

func byTime(d page.Direction) payment.Sort {
	return payment.Sort{Field: payment.SortCreatedAt, Direction: d}
}

func TestTotals(t *testing.T) {
	t.Parallel()
	s := open(t)
	a, c, r, v := payment.EventAuthorized, payment.EventCaptured, payment.EventRefunded, payment.EventVoided
	cases := []struct {
		name    string
		entries []entry
		want    payment.Totals
	}{
		{"nothing", nil, payment.Totals{}},
		{"words only", []entry{{payment.EventActionRequired, 0}, {payment.EventFailed, 5000}}, payment.Totals{}},
		{"promised", []entry{{a, 5000}}, payment.Totals{Authorized: 5000}},
		{"promised twice", []entry{{a, 5000}, {a, 1}}, payment.Totals{Authorized: 5001}},
		{"given back", []entry{{a, 5000}, {v, 5000}}, payment.Totals{}},
		{"given back in part", []entry{{a, 5000}, {c, 2000}, {v, 3000}}, payment.Totals{Authorized: 2000, Captured: 2000}},
		{"given back before it was promised", []entry{{v, 5000}}, payment.Totals{}},
		{"collected and paid back", []entry{{a, 5000}, {c, 2000}, {c, 3000}, {r, 1}, {r, 999}},
			payment.Totals{Authorized: 5000, Captured: 5000, Refunded: 1000}},
		{"collected out of the blue", []entry{{c, 2000}}, payment.Totals{Captured: 2000}},
		{"large", []entry{{a, 1 << 61}, {c, 1 << 61}, {r, 1 << 61}}, payment.Totals{Authorized: 1 << 61, Captured: 1 << 61, Refunded: 1 << 61}},
	}
	var drafts []*payment.Draft
	var keys, orders []id.Key
	for i, c := range cases {
		d := draft(id.New(), day.Add(time.Duration(i)*time.Second), c.entries)
		drafts, keys, orders = append(drafts, d), append(keys, d.Payment.Key()), append(orders, d.Payment.OrderKey())
	}
	// Another currency than that of the payment is kept and not counted.
	foreign := draft(id.New(), day, []entry{{a, 100}, {a, 7}})
	foreign.Events[1].Event.Currency = "USD"
	// An order with a failed attempt, a void that came first, and a good payment.
	buyer, basket := id.New(), id.New()
	same := func(p *payment.Payment) { p.OrderID = basket }
	attempts := []*payment.Draft{
		draft(buyer, day, []entry{{payment.EventFailed, 0}}, same),
		draft(buyer, day.Add(time.Second), []entry{{v, 5000}}, same),
		draft(buyer, day.Add(2*time.Second), []entry{{a, 5000}, {c, 4000}}, same),
		draft(buyer, day.Add(3*time.Second), []entry{{c, 500}, {r, 100}}, same),
	}
	s.load(t, append(append(drafts, foreign), attempts...)...)

	ctx, rec := postgres.Record(staff(t.Context()))
	byPayment, err := s.TotalsOf(ctx, append(keys, foreign.Payment.Key()))
	if err != nil {
		t.Fatal(err)
	}
	byOrder, err := s.TotalsOfOrders(ctx, append(orders, id.Key{Owner: buyer, ID: basket}))
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Statements()) != 2 {
		t.Errorf("took %v", rec.Statements())
	}
	for i, c := range cases {
		if got := byPayment[keys[i]]; got != c.want {
			t.Errorf("%s: payment %+v, want %+v", c.name, got, c.want)
		}
		if got := byOrder[orders[i]]; got != c.want {
			t.Errorf("%s: order %+v, want %+v", c.name, got, c.want)
		}
	}
	if got, want := byPayment[foreign.Payment.Key()], (payment.Totals{Authorized: 100}); got != want {
		t.Errorf("two currencies: %+v, want %+v", got, want)
	}
	want := payment.Totals{Authorized: 5000, Captured: 4500, Refunded: 100}
	if got := byOrder[id.Key{Owner: buyer, ID: basket}]; got != want {
		t.Errorf("four attempts: %+v, want %+v", got, want)
	}
	own, err := s.TotalsOfOrders(as(t.Context(), buyer), []id.Key{{Owner: buyer, ID: basket}})
	if err != nil || len(own) != 1 || own[id.Key{Owner: buyer, ID: basket}] != want {
		t.Errorf("for the buyer: %+v, %v", own, err)
	}
}

func TestListFiltersAndPages(t *testing.T) {
	t.Parallel()
	s, owner := open(t), id.New()
	at := func(h int) time.Time { return day.Add(time.Duration(h) * time.Hour) }
	edit := func(f func(*payment.Payment)) []func(*payment.Payment) { return []func(*payment.Payment){f} }
	var drafts []*payment.Draft
	for i, edits := range [][]func(*payment.Payment){
		nil,
		edit(func(p *payment.Payment) { p.Status = payment.StatusFailed }),
		edit(func(p *payment.Payment) { p.Provider, p.AmountMinor = "other", 700 }),
		edit(func(p *payment.Payment) { p.Currency = "JPY" }),
		edit(func(p *payment.Payment) { p.AmountMinor = 701 }),
	} {
		drafts = append(drafts, draft(owner, at(i), paid, edits...))
	}
	s.load(t, drafts...)
	amount := func(text string) *money.Decimal {
		d, err := money.ParseDecimal(text)
		if err != nil {
			t.Fatal(err)
		}
		return &d
	}
	ids := func(nodes []*payment.Payment) (all []int) {
		for _, p := range nodes {
			all = append(all, slices.IndexFunc(drafts, func(d *payment.Draft) bool { return d.Payment.ID == p.ID }))
		}
		return all
	}
	ctx := staff(t.Context())
	for _, c := range []struct {
		name   string
		filter payment.Filter
		want   []int
	}{
		{"nothing", payment.Filter{}, []int{0, 1, 2, 3, 4}},
		{"status", payment.Filter{Statuses: []payment.Status{payment.StatusFailed, payment.StatusPending}}, []int{1}},
		{"provider", payment.Filter{Provider: new("other")}, []int{2}},
		{"unknown provider", payment.Filter{Provider: new("ACME")}, nil},
		{"span", payment.Filter{CreatedAt: &page.TimeRange{From: new(at(1)), Until: new(at(3))}}, []int{1, 2}},
		{"at least", payment.Filter{Amount: &money.Range{Min: amount("7.01")}}, []int{0, 1, 4}},
		{"at most", payment.Filter{Amount: &money.Range{Max: amount("7.01")}}, []int{2, 4}},
		{"all at once", payment.Filter{Statuses: []payment.Status{payment.StatusCaptured}, Provider: new("acme"),
			CreatedAt: &page.TimeRange{From: new(at(1))}, Amount: &money.Range{Min: amount("0"), Max: amount("50")}}, []int{4}},
	} {
		list, err := s.List(ctx, c.filter, byTime(page.Ascending), page.Args{First: new(100)})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := ids(list.Nodes()); !slices.Equal(got, c.want) || !reflect.DeepEqual(list.Filter, c.filter) {
			t.Errorf("%s = %v, want %v", c.name, got, c.want)
		}
		if n, err := s.Count(ctx, c.filter); err != nil || n != len(c.want) {
			t.Errorf("%s: Count = %d, %v; want %d", c.name, n, err, len(c.want))
		}
	}

	for direction, want := range map[page.Direction][]int{page.Ascending: {0, 1, 2, 3, 4}, page.Descending: {4, 3, 2, 1, 0}} {
		var forth, back []int
		for args := (page.Args{First: new(2)}); ; {
			c, err := s.List(ctx, payment.Filter{}, byTime(direction), args)
			if err != nil {
				t.Fatal(err)
			}
			forth = append(forth, ids(c.Nodes())...)
			if !c.PageInfo.HasNextPage {
				break
			}
			args.After = c.PageInfo.EndCursor()
		}
		for args := (page.Args{Last: new(2)}); ; {
			c, err := s.List(ctx, payment.Filter{}, byTime(direction), args)
			if err != nil {
				t.Fatal(err)
			}
			back = append(ids(c.Nodes()), back...)
			if !c.PageInfo.HasPreviousPage {
				break
			}
			args.Before = c.PageInfo.StartCursor()
		}
		if !slices.Equal(forth, want) || !slices.Equal(back, want) {
			t.Errorf("%s: %v and %v, want %v", direction, forth, back, want)
		}
	}

	asc, err := s.List(ctx, payment.Filter{}, byTime(page.Ascending), page.Args{First: new(1)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		filter payment.Filter
		sort   payment.Sort
		args   page.Args
		field  string
	}{
		"decimals":       {payment.Filter{Amount: &money.Range{Max: amount("1.001")}}, byTime(page.Ascending), page.Args{First: new(1)}, "filter.amount"},
		"times":          {payment.Filter{CreatedAt: &page.TimeRange{From: new(at(1)), Until: new(at(0))}}, byTime(page.Ascending), page.Args{First: new(1)}, "filter.createdAt"},
		"sort":           {payment.Filter{}, payment.Sort{Field: "AMOUNT"}, page.Args{First: new(1)}, "sort.field"},
		"size":           {payment.Filter{}, byTime(page.Ascending), page.Args{Last: new(101)}, "last"},
		"another cursor": {payment.Filter{}, byTime(page.Descending), page.Args{First: new(1), After: asc.PageInfo.EndCursor()}, "after"},
	} {
		list, err := s.List(ctx, c.filter, c.sort, c.args)
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Code != fault.BadUserInput || strings.Join(e.Field, ".") != c.field || list != nil {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

// TestTheTablesRefuse writes wrong rows past the service: the constraints hold whoever writes.
func TestTheTablesRefuse(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := draft(id.New(), day, paid, func(p *payment.Payment) { p.Status = payment.StatusAuthorized })
	s.load(t, d)
	p := &d.Payment
	set := func(what string) string {
		return "UPDATE payments.payments SET " + what + " WHERE owner_id = $1 AND id = $2"
	}
	setEvent := func(what string) string {
		return "UPDATE payments.events SET " + what + " WHERE owner_id = $1 AND payment_id = $2"
	}
	for _, c := range []struct {
		name, constraint, sql string
		args                  []any
	}{
		{"same key", "payments_pkey", `INSERT INTO payments.payments (owner_id, id, order_id, provider, status, method_kind, currency, amount)
			VALUES ($1, $2, $2, 'acme', 'FAILED', 'card', 'EUR', 1)`, nil},
		{"second live payment of an order", "payments_one_live", `INSERT INTO payments.payments (owner_id, id, order_id, provider, method_kind,
			currency, amount) VALUES ($1, $2, $3, 'acme', 'card', 'EUR', 1)`, []any{p.Owner, id.New(), p.OrderID}},
		{"provider", "payments_provider_check", set("provider = 'Acme Inc.'"), nil},
		{"status", "payments_status_check", set("status = 'PAID'"), nil},
		{"no method", "payments_method_kind_check", set("method_kind = ''"), nil},
		{"whole card number", "payments_method_last_four_check", set("method_last_four = '4242424242424242'"), nil},
		{"currency", "payments_currency_check", set("currency = 'euro'"), nil},
		{"payment of nothing", "payments_amount_check", set("amount = 0"), nil},
		{"negative payment", "payments_amount_check", set("amount = -1"), nil},
		{"more captures than were asked for", "payments_capture_bounded", set("capture_commanded = 5001"), nil},
		{"captures below nothing", "payments_capture_bounded", set("capture_commanded = -1"), nil},
		{"more refunds than were captured", "payments_refund_bounded", set("refund_commanded = 5001"), nil},
		{"refunds below nothing", "payments_refund_bounded", set("refund_commanded = -1"), nil},
		{"command of nothing", "commands_check", `INSERT INTO payments.commands (owner_id, id, payment_id, order_id, kind, currency, amount)
			VALUES ($1, $2, $2, $2, 'CAPTURE', 'EUR', 0)`, nil},
		{"command of no payment", "commands_owner_id_payment_id_fkey", `INSERT INTO payments.commands (owner_id, id, payment_id, order_id, kind,
			currency, amount) VALUES ($1, $2, $2, $2, 'VOID', 'EUR', 0)`, []any{p.Owner, id.New()}},
		{"command that ended and did not", "commands_finished", `INSERT INTO payments.commands (owner_id, id, payment_id, order_id, kind,
			currency, amount, status) VALUES ($1, $2, $2, $2, 'VOID', 'EUR', 0, 'FAILED')`, nil},
		{"kind of event", "events_kind_check", setEvent("kind = 'PAID'"), nil},
		{"event's currency", "events_currency_check", setEvent("currency = ''"), nil},
		{"negative event", "events_amount_check", setEvent("amount = -1"), nil},
		{"event told twice", "events_owner_id_provider_event_id_key", `INSERT INTO payments.events (owner_id, id, payment_id, order_id, provider,
			event_id, kind, currency, amount, occurred_at) VALUES ($1, $2, $3, $2, 'acme', $4, 'VOIDED', 'EUR', 1, now())`,
			[]any{p.Owner, id.New(), p.ID, d.Events[0].EventID}},
		{"event of no payment", "events_owner_id_payment_id_fkey", `INSERT INTO payments.events (owner_id, id, payment_id, order_id, provider,
			event_id, kind, currency, amount, occurred_at) VALUES ($1, $2, $2, $2, 'acme', 'x', 'VOIDED', 'EUR', 1, now())`, []any{p.Owner, id.New()}},
		{"payment with a ledger deleted", "events_owner_id_payment_id_fkey", "DELETE FROM payments.payments WHERE owner_id = $1 AND id = $2", nil},
		{"event of two owners", "provider_events_pkey", "INSERT INTO payments.provider_events VALUES ('acme', $1, $2)", []any{d.Events[0].EventID, id.New()}},
		{"short index", "provider_references_reference_index_check", "INSERT INTO payments.provider_references VALUES ('acme', '\\x00', $1, $2)", nil},
		{"reference of two payments", "provider_references_pkey", "INSERT INTO payments.provider_references VALUES ('acme', $1, $2, $2)",
			[]any{sealer(t, s.keys).Index("payments.reference", "acme\x00"+*p.Reference), id.New()}},
	} {
		args := c.args
		if args == nil {
			args = []any{p.Owner, p.ID}
		}
		_, err := postgres.Exec(t.Context(), s.db, postgres.Stmt{Name: "test", SQL: c.sql, Reads: allTables}, args...)
		if !postgres.Violates(err, c.constraint) {
			t.Errorf("%s: %v; want a violation of %s", c.name, err, c.constraint)
		}
	}
	got, err := s.ByKeys(staff(t.Context()), []id.Key{p.Key()})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the payment after all", got, []*payment.Payment{p})
	ledger, err := s.EventsOf(staff(t.Context()), []id.Key{p.Key()})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the ledger after all", ledger, events(d))
	// A payment that failed makes way for the next.
	s.load(t, draft(p.Owner, day, nil, func(other *payment.Payment) { other.OrderID = p.OrderID }))
}

func TestLoadMany(t *testing.T) {
	t.Parallel()
	s := open(t)
	const n = 2500
	load := func(spoil func(int, *payment.Draft)) (told []int, err error) {
		err = s.Load(t.Context(), func(yield func(*payment.Draft) bool) {
			for i := range n {
				d := draft(id.New(), day, paid)
				spoil(i, d)
				if !yield(d) {
					return
				}
			}
		}, func(done int) { told = append(told, done) })
		return told, err
	}
	counts := func() (c []string) {
		for _, table := range tables {
			c = append(c, s.rows(t, "SELECT count(*)::text FROM "+table)...)
		}
		return c
	}
	told, err := load(func(int, *payment.Draft) {})
	if err != nil || !slices.Equal(told, []int{1000, 2000, 2500}) {
		t.Fatal(told, err)
	}
	full := []string{"2500", "5000", "5000", "2500"}
	if got := counts(); !slices.Equal(got, full) {
		t.Errorf("rows %v, want %v", got, full)
	}
	// The last one is wrong: nothing stays.
	told, err = load(func(i int, d *payment.Draft) {
		if i == n-1 {
			d.Payment.AmountMinor = 0
		}
	})
	if !postgres.Violates(err, "payments_amount_check") || !slices.Equal(told, []int{1000, 2000}) {
		t.Errorf("%v, %v", told, err)
	}
	// The same event twice, whoever it belongs to.
	if _, err = load(func(_ int, d *payment.Draft) { d.Events[0].EventID = "evt_1" }); !postgres.Violates(err, "provider_events_pkey") {
		t.Errorf("event of two payments: %v", err)
	}
	if got := counts(); !slices.Equal(got, full) {
		t.Errorf("rows after failures %v, want %v", got, full)
	}
}

func TestNothingPersonalIsPlain(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := draft(id.New(), day, paid)
	s.load(t, d)
	secret := *d.Payment.Reference
	for _, table := range tables {
		rows := s.rows(t, "SELECT r::text FROM "+table+" r")
		if len(rows) == 0 {
			t.Errorf("%s is empty", table)
		}
		for _, row := range rows {
			if strings.Contains(row, secret) || strings.Contains(row, hex.EncodeToString([]byte(secret))) {
				t.Errorf("%s holds the reference", table)
			}
		}
	}
	// A sealed value opens in its own row alone, and no customer needs it.
	other := draft(id.New(), day, nil)
	s.load(t, other)
	s.exec(t, `UPDATE payments.payments p SET reference = v.reference FROM payments.payments v WHERE v.id = $1 AND p.id = $2`,
		d.Payment.ID, other.Payment.ID)
	keys := []id.Key{other.Payment.Key()}
	if got, err := s.ByKeys(staff(t.Context()), keys); !errors.Is(err, seal.ErrOpen) || len(got) != 0 {
		t.Errorf("a value from another row opened: %v, %v", got, err)
	}
	if got, err := s.ByKeys(as(t.Context(), other.Payment.Owner), keys); err != nil || len(got) != 1 || got[0].Reference != nil {
		t.Errorf("own payment: %v, %v", got, err)
	}
}

func TestReseal(t *testing.T) {
	t.Parallel()
	s := open(t)
	var drafts []*payment.Draft
	var keys []id.Key
	for i := range 603 {
		d := draft(id.New(), day.Add(time.Duration(i)*time.Second), nil, func(p *payment.Payment) {
			if i%10 == 0 {
				p.Reference = nil
			}
		})
		drafts, keys = append(drafts, d), append(keys, d.Payment.Key())
	}
	s.load(t, drafts...)
	const sealed = 542
	rotated, err := s.keys.Rotate()
	if err != nil {
		t.Fatal(err)
	}

	// Between reading and writing somebody writes another reference under the old key, and a status.
	const edited = 1
	row := append(slices.Clone(keys[edited].Owner[:]), keys[edited].ID[:]...)
	late := sealer(t, s.keys).SealString(seal.Field{Table: "payments.payments", Column: "reference", Row: row}, "late")
	var once sync.Once
	between, err := postgres.Open(t.Context(), s.dbs.URLs["payments"], postgres.Options{
		Explain: func(_ context.Context, stmt postgres.Stmt, _ []any, _ func(context.Context, string, ...any) (string, error)) {
			if stmt.Name == "payments.reseal" {
				once.Do(func() {
					s.exec(t, `UPDATE payments.payments SET reference = $3, status = 'REFUNDED' WHERE owner_id = $1 AND id = $2`,
						keys[edited].Owner, keys[edited].ID, late)
				})
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(between.Close)
	var told []int
	n, err := payment.New(payment.Config{DB: between, Sealer: sealer(t, rotated), Currency: "EUR"}).Reseal(t.Context(), func(done int) { told = append(told, done) })
	if err != nil || n != sealed || !slices.Equal(told, []int{499, sealed - 1, sealed}) {
		t.Errorf("Reseal = %d, %v; progress %v", n, err, told)
	}
	drafts[edited].Payment.Reference, drafts[edited].Payment.Status = new("late"), payment.StatusRefunded

	pruned, err := rotated.Prune()
	if err != nil {
		t.Fatal(err)
	}
	got, err := payment.New(payment.Config{DB: s.db, Sealer: sealer(t, pruned), Currency: "EUR"}).ByKeys(staff(t.Context()), keys)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b *payment.Payment) int { return a.CreatedAt.Compare(b.CreatedAt) })
	want := make([]*payment.Payment, len(drafts))
	for i, d := range drafts {
		want[i] = &d.Payment
	}
	equal(t, "payments without the old key", got, want)
}

// TestBatchesUseIndexes reads the plans of what runs, on tables that have enough rows for a choice.
func TestBatchesUseIndexes(t *testing.T) {
	t.Parallel()
	s := open(t)
	owner := id.New()
	var drafts []*payment.Draft
	for i := range 2000 {
		drafts = append(drafts, draft(id.New(), day.Add(time.Duration(i)*time.Second), paid))
	}
	for i := range 20 {
		drafts = append(drafts, draft(owner, day.Add(time.Duration(i)*time.Minute), paid))
	}
	s.load(t, drafts...)
	for _, table := range tables {
		s.exec(t, "ANALYZE "+table)
	}
	var mu sync.Mutex
	plans := map[string][]string{}
	db, err := postgres.Open(t.Context(), s.dbs.URLs["payments"], postgres.Options{
		Explain: func(ctx context.Context, stmt postgres.Stmt, args []any, run func(context.Context, string, ...any) (string, error)) {
			text, err := run(ctx, "EXPLAIN (FORMAT JSON) "+stmt.SQL, args...)
			var plan any
			if err := errors.Join(err, json.Unmarshal([]byte(text), &plan)); err != nil {
				t.Errorf("%s: %v", stmt.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			plans[stmt.Name] = kinds(plan, nil)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	svc := payment.New(payment.Config{DB: db, Sealer: sealer(t, s.keys), Currency: "EUR"})
	for name, viewer := range map[string]struct {
		ctx    context.Context
		drafts []*payment.Draft
	}{
		"customer": {as(t.Context(), owner), drafts[2000:2003]},
		"staff":    {staff(t.Context()), drafts[:3]},
	} {
		clear(plans)
		var payments, orders, entries []id.Key
		for _, d := range viewer.drafts {
			payments, orders = append(payments, d.Payment.Key()), append(orders, d.Payment.OrderKey())
			entries = append(entries, d.Events[0].Event.Key())
		}
		var errs [7]error
		_, errs[0] = svc.ByKeys(viewer.ctx, payments)
		_, errs[1] = svc.PaymentsOf(viewer.ctx, orders)
		_, errs[2] = svc.EventsOf(viewer.ctx, payments)
		_, errs[3] = svc.Events(viewer.ctx, entries)
		_, errs[4] = svc.TotalsOf(viewer.ctx, payments)
		_, errs[5] = svc.TotalsOfOrders(viewer.ctx, orders)
		_, errs[6] = svc.Facts(viewer.ctx, orders[0])
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		if len(plans) != 7 {
			t.Errorf("%s: %d statements", name, len(plans))
		}
		for statement, nodes := range plans {
			if slices.Contains(nodes, "Seq Scan") {
				t.Errorf("%s: %s goes by %v", name, statement, nodes)
			}
		}
	}
}

// kinds returns the kinds of the nodes of a plan.
func kinds(plan any, found []string) []string {
	switch node := plan.(type) {
	case []any:
		for _, child := range node {
			found = kinds(child, found)
		}
	case map[string]any:
		if kind, ok := node["Node Type"].(string); ok {
			found = append(found, kind)
		}
		for _, child := range node {
			found = kinds(child, found)
		}
	}
	return found
}

// BenchmarkTotals sums the ledgers of 100 payments of 100 owners.
func BenchmarkTotals(b *testing.B) {
	s := open(b)
	var drafts []*payment.Draft
	var keys []id.Key
	for i := range 5000 {
		d := draft(id.New(), day.Add(time.Duration(i)*time.Second), paid)
		drafts = append(drafts, d)
		if i < 100 {
			keys = append(keys, d.Payment.Key())
		}
	}
	s.load(b, drafts...)
	for _, table := range tables {
		s.exec(b, "ANALYZE "+table)
	}
	ctx := staff(b.Context())
	for b.Loop() {
		if totals, err := s.TotalsOf(ctx, keys); err != nil || len(totals) != 100 {
			b.Fatal(len(totals), err)
		}
	}
}
