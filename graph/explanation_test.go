package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"emporium/internal/cache"
	"emporium/internal/postgres"
	"emporium/internal/telemetry"
)

// keeping gives a world a cache, which can be used when it returns, and a handler over it.
func (w *world) keeping(observe cache.Observer) {
	t := w.t
	t.Helper()
	of := map[string]*postgres.DB{"users": w.dbs.Users, "products": w.dbs.Products, "orders": w.dbs.Orders, "payments": w.dbs.Payments}
	var sources []cache.Source
	for _, domain := range []string{"users", "products", "orders", "payments"} {
		i := slices.IndexFunc(sources, func(s cache.Source) bool { return s.DB == of[domain] })
		if i < 0 {
			i = len(sources)
			sources = append(sources, cache.Source{DB: of[domain], Direct: w.dbs.URLs[domain]})
		}
		sources[i].Domains = append(sources[i].Domains, domain)
	}
	c, err := cache.New(cache.Options{Sources: sources, Observe: observe})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	until(w.t, "the cache can be used", c.Ready)
	w.options.Cache = c
	if w.handler, err = NewHandler(w.options); err != nil {
		t.Fatal(err)
	}
}

// post sends a body and returns the answer's.
func (w *world) post(who string, request map[string]any) string {
	w.t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+w.tokens[who])
	}
	out := httptest.NewRecorder()
	w.handler.ServeHTTP(out, r)
	if out.Code != http.StatusOK {
		w.t.Fatalf("%d %s", out.Code, out.Body)
	}
	return out.Body.String()
}

type explainedAnswer struct {
	Data, Errors json.RawMessage
	Extensions   struct{ Cache *explanation }
}

func TestExplanations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.options.Introspection = IntrospectionStaff
	w.keeping(cache.Observer{})
	plain := map[string]any{"query": `query P($id: ID!) { product(id: $id) { title variants { sku } } }`, "variables": map[string]any{"id": w.ids["Product"].String()}}
	asking := func(request map[string]any) map[string]any {
		request = mapWith(request, "extensions", map[string]any{"cache": map[string]any{"explain": true}})
		return request
	}
	explain := func(who string, request map[string]any) (*explanation, string) {
		t.Helper()
		var a explainedAnswer
		body := w.post(who, asking(request))
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		return a.Extensions.Cache, string(a.Data)
	}

	var e *explanation
	var data string
	until(w.t, "it is made and kept", func() bool { // what the set-up has written is told meanwhile
		e, data = explain("support", plain)
		return e.Level == cache.Local || e.Reason == ""
	})
	if e.Level == cache.Miss && (!slices.Contains(e.Tags, "products.products.id:"+w.ids["Product"].Key.String()) || e.MoreTags != 0) {
		t.Errorf("of an answer that was just made: %+v", e)
	}
	hit, again := explain("support", plain)
	if hit.Level != cache.Local || hit.MaxAge != 3600 || hit.Scope == "" || hit.Age < 0 || hit.Age > 60 || len(hit.Tags) < 2 || hit.Reason != "" || again != data {
		t.Errorf("of a hit: %+v, %s, want the data %s", hit, again, data)
	}
	for _, tag := range hit.Tags {
		if !strings.HasPrefix(tag, "#") {
			t.Errorf("a hit shows the tag %s", tag)
		}
	}
	// The plain request shares what is kept, and gets nothing else, however it is answered.
	for range 3 {
		if body := w.post("support", plain); body != `{"data":`+data+`}` {
			t.Errorf("the plain request is answered %s", body)
		}
	}
	// Everybody else is answered as if nothing was asked, also after staff has sent the same bytes and before.
	for _, who := range []string{"", "ada", "support", "", "ada"} {
		e, got := explain(who, plain)
		if (e != nil) != (who == "support") || got != data {
			t.Errorf("%q gets %+v, %s", who, e, got)
		}
	}
	for _, c := range []struct {
		query, reason string
		level         cache.Level
	}{
		{`{ __schema { queryType { name } } }`, "it asks for the schema", cache.Bypass},
		{`{ product(id: "x") { title } }`, "it has errors", cache.Miss},
	} {
		if e, _ := explain("support", map[string]any{"query": c.query}); e == nil || e.Reason != c.reason || e.Level != c.level {
			t.Errorf("%s: %+v", c.query, e)
		}
	}
	many := map[string]any{"query": `{ products(first: 3) { nodes { id variants { id } media { id } } } orders(first: 20) { nodes { id lines { id variant { id } } events { id } fulfillments { id } payments { id } } } }`}
	if e, _ := explain("support", many); e == nil || len(e.Tags) > mostTags {
		t.Errorf("of much: %+v", e)
	}
	// Where the schema is open everybody may ask.
	w.options.Introspection = IntrospectionOn
	handler, err := NewHandler(w.options)
	if err != nil {
		t.Fatal(err)
	}
	w.handler = handler
	if e, _ := explain("", plain); e == nil {
		t.Error("in development nothing is explained")
	}
}

