package graph

import (
	"context"

	"emporium/graph/loader"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/payment"
)

// Edges.
var (
	paymentTotals = along(loader.PaymentTotals, (*payment.Payment).Key)
	paymentEdges  = fields{
		"order":  along(loader.Orders, (*payment.Payment).OrderKey),
		"events": along(loader.PaymentEventsOf, (*payment.Payment).Key),
		"authorized": of(paymentTotals, func(p *payment.Payment, t payment.Totals) *money.Money {
			return amount(t.Authorized, p.Currency)
		}, "Currency"),
		"captured": of(paymentTotals, func(p *payment.Payment, t payment.Totals) *money.Money {
			return amount(t.Captured, p.Currency)
		}, "Currency"),
		"refunded": of(paymentTotals, func(p *payment.Payment, t payment.Totals) *money.Money {
			return amount(t.Refunded, p.Currency)
		}, "Currency"),
	}
	paymentConnectionEdges = fields{
		"totalCount": along(loader.PaymentCounts, func(c *payment.Connection) *payment.Connection { return c }),
	}
)

func (r queryResolver) Payment(ctx context.Context, paymentID id.ID) (*payment.Payment, error) {
	if paymentID.Kind != id.Payment {
		return nil, nil
	}
	return loader.Payments.Now(ctx, paymentID.OwnedKey())
}

func (r queryResolver) Payments(ctx context.Context, first *int, after *string, last *int, before *string, filter *payment.Filter, sort payment.Sort) (*payment.Connection, error) {
	return r.Services.Payments.List(ctx, or(filter), sort, pageArgs(first, after, last, before))
}
