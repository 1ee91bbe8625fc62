// Package feed tells subscribers of one process what other processes, and this one, have changed in a database. One
// reader for all subscribers asks the database again and again which rows were changed by transactions that it does not
// know of yet; a subscriber learns keys, and reads for itself what has become of them.
//
// Nothing is lost: a change is told by the first read that sees it committed, however late that is. The same change may
// be told twice. Several changes of one key that a subscriber did not take yet become one.
package feed

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"emporium/internal/fault"
)

const (
	// Every is how often changes are asked for while somebody wants to know.
	Every = 250 * time.Millisecond

	retryAfter  = time.Second
	readTimeout = 5 * time.Second
	pageSize    = 1_000 // changes in one read; more if one transaction made more
	maxPending  = 1_000 // keys that wait for a subscriber to all changes
)

// Row is a change: of what, and the transaction that made it.
type Row[K comparable] struct {
	Key K
	In  uint64
}

// Read asks the database for changes by transactions that since does not know of, ordered by the transaction, and for the
// position now, as of the same snapshot. With an empty since there are no rows. Of more than limit rows it leaves out
// those of later transactions.
type Read[K comparable] func(ctx context.Context, since Position, limit int) (rows []Row[K], now Position, err error)

// Feed is the changes of one kind of thing. It is safe for concurrent use.
type Feed[K comparable] struct {
	read  Read[K]
	every time.Duration
	log   *slog.Logger
	wake  chan struct{} // of Run, when somebody begins to watch

	mu       sync.Mutex
	position Position      // that the watches were told of; "" while there is none
	known    chan struct{} // closed when there is one
	watches  int
	all      map[*Watch[K]]struct{}
	byKey    map[K]map[*Watch[K]]struct{}
}

// New returns a feed, which tells nothing until Run runs. Log may be nil.
func New[K comparable](read Read[K], log *slog.Logger) *Feed[K] {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Feed[K]{read: read, every: Every, log: log, wake: make(chan struct{}, 1), known: make(chan struct{}),
		all: map[*Watch[K]]struct{}{}, byKey: map[K]map[*Watch[K]]struct{}{}}
}

