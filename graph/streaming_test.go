package graph

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/cache"
	"emporium/internal/postgres"
)

const stockChanged = `subscription($ids: [ID!]!) { stockChanged(variantIds: $ids) { variant { sku } } }`

func (w *world) variant() map[string]any {
	return map[string]any{"ids": []string{w.ids["Variant"].String()}}
}

// nobody waits until no stream is open.
func (r *replica) nobody() {
	r.t.Helper()
	until(r.t, "all streams are gone", func() bool {
		r.streams.mu.Lock()
		defer r.streams.mu.Unlock()
		return len(r.streams.visits)+len(r.streams.byAddress)+len(r.streams.byViewer)+len(r.streams.singles) == 0
	})
}

// ends returns how often streams of a kind have ended for a reason.
func (r *replica) ends(kind, why string) int {
	n := 0
	for line := range strings.Lines(metricsOf(r.options.Metrics)) {
		_, _ = fmt.Sscanf(line, fmt.Sprintf("ended_total{kind=%q,reason=%q} ", kind, why)+"%d", &n)
	}
	return n
}

// do sends a request with headers, given as pairs.
func (r *replica) do(method, target, body string, headers ...string) *http.Response {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 45*time.Second) // what is answered by a stream though it should not would never end
	r.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, method, r.server.URL+target, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

func (r *replica) as(who string) string { return "Bearer " + r.tokens[who] }

func body(t testing.TB, answer *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func asked(t testing.TB, query string, variables, extensions map[string]any) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"query": query, "variables": variables, "extensions": extensions})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOperationsOverStreams asks queries and mutations over a WebSocket, as events, and over a stream of several operations:
// they say what POST says, to each viewer; what sets the cookie does nothing.
func TestOperationsOverStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	r := w.replicate(nil)
	hers := map[string]any{"id": w.ids["Order"].String()}
	noted := `mutation($id: ID!) { orderNoteAdd(input: {orderId: $id, message: "over a stream"}) { userErrors { code } order { number } } }`
	for _, c := range []struct {
		who, query string
		variables  map[string]any
		begun      bool // or the errors are the operation's end
	}{
		{"ada", `{ viewer { email orders(first: 2) { nodes { number lines { title } } } } }`, nil, true},
		{"bob", `query($id: ID!) { node(id: $id) { __typename ... on Order { number } } }`, hers, true},
		{"ada", `query($id: ID!) { node(id: $id) { __typename ... on Order { number } } }`, hers, true},
		{"", `{ viewer { email } categories { name } }`, nil, true},
		{"ada", `{ users(first: 1) { nodes { email } } }`, nil, true},
		{"", `{ __schema { queryType { name } } }`, nil, true},
		{"manager", noted, hers, true},
		{"ada", `{ nothing }`, nil, false},
		{"", `{`, nil, false},
		{"", `query($id: ID!) { node(id: $id) { id } }`, nil, false},
		{"", `{ categories { ` + strings.Repeat("children { ", wideLimits.Depth) + "name" + strings.Repeat(" }", wideLimits.Depth) + ` } }`, nil, false},
	} {
		over := w.ask(c.who, c.query, c.variables).body
		var errs struct{ Errors json.RawMessage }
		if err := json.Unmarshal([]byte(over), &errs); err != nil {
			t.Fatal(err)
		}
		l := r.connect(c.who)
		for range 2 { // an ID can be used again
			l.subscribe("1", c.query, c.variables)
			if c.begun {
				l.expect("1", "next", over)
				l.expect("1", "complete", "")
			} else {
				l.expect("1", "error", string(errs.Errors))
			}
		}
		s := r.listen(c.who, c.query, c.variables)
		s.expect("event: next\ndata: " + over + "\n")
		s.expect("event: complete\ndata:\n")
		if text, err := s.block(); !errors.Is(err, io.EOF) || text != "" {
			t.Errorf("%s: after the end %q, %v", c.query, text, err)
		}
	}

	// Signing in.
	const sessions = "SELECT count(*)::int FROM users.sessions"
	count := func() int {
		t.Helper()
		n, _, err := postgres.First(t.Context(), w.dbs.Users, postgres.Stmt{Name: "test", SQL: sessions, Reads: postgres.All("users.sessions")}, pgx.RowTo[int])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	signIn := `mutation($cookie: Boolean!) { signIn(input: {email: "ada@example.com", password: "` + password + `", cookie: $cookie}) { tokens { refreshToken } } }`
	before := count()
	refused := `{"errors":[{"message":"a cookie is set in answers to POST that are no stream: send it like that, or without ` + "`cookie`" +
		`","path":["signIn"],"locations":[{"line":1,"column":31}],"extensions":{"code":"BAD_USER_INPUT","field":["cookie"]}}],"data":{"signIn":null}}`
	l := r.connect("")
	l.subscribe("1", signIn, map[string]any{"cookie": true})
	if m := l.hear(); m.Type != "next" || !sameJSON(t, string(m.Payload), refused) {
		t.Errorf("%s %s", m.Type, m.Payload)
	}
	l.expect("1", "complete", "")
	s := r.listen("", signIn, map[string]any{"cookie": true})
	if text, err := s.event(); err != nil || !sameJSON(t, strings.TrimPrefix(text, "event: next\ndata: "), refused) {
		t.Errorf("%s %v", text, err)
	}
	if now := count(); now != before {
		t.Errorf("%d sessions were opened", now-before)
	}
	l.subscribe("1", signIn, map[string]any{"cookie": false})
	if m := l.hear(); !strings.Contains(string(m.Payload), `"refreshToken":"`) || count() != before+1 {
		t.Errorf("without a cookie: %s", m.Payload)
	}
	l.expect("1", "complete", "")
}

// sameJSON compares JSON.
func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Error(err, a)
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}

// event returns the next event, after any comments.
func (s *stream) event() (string, error) {
	for {
		if text, err := s.block(); err != nil || text != ":\n" {
			return text, err
		}
	}
}

