package graph

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/vektah/gqlparser/v2/ast"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/user"
)

// guardedKinds are the kinds of what the IDs of guarded types name: of a customer's things, and of the shop's own.
var guardedKinds = map[string]id.Kind{
	"User": id.User, "Address": id.Address, "Cart": id.Cart, "CartLine": id.CartLine, "Order": id.Order, "OrderLine": id.OrderLine,
	"Fulfillment": id.Fulfillment, "OrderEvent": id.OrderEvent, "Payment": id.Payment, "PaymentEvent": id.PaymentEvent,
	"PaymentCommand": id.PaymentCommand, "StockMovement": id.StockMovement, "PriceChange": id.PriceChange, "Job": id.Job, "ApiKey": id.APIKey,
	"Discount": id.Discount,
}

// openKinds are the kinds of what everybody may see.
var openKinds = []id.Kind{id.Product, id.Variant, id.Category, id.Collection, id.Media, id.ShippingMethod}

// TestIDORTypesAreListed walks the schema and the kinds of IDs: each that has an owner has its place in the matrix.
func TestIDORTypesAreListed(t *testing.T) {
	t.Parallel()
	schema, listed := contract(t), slices.Clone(openKinds)
	for name, d := range schema.Types {
		isGuarded := guarded(schema, d) && d.Kind == ast.Object && d.Fields.ForName("id") != nil
		if _, ok := guardedKinds[name]; ok != isGuarded {
			t.Errorf("%s: guarded and with an ID is %t, in the test's list %t", name, isGuarded, ok)
		}
	}
	for _, kind := range guardedKinds {
		listed = append(listed, kind)
	}
	kinds := id.Kinds()
	slices.Sort(kinds)
	slices.Sort(listed)
	if !slices.Equal(kinds, listed) {
		t.Errorf("kinds %v, in the test's lists %v", kinds, listed)
	}
}

// idNames are the types of what the arguments and input fields of type ID name, by their names without Id and Ids; "": by the field.
var idNames = map[string]string{
	"": "", "user": "User", "customer": "User", "actor": "User", "subject": "User", "address": "Address", "shippingAddress": "Address",
	"billingAddress": "Address", "line": "CartLine", "order": "Order", "orderLine": "OrderLine", "fulfillment": "Fulfillment",
	"payment": "Payment", "job": "Job", "apiKey": "ApiKey", "product": "Product", "variant": "Variant", "category": "Category", "parent": "Category",
	"collection": "Collection", "media": "Media", "image": "Media", "discount": "Discount", "shippingMethod": "Shipping",
}

// handles are texts that name something of somebody's, as IDs do, in arguments and filters of queries.
var handles = []string{"number", "orderNumber", "email", "phone"}

// spot is where a root field takes an ID or a handle.
type spot struct {
	root  ast.Operation
	field *ast.FieldDefinition
	path  []string // the argument, then fields of inputs
}

func (p spot) String() string {
	return fmt.Sprintf("%s %s(%s)", p.root, p.field.Name, strings.Join(p.path, "."))
}

func (p spot) leaf() string { return p.path[len(p.path)-1] }

// idName is what the place says it takes.
func idName(leaf string) string {
	return strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(leaf, "ids"), "Ids"), "Id")
}

// spots walks the arguments of all root fields.
func spots(t testing.TB, schema *ast.Schema) (found []spot) {
	for _, root := range []struct {
		operation ast.Operation
		of        *ast.Definition
	}{{ast.Query, schema.Query}, {ast.Mutation, schema.Mutation}, {ast.Subscription, schema.Subscription}} {
		for _, f := range root.of.Fields {
			var walk func(name string, of *ast.Type, above, types []string)
			walk = func(name string, of *ast.Type, above, types []string) {
				path, d := append(slices.Clone(above), name), schema.Types[of.Name()]
				switch {
				case d.Name == "ID":
					if _, ok := idNames[strings.TrimSuffix(idName(name), "id")]; !ok {
						t.Errorf("%s.%s: what its IDs name is not in the test's list", f.Name, strings.Join(path, "."))
					}
					found = append(found, spot{root.operation, f, path})
				case root.operation == ast.Query && slices.Contains(handles, name):
					found = append(found, spot{root.operation, f, path})
				case d.Kind == ast.InputObject && !slices.Contains(types, d.Name):
					for _, field := range d.Fields {
						walk(field.Name, field.Type, path, append(slices.Clone(types), d.Name))
					}
				}
			}
			for _, a := range f.Arguments {
				if !strings.HasPrefix(f.Name, "__") {
					walk(a.Name, a.Type, nil, nil)
				}
			}
		}
	}
	return found
}

