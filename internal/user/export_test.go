package user

import "emporium/internal/postgres"

// What the rows of the service's statements are read by.

func (s *Service) UserTable() *postgres.Table[User]        { return s.tables.users }
func (s *Service) AddressTable() *postgres.Table[Address]  { return s.tables.addresses }
func (s *Service) AuditTable() *postgres.Table[AuditEntry] { return s.tables.audit }
func (s *Service) APIKeyTable() *postgres.Table[APIKey]    { return s.tables.apiKeys }
