package stripe

import (
	"fmt"
	"math"
	"slices"

	"emporium/internal/money"
	"emporium/internal/payment/provider"
)

// Stripe's decimals of a currency are ISO's, but for these. Of UGX its documents say both none and two, so it is refused:
// a hundredfold amount would be worse.
var (
	noDecimals    = []money.Currency{"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"}
	threeDecimals = []money.Currency{"BHD", "JOD", "KWD", "OMR", "TND"}
)

// factors say how our minor units become Stripe's: times up, divided by down. Step is what Stripe's are a multiple of. All
// are 0 for currencies that Stripe does not do.
func factors(c money.Currency) (up, down, step int64) {
	switch ours := c.Exponent(); {
	case c == "UGX" || ours > 3:
		return 0, 0, 0
	case slices.Contains(threeDecimals, c):
		return 1, 1, 10
	case ours == 3:
		return 0, 0, 0
	case slices.Contains(noDecimals, c):
		return 1, []int64{1, 10, 100}[ours], 1
	default: // two decimals, even if the second is always 0, as for ISK
		return []int64{100, 10, 1}[ours], 1, []int64{100, 10, 1}[ours]
	}
}

// toStripe refuses what Stripe cannot do.
func toStripe(minor int64, c money.Currency) (int64, error) {
	up, down, step := factors(c)
	if up == 0 {
		return 0, &provider.Error{Code: provider.CodeCurrency, Err: fmt.Errorf("stripe does not take %s", c)}
	}
	if minor < 0 || minor > math.MaxInt64/up || minor%down != 0 || minor*up/down%step != 0 {
		return 0, &provider.Error{Code: provider.CodeCurrency, Err: fmt.Errorf("stripe does not take %s", money.New(minor, c))}
	}
	return minor * up / down, nil
}

// fromStripe is the opposite.
func fromStripe(units int64, c money.Currency) int64 {
	up, down, _ := factors(c)
	if up == 0 {
		return units // what staff does at Stripe's is a fact all the same
	}
	return units * down / up
}
