package money_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"emporium/internal/fault"
	"emporium/internal/money"
)

func TestCurrency(t *testing.T) {
	t.Parallel()
	for code, exponent := range map[string]int32{
		"EUR": 2, "USD": 2, "CHF": 2, "GBP": 2, "HUF": 2,
		"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "XOF": 0, "VND": 0,
		"KWD": 3, "BHD": 3, "TND": 3,
		"CLF": 4,
		// Where CLDR has another exponent than ISO 4217, or none.
		"RSD": 2, "COP": 2, "IDR": 2, "PKR": 2, "MUR": 2, "TZS": 2, "ALL": 2, "IQD": 3, "MGA": 2, "MRU": 2, "VES": 2, "UYW": 4,
		"DEM": 2, "ITL": 0, // of old orders
	} {
		c, err := money.ParseCurrency(code)
		if err != nil || string(c) != code {
			t.Errorf("ParseCurrency(%q) = %q, %v", code, c, err)
		}
		if c.Exponent() != exponent {
			t.Errorf("%s has %d decimals, want %d", code, c.Exponent(), exponent)
		}
	}
	for _, code := range []string{"", "eur", "Eur", "EU", "EURO", "€", "978", " EUR", "EUR ", "EUR\n", "QQQ", "\x00\x00\x00", strings.Repeat("EUR", 1000)} {
		c, err := money.ParseCurrency(code)
		if !fault.Is(err, fault.BadUserInput) || c != "" {
			t.Errorf("ParseCurrency(%.20q) = %q, %v; want BAD_USER_INPUT", code, c, err)
		} else if len(err.Error()) > 100 {
			t.Errorf("ParseCurrency repeats %d bytes in its error", len(err.Error()))
		}
	}
}

func TestParseIsExact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		amount   string
		currency money.Currency
		minor    int64
		written  string // by Money
	}{
		{"0", "EUR", 0, "0.00 EUR"},
		{"-0", "EUR", 0, "0.00 EUR"},
		{"-0.00", "EUR", 0, "0.00 EUR"},
		{"0.01", "EUR", 1, "0.01 EUR"},
		{"-0.01", "EUR", -1, "-0.01 EUR"},
		{"19.9", "EUR", 1990, "19.90 EUR"},
		{"19.90", "EUR", 1990, "19.90 EUR"},
		{"19.900000", "EUR", 1990, "19.90 EUR"},
		{"-19.99", "EUR", -1999, "-19.99 EUR"},
		{"0.1", "EUR", 10, "0.10 EUR"},
		{"1.1", "EUR", 110, "1.10 EUR"},                                         // as a float 110.00000000000001
		{"90071992547409.93", "EUR", 9007199254740993, "90071992547409.93 EUR"}, // 2⁵³+1
		{"1990", "JPY", 1990, "1990 JPY"},
		{"1990.00", "JPY", 1990, "1990 JPY"},
		{"-1", "JPY", -1, "-1 JPY"},
		{"1.5", "KWD", 1500, "1.500 KWD"},
		{"1.234", "KWD", 1234, "1.234 KWD"},
		{"0.001", "KWD", 1, "0.001 KWD"},
		{"1.2345", "CLF", 12345, "1.2345 CLF"},
		{"999999999999999999", "JPY", 999999999999999999, "999999999999999999 JPY"},
		{"92233720368547758.07", "EUR", math.MaxInt64, "92233720368547758.07 EUR"},
		{"-92233720368547758.07", "EUR", -math.MaxInt64, "-92233720368547758.07 EUR"},
		{"9223372036854775.807", "KWD", math.MaxInt64, "9223372036854775.807 KWD"},
	} {
		m, err := money.Parse(c.amount, c.currency)
		if err != nil || m != money.New(c.minor, c.currency) {
			t.Errorf("Parse(%q, %s) = %+v, %v; want %d", c.amount, c.currency, m, err, c.minor)
		}
		if m.String() != c.written {
			t.Errorf("Parse(%q, %s) is written %q, want %q", c.amount, c.currency, m, c.written)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		amount   string
		currency money.Currency
	}{
		{"", "EUR"}, {"-", "EUR"}, {".", "EUR"}, {"1.", "EUR"}, {".5", "EUR"}, {"-.5", "EUR"}, {"-1.", "EUR"},
		{"+1", "EUR"}, {"--1", "EUR"}, {"1-", "EUR"}, {"−1", "EUR"},
		{"01", "EUR"}, {"00", "EUR"}, {"-01.00", "EUR"}, {"007", "JPY"},
		{"1e2", "EUR"}, {"1E2", "EUR"}, {"1e-2", "EUR"}, {"1e1000000000", "EUR"}, {"0e0", "JPY"},
		{"0x10", "EUR"}, {"1_000", "EUR"}, {"1,000", "EUR"}, {"1.000,00", "EUR"}, {"1'000", "CHF"}, {"1 000", "EUR"},
		{"NaN", "EUR"}, {"nan", "EUR"}, {"Inf", "EUR"}, {"-Infinity", "EUR"}, {"null", "EUR"}, {"ten", "EUR"},
		{" 1", "EUR"}, {"1 ", "EUR"}, {"1\n", "EUR"}, {"\t1", "EUR"}, {"1.00 EUR", "EUR"}, {"€1", "EUR"},
		{"١", "EUR"}, {"１", "EUR"},
		{"1.2.3", "EUR"}, {"1.0000000", "EUR"},
		{"1000000000000000000", "JPY"}, {"-1000000000000000000", "JPY"}, {strings.Repeat("9", 100_000), "JPY"},
		{"0." + strings.Repeat("0", 100_000), "EUR"},
		// More decimals than the currency has are never rounded.
		{"0.001", "EUR"}, {"19.999", "EUR"}, {"-19.905", "EUR"}, {"0.5", "JPY"}, {"1990.01", "JPY"}, {"1.2345", "KWD"},
		// Beyond 64 bits. The smallest of them, -2⁶³, has no opposite.
		{"92233720368547758.08", "EUR"}, {"-92233720368547758.08", "EUR"}, {"999999999999999999", "EUR"},
		{"9223372036854775.808", "KWD"}, {"999999999999999999.999999", "CLF"},
	} {
		m, err := money.Parse(c.amount, c.currency)
		if !fault.Is(err, fault.BadUserInput) || m.Minor != 0 {
			t.Errorf("Parse(%.40q, %s) = %+v, %v; want BAD_USER_INPUT", c.amount, c.currency, m, err)
		} else if len(err.Error()) > 200 {
			t.Errorf("Parse(%.40q, %s) repeats %d bytes in its error", c.amount, c.currency, len(err.Error()))
		}
	}
}

