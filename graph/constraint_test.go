package graph

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"golang.org/x/text/unicode/norm"

	"emporium/internal/product"
)

// directiveOf is what a schema of a test needs of the contract's.
const directiveOf = `directive @constraint(minLength: Int, maxLength: Int, min: Float, max: Float, pattern: String, minItems: Int, maxItems: Int)
	on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION
scalar Decimal scalar JSON scalar EmailAddress scalar URL
`

const bounded = directiveOf + `
type Query {
	text(of: String @constraint(minLength: 2, maxLength: 4)): Query
	form(of: String @constraint(maxLength: 10, pattern: "^[a-z]*$")): Query
	int(of: Int @constraint(min: -2, max: 3)): Query
	amount(of: Decimal @constraint(min: 0.5, max: 1000000000.25)): Query
	texts(of: [String!] @constraint(minItems: 1, maxItems: 3, maxLength: 4)): Query
	in(of: In): Query
	ins(of: [In!] @constraint(maxItems: 2)): Query
	json(of: JSON): Query
	mail(of: EmailAddress): Query
	plain: Query
}
type Mutation { text(of: String @constraint(maxLength: 4)): Query }
type Subscription { text(of: String @constraint(maxLength: 4)): Query }
input In {
	text: String = "abcd" @constraint(maxLength: 4)
	texts: [String!] @constraint(maxItems: 2, maxLength: 4)
	in: In
	ins: [In!] @constraint(maxItems: 2)
}`

// violated returns what is wrong with an operation, each with its path and place: "text of: message".
func violated(t *testing.T, c constraints, schema *ast.Schema, document, variables string) (all []string) {
	t.Helper()
	doc, errs := gqlparser.LoadQueryWithRules(schema, document, nil)
	if errs != nil {
		t.Fatalf("%s: %v", document, errs)
	}
	given := map[string]any{}
	if variables != "" {
		d := json.NewDecoder(strings.NewReader(variables))
		d.UseNumber()
		if err := d.Decode(&given); err != nil {
			t.Fatal(err)
		}
	}
	values, err := validator.VariableValues(schema, doc.Operations[0], given)
	if err != nil {
		t.Fatalf("%s: %v", document, err)
	}
	refused := c.MutateOperationContext(t.Context(), &graphql.OperationContext{Doc: doc, Operation: doc.Operations[0], Variables: values})
	if refused == nil {
		return nil
	}
	for _, e := range oneByOne(gqlerror.List{refused}) {
		field, _ := e.Extensions["field"].([]string)
		all = append(all, strings.TrimSpace(e.Path.String()+" "+strings.Join(field, ".")+": "+e.Message))
	}
	return all
}

