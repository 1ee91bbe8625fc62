package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
)

// verifies checks that a token gives the claims of an actor.
func verifies(t *testing.T, what string, v *Verifier, token string, want Claims) {
	t.Helper()
	if c, err := v.Verify(t.Context(), token); err != nil || c != want {
		t.Errorf("%s: %+v, %v; want %+v", what, c, err, want)
	}
}

// refuses checks that a token gives nothing.
func refuses(t *testing.T, what string, v *Verifier, token string) {
	t.Helper()
	c, err := v.Verify(t.Context(), token)
	wantRefused(t, what, c, err)
}

// TestKnownToken is accepted again, with the same claims, and takes one place however often it comes.
func TestKnownToken(t *testing.T) {
	t.Parallel()
	keys := pointer(NewKeyring())
	v, i := verifier(t, keys), NewIssuer(testIssuer, testAudience, keys)
	actor, other := newActor(), newActor()
	token, another := must(i.Issue(actor, time.Minute)), must(i.Issue(other, time.Minute))
	first := must(v.Verify(t.Context(), token))
	if first.Actor != actor || first.Subject != actor.ID.String() || v.known.Len() != 1 {
		t.Errorf("claims %+v, %d tokens are known", first, v.known.Len())
	}
	second := must(v.Verify(t.Context(), another))
	if second.Actor != other || v.known.Len() != 2 {
		t.Errorf("claims %+v, %d tokens are known", second, v.known.Len())
	}
	for range 3 {
		verifies(t, "again", v, token, first)
		verifies(t, "the other one again", v, another, second)
	}
	if v.known.Len() != 2 {
		t.Errorf("%d tokens are known, want 2", v.known.Len())
	}
	// Another verifier knows nothing of it, and says the same.
	verifies(t, "elsewhere", verifier(t, keys), token, first)
}

// TestKnownTokenOfAnotherKeyring is checked by the keys of today: one that is gone makes it void at once.
func TestKnownTokenOfAnotherKeyring(t *testing.T) {
	t.Parallel()
	ring := NewKeyring()
	keys := pointer(ring)
	v := verifier(t, keys)
	token := must(NewIssuer(testIssuer, testAudience, keys).Issue(newActor(), time.Minute))
	claims := must(v.Verify(t.Context(), token))

	keys.Store(NewKeyring())
	refuses(t, "its key is gone", v, token)
	refuses(t, "its key is still gone", v, token)

	// The keys that it was good for are back, then joined by another one.
	keys.Store(ring)
	verifies(t, "its key is back", v, token, claims)
	wider, kid, err := ring.Add()
	if err != nil {
		t.Fatal(err)
	}
	keys.Store(wider)
	verifies(t, "beside another key", v, token, claims)
	verifies(t, "beside another key again", v, token, claims)

	promoted := must(wider.Promote(kid))
	keys.Store(promoted)
	verifies(t, "no longer the active key", v, token, claims)
	keys.Store(must(promoted.Retire(ring.Keys()[0].ID)))
	refuses(t, "its key is retired", v, token)
	if v.known.Len() != 1 {
		t.Errorf("%d tokens are known, want 1", v.known.Len())
	}
}

// TestKnownTokenWhileKeysAreSwapped: whoever begins after the swap is refused, whatever others remember meanwhile.
func TestKnownTokenWhileKeysAreSwapped(t *testing.T) {
	t.Parallel()
	good, without := NewKeyring(), NewKeyring()
	keys := pointer(good)
	v := verifier(t, keys)
	token := must(NewIssuer(testIssuer, testAudience, keys).Issue(newActor(), time.Hour))
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			_, _ = v.Verify(context.Background(), token)
		}
	}()
	for range 50 {
		keys.Store(without)
		refuses(t, "its key is gone", v, token)
		keys.Store(good)
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("its key is back: %v", err)
		}
	}
	stop.Store(true)
	<-done
}

// TestKnownTokenExpires at the same moment as one that comes for the first time.
func TestKnownTokenExpires(t *testing.T) {
	for _, tc := range []struct {
		leeway, want time.Duration
	}{{0, 30 * time.Second}, {-1, 0}, {5 * time.Second, 5 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			keys := pointer(NewKeyring())
			fresh := func() *Verifier {
				return must(NewVerifier(VerifierConfig{Issuer: testIssuer, Audience: testAudience, Leeway: tc.leeway}, keys))
			}
			v := fresh()
			token := must(NewIssuer(testIssuer, testAudience, keys).Issue(newActor(), time.Minute))
			claims := must(v.Verify(t.Context(), token))
			time.Sleep(time.Minute + tc.want - time.Nanosecond)
			for _, step := range []struct {
				what string
				good bool
			}{{"just before", true}, {"at the end", true}, {"just after", false}, {"a nanosecond later", false}} {
				for name, v := range map[string]*Verifier{"known": v, "new": fresh()} {
					if step.good {
						verifies(t, name+", "+step.what, v, token, claims)
					} else {
						refuses(t, name+", "+step.what, v, token)
					}
				}
				time.Sleep(time.Nanosecond)
			}
			time.Sleep(time.Hour)
			refuses(t, "long after", v, token)
		})
	}
}

