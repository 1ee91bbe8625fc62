//go:build unix

package remote_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/redis/go-redis/v9"

	"emporium/internal/cache/remote"
	"emporium/internal/redisclient/redistest"
	"emporium/internal/seal"
)

// gone gets until Redis is left alone, and says so.
func (b *bed) gone() {
	b.t.Helper()
	b.eventually("the breaker opens", func() bool {
		if got := b.get(key(1), false); got != nil {
			b.t.Errorf("got %q", got)
		}
		return b.State() == "does not answer: each process keeps answers for itself"
	})
	before := b.count("get " + remote.Open)
	for range 100 {
		b.get(key(1), false)
	}
	if b.count("get "+remote.Open) == before {
		b.t.Error("Redis is asked while the breaker is open")
	}
}

// back waits until Redis is used again, which may not take a restart.
func (b *bed) back() {
	b.t.Helper()
	start := time.Now()
	b.eventually("the breaker closes", func() bool { return b.State() == "ok" })
	if took := time.Since(start); took > 10*time.Second {
		b.t.Errorf("it took %v to be back", took)
	} else {
		b.t.Logf("back after %v", took)
	}
	b.store(key(2), []byte("new"), false)
}

// Serial, because it counts goroutines.
func TestFrozenRedis(t *testing.T) {
	server := redistest.New(t)
	b := open(t, server.URL(), remote.Options{Budget: remote.DefaultBudget})
	b.store(key(1), []byte("old"), false)
	before := runtime.NumGoroutine()

	server.Freeze()
	var start, all sync.WaitGroup
	start.Add(1)
	for range 200 {
		all.Go(func() {
			start.Wait()
			if got := b.get(key(1), false); got != nil {
				t.Errorf("got %q of a frozen Redis", got)
			}
		})
	}
	start.Done()
	all.Wait()
	if n := b.client.PoolStats().TotalConns; n > 8 {
		t.Errorf("%d connections", n)
	}
	b.gone()
	for range 100 {
		b.Put(key(3), []byte("x"), false)
	}
	b.eventually("no goroutine is left over", func() bool { return runtime.NumGoroutine() <= before+2 }) // the probe's connection
	server.Thaw()
	b.back()
	b.eventually("what was there before is there", func() bool { return string(b.get(key(1), false)) == "old" })
	look := server.Client()
	b.eventually("no connection is left over", func() bool {
		return strings.Count(look.ClientList(t.Context()).Val(), "addr=")/2 <= 9
	})
	b.eventually("no goroutine is left over", func() bool { return runtime.NumGoroutine() <= before+1 })
	if log := b.log.String(); strings.Count(log, "left alone") < 1 || strings.Count(log, "used again") < 1 {
		t.Errorf("the log says %s", log)
	}
	t.Log(b.counts())
}

func TestKilledRedis(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	b := open(t, server.URL(), remote.Options{})
	for range 3 {
		b.store(key(1), []byte("old"), false)
		server.Kill()
		b.gone()
		b.Put(key(3), []byte("x"), false)
		server.Start()
		b.back()
		if got := b.get(key(1), false); got != nil {
			t.Errorf("an empty Redis gave %q", got)
		}
	}
	if b.count("put "+remote.Open) == 0 {
		t.Errorf("counted %v", b.counts())
	}
}

func TestRedisThatStartsLater(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	server.Kill()
	b := open(t, server.URL(), remote.Options{})
	b.gone()
	server.Start()
	b.back()
}

func TestSlowRedis(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.New(t))
	b := open(t, proxy.URL(), remote.Options{})
	b.store(key(1), []byte("old"), false)
	proxy.Delay(time.Second)
	b.gone()
	if b.count("get "+remote.Timeout) < 5 {
		t.Errorf("counted %v", b.counts())
	}
	proxy.Delay(0)
	b.back()
	if got := b.get(key(1), false); string(got) != "old" {
		t.Errorf("got %q", got)
	}

	proxy.Cut()
	b.eventually("a new connection", func() bool { return string(b.get(key(1), false)) == "old" })
}

