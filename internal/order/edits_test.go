package order_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/product"
)

// TestEditsAreForetold edits an order with a discount at random: each dry run changes nothing and says exactly what the
// edit then comes to.
func TestEditsAreForetold(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 4)
	m := h.manager()
	h.discount(order.DiscountCreateInput{Code: "THIRD", Kind: order.DiscountPercentage, BasisPoints: new(3333)})
	ada := h.as(h.ada)
	h.fill(ada, nil, 0, 4, 7)
	h.done(h.ApplyCartDiscount(ada, order.CartDiscountApplyInput{Code: "THIRD"}))
	placed, err := h.place(ada, h.quote(ada, nil).Total().Amount(), "card_ok", uuid.NewString())
	h.must(err)
	o := placed.Order
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 15 {
		lines, err := h.LinesOf(m, []id.Key{o.Key()})
		h.must(err)
		in := order.EditInput{OrderID: o.GlobalID(), DryRun: true}
		for _, l := range lines {
			if r.IntN(3) == 0 && l.Quantity > 0 {
				in.Reduce = append(in.Reduce, order.LineQuantity{OrderLineID: l.GlobalID(), Quantity: max(1, l.Quantity-r.IntN(3))})
			}
		}
		for range r.IntN(3) { // the same variant may come twice
			in.Add = append(in.Add, order.EditAddInput{VariantID: h.variant(r.IntN(4)), Quantity: 1 + r.IntN(2)})
		}
		before, stock, events := h.order(o), h.stock(), h.kinds(o)
		told, err := h.Edit(m, in, uuid.NewString())
		h.must(err)
		equal(t, "a dry run", []any{h.order(o), h.stock(), h.kinds(o)}, []any{before, stock, events})
		in.DryRun = false
		done, err := h.Edit(m, in, uuid.NewString())
		h.must(err)
		if equal(t, "problems", problems(done.UserErrors), problems(told.UserErrors)); len(told.UserErrors) == 0 {
			got := done.Order
			equal(t, "totals", []int64{got.SubtotalMinor, got.DiscountMinor, got.TaxMinor, got.TotalMinor, got.TotalMinor - before.TotalMinor},
				[]int64{told.Preview.SubtotalMinor, told.Preview.DiscountMinor, told.Preview.TaxMinor, told.Preview.TotalMinor,
					told.Preview.DueMinor - (before.TotalMinor - placed.Order.TotalMinor)})
		}
		h.sound()
	}
	h.ok(h.Cancel(m, order.CancelInput{OrderID: o.GlobalID(), Restock: true, Refund: true}, uuid.NewString()))
	equal(t, "stock", h.stock(), []string{"20/0", "20/0", "20/0", "20/0"})
	equal(t, "charged", h.charged(), 0)
	h.sound()
}

