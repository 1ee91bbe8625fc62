package telemetry_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"emporium/internal/telemetry"
)

func TestCacheFigures(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 1000 {
				m.CacheLookup([]string{"local", "miss"}[n%2])
				m.CacheInvalidation(fmt.Sprint("shop.t", (i+n)%4))
			}
		})
	}
	group.Wait()
	m.CacheStale("remote")
	m.CacheRefused("errors")
	m.CacheEpoch()
	m.CacheWait(2 * time.Millisecond)
	m.CacheRedis("get", "hit", time.Millisecond)
	m.CachePurge(nil)
	m.CachePurge(errors.New("no"))
	lag, leased, open := 300*time.Millisecond, true, false
	m.CacheFollower("shop", func() (time.Duration, bool) { return lag, leased })
	m.CacheSize(func() (int, uint64) { return 3, 4096 })
	m.CacheRedisBreaker(func() bool { return open })
	m.CachePurgesPending(func() int { return 7 })
	wantLines(t, m, "emporium_cache_lookups_total", map[string]string{`{level="local"}`: "4000", `{level="miss"}`: "4000"})
	wantLines(t, m, "emporium_cache_invalidations_total", map[string]string{`{table="shop.t0"}`: "2000", `{table="shop.t1"}`: "2000",
		`{table="shop.t2"}`: "2000", `{table="shop.t3"}`: "2000"})
	wantLines(t, m, "emporium_cache_stale_total", map[string]string{`{level="remote"}`: "1"})
	wantLines(t, m, "emporium_cache_refused_total", map[string]string{`{reason="errors"}`: "1"})
	wantLines(t, m, "emporium_cache_epochs_total", map[string]string{"": "1"})
	wantLines(t, m, "emporium_cache_mutation_wait_seconds_sum", map[string]string{"": "0.002"})
	wantLines(t, m, "emporium_cache_redis_duration_seconds_count", map[string]string{`{op="get",outcome="hit"}`: "1"})
	wantLines(t, m, "emporium_cache_cdn_purges_total", map[string]string{`{outcome="ok"}`: "1", `{outcome="error"}`: "1"})
	wantLines(t, m, "emporium_cache_follower_lag_seconds", map[string]string{`{database="shop"}`: "0.3"})
	wantLines(t, m, "emporium_cache_lease_held", map[string]string{`{database="shop"}`: "1"})
	wantLines(t, m, "emporium_cache_entries", map[string]string{"": "3"})
	wantLines(t, m, "emporium_cache_bytes", map[string]string{"": "4096"})
	wantLines(t, m, "emporium_cache_redis_breaker_open", map[string]string{"": "0"})
	wantLines(t, m, "emporium_cache_cdn_keys_pending", map[string]string{"": "7"})
	leased, open = false, true // as it is when asked
	wantLines(t, m, "emporium_cache_lease_held", map[string]string{`{database="shop"}`: "0"})
	wantLines(t, m, "emporium_cache_redis_breaker_open", map[string]string{"": "1"})
}

// TestCacheCountersAllocateNothing: one is called for each answer from memory, the other for each row of a bulk load.
func TestCacheCountersAllocateNothing(t *testing.T) {
	m := telemetry.NewMetrics()
	m.CacheLookup("local")
	m.CacheInvalidation("shop.things")
	if n := testing.AllocsPerRun(100, func() { m.CacheLookup("local"); m.CacheInvalidation("shop.things") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCacheInvalidation(b *testing.B) {
	m := telemetry.NewMetrics()
	m.CacheInvalidation("shop.other")
	for b.Loop() {
		m.CacheInvalidation("shop.things")
	}
}
