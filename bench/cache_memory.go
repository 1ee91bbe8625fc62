package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"emporium/internal/cache"
	"emporium/internal/postgres"
)

// holdKeys is the command by which this program starts itself as a process that asks its cache for many keys.
const holdKeys = "hold-keys"

const (
	manyKeys   = 10_000_000
	manyLimit  = 2 * time.Minute
	httpKeys   = 1_000_000
	httpLimit  = 20 * time.Second
	cacheBytes = 64 << 20 // the default of CACHE_BYTES

	// heldBody is what an answer with one field takes, together with what would be noted of where it was read from.
	heldBody = 180

	// rssBound is what the process may take: what is kept, the fixed tables, and as much garbage as the collector lets lie.
	rssBound = 512 << 20
)

// memory is what a process took that was asked for more than it can keep.
type memory struct {
	How     string  `json:"how"`
	Keys    int     `json:"keys"`
	Seconds float64 `json:"seconds"`
	Live    int     `json:"live_bytes,omitempty"` // of the heap, after a collection
	RSS     int     `json:"peak_rss_bytes"`
	Goal    held    `json:"goal"`
}

func (m *memory) judge() {
	m.Goal = held{What: fmt.Sprintf("%d keys, %s: peak RSS", m.Keys, m.How), Goal: fmt.Sprintf("<= %d MiB", rssBound>>20),
		Figure: fmt.Sprintf("%d MiB", m.RSS>>20), Met: m.RSS > 0 && m.RSS <= rssBound}
}

// cacheMemory asks for many different keys: of package cache in a process of its own, and of the server over HTTP.
func (s *stand) cacheMemory(ctx context.Context, o options) (all []memory, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, holdKeys)
	cmd.Env = append(s.environment(), "GOGC=238") // as internal/app sets it for so much
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", holdKeys, err, lastLines(errs.Bytes()))
	}
	var direct memory
	if err := json.Unmarshal(out.Bytes(), &direct); err != nil {
		return nil, err
	}
	direct.judge()
	s.say("%s", direct.Goal.What+": "+direct.Goal.Figure)

	emporium, _, err := s.caching(ctx, o.env)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, emporium.stop()) }()
	var asked atomic.Int64
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, httpLimit)
	defer cancel()
	_, err = pump(ctx, emporium.addr, hitConns, 0, httpLimit, o.seed, func(*rand.Rand) func() shot {
		return func() shot {
			n := asked.Add(1)
			if n >= httpKeys {
				cancel()
			}
			// There is no such product, which is an answer like any other.
			a := asking{query: `query Absent($slug: String!) { product(slug: $slug) { id } }`, variables: map[string]any{"slug": fmt.Sprint("absent-", n)}}
			return shot{request: a.request(emporium.addr, "/graphql")}
		}
	})
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	over := memory{How: "the server over HTTP", Keys: int(asked.Load()), Seconds: time.Since(start).Seconds(), RSS: peakRSS(emporium.cmd.Process.Pid)}
	over.judge()
	s.say("%s", over.Goal.What+": "+over.Goal.Figure)
	return []memory{direct, over}, nil
}

// hold asks package cache for many keys and prints what that took. Nothing is read from the database for them, but its changes
// are followed, as without that nothing is kept.
func hold(ctx context.Context) error {
	url := os.Getenv("DATABASE_URL")
	db, err := postgres.Open(ctx, url, postgres.Options{MaxConns: poolConns})
	if err != nil {
		return err
	}
	defer db.Close()
	c, err := cache.New(cache.Options{Bytes: cacheBytes,
		Sources: []cache.Source{{Domains: []string{"users", "products", "orders", "payments"}, DB: db, Direct: url}}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, manyLimit+startLimit)
	defer cancel()
	ended := make(chan struct{})
	running, stop := context.WithCancel(ctx)
	go func() { defer close(ended); _ = c.Run(running) }()
	defer func() { stop(); <-ended }()
	for !c.Ready() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cache is not used: %v", c.State())
		case <-time.After(5 * time.Millisecond):
		}
	}
	var next, kept atomic.Int64
	start := time.Now()
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for n := next.Add(1); n <= manyKeys && time.Since(start) < manyLimit && ctx.Err() == nil; n = next.Add(1) {
				var number [8]byte
				binary.LittleEndian.PutUint64(number[:], uint64(n))
				r := cache.Get(ctx, c, sha256.Sum256(number[:]), false, func(context.Context) cache.Filled[struct{}] {
					return cache.Filled[struct{}]{Body: make([]byte, heldBody), MaxAge: time.Hour}
				})
				if r.Entry != nil {
					kept.Add(1)
				}
			}
		})
	}
	group.Wait()
	took := time.Since(start)
	if asked := min(next.Load(), manyKeys); kept.Load() < asked*9/10 {
		return fmt.Errorf("only %d of %d answers were kept", kept.Load(), asked)
	}
	peak := peakRSS(os.Getpid())
	runtime.GC()
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	runtime.KeepAlive(c)
	return json.NewEncoder(os.Stdout).Encode(memory{How: "package cache by itself", Keys: int(kept.Load()), Seconds: took.Seconds(),
		Live: int(heap.HeapAlloc), RSS: peak})
}

// peakRSS is the most memory that a process has had so far; 0 where it is not known.
func peakRSS(pid int) int {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(text, []byte("VmHWM:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, err := strconv.Atoi(string(fields[0]))
	if err != nil {
		return 0
	}
	return kilobytes << 10
}

// shot is one request, and what kind it is of.
type shot struct {
	kind    int
	request []byte
}

// kinds bounds those of shots.
const kinds = 2

// pump asks over each connection one request after the other, for the warm-up and then for the measured time, and returns
// how long the answers of that took, by kind, sorted. Each connection takes what its own next returns.
func pump(ctx context.Context, addr string, connections int, warmup, duration time.Duration, seed uint64, of func(*rand.Rand) (next func() shot)) (took [kinds][]time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begin := time.Now().Add(warmup)
	end := begin.Add(duration)
	var mu sync.Mutex
	var group sync.WaitGroup
	for i := range connections {
		c, err := dial(ctx, addr)
		if err != nil {
			cancel(err)
			break
		}
		defer c.close()
		group.Go(func() {
			next := of(rand.New(rand.NewPCG(seed, uint64(i))))
			var own [kinds][]time.Duration
			for ctx.Err() == nil {
				one := next()
				sent := time.Now()
				if !sent.Before(end) {
					break
				}
				status, body, err := c.do(one.request)
				if err == nil && (status != 200 || !bytes.HasPrefix(body, answered) || bytes.Contains(body, []byte(`"userErrors":[{`))) {
					err = fmt.Errorf("status %d: %.600s\nto %s", status, body, bodyOf(one.request))
				}
				if err != nil {
					cancel(err)
					return
				}
				if now := time.Now(); !now.Before(begin) && now.Before(end) {
					own[one.kind] = append(own[one.kind], now.Sub(sent))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for kind := range own {
				took[kind] = append(took[kind], own[kind]...)
			}
		})
	}
	group.Wait()
	for _, of := range took {
		sortDurations(of)
	}
	return took, context.Cause(ctx)
}
