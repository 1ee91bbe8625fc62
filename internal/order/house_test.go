package order_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/jobs"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/payment/provider"
	"emporium/internal/payment/testprovider"
	"emporium/internal/payment/webhook"
	"emporium/internal/postgres"
	"emporium/internal/user"
)

// house is a market that takes money: the payment service, and a provider that listens on a port, with its books in a file.
type house struct {
	*market
	parcel   id.ID // the shipping method
	payments *payment.Service
	client   *testprovider.Client
	queues   []*jobs.Queue
	hook     *httptest.Server
}

const (
	providerKey    = "key of the tests"
	providerSecret = "secret of the tests"
)

// newHouse opens a house on the clock of the day. Edits may change what its orders work with. Jobs do not run before work.
func newHouse(t *testing.T, goods int, edits ...func(*order.Config)) *house {
	t.Helper()
	h := &house{market: newMarket(t, goods)}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- testprovider.Run(ctx, testprovider.Config{Addr: "127.0.0.1:0", Books: filepath.Join(t.TempDir(), "books"), APIKey: providerKey,
			WebhookSecret: providerSecret, Late: 200 * time.Millisecond, RefundDelay: 200 * time.Millisecond, Log: slog.New(slog.DiscardHandler), Ready: func(url string) { ready <- url }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the provider ended: %v", err)
		}
	})
	select {
	case url := <-ready:
		h.client = testprovider.NewClient(url, providerKey, providerSecret)
		t.Cleanup(h.client.Close)
	case err := <-done:
		done <- err
		t.Fatalf("the provider did not start: %v", err)
	}
	open := func(db *postgres.DB, schema string) *jobs.Queue {
		q, err := jobs.Open(t.Context(), db, h.dbs.URLs[schema], schema, jobs.Options{})
		h.must(err)
		t.Cleanup(q.Close)
		h.queues = append(h.queues, q)
		return q
	}
	h.payments = payment.New(payment.Config{DB: h.dbs.Payments, Sealer: sealer(t, h.keys), Currency: "EUR", Jobs: open(h.dbs.Payments, "payments"),
		Default: "test", Providers: map[string]provider.Provider{"test": provider.Resilient(h.client, provider.Options{Deadline: 2 * time.Second, Failures: 1000})},
		Tell: func(ctx context.Context, key id.Key, f order.PaymentFacts) error {
			return h.PaymentsChanged(ctx, key, f)
		},
		Placed: func(ctx context.Context, key id.Key) (bool, error) { return h.WasPlaced(ctx, key) },
		LineAmounts: func(ctx context.Context, key id.Key, lines, before []payment.LineQuantity) (int64, error) {
			return h.AmountOf(ctx, key, quantities(lines), quantities(before))
		}})
	signing := new(atomic.Pointer[auth.Keyring])
	signing.Store(auth.NewKeyring())
	h.config.Users = user.New(user.Config{DB: h.dbs.Users, Sealer: sealer(t, h.keys), Issuer: auth.NewIssuer("test", "test", signing)})
	h.config.Now, h.config.Payments, h.config.Jobs = nil, h.payments, open(h.dbs.Orders, "orders")
	for _, edit := range edits {
		edit(&h.config)
	}
	h.Service = order.New(h.config)
	h.parcel = h.terms()
	mux := http.NewServeMux()
	mux.Handle(webhook.Pattern, webhook.Handler(h.payments, slog.New(slog.DiscardHandler)))
	h.hook = httptest.NewServer(mux)
	t.Cleanup(h.hook.Close)
	return h
}

func quantities(of []payment.LineQuantity) []order.LineQuantity {
	lines := make([]order.LineQuantity, len(of))
	for i, l := range of {
		lines[i] = order.LineQuantity(l)
	}
	return lines
}

