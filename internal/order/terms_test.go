package order_test

import (
	"context"
	"errors"
	"slices"
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
	"emporium/internal/page"
)

// withDiscount is a quote in which the discount counts.
func withDiscount(d *order.Discount) *order.Quote { return &order.Quote{Discount: d} }

// state is what a discount says and what the redemptions say.
func (m *market) state() string {
	m.t.Helper()
	return m.rows(m.t, `SELECT concat_ws(' ', (SELECT sum(used) FROM orders.discounts), (SELECT count(*) FROM orders.discount_redemptions))`)[0]
}

// TestDiscountIsUsedUp wants a discount more often than it is given, at once: nobody gets one too many.
func TestDiscountIsUsedUp(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 0)
	q := withDiscount(m.discount(order.DiscountCreateInput{Code: "TEN", Kind: order.DiscountFreeShipping, UsageLimit: new(10)}))
	orders := make([]uuid.UUID, 40)
	var got atomic.Int32
	var mu sync.Mutex
	var winners []uuid.UUID
	var wg sync.WaitGroup
	for i := range orders {
		orders[i] = id.New()
		wg.Go(func() {
			problem, err := m.Redeem(t.Context(), q, id.New(), orders[i])
			switch {
			case err != nil:
				t.Error(err)
			case problem == nil:
				got.Add(1)
				mu.Lock()
				defer mu.Unlock()
				winners = append(winners, orders[i])
			case problem.Code != fault.ProblemNotApplicable || !slices.Equal(problem.Field, []string{"discount"}) || problem.Message != "this discount is used up":
				t.Errorf("%+v", problem)
			}
		})
	}
	wg.Wait()
	equal(t, "used", []any{got.Load(), m.state()}, []any{int32(10), "10 10"})

	// The same order again takes nothing; what is given back, many times at once, is given back once.
	for range 4 {
		wg.Go(func() {
			if problem, err := m.Redeem(t.Context(), q, id.New(), winners[0]); problem != nil || err != nil {
				t.Errorf("again: %+v, %v", problem, err)
			}
		})
		wg.Go(func() {
			for _, o := range []uuid.UUID{winners[1], winners[2], id.New()} {
				if err := m.Unredeem(t.Context(), o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	equal(t, "given back", m.state(), "8 8")
	for i, want := range []bool{true, true, false} {
		if problem, err := m.Redeem(t.Context(), q, id.New(), id.New()); (problem == nil) != want || err != nil {
			t.Errorf("taking the %dth of what was given back: %+v, %v", i+1, problem, err)
		}
	}
	if problem, err := m.Redeem(t.Context(), &order.Quote{}, id.New(), id.New()); problem != nil || err != nil {
		t.Errorf("no discount: %+v, %v", problem, err)
	}
	equal(t, "in the end", m.state(), "10 10")
}

// TestCustomerUsesADiscountUp orders many times at once with a discount that one customer gets twice.
func TestCustomerUsesADiscountUp(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 1)
	d := m.discount(order.DiscountCreateInput{Code: "TWICE", Kind: order.DiscountPercentage, BasisPoints: new(500), CustomerLimit: new(2)})
	q := withDiscount(d)
	var got [2]atomic.Int32
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			problem, err := m.Redeem(t.Context(), q, []uuid.UUID{m.ada.ID, m.bob.ID}[i%2], id.New())
			if problem == nil {
				got[i%2].Add(1)
			}
			if err != nil || problem != nil && problem.Message != "you have used this discount as often as you may" {
				t.Errorf("%+v, %v", problem, err)
			}
		})
	}
	wg.Wait()
	equal(t, "used", []any{got[0].Load(), got[1].Load(), m.state()}, []any{int32(2), int32(2), "4 4"})
	// So says the cart, before it comes to that.
	m.put(m.as(m.ada), nil, 0, 1, 1)
	equal(t, "applied", m.refused(m.ApplyCartDiscount(m.as(m.ada), order.CartDiscountApplyInput{Code: "TWICE"})), "NOT_APPLICABLE code")
}

