// Package httpserver is everything about HTTP that knows nothing of GraphQL: request IDs, client addresses, limits, the
// access log, and servers that drain before they stop.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"emporium/internal/telemetry"
)

// Options are what the middleware needs.
type Options struct {
	Metrics        *telemetry.Metrics
	TrustedProxies []netip.Prefix           // whose X-Forwarded-For is believed
	Route          func(path string) string // the name of a path in metrics, one of a fixed set
	HSTS           bool                     // clients come by TLS alone, and are told to
}

var requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)

// These are header values that need not be made for each request. What is appended to them goes elsewhere.
var (
	noSniff    = slices.Clip([]string{"nosniff"})
	noReferrer = slices.Clip([]string{"no-referrer"})
	noFrames   = slices.Clip([]string{"DENY"})
	noContent  = slices.Clip([]string{"default-src 'none'; frame-ancestors 'none'"}) // pages have policies of their own
	tlsAlone   = slices.Clip([]string{"max-age=63072000; includeSubDomains"})        // two years (RFC 6797)
)

// newID returns a text that hardly comes twice, of the form of crypto/rand's Text. It tells requests apart and keeps nobody
// out, so it does not have to come from the system.
func newID() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var text [26]byte
	high, low := rand.Uint64(), rand.Uint64()
	for i := range 13 {
		text[i], text[13+i] = alphabet[high%32], alphabet[low%32]
		high, low = high/32, low/32
	}
	return string(text[:])
}

// Wrap gives each request its ID and client address, counts and logs it, and answers 500 when its handler panics.
func Wrap(next http.Handler, o Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		request := telemetry.Request{ID: r.Header.Get("X-Request-Id"), ClientAddress: clientAddress(r, o.TrustedProxies)}
		if request.ID == "" || !requestID.MatchString(request.ID) {
			request.ID = newID()
		}
		ctx := telemetry.WithRequest(r.Context(), request)
		h := w.Header()
		h["X-Request-Id"] = []string{request.ID}
		h["X-Content-Type-Options"] = noSniff
		h["Referrer-Policy"] = noReferrer
		h["X-Frame-Options"] = noFrames
		h["Content-Security-Policy"] = noContent
		if o.HSTS {
			h["Strict-Transport-Security"] = tlsAlone
		}

		o.Metrics.InFlight(1)
		out := &recorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			o.Metrics.InFlight(-1)
			cut := false
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				slog.ErrorContext(ctx, "panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				if cut = out.wrote; !cut {
					for _, about := range []string{"Cache-Control", "Content-Encoding", "Etag", "Last-Modified"} {
						h.Del(about) // of the answer that there would have been
					}
					http.Error(out, "internal error", http.StatusInternalServerError)
				}
			}
			took := time.Since(began)
			route := o.Route(r.URL.Path)
			o.Metrics.Request(route, method(r.Method), strconv.Itoa(out.status), took)
			slog.LogAttrs(ctx, slog.LevelDebug, "request", slog.String("route", route), slog.String("method", method(r.Method)),
				slog.Int("status", out.status), slog.Int64("us", took.Microseconds()))
			if cut {
				panic(http.ErrAbortHandler) // half an answer must not look like a whole one
			}
		}()
		next.ServeHTTP(out, r.WithContext(ctx))
	})
}

// method keeps made-up methods out of metrics.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	default:
		return "other"
	}
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
	wrote  bool
}

// WriteHeader remembers the first final status.
func (r *recorder) WriteHeader(status int) {
	if !r.wrote && status >= 200 {
		r.status, r.wrote = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write counts as status 200 where none was set.
func (r *recorder) Write(b []byte) (int, error) {
	r.wrote = true
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// clientAddress is the peer's IP address, or, when the peer is a trusted proxy, the last address in X-Forwarded-For that
// is not one: everything before it may be made up.
func clientAddress(r *http.Request, trusted []netip.Prefix) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	peer, err := netip.ParseAddr(host)
	if err != nil || !isTrusted(peer, trusted) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		host = hop.Unmap().String()
		if !isTrusted(hop, trusted) {
			break
		}
	}
	return host
}

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// Serve answers requests on the listener until ctx is done, then lets running requests finish for up to grace. With
// certificate and key files it speaks TLS 1.2 and later. It speaks HTTP/2, too, with TLS or without.
func Serve(ctx context.Context, l net.Listener, handler http.Handler, grace time.Duration, certFile, keyFile string) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true) // from proxies that end TLS (RFC 9113, 3.3)
	failed := make(chan error, 1)
	go func() {
		if certFile != "" {
			failed <- server.ServeTLS(l, certFile, keyFile)
		} else {
			failed <- server.Serve(l)
		}
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("requests were still running after %s", grace), server.Close())
	}
	return nil
}
