// Package seal encrypts personal data in the row that holds it, and makes blind indexes by which it is found.
//
// A value is sealed by AES-256-GCM (NIST SP 800-38D) through Tink, bound as associated data to its table, column and
// row: a ciphertext that is copied to another place does not open there. A sealed value is 33 bytes longer than its
// plaintext: 1 version byte, 4 bytes of key ID, 12 of nonce, 16 of tag. Nonces are random, so rotate a key well before
// it has sealed 2³² values.
//
// A blind index is HMAC-SHA256 (RFC 2104) under a key of its own: equal values have equal indexes, so a unique constraint
// and a lookup work, and without the key nobody can try values against it.
package seal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// prefixLen is the length of Tink's output prefix: version byte 1 and the key ID, big endian.
const prefixLen = 5

// indexLen is the length of a blind index in bytes.
const indexLen = 32

// ErrOpen says that a ciphertext was not sealed for this field by a key of this keyset, or was changed since.
var ErrOpen = errors.New("seal: cannot open")

// Field is the place a value is sealed for. No part may be empty.
type Field struct {
	Table, Column string
	Row           []byte // the primary key, in a form that never changes
}

// associated is the canonical encoding of f: each part after its length, so that no two fields share one.
func (f Field) associated() ([]byte, error) {
	if f.Table == "" || f.Column == "" || len(f.Row) == 0 {
		return nil, fmt.Errorf("seal: field %q of table %q lacks a table, column or row", f.Column, f.Table)
	}
	b := make([]byte, 0, 12+len(f.Table)+len(f.Column)+len(f.Row))
	b = appendPart(b, []byte(f.Table))
	b = appendPart(b, []byte(f.Column))
	return appendPart(b, f.Row), nil
}

func appendPart(b, part []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
	return append(b, part...)
}

// Sealer seals, opens and indexes under one Keyset at a time. It is safe for concurrent use. fmt and slog print no key.
type Sealer struct{ current atomic.Pointer[primitives] }

// primitives are what Tink makes of a Keyset.
type primitives struct {
	aead   tink.AEAD
	prf    *prf.Set
	id     uint32
	prefix [prefixLen]byte
}

// NewSealer returns the Sealer of ks.
func NewSealer(ks *Keyset) (*Sealer, error) {
	p, err := newPrimitives(ks)
	if err != nil {
		return nil, err
	}
	s := &Sealer{}
	s.current.Store(p)
	return s, nil
}

// Use goes on under another Keyset, for a rotation without a restart. It refuses one that does not descend from the same
// New, by whose blind indexes nothing would be found any more.
func (s *Sealer) Use(ks *Keyset) error {
	p, err := newPrimitives(ks)
	if err != nil {
		return err
	}
	if !bytes.Equal(p.index("seal", "descent"), s.Index("seal", "descent")) {
		return errors.New("seal: the keyset has another index key: it does not descend from the one in use")
	}
	s.current.Store(p)
	return nil
}

func newPrimitives(ks *Keyset) (*primitives, error) {
	primary, err := ks.aead.Primary()
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	key, ok := primary.Key().(*aesgcm.Key)
	if !ok || len(key.OutputPrefix()) != prefixLen {
		return nil, errors.New("seal: the primary key is not an AES-GCM key with a TINK prefix")
	}
	p := &primitives{id: primary.KeyID(), prefix: [prefixLen]byte(key.OutputPrefix())}
	if p.aead, err = aead.New(ks.aead); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if p.prf, err = prf.NewPRFSet(ks.prf); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return p, nil
}

// Seal encrypts plaintext for its field. Nil (SQL NULL) stays nil; an empty plaintext is a value like any other. It
// panics when a part of the field is empty, or at 64 GiB: both are mistakes of the caller.
func (s *Sealer) Seal(f Field, plaintext []byte) []byte {
	if plaintext == nil {
		return nil
	}
	ad, err := f.associated()
	if err != nil {
		panic(err.Error())
	}
	ct, err := s.current.Load().aead.Encrypt(plaintext, ad)
	if err != nil {
		panic(fmt.Sprintf("seal: %s.%s: %v", f.Table, f.Column, err))
	}
	return ct
}