// TestDiscountEndsWhileItIsRedeemed wants a discount by quotes of before.
func TestDiscountEndsWhileItIsRedeemed(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 1)
	d := m.discount(order.DiscountCreateInput{Code: "ENDS", Kind: order.DiscountFreeShipping, StartsAt: new(day), EndsAt: new(day.Add(time.Hour))})
	m.put(m.as(m.ada), nil, 0, 1, 1)
	m.done(m.ApplyCartDiscount(m.as(m.ada), order.CartDiscountApplyInput{Code: "ends"}))
	q := m.quote(m.as(m.ada), nil)
	if q.Discount == nil || q.Discount.ID != d.ID {
		t.Fatalf("quote %+v", q)
	}
	first := id.New()
	if problem, err := m.Redeem(t.Context(), q, m.ada.ID, first); problem != nil || err != nil {
		t.Errorf("%+v, %v", problem, err)
	}
	m.later(time.Hour)
	if problem, err := m.Redeem(t.Context(), q, m.ada.ID, first); problem != nil || err != nil {
		t.Errorf("what was redeemed in time: %+v, %v", problem, err)
	}
	problem, err := m.Redeem(t.Context(), q, m.ada.ID, id.New())
	if err != nil || problem == nil || problem.Message != "this discount has ended" {
		t.Errorf("%+v, %v", problem, err)
	}
	equal(t, "an unknown code", m.refused(m.ApplyCartDiscount(m.as(m.ada), order.CartDiscountApplyInput{Code: "nothing"})), "NOT_APPLICABLE code")
	equal(t, "used", m.state(), "1 1")
}

