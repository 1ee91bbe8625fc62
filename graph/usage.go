package graph

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"emporium/internal/usage"
)

// used counts an operation for the client that has sent it. What asks for the schema is not counted.
func (e executable) used(op *graphql.OperationContext) {
	if p := e.plan(op); p != nil {
		e.usedBy(p, op).Count(op.Headers)
	}
}

// usedBy returns what an operation of a plan uses: what its document names, and what its variables hold.
func (e executable) usedBy(p *plan, op *graphql.OperationContext) *usage.Set {
	if p.uses == nil || len(p.inputs) == 0 {
		return p.uses
	}
	n := naming{schema: e.Schema()}
	for _, v := range p.inputs {
		n.value(op.Variables[v.Variable], v.Definition)
	}
	return p.uses.With(n.found)
}

// inputsOf returns the variables of an operation that hold input objects or values of enums.
func inputsOf(op *ast.OperationDefinition) (inputs []*ast.VariableDefinition) {
	for _, v := range op.VariableDefinitions {
		if v.Definition != nil && (v.Definition.Kind == ast.InputObject || v.Definition.Kind == ast.Enum) {
			inputs = append(inputs, v)
		}
	}
	return inputs
}

// named returns the coordinates of what an operation names: fields on the type that they are selected on, arguments, and input fields
// and values of enums that are written in the document. What @skip and @include leave out is named all the same: without it
// the document would not be valid.
func (e executable) named(op *ast.OperationDefinition) []string {
	if e.usage == nil {
		return nil
	}
	n := naming{schema: e.Schema(), fragments: map[string]bool{}}
	for _, v := range op.VariableDefinitions {
		n.literal(v.DefaultValue, v.Definition)
	}
	n.selection(op.SelectionSet)
	return n.found
}

// naming collects coordinates.
type naming struct {
	schema    *ast.Schema
	fragments map[string]bool // that were looked at
	found     []string
}

func (n *naming) add(parts ...string) { n.found = append(n.found, strings.Join(parts, "")) }

func (n *naming) selection(set ast.SelectionSet) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			if strings.HasPrefix(s.Name, "__") {
				continue
			}
			n.add(s.ObjectDefinition.Name, ".", s.Name)
			for _, a := range s.Arguments {
				n.add(s.ObjectDefinition.Name, ".", s.Name, "(", a.Name, ":)")
				n.literal(a.Value, n.schema.Types[s.Definition.Arguments.ForName(a.Name).Type.Name()])
			}
			n.selection(s.SelectionSet)
		case *ast.InlineFragment:
			n.selection(s.SelectionSet)
		case *ast.FragmentSpread:
			if !n.fragments[s.Name] {
				n.fragments[s.Name] = true
				n.selection(s.Definition.SelectionSet)
			}
		}
	}
}

// literal adds what a value in the document names; v and t may be nil.
func (n *naming) literal(v *ast.Value, t *ast.Definition) {
	switch {
	case v == nil || t == nil:
	case v.Kind == ast.EnumValue && t.Kind == ast.Enum:
		n.add(t.Name, ".", v.Raw)
	case v.Kind == ast.ListValue:
		for _, c := range v.Children {
			n.literal(c.Value, t)
		}
	case v.Kind == ast.ObjectValue && t.Kind == ast.InputObject:
		for _, c := range v.Children {
			n.literal(c.Value, n.inputField(t, c.Name))
		}
	}
}

// value adds what the value of a variable names, which has been found to be of the type.
func (n *naming) value(v any, t *ast.Definition) {
	switch v := v.(type) {
	case string:
		if t.Kind == ast.Enum {
			n.add(t.Name, ".", v)
		}
	case []any:
		for _, element := range v {
			n.value(element, t)
		}
	case map[string]any:
		if t.Kind == ast.InputObject {
			for name, field := range v {
				n.value(field, n.inputField(t, name))
			}
		}
	}
}

// inputField adds a field of an input object, and returns its type.
func (n *naming) inputField(t *ast.Definition, name string) *ast.Definition {
	n.add(t.Name, ".", name)
	return n.schema.Types[t.Fields.ForName(name).Type.Name()]
}

// withClient returns headers with those by which a client names itself taken from a message of its own, if it does so there.
func withClient(h http.Header, message json.RawMessage) http.Header {
	var members map[string]any
	if json.Unmarshal(message, &members) != nil {
		return h
	}
	said := http.Header{}
	for name, value := range members {
		if text, ok := value.(string); ok {
			said.Set(name, text)
		}
	}
	if usage.ClientOf(said) == (usage.Client{}) {
		return h
	}
	h = maps.Clone(h)
	for _, name := range usage.Headers() {
		h[name] = said[name]
	}
	return h
}
