package contract_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"emporium/internal/contract"
)

const (
	breaking  = contract.Breaking
	dangerous = contract.Dangerous
	safe      = contract.Safe
)

var today = time.Date(2027, 4, 1, 12, 0, 0, 0, time.UTC)

func load(t *testing.T, text string) *ast.Schema {
	t.Helper()
	s, err := contract.Load("test.graphqls", text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return s
}

// changes returns what a diff says, a line for each change.
func changes(old, new *ast.Schema) []string {
	var lines []string
	for _, c := range contract.Diff(old, new, today) {
		lines = append(lines, fmt.Sprintf("%s %s %s", c.Level, c.Coordinate, c.What))
	}
	return lines
}

// frame is a schema around what a rule is about.
const frame = `
directive @public on FIELD_DEFINITION
directive @authenticated on FIELD_DEFINITION
directive @hasRole(anyOf: [Role!]!) on FIELD_DEFINITION
directive @owner(orRole: [Role!]! = []) on FIELD_DEFINITION
directive @open on OBJECT
directive @constraint(minLength: Int, maxLength: Int, max: Float, pattern: String) on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION
directive @once on FIELD_DEFINITION
directive @cost(weight: String!) on FIELD_DEFINITION
directive @listSize(assumedSize: Int) on FIELD_DEFINITION
directive @limit(to: Int) on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION | FIELD_DEFINITION
enum Role { STAFF ADMIN }
interface Thing { id: ID! }
scalar Word
type Query { thing: Thing  role: Role  word: Word }
`

// TestRules holds what each change is in one direction, and what it is in the other, against each other.
func TestRules(t *testing.T) {
	t.Parallel()
	// deprecated returns @deprecated with a day of removal.
	deprecated := func(after string) string {
		return "@deprecated(reason: \"Use `b`. Removed after " + after + ".\")"
	}
	gone, stays := deprecated("2027-03-31"), deprecated("2027-04-01") // today is the first day without the former
	for _, c := range []struct {
		name          string
		old, new      string
		forth, back   []string
		withoutAFrame bool
	}{
		{name: "a type", old: ``, new: `extend type Query { a: A } type A { x: Int }`,
			forth: []string{"safe A type was added", "safe Query.a field was added"},
			back:  []string{"breaking A type was removed", "breaking Query.a field was removed"}},
		{name: "a type that nothing leads to", old: ``, new: `type A { x: Int }`,
			forth: []string{"safe A type was added"},
			back:  []string{"safe A type was removed"}},
		{name: "an input object", old: `extend type Query { f: Int }`, new: `extend type Query { f(i: I): Int } input I { x: Int }`,
			forth: []string{"safe I input was added", "safe Query.f(i:) argument was added"},
			back:  []string{"breaking I input was removed", "breaking Query.f(i:) argument was removed"}},
		{name: "the kind of a type", old: `type A { x: Int } extend type Query { a: A }`, new: `interface A { x: Int } extend type Query { a: A }`,
			forth: []string{"breaking A type became interface"},
			back:  []string{"breaking A interface became type"}},
		{name: "a field", old: `type A { x: Int }`, new: `type A { x: Int y: Int! }`,
			forth: []string{"safe A.y field was added"},
			back:  []string{"breaking A.y field was removed"}},
		{name: "null from a field", old: `type A { x: Int }`, new: `type A { x: Int! }`,
			forth: []string{"safe A.x type Int became Int!"},
			back:  []string{"breaking A.x type Int! became Int"}},
		{name: "null in a list of a field", old: `type A { x: [Int]! }`, new: `type A { x: [Int!]! }`,
			forth: []string{"safe A.x type [Int]! became [Int!]!"},
			back:  []string{"breaking A.x type [Int!]! became [Int]!"}},
		{name: "null both ways in a list of a field", old: `type A { x: [Int]! }`, new: `type A { x: [Int!] }`,
			forth: []string{"breaking A.x type [Int]! became [Int!]"},
			back:  []string{"breaking A.x type [Int!] became [Int]!"}},
		{name: "a list from a field", old: `type A { x: Int }`, new: `type A { x: [Int] }`,
			forth: []string{"breaking A.x type Int became [Int]"},
			back:  []string{"breaking A.x type [Int] became Int"}},
		{name: "the type of a field", old: `type A { x: Int }`, new: `type A { x: String }`,
			forth: []string{"breaking A.x type Int became String"},
			back:  []string{"breaking A.x type String became Int"}},
		{name: "an interface or one of its types from a field", old: `type A implements Thing { id: ID! x: Thing }`, new: `type A implements Thing { id: ID! x: A }`,
			forth: []string{"breaking A.x type Thing became A"},
			back:  []string{"breaking A.x type A became Thing"}},
		{name: "an argument", old: `type A { x: Int }`, new: `type A { x(y: Int): Int }`,
			forth: []string{"safe A.x(y:) argument was added"},
			back:  []string{"breaking A.x(y:) argument was removed"}},
		{name: "a required argument", old: `type A { x: Int }`, new: `type A { x(y: Int!): Int }`,
			forth: []string{"breaking A.x(y:) required argument was added"},
			back:  []string{"breaking A.x(y:) argument was removed"}},
		{name: "an argument with a default", old: `type A { x: Int }`, new: `type A { x(y: Int! = 1): Int }`,
			forth: []string{"safe A.x(y:) argument was added"},
			back:  []string{"breaking A.x(y:) argument was removed"}},
		{name: "null for an argument", old: `type A { x(y: Int): Int }`, new: `type A { x(y: Int!): Int }`,
			forth: []string{"breaking A.x(y:) type Int became Int!"},
			back:  []string{"safe A.x(y:) type Int! became Int"}},
		{name: "null in a list for an argument", old: `type A { x(y: [Int]!): Int }`, new: `type A { x(y: [Int!]!): Int }`,
			forth: []string{"breaking A.x(y:) type [Int]! became [Int!]!"},
			back:  []string{"safe A.x(y:) type [Int!]! became [Int]!"}},
		{name: "a list for an argument", old: `type A { x(y: Int): Int }`, new: `type A { x(y: [Int]): Int }`,
			forth: []string{"breaking A.x(y:) type Int became [Int]"},
			back:  []string{"breaking A.x(y:) type [Int] became Int"}},
		{name: "the default of an argument", old: `type A { x(y: Int = 1): Int }`, new: `type A { x(y: Int = 2): Int }`,
			forth: []string{"dangerous A.x(y:) default 1 became 2"},
			back:  []string{"dangerous A.x(y:) default 2 became 1"}},
		{name: "a default for an argument", old: `type A { x(y: Int): Int }`, new: `type A { x(y: Int = 2): Int }`,
			forth: []string{"dangerous A.x(y:) default none became 2"},
			back:  []string{"dangerous A.x(y:) default 2 became none"}},
		{name: "a default for a required argument", old: `type A { x(y: Int!): Int }`, new: `type A { x(y: Int! = 2): Int }`,
			forth: []string{"safe A.x(y:) default none became 2"},
			back:  []string{"breaking A.x(y:) default 2 became none"}},
		{name: "a default that is written otherwise", old: `input I { a: Int b: [String!] } type A { x(y: I = {a: 1, b: ["c"]}): Int }`,
			new: `input I { a: Int b: [String!] } type A { x(y: I = { b: ["c"] a: 1 }): Int }`},
		{name: "a member of a default", old: `input I { a: Int b: [String!] } type A { x(y: I = {a: 1, b: ["c"]}): Int }`,
			new:   `input I { a: Int b: [String!] } type A { x(y: I = { b: ["d"] a: 1 }): Int }`,
			forth: []string{`dangerous A.x(y:) default {a: 1, b: ["c"]} became {a: 1, b: ["d"]}`},
			back:  []string{`dangerous A.x(y:) default {a: 1, b: ["d"]} became {a: 1, b: ["c"]}`}},
		{name: "an input field", old: `input I { x: Int }`, new: `input I { x: Int y: Int }`,
			forth: []string{"safe I.y field was added"},
			back:  []string{"breaking I.y field was removed"}},
		{name: "a required input field", old: `input I { x: Int }`, new: `input I { x: Int y: Int! }`,
			forth: []string{"breaking I.y required field was added"},
			back:  []string{"breaking I.y field was removed"}},
		{name: "null for an input field", old: `input I { x: Int }`, new: `input I { x: Int! }`,
			forth: []string{"breaking I.x type Int became Int!"},
			back:  []string{"safe I.x type Int! became Int"}},
		{name: "the default of an input field", old: `input I { x: Int! = 1 }`, new: `input I { x: Int! = 2 }`,
			forth: []string{"dangerous I.x default 1 became 2"},
			back:  []string{"dangerous I.x default 2 became 1"}},
		{name: "@oneOf", old: `input I { x: Int y: Int }`, new: `input I @oneOf { x: Int y: Int }`,
			forth: []string{"breaking I no @oneOf became @oneOf"},
			back:  []string{"safe I @oneOf became no @oneOf"}},
		{name: "an enum value", old: `enum E { X }`, new: `enum E { X Y }`,
			forth: []string{"dangerous E.Y value was added"},
			back:  []string{"breaking E.Y value was removed"}},
		{name: "a member of a union", old: `type A { x: Int } type B { x: Int } union U = A`, new: `type A { x: Int } type B { x: Int } union U = A | B`,
			forth: []string{"dangerous U member B was added"},
			back:  []string{"breaking U member B was removed"}},
		{name: "an interface of a type", old: `type A { id: ID! }`, new: `type A implements Thing { id: ID! }`,
			forth: []string{"dangerous A interface Thing was added"},
			back:  []string{"breaking A interface Thing was removed"}},
		{name: "an interface of an interface", old: `interface A { id: ID! }`, new: `interface A implements Thing { id: ID! }`,
			forth: []string{"dangerous A interface Thing was added"},
			back:  []string{"breaking A interface Thing was removed"}},
		{name: "a type of an interface", old: ``, new: `type A implements Thing { id: ID! }`,
			forth: []string{"safe A type was added", "dangerous A interface Thing was added"},
			back:  []string{"breaking A type was removed"}},
		{name: "an interface with its types", old: `type A { id: ID! } extend type Query { a: A }`, new: `interface B { id: ID! } type A implements B { id: ID! } extend type Query { a: A }`,
			forth: []string{"safe A interface B was added", "safe B interface was added"},
			back:  []string{"breaking A interface B was removed", "breaking B interface was removed"}},
		{name: "a description", old: `type A { x: Int }`, new: `"A." type A { "X." x("Y." y: Int): Int } "E." enum E { "V." V } "I." input I { "W." w: Int } "D." directive @d("A." a: Int) on FIELD`,
			forth: []string{"safe @d directive was added", "safe A description was changed", "safe A.x description was changed", "safe A.x(y:) argument was added", "safe E enum was added", "safe I input was added"},
			back:  []string{"breaking @d directive was removed", "safe A description was changed", "safe A.x description was changed", "breaking A.x(y:) argument was removed", "safe E enum was removed", "safe I input was removed"}},
		{name: "descriptions of arguments, values and input fields", old: `type A { x(y: Int): Int } enum E { V } input I { w: Int } directive @d(a: Int) on FIELD`,
			new:   `type A { x("Y." y: Int): Int } enum E { "V." V } input I { "W." w: Int } "D." directive @d("A." a: Int) on FIELD`,
			forth: []string{"safe @d description was changed", "safe @d(a:) description was changed", "safe A.x(y:) description was changed", "safe E.V description was changed", "safe I.w description was changed"},
			back:  []string{"safe @d description was changed", "safe @d(a:) description was changed", "safe A.x(y:) description was changed", "safe E.V description was changed", "safe I.w description was changed"}},

		{name: "a directive of documents", old: ``, new: `directive @d(a: Int) on FIELD`,
			forth: []string{"safe @d directive was added"},
			back:  []string{"breaking @d directive was removed"}},
		{name: "a directive of the schema", old: ``, new: `directive @d(a: Int) on OBJECT`,
			forth: []string{"safe @d directive was added"},
			back:  []string{"safe @d directive was removed"}},
		{name: "a place of a directive in documents", old: `directive @d on QUERY`, new: `directive @d on QUERY | FIELD`,
			forth: []string{"safe @d location FIELD was added"},
			back:  []string{"breaking @d location FIELD was removed"}},
		{name: "a place of a directive in the schema", old: `directive @d on QUERY`, new: `directive @d on QUERY | OBJECT`,
			forth: []string{"safe @d location OBJECT was added"},
			back:  []string{"safe @d location OBJECT was removed"}},
		{name: "a directive that repeats", old: `directive @d on FIELD`, new: `directive @d repeatable on FIELD`,
			forth: []string{"safe @d it is repeatable"},
			back:  []string{"breaking @d it is not repeatable any more"}},
		{name: "an argument of a directive", old: `directive @d on FIELD`, new: `directive @d(a: Int) on FIELD`,
			forth: []string{"safe @d(a:) argument was added"},
			back:  []string{"breaking @d(a:) argument was removed"}},
		{name: "the type of an argument of a directive that is gone", old: `directive @d on FIELD`, new: `directive @d(a: E) on FIELD enum E { V }`,
			forth: []string{"safe @d(a:) argument was added", "safe E enum was added"},
			back:  []string{"breaking @d(a:) argument was removed", "breaking E enum was removed"}},
		{name: "a required argument of a directive", old: `directive @d on FIELD`, new: `directive @d(a: Int!) on FIELD`,
			forth: []string{"breaking @d(a:) required argument was added"},
			back:  []string{"breaking @d(a:) argument was removed"}},
		{name: "a required argument of a directive of the schema", old: `directive @d on OBJECT`, new: `directive @d(a: Int!) repeatable on OBJECT`,
			forth: []string{"safe @d it is repeatable", "safe @d(a:) required argument was added"},
			back:  []string{"safe @d it is not repeatable any more", "safe @d(a:) argument was removed"}},
		{name: "the type of an argument of a directive", old: `directive @d(a: Int) on FIELD`, new: `directive @d(a: Int!) on FIELD`,
			forth: []string{"breaking @d(a:) type Int became Int!"},
			back:  []string{"safe @d(a:) type Int! became Int"}},

		{name: "@specifiedBy", old: `scalar S`, new: `scalar S @specifiedBy(url: "https://a")`,
			forth: []string{`safe S no @specifiedBy became @specifiedBy(url: "https://a")`},
			back:  []string{`dangerous S @specifiedBy(url: "https://a") became no @specifiedBy`}},
		{name: "the address of @specifiedBy", old: `scalar S @specifiedBy(url: "https://b")`, new: `scalar S @specifiedBy(url: "https://a")`,
			forth: []string{`dangerous S @specifiedBy(url: "https://b") became @specifiedBy(url: "https://a")`},
			back:  []string{`dangerous S @specifiedBy(url: "https://a") became @specifiedBy(url: "https://b")`}},
		{name: "a directive on an argument", old: `type A { x(y: Int): Int }`, new: `type A { x(y: Int @limit(to: 1)): Int }`,
			forth: []string{"dangerous A.x(y:) no @limit became @limit(to: 1)"},
			back:  []string{"safe A.x(y:) @limit(to: 1) became no @limit"}},
		{name: "a directive on an input field", old: `input I { x: Int @limit(to: 1) }`, new: `input I { x: Int @limit(to: 2) }`,
			forth: []string{"dangerous I.x @limit(to: 1) became @limit(to: 2)"},
			back:  []string{"dangerous I.x @limit(to: 2) became @limit(to: 1)"}},
		{name: "a constraint", old: `input I { x: Int }`, new: `input I { x: Int @constraint(max: 1) }`,
			forth: []string{"breaking I.x no @constraint became @constraint(max: 1)"},
			back:  []string{"safe I.x @constraint(max: 1) became no @constraint"}},
		{name: "the greatest number", old: `input I { x: Int @constraint(max: 9) }`, new: `input I { x: Int @constraint(max: 10) }`,
			forth: []string{"safe I.x @constraint(max: 9) became @constraint(max: 10)"},
			back:  []string{"breaking I.x @constraint(max: 10) became @constraint(max: 9)"}},
		{name: "the shortest text of an argument", old: `type A { x(y: String @constraint(minLength: 2, maxLength: 3)): Int }`, new: `type A { x(y: String @constraint(minLength: 1, maxLength: 3)): Int }`,
			forth: []string{"safe A.x(y:) @constraint(maxLength: 3, minLength: 2) became @constraint(maxLength: 3, minLength: 1)"},
			back:  []string{"breaking A.x(y:) @constraint(maxLength: 3, minLength: 1) became @constraint(maxLength: 3, minLength: 2)"}},
		{name: "a bound more", old: `input I { x: String @constraint(maxLength: 3) }`, new: `input I { x: String @constraint(maxLength: 4, pattern: "a") }`,
			forth: []string{`breaking I.x @constraint(maxLength: 3) became @constraint(maxLength: 4, pattern: "a")`},
			back:  []string{`breaking I.x @constraint(maxLength: 4, pattern: "a") became @constraint(maxLength: 3)`}},
		{name: "a pattern", old: `input I { x: String @constraint(pattern: "a") }`, new: `input I { x: String @constraint(pattern: "b") }`,
			forth: []string{`breaking I.x @constraint(pattern: "a") became @constraint(pattern: "b")`},
			back:  []string{`breaking I.x @constraint(pattern: "b") became @constraint(pattern: "a")`}},
		{name: "@once", old: `type A { x: Int }`, new: `type A { x: Int @once }`,
			forth: []string{"breaking A.x no @once became @once"},
			back:  []string{"safe A.x @once became no @once"}},
		{name: "@cost", old: `type A { x: Int }`, new: `type A { x: Int @cost(weight: "9") }`,
			forth: []string{`dangerous A.x no @cost became @cost(weight: "9")`},
			back:  []string{`safe A.x @cost(weight: "9") became no @cost`}},
		{name: "@cost, higher", old: `type A { x: Int @cost(weight: "9") }`, new: `type A { x: Int @cost(weight: "10") }`,
			forth: []string{`dangerous A.x @cost(weight: "9") became @cost(weight: "10")`},
			back:  []string{`safe A.x @cost(weight: "10") became @cost(weight: "9")`}},
		{name: "@cost of a mutation, which has one without it", old: `type Mutation { x: Int }`, new: `type Mutation { x: Int @cost(weight: "9") }`,
			forth: []string{`safe Mutation.x no @cost became @cost(weight: "9")`},
			back:  []string{`dangerous Mutation.x @cost(weight: "9") became no @cost`}},
		{name: "@listSize", old: `type A { x: [Int] }`, new: `type A { x: [Int] @listSize(assumedSize: 9) }`,
			forth: []string{`dangerous A.x no @listSize became @listSize(assumedSize: 9)`},
			back:  []string{`dangerous A.x @listSize(assumedSize: 9) became no @listSize`}},
		{name: "a directive on a field", old: `type A { x: Int }`, new: `type A { x: Int @limit(to: 1) }`,
			forth: []string{"safe A.x no @limit became @limit(to: 1)"},
			back:  []string{"safe A.x @limit(to: 1) became no @limit"}},
		{name: "a directive on a type", old: `type A { x: Int }`, new: `type A @open { x: Int }`,
			forth: []string{"safe A no @open became @open"},
			back:  []string{"safe A @open became no @open"}},

		{name: "everybody or those who are signed in", old: `type A { x: Int @public }`, new: `type A { x: Int @authenticated }`,
			forth: []string{"breaking A.x @public became @authenticated"},
			back:  []string{"dangerous A.x @authenticated became @public"}},
		{name: "everybody or a role", old: `type A { x: Int @public }`, new: `type A { x: Int @hasRole(anyOf: [STAFF]) }`,
			forth: []string{"breaking A.x @public became @hasRole(anyOf: [STAFF])"},
			back:  []string{"dangerous A.x @hasRole(anyOf: [STAFF]) became @public"}},
		{name: "everybody or the owner", old: `type A { x: Int @public }`, new: `type A { x: Int @owner(orRole: [STAFF]) }`,
			forth: []string{"breaking A.x @public became @owner(orRole: [STAFF])"},
			back:  []string{"dangerous A.x @owner(orRole: [STAFF]) became @public"}},
		{name: "those who are signed in or the owner", old: `type A { x: Int @authenticated }`, new: `type A { x: Int @owner }`,
			forth: []string{"breaking A.x @authenticated became @owner"},
			back:  []string{"breaking A.x @owner became @authenticated"}},
		{name: "the owner or a role", old: `type A { x: Int @owner(orRole: [STAFF]) }`, new: `type A { x: Int @hasRole(anyOf: [STAFF]) }`,
			forth: []string{"breaking A.x @owner(orRole: [STAFF]) became @hasRole(anyOf: [STAFF])"},
			back:  []string{"dangerous A.x @hasRole(anyOf: [STAFF]) became @owner(orRole: [STAFF])"}},
		{name: "one role more", old: `type A { x: Int @hasRole(anyOf: [STAFF]) }`, new: `type A { x: Int @hasRole(anyOf: [ADMIN, STAFF]) }`,
			forth: []string{"dangerous A.x @hasRole(anyOf: [STAFF]) became @hasRole(anyOf: [ADMIN, STAFF])"},
			back:  []string{"breaking A.x @hasRole(anyOf: [ADMIN, STAFF]) became @hasRole(anyOf: [STAFF])"}},
		{name: "another role", old: `type A { x: Int @hasRole(anyOf: [STAFF]) }`, new: `type A { x: Int @hasRole(anyOf: [ADMIN]) }`,
			forth: []string{"breaking A.x @hasRole(anyOf: [STAFF]) became @hasRole(anyOf: [ADMIN])"},
			back:  []string{"breaking A.x @hasRole(anyOf: [ADMIN]) became @hasRole(anyOf: [STAFF])"}},
		{name: "the order of roles", old: `type A { x: Int @hasRole(anyOf: [STAFF, ADMIN]) }`, new: `type A { x: Int @hasRole(anyOf: [ADMIN, STAFF]) }`,
			forth: []string{"safe A.x @hasRole(anyOf: [STAFF, ADMIN]) became @hasRole(anyOf: [ADMIN, STAFF])"},
			back:  []string{"safe A.x @hasRole(anyOf: [ADMIN, STAFF]) became @hasRole(anyOf: [STAFF, ADMIN])"}},
		{name: "a role beside the owner", old: `type A { x: Int @owner }`, new: `type A { x: Int @owner(orRole: [STAFF]) }`,
			forth: []string{"dangerous A.x @owner became @owner(orRole: [STAFF])"},
			back:  []string{"breaking A.x @owner(orRole: [STAFF]) became @owner"}},
		{name: "a directive where there was none", old: `type A { x: Int }`, new: `type A { x: Int @hasRole(anyOf: [STAFF]) }`,
			forth: []string{"breaking A.x no access directive became @hasRole(anyOf: [STAFF])"},
			back:  []string{"dangerous A.x @hasRole(anyOf: [STAFF]) became no access directive"}},

		{name: "a deprecation", old: `type A { x: Int }`, new: `type A { x: Int @deprecated(reason: "Old.") }`,
			forth: []string{`safe A.x no @deprecated became @deprecated(reason: "Old.")`},
			back:  []string{`safe A.x @deprecated(reason: "Old.") became no @deprecated`}},
		{name: "the day of removal", old: `type A { x: Int ` + gone + ` }`, new: `type A { x: Int ` + stays + ` }`,
			forth: []string{"safe A.x @deprecated(reason: \"Use `b`. Removed after 2027-03-31.\") became @deprecated(reason: \"Use `b`. Removed after 2027-04-01.\")"},
			back:  []string{"breaking A.x @deprecated(reason: \"Use `b`. Removed after 2027-04-01.\") became @deprecated(reason: \"Use `b`. Removed after 2027-03-31.\")"}},
		{name: "an earlier day of removal", old: `type A { x: Int ` + deprecated("2027-06-30") + ` }`, new: `type A { x: Int ` + stays + ` }`,
			forth: []string{"dangerous A.x @deprecated(reason: \"Use `b`. Removed after 2027-06-30.\") became @deprecated(reason: \"Use `b`. Removed after 2027-04-01.\")"},
			back:  []string{"safe A.x @deprecated(reason: \"Use `b`. Removed after 2027-04-01.\") became @deprecated(reason: \"Use `b`. Removed after 2027-06-30.\")"}},
		{name: "a day of removal that has passed", old: `type A { x: Int }`, new: `type A { x: Int ` + gone + ` }`,
			forth: []string{"breaking A.x no @deprecated became @deprecated(reason: \"Use `b`. Removed after 2027-03-31.\")"},
			back:  []string{"safe A.x @deprecated(reason: \"Use `b`. Removed after 2027-03-31.\") became no @deprecated"}},
		{name: "what was announced to be gone", old: `type A { b: Int x: Int ` + gone + ` y(b: Int z: Int ` + gone + `): Int } input I { b: Int x: Int ` + gone + ` } enum E { B X ` + gone + ` }`,
			new:   `type A { b: Int y(b: Int): Int } input I { b: Int } enum E { B }`,
			forth: []string{"safe A.x field was removed", "safe A.y(z:) argument was removed", "safe E.X value was removed", "safe I.x field was removed"},
			back:  []string{"safe A.x field was added", "safe A.y(z:) argument was added", "dangerous E.X value was added", "safe I.x field was added"}},
		{name: "what was announced to be gone tomorrow", old: `type A { b: Int x: Int ` + stays + ` y(b: Int z: Int ` + stays + `): Int } input I { b: Int x: Int ` + stays + ` } enum E { B X ` + stays + ` }`,
			new:   `type A { b: Int y(b: Int): Int } input I { b: Int } enum E { B }`,
			forth: []string{"breaking A.x field was removed", "breaking A.y(z:) argument was removed", "breaking E.X value was removed", "breaking I.x field was removed"},
			back:  []string{"safe A.x field was added", "safe A.y(z:) argument was added", "dangerous E.X value was added", "safe I.x field was added"}},
		{name: "a deprecation without a day", old: `type A { b: Int x: Int @deprecated }`, new: `type A { b: Int }`,
			forth: []string{"breaking A.x field was removed"},
			back:  []string{"safe A.x field was added"}},
		{name: "a day that there is not", old: `type A { b: Int x: Int ` + deprecated("2027-02-30") + ` }`, new: `type A { b: Int }`,
			forth: []string{"breaking A.x field was removed"},
			back:  []string{"safe A.x field was added"}},
		{name: "the types below a field that was announced to be gone",
			old: `extend type Query { b: Int a(i: I): A ` + gone + ` } type A { to: B } type B { back: A e: E } enum E { V } input I { j: J } input J { x: Int }`,
			new: `extend type Query { b: Int }`,
			forth: []string{"safe A type was removed", "safe B type was removed", "safe E enum was removed", "safe I input was removed",
				"safe J input was removed", "safe Query.a field was removed"},
			back: []string{"safe A type was added", "safe B type was added", "safe E enum was added", "safe I input was added", "safe J input was added", "safe Query.a field was added"}},
		{name: "a type to which something else leads, too", old: `extend type Query { b: B a: A ` + gone + ` } type A { x: Int } type B { a: A }`, new: `extend type Query { b: B } type B { x: Int }`,
			forth: []string{"breaking A type was removed", "breaking B.a field was removed", "safe B.x field was added", "safe Query.a field was removed"},
			back:  []string{"safe A type was added", "safe B.a field was added", "breaking B.x field was removed", "safe Query.a field was added"}},

		{name: "an operation", withoutAFrame: true, old: `type Query { a: Int } type M { a: Int }`, new: `schema { query: Query mutation: M } type Query { a: Int } type M { a: Int }`,
			forth: []string{"safe schema there is the operation mutation"},
			back:  []string{"breaking schema the type of the operation mutation was M and is none"}},
		{name: "the type of an operation", withoutAFrame: true, old: `schema { query: A } type A { a: Int b: B } type B { a: Int b: B }`, new: `schema { query: B } type A { a: Int b: B } type B { a: Int b: B }`,
			forth: []string{"breaking schema the type of the operation query was A and is B"},
			back:  []string{"breaking schema the type of the operation query was B and is A"}},
		{name: "the schema itself", withoutAFrame: true, old: `type Query { a: Int } directive @s on SCHEMA`, new: `"All." schema @s { query: Query } type Query { a: Int } directive @s on SCHEMA`,
			forth: []string{"safe schema description was changed", "safe schema no @s became @s"},
			back:  []string{"safe schema description was changed", "safe schema @s became no @s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			around := frame
			if c.withoutAFrame {
				around = ""
			}
			old, new := load(t, around+c.old), load(t, around+c.new)
			if got := changes(old, new); !slices.Equal(got, c.forth) {
				t.Errorf("forth:\n%q, want\n%q", got, c.forth)
			}
			if got := changes(new, old); !slices.Equal(got, c.back) {
				t.Errorf("back:\n%q, want\n%q", got, c.back)
			}
		})
	}
}

// real returns the schema of the program, parsed anew.
func real(t *testing.T) *ast.Schema {
	t.Helper()
	text, err := os.ReadFile("../../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	s, err := contract.Load("schema.graphqls", string(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPrint prints the schema of the program, which is the same schema when it is read again, and prints the same.
func TestPrint(t *testing.T) {
	t.Parallel()
	s := real(t)
	var once, again strings.Builder
	if err := contract.Print(&once, s); err != nil {
		t.Fatal(err)
	}
	printed := load(t, once.String())
	if got := changes(s, printed); got != nil {
		t.Errorf("printing it has changed it: %q", got)
	}
	if got := changes(printed, s); got != nil {
		t.Errorf("reading it back has changed it: %q", got)
	}
	if err := contract.Print(&again, printed); err != nil || again.String() != once.String() {
		t.Errorf("printed again it is another text, or not at all: %v", err)
	}
}
