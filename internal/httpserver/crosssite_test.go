package httpserver_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"emporium/internal/httpserver"
)

// TestCrossSite sends what browsers send for pages, and wants it let through for the server's own and for those of the list.
func TestCrossSite(t *testing.T) {
	t.Parallel()
	const listed = "https://shop.example.com"
	served := 0
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	for _, c := range []struct {
		site, origin string
		closed, open bool // whether it is let through with no list, and with one
	}{
		{"", "", true, true},            // no browser
		{"same-origin", "", true, true}, // GET
		{"same-origin", "https://api.test", true, true},
		{"none", "", true, true},                   // typed
		{"", "http://api.test", true, true},        // an old browser, or no TLS
		{"", "https://api.test:444", false, false}, // another port
		{"", "https://evil.test", false, false},
		{"", "null", false, false}, // a sandbox
		{"", "https://shop.example.com.evil.test", false, false},
		{"cross-site", "", false, false}, // an image, a link, a form by GET
		{"same-site", "", false, false},
		{"cross-site", "https://evil.test", false, false},
		{"cross-site", "https://api.test", false, false}, // it can not be of there
		{"cross-site", "null", false, false},
		{"cross-site", listed, false, true},
		{"same-site", listed, false, true},
		{"", listed, false, true},
		{"cross-site", listed + ".", false, false},
		{"whatever", "", false, false},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for _, origins := range [][]string{nil, {"https://other.example.com", listed}} {
				r := httptest.NewRequest(method, "http://api.test/graphql", nil)
				for name, value := range map[string]string{"Sec-Fetch-Site": c.site, "Origin": c.origin} {
					if value != "" {
						r.Header.Set(name, value)
					}
				}
				w, before := httptest.NewRecorder(), served
				httpserver.CrossSite(next, origins, refuse).ServeHTTP(w, r)
				want := c.closed
				if origins != nil {
					want = c.open
				}
				if (served > before) != want || (w.Code == http.StatusForbidden) == want {
					t.Errorf("%s for %q from %q, list %v: %d", method, c.site, c.origin, origins, w.Code)
				}
				may := w.Header().Get("Access-Control-Allow-Origin")
				if (may == listed) != (origins != nil && c.origin == listed) || may != "" && may != listed {
					t.Errorf("%q from %q, list %v: allowed is %q", c.site, c.origin, origins, may)
				}
				if origins != nil && !slices.Contains(w.Header()["Vary"], "Origin") {
					t.Errorf("a cache is not told that the origin makes a difference: %v", w.Header())
				}
			}
		}
	}
	preflight := func(origin, header string) http.Header {
		r := httptest.NewRequest(http.MethodOptions, "http://api.test/graphql", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", http.MethodPost)
		r.Header.Set("Access-Control-Request-Headers", header)
		w, before := httptest.NewRecorder(), served
		httpserver.CrossSite(next, []string{listed}, refuse).ServeHTTP(w, r)
		if served > before {
			t.Error("a preflight is served")
		}
		return w.Header()
	}
	if h := preflight(listed, "authorization,content-type"); h.Get("Access-Control-Allow-Origin") != listed ||
		h.Get("Access-Control-Allow-Headers") == "" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Access-Control-Max-Age") != "600" {
		t.Errorf("a preflight: %v", h)
	}
	if h := preflight("https://evil.test", "content-type"); h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a preflight of another origin: %v", h)
	}
	if h := preflight(listed, "x-whatever"); h.Get("Access-Control-Allow-Headers") != "" {
		t.Errorf("a preflight with another header: %v", h)
	}
}
