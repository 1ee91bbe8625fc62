package order_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/payment/testprovider"
	"emporium/internal/postgres"
	"emporium/internal/product"
)

// expire has the time of an order that is being placed run out.
func (h *house) expire(o *order.Order) {
	h.t.Helper()
	_, err := postgres.Exec(h.t.Context(), h.dbs.Orders, postgres.Stmt{Name: "test",
		SQL: "UPDATE orders.orders SET expires_at = now() - interval '1 s' WHERE owner_id = $1 AND id = $2 AND status = 'PENDING'"}, o.Owner, o.ID)
	h.must(err)
}

// driven drives an order until it is in a state.
func (h *house) driven(o *order.Order, want order.Status) {
	h.t.Helper()
	h.until("an order is "+string(want), func() bool {
		status, err := h.Drive(h.t.Context(), o.Key())
		return err == nil && status == want
	})
}

func (h *house) capture(o *order.Order, amount *string) {
	h.t.Helper()
	in := payment.CaptureInput{PaymentID: h.payment(o).GlobalID()}
	if amount != nil {
		in.Amount = new(decimal(*amount))
	}
	if p, err := h.payments.Capture(h.manager(), in, uuid.NewString()); err != nil || len(p.UserErrors) > 0 {
		h.t.Fatalf("%+v, %v", p, err)
	}
}

// TestSlowProviders has a provider that books and does not answer, answers late, or fails at first, while the customer
// has not long to wait: somebody else goes on, and all is charged once.
func TestSlowProviders(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	for _, card := range []string{"card_timeout", "card_late", "card_unavailable_once"} {
		buyer := h.customers(1)[0]
		total, _ := h.fill(buyer, nil, 0, 1, 1)
		impatient, cancel := context.WithTimeout(buyer, 2100*time.Millisecond) // of which 100 are for the provider
		p, err := h.place(impatient, total, card, "key-of-"+card)
		cancel()
		if err != nil || p.Order == nil || len(p.UserErrors) > 0 || p.Order.Status != order.StatusPending && p.Order.Status != order.StatusPlaced {
			t.Fatalf("%s: %+v, %v", card, p, err)
		}
		if card != "card_unavailable_once" {
			equal(t, card+": at first", p.Order.Status, order.StatusPending)
		}
		h.driven(p.Order, order.StatusPlaced)
		again, err := h.place(buyer, total, card, "key-of-"+card)
		if err != nil || again.Order.ID != p.Order.ID || again.Order.Status != order.StatusPlaced {
			t.Errorf("%s again: %+v, %v", card, again, err)
		}
		equal(t, card, h.kinds(p.Order), "CREATED PAYMENT_AUTHORIZED PLACED")
	}
	books, err := h.client.Books(t.Context())
	h.must(err)
	for _, page := range books.Payments {
		if len(page.Operations) != 1 || page.State.Authorized != 600 {
			t.Errorf("%+v", page)
		}
	}
	equal(t, "payments", len(books.Payments), 3)
	equal(t, "stock", h.stock(), []string{"17/0"})
	h.sound()
}

// TestAnActionThatFails has the bank say no after the customer said yes.
func TestAnActionThatFails(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.work()
	o := h.buy(h.as(h.ada), "card_action_fails", 0, 1, 1, order.StatusPending)
	h.answer(h.bank(o), "approve")
	h.until("it has failed", func() bool { return h.order(o).Status == order.StatusPaymentFailed })
	h.settled()
	equal(t, "cart", h.cart(h.as(h.ada), nil).Status, order.CartOpen)
	equal(t, "stock", h.stock(), []string{"20/0"})
	equal(t, "charged", h.charged(), 0)
	h.sound()
}

