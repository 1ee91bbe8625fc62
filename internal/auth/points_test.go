package auth

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

// pointsOf returns Points of two processes over one Redis, with buckets that do not fill again while a test runs.
func pointsOf(t *testing.T, burst int) (all [2]*Points, way *line) {
	t.Helper()
	client, way := redisServer(t)
	for i := range all {
		th := throttle(t, ThrottleConfig{Redis: client, Secret: []byte(t.Name()), Limits: map[string]Limit{
			ThrottleViewerPoints: {Burst: burst, Every: time.Hour}}})
		var err error
		if all[i], err = NewPoints(th); err != nil {
			t.Fatal(err)
		}
	}
	return all, way
}

// TestPointsAreShared lets two processes use up a bucket at once: all of it, and no more.
func TestPointsAreShared(t *testing.T) {
	t.Parallel()
	processes, _ := pointsOf(t, 10_000)
	key, other := uuid.NewString(), uuid.NewString()
	var used atomic.Int64
	var group sync.WaitGroup
	for n := range 16 {
		group.Go(func() {
			for {
				ok, wait := processes[n%2].Reserve(t.Context(), ThrottleViewerPoints, key, 7)
				if !ok {
					if wait <= 0 || wait > 7*time.Hour {
						t.Errorf("wait %v for 7 points", wait)
					}
					return
				}
				used.Add(7)
			}
		})
	}
	group.Wait()
	// What is fetched in advance may be left at the end, in each process: what was taken is never more than what is there.
	if n := used.Load(); n > 10_000 || n < 10_000-2*(100+7) {
		t.Errorf("%d of 10,000 points were used", n)
	}
	if ok, _ := processes[0].Reserve(t.Context(), ThrottleViewerPoints, other, 10_000); !ok {
		t.Error("somebody else has no points")
	}
	if ok, _ := processes[0].Reserve(t.Context(), ThrottleViewerPoints, uuid.NewString(), 10_001); ok {
		t.Error("more points than there can be")
	}
	if ok, _ := processes[0].Reserve(t.Context(), "without a limit", key, 1<<40); !ok {
		t.Error("points of a kind without a limit")
	}
}

// TestPointsComeBack reserves much, uses little, and gives the rest back: nothing is lost, in one process or the other. What was
// used beyond is paid by the next.
func TestPointsComeBack(t *testing.T) {
	t.Parallel()
	processes, _ := pointsOf(t, 10_000)
	key := uuid.NewString()
	for n := range 100 { // 500,000 reserved, 1,000 used
		p := processes[n%2]
		if ok, wait := p.Reserve(t.Context(), ThrottleViewerPoints, key, 5_000); !ok {
			t.Fatalf("no points at %d: %v", n, wait)
		}
		p.Settle(t.Context(), ThrottleViewerPoints, key, 4_990)
	}
	if ok, _ := processes[0].Reserve(t.Context(), ThrottleViewerPoints, key, 7_900); !ok {
		t.Error("9,000 are left, of which another process holds 1,000 at most")
	}
	p := processes[1]
	debtor := uuid.NewString()
	if ok, _ := p.Reserve(t.Context(), ThrottleViewerPoints, debtor, 1); !ok {
		t.Fatal("no points")
	}
	p.Settle(t.Context(), ThrottleViewerPoints, debtor, -3_000)
	if ok, _ := p.Reserve(t.Context(), ThrottleViewerPoints, debtor, 8_000); ok {
		t.Error("a debt is not paid")
	}
	if ok, _ := p.Reserve(t.Context(), ThrottleViewerPoints, debtor, 6_000); !ok {
		t.Error("after a debt is paid there are no points")
	}
}

// TestPointsWithoutRedis takes Redis away: each process counts by itself, and gives back by itself.
func TestPointsWithoutRedis(t *testing.T) {
	t.Parallel()
	processes, way := pointsOf(t, 10_000)
	way.cut(true)
	key := uuid.NewString()
	for _, p := range processes {
		for range 10 {
			if ok, _ := p.Reserve(t.Context(), ThrottleViewerPoints, key, 6_000); !ok {
				t.Fatal("no points without Redis")
			}
			p.Settle(t.Context(), ThrottleViewerPoints, key, 5_990)
		}
		if ok, _ := p.Reserve(t.Context(), ThrottleViewerPoints, key, 9_900); !ok {
			t.Error("what came back is lost")
		}
		if ok, wait := p.Reserve(t.Context(), ThrottleViewerPoints, key, 500); ok || wait <= 0 {
			t.Error("without Redis there is no limit")
		}
	}
}