// TestBudget wants a Get to wait for its budget and no longer, far less than the client would.
func TestBudget(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.New(t))
	for budget, atMost := range map[time.Duration]time.Duration{0: 250 * time.Millisecond, 400 * time.Millisecond: 900 * time.Millisecond} {
		b := open(t, proxy.URL(), remote.Options{Budget: max(budget, remote.DefaultBudget)})
		b.store(key(1), []byte("old"), false)
		proxy.Delay(2 * time.Second)
		fastest := time.Hour
		for range 4 { // the fifth would open the breaker
			began := time.Now()
			if got := b.get(key(1), false); got != nil {
				t.Errorf("got %q", got)
			}
			fastest = min(fastest, time.Since(began))
		}
		if fastest < max(budget, remote.DefaultBudget)*7/8 || fastest > atMost {
			t.Errorf("with a budget of %v a Get takes %v", budget, fastest)
		}
		proxy.Delay(0)
	}
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.New(t))
	b := open(t, proxy.URL(), remote.Options{Budget: 50 * time.Millisecond})
	for _, garbage := range []string{
		"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", string(random(100)), "\r\n\r\n", "\x00", "-ERR no\r\n", ":1\r\n", "+OK\r\n", "$2\r\nOKxx",
		"$9223372036854775807\r\n", "$999999999999\r\nx", "*999999999999\r\n", "%999999999\r\n", ">999999999\r\n", "~999999999\r\n",
		"=99999999999\r\ntxt:", "!99999999999\r\n", "$?\r\n", "*-1\r\n", strings.Repeat("x", 1<<20), strings.Repeat("*1\r\n", 1000), "_\r\n", "$-2\r\n", "|1\r\n",
	} {
		b.store(key(1), []byte("old"), false)
		proxy.Garble([]byte(garbage))
		for range 20 {
			// An answer of the right form, for another command, is an answer.
			if got := b.get(key(1), false); got != nil && string(got) != "old" {
				t.Errorf("%.20q: got %q", garbage, got)
			}
			b.Put(key(4), []byte("x"), false)
		}
		proxy.Garble(nil)
		b.eventually("Redis is used again", func() bool { b.Put(key(4), []byte("x"), false); return b.State() == "ok" })
	}
	t.Log(b.counts())
}

func TestFullRedis(t *testing.T) {
	t.Parallel()
	server := redistest.New(t, "--maxmemory", "6mb", "--maxmemory-policy", "noeviction")
	b := open(t, server.URL(), remote.Options{})
	b.store(key(0), []byte("old"), false)
	b.eventually("Redis is full", func() bool {
		for n := range byte(100) {
			b.Put(key(n+1), random(100<<10), false)
		}
		return b.State() != "ok"
	})
	if s := b.State(); s != `takes no new answers ("OOM")` {
		t.Errorf("state %q", s)
	}
	if got := b.get(key(0), false); string(got) != "old" {
		t.Errorf("got %q", got)
	}
	if b.count("put "+remote.Error) == 0 || !strings.Contains(b.log.String(), "OOM") || strings.Contains(b.log.String(), "left alone") {
		t.Errorf("counted %v, the log says %s", b.counts(), b.log)
	}
	server.Client().ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru")
	b.eventually("Redis evicts", func() bool { b.Put(key(200), random(100<<10), false); return b.State() == "ok" })
}

func TestEvictingRedis(t *testing.T) {
	t.Parallel()
	b := open(t, redistest.New(t, "--maxmemory", "6mb", "--maxmemory-policy", "allkeys-lru").URL(), remote.Options{})
	value := random(100 << 10)
	for n := range byte(150) {
		b.store(key(n), value, false)
	}
	hits := 0
	for n := range byte(150) {
		if got := b.get(key(n), false); bytes.Equal(got, value) {
			hits++
		} else if got != nil {
			t.Errorf("got %d bytes", len(got))
		}
	}
	if hits == 0 || hits > 100 || b.State() != "ok" {
		t.Errorf("%d of 150 are left, state %q", hits, b.State())
	}
}