// TestCancelWhilePending cancels many times at once, also while the customer confirms: it is cancelled once, and no money stays.
func TestCancelWhilePending(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.work()
	for _, confirms := range []bool{false, true, true, true} {
		buyer := h.customers(1)[0]
		o := h.buy(buyer, "card_action", 0, 1, 3, order.StatusPending)
		bank := h.bank(o)
		atOnce(5, func(i int) {
			if i == 0 && confirms {
				h.answer(bank, "approve")
			} else if _, err := h.Cancel(buyer, order.CancelInput{OrderID: o.GlobalID()}, uuid.NewString()); err != nil {
				t.Error(err)
			}
		})
		h.driven(o, order.StatusCanceled)
		canceled := h.order(o)
		if canceled.CanceledAt == nil || canceled.CancelReason == nil || *canceled.CancelReason != order.CancelCustomer {
			t.Errorf("%+v", canceled)
		}
		events, err := h.EventsOf(buyer, []id.Key{o.Key()})
		h.must(err)
		events = slices.DeleteFunc(events, func(e *order.Event) bool { return e.Kind != order.EventCanceled })
		equal(t, "cancelled once", len(events), 1)
	}
	h.settled()
	h.until("nothing is charged", func() bool { return h.charged() == 0 })
	h.settled()
	equal(t, "stock", h.stock(), []string{"20/0"})
	h.until("the ledger has all", func() bool {
		return len(selectTexts(h, h.dbs.Payments, "SELECT id::text FROM payments.payments WHERE status NOT IN ('VOIDED', 'FAILED')", "payments.payments")) == 0
	})
	h.sound()
}

// TestCancelAsSaid keeps goods and money where staff says so, and gives back what was captured in part.
func TestCancelAsSaid(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	m := h.manager()
	buy := func() *order.Order { return h.buy(h.customers(1)[0], "card_ok", 0, 1, 1, order.StatusPlaced) }
	kept := buy()
	h.capture(kept, nil)
	in := order.CancelInput{OrderID: kept.GlobalID(), Reason: new(order.CancelFraud), Note: new("Stolen.")}
	h.ok(h.Cancel(m, in, "key"))
	o := h.ok(h.Cancel(m, in, "key"))
	equal(t, "goods and money stay", []any{o.Status, o.PaymentStatus, *o.CancelReason, h.stock()[0], h.charged()},
		[]any{order.StatusCanceled, order.PaymentPaid, order.CancelFraud, "19/0", 1})
	h.settled()
	if p, err := h.payments.Refund(m, payment.RefundInput{PaymentID: h.payment(kept).GlobalID(), Amount: new(decimal("6")), Reason: payment.RefundOther}, uuid.NewString()); err != nil || len(p.UserErrors) > 0 {
		t.Errorf("later, by hand: %+v, %v", p, err)
	}
	equal(t, "paid back by hand", []any{h.order(kept).PaymentStatus, h.charged()}, []any{order.PaymentRefunded, 0})

	part := buy()
	h.capture(part, new("2.50"))
	o = h.ok(h.Cancel(m, order.CancelInput{OrderID: part.GlobalID(), Refund: true}, uuid.NewString()))
	equal(t, "the rest is voided", []any{o.PaymentStatus, h.stock()[0], h.charged()}, []any{order.PaymentRefunded, "18/0", 0})
	equal(t, "what has happened", h.kinds(part), "CREATED PAYMENT_AUTHORIZED PLACED PAYMENT_CAPTURED CANCELED PAYMENT_VOIDED REFUNDED")

	unpaid := buy()
	o = h.ok(h.Cancel(m, order.CancelInput{OrderID: unpaid.GlobalID(), Restock: true}, uuid.NewString()))
	equal(t, "promises are given back always", []any{o.PaymentStatus, h.stock()[0], h.charged()}, []any{order.PaymentVoided, "18/0", 0})
	h.settled()
	h.sound()
}

