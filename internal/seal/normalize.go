package seal

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"emporium/internal/fault"
)

// Limits in octets (RFC 5321 section 4.5.3.1 and its erratum 1690), and in characters for a phone number as typed.
const (
	maxEmail     = 254
	maxEmailUser = 64
	maxPhone     = 64
)

// NormalizeEmail returns the one form of an e-mail address by which it is stored and indexed: trimmed, in Unicode
// normalisation form C, in lower case, the domain in its ASCII form (RFC 5891). It takes a bare addr-spec (RFC 5322
// section 3.4.1, RFC 6531) without display name, comment, quoted local part or domain literal, and asks for a domain with
// a dot. The result normalises to itself. Everything else is a fault.BadUserInput that does not repeat the input.
func NormalizeEmail(email string) (string, error) {
	bad := fault.New(fault.BadUserInput, "not a valid e-mail address")
	email = strings.TrimSpace(email)
	if len(email) > 4*maxEmail { // a bound on the work; the real one comes after normalisation
		return "", bad
	}
	email = lower(email)
	if a, err := mail.ParseAddress(email); err != nil || a.Name != "" || a.Address != email {
		return "", bad
	}
	if strings.ContainsFunc(email, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }) {
		return "", bad
	}
	at := strings.LastIndexByte(email, '@')
	domain, err := idna.Lookup.ToASCII(email[at+1:])
	if err != nil || !strings.Contains(domain, ".") || strings.HasSuffix(domain, ".") {
		return "", bad
	}
	user := email[:at]
	if len(user) > maxEmailUser || len(user)+1+len(domain) > maxEmail {
		return "", bad
	}
	return user + "@" + domain, nil
}

// lower folds to lower case and normalises. Some letters have no single lower-case form, so it repeats until it rests.
func lower(s string) string {
	for range 4 {
		next := norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
		if next == s {
			break
		}
		s = next
	}
	return s
}

// NormalizePhone returns a phone number in E.164 form ("+493012345678"). region (ISO 3166-1 alpha-2) is where a number
// without a country code is dialled; "" asks for the country code. Numbers that can not exist there, and ones with an
// extension, are a fault.BadUserInput that does not repeat the input.
func NormalizePhone(phone, region string) (string, error) {
	bad := fault.New(fault.BadUserInput, "not a valid phone number")
	if len(phone) > 4*maxPhone || len([]rune(phone)) > maxPhone {
		return "", bad
	}
	n, err := phonenumbers.Parse(strings.TrimSpace(phone), strings.ToUpper(region))
	if err != nil || n.GetExtension() != "" || !phonenumbers.IsValidNumber(n) {
		return "", bad
	}
	return phonenumbers.Format(n, phonenumbers.E164), nil
}

// NormalizeText returns a text without blanks around it in Unicode normalisation form C; false if it has more than the
// characters that are allowed, or a control character.
func NormalizeText(text string, most int) (string, bool) {
	if len(text) > 16*most || !utf8.ValidString(text) {
		return "", false
	}
	text = norm.NFC.String(strings.TrimSpace(text))
	return text, utf8.RuneCountInString(text) <= most && !strings.ContainsFunc(text, unicode.IsControl)
}
