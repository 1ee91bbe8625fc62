package graph

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/postgres"
)

// recordedAs are the mutations for staff and machines, with the action by which the audit log knows each of them.
var recordedAs = map[string]audit.Action{
	"userCreate": "CREATED", "userDeactivate": "DEACTIVATED", "userReactivate": "REACTIVATED", "userSetRoles": "ROLES_SET",
	"apiKeyCreate": "API_KEY_CREATED", "apiKeyRevoke": "API_KEY_REVOKED",

	"orderConfirm": audit.OrderConfirmed, "orderFulfill": audit.OrderFulfilled, "fulfillmentShip": audit.FulfillmentShipped,
	"fulfillmentDeliver": audit.FulfillmentDelivered, "fulfillmentCancel": audit.FulfillmentCanceled, "orderReturn": audit.OrderReturned,
	"orderEdit": audit.OrderEdited, "orderNoteAdd": audit.OrderNoteAdded, "orderDraftCreate": audit.OrderDraftCreated,
	"orderDraftUpdate": audit.OrderDraftUpdated, "orderDraftPlace": audit.OrderDraftPlaced, "jobRetry": audit.JobRetried,

	"stockAdjust": audit.StockAdjusted, "stockSet": audit.StockSet,
	"productCreate": audit.ProductCreated, "productUpdate": audit.ProductUpdated, "productPublish": audit.ProductPublished,
	"productUnpublish": audit.ProductUnpublished, "productArchive": audit.ProductArchived, "productRestore": audit.ProductRestored,
	"productSchedule": audit.ProductScheduled, "productOptionsSet": audit.ProductOptionsSet, "productMediaAdd": audit.MediaAdded,
	"productMediaUpdate": audit.MediaUpdated, "productMediaRemove": audit.MediaRemoved, "productMediaReorder": audit.ProductMediaReordered,
	"variantCreate": audit.VariantCreated, "variantUpdate": audit.VariantUpdated, "variantDelete": audit.VariantDeleted,
	"variantsReorder": audit.ProductVariantsReordered, "variantsBulkUpdate": audit.VariantUpdated,
	"categoryCreate": audit.CategoryCreated, "categoryUpdate": audit.CategoryUpdated, "categoryMove": audit.CategoryMoved,
	"categoriesReorder": audit.CategoriesReordered, "categoryDelete": audit.CategoryDeleted,
	"collectionCreate": audit.CollectionCreated, "collectionUpdate": audit.CollectionUpdated, "collectionDelete": audit.CollectionDeleted,
	"collectionProductsAdd": audit.CollectionProductsAdded, "collectionProductsRemove": audit.CollectionProductsRemoved,
	"collectionProductsReorder": audit.CollectionProductsReordered,

	"discountCreate": audit.DiscountCreated, "discountUpdate": audit.DiscountUpdated, "discountDeactivate": audit.DiscountDeactivated,
	"shippingMethodCreate": audit.ShippingMethodCreated, "shippingMethodUpdate": audit.ShippingMethodUpdated,
	"shippingMethodDeactivate": audit.ShippingMethodDeactivated, "taxRateSet": audit.TaxRateSet,

	"paymentCapture": audit.PaymentCaptureRequested, "paymentVoid": audit.PaymentVoidRequested, "paymentRefund": audit.PaymentRefundRequested,
}

// unrecorded are mutations for staff that leave no entry, and why. There are none.
var unrecorded = map[string]string{}

// deed is a mutation with variables with which it changes something.
type deed struct {
	field, document string
	variables       map[string]any
}

