// Package providertest holds what every payment provider has to do.
package providertest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/payment/provider"
)

// Cards are tokens of the provider under test.
type Cards struct {
	OK       string // captures several times, refunds at once
	Declined string // by provider.Declined
	Action   string // needs the customer
}

// Money tests all that moves money. The provider has to do multiple captures.
func Money(t *testing.T, p provider.Provider, cards Cards) {
	t.Run("authorize", func(t *testing.T) { authorize(t, p, cards) })
	t.Run("captures", func(t *testing.T) { captures(t, p, cards) })
	t.Run("void", func(t *testing.T) { void(t, p, cards) })
	t.Run("refunds", func(t *testing.T) { refunds(t, p, cards) })
	t.Run("at once", func(t *testing.T) { atOnce(t, p, cards) })
	t.Run("since", func(t *testing.T) { since(t, p, cards) })
}

// Request asks for 10.00 EUR by a card.
func Request(card string) provider.AuthorizeRequest {
	return provider.AuthorizeRequest{PaymentID: uuid.Must(uuid.NewV7()), Amount: 1000, Currency: "EUR", Method: card,
		ReturnURL: "https://shop.example/return", OrderNumber: "1001", Description: "Order 1001"}
}

func capture(s provider.State, amount int64, final bool) provider.CaptureRequest {
	return provider.CaptureRequest{Reference: s.Reference, CommandID: uuid.Must(uuid.NewV7()), Amount: amount, Currency: s.Currency, Final: final}
}

func refund(s provider.State, amount int64) provider.RefundRequest {
	return provider.RefundRequest{Reference: s.Reference, CommandID: uuid.Must(uuid.NewV7()), Amount: amount, Currency: s.Currency, Reason: "broken"}
}

func voiding(s provider.State) provider.VoidRequest {
	return provider.VoidRequest{Reference: s.Reference, CommandID: uuid.Must(uuid.NewV7())}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// sums are the amounts of a state.
type sums struct{ Authorized, Captured, Voided, Refunded int64 }

func check(t *testing.T, what string, s provider.State, status provider.Status, want sums) {
	t.Helper()
	if got := (sums{s.Authorized, s.Captured, s.Voided, s.Refunded}); got != want || s.Status != status || s.Amount != 1000 || s.Currency != "EUR" {
		t.Fatalf("%s: %s of %d %s, %+v; want %s, %+v", what, s.Status, s.Amount, s.Currency, got, status, want)
	}
}

// found checks that the provider knows a payment as it last told it.
func found(t *testing.T, p provider.Provider, want provider.State) {
	t.Helper()
	for _, reference := range []string{want.Reference, ""} {
		got, known, err := p.Find(t.Context(), want.PaymentID, reference)
		if err != nil || !known {
			t.Fatalf("found by reference %q: %v, %v", reference, known, err)
		}
		got.At, want.At = time.Time{}, time.Time{}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("found by reference %q:\n got %+v\nwant %+v", reference, got, want)
		}
	}
}

// refused checks an error.
func refused(t *testing.T, what string, err error, code provider.ErrorCode) {
	t.Helper()
	if provider.CodeOf(err) != code || provider.IsTemporary(err) || provider.IsUnknown(err) {
		t.Fatalf("%s: %v; want %s, for good", what, err, code)
	}
}

func authorize(t *testing.T, p provider.Provider, cards Cards) {
	ctx, state := t.Context(), must[provider.State](t)
	r := Request(cards.OK)
	if _, known, err := p.Find(ctx, r.PaymentID, ""); known || err != nil {
		t.Fatalf("before it was asked for it is known: %v, %v", known, err)
	}
	s := state(p.Authorize(ctx, r))
	check(t, "authorised", s, provider.Authorized, sums{Authorized: 1000})
	if s.PaymentID != r.PaymentID || s.Reference == "" || s.Method.Kind != "card" || s.Method.LastFour == nil || time.Since(s.At).Abs() > time.Minute {
		t.Fatalf("state %+v", s)
	}
	again := state(p.Authorize(ctx, r))
	if again.Reference != s.Reference {
		t.Fatalf("asked again it is another payment: %s, %s", s.Reference, again.Reference)
	}
	found(t, p, s)
	r.Amount++
	_, err := p.Authorize(ctx, r)
	refused(t, "another amount", err, provider.CodeKeyReused)

	s = state(p.Authorize(ctx, Request(cards.Declined)))
	check(t, "declined", s, provider.Failed, sums{})
	if s.Failure == nil || s.Failure.Code != provider.Declined || s.Failure.Message == "" || s.Failure.ProviderCode == "" {
		t.Fatalf("failure %+v", s.Failure)
	}
	found(t, p, s)

	s = state(p.Authorize(ctx, Request(cards.Action)))
	check(t, "to be approved", s, provider.ActionRequired, sums{})
	if s.Action == nil || s.Action.URL == "" && s.Action.ClientSecret == "" {
		t.Fatalf("action %+v", s.Action)
	}
	found(t, p, s)
	check(t, "given up", state(p.Void(ctx, voiding(s))), provider.Voided, sums{})

	r = Request("no such card")
	_, err = p.Authorize(ctx, r)
	refused(t, "an unknown token", err, provider.CodeBadRequest)
	if _, known, err := p.Find(ctx, uuid.Nil, "no-such-reference"); known || err != nil {
		t.Fatalf("an unknown reference is known: %v, %v", known, err)
	}
}