// asks returns the operation that has a value at the place, and valid ones wherever else there has to be one.
func (w *idor) asks(p spot, value any, token string) (document string, variables map[string]any) {
	var fill func(name string, of *ast.Type, path []string, must bool) (any, bool)
	fill = func(name string, of *ast.Type, path []string, must bool) (any, bool) {
		aimed := len(path) > 0 && path[0] == name
		if (name == "token" || name == "cartToken") && token != "" {
			return token, true
		}
		if !aimed && !must && name != "first" {
			return nil, false
		}
		var v any
		switch d := w.schema.Types[of.Name()]; {
		case aimed && len(path) == 1:
			v = value
		case d.Kind == ast.InputObject:
			object, below := map[string]any{}, []string(nil)
			if aimed {
				below = path[1:]
			}
			for _, f := range d.Fields {
				if v, ok := fill(f.Name, f.Type, below, f.Type.NonNull && f.DefaultValue == nil); ok {
					object[f.Name] = v
				}
			}
			v = object
		case d.Name == "ID" && p.field.Name == "orderDraftUpdate" && name == "orderId":
			v = w.draft
		case d.Name == "ID":
			v = w.ids[idNames[strings.TrimSuffix(idName(name), "id")]].String()
		case d.Kind == ast.Enum:
			v = d.EnumValues[0].Name
		default:
			sample, ok := map[string]any{"Int": 1, "Boolean": false, "String": "text", "Decimal": "1.00", "EmailAddress": "kim@example.com",
				"CountryCode": "DE", "DateTime": "2026-05-04T10:00:00Z", "URL": "https://example.com/", "JSON": map[string]any{}}[d.Name]
			if !ok {
				w.t.Errorf("%s: no value of type %s", p, d.Name)
			}
			if name == "idempotencyKey" {
				sample = uuid.NewString()
			} else if name == "paymentMethod" {
				sample = "card_ok"
			}
			v = sample
		}
		if of.Elem != nil {
			v = []any{v}
		}
		return v, true
	}
	var declared, given []string
	variables = map[string]any{}
	for _, a := range p.field.Arguments {
		if v, ok := fill(a.Name, a.Type, p.path, a.Type.NonNull && a.DefaultValue == nil); ok {
			variables[a.Name] = v
			declared, given = append(declared, "$"+a.Name+": "+a.Type.String()), append(given, a.Name+": $"+a.Name)
		}
	}
	return fmt.Sprintf("%s(%s) { it: %s(%s)%s }", p.root, strings.Join(declared, ", "), p.field.Name, strings.Join(given, ", "),
		w.selects(w.schema.Types[p.field.Type.Name()], 3)), variables
}

// selects returns all that is to be had of a type, to a depth, but for what a role alone gives.
func (w *idor) selects(d *ast.Definition, depth int) string {
	if d.IsLeafType() {
		return ""
	}
	fields := []string{"__typename"}
	for _, f := range d.Fields {
		of := w.schema.Types[f.Type.Name()]
		if strings.HasPrefix(f.Name, "__") || f.Name == "updatedAt" || f.Directives.ForName("hasRole") != nil && depth < 3 || depth == 0 && !of.IsLeafType() {
			continue
		}
		call := f.Name
		if f.Arguments.ForName("first") != nil {
			call += "(first: 3)"
		}
		fields = append(fields, call+w.selects(of, depth-1))
	}
	return " { " + strings.Join(fields, " ") + " }"
}