// TestStreamsAndTheCache wants queries over streams to be answered from the cache, and mutations to wait for it: a query after
// one at another process never says what was before.
func TestStreamsAndTheCache(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 1)
	var level atomic.Value
	k.options.watch.answered = func(_ context.Context, l cache.Level, _ string) { level.Store(l) }
	var err error
	if k.handler, err = NewHandler(k.options); err != nil {
		t.Fatal(err)
	}
	r := k.replicate(nil)
	manager := r.connect("manager")
	query := `query($id: ID!) { node(id: $id) { ... on Product { title } } }`
	product := map[string]any{"id": k.ids["Product"].String()}
	for i := range 10 {
		title := fmt.Sprintf("Shirt, edition %d", i)
		until(t, "what was before is kept", func() bool { return k.ask("", query, product).status == http.StatusOK && level.Load() == cache.Local })
		manager.subscribe("m", `mutation($id: ID!, $title: String!) { productUpdate(input: {productId: $id, title: $title}) { userErrors { code } } }`,
			map[string]any{"id": product["id"], "title": title})
		manager.expect("m", "next", `{"data":{"productUpdate":{"userErrors":[]}}}`)
		manager.expect("m", "complete", "")
		want := `{"data":{"node":{"title":"` + title + `"}}}`
		if a := k.ask("", query, product); a.body != want {
			t.Fatalf("after the mutation's answer: %s", a.body)
		}
		manager.subscribe("q", query, product)
		manager.expect("q", "next", want)
		manager.expect("q", "complete", "")
	}
	until(t, "an answer over the socket comes from the cache", func() bool {
		manager.subscribe("q", query, product)
		m := manager.hear()
		manager.expect("q", "complete", "")
		return strings.Contains(string(m.Payload), "edition 9") && level.Load() == cache.Local
	})
	until(t, "an answer as events comes from the cache", func() bool {
		s := r.listen("", query, product)
		text, err := s.event()
		return err == nil && strings.Contains(text, "edition 9") && level.Load() == cache.Local
	})
}

// TestStreamsOfAViewer wants one viewer to have a number of streams of whatever kind, and others theirs.
func TestStreamsOfAViewer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.replicate(nil)
	r.streams.most.viewer = 3
	first := r.connect("ada")
	_ = r.listen("ada", stockChanged, w.variant())
	if a := r.do(http.MethodPut, "/stream", "", "Authorization", r.as("ada")); a.StatusCode != http.StatusCreated {
		t.Fatalf("reserved: %d", a.StatusCode)
	}
	fourth := r.dial(socketProtocol)
	fourth.say(`{"type":"connection_init","payload":{"Authorization":"` + r.as("ada") + `"}}`)
	fourth.expectClose(websocket.StatusTryAgainLater)
	for _, method := range []string{http.MethodPut, http.MethodPost} {
		a := r.do(method, "/stream", asked(t, stockChanged, w.variant(), nil), "Authorization", r.as("ada"), "Accept", "text/event-stream")
		if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || !strings.Contains(body(t, a), "RATE_LIMITED") {
			t.Errorf("%s: %d", method, a.StatusCode)
		}
	}
	r.connect("bob")
	for range 4 {
		r.connect("")
	}
	_ = first.CloseNow()
	until(t, "there is room for another one", func() bool {
		l := r.dial(socketProtocol)
		l.say(`{"type":"connection_init","payload":{"Authorization":"` + r.as("ada") + `"}}`)
		m, err := l.read()
		return err == nil && m.Type == "connection_ack"
	})
}

// TestSocketOrigins connects from pages of here and of elsewhere.
func TestSocketOrigins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.options.Origins = []string{"https://shop.example.com", "http://localhost:3000"}
	r := w.replicate(nil)
	here := strings.TrimPrefix(r.server.URL, "http://")
	for origin, allowed := range map[string]bool{
		"": true, "http://" + here: true, "https://" + here: true, "https://shop.example.com": true, "http://localhost:3000": true,
		"http://shop.example.com": false, "https://shop.example.com:8443": false, "https://shop.example.com.evil.example": false,
		"https://evil.example/https://shop.example.com": false, "https://SHOP.example.com.": false, "http://localhost": false, "null": false, "*": false,
		"https://[": false, "https://shop.example.com, https://evil.example": false,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		c, answer, err := websocket.Dial(t.Context(), r.server.URL, &websocket.DialOptions{Subprotocols: []string{socketProtocol}, HTTPHeader: header})
		if (err == nil) != allowed || err != nil && answer.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %v", origin, err)
		}
		if err == nil {
			_ = c.CloseNow()
		}
	}
	header := http.Header{"Origin": {"https://shop.example.com", "https://evil.example"}}
	if _, _, err := websocket.Dial(t.Context(), r.server.URL, &websocket.DialOptions{Subprotocols: []string{socketProtocol}, HTTPHeader: header}); err == nil {
		t.Error("two origins at once may connect")
	}
	r.nobody()
}

