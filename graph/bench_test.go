package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"testing"

	"emporium/internal/cache"
	"emporium/internal/httpserver"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/telemetry"
)

// budgets are what one operation may allocate, from the handler's first line to its last, in the world of these tests.
// An operation that allocates more than a tenth above fails. Where it is right that it does, or it has come to allocate
// less, set the budget anew from what BenchmarkOperation prints.
var budgets = []budget{
	{"w1", 155, 13_000},
	{"w2", 683, 70_200},
	{"w3", 1_038, 148_300},
	{"w4", 340, 32_200},
}

// budget is about the question of that name in bench/questions.
type budget struct {
	name   string
	allocs float64
	bytes  float64
}

// check complains when more was spent than the budget and a tenth.
func (b budget) check(t testing.TB, spent spending) {
	t.Helper()
	if spent.allocs() > 1.1*b.allocs || spent.bytes() > 1.1*b.bytes {
		t.Errorf("%s: %.0f allocations of %.0f bytes, more than a tenth above the budget of %.0f and %.0f",
			b.name, spent.allocs(), spent.bytes(), b.allocs, b.bytes)
	}
}

// spending is what a number of operations have allocated, in the whole process.
type spending struct {
	operations    int
	before, after runtime.MemStats
}

func (s spending) allocs() float64 {
	return float64(s.after.Mallocs-s.before.Mallocs) / float64(max(s.operations, 1))
}

func (s spending) bytes() float64 {
	return float64(s.after.TotalAlloc-s.before.TotalAlloc) / float64(max(s.operations, 1))
}

// measure runs an operation while there are more to run.
func measure(t testing.TB, more func() bool, operation func(testing.TB)) (s spending) {
	runtime.ReadMemStats(&s.before)
	for more() {
		operation(t)
		s.operations++
	}
	runtime.ReadMemStats(&s.after)
	return s
}

func BenchmarkOperation(b *testing.B) {
	w := newWorld(b, 60)
	for _, budget := range budgets {
		operation := w.operation(b, budget.name)
		var spent spending
		b.Run(budget.name, func(b *testing.B) {
			b.ReportAllocs()
			spent = measure(b, b.Loop, operation)
		})
		if !raceDetector {
			budget.check(b, spent) // out here, since of a benchmark that failed no figures are printed
		}
	}
}

// It is not parallel: what other tests allocate would be counted.
func TestAllocationBudgets(t *testing.T) {
	if raceDetector {
		t.Skip("it counts allocations, and the race detector makes some of its own")
	}
	w := newWorld(t, 60)
	for _, budget := range budgets {
		left := 100
		budget.check(t, measure(t, func() bool { left--; return left >= 0 }, w.operation(t, budget.name)))
	}
}

// operation returns a function that sends a question of bench/questions to the handler, without a network and hardly
// allocating anything itself. What only the first requests cost, such as preparing statements, is done before it returns.
func (w *world) operation(t testing.TB, name string) func(testing.TB) {
	t.Helper()
	document, err := os.ReadFile("../bench/questions/" + name + ".graphql")
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]struct {
		who       string
		variables map[string]any
	}{
		"w1": {"", map[string]any{"id": w.ids["Product"].String()}},
		"w2": {"", map[string]any{"id": w.ids["Category"].String()}},
		"w3": {"support", map[string]any{"first": 20}},
		"w4": {"support", map[string]any{"id": w.ids["User"].String()}},
	}[name]
	body, err := json.Marshal(map[string]any{"query": string(document), "variables": asked.variables})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", nil)
	r.Header.Set("Content-Type", "application/json")
	if asked.who != "" {
		r.Header.Set("Authorization", "Bearer "+w.tokens[asked.who])
	}
	r.ContentLength = int64(len(body))
	r = r.WithContext(telemetry.WithRequest(r.Context(), telemetry.Request{ID: "request", ClientAddress: "192.0.2.1"}))
	in, out := bytes.NewReader(body), &response{header: http.Header{}}
	r.Body = io.NopCloser(in)
	send := func() {
		in.Reset(body)
		clear(out.header)
		out.status = http.StatusOK
		out.body.Reset()
		w.handler.ServeHTTP(out, r)
	}
	for range 20 {
		send()
	}
	if out.status != http.StatusOK || !bytes.HasPrefix(out.body.Bytes(), []byte(`{"data":{"`)) {
		t.Fatalf("%s: %d %s", name, out.status, &out.body)
	}
	size := out.body.Len()
	return func(t testing.TB) {
		if send(); out.status != http.StatusOK || out.body.Len() != size {
			t.Fatalf("%s: %d %s", name, out.status, &out.body)
		}
	}
}

// response is one that is written over and over.
type response struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *response) Header() http.Header { return r.header }

func (r *response) WriteHeader(status int) { r.status = status }

func (r *response) Write(b []byte) (int, error) { return r.body.Write(b) }

// BenchmarkFront is what an answer costs that is kept in the process: by the handler of GraphQL, and with what all requests
// go through before it.
func BenchmarkFront(b *testing.B) {
	w := newWorld(b, 60)
	w.keep(b)
	bare := w.handler
	wrapped := httpserver.Wrap(bare, httpserver.Options{Metrics: w.options.Metrics, Route: func(string) string { return "/graphql" }})
	for _, through := range []struct {
		name    string
		handler http.Handler
	}{{"graphql", bare}, {"server", wrapped}} {
		w.handler = through.handler
		for _, question := range []string{"w1", "w2", "w4"} {
			operation := w.operation(b, question)
			b.Run(through.name+"/"+question, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					operation(b)
				}
			})
		}
	}
}

// keep makes the handler keep answers.
func (w *world) keep(t testing.TB) {
	t.Helper()
	var sources []cache.Source
	if pgtest.Apart() {
		for domain, db := range map[string]*postgres.DB{"users": w.dbs.Users, "products": w.dbs.Products, "orders": w.dbs.Orders, "payments": w.dbs.Payments} {
			sources = append(sources, cache.Source{Domains: []string{domain}, DB: db, Direct: w.dbs.URLs[domain]})
		}
	} else {
		sources = []cache.Source{{Domains: []string{"users", "products", "orders", "payments"}, DB: w.dbs.Users, Direct: w.dbs.URLs["users"]}}
	}
	c, err := cache.New(cache.Options{Sources: sources})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	until(w.t, "the cache can be used", c.Ready)
	w.options.Cache = c
	if w.handler, err = NewHandler(w.options); err != nil {
		t.Fatal(err)
	}
}