// idor is a world in which Ada has one of everything, and others try to get at it.
type idor struct {
	*world
	feeds   *replica // for subscriptions
	schema  *ast.Schema
	draft   string               // an order of Ada's that staff writes
	carts   map[string]string    // the tokens of carts of the attackers' own
	owners  map[string]uuid.UUID // of what is the attackers' own
	tables  map[string]*pgx.Conn // by domain
	digests map[string]string    // the statement that reads all of a domain
}

// attackers have no right to what is Ada's: a customer with things of their own, a guest with the token of an order and of a cart,
// somebody with the token of a cart alone, and a machine.
var attackers = []string{"bob", "guest", "", "machine"}

func newIDOR(t testing.TB) *idor {
	w := newWorld(t, 2)
	w.takeMoney()
	x := &idor{schema: contract(t), carts: map[string]string{}, owners: map[string]uuid.UUID{"bob": w.person("bob")},
		tables: map[string]*pgx.Conn{}, digests: map[string]string{}}
	w.tokens["machine"] = w.machine
	w.ids["ApiKey"] = w.apiKey
	jobs := w.data("admin", `{ jobs(domain: ORDERS, first: 1) { nodes { id } } discounts(first: 1) { nodes { id } } }`, nil)
	for name, field := range map[string]string{"Job": "jobs", "Discount": "discounts"} {
		i, err := id.Parse(jobs[field].(map[string]any)["nodes"].([]any)[0].(map[string]any)["id"].(string))
		if err != nil {
			t.Fatal(err)
		}
		w.ids[name] = i
	}
	w.data("ada", profileUpdate, in("name", "Name of ada, changed")) // which the audit log tells of
	x.draft = w.data("admin", orderDraftCreate, keyed(uuid.NewString(), in("customerId", w.ids["User"].String(), "lines", []any{
		map[string]any{"variantId": w.ids["Variant"].String(), "quantity": 1}})))["orderDraftCreate"].(map[string]any)["order"].(map[string]any)["id"].(string)
	w.data("bob", cartLinesAdd, ofCart("", map[string]any{"lines": []any{map[string]any{"variantId": w.ids["Variant"].String()}}}))
	x.carts[""], _, _ = w.fills()
	x.carts["guest"], _, _ = w.fills()
	ordered, _, _ := w.fills()
	w.data("", cartUpdate, ofCart(ordered, map[string]any{"shippingMethodId": w.ids["Shipping"].String()}))
	placed := w.data("", orderPlace, keyed(uuid.NewString(), in("cartToken", ordered, "expectedTotal", "44.70", "paymentMethod", "card_ok")))["orderPlace"].(map[string]any)
	guest, ok := placed["guest"].(map[string]any)
	if !ok {
		t.Fatalf("placed: %v", placed)
	}
	w.tokens["guest"] = guest["token"].(string)
	own, err := id.Parse(placed["order"].(map[string]any)["id"].(string))
	if err != nil {
		t.Fatal(err)
	}
	x.owners["guest"] = own.Owner
	x.world, x.feeds = w, w.replicate(nil)
	for domain, url := range w.dbs.URLs {
		c, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.Background()) })
		x.tables[domain] = c
		rows, _ := c.Query(t.Context(), `SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY 1`, domain)
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(tables) == 0 {
			t.Fatal(domain, tables, err)
		}
		each := make([]string, len(tables))
		for i, table := range tables {
			row := "t::text"
			switch domain + "." + table {
			case "orders.carts": // to remove what is not there is no error, but touches one's own
				row = "(to_jsonb(t) - 'updated_at')::text"
			case "users.api_keys": // is noted each minute
				row = "(to_jsonb(t) - 'last_used_at')::text"
			}
			each[i] = fmt.Sprintf(`SELECT '%[2]s ' || coalesce(md5(string_agg(%[3]s, '|' ORDER BY %[3]s)), '') AS d FROM %[1]s.%[2]s t`, domain, table, row)
		}
		x.digests[domain] = `SELECT string_agg(d, E'\n' ORDER BY d) FROM (` + strings.Join(each, " UNION ALL ") + `) t`
	}
	for _, who := range append(attackers, "ada") {
		w.ask(who, `{ viewer { id } }`, nil) // the session is known from here on
	}
	return x
}

