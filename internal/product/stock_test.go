package product_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
	"emporium/migrations"
)

// shelf is a catalogue of one product on sale, with a variant for each number on hand, ordered by ID.
func shelf(t testing.TB, onHand ...int) (*catalogue, []uuid.UUID) {
	t.Helper()
	dbs := pgtest.New(t)
	c := &catalogue{db: dbs.Products, url: dbs.URLs["products"]}
	c.Service = product.New(c.db, "EUR")
	d := &product.Draft{Product: product.Product{Slug: "shirt", Title: "Shirt", Status: product.StatusActive}, Options: []product.Option{{Name: "Size"}}}
	keys := make([]uuid.UUID, len(onHand))
	for i, n := range onHand {
		keys[i] = id.New()
		d.Variants = append(d.Variants, product.VariantDraft{OnHand: &n,
			Variant: product.Variant{ID: keys[i], OptionChoices: []string{fmt.Sprint(i)}, PriceMinor: 100}})
	}
	c.drafts = []*product.Draft{d}
	if err := c.Load(as(), nil, nil, slices.Values(c.drafts), nil); err != nil {
		t.Fatal(err)
	}
	return c, keys
}

// settled wants what always holds of the stock: the ledger adds up to what is on hand, the holds to what is held, and what
// an order has bought, less what has come back, to its movements.
func (c *catalogue) settled(t testing.TB) {
	t.Helper()
	wrong, err := postgres.Select(as(), c.db, postgres.Stmt{Name: "test.settled", Reads: postgres.All("products.stock",
		"products.stock_movements", "products.holds", "products.hold_orders"), SQL: `
		WITH keys AS (SELECT variant_id FROM products.stock UNION SELECT variant_id FROM products.stock_movements UNION SELECT variant_id FROM products.holds),
		sums AS (SELECT k.variant_id, coalesce(s.on_hand, 0) AS on_hand, coalesce(s.held, 0) AS held,
			coalesce((SELECT sum(m.delta) FROM products.stock_movements m WHERE m.variant_id = k.variant_id), 0) AS ledger,
			coalesce((SELECT sum(h.quantity) FROM products.holds h JOIN products.hold_orders o USING (order_id)
				WHERE h.variant_id = k.variant_id AND o.state = 'HELD'), 0) AS holds
			FROM keys k LEFT JOIN products.stock s USING (variant_id)),
		bought AS (SELECT order_id, variant_id, sum(CASE WHEN o.state = 'SOLD' THEN h.quantity - h.restocked ELSE 0 END) AS n
			FROM products.holds h JOIN products.hold_orders o USING (order_id) GROUP BY 1, 2),
		moved AS (SELECT order_id, variant_id, -sum(delta) AS n FROM products.stock_movements WHERE order_id IS NOT NULL GROUP BY 1, 2)
		SELECT format('variant %s: on hand %s, ledger %s; held %s, holds %s', variant_id, on_hand, ledger, held, holds) FROM sums
			WHERE on_hand <> ledger OR held <> holds
		UNION ALL SELECT format('order %s, variant %s: bought %s, moved %s', order_id, variant_id, b.n, m.n)
			FROM bought b FULL JOIN moved m USING (order_id, variant_id) WHERE coalesce(b.n, 0) <> coalesce(m.n, 0)`,
	}, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}

// stock returns what is on hand and held of each variant, like "10/0 3/1".
func (c *catalogue) stock(t testing.TB, keys ...uuid.UUID) string {
	t.Helper()
	rows, err := c.Stock(as(auth.RoleService), keys)
	if err != nil {
		t.Fatal(err)
	}
	text := make([]string, len(keys))
	for _, r := range rows {
		text[slices.Index(keys, r.VariantID)] = fmt.Sprintf("%d/%d", r.OnHand, r.Held)
	}
	return strings.Join(text, " ")
}

func (c *catalogue) wantStock(t testing.TB, want string, keys ...uuid.UUID) {
	t.Helper()
	if got := c.stock(t, keys...); got != want {
		t.Errorf("stock %s, want %s", got, want)
	}
	c.settled(t)
}

// ledger returns the movements of a variant, the oldest first, like "OPENING 10, SALE -2".
func (c *catalogue) ledger(t testing.TB, key uuid.UUID) string {
	t.Helper()
	pages, err := c.Movements(as(auth.RoleSupport), []uuid.UUID{key}, page.Args{First: new(100)})
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, m := range pages[key].Nodes() {
		text = append(text, fmt.Sprint(m.Reason, " ", m.Delta))
	}
	slices.Reverse(text)
	return strings.Join(text, ", ")
}

func hold(n int, keys ...uuid.UUID) (lines []product.HoldLine) {
	for _, k := range keys {
		lines = append(lines, product.HoldLine{VariantID: k, Quantity: n})
	}
	return lines
}

func wantErr(t testing.TB, what string, err, kind error) {
	t.Helper()
	if kind == nil && err != nil || kind != nil && !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
	if kind != nil && errors.Is(kind, product.ErrNoHold) != fault.Is(err, fault.NotFound) || kind != nil && !errors.Is(kind, product.ErrNoHold) && !fault.Is(err, fault.Conflict) {
		t.Errorf("%s: its code is %s", what, fault.CodeOf(err))
	}
}

var later = time.Now().Add(time.Hour)

// TestHoldLife goes the ways of an order: held and sold, held and released, come back.
func TestHoldLife(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 10, 5, 0)
	ctx := context.Background()
	order := id.New()

	wantErr(t, "sell nothing", c.Sell(ctx, order), product.ErrNoHold)
	wantErr(t, "restock nothing", c.Restock(ctx, order, "k", hold(1, v[0])), product.ErrNoHold)
	lines := []product.HoldLine{{v[1], 1}, {v[0], 2}, {v[1], 1}}
	same := []product.HoldLine{{v[0], 2}, {v[1], 2}}
	wantErr(t, "hold", c.Hold(ctx, order, lines, later), nil)
	c.wantStock(t, "10/2 5/2 0/0", v...)
	wantErr(t, "hold again", c.Hold(ctx, order, same, later.Add(time.Hour)), nil)
	wantErr(t, "hold something else", c.Hold(ctx, order, hold(2, v[0]), later), product.ErrOtherLines)
	wantErr(t, "restock what is held", c.Restock(ctx, order, "k", hold(1, v[0])), product.ErrHoldOpen)
	c.wantStock(t, "10/2 5/2 0/0", v...)

	wantErr(t, "sell", c.Sell(ctx, order), nil)
	c.wantStock(t, "8/0 3/0 0/0", v...)
	for range 2 {
		wantErr(t, "sell again", c.Sell(ctx, order), nil)
		wantErr(t, "hold what is sold", c.Hold(ctx, order, same, later), nil)
		wantErr(t, "release what is sold", c.Release(ctx, order), product.ErrHoldSold)
	}
	c.wantStock(t, "8/0 3/0 0/0", v...)

	wantErr(t, "restock", c.Restock(ctx, order, "parcel 1", hold(1, v[0], v[1])), nil)
	wantErr(t, "restock again", c.Restock(ctx, order, "parcel 1", hold(1, v[1], v[0])), nil)
	wantErr(t, "restock something else", c.Restock(ctx, order, "parcel 1", hold(2, v[1])), product.ErrOtherLines)
	err := c.Restock(ctx, order, "parcel 2", []product.HoldLine{{v[0], 1}, {v[1], 2}, {v[2], 1}})
	short, ok := errors.AsType[*product.ShortageError](err)
	if want := []product.Shortage{{VariantID: v[1], Wanted: 2, Available: 1}, {VariantID: v[2], Wanted: 1}}; !ok || !slices.Equal(short.Lines, want) || !fault.Is(err, fault.Conflict) {
		t.Errorf("too much comes back: %v", err)
	}
	c.wantStock(t, "9/0 4/0 0/0", v...)
	wantErr(t, "the rest", c.Restock(ctx, order, "parcel 2", hold(1, v[0], v[1])), nil)
	c.wantStock(t, "10/0 5/0 0/0", v...)
	if got := c.ledger(t, v[0]); got != "OPENING 10, SALE -2, RETURN 1, RETURN 1" {
		t.Errorf("ledger %s", got)
	}

	order = id.New()
	wantErr(t, "hold", c.Hold(ctx, order, same, later), nil)
	for range 2 {
		wantErr(t, "release", c.Release(ctx, order), nil)
		c.wantStock(t, "10/0 5/0 0/0", v...)
	}
	wantErr(t, "sell what is released", c.Sell(ctx, order), product.ErrHoldReleased)
	wantErr(t, "hold what is released", c.Hold(ctx, order, same, later), product.ErrHoldReleased)
	wantErr(t, "restock what is released", c.Restock(ctx, order, "k", hold(1, v[0])), product.ErrHoldReleased)

	// An order that was given up before it held anything holds nothing any more.
	order = id.New()
	wantErr(t, "release nothing", c.Release(ctx, order), nil)
	wantErr(t, "a late hold", c.Hold(ctx, order, same, later), product.ErrHoldReleased)
	c.wantStock(t, "10/0 5/0 0/0", v...)

	for name, lines := range map[string][]product.HoldLine{
		"no lines": nil, "none": hold(0, v[0]), "less than none": hold(-1, v[0]), "too many": hold(2e9, v[0]),
		"too many in all": {{v[0], 1e9}, {v[0], 1}}, "of too many variants": hold(1, func() (all []uuid.UUID) {
			for range 251 {
				all = append(all, id.New())
			}
			return all
		}()...),
	} {
		if err := c.Hold(ctx, id.New(), lines, later); !fault.Is(err, fault.BadUserInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, key := range []string{"", strings.Repeat("x", 256)} {
		if err := c.Restock(ctx, order, key, hold(1, v[0])); !fault.Is(err, fault.BadUserInput) {
			t.Errorf("key %q: %v", key, err)
		}
	}
	c.wantStock(t, "10/0 5/0 0/0", v...)
}

// TestShortages lists everything that can not be had, and holds nothing of it.
func TestShortages(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 10, 5, 0, 1)
	draft := &product.Draft{Product: product.Product{Slug: "draft", Title: "Draft"}, Variants: []product.VariantDraft{{OnHand: new(9)}}}
	c.upsert(t, product.UpsertResult{Created: 1}, draft)
	hidden, unknown := draft.Variants[0].ID, id.New()
	for name, test := range map[string]struct {
		lines []product.HoldLine
		want  []product.Shortage
	}{
		"short": {[]product.HoldLine{{v[0], 10}, {v[1], 6}, {v[2], 1}, {v[3], 1}},
			[]product.Shortage{{VariantID: v[1], Wanted: 6, Available: 5}, {VariantID: v[2], Wanted: 1}}},
		"not on sale, and short": {[]product.HoldLine{{hidden, 1}, {unknown, 2}, {v[0], 11}, {v[1], 5}},
			[]product.Shortage{{VariantID: v[0], Wanted: 11, Available: 10}, {VariantID: hidden, Wanted: 1, Unknown: true}, {VariantID: unknown, Wanted: 2, Unknown: true}}},
	} {
		order := id.New()
		err := c.Hold(context.Background(), order, test.lines, later)
		short, ok := errors.AsType[*product.ShortageError](err)
		if !ok || !fault.Is(err, fault.Conflict) || !slices.Equal(short.Lines, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		c.wantStock(t, "10/0 5/0 0/0 1/0 9/0", v[0], v[1], v[2], v[3], hidden)
		// What was refused leaves nothing behind: less of it can be had.
		wantErr(t, name, c.Hold(context.Background(), order, hold(1, v[0]), later), nil)
		wantErr(t, name, c.Release(context.Background(), order), nil)
	}
}

// race runs n functions at the same time.
func race(n int, do func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() { <-start; do(i) })
	}
	close(start)
	wg.Wait()
}