// termDeeds are the mutations of what carts are priced by.
func (w *world) termDeeds() []deed {
	discount := w.data("admin", `{ discounts(first: 1) { nodes { id } } }`, nil)["discounts"].(map[string]any)["nodes"].([]any)[0].(map[string]any)["id"]
	method := w.data("admin", `{ shippingMethods { id } }`, nil)["shippingMethods"].([]any)[0].(map[string]any)["id"]
	of := func(field, input, selected string, pairs ...any) deed {
		return deed{field, orderMutation(field, input, selected+" { __typename }", false), in(pairs...)}
	}
	return []deed{
		of("discountCreate", "DiscountCreateInput", "discount", "code", "NEW-1", "kind", "FREE_SHIPPING"),
		of("discountUpdate", "DiscountUpdateInput", "discount", "discountId", discount, "usageLimit", 7),
		of("discountDeactivate", "DiscountDeactivateInput", "discount", "discountId", discount),
		of("shippingMethodCreate", "ShippingMethodCreateInput", "shippingMethod", "name", "Express", "rates", []any{map[string]any{"price": "1"}}),
		of("shippingMethodUpdate", "ShippingMethodUpdateInput", "shippingMethod", "shippingMethodId", method, "position", 7),
		of("shippingMethodDeactivate", "ShippingMethodDeactivateInput", "shippingMethod", "shippingMethodId", method),
		of("taxRateSet", "TaxRateSetInput", "taxRate", "country", "FR", "name", "TVA", "basisPoints", 2000),
	}
}

// deeds are all mutations for staff but those of the catalogue, which edits has.
func (w *world) deeds() []deed {
	w.t.Helper()
	customer := w.data("admin", `{ user(email: "bob@example.com") { id } }`, nil)["user"].(map[string]any)["id"]
	goods := []any{map[string]any{"variantId": w.ids["Variant"].String(), "quantity": 1}}
	draft := map[string]any{"customerId": w.ids["User"].String(), "lines": goods}
	drafted := func() any {
		d := w.data("admin", orderDraftCreate, keyed(uuid.NewString(), map[string]any{"in": draft}))
		return d["orderDraftCreate"].(map[string]any)["order"].(map[string]any)["id"]
	}
	sold := func() string { return w.sells().Order.GlobalID().String() }
	parcel := func(status order.ParcelStatus) string {
		o := w.sells(status)
		return id.Owned(id.Fulfillment, id.Key{Owner: o.Order.Owner, ID: o.Fulfillments[0].ID}).String()
	}
	sent := w.sells(order.ParcelShipped)
	line := id.Owned(id.OrderLine, id.Key{Owner: sent.Order.Owner, ID: sent.Lines[0].ID}).String()
	if _, err := postgres.Exec(w.t.Context(), w.dbs.Orders, postgres.Stmt{Name: "test.put_off",
		SQL: "UPDATE orders.river_job SET state = 'scheduled', scheduled_at = now() + interval '1 hour' WHERE kind = 'test.errand'"}); err != nil {
		w.t.Fatal(err)
	}
	job := w.data("admin", `{ jobs(domain: ORDERS, first: 1, filter: {kind: "test.errand"}) { nodes { id } } }`, nil)["jobs"].(map[string]any)["nodes"].([]any)[0].(map[string]any)["id"]
	var other any // than the one that the test signs in with
	for _, k := range w.data("admin", `{ apiKeys(first: 5) { nodes { id } } }`, nil)["apiKeys"].(map[string]any)["nodes"].([]any) {
		if key := k.(map[string]any)["id"]; key != w.apiKey.String() {
			other = key
		}
	}
	promised, given := w.pays("card_ok", order.PaymentPromised), w.pays("card_ok", order.PaymentPromised)
	return append(w.termDeeds(),
		deed{"stockAdjust", stockAdjust, w.adjusting("s", 3)},
		deed{"stockSet", stockSet, w.setting("t", 40, 23)},
		deed{"userCreate", userCreate, in("email", "new@example.com", "name", "New")},
		deed{"userDeactivate", userDeactivate, in("userId", customer)},
		deed{"userReactivate", userReactivate, in("userId", customer)},
		deed{"userSetRoles", userSetRoles, in("userId", customer, "roles", []string{"SUPPORT"})},
		deed{"apiKeyCreate", apiKeyCreate, in("name", "till")},
		deed{"apiKeyRevoke", apiKeyRevoke, in("apiKeyId", other)},
		deed{"orderConfirm", orderConfirm, in("orderId", sold())},
		deed{"orderFulfill", orderFulfill, in("orderId", sold(), "ship", true)},
		deed{"fulfillmentShip", fulfillmentShip, in("fulfillmentId", parcel(order.ParcelPending))},
		deed{"fulfillmentDeliver", fulfillmentDeliver, in("fulfillmentId", parcel(order.ParcelShipped))},
		deed{"fulfillmentCancel", fulfillmentCancel, in("fulfillmentId", parcel(order.ParcelPending))},
		deed{"orderReturn", orderReturn, keyed("r", in("orderId", sent.Order.GlobalID().String(), "restock", false,
			"lines", []any{map[string]any{"orderLineId": line, "quantity": 1}}))},
		deed{"orderEdit", orderEdit, keyed("e", in("orderId", sold(), "add", goods))},
		deed{"orderNoteAdd", orderNoteAdd, in("orderId", sold(), "message", "Rang at Ada's.")},
		deed{"orderDraftCreate", orderDraftCreate, keyed("d", map[string]any{"in": draft})},
		deed{"orderDraftUpdate", orderDraftUpdate, in("orderId", drafted(), "draft", draft)},
		deed{"orderDraftPlace", orderDraftPlace, keyed("p", in("orderId", drafted(), "paymentMethod", "card_ok"))},
		deed{"orderCancel", orderCancel, keyed("c", in("orderId", sold()))},
		deed{"orderPay", orderPay, keyed("m", in("orderId", sold(), "paymentMethod", "card_ok"))},
		deed{"jobRetry", jobRetry, in("jobId", job)},
		deed{"paymentCapture", paymentCapture, moving("1", promised, nil)},
		deed{"paymentRefund", paymentRefund, moving("2", promised, map[string]any{"amount": "1", "reason": "OTHER", "note": "Ada rang."})},
		deed{"paymentVoid", paymentVoid, moving("3", given, nil)},
	)
}