func TestDiscounts(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 0)
	d := m.discount(order.DiscountCreateInput{Code: " Summer-24 ", Kind: order.DiscountFixed, Amount: new(decimal("7.50")), MinimumSubtotal: new(decimal("50")),
		StartsAt: new(day), EndsAt: new(day.Add(time.Hour)), UsageLimit: new(100), CustomerLimit: new(2)})
	equal(t, "made", *d, order.Discount{ID: d.ID, Code: "SUMMER-24", Kind: order.DiscountFixed, AmountMinor: new(int64(750)), Currency: "EUR", MinimumSubtotalMinor: 5000,
		StartsAt: new(day), EndsAt: new(day.Add(time.Hour)), UsageLimit: new(100), CustomerLimit: new(2), Active: true, CreatedAt: d.CreatedAt})
	equal(t, "amounts", []string{d.Amount().String(), d.MinimumSubtotal().String()}, []string{"7.50 EUR", "50.00 EUR"})
	p, err := m.UpdateDiscount(m.manager(), order.DiscountUpdateInput{DiscountID: d.GlobalID(), Amount: new(decimal("8")), UsageLimit: graphql.OmittableOf[*int](nil),
		MinimumSubtotal: graphql.OmittableOf[*money.Decimal](nil), EndsAt: graphql.OmittableOf[*time.Time](nil), Active: new(false)})
	m.must(err)
	want := *d
	want.AmountMinor, want.UsageLimit, want.MinimumSubtotalMinor, want.EndsAt, want.Active = new(int64(800)), nil, 0, nil, false
	equal(t, "updated", p.Discount, &want)
	second := m.discount(order.DiscountCreateInput{Code: "HALF", Kind: order.DiscountPercentage, BasisPoints: new(5000)})
	list, err := m.Discounts(staff(t.Context()), page.Args{First: new(5)})
	m.must(err)
	equal(t, "listed", list.Nodes(), []*order.Discount{second, &want})
	list, err = m.Discounts(staff(t.Context()), page.Args{First: new(5), After: list.PageInfo.StartCursor()})
	m.must(err)
	equal(t, "the second page", list.Nodes(), []*order.Discount{&want})

	for what, in := range map[string]order.DiscountCreateInput{
		"INVALID code":                              {Code: "x", Kind: order.DiscountFreeShipping},
		"TAKEN code":                                {Code: "half", Kind: order.DiscountFreeShipping},
		"INVALID basisPoints":                       {Code: "BAD", Kind: order.DiscountPercentage, BasisPoints: new(10001)},
		"INVALID basisPoints, INVALID amount":       {Code: "BAD", Kind: order.DiscountPercentage, Amount: new(decimal("1"))},
		"INVALID amount":                            {Code: "BAD", Kind: order.DiscountFixed, Amount: new(decimal("0"))},
		"INVALID minimumSubtotal":                   {Code: "BAD", Kind: order.DiscountFreeShipping, MinimumSubtotal: new(decimal("1.001"))},
		"INVALID endsAt":                            {Code: "BAD", Kind: order.DiscountFreeShipping, StartsAt: new(day), EndsAt: new(day)},
		"INVALID usageLimit, INVALID customerLimit": {Code: "BAD", Kind: order.DiscountFreeShipping, UsageLimit: new(0), CustomerLimit: new(-1)},
	} {
		p, err := m.CreateDiscount(m.manager(), in)
		if err != nil || p.Discount != nil || problems(p.UserErrors) != what {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
	p, err = m.UpdateDiscount(m.manager(), order.DiscountUpdateInput{DiscountID: second.GlobalID(), Amount: new(decimal("1")), Active: new(false)})
	if err != nil || p.Discount != nil || problems(p.UserErrors) != "INVALID amount" {
		t.Errorf("another kind: %+v, %v", p, err)
	}
	for _, unknown := range []id.ID{id.Of(id.Discount, id.New()), id.Of(id.ShippingMethod, second.ID)} {
		if _, err := m.UpdateDiscount(m.manager(), order.DiscountUpdateInput{DiscountID: unknown}); !fault.Is(err, fault.NotFound) {
			t.Errorf("an unknown discount: %v", err)
		}
	}
	equal(t, "discounts", m.rows(t, "SELECT code || ' ' || active FROM orders.discounts ORDER BY code"), []string{"HALF true", "SUMMER-24 false"})
}

func TestShippingMethods(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 3)
	parcel := m.terms()
	create := func(in order.ShippingMethodCreateInput) *order.ShippingMethod {
		t.Helper()
		p, err := m.CreateShippingMethod(m.manager(), in)
		if err != nil || p.ShippingMethod == nil {
			t.Fatalf("%+v, %v", p, err)
		}
		return p.ShippingMethod
	}
	world := create(order.ShippingMethodCreateInput{Name: " World ", Description: new("Takes a while."), Position: 1, Rates: []order.ShippingRateInput{{Price: decimal("20")}}})
	express := create(order.ShippingMethodCreateInput{Name: "Express", Countries: []string{"FR", "DE", "FR"}, Position: 2,
		Rates: []order.ShippingRateInput{{FromSubtotal: decimal("2"), ToSubtotal: new(decimal("6")), Price: decimal("9.99")}}})
	equal(t, "made", []order.ShippingMethod{*world, *express}, []order.ShippingMethod{
		{ID: world.ID, Name: "World", Description: new("Takes a while."), Countries: []string{}, Currency: "EUR", Position: 1, Active: true, Rates: []order.ShippingRate{{"EUR", 0, nil, 2000}}},
		{ID: express.ID, Name: "Express", Countries: []string{"DE", "FR"}, Currency: "EUR", Position: 2, Active: true, Rates: []order.ShippingRate{{"EUR", 200, new(int64(600)), 999}}}})
	all, err := m.ShippingMethods(staff(t.Context()))
	m.must(err)
	equal(t, "listed", all[1:], []*order.ShippingMethod{world, express})
	equal(t, "by subtotal", all[0].Rates, []order.ShippingRate{{"EUR", 0, new(int64(10000)), 500}, {"EUR", 10000, nil, 0}})

	// What is offered where, and for how much.
	offers := func(token *string) (got []string) {
		for _, o := range m.quote(m.nobody(), token).Offers {
			got = append(got, o.Name+" "+o.Price().String())
		}
		return got
	}
	token := m.put(m.nobody(), nil, 0, 1, 1).Token // 1 EUR
	to := func(country string) {
		m.done(m.UpdateCart(m.nobody(), order.CartUpdateInput{Token: token, ShippingAddress: graphql.OmittableOf(&order.PostalAddressInput{Name: "x", Line1: "x", City: "x", Country: country})}))
	}
	equal(t, "nowhere yet", offers(token), []string{"World 20.00 EUR"})
	to("DE")
	equal(t, "to Germany", offers(token), []string{"Parcel 5.00 EUR", "World 20.00 EUR"})
	m.put(m.nobody(), token, 0, 1, 2) // 3 EUR
	equal(t, "for more", offers(token), []string{"Parcel 5.00 EUR", "World 20.00 EUR", "Express 9.99 EUR"})
	to("FR")
	equal(t, "to France", offers(token), []string{"World 20.00 EUR", "Express 9.99 EUR"})
	to("DE")
	m.put(m.nobody(), token, 0, 1, 100)
	equal(t, "free", offers(token), []string{"Parcel 0.00 EUR", "World 20.00 EUR"})
	m.discount(order.DiscountCreateInput{Code: "FIVE", Kind: order.DiscountFixed, Amount: new(decimal("5"))})
	m.discount(order.DiscountCreateInput{Code: "SHIP", Kind: order.DiscountFreeShipping})
	m.done(m.ApplyCartDiscount(m.nobody(), order.CartDiscountApplyInput{Token: token, Code: "FIVE"}))
	equal(t, "by what they cost after discounts", offers(token), []string{"Parcel 5.00 EUR", "World 20.00 EUR"})
	m.done(m.ApplyCartDiscount(m.nobody(), order.CartDiscountApplyInput{Token: token, Code: "SHIP"}))
	equal(t, "free of charge", offers(token), []string{"Parcel 0.00 EUR", "World 0.00 EUR"})

	p, err := m.UpdateShippingMethod(m.manager(), order.ShippingMethodUpdateInput{ShippingMethodID: express.GlobalID(), Name: new("Courier"), Description: graphql.OmittableOf(new("Fast.")), Position: new(0),
		Countries: []string{}, Rates: []order.ShippingRateInput{{Price: decimal("0")}}})
	m.must(err)
	express.Name, express.Description, express.Position, express.Countries, express.Rates = "Courier", new("Fast."), 0, []string{}, []order.ShippingRate{{"EUR", 0, nil, 0}}
	equal(t, "updated", p.ShippingMethod, express)
	_, err = m.DeactivateShippingMethod(m.manager(), order.ShippingMethodDeactivateInput{ShippingMethodID: parcel})
	m.must(err)
	equal(t, "without one", offers(token), []string{"Courier 0.00 EUR", "World 0.00 EUR"})

	rate := func(from string, to *string) order.ShippingRateInput {
		r := order.ShippingRateInput{FromSubtotal: decimal(from), Price: decimal("1")}
		if to != nil {
			r.ToSubtotal = new(decimal(*to))
		}
		return r
	}
	for what, in := range map[string]order.ShippingMethodCreateInput{
		"INVALID name":                 {Name: " ", Rates: []order.ShippingRateInput{rate("0", nil)}},
		"INVALID countries":            {Name: "x", Countries: []string{"de"}, Rates: []order.ShippingRateInput{rate("0", nil)}},
		"INVALID position":             {Name: "x", Position: -1, Rates: []order.ShippingRateInput{rate("0", nil)}},
		"INVALID rates":                {Name: "x", Rates: []order.ShippingRateInput{rate("10", nil), rate("0", new("10.01"))}},
		"INVALID rates.0.toSubtotal":   {Name: "x", Rates: []order.ShippingRateInput{rate("10", new("10"))}},
		"INVALID rates.0.fromSubtotal": {Name: "x", Rates: []order.ShippingRateInput{rate("-1", nil)}},
	} {
		p, err := m.CreateShippingMethod(m.manager(), in)
		if err != nil || p.ShippingMethod != nil || problems(p.UserErrors) != what {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
	p, err = m.UpdateShippingMethod(m.manager(), order.ShippingMethodUpdateInput{ShippingMethodID: world.GlobalID(), Rates: []order.ShippingRateInput{}})
	if err != nil || problems(p.UserErrors) != "INVALID rates" {
		t.Errorf("no rates: %+v, %v", p, err)
	}
	if _, err := m.UpdateShippingMethod(m.manager(), order.ShippingMethodUpdateInput{ShippingMethodID: id.Of(id.ShippingMethod, id.New())}); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown method: %v", err)
	}
	equal(t, "methods", len(m.rows(t, "SELECT name FROM orders.shipping_methods")), 3)
}

// flat is a rule of a shop's own.
type flat struct{ err error }

func (f flat) Tax(_ context.Context, q order.TaxQuery) (order.TaxRates, error) {
	rates := order.TaxRates{Lines: make([]*order.TaxRate, len(q.Lines))}
	rates.Lines[0] = &order.TaxRate{Name: "Tax of " + q.Country, BasisPoints: 1000}
	return rates, f.err
}

func TestTaxes(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 2)
	m.terms()
	set := func(in order.TaxRateSetInput) *order.TaxRatePayload {
		t.Helper()
		p, err := m.SetTaxRate(m.manager(), in)
		m.must(err)
		return p
	}
	set(order.TaxRateSetInput{Country: "FR", Name: "TVA", BasisPoints: 5})
	equal(t, "set", set(order.TaxRateSetInput{Country: "FR", Name: " TVA ", BasisPoints: 2000}).TaxRate, &order.CountryTax{Country: "FR", Name: "TVA", BasisPoints: 2000})
	all, err := m.TaxRates(staff(t.Context()))
	m.must(err)
	equal(t, "listed", all, []*order.CountryTax{{Country: "DE", Name: "VAT", BasisPoints: 1900, AppliesToShipping: true}, {Country: "FR", Name: "TVA", BasisPoints: 2000}})
	equal(t, "wrong", problems(set(order.TaxRateSetInput{Country: "fr", Name: " ", BasisPoints: 10001}).UserErrors), "INVALID country, INVALID name, INVALID basisPoints")

	token := m.put(m.nobody(), nil, 0, 2, 1).Token
	taxes := func(country string) []order.TaxAmount {
		t.Helper()
		m.done(m.UpdateCart(m.nobody(), order.CartUpdateInput{Token: token, ShippingAddress: graphql.OmittableOf(&order.PostalAddressInput{Name: "x", Line1: "x", City: "x", Country: country})}))
		return m.quote(m.nobody(), token).Taxes
	}
	equal(t, "in France", taxes("FR"), []order.TaxAmount{{TaxRate: order.TaxRate{Name: "TVA", BasisPoints: 2000}, Minor: 17 + 33}})
	equal(t, "where there is none", len(taxes("US")), 0)
	m.config.TaxRule = flat{}
	m.Service = order.New(m.config)
	equal(t, "by another rule", taxes("US"), []order.TaxAmount{{TaxRate: order.TaxRate{Name: "Tax of US", BasisPoints: 1000}, Minor: 9}})
	m.config.TaxRule = flat{errors.New("does not answer")}
	m.Service = order.New(m.config)
	if q, err := m.Quote(m.nobody(), m.cart(m.nobody(), token)); q != nil || err == nil {
		t.Errorf("a rule that fails: %+v, %v", q, err)
	}
}

