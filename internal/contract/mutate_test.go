package contract_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"emporium/internal/contract"
)

// mutation is one step away from a schema. Do changes the schema and can be undone by what it returns.
type mutation struct {
	what       string
	coordinate string
	level      contract.Level
	do         func() (undo func())
}

// set changes a variable.
func set[T any](at *T, to T) func() func() {
	return func() func() {
		was := *at
		*at = to
		return func() { *at = was }
	}
}

// without returns a list without one of its elements.
func without[S ~[]E, E any](all S, i int) S { return slices.Delete(slices.Clone(all), i, i+1) }

// with returns a list with one more element.
func with[S ~[]E, E any](all S, one E) S { return append(slices.Clone(all), one) }

func nullable(t *ast.Type, to bool) *ast.Type {
	return &ast.Type{NamedType: t.NamedType, Elem: t.Elem, NonNull: to}
}

func level(is bool, then, otherwise contract.Level) contract.Level {
	if is {
		return then
	}
	return otherwise
}

// mutations returns what can be done to a schema in one step, of every kind at every place.
func mutations(s *ast.Schema) (all []mutation) {
	add := func(what, coordinate string, l contract.Level, do func() func()) {
		all = append(all, mutation{what, coordinate, l, do})
	}
	described := func(coordinate string, description *string) {
		add("description", coordinate, safe, set(description, *description+"."))
	}
	deprecate := func(coordinate string, of *ast.DirectiveList) {
		add("deprecate", coordinate, safe, set(of, with(*of, &ast.Directive{Name: "deprecated"})))
	}
	arguments := func(at *ast.ArgumentDefinitionList, coordinate func(string) string) {
		anything := &ast.Type{NamedType: "Boolean"}
		add("add argument", coordinate("brandNew"), safe, set(at, with(*at, &ast.ArgumentDefinition{Name: "brandNew", Type: anything})))
		add("add required argument", coordinate("brandNew"), breaking,
			set(at, with(*at, &ast.ArgumentDefinition{Name: "brandNew", Type: nullable(anything, true)})))
		for i, a := range *at {
			at2 := coordinate(a.Name)
			add("remove argument", at2, breaking, set(at, without(*at, i)))
			add("null for argument", at2, level(a.Type.NonNull, safe, breaking), set(&a.Type, nullable(a.Type, !a.Type.NonNull)))
			add("list for argument", at2, breaking, set(&a.Type, &ast.Type{Elem: a.Type}))
			add("type of argument", at2, breaking, set(&a.Type, &ast.Type{NamedType: "Other"}))
			becomes := &ast.Value{Kind: ast.StringValue, Raw: "other"}
			add("default of argument", at2, level(a.Type.NonNull && a.DefaultValue == nil, safe, dangerous), set(&a.DefaultValue, becomes))
			if a.DefaultValue != nil {
				add("no default of argument", at2, level(a.Type.NonNull, breaking, dangerous), set(&a.DefaultValue, nil))
			}
			add("constrain argument", at2, dangerous, set(&a.Directives, with(a.Directives, &ast.Directive{Name: "limit"})))
			described(at2, &a.Description)
			deprecate(at2, &a.Directives)
		}
	}
	described("schema", &s.Description)
	for name, t := range s.Types {
		if t.BuiltIn || strings.HasPrefix(name, "__") {
			continue
		}
		described(name, &t.Description)
		add("kind", name, breaking, set(&t.Kind, map[bool]ast.DefinitionKind{true: ast.Union, false: ast.Scalar}[t.Kind == ast.Scalar]))
		// No document of a client names the values of a directive in the schema.
		add("rename", name, level(name == "CacheControlScope", safe, breaking), func() func() {
			delete(s.Types, name)
			return func() { s.Types[name] = t }
		})
		add("add type", "BrandNew", safe, func() func() {
			s.Types["BrandNew"] = &ast.Definition{Name: "BrandNew", Kind: ast.Scalar}
			return func() { delete(s.Types, "BrandNew") }
		})
		if d := t.Directives.ForName("specifiedBy"); d != nil {
			add("specifiedBy", name, dangerous, set(&d.Arguments[0].Value.Raw, "https://example.com"))
			add("no specifiedBy", name, dangerous, set(&t.Directives, nil))
		}
		for i := range t.Interfaces {
			add("remove interface", name, breaking, set(&t.Interfaces, without(t.Interfaces, i)))
		}
		if t.Kind == ast.Object && !slices.Contains(t.Interfaces, "Node") {
			add("add interface", name, dangerous, set(&t.Interfaces, with(t.Interfaces, "Node")))
		}
		for i := range t.Types {
			add("remove member", name, breaking, set(&t.Types, without(t.Types, i)))
		}
		if t.Kind == ast.Union {
			add("add member", name, dangerous, set(&t.Types, with(t.Types, "PageInfo")))
		}
		for i, v := range t.EnumValues {
			at := name + "." + v.Name
			add("remove value", at, breaking, set(&t.EnumValues, without(t.EnumValues, i)))
			described(at, &v.Description)
			deprecate(at, &v.Directives)
		}
		if t.Kind == ast.Enum {
			add("add value", name+".BRAND_NEW", dangerous, set(&t.EnumValues, with(t.EnumValues, &ast.EnumValueDefinition{Name: "BRAND_NEW"})))
		}
		if t.Kind == ast.InputObject {
			add("oneOf", name, breaking, set(&t.Directives, with(t.Directives, &ast.Directive{Name: "oneOf"})))
		}
		if t.Kind != ast.Object && t.Kind != ast.Interface && t.Kind != ast.InputObject {
			continue
		}
		input := t.Kind == ast.InputObject
		add("add field", name+".brandNew", safe, set(&t.Fields, with(t.Fields, &ast.FieldDefinition{Name: "brandNew", Type: &ast.Type{NamedType: "Int"}})))
		add("add required field", name+".brandNew", level(input, breaking, safe),
			set(&t.Fields, with(t.Fields, &ast.FieldDefinition{Name: "brandNew", Type: &ast.Type{NamedType: "Int", NonNull: true}})))
		for i, f := range t.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			at := name + "." + f.Name
			add("remove field", at, breaking, set(&t.Fields, without(t.Fields, i)))
			add("null of field", at, level(f.Type.NonNull == input, safe, breaking), set(&f.Type, nullable(f.Type, !f.Type.NonNull)))
			add("list of field", at, breaking, set(&f.Type, &ast.Type{Elem: f.Type}))
			add("type of field", at, breaking, set(&f.Type, &ast.Type{NamedType: "Other"}))
			described(at, &f.Description)
			deprecate(at, &f.Directives)
			if input {
				add("default of field", at, level(f.Type.NonNull && f.DefaultValue == nil, safe, dangerous),
					set(&f.DefaultValue, &ast.Value{Kind: ast.StringValue, Raw: "other"}))
				continue
			}
			arguments(&f.Arguments, func(arg string) string { return at + "(" + arg + ":)" })
			for j, d := range f.Directives {
				if d.Name == "public" {
					add("close", at, breaking, set(&f.Directives[j], &ast.Directive{Name: "authenticated"}))
				}
				if d.Name == "hasRole" {
					add("open", at, dangerous, set(&f.Directives[j], &ast.Directive{Name: "public"}))
					roles := &d.Arguments[0].Value.Children
					add("one role less", at, breaking, set(roles, without(*roles, 0)))
					add("one role more", at, dangerous, set(roles, with(*roles, &ast.ChildValue{Value: &ast.Value{Kind: ast.EnumValue, Raw: "BRAND_NEW"}})))
				}
			}
		}
	}
	for name, d := range s.Directives {
		if d.Position.Src.BuiltIn {
			continue
		}
		described("@"+name, &d.Description)
		add("remove directive", "@"+name, safe, func() func() {
			delete(s.Directives, name)
			return func() { s.Directives[name] = d }
		})
	}
	return all
}