// holds is another text when a row of any table is.
func (w *idor) holds() string {
	w.t.Helper()
	var all strings.Builder
	for _, domain := range slices.Sorted(maps.Keys(w.tables)) {
		var text string
		if err := w.tables[domain].QueryRow(w.t.Context(), w.digests[domain]).Scan(&text); err != nil {
			w.t.Fatal(err)
		}
		all.WriteString(domain + "." + strings.ReplaceAll(text, "\n", "\n"+domain+".") + "\n")
	}
	return all.String()
}

// changed returns the tables that hold something else.
func changed(before, after string) (tables []string) {
	was := strings.Split(before, "\n")
	for _, line := range strings.Split(after, "\n") {
		if table, _, _ := strings.Cut(line, " "); !slices.Contains(was, line) {
			tables = append(tables, table)
		}
	}
	return tables
}

// sessionCheck tells whether a statement finds out who asks.
func sessionCheck(name string) bool {
	return name == "users.check_session" || name == "users.check_api_key"
}

// tells returns all of the answer, that to a subscription up to its end. With live it returns at the first event.
func (w *idor) tells(bearer string, p spot, value any, token string, live bool) answer {
	w.t.Helper()
	document, variables := w.asks(p, value, token)
	body := []byte(asked(w.t, document, variables, nil))
	if p.root != ast.Subscription {
		r := w.request("", body)
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		return w.send(r)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.feeds.server.URL, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "text/event-stream")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	if live {
		first := make([]byte, 4096)
		n, _ := io.ReadAtLeast(got.Body, first, 10)
		return answer{got.StatusCode, got.Header, string(first[:n]), nil}
	}
	all, err := io.ReadAll(got.Body)
	if err != nil {
		w.t.Fatalf("%s goes on: %q", p, all)
	}
	return answer{got.StatusCode, got.Header, string(all), nil}
}

// unknown returns well-formed IDs that name nothing: of the same owner, of another, and of the attacker.
func unknown(of id.ID, own uuid.UUID) []id.ID {
	if of.Owner == uuid.Nil {
		return []id.ID{{Kind: of.Kind, Key: id.New()}}
	}
	return []id.ID{{Kind: of.Kind, Owner: of.Owner, Key: id.New()}, {Kind: of.Kind, Owner: id.New(), Key: of.Key}, {Kind: of.Kind, Owner: own, Key: of.Key}}
}

// named returns what names Ada's things at a place, and for each what names nothing.
func (w *idor) named(p spot, own uuid.UUID) map[string][]string {
	found := map[string][]string{}
	switch p.leaf() {
	case "number", "orderNumber":
		return map[string][]string{w.numbers["ada"]: {order.NewNumber(), "nonsense"}}
	case "email":
		return map[string][]string{"ada@example.com": {"nobody@example.com"}}
	case "phone":
		return map[string][]string{"+4930901" + "00000": {"+493090199999"}}
	}
	for name := range guardedKinds {
		i := w.ids[name]
		others := unknown(i, own)
		if p.field.Directives.ForName("hasRole") != nil { // nobody who tries gets as far as the ID
			others = others[:1]
		}
		for _, u := range others {
			found[i.String()] = append(found[i.String()], u.String())
		}
	}
	return found
}

