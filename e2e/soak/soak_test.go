//go:build unix

// Package soak keeps two servers busy for long, with what shops ask and with what nobody should, over streams that come and go,
// and checks that bad input is never the server's fault and that nothing is left of it all.
package soak

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"emporium/e2e/shop"
)

func TestMain(m *testing.M) { os.Exit(shop.Main(m)) }

// crowd is all who ask.
type crowd struct {
	*shop.Shop
	t        *testing.T
	variants []string // global IDs
	orders   []string // of the customers, in their order
	rounds   int      // that have begun

	asked, refused, limited atomic.Int64 // requests, and those that were not answered by 200
	opened, told            atomic.Int64 // streams and their events
	wrong                   atomic.Int64
}

// fault tells of what must not be, but not of all of it.
func (c *crowd) fault(format string, args ...any) {
	if c.wrong.Add(1) <= 20 {
		c.t.Errorf(format, args...)
	}
}

// rest is what a server holds while nobody asks.
type rest struct {
	goroutines, files, heap, resident float64
	connections                       float64 // of all servers, to Postgres
	redis                             float64 // clients of Redis
}

func (r rest) String() string {
	const mib = 1 << 20
	return fmt.Sprintf("%.0f goroutines, %.0f files, %.1f MiB live, %.0f MiB resident, %.0f connections to Postgres and %.0f to Redis",
		r.goroutines, r.files, r.heap/mib, r.resident/mib, r.connections, r.redis)
}

// settle waits until nothing is left of what was asked of a server, and returns what it still holds.
func (c *crowd) settle(v *shop.Server, most float64) (r rest) {
	c.t.Helper()
	if !shop.Eventually(time.Minute, func() bool {
		return v.Metric("emporium_streams_open") == 0 && v.Metric("emporium_http_requests_in_flight") == 0
	}) {
		c.fault("server %d still has %.0f streams and %.0f requests", v.N, v.Metric("emporium_streams_open"), v.Metric("emporium_http_requests_in_flight"))
	}
	// Connections whose clients are gone, and those to databases that were needed for a while, take their time.
	shop.Eventually(30*time.Second, func() bool { return v.Metric("go_goroutines") <= most })
	for range 2 { // what has a finalizer goes at the second
		if err := v.Collect(); err != nil {
			c.fault("collect garbage: %v", err)
		}
	}
	r = rest{goroutines: v.Metric("go_goroutines"), files: v.Metric("process_open_fds"),
		heap: v.Metric("go_memstats_heap_alloc_bytes"), resident: v.Metric("process_resident_memory_bytes")}
	if err := c.Pool.QueryRow(c.t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`).
		Scan(&r.connections); err != nil {
		c.t.Fatal(err)
	}
	info, err := c.Redis.Client().Info(c.t.Context(), "clients").Result()
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if text, ok := strings.CutPrefix(line, "connected_clients:"); ok {
			r.redis, _ = strconv.ParseFloat(strings.TrimSpace(text), 64)
		}
	}
	return r
}

// TestSoak runs in rounds, after each of which nothing may be left. The first ones fill what is bounded: caches, pools, plans.
// EMPORIUM_SOAK_SECONDS is for how long; from 900 on memory is looked at too.
func TestSoak(t *testing.T) {
	seconds, rounds := 8.0, 2
	if text := os.Getenv("EMPORIUM_SOAK_SECONDS"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n < 60 {
			t.Fatalf("EMPORIUM_SOAK_SECONDS is %q: a number from 60 on", text)
		}
		seconds, rounds = n, 12
	}
	// The addresses of clients are made up, so that each has limits of its own; what is kept fills its room soon.
	c := &crowd{t: t, Shop: shop.Open(t, 2, "RATE_LIMIT=2000", "RATE_LIMIT_ADDRESS=10000", "TRUSTED_PROXIES=127.0.0.1", "CACHE_BYTES=8388608")}
	_, catalogue := c.Settle(4)
	for _, p := range catalogue {
		for _, v := range p.List("variants") {
			c.variants = append(c.variants, v.Text("id"))
		}
	}
	for _, who := range c.Customers {
		c.orders = append(c.orders, who.Order)
	}
	rests := make([][]rest, len(c.Servers))
	for round := range rounds {
		c.round(time.Duration(seconds / float64(rounds) * float64(time.Second)))
		for i, v := range c.Servers {
			most := math.Inf(1)
			if round > 0 {
				most = rests[i][0].goroutines + slack
			}
			r := c.settle(v, most)
			rests[i] = append(rests[i], r)
			t.Logf("round %d, server %d: %s", round+1, v.N, r)
		}
	}
	t.Logf("%d requests, of which %d were refused and %d came too often; %d streams with %d events", c.asked.Load(), c.refused.Load(),
		c.limited.Load(), c.opened.Load(), c.told.Load())
	if c.asked.Load() < 1000 || c.refused.Load() < 100 || c.opened.Load() < 50 || c.told.Load() < 50 {
		t.Error("too little was tried")
	}
	if n := c.wrong.Load(); n > 0 {
		t.Errorf("%d things were wrong", n)
	}
	for i := range c.Servers {
		first, last := rests[i][0], rests[i][rounds-1]
		// Pools have their bounds, and keep what they have opened at a bad moment for half an hour.
		if last.goroutines > first.goroutines+slack || last.files > first.files+2*slack || last.connections > first.connections+2*slack || last.redis > first.redis+pools {
			t.Errorf("server %d held %s after the first round, and holds %s", i, first, last)
		}
		if seconds < 900 { // until when what is bounded is full
			continue
		}
		// The middle of the last third, by that of the third before: chance makes single rests differ.
		for name, of := range map[string]func(rest) float64{"live": func(r rest) float64 { return r.heap }, "resident": func(r rest) float64 { return r.resident }} {
			before, after := median(rests[i][rounds/3:2*rounds/3], of), median(rests[i][2*rounds/3:], of)
			if after > 1.1*before+4<<20 {
				t.Errorf("server %d: %s memory grew from %.1f to %.1f MiB", i, name, before/(1<<20), after/(1<<20))
			}
		}
	}
}

// pools is how many connections to Redis the servers may open later.
const pools = 64

// slack is how many goroutines may be there by chance: a job that runs, a connection that is about to be closed.
const slack = 12

func median(rests []rest, of func(rest) float64) float64 {
	var all []float64
	for _, r := range rests {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// round lets everybody loose for a while, and waits until all are gone.
func (c *crowd) round(d time.Duration) {
	c.rounds++
	var group sync.WaitGroup
	ctx, cancel := context.WithTimeout(c.t.Context(), d)
	defer cancel()
	for _, kind := range []struct {
		many int
		acts func(*somebody)
	}{
		{6, (*somebody).shop}, {2, (*somebody).buy}, {1, (*somebody).manage}, {1, (*somebody).sign},
		{8, (*somebody).socket}, {4, (*somebody).follow}, {3, (*somebody).single},
		{4, (*somebody).attack}, {3, (*somebody).garble}, {2, (*somebody).trespass}, {3, (*somebody).badSocket},
	} {
		for n := range kind.many {
			who := newSomebody(ctx, c, uint64(n))
			group.Go(func() {
				defer who.leave()
				for ctx.Err() == nil {
					kind.acts(who)
				}
			})
		}
	}
	group.Wait()
}