// TestLastUnits lets many buyers want what there is of less.
func TestLastUnits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ buyers, units int }{{100, 10}, {50, 1}} {
		c, v := shelf(t, test.units, 1000)
		orders := make([]uuid.UUID, test.buyers)
		var held, refused atomic.Int32
		race(test.buyers, func(i int) {
			orders[i] = id.New()
			err := c.Hold(context.Background(), orders[i], hold(1, v...), later)
			if short, ok := errors.AsType[*product.ShortageError](err); ok && slices.Equal(short.Lines, []product.Shortage{{VariantID: v[0], Wanted: 1}}) {
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			} else {
				held.Add(1)
			}
		})
		if int(held.Load()) != test.units || int(refused.Load()) != test.buyers-test.units {
			t.Errorf("%d buyers for %d: %d have one, %d were refused", test.buyers, test.units, held.Load(), refused.Load())
		}
		c.wantStock(t, fmt.Sprintf("%d/%d 1000/%d", test.units, test.units, test.units), v...)
		race(test.buyers, func(i int) { wantErr(t, "release", c.Release(context.Background(), orders[i]), nil) })
		c.wantStock(t, fmt.Sprintf("%d/0 1000/0", test.units), v...)
	}
}

// TestRacesOfOneOrder lets an order be held, sold, released and restocked from many sides at once. It ends in one of its
// final states, and everybody was told so.
func TestRacesOfOneOrder(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 40, 40)
	sold := 0
	for range 20 {
		order := id.New()
		lines := hold(2, v[1], v[0])
		var soldN, releasedN atomic.Int32
		race(20, func(i int) {
			switch i % 4 {
			case 0:
				if err := c.Hold(context.Background(), order, lines, later); err != nil && !errors.Is(err, product.ErrHoldReleased) {
					t.Error(err)
				}
			case 1:
				switch err := c.Sell(context.Background(), order); {
				case err == nil:
					soldN.Add(1)
				case !errors.Is(err, product.ErrHoldReleased) && !errors.Is(err, product.ErrNoHold):
					t.Error(err)
				}
			case 2:
				if i == 18 {
					return
				}
				switch err := c.Release(context.Background(), order); {
				case err == nil:
					releasedN.Add(1)
				case !errors.Is(err, product.ErrHoldSold):
					t.Error(err)
				}
			default:
				if err := c.Restock(context.Background(), order, "same", hold(1, v[0])); err != nil && !errors.Is(err, product.ErrHoldReleased) &&
					!errors.Is(err, product.ErrNoHold) && !errors.Is(err, product.ErrHoldOpen) {
					t.Error(err)
				}
			}
		})
		if (soldN.Load() > 0) == (releasedN.Load() > 0) {
			t.Errorf("sold to %d, released to %d", soldN.Load(), releasedN.Load())
		}
		if soldN.Load() > 0 {
			sold++
			wantErr(t, "restock", c.Restock(context.Background(), order, "same", hold(1, v[0])), nil)
		}
		c.wantStock(t, fmt.Sprintf("%d/0 %d/0", 40-sold, 40-2*sold), v...)
	}
	t.Logf("sold %d of 20", sold)
}

