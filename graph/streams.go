package graph

import (
	"context"
	"sync"
	"time"
)

const (
	maxStreams        = 5_000 // WebSockets and event streams of a process; each has a connection
	maxStreamsAddress = 200   // from one address: many people may share one
)

// Streams are the open WebSockets and event streams of a process. They are ended before the server stops, since a server
// waits for running requests and knows nothing of WebSockets.
type Streams struct {
	ending chan struct{}
	pace   pace

	mu        sync.Mutex
	ended     bool
	open      sync.WaitGroup
	total     int
	byAddress map[string]int
}

// pace is how often something is done, and how long something may take.
type pace struct {
	init      time.Duration // until the client of a WebSocket has to have introduced itself
	ping      time.Duration // how often it is asked whether it is there
	heartbeat time.Duration // how often an event stream says something, so that neither side is taken for dead
	recheck   time.Duration // how often the viewer of a subscription is looked at while nothing happens
	write     time.Duration // until a client that does not take a message counts as gone
}

// NewStreams returns Streams of which none is open.
func NewStreams() *Streams {
	return &Streams{ending: make(chan struct{}), byAddress: map[string]int{}, pace: pace{init: 5 * time.Second,
		ping: 20 * time.Second, heartbeat: 15 * time.Second, recheck: 15 * time.Second, write: 10 * time.Second}}
}

// enter counts a stream from an address, until leave is called; false when there are too many, or all are to end.
func (s *Streams) enter(address string) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.total >= maxStreams || s.byAddress[address] >= maxStreamsAddress {
		return nil, false
	}
	s.total++
	s.byAddress[address]++
	s.open.Add(1)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total--
		if s.byAddress[address]--; s.byAddress[address] == 0 {
			delete(s.byAddress, address)
		}
		s.open.Done()
	}, true
}

// End tells all streams that the server stops, and waits until they are gone or ctx is done. There are none after it.
func (s *Streams) End(ctx context.Context) {
	s.mu.Lock()
	if !s.ended {
		s.ended = true
		close(s.ending)
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
	}
}
