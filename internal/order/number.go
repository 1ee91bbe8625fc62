package order

import (
	"crypto/rand"
	"encoding/binary"
	"regexp"
	"strings"
)

// crockford are the digits of Crockford's base32: no I, L, O and U, which people mistake for others or read as words.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewNumber returns a fresh order number like EM-7K3P-Q9XD: 40 random bits, so that a number tells neither how many
// orders there are nor what the next one is. That it is not taken yet shows when it is stored.
func NewNumber() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return NumberFrom(binary.BigEndian.Uint64(b[:]))
}

// NumberFrom returns the order number of the low 40 bits, for data that is made deterministically.
func NumberFrom(bits uint64) string {
	number := []byte("EM-0000-0000")
	for _, i := range []int{11, 10, 9, 8, 6, 5, 4, 3} {
		number[i] = crockford[bits&31]
		bits >>= 5
	}
	return string(number)
}

// numberForm is that of the table; it allows for numbers that were not made here.
var numberForm = regexp.MustCompile(`^EM-[0-9A-Z]{4}-[0-9A-Z]{4}$`)

// parseNumber returns the number as it is stored, or false for a text that no order has.
func parseNumber(text string) (string, bool) {
	number := strings.ToUpper(strings.TrimSpace(text))
	return number, numberForm.MatchString(number)
}