// TestOppositeOrdersDoNotDeadlock holds, sells and imports the same variants in opposite orders.
func TestOppositeOrdersDoNotDeadlock(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 1000, 1000, 1000)
	before := c.count(t, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
	backwards := slices.Clone(v)
	slices.Reverse(backwards)
	race(16, func(i int) {
		for range 15 {
			order, lines := id.New(), hold(1, v...)
			if i%2 == 0 {
				lines = hold(1, backwards...)
			}
			wantErr(t, "hold", c.Hold(context.Background(), order, lines, later), nil)
			if i%4 < 2 {
				wantErr(t, "sell", c.Sell(context.Background(), order), nil)
			} else {
				wantErr(t, "release", c.Release(context.Background(), order), nil)
			}
		}
	})
	c.wantStock(t, "880/0 880/0 880/0", v...)
	time.Sleep(1100 * time.Millisecond) // for the statistics of backends that are busy
	if after := c.count(t, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"); after != before {
		t.Errorf("%d deadlocks", after-before)
	}
}

func (c *catalogue) count(t testing.TB, sql string, args ...any) int {
	t.Helper()
	n, _, err := postgres.First(as(), c.db, postgres.Stmt{Name: "test.count", SQL: sql, Reads: postgres.All("products.stock", "products.stock_movements",
		"products.idempotency_keys", "products.hold_orders", "products.holds")}, pgx.RowTo[int], args...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReleaseExpired lets eight jobs release what has expired while the orders are being sold.
func TestReleaseExpired(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 100, 100)
	ctx, now := context.Background(), time.Now()
	orders := make([]uuid.UUID, 60)
	for i := range orders {
		orders[i] = id.New()
		until := now.Add(-time.Minute)
		if i >= 50 {
			until = now.Add(time.Minute)
		}
		if err := c.Hold(ctx, orders[i], hold(1, v...), until); err != nil {
			t.Fatal(err)
		}
	}
	var sold, released atomic.Int32
	race(16, func(i int) {
		if i < 8 {
			for {
				n, err := c.ReleaseExpired(ctx, now, 7)
				if err != nil {
					t.Error(err)
				}
				if released.Add(int32(n)); n == 0 {
					return
				}
			}
		}
		for j := i - 8; j < 50; j += 8 {
			if err := c.Sell(ctx, orders[j]); err == nil {
				sold.Add(1)
			} else if !errors.Is(err, product.ErrHoldReleased) {
				t.Error(err)
			}
		}
	})
	if n, err := c.ReleaseExpired(ctx, now, 100); n != 0 || err != nil {
		t.Errorf("%d more were released, %v", n, err)
	}
	t.Logf("%d sold, %d released", sold.Load(), released.Load())
	if sold.Load()+released.Load() != 50 {
		t.Errorf("%d sold and %d released of 50", sold.Load(), released.Load())
	}
	c.wantStock(t, fmt.Sprintf("%d/10 %d/10", 100-sold.Load(), 100-sold.Load()), v...)
	if n, err := c.ReleaseExpired(ctx, now.Add(time.Hour), 3); n != 3 || err != nil {
		t.Errorf("%d of at most 3 were released, %v", n, err)
	}
	c.settled(t)
}

// model is what the stock should be.
type model struct {
	onHand, held map[uuid.UUID]int
	orders       map[uuid.UUID]*modelOrder
}

type modelOrder struct {
	state string
	lines map[uuid.UUID]int
	back  map[uuid.UUID]int
}

// TestStockAgainstModel runs random commands against a simple model.
func TestStockAgainstModel(t *testing.T) {
	t.Parallel()
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			c, v := shelf(t, 12, 3, 0, 7)
			m := model{onHand: map[uuid.UUID]int{v[0]: 12, v[1]: 3, v[2]: 0, v[3]: 7}, held: map[uuid.UUID]int{}, orders: map[uuid.UUID]*modelOrder{}}
			var orders []uuid.UUID
			for range 6 {
				orders = append(orders, id.New())
			}
			staff := as(auth.RoleManager)
			for step := range 150 {
				i := r.IntN(len(orders))
				order := orders[i]
				if o := m.orders[order]; o != nil && o.state != "HELD" && r.IntN(8) == 0 {
					orders[i] = id.New()
				}
				what, got, want := m.step(r, c, staff, order, v, step)
				if got != want {
					t.Fatalf("step %d, %s: %s, want %s", step, what, got, want)
				}
				var texts []string
				for _, k := range v {
					texts = append(texts, fmt.Sprintf("%d/%d", m.onHand[k], m.held[k]))
				}
				if c.wantStock(t, strings.Join(texts, " "), v...); t.Failed() {
					t.Fatalf("after step %d, %s", step, what)
				}
			}
		})
	}
}