func TestPoisonedRedis(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	b := open(t, server.URL(), remote.Options{Sealer: sealer(t, seal.New())})
	look, ctx := server.Client(), t.Context()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(make([]byte, 300<<20), nil)
	many := bytes.Repeat(enc.EncodeAll(make([]byte, 1<<20), nil), 1000) // frames one after the other
	head := func(size uint64) []byte { return binary.AppendUvarint([]byte{2}, size) }

	b.store(key(1), []byte("public"), false)
	names := look.Keys(ctx, "*").Val()
	if len(names) != 1 {
		t.Fatalf("keys %q", names)
	}
	for what, poison := range map[string][]byte{
		"empty": {}, "unknown form": []byte("\x00x"), "text": []byte("hello"), "no length": {2}, "endless length": bytes.Repeat([]byte{0xff}, 20),
		"no frame": head(10), "a frame that is none": append(head(10), random(100)...), "a bomb": append(head(1<<20), bomb...),
		"a bomb that says so": append(head(300<<20), bomb...), "the greatest length": append(head(math.MaxUint64), bomb...),
		"many frames": append(head(1<<20), many...), "too short": append(head(100), enc.EncodeAll(make([]byte, 99), nil)...),
		"too long": append([]byte{1}, make([]byte, 1<<20+1)...), "sealed": []byte("\x03hello"), "endless": make([]byte, 40<<20),
	} {
		look.Set(ctx, names[0], poison, 0)
		// One that is announced with more than a value may have ends the connection, as if Redis was gone.
		b.eventually("it is seen", func() bool {
			before := b.count("get "+remote.Corrupt) + b.count("get "+remote.Error)
			if got := b.get(key(1), false); got != nil {
				t.Errorf("%s: got %d bytes", what, len(got))
			}
			return b.count("get "+remote.Corrupt)+b.count("get "+remote.Error) > before
		})
	}
	look.Del(ctx, names[0])
	look.LPush(ctx, names[0], "x")
	if got := b.get(key(1), false); got != nil {
		t.Errorf("of a list: got %q", got)
	}
	look.Del(ctx, names[0])
	b.eventually("a miss", func() bool { b.get(key(1), false); return b.State() == "ok" })
	t.Log(b.counts())
}

func TestPrivateValuesAreSealed(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	old := seal.New()
	s := sealer(t, old)
	b := open(t, server.URL(), remote.Options{Sealer: s})
	look, ctx := server.Client(), t.Context()
	secret := `{"viewer":{"name":"Kim Example","email":"kim@example.com"}}`
	b.store(key(1), []byte(secret), true)
	b.store(key(2), []byte(strings.Repeat(secret, 100)), true)
	b.store(key(3), []byte("public"), false)
	b.store(key(4), []byte("other secret"), true)
	stored := map[string]string{}
	for _, name := range look.Keys(ctx, "*").Val() {
		stored[name] = look.Get(ctx, name).Val()
		dump := look.Dump(ctx, name).Val() + stored[name] + name
		for _, word := range []string{"Kim", "kim@", "viewer", "secret"} {
			if strings.Contains(dump, word) {
				t.Errorf("Redis holds %q in %q", word, dump)
			}
		}
	}
	if len(stored) != 4 {
		t.Fatalf("%d keys", len(stored))
	}

	// What was sealed for one key does not open under another one.
	for from, value := range stored {
		for to := range stored {
			if from != to {
				look.Set(ctx, to, value, time.Hour)
				for n := byte(1); n <= 4; n++ {
					if got := b.get(key(n), true); got != nil && !map[string]bool{secret: n == 1, strings.Repeat(secret, 100): n == 2, "other secret": n == 4}[string(got)] {
						t.Errorf("%.30q opens under another key", got)
					}
				}
				look.Set(ctx, to, stored[to], time.Hour)
			}
		}
	}
	if b.count("get "+remote.Corrupt) == 0 {
		t.Error("nothing was counted")
	}

	rotated, err := old.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Use(rotated); err != nil {
		t.Fatal(err)
	}
	if got := b.get(key(1), true); string(got) != secret {
		t.Errorf("under a key that still opens: got %q", got)
	}
	pruned, err := rotated.Prune()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Use(pruned); err != nil {
		t.Fatal(err)
	}
	if got := b.get(key(1), true); got != nil {
		t.Errorf("under a key that is dropped: got %q", got)
	}
	b.store(key(1), []byte(secret), true)
}

