package graph

import (
	"context"

	"github.com/google/uuid"

	"emporium/graph/loader"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
)

// Edges.
var (
	orderTotals = along(loader.OrderTotals, (*order.Order).Key)
	orderEdges  = fields{
		"customer":     along(loader.Users, func(o *order.Order) uuid.UUID { return o.Owner }),
		"lines":        along(loader.LinesOf, (*order.Order).Key),
		"payments":     along(loader.PaymentsOf, (*order.Order).Key),
		"fulfillments": along(loader.FulfillmentsOf, (*order.Order).Key),
		"events":       along(loader.OrderEventsOf, (*order.Order).Key),
		"authorizedTotal": of(orderTotals, func(o *order.Order, t payment.Totals) *money.Money {
			return amount(t.Authorized, o.Currency)
		}, "Currency"),
		"capturedTotal": of(orderTotals, func(o *order.Order, t payment.Totals) *money.Money {
			return amount(t.Captured, o.Currency)
		}, "Currency"),
		"refundedTotal": of(orderTotals, func(o *order.Order, t payment.Totals) *money.Money {
			return amount(t.Refunded, o.Currency)
		}, "Currency"),
		"balance": of(orderTotals, balance, "Currency", "Status", "TotalMinor"),
	}
	orderChangeEdges = fields{"order": maybeAlong(loader.Orders, (*order.Change).OrderKey)}
	orderLineEdges   = fields{
		"variant": along(loader.Variants, func(line *order.Line) uuid.UUID { return line.VariantID }),
	}
	fulfillmentEdges     = fields{"lines": along(loader.FulfillmentLinesOf, (*order.Fulfillment).Key)}
	fulfillmentLineEdges = fields{"line": along(loader.Lines, (*order.FulfillmentLine).LineKey)}
	orderConnectionEdges = fields{
		"totalCount": along(loader.OrderCounts, func(c *order.Connection) *order.Connection { return c }),
	}
)

func balance(o *order.Order, t payment.Totals) *money.Money {
	if !o.Owed() {
		return amount(0, o.Currency)
	}
	return amount(o.TotalMinor-t.Captured+t.Refunded, o.Currency)
}

func amount(minor int64, c money.Currency) *money.Money {
	m := money.New(minor, c)
	return &m
}

func (r queryResolver) Order(ctx context.Context, orderID *id.ID, number *string) (*order.Order, error) {
	if err := exactlyOne(orderID != nil, number != nil); err != nil {
		return nil, err
	}
	switch {
	case number != nil:
		return r.Services.Orders.ByNumber(ctx, *number)
	case orderID.Kind != id.Order:
		return nil, nil
	}
	return loader.Orders.Now(ctx, orderID.OwnedKey())
}

func (r queryResolver) Orders(ctx context.Context, first *int, after *string, last *int, before *string, filter *order.Filter, sort order.Sort) (*order.Connection, error) {
	return r.Services.Orders.List(ctx, or(filter), sort, pageArgs(first, after, last, before))
}

func (r mutationResolver) OrderPlace(ctx context.Context, in order.PlaceInput, key string) (*order.PlacePayload, error) {
	return r.Services.Orders.Place(ctx, in, key)
}

func (r mutationResolver) OrderPay(ctx context.Context, in order.PayInput, key string) (*order.Payload, error) {
	return r.Services.Orders.Pay(ctx, in, key)
}

func (r mutationResolver) OrderCancel(ctx context.Context, in order.CancelInput, key string) (*order.Payload, error) {
	return r.Services.Orders.Cancel(ctx, in, key)
}

func (r mutationResolver) OrderConfirm(ctx context.Context, in order.ConfirmInput) (*order.Payload, error) {
	return r.Services.Orders.Confirm(ctx, in)
}

func (r mutationResolver) OrderFulfill(ctx context.Context, in order.FulfillInput, idempotencyKey *string) (*order.FulfillmentPayload, error) {
	return r.Services.Orders.Fulfill(ctx, in, idempotencyKey)
}

func (r mutationResolver) FulfillmentShip(ctx context.Context, in order.ParcelInput) (*order.FulfillmentPayload, error) {
	return r.Services.Orders.Ship(ctx, in)
}

func (r mutationResolver) FulfillmentDeliver(ctx context.Context, in order.DeliverInput) (*order.FulfillmentPayload, error) {
	return r.Services.Orders.Deliver(ctx, in)
}

func (r mutationResolver) FulfillmentCancel(ctx context.Context, in order.ParcelCancelInput) (*order.FulfillmentPayload, error) {
	return r.Services.Orders.CancelParcel(ctx, in)
}

func (r mutationResolver) OrderReturn(ctx context.Context, in order.ReturnInput, key string) (*order.Payload, error) {
	return r.Services.Orders.Return(ctx, in, key)
}

func (r mutationResolver) OrderEdit(ctx context.Context, in order.EditInput, key string) (*order.EditPayload, error) {
	return r.Services.Orders.Edit(ctx, in, key)
}

func (r mutationResolver) OrderNoteAdd(ctx context.Context, in order.NoteInput) (*order.Payload, error) {
	return r.Services.Orders.AddNote(ctx, in)
}

func (r mutationResolver) OrderDraftCreate(ctx context.Context, in order.DraftInput, key string) (*order.Payload, error) {
	return r.Services.Orders.CreateDraft(ctx, in, key)
}

func (r mutationResolver) OrderDraftUpdate(ctx context.Context, in order.DraftUpdateInput) (*order.Payload, error) {
	return r.Services.Orders.UpdateDraft(ctx, in)
}

func (r mutationResolver) OrderDraftPlace(ctx context.Context, in order.DraftPlaceInput, key string) (*order.Payload, error) {
	return r.Services.Orders.PlaceDraft(ctx, in, key)
}

func (r subscriptionResolver) OrderChanged(ctx context.Context, orderID id.ID) (<-chan *order.Change, error) {
	if orderID.Kind != id.Order {
		return order.Nothing(), nil
	}
	return r.Services.Orders.Follow(ctx, orderID.OwnedKey())
}

func (r subscriptionResolver) OrdersChanged(ctx context.Context, after *string) (<-chan *order.Change, error) {
	return r.Services.Orders.FollowAll(ctx, after)
}
