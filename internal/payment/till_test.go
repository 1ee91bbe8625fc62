package payment_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/jobs"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/payment/provider"
	"emporium/internal/payment/testprovider"
	"emporium/internal/payment/webhook"
)

// till is a shop that takes money: with a provider that listens on a port, its books in a file, and webhooks that come back.
type till struct {
	*shop
	t      testing.TB
	client *testprovider.Client
	queue  *jobs.Queue
	hook   *httptest.Server
	config payment.Config

	mu   sync.Mutex
	told map[id.Key][]order.PaymentFacts
}

const (
	apiKey = "key of the tests"
	secret = "secret of the tests"
)

// newTill opens a shop. Edits may change what it is made of. Jobs do not run before work.
func newTill(t testing.TB, edits ...func(*payment.Config)) *till {
	t.Helper()
	s := open(t)
	x := &till{shop: s, t: t, told: map[id.Key][]order.PaymentFacts{}}
	url, stop := startProvider(t, filepath.Join(t.TempDir(), "books"), "127.0.0.1:0")
	x.client = testprovider.NewClient(url, apiKey, secret)
	t.Cleanup(func() { x.client.Close(); stop() })
	x.queue = x.open()
	x.config = payment.Config{DB: s.db, Sealer: sealer(t, s.keys), Currency: "EUR", Jobs: x.queue, Default: "test",
		Providers: map[string]provider.Provider{"test": x.client}, TakeOver: time.Millisecond,
		Tell: func(_ context.Context, order id.Key, f order.PaymentFacts) error {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.told[order] = append(x.told[order], f)
			return nil
		}}
	for _, edit := range edits {
		edit(&x.config)
	}
	x.Service = payment.New(x.config)
	mux := http.NewServeMux()
	mux.Handle(webhook.Pattern, webhook.Handler(x.Service, slog.New(slog.DiscardHandler)))
	x.hook = httptest.NewServer(mux)
	t.Cleanup(x.hook.Close)
	return x
}

// open makes a queue.
func (x *till) open() *jobs.Queue {
	x.t.Helper()
	q, err := jobs.Open(x.t.Context(), x.db, x.dbs.URLs["payments"], "payments", jobs.Options{})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(q.Close)
	return q
}

// startProvider runs a provider until it is stopped or the test ends.
func startProvider(t testing.TB, books, addr string) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- testprovider.Run(ctx, testprovider.Config{Addr: addr, Books: books, APIKey: apiKey, WebhookSecret: secret,
			Late: 200 * time.Millisecond, RefundDelay: 200 * time.Millisecond, Log: slog.New(slog.DiscardHandler), Ready: func(url string) { ready <- url }})
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the provider ended: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	select {
	case url = <-ready:
	case err := <-done:
		done <- err
		t.Fatalf("the provider did not start: %v", err)
	}
	return url, stop
}

// freePort is a port that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// work runs the jobs until the test ends.
func (x *till) work() {
	x.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.queue.Run(ctx) }()
	x.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			x.t.Errorf("jobs: %v", err)
		}
	})
}

// webhooks lets the provider send its events.
func (x *till) webhooks(duplicates int, shuffle time.Duration) {
	x.t.Helper()
	err := x.client.SetWebhooks(x.t.Context(), testprovider.Webhooks{URL: x.hook.URL + "/webhooks/test", Duplicates: duplicates, Shuffle: shuffle})
	if err != nil {
		x.t.Fatal(err)
	}
}

func request(card string, amount int64) order.PaymentRequest {
	return order.PaymentRequest{Order: id.Key{Owner: id.New(), ID: id.New()}, Number: "EM-1", PaymentID: id.New(), Amount: amount, Total: amount,
		Currency: "EUR", Method: card, ReturnURL: new("https://shop.example/back")}
}

func keyOf(r order.PaymentRequest) id.Key { return id.Key{Owner: r.Order.Owner, ID: r.PaymentID} }

func globalID(r order.PaymentRequest) id.ID { return id.Owned(id.Payment, keyOf(r)) }

// authorize asks for a payment and wants the outcome.
func (x *till) authorize(r order.PaymentRequest, want order.PaymentState) {
	x.t.Helper()
	got, err := x.Authorize(x.t.Context(), r)
	if err != nil || got.State != want {
		x.t.Fatalf("authorize with %s: %+v, %v; want %s", r.Method, got, err, want)
	}
}

// payment is the payment as staff sees it.
func (x *till) payment(r order.PaymentRequest) *payment.Payment {
	x.t.Helper()
	found, err := x.ByKeys(staff(x.t.Context()), []id.Key{keyOf(r)})
	if err != nil || len(found) != 1 {
		x.t.Fatalf("%d payments, %v", len(found), err)
	}
	return found[0]
}

