package cache

import (
	"slices"
	"sync"
)

// flights are the answers that are being made, so that one is made once for all who ask for it at the same time.
type flights struct {
	mu sync.Mutex
	of map[Key]*flight
}

// flight is an answer that is being made. Entry is there once done is closed; nil if the answer can not be shared.
type flight struct {
	done  chan struct{}
	entry *Entry
}

// join returns the flight of a key, and whether the caller has to make the answer and land.
func (f *flights) join(key Key) (joined *flight, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if found := f.of[key]; found != nil {
		return found, false
	}
	if f.of == nil {
		f.of = map[Key]*flight{}
	}
	made := &flight{done: make(chan struct{})}
	f.of[key] = made
	return made, true
}

func (f *flights) land(key Key, landed *flight) {
	f.mu.Lock()
	delete(f.of, key)
	f.mu.Unlock()
	close(landed.done)
}

func ascending(slots []uint32) []uint32 {
	slices.Sort(slots)
	return slices.Compact(slots)
}
