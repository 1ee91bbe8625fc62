// Package loader batches the edges of the graph. Each edge has a dataloader that lives as long as one operation: keys
// that are known together are fetched in one statement (Each), a single one at once (Now); a key that nobody foresaw waits
// a moment for others and is fetched with them (Load). What was fetched once is not fetched again.
package loader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// Fetch returns the values it finds; a key without a value gets the zero value. It fails for all keys, or, with KeyErrors,
// for some.
type Fetch[K comparable, V any] func(context.Context, []K) (map[K]V, error)

// KeyErrors are the failures of some keys of a batch: keys that are asked for in different ways share no mistake.
type KeyErrors[K comparable] map[K]*failure

// failure is what keys that were asked for together have failed by.
type failure struct{ err error }

// Error describes one of them.
func (e KeyErrors[K]) Error() string {
	for _, f := range e {
		return f.err.Error()
	}
	return "no error"
}

// errorOf returns what the failure of a batch means for one of its keys.
func errorOf[K comparable](err error, key K) error {
	some, ok := err.(KeyErrors[K])
	if !ok {
		return err
	}
	if f := some[key]; f != nil {
		return f.err
	}
	return nil
}

// Edge names what can be loaded: values by keys. There is one variable for each.
type Edge[K comparable, V any] struct {
	name  string
	index int
}

// bindings make the fetch functions of all edges, by their index.
var bindings []func(Services) any

func declare[K comparable, V any](name string, bind func(Services) Fetch[K, V]) Edge[K, V] {
	bindings = append(bindings, func(s Services) any { return bind(s) })
	return Edge[K, V]{name, len(bindings) - 1}
}

// Set are the fetch functions of all edges, for a set of services.
type Set struct {
	fetches []any
	observe Observer
}

// NewSet makes a set, once for a server.
func NewSet(s Services, observe Observer) *Set {
	set := &Set{fetches: make([]any, len(bindings)), observe: observe}
	for i, bind := range bindings {
		set.fetches[i] = bind(s)
	}
	return set
}

// loaders are those of one operation, made when they are first asked for.
type loaders struct {
	op  context.Context // a batch must not die with the first caller's field
	set *Set
	mu  sync.Mutex
	of  []any
}

type loadersKey struct{}

// With returns a context with loaders for one operation. The viewer is the operation's, so that it is no part of the
// keys.
func With(ctx context.Context, set *Set) context.Context {
	return context.WithValue(ctx, loadersKey{}, &loaders{op: ctx, set: set, of: make([]any, len(set.fetches))})
}

// Forget makes the operation's loaders fetch anew: after a mutation, what was fetched before it may have changed.
func Forget(ctx context.Context) {
	l := ctx.Value(loadersKey{}).(*loaders)
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.of)
}

func (e Edge[K, V]) loader(ctx context.Context) *loader[K, V] {
	l := ctx.Value(loadersKey{}).(*loaders)
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.of[e.index].(*loader[K, V]); ok {
		return found
	}
	made := &loader[K, V]{op: l.op, name: e.name, fetch: l.set.fetches[e.index].(Fetch[K, V]), observe: l.set.observe}
	l.of[e.index] = made
	return made
}

// Load returns the value of a key: at once if it was fetched before, otherwise with the next batch.
func (e Edge[K, V]) Load(ctx context.Context, key K) (V, error) {
	l := e.loader(ctx)
	if b := l.batchOf(key); b != nil {
		return b.value(key)
	}
	return l.dataloader().Load(ctx, key)()
}

// Now returns the value of a key without waiting for others: for fields of which there is only one.
func (e Edge[K, V]) Now(ctx context.Context, key K) (value V, err error) {
	e.Each(ctx, []K{key}, func(_ int, v V, failed error) { value, err = v, failed })
	return value, err
}

// Each fetches all keys that were not fetched before, in one statement for each 10,000, and calls visit with the value of
// every key, in the order of the keys. The context is that of the operation.
func (e Edge[K, V]) Each(ctx context.Context, keys []K, visit func(i int, value V, err error)) {
	if len(keys) == 0 {
		return
	}
	l := e.loader(ctx)
	mine, missing := l.claim(keys)
	if len(missing) > 0 {
		mine.values, mine.err = l.fetchAll(ctx, missing)
		close(mine.done)
	}
	for i, key := range keys {
		b := mine
		if len(missing) < len(keys) { // some were fetched before, or are there twice
			b = l.batchOf(key)
		}
		if b == nil {
			v, err := l.dataloader().Load(ctx, key)()
			visit(i, v, err)
			continue
		}
		v, err := b.value(key)
		visit(i, v, err)
	}
}

