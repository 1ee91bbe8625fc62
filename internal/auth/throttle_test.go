package auth

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

func throttle(t testing.TB, cfg ThrottleConfig) *Throttle {
	t.Helper()
	th, err := NewThrottle(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if th.budget != 25*time.Millisecond {
		t.Errorf("budget %v", th.budget)
	}
	if cfg.Redis != nil {
		th.budget = 5 * time.Second // a busy machine is no outage
	}
	return th
}

// line is a way to Redis that can be cut, and mended.
type line struct {
	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

func (l *line) cut(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = yes
	if yes {
		for _, c := range l.conns {
			c.Close()
		}
		l.conns = nil
	}
}

// redisServer returns a client of TEST_REDIS_URL, or of a server of the test's own.
func redisServer(t *testing.T) (*redis.Client, *line) {
	t.Helper()
	var opt *redis.Options
	if url := os.Getenv("TEST_REDIS_URL"); url != "" {
		var err error
		if opt, err = redis.ParseURL(url); err != nil {
			t.Fatalf("TEST_REDIS_URL: %v", err)
		}
	} else {
		binary := "/usr/bin/redis-server"
		if _, err := os.Stat(binary); err != nil {
			if binary, err = exec.LookPath("redis-server"); err != nil {
				t.Fatal("these tests need redis-server: install it, or set TEST_REDIS_URL to a running one")
			}
		}
		dir, err := os.MkdirTemp("", "redis") // short: the path of a socket is bounded
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		socket := filepath.Join(dir, "s")
		var out bytes.Buffer
		cmd := exec.Command(binary, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		opt = &redis.Options{Network: "unix", Addr: socket}
	}
	var l line
	dial := opt.Dialer
	if dial == nil {
		network, addr := opt.Network, opt.Addr
		if network == "" {
			network = "tcp"
		}
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		}
	}
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.isCut {
			return nil, fmt.Errorf("the line is cut")
		}
		c, err := dial(ctx, network, addr)
		if err == nil {
			l.conns = append(l.conns, c)
		}
		return c, err
	}
	client := redis.NewClient(opt)
	t.Cleanup(func() { client.Close() })
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := client.Ping(t.Context()).Err()
		if err == nil {
			return client, &l
		}
		if time.Now().After(deadline) {
			t.Fatalf("Redis does not answer: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// exhaust takes attempts until one is refused, and returns how many were allowed and the wait.
func exhaust(t *testing.T, th *Throttle, kind, key string) (int, time.Duration) {
	t.Helper()
	for n := range 1000 {
		ok, wait := th.Allow(t.Context(), kind, key)
		if !ok {
			return n, wait
		}
		if wait != 0 {
			t.Fatalf("allowed, but in %v", wait)
		}
	}
	t.Fatal("never refused")
	return 0, 0
}

func TestThrottleInProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := throttle(t, ThrottleConfig{})
		if n, wait := exhaust(t, th, ThrottleAccount, "kim@example.com"); n != 10 || wait != 30*time.Second {
			t.Errorf("account: %d attempts, then %v", n, wait)
		}
		if n, wait := exhaust(t, th, ThrottleAddress, "192.0.2.1"); n != 30 || wait != 2*time.Second {
			t.Errorf("address: %d attempts, then %v", n, wait)
		}
		if n, _ := exhaust(t, th, ThrottleAccount, "lee@example.com"); n != 10 {
			t.Errorf("another account: %d attempts", n)
		}
		time.Sleep(29 * time.Second)
		if ok, wait := th.Allow(t.Context(), ThrottleAccount, "kim@example.com"); ok || wait.Round(time.Microsecond) != time.Second {
			t.Errorf("after 29 s: %v, %v", ok, wait)
		}
		time.Sleep(time.Second)
		if n, _ := exhaust(t, th, ThrottleAccount, "kim@example.com"); n != 1 {
			t.Errorf("after 30 s: %d attempts", n)
		}
		th.Reset(t.Context(), ThrottleAccount, "kim@example.com")
		if n, _ := exhaust(t, th, ThrottleAccount, "kim@example.com"); n != 10 {
			t.Errorf("after a reset: %d attempts", n)
		}
		if ok, wait := th.Allow(t.Context(), "unknown", "x"); ok || wait <= 0 {
			t.Errorf("unknown kind: %v, %v", ok, wait)
		}
		for i := range throttleLocal + 100 {
			th.Allow(t.Context(), ThrottleAddress, fmt.Sprint("192.0.2.", i))
		}
		if n := th.local.Len(); n != throttleLocal {
			t.Errorf("%d buckets in process", n)
		}
	})
}

func TestThrottleConcurrently(t *testing.T) {
	client, _ := redisServer(t)
	for name, th := range map[string]*Throttle{
		"in process": throttle(t, ThrottleConfig{}), "Redis": throttle(t, ThrottleConfig{Redis: client}),
	} {
		key := uuid.NewString()
		var allowed atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 5 {
					if ok, _ := th.Allow(context.Background(), ThrottleAccount, key); ok {
						allowed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if n := allowed.Load(); n != 10 {
			t.Errorf("%s: %d allowed", name, n)
		}
	}
}

func TestThrottleRedis(t *testing.T) {
	client, _ := redisServer(t)
	ctx := t.Context()
	secret := []byte("secret of the test " + uuid.NewString())
	const quick = "quick"
	cfg := ThrottleConfig{Redis: client, Secret: secret, Limits: map[string]Limit{
		ThrottleAccount: {Burst: 5, Every: time.Hour},
		ThrottleAddress: {Burst: 3, Every: time.Hour},
		quick:           {Burst: 1, Every: 200 * time.Millisecond},
	}}
	a, b := throttle(t, cfg), throttle(t, cfg)
	const key = "kim@example.com"

	// Two processes share a bucket.
	for i := range 5 {
		if ok, _ := []*Throttle{a, b}[i%2].Allow(ctx, ThrottleAccount, key); !ok {
			t.Fatalf("attempt %d refused", i+1)
		}
	}
	ok, wait := a.Allow(ctx, ThrottleAccount, key)
	if ok || wait < 59*time.Minute || wait > time.Hour {
		t.Fatalf("beyond the burst: %v, %v", ok, wait)
	}
	name := a.name(ThrottleAccount, key)
	if ttl := client.PTTL(ctx, name).Val(); ttl < 4*time.Hour || ttl > 5*time.Hour {
		t.Errorf("the key expires in %v", ttl)
	}
	if strings.Contains(name, "kim") || name == throttle(t, ThrottleConfig{}).name(ThrottleAccount, key) {
		t.Errorf("the key %q gives the account away", name)
	}
	if all := strings.Join(client.Keys(ctx, "*kim*").Val(), " "); all != "" {
		t.Errorf("Redis holds %s", all)
	}
	a.Reset(ctx, ThrottleAccount, key)
	if n, _ := exhaust(t, b, ThrottleAccount, key); n != 5 {
		t.Errorf("after a reset: %d attempts", n)
	}
	if n, _ := exhaust(t, a, ThrottleAddress, "2001:db8::1"); n != 3 {
		t.Errorf("address: %d attempts", n)
	}
	if ok, _ := b.Allow(ctx, ThrottleAddress, "[2001:db8::2]:443"); ok {
		t.Error("a neighbour in the /64 was allowed")
	}

	_, wait = exhaust(t, a, quick, key)
	if wait <= 0 || wait > 200*time.Millisecond {
		t.Errorf("wait %v", wait)
	}
	soon := time.NewTimer(wait)
	<-soon.C
	if ok, _ := b.Allow(ctx, quick, key); !ok {
		t.Error("refused after the wait it was told")
	}
	for deadline := time.Now().Add(10 * time.Second); client.Exists(ctx, a.name(quick, key)).Val() != 0; {
		if time.Now().After(deadline) {
			t.Fatal("a full bucket is still stored")
		}
	}

	// A cancelled caller does not save an attempt, and is no outage.
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if ok, _ := a.Allow(gone, ThrottleAddress, "2001:db8::1"); ok || a.down.Load() {
		t.Errorf("a cancelled caller: %v, %v", ok, a.down.Load())
	}
}

func TestThrottleRedisGoes(t *testing.T) {
	client, line := redisServer(t)
	var log bytes.Buffer
	th := throttle(t, ThrottleConfig{
		Redis: client, Secret: []byte("secret"), Log: slog.New(slog.NewTextHandler(&log, nil)),
		Limits: map[string]Limit{ThrottleAccount: {Burst: 5, Every: time.Hour}},
	})
	key := uuid.NewString() + "@example.com"
	for range 3 {
		if ok, _ := th.Allow(t.Context(), ThrottleAccount, key); !ok {
			t.Fatal("refused")
		}
	}
	line.cut(true)
	th.budget = throttleBudget
	start := time.Now()
	if n, _ := exhaust(t, th, ThrottleAccount, key); n != 5 {
		t.Errorf("in process: %d attempts", n)
	}
	if d := time.Since(start); d > 500*time.Millisecond {
		t.Errorf("the fall to the process took %v", d)
	}
	line.cut(false)
	th.budget = 5 * time.Second
	// Redis knows of 3 attempts. Each look at whether it is back may take one more.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(throttleCooldown) {
		if th.Allow(t.Context(), ThrottleAccount, key); !th.down.Load() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("never back at Redis")
		}
	}
	if n, _ := exhaust(t, th, ThrottleAccount, key); n > 1 {
		t.Errorf("back at Redis: %d attempts", n)
	}
	if s := log.String(); strings.Count(s, "level=WARN") != 1 || strings.Count(s, "level=INFO") != 1 || strings.Contains(s, key) {
		t.Errorf("the log says %s", s)
	}
}

func TestThrottleRedisHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dials atomic.Int64
	client := redis.NewClient(&redis.Options{
		MaxRetries: -1, ReadTimeout: time.Second,
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		},
	})
	defer client.Close()
	th := throttle(t, ThrottleConfig{Redis: client})
	th.budget = throttleBudget
	start := time.Now()
	if n, _ := exhaust(t, th, ThrottleAccount, "kim@example.com"); n != 10 {
		t.Errorf("%d attempts", n)
	}
	th.Reset(t.Context(), ThrottleAccount, "kim@example.com")
	if d := time.Since(start); d > 500*time.Millisecond {
		t.Errorf("took %v", d)
	}
	if n := dials.Load(); n > 3 {
		t.Errorf("%d connections wait for it", n)
	}
}

func TestThrottleNetworks(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "192.0.2.1:443": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:443": "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "[2001:db8:1:2::1]:443": "2001:db8:1:2::/64", "2001:DB8:1:2::": "2001:db8:1:2::/64",
		"2001:db8:1:3::1": "2001:db8:1:3::/64", "fe80::1%eth0": "fe80::/64", "": "", "unix": "unix",
	} {
		if got := Network(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	th := throttle(t, ThrottleConfig{})
	if th.name(ThrottleAccount, "::1") == th.name(ThrottleAccount, "::2") {
		t.Error("accounts were taken for addresses")
	}
	for _, l := range []Limit{{}, {Burst: 1}, {Every: time.Second}, {Burst: -1, Every: time.Second}} {
		if _, err := NewThrottle(ThrottleConfig{Limits: map[string]Limit{"x": l}}); err == nil {
			t.Errorf("%+v: accepted", l)
		}
	}
}
