package order

import "emporium/internal/postgres"

// What the rows of the service's statements are read by.

func (s *Service) OrderTable() *postgres.Table[Order]             { return s.tables.orders }
func (s *Service) LineTable() *postgres.Table[Line]               { return s.tables.lines }
func (s *Service) FulfillmentTable() *postgres.Table[Fulfillment] { return s.tables.fulfillments }
func (s *Service) FulfillmentLineTable() *postgres.Table[FulfillmentLine] {
	return s.tables.fulfillmentLines
}
func (s *Service) EventTable() *postgres.Table[Event] { return s.tables.events }
