package graph

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"emporium/internal/cache"
	"emporium/internal/manifest"
)

const (
	trustedNames    = `query Names { categories { name } }`
	trustedSlugs    = `query Slugs { categories { slug } }` // by an ID that is no digest
	trustedMutation = `mutation Out { signOut { sessionsEnded } }`
	untrustedNames  = `query Others { categories { name slug } }`
)

func digestOf(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// manifestOf returns the documents of a manifest.
func manifestOf(t testing.TB, documents map[string]string) *manifest.Set {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.json")
	if err := os.WriteFile(file, encode(documents), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems := LoadTrusted([]string{file}, wideLimits)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set
}

// trusting returns the world with some trusted documents, and a mode for others.
func (w *world) trusting(mode TrustMode, clients map[string]TrustMode, more ...string) *world {
	w.t.Helper()
	own := *w
	documents := map[string]string{digestOf(trustedNames): trustedNames, "slugs-1": trustedSlugs, digestOf(trustedMutation): trustedMutation}
	for _, document := range more {
		documents[digestOf(document)] = document
	}
	own.options.Trusted = Trust{Documents: manifestOf(w.t, documents), Mode: mode, Clients: clients}
	var err error
	if own.handler, err = NewHandler(own.options); err != nil {
		w.t.Fatal(err)
	}
	return &own
}

// asClient is a request of somebody, by a client with a name.
func (w *world) asClient(who, client, method string, asked map[string]any) *http.Request {
	r := w.request(who, encode(asked))
	if method == http.MethodGet {
		query := url.Values{}
		for name, value := range asked {
			if text, ok := value.(string); ok {
				query.Set(name, text)
			} else {
				query.Set(name, string(encode(value)))
			}
		}
		r = httptest.NewRequest(http.MethodGet, "/graphql?"+query.Encode(), nil)
		r.Header = w.request(who, nil).Header
	}
	if client != "" {
		r.Header.Set("apollographql-client-name", client)
	}
	r.Header.Set("Accept", "application/graphql-response+json")
	return r
}

func byHash(hash string) map[string]any {
	return map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hash}}
}

// TestTrustedModes asks in every mode for documents by every way, by POST and by GET.
func TestTrustedModes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	digest := digestOf(trustedNames)
	const notFound, forbidden, bad = 404, 403, 422
	for mode, want := range map[TrustMode]struct{ other, unknown int }{
		"": {200, notFound}, TrustOff: {200, notFound}, TrustLog: {200, notFound}, TrustRequire: {forbidden, forbidden},
	} {
		own := w.trusting(mode, nil)
		for _, c := range []struct {
			name   string
			asked  map[string]any
			status int // by POST
			get    int
			answer string
		}{
			{"Apollo's extension", map[string]any{"extensions": byHash(digest)}, 200, 200, `"name"`},
			{"with its text", map[string]any{"query": trustedNames, "extensions": byHash(digest)}, 200, bad, `"name"`},
			{"an ID that is no digest, in it", map[string]any{"extensions": byHash("slugs-1")}, 200, 200, `"slug"`},
			{"the digest of one with another ID", map[string]any{"extensions": byHash(digestOf(trustedSlugs))}, 200, 200, `"slug"`},
			{"documentId", map[string]any{"documentId": "sha256:" + digest}, 200, 200, `"name"`},
			{"as it is in the manifest", map[string]any{"documentId": digest}, 200, 200, `"name"`},
			{"an ID that is no digest", map[string]any{"documentId": "slugs-1"}, 200, 200, `"slug"`},
			{"doc_id", map[string]any{"doc_id": "slugs-1"}, 200, bad, `"slug"`},
			{"id", map[string]any{"id": "slugs-1"}, 200, bad, `"slug"`},
			{"text", map[string]any{"query": trustedNames}, 200, bad, `"name"`},
			{"text, and an ID of its own", map[string]any{"query": trustedNames, "id": 7}, 200, bad, `"name"`},
			{"unknown text", map[string]any{"query": untrustedNames}, want.other, bad, `"slug"`},
			{"unknown text, nearly a known one", map[string]any{"query": trustedNames + " "}, want.other, bad, `"name"`},
			{"unknown text, with a known ID", map[string]any{"query": untrustedNames, "documentId": "slugs-1"}, want.other, bad, `"slug"`},
			{"unknown text, with a known digest", map[string]any{"query": untrustedNames, "extensions": byHash(digest)}, bad, bad, ``},
			{"unknown text that does not parse", map[string]any{"query": "{"}, map[int]int{200: 400, forbidden: forbidden}[want.other], bad, ``},
			{"unknown digest", map[string]any{"documentId": "sha256:" + digestOf("?")}, want.unknown, want.unknown, ``},
			{"unknown digest, in the extension", map[string]any{"extensions": byHash(digestOf("?"))}, want.unknown, want.unknown, ``},
			{"unknown ID", map[string]any{"documentId": "slugs-2"}, want.unknown, want.unknown, ``},
			{"registration", map[string]any{"query": untrustedNames, "extensions": byHash(digestOf(untrustedNames))}, want.other, bad, `"slug"`},
			{"what was registered", map[string]any{"extensions": byHash(digestOf(untrustedNames))}, want.other, want.other, `"slug"`},
		} {
			for _, method := range []string{http.MethodPost, http.MethodGet} {
				status := map[string]int{http.MethodPost: c.status, http.MethodGet: c.get}[method]
				a := own.send(own.asClient("", "web", method, c.asked))
				if a.status != status || status == 200 && !strings.Contains(a.body, c.answer) || status != 200 && strings.Contains(a.body, `"data"`) ||
					status == forbidden && !slices.Equal(a.codes(), []string{"FORBIDDEN "}) {
					t.Errorf("%q, %s by %s: %d %s, want %d", mode, c.name, method, a.status, a.body, status)
				}
			}
		}
		if a := own.send(own.asClient("ada", "", http.MethodGet, map[string]any{"documentId": digestOf(trustedMutation)})); a.status != http.StatusMethodNotAllowed {
			t.Errorf("%q: a mutation by GET: %d %s", mode, a.status, a.body)
		}
	}
}

