// Package seed fills an empty database: with the demo shop, which people look around in, or with the bench data set,
// which is large. Both are the same on every run, but for the random parts of encryption and password hashes.
package seed

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/postgres"
	"emporium/internal/product"
	"emporium/internal/user"
)

// ErrOtherData is what errors.Is finds when Demo was refused because there is another shop.
var ErrOtherData = errors.New("the database holds other data")

// Services are what is filled.
type Services struct {
	Users    *user.Service
	Products *product.Service
	Orders   *order.Service
	Payments *payment.Service
	Hasher   *auth.Hasher
	Currency money.Currency // of all prices

	// Databases are vacuumed and analysed when Bench has filled them, so that plans are good at once and no autovacuum
	// disturbs what is measured. The same one may stand here several times. Without any that is left out.
	Databases []*postgres.DB
}

// Progress is told how much of what is written; it may be nil.
type Progress = func(what string, done, total int)

// Account is a sign-in of the demo shop and of the bench data set.
type Account struct {
	Label    string
	Email    string
	Password string
	Roles    []auth.Role
}

// Accounts returns the sign-ins, customers first.
func Accounts() []Account {
	account := func(label, email, password string, role auth.Role) Account {
		return Account{Label: label, Email: email, Password: "emporium-demo-" + password, Roles: []auth.Role{role}}
	}
	return []Account{
		account("Customer Ada", "ada@example.com", "customer", auth.RoleCustomer),
		account("Customer Grace", "grace@example.com", "customer", auth.RoleCustomer),
		account("Support", "support@example.com", "support", auth.RoleSupport),
		account("Manager", "manager@example.com", "manager", auth.RoleManager),
		account("Admin", "admin@example.com", "admin", auth.RoleAdmin),
	}
}

// anchor is when the demo and bench data end.
var anchor = time.Date(2026, 10, 31, 12, 0, 0, 0, time.UTC)

// source returns the random numbers of a part of the data, the same on every run. Each part has its own, so that a
// change of one leaves the others alone.
func source(part string) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256([]byte("emporium " + part))))
}

// key returns a UUIDv7 of an instant.
func key(r *rand.Rand, at time.Time) uuid.UUID {
	var entropy [16]byte
	binary.BigEndian.PutUint64(entropy[:8], r.Uint64())
	binary.BigEndian.PutUint64(entropy[8:], r.Uint64())
	return id.At(at, entropy)
}

// orderNumber returns the number of the nth order: no two n below 2^40 have the same.
func orderNumber(n uint64) string {
	const mask = 1<<40 - 1
	n = (n + 1) * 0x9e3779b97f4a7c15 & mask // an odd factor, and a shift to the right, can be undone
	n ^= n >> 20
	return order.NumberFrom(n * 0xbf58476d1ce4e5b9)
}

// between returns a length of time in whole seconds.
func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64((to-from)/time.Second)+1))*time.Second
}

// found is how much a database has already.
type found struct{ users, products, categories, orders, payments int }

// asStaff returns a context that sees everything.
func asStaff(ctx context.Context) context.Context {
	return auth.With(ctx, auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleAdmin)})
}

func (s Services) count(ctx context.Context) (found, error) {
	ctx = asStaff(ctx)
	var f found
	var err error
	if f.users, err = s.Users.Count(ctx, user.Filter{}); err != nil {
		return f, fmt.Errorf("count users: %w", err)
	}
	products, err := s.Products.Counts(ctx, []product.Scope{{}}, product.Query{})
	if err != nil {
		return f, fmt.Errorf("count products: %w", err)
	}
	f.products = products[0]
	top, err := s.Products.ChildrenOf(ctx, []uuid.UUID{uuid.Nil})
	if err != nil {
		return f, fmt.Errorf("count categories: %w", err)
	}
	f.categories = len(top)
	if f.orders, err = s.Orders.Count(ctx, order.Filter{}); err != nil {
		return f, fmt.Errorf("count orders: %w", err)
	}
	if f.payments, err = s.Payments.Count(ctx, payment.Filter{}); err != nil {
		return f, fmt.Errorf("count payments: %w", err)
	}
	return f, nil
}

func (f found) String() string {
	return fmt.Sprintf("%d users, %d products, %d top categories, %d orders, %d payments",
		f.users, f.products, f.categories, f.orders, f.payments)
}