// brief gives a world tokens without leeway, and returns one of somebody for a time.
func (w *world) brief(t testing.TB) func(who string, ttl time.Duration) string {
	t.Helper()
	verifier, err := auth.NewVerifier(auth.VerifierConfig{Issuer: "test", Audience: "test", Leeway: -1}, w.keys)
	if err != nil {
		t.Fatal(err)
	}
	w.options.Verifier = verifier
	return func(who string, ttl time.Duration) string {
		t.Helper()
		claims, err := verifier.Verify(t.Context(), w.tokens[who])
		if err != nil {
			t.Fatal(err)
		}
		token, err := auth.NewIssuer("test", "test", w.keys).Issue(claims.Actor, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}

// TestTokenIsRenewed shows sockets fresh tokens and others. Those that took one go on when the first has ended, without a gap
// and with what is asked later; the others end then, though nothing happens and nobody looks at them otherwise.
func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	token := w.brief(t)
	expired := token("ada", time.Second)
	expires := time.Now().Add(time.Second)
	fresh := map[string]string{"ada": w.tokens["ada"], "bob": w.tokens["bob"], "expired": expired, "nonsense": "nonsense", "machine": w.machine}
	r := w.replicate(func(p *pace) { p.recheck, p.ping = time.Hour, time.Hour })
	until(t, "a token has expired", func() bool { return time.Now().After(expires.Add(10 * time.Millisecond)) })

	w.tokens["ada"] = token("ada", 4*time.Second)
	begun := time.Now()
	r.tokens["ada"] = w.tokens["ada"]
	hers := map[string]any{"id": w.ids["Order"].String()}
	one := `subscription($id: ID!) { orderChanged(id: $id) { order { events { message } } } }`
	lines := map[string]*line{}
	for name, want := range map[string]string{"ada": "accepted", "bob": "refused", "expired": "refused", "nonsense": "refused", "machine": "refused", "": ""} {
		l := r.connect("ada")
		lines[name] = l
		l.subscribe("1", one, hers)
		if m := l.hear(); m.Type != "next" {
			t.Fatalf("%+v", m)
		}
		if name != "" {
			l.say(`{"type":"ping","payload":{"Authorization":"Bearer ` + fresh[name] + `"}}`)
			l.expect("", "pong", `{"authorization":"`+want+`"}`)
		}
	}
	l := lines["ada"]
	for _, text := range []string{"Bearer ", fresh["ada"], ""} { // of another form
		l.say(`{"type":"ping","payload":{"authorization":"` + text + `"}}`)
		l.expect("", "pong", `{"authorization":"refused"}`)
	}
	stream := r.listen("ada", one, hers)
	if text, err := stream.event(); err != nil || !strings.HasPrefix(text, "event: next") {
		t.Fatalf("%s %v", text, err)
	}
	for name, other := range lines {
		if name != "ada" {
			other.expectClose(closeForbidden)
		}
	}
	if took := time.Since(begun); took < 2*time.Second || took > 20*time.Second {
		t.Errorf("they ended after %s", took)
	}
	if text, err := stream.event(); err != nil || !strings.Contains(text, "UNAUTHENTICATED") {
		t.Errorf("the event stream: %s %v", text, err)
	}
	stream.expect("event: complete\ndata:\n")
	w.note("after it has expired")
	if m := l.hear(); m.Type != "next" || !strings.Contains(string(m.Payload), "after it has expired") {
		t.Errorf("what goes on: %s %s", m.Type, m.Payload)
	}
	l.subscribe("2", `{ viewer { email } }`, nil)
	l.expect("2", "next", `{"data":{"viewer":{"email":"ada@example.com"}}}`)
	l.expect("2", "complete", "")

	// Nobody has no token to renew, nor has who is not let in yet.
	for _, l := range []*line{r.connect(""), r.dial(socketProtocol)} {
		l.say(`{"type":"ping","payload":{"authorization":"Bearer ` + fresh["ada"] + `"}}`)
		l.expect("", "pong", `{"authorization":"refused"}`)
	}
}

// TestPings sends pings of all forms.
func TestPings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.replicate(func(p *pace) { p.ping, p.write = 20*time.Millisecond, 2*time.Second })
	l := r.connect("")
	for ping, pong := range map[string]string{`{"type":"ping"}`: "", `{"type":"ping","payload":null}`: "null", `{"type":"ping","payload":{"a":[1]}}`: `{"a":[1]}`} {
		l.say(ping)
		l.say(`{"type":"pong"}`)
		l.say(`{"type":"pong","payload":{}}`)
		l.expect("", "pong", pong)
	}
	for _, text := range []string{`{"type":"ping","payload":"x"}`, `{"type":"ping","payload":[1]}`, `{"type":"pong","payload":1}`, `{"type":"ping","payload":{"authorization":1}}`,
		`{"type":"connection_init","payload":"x"}`} {
		l := r.dial(socketProtocol)
		l.say(text)
		l.expectClose(closeBadMessage)
	}
	// Whoever does not read answers no ping of the server's.
	pong := make(chan error, 1)
	go func() {
		_, err := l.read()
		pong <- err
	}()
	silent := r.dial(socketProtocol)
	silent.say(`{"type":"connection_init"}`)
	until(t, "the one that does not answer is gone", func() bool { return r.ends(kindSocket, endedSilent) == 1 })
	l.say(`{"type":"ping"}`)
	if err := <-pong; err != nil {
		t.Errorf("the one that does: %v", err)
	}
}

