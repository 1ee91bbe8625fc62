package auth

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// KeyStatus says what a key of a Keyring is for.
type KeyStatus string

const (
	KeyActive   KeyStatus = "active"   // signs and verifies; one key is
	KeyAccepted KeyStatus = "accepted" // verifies only
)

// KeyInfo is what may be told of a key.
type KeyInfo struct {
	ID      string
	Created time.Time
	Status  KeyStatus
}

// signingKey is a key in the Keyring and in its JSON form, where the key is a private JWK (RFC 8037).
type signingKey struct {
	ID      string          `json:"kid"`
	Created time.Time       `json:"created"`
	Status  KeyStatus       `json:"status"`
	JWK     jose.JSONWebKey `json:"key"`
}

func (k signingKey) private() ed25519.PrivateKey { return k.JWK.Key.(ed25519.PrivateKey) }

// Keyring holds the Ed25519 keys of our own tokens (EdDSA, RFC 8037). It never changes, so it is safe for concurrent use:
// Add, Promote and Retire return another one, and its holder swaps an atomic pointer. fmt and slog print no key.
//
// To rotate without a token that fails while several processes run: Add, roll out, so that all verify with the coming
// key; Promote, roll out; wait for the lifetime of an access token; Retire, roll out.
type Keyring struct {
	keys   []signingKey // in the order they were added
	signer jose.Signer  // of the active key
}

// NewKeyring returns a Keyring with one fresh key, which is active.
func NewKeyring() *Keyring {
	key := newSigningKey(KeyActive)
	k, err := newKeyring([]signingKey{key})
	if err != nil {
		panic("auth: " + err.Error()) // a key that was just made is good
	}
	return k
}

func newSigningKey(status KeyStatus) signingKey {
	for {
		pub, priv, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic("auth: " + err.Error()) // crypto/rand does not fail
		}
		// The kid is the key's thumbprint (RFC 7638).
		sum, err := (&jose.JSONWebKey{Key: pub}).Thumbprint(crypto.SHA256)
		if err != nil {
			panic("auth: " + err.Error())
		}
		id := base64.RawURLEncoding.EncodeToString(sum)
		if id[0] == '-' {
			continue // the command line would take it for a flag
		}
		return signingKey{
			ID:      id,
			Created: time.Now().UTC().Truncate(time.Second),
			Status:  status,
			JWK:     jose.JSONWebKey{Key: priv},
		}
	}
}

// newKeyring checks the keys and prepares the signer.
func newKeyring(keys []signingKey) (*Keyring, error) {
	k := &Keyring{keys: keys}
	seen := make(map[string]bool)
	for i, key := range keys {
		switch _, ok := key.JWK.Key.(ed25519.PrivateKey); {
		case key.ID == "" || len(key.ID) > 128:
			return nil, fmt.Errorf("keyring: key %d has no kid or one of more than 128 bytes", i+1)
		case seen[key.ID]:
			return nil, fmt.Errorf("keyring: kid %q stands twice", key.ID)
		case key.JWK.KeyID != "" && key.JWK.KeyID != key.ID:
			return nil, fmt.Errorf("keyring: key %q names another kid inside", key.ID)
		case !ok:
			return nil, fmt.Errorf("keyring: key %q is not a private Ed25519 key", key.ID)
		case key.Status != KeyActive && key.Status != KeyAccepted:
			return nil, fmt.Errorf("keyring: key %q: status is neither active nor accepted", key.ID)
		case key.Status == KeyActive && k.signer != nil:
			return nil, errors.New("keyring: more than one key is active")
		}
		seen[key.ID] = true
		if key.Status == KeyActive {
			var err error
			k.signer, err = jose.NewSigner(
				jose.SigningKey{Algorithm: jose.EdDSA, Key: key.private()},
				(&jose.SignerOptions{}).WithType(accessTokenType).WithHeader("kid", key.ID))
			if err != nil {
				return nil, fmt.Errorf("keyring: key %q: %w", key.ID, err)
			}
		}
	}
	if k.signer == nil {
		return nil, errors.New("keyring: no key is active")
	}
	return k, nil
}

