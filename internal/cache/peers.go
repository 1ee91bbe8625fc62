package cache

import (
	"sync"
	"time"
)

// visibleFor is how long a process is seen to follow before it uses its cache for the first time. Who looks more often than that
// who follows knows of everybody who may have a lease, also of those who are gone by now.
const visibleFor = 500 * time.Millisecond

// peer is the connection by which a process follows.
type peer struct {
	pid   int32 // of its backend, which another one may get later
	since int64 // when it was made, in microseconds of the server's clock
}

// peers are the processes that may answer from their caches, as this one knows from looking at pg_stat_replication again and
// again. A process whose connection has ended is no longer to be seen there, may not have noticed, and has its lease still.
type peers struct {
	mu    sync.Mutex
	last  int64          // when the latest look began (see now); 0: nobody has looked yet
	until map[peer]int64 // 0 for those that are there; of those that are gone: when their lease has run out
	blind int64          // when leases have run out of processes that may have come and gone while nobody looked
	left  peer           // a connection of this process, which has given up its lease
}

// looked notes who was there at some moment between two others, and forgets whose lease has run out.
func (p *peers) looked(from, to int64, there []peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A lease counts from a moment at which its process was still to be seen, so before this look.
	lapsed := to + int64(leaseTime+slack)
	if p.last == 0 || to-p.last > int64(visibleFor-slack) {
		p.blind = max(p.blind, lapsed)
	}
	p.last = max(p.last, from)
	present := make(map[peer]int64, len(there))
	for _, one := range there {
		present[one] = 0
	}
	for one, until := range p.until {
		if _, still := present[one]; still || one == p.left {
			continue
		}
		if until == 0 {
			until = lapsed
		}
		if until > from {
			present[one] = until
		}
	}
	p.until = present
}

// leave notes that this process has given up the lease that it had by a connection.
func (p *peers) leave(own peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = own
	delete(p.until, own)
}

// lapse returns when the leases of all that are gone have run out.
func (p *peers) lapse() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	lapse := p.blind
	for _, until := range p.until {
		lapse = max(lapse, until)
	}
	return lapse
}

// since returns for how long nobody has looked.
func (p *peers) since() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Duration(now() - p.last)
}