// TestDrain stops a server with 50 WebSockets and 10 event streams: they end at times of their own, in time, with a reason to
// connect again; what is worked at is answered before; new ones are refused meanwhile.
func TestDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	r := w.replicate(func(p *pace) { p.drain = 2 * time.Second })
	var lines []*line
	for range 50 {
		l := r.connect("")
		l.subscribe("1", stockChanged, w.variant())
		l.hear()
		lines = append(lines, l)
	}
	var streams []*stream
	for range 10 {
		s := r.listen("", stockChanged, w.variant())
		if _, err := s.event(); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	token := body(t, r.do(http.MethodPut, "/stream", ""))
	worker := r.connect("manager")
	locked, released := make(chan struct{}), make(chan error, 1)
	holding, release := context.WithCancel(t.Context())
	go func() {
		released <- w.dbs.Orders.InTx(context.WithoutCancel(holding), func(ctx context.Context, tx *postgres.Tx) error {
			_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "test", SQL: "UPDATE orders.orders SET updated_at = now()"})
			close(locked)
			<-holding.Done()
			return err
		})
	}()
	<-locked
	worker.subscribe("1", `mutation($id: ID!) { orderNoteAdd(input: {orderId: $id, message: "late"}) { userErrors { code } } }`, map[string]any{"id": w.ids["Order"].String()})
	until(t, "the mutation runs", func() bool {
		r.streams.mu.Lock()
		defer r.streams.mu.Unlock()
		for v := range r.streams.visits {
			if v.working == 1 {
				return true
			}
		}
		return false
	})

	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan struct{})
	go func() { r.streams.End(ctx); close(ended) }()
	times := make([]time.Duration, len(lines)+len(streams))
	var all sync.WaitGroup
	for i, l := range lines {
		all.Go(func() {
			_, err := l.read()
			if times[i] = time.Since(began); websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("closed with %v", err)
			}
		})
	}
	for i, s := range streams {
		all.Go(func() {
			text, err := s.event()
			if times[len(lines)+i] = time.Since(began); text != "" || !errors.Is(err, io.EOF) {
				t.Errorf("a stream ends with %q, %v", text, err)
			}
		})
	}
	until(t, "nobody is let in", func() bool { return r.do(http.MethodPut, "/stream", "").StatusCode == http.StatusServiceUnavailable })
	if _, answer, err := websocket.Dial(t.Context(), r.server.URL, nil); err == nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("a socket: %v", err)
	}
	all.Wait()
	select {
	case <-ended:
		t.Error("what is worked at was not waited for")
	default:
	}
	release()
	if err := <-released; err != nil {
		t.Fatal(err)
	}
	worker.expect("1", "next", `{"data":{"orderNoteAdd":{"userErrors":[]}}}`)
	worker.expect("1", "complete", "")
	worker.expectClose(websocket.StatusGoingAway)
	<-ended
	r.nobody()
	if a := r.do(http.MethodGet, "/stream?token="+token, "", "Accept", "text/event-stream"); a.StatusCode != http.StatusNotFound {
		t.Errorf("what was reserved: %d", a.StatusCode)
	}
	slices.Sort(times)
	if first, last := times[0], times[len(times)-1]; last-first < time.Second {
		t.Errorf("they end from %s to %s", first, last)
	}
	for i := range times[:len(times)-20] {
		if burst := times[i+20] - times[i]; burst < 100*time.Millisecond {
			t.Errorf("20 end within %s", burst)
		}
	}
}

// TestEventStreamRequests wants what is refused before an operation begins to be told in events if it is about the document,
// and by the status if it is about the request.
func TestEventStreamRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.replicate(nil)
	const events = "text/event-stream"
	digest := func(document string) string {
		sum := sha256.Sum256([]byte(document))
		return hex.EncodeToString(sum[:])
	}
	keep := func(document string) string {
		return asked(t, document, w.variant(), map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": digest(document)}})
	}
	get := func(document string) string {
		ids, err := json.Marshal(w.variant())
		if err != nil {
			t.Fatal(err)
		}
		return "/?" + url.Values{"documentId": {"sha256:" + digest(document)}, "variables": {string(ids)}}.Encode()
	}
	if a := r.do(http.MethodGet, get(stockChanged), "", "Accept", events); a.StatusCode != http.StatusNotFound || !strings.Contains(body(t, a), "PERSISTED_QUERY_NOT_FOUND") {
		t.Errorf("a document that is not kept: %d", a.StatusCode)
	}
	signOut := `mutation { signOut { sessionsEnded } }`
	for _, document := range []string{stockChanged, signOut} {
		if a := r.do(http.MethodPost, "/", keep(document), "Accept", events, "Authorization", r.as("bob")); a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d", document, a.StatusCode)
		}
	}
	until(t, "Bob is signed out", func() bool {
		return r.do(http.MethodPost, "/", asked(t, `{ viewer { id } }`, nil, nil), "Authorization", r.as("bob")).StatusCode == http.StatusUnauthorized
	})
	// As a browser's EventSource does it, over and over.
	for range 2 {
		a := r.do(http.MethodGet, get(stockChanged), "", "Accept", events)
		s := &stream{t, a.Body, bufio.NewReader(a.Body)}
		s.expect("event: next\ndata: {\"data\":{\"stockChanged\":{\"variant\":{\"sku\":\"SH-0-S\"}}}}\n")
	}
	for name, c := range map[string]struct {
		method, target, body string
		header               []string
		status               int
		says                 string
	}{
		"no JSON":                      {http.MethodPost, "/", `{`, nil, 400, "BAD_USER_INPUT"},
		"no query":                     {http.MethodPost, "/", `{}`, nil, 422, "BAD_USER_INPUT"},
		"a body that is too large":     {http.MethodPost, "/", `"` + strings.Repeat("x", int(wideLimits.Body)) + `"`, nil, 413, "BAD_USER_INPUT"},
		"another media type":           {http.MethodPost, "/", `x`, []string{"Content-Type", "text/plain"}, 415, "BAD_USER_INPUT"},
		"a token that does not hold":   {http.MethodPost, "/", `{"query":"{ viewer { id } }"}`, []string{"Authorization", "Bearer nonsense"}, 401, "UNAUTHENTICATED"},
		"a mutation by GET":            {http.MethodGet, get(signOut), "", nil, 405, "BAD_USER_INPUT"},
		"a document by GET":            {http.MethodGet, "/?query={categories{name}}", "", nil, 422, "BAD_USER_INPUT"},
		"a mutation by HEAD":           {http.MethodHead, get(signOut), "", nil, 405, ""},
		"a digest of another document": {http.MethodPost, "/", strings.Replace(keep(stockChanged), "sku", "id", 1), nil, 422, "BAD_USER_INPUT"},
	} {
		a := r.do(c.method, c.target, c.body, append([]string{"Accept", events}, c.header...)...)
		if text := body(t, a); a.StatusCode != c.status || !strings.Contains(text, c.says) || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/graphql-response+json") {
			t.Errorf("%s: %d %s %s", name, a.StatusCode, a.Header.Get("Content-Type"), text)
		}
	}
	r.nobodyBut(2)
}

