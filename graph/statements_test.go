package graph

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
)

var regexpOn = regexp.MustCompile(`\.\.\. on (\w+)`)

// maxEdges is how many edges with a statement a path of TestStatements has at most.
const maxEdges = 3

// path is a chain of fields from a root, with what it may cost.
type path struct {
	name       string
	document   string
	of         string // the type that it leads to
	statements int    // one for the root, one for each edge that is loaded
}

// paths returns every nested path of the contract with up to maxEdges loaded edges, none of which goes along an edge twice.
func paths(t testing.TB, w *world) []path {
	schema := contract(t)
	roots := map[string]string{
		"node": `node(id: $id)`, "nodes": `nodes(ids: $ids)`, "viewer": `viewer`, "user": `user(id: $user)`,
		"users": `users(first: 50)`, "product": `product(id: $product)`, "variant": `variant(id: $variant)`,
		"products": `products(first: 50)`, "productSuggest": `productSuggest(prefix: "sh")`, "category": `category(id: $category)`,
		"categories": `categories`, "collection": `collection(id: $collection)`, "collections": `collections(first: 5)`,
		"order": `order(id: $order)`, "orders": `orders(first: 50)`, "payment": `payment(id: $payment)`, "payments": `payments(first: 50)`,
		"auditLog": `auditLog(first: 50)`, "cart": `cart`, "discounts": `discounts(first: 50)`, "shippingMethods": `shippingMethods`,
		"taxRates": `taxRates`, "apiKeys": `apiKeys(first: 50)`, "jobs": `jobs(domain: ORDERS, first: 50)`, "paymentDifferences": `paymentDifferences(first: 50)`,
	}
	// A cart is read with its lines, by its owner or beginning with one of them.
	dearer := map[string]int{"cart": 2, "node on Cart": 1, "nodes on Cart": 1, "node on CartLine": 2, "nodes on CartLine": 2}
	// leads tells whether an edge lies below what objects of a type hold.
	var leads func(d *ast.Definition) bool
	leads = func(d *ast.Definition) bool {
		return len(edges[d.Name]) > 0 || slices.ContainsFunc(d.Fields, func(f *ast.FieldDefinition) bool {
			below := schema.Types[f.Type.Name()]
			return below.Kind == ast.Object && leads(below)
		})
	}
	var found []path
	var walk func(typeName, name, before, after string, cost int, used []string)
	walk = func(typeName, name, before, after string, cost int, used []string) {
		d := schema.Types[typeName]
		if d.Kind == ast.Interface {
			for _, member := range schema.PossibleTypes[typeName] {
				here := name + " on " + member.Name
				walk(member.Name, here, before+" { ... on "+member.Name, " }"+after, cost+dearer[here], used)
			}
			return
		}
		found = append(found, path{name, before + " { __typename" + after + " }", typeName, cost})
		for _, f := range d.Fields {
			along := typeName + "." + f.Name
			target := schema.Types[f.Type.Name()]
			e := edges[typeName][f.Name]
			free := e == nil || strings.Contains(fmt.Sprintf("%T", e), ".computed[")
			leaf := target.Kind != ast.Object && target.Kind != ast.Interface
			if free && (leaf || !leads(target)) || slices.Contains(used, along) || !free && len(used) >= maxEdges {
				continue
			}
			next, nextUsed := cost, used
			if !free {
				next, nextUsed = cost+costOf(e), append(slices.Clone(used), along)
			}
			call := f.Name
			if f.Arguments.ForName("first") != nil {
				call += "(first: 5)"
			}
			here := before + " { " + call
			if !leaf {
				walk(target.Name, name+"."+f.Name, here, " }"+after, next, nextUsed)
			} else {
				found = append(found, path{name + "." + f.Name, here + " }" + after, target.Name, next})
			}
		}
	}
	for _, f := range schema.Query.Fields {
		if strings.HasPrefix(f.Name, "__") {
			continue
		}
		call, ok := roots[f.Name]
		if !ok {
			t.Errorf("Query.%s is not in the test's list of roots", f.Name)
			continue
		}
		walk(f.Type.Name(), f.Name, "{ "+call, " }", 1+dearer[f.Name], nil)
	}
	for i := range found {
		for name, value := range w.ids {
			variable := strings.ToLower(name[:1]) + name[1:]
			found[i].document = strings.ReplaceAll(found[i].document, "$"+variable+")", fmt.Sprintf("%q)", value))
		}
		on := regexpOn.FindStringSubmatch(found[i].document)
		if on != nil {
			found[i].document = strings.ReplaceAll(found[i].document, "$ids)", fmt.Sprintf("[%q])", w.ids[on[1]]))
			found[i].document = strings.ReplaceAll(found[i].document, "$id)", fmt.Sprintf("%q)", w.ids[on[1]]))
		}
	}
	return found
}

// costOf returns how many statements an edge takes: one, but for what comes from the quote of a cart, which looks at
// variants, products, stock, pictures, the discount and its uses, shipping methods and taxes.
func costOf(e edge) int {
	if strings.Contains(fmt.Sprintf("%T", e), "order.Quote") {
		return 8
	}
	return 1
}

