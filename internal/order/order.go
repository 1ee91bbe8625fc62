// Package order is the service of orders, their lines, parcels and events. It owns the Postgres schema "orders".
// Customers see their own; staff sees all.
package order

import (
	"time"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
)

// Status tells where an order is on its way.
type Status string

const (
	StatusDraft         Status = "DRAFT"
	StatusPending       Status = "PENDING"
	StatusPlaced        Status = "PLACED"
	StatusConfirmed     Status = "CONFIRMED"
	StatusCompleted     Status = "COMPLETED"
	StatusCanceled      Status = "CANCELED"
	StatusPaymentFailed Status = "PAYMENT_FAILED"
	StatusExpired       Status = "EXPIRED"
)

// PaymentStatus tells where the money of an order is.
type PaymentStatus string

const (
	PaymentUnpaid            PaymentStatus = "UNPAID"
	PaymentAuthorized        PaymentStatus = "AUTHORIZED"
	PaymentPartiallyPaid     PaymentStatus = "PARTIALLY_PAID"
	PaymentPaid              PaymentStatus = "PAID"
	PaymentPartiallyRefunded PaymentStatus = "PARTIALLY_REFUNDED"
	PaymentRefunded          PaymentStatus = "REFUNDED"
	PaymentVoided            PaymentStatus = "VOIDED"
)

// FulfillmentStatus tells where the goods of an order are.
type FulfillmentStatus string

const (
	Unfulfilled        FulfillmentStatus = "UNFULFILLED"
	PartiallyFulfilled FulfillmentStatus = "PARTIALLY_FULFILLED"
	Fulfilled          FulfillmentStatus = "FULFILLED"
	Delivered          FulfillmentStatus = "DELIVERED"
	Returned           FulfillmentStatus = "RETURNED"
)

// Order is what a customer has bought, with prices, names and addresses of the day it was placed. Amounts are minor
// units of Currency.
type Order struct {
	Owner             uuid.UUID
	ID                uuid.UUID
	Number            string
	Status            Status
	PaymentStatus     PaymentStatus
	FulfillmentStatus FulfillmentStatus
	Email             *string        // opened
	ShippingAddress   *PostalAddress // opened
	BillingAddress    *PostalAddress // opened
	Currency          money.Currency
	SubtotalMinor     int64
	DiscountMinor     int64
	ShippingMinor     int64
	TaxMinor          int64
	TaxIncluded       bool
	TotalMinor        int64
	Taxes             []OrderTax
	ShippingMethod    *string // its name
	DiscountCode      *string
	Note              *string // the customer's, opened
	CancelReason      *CancelReason
	Failure           *string // why nothing was bought, for the customer
	CreatedAt         time.Time
	PlacedAt          *time.Time
	CanceledAt        *time.Time
	ExpiresAt         *time.Time // when it is given up if it is still PENDING

	borne bool // reached by the token of the cart that it was ordered from
}

// Key returns the owner-first key.
func (o *Order) Key() id.Key { return id.Key{Owner: o.Owner, ID: o.ID} }

// GlobalID returns the ID in the graph.
func (o *Order) GlobalID() id.ID { return id.Owned(id.Order, o.Key()) }

// OwnedBy reports whether the order is the owner's.
func (o *Order) OwnedBy(owner uuid.UUID) bool { return o.Owner == owner }

// Borne reports whether the order was reached by the token of the cart that it was ordered from.
func (o *Order) Borne() bool { return o.borne }

// Subtotal is the sum of the lines before discounts.
func (o *Order) Subtotal() money.Money { return money.New(o.SubtotalMinor, o.Currency) }

// DiscountTotal is what was taken off.
func (o *Order) DiscountTotal() money.Money { return money.New(o.DiscountMinor, o.Currency) }

// ShippingTotal is what shipping costs.
func (o *Order) ShippingTotal() money.Money { return money.New(o.ShippingMinor, o.Currency) }

// TaxTotal is the tax in, or on top of, the prices.
func (o *Order) TaxTotal() money.Money { return money.New(o.TaxMinor, o.Currency) }

// Total is what the customer owes for the whole order.
func (o *Order) Total() money.Money { return money.New(o.TotalMinor, o.Currency) }

