package user

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

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
	began := false
	return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		if began {
			return errors.New("load accounts: another transaction was in the way; try again")
		}
		began = true
		var l loader
		done := 0
		flush := func() error {
			err := l.flush(ctx, tx)
			if err == nil && progress != nil {
				progress(done)
			}
			return err
		}
		for a := range accounts {
			done++
			if err := s.addTo(&l, a); err != nil {
				return fmt.Errorf("account %d (%s): %w", done, a.ID, err)
			}
			if done%loadChunk == 0 {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if done%loadChunk == 0 {
			return nil
		}
		return flush()
	})
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

// flush writes the chunk, what others refer to first, and empties it.
func (l *loader) flush(ctx context.Context, tx *postgres.Tx) error {
	for _, t := range []struct {
		table   string
		columns []string
		rows    *[][]any
	}{
		{"users", []string{"owner_id", "guest", "status", "roles", "name", "email", "phone", "password_hash",
			"default_shipping_address_id", "default_billing_address_id", "created_at", "updated_at"}, &l.users},
		{"email_index", []string{"email_index", "owner_id"}, &l.emails},
		{"phone_index", []string{"phone_index", "owner_id"}, &l.phones},
		{"addresses", []string{"owner_id", "id", "country", "details", "created_at"}, &l.addresses},
	} {
		if _, err := postgres.Copy(ctx, tx, [2]string{"users", t.table}, t.columns, pgx.CopyFromRows(*t.rows)); err != nil {
			return err
		}
		clear(*t.rows)
		*t.rows = (*t.rows)[:0]
	}
	return nil
}