// work runs the jobs, and lets the provider send its events, until the test ends.
func (h *house) work() {
	h.t.Helper()
	h.must(h.client.SetWebhooks(h.t.Context(), testprovider.Webhooks{URL: h.hook.URL + "/webhooks/test", Duplicates: 1}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, len(h.queues))
	for _, q := range h.queues {
		go func() { done <- q.Run(ctx) }()
	}
	h.t.Cleanup(func() {
		cancel()
		for range h.queues {
			if err := <-done; err != nil {
				h.t.Errorf("jobs: %v", err)
			}
		}
	})
}

var address = &order.PostalAddressInput{Name: "Kim Lee", Line1: "Ring 2", City: "Bonn", Country: "DE"}

// fill puts so many of each of the goods into the viewer's cart, with all that an order needs, and returns what it costs.
func (h *house) fill(ctx context.Context, token *string, from, to, quantity int) (total money.Decimal, fresh *string) {
	h.t.Helper()
	p := h.put(ctx, token, from, to, quantity)
	if token == nil {
		token = p.Token
	}
	email := graphql.Omittable[*string]{}
	if token != nil {
		email = graphql.OmittableOf(new("kim@example.com"))
	}
	h.done(h.UpdateCart(ctx, order.CartUpdateInput{Token: token, ShippingAddress: graphql.OmittableOf(address), Email: email,
		ShippingMethodID: graphql.OmittableOf(&h.parcel)}))
	return h.quote(ctx, token).Total().Amount(), token
}

// place orders what is in the viewer's cart.
func (h *house) place(ctx context.Context, total money.Decimal, card, key string) (*order.PlacePayload, error) {
	return h.Place(ctx, order.PlaceInput{ExpectedTotal: total, PaymentMethod: &card, ReturnURL: new("https://shop.example/back")}, key)
}

// buy fills a cart and orders it, and wants the order in a state.
func (h *house) buy(ctx context.Context, card string, from, to, quantity int, want order.Status) *order.Order {
	h.t.Helper()
	total, _ := h.fill(ctx, nil, from, to, quantity)
	p, err := h.place(ctx, total, card, uuid.NewString())
	if err != nil || p.Order == nil || p.Order.Status != want {
		h.t.Fatalf("buy with %s: %+v, %v; want %s", card, p, err, want)
	}
	return h.order(p.Order)
}

// order is an order as staff sees it now.
func (h *house) order(o *order.Order) *order.Order {
	h.t.Helper()
	found, err := h.ByKeys(h.manager(), []id.Key{o.Key()})
	if err != nil || len(found) != 1 {
		h.t.Fatalf("%d orders, %v", len(found), err)
	}
	return found[0]
}

// payment is the only payment of an order.
func (h *house) payment(o *order.Order) *payment.Payment {
	h.t.Helper()
	found, err := h.payments.PaymentsOf(h.manager(), []id.Key{o.Key()})
	if err != nil || len(found) != 1 {
		h.t.Fatalf("%d payments, %v", len(found), err)
	}
	return found[0]
}

// kinds are what has happened to an order, in order.
func (h *house) kinds(o *order.Order) string {
	h.t.Helper()
	events, err := h.EventsOf(h.manager(), []id.Key{o.Key()})
	h.must(err)
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, string(e.Kind))
	}
	return strings.Join(kinds, " ")
}

// ok returns the order of a payload without problems.
func (h *house) ok(p *order.Payload, err error) *order.Order {
	h.t.Helper()
	if err != nil || len(p.UserErrors) > 0 || p.Order == nil {
		h.t.Fatalf("%+v, %v", p, err)
	}
	return p.Order
}

