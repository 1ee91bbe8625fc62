package order

import (
	"cmp"
	"math/bits"
	"slices"

	"emporium/internal/fault"
)

// maxSubtotal is the most that the goods of an order are worth, in minor units: with it no sum leaves an int64.
const maxSubtotal = 1_000_000_000_000_000

// wholeRate is 100 % in basis points.
const wholeRate = 10_000

// PricingInput is what a price is made of. Amounts are minor units of one currency.
type PricingInput struct {
	Lines         []PricingLine
	Discount      *DiscountTerms
	ShippingMinor int64    // before the discount
	ShippingTax   *TaxRate // nil: none
	TaxIncluded   bool     // prices include the tax; otherwise it comes on top
}

// PricingLine is a line to be priced.
type PricingLine struct {
	UnitPriceMinor int64
	Quantity       int
	Tax            *TaxRate // nil: none
}

// Prices are what a cart costs. They add up as orders do: TotalMinor is SubtotalMinor less DiscountMinor, with
// ShippingMinor and, unless prices include it, TaxMinor.
type Prices struct {
	Lines         []LinePrices // as they were given
	SubtotalMinor int64
	DiscountMinor int64
	ShippingMinor int64
	TaxMinor      int64
	TaxIncluded   bool
	TotalMinor    int64
	Taxes         []TaxAmount // in the order in which they first apply, the shipping last; add up to TaxMinor
}

// LinePrices are what a line costs. TotalMinor is the unit price times the quantity, less DiscountMinor.
type LinePrices struct {
	UnitPriceMinor int64
	DiscountMinor  int64
	TaxMinor       int64
	TotalMinor     int64
}

// TaxAmount is what a tax comes to.
type TaxAmount struct {
	TaxRate
	Minor int64
}

// price works out what a cart costs. It is exact: a discount is spread over the lines by what they are worth, so that
// its parts add up to it (largest remainder), and a tax is rounded half to even once for each line and once for the
// shipping.
//
// Goods that are worth more than an order can be get BadUserInput.
func price(in PricingInput) (Prices, error) {
	p := Prices{Lines: make([]LinePrices, len(in.Lines)), ShippingMinor: in.ShippingMinor, TaxIncluded: in.TaxIncluded}
	worth := make([]int64, len(in.Lines))
	for i, l := range in.Lines {
		high, low := bits.Mul64(uint64(l.UnitPriceMinor), uint64(l.Quantity))
		if high != 0 || low > uint64(maxSubtotal-p.SubtotalMinor) {
			return Prices{}, fault.New(fault.BadUserInput, "this is worth more than one order can be")
		}
		worth[i] = int64(low)
		p.SubtotalMinor += worth[i]
	}
	p.DiscountMinor = in.Discount.of(p.SubtotalMinor)
	if in.Discount != nil && in.Discount.Kind == DiscountFreeShipping {
		p.ShippingMinor = 0
	}
	tax := func(of int64, rate *TaxRate) int64 {
		if rate == nil {
			return 0
		}
		t := taxOf(of, int64(rate.BasisPoints), in.TaxIncluded)
		p.TaxMinor += t
		for i := range p.Taxes {
			if p.Taxes[i].TaxRate == *rate {
				p.Taxes[i].Minor += t
				return t
			}
		}
		p.Taxes = append(p.Taxes, TaxAmount{*rate, t})
		return t
	}
	for i, part := range spread(p.DiscountMinor, worth) {
		total := worth[i] - part
		p.Lines[i] = LinePrices{UnitPriceMinor: in.Lines[i].UnitPriceMinor, DiscountMinor: part,
			TaxMinor: tax(total, in.Lines[i].Tax), TotalMinor: total}
	}
	tax(p.ShippingMinor, in.ShippingTax)
	p.TotalMinor = p.SubtotalMinor - p.DiscountMinor + p.ShippingMinor
	if !p.TaxIncluded {
		p.TotalMinor += p.TaxMinor
	}
	return p, nil
}

// taxOf returns the tax in an amount, or on top of it.
func taxOf(amount, basisPoints int64, included bool) int64 {
	if included {
		return mulDiv(amount, basisPoints, wholeRate+basisPoints)
	}
	return mulDiv(amount, basisPoints, wholeRate)
}

// spread divides an amount into parts that stand to each other as the weights do, add up to it, and are none greater
// than its weight. The amount is at most the sum of the weights. What rounding down leaves goes, one by one, to the parts
// that lost most by it, of equals to the first.
func spread(amount int64, weights []int64) []int64 {
	var sum, given int64
	for _, w := range weights {
		sum += w
	}
	parts, lost := make([]int64, len(weights)), make([]uint64, len(weights))
	if amount == 0 {
		return parts
	}
	most := make([]int, len(weights))
	for i, w := range weights {
		high, low := bits.Mul64(uint64(amount), uint64(w))
		part, rest := bits.Div64(high, low, uint64(sum))
		parts[i], lost[i], most[i] = int64(part), rest, i
		given += parts[i]
	}
	slices.SortStableFunc(most, func(a, b int) int { return cmp.Compare(lost[b], lost[a]) })
	for _, i := range most[:amount-given] {
		parts[i]++
	}
	return parts
}

// mulDiv returns a × b ÷ c, rounded half to even, where b is at most c.
func mulDiv(a, b, c int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	quotient, rest := bits.Div64(high, low, uint64(c))
	if twice := 2 * rest; twice > uint64(c) || twice == uint64(c) && quotient%2 == 1 {
		quotient++
	}
	return int64(quotient)
}