func mapWith(m map[string]any, name string, value any) map[string]any {
	with := map[string]any{name: value}
	for k, v := range m {
		with[k] = v
	}
	return with
}

// hits returns a function that has a question answered from memory, as front does.
func (w *world) hits(t testing.TB, lookups func() int) (hit func()) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": `query P($id: ID!) { product(id: $id) { title variants { sku } } }`,
		"variables": map[string]any{"id": w.ids["Product"].String()}})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", nil)
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(body))
	r = r.WithContext(telemetry.WithRequest(r.Context(), telemetry.Request{ID: "request"}))
	in, out := bytes.NewReader(body), &response{header: http.Header{}}
	r.Body = io.NopCloser(in)
	hit = func() {
		in.Reset(body)
		clear(out.header)
		out.status = http.StatusOK
		out.body.Reset()
		w.handler.ServeHTTP(out, r)
	}
	looked := 0
	until(w.t, "it is answered from memory", func() bool {
		before := looked
		hit()
		looked = lookups()
		return looked > before
	})
	return hit
}

// lookups reads from the metrics how many lookups there were of a level.
func (w *world) lookups(level string) int {
	out := httptest.NewRecorder()
	w.options.Metrics.Handler().ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	_, after, _ := strings.Cut(out.Body.String(), "\nemporium_cache_lookups_total{level=\""+level+"\"} ")
	n, digits := 0, 0
	for digits < len(after) && after[digits] >= '0' && after[digits] <= '9' {
		n = 10*n + int(after[digits]-'0')
		digits++
	}
	return n
}

// hitBudget is what an answer from memory may allocate, in bytes, all in all.
const hitBudget = 300

func (w *world) counting() {
	m := w.options.Metrics
	w.keeping(cache.Observer{Lookup: func(l cache.Level) { m.CacheLookup(string(l)) }, Reject: func(r cache.Reason) { m.CacheRefused(string(r)) },
		Change: m.CacheInvalidation, Epoch: m.CacheEpoch, Await: m.CacheWait})
}

// It is not parallel: what other tests allocate would be counted.
func TestHitBudget(t *testing.T) {
	if raceDetector {
		t.Skip("it counts allocations, and the race detector makes some of its own")
	}
	w := newWorld(t, 1)
	w.counting()
	hit := w.hits(t, func() int { return w.lookups("local") })
	left := 200
	if spent := measure(t, func() bool { left--; return left >= 0 }, func(testing.TB) { hit() }); spent.bytes() > hitBudget {
		t.Errorf("a hit allocates %.0f bytes, more than %d", spent.bytes(), hitBudget)
	}
}

func BenchmarkHit(b *testing.B) {
	w := newWorld(b, 1)
	var local atomic.Int64
	w.keeping(cache.Observer{Lookup: func(l cache.Level) {
		if l == cache.Local {
			local.Add(1)
		}
	}})
	hit := w.hits(b, func() int { return int(local.Load()) })
	run := func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			hit()
		}
	}
	b.Run("uncounted", run)
	w.counting()
	hit = w.hits(b, func() int { return w.lookups("local") })
	b.Run("counted", run)
}
