package auth

import (
	"context"
	"crypto/rsa"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	"golang.org/x/time/rate"
)

const (
	fetchTimeout  = 5 * time.Second  // for discovery and keys together
	fetchMaxBytes = 256 << 10        // of one response
	keysRefresh   = 10 * time.Minute // older keys are fetched again, beside the requests that use them
	keysMaxAge    = 24 * time.Hour   // older keys are not used any more
	fetchEvery    = 10 * time.Second // a fetch becomes possible this often, with fetchBurst in hand
	fetchBurst    = 3
)

// External is an issuer of tokens that we trust for its users: an OpenID Connect provider.
type External struct {
	Issuer   string   `json:"issuer"`   // "iss", exactly; https, or http on a loopback address
	Audience string   `json:"audience"` // must be among "aud"
	Algs     []string `json:"algs"`     // allowed of EdDSA, ES256 and RS256; at least one
	// RoleClaim is where the roles stand: the name of a claim, or a path with dots such as realm_access.roles. The claim is
	// a list of strings, or a string with blanks between them.
	RoleClaim string          `json:"roleClaim"`
	RoleMap   map[string]Role `json:"roleMap"` // from the issuer's name of a role; others give nothing
	// DefaultCustomer makes a CUSTOMER of a user to whom RoleMap gives nothing. Otherwise such a user is refused.
	DefaultCustomer bool   `json:"defaultCustomer"`
	JWKSURL         string `json:"jwksUrl"` // "" asks the issuer (OpenID Connect Discovery 1.0)
}

func (x External) check() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("auth: external issuer %q: %s", x.Issuer, fmt.Sprintf(format, args...))
	}
	if err := checkURL(x.Issuer); err != nil {
		return fail("issuer: %v", err)
	}
	if x.JWKSURL != "" {
		if err := checkURL(x.JWKSURL); err != nil {
			return fail("jwksUrl: %v", err)
		}
	}
	if x.Audience == "" {
		return fail("no audience")
	}
	if len(x.Algs) == 0 {
		return fail("no algs")
	}
	for _, alg := range x.Algs {
		if !slices.Contains(knownAlgs, jose.SignatureAlgorithm(alg)) {
			return fail("algorithm %q is not one of %v", alg, knownAlgs)
		}
	}
	for name, role := range x.RoleMap {
		if !role.Valid() {
			return fail("roleMap: %q is mapped to %q, which is no role", name, role)
		}
	}
	if len(x.RoleMap) > 0 && x.RoleClaim == "" {
		return fail("roleMap without roleClaim")
	}
	if len(x.RoleMap) == 0 && !x.DefaultCustomer {
		return fail("neither roleMap nor defaultCustomer: nobody could sign in")
	}
	return nil
}

// checkURL wants https, or http on a loopback address for development.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return errors.New("not a URL of a host")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
		return nil
	}
	return errors.New("not an https URL")
}

// externalNamespace makes the identifiers of external users ours. It never changes.
var externalNamespace = uuid.MustParse("8b1d5c1e-6f0a-4c53-9a5e-3c1f5f0e7a42")

// ExternalID returns the user ID of an external issuer's subject: a UUIDv5 (RFC 9562 section 5.5) over both, each after
// its length, so that no two pairs share a name.
func ExternalID(issuer, subject string) uuid.UUID {
	var name []byte
	for _, part := range []string{issuer, subject} {
		name = binary.BigEndian.AppendUint32(name, uint32(len(part)))
		name = append(name, part...)
	}
	return uuid.NewSHA1(externalNamespace, name)
}

// externalIssuer verifies the tokens of one external issuer.
type externalIssuer struct {
	cfg      External
	leeway   time.Duration
	keys     *remoteKeys
	verifier *oidc.IDTokenVerifier
}

