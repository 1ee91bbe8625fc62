package seed

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
)

// tale tells an order and its payments step by step, while its clock runs. All statuses follow from what happened, so
// that they agree with the ledger and the parcels.
type tale struct {
	r        *rand.Rand
	now      time.Time
	draft    order.Draft
	payments []*payment.Draft // the last is the one under way
	packed   map[uuid.UUID]int
	chatty   bool // tells each step as an event; otherwise only that it was placed
}

// pick is something that goes into an order.
type pick struct {
	product, variant uuid.UUID
	title            string
	variantTitle     *string
	sku, image       *string
	price            int64 // of one
	quantity         int
	discount         int64 // of all
}

// begin opens an order.
func begin(r *rand.Rand, c money.Currency, b buyer, number string, at time.Time, picks []pick, chatty bool) *tale {
	t := &tale{r: r, now: at, packed: map[uuid.UUID]int{}, chatty: chatty}
	o := &t.draft.Order
	*o = order.Order{Owner: b.account.ID, ID: key(r, at), Number: number, Status: order.StatusPending,
		Email: b.account.Email, ShippingAddress: b.shipping, BillingAddress: b.billing,
		Currency: c, TaxIncluded: b.tax.Included, CreatedAt: at}
	for i, p := range picks {
		l := order.Line{Owner: o.Owner, ID: key(r, at), OrderID: o.ID, Position: i + 1,
			ProductID: p.product, VariantID: p.variant, Title: p.title, VariantTitle: p.variantTitle, SKU: p.sku, ImageURL: p.image,
			Quantity: p.quantity, Currency: c, UnitPriceMinor: p.price, DiscountMinor: p.discount,
			TotalMinor: p.price*int64(p.quantity) - p.discount}
		l.TaxMinor = b.tax.of(l.TotalMinor)
		o.SubtotalMinor += p.price * int64(p.quantity)
		o.DiscountMinor += l.DiscountMinor
		o.TaxMinor += l.TaxMinor
		t.draft.Lines = append(t.draft.Lines, l)
	}
	if o.SubtotalMinor < minor(10000, c) {
		o.ShippingMinor = minor(590, c) // not taxed, so that the tax of an order is that of its lines
	}
	o.TotalMinor = o.SubtotalMinor - o.DiscountMinor + o.ShippingMinor
	if !o.TaxIncluded {
		o.TotalMinor += o.TaxMinor
	}
	t.tell(order.EventCreated, "The order was begun.")
	return t
}

// order returns the order as it stands.
func (t *tale) order() *order.Draft {
	o := &t.draft.Order
	o.PaymentStatus, o.FulfillmentStatus, t.draft.Paid = t.paid(), t.fulfilled(), ledger(t.payments...)
	return &t.draft
}

// wait lets time pass.
func (t *tale) wait(from, to time.Duration) { t.now = t.now.Add(between(t.r, from, to)) }

func (t *tale) tell(kind order.EventKind, message string) {
	if !t.chatty && kind != order.EventPlaced {
		return
	}
	o := &t.draft.Order
	t.draft.Events = append(t.draft.Events, order.Event{
		Owner: o.Owner, ID: key(t.r, t.now), OrderID: o.ID, Kind: kind, Message: message, CreatedAt: t.now})
	t.now = t.now.Add(time.Second) // no two at once
}

var methods = []payment.Method{
	{Kind: "card", Brand: new("visa")},
	{Kind: "card", Brand: new("mastercard")},
	{Kind: "wallet"},
}

const base32 = "0123456789abcdefghjkmnpqrstvwxyz"

// reference returns what a provider may call something.
func (t *tale) reference(prefix string) string {
	text := []byte(prefix + "_")
	for range 2 {
		for bits := t.r.Uint64() >> 4; bits > 0; bits >>= 5 {
			text = append(text, base32[bits&31])
		}
	}
	return string(text)
}

// pay asks for a payment by card or wallet.
func (t *tale) pay() {
	m := methods[t.r.IntN(len(methods))]
	if m.Kind == "card" {
		m.LastFour = new(fmt.Sprintf("%04d", t.r.IntN(10000)))
	}
	t.payBy("demo_pay", m)
}

// payByBank asks for a payment by bank transfer, which is captured without having been authorized.
func (t *tale) payByBank() { t.payBy("demo_bank", payment.Method{Kind: "bank_transfer"}) }