// TestTrustedLimits wants limits to hold for trusted documents, too.
func TestTrustedLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1).trusting(TrustRequire, nil)
	w.options.Limits.Aliases, w.options.Limits.Depth = 1, 1
	var err error
	if w.handler, err = NewHandler(w.options); err != nil {
		t.Fatal(err)
	}
	if a := w.send(w.asClient("", "", http.MethodPost, map[string]any{"documentId": "slugs-1"})); a.status != 422 || !strings.Contains(a.body, "levels of fields") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestTrustedClients wants stricter modes to hold for whoever takes the name, and laxer ones for staff that takes it.
func TestTrustedClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	clients := map[string]TrustMode{"playground": TrustOff, "till": TrustLog, "web": TrustRequire}
	modes := map[TrustMode]*world{}
	for _, mode := range []TrustMode{TrustOff, TrustLog, TrustRequire} {
		modes[mode] = w.trusting(mode, clients)
	}
	refused := func(mode TrustMode, client, who string) bool {
		switch staff := who == "support" || who == "manager" || who == "admin"; {
		case client == "web":
			return true
		case client == "playground" || client == "till":
			return mode == TrustRequire && !staff
		default:
			return mode == TrustRequire
		}
	}
	for mode, own := range modes {
		for _, client := range []string{"", "other", "playground", "till", "web", "Playground"} {
			for _, who := range append([]string{""}, everyone...) {
				want := 200
				if refused(mode, client, who) {
					want = 403
				}
				for name, asked := range map[string]map[string]any{"text": {"query": untrustedNames}, "registration": {"query": untrustedNames, "extensions": byHash(digestOf(untrustedNames))},
					"introspection": {"query": `{ __schema { queryType { name } } }`}} {
					if a := own.send(own.asClient(who, client, http.MethodPost, asked)); a.status != want {
						t.Errorf("%s: %s by %q as %q: %d %s, want %d", mode, name, client, who, a.status, a.body, want)
					}
				}
				if a := own.send(own.asClient(who, client, http.MethodPost, map[string]any{"documentId": "slugs-1"})); a.status != 200 {
					t.Errorf("%s: a trusted one by %q as %q: %d %s", mode, client, who, a.status, a.body)
				}
			}
		}
		r := own.asClient("", "playground", http.MethodPost, map[string]any{"query": untrustedNames})
		r.Header.Set("Authorization", "Bearer none")
		if a := own.send(r); a.status != 401 {
			t.Errorf("%s: a token that does not hold: %d %s", mode, a.status, a.body)
		}
	}
}

