package order_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/fault"

	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/postgres"
	"emporium/internal/product"
)

// life is what the model knows of an order.
type life struct {
	order   *order.Order
	buyer   context.Context
	goods   int // which
	wanted  int
	gone    int // of the stock: sold, less what was put back on sale
	status  order.Status
	sent    int
	back    int
	promise int64 // what was authorized
	taken   bool  // all of that was captured
	refunds int64 // paid back
}

// fromEnv is a number of the environment.
func fromEnv(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestRandomLives runs commands at random against a model, and holds everything against everything after each.
// EMPORIUM_ORDER_STEPS and EMPORIUM_ORDER_SEED say how many and which.
func TestRandomLives(t *testing.T) {
	t.Parallel()
	steps, seed := fromEnv(t, "EMPORIUM_ORDER_STEPS", 60), fromEnv(t, "EMPORIUM_ORDER_SEED", rand.Uint64())
	t.Logf("EMPORIUM_ORDER_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	h := newHouse(t, 3)
	m := h.manager()
	var lives []*life
	left := []int{20, 20, 20}
	some := func(ok func(*life) bool) *life {
		for _, i := range r.Perm(len(lives)) {
			if ok(lives[i]) {
				return lives[i]
			}
		}
		return nil
	}
	active := func(l *life) bool { return l.status == order.StatusPlaced || l.status == order.StatusConfirmed }
	commands := []struct {
		name string
		do   func() bool // false: there was nothing to do
	}{
		{"buy", func() bool {
			l := &life{buyer: h.customers(1)[0], goods: r.IntN(3), wanted: 1 + r.IntN(4)}
			card := []string{"card_ok", "card_ok", "card_ok", "card_declined", "card_action"}[r.IntN(5)]
			total, _ := h.fill(l.buyer, nil, l.goods, l.goods+1, l.wanted)
			p, err := h.place(l.buyer, total, card, uuid.NewString())
			h.must(err)
			if l.wanted > left[l.goods] {
				if len(p.UserErrors) != 1 || p.UserErrors[0].Code != fault.ProblemOutOfStock || p.Order != nil && p.Order.Status != order.StatusCanceled {
					t.Errorf("%d of %d: %+v", l.wanted, left[l.goods], p)
				}
				return true
			}
			l.order, l.promise = p.Order, p.Order.TotalMinor
			l.status = map[string]order.Status{"card_ok": order.StatusPlaced, "card_declined": order.StatusPaymentFailed, "card_action": order.StatusPending}[card]
			if card != "card_declined" {
				left[l.goods] -= l.wanted
				l.gone = l.wanted
			}
			lives = append(lives, l)
			return true
		}},
		{"confirm at the bank", func() bool {
			l := some(func(l *life) bool { return l.status == order.StatusPending })
			if l == nil {
				return false
			}
			h.answer(h.bank(l.order), "approve")
			// No webhooks here: the job of the payment asks.
			h.until("it is placed", func() bool {
				_, err := h.payments.Authorize(t.Context(), order.PaymentRequest{Order: l.order.Key(), PaymentID: h.payment(l.order).ID, Amount: l.order.TotalMinor, Total: l.order.TotalMinor,
					Currency: "EUR", Number: l.order.Number})
				h.must(err)
				if _, err := h.payments.Reconcile(t.Context(), day); err != nil {
					t.Fatal(err)
				}
				_, err = h.Drive(t.Context(), l.order.Key())
				return err == nil && h.order(l.order).Status == order.StatusPlaced
			})
			l.status = order.StatusPlaced
			return true
		}},
		{"expire", func() bool {
			l := some(func(l *life) bool { return l.status == order.StatusPending })
			if l == nil {
				return false
			}
			_, err := postgres.Exec(t.Context(), h.dbs.Orders, postgres.Stmt{Name: "test", SQL: "UPDATE orders.orders SET expires_at = now() - interval '1 s' WHERE id = $1"}, l.order.ID)
			h.must(err)
			_, err = h.Drive(t.Context(), l.order.Key())
			h.must(err)
			l.status, left[l.goods], l.gone = order.StatusExpired, left[l.goods]+l.gone, 0
			return true
		}},
		{"cancel", func() bool {
			l := some(func(l *life) bool { return (active(l) || l.status == order.StatusPending) && l.sent == 0 })
			if l == nil {
				return false
			}
			restock := r.IntN(3) > 0 || l.status == order.StatusPending
			h.ok(h.Cancel(m, order.CancelInput{OrderID: l.order.GlobalID(), Restock: restock, Refund: true}, uuid.NewString()))
			l.status = order.StatusCanceled
			if restock {
				left[l.goods] += l.gone
				l.gone = 0
			}
			return true
		}},
		{"send", func() bool {
			l := some(func(l *life) bool { return active(l) && l.sent < l.wanted })
			if l == nil {
				return false
			}
			n := 1 + r.IntN(l.wanted-l.sent)
			p, err := h.Fulfill(m, order.FulfillInput{OrderID: l.order.GlobalID(), Ship: true, Lines: []order.LineQuantity{{OrderLineID: h.line(l.order, 0), Quantity: n}}}, nil)
			if err != nil || len(p.UserErrors) > 0 {
				t.Fatalf("%+v, %v", p, err)
			}
			l.sent += n
			l.status = order.StatusConfirmed
			return true
		}},
		{"take back", func() bool {
			l := some(func(l *life) bool { return l.sent > l.back })
			if l == nil {
				return false
			}
			n, restock := 1+r.IntN(l.sent-l.back), r.IntN(2) == 0
			h.ok(h.Return(m, order.ReturnInput{OrderID: l.order.GlobalID(), Restock: restock, Lines: []order.LineQuantity{{OrderLineID: h.line(l.order, 0), Quantity: n}}}, uuid.NewString()))
			l.back += n
			if restock {
				left[l.goods] += n
				l.gone -= n
			}
			return true
		}},
		{"unpack", func() bool {
			l := some(func(l *life) bool { return active(l) && l.sent < l.wanted })
			if l == nil {
				return false
			}
			p, err := h.Fulfill(m, order.FulfillInput{OrderID: l.order.GlobalID()}, nil)
			if err != nil || len(p.UserErrors) > 0 || p.Fulfillment.Status != order.ParcelPending {
				t.Fatalf("%+v, %v", p, err)
			}
			if p, err = h.CancelParcel(m, order.ParcelCancelInput{FulfillmentID: p.Fulfillment.GlobalID()}); err != nil || len(p.UserErrors) > 0 {
				t.Fatalf("%+v, %v", p, err)
			}
			l.status = order.StatusConfirmed
			return true
		}},
		{"edit", func() bool {
			l := some(func(l *life) bool { return active(l) && max(l.sent, 1) < l.wanted })
			if l == nil {
				return false
			}
			remain := max(l.sent, 1) + r.IntN(l.wanted-max(l.sent, 1))
			p, err := h.Edit(m, order.EditInput{OrderID: l.order.GlobalID(), Reduce: []order.LineQuantity{{OrderLineID: h.line(l.order, 0), Quantity: remain}}}, uuid.NewString())
			if err != nil || len(p.UserErrors) > 0 || p.Order.TotalMinor != int64(remain*(l.goods+1)*100+500) {
				t.Fatalf("%+v, %v", p, err)
			}
			left[l.goods] += l.wanted - remain
			l.gone -= l.wanted - remain
			l.wanted = remain
			return true
		}},
		{"receive", func() bool {
			n := r.IntN(3)
			if left[n] > 20 {
				return false
			}
			p, err := h.products.AdjustStock(m, product.StockAdjustInput{VariantID: h.variant(n), Delta: 3, Reason: product.StockReceived}, uuid.NewString())
			if err != nil || len(p.UserErrors) > 0 {
				t.Fatalf("%+v, %v", p, err)
			}
			left[n] += 3
			return true
		}},
		{"capture", func() bool {
			l := some(func(l *life) bool { return active(l) && !l.taken })
			if l == nil {
				return false
			}
			p, err := h.payments.Capture(m, payment.CaptureInput{PaymentID: h.payment(l.order).GlobalID()}, uuid.NewString())
			if err != nil || len(p.UserErrors) > 0 {
				t.Fatalf("%+v, %v", p, err)
			}
			l.taken = true
			return true
		}},
		{"refund", func() bool {
			l := some(func(l *life) bool { return active(l) && l.taken && l.refunds < l.promise })
			if l == nil {
				return false
			}
			n := 1 + r.Int64N(l.promise-l.refunds)
			p, err := h.payments.Refund(m, payment.RefundInput{PaymentID: h.payment(l.order).GlobalID(), Amount: new(decimal(fmt.Sprintf("%d.%02d", n/100, n%100))),
				Reason: payment.RefundOther}, uuid.NewString())
			if err != nil || len(p.UserErrors) > 0 {
				t.Fatalf("%+v, %v", p, err)
			}
			l.refunds += n
			return true
		}},
		{"what is not allowed", func() bool {
			l := some(func(l *life) bool {
				return l.status == order.StatusCanceled || l.status == order.StatusExpired || l.status == order.StatusPaymentFailed
			})
			if l == nil {
				return false
			}
			if p, err := h.Fulfill(m, order.FulfillInput{OrderID: l.order.GlobalID()}, nil); err != nil || len(p.UserErrors) == 0 {
				t.Errorf("goods of an order that is %s were sent: %+v, %v", l.status, p, err)
			}
			if p, err := h.payments.Capture(m, payment.CaptureInput{PaymentID: h.payment(l.order).GlobalID()}, uuid.NewString()); err == nil && len(p.UserErrors) == 0 {
				t.Errorf("money of an order that is %s was taken: %+v", l.status, p)
			}
			return true
		}},
	}
	for step := range int(steps) {
		var name string
		for {
			c := commands[r.IntN(len(commands))]
			if name = c.name; c.do() {
				break
			}
		}
		for _, l := range lives {
			if l.status == order.StatusConfirmed && l.taken && l.back == l.wanted { // all of it has come back, and was paid
				l.status = order.StatusCompleted
			}
		}
		h.settled()
		h.sound()
		stock := h.stock()
		for n := range left {
			held := 0
			for _, l := range lives {
				if l.goods == n && l.status == order.StatusPending {
					held += l.wanted
				}
			}
			if want := fmt.Sprintf("%d/%d", left[n]+held, held); stock[n] != want {
				t.Errorf("step %d, %s: stock %d is %s, want %s", step, name, n, stock[n], want)
			}
		}
		for _, l := range lives {
			o := h.order(l.order)
			var paid order.PaymentStatus
			switch {
			case l.taken && (l.refunds == l.promise || l.status == order.StatusCanceled):
				paid = order.PaymentRefunded
			case l.taken && l.refunds > 0:
				paid = order.PaymentPartiallyRefunded
			case l.taken:
				paid = order.PaymentPaid
			case active(l):
				paid = order.PaymentAuthorized
			}
			if o.Status != l.status || paid != "" && o.PaymentStatus != paid {
				t.Errorf("step %d, %s: order %s is %s, %s; want %s, %s", step, name, o.Number, o.Status, o.PaymentStatus, l.status, paid)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}
