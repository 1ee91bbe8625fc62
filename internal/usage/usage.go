// Package usage counts which clients use what of the schema: "can this field go?" is then a question with an answer. Counting
// an operation takes a few look-ups and one addition, however many fields it has; what it adds up to is handed on from time to time
// to whoever keeps it. All is bounded, whatever clients send.
package usage

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Client is who asks, by its own account. One that gives no name is the zero Client.
type Client struct{ Name, Version string }

// Other stands for the clients beyond those that there is room for, and for those whose names are none.
var Other = Client{Name: "other"}

// Use says how often a client has used something of the schema, by its coordinate.
type Use struct {
	Client
	Coordinate string
	Count      int64
}

// Seen is what is kept of uses.
type Seen struct {
	Use
	FirstSeen, LastSeen time.Time // to a minute, by which uses are written
}

const (
	// MaxClients is how many clients are told apart, each version of one as a client; the rest is Other.
	MaxClients = 100

	maxName     = 64     // bytes
	maxVersion  = 32     // bytes
	maxPending  = 20_000 // pairs of client and coordinate between two writes; the rest counts as Other
	maxTouched  = 1_000  // sets with counts, before they are added up
	maxVariants = 1_000  // sets of operations with what their variables hold, that are kept
	largeSet    = 200    // coordinates; one that has more is neither kept nor waits to be added up

	every    = time.Minute
	deadline = 10 * time.Second // of a write
)

// The headers by which clients name themselves; those of Apollo go first.
var nameHeaders, versionHeaders = canonical("apollographql-client-name", "x-graphql-client-name"), canonical("apollographql-client-version", "x-graphql-client-version")

func canonical(names ...string) []string {
	for i, n := range names {
		names[i] = http.CanonicalHeaderKey(n)
	}
	return names
}

// Headers are the names of all headers by which clients name themselves.
func Headers() []string { return slices.Concat(nameHeaders, versionHeaders) }

// ClientOf returns the client that has sent headers. What is too long, or holds anything but letters, digits and some punctuation
// of ASCII, is no name.
func ClientOf(h http.Header) Client {
	name := first(h, nameHeaders)
	if name == "" {
		return Client{}
	}
	return Client{name, first(h, versionHeaders)}
}

func first(h http.Header, names []string) string {
	for _, n := range names {
		if v := h[n]; len(v) > 0 && v[0] != "" {
			return v[0]
		}
	}
	return ""
}

// proper reports whether the client may be told apart from others.
func (c Client) proper() bool {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(" ._-+/@:()", r)
	}
	return len(c.Name) <= maxName && len(c.Version) <= maxVersion && !strings.ContainsFunc(c.Name+c.Version, odd)
}

// Shown returns the client as it may be logged: Other if its name is none.
func (c Client) Shown() Client {
	if !c.proper() {
		return Other
	}
	return c
}

// Counter counts. It is safe for concurrent use. A nil one counts nothing.
type Counter struct {
	clients  atomic.Pointer[map[Client]int] // their numbers; replaced when there is another
	variants *lru.Cache[variant, *Set]

	mu      sync.Mutex
	names   []Client // by number
	touched []touched
	pending map[pair]int64
}

// The numbers of the clients that are always there.
const (
	unnamed = iota
	other
)

type touched struct {
	set    *Set
	client int
}

type pair struct {
	client     int
	coordinate string
}

type variant struct {
	of    *Set
	given string
}

// NewCounter returns a counter of nothing yet.
func NewCounter() *Counter {
	c := &Counter{names: []Client{unnamed: {}, other: Other}, pending: map[pair]int64{}}
	c.variants, _ = lru.New[variant, *Set](maxVariants) // fails for a size below one
	c.clients.Store(&map[Client]int{{}: unnamed, Other: other})
	return c
}