func newExternalIssuer(cfg External, leeway time.Duration, transport http.RoundTripper) (*externalIssuer, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if transport == nil {
		transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	cfg.Algs, cfg.RoleMap = slices.Clone(cfg.Algs), maps.Clone(cfg.RoleMap)
	keys := &remoteKeys{
		issuer: cfg.Issuer, pinned: cfg.JWKSURL, url: cfg.JWKSURL,
		client:  &http.Client{Transport: boundedTransport{transport}},
		timeout: fetchTimeout,
		fetches: rate.NewLimiter(rate.Every(fetchEvery), fetchBurst),
	}
	for _, alg := range cfg.Algs {
		keys.algs = append(keys.algs, jose.SignatureAlgorithm(alg))
	}
	return &externalIssuer{
		cfg: cfg, leeway: leeway, keys: keys,
		verifier: oidc.NewVerifier(cfg.Issuer, keys, &oidc.Config{
			ClientID:             cfg.Audience,
			SupportedSigningAlgs: cfg.Algs,
			Now:                  func() time.Time { return time.Now().Add(-leeway) },
		}),
	}, nil
}

func (x *externalIssuer) verify(ctx context.Context, token string) (Claims, error) {
	ctx, cancel := context.WithTimeout(ctx, x.keys.timeout)
	defer cancel()
	t, err := x.verifier.Verify(ctx, token)
	if err != nil {
		return Claims{}, err
	}
	if t.Issuer != x.cfg.Issuer { // go-oidc lets one provider use two names
		return Claims{}, fmt.Errorf("signed by %q", t.Issuer)
	}
	if t.Subject == "" {
		return Claims{}, errors.New("no subject")
	}
	var std struct {
		ID        string           `json:"jti"`
		NotBefore *jwt.NumericDate `json:"nbf"`
	}
	var all map[string]any
	if err := errors.Join(t.Claims(&std), t.Claims(&all)); err != nil {
		return Claims{}, err
	}
	if now := time.Now(); std.NotBefore != nil && now.Add(x.leeway).Before(std.NotBefore.Time()) {
		return Claims{}, jwt.ErrNotValidYet // go-oidc allows five minutes
	}
	var roles RoleSet
	for _, name := range claimStrings(all, x.cfg.RoleClaim) {
		roles |= Roles(x.cfg.RoleMap[name])
	}
	if roles == 0 {
		if !x.cfg.DefaultCustomer {
			return Claims{}, errors.New("none of the user's roles is mapped")
		}
		roles = Roles(RoleCustomer)
	}
	return Claims{
		Actor:  Actor{ID: ExternalID(t.Issuer, t.Subject), Roles: roles, External: true},
		Issuer: t.Issuer, Subject: t.Subject, TokenID: std.ID, IssuedAt: t.IssuedAt, Expires: t.Expiry,
	}, nil
}

// claimStrings returns the strings at the path; a claim whose name is the whole path comes first, as names may be URLs.
func claimStrings(claims map[string]any, path string) []string {
	v, ok := claims[path]
	if !ok {
		v = claims
		for name := range strings.SplitSeq(path, ".") {
			object, _ := v.(map[string]any)
			v = object[name]
		}
	}
	switch v := v.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var list []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// remoteKeys is the key set of an external issuer (an oidc.KeySet). In place of oidc.RemoteKeySet, which asks the issuer
// again for every bad signature and keeps a withdrawn key for ever, it asks for an unknown kid alone, no more often than
// its limiter allows, and lets keys grow old.
type remoteKeys struct {
	issuer  string
	pinned  string // JWKSURL of the configuration
	algs    []jose.SignatureAlgorithm
	client  *http.Client
	timeout time.Duration // for one fetch, and for whoever waits for it
	fetches *rate.Limiter

	mu      sync.Mutex // guards what follows
	url     string     // "" until it is discovered
	keys    []jose.JSONWebKey
	fetched time.Time
	flight  *keysFlight
}

// keysFlight is a fetch under way; err is set before done is closed.
type keysFlight struct {
	done chan struct{}
	err  error
}

var errTooManyFetches = errors.New("keys were fetched too often; not again yet")

// VerifySignature implements oidc.KeySet.
func (r *remoteKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, r.algs)
	if err != nil {
		return nil, err
	}
	if keys, age := r.matching(jws); len(keys) > 0 && age < keysMaxAge {
		if age > keysRefresh {
			_, _ = r.fetch() // nobody waits; if it fails, the next request tries again
		}
		payload, err := verifyAny(jws, keys)
		if err == nil || jws.Signatures[0].Header.KeyID != "" {
			return payload, err
		}
	}
	flight, err := r.fetch()
	if err != nil {
		return nil, err
	}
	select {
	case <-flight.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("fetch keys: %w", ctx.Err())
	}
	if flight.err != nil {
		return nil, fmt.Errorf("fetch keys: %w", flight.err)
	}
	keys, _ := r.matching(jws)
	return verifyAny(jws, keys)
}

// matching returns the keys that may have signed jws, and their age.
func (r *remoteKeys) matching(jws *jose.JSONWebSignature) ([]jose.JSONWebKey, time.Duration) {
	r.mu.Lock()
	keys, fetched := r.keys, r.fetched
	r.mu.Unlock()
	head := jws.Signatures[0].Header
	var match []jose.JSONWebKey
	for _, k := range keys {
		if (head.KeyID == "" || k.KeyID == head.KeyID) && (k.Algorithm == "" || k.Algorithm == head.Algorithm) {
			match = append(match, k)
		}
	}
	return match, time.Since(fetched)
}

func verifyAny(jws *jose.JSONWebSignature, keys []jose.JSONWebKey) ([]byte, error) {
	for _, k := range keys {
		if payload, err := jws.Verify(k.Key); err == nil {
			return payload, nil
		}
	}
	return nil, fmt.Errorf("none of %d keys with kid %.100q verifies the signature", len(keys), jws.Signatures[0].Header.KeyID)
}

// fetch starts to fetch the keys, or joins the fetch under way.
func (r *remoteKeys) fetch() (*keysFlight, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flight != nil {
		return r.flight, nil
	}
	if !r.fetches.Allow() {
		return nil, errTooManyFetches
	}
	f := &keysFlight{done: make(chan struct{})}
	r.flight = f
	keysURL := r.url
	go func() {
		keys, found, err := r.load(keysURL)
		r.mu.Lock()
		if err == nil {
			r.keys, r.fetched, r.url = keys, time.Now(), found
		} else {
			r.url = r.pinned // what was discovered may have moved
		}
		r.flight = nil
		r.mu.Unlock()
		f.err = err
		close(f.done)
	}()
	return f, nil
}

// load gets the keys, after asking the issuer where they are if that is not known.
func (r *remoteKeys) load(keysURL string) ([]jose.JSONWebKey, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
	defer cancel()
	if keysURL == "" {
		provider, err := oidc.NewProvider(oidc.ClientContext(ctx, r.client), r.issuer)
		if err != nil {
			return nil, "", fmt.Errorf("discovery: %.300s", err) // it may carry the whole response
		}
		var doc struct {
			JWKSURL string `json:"jwks_uri"`
		}
		if err := provider.Claims(&doc); err != nil {
			return nil, "", fmt.Errorf("discovery: %w", err)
		}
		keysURL = doc.JWKSURL
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, keysURL, nil)
	if err != nil {
		return nil, "", err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, "", err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("%s answered %s", req.URL.Redacted(), resp.Status)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, "", fmt.Errorf("%s: %w", req.URL.Redacted(), err)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		// What is not understood is ignored (RFC 7517 section 5).
		var k jose.JSONWebKey
		if err := k.UnmarshalJSON(raw); err != nil || !k.IsPublic() || k.Use != "" && k.Use != "sig" {
			continue
		}
		if pub, ok := k.Key.(*rsa.PublicKey); ok && pub.N.BitLen() < 2048 { // RFC 7518 section 3.3
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, "", fmt.Errorf("%s holds no usable key", req.URL.Redacted())
	}
	return keys, keysURL, nil
}

// boundedTransport bounds the size of responses and refuses URLs that [checkURL] does, redirects to them too.
type boundedTransport struct{ base http.RoundTripper }

func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := checkURL(req.URL.String()); err != nil {
		return nil, err
	}
	resp, err := t.base.RoundTrip(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, fetchMaxBytes)
	}
	return resp, err
}
