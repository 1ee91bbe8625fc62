package provider_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"emporium/internal/payment/provider"
)

// script is a provider whose answers are given, one for each try of a capture.
type script struct {
	provider.Provider
	answers []func(ctx context.Context) error
	keys    map[uuid.UUID]int
}

func (s *script) Capture(ctx context.Context, r provider.CaptureRequest) (provider.State, error) {
	if s.keys == nil {
		s.keys = map[uuid.UUID]int{}
	}
	s.keys[r.CommandID]++
	next := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	return provider.State{Reference: r.Reference}, next(ctx)
}

func with(err error) func(context.Context) error { return func(context.Context) error { return err } }

func hang(ctx context.Context) error { <-ctx.Done(); return provider.Lost(ctx.Err()) }

var (
	down    = with(provider.Refused(http.StatusServiceUnavailable, errors.New("down")))
	busy    = with(provider.Refused(http.StatusTooManyRequests, errors.New("busy")))
	refused = with(&provider.Error{Code: provider.CodeNotCapturable})
	fine    = with(nil)
)

func TestTries(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers []func(context.Context) error
		limit   time.Duration // of the caller
		tries   int
		within  time.Duration
		want    *provider.Error
	}{
		"at once":             {[]func(context.Context) error{fine}, 0, 1, 0, nil},
		"the second time":     {[]func(context.Context) error{down, fine}, 0, 2, 300 * time.Millisecond, nil},
		"after no answer":     {[]func(context.Context) error{hang, fine}, 0, 2, 9 * time.Second, nil},
		"never":               {[]func(context.Context) error{down}, 0, 3, time.Second, &provider.Error{Code: provider.CodeUnavailable, Temporary: true, Unknown: true}},
		"refused":             {[]func(context.Context) error{refused}, 0, 1, 0, &provider.Error{Code: provider.CodeNotCapturable}},
		"refused in the end":  {[]func(context.Context) error{down, refused}, 0, 2, time.Second, &provider.Error{Code: provider.CodeNotCapturable}},
		"too busy":            {[]func(context.Context) error{busy}, 0, 3, time.Second, &provider.Error{Code: provider.CodeRateLimited, Temporary: true}},
		"unknown, then busy":  {[]func(context.Context) error{down, busy}, 0, 3, time.Second, &provider.Error{Code: provider.CodeRateLimited, Temporary: true, Unknown: true}},
		"the caller's time":   {[]func(context.Context) error{hang}, time.Second, 1, time.Second, &provider.Error{Code: provider.CodeTimeout, Temporary: true, Unknown: true}},
		"between two tries":   {[]func(context.Context) error{busy}, 100 * time.Millisecond, 1, 100 * time.Millisecond, &provider.Error{Code: provider.CodeRateLimited, Temporary: true}},
		"an error of its own": {[]func(context.Context) error{with(errors.New("odd"))}, 0, 1, 0, &provider.Error{Code: provider.CodeUnavailable, Unknown: true}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers}
				g := provider.Resilient(s, provider.Options{})
				ctx, cancel := context.WithCancel(t.Context())
				if c.limit != 0 {
					ctx, cancel = context.WithTimeout(ctx, c.limit)
				}
				defer cancel()
				began, key := time.Now(), uuid.New()
				state, err := g.Capture(ctx, provider.CaptureRequest{Reference: "r", CommandID: key})
				var e *provider.Error
				switch {
				case c.want == nil:
					if err != nil || state.Reference != "r" {
						t.Errorf("%+v, %v", state, err)
					}
				case !errors.As(err, &e) || e.Code != c.want.Code || e.Temporary != c.want.Temporary || e.Unknown != c.want.Unknown:
					t.Errorf("%#v, %v; want %+v", e, err, c.want)
				}
				if took := time.Since(began); s.keys[key] != c.tries || len(s.keys) != 1 || took > c.within {
					t.Errorf("tries %v in %s; want %d in %s", s.keys, took, c.tries, c.within)
				}
			})
		})
	}
}

func TestCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(context.Context) error{down}}
		g := provider.Resilient(s, provider.Options{})
		call := func() error {
			_, err := g.Capture(t.Context(), provider.CaptureRequest{CommandID: uuid.Nil})
			return err
		}
		if g.Circuit() != provider.CircuitClosed {
			t.Fatal(g.Circuit())
		}
		for range 2 {
			if err := call(); !provider.IsTemporary(err) {
				t.Fatal(err)
			}
		}
		tries := s.keys[uuid.Nil]
		if g.Circuit() != provider.CircuitOpen || tries != 5 {
			t.Fatalf("%s after %d tries", g.Circuit(), tries)
		}
		began := time.Now()
		err := call()
		if provider.CodeOf(err) != provider.CodeCircuitOpen || !provider.IsTemporary(err) || provider.IsUnknown(err) ||
			time.Since(began) != 0 || s.keys[uuid.Nil] != tries {
			t.Fatalf("open: %v after %s, %d tries", err, time.Since(began), s.keys[uuid.Nil])
		}
		time.Sleep(11 * time.Second)
		if err := call(); !provider.IsTemporary(err) || s.keys[uuid.Nil] != tries+1 || g.Circuit() != provider.CircuitOpen {
			t.Fatalf("one call tries: %v, %d tries, %s", err, s.keys[uuid.Nil]-tries, g.Circuit())
		}
		time.Sleep(11 * time.Second)
		s.answers = []func(context.Context) error{fine}
		if err := call(); err != nil || g.Circuit() != provider.CircuitClosed {
			t.Fatalf("works again: %v, %s", err, g.Circuit())
		}

		// What says nothing against the provider does not open it.
		for _, answer := range []func(context.Context) error{refused, with(provider.Lost(context.Canceled)),
			with(provider.Refused(http.StatusConflict, nil))} {
			s.answers = []func(context.Context) error{answer}
			for range 20 {
				_ = call()
			}
			if g.Circuit() != provider.CircuitClosed {
				t.Fatal(g.Circuit())
			}
		}
	})
}
