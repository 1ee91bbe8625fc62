package user

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// maxAddresses is how many addresses an address book has at most.
const maxAddresses = 100

// AddressPurpose is what an address can be the default for.
type AddressPurpose string

const (
	PurposeShipping AddressPurpose = "SHIPPING"
	PurposeBilling  AddressPurpose = "BILLING"
)

// ProfileUpdateInput is what changes of the viewer's profile: what is absent stays, null clears.
type ProfileUpdateInput struct {
	Name  graphql.Omittable[*string]
	Phone graphql.Omittable[*string]
}

// ProfileUpdatePayload is the outcome of changing the profile.
type ProfileUpdatePayload struct {
	User       *User
	UserErrors []fault.Problem
}

// AddressCreateInput is a new address of the viewer.
type AddressCreateInput struct {
	Name       string
	Company    *string
	Line1      string
	Line2      *string
	City       string
	Region     *string
	PostalCode *string
	Country    string
	Phone      *string
	DefaultFor []AddressPurpose
}

// AddressUpdateInput is what changes of an address: what is absent stays, null clears.
type AddressUpdateInput struct {
	AddressID id.ID
	AddressFields
}

// AddressFields are the fields of an address that may be given.
type AddressFields struct {
	Name       graphql.Omittable[*string]
	Company    graphql.Omittable[*string]
	Line1      graphql.Omittable[*string]
	Line2      graphql.Omittable[*string]
	City       graphql.Omittable[*string]
	Region     graphql.Omittable[*string]
	PostalCode graphql.Omittable[*string]
	Country    graphql.Omittable[*string]
	Phone      graphql.Omittable[*string]
}

// AddressDeleteInput is the address that goes.
type AddressDeleteInput struct{ AddressID id.ID }

// AddressSetDefaultInput is an address and what it becomes the default for.
type AddressSetDefaultInput struct {
	AddressID id.ID
	Purpose   AddressPurpose
}

// AddressPayload is the outcome of writing an address.
type AddressPayload struct {
	Address    *Address
	User       *User
	UserErrors []fault.Problem
}

// AddressDeletePayload is the outcome of deleting an address.
type AddressDeletePayload struct {
	DeletedAddressID *id.ID
	User             *User
	UserErrors       []fault.Problem
}

// UpdateProfile changes the viewer's name and telephone number.
func (s *Service) UpdateProfile(ctx context.Context, in ProfileUpdateInput) (*ProfileUpdatePayload, error) {
	if err := requireSignedIn(auth.From(ctx)); err != nil {
		return nil, err
	}
	var problems []fault.Problem
	name, phone := in.Name.Value(), in.Phone.Value()
	if name != nil {
		normalized, ok := normalizeName(*name)
		if !ok {
			problems = append(problems, fault.NewProblem(fault.ProblemInvalid, badName, "name"))
		}
		name = &normalized
	}
	if phone != nil {
		normalized, err := seal.NormalizePhone(*phone, s.phoneRegion)
		if err != nil {
			problems = append(problems, fault.NewProblem(fault.ProblemInvalid, badPhone, "phone"))
		}
		phone = &normalized
	}
	if problems != nil {
		return &ProfileUpdatePayload{UserErrors: problems}, nil
	}
	u, err := s.changeOwn(ctx, func(ctx context.Context, tx *postgres.Tx, u *User) error {
		var changed []string
		if in.Name.IsSet() && !same(name, u.Name) {
			u.Name, changed = name, append(changed, "name")
		}
		if in.Phone.IsSet() && !same(phone, u.Phone) {
			if err := s.movePhone(ctx, tx, u.ID, u.Phone, phone); err != nil {
				return err
			}
			u.Phone, changed = phone, append(changed, "phone")
		}
		if changed == nil {
			return nil
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.update_profile", SQL: updateProfile}, u.ID,
			s.sealer.SealNullable(userField(u.ID, "name"), u.Name), s.sealer.SealNullable(userField(u.ID, "phone"), u.Phone), s.now()); err != nil {
			return err
		}
		return s.record(ctx, tx, u.ID, u.ID, AuditProfileUpdated, details{"fields": changed})
	})
	if err != nil {
		return nil, err
	}
	return &ProfileUpdatePayload{User: u}, nil
}

