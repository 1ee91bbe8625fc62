// Package scalar reads and writes the scalars of the contract that no domain type stands for. Each is parsed strictly:
// what is not exactly of its form is refused with a message that says what is expected.
package scalar

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"emporium/graph/exec"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/intake"
	"emporium/internal/seal"
)

// Node is what the interface Node is bound to: anything with a global ID.
type Node interface{ GlobalID() id.ID }

// MarshalString writes a text.
func MarshalString(text string) graphql.Marshaler { return graphql.MarshalString(text) }

// UnmarshalString reads a text and brings it into Unicode normalisation form C, so that what looks the same is the same. What
// may be in it is for [intake.CheckText].
func UnmarshalString(v any) (string, error) {
	text, err := graphql.UnmarshalString(v)
	return intake.Normalize(text), err
}

// MarshalDateTime writes an instant in UTC as RFC 3339, with as many decimals of a second as are needed.
func MarshalDateTime(t time.Time) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) { _, _ = w.Write(AppendDateTime(nil, t)) })
}

// AppendDateTime appends an instant as MarshalDateTime writes it.
func AppendDateTime(b []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}

// dateTime is the form of RFC 3339. time.Parse alone would take single digits, commas and offsets of any size.
var dateTime = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

// UnmarshalDateTime reads an RFC 3339 text with any offset. Years are four digits, from 1 on.
func UnmarshalDateTime(v any) (time.Time, error) {
	text, err := str("DateTime", v)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !dateTime.MatchString(text) || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		return time.Time{}, fault.Newf(fault.BadUserInput, "%.40q is not an instant like \"2026-05-04T10:00:00Z\"", text)
	}
	return t.UTC(), nil
}

// MarshalURL writes an address.
func MarshalURL(u string) graphql.Marshaler { return graphql.MarshalString(u) }

// AppendURL appends what MarshalURL writes.
func AppendURL(b []byte, u string) []byte { return exec.AppendString(b, u) }

// UnmarshalURL accepts an absolute http or https address without credentials, or a path on this server.
func UnmarshalURL(v any) (string, error) {
	text, err := str("URL", v)
	if err != nil {
		return "", err
	}
	if err := intake.CheckURL(text); err != nil {
		return "", err
	}
	return text, nil
}

// MarshalEmailAddress writes an e-mail address.
func MarshalEmailAddress(address string) graphql.Marshaler { return graphql.MarshalString(address) }

// AppendEmailAddress appends what MarshalEmailAddress writes.
func AppendEmailAddress(b []byte, address string) []byte { return exec.AppendString(b, address) }

// UnmarshalEmailAddress reads an e-mail address and normalises it. The text is not repeated in the error: it may be
// personal.
func UnmarshalEmailAddress(v any) (string, error) {
	text, err := str("EmailAddress", v)
	if err != nil {
		return "", err
	}
	address, err := seal.NormalizeEmail(text)
	if err != nil {
		return "", fault.Wrap(fault.BadUserInput, err, "not an e-mail address like \"ada@example.com\"")
	}
	return address, nil
}

// countries are the codes that ISO 3166-1 assigns to countries in use, and XK, by which everyone calls Kosovo. The table
// of x/text has codes of the past (SU, YU, DD) and reserved ones (AC, EA) as well.
const countries = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ " +
	"CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR " +
	"GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP " +
	"KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ " +
	"NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW " +
	"SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ " +
	"UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW "

// MarshalCountryCode writes a country code.
func MarshalCountryCode(code string) graphql.Marshaler { return graphql.MarshalString(code) }

// AppendCountryCode appends what MarshalCountryCode writes.
func AppendCountryCode(b []byte, code string) []byte { return exec.AppendString(b, code) }

// UnmarshalCountryCode accepts the ISO 3166-1 alpha-2 code of a country, in capitals.
func UnmarshalCountryCode(v any) (string, error) {
	text, err := str("CountryCode", v)
	if err != nil {
		return "", err
	}
	if len(text) != 2 || !strings.Contains(countries, text+" ") || strings.Contains(text, " ") {
		return "", fault.Newf(fault.BadUserInput, "%.10q is not an ISO 3166-1 country code like \"DE\"", text)
	}
	return text, nil
}

// MarshalJSON writes metadata.
func MarshalJSON(value map[string]any) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		if value == nil {
			_, _ = io.WriteString(w, "{}")
			return
		}
		b, err := json.Marshal(value)
		if err != nil {
			panic(fmt.Errorf("metadata does not marshal: %w", err))
		}
		_, _ = w.Write(b)
	})
}

// UnmarshalJSON accepts a JSON object, and brings the texts in it into Unicode normalisation form C.
func UnmarshalJSON(v any) (map[string]any, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fault.Newf(fault.BadUserInput, "metadata is a JSON object, not %T", v)
	}
	normalized, err := intake.JSON(object)
	if err != nil {
		return nil, err
	}
	return normalized.(map[string]any), nil
}

func str(scalar string, v any) (string, error) {
	text, ok := v.(string)
	if !ok {
		return "", fault.New(fault.BadUserInput, "a value of type "+scalar+" is a string, not "+kind(v))
	}
	return intake.Normalize(text), nil
}

func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a Boolean"
	case json.Number, int, int64, float64:
		return "a number"
	case []any:
		return "a list"
	default:
		return "an object"
	}
}

// CacheScope says for whom an answer may be kept: PUBLIC, ROLE or PRIVATE.
type CacheScope string

// UnmarshalGQL takes the GraphQL enum value. It stands in the contract alone.
func (s *CacheScope) UnmarshalGQL(v any) error {
	text, err := str("CacheControlScope", v)
	*s = CacheScope(text)
	return err
}

// MarshalGQL writes the GraphQL enum value.
func (s CacheScope) MarshalGQL(w io.Writer) { _, _ = w.Write(exec.AppendString(nil, string(s))) }
