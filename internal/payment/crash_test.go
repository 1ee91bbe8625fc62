package payment_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/payment/provider"
)

// errDied is what a process dies of at a point.
var errDied = errors.New("the process has died")

// process is one that dies when it comes to a point for the n-th time. The points that it comes by are counted.
type process struct {
	point string
	n     int

	mu   sync.Mutex
	seen map[string]int
}

func (p *process) at(point string) {
	p.mu.Lock()
	p.seen[point]++
	dies := point == p.point && p.seen[point] == p.n
	p.mu.Unlock()
	if dies {
		panic(errDied)
	}
}

// nowhere is a point that is never come by.
const nowhere = "nowhere"

// dying runs something that the process may die in.
func dying(t *testing.T, do func()) (died bool) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			if p != errDied { //nolint:errorlint // it is the very value
				panic(p)
			}
			died = true
		}
	}()
	do()
	return false
}

// TestDeathAtEachPoint kills the process at each point of a payment's life, before and after each commit and each call. What
// it had begun is finished by another process: by its jobs and, as far as it is the order's part, by the order that asks
// again. Nothing is moved twice, and the ledger is that of the provider's books.
func TestDeathAtEachPoint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		card string
		live func(t *testing.T, x *till, r order.PaymentRequest) // what the process does
		done func(t *testing.T, x *till, r order.PaymentRequest) bool
	}{
		"a payment that is captured and refunded": {"card_ok", func(t *testing.T, x *till, r order.PaymentRequest) {
			_, _ = x.Authorize(t.Context(), r)
			x.capture(r, "")
			x.refund(r, "20")
		}, func(_ *testing.T, x *till, r order.PaymentRequest) bool {
			return x.payment(r).Status != payment.StatusPending
		}},
		"an order that is given up after a capture": {"card_ok", func(t *testing.T, x *till, r order.PaymentRequest) {
			_, _ = x.Authorize(t.Context(), r)
			x.capture(r, "30")
			_ = x.Release(t.Context(), r.Order, true)
		}, func(t *testing.T, x *till, r order.PaymentRequest) bool {
			return x.Release(t.Context(), r.Order, true) == nil
		}},
		"an order that is given up while its payment is unknown": {"card_timeout", func(t *testing.T, x *till, r order.PaymentRequest) {
			_, _ = x.Authorize(t.Context(), r)
			_ = x.Release(t.Context(), r.Order, true)
		}, func(t *testing.T, x *till, r order.PaymentRequest) bool {
			return x.Release(t.Context(), r.Order, true) == nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A first process comes by all points and survives.
			points := lifeAndDeath(t, c.card, nowhere, 1, c.live, c.done)
			if len(points) < 8 {
				t.Errorf("there are points only at %v", points)
			}
			for _, point := range slices.Sorted(maps.Keys(points)) {
				for n := 1; n <= points[point]; n++ {
					t.Run(fmt.Sprint(point, " ", n), func(t *testing.T) { lifeAndDeath(t, c.card, point, n, c.live, c.done) })
				}
			}
		})
	}
}

func lifeAndDeath(
	t *testing.T, card, point string, n int, live func(*testing.T, *till, order.PaymentRequest), done func(*testing.T, *till, order.PaymentRequest) bool,
) map[string]int {
	t.Helper()
	p := &process{point: point, n: n, seen: map[string]int{}}
	var alive atomic.Bool // the process that comes after does not die
	x := newTill(t, func(c *payment.Config) {
		c.Providers["test"] = provider.Resilient(c.Providers["test"], provider.Options{Deadline: 300 * time.Millisecond, Tries: 1, Failures: 1000})
		c.At = func(point string) {
			if !alive.Load() {
				p.at(point)
			}
		}
	})
	r := request(card, 5000)
	died := dying(t, func() { live(t, x, r) })
	if died != (point != nowhere) {
		t.Errorf("at %s (%d) it died: %t", point, n, died)
	}
	alive.Store(true)
	x.work()
	x.until(fmt.Sprintf("what died at %s (%d) is finished", point, n), func() bool {
		// The order asks again, for as long as it was not given up.
		_, _ = x.Authorize(t.Context(), r)
		return done(t, x, r) && x.rows(t, "SELECT count(*)::text FROM payments.commands WHERE status = 'PENDING'")[0] == "0"
	})
	books, err := x.client.Books(t.Context())
	if err != nil {
		t.Error(err)
	}
	x.hasTold(r)
	if len(books.Payments) > 1 {
		t.Errorf("at %s (%d): the provider has %d payments", point, n, len(books.Payments))
	}
	if len(books.Payments) == 1 {
		st := x.agree(r)
		captures, refunds := 0, 0
		for _, op := range books.Payments[0].Operations {
			switch {
			case op.Refused != "":
				t.Errorf("at %s (%d): the provider refused %+v", point, n, op)
			case op.Kind == "capture":
				captures++
			case op.Kind == "refund":
				refunds++
			}
		}
		if captures > 1 || refunds > 1 {
			t.Errorf("at %s (%d): %d captures and %d refunds: %+v", point, n, captures, refunds, st)
		}
	}
	return p.seen
}
