// Package payment is the service of payments and their ledger of provider events. It owns the Postgres schema
// "payments". Customers see their own; staff sees all.
package payment

import (
	"time"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
)

// Status tells where a payment is.
type Status string

const (
	StatusPending           Status = "PENDING"
	StatusActionRequired    Status = "ACTION_REQUIRED"
	StatusAuthorized        Status = "AUTHORIZED"
	StatusPartiallyCaptured Status = "PARTIALLY_CAPTURED"
	StatusCaptured          Status = "CAPTURED"
	StatusPartiallyRefunded Status = "PARTIALLY_REFUNDED"
	StatusRefunded          Status = "REFUNDED"
	StatusVoided            Status = "VOIDED"
	StatusFailed            Status = "FAILED"
)

// nextStates are the steps that a payment can take; it may be seen to take several at once, since what a provider reports
// can come late. What was refused may still be authorized, where the provider lets the customer try another card, and
// money that was paid back can come back.
var nextStates = map[Status][]Status{
	StatusPending:           {StatusActionRequired, StatusAuthorized, StatusVoided, StatusFailed},
	StatusActionRequired:    {StatusAuthorized, StatusVoided, StatusFailed},
	StatusAuthorized:        {StatusPartiallyCaptured, StatusCaptured, StatusVoided},
	StatusPartiallyCaptured: {StatusCaptured, StatusPartiallyRefunded, StatusRefunded},
	StatusCaptured:          {StatusPartiallyRefunded, StatusRefunded},
	StatusPartiallyRefunded: {StatusRefunded, StatusPartiallyCaptured, StatusCaptured},
	StatusRefunded:          {StatusPartiallyRefunded, StatusPartiallyCaptured, StatusCaptured},
	StatusVoided:            {},
	StatusFailed:            {StatusAuthorized},
}

// live reports whether an order's attempt to pay is under way.
func (s Status) live() bool {
	return s == StatusPending || s == StatusActionRequired || s == StatusAuthorized
}

// canBecome reports whether steps lead from one status to another.
func canBecome(from, to Status) bool {
	seen := map[Status]bool{from: true}
	for todo := []Status{from}; len(todo) > 0; todo = todo[1:] {
		if todo[0] == to {
			return true
		}
		for _, next := range nextStates[todo[0]] {
			if !seen[next] {
				seen[next] = true
				todo = append(todo, next)
			}
		}
	}
	return false
}

// Payment is money on its way from a customer, by one provider.
type Payment struct {
	Owner       uuid.UUID
	ID          uuid.UUID
	OrderID     uuid.UUID
	Provider    string
	Status      Status
	Method      Method
	Currency    money.Currency
	AmountMinor int64
	Reference   *string // the provider's own, opened
	Action      *Action // what the customer has to do; for the owner alone
	CreatedAt   time.Time
}

// Key returns the owner-first key.
func (p *Payment) Key() id.Key { return id.Key{Owner: p.Owner, ID: p.ID} }

// OrderKey returns the key of the order.
func (p *Payment) OrderKey() id.Key { return id.Key{Owner: p.Owner, ID: p.OrderID} }

// GlobalID returns the ID in the graph.
func (p *Payment) GlobalID() id.ID { return id.Owned(id.Payment, p.Key()) }

// OwnedBy reports whether the payment is the owner's.
func (p *Payment) OwnedBy(owner uuid.UUID) bool { return p.Owner == owner }

// Amount is how much was asked for.
func (p *Payment) Amount() money.Money { return money.New(p.AmountMinor, p.Currency) }

// NextStates are the statuses that it can have next.
func (p *Payment) NextStates() []Status { return nextStates[p.Status] }

// ProviderDetails returns how the provider knows the payment.
func (p *Payment) ProviderDetails() *ProviderDetails { return &ProviderDetails{Reference: p.Reference} }

// Method is how a customer pays, as far as may be shown.
type Method struct {
	Kind     string
	Brand    *string
	LastFour *string
}

// Action is what the customer has to do: to go to the URL, or to let the provider's script do it with the secret.
type Action struct {
	URL          *string
	ClientSecret *string
}

// OwnedBy returns true: it is read for the payment's owner alone.
func (*Action) OwnedBy(uuid.UUID) bool { return true }

// ProviderDetails is how the provider knows a payment.
type ProviderDetails struct{ Reference *string }

// EventKind is what can happen to a payment.
type EventKind string

const (
	EventActionRequired EventKind = "ACTION_REQUIRED"
	EventAuthorized     EventKind = "AUTHORIZED"
	EventCaptured       EventKind = "CAPTURED"
	EventRefunded       EventKind = "REFUNDED"
	EventRefundFailed   EventKind = "REFUND_FAILED" // what was refunded came back; of nothing if it never left
	EventVoided         EventKind = "VOIDED"
	EventFailed         EventKind = "FAILED"
)

// Event is an entry of a payment's ledger; never changed.
type Event struct {
	Owner       uuid.UUID
	ID          uuid.UUID
	PaymentID   uuid.UUID
	OrderID     uuid.UUID
	Kind        EventKind
	Currency    money.Currency
	AmountMinor int64
	OccurredAt  time.Time
}

// Key returns the owner-first key.
func (e *Event) Key() id.Key { return id.Key{Owner: e.Owner, ID: e.ID} }

// PaymentKey returns the key of the payment.
func (e *Event) PaymentKey() id.Key { return id.Key{Owner: e.Owner, ID: e.PaymentID} }

// GlobalID returns the ID in the graph.
func (e *Event) GlobalID() id.ID { return id.Owned(id.PaymentEvent, e.Key()) }

// OwnedBy reports whether the event is the owner's.
func (e *Event) OwnedBy(owner uuid.UUID) bool { return e.Owner == owner }

// Amount is how much the event was about.
func (e *Event) Amount() money.Money { return money.New(e.AmountMinor, e.Currency) }

// Totals are the sums of a ledger, in minor units: of one payment, or of all payments of an order.
type Totals struct {
	Authorized int64 // promised, less what was given back
	Captured   int64
	Refunded   int64
}

// Filter says which payments; all that is given has to match.
type Filter struct {
	Statuses  []Status
	Provider  *string
	CreatedAt *page.TimeRange
	Amount    *money.Range
}

// SortField is what payments can be sorted by.
type SortField string

// SortCreatedAt sorts by when the payment began.
const SortCreatedAt SortField = "CREATED_AT"

// Sort is the order of a list of payments.
type Sort struct {
	Field     SortField
	Direction page.Direction
}

// Edge is a payment in a list.
type Edge = page.Edge[*Payment]

// Connection is a page of payments. It remembers the filter, by which the total is counted when it is asked for.
type Connection struct {
	page.Connection[*Payment]
	Filter Filter
}