// until waits for something that a job or a process brings about.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	for began := time.Now(); !ok(); {
		if time.Since(began) > 40*time.Second {
			h.t.Fatalf("it never came to be that %s", what)
		}
		select {
		case <-h.t.Context().Done():
			h.t.Fatal(h.t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stock is what is on hand and held of each of the goods, like "20/0".
func (h *house) stock() []string {
	h.t.Helper()
	var all []string
	for n := range h.goods {
		found, err := h.products.Stock(h.manager(), []uuid.UUID{h.variant(n).Key})
		h.must(err)
		all = append(all, fmt.Sprintf("%d/%d", found[0].OnHand, found[0].Held))
	}
	return all
}

func selectTexts(h *house, db *postgres.DB, sql string, reads ...string) []string {
	h.t.Helper()
	found, err := postgres.Select(h.t.Context(), db, postgres.Stmt{Name: "test", SQL: sql, Reads: postgres.All(reads...)}, rowText)
	h.must(err)
	return found
}

// sound holds everything against everything: the stock against its ledger and the holds, our ledger of payments
// against the provider's books, orders against their money, their carts, and what they count on their lines.
func (h *house) sound() {
	h.t.Helper()
	ctx := h.t.Context()
	if wrong := selectTexts(h, h.dbs.Products, `SELECT s.variant_id || ' ' || s.on_hand || ' ' || s.held FROM products.stock s WHERE
		s.on_hand <> (SELECT coalesce(sum(m.delta), 0) FROM products.stock_movements m WHERE m.variant_id = s.variant_id) OR
		s.held <> (SELECT coalesce(sum(h.quantity), 0) FROM products.holds h JOIN products.hold_orders o ON o.order_id = h.order_id
			WHERE h.variant_id = s.variant_id AND o.state = 'HELD') OR s.held > s.on_hand`,
		"products.stock", "products.stock_movements", "products.holds", "products.hold_orders"); len(wrong) > 0 {
		h.t.Errorf("stock is not what its ledger and its holds say: %v", wrong)
	}
	books, err := h.client.Books(ctx)
	h.must(err)
	for _, page := range books.Payments {
		st := page.State
		rows := selectTexts(h, h.dbs.Payments, fmt.Sprintf("SELECT owner_id || '/' || order_id FROM payments.payments WHERE id = '%s'", st.PaymentID), "payments.payments")
		if len(rows) != 1 {
			h.t.Errorf("the provider has a payment that nobody knows here: %+v", st)
			continue
		}
		owner, of, _ := strings.Cut(rows[0], "/")
		key := id.Key{Owner: uuid.MustParse(owner), ID: uuid.MustParse(of)}
		totals, err := h.payments.TotalsOf(h.manager(), []id.Key{{Owner: key.Owner, ID: st.PaymentID}})
		h.must(err)
		t := totals[id.Key{Owner: key.Owner, ID: st.PaymentID}]
		if t.Captured != st.Captured || t.Refunded != st.Refunded || t.Authorized != max(st.Authorized-st.Voided, 0) {
			h.t.Errorf("payment %s: the ledger says %+v, the provider %+v", st.PaymentID, t, st)
		}
		o := h.order(&order.Order{Owner: key.Owner, ID: key.ID})
		facts, err := h.payments.Facts(ctx, key)
		h.must(err)
		h.until("an order is told of its money", func() bool {
			told := selectTexts(h, h.dbs.Orders, fmt.Sprintf("SELECT authorized || ' ' || voided || ' ' || captured || ' ' || refunded FROM orders.orders WHERE id = '%s'", key.ID), "orders.orders")
			return slices.Equal(told, []string{fmt.Sprint(facts.Authorized, facts.Voided, facts.Captured, facts.Refunded)})
		})
		open := st.Capturable() > 0 || st.Captured > st.Refunded
		if placed := o.Owed(); open && !placed && (o.Status != order.StatusPending) {
			h.t.Errorf("order %s is %s, and the provider has money for it: %+v", o.Number, o.Status, st)
		}
	}
	if wrong := selectTexts(h, h.dbs.Orders, `SELECT o.number || ' ' || o.status FROM orders.orders o WHERE o.status IN ('PLACED', 'CONFIRMED') AND
		o.total > 0 AND o.authorized = 0 AND o.payment_id IS NOT NULL`, "orders.orders"); len(wrong) > 0 {
		h.t.Errorf("orders were placed for nothing: %v", wrong)
	}
	if wrong := selectTexts(h, h.dbs.Orders, `SELECT c.id || ' ' || c.status FROM orders.carts c LEFT JOIN orders.orders o ON o.owner_id = c.owner_id AND o.id = c.order_id
		WHERE c.status = 'PLACING' AND o.status <> 'PENDING' OR c.status = 'ORDERED' AND o.placed_at IS NULL`, "orders.carts", "orders.orders"); len(wrong) > 0 {
		h.t.Errorf("carts do not stand as their orders do: %v", wrong)
	}
	if wrong := selectTexts(h, h.dbs.Orders, `SELECT l.id || ' ' || l.fulfilled || ' ' || l.returned FROM orders.lines l WHERE
		l.fulfilled <> (SELECT coalesce(sum(f.quantity), 0) FROM orders.fulfillment_lines f JOIN orders.fulfillments p ON p.owner_id = f.owner_id
			AND p.id = f.fulfillment_id WHERE f.owner_id = l.owner_id AND f.line_id = l.id AND p.status <> 'CANCELED') OR
		l.returned <> (SELECT coalesce(sum(r.quantity), 0) FROM orders.return_lines r WHERE r.owner_id = l.owner_id AND r.line_id = l.id)`,
		"orders.lines", "orders.fulfillment_lines", "orders.fulfillments", "orders.return_lines"); len(wrong) > 0 {
		h.t.Errorf("lines count what is not so: %v", wrong)
	}
	if wrong := selectTexts(h, h.dbs.Orders, `SELECT d.code || ' ' || d.used FROM orders.discounts d WHERE d.used <>
		(SELECT count(*) FROM orders.discount_redemptions r WHERE r.discount_id = d.id)`, "orders.discounts", "orders.discount_redemptions"); len(wrong) > 0 {
		h.t.Errorf("discounts count what is not so: %v", wrong)
	}
	if wrong := selectTexts(h, h.dbs.Orders, `SELECT o.number || ' ' || o.status FROM orders.discount_redemptions r JOIN orders.orders o ON o.id = r.order_id
		WHERE o.status IN ('CANCELED', 'PAYMENT_FAILED', 'EXPIRED')`, "orders.discount_redemptions", "orders.orders"); len(wrong) > 0 {
		h.t.Errorf("orders that were given up keep their discounts: %v", wrong)
	}
	if wrong := selectTexts(h, h.dbs.Orders, `SELECT o.number || ' ' || o.total FROM orders.orders o
		CROSS JOIN LATERAL (SELECT sum(l.quantity * l.unit_price) AS subtotal, sum(l.discount) AS discount,
			bool_or(l.total <> l.quantity * l.unit_price - l.discount) AS odd FROM orders.lines l WHERE l.owner_id = o.owner_id AND l.order_id = o.id) l
		CROSS JOIN LATERAL (SELECT coalesce(sum((t->>'minor')::bigint), 0) AS tax FROM jsonb_array_elements(CASE jsonb_typeof(o.tax_lines) WHEN 'array' THEN o.tax_lines ELSE '[]' END) t) t
		WHERE l.odd OR o.subtotal <> l.subtotal OR o.discount_total <> l.discount OR o.tax_total <> t.tax OR
			o.total <> o.subtotal - o.discount_total + o.shipping_total + CASE WHEN o.tax_included THEN 0 ELSE o.tax_total END`,
		"orders.orders", "orders.lines"); len(wrong) > 0 {
		h.t.Errorf("orders do not add up: %v", wrong)
	}
	h.soldOnce()
}

// soldOnce holds what was sold under each hold, less what was put back, against the lines of the orders that nobody is at; and
// wants nothing held for others than those that are being placed.
func (h *house) soldOnce() {
	h.t.Helper()
	const busy = `(SELECT id FROM orders.orders WHERE status = 'PENDING' OR status IN ('CANCELED', 'PAYMENT_FAILED', 'EXPIRED') AND settled_at IS NULL
		UNION ALL SELECT id FROM orders.edits WHERE settled_at IS NULL UNION ALL SELECT order_id FROM orders.edits WHERE settled_at IS NULL)`
	at := map[string]bool{}
	for _, hold := range selectTexts(h, h.dbs.Orders, "SELECT id::text FROM "+busy+" b", "orders.orders", "orders.edits") {
		at[hold] = true
	}
	sum := func(rows []string) map[string]string {
		of := map[string]string{}
		for _, r := range rows {
			hold, rest, _ := strings.Cut(r, " ")
			if variant, n, _ := strings.Cut(rest, " "); !at[hold] && n != "0" {
				of[hold+" "+variant] = n
			}
		}
		return of
	}
	equal(h.t, "what was sold, by hold", sum(selectTexts(h, h.dbs.Products, `SELECT h.order_id || ' ' || h.variant_id || ' ' || h.quantity - h.restocked
		FROM products.holds h JOIN products.hold_orders o ON o.order_id = h.order_id WHERE o.state = 'SOLD'`, "products.holds", "products.hold_orders")),
		sum(selectTexts(h, h.dbs.Orders, `SELECT coalesce(l.hold_id, l.order_id) || ' ' || l.variant_id || ' ' ||
			sum(CASE WHEN o.status = 'CANCELED' AND o.cancel_restock THEN 0 ELSE l.quantity END) - coalesce(sum(r.back), 0)
			FROM orders.lines l JOIN orders.orders o ON o.owner_id = l.owner_id AND o.id = l.order_id AND o.placed_at IS NOT NULL
			LEFT JOIN (SELECT r.owner_id, r.line_id, sum(r.quantity) AS back FROM orders.return_lines r
				JOIN orders.returns b ON b.owner_id = r.owner_id AND b.id = r.return_id AND b.restocked_at IS NOT NULL GROUP BY 1, 2) r
				ON r.owner_id = l.owner_id AND r.line_id = l.id
			GROUP BY coalesce(l.hold_id, l.order_id), l.variant_id`, "orders.lines", "orders.orders", "orders.returns", "orders.return_lines")))
	for _, hold := range selectTexts(h, h.dbs.Products, "SELECT order_id::text FROM products.hold_orders WHERE state = 'HELD'", "products.hold_orders") {
		if !at[hold] {
			h.t.Errorf("something is held for %s, which nobody is placing", hold)
		}
	}
}

// settled waits until nothing of an order that was given up is left to be brought back.
func (h *house) settled() {
	h.t.Helper()
	h.until("all orders are settled", func() bool {
		return len(selectTexts(h, h.dbs.Orders, `SELECT number FROM orders.orders WHERE status IN ('CANCELED', 'PAYMENT_FAILED', 'EXPIRED') AND settled_at IS NULL`, "orders.orders")) == 0
	})
}

// statuses counts orders by state.
func (h *house) statuses() map[string]int {
	h.t.Helper()
	counts := map[string]int{}
	for _, s := range selectTexts(h, h.dbs.Orders, "SELECT status FROM orders.orders", "orders.orders") {
		counts[s]++
	}
	return counts
}

// charged is how many payments the provider has an open promise, or money, for.
func (h *house) charged() int {
	h.t.Helper()
	books, err := h.client.Books(h.t.Context())
	h.must(err)
	return len(slices.DeleteFunc(books.Payments, func(p *testprovider.Payment) bool {
		return p.State.Capturable() == 0 && p.State.Captured == p.State.Refunded
	}))
}

// raced reports whether an error is what somebody gets who has lost a race with themselves.
func raced(err error) bool {
	return fault.Is(err, fault.InProgress) || errors.Is(err, context.Canceled)
}
