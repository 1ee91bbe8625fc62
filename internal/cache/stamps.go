package cache

import (
	"sync/atomic"

	"emporium/internal/postgres"
)

// slots is how many stamps are told apart. Tags that share a slot void too much, never too little.
const slots = 1 << 20

// stamps say for each tag at which position of the log something of it was changed last. One goroutine writes, any
// number read: 8 MB, without a lock.
type stamps [slots]atomic.Uint64

func slotOf(t postgres.Tag) uint32 { return uint32(t) & (slots - 1) }

// put stamps a slot with a position that is no earlier than those before it.
func (s *stamps) put(slot uint32, at uint64) { s[slot].Store(at) }

// newer reports whether one of the slots was stamped after a position.
func (s *stamps) newer(of []uint32, than uint64) bool {
	for _, slot := range of {
		if s[slot].Load() > than {
			return true
		}
	}
	return false
}

func (s *stamps) clear() {
	for i := range s {
		s[i].Store(0)
	}
}
