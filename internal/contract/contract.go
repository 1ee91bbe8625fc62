// Package contract looks at the schema as what clients were promised: Lint holds it against the conventions of the house, Diff
// says what becomes of clients when it changes, Print writes it down. Elements are named by their schema coordinates, as the
// GraphQL specification (September 2025, 3.14) has them: Type.field, Type.field(argument:), Enum.VALUE, @directive.
package contract

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
)

// Load reads a schema. Name is that of its file, for errors and findings.
func Load(name, text string) (*ast.Schema, error) {
	return gqlparser.LoadSchema(&ast.Source{Name: name, Input: text})
}

// Print writes a schema as a document, types and directives in the order of their names: the same text for the same schema.
func Print(w io.Writer, s *ast.Schema) error {
	var text strings.Builder
	// The formatter leaves out a schema definition that names nothing new, and with it the description.
	if usual := roots(s); s.Description != "" && !slices.ContainsFunc(usual, func(r root) bool { return r.title() != r.typ }) {
		fmt.Fprintf(&text, "\"\"\"\n%s\n\"\"\"\nschema {\n", strings.ReplaceAll(s.Description, `"""`, `\"""`))
		for _, r := range usual {
			fmt.Fprintf(&text, "  %s: %s\n", r.operation, r.typ)
		}
		text.WriteString("}\n")
	}
	formatter.NewFormatter(&text, formatter.WithIndent("  ")).FormatSchema(s)
	_, err := io.WriteString(w, text.String())
	return err
}

// root is the type that operations of a kind begin with.
type root struct {
	operation ast.Operation
	typ       string
}

// title is the usual name of the type.
func (r root) title() string {
	return strings.ToUpper(string(r.operation[:1])) + string(r.operation[1:])
}

func roots(s *ast.Schema) (all []root) {
	for _, r := range []struct {
		operation ast.Operation
		typ       *ast.Definition
	}{{ast.Query, s.Query}, {ast.Mutation, s.Mutation}, {ast.Subscription, s.Subscription}} {
		if r.typ != nil {
			all = append(all, root{r.operation, r.typ.Name})
		}
	}
	return all
}

// types returns the types of a schema that are its own, by name.
func types(s *ast.Schema) map[string]*ast.Definition {
	all := maps.Clone(s.Types)
	maps.DeleteFunc(all, func(name string, t *ast.Definition) bool { return t.BuiltIn || strings.HasPrefix(name, "__") })
	return all
}

// directives returns the directives of a schema that are its own, by name.
func directives(s *ast.Schema) map[string]*ast.DirectiveDefinition {
	all := maps.Clone(s.Directives)
	maps.DeleteFunc(all, func(_ string, d *ast.DirectiveDefinition) bool {
		return d.Position != nil && d.Position.Src != nil && d.Position.Src.BuiltIn
	})
	return all
}

// fields returns those that the document defines; introspection adds some of its own.
func fields(t *ast.Definition) []*ast.FieldDefinition {
	return slices.DeleteFunc(slices.Clone(t.Fields), func(f *ast.FieldDefinition) bool { return strings.HasPrefix(f.Name, "__") })
}

// asArgument returns what an input field has in common with an argument.
func asArgument(f *ast.FieldDefinition) *ast.ArgumentDefinition {
	return &ast.ArgumentDefinition{Description: f.Description, Name: f.Name, DefaultValue: f.DefaultValue, Type: f.Type,
		Directives: f.Directives, Position: f.Position}
}

// required reports whether a value has to be given.
func required(a *ast.ArgumentDefinition) bool { return a.Type.NonNull && a.DefaultValue == nil }

func argument(of, name string) string { return of + "(" + name + ":)" }

// Element is a part of the schema that clients name in their documents and that can be removed from it.
type Element struct {
	Coordinate string
	Owner      string       // the coordinate of the field of an argument, otherwise the type
	Deprecated *Deprecation // nil: it is not
	Shown      bool         // an enum value that answers may hold, so that documents do not tell whether it is used
}

// Elements returns the fields, arguments, input fields and enum values of a schema, in the order of their coordinates.
func Elements(s *ast.Schema) []Element {
	var all []Element
	shown := map[string]bool{} // types that answers hold
	add := func(coordinate, owner string, d ast.DirectiveList, shown bool) {
		all = append(all, Element{coordinate, owner, deprecation(d), shown})
	}
	for _, t := range types(s) {
		for _, f := range fields(t) {
			shown[f.Type.Name()] = shown[f.Type.Name()] || t.Kind != ast.InputObject
			at := t.Name + "." + f.Name
			add(at, t.Name, f.Directives, false)
			for _, a := range f.Arguments {
				add(argument(at, a.Name), at, a.Directives, false)
			}
		}
	}
	for _, t := range types(s) {
		for _, v := range t.EnumValues {
			add(t.Name+"."+v.Name, t.Name, v.Directives, shown[t.Name])
		}
	}
	slices.SortFunc(all, func(a, b Element) int { return cmp.Compare(a.Coordinate, b.Coordinate) })
	return all
}

// Deprecation is what @deprecated says of an element.
type Deprecation struct {
	Reason string
	Use    string    // what takes its place: a coordinate, or a name beside the element; "" if the reason has not the form
	After  time.Time // the last day on which the element is there; zero likewise
}

const reasonForm = "Use `x`. Removed after 2027-03-31."

var reason = regexp.MustCompile("^Use `([^`]+)`\\. Removed after (\\d{4}-\\d{2}-\\d{2})\\.$")

// deprecation reads @deprecated; nil if there is none.
func deprecation(all ast.DirectiveList) *Deprecation {
	d := all.ForName("deprecated")
	if d == nil {
		return nil
	}
	var found Deprecation
	if a := d.Arguments.ForName("reason"); a != nil {
		found.Reason = a.Value.Raw
	}
	if parts := reason.FindStringSubmatch(found.Reason); parts != nil {
		if after, err := time.Parse(time.DateOnly, parts[2]); err == nil {
			found.Use, found.After = parts[1], after
		}
	}
	return &found
}

// due reports whether the day of removal has passed.
func (d *Deprecation) due(today time.Time) bool {
	return d != nil && !d.After.IsZero() && today.Format(time.DateOnly) > d.After.Format(time.DateOnly)
}
