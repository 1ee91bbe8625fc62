package payment_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/payment/provider"
	"emporium/internal/payment/testprovider"
)

// between is the provider with something that happens around a call.
type between struct {
	provider.Provider
	authorize func(call func() (provider.State, error)) (provider.State, error)
	capture   func(call func() (provider.State, error)) (provider.State, error)
}

func (b between) Authorize(ctx context.Context, r provider.AuthorizeRequest) (provider.State, error) {
	call := func() (provider.State, error) { return b.Provider.Authorize(ctx, r) }
	if b.authorize == nil {
		return call()
	}
	return b.authorize(call)
}

func (b between) Capture(ctx context.Context, r provider.CaptureRequest) (provider.State, error) {
	call := func() (provider.State, error) { return b.Provider.Capture(ctx, r) }
	if b.capture == nil {
		return call()
	}
	return b.capture(call)
}

// TestTwentyAtOnce lets twenty captures, refunds and voids of one payment race, in many rounds, while the provider's
// webhooks come late, twice and out of order: the ledger is that of the provider's books, and the shop never commanded more
// than there was.
func TestTwentyAtOnce(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	x.webhooks(1, 20*time.Millisecond)
	x.work()
	for round := range 6 {
		r := request("card_ok", 10000)
		x.authorize(r, order.PaymentPromised)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for range 20 {
			what, cents := rand.IntN(8), 1+rand.IntN(4000)
			amount := decimal(t, fmt.Sprintf("%d.%02d", cents/100, cents%100))
			wg.Go(func() {
				<-start
				var err error
				ctx := manager(t.Context())
				switch {
				case what < 4:
					_, err = x.Capture(ctx, payment.CaptureInput{PaymentID: globalID(r), Amount: amount}, uuid.NewString())
				case what < 7:
					_, err = x.Refund(ctx, payment.RefundInput{PaymentID: globalID(r), Amount: amount, Reason: payment.RefundOther}, uuid.NewString())
				default:
					_, err = x.Void(ctx, payment.VoidInput{PaymentID: globalID(r)}, uuid.NewString())
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		x.until("every command is finished", func() bool {
			return x.rows(t, "SELECT count(*)::text FROM payments.commands WHERE status = 'PENDING'")[0] == "0"
		})
		st := x.agree(r)
		if st.Captured > 10000 || st.Refunded > st.Captured || st.Captured+st.Voided > st.Authorized {
			t.Errorf("round %d: the books say %+v", round, st)
		}
		// What was commanded is what was done: nothing was given back that was not refused.
		commanded := x.rows(t, `SELECT concat_ws(' ', p.capture_commanded, p.refund_commanded,
			coalesce(sum(c.amount) FILTER (WHERE c.kind = 'CAPTURE' AND c.status = 'SUCCEEDED'), 0),
			coalesce(sum(c.amount) FILTER (WHERE c.kind = 'REFUND' AND c.status = 'SUCCEEDED'), 0))
			FROM payments.payments p LEFT JOIN payments.commands c ON c.owner_id = p.owner_id AND c.payment_id = p.id
			WHERE p.id = $1 GROUP BY p.owner_id, p.id`, r.PaymentID)[0]
		if want := fmt.Sprint(st.Captured, st.Refunded, st.Captured, st.Refunded); commanded != want {
			t.Errorf("round %d: commanded %s, want %s", round, commanded, want)
		}
	}
}

// TestAuthorizeAtOnce begins one payment many times, and another one of the same order: the provider has one.
func TestAuthorizeAtOnce(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	for range 5 {
		r := request("card_ok", 5000)
		other := r
		other.PaymentID = id.New()
		var promised, conflicts atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				r := r
				if i%2 == 1 {
					r = other
				}
				got, err := x.Authorize(t.Context(), r)
				switch {
				case err == nil && got.State == order.PaymentPromised:
					promised.Add(1)
				case fault.Is(err, fault.Conflict):
					conflicts.Add(1)
				case !provider.IsTemporary(err): // the same key is being worked on
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
		wg.Wait()
		if promised.Load() == 0 || conflicts.Load() != 10 {
			t.Errorf("%d promised, %d conflicts", promised.Load(), conflicts.Load())
		}
		if rows := x.rows(t, "SELECT status FROM payments.payments WHERE order_id = $1", r.Order.ID); len(rows) != 1 || rows[0] != "AUTHORIZED" {
			t.Errorf("payments of the order: %v", rows)
		}
	}
	books, err := x.client.Books(t.Context())
	if err != nil || len(books.Payments) != 5 {
		t.Errorf("the provider has %d payments, %v", len(books.Payments), err)
	}
}

// TestWebhookBeforeTheAnswer lets the answer of a call wait until the webhook about the same was applied.
func TestWebhookBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	var x *till
	x = newTill(t, func(c *payment.Config) {
		c.Providers["test"] = between{Provider: c.Providers["test"], authorize: func(call func() (provider.State, error)) (provider.State, error) {
			st, err := call()
			x.until("the webhook is applied", func() bool {
				return len(x.rows(t, "SELECT event_id FROM payments.inbox WHERE outcome = 'APPLIED'")) == 1
			})
			return st, err
		}}
	})
	x.webhooks(0, 0)
	x.work()
	r := request("card_ok", 5000)
	x.authorize(r, order.PaymentPromised)
	if kinds := x.kinds(r); len(kinds) != 1 || kinds[0] != payment.EventAuthorized {
		t.Errorf("the ledger is %v", kinds)
	}
	x.agree(r)
}

// TestThreeDeliveries delivers one message three times at once, and then again: it is stored once and applied once.
func TestThreeDeliveries(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	sent := x.catch()
	// The customer confirms: the shop has not heard of that.
	r := request("card_action", 5000)
	x.authorize(r, order.PaymentActionRequired)
	<-sent
	x.approve(r)
	d := <-sent
	deliver := func() {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if status, _ := x.send("/webhooks/test", d.header, d.body); status != http.StatusOK {
					t.Errorf("it was answered %d", status)
				}
			})
		}
		wg.Wait()
	}
	deliver()
	if rows := x.rows(t, "SELECT event_id FROM payments.inbox"); len(rows) != 1 {
		t.Fatalf("%d messages were stored", len(rows))
	}
	if rows := x.rows(t, "SELECT kind FROM payments.river_job WHERE kind = 'payments.inbox'"); len(rows) != 1 {
		t.Errorf("%d jobs", len(rows))
	}
	x.work()
	x.until("the message is applied", func() bool {
		return len(x.rows(t, "SELECT event_id FROM payments.inbox WHERE outcome = 'APPLIED'")) == 1
	})
	deliver()
	if rows := x.rows(t, "SELECT kind FROM payments.river_job WHERE kind = 'payments.inbox'"); len(rows) != 1 {
		t.Errorf("%d jobs", len(rows))
	}
	if kinds := x.kinds(r); len(kinds) != 2 {
		t.Errorf("the ledger is %v", kinds)
	}
	x.agree(r)
}

// TestReleaseAgainstCapture lets a capture race with the release of the order: whichever is first, the shop keeps nothing.
func TestReleaseAgainstCapture(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	captured := 0
	for range 15 {
		r := request("card_ok", 5000)
		x.authorize(r, order.PaymentPromised)
		var wg sync.WaitGroup
		var p *payment.CapturePayload
		start := make(chan struct{})
		wg.Go(func() {
			<-start
			time.Sleep(time.Duration(rand.IntN(6)) * time.Millisecond) // so that each is first at times
			p = x.capture(r, "")
		})
		for range 2 {
			wg.Go(func() {
				<-start
				for err := errors.New("not yet"); err != nil; { // as the order's job does
					err = x.Release(t.Context(), r.Order, true)
				}
			})
		}
		close(start)
		wg.Wait()
		st := x.agree(r)
		if st.Captured != st.Refunded || st.Captured+st.Voided != st.Authorized {
			t.Errorf("the shop keeps something: %+v", st)
		}
		if st.Captured > 0 {
			captured++
		} else if p.CommandKey != nil {
			t.Errorf("a capture was commanded that never was: %+v", p)
		}
		if late := x.capture(r, ""); late.CommandKey != nil || len(late.UserErrors) != 1 {
			t.Errorf("it was captured later: %+v", late)
		}
	}
	t.Logf("%d of 15 were captured and refunded", captured)
}

// TestProviderDownAndBack captures while the provider is down: the command stays pending, the circuit opens, and a job
// goes on once the provider is back.
func TestProviderDownAndBack(t *testing.T) {
	t.Parallel()
	addr, books := freePort(t), filepath.Join(t.TempDir(), "books")
	url, stop := startProvider(t, books, addr)
	var guarded *provider.Guarded
	var client *testprovider.Client
	x := newTill(t, func(c *payment.Config) {
		client = testprovider.NewClient(url, apiKey, secret)
		guarded = provider.Resilient(client, provider.Options{Deadline: time.Second, Tries: 2,
			Backoff: time.Millisecond, Failures: 2, Pause: 100 * time.Millisecond})
		c.Providers["test"] = guarded
	})
	x.client = client
	r := request("card_ok", 5000)
	x.authorize(r, order.PaymentPromised)
	client.Close()
	stop()
	if _, err := x.Authorize(t.Context(), request("card_ok", 100)); err == nil || !provider.IsTemporary(err) {
		t.Errorf("asking a provider that is down: %v", err)
	}
	x.capture(r, "")
	if c := x.commands(r)[0]; c.Status != payment.CommandPending || c.Failure != nil {
		t.Errorf("%+v", c)
	}
	if got := guarded.Circuit(); got != provider.CircuitOpen {
		t.Errorf("the circuit is %s", got)
	}
	if err := x.Release(t.Context(), r.Order, true); err == nil {
		t.Error("it was released by a provider that is down")
	}
	startProvider(t, books, addr)
	t.Cleanup(client.Close)
	x.work()
	x.until("the capture is done", func() bool { return x.commands(r)[0].Status == payment.CommandSucceeded })
	x.until("the order is released", func() bool { return x.Release(t.Context(), r.Order, true) == nil })
	if st := x.agree(r); st.Captured != 5000 || st.Refunded != 5000 {
		t.Errorf("%+v", st)
	}
}
