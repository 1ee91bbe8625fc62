package order_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// TestTheTablesRefuse writes wrong rows past the service: the constraints hold whoever writes.
func TestTheTablesRefuse(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := draft(id.New(), day)
	s.load(t, d)
	o := &d.Order
	setOrder := func(set string) string { return "UPDATE orders.orders SET " + set + " WHERE owner_id = $1 AND id = $2" }
	for _, c := range []struct {
		name, constraint, sql string
		args                  []any
	}{
		{"unknown owner", "orders_owner_id_fkey", `INSERT INTO orders.orders (owner_id, id, number, currency, subtotal,
			tax_included, total) VALUES ($1, $2, 'EM-0000-0001', 'EUR', 1, true, 1)`, []any{id.New(), id.New()}},
		{"same key", "orders_pkey", `INSERT INTO orders.orders (owner_id, id, number, currency, subtotal, tax_included, total)
			VALUES ($1, $2, 'EM-0000-0001', 'EUR', 1, true, 1)`, nil},
		{"number in small letters", "orders_number_check", setOrder("number = 'em-0000-0001'"), nil},
		{"number that is a serial", "orders_number_check", setOrder("number = '1042'"), nil},
		{"status", "orders_status_check", setOrder("status = 'SHIPPED'"), nil},
		{"payment status", "orders_payment_status_check", setOrder("payment_status = 'paid'"), nil},
		{"fulfilment status", "orders_fulfillment_status_check", setOrder("fulfillment_status = ''"), nil},
		{"short index", "orders_email_index_check", setOrder("email_index = '\\x00'"), nil},
		{"e-mail without index", "orders_email_has_its_index", setOrder("email_index = NULL"), nil},
		{"index without e-mail", "orders_email_has_its_index", setOrder("email = NULL"), nil},
		{"currency", "orders_currency_check", setOrder("currency = 'eur'"), nil},
		{"negative subtotal", "orders_check", setOrder("subtotal = -1, discount_total = -1, total = 500"), nil},
		{"discount above the subtotal", "orders_check", setOrder("discount_total = 5001, total = 499"), nil},
		{"negative discount", "orders_check", setOrder("discount_total = -1, total = 5501"), nil},
		{"negative shipping", "orders_shipping_total_check", setOrder("shipping_total = -1, total = 4499"), nil},
		{"negative tax", "orders_tax_total_check", setOrder("tax_total = -1"), nil},
		{"total one too high", "orders_total_adds_up", setOrder("total = total + 1"), nil},
		{"tax left out of the total", "orders_total_adds_up", setOrder("tax_included = false"), nil},
		{"more tax than total", "orders_tax_is_part_of_total", setOrder("tax_total = 5001"), nil},
		{"placed without a date", "orders_placed_have_a_date", setOrder("placed_at = NULL"), nil},
		{"date without being placed", "orders_placed_have_a_date", setOrder("status = 'PENDING'"), nil},
		{"cancelled without a date", "orders_canceled_have_a_date", setOrder("status = 'CANCELED'"), nil},
		{"date without being cancelled", "orders_canceled_have_a_date", setOrder("canceled_at = now()"), nil},

		{"number of two orders", "order_numbers_pkey", "INSERT INTO orders.order_numbers VALUES ($1, $2, $3)", []any{o.Number, id.New(), id.New()}},
		{"order with two numbers", "order_numbers_order_id_key", "INSERT INTO orders.order_numbers VALUES ($1, $2, $3)",
			[]any{order.NewNumber(), o.Owner, o.ID}},

		{"line of nothing", "lines_are_sent_once", "UPDATE orders.lines SET quantity = 0, discount = 0, total = 0 WHERE owner_id = $1 AND order_id = $2", nil},
		{"place 0", "lines_position_check", "UPDATE orders.lines SET position = 0 WHERE owner_id = $1 AND order_id = $2 AND position = 1", nil},
		{"two lines in one place", "lines_owner_id_order_id_position_key",
			"UPDATE orders.lines SET position = 1 WHERE owner_id = $1 AND order_id = $2", nil},
		{"negative price", "lines_check",
			"UPDATE orders.lines SET unit_price = -1, discount = -quantity, total = 0 WHERE owner_id = $1 AND order_id = $2", nil},
		{"line's discount above its price", "lines_check",
			"UPDATE orders.lines SET discount = unit_price * quantity + 1, total = -1 WHERE owner_id = $1 AND order_id = $2", nil},
		{"negative tax of a line", "lines_tax_check", "UPDATE orders.lines SET tax = -1 WHERE owner_id = $1 AND order_id = $2", nil},
		{"line's total", "lines_total_adds_up", "UPDATE orders.lines SET total = total - 1 WHERE owner_id = $1 AND order_id = $2", nil},
		{"line of another owner's order", "lines_owner_id_order_id_fkey", `INSERT INTO orders.lines (owner_id, id, order_id,
			position, product_id, variant_id, title, quantity, currency, unit_price, total)
			VALUES ($1, $2, $3, 9, $2, $2, '', 1, 'EUR', 1, 1)`, []any{id.New(), id.New(), o.ID}},
		{"order with lines deleted", "lines_owner_id_order_id_fkey", "DELETE FROM orders.orders WHERE owner_id = $1 AND id = $2", nil},

		{"parcel's status", "fulfillments_status_check", "UPDATE orders.fulfillments SET status = 'LOST' WHERE owner_id = $1 AND order_id = $2", nil},
		{"sent without a date", "fulfillments_check", "UPDATE orders.fulfillments SET status = 'SHIPPED' WHERE owner_id = $1 AND order_id = $2", nil},
		{"arrived without a date", "fulfillments_check1",
			"UPDATE orders.fulfillments SET status = 'DELIVERED', shipped_at = now(), delivered_at = NULL WHERE owner_id = $1 AND order_id = $2", nil},
		{"link that runs a script", "fulfillments_tracking_url_check",
			"UPDATE orders.fulfillments SET tracking_url = 'javascript:alert(1)' WHERE owner_id = $1 AND order_id = $2", nil},
		{"parcel of no order", "fulfillments_owner_id_order_id_fkey",
			"INSERT INTO orders.fulfillments (owner_id, id, order_id) VALUES ($1, $2, $2)", []any{o.Owner, id.New()}},
		{"nothing of a line in a parcel", "fulfillment_lines_quantity_check", "UPDATE orders.fulfillment_lines SET quantity = 0 WHERE owner_id = $1",
			[]any{o.Owner}},
		{"unknown line in a parcel", "fulfillment_lines_owner_id_line_id_fkey", "INSERT INTO orders.fulfillment_lines VALUES ($1, $2, $3, 1)",
			[]any{o.Owner, d.Fulfillments[1].ID, id.New()}},
		{"line in an unknown parcel", "fulfillment_lines_owner_id_fulfillment_id_fkey", "INSERT INTO orders.fulfillment_lines VALUES ($1, $2, $3, 1)",
			[]any{o.Owner, id.New(), d.Lines[0].ID}},
		{"kind of event", "events_kind_check", "UPDATE orders.events SET kind = 'LOST' WHERE owner_id = $1 AND order_id = $2", nil},
		{"event of no order", "events_owner_id_order_id_fkey",
			"INSERT INTO orders.events (owner_id, id, order_id, kind) VALUES ($1, $2, $2, 'NOTE')", []any{o.Owner, id.New()}},
	} {
		args := c.args
		if args == nil {
			args = []any{o.Owner, o.ID}
		}
		_, err := postgres.Exec(t.Context(), s.db, postgres.Stmt{Name: "test", SQL: c.sql, Reads: allTables}, args...)
		if !postgres.Violates(err, c.constraint) {
			t.Errorf("%s: %v; want a violation of %s", c.name, err, c.constraint)
		}
	}
	got, err := s.ByKeys(staff(t.Context()), []id.Key{o.Key()})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the order after all", got, []*order.Order{o})
}

