package handwritten

import (
	"encoding/base64"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"emporium/internal/id"
	"emporium/internal/money"
)

// appendString appends a JSON string in the form that the GraphQL server writes.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&0xf])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendNullable(b []byte, s *string) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	return appendString(b, *s)
}

// appendMoney appends an amount of minor units as an object.
func appendMoney(b []byte, minor int64, currency string) []byte {
	b = append(b, `{"amount":"`...)
	b = appendAmount(b, minor, exponent(currency))
	b = append(b, `","currency":"`...)
	b = append(b, currency...)
	return append(b, `"}`...)
}

// exponent is a look-up only for currencies that the bench data has none of.
func exponent(currency string) int {
	if currency == "EUR" || currency == "USD" {
		return 2
	}
	return int(money.Currency(currency).Exponent())
}

func appendAmount(b []byte, minor int64, exponent int) []byte {
	if minor < 0 {
		b, minor = append(b, '-'), -minor
	}
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], minor, 10)
	whole := len(text) - exponent
	if whole <= 0 {
		b = append(b, '0')
	} else {
		b = append(b, text[:whole]...)
	}
	if exponent == 0 {
		return b
	}
	b = append(b, '.')
	for ; whole < 0; whole++ {
		b = append(b, '0')
	}
	return append(b, text[whole:]...)
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendID(b []byte, kind id.Kind, key pgtype.UUID) []byte {
	var raw [17]byte
	raw[0] = byte(kind)
	copy(raw[1:], key.Bytes[:])
	b = append(b, '"')
	b = base64.RawURLEncoding.AppendEncode(b, raw[:])
	return append(b, '"')
}

func appendOwnedID(b []byte, kind id.Kind, owner, key pgtype.UUID) []byte {
	var raw [33]byte
	raw[0] = byte(kind)
	copy(raw[1:], owner.Bytes[:])
	copy(raw[17:], key.Bytes[:])
	b = append(b, '"')
	b = base64.RawURLEncoding.AppendEncode(b, raw[:])
	return append(b, '"')
}
