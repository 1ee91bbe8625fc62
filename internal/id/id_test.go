package id_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/fault"
	"emporium/internal/id"
)

var (
	owner = uuid.MustParse("0190a5d0-0000-7000-8000-00000000000a")
	key   = uuid.MustParse("fbffffff-ffff-7fff-bfff-fffffffffffe") // whose base64 would hold + and / in the common alphabet

	ownedKinds = []id.Kind{id.Address, id.Order, id.OrderLine, id.Fulfillment, id.OrderEvent, id.Payment, id.PaymentEvent, id.StockMovement,
		id.Cart, id.CartLine, id.PaymentCommand, id.PriceChange}
	urlSafe = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// of returns an ID of the kind, with an owner where the kind has one.
func of(kind id.Kind) id.ID {
	if slices.Contains(ownedKinds, kind) {
		return id.Owned(kind, id.Key{Owner: owner, ID: key})
	}
	return id.Of(kind, key)
}

func encode(raw ...[]byte) string { return base64.RawURLEncoding.EncodeToString(bytes.Join(raw, nil)) }

func TestEveryKindComesBack(t *testing.T) {
	t.Parallel()
	kinds := id.Kinds()
	slices.Sort(kinds)
	if want := []id.Kind{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 30}; !slices.Equal(kinds, want) {
		t.Fatalf("kinds are %v, want %v", kinds, want)
	}
	seen := map[string]id.Kind{}
	for _, kind := range kinds {
		want := of(kind)
		text := want.String()
		if !urlSafe.MatchString(text) {
			t.Errorf("kind %d: %q is not URL-safe", kind, text)
		}
		if other, taken := seen[text]; taken {
			t.Errorf("kinds %d and %d share the text %q", kind, other, text)
		}
		seen[text] = kind
		got, err := id.Parse(text)
		if err != nil || got != want {
			t.Errorf("kind %d: Parse(%q) = %+v, %v; want %+v", kind, text, got, err, want)
		}
		if got.OwnedKey() != (id.Key{Owner: want.Owner, ID: key}) {
			t.Errorf("kind %d: its key is %+v", kind, got.OwnedKey())
		}
	}
}

// TestTextsNeverChange: IDs that were handed out stand in other people's databases.
func TestTextsNeverChange(t *testing.T) {
	t.Parallel()
	for want, in := range map[string]id.ID{
		"Afv______3__v_________4":                      {Kind: id.User, Key: key},
		"CAGQpdAAAHAAgAAAAAAAAAr7______9__7_________-": {Kind: id.Order, Owner: owner, Key: key},
	} {
		if in.String() != want {
			t.Errorf("%+v is %q, want %q", in, in, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	product, order := of(id.Product).String(), of(id.Order).String()
	for name, text := range map[string]string{
		"nothing":                          "",
		"a space":                          " ",
		"a number":                         "42",
		"a UUID":                           key.String(),
		"words":                            "gid://emporium/Product/42",
		"the kind alone":                   encode([]byte{byte(id.Product)}),
		"no known kind":                    encode([]byte{0}, key[:]),
		"a kind that is not there yet":     encode([]byte{200}, key[:]),
		"an unowned kind with an owner":    encode([]byte{byte(id.Product)}, owner[:], key[:]),
		"an owned kind without an owner":   encode([]byte{byte(id.Order)}, key[:]),
		"a byte too short":                 encode([]byte{byte(id.Product)}, key[:15]),
		"a byte too long":                  encode([]byte{byte(id.Product)}, key[:], []byte{0}),
		"an owned kind, a byte too short":  encode([]byte{byte(id.Order)}, owner[:], key[:15]),
		"an owned kind, a byte too long":   encode([]byte{byte(id.Order)}, owner[:], key[:], []byte{0}),
		"the common alphabet":              base64.RawStdEncoding.EncodeToString(append([]byte{byte(id.Product)}, key[:]...)),
		"padding":                          product + "=",
		"bits behind the end":              product[:len(product)-1] + "_",
		"a line break behind":              product + "\n",
		"a line break within":              product[:9] + "\r\n" + product[9:],
		"a space behind":                   product + " ",
		"a letter more":                    product + "A",
		"a letter less":                    order[:len(order)-1],
		"two IDs":                          product + product,
		"something long":                   strings.Repeat("A", 1<<20),
		"a character outside the alphabet": "é" + product[2:],
		"a zero byte":                      product[:4] + "\x00" + product[5:],
	} {
		got, err := id.Parse(text)
		if !fault.Is(err, fault.BadUserInput) || got != (id.ID{}) {
			t.Errorf("%s: Parse(%.60q) = %+v, %v; want BAD_USER_INPUT", name, text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, kind := range id.Kinds() {
		f.Add(of(kind).String(), byte(kind), owner[:], key[:])
	}
	f.Add("Afv______3__v_________4\n", byte(0), []byte{}, []byte{})
	f.Add("", byte(255), []byte{1}, []byte{2})
	f.Fuzz(func(t *testing.T, text string, kind byte, o, k []byte) {
		if got, err := id.Parse(text); err == nil {
			if got.String() != text {
				t.Errorf("Parse(%q) was accepted, and is written %q", text, got)
			}
		} else if !fault.Is(err, fault.BadUserInput) || got != (id.ID{}) {
			t.Errorf("Parse(%q) = %+v, %v; want BAD_USER_INPUT", text, got, err)
		}

		if !slices.Contains(id.Kinds(), id.Kind(kind)) {
			return
		}
		want := of(id.Kind(kind))
		copy(want.Key[:], k)
		if want.Owner != uuid.Nil {
			copy(want.Owner[:], o)
		}
		if got, err := id.Parse(want.String()); err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", want, got, err, want)
		}
	})
}

func TestGraphQL(t *testing.T) {
	t.Parallel()
	want := of(id.Payment)
	var out bytes.Buffer
	want.MarshalGQL(&out)
	var text string
	if err := json.Unmarshal(out.Bytes(), &text); err != nil || text != want.String() {
		t.Errorf("%+v is written %s: %v", want, &out, err)
	}
	var got id.ID
	if err := got.UnmarshalGQL(text); err != nil || got != want {
		t.Errorf("UnmarshalGQL(%q) gave %+v, %v", text, got, err)
	}
	for _, v := range []any{nil, 42, int64(42), 4.2, json.Number("42"), true, []any{text}, "42", ""} {
		got := want
		if err := got.UnmarshalGQL(v); !fault.Is(err, fault.BadUserInput) || got != want {
			t.Errorf("UnmarshalGQL(%#v) gave %+v, %v; want BAD_USER_INPUT and no change", v, got, err)
		}
	}
}

func TestNewIsInOrder(t *testing.T) {
	t.Parallel()
	before := time.Now().Truncate(time.Millisecond)
	keys := make([]uuid.UUID, 10_000)
	for i := range keys {
		keys[i] = id.New()
	}
	after := time.Now()
	for i, k := range keys {
		if k.Version() != 7 || k.Variant() != uuid.RFC4122 {
			t.Fatalf("%s is not a UUIDv7", k)
		}
		// google/uuid runs at most a few milliseconds ahead of the clock to keep the order.
		if at, err := id.Time(k); err != nil || at.Before(before) || at.After(after.Add(time.Second)) {
			t.Fatalf("%s was made at %s (%v), between %s and %s", k, at, err, before, after)
		}
		if i > 0 && bytes.Compare(keys[i-1][:], k[:]) >= 0 {
			t.Fatalf("%s does not come after %s", k, keys[i-1])
		}
	}
}

func TestAtAndTime(t *testing.T) {
	t.Parallel()
	var low, high [16]byte
	for i := range high {
		high[i] = 0xff
	}
	instants := []time.Time{
		time.UnixMilli(0),
		time.UnixMilli(1),
		time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC),
		time.Date(2026, 5, 4, 12, 0, 0, 1_000_000, time.FixedZone("", 7200)),
		time.Date(2026, 5, 5, 0, 0, 0, 999_999_999, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	var last uuid.UUID
	for i, at := range instants {
		first, final := id.At(at, low), id.At(at, high)
		for _, u := range []uuid.UUID{first, final} {
			if u.Version() != 7 || u.Variant() != uuid.RFC4122 {
				t.Errorf("At(%s) = %s, which is not a UUIDv7", at, u)
			}
			got, err := id.Time(u)
			if want := at.Truncate(time.Millisecond).UTC(); err != nil || got != want {
				t.Errorf("Time(At(%s)) = %s, %v; want %s", at, got, err, want)
			}
		}
		// Whatever the random bits are, keys of an earlier millisecond sort before.
		if bytes.Compare(first[:], final[:]) >= 0 || i > 0 && bytes.Compare(last[:], first[:]) >= 0 {
			t.Errorf("At(%s) is not in order: %s, %s after %s", at, first, final, last)
		}
		last = final
	}
	if got, want := id.At(time.Unix(-1, 0), low), id.At(time.Unix(0, 0), low); got != want {
		t.Errorf("before 1970: %s, want %s", got, want)
	}
	if got := id.At(time.UnixMilli(math.MaxInt64), low).Version(); got != 7 {
		t.Errorf("in the farthest future the version is %d", got)
	}
	for _, u := range []uuid.UUID{uuid.Nil, uuid.New(), uuid.NewSHA1(uuid.NameSpaceDNS, []byte("emporium"))} {
		if at, err := id.Time(u); err == nil || !at.IsZero() {
			t.Errorf("Time(%s) = %s, %v; want an error", u, at, err)
		}
	}
}
