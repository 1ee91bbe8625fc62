package order_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
	"emporium/internal/seal"
	"emporium/internal/user"
)

// market is a shop with goods, customers and a clock. The nth of the goods costs n+1 EUR, and there are 20 of it.
type market struct {
	*shop
	t        *testing.T
	config   order.Config
	products *product.Service
	goods    []*product.Draft
	ada      *user.Account // with two addresses
	bob      *user.Account
	clock    atomic.Pointer[time.Time]
}

func newMarket(t *testing.T, goods int) *market {
	t.Helper()
	dbs, keys := pgtest.New(t), seal.New()
	m := &market{shop: &shop{db: dbs.Orders, keys: keys, dbs: dbs}, t: t, products: product.New(dbs.Products, "EUR")}
	m.clock.Store(&day)
	users := user.New(user.Config{DB: dbs.Users, Sealer: sealer(t, keys)})
	m.config = order.Config{DB: dbs.Orders, Sealer: sealer(t, keys), Currency: "EUR", Products: m.products, Users: users,
		TaxIncluded: true, Now: func() time.Time { return *m.clock.Load() }}
	m.Service = order.New(m.config)
	for i := range goods {
		p := id.New()
		d := &product.Draft{Product: product.Product{ID: p, Slug: fmt.Sprintf("mug-%d", i), Title: fmt.Sprintf("Mug %d", i), Status: product.StatusActive,
			Metadata: map[string]any{}, Tags: []string{}, PublishedAt: &day},
			Media: []product.Media{{ID: id.New(), Kind: product.MediaImage, URL: "/pictures/a.svg", Position: 1},
				{ID: id.New(), Kind: product.MediaImage, URL: "/pictures/b.svg", Position: 2}},
			Options: []product.Option{{Position: 1, Name: "Size", Values: []string{"S"}}},
			Variants: []product.VariantDraft{{OnHand: new(20), ImagePosition: 2, Variant: product.Variant{ID: id.New(), Position: 1,
				SKU: new(fmt.Sprintf("MUG-%d", i)), OptionNames: []string{"Size"}, OptionChoices: []string{"S"}, Currency: "EUR",
				PriceMinor: int64(i+1) * 100}}}}
		m.goods = append(m.goods, d)
	}
	m.must(m.products.Load(t.Context(), nil, nil, slices.Values(m.goods), nil))
	account := func(name string) *user.Account {
		a := &user.Account{User: user.User{ID: id.New(), Email: new(name + "@example.com"), Name: &name}}
		for _, country := range []string{"DE", "FR"} {
			a.AddressBook = append(a.AddressBook, user.Address{ID: id.New(), Owner: a.ID, Country: country,
				Postal: user.Postal{Name: name, Line1: "Ring 2", City: "Bonn", Phone: new("+492281234567")}})
		}
		return a
	}
	m.ada, m.bob = account("ada"), account("bob")
	m.must(users.Load(t.Context(), slices.Values([]*user.Account{m.ada, m.bob}), nil))
	return m
}

func (m *market) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *market) nobody() context.Context { return m.t.Context() }

func (m *market) as(a *user.Account) context.Context {
	return as(m.t.Context(), a.ID, auth.RoleCustomer)
}

func (m *market) manager() context.Context { return as(m.t.Context(), id.New(), auth.RoleManager) }

func (m *market) later(d time.Duration) { m.clock.Store(new(m.clock.Load().Add(d))) }

// variant is the ID of the nth of the goods.
func (m *market) variant(n int) id.ID { return id.Of(id.Variant, m.goods[n].Variants[0].ID) }

// put adds so many of each of the goods from one to another.
func (m *market) put(ctx context.Context, token *string, from, to, quantity int) *order.CartPayload {
	m.t.Helper()
	in := order.CartLinesAddInput{Token: token}
	for n := from; n < to; n++ {
		in.Lines = append(in.Lines, order.CartLineInput{VariantID: m.variant(n), Quantity: quantity})
	}
	return m.done(m.AddCartLines(ctx, in))
}

// done returns a payload that says nothing of problems.
func (m *market) done(p *order.CartPayload, err error) *order.CartPayload {
	m.t.Helper()
	if err != nil || len(p.UserErrors) > 0 || p.Cart == nil {
		m.t.Fatalf("%+v, %v", p, err)
	}
	return p
}

// refused returns the problems of a payload that has nothing else, as CODE field.
func (m *market) refused(p *order.CartPayload, err error) string {
	m.t.Helper()
	if err != nil || len(p.UserErrors) == 0 || p.Cart != nil || p.Token != nil {
		m.t.Fatalf("%+v, %v", p, err)
	}
	return problems(p.UserErrors)
}

func problems(all []fault.Problem) string {
	var texts []string
	for _, p := range all {
		texts = append(texts, strings.TrimSpace(string(p.Code)+" "+strings.Join(p.Field, ".")))
	}
	return strings.Join(texts, ", ")
}

// holds returns what is in a cart: the number of the goods, and how many of it.
func (m *market) holds(c *order.Cart) map[int]int {
	m.t.Helper()
	got := map[int]int{}
	for _, l := range c.Lines {
		n := slices.IndexFunc(m.goods, func(d *product.Draft) bool { return d.Variants[0].ID == l.VariantID })
		if got[n] != 0 || l.Owner != c.Owner || l.CartID != c.ID || l.Cart != c {
			m.t.Errorf("line %+v of %+v", l, c)
		}
		got[n] = l.Quantity
	}
	return got
}

func (m *market) cart(ctx context.Context, token *string) *order.Cart {
	m.t.Helper()
	c, err := m.Cart(ctx, token)
	m.must(err)
	return c
}

func (m *market) quote(ctx context.Context, token *string) *order.Quote {
	m.t.Helper()
	q, err := m.Quote(ctx, m.cart(ctx, token))
	m.must(err)
	return q
}

func decimal(text string) money.Decimal {
	d, err := money.ParseDecimal(text)
	if err != nil {
		panic(err)
	}
	return d
}

