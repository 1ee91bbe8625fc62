package auth

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	leaseShare = 100     // the part of a bucket that is fetched in advance
	leaseMost  = 10      // the part that a process holds for longer
	maxLeases  = 1 << 14 // about 3 MB
)

// Points bounds what the operations of a viewer or an address may cost, in points: a leaky bucket (GCRA) that all processes
// share by way of a Throttle. A process fetches a hundredth of a bucket more than it needs, and keeps what operations have
// not used, up to a tenth, so that few of them wait for Redis; by so much more can be used at once. It is safe for
// concurrent use.
type Points struct {
	throttle *Throttle
	leases   *lru.Cache[leaseKey, *lease]
}

type leaseKey struct{ kind, key string }

// lease is what a process has fetched and not used.
type lease struct {
	mu   sync.Mutex
	left int // below 0: operations have cost more than was reserved
}

// NewPoints returns Points over a throttle.
func NewPoints(t *Throttle) (*Points, error) {
	leases, err := lru.New[leaseKey, *lease](maxLeases)
	return &Points{t, leases}, err
}

// Reserve takes points before an operation. If there are too few, it takes none, and returns how long it is until there are
// enough. A kind without a limit has no end of points.
func (p *Points) Reserve(ctx context.Context, kind, key string, n int) (ok bool, retryAfter time.Duration) {
	limit, limited := p.throttle.limits[kind]
	if !limited {
		return true, 0
	}
	l := p.lease(kind, key)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left < n {
		need := n - l.left
		taken, wait := p.throttle.Take(ctx, kind, key, need, need+limit.Burst/leaseShare)
		if taken < need {
			return false, wait
		}
		l.left += taken
	}
	l.left -= n
	return true, 0
}

// Settle gives points back that were reserved and not used, or takes those that were used beyond, below 0.
func (p *Points) Settle(ctx context.Context, kind, key string, n int) {
	limit, limited := p.throttle.limits[kind]
	if !limited || n == 0 {
		return
	}
	l := p.lease(kind, key)
	l.mu.Lock()
	defer l.mu.Unlock()
	// A debt can be paid: no operation costs more than half a bucket.
	l.left = max(l.left+n, -limit.Burst/2)
	if beyond := l.left - limit.Burst/leaseMost; beyond > 0 {
		l.left -= beyond
		p.throttle.Return(ctx, kind, key, beyond)
	}
}

func (p *Points) lease(kind, key string) *lease {
	k := leaseKey{kind, key}
	if l, ok := p.leases.Get(k); ok {
		return l
	}
	l := &lease{}
	if before, found, _ := p.leases.PeekOrAdd(k, l); found {
		return before
	}
	return l
}
