package order_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/postgres"
)

var rowText = pgx.RowTo[string]

// customers are so many viewers.
func (h *house) customers(n int) []context.Context {
	all := make([]context.Context, n)
	for i := range all {
		all[i] = as(h.t.Context(), id.New(), auth.RoleCustomer)
	}
	return all
}

// atOnce runs fn for each of n at once.
func atOnce(n int, fn func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() { <-start; fn(i) })
	}
	close(start)
	all.Wait()
}

// TestNothingIsSoldTwice has 100 buyers want two of 20, and 50 buyers all 20 of another: ten and one get them, and nobody
// else pays or holds anything.
func TestNothingIsSoldTwice(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ buyers, quantity, placed int }{"ten of 100": {100, 2, 10}, "the last by 50": {50, 20, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, 1)
			buyers := h.customers(c.buyers)
			total, _ := h.fill(buyers[0], nil, 0, 1, c.quantity)
			for _, b := range buyers[1:] {
				h.fill(b, nil, 0, 1, c.quantity)
			}
			var placed, refused atomic.Int32
			atOnce(c.buyers, func(i int) {
				p, err := h.place(buyers[i], total, "card_ok", uuid.NewString())
				switch {
				case err != nil:
					t.Errorf("buyer %d: %v", i, err)
				case p.Order != nil && p.Order.Status == order.StatusPlaced && len(p.UserErrors) == 0:
					placed.Add(1)
				case len(p.UserErrors) > 0 && p.UserErrors[0].Code == fault.ProblemOutOfStock:
					refused.Add(1)
				default:
					t.Errorf("buyer %d: %+v", i, p)
				}
			})
			if int(placed.Load()) != c.placed || int(refused.Load()) != c.buyers-c.placed {
				t.Errorf("%d orders were placed, %d refused", placed.Load(), refused.Load())
			}
			h.settled()
			h.sound()
			equal(t, "stock", h.stock(), []string{"0/0"})
			if n := h.charged(); n != c.placed {
				t.Errorf("%d were charged", n)
			}
			if n := h.statuses()["PLACED"]; n != c.placed {
				t.Errorf("%v", h.statuses())
			}
		})
	}
}

// TestOneKeyIsOneOrder sends a request ten times at once, and once more, with one key; and then ten times with keys of their own.
func TestOneKeyIsOneOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	ada := h.as(h.ada)
	total, _ := h.fill(ada, nil, 0, 2, 1)
	var mu sync.Mutex
	seen := map[uuid.UUID]int{}
	atOnce(10, func(int) {
		p, err := h.place(ada, total, "card_ok", "the-key")
		mu.Lock()
		defer mu.Unlock()
		switch {
		case raced(err):
		case err != nil || p.Order == nil || len(p.UserErrors) > 0:
			t.Errorf("%+v, %v", p, err)
		default:
			seen[p.Order.ID]++
		}
	})
	if len(seen) != 1 {
		t.Fatalf("there were answers with %d orders", len(seen))
	}
	again, err := h.place(ada, total, "card_ok", "the-key")
	if err != nil || seen[again.Order.ID] == 0 || again.Order.Status != order.StatusPlaced || again.Guest != nil {
		t.Errorf("again: %+v, %v", again, err)
	}
	if _, err := h.place(ada, total, "card_declined", "the-key"); !fault.Is(err, fault.Conflict) {
		t.Errorf("another request with the key: %v", err)
	}
	equal(t, "what has happened", h.kinds(again.Order), "CREATED PAYMENT_AUTHORIZED PLACED")

	total, _ = h.fill(ada, nil, 0, 2, 2)
	var placed, closed atomic.Int32
	atOnce(10, func(int) {
		switch p, err := h.place(ada, total, "card_ok", uuid.NewString()); {
		case err != nil:
			t.Error(err)
		case p.Order != nil && p.Order.Status == order.StatusPlaced:
			placed.Add(1)
		case problems(p.UserErrors) == "CART_CLOSED":
			closed.Add(1)
		default:
			t.Errorf("%+v", p)
		}
	})
	if placed.Load() != 1 || closed.Load() != 9 || h.charged() != 2 {
		t.Errorf("%d orders of one cart, %d refused, %d charged", placed.Load(), closed.Load(), h.charged())
	}
	h.sound()
	equal(t, "stock", h.stock(), []string{"17/0", "17/0"})
}

