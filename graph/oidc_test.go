package graph

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"emporium/internal/auth"
)

// TestExternalIssuer lets people in with tokens of another issuer, which the test runs: with the roles that theirs map to,
// and nothing else.
func TestExternalIssuer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	issuer := httptest.NewServer(mux)
	t.Cleanup(issuer.Close)
	serve := func(path string, v any) {
		mux.HandleFunc(path, func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(out).Encode(v)
		})
	}
	serve("/.well-known/openid-configuration", map[string]any{"issuer": issuer.URL, "jwks_uri": issuer.URL + "/keys",
		"authorization_endpoint": issuer.URL, "token_endpoint": issuer.URL, "response_types_supported": []string{"code"},
		"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"}})
	serve("/keys", jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})

	keys := &atomic.Pointer[auth.Keyring]{}
	keys.Store(auth.NewKeyring())
	o := w.options
	if o.Verifier, err = auth.NewVerifier(auth.VerifierConfig{Issuer: "test", Audience: "test", External: []auth.External{{
		Issuer: issuer.URL, Audience: "shop", Algs: []string{"ES256"}, RoleClaim: "realm_access.roles",
		RoleMap: map[string]auth.Role{"backoffice": auth.RoleManager, "buyer": auth.RoleCustomer},
	}}}, keys); err != nil {
		t.Fatal(err)
	}
	if w.handler, err = NewHandler(o); err != nil {
		t.Fatal(err)
	}
	sign := func(claims map[string]any) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]any{"iss": issuer.URL, "aud": "shop", "sub": "somebody", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
		for k, v := range claims {
			all[k] = v
		}
		token, err := jwt.Signed(signer).Claims(all).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	roles := func(names ...string) map[string]any { return map[string]any{"roles": names} }
	for who, claims := range map[string]map[string]any{
		"manager": {"realm_access": roles("backoffice", "ADMIN", "unknown")}, "buyer": {"realm_access": roles("buyer")},
		"nobody": {"realm_access": roles("ADMIN")}, "elsewhere": {"aud": "other", "realm_access": roles("backoffice")},
		"expired": {"exp": time.Now().Add(-time.Hour).Unix(), "realm_access": roles("backoffice")},
	} {
		w.tokens[who] = sign(claims)
	}
	const query = `{ users(first: 1) { totalCount } }`
	if got := w.ask("manager", query, nil); !strings.Contains(got.body, `"totalCount":`) || len(got.codes()) > 0 {
		t.Errorf("with a role that maps to MANAGER: %s", got.body)
	}
	if got := strings.Join(w.ask("buyer", query, nil).codes(), ","); got != "FORBIDDEN users" {
		t.Errorf("with a role that maps to CUSTOMER: %s", got)
	}
	if got := w.data("buyer", `{ orders(first: 5) { totalCount } }`, nil)["orders"].(map[string]any); got["totalCount"] != 0.0 {
		t.Errorf("somebody else's orders: %v", got)
	}
	for _, who := range []string{"nobody", "elsewhere", "expired"} {
		if got := w.ask(who, query, nil); got.status != 401 {
			t.Errorf("%s: %d %s", who, got.status, got.body)
		}
	}
}
