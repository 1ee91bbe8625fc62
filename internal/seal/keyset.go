package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/prf/hmacprf"
)

// maxKeysetBytes bounds a key document; one key takes about 200 bytes.
const maxKeysetBytes = 1 << 20

// Keyset holds the secret keys: one or more AES-256-GCM keys, of which the primary one seals and all of them open, and
// one HMAC-SHA256 key for blind indexes. It never changes, so it is safe for concurrent use: Add, Promote, Rotate and
// Prune return another Keyset. fmt and slog print no key.
//
// To rotate without a failing read while several processes run: Add, roll out; Promote, roll out; seal the rows again
// that are not under [Sealer.PrimaryPrefix]; Prune, roll out. The blind index key does not rotate: another one means to
// compute every index anew, beside the old.
type Keyset struct {
	aead, prf *keyset.Handle
}

// document is the JSON form: two keysets as Tink writes them, in cleartext.
type document struct {
	AEAD json.RawMessage `json:"aead"`
	PRF  json.RawMessage `json:"prf"`
}

// New makes a Keyset of fresh random keys. It panics if the keys can not be made, which needs a broken build.
func New() *Keyset {
	a, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		panic(fmt.Sprintf("seal: new AEAD key: %v", err))
	}
	p, err := keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	if err != nil {
		panic(fmt.Sprintf("seal: new PRF key: %v", err))
	}
	return &Keyset{aead: a, prf: p}
}

// Parse reads what [Keyset.Marshal] wrote. Keys of another kind than this package makes are refused.
func Parse(doc []byte) (*Keyset, error) {
	if len(doc) > maxKeysetBytes {
		return nil, fmt.Errorf("seal: keyset has more than %d bytes", maxKeysetBytes)
	}
	var d document
	if err := json.Unmarshal(doc, &d); err != nil {
		// The cause may quote what it read: keep it out.
		return nil, errors.New("seal: keyset is not the JSON document it should be")
	}
	a, err := readHandle("aead", d.AEAD)
	if err != nil {
		return nil, err
	}
	p, err := readHandle("prf", d.PRF)
	if err != nil {
		return nil, err
	}
	ks := &Keyset{aead: a, prf: p}
	if err := ks.check(); err != nil {
		return nil, err
	}
	return ks, nil
}

func readHandle(part string, doc json.RawMessage) (*keyset.Handle, error) {
	if len(doc) == 0 {
		return nil, fmt.Errorf("seal: keyset has no %q part", part)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(doc)))
	if err != nil {
		return nil, fmt.Errorf("seal: the %q part of the keyset is not a valid Tink keyset with a primary key", part)
	}
	return h, nil
}

// check refuses keys of another kind, so that a weaker or unprefixed key never comes in through a file.
func (k *Keyset) check() error {
	for i := range k.aead.Len() {
		e, err := k.aead.Entry(i)
		if err != nil {
			return fmt.Errorf("seal: aead key %d: %w", i+1, err)
		}
		p, ok := e.Key().Parameters().(*aesgcm.Parameters)
		if !ok || p.KeySizeInBytes() != 32 || p.Variant() != aesgcm.VariantTink {
			return fmt.Errorf("seal: aead key %d is not an AES-256-GCM key with a TINK prefix", e.KeyID())
		}
	}
	if n := k.prf.Len(); n != 1 {
		return fmt.Errorf("seal: %d prf keys, want exactly one", n)
	}
	e, err := k.prf.Primary()
	if err != nil {
		return fmt.Errorf("seal: prf key: %w", err)
	}
	p, ok := e.Key().Parameters().(*hmacprf.Parameters)
	if !ok || p.HashType() != hmacprf.SHA256 || p.KeySizeInBytes() < 32 {
		return errors.New("seal: the prf key is not an HMAC-SHA256 key of at least 32 bytes")
	}
	return nil
}

// Marshal returns the JSON document of the Keyset, in cleartext: whoever reads it can open everything.
func (k *Keyset) Marshal() ([]byte, error) {
	write := func(h *keyset.Handle) (json.RawMessage, error) {
		var b bytes.Buffer
		err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b))
		return b.Bytes(), err
	}
	a, err := write(k.aead)
	if err != nil {
		return nil, fmt.Errorf("seal: write aead keyset: %w", err)
	}
	p, err := write(k.prf)
	if err != nil {
		return nil, fmt.Errorf("seal: write prf keyset: %w", err)
	}
	return json.MarshalIndent(document{AEAD: a, PRF: p}, "", "  ")
}