func (t *tale) payBy(provider string, m payment.Method) {
	t.wait(2*time.Second, 40*time.Second)
	o := &t.draft.Order
	t.payments = append(t.payments, &payment.Draft{Payment: payment.Payment{
		Owner: o.Owner, ID: key(t.r, t.now), OrderID: o.ID, Provider: provider, Status: payment.StatusPending, Method: m,
		Currency: o.Currency, AmountMinor: o.TotalMinor, Reference: new(t.reference("pay")), CreatedAt: t.now}})
}

// report enters what the provider says about the payment under way.
func (t *tale) report(kind payment.EventKind, amount int64) {
	t.wait(time.Second, 9*time.Second)
	d := t.payments[len(t.payments)-1]
	p := &d.Payment
	d.Events = append(d.Events, payment.EventDraft{EventID: t.reference("evt"), Event: payment.Event{
		Owner: p.Owner, ID: key(t.r, t.now), PaymentID: p.ID, OrderID: p.OrderID, Kind: kind, Currency: p.Currency,
		AmountMinor: amount, OccurredAt: t.now}})

	switch sums := ledger(d); {
	case sums.Refunded > 0 && sums.Refunded == sums.Captured:
		p.Status = payment.StatusRefunded
	case sums.Refunded > 0:
		p.Status = payment.StatusPartiallyRefunded
	case sums.Captured > 0 && sums.Captured < max(sums.Authorized-sums.Voided, 0):
		p.Status = payment.StatusPartiallyCaptured
	case sums.Captured > 0:
		p.Status = payment.StatusCaptured
	case kind == payment.EventActionRequired:
		p.Status = payment.StatusActionRequired
	case kind == payment.EventFailed:
		p.Status = payment.StatusFailed
	case kind == payment.EventVoided:
		p.Status = payment.StatusVoided
	default:
		p.Status = payment.StatusAuthorized
	}

	is := money.New(amount, p.Currency)
	switch kind {
	case payment.EventAuthorized:
		t.tell(order.EventPaymentAuthorized, is.String()+" were authorized.")
	case payment.EventCaptured:
		t.tell(order.EventPaymentCaptured, is.String()+" were collected.")
	case payment.EventRefunded:
		t.tell(order.EventRefunded, is.String()+" were paid back.")
	case payment.EventFailed:
		t.tell(order.EventPaymentFailed, "The payment was refused.")
	case payment.EventVoided:
		t.tell(order.EventNote, "The authorization of "+is.String()+" was given back.")
	}
}

// ledger returns the sums of payments.
func ledger(payments ...*payment.Draft) order.PaymentFacts {
	var s order.PaymentFacts
	for _, p := range payments {
		for _, e := range p.Events {
			switch e.Event.Kind {
			case payment.EventAuthorized:
				s.Authorized += e.Event.AmountMinor
			case payment.EventVoided:
				s.Voided += e.Event.AmountMinor
			case payment.EventCaptured:
				s.Captured += e.Event.AmountMinor
			case payment.EventRefunded:
				s.Refunded += e.Event.AmountMinor
			}
		}
	}
	return s
}

// paid returns where the money of the order is.
func (t *tale) paid() order.PaymentStatus {
	switch s := ledger(t.payments...); {
	case s.Refunded > 0 && s.Refunded == s.Captured:
		return order.PaymentRefunded
	case s.Refunded > 0:
		return order.PaymentPartiallyRefunded
	case s.Captured > 0 && s.Captured < t.total():
		return order.PaymentPartiallyPaid
	case s.Captured > 0:
		return order.PaymentPaid
	case s.Authorized > s.Voided:
		return order.PaymentAuthorized
	case s.Voided > 0:
		return order.PaymentVoided
	default:
		return order.PaymentUnpaid
	}
}

func (t *tale) total() int64 { return t.draft.Order.TotalMinor }

func (t *tale) place() {
	t.draft.Order.Status = order.StatusPlaced
	t.draft.Order.PlacedAt = new(t.now)
	t.tell(order.EventPlaced, "The order was placed.")
}

// buy places the order with an authorized payment.
func (t *tale) buy() {
	t.pay()
	t.report(payment.EventAuthorized, t.total())
	t.place()
}

