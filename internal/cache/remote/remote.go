// Package remote is the second level of the response cache: Redis, which all processes share. It holds opaque values for a
// while and promises nothing: whatever is wrong with Redis is a miss, within a budget of time. What is valid is for the
// caller to say.
package remote

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"emporium/internal/seal"
)

// Defaults of Options.
const (
	DefaultBudget     = 25 * time.Millisecond
	DefaultMaxEntry   = 1 << 20
	DefaultQueue      = 1024
	DefaultQueueBytes = 16 << 20
	DefaultWriters    = 2
	DefaultTTL        = time.Hour
	DefaultPrefix     = "emporium:cache:1:"
)

const (
	tooMany    = 5 // failures in a row
	probePause = 200 * time.Millisecond
	putTimeout = 500 * time.Millisecond // of one put; nobody waits for it
	logPause   = time.Minute            // between two lines about entries that are refused
)

// Outcomes that Options.Observe hears: of a get Hit, Miss, Timeout, Open, Corrupt, Canceled or Error, of a put Stored,
// Timeout, Open, Dropped, TooLarge or Error.
const (
	Hit      = "hit"
	Miss     = "miss"
	Stored   = "stored"
	Timeout  = "timeout"
	Open     = "open"      // Redis was not asked, because it did not answer lately
	Dropped  = "dropped"   // too many puts wait
	TooLarge = "too_large" // for MaxEntry
	Corrupt  = "corrupt"   // what Redis holds was not written here under this key, or not under a key that still opens
	Canceled = "canceled"  // the caller's context ended before Redis answered
	Error    = "error"     // no connection, or Redis refused
)

// Options say where entries are kept and how much of everything there may be. Zeros stand for the defaults.
type Options struct {
	Client     redis.UniversalClient // of package redisclient, with the sign-in throttle's or without; nil: there is no second level
	Budget     time.Duration         // of one Get
	MaxEntry   int                   // bytes of a value; larger ones are not stored
	Queue      int                   // puts that wait
	QueueBytes int                   // of their values
	Writers    int                   // puts under way at once
	TTL        time.Duration         // after which an entry is gone, whatever happens
	Prefix     string                // of all keys; without { and }, so that they spread over a cluster
	Sealer     *seal.Sealer          // seals private values; nil: they are not stored
	// Observe hears of each get and put, by the outcomes above, from many goroutines at once; it must not wait. A put tells
	// how long Redis took, 0 if it was not asked. Nil: nobody does.
	Observe func(op, outcome string, took time.Duration)
	Log     *slog.Logger // hears when Redis goes and comes; nil: nobody does
}

// Store keeps entries in Redis. It is safe for concurrent use.
//
// After five failures in a row Redis is left alone (the breaker is open) until Run, which asks it five times a second,
// gets an answer within the budget.
type Store struct {
	o      Options
	form   form
	queue  chan put
	queued atomic.Int64 // bytes

	// The breaker is ours, and not failsafe-go's, which lets the next caller find out whether Redis is back: here no request
	// pays for that. What is left of one is a count and a flag.
	failures atomic.Int32
	open     atomic.Bool
	opened   chan error // why, for Run

	refused atomic.Pointer[string] // why Redis took no entry last time
	latest  atomic.Pointer[budget]
}

// budget is the time that gets have which begin at about the same moment: a deadline of its own for each is dear.
type budget struct {
	context.Context
	cancel context.CancelFunc // is not called: others may have begun with it, and it ends by itself
	begun  time.Time
}

// budget returns a context that is done when a get that starts now has taken its time, or up to an eighth of it before.
func (s *Store) budget(start time.Time) context.Context {
	if b := s.latest.Load(); b != nil && start.Sub(b.begun) < s.o.Budget/8 {
		return b
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Budget)
	b := &budget{ctx, cancel, start}
	s.latest.Store(b)
	return b
}

type put struct {
	key     [32]byte
	value   []byte
	private bool
}