// TestIDOR asks for what is Ada's at each place that takes an ID or a handle, as each who has no right to it: the answer is byte for
// byte that for what does not exist, and nothing is written. Ada, or the admin, gets another one.
func TestIDOR(t *testing.T) {
	t.Parallel()
	w := newIDOR(t)
	all, tried := spots(t, w.schema), 0
	for _, who := range attackers {
		before := w.holds()
		for _, p := range all {
			ran := false
			for hers, others := range w.named(p, w.owners[who]) {
				got := w.tells(w.tokens[who], p, hers, w.carts[who], false)
				for _, none := range others {
					tried++
					want := w.tells(w.tokens[who], p, none, w.carts[who], false)
					if got.status != want.status || got.body != want.body {
						t.Errorf("%s as %q: of %s %d %.800s\nof %s, which there is not: %d %.800s", p, who, hers, got.status, got.body, none, want.status, want.body)
					}
				}
				if strings.Contains(got.body, "ada@example.com") || strings.Contains(got.body, "Name of ada") || got.status >= 500 || strings.Contains(got.body, "INTERNAL") {
					t.Errorf("%s as %q: %d %s", p, who, got.status, got.body)
				}
				ran = ran || slices.ContainsFunc(got.statements, func(s string) bool { return !sessionCheck(s) })
			}
			if ran && p.root == ast.Mutation {
				after := w.holds()
				written := changed(before, after)
				if who == "machine" && p.field.Directives.ForName("hasRole") != nil { // it may change the stock, and what it got is kept under its key
					written = slices.DeleteFunc(written, func(table string) bool { return table == "products.idempotency_keys" })
				}
				if len(written) > 0 {
					t.Errorf("%s as %q has written to %v", p, who, written)
				}
				before = after
			}
		}
		if written := changed(before, w.holds()); len(written) > 0 {
			t.Errorf("as %q: written to %v", who, written)
		}
	}
	t.Logf("%d guarded types, %d places, %d attackers, %d comparisons", len(guardedKinds), len(all), len(attackers), tried)

	// That the same questions find something for those who may ask shows that they were the right ones. What takes things away comes last.
	last := func(p spot) int {
		for i, word := range []string{"Delete", "Remove", "Cancel", "Void", "Deactivate", "Revoke"} {
			if strings.Contains(p.field.Name, word) {
				return i + 1
			}
		}
		return 0
	}
	slices.SortStableFunc(all, func(a, b spot) int { return last(a) - last(b) })
	for _, p := range all {
		name := idNames[strings.TrimSuffix(idName(p.leaf()), "id")]
		if name == "" && !strings.HasPrefix(p.field.Name, "node") && p.leaf() == "id" {
			name = p.field.Type.Name()
		}
		if of := w.schema.Types[name]; of != nil && !guarded(w.schema, of) || name == "Shipping" {
			continue
		}
		who := "ada"
		if p.field.Directives.ForName("hasRole") != nil {
			who = "admin"
		}
		found := 0
		for hers, others := range w.named(p, w.ids["User"].Key) {
			none := w.tells(w.tokens[who], p, others[0], "", true).body
			got := w.tells(w.tokens[who], p, hers, "", true)
			if got.body != none {
				found++
			}
			if strings.Contains(got.body, "INTERNAL") {
				t.Errorf("%s as %q, of %s: %s", p, who, hers, got.body)
			}
		}
		if found == 0 {
			t.Errorf("%s finds nothing for %q either", p, who)
		}
	}
}

