package graph

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/jobs"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/payment/provider"
	"emporium/internal/payment/testprovider"
	"emporium/internal/postgres"
)

const (
	paymentCapture = `mutation($in: PaymentCaptureInput!, $key: String!) { paymentCapture(input: $in, idempotencyKey: $key) {
		payment { status captured { amount } } command { kind status amount { amount } } userErrors { code field message } } }`
	paymentVoid = `mutation($in: PaymentVoidInput!, $key: String!) { paymentVoid(input: $in, idempotencyKey: $key) {
		payment { status } command { kind status } userErrors { code field message } } }`
	paymentRefund = `mutation($in: PaymentRefundInput!, $key: String!) { paymentRefund(input: $in, idempotencyKey: $key) {
		payment { status refunded { amount } } command { kind status amount { amount } reason note lines { orderLineId quantity } actor { name } }
		userErrors { code field message } } }`
)

// takeMoney gives the world a provider that runs, and queues, which do not, in which the audit log is kept. A line of an order
// is worth 5.00.
func (w *world) takeMoney() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- testprovider.Run(ctx, testprovider.Config{Addr: "127.0.0.1:0", Books: filepath.Join(w.t.TempDir(), "books"), APIKey: "key",
			WebhookSecret: "secret", Ready: func(url string) { ready <- url }})
	}()
	client := testprovider.NewClient(<-ready, "key", "secret")
	w.t.Cleanup(func() {
		client.Close()
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the provider ended: %v", err)
		}
	})
	queues := openQueues(w.t, w.dbs)
	for _, q := range queues {
		q.AuditTo(w.services.Users.WriteAudit)
	}
	jobs.Handle(queues[jobs.Orders], func(context.Context, errand) error { return nil })
	w.services.Products.RunJobs(queues[jobs.Products], slog.New(slog.DiscardHandler))
	w.queues, w.options.Queues = queues, queues
	w.services.Payments = payment.New(payment.Config{DB: w.dbs.Payments, Sealer: w.sealer, Currency: "EUR", Jobs: queues[jobs.Payments], Default: "test",
		Providers: map[string]provider.Provider{"test": client},
		LineAmounts: func(_ context.Context, _ id.Key, lines, _ []payment.LineQuantity) (worth int64, err error) {
			for _, l := range lines {
				if l.Quantity > 3 {
					return 0, fault.New(fault.Conflict, "there are not so many")
				}
				worth += int64(l.Quantity) * 500
			}
			return worth, nil
		}})
	w.services.Orders = order.New(order.Config{DB: w.dbs.Orders, Sealer: w.sealer, Currency: "EUR", Products: w.services.Products,
		Users: w.services.Users, TaxIncluded: true, Payments: w.services.Payments, Jobs: queues[jobs.Orders]})
	w.options.Services = w.services
	var err error
	if w.handler, err = NewHandler(w.options); err != nil {
		w.t.Fatal(err)
	}
}

// pays lets Ada pay 50.00 for an order of hers, and returns the ID of the payment.
func (w *world) pays(card string, want order.PaymentState) id.ID {
	w.t.Helper()
	key := id.Key{Owner: w.ids["Payment"].Owner, ID: id.New()}
	got, err := w.services.Payments.Authorize(w.t.Context(), order.PaymentRequest{Order: id.Key{Owner: key.Owner, ID: id.New()}, Number: "EM-1",
		PaymentID: key.ID, Amount: 5000, Total: 5000, Currency: "EUR", Method: card})
	if err != nil || got.State != want {
		w.t.Fatalf("%+v, %v", got, err)
	}
	return id.Owned(id.Payment, key)
}

func moving(key string, of id.ID, more map[string]any) map[string]any {
	in := map[string]any{"paymentId": of.String()}
	for name, value := range more {
		in[name] = value
	}
	return map[string]any{"key": key, "in": in}
}