// Open decrypts what Seal made for the same field. Nil gives nil, and a value that was sealed is never nil. All other
// failures are [ErrOpen], but for a field with an empty part.
func (s *Sealer) Open(f Field, ciphertext []byte) ([]byte, error) {
	if ciphertext == nil {
		return nil, nil
	}
	ad, err := f.associated()
	if err != nil {
		return nil, err
	}
	pt, err := s.current.Load().aead.Decrypt(ciphertext, ad)
	if err != nil {
		return nil, fmt.Errorf("%w %s.%s (key %08x)", ErrOpen, f.Table, f.Column, KeyIDOf(ciphertext))
	}
	if pt == nil {
		pt = []byte{}
	}
	return pt, nil
}

// SealString seals v, the empty string too.
func (s *Sealer) SealString(f Field, v string) []byte { return s.Seal(f, []byte(v)) }

// OpenString opens what SealString sealed; nil gives "".
func (s *Sealer) OpenString(f Field, ciphertext []byte) (string, error) {
	pt, err := s.Open(f, ciphertext)
	return string(pt), err
}

// SealNullable seals a string that may be absent: nil stays nil.
func (s *Sealer) SealNullable(f Field, v *string) []byte {
	if v == nil {
		return nil
	}
	return s.SealString(f, *v)
}

// OpenNullable opens what SealNullable sealed.
func (s *Sealer) OpenNullable(f Field, ciphertext []byte) (*string, error) {
	pt, err := s.Open(f, ciphertext)
	if err != nil || pt == nil {
		return nil, err
	}
	return new(string(pt)), nil
}

// SealJSON seals the JSON form of v. What encodes as JSON null, a nil pointer or map, stays nil.
func SealJSON(s *Sealer, f Field, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("seal: %s.%s: %w", f.Table, f.Column, err)
	}
	if string(b) == "null" {
		return nil, nil
	}
	return s.Seal(f, b), nil
}

// OpenJSON opens what SealJSON sealed; nil gives the zero T.
func OpenJSON[T any](s *Sealer, f Field, ciphertext []byte) (T, error) {
	var v T
	pt, err := s.Open(f, ciphertext)
	if err != nil || pt == nil {
		return v, err
	}
	if err := json.Unmarshal(pt, &v); err != nil {
		// The cause may quote what it read: name the type alone.
		return *new(T), fmt.Errorf("seal: %s.%s does not hold the JSON of a %T", f.Table, f.Column, v)
	}
	return v, nil
}

// Index returns the 32-byte blind index of a normalised value, such as [NormalizeEmail] returns. Indexes of different
// kinds ("email", "phone") have nothing in common. It is the same under every Keyset that descends from one New.
func (s *Sealer) Index(kind, normalized string) []byte {
	return s.current.Load().index(kind, normalized)
}

func (p *primitives) index(kind, normalized string) []byte {
	in := appendPart(make([]byte, 0, 8+len(kind)+len(normalized)), []byte(kind))
	sum, err := p.prf.ComputePrimaryPRF(appendPart(in, []byte(normalized)), indexLen)
	if err != nil {
		panic(fmt.Sprintf("seal: index: %v", err)) // an HMAC-SHA256 gives 32 bytes of anything
	}
	return sum
}

// PrimaryKeyID returns the ID of the key that seals.
func (s *Sealer) PrimaryKeyID() uint32 { return s.current.Load().id }

// PrimaryPrefix returns the 5 bytes that begin all this Sealer seals, for use in SQL:
// substring(col from 1 for 5) <> $1 finds the rows that are still to be sealed under the primary key.
func (s *Sealer) PrimaryPrefix() []byte { return slices.Clone(s.current.Load().prefix[:]) }

// KeyIDOf returns the ID of the key that sealed ciphertext, or 0 if it begins like nothing that was sealed here.
func KeyIDOf(ciphertext []byte) uint32 {
	if len(ciphertext) < prefixLen || ciphertext[0] != 1 {
		return 0
	}
	return binary.BigEndian.Uint32(ciphertext[1:prefixLen])
}

// Format prints the ID of the primary key, for every verb.
func (s *Sealer) Format(st fmt.State, _ rune) {
	if s == nil {
		fmt.Fprint(st, "seal.Sealer(nil)")
		return
	}
	fmt.Fprintf(st, "seal.Sealer(key %08x)", s.PrimaryKeyID())
}