// outcome names an error.
func outcome(err error) string {
	for _, kind := range []error{product.ErrNoHold, product.ErrHoldReleased, product.ErrHoldSold, product.ErrHoldOpen, product.ErrOtherLines} {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	if _, ok := errors.AsType[*product.ShortageError](err); ok {
		return "short"
	}
	return fmt.Sprint(err)
}

// step runs a random command on the model and the service.
func (m *model) step(r *rand.Rand, c *catalogue, staff context.Context, order uuid.UUID, v []uuid.UUID, step int) (what, got, want string) {
	o := m.orders[order]
	lines, wanted := []product.HoldLine{}, map[uuid.UUID]int{}
	for range 1 + r.IntN(3) {
		l := product.HoldLine{VariantID: pick(r, v...), Quantity: 1 + r.IntN(3)}
		lines, wanted[l.VariantID] = append(lines, l), wanted[l.VariantID]+l.Quantity
	}
	ctx, ok := context.Background(), "<nil>"
	switch r.IntN(8) {
	case 0, 1:
		if o != nil && r.IntN(2) == 0 { // again
			lines, wanted = nil, o.lines
			for k, n := range o.lines {
				lines = append(lines, product.HoldLine{VariantID: k, Quantity: n})
			}
		}
		if len(lines) == 0 { // of an order that was given up at once
			return "nothing", "", ""
		}
		what, got = fmt.Sprint("hold ", lines), outcome(c.Hold(ctx, order, lines, later))
		switch {
		case o != nil && o.state == "RELEASED":
			return what, got, product.ErrHoldReleased.Error()
		case o != nil && fmt.Sprint(o.lines) != fmt.Sprint(wanted):
			return what, got, product.ErrOtherLines.Error()
		case o != nil:
			return what, got, ok
		}
		for k, n := range wanted {
			if m.onHand[k]-m.held[k] < n {
				return what, got, "short"
			}
		}
		for k, n := range wanted {
			m.held[k] += n
		}
		m.orders[order] = &modelOrder{"HELD", wanted, map[uuid.UUID]int{}}
		return what, got, ok
	case 2:
		got = outcome(c.Sell(ctx, order))
		switch {
		case o == nil:
			return "sell", got, product.ErrNoHold.Error()
		case o.state == "RELEASED":
			return "sell", got, product.ErrHoldReleased.Error()
		case o.state == "HELD":
			for k, n := range o.lines {
				m.held[k], m.onHand[k], o.state = m.held[k]-n, m.onHand[k]-n, "SOLD"
			}
		}
		return "sell", got, ok
	case 3:
		got = outcome(c.Release(ctx, order))
		switch {
		case o == nil:
			m.orders[order] = &modelOrder{state: "RELEASED"}
		case o.state == "SOLD":
			return "release", got, product.ErrHoldSold.Error()
		case o.state == "HELD":
			for k, n := range o.lines {
				m.held[k], o.state = m.held[k]-n, "RELEASED"
			}
		}
		return "release", got, ok
	case 4:
		what, got = fmt.Sprint("restock ", lines), outcome(c.Restock(ctx, order, fmt.Sprint(step), lines))
		switch {
		case o == nil:
			return what, got, product.ErrNoHold.Error()
		case o.state == "RELEASED":
			return what, got, product.ErrHoldReleased.Error()
		case o.state == "HELD":
			return what, got, product.ErrHoldOpen.Error()
		}
		for k, n := range wanted {
			if o.lines[k]-o.back[k] < n {
				return what, got, "short"
			}
		}
		for k, n := range wanted {
			o.back[k] += n
			m.onHand[k] += n
		}
		return what, got, ok
	case 5:
		now, expired := later.Add(time.Duration(r.IntN(2)*2-1)*time.Minute), 0
		n, err := c.ReleaseExpired(ctx, now, 100)
		if got = fmt.Sprint(n, err); now.After(later) {
			for _, o := range m.orders {
				if o.state == "HELD" {
					expired++
					for k, n := range o.lines {
						m.held[k], o.state = m.held[k]-n, "RELEASED"
					}
				}
			}
		}
		return "release what has expired", got, fmt.Sprint(expired, error(nil))
	case 6:
		k, delta := pick(r, v...), r.IntN(9)-4
		p, err := c.AdjustStock(staff, product.StockAdjustInput{VariantID: id.Of(id.Variant, k), Delta: delta, Reason: product.StockCorrection}, fmt.Sprint("adjust-", step))
		if err != nil {
			return "adjust", err.Error(), ok
		}
		what, got = fmt.Sprint("adjust ", k, delta), codesOf(p.UserErrors)
		switch {
		case delta == 0:
			return what, got, "INVALID delta"
		case m.onHand[k]-m.held[k]+delta < 0:
			return what, got, "OUT_OF_STOCK delta"
		}
		m.onHand[k] += delta
		return what, got, ""
	default:
		k, n := pick(r, v...), r.IntN(12)
		believed := m.onHand[k] + r.IntN(4)/3
		p, err := c.SetStock(staff, product.StockSetInput{VariantID: id.Of(id.Variant, k), Quantity: n, CompareQuantity: believed}, fmt.Sprint("set-", step))
		if err != nil {
			return "set", err.Error(), ok
		}
		what, got = fmt.Sprint("set ", k, n), codesOf(p.UserErrors)
		switch {
		case believed != m.onHand[k]:
			return what, got, "STALE compareQuantity"
		case n < m.held[k]:
			return what, got, "OUT_OF_STOCK quantity"
		}
		m.onHand[k] = n
		return what, got, ""
	}
}

func codesOf(problems []fault.Problem) string {
	var text []string
	for _, p := range problems {
		text = append(text, string(p.Code)+" "+strings.Join(p.Field, "."))
	}
	return strings.Join(text, ", ")
}

// TestAdjustAndSet goes through what staff may do with stock, and may not.
func TestAdjustAndSet(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 10, 5)
	if err := c.Hold(context.Background(), id.New(), hold(4, v[0]), later); err != nil {
		t.Fatal(err)
	}
	manager := as(auth.RoleManager)
	key := 0
	adjust := func(i id.ID, delta int, reason product.StockReason, note *string) (*product.StockAdjustPayload, error) {
		key++
		return c.AdjustStock(manager, product.StockAdjustInput{VariantID: i, Delta: delta, Reason: reason, Note: note}, fmt.Sprint(key))
	}
	first := id.Of(id.Variant, v[0])
	for _, test := range []struct {
		name   string
		id     id.ID
		delta  int
		reason product.StockReason
		note   *string
		want   string
	}{
		{"received", first, 5, product.StockReceived, new(" from the supplier "), ""},
		{"as much as is free", first, -11, product.StockLost, nil, ""},
		{"what is held", first, -1, product.StockLost, nil, "OUT_OF_STOCK delta"},
		{"nothing", first, 0, product.StockLost, nil, "INVALID delta"},
		{"too much", first, 2_000_000_000, product.StockReceived, nil, "INVALID delta"},
		{"far too much", first, -1 << 62, product.StockLost, nil, "INVALID delta"},
		{"a sale by hand", first, -1, product.StockSale, nil, "INVALID reason"},
		{"an unknown reason", first, -1, "WHIM", nil, "INVALID reason"},
		{"a long note", first, 1, product.StockReceived, new(strings.Repeat("é", 1001)), "INVALID note"},
		{"an unknown variant", id.Of(id.Variant, id.New()), 1, product.StockReceived, nil, "INVALID variantId"},
		{"no variant", id.Of(id.Product, v[0]), 1, product.StockReceived, nil, "INVALID variantId"},
	} {
		p, err := adjust(test.id, test.delta, test.reason, test.note)
		if err != nil || codesOf(p.UserErrors) != test.want {
			t.Errorf("%s: %+v, %v", test.name, p, err)
		}
	}
	c.wantStock(t, "4/4 5/0", v...)
	pages, err := c.Movements(manager, v[:1], page.Args{First: new(2)})
	if err != nil {
		t.Fatal(err)
	}
	lost, received := pages[v[0]].Nodes()[0], pages[v[0]].Nodes()[1]
	actor := auth.From(manager).ID
	if lost.Delta != -11 || lost.Note != nil || received.Delta != 5 || received.Reason != product.StockReceived || *received.Note != "from the supplier" ||
		*received.ActorID != actor || received.OrderID != nil || time.Since(received.CreatedAt) > time.Minute {
		t.Errorf("movements %+v, %+v", lost, received)
	}

	for _, test := range []struct {
		quantity, believed int
		want, says         string
	}{
		{7, 4, "", ""}, {8, 4, "STALE compareQuantity", "7 are on hand"}, {7, 7, "", ""}, {3, 7, "OUT_OF_STOCK quantity", "4 are held"}, {-1, 7, "INVALID quantity", ""},
		{1_000_000_001, 7, "INVALID quantity", ""}, {4, 7, "", ""},
	} {
		key++
		p, err := c.SetStock(manager, product.StockSetInput{VariantID: first, Quantity: test.quantity, CompareQuantity: test.believed}, fmt.Sprint(key))
		if err != nil || codesOf(p.UserErrors) != test.want || p.VariantID == nil || test.says != "" && !strings.Contains(p.UserErrors[0].Message, test.says) {
			t.Errorf("set %d: %+v, %v", test.quantity, p, err)
		}
	}
	if got := c.ledger(t, v[0]); got != "OPENING 10, RECEIVED 5, LOST -11, COUNT 3, COUNT -3" {
		t.Errorf("ledger %s", got)
	}
	c.wantStock(t, "4/4 5/0", v...)

	// Stock that was never counted gets its row.
	c.exec(t, "DELETE FROM products.stock_movements WHERE variant_id = $1", v[1])
	c.exec(t, "DELETE FROM products.stock WHERE variant_id = $1", v[1])
	if p, err := adjust(id.Of(id.Variant, v[1]), 2, product.StockReceived, nil); err != nil || len(p.UserErrors) > 0 {
		t.Errorf("%+v, %v", p, err)
	}
	c.wantStock(t, "4/4 2/0", v...)

	for _, k := range []string{"", "a b", "é", "x\n", strings.Repeat("x", 256)} {
		if _, err := c.AdjustStock(manager, product.StockAdjustInput{VariantID: first, Delta: 1, Reason: product.StockReceived}, k); !fault.Is(err, fault.BadUserInput) {
			t.Errorf("key %q: %v", k, err)
		}
	}
	c.wantStock(t, "4/4 2/0", v...)
}