// TestTermsAreStaffs asks for every verb of staff as everybody.
func TestTermsAreStaffs(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 0)
	method := m.terms()
	d := m.discount(order.DiscountCreateInput{Code: "OFF", Kind: order.DiscountFreeShipping})
	before := m.rows(t, "SELECT concat_ws(' ', (SELECT string_agg(d::text, '') FROM orders.discounts d), (SELECT string_agg(s::text, '') FROM orders.shipping_methods s), (SELECT string_agg(x::text, '') FROM orders.tax_rates x))")
	writes := map[string]func(context.Context) error{
		"create": func(ctx context.Context) error {
			return second(m.CreateDiscount(ctx, order.DiscountCreateInput{Code: "NEW", Kind: order.DiscountFreeShipping}))
		},
		"update": func(ctx context.Context) error {
			return second(m.UpdateDiscount(ctx, order.DiscountUpdateInput{DiscountID: d.GlobalID(), Active: new(false)}))
		},
		"end": func(ctx context.Context) error {
			return second(m.DeactivateDiscount(ctx, order.DiscountDeactivateInput{DiscountID: d.GlobalID()}))
		},
		"method": func(ctx context.Context) error {
			return second(m.CreateShippingMethod(ctx, order.ShippingMethodCreateInput{Name: "x", Rates: []order.ShippingRateInput{{}}}))
		},
		"change": func(ctx context.Context) error {
			return second(m.UpdateShippingMethod(ctx, order.ShippingMethodUpdateInput{ShippingMethodID: method, Name: new("x")}))
		},
		"stop": func(ctx context.Context) error {
			return second(m.DeactivateShippingMethod(ctx, order.ShippingMethodDeactivateInput{ShippingMethodID: method}))
		},
		"tax": func(ctx context.Context) error {
			return second(m.SetTaxRate(ctx, order.TaxRateSetInput{Country: "DE", Name: "x"}))
		},
	}
	reads := map[string]func(context.Context) error{
		"discounts": func(ctx context.Context) error { return second(m.Discounts(ctx, page.Args{First: new(1)})) },
		"methods":   func(ctx context.Context) error { return second(m.ShippingMethods(ctx)) },
		"taxes":     func(ctx context.Context) error { return second(m.TaxRates(ctx)) },
	}
	for _, c := range []struct {
		who         context.Context
		read, write fault.Code
	}{
		{m.nobody(), fault.Unauthenticated, fault.Unauthenticated},
		{m.as(m.ada), fault.Forbidden, fault.Forbidden},
		{as(t.Context(), id.New(), auth.RoleService), fault.Forbidden, fault.Forbidden},
		{staff(t.Context()), "", fault.Forbidden},
	} {
		for what, verb := range writes {
			if err := verb(c.who); !fault.Is(err, c.write) {
				t.Errorf("%s: %v, want %s", what, err, c.write)
			}
		}
		for what, verb := range reads {
			if err := verb(c.who); c.read == "" && err != nil || c.read != "" && !fault.Is(err, c.read) {
				t.Errorf("%s: %v, want %s", what, err, c.read)
			}
		}
	}
	equal(t, "nothing was written", m.rows(t, "SELECT concat_ws(' ', (SELECT string_agg(d::text, '') FROM orders.discounts d), (SELECT string_agg(s::text, '') FROM orders.shipping_methods s), (SELECT string_agg(x::text, '') FROM orders.tax_rates x))"), before)
}

