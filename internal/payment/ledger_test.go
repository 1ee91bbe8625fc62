package payment_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/payment/provider"
)

// permutations are all orders of 0 … n-1.
func permutations(n int) (all [][]int) {
	var walk func(done []int)
	walk = func(done []int) {
		if len(done) == n {
			all = append(all, slices.Clone(done))
			return
		}
		for i := range n {
			if !slices.Contains(done, i) {
				walk(append(done, i))
			}
		}
	}
	walk(nil)
	return all
}

func refunds(of ...provider.Refund) []provider.Refund { return of }

// TestStatesInAnyOrder applies what becomes of payments in all orders, each state twice, and all at once: the ledger says
// the same in the end, and is that of the last state.
func TestStatesInAnyOrder(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	first := provider.Refund{ID: "r1", Amount: 1500, Status: provider.RefundPending}
	second := provider.Refund{ID: "r2", Amount: 2500, Status: provider.RefundSucceeded}
	for name, c := range map[string]struct {
		states []provider.State
		want   payment.Status
		totals payment.Totals
		facts  order.PaymentFacts
		kinds  []payment.EventKind // that have to be there
	}{
		"confirmed, captured, refunded": {[]provider.State{
			{Status: provider.ActionRequired},
			{Status: provider.Authorized, Authorized: 5000},
			{Status: provider.Authorized, Authorized: 5000, Captured: 2000},
			{Status: provider.Authorized, Authorized: 5000, Captured: 4000, Voided: 1000, Refunds: refunds(first)},
			{Status: provider.Authorized, Authorized: 5000, Captured: 4000, Voided: 1000, Refunds: refunds(with(first, provider.RefundSucceeded), second)},
		}, payment.StatusRefunded, payment.Totals{Authorized: 4000, Captured: 4000, Refunded: 4000},
			order.PaymentFacts{Authorized: 5000, Voided: 1000, Captured: 4000, Refunded: 4000},
			[]payment.EventKind{"ACTION_REQUIRED", "AUTHORIZED", "CAPTURED", "REFUNDED", "VOIDED"}},
		"a refund that comes back": {[]provider.State{
			{Status: provider.Authorized, Authorized: 5000},
			{Status: provider.Authorized, Authorized: 5000, Captured: 5000},
			{Status: provider.Authorized, Authorized: 5000, Captured: 5000, Refunds: refunds(with(first, provider.RefundSucceeded))},
			{Status: provider.Authorized, Authorized: 5000, Captured: 5000, Refunds: refunds(with(first, provider.RefundFailed))},
		}, payment.StatusCaptured, payment.Totals{Authorized: 5000, Captured: 5000},
			order.PaymentFacts{Authorized: 5000, Captured: 5000}, []payment.EventKind{"AUTHORIZED", "CAPTURED", "REFUND_FAILED"}},
		"refused, then authorized, then given back": {[]provider.State{
			{Status: provider.Processing},
			{Status: provider.ActionRequired},
			{Status: provider.Failed, Failure: &provider.Failure{Message: "No."}},
			{Status: provider.Authorized, Authorized: 5000},
			{Status: provider.Voided, Authorized: 5000, Voided: 5000},
		}, payment.StatusVoided, payment.Totals{}, order.PaymentFacts{Authorized: 5000, Voided: 5000},
			[]payment.EventKind{"ACTION_REQUIRED", "AUTHORIZED", "FAILED", "VOIDED"}},
		"cancelled while it was under way": {[]provider.State{
			{Status: provider.Processing}, {Status: provider.ActionRequired}, {Status: provider.Voided},
		}, payment.StatusVoided, payment.Totals{}, order.PaymentFacts{}, []payment.EventKind{"ACTION_REQUIRED", "VOIDED"}},
		"more than was asked for, and in another currency": {[]provider.State{
			{Status: provider.Authorized, Authorized: 7000},
			{Status: provider.Authorized, Authorized: 7000, Captured: 7000},
			{Status: provider.Authorized, Authorized: 900, Captured: 900, Currency: "USD"},
		}, payment.StatusCaptured, payment.Totals{Authorized: 7000, Captured: 7000}, order.PaymentFacts{Authorized: 7000, Captured: 7000},
			[]payment.EventKind{"AUTHORIZED", "AUTHORIZED", "CAPTURED", "CAPTURED"}},
	} {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			slots := make(chan struct{}, 6)
			check := func(r order.PaymentRequest, how string) {
				p, ledger := x.payment(r), x.kinds(r)
				f, err := x.Facts(t.Context(), r.Order)
				if err != nil {
					t.Error(err)
				}
				revision := f.Revision
				f.Entries, f.Revision = nil, 0
				if p.Status != c.want || x.totals(r) != c.totals || fmt.Sprint(f) != fmt.Sprint(c.facts) {
					t.Errorf("%s: %s %+v %+v, want %s %+v %+v", how, p.Status, x.totals(r), f, c.want, c.totals, c.facts)
				}
				if revision != int64(len(ledger)) {
					t.Errorf("%s: revision %d of %d entries", how, revision, len(ledger))
				}
				for _, kind := range c.kinds {
					if !slices.Contains(ledger, kind) {
						t.Errorf("%s: no %s in %v", how, kind, ledger)
					}
				}
			}
			run := func(do func(r order.PaymentRequest)) {
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					r := request("card_ok", 5000)
					if err := x.Begin(t.Context(), r); err != nil {
						t.Error(err)
						return
					}
					do(r)
				})
			}
			state := func(r order.PaymentRequest, i int) provider.State {
				st := c.states[i]
				st.Reference, st.PaymentID, st.Amount, st.At = "ref "+r.PaymentID.String(), r.PaymentID, 5000, day.Add(time.Duration(i)*time.Minute)
				if st.Currency == "" {
					st.Currency = "EUR"
				}
				st.Refunds = slices.Clone(st.Refunds)
				for j := range st.Refunds {
					st.Refunds[j].ID += r.PaymentID.String()
				}
				return st
			}
			for _, turn := range permutations(len(c.states)) {
				run(func(r order.PaymentRequest) {
					status := payment.StatusPending
					for _, i := range turn {
						for again := range 2 {
							changed, err := x.Apply(t.Context(), keyOf(r), state(r, i))
							if err != nil || again == 1 && changed {
								t.Errorf("%v: state %d, again %d: changed %t, %v", turn, i, again, changed, err)
							}
						}
						now := x.payment(r).Status
						if !payment.CanBecome(status, now) {
							t.Errorf("%v: %s has become %s", turn, status, now)
						}
						status = now
					}
					check(r, fmt.Sprint(turn))
				})
			}
			for range 10 {
				run(func(r order.PaymentRequest) {
					var all sync.WaitGroup
					for i := range c.states {
						for range 2 {
							all.Go(func() {
								if _, err := x.Apply(t.Context(), keyOf(r), state(r, i)); err != nil {
									t.Error(err)
								}
							})
						}
					}
					all.Wait()
					check(r, "at once")
				})
			}
			wg.Wait()
		})
	}
}

