package auth

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"emporium/internal/fault"
)

const (
	testIssuer   = "https://shop.example"
	testAudience = "emporium"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pointer(k *Keyring) *atomic.Pointer[Keyring] {
	var p atomic.Pointer[Keyring]
	p.Store(k)
	return &p
}

func verifier(t testing.TB, keys *atomic.Pointer[Keyring], external ...External) *Verifier {
	t.Helper()
	v, err := NewVerifier(VerifierConfig{Issuer: testIssuer, Audience: testAudience, External: external}, keys)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newActor() Actor {
	return Actor{ID: uuid.New(), Session: uuid.New(), Roles: Roles(RoleCustomer, RoleSupport)}
}

// wantRefused checks that all refusals look alike outside.
func wantRefused(t *testing.T, name string, c Claims, err error) {
	t.Helper()
	var f *fault.Error
	if !fault.Is(err, fault.Unauthenticated) || c != (Claims{}) {
		t.Errorf("%s: %+v, %v", name, c, err)
	} else if f, _ = err.(*fault.Error); f == nil || f.Message != invalidToken || f.Err == nil {
		t.Errorf("%s: looks different: %#v", name, err)
	}
}

func encode(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))) }

// sign makes a token of any header and claims.
func sign(key ed25519.PrivateKey, header, claims map[string]any) string {
	in := encode(header) + "." + encode(claims)
	return in + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(in)))
}

