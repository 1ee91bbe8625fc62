package usage_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"emporium/internal/usage"
)

// headers returns those of a client.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func named(name string) http.Header { return headers("apollographql-client-name", name) }

// flushed returns what a counter hands on, by client and coordinate.
func flushed(t *testing.T, c *usage.Counter) map[string]int64 {
	t.Helper()
	got := map[string]int64{}
	if err := c.Flush(t.Context(), func(_ context.Context, uses []usage.Use) error {
		for _, u := range uses {
			got[u.Name+"|"+u.Version+"|"+u.Coordinate] += u.Count
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func wantUses(t *testing.T, what string, got, want map[string]int64) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestClients(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		headers http.Header
		want    string
	}{
		{headers(), "|"},
		{headers("apollographql-client-name", "web", "apollographql-client-version", "1.2.3"), "web|1.2.3"},
		{headers("x-graphql-client-name", "ios", "x-graphql-client-version", "7 (beta)"), "ios|7 (beta)"},
		{headers("x-graphql-client-name", "ios", "apollographql-client-name", "web"), "web|"},
		{headers("x-graphql-client-name", "ios", "apollographql-client-name", ""), "ios|"},
		{headers("apollographql-client-version", "1"), "|"},
		{named("@shop/web_app:test+1"), "@shop/web_app:test+1|"},
		{named(strings.Repeat("n", 64)), strings.Repeat("n", 64) + "|"},
		{named(strings.Repeat("n", 65)), "other|"},
		{headers("apollographql-client-name", "web", "apollographql-client-version", strings.Repeat("1", 33)), "other|"},
		{named("web\x00"), "other|"},
		{named("wéb"), "other|"},
		{named("web;DROP"), "other|"},
		{headers("apollographql-client-name", "web", "apollographql-client-version", "\"1\""), "other|"},
	} {
		counter := usage.NewCounter()
		counter.Set([]string{"Query.a"}).Count(c.headers)
		wantUses(t, fmt.Sprint(c.headers), flushed(t, counter), map[string]int64{c.want + "|Query.a": 1})
	}
}

// TestCounts counts two sets, one of them with what variables hold, and hands on each use once.
func TestCounts(t *testing.T) {
	t.Parallel()
	c := usage.NewCounter()
	a, b := c.Set([]string{"Query.b", "Query.a", "Query.b"}), c.Set([]string{"Query.b"})
	with := b.With([]string{"I.y", "I.x", "I.y"})
	if with != b.With([]string{"I.x", "I.y"}) || with == b || b.With(nil) != b || a.With([]string{"I.x", "I.y"}) == with {
		t.Error("sets of the same with the same are not the same, or others are")
	}
	a.Count(named("web"))
	a.Count(named("web"))
	b.Count(named("ios"))
	with.Count(named("web"))
	wantUses(t, "first", flushed(t, c), map[string]int64{"web||Query.a": 2, "web||Query.b": 3, "ios||Query.b": 1, "web||I.x": 1, "web||I.y": 1})
	wantUses(t, "again", flushed(t, c), map[string]int64{})
	a.Count(named("web"))
	wantUses(t, "later", flushed(t, c), map[string]int64{"web||Query.a": 1, "web||Query.b": 1})

	var none *usage.Counter
	none.Set([]string{"Query.a"}).With([]string{"I.x"}).Count(named("web"))
}

// TestFailedWritesAreMadeUpFor keeps what could not be written, and adds what comes meanwhile.
func TestFailedWritesAreMadeUpFor(t *testing.T) {
	t.Parallel()
	c := usage.NewCounter()
	set := c.Set([]string{"Query.a"})
	set.Count(named("web"))
	broken := errors.New("no database")
	err := c.Flush(t.Context(), func(ctx context.Context, _ []usage.Use) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("a write has no deadline")
		}
		set.Count(named("web")) // meanwhile
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("a write that fails: %v", err)
	}
	set.Count(named("ios"))
	wantUses(t, "afterwards", flushed(t, c), map[string]int64{"web||Query.a": 2, "ios||Query.a": 1})
}

// TestBounds has more clients, pairs and sets than there is room for: nothing is lost, the rest is other.
func TestBounds(t *testing.T) {
	t.Parallel()
	c := usage.NewCounter()
	set := c.Set([]string{"Query.a"})
	for i := range 1000 {
		set.Count(named(fmt.Sprint("client", i)))
	}
	set.Count(nil)
	set.Count(named("client0"))
	got := flushed(t, c)
	if got["other||Query.a"] != 1000-(usage.MaxClients-2) || got["client0||Query.a"] != 2 || got["||Query.a"] != 1 || len(got) != usage.MaxClients {
		t.Errorf("of 1,000 clients: %d, %v", len(got), got)
	}

	total := int64(0)
	for i := range 3000 { // more sets than wait to be added up, and more pairs than wait to be written
		var coordinates []string
		for j := range 10 + i%300 {
			coordinates = append(coordinates, fmt.Sprintf("T%d.f%d", i%2000, j))
		}
		c.Set(coordinates).Count(named(fmt.Sprint("client", i%2)))
		total += int64(len(coordinates))
	}
	pairs, others := 0, 0
	for of, n := range flushed(t, c) {
		total -= n
		if strings.HasPrefix(of, "other|") {
			others++
		} else {
			pairs++
		}
	}
	if total != 0 || pairs != 20_000 || others == 0 {
		t.Errorf("%d pairs, %d for others, %d uses are missing", pairs, others, total)
	}
}

// TestConcurrentCounts counts from many goroutines, while what was counted is handed on: each use once.
func TestConcurrentCounts(t *testing.T) {
	t.Parallel()
	c := usage.NewCounter()
	sets := []*usage.Set{c.Set([]string{"Query.a", "Query.b"}), c.Set([]string{"Query.b"})}
	var total atomic.Int64
	write := func(_ context.Context, uses []usage.Use) error {
		for _, u := range uses {
			total.Add(u.Count)
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	var flushing, counting sync.WaitGroup
	flushing.Go(func() {
		for ctx.Err() == nil {
			_ = c.Flush(ctx, write)
		}
	})
	for g := range 4 {
		counting.Go(func() {
			for i := range 5000 {
				sets[i%2].Count(named(fmt.Sprint("client", (g+i)%120)))
			}
		})
	}
	counting.Wait()
	cancel()
	flushing.Wait()
	if err := c.Flush(t.Context(), write); err != nil || total.Load() != 4*5000*3/2 {
		t.Errorf("%d uses, %v", total.Load(), err)
	}
}

// TestCountingDoesNotAllocate holds it for known clients, for those that there is no room for, and for odd names.
func TestCountingDoesNotAllocate(t *testing.T) {
	c := usage.NewCounter()
	set := c.Set([]string{"Query.a"})
	for _, h := range []http.Header{{}, headers("apollographql-client-name", "web", "apollographql-client-version", "1"), headers("x-graphql-client-name", "ios"), named("né")} {
		set.Count(h)
		if n := testing.AllocsPerRun(100, func() { set.Count(h) }); n != 0 {
			t.Errorf("%v: %v allocations", h, n)
		}
	}
}

func BenchmarkCount(b *testing.B) {
	c := usage.NewCounter()
	set := c.Set([]string{"Query.a", "Query.b"})
	for name, h := range map[string]http.Header{"unnamed": {}, "named": headers("apollographql-client-name", "web", "apollographql-client-version", "1.2.3")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set.Count(h)
			}
		})
	}
}