// TestRefusedCards give everything back: the stock, the discount, the cart.
func TestRefusedCards(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.discount(order.DiscountCreateInput{Code: "ONCE", Kind: order.DiscountPercentage, BasisPoints: new(1000), UsageLimit: new(1)})
	ada := h.as(h.ada)
	h.fill(ada, nil, 0, 1, 1)
	h.done(h.ApplyCartDiscount(ada, order.CartDiscountApplyInput{Code: "ONCE"}))
	total := h.quote(ada, nil).Total().Amount()
	for _, card := range []string{"card_declined", "card_insufficient_funds", "card_expired"} {
		p, err := h.place(ada, total, card, uuid.NewString())
		if err != nil || p.Order == nil || p.Order.Status != order.StatusPaymentFailed || problems(p.UserErrors) != "PAYMENT_FAILED paymentMethod" || p.Order.Failure == nil {
			t.Fatalf("%s: %+v, %v", card, p, err)
		}
		equal(t, card, h.kinds(p.Order), "CREATED PAYMENT_FAILED")
		equal(t, card+": cart", h.cart(ada, nil).Status, order.CartOpen)
		equal(t, card+": stock", h.stock(), []string{"20/0"})
	}
	p, err := h.place(ada, total, "card_ok", uuid.NewString())
	if err != nil || p.Order.Status != order.StatusPlaced || *p.Order.DiscountCode != "ONCE" || p.Order.DiscountMinor != 10 {
		t.Fatalf("%+v, %v", p, err)
	}
	if h.cart(ada, nil) != nil || h.charged() != 1 {
		t.Errorf("the cart is %+v, %d are charged", h.cart(ada, nil), h.charged())
	}
	if stale, err := h.place(ada, total, "card_ok", uuid.NewString()); err != nil || problems(stale.UserErrors) != "CART_CLOSED" {
		t.Errorf("without a cart: %+v, %v", stale, err)
	}
	h.sound()
}

// TestLimitedDiscount has 20 buyers want a discount of which there are three.
func TestLimitedDiscount(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.discount(order.DiscountCreateInput{Code: "THREE", Kind: order.DiscountPercentage, BasisPoints: new(1000), UsageLimit: new(3)})
	buyers := h.customers(20)
	for _, b := range buyers {
		h.fill(b, nil, 0, 1, 1)
		h.done(h.ApplyCartDiscount(b, order.CartDiscountApplyInput{Code: "THREE"}))
	}
	total := h.quote(buyers[0], nil).Total().Amount()
	var placed, refused atomic.Int32
	atOnce(len(buyers), func(i int) {
		switch p, err := h.place(buyers[i], total, "card_ok", uuid.NewString()); {
		case err != nil:
			t.Error(err)
		case p.Order != nil && p.Order.Status == order.StatusPlaced:
			placed.Add(1)
		case problems(p.UserErrors) == "NOT_APPLICABLE discount":
			refused.Add(1)
		default:
			t.Errorf("%+v", p)
		}
	})
	if placed.Load() != 3 || refused.Load() != 17 {
		t.Errorf("%d have got it, %d not", placed.Load(), refused.Load())
	}
	h.sound()
	equal(t, "stock", h.stock(), []string{"17/0"})
}

// bank is the page at which a customer confirms.
func (h *house) bank(o *order.Order) string {
	h.t.Helper()
	found, err := h.payments.PaymentsOf(as(h.t.Context(), o.Owner, auth.RoleCustomer), []id.Key{o.Key()})
	if err != nil || len(found) != 1 || found[0].Action == nil {
		h.t.Fatalf("nothing to confirm: %+v, %v", found, err)
	}
	return *found[0].Action.URL
}

// answer is the customer at the bank, who may come too late.
func (h *house) answer(bank, answer string) {
	h.t.Helper()
	in, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, bank, strings.NewReader("answer="+answer))
	h.must(err)
	in.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	out, err := client.Do(in)
	h.must(err)
	h.must(out.Body.Close())
}

// TestActions waits for the customer: who confirms, who declines, who never comes back, who cancels.
func TestActions(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.work()
	buyers := h.customers(4)
	var orders []*order.Order
	for _, b := range buyers {
		orders = append(orders, h.buy(b, "card_action", 0, 1, 2, order.StatusPending))
	}
	equal(t, "held", h.stock(), []string{"20/8"})
	if p, err := h.AddCartLines(buyers[0], order.CartLinesAddInput{Lines: []order.CartLineInput{{VariantID: h.variant(0), Quantity: 1}}}); err != nil || problems(p.UserErrors) != "CART_CLOSED" {
		t.Errorf("a cart that is being ordered: %+v, %v", p, err)
	}
	h.answer(h.bank(orders[0]), "approve")
	h.answer(h.bank(orders[1]), "decline")
	_, err := postgres.Exec(t.Context(), h.dbs.Orders, postgres.Stmt{Name: "test", SQL: "UPDATE orders.orders SET expires_at = now() - interval '1 s' WHERE id = $1"}, orders[2].ID)
	h.must(err)
	if status, err := h.Drive(t.Context(), orders[2].Key()); err != nil || status != order.StatusExpired {
		t.Errorf("after its time: %s, %v", status, err)
	}
	canceled := h.ok(h.Cancel(buyers[3], order.CancelInput{OrderID: orders[3].GlobalID()}, uuid.NewString()))
	equal(t, "cancelled", canceled.Status, order.StatusCanceled)
	want := []order.Status{order.StatusPlaced, order.StatusPaymentFailed, order.StatusExpired, order.StatusCanceled}
	for i, o := range orders {
		h.until("order "+string(want[i]), func() bool { return h.order(o).Status == want[i] })
	}
	h.settled()
	h.until("the ledger has all", func() bool { return h.order(orders[0]).PaymentStatus == order.PaymentAuthorized })
	h.sound()
	equal(t, "stock", h.stock(), []string{"18/0"})
	equal(t, "charged", h.charged(), 1)
	equal(t, "cart", h.cart(buyers[2], nil).Status, order.CartOpen)
}