// New returns a Store. It does no I/O. Nothing is written, and an open breaker stays open, until Run runs. It panics when
// the prefix holds a brace.
func New(o Options) *Store {
	orElse(&o.Budget, DefaultBudget)
	orElse(&o.MaxEntry, DefaultMaxEntry)
	orElse(&o.Queue, DefaultQueue)
	orElse(&o.QueueBytes, DefaultQueueBytes)
	orElse(&o.Writers, DefaultWriters)
	orElse(&o.TTL, DefaultTTL)
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if strings.ContainsAny(o.Prefix, "{}") {
		panic(fmt.Sprintf("remote: the prefix %q has a brace: all keys would be in one slot of a cluster", o.Prefix))
	}
	if o.Observe == nil {
		o.Observe = func(string, string, time.Duration) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{
		o: o, form: newForm(o.MaxEntry, max(o.Writers, runtime.GOMAXPROCS(0)), o.Sealer),
		queue: make(chan put, o.Queue), opened: make(chan error, 1),
	}
}

func orElse[T int | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// Get returns the value of a key, or nil when there is none or Redis does not give it within the budget. While the breaker
// is open it returns at once. A private value is only returned to who asks for a private one, and the reverse. The value
// must not be changed.
func (s *Store) Get(ctx context.Context, key [32]byte, private bool) []byte {
	if s.o.Client == nil {
		return nil
	}
	if s.open.Load() {
		s.o.Observe("get", Open, 0)
		return nil
	}
	start := time.Now()
	value, outcome := s.get(ctx, start, key, private)
	s.o.Observe("get", outcome, time.Since(start))
	return value
}

func (s *Store) get(ctx context.Context, start time.Time, key [32]byte, private bool) ([]byte, string) {
	if ctx.Err() != nil {
		return nil, Canceled
	}
	name := s.name(key)
	stored, err := s.o.Client.Get(s.budget(start), name).Bytes() // also for a caller who leaves meanwhile
	switch {
	case errors.Is(err, redis.Nil):
		s.succeeded()
		return nil, Miss
	case err != nil && ctx.Err() != nil:
		return nil, Canceled
	case err != nil:
		s.failed(err)
		return nil, outcomeOf(err)
	}
	s.succeeded()
	value, ok := s.form.decode(name, stored, private)
	if !ok {
		return nil, Corrupt
	}
	return value, Hit
}

// Put stores a value, some time later or not at all. It never waits. The value must not be changed any more. Of two values
// that are put under one key at about the same time either may stay.
func (s *Store) Put(key [32]byte, value []byte, private bool) {
	switch size := int64(len(value)); {
	case s.o.Client == nil || private && s.o.Sealer == nil:
	case s.open.Load():
		s.o.Observe("put", Open, 0)
	case size > int64(s.o.MaxEntry):
		s.o.Observe("put", TooLarge, 0)
	default:
		if s.queued.Add(size) <= int64(s.o.QueueBytes) {
			select {
			case s.queue <- put{key, value, private}:
				return
			default:
			}
		}
		s.queued.Add(-size)
		s.o.Observe("put", Dropped, 0)
	}
}

// Run writes what is put, and finds out when Redis is back, until ctx is done; what still waits then is lost. It runs once.
func (s *Store) Run(ctx context.Context) error {
	if s.o.Client == nil {
		<-ctx.Done()
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	for range s.o.Writers {
		g.Go(func() error { s.write(ctx); return nil })
	}
	g.Go(func() error { s.watch(ctx); return nil })
	return g.Wait()
}

func (s *Store) write(ctx context.Context) {
	var told time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-s.queue:
			s.queued.Add(-int64(len(p.value)))
			if s.open.Load() {
				s.o.Observe("put", Open, 0)
				continue
			}
			start := time.Now()
			outcome, err := s.store(ctx, p)
			s.o.Observe("put", outcome, time.Since(start))
			if err != nil && ctx.Err() == nil && time.Since(told) > logPause {
				told = time.Now()
				s.o.Log.WarnContext(ctx, "an answer was not put into the cache in Redis", "error", err)
			}
		}
	}
}

func (s *Store) store(ctx context.Context, p put) (string, error) {
	name := s.name(p.key)
	stored := s.form.encode(name, p.value, p.private)
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	err := s.o.Client.Set(ctx, name, stored, s.o.TTL).Err()
	if err == nil {
		s.succeeded()
		s.refused.Store(nil)
		return Stored, nil
	}
	if refusal := redis.Error(nil); errors.As(err, &refusal) {
		// Redis answers, and may well have entries to give: being full, or a replica, is no reason to leave it alone.
		code, _, _ := strings.Cut(refusal.Error(), " ")
		s.refused.Store(&code)
	} else if ctx.Err() != context.Canceled {
		s.failed(err)
	}
	return outcomeOf(err), err
}

func outcomeOf(err error) string {
	if n := net.Error(nil); errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout() {
		return Timeout
	}
	return Error
}

// succeeded writes only when there is something to forget: all requests share the count.
func (s *Store) succeeded() {
	if s.failures.Load() != 0 {
		s.failures.Store(0)
	}
}

// failed opens the breaker when it was too often. In a row, whatever the time between: a Redis that is slow now and then
// does not open it, nor does one server of a cluster, while one that is gone does, after five requests that paid for it.
func (s *Store) failed(err error) {
	if s.failures.Add(1) < tooMany || s.open.Swap(true) {
		return
	}
	select {
	case s.opened <- err:
	default: // Run has not heard of the time before yet
	}
}

// watch closes the breaker when Redis is back.
func (s *Store) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-s.opened:
			s.o.Log.WarnContext(ctx, "the cache in Redis is left alone: Redis does not answer", "error", err)
		}
		for pause := time.NewTicker(probePause); s.open.Load(); {
			select {
			case <-ctx.Done():
				pause.Stop()
				return
			case <-pause.C:
			}
			if s.probe(ctx) == nil {
				pause.Stop()
				s.failures.Store(0)
				s.open.Store(false)
				s.o.Log.InfoContext(ctx, "the cache in Redis is used again")
			}
		}
	}
}

// probe asks Redis for an entry that there is not, as a request would: first with time for a connection, then within the
// budget. Each time it is another entry, so that one server of a cluster does not speak for all.
func (s *Store) probe(ctx context.Context) error {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], rand.Uint64())
	for _, limit := range []time.Duration{putTimeout, s.o.Budget} {
		limited, cancel := context.WithTimeout(ctx, limit)
		err := s.o.Client.Get(limited, s.name(key)).Err()
		cancel()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}

// Broken reports whether Redis is left alone, because it did not answer lately.
func (s *Store) Broken() bool { return s.open.Load() }

// State says in words how the second level is.
func (s *Store) State() string {
	switch refused := s.refused.Load(); {
	case s.o.Client == nil:
		return "off: each process keeps answers for itself"
	case s.open.Load():
		return "does not answer: each process keeps answers for itself"
	case refused != nil:
		return fmt.Sprintf("takes no new answers (%.20q)", *refused)
	default:
		return "ok"
	}
}

// name is the key in Redis.
func (s *Store) name(key [32]byte) string {
	var buf [128]byte
	return string(base64.RawURLEncoding.AppendEncode(append(buf[:0], s.o.Prefix...), key[:]))
}
