package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"emporium/internal/fault"
)

// provider is an OpenID Connect provider on a loopback address.
type provider struct {
	*httptest.Server
	mu                sync.Mutex
	keys              []jose.JSONWebKey // private
	override          http.HandlerFunc  // in place of all answers
	discovered, asked atomic.Int64
	issuerOverride    string
	extra             []json.RawMessage // further entries of the key set
	keysHome          string
}

func newProvider(t *testing.T) *provider {
	p := &provider{keysHome: "/keys"}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	override, keys, extra, issuer, home := p.override, p.keys, p.extra, p.issuerOverride, p.keysHome
	p.mu.Unlock()
	discovery := r.URL.Path == "/.well-known/openid-configuration"
	if discovery {
		p.discovered.Add(1)
	} else {
		p.asked.Add(1)
	}
	switch {
	case override != nil:
		override(w, r)
	case discovery:
		if issuer == "" {
			issuer = p.URL
		}
		json.NewEncoder(w).Encode(map[string]any{"issuer": issuer, "jwks_uri": p.URL + home, "id_token_signing_alg_values_supported": []string{"ES256"}})
	case r.URL.Path == home:
		list := append([]json.RawMessage{}, extra...)
		for _, k := range keys {
			list = append(list, must(k.Public().MarshalJSON()))
		}
		json.NewEncoder(w).Encode(map[string]any{"keys": list})
	default:
		http.NotFound(w, r)
	}
}

func (p *provider) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func newKey(kid string, key crypto.Signer) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key, KeyID: kid}
}

func newEC(kid string) jose.JSONWebKey {
	return newKey(kid, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
}

// token signs claims, by default good ones for the provider, with a key.
func (p *provider) token(t *testing.T, alg jose.SignatureAlgorithm, key jose.JSONWebKey, set ...any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims := with(map[string]any{
		"iss": p.URL, "aud": []string{"other", "shop"}, "sub": "user-1", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "t1",
		"realm_access": map[string]any{"roles": []any{"support", "unmapped", 7}},
	}, set...)
	return must(must(s.Sign(must(json.Marshal(claims)))).CompactSerialize())
}

func (p *provider) config() External {
	return External{
		Issuer: p.URL, Audience: "shop", Algs: []string{"ES256"}, RoleClaim: "realm_access.roles",
		RoleMap: map[string]Role{"support": RoleSupport, "boss": RoleAdmin},
	}
}

// unlimited lets a verifier fetch keys as often as it wants.
func unlimited(v *Verifier) *Verifier {
	for _, x := range v.external {
		x.keys.fetches = rate.NewLimiter(rate.Inf, 1)
	}
	return v
}

func TestExternalIssuer(t *testing.T) {
	p := newProvider(t)
	key := newEC("k1")
	p.keys = []jose.JSONWebKey{key}
	own := pointer(NewKeyring())
	v := verifier(t, own, p.config())
	if p.discovered.Load() != 0 {
		t.Error("discovery is not lazy")
	}
	c, err := v.Verify(t.Context(), p.token(t, jose.ES256, key))
	if err != nil {
		t.Fatal(err)
	}
	want := Actor{ID: ExternalID(p.URL, "user-1"), Roles: Roles(RoleSupport), External: true}
	if c.Actor != want || c.Issuer != p.URL || c.Subject != "user-1" || c.TokenID != "t1" || time.Until(c.Expires) > time.Minute {
		t.Errorf("claims %+v, want %+v", c, want)
	}
	for range 5 {
		if _, err := v.Verify(t.Context(), p.token(t, jose.ES256, key, "sub", uuid.NewString())); err != nil {
			t.Error(err)
		}
	}
	if d, a := p.discovered.Load(), p.asked.Load(); d != 1 || a != 1 {
		t.Errorf("%d discoveries, %d fetches", d, a)
	}

	// Our own tokens do not depend on it, nor may it issue in our name.
	p.set(func() { p.override = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) } })
	token := must(NewIssuer(testIssuer, testAudience, own).Issue(newActor(), time.Minute))
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("our own: %v", err)
	}

	stranger := newEC("k1")
	now := time.Now()
	hmacKey := jose.JSONWebKey{Key: must(key.Public().MarshalJSON()), KeyID: "k1"}
	for name, token := range map[string]string{
		"wrong audience":   p.token(t, jose.ES256, key, "aud", "other"),
		"no audience":      p.token(t, jose.ES256, key, "aud", nil),
		"another issuer":   p.token(t, jose.ES256, key, "iss", "https://id.example"),
		"trailing slash":   p.token(t, jose.ES256, key, "iss", p.URL+"/"),
		"in our name":      p.token(t, jose.ES256, key, "iss", testIssuer, "aud", testAudience, "sid", uuid.NewString()),
		"expired":          p.token(t, jose.ES256, key, "exp", now.Add(-time.Minute).Unix()),
		"no expiry":        p.token(t, jose.ES256, key, "exp", nil),
		"not yet valid":    p.token(t, jose.ES256, key, "nbf", now.Add(time.Minute).Unix()),
		"no subject":       p.token(t, jose.ES256, key, "sub", nil),
		"a stranger's key": p.token(t, jose.ES256, stranger),
		"no mapped role":   p.token(t, jose.ES256, key, "realm_access", nil),
		"HS256":            p.token(t, jose.HS256, hmacKey),
		"EdDSA":            p.token(t, jose.EdDSA, newKey("k1", must2(ed25519.GenerateKey(rand.Reader)))),
		"alg none":         encode(map[string]any{"alg": "none", "kid": "k1"}) + "." + encode(map[string]any{"iss": p.URL, "aud": "shop", "sub": "x"}) + ".",
	} {
		c, err := v.Verify(t.Context(), token)
		wantRefused(t, name, c, err)
	}
	for name, token := range map[string]string{
		"expired within the leeway": p.token(t, jose.ES256, key, "exp", now.Add(-20*time.Second).Unix()),
		"nbf within the leeway":     p.token(t, jose.ES256, key, "nbf", now.Add(20*time.Second).Unix()),
	} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A bad signature under a known kid is no reason to ask again.
	if a := p.asked.Load(); a != 1 {
		t.Errorf("%d fetches", a)
	}
}

