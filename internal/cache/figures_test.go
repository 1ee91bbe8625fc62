package cache_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"emporium/internal/cache"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

func TestSurrogateKeys(t *testing.T) {
	t.Parallel()
	for _, slot := range []uint32{0, 35, 36, 13736, 13737, 13738, 1<<20 - 1} {
		key := string(cache.AppendSurrogateKey([]byte("x "), slot))
		if back, err := strconv.ParseUint(key[2:], 36, 32); err != nil || uint32(back) != slot || key[2:] == cache.KeyOfAll {
			t.Errorf("the key of %d is %q", slot, key)
		}
	}
}

// TestWhatIsObserved goes through every reason for which an answer is not kept, and what voids others.
func TestWhatIsObserved(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing := s.add(1)
	var mu sync.Mutex
	reasons := map[cache.Reason]int{}
	var stamps, voids, epochs, changes atomic.Int64
	p := s.start(cache.Options{Observe: cache.Observer{
		Reject: func(r cache.Reason) { mu.Lock(); reasons[r]++; mu.Unlock() },
		Stamp:  func(uint32) { stamps.Add(1) }, Void: func() { voids.Add(1) },
		Epoch: func() { epochs.Add(1) }, Change: func(string) { changes.Add(1) }}})
	if voids.Load() != 1 || epochs.Load() != 1 {
		t.Errorf("after the start: %d voids, %d epochs", voids.Load(), epochs.Load())
	}
	p.settle(thing)
	if entries, bytes := p.Size(); entries != 1 || bytes < 300 {
		t.Errorf("%d answers in %d bytes", entries, bytes)
	}
	if f := p.Follows(); len(f) != 1 || f[0].Database != "shop" || !f[0].Leased || f[0].Lag < 0 || f[0].Lag > 5*time.Second {
		t.Errorf("followed: %+v", f)
	}
	mu.Lock()
	clear(reasons)
	mu.Unlock()
	fill := func(name string, filled cache.Filled[string], read func(ctx context.Context)) {
		t.Helper()
		filled.Body = []byte("x")
		r := cache.Get(context.Background(), p.Cache, key(name), false, func(ctx context.Context) cache.Filled[string] {
			read(ctx)
			return filled
		})
		if r.Why == "" || r.Entry != nil {
			t.Errorf("%s: it is kept", name)
		}
	}
	n := func(ctx context.Context, s postgres.Stmt) {
		if _, _, err := postgres.First(ctx, p.db, s, pgx.RowTo[int64]); err != nil {
			t.Error(err)
		}
	}
	nothing := func(context.Context) {}
	fill("errors", cache.Filled[string]{Why: "errors", MaxAge: time.Hour}, nothing)
	fill("scope", cache.Filled[string]{Why: "scope", Reason: cache.Scope, MaxAge: time.Hour}, nothing)
	fill("uncacheable", cache.Filled[string]{MaxAge: time.Hour}, func(ctx context.Context) { postgres.Uncacheable(ctx, "the time") })
	fill("not followed", cache.Filled[string]{MaxAge: time.Hour}, func(ctx context.Context) {
		n(ctx, postgres.Stmt{Name: "test.secrets", SQL: "SELECT count(*) FROM shop.secrets", Reads: postgres.All("shop.secrets")})
	})
	fill("too old", cache.Filled[string]{MaxAge: -1}, nothing)
	stamped, changed := stamps.Load(), changes.Load()
	fill("changed", cache.Filled[string]{MaxAge: time.Hour}, func(ctx context.Context) {
		n(ctx, postgres.Stmt{Name: "test.count", SQL: "SELECT count(*) FROM shop.things", Reads: postgres.All("shop.things")})
		s.write("UPDATE shop.things SET color = 'blue' WHERE id = $1", thing)
		p.await()
	})
	if stamps.Load()-stamped != 4 || changes.Load()-changed != 1 { // the table, the ID, two colors
		t.Errorf("%d stamps and %d changes", stamps.Load()-stamped, changes.Load()-changed)
	}
	mu.Lock()
	for _, reason := range cache.Reasons() {
		if want := 1; reasons[reason] != want && reason != cache.CatchingUp {
			t.Errorf("%s is counted %d times", reason, reasons[reason])
		}
	}
	mu.Unlock()
	s.write("TRUNCATE shop.things")
	p.until("everything is void", func() bool { return voids.Load() == 2 })
}

// TestPurge wants a purge by somebody who keeps nothing to reach all others.
func TestPurge(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing := s.add(1)
	one, two := s.start(cache.Options{}), s.start(cache.Options{})
	one.settle(thing)
	two.settle(thing)
	command, err := cache.New(cache.Options{Sources: []cache.Source{{Domains: []string{"shop"}, DB: s.db, Direct: s.url}}})
	if err != nil {
		t.Fatal(err)
	}
	if done, err := command.Purge(t.Context()); err == nil || len(done.Databases) != 0 {
		t.Errorf("without a migration: %+v, %v", done, err)
	}
	s.write("INSERT INTO shop.schema_migrations VALUES (1)")
	one.await()
	one.settle(thing)
	two.settle(thing)
	done, err := command.Purge(t.Context())
	if err != nil || len(done.Databases) != 1 || done.Databases[0] != (cache.PurgedDatabase{Database: "shop", Processes: 2}) {
		t.Errorf("%+v, %v", done, err)
	}
	for _, p := range []*process{one, two} {
		if a := p.ask(thing); a.level == cache.Local {
			t.Errorf("after a purge: %+v", a)
		}
	}
	if missing, err := command.Unfollowed(t.Context(), []string{"shop.things", "shop.secrets", "other.things"}); err != nil || len(missing) != 2 {
		t.Errorf("not followed: %v, %v", missing, err)
	}
}
