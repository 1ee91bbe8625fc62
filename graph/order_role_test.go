package graph

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/postgres"
)

// orderMutation is a mutation with the input of this type, and an idempotency key if it takes one.
func orderMutation(field, input, selected string, keyed bool) string {
	variable, argument := "", ""
	if keyed {
		variable, argument = ", $key: String!", ", idempotencyKey: $key"
	}
	return fmt.Sprintf(`mutation($in: %s!%s) { %s(input: $in%s) { %s userErrors { code field message } } }`, input, variable, field, argument, selected)
}

const theOrder = `order { id number status email lines { title } payments { status } }`

var (
	orderPlace         = orderMutation("orderPlace", "OrderPlaceInput", theOrder+` guest { token }`, true)
	orderPay           = orderMutation("orderPay", "OrderPayInput", theOrder, true)
	orderCancel        = orderMutation("orderCancel", "OrderCancelInput", theOrder, true)
	orderConfirm       = orderMutation("orderConfirm", "OrderConfirmInput", theOrder, false)
	orderFulfill       = orderMutation("orderFulfill", "OrderFulfillInput", theOrder+` fulfillment { status }`, false)
	fulfillmentShip    = orderMutation("fulfillmentShip", "FulfillmentShipInput", theOrder+` fulfillment { status }`, false)
	fulfillmentDeliver = orderMutation("fulfillmentDeliver", "FulfillmentDeliverInput", theOrder+` fulfillment { status }`, false)
	fulfillmentCancel  = orderMutation("fulfillmentCancel", "FulfillmentCancelInput", theOrder+` fulfillment { status }`, false)
	orderReturn        = orderMutation("orderReturn", "OrderReturnInput", theOrder, true)
	orderEdit          = orderMutation("orderEdit", "OrderEditInput", theOrder+` preview { total { amount } }`, true)
	orderNoteAdd       = orderMutation("orderNoteAdd", "OrderNoteAddInput", theOrder, false)
	orderDraftCreate   = orderMutation("orderDraftCreate", "OrderDraftInput", theOrder, true)
	orderDraftUpdate   = orderMutation("orderDraftUpdate", "OrderDraftUpdateInput", theOrder, false)
	orderDraftPlace    = orderMutation("orderDraftPlace", "OrderDraftPlaceInput", theOrder, true)
	jobRetry           = orderMutation("jobRetry", "JobRetryInput", `job { kind args }`, false)
)

// tradeState is all that a mutation of orders or jobs can write.
func (w *world) tradeState() string {
	w.t.Helper()
	return w.digests(
		"orders.owners", "orders.orders", "orders.order_numbers", "orders.lines", "orders.fulfillments", "orders.fulfillment_lines",
		"orders.events", "orders.returns", "orders.return_lines", "orders.edits", "orders.idempotency_keys", "orders.carts", "orders.cart_lines",
		"orders.cart_tokens", "orders.discount_redemptions", "orders.river_job",
		"products.stock", "products.stock_movements", "products.hold_orders", "products.holds", "products.restocks",
		"payments.payments", "payments.events", "payments.commands", "payments.closed_orders", "payments.idempotency_keys", "payments.river_job",
		"users.users", "users.sessions",
	)
}

// digests returns a line for each table, which is another one when a row of it is.
func (w *world) digests(tables ...string) string {
	w.t.Helper()
	var state strings.Builder
	for _, table := range tables {
		schema, _, _ := strings.Cut(table, ".")
		db := map[string]*postgres.DB{"orders": w.dbs.Orders, "products": w.dbs.Products, "payments": w.dbs.Payments, "users": w.dbs.Users}[schema]
		text, _, err := postgres.First(w.t.Context(), db, postgres.Stmt{Name: "test.state",
			SQL: "SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM " + table + " t", Reads: postgres.All(table)}, pgx.RowTo[string])
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintln(&state, table, text)
	}
	return state.String()
}

// sells stores an order of Ada's for three things, of which the parcels hold one each.
func (w *world) sells(parcels ...order.ParcelStatus) *order.Draft {
	w.t.Helper()
	o, _ := w.sale(w.ids["Order"].Owner, "ada", 0, []uuid.UUID{w.ids["Variant"].Key}, w.ids["Product"].Key)
	o.Order.PaymentStatus, o.Order.FulfillmentStatus = order.PaymentUnpaid, order.Unfulfilled
	o.Paid, o.Fulfillments, o.FulfillmentLines = order.PaymentFacts{}, nil, nil
	for i, status := range parcels {
		f := order.Fulfillment{ID: id.New(), Status: status, CreatedAt: o.Order.CreatedAt}
		if status != order.ParcelPending {
			f.ShippedAt = &f.CreatedAt
		}
		o.Fulfillments = append(o.Fulfillments, f)
		o.FulfillmentLines = append(o.FulfillmentLines, order.FulfillmentLine{FulfillmentID: f.ID, LineID: o.Lines[i].ID, Quantity: 1})
		o.Order.FulfillmentStatus, o.Order.Status = order.PartiallyFulfilled, order.StatusConfirmed
	}
	if err := w.services.Orders.Load(w.t.Context(), slices.Values([]*order.Draft{o}), nil); err != nil {
		w.t.Fatal(err)
	}
	return o
}

