//go:build unix

package cache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"emporium/internal/cache"
	"emporium/internal/cache/remote"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/redisclient"
	"emporium/internal/redisclient/redistest"
)

func TestFetchFindsWhatAnotherProcessHasPutAndNothingOld(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing := s.add(1)
	redis := redistest.New(t)
	processes := [2]*process{}
	var stale atomic.Int64
	observe := cache.Observer{Stale: func(level cache.Level) {
		stale.Add(map[cache.Level]int64{cache.Local: 1, cache.Remote: 100}[level])
	}}
	for i := range processes {
		client, err := redisclient.Open(redis.URL(), 4)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		processes[i] = s.start(cache.Options{Observe: observe, Remote: remote.New(remote.Options{Client: client, Budget: 5 * time.Second})})
	}
	one, two := processes[0], processes[1]
	question := key("n of " + thing.String())
	fetch := func(p *process) string {
		if e, ok := p.Fetch(context.Background(), question, false); ok {
			return string(e.Body)
		}
		return ""
	}
	if got := fetch(two); got != "" {
		t.Errorf("fetched %q before anything was put", got)
	}
	one.settle(thing)
	two.until("another process finds it", func() bool { return fetch(two) == "1 true" })
	if e, ok := two.Lookup(question); !ok || string(e.Body) != "1 true" {
		t.Error("what was fetched is not kept")
	}
	s.write("UPDATE shop.things SET n = 2 WHERE id = $1", thing)
	one.await()
	stale.Store(0)
	for i, p := range processes {
		for range 2 { // the first time it is forgotten
			if e, ok := p.Lookup(question); ok {
				t.Errorf("process %d keeps %q, which is void", i, e.Body)
			}
		}
		if got := fetch(p); got != "" {
			t.Errorf("process %d fetches %q, which is void", i, got)
		}
	}
	if n := stale.Load(); n != 202 {
		t.Errorf("two processes have found %d answers void in themselves and %d in Redis", n%100, n/100)
	}
}

func TestGetDoesNotAskRedisAgain(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	redis := redistest.New(t)
	client, err := redisclient.Open(redis.URL(), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	gets := make(chan string, 100)
	p := s.start(cache.Options{Remote: remote.New(remote.Options{Client: client, Budget: 5 * time.Second, Observe: func(op, _ string, _ time.Duration) {
		if op == "get" {
			gets <- op
		}
	}})})
	for want, ctx := range []context.Context{cache.Fetched(t.Context()), t.Context()} {
		before := len(gets)
		r := cache.Get(ctx, p.Cache, key(time.Now().String()), false, func(context.Context) cache.Filled[int] { return cache.Filled[int]{Why: "not"} })
		if got := len(gets) - before; r.Level != cache.Miss || got != want {
			t.Errorf("level %s, Redis was asked %d times instead of %d", r.Level, got, want)
		}
	}
}

// TestAgedAnswersAreNotTakenForFollowedOnes has a process that follows nothing put an answer into the Redis of one that follows.
func TestAgedAnswersAreNotTakenForFollowedOnes(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing := s.add(1)
	redis := redistest.New(t)
	store := func() *remote.Store {
		client, err := redisclient.Open(redis.URL(), 4)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return remote.New(remote.Options{Client: client, Budget: 5 * time.Second})
	}
	aged, follower := s.start(cache.Options{ByAge: true, Remote: store()}), s.start(cache.Options{Remote: store()})
	another := s.start(cache.Options{ByAge: true, Remote: store()})
	aged.ask(thing)
	another.until("Redis has the answer", func() bool {
		_, ok := another.Fetch(t.Context(), key("n of "+thing.String()), false)
		return ok
	})
	s.write("UPDATE shop.things SET n = 2 WHERE id = $1", thing)
	follower.await()
	if a := follower.ask(thing); a.text != "2 true" || a.level != cache.Miss {
		t.Errorf("who follows says %+v", a)
	}
}