// TestEditsAtOnce sends an edit ten times with one key, and ten times with keys of their own: it is made once, and as often as it
// was said to be.
func TestEditsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	m := h.manager()
	o := h.buy(h.as(h.ada), "card_ok", 0, 1, 10, order.StatusPlaced)
	in := order.EditInput{OrderID: o.GlobalID(), Add: []order.EditAddInput{{VariantID: h.variant(1), Quantity: 3}},
		Reduce: []order.LineQuantity{h.some(o, 0, 8)}}
	atOnce(10, func(int) {
		if p, err := h.Edit(m, in, "the-key"); err != nil && !raced(err) || err == nil && len(p.UserErrors) > 0 {
			t.Errorf("%+v, %v", p, err)
		}
	})
	equal(t, "total", h.order(o).TotalMinor, int64(8*100+3*200+500))
	equal(t, "stock", h.stock(), []string{"12/0", "17/0"})

	// What was edited stays edited, whatever is on sale by now.
	found, err := h.products.ByIDs(m, []uuid.UUID{h.goods[1].Product.ID})
	h.must(err)
	if p, err := h.products.Archive(m, product.ProductTransitionInput{ProductID: id.Of(id.Product, found[0].ID)}); err != nil || len(p.UserErrors) > 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	again, err := h.Edit(m, in, "the-key")
	if err != nil || len(again.UserErrors) > 0 || again.Order.TotalMinor != 1900 {
		t.Errorf("again: %+v, %v", again, err)
	}
	if p, err := h.Edit(m, in, uuid.NewString()); err != nil || problems(p.UserErrors) != "UNAVAILABLE add.0.variantId" {
		t.Errorf("another: %+v, %v", p, err)
	}

	var made atomic.Int32
	line := h.line(o, 1)
	atOnce(10, func(i int) {
		in := order.EditInput{OrderID: o.GlobalID(), Add: []order.EditAddInput{{VariantID: h.variant(0), Quantity: 1}}}
		if i%2 == 0 { // of a line that was added by an edit
			in.Reduce = []order.LineQuantity{{OrderLineID: line, Quantity: 1}}
		}
		switch p, err := h.Edit(m, in, uuid.NewString()); {
		case err != nil:
			t.Error(err)
		case len(p.UserErrors) == 0:
			made.Add(1)
		case problems(p.UserErrors) != "STALE orderId" && problems(p.UserErrors) != "INVALID reduce":
			t.Errorf("%+v", p.UserErrors)
		}
	})
	lines, err := h.LinesOf(m, []id.Key{o.Key()})
	h.must(err)
	if made.Load() == 0 || len(lines) != 2+int(made.Load()) {
		t.Errorf("%d edits were made, of which there are %d lines", made.Load(), len(lines))
	}
	h.sound()
}

// TestEditsTakeAllOrNothing wants two more of which one is short, and reduces while the goods are packed.
func TestEditsTakeAllOrNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 3)
	m := h.manager()
	h.buy(h.as(h.bob), "card_ok", 2, 3, 18, order.StatusPlaced)
	o := h.buy(h.as(h.ada), "card_ok", 0, 2, 4, order.StatusPlaced)
	before := h.order(o)
	in := order.EditInput{OrderID: o.GlobalID(), Reduce: []order.LineQuantity{h.some(o, 0, 1)},
		Add: []order.EditAddInput{{VariantID: h.variant(1), Quantity: 2}, {VariantID: h.variant(2), Quantity: 2}, {VariantID: h.variant(2), Quantity: 1}}}
	for range 2 { // the same key again is told the same
		if p, err := h.Edit(m, in, "short"); err != nil || problems(p.UserErrors) != "OUT_OF_STOCK add" {
			t.Errorf("%+v, %v", p, err)
		}
	}
	equal(t, "nothing has changed", []any{h.order(o), h.stock()}, []any{before, []string{"16/0", "16/0", "2/0"}})

	for range 5 {
		o := h.buy(h.customers(1)[0], "card_ok", 0, 1, 2, order.StatusPlaced)
		reduce := order.EditInput{OrderID: o.GlobalID(), Reduce: []order.LineQuantity{h.some(o, 0, 1)}}
		var reduced, packed atomic.Bool
		atOnce(2, func(i int) {
			if i == 0 {
				p, err := h.Edit(m, reduce, uuid.NewString())
				reduced.Store(err == nil && len(p.UserErrors) == 0)
			} else {
				p, err := h.Fulfill(m, order.FulfillInput{OrderID: o.GlobalID(), Ship: true}, nil)
				packed.Store(err == nil && len(p.UserErrors) == 0)
			}
		})
		lines, err := h.LinesOf(m, []id.Key{o.Key()})
		h.must(err)
		want := 2
		if reduced.Load() {
			want = 1
		}
		if l := lines[0]; !packed.Load() || l.Quantity != want || l.Fulfilled != want || h.order(o).FulfillmentStatus != order.Fulfilled {
			t.Errorf("reduced %t, packed %t: %+v", reduced.Load(), packed.Load(), l)
		}
	}
	h.sound()
}