// nobodyBut waits until so many streams are open.
func (r *replica) nobodyBut(n int) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%d streams are open", n), func() bool {
		r.streams.mu.Lock()
		defer r.streams.mu.Unlock()
		return len(r.streams.visits) == n
	})
}

// TestLastEventID breaks an event stream off, and goes on after the last event that was had.
func TestLastEventID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	r := w.replicate(nil)
	open := func(query string, headers ...string) *stream {
		a := r.do(http.MethodPost, "/", asked(t, query, nil, nil), append([]string{"Accept", "text/event-stream", "Authorization", r.as("support")}, headers...)...)
		if a.StatusCode != http.StatusOK {
			t.Fatal(a.StatusCode)
		}
		return &stream{t, a.Body, bufio.NewReader(a.Body)}
	}
	hear := func(s *stream) (id, text string) {
		t.Helper()
		text, err := s.event()
		if err != nil {
			t.Fatal(err)
		}
		if rest, ok := strings.CutPrefix(text, "id: "); ok {
			id, text, _ = strings.Cut(rest, "\n")
		}
		return id, text
	}
	all := `subscription($after: String) { ordersChanged(after: $after) { order { events { message } } } }`
	s := open(all)
	begin, text := hear(s)
	if begin == "" || !strings.Contains(text, `"order":null`) {
		t.Fatalf("%q %s", begin, text)
	}
	_ = s.body.Close()
	w.note("during the break")
	s = open(all, "Last-Event-ID", begin)
	next, text := hear(s)
	if next == "" || next == begin || !strings.Contains(text, "during the break") {
		t.Errorf("%q %s", next, text)
	}
	if _, text := hear(open(all, "Last-Event-ID", "nonsense")); !strings.Contains(text, "BAD_USER_INPUT") {
		t.Errorf("nonsense: %s", text)
	}
	// Without a variable there is nowhere to put it, so that there is none.
	s = open(`subscription { ordersChanged { order { events { message } } } }`, "Last-Event-ID", begin)
	if id, text := hear(s); id != "" || !strings.Contains(text, `"order":null`) {
		t.Errorf("%q %s", id, text)
	}
}