func TestAmountAtTheBounds(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]money.Money{
		"-92233720368547758.08 EUR": money.New(math.MinInt64, "EUR"),
		"-9223372036854775808 JPY":  money.New(math.MinInt64, "JPY"),
		"9223372036854775.807 KWD":  money.New(math.MaxInt64, "KWD"),
		"-0.001 KWD":                money.New(-1, "KWD"),
		"0.00 EUR":                  money.New(0, "EUR"),
		"0 JPY":                     money.New(0, "JPY"),
	} {
		if m.String() != want {
			t.Errorf("%d of %s is %q, want %q", m.Minor, m.Currency, m, want)
		}
	}
}

// FuzzParse holds Parse against math/big.
func FuzzParse(f *testing.F) {
	for _, amount := range []string{"19.90", "-0.01", "1990", "1.234", "1e2", "+1", "01", "92233720368547758.07",
		"92233720368547758.08", "999999999999999999", "NaN", " 1", ""} {
		f.Add(amount, int64(1990))
	}
	f.Add("0", int64(math.MinInt64))
	currencies := map[money.Currency]int64{"JPY": 1, "EUR": 100, "KWD": 1000, "CLF": 10000}
	f.Fuzz(func(t *testing.T, amount string, minor int64) {
		for c, factor := range currencies {
			m, err := money.Parse(amount, c)
			if err == nil {
				exact, ok := new(big.Rat).SetString(amount)
				if !ok || exact.Cmp(big.NewRat(m.Minor, factor)) != 0 {
					t.Errorf("Parse(%q, %s) = %d, which is not it", amount, c, m.Minor)
				}
				if again, err := money.Parse(m.Amount().String(), c); err != nil || again != m {
					t.Errorf("Parse(%q, %s) is written %s, which is read as %s, %v", amount, c, m, again, err)
				}
			} else if !fault.Is(err, fault.BadUserInput) {
				t.Errorf("Parse(%q, %s) fails with %v, want BAD_USER_INPUT", amount, c, err)
			}

			// What is written is exact, and what is not longer than ParseDecimal takes comes back.
			written := money.New(minor, c).Amount().String()
			if exact, ok := new(big.Rat).SetString(written); !ok || exact.Cmp(big.NewRat(minor, factor)) != 0 {
				t.Errorf("%d of %s is written %q", minor, c, written)
			}
			if minor > -1e18 && minor < 1e18 {
				if m, err := money.Parse(written, c); err != nil || m.Minor != minor {
					t.Errorf("%d of %s is written %q, which is read as %d, %v", minor, c, written, m.Minor, err)
				}
			}
		}
	})
}

