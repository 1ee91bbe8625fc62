package graph

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

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

// TestServerRefusesWhatIsNotDeclared takes away each edge, one at a time, and adds one that is no field: the server does
// not start.
func TestServerRefusesWhatIsNotDeclared(t *testing.T) {
	schema := NewExecutableSchema(Config{})
	for typeName, fields := range edges {
		for name, e := range fields {
			delete(fields, name)
			if _, err := newExecutable(schema, nil, time.Hour); err == nil || !strings.Contains(err.Error(), typeName+"."+name) {
				t.Errorf("without %s.%s the server starts: %v", typeName, name, err)
			}
			fields[name] = e
		}
	}
	for place, change := range map[string]func(){
		"Order.number": func() { orderEdges["number"] = orderEdges["lines"] },
		"Order.none":   func() { orderEdges["none"] = orderEdges["lines"] },
	} {
		change()
		if _, err := newExecutable(schema, nil, time.Hour); err == nil || !strings.Contains(err.Error(), place) {
			t.Errorf("with an edge %s the server starts: %v", place, err)
		}
		delete(orderEdges, "number")
		delete(orderEdges, "none")
	}
	lines := orderEdges["lines"]
	orderEdges["lines"] = of(orderTotals, balance, "Sum")
	if _, err := newExecutable(schema, nil, time.Hour); err == nil || !strings.Contains(err.Error(), "reads Sum") {
		t.Errorf("an edge reads what its parent does not have, and the server starts: %v", err)
	}
	orderEdges["lines"] = lines
	more := contract(t)
	field := more.Types["Order"].Fields.ForName("lines")
	field.Arguments = append(field.Arguments, &ast.ArgumentDefinition{Name: "color", Type: ast.NamedType("String", nil)})
	if _, err := newExecutable(NewExecutableSchema(Config{Schema: more}), nil, time.Hour); err == nil || !strings.Contains(err.Error(), "argument color") {
		t.Errorf("an edge has an argument that nobody looks at, and the server starts: %v", err)
	}
	if _, err := newExecutable(schema, nil, time.Hour); err != nil {
		t.Errorf("all edges are declared, but %v", err)
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
