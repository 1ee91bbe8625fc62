package payment_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/payment/provider"
)

// TestRelease gives orders up whose payments are in every place that they can be in: in the end the provider holds nothing
// of the shop's, asked for or not, and it stays so.
func TestRelease(t *testing.T) {
	t.Parallel()
	x := newTill(t, func(c *payment.Config) {
		c.Providers["test"] = provider.Resilient(c.Providers["test"], provider.Options{Deadline: 300 * time.Millisecond, Tries: 1, Failures: 1000})
	})
	asked := func(want order.PaymentState) func(*testing.T, order.PaymentRequest) {
		return func(_ *testing.T, r order.PaymentRequest) { x.authorize(r, want) }
	}
	captured := func(amounts ...string) func(*testing.T, order.PaymentRequest) {
		return func(_ *testing.T, r order.PaymentRequest) {
			x.authorize(r, order.PaymentPromised)
			for _, amount := range amounts {
				x.capture(r, amount)
			}
		}
	}
	for name, c := range map[string]struct {
		card   string
		before func(t *testing.T, r order.PaymentRequest)
		refund bool
		want   payment.Status
		kept   int64
		never  bool // the provider has not heard of it
	}{
		"begun and never asked": {"card_ok", func(t *testing.T, r order.PaymentRequest) {
			if err := x.Begin(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}, true, payment.StatusFailed, 0, true},
		"refused":                     {"card_declined", asked(order.PaymentRefused), true, payment.StatusFailed, 0, false},
		"the customer has to confirm": {"card_action", asked(order.PaymentActionRequired), true, payment.StatusVoided, 0, false},
		"authorized":                  {"card_ok", asked(order.PaymentPromised), true, payment.StatusVoided, 0, false},
		"authorized, no refund":       {"card_ok", asked(order.PaymentPromised), false, payment.StatusVoided, 0, false},
		"unknown, and booked": {"card_timeout", func(t *testing.T, r order.PaymentRequest) {
			if _, err := x.Authorize(t.Context(), r); err == nil || !provider.IsUnknown(err) {
				t.Fatalf("the answer came: %v", err)
			}
		}, true, payment.StatusVoided, 0, false},
		"unknown, and not booked": {"card_unavailable_once", func(t *testing.T, r order.PaymentRequest) {
			if _, err := x.Authorize(t.Context(), r); err == nil {
				t.Fatal("it was available")
			}
		}, true, payment.StatusVoided, 0, false},
		"captured":                        {"card_ok", captured(""), true, payment.StatusRefunded, 0, false},
		"captured, no refund":             {"card_ok", captured(""), false, payment.StatusCaptured, 5000, false},
		"captured in part":                {"card_ok", captured("10", "5.50"), true, payment.StatusRefunded, 0, false},
		"captured in part, no refund":     {"card_ok", captured("10"), false, payment.StatusPartiallyCaptured, 1000, false},
		"captured, the answer lost":       {"card_capture_timeout", captured(""), true, payment.StatusRefunded, 0, false},
		"captured, the refund's is lost":  {"card_refund_timeout", captured(""), true, payment.StatusRefunded, 0, false},
		"captured, the refund takes time": {"card_refund_pending", captured(""), true, payment.StatusRefunded, 0, false},
		"the capture is refused":          {"card_capture_fails", captured(""), true, payment.StatusVoided, 0, false},
		"refunded in part already": {"card_ok", func(t *testing.T, r order.PaymentRequest) {
			captured("")(t, r)
			x.refund(r, "12.34")
		}, true, payment.StatusRefunded, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request(c.card, 5000)
			c.before(t, r)
			for began := time.Now(); ; { // as the order's job does
				err := x.Release(t.Context(), r.Order, c.refund)
				if err == nil {
					break
				}
				if time.Since(began) > 20*time.Second {
					t.Fatal(err)
				}
			}
			check := func() {
				t.Helper()
				if p := x.payment(r); p.Status != c.want {
					t.Errorf("it is %s, want %s", p.Status, c.want)
				}
				if c.never {
					if _, found, err := x.client.Find(t.Context(), r.PaymentID, ""); err != nil || found {
						t.Errorf("the provider was asked: %t, %v", found, err)
					}
					return
				}
				st := x.agree(r)
				if st.Capturable() != 0 || st.Captured-st.Refunded != c.kept {
					t.Errorf("the provider says %+v", st)
				}
			}
			check()
			commands := len(x.commands(r))
			if err := x.Release(t.Context(), r.Order, c.refund); err != nil || len(x.commands(r)) != commands {
				t.Errorf("again: %v, %d commands more", err, len(x.commands(r))-commands)
			}
			if got, err := x.Authorize(t.Context(), r); err == nil && got.State == order.PaymentPromised && c.kept == 0 {
				t.Errorf("asked once more it is %+v", got)
			}
			next := r
			next.PaymentID = id.New()
			if _, err := x.Authorize(t.Context(), next); !fault.Is(err, fault.Conflict) {
				t.Errorf("another payment of the order: %v", err)
			}
			if p := x.capture(r, ""); p.CommandKey != nil || len(p.UserErrors) != 1 {
				t.Errorf("captured later: %+v", p)
			}
			check()
			for _, cmd := range x.commands(r) {
				if cmd.Status == payment.CommandPending {
					t.Errorf("%+v", cmd)
				}
			}
		})
	}
}

