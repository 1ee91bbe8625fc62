package graph

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/99designs/gqlgen/graphql/introspection"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"emporium/internal/auth"
)

// TestLimits sends small documents that ask for much, and wants them refused before anything is read; what is at the limit
// passes.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1).limited()
	repeat := func(n int, one string) (all string) {
		for i := range n {
			all += strings.ReplaceAll(one, "#", fmt.Sprint(i))
		}
		return all
	}
	doubling := "query { ...F0 }\n" + repeat(29, "fragment F# on Query { ...G# ...G# }\nfragment G# on Query { ...F#1 }\n")
	for i := range 29 {
		doubling = strings.Replace(doubling, fmt.Sprintf("F%d1 }", i), fmt.Sprintf("F%d }", i+1), 1)
	}
	doubling += "fragment F29 on Query { categories { name } }"
	for name, c := range map[string]struct {
		query, says string
		variables   map[string]any
	}{
		"tokens":                           {query: `{ ` + repeat(600, `... on Query { __typename } `) + `}`, says: "token limit of 1200"},
		"depth":                            {query: `{ viewer { ` + strings.Repeat("orders(first: 1) { nodes { customer { ", 3) + "id" + strings.Repeat(" } } }", 3) + ` } }`, says: "more than 10 levels of fields"},
		"depth in fragments":               {query: `{ viewer { ...A } } fragment A on User { orders(first: 1) { nodes { customer { ...B } } } } fragment B on User { orders(first: 1) { nodes { customer { ...C } } } } fragment C on User { orders(first: 1) { nodes { customer { id } } } }`, says: "more than 10 levels"},
		"types in types":                   {query: `{ __schema { types ` + strings.Repeat("{ fields { type ", 5) + "{ name }" + strings.Repeat(" } }", 5) + ` } }`, says: "introspection depth"},
		"kinds of kinds":                   {query: `{ __type(name: "X") { ofType ` + strings.Repeat("{ ofType ", 25) + "{ name }" + strings.Repeat(" }", 25) + ` } }`, says: "20 levels of fields below the schema"},
		"aliases":                          {query: `{ viewer { ` + repeat(4, `a#: id b#: name c#: email d#: roles `) + `} }`, says: "more than 15 aliases"},
		"aliases of one field":             {query: `{ ` + repeat(6, `a#: viewer { id } `) + `}`, says: "more than 5 aliases of `viewer`"},
		"aliases in fragments":             {query: `{ viewer { ...A ... { ` + repeat(3, `a#: id `) + `} } } fragment A on User { ` + repeat(3, `b#: id `) + `}`, says: "more than 5 aliases of `id`"},
		"directives":                       {query: `{ viewer { ` + repeat(21, `... @include(if: true) { id } `) + `} }`, says: "more than 20 directives"},
		"directives on one field":          {query: `{ viewer { id ` + strings.Repeat(`@aa `, 200) + `} }`, says: "more than 20 directives"},
		"root fields":                      {query: `{ ` + repeat(4, `a#: viewer { id } b#: categories { id } c#: orders(first: 1) { totalCount } `) + `}`, says: "more than 10 root fields in a query"},
		"mutations":                        {query: `mutation { ` + repeat(4, `a#: signOutEverywhere { sessionsEnded } `) + `}`, says: "more than 3 root fields in a mutation"},
		"doubling fragments":               {query: doubling, says: "root fields"},
		"one sign-in more":                 {query: `mutation { a: signIn(input: {email: "a@example.com", password: "x"}) { tokens { accessToken } } b: signIn(input: {email: "a@example.com", password: "y"}) { tokens { accessToken } } }`, says: "selects `signIn` more than once"},
		"lists in lists":                   {query: `{ products(first: 100) { nodes { variants { product { variants { product { variants { product { variants { id } } } } } } } } } }`, says: "may cost 20000"},
		"pages in pages":                   {query: `query($n: Int = 100) { users(first: $n) { nodes { orders(first: $n) { nodes { lines { id } } } } } }`, says: "could cost 60"},
		"edges and nodes":                  {query: `{ users(first: 100) { edges { node { id orders(first: 100) { nodes { id } } } } nodes { orders(first: 100) { edges { node { id } } } } } }`, says: "could cost"},
		"many nodes":                       {query: `query($ids: [ID!]!) { nodes(ids: $ids) { ... on User { orders(first: 100) { nodes { lines { id } } } } } }`, says: "could cost", variables: map[string]any{"ids": slices.Repeat([]string{w.ids["User"].String()}, 100)}},
		"fields in fragments in fragments": {query: wide(), says: "more than 15 aliases"},
		"the schema among other things":    {query: `{ __schema { queryType { name } } viewer { id } }`, says: "operation of its own"},
		"a condition that is null": {query: `query($b: Boolean = true) { categories @skip(if: $b) { name } }`, says: "@skip",
			variables: map[string]any{"b": nil}},
		"a condition that is null in a fragment": {query: `query($b: Boolean = true) { categories { ...F } } fragment F on Category { ... @include(if: $b) { name } }`,
			says: "@include", variables: map[string]any{"b": nil}},
		"an operation that is not run": {query: `query A { categories { name } } mutation B { ` + repeat(4, `a#: signOutEverywhere { sessionsEnded } `) + `}`, says: "a mutation"},
		"a part that is to come later": {query: `{ viewer { id ... @defer { name } } }`, says: `Unknown directive \"@defer\"`},
		"fragments in a circle":        {query: `{ viewer { ...A } } fragment A on User { id ...B } fragment B on User { name ...A }`, says: "Cannot spread fragment"},
		"a fragment that is not there": {query: `{ viewer { ...A } }`, says: "Unknown fragment"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := json.Marshal(map[string]any{"query": c.query, "variables": c.variables, "operationName": map[bool]any{true: "A"}[strings.Contains(c.query, "query A")]})
			if err != nil {
				t.Fatal(err)
			}
			a := w.send(w.request("admin", body))
			if !strings.Contains(a.body, c.says) || a.codes()[0] != "BAD_USER_INPUT " || strings.Contains(a.body, `"data"`) || a.status/100 != 4 {
				t.Errorf("%d %.300s", a.status, a.body)
			}
			if slices.ContainsFunc(a.statements, func(s string) bool { return s != "users.check_session" }) {
				t.Errorf("statements were run: %v", a.statements)
			}
		})
	}
	if schema := w.ask("", `{ __schema { directives { name } } }`, nil); strings.Contains(schema.body, `"defer"`) || !strings.Contains(schema.body, `"skip"`) {
		t.Errorf("directives: %s", schema.body)
	}
	// What real pages and tools ask for passes, and what is just at a limit.
	w.data("", introspection.Query, nil)
	w.data("admin", `{ orders(first: 100) { nodes { number customer { name addresses { city } } lines { title variant { sku product { title media { url } } } }
		payments { status events { kind } } fulfillments { lines { line { title } } } events { kind } } } }`, nil)
	w.data("admin", `{ viewer { `+repeat(5, `a#: id b#: name c#: email `)+repeat(20, `... @include(if: true) { id } `)+`} }`, nil)
	w.data("admin", `{ viewer { orders(first: 1) { nodes { lines { variant { product { category { parent { parent { id } } } } } } } } } }`, nil)

	w.data("admin", `{ viewer { ... { ... { ... { id name email } } } `+repeat(3, `...F# `)+`} } `+repeat(3, `fragment F# on User { id ... { ... { name ...G# } } } fragment G# on User { email } `), nil)
	w.data("admin", `query($ids: [ID!]!) { nodes(ids: $ids) { id } }`, map[string]any{"ids": slices.Repeat([]string{w.ids["User"].String()}, 100), "unused": make([]int, maxValues-105)})

	many := w.ask("admin", `{ viewer { `+repeat(30, `x# `)+`} }`, nil)
	if n := len(many.codes()); n != maxInvalid {
		t.Errorf("%d errors of a document with 30: %s", n, many.body)
	}
}

