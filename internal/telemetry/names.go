package telemetry

import "sync"

// nameLimit lets the first distinct names through and calls the rest "other".
type nameLimit struct {
	limit int
	mu    *sync.RWMutex
	seen  map[string]struct{}
}

func newNameLimit(limit int) nameLimit {
	return nameLimit{limit: limit, mu: &sync.RWMutex{}, seen: map[string]struct{}{}}
}

func (n nameLimit) label(name string) string {
	n.mu.RLock()
	_, known := n.seen[name]
	n.mu.RUnlock()
	if known {
		return name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.seen) >= n.limit {
		return "other"
	}
	n.seen[name] = struct{}{}
	return name
}
