package graph

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/telemetry"
)

// metricsOf returns the lines about streams.
func metricsOf(m *telemetry.Metrics) string {
	out := httptest.NewRecorder()
	m.Handler().ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var lines []string
	for line := range strings.Lines(out.Body.String()) {
		if strings.HasPrefix(line, "emporium_streams_") {
			lines = append(lines, strings.TrimPrefix(line, "emporium_streams_"))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// TestStreamsOfANetwork counts the addresses of one /64 as one: whoever has one has all.
func TestStreamsOfANetwork(t *testing.T) {
	t.Parallel()
	s := NewStreams()
	s.most.address = 1
	for _, c := range []struct {
		address string
		want    error
	}{{"2001:db8::1", nil}, {"2001:db8::2", errTooMany}, {"2001:db8:0:1::1", nil}, {"192.0.2.1", nil}, {"192.0.2.2", nil}} {
		ctx := telemetry.WithRequest(t.Context(), telemetry.Request{ClientAddress: c.address})
		if _, _, err := s.enter(ctx, kindEvents, telemetry.NewMetrics()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.address, err, c.want)
		}
	}
}

// TestStreamsAreBounded enters as people at addresses, and leaves.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	s, m := NewStreams(), telemetry.NewMetrics()
	s.most = most{streams: 6, address: 3, viewer: 2}
	ada, bob := id.New(), id.New()
	visits := map[string][]*visit{}
	enter := func(name string, viewer uuid.UUID, address string, want error) {
		t.Helper()
		ctx := telemetry.WithRequest(auth.With(t.Context(), auth.Actor{ID: viewer}), telemetry.Request{ClientAddress: address})
		_, v, err := s.enter(ctx, kindEvents, m)
		if !errors.Is(err, want) {
			t.Fatalf("%s at %s: %v, want %v", name, address, err, want)
		}
		visits[name] = append(visits[name], v)
	}
	enter("nobody", uuid.Nil, "a", nil)
	enter("nobody", uuid.Nil, "a", nil)
	enter("nobody", uuid.Nil, "a", nil)
	enter("ada", ada, "a", errTooMany) // of the address
	enter("ada", ada, "b", nil)
	enter("ada", ada, "c", nil)
	enter("ada", ada, "d", errTooMany) // of hers
	enter("bob", bob, "d", nil)
	enter("carl", id.New(), "e", errTooMany) // of all
	visits["nobody"][0].leave()
	if visits["nobody"][1].of(ada) {
		t.Error("somebody who introduces herself as Ada has a third stream of hers")
	}
	if !visits["nobody"][1].of(bob) || !visits["nobody"][1].isOf(bob) {
		t.Error("somebody who introduces himself as Bob has no second stream of his")
	}
	enter("bob", bob, "e", errTooMany)
	visits["bob"][0].because(endedSlow)
	visits["bob"][0].because(endedStopping)
	visits["bob"][0].leave()
	enter("bob", bob, "e", nil)
	if got, want := metricsOf(m), `ended_total{kind="events",reason="client"} 1
ended_total{kind="events",reason="slow"} 1
open{kind="events"} 5
`; got != want {
		t.Errorf("the metrics are\n%s", got)
	}
}

// TestEndIsSpread ends 50 streams, some of which are busy, one for good: each is told at a time of its own in the first half
// of the grace, when nothing is worked at any more, and what is left at the end is cut off.
func TestEndIsSpread(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		drain, grace, within time.Duration
		stuck                bool
	}{
		"the usual":           {10 * time.Second, 20 * time.Second, 10 * time.Second, false},
		"a short grace":       {10 * time.Second, 4 * time.Second, 2 * time.Second, false},
		"a long grace":        {10 * time.Second, time.Minute, 10 * time.Second, false},
		"one that never ends": {10 * time.Second, 20 * time.Second, 10 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, m := NewStreams(), telemetry.NewMetrics()
				s.pace.drain = c.drain
				began := time.Now()
				told := make(chan time.Duration, 50)
				for i := range 50 {
					ctx, v, err := s.enter(t.Context(), kindSocket, m)
					if err != nil {
						t.Fatal(err)
					}
					go func() {
						defer v.leave()
						switch <-v.ending.Done(); {
						case i == 0 && c.stuck:
							<-ctx.Done()
							if passed := time.Since(began); passed != c.grace {
								t.Errorf("what never ends was cut off after %s", passed)
							}
						default:
							told <- time.Since(began)
						}
					}()
					if i == 1 { // works at something for as long as it is told to end at the latest
						done, ok := v.work()
						if !ok {
							t.Fatal("it can not work")
						}
						time.AfterFunc(c.within+time.Second, func() {
							if _, ok := v.work(); ok {
								t.Error("it begins something new")
							}
							done()
						})
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.grace)
				defer cancel()
				refused := time.AfterFunc(time.Nanosecond, func() {
					if _, _, err := s.enter(t.Context(), kindSocket, m); !errors.Is(err, errStopping) {
						t.Errorf("one more: %v", err)
					}
				})
				defer refused.Stop()
				s.End(ctx)
				took := time.Since(began)
				synctest.Wait()
				close(told)
				var times []time.Duration
				for at := range told {
					times = append(times, at)
				}
				slices.Sort(times)
				last := times[len(times)-1]
				times = times[:len(times)-1]
				if last != c.within+time.Second {
					t.Errorf("what works at something was told after %s", last)
				}
				if first, last := times[0], times[len(times)-1]; first > c.within/4 || last < c.within*3/4 || last > c.within {
					t.Errorf("they are told from %s to %s", first, last) // by chance once in a million
				}
				if distinct := len(slices.Compact(slices.Clone(times))); distinct < 40 {
					t.Errorf("they are told at %d times", distinct)
				}
				if want := map[bool]time.Duration{false: c.within + time.Second, true: c.grace}[c.stuck]; took != want {
					t.Errorf("it took %s, not %s", took, want)
				}
				if len(s.visits)+len(s.byAddress)+len(s.byViewer) != 0 {
					t.Error("streams are left")
				}
			})
		})
	}
}