// TestConstraints holds every kind of bound against values of every origin: what is right at it passes, what is just beyond
// is refused, with its place.
func TestConstraints(t *testing.T) {
	t.Parallel()
	schema := gqlparser.MustLoadSchema(&ast.Source{Input: bounded})
	c, err := newConstraints(schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []struct {
		field, typ string
		good       []string // values as literals, which are JSON too
		bad        map[string]string
	}{
		{"text", "String", []string{`"ab"`, `"abcd"`, `"éééé"`, `"🧵🧵🧵🧵"`, `null`, `"a\tb\n"`},
			map[string]string{`"a"`: "of: this has fewer than 2 characters", `""`: "of: this has fewer than 2 characters",
				`"abcde"`: "of: this has more than 4 characters", `"🧵🧵🧵🧵🧵"`: "of: this has more than 4 characters",
				`"a\u0000b"`: "of: a text has no control characters other than tab, line feed and carriage return",
				`"a\u0085b"`: "of: a text has no control characters other than tab, line feed and carriage return",
				`"a\ud800b"`: "of: a text is Unicode, without U+FFFD in place of what was not",
				`"a\uffffb"`: "of: a text has no code points that are no characters",
				`"a\u202eb"`: "of: a text has no marks that turn the direction of writing (U+202A to U+202E, U+2066 to U+2069)"}},
		{"form", "String", []string{`""`, `"abc"`}, map[string]string{`"aBc"`: "of: this is not of the form ^[a-z]*$"}},
		{"int", "Int", []string{"-2", "0", "3"}, map[string]string{"-3": "of: this is less than -2", "4": "of: this is more than 3",
			"2147483647": "of: this is more than 3"}},
		{"amount", "Decimal", []string{`"0.5"`, `"1000000000.25"`, `"1000000000.250000"`},
			map[string]string{`"0.499999"`: "of: this is less than 0.5", `"1000000000.250001"`: "of: this is more than 1000000000.25", `"-1"`: "of: this is less than 0.5"}},
		{"texts", "[String!]", []string{`["abcd"]`, `["a", "b", "c"]`, `"abcd"`},
			map[string]string{`[]`: "of: this has fewer than 1 items", `["a", "b", "c", "d"]`: "of: this has more than 3 items",
				`["a", "abcde"]`: "of.1: this has more than 4 characters", `"abcde"`: "of.0: this has more than 4 characters"}},
		{"json", "JSON", []string{`{}`}, nil},
		{"mail", "EmailAddress", []string{`"ada@example.com"`}, map[string]string{`"a\u0000"`: "of: a text has no control characters other than tab, line feed and carriage return"}},
	} {
		check := func(value, want string) {
			t.Helper()
			for origin, asked := range map[string][2]string{
				"a literal":                       {fmt.Sprintf(`{ x: %s(of: %s) { plain { __typename } } }`, of.field, value)},
				"a variable":                      {fmt.Sprintf(`query($v: %s) { x: %s(of: $v) { plain { __typename } } }`, of.typ, of.field), `{"v": ` + value + `}`},
				"a default of a variable":         {fmt.Sprintf(`query($v: %s = %s) { x: %s(of: $v) { plain { __typename } } }`, of.typ, value, of.field)},
				"a literal in a fragment":         {fmt.Sprintf(`{ ...F ...F } fragment F on Query { ... on Query { x: %s(of: %s) { plain { __typename } } } }`, of.field, value)},
				"a literal in what is left out":   {fmt.Sprintf(`{ plain { __typename } x: %s(of: %s) @skip(if: true) { plain { __typename } } }`, of.field, value)},
				"a variable in what is left out":  {fmt.Sprintf(`query($v: %s, $on: Boolean!) { ... @include(if: $on) { x: %s(of: $v) { plain { __typename } } } }`, of.typ, of.field), `{"on": false, "v": ` + value + `}`},
				"a variable that nothing asks of": {fmt.Sprintf(`query($v: %s, $on: Boolean = true) { plain { __typename } x: %s(of: $v) @skip(if: $on) { plain { __typename } } }`, of.typ, of.field), `{"v": ` + value + `}`},
			} {
				var expected []string
				if want != "" && !strings.Contains(origin, "left out") && !strings.Contains(origin, "nothing asks") {
					expected = []string{"x " + want}
				}
				if got := violated(t, c, schema, asked[0], asked[1]); !slices.Equal(got, expected) {
					t.Errorf("%s, %s: %q, want %q", origin, asked[0], got, expected)
				}
			}
		}
		for _, value := range of.good {
			check(value, "")
		}
		for value, want := range of.bad {
			check(value, want)
		}
	}
	for _, asked := range []struct {
		document, variables string
		want                []string
	}{
		{`{ in(of: {text: "abcde"}) { __typename } }`, "", []string{"in of.text: this has more than 4 characters"}},
		{`{ in(of: {in: {in: {ins: [{}, {texts: ["a", "abcde"]}]}}}) { __typename } }`, "", []string{"in of.in.in.ins.1.texts.1: this has more than 4 characters"}},
		{`query($v: String) { in(of: {ins: [{in: {text: $v}}]}) { __typename } }`, `{"v": "abcde"}`, []string{"in of.ins.0.in.text: this has more than 4 characters"}},
		{`query($v: In!) { a: plain { in(of: {in: $v}) { __typename } } }`, `{"v": {"ins": {"text": "abcde"}}}`, []string{"a.in of.in.ins.0.text: this has more than 4 characters"}},
		{`{ ins(of: [{}, {}, {text: "abcde"}]) { __typename } }`, "", []string{"ins of: this has more than 2 items"}},
		{`query($v: [In!]) { ins(of: $v) { __typename } }`, `{"v": [{"text": "abcde"}, {"texts": ["abcde", "abcdef"]}]}`, []string{
			"ins of.0.text: this has more than 4 characters", "ins of.1.texts.0: this has more than 4 characters", "ins of.1.texts.1: this has more than 4 characters"}},
		{`query($v: JSON) { json(of: $v) { __typename } }`, `{"v": {"a": ["\u0001", 1, {"": "b", "c": "\ufffe"}], "\u0007": "d"}}`, []string{
			"json of: the name of a member: a text has no control characters other than tab, line feed and carriage return",
			"json of.a.0: a text has no control characters other than tab, line feed and carriage return",
			"json of.a.2.c: a text has no code points that are no characters"}},
		{`{ a: text(of: "a") { b: int(of: 9) { __typename } } c: form(of: "A") { __typename } }`, "", []string{
			"a of: this has fewer than 2 characters", "a.b of: this is more than 3", "c of: this is not of the form ^[a-z]*$"}},
		{`{ ` + strings.Repeat("plain { ", 3) + `a: int(of: 4) { __typename } b: int(of: 4) { __typename } c: int(of: 4) { __typename } d: int(of: 4) { __typename }
			e: int(of: 4) { __typename } f: int(of: 4) { __typename } g: int(of: 4) { __typename }` + strings.Repeat(" }", 3) + ` }`, "", []string{
			"plain.plain.plain.a of: this is more than 3", "plain.plain.plain.b of: this is more than 3", "plain.plain.plain.c of: this is more than 3",
			"plain.plain.plain.d of: this is more than 3", "plain.plain.plain.e of: this is more than 3", ": and 2 more"}},
		{`mutation { text(of: "abcde") { __typename } }`, "", []string{"text of: this has more than 4 characters"}},
		{`subscription { text(of: "abcde") { __typename } }`, "", []string{"text of: this has more than 4 characters"}},
	} {
		if got := violated(t, c, schema, asked.document, asked.variables); !slices.Equal(got, asked.want) {
			t.Errorf("%s\n%q, want\n%q", asked.document, got, asked.want)
		}
	}
}

// TestConstraintsThatMakeNoSense wants a server with one not to start.
func TestConstraintsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for argument, says := range map[string]string{
		`a: String`:                             "a text has maxLength",
		`a: String @constraint(minLength: 1)`:   "a text has maxLength",
		`a: [String] @constraint(maxLength: 1)`: "a list has maxItems",
		`a: [ID!]!`:                             "a list has maxItems",
		`a: [[Int]] @constraint(maxItems: 1)`:   "a number has min and max",
		`a: Int`:                                "a number has min and max",
		`a: Int @constraint(min: 1)`:            "a number has min and max",
		`first: String`:                         "a text has maxLength",
		`a: Color`:                              "the scalar Color is not known to have bounds",
		`a: String @constraint(maxLength: -1)`:  "invalid syntax",
		`a: String @constraint(minLength: 2, maxLength: 1)`: "the least is more than the most",
		`a: Int @constraint(min: 2, max: 1)`:                "the least is more than the most",
		`a: String @constraint(maxLength: 1, pattern: "(")`: "missing closing )",
		`a: String @constraint(maxLength: 1, min: 1)`:       "for numbers",
		`a: Int @constraint(min: 1, max: 2, maxLength: 1)`:  "for texts",
		`a: String @constraint(maxLength: 1, maxItems: 1)`:  "for lists",
		`a: String = "ab" @constraint(maxLength: 1)`:        "the default: this has more than 1 characters",
		`a: In = {}`:                            "",
		`a: In = {b: "ab"}`:                     "the default: this has more than 1 characters",
		`first: Int, last: Int`:                 "",
		`a: ID, b: Boolean, c: Decimal, d: URL`: "",
	} {
		schema := gqlparser.MustLoadSchema(&ast.Source{Input: directiveOf + `scalar Color input In { b: String @constraint(maxLength: 1) }
			type Query { a(` + argument + `): Int }`})
		if _, err := newConstraints(schema); (err != nil) != (says != "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", argument, err, says)
		}
	}
}

