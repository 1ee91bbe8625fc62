// Package cdn tells a cache in front of the server which of the answers it keeps are no longer true, by their surrogate
// keys.
package cdn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options.
const (
	DefaultBatch   = 100 * time.Millisecond
	DefaultKeys    = 250
	DefaultPending = 20_000
	DefaultTimeout = 5 * time.Second
	DefaultAgain   = 2 * time.Second
)

const (
	firstPause = 100 * time.Millisecond // before a request that has failed is sent again
	mostPause  = 10 * time.Second
)

// Options say whom to tell, and how much may wait. Zeros stand for the defaults.
type Options struct {
	URL     string // gets a POST with the keys in Surrogate-Key
	Token   string // secret: sent as `Authorization: Bearer TOKEN`, or `NAME: VALUE` as a header of that name
	All     string // the key that every answer has
	Append  func(b []byte, slot uint32) []byte
	Barrier func(context.Context) error // returns once no process gives an old answer away; nil: none does
	Batch   time.Duration               // for which changes are collected
	Keys    int                         // in one request
	Pending int                         // keys that wait; more become All
	Timeout time.Duration               // of one request
	Again   time.Duration               // after which a key is purged once more
	Observe func(err error)             // hears of each request; nil: nobody does
	Log     *slog.Logger
}

// Check says what is wrong with a URL or a token. The error quotes neither.
func Check(address, token string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("is not an http or https URL")
	}
	name, value, named := strings.Cut(token, ": ")
	if !named {
		name, value = "Authorization", token
	}
	if strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || name == "" ||
		strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("has a token that is neither a text nor of the form `NAME: VALUE` of a header")
	}
	return nil
}

// Purger collects keys and sends them. It is safe for concurrent use.
//
// Each key is sent twice: soon after its change, and again after Options.Again, because an answer from before the change can
// still be on its way to the cache when it is first told. Several processes may send the same keys: that costs requests
// and nothing else.
type Purger struct {
	o      Options
	client http.Client
	wake   chan struct{}

	everything atomic.Bool // All waits, so single keys need not
	mu         sync.Mutex
	pending    map[uint32]bool // keys that wait, and whether they have to be sent again later
	later      []wave          // in the order of their times
	waiting    int             // keys in later
}

// wave is what is to be sent again.
type wave struct {
	at   time.Time
	keys []uint32 // nil: All
}

