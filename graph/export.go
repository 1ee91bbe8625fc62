package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/postgres"
	"emporium/internal/user"
)

// exportPage is how many orders are read at a time.
const exportPage = 100

// exported is what the domains know of somebody. It is put together here, since none of them reads from another.
type exported struct {
	*user.Export
	Cart     *exportedCart     `json:"cart"`
	Orders   []exportedOrder   `json:"orders"`
	Payments []exportedPayment `json:"payments"`
}

type exportedMoney struct {
	Amount   string         `json:"amount"`
	Currency money.Currency `json:"currency"`
}

// exportedCart is what the viewer has in their cart and has said about themselves there.
type exportedCart struct {
	ID              string               `json:"id"`
	Status          order.CartStatus     `json:"status"`
	Email           *string              `json:"email"`
	ShippingAddress *order.PostalAddress `json:"shippingAddress"`
	BillingAddress  *order.PostalAddress `json:"billingAddress"`
	Note            *string              `json:"note"`
	CreatedAt       time.Time            `json:"createdAt"`
	UpdatedAt       time.Time            `json:"updatedAt"`
	Lines           []exportedCartLine   `json:"lines"`
}

type exportedCartLine struct {
	VariantID string `json:"variantId"`
	Quantity  int    `json:"quantity"`
}

type exportedOrder struct {
	ID                string                  `json:"id"`
	Number            string                  `json:"number"`
	Status            order.Status            `json:"status"`
	PaymentStatus     order.PaymentStatus     `json:"paymentStatus"`
	FulfillmentStatus order.FulfillmentStatus `json:"fulfillmentStatus"`
	Email             *string                 `json:"email"`
	ShippingAddress   *order.PostalAddress    `json:"shippingAddress"`
	BillingAddress    *order.PostalAddress    `json:"billingAddress"`
	Note              *string                 `json:"note"`
	Total             exportedMoney           `json:"total"`
	Tax               exportedMoney           `json:"tax"`
	Shipping          exportedMoney           `json:"shipping"`
	Discount          exportedMoney           `json:"discount"`
	CreatedAt         time.Time               `json:"createdAt"`
	PlacedAt          *time.Time              `json:"placedAt"`
	CanceledAt        *time.Time              `json:"canceledAt"`
	Lines             []exportedLine          `json:"lines"`
	Parcels           []exportedParcel        `json:"parcels"`
	Events            []exportedEvent         `json:"events"`
}

type exportedLine struct {
	Title        string        `json:"title"`
	VariantTitle *string       `json:"variantTitle"`
	SKU          *string       `json:"sku"`
	Quantity     int           `json:"quantity"`
	UnitPrice    exportedMoney `json:"unitPrice"`
	Total        exportedMoney `json:"total"`
}

type exportedParcel struct {
	Status         order.ParcelStatus `json:"status"`
	Carrier        *string            `json:"carrier"`
	TrackingNumber *string            `json:"trackingNumber"`
	CreatedAt      time.Time          `json:"createdAt"`
	ShippedAt      *time.Time         `json:"shippedAt"`
	DeliveredAt    *time.Time         `json:"deliveredAt"`
}

type exportedEvent struct {
	At     time.Time      `json:"at"`
	Kind   string         `json:"kind"`
	Amount *exportedMoney `json:"amount,omitempty"`
}

type exportedPayment struct {
	ID        string          `json:"id"`
	OrderID   string          `json:"orderId"`
	Provider  string          `json:"provider"`
	Status    payment.Status  `json:"status"`
	Method    string          `json:"method"`
	Brand     *string         `json:"brand"`
	LastFour  *string         `json:"lastFour"`
	Amount    exportedMoney   `json:"amount"`
	CreatedAt time.Time       `json:"createdAt"`
	Events    []exportedEvent `json:"events"`
}

