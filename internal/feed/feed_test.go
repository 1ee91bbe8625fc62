package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"emporium/internal/fault"
)

// table is a database with one table of numbered rows, as a snapshot sees it.
type table struct {
	mu    sync.Mutex
	next  uint64
	open  []uint64       // transactions under way
	rows  map[int]uint64 // by key, the transaction of the latest change that was committed
	reads atomic.Int64
	fails bool
}

func newTable() *table { return &table{next: 100, rows: map[int]uint64{}} }

func (d *table) begin() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next++
	d.open = append(d.open, d.next-1)
	return d.next - 1
}

func (d *table) commit(xid uint64, keys ...int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = slices.DeleteFunc(d.open, func(x uint64) bool { return x == xid })
	for _, key := range keys {
		d.rows[key] = xid
	}
}

func (d *table) change(keys ...int) { d.commit(d.begin(), keys...) }

func (d *table) read(_ context.Context, since Position, limit int) (rows []Row[int], now Position, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reads.Add(1); d.fails {
		return nil, "", errors.New("no database")
	}
	first := d.next
	var open []string
	for _, xid := range d.open {
		first = min(first, xid)
		open = append(open, strconv.FormatUint(xid, 10))
	}
	now = Position(fmt.Sprintf("%d:%d:%s", first, d.next, strings.Join(open, ",")))
	if since == "" {
		return nil, now, nil
	}
	known, _ := parse(since)
	for key, xid := range d.rows {
		if xid >= known.max || slices.Contains(known.open, xid) {
			rows = append(rows, Row[int]{key, xid})
		}
	}
	slices.SortFunc(rows, func(a, b Row[int]) int { return int(a.In) - int(b.In) })
	for limit > 0 && limit < len(rows) && rows[limit].In == rows[limit-1].In {
		limit++
	}
	return rows[:min(limit, len(rows))], now, nil
}

// run runs a feed in the test's bubble.
func run(t *testing.T, d *table) *Feed[int] {
	f := New(d.read, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = f.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return f
}

func next(t *testing.T, w *Watch[int]) Change[int] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := w.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// quiet wants nothing to be told for a while.
func quiet(t *testing.T, w *Watch[int]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if c, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("told of %+v, %v", c, err)
	}
}

func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// all watches everything, from a position on.
func all(t *testing.T, f *Feed[int], after Position) *Watch[int] {
	t.Helper()
	w, err := f.WatchAll(t.Context(), after)
	return must(t, w, err)
}

// watch watches a key.
func watch(t *testing.T, f *Feed[int], key int) *Watch[int] {
	t.Helper()
	w, err := f.Watch(t.Context(), key)
	return must(t, w, err)
}

// TestLateCommits wants a change to be told once it is committed, though later transactions were told before, and one that
// a long transaction keeps the snapshot back for to be told once.
func TestLateCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTable()
		f := run(t, d)
		w := all(t, f, "")
		defer w.Close()
		if c := next(t, w); c.Known || c.Position == "" {
			t.Errorf("it begins with %+v", c)
		}
		slow := d.begin()
		d.change(1)
		if c := next(t, w); c.Key != 1 {
			t.Errorf("told of %+v", c)
		}
		quiet(t, w)
		d.commit(slow, 2)
		if c := next(t, w); c.Key != 2 {
			t.Errorf("told of %+v", c)
		}
		quiet(t, w)
	})
}

// TestManyWatchesCostOneRead wants reads to go with time, not with who watches, and to stop with the last one.
func TestManyWatchesCostOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTable()
		f := run(t, d)
		time.Sleep(time.Minute)
		if n := d.reads.Load(); n != 0 {
			t.Errorf("%d reads for nobody", n)
		}
		var watches []*Watch[int]
		for i := range 1_000 {
			w := watch(t, f, i%10)
			next(t, w) // how it is to begin with
			watches = append(watches, w)
		}
		d.reads.Store(0)
		d.change(3)
		time.Sleep(time.Minute)
		if n, want := int(d.reads.Load()), int(time.Minute/Every); n < want-2 || n > want+2 {
			t.Errorf("%d reads in a minute, not %d", n, want)
		}
		for i, w := range watches {
			if change, ready, _ := w.take(); ready != (i%10 == 3) || ready && change.Key != 3 {
				t.Errorf("watch %d was told of %+v, %t", i, change, ready)
			}
			w.Close()
		}
		synctest.Wait()
		time.Sleep(time.Second)
		d.reads.Store(0)
		time.Sleep(time.Minute)
		f.mu.Lock()
		defer f.mu.Unlock()
		if n := d.reads.Load(); n != 0 || f.position != "" || len(f.byKey) != 0 || len(f.all) != 0 || f.watches != 0 {
			t.Errorf("%d reads for nobody; %q %d %d %d", n, f.position, len(f.byKey), len(f.all), f.watches)
		}
	})
}

// TestSlowWatch lets a watch take nothing while much happens: what waits for it is bounded, what changes again waits
// once, and nothing is missing in the end.
func TestSlowWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTable()
		f := run(t, d)
		w := all(t, f, "")
		defer w.Close()
		for range 3 {
			for key := range 5_000 {
				d.change(key)
				if key%100 == 0 {
					time.Sleep(Every)
				}
			}
		}
		time.Sleep(time.Second)
		f.mu.Lock()
		if len(w.pending) > maxPending || len(w.waiting) != len(w.pending) {
			t.Errorf("%d wait, at most %d may", len(w.pending), maxPending)
		}
		f.mu.Unlock()
		seen := map[int]bool{}
		for len(seen) < 5_000 {
			if c := next(t, w); c.Known {
				seen[c.Key] = true
			}
		}
		for told, _, behind := w.take(); told.Known || behind; told, _, behind = w.take() {
			if behind {
				if err := w.catchUp(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		d.change(7)
		if c := next(t, w); c.Key != 7 {
			t.Errorf("told of %+v", c)
		}
	})
}

