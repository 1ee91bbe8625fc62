package contract

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// Finding is something in a schema that is against the conventions.
type Finding struct {
	Place      string // file:line
	Coordinate string
	What       string
}

var (
	pascalCase = regexp.MustCompile(`^[A-Z][a-zA-Z0-9]*$`)
	camelCase  = regexp.MustCompile(`^[a-z][a-zA-Z0-9]*$`)
	upperSnake = regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`)
	lastWord   = regexp.MustCompile(`[A-Z][a-z0-9]*$`)
	firstWord  = regexp.MustCompile(`^[a-z0-9]+`)
)

// inputEndings are how the names of input objects end. What a mutation takes as its `input` ends in the first.
var inputEndings = []string{"Input", "Filter", "Sort", "Range"}

// Lint holds a schema against the conventions of the house, and returns what is against them in the order of the document.
func Lint(s *ast.Schema) []Finding {
	l := &linter{schema: s}
	for _, d := range directives(s) {
		l.element(d.Position, "@"+d.Name, d.Name, d.Description, camelCase, "camelCase")
		l.arguments("@"+d.Name, d.Arguments)
	}
	for _, t := range types(s) {
		l.typ(t)
	}
	if s.Mutation != nil {
		l.mutations(fields(s.Mutation))
	}
	slices.SortFunc(l.found, func(a, b located) int {
		return cmp.Or(cmp.Compare(a.at.Src.Name, b.at.Src.Name), cmp.Compare(a.at.Start, b.at.Start), cmp.Compare(a.What, b.What))
	})
	var all []Finding
	for _, f := range l.found {
		f.Place = fmt.Sprintf("%s:%d", f.at.Src.Name, f.at.Line)
		all = append(all, f.Finding)
	}
	return all
}

type linter struct {
	schema *ast.Schema
	found  []located
}

type located struct {
	Finding
	at *ast.Position
}

func (l *linter) report(at *ast.Position, coordinate, what string, args ...any) {
	l.found = append(l.found, located{Finding{Coordinate: coordinate, What: fmt.Sprintf(what, args...)}, at})
}

// element looks at what all elements have.
func (l *linter) element(at *ast.Position, coordinate, name, description string, form *regexp.Regexp, formName string) {
	if !form.MatchString(name) {
		l.report(at, coordinate, "the name is not in %s", formName)
	}
	if strings.TrimSpace(description) == "" {
		l.report(at, coordinate, "it has no description")
	}
}

func (l *linter) typ(t *ast.Definition) {
	l.element(t.Position, t.Name, t.Name, t.Description, pascalCase, "PascalCase")
	for _, v := range t.EnumValues {
		at := t.Name + "." + v.Name
		l.element(v.Position, at, v.Name, v.Description, upperSnake, "UPPER_SNAKE_CASE")
		l.deprecation(v.Position, at, v.Directives, func(name string) bool { return t.EnumValues.ForName(name) != nil })
	}
	if t.Kind == ast.InputObject && !slices.ContainsFunc(inputEndings, func(e string) bool { return strings.HasSuffix(t.Name, e) }) {
		l.report(t.Position, t.Name, "the name of an input object ends in %s", strings.Join(inputEndings, ", "))
	}
	for _, f := range fields(t) {
		at := t.Name + "." + f.Name
		l.element(f.Position, at, f.Name, f.Description, camelCase, "camelCase")
		l.deprecation(f.Position, at, f.Directives, func(name string) bool { return t.Fields.ForName(name) != nil })
		if t.Kind == ast.InputObject {
			l.optional(asArgument(f), at)
		}
		l.arguments(at, f.Arguments)
	}
}

func (l *linter) arguments(of string, all ast.ArgumentDefinitionList) {
	for _, a := range all {
		at := argument(of, a.Name)
		l.element(a.Position, at, a.Name, a.Description, camelCase, "camelCase")
		l.deprecation(a.Position, at, a.Directives, func(name string) bool { return all.ForName(name) != nil })
		l.optional(a, at)
	}
}

// optional reports what is deprecated and yet has to be given, so that nobody could stop to use it.
func (l *linter) optional(a *ast.ArgumentDefinition, at string) {
	if deprecation(a.Directives) != nil && required(a) {
		l.report(a.Position, at, "it is required and can not be deprecated")
	}
}

// deprecation looks at the reason. Beside tells whether there is an element of a name next to the one that is deprecated.
func (l *linter) deprecation(at *ast.Position, coordinate string, all ast.DirectiveList, beside func(name string) bool) {
	d := deprecation(all)
	if d == nil {
		return
	}
	if d.After.IsZero() {
		l.report(at, coordinate, "the reason of @deprecated is not of the form %q", reasonForm)
		return
	}
	if coordinate == d.Use || strings.HasSuffix(coordinate, "."+d.Use) || strings.HasSuffix(coordinate, "("+d.Use+":)") {
		l.report(at, coordinate, "it is not to be used instead of itself")
		return
	}
	element := func(e Element) bool { return e.Coordinate == d.Use }
	if !beside(d.Use) && l.schema.Types[d.Use] == nil && !slices.ContainsFunc(Elements(l.schema), element) {
		l.report(at, coordinate, "there is no `%s` to be used instead", d.Use)
	}
}

// mutations looks at what is particular to them: the object comes first in the name, they take one input and perhaps an
// idempotency key, and return a payload with what users can mend.
func (l *linter) mutations(all []*ast.FieldDefinition) {
	ends, begins := map[string]int{}, map[string]int{}
	for _, m := range all {
		ends[strings.ToLower(lastWord.FindString(m.Name))]++
		begins[firstWord.FindString(m.Name)]++
	}
	for _, m := range all {
		at := l.schema.Mutation.Name + "." + m.Name
		if verb := firstWord.FindString(m.Name); ends[verb] > 0 && ends[verb] >= begins[verb] {
			l.report(m.Position, at, "the object comes first in the name, not %q, by which others end", verb)
		}
		for _, a := range m.Arguments {
			of := argument(at, a.Name)
			switch {
			case a.Name == "input" && (a.Type.Elem != nil || !a.Type.NonNull || !strings.HasSuffix(a.Type.Name(), inputEndings[0])):
				l.report(a.Position, of, "it is of type %s, not of one like `ThingVerb%s!`", a.Type, inputEndings[0])
			case a.Name == "idempotencyKey" && a.Type.Name() != "String":
				l.report(a.Position, of, "it is of type %s, not String", a.Type)
			case a.Name != "input" && a.Name != "idempotencyKey":
				l.report(a.Position, of, "a mutation takes `input`, and perhaps `idempotencyKey`; it belongs into the input")
			}
		}
		payload := l.schema.Types[m.Type.Name()]
		if m.Type.Elem != nil || m.Type.NonNull || payload.Kind != ast.Object || !strings.HasSuffix(payload.Name, "Payload") {
			l.report(m.Position, at, "it returns %s, not a nullable object like `ThingPayload`", m.Type)
			continue
		}
		if mend := payload.Fields.ForName("userErrors"); mend == nil || mend.Type.String() != "[UserError!]!" {
			l.report(payload.Position, payload.Name, "a payload has `userErrors: [UserError!]!`")
		}
	}
}
