package order_test

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"emporium/internal/fault"
	"emporium/internal/money"
	"emporium/internal/order"
)

// cartOf makes a random cart of a currency whose prices are of a usual size.
func cartOf(r *rand.Rand, c money.Currency) order.PricingInput {
	scale := int64(10_000) // a hundred main units, by thousandths, cents or wholes
	for range c.Exponent() {
		scale *= 10
	}
	rates := []*order.TaxRate{nil, {Name: "VAT", BasisPoints: 1900}, {Name: "VAT", BasisPoints: 700}, {Name: "none", BasisPoints: 0},
		{Name: "odd", BasisPoints: 1 + r.IntN(9999)}, {Name: "all", BasisPoints: 10_000}}
	in := order.PricingInput{TaxIncluded: r.IntN(2) == 0, ShippingMinor: r.Int64N(scale), ShippingTax: rates[r.IntN(len(rates))]}
	for range r.IntN(101) {
		in.Lines = append(in.Lines, order.PricingLine{UnitPriceMinor: r.Int64N(scale) * int64(r.IntN(8)+1) / 8,
			Quantity: 1 + r.IntN([]int{1, 5, 9999}[r.IntN(3)]), Tax: rates[r.IntN(len(rates))]})
	}
	switch r.IntN(4) {
	case 0:
		in.Discount = &order.DiscountTerms{Kind: order.DiscountPercentage, BasisPoints: 1 + r.IntN(10_000)}
	case 1:
		in.Discount = &order.DiscountTerms{Kind: order.DiscountFixed, AmountMinor: 1 + r.Int64N(scale*int64(1+r.IntN(50)))}
	case 2:
		in.Discount = &order.DiscountTerms{Kind: order.DiscountFreeShipping}
	}
	return in
}

// evenly returns n ÷ d rounded half to even, by arithmetic of any size.
func evenly(n, d *big.Int) int64 {
	q, rest := new(big.Int).QuoRem(n, d, new(big.Int))
	switch new(big.Int).Lsh(rest, 1).Cmp(d) {
	case 1:
		return q.Int64() + 1
	case 0:
		return q.Int64() + q.Int64()%2
	}
	return q.Int64()
}

// TestPricesAddUp prices random carts, and wants what the tables of orders want of them, and exact taxes and shares.
func TestPricesAddUp(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 6000 {
		in := cartOf(r, []money.Currency{"JPY", "EUR", "KWD"}[n%3])
		p, err := order.Price(in)
		if err != nil {
			t.Fatalf("%+v: %v", in, err)
		}
		fail := func(what string) { t.Helper(); t.Errorf("%s:\n%+v\n%+v", what, in, p) }
		var subtotal, discounts, taxes int64
		of := map[order.TaxRate]int64{}
		tax := func(rate *order.TaxRate, amount, got int64) {
			want := int64(0)
			if rate != nil {
				per := int64(10_000)
				if in.TaxIncluded {
					per += int64(rate.BasisPoints)
				}
				want = evenly(new(big.Int).Mul(big.NewInt(amount), big.NewInt(int64(rate.BasisPoints))), big.NewInt(per))
				of[*rate] += want
			}
			taxes += want
			if got != want {
				t.Errorf("a tax of %d on %d at %+v is not %d", got, amount, rate, want)
			}
		}
		worth := make([]int64, len(in.Lines))
		for i, l := range p.Lines {
			worth[i] = in.Lines[i].UnitPriceMinor * int64(in.Lines[i].Quantity)
			if l.UnitPriceMinor != in.Lines[i].UnitPriceMinor || l.TotalMinor != worth[i]-l.DiscountMinor ||
				l.DiscountMinor < 0 || l.DiscountMinor > worth[i] || l.TaxMinor < 0 {
				fail("a line does not add up")
			}
			subtotal, discounts = subtotal+worth[i], discounts+l.DiscountMinor
			tax(in.Lines[i].Tax, l.TotalMinor, l.TaxMinor)
		}
		shippingTax := p.TaxMinor - taxes
		tax(in.ShippingTax, p.ShippingMinor, shippingTax)
		total := p.SubtotalMinor - p.DiscountMinor + p.ShippingMinor
		if !in.TaxIncluded {
			total += p.TaxMinor
		}
		if p.SubtotalMinor != subtotal || p.DiscountMinor != discounts || p.TaxMinor != taxes || p.TotalMinor != total ||
			p.DiscountMinor < 0 || p.DiscountMinor > p.SubtotalMinor || p.TaxMinor > p.TotalMinor || p.TotalMinor < 0 || p.TaxIncluded != in.TaxIncluded {
			fail("the whole does not add up")
		}
		listed := int64(0)
		for _, x := range p.Taxes {
			if of[x.TaxRate] != x.Minor {
				fail("a tax is listed wrongly")
			}
			listed += x.Minor
		}
		if listed != p.TaxMinor {
			fail("the taxes do not add up")
		}

		want, shipping := int64(0), in.ShippingMinor
		switch d := in.Discount; {
		case d == nil:
		case d.Kind == order.DiscountPercentage:
			want = evenly(new(big.Int).Mul(big.NewInt(subtotal), big.NewInt(int64(d.BasisPoints))), big.NewInt(10_000))
		case d.Kind == order.DiscountFixed:
			want = min(d.AmountMinor, subtotal)
		default:
			shipping = 0
		}
		if p.DiscountMinor != want || p.ShippingMinor != shipping {
			fail("the discount is wrong")
		}
		// Each part is its exact share rounded down, and one more for those that lost most by that, of equals the first.
		left, shares, lost, most := want, make([]int64, len(worth)), make([]*big.Int, len(worth)), make([]int, len(worth))
		for i, w := range worth {
			share := new(big.Int)
			if lost[i], most[i] = new(big.Int), i; subtotal > 0 {
				share.QuoRem(share.Mul(big.NewInt(want), big.NewInt(w)), big.NewInt(subtotal), lost[i])
			}
			shares[i] = share.Int64()
			left -= shares[i]
		}
		slices.SortStableFunc(most, func(a, b int) int { return lost[b].Cmp(lost[a]) })
		for n, i := range most {
			if int64(n) < left {
				shares[i]++
			}
			if p.Lines[i].DiscountMinor != shares[i] {
				fail("a share is not what it should be")
			}
		}
		again, err := order.Price(in)
		if err != nil || !slices.Equal(again.Lines, p.Lines) {
			fail("another price for the same")
		}
		if t.Failed() {
			return
		}
	}
}