// TestCancelAgainstCapture races the two, 20 times: no money stays.
func TestCancelAgainstCapture(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	for range 10 {
		buyer := h.customers(1)[0]
		o := h.buy(buyer, "card_ok", 0, 1, 1, order.StatusPlaced)
		pay := h.payment(o)
		atOnce(2, func(i int) {
			if i == 0 {
				if _, err := h.Cancel(buyer, order.CancelInput{OrderID: o.GlobalID()}, uuid.NewString()); err != nil {
					t.Error(err)
				}
			} else if _, err := h.payments.Capture(h.manager(), payment.CaptureInput{PaymentID: pay.GlobalID()}, uuid.NewString()); err != nil && !fault.Is(err, fault.Conflict) {
				t.Error(err)
			}
		})
		again := h.ok(h.Cancel(buyer, order.CancelInput{OrderID: o.GlobalID()}, uuid.NewString()))
		if again.Status != order.StatusCanceled || again.PaymentStatus != order.PaymentVoided && again.PaymentStatus != order.PaymentRefunded {
			t.Errorf("%s, %s", again.Status, again.PaymentStatus)
		}
	}
	equal(t, "charged", h.charged(), 0)
	equal(t, "stock", h.stock(), []string{"20/0"})
	h.sound()
}

// line is the ID of the nth line of an order.
func (h *house) line(o *order.Order, n int) id.ID {
	h.t.Helper()
	lines, err := h.LinesOf(h.manager(), []id.Key{o.Key()})
	h.must(err)
	return lines[n].GlobalID()
}