// TestDiscountsComeBack gives a discount that can be used once to the next, whenever an order with it comes to nothing.
func TestDiscountsComeBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.discount(order.DiscountCreateInput{Code: "ONCE", Kind: order.DiscountPercentage, BasisPoints: new(5000), UsageLimit: new(1)})
	buyers := h.customers(3)
	for _, b := range buyers {
		h.fill(b, nil, 0, 1, 2)
		h.done(h.ApplyCartDiscount(b, order.CartDiscountApplyInput{Code: "ONCE"}))
	}
	total := h.quote(buyers[0], nil).Total().Amount()
	place := func(n int, card, want string) *order.Order {
		t.Helper()
		p, err := h.place(buyers[n], total, card, uuid.NewString())
		if err != nil || problems(p.UserErrors) != want {
			t.Fatalf("%+v, %v; want %q", p, err, want)
		}
		return p.Order
	}
	waits := place(0, "card_action", "")
	place(1, "card_ok", "NOT_APPLICABLE discount")
	h.expire(waits)
	h.driven(waits, order.StatusExpired)
	place(1, "card_declined", "PAYMENT_FAILED paymentMethod")
	placed := place(2, "card_ok", "")
	place(0, "card_ok", "NOT_APPLICABLE discount")
	h.ok(h.Cancel(buyers[2], order.CancelInput{OrderID: placed.GlobalID()}, uuid.NewString()))
	equal(t, "the last one has it", place(0, "card_ok", "").DiscountMinor, int64(100))
	equal(t, "redemptions", selectTexts(h, h.dbs.Orders, "SELECT used || '' FROM orders.discounts", "orders.discounts"), []string{"1"})
	equal(t, "stock", h.stock(), []string{"18/0"})
	equal(t, "charged", h.charged(), 1)
	h.sound()
}

// TestLinesArePaidBackOnce refunds a line piece by piece, 20 at once: as many as there are of it are paid back, and they come to what the
// line has cost, which the discount has made indivisible.
func TestLinesArePaidBackOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	h.discount(order.DiscountCreateInput{Code: "OFF", Kind: order.DiscountFixed, Amount: new(decimal("1.01"))})
	ada := h.as(h.ada)
	h.fill(ada, nil, 0, 2, 3)
	h.done(h.ApplyCartDiscount(ada, order.CartDiscountApplyInput{Code: "OFF"}))
	placed, err := h.place(ada, h.quote(ada, nil).Total().Amount(), "card_ok", "key")
	if err != nil || placed.Order == nil || placed.Order.Status != order.StatusPlaced {
		t.Fatalf("%+v, %v", placed, err)
	}
	o := placed.Order
	h.capture(o, nil)
	lines, err := h.LinesOf(h.manager(), []id.Key{o.Key()})
	h.must(err)
	if lines[0].TotalMinor%3 == 0 {
		t.Fatalf("%d can be divided", lines[0].TotalMinor)
	}
	refund := func(key string, n, quantity int) *payment.RefundPayload {
		in := payment.RefundInput{PaymentID: h.payment(o).GlobalID(), Reason: payment.RefundReturned,
			Lines: []payment.LineQuantity{{OrderLineID: lines[n].GlobalID(), Quantity: quantity}}}
		p, err := h.payments.Refund(h.manager(), in, key)
		for fault.Is(err, fault.InProgress) {
			p, err = h.payments.Refund(h.manager(), in, key)
		}
		h.must(err)
		return p
	}
	var made atomic.Int32
	atOnce(20, func(int) {
		if p := refund(uuid.NewString(), 0, 1); p.CommandKey != nil {
			made.Add(1)
		} else if problems(p.UserErrors) != "INVALID lines" {
			t.Errorf("%+v", p)
		}
	})
	equal(t, "paid back", []any{made.Load(), h.order(o).PaymentStatus}, []any{int32(3), order.PaymentPartiallyRefunded})
	facts, err := h.payments.Facts(t.Context(), o.Key())
	h.must(err)
	equal(t, "the amount", facts.Refunded, lines[0].TotalMinor)
	equal(t, "the other line", problems(refund("all", 1, 3).UserErrors), "")
	equal(t, "the other line again", problems(refund("more", 1, 1).UserErrors), "INVALID lines")
	facts, err = h.payments.Facts(t.Context(), o.Key())
	h.must(err)
	equal(t, "both", facts.Refunded, lines[0].TotalMinor+lines[1].TotalMinor)
	h.sound()
}