// moneyState is everything that a command writes.
func (w *world) moneyState() string {
	w.t.Helper()
	text, _, err := postgres.First(w.t.Context(), w.dbs.Payments, postgres.Stmt{Name: "test.money_state", SQL: `SELECT concat_ws(' ',
		(SELECT count(*) FROM payments.commands), (SELECT count(*) FROM payments.events), (SELECT count(*) FROM payments.idempotency_keys),
		(SELECT count(*) FROM payments.river_job), (SELECT sum(capture_commanded + refund_commanded) FROM payments.payments))`,
		Reads: postgres.All("payments.commands", "payments.events", "payments.idempotency_keys", "payments.river_job", "payments.payments")}, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// TestPaymentRoles asks for the mutations of payments as everybody. What is refused has returned nothing, read nothing and
// written nothing.
func TestPaymentRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.takeMoney()
	refused := map[string]string{"": "UNAUTHENTICATED", "ada": "FORBIDDEN", "bob": "FORBIDDEN", "support": "FORBIDDEN", "service": "FORBIDDEN"}
	of := w.pays("card_ok", order.PaymentPromised)
	before := w.moneyState()
	mutations := map[string]struct {
		document  string
		variables map[string]any
	}{
		"paymentCapture": {paymentCapture, moving("k", of, nil)}, "paymentVoid": {paymentVoid, moving("k", of, nil)},
		"paymentRefund": {paymentRefund, moving("k", of, map[string]any{"amount": "1", "reason": "OTHER"})},
	}
	for _, who := range everyone {
		for field, m := range mutations {
			if refused[who] == "" {
				continue
			}
			a := w.ask(who, m.document, m.variables)
			if got := a.codes(); len(got) != 1 || got[0] != refused[who]+" "+field || !strings.Contains(a.body, fmt.Sprintf(`"data":{"%s":null}`, field)) {
				t.Errorf("%s as %q: %s", field, who, a.body)
			}
			if slices.ContainsFunc(a.statements, func(s string) bool { return s != "users.check_session" }) || w.moneyState() != before {
				t.Errorf("%s as %q: %v, %s is now %s", field, who, a.statements, before, w.moneyState())
			}
		}
	}
	for who, amount := range map[string]string{"manager": "10", "admin": "20"} {
		w.data(who, paymentCapture, moving(who, of, map[string]any{"amount": amount}))
	}
}

// TestActionIsTheCustomers shows what is to be done to whoever has to do it, and to nobody else.
func TestActionIsTheCustomers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.takeMoney()
	of := w.pays("card_action", order.PaymentActionRequired)
	query := `{ payment(id: "` + of.String() + `") { status nextStates action { url } } }`
	for _, who := range everyone {
		a := w.ask(who, query, nil)
		shown := strings.Contains(a.body, "http://127.0.0.1")
		if shown != (who == "ada") || strings.Contains(a.body, "errors") {
			t.Errorf("as %q: %s", who, a.body)
		}
		seen := strings.Contains(a.body, `"nextStates":["AUTHORIZED","VOIDED","FAILED"]`)
		if want := who == "ada" || who == "support" || who == "manager" || who == "admin"; seen != want {
			t.Errorf("as %q: %s", who, a.body)
		}
	}
}

