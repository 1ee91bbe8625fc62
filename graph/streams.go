package graph

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/telemetry"
)

// Streams are the open WebSockets and event streams of a process. They are ended before the server stops, since a server
// waits for running requests and knows nothing of WebSockets.
type Streams struct {
	pace pace
	most most

	mu        sync.Mutex
	ended     bool
	open      sync.WaitGroup
	visits    map[*visit]struct{}
	byAddress map[string]int
	byViewer  map[uuid.UUID]int
	singles   map[[sha256.Size]byte]*single // by the hash of the token
}

// pace is how often something is done, and how long something may take.
type pace struct {
	init      time.Duration // until the client of a WebSocket has to have introduced itself
	reserved  time.Duration // until a stream that was reserved has to be opened
	ping      time.Duration // how often it is asked whether it is there
	heartbeat time.Duration // how often an event stream says something, so that neither side is taken for dead
	recheck   time.Duration // how often the viewer of a subscription is looked at while nothing happens
	write     time.Duration // until a client that does not take a message counts as gone
	drain     time.Duration // over which streams are ended when the server stops; at most half of the time there is
}

// most bounds what is open at once.
type most struct {
	streams    int // each has a connection
	address    int // streams from one address, of IPv6 from one /64: many people may share one
	viewer     int // streams of one viewer
	operations int // of a stream
}

// NewStreams returns Streams of which none is open.
func NewStreams() *Streams {
	return &Streams{
		pace: pace{init: 5 * time.Second, reserved: 10 * time.Second, ping: 20 * time.Second, heartbeat: 15 * time.Second,
			recheck: 15 * time.Second, write: 10 * time.Second, drain: 10 * time.Second},
		most:   most{streams: 5_000, address: 200, viewer: 100, operations: 50},
		visits: map[*visit]struct{}{}, byAddress: map[string]int{}, byViewer: map[uuid.UUID]int{}, singles: map[[sha256.Size]byte]*single{},
	}
}

// Kinds of streams, and why they have ended, in metrics.
const (
	kindSocket = "websocket"
	kindEvents = "events" // of one operation
	kindSingle = "single" // of several

	endedByClient = "client"
	endedComplete = "complete"
	endedSlow     = "slow"     // the client did not take a message
	endedSilent   = "silent"   // it did not answer a ping
	endedProtocol = "protocol" // it broke a rule of the protocol
	endedToken    = "token"    // its token did not hold, or no more
	endedBusy     = "busy"     // its viewer has too many, or could not be checked
	endedUnused   = "unused"   // it was reserved, and not opened
	endedStopping = "stopping" // the server stops
)

var (
	errStopping = fault.New(fault.RateLimited, "the server stops: connect again")
	errTooMany  = fault.New(fault.RateLimited, "too many streams are open")

	errOtherViewer = fault.New(fault.Unauthenticated, "the token is another viewer's")
)

// visit is a stream as it is counted, and what its viewer is known by.
type visit struct {
	pass
	streams *Streams
	metrics *telemetry.Metrics
	kind    string
	address string
	cut     context.CancelFunc // ends it at once
	ending  context.Context    // done when it is to end because the server stops
	end     context.CancelFunc

	// Guarded by streams.mu.
	viewer  uuid.UUID
	why     string
	working int  // operations that are answered once
	leaving bool // it is to end as soon as nothing is worked at
}

// enter counts a stream of the address and viewer of a context, until it leaves. The context that it returns is the
// stream's, which ends when it leaves or is cut off.
func (s *Streams) enter(ctx context.Context, kind string, metrics *telemetry.Metrics) (context.Context, *visit, error) {
	v := &visit{streams: s, metrics: metrics, kind: kind, address: auth.Network(telemetry.RequestFrom(ctx).ClientAddress), viewer: auth.Peek(ctx).ID}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return ctx, nil, errStopping
	case len(s.visits) >= s.most.streams || s.byAddress[v.address] >= s.most.address || !s.room(v.viewer):
		return ctx, nil, errTooMany
	}
	ctx, v.cut = context.WithCancel(ctx)
	v.ending, v.end = context.WithCancel(context.Background())
	s.visits[v] = struct{}{}
	s.byAddress[v.address]++
	s.byViewer[v.viewer]++
	s.open.Add(1)
	metrics.StreamOpened(kind)
	return ctx, v, nil
}

// room reports whether the viewer may have one more. Nobody is bounded by the address alone.
func (s *Streams) room(viewer uuid.UUID) bool {
	return viewer == uuid.Nil || s.byViewer[viewer] < s.most.viewer
}

// of counts the stream as the viewer's from now on, if there is room.
func (v *visit) of(viewer uuid.UUID) bool {
	s := v.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.room(viewer) {
		return false
	}
	less(s.byViewer, v.viewer)
	s.byViewer[viewer]++
	v.viewer = viewer
	return true
}

// isOf reports whether the stream is the viewer's; nobody is uuid.Nil.
func (v *visit) isOf(viewer uuid.UUID) bool {
	v.streams.mu.Lock()
	defer v.streams.mu.Unlock()
	return v.viewer == viewer
}

// because notes why the stream ends; the first reason counts.
func (v *visit) because(why string) {
	v.streams.mu.Lock()
	defer v.streams.mu.Unlock()
	if v.why == "" {
		v.why = why
	}
}

// leave ends the count.
func (v *visit) leave() {
	v.cut()
	v.because(endedByClient)
	s := v.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.visits, v)
	less(s.byAddress, v.address)
	less(s.byViewer, v.viewer)
	v.metrics.StreamEnded(v.kind, v.why)
	s.open.Done()
}

func less[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

// work lets the stream live until done is called; false if it is to end.
func (v *visit) work() (done func(), ok bool) {
	v.streams.mu.Lock()
	defer v.streams.mu.Unlock()
	if v.leaving {
		return nil, false
	}
	v.working++
	return func() {
		v.streams.mu.Lock()
		defer v.streams.mu.Unlock()
		if v.working--; v.leaving && v.working == 0 {
			v.end()
		}
	}, true
}

// stop tells the stream to end, after what is worked at.
func (v *visit) stop() {
	v.streams.mu.Lock()
	defer v.streams.mu.Unlock()
	if v.leaving = true; v.working == 0 {
		v.end()
	}
}

// End tells all streams that the server stops, each at a time of its own, so that their clients do not all come back at once,
// and waits until they are gone. Those that are left when ctx is done are cut off. There are none after it.
func (s *Streams) End(ctx context.Context) {
	spread := s.pace.drain
	if deadline, ok := ctx.Deadline(); ok {
		spread = min(spread, time.Until(deadline)/2)
	}
	s.mu.Lock()
	if !s.ended {
		s.ended = true
		for v := range s.visits {
			time.AfterFunc(rand.N(max(spread, 1)), v.stop)
		}
	}
	s.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		s.open.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		for v := range s.visits {
			v.cut()
		}
	}
}