// TestEveryInputIsBounded wants bounds on all that a client can send, and the check to miss none that is taken away.
func TestEveryInputIsBounded(t *testing.T) {
	t.Parallel()
	schema := contract(t)
	if _, err := newConstraints(schema); err != nil {
		t.Fatal(err)
	}
	taken := 0
	without := func(place string, directives *ast.DirectiveList) {
		was := *directives
		defer func() { *directives = was }()
		d := was.ForName("constraint")
		if d == nil {
			return
		}
		taken++
		*directives = slices.DeleteFunc(slices.Clone(was), func(d *ast.Directive) bool { return d.Name == "constraint" })
		if _, err := newConstraints(schema); err == nil || !strings.Contains(err.Error(), place+": ") {
			t.Errorf("%s without its bounds: %v", place, err)
		}
	}
	for _, d := range sortedTypes(schema) {
		for _, f := range d.Fields {
			if d.Kind == ast.InputObject {
				without(d.Name+"."+f.Name, &f.Directives)
			}
			for _, a := range f.Arguments {
				without(d.Name+"."+f.Name+"("+a.Name+":)", &a.Directives)
			}
		}
	}
	if taken < 200 {
		t.Errorf("%d bounds were taken away", taken)
	}
	var printed strings.Builder
	formatter.NewFormatter(&printed).FormatSchema(schema)
	for _, part := range []string{"directive @constraint(", `idempotencyKey: String! @constraint(maxLength: 255, pattern: "^[!-~]*$")`, "lines: [CartLineInput!]! @constraint(maxItems: 100)"} {
		if !strings.Contains(printed.String(), part) {
			t.Errorf("the printed schema lacks %s", part)
		}
	}
}

