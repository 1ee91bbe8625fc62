package crash

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"emporium/e2e/shop"
	"emporium/internal/payment/testprovider"
)

// pass lets time go by in the database, as if the clocks had been put back before: what a dead process has held lapses, and what
// was to be done later is due. The server must not run, lest it loses what it holds.
func (s *store) pass(d time.Duration) {
	s.t.Helper()
	for _, domain := range domains {
		s.exec(domain, `UPDATE `+domain+`.river_job SET scheduled_at = scheduled_at - $1::interval, attempted_at = attempted_at - $1::interval,
			created_at = created_at - $1::interval WHERE state IN ('available', 'running', 'retryable', 'scheduled')`, d)
		s.exec(domain, `UPDATE `+domain+`.river_leader SET expires_at = elected_at + interval '1 microsecond'`)
	}
	s.exec("orders", `UPDATE orders.orders SET expires_at = expires_at - $1::interval, lease_until = lease_until - $1::interval WHERE status = 'PENDING'`, d)
	s.exec("products", `UPDATE products.hold_orders SET expires_at = expires_at - $1::interval WHERE state = 'HELD'`, d)
}

// hurry makes due what waits for its time, while the server runs.
func (s *store) hurry() {
	s.t.Helper()
	for _, domain := range []string{"orders", "payments"} {
		s.exec(domain, `UPDATE `+domain+`.river_job SET scheduled_at = now() WHERE state IN ('retryable', 'scheduled') AND scheduled_at > now()`)
	}
}

// open are the things that are not through, without what waits for a customer if that is not asked for.
func (s *store) open(waiting bool) (all []string) {
	s.t.Helper()
	acting := s.rows("payments", `SELECT order_id::text FROM payments.payments WHERE status = 'ACTION_REQUIRED'`)
	for _, o := range s.rows("orders", `SELECT id::text FROM orders.orders WHERE status = 'PENDING'`) {
		if waiting || !slices.Contains(acting, o) {
			all = append(all, "order "+o+" is PENDING")
		}
	}
	all = append(all, s.rows("orders", `SELECT 'order ' || id || ' is ' || status || ' and not settled' FROM orders.orders
		WHERE status IN ('CANCELED', 'PAYMENT_FAILED', 'EXPIRED') AND settled_at IS NULL`)...)
	all = append(all, s.rows("orders", `SELECT 'edit ' || id || ' is ' || status || ' and not settled' FROM orders.edits WHERE status = 'PENDING' OR settled_at IS NULL`)...)
	all = append(all, s.rows("payments", `SELECT kind || ' ' || id || ' is PENDING' FROM payments.commands WHERE status = 'PENDING'`)...)
	all = append(all, s.rows("payments", `SELECT 'a webhook ' || id || ' is not applied' FROM payments.inbox WHERE applied_at IS NULL`)...)
	for _, domain := range []string{"orders", "payments"} {
		all = append(all, s.rows(domain, `SELECT kind || ' ' || args::text || ' is ' || state FROM `+domain+`.river_job
			WHERE kind IN ('orders.settle', 'orders.edit', 'payments.tell', 'payments.command') AND state NOT IN ('completed', 'cancelled')`)...)
	}
	return all
}

// finish lets everything come to its end: what waits for customers waits until it expires.
func (s *store) finish() {
	s.t.Helper()
	s.process.kill()
	s.pass(2 * time.Minute)
	s.start("")
	s.through(false)
	s.process.kill()
	s.pass(31 * time.Minute)
	s.start("")
	s.through(true)
}

func (s *store) through(waiting bool) {
	s.t.Helper()
	hurried := time.Now()
	if !shop.Eventually(2*time.Minute, func() bool {
		if time.Since(hurried) > 2*time.Second {
			s.hurry()
			hurried = time.Now()
		}
		return len(s.open(waiting)) == 0
	}) {
		s.t.Fatalf("not through:\n%s\n%s", strings.Join(s.open(waiting), "\n"), s.log())
	}
}

// check holds all books against each other, once everything is through.
func (s *store) check() {
	s.t.Helper()
	s.checkStock()
	s.checkMoney()
	s.checkKeys()
}