// keyed adds an idempotency key to the variables of a mutation.
func keyed(key string, variables map[string]any) map[string]any {
	variables["key"] = key
	return variables
}

// TestOrderRoles is the table of role × mutation of orders, parcels, drafts and jobs. What is refused has returned nothing,
// and written nothing; what a role does not allow has read nothing either.
func TestOrderRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.takeMoney()
	owners := func(field string) expectation {
		e := expectation{}
		for _, who := range everyone {
			e[who] = "NOT_FOUND " + field
		}
		e[""], e["ada"], e["manager"], e["admin"] = "UNAUTHENTICATED "+field, "data", "data", "data"
		return e
	}
	goods := []any{map[string]any{"variantId": w.ids["Variant"].String(), "quantity": 1}}
	draft := func() map[string]any {
		return map[string]any{"customerId": w.ids["User"].String(), "lines": goods}
	}
	drafted := func() string {
		d := w.data("admin", orderDraftCreate, keyed(uuid.NewString(), map[string]any{"in": draft()}))
		return d["orderDraftCreate"].(map[string]any)["order"].(map[string]any)["id"].(string)
	}
	ofOrder := func(more ...any) func() map[string]any {
		return func() map[string]any { return in(append(more, "orderId", w.sells().Order.GlobalID().String())...) }
	}
	ofParcel := func(status order.ParcelStatus) func() map[string]any {
		return func() map[string]any {
			o := w.sells(status)
			return in("fulfillmentId", id.Owned(id.Fulfillment, id.Key{Owner: o.Order.Owner, ID: o.Fulfillments[0].ID}).String())
		}
	}
	for _, c := range []struct {
		field, object, document string
		variables               func() map[string]any // of what is Ada's, made anew each time
		want                    expectation
	}{
		// Only Ada and the admin have a cart.
		{"orderPlace", "order", orderPlace, func() map[string]any { return in("expectedTotal", "76.54", "paymentMethod", "card_ok") }, expectation{
			"": "UNAUTHENTICATED orderPlace", "ada": "data", "bob": "null", "support": "null", "manager": "null", "admin": "data", "service": "null"}},
		{"orderPay", "order", orderPay, ofOrder("paymentMethod", "card_ok"), owners("orderPay")},
		{"orderCancel", "order", orderCancel, ofOrder(), owners("orderCancel")},
		{"orderConfirm", "order", orderConfirm, ofOrder(), managersOnly("orderConfirm")},
		{"orderFulfill", "fulfillment", orderFulfill, ofOrder("ship", true), managersOnly("orderFulfill")},
		{"fulfillmentShip", "fulfillment", fulfillmentShip, ofParcel(order.ParcelPending), managersOnly("fulfillmentShip")},
		{"fulfillmentDeliver", "fulfillment", fulfillmentDeliver, ofParcel(order.ParcelShipped), managersOnly("fulfillmentDeliver")},
		{"fulfillmentCancel", "fulfillment", fulfillmentCancel, ofParcel(order.ParcelPending), managersOnly("fulfillmentCancel")},
		{"orderReturn", "order", orderReturn, func() map[string]any {
			o := w.sells(order.ParcelShipped)
			line := id.Owned(id.OrderLine, id.Key{Owner: o.Order.Owner, ID: o.Lines[0].ID})
			return in("orderId", o.Order.GlobalID().String(), "restock", false, "lines", []any{map[string]any{"orderLineId": line.String(), "quantity": 1}})
		}, managersOnly("orderReturn")},
		{"orderEdit", "order", orderEdit, ofOrder("add", goods), managersOnly("orderEdit")},
		{"orderNoteAdd", "order", orderNoteAdd, ofOrder("message", "Rang."), managersOnly("orderNoteAdd")},
		{"orderDraftCreate", "order", orderDraftCreate, func() map[string]any { return map[string]any{"in": draft()} }, managersOnly("orderDraftCreate")},
		{"orderDraftUpdate", "order", orderDraftUpdate, func() map[string]any {
			d := draft()
			d["note"] = "By the door."
			return in("orderId", drafted(), "draft", d)
		}, managersOnly("orderDraftUpdate")},
		{"orderDraftPlace", "order", orderDraftPlace, func() map[string]any { return in("orderId", drafted(), "paymentMethod", "card_ok") }, managersOnly("orderDraftPlace")},
		{"jobRetry", "job", jobRetry, func() map[string]any {
			if _, err := postgres.Exec(t.Context(), w.dbs.Orders, postgres.Stmt{Name: "test.put_off",
				SQL: "UPDATE orders.river_job SET state = 'scheduled', scheduled_at = now() + interval '1 hour' WHERE kind = 'test.errand'"}); err != nil {
				t.Fatal(err)
			}
			jobs := w.data("admin", `{ jobs(domain: ORDERS, first: 1, filter: {kind: "test.errand"}) { nodes { id } } }`, nil)
			return in("jobId", jobs["jobs"].(map[string]any)["nodes"].([]any)[0].(map[string]any)["id"])
		}, managersOnly("jobRetry")},
	} {
		for _, who := range everyone {
			variables := c.variables()
			if strings.Contains(c.document, "$key") {
				keyed(uuid.NewString(), variables)
			}
			w.ask(who, `{ viewer { id } }`, nil) // the session is known from here on
			before := w.tradeState()
			a := w.ask(who, c.document, variables)
			want := c.want[who]
			if got := a.outcome([]string{c.field, c.object}); got != want {
				t.Errorf("%s as %q: %q, want %q: %s", c.field, who, got, want, a.body)
			}
			if done := strings.Contains(a.body, `"userErrors":[]`); done != (want == "data") {
				t.Errorf("%s as %q: %q: %s", c.field, who, want, a.body)
			}
			if refused := want != "data" && want != "null"; refused && !strings.Contains(a.body, fmt.Sprintf(`"data":{"%s":null}`, c.field)) {
				t.Errorf("%s as %q returned something: %s", c.field, who, a.body)
			}
			if changed := w.tradeState() != before; changed != (want == "data") {
				t.Errorf("%s as %q: %q, and written: %t", c.field, who, want, changed)
			}
			if (strings.HasPrefix(want, "FORBIDDEN") || strings.HasPrefix(want, "UNAUTHENTICATED")) &&
				slices.ContainsFunc(a.statements, func(s string) bool { return s != "users.check_session" }) {
				t.Errorf("%s as %q was refused, but %v were run", c.field, who, a.statements)
			}
		}
	}
}

