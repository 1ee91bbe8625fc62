package graph

import (
	"context"
	"sync"
	"time"

	"emporium/internal/auth"
)

// pass is the token by which the viewer of a stream is known. It can be renewed while operations run. It is safe for concurrent
// use.
type pass struct {
	mu    sync.Mutex
	token string    // "": it is nobody
	ends  time.Time // when the token stops to hold; zero: it does not say, or was not looked at yet
}

// show replaces the token.
func (p *pass) show(token string, ends time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.token, p.ends = token, ends
}

func (p *pass) shown() (token string, ends time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.token, p.ends
}

// seen notes when a token ends, and reports whether it is still the one that is shown.
func (p *pass) seen(token string, ends time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if token == p.token && !ends.IsZero() {
		p.ends = ends
	}
	return token == p.token
}

// nextCheck is how long the viewer can be taken for granted while nothing happens: until the token ends, or for most.
func (p *pass) nextCheck(most time.Duration) time.Duration {
	if _, ends := p.shown(); !ends.IsZero() {
		return min(most, max(time.Until(ends), 10*time.Millisecond))
	}
	return most
}

// as returns a context of the viewer of a stream, as of now.
func (s subscriptions) as(ctx context.Context, v *visit) (context.Context, error) {
	for {
		token, _ := v.shown()
		if token == "" {
			return ctx, nil
		}
		actor, ends, err := s.identify(ctx, token)
		if v.seen(token, ends) || err == nil {
			return auth.With(ctx, actor), err
		}
	}
}

// renew replaces the token of a stream with a fresh one of the same viewer. The error is Unauthenticated if it is none.
func (s subscriptions) renew(ctx context.Context, v *visit, token string) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	actor, ends, err := s.identify(ctx, token)
	switch {
	case err != nil:
		return err
	case !v.isOf(actor.ID):
		return errOtherViewer
	}
	v.show(token, ends)
	return nil
}
