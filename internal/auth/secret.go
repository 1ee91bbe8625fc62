package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"

	"github.com/google/uuid"
)

const (
	secretBytes = 32 // 256 bits

	apiKeyPrefix = "emp_"
)

// NewSecret returns 256 random bits as 43 characters of base64url, and their SHA-256 hash, which alone is to be stored. What
// is as random as that can not be guessed from its hash, so it needs no slow one like a password.
func NewSecret() (text string, hash [sha256.Size]byte) {
	b := make([]byte, secretBytes)
	rand.Read(b) // never fails
	return refreshEncoding.EncodeToString(b), sha256.Sum256(b)
}

// ParseSecret returns the hash of a secret; false for what NewSecret does not return.
func ParseSecret(text string) (hash [sha256.Size]byte, ok bool) {
	b, err := refreshEncoding.DecodeString(text)
	if err != nil || len(b) != secretBytes || len(text) != refreshEncoding.EncodedLen(secretBytes) {
		return hash, false
	}
	return sha256.Sum256(b), true
}

// NewAPIKey returns a fresh key of a machine, "emp_", its ID and a secret, in base64url with "_" between them, and the hash
// of the secret.
func NewAPIKey(id uuid.UUID) (key string, hash [sha256.Size]byte) {
	secret, hash := NewSecret()
	return apiKeyPrefix + refreshEncoding.EncodeToString(id[:]) + "_" + secret, hash
}

// IsAPIKey reports whether a bearer token is to be taken for the key of a machine.
func IsAPIKey(token string) bool { return strings.HasPrefix(token, apiKeyPrefix) }

// ParseAPIKey takes a key apart. It proves nothing: the hash is to be compared with the stored one.
func ParseAPIKey(key string) (id uuid.UUID, hash [sha256.Size]byte, ok bool) {
	text, ok := strings.CutPrefix(key, apiKeyPrefix)
	n := refreshEncoding.EncodedLen(len(id)) // "_" is a letter of base64url, too
	if !ok || len(text) <= n || text[n] != '_' {
		return id, hash, false
	}
	b, err := refreshEncoding.DecodeString(text[:n])
	if err != nil || len(b) != len(id) {
		return id, hash, false
	}
	hash, ok = ParseSecret(text[n+1:])
	return uuid.UUID(b), hash, ok
}
