package order

import (
	"context"
	"time"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/money"
)

// Payments moves the money of orders; the payment service is it. Each verb may be called any number of times, also while
// another call of it is under way, and none is called inside a transaction: providers are asked.
type Payments interface {
	// Authorize asks the provider to promise the amount. The payment's ID is the key: asked again, it returns what became
	// of the same payment. An error means that nothing is known yet; the order asks again later. A Conflict means that the
	// payment was not begun: another one is under way, or has paid already.
	Authorize(ctx context.Context, r PaymentRequest) (PaymentOutcome, error)
	// Release makes sure that no money of the order stays with, or can still reach, the shop: nothing is captured from
	// now on, what is under way is cancelled, what is authorized is voided, what was captured is refunded if that is asked for. It
	// returns nil once the provider has confirmed all of it, and an error as long as it has not.
	Release(ctx context.Context, order id.Key, refund bool) error
}

// PaymentRequest is what an order asks of the payment service.
type PaymentRequest struct {
	Order     id.Key
	Number    string    // of the order, for the customer's statement
	PaymentID uuid.UUID // made by the order, one for each attempt
	Amount    int64     // minor units
	Total     int64     // of the order: a payment by which more would be promised or paid than this is not begun
	Currency  money.Currency
	Method    string  // what the provider's own form in the browser has given the customer's card
	ReturnURL *string // where the customer comes back to after an action
}

// PaymentState is where a payment is, as far as an order cares.
type PaymentState string

const (
	PaymentAsked          PaymentState = "ASKED"           // under way
	PaymentActionRequired PaymentState = "ACTION_REQUIRED" // the customer has to do something
	PaymentPromised       PaymentState = "PROMISED"        // authorized, or captured
	PaymentRefused        PaymentState = "REFUSED"         // final
)

// PaymentOutcome is what became of a PaymentRequest so far.
type PaymentOutcome struct {
	State   PaymentState
	Message string // why it was refused, for the customer
}

// PaymentFacts are the sums of the ledgers of all payments of an order, in minor units, with what is in them.
type PaymentFacts struct {
	Revision                               int64 // grows with each entry: what was read later has more
	Authorized, Voided, Captured, Refunded int64
	Entries                                []PaymentEntry
}

// PaymentEntry is an entry of a ledger.
type PaymentEntry struct {
	ID     uuid.UUID
	Kind   EventKind // EventPaymentAuthorized, EventPaymentCaptured, EventPaymentFailed, EventPaymentVoided, EventRefunded
	Amount int64
	At     time.Time
}