// TestBoundsOfTheCatalogue wants the schema to let through what a product may have, so that what was imported can be edited.
func TestBoundsOfTheCatalogue(t *testing.T) {
	t.Parallel()
	schema := contract(t)
	for coordinate, want := range map[string]string{
		"ProductCreateInput.tags maxItems":      strconv.Itoa(product.MaxTags),
		"ProductUpdateInput.tags maxItems":      strconv.Itoa(product.MaxTags),
		"ProductMediaInput.alt maxLength":       strconv.Itoa(product.MaxAlt),
		"ProductMediaAddInput.alt maxLength":    strconv.Itoa(product.MaxAlt),
		"ProductMediaUpdateInput.alt maxLength": strconv.Itoa(product.MaxAlt),
	} {
		part := strings.FieldsFunc(coordinate, func(r rune) bool { return r == '.' || r == ' ' })
		got := schema.Types[part[0]].Fields.ForName(part[1]).Directives.ForName("constraint").Arguments.ForName(part[2]).Value.Raw
		if got != want {
			t.Errorf("%s is %s, and in the catalogue %s", coordinate, got, want)
		}
	}
}

// TestConstraintsComeFirst sends operations that break a bound in one place to both executors, and wants them refused with
// nothing read and nothing written.
func TestConstraintsComeFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	own, oracle := w.handler, oracleHandler(w)
	long := strings.Repeat("é", 501)
	lines := []any{}
	for range 3 {
		lines = append(lines, map[string]any{"variantId": w.ids["Variant"].String(), "quantity": 1})
	}
	lines = append(lines, map[string]any{"variantId": w.ids["Variant"].String(), "quantity": 1_000_001})
	for name, asked := range map[string]struct {
		query     string
		variables map[string]any
		want      string
	}{
		"a query": {`query($q: String) { categories { name } products(first: 1, query: $q) { nodes { id } } }`, map[string]any{"q": long},
			`{"errors":[{"message":"this has more than 500 characters","path":["products"],"locations":[{"line":1,"column":41}],"extensions":{"code":"BAD_USER_INPUT","field":["query"]}}]}`},
		"the second mutation": {`mutation($in: CartLinesAddInput!) {
			profileUpdate(input: {name: "Somebody else"}) { user { name } }
			cart: cartLinesAdd(input: $in) { cart { id } } }`, map[string]any{"in": map[string]any{"lines": lines}},
			`{"errors":[{"message":"this is more than 1000000","path":["cart"],"locations":[{"line":3,"column":4}],"extensions":{"code":"BAD_USER_INPUT","field":["input","lines","3","quantity"]}}]}`},
		"several": {`mutation { orderPlace(input: {expectedTotal: "1.00", paymentMethod: "a\u0000"}, idempotencyKey: "a b") { order { id } }
			profileUpdate(input: {name: "` + long + `"}) { user { name } } }`, nil,
			`{"errors":[{"message":"a text has no control characters other than tab, line feed and carriage return","path":["orderPlace"],"locations":[{"line":1,"column":12}],"extensions":{"code":"BAD_USER_INPUT","field":["input","paymentMethod"]}},` +
				`{"message":"this is not of the form ^[!-~]*$","path":["orderPlace"],"locations":[{"line":1,"column":12}],"extensions":{"code":"BAD_USER_INPUT","field":["idempotencyKey"]}},` +
				`{"message":"this has more than 500 characters","path":["profileUpdate"],"locations":[{"line":2,"column":4}],"extensions":{"code":"BAD_USER_INPUT","field":["input","name"]}}]}`},
		"forms": {`mutation($url: URL!, $total: Decimal!, $email: EmailAddress) { profileUpdate(input: {name: "Somebody else"}) { user { name } }
			productCreate(input: {title: "a", media: [{url: "/a.svg"}, {url: $url}]}) { product { id } }
			taxRateSet(input: {country: "XX", name: "VAT", basisPoints: 1}) { userErrors { code } }
			orderPlace(input: {expectedTotal: $total}, idempotencyKey: "a") { order { id } }
			cartUpdate(input: {email: $email}) { cart { id } } }`, map[string]any{"url": "javascript:1", "total": "1e3", "email": "ada"},
			`{"errors":[{"message":"\"javascript:1\" is not an http or https address, nor a path that starts with /","path":["productCreate"],"locations":[{"line":2,"column":4}],"extensions":{"code":"BAD_USER_INPUT","field":["input","media","1","url"]}},` +
				`{"message":"\"XX\" is not an ISO 3166-1 country code like \"DE\"","path":["taxRateSet"],"locations":[{"line":3,"column":4}],"extensions":{"code":"BAD_USER_INPUT","field":["input","country"]}},` +
				`{"message":"\"1e3\" is not a decimal number like \"19.90\"","path":["orderPlace"],"locations":[{"line":4,"column":4}],"extensions":{"code":"BAD_USER_INPUT","field":["input","expectedTotal"]}},` +
				`{"message":"not an e-mail address like \"ada@example.com\"","path":["cartUpdate"],"locations":[{"line":5,"column":4}],"extensions":{"code":"BAD_USER_INPUT","field":["input","email"]}}]}`},
		"a form in a filter": {`{ orders(first: 1, filter: {createdAt: {from: "yesterday"}}) { totalCount } }`, nil,
			`{"errors":[{"message":"\"yesterday\" is not an instant like \"2026-05-04T10:00:00Z\"","path":["orders"],"locations":[{"line":1,"column":3}],"extensions":{"code":"BAD_USER_INPUT","field":["filter","createdAt","from"]}}]}`},
		"a subscription": {`subscription($ids: [ID!]!) { stockChanged(variantIds: $ids) { variant { id } } }`,
			map[string]any{"ids": slices.Repeat([]string{w.ids["Variant"].String()}, 101)},
			`{"errors":[{"message":"this has more than 100 items","path":["stockChanged"],"locations":[{"line":1,"column":30}],"extensions":{"code":"BAD_USER_INPUT","field":["variantIds"]}}]}`},
	} {
		for executor, handler := range map[string]http.Handler{"exec": own, "gqlgen": oracle} {
			w.handler = handler
			r := w.request("ada", encode(map[string]any{"query": asked.query, "variables": asked.variables}))
			r.Header.Set("Accept", "application/json, text/event-stream")
			if a := w.send(r); a.status != http.StatusUnprocessableEntity || a.body != asked.want {
				t.Errorf("%s, %s: %d\n%s, want\n%s", name, executor, a.status, a.body, asked.want)
			} else if slices.ContainsFunc(a.statements, func(s string) bool { return s != "users.check_session" }) {
				t.Errorf("%s, %s: statements were run: %v", name, executor, a.statements)
			}
		}
	}
	w.handler = own
	if got := w.data("ada", `{ viewer { name } cart { lines { quantity } } }`, nil); fmt.Sprint(got) != "map[cart:map[lines:[map[quantity:2] map[quantity:2]]] viewer:map[name:Name of ada]]" {
		t.Errorf("something was written: %v", got)
	}
}