// TestLoadedOrdersAreEdited edits, and cancels, orders that were loaded without the rates of their taxes, for which nothing was held.
func TestLoadedOrdersAreEdited(t *testing.T) {
	t.Parallel()
	for _, included := range []bool{true, false} {
		h := newHouse(t, 1)
		m := h.manager()
		d := draft(h.ada.ID, day, func(d *order.Draft) { // 3 for 25.00, tax 3.99; 1 for 20.00, tax 3.99; shipping 5.00
			d.Order.Status, d.Order.FulfillmentStatus, d.Order.Taxes = order.StatusPlaced, order.Unfulfilled, nil
			d.Order.TaxIncluded, d.Order.TotalMinor = included, 5000
			if !included {
				d.Order.TotalMinor += d.Order.TaxMinor
			}
			d.Paid = order.PaymentFacts{Authorized: d.Order.TotalMinor, Captured: d.Order.TotalMinor}
			d.Fulfillments, d.FulfillmentLines = nil, nil
		})
		h.load(t, d)
		o := &d.Order
		p, err := h.Edit(m, order.EditInput{OrderID: o.GlobalID(), Reduce: []order.LineQuantity{h.some(o, 0, 1)},
			Add: []order.EditAddInput{{VariantID: h.variant(0), Quantity: 2}}}, uuid.NewString())
		if err != nil || len(p.UserErrors) > 0 {
			t.Fatalf("%+v, %v", p, err)
		}
		// 8.33 with a tax of 1.33, 20.00 with 3.99, and 2.00 with 0.32 in it or 0.38 on top
		want := []int64{3200, 167, 564, 3533}
		if !included {
			want = []int64{3200, 167, 570, 3533 + 570}
		}
		equal(t, "totals", []int64{p.Order.SubtotalMinor, p.Order.DiscountMinor, p.Order.TaxMinor, p.Order.TotalMinor}, want)
		equal(t, "paid", p.Order.PaymentStatus, order.PaymentPaid)
		equal(t, "stock", h.stock(), []string{"18/0"})
		h.ok(h.Cancel(m, order.CancelInput{OrderID: o.GlobalID(), Restock: true}, uuid.NewString()))
		h.settled()
		equal(t, "stock", h.stock(), []string{"20/0"})
	}
}

// TestEditsWhoseHoldLapses has the hold of an edit released before its sale, as when the process was down for long: the
// edit is refused, nothing is sent that was not sold. And it cancels an order between the sale and the edit: what was bought goes back.
func TestEditsWhoseHoldLapses(t *testing.T) {
	t.Parallel()
	happens := map[string]func(){}
	h := newHouse(t, 2, func(c *order.Config) {
		c.At = func(point string) {
			if do := happens[point]; do != nil {
				delete(happens, point)
				do()
			}
		}
	})
	m := h.manager()
	o := h.buy(h.as(h.ada), "card_ok", 0, 1, 1, order.StatusPlaced)
	edit := func(key string) *order.EditPayload {
		t.Helper()
		p, err := h.Edit(m, order.EditInput{OrderID: o.GlobalID(), Add: []order.EditAddInput{{VariantID: h.variant(1), Quantity: 3}}}, key)
		h.must(err)
		return p
	}
	happens["order: after an edit is held"] = func() {
		n, err := h.products.ReleaseExpired(t.Context(), time.Now().Add(24*time.Hour), 10)
		equal(t, "released", []any{n, err}, []any{1, nil})
	}
	for range 2 {
		equal(t, "the hold lapsed", problems(edit("lapsed").UserErrors), "STALE add")
	}
	equal(t, "stock", h.stock(), []string{"19/0", "20/0"})
	h.sound()
	happens["order: after an edit is sold"] = func() {
		h.ok(h.Cancel(m, order.CancelInput{OrderID: o.GlobalID(), Restock: true, Refund: true}, uuid.NewString()))
	}
	for range 2 {
		equal(t, "the order was cancelled", problems(edit("cancelled").UserErrors), "INVALID orderId")
	}
	equal(t, "stock", h.stock(), []string{"20/0", "20/0"})
	h.settled()
	h.sound()
}
