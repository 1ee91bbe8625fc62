package order_test

import (
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
)

// some are so many of the nth line of an order.
func (h *house) some(o *order.Order, n, quantity int) order.LineQuantity {
	h.t.Helper()
	return order.LineQuantity{OrderLineID: h.line(o, n), Quantity: quantity}
}

// pack puts so many of the first line of an order into a parcel.
func (h *house) pack(o *order.Order, quantity int, ship bool) *order.Fulfillment {
	h.t.Helper()
	p, err := h.Fulfill(h.manager(), order.FulfillInput{OrderID: o.GlobalID(), Ship: ship, Lines: []order.LineQuantity{h.some(o, 0, quantity)}}, nil)
	if err != nil || len(p.UserErrors) > 0 || p.Fulfillment == nil {
		h.t.Fatalf("%+v, %v", p, err)
	}
	return p.Fulfillment
}

// TestOnlyWhatWasSentComesBack packs and unpacks: what has not left the house does not come back, and an order of which
// everything was unpacked can be cancelled.
func TestOnlyWhatWasSentComesBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	m := h.manager()
	o := h.buy(h.as(h.ada), "card_ok", 0, 1, 4, order.StatusPlaced)
	back := func(n int) (*order.Payload, error) {
		return h.Return(m, order.ReturnInput{OrderID: o.GlobalID(), Restock: true, Lines: []order.LineQuantity{h.some(o, 0, n)}}, uuid.NewString())
	}
	parcel := h.pack(o, 2, false)
	if p, err := back(1); err != nil || problems(p.UserErrors) != "INVALID lines.0.quantity" {
		t.Errorf("what is only packed came back: %+v, %v", p, err)
	}
	for range 2 { // the second time nothing is to be done
		p, err := h.CancelParcel(m, order.ParcelCancelInput{FulfillmentID: parcel.GlobalID()})
		if err != nil || len(p.UserErrors) > 0 || p.Fulfillment.Status != order.ParcelCanceled || p.Order.FulfillmentStatus != order.Unfulfilled {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	if p, err := h.Ship(m, order.ParcelInput{FulfillmentID: parcel.GlobalID()}); err != nil || problems(p.UserErrors) != "INVALID fulfillmentId" {
		t.Errorf("a parcel that was unpacked: %+v, %v", p, err)
	}
	sent, packed := h.pack(o, 3, true), h.pack(o, 1, false)
	if p, err := back(4); err != nil || problems(p.UserErrors) != "INVALID lines.0.quantity" {
		t.Errorf("more than was sent came back: %+v, %v", p, err)
	}
	// A parcel is unpacked while what was sent comes back.
	atOnce(4, func(i int) {
		if i == 0 {
			if p, err := h.CancelParcel(m, order.ParcelCancelInput{FulfillmentID: packed.GlobalID()}); err != nil || len(p.UserErrors) > 0 {
				t.Errorf("%+v, %v", p, err)
			}
		} else if p, err := back(1); err != nil || len(p.UserErrors) > 0 {
			t.Errorf("%+v, %v", p, err)
		}
	})
	equal(t, "one was never sent", h.order(o).FulfillmentStatus, order.PartiallyFulfilled)
	if p, err := h.Deliver(m, order.DeliverInput{FulfillmentID: packed.GlobalID()}); err != nil || problems(p.UserErrors) != "INVALID fulfillmentId" {
		t.Errorf("a parcel that was never sent arrives: %+v, %v", p, err)
	}
	if p, err := h.Deliver(m, order.DeliverInput{FulfillmentID: sent.GlobalID()}); err != nil || p.Fulfillment.Status != order.ParcelDelivered || p.Fulfillment.DeliveredAt == nil {
		t.Errorf("%+v, %v", p, err)
	}
	equal(t, "stock", h.stock(), []string{"19/0"})

	other := h.buy(h.as(h.bob), "card_ok", 0, 1, 4, order.StatusPlaced)
	parcel = h.pack(other, 4, false)
	if _, err := h.CancelParcel(m, order.ParcelCancelInput{FulfillmentID: parcel.GlobalID()}); err != nil {
		t.Fatal(err)
	}
	equal(t, "unpacked, so cancelled", h.ok(h.Cancel(m, order.CancelInput{OrderID: other.GlobalID(), Restock: true}, uuid.NewString())).Status, order.StatusCanceled)
	if p, err := h.Fulfill(m, order.FulfillInput{OrderID: other.GlobalID()}, nil); err != nil || problems(p.UserErrors) != "INVALID orderId" {
		t.Errorf("%+v, %v", p, err)
	}
	equal(t, "stock", h.stock(), []string{"19/0"})
	equal(t, "what has happened", h.kinds(o), "CREATED PAYMENT_AUTHORIZED PLACED CONFIRMED PACKED SHIPPED PACKED RETURNED RETURNED RETURNED DELIVERED")
	h.sound()
}

// TestNotesAndNextStates writes down what staff says, and foretells what can follow.
func TestNotesAndNextStates(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	m := h.manager()
	o := h.buy(h.as(h.ada), "card_ok", 0, 1, 2, order.StatusPlaced)
	equal(t, "placed", o.NextStates(), []order.Status{order.StatusConfirmed, order.StatusCanceled})
	h.ok(h.AddNote(m, order.NoteInput{OrderID: o.GlobalID(), Message: "  She called. "}))
	if p, err := h.AddNote(m, order.NoteInput{OrderID: o.GlobalID(), Message: "  "}); err != nil || problems(p.UserErrors) != "INVALID message" {
		t.Errorf("%+v, %v", p, err)
	}
	events, err := h.EventsOf(h.as(h.ada), []id.Key{o.Key()})
	h.must(err)
	if last := events[len(events)-1]; last.Kind != order.EventNote || last.Message != "She called." || last.ActorID == nil {
		t.Errorf("%+v", last)
	}
	h.ok(h.Confirm(m, order.ConfirmInput{OrderID: o.GlobalID()}))
	h.ok(h.Confirm(m, order.ConfirmInput{OrderID: o.GlobalID()}))
	equal(t, "confirmed", h.order(o).NextStates(), []order.Status{order.StatusCompleted, order.StatusCanceled})
	if p, err := h.Cancel(h.as(h.ada), order.CancelInput{OrderID: o.GlobalID()}, uuid.NewString()); err != nil || problems(p.UserErrors) != "INVALID orderId" {
		t.Errorf("a customer cancels what the shop works on: %+v, %v", p, err)
	}
	parcel := h.pack(o, 2, true)
	equal(t, "sent", []any{h.order(o).NextStates(), parcel.NextStates()}, []any{[]order.Status{order.StatusCompleted}, []order.ParcelStatus{order.ParcelDelivered}})
	h.sound()
}

// TestManyGoodsAreHeldTogether has ten buyers want seven of 20 of each of three: two get all, the others nothing of any.
func TestManyGoodsAreHeldTogether(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 3)
	buyers := h.customers(10)
	for _, b := range buyers {
		h.fill(b, nil, 0, 3, 7)
	}
	total := h.quote(buyers[0], nil).Total().Amount()
	var placed atomic.Int32
	atOnce(len(buyers), func(i int) {
		switch p, err := h.place(buyers[i], total, "card_ok", uuid.NewString()); {
		case err != nil:
			t.Error(err)
		case len(p.UserErrors) == 0 && p.Order.Status == order.StatusPlaced:
			placed.Add(1)
		case problems(p.UserErrors) != "OUT_OF_STOCK lines" && p.Order != nil:
			t.Errorf("%+v", p)
		}
	})
	equal(t, "placed", placed.Load(), int32(2))
	h.settled()
	equal(t, "stock", h.stock(), []string{"6/0", "6/0", "6/0"})
	equal(t, "charged", h.charged(), 2)
	h.sound()
}