// terms makes a tax of 19 % in Germany, and parcels there for 5.00 EUR, free from 100.00 EUR on. It returns the method.
func (m *market) terms() id.ID {
	m.t.Helper()
	_, err := m.SetTaxRate(m.manager(), order.TaxRateSetInput{Country: "DE", Name: "VAT", BasisPoints: 1900, AppliesToShipping: true})
	m.must(err)
	p, err := m.CreateShippingMethod(m.manager(), order.ShippingMethodCreateInput{Name: "Parcel", Countries: []string{"DE"},
		Rates: []order.ShippingRateInput{{FromSubtotal: decimal("100"), Price: decimal("0")}, {FromSubtotal: decimal("0"), ToSubtotal: new(decimal("100")), Price: decimal("5")}}})
	m.must(err)
	return p.ShippingMethod.GlobalID()
}

func (m *market) discount(in order.DiscountCreateInput) *order.Discount {
	m.t.Helper()
	p, err := m.CreateDiscount(m.manager(), in)
	if err != nil || p.Discount == nil {
		m.t.Fatalf("%+v, %v", p, err)
	}
	return p.Discount
}

func TestCartOfAUser(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 4)
	ada := m.as(m.ada)
	if c := m.cart(ada, nil); c != nil {
		t.Errorf("a cart before there is one: %+v", c)
	}
	p := m.put(ada, nil, 0, 2, 2)
	first := p.Cart
	equal(t, "at first", m.holds(first), map[int]int{0: 2, 1: 2})
	if p.Token != nil || first.Owner != m.ada.ID || first.Guest || first.Status != order.CartOpen || first.Borne() || first.ItemCount() != 4 ||
		first.Lines[1].UnitPriceMinor != 200 || !first.CreatedAt.Equal(day) {
		t.Errorf("made %+v of %+v", p, first)
	}
	m.later(time.Hour)
	p = m.put(ada, nil, 1, 3, 5)
	equal(t, "added", m.holds(p.Cart), map[int]int{0: 2, 1: 7, 2: 5})
	if p.Cart.ID != first.ID || !p.Cart.UpdatedAt.Equal(day.Add(time.Hour)) || p.Cart.Lines[1].ID != first.Lines[1].ID {
		t.Errorf("became %+v", p.Cart)
	}
	// The same twice in one input is added up.
	p = m.done(m.AddCartLines(ada, order.CartLinesAddInput{Lines: []order.CartLineInput{{m.variant(3), 1}, {m.variant(3), 2}}}))
	equal(t, "twice", m.holds(p.Cart), map[int]int{0: 2, 1: 7, 2: 5, 3: 3})

	line := func(n int) id.ID { return p.Cart.Lines[n].GlobalID() }
	p2 := m.done(m.UpdateCartLines(ada, order.CartLinesUpdateInput{Lines: []order.CartLineUpdateInput{{line(0), 9999}, {line(1), 0}}}))
	equal(t, "updated", m.holds(p2.Cart), map[int]int{0: 9999, 2: 5, 3: 3})
	p2 = m.done(m.RemoveCartLines(ada, order.CartLinesRemoveInput{LineIDs: []id.ID{line(2), line(1), id.Owned(id.CartLine, id.Key{Owner: id.New(), ID: id.New()})}}))
	equal(t, "removed", m.holds(p2.Cart), map[int]int{0: 9999, 3: 3})
	equal(t, "read", m.holds(m.cart(ada, nil)), map[int]int{0: 9999, 3: 3})

	unknown := id.Of(id.Variant, id.New())
	add := func(lines ...order.CartLineInput) string {
		t.Helper()
		return m.refused(m.AddCartLines(ada, order.CartLinesAddInput{Lines: lines}))
	}
	equal(t, "too many of one", add(order.CartLineInput{m.variant(0), 1}), "INVALID lines")
	equal(t, "bad quantities and variants", add(order.CartLineInput{m.variant(0), 0}, order.CartLineInput{m.variant(1), 10000}, order.CartLineInput{unknown, 1},
		order.CartLineInput{id.Of(id.Product, m.goods[0].Product.ID), 1}),
		"INVALID lines.0.quantity, INVALID lines.1.quantity, UNAVAILABLE lines.2.variantId, UNAVAILABLE lines.3.variantId")
	equal(t, "too many in one input", add(order.CartLineInput{m.variant(1), 9999}, order.CartLineInput{m.variant(1), 1}), "INVALID lines")
	equal(t, "no such line", m.refused(m.UpdateCartLines(ada, order.CartLinesUpdateInput{Lines: []order.CartLineUpdateInput{{line(1), 1}, {line(0), 1}}})), "INVALID lines.0.lineId")
	equal(t, "a negative quantity", m.refused(m.UpdateCartLines(ada, order.CartLinesUpdateInput{Lines: []order.CartLineUpdateInput{{line(0), -1}}})), "INVALID lines.0.quantity")
	equal(t, "nothing of it was done", m.holds(m.cart(ada, nil)), map[int]int{0: 9999, 3: 3})
	for what, err := range map[string]error{
		"nothing to add":    second(m.AddCartLines(ada, order.CartLinesAddInput{})),
		"nothing to update": second(m.UpdateCartLines(ada, order.CartLinesUpdateInput{})),
		"nothing to remove": second(m.RemoveCartLines(ada, order.CartLinesRemoveInput{})),
	} {
		if !fault.Is(err, fault.BadUserInput) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Bob has none, and nothing but adding makes one.
	for what, err := range map[string]error{
		"update":          second(m.UpdateCart(m.as(m.bob), order.CartUpdateInput{Note: graphql.OmittableOf(new("x"))})),
		"lines":           second(m.RemoveCartLines(m.as(m.bob), order.CartLinesRemoveInput{LineIDs: []id.ID{line(0)}})),
		"discount":        second(m.RemoveCartDiscount(m.as(m.bob), order.CartDiscountRemoveInput{})),
		"nobody's":        second(m.UpdateCart(m.nobody(), order.CartUpdateInput{Note: graphql.OmittableOf(new("x"))})),
		"an unknown one":  second(m.UpdateCart(m.nobody(), order.CartUpdateInput{Token: new(strings.Repeat("A", 43)), Note: graphql.OmittableOf(new("x"))})),
		"no token at all": second(m.AddCartLines(ada, order.CartLinesAddInput{Token: new(""), Lines: []order.CartLineInput{{m.variant(0), 1}}})),
	} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	equal(t, "carts", m.rows(t, "SELECT owner_id || ' ' || status FROM orders.carts"), []string{m.ada.ID.String() + " OPEN"})
}