// TestNothingToPay orders what costs nothing without a payment method, and nothing that costs something.
func TestNothingToPay(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	p, err := h.CreateShippingMethod(h.manager(), order.ShippingMethodCreateInput{Name: "By foot", Countries: []string{"DE"},
		Rates: []order.ShippingRateInput{{FromSubtotal: decimal("0"), Price: decimal("0")}}})
	h.must(err)
	h.discount(order.DiscountCreateInput{Code: "ALL", Kind: order.DiscountPercentage, BasisPoints: new(10000)})
	ada := h.as(h.ada)
	total, _ := h.fill(ada, nil, 0, 1, 1)
	if p, err := h.Place(ada, order.PlaceInput{ExpectedTotal: total}, uuid.NewString()); err != nil || problems(p.UserErrors) != "MISSING paymentMethod" || p.Order != nil {
		t.Errorf("%+v, %v", p, err)
	}
	equal(t, "no order", len(h.statuses()), 0)
	h.done(h.UpdateCart(ada, order.CartUpdateInput{ShippingMethodID: graphql.OmittableOf(new(p.ShippingMethod.GlobalID()))}))
	h.done(h.ApplyCartDiscount(ada, order.CartDiscountApplyInput{Code: "ALL"}))
	free, err := h.Place(ada, order.PlaceInput{ExpectedTotal: decimal("0")}, "key")
	if err != nil || free.Order == nil || free.Order.Status != order.StatusPlaced || free.Order.PaymentStatus != order.PaymentPaid || free.Order.TotalMinor != 0 {
		t.Fatalf("%+v, %v", free, err)
	}
	equal(t, "what has happened", h.kinds(free.Order), "CREATED PLACED")
	h.pack(free.Order, 1, true)
	parcels, err := h.FulfillmentsOf(h.manager(), []id.Key{free.Order.Key()})
	h.must(err)
	if _, err := h.Deliver(h.manager(), order.DeliverInput{FulfillmentID: parcels[0].GlobalID()}); err != nil {
		t.Error(err)
	}
	equal(t, "delivered", h.order(free.Order).Status, order.StatusCompleted)
	books, err := h.client.Books(t.Context())
	h.must(err)
	equal(t, "payments", books.Payments, []*testprovider.Payment{})
	equal(t, "stock", h.stock(), []string{"19/0"})
	h.sound()
}