const badPhone = "this is not a valid telephone number; begin with + and the country code"

// movePhone makes a user be found by another telephone number, or by none.
func (s *Service) movePhone(ctx context.Context, tx *postgres.Tx, owner uuid.UUID, from, to *string) error {
	if from != nil {
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.delete_phone", SQL: deletePhone,
			Reads: postgres.All("users.phone_index")}, s.phoneIndex(*from), owner); err != nil {
			return err
		}
	}
	if to == nil {
		return nil
	}
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_phone", SQL: insertPhone}, s.phoneIndex(*to), owner)
	return err
}

// CreateAddress adds an address to the viewer's address book, which has at most 100.
func (s *Service) CreateAddress(ctx context.Context, in AddressCreateInput) (*AddressPayload, error) {
	if err := requireSignedIn(auth.From(ctx)); err != nil {
		return nil, err
	}
	a, problems := NewAddress(in)
	if problems != nil {
		return &AddressPayload{UserErrors: problems}, nil
	}
	a.ID = id.New()
	full := false
	u, err := s.changeOwn(ctx, func(ctx context.Context, tx *postgres.Tx, u *User) error {
		a.Owner = u.ID
		n, _, err := postgres.First(ctx, tx, postgres.Stmt{Name: "users.count_addresses", SQL: countAddresses,
			Reads: postgres.All("users.addresses")}, pgx.RowTo[int], u.ID)
		if full = n >= maxAddresses; full || err != nil {
			return err
		}
		sealed, err := seal.SealJSON(s.sealer, addressField(a.Key()), a.Postal)
		if err != nil {
			return err
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_address", SQL: insertAddress},
			u.ID, a.ID, a.Country, sealed, s.now()); err != nil {
			return err
		}
		if err := s.record(ctx, tx, u.ID, u.ID, AuditAddressCreated, details{"address": a.ID}); err != nil {
			return err
		}
		return s.setDefault(ctx, tx, u, a.ID, in.DefaultFor...)
	})
	if err != nil {
		return nil, err
	}
	if full {
		return &AddressPayload{UserErrors: []fault.Problem{fault.NewProblem(fault.ProblemTooMany,
			fmt.Sprintf("an address book has at most %d addresses", maxAddresses))}}, nil
	}
	return &AddressPayload{Address: a, User: u}, nil
}

// NewAddress returns the address of an input, which belongs to nobody yet, or what is wrong with it.
func NewAddress(in AddressCreateInput) (*Address, []fault.Problem) {
	a := &Address{}
	_, problems := a.fill(AddressFields{
		Name: graphql.OmittableOf(&in.Name), Company: graphql.OmittableOf(in.Company), Line1: graphql.OmittableOf(&in.Line1),
		Line2: graphql.OmittableOf(in.Line2), City: graphql.OmittableOf(&in.City), Region: graphql.OmittableOf(in.Region),
		PostalCode: graphql.OmittableOf(in.PostalCode), Country: graphql.OmittableOf(&in.Country), Phone: graphql.OmittableOf(in.Phone),
	})
	return a, problems
}

