package loader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"emporium/internal/fault"
)

var (
	errBadPage = fault.New(fault.BadUserInput, "bad page")
	errBroken  = errors.New("the disk is on fire")
)

// tens fetches numbers in groups by their ten; the groups of failing fail.
type tens struct {
	mu      sync.Mutex
	groups  [][]int
	failing map[int]error // by the ten
}

func (s *tens) fetch(_ context.Context, keys []int) (map[int]int, error) {
	return grouped(keys, func(k int) int { return k / 10 }, func(same []int, found map[int]int) error {
		s.mu.Lock()
		s.groups = append(s.groups, slices.Clone(same))
		s.mu.Unlock()
		if err := s.failing[same[0]/10]; err != nil {
			return err
		}
		for _, k := range same {
			found[k] = k * 10
		}
		return nil
	})
}

// answer is what became of a key.
type answer struct {
	value  int
	err    string
	logged bool
}

func answerOf(value int, err error) answer {
	a := answer{value: value}
	if err != nil {
		a.err = err.Error()
		var l *LoggedError
		a.logged = errors.As(err, &l)
	}
	return a
}

// ways are the ways to load several keys at once.
var ways = map[string]func(ctx context.Context, keys []int) []answer{
	"Each": func(ctx context.Context, keys []int) []answer {
		answers := make([]answer, len(keys))
		test.Each(ctx, keys, func(i, value int, err error) { answers[i] = answerOf(value, err) })
		return answers
	},
	"Load": func(ctx context.Context, keys []int) []answer {
		answers := make([]answer, len(keys))
		var wg sync.WaitGroup
		for i, key := range keys {
			wg.Go(func() { answers[i] = answerOf(test.Load(ctx, key)) })
		}
		wg.Wait()
		return answers
	},
}

// listen collects the process's log until the test ends: such a test does not run in parallel.
func listen(t *testing.T) *bytes.Buffer {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &log
}

// TestGroupsFailForThemselves asks for three groups, of which one was asked for wrongly and one breaks.
func TestGroupsFailForThemselves(t *testing.T) {
	log := listen(t)
	keys := []int{1, 11, 21, 2, 12, 22, 23}
	want := []answer{
		{value: 10}, {err: "bad page"}, {err: "the disk is on fire", logged: true},
		{value: 20}, {err: "bad page"}, {err: "the disk is on fire", logged: true}, {err: "the disk is on fire", logged: true},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			log.Reset()
			s := &tens{failing: map[int]error{1: errBadPage, 2: errBroken}}
			ctx := operation(t, s.fetch)
			for _, again := range []string{"", " again"} {
				if got := way(ctx, keys); !slices.Equal(got, want) {
					t.Errorf("asked%s: %+v, want %+v", again, got, want)
				}
			}
			// What was fetched by one way is there for the other, failures too.
			for other, way := range ways {
				if got := way(ctx, keys); !slices.Equal(got, want) {
					t.Errorf("then asked by %s: %+v, want %+v", other, got, want)
				}
			}
			fetched := slices.Concat(s.groups...)
			slices.Sort(fetched)
			if !slices.Equal(fetched, slices.Sorted(slices.Values(keys))) {
				t.Errorf("fetched %v", s.groups)
			}
			// Load may take several batches: each that breaks is a failure of its own.
			breaks := 0
			for _, g := range s.groups {
				if g[0]/10 == 2 {
					breaks++
				}
			}
			if n := strings.Count(log.String(), "the disk is on fire"); n != breaks || strings.Contains(log.String(), "bad page") {
				t.Errorf("%d failures were logged as %d:\n%s", breaks, n, log)
			}
		})
	}
}

// TestEachFailureIsLogged: groups that break for different reasons are logged apart, with the number of their keys.
func TestEachFailureIsLogged(t *testing.T) {
	log := listen(t)
	flood := errors.New("the cellar is under water")
	ctx := operation(t, (&tens{failing: map[int]error{1: errBroken, 2: flood}}).fetch)
	got := ways["Each"](ctx, []int{1, 11, 12, 21, 22, 23})
	want := []answer{{value: 10}, {err: errBroken.Error(), logged: true}, {err: errBroken.Error(), logged: true},
		{err: flood.Error(), logged: true}, {err: flood.Error(), logged: true}, {err: flood.Error(), logged: true}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, line := range []string{`edge=test keys=2 error="the disk is on fire"`, `edge=test keys=3 error="the cellar is under water"`} {
		if strings.Count(log.String(), line) != 1 {
			t.Errorf("want once %s:\n%s", line, log)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines:\n%s", n, log)
	}
}

// texts is an error that can not be compared.
type texts []string

func (e texts) Error() string { return strings.Join(e, ", ") }

// TestErrorsThatCanNotBeCompared come through too.
func TestErrorsThatCanNotBeCompared(t *testing.T) {
	log := listen(t)
	ctx := operation(t, (&tens{failing: map[int]error{1: texts{"a", "b"}}}).fetch)
	want := []answer{{value: 10}, {err: "a, b", logged: true}, {err: "a, b", logged: true}}
	if got := ways["Each"](ctx, []int{1, 11, 12}); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log)
	}
}

// TestGroupsOfManyBatches fails one group in several statements: the failures of all of them are kept, and so are the
// values.
func TestGroupsOfManyBatches(t *testing.T) {
	t.Parallel()
	const count = 2*maxBatch + 5
	keys := make([]int, count)
	want := make([]answer, count)
	for i := range keys {
		keys[i] = i * 10 // each is a group
		want[i] = answer{value: i * 100}
	}
	failing := map[int]error{}
	for _, i := range []int{0, 7, maxBatch - 1, maxBatch, 2 * maxBatch, count - 1} {
		failing[i] = fault.Newf(fault.BadUserInput, "bad page %d", i)
		want[i] = answer{err: fmt.Sprintf("bad page %d", i)}
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &tens{failing: failing}
			got := way(operation(t, s.fetch), keys)
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("key %d: %+v, want %+v", keys[i], got[i], want[i])
				}
			}
			if len(s.groups) != count {
				t.Errorf("%d groups were fetched", len(s.groups))
			}
		})
	}
}

// TestBatchThatFailsAsAWhole fails all keys of an Each, also those whose failure was their own.
func TestBatchThatFailsAsAWhole(t *testing.T) {
	log := listen(t)
	keys := make([]int, 2*maxBatch)
	for i := range keys {
		keys[i] = i
	}
	ctx := operation(t, func(_ context.Context, keys []int) (map[int]int, error) {
		if keys[0] == 0 {
			return map[int]int{1: 10}, KeyErrors[int]{0: {errBadPage}}
		}
		return nil, errBroken
	})
	for i, got := range ways["Each"](ctx, keys) {
		if want := (answer{err: errBroken.Error(), logged: true}); got != want {
			t.Fatalf("key %d: %+v, want %+v", i, got, want)
		}
	}
	if n := strings.Count(log.String(), errBroken.Error()); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log)
	}
}

func TestKeyErrorsSayOneOfThem(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]KeyErrors[int]{"bad page": {7: {errBadPage}}, "no error": {}} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err.Error(), want)
		}
	}
}