// export returns all that is known of the viewer.
func (r Resolver) export(ctx context.Context) (map[string]any, error) {
	ctx = postgres.WithWanted(ctx, nil) // all of it, whatever the operation shows besides
	account, err := r.Users.Export(ctx)
	if err != nil {
		return nil, err
	}
	all := exported{Export: account, Orders: []exportedOrder{}, Payments: []exportedPayment{}}
	if all.Cart, err = r.exportCart(ctx); err != nil {
		return nil, err
	}
	owner := auth.From(ctx).ID
	for after := (*string)(nil); ; {
		pages, err := r.Services.Orders.ListByOwners(ctx, []uuid.UUID{owner}, page.Args{First: new(exportPage), After: after})
		if err != nil {
			return nil, err
		}
		c := pages[owner]
		if err := r.exportOrders(ctx, c.Nodes(), &all); err != nil {
			return nil, err
		}
		if !c.PageInfo.HasNextPage {
			break
		}
		after = c.PageInfo.EndCursor()
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	var data map[string]any
	return data, json.Unmarshal(text, &data)
}

// exportCart returns the viewer's cart, nil if there is none.
func (r Resolver) exportCart(ctx context.Context) (*exportedCart, error) {
	c, err := r.Services.Orders.Cart(ctx, nil)
	if err != nil || c == nil {
		return nil, err
	}
	e := &exportedCart{c.GlobalID().String(), c.Status, c.Email, c.ShippingAddress, c.BillingAddress, c.Note, c.CreatedAt, c.UpdatedAt, []exportedCartLine{}}
	for _, l := range c.Lines {
		e.Lines = append(e.Lines, exportedCartLine{id.Of(id.Variant, l.VariantID).String(), l.Quantity})
	}
	return e, nil
}

// exportOrders adds orders with their payments, by one statement for each kind of thing.
func (r Resolver) exportOrders(ctx context.Context, orders []*order.Order, all *exported) error {
	keys := make([]id.Key, len(orders))
	at := map[id.Key]int{}
	for i, o := range orders {
		keys[i], at[o.Key()] = o.Key(), len(all.Orders)
		all.Orders = append(all.Orders, exportedOrder{o.GlobalID().String(), o.Number, o.Status, o.PaymentStatus, o.FulfillmentStatus, o.Email,
			o.ShippingAddress, o.BillingAddress, o.Note, sum(o.Total()), sum(o.TaxTotal()), sum(o.ShippingTotal()), sum(o.DiscountTotal()),
			o.CreatedAt, o.PlacedAt, o.CanceledAt, []exportedLine{}, []exportedParcel{}, []exportedEvent{}})
	}
	lines, err := r.Services.Orders.LinesOf(ctx, keys)
	if err != nil {
		return err
	}
	for _, l := range lines {
		o := &all.Orders[at[l.OrderKey()]]
		o.Lines = append(o.Lines, exportedLine{l.Title, l.VariantTitle, l.SKU, l.Quantity, sum(l.UnitPrice()), sum(l.Total())})
	}
	parcels, err := r.Services.Orders.FulfillmentsOf(ctx, keys)
	if err != nil {
		return err
	}
	for _, f := range parcels {
		o := &all.Orders[at[f.OrderKey()]]
		o.Parcels = append(o.Parcels, exportedParcel{f.Status, f.Carrier, f.TrackingNumber, f.CreatedAt, f.ShippedAt, f.DeliveredAt})
	}
	events, err := r.Services.Orders.EventsOf(ctx, keys)
	if err != nil {
		return err
	}
	for _, e := range events {
		o := &all.Orders[at[e.OrderKey()]]
		o.Events = append(o.Events, exportedEvent{At: e.CreatedAt, Kind: string(e.Kind)})
	}
	payments, err := r.Services.Payments.PaymentsOf(ctx, keys)
	if err != nil {
		return err
	}
	paid, of := make([]id.Key, len(payments)), map[id.Key]int{}
	for i, p := range payments {
		paid[i], of[p.Key()] = p.Key(), len(all.Payments)
		all.Payments = append(all.Payments, exportedPayment{p.GlobalID().String(), id.Owned(id.Order, p.OrderKey()).String(), p.Provider, p.Status,
			p.Method.Kind, p.Method.Brand, p.Method.LastFour, sum(p.Amount()), p.CreatedAt, []exportedEvent{}})
	}
	ledger, err := r.Services.Payments.EventsOf(ctx, paid)
	if err != nil {
		return err
	}
	for _, e := range ledger {
		p := &all.Payments[of[e.PaymentKey()]]
		p.Events = append(p.Events, exportedEvent{At: e.OccurredAt, Kind: string(e.Kind), Amount: new(sum(e.Amount()))})
	}
	return nil
}

func sum(m money.Money) exportedMoney { return exportedMoney{m.Amount().String(), m.Currency} }
