package graph

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"emporium/internal/id"
)

// cartMutation is a mutation of a cart that shows all of it.
func cartMutation(field, input string) string {
	return fmt.Sprintf(`mutation($in: %s!) { %s(input: $in) { cart { %s } token userErrors { code field message } } }`, input, field, wholeCart)
}

const wholeCart = `id status email note shippingAddress { city country } itemCount total { amount } taxTotal { amount }
	discount { code } shippingMethods { name price { amount } } warnings { code } lines { id quantity total { amount } variant { sku } }`

var (
	cartLinesAdd    = cartMutation("cartLinesAdd", "CartLinesAddInput")
	cartLinesUpdate = cartMutation("cartLinesUpdate", "CartLinesUpdateInput")
	cartLinesRemove = cartMutation("cartLinesRemove", "CartLinesRemoveInput")
	cartUpdate      = cartMutation("cartUpdate", "CartUpdateInput")
	cartApply       = cartMutation("cartDiscountApply", "CartDiscountApplyInput")
	cartRemove      = cartMutation("cartDiscountRemove", "CartDiscountRemoveInput")
	cartMerge       = cartMutation("cartMerge", "CartMergeInput")
)

// ofCart is the input of a mutation, with the token unless it is empty.
func ofCart(token string, more map[string]any) map[string]any {
	input := map[string]any{}
	for name, value := range more {
		input[name] = value
	}
	if token != "" {
		input["token"] = token
	}
	return map[string]any{"in": input}
}

// cartState is all that a mutation of carts and what they are priced by can write.
func (w *world) cartState() string {
	w.t.Helper()
	return w.digests("orders.carts", "orders.cart_lines", "orders.cart_tokens", "orders.discounts", "orders.discount_redemptions",
		"orders.shipping_methods", "orders.shipping_rates", "orders.tax_rates")
}

// fills makes a cart of nobody's with two things and an address, and returns its token and the IDs of it and its first line.
func (w *world) fills() (token, cart, line string) {
	w.t.Helper()
	payload := w.data("", cartLinesAdd, ofCart("", map[string]any{"lines": []any{map[string]any{"variantId": w.ids["Variant"].String(), "quantity": 2}}}))
	token = payload["cartLinesAdd"].(map[string]any)["token"].(string)
	w.data("", cartUpdate, ofCart(token, map[string]any{"email": "kim@example.com", "note": "Ring twice.",
		"shippingAddress": map[string]any{"name": "Kim Lee", "line1": "Am Markt 1", "city": "Köln", "country": "DE"}}))
	read := w.data("", `query($t: String) { cart(token: $t) { id lines { id } } }`, map[string]any{"t": token})["cart"].(map[string]any)
	return token, read["id"].(string), read["lines"].([]any)[0].(map[string]any)["id"].(string)
}