func TestLoadMany(t *testing.T) {
	t.Parallel()
	s := open(t)
	owners := make([]uuid.UUID, 300)
	for i := range owners {
		owners[i] = id.New()
	}
	const n = 3000
	made := 0
	all := func(yield func(*order.Draft) bool) {
		for i := range n {
			made++
			if !yield(draft(owners[i%len(owners)], day.Add(time.Duration(i)*time.Second))) {
				return
			}
		}
	}
	var told []int
	began := time.Now()
	if err := s.Load(t.Context(), all, func(done int) { told = append(told, done) }); err != nil {
		t.Fatal(err)
	}
	t.Logf("loaded %d orders in %v", n, time.Since(began))
	if want := []int{500, 1000, 1500, 2000, 2500, 3000}; !slices.Equal(told, want) || made != n {
		t.Errorf("progress %v, %d made", told, made)
	}
	counts := func() (c []string) {
		for _, table := range tables {
			c = append(c, s.rows(t, "SELECT count(*)::text FROM "+table)...)
		}
		return c
	}
	full := []string{"300", "3000", "3000", "6000", "6000", "9000", "9000"}
	if got := counts(); !slices.Equal(got, full) {
		t.Errorf("rows %v, want %v", got, full)
	}

	// The 700th of the next load is wrong: nothing of it stays, and what was asked of the sequence ends there.
	for name, spoil := range map[string]func(*order.Draft){
		"total": func(d *order.Draft) { d.Order.TotalMinor++ },
		"email": func(d *order.Draft) { d.Order.Email = new("not an address") },
		"line":  func(d *order.Draft) { d.FulfillmentLines[0].LineID = id.New() },
	} {
		made = 0
		err := s.Load(t.Context(), func(yield func(*order.Draft) bool) {
			for i := range n {
				made++
				d := draft(id.New(), day)
				if i == 700 {
					spoil(d)
				}
				if !yield(d) {
					return
				}
			}
		}, nil)
		if err == nil || made != 1000 || strings.Contains(err.Error(), "not an address") {
			t.Errorf("%s: %v after %d drafts", name, err, made)
		}
	}
	if err := s.Load(t.Context(), iter.Seq[*order.Draft](func(func(*order.Draft) bool) {}), nil); err != nil {
		t.Errorf("nothing to load: %v", err)
	}
	if got := counts(); !slices.Equal(got, full) {
		t.Errorf("rows after failures %v, want %v", got, full)
	}
}