// TestCartsOfBeforeSigningIn are ordered by the account that has signed in, once, however often it is asked for.
func TestCartsOfBeforeSigningIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	_, token := h.fill(h.nobody(), nil, 0, 1, 2)
	ada := h.as(h.ada)
	total, _ := h.fill(ada, nil, 0, 1, 1)
	equal(t, "the cart of the account", total.String(), "6.00")
	in := order.PlaceInput{CartToken: token, ExpectedTotal: decimal("8.00"), PaymentMethod: new("card_ok")}
	var placed atomic.Pointer[order.Order]
	atOnce(5, func(int) {
		switch p, err := h.Place(ada, in, "key"); {
		case raced(err):
		case err != nil || len(p.UserErrors) > 0:
			t.Errorf("%+v, %v", p, err)
		default:
			placed.Store(p.Order)
		}
	})
	for range 2 {
		p, err := h.Place(ada, in, "key")
		if err != nil || p.Order == nil || p.Order.ID != placed.Load().ID || p.Order.Owner != h.ada.ID || p.Order.Status != order.StatusPlaced || p.Guest != nil {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	if _, err := h.Place(h.as(h.bob), in, "key"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a cart that went to somebody else: %v", err)
	}
	equal(t, "stock", h.stock(), []string{"17/0"})
	equal(t, "charged", h.charged(), 1)
	h.sound()
}

// because returns the order of a payload that says why it came to nothing.
func (h *house) because(want string) func(p *order.Payload, err error) *order.Order {
	h.t.Helper()
	return func(p *order.Payload, err error) *order.Order {
		h.t.Helper()
		if err != nil || p.Order == nil || problems(p.UserErrors) != want {
			h.t.Fatalf("%+v, %v; want %s", p, err, want)
		}
		return p.Order
	}
}

// restless is a rule of taxes that has a cart changed whenever it is asked, so many times.
type restless struct {
	change func()
	left   int
}

func (r *restless) Tax(_ context.Context, q order.TaxQuery) (order.TaxRates, error) {
	if r.left > 0 {
		r.left--
		r.change()
	}
	return order.TaxRates{Lines: make([]*order.TaxRate, len(q.Lines))}, nil
}

// TestRestlessCarts changes a cart after it was priced: it is priced again, and not for ever.
func TestRestlessCarts(t *testing.T) {
	t.Parallel()
	rule := new(restless)
	h := newHouse(t, 1, func(c *order.Config) { c.TaxRule = rule })
	ada := h.as(h.ada)
	total, _ := h.fill(ada, nil, 0, 1, 1)
	rule.change = func() {
		h.done(h.UpdateCart(ada, order.CartUpdateInput{Note: graphql.OmittableOf(new(uuid.NewString()))}))
	}
	rule.left = 1000
	if p, err := h.place(ada, total, "card_ok", "key"); err != nil || problems(p.UserErrors) != "STALE" || p.Order != nil {
		t.Errorf("without end: %+v, %v", p, err)
	}
	equal(t, "no order", len(h.statuses()), 0)
	rule.left = 2
	if p, err := h.place(ada, total, "card_ok", "key"); err != nil || p.Order == nil || p.Order.Status != order.StatusPlaced {
		t.Errorf("twice: %+v, %v", p, err)
	}
	equal(t, "stock", h.stock(), []string{"19/0"})
	h.sound()
}

// TestDraftsAtOnce places a draft many times at once, and drafts that can not be paid or had.
func TestDraftsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	m := h.manager()
	ada := id.Of(id.User, h.ada.ID)
	in := order.DraftInput{CustomerID: &ada, ShippingAddress: address, Lines: []order.DraftLineInput{{VariantID: h.variant(0), Quantity: 2},
		{VariantID: h.variant(0), Quantity: 1, UnitPrice: new(decimal("0.50"))}, {VariantID: h.variant(1), Quantity: 1}}}
	draft := h.ok(h.CreateDraft(m, in, "key"))
	if p, err := h.products.Archive(m, product.ProductTransitionInput{ProductID: id.Of(id.Product, h.goods[1].Product.ID)}); err != nil || len(p.UserErrors) > 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	equal(t, "the same draft, whatever is on sale by now", h.ok(h.CreateDraft(m, in, "key")).ID, draft.ID)
	short := h.because("OUT_OF_STOCK lines")(h.PlaceDraft(m, order.DraftPlaceInput{OrderID: draft.GlobalID(), PaymentMethod: new("card_ok")}, "short"))
	equal(t, "what is not on sale any more", []any{short.Status, *short.CancelReason}, []any{order.StatusCanceled, order.CancelOutOfStock})

	in.Lines = in.Lines[:2]
	draft = h.ok(h.CreateDraft(m, in, uuid.NewString()))
	equal(t, "total", draft.TotalMinor, int64(250))
	var placed, late atomic.Int32
	atOnce(10, func(i int) {
		if i < 3 {
			if p, err := h.UpdateDraft(m, order.DraftUpdateInput{OrderID: draft.GlobalID(), Draft: in}); err != nil || len(p.UserErrors) > 0 && problems(p.UserErrors) != "INVALID orderId" {
				t.Errorf("%+v, %v", p, err)
			}
			return
		}
		switch p, err := h.PlaceDraft(m, order.DraftPlaceInput{OrderID: draft.GlobalID(), PaymentMethod: new("card_ok")}, uuid.NewString()); {
		case err != nil:
			t.Error(err)
		case len(p.UserErrors) == 0:
			placed.Add(1)
		case problems(p.UserErrors) == "INVALID orderId":
			late.Add(1)
		default:
			t.Errorf("%+v", p.UserErrors)
		}
	})
	equal(t, "placed once", []int32{placed.Load(), late.Load()}, []int32{1, 6})
	equal(t, "what has happened", h.kinds(draft), "CREATED PAYMENT_AUTHORIZED PLACED")
	if p, err := h.UpdateDraft(m, order.DraftUpdateInput{OrderID: draft.GlobalID(), Draft: in}); err != nil || problems(p.UserErrors) != "INVALID orderId" {
		t.Errorf("%+v, %v", p, err)
	}

	draft = h.ok(h.CreateDraft(m, in, uuid.NewString()))
	failed := h.because("PAYMENT_FAILED paymentMethod")(h.PlaceDraft(m, order.DraftPlaceInput{OrderID: draft.GlobalID(), PaymentMethod: new("card_declined")}, "declined"))
	equal(t, "declined", failed.Status, order.StatusPaymentFailed)
	h.settled()
	equal(t, "stock", h.stock(), []string{"17/0", "20/0"})
	equal(t, "charged", h.charged(), 1)
	h.sound()
}

