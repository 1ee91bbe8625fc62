package payment_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/payment/provider"
	"emporium/internal/payment/testprovider"
	"emporium/internal/payment/webhook"
)

// caught is a message of the provider's, as it was sent.
type caught struct {
	header http.Header
	body   string
}

// catch lets the provider's messages come here instead of to the shop.
func (x *till) catch() <-chan caught {
	x.t.Helper()
	sent := make(chan caught, 100)
	spy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			x.t.Error(err)
		}
		sent <- caught{r.Header.Clone(), string(body)}
	}))
	x.t.Cleanup(spy.Close)
	if err := x.client.SetWebhooks(x.t.Context(), testprovider.Webhooks{URL: spy.URL}); err != nil {
		x.t.Fatal(err)
	}
	return sent
}

// send posts something to the shop, and returns how it is answered.
func (x *till) send(path string, header http.Header, body string) (status int, answer string) {
	x.t.Helper()
	r, err := http.NewRequestWithContext(x.t.Context(), http.MethodPost, x.hook.URL+path, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	r.Header = header.Clone()
	out, err := http.DefaultClient.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	defer func() { _ = out.Body.Close() }()
	text, err := io.ReadAll(out.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	return out.StatusCode, string(text)
}

// TestWebhooksThatAreRefused sends what a provider would not: it is answered with a status and nothing of what was sent,
// and nothing is stored.
func TestWebhooksThatAreRefused(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	sent := x.catch()
	x.authorize(request("card_ok", 5000), order.PaymentPromised)
	good := <-sent
	const name = "Test-Provider-Signature"
	signedBy := func(signature string) http.Header {
		h := good.header.Clone()
		h.Set(name, signature)
		return h
	}
	unsigned := good.header.Clone()
	unsigned.Del(name)
	for what, c := range map[string]struct {
		path   string
		header http.Header
		body   string
		status int
	}{
		"no signature":                {"/webhooks/test", unsigned, good.body, 401},
		"another signature":           {"/webhooks/test", signedBy("t=1,v1=<script>"), good.body, 401},
		"another body":                {"/webhooks/test", good.header, good.body + " ", 401},
		"nothing":                     {"/webhooks/test", good.header, "", 401},
		"another provider":            {"/webhooks/script", good.header, good.body, 404},
		"a path that is none":         {"/webhooks/", good.header, good.body, 404},
		"a path below":                {"/webhooks/test/../../<script>", good.header, good.body, 404},
		"more than is read":           {"/webhooks/test", good.header, strings.Repeat("<script>", 1<<16), 413},
		"a text that can not be held": {"/webhooks/%00", good.header, good.body, 404},
	} {
		status, answer := x.send(c.path, c.header, c.body)
		if status != c.status || strings.Contains(answer, "script") || strings.Contains(answer, "acme") || len(answer) > 64 {
			t.Errorf("%s: %d %q, want %d", what, status, answer, c.status)
		}
	}
	if r, err := http.Get(x.hook.URL + "/webhooks/test"); err != nil || r.StatusCode != http.StatusMethodNotAllowed { //nolint:noctx // a test
		t.Errorf("GET: %v, %v", r, err)
	}
	if rows := x.rows(t, "SELECT event_id FROM payments.inbox"); len(rows) != 0 {
		t.Errorf("stored: %v", rows)
	}
	if status, answer := x.send("/webhooks/test", good.header, good.body); status != 200 || answer != "OK\n" {
		t.Errorf("the good one: %d %q", status, answer)
	}
	rows := x.rows(t, "SELECT encode(payload, 'escape') FROM payments.inbox")
	if len(rows) != 1 || strings.Contains(rows[0], "reference") {
		t.Errorf("it is stored as it is: %v", rows)
	}
}

// failing is a service that fails in a way.
type failing struct{ err error }

func (f failing) Receive(context.Context, string, http.Header, []byte) error { return f.err }

// TestWebhookAnswers has every failure of the service answered by its code.
func TestWebhookAnswers(t *testing.T) {
	t.Parallel()
	for status, err := range map[int]error{
		200: nil, 400: fault.New(fault.BadUserInput, "secret"), 401: fault.New(fault.Unauthenticated, "secret"), 404: fault.New(fault.NotFound, "secret"),
		500: context.DeadlineExceeded,
	} {
		mux := http.NewServeMux()
		mux.Handle(webhook.Pattern, webhook.Handler(failing{err}, slog.New(slog.DiscardHandler)))
		out := httptest.NewRecorder()
		mux.ServeHTTP(out, httptest.NewRequest(http.MethodPost, "/webhooks/test", strings.NewReader("secret")))
		if out.Code != status || strings.Contains(out.Body.String(), "secret") || out.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%v: %d %q", err, out.Code, out.Body)
		}
	}
}

// TestMessagesOfUnknownPayments are kept, looked for, reported, and applied once the payment is there.
func TestMessagesOfUnknownPayments(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	sent := x.catch()
	r := request("card_ok", 5000)
	// Somebody else, with the same account at the provider.
	st, err := x.client.Authorize(t.Context(), provider.AuthorizeRequest{PaymentID: r.PaymentID, Amount: r.Amount, Currency: r.Currency, Method: r.Method})
	if err != nil {
		t.Fatal(err)
	}
	m := <-sent
	if status, _ := x.send("/webhooks/test", m.header, m.body); status != 200 {
		t.Fatalf("it was answered %d", status)
	}
	row := x.rows(t, "SELECT id::text FROM payments.inbox")[0]
	apply := func(want bool) {
		t.Helper()
		if done, err := x.ApplyInbox(t.Context(), x.rows(t, "SELECT id::text FROM payments.inbox")[0]); err != nil || done != want {
			t.Errorf("applied: %t, %v", done, err)
		}
	}
	apply(false)
	if rows := x.differences(); len(rows) != 0 {
		t.Errorf("it was reported at once: %v", rows)
	}
	// The row is made older; what is sealed for it is sealed anew.
	x.Age(t, row, 2*time.Minute)
	apply(false)
	apply(false)
	d := x.differences()
	if len(d) != 1 || d[0].Kind != payment.UnknownPayment || *d[0].Reference != st.Reference || d[0].PaymentKey() != nil || d[0].ResolvedAt != nil {
		t.Fatalf("%+v", d)
	}
	if rows := x.rows(t, "SELECT outcome FROM payments.inbox WHERE applied_at IS NULL"); len(rows) != 1 || rows[0] != "UNKNOWN_PAYMENT" {
		t.Errorf("the message: %v", rows)
	}
	if err := x.Begin(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	apply(true)
	if p := x.payment(r); p.Status != payment.StatusAuthorized {
		t.Errorf("it is %s", p.Status)
	}
	if _, err := x.Reconcile(t.Context(), time.Now().Add(-time.Hour)); err != nil {
		t.Error(err)
	}
	if d := x.differences(); len(d) != 1 || d[0].ResolvedAt == nil {
		t.Errorf("it is known by now: %+v", d)
	}
	x.agree(r)
}

// TestClean deletes what is old enough, and nothing else.
func TestClean(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	x.webhooks(0, 0)
	x.work()
	r := request("card_ok", 5000)
	x.authorize(r, order.PaymentPromised)
	x.capture(r, "")
	x.until("the messages are applied", func() bool {
		return x.rows(t, "SELECT count(*)::text FROM payments.inbox WHERE applied_at IS NOT NULL")[0] == "2"
	})
	x.exec(t, `INSERT INTO payments.inbox (provider, event_id, id, payload, received_at) VALUES ('test', 'never', $1, '\x00', now() - interval '1 year')`, id.New())
	count := func() string {
		return x.rows(t, "SELECT concat_ws(' ', (SELECT count(*) FROM payments.inbox), (SELECT count(*) FROM payments.idempotency_keys))")[0]
	}
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{23 * time.Hour, "3 1"}, {25 * time.Hour, "3 0"}, {29 * 24 * time.Hour, "3 0"}, {31 * 24 * time.Hour, "1 0"}} {
		if err := x.Clean(t.Context(), time.Now().Add(c.after)); err != nil || count() != c.want {
			t.Errorf("after %s there are %s, %v; want %s", c.after, count(), err, c.want)
		}
	}
}