func second[T any](_ T, err error) error { return err }

func TestCartHasAHundredLines(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 101)
	m.put(m.as(m.ada), nil, 0, 60, 1)
	m.put(m.as(m.ada), nil, 50, 100, 1)
	equal(t, "one more", m.refused(m.AddCartLines(m.as(m.ada), order.CartLinesAddInput{Lines: []order.CartLineInput{{m.variant(100), 1}}})), "TOO_MANY lines")
	p := m.put(m.as(m.ada), nil, 99, 100, 1)
	if len(p.Cart.Lines) != 100 || p.Cart.Lines[99].Quantity != 2 || p.Cart.Lines[50].Quantity != 2 || p.Cart.Lines[49].Quantity != 1 {
		t.Errorf("%d lines", len(p.Cart.Lines))
	}
}

// TestCartOfNobody fills a cart without signing in: its token is given once, stored as a hash, and is all the proof.
func TestCartOfNobody(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 3)
	p := m.put(m.nobody(), nil, 0, 1, 1)
	if p.Token == nil || len(*p.Token) != 43 || !p.Cart.Guest || !p.Cart.Borne() || !p.Cart.Lines[0].Borne() || p.Cart.Owner == uuid.Nil {
		t.Fatalf("%+v, %+v", p, p.Cart)
	}
	other := m.put(m.nobody(), nil, 0, 1, 1)
	if *other.Token == *p.Token || other.Cart.Owner == p.Cart.Owner {
		t.Error("two carts are one")
	}
	again := m.put(m.nobody(), p.Token, 0, 2, 1)
	equal(t, "added", m.holds(again.Cart), map[int]int{0: 2, 1: 1})
	if again.Token != nil || again.Cart.ID != p.Cart.ID || !again.Cart.Borne() {
		t.Errorf("again: %+v", again)
	}
	// So can somebody who is signed in, whose own cart it is not.
	equal(t, "with the token", m.holds(m.put(m.as(m.bob), p.Token, 2, 3, 4).Cart), map[int]int{0: 2, 1: 1, 2: 4})
	if c := m.cart(m.as(m.bob), nil); c != nil {
		t.Errorf("it has become Bob's: %+v", c)
	}
	if got := m.rows(t, "SELECT encode(token_hash, 'escape') FROM orders.cart_tokens"); len(got) != 2 || slices.Contains(got, *p.Token) {
		t.Errorf("tokens: %q", got)
	}
	for _, wrong := range []string{"", "x", *p.Token + "A", (*p.Token)[:42], strings.ToUpper(*p.Token), *p.Token + "\n", (*p.Token)[:42] + "\n", strings.Repeat("A", 43)} {
		if c, err := m.Cart(m.nobody(), &wrong); c != nil || err != nil {
			t.Errorf("%q leads to %+v, %v", wrong, c, err)
		}
	}
	// By key it is nobody's but staff's, and was not reached by its token.
	for _, who := range []context.Context{m.nobody(), m.as(m.ada)} {
		carts, err1 := m.Carts(who, []id.Key{p.Cart.Key()})
		lines, err2 := m.CartLines(who, []id.Key{p.Cart.Lines[0].Key()})
		if len(carts)+len(lines) > 0 || err1 != nil || err2 != nil {
			t.Errorf("%v, %v, %v, %v", carts, lines, err1, err2)
		}
	}
	carts, err1 := m.Carts(staff(t.Context()), []id.Key{p.Cart.Key()})
	lines, err2 := m.CartLines(staff(t.Context()), []id.Key{p.Cart.Lines[0].Key(), other.Cart.Lines[0].Key()})
	if len(carts) != 1 || len(lines) != 2 || carts[0].Borne() || lines[0].Borne() || len(lines[0].Cart.Lines) == 0 || err1 != nil || err2 != nil {
		t.Errorf("%v, %v, %v, %v", carts, lines, err1, err2)
	}
}