func must2(_ ed25519.PublicKey, key ed25519.PrivateKey, err error) ed25519.PrivateKey {
	return must(key, err)
}

func TestExternalAlgorithms(t *testing.T) {
	p := newProvider(t)
	ed := newKey("ed", must2(ed25519.GenerateKey(rand.Reader)))
	rsaKey := newKey("rsa", must(rsa.GenerateKey(rand.Reader, 2048)))
	ec := newEC("") // without a kid
	weak := newKey("weak", must(rsa.GenerateKey(rand.Reader, 1024)))
	declared := newEC("declared")
	declared.Algorithm = "ES384"
	forEncryption := newEC("enc")
	forEncryption.Use = "enc"
	p.keys = []jose.JSONWebKey{ed, rsaKey, ec, weak, declared, forEncryption}
	p.extra = []json.RawMessage{
		[]byte(`{"kty":"oct","kid":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`), []byte(`{"kty":"OKP","crv":"X448","x":"AA"}`), []byte(`{"kty":"new"}`), []byte(`7`),
	}
	cfg := p.config()
	cfg.Algs = []string{"EdDSA", "ES256", "RS256"}
	v := unlimited(verifier(t, pointer(NewKeyring()), cfg))
	for alg, key := range map[jose.SignatureAlgorithm]jose.JSONWebKey{jose.EdDSA: ed, jose.RS256: rsaKey, jose.ES256: ec} {
		if _, err := v.Verify(t.Context(), p.token(t, alg, key)); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
	for name, token := range map[string]string{
		"RS512, not known":    p.token(t, jose.RS512, rsaKey),
		"PS256, not known":    p.token(t, jose.PS256, rsaKey),
		"key of 1024 bits":    p.token(t, jose.RS256, weak),
		"key of another alg":  p.token(t, jose.ES256, jose.JSONWebKey{Key: declared.Key, KeyID: "declared"}),
		"key for encryption":  p.token(t, jose.ES256, jose.JSONWebKey{Key: forEncryption.Key, KeyID: "enc"}),
		"stranger, no kid":    p.token(t, jose.ES256, newEC("")),
		"ES256 with RSA's id": p.token(t, jose.ES256, jose.JSONWebKey{Key: ec.Key, KeyID: "rsa"}),
	} {
		c, err := v.Verify(t.Context(), token)
		wantRefused(t, name, c, err)
	}
	only := p.config()
	only.Algs = []string{"RS256"}
	c, err := verifier(t, pointer(NewKeyring()), only).Verify(t.Context(), p.token(t, jose.ES256, ec))
	wantRefused(t, "known but not allowed", c, err)
}

func TestExternalRoles(t *testing.T) {
	p := newProvider(t)
	key := newEC("k1")
	p.keys = []jose.JSONWebKey{key}
	roles := map[string]Role{"support": RoleSupport, "boss": RoleAdmin}
	for _, tc := range []struct {
		name, claim string
		customer    bool
		set         []any
		want        RoleSet
	}{
		{"nested", "realm_access.roles", false, nil, Roles(RoleSupport)},
		{"two", "realm_access.roles", false, []any{"realm_access", map[string]any{"roles": []string{"boss", "support"}}}, Roles(RoleSupport, RoleAdmin)},
		{"mapped, not made a customer", "realm_access.roles", true, nil, Roles(RoleSupport)},
		{"deeper", "a.b.c", false, []any{"a", map[string]any{"b": map[string]any{"c": []string{"boss"}}}}, Roles(RoleAdmin)},
		{"top", "groups", false, []any{"groups", []string{"boss"}}, Roles(RoleAdmin)},
		{"string", "scope", false, []any{"scope", "openid  boss"}, Roles(RoleAdmin)},
		{"URL as a name", "https://shop.example/roles", false, []any{"https://shop.example/roles", []string{"boss"}}, Roles(RoleAdmin)},
		{"default", "groups", true, nil, Roles(RoleCustomer)},
		{"our names are not theirs", "groups", true, []any{"groups", []string{"ADMIN"}}, Roles(RoleCustomer)},
		{"none", "groups", false, nil, 0},
		{"unmapped", "groups", false, []any{"groups", []string{"ADMIN"}}, 0},
		{"path into a list", "groups.boss", false, []any{"groups", []string{"boss"}}, 0},
		{"number", "groups", false, []any{"groups", 7}, 0},
		{"empty name", "groups", false, []any{"groups", []string{""}}, 0},
		{"object", "realm_access", false, nil, 0},
	} {
		cfg := p.config()
		cfg.RoleClaim, cfg.RoleMap, cfg.DefaultCustomer = tc.claim, roles, tc.customer
		c, err := verifier(t, pointer(NewKeyring()), cfg).Verify(t.Context(), p.token(t, jose.ES256, key, tc.set...))
		if tc.want == 0 {
			wantRefused(t, tc.name, c, err)
		} else if err != nil || c.Actor.Roles != tc.want {
			t.Errorf("%s: %v, %v; want %v", tc.name, c.Actor.Roles, err, tc.want)
		}
	}
	cfg := p.config()
	cfg.RoleClaim, cfg.RoleMap, cfg.DefaultCustomer = "", nil, true
	c, err := verifier(t, pointer(NewKeyring()), cfg).Verify(t.Context(), p.token(t, jose.ES256, key))
	if err != nil || c.Actor.Roles != Roles(RoleCustomer) {
		t.Errorf("no map: %+v, %v", c, err)
	}
}

func TestExternalKeyRotation(t *testing.T) {
	p := newProvider(t)
	k1, k2 := newEC("k1"), newEC("k2")
	p.keys = []jose.JSONWebKey{k1}
	v := unlimited(verifier(t, pointer(NewKeyring()), p.config()))
	verify := func(k jose.JSONWebKey) error {
		_, err := v.Verify(t.Context(), p.token(t, jose.ES256, k))
		return err
	}
	if err := verify(k1); err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.keys = []jose.JSONWebKey{k1, k2} })
	if err := errors.Join(verify(k2), verify(k1)); err != nil {
		t.Fatal(err)
	}
	if d, a := p.discovered.Load(), p.asked.Load(); d != 1 || a != 2 {
		t.Errorf("%d discoveries, %d fetches", d, a)
	}

	// A withdrawn key goes when the keys have grown old, without a request that waits.
	p.set(func() { p.keys = []jose.JSONWebKey{k2} })
	keys := v.external[p.URL].keys
	keys.mu.Lock()
	keys.fetched = time.Now().Add(-keysRefresh - time.Second)
	keys.mu.Unlock()
	if err := verify(k1); err != nil {
		t.Errorf("while the keys are fetched: %v", err)
	}
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(5 * time.Second); verify(k1) == nil; {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatal("the withdrawn key still verifies")
		}
	}
	if err := verify(k2); err != nil {
		t.Error(err)
	}

	// Old keys serve while the issuer is down, but not for ever.
	p.set(func() {
		p.override = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) }
	})
	age := func(d time.Duration) {
		keys.mu.Lock()
		keys.fetched = time.Now().Add(-d)
		keys.mu.Unlock()
	}
	age(keysRefresh + time.Hour)
	if err := verify(k2); err != nil {
		t.Errorf("issuer down, keys an hour old: %v", err)
	}
	age(keysMaxAge + time.Second)
	if err := verify(k2); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("issuer down, keys a day old: %v", err)
	}
	// The keys have moved meanwhile: the issuer is asked again where they are.
	p.set(func() { p.override, p.keysHome = nil, "/moved" })
	if err := verify(k2); err != nil {
		t.Errorf("keys that moved: %v", err)
	}
}