// stepsOfAKind is how many of a kind are taken, spread over the schema; 0: all, some 12,000, in a minute.
const stepsOfAKind = 20

// some leaves the steps that are taken.
func some(all []mutation) (taken []mutation) {
	kinds := map[string][]mutation{}
	for _, m := range all {
		kinds[m.what] = append(kinds[m.what], m)
	}
	for _, of := range kinds {
		slices.SortFunc(of, func(a, b mutation) int { return strings.Compare(a.coordinate, b.coordinate) })
		for i := 0; i < len(of); i += max(1, len(of)/max(stepsOfAKind, 1)*min(stepsOfAKind, 1)) {
			taken = append(taken, of[i])
		}
	}
	return taken
}

// TestEveryStepIsFound takes steps of each kind away from the schema of the program, and back.
func TestEveryStepIsFound(t *testing.T) {
	t.Parallel()
	s, changed := real(t), real(t)
	if got := changes(s, changed); got != nil {
		t.Fatalf("without any step: %q", got)
	}
	all := mutations(changed)
	steps := some(all)
	for _, m := range steps {
		undo := m.do()
		found := contract.Diff(s, changed, today)
		undo()
		if len(found) != 1 || found[0].Coordinate != m.coordinate || found[0].Level != m.level || found[0].What == "" || found[0].Why == "" {
			t.Errorf("%s of %s is %s: found %+v", m.what, m.coordinate, m.level, found)
		}
	}
	if got := changes(s, changed); got != nil {
		t.Errorf("the steps were not taken back: %q", got)
	}
	t.Logf("%d steps of %d", len(steps), len(all))
}