// buyByBank places the order and is paid a day or two later.
func (t *tale) buyByBank() {
	t.payByBank()
	t.place()
	t.wait(20*time.Hour, 50*time.Hour)
	t.report(payment.EventCaptured, t.total())
}

func (t *tale) confirm() {
	t.wait(time.Hour, 8*time.Hour)
	t.draft.Order.Status = order.StatusConfirmed
	t.tell(order.EventConfirmed, "We are packing it.")
}

func (t *tale) cancel(because string) {
	t.wait(20*time.Minute, 5*time.Hour)
	t.draft.Order.Status = order.StatusCanceled
	t.draft.Order.CanceledAt = new(t.now)
	t.tell(order.EventCanceled, because)
}

func (t *tale) complete() {
	t.wait(24*time.Hour, 72*time.Hour)
	t.draft.Order.Status = order.StatusCompleted
	t.tell(order.EventCompleted, "The order is done.")
}

// pack makes a parcel of what is not in one yet: of everything, or of the first line that is left only.
func (t *tale) pack(everything bool) {
	t.wait(2*time.Hour, 20*time.Hour)
	o := &t.draft.Order
	f := order.Fulfillment{Owner: o.Owner, ID: key(t.r, t.now), OrderID: o.ID, Status: order.ParcelPending, CreatedAt: t.now}
	for _, l := range t.draft.Lines {
		left := l.Quantity - t.packed[l.ID]
		if left == 0 {
			continue
		}
		t.packed[l.ID] += left
		t.draft.FulfillmentLines = append(t.draft.FulfillmentLines, order.FulfillmentLine{
			Owner: o.Owner, FulfillmentID: f.ID, LineID: l.ID, Quantity: left})
		if !everything {
			break
		}
	}
	t.draft.Fulfillments = append(t.draft.Fulfillments, f)
}

// parcel returns the last parcel.
func (t *tale) parcel() *order.Fulfillment { return &t.draft.Fulfillments[len(t.draft.Fulfillments)-1] }

// send sends the last parcel.
func (t *tale) send() {
	t.wait(30*time.Minute, 4*time.Hour)
	carrier := []string{"Seaway Post", "Northline Parcels"}[t.r.IntN(2)]
	number := fmt.Sprintf("%c%011d", carrier[0], t.r.Int64N(1e11))
	f := t.parcel()
	f.Status, f.ShippedAt = order.ParcelShipped, new(t.now)
	f.Carrier, f.TrackingNumber, f.TrackingURL = &carrier, &number, new("https://tracking.example.com/"+number)
	t.tell(order.EventShipped, "A parcel was handed to "+carrier+", number "+number+".")
}

// arrive delivers the last parcel.
func (t *tale) arrive() {
	t.wait(22*time.Hour, 90*time.Hour)
	f := t.parcel()
	f.Status, f.DeliveredAt = order.ParcelDelivered, new(t.now)
	t.tell(order.EventDelivered, "A parcel has arrived.")
}

// sendBack returns the last parcel.
func (t *tale) sendBack() {
	t.wait(48*time.Hour, 140*time.Hour)
	t.parcel().Status = order.ParcelReturned
	t.tell(order.EventReturned, "A parcel came back.")
}

// fulfilled returns where the goods of the order are. A parcel that came back had arrived before.
func (t *tale) fulfilled() order.FulfillmentStatus {
	status := map[uuid.UUID]order.ParcelStatus{}
	for _, f := range t.draft.Fulfillments {
		status[f.ID] = f.Status
	}
	var all, sent, arrived, back int
	for _, l := range t.draft.Lines {
		all += l.Quantity
	}
	for _, l := range t.draft.FulfillmentLines {
		switch status[l.FulfillmentID] {
		case order.ParcelReturned:
			sent, arrived, back = sent+l.Quantity, arrived+l.Quantity, back+l.Quantity
		case order.ParcelDelivered:
			sent, arrived = sent+l.Quantity, arrived+l.Quantity
		case order.ParcelShipped:
			sent += l.Quantity
		}
	}
	switch {
	case back == all:
		return order.Returned
	case arrived == all:
		return order.Delivered
	case sent == all:
		return order.Fulfilled
	case sent > 0:
		return order.PartiallyFulfilled
	default:
		return order.Unfulfilled
	}
}