func TestPutsAreBounded(t *testing.T) {
	t.Parallel()
	client := redistest.New(t).Client()
	var mu sync.Mutex
	seen := map[string]int{}
	s := remote.New(remote.Options{ // nobody runs it yet
		Client: client, Queue: 10, QueueBytes: 1000, MaxEntry: 500, Observe: func(op, outcome string, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			seen[op+" "+outcome]++
		}})
	s.Put(key(1), make([]byte, 501), false)
	s.Put(key(1), []byte("private, and nothing to seal with"), true)
	for range 3 {
		s.Put(key(1), make([]byte, 500), false)
	}
	for range 20 {
		s.Put(key(1), nil, false)
	}
	if seen["put "+remote.TooLarge] != 1 || seen["put "+remote.Dropped] != 1+12 || len(seen) != 2 {
		t.Errorf("counted %v", seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	redistest.Eventually(t, "what waited is written", func() bool { return client.DBSize(t.Context()).Val() == 1 && s.Get(ctx, key(1), false) != nil })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	s := remote.New(remote.Options{Observe: func(op, outcome string, _ time.Duration) { t.Errorf("%s %s", op, outcome) }})
	s.Put(key(1), []byte("x"), false)
	if got := s.Get(t.Context(), key(1), false); got != nil {
		t.Errorf("got %q", got)
	}
	if n, err := s.Purge(t.Context()); n != 0 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	if s := s.State(); s != "off: each process keeps answers for itself" {
		t.Errorf("state %q", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a hash tag in the prefix was taken")
			}
		}()
		remote.New(remote.Options{Prefix: "{x}:"})
	}()
}

func TestCallersThatLeaveAreNoFailures(t *testing.T) {
	t.Parallel()
	b := open(t, redistest.New(t).URL(), remote.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		b.Get(ctx, key(1), false)
	}
	if b.State() != "ok" || b.count("get "+remote.Canceled) != 50 {
		t.Errorf("state %q, counted %v", b.State(), b.counts())
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	look, ctx := server.Client(), t.Context()
	b := open(t, server.URL(), remote.Options{Prefix: `a*b[c]\?:`})
	for n := range byte(20) {
		b.store(key(n), []byte("x"), false)
	}
	if _, err := look.Pipelined(ctx, func(p redis.Pipeliner) error {
		for n := range 3000 {
			p.Set(ctx, "axb[c]\\?:"+string(rune('a'+n)), "not ours", 0)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Purge(ctx); n != 20 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	if n := look.DBSize(ctx).Val(); n != 3000 {
		t.Errorf("%d keys are left", n)
	}
	if n, err := b.Purge(ctx); n != 0 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	server.Kill()
	if _, err := b.Purge(ctx); err == nil {
		t.Error("a dead Redis was purged")
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.NewCluster(t)
	b := open(t, cluster.URL(), remote.Options{Sealer: sealer(t, seal.New())})
	const values = 60
	for n := range byte(values) {
		b.store(key(n), answer(2000), n%2 == 0)
	}
	for i, server := range cluster {
		if n := server.Client().DBSize(t.Context()).Val(); n < 5 {
			t.Errorf("server %d holds %d of %d values", i, n, values)
		}
	}
	if n, err := b.Purge(t.Context()); n != values || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	for n := range byte(values) {
		if b.get(key(n), n%2 == 0) != nil {
			t.Errorf("value %d is still there", n)
		}
		b.store(key(n), answer(2000), n%2 == 0)
	}

	// What the others hold is there while one is gone, or does not answer.
	for _, away := range []struct{ goes, comes func() }{{cluster[1].Freeze, cluster[1].Thaw}, {cluster[2].Kill, func() {}}} {
		lost := int(cluster[1].Client().DBSize(t.Context()).Val())
		away.goes()
		b.eventually("the others go on", func() bool {
			hits := 0
			for n := range byte(values) {
				if b.get(key(n), n%2 == 0) != nil {
					hits++
				}
			}
			return hits >= 5 && hits < values && lost > 0
		})
		away.comes()
		t.Log(b.State(), b.counts())
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	watched := redistest.NewWatched(t)
	b := open(t, watched.URL(), remote.Options{})
	b.store(key(1), []byte("old"), false)
	replica := watched.Replica.Client()
	b.eventually("the replica has it", func() bool { return replica.DBSize(t.Context()).Val() == 1 })
	watched.Master.Kill()
	b.eventually("the replica gives it", func() bool { return string(b.get(key(1), false)) == "old" })
	b.eventually("the replica takes more", func() bool { b.Put(key(2), []byte("new"), false); return b.get(key(2), false) != nil })
	t.Log(b.counts())
}

// TestFrozenFromTheStart finds nothing that could tell where entries are.
func TestFrozenFromTheStart(t *testing.T) {
	t.Parallel()
	cluster, watched, single := redistest.NewCluster(t), redistest.NewWatched(t), redistest.New(t)
	for _, server := range append(cluster, watched.Sentinel, watched.Master, watched.Replica, single) {
		server.Freeze()
	}
	for kind, url := range map[string]string{"cluster": cluster.URL(), "Sentinel": watched.URL(), "single": single.URL()} {
		b := open(t, url, remote.Options{Budget: remote.DefaultBudget})
		var all sync.WaitGroup
		start := time.Now()
		for range 100 {
			all.Go(func() {
				if got := b.get(key(1), false); got != nil {
					t.Errorf("%s: got %q", kind, got)
				}
			})
		}
		all.Wait()
		t.Logf("%s: 100 at once took %v", kind, time.Since(start))
		b.gone()
	}
	for _, server := range append(cluster, watched.Sentinel, watched.Master, watched.Replica, single) {
		server.Thaw()
	}
}
