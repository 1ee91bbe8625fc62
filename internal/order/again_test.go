package order_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"emporium/internal/order"
	"emporium/internal/postgres"
)

// falls is where a process falls over: at each step that an order takes, the first time.
type falls struct {
	mu   sync.Mutex
	over []string
}

type fallen string

func (f *falls) at(point string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.over, point) {
		f.over = append(f.over, point)
		panic(fallen(point))
	}
}

// untilItStands asks again, with the same key, as long as it falls over.
func untilItStands[T any](ask func() (T, error)) (answer T, err error) {
	for again := true; again; {
		again = false
		func() {
			defer func() {
				switch p := recover().(type) {
				case nil:
				case fallen:
					again = true
				default:
					panic(p)
				}
			}()
			answer, err = ask()
		}()
	}
	return answer, err
}

// TestAskedAgainAtEachStep falls over at each step of an order's life, and asks again with the same key: in the end all has
// happened once.
func TestAskedAgainAtEachStep(t *testing.T) {
	t.Parallel()
	f := new(falls)
	h := newHouse(t, 2, func(c *order.Config) { c.At = f.at })
	m, ada := h.manager(), h.as(h.ada)

	total, _ := h.fill(ada, nil, 0, 1, 4)
	p, err := untilItStands(func() (*order.PlacePayload, error) { return h.place(ada, total, "card_ok", "place") })
	if err != nil || p.Order == nil || p.Order.Status != order.StatusPlaced {
		t.Fatalf("%+v, %v", p, err)
	}
	o := p.Order
	equal(t, "placed", []any{h.kinds(o), h.stock(), h.charged()}, []any{"CREATED PAYMENT_AUTHORIZED PLACED", []string{"16/0", "20/0"}, 1})
	h.sound()

	edit := order.EditInput{OrderID: o.GlobalID(), Add: []order.EditAddInput{{VariantID: h.variant(1), Quantity: 3}}, Reduce: []order.LineQuantity{h.some(o, 0, 2)}}
	e, err := untilItStands(func() (*order.EditPayload, error) { return h.Edit(m, edit, "edit") })
	if err != nil || len(e.UserErrors) > 0 || e.Order.TotalMinor != 1300 {
		t.Fatalf("%+v, %v", e, err)
	}
	equal(t, "edited", []any{h.kinds(o), h.stock()}, []any{"CREATED PAYMENT_AUTHORIZED PLACED EDITED", []string{"18/0", "17/0"}})
	h.sound()

	h.capture(o, new("5.00"))
	c, err := untilItStands(func() (*order.Payload, error) {
		return h.Cancel(m, order.CancelInput{OrderID: o.GlobalID(), Restock: true, Refund: true}, "cancel")
	})
	equal(t, "cancelled", []any{h.ok(c, err).PaymentStatus, h.kinds(o), h.stock(), h.charged()},
		[]any{order.PaymentRefunded, "CREATED PAYMENT_AUTHORIZED PLACED EDITED PAYMENT_CAPTURED CANCELED PAYMENT_VOIDED REFUNDED", []string{"20/0", "20/0"}, 0})
	h.settled()
	h.sound()
	slices.Sort(f.over)
	equal(t, "where it fell over", f.over, []string{"order: after an edit is held", "order: after an edit is sold", "order: after hold",
		"order: after it is finished", "order: after sale", "order: after the goods are back", "order: after the money is back",
		"order: before an edit is held", "order: before hold", "order: before it is finished", "order: before sale", "order: it exists"})

	// And one that comes to nothing, which nobody but the job settles who has fallen over once it was finished.
	f.over = []string{"order: after the goods are back", "order: after the money is back"}
	total, _ = h.fill(ada, nil, 0, 1, 4)
	p, err = untilItStands(func() (*order.PlacePayload, error) { return h.place(ada, total, "card_declined", "declined") })
	if err != nil || p.Order == nil || p.Order.Status != order.StatusPaymentFailed {
		t.Fatalf("%+v, %v", p, err)
	}
	equal(t, "not settled", h.stock(), []string{"20/4", "20/0"})
	h.hurry("orders.settle")
	h.work()
	h.settled()
	equal(t, "declined", []any{h.kinds(p.Order), h.stock(), h.charged(), h.cart(ada, nil).Status}, []any{"CREATED PAYMENT_FAILED", []string{"20/0", "20/0"}, 0, order.CartOpen})
	h.sound()
}

// hurry makes the jobs of a kind due.
func (h *house) hurry(kind string) {
	h.t.Helper()
	_, err := postgres.Exec(h.t.Context(), h.dbs.Orders, postgres.Stmt{Name: "test",
		SQL: "UPDATE orders.river_job SET state = 'available', scheduled_at = now() WHERE kind = $1"}, kind)
	h.must(err)
}

// TestTheJobGoesOn leaves orders to the job: one whose provider does not answer in time, one that was never confirmed, one
// whose request fell over before anything was held. Each customer is told once.
func TestTheJobGoesOn(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	told := map[string][]order.Notice{}
	f := &falls{over: []string{"order: it exists"}}
	h := newHouse(t, 1, func(c *order.Config) {
		c.Notify = func(_ context.Context, o *order.Order, n order.Notice) error {
			mu.Lock()
			defer mu.Unlock()
			told[o.Number] = append(told[o.Number], n)
			return nil
		}
		c.At = func(point string) {
			if point == "order: it exists" {
				f.at(point)
			}
		}
	})
	buyers := []context.Context{h.as(h.ada), h.customers(1)[0], h.as(h.bob)}
	impatient, cancel := context.WithTimeout(buyers[0], 2100*time.Millisecond) // of which 100 are for the provider
	defer cancel()
	slow := h.buy(impatient, "card_timeout", 0, 1, 1, order.StatusPending)
	never := h.buy(buyers[1], "card_action", 0, 1, 1, order.StatusPending)
	total, _ := h.fill(buyers[2], nil, 0, 1, 1)
	f.over = nil
	func() {
		defer func() { equal(t, "fell over", recover(), any(fallen("order: it exists"))) }()
		_, _ = h.place(buyers[2], total, "card_ok", "key")
	}()
	c := h.cart(buyers[2], nil)
	if c.Status != order.CartPlacing {
		t.Fatalf("%+v", c)
	}
	h.expire(never)
	h.hurry("orders.drive")
	h.work()
	h.until("all are through", func() bool { s := h.statuses(); return s["PLACED"] == 2 && s["EXPIRED"] == 1 })
	h.settled()
	equal(t, "charged", h.charged(), 2)
	equal(t, "stock", h.stock(), []string{"18/0"})
	equal(t, "carts", []any{h.cart(buyers[0], nil), h.cart(buyers[1], nil).Status, h.cart(buyers[2], nil)}, []any{(*order.Cart)(nil), order.CartOpen, (*order.Cart)(nil)})
	again, err := h.place(buyers[2], total, "card_ok", "key")
	if err != nil || again.Order.Status != order.StatusPlaced {
		t.Fatalf("%+v, %v", again, err)
	}
	h.until("they are told", func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == 2 })
	mu.Lock()
	defer mu.Unlock()
	equal(t, "told", told, map[string][]order.Notice{slow.Number: {order.NoticePlaced}, again.Order.Number: {order.NoticePlaced}})
	h.sound()
}