// TestTheTokenIsTheProof reads a cart of nobody's: with its token everybody gets all of it, without it only staff does, by
// its ID, and for the rest it is as if it did not exist.
func TestTheTokenIsTheProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	token, cart, line := w.fills()
	const byToken = `query($t: String) { cart(token: $t) { ` + wholeCart + ` } }`
	want := w.ask("", byToken, map[string]any{"t": token}).body
	for _, part := range []string{`"email":"kim@example.com"`, `"note":"Ring twice."`, `"city":"Köln"`, `"itemCount":2`, `"total":{"amount":"39.80"}`,
		`"taxTotal":{"amount":"6.35"}`, `"name":"Parcel"`, `"sku":"SH-0-S"`} {
		if !strings.Contains(want, part) {
			t.Errorf("%s lacks %s", want, part)
		}
	}
	node := func(i string) string {
		return `{ node(id: "` + i + `") { id ... on Cart { email } ... on CartLine { quantity } } }`
	}
	for _, who := range everyone {
		if got := w.ask(who, byToken, map[string]any{"t": token}).body; got != want {
			t.Errorf("as %q:\n%s, want\n%s", who, got, want)
		}
		staff := slices.Contains([]string{"support", "manager", "admin"}, who)
		for _, i := range []string{cart, line} {
			unknown, err := id.Parse(i)
			if err != nil {
				t.Fatal(err)
			}
			unknown.Key = id.New()
			got, none := w.ask(who, node(i), nil).body, w.ask(who, node(unknown.String()), nil).body
			if (got == none) == staff || none != `{"data":{"node":null}}` {
				t.Errorf("node as %q: %s, of an unknown one %s", who, got, none)
			}
		}
		none := w.ask(who, byToken, map[string]any{"t": strings.Repeat("A", 43)}).body
		for _, wrong := range []string{"", "x", token[:42], token + "A", cart, strings.ToLower(token)} {
			if got := w.ask(who, byToken, map[string]any{"t": wrong}).body; got != none || got != `{"data":{"cart":null}}` {
				t.Errorf("%q as %q: %s, for a token that was never given %s", wrong, who, got, none)
			}
		}
	}

	// An order, or anything else of the guest's, is not opened by it.
	a := w.ask("", `query($t: String) { cart(token: $t) { order { number } lines { variant { inventory { onHand } } } } }`, map[string]any{"t": token})
	if !slices.Equal(a.codes(), []string{"UNAUTHENTICATED cart.lines.0.variant.inventory"}) || !strings.Contains(a.body, `"order":null`) {
		t.Errorf("beside the cart: %s", a.body)
	}
}

// TestCartsOfOthers changes carts by the token of another, by no token and by the lines of another's: nothing is written,
// and the answer is that of a cart that there is not.
func TestCartsOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	token, _, line := w.fills()
	own, _, _ := w.fills()
	before := w.cartState()
	address := w.ids["Address"].String() // Ada's
	for name, m := range map[string]struct {
		document string
		more     map[string]any
	}{
		"cartLinesAdd":       {cartLinesAdd, map[string]any{"lines": []any{map[string]any{"variantId": w.ids["Variant"].String()}}}},
		"cartLinesUpdate":    {cartLinesUpdate, map[string]any{"lines": []any{map[string]any{"lineId": line, "quantity": 1}}}},
		"cartLinesRemove":    {cartLinesRemove, map[string]any{"lineIds": []any{line}}},
		"cartUpdate":         {cartUpdate, map[string]any{"note": "x"}},
		"cartDiscountApply":  {cartApply, map[string]any{"code": "TENTH"}},
		"cartDiscountRemove": {cartRemove, nil},
		"cartMerge":          {cartMerge, nil},
	} {
		for _, who := range everyone {
			if name == "cartMerge" && who == "" {
				continue
			}
			none := w.ask(who, m.document, ofCart(strings.Repeat("A", 43), m.more))
			if got := none.codes(); !slices.Equal(got, []string{"NOT_FOUND " + name}) || !strings.Contains(none.body, `"data":{"`+name+`":null}`) {
				t.Errorf("%s as %q with an unknown token: %s", name, who, none.body)
			}
			for _, wrong := range []string{"x", token[:42] + "_", strings.ToUpper(token)} {
				if a := w.ask(who, m.document, ofCart(wrong, m.more)); a.body != none.body || a.status != none.status {
					t.Errorf("%s as %q with %q: %s, want %s", name, who, wrong, a.body, none.body)
				}
			}
		}
	}
	if a := w.ask("", cartMerge, ofCart(token, nil)); !slices.Equal(a.codes(), []string{"UNAUTHENTICATED cartMerge"}) || slices.Contains(a.statements, "orders.cart_of_token") {
		t.Errorf("merging as nobody: %s", a.body)
	}
	// Lines of another cart are none of one's own, and addresses of others are not there, neither for nobody nor for staff.
	unknown := w.ask("", cartLinesUpdate, ofCart(own, map[string]any{"lines": []any{map[string]any{"lineId": id.Owned(id.CartLine, id.Key{Owner: id.New(), ID: id.New()}).String(), "quantity": 1}}}))
	if a := w.ask("", cartLinesUpdate, ofCart(own, map[string]any{"lines": []any{map[string]any{"lineId": line, "quantity": 1}}})); a.body != unknown.body || !strings.Contains(a.body, "INVALID") {
		t.Errorf("a line of another cart: %s, of none %s", a.body, unknown.body)
	}
	for _, who := range []string{"", "bob", "admin"} {
		none := w.ask(who, cartUpdate, ofCart(own, map[string]any{"shippingAddressId": id.Owned(id.Address, id.Key{Owner: id.New(), ID: id.New()}).String()}))
		if a := w.ask(who, cartUpdate, ofCart(own, map[string]any{"shippingAddressId": address})); a.body != none.body || !slices.Equal(a.codes(), []string{"NOT_FOUND cartUpdate"}) {
			t.Errorf("Ada's address as %q: %s, of nobody %s", who, a.body, none.body)
		}
	}
	if got := w.cartState(); got != before {
		t.Errorf("written:\n%s, before\n%s", got, before)
	}
}

