package loader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"emporium/internal/fault"
	"emporium/internal/page"
)

// source counts its batches.
type source struct {
	mu      sync.Mutex
	batches [][]int
	err     error
	gate    chan struct{} // a batch waits for it, if there is one
}

func (s *source) fetch(_ context.Context, keys []int) (map[int]int, error) {
	s.mu.Lock()
	s.batches = append(s.batches, slices.Clone(keys))
	s.mu.Unlock()
	if s.gate != nil {
		<-s.gate
	}
	if s.err != nil {
		return nil, s.err
	}
	found := map[int]int{}
	for _, k := range keys {
		if k >= 0 {
			found[k] = k * 10
		}
	}
	return found, nil
}

var test = Edge[int, int]{name: "test"}

// operation returns the context of an operation in which the edge test leads to the fetch function.
func operation(t *testing.T, fetch Fetch[int, int]) context.Context {
	return With(t.Context(), &Set{fetches: []any{fetch}, observe: func(string, int) {}})
}

// all returns the values that have no error.
func all(ctx context.Context, keys ...int) (values []int) {
	test.Each(ctx, keys, func(i, value int, err error) {
		if err == nil {
			values = append(values, value)
		}
	})
	return values
}

func TestEachFetchesOnce(t *testing.T) {
	t.Parallel()
	s := &source{}
	ctx := operation(t, s.fetch)
	if got := all(ctx, 3, 1, 3, -1); !slices.Equal(got, []int{30, 10, 30, 0}) {
		t.Errorf("values %v", got)
	}
	if got := all(ctx, 1, 2); !slices.Equal(got, []int{10, 20}) {
		t.Errorf("values %v", got)
	}
	for key, want := range map[int]int{1: 10, 2: 20, 3: 30, -1: 0} {
		if got, err := test.Load(ctx, key); err != nil || got != want {
			t.Errorf("key %d: %d, %v", key, got, err)
		}
	}
	if got, err := test.Now(ctx, 4); err != nil || got != 40 {
		t.Errorf("now: %d, %v", got, err)
	}
	if len(s.batches) != 3 || !slices.Equal(s.batches[0], []int{3, 1, -1}) || !slices.Equal(s.batches[1], []int{2}) {
		t.Errorf("batches %v", s.batches)
	}
}

func TestEachKeepsBatchesBounded(t *testing.T) {
	t.Parallel()
	s := &source{}
	keys := make([]int, 2*maxBatch+1)
	for i := range keys {
		keys[i] = i
	}
	if got := all(operation(t, s.fetch), keys...); len(got) != len(keys) || got[len(got)-1] != keys[len(keys)-1]*10 {
		t.Errorf("%d values", len(got))
	}
	if len(s.batches) != 3 || len(s.batches[0]) != maxBatch || len(s.batches[2]) != 1 {
		t.Errorf("%d batches", len(s.batches))
	}
}

// TestLoadJoinsWhatIsUnderWay asks for a key while Each fetches it.
func TestLoadJoinsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	s := &source{gate: make(chan struct{})}
	ctx := operation(t, s.fetch)
	var wg sync.WaitGroup
	wg.Go(func() { all(ctx, 1, 2) })
	for test.loader(ctx).batchOf(2) == nil {
		runtime.Gosched()
	}
	for range 50 {
		wg.Go(func() {
			if got, err := test.Load(ctx, 2); err != nil || got != 20 {
				t.Errorf("%d, %v", got, err)
			}
		})
	}
	close(s.gate)
	wg.Wait()
	if len(s.batches) != 1 {
		t.Errorf("batches %v", s.batches)
	}
}

// TestLoadBatchesWhatWasNotForeseen lets many ask at the same time.
func TestLoadBatchesWhatWasNotForeseen(t *testing.T) {
	t.Parallel()
	s := &source{}
	ctx := operation(t, s.fetch)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if got, err := test.Load(ctx, i%20); err != nil || got != i%20*10 {
				t.Errorf("%d, %v", got, err)
			}
		})
	}
	wg.Wait()
	total := 0
	for _, b := range s.batches {
		total += len(b)
	}
	if total != 20 {
		t.Errorf("%d keys were fetched, want 20: %v", total, s.batches)
	}
}

// TestFailuresAreLoggedOnce does not run in parallel: it listens to the process's log.
func TestFailuresAreLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	broken := errors.New("the disk is on fire")
	ctx := operation(t, (&source{err: broken}).fetch)
	if got := all(ctx, 1, 2, 3); len(got) != 0 {
		t.Errorf("values %v", got)
	}
	for _, key := range []int{1, 2, 3} {
		var logged *LoggedError
		if _, err := test.Load(ctx, key); !errors.Is(err, broken) || !errors.As(err, &logged) {
			t.Errorf("key %d: %v", key, err)
		}
	}
	if n := strings.Count(log.String(), "the disk is on fire"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, &log)
	}
	// What carries a code is an answer, not a failure of ours.
	log.Reset()
	_, err := test.Now(operation(t, (&source{err: fault.New(fault.BadUserInput, "bad page")}).fetch), 1)
	if !fault.Is(err, fault.BadUserInput) || log.Len() != 0 {
		t.Errorf("%v, logged %q", err, &log)
	}
	// Nor is what nobody waits for any more.
	if _, err := test.Now(operation(t, (&source{err: fmt.Errorf("test.rows: %w", context.Canceled)}).fetch), 1); !errors.Is(err, context.Canceled) || log.Len() != 0 {
		t.Errorf("%v, logged %q", err, &log)
	}
	// A panic of a verb fails its keys, and nothing else.
	ctx = operation(t, func(context.Context, []int) (map[int]int, error) { panic("boom") })
	if _, err := test.Now(ctx, 1); err == nil || !strings.Contains(log.String(), "boom") {
		t.Errorf("%v, logged %q", err, &log)
	}
}

// TestBatchOutlivesItsFirstCaller cancels the caller that has begun a batch: the others still get their values.
func TestBatchOutlivesItsFirstCaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(operation(t, func(ctx context.Context, keys []int) (map[int]int, error) {
		return map[int]int{1: 10}, ctx.Err()
	}))
	cancel()
	if got, err := test.Load(ctx, 1); err != nil || got != 10 {
		t.Errorf("%d, %v", got, err)
	}
}

func TestPageRoundTrip(t *testing.T) {
	t.Parallel()
	five, cursor := 5, "abc"
	for _, args := range []page.Args{{}, {First: &five}, {Last: &five, Before: &cursor}, {First: &five, After: &cursor}} {
		if PageOf(PageOf(args).Args()) != PageOf(args) {
			t.Errorf("%+v", args)
		}
	}
	if PageOf(page.Args{First: &five}) == PageOf(page.Args{Last: &five}) {
		t.Error("first and last share a key")
	}
}