// TestTheWayOfGoods packs, sends, delivers and takes back in parts, and refuses what there is not, also raced.
func TestTheWayOfGoods(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	m := h.manager()
	o := h.buy(h.as(h.ada), "card_ok", 0, 2, 5, order.StatusPlaced)
	first, second := h.line(o, 0), h.line(o, 1)

	var packed atomic.Int32
	atOnce(20, func(int) {
		p, err := h.Fulfill(m, order.FulfillInput{OrderID: o.GlobalID(), Lines: []order.LineQuantity{{OrderLineID: first, Quantity: 1}}}, nil)
		switch {
		case err != nil:
			t.Error(err)
		case len(p.UserErrors) == 0 && p.Fulfillment.Status == order.ParcelPending:
			packed.Add(1)
		case problems(p.UserErrors) != "INVALID lines.0.quantity":
			t.Errorf("%+v", p.UserErrors)
		}
	})
	if packed.Load() != 5 {
		t.Errorf("%d of five were packed", packed.Load())
	}
	equal(t, "confirmed by it", h.order(o).Status, order.StatusConfirmed)
	if p, err := h.Fulfill(m, order.FulfillInput{OrderID: o.GlobalID(), TrackingURL: new("/track")}, nil); err != nil || problems(p.UserErrors) != "INVALID trackingUrl" {
		t.Errorf("packed with a path: %+v, %v", p, err)
	}
	parcels, err := h.FulfillmentsOf(m, []id.Key{o.Key()})
	h.must(err)
	if p, err := h.CancelParcel(m, order.ParcelCancelInput{FulfillmentID: parcels[0].GlobalID()}); err != nil || len(p.UserErrors) > 0 || p.Fulfillment.Status != order.ParcelCanceled {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := h.Ship(m, order.ParcelInput{FulfillmentID: parcels[1].GlobalID(), TrackingURL: new("/track")}); err != nil || problems(p.UserErrors) != "INVALID trackingUrl" {
		t.Errorf("sent with a path: %+v, %v", p, err)
	}
	for _, parcel := range parcels[1:] {
		if p, err := h.Ship(m, order.ParcelInput{FulfillmentID: parcel.GlobalID(), Carrier: new("DHL")}); err != nil || p.Fulfillment.Status != order.ParcelShipped || *p.Fulfillment.Carrier != "DHL" || p.Fulfillment.ShippedAt == nil {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if p, err := h.CancelParcel(m, order.ParcelCancelInput{FulfillmentID: parcels[1].GlobalID()}); err != nil || problems(p.UserErrors) != "INVALID fulfillmentId" {
		t.Errorf("a parcel that was sent: %+v, %v", p, err)
	}
	equal(t, "in part", h.order(o).FulfillmentStatus, order.PartiallyFulfilled)
	if p, err := h.Cancel(m, order.CancelInput{OrderID: o.GlobalID()}, uuid.NewString()); err != nil || problems(p.UserErrors) != "INVALID orderId" {
		t.Errorf("an order of which goods were sent: %+v, %v", p, err)
	}
	rest, err := h.Fulfill(m, order.FulfillInput{OrderID: o.GlobalID(), Ship: true}, nil)
	if err != nil || len(rest.UserErrors) > 0 || rest.Order.FulfillmentStatus != order.Fulfilled {
		t.Fatalf("%+v, %v", rest, err)
	}
	for _, parcel := range append(parcels[1:], rest.Fulfillment) {
		if _, err := h.Deliver(m, order.DeliverInput{FulfillmentID: parcel.GlobalID()}); err != nil {
			t.Error(err)
		}
	}
	equal(t, "all there, not paid", []any{h.order(o).FulfillmentStatus, h.order(o).Status}, []any{order.Delivered, order.StatusConfirmed})
	if _, err := h.payments.Capture(m, payment.CaptureInput{PaymentID: h.payment(o).GlobalID()}, uuid.NewString()); err != nil {
		t.Fatal(err)
	}
	equal(t, "and paid", h.order(o).Status, order.StatusCompleted)

	var back atomic.Int32
	atOnce(20, func(i int) {
		p, err := h.Return(m, order.ReturnInput{OrderID: o.GlobalID(), Lines: []order.LineQuantity{{OrderLineID: second, Quantity: 2}}, Restock: i%2 == 0}, uuid.NewString())
		switch {
		case err != nil:
			t.Error(err)
		case len(p.UserErrors) == 0:
			back.Add(1)
		case problems(p.UserErrors) != "INVALID lines.0.quantity":
			t.Errorf("%+v", p.UserErrors)
		}
	})
	equal(t, "twice two of five came back", back.Load(), int32(2))
	p := h.ok(h.Return(m, order.ReturnInput{OrderID: o.GlobalID(), Lines: []order.LineQuantity{{OrderLineID: first, Quantity: 5}}, Restock: true}, "all-of-it"))
	h.ok(h.Return(m, order.ReturnInput{OrderID: o.GlobalID(), Lines: []order.LineQuantity{{OrderLineID: first, Quantity: 5}}, Restock: true}, "all-of-it"))
	equal(t, "not all is back", p.FulfillmentStatus, order.Delivered)
	equal(t, "restocked", h.stock()[0], "20/0")
	h.sound()
}

// TestTransitions tries to bring an order from each state to each.
func TestTransitions(t *testing.T) {
	t.Parallel()
	states := []order.Status{order.StatusDraft, order.StatusPending, order.StatusPlaced, order.StatusConfirmed, order.StatusCompleted,
		order.StatusCanceled, order.StatusPaymentFailed, order.StatusExpired}
	allowed := map[order.Status]string{order.StatusDraft: "PENDING CANCELED", order.StatusPending: "PLACED CANCELED PAYMENT_FAILED EXPIRED",
		order.StatusPlaced: "CONFIRMED CANCELED", order.StatusConfirmed: "COMPLETED CANCELED"}
	for _, from := range states {
		for _, to := range states {
			_, err := order.Transit(from, to)
			want := from == to || strings.Contains(" "+allowed[from]+" ", " "+string(to)+" ")
			if (err == nil) != want || err != nil && !fault.Is(err, fault.Conflict) {
				t.Errorf("from %s to %s: %v", from, to, err)
			}
		}
	}
}

// TestEdits foretells, adds, reduces and refuses; the stock goes along.
func TestEdits(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 3)
	m := h.manager()
	o := h.buy(h.as(h.ada), "card_ok", 0, 2, 4, order.StatusPlaced) // 4 of 1 EUR, 4 of 2 EUR, 5 EUR shipping
	in := order.EditInput{OrderID: o.GlobalID(), Add: []order.EditAddInput{{VariantID: h.variant(2), Quantity: 3}},
		Reduce: []order.LineQuantity{{OrderLineID: h.line(o, 0), Quantity: 1}}, Reason: new("as told by telephone")}
	dry := in
	dry.DryRun = true
	before := h.order(o)
	preview, err := h.Edit(m, dry, uuid.NewString())
	if err != nil || preview.Preview == nil || preview.Preview.Total().String() != "23.00 EUR" || preview.Preview.Due().String() != "6.00 EUR" {
		t.Fatalf("%+v, %v", preview, err)
	}
	equal(t, "nothing has changed", h.order(o), before)
	p, err := h.Edit(m, in, "the-key")
	if err != nil || len(p.UserErrors) > 0 || p.Order.TotalMinor != 2300 || p.Order.SubtotalMinor != 1800 || p.Order.TaxMinor != preview.Preview.TaxMinor {
		t.Fatalf("%+v, %v", p, err)
	}
	if again, err := h.Edit(m, in, "the-key"); err != nil || again.Order.TotalMinor != 2300 {
		t.Errorf("again: %+v, %v", again, err)
	}
	taxes := int64(0)
	for _, tax := range h.order(o).Taxes {
		taxes += tax.Minor
	}
	equal(t, "taxes add up", taxes, p.Order.TaxMinor)
	equal(t, "stock", h.stock(), []string{"19/0", "16/0", "17/0"})
	for name, c := range map[string]struct {
		in   order.EditInput
		want string
	}{
		"more than there is": {order.EditInput{OrderID: o.GlobalID(), Add: []order.EditAddInput{{VariantID: h.variant(2), Quantity: 18}}}, "OUT_OF_STOCK add"},
		"more of a line":     {order.EditInput{OrderID: o.GlobalID(), Reduce: []order.LineQuantity{{OrderLineID: h.line(o, 0), Quantity: 2}}}, "INVALID reduce"},
		"nothing":            {order.EditInput{OrderID: o.GlobalID()}, "INVALID"},
		"nothing left": {order.EditInput{OrderID: o.GlobalID(), Reduce: []order.LineQuantity{{OrderLineID: h.line(o, 0)}, {OrderLineID: h.line(o, 1)},
			{OrderLineID: h.line(o, 2)}}}, "INVALID reduce"},
	} {
		if p, err := h.Edit(m, c.in, uuid.NewString()); err != nil || problems(p.UserErrors) != c.want {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := h.Fulfill(m, order.FulfillInput{OrderID: o.GlobalID(), Lines: []order.LineQuantity{{OrderLineID: h.line(o, 1), Quantity: 3}}}, nil); err != nil {
		t.Fatal(err)
	}
	if p, err := h.Edit(m, order.EditInput{OrderID: o.GlobalID(), Reduce: []order.LineQuantity{{OrderLineID: h.line(o, 1), Quantity: 2}}}, uuid.NewString()); err != nil || problems(p.UserErrors) != "INVALID reduce" {
		t.Errorf("fewer than were sent: %+v, %v", p, err)
	}
	equal(t, "stock after what was refused", h.stock(), []string{"19/0", "16/0", "17/0"})
	h.sound()

	// An edit and a cancellation at once, and two edits at once.
	for range 5 {
		o := h.buy(h.customers(1)[0], "card_ok", 0, 1, 1, order.StatusPlaced)
		atOnce(3, func(i int) {
			if i == 0 {
				if _, err := h.Cancel(m, order.CancelInput{OrderID: o.GlobalID(), Restock: true, Refund: true}, uuid.NewString()); err != nil {
					t.Error(err)
				}
			} else if _, err := h.Edit(m, order.EditInput{OrderID: o.GlobalID(), Add: []order.EditAddInput{{VariantID: h.variant(1), Quantity: 1}}}, uuid.NewString()); err != nil {
				t.Error(err)
			}
		})
	}
	h.settled()
	equal(t, "stock after races", h.stock(), []string{"19/0", "16/0", "17/0"})
	equal(t, "charged", h.charged(), 1)
	h.sound()
}

// TestDrafts writes orders for a customer and for a guest, and places them paid, unpaid and for nothing.
func TestDrafts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	m := h.manager()
	ada := id.Of(id.User, h.ada.ID)
	in := order.DraftInput{CustomerID: &ada, Lines: []order.DraftLineInput{{VariantID: h.variant(0), Quantity: 2, UnitPrice: new(decimal("7.50"))}},
		ShippingAddress: address, ShippingTotal: new(decimal("2")), Discount: new(decimal("1")), Note: new("By telephone.")}
	o := h.ok(h.CreateDraft(m, in, "key"))
	equal(t, "the same again", h.ok(h.CreateDraft(m, in, "key")).ID, o.ID)
	equal(t, "draft", []any{o.Status, o.Owner, o.TotalMinor, *o.Email, *o.Note}, []any{order.StatusDraft, h.ada.ID, int64(1600), "ada@example.com", "By telephone."})
	in.Lines = append(in.Lines, order.DraftLineInput{VariantID: h.variant(1), Quantity: 1})
	o = h.ok(h.UpdateDraft(m, order.DraftUpdateInput{OrderID: o.GlobalID(), Draft: in}))
	equal(t, "rewritten", o.TotalMinor, int64(1800))
	equal(t, "nothing is held", h.stock(), []string{"20/0", "20/0"})
	// Its customer knows nothing of it, nor does it count.
	customer := h.as(h.ada)
	byKey, err := h.ByKeys(customer, []id.Key{o.Key()})
	h.must(err)
	byNumber, err := h.ByNumber(customer, o.Number)
	h.must(err)
	list, err := h.List(customer, order.Filter{}, order.Sort{Field: order.SortCreatedAt}, page.Args{First: new(5)})
	h.must(err)
	count, err := h.Count(customer, order.Filter{})
	h.must(err)
	lists, err := h.ListByOwners(customer, []uuid.UUID{h.ada.ID}, page.Args{First: new(5)})
	h.must(err)
	counts, err := h.CountByOwners(customer, []uuid.UUID{h.ada.ID})
	h.must(err)
	if len(byKey) != 0 || byNumber != nil || len(list.Nodes()) != 0 || count != 0 || len(lists[h.ada.ID].Nodes()) != 0 || counts[h.ada.ID] != 0 {
		t.Errorf("the customer sees the draft: %v, %v, %v, %d, %v, %v", byKey, byNumber, list.Nodes(), count, lists[h.ada.ID].Nodes(), counts)
	}
	if _, err := h.Cancel(customer, order.CancelInput{OrderID: o.GlobalID()}, "k"); !fault.Is(err, fault.NotFound) {
		t.Errorf("the customer cancels the draft: %v", err)
	}
	if p, err := h.PlaceDraft(m, order.DraftPlaceInput{OrderID: o.GlobalID(), ReturnURL: new("/back")}, uuid.NewString()); err != nil || problems(p.UserErrors) != "INVALID returnUrl" {
		t.Errorf("placed with a path: %+v, %v", p, err)
	}
	o = h.ok(h.PlaceDraft(m, order.DraftPlaceInput{OrderID: o.GlobalID()}, uuid.NewString()))
	equal(t, "placed, unpaid", []any{o.Status, o.PaymentStatus}, []any{order.StatusPlaced, order.PaymentUnpaid})
	equal(t, "stock", h.stock(), []string{"18/0", "19/0"})
	if p, err := h.Pay(h.as(h.bob), order.PayInput{OrderID: o.GlobalID(), PaymentMethod: "card_ok"}, "k"); !fault.Is(err, fault.NotFound) {
		t.Errorf("somebody else's order: %+v, %v", p, err)
	}
	if p, err := h.Pay(h.as(h.ada), order.PayInput{OrderID: o.GlobalID(), PaymentMethod: "card_ok", ReturnURL: new("/back")}, "k"); err != nil || problems(p.UserErrors) != "INVALID returnUrl" {
		t.Errorf("paid with a path: %+v, %v", p, err)
	}
	if p, err := h.Place(h.as(h.ada), order.PlaceInput{ReturnURL: new("/back")}, "k"); err != nil || problems(p.UserErrors) != "INVALID returnUrl" {
		t.Errorf("ordered with a path: %+v, %v", p, err)
	}
	if p, err := h.Pay(h.as(h.ada), order.PayInput{OrderID: o.GlobalID(), PaymentMethod: "card_declined"}, "first"); err != nil || problems(p.UserErrors) != "PAYMENT_FAILED paymentMethod" {
		t.Errorf("%+v, %v", p, err)
	}
	var paid atomic.Int32
	atOnce(10, func(int) {
		p, err := h.Pay(h.as(h.ada), order.PayInput{OrderID: o.GlobalID(), PaymentMethod: "card_ok"}, uuid.NewString())
		if err != nil {
			t.Error(err)
		} else if len(p.UserErrors) == 0 {
			paid.Add(1)
		}
	})
	if paid.Load() != 1 || h.charged() != 1 || h.order(o).PaymentStatus != order.PaymentAuthorized {
		t.Errorf("%d have paid, %d were charged, it is %s", paid.Load(), h.charged(), h.order(o).PaymentStatus)
	}

	guest := h.ok(h.CreateDraft(m, order.DraftInput{Email: new("joe@example.com"), Lines: []order.DraftLineInput{{VariantID: h.variant(0), Quantity: 1, UnitPrice: new(decimal("0"))}}}, uuid.NewString()))
	guest = h.ok(h.PlaceDraft(m, order.DraftPlaceInput{OrderID: guest.GlobalID()}, uuid.NewString()))
	equal(t, "for nothing", []any{guest.Status, guest.PaymentStatus, guest.TotalMinor}, []any{order.StatusPlaced, order.PaymentPaid, int64(0)})
	users, err := h.config.Users.ByIDs(m, []uuid.UUID{guest.Owner})
	if err != nil || len(users) != 1 || !users[0].Guest || *users[0].Email != "joe@example.com" {
		t.Errorf("the guest: %+v, %v", users, err)
	}
	h.ok(h.Cancel(m, order.CancelInput{OrderID: h.ok(h.CreateDraft(m, in, uuid.NewString())).GlobalID()}, uuid.NewString()))
	for name, bad := range map[string]order.DraftInput{
		"MISSING email":                 {Lines: in.Lines},
		"INVALID lines":                 {CustomerID: &ada},
		"INVALID customerId":            {CustomerID: new(id.Of(id.User, id.New())), Lines: in.Lines},
		"INVALID lines.0.quantity":      {CustomerID: &ada, Lines: []order.DraftLineInput{{VariantID: h.variant(0)}}},
		"UNAVAILABLE lines.0.variantId": {CustomerID: &ada, Lines: []order.DraftLineInput{{VariantID: id.Of(id.Variant, id.New()), Quantity: 1}}},
	} {
		if p, err := h.CreateDraft(m, bad, uuid.NewString()); err != nil || problems(p.UserErrors) != name {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	h.sound()
}

// TestGuests order by the token of their cart, and come back by another.
func TestGuests(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	total, token := h.fill(h.nobody(), nil, 0, 1, 2)
	in := order.PlaceInput{CartToken: token, ExpectedTotal: total, PaymentMethod: new("card_ok")}
	p, err := h.Place(h.nobody(), in, "key")
	if err != nil || p.Order == nil || p.Order.Status != order.StatusPlaced || p.Guest == nil || p.Guest.Token == "" || !p.Order.Borne() {
		t.Fatalf("%+v, %v", p, err)
	}
	again, err := h.Place(h.nobody(), in, "key")
	if err != nil || again.Order.ID != p.Order.ID || again.Guest == nil {
		t.Errorf("again: %+v, %v", again, err)
	}
	in.CartToken = new("nonsense")
	if _, err := h.Place(h.nobody(), in, "key"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a wrong token: %v", err)
	}
	in.CartToken = nil
	if _, err := h.Place(h.nobody(), in, "key"); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("without a token: %v", err)
	}
	stale := order.PlaceInput{ExpectedTotal: decimal("1.00"), PaymentMethod: new("card_ok")}
	h.fill(h.as(h.bob), nil, 0, 1, 1)
	if p, err := h.Place(h.as(h.bob), stale, "key"); err != nil || problems(p.UserErrors) != "STALE expectedTotal" || p.Order != nil {
		t.Errorf("another total: %+v, %v", p, err)
	}
	h.sound()
}

// TestGuestsTryAgain with the access token that they were given meanwhile beside the token of their cart, which is their own
// by then: there is nothing to be merged, and nothing becomes more, or is lost.
func TestGuestsTryAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	total, token := h.fill(h.nobody(), nil, 0, 2, 3)
	in := order.PlaceInput{CartToken: token, ExpectedTotal: total, PaymentMethod: new("card_declined")}
	p, err := h.Place(h.nobody(), in, "refused")
	if err != nil || p.Order == nil || p.Order.Status != order.StatusPaymentFailed || p.Guest == nil {
		t.Fatalf("%+v, %v", p, err)
	}
	guest := as(t.Context(), p.Order.Owner, auth.RoleCustomer)
	cart := h.cart(h.nobody(), token)
	for range 2 {
		merged := h.done(h.MergeCart(guest, order.CartMergeInput{Token: *token})).Cart
		equal(t, "merged into itself", []any{merged.ID, merged.Status, h.holds(merged)}, []any{cart.ID, order.CartOpen, map[int]int{0: 3, 1: 3}})
		equal(t, "as read", h.holds(h.cart(h.nobody(), token)), map[int]int{0: 3, 1: 3})
	}

	in.PaymentMethod = new("card_ok")
	placed, err := h.Place(guest, in, "paid")
	if err != nil || placed.Order == nil || placed.Order.Status != order.StatusPlaced || placed.Order.Owner != p.Order.Owner {
		t.Fatalf("%+v, %v", placed, err)
	}
	for who, ctx := range map[string]context.Context{"guest": guest, "nobody": h.nobody()} {
		if again, err := h.Place(ctx, in, "paid"); err != nil || again.Order == nil || again.Order.ID != placed.Order.ID {
			t.Errorf("again as %s: %+v, %v", who, again, err)
		}
	}
	equal(t, "orders", h.rows(t, "SELECT status FROM orders.orders ORDER BY id"), []string{"PAYMENT_FAILED", "PLACED"})
	h.sound()
}

// TestVerbsRefuseOthers asks as everybody who must not.
func TestVerbsRefuseOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	o := h.buy(h.as(h.ada), "card_ok", 0, 1, 1, order.StatusPlaced)
	bob, support := h.as(h.bob), as(t.Context(), id.New(), auth.RoleSupport)
	verbs := map[string]func(ctx context.Context) error{
		"confirm": func(ctx context.Context) error {
			_, err := h.Confirm(ctx, order.ConfirmInput{OrderID: o.GlobalID()})
			return err
		},
		"fulfill": func(ctx context.Context) error {
			_, err := h.Fulfill(ctx, order.FulfillInput{OrderID: o.GlobalID()}, nil)
			return err
		},
		"return": func(ctx context.Context) error {
			_, err := h.Return(ctx, order.ReturnInput{OrderID: o.GlobalID()}, "k")
			return err
		},
		"edit": func(ctx context.Context) error {
			_, err := h.Edit(ctx, order.EditInput{OrderID: o.GlobalID()}, "k")
			return err
		},
		"note": func(ctx context.Context) error {
			_, err := h.AddNote(ctx, order.NoteInput{OrderID: o.GlobalID(), Message: "x"})
			return err
		},
		"draft": func(ctx context.Context) error { _, err := h.CreateDraft(ctx, order.DraftInput{}, "k"); return err },
		"place a draft": func(ctx context.Context) error {
			_, err := h.PlaceDraft(ctx, order.DraftPlaceInput{OrderID: o.GlobalID()}, "k")
			return err
		},
	}
	for name, verb := range verbs {
		for who, ctx := range map[string]context.Context{"the owner": h.as(h.ada), "another customer": bob, "support": support} {
			if err := verb(ctx); !fault.Is(err, fault.Forbidden) {
				t.Errorf("%s by %s: %v", name, who, err)
			}
		}
		if err := verb(t.Context()); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s by nobody: %v", name, err)
		}
	}
	for name, ctx := range map[string]context.Context{"another customer": bob, "support": support} {
		_, known := h.Cancel(ctx, order.CancelInput{OrderID: o.GlobalID()}, "k")
		_, unknown := h.Cancel(ctx, order.CancelInput{OrderID: id.Owned(id.Order, id.Key{Owner: o.Owner, ID: id.New()})}, "k")
		if !fault.Is(known, fault.NotFound) || known.Error() != unknown.Error() {
			t.Errorf("cancel by %s: %v; of an unknown order %v", name, known, unknown)
		}
	}
	equal(t, "nothing has happened", h.kinds(o), "CREATED PAYMENT_AUTHORIZED PLACED")
}

// TestLateFacts tells of payments twice, out of turn, and after the order was given up.
func TestLateFacts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.work()
	o := h.buy(h.as(h.ada), "card_ok", 0, 1, 1, order.StatusPlaced)
	facts, err := h.payments.Facts(t.Context(), o.Key())
	h.must(err)
	if _, err := h.payments.Capture(h.manager(), payment.CaptureInput{PaymentID: h.payment(o).GlobalID()}, uuid.NewString()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.must(h.PaymentsChanged(t.Context(), o.Key(), facts)) // older than what is known
	}
	equal(t, "still paid", h.order(o).PaymentStatus, order.PaymentPaid)
	equal(t, "told once", h.kinds(o), "CREATED PAYMENT_AUTHORIZED PLACED PAYMENT_CAPTURED")

	// The order is given up while the customer is at the bank, who then says yes.
	late := h.buy(h.as(h.bob), "card_action", 0, 1, 1, order.StatusPending)
	_, err = postgres.Exec(t.Context(), h.dbs.Orders, postgres.Stmt{Name: "test", SQL: "UPDATE orders.orders SET expires_at = now() - interval '1 s' WHERE id = $1"}, late.ID)
	h.must(err)
	bank := h.bank(late)
	atOnce(2, func(i int) {
		if i == 0 {
			h.answer(bank, "approve")
		} else if _, err := h.Drive(t.Context(), late.Key()); err != nil {
			t.Error(err)
		}
	})
	h.settled()
	h.until("no money is left", func() bool { return h.charged() == 1 })
	h.settled()
	equal(t, "given up", h.order(late).Status, order.StatusExpired)
	equal(t, "stock", h.stock(), []string{"19/0"})
	h.sound()
}