// Add returns the Keyset with one more AEAD key, which opens but does not yet seal, and the ID of that key.
func (k *Keyset) Add() (*Keyset, uint32, error) {
	m := keyset.NewManagerFromHandle(k.aead)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, 0, fmt.Errorf("seal: add key: %w", err)
	}
	next, err := k.with(m)
	return next, id, err
}

// Newest returns the ID of the AEAD key that was added last, and whether it is the primary one.
func (k *Keyset) Newest() (id uint32, primary bool, err error) {
	e, err := k.aead.Entry(k.aead.Len() - 1)
	if err != nil {
		return 0, false, fmt.Errorf("seal: newest key: %w", err)
	}
	return e.KeyID(), e.IsPrimary(), nil
}

// Promote returns the Keyset with the key of that ID as the primary one, which seals from now on.
func (k *Keyset) Promote(id uint32) (*Keyset, error) {
	m := keyset.NewManagerFromHandle(k.aead)
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("seal: promote key %d: %w", id, err)
	}
	return k.with(m)
}

// Rotate is Add and Promote at once, for when a single process runs. Others that still hold the old Keyset can not open
// what the new one seals.
func (k *Keyset) Rotate() (*Keyset, error) {
	next, id, err := k.Add()
	if err != nil {
		return nil, err
	}
	return next.Promote(id)
}

// Prune returns the Keyset without any AEAD key but the primary one. What the others sealed can not be opened any more.
func (k *Keyset) Prune() (*Keyset, error) {
	primary, err := k.aead.Primary()
	if err != nil {
		return nil, fmt.Errorf("seal: prune: %w", err)
	}
	m := keyset.NewManagerFromHandle(k.aead)
	for i := range k.aead.Len() {
		e, err := k.aead.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("seal: prune: %w", err)
		}
		if e.KeyID() == primary.KeyID() {
			continue
		}
		if err := m.Delete(e.KeyID()); err != nil {
			return nil, fmt.Errorf("seal: prune key %d: %w", e.KeyID(), err)
		}
	}
	return k.with(m)
}

func (k *Keyset) with(m *keyset.Manager) (*Keyset, error) {
	h, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return &Keyset{aead: h, prf: k.prf}, nil
}

// Format prints the number of keys, for every verb.
func (k *Keyset) Format(s fmt.State, _ rune) {
	if k == nil {
		fmt.Fprint(s, "seal.Keyset(nil)")
		return
	}
	fmt.Fprintf(s, "seal.Keyset(%d keys)", k.aead.Len())
}

// Load parses the Keyset that [ReadSecret] finds.
func Load(value, path string) (*Keyset, error) {
	doc, err := ReadSecret(value, path)
	if err != nil {
		return nil, err
	}
	return Parse(doc)
}

// ReadSecret returns a secret JSON document: value, raw or in base64 (RFC 4648, standard or URL alphabet, padded or
// not), or when value is empty the content of the file at path. The file must be a regular one that only its owner can
// read or write (mode 0600 or stricter). Errors name the file and the reason and quote nothing of the secret; a file
// that does not exist gives an error that is [fs.ErrNotExist].
func ReadSecret(value, path string) ([]byte, error) {
	if v := bytes.TrimSpace([]byte(value)); len(v) > 0 {
		if v[0] == '{' {
			return v, nil
		}
		for _, enc := range []*base64.Encoding{
			base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding,
		} {
			if b, err := enc.DecodeString(string(v)); err == nil {
				return b, nil
			}
		}
		return nil, errors.New("seal: the secret is neither a JSON object nor base64")
	}
	if path == "" {
		return nil, errors.New("seal: neither a secret nor the path of a file with one was given")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("seal: secret file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("seal: secret file: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("seal: secret file %s: not a regular file", path)
	case info.Mode().Perm()&^fs.FileMode(0o600) != 0:
		return nil, fmt.Errorf("seal: secret file %s has mode %#o; others must not reach it: chmod 600 %[1]s",
			path, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeysetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("seal: secret file: %w", err)
	}
	if len(b) > maxKeysetBytes {
		return nil, fmt.Errorf("seal: secret file %s has more than %d bytes", path, maxKeysetBytes)
	}
	return b, nil
}
