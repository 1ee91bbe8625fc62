package payment

import (
	"context"

	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/payment/provider"
	"emporium/internal/postgres"
)

// What the rows of the service's statements are read by.

func (s *Service) PaymentTable() *postgres.Table[Payment] { return s.tables.payments }
func (s *Service) EventTable() *postgres.Table[Event]     { return s.tables.events }
func (s *Service) SumTable() *postgres.Table[Sums]        { return s.tables.sums }

// Sums are sums.
type Sums = sums

// Apply applies a state of a payment.
func (s *Service) Apply(ctx context.Context, key id.Key, st provider.State) (changed bool, err error) {
	_, changed, err = s.apply(ctx, key, &st)
	return changed, err
}

// Begin writes a payment down and asks nobody.
func (s *Service) Begin(ctx context.Context, r order.PaymentRequest) error {
	_, err := s.begin(ctx, id.Key{Owner: r.Order.Owner, ID: r.PaymentID}, r)
	return err
}

// CanBecome reports whether steps lead from one status to another.
func CanBecome(from, to Status) bool { return canBecome(from, to) }
