package order_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/product"
)

// TestACrowd has several people do anything to the same orders at once, with jobs and webhooks running. What they are told is the
// business of other tests: here nothing may fail but as it says it can, and everything has to agree in the end.
// EMPORIUM_ORDER_STEPS and EMPORIUM_ORDER_SEED say how many and which, as far as races can be repeated.
func TestACrowd(t *testing.T) {
	t.Parallel()
	const people, shelves = 4, 4
	steps, seed := fromEnv(t, "EMPORIUM_ORDER_STEPS", 120), fromEnv(t, "EMPORIUM_ORDER_SEED", rand.Uint64())
	t.Logf("EMPORIUM_ORDER_SEED=%d", seed)
	h := newHouse(t, shelves)
	h.work()
	h.discount(order.DiscountCreateInput{Code: "FIVE", Kind: order.DiscountPercentage, BasisPoints: new(1000), UsageLimit: new(5)})
	m := h.manager()
	received := 0 // of the first shelf
	var mu sync.Mutex
	var orders []*order.Order
	atOnce(people, func(person int) {
		r := rand.New(rand.NewPCG(seed, uint64(person)))
		told := func(what string, err error) {
			if err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.InProgress) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for range int(steps) / people {
			mu.Lock()
			var o *order.Order
			if len(orders) > 0 { // rather a young one
				o = orders[max(0, len(orders)-1-r.IntN(8))]
			}
			mu.Unlock()
			if o == nil || r.IntN(4) == 0 {
				if o := h.shop(r, told); o != nil {
					mu.Lock()
					orders = append(orders, o)
					mu.Unlock()
				}
				continue
			}
			if r.IntN(30) == 0 {
				p, err := h.products.AdjustStock(m, product.StockAdjustInput{VariantID: h.variant(0), Delta: 2, Reason: product.StockReceived}, uuid.NewString())
				if told("receive", err); err == nil && len(p.UserErrors) == 0 {
					mu.Lock()
					received += 2
					mu.Unlock()
				}
				continue
			}
			h.meddle(r, o, told)
		}
	})
	for _, o := range orders {
		h.expire(o)
		h.until("nobody places an order any more", func() bool {
			status, err := h.Drive(t.Context(), o.Key())
			return err == nil && status != order.StatusPending
		})
	}
	for _, o := range orders { // a refund that takes its time is looked after by a job, which need not be waited for
		h.until("an order that was cancelled is settled", func() bool {
			if h.order(o).Status == order.StatusCanceled {
				h.ok(h.Cancel(m, order.CancelInput{OrderID: o.GlobalID()}, uuid.NewString()))
			}
			return len(selectTexts(h, h.dbs.Orders, fmt.Sprintf("SELECT status FROM orders.orders WHERE id = '%s' AND status = 'CANCELED' AND settled_at IS NULL", o.ID), "orders.orders")) == 0
		})
	}
	h.settled()
	h.until("nobody works any more", func() bool {
		return len(selectTexts(h, h.dbs.Payments, "SELECT id::text FROM payments.payments WHERE status IN ('PENDING', 'ACTION_REQUIRED')", "payments.payments")) == 0 &&
			len(selectTexts(h, h.dbs.Orders, "SELECT id::text FROM orders.edits WHERE settled_at IS NULL UNION ALL SELECT id::text FROM orders.returns WHERE restock AND restocked_at IS NULL",
				"orders.edits", "orders.returns")) == 0
	})
	h.sound()
	ledger := selectTexts(h, h.dbs.Products, "SELECT (sum(delta) FILTER (WHERE reason NOT IN ('SALE', 'RETURN'))) || '' FROM products.stock_movements", "products.stock_movements")
	equal(t, "what has come from outside", ledger, []string{fmt.Sprint(20*shelves + received)})
	t.Logf("%v", h.statuses())
}

// shop buys something, or tries to.
func (h *house) shop(r *rand.Rand, told func(string, error)) *order.Order {
	buyer, from := as(h.t.Context(), id.New(), auth.RoleCustomer), r.IntN(3)
	total, _ := h.fill(buyer, nil, from, from+1+r.IntN(2), 1+r.IntN(3))
	if r.IntN(3) == 0 {
		_, err := h.ApplyCartDiscount(buyer, order.CartDiscountApplyInput{Code: "FIVE"})
		told("discount", err)
		total = h.quote(buyer, nil).Total().Amount()
	}
	card := []string{"card_ok", "card_ok", "card_ok", "card_ok", "card_declined", "card_action", "card_unavailable_once", "card_capture_fails", "card_refund_pending"}[r.IntN(9)]
	p, err := h.place(buyer, total, card, uuid.NewString())
	if told("place", err); err != nil {
		return nil
	}
	return p.Order
}