// TestOwnersListsUseThePrimaryKey reads the plans of what runs, on tables that have enough rows for a choice.
func TestOwnersListsUseThePrimaryKey(t *testing.T) {
	t.Parallel()
	s := open(t)
	owners := make([]uuid.UUID, 100)
	var drafts []*order.Draft
	for i := range owners {
		owners[i] = id.New()
		for n := range 20 {
			drafts = append(drafts, draft(owners[i], day.Add(time.Duration(n*100+i)*time.Second)))
		}
	}
	s.load(t, drafts...)
	for _, table := range tables {
		if _, err := postgres.Exec(t.Context(), s.db, postgres.Stmt{Name: "test", SQL: "ANALYZE " + table}); err != nil {
			t.Fatal(err)
		}
	}

	var mu sync.Mutex
	plans := map[string][]string{} // by statement: the tables with the index by which each is read
	db, err := postgres.Open(t.Context(), s.dbs.URLs["orders"], postgres.Options{
		Explain: func(ctx context.Context, stmt postgres.Stmt, args []any, run func(context.Context, string, ...any) (string, error)) {
			text, err := run(ctx, "EXPLAIN (FORMAT JSON) "+stmt.SQL, args...)
			if err != nil {
				t.Errorf("%s: %v", stmt.Name, err)
				return
			}
			var plan any
			if err := json.Unmarshal([]byte(text), &plan); err != nil {
				t.Errorf("%s: %v", stmt.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			plans[stmt.Name] = accesses(plan, nil)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	svc := order.New(order.Config{DB: db, Sealer: sealer(t, s.keys), Currency: "EUR"})

	one := []id.Key{drafts[0].Order.Key(), drafts[1].Order.Key(), drafts[2].Order.Key()}
	var many, parcels []id.Key
	for i := range owners {
		many = append(many, drafts[i*20].Order.Key())
		parcels = append(parcels, drafts[i*20].Fulfillments[0].Key())
	}
	customer, support := as(t.Context(), owners[0]), staff(t.Context())
	var none error
	note := func(_ any, err error) { none = errors.Join(none, err) }
	for _, c := range []struct {
		name, statement string
		run             func()
		want            []string
	}{
		{"own list", "orders.list", func() { note(svc.List(customer, order.Filter{}, byTime(page.Descending), page.Args{First: new(5)})) },
			[]string{"orders by orders_pkey"}},
		{"own list backwards", "orders.list", func() { note(svc.List(customer, order.Filter{}, byTime(page.Descending), page.Args{Last: new(5)})) },
			[]string{"orders by orders_pkey"}},
		{"own list, filtered", "orders.list", func() {
			note(svc.List(customer, order.Filter{Statuses: []order.Status{order.StatusConfirmed}}, byTime(page.Descending), page.Args{First: new(5)}))
		}, []string{"orders by orders_pkey"}},
		{"own count", "orders.count", func() { note(svc.Count(customer, order.Filter{})) }, []string{"orders by orders_pkey"}},
		{"everybody's list", "orders.list", func() { note(svc.List(support, order.Filter{}, byTime(page.Descending), page.Args{First: new(5)})) },
			[]string{"orders by orders_by_id"}},
		{"everybody's list by total", "orders.list", func() { note(svc.List(support, order.Filter{}, byTotal(page.Descending), page.Args{First: new(5)})) },
			[]string{"orders by orders_by_total"}},
		{"of one owner", "orders.published_orders_by_key", func() { note(svc.ByKeys(customer, one)) }, []string{"orders by orders_pkey"}},
		{"lines of one owner", "orders.lines_by_order", func() { note(svc.LinesOf(customer, one)) },
			[]string{"lines by lines_owner_id_order_id_position_key"}},
	} {
		c.run()
		slices.Sort(plans[c.statement])
		if got := plans[c.statement]; !slices.Equal(got, c.want) {
			t.Errorf("%s reads %v, want %v", c.name, got, c.want)
		}
	}

	// Nothing that staff reads by keys or owners reads a table as a whole, though small tables tempt the planner to.
	note(svc.ByNumber(support, drafts[7].Order.Number))
	note(svc.ListByOwners(support, owners[:4], page.Args{First: new(5)}))
	note(svc.ByKeys(support, many[:4]))
	note(svc.LinesOf(support, many[:4]))
	note(svc.FulfillmentsOf(support, many[:4]))
	note(svc.FulfillmentLinesOf(support, parcels[:4]))
	note(svc.EventsOf(support, many[:4]))
	for _, name := range []string{"orders.order_by_number", "orders.list_by_owner", "orders.orders_by_key", "orders.lines_by_order",
		"orders.fulfillments_by_order", "orders.lines_by_fulfillment", "orders.events_by_order"} {
		if len(plans[name]) == 0 {
			t.Errorf("%s was not explained", name)
		}
		for _, access := range plans[name] {
			if strings.HasSuffix(access, " as a whole") && !strings.HasPrefix(access, "owners ") {
				t.Errorf("%s reads %v", name, plans[name])
			}
		}
	}
	if none != nil {
		t.Error(none)
	}
}

// accesses returns how the nodes of a plan get at the tables.
func accesses(plan any, found []string) []string {
	switch node := plan.(type) {
	case []any:
		for _, child := range node {
			found = accesses(child, found)
		}
	case map[string]any:
		relation, _ := node["Relation Name"].(string)
		index, _ := node["Index Name"].(string)
		switch kind, _ := node["Node Type"].(string); {
		case kind == "Bitmap Heap Scan":
			for _, child := range node["Plans"].([]any) {
				name, _ := child.(map[string]any)["Index Name"].(string)
				found = append(found, relation+" by "+name)
			}
			return found
		case relation != "" && index != "":
			found = append(found, relation+" by "+index)
		case relation != "":
			found = append(found, relation+" as a whole")
		}
		for _, child := range node {
			found = accesses(child, found)
		}
	}
	return found
}

func TestReseal(t *testing.T) {
	t.Parallel()
	s := open(t)
	var drafts []*order.Draft
	var keys []id.Key
	for i := range 803 {
		d := draft(id.New(), day.Add(time.Duration(i)*time.Second), func(d *order.Draft) {
			switch i % 4 { // nothing sealed, or a part
			case 1:
				d.Order.BillingAddress = nil
			case 2:
				d.Order.Email, d.Order.ShippingAddress, d.Order.BillingAddress, d.Order.Note = nil, nil, nil, nil
			}
		})
		drafts, keys = append(drafts, d), append(keys, d.Order.Key())
	}
	s.load(t, drafts...)
	const unsealed = 201 // orders with nothing to seal
	if n, err := s.Reseal(t.Context(), nil); n != 0 || err != nil {
		t.Fatalf("Reseal under the same key = %d, %v", n, err)
	}

	rotated, err := s.keys.Rotate()
	if err != nil {
		t.Fatal(err)
	}

	// Meanwhile, between reading and writing, somebody writes: a status and an e-mail address under the old key. Both must
	// stay, and the address must be sealed anew.
	const edited = 1
	row := append(slices.Clone(keys[edited].Owner[:]), keys[edited].ID[:]...)
	late := sealer(t, s.keys).SealString(seal.Field{Table: "orders.orders", Column: "email", Row: row}, "late@example.com")
	var once sync.Once
	between, err := postgres.Open(t.Context(), s.dbs.URLs["orders"], postgres.Options{
		Explain: func(ctx context.Context, stmt postgres.Stmt, _ []any, _ func(context.Context, string, ...any) (string, error)) {
			if stmt.Name == "orders.reseal" {
				once.Do(func() {
					_, err := postgres.Exec(ctx, s.db, postgres.Stmt{Name: "test",
						SQL: `UPDATE orders.orders SET email = $3, status = 'COMPLETED' WHERE owner_id = $1 AND id = $2`},
						keys[edited].Owner, keys[edited].ID, late)
					if err != nil {
						t.Error(err)
					}
				})
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(between.Close)
	var told []int
	n, err := order.New(order.Config{DB: between, Sealer: sealer(t, rotated), Currency: "EUR"}).Reseal(t.Context(), func(done int) { told = append(told, done) })
	if want := len(drafts) - unsealed; err != nil || n != want || !slices.Equal(told, []int{499, want - 1, want}) {
		t.Errorf("Reseal = %d, %v; progress %v", n, err, told)
	}
	drafts[edited].Order.Email, drafts[edited].Order.Status = new("late@example.com"), order.StatusCompleted

	pruned, err := rotated.Prune()
	if err != nil {
		t.Fatal(err)
	}
	got, err := order.New(order.Config{DB: s.db, Sealer: sealer(t, pruned), Currency: "EUR"}).ByKeys(staff(t.Context()), keys)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b *order.Order) int { return a.CreatedAt.Compare(b.CreatedAt) })
	want := make([]*order.Order, len(drafts))
	for i, d := range drafts {
		want[i] = &d.Order
	}
	equal(t, "orders without the old key", got, want)
}

// BenchmarkList measures a staff list of 100 orders of 100 owners with their 200 lines.
func BenchmarkList(b *testing.B) {
	s := open(b)
	var drafts []*order.Draft
	for i := range 5000 {
		drafts = append(drafts, draft(id.New(), day.Add(time.Duration(i)*time.Second)))
	}
	s.load(b, drafts...)
	for _, table := range tables {
		if _, err := postgres.Exec(b.Context(), s.db, postgres.Stmt{Name: "test", SQL: "ANALYZE " + table}); err != nil {
			b.Fatal(err)
		}
	}
	ctx := staff(b.Context())
	var keys []id.Key
	b.Run("orders", func(b *testing.B) {
		for b.Loop() {
			c, err := s.List(ctx, order.Filter{}, byTime(page.Descending), page.Args{First: new(100)})
			if err != nil || len(c.Edges) != 100 {
				b.Fatal(err)
			}
			keys = keys[:0]
			for _, o := range c.Nodes() {
				keys = append(keys, o.Key())
			}
		}
	})
	b.Run("lines", func(b *testing.B) {
		for b.Loop() {
			if lines, err := s.LinesOf(ctx, keys); err != nil || len(lines) != 200 {
				b.Fatal(len(lines), err)
			}
		}
	})
	b.Run("pages", func(b *testing.B) {
		owners := make([]uuid.UUID, 0, 50)
		for _, k := range keys[:50] {
			owners = append(owners, k.Owner)
		}
		for b.Loop() {
			if pages, err := s.ListByOwners(ctx, owners, page.Args{First: new(5)}); err != nil || len(pages) != 50 {
				b.Fatal(fmt.Sprint(len(pages)), err)
			}
		}
	})
}