// UpdateAddress changes an address of the viewer.
func (s *Service) UpdateAddress(ctx context.Context, in AddressUpdateInput) (*AddressPayload, error) {
	var a *Address
	var problems []fault.Problem
	u, err := s.changeOwn(ctx, func(ctx context.Context, tx *postgres.Tx, u *User) (err error) {
		if a, err = s.ownAddress(ctx, tx, u, in.AddressID); err != nil {
			return err
		}
		var changed []string
		changed, problems = a.fill(in.AddressFields)
		if problems != nil || changed == nil {
			return nil
		}
		sealed, err := seal.SealJSON(s.sealer, addressField(a.Key()), a.Postal)
		if err != nil {
			return err
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.update_address", SQL: updateAddress},
			u.ID, a.ID, a.Country, sealed); err != nil {
			return err
		}
		return s.record(ctx, tx, u.ID, u.ID, AuditAddressUpdated, details{"address": a.ID, "fields": changed})
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &AddressPayload{UserErrors: problems}, nil
	}
	return &AddressPayload{Address: a, User: u}, nil
}

// DeleteAddress deletes an address of the viewer. Where it was the default there is none afterwards.
func (s *Service) DeleteAddress(ctx context.Context, in AddressDeleteInput) (*AddressDeletePayload, error) {
	u, err := s.changeOwn(ctx, func(ctx context.Context, tx *postgres.Tx, u *User) error {
		a, err := s.ownAddress(ctx, tx, u, in.AddressID)
		if err != nil {
			return err
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.delete_address", SQL: deleteAddress}, u.ID, a.ID); err != nil {
			return err
		}
		for _, of := range []**uuid.UUID{&u.DefaultShippingAddressID, &u.DefaultBillingAddressID} {
			if same(*of, &a.ID) {
				*of = nil
			}
		}
		return s.record(ctx, tx, u.ID, u.ID, AuditAddressDeleted, details{"address": a.ID})
	})
	if err != nil {
		return nil, err
	}
	return &AddressDeletePayload{DeletedAddressID: &in.AddressID, User: u}, nil
}

// SetDefaultAddress makes an address of the viewer the default for a purpose.
func (s *Service) SetDefaultAddress(ctx context.Context, in AddressSetDefaultInput) (*AddressPayload, error) {
	var a *Address
	u, err := s.changeOwn(ctx, func(ctx context.Context, tx *postgres.Tx, u *User) (err error) {
		if a, err = s.ownAddress(ctx, tx, u, in.AddressID); err != nil {
			return err
		}
		return s.setDefault(ctx, tx, u, a.ID, in.Purpose)
	})
	if err != nil {
		return nil, err
	}
	return &AddressPayload{Address: a, User: u}, nil
}

// setDefault makes an address of a user the default for purposes that it is not the default for yet.
func (s *Service) setDefault(ctx context.Context, tx *postgres.Tx, u *User, address uuid.UUID, purposes ...AddressPurpose) error {
	var changed []AddressPurpose
	for _, purpose := range purposes {
		of := &u.DefaultShippingAddressID
		if purpose == PurposeBilling {
			of = &u.DefaultBillingAddressID
		}
		if !same(*of, &address) {
			*of, changed = &address, append(changed, purpose)
		}
	}
	if changed == nil {
		return nil
	}
	if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.update_defaults", SQL: updateDefaults},
		u.ID, u.DefaultShippingAddressID, u.DefaultBillingAddressID, s.now()); err != nil {
		return err
	}
	return s.record(ctx, tx, u.ID, u.ID, AuditDefaultAddressSet, details{"address": address, "purposes": changed})
}

// changeOwn runs change in a transaction that holds the viewer's account locked, and returns the account as change has
// left it.
func (s *Service) changeOwn(ctx context.Context, change func(ctx context.Context, tx *postgres.Tx, u *User) error) (*User, error) {
	if err := requireSignedIn(auth.From(ctx)); err != nil {
		return nil, err
	}
	var u *User
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
		if u, err = s.lock(ctx, tx, auth.From(ctx).ID); err != nil {
			return err
		}
		if u == nil || u.Status != StatusActive { // the actor of an external issuer, or a deactivation came first
			return fault.New(fault.NotFound, "you have no active account here")
		}
		return change(ctx, tx, u)
	})
	return u, err
}