// work runs the world's queues until the test ends.
func (w *world) work() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, len(w.queues))
	for _, q := range w.queues {
		go func() { done <- q.Run(ctx) }()
	}
	w.t.Cleanup(func() {
		stop()
		for range w.queues {
			if err := <-done; err != nil {
				w.t.Errorf("a queue stopped: %v", err)
			}
		}
	})
}

// recorded are the entries of the audit log by the action, as an admin sees them, once no more are under way.
func (w *world) recorded() map[audit.Action][]map[string]any {
	w.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		left := 0
		for schema, db := range map[string]*postgres.DB{"products": w.dbs.Products, "orders": w.dbs.Orders, "payments": w.dbs.Payments, "users": w.dbs.Users} {
			n, _, err := postgres.First(w.t.Context(), db, postgres.Stmt{Name: "test.audit_jobs",
				SQL:   "SELECT count(*) FROM " + schema + ".river_job WHERE kind = 'audit.write' AND state <> 'completed'",
				Reads: postgres.All(schema + ".river_job")}, pgx.RowTo[int])
			if err != nil {
				w.t.Fatal(err)
			}
			left += n
		}
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d jobs have not written their entries", left)
		}
	}
	all := map[audit.Action][]map[string]any{}
	for after := any(nil); ; {
		page := w.data("admin", `query($after: String) { auditLog(first: 100, after: $after) { nodes { action actorId actor { name } subjectId subject { id }
			node { __typename id } details } pageInfo { endCursor hasNextPage } } }`, map[string]any{"after": after})["auditLog"].(map[string]any)
		for _, n := range page["nodes"].([]any) {
			e := n.(map[string]any)
			all[audit.Action(e["action"].(string))] = append(all[audit.Action(e["action"].(string))], e)
		}
		info := page["pageInfo"].(map[string]any)
		if after = info["endCursor"]; info["hasNextPage"] != true {
			return all
		}
	}
}

