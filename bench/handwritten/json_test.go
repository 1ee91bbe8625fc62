package handwritten

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/jackc/pgx/v5/pgtype"

	"emporium/graph/scalar"
	"emporium/internal/id"
	"emporium/internal/money"
)

// served returns a value as the GraphQL server writes it.
func served(m graphql.Marshaler) string {
	var b bytes.Buffer
	m.MarshalGQL(&b)
	return b.String()
}

func TestStringsAreWrittenLikeTheServerDoes(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for r := range rune(0x3000) {
		all.WriteRune(r)
	}
	for _, text := range []string{
		"", "plain", `"`, `\`, "a\"b\\c", "\x00\x1f\t\r\n\b\f\x7f", "<b>&amp;</b>", "Grüße 🎉", "\u2027\u2028x\u2029\u202a\u20a8", all.String(),
	} {
		if got, want := string(appendString(nil, text)), served(graphql.MarshalString(text)); got != want {
			t.Errorf("%.40q: got %.200s, want %.200s", text, got, want)
		}
	}
}

func FuzzStringsAreWrittenLikeTheServerDoes(f *testing.F) {
	f.Add("a<\u2028\x01")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "") // Postgres holds nothing else
		if got, want := string(appendString(nil, text)), served(graphql.MarshalString(text)); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	})
}

func TestAmountsAreWrittenLikeTheServerDoes(t *testing.T) {
	t.Parallel()
	for _, currency := range []string{"EUR", "USD", "JPY", "KWD"} {
		for _, minor := range []int64{0, 1, 9, 10, 99, 100, 999, 1000, 1001, 123456789, math.MaxInt64, -1, -100, -12345} {
			m := money.New(minor, money.Currency(currency))
			want := `{"amount":` + served(m.Amount()) + `,"currency":` + served(m.Currency) + `}`
			if got := string(appendMoney(nil, minor, currency)); got != want {
				t.Errorf("%d %s: got %s, want %s", minor, currency, got, want)
			}
		}
	}
}

func TestIDsAndTimesAreWrittenLikeTheServerDoes(t *testing.T) {
	t.Parallel()
	owner, key := id.New(), id.New()
	a, b := pgtype.UUID{Bytes: owner, Valid: true}, pgtype.UUID{Bytes: key, Valid: true}
	if got, want := string(appendID(nil, id.Variant, b)), served(id.Of(id.Variant, key)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string(appendOwnedID(nil, id.Order, a, b)), served(id.Owned(id.Order, id.Key{Owner: owner, ID: key})); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, at := range []time.Time{
		time.Date(2026, 10, 31, 12, 0, 0, 0, time.UTC), time.Date(2026, 10, 31, 12, 0, 0, 120_000_000, time.FixedZone("", 3600)),
	} {
		if got, want := string(appendTime(nil, at)), served(scalar.MarshalDateTime(at)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
