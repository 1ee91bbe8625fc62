package money

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/shopspring/decimal"

	"emporium/internal/fault"
)

// of has a currency for each number of decimals.
var of = map[int32]Currency{0: "JPY", 2: "EUR", 3: "KWD", 4: "CLF"}

// minors are the bounds of what is written differently, and numbers of every length.
func minors() []int64 {
	found := []int64{0, math.MinInt64, math.MinInt64 + 1, math.MaxInt64, math.MaxInt64 - 1}
	for power := int64(1); ; power *= 10 {
		for _, n := range []int64{power - 1, power, power + 1} {
			found = append(found, n, -n)
		}
		if power > math.MaxInt64/10 {
			break
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2_000 {
		n := int64(r.Uint64() >> r.IntN(64)) // of all lengths, half of the longest negative
		found = append(found, n, -n)
	}
	return found
}

// TestAppendText holds how amounts are written against a library that knows decimals.
func TestAppendText(t *testing.T) {
	t.Parallel()
	for _, minor := range minors() {
		for places := range int32(10) {
			want := decimal.New(minor, -places).StringFixed(places)
			d := Decimal{minor: minor, places: places}
			if got := string(d.appendText([]byte("x"))); got != "x"+want {
				t.Fatalf("%d with %d decimals is written %q behind an x, want %q", minor, places, got, want)
			}
			if d.String() != want || string(d.AppendGQL(nil)) != `"`+want+`"` {
				t.Fatalf("%d with %d decimals is %s and %s, want %q", minor, places, d, d.AppendGQL(nil), want)
			}
		}
	}
}

// TestDecimalAsJSON is the number as a string, also behind a pointer and however it came.
func TestDecimalAsJSON(t *testing.T) {
	t.Parallel()
	parsed, err := ParseDecimal("30.01")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"a": parsed, "b": &parsed, "c": New(-5, "EUR").Amount(), "d": (*Decimal)(nil)})
	if want := `{"a":"30.01","b":"30.01","c":"-0.05","d":null}`; err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
}

// TestAmountAllocatesNothing but the text itself.
func TestAmountAllocatesNothing(t *testing.T) {
	b := make([]byte, 0, 64)
	m := New(math.MinInt64, "EUR")
	if n := testing.AllocsPerRun(100, func() { b = m.Amount().AppendGQL(b[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAmountComesBack as the minor units that it was made of. The smallest number has no opposite and is refused, as it
// is when it is read from a text.
func TestAmountComesBack(t *testing.T) {
	t.Parallel()
	for _, minor := range minors() {
		for places, currency := range of {
			if currency.Exponent() != places {
				t.Fatalf("%s has %d decimals", currency, currency.Exponent())
			}
			got, err := New(minor, currency).Amount().Minor(currency)
			if minor == math.MinInt64 {
				if got != 0 || !fault.Is(err, fault.BadUserInput) {
					t.Errorf("the smallest of %s came back as %d, %v; want BAD_USER_INPUT", currency, got, err)
				}
			} else if err != nil || got != minor {
				t.Fatalf("%d of %s came back as %d, %v", minor, currency, got, err)
			}
		}
	}
}

// TestAmountInAnotherCurrency is what its text would be.
func TestAmountInAnotherCurrency(t *testing.T) {
	t.Parallel()
	for _, minor := range minors() {
		for _, from := range of {
			amount := New(minor, from).Amount()
			parsed, readable := ParseDecimal(amount.String())
			for _, to := range of {
				got, err := amount.Minor(to)
				if readable != nil {
					continue // more than 18 digits
				}
				want, wantErr := parsed.Minor(to)
				if got != want || fault.CodeOf(err) != fault.CodeOf(wantErr) || (err == nil) != (wantErr == nil) {
					t.Fatalf("%d of %s is %d of %s, %v; as a text %d, %v", minor, from, got, to, err, want, wantErr)
				}
			}
		}
	}
}
