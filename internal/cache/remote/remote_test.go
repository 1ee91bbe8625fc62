//go:build unix

package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"emporium/internal/cache/remote"
	"emporium/internal/redisclient"
	"emporium/internal/redisclient/redistest"
	"emporium/internal/seal"
)

// hang is how long a Get takes that did not heed its budget, on a machine that is busy with other tests.
const hang = 5 * time.Second

// bed is a Store with what it tells.
type bed struct {
	*remote.Store
	t      testing.TB
	client redis.UniversalClient
	log    *lockedBuffer
	mu     sync.Mutex
	seen   map[string]int // by "op outcome"
}

func open(t testing.TB, url string, o remote.Options) *bed {
	t.Helper()
	client, err := redisclient.Open(url, 8)
	if err != nil {
		t.Fatal(err)
	}
	if o.Budget == 0 {
		o.Budget = 300 * time.Millisecond // a machine that is busy with other tests is no outage
	}
	b := &bed{t: t, client: client, log: &lockedBuffer{}, seen: map[string]int{}}
	o.Client, o.Log = client, slog.New(slog.NewTextHandler(b.log, nil))
	o.Observe = func(op, outcome string, took time.Duration) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.seen[op+" "+outcome]++
		if took < 0 || took > hang {
			t.Errorf("%s %s took %v", op, outcome, took)
		}
	}
	b.Store = remote.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = client.Close()
	})
	return b
}

func (b *bed) count(what string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen[what]
}

func (b *bed) counts() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.seen)
}

// get fails the test when it hangs.
func (b *bed) get(key [32]byte, private bool) []byte {
	b.t.Helper()
	start := time.Now()
	value := b.Get(context.Background(), key, private)
	if took := time.Since(start); took > hang {
		b.t.Errorf("a Get took %v", took)
	}
	return value
}

// store puts until it is there.
func (b *bed) store(key [32]byte, value []byte, private bool) {
	b.t.Helper()
	redistest.Eventually(b.t, "a value is stored", func() bool {
		before := b.count("put " + remote.Stored)
		b.Put(key, value, private)
		redistest.Eventually(b.t, "a put ends", func() bool { return b.count("put "+remote.Stored) > before || b.State() != "ok" })
		return bytes.Equal(b.get(key, private), value)
	})
}

func (b *bed) eventually(what string, so func() bool) {
	b.t.Helper()
	redistest.Eventually(b.t, what, so)
}

func key(n byte) (k [32]byte) {
	for i := range k {
		k[i] = n + byte(i)
	}
	return k
}

func sealer(t testing.TB, keys *seal.Keyset) *seal.Sealer {
	t.Helper()
	s, err := seal.NewSealer(keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answer is JSON like that of a list, of about so many bytes.
func answer(size int) []byte {
	var b bytes.Buffer
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `{"node":{"id":"%016x","title":"Product number %d","slug":"product-%d","price":{"amount":"%d.%02d","currency":"EUR"},"available":%t}},`,
			r.Uint64(), i, i, r.IntN(500), r.IntN(100), r.IntN(2) == 0)
	}
	return b.Bytes()
}

// random can not be compressed.
func random(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestStoreKeepsValues(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	b := open(t, server.URL(), remote.Options{TTL: 10 * time.Minute, Sealer: sealer(t, seal.New())})
	look := server.Client()
	n := byte(0)
	for _, value := range [][]byte{{}, {0}, []byte("x"), answer(100), answer(1 << 10), answer(100 << 10), random(1 << 10), random(1 << 20), answer(1<<20 - 300)} {
		for _, private := range []bool{false, true} {
			n++
			if got := b.get(key(n), private); got != nil {
				t.Errorf("%d bytes, private %t: there is %d bytes before", len(value), private, len(got))
			}
			b.store(key(n), value, private)
			if got := b.get(key(n), private); got == nil || !bytes.Equal(got, value) {
				t.Errorf("%d bytes, private %t: got %d bytes", len(value), private, len(got))
			}
			if got := b.get(key(n), !private); got != nil {
				t.Errorf("%d bytes, private %t: given to who asks for another kind", len(value), private)
			}
		}
	}
	names := look.Keys(t.Context(), "*").Val()
	if len(names) != int(n) {
		t.Errorf("%d keys for %d values", len(names), n)
	}
	for _, name := range names {
		if ttl := look.TTL(t.Context(), name).Val(); ttl <= 9*time.Minute || ttl > 10*time.Minute || !strings.HasPrefix(name, remote.DefaultPrefix) {
			t.Errorf("%s expires in %v", name, ttl)
		}
	}
	if s := b.State(); s != "ok" {
		t.Errorf("state %q", s)
	}
	if b.count("get "+remote.Corrupt) != int(n) {
		t.Errorf("counted %v", b.counts())
	}
}
