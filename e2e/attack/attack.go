// Package attack has requests that no client sends, for tests that send them to a server.
package attack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Request is the body of one, of at most MostBody bytes.
type Request struct {
	Name string
	Body string
	Says string // in the answer; "": whatever it is, nothing is done
}

// MostBody is how long a body may be unless the server is told otherwise.
const MostBody = 256 << 10

// fill repeats a text until so many bytes are full.
func fill(one string, bytes int) string { return strings.Repeat(one, max(bytes/len(one), 1)) }

func sent(document string, variables any) string {
	b, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// All are what graphql-cop, graphql-armor and OWASP's GraphQL cheat sheet warn of, and what parsers and validators are
// known to take long for.
func All() []Request {
	numbered := func(n int, one string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(one, "#", fmt.Sprint(i)))
		}
		return b.String()
	}
	nested := func(levels int, inside string) string {
		return `{ categories ` + strings.Repeat("{ ... ", levels) + `{ ` + inside + `}` + strings.Repeat(" }", levels) + ` } `
	}
	creation := func(declared, input string) string {
		return `mutation(` + declared + `) { productCreate(input: ` + input + `) { userErrors { message } } }`
	}
	const room = MostBody - 200
	return []Request{
		{"alias overloading", sent(`{ `+numbered(100, "a#: categories { name } ")+`}`, nil), "more than"},
		{"batched sign-in", sent(`mutation { `+numbered(3, `a#: signIn(input: {email: "a@example.com", password: "#"}) { tokens { accessToken } } `)+`}`, nil), "more than once"},
		{"array batching", `[` + fill(`{"query":"{ categories { name } }"},`, 100_000) + `{}]`, "not a JSON object"},
		{"directive overloading", sent(`{ categories { name `+fill("@skip(if: false) ", 1_700)+`} }`, nil), "more than"},
		{"unknown directives", sent(`{ categories { name `+fill("@aa ", 300*4)+` } }`, nil), "more than"},
		{"field duplication", sent(`{ categories { `+fill("name ", 100_000)+`} }`, nil), "token limit"},
		{"fields that overlap", sent(`{ categories { `+fill("name ", 1_190*5)+`} }`, nil), "fields with the name `name`"},
		{"objects that overlap", sent(`{ `+fill("categories { name } ", 290*20)+`}`, nil), "more than"},
		{"fragments that overlap", sent(`{ viewer { ...A } } `+numbered(140, "fragment A# on User { id name ...A } ")+`fragment A on User { id }`, nil), ""},
		{"fragments with one field", sent(`{ viewer { `+numbered(11, "...F# ")+`} } `+numbered(11, "fragment F# on User { "+fill("id ", 95*3)+"} "), nil), "fields with the name `id`"},
		{"fragments at the limit", sent(`{ viewer { `+numbered(11, "...F# ")+`} } `+numbered(11, "fragment F# on User { "+fill("id ", 18*3)+fill("name ", 18*5)+fill("email ", 18*6)+fill("roles ", 18*6)+"} "), nil), ""},
		{"inline fragments that overlap", sent(`{ viewer { `+fill("... { id } ", 230*11)+`} }`, nil), ""},
		{"inline fragments with objects", sent(`{ viewer { `+fill("... { defaultShippingAddress { id } } ", 165*37)+`} }`, nil), ""},
		{"fields in inline fragments in one another", sent(nested(90, fill("id ", 195*3)+fill("name ", 195*5)+fill("slug ", 195*5)+fill("description ", 195*12)), nil), "inline fragments in one another"},
		{"objects in inline fragments in one another", sent(nested(110, fill("parent { id } ", 190*14)), nil), "inline fragments in one another"},
		{"fields below inline fragments in one another", sent(nested(100, fill("parent { "+fill("id ", 9*3)+fill("name ", 9*5)+"} ", 20*82)), nil), "inline fragments in one another"},
		{"spreads in inline fragments in one another", sent(nested(100, fill("...A ...B ...C ...D ", 95*20))+`fragment A on Category { id } fragment B on Category { id } fragment C on Category { id } fragment D on Category { id }`, nil), "inline fragments in one another"},
		{"fields as often as may be", sent(nested(0, fill("id ", 195*3)+fill("name ", 195*5)+fill("slug ", 195*5)+fill("description ", 195*12)+fill("position ", 195*9)), nil), ""},
		{"circular fragments", sent(`{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }`, nil), "Cannot spread"},
		{"fragments spread at two places", sent(`{ ...F0 } `+numbered(100, "fragment F# on Query { ...G# ...G# } fragment G# on Query { ...F# } "), nil), ""},
		{"deep recursion", sent(fill("{ viewer ", 5_000), nil), ""},
		{"deep circular query", sent(`{ categories `+fill("{ parent ", 300*9)+`{ id }`+fill("}", 300)+` }`, nil), "more than"},
		{"deep lists", sent(`{ nodes(ids: `+fill("[", 1_100)+fill("]", 1_100)+`) { id } }`, nil), ""},
		{"deep objects", sent(`{ orders(first: 1, filter: `+fill("{a:", 280*3)+`1`+fill("}", 280)+`) { totalCount } }`, nil), ""},
		{"braces", sent(fill("{", room), nil), ""},
		{"brackets in JSON", fill("[", room), "not a JSON object"},
		{"objects in JSON", fill(`{"a":`, room), "not a JSON object"},
		{"variables in variables", `{"query":"{ categories { name } }","variables":` + fill(`{"a":`, room/2-100) + `1` + strings.Repeat("}", (room/2-100)/5) + `}`, ""},
		{"many variables", sent(`query(`+numbered(200, "$v#: Int ")+`) { categories { name } }`, nil), ""},
		{"many members", `{"query":"{ categories { name } }","variables":{` + numbered(4_990, `"a#":1,`) + `"b":1}}`, ""},
		{"more members", `{"query":"{ categories { name } }","variables":{` + numbered(20_000, `"a#":1,`) + `"b":1}}`, "more than 5000 values"},
		{"one member, often", `{"query":"{ categories { name } }","variables":{` + fill(`"a":1,`, room-200) + `"b":1}}`, "more than 5000 values"},
		{"many identifiers", sent(`query($ids: [ID!]!) { nodes(ids: $ids) { id } }`, map[string]any{"ids": slices.Repeat([]string{"AAAA"}, 30_000)}), "more than 5000 values"},
		{"numbers for identifiers", `{"query":"query($ids: [ID!]!) { nodes(ids: $ids) { id } }","variables":{"ids":[` + fill("1,", room-200) + `1]}}`, "more than 5000 values"},
		{"objects in a shorter list", sent(creation("$i: ProductCreateInput!", "$i"), map[string]any{"i": map[string]any{"title": "a", "media": slices.Repeat([]any{map[string]any{"url": 0}}, 4_990)}}), "more than 500 items"},
		{"objects in a list", sent(creation("$i: ProductCreateInput!", "$i"), map[string]any{"i": map[string]any{"title": "a", "media": slices.Repeat([]any{map[string]any{"url": 0}}, 26_000)}}), "more than 5000 values"},
		{"metadata of small objects", `{"query":"mutation($j: JSON) { ` + numbered(3, `a#: productCreate(input: {title: \"a\", metadata: $j}) { userErrors { message } } `) + `}","variables":{"j":{"a":[` + fill(`{"":0},`, room-400) + `0]}}}`, "more than 5000 values"},
		{"a long text at many places", sent(creation("$t: String", `{title: "a", media: [`+fill("{url: 1, alt: $t} ", 125*18)+`]}`), map[string]any{"t": fill("ä", 200_000)}), "more than 5000 characters"},
		{"a long address at many places", sent(creation("$u: URL!", `{title: "a", media: [`+fill("{url: $u} ", 170*10)+`]}`), map[string]any{"u": fill("ä", 200_000)}), ""},
		{"a long text", sent(`query($q: String) { products(first: 1, query: $q) { totalCount } }`, map[string]any{"q": fill("ä", room/2)}), "more than 500 characters"},
		{"a long text in the document", sent(`{ products(first: 1, query: "`+fill("a", room/2)+`") { totalCount } }`, nil), "more than 500 characters"},
		{"a block of lines", sent(`{ products(first: 1, query: """`+fill("\n ", room/4)+`""") { totalCount } }`, nil), ""},
		{"escapes", sent(`{ products(first: 1, query: "`+fill(`\u00e4`, room/3)+`") { totalCount } }`, nil), "more than 500 characters"},
		{"a comment", sent(`#`+fill("x", room)+"\n{ categories { name } }", nil), ""},
		{"many comments", sent(fill("#\n", room/4)+"{ categories { name } }", nil), ""},
		{"commas", sent(`{ categories { name`+fill(",", room)+` } }`, nil), ""},
		{"a long name", sent(`{ `+fill("a", room)+` }`, nil), "names longer"},
		{"long names that are like others", sent(`{ `+numbered(300, "categorie# ")+`}`, nil), ""},
		{"many operations", sent(numbered(230, "query Q# { viewer { id } } "), nil), ""},
		{"one name for many operations", sent(fill("query Q { viewer { id } } ", 150*26), nil), ""},
		{"many fragments that are not used", sent(`{ viewer { id } } `+numbered(160, "fragment F# on User { id } "), nil), ""},
		{"unknown types", sent(`{ viewer { `+numbered(200, "... on T# { id } ")+`} }`, nil), ""},
		{"a big exponent", sent(`query($min: Decimal) { products(first: 1, filter: {price: {min: $min}}) { totalCount } }`, map[string]any{"min": "1e999999999"}), "BAD_USER_INPUT"},
		{"a number with many digits", `{"query":"query($min: Decimal) { products(first: 1, filter: {price: {min: $min}}) { totalCount } }","variables":{"min":` + fill("9", room-200) + `}}`, "BAD_USER_INPUT"},
		{"an Int with many digits", `{"query":"query($n: Int!) { products(first: $n) { totalCount } }","variables":{"n":1e999999999}}`, "BAD_USER_INPUT"},
		{"a long operation name", `{"query":"{ categories { name } }","operationName":"` + fill("a", room-100) + `"}`, "name of the operation is longer"},
		{"introspection of kinds", sent(`{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }`, nil), ""},
		{"a cost beyond reason", sent(`{ products(first: 100) { nodes { variants { product { variants { product { variants { product { id } } } } } } } } }`, nil), "may cost"},
		{"SQL in a text", sent(`query($q: String) { products(first: 1, query: $q) { totalCount } }`, map[string]any{"q": `'; DROP TABLE products.products; --`}), ""},
		{"a control character", sent(`query($q: String) { products(first: 1, query: $q) { totalCount } }`, map[string]any{"q": "a\u0000b"}), "BAD_USER_INPUT"},
		{"a stolen digest", `{"query":"{ viewer { id } }","extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + strings.Repeat("0", 64) + `"}}}`, "is that of another document"},
	}
}