// loader fetches the values of an edge in batches. It is safe for concurrent use.
type loader[K comparable, V any] struct {
	op      context.Context
	name    string
	fetch   Fetch[K, V]
	observe Observer

	mu      sync.Mutex
	batches map[K]*batch[K, V]        // of what Each has fetched or is fetching
	thunks  map[K]dataloader.Thunk[V] // of what Load has
	single  *dataloader.Loader[K, V]  // nil until Load asks for it
}

// batch are keys that are fetched together. Whoever asks for one of them meanwhile waits for done.
type batch[K comparable, V any] struct {
	done   chan struct{}
	values map[K]V
	err    error
}

func (b *batch[K, V]) value(key K) (V, error) {
	<-b.done
	return b.values[key], errorOf(b.err, key)
}

// claim returns those of the keys that nobody has fetched, each once, with the batch that promises them.
func (l *loader[K, V]) claim(keys []K) (mine *batch[K, V], missing []K) {
	mine = &batch[K, V]{done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.batches == nil {
		l.batches = make(map[K]*batch[K, V], len(keys))
	}
	missing = make([]K, 0, len(keys))
	for _, key := range keys {
		if l.batches[key] != nil || l.thunks[key] != nil {
			continue
		}
		l.batches[key] = mine
		missing = append(missing, key)
	}
	return mine, missing
}

func (l *loader[K, V]) batchOf(key K) *batch[K, V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.batches[key]
}

// fetchAll fetches keys in as many statements as their number takes, almost always one.
func (l *loader[K, V]) fetchAll(ctx context.Context, keys []K) (map[K]V, error) {
	if len(keys) <= maxBatch {
		return l.fetched(ctx, keys)
	}
	all, failed := make(map[K]V, len(keys)), KeyErrors[K]{}
	for start := 0; start < len(keys); start += maxBatch {
		found, err := l.fetched(ctx, keys[start:min(start+maxBatch, len(keys))])
		if some, ok := err.(KeyErrors[K]); ok {
			maps.Copy(failed, some)
		} else if err != nil {
			return nil, err
		}
		maps.Copy(all, found)
	}
	if len(failed) > 0 {
		return all, failed
	}
	return all, nil
}

func (l *loader[K, V]) fetched(ctx context.Context, keys []K) (found map[K]V, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
		some, ok := err.(KeyErrors[K])
		if !ok {
			err = l.logged(ctx, len(keys), err)
			return
		}
		counts := make(map[*failure]int, len(some))
		for _, f := range some {
			counts[f]++
		}
		for f, n := range counts {
			f.err = l.logged(ctx, n, f.err)
		}
	}()
	l.observe(l.name, len(keys))
	return l.fetch(ctx, keys)
}

// logged logs an error that is not an answer.
func (l *loader[K, V]) logged(ctx context.Context, keys int, err error) error {
	if err == nil || fault.CodeOf(err) != fault.Internal || errors.Is(err, context.Canceled) { // nobody waits for it any more
		return err
	}
	slog.ErrorContext(ctx, "batch failed", "edge", l.name, "keys", keys, "error", err)
	return &LoggedError{err}
}

// dataloader returns what waits for further keys.
func (l *loader[K, V]) dataloader() *dataloader.Loader[K, V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.single == nil {
		l.thunks = map[K]dataloader.Thunk[V]{}
		l.single = dataloader.NewBatchedLoader(l.batch, dataloader.WithCache[K, V](thunks[K, V]{l}), dataloader.WithWait[K, V](wait),
			dataloader.WithBatchCapacity[K, V](maxBatch), dataloader.WithInputCapacity[K, V](maxBatch))
	}
	return l.single
}

// batch is the batch function of the dataloader.
func (l *loader[K, V]) batch(_ context.Context, keys []K) []*dataloader.Result[V] {
	found, err := l.fetched(l.op, keys)
	results := make([]*dataloader.Result[V], len(keys))
	for i, key := range keys {
		results[i] = &dataloader.Result[V]{Data: found[key], Error: errorOf(err, key)}
	}
	return results
}

// LoggedError is the failure of a batch. It was logged once, and comes back for each of the batch's keys.
type LoggedError struct{ err error }

// Error returns the failure.
func (e *LoggedError) Error() string { return e.err.Error() }

// Unwrap returns the failure.
func (e *LoggedError) Unwrap() error { return e.err }

// thunks is the cache of the dataloader.
type thunks[K comparable, V any] struct{ *loader[K, V] }

func (c thunks[K, V]) Get(_ context.Context, key K) (dataloader.Thunk[V], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.loader.thunks[key]
	return t, ok
}

func (c thunks[K, V]) Set(_ context.Context, key K, t dataloader.Thunk[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loader.thunks[key] = t
}

func (c thunks[K, V]) Delete(_ context.Context, key K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.loader.thunks[key]
	delete(c.loader.thunks, key)
	return ok
}

func (c thunks[K, V]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.loader.thunks)
}
