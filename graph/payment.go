package graph

import (
	"context"

	"github.com/google/uuid"

	"emporium/graph/loader"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/payment"
)

// Edges.
var (
	paymentTotals = along(loader.PaymentTotals, (*payment.Payment).Key)
	paymentEdges  = fields{
		"order":    along(loader.Orders, (*payment.Payment).OrderKey),
		"events":   along(loader.PaymentEventsOf, (*payment.Payment).Key),
		"commands": along(loader.PaymentCommandsOf, (*payment.Payment).Key),
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
	paymentCommandEdges = fields{
		"actor": maybeAlong(loader.Users, func(c *payment.Command) *uuid.UUID { return c.ActorID }),
	}
	paymentCaptureEdges = fields{
		"payment": maybeAlong(loader.Payments, func(p *payment.CapturePayload) *id.Key { return p.PaymentKey }),
		"command": maybeAlong(loader.PaymentCommands, func(p *payment.CapturePayload) *id.Key { return p.CommandKey }),
	}
	paymentVoidEdges = fields{
		"payment": maybeAlong(loader.Payments, func(p *payment.VoidPayload) *id.Key { return p.PaymentKey }),
		"command": maybeAlong(loader.PaymentCommands, func(p *payment.VoidPayload) *id.Key { return p.CommandKey }),
	}
	paymentRefundEdges = fields{
		"payment": maybeAlong(loader.Payments, func(p *payment.RefundPayload) *id.Key { return p.PaymentKey }),
		"command": maybeAlong(loader.PaymentCommands, func(p *payment.RefundPayload) *id.Key { return p.CommandKey }),
	}
	paymentDifferenceEdges = fields{
		"payment": maybeAlong(loader.Payments, (*payment.Difference).PaymentKey),
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

func (r queryResolver) PaymentDifferences(ctx context.Context, first *int, after *string, last *int, before *string, filter *payment.DifferenceFilter) (*payment.DifferenceConnection, error) {
	return r.Services.Payments.Differences(ctx, or(filter), pageArgs(first, after, last, before))
}

func (r mutationResolver) PaymentCapture(ctx context.Context, in payment.CaptureInput, idempotencyKey string) (*payment.CapturePayload, error) {
	return r.Services.Payments.Capture(ctx, in, idempotencyKey)
}

func (r mutationResolver) PaymentVoid(ctx context.Context, in payment.VoidInput, idempotencyKey string) (*payment.VoidPayload, error) {
	return r.Services.Payments.Void(ctx, in, idempotencyKey)
}

func (r mutationResolver) PaymentRefund(ctx context.Context, in payment.RefundInput, idempotencyKey string) (*payment.RefundPayload, error) {
	return r.Services.Payments.Refund(ctx, in, idempotencyKey)
}
