package graph

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"emporium/internal/usage"
)

// counted makes the handler count, and returns what takes the counts: by coordinate, those of clients with a name after a "by".
func (w *world) counted() (take func() map[string]int64) {
	w.t.Helper()
	counter := usage.NewCounter()
	w.options.Usage = counter
	var err error
	if w.handler, err = NewHandler(w.options); err != nil {
		w.t.Fatal(err)
	}
	return func() map[string]int64 {
		w.t.Helper()
		counts := map[string]int64{}
		if err := counter.Flush(w.t.Context(), func(_ context.Context, uses []usage.Use) error {
			for _, u := range uses {
				of := u.Coordinate
				if u.Client != (usage.Client{}) {
					of += " by " + strings.TrimSuffix(u.Name+" "+u.Version, " ")
				}
				counts[of] = u.Count
			}
			return nil
		}); err != nil {
			w.t.Fatal(err)
		}
		return counts
	}
}

// uses returns counts of one for each of these.
func uses(coordinates ...string) map[string]int64 {
	counts := map[string]int64{}
	for _, c := range coordinates {
		counts[c] = 1
	}
	return counts
}

// TestNamedCoordinates names what documents name, on the types on which they do.
func TestNamedCoordinates(t *testing.T) {
	t.Parallel()
	schema := gqlparser.MustLoadSchema(&ast.Source{Input: `
		type Query { any(of: [Which!], color: Color, free: Free): Any  thing: Thing  list(w: [[Which]]): [A!] }
		type Mutation { do(input: Which!): A }
		interface Thing { id: ID  next: Thing }
		type A implements Thing { id: ID  next: Thing  x(y: Int): Int }
		type B implements Thing { id: ID  next: Thing  b: Int }
		union Any = A | B
		input Which { color: Color  colors: [Color!]  inner: Which  free: Free  n: Int = 1 }
		enum Color { RED GREEN BLUE }
		scalar Free`})
	for _, c := range []struct{ document, want string }{
		{`{ thing { id } }`, "Query.thing Thing.id"},
		{`{ thing { id ... on A { id x } ... on B { b } ... { next { __typename } } } }`, "A.id A.x B.b Query.thing Thing.id Thing.next"},
		{`{ any { __typename ... on A { x(y: 1) } ... on Thing { id } } }`, "A.x A.x(y:) Query.any Thing.id"},
		{`{ thing { ...T } again: thing { ...T next { ...T } } } fragment T on Thing { id ...A } fragment A on A { x }`, "A.x Query.thing Thing.id Thing.next"},
		{`query($on: Boolean!) { thing { id @include(if: $on) next @skip(if: true) { id } } }`, "Query.thing Thing.id Thing.next"},
		{`{ any(of: {color: RED, inner: {colors: [GREEN]}}) { __typename } }`, "Color.GREEN Color.RED Query.any Query.any(of:) Which.color Which.colors Which.inner"},
		{`query($c: Color) { any(of: [{color: $c}], color: BLUE) { __typename } }`, "Color.BLUE Query.any Query.any(color:) Query.any(of:) Which.color"},
		{`query($w: Which = {inner: {n: 1}}) { any(of: [$w], free: {color: RED}) { __typename } }`, "Query.any Query.any(free:) Query.any(of:) Which.inner Which.n"},
		{`{ list(w: [[{free: {a: [RED]}, color: null}]]) { id } }`, "A.id Query.list Query.list(w:) Which.color Which.free"},
		{`mutation { do(input: {n: 2}) { id } }`, "A.id Mutation.do Mutation.do(input:) Which.n"},
	} {
		document, errs := gqlparser.LoadQueryWithRules(schema, c.document, rules.NewDefaultRules())
		if errs != nil {
			t.Fatalf("%s: %v", c.document, errs)
		}
		e := executable{ExecutableSchema: NewExecutableSchema(Config{Schema: schema}), usage: usage.NewCounter()}
		got := e.named(document.Operations[0])
		slices.Sort(got)
		if text := strings.Join(slices.Compact(got), " "); text != c.want {
			t.Errorf("%s\n%s, want\n%s", c.document, text, c.want)
		}
	}

	for _, c := range []struct{ value, want string }{
		{`null`, ""},
		{`{}`, ""},
		{`{"color": "RED", "colors": ["GREEN", "BLUE"], "inner": {"n": 1, "free": {"color": "RED"}}}`, "Color.BLUE Color.GREEN Color.RED Which.color Which.colors Which.free Which.inner Which.n"},
		{`[{"color": null}, {"inner": {"colors": "RED"}}]`, "Color.RED Which.color Which.colors Which.inner"},
	} {
		var value any
		if err := json.Unmarshal([]byte(c.value), &value); err != nil {
			t.Fatal(err)
		}
		n := naming{schema: schema}
		n.value(value, schema.Types["Which"])
		slices.Sort(n.found)
		if text := strings.Join(slices.Compact(n.found), " "); text != c.want {
			t.Errorf("%s\n%s, want\n%s", c.value, text, c.want)
		}
	}
}