// TestEveryStaffMutationIsRecorded asks for every mutation that is for staff or machines, and wants an entry of each, written by
// the real queues: a mutation that is not in the tables, or leaves none, fails it. What is asked for again with the same key, what
// changes nothing and what is refused adds none.
func TestEveryStaffMutationIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.takeMoney()
	deeds := w.deeds()
	w.work()
	before := w.recorded()
	done, want := map[string]bool{}, map[audit.Action]int{}
	ask := func(d deed, who string) {
		t.Helper()
		a := w.ask(who, d.document, d.variables)
		if len(a.codes()) > 0 || !strings.Contains(a.body, `"userErrors":[]}`) {
			t.Errorf("%s: %s", d.field, a.body)
		}
		done[d.field] = true
	}
	for i := range w.edits(1) {
		e := w.edits(1)[i]
		ask(deed{e.field, e.document(), nil}, "admin")
		if e.field != "collectionProductsReorder" { // the one product stands in front already
			want[recordedAs[e.field]]++
		}
	}
	pair := w.keysOf(id.Product, "SELECT product_id FROM products.collection_products WHERE collection_id = $1 ORDER BY position DESC", w.ids["Collection"].Key)
	turned := edit{"collectionProductsReorder", fmt.Sprintf("collectionId: %q, productIds: [%s]", w.ids["Collection"], strings.Join(pair, ", ")), "collection { id }"}
	if len(pair) > 1 {
		ask(deed{turned.field, turned.document(), nil}, "admin")
		want[audit.CollectionProductsReordered]++
	}
	want["ORDER_CANCELED"], want["ORDER_PAYMENT_STARTED"] = 1, 1 // not for staff alone
	for _, d := range deeds {
		ask(d, "admin")
		if recordedAs[d.field] != "" {
			want[recordedAs[d.field]]++
		}
	}
	for _, f := range contract(t).Mutation.Fields {
		if f.Directives.ForName("hasRole") == nil {
			continue
		}
		switch why := unrecorded[f.Name]; {
		case why == "" && recordedAs[f.Name] == "":
			t.Errorf("%s is for staff: say in recordedAs how it is recorded, or in unrecorded why not", f.Name)
		case why == "" && !done[f.Name]:
			t.Errorf("%s is for staff, and was not tried", f.Name)
		}
	}
	check := func(what string) map[audit.Action][]map[string]any {
		t.Helper()
		got := w.recorded()
		for action, n := range want {
			if more := len(got[action]) - len(before[action]); more != n {
				t.Errorf("%s: %d entries of %s, want %d: %v", what, more, action, n, got[action])
			}
		}
		return got
	}
	got := check("once")
	for action, entries := range got {
		for _, e := range entries[:len(entries)-len(before[action])] {
			if actor, _ := e["actor"].(map[string]any); actor == nil || actor["name"] != "Name of admin" {
				if want[action] > 0 {
					t.Errorf("%s was done by %v", action, e["actor"])
				}
			}
			if text := fmt.Sprint(e["details"]); strings.Contains(text, "Ada") || strings.Contains(text, "example.com") {
				t.Errorf("%s tells of people: %s", action, text)
			}
		}
	}
	if n, _ := got[audit.OrderConfirmed][0]["node"].(map[string]any); n["__typename"] != "Order" || n["id"] != got[audit.OrderConfirmed][0]["subjectId"] ||
		fmt.Sprint(got[audit.OrderConfirmed][0]["details"]) != "map[status:map[from:PLACED to:CONFIRMED]]" || got[audit.OrderConfirmed][0]["subject"] != nil {
		t.Errorf("an order was confirmed: %v", got[audit.OrderConfirmed])
	}

	// Again: with a key the same outcome, without one nothing to be changed.
	for _, d := range deeds {
		if _, again := d.variables["key"]; again || slices.Contains([]string{"orderConfirm", "fulfillmentShip", "discountDeactivate", "taxRateSet"}, d.field) {
			ask(d, "admin")
		}
	}
	// Refused: by role, and by what is wrong with it.
	for _, d := range deeds {
		if recordedAs[d.field] != "" {
			w.ask("support", d.document, d.variables)
		}
	}
	for _, wrong := range []string{
		fmt.Sprintf(`mutation { productUpdate(input: {productId: %q, title: ""}) { userErrors { code } } }`, w.ids["Product"]),
		`mutation { discountCreate(input: {code: "NEW-1", kind: FREE_SHIPPING}) { userErrors { code } } }`,
		fmt.Sprintf(`mutation { orderNoteAdd(input: {orderId: %q, message: " "}) { userErrors { code } } }`, w.ids["Order"]),
	} {
		if a := w.ask("admin", wrong, nil); !strings.Contains(a.body, `"code":`) {
			t.Errorf("it was not refused: %s", a.body)
		}
	}
	check("again, and refused")

	// By object, and by whom.
	confirmed := got[audit.OrderConfirmed][0]
	found := w.data("admin", `query($s: ID, $a: ID) { auditLog(first: 5, filter: {subjectId: $s, actorId: $a, actions: [ORDER_CONFIRMED]}) { nodes { subjectId } } }`,
		map[string]any{"s": confirmed["subjectId"], "a": confirmed["actorId"]})
	if nodes := found["auditLog"].(map[string]any)["nodes"].([]any); len(nodes) != 1 || nodes[0].(map[string]any)["subjectId"] != confirmed["subjectId"] {
		t.Errorf("filtered: %v", nodes)
	}
	w.tokens["machine"] = w.machine
	if a := w.ask("machine", stockAdjust, w.adjusting("by-machine", 1)); len(a.codes()) > 0 {
		t.Fatal(a.body)
	}
	if e := w.recorded()[audit.StockAdjusted][0]; e["actorId"] != id.Of(id.User, w.apiKey.Key).String() {
		t.Errorf("a machine: %v", e)
	}
}

