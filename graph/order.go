package graph

import (
	"context"

	"github.com/google/uuid"

	"emporium/graph/loader"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/product"
	"emporium/internal/user"
)

// Edges.
var (
	orderCustomer = along(func(l *loader.Loaders) *loader.Loader[uuid.UUID, *user.User] { return l.Users },
		func(o *order.Order) uuid.UUID { return o.Owner })
	orderLines = along(func(l *loader.Loaders) *loader.Loader[id.Key, []*order.Line] { return l.LinesOf },
		(*order.Order).Key)
	orderPayments = along(func(l *loader.Loaders) *loader.Loader[id.Key, []*payment.Payment] { return l.PaymentsOf },
		(*order.Order).Key)
	orderTotals = along(func(l *loader.Loaders) *loader.Loader[id.Key, payment.Totals] { return l.OrderTotals },
		(*order.Order).Key)
	orderFulfillments = along(
		func(l *loader.Loaders) *loader.Loader[id.Key, []*order.Fulfillment] { return l.FulfillmentsOf },
		(*order.Order).Key)
	orderEvents = along(func(l *loader.Loaders) *loader.Loader[id.Key, []*order.Event] { return l.OrderEventsOf },
		(*order.Order).Key)

	lineVariant = along(func(l *loader.Loaders) *loader.Loader[uuid.UUID, *product.Variant] { return l.Variants },
		func(line *order.Line) uuid.UUID { return line.VariantID })

	fulfillmentLines = along(
		func(l *loader.Loaders) *loader.Loader[id.Key, []*order.FulfillmentLine] { return l.FulfillmentLinesOf },
		(*order.Fulfillment).Key)
	fulfilledLine = along(func(l *loader.Loaders) *loader.Loader[id.Key, *order.Line] { return l.Lines },
		(*order.FulfillmentLine).LineKey)

	orderTotalCount = maybeAlong(func(l *loader.Loaders) *loader.Loader[uuid.UUID, int] { return l.OrderCounts },
		func(c *order.Connection) *uuid.UUID { return c.Owner })

	orderEdges = fields{
		"customer": orderCustomer, "lines": orderLines, "payments": orderPayments,
		"fulfillments": orderFulfillments, "events": orderEvents,
		"authorizedTotal": orderTotals, "capturedTotal": orderTotals, "refundedTotal": orderTotals, "balance": orderTotals,
	}
	orderLineEdges                       = fields{"variant": lineVariant}
	fulfillmentEdges                     = fields{"lines": fulfillmentLines}
	fulfillmentLineEdges                 = fields{"line": fulfilledLine}
	orderConnectionEdges, orderEdgeEdges = func() (fields, fields) {
		connection, item := pageEdges(func(c *order.Connection) []*order.Edge { return c.Edges })
		connection["totalCount"] = orderTotalCount
		return connection, item
	}()
)

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
	return loader.From(ctx).Orders.Now(ctx, orderID.OwnedKey())
}

func (r queryResolver) Orders(ctx context.Context, first *int, after *string, last *int, before *string, filter *order.Filter, sort order.Sort) (*order.Connection, error) {
	return r.Services.Orders.List(ctx, or(filter), sort, pageArgs(first, after, last, before))
}

func (r orderConnectionResolver) TotalCount(ctx context.Context, c *order.Connection) (int, error) {
	if c.Owner != nil {
		return orderTotalCount.get(ctx, c, arguments{})
	}
	return r.Orders.Count(ctx, c.Filter)
}

func (r orderResolver) Customer(ctx context.Context, o *order.Order) (*user.User, error) {
	return orderCustomer.get(ctx, o, arguments{})
}

func (r orderResolver) Lines(ctx context.Context, o *order.Order) ([]*order.Line, error) {
	return orderLines.get(ctx, o, arguments{})
}

func (r orderResolver) Payments(ctx context.Context, o *order.Order) ([]*payment.Payment, error) {
	return orderPayments.get(ctx, o, arguments{})
}

func (r orderResolver) Fulfillments(ctx context.Context, o *order.Order) ([]*order.Fulfillment, error) {
	return orderFulfillments.get(ctx, o, arguments{})
}

func (r orderResolver) Events(ctx context.Context, o *order.Order) ([]*order.Event, error) {
	return orderEvents.get(ctx, o, arguments{})
}

func (r orderResolver) AuthorizedTotal(ctx context.Context, o *order.Order) (*money.Money, error) {
	return r.total(ctx, o, func(t payment.Totals) int64 { return t.Authorized })
}

func (r orderResolver) CapturedTotal(ctx context.Context, o *order.Order) (*money.Money, error) {
	return r.total(ctx, o, func(t payment.Totals) int64 { return t.Captured })
}

func (r orderResolver) RefundedTotal(ctx context.Context, o *order.Order) (*money.Money, error) {
	return r.total(ctx, o, func(t payment.Totals) int64 { return t.Refunded })
}

func (r orderResolver) Balance(ctx context.Context, o *order.Order) (*money.Money, error) {
	return r.total(ctx, o, func(t payment.Totals) int64 {
		if !o.Owed() {
			return 0
		}
		return o.TotalMinor - t.Captured + t.Refunded
	})
}

func (r orderResolver) total(ctx context.Context, o *order.Order, of func(payment.Totals) int64) (*money.Money, error) {
	totals, err := orderTotals.get(ctx, o, arguments{})
	if err != nil {
		return nil, err
	}
	m := money.New(of(totals), o.Currency)
	return &m, nil
}

func (r orderLineResolver) Variant(ctx context.Context, line *order.Line) (*product.Variant, error) {
	return lineVariant.get(ctx, line, arguments{})
}

func (r fulfillmentResolver) Lines(ctx context.Context, f *order.Fulfillment) ([]*order.FulfillmentLine, error) {
	return fulfillmentLines.get(ctx, f, arguments{})
}

func (r fulfillmentLineResolver) Line(ctx context.Context, line *order.FulfillmentLine) (*order.Line, error) {
	return fulfilledLine.get(ctx, line, arguments{})
}