func TestLoadTerms(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 0)
	terms := order.Terms{
		ShippingMethods: []order.ShippingMethod{{ID: id.New(), Name: "Parcel", Countries: []string{"DE"}, Currency: "EUR", Active: true, Rates: []order.ShippingRate{{Currency: "EUR", PriceMinor: 500}}}},
		Discounts:       []order.Discount{{ID: id.New(), Code: "OFF", Kind: order.DiscountFreeShipping, Currency: "EUR", Active: true}},
		Taxes:           []order.CountryTax{{Country: "DE", Name: "VAT", BasisPoints: 1900}},
	}
	m.must(m.LoadTerms(t.Context(), terms))
	_, err := m.UpdateShippingMethod(m.manager(), order.ShippingMethodUpdateInput{ShippingMethodID: terms.ShippingMethods[0].GlobalID(), Rates: []order.ShippingRateInput{{FromSubtotal: decimal("9"), Price: decimal("1")}}})
	m.must(err)
	_, err = m.DeactivateDiscount(m.manager(), order.DiscountDeactivateInput{DiscountID: terms.Discounts[0].GlobalID()})
	m.must(err)
	_, err = m.SetTaxRate(m.manager(), order.TaxRateSetInput{Country: "DE", Name: "Less", BasisPoints: 1})
	m.must(err)
	m.must(m.LoadTerms(t.Context(), terms))
	equal(t, "what was changed stays", m.rows(t, `SELECT concat_ws(' ', (SELECT string_agg(concat(from_subtotal, ':', price), ' ') FROM orders.shipping_rates),
		(SELECT string_agg(code || active, ' ') FROM orders.discounts), (SELECT string_agg(name, ' ') FROM orders.tax_rates))`), []string{"900:100 OFFfalse Less"})
	terms.Discounts[0].ID, terms.Discounts[0].Code = id.New(), "not a code"
	terms.Taxes = []order.CountryTax{{Country: "FR", Name: "TVA"}}
	if err := m.LoadTerms(t.Context(), terms); err == nil {
		t.Error("a wrong code was loaded")
	}
	equal(t, "all or nothing", m.rows(t, "SELECT country FROM orders.tax_rates"), []string{"DE"})
}
