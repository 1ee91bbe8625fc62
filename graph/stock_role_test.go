package graph

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/postgres"
)

const (
	stockAdjust = `mutation($in: StockAdjustInput!, $key: String!) { stockAdjust(input: $in, idempotencyKey: $key) {
		variant { sku inventory { onHand held available } } userErrors { code field message } } }`
	stockSet = `mutation($in: StockSetInput!, $key: String!) { stockSet(input: $in, idempotencyKey: $key) {
		variant { inventory { onHand } } userErrors { code field message } } }`
)

func (w *world) adjusting(key string, delta int) map[string]any {
	return map[string]any{"key": key, "in": map[string]any{"variantId": w.ids["Variant"].String(), "delta": delta, "reason": "RECEIVED", "note": "by hand"}}
}

func (w *world) setting(key string, quantity, believed int) map[string]any {
	return map[string]any{"key": key, "in": map[string]any{"variantId": w.ids["Variant"].String(), "quantity": quantity, "compareQuantity": believed}}
}

// stockState is everything that a mutation of stock writes: on hand, entries of the ledger, keys.
func (w *world) stockState() string {
	w.t.Helper()
	text, _, err := postgres.First(w.t.Context(), w.dbs.Products, postgres.Stmt{Name: "test.stock_state", SQL: `SELECT concat_ws(' ',
		(SELECT on_hand FROM products.stock WHERE variant_id = $1), (SELECT count(*) FROM products.stock_movements WHERE variant_id = $1),
		(SELECT count(*) FROM products.idempotency_keys))`,
		Reads: postgres.All("products.stock", "products.stock_movements", "products.idempotency_keys")}, pgx.RowTo[string], w.ids["Variant"].Key)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// TestStockRoles asks for the mutations of stock and for the ledger as everybody. What is refused has returned nothing, read
// nothing and written nothing.
func TestStockRoles(t *testing.T) {
	t.Parallel()
	refused := map[string]string{"": "UNAUTHENTICATED", "ada": "FORBIDDEN", "bob": "FORBIDDEN", "support": "FORBIDDEN"}
	w := newWorld(t, 1)
	if got := w.stockState(); got != "20 1 0" {
		t.Fatalf("at first: %s", got)
	}
	for _, who := range everyone {
		for field, m := range map[string]struct {
			document  string
			variables map[string]any
		}{"stockAdjust": {stockAdjust, w.adjusting("k", 1)}, "stockSet": {stockSet, w.setting("k", 5, 20)}} {
			before := w.stockState()
			if refused[who] == "" {
				continue
			}
			a := w.ask(who, m.document, m.variables)
			want := fmt.Sprintf(`"data":{"%s":null}`, field)
			if got := a.codes(); len(got) != 1 || got[0] != refused[who]+" "+field || !strings.Contains(a.body, want) {
				t.Errorf("%s as %q: %s", field, who, a.body)
			}
			if slices.ContainsFunc(a.statements, func(s string) bool { return s != "users.check_session" }) || w.stockState() != before {
				t.Errorf("%s as %q: %v, %s is now %s", field, who, a.statements, before, w.stockState())
			}
		}
	}
	onHand := 20
	for _, who := range []string{"manager", "admin", "service"} {
		w.data(who, stockAdjust, w.adjusting("k", 1))
		w.data(who, stockSet, w.setting("k2", onHand+4, onHand+1))
		if onHand += 4; !strings.HasPrefix(w.stockState(), fmt.Sprint(onHand, " ")) {
			t.Errorf("after %s: %s", who, w.stockState())
		}
	}

	ledger := `{ variant(id: "` + w.ids["Variant"].String() + `") { inventory { movements(first: 3) { nodes { delta %s } } } } }`
	for _, who := range everyone {
		want := map[string]string{"": "UNAUTHENTICATED variant.inventory", "ada": "FORBIDDEN variant.inventory", "bob": "FORBIDDEN variant.inventory"}[who]
		a := w.ask(who, fmt.Sprintf(ledger, "reason"), nil)
		if got := strings.Join(a.codes(), ","); got != want || strings.Contains(a.body, "delta") != (want == "") {
			t.Errorf("ledger as %q: %s", who, a.body)
		}
		if who == "service" { // knows who has changed it, but not people
			want = strings.TrimSuffix(strings.Repeat("FORBIDDEN variant.inventory.movements.nodes.N.actor,", 3), ",")
		}
		a = w.ask(who, fmt.Sprintf(ledger, "actor { name }"), nil)
		got := strings.NewReplacer("nodes.0", "nodes.N", "nodes.1", "nodes.N", "nodes.2", "nodes.N").Replace(strings.Join(a.codes(), ","))
		if got != want || strings.Contains(a.body, "Name of") != (want == "") {
			t.Errorf("actors of the ledger as %q: %s", who, a.body)
		}
	}
}

// TestStockOverHTTP changes stock as a client does: with keys, and again.
func TestStockOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	want := func(what string, a answer, body string) {
		t.Helper()
		if a.body != body {
			t.Errorf("%s:\n%s, want\n%s", what, a.body, body)
		}
	}
	want("adjust", w.ask("manager", stockAdjust, w.adjusting("a", -3)),
		`{"data":{"stockAdjust":{"variant":{"sku":"SH-0-S","inventory":{"onHand":17,"held":0,"available":17}},"userErrors":[]}}}`)
	want("set", w.ask("manager", stockSet, w.setting("b", 40, 17)), `{"data":{"stockSet":{"variant":{"inventory":{"onHand":40}},"userErrors":[]}}}`)
	state := w.stockState()
	// The same outcome, and what is there by now.
	want("adjust again", w.ask("manager", stockAdjust, w.adjusting("a", -3)),
		`{"data":{"stockAdjust":{"variant":{"sku":"SH-0-S","inventory":{"onHand":40,"held":0,"available":40}},"userErrors":[]}}}`)
	want("set again", w.ask("manager", stockSet, w.setting("b", 40, 17)), `{"data":{"stockSet":{"variant":{"inventory":{"onHand":40}},"userErrors":[]}}}`)
	for name, a := range map[string]answer{
		"another request":  w.ask("manager", stockAdjust, w.adjusting("a", -4)),
		"another mutation": w.ask("manager", stockAdjust, w.adjusting("b", -3)),
	} {
		if codes := a.codes(); len(codes) != 1 || codes[0] != "CONFLICT stockAdjust" || !strings.Contains(a.body, `"field":["idempotencyKey"]`) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if a := w.ask("manager", stockAdjust, w.adjusting("not a key", 1)); strings.Join(a.codes(), "") != "BAD_USER_INPUT stockAdjust" || !strings.Contains(a.body, `"field":["idempotencyKey"]`) {
		t.Errorf("no key: %s", a.body)
	}
	if got := w.stockState(); got != state {
		t.Errorf("%s has become %s", state, got)
	}

	const stale = `{"data":{"stockSet":{"variant":{"inventory":{"onHand":40}},"userErrors":[{"code":"STALE","field":["compareQuantity"],"message":"40 are on hand by now"}]}}}`
	want("stale", w.ask("admin", stockSet, w.setting("c", 50, 41)), stale)
	want("less than nothing", w.ask("admin", stockAdjust, w.adjusting("d", -41)),
		`{"data":{"stockAdjust":{"variant":{"sku":"SH-0-S","inventory":{"onHand":40,"held":0,"available":40}},"userErrors":[`+
			`{"code":"OUT_OF_STOCK","field":["delta"],"message":"40 are on hand, of which 0 are held for orders: 40 can be taken"}]}}}`)
	// What was refused stays so under its key, even if it could be done by now.
	w.data("admin", stockAdjust, w.adjusting("e", 1))
	if a := w.ask("admin", stockSet, w.setting("c", 50, 41)); !strings.Contains(a.body, "STALE") || !strings.Contains(a.body, `"onHand":41`) {
		t.Errorf("stale again: %s", a.body)
	}
	unknown := w.adjusting("f", 1)
	unknown["in"].(map[string]any)["variantId"] = id.Of(id.Variant, id.New()).String()
	if a := w.ask("admin", stockAdjust, unknown); !strings.Contains(a.body, `"variant":null,"userErrors":[{"code":"INVALID","field":["variantId"]`) {
		t.Errorf("an unknown variant: %s", a.body)
	}

	// Fields of one operation are one after the other, and each shows what is there after it.
	two := w.ask("admin", `mutation($v: ID!) { a: stockAdjust(input: {variantId: $v, delta: 1, reason: FOUND_NOT}, idempotencyKey: "g") { userErrors { code } } }`,
		map[string]any{"v": w.ids["Variant"].String()})
	if two.status != 422 {
		t.Errorf("a reason that is none: %s", two.body)
	}
	two = w.ask("admin", `mutation($v: ID!) {
		a: stockAdjust(input: {variantId: $v, delta: 1, reason: RECEIVED}, idempotencyKey: "h") { variant { inventory { onHand } } }
		b: stockAdjust(input: {variantId: $v, delta: 1, reason: RECEIVED}, idempotencyKey: "i") { variant { inventory { onHand movements(first: 2) { nodes { delta reason note actor { name } } } } } }
	}`, map[string]any{"v": w.ids["Variant"].String()})
	want("two in one operation", two, `{"data":{"a":{"variant":{"inventory":{"onHand":42}}},"b":{"variant":{"inventory":{"onHand":43,"movements":{"nodes":[`+
		`{"delta":1,"reason":"RECEIVED","note":null,"actor":{"name":"Name of admin"}},{"delta":1,"reason":"RECEIVED","note":null,"actor":{"name":"Name of admin"}}]}}}}}}`)

	// Twenty at once with one key: it is done once.
	state = w.stockState()
	var answered atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a := w.ask("service", stockAdjust, w.adjusting("once", 1))
			switch codes := strings.Join(a.codes(), ""); {
			case codes == "" && strings.Contains(a.body, `"onHand":44`):
				answered.Add(1)
			case codes != "IN_PROGRESS stockAdjust":
				t.Error(a.body)
			}
		})
	}
	wg.Wait()
	if answered.Load() == 0 || !strings.HasPrefix(w.stockState(), "44 ") {
		t.Errorf("%d were answered; %s has become %s", answered.Load(), state, w.stockState())
	}
}