func TestExternalIssuerFails(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"down":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"error":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, strings.Repeat("x", 4096), 500) },
		"not found": http.NotFound,
		"not JSON":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"empty":     func(http.ResponseWriter, *http.Request) {},
		"null":      func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "null") },
		"no keys":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) },
		"to http": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://id.example/keys", http.StatusFound)
		},
		"in a circle": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
	} {
		for _, pinned := range []bool{false, true} {
			p := newProvider(t)
			key := newEC("k1")
			p.keys, p.override = []jose.JSONWebKey{key}, h
			cfg := p.config()
			if pinned {
				cfg.JWKSURL = p.URL + "/keys"
			}
			v := verifier(t, pointer(NewKeyring()), cfg)
			token := p.token(t, jose.ES256, key)
			c, err := v.Verify(t.Context(), token)
			wantRefused(t, name, c, err)
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
			}
			if pinned && p.discovered.Load() != 0 {
				t.Errorf("%s: asked where the keys are", name)
			}
			// It recovers by itself.
			p.set(func() { p.override = nil })
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Errorf("%s: afterwards: %v", name, err)
			}
		}
	}

	p := newProvider(t)
	p.issuerOverride = "https://evil.example"
	key := newEC("k1")
	p.keys = []jose.JSONWebKey{key}
	c, err := verifier(t, pointer(NewKeyring()), p.config()).Verify(t.Context(), p.token(t, jose.ES256, key))
	wantRefused(t, "another issuer answers", c, err)
}

