package cache

import "context"

// Fetch returns what Redis keeps under a key that this process does not (see Lookup), if it is true now. Of those who ask at
// once one asks Redis, for all of them.
func (c *Cache) Fetch(ctx context.Context, key Key, private bool) (*Entry, bool) {
	if c.o.Remote == nil || !c.Ready() {
		return nil, false
	}
	flight, mine := c.fetches.join(key)
	if mine {
		defer c.fetches.land(key, flight)
		if flight.entry = c.fromRemote(ctx, key, private); flight.entry == nil {
			return nil, false
		}
		c.o.Observe.Lookup(Remote)
		return flight.entry, true
	}
	select {
	case <-flight.done:
	case <-ctx.Done():
		return nil, false
	}
	if e := flight.entry; e != nil && c.Ready() && c.fresh(e) {
		c.o.Observe.Lookup(Shared)
		return e, true
	}
	return nil, false
}

type fetchedKey struct{}

// Fetched returns a context for a Get after a Fetch that has found nothing, so that Redis is not asked again.
func Fetched(ctx context.Context) context.Context {
	return context.WithValue(ctx, fetchedKey{}, true)
}

func wasFetched(ctx context.Context) bool { return ctx.Value(fetchedKey{}) != nil }