// TestStatementBudget lets an operation run out of statements: what it has is there, and the rest says why.
func TestStatementBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.options.Limits.Statements = 3
	var err error
	if w.handler, err = NewHandler(w.options); err != nil {
		t.Fatal(err)
	}
	a := w.ask("admin", `{ categories { name } orders(first: 1) { nodes { lines { title } payments { status } events { kind } } } }`, nil)
	if !strings.Contains(a.body, "more than 3 SQL statements") || !strings.Contains(a.body, "Clothes") {
		t.Errorf("%s", a.body)
	}
	for _, code := range a.codes() {
		if !strings.HasPrefix(code, "BAD_USER_INPUT orders") {
			t.Errorf("%v", a.codes())
		}
	}
	w.data("", `{ a: categories { name } b: categories { id } c: categories { slug } }`, nil) // the budget is of each operation
}

// TestCosts estimates operations, and compares with what they were in the end.
func TestCosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	for _, c := range []struct {
		query     string
		variables map[string]any
		estimated int
		actual    int // of five products with two variants each, for admins
	}{
		{`{ categories { name } }`, nil, 5, 1},
		{`{ __typename }`, nil, 0, 0},
		{`{ __schema { queryType { name } } }`, nil, 100, 100},
		{`{ viewer { id } }`, nil, 1, 1},
		{`{ products(first: 5) { nodes { title } } }`, nil, 1 + 5, 1 + 5},
		{`{ products(last: 5) { edges { cursor node { title } } } }`, nil, 1 + 5*2, 1 + 5*2},
		{`{ products(first: 5) { pageInfo { hasNextPage } nodes { title } } }`, nil, 2 + 5, 2 + 5},
		{`query($n: Int!) { products(first: $n) { totalCount nodes { variants { sku } } } }`, map[string]any{"n": 20}, 1 + 5 + 20*6, 1 + 5 + 5*3},
		{`query($n: Int = 3) { products(first: $n, query: "x") { ...P } } fragment P on ProductConnection { ...N } fragment N on ProductConnection { nodes { title } }`, nil, 1 + 3, 1},
		{`query($i: [ID!]!) { nodes(ids: $i) { id } }`, map[string]any{"i": []string{w.ids["User"].String(), w.ids["User"].String()}}, 2, 2},
		{`{ products(first: 5) { nodes { title } } products(first: 5) { nodes { slug } } }`, nil, 2 * (1 + 5), 1 + 5},
	} {
		a := w.costs("admin", c.query, c.variables)
		if a != [2]int{c.estimated, c.actual} {
			t.Errorf("%s: %v, want %v", c.query, a, [2]int{c.estimated, c.actual})
		}
	}
}