// TestSingleStream goes through everything that can be done with a stream of several operations.
func TestSingleStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	other, r := w.replicate(nil), w.replicate(func(p *pace) { p.heartbeat = 50 * time.Millisecond })
	r.streams.most.operations = 3
	hers := map[string]any{"id": w.ids["Order"].String()}
	one := `subscription($id: ID!) { orderChanged(id: $id) { order { events { message } } } }`
	reserve := func(who string) string {
		t.Helper()
		headers := []string{}
		if who != "" {
			headers = []string{"Authorization", r.as(who)}
		}
		a := r.do(http.MethodPut, "/stream", "", headers...)
		token := body(t, a)
		if a.StatusCode != http.StatusCreated || len(token) < 26 || a.Header.Get("Content-Type") != "text/plain; charset=utf-8" || a.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("reserved: %d %q %v", a.StatusCode, token, a.Header)
		}
		return token
	}
	expect := func(what string, a *http.Response, status int, says string) {
		t.Helper()
		if text := body(t, a); a.StatusCode != status || !strings.Contains(text, says) || says == "" && text != "" {
			t.Errorf("%s: %d %s", what, a.StatusCode, text)
		}
	}
	operate := func(token, who, name, query string, variables map[string]any) *http.Response {
		t.Helper()
		headers := []string{streamTokenHeader, token}
		if who != "" {
			headers = append(headers, "Authorization", r.as(who))
		}
		extensions := map[string]any{"operationId": name}
		if name == "" {
			extensions = nil
		}
		return r.do(http.MethodPost, "/stream", asked(t, query, variables, extensions), headers...)
	}
	open := func(headers ...string) *stream {
		t.Helper()
		a := r.do(http.MethodGet, "/stream", "", append([]string{"Accept", "text/event-stream"}, headers...)...)
		if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
			t.Fatalf("opened: %d", a.StatusCode)
		}
		return &stream{t, a.Body, bufio.NewReader(a.Body)}
	}
	events := []string{"Accept", "text/event-stream"}

	// What there is not.
	token := reserve("ada")
	if again := reserve("ada"); again == token {
		t.Error("the same token twice")
	}
	for _, unknown := range []string{"nonsense", token[1:], token + "A"} {
		expect("open", r.do(http.MethodGet, "/stream?token="+unknown, "", events...), 404, "NOT_FOUND")
		expect("operate", operate(unknown, "ada", "1", `{ viewer { id } }`, nil), 404, "NOT_FOUND")
		expect("end", r.do(http.MethodDelete, "/stream?operationId=1", "", streamTokenHeader, unknown), 404, "NOT_FOUND")
	}
	expect("another process", other.do(http.MethodGet, "/stream?token="+token, "", events...), 404, "NOT_FOUND")
	expect("a token that does not hold", r.do(http.MethodPut, "/stream", "", "Authorization", "Bearer nonsense"), 401, "UNAUTHENTICATED")
	expect("no stream to end in", r.do(http.MethodDelete, "/stream?operationId=1", ""), 404, "NOT_FOUND")
	expect("another method", r.do(http.MethodPatch, "/stream?token="+token, ""), 405, "BAD_USER_INPUT")
	expect("where there are no streams", r.do(http.MethodPut, "/", ""), 405, "BAD_USER_INPUT")
	expect("opened as JSON", r.do(http.MethodGet, "/stream?token="+token, "", "Accept", "application/json"), 406, "BAD_USER_INPUT")

	// Whose it is not.
	for _, who := range []string{"bob", "admin", ""} {
		expect("operate as "+who, operate(token, who, "1", `{ viewer { id } }`, nil), 404, "NOT_FOUND")
	}
	expect("open as bob", r.do(http.MethodGet, "/stream?token="+token, "", append(events, "Authorization", r.as("bob"))...), 404, "NOT_FOUND")
	expect("end as bob", r.do(http.MethodDelete, "/stream?operationId=1", "", streamTokenHeader, token, "Authorization", r.as("bob")), 404, "NOT_FOUND")

	// An operation can begin before the stream is open, and is told there.
	expect("early", operate(token, "ada", "early", `{ viewer { email } }`, nil), 202, "")
	s := open(streamTokenHeader, token, "Authorization", r.as("ada"))
	s.expect("event: next\ndata: {\"id\":\"early\",\"payload\":{\"data\":{\"viewer\":{\"email\":\"ada@example.com\"}}}}\n")
	s.expect("event: complete\ndata: {\"id\":\"early\"}\n")
	expect("opened twice", r.do(http.MethodGet, "/stream?token="+token, "", events...), 409, "CONFLICT")

	// What is refused is answered to its request.
	expect("no ID", operate(token, "ada", "", `{ viewer { id } }`, nil), 400, "operationId")
	expect("a long ID", operate(token, "ada", strings.Repeat("x", maxOperationID+1), `{ viewer { id } }`, nil), 400, "operationId")
	expect("not valid", operate(token, "ada", "1", `{ nothing }`, nil), 422, "BAD_USER_INPUT")
	expect("not parsed", operate(token, "ada", "1", `{`, nil), 400, "BAD_USER_INPUT")
	expect("no JSON", r.do(http.MethodPost, "/stream", `{`, streamTokenHeader, token, "Authorization", r.as("ada")), 400, "BAD_USER_INPUT")
	expect("a token that does not hold", r.do(http.MethodPost, "/stream", `{"query":"{ viewer { id } }"}`, streamTokenHeader, token, "Authorization", "Bearer x"), 401, "UNAUTHENTICATED")
	expect("end nothing", r.do(http.MethodDelete, "/stream", "", streamTokenHeader, token, "Authorization", r.as("ada")), 400, "operationId")

	// Subscriptions, to several at once, a mutation beside them.
	for i := range 3 {
		name := fmt.Sprint("s", i)
		expect(name, operate(token, "ada", name, one, hers), 202, "")
		if text, err := s.event(); err != nil || !strings.HasPrefix(text, `event: next`+"\n"+`data: {"id":"`+name+`","payload":{"data":{"orderChanged":`) {
			t.Fatalf("%s %v", text, err)
		}
	}
	expect("a fourth", operate(token, "ada", "s3", one, hers), 429, "RATE_LIMITED")
	expect("an ID in use", operate(token, "ada", "s2", one, hers), 409, "CONFLICT")
	for range 2 { // what has ended can be ended again
		expect("end", r.do(http.MethodDelete, "/stream?operationId=s0", "", streamTokenHeader, token, "Authorization", r.as("ada")), 200, "")
	}
	until(t, "there is room for one", func() bool {
		return operate(token, "ada", "named", `mutation { profileUpdate(input: {name: "Ada"}) { userErrors { code } } }`, nil).StatusCode == 202
	})
	w.note("single")
	heard := map[string]int{}
	for range 4 { // in any order
		text, err := s.event()
		if err != nil {
			t.Fatal(err)
		}
		kind, data, _ := strings.Cut(strings.TrimPrefix(text, "event: "), "\ndata: ")
		var m struct {
			ID      string
			Payload json.RawMessage
		}
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			t.Fatal(text)
		}
		heard[kind+" "+m.ID]++
		if strings.HasPrefix(m.ID, "s") && !strings.Contains(string(m.Payload), `"message":"single"`) {
			t.Errorf("%s", text)
		}
	}
	if want := map[string]int{"next named": 1, "complete named": 1, "next s1": 1, "next s2": 1}; fmt.Sprint(heard) != fmt.Sprint(want) {
		t.Errorf("heard %v", heard)
	}
	expect("what does not exist", operate(token, "ada", "none", `subscription($id: ID!) { orderChanged(id: $id) { cursor } }`, map[string]any{"id": w.ids["Variant"].String()}), 202, "")
	s.expect("event: next\ndata: {\"id\":\"none\",\"payload\":{\"data\":{\"orderChanged\":null}}}\n")
	s.expect("event: complete\ndata: {\"id\":\"none\"}\n")
	expect("fails in the answer", operate(token, "ada", "staff", `subscription { ordersChanged { cursor } }`, nil), 202, "")
	if text, err := s.event(); err != nil || !strings.Contains(text, `"id":"staff"`) || !strings.Contains(text, "FORBIDDEN") {
		t.Errorf("%s %v", text, err)
	}
	s.expect("event: complete\ndata: {\"id\":\"staff\"}\n")
	if text, err := s.block(); err != nil || text != ":\n" {
		t.Errorf("no heartbeat: %q %v", text, err)
	}

	// It is gone with its connection.
	_ = s.body.Close()
	until(t, "it is gone", func() bool { return operate(token, "ada", "1", `{ viewer { id } }`, nil).StatusCode == 404 })
	expect("opened again", r.do(http.MethodGet, "/stream?token="+token, "", events...), 404, "NOT_FOUND")

	// Nobody can have one, too, by the URL alone.
	token = reserve("")
	s = open(streamTokenHeader, token)
	expect("as ada", operate(token, "ada", "1", stockChanged, w.variant()), 404, "NOT_FOUND")
	a := r.do(http.MethodPost, "/stream?token="+token, asked(t, stockChanged, w.variant(), map[string]any{"operationId": "1"}))
	expect("by the URL", a, 202, "")
	s.expect("event: next\ndata: {\"id\":\"1\",\"payload\":{\"data\":{\"stockChanged\":{\"variant\":{\"sku\":\"SH-0-S\"}}}}}\n")

	// Without a token the path is that of the other mode.
	listened := r.do(http.MethodPost, "/stream", asked(t, stockChanged, w.variant(), nil), events...)
	(&stream{t, listened.Body, bufio.NewReader(listened.Body)}).expect("event: next\ndata: {\"data\":{\"stockChanged\":{\"variant\":{\"sku\":\"SH-0-S\"}}}}\n")
}

