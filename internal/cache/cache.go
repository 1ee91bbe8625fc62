// Package cache keeps answers and knows when they are no longer true. It follows what each database commits, so nobody
// has to say what a change voids: an answer is made of what was read for it, and is void once some of that has changed.
//
// What it promises: once [Cache.Await] has returned after a commit, no process answers with what is older than that; what
// others commit shows within milliseconds, and the cache is not used by a process that does not keep up. docs/cache.md says
// how, and why it holds.
package cache

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/errgroup"

	"emporium/internal/cache/remote"
	"emporium/internal/postgres"
)

// Key names an answer: a digest of the operation, its variables, and of what the viewer is that it depends on.
type Key [32]byte

// Source is a database whose changes are followed.
type Source struct {
	Domains []string // whose schemas it holds
	DB      *postgres.DB
	Direct  string // its URL, not by way of a pooler
}

// Options are what a Cache needs.
type Options struct {
	Sources  []Source
	Remote   *remote.Store // nil: there is no second level
	Bytes    uint64        // that answers in this process may take; 0: 64 MiB
	MostTags int           // values of one relation that an answer tells apart; 0: 256
	Log      *slog.Logger
	Observe  Observer
	// ByAge follows nothing: answers that are not one person's are kept until they are too old, and may be wrong by then.
	ByAge bool
	// Naive makes it forget what a mutation of this process has voided and nothing else, as other caches do: for the test that
	// has to find out about it.
	Naive bool
	Delay func(step string) // for tests: called at each step at which something else can come first
}

// Observer is told what happens. All of it is called from many goroutines.
type Observer struct {
	Lookup func(level Level)     // how a lookup has ended
	Stale  func(level Level)     // one that was found was void, or too old
	Reject func(reason Reason)   // an answer that is not kept
	Change func(relation string) // a row has changed
	Epoch  func()                // everything is void, because another stream of changes begins
	Await  func(took time.Duration)
	Stamp  func(slot uint32) // what depends on it is void; see Entry.Tags
	Void   func()            // everything is, by what was changed or because of an epoch
}

// Reason is why an answer is not kept.
type Reason string

// The reasons.
const (
	Failed      Reason = "errors"       // it has errors
	Scope       Reason = "scope"        // it depends on more of the viewer than its fields say
	Uncacheable Reason = "uncacheable"  // it depends on more than the databases
	Unfollowed  Reason = "not_followed" // changes of what it was read from are not told
	CatchingUp  Reason = "catching_up"  // the databases are not followed yet
	Changed     Reason = "changed"      // what it was read from has changed meanwhile
	TooOld      Reason = "too_old"      // making it has taken longer than it may be kept
)

// Reasons are all of them.
func Reasons() []Reason {
	return []Reason{Failed, Scope, Uncacheable, Unfollowed, CatchingUp, Changed, TooOld}
}

// Level is where an answer came from.
type Level string

// The levels.
const (
	Local  Level = "local"  // this process
	Remote Level = "remote" // Redis
	Shared Level = "shared" // somebody else was just asking
	Miss   Level = "miss"
	Bypass Level = "bypass" // the cache can not be used at the moment
)

// Cache keeps answers in this process and in Redis. It is safe for concurrent use.
type Cache struct {
	o         Options
	followers []*Follower
	of        map[string]int // the follower of a domain
	local     *otter.Cache[Key, *Entry]
	flights   flights
	fetches   flights // of those who only ask Redis
}

// New returns a cache, which keeps nothing until Run runs.
func New(o Options) (*Cache, error) {
	if o.Bytes == 0 {
		o.Bytes = 64 << 20
	}
	if o.MostTags == 0 {
		o.MostTags = 256
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Delay == nil {
		o.Delay = func(string) {}
	}
	o.Observe.fill()
	local, err := otter.New(&otter.Options[Key, *Entry]{
		MaximumWeight: o.Bytes,
		Weigher:       func(_ Key, e *Entry) uint32 { return uint32(min(e.size(), 1<<30)) },
	})
	if err != nil {
		return nil, err
	}
	c := &Cache{o: o, of: map[string]int{}, local: local}
	for i, s := range o.Sources {
		f := newFollower(strings.Join(s.Domains, "+"), s.DB, s.Direct, o.Log)
		f.onChange, f.onEpoch, f.delay = o.Observe.Change, o.Observe.Epoch, o.Delay
		f.onStamp, f.onVoid = o.Observe.Stamp, o.Observe.Void
		c.followers = append(c.followers, f)
		for _, domain := range s.Domains {
			c.of[domain] = i
		}
	}
	return c, nil
}

func (o *Observer) fill() {
	if o.Lookup == nil {
		o.Lookup = func(Level) {}
	}
	if o.Stale == nil {
		o.Stale = func(Level) {}
	}
	if o.Reject == nil {
		o.Reject = func(Reason) {}
	}
	if o.Change == nil {
		o.Change = func(string) {}
	}
	if o.Epoch == nil {
		o.Epoch = func() {}
	}
	if o.Await == nil {
		o.Await = func(time.Duration) {}
	}
	if o.Stamp == nil {
		o.Stamp = func(uint32) {}
	}
	if o.Void == nil {
		o.Void = func() {}
	}
}

// Run follows the databases and writes to Redis until ctx is done.
func (c *Cache) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, f := range c.followers {
		if c.o.ByAge {
			break
		}
		group.Go(func() error { return f.Run(ctx) })
	}
	if c.o.Remote != nil {
		group.Go(func() error { return c.o.Remote.Run(ctx) })
	}
	return group.Wait()
}

