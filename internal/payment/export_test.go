package payment

import "emporium/internal/postgres"

// What the rows of the service's statements are read by.

func (s *Service) PaymentTable() *postgres.Table[Payment] { return s.tables.payments }
func (s *Service) EventTable() *postgres.Table[Event]     { return s.tables.events }
func (s *Service) SumTable() *postgres.Table[Sums]        { return s.tables.sums }

// Sums are sums.
type Sums = sums
