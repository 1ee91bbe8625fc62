// Package loader batches the edges of the graph. Each edge has a dataloader that lives as long as one operation: keys
// that are known beforehand are fetched in one statement (LoadAll), a single one at once (Now); a key that nobody foresaw
// waits a moment for others and is fetched with them (Load). What was fetched once is not fetched again.
package loader

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/graph-gophers/dataloader/v7"

	"emporium/internal/fault"
)

const (
	// maxBatch is the most keys of one statement. A level that has more, which the limits of an operation just allow, takes
	// several.
	maxBatch = 10_000
	// wait is how long a key that was not foreseen waits for others. Shorter timers do not fire earlier on Linux.
	wait = time.Millisecond
)

// Observer is told of each batch: the edge and how many keys were fetched together.
type Observer func(edge string, keys int)

// Loader fetches the values of keys in batches. It is safe for concurrent use.
type Loader[K comparable, V any] struct {
	edge    string
	op      context.Context // of the operation: a batch must not die with the first caller's field
	fetch   func(context.Context, []K) (map[K]V, error)
	observe Observer
	cache   *cache[K, V]
	single  *dataloader.Loader[K, V]
}

// newLoader makes the loader of an edge. Fetch returns the values it finds; a key without a value gets the zero value.
func newLoader[K comparable, V any](op context.Context, observe Observer, edge string,
	fetch func(context.Context, []K) (map[K]V, error),
) *Loader[K, V] {
	l := &Loader[K, V]{edge: edge, op: op, fetch: fetch, observe: observe, cache: &cache[K, V]{thunks: map[K]dataloader.Thunk[V]{}}}
	l.single = dataloader.NewBatchedLoader(l.batch,
		dataloader.WithCache[K, V](l.cache), dataloader.WithWait[K, V](wait),
		dataloader.WithBatchCapacity[K, V](maxBatch), dataloader.WithInputCapacity[K, V](maxBatch))
	return l
}

// Load returns the value of a key: at once if it was fetched before, otherwise with the next batch.
func (l *Loader[K, V]) Load(ctx context.Context, key K) (V, error) { return l.single.Load(ctx, key)() }

// Now returns the value of a key without waiting for others: for fields of which there is only one.
func (l *Loader[K, V]) Now(ctx context.Context, key K) (V, error) {
	l.LoadAll([]K{key})
	return l.Load(ctx, key)
}

// LoadAll fetches all keys that were not fetched before, in one statement for each 10,000, and returns the values of all
// keys that have no error, in the order of the keys. Load returns the errors of the others, and each value, without
// waiting.
func (l *Loader[K, V]) LoadAll(keys []K) []V {
	mine, batch := l.cache.claim(keys)
	for start := 0; start < len(mine); start += maxBatch {
		l.run(batch, mine[start:min(start+maxBatch, len(mine))])
	}
	batch.finish()
	values := make([]V, 0, len(keys))
	for _, key := range keys {
		if v, err := l.Load(l.op, key); err == nil {
			values = append(values, v)
		}
	}
	return values
}

func (l *Loader[K, V]) run(b *claimed[K, V], keys []K) {
	found, err := l.fetched(keys)
	for _, key := range keys {
		if err != nil {
			b.errs[key] = err
		} else {
			b.values[key] = found[key]
		}
	}
}

// batch is the batch function of the dataloader.
func (l *Loader[K, V]) batch(_ context.Context, keys []K) []*dataloader.Result[V] {
	found, err := l.fetched(keys)
	results := make([]*dataloader.Result[V], len(keys))
	for i, key := range keys {
		results[i] = &dataloader.Result[V]{Data: found[key], Error: err}
	}
	return results
}

func (l *Loader[K, V]) fetched(keys []K) (found map[K]V, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
		if err != nil && fault.CodeOf(err) == fault.Internal {
			slog.ErrorContext(l.op, "batch failed", "edge", l.edge, "keys", len(keys), "error", err)
			err = &LoggedError{err}
		}
	}()
	l.observe(l.edge, len(keys))
	return l.fetch(l.op, keys)
}

// LoggedError is the failure of a batch. It was logged once, and comes back for each of the batch's keys.
type LoggedError struct{ err error }

// Error returns the failure.
func (e *LoggedError) Error() string { return e.err.Error() }

// Unwrap returns the failure.
func (e *LoggedError) Unwrap() error { return e.err }

// cache holds what was fetched or is being fetched.
type cache[K comparable, V any] struct {
	mu     sync.Mutex
	thunks map[K]dataloader.Thunk[V]
}

// claimed are keys whose values somebody is fetching. Whoever asks for one of them meanwhile waits for done.
type claimed[K comparable, V any] struct {
	done   chan struct{}
	values map[K]V
	errs   map[K]error
}

func (b *claimed[K, V]) finish() { close(b.done) }

// claim returns those of the keys that nobody has fetched, each once, and puts a promise for them into the cache.
func (c *cache[K, V]) claim(keys []K) ([]K, *claimed[K, V]) {
	b := &claimed[K, V]{done: make(chan struct{}), values: map[K]V{}, errs: map[K]error{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	var mine []K
	for _, key := range keys {
		if _, ok := c.thunks[key]; ok {
			continue
		}
		mine = append(mine, key)
		c.thunks[key] = func() (V, error) {
			<-b.done
			return b.values[key], b.errs[key]
		}
	}
	return mine, b
}

func (c *cache[K, V]) Get(_ context.Context, key K) (dataloader.Thunk[V], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.thunks[key]
	return t, ok
}

func (c *cache[K, V]) Set(_ context.Context, key K, t dataloader.Thunk[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.thunks[key] = t
}

func (c *cache[K, V]) Delete(_ context.Context, key K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.thunks[key]
	delete(c.thunks, key)
	return ok
}

func (c *cache[K, V]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.thunks)
}