// unpaid is an order that staff has placed for ada and that nobody has paid.
func (h *house) unpaid(n, quantity int) *order.Order {
	h.t.Helper()
	ada := id.Of(id.User, h.ada.ID)
	d := h.ok(h.CreateDraft(h.manager(), order.DraftInput{CustomerID: &ada, Lines: []order.DraftLineInput{{VariantID: h.variant(n), Quantity: quantity}}}, uuid.NewString()))
	return h.ok(h.PlaceDraft(h.manager(), order.DraftPlaceInput{OrderID: d.GlobalID()}, uuid.NewString()))
}

// TestPayLater pays by a card that asks the bank, pays what an edit has made dearer, and races paying against cancelling.
func TestPayLater(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	h.work()
	m, ada := h.manager(), h.as(h.ada)
	o := h.unpaid(0, 2)
	pay := order.PayInput{OrderID: o.GlobalID(), PaymentMethod: "card_action"}
	h.ok(h.Pay(ada, pay, "key"))
	equal(t, "it waits", h.ok(h.Pay(ada, pay, "key")).PaymentStatus, order.PaymentUnpaid)
	if p, err := h.Pay(ada, order.PayInput{OrderID: o.GlobalID(), PaymentMethod: "card_ok"}, "other"); err != nil || problems(p.UserErrors) != "STALE orderId" {
		t.Errorf("while another waits: %+v, %v", p, err)
	}
	h.answer(h.bank(o), "approve")
	h.until("it is authorized", func() bool { return h.order(o).PaymentStatus == order.PaymentAuthorized })
	if p, err := h.Pay(ada, order.PayInput{OrderID: o.GlobalID(), PaymentMethod: "card_ok"}, "again"); err != nil || problems(p.UserErrors) != "INVALID orderId" {
		t.Errorf("nothing is owed: %+v, %v", p, err)
	}
	h.capture(o, nil)
	// The other attempt was written down, and is asked for once more: it would be a second payment.
	if p, err := h.Pay(ada, order.PayInput{OrderID: o.GlobalID(), PaymentMethod: "card_ok"}, "other"); err != nil || problems(p.UserErrors) != "STALE orderId" {
		t.Errorf("asked again after it was paid: %+v, %v", p, err)
	}
	equal(t, "charged", h.charged(), 1)
	p, err := h.Edit(m, order.EditInput{OrderID: o.GlobalID(), Add: []order.EditAddInput{{VariantID: h.variant(1), Quantity: 2}}}, uuid.NewString())
	if err != nil || len(p.UserErrors) > 0 || p.Order.PaymentStatus != order.PaymentPartiallyPaid || p.Order.TotalMinor != 600 {
		t.Fatalf("%+v, %v", p, err)
	}
	h.ok(h.Pay(ada, order.PayInput{OrderID: o.GlobalID(), PaymentMethod: "card_ok"}, "the-rest"))
	payments, err := h.payments.PaymentsOf(m, []id.Key{o.Key()})
	h.must(err)
	if len(payments) != 2 || payments[1].AmountMinor != 400 {
		t.Fatalf("%+v", payments)
	}
	h.until("both are promised", func() bool { return h.charged() == 2 })
	if p, err := h.payments.Capture(m, payment.CaptureInput{PaymentID: payments[1].GlobalID()}, uuid.NewString()); err != nil || len(p.UserErrors) > 0 {
		t.Errorf("%+v, %v", p, err)
	}
	equal(t, "all is paid", h.order(o).PaymentStatus, order.PaymentPaid)
	h.ok(h.Cancel(m, order.CancelInput{OrderID: o.GlobalID(), Restock: true, Refund: true}, uuid.NewString()))
	equal(t, "both are paid back", []any{h.order(o).PaymentStatus, h.charged()}, []any{order.PaymentRefunded, 0})
	equal(t, "stock", h.stock(), []string{"20/0", "20/0"})

	for range 5 {
		o := h.unpaid(0, 1)
		atOnce(2, func(i int) {
			if i == 0 {
				if _, err := h.Cancel(ada, order.CancelInput{OrderID: o.GlobalID()}, uuid.NewString()); err != nil {
					t.Error(err)
				}
			} else if p, err := h.Pay(ada, order.PayInput{OrderID: o.GlobalID(), PaymentMethod: "card_ok"}, uuid.NewString()); err != nil {
				t.Errorf("%+v, %v", p, err)
			}
		})
		equal(t, "cancelled", h.order(o).Status, order.StatusCanceled)
	}
	h.settled()
	h.until("nothing is charged", func() bool { return h.charged() == 0 })
	equal(t, "stock", h.stock(), []string{"20/0", "20/0"})
	h.sound()
}