// TestSetByMany lets twenty set the same stock from the same belief: one is right.
func TestSetByMany(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 10)
	// Somebody holds the stock until several wait for it: whoever has read it without waiting has read what is not true any
	// more. A connection beside the pool, of which those who wait may have all.
	conn, err := pgx.Connect(t.Context(), c.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM products.stock WHERE variant_id = $1 FOR UPDATE", v[0]); err != nil {
		t.Fatal(err)
	}
	var set atomic.Int32
	var all sync.WaitGroup
	all.Go(func() {
		race(20, func(i int) {
			p, err := c.SetStock(as(auth.RoleAdmin), product.StockSetInput{VariantID: id.Of(id.Variant, v[0]), Quantity: 20 + i, CompareQuantity: 10}, "same")
			switch {
			case err != nil:
				t.Error(err)
			case len(p.UserErrors) == 0:
				set.Add(1)
			case codesOf(p.UserErrors) != "STALE compareQuantity":
				t.Error(p.UserErrors)
			}
		})
	})
	for waiting, deadline := 0, time.Now().Add(20*time.Second); waiting < 3 && err == nil; {
		if time.Now().After(deadline) {
			t.Error("nobody waits for the stock")
			break
		}
		err = tx.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'products.stock'::regclass
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waiting)
	}
	if err := errors.Join(err, tx.Rollback(t.Context())); err != nil {
		t.Error(err)
	}
	all.Wait()
	if set.Load() != 1 || c.count(t, "SELECT count(*) FROM products.stock_movements") != 2 {
		t.Errorf("%d have set it, ledger %s", set.Load(), c.ledger(t, v[0]))
	}
	c.settled(t)
}