func TestUpdateCart(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 1)
	method := m.terms()
	ada := m.as(m.ada)
	m.put(ada, nil, 0, 1, 1)
	given := &order.PostalAddressInput{Name: " Kim Lee ", Company: new(" "), Line1: "Am Markt 1", City: "Köln", PostalCode: new("50667"), Country: "DE", Phone: new("0221 1234567")}
	booked := id.Owned(id.Address, id.Key{Owner: m.ada.ID, ID: m.ada.AddressBook[1].ID})
	p := m.done(m.UpdateCart(ada, order.CartUpdateInput{Email: graphql.OmittableOf(new(" Ada@Example.com ")), ShippingAddress: graphql.OmittableOf(given),
		BillingAddressID: &booked, Note: graphql.OmittableOf(new("Ring\ntwice. ")), ShippingMethodID: graphql.OmittableOf(&method)}))
	want := *p.Cart
	want.Email, want.Note, want.ShippingMethodID = new("ada@example.com"), new("Ring\ntwice."), &method.Key
	want.ShippingAddress = &order.PostalAddress{Owner: m.ada.ID, Name: "Kim Lee", Line1: "Am Markt 1", City: "Köln", PostalCode: new("50667"), Country: "DE", Phone: new("+492211234567")}
	want.BillingAddress = &order.PostalAddress{Owner: m.ada.ID, Name: "ada", Line1: "Ring 2", City: "Bonn", Country: "FR", Phone: new("+492281234567")}
	equal(t, "updated", p.Cart, &want)
	c := m.cart(ada, nil)
	equal(t, "as read", []any{c.Email, c.Note, c.ShippingAddress, c.BillingAddress, c.ShippingMethodID},
		[]any{want.Email, want.Note, want.ShippingAddress, want.BillingAddress, want.ShippingMethodID})
	if got := m.rows(t, `SELECT concat(encode(email, 'escape'), encode(shipping_address, 'escape'), encode(billing_address, 'escape'), encode(note, 'escape')) FROM orders.carts`); strings.Contains(got[0], "example") || strings.Contains(got[0], "Markt") || strings.Contains(got[0], "Bonn") || strings.Contains(got[0], "Ring") {
		t.Errorf("in plain: %q", got)
	}

	// What is absent stays, null clears.
	m.done(m.UpdateCart(ada, order.CartUpdateInput{Note: graphql.OmittableOf(new("  ")), ShippingMethodID: graphql.OmittableOf[*id.ID](nil), BillingAddress: graphql.OmittableOf[*order.PostalAddressInput](nil)}))
	want.Note, want.BillingAddress, want.ShippingMethodID = nil, nil, nil
	c = m.cart(ada, nil)
	equal(t, "cleared", []any{c.Email, c.Note, c.ShippingAddress, c.BillingAddress, c.ShippingMethodID},
		[]any{want.Email, want.Note, want.ShippingAddress, want.BillingAddress, want.ShippingMethodID})

	others := id.Owned(id.Address, id.Key{Owner: m.bob.ID, ID: m.bob.AddressBook[0].ID})
	for what, in := range map[string]order.CartUpdateInput{
		"INVALID email, INVALID note": {Email: graphql.OmittableOf(new("nobody")), Note: graphql.OmittableOf(new("a\x00b"))},
		"INVALID note":                {Note: graphql.OmittableOf(new(strings.Repeat("ä", 2001)))},
		"INVALID shippingAddress.city, INVALID shippingAddress.phone": {ShippingAddress: graphql.OmittableOf(&order.PostalAddressInput{Name: "x", Line1: "y", City: " ", Country: "DE", Phone: new("1")})},
		"INVALID billingAddress":       {BillingAddress: graphql.OmittableOf(given), BillingAddressID: &booked},
		"UNAVAILABLE shippingMethodId": {ShippingMethodID: graphql.OmittableOf(new(id.Of(id.ShippingMethod, id.New())))},
	} {
		equal(t, what, m.refused(m.UpdateCart(ada, in)), what)
	}
	for _, who := range []context.Context{ada, as(t.Context(), m.ada.ID, auth.RoleAdmin), m.nobody()} {
		for _, address := range []id.ID{others, id.Owned(id.Address, id.Key{Owner: m.ada.ID, ID: id.New()}), id.Of(id.Product, m.bob.ID)} {
			if _, err := m.UpdateCart(who, order.CartUpdateInput{ShippingAddressID: &address}); !fault.Is(err, fault.NotFound) {
				t.Errorf("address %v: %v", address, err)
			}
		}
	}
	equal(t, "still the same", m.cart(ada, nil).ShippingAddress, want.ShippingAddress)
}

// TestQuote prices a cart to which everything applies, and stores an order of it.
func TestQuote(t *testing.T) {
	t.Parallel()
	for _, included := range []bool{true, false} {
		m := newMarket(t, 3)
		m.config.TaxIncluded = included
		m.Service = order.New(m.config)
		method := m.terms()
		m.discount(order.DiscountCreateInput{Code: "tenth", Kind: order.DiscountPercentage, BasisPoints: new(1000), MinimumSubtotal: new(decimal("10")), CustomerLimit: new(1)})
		ada := m.as(m.ada)
		m.put(ada, nil, 0, 3, 3) // 3 × (1 + 2 + 3) EUR
		q := m.quote(ada, nil)
		equal(t, "what is missing", problems(q.Problems), "MISSING shippingAddress, MISSING shippingMethodId")
		if q.TaxMinor != 0 || q.TotalMinor != 1800 || len(q.Offers) != 0 {
			t.Errorf("without an address: %+v", q)
		}
		m.done(m.UpdateCart(ada, order.CartUpdateInput{ShippingMethodID: graphql.OmittableOf(&method),
			ShippingAddressID: new(id.Owned(id.Address, id.Key{Owner: m.ada.ID, ID: m.ada.AddressBook[0].ID}))}))
		m.done(m.ApplyCartDiscount(ada, order.CartDiscountApplyInput{Code: " Tenth "}))
		q = m.quote(ada, nil)
		// Lines of 3, 6, 9 EUR less a tenth, and 5 EUR for shipping.
		prices := order.Prices{SubtotalMinor: 1800, DiscountMinor: 180, ShippingMinor: 500, TaxMinor: 43 + 86 + 129 + 80, TaxIncluded: true, TotalMinor: 2120,
			Lines: []order.LinePrices{{100, 30, 43, 270}, {200, 60, 86, 540}, {300, 90, 129, 810}},
			Taxes: []order.TaxAmount{{TaxRate: order.TaxRate{Name: "VAT", BasisPoints: 1900}, Minor: 338}}}
		if !included {
			prices.TaxIncluded = false
			for i, tax := range []int64{51, 103, 154} {
				prices.Lines[i].TaxMinor = tax
			}
			prices.TaxMinor, prices.Taxes[0].Minor = 51+103+154+95, 403
			prices.TotalMinor = 2120 + 403
		}
		equal(t, "prices", q.Prices, prices)
		equal(t, "warnings and problems", len(q.Warnings)+len(q.Problems), 0)
		equal(t, "offers", q.Offers, []*order.ShippingOffer{q.Shipping})
		equal(t, "a line", q.Goods[1], order.QuoteLine{LineID: m.cart(ada, nil).Lines[1].ID, ProductID: m.goods[1].Product.ID, VariantID: m.variant(1).Key,
			Quantity: 3, Title: "Mug 1", VariantTitle: new("S"), SKU: new("MUG-1"), ImageURL: new("/pictures/b.svg"), Tax: q.Goods[1].Tax, LinePrices: prices.Lines[1]})
		equal(t, "its tax", q.Goods[1].Tax, &order.TaxRate{Name: "VAT", BasisPoints: 1900})
		if q.Discount == nil || q.Discount.Code != "TENTH" || q.Line(id.New()) != nil || *q.Line(q.Goods[2].LineID) != q.Goods[2] {
			t.Errorf("quote %+v", q)
		}
		m.store(q, m.cart(ada, nil))
	}
}

