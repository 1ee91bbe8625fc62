package provider

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/google/uuid"
)

// Options are how patient a Guarded is. The zero value is for production.
type Options struct {
	Deadline time.Duration // of each try; 8 s
	Tries    int           // of each call, with the same key; 3
	Backoff  time.Duration // before the second try, doubled before each next, more or less a quarter; 200 ms

	// The circuit opens when there were at least so many calls within 30 seconds, and half of them or more failed; 5.
	Failures int
	Pause    time.Duration // how long it stays open before a single call tries again; 10 s
}

// Guarded is a provider that is asked with deadlines and retries, and not at all while it fails.
type Guarded struct {
	provider Provider
	deadline time.Duration
	tries    failsafe.Executor[any]
	breaker  circuitbreaker.CircuitBreaker[any]
}

// Resilient guards a provider. A call ends with the caller's context at the latest; without a deadline of its own it can
// take Tries times the Deadline. An error's Unknown is that of all its tries together.
func Resilient(p Provider, o Options) *Guarded {
	if o.Deadline == 0 {
		o.Deadline = 8 * time.Second
	}
	if o.Tries == 0 {
		o.Tries = 3
	}
	if o.Backoff == 0 {
		o.Backoff = 200 * time.Millisecond
	}
	if o.Failures == 0 {
		o.Failures = 5
	}
	if o.Pause == 0 {
		o.Pause = 10 * time.Second
	}
	breaker := circuitbreaker.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool { return failing(err) }).
		WithFailureRateThreshold(0.5, uint(o.Failures), 30*time.Second).
		WithDelay(o.Pause).
		WithSuccessThreshold(1).
		Build()
	retry := retrypolicy.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool { return IsTemporary(err) }).
		WithMaxAttempts(o.Tries).
		WithBackoff(o.Backoff, 16*o.Backoff).
		WithJitterFactor(0.25).
		ReturnLastFailure().
		Build()
	return &Guarded{provider: p, deadline: o.Deadline, tries: failsafe.With(retry, breaker), breaker: breaker}
}

// failing reports whether an error shows that the provider does not work. That a caller left, or that the same key is
// being worked on, does not.
func failing(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Temporary && e.Code != CodeCanceled && e.Code != CodeInProgress
}

// Circuit is the state of the breaker.
type Circuit string

const (
	CircuitClosed   Circuit = "closed" // calls pass
	CircuitHalfOpen Circuit = "half_open"
	CircuitOpen     Circuit = "open" // calls fail at once
)

// Circuit returns the state of the breaker, for metrics.
func (g *Guarded) Circuit() Circuit {
	switch g.breaker.State() {
	case circuitbreaker.OpenState:
		return CircuitOpen
	case circuitbreaker.HalfOpenState:
		return CircuitHalfOpen
	default:
		return CircuitClosed
	}
}

// do calls until it succeeds, is refused, or has been tried often enough.
func (g *Guarded) do(ctx context.Context, call func(context.Context) error) error {
	var last *Error
	unknown := false
	err := g.tries.WithContext(ctx).Run(func() error {
		ctx, cancel := context.WithTimeout(ctx, g.deadline)
		defer cancel()
		err := call(ctx)
		if err == nil {
			return nil
		}
		last = nil
		if !errors.As(err, &last) {
			last = &Error{Code: CodeUnavailable, Unknown: true, Err: err}
		}
		unknown = unknown || last.Unknown
		return last
	})
	if err == nil {
		return nil
	}
	// A refusal is about the key, so it tells of the tries before as well.
	refused := last != nil && !last.Temporary && !last.Unknown
	var e *Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, circuitbreaker.ErrOpen):
		e = &Error{Code: CodeCircuitOpen, Temporary: true, Err: err}
	case last != nil: // the caller's time was over while waiting for another try
		e = last
	default: // … and before the first
		e = Lost(err)
		e.Unknown = false
	}
	if e.Unknown == unknown || refused {
		return e
	}
	whole := *e
	whole.Unknown = unknown
	return &whole
}

// Name implements Provider.
func (g *Guarded) Name() string { return g.provider.Name() }

// Capabilities implements Provider.
func (g *Guarded) Capabilities() Capabilities { return g.provider.Capabilities() }

// Authorize implements Provider.
func (g *Guarded) Authorize(ctx context.Context, r AuthorizeRequest) (s State, err error) {
	err = g.do(ctx, func(ctx context.Context) (err error) { s, err = g.provider.Authorize(ctx, r); return err })
	return s, err
}

// Capture implements Provider.
func (g *Guarded) Capture(ctx context.Context, r CaptureRequest) (s State, err error) {
	err = g.do(ctx, func(ctx context.Context) (err error) { s, err = g.provider.Capture(ctx, r); return err })
	return s, err
}

// Void implements Provider.
func (g *Guarded) Void(ctx context.Context, r VoidRequest) (s State, err error) {
	err = g.do(ctx, func(ctx context.Context) (err error) { s, err = g.provider.Void(ctx, r); return err })
	return s, err
}

// Refund implements Provider.
func (g *Guarded) Refund(ctx context.Context, r RefundRequest) (s State, err error) {
	err = g.do(ctx, func(ctx context.Context) (err error) { s, err = g.provider.Refund(ctx, r); return err })
	return s, err
}

// Find implements Provider.
func (g *Guarded) Find(ctx context.Context, paymentID uuid.UUID, reference string) (s State, found bool, err error) {
	err = g.do(ctx, func(ctx context.Context) (err error) {
		s, found, err = g.provider.Find(ctx, paymentID, reference)
		return err
	})
	return s, found, err
}

// Since implements Provider.
func (g *Guarded) Since(ctx context.Context, from time.Time, cursor string) (states []State, next string, err error) {
	err = g.do(ctx, func(ctx context.Context) (err error) {
		states, next, err = g.provider.Since(ctx, from, cursor)
		return err
	})
	return states, next, err
}

// ParseWebhook implements Provider.
func (g *Guarded) ParseWebhook(header http.Header, body []byte, now time.Time) (Event, error) {
	return g.provider.ParseWebhook(header, body, now)
}
