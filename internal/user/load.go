package user

import (
	"context"
	"fmt"
	"iter"

	"emporium/internal/auth"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// loadChunk is how many accounts are held in memory at a time.
const loadChunk = 4000

// Account is a user with all that belongs to it.
type Account struct {
	User
	PasswordHash *string // argon2id as a PHC string
	AddressBook  []Address
}

// Load writes accounts by COPY, all of them in one transaction or none, and tells progress (which may be nil) how many it
// has sent. Without Status, Roles or CreatedAt an account is ACTIVE, a CUSTOMER, created now. Addresses belong to their
// account, whatever their Owner says, and are as old as it. E-mail addresses and telephone numbers are normalised; guests
// are not found by their e-mail address. Access is not checked: this is for the command line.
func (s *Service) Load(ctx context.Context, accounts iter.Seq[*Account], progress func(done int)) error {
	n := 0
	write := func(ctx context.Context, tx *postgres.Tx, chunk []*Account) error {
		var l loader
		for _, a := range chunk {
			n++
			if err := s.addTo(&l, a); err != nil {
				return fmt.Errorf("account %d (%s): %w", n, a.ID, err)
			}
		}
		return postgres.CopyParts(ctx, tx, "users", []postgres.Part{ // what others refer to first
			{Table: "users", Rows: l.users, Columns: []string{"owner_id", "guest", "status", "roles", "name", "email", "email_verified_at", "phone",
				"password_hash", "default_shipping_address_id", "default_billing_address_id", "created_at", "updated_at"}},
			{Table: "email_index", Rows: l.emails, Columns: []string{"email_index", "owner_id"}},
			{Table: "phone_index", Rows: l.phones, Columns: []string{"phone_index", "owner_id"}},
			{Table: "addresses", Rows: l.addresses, Columns: []string{"owner_id", "id", "country", "details", "created_at"}},
		})
	}
	if err := postgres.LoadChunks(ctx, s.db, accounts, loadChunk, write, progress); err != nil {
		return fmt.Errorf("load accounts: %w", err)
	}
	return nil
}

// loader holds the rows of a chunk.
type loader struct{ users, emails, phones, addresses [][]any }

func (s *Service) addTo(l *loader, a *Account) error {
	status, roles, created := a.Status, a.Roles, a.CreatedAt
	if status == "" {
		status = StatusActive
	}
	if len(roles) == 0 {
		roles = []auth.Role{auth.RoleCustomer}
	}
	if created.IsZero() {
		created = s.now()
	}
	var email, phone *string
	if a.Email != nil {
		normalized, err := seal.NormalizeEmail(*a.Email)
		if err != nil {
			return err
		}
		email = &normalized
		if !a.Guest {
			l.emails = append(l.emails, []any{s.emailIndex(normalized), a.ID})
		}
	}
	if a.Phone != nil {
		normalized, err := seal.NormalizePhone(*a.Phone, s.phoneRegion)
		if err != nil {
			return err
		}
		phone = &normalized
		l.phones = append(l.phones, []any{s.phoneIndex(normalized), a.ID})
	}
	l.users = append(l.users, []any{
		a.ID, a.Guest, string(status), roles,
		s.sealer.SealNullable(userField(a.ID, "name"), a.Name),
		s.sealer.SealNullable(userField(a.ID, "email"), email),
		a.EmailVerifiedAt,
		s.sealer.SealNullable(userField(a.ID, "phone"), phone),
		a.PasswordHash, a.DefaultShippingAddressID, a.DefaultBillingAddressID, created, created,
	})
	for _, address := range a.AddressBook {
		address.Owner = a.ID
		details, err := seal.SealJSON(s.sealer, addressField(address.Key()), address.Postal)
		if err != nil {
			return err
		}
		l.addresses = append(l.addresses, []any{a.ID, address.ID, address.Country, details, created})
	}
	return nil
}
