package graph

import (
	"context"

	"emporium/graph/loader"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
)

// Edges.
var (
	paymentOrder = along(func(l *loader.Loaders) *loader.Loader[id.Key, *order.Order] { return l.Orders },
		(*payment.Payment).OrderKey)
	paymentEvents = along(func(l *loader.Loaders) *loader.Loader[id.Key, []*payment.Event] { return l.PaymentEventsOf },
		(*payment.Payment).Key)
	paymentTotals = along(func(l *loader.Loaders) *loader.Loader[id.Key, payment.Totals] { return l.PaymentTotals },
		(*payment.Payment).Key)

	paymentEdges = fields{
		"order": paymentOrder, "events": paymentEvents,
		"authorized": paymentTotals, "captured": paymentTotals, "refunded": paymentTotals,
	}
	paymentConnectionEdges, paymentEdgeEdges = pageEdges(func(c *payment.Connection) []*payment.Edge { return c.Edges })
)

func (r queryResolver) Payment(ctx context.Context, paymentID id.ID) (*payment.Payment, error) {
	if paymentID.Kind != id.Payment {
		return nil, nil
	}
	return loader.From(ctx).Payments.Now(ctx, paymentID.OwnedKey())
}

func (r queryResolver) Payments(ctx context.Context, first *int, after *string, last *int, before *string, filter *payment.Filter, sort payment.Sort) (*payment.Connection, error) {
	return r.Services.Payments.List(ctx, or(filter), sort, pageArgs(first, after, last, before))
}

func (r paymentConnectionResolver) TotalCount(ctx context.Context, c *payment.Connection) (int, error) {
	return r.Payments.Count(ctx, c.Filter)
}

func (r paymentResolver) Order(ctx context.Context, p *payment.Payment) (*order.Order, error) {
	return paymentOrder.get(ctx, p, arguments{})
}

func (r paymentResolver) Events(ctx context.Context, p *payment.Payment) ([]*payment.Event, error) {
	return paymentEvents.get(ctx, p, arguments{})
}

func (r paymentResolver) Authorized(ctx context.Context, p *payment.Payment) (*money.Money, error) {
	return r.total(ctx, p, func(t payment.Totals) int64 { return t.Authorized })
}

func (r paymentResolver) Captured(ctx context.Context, p *payment.Payment) (*money.Money, error) {
	return r.total(ctx, p, func(t payment.Totals) int64 { return t.Captured })
}

func (r paymentResolver) Refunded(ctx context.Context, p *payment.Payment) (*money.Money, error) {
	return r.total(ctx, p, func(t payment.Totals) int64 { return t.Refunded })
}

func (r paymentResolver) total(ctx context.Context, p *payment.Payment, of func(payment.Totals) int64) (*money.Money, error) {
	totals, err := paymentTotals.get(ctx, p, arguments{})
	if err != nil {
		return nil, err
	}
	m := money.New(of(totals), p.Currency)
	return &m, nil
}