// TestPaidOrdersAreNotPaidAgain wants orders that were loaded as paid to owe nothing.
func TestPaidOrdersAreNotPaidAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.takeMoney()
	before := w.tradeState()
	for _, who := range []string{"ada", "manager"} {
		a := w.ask(who, orderPay, keyed("k", in("orderId", w.ids["Order"].String(), "paymentMethod", "card_ok")))
		if !strings.Contains(a.body, `"userErrors":[{"code":"INVALID","field":["orderId"],"message":"nothing is owed for this order"}]`) || w.tradeState() != before {
			t.Errorf("as %q: %s", who, a.body)
		}
	}
}

// TestOthersOrdersDoNotExist asks for the customers' mutations with Ada's order, and with orders that there are not, and wants
// the same bytes.
func TestOthersOrdersDoNotExist(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.takeMoney()
	adas := w.sells().Order.GlobalID()
	for field, c := range map[string]struct {
		document string
		more     []any
	}{"orderPay": {orderPay, []any{"paymentMethod", "card_ok"}}, "orderCancel": {orderCancel, nil}} {
		for _, who := range []string{"bob", "support", "service"} {
			own := w.data("admin", `query($e: EmailAddress) { user(email: $e) { id } }`, map[string]any{"e": who + "@example.com"})["user"].(map[string]any)["id"].(string)
			viewer, err := id.Parse(own)
			if err != nil {
				t.Fatal(err)
			}
			before := w.tradeState()
			ask := func(i id.ID) string {
				return w.ask(who, c.document, keyed(uuid.NewString(), in(append(c.more, "orderId", i.String())...))).body
			}
			want := ask(adas)
			for name, i := range map[string]id.ID{
				"another order of Ada's":      {Kind: id.Order, Owner: adas.Owner, Key: uuid.New()},
				"this order of somebody else": {Kind: id.Order, Owner: uuid.New(), Key: adas.Key},
				"an order of one's own":       {Kind: id.Order, Owner: viewer.Key, Key: uuid.New()},
				"this order, of one's own":    {Kind: id.Order, Owner: viewer.Key, Key: adas.Key},
				"a product":                   w.ids["Product"],
				"a line":                      w.ids["OrderLine"],
			} {
				if got := ask(i); got != want {
					t.Errorf("%s of Ada's order as %s: %s, of %s that there is not: %s", field, who, want, name, got)
				}
			}
			if !strings.Contains(want, "NOT_FOUND") || strings.Contains(want, adas.String()) || w.tradeState() != before {
				t.Errorf("%s as %s: %s", field, who, want)
			}
		}
	}
}
