package httpserver_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"emporium/internal/httpserver"
	"emporium/internal/telemetry"
)

// logged is what the tests of this package log; each finds its own lines by the ID of its request.
var logged syncBuffer

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// of returns the lines that carry the request's ID.
func (s *syncBuffer) of(t *testing.T, requestID string) []map[string]any {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []map[string]any
	for line := range strings.Lines(s.b.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%q is logged: %v", line, err)
		}
		if fields["request_id"] == requestID {
			found = append(found, fields)
		}
	}
	return found
}

func TestMain(m *testing.M) {
	slog.SetDefault(telemetry.NewLogger(&logged, slog.LevelDebug))
	os.Exit(m.Run())
}

func route(path string) string {
	if path == "/graphql" {
		return path
	}
	return "other"
}

// count returns the lines of the metrics that count requests.
func count(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	var found strings.Builder
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "emporium_http_request_duration_seconds_count") || strings.HasPrefix(line, "emporium_http_requests_in_flight") {
			found.WriteString(strings.TrimPrefix(line, "emporium_http_request"))
		}
	}
	return found.String()
}

var freshID = regexp.MustCompile(`^[A-Z2-7]{26}$`)

func TestRequestID(t *testing.T) {
	t.Parallel()
	for sent, kept := range map[string]bool{
		"12345678": true, "0190a5d0-0000-7000-8000-000000000001": true, "a.b_c-D1": true, strings.Repeat("x", 64): true,
		"": false, "1234567": false, strings.Repeat("x", 65): false, strings.Repeat("x", 10_000): false,
		"has a space": false, "line\nbreak!": false, `"quoted"!!`: false, "<script>x": false, "ünïcödé!": false, "12345678\n": false, "a,b,c,d,e": false,
	} {
		var inside string
		h := httpserver.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			inside = telemetry.RequestFrom(r.Context()).ID
		}), httpserver.Options{Metrics: telemetry.NewMetrics(), Route: route})
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		if sent != "" {
			r.Header["X-Request-Id"] = []string{sent}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := w.Header().Get("X-Request-Id")
		if inside != got || kept && got != sent || !kept && !freshID.MatchString(got) {
			t.Errorf("%.40q: the answer has the ID %q, the context %q", sent, got, inside)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("the headers are %v", w.Header())
		}
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8:aaaa::/48")}
	for name, c := range map[string]struct {
		peer      string
		forwarded []string
		trusted   []netip.Prefix
		want      string
	}{
		"nobody is trusted":                     {"203.0.113.5:4711", []string{"198.51.100.1"}, nil, "203.0.113.5"},
		"a client without the header":           {"203.0.113.5:4711", nil, trusted, "203.0.113.5"},
		"a client that makes it up":             {"203.0.113.5:4711", []string{"198.51.100.1"}, trusted, "203.0.113.5"},
		"a client that calls itself a proxy":    {"203.0.113.5:4711", []string{"10.0.0.1"}, trusted, "203.0.113.5"},
		"through a proxy":                       {"10.0.0.1:4711", []string{"203.0.113.5"}, trusted, "203.0.113.5"},
		"through a single address":              {"192.0.2.7:4711", []string{"203.0.113.5"}, trusted, "203.0.113.5"},
		"beside the single address":             {"192.0.2.8:4711", []string{"203.0.113.5"}, trusted, "192.0.2.8"},
		"through two proxies":                   {"10.0.0.1:4711", []string{"203.0.113.5, 10.0.0.2"}, trusted, "203.0.113.5"},
		"what comes before is made up":          {"10.0.0.1:4711", []string{"198.51.100.1, 203.0.113.5, 10.0.0.2"}, trusted, "203.0.113.5"},
		"a made-up proxy before":                {"10.0.0.1:4711", []string{"198.51.100.1, 10.0.0.9, 203.0.113.5, 10.0.0.2"}, trusted, "203.0.113.5"},
		"made-up text before":                   {"10.0.0.1:4711", []string{"<script>, unknown, , 203.0.113.5"}, trusted, "203.0.113.5"},
		"in several headers":                    {"10.0.0.1:4711", []string{"198.51.100.1", "203.0.113.5", "10.0.0.2"}, trusted, "203.0.113.5"},
		"blanks around":                         {"10.0.0.1:4711", []string{"198.51.100.1 ,\t 203.0.113.5 "}, trusted, "203.0.113.5"},
		"proxies all the way":                   {"10.0.0.1:4711", []string{"10.0.0.3, 10.0.0.2"}, trusted, "10.0.0.3"},
		"a proxy that says nothing":             {"10.0.0.1:4711", nil, trusted, "10.0.0.1"},
		"a proxy that says nothing in a header": {"10.0.0.1:4711", []string{""}, trusted, "10.0.0.1"},
		"text where the client should be":       {"10.0.0.1:4711", []string{"203.0.113.5, unknown"}, trusted, "10.0.0.1"},
		"text behind a proxy":                   {"10.0.0.1:4711", []string{"203.0.113.5, unknown, 10.0.0.2"}, trusted, "10.0.0.2"},
		"IPv6":                                  {"[2001:db8:bbbb::1]:4711", []string{"198.51.100.1"}, trusted, "2001:db8:bbbb::1"},
		"IPv6 through an IPv6 proxy":            {"[2001:db8:aaaa::1]:4711", []string{"2001:DB8:BBBB:0::1"}, trusted, "2001:db8:bbbb::1"},
		"IPv6 through an IPv4 proxy":            {"10.0.0.1:4711", []string{"198.51.100.1, 2001:db8:bbbb::1, 2001:db8:aaaa::2"}, trusted, "2001:db8:bbbb::1"},
		"an IPv4 proxy, written as IPv6":        {"[::ffff:10.0.0.1]:4711", []string{"203.0.113.5"}, trusted, "203.0.113.5"},
		"an IPv4 client, written as IPv6":       {"10.0.0.1:4711", []string{"::ffff:203.0.113.5"}, trusted, "203.0.113.5"},
		"an IPv4 proxy on the way, as IPv6":     {"10.0.0.1:4711", []string{"203.0.113.5, ::ffff:10.0.0.2"}, trusted, "203.0.113.5"},
		"no address at all":                     {"@", []string{"203.0.113.5"}, trusted, "@"}, // a Unix socket
	} {
		var got string
		h := httpserver.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = telemetry.RequestFrom(r.Context()).ClientAddress
		}), httpserver.Options{Metrics: telemetry.NewMetrics(), Route: route, TrustedProxies: c.trusted})
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = c.peer, c.forwarded
		r.Header.Set("X-Real-Ip", "198.51.100.99")
		r.Header.Set("Forwarded", "for=198.51.100.99")
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got != c.want {
			t.Errorf("%s: %s with %q is %q, want %q", name, c.peer, c.forwarded, got, c.want)
		}
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	metrics := telemetry.NewMetrics()
	atOnce, late, aborts := rand.Text(), rand.Text(), rand.Text()
	server := httptest.NewServer(httpserver.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write(bytes.Repeat([]byte("x"), 64<<10)) // more than is buffered
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Header().Set("Vary", "Authorization")
		panic("the reason is nobody's business")
	}), httpserver.Options{Metrics: metrics, Route: route}))
	defer server.Close()
	get := func(path, id string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Request-Id", id)
		return server.Client().Do(r)
	}

	response, err := get("/graphql", atOnce)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode != http.StatusInternalServerError || string(body) != "internal error\n" ||
		response.Header.Get("X-Request-Id") != atOnce || response.Header.Get("Etag")+response.Header.Get("Cache-Control") != "" ||
		response.Header.Get("Vary") != "Authorization" {
		t.Errorf("the answer is %d %q with %v, %v", response.StatusCode, body, response.Header, err)
	}

	// Half an answer must not look like a whole one.
	if response, err = get("/late", late); err != nil {
		t.Fatal(err)
	}
	body, err = io.ReadAll(response.Body)
	_ = response.Body.Close()
	if !errors.Is(err, io.ErrUnexpectedEOF) || response.StatusCode != http.StatusOK || strings.Contains(string(body), "error") {
		t.Errorf("the answer is %d with %d bytes, %v; want it cut off", response.StatusCode, len(body), err)
	}

	if response, err := get("/abort", aborts); err == nil {
		_ = response.Body.Close()
		t.Errorf("the answer is %d, want none", response.StatusCode)
	}

	server.Close() // waits for all handlers
	for id, want := range map[string]string{atOnce: "ERROR panic, DEBUG request 500", late: "ERROR panic, DEBUG request 200", aborts: ""} {
		var got []string
		for _, line := range logged.of(t, id) {
			what := fmt.Sprint(line["level"], " ", line["msg"])
			if line["msg"] == "panic" {
				stack := fmt.Sprint(line["stack"])
				if line["panic"] != "the reason is nobody's business" || !strings.Contains(stack, "TestPanic") {
					t.Errorf("%s: logged as %v", id, line)
				}
			} else {
				what += fmt.Sprint(" ", line["status"])
			}
			got = append(got, what)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: logged are %q, want %s", id, got, want)
		}
	}
	if got, want := count(t, metrics), `_duration_seconds_count{method="GET",route="/graphql",status="500"} 1
_duration_seconds_count{method="GET",route="other",status="200"} 1
s_in_flight 0
`; got != want {
		t.Errorf("the metrics are\n%swant\n%s", got, want)
	}
}

