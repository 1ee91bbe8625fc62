package cache

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// Entry is an answer that is kept. It is not changed once it is made.
type Entry struct {
	Body []byte    // of the answer
	Made time.Time // when the reading of it began
	Ends time.Time // when it is too old, whether something has changed or not

	sources  []source
	etag     atomic.Pointer[string]
	variants [len(encodings)]atomic.Pointer[[]byte]
}

// source is what an answer was read from.
type source struct {
	follower int
	mark     mark
	slots    []uint32 // ascending
}

// Tags returns numbers for what the answer was made of: of any two answers that a change would void both, they share one.
// They are the same in all processes.
func (e *Entry) Tags() []uint32 {
	var all []uint32
	for _, s := range e.sources {
		all = append(all, s.slots...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// size is what an entry takes, in bytes, about.
func (e *Entry) size() int {
	size := 300 + len(e.Body)
	if len(e.Body) >= minCompressed {
		size += len(e.Body) / 2 // for its compressed forms, whether they are asked for or not
	}
	for _, s := range e.sources {
		size += 64 + 4*len(s.slots)
	}
	return size
}

// version is the first byte of an entry in Redis.
type version byte

const (
	followed version = 1
	byAge    version = 2 // whose sources are not noted: who follows them must not take it for one that has none
)

// encode writes an entry for Redis.
func (e *Entry) encode(v version) []byte {
	b := make([]byte, 0, 64+len(e.Body)+e.size()/2)
	b = append(b, byte(v))
	b = binary.AppendVarint(b, e.Made.UnixMicro())
	b = binary.AppendVarint(b, e.Ends.UnixMicro())
	b = binary.AppendUvarint(b, uint64(len(e.sources)))
	for _, s := range e.sources {
		b = binary.AppendUvarint(b, uint64(s.follower))
		b = binary.AppendUvarint(b, s.mark.epoch)
		b = binary.AppendUvarint(b, s.mark.at)
		b = binary.AppendUvarint(b, uint64(len(s.slots)))
		last := uint32(0)
		for _, slot := range s.slots {
			b = binary.AppendUvarint(b, uint64(slot-last))
			last = slot
		}
	}
	return append(b, e.Body...)
}

var errEntry = errors.New("not an entry of this version")

// decodeEntry reads what encode has written in a version, for so many followers. The body is a part of b.
func decodeEntry(b []byte, v version, followers int) (*Entry, error) {
	if len(b) == 0 || version(b[0]) != v {
		return nil, errEntry
	}
	r := reader{b: b[1:]}
	e := &Entry{Made: time.UnixMicro(r.signed()), Ends: time.UnixMicro(r.signed())}
	count := r.number(uint64(followers))
	for range count {
		s := source{follower: int(r.number(uint64(followers) - 1)), mark: mark{epoch: r.number(1<<64 - 1), at: r.number(1<<64 - 1)}}
		n, slot := r.number(uint64(len(r.b))), uint64(0)
		if r.failed {
			return nil, errEntry
		}
		s.slots = make([]uint32, 0, n)
		for range n {
			if slot += r.number(slots - 1); slot >= slots {
				return nil, errEntry
			}
			s.slots = append(s.slots, uint32(slot))
		}
		e.sources = append(e.sources, s)
	}
	if r.failed {
		return nil, errEntry
	}
	e.Body = r.b
	return e, nil
}

// reader reads numbers.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) number(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) signed() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return v
}
