// Package cachetest stops the response cache between its steps, for tests of what happens there.
package cachetest

import "sync/atomic"

// Gate stops whoever comes to a step first, once it is closed. Pass is the cache's Options.Delay.
type Gate struct {
	Closed  atomic.Bool
	Arrived chan struct{} // closed when somebody is stopped
	Open    chan struct{} // to be closed by the test, which lets go

	step string
}

// NewGate returns an open gate before a step.
func NewGate(step string) *Gate {
	return &Gate{step: step, Arrived: make(chan struct{}), Open: make(chan struct{})}
}

// Pass waits if the gate is closed, and this is its step.
func (g *Gate) Pass(step string) {
	if step == g.step && g.Closed.CompareAndSwap(true, false) {
		close(g.Arrived)
		<-g.Open
	}
}