func TestDecimalKeepsItsPlaces(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "-0.0": "0.0", "7": "7", "7.0": "7.0", "-7.10": "-7.10", "0.000001": "0.000001",
		"999999999999999999.999999": "999999999999999999.999999",
	} {
		d, err := money.ParseDecimal(in)
		if err != nil || d.String() != want {
			t.Errorf("ParseDecimal(%q) = %s, %v; want %s", in, d, err, want)
		}
	}
	if zero := (money.Decimal{}).String(); zero != "0" {
		t.Errorf("the zero Decimal is %q", zero)
	}
}

func TestGraphQL(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	money.New(-1990, "EUR").Amount().MarshalGQL(&out)
	out.WriteByte(' ')
	money.Currency("EUR").MarshalGQL(&out)
	if out.String() != `"-19.90" "EUR"` {
		t.Errorf("written %s", &out)
	}

	var d money.Decimal
	if err := d.UnmarshalGQL("19.90"); err != nil || d.String() != "19.90" {
		t.Errorf("a Decimal is read as %s, %v", d, err)
	}
	var c money.Currency
	if err := c.UnmarshalGQL("KWD"); err != nil || c != "KWD" {
		t.Errorf("a Currency is read as %s, %v", c, err)
	}
	// A number may have lost digits on its way here; what it says is no excuse.
	for _, v := range []any{nil, 19, int64(19), 19.9, json.Number("19.90"), true, []any{"19.90"}, map[string]any{}, "19,90", "EURO"} {
		var d money.Decimal
		if err := d.UnmarshalGQL(v); !fault.Is(err, fault.BadUserInput) || d.String() != "0" {
			t.Errorf("the Decimal %#v is read as %s, %v; want BAD_USER_INPUT", v, d, err)
		} else if !strings.Contains(err.Error(), `like "19.90"`) {
			t.Errorf("the error for the Decimal %#v does not show what is expected: %v", v, err)
		}
		var c money.Currency
		if err := c.UnmarshalGQL(v); !fault.Is(err, fault.BadUserInput) || c != "" {
			t.Errorf("the Currency %#v is read as %s, %v; want BAD_USER_INPUT", v, c, err)
		}
	}
}

func TestRange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		min, max string // "": open
		currency money.Currency
		want     string // "from..to", or the beginning of the error
	}{
		{"", "", "EUR", "nil..nil"},
		{"10", "", "EUR", "1000..nil"},
		{"", "19.90", "EUR", "nil..1990"},
		{"10", "19.90", "EUR", "1000..1990"},
		{"10", "10.00", "EUR", "1000..1000"},
		{"-1", "1", "JPY", "-1..1"},
		{"1.5", "2", "KWD", "1500..2000"},
		{"20", "10", "EUR", "the range ends (10) before it begins (20)"},
		{"-1", "-2", "EUR", "the range ends (-2) before it begins (-1)"},
		{"0.001", "", "EUR", "0.001 has more decimals than EUR has"},
		{"", "0.5", "JPY", "0.5 has more decimals than JPY has"},
		{"1", "999999999999999999", "EUR", "999999999999999999 is too large"},
	} {
		var r money.Range
		for _, end := range []struct {
			text string
			out  **money.Decimal
		}{{c.min, &r.Min}, {c.max, &r.Max}} {
			if end.text == "" {
				continue
			}
			d, err := money.ParseDecimal(end.text)
			if err != nil {
				t.Fatal(err)
			}
			*end.out = &d
		}
		from, to, err := r.Minor(c.currency)
		got := text(from) + ".." + text(to)
		if err != nil {
			if !fault.Is(err, fault.BadUserInput) || from != nil || to != nil {
				t.Errorf("%+v: %s, %v; want BAD_USER_INPUT alone", c, got, err)
			}
			var public *fault.Error
			if errors.As(err, &public) {
				got = public.Message
			}
		}
		if got != c.want {
			t.Errorf("from %q to %q of %s: %s; want %s", c.min, c.max, c.currency, got, c.want)
		}
	}
}

func text(minor *int64) string {
	if minor == nil {
		return "nil"
	}
	return big.NewInt(*minor).String()
}
