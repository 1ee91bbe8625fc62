package scalar_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"golang.org/x/text/unicode/norm"

	"emporium/graph/scalar"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/intake"
	"emporium/internal/money"
)

// message returns what the client is told; the test fails if the error has another code than BAD_USER_INPUT.
func message(t *testing.T, err error) string {
	t.Helper()
	var coded *fault.Error
	if !errors.As(err, &coded) || coded.Code != fault.BadUserInput {
		t.Errorf("the error is %v, want BAD_USER_INPUT", err)
		return ""
	}
	return coded.Message
}

func written(m graphql.Marshaler) string {
	var out bytes.Buffer
	m.MarshalGQL(&out)
	return out.String()
}

// notStrings are values of the other kinds, as gqlgen hands them over, with what they are called.
var notStrings = []struct {
	value any
	name  string
}{
	{nil, "null"}, {true, "a Boolean"}, {int64(42), "a number"}, {42, "a number"}, {4.2, "a number"},
	{json.Number("4930901820"), "a number"}, {[]any{"DE"}, "a list"}, {map[string]any{"x": "DE"}, "an object"},
}

func TestStringsOnly(t *testing.T) {
	t.Parallel()
	for name, unmarshal := range map[string]func(any) (any, error){
		"DateTime":     func(v any) (any, error) { return scalar.UnmarshalDateTime(v) },
		"URL":          func(v any) (any, error) { return scalar.UnmarshalURL(v) },
		"EmailAddress": func(v any) (any, error) { return scalar.UnmarshalEmailAddress(v) },
		"CountryCode":  func(v any) (any, error) { return scalar.UnmarshalCountryCode(v) },
	} {
		for _, c := range notStrings {
			got, err := unmarshal(c.value)
			if want := "a value of type " + name + " is a string, not " + c.name; message(t, err) != want {
				t.Errorf("%s: %#v was taken for %v, %v; want %q", name, c.value, got, err, want)
			}
		}
	}
}

