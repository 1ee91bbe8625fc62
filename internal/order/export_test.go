package order

import (
	"context"
	"time"

	"github.com/google/uuid"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/postgres"
)

// What the rows of the service's statements are read by.

func (s *Service) OrderTable() *postgres.Table[Order]             { return s.tables.orders }
func (s *Service) LineTable() *postgres.Table[Line]               { return s.tables.lines }
func (s *Service) FulfillmentTable() *postgres.Table[Fulfillment] { return s.tables.fulfillments }
func (s *Service) FulfillmentLineTable() *postgres.Table[FulfillmentLine] {
	return s.tables.fulfillmentLines
}
func (s *Service) EventTable() *postgres.Table[Event]       { return s.tables.events }
func (s *Service) CartTable() *postgres.Table[Cart]         { return s.tables.carts }
func (s *Service) CartLineTable() *postgres.Table[CartLine] { return s.tables.cartLines }

// ReadCarts runs the statement of carts alone, without that of their lines.
func (s *Service) ReadCarts(ctx context.Context, keys []id.Key) ([]*Cart, error) {
	return batch(ctx, s, cartsByKey, s.tables.carts, keys)
}
func DiscountTable() *postgres.Table[Discount] { return discounts }

// What the placing of orders is made of.

func Price(in PricingInput) (Prices, error) { return price(in) }

func (s *Service) Quote(ctx context.Context, c *Cart) (*Quote, error) {
	return s.quote(ctx, c, c.Lines)
}

func (s *Service) FindCart(ctx context.Context, token *string) (id.Key, bool, error) {
	return s.findCart(ctx, token)
}

func (s *Service) CartForOrder(ctx context.Context, key id.Key) (c *Cart, lines []*CartLine, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		c, lines, err = s.cartForOrder(ctx, tx, key)
		return err
	})
	return c, lines, err
}

func (s *Service) Redeem(ctx context.Context, q *Quote, owner, orderID uuid.UUID) (problem *fault.Problem, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		problem, err = s.redeem(ctx, tx, q, owner, orderID)
		return err
	})
	return problem, err
}

func (s *Service) Unredeem(ctx context.Context, orderID uuid.UUID) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error { return s.unredeem(ctx, tx, orderID) })
}

func (s *Service) SetCartStatus(ctx context.Context, key id.Key, from, to CartStatus, orderID *uuid.UUID) (ok bool, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		ok, err = s.setCartStatus(ctx, tx, key, from, to, orderID)
		return err
	})
	return ok, err
}

// Transit brings an order from one state to another.
func Transit(from, to Status) (Status, error) {
	o := &locked{Order: &Order{Status: from}}
	err := o.to(to, time.Now())
	return o.Status, err
}