// Run asks for changes while there are watches, until ctx is done. It runs once.
func (f *Feed[K]) Run(ctx context.Context) error {
	failing := false
	for {
		pause := f.every
		if since, watched := f.from(); !watched {
			select {
			case <-f.wake:
			case <-ctx.Done():
				return nil
			}
			continue
		} else if full, err := f.poll(ctx, since); err != nil && ctx.Err() == nil {
			if pause = retryAfter; !failing {
				f.log.ErrorContext(ctx, "changes can not be read; trying again", "error", err)
			}
			failing = true
		} else if failing = false; full {
			pause = 0
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *Feed[K]) from() (since Position, watched bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.position, f.watches > 0
}

// page reads changes since a position and returns their keys, the position that knows of them, and whether there are more.
func (f *Feed[K]) page(ctx context.Context, since Position) (keys []K, now Position, full bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, now, err := f.read(ctx, since, pageSize)
	if err != nil {
		return nil, "", false, err
	}
	for _, r := range rows {
		keys = append(keys, r.Key)
	}
	if full = len(rows) >= pageSize; full {
		now = now.upTo(rows[len(rows)-1].In)
	}
	return keys, now, full, nil
}

// poll reads changes and tells the watches of them.
func (f *Feed[K]) poll(ctx context.Context, since Position) (full bool, err error) {
	keys, now, full, err := f.page(ctx, since)
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watches == 0 {
		return false, nil
	}
	if f.position == "" {
		close(f.known)
	}
	f.position = now
	for _, key := range keys {
		for w := range f.byKey[key] {
			w.tell(now, key)
		}
	}
	for w := range f.all {
		w.tell(now, keys...)
	}
	return full, nil
}

// Change is something that has changed.
type Change[K comparable] struct {
	Key      K
	Known    bool     // false: there is no key yet, the change tells the position alone
	Position Position // who goes on after it misses nothing
}

// Watch is what one subscriber was not told yet. It belongs to one goroutine, which closes it.
type Watch[K comparable] struct {
	feed *Feed[K]
	keys []K // nil: of everything
	wake chan struct{}

	// Guarded by feed.mu.
	pending  []K
	waiting  map[K]struct{} // those in pending
	greeting bool           // the position is to be told, before anything else
	done     Position       // whose changes were taken
	upTo     Position       // whose changes were taken or are pending
	behind   bool           // there were more after upTo than wait here: they have to be read again
}

// Watch begins to watch keys, each of which counts as changed to begin with. It waits until there is a position: whatever
// is committed after it has returned is told. It fails when ctx is done before that.
func (f *Feed[K]) Watch(ctx context.Context, keys ...K) (*Watch[K], error) {
	w := f.newWatch()
	w.keys = keys
	return w, f.begin(ctx, w, func() { w.add(keys) })
}

// WatchAll begins to watch everything: from the position after on, or, if it is empty, from now on, which the first change
// then tells. A position that the database has not reached is BadUserInput.
func (f *Feed[K]) WatchAll(ctx context.Context, after Position) (*Watch[K], error) {
	w, ahead := f.newWatch(), false
	err := f.begin(ctx, w, func() {
		if after == "" {
			w.greeting, w.done, w.upTo = true, f.position, f.position
			return
		}
		ahead = after.beyond(f.position)
		w.done, w.upTo, w.behind = after, after, true
	})
	if err != nil || !ahead {
		return w, err
	}
	_, now, _, err := f.page(ctx, "") // another process may have asked the database later than this one
	if err == nil && after.beyond(now) {
		err = fault.Input("the cursor is of another time: begin without one", "after")
	}
	if err != nil {
		w.Close()
	}
	return w, err
}

func (f *Feed[K]) newWatch() *Watch[K] {
	return &Watch[K]{feed: f, wake: make(chan struct{}, 1), waiting: map[K]struct{}{}}
}

// begin lets the watch be told, once there is a position. The watch is closed if it fails.
func (f *Feed[K]) begin(ctx context.Context, w *Watch[K], start func()) error {
	f.mu.Lock()
	f.watches++
	for f.position == "" {
		known := f.known
		f.mu.Unlock()
		select {
		case f.wake <- struct{}{}:
		default:
		}
		select {
		case <-known:
		case <-ctx.Done():
			w.Close()
			return context.Cause(ctx)
		}
		f.mu.Lock()
	}
	start()
	for _, key := range w.keys {
		if f.byKey[key] == nil {
			f.byKey[key] = map[*Watch[K]]struct{}{}
		}
		f.byKey[key][w] = struct{}{}
	}
	if w.keys == nil {
		f.all[w] = struct{}{}
	}
	f.mu.Unlock()
	return nil
}

// Close ends the watch.
func (w *Watch[K]) Close() {
	f := w.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, w)
	for _, key := range w.keys {
		if delete(f.byKey[key], w); len(f.byKey[key]) == 0 {
			delete(f.byKey, key)
		}
	}
	if f.watches--; f.watches == 0 && f.position != "" {
		f.position, f.known = "", make(chan struct{})
	}
}

// tell notes changes, which come after those that were noted before.
func (w *Watch[K]) tell(now Position, keys ...K) {
	if w.behind || w.keys == nil && len(w.pending)+len(keys) > maxPending && len(keys) > 0 {
		w.behind = true
		w.add(nil)
		return
	}
	w.add(keys)
	if w.upTo = now; len(w.pending) == 0 {
		w.done = now
	}
}

// add notes keys, once each, and wakes whoever waits in Next.
func (w *Watch[K]) add(keys []K) {
	for _, key := range keys {
		if _, ok := w.waiting[key]; !ok {
			w.waiting[key] = struct{}{}
			w.pending = append(w.pending, key)
		}
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Next waits for a change. It fails only when ctx is done.
func (w *Watch[K]) Next(ctx context.Context) (Change[K], error) {
	for {
		change, ready, behind := w.take()
		if ready {
			return change, nil
		}
		if behind {
			if err := w.catchUp(ctx); err != nil && ctx.Err() == nil {
				w.feed.log.ErrorContext(ctx, "missed changes can not be read; trying again", "error", err)
				select {
				case <-time.After(retryAfter):
				case <-ctx.Done():
				}
			}
		} else {
			select {
			case <-w.wake:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return Change[K]{}, context.Cause(ctx)
		}
	}
}

func (w *Watch[K]) take() (change Change[K], ready, behind bool) {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	if w.greeting {
		w.greeting = false
		return Change[K]{Position: w.done}, true, false
	}
	if len(w.pending) == 0 {
		return change, false, w.behind
	}
	key := w.pending[0]
	w.pending = slices.Delete(w.pending, 0, 1)
	delete(w.waiting, key)
	if len(w.pending) == 0 {
		w.done = w.upTo
	}
	return Change[K]{Key: key, Known: true, Position: w.done}, true, false
}

// catchUp reads what there was no room for. From before the read on changes are noted again: between both there is no gap.
func (w *Watch[K]) catchUp(ctx context.Context) error {
	f := w.feed
	f.mu.Lock()
	since := w.upTo
	w.behind = false
	f.mu.Unlock()
	keys, now, full, err := f.page(ctx, since)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		w.upTo, w.done, w.behind = since, since, true
		return err
	}
	told := w.pending
	w.pending, w.waiting = nil, map[K]struct{}{}
	w.add(keys)
	w.add(told)
	w.done = since
	if full || w.behind {
		w.upTo, w.behind = now, true
	} else if len(told) == 0 {
		w.upTo = now
	}
	if len(w.pending) == 0 {
		w.done = w.upTo
	}
	return nil
}

// Channel sends the changes of a watch, each in the form that as gives it, until ctx is done, and closes the watch.
func Channel[K comparable, T any](ctx context.Context, w *Watch[K], as func(Change[K]) T) <-chan T {
	c := make(chan T)
	go func() {
		defer close(c)
		defer w.Close()
		for {
			change, err := w.Next(ctx)
			if err != nil {
				return
			}
			select {
			case c <- as(change):
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}