func TestIssueVerify(t *testing.T) {
	keys := pointer(NewKeyring())
	v := verifier(t, keys)
	actor := newActor()
	token, err := NewIssuer(testIssuer, testAudience, keys).Issue(actor, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if c.Actor != actor || c.Issuer != testIssuer || c.Subject != actor.ID.String() || c.TokenID == "" {
		t.Errorf("claims %+v", c)
	}
	if d := time.Since(c.IssuedAt); d < 0 || d > 5*time.Second || c.Expires.Sub(c.IssuedAt) != time.Minute {
		t.Errorf("issued %v, expires %v", c.IssuedAt, c.Expires)
	}
	var head map[string]any
	part, _, _ := strings.Cut(token, ".")
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(part)), &head); err != nil {
		t.Fatal(err)
	}
	if want := map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": keys.Load().Keys()[0].ID}; !maps.Equal(head, want) {
		t.Errorf("header %v, want %v", head, want)
	}

	for name, a := range map[string]Actor{
		"anonymous":  {Session: uuid.New()},
		"no session": {ID: uuid.New()},
		"external":   {ID: uuid.New(), Session: uuid.New(), External: true},
	} {
		if _, err := NewIssuer(testIssuer, testAudience, keys).Issue(a, time.Minute); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
	for _, ttl := range []time.Duration{0, -time.Minute, time.Millisecond} {
		if _, err := NewIssuer(testIssuer, testAudience, keys).Issue(actor, ttl); err == nil {
			t.Errorf("ttl %v: issued", ttl)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	ring := NewKeyring()
	keys := pointer(ring)
	v := verifier(t, keys)
	key, kid := ring.keys[0].private(), ring.keys[0].ID
	pub := key.Public().(ed25519.PublicKey)
	stranger := NewKeyring().keys[0]
	now := time.Now()

	header := func(set ...any) map[string]any {
		return with(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}, set...)
	}
	claims := func(set ...any) map[string]any {
		return with(map[string]any{
			"iss": testIssuer, "aud": testAudience, "sub": uuid.NewString(), "sid": uuid.NewString(), "roles": []string{"ADMIN"},
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "1",
		}, set...)
	}
	hs256 := func(secret []byte) string {
		in := encode(header("alg", "HS256")) + "." + encode(claims())
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(in))
		return in + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	good := sign(key, header(), claims())
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Fatalf("the good token: %v", err)
	}
	part := strings.Split(good, ".")
	jwks := must(ring.JWKS())

	for name, token := range map[string]string{
		"empty":                    "",
		"dots":                     "..",
		"garbage":                  "hello",
		"alg none":                 encode(header("alg", "none")) + "." + encode(claims()) + ".",
		"alg None":                 encode(header("alg", "None")) + "." + encode(claims()) + ".",
		"alg none, signed":         sign(key, header("alg", "none"), claims()),
		"no alg":                   sign(key, header("alg", nil), claims()),
		"no signature":             part[0] + "." + part[1] + ".",
		"HS256 with public key":    hs256(pub),
		"HS256 with public JWKS":   hs256(jwks),
		"HS256 with empty secret":  hs256(nil),
		"EdDSA named ES256":        sign(key, header("alg", "ES256"), claims()),
		"EdDSA named RS256":        sign(key, header("alg", "RS256"), claims()),
		"unknown kid":              sign(stranger.private(), header("kid", stranger.ID), claims()),
		"kid of another key":       sign(stranger.private(), header(), claims()),
		"no kid":                   sign(key, header("kid", nil), claims()),
		"embedded jwk":             sign(stranger.private(), header("kid", nil, "jwk", jose.JSONWebKey{Key: stranger.private().Public()}), claims()),
		"unknown critical header":  sign(key, header("crit", []string{"x"}, "x", 1), claims()),
		"tampered payload":         part[0] + "." + encode(claims("sub", uuid.NewString())) + "." + part[2],
		"tampered header":          encode(header("x", 1)) + "." + part[1] + "." + part[2],
		"wrong issuer":             sign(key, header(), claims("iss", "https://evil.example")),
		"no issuer":                sign(key, header(), claims("iss", nil)),
		"issuer is a list":         sign(key, header(), claims("iss", []string{testIssuer})),
		"wrong audience":           sign(key, header(), claims("aud", "another")),
		"no audience":              sign(key, header(), claims("aud", nil)),
		"expired":                  sign(key, header(), claims("exp", now.Add(-time.Minute).Unix())),
		"no expiry":                sign(key, header(), claims("exp", nil)),
		"not yet valid":            sign(key, header(), claims("nbf", now.Add(time.Minute).Unix())),
		"issued in the future":     sign(key, header(), claims("iat", now.Add(time.Minute).Unix())),
		"no jti":                   sign(key, header(), claims("jti", nil)),
		"ID token":                 sign(key, header("typ", "JWT"), claims()),
		"no type":                  sign(key, header("typ", nil), claims()),
		"type is a number":         sign(key, header("typ", 1), claims()),
		"logout token":             sign(key, header("typ", "logout+jwt"), claims()),
		"sub is no UUID":           sign(key, header(), claims("sub", "admin")),
		"sub is the nil UUID":      sign(key, header(), claims("sub", uuid.Nil.String())),
		"no sid":                   sign(key, header(), claims("sid", nil)),
		"roles are a string":       sign(key, header(), claims("roles", "ADMIN")),
		"two tokens":               good + "." + good,
		"JSON serialisation":       fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, part[0], part[1], part[2]),
		"nested far too deep":      part[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("[", 5000))) + "." + part[2],
		"longer than the limit":    sign(key, header(), claims("x", strings.Repeat("x", MaxTokenBytes))),
		"white space before it":    " " + good,
		"signature of another key": part[0] + "." + part[1] + "." + strings.Split(sign(stranger.private(), header(), claims()), ".")[2],
	} {
		c, err := v.Verify(t.Context(), token)
		wantRefused(t, name, c, err)
		if err != nil && len(part[2]) > 0 && strings.Contains(err.Error(), part[2]) {
			t.Errorf("%s: the error quotes the signature", name)
		}
	}

	c, err := v.Verify(t.Context(), sign(key, header(), claims("roles", []string{"CUSTOMER", "OWNER"})))
	if err != nil || c.Actor.Roles != Roles(RoleCustomer) {
		t.Errorf("unknown role: %+v, %v", c, err)
	}
	if _, err := v.Verify(t.Context(), sign(key, header(), claims("aud", []string{"another", testAudience}))); err != nil {
		t.Errorf("two audiences: %v", err)
	}
}

// with sets pairs of key and value, or deletes where the value is nil.
func with(m map[string]any, set ...any) map[string]any {
	for i := 0; i < len(set); i += 2 {
		if set[i+1] == nil {
			delete(m, set[i].(string))
		} else {
			m[set[i].(string)] = set[i+1]
		}
	}
	return m
}