func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	metrics := telemetry.NewMetrics()
	h := httpserver.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/wp-") {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNotFound)
			w.WriteHeader(http.StatusOK) // too late
		}
		_, _ = w.Write(nil)
	}), httpserver.Options{Metrics: metrics, Route: route})
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get", "BREW", "PROPFIND", "X1", "X2", "X3"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), method, "/graphql", nil))
	}
	for i := range 50 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("/wp-%d?id=%d", i, i), nil))
	}
	want := ""
	for _, method := range []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"} {
		want += fmt.Sprintf("_duration_seconds_count{method=%q,route=\"/graphql\",status=\"200\"} 1\n", method)
		if method == "GET" {
			want += `_duration_seconds_count{method="GET",route="other",status="404"} 50` + "\n"
		}
	}
	want += `_duration_seconds_count{method="other",route="/graphql",status="200"} 8` + "\ns_in_flight 0\n"
	if got := count(t, metrics); got != want {
		t.Errorf("the metrics are\n%swant\n%s", got, want)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestServeDrains(t *testing.T) {
	t.Parallel()
	l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	running, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(running)
		select {
		case <-finish:
			_, _ = io.WriteString(w, "finished")
		case <-r.Context().Done():
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- httpserver.Serve(ctx, l, handler, time.Minute, "", "") }()

	type answer struct {
		body string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		body, err := get(t.Context(), http.DefaultTransport, "http://"+l.Addr().String())
		answered <- answer{body, err}
	}()
	<-running
	stop()

	// The listener closes soon; from then on nobody is let in, while the first request still runs.
	refused := func() bool {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}
	eventually(t, "new connections are refused", refused)
	select {
	case err := <-ended:
		t.Fatalf("Serve ended while a request ran: %v", err)
	case a := <-answered:
		t.Fatalf("the request was answered early: %+v", a)
	default:
	}
	close(finish)
	if a := <-answered; a.err != nil || a.body != "finished" {
		t.Errorf("the running request was answered %+v", a)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve ended with %v", err)
	}
}

func TestServeGivesUpAfterTheGrace(t *testing.T) {
	t.Parallel()
	l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	running, released := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(running)
		<-r.Context().Done()
		close(released)
	})
	ended := make(chan error, 1)
	go func() { ended <- httpserver.Serve(ctx, l, handler, 20*time.Millisecond, "", "") }()
	answered := make(chan error, 1)
	go func() {
		_, err := get(t.Context(), http.DefaultTransport, "http://"+l.Addr().String())
		answered <- err
	}()
	<-running
	stop()
	if err := <-ended; err == nil || err.Error() != "requests were still running after 20ms" {
		t.Errorf("Serve ended with %v", err)
	}
	if err := <-answered; err == nil {
		t.Error("the request was answered")
	}
	<-released // its context ended with its connection
}