func (x *till) totals(r order.PaymentRequest) payment.Totals {
	x.t.Helper()
	found, err := x.TotalsOf(staff(x.t.Context()), []id.Key{keyOf(r)})
	if err != nil {
		x.t.Fatal(err)
	}
	return found[keyOf(r)]
}

// state is what the provider knows of a payment.
func (x *till) state(r order.PaymentRequest) provider.State {
	x.t.Helper()
	st, found, err := x.client.Find(x.t.Context(), r.PaymentID, "")
	if err != nil || !found {
		x.t.Fatalf("the provider knows %v, %v", found, err)
	}
	return st
}

// agree compares the ledger with the provider's books, and what was told last.
func (x *till) agree(r order.PaymentRequest) provider.State {
	x.t.Helper()
	st, t := x.state(r), x.totals(r)
	f, err := x.Facts(x.t.Context(), r.Order)
	if err != nil {
		x.t.Fatal(err)
	}
	if f.Authorized != st.Authorized || f.Voided != st.Voided || f.Captured != st.Captured || f.Refunded != st.Refunded ||
		t.Captured != st.Captured || t.Refunded != st.Refunded || t.Authorized != max(st.Authorized-st.Voided, 0) {
		x.t.Errorf("the provider says authorized %d, voided %d, captured %d, refunded %d; the ledger %+v, %+v",
			st.Authorized, st.Voided, st.Captured, st.Refunded, f, t)
	}
	x.hasTold(r)
	return st
}

// hasTold waits until the order has been told what there is.
func (x *till) hasTold(r order.PaymentRequest) {
	x.t.Helper()
	f, err := x.Facts(x.t.Context(), r.Order)
	if err != nil {
		x.t.Fatal(err)
	}
	x.until("the order was told", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		told := x.told[r.Order]
		return f.Revision == 0 || len(told) > 0 && told[len(told)-1].Revision == f.Revision
	})
}

// commands are those of a payment.
func (x *till) commands(r order.PaymentRequest) []*payment.Command {
	x.t.Helper()
	found, err := x.CommandsOf(staff(x.t.Context()), []id.Key{keyOf(r)})
	if err != nil {
		x.t.Fatal(err)
	}
	return found
}

// until waits for something that another goroutine or process brings about.
func (x *till) until(what string, ok func() bool) {
	x.t.Helper()
	for began := time.Now(); !ok(); {
		if time.Since(began) > 30*time.Second {
			x.t.Fatalf("it never came to be that %s", what)
		}
		select {
		case <-x.t.Context().Done():
			x.t.Fatal(x.t.Context().Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func manager(ctx context.Context) context.Context { return as(ctx, id.New(), auth.RoleManager) }

func (x *till) capture(r order.PaymentRequest, amount string) *payment.CapturePayload {
	x.t.Helper()
	in := payment.CaptureInput{PaymentID: globalID(r)}
	if amount != "" {
		in.Amount = decimal(x.t, amount)
	}
	p, err := x.Capture(manager(x.t.Context()), in, uuid.NewString())
	if err != nil {
		x.t.Fatal(err)
	}
	return p
}

func (x *till) refund(r order.PaymentRequest, amount string) *payment.RefundPayload {
	x.t.Helper()
	p, err := x.Refund(manager(x.t.Context()), payment.RefundInput{PaymentID: globalID(r), Amount: decimal(x.t, amount),
		Reason: payment.RefundOther}, uuid.NewString())
	if err != nil {
		x.t.Fatal(err)
	}
	return p
}

// approve is the customer, who confirms on the provider's page.
func (x *till) approve(r order.PaymentRequest) {
	x.t.Helper()
	owner := as(x.t.Context(), r.Order.Owner, auth.RoleCustomer)
	found, err := x.ByKeys(owner, []id.Key{keyOf(r)})
	if err != nil || len(found) != 1 || found[0].Action == nil || found[0].Action.URL == nil {
		x.t.Fatalf("the customer has nothing to do: %+v, %v", found, err)
	}
	in, err := http.NewRequestWithContext(x.t.Context(), http.MethodPost, *found[0].Action.URL, strings.NewReader("answer=approve"))
	if err != nil {
		x.t.Fatal(err)
	}
	in.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	out, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(in)
	if err != nil {
		x.t.Fatal(err)
	}
	defer func() { _ = out.Body.Close() }()
	if out.StatusCode >= 400 {
		x.t.Fatalf("the provider's page answers %d", out.StatusCode)
	}
}