// TestStockRoles asks as everybody: what is refused has written nothing and read nothing.
func TestStockRoles(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 10)
	in := product.StockAdjustInput{VariantID: id.Of(id.Variant, v[0]), Delta: 1, Reason: product.StockReceived}
	set := product.StockSetInput{VariantID: in.VariantID, Quantity: 3, CompareQuantity: 10}
	for name, test := range map[string]struct {
		ctx  context.Context
		code fault.Code
	}{
		"nobody": {as(), fault.Unauthenticated}, "customer": {as(auth.RoleCustomer), fault.Forbidden}, "support": {as(auth.RoleSupport), fault.Forbidden},
	} {
		ctx, rec := postgres.Record(test.ctx)
		if p, err := c.AdjustStock(ctx, in, "k"); p != nil || !fault.Is(err, test.code) {
			t.Errorf("%s adjusts: %v, %v", name, p, err)
		}
		if p, err := c.SetStock(ctx, set, "k"); p != nil || !fault.Is(err, test.code) {
			t.Errorf("%s sets: %v, %v", name, p, err)
		}
		if len(rec.Statements()) > 0 {
			t.Errorf("%s: %v", name, rec.Statements())
		}
	}
	c.wantStock(t, "10/0", v...)
	if n := c.count(t, "SELECT count(*) FROM products.idempotency_keys"); n != 0 {
		t.Errorf("%d keys", n)
	}
	for i, role := range []auth.Role{auth.RoleManager, auth.RoleAdmin, auth.RoleService} {
		if p, err := c.AdjustStock(as(role), in, "k"); err != nil || len(p.UserErrors) > 0 {
			t.Errorf("%s: %v, %v", role, p, err)
		}
		c.wantStock(t, fmt.Sprintf("%d/0", 11+i), v...)
	}
}