// TestIDORPaths goes every nested path of the contract, from Ada's IDs and from what the attackers have themselves. It comes to
// what it comes to from IDs that name nothing.
func TestIDORPaths(t *testing.T) {
	t.Parallel()
	w := newIDOR(t)
	nobodys := *w.world
	nobodys.ids = maps.Clone(w.ids)
	for name := range guardedKinds {
		nobodys.ids[name] = unknown(w.ids[name], uuid.Nil)[0]
	}
	hers, none := paths(t, w.world), paths(t, &nobodys)
	before := w.holds()
	shows := func(p path) string {
		more := ""
		if d := w.schema.Types[p.of]; !d.IsLeafType() {
			for _, f := range []string{"id", "email", "name", "number"} {
				if d.Fields.ForName(f) != nil {
					more += " " + f
				}
			}
		}
		return strings.Replace(p.document, "{ __typename", "{ __typename"+more, 1)
	}
	private := []string{"ada@example.com", "Name of ada", w.numbers["ada"]}
	for name := range guardedKinds {
		if name != "StockMovement" && name != "PriceChange" { // of the shop's, which machines keep in order
			private = append(private, w.ids[name].String())
		}
	}
	for _, who := range attackers {
		for i, p := range hers {
			got := w.ask(who, shows(p), nil)
			want := got
			if none[i].document != p.document {
				want = w.ask(who, shows(none[i]), nil)
			}
			if got.status != want.status || got.body != want.body {
				t.Errorf("%s as %q: %s, of what there is not %s", p.name, who, got.body, want.body)
			}
			for _, text := range private {
				if strings.Contains(got.body, text) {
					t.Errorf("%s as %q: %s", p.name, who, got.body)
				}
			}
		}
	}
	if written := changed(before, w.holds()); len(written) > 0 {
		t.Errorf("written to %v", written)
	}
	t.Logf("%d paths, %d attackers", len(hers), len(attackers))
}

// badTokens are tokens that stand for nobody, by what is wrong with them. Each says that it is Ada's.
func (w *idor) badTokens() map[string]string {
	t := w.t
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	part := strings.Split(w.tokens["ada"], ".")
	decode := func(text string) (m map[string]any) {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		must(err)
		must(json.Unmarshal(raw, &m))
		for name, v := range m {
			if n, ok := v.(float64); ok {
				m[name] = int64(n)
			}
		}
		return m
	}
	var ring struct {
		Keys []struct {
			Kid string
			Key jose.JSONWebKey
		}
	}
	text, err := w.keys.Load().Marshal()
	must(err)
	must(json.Unmarshal(text, &ring))
	key := ring.Keys[0].Key.Key.(ed25519.PrivateKey)
	public := key.Public().(ed25519.PublicKey)
	jwks, err := w.keys.Load().JWKS()
	must(err)
	_, stranger, err := ed25519.GenerateKey(nil)
	must(err)
	join := func(header, claims map[string]any) string {
		return base64.RawURLEncoding.EncodeToString(encode(header)) + "." + base64.RawURLEncoding.EncodeToString(encode(claims))
	}
	with := func(encoded string, pairs ...any) map[string]any {
		m := decode(encoded)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	}
	sign := func(by ed25519.PrivateKey, header, claims map[string]any) string {
		in := join(header, claims)
		return in + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(by, []byte(in)))
	}
	hs256 := func(secret []byte) string {
		in := join(with(part[0], "alg", "HS256"), decode(part[1]))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(in))
		return in + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	if a := w.send(w.bearing(sign(key, decode(part[0]), decode(part[1])), `{"query":"{ viewer { email } }"}`)); !strings.Contains(a.body, "ada@example.com") {
		t.Fatalf("a token that is signed again: %s", a.body)
	}
	signIn := func() map[string]any {
		d := w.data("", `mutation { signIn(input: {email: "ada@example.com", password: "`+password+`"}) { tokens { accessToken refreshToken } } }`, nil)
		return d["signIn"].(map[string]any)["tokens"].(map[string]any)
	}
	ended := signIn()["accessToken"].(string)
	if a := w.send(w.bearing(ended, `{"query":"mutation { signOut { sessionsEnded } }"}`)); !strings.Contains(a.body, `"sessionsEnded":1`) {
		t.Fatalf("signed out: %s", a.body)
	}
	admin := auth.With(t.Context(), auth.Actor{ID: w.person("admin"), Roles: auth.Roles(auth.RoleAdmin)})
	revoked, err := w.services.Users.CreateAPIKey(admin, user.APIKeyCreateInput{Name: "revoked"})
	must(err)
	_, err = w.services.Users.RevokeAPIKey(admin, user.APIKeyRevokeInput{APIKeyID: revoked.APIKey.GlobalID()})
	must(err)
	past := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	flipped := []byte(w.machine)
	flipped[len(flipped)-5] ^= 1
	return map[string]string{
		"expired":                     sign(key, decode(part[0]), with(part[1], "iat", past(3*time.Hour), "nbf", past(3*time.Hour), "exp", past(time.Hour))),
		"alg none":                    join(with(part[0], "alg", "none"), decode(part[1])) + ".",
		"alg none with signature":     join(with(part[0], "alg", "none"), decode(part[1])) + "." + part[2],
		"HS256, public key":           hs256(public),
		"HS256, public JWKS":          hs256(jwks),
		"another key":                 sign(stranger, decode(part[0]), decode(part[1])),
		"another key's name":          sign(stranger, with(part[0], "kid", "another"), decode(part[1])),
		"wrong audience":              sign(key, decode(part[0]), with(part[1], "aud", "another")),
		"wrong issuer":                sign(key, decode(part[0]), with(part[1], "iss", "https://evil.example")),
		"altered payload":             part[0] + "." + strings.Split(join(nil, with(part[1], "roles", []string{"ADMIN"})), ".")[1] + "." + part[2],
		"Bob's, altered to be hers":   strings.Split(w.tokens["bob"], ".")[0] + "." + part[1] + "." + strings.Split(w.tokens["bob"], ".")[2],
		"refresh token":               signIn()["refreshToken"].(string),
		"her ID":                      w.ids["User"].String(),
		"session has ended":           ended,
		"API key with another secret": string(flipped),
		"API key that was revoked":    *revoked.Secret,
	}
}

