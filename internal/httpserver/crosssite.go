package httpserver

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rs/cors"
)

// preflightAge is for how long, in seconds, a browser need not ask again whether it may send a request.
const preflightAge = 600

// CrossSite lets pages of the given origins (https://shop.example.com) send requests and read the answers (CORS), and refuses
// what browsers send for pages of others, GET included, by refuse: whatever a visitor's browser knows or may reach is none of
// their business. Pages of the server's own origin are let through, and so is what no browser sends.
func CrossSite(next http.Handler, origins []string, refuse http.HandlerFunc) http.Handler {
	checked := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !SameSite(r, origins) {
			refuse(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
	if len(origins) == 0 {
		return checked
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders: []string{"Accept", "Authorization", "Content-Type", "If-None-Match", "Last-Event-Id", "X-Request-Id",
			"Apollographql-Client-Name", "Apollographql-Client-Version", "X-Graphql-Client-Name", "X-Graphql-Client-Version",
			"X-Graphql-Event-Stream-Token"},
		ExposedHeaders:   []string{"ETag", "Retry-After", "X-Request-Id"},
		AllowCredentials: true, // the cookie with the refresh token, for pages of the same site
		MaxAge:           preflightAge,
	}).Handler(checked)
}

// SameSite reports whether a request comes from a page of the server's own origin or of one that is given, or from no page.
func SameSite(r *http.Request, origins []string) bool {
	origin := r.Header.Get("Origin")
	if len(r.Header["Origin"]) > 1 {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") { // which pages can not set
	case "same-origin", "none":
		return true
	case "": // no browser, or an old one
		if origin == "" {
			return true
		}
		if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) { // the scheme is not known behind a proxy
			return true
		}
	}
	return origin != "" && slices.Contains(origins, origin)
}
