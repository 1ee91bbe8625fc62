package order

import "slices"

// transitions are where an order can go from each of its states, in a transaction that holds it locked. A state that is not
// here, or has none, is final.
var transitions = map[Status][]Status{
	StatusDraft:     {StatusPending, StatusCanceled},
	StatusPending:   {StatusPlaced, StatusPaymentFailed, StatusExpired, StatusCanceled},
	StatusPlaced:    {StatusConfirmed, StatusCanceled},
	StatusConfirmed: {StatusCompleted, StatusCanceled},
}

// parcelTransitions are where a parcel can go. What comes back is counted by line, not by parcel.
var parcelTransitions = map[ParcelStatus][]ParcelStatus{
	ParcelPending: {ParcelShipped, ParcelCanceled},
	ParcelShipped: {ParcelDelivered},
}

// Next returns the states that can follow.
func (s Status) Next() []Status { return slices.Clone(transitions[s]) }

// may reports whether a state can follow.
func (s Status) may(next Status) bool { return slices.Contains(transitions[s], next) }

// givenUp tells whether nothing is bought: goods and money are, or are being, brought back.
func (s Status) givenUp() bool {
	return s == StatusCanceled || s == StatusPaymentFailed || s == StatusExpired
}

// NextStates are the states that can follow, as far as they depend on the state alone: goods that were sent keep an order
// from being cancelled.
func (o *Order) NextStates() []Status {
	next := o.Status.Next()
	if o.FulfillmentStatus != Unfulfilled {
		next = slices.DeleteFunc(next, func(s Status) bool { return s == StatusCanceled })
	}
	return next
}

// NextStates are the states that can follow.
func (f *Fulfillment) NextStates() []ParcelStatus { return slices.Clone(parcelTransitions[f.Status]) }

// CancelReason is why an order was cancelled.
type CancelReason string

const (
	CancelCustomer   CancelReason = "CUSTOMER"
	CancelStaff      CancelReason = "STAFF"
	CancelFraud      CancelReason = "FRAUD"
	CancelOutOfStock CancelReason = "OUT_OF_STOCK"
	CancelOther      CancelReason = "OTHER"
)

// status is where the money of an order with this total is.
func (p paid) status(total int64) PaymentStatus {
	switch {
	case p.Captured > 0 && p.Refunded >= p.Captured:
		return PaymentRefunded
	case p.Captured > 0 && p.Refunded > 0:
		return PaymentPartiallyRefunded
	case p.Captured >= total && (p.Captured > 0 || total == 0):
		return PaymentPaid
	case p.Captured > 0:
		return PaymentPartiallyPaid
	case p.Authorized > p.Voided:
		return PaymentAuthorized
	case p.Voided > 0:
		return PaymentVoided
	}
	return PaymentUnpaid
}

// fulfillmentStatus is what the lines and parcels of an order make of it. Lines of which an edit has left nothing do not count.
func fulfillmentStatus(lines []*Line, parcels []*Fulfillment) FulfillmentStatus {
	var quantity, fulfilled, returned int
	for _, l := range lines {
		quantity, fulfilled, returned = quantity+l.Quantity, fulfilled+l.Fulfilled, returned+l.Returned
	}
	switch {
	case fulfilled == 0:
		return Unfulfilled
	case returned == quantity:
		return Returned
	case fulfilled < quantity:
		return PartiallyFulfilled
	}
	sent, arrived := false, true
	for _, p := range parcels {
		switch p.Status {
		case ParcelPending:
			return PartiallyFulfilled
		case ParcelShipped:
			sent, arrived = true, false
		case ParcelDelivered, ParcelReturned:
			sent = true
		}
	}
	switch {
	case sent && arrived:
		return Delivered
	case sent:
		return Fulfilled
	}
	return PartiallyFulfilled
}