// store loads an order as the quote has it: the tables check that it adds up.
func (m *market) store(q *order.Quote, c *order.Cart) {
	m.t.Helper()
	d := &order.Draft{Order: order.Order{Owner: c.Owner, ID: id.New(), Number: order.NewNumber(), Status: order.StatusPending, PaymentStatus: order.PaymentUnpaid,
		FulfillmentStatus: order.Unfulfilled, Currency: q.Currency, SubtotalMinor: q.SubtotalMinor, DiscountMinor: q.DiscountMinor, ShippingMinor: q.ShippingMinor,
		TaxMinor: q.TaxMinor, TaxIncluded: q.TaxIncluded, TotalMinor: q.TotalMinor, CreatedAt: day}}
	for i, l := range q.Goods {
		d.Lines = append(d.Lines, order.Line{ID: id.New(), Position: i + 1, ProductID: l.ProductID, VariantID: l.VariantID, Title: l.Title, VariantTitle: l.VariantTitle,
			SKU: l.SKU, ImageURL: l.ImageURL, Quantity: l.Quantity, UnitPriceMinor: l.UnitPriceMinor, DiscountMinor: l.DiscountMinor, TaxMinor: l.TaxMinor, TotalMinor: l.TotalMinor})
	}
	m.load(m.t, d)
}

// edit runs a statement beside the catalogue's service.
func (m *market) edit(sql string, args ...any) {
	m.t.Helper()
	_, err := postgres.Exec(m.t.Context(), m.dbs.Products, postgres.Stmt{Name: "test", SQL: sql}, args...)
	m.must(err)
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 6)
	method := m.terms()
	twelve := m.discount(order.DiscountCreateInput{Code: "OFF12", Kind: order.DiscountFixed, Amount: new(decimal("12")), MinimumSubtotal: new(decimal("40")), EndsAt: new(day.Add(time.Hour))})
	p := m.put(m.nobody(), nil, 0, 6, 3)
	token, line := p.Token, func(n int) *id.ID { return new(p.Cart.Lines[n].GlobalID()) }
	m.done(m.UpdateCart(m.nobody(), order.CartUpdateInput{Token: token, Email: graphql.OmittableOf(new("kim@example.com")), ShippingMethodID: graphql.OmittableOf(&method),
		ShippingAddress: graphql.OmittableOf(&order.PostalAddressInput{Name: "Kim", Line1: "x", City: "y", Country: "DE"})}))
	m.done(m.ApplyCartDiscount(m.nobody(), order.CartDiscountApplyInput{Token: token, Code: "off12"}))
	q := m.quote(m.nobody(), token)
	equal(t, "at first", []any{len(q.Warnings), problems(q.Problems), q.SubtotalMinor, q.DiscountMinor, q.TotalMinor}, []any{0, "", int64(6300), int64(1200), int64(5600)})

	m.edit("UPDATE products.variants SET price = 150 WHERE id = $1", m.variant(0).Key)
	m.edit("UPDATE products.products SET status = 'ARCHIVED' WHERE id = $1", m.goods[1].Product.ID)
	m.edit("UPDATE products.products SET status = 'DRAFT' WHERE id = $1", m.goods[2].Product.ID)
	m.edit("UPDATE products.stock SET on_hand = 2 WHERE variant_id = $1", m.variant(3).Key)
	m.edit("DELETE FROM products.stock WHERE variant_id = $1", m.variant(4).Key)
	m.edit("UPDATE products.variants SET currency = 'USD' WHERE id = $1", m.variant(5).Key)
	m.done(m.UpdateCart(m.nobody(), order.CartUpdateInput{Token: token,
		ShippingAddress: graphql.OmittableOf(&order.PostalAddressInput{Name: "Kim", Line1: "x", City: "y", Country: "FR"})}))
	want := []*order.CartWarning{
		{Code: order.WarnPriceChanged, Message: "the price of Mug 0 has changed", LineID: line(0), OldPrice: new(money.New(100, "EUR")), NewPrice: new(money.New(150, "EUR"))},
		{Code: order.WarnUnavailable, Message: "this can not be had any more", LineID: line(1)},
		{Code: order.WarnUnavailable, Message: "this can not be had any more", LineID: line(2)},
		{Code: order.WarnShortStock, Message: "there is less of Mug 3 than is wanted", LineID: line(3), Available: new(2)},
		{Code: order.WarnShortStock, Message: "there is less of Mug 4 than is wanted", LineID: line(4), Available: new(0)},
		{Code: order.WarnUnavailable, Message: "this can not be had any more", LineID: line(5)},
		{Code: order.WarnDiscountNotApplicable, Message: "this discount is for goods that are worth at least 40.00 EUR"},
		{Code: order.WarnShippingNotAvailable, Message: "the shipping method can not be had for this cart"},
	}
	// Staff sees drafts, but they are no more for sale to it.
	for _, who := range []context.Context{m.nobody(), staff(t.Context())} {
		q = m.quote(who, token)
		equal(t, "warnings", q.Warnings, want)
		equal(t, "problems", problems(q.Problems), "UNAVAILABLE lines.1, UNAVAILABLE lines.2, OUT_OF_STOCK lines.3, OUT_OF_STOCK lines.4, UNAVAILABLE lines.5, "+
			"NOT_APPLICABLE discount, UNAVAILABLE shippingMethodId")
		if len(q.Goods) != 3 || q.SubtotalMinor != 3*(150+400+500) || q.DiscountMinor != 0 || q.ShippingMinor != 0 || q.TotalMinor != 3150 || q.Discount != nil || q.Shipping != nil {
			t.Errorf("quote %+v", q)
		}
	}
	// With more goods it is enough; and a price counts as seen once its line is set.
	m.edit("UPDATE products.products SET status = 'ACTIVE'")
	m.edit("UPDATE products.stock SET on_hand = 3 WHERE variant_id = $1", m.variant(3).Key)
	m.edit("INSERT INTO products.stock (variant_id, on_hand) VALUES ($1, 3)", m.variant(4).Key)
	m.done(m.UpdateCartLines(m.nobody(), order.CartLinesUpdateInput{Token: token, Lines: []order.CartLineUpdateInput{{*line(0), 3}, {*line(5), 0}}}))
	q = m.quote(m.nobody(), token)
	equal(t, "seen", []any{len(q.Warnings), q.Warnings[0].Code, q.DiscountMinor}, []any{1, order.WarnShippingNotAvailable, int64(1200)})

	// Discounts end, are used up, are taken back.
	m.later(time.Hour)
	q = m.quote(m.nobody(), token)
	equal(t, "ended", q.Warnings[0].Message, "this discount has ended")
	_, err := m.UpdateDiscount(m.manager(), order.DiscountUpdateInput{DiscountID: twelve.GlobalID(), EndsAt: graphql.OmittableOf[*time.Time](nil), StartsAt: graphql.OmittableOf(new(day.Add(2 * time.Hour)))})
	m.must(err)
	equal(t, "not yet", m.quote(m.nobody(), token).Warnings[0].Message, "this discount is not given yet")
	_, err = m.DeactivateDiscount(m.manager(), order.DiscountDeactivateInput{DiscountID: twelve.GlobalID()})
	m.must(err)
	equal(t, "taken back", m.quote(m.nobody(), token).Warnings[0].Message, "this discount is not given any more")
	m.done(m.RemoveCartDiscount(m.nobody(), order.CartDiscountRemoveInput{Token: token}))
	equal(t, "removed", len(m.quote(m.nobody(), token).Warnings), 1)

	_, err = m.DeactivateShippingMethod(m.manager(), order.ShippingMethodDeactivateInput{ShippingMethodID: method})
	m.must(err)
	equal(t, "no shipping", m.quote(m.nobody(), token).Warnings[0].Code, order.WarnShippingNotAvailable)
}

