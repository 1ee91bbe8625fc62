package user

import (
	"context"

	"emporium/internal/postgres"
)

// CleanUp is what the job does.
func (s *Service) CleanUp(ctx context.Context) error { return s.cleanUp(ctx) }

// What the rows of the service's statements are read by.

func (s *Service) UserTable() *postgres.Table[User]        { return s.tables.users }
func (s *Service) AddressTable() *postgres.Table[Address]  { return s.tables.addresses }
func (s *Service) AuditTable() *postgres.Table[AuditEntry] { return s.tables.audit }
func (s *Service) APIKeyTable() *postgres.Table[APIKey]    { return s.tables.apiKeys }