func captures(t *testing.T, p provider.Provider, cards Cards) {
	ctx, state := t.Context(), must[provider.State](t)
	s := state(p.Authorize(ctx, Request(cards.OK)))
	first := capture(s, 300, false)
	s = state(p.Capture(ctx, first))
	check(t, "a part", s, provider.Authorized, sums{Authorized: 1000, Captured: 300})
	check(t, "the same part", state(p.Capture(ctx, first)), provider.Authorized, sums{Authorized: 1000, Captured: 300})
	_, err := p.Capture(ctx, capture(s, 701, false))
	refused(t, "too much", err, provider.CodeNotCapturable)
	first.Amount++
	_, err = p.Capture(ctx, first)
	refused(t, "the same key", err, provider.CodeKeyReused)
	s = state(p.Capture(ctx, capture(s, 200, true)))
	check(t, "the last part", s, provider.Authorized, sums{Authorized: 1000, Captured: 500, Voided: 500})
	_, err = p.Capture(ctx, capture(s, 1, false))
	refused(t, "after the last part", err, provider.CodeNotCapturable)
	found(t, p, s)
}

func void(t *testing.T, p provider.Provider, cards Cards) {
	ctx, state := t.Context(), must[provider.State](t)
	s := state(p.Authorize(ctx, Request(cards.OK)))
	s = state(p.Void(ctx, voiding(s)))
	check(t, "voided", s, provider.Voided, sums{Authorized: 1000, Voided: 1000})
	check(t, "voided again", state(p.Void(ctx, voiding(s))), provider.Voided, sums{Authorized: 1000, Voided: 1000})
	_, err := p.Capture(ctx, capture(s, 1, false))
	refused(t, "capture of what is voided", err, provider.CodeNotCapturable)
	found(t, p, s)

	s = state(p.Authorize(ctx, Request(cards.OK)))
	s = state(p.Capture(ctx, capture(s, 1000, true)))
	check(t, "void of what is captured", state(p.Void(ctx, voiding(s))), provider.Authorized, sums{Authorized: 1000, Captured: 1000})

	s = state(p.Authorize(ctx, Request(cards.OK)))
	s = state(p.Capture(ctx, capture(s, 400, false)))
	s = state(p.Void(ctx, voiding(s)))
	check(t, "void of the rest", s, provider.Authorized, sums{Authorized: 1000, Captured: 400, Voided: 600})
	found(t, p, s)

	s = state(p.Authorize(ctx, Request(cards.Declined)))
	s = state(p.Void(ctx, voiding(s)))
	if s.Status != provider.Failed && s.Status != provider.Voided {
		t.Fatalf("void of what failed: %+v", s)
	}
}

func refunds(t *testing.T, p provider.Provider, cards Cards) {
	ctx, state := t.Context(), must[provider.State](t)
	s := state(p.Authorize(ctx, Request(cards.OK)))
	_, err := p.Refund(ctx, refund(s, 1))
	refused(t, "refund of what is not captured", err, provider.CodeNotRefundable)
	s = state(p.Capture(ctx, capture(s, 800, true)))
	first := refund(s, 300)
	s = state(p.Refund(ctx, first))
	check(t, "a part", s, provider.Authorized, sums{Authorized: 1000, Captured: 800, Voided: 200, Refunded: 300})
	if len(s.Refunds) != 1 || s.Refunds[0].CommandID != first.CommandID || s.Refunds[0].Amount != 300 || s.Refunds[0].ID == "" ||
		s.Refunds[0].Status != provider.RefundSucceeded || s.Refunds[0].Reason != "broken" {
		t.Fatalf("refunds %+v", s.Refunds)
	}
	check(t, "the same part", state(p.Refund(ctx, first)), provider.Authorized, sums{Authorized: 1000, Captured: 800, Voided: 200, Refunded: 300})
	_, err = p.Refund(ctx, refund(s, 501))
	refused(t, "too much", err, provider.CodeNotRefundable)
	s = state(p.Refund(ctx, refund(s, 500)))
	check(t, "the rest", s, provider.Authorized, sums{Authorized: 1000, Captured: 800, Voided: 200, Refunded: 800})
	if len(s.Refunds) != 2 {
		t.Fatalf("refunds %+v", s.Refunds)
	}
	found(t, p, s)
}