// TestFiftyAddAtOnce adds to one cart, which there is not yet, from many connections: no line and no quantity is lost.
func TestFiftyAddAtOnce(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 5)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			in := order.CartLinesAddInput{Lines: []order.CartLineInput{{m.variant(i % 5), 1}, {m.variant((i + 1) % 5), 2}}}
			if p, err := m.AddCartLines(m.as(m.ada), in); err != nil || len(p.UserErrors) > 0 {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
	wg.Wait()
	equal(t, "all of it", m.holds(m.cart(m.as(m.ada), nil)), map[int]int{0: 30, 1: 30, 2: 30, 3: 30, 4: 30})
	equal(t, "carts", m.rows(t, "SELECT count(*)::text FROM orders.carts"), []string{"1"})
}

func TestMerge(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 101)
	method := m.terms()
	off := m.discount(order.DiscountCreateInput{Code: "OFF", Kind: order.DiscountFreeShipping})
	guest := m.put(m.nobody(), nil, 0, 3, 4)
	m.done(m.UpdateCart(m.nobody(), order.CartUpdateInput{Token: guest.Token, Email: graphql.OmittableOf(new("kim@example.com")), Note: graphql.OmittableOf(new("Ring twice.")),
		ShippingMethodID: graphql.OmittableOf(&method), ShippingAddress: graphql.OmittableOf(&order.PostalAddressInput{Name: "Kim", Line1: "x", City: "y", Country: "DE"})}))
	m.done(m.ApplyCartDiscount(m.nobody(), order.CartDiscountApplyInput{Token: guest.Token, Code: "OFF"}))
	ada := m.as(m.ada)
	m.put(ada, nil, 2, 4, 9997)
	m.done(m.UpdateCart(ada, order.CartUpdateInput{Note: graphql.OmittableOf(new("Do not ring."))}))

	if _, err := m.MergeCart(m.nobody(), order.CartMergeInput{Token: *guest.Token}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("as nobody: %v", err)
	}
	if _, err := m.MergeCart(ada, order.CartMergeInput{Token: strings.Repeat("A", 43)}); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown token: %v", err)
	}
	for range 2 { // again it changes nothing
		p := m.done(m.MergeCart(ada, order.CartMergeInput{Token: *guest.Token}))
		equal(t, "merged", m.holds(p.Cart), map[int]int{0: 4, 1: 4, 2: 9999, 3: 9997})
		equal(t, "what it says", []any{*p.Cart.Email, *p.Cart.Note, p.Cart.ShippingAddress.City, *p.Cart.ShippingMethodID, *p.Cart.DiscountID, p.Token == nil, p.Cart.Borne()},
			[]any{"kim@example.com", "Do not ring.", "y", method.Key, off.ID, true, false})
		p.Cart.ShippingAddress = nil
		equal(t, "as read", m.holds(m.cart(ada, nil)), m.holds(p.Cart))
	}
	own := m.cart(ada, nil)
	old := m.cart(m.nobody(), guest.Token)
	if old.Status != order.CartMerged || *old.MergedOwnerID != m.ada.ID || *old.MergedCartID != own.ID || len(old.Lines) > 0 || old.Email != nil || old.Note != nil || old.ShippingAddress != nil {
		t.Errorf("the old cart: %+v", old)
	}
	equal(t, "adding to it", m.refused(m.AddCartLines(m.nobody(), order.CartLinesAddInput{Token: guest.Token, Lines: []order.CartLineInput{{m.variant(0), 1}}})), "CART_CLOSED")
	if _, err := m.MergeCart(m.as(m.bob), order.CartMergeInput{Token: *guest.Token}); !fault.Is(err, fault.NotFound) {
		t.Errorf("into another one's: %v", err)
	}
	equal(t, "nothing was made for it", len(m.rows(t, "SELECT id::text FROM orders.carts")), 2)

	// More lines than a cart has: nothing is lost, nothing is done.
	many := m.put(m.nobody(), nil, 2, 101, 1)
	equal(t, "too many lines", m.refused(m.MergeCart(ada, order.CartMergeInput{Token: *many.Token})), "TOO_MANY")
	equal(t, "still there", len(m.cart(m.nobody(), many.Token).Lines), 99)
	equal(t, "still the same", len(m.cart(ada, nil).Lines), 4)

	// Into no cart at all, and neither into nor out of one that is being ordered.
	bob := m.done(m.MergeCart(m.as(m.bob), order.CartMergeInput{Token: *many.Token}))
	equal(t, "into a new one", []any{len(bob.Cart.Lines), bob.Cart.Owner, bob.Cart.Guest}, []any{99, m.bob.ID, false})
	third := m.put(m.nobody(), nil, 0, 1, 1)
	for _, key := range []id.Key{own.Key(), third.Cart.Key()} {
		m.set(key, order.CartOpen, order.CartPlacing, new(id.New()))
		equal(t, "while it is being ordered", m.refused(m.MergeCart(ada, order.CartMergeInput{Token: *third.Token})), "CART_CLOSED")
		m.set(key, order.CartPlacing, order.CartOpen, nil)
	}
	m.set(third.Cart.Key(), order.CartOpen, order.CartPlacing, new(id.New()))
	m.set(third.Cart.Key(), order.CartPlacing, order.CartOrdered, nil)
	equal(t, "once it was ordered", m.refused(m.MergeCart(ada, order.CartMergeInput{Token: *third.Token})), "CART_CLOSED")
}