// State says in words for each database whether it is followed.
func (c *Cache) State() map[string]string {
	states := map[string]string{}
	for _, f := range c.followers {
		switch states[f.Name] = f.State(); {
		case c.o.ByAge:
			states[f.Name] = "not followed: answers are kept by their age"
		case states[f.Name] == "":
			states[f.Name] = "ok"
		}
	}
	return states
}

// Ready reports whether answers can be kept and used at the moment.
func (c *Cache) Ready() bool {
	if c.o.ByAge {
		return true
	}
	now := now()
	for _, f := range c.followers {
		if !f.leased(now) {
			return false
		}
	}
	return true
}

// fresh reports whether an entry is still true. It says nothing about leases.
func (c *Cache) fresh(e *Entry) bool {
	for i := range e.sources {
		s := &e.sources[i]
		if !c.followers[s.follower].fresh(s.mark, s.slots) && !c.o.Naive {
			return false
		}
	}
	return time.Now().Before(e.Ends)
}

// Lookup returns what this process keeps under a key, if it is true now.
func (c *Cache) Lookup(key Key) (*Entry, bool) {
	if !c.Ready() {
		return nil, false
	}
	c.o.Delay("leased")
	e, ok := c.local.GetIfPresent(key)
	if !ok {
		return nil, false
	}
	if !c.fresh(e) {
		c.local.ComputeIfPresent(key, func(now *Entry) (*Entry, otter.ComputeOp) {
			if now == e {
				return nil, otter.InvalidateOp
			}
			return nil, otter.CancelOp
		})
		c.o.Observe.Stale(Local)
		return nil, false
	}
	c.o.Observe.Lookup(Local)
	return e, true
}

// Trace runs a read and returns whether what it has found is still true, to be asked again and again. That it is not says
// nothing: it may not be known. Still is nil when what was read can not be followed.
func (c *Cache) Trace(ctx context.Context, read func(context.Context) error) (still func() bool, err error) {
	e := &Entry{Ends: time.Now().Add(24 * time.Hour)}
	marks, ok := c.marks()
	ctx, recorder := postgres.Record(ctx)
	if err := read(ctx); err != nil || !ok {
		return nil, err
	}
	if _, why := c.trace(e, recorder, marks); why != "" {
		return nil, nil
	}
	return func() bool { return c.Ready() && c.fresh(e) }, nil
}

// Result is how an answer was come by.
type Result[V any] struct {
	Value V      // what fill has returned; the zero value if it was not called
	Entry *Entry // what is kept, or was found; nil if the answer can not be kept
	Level Level
	Why   string // it can not be kept
}

// Filled is what fill makes of a miss.
type Filled[V any] struct {
	Value  V
	Body   []byte        // nil: it can not be kept
	Why    string        // it can not be kept, in words
	Reason Reason        // and for the observer; Failed if it is left out
	MaxAge time.Duration // for which it may be kept
}

// Get returns an answer that was true at some moment since the call: kept here or in Redis, or made by fill, which one of
// those who ask for the same key at once runs for all of them. Private says that the answer is one person's.
func Get[V any](ctx context.Context, c *Cache, key Key, private bool, fill func(context.Context) Filled[V]) Result[V] {
	if !c.Ready() {
		c.o.Observe.Lookup(Bypass)
		return Result[V]{Value: fill(ctx).Value, Level: Bypass, Why: "the changes of the database are not followed"}
	}
	if e, ok := c.Lookup(key); ok {
		return Result[V]{Entry: e, Level: Local}
	}
	for range 2 {
		flight, mine := c.flights.join(key)
		if mine {
			return lead(ctx, c, flight, key, private, fill)
		}
		c.o.Delay("joined")
		select {
		case <-flight.done:
		case <-ctx.Done():
			return Result[V]{Value: fill(ctx).Value, Level: Miss} // which says that the time is over
		}
		// The one who asked first may have read before us what has changed since.
		if flight.entry != nil && c.Ready() && c.fresh(flight.entry) {
			c.o.Observe.Lookup(Shared)
			return Result[V]{Entry: flight.entry, Level: Shared}
		}
	}
	r := produce(ctx, c, private, key, fill)
	c.o.Observe.Lookup(r.Level)
	return r
}