func TestServeFails(t *testing.T) {
	t.Parallel()
	l := listen(t)
	if err := httpserver.Serve(t.Context(), l, http.NotFoundHandler(), time.Second, "/no/such/cert.pem", "/no/such/key.pem"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its certificate it ends with %v", err)
	}
	closed := listen(t)
	_ = closed.Close()
	if err := httpserver.Serve(t.Context(), closed, http.NotFoundHandler(), time.Second, "", ""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed listener it ends with %v", err)
	}
}

func TestServeTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile, roots := certificate(t)
	l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s over TLS: %t", r.Proto, r.TLS != nil)
	})
	ended := make(chan error, 1)
	go func() { ended <- httpserver.Serve(ctx, l, handler, time.Minute, certFile, keyFile) }()
	client := func(cfg *tls.Config) *http.Transport {
		transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		return transport
	}

	if body, err := get(t.Context(), client(&tls.Config{RootCAs: roots}), "https://"+l.Addr().String()); err != nil || body != "HTTP/2.0 over TLS: true" {
		t.Errorf("answered %q, %v", body, err)
	}
	if _, err := get(t.Context(), client(&tls.Config{}), "https://"+l.Addr().String()); err == nil {
		t.Error("a client that does not know the certificate was content")
	}
	old := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if _, err := get(t.Context(), client(old), "https://"+l.Addr().String()); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "HTTP/1.0 400 Bad Request\r\n" {
		t.Errorf("without TLS it answered %q, %v", line, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Serve ended with %v", err)
	}
}

