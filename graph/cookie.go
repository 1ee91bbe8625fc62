package graph

import (
	"context"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"emporium/internal/fault"
)

// refreshCookieName is the cookie that keeps the refresh token out of reach of scripts. It goes to the endpoint alone.
const refreshCookieName = "emporium_refresh"

// CookiePolicy says how the refresh token is kept in a cookie.
type CookiePolicy struct {
	Path   string        // of the GraphQL endpoint
	MaxAge time.Duration // of a session
	Secure bool          // always; otherwise when the request came over TLS
}

// exchange is the HTTP request that an operation comes with: what was decoded of it for the transport, and
// what the cookie needs.
type exchange struct {
	w         http.ResponseWriter
	r         *http.Request
	raw       []byte // what was sent; it is used again once the request is answered
	form      form
	compress  bool // the answer; those of mutations may hold tokens beside what was sent (CVE-2013-3587, BREACH)
	events    bool // an event stream will do for an answer
	params    *graphql.RawParams
	persisted *persisted // nil: the document is not kept
	untrusted bool       // it is in no manifest, and that matters
	logged    bool       // it is run all the same
	exempt    bool       // and only because staff asks
}

type exchangeKey struct{}

// checkCookie fails if a cookie is wanted where none can be set, as over a stream: the token would be lost.
func checkCookie(ctx context.Context, wanted bool) error {
	if _, ok := ctx.Value(exchangeKey{}).(*exchange); wanted && !ok {
		return fault.Input("a cookie is set in answers to POST that are no stream: send it like that, or without `cookie`", "cookie")
	}
	return nil
}

func refreshCookie(ctx context.Context) string {
	x, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok {
		return ""
	}
	c, err := x.r.Cookie(refreshCookieName)
	if err != nil {
		return ""
	}
	return c.Value
}

func (p CookiePolicy) set(ctx context.Context, token string) {
	p.write(ctx, token, int(p.MaxAge.Seconds()))
}

func (p CookiePolicy) drop(ctx context.Context) {
	if refreshCookie(ctx) != "" {
		p.write(ctx, "", -1)
	}
}

// write sets the cookie. SameSite=Strict and an endpoint that takes JSON only keep other sites from using it.
func (p CookiePolicy) write(ctx context.Context, value string, maxAge int) {
	x, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok {
		return
	}
	http.SetCookie(x.w, &http.Cookie{
		Name: refreshCookieName, Value: value, Path: p.Path, MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: p.Secure || x.r.TLS != nil,
	})
}
