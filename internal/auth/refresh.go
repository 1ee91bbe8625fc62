package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/google/uuid"

	"emporium/internal/fault"
)

const (
	refreshPrefix = "ert_"
	refreshSecret = 32 // bytes, 256 bits
	refreshBytes  = 16 + 16 + refreshSecret
)

// refreshEncoding is strict, so that each token has one spelling.
var refreshEncoding = base64.RawURLEncoding.Strict()

// NewRefreshToken returns a fresh opaque token of 90 characters for a session, "ert_" and base64url (RFC 4648 section 5)
// of owner, session and 256 random bits, and the SHA-256 hash of these bits. Store the hash alone: the token names the
// row to look at and so a single shard, and the row's hash is compared in constant time.
func NewRefreshToken(owner, session uuid.UUID) (token string, hash [sha256.Size]byte) {
	b := make([]byte, refreshBytes)
	copy(b, owner[:])
	copy(b[16:], session[:])
	rand.Read(b[32:]) // never fails
	return refreshPrefix + refreshEncoding.EncodeToString(b), sha256.Sum256(b[32:])
}

// ParseRefreshToken takes a token apart. It proves nothing: the hash is to be compared with the stored one. A malformed
// token is the same fault.Unauthenticated as an unknown or expired one should be.
func ParseRefreshToken(token string) (owner, session uuid.UUID, hash [sha256.Size]byte, err error) {
	fail := func(reason string) (uuid.UUID, uuid.UUID, [sha256.Size]byte, error) {
		return uuid.Nil, uuid.Nil, [sha256.Size]byte{},
			fault.Wrap(fault.Unauthenticated, errors.New("refresh token: "+reason), invalidToken)
	}
	text, ok := strings.CutPrefix(token, refreshPrefix)
	if !ok || len(text) != refreshEncoding.EncodedLen(refreshBytes) {
		return fail("prefix or length")
	}
	b, err := refreshEncoding.DecodeString(text)
	if err != nil || len(b) != refreshBytes { // shorter when the decoder has skipped a newline
		return fail("encoding")
	}
	owner, session = uuid.UUID(b[:16]), uuid.UUID(b[16:32])
	if owner == uuid.Nil || session == uuid.Nil {
		return fail("no owner or session")
	}
	return owner, session, sha256.Sum256(b[32:]), nil
}