// TestMovements reads pages of the ledgers of many variants in one statement, for those who may.
func TestMovements(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 1, 0, 3)
	manager := as(auth.RoleManager)
	for i := range 5 {
		if _, err := c.AdjustStock(manager, product.StockAdjustInput{VariantID: id.Of(id.Variant, v[0]), Delta: i + 10, Reason: product.StockReceived}, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	show := func(ctx context.Context, args page.Args, keys ...uuid.UUID) string {
		t.Helper()
		ctx, rec := postgres.Record(ctx)
		pages, err := c.Movements(ctx, keys, args)
		if err != nil || len(rec.Statements()) > 1 || len(pages) != len(keys) {
			t.Fatalf("%v, %v, %v", pages, err, rec.Statements())
		}
		var text []string
		for _, k := range keys {
			var deltas []int
			for _, m := range pages[k].Nodes() {
				deltas = append(deltas, m.Delta)
			}
			text = append(text, fmt.Sprint(deltas, pages[k].PageInfo.HasPreviousPage, pages[k].PageInfo.HasNextPage))
		}
		return strings.Join(text, " ")
	}
	for i, role := range []auth.Role{auth.RoleSupport, auth.RoleManager, auth.RoleAdmin, auth.RoleService} {
		if got := show(as(role), page.Args{First: new(2)}, v...); got != "[14 13] false true [] false false [3] false false" {
			t.Errorf("%d: %s", i, got)
		}
	}
	if got := show(manager, page.Args{Last: new(2)}, v...); got != "[10 1] true false [] false false [3] false false" {
		t.Error(got)
	}
	pages, err := c.Movements(manager, v[:1], page.Args{First: new(2)})
	if err != nil {
		t.Fatal(err)
	}
	if got := show(manager, page.Args{First: new(3), After: pages[v[0]].PageInfo.EndCursor()}, v[0]); got != "[12 11 10] true true" {
		t.Error(got)
	}
	if got := show(manager, page.Args{Last: new(1), Before: pages[v[0]].PageInfo.EndCursor()}, v...); got != "[14] false true [] false true [] false true" && got != "[14] false true [] false true [3] false true" {
		t.Error(got)
	}
	keys := []id.Key{pages[v[0]].Nodes()[0].Key(), pages[v[0]].Nodes()[1].Key(), {Owner: v[2], ID: pages[v[0]].Nodes()[0].ID}}
	if found, err := c.MovementsByKeys(manager, keys); err != nil || len(found) != 2 {
		t.Errorf("by key: %v, %v", found, err)
	}
	for _, ctx := range []context.Context{as(), as(auth.RoleCustomer)} {
		ctx, rec := postgres.Record(ctx)
		if got := show(ctx, page.Args{First: new(2)}, v...); got != "[] false false [] false false [] false false" {
			t.Errorf("for others: %s", got)
		}
		if found, err := c.MovementsByKeys(ctx, keys); err != nil || len(found) != 0 || len(rec.Statements()) != 0 {
			t.Errorf("for others: %v, %v, %v", found, err, rec.Statements())
		}
	}
	for name, args := range map[string]page.Args{"no size": {}, "a foreign cursor": {First: new(1), After: new(page.Cursor("stock_movements", "x"))}} {
		if _, err := c.Movements(manager, v, args); !fault.Is(err, fault.BadUserInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestImportKeepsLedger imports stock while it is held: ledger and column stay one.
func TestImportKeepsLedger(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 10, 5, 0)
	ctx := context.Background()
	order := id.New()
	if err := c.Hold(ctx, order, hold(4, v[0], v[1]), later); err != nil {
		t.Fatal(err)
	}
	c.settled(t)
	draft := func(onHand ...*int) *product.Draft {
		d := &product.Draft{Product: product.Product{Slug: "shirt", Title: "Shirt", Status: product.StatusActive}, Options: []product.Option{{Name: "Size"}}}
		for i, n := range onHand {
			d.Variants = append(d.Variants, product.VariantDraft{OnHand: n, Variant: product.Variant{OptionChoices: []string{fmt.Sprint(i)}, PriceMinor: 100}})
		}
		return d
	}
	c.upsert(t, product.UpsertResult{Updated: 1}, draft(new(2), nil, new(6), new(8), new(0)))
	c.wantStock(t, "4/4 5/4 6/0", v...)
	if got := c.ledger(t, v[0]) + "; " + c.ledger(t, v[1]) + "; " + c.ledger(t, v[2]); got != "OPENING 10, IMPORT -6; OPENING 5; IMPORT 6" {
		t.Errorf("ledgers %s", got)
	}
	if _, err := c.Upsert(as(), sequence(draft(new(100), nil, nil, nil, nil)), true); err != nil {
		t.Fatal(err)
	}
	c.wantStock(t, "4/4 5/4 6/0", v...)

	// Variants that go take their stock along, but not what is held of it: its order goes its way.
	c.upsert(t, product.UpsertResult{Updated: 1}, draft(new(4)))
	c.settled(t)
	if n := c.count(t, "SELECT count(*) FROM products.stock"); n != 2 {
		t.Errorf("%d rows of stock, want that of the variant and that of what is held", n)
	}
	wantErr(t, "sell what is gone", c.Sell(ctx, order), nil)
	c.settled(t)
	wantErr(t, "a variant that is gone comes back", c.Restock(ctx, order, "k", hold(1, v...)[:2]), nil)
	c.settled(t)
	if short, ok := errors.AsType[*product.ShortageError](c.Hold(ctx, id.New(), hold(1, v[1]), later)); !ok || !short.Lines[0].Unknown {
		t.Errorf("a variant that is gone can be held: %v", short)
	}
}

// TestImportAgainstOrders imports again and again while orders are held and sold.
func TestImportAgainstOrders(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 500, 500, 500)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer stop.Store(true)
		for i := range 12 {
			d := c.all(t)[0]
			for j := range d.Variants {
				d.Variants[j].OnHand = new(500 + 10*((i+j)%4))
			}
			if _, err := c.Upsert(as(), sequence(d), false); err != nil {
				t.Error(err)
			}
		}
	})
	race(6, func(i int) {
		for n := 0; n < 80 && !stop.Load(); n++ { // less than what each import leaves
			order, lines := id.New(), hold(1, v...)
			if (n+i)%2 == 0 {
				slices.Reverse(lines)
			}
			wantErr(t, "hold", c.Hold(context.Background(), order, lines, later), nil)
			if n%3 == 0 {
				wantErr(t, "release", c.Release(context.Background(), order), nil)
			} else {
				wantErr(t, "sell", c.Sell(context.Background(), order), nil)
			}
		}
	})
	wg.Wait()
	c.settled(t)
}