func with(r provider.Refund, s provider.RefundStatus) provider.Refund {
	r.Status = s
	return r
}

// kinds are those of the ledger's entries.
func (x *till) kinds(r order.PaymentRequest) (kinds []payment.EventKind) {
	x.t.Helper()
	ledger, err := x.EventsOf(staff(x.t.Context()), []id.Key{keyOf(r)})
	if err != nil {
		x.t.Error(err)
	}
	for _, e := range ledger {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// TestTransitions says of every status what it can become: nothing leads back to where nobody was asked, and nothing out of
// what was given back.
func TestTransitions(t *testing.T) {
	t.Parallel()
	all := []payment.Status{payment.StatusPending, payment.StatusActionRequired, payment.StatusAuthorized, payment.StatusPartiallyCaptured,
		payment.StatusCaptured, payment.StatusPartiallyRefunded, payment.StatusRefunded, payment.StatusVoided, payment.StatusFailed}
	for _, from := range all {
		p := payment.Payment{Status: from}
		if p.NextStates() == nil {
			t.Errorf("%s has no place in the table", from)
		}
		for _, to := range all {
			money := slices.Contains([]payment.Status{payment.StatusPartiallyCaptured, payment.StatusCaptured, payment.StatusPartiallyRefunded, payment.StatusRefunded}, from)
			want := from == to || to != payment.StatusPending && from != payment.StatusVoided
			switch {
			case from == to:
			case money:
				want = slices.Contains([]payment.Status{payment.StatusPartiallyCaptured, payment.StatusCaptured, payment.StatusPartiallyRefunded, payment.StatusRefunded}, to)
			case from == payment.StatusAuthorized:
				want = want && to != payment.StatusActionRequired && to != payment.StatusFailed
			case from == payment.StatusFailed:
				want = want && to != payment.StatusActionRequired
			}
			if got := payment.CanBecome(from, to); got != want {
				t.Errorf("%s can become %s: %t", from, to, got)
			}
		}
	}
}
