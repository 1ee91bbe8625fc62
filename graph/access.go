package graph

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// accessDirectives decide who may ask for a field.
var accessDirectives = []string{"public", "authenticated", "hasRole", "owner"}

// CheckAccess holds the schema against the rules of access and returns every violation. The server does not start with
// one. A type is guarded unless it is marked @open.
//
//   - Every field of Query, Mutation and Subscription carries exactly one access directive.
//   - So does every field that leads to a guarded type, directly or through an interface or union; it is not @public,
//     and it is nullable, so that a refusal has a place to go.
//   - No other field carries one: what asks for more than its object does leads to a guarded type of its own.
//   - @authenticated leads to guarded types from the roots only, where the verb knows whose things are meant.
//   - @hasRole names at least one role.
//   - Interfaces and unions are @open only if all their members are.
//   - Every object that implements Node has a rule in nodeRules.
func CheckAccess(schema *ast.Schema) error {
	var faults []error
	report := func(format string, args ...any) { faults = append(faults, fmt.Errorf("access: "+format, args...)) }

	for _, name := range accessDirectives {
		if schema.Directives[name] == nil {
			report("directive @%s is not defined", name)
		}
	}
	for _, t := range sortedTypes(schema) {
		if t.Kind == ast.Object && slices.Contains(t.Interfaces, "Node") && nodeRules[t.Name].load == nil {
			report("type %s implements Node but has no rule in nodeRules", t.Name)
		}
		if t.Kind == ast.Object && !guarded(schema, t) && holdsOwned(t.Name) {
			report("type %s belongs to somebody and can not be @open", t.Name)
		}
		if t.Kind != ast.Object && t.Kind != ast.Interface {
			continue
		}
		root := t == schema.Query || t == schema.Mutation || t == schema.Subscription
		for _, f := range t.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			place := t.Name + "." + f.Name
			leads := guarded(schema, schema.Types[f.Type.Name()])
			marks := accessMarks(f)
			switch {
			case len(marks) > 1:
				report("%s carries %d access directives, one is wanted", place, len(marks))
			case len(marks) == 0 && root:
				report("%s carries no access directive, as every field of %s must", place, t.Name)
			case len(marks) == 0 && leads:
				report("%s leads to the guarded type %s without an access directive", place, f.Type.Name())
			case len(marks) == 1 && !root && !leads:
				report("%s carries @%s but leads to nothing guarded", place, marks[0].Name)
			}
			if !leads || len(marks) != 1 {
				continue
			}
			mark := marks[0]
			if mark.Name == "public" {
				report("%s is @public but leads to the guarded type %s", place, f.Type.Name())
			}
			if mark.Name == "authenticated" && !root {
				report("%s leads to the guarded type %s by @authenticated, which does not tell whose it is", place, f.Type.Name())
			}
			if roles := mark.Arguments.ForName("anyOf"); mark.Name == "hasRole" && (roles == nil || len(roles.Value.Children) == 0) {
				report("%s names no role", place)
			}
			if f.Type.NonNull {
				report("%s is guarded and must be nullable", place)
			}
		}
	}
	return errors.Join(faults...)
}

func accessMarks(f *ast.FieldDefinition) []*ast.Directive {
	var marks []*ast.Directive
	for _, d := range f.Directives {
		if slices.Contains(accessDirectives, d.Name) {
			marks = append(marks, d)
		}
	}
	return marks
}

// guarded reports whether a type may only be reached through an access directive: an object without @open, an
// interface or union with such a member.
func guarded(schema *ast.Schema, t *ast.Definition) bool {
	switch t.Kind {
	case ast.Object:
		return t != schema.Query && t != schema.Mutation && t != schema.Subscription &&
			t.Directives.ForName("open") == nil && !strings.HasPrefix(t.Name, "__")
	case ast.Interface, ast.Union:
		return slices.ContainsFunc(schema.PossibleTypes[t.Name], func(member *ast.Definition) bool {
			return guarded(schema, member)
		})
	default:
		return false
	}
}

func sortedTypes(schema *ast.Schema) []*ast.Definition {
	all := make([]*ast.Definition, 0, len(schema.Types))
	for _, t := range schema.Types {
		if !strings.HasPrefix(t.Name, "__") {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *ast.Definition) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// holdsOwned reports whether the Go type behind a type of the schema belongs to somebody.
func holdsOwned(typeName string) bool {
	for _, t := range boundTypes(nil, nil) {
		if t.Name == typeName && t.Go != nil {
			return t.Go.Implements(reflect.TypeFor[owned]()) && !openConnections[typeName]
		}
	}
	return false
}

// openConnections are pages of things that nobody owns; their Go types share a generic method that says so.
var openConnections = map[string]bool{
	"ProductConnection": true, "ProductEdge": true, "CollectionConnection": true, "CollectionEdge": true,
}

// checkFunctions fails when a directive of the schema has no function: gqlgen would notice only when a request asks.
func checkFunctions(root DirectiveRoot) error {
	v := reflect.ValueOf(root)
	for i := range v.NumField() {
		if v.Field(i).IsNil() {
			return fmt.Errorf("access: directive function %s is missing", v.Type().Field(i).Name)
		}
	}
	return nil
}