// TestExternalFetchBounds has answers that would do, but for their size or the way they come.
func TestExternalFetchBounds(t *testing.T) {
	p := newProvider(t)
	key := newEC("k1")
	p.keys = []jose.JSONWebKey{key}
	p.extra = []json.RawMessage{must(json.Marshal(strings.Repeat("x", fetchMaxBytes)))}
	token := p.token(t, jose.ES256, key)
	c, err := verifier(t, pointer(NewKeyring()), p.config()).Verify(t.Context(), token)
	wantRefused(t, "far too big", c, err)
	p.set(func() { p.extra[0] = p.extra[0][:1024]; p.extra[0][1023] = '"' })
	if _, err := verifier(t, pointer(NewKeyring()), p.config()).Verify(t.Context(), token); err != nil {
		t.Errorf("not too big: %v", err)
	}

	for target, ok := range map[string]bool{"http://id.example/keys": false, "https://id.example/keys": true} {
		var asked atomic.Int64
		v := must(NewVerifier(VerifierConfig{
			Issuer: testIssuer, Audience: testAudience, External: []External{p.config()},
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "id.example" {
					asked.Add(1)
					r.URL.Scheme, r.URL.Host = "http", p.Listener.Addr().String()
				} else if r.URL.Path == "/keys" {
					w := httptest.NewRecorder()
					http.Redirect(w, r, target, http.StatusFound)
					return w.Result(), nil
				}
				return http.DefaultTransport.RoundTrip(r)
			}),
		}, pointer(NewKeyring())))
		c, err := v.Verify(t.Context(), token)
		if ok && (err != nil || asked.Load() != 1) {
			t.Errorf("redirect to %s: %v", target, err)
		} else if !ok {
			wantRefused(t, "redirect to "+target, c, err)
			if asked.Load() != 0 {
				t.Errorf("%s was asked", target)
			}
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestExternalIssuerHangs(t *testing.T) {
	p := newProvider(t)
	key := newEC("k1")
	release := make(chan struct{})
	p.keys = []jose.JSONWebKey{key}
	p.override = func(_ http.ResponseWriter, r *http.Request) { // reads nothing, says nothing
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	v := verifier(t, pointer(NewKeyring()), p.config())
	keys := v.external[p.URL].keys
	if keys.timeout != 5*time.Second {
		t.Errorf("our deadline is %v", keys.timeout)
	}
	keys.timeout = 500 * time.Millisecond
	token := p.token(t, jose.ES256, key)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c, err := v.Verify(ctx, token)
			wantRefused(t, "caller's deadline", c, err)
		})
	}
	wg.Wait()
	if d := time.Since(start); d > 400*time.Millisecond {
		t.Errorf("waited %v", d)
	}
	// Without a deadline of the caller's there is one of ours.
	c, err := v.Verify(t.Context(), token)
	wantRefused(t, "our deadline", c, err)
	if d := time.Since(start); d < 300*time.Millisecond || d > 2*time.Second {
		t.Errorf("waited %v", d)
	}
	if n := p.discovered.Load(); n > 2 {
		t.Errorf("%d requests hang", n)
	}
	p.set(func() { p.override = nil })
	close(release)
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestExternalUnknownKeysAreNoFlood(t *testing.T) {
	p := newProvider(t)
	key := newEC("k1")
	p.keys = []jose.JSONWebKey{key}
	v := verifier(t, pointer(NewKeyring()), p.config())
	if _, err := v.Verify(t.Context(), p.token(t, jose.ES256, key)); err != nil {
		t.Fatal(err)
	}
	stranger := newEC("")
	var tokens [200]string
	for i := range tokens {
		stranger.KeyID = fmt.Sprint("unknown-", i)
		tokens[i] = p.token(t, jose.ES256, stranger)
	}
	good := p.token(t, jose.ES256, key)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := g; i < len(tokens); i += 8 {
				c, err := v.Verify(context.Background(), tokens[i])
				wantRefused(t, "unknown kid", c, err)
				if _, err := v.Verify(context.Background(), good); err != nil {
					t.Errorf("a good token in the flood: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := p.asked.Load(); n > fetchBurst {
		t.Errorf("%d fetches", n)
	}
	_, err := v.Verify(t.Context(), tokens[0])
	if err == nil || !strings.Contains(err.Error(), errTooManyFetches.Error()) { // go-oidc does not wrap
		t.Errorf("after the flood: %v", err)
	}
}

func TestExternalID(t *testing.T) {
	a := ExternalID("https://id.example", "user-1")
	if a != ExternalID("https://id.example", "user-1") || a.String() != "48fe4a0d-6cd3-561f-aafe-cb6d2501d38f" {
		t.Errorf("not stable: %v", a)
	}
	if a.Version() != 5 || a == uuid.Nil {
		t.Errorf("version %d", a.Version())
	}
	for _, other := range [][2]string{{"https://id.example", "user-2"}, {"https://id.exampleu", "ser-1"}, {"https://id.example\x00user-1", ""}, {"", ""}} {
		if a == ExternalID(other[0], other[1]) {
			t.Errorf("%q has the same ID", other)
		}
	}
}