// TestUsage counts what is answered, and not what is refused.
func TestUsage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	take := w.counted()
	as := func(who, name, version, query string, variables map[string]any) answer {
		t.Helper()
		body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
		if err != nil {
			t.Fatal(err)
		}
		r := w.request(who, body)
		r.Header.Set("apollographql-client-name", name)
		r.Header.Set("apollographql-client-version", version)
		return w.send(r)
	}
	expect := func(what string, want map[string]int64) {
		t.Helper()
		if got := take(); !maps.Equal(got, want) {
			t.Errorf("%s:\n%v, want\n%v", what, got, want)
		}
	}

	w.data("", `{ categories { name } }`, nil)
	as("", "web", "1.0", `{ categories { name } }`, nil)
	as("", "web", "1.1", `{ categories { name } }`, nil)
	as("", "web", "1.1", `{ categories { name } }`, nil)
	expect("by versions", map[string]int64{"Query.categories": 1, "Category.name": 1, "Query.categories by web 1.0": 1, "Category.name by web 1.0": 1,
		"Query.categories by web 1.1": 2, "Category.name by web 1.1": 2})

	order := w.ids["Order"].String()
	w.data("ada", `query($id: ID!) { node(id: $id) { id ... on Order { number } ... on Product { title } } }`, map[string]any{"id": order})
	expect("an interface", uses("Query.node", "Query.node(id:)", "Node.id", "Order.number", "Product.title"))

	filtered := `query($f: OrderFilter, $s: OrderSort!) { orders(first: 1, filter: $f, sort: $s) { nodes { number } } }`
	common := []string{"Query.orders", "Query.orders(first:)", "Query.orders(filter:)", "Query.orders(sort:)", "OrderConnection.nodes", "Order.number",
		"OrderSort.field", "OrderSort.direction", "OrderSortField.CREATED_AT"}
	w.data("manager", filtered, map[string]any{"f": map[string]any{"statuses": []string{"PLACED"}}, "s": map[string]any{"field": "CREATED_AT", "direction": "ASC"}})
	expect("variables", uses(append(common, "OrderFilter.statuses", "OrderStatus.PLACED", "SortDirection.ASC")...))
	w.data("manager", filtered, map[string]any{"s": map[string]any{"field": "CREATED_AT", "direction": "DESC"}})
	expect("other variables", uses(append(common, "SortDirection.DESC")...))

	as("manager", "desk", "", `mutation($o: ID!) { orderNoteAdd(input: {orderId: $o, message: "Hello"}) { userErrors { code } } }`, map[string]any{"o": order})
	expect("a mutation", uses("Mutation.orderNoteAdd by desk", "Mutation.orderNoteAdd(input:) by desk", "OrderNoteAddInput.orderId by desk",
		"OrderNoteAddInput.message by desk", "OrderPayload.userErrors by desk", "UserError.code by desk"))

	for what, a := range map[string]answer{
		"the schema":           as("", "web", "", `{ __schema { types { name } } }`, nil),
		"the name of a type":   as("", "web", "", `{ __typename }`, nil),
		"what does not parse":  as("", "web", "", `{ categories { name }`, nil),
		"what is not there":    as("", "web", "", `{ categories { color } }`, nil),
		"too deep":             as("", "web", "", `{ categories {`+strings.Repeat(` parent {`, 20)+` name`+strings.Repeat(` }`, 20)+` } }`, nil),
		"without its variable": as("", "web", "", `query($id: ID!) { node(id: $id) { id } }`, nil),
		"a subscription":       as("ada", "web", "", `subscription { orderChanged(id: "`+order+`") { cursor } }`, nil),
		"a bad token": func() answer {
			r := w.request("", []byte(`{"query":"{ categories { name } }"}`))
			r.Header.Set("Authorization", "Bearer nonsense")
			return w.send(r)
		}(),
	} {
		if got := take(); len(got) > 0 {
			t.Errorf("%s is counted: %v\n%s", what, got, a.body)
		}
	}
}