// TestAParcelIsPackedOnce sends a request for a parcel again with its key, also at once: what it names is packed once, though more is left.
func TestAParcelIsPackedOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	m := h.manager()
	o := h.buy(h.as(h.ada), "card_ok", 0, 1, 5, order.StatusPlaced)
	in := order.FulfillInput{OrderID: o.GlobalID(), Lines: []order.LineQuantity{h.some(o, 0, 2)}, Ship: true}
	first, err := h.Fulfill(m, in, new("parcel"))
	if err != nil || len(first.UserErrors) > 0 || first.Fulfillment == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	atOnce(10, func(int) {
		again, err := h.Fulfill(m, in, new("parcel"))
		if raced(err) {
			return
		}
		if err != nil || len(again.UserErrors) > 0 || again.Fulfillment == nil || again.Fulfillment.ID != first.Fulfillment.ID {
			t.Errorf("again: %+v, %v", again, err)
		}
	})
	if _, err := h.Fulfill(m, order.FulfillInput{OrderID: o.GlobalID(), Ship: true}, new("parcel")); !fault.Is(err, fault.Conflict) {
		t.Errorf("the key for something else: %v", err)
	}
	// What was refused leaves no key behind, and the next key packs another one.
	in.Lines = []order.LineQuantity{h.some(o, 0, 4)}
	if p, err := h.Fulfill(m, in, new("rest")); err != nil || problems(p.UserErrors) != "INVALID lines.0.quantity" || p.Fulfillment != nil {
		t.Errorf("too many: %+v, %v", p, err)
	}
	in.Lines = nil
	rest, err := h.Fulfill(m, in, new("rest"))
	if err != nil || len(rest.UserErrors) > 0 || rest.Fulfillment == nil || rest.Fulfillment.ID == first.Fulfillment.ID {
		t.Errorf("the rest: %+v, %v", rest, err)
	}
	parcels, err := h.FulfillmentsOf(m, []id.Key{o.Key()})
	h.must(err)
	equal(t, "parcels", []any{len(parcels), h.order(o).FulfillmentStatus}, []any{2, order.Fulfilled})
	h.sound()
}