func TestVerifyLeeway(t *testing.T) {
	for _, tc := range []struct {
		leeway, want time.Duration
	}{{0, 30 * time.Second}, {-1, 0}, {5 * time.Second, 5 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			keys := pointer(NewKeyring())
			v := must(NewVerifier(VerifierConfig{Issuer: testIssuer, Audience: testAudience, Leeway: tc.leeway}, keys))
			token := must(NewIssuer(testIssuer, testAudience, keys).Issue(newActor(), time.Minute))
			time.Sleep(time.Minute + tc.want)
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Errorf("leeway %v: in time: %v", tc.leeway, err)
			}
			time.Sleep(time.Second)
			c, err := v.Verify(t.Context(), token)
			wantRefused(t, "late", c, err)
		})
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	ok := External{Issuer: "https://id.example", Audience: "a", Algs: []string{"ES256"}, DefaultCustomer: true}
	for name, x := range map[string][]External{
		"our own":       {func() External { x := ok; x.Issuer = testIssuer; return x }()},
		"twice":         {ok, ok},
		"http":          {func() External { x := ok; x.Issuer = "http://id.example"; return x }()},
		"no URL":        {func() External { x := ok; x.Issuer = "accounts"; return x }()},
		"credentials":   {func() External { x := ok; x.Issuer = "https://u:p@id.example"; return x }()},
		"http keys":     {func() External { x := ok; x.JWKSURL = "http://id.example/keys"; return x }()},
		"file keys":     {func() External { x := ok; x.JWKSURL = "file:///etc/passwd"; return x }()},
		"no audience":   {func() External { x := ok; x.Audience = ""; return x }()},
		"no algs":       {func() External { x := ok; x.Algs = nil; return x }()},
		"none":          {func() External { x := ok; x.Algs = []string{"none"}; return x }()},
		"HS256":         {func() External { x := ok; x.Algs = []string{"ES256", "HS256"}; return x }()},
		"unknown role":  {func() External { x := ok; x.RoleClaim = "r"; x.RoleMap = map[string]Role{"a": "OWNER"}; return x }()},
		"no role claim": {func() External { x := ok; x.RoleMap = map[string]Role{"a": RoleAdmin}; return x }()},
		"nobody":        {func() External { x := ok; x.DefaultCustomer = false; return x }()},
	} {
		if _, err := NewVerifier(VerifierConfig{Issuer: testIssuer, Audience: testAudience, External: x}, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, cfg := range []VerifierConfig{{}, {Issuer: "x"}, {Audience: "x"}} {
		if _, err := NewVerifier(cfg, nil); err == nil {
			t.Errorf("%+v: accepted", cfg)
		}
	}
}

// TestKeyRotation rotates while tokens are issued and verified by two processes that learn of each step at different
// times: no verification may fail.
func TestKeyRotation(t *testing.T) {
	first := NewKeyring()
	here, there := pointer(first), pointer(first)
	issuers := []*Issuer{NewIssuer(testIssuer, testAudience, here), NewIssuer(testIssuer, testAudience, there)}
	verifiers := []*Verifier{verifier(t, here), verifier(t, there)}

	stop := make(chan struct{})
	var wg sync.WaitGroup
	var count atomic.Int64
	for _, i := range issuers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				token := must(i.Issue(newActor(), time.Minute))
				for _, v := range verifiers {
					if _, err := v.Verify(context.Background(), token); err != nil {
						t.Errorf("in rotation: %v", err)
						return
					}
				}
				count.Add(1)
			}
		})
	}
	roll := func(k *Keyring, err error) *Keyring {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		k = must(ParseKeyring(must(k.Marshal()))) // as another process reads it
		for _, p := range []*atomic.Pointer[Keyring]{here, there} {
			p.Store(k)
			for n := count.Load(); count.Load() < n+20 && !t.Failed(); {
				time.Sleep(time.Millisecond)
			}
		}
		return k
	}
	added, kid, err := first.Add()
	k := roll(added, err)
	old := k.Keys()[0].ID
	oldToken := must(issuers[0].Issue(newActor(), time.Minute))
	k = roll(k.Promote(kid))
	if got := k.Keys(); got[0].Status != KeyAccepted || got[1].Status != KeyActive || got[1].ID != kid {
		t.Errorf("keys %+v", got)
	}
	if _, err := verifiers[0].Verify(t.Context(), oldToken); err != nil {
		t.Errorf("token of the key before: %v", err)
	}
	k = roll(k.Retire(old))
	close(stop)
	wg.Wait()
	c, err := verifiers[0].Verify(t.Context(), oldToken)
	wantRefused(t, "token of a retired key", c, err)

	if _, err := k.Retire(kid); err == nil {
		t.Error("the active key was retired")
	}
	for _, step := range []func(string) (*Keyring, error){k.Promote, k.Retire} {
		if _, err := step("unknown"); err == nil {
			t.Error("a step with an unknown key succeeded")
		}
	}
	if len(first.Keys()) != 1 || first.Keys()[0].Status != KeyActive {
		t.Error("the first keyring has changed")
	}
}