// TestUsageOfKeptAnswers counts answers of every level of the cache like those that are made.
func TestUsageOfKeptAnswers(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 3)
	take := k.counted()
	query := `query($f: ProductFilter) { products(first: 2, filter: $f) { nodes { title } } }`
	variables := map[string]any{"f": map[string]any{"tags": []string{"linen"}}}
	want := uses("Query.products", "Query.products(first:)", "Query.products(filter:)", "ProductConnection.nodes", "Product.title", "ProductFilter.tags")
	k.kept("", query, variables)
	take()
	for i := range 5 {
		if a := k.look("", query, variables); a.level != "local" {
			t.Errorf("answer %d: %s %s", i, a.level, a.body)
		}
		if got := take(); !maps.Equal(got, want) {
			t.Errorf("answer %d: %v, want %v", i, got, want)
		}
	}

	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	r := k.request("", body)
	r.Header.Set("x-graphql-client-name", "ios")
	k.send(r)
	named := map[string]int64{}
	for coordinate := range want {
		named[coordinate+" by ios"] = 1
	}
	if got := take(); !maps.Equal(got, named) {
		t.Errorf("by name: %v, want %v", got, named)
	}
}

// TestUsageOfSubscriptions counts a subscription once, for the client that the first message names, or else the handshake.
func TestUsageOfSubscriptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	take := w.counted()
	r := w.replicate(nil)
	by := func(client string) map[string]int64 {
		return uses("Subscription.orderChanged by "+client, "Subscription.orderChanged(id:) by "+client, "OrderChange.cursor by "+client, "OrderChange.order by "+client,
			"Order.number by "+client)
	}
	query := `subscription($id: ID!) { orderChanged(id: $id) { cursor order { number } } }`
	variables := map[string]any{"id": w.ids["Order"].String()}
	for _, c := range []struct{ header, payload, want string }{
		{"hand", ``, "hand 1"},
		{"hand", `"apollographql-client-name":"told","apollographql-client-version":5,`, "told"},
		{"hand", `"Apollographql-Client-Name":"told","apollographql-client-version":"2",`, "told 2"},
		{"hand", `"apollographql-client-version":"2",`, "hand 1"},
		{"hand", `"x-graphql-client-name":"told","x-graphql-client-version":"3",`, "told 3"},
	} {
		header := http.Header{}
		if c.header != "" {
			header = http.Header{"Apollographql-Client-Name": {c.header}, "Apollographql-Client-Version": {"1"}}
		}
		conn, _, err := websocket.Dial(t.Context(), r.server.URL, &websocket.DialOptions{Subprotocols: []string{socketProtocol}, HTTPHeader: header})
		if err != nil {
			t.Fatal(err)
		}
		l := &line{conn, t}
		l.say(`{"type":"connection_init","payload":{` + c.payload + `"Authorization":"Bearer ` + w.tokens["ada"] + `"}}`)
		l.expect("", "connection_ack", "")
		l.subscribe("1", query, variables)
		if m := l.hear(); m.Type != "next" {
			t.Fatalf("%+v", m)
		}
		if got := take(); !maps.Equal(got, by(c.want)) {
			t.Errorf("%+v: %v", c, got)
		}
		// One that is refused.
		l.subscribe("2", `subscription { orderChanged(id: "nothing") { cursor } }`, nil)
		if m := l.hear(); m.Type == "next" {
			t.Fatalf("%+v", m)
		}
		if got := take(); len(got) > 0 {
			t.Errorf("refused: %v", got)
		}
		_ = conn.CloseNow()
	}

	events := r.listen("ada", query, variables)
	for text := ""; !strings.Contains(text, "event: next"); {
		var err error
		if text, err = events.block(); err != nil {
			t.Fatal(err)
		}
	}
	got := take()
	want := uses("Subscription.orderChanged", "Subscription.orderChanged(id:)", "OrderChange.cursor", "OrderChange.order", "Order.number")
	if !maps.Equal(got, want) {
		t.Errorf("an event stream: %v, want %v", got, want)
	}
}
