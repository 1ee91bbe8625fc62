package cdn_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"emporium/internal/cache/cdn"
)

// told is a cache in front of the server that counts what it is told.
type told struct {
	t      *testing.T
	mu     sync.Mutex
	keys   map[string]int
	posts  []int // keys of each
	answer func(n int, w http.ResponseWriter, r *http.Request) bool
	server *httptest.Server
}

func newTold(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request) bool) *told {
	c := &told{t: t, keys: map[string]int{}, answer: answer}
	tries := 0
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		tries++
		n := tries
		c.mu.Unlock()
		if r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer s3cret" {
			t.Errorf("%s with %q", r.Method, r.Header.Get("Authorization"))
		}
		if answer != nil && !answer(n, w, r) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		keys := strings.Fields(r.Header.Get("Surrogate-Key"))
		for _, key := range keys {
			c.keys[key]++
		}
		c.posts = append(c.posts, len(keys))
	}))
	t.Cleanup(c.server.Close)
	return c
}

// run runs a purger until the test ends.
func (c *told) run(o cdn.Options) *cdn.Purger {
	o.URL, o.Token, o.All = c.server.URL, "s3cret", "all"
	o.Append = func(b []byte, slot uint32) []byte { return strconv.AppendUint(b, uint64(slot), 36) }
	p := cdn.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	c.t.Cleanup(func() { cancel(); <-done })
	return p
}

func (c *told) until(what string, holds func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		c.mu.Lock()
		ok := holds()
		c.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not after 20 s; told %v in %v", what, len(c.keys), c.posts)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestKeysAreCollected(t *testing.T) {
	t.Parallel()
	c := newTold(t, nil)
	p := c.run(cdn.Options{Batch: 30 * time.Millisecond, Again: 50 * time.Millisecond})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for slot := range uint32(1000) {
				p.Changed(slot)
			}
		})
	}
	group.Wait()
	c.until("each key is sent twice", func() bool { return len(c.keys) == 1000 && !slices.Contains(values(c.keys), 1) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Max(c.posts) > cdn.DefaultKeys || len(c.posts) > 20 {
		t.Errorf("requests of %v keys", c.posts)
	}
	if c.keys["rr"] == 0 || c.keys["all"] != 0 {
		t.Errorf("told %d of rr, %d of all", c.keys["rr"], c.keys["all"])
	}
}

func values(m map[string]int) (all []int) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

func TestTooMuchBecomesAll(t *testing.T) {
	t.Parallel()
	c := newTold(t, nil)
	p := c.run(cdn.Options{Batch: 200 * time.Millisecond, Pending: 100, Again: 100 * time.Millisecond})
	for slot := range uint32(100_000) {
		p.Changed(slot)
	}
	if n := p.Pending(); n > 101 {
		t.Errorf("%d keys wait", n)
	}
	c.until("all, twice", func() bool { return c.keys["all"] >= 2 })
	c.until("single keys again", func() bool {
		p.Changed(7)
		return c.keys["7"] > 0
	})
}

// TestFailuresAreTriedAgain: the cache refuses, hangs, cuts the connection and redirects before it takes what it is told.
func TestFailuresAreTriedAgain(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect is followed") }))
	t.Cleanup(other.Close)
	c := newTold(t, func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done() // until the caller has gone
		case 3:
			panic(http.ErrAbortHandler)
		case 4:
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		default:
			return true
		}
		return false
	})
	var mu sync.Mutex
	var outcomes []bool
	var log logged
	var barriers atomic.Int64
	p := c.run(cdn.Options{Batch: time.Millisecond, Timeout: 200 * time.Millisecond, Again: time.Hour,
		Log:     slog.New(slog.NewTextHandler(&log, nil)),
		Barrier: func(context.Context) error { barriers.Add(1); return errors.New("nobody knows") },
		Observe: func(err error) { mu.Lock(); outcomes = append(outcomes, err == nil); mu.Unlock() }})
	p.Changed(35)
	c.until("the key is taken", func() bool { return c.keys["z"] == 1 })
	for len(outcomesOf(&mu, &outcomes)) < 5 {
		time.Sleep(time.Millisecond)
	}
	if got := outcomesOf(&mu, &outcomes); !slices.Equal(got, []bool{false, false, false, false, true}) || barriers.Load() != 1 {
		t.Errorf("outcomes %v, %d barriers", got, barriers.Load())
	}
	if text := log.String(); strings.Contains(text, "s3cret") || strings.Contains(text, c.server.URL) || !strings.Contains(text, "status 503") {
		t.Errorf("logged: %s", text)
	}
}

// logged is what several goroutines write.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func outcomesOf(mu *sync.Mutex, outcomes *[]bool) []bool {
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(*outcomes)
}

// TestItEndsWhileTheCacheHangs: the process can be stopped.
func TestItEndsWhileTheCacheHangs(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	c := newTold(t, func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return false
	})
	p := cdn.New(cdn.Options{URL: c.server.URL, Token: "s3cret", All: "all", Timeout: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	p.All()
	<-asked
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, ok := range [][2]string{{"https://api.example.com/purge", "abc"}, {"http://proxy:8080/", ""}, {"https://x/", "Fastly-Key: abc"}} {
		if err := cdn.Check(ok[0], ok[1]); err != nil {
			t.Errorf("%v: %v", ok, err)
		}
	}
	for _, bad := range [][2]string{{"ftp://x/", ""}, {"nothing", ""}, {"https://", ""}, {"https://x/\x00", ""}, {"https://x/", "a\nb"}, {"https://x/", "a b: c"}} {
		if err := cdn.Check(bad[0], bad[1]); err == nil || bad[1] != "" && strings.Contains(err.Error(), bad[1]) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func BenchmarkChanged(b *testing.B) {
	for name, distinct := range map[string]uint32{"few": 1000, "overflow": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			p := cdn.New(cdn.Options{})
			slot := uint32(0)
			for b.Loop() {
				p.Changed(slot % distinct)
				slot++
			}
		})
	}
}