// TestTrustedAnswersAreKept wants answers to trusted documents to be kept, by GET and POST, and those to others to be given to nobody
// who may not ask for them.
func TestTrustedAnswersAreKept(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 1)
	own := *k
	own.world = k.trusting(TrustRequire, map[string]TrustMode{"playground": TrustOff})
	want := k.plain.ask("", trustedSlugs, nil).body
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		var a looked
		until(t, "the answer is kept", func() bool {
			a = own.lookAt(own.asClient("", "", method, map[string]any{"documentId": "slugs-1"}))
			return a.level == cache.Local
		})
		if a.status != 200 || a.body != want || (method == http.MethodGet) != (a.header.Get("ETag") != "") {
			t.Errorf("%s: %d %s %v", method, a.status, a.body, a.header)
		}
		if method == http.MethodGet {
			r := own.asClient("", "", method, map[string]any{"documentId": "slugs-1"})
			r.Header.Set("If-None-Match", a.header.Get("ETag"))
			if again := own.lookAt(r); again.status != http.StatusNotModified {
				t.Errorf("not changed: %d", again.status)
			}
		}
	}
	others := map[string]any{"query": untrustedNames}
	until(t, "the answer to the Playground is kept", func() bool {
		return own.lookAt(own.asClient("manager", "playground", http.MethodPost, others)).level == cache.Local
	})
	own.send(own.asClient("manager", "playground", http.MethodPost, map[string]any{"query": untrustedNames, "extensions": byHash(digestOf(untrustedNames))}))
	byDigest := map[string]any{"documentId": "sha256:" + digestOf(untrustedNames)}
	if a := own.lookAt(own.asClient("manager", "playground", http.MethodGet, byDigest)); a.status != 200 || a.level != cache.Local || a.header.Get("Cache-Control") != "no-store" || a.header.Get("ETag") != "" {
		t.Errorf("what was registered by staff is left to caches on the way: %d %s %v", a.status, a.level, a.header)
	}
	if a := own.lookAt(own.asClient("", "playground", http.MethodGet, byDigest)); a.status != 403 {
		t.Errorf("what was registered by staff, by others: %d %s", a.status, a.body)
	}
	for _, client := range []string{"", "playground"} {
		for _, who := range []string{"", "ada"} {
			if a := own.lookAt(own.asClient(who, client, http.MethodPost, others)); a.status != 403 {
				t.Errorf("by %q as %q: %d %s", client, who, a.status, a.body)
			}
		}
	}
}