// ParseKeyring reads what [Keyring.Marshal] wrote:
//
//	{"keys": [{"kid": "…", "created": "2026-01-31T00:00:00Z", "status": "active",
//	           "key": {"kty": "OKP", "crv": "Ed25519", "x": "…", "d": "…"}}]}
//
// Exactly one key must be active.
func ParseKeyring(doc []byte) (*Keyring, error) {
	var d struct {
		Keys []signingKey `json:"keys"`
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil || dec.More() {
		// The cause may quote what it read: keep it out.
		return nil, errors.New("keyring: not the JSON document it should be")
	}
	return newKeyring(d.Keys)
}

// Marshal returns the JSON document of the Keyset with the private keys: whoever reads it can sign in as anybody.
func (k *Keyring) Marshal() ([]byte, error) {
	return json.MarshalIndent(map[string]any{"keys": k.keys}, "", "  ")
}

// Add returns the Keyring with one more key, which is accepted but does not sign yet, and the kid of that key.
func (k *Keyring) Add() (*Keyring, string, error) {
	key := newSigningKey(KeyAccepted)
	next, err := newKeyring(append(slices.Clone(k.keys), key))
	return next, key.ID, err
}

// Promote returns the Keyring with that key active; the one that was active is accepted from now on.
func (k *Keyring) Promote(kid string) (*Keyring, error) {
	keys := slices.Clone(k.keys)
	if !slices.ContainsFunc(keys, func(key signingKey) bool { return key.ID == kid }) {
		return nil, fmt.Errorf("keyring: no key %q", kid)
	}
	for i := range keys {
		keys[i].Status = KeyAccepted
		if keys[i].ID == kid {
			keys[i].Status = KeyActive
		}
	}
	return newKeyring(keys)
}

// Retire returns the Keyring without that key, whose tokens stop to verify. The active key can not be retired.
func (k *Keyring) Retire(kid string) (*Keyring, error) {
	i := slices.IndexFunc(k.keys, func(key signingKey) bool { return key.ID == kid })
	if i < 0 {
		return nil, fmt.Errorf("keyring: no key %q", kid)
	}
	if k.keys[i].Status == KeyActive {
		return nil, fmt.Errorf("keyring: key %q is active; promote another one first", kid)
	}
	return newKeyring(slices.Delete(slices.Clone(k.keys), i, i+1))
}

// Keys tells of the keys, in the order they were added.
func (k *Keyring) Keys() []KeyInfo {
	list := make([]KeyInfo, len(k.keys))
	for i, key := range k.keys {
		list[i] = KeyInfo{ID: key.ID, Created: key.Created, Status: key.Status}
	}
	return list
}

// JWKS returns the public keys, accepted ones too, as a JWK Set (RFC 7517).
func (k *Keyring) JWKS() ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, len(k.keys))}
	for i, key := range k.keys {
		set.Keys[i] = jose.JSONWebKey{
			Key: key.private().Public(), KeyID: key.ID, Algorithm: string(jose.EdDSA), Use: "sig",
		}
	}
	return json.Marshal(set)
}

// public returns the key that verifies what kid signed.
func (k *Keyring) public(kid string) (ed25519.PublicKey, bool) {
	for _, key := range k.keys {
		if key.ID == kid {
			return key.private().Public().(ed25519.PublicKey), true
		}
	}
	return nil, false
}

// Format prints the number of keys, for every verb.
func (k *Keyring) Format(s fmt.State, _ rune) {
	if k == nil {
		fmt.Fprint(s, "auth.Keyring(nil)")
		return
	}
	fmt.Fprintf(s, "auth.Keyring(%d keys)", len(k.keys))
}