// TestReleaseThatIsRefused says so, and goes on when it is asked again.
func TestReleaseThatIsRefused(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	r := request("card_refund_fails", 5000)
	x.authorize(r, order.PaymentPromised)
	x.capture(r, "")
	for range 2 {
		if err := x.Release(t.Context(), r.Order, true); !fault.Is(err, fault.Conflict) {
			t.Errorf("a refund that fails: %v", err)
		}
	}
	if st := x.agree(r); st.Captured != 5000 || st.Refunded != 0 {
		t.Errorf("%+v", st)
	}
	if p := x.payment(r); p.Status != payment.StatusCaptured {
		t.Errorf("it is %s", p.Status)
	}
	if rows := x.rows(t, "SELECT refund_commanded::text FROM payments.payments WHERE id = $1", r.PaymentID); rows[0] != "0" {
		t.Errorf("%s is still taken for refunds", rows[0])
	}
}

// TestReleaseBeforeThePayment closes an order that has none, at each moment of the beginning of one: nobody is asked.
func TestReleaseBeforeThePayment(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"authorize/committing", "authorize/committed", "ask/committing", "ask/committed", "authorize/calling", "authorize/called"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			r := request("card_ok", 5000)
			var x *till
			released := make(chan error, 1)
			once := false
			x = newTill(t, func(c *payment.Config) {
				c.At = func(at string) {
					if at != point || once {
						return
					}
					once = true
					if strings.HasSuffix(point, "/committing") { // whose locks Release may wait for
						go func() { released <- x.Release(context.WithoutCancel(t.Context()), r.Order, true) }()
						return
					}
					released <- x.Release(t.Context(), r.Order, true)
				}
			})
			_, _ = x.Authorize(t.Context(), r)
			for err := <-released; err != nil; {
				err = x.Release(t.Context(), r.Order, true)
			}
			st, found, err := x.client.Find(t.Context(), r.PaymentID, "")
			if err != nil || found && (st.Captured != 0 || st.Capturable() != 0) {
				t.Errorf("the provider has %+v, %v", st, err)
			}
			if asked := slices.Contains([]string{"authorize/committing", "authorize/committed"}, point); asked && found && point == "authorize/committed" {
				t.Error("the provider was asked after the order was closed")
			}
			if p := x.payment(r); p.Status != payment.StatusFailed && p.Status != payment.StatusVoided {
				t.Errorf("it is %s", p.Status)
			}
		})
	}
}