func (m *market) set(key id.Key, from, to order.CartStatus, orderID *uuid.UUID) {
	m.t.Helper()
	if ok, err := m.SetCartStatus(m.t.Context(), key, from, to, orderID); !ok || err != nil {
		m.t.Errorf("%s → %s: %t, %v", from, to, ok, err)
	}
}

// TestTwoMergeAtOnce merges one cart of 60 lines many times at once, for one user and for two: it goes into one cart, once.
func TestTwoMergeAtOnce(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 60)
	for round := range 8 {
		m.later(time.Minute)
		guest := m.put(m.nobody(), nil, 0, 60, 2)
		people := []*user.Account{m.ada, m.ada}
		if round%2 == 1 {
			people = []*user.Account{m.ada, m.bob, m.bob, m.ada}
		}
		before := map[*user.Account]int{}
		for _, who := range people {
			if c := m.cart(m.as(who), nil); c != nil {
				before[who] = c.ItemCount()
			}
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for _, who := range people {
			wg.Go(func() {
				p, err := m.MergeCart(m.as(who), order.CartMergeInput{Token: *guest.Token})
				switch {
				case fault.Is(err, fault.NotFound):
				case err != nil || p.Cart == nil || len(p.Cart.Lines) != 60:
					t.Errorf("%+v, %v", p, err)
				default:
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != int32(len(people)/(1+round%2)) {
			t.Errorf("round %d: %d of %d have it", round, won.Load(), len(people))
		}
		got := 0
		for _, who := range []*user.Account{m.ada, m.bob} {
			if c := m.cart(m.as(who), nil); c != nil && slices.Contains(people, who) {
				got += c.ItemCount() - before[who]
				m.holds(c)
			}
		}
		equal(t, "what has come", got, 120)
		equal(t, "what is left", len(m.cart(m.nobody(), guest.Token).Lines), 0)
	}
}

// TestMergeWhileAdding merges a cart while others add to it and to the one that it goes into. Whatever an add was
// answered with holds: what was taken is there, what was refused is not.
func TestMergeWhileAdding(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 10)
	for range 6 {
		guest := m.put(m.nobody(), nil, 0, 10, 1)
		before := 0
		if c := m.cart(m.as(m.ada), nil); c != nil {
			before = c.ItemCount()
		}
		var added, toGuest atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				who, token := m.as(m.ada), (*string)(nil)
				if i%2 == 0 {
					who, token = m.nobody(), guest.Token
				}
				p, err := m.AddCartLines(who, order.CartLinesAddInput{Token: token, Lines: []order.CartLineInput{{m.variant(i % 10), 3}}})
				switch {
				case err != nil || p.Cart == nil && (token == nil || problems(p.UserErrors) != "CART_CLOSED"):
					t.Errorf("%+v, %v", p, err)
				case p.Cart != nil:
					added.Add(3)
					if token != nil {
						toGuest.Add(3)
					}
				}
			})
			if i == 10 {
				wg.Go(func() {
					if p, err := m.MergeCart(m.as(m.ada), order.CartMergeInput{Token: *guest.Token}); err != nil || p.Cart == nil {
						t.Errorf("%+v, %v", p, err)
					}
				})
			}
		}
		wg.Wait()
		c := m.cart(m.as(m.ada), nil)
		equal(t, "all that was taken", c.ItemCount(), before+10+int(added.Load()))
		equal(t, "lines", len(m.holds(c)), 10)
		equal(t, "left behind", len(m.cart(m.nobody(), guest.Token).Lines), 0)
	}
}