// OrderTax is what a tax comes to on an order.
type OrderTax struct {
	Name          string `json:"name"`
	BasisPoints   int    `json:"basisPoints"`
	Minor         int64  `json:"minor"`         // in all
	ShippingMinor int64  `json:"shippingMinor"` // of that, of the shipping
}

// TaxLines are the taxes, which add up to TaxTotal.
func (o *Order) TaxLines() []*TaxLine {
	lines := make([]*TaxLine, len(o.Taxes))
	for i, t := range o.Taxes {
		lines[i] = &TaxLine{TaxAmount{TaxRate{t.Name, t.BasisPoints}, t.Minor}, o.Currency}
	}
	return lines
}

// Owed tells whether the order is one that the customer has to pay: it was placed and not cancelled.
func (o *Order) Owed() bool {
	return o.Status == StatusPlaced || o.Status == StatusConfirmed || o.Status == StatusCompleted
}

// PostalAddress is an address as it was written on an order.
type PostalAddress struct {
	Owner      uuid.UUID `json:"-"`
	borne      bool      // of a cart that was reached by its token
	Name       string    `json:"name"`
	Company    *string   `json:"company,omitempty"`
	Line1      string    `json:"line1"`
	Line2      *string   `json:"line2,omitempty"`
	City       string    `json:"city"`
	Region     *string   `json:"region,omitempty"`
	PostalCode *string   `json:"postalCode,omitempty"`
	Country    string    `json:"country"`
	Phone      *string   `json:"phone,omitempty"`
}

// OwnedBy reports whether the address is the owner's.
func (a *PostalAddress) OwnedBy(owner uuid.UUID) bool { return a.Owner == owner }

// Borne reports whether the address was reached by the token of its cart.
func (a *PostalAddress) Borne() bool { return a.borne }

// Line is a line of an order, as it was bought. Amounts are minor units of Currency.
type Line struct {
	Owner          uuid.UUID
	ID             uuid.UUID
	OrderID        uuid.UUID
	Position       int
	ProductID      uuid.UUID
	VariantID      uuid.UUID
	Title          string
	VariantTitle   *string
	SKU            *string
	ImageURL       *string
	Quantity       int
	Currency       money.Currency
	UnitPriceMinor int64
	DiscountMinor  int64
	TaxMinor       int64
	TotalMinor     int64
	Fulfilled      int // of Quantity, in parcels that were not cancelled
	Returned       int // of Fulfilled
}

// Key returns the owner-first key.
func (l *Line) Key() id.Key { return id.Key{Owner: l.Owner, ID: l.ID} }

// OrderKey returns the key of the order.
func (l *Line) OrderKey() id.Key { return id.Key{Owner: l.Owner, ID: l.OrderID} }

// GlobalID returns the ID in the graph.
func (l *Line) GlobalID() id.ID { return id.Owned(id.OrderLine, l.Key()) }

// OwnedBy reports whether the line is the owner's.
func (l *Line) OwnedBy(owner uuid.UUID) bool { return l.Owner == owner }

// UnitPrice is the price of one.
func (l *Line) UnitPrice() money.Money { return money.New(l.UnitPriceMinor, l.Currency) }

// Discount is what was taken off the line.
func (l *Line) Discount() money.Money { return money.New(l.DiscountMinor, l.Currency) }

// Tax is the tax in, or on top of, the line.
func (l *Line) Tax() money.Money { return money.New(l.TaxMinor, l.Currency) }

// Total is the price of the line: quantity times unit price, less the discount.
func (l *Line) Total() money.Money { return money.New(l.TotalMinor, l.Currency) }

// ParcelStatus tells where a parcel is.
type ParcelStatus string

const (
	ParcelPending   ParcelStatus = "PENDING"
	ParcelShipped   ParcelStatus = "SHIPPED"
	ParcelDelivered ParcelStatus = "DELIVERED"
	ParcelReturned  ParcelStatus = "RETURNED"
	ParcelCanceled  ParcelStatus = "CANCELED"
)

// Fulfillment is a parcel.
type Fulfillment struct {
	Owner          uuid.UUID
	ID             uuid.UUID
	OrderID        uuid.UUID
	Status         ParcelStatus
	Carrier        *string
	TrackingNumber *string
	TrackingURL    *string
	CreatedAt      time.Time
	ShippedAt      *time.Time
	DeliveredAt    *time.Time
}

