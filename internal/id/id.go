// Package id makes keys and global IDs. Keys are UUIDv7 (RFC 9562), so that they sort by the time they were made. A
// global ID is an opaque, URL-safe text that carries the kind of the object and its key; for what a customer owns it
// carries the owner too, so that a read by ID touches one shard.
package id

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"emporium/internal/fault"
)

// Kind is the kind of object that a global ID names. The numbers are part of every ID that was ever handed out: they
// are never reused.
type Kind byte

const (
	User         Kind = 1
	Address      Kind = 2
	Product      Kind = 3
	Variant      Kind = 4
	Category     Kind = 5
	Collection   Kind = 6
	Media        Kind = 7
	Order        Kind = 8
	OrderLine    Kind = 9
	Fulfillment  Kind = 10
	OrderEvent   Kind = 11
	Payment      Kind = 12
	PaymentEvent Kind = 13

	StockMovement Kind = 14

	Cart           Kind = 15
	CartLine       Kind = 16
	Discount       Kind = 17
	ShippingMethod Kind = 18

	PaymentCommand Kind = 19

	Job    Kind = 20
	APIKey Kind = 21

	PriceChange Kind = 30
)

// owned tells for each known kind whether its key starts with the owner.
var owned = map[Kind]bool{
	User: false, Address: true,
	Product: false, Variant: false, Category: false, Collection: false, Media: false,
	Order: true, OrderLine: true, Fulfillment: true, OrderEvent: true,
	Payment: true, PaymentEvent: true,
	StockMovement: true, // by its variant, which its table is keyed by first
	Cart:          true, CartLine: true, Discount: false, ShippingMethod: false,
	PaymentCommand: true,
	Job:            false, APIKey: false,
	PriceChange: true, // by its variant, like StockMovement
}

// isOwned is owned as a table, for speed.
var isOwned = func() (table [256]bool) {
	for kind, is := range owned {
		table[kind] = is
	}
	return table
}()

// Kinds returns every known kind.
func Kinds() []Kind {
	all := make([]Kind, 0, len(owned))
	for k := range owned {
		all = append(all, k)
	}
	return all
}

// Key names a row that belongs to somebody: the owner, then the row.
type Key struct {
	Owner uuid.UUID
	ID    uuid.UUID
}

// ID is a global ID. The zero ID names nothing. Comparable.
type ID struct {
	Kind  Kind
	Owner uuid.UUID // zero for kinds that nobody owns
	Key   uuid.UUID
}

// Of returns the global ID of something that nobody owns.
func Of(kind Kind, key uuid.UUID) ID { return ID{Kind: kind, Key: key} }

// Owned returns the global ID of something that somebody owns.
func Owned(kind Kind, key Key) ID { return ID{Kind: kind, Owner: key.Owner, Key: key.ID} }

// OwnedKey returns the owner-first key that the ID carries.
func (i ID) OwnedKey() Key { return Key{Owner: i.Owner, ID: i.Key} }

// String returns the opaque text.
func (i ID) String() string { return string(i.appendText(nil)) }

func (i ID) appendText(b []byte) []byte {
	var raw [33]byte
	raw[0] = byte(i.Kind)
	n := 1
	if i.owned() {
		n += copy(raw[n:], i.Owner[:])
	}
	n += copy(raw[n:], i.Key[:])
	return base64.RawURLEncoding.AppendEncode(b, raw[:n])
}

// owned tells whether the ID carries an owner.
func (i ID) owned() bool { return isOwned[i.Kind] }

// Parse reads the text of a global ID. It accepts exactly what String returns, and fails with BadUserInput otherwise.
func Parse(text string) (ID, error) {
	bad := fault.New(fault.BadUserInput, "not a valid ID")
	if len(text) > 44 {
		return ID{}, bad
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) == 0 || base64.RawURLEncoding.EncodedLen(len(raw)) != len(text) { // it skips line breaks
		return ID{}, bad
	}
	i := ID{Kind: Kind(raw[0])}
	isOwned, known := owned[i.Kind]
	switch {
	case known && !isOwned && len(raw) == 17:
		copy(i.Key[:], raw[1:])
	case known && isOwned && len(raw) == 33:
		copy(i.Owner[:], raw[1:])
		copy(i.Key[:], raw[17:])
	default:
		return ID{}, bad
	}
	return i, nil
}

// MarshalGQL writes the ID as a JSON string.
func (i ID) MarshalGQL(w io.Writer) { _, _ = w.Write(i.AppendGQL(nil)) }

// AppendGQL appends the ID as a JSON string.
func (i ID) AppendGQL(b []byte) []byte { return append(i.appendText(append(b, '"')), '"') }

// UnmarshalGQL reads the ID from an input value.
func (i *ID) UnmarshalGQL(v any) error {
	text, ok := v.(string)
	if !ok {
		return fault.New(fault.BadUserInput, "an ID is a string, as it was given out")
	}
	parsed, err := Parse(text)
	if err != nil {
		return err
	}
	*i = parsed
	return nil
}

// New returns a fresh UUIDv7.
func New() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// At returns the UUIDv7 of an instant (millisecond resolution) with the given random bits, for data that is made
// deterministically and for bounds of time ranges. Of entropy the low 74 bits are used.
func At(t time.Time, entropy [16]byte) uuid.UUID {
	var u uuid.UUID
	copy(u[:], entropy[:])
	ms := uint64(max(t.UnixMilli(), 0))
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], ms)
	copy(u[:6], b[2:])
	u[6] = 0x70 | u[6]&0x0f
	u[8] = 0x80 | u[8]&0x3f
	return u
}

// Time returns the instant that a UUIDv7 was made at; an error for other versions.
func Time(u uuid.UUID) (time.Time, error) {
	if u.Version() != 7 {
		return time.Time{}, fmt.Errorf("UUID version %d carries no time", u.Version())
	}
	var b [8]byte
	copy(b[2:], u[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:]))).UTC(), nil
}
