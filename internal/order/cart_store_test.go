package order_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

// TestCartsAreReadAsTheyCome runs the statements of carts, lines and discounts in every way that pgx has.
func TestCartsAreReadAsTheyCome(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 2)
	method, ada := m.terms(), m.as(m.ada)
	percent := m.discount(order.DiscountCreateInput{Code: "TENTH", Kind: order.DiscountPercentage, BasisPoints: new(1000), MinimumSubtotal: new(decimal("1")),
		StartsAt: new(day), EndsAt: new(day.Add(time.Hour)), UsageLimit: new(9), CustomerLimit: new(3)})
	fixed := m.discount(order.DiscountCreateInput{Code: "FIVE", Kind: order.DiscountFixed, Amount: new(decimal("5"))})
	m.put(ada, nil, 0, 2, 3)
	m.done(m.ApplyCartDiscount(ada, order.CartDiscountApplyInput{Code: "FIVE"}))
	book := func(n int) *id.ID { return new(id.Owned(id.Address, m.ada.AddressBook[n].Key())) }
	c := m.done(m.UpdateCart(ada, order.CartUpdateInput{Email: graphql.OmittableOf(new("ada@example.com")), Note: graphql.OmittableOf(new("Ring twice.")),
		ShippingAddressID: book(0), BillingAddressID: book(1), ShippingMethodID: graphql.OmittableOf(&method)})).Cart
	var lines []order.CartLine
	for _, l := range c.Lines {
		row := *l
		row.Cart = nil
		lines = append(lines, row)
	}
	row := *c
	row.Lines = nil

	of, ctx := pgtest.NewTables(t, m.dbs.URLs["orders"]), staff(t.Context())
	m.config.DB = of.DB
	v := order.New(m.config)
	for _, keys := range [][]id.Key{{c.Key()}, {c.Key(), {Owner: id.New(), ID: id.New()}}} {
		pgtest.CheckRows(ctx, t, "ReadCarts", of, v.CartTable(), func() error { return second(v.ReadCarts(ctx, keys)) }, row)
		pgtest.CheckRows(ctx, t, "Carts", of, v.CartLineTable(), func() error { return second(v.Carts(ctx, keys)) }, lines...)
	}
	pgtest.CheckRows(ctx, t, "Discounts", of, order.DiscountTable(), func() error { return second(v.Discounts(ctx, page.Args{First: new(5)})) }, *fixed, *percent)
}

// TestResealCarts seals carts anew while one of them is changed: the change stays, and nothing needs the old key any more.
func TestResealCarts(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 1)
	var tokens []*string
	var want []*order.Cart
	for i := range 12 {
		p := m.put(m.nobody(), nil, 0, 1, 1)
		in := order.CartUpdateInput{Token: p.Token}
		if i%3 > 0 { // others have nothing to seal
			in.Email = graphql.OmittableOf(new(fmt.Sprintf("kim%d@example.com", i)))
		}
		if i%3 > 1 {
			in.Note = graphql.OmittableOf(new("Ring twice."))
			in.ShippingAddress = graphql.OmittableOf(&order.PostalAddressInput{Name: "Kim Lee", Line1: "Am Markt 1", City: "Köln", Country: "DE"})
			in.BillingAddress = graphql.OmittableOf(&order.PostalAddressInput{Name: "Robin Lee", Line1: "Ring 2", City: "Bonn", Country: "DE"})
		}
		tokens, want = append(tokens, p.Token), append(want, m.done(m.UpdateCart(m.nobody(), in)).Cart)
	}
	if n, err := m.Reseal(t.Context(), nil); n != 0 || err != nil {
		t.Fatalf("under the same key: %d, %v", n, err)
	}
	rotated, err := m.keys.Rotate()
	m.must(err)

	const edited = 4
	var once sync.Once
	config := m.config
	config.Sealer = sealer(t, rotated)
	config.DB, err = postgres.Open(t.Context(), m.dbs.URLs["orders"], postgres.Options{
		Explain: func(_ context.Context, stmt postgres.Stmt, _ []any, _ func(context.Context, string, ...any) (string, error)) {
			if stmt.Name == "orders.reseal_carts" {
				once.Do(func() { // by a server that seals under the old key
					want[edited] = m.done(m.UpdateCart(m.nobody(), order.CartUpdateInput{Token: tokens[edited], Email: graphql.OmittableOf(new("late@example.com"))})).Cart
				})
			}
		},
	})
	m.must(err)
	t.Cleanup(config.DB.Close)
	if n, err := order.New(config).Reseal(t.Context(), nil); n != 8 || err != nil {
		t.Errorf("sealed anew: %d, %v", n, err)
	}

	pruned, err := rotated.Prune()
	m.must(err)
	m.config.Sealer = sealer(t, pruned)
	m.Service = order.New(m.config)
	for i, token := range tokens {
		equal(t, fmt.Sprintf("cart %d without the old key", i), personal(m.cart(m.nobody(), token)), personal(want[i]))
	}
	// A value that was put into another row, or another column, does not open.
	for what, sql := range map[string]string{
		"row":    "UPDATE orders.carts SET email = (SELECT email FROM orders.carts WHERE id = $2) WHERE id = $1",
		"column": "UPDATE orders.carts SET email = note WHERE id = $1 AND $2 <> id",
	} {
		if _, err := postgres.Exec(t.Context(), m.db, postgres.Stmt{Name: "test", SQL: sql}, want[2].ID, want[5].ID); err != nil {
			t.Fatal(err)
		}
		if c, err := m.Cart(m.nobody(), tokens[2]); c != nil || err == nil {
			t.Errorf("from another %s: %+v, %v", what, c, err)
		}
	}
}

// personal is what a cart says about its buyer.
func personal(c *order.Cart) []any {
	return []any{c.Email, c.Note, c.ShippingAddress, c.BillingAddress}
}