// bearing returns a request with a bearer token.
func (w *idor) bearing(token, body string) *http.Request {
	r := w.request("", []byte(body))
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// TestIDORBadTokens asks for what is Ada's with tokens that do not hold, at each place, by each root of a path and over a WebSocket: the answer is
// 401 whatever is asked, nothing but the session is looked at, and nothing is written.
func TestIDORBadTokens(t *testing.T) {
	t.Parallel()
	w := newIDOR(t)
	tokens := w.badTokens()
	before, tried := w.holds(), 0
	all, ways := spots(t, w.schema), paths(t, w.world)
	for name, token := range tokens {
		want := w.send(w.bearing(token, `{"query":"{ categories { name } }"}`))
		if want.status != http.StatusUnauthorized || strings.Contains(want.body, `"data"`) || want.header.Get("WWW-Authenticate") == "" ||
			!slices.Equal(want.codes(), []string{"UNAUTHENTICATED "}) || strings.Contains(want.body, token) {
			t.Errorf("%s: %d %s", name, want.status, want.body)
		}
		check := func(what string, a answer) {
			t.Helper()
			tried++
			if a.status != want.status || a.body != want.body || slices.ContainsFunc(a.statements, func(s string) bool { return !sessionCheck(s) }) {
				t.Errorf("%s, %s: %d %s %v", name, what, a.status, a.body, a.statements)
			}
		}
		for _, p := range all {
			hers := slices.Sorted(maps.Keys(w.named(p, uuid.Nil)))
			check(p.String(), w.tells(token, p, hers[tried%len(hers)], w.carts["guest"], false))
		}
		for _, p := range ways {
			if strings.Contains(p.name, ".") {
				continue
			}
			check(p.name, w.send(w.bearing(token, asked(w.t, p.document, nil, nil))))
		}
		l := w.feeds.dial(socketProtocol)
		l.say(`{"type":"connection_init","payload":{"Authorization":` + string(encode("Bearer "+token)) + `}}`)
		l.expectClose(websocket.StatusCode(4403))
	}
	if written := changed(before, w.holds()); len(written) > 0 {
		t.Errorf("written to %v", written)
	}
	t.Logf("%d tokens, %d requests", len(tokens), tried)
}