// TestTrustedOverStreams subscribes over a WebSocket and to an event stream.
func TestTrustedOverStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	const known, unknown = `subscription Known($id: ID!) { orderChanged(id: $id) { order { number } } }`, `subscription Unknown($id: ID!) { orderChanged(id: $id) { cursor } }`
	variables := map[string]any{"id": w.ids["Order"].String()}
	for _, mode := range []TrustMode{TrustOff, TrustLog, TrustRequire} {
		r := w.trusting(mode, map[string]TrustMode{"playground": TrustOff, "web": TrustRequire}, known).replicate(nil)
		refusedFor := func(client, who string) bool {
			return client == "web" || mode == TrustRequire && (client != "playground" || who != "support")
		}
		for _, client := range []string{"", "playground", "web"} {
			for _, who := range []string{"ada", "support"} {
				for name, c := range map[string]struct {
					asked   map[string]any
					refused bool
					missing bool
				}{
					"ID":         {map[string]any{"documentId": "sha256:" + digestOf(known)}, false, false},
					"hash":       {map[string]any{"extensions": byHash(digestOf(known))}, false, false},
					"text":       {map[string]any{"query": known}, false, false},
					"other":      {map[string]any{"query": unknown}, refusedFor(client, who), false},
					"unknown ID": {map[string]any{"documentId": "sha256:" + digestOf(unknown)}, client == "web" || mode == TrustRequire && client == "", true},
				} {
					asked := encode(map[string]any{"query": c.asked["query"], "documentId": c.asked["documentId"], "extensions": c.asked["extensions"], "variables": variables})
					l := r.dial(socketProtocol)
					l.say(`{"type":"connection_init","payload":{"apollographql-client-name":"` + client + `","authorization":"Bearer ` + r.tokens[who] + `"}}`)
					l.expect("", "connection_ack", "")
					l.say(`{"type":"subscribe","id":"1","payload":` + string(asked) + `}`)
					m := l.hear()
					wrong := m.Type != "next"
					switch {
					case c.refused:
						wrong = m.Type != "error" || !bytes.Contains(m.Payload, []byte(`"FORBIDDEN"`))
					case c.missing:
						wrong = m.Type != "error" || !bytes.Contains(m.Payload, []byte(`"PERSISTED_QUERY_NOT_FOUND"`))
					}
					if wrong {
						t.Errorf("%s: %s by %q as %s: %s %s", mode, name, client, who, m.Type, m.Payload)
					}
					_ = l.Close(websocket.StatusNormalClosure, "")

					request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.server.URL, bytes.NewReader(asked))
					if err != nil {
						t.Fatal(err)
					}
					request.Header = r.asClient(who, client, http.MethodPost, nil).Header
					request.Header.Set("Accept", "text/event-stream")
					response, err := r.server.Client().Do(request)
					if err != nil {
						t.Fatal(err)
					}
					want := http.StatusOK
					if c.refused {
						want = http.StatusForbidden
					} else if c.missing {
						want = http.StatusNotFound
					}
					if response.StatusCode != want {
						t.Errorf("%s: %s by %q as %s, as events: %d, want %d", mode, name, client, who, response.StatusCode, want)
					}
					_ = response.Body.Close()
				}
			}
		}
	}
}

// TestTrustedDocumentsAreChecked names what is bad in documents.
func TestTrustedDocumentsAreChecked(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`query Good { categories { name } }`:                                              "",
		"{\n  categories {\n":                                                             "line 3 of the document: Expected Name, found <EOF>",
		"query A {\n  categories {\n    nothing\n  }\n}":                                  `line 3 of the document: Cannot query field "nothing" on type "Category".`,
		`fragment F on Category { name }`:                                                 "it has no operation",
		`query ($x: Int!) { categories { name } }`:                                        `line 1 of the document: Variable "$x" is never used.`,
		`{ a: categories { name } ` + strings.Repeat("b: categories { name } ", 20) + `}`: "the document has more than 10 root fields in a query",
	} {
		got := ""
		if err := DefaultLimits().checkDocument(Schema(), text); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\n%s, want %s", text, got, want)
		}
	}
}

// lines are what is logged.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(b))
	return len(b), nil
}

// TestTrustedLog wants operations that are run by documents of no manifest to be logged and counted. It is alone: the log is everybody's.
func TestTrustedLog(t *testing.T) {
	w := newWorld(t, 1).trusting(TrustLog, map[string]TrustMode{"web": TrustRequire, "till": TrustLog})
	before, logged := slog.Default(), &lines{}
	slog.SetDefault(slog.New(slog.NewJSONHandler(logged, &slog.HandlerOptions{Level: slog.LevelWarn})))
	defer slog.SetDefault(before)
	for _, client := range []string{"till", "web", "made\"up", ""} {
		for _, query := range []string{untrustedNames, trustedNames, `{ nothing }`} {
			w.send(w.asClient("", client, http.MethodPost, map[string]any{"query": query}))
		}
	}
	slog.SetDefault(before)
	var clients []string
	for _, line := range logged.all {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil || l["msg"] != "untrusted document" || l["operation"] != "Others" || l["sha256"] != digestOf(untrustedNames) {
			t.Errorf("%v: %s", err, line)
		}
		clients = append(clients, fmt.Sprint(l["client"]))
	}
	if !slices.Equal(clients, []string{"till", "other", ""}) {
		t.Errorf("logged of %q", clients)
	}
	out := httptest.NewRecorder()
	w.options.Metrics.Handler().ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{`{client="other",done="run"} 2`, `{client="till",done="run"} 1`, `{client="web",done="refused"} 2`} {
		if !strings.Contains(out.Body.String(), "emporium_untrusted_documents_total"+want+"\n") {
			t.Errorf("%s is not counted", want)
		}
	}
}
