package contract_test

import (
	"slices"
	"strings"
	"testing"

	"emporium/internal/contract"
)

func findings(fs []contract.Finding) (lines []string) {
	for _, f := range fs {
		lines = append(lines, f.Place+" "+f.Coordinate+": "+f.What)
	}
	return lines
}

// TestLint has one thing wrong in each line, or several, and wants each named with its line.
func TestLint(t *testing.T) {
	t.Parallel()
	const document = `"All." schema { query: Query mutation: Mutation }
directive @NoCase(An_arg: Int) on OBJECT
"Q." type Query {
  "F." Field("A." Arg: Int): thing
  g: Int
  "H." h("A." a: Int, b: Int): Loose
  "I." i: Int @deprecated
  "J." j: Int @deprecated(reason: "Use ` + "`k`" + `. Removed after 2027-03-31.")
  "K." l: Int @deprecated(reason: "Use ` + "`h`" + `. Removed after 2027-02-30.")
  "L." m: Int @deprecated(reason: "Use ` + "`Loose.ONE_1`" + `. Removed after 2027-03-31.")
  "O." o: Int @deprecated(reason: "Use ` + "`o`" + `. Removed after 2027-03-31.") "P." p: Int @deprecated(reason: "Use ` + "`Query.p`" + `. Removed after 2027-03-31.")
  "N." n("A." a: Int, "B." b: Int! @deprecated(reason: "Use ` + "`a`" + `. Removed after 2027-03-31.")): Int
}
"T." type thing { "X." x: Int }
"E." enum Loose { "V." Mixed "W." ONE_1 X }
"I." input Odd { "X." x_y: Int "Y." y: Int! @deprecated(reason: "Use ` + "`x_y`" + `. Removed after 2027-03-31.") }
"I." input GoodInput { "X." x: Int }
"S." scalar bad_scalar
"U." type UserError { "C." code: String! }
"P." type GoodPayload { "E." userErrors: [UserError!]! }
"P." type BadPayload { "X." x: Int }
"M." type Mutation {
  "A." thingCreate("I." input: GoodInput!, "K." idempotencyKey: String!): GoodPayload
  "B." createThing("I." input: Odd!): GoodPayload
  "C." thingDrop("I." input: GoodInput): Query
  "D." thingMove("I." id: ID!, "K." idempotencyKey: Int): BadPayload
  "E." thingEnd: GoodPayload!
}
`
	s, err := contract.Load("f.graphqls", document)
	if err != nil {
		t.Fatal(err)
	}
	form := `the reason of @deprecated is not of the form "Use ` + "`x`" + `. Removed after 2027-03-31."`
	want := []string{
		"f.graphqls:2 @NoCase: it has no description",
		"f.graphqls:2 @NoCase: the name is not in camelCase",
		"f.graphqls:2 @NoCase(An_arg:): it has no description",
		"f.graphqls:2 @NoCase(An_arg:): the name is not in camelCase",
		"f.graphqls:4 Query.Field: the name is not in camelCase",
		"f.graphqls:4 Query.Field(Arg:): the name is not in camelCase",
		"f.graphqls:5 Query.g: it has no description",
		"f.graphqls:6 Query.h(b:): it has no description",
		"f.graphqls:7 Query.i: " + form,
		"f.graphqls:8 Query.j: there is no `k` to be used instead",
		"f.graphqls:9 Query.l: " + form,
		"f.graphqls:11 Query.o: it is not to be used instead of itself",
		"f.graphqls:11 Query.p: it is not to be used instead of itself",
		"f.graphqls:12 Query.n(b:): it is required and can not be deprecated",
		"f.graphqls:14 thing: the name is not in PascalCase",
		"f.graphqls:15 Loose.Mixed: the name is not in UPPER_SNAKE_CASE",
		"f.graphqls:15 Loose.X: it has no description",
		"f.graphqls:16 Odd: the name of an input object ends in Input, Filter, Sort, Range",
		"f.graphqls:16 Odd.x_y: the name is not in camelCase",
		"f.graphqls:16 Odd.y: it is required and can not be deprecated",
		"f.graphqls:18 bad_scalar: the name is not in PascalCase",
		"f.graphqls:21 BadPayload: a payload has `userErrors: [UserError!]!`",
		"f.graphqls:24 Mutation.createThing: the object comes first in the name, not \"create\", by which others end",
		"f.graphqls:24 Mutation.createThing(input:): it is of type Odd!, not of one like `ThingVerbInput!`",
		"f.graphqls:25 Mutation.thingDrop: it returns Query, not a nullable object like `ThingPayload`",
		"f.graphqls:25 Mutation.thingDrop(input:): it is of type GoodInput, not of one like `ThingVerbInput!`",
		"f.graphqls:26 Mutation.thingMove(id:): a mutation takes `input`, and perhaps `idempotencyKey`; it belongs into the input",
		"f.graphqls:26 Mutation.thingMove(idempotencyKey:): it is of type Int, not String",
		"f.graphqls:27 Mutation.thingEnd: it returns GoodPayload!, not a nullable object like `ThingPayload`",
	}
	if got := findings(contract.Lint(s)); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestLintAccepts finds nothing in the schema of the program.
func TestLintAccepts(t *testing.T) {
	t.Parallel()
	if got := findings(contract.Lint(real(t))); got != nil {
		t.Errorf("%q", got)
	}
}

func TestElements(t *testing.T) {
	t.Parallel()
	s := load(t, `type Query { a(b: I, e: In): Out } input I { x: Int @deprecated(reason: "Use `+"`y`"+`. Removed after 2027-03-31.") y: [In] } enum In { A } enum Out { B @deprecated }`)
	var got []string
	for _, e := range contract.Elements(s) {
		line := e.Coordinate + " of " + e.Owner
		if e.Deprecated != nil {
			line += ", " + e.Deprecated.Use + " " + e.Deprecated.After.Format("2006-01-02")
		}
		if e.Shown {
			line += ", shown"
		}
		got = append(got, line)
	}
	want := []string{"I.x of I, y 2027-03-31", "I.y of I", "In.A of In", "Out.B of Out,  0001-01-01, shown", "Query.a of Query", "Query.a(b:) of Query.a", "Query.a(e:) of Query.a"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