// TestTermsRoles asks for what carts are priced by as everybody. What is refused has returned nothing, read nothing and
// written nothing.
func TestTermsRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	discount := w.data("admin", `{ discounts(first: 1) { nodes { id } } }`, nil)["discounts"].(map[string]any)["nodes"].([]any)[0].(map[string]any)["id"]
	method := w.data("admin", `{ shippingMethods { id } }`, nil)["shippingMethods"].([]any)[0].(map[string]any)["id"]
	rates := []any{map[string]any{"price": "1"}}
	n := 0
	for _, who := range everyone {
		refused := map[string]string{"": "UNAUTHENTICATED", "ada": "FORBIDDEN", "bob": "FORBIDDEN", "support": "FORBIDDEN", "service": "FORBIDDEN"}[who]
		for name, m := range map[string]struct {
			input, selected string
			in              map[string]any
		}{
			"discountCreate":           {"DiscountCreateInput", "discount { code used active }", map[string]any{"code": fmt.Sprintf("NEW-%d", n), "kind": "FREE_SHIPPING"}},
			"discountUpdate":           {"DiscountUpdateInput", "discount { usageLimit }", map[string]any{"discountId": discount, "usageLimit": n + 1}},
			"discountDeactivate":       {"DiscountDeactivateInput", "discount { active }", map[string]any{"discountId": discount}},
			"shippingMethodCreate":     {"ShippingMethodCreateInput", "shippingMethod { id rates { price { amount } } }", map[string]any{"name": "Express", "rates": rates}},
			"shippingMethodUpdate":     {"ShippingMethodUpdateInput", "shippingMethod { position }", map[string]any{"shippingMethodId": method, "position": n + 1}},
			"shippingMethodDeactivate": {"ShippingMethodDeactivateInput", "shippingMethod { active }", map[string]any{"shippingMethodId": method}},
			"taxRateSet":               {"TaxRateSetInput", "taxRate { basisPoints appliesToShipping }", map[string]any{"country": "FR", "name": "TVA", "basisPoints": 2000 + n}},
		} {
			document := fmt.Sprintf(`mutation($in: %s!) { %s(input: $in) { %s userErrors { code field } } }`, m.input, name, m.selected)
			before := w.cartState()
			a := w.ask(who, document, map[string]any{"in": m.in})
			if refused == "" {
				if len(a.codes()) > 0 || !strings.Contains(a.body, `"userErrors":[]`) {
					t.Errorf("%s as %q: %s", name, who, a.body)
				}
				continue
			}
			if !slices.Equal(a.codes(), []string{refused + " " + name}) || !strings.Contains(a.body, `"data":{"`+name+`":null}`) ||
				slices.ContainsFunc(a.statements, func(s string) bool { return s != "users.check_session" }) || w.cartState() != before {
				t.Errorf("%s as %q: %s, %v", name, who, a.body, a.statements)
			}
		}
		n++
		for field, selected := range map[string]string{"discounts(first: 5)": "nodes { code used usageLimit }", "shippingMethods": "name active", "taxRates": "country name"} {
			path, _, _ := strings.Cut(field, "(")
			a := w.ask(who, "{ "+field+" { "+selected+" } }", nil)
			want := staffOnly(path)[who]
			if got := a.outcome([]string{path}); got != want {
				t.Errorf("%s as %q: %q, want %q: %s", path, who, got, want, a.body)
			}
		}
	}
}