// atOnce has more done at once than there is money for, and applies the answers in the order in which they came.
func atOnce(t *testing.T, p provider.Provider, cards Cards) {
	ctx := t.Context()
	s := must[provider.State](t)(p.Authorize(ctx, Request(cards.OK)))
	merged := s
	run := func(step func() (provider.State, error), code provider.ErrorCode) (done int) {
		var mu sync.Mutex
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() {
				got, err := step()
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					done++
					merged = Merge(merged, got)
				} else if provider.CodeOf(err) != code {
					t.Errorf("%v; want %s", err, code)
				}
			})
		}
		calls.Wait()
		return done
	}
	if n := run(func() (provider.State, error) { return p.Capture(ctx, capture(s, 300, false)) }, provider.CodeNotCapturable); n != 3 {
		t.Fatalf("%d captures of 300 of 1000", n)
	}
	if n := run(func() (provider.State, error) { return p.Refund(ctx, refund(s, 200)) }, provider.CodeNotRefundable); n != 4 {
		t.Fatalf("%d refunds of 200 of 900", n)
	}
	check(t, "merged", merged, provider.Authorized, sums{Authorized: 1000, Captured: 900, Refunded: 800})
	if len(merged.Refunds) != 4 {
		t.Fatalf("refunds %+v", merged.Refunds)
	}

	same := Request(cards.OK)
	references := map[string]bool{}
	var mu sync.Mutex
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for {
				got, err := p.Authorize(ctx, same)
				if provider.CodeOf(err) == provider.CodeInProgress {
					continue
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				references[got.Reference] = true
				return
			}
		})
	}
	calls.Wait()
	if len(references) != 1 {
		t.Fatalf("one payment has the references %v", references)
	}
}

// Merge applies a state to another, as provider.State says.
func Merge(a, b provider.State) provider.State {
	if b.Status.Rank() > a.Status.Rank() {
		a.Status, a.Failure, a.Action = b.Status, b.Failure, b.Action
	}
	a.Authorized, a.Captured = max(a.Authorized, b.Authorized), max(a.Captured, b.Captured)
	a.Voided, a.Refunded = max(a.Voided, b.Voided), max(a.Refunded, b.Refunded)
	of := map[string]int{}
	refunds := append([]provider.Refund{}, a.Refunds...)
	for i, r := range refunds {
		of[r.ID] = i
	}
	for _, r := range b.Refunds {
		if i, known := of[r.ID]; !known {
			refunds = append(refunds, r)
		} else if r.Status.Rank() > refunds[i].Status.Rank() {
			refunds[i] = r
		}
	}
	a.Refunds = refunds
	return a
}

