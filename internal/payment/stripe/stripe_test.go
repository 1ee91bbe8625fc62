package stripe_test

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	stripego "github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"

	"emporium/internal/money"
	"emporium/internal/payment/provider"
	"emporium/internal/payment/provider/providertest"
	"emporium/internal/payment/stripe"
)

const webhookSecret = "whsec_test"

// call is a request that reached Stripe's mock.
type call struct {
	method, path string
	header       http.Header
	form         url.Values // of the body, or of the query
	status       int
	answer       string
}

// recorder is a proxy in front of stripe-mock, Stripe's own: it holds requests against Stripe's schema and answers with
// fixtures.
type recorder struct {
	*stripe.Provider
	mu    sync.Mutex
	calls []call
}

func record(t *testing.T) *recorder {
	t.Helper()
	path, err := exec.Command("go", "tool", "-n", "stripe-mock").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(strings.TrimSpace(string(path)), "-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	target := ""
	lines := bufio.NewScanner(out)
	for target == "" && lines.Scan() {
		if address, found := strings.CutPrefix(lines.Text(), "Listening for HTTP at address: "); found {
			target = "http://" + address
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	to, err := url.Parse(target)
	if err != nil || target == "" {
		t.Fatalf("stripe-mock did not start: %v", err)
	}
	r := new(recorder)
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }, ModifyResponse: func(response *http.Response) error {
		body, err := io.ReadAll(response.Body)
		response.Body = io.NopCloser(strings.NewReader(string(body)))
		r.mu.Lock()
		defer r.mu.Unlock()
		last := &r.calls[len(r.calls)-1]
		last.status, last.answer = response.StatusCode, string(body)
		return err
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		body, err := io.ReadAll(in.Body)
		if err != nil {
			t.Error(err)
		}
		in.Body = io.NopCloser(strings.NewReader(string(body)))
		form := in.URL.Query()
		if len(body) > 0 {
			form, err = url.ParseQuery(string(body))
		}
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.calls = append(r.calls, call{method: in.Method, path: in.URL.Path, header: in.Header.Clone(), form: form})
		r.mu.Unlock()
		proxy.ServeHTTP(w, in)
	}))
	t.Cleanup(server.Close)
	r.Provider = stripe.New(stripe.Config{APIKey: "sk_test_123", WebhookSecret: webhookSecret, URL: server.URL})
	return r
}

// taken returns the calls since it was asked the last time; all have to be accepted.
func (r *recorder) taken(t *testing.T) []call {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	for _, c := range calls {
		if c.status != http.StatusOK {
			t.Errorf("%s %s is answered with %d: %s", c.method, c.path, c.status, c.answer)
		}
		if c.header.Get("Authorization") != "Bearer sk_test_123" || c.header.Get("Stripe-Version") != stripego.APIVersion {
			t.Errorf("%s %s: header %v", c.method, c.path, c.header)
		}
	}
	return calls
}

// holds compares what was sent.
func holds(t *testing.T, c call, method, path, key string, form map[string]string) {
	t.Helper()
	got := map[string]string{}
	for name := range c.form {
		got[name] = c.form.Get(name)
	}
	if c.method != method || c.path != path || c.header.Get("Idempotency-Key") != key || !reflect.DeepEqual(got, form) {
		t.Errorf("%s %s, key %q:\n got %v\nwant %s %s, key %q:\n     %v", c.method, c.path, c.header.Get("Idempotency-Key"), got, method, path, key, form)
	}
}