// TestReservedAndUnused wants streams that nobody opens to be gone soon, with what runs over them, and one whose token ends to say
// so, unless a request has brought a fresh one.
func TestReservedAndUnused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	token := w.brief(t)
	r := w.replicate(func(p *pace) { p.reserved, p.recheck = 500*time.Millisecond, time.Hour })
	hers := map[string]any{"id": w.ids["Order"].String()}
	one := `subscription($id: ID!) { orderChanged(id: $id) { cursor } }`
	operate := func(ticket, token, name string) int {
		return r.do(http.MethodPost, "/stream", asked(t, one, hers, map[string]any{"operationId": name}), streamTokenHeader, ticket, "Authorization", "Bearer "+token).StatusCode
	}
	reserve := func(token string) string {
		return body(t, r.do(http.MethodPut, "/stream", "", "Authorization", "Bearer "+token))
	}
	ticket := reserve(r.tokens["ada"])
	if status := operate(ticket, r.tokens["ada"], "1"); status != http.StatusAccepted {
		t.Fatal(status)
	}
	r.nobody()
	if n := r.ends(kindSingle, endedUnused); n != 1 {
		t.Errorf("%d have ended because nobody has opened them", n)
	}
	if status := operate(ticket, r.tokens["ada"], "2"); status != http.StatusNotFound {
		t.Errorf("used when it is gone: %d", status)
	}

	r.streams.pace.reserved = time.Minute // nothing is open
	brief := token("ada", 3*time.Second)
	open := func() (ticket string, s *stream) {
		ticket = reserve(brief)
		a := r.do(http.MethodGet, "/stream?token="+ticket, "", "Accept", "text/event-stream")
		s = &stream{t, a.Body, bufio.NewReader(a.Body)}
		if status := operate(ticket, brief, "1"); status != http.StatusAccepted {
			t.Fatal(status)
		}
		s.expect("event: next\ndata: {\"id\":\"1\",\"payload\":{\"data\":{\"orderChanged\":{\"cursor\":null}}}}\n")
		return ticket, s
	}
	_, ends := open()
	renewed, lives := open()
	if status := operate(renewed, r.tokens["ada"], "2"); status != http.StatusAccepted {
		t.Fatal(status)
	}
	lives.expect("event: next\ndata: {\"id\":\"2\",\"payload\":{\"data\":{\"orderChanged\":{\"cursor\":null}}}}\n")
	if status := operate(renewed, brief, "3"); status != http.StatusAccepted { // an older one changes nothing
		t.Fatal(status)
	}
	lives.expect("event: next\ndata: {\"id\":\"3\",\"payload\":{\"data\":{\"orderChanged\":{\"cursor\":null}}}}\n")
	if text, err := ends.event(); err != nil || !strings.Contains(text, "UNAUTHENTICATED") {
		t.Errorf("%s %v", text, err)
	}
	ends.expect("event: complete\ndata: {\"id\":\"1\"}\n")
	w.note("still there")
	for range 3 {
		if text, err := lives.event(); err != nil || !strings.Contains(text, `"payload":{"data":{"orderChanged":{"cursor":null}}}`) {
			t.Errorf("%s %v", text, err)
		}
	}
}

// narrow serves a replica over connections that take little before they are read.
func (r *replica) narrow() *httptest.Server {
	server := httptest.NewUnstartedServer(r.handler)
	server.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateNew {
			_ = c.(*net.TCPConn).SetWriteBuffer(4 << 10)
		}
	}
	server.Start()
	r.t.Cleanup(server.Close)
	return server
}

// knock opens a connection on which little waits to be read.
func knock(t testing.TB, server *httptest.Server) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
	return c
}

// large asks for some 100 KB, which cost next to nothing to make.
func large() string {
	var query strings.Builder
	query.WriteString("{ categories {")
	for i := range 600 {
		fmt.Fprintf(&query, " %s%d: name", strings.Repeat("a", 190), i)
	}
	query.WriteString(" } }")
	return query.String()
}

// TestSlowClients asks for more and more without reading any of it: over a WebSocket and over an event stream. What waits for
// them is bounded, and they are cut off. It does not run beside others, whose memory would count.
func TestSlowClients(t *testing.T) {
	w := newWorld(t, 2)
	r := w.replicate(func(p *pace) { p.write = 4 * time.Second })
	r.streams.most.operations = 10
	server := r.narrow()
	query := large()
	size := len(w.ask("", query, nil).body)
	if size < 100_000 {
		t.Fatalf("the answer has %d bytes", size)
	}
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	stuck := func() (n int) {
		r.streams.mu.Lock()
		defer r.streams.mu.Unlock()
		for v := range r.streams.visits {
			n += v.working
		}
		return n
	}
	before := heap()

	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return knock(t, server), nil }}}
	c, _, err := websocket.Dial(t.Context(), server.URL, &websocket.DialOptions{Subprotocols: []string{socketProtocol}, HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	text := asked(t, query, nil, nil)
	written := make(chan int, 1)
	go func() {
		err, n := c.Write(t.Context(), websocket.MessageText, []byte(`{"type":"connection_init"}`)), 0
		for ; err == nil && n < 100_000; n++ {
			err = c.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, `{"type":"subscribe","id":"%d","payload":%s}`, n, text))
		}
		written <- n
	}()
	until(t, "as much waits as may", func() bool { return stuck() == r.streams.most.operations })
	// Of each, the document and the answer, in the forms that they go through.
	if more := heap() - before; more > 8*size*r.streams.most.operations {
		t.Errorf("%d KB wait for a client that does not read", more>>10)
	}
	began := time.Now()
	until(t, "it is cut off", func() bool { return r.ends(kindSocket, endedSlow) == 1 })
	r.nobody()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("that took %s", took)
	}
	if n := <-written; n > 2_000 {
		t.Errorf("the server took %d operations", n)
	}

	single := knock(t, server)
	ticket := body(t, r.do(http.MethodPut, "/stream", ""))
	if _, err := fmt.Fprintf(single, "GET /stream?token=%s HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n", ticket); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReaderSize(single, 16).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%s %v", line, err)
	}
	refused := 0
	for i := 0; refused == 0 && i < 1_000; i++ {
		if r.do(http.MethodPost, "/stream", asked(t, query, nil, map[string]any{"operationId": fmt.Sprint(i)}), streamTokenHeader, ticket).StatusCode != http.StatusAccepted {
			refused++
		}
	}
	if refused == 0 {
		t.Error("everything is taken for a client that does not read")
	}
	until(t, "the event stream is cut off", func() bool { return r.ends(kindSingle, endedSlow) == 1 })
	r.nobody()
}