// TestLoadedOrdersComeBack takes goods of an order back that was loaded, for which nothing was ever held here.
func TestLoadedOrdersComeBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	d := draft(h.ada.ID, day, func(d *order.Draft) { d.Lines[0].VariantID = h.variant(0).Key })
	h.load(t, d)
	before := h.stock()
	o := h.ok(h.Return(h.manager(), order.ReturnInput{OrderID: d.Order.GlobalID(), Restock: true,
		Lines: []order.LineQuantity{{OrderLineID: d.Lines[0].GlobalID(), Quantity: 2}}}, "back"))
	equal(t, "status", o.Status, order.StatusConfirmed)
	equal(t, "stock", h.stock(), before)
	equal(t, "put back", selectTexts(h, h.dbs.Orders, "SELECT quantity || ' ' || (restocked_at IS NOT NULL) FROM orders.returns JOIN orders.return_lines ON return_id = id", "orders.returns", "orders.return_lines"),
		[]string{"2 true"})
}

// TestNothingIsCapturedBeforeTheSale wants to capture what is promised while the order does not have its goods yet.
func TestNothingIsCapturedBeforeTheSale(t *testing.T) {
	t.Parallel()
	var early func()
	h := newHouse(t, 1, func(c *order.Config) {
		c.At = func(point string) {
			if point == "order: before sale" {
				early()
			}
		}
	})
	early = func() {
		found, err := h.payments.List(h.manager(), payment.Filter{Statuses: []payment.Status{payment.StatusAuthorized}}, payment.Sort{Field: payment.SortCreatedAt}, page.Args{First: new(1)})
		h.must(err)
		p, err := h.payments.Capture(h.manager(), payment.CaptureInput{PaymentID: found.Nodes()[0].GlobalID()}, "early")
		if err != nil || problems(p.UserErrors) != "STALE paymentId" || p.CommandKey != nil {
			t.Errorf("captured too early: %+v, %v", p, err)
		}
	}
	o := h.buy(h.as(h.ada), "card_ok", 0, 1, 1, order.StatusPlaced)
	equal(t, "promised", o.PaymentStatus, order.PaymentAuthorized)
	h.capture(o, nil)
	equal(t, "paid", h.order(o).PaymentStatus, order.PaymentPaid)
	h.sound()
}