func TestCartStatus(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 2)
	ada, placed := m.as(m.ada), id.New()
	c := m.put(ada, nil, 0, 1, 1).Cart
	if ok, err := m.SetCartStatus(t.Context(), c.Key(), order.CartPlacing, order.CartOrdered, &placed); ok || err != nil {
		t.Errorf("from a status that it is not in: %t, %v", ok, err)
	}
	m.set(c.Key(), order.CartOpen, order.CartPlacing, &placed)
	now := m.cart(ada, nil)
	equal(t, "while placing", []any{now.Status, *now.OrderID, now.ID}, []any{order.CartPlacing, placed, c.ID})
	line := c.Lines[0].GlobalID()
	for what, p := range map[string]string{
		"add":      m.refused(m.AddCartLines(ada, order.CartLinesAddInput{Lines: []order.CartLineInput{{m.variant(1), 1}}})),
		"update":   m.refused(m.UpdateCartLines(ada, order.CartLinesUpdateInput{Lines: []order.CartLineUpdateInput{{line, 2}}})),
		"remove":   m.refused(m.RemoveCartLines(ada, order.CartLinesRemoveInput{LineIDs: []id.ID{line}})),
		"note":     m.refused(m.UpdateCart(ada, order.CartUpdateInput{Note: graphql.OmittableOf(new("x"))})),
		"discount": m.refused(m.RemoveCartDiscount(ada, order.CartDiscountRemoveInput{})),
	} {
		equal(t, what+" while placing", p, "CART_CLOSED")
	}
	m.set(c.Key(), order.CartPlacing, order.CartOpen, nil)
	m.put(ada, nil, 1, 2, 1)
	m.set(c.Key(), order.CartOpen, order.CartPlacing, &placed)
	m.set(c.Key(), order.CartPlacing, order.CartOrdered, nil)
	if m.cart(ada, nil) != nil {
		t.Error("an ordered cart is still the one that is filled")
	}
	key, lines, err := m.CartForOrder(ada, c.Key())
	if err != nil || len(lines) != 2 || key.Status != order.CartOrdered || *key.OrderID != placed {
		t.Errorf("ordered: %+v, %v, %v", key, lines, err)
	}
	if _, _, err := m.CartForOrder(ada, id.Key{Owner: m.ada.ID, ID: id.New()}); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown cart: %v", err)
	}
	fresh := m.put(ada, nil, 0, 1, 1).Cart
	equal(t, "a new one", []any{fresh.ID != c.ID, m.holds(fresh)}, []any{true, map[int]int{0: 1}})

	guest := m.put(m.nobody(), nil, 0, 1, 1)
	m.done(m.UpdateCart(m.nobody(), order.CartUpdateInput{Token: guest.Token, Email: graphql.OmittableOf(new("kim@example.com")), Note: graphql.OmittableOf(new("Ring twice."))}))
	m.set(guest.Cart.Key(), order.CartOpen, order.CartPlacing, &placed)
	m.set(guest.Cart.Key(), order.CartPlacing, order.CartOrdered, nil)
	found, ok, err := m.FindCart(m.nobody(), guest.Token)
	if !ok || err != nil || found != guest.Cart.Key() || m.cart(m.nobody(), guest.Token).Status != order.CartOrdered {
		t.Errorf("by token: %v, %t, %v", found, ok, err)
	}
	equal(t, "what it said about its buyer", personal(m.cart(m.nobody(), guest.Token)), []any{(*string)(nil), (*string)(nil), (*order.PostalAddress)(nil), (*order.PostalAddress)(nil)})
	equal(t, "adding to what was ordered", m.refused(m.AddCartLines(m.nobody(), order.CartLinesAddInput{Token: guest.Token, Lines: []order.CartLineInput{{m.variant(0), 1}}})), "CART_CLOSED")
}

// TestForgetOwner closes the cart of a deleted account, unless it is being ordered.
func TestForgetOwner(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 2)
	m.must(m.ForgetOwner(t.Context(), m.ada.ID)) // there is none
	for _, who := range []*user.Account{m.ada, m.bob} {
		m.put(m.as(who), nil, 0, 2, 1)
		m.done(m.UpdateCart(m.as(who), order.CartUpdateInput{Email: graphql.OmittableOf(new("kim@example.com")), Note: graphql.OmittableOf(new("Ring twice.")),
			ShippingAddressID: new(who.AddressBook[0].GlobalID())}))
	}
	key := m.cart(m.as(m.ada), nil).Key()
	m.set(key, order.CartOpen, order.CartPlacing, new(id.New()))
	if err := m.ForgetOwner(t.Context(), m.ada.ID); !fault.Is(err, fault.InProgress) {
		t.Errorf("while it is being ordered: %v", err)
	}
	m.set(key, order.CartPlacing, order.CartOpen, nil)
	for range 2 { // again it changes nothing
		m.must(m.ForgetOwner(t.Context(), m.ada.ID))
		equal(t, "carts", m.rows(t, "SELECT concat_ws(' ', status, num_nonnulls(email, note, shipping_address), (SELECT count(*) FROM orders.cart_lines l WHERE l.cart_id = c.id)) FROM orders.carts c ORDER BY 1"),
			[]string{"ABANDONED 0 0", "OPEN 3 2"})
	}
	if m.cart(m.as(m.ada), nil) != nil || m.cart(m.as(m.bob), nil) == nil {
		t.Error("another cart was closed")
	}
}

func TestAbandonCarts(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 1)
	var tokens []*string
	for range 5 {
		p := m.put(m.nobody(), nil, 0, 1, 1)
		m.done(m.UpdateCart(m.nobody(), order.CartUpdateInput{Token: p.Token, Email: graphql.OmittableOf(new("kim@example.com"))}))
		tokens = append(tokens, p.Token)
	}
	m.set(m.cart(m.nobody(), tokens[4]).Key(), order.CartOpen, order.CartPlacing, new(id.New()))
	m.later(time.Hour)
	m.put(m.nobody(), tokens[0], 0, 1, 1)
	m.put(m.as(m.ada), nil, 0, 1, 1)
	for _, want := range []int{2, 1, 0} {
		if n, err := m.AbandonCarts(t.Context(), day.Add(time.Minute), 2); n != want || err != nil {
			t.Errorf("%d were abandoned, want %d: %v", n, want, err)
		}
	}
	for i, token := range tokens {
		if c := m.cart(m.nobody(), token); (c != nil) != (i == 0 || i == 4) {
			t.Errorf("cart %d is %+v", i, c)
		}
	}
	equal(t, "carts", m.rows(t, "SELECT concat_ws(' ', status, count(*), count(email)) FROM orders.carts GROUP BY status ORDER BY status"),
		[]string{"ABANDONED 3 0", "OPEN 2 1", "PLACING 1 1"})
	equal(t, "lines and tokens", m.rows(t, "SELECT concat_ws(' ', (SELECT count(*) FROM orders.cart_lines), (SELECT count(*) FROM orders.cart_tokens))"), []string{"3 2"})
}