// costs asks what an operation costs: the estimate and what it was.
func (w *world) costs(who, query string, variables map[string]any) [2]int {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables, "extensions": map[string]any{"cost": map[string]any{"explain": true}}})
	if err != nil {
		w.t.Fatal(err)
	}
	a := w.send(w.request(who, body))
	var decoded struct {
		Extensions struct {
			Cost struct{ Estimated, Actual int }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &decoded); err != nil || strings.Contains(a.body, `"errors"`) {
		w.t.Fatalf("%s: %s", query, a.body)
	}
	return [2]int{decoded.Extensions.Cost.Estimated, decoded.Extensions.Cost.Actual}
}

// TestCostIsDeclared takes from the contract what costs are drawn from, or spoils it: the server does not start.
func TestCostIsDeclared(t *testing.T) {
	t.Parallel()
	read, err := os.ReadFile("../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	text := string(read)
	for _, c := range [][3]string{
		{`): OrderConnection @listSize(slicingArguments: ["first", "last"], sizedFields: ["nodes", "edges"], requireOneSlicingArgument: false)`, `): OrderConnection`, "Query.orders returns pages without @listSize"},
		{`@listSize(slicingArguments: ["ids"])`, `@listSize(slicingArguments: ["id"])`, "Query.nodes: there is no argument id"},
		{`@listSize(slicingArguments: ["ids"])`, `@listSize(assumedSize: 0)`, "Query.nodes: the assumed size is no number above 0"},
		{`@cost(weight: "100")`, `@cost(weight: "-1")`, `the weight "-1" is no whole number`},
		{`sizedFields: ["nodes", "edges"]`, `sizedFields: ["node"]`, "has no list node"},
	} {
		if !strings.Contains(text, c[0]) {
			t.Fatalf("the contract has no %s", c[0])
		}
		schema, err := gqlparser.LoadSchema(&ast.Source{Input: strings.Replace(text, c[0], c[1], 1)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewHandler(Options{Schema: schema}); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s in place of %s: %v", c[1], c[0], err)
		}
	}
}

// meter gives viewers and addresses so many points for a day.
func (w *world) meter(viewer, address int) {
	w.t.Helper()
	throttle, err := auth.NewThrottle(auth.ThrottleConfig{Secret: []byte("x"), Limits: map[string]auth.Limit{
		auth.ThrottleViewerPoints:  {Burst: viewer, Every: 24 * 3600e9},
		auth.ThrottleAddressPoints: {Burst: address, Every: 24 * 3600e9},
	}})
	if err == nil {
		w.options.Points, err = auth.NewPoints(throttle)
	}
	if err == nil {
		w.handler, err = NewHandler(w.options)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestReadingCosts sends one document after the other that is not valid, until there are no points left to read another.
func TestReadingCosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.meter(1000, 200)
	for n := range 101 {
		a := w.ask("", fmt.Sprintf(`{ nothing%d } #%s`, n, strings.Repeat("x", 600)), nil)
		if a.status == http.StatusTooManyRequests {
			if n < 15 || strings.Join(a.codes(), "") != "RATE_LIMITED " || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "data") {
				t.Errorf("after %d documents: %v %s", n, a.header, a.body)
			}
			break
		}
		if a.status != http.StatusUnprocessableEntity || n == 100 {
			t.Fatalf("%d: %d %s", n, a.status, a.body)
		}
	}
	w.data("ada", `{ viewer { id } }`, nil)
	for range 101 { // what is not valid is not known the next time, either
		if a := w.ask("bob", `{ nothing }`+strings.Repeat(" ", 700), nil); a.status == http.StatusTooManyRequests {
			return
		}
	}
	t.Error("Bob may go on")
}

// TestPoints lets a viewer run out of points: further operations are refused with 429 until there are some again, which keeps
// nobody else from asking. What was reserved too much comes back.
func TestPoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.meter(1000, 200)
	// 101 are reserved for each, and 6 used.
	for range 40 {
		w.data("ada", `{ products(first: 100) { nodes { title } } }`, nil)
	}
	refused := func(who string) bool {
		a := w.ask(who, `{ products(first: 100) { nodes { title } } }`, nil)
		if a.status != http.StatusTooManyRequests {
			if a.status != http.StatusOK || strings.Contains(a.body, "errors") {
				t.Fatalf("%d %s", a.status, a.body)
			}
			return false
		}
		if strings.Contains(a.body, "data") || strings.Join(a.codes(), "") != "RATE_LIMITED " || a.header.Get("Retry-After") == "" ||
			!strings.Contains(a.body, `"retryAfter":`+a.header.Get("Retry-After")) || slices.Contains(a.statements, "products.list") {
			t.Fatalf("%d %v %s %v", a.status, a.header, a.body, a.statements)
		}
		return true
	}
	asked := 0
	for !refused("ada") {
		if asked++; asked > 200 {
			t.Fatal("Ada never runs out of points")
		}
	}
	if asked < 100 {
		t.Errorf("Ada runs out of 1,000 points after %d operations that cost 6 each", 40+asked)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if !refused("ada") {
				t.Error("Ada may go on")
			}
		})
	}
	group.Wait()
	if refused("bob") || refused("") {
		t.Error("others may not ask")
	}
	for asked = 0; !refused(""); asked++ {
		if asked > 40 {
			t.Fatal("an address never runs out of points")
		}
	}
	for asked = 0; w.ask("ada", `{ viewer { id } }`, nil).status == http.StatusOK; asked++ {
		if asked > 101 {
			t.Fatal("small operations cost Ada nothing")
		}
	}
	if mutation := w.ask("ada", `mutation { signOutEverywhere { sessionsEnded } }`, nil); mutation.status != http.StatusTooManyRequests ||
		slices.Contains(mutation.statements, "users.end_sessions") {
		t.Errorf("a mutation: %d %s", mutation.status, mutation.body)
	}
}