// Set is what an operation uses. It is safe for concurrent use. A nil one counts nothing.
type Set struct {
	counter     *Counter
	coordinates []string
	counts      [MaxClients]atomic.Int64 // by the client's number, since they were last added up
}

// Set returns the set of these coordinates, each once.
func (c *Counter) Set(coordinates []string) *Set {
	if c == nil {
		return nil
	}
	slices.Sort(coordinates)
	return &Set{counter: c, coordinates: slices.Clone(slices.Compact(coordinates))} // without the room for what came twice
}

// With returns the set with what an operation was given besides, the same one for the same.
func (s *Set) With(given []string) *Set {
	if s == nil || len(given) == 0 {
		return s
	}
	slices.Sort(given)
	given = slices.Compact(given)
	key := variant{s, strings.Join(given, " ")}
	if v, ok := s.counter.variants.Get(key); ok {
		return v
	}
	v := s.counter.Set(slices.Concat(s.coordinates, given))
	if len(v.coordinates) <= largeSet {
		s.counter.variants.Add(key, v)
	}
	return v
}

// Count counts that a client, named by its headers, has used the set once.
func (s *Set) Count(h http.Header) {
	if s == nil {
		return
	}
	client := s.counter.number(ClientOf(h))
	if s.counts[client].Add(1) == 1 {
		s.counter.touch(s, client)
	}
}

// number returns the number of a client.
func (c *Counter) number(client Client) int {
	if client.Name == "" {
		return unnamed
	}
	known := *c.clients.Load()
	if n, ok := known[client]; ok {
		return n
	}
	if len(known) == MaxClients || !client.proper() {
		return other
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known = *c.clients.Load()
	if n, ok := known[client]; ok {
		return n
	}
	if len(known) == MaxClients {
		return other
	}
	client = Client{strings.Clone(client.Name), strings.Clone(client.Version)} // perhaps parts of something longer
	more := make(map[Client]int, len(known)+1)
	for k, n := range known {
		more[k] = n
	}
	n := len(c.names)
	more[client] = n
	c.names = append(c.names, client)
	c.clients.Store(&more)
	return n
}

// touch notes that a set has begun to count for a client.
func (c *Counter) touch(s *Set, client int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.touched = append(c.touched, touched{s, client})
	if len(c.touched) >= maxTouched || len(s.coordinates) > largeSet {
		c.addUp()
	}
}

// addUp turns the counts of sets into those of coordinates.
func (c *Counter) addUp() {
	for _, t := range c.touched {
		n := t.set.counts[t.client].Swap(0)
		for _, coordinate := range t.set.coordinates {
			c.add(pair{t.client, coordinate}, n)
		}
	}
	clear(c.touched) // or the sets would be held on to
	c.touched = c.touched[:0]
}

func (c *Counter) add(p pair, n int64) {
	if _, ok := c.pending[p]; !ok && len(c.pending) >= maxPending {
		p.client = other
	}
	c.pending[p] += n
}

// Flush hands on what was counted since it was last called. What can not be written is kept for the next time.
func (c *Counter) Flush(ctx context.Context, write func(context.Context, []Use) error) error {
	c.mu.Lock()
	c.addUp()
	taken := c.pending
	c.pending = map[pair]int64{}
	uses := make([]Use, 0, len(taken))
	for p, n := range taken {
		uses = append(uses, Use{c.names[p.client], p.coordinate, n})
	}
	c.mu.Unlock()
	if len(uses) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	err := write(ctx, uses)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		for p, n := range taken {
			c.add(p, n)
		}
	}
	return err
}

// Run hands on what was counted once a minute, until ctx is done; a last [Counter.Flush] is for whoever knows that nothing is counted
// any more.
func (c *Counter) Run(ctx context.Context, write func(context.Context, []Use) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := c.Flush(ctx, write); err != nil && ctx.Err() == nil {
				slog.ErrorContext(ctx, "what clients use of the schema could not be written; it is kept for the next time", "error", err)
			}
		}
	}
}