// TestCartOverHTTP fills a cart before signing in and merges it after, as a client does.
func TestCartOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	token, cart, line := w.fills()
	variant := w.ids["Variant"].String()
	show := func(who, document string, variables map[string]any, parts ...string) {
		t.Helper()
		a := w.ask(who, document, variables)
		for _, part := range parts {
			if !strings.Contains(a.body, part) {
				t.Errorf("%s\nlacks %s", a.body, part)
			}
		}
	}
	show("", cartLinesUpdate, ofCart(token, map[string]any{"lines": []any{map[string]any{"lineId": line, "quantity": 30}}}),
		`"itemCount":30`, `"warnings":[{"code":"SHORT_STOCK"}]`, `"token":null`, `"userErrors":[]`)
	show("", cartApply, ofCart(token, map[string]any{"code": "nothing"}), `"cart":null`, `"code":"NOT_APPLICABLE","field":["code"]`)
	show("", cartApply, ofCart(token, map[string]any{"code": "Tenth"}), `"discount":{"code":"TENTH"}`, `"total":{"amount":"537.30"}`)
	show("", cartUpdate, ofCart(token, map[string]any{"shippingMethodId": w.ids["Shipping"].String()}), `"total":{"amount":"542.20"}`)
	show("", cartUpdate, ofCart(token, map[string]any{"shippingAddress": map[string]any{"name": "Kim", "line1": "x", "city": " ", "country": "DE"}}),
		`"cart":null`, `"code":"INVALID","field":["shippingAddress","city"]`)
	show("", cartRemove, ofCart(token, nil), `"discount":null`)
	show("", cartLinesRemove, ofCart(token, map[string]any{"lineIds": []any{line}}), `"itemCount":0`, `"lines":[]`)
	show("", cartLinesAdd, ofCart(token, map[string]any{"lines": []any{map[string]any{"variantId": variant}}}), `"itemCount":1`, `"id":"`+cart+`"`)
	for range 2 {
		show("bob", cartMerge, ofCart(token, nil), `"itemCount":1`, `"email":"kim@example.com"`, `"token":null`, `"userErrors":[]`)
	}
	show("bob", `{ cart { status itemCount } }`, nil, `{"data":{"cart":{"status":"OPEN","itemCount":1}}}`)
	show("", `query($t: String) { cart(token: $t) { status itemCount email } }`, map[string]any{"t": token}, `{"data":{"cart":{"status":"MERGED","itemCount":0,"email":null}}}`)
	show("", cartLinesAdd, ofCart(token, map[string]any{"lines": []any{map[string]any{"variantId": variant}}}), `"cart":null`, `"code":"CART_CLOSED","field":[]`)

	// Mutations of one operation are one after the other, and each shows what there is after it: parcels cost 4.90, as the
	// other cart had chosen.
	show("bob", `mutation($v: ID!) { a: cartLinesAdd(input: {lines: [{variantId: $v}]}) { cart { itemCount total { amount } } }
		b: cartLinesAdd(input: {lines: [{variantId: $v, quantity: 2}]}) { cart { itemCount total { amount } } } }`, map[string]any{"v": variant},
		`{"data":{"a":{"cart":{"itemCount":2,"total":{"amount":"44.70"}}},"b":{"cart":{"itemCount":4,"total":{"amount":"84.50"}}}}}`)
}