func TestDateTime(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{ // written again
		"2026-05-04T10:00:00Z":                "2026-05-04T10:00:00Z",
		"2026-05-04T10:00:00.5Z":              "2026-05-04T10:00:00.5Z",
		"2026-05-04T10:00:00.500Z":            "2026-05-04T10:00:00.5Z",
		"2026-05-04T10:00:00.123456789Z":      "2026-05-04T10:00:00.123456789Z",
		"2026-05-04T10:00:00+02:00":           "2026-05-04T08:00:00Z",
		"2026-05-04T10:00:00-00:00":           "2026-05-04T10:00:00Z",
		"2026-05-04T00:30:00.25+23:59":        "2026-05-03T00:31:00.25Z",
		"2024-02-29T00:00:00Z":                "2024-02-29T00:00:00Z",
		"0001-01-01T00:00:00Z":                "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999Z":      "9999-12-31T23:59:59.999999999Z",
		"9999-12-31T23:59:59.999999999+00:00": "9999-12-31T23:59:59.999999999Z",
	} {
		got, err := scalar.UnmarshalDateTime(in)
		if err != nil || got.Location() != time.UTC || written(scalar.MarshalDateTime(got)) != `"`+want+`"` {
			t.Errorf("%s is read as %s, %v; want %s", in, got, err, want)
		}
	}
	if got := written(scalar.MarshalDateTime(time.Date(2026, 5, 4, 12, 0, 0, 0, time.FixedZone("", 7200)))); got != `"2026-05-04T10:00:00Z"` {
		t.Errorf("an instant of another zone is written %s", got)
	}
	for _, in := range []string{
		"", " ", "now", "1777888800", "2026-05-04", "10:00:00Z", "2026-05-04T10:00Z",
		"2026-05-04T10:00:00", "2026-05-04 10:00:00Z", "2026-05-04t10:00:00z", "2026-05-04T10:00:00z",
		"2026-05-04T10:00:00 Z", " 2026-05-04T10:00:00Z", "2026-05-04T10:00:00Z\n",
		"2026-05-04T1:00:00Z", "2026-5-4T10:00:00Z", "2026-05-04T10:00:00,5Z", "2026-05-04T10:00:00.Z",
		"2026-05-04T10:00:00.1234567890Z",
		"2026-05-04T10:00:00+2:00", "2026-05-04T10:00:00+0200", "2026-05-04T10:00:00+02", "2026-05-04T10:00:00+24:00", "2026-05-04T10:00:00+01:60",
		"2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-05-04T24:00:00Z",
		"2026-05-04T10:60:00Z", "2026-12-31T23:59:60Z",
		"0000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "+10000-01-01T00:00:00Z",
		"9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01", // in UTC these are the years 10000 and 0
		"２０２６-05-04T10:00:00Z", strings.Repeat("9", 100_000),
	} {
		got, err := scalar.UnmarshalDateTime(in)
		if m := message(t, err); !got.IsZero() || !strings.HasSuffix(m, `is not an instant like "2026-05-04T10:00:00Z"`) || len(m) > 200 {
			t.Errorf("%.60q is read as %s: %.300s", in, got, m)
		}
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"https://example.com", "http://example.com/", "HTTPS://EXAMPLE.COM/X", "https://example.com:8443/a/b?c=d&e=%20#f",
		"https://[2001:db8::1]:443/", "https://192.0.2.7/x", "https://köln.example/straße", "https://example.com/?next=//evil.example",
		"https://example.com/@user", "https://example.com/a:b",
		"/", "/pictures/1.svg", "/pictures/1.svg?width=200#top", "/a//b", "/a:b", "/@user",
		"https://example.com/" + strings.Repeat("a", 2028),
	} {
		got, err := scalar.UnmarshalURL(in)
		if err != nil || got != in {
			t.Errorf("%.80q is read as %.80q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", " ", "example.com", "example.com/x", "pictures/1.svg", "./x", "../x", "?x", "#x", "*",
		"javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)", "data:text/html,x", "vbscript:x",
		"file:///etc/passwd", "ftp://example.com/", "ws://example.com/", "mailto:ada@example.com", "about:blank", "blob:https://example.com/x",
		"https://user@example.com/", "https://user:secret@example.com/", "https://:secret@example.com/", "https://@example.com/",
		"//host", "//host/path", "///host", "////", `/\host`, `\\host`, `/\/host`, `https:\\host`, `https://example.com\@host`, "/\t/host", "\t//host", "/x\n",
		"https:", "https:/", "https://", "https:///path", "https:example.com", "https:/example.com", "https://:443/", "https://?x",
		"https://exa mple.com/", "https://example.com:port/", "https://[::1", "https://example.com/%zz", "/%zz", "https://example.com/\x00", "\x7f",
		" https://example.com", "https://example.com/" + strings.Repeat("a", 2029),
	} {
		got, err := scalar.UnmarshalURL(in)
		if m := message(t, err); got != "" || !strings.HasSuffix(m, "is not an http or https address, nor a path that starts with /") || len(m) > 500 {
			t.Errorf("%.80q is read as %.80q: %.300s", in, got, m)
		}
	}
	if got := written(scalar.MarshalURL(`/a"b`)); got != `"/a\"b"` {
		t.Errorf("written %s", got)
	}
}

func TestEmailAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ada@example.com":       "ada@example.com",
		" Ada@Example.COM ":     "ada@example.com",
		"ada+shop@example.com":  "ada+shop@example.com",
		"ada@MÜNCHEN.example":   "ada@xn--mnchen-3ya.example",
		"o'hara_1-2@a.b.co.uk":  "o'hara_1-2@a.b.co.uk",
		"jürgen@example.com":    "jürgen@example.com",
		"JU\u0308RGEN@test.com": "jürgen@test.com",
	} {
		got, err := scalar.UnmarshalEmailAddress(in)
		if err != nil || got != want || written(scalar.MarshalEmailAddress(got)) != `"`+want+`"` {
			t.Errorf("%q is read as %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", " ", "ada", "ada.lovelace", "@example.com", "ada.lovelace@", "ada.lovelace@example", "ada.lovelace@@example.com",
		"ada.lovelace@example.com.", "ada lovelace@example.com", "Ada <ada.lovelace@example.com>", "<ada.lovelace@example.com>",
		"ada.lovelace@example.com, bob@example.com", `"ada.lovelace"@example.com`, "ada.lovelace@[192.0.2.7]",
		"ada.lovelace@exam_ple.com", "ada.lovelace@-example.com", "ada..lovelace@example.com", ".ada.lovelace@example.com",
		"ada.lovelace@example.com\nBcc: x@example.com", "ada.lovelace\x00@example.com",
		strings.Repeat("lovelace", 9) + "@example.com", "ada.lovelace@" + strings.Repeat("a.", 200) + "com", strings.Repeat("lovelace", 100_000),
	} {
		got, err := scalar.UnmarshalEmailAddress(in)
		if m := message(t, err); got != "" || m != `not an e-mail address like "ada@example.com"` {
			t.Errorf("%.60q is read as %.60q: %.300s", in, got, m)
		}
		// The cause goes to logs, where personal data has no place either.
		if err != nil && (strings.Contains(err.Error(), "lovelace") || len(err.Error()) > 200) {
			t.Errorf("%.60q is repeated in its error: %.300v", in, err)
		}
	}
}

func TestCountryCode(t *testing.T) {
	t.Parallel()
	accepted := 0
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			if _, err := scalar.UnmarshalCountryCode(string([]rune{a, b})); err == nil {
				accepted++
			}
		}
	}
	if accepted != 249+1 { // those of ISO 3166-1, and Kosovo
		t.Errorf("%d codes are accepted", accepted)
	}
	for _, in := range []string{"DE", "AD", "ZW", "GB", "US", "GR", "AX", "TW", "PS", "SS", "CW", "XK"} {
		got, err := scalar.UnmarshalCountryCode(in)
		if err != nil || got != in || written(scalar.MarshalCountryCode(got)) != `"`+in+`"` {
			t.Errorf("%q is read as %q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", " ", "D", "de", "De", "dE", "DEU", "276", "Germany", "DE ", " DE", "D E", "E ", " A", "DE\n", "D\x00",
		"EU", "UK", "EL", "ZZ", "XX", "AA", "QO", "UN", "001",
		"AC", "EA", "IC", "TA", "CP", "DG", // reserved
		"SU", "YU", "CS", "DD", "AN", "ZR", "TP", "BU", "FX", // of the past
		"ＤＥ", "🇩🇪", strings.Repeat("DE", 100_000),
	} {
		got, err := scalar.UnmarshalCountryCode(in)
		if m := message(t, err); got != "" || !strings.HasSuffix(m, `is not an ISO 3166-1 country code like "DE"`) || len(m) > 200 {
			t.Errorf("%.60q is read as %.60q: %.300s", in, got, m)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, in := range []map[string]any{
		{}, {"a": "b"}, {"a": json.Number("12345678901234567890"), "b": []any{nil, true, "<&>"}, "": map[string]any{"x": nil}},
	} {
		got, err := scalar.UnmarshalJSON(in)
		if err != nil {
			t.Errorf("%v: %v", in, err)
		}
		want, _ := json.Marshal(in)
		if text := written(scalar.MarshalJSON(got)); text != string(want) {
			t.Errorf("%v is written %s, want %s", in, text, want)
		}
	}
	if got := written(scalar.MarshalJSON(nil)); got != "{}" {
		t.Errorf("no metadata is written %s", got)
	}
	for _, in := range []any{nil, "{}", true, int64(1), 1.5, json.Number("1"), []any{map[string]any{}}} {
		got, err := scalar.UnmarshalJSON(in)
		if m := message(t, err); got != nil || !strings.HasPrefix(m, "metadata is a JSON object, not ") {
			t.Errorf("%#v is read as %v: %s", in, got, m)
		}
	}
}

// FuzzText wants a text to come back in normalisation form C, or to be refused for something that is in it.
func FuzzText(f *testing.F) {
	for _, text := range []string{"", "a\tb\r\n", "e\u0301", "\u212b", "\x00", "\x7f", "\u0085", "\xff", "\ufffd", "\uffff", "\U0010fffe", "\ufdd0", "\u202e", "\u2066", "\u200f", "🧵", "각", "\u0344"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		bad := !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool {
			return unicode.Is(unicode.Cc, r) && !strings.ContainsRune("\t\n\r", r) || r == '\ufffd' || unicode.Is(unicode.Noncharacter_Code_Point, r) ||
				unicode.Is(unicode.Bidi_Control, r) && r != '\u061c' && r != '\u200e' && r != '\u200f'
		})
		if err := intake.CheckText(text); (err != nil) != bad {
			t.Fatalf("%q: %v", text, err)
		} else if bad {
			return
		}
		got, err := scalar.UnmarshalString(text)
		if err != nil || !norm.NFC.IsNormalString(got) || intake.CheckText(got) != nil {
			t.Fatalf("%q became %q, %v", text, got, err)
		}
		if again, _ := scalar.UnmarshalString(got); again != got {
			t.Fatalf("%q became %q, then %q", text, got, again)
		}
		object, err := scalar.UnmarshalJSON(map[string]any{text: []any{text}})
		if err != nil || object[got].([]any)[0] != got {
			t.Fatalf("%q became %v, %v", text, object, err)
		}
	})
}

// FuzzScalars wants each scalar to refuse a text for something that is in it, or to write what it reads so that
// it reads the same again.
func FuzzScalars(f *testing.F) {
	for _, text := range []string{"", "2026-05-04T10:00:00.5+02:00", "19.90", "-0.00", "EUR", "https://example.com/a?b#c", "/a", "//a", " Ada@Münster.example ", "DE",
		"AgGiE0Moa3PeoUfy2PqWjMcBohNDKGtz7pecW7heAkU-", "\x00", "\xff", "1e9", "e\u0301"} {
		f.Add(text)
	}
	gql := func(v any, err error) (graphql.Marshaler, error) { m, _ := v.(graphql.Marshaler); return m, err }
	scalars := map[string]func(text string) (graphql.Marshaler, error){
		"DateTime": func(text string) (graphql.Marshaler, error) {
			t, err := scalar.UnmarshalDateTime(text)
			return scalar.MarshalDateTime(t), err
		},
		"URL": func(text string) (graphql.Marshaler, error) {
			u, err := scalar.UnmarshalURL(text)
			return scalar.MarshalURL(u), err
		},
		"EmailAddress": func(text string) (graphql.Marshaler, error) {
			a, err := scalar.UnmarshalEmailAddress(text)
			return scalar.MarshalEmailAddress(a), err
		},
		"CountryCode": func(text string) (graphql.Marshaler, error) {
			c, err := scalar.UnmarshalCountryCode(text)
			return scalar.MarshalCountryCode(c), err
		},
		"String": func(text string) (graphql.Marshaler, error) {
			s, err := scalar.UnmarshalString(text)
			return scalar.MarshalString(s), err
		},
		"Decimal": func(text string) (graphql.Marshaler, error) {
			var d money.Decimal
			return gql(&d, d.UnmarshalGQL(text))
		},
		"Currency": func(text string) (graphql.Marshaler, error) {
			var c money.Currency
			return gql(&c, c.UnmarshalGQL(text))
		},
		"ID": func(text string) (graphql.Marshaler, error) { var i id.ID; return gql(&i, i.UnmarshalGQL(text)) },
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, read := range scalars {
			m, err := read(text)
			var coded *fault.Error
			if err != nil {
				if !errors.As(err, &coded) || coded.Code != fault.BadUserInput || len(coded.Message) > 500 {
					t.Errorf("%s: %q is refused with %v", name, text, err)
				}
				continue
			}
			if intake.CheckText(text) != nil { // which has refused it by then
				continue
			}
			var again string
			if err := json.Unmarshal([]byte(written(m)), &again); err != nil {
				t.Fatalf("%s: %q is written %s: %v", name, text, written(m), err)
			}
			if m2, err := read(again); err != nil || written(m2) != written(m) {
				t.Errorf("%s: %q is written %s, and that is read as %s, %v", name, text, written(m), written(m2), err)
			}
		}
		// Metadata is any JSON.
		var object any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if d.Decode(&object) != nil {
			return
		}
		read, err := scalar.UnmarshalJSON(object)
		if err != nil {
			message(t, err)
			return
		}
		var back any
		d = json.NewDecoder(strings.NewReader(written(scalar.MarshalJSON(read))))
		d.UseNumber()
		if err := d.Decode(&back); err != nil {
			t.Fatalf("%q is written %s: %v", text, written(scalar.MarshalJSON(read)), err)
		}
		if again, err := scalar.UnmarshalJSON(back); err != nil || !reflect.DeepEqual(again, read) {
			t.Errorf("%q is read as %v, then as %v, %v", text, read, again, err)
		}
	})
}