// TestResume breaks off after each event, changes something, and goes on from the event's position: nothing is missing,
// with transactions under way across the break.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTable()
		f := run(t, d)
		w := all(t, f, "")
		position := next(t, w).Position
		w.Close()
		seen, key := map[int]bool{}, 0
		var open []uint64
		for round := range 200 {
			for range round % 4 {
				d.change(key)
				key++
			}
			if open = append(open, d.begin()); len(open) > 3 {
				d.commit(open[0], key)
				key++
				open = open[1:]
			}
			w := all(t, f, position)
			for range round % 5 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				c, err := w.Next(ctx)
				cancel()
				if err != nil {
					break
				}
				seen[c.Key], position = true, c.Position
			}
			w.Close()
		}
		w = all(t, f, position)
		defer w.Close()
		for len(seen) < key {
			seen[next(t, w).Key] = true
		}
		quiet(t, w)
	})
}

// TestFailingReads wants the feed to go on once the database is back, and a watch to wait for it no longer than it may.
func TestFailingReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTable()
		d.fails = true
		f := run(t, d)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := f.Watch(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("watched without a database: %v", err)
		}
		d.mu.Lock()
		d.fails = false
		d.mu.Unlock()
		w := watch(t, f, 1)
		defer w.Close()
		next(t, w)
		d.mu.Lock()
		d.fails = true
		d.mu.Unlock()
		d.change(1)
		time.Sleep(10 * time.Second)
		d.mu.Lock()
		d.fails = false
		d.mu.Unlock()
		if c := next(t, w); c.Key != 1 {
			t.Errorf("told of %+v", c)
		}
	})
}

// TestPositions wants what clients send to be read strictly, and positions that were cut to know what they knew.
func TestPositions(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "1", "1:2", "1:2:3:4", "0:1:", "2:1:", "1:3:3", "2:3:1", "1:5:2,2", "1:5:3,2", "1:5:,", "-1:2:", "1:x:",
		"1:99999999999999999999:", strings.Repeat("1", maxPosition) + ":1:"} {
		if _, err := ParsePosition(bad, "after"); fault.CodeOf(err) != fault.BadUserInput {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	p, err := ParsePosition("10:20:10,12,17", "after")
	must(t, p, err)
	for last, want := range map[uint64]Position{19: p, 30: p, 16: "10:17:10,12", 9: "10:10:", 5: "6:6:"} {
		if got := p.upTo(last); got != want {
			t.Errorf("up to %d: %s, not %s", last, got, want)
		}
	}
	var long strings.Builder
	long.WriteString("1000:9000:1000")
	for i := range 1_000 {
		fmt.Fprintf(&long, ",%d", 1001+i)
	}
	if got := Position(long.String()).Short(); got != "1000:1000:" {
		t.Errorf("shortened to %s", got)
	}
	if !Position("1:30:").beyond(p) || Position("1:20:").beyond(p) {
		t.Error("what is beyond what")
	}
}

// TestCursorOfAnotherTime wants a position that the database has not reached to be refused.
func TestCursorOfAnotherTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := run(t, newTable())
		if _, err := f.WatchAll(t.Context(), "5000:5000:"); fault.CodeOf(err) != fault.BadUserInput {
			t.Errorf("%v", err)
		}
		if f.watches != 0 || len(f.all) != 0 {
			t.Errorf("%d watches are left", f.watches)
		}
	})
}

// TestCursorOfAnotherProcess goes on at a process that has asked the database before, with a position of one that asked later.
func TestCursorOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTable()
		f := run(t, d)
		defer all(t, f, "").Close() // so that there is a position
		d.change(1)
		other := all(t, run(t, d), "")
		defer other.Close()
		after := next(t, other).Position
		d.change(2)
		w := all(t, f, after)
		defer w.Close()
		for c := next(t, w); c.Key != 2; c = next(t, w) {
		}
	})
}

// TestLeavingIsNoTrouble wants nothing to be logged of a read that ends because its subscriber has gone.
func TestLeavingIsNoTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTable()
		var log strings.Builder
		ctx, leave := context.WithCancel(t.Context())
		f := New(func(asking context.Context, since Position, limit int) ([]Row[int], Position, error) {
			if since == "1:1:" {
				leave()
				return nil, "", asking.Err()
			}
			return d.read(asking, since, limit)
		}, slog.New(slog.NewTextHandler(&log, nil)))
		var done sync.WaitGroup
		running, stop := context.WithCancel(t.Context())
		done.Go(func() { _ = f.Run(running) })
		w := all(t, f, "1:1:")
		if _, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		w.Close()
		stop()
		done.Wait()
		if log.Len() > 0 {
			t.Error(log.String())
		}
	})
}

// TestChannel wants a channel to end with its context, and what feeds it to leave nothing behind.
func TestChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTable()
		f := run(t, d)
		ctx, cancel := context.WithCancel(t.Context())
		c := Channel(ctx, watch(t, f, 1), func(c Change[int]) int { return c.Key })
		if key := <-c; key != 1 {
			t.Errorf("told of %d", key)
		}
		d.change(1)
		time.Sleep(time.Second) // nobody takes it
		cancel()
		synctest.Wait() // the bubble fails with a goroutine that is left
		if _, more := <-c; more {
			t.Error("the channel goes on")
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.watches != 0 || len(f.byKey) != 0 {
			t.Errorf("%d watches are left", f.watches)
		}
	})
}