// TestServeWithoutTLS speaks HTTP/2 with a proxy that knows it, and HTTP/1.1 with everyone.
func TestServeWithoutTLS(t *testing.T) {
	t.Parallel()
	l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- httpserver.Serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }),
			time.Minute, "", "")
	}()
	two := new(http.Protocols)
	two.SetUnencryptedHTTP2(true)
	for want, transport := range map[string]*http.Transport{"HTTP/2.0": {Protocols: two}, "HTTP/1.1": {}} {
		if body, err := get(t.Context(), transport, "http://"+l.Addr().String()); err != nil || body != want {
			t.Errorf("answered %q, %v, want %s", body, err, want)
		}
		transport.CloseIdleConnections()
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Serve ended with %v", err)
	}
}

func get(ctx context.Context, transport http.RoundTripper, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// eventually polls until it holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !holds(); {
		select {
		case <-deadline:
			t.Fatalf("30 s later it does not hold: %s", what)
		case <-tick.C:
		}
	}
}

// certificate makes a self-signed certificate for 127.0.0.1.
func certificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(parsed)
	directory := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(directory, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(directory, "cert.pem"), filepath.Join(directory, "key.pem"), roots
}

// BenchmarkWrap is what all requests go through, around a handler that does nothing.
func BenchmarkWrap(b *testing.B) {
	slog.SetDefault(slog.New(slog.NewJSONHandler(io.Discard, nil)))
	handler := httpserver.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) }),
		httpserver.Options{Metrics: telemetry.NewMetrics(), Route: func(string) string { return "/graphql" }})
	r := httptest.NewRequest(http.MethodPost, "/graphql", nil)
	w := silent{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		handler.ServeHTTP(w, r)
	}
}

type silent struct{ header http.Header }

func (s silent) Header() http.Header         { return s.header }
func (s silent) WriteHeader(int)             {}
func (s silent) Write(b []byte) (int, error) { return len(b), nil }
