package payment_test

import (
	"context"
	"testing"
	"time"

	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
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
	again, err := x.Capture(viewer, in, "key")
	if err != nil || *again.CommandKey != *first.CommandKey {
		t.Errorf("%+v, %v", again, err)
	}
	if c := x.commands(r); len(c) != 1 || c[0].Status != payment.CommandSucceeded {
		t.Errorf("%+v", c)
	}
	if st := x.agree(r); st.Captured != 5000 {
		t.Errorf("%+v", st)
	}
}