// Key returns the owner-first key.
func (f *Fulfillment) Key() id.Key { return id.Key{Owner: f.Owner, ID: f.ID} }

// OrderKey returns the key of the order.
func (f *Fulfillment) OrderKey() id.Key { return id.Key{Owner: f.Owner, ID: f.OrderID} }

// GlobalID returns the ID in the graph.
func (f *Fulfillment) GlobalID() id.ID { return id.Owned(id.Fulfillment, f.Key()) }

// OwnedBy reports whether the parcel is the owner's.
func (f *Fulfillment) OwnedBy(owner uuid.UUID) bool { return f.Owner == owner }

// FulfillmentLine is a line of an order in a parcel.
type FulfillmentLine struct {
	Owner         uuid.UUID
	FulfillmentID uuid.UUID
	LineID        uuid.UUID
	Quantity      int
}

// FulfillmentKey returns the key of the parcel.
func (l *FulfillmentLine) FulfillmentKey() id.Key { return id.Key{Owner: l.Owner, ID: l.FulfillmentID} }

// LineKey returns the key of the order's line.
func (l *FulfillmentLine) LineKey() id.Key { return id.Key{Owner: l.Owner, ID: l.LineID} }

// OwnedBy reports whether the line is the owner's.
func (l *FulfillmentLine) OwnedBy(owner uuid.UUID) bool { return l.Owner == owner }

// EventKind is what can happen to an order.
type EventKind string

const (
	EventCreated           EventKind = "CREATED"
	EventPlaced            EventKind = "PLACED"
	EventConfirmed         EventKind = "CONFIRMED"
	EventPaymentAuthorized EventKind = "PAYMENT_AUTHORIZED"
	EventPaymentCaptured   EventKind = "PAYMENT_CAPTURED"
	EventPaymentFailed     EventKind = "PAYMENT_FAILED"
	EventPaymentVoided     EventKind = "PAYMENT_VOIDED"
	EventRefunded          EventKind = "REFUNDED"
	EventPacked            EventKind = "PACKED"
	EventShipped           EventKind = "SHIPPED"
	EventDelivered         EventKind = "DELIVERED"
	EventReturned          EventKind = "RETURNED"
	EventCanceled          EventKind = "CANCELED"
	EventExpired           EventKind = "EXPIRED"
	EventCompleted         EventKind = "COMPLETED"
	EventEdited            EventKind = "EDITED"
	EventNote              EventKind = "NOTE"
)

// Event is something that happened to an order.
type Event struct {
	Owner     uuid.UUID
	ID        uuid.UUID
	OrderID   uuid.UUID
	Kind      EventKind
	Message   string
	ActorID   *uuid.UUID // who did it; nil: the shop by itself
	CreatedAt time.Time
}

// Key returns the owner-first key.
func (e *Event) Key() id.Key { return id.Key{Owner: e.Owner, ID: e.ID} }

// OrderKey returns the key of the order.
func (e *Event) OrderKey() id.Key { return id.Key{Owner: e.Owner, ID: e.OrderID} }

// GlobalID returns the ID in the graph.
func (e *Event) GlobalID() id.ID { return id.Owned(id.OrderEvent, e.Key()) }

// OwnedBy reports whether the event is the owner's.
func (e *Event) OwnedBy(owner uuid.UUID) bool { return e.Owner == owner }

// Filter says which orders; all that is given has to match.
type Filter struct {
	Statuses            []Status
	PaymentStatuses     []PaymentStatus
	FulfillmentStatuses []FulfillmentStatus
	CreatedAt           *page.TimeRange
	Total               *money.Range
	CustomerID          *id.ID
	Number              *string
	Email               *string // exact, in any case
}

// SortField is what orders can be sorted by.
type SortField string

const (
	SortCreatedAt SortField = "CREATED_AT"
	SortTotal     SortField = "TOTAL"
)

// Sort is the order of a list of orders.
type Sort struct {
	Field     SortField
	Direction page.Direction
}

// Edge is an order in a list.
type Edge = page.Edge[*Order]

// Connection is a page of orders. It remembers what was asked, by which the total is counted when it is selected.
type Connection struct {
	page.Connection[*Order]
	Owner  *uuid.UUID // the list of one owner; nil: whatever the viewer may see
	Filter Filter
}