// TestKeysCanBeNamed on the command line, where what begins with a dash is a flag: of 64 thumbprints one does.
func TestKeysCanBeNamed(t *testing.T) {
	t.Parallel()
	for range 500 {
		if id := NewKeyring().Keys()[0].ID; strings.HasPrefix(id, "-") || len(id) != 43 {
			t.Errorf("a key is named %q", id)
		}
	}
}

func TestJWKS(t *testing.T) {
	ring, _, err := NewKeyring().Add()
	if err != nil {
		t.Fatal(err)
	}
	doc := must(ring.JWKS())
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(doc, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 2 {
		t.Fatalf("%d keys", len(set.Keys))
	}
	for i, k := range set.Keys {
		if !k.IsPublic() || !k.Valid() || k.KeyID != ring.keys[i].ID || k.Algorithm != "EdDSA" || k.Use != "sig" {
			t.Errorf("key %+v", k)
		}
	}
	if bytes.Contains(doc, []byte(`"d"`)) {
		t.Error("a private key was published")
	}
}

func TestParseKeyringRefuses(t *testing.T) {
	k, kid, err := NewKeyring().Add()
	if err != nil {
		t.Fatal(err)
	}
	doc := string(must(k.Marshal()))
	again := must(ParseKeyring([]byte(doc)))
	if got, want := fmt.Sprint(again.Keys()), fmt.Sprint(k.Keys()); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	d := string(must(json.Marshal(k.keys[1].JWK)))
	_, rest, _ := strings.Cut(d, `"d":"`)
	secret, _, _ := strings.Cut(rest, `"`)
	pub := string(must(json.Marshal(k.keys[1].JWK.Public())))
	one := func(key string) string { return `{"keys":[{"kid":"a","status":"active","key":` + key + `}]}` }
	if _, err := ParseKeyring([]byte(one(d))); err != nil {
		t.Fatalf("the good document: %v", err)
	}
	for name, bad := range map[string]string{
		"empty":          "",
		"no JSON":        secret,
		"no keys":        `{"keys":[]}`,
		"null":           `null`,
		"unknown field":  strings.Replace(doc, `"status"`, `"state"`, 1),
		"trailing":       doc + "{}",
		"none active":    strings.Replace(doc, `"active"`, `"accepted"`, 1),
		"two active":     strings.ReplaceAll(doc, `"accepted"`, `"active"`),
		"unknown status": strings.Replace(doc, `"accepted"`, `"next"`, 1),
		"kid twice":      strings.ReplaceAll(doc, kid, k.keys[0].ID),
		"no kid":         strings.ReplaceAll(doc, kid, ""),
		"long kid":       strings.ReplaceAll(doc, kid, strings.Repeat("k", 129)),
		"public key":     one(pub),
		"no key":         `{"keys":[{"kid":"a","status":"active"}]}`,
		"symmetric key":  one(`{"kty":"oct","k":"` + secret + `"}`),
		"halves differ":  one(strings.Replace(d, secret, base64.RawURLEncoding.EncodeToString(make([]byte, 32)), 1)),
		"another kid":    one(strings.Replace(d, `{`, `{"kid":"b",`, 1)),
	} {
		if _, err := ParseKeyring([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error quotes the key", name)
		}
	}

	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %x\n", k, k, k, k, k)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "k", k)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "k", k)
	seed := k.keys[1].private().Seed()
	for _, leak := range []string{secret, fmt.Sprintf("%x", seed), strings.Trim(fmt.Sprint(seed), "[]")} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("printed a key: %s", out.String())
		}
	}
}

func FuzzVerify(f *testing.F) {
	ring := NewKeyring()
	keys := pointer(ring)
	v := must(NewVerifier(VerifierConfig{Issuer: testIssuer, Audience: testAudience}, keys))
	actor := newActor()
	good := must(NewIssuer(testIssuer, testAudience, keys).Issue(actor, time.Hour))
	part := strings.Split(good, ".")
	f.Add(good)
	f.Add(part[0] + "." + part[1] + ".")
	f.Add(encode(map[string]any{"alg": "none"}) + "." + part[1] + ".")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := v.Verify(context.Background(), token)
		if err == nil && (c.Actor != actor || !strings.HasPrefix(token, part[0]+"."+part[1]+".")) {
			t.Errorf("forged %q: %+v", token, c)
		}
		if err != nil && !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%q: %v", token, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	keys := pointer(NewKeyring())
	v := verifier(b, keys)
	token := must(NewIssuer(testIssuer, testAudience, keys).Issue(newActor(), time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(context.Background(), token); err != nil {
			b.Fatal(err)
		}
	}
}