// TestEntriesAreWrittenOnce rolls a change back, and lets the job of another one die after it has written: there is one entry, with
// the instant of the change.
func TestEntriesAreWrittenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	queues := openQueues(t, w.dbs)
	tries := make(chan struct{}, 10)
	queues["PRODUCTS"].AuditTo(func(ctx context.Context, entries []audit.Entry) error {
		if err := w.services.Users.WriteAudit(ctx, entries); err != nil {
			return err
		}
		tries <- struct{}{}
		if len(tries) == 1 {
			return errors.New("killed")
		}
		return nil
	})
	w.queues = queues
	entry := func() audit.Entry { return audit.By(nil, audit.ProductUpdated, w.ids["Product"], audit.Details{}) }
	undone, kept := entry(), entry()
	for e, fail := range map[*audit.Entry]error{&undone: errors.New("undone"), &kept: nil} {
		if err := w.dbs.Products.InTx(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			return errors.Join(queues["PRODUCTS"].Audit(ctx, tx, *e), fail)
		}); !errors.Is(err, fail) {
			t.Fatal(err)
		}
	}
	w.work()
	got := w.recorded()[audit.ProductUpdated]
	if len(got) != 1 || len(tries) != 2 {
		t.Errorf("%d tries, entries %v", len(tries), got)
	}
	at, err := id.Time(kept.ID)
	if err != nil {
		t.Fatal(err)
	}
	if stored := w.sql("SELECT id::text || ' ' || (extract(epoch FROM at) * 1000)::bigint FROM users.audit WHERE action = 'PRODUCT_UPDATED'"); !slices.Equal(stored,
		[]string{fmt.Sprintf("%s %d", kept.ID, at.UnixMilli())}) {
		t.Errorf("stored is %v", stored)
	}
}