// TestMoneyThatComesTooLate tells an order that was given up, and settled, of money: it goes to be settled again.
func TestMoneyThatComesTooLate(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	o := h.buy(h.as(h.ada), "card_action", 0, 1, 1, order.StatusPending)
	h.expire(o)
	h.driven(o, order.StatusExpired)
	h.settled()
	facts, err := h.payments.Facts(t.Context(), o.Key())
	h.must(err)
	unsettled := func() []string {
		return selectTexts(h, h.dbs.Orders, "SELECT status || ' ' || payment_status FROM orders.orders WHERE settled_at IS NULL", "orders.orders")
	}
	late := order.PaymentFacts{Revision: facts.Revision + 1, Authorized: 600, Entries: []order.PaymentEntry{{ID: id.New(), Kind: order.EventPaymentAuthorized, Amount: 600, At: time.Now()}}}
	for range 2 {
		h.must(h.PaymentsChanged(t.Context(), o.Key(), late))
	}
	equal(t, "to be settled", unsettled(), []string{"EXPIRED AUTHORIZED"})
	late = order.PaymentFacts{Revision: facts.Revision + 2, Authorized: 600, Voided: 600, Entries: append(late.Entries,
		order.PaymentEntry{ID: id.New(), Kind: order.EventPaymentVoided, Amount: 600, At: time.Now()})}
	h.must(h.PaymentsChanged(t.Context(), o.Key(), late))
	equal(t, "what has happened", h.kinds(o), "CREATED EXPIRED PAYMENT_VOIDED PAYMENT_AUTHORIZED PAYMENT_VOIDED")
	equal(t, "jobs", len(selectTexts(h, h.dbs.Orders, "SELECT kind FROM orders.river_job WHERE kind = 'orders.settle'", "orders.river_job")), 2)
	if err := h.PaymentsChanged(t.Context(), id.Key{Owner: h.ada.ID, ID: id.New()}, late); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown order: %v", err)
	}
	if _, err := h.Drive(t.Context(), id.Key{Owner: h.ada.ID, ID: id.New()}); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown order: %v", err)
	}
	equal(t, "charged", h.charged(), 0)
	equal(t, "stock", h.stock(), []string{"20/0"})
}
