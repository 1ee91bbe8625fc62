// Package intake says what a text or an address may be that comes from outside, whether a request brings it or a file.
package intake

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"emporium/internal/fault"
)

// Normalize brings a text into Unicode normalisation form C, so that what looks the same is the same.
func Normalize(text string) string { return norm.NFC.String(text) }

// CheckText refuses a text with what no text may have. The text is not repeated in the error.
func CheckText(text string) error {
	for _, r := range text { // what is not UTF-8 is U+FFFD
		if why := odd(r); why != "" {
			return fault.New(fault.BadUserInput, "a text "+why)
		}
	}
	return nil
}

// Strip returns a text without what no text may have.
func Strip(text string) string {
	return strings.Map(func(r rune) rune {
		if odd(r) != "" {
			return -1
		}
		return r
	}, text)
}

// odd returns why a character has no place in a text, "" if it has.
func odd(r rune) string {
	switch {
	case r >= ' ' && r < 0x7f, r == '\t', r == '\n', r == '\r':
	case unicode.IsControl(r):
		return "has no control characters other than tab, line feed and carriage return"
	case r == utf8.RuneError:
		return "is Unicode, without U+FFFD in place of what was not"
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		// A name with one of them can make what stands beside it read as something else.
		return "has no marks that turn the direction of writing (U+202A to U+202E, U+2066 to U+2069)"
	case r&0xfffe == 0xfffe, r >= 0xfdd0 && r <= 0xfdef:
		return "has no code points that are no characters"
	}
	return ""
}

// JSON returns a JSON value with its texts, and the names in its objects, in normalisation form C. It refuses one with a text
// that CheckText refuses. The value itself is not changed.
func JSON(v any) (_ any, err error) {
	switch v := v.(type) {
	case string:
		return Normalize(v), CheckText(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			if list[i], err = JSON(v[i]); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, member := range v {
			if err := CheckText(name); err != nil {
				return nil, err
			}
			name = Normalize(name)
			if _, twice := object[name]; twice {
				return nil, fault.New(fault.BadUserInput, "two members of a JSON object have the same name in normalisation form C")
			}
			if object[name], err = JSON(member); err != nil {
				return nil, err
			}
		}
		return object, nil
	default:
		return v, nil
	}
}

const maxURL = 2048 // bytes

// Web reports whether an address is an absolute one of http or https, without credentials.
func Web(address string) bool {
	u, ok := parse(address)
	return ok && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil
}

// CheckURL refuses what is neither an address for which Web is true nor a path on this server.
func CheckURL(address string) error {
	u, ok := parse(address)
	local := ok && u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, "/") && !strings.HasPrefix(address, "//")
	if !local && !Web(address) {
		return fault.Newf(fault.BadUserInput, "%.80q is not an http or https address, nor a path that starts with /", address)
	}
	return nil
}

func parse(address string) (*url.URL, bool) {
	// Browsers take a backslash for a slash, so that /\host would lead away.
	if len(address) > maxURL || strings.Contains(address, `\`) {
		return nil, false
	}
	u, err := url.Parse(address)
	return u, err == nil
}
