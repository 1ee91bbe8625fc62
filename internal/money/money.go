// Package money holds amounts as integers of minor units with an ISO 4217 currency, and turns them into decimal
// strings at the border. There is no float anywhere.
package money

import (
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/shopspring/decimal"
	"golang.org/x/text/currency"

	"emporium/internal/fault"
)

// Currency is an ISO 4217 code in capitals.
type Currency string

// newer are the codes of ISO 4217 that are younger than the table of x/text.
var newer = []string{"MRU", "SLE", "UYW", "VED", "VES", "XCG", "ZWG"}

// ParseCurrency accepts an ISO 4217 code in capitals, of a currency in use or of one that was withdrawn.
func ParseCurrency(code string) (Currency, error) {
	unit, err := currency.ParseISO(code)
	if (err != nil || unit.String() != code) && !slices.Contains(newer, code) {
		return "", fault.Newf(fault.BadUserInput, "%.10q is not an ISO 4217 currency code", code)
	}
	return Currency(code), nil
}

// Exponent returns how many decimals the currency has: 2 for EUR, 0 for JPY, 3 for KWD. It is the minor unit of ISO
// 4217, by which payment providers count too; CLDR's differ from it where small coins went out of use.
func (c Currency) Exponent() int32 {
	switch c {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF",
		"ADP", "BEF", "BYB", "BYR", "ESP", "GRD", "ITL", "LUF", "MGF", "PTE", "TPE", "TRL": // withdrawn
		return 0
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3
	case "CLF", "UYW":
		return 4
	default:
		return 2
	}
}

// MarshalGQL writes the code as a JSON string.
func (c Currency) MarshalGQL(w io.Writer) { _, _ = w.Write(c.AppendGQL(nil)) }

// AppendGQL appends the code as a JSON string.
func (c Currency) AppendGQL(b []byte) []byte { return strconv.AppendQuote(b, string(c)) }

// UnmarshalGQL reads a code strictly.
func (c *Currency) UnmarshalGQL(v any) error {
	text, ok := v.(string)
	if !ok {
		return fault.Newf(fault.BadUserInput, "a Currency is a string, not %T", v)
	}
	parsed, err := ParseCurrency(text)
	*c = parsed
	return err
}

// Money is an amount of minor units (cents for EUR, yen for JPY) in one currency.
type Money struct {
	Minor    int64
	Currency Currency
}

// New returns minor units of a currency.
func New(minor int64, c Currency) Money { return Money{Minor: minor, Currency: c} }

// Amount returns the amount in the main unit, with as many decimals as the currency has.
func (m Money) Amount() Decimal {
	return Decimal{minor: m.Minor, places: m.Currency.Exponent()}
}

// String returns the amount and the code, for example "19.90 EUR".
func (m Money) String() string { return m.Amount().String() + " " + string(m.Currency) }

// Parse reads an amount in the main unit exactly: more decimals than the currency has are refused, never rounded.
func Parse(amount string, c Currency) (Money, error) {
	d, err := ParseDecimal(amount)
	if err != nil {
		return Money{}, err
	}
	minor, err := d.Minor(c)
	return Money{Minor: minor, Currency: c}, err
}

// Decimal is an exact decimal number. The zero Decimal is 0.
type Decimal struct {
	minor  int64            // the number is minor / 10^places …
	parsed *decimal.Decimal // … or this, which may have more digits
	places int32            // decimals to write
}

var decimalForm = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,6})?$`)

// ParseDecimal accepts an optional sign, up to 18 digits without leading zeros, and up to 6 decimals.
func ParseDecimal(text string) (Decimal, error) {
	if len(text) > 26 || !decimalForm.MatchString(text) {
		return Decimal{}, fault.Newf(fault.BadUserInput, "%.30q is not a decimal number like \"19.90\"", text)
	}
	d, err := decimal.NewFromString(text)
	if err != nil {
		return Decimal{}, fault.Wrap(fault.BadUserInput, err, "not a decimal number")
	}
	return Decimal{parsed: &d, places: -d.Exponent()}, nil
}

// Minor returns the number as minor units of the currency. More decimals than the currency has, other than zeros, and
// numbers beyond 64 bits are refused.
func (d Decimal) Minor(c Currency) (int64, error) {
	number := decimal.New(d.minor, -d.places)
	if d.parsed != nil {
		number = *d.parsed
	}
	shifted := number.Shift(c.Exponent())
	if !shifted.IsInteger() {
		return 0, fault.Newf(fault.BadUserInput, "%s has more decimals than %s has", d, c)
	}
	if shifted.Abs().GreaterThan(decimal.NewFromInt(math.MaxInt64)) {
		return 0, fault.Newf(fault.BadUserInput, "%s is too large", d)
	}
	return shifted.IntPart(), nil
}

// String returns the number with its decimals.
func (d Decimal) String() string { return string(d.appendText(nil)) }

func (d Decimal) appendText(b []byte) []byte {
	if d.parsed != nil {
		return append(b, d.parsed.StringFixed(max(d.places, 0))...)
	}
	if d.minor < 0 {
		b = append(b, '-')
	}
	var room [20]byte
	digits := strconv.AppendUint(room[:0], magnitude(d.minor), 10)
	whole := len(digits) - int(d.places)
	if whole <= 0 {
		b = append(b, '0')
	} else {
		b = append(b, digits[:whole]...)
	}
	if d.places == 0 {
		return b
	}
	b = append(b, '.')
	for ; whole < 0; whole++ {
		b = append(b, '0')
	}
	return append(b, digits[whole:]...)
}

// magnitude is the absolute value, which of the smallest number is no int64.
func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// MarshalGQL writes the number as a JSON string.
func (d Decimal) MarshalGQL(w io.Writer) { _, _ = w.Write(d.AppendGQL(nil)) }

// AppendGQL appends the number as a JSON string.
func (d Decimal) AppendGQL(b []byte) []byte { return append(d.appendText(append(b, '"')), '"') }

// MarshalJSON writes the number as a string, so that what holds one can be told from what holds another.
func (d Decimal) MarshalJSON() ([]byte, error) { return d.AppendGQL(nil), nil }

// UnmarshalGQL reads the number from a string; JSON numbers are refused, because a float may have lost digits on its
// way here.
func (d *Decimal) UnmarshalGQL(v any) error {
	text, ok := v.(string)
	if !ok {
		return fault.Newf(fault.BadUserInput, "a Decimal is a string like \"19.90\", not %T", v)
	}
	parsed, err := ParseDecimal(text)
	*d = parsed
	return err
}

// Range is a span of amounts in the main unit; both ends are optional and inclusive.
type Range struct {
	Min *Decimal
	Max *Decimal
}

// Minor returns both ends as minor units of the currency, and refuses an empty span.
func (r Range) Minor(c Currency) (from, to *int64, err error) {
	for _, end := range []struct {
		in  *Decimal
		out **int64
	}{{r.Min, &from}, {r.Max, &to}} {
		if end.in == nil {
			continue
		}
		minor, err := end.in.Minor(c)
		if err != nil {
			return nil, nil, err
		}
		*end.out = &minor
	}
	if from != nil && to != nil && *from > *to {
		return nil, nil, fault.Newf(fault.BadUserInput, "the range ends (%s) before it begins (%s)", r.Max, r.Min)
	}
	return from, to, nil
}
