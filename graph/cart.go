package graph

import (
	"context"

	"github.com/google/uuid"

	"emporium/graph/loader"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
)

// Edges. Whatever has to do with money comes from one quote of the cart.
var (
	cartEdges = fields{
		"subtotal":        quoted((*order.Quote).Subtotal),
		"discountTotal":   quoted((*order.Quote).DiscountTotal),
		"shippingTotal":   quoted((*order.Quote).ShippingTotal),
		"taxTotal":        quoted((*order.Quote).TaxTotal),
		"taxIncluded":     quoted(func(q *order.Quote) bool { return q.TaxIncluded }),
		"taxLines":        quoted((*order.Quote).TaxLines),
		"total":           quoted((*order.Quote).Total),
		"discount":        quoted(func(q *order.Quote) *order.Discount { return q.Discount }),
		"shippingMethod":  quoted(func(q *order.Quote) *order.ShippingOffer { return q.Shipping }),
		"shippingMethods": quoted(func(q *order.Quote) []*order.ShippingOffer { return q.Offers }),
		"warnings":        quoted(func(q *order.Quote) []*order.CartWarning { return q.Warnings }),
		"order": maybeAlong(loader.Orders, func(c *order.Cart) *id.Key {
			if c.OrderID == nil {
				return nil
			}
			return &id.Key{Owner: c.Owner, ID: *c.OrderID}
		}),
	}
	cartLineEdges = fields{
		"unitPrice": quotedLine(func(l *order.QuoteLine) int64 { return l.UnitPriceMinor }),
		"discount":  quotedLine(func(l *order.QuoteLine) int64 { return l.DiscountMinor }),
		"tax":       quotedLine(func(l *order.QuoteLine) int64 { return l.TaxMinor }),
		"total":     quotedLine(func(l *order.QuoteLine) int64 { return l.TotalMinor }),
		"variant":   along(loader.Variants, func(l *order.CartLine) uuid.UUID { return l.VariantID }),
	}
)

// quoted makes an edge of the quote of a cart.
func quoted[T any](value func(*order.Quote) T) edge {
	return of(along(loader.Quotes, func(c *order.Cart) *order.Cart { return c }),
		func(_ *order.Cart, q *order.Quote) T { return value(q) }, "ID")
}

// quotedLine makes an edge of the quote of a line's cart; null if the line can not be had.
func quotedLine(minor func(*order.QuoteLine) int64) edge {
	return of(along(loader.Quotes, func(l *order.CartLine) *order.Cart { return l.Cart }),
		func(l *order.CartLine, q *order.Quote) *money.Money {
			found := q.Line(l.ID)
			if found == nil {
				return nil
			}
			return amount(minor(found), q.Currency)
		}, "ID")
}

func (r queryResolver) Cart(ctx context.Context, token *string) (*order.Cart, error) {
	return r.Services.Orders.Cart(ctx, token)
}

func (r queryResolver) Discounts(ctx context.Context, first *int, after *string, last *int, before *string) (*order.DiscountConnection, error) {
	return r.Services.Orders.Discounts(ctx, pageArgs(first, after, last, before))
}

func (r queryResolver) ShippingMethods(ctx context.Context) ([]*order.ShippingMethod, error) {
	return r.Services.Orders.ShippingMethods(ctx)
}

func (r queryResolver) TaxRates(ctx context.Context) ([]*order.CountryTax, error) {
	return r.Services.Orders.TaxRates(ctx)
}

func (r mutationResolver) CartLinesAdd(ctx context.Context, in order.CartLinesAddInput) (*order.CartPayload, error) {
	return r.Orders.AddCartLines(ctx, in)
}

func (r mutationResolver) CartLinesUpdate(ctx context.Context, in order.CartLinesUpdateInput) (*order.CartPayload, error) {
	return r.Orders.UpdateCartLines(ctx, in)
}

func (r mutationResolver) CartLinesRemove(ctx context.Context, in order.CartLinesRemoveInput) (*order.CartPayload, error) {
	return r.Orders.RemoveCartLines(ctx, in)
}

func (r mutationResolver) CartUpdate(ctx context.Context, in order.CartUpdateInput) (*order.CartPayload, error) {
	return r.Orders.UpdateCart(ctx, in)
}

func (r mutationResolver) CartDiscountApply(ctx context.Context, in order.CartDiscountApplyInput) (*order.CartPayload, error) {
	return r.Orders.ApplyCartDiscount(ctx, in)
}

func (r mutationResolver) CartDiscountRemove(ctx context.Context, in order.CartDiscountRemoveInput) (*order.CartPayload, error) {
	return r.Orders.RemoveCartDiscount(ctx, in)
}

func (r mutationResolver) CartMerge(ctx context.Context, in order.CartMergeInput) (*order.CartPayload, error) {
	return r.Orders.MergeCart(ctx, in)
}

func (r mutationResolver) DiscountCreate(ctx context.Context, in order.DiscountCreateInput) (*order.DiscountPayload, error) {
	return r.Orders.CreateDiscount(ctx, in)
}

func (r mutationResolver) DiscountUpdate(ctx context.Context, in order.DiscountUpdateInput) (*order.DiscountPayload, error) {
	return r.Orders.UpdateDiscount(ctx, in)
}

func (r mutationResolver) DiscountDeactivate(ctx context.Context, in order.DiscountDeactivateInput) (*order.DiscountPayload, error) {
	return r.Orders.DeactivateDiscount(ctx, in)
}

func (r mutationResolver) ShippingMethodCreate(ctx context.Context, in order.ShippingMethodCreateInput) (*order.ShippingMethodPayload, error) {
	return r.Orders.CreateShippingMethod(ctx, in)
}

func (r mutationResolver) ShippingMethodUpdate(ctx context.Context, in order.ShippingMethodUpdateInput) (*order.ShippingMethodPayload, error) {
	return r.Orders.UpdateShippingMethod(ctx, in)
}

func (r mutationResolver) ShippingMethodDeactivate(ctx context.Context, in order.ShippingMethodDeactivateInput) (*order.ShippingMethodPayload, error) {
	return r.Orders.DeactivateShippingMethod(ctx, in)
}

func (r mutationResolver) TaxRateSet(ctx context.Context, in order.TaxRateSetInput) (*order.TaxRatePayload, error) {
	return r.Orders.SetTaxRate(ctx, in)
}