// TestTextsAreNormalized sends texts in normalisation form D, of all origins, and wants them back in form C.
func TestTextsAreNormalized(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	const composed = "Zoë Ångström"
	apart := norm.NFD.String(composed)
	if got := w.data("ada", `mutation($in: ProfileUpdateInput!) { profileUpdate(input: $in) { user { name } } }`,
		map[string]any{"in": map[string]any{"name": apart}})["profileUpdate"].(map[string]any)["user"].(map[string]any)["name"]; got != composed {
		t.Errorf("a variable: %q", got)
	}
	got := w.data("manager", `mutation($id: ID!, $more: JSON) { productUpdate(input: {productId: $id, vendor: "`+apart+`", tags: ["`+apart+`"], metadata: $more}) {
		product { vendor tags metadata } userErrors { message } } }`,
		map[string]any{"id": w.ids["Product"].String(), "more": map[string]any{apart: []any{apart, map[string]any{"a": apart}}}})
	if text := string(encode(got)); strings.Contains(text, apart) || strings.Count(text, composed) != 5 {
		t.Errorf("literals and JSON: %s", text)
	}
	if found := w.data("", `query($v: [String!]) { products(first: 1, filter: {vendors: $v}) { nodes { vendor } } }`, map[string]any{"v": []string{apart}}); !strings.Contains(fmt.Sprint(found), composed) {
		t.Errorf("what was written in one form is not found by the other: %v", found)
	}
	// A password typed on one keyboard opens what was closed on another.
	secret := "Ölfarbe für das Fenster"
	w.data("", `mutation($in: SignUpInput!) { signUp(input: $in) { tokens { accessToken } userErrors { code } } }`,
		map[string]any{"in": map[string]any{"email": "eve@example.com", "password": norm.NFD.String(secret), "name": "Eve"}})
	if in := w.ask("", signIn, input("eve@example.com", norm.NFC.String(secret), false)); !strings.Contains(in.body, `"accessToken":"ey`) {
		t.Errorf("the same password in the other form: %s", in.body)
	}
	for _, document := range []string{signIn, `mutation($in: SignUpInput!) { signUp(input: $in) { userErrors { code } } }`} {
		in := input("eve@example.com", secret+"\x07", false)
		if strings.Contains(document, "signUp") {
			in["in"].(map[string]any)["name"] = "Eve"
		}
		if a := w.ask("", document, in); a.status != 422 || !strings.Contains(a.body, `"field":["input","password"]`) || strings.Contains(a.body, "Fenster") {
			t.Errorf("a password with a bell: %d %s", a.status, a.body)
		}
	}
}
