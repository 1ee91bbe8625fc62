package payment_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/payment/provider"
)

func decimal(t testing.TB, text string) *money.Decimal {
	t.Helper()
	d, err := money.ParseDecimal(text)
	if err != nil {
		t.Fatal(err)
	}
	return &d
}

// TestMoneyMoves goes the way of a payment: authorized, captured, refunded in two parts.
func TestMoneyMoves(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	r := request("card_ok", 5000)
	x.authorize(r, order.PaymentPromised)
	x.authorize(r, order.PaymentPromised)
	if p := x.payment(r); p.Status != payment.StatusAuthorized || p.Method.Kind != "card" || *p.Method.LastFour != "4242" || p.Reference == nil {
		t.Errorf("after authorizing: %+v", p)
	}
	x.agree(r)
	if p := x.capture(r, ""); len(p.UserErrors) > 0 || p.CommandKey == nil {
		t.Fatalf("%+v", p)
	}
	if c := x.commands(r)[0]; c.Status != payment.CommandSucceeded || c.AmountMinor != 5000 || c.FinishedAt == nil || c.ActorID == nil {
		t.Errorf("%+v", c)
	}
	if p := x.payment(r); p.Status != payment.StatusCaptured {
		t.Errorf("after capturing: %s", p.Status)
	}
	x.agree(r)
	x.refund(r, "20")
	if p := x.payment(r); p.Status != payment.StatusPartiallyRefunded {
		t.Errorf("after refunding: %s", p.Status)
	}
	x.refund(r, "30")
	if p := x.payment(r); p.Status != payment.StatusRefunded {
		t.Errorf("after refunding all: %s", p.Status)
	}
	x.agree(r)
	if p := x.refund(r, "0.01"); len(p.UserErrors) != 1 || p.CommandKey != nil {
		t.Errorf("refunding more: %+v", p)
	}
	if n := len(x.commands(r)); n != 3 {
		t.Errorf("%d commands", n)
	}
}

// TestWebhooksAreApplied lets a customer confirm at the provider's: the shop hears of it by a webhook alone, which comes
// three times.
func TestWebhooksAreApplied(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	x.webhooks(2, 0)
	x.work()
	r := request("card_action", 5000)
	x.authorize(r, order.PaymentActionRequired)
	x.approve(r)
	x.until("the payment is authorized", func() bool { return x.payment(r).Status == payment.StatusAuthorized })
	x.until("every message is applied", func() bool {
		return x.rows(t, "SELECT count(*)::text FROM payments.inbox WHERE applied_at IS NULL")[0] == "0"
	})
	x.agree(r)
}

// TestCommandsAnswerInTime captures where the provider does not answer: the request says so while it has time, and asked
// again with its key it shows what has become of it.
func TestCommandsAnswerInTime(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	r := request("card_capture_timeout", 5000)
	x.authorize(r, order.PaymentPromised)
	viewer := manager(t.Context())
	ctx, cancel := context.WithTimeout(viewer, 2500*time.Millisecond)
	defer cancel()
	in := payment.CaptureInput{PaymentID: globalID(r)}
	first, err := x.Capture(ctx, in, "key")
	if err != nil || first.CommandKey == nil || ctx.Err() != nil {
		t.Fatalf("%+v, %v, %v", first, err, ctx.Err())
	}
	if c := x.commands(r); len(c) != 1 || c[0].Status != payment.CommandPending {
		t.Errorf("%+v", c)
	}
	x.until("it has become of it what the provider says", func() bool {
		again, err := x.Capture(viewer, in, "key")
		if err != nil || *again.CommandKey != *first.CommandKey {
			t.Fatalf("%+v, %v", again, err)
		}
		c := x.commands(r)
		return len(c) == 1 && c[0].Status == payment.CommandSucceeded
	})
	if st := x.agree(r); st.Captured != 5000 {
		t.Errorf("%+v", st)
	}
}

// forgetful is a provider that has forgotten all keys, as Stripe has after a day: each call is a new one. While it is mute, what
// it has done is heard by nobody.
type forgetful struct {
	provider.Provider
	mute bool
}

func (f *forgetful) Capture(ctx context.Context, r provider.CaptureRequest) (provider.State, error) {
	if !f.mute {
		r.CommandID = id.New()
	}
	return f.answer(f.Provider.Capture(ctx, r))
}

func (f *forgetful) Refund(ctx context.Context, r provider.RefundRequest) (provider.State, error) {
	if !f.mute {
		r.CommandID = id.New()
	}
	return f.answer(f.Provider.Refund(ctx, r))
}

func (f *forgetful) answer(st provider.State, err error) (provider.State, error) {
	if f.mute && err == nil {
		err = &provider.Error{Code: provider.CodeUnavailable, Temporary: true, Unknown: true, Err: errors.New("mute")}
	}
	return st, err
}

// TestKeysAreForgotten goes on with commands after a day: what the provider has done, or still has under way, is not asked for again; what it
// has not is.
func TestKeysAreForgotten(t *testing.T) {
	t.Parallel()
	var p *forgetful
	x := newTill(t, func(c *payment.Config) {
		p = &forgetful{Provider: c.Providers["test"]}
		c.Providers["test"] = p
	})
	pursue := func(r order.PaymentRequest, i int) payment.CommandStatus {
		t.Helper()
		x.exec(t, "UPDATE payments.commands SET created_at = now() - interval '25 hours' WHERE payment_id = $1", r.PaymentID)
		status, err := x.Pursue(t.Context(), x.commands(r)[i].Key())
		if err != nil {
			t.Fatal(err)
		}
		return status
	}

	r := request("card_ok", 5000)
	x.authorize(r, order.PaymentPromised)
	p.mute = true
	x.capture(r, "20")
	p.mute = false
	if got := pursue(r, 0); got != payment.CommandSucceeded {
		t.Errorf("the capture is %s", got)
	}
	x.capture(r, "10") // of which the state tells less than of the first
	p.mute = true
	x.refund(r, "7")
	p.mute = false
	if got := pursue(r, 2); got != payment.CommandSucceeded {
		t.Errorf("the refund is %s", got)
	}
	if st := x.agree(r); st.Captured != 3000 || st.Refunded != 700 {
		t.Errorf("asked again after a day: %+v", st)
	}

	// It has accepted a refund and takes its time.
	r = request("card_refund_pending", 5000)
	x.authorize(r, order.PaymentPromised)
	x.capture(r, "")
	p.mute = true
	x.refund(r, "7")
	p.mute = false
	x.until("the refund is done", func() bool { return pursue(r, 1) == payment.CommandSucceeded })
	if st := x.agree(r); st.Refunded != 700 || len(st.Refunds) != 1 {
		t.Errorf("a refund that took a day: %+v", st)
	}

	// It never heard of the first call.
	r = request("card_ok", 5000)
	x.authorize(r, order.PaymentPromised)
	x.capture(r, "20")
	x.exec(t, "UPDATE payments.commands SET status = 'PENDING', finished_at = NULL, amount = 3000 WHERE payment_id = $1", r.PaymentID)
	x.exec(t, "UPDATE payments.payments SET capture_commanded = 3000 WHERE id = $1", r.PaymentID)
	if got := pursue(r, 0); got != payment.CommandSucceeded {
		t.Errorf("the capture that was lost is %s", got)
	}
	if st := x.agree(r); st.Captured != 5000 {
		t.Errorf("a call that was lost: %+v", st)
	}
}