// lead makes the answer for all who ask for it.
func lead[V any](ctx context.Context, c *Cache, flight *flight, key Key, private bool, fill func(context.Context) Filled[V]) (r Result[V]) {
	defer func() {
		flight.entry = r.Entry
		c.o.Delay("landing")
		c.flights.land(key, flight)
		c.o.Observe.Lookup(r.Level)
	}()
	if wasFetched(ctx) {
		return produce(ctx, c, private, key, fill)
	}
	if e := c.fromRemote(ctx, key, private); e != nil {
		return Result[V]{Entry: e, Level: Remote}
	}
	return produce(ctx, c, private, key, fill)
}

// fromRemote returns what Redis keeps, if it is true now.
func (c *Cache) fromRemote(ctx context.Context, key Key, private bool) *Entry {
	if c.o.Remote == nil {
		return nil
	}
	b := c.o.Remote.Get(ctx, key, private)
	if b == nil {
		return nil
	}
	e, err := decodeEntry(b, c.version(), len(c.followers))
	if err != nil || !c.Ready() {
		return nil
	}
	if !c.fresh(e) {
		c.o.Observe.Stale(Remote)
		return nil
	}
	c.local.Set(key, e)
	return e
}

// version is that of the entries that this cache puts into Redis and takes from there.
func (c *Cache) version() version {
	if c.o.ByAge {
		return byAge
	}
	return followed
}

// produce runs fill and keeps what it makes, if that is true when it is done.
func produce[V any](ctx context.Context, c *Cache, private bool, key Key, fill func(context.Context) Filled[V]) Result[V] {
	made := time.Now()
	marks, ok := c.marks()
	c.o.Delay("marked")
	recorded, recorder := postgres.Record(ctx)
	filled := fill(recorded)
	r := Result[V]{Value: filled.Value, Level: Miss, Why: filled.Why}
	reason := cmp.Or(filled.Reason, Failed)
	if r.Why == "" && !ok && !c.o.ByAge {
		r.Why, reason = "catching up", CatchingUp
	}
	if filled.Body == nil || r.Why != "" {
		r.Why = cmp.Or(r.Why, "not whole")
		c.o.Observe.Reject(reason)
		return r
	}
	e := &Entry{Body: filled.Body, Made: made, Ends: made.Add(filled.MaxAge)}
	if c.o.ByAge {
		if r.Why, reason = recorder.Uncacheable(), Uncacheable; r.Why == "" && private {
			r.Why, reason = "it is one person's, and nothing is followed", Unfollowed
		}
	} else {
		reason, r.Why = c.trace(e, recorder, marks)
	}
	if r.Why != "" {
		c.o.Observe.Reject(reason)
		return r
	}
	c.o.Delay("filled")
	if !time.Now().Before(e.Ends) {
		r.Why = "making it has taken longer than it may be kept"
		c.o.Observe.Reject(TooOld)
		return r
	}
	if !c.fresh(e) {
		// What was read is stamped later than the clock that was noted: the answer is right, or was, but nobody can tell of it
		// for how long.
		r.Why = "changed meanwhile"
		c.o.Observe.Reject(Changed)
		return r
	}
	c.local.Set(key, e)
	if c.o.Remote != nil {
		c.o.Remote.Put(key, e.encode(c.version()), private)
	}
	r.Entry = e
	return r
}

// marks notes the moment before the first read.
func (c *Cache) marks() ([]mark, bool) {
	marks, all := make([]mark, len(c.followers)), true
	for i, f := range c.followers {
		m, ok := f.mark()
		marks[i], all = m, all && ok
	}
	return marks, all
}

// trace notes what an answer was read from, or says why it can not be kept.
func (c *Cache) trace(e *Entry, recorder *postgres.Recorder, marks []mark) (Reason, string) {
	if why := recorder.Uncacheable(); why != "" {
		return Uncacheable, why
	}
	sources := make([]source, len(c.followers))
	for relation, tags := range recorder.Tags(c.o.MostTags) {
		domain, _, _ := strings.Cut(relation, ".")
		i, known := c.of[domain]
		if !known || !c.followers[i].follows(relation) {
			return Unfollowed, "changes of " + relation + " are not followed"
		}
		for _, t := range tags {
			sources[i].slots = append(sources[i].slots, slotOf(t))
		}
	}
	for i, s := range sources {
		if len(s.slots) > 0 {
			e.sources = append(e.sources, source{i, marks[i], ascending(s.slots)})
		}
	}
	return "", ""
}

// Forget drops an answer here; for the naive mode.
func (c *Cache) Forget() { c.local.InvalidateAll() }

// Await returns once no process answers with what is older than what was committed up to now in the databases that a
// recorder has seen used.
func (c *Cache) Await(ctx context.Context, used []*postgres.DB) error {
	if c.o.Naive {
		c.Forget()
		return nil
	}
	if len(used) == 0 || c.o.ByAge {
		return nil
	}
	start := time.Now()
	var group errgroup.Group
	for _, f := range c.followers {
		for _, db := range used {
			if db == f.db {
				group.Go(func() error { return f.Await(ctx) })
			}
		}
	}
	err := group.Wait()
	c.o.Observe.Await(time.Since(start))
	return err
}