// New returns a Purger, which sends nothing until Run runs. It does no I/O.
func New(o Options) *Purger {
	if o.Batch <= 0 {
		o.Batch = DefaultBatch
	}
	if o.Keys <= 0 {
		o.Keys = DefaultKeys
	}
	if o.Pending <= 0 {
		o.Pending = DefaultPending
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Again <= 0 {
		o.Again = DefaultAgain
	}
	if o.Observe == nil {
		o.Observe = func(error) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Purger{o: o, wake: make(chan struct{}, 1), pending: map[uint32]bool{},
		// The token goes to nobody but the URL's host.
		client: http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Changed notes that what has the key of a slot is void. It does not wait for anything.
func (p *Purger) Changed(slot uint32) {
	if p.everything.Load() {
		return // a bulk load; what is noted before a request is made goes with it
	}
	p.mu.Lock()
	if p.pending[slot] = true; len(p.pending) > p.o.Pending {
		p.all()
	}
	p.mu.Unlock()
	p.rouse()
}

// All notes that everything is void.
func (p *Purger) All() {
	p.mu.Lock()
	p.all()
	p.mu.Unlock()
	p.rouse()
}

func (p *Purger) all() {
	clear(p.pending)
	p.later, p.waiting = nil, 0 // what they are about goes with it, and again with its second time
	p.everything.Store(true)
}

// Pending returns how many keys wait to be sent for the first time; All counts as one.
func (p *Purger) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.everything.Load() {
		return 1
	}
	return len(p.pending)
}

func (p *Purger) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// batch is what is sent at once.
type batch struct {
	all  bool
	keys []uint32
	once []bool // which of them need not be sent again
	last bool   // nothing of it does
}

// take returns what waits, at most as much as a request holds. Nothing that waits is told of only in part: what changes
// after it was taken waits anew.
func (p *Purger) take() (b batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.everything.Swap(false) {
		clear(p.pending)
		return batch{all: true}
	}
	for slot, again := range p.pending {
		if len(b.keys) == p.o.Keys {
			break
		}
		b.keys, b.once = append(b.keys, slot), append(b.once, !again)
		delete(p.pending, slot)
	}
	return b
}

// sent notes what has to be sent again.
func (p *Purger) sent(b batch, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := wave{at: at}
	for i, slot := range b.keys {
		if !b.once[i] {
			w.keys = append(w.keys, slot)
		}
	}
	switch {
	case b.last || !b.all && len(w.keys) == 0:
		return
	case b.all || p.waiting+len(w.keys) > p.o.Pending:
		p.later, p.waiting = []wave{{at: at}}, 0
	default:
		p.later, p.waiting = append(p.later, w), p.waiting+len(w.keys)
	}
}

// due makes what has to be sent again wait once more, and returns when the next of it does. All is true if that is
// everything.
func (p *Purger) due(now time.Time) (all bool, next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.later) > 0 && !p.later[0].at.After(now) {
		w := p.later[0]
		p.later, p.waiting = p.later[1:], p.waiting-len(w.keys)
		if w.keys == nil {
			all = true
			continue
		}
		for _, slot := range w.keys {
			if !p.pending[slot] {
				p.pending[slot] = false
			}
		}
	}
	if len(p.later) > 0 {
		next = p.later[0].at
	}
	return all, next
}

// Run sends what is noted until ctx is done; what still waits then is not sent, because whoever follows the changes next
// begins with All.
func (p *Purger) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
			if !pause(ctx, p.o.Batch) {
				return nil
			}
		case <-timer.C:
		}
		all, _ := p.due(time.Now())
		if all && !p.deliver(ctx, batch{all: true, last: true}) {
			return nil
		}
		for {
			b := p.take()
			if !b.all && len(b.keys) == 0 {
				break
			}
			if !p.deliver(ctx, b) {
				return nil
			}
			if len(b.keys) < p.o.Keys {
				break // what has come meanwhile is collected for a while, too
			}
		}
		if _, next := p.due(time.Time{}); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// deliver sends until it is accepted, and reports whether it was before ctx ended.
func (p *Purger) deliver(ctx context.Context, b batch) bool {
	if p.o.Barrier != nil {
		// Before that a cache that asks at once could be given what it has just dropped.
		if err := p.o.Barrier(ctx); err != nil && ctx.Err() == nil {
			p.o.Log.WarnContext(ctx, "purging the cache in front of the server: it is not known who follows the database; waited for as long as a lease lasts", "error", err)
		}
	}
	keys := p.o.All
	if !b.all {
		text := make([]byte, 0, 6*len(b.keys))
		for i, slot := range b.keys {
			if i > 0 {
				text = append(text, ' ')
			}
			text = p.o.Append(text, slot)
		}
		keys = string(text)
	}
	told := false
	for wait := firstPause; ; wait = min(2*wait, mostPause) {
		err := p.post(ctx, keys)
		if ctx.Err() != nil {
			return false
		}
		p.o.Observe(err)
		if err == nil {
			if told {
				p.o.Log.InfoContext(ctx, "the cache in front of the server takes purges again")
			}
			p.sent(b, time.Now().Add(p.o.Again))
			return true
		}
		if !told {
			told = true
			p.o.Log.WarnContext(ctx, "the cache in front of the server was not told of changes, and may give old answers; trying again", "error", err)
		}
		if !pause(ctx, wait) {
			return false
		}
	}
}

func (p *Purger) post(ctx context.Context, keys string) error {
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.o.URL, nil)
	if err != nil {
		return errors.New("the address can not be parsed")
	}
	r.Header.Set("Surrogate-Key", keys)
	switch name, value, named := strings.Cut(p.o.Token, ": "); {
	case named:
		r.Header.Set(name, value)
	case p.o.Token != "":
		r.Header.Set("Authorization", "Bearer "+p.o.Token)
	}
	response, err := p.client.Do(r)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err // without the address, which may hold a secret
		}
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection is used again
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
