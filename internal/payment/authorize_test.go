package payment_test

import (
	"strings"
	"testing"
	"time"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/payment/provider"
)

// impatient lets calls end soon.
func impatient(c *payment.Config) {
	c.Providers["test"] = provider.Resilient(c.Providers["test"], provider.Options{Deadline: 300 * time.Millisecond, Tries: 1, Failures: 1000})
}

// TestDeclines says to the customer what may be said, and lets the order try again with another card.
func TestDeclines(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	r := request("card_insufficient_funds", 5000)
	for range 2 {
		got, err := x.Authorize(t.Context(), r)
		if err != nil || got != (order.PaymentOutcome{State: order.PaymentRefused, Message: provider.InsufficientFunds.Message()}) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	again := r
	again.PaymentID, again.Method = id.New(), "card_ok"
	x.authorize(again, order.PaymentPromised)
	f, err := x.Facts(t.Context(), r.Order)
	if err != nil || f.Revision != 2 || f.Authorized != 5000 || len(f.Entries) != 2 || f.Entries[0].Kind != order.EventPaymentFailed ||
		f.Entries[1].Kind != order.EventPaymentAuthorized {
		t.Errorf("%+v, %v", f, err)
	}
	// The first is authorized after all: a fact, though the order has another payment by now.
	st := x.state(r)
	st.Status, st.Authorized = provider.Authorized, 5000
	if _, err := x.Apply(t.Context(), keyOf(r), st); err != nil {
		t.Error(err)
	}
	if p := x.payment(r); p.Status != payment.StatusAuthorized {
		t.Errorf("it is %s", p.Status)
	}
	for name, edit := range map[string]func(*order.PaymentRequest){
		"another amount":   func(r *order.PaymentRequest) { r.Amount++ },
		"another order":    func(r *order.PaymentRequest) { r.Order.ID = id.New() },
		"another currency": func(r *order.PaymentRequest) { r.Currency = "USD" },
		"a third payment":  func(r *order.PaymentRequest) { r.PaymentID = id.New() },
	} {
		other := again
		edit(&other)
		if _, err := x.Authorize(t.Context(), other); !fault.Is(err, fault.Conflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRequestsAreKeptWhileTheyAreNeeded looks for the method's token: sealed while nothing is known, then gone.
func TestRequestsAreKeptWhileTheyAreNeeded(t *testing.T) {
	t.Parallel()
	x := newTill(t, impatient)
	r := request("card_timeout", 5000)
	if _, err := x.Authorize(t.Context(), r); err == nil || !provider.IsUnknown(err) {
		t.Fatalf("it was answered: %v", err)
	}
	stored := func() string {
		return x.rows(t, "SELECT coalesce(encode(request, 'escape'), 'gone') FROM payments.payments WHERE id = $1", r.PaymentID)[0]
	}
	if got := stored(); got == "gone" || strings.Contains(got, "card_timeout") {
		t.Errorf("it is stored as %q", got)
	}
	x.authorize(r, order.PaymentPromised)
	if got := stored(); got != "gone" {
		t.Errorf("it is stored as %q", got)
	}
	x.agree(r)
}

// TestJobsFindOut lets answers be lost, and a customer confirm, without any webhook: the job of each payment finds out.
func TestJobsFindOut(t *testing.T) {
	t.Parallel()
	x := newTill(t, impatient)
	var all []order.PaymentRequest
	for _, card := range []string{"card_timeout", "card_unavailable_once", "card_late"} {
		r := request(card, 5000)
		if _, err := x.Authorize(t.Context(), r); err != nil && !provider.IsTemporary(err) {
			t.Error(err)
		}
		all = append(all, r)
	}
	confirmed := request("card_action", 5000)
	x.authorize(confirmed, order.PaymentActionRequired)
	x.approve(confirmed)
	refundLater := request("card_refund_pending", 5000)
	x.authorize(refundLater, order.PaymentPromised)
	x.capture(refundLater, "")
	x.refund(refundLater, "50")
	if c := x.commands(refundLater)[1]; c.Status != payment.CommandPending {
		t.Errorf("%+v", c)
	}
	x.work()
	for _, r := range append(all, confirmed) {
		x.until(r.Method+" is authorized", func() bool { return x.payment(r).Status == payment.StatusAuthorized })
		x.agree(r)
	}
	x.until("the refund is done", func() bool { return x.commands(refundLater)[1].Status == payment.CommandSucceeded })
	x.agree(refundLater)
}

// TestWithoutAProvider reads, and says clearly that nothing can be paid.
func TestWithoutAProvider(t *testing.T) {
	t.Parallel()
	s := open(t)
	if got, err := s.Authorize(t.Context(), request("card_ok", 1)); err != nil || got.State != order.PaymentRefused || got.Message == "" {
		t.Errorf("authorize: %+v, %v", got, err)
	}
	d := draft(id.New(), day, paid)
	s.load(t, d)
	p, err := s.Refund(manager(t.Context()), payment.RefundInput{PaymentID: d.Payment.GlobalID(), Amount: decimal(t, "1"), Reason: payment.RefundOther}, "k")
	if err != nil || p.CommandKey != nil || len(p.UserErrors) != 1 || !strings.Contains(p.UserErrors[0].Message, "acme") {
		t.Errorf("refund: %+v, %v", p, err)
	}
	if err := s.Release(t.Context(), d.Payment.OrderKey(), false); err != nil {
		t.Errorf("release of what was captured, without a refund: %v", err)
	}
	if err := s.Release(t.Context(), d.Payment.OrderKey(), true); err == nil {
		t.Error("it was refunded by nobody")
	}
	if err := s.Receive(t.Context(), "test", nil, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("receive: %v", err)
	}
	if got, err := s.Reconcile(t.Context(), day); err != nil || got != (payment.Reconciliation{}) {
		t.Errorf("reconcile: %+v, %v", got, err)
	}
}

// TestResealWhatIsUnderWay seals anew what providers were asked with and have said, and lets the shop go on with it.
func TestResealWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	x := newTill(t, impatient)
	sent := x.catch()
	begun, acting, known := request("card_ok", 5000), request("card_action", 5000), request("card_ok", 5000)
	if err := x.Begin(t.Context(), begun); err != nil {
		t.Fatal(err)
	}
	x.authorize(acting, order.PaymentActionRequired)
	x.authorize(known, order.PaymentPromised)
	for range 2 {
		m := <-sent
		if status, _ := x.send("/webhooks/test", m.header, m.body); status != 200 {
			t.Fatalf("it was answered %d", status)
		}
	}
	if _, err := x.client.Authorize(t.Context(), provider.AuthorizeRequest{PaymentID: id.New(), Amount: 1, Currency: "EUR", Method: "card_ok"}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Reconcile(t.Context(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	rotated, err := x.keys.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	pruned, err := rotated.Prune()
	if err != nil {
		t.Fatal(err)
	}
	// Three payments, two messages, a difference.
	if n, err := payment.New(payment.Config{DB: x.db, Sealer: sealer(t, rotated), Currency: "EUR"}).Reseal(t.Context(), nil); err != nil || n != 6 {
		t.Errorf("%d rows were sealed anew, %v", n, err)
	}
	prefix := sealer(t, pruned).PrimaryPrefix()
	if rows := x.rows(t, `SELECT 'payment ' || id FROM payments.payments WHERE substring(reference FROM 1 FOR 5) <> $1
			OR substring(action FROM 1 FOR 5) <> $1 OR substring(request FROM 1 FOR 5) <> $1
		UNION ALL SELECT 'inbox ' || event_id FROM payments.inbox WHERE substring(payload FROM 1 FOR 5) <> $1
		UNION ALL SELECT 'difference ' || kind FROM payments.differences WHERE substring(reference FROM 1 FOR 5) <> $1`, prefix); len(rows) != 0 {
		t.Errorf("sealed under the old key: %v", rows)
	}
	x.config.Sealer, x.config.Jobs = sealer(t, pruned), x.open()
	x.Service = payment.New(x.config)
	x.approve(acting)
	d, err := x.Differences(staff(t.Context()), payment.DifferenceFilter{}, page.Args{First: new(10)})
	if err != nil || len(d.Nodes()) != 1 || d.Nodes()[0].Reference == nil {
		t.Errorf("%+v, %v", d, err)
	}
	x.authorize(begun, order.PaymentPromised)
	if p := x.payment(known); p.Reference == nil {
		t.Error("a reference is gone")
	}
}
