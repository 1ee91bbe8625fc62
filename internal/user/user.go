// Package user is the service of people: accounts, address books, sessions. It owns the Postgres schema "users". Names,
// e-mail addresses, telephone numbers and address lines are sealed in the row.
package user

import (
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/page"
)

// Status tells whether an account can be used.
type Status string

const (
	StatusActive      Status = "ACTIVE"
	StatusDeactivated Status = "DEACTIVATED"
	StatusDeleted     Status = "DELETED" // nothing personal is left
)

// User is a person with an account, or a guest, who is a customer without credentials. A user owns itself.
type User struct {
	ID                       uuid.UUID
	Guest                    bool
	Status                   Status
	Roles                    []auth.Role
	Name                     *string // opened
	Email                    *string // opened, normalised
	EmailVerifiedAt          *time.Time
	Phone                    *string // opened, E.164
	DefaultShippingAddressID *uuid.UUID
	DefaultBillingAddressID  *uuid.UUID
	CreatedAt                time.Time
}

// GlobalID returns the ID in the graph.
func (u *User) GlobalID() id.ID { return id.Of(id.User, u.ID) }

// EmailVerified reports whether the user has shown that the e-mail address is theirs.
func (u *User) EmailVerified() bool { return u.EmailVerifiedAt != nil }

// OwnedBy reports whether the user is the owner.
func (u *User) OwnedBy(owner uuid.UUID) bool { return u.ID == owner }

// Postal is an address as people write it; it is sealed as a whole.
type Postal struct {
	Name       string  `json:"name"`
	Company    *string `json:"company,omitempty"`
	Line1      string  `json:"line1"`
	Line2      *string `json:"line2,omitempty"`
	City       string  `json:"city"`
	Region     *string `json:"region,omitempty"`
	PostalCode *string `json:"postalCode,omitempty"`
	Phone      *string `json:"phone,omitempty"`
}

// Address is an entry of a user's address book.
type Address struct {
	Owner   uuid.UUID
	ID      uuid.UUID
	Country string // ISO 3166-1 alpha-2
	Postal         // opened
}

// Key returns the owner-first key.
func (a *Address) Key() id.Key { return id.Key{Owner: a.Owner, ID: a.ID} }

// GlobalID returns the ID in the graph.
func (a *Address) GlobalID() id.ID { return id.Owned(id.Address, a.Key()) }

// OwnedBy reports whether the address is the owner's.
func (a *Address) OwnedBy(owner uuid.UUID) bool { return a.Owner == owner }

// Filter says which users; all that is given has to match.
type Filter struct {
	Email       *string // exact, in any case
	Phone       *string // exact, E.164
	OrderNumber *string // resolved by the graph to Owners, since orders are another domain's
	Owners      []uuid.UUID
	Role        *auth.Role
	Status      *Status
	CreatedAt   *page.TimeRange
}

// SortField is what users can be sorted by.
type SortField string

// SortCreatedAt sorts by when the account was opened.
const SortCreatedAt SortField = "CREATED_AT"

// Sort is the order of a list of users.
type Sort struct {
	Field     SortField
	Direction page.Direction
}

// Edge is a user in a list.
type Edge = page.Edge[*User]

// Connection is a page of users. It remembers the filter, by which the total is counted when it is asked for.
type Connection struct {
	page.Connection[*User]
	Filter Filter
}