// TestMigrationOpensLedger migrates a catalogue that was there before the ledger.
func TestMigrationOpensLedger(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 10, 0)
	url := c.url
	for back := int64(99); back > 2; { // the one that opens it, and all that came later
		steps, err := migrations.Down(t.Context(), url, "products")
		if err != nil || len(steps) == 0 {
			t.Fatal(steps, err)
		}
		back = steps[0].Version
	}
	c.exec(t, "UPDATE products.stock SET held = 3 WHERE variant_id = $1", v[0])
	if _, err := migrations.Up(t.Context(), url, "products"); err != nil {
		t.Fatal(err)
	}
	c.wantStock(t, "10/0 0/0", v...)
	pages, err := c.Movements(as(auth.RoleSupport), v, page.Args{First: new(5)})
	if err != nil || len(pages[v[0]].Nodes()) != 1 || len(pages[v[1]].Nodes()) != 0 {
		t.Fatalf("%v, %v", pages, err)
	}
	m := pages[v[0]].Nodes()[0]
	made, err := id.Time(m.ID)
	if err != nil || m.Delta != 10 || m.Reason != product.StockOpening || m.ID.Variant() != uuid.RFC4122 || time.Since(made).Abs() > time.Minute {
		t.Errorf("%+v, made at %v; %v", m, made, err)
	}
}

// TestLedgerIsAppendOnly looks at every statement of the program, for the ledger of the stock and the history of prices.
func TestLedgerIsAppendOnly(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`(?i)(update|delete\s+from|truncate(\s+table)?|merge\s+into)\s+(only\s+)?products\.(stock_movements|price_changes)|on\s+conflict[^;]*(stock_movements|price_changes)`)
	seen := 0
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "node_modules" {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".sql") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.Contains(string(text), "products.stock_movements") {
			seen++
		}
		if found := forbidden.Find(text); found != nil {
			t.Errorf("%s: %s", path, found)
		}
		return nil
	})
	if err != nil || seen < 2 {
		t.Errorf("%d files name the ledger, %v", seen, err)
	}
}

// BenchmarkOrder holds and sells an order, as many at a time as there are connections: of one variant that all want, of
// five that all want, and of five among many.
func BenchmarkOrder(b *testing.B) {
	variants := make([]int, product.MaxVariants)
	for i := range variants {
		variants[i] = 1_000_000
	}
	for _, bench := range []struct {
		name        string
		lines, from int
	}{{"1of1", 1, 1}, {"5of5", 5, 5}, {"5of250", 5, len(variants)}} {
		b.Run(bench.name, func(b *testing.B) {
			c, v := shelf(b, variants...)
			b.SetParallelism(8)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					order, wanted := id.New(), map[uuid.UUID]bool{}
					for len(wanted) < bench.lines {
						wanted[v[rand.IntN(bench.from)]] = true
					}
					var lines []product.HoldLine
					for k := range wanted {
						lines = append(lines, product.HoldLine{VariantID: k, Quantity: 1})
					}
					if err := errors.Join(c.Hold(context.Background(), order, lines, later), c.Sell(context.Background(), order)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
