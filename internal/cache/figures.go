package cache

import (
	"strconv"
	"time"
)

// Size returns how many answers this process keeps, and what they take in bytes, about.
func (c *Cache) Size() (entries int, bytes uint64) {
	return c.local.EstimatedSize(), c.local.WeightedSize()
}

// Followed is how a database is followed.
type Followed struct {
	Database string // its domains
	// Lag is the time since all was known to be applied that had been committed by then. That is found out several times a
	// second, so up to 0.4 s is usual.
	Lag    time.Duration
	Leased bool // what is kept may be used
}

// Follows says how each database is followed. It is safe for concurrent use, and does no I/O.
func (c *Cache) Follows() []Followed {
	all, now := make([]Followed, len(c.followers)), now()
	for i, f := range c.followers {
		all[i] = Followed{f.Name, time.Duration(now - f.caught.Load()), f.leased(now)}
	}
	return all
}

// KeyOfAll is the surrogate key that every answer has.
const KeyOfAll = "all"

// slotAll is the slot whose number would be written as KeyOfAll.
const slotAll = (10*36+21)*36 + 21

// AppendSurrogateKey appends the surrogate key of a slot, as caches in front of the server know it: its number to the base
// of 36.
func AppendSurrogateKey(b []byte, slot uint32) []byte {
	if slot == slotAll {
		b = append(b, '0')
	}
	return strconv.AppendUint(b, uint64(slot), 36)
}