// meddle does something to an order.
func (h *house) meddle(r *rand.Rand, o *order.Order, told func(string, error)) {
	m, buyer := h.manager(), as(h.t.Context(), o.Owner, auth.RoleCustomer)
	lines, err := h.LinesOf(m, []id.Key{o.Key()})
	h.must(err)
	some := []order.LineQuantity{{OrderLineID: lines[r.IntN(len(lines))].GlobalID(), Quantity: 1 + r.IntN(2)}}
	parcels, err := h.FulfillmentsOf(m, []id.Key{o.Key()})
	h.must(err)
	payments, err := h.payments.PaymentsOf(buyer, []id.Key{o.Key()})
	h.must(err)
	key := uuid.NewString()
	orderSaid := func(what string) func(*order.Payload, error) {
		return func(p *order.Payload, err error) { told(what, err) }
	}
	parcelSaid := func(what string) func(*order.FulfillmentPayload, error) {
		return func(p *order.FulfillmentPayload, err error) { told(what, err) }
	}
	switch n := r.IntN(13); {
	case n == 0:
		orderSaid("cancel")(h.Cancel(buyer, order.CancelInput{OrderID: o.GlobalID()}, key))
	case n == 1:
		orderSaid("cancel")(h.Cancel(m, order.CancelInput{OrderID: o.GlobalID(), Restock: r.IntN(2) == 0, Refund: true}, key))
	case n == 2:
		orderSaid("confirm")(h.Confirm(m, order.ConfirmInput{OrderID: o.GlobalID()}))
	case n == 3 || n == 4:
		parcelSaid("fulfill")(h.Fulfill(m, order.FulfillInput{OrderID: o.GlobalID(), Lines: some, Ship: r.IntN(2) == 0}, nil))
	case n == 5:
		orderSaid("return")(h.Return(m, order.ReturnInput{OrderID: o.GlobalID(), Lines: some, Restock: r.IntN(2) == 0}, key))
	case n == 6 || n == 7:
		in := order.EditInput{OrderID: o.GlobalID(), DryRun: r.IntN(4) == 0}
		if r.IntN(2) == 0 {
			some[0].Quantity--
			in.Reduce = some
		}
		if r.IntN(2) == 0 {
			in.Add = []order.EditAddInput{{VariantID: h.variant(r.IntN(4)), Quantity: 1 + r.IntN(2)}}
		}
		_, err := h.Edit(m, in, key)
		told("edit", err)
	case n == 8 && len(parcels) > 0:
		parcel := parcels[r.IntN(len(parcels))].GlobalID()
		switch r.IntN(3) {
		case 0:
			parcelSaid("ship")(h.Ship(m, order.ParcelInput{FulfillmentID: parcel}))
		case 1:
			parcelSaid("deliver")(h.Deliver(m, order.DeliverInput{FulfillmentID: parcel}))
		default:
			parcelSaid("unpack")(h.CancelParcel(m, order.ParcelCancelInput{FulfillmentID: parcel}))
		}
	case n == 9 && len(payments) > 0:
		in := payment.CaptureInput{PaymentID: payments[0].GlobalID()}
		if r.IntN(2) == 0 {
			in.Amount = new(decimal("1.00"))
		}
		_, err := h.payments.Capture(m, in, key)
		told("capture", err)
	case n == 10 && len(payments) > 0:
		_, err := h.payments.Refund(m, payment.RefundInput{PaymentID: payments[0].GlobalID(), Amount: new(decimal("0.50")), Reason: payment.RefundOther}, key)
		told("refund", err)
	case n == 11:
		orderSaid("pay")(h.Pay(buyer, order.PayInput{OrderID: o.GlobalID(), PaymentMethod: "card_ok"}, key))
	case len(payments) > 0 && payments[0].Action != nil && payments[0].Action.URL != nil:
		if r.IntN(4) == 0 {
			h.expire(o)
			_, _ = h.Drive(h.t.Context(), o.Key()) // somebody else may be at it
			return
		}
		h.answer(*payments[0].Action.URL, "approve")
	}
}