func since(t *testing.T, p provider.Provider, cards Cards) {
	ctx, from, want := t.Context(), time.Now().Add(-time.Second), map[string]bool{}
	for range 120 {
		want[must[provider.State](t)(p.Authorize(ctx, Request(cards.OK))).Reference] = true
	}
	pages := 0
	for cursor, first := "", true; first || cursor != ""; first = false {
		states, next, err := p.Since(ctx, from, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range states {
			delete(want, s.Reference)
		}
		pages++
		cursor = next
	}
	if len(want) != 0 || pages < 2 {
		t.Errorf("%d payments are missing on %d pages", len(want), pages)
	}
	states, next, err := p.Since(ctx, time.Now().Add(time.Hour), "")
	if len(states) != 0 || next != "" || err != nil {
		t.Errorf("payments from the future: %d, %q, %v", len(states), next, err)
	}
}

// Errors tests what calls that bring no answer are told to be. Build makes the provider on another address.
func Errors(t *testing.T, build func(url string) provider.Provider) {
	type reply struct {
		status int // 0: none
		body   string
	}
	var answer atomic.Pointer[reply]
	arrived := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // before it is read, the server does not see that the caller leaves
		how := answer.Load()
		if how.status == 0 {
			select {
			case arrived <- struct{}{}:
			default:
			}
			<-r.Context().Done()
			return
		}
		w.WriteHeader(how.status)
		_, _ = w.Write([]byte(how.body))
	}))
	defer server.Close()
	p := build(server.URL)
	if !regexp.MustCompile(`^[a-z0-9_]+$`).MatchString(p.Name()) {
		t.Errorf("name %q", p.Name())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	away := build("http://" + l.Addr().String())
	soon := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(t.Context(), 50*time.Millisecond)
	}
	for _, c := range []struct {
		name   string
		p      provider.Provider
		ctx    func() (context.Context, context.CancelFunc)
		status int
		body   string
		want   provider.Error
	}{
		{"nobody listens", away, nil, 0, "", provider.Error{Code: provider.CodeNetwork, Temporary: true}},
		{"no answer in time", p, soon, 0, "", provider.Error{Code: provider.CodeTimeout, Temporary: true, Unknown: true}},
		{"the caller leaves", p, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-arrived; cancel() }()
			return ctx, cancel
		}, 0, "", provider.Error{Code: provider.CodeCanceled, Temporary: true, Unknown: true}},
		{"a failure", p, nil, 503, `{"error":{"type":"api_error","message":"down"}}`, provider.Error{Code: provider.CodeUnavailable, Temporary: true, Unknown: true}},
		{"a failure of a proxy", p, nil, 502, "<html>", provider.Error{Code: provider.CodeUnavailable, Temporary: true, Unknown: true}},
		{"an answer that is none", p, nil, 200, "<html>", provider.Error{Code: provider.CodeUnavailable, Temporary: true, Unknown: true}},
		{"too many calls", p, nil, 429, `{"error":{"type":"invalid_request_error","code":"rate_limit"}}`, provider.Error{Code: provider.CodeRateLimited, Temporary: true}},
		{"a wrong API key", p, nil, 401, `{"error":{"type":"invalid_request_error"}}`, provider.Error{Code: provider.CodeCredentials}},
		{"a wrong request", p, nil, 400, `{"error":{"type":"invalid_request_error"}}`, provider.Error{Code: provider.CodeBadRequest}},
	} {
		answer.Store(&reply{c.status, c.body})
		select {
		case <-arrived:
		default:
		}
		for name, call := range map[string]func(context.Context) error{
			"authorize": func(ctx context.Context) error { _, err := c.p.Authorize(ctx, Request("x")); return err },
			"capture": func(ctx context.Context) error {
				_, err := c.p.Capture(ctx, provider.CaptureRequest{Reference: "x", CommandID: uuid.New(), Amount: 1, Currency: "EUR"})
				return err
			},
			"void": func(ctx context.Context) error {
				_, err := c.p.Void(ctx, provider.VoidRequest{Reference: "x", CommandID: uuid.New()})
				return err
			},
			"refund": func(ctx context.Context) error {
				_, err := c.p.Refund(ctx, provider.RefundRequest{Reference: "x", CommandID: uuid.New(), Amount: 1, Currency: "EUR"})
				return err
			},
			"find":           func(ctx context.Context) error { _, _, err := c.p.Find(ctx, uuid.Nil, "x"); return err },
			"find by our ID": func(ctx context.Context) error { _, _, err := c.p.Find(ctx, uuid.Must(uuid.NewV7()), ""); return err },
			"since":          func(ctx context.Context) error { _, _, err := c.p.Since(ctx, time.Now(), ""); return err },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			if c.ctx != nil {
				cancel()
				ctx, cancel = c.ctx()
			}
			err := call(ctx)
			cancel()
			var e *provider.Error
			if !errors.As(err, &e) || e.Code != c.want.Code || e.Temporary != c.want.Temporary || e.Unknown != c.want.Unknown {
				t.Errorf("%s: %s: %#v (%v); want %+v", name, c.name, e, err, c.want)
			}
		}
	}
}

// Signatures tests that nothing is believed that the provider did not sign. Sign makes the header of a body.
func Signatures(t *testing.T, p provider.Provider, body []byte, sign func(at time.Time, body []byte) http.Header) provider.Event {
	now := time.Now()
	e, err := p.ParseWebhook(sign(now.Add(-4*time.Minute), body), body, now)
	if err != nil {
		t.Fatal(err)
	}
	forged := sign(now, append([]byte(" "), body...))
	for what, header := range map[string]http.Header{
		"no signature": {}, "another body's": forged, "an old one": sign(now.Add(-6*time.Minute), body), "one from the future": sign(now.Add(6*time.Minute), body),
	} {
		if _, err := p.ParseWebhook(header, body, now); !errors.Is(err, provider.ErrSignature) {
			t.Errorf("%s: %v", what, err)
		}
	}
	header := sign(now, body)
	for name := range header {
		for _, bad := range []string{"", "t=,v1=", "v1=00", "t=1", "t=x,v1=zz", header.Get(name) + "00"} {
			if _, err := p.ParseWebhook(http.Header{name: {bad}}, body, now); !errors.Is(err, provider.ErrSignature) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	}
	if _, err := p.ParseWebhook(sign(now, []byte("{")), []byte("{"), now); err == nil || errors.Is(err, provider.ErrSignature) {
		t.Errorf("half a message: %v", err)
	}
	return e
}