// TestSilence wants event streams to outlive the time that a client has to take a message, and to end properly after it; one
// whose client takes nothing is cut off, over HTTP/2, too.
func TestSilence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	const most = 500 * time.Millisecond
	r := w.replicate(func(p *pace) { p.write, p.heartbeat = most, time.Hour })
	second := httptest.NewUnstartedServer(r.handler)
	second.EnableHTTP2 = true
	second.StartTLS()
	t.Cleanup(second.Close)
	second.Client().Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 16 << 10}
	listen := func(server *httptest.Server, query string, variables map[string]any) *stream {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(asked(t, query, variables, nil)))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "text/event-stream", "Authorization": r.as("ada")} {
			request.Header.Set(name, value)
		}
		answer, err := server.Client().Do(request)
		if err != nil || (answer.ProtoMajor == 2) != (server == second) {
			t.Fatal(answer, err)
		}
		t.Cleanup(func() { _ = answer.Body.Close() })
		return &stream{t, answer.Body, bufio.NewReader(answer.Body)}
	}
	silence := func() {
		begun := time.Now()
		until(t, "nothing was said for longer than that", func() bool { return time.Since(begun) > 2*most })
	}
	var streams []*stream
	for _, server := range []*httptest.Server{r.server, second} {
		s := listen(server, `subscription($id: ID!) { orderChanged(id: $id) { order { events { message } } } }`, map[string]any{"id": w.ids["Order"].String()})
		if _, err := s.event(); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	silence()
	w.note("after a while")
	for _, s := range streams {
		if text, err := s.event(); err != nil || !strings.Contains(text, "after a while") {
			t.Errorf("%s %v", text, err)
		}
	}
	listen(second, large(), nil)
	until(t, "the one that takes nothing is cut off", func() bool { return r.ends(kindEvents, endedSlow) == 1 })
	silence()
	r.streams.End(t.Context())
	for _, s := range streams {
		if text, err := s.event(); !errors.Is(err, io.EOF) || text != "" {
			t.Errorf("at the end %q, %v", text, err)
		}
	}
}

// TestNothingIsLeft lets many connections of all kinds come and go, in all ways, and wants as many goroutines as before.
// It does not run beside others.
func TestNothingIsLeft(t *testing.T) {
	w := newWorld(t, 2)
	r := w.replicate(func(p *pace) { p.reserved = 50 * time.Millisecond })
	hers := map[string]any{"id": w.ids["Order"].String()}
	one := `subscription($id: ID!) { orderChanged(id: $id) { cursor } }`
	round := func() {
		t.Helper()
		for i := range 10 {
			l := r.connect("ada")
			for n := range 5 {
				l.subscribe(fmt.Sprint(n), one, hers)
				l.hear()
			}
			switch i % 4 {
			case 0:
				_ = l.CloseNow()
			case 1:
				_ = l.Close(websocket.StatusNormalClosure, "")
			case 2:
				l.say(`{"type":"complete","id":"1"}`)
				l.say(`{"type":"nonsense"}`)
				l.expectClose(closeBadMessage)
			case 3:
				l.subscribe("0", one, hers)
				l.expectClose(closeSameID)
			}
			s := r.listen("ada", one, hers)
			if _, err := s.event(); err != nil {
				t.Fatal(err)
			}
			_ = s.body.Close()
			s = r.listen("ada", `{ viewer { id } }`, nil)
			for _, err := s.event(); err == nil; _, err = s.event() {
			}
			token := body(t, r.do(http.MethodPut, "/stream", "", "Authorization", r.as("ada")))
			r.do(http.MethodPost, "/stream", asked(t, one, hers, map[string]any{"operationId": "1"}), streamTokenHeader, token, "Authorization", r.as("ada"))
			if i%2 == 0 {
				a := r.do(http.MethodGet, "/stream?token="+token, "", "Accept", "text/event-stream")
				if _, err := (&stream{t, a.Body, bufio.NewReader(a.Body)}).event(); err != nil {
					t.Fatal(err)
				}
				_ = a.Body.Close()
			}
		}
		r.nobody()
		http.DefaultClient.CloseIdleConnections()
	}
	round() // and what is made once
	var before int
	until(t, "the first round is over", func() bool { // the numbers settle
		now := runtime.NumGoroutine()
		still := now == before
		before = now
		return still
	})
	for range 3 {
		round()
	}
	now := 0
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if now = runtime.NumGoroutine(); now <= before+5 { // pools of connections breathe
			break
		}
	}
	if now > before+5 {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines have become %d\n%s", before, now, stacks[:runtime.Stack(stacks, true)])
	}
	if kinds := metricsOf(r.options.Metrics); !strings.Contains(kinds, `open{kind="websocket"} 0`) || !strings.Contains(kinds, `open{kind="events"} 0`) ||
		!strings.Contains(kinds, `open{kind="single"} 0`) || r.ends(kindEvents, endedComplete) != 40 || r.ends(kindSingle, endedUnused) != 20 ||
		r.ends(kindSocket, endedProtocol) != 16 {
		t.Errorf("the metrics are\n%s", kinds)
	}
}