// TestStatements asks for every nested path and wants no more than one statement for the root, one for each edge, and one
// for the check of the viewer; with one of everything and with sixty; alone and with 16 clients at once.
func TestStatements(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 60} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, size)
			all := paths(t, w)
			if len(all) < 500 {
				t.Fatalf("only %d paths were found", len(all))
			}
			check := func(p path) string {
				a := w.ask("admin", p.document, nil)
				if a.status != 200 || strings.Contains(a.body, `"errors"`) {
					return fmt.Sprintf("%s: %d %.300s\n%s", p.name, a.status, a.body, p.document)
				}
				edges := slices.DeleteFunc(slices.Clone(a.statements), func(s string) bool { return s == "users.check_session" })
				if len(edges) > p.statements || len(a.statements)-len(edges) > 1 {
					return fmt.Sprintf("%s: %d statements, at most %d are allowed: %v", p.name, len(edges), p.statements, a.statements)
				}
				return ""
			}
			most := map[int]int{}
			for _, p := range all {
				most[p.statements]++
				if wrong := check(p); wrong != "" {
					t.Error(wrong)
				}
			}
			var wg sync.WaitGroup
			for client := range 16 {
				wg.Go(func() {
					for i := client; i < len(all); i += 16 {
						if wrong := check(all[i]); wrong != "" {
							t.Error("16 clients: " + wrong)
						}
					}
				})
			}
			wg.Wait()
			for _, n := range slices.Sorted(maps.Keys(most)) {
				t.Logf("%d paths with at most %d statements", most[n], n)
			}
		})
	}
}

// TestStatementsOfWideOperations asks for several edges side by side: siblings that share rows share a statement.
func TestStatementsOfWideOperations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 60)
	w.data("manager", stockAdjust, w.adjusting("k", 1))
	for _, c := range []struct {
		name, query string
		want        []string
	}{
		{"the latest orders", `{ orders(first: 20) { nodes { number customer { name }
			lines { title variant { sku product { title } } } payments { status amount { amount } } } } }`,
			[]string{"orders.lines_by_order", "orders.list", "payments.payments_by_order", "products.by_ids", "products.variants_by_ids", "users.by_id"}},
		{"everything that fifty users have bought lately", `{ users(first: 50) { nodes { orders(first: 5) { nodes { lines { variant { product { title } } } payments { status } } } } } }`,
			[]string{"orders.lines_by_order", "orders.list_by_owner", "payments.payments_by_order", "products.by_ids", "products.variants_by_ids", "users.list"}},
		{"fifty users with their latest orders", `{ users(first: 50) { nodes { orders(first: 5) { nodes { number } totalCount } } } }`,
			[]string{"orders.count_by_owner", "orders.list_by_owner", "users.list"}},
		{"a page and its total, three times", `{ users(first: 1) { totalCount } payments(first: 1) { totalCount } orders(first: 1) { totalCount } }`,
			[]string{"orders.count", "orders.list", "payments.count", "payments.list", "users.count", "users.list"}},
		{"all money of an order from one sum", `{ orders(first: 20) { nodes { authorizedTotal { amount } capturedTotal { amount }
			refundedTotal { amount } balance { amount } } } }`, []string{"orders.list", "payments.totals_by_order"}},
		{"both faces of the stock", `{ products(first: 20) { nodes { variants { availability { inStock } inventory { onHand } } } } }`,
			[]string{"products.list", "products.stock_by_variant", "products.variants_by_product"}},
		{"the ledgers of all variants, and who has written them", `{ products(last: 20) { nodes { variants { inventory { onHand movements(first: 5) { nodes { delta actor { name } } } } } } } }`,
			[]string{"products.list", "products.movements_by_variant", "products.stock_by_variant", "products.variants_by_product", "users.by_id"}},
		{"the histories of all prices, and who has written them", `{ products(last: 20) { nodes { variants { priceChanges(first: 5) { nodes { newPrice { amount } actor { name } } } } } } }`,
			[]string{"products.list", "products.price_changes_by_variant", "products.variants_by_product", "users.by_id"}},
		{"a cart of sixty lines with all of its prices", `{ cart { email shippingAddress { city } itemCount subtotal { amount } discountTotal { amount }
			shippingTotal { amount } taxTotal { amount } total { amount } taxLines { amount { amount } } discount { code } shippingMethod { name }
			shippingMethods { price { amount } } warnings { code } lines { quantity unitPrice { amount } discount { amount } tax { amount }
			total { amount } variant { sku product { title } } } } }`,
			[]string{"orders.active_shipping_methods", "orders.cart_lines_by_cart", "orders.cart_of_owner", "orders.carts_by_key",
				"orders.discount_uses", "orders.discounts_by_id", "orders.tax_rate_of_country", "products.by_ids", "products.by_ids",
				"products.media_by_product", "products.stock_by_variant", "products.variants_by_ids", "products.variants_by_ids"}},
		{"what was commanded, by whom, and what differs", `{ payments(first: 20) { nodes { commands { kind amount { amount } actor { name } } } }
			paymentDifferences(first: 20) { nodes { kind payment { status } } } }`,
			[]string{"payments.commands_by_payment", "payments.differences", "payments.list", "payments.payments_by_key", "users.by_id"}},
		{"two pages of one edge are two edges", `{ users(first: 5) { nodes { a: orders(first: 1) { nodes { id } } b: orders(first: 2) { nodes { id } } } } }`,
			[]string{"orders.list_by_owner", "orders.list_by_owner", "users.list"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.data("admin", c.query, nil) // the viewer is known from here on
			a := w.ask("admin", c.query, nil)
			slices.Sort(a.statements)
			if strings.Contains(a.body, `"errors"`) || !slices.Equal(a.statements, c.want) {
				t.Errorf("statements\n%q, want\n%q\n%.300s", a.statements, c.want, a.body)
			}
		})
	}
}