// checkStock: what is on hand is the sum of what was moved, what is held is the sum of what orders hold, and each order has taken
// what it has sold.
func (s *store) checkStock() {
	s.t.Helper()
	same := func(what string, got, want map[string]int64) {
		s.t.Helper()
		for key := range union(got, want) {
			if got[key] != want[key] {
				s.t.Errorf("%s of %s: %d, want %d", what, key, got[key], want[key])
			}
		}
	}
	same("on hand", s.sums("products", `SELECT variant_id, on_hand FROM products.stock`),
		s.sums("products", `SELECT variant_id, sum(delta) FROM products.stock_movements GROUP BY 1`))
	same("held", s.sums("products", `SELECT variant_id, held FROM products.stock`),
		s.sums("products", `SELECT h.variant_id, sum(h.quantity) FROM products.holds h JOIN products.hold_orders o USING (order_id) WHERE o.state = 'HELD' GROUP BY 1`))
	same("moved and sold", s.sums("products", `SELECT order_id || '/' || variant_id, -sum(delta) FROM products.stock_movements WHERE order_id IS NOT NULL GROUP BY 1`),
		s.sums("products", `SELECT h.order_id || '/' || h.variant_id, sum(h.quantity - h.restocked) FROM products.holds h
			JOIN products.hold_orders o USING (order_id) WHERE o.state = 'SOLD' GROUP BY 1`))
	// By the order or the edit that the line came with.
	same("sold", s.sums("products", `SELECT h.order_id || '/' || h.variant_id, sum(h.quantity - h.restocked) FROM products.holds h
			JOIN products.hold_orders o USING (order_id) WHERE o.state = 'SOLD' GROUP BY 1`),
		s.sums("orders", `SELECT coalesce(l.hold_id, l.order_id) || '/' || l.variant_id, sum(l.quantity) FROM orders.lines l
			JOIN orders.orders o ON o.owner_id = l.owner_id AND o.id = l.order_id WHERE o.status IN ('PLACED', 'CONFIRMED', 'COMPLETED') GROUP BY 1`))
	for _, held := range s.rows("products", `SELECT order_id::text FROM products.hold_orders WHERE state = 'HELD'`) {
		s.t.Errorf("%s still holds stock", held)
	}
}

func union(a, b map[string]int64) map[string]bool {
	all := map[string]bool{}
	for key := range a {
		all[key] = true
	}
	for key := range b {
		all[key] = true
	}
	return all
}

// money is what was done, in minor units.
type money struct{ authorized, captured, voided, refunded int64 }