// TestPaymentsOverHTTP moves money as a client does: with keys, and again.
func TestPaymentsOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.takeMoney()
	want := func(what string, a answer, body string) {
		t.Helper()
		if a.body != body {
			t.Errorf("%s:\n%s, want\n%s", what, a.body, body)
		}
	}
	of := w.pays("card_ok", order.PaymentPromised)
	want("capture", w.ask("manager", paymentCapture, moving("a", of, map[string]any{"amount": "30.00"})),
		`{"data":{"paymentCapture":{"payment":{"status":"PARTIALLY_CAPTURED","captured":{"amount":"30.00"}},"command":{"kind":"CAPTURE","status":"SUCCEEDED","amount":{"amount":"30.00"}},"userErrors":[]}}}`)
	want("too much", w.ask("manager", paymentCapture, moving("b", of, map[string]any{"amount": "20.01"})),
		`{"data":{"paymentCapture":{"payment":{"status":"PARTIALLY_CAPTURED","captured":{"amount":"30.00"}},"command":null,"userErrors":[{"code":"INVALID","field":["amount"],"message":"20.00 EUR can be collected"}]}}}`)
	want("the rest", w.ask("admin", paymentCapture, moving("c", of, nil)),
		`{"data":{"paymentCapture":{"payment":{"status":"CAPTURED","captured":{"amount":"50.00"}},"command":{"kind":"CAPTURE","status":"SUCCEEDED","amount":{"amount":"20.00"}},"userErrors":[]}}}`)
	state := w.moneyState()
	want("the first again, as it is by now", w.ask("manager", paymentCapture, moving("a", of, map[string]any{"amount": "30.00"})),
		`{"data":{"paymentCapture":{"payment":{"status":"CAPTURED","captured":{"amount":"50.00"}},"command":{"kind":"CAPTURE","status":"SUCCEEDED","amount":{"amount":"30.00"}},"userErrors":[]}}}`)
	for name, a := range map[string]answer{
		"another request":  w.ask("manager", paymentCapture, moving("a", of, map[string]any{"amount": "30.01"})),
		"another mutation": w.ask("manager", paymentVoid, moving("a", of, nil)),
	} {
		if codes := a.codes(); len(codes) != 1 || !strings.HasPrefix(codes[0], "CONFLICT payment") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if got := w.moneyState(); got != state {
		t.Errorf("%s has become %s", state, got)
	}
	for name, c := range map[string]struct {
		document string
		in       map[string]any
		of       id.ID
		errors   string
	}{
		"nothing left":          {paymentCapture, nil, of, `{"code":"STALE","field":["paymentId"],"message":"there is nothing left to collect"}`},
		"nothing to give back":  {paymentVoid, nil, of, `{"code":"STALE","field":["paymentId"],"message":"there is nothing to give back"}`},
		"a payment that is not": {paymentVoid, nil, id.Owned(id.Payment, id.Key{Owner: of.Owner, ID: id.New()}), `{"code":"INVALID","field":["paymentId"],"message":"there is no such payment"}`},
		"an order":              {paymentVoid, nil, w.ids["Order"], `{"code":"INVALID","field":["paymentId"],"message":"there is no such payment"}`},
		"refund of nothing":     {paymentRefund, map[string]any{"reason": "OTHER"}, of, `{"code":"INVALID","field":["amount"],"message":"give an amount or lines"}`},
		"refund of both":        {paymentRefund, map[string]any{"reason": "OTHER", "amount": "1", "lines": []any{map[string]any{"orderLineId": w.ids["OrderLine"].String(), "quantity": 1}}}, of, `{"code":"INVALID","field":["amount"],"message":"give an amount or lines"}`},
		"too many decimals":     {paymentRefund, map[string]any{"reason": "OTHER", "amount": "1.001"}, of, `{"code":"INVALID","field":["amount"],"message":"this is no amount in EUR"}`},
		"negative":              {paymentRefund, map[string]any{"reason": "OTHER", "amount": "-1"}, of, `{"code":"INVALID","field":["amount"],"message":"there is nothing to pay back"}`},
		"more than there is":    {paymentRefund, map[string]any{"reason": "OTHER", "amount": "50.01"}, of, `{"code":"INVALID","field":["amount"],"message":"50.00 EUR can be paid back"}`},
		"too many lines":        {paymentRefund, map[string]any{"reason": "RETURNED", "lines": []any{map[string]any{"orderLineId": w.ids["OrderLine"].String(), "quantity": 4}}}, of, `{"code":"INVALID","field":["lines"],"message":"there are not so many"}`},
		"no lines":              {paymentRefund, map[string]any{"reason": "RETURNED", "lines": []any{map[string]any{"orderLineId": w.ids["Product"].String(), "quantity": 1}}}, of, `{"code":"INVALID","field":["lines"],"message":"these are not lines of the order, or none of them"}`},
		"a long note":           {paymentRefund, map[string]any{"reason": "OTHER", "amount": "1", "note": strings.Repeat("é", 1001)}, of, `{"code":"INVALID","field":["note"],"message":"a note has at most 1000 characters"}`},
	} {
		a := w.ask("manager", c.document, moving(strings.ReplaceAll(name, " ", "_"), c.of, c.in))
		if !strings.Contains(a.body, `"command":null,"userErrors":[`+c.errors+`]`) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	line := w.ids["OrderLine"].String()
	want("lines", w.ask("manager", paymentRefund, moving("l", of, map[string]any{"reason": "RETURNED", "note": " worn ", "lines": []any{map[string]any{"orderLineId": line, "quantity": 3}}})),
		`{"data":{"paymentRefund":{"payment":{"status":"PARTIALLY_REFUNDED","refunded":{"amount":"15.00"}},"command":{"kind":"REFUND","status":"SUCCEEDED","amount":{"amount":"15.00"},"reason":"RETURNED","note":"worn","lines":[{"orderLineId":"`+line+`","quantity":3}],"actor":{"name":"Name of manager"}},"userErrors":[]}}}`)

	// Twenty at once with one key: it is done once.
	var answered atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a := w.ask("admin", paymentRefund, moving("once", of, map[string]any{"amount": "5", "reason": "OTHER"}))
			switch codes := strings.Join(a.codes(), ""); {
			case codes == "" && strings.Contains(a.body, `"userErrors":[]`):
				answered.Add(1)
			case codes != "IN_PROGRESS paymentRefund":
				t.Error(a.body)
			}
		})
	}
	wg.Wait()
	if a := w.ask("ada", `{ payment(id: "`+of.String()+`") { refunded { amount } } }`, nil); answered.Load() == 0 || !strings.Contains(a.body, `"20.00"`) {
		t.Errorf("%d were answered: %s", answered.Load(), a.body)
	}

	other := w.pays("card_ok", order.PaymentPromised)
	want("void", w.ask("manager", paymentVoid, moving("v", other, nil)),
		`{"data":{"paymentVoid":{"payment":{"status":"VOIDED"},"command":{"kind":"VOID","status":"SUCCEEDED"},"userErrors":[]}}}`)
	want("capture of what was given back", w.ask("manager", paymentCapture, moving("w", other, nil)),
		`{"data":{"paymentCapture":{"payment":{"status":"VOIDED","captured":{"amount":"0.00"}},"command":null,"userErrors":[{"code":"STALE","field":["paymentId"],"message":"the promise was given back"}]}}}`)
	fails := w.pays("card_capture_fails", order.PaymentPromised)
	want("a capture that is refused", w.ask("manager", paymentCapture, moving("f", fails, nil)),
		`{"data":{"paymentCapture":{"payment":{"status":"AUTHORIZED","captured":{"amount":"0.00"}},"command":{"kind":"CAPTURE","status":"FAILED","amount":{"amount":"50.00"}},"userErrors":[]}}}`)
}