// TestRequests are accepted by Stripe's schema and say what was asked for.
func TestRequests(t *testing.T) {
	t.Parallel()
	p, ctx := record(t), t.Context()
	r := providertest.Request("pm_card_visa")
	s, err := p.Authorize(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	calls := p.taken(t)
	holds(t, calls[0], "POST", "/v1/payment_intents", r.PaymentID.String(), map[string]string{"amount": "1000", "currency": "eur",
		"capture_method": "manual", "confirm": "true", "payment_method": "pm_card_visa", "payment_method_types[0]": "card",
		"payment_method_options[card][request_multicapture]": "if_available", "return_url": "https://shop.example/return",
		"description": "Order 1001", "metadata[emporium_payment]": r.PaymentID.String(), "metadata[emporium_order]": "1001",
		"expand[0]": "latest_charge", "expand[1]": "latest_charge.refunds"})
	// The mock does not give back what metadata it is given, so the fixture is nobody's payment.
	if !strings.HasPrefix(s.Reference, "pi_") || s.Amount != 1000 || time.Since(s.At).Abs() > time.Minute {
		t.Errorf("authorised: %+v", s)
	}
	intent := "/v1/payment_intents/" + s.Reference

	c := provider.CaptureRequest{Reference: s.Reference, CommandID: uuid.New(), Amount: 300, Currency: "EUR"}
	if _, err := p.Capture(ctx, c); err != nil {
		t.Fatal(err)
	}
	holds(t, p.taken(t)[0], "POST", intent+"/capture", c.CommandID.String(), map[string]string{"amount_to_capture": "300",
		"final_capture": "false", "expand[0]": "latest_charge", "expand[1]": "latest_charge.refunds"})
	c.Final, c.Amount, c.Currency = true, 500, "ISK"
	if _, err := p.Capture(ctx, c); err != nil {
		t.Fatal(err)
	}
	holds(t, p.taken(t)[0], "POST", intent+"/capture", c.CommandID.String(), map[string]string{"amount_to_capture": "50000",
		"expand[0]": "latest_charge", "expand[1]": "latest_charge.refunds"})

	v := provider.VoidRequest{Reference: s.Reference, CommandID: uuid.New()}
	if _, err := p.Void(ctx, v); err != nil {
		t.Fatal(err)
	}
	holds(t, p.taken(t)[0], "POST", intent+"/cancel", v.CommandID.String(), map[string]string{"expand[0]": "latest_charge", "expand[1]": "latest_charge.refunds"})

	// Empty: Stripe has no name for it.
	for reason, theirs := range map[string]string{"broken in the post": "", "RETURNED": "", "DUPLICATE": "duplicate", "FRAUD": "fraudulent",
		"CUSTOMER_REQUEST": "requested_by_customer"} {
		f := provider.RefundRequest{Reference: s.Reference, CommandID: uuid.New(), Amount: 100, Currency: "EUR", Reason: reason}
		if _, err := p.Refund(ctx, f); err != nil {
			t.Fatal(err)
		}
		calls := p.taken(t)
		want := map[string]string{"payment_intent": s.Reference, "amount": "100",
			"metadata[emporium_command]": f.CommandID.String(), "metadata[emporium_reason]": reason}
		if theirs != "" {
			want["reason"] = theirs
		}
		holds(t, calls[0], "POST", "/v1/refunds", f.CommandID.String(), want)
		if calls[1].method != "GET" || calls[1].path != intent {
			t.Errorf("the payment was not read again: %+v", calls)
		}
	}

	if found, known, err := p.Find(ctx, uuid.Nil, s.Reference); err != nil || !known || found.Reference != s.Reference {
		t.Errorf("found %+v, %v, %v", found, known, err)
	}
	p.taken(t)
	// The mock's fixtures are not our payment, whatever is asked for.
	if _, known, err := p.Find(ctx, r.PaymentID, ""); known || err != nil {
		t.Errorf("found by our ID: %v, %v", known, err)
	}
	calls = p.taken(t)
	made := time.Unix(r.PaymentID.Time().UnixTime())
	holds(t, calls[0], "GET", "/v1/payment_intents/search", "", map[string]string{"limit": "1",
		"query": "metadata['emporium_payment']:'" + r.PaymentID.String() + "'"})
	holds(t, calls[1], "GET", "/v1/payment_intents", "", map[string]string{"limit": "100",
		"created[gte]": fmt.Sprint(made.Add(-5 * time.Minute).Unix()), "created[lte]": fmt.Sprint(made.Add(time.Hour).Unix())})

	if states, _, err := p.Since(ctx, time.Unix(1_700_000_000, 5), "pi_before"); err != nil || len(states) != 0 {
		t.Errorf("since: %+v, %v", states, err)
	}
	holds(t, p.taken(t)[0], "GET", "/v1/payment_intents", "", map[string]string{"limit": "100", "created[gte]": "1700000000",
		"starting_after": "pi_before", "expand[0]": "data.latest_charge", "expand[1]": "data.latest_charge.refunds"})

	r.Currency = "CLF"
	if _, err := p.Authorize(ctx, r); provider.CodeOf(err) != provider.CodeCurrency || provider.IsUnknown(err) || len(p.taken(t)) != 0 {
		t.Errorf("a currency that Stripe does not do: %v", err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	providertest.Errors(t, func(url string) provider.Provider {
		return stripe.New(stripe.Config{APIKey: "sk_test_123", WebhookSecret: webhookSecret, URL: url})
	})
}

// reply is what Stripe answers to a path.
type reply struct {
	status   int
	replayed bool
	body     string
}

func answering(t *testing.T, replies map[string]reply) *stripe.Provider {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, known := replies[r.Method+" "+r.URL.Path]
		if !known {
			t.Errorf("%s %s was not expected", r.Method, r.URL.Path)
		}
		if a.replayed {
			w.Header().Set("Idempotent-Replayed", "true")
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(server.Close)
	return stripe.New(stripe.Config{APIKey: "sk_test_123", WebhookSecret: webhookSecret, URL: server.URL})
}

const emptyList = `{"object":"list","data":[],"has_more":false}`

// TestDecline is a state, made of what Stripe packs into the error.
func TestDecline(t *testing.T) {
	t.Parallel()
	r := providertest.Request("pm_card_chargeDeclinedInsufficientFunds")
	p := answering(t, map[string]reply{"POST /v1/payment_intents": {status: 402, body: `{"error":{"type":"card_error","code":"card_declined",
		"decline_code":"insufficient_funds","charge":"ch_1","message":"Your card has insufficient funds.","payment_intent":{"id":"pi_1",
		"object":"payment_intent","amount":1000,"currency":"eur","created":1700000000,"status":"requires_payment_method","latest_charge":"ch_1",
		"client_secret":"pi_1_secret_x","metadata":{"emporium_payment":"` + r.PaymentID.String() + `"},"last_payment_error":{"type":"card_error",
		"code":"card_declined","decline_code":"insufficient_funds","payment_method":{"id":"pm_1","type":"card","card":{"brand":"visa","last4":"9995"}}}}}}`}})
	s, err := p.Authorize(t.Context(), r)
	s.At = time.Time{}
	want := provider.State{Reference: "pi_1", PaymentID: r.PaymentID, Status: provider.Failed, Currency: "EUR", Amount: 1000, Refunds: []provider.Refund{},
		Method:  provider.Method{Kind: "card", Brand: new("visa"), LastFour: new("9995")},
		Failure: &provider.Failure{Code: provider.InsufficientFunds, ProviderCode: "insufficient_funds", Message: provider.InsufficientFunds.Message()}}
	if err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("%+v, %v; want %+v", s, err, want)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	invalid := func(code, param string) reply {
		return reply{status: 400, body: fmt.Sprintf(`{"error":{"type":"invalid_request_error","code":%q,"param":%q,"message":"no","payment_intent":{"id":"pi_1","client_secret":"pi_1_secret_x"}}}`, code, param)}
	}
	capture := func(p *stripe.Provider) error {
		_, err := p.Capture(t.Context(), provider.CaptureRequest{Reference: "pi_1", CommandID: uuid.New(), Amount: 1, Currency: "EUR"})
		return err
	}
	refund := func(p *stripe.Provider) error {
		_, err := p.Refund(t.Context(), provider.RefundRequest{Reference: "pi_1", CommandID: uuid.New(), Amount: 1, Currency: "EUR"})
		return err
	}
	void := func(p *stripe.Provider) error {
		_, err := p.Void(t.Context(), provider.VoidRequest{Reference: "pi_1", CommandID: uuid.New()})
		return err
	}
	authorize := func(p *stripe.Provider) error {
		_, err := p.Authorize(t.Context(), providertest.Request("pm"))
		return err
	}
	of := func(status string) reply {
		return reply{status: 200, body: `{"id":"pi_1","object":"payment_intent","amount":1000,"currency":"eur","status":"` + status + `","amount_received":1000}`}
	}
	const at = "POST /v1/payment_intents/pi_1/"
	for name, c := range map[string]struct {
		call    func(*stripe.Provider) error
		replies map[string]reply
		want    provider.Error
	}{
		"captured already":         {capture, map[string]reply{at + "capture": invalid("payment_intent_unexpected_state", "")}, provider.Error{Code: provider.CodeNotCapturable}},
		"capture of too much":      {capture, map[string]reply{at + "capture": invalid("", "amount_to_capture")}, provider.Error{Code: provider.CodeNotCapturable}},
		"capture of no such":       {capture, map[string]reply{at + "capture": {status: 404, body: `{"error":{"type":"invalid_request_error","code":"resource_missing"}}`}}, provider.Error{Code: provider.CodeNotFound}},
		"capture by a key":         {capture, map[string]reply{at + "capture": {status: 400, body: `{"error":{"type":"idempotency_error"}}`}}, provider.Error{Code: provider.CodeKeyReused}},
		"capture at once":          {capture, map[string]reply{at + "capture": {status: 409, body: `{"error":{"type":"idempotency_error","code":"idempotency_key_in_use"}}`}}, provider.Error{Code: provider.CodeInProgress, Temporary: true, Unknown: true}},
		"capture failed ever":      {capture, map[string]reply{at + "capture": {500, true, `{"error":{"type":"api_error"}}`}}, provider.Error{Code: provider.CodeUnavailable, Unknown: true}},
		"refunded already":         {refund, map[string]reply{"POST /v1/refunds": invalid("charge_already_refunded", "")}, provider.Error{Code: provider.CodeNotRefundable}},
		"refund of too much":       {refund, map[string]reply{"POST /v1/refunds": invalid("", "amount")}, provider.Error{Code: provider.CodeNotRefundable}},
		"refund, then nothing":     {refund, map[string]reply{"POST /v1/refunds": {status: 200, body: `{"id":"re_1"}`}, "GET /v1/payment_intents/pi_1": {status: 503, body: "<html>"}}, provider.Error{Code: provider.CodeUnavailable, Temporary: true, Unknown: true}},
		"void of what is captured": {void, map[string]reply{at + "cancel": invalid("payment_intent_unexpected_state", ""), "GET /v1/payment_intents/pi_1": of("succeeded")}, provider.Error{}},
		"void while it is made":    {void, map[string]reply{at + "cancel": invalid("payment_intent_unexpected_state", ""), "GET /v1/payment_intents/pi_1": of("processing")}, provider.Error{Code: provider.CodeNotVoidable}},
		"never authorised": {authorize, map[string]reply{"POST /v1/payment_intents": {500, true, `{"error":{"type":"api_error"}}`},
			"GET /v1/payment_intents/search": {status: 200, body: emptyList}, "GET /v1/payment_intents": {status: 200, body: emptyList}}, provider.Error{Code: provider.CodeUnavailable}},
	} {
		err := c.call(answering(t, c.replies))
		var e *provider.Error
		if c.want.Code == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.As(err, &e) || e.Code != c.want.Code || e.Temporary != c.want.Temporary || e.Unknown != c.want.Unknown {
			t.Errorf("%s: %#v, %v; want %+v", name, e, err, c.want)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s tells a secret: %v", name, err)
		}
	}
}

const paymentID = "0190a1b2-0000-7000-8000-000000000001"

func TestStates(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	command := uuid.MustParse("0190a1b2-0000-7000-8000-0000000000aa")
	refund := func(id, more string) string {
		return `{"id":"` + id + `","object":"refund","amount":200,"created":1700000000,"status":"succeeded",` + more + `}`
	}
	ours := `"balance_transaction":"txn_1","metadata":{"emporium_command":"` + command.String() + `","emporium_reason":"broken"}`
	made := time.Unix(1_700_000_000, 0).UTC()
	charge := func(captured int, more string) string {
		return fmt.Sprintf(`"latest_charge":{"id":"ch_1","object":"charge","status":"succeeded","amount":1000,"amount_captured":%d,
			"payment_method_details":{"type":"card","card":{"brand":"visa","last4":"4242","multicapture":{"status":"available"}}}%s}`, captured, more)
	}
	for name, c := range map[string]struct {
		intent  string
		refunds []string
		want    provider.State // without what all have
	}{
		"processing":            {`"status":"processing"`, nil, provider.State{Status: provider.Processing}},
		"requires confirmation": {`"status":"requires_confirmation"`, nil, provider.State{Status: provider.Processing}},
		"to a page": {`"status":"requires_action","client_secret":"s","next_action":{"type":"redirect_to_url","redirect_to_url":{"url":"https://bank.example/"}}`, nil,
			provider.State{Status: provider.ActionRequired, Action: &provider.Action{URL: "https://bank.example/", ClientSecret: "s"}}},
		"by the script": {`"status":"requires_action","client_secret":"s","next_action":{"type":"use_stripe_sdk"}`, nil,
			provider.State{Status: provider.ActionRequired, Action: &provider.Action{ClientSecret: "s"}}},
		"not authenticated": {`"status":"requires_payment_method","last_payment_error":{"code":"payment_intent_authentication_failure"}`, nil,
			provider.State{Status: provider.Failed, Failure: &provider.Failure{Code: provider.AuthenticationFailed,
				ProviderCode: "payment_intent_authentication_failure", Message: provider.AuthenticationFailed.Message()}}},
		"stolen": {`"status":"requires_payment_method","last_payment_error":{"code":"card_declined","decline_code":"stolen_card"},
			"latest_charge":{"id":"ch_1","status":"failed","amount":1000}`, nil, provider.State{Status: provider.Failed,
			Failure: &provider.Failure{Code: provider.Declined, ProviderCode: "stolen_card", Message: provider.Declined.Message()}}},
		"authorised": {`"status":"requires_capture","amount_capturable":1000,` + charge(0, ""), nil,
			provider.State{Status: provider.Authorized, Authorized: 1000, MultiCapture: true}},
		"captured in part, more to come": {`"status":"requires_capture","amount_capturable":600,"amount_received":400,` + charge(400, ""), nil,
			provider.State{Status: provider.Authorized, Authorized: 1000, Captured: 400, MultiCapture: true}},
		"captured": {`"status":"succeeded","amount_received":1000,` + charge(1000, ""), nil,
			provider.State{Status: provider.Authorized, Authorized: 1000, Captured: 1000, MultiCapture: true}},
		"captured in part, the rest released": {`"status":"succeeded","amount_received":800,` + charge(800, `,"amount_refunded":200`),
			[]string{refund("re_release", `"balance_transaction":null,"metadata":{}`)},
			provider.State{Status: provider.Authorized, Authorized: 1000, Captured: 800, Voided: 200, MultiCapture: true}},
		"refunded in part": {`"status":"succeeded","amount_received":1000,` + charge(1000, ""), []string{refund("re_1", ours),
			refund("re_2", `"balance_transaction":"txn_2","reason":"requested_by_customer"`)}, provider.State{Status: provider.Authorized, Authorized: 1000, Captured: 1000,
			Refunded: 400, MultiCapture: true, Refunds: []provider.Refund{
				{ID: "re_1", CommandID: command, Amount: 200, Status: provider.RefundSucceeded, Reason: "broken", At: made},
				{ID: "re_2", Amount: 200, Status: provider.RefundSucceeded, Reason: "requested_by_customer", At: made}}}},
		"refunds that are not": {`"status":"succeeded","amount_received":1000,` + charge(1000, ""), []string{
			strings.Replace(refund("re_1", ours), "succeeded", "pending", 1), strings.Replace(refund("re_2", ours), "succeeded", "failed", 1)},
			provider.State{Status: provider.Authorized, Authorized: 1000, Captured: 1000, MultiCapture: true, Refunds: []provider.Refund{
				{ID: "re_1", CommandID: command, Amount: 200, Status: provider.RefundPending, Reason: "broken", At: made},
				{ID: "re_2", CommandID: command, Amount: 200, Status: provider.RefundFailed, Reason: "broken", At: made}}}},
		"canceled": {`"status":"canceled",` + charge(0, `,"amount_refunded":1000`), []string{refund("re_release", `"reason":"expired_uncaptured_charge"`)},
			provider.State{Status: provider.Voided, Authorized: 1000, Voided: 1000, MultiCapture: true}},
		"canceled early": {`"status":"canceled"`, nil, provider.State{Status: provider.Voided}},
		"canceled after a part": {`"status":"canceled","amount_received":400,` + charge(400, ""), nil,
			provider.State{Status: provider.Authorized, Authorized: 1000, Captured: 400, Voided: 600, MultiCapture: true}},
	} {
		var intent stripego.PaymentIntent
		raw := `{"id":"pi_1","object":"payment_intent","amount":1000,"currency":"eur","metadata":{"emporium_payment":"` + paymentID + `"},
			"payment_method":{"id":"pm_1","type":"card","card":{"brand":"visa","last4":"4242"}},` + c.intent + `}`
		if err := json.Unmarshal([]byte(raw), &intent); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var refunds []*stripego.Refund
		for _, raw := range c.refunds {
			r := new(stripego.Refund)
			if err := json.Unmarshal([]byte(raw), r); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			refunds = append(refunds, r)
		}
		want := c.want
		want.Reference, want.PaymentID, want.Currency, want.Amount, want.At = "pi_1", uuid.MustParse(paymentID), "EUR", 1000, at
		want.Method = provider.Method{Kind: "card", Brand: new("visa"), LastFour: new("4242")}
		if want.Refunds == nil {
			want.Refunds = []provider.Refund{}
		}
		got := stripe.StateOf(&intent, refunds, at)
		if name == "stolen" { // its charge has no details
			want.Method = got.Method
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

// TestManyRefunds are all fetched, the oldest first.
func TestManyRefunds(t *testing.T) {
	t.Parallel()
	refund := func(id string, created int) string {
		return fmt.Sprintf(`{"id":%q,"object":"refund","amount":10,"created":%d,"status":"succeeded","balance_transaction":"txn"}`, id, created)
	}
	p := answering(t, map[string]reply{
		"GET /v1/payment_intents/pi_1": {status: 200, body: `{"id":"pi_1","object":"payment_intent","amount":1000,"amount_received":1000,"currency":"eur","status":"succeeded",
			"latest_charge":{"id":"ch_1","object":"charge","status":"succeeded","amount":1000,"amount_captured":1000,"refunds":{"object":"list","has_more":true,"data":[` + refund("re_3", 3) + `]}}}`},
		"GET /v1/refunds": {status: 200, body: `{"object":"list","has_more":false,"data":[` + refund("re_3", 3) + `,` + refund("re_2", 2) + `,` + refund("re_1", 1) + `]}`},
	})
	s, known, err := p.Find(t.Context(), uuid.Nil, "pi_1")
	if err != nil || !known || s.Refunded != 30 || len(s.Refunds) != 3 || s.Refunds[0].ID != "re_1" || s.Refunds[2].ID != "re_3" {
		t.Errorf("%+v, %v, %v", s, known, err)
	}
}

func TestSince(t *testing.T) {
	t.Parallel()
	p := answering(t, map[string]reply{"GET /v1/payment_intents": {status: 200, body: `{"object":"list","has_more":true,"data":[
		{"id":"pi_2","object":"payment_intent","amount":1000,"currency":"eur","status":"requires_capture","amount_capturable":1000,"metadata":{"emporium_payment":"` + paymentID + `"}},
		{"id":"pi_1","object":"payment_intent","amount":5,"currency":"eur","status":"succeeded","metadata":{}}]}`}})
	states, next, err := p.Since(t.Context(), time.Unix(0, 0), "")
	if err != nil || next != "pi_1" || len(states) != 1 || states[0].Reference != "pi_2" || states[0].Authorized != 1000 {
		t.Errorf("%+v, %q, %v", states, next, err)
	}
}

func event(kind, object string) []byte {
	return []byte(`{"id":"evt_1","object":"event","api_version":"` + stripego.APIVersion + `","created":1700000000,"type":"` + kind + `","data":{"object":` + object + `}}`)
}

func sign(at time.Time, body []byte) http.Header {
	return http.Header{"Stripe-Signature": {fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(webhook.ComputeSignature(at, body, webhookSecret)))}}
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	p := stripe.New(stripe.Config{APIKey: "sk_test_123", WebhookSecret: webhookSecret})
	id := uuid.MustParse(paymentID)
	intent := func(more string) string {
		return `{"id":"pi_1","object":"payment_intent","amount":1000,"currency":"eur","metadata":{"emporium_payment":"` + paymentID + `"},` + more + `}`
	}
	at := time.Unix(1_700_000_000, 0).UTC()
	for _, c := range []struct {
		kind, object         string
		relevant, incomplete bool
		state                provider.State
	}{
		{"payment_intent.requires_action", intent(`"status":"requires_action","client_secret":"s"`), true, false, provider.State{Reference: "pi_1", PaymentID: id,
			Status: provider.ActionRequired, Currency: "EUR", Amount: 1000, Refunds: []provider.Refund{}, Action: &provider.Action{ClientSecret: "s"}, At: at}},
		{"payment_intent.canceled", intent(`"status":"canceled"`), true, false, provider.State{Reference: "pi_1", PaymentID: id, Status: provider.Voided,
			Currency: "EUR", Amount: 1000, Refunds: []provider.Refund{}, At: at}},
		{"payment_intent.amount_capturable_updated", intent(`"status":"requires_capture","latest_charge":"ch_1","amount_capturable":1000`), true, true, provider.State{Reference: "pi_1", PaymentID: id}},
		{"payment_intent.payment_failed", intent(`"status":"requires_payment_method","latest_charge":"ch_1"`), true, true, provider.State{Reference: "pi_1", PaymentID: id}},
		{"payment_intent.succeeded", intent(`"status":"succeeded","latest_charge":"ch_1","amount_received":1000`), true, true, provider.State{Reference: "pi_1", PaymentID: id}},
		{"payment_intent.succeeded", `{"id":"pi_9","object":"payment_intent","amount":5,"currency":"eur","metadata":{},"status":"succeeded"}`, false, false, provider.State{}},
		{"charge.captured", `{"id":"ch_1","object":"charge","payment_intent":"pi_1"}`, true, true, provider.State{Reference: "pi_1"}},
		{"charge.refunded", `{"id":"ch_1","object":"charge","payment_intent":"pi_1"}`, true, true, provider.State{Reference: "pi_1"}},
		{"charge.refund.updated", `{"id":"re_1","object":"refund","payment_intent":"pi_1"}`, true, true, provider.State{Reference: "pi_1"}},
		{"refund.failed", `{"id":"re_1","object":"refund","payment_intent":"pi_1"}`, true, true, provider.State{Reference: "pi_1"}},
		{"charge.refunded", `{"id":"ch_1","object":"charge","payment_intent":null}`, false, false, provider.State{}},
		{"customer.created", `{"id":"cus_1","object":"customer"}`, false, false, provider.State{}},
	} {
		body, now := event(c.kind, c.object), time.Now()
		got, err := p.ParseWebhook(sign(now, body), body, now)
		want := provider.Event{ID: "evt_1", Type: c.kind, At: at, Relevant: c.relevant, Incomplete: c.incomplete, State: c.state}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", c.kind, got, err, want)
		}
	}
	body := event("payment_intent.canceled", intent(`"status":"canceled"`))
	providertest.Signatures(t, p, body, sign)

	old := []byte(strings.Replace(string(body), stripego.APIVersion, "2020-08-27", 1))
	if e, err := p.ParseWebhook(sign(time.Now(), old), old, time.Now()); err != nil || !e.Relevant || !e.Incomplete || e.State.Reference != "pi_1" {
		t.Errorf("an event of another version: %+v, %v", e, err)
	}
	// An old signature does not become young by another time in front of it or behind it.
	past := sign(time.Now().Add(-time.Hour), body).Get("Stripe-Signature")
	for _, header := range []string{fmt.Sprintf("t=%d,%s", time.Now().Unix(), past), fmt.Sprintf("%s,t=%d", past, time.Now().Unix())} {
		if _, err := p.ParseWebhook(http.Header{"Stripe-Signature": {header}}, body, time.Now()); !errors.Is(err, provider.ErrSignature) {
			t.Errorf("%s: %v", header, err)
		}
	}
}

func TestCurrencies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		currency money.Currency
		minor    int64
		units    int64 // -1: refused
	}{
		{"EUR", 1999, 1999}, {"USD", 0, 0}, {"JPY", 500, 500}, {"KRW", 1, 1}, {"ISK", 5, 500}, {"MGA", 500, 5}, {"MGA", 550, -1},
		{"KWD", 5120, 5120}, {"KWD", 5124, -1}, {"TND", 10, 10}, {"IQD", 1000, -1}, {"LYD", 1000, -1}, {"CLF", 10000, -1},
		{"UGX", 100, -1}, {"EUR", -1, -1}, {"ISK", 1 << 62, -1},
	} {
		units, err := stripe.ToStripe(c.minor, c.currency)
		if c.units < 0 {
			if provider.CodeOf(err) != provider.CodeCurrency || provider.IsTemporary(err) {
				t.Errorf("%d %s is %d, %v; want it refused", c.minor, c.currency, units, err)
			}
			continue
		}
		if back := stripe.FromStripe(units, c.currency); err != nil || units != c.units || back != c.minor {
			t.Errorf("%d %s is %d of Stripe's, %v, and %d again; want %d", c.minor, c.currency, units, err, back, c.units)
		}
	}
}