// checkMoney: the ledger is that of the provider's books, the order has been told of it, each order that is placed has its one
// promise, and nothing else has any.
func (s *store) checkMoney() {
	s.t.Helper()
	books := s.books()
	byKind := func(domain, sql string) map[string]money {
		all := map[string]money{}
		for _, row := range s.rows(domain, sql) {
			var key string
			var m money
			if _, err := fmt.Sscan(row, &key, &m.authorized, &m.captured, &m.voided, &m.refunded); err != nil {
				s.t.Fatalf("%s: %v", row, err)
			}
			all[key] = m
		}
		return all
	}
	const ledger = `concat_ws(' ', coalesce(sum(amount) FILTER (WHERE kind = 'AUTHORIZED'), 0), coalesce(sum(amount) FILTER (WHERE kind = 'CAPTURED'), 0),
		coalesce(sum(amount) FILTER (WHERE kind = 'VOIDED'), 0),
		coalesce(sum(amount) FILTER (WHERE kind = 'REFUNDED'), 0) - coalesce(sum(amount) FILTER (WHERE kind = 'REFUND_FAILED'), 0))`
	ours := byKind("payments", `SELECT payment_id || ' ' || `+ledger+` FROM payments.events GROUP BY payment_id`)
	ofOrder := byKind("payments", `SELECT order_id || ' ' || `+ledger+` FROM payments.events GROUP BY order_id`)
	told := byKind("orders", `SELECT concat_ws(' ', id, authorized, captured, voided, refunded) FROM orders.orders`)
	orders := map[string]string{} // by payment
	for _, row := range s.rows("payments", `SELECT id || ' ' || order_id FROM payments.payments`) {
		payment, order, _ := strings.Cut(row, " ")
		orders[payment] = order
	}
	at := map[string][]*testprovider.Payment{} // by order
	for _, p := range books {
		payment := p.State.PaymentID.String()
		theirs := money{p.State.Authorized, p.State.Captured, p.State.Voided, p.State.Refunded}
		if ours[payment] != theirs {
			s.t.Errorf("payment %s: the ledger has %+v, the provider %+v", payment, ours[payment], theirs)
		}
		if theirs.authorized != 0 && theirs.authorized != p.State.Amount {
			s.t.Errorf("payment %s: %d of %d were authorized", payment, theirs.authorized, p.State.Amount)
		}
		if orders[payment] == "" {
			s.t.Errorf("the provider has a payment %s, which is nobody's", payment)
		}
		at[orders[payment]] = append(at[orders[payment]], p)
		done := map[string]bool{}
		for _, op := range p.Operations {
			if key := op.Kind + op.Key.String(); op.Kind == "capture" || op.Kind == "refund" || op.Kind == "void" {
				if done[key] {
					s.t.Errorf("payment %s: %s twice by one key", payment, op.Kind)
				}
				done[key] = true
			}
		}
		delete(ours, payment)
	}
	for payment, m := range ours {
		if m != (money{}) {
			s.t.Errorf("payment %s: the ledger has %+v, of which the provider knows nothing", payment, m)
		}
	}
	status := map[string]string{}
	for _, row := range s.rows("orders", `SELECT id || ' ' || status FROM orders.orders`) {
		order, is, _ := strings.Cut(row, " ")
		status[order] = is
		m := ofOrder[order]
		if told[order] != m {
			s.t.Errorf("order %s: was told %+v, the ledger has %+v", order, told[order], m)
		}
		placed := is == "PLACED" || is == "CONFIRMED" || is == "COMPLETED"
		promises := 0
		for _, p := range at[order] {
			if p.State.Authorized > 0 {
				promises++
			}
		}
		switch {
		case placed && promises != 1:
			s.t.Errorf("order %s is %s with %d promises", order, is, promises)
		case !placed && (m.authorized != m.voided+m.captured || m.captured != m.refunded):
			s.t.Errorf("order %s is %s, and the shop has kept %+v", order, is, m)
		}
	}
	if len(books) == 0 || len(status) == 0 {
		s.t.Errorf("there are %d payments and %d orders: nothing was looked at", len(books), len(status))
	}
	for order := range at {
		if status[order] == "" {
			s.t.Errorf("the provider was asked for an order %s, which is none", order)
		}
	}
	// What succeeded is what was done.
	commanded := byKind("payments", `SELECT concat_ws(' ', payment_id, 0, coalesce(sum(amount) FILTER (WHERE kind = 'CAPTURE'), 0), 0,
		coalesce(sum(amount) FILTER (WHERE kind = 'REFUND'), 0)) FROM payments.commands WHERE status = 'SUCCEEDED' GROUP BY payment_id`)
	for _, p := range books {
		if c := commanded[p.State.PaymentID.String()]; c.captured != p.State.Captured || c.refunded != p.State.Refunded {
			s.t.Errorf("payment %s: commanded %+v, and done were %+v", p.State.PaymentID, c, p.State)
		}
	}
}

func (s *store) books() []*testprovider.Payment {
	s.t.Helper()
	books, err := s.provider.Books(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return books.Payments
}

// checkKeys: a cart becomes one order at most, the manager's keys have one command each, and no job was given up.
func (s *store) checkKeys() {
	s.t.Helper()
	keys := s.rows("payments", `SELECT count(*)::text FROM payments.idempotency_keys WHERE outcome->'command' IS NOT NULL`)[0]
	if commands := s.rows("payments", `SELECT count(*)::text FROM payments.commands WHERE actor_id IS NOT NULL`)[0]; keys != commands {
		s.t.Errorf("%s keys have made %s commands", keys, commands)
	}
	for _, row := range s.rows("orders", `SELECT cart_id || ' has become ' || count(*) || ' orders' FROM orders.orders
		WHERE status IN ('PLACED', 'CONFIRMED', 'COMPLETED') AND cart_id IS NOT NULL GROUP BY cart_id HAVING count(*) > 1`) {
		s.t.Errorf("cart %s", row)
	}
	for _, row := range s.rows("orders", `SELECT 'cart ' || c.id || ' is ' || c.status || ', and its order ' || o.status FROM orders.carts c
		JOIN orders.orders o ON o.owner_id = c.owner_id AND o.id = c.order_id WHERE c.status = 'PLACING' OR o.status NOT IN ('PLACED', 'CONFIRMED', 'CANCELED')`) {
		s.t.Error(row)
	}
	for _, domain := range []string{"orders", "payments"} {
		for _, row := range s.rows(domain, `SELECT kind || ' ' || args::text || ' was given up: ' || errors::text FROM `+domain+`.river_job
			WHERE state IN ('discarded', 'cancelled') AND kind NOT LIKE '%.clean' AND kind <> 'payments.reconcile'`) {
			s.t.Error(row)
		}
	}
}