// lock reads an account and holds it until the transaction ends; nil if there is none.
func (s *Service) lock(ctx context.Context, tx *postgres.Tx, owner uuid.UUID) (*User, error) {
	users := s.tables.users.In(ctx, "Guest", "Status", "Roles", "Name", "Email", "EmailVerifiedAt", "Phone")
	u, _, err := postgres.First(ctx, tx, postgres.Stmt{
		Name: "users.lock", SQL: "SELECT " + users.SQL + " " + fromUsers + lockUser, Reads: usersByOwner.Of(owner),
	}, users.Scan, owner)
	return u, err
}

// ownAddress returns an address of the user. What is somebody else's, or no address at all, is not there.
func (s *Service) ownAddress(ctx context.Context, tx *postgres.Tx, u *User, address id.ID) (*Address, error) {
	addresses := s.tables.addresses.In(ctx, "Country", "Postal")
	isOwn := func(owner uuid.UUID) bool { return address.Kind == id.Address && owner == u.ID }
	found, err := postgres.SelectByKeys(ctx, tx, addressesByKey, addresses.SQL, addresses.Scan, []id.Key{address.OwnedKey()}, isOwn)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &fault.Error{Code: fault.NotFound, Message: "there is no such address", Field: []string{"input", "addressId"}}
	}
	return found[0], nil
}

// fill changes an address as given, and returns which fields have changed and what is wrong.
func (a *Address) fill(in AddressFields) (changed []string, problems []fault.Problem) {
	wrong := func(field, message string) {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, message, field))
	}
	// What is blank is as good as null.
	text := func(field string, most int, required bool, given graphql.Omittable[*string], is *string, set func(*string)) {
		if !given.IsSet() {
			return
		}
		least, value := 0, given.Value()
		if required {
			least = 1
		}
		if value != nil {
			normalized, ok := seal.NormalizeText(*value, most)
			if !ok {
				wrong(field, fmt.Sprintf("this must have %d to %d characters, none of them a control character", least, most))
				return
			}
			if value = &normalized; normalized == "" {
				value = nil
			}
		}
		switch {
		case value == nil && required:
			wrong(field, fmt.Sprintf("this must have %d to %d characters, none of them a control character", least, most))
		case !same(value, is):
			set(value)
			changed = append(changed, field)
		}
	}
	required := func(field string, most int, given graphql.Omittable[*string], of *string) {
		text(field, most, true, given, of, func(v *string) { *of = *v })
	}
	optional := func(field string, most int, given graphql.Omittable[*string], of **string) {
		text(field, most, false, given, *of, func(v *string) { *of = v })
	}
	required("name", maxName, in.Name, &a.Name)
	optional("company", 200, in.Company, &a.Company)
	required("line1", 200, in.Line1, &a.Line1)
	optional("line2", 200, in.Line2, &a.Line2)
	required("city", 100, in.City, &a.City)
	optional("region", 100, in.Region, &a.Region)
	optional("postalCode", 20, in.PostalCode, &a.PostalCode)

	if country := in.Country.Value(); in.Country.IsSet() {
		switch {
		case country == nil || !countryCode.MatchString(*country):
			wrong("country", "this must be an ISO 3166-1 country code like DE")
		case *country != a.Country:
			a.Country, changed = *country, append(changed, "country")
		}
	}
	if phone, set := in.Phone.ValueOK(); set {
		if phone != nil && strings.TrimSpace(*phone) == "" {
			phone = nil
		}
		if phone != nil {
			// A carrier calls from where the address is.
			normalized, err := seal.NormalizePhone(*phone, a.Country)
			if err != nil {
				wrong("phone", badPhone)
			}
			phone = &normalized
		}
		if !same(phone, a.Phone) {
			a.Phone, changed = phone, append(changed, "phone")
		}
	}
	return changed, problems
}

// countryCode is the form of a country code; which ones there are is decided where the contract's scalar is read.
var countryCode = regexp.MustCompile(`^[A-Z]{2}$`)

// same reports whether both are absent, or both the same value.
func same[T comparable](a, b *T) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}