func TestPrices(t *testing.T) {
	t.Parallel()
	line := func(unit int64, quantity int, rate *order.TaxRate) order.PricingLine {
		return order.PricingLine{UnitPriceMinor: unit, Quantity: quantity, Tax: rate}
	}
	vat := &order.TaxRate{Name: "VAT", BasisPoints: 1900}
	half := &order.TaxRate{Name: "half", BasisPoints: 5000}
	for name, c := range map[string]struct {
		in   order.PricingInput
		want []int64 // subtotal, discount, shipping, tax, total
	}{
		"nothing":               {order.PricingInput{TaxIncluded: true}, []int64{0, 0, 0, 0, 0}},
		"nothing, and shipping": {order.PricingInput{ShippingMinor: 490, ShippingTax: vat, TaxIncluded: true}, []int64{0, 0, 490, 78, 490}},
		"included":              {order.PricingInput{Lines: []order.PricingLine{line(1190, 2, vat)}, TaxIncluded: true}, []int64{2380, 0, 0, 380, 2380}},
		"on top":                {order.PricingInput{Lines: []order.PricingLine{line(1000, 2, vat)}}, []int64{2000, 0, 0, 380, 2380}},
		"half to even, down":    {order.PricingInput{Lines: []order.PricingLine{line(1, 1, half)}}, []int64{1, 0, 0, 0, 1}},
		"half to even, up":      {order.PricingInput{Lines: []order.PricingLine{line(3, 1, half)}}, []int64{3, 0, 0, 2, 5}},
		"rounded by line":       {order.PricingInput{Lines: []order.PricingLine{line(1, 1, half), line(1, 1, half)}}, []int64{2, 0, 0, 0, 2}},
		"more off than it is worth": {order.PricingInput{Lines: []order.PricingLine{line(500, 1, vat)}, TaxIncluded: true,
			Discount: &order.DiscountTerms{Kind: order.DiscountFixed, AmountMinor: 900}}, []int64{500, 500, 0, 0, 0}},
		"all off": {order.PricingInput{Lines: []order.PricingLine{line(500, 3, vat)}, ShippingMinor: 100,
			Discount: &order.DiscountTerms{Kind: order.DiscountPercentage, BasisPoints: 10_000}}, []int64{1500, 1500, 100, 0, 100}},
		"free shipping bears no tax": {order.PricingInput{Lines: []order.PricingLine{line(1000, 1, vat)}, ShippingMinor: 490, ShippingTax: vat,
			Discount: &order.DiscountTerms{Kind: order.DiscountFreeShipping}}, []int64{1000, 0, 0, 190, 1190}},
	} {
		p, err := order.Price(c.in)
		if got := []int64{p.SubtotalMinor, p.DiscountMinor, p.ShippingMinor, p.TaxMinor, p.TotalMinor}; err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
	}

	// A cent over three equal lines goes to the first; over unequal ones to the one that lost most.
	share := func(amount int64, worth ...int64) (parts []int64) {
		in := order.PricingInput{Discount: &order.DiscountTerms{Kind: order.DiscountFixed, AmountMinor: amount}}
		for _, w := range worth {
			in.Lines = append(in.Lines, line(w, 1, nil))
		}
		p, err := order.Price(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range p.Lines {
			parts = append(parts, l.DiscountMinor)
		}
		return parts
	}
	equal(t, "of equals the first", share(1, 10, 10, 10), []int64{1, 0, 0})
	equal(t, "two of three", share(2, 10, 10, 10), []int64{1, 1, 0})
	equal(t, "who lost most", share(10, 100, 250, 0, 650), []int64{1, 3, 0, 6})
	equal(t, "huge amounts", share(999_999_999_999_999, 400_000_000_000_000, 600_000_000_000_000), []int64{400_000_000_000_000, 599_999_999_999_999})

	for name, in := range map[string]order.PricingInput{
		"one line":   {Lines: []order.PricingLine{line(1_000_000_000_000, 1001, nil)}},
		"a sum":      {Lines: []order.PricingLine{line(600_000_000_000_000, 1, nil), line(400_000_000_000_001, 1, nil)}},
		"an overrun": {Lines: []order.PricingLine{line(1<<62, 9999, nil)}},
	} {
		if _, err := order.Price(in); !fault.Is(err, fault.BadUserInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