// TestKnownTokenIsNotKnownBefore it is valid: a refusal is not remembered, nor does it stand in the way later.
func TestKnownTokenIsNotKnownBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := NewKeyring()
		v := must(NewVerifier(VerifierConfig{Issuer: testIssuer, Audience: testAudience, Leeway: -1}, pointer(ring)))
		now := time.Now()
		for _, claim := range []string{"nbf", "iat"} {
			claims := map[string]any{
				"iss": testIssuer, "aud": testAudience, "sub": uuid.NewString(), "sid": uuid.NewString(), "jti": claim,
				"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
			}
			claims[claim] = now.Add(10 * time.Second).Unix()
			token := sign(ring.keys[0].private(), map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": ring.keys[0].ID}, claims)
			refuses(t, claim+" in the future", v, token)
			if v.known.Len() != 0 {
				t.Errorf("%s: a refused token is remembered", claim)
			}
			time.Sleep(10 * time.Second)
			for range 2 {
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Errorf("%s has come: %v", claim, err)
				}
			}
			v.known.Purge()
			now = time.Now()
		}
	})
}

// TestNeighboursOfAKnownToken: nothing but the token itself profits from what is remembered of it.
func TestNeighboursOfAKnownToken(t *testing.T) {
	t.Parallel()
	ring := NewKeyring()
	keys := pointer(ring)
	v := verifier(t, keys)
	token := must(NewIssuer(testIssuer, testAudience, keys).Issue(newActor(), time.Minute))
	claims := must(v.Verify(t.Context(), token))
	part := strings.Split(token, ".")
	signature := must(base64.RawURLEncoding.DecodeString(part[2]))

	// 86 characters carry 4 bits more than a signature has. Such as differ in these alone are the same signature to
	// whoever decodes it: they pass by being checked, not by being known.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	same := 0
	for _, last := range alphabet {
		neighbour := token[:len(token)-1] + string(last)
		if neighbour == token {
			continue
		}
		decoded := must(base64.RawURLEncoding.DecodeString(strings.Split(neighbour, ".")[2]))
		if string(decoded) == string(signature) {
			same++
			verifies(t, "the same signature, ending in "+string(last), v, neighbour, claims)
		} else {
			refuses(t, "a signature that ends in "+string(last), v, neighbour)
		}
	}
	verifies(t, "the same signature, with the line end that decoding skips", v, token+"\n", claims)
	if same != 15 || v.known.Len() != 17 {
		t.Errorf("%d others have the same signature, %d tokens are known", same, v.known.Len())
	}

	changed := func(n, i int) string {
		raw := must(base64.RawURLEncoding.DecodeString(part[n]))
		raw[i] ^= 1
		p := strings.Split(token, ".")
		p[n] = base64.RawURLEncoding.EncodeToString(raw)
		return strings.Join(p, ".")
	}
	for what, neighbour := range map[string]string{
		"first bit of the signature":      changed(2, 0),
		"last bit of the signature":       changed(2, ed25519.SignatureSize-1),
		"no signature":                    part[0] + "." + part[1] + ".",
		"a signature that is cut off":     token[:len(token)-1],
		"a signature with one byte more":  token + "AA",
		"claims of somebody else":         part[0] + "." + encode(map[string]any{"iss": testIssuer, "sub": uuid.NewString()}) + "." + part[2],
		"white space before":              " " + token,
		"padding":                         token + "==",
		"the hash of the token":           func() string { h := sha256.Sum256([]byte(token)); return string(h[:]) }(),
		"the claims without their header": "." + part[1] + "." + part[2],
	} {
		refuses(t, what, v, neighbour)
	}
	verifies(t, "the token itself", v, token, claims)
}

// TestForeignTokensAreNotKnown: their issuer may take a key back at any time.
func TestForeignTokensAreNotKnown(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	key := newEC("k1")
	p.keys = []jose.JSONWebKey{key}
	v := verifier(t, pointer(NewKeyring()), p.config())
	token := p.token(t, jose.ES256, key)
	for range 3 {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("a good token: %v", err)
		}
	}
	if v.known.Len() != 0 {
		t.Errorf("%d tokens are known", v.known.Len())
	}
}

// TestKnownTokensAreBounded: the one that was not seen for the longest time makes room, and is checked again when it
// comes back.
func TestKnownTokensAreBounded(t *testing.T) {
	t.Parallel()
	keys := pointer(NewKeyring())
	v, i := verifier(t, keys), NewIssuer(testIssuer, testAudience, keys)
	fill := func(n, from int) {
		for j := range n {
			var hash [sha256.Size]byte
			binary.BigEndian.PutUint64(hash[:], uint64(from+j))
			v.known.Add(hash, known{})
		}
	}
	isKnown := func(token string) bool { return v.known.Contains(sha256.Sum256([]byte(token))) }

	old, used := must(i.Issue(newActor(), time.Minute)), must(i.Issue(newActor(), time.Minute))
	claims := must(v.Verify(t.Context(), old))
	recent := must(v.Verify(t.Context(), used))
	fill(knownTokens-2, 0)
	if v.known.Len() != knownTokens || !isKnown(old) || !isKnown(used) {
		t.Errorf("%d tokens are known, want %d", v.known.Len(), knownTokens)
	}
	verifies(t, "used", v, used, recent)
	fill(1, knownTokens)
	if v.known.Len() != knownTokens || isKnown(old) || !isKnown(used) {
		t.Errorf("%d tokens are known, want %d; the oldest %t, one in use %t", v.known.Len(), knownTokens, isKnown(old), isKnown(used))
	}
	verifies(t, "forgotten", v, old, claims)
	if v.known.Len() != knownTokens || !isKnown(old) {
		t.Errorf("%d tokens are known, want %d", v.known.Len(), knownTokens)
	}
}
