package graph

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"emporium/internal/auth"
)

func contract(t testing.TB) *ast.Schema {
	t.Helper()
	text, err := os.ReadFile("../schema.graphqls")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "schema.graphqls", Input: string(text)})
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestServerRefusesASchemaWithoutADirective takes each access directive away, one at a time, and wants the server not to
// start.
func TestServerRefusesASchemaWithoutADirective(t *testing.T) {
	t.Parallel()
	if _, err := NewHandler(Options{Schema: contract(t)}); err != nil {
		t.Fatalf("the contract as it is: %v", err)
	}
	var places [][2]string
	for _, d := range sortedTypes(contract(t)) {
		for _, f := range d.Fields {
			if len(accessMarks(f)) > 0 {
				places = append(places, [2]string{d.Name, f.Name})
			}
		}
	}
	if len(places) < 40 {
		t.Fatalf("only %d access directives were found", len(places))
	}
	for _, place := range places {
		schema := contract(t)
		field := schema.Types[place[0]].Fields.ForName(place[1])
		field.Directives = slices.DeleteFunc(field.Directives, func(d *ast.Directive) bool {
			return slices.Contains(accessDirectives, d.Name)
		})
		_, err := NewHandler(Options{Schema: schema})
		if err == nil || !strings.Contains(err.Error(), place[0]+"."+place[1]) {
			t.Errorf("without the directive on %s.%s the server starts: %v", place[0], place[1], err)
		}
	}
}

// TestServerRefusesWrongAccess changes the contract in ways that would open something, and wants the server not to start.
func TestServerRefusesWrongAccess(t *testing.T) {
	t.Parallel()
	field := func(s *ast.Schema, typeName, name string) *ast.FieldDefinition {
		return s.Types[typeName].Fields.ForName(name)
	}
	mark := func(name string) *ast.Directive { return &ast.Directive{Name: name} }
	for name, change := range map[string]func(*ast.Schema){
		"a guarded type marked @open": func(s *ast.Schema) {
			s.Types["Payment"].Directives = append(s.Types["Payment"].Directives, mark("open"))
		},
		"a public way to a guarded type": func(s *ast.Schema) {
			field(s, "Query", "orders").Directives = ast.DirectiveList{mark("public")}
		},
		"two directives on one field": func(s *ast.Schema) {
			f := field(s, "Query", "viewer")
			f.Directives = append(f.Directives, mark("public"))
		},
		"a role list without roles": func(s *ast.Schema) {
			field(s, "Variant", "inventory").Directives.ForName("hasRole").Arguments[0].Value.Children = nil
		},
		"a guarded field that can not be null": func(s *ast.Schema) { field(s, "Order", "customer").Type.NonNull = true },
		"being signed in as the only gate inside": func(s *ast.Schema) {
			field(s, "Order", "customer").Directives = ast.DirectiveList{mark("authenticated")}
		},
		"a directive that guards nothing": func(s *ast.Schema) {
			field(s, "Product", "title").Directives = ast.DirectiveList{mark("authenticated")}
		},
		"a new type without a mark": func(s *ast.Schema) {
			s.Types["Secret"] = &ast.Definition{Kind: ast.Object, Name: "Secret"}
			s.Types["Product"].Fields = append(s.Types["Product"].Fields,
				&ast.FieldDefinition{Name: "secret", Type: ast.NamedType("Secret", nil)})
		},
		"a new root field without a directive": func(s *ast.Schema) {
			s.Query.Fields = append(s.Query.Fields, &ast.FieldDefinition{Name: "more", Type: ast.NamedType("Int", nil)})
		},
		"a node without a rule": func(s *ast.Schema) {
			s.Types["Widget"] = &ast.Definition{Kind: ast.Object, Name: "Widget", Interfaces: []string{"Node"}}
		},
		"a directive that is not defined": func(s *ast.Schema) { delete(s.Directives, "owner") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schema := contract(t)
			change(schema)
			if _, err := NewHandler(Options{Schema: schema}); err == nil {
				t.Error("the server starts")
			}
		})
	}
}

func TestServerRefusesAMissingDirectiveFunction(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		gates := directives()
		switch i {
		case 0:
			gates.Public = nil
		case 1:
			gates.Authenticated = nil
		case 2:
			gates.HasRole = nil
		case 3:
			gates.Owner = nil
		}
		if err := checkFunctions(gates); err == nil {
			t.Errorf("directive function %d is missing and nobody minds", i)
		}
	}
}

// TestEveryNodeTypeHasItsOwnKind makes sure that no two types share the kind in their IDs.
func TestEveryNodeTypeHasItsOwnKind(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for name, rule := range nodeRules {
		kind := fmt.Sprint(rule.kind)
		if other, taken := seen[kind]; taken {
			t.Errorf("%s and %s share kind %s", name, other, kind)
		}
		seen[kind] = name
	}
}

// TestEveryEdgeIsDeclared walks the schema: a field that has a resolver and leads to objects must be an edge, or its loads
// would not be foreseen.
func TestEveryEdgeIsDeclared(t *testing.T) {
	t.Parallel()
	schema := contract(t)
	names := map[string]bool{}
	for _, name := range typeNames {
		names[name] = true
	}
	for typeName, fields := range edges {
		d := schema.Types[typeName]
		if d == nil || !names[typeName] {
			t.Errorf("edges of %s, which is no type of the contract or missing in typeNames", typeName)
			continue
		}
		for name := range fields {
			if d.Fields.ForName(name) == nil {
				t.Errorf("edge %s.%s is no field of the contract", typeName, name)
			}
		}
	}
	values := map[string]bool{ // objects that their parent holds, and from which nothing leads on
		"Money": true, "PageInfo": true, "PriceRange": true, "Seo": true, "OptionValue": true, "FacetValue": true,
		"OptionFacet": true, "PaymentMethod": true, "PaymentProviderDetails": true, "PostalAddress": true,
		"Tokens": true, "UserError": true,
	}
	for _, d := range sortedTypes(schema) {
		if d.Kind != ast.Object || d == schema.Query || d == schema.Mutation {
			continue
		}
		for _, f := range d.Fields {
			target := schema.Types[f.Type.Name()]
			if target.Kind == ast.Object && !values[target.Name] && edges[d.Name][f.Name] == nil {
				t.Errorf("%s.%s leads to %s but is no edge", d.Name, f.Name, target.Name)
			}
		}
	}
}

func TestOwnerDirectiveJudgesEverything(t *testing.T) {
	t.Parallel()
	if _, err := onlyVisible(auth.Actor{}, struct{}{}); err == nil {
		t.Error("a result that can not be judged is let through")
	}
	if got, err := onlyVisible(auth.Actor{}, nil); got != nil || err != nil {
		t.Errorf("nil became %v, %v", got, err)
	}
}
