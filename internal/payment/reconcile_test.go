package payment_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/payment/provider"
	"emporium/internal/payment/testprovider"
)

func (x *till) differences() []*payment.Difference {
	x.t.Helper()
	c, err := x.Differences(staff(x.t.Context()), payment.DifferenceFilter{}, page.Args{First: new(100)})
	if err != nil {
		x.t.Fatal(err)
	}
	return c.Nodes()
}

// TestReconcile lets things happen at the provider that the shop does not hear of, and some at the shop that the provider
// never heard of. One run applies what is missing and says what differs; another one finds nothing more.
func TestReconcile(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ctx := t.Context()
	reconcile := func() payment.Reconciliation {
		t.Helper()
		found, err := x.Reconcile(ctx, time.Now().Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	same, moved, confirmed, foreign := request("card_ok", 5000), request("card_ok", 5000), request("card_action", 5000), request("card_ok", 5000)
	for _, r := range []order.PaymentRequest{same, moved, foreign} {
		x.authorize(r, order.PaymentPromised)
	}
	x.authorize(confirmed, order.PaymentActionRequired)
	if got := reconcile(); got != (payment.Reconciliation{Seen: 4}) || len(x.differences()) != 0 {
		t.Errorf("at first: %+v, %v", got, x.differences())
	}

	// Staff captures and refunds on the provider's pages; a customer confirms.
	st := x.state(moved)
	for _, err := range []error{
		second(x.client.Capture(ctx, provider.CaptureRequest{Reference: st.Reference, CommandID: id.New(), Amount: 3000, Currency: "EUR", Final: true})),
		second(x.client.Refund(ctx, provider.RefundRequest{Reference: st.Reference, CommandID: id.New(), Amount: 1000, Currency: "EUR"})),
		second(x.client.Authorize(ctx, provider.AuthorizeRequest{PaymentID: id.New(), Amount: 700, Currency: "EUR", Method: "card_ok"})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	x.approve(confirmed)
	// The shop believes something else, and something of which the provider has nothing.
	x.exec(t, "UPDATE payments.payments SET amount = 4000 WHERE id = $1", foreign.PaymentID)
	lost := draft(id.New(), time.Now().Add(-10*time.Minute), nil, func(p *payment.Payment) { p.Provider, p.Status = "test", payment.StatusAuthorized })
	x.load(t, lost)
	x.exec(t, "UPDATE payments.payments SET asked_at = created_at WHERE id = $1", lost.Payment.ID)

	want := payment.Reconciliation{Seen: 5, Applied: 2, Differences: 3}
	if got := reconcile(); got != want {
		t.Errorf("then: %+v, want %+v", got, want)
	}
	if p := x.payment(moved); p.Status != payment.StatusPartiallyRefunded {
		t.Errorf("it is %s", p.Status)
	}
	x.agree(moved)
	x.agree(confirmed)
	kinds := func(resolved bool) (kinds []string) {
		for _, d := range x.differences() {
			if (d.ResolvedAt != nil) == resolved {
				kinds = append(kinds, string(d.Kind))
			}
		}
		slices.Sort(kinds)
		return kinds
	}
	open := []string{"AMOUNT_MISMATCH", "MISSING_AT_PROVIDER", "UNKNOWN_PAYMENT"}
	if got := kinds(false); !slices.Equal(got, open) {
		t.Errorf("open differences: %v", got)
	}
	if got := reconcile(); got != (payment.Reconciliation{Seen: 5, Differences: 3}) || len(x.differences()) != 3 {
		t.Errorf("again: %+v, %d differences", got, len(x.differences()))
	}
	for _, d := range x.differences() {
		switch d.Kind {
		case payment.AmountMismatch:
			if *d.PaymentKey() != keyOf(foreign) || d.Details["amount"] != 5000. {
				t.Errorf("%+v", d)
			}
		case payment.MissingAtProvider:
			if *d.PaymentKey() != lost.Payment.Key() || *d.Reference != *lost.Payment.Reference {
				t.Errorf("%+v", d)
			}
		case payment.UnknownPayment:
			if d.PaymentKey() != nil || d.Details["authorized"] != 700. {
				t.Errorf("%+v", d)
			}
		}
	}

	x.exec(t, "UPDATE payments.payments SET amount = 5000 WHERE id = $1", foreign.PaymentID)
	if got := reconcile(); got != (payment.Reconciliation{Seen: 5, Differences: 2}) || !slices.Equal(kinds(true), []string{"AMOUNT_MISMATCH"}) {
		t.Errorf("mended: %+v, %v", got, kinds(true))
	}

	for name, c := range map[string]struct {
		f    payment.DifferenceFilter
		want int
	}{"open": {payment.DifferenceFilter{Resolved: new(false)}, 2}, "resolved": {payment.DifferenceFilter{Resolved: new(true)}, 1},
		"of a kind": {payment.DifferenceFilter{Kinds: []payment.DifferenceKind{payment.UnknownPayment}}, 1},
		"of none":   {payment.DifferenceFilter{Kinds: []payment.DifferenceKind{}}, 0}} {
		got, err := x.Differences(staff(ctx), c.f, page.Args{First: new(10)})
		if err != nil || len(got.Nodes()) != c.want {
			t.Errorf("%s: %d, %v", name, len(got.Nodes()), err)
		}
	}
	if _, err := x.Differences(as(ctx, id.New(), "CUSTOMER"), payment.DifferenceFilter{}, page.Args{First: new(10)}); !fault.Is(err, fault.Forbidden) {
		t.Errorf("as a customer: %v", err)
	}
	if _, err := x.Differences(ctx, payment.DifferenceFilter{}, page.Args{First: new(10)}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("as nobody: %v", err)
	}
	if rows := x.rows(t, "SELECT encode(reference, 'escape') FROM payments.differences"); slices.Contains(rows, *lost.Payment.Reference) {
		t.Error("references are not sealed")
	}
}

// TestReconcileOld reports what was missed as a difference that is resolved, once it is old enough to have been missed.
func TestReconcileOld(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	r := request("card_ok", 5000)
	x.authorize(r, order.PaymentPromised)
	st := x.state(r)
	st.Captured, st.At = 5000, time.Now().Add(-time.Hour)
	if err := x.Compare(t.Context(), keyOf(r), st); err != nil {
		t.Fatal(err)
	}
	d := x.differences()
	i := slices.IndexFunc(d, func(d *payment.Difference) bool { return d.Kind == payment.MissingFact })
	if i < 0 || d[i].ResolvedAt == nil || *d[i].PaymentKey() != keyOf(r) {
		t.Errorf("%+v", d)
	}
	// The provider's books know nothing of that capture.
	if got, err := x.Reconcile(t.Context(), time.Now().Add(-time.Hour)); err != nil || got.Differences != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if d = x.differences(); len(d) != 2 || d[0].Kind != payment.AmountMismatch || d[0].ResolvedAt != nil {
		t.Errorf("%+v", d)
	}
}

// TestReconcileWhileOneIsDown compares the others.
func TestReconcileWhileOneIsDown(t *testing.T) {
	t.Parallel()
	x := newTill(t, func(c *payment.Config) {
		url, stop := startProvider(t, filepath.Join(t.TempDir(), "books"), "127.0.0.1:0")
		stop()
		c.Providers["down"] = testprovider.NewClient(url, apiKey, secret)
	})
	x.authorize(request("card_ok", 5000), order.PaymentPromised)
	got, err := x.Reconcile(t.Context(), time.Now().Add(-time.Hour))
	if err == nil || got.Seen != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestReconcileByJob runs the periodic job: what nobody has told is known soon after the start.
func TestReconcileByJob(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	r := request("card_ok", 5000)
	x.authorize(r, order.PaymentPromised)
	if _, err := x.client.Capture(t.Context(), provider.CaptureRequest{Reference: x.state(r).Reference, CommandID: id.New(), Amount: 5000, Currency: "EUR", Final: true}); err != nil {
		t.Fatal(err)
	}
	x.work()
	x.until("the capture is known", func() bool { return x.payment(r).Status == payment.StatusCaptured })
	x.agree(r)
}
