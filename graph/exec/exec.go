// Package exec executes GraphQL operations breadth first. An operation is compiled once into a [Plan]: fragments merged,
// fields bound to what reads them. To run it, the plan's levels are walked from the root down, and each field that has
// to be loaded is loaded for all objects of its level in one call; then the answer is written depth first into one
// buffer. There is no goroutine, no context and no map for an object or a list element.
//
// It follows the GraphQL specification (October 2021), section 6: merging, type conditions, @skip and @include, the
// order of fields, null propagation, and errors with their paths. Introspection is left to gqlgen's executor, which also
// is what this one is tested against. A subscription's events come from its source; each is executed like a query (6.2.3).
package exec

import (
	"context"
	"fmt"
	"io"
	"reflect"

	"github.com/vektah/gqlparser/v2/ast"
)

// Type is how the objects of a GraphQL object type are read. The objects are pointers of the Go type, in an any.
type Type struct {
	Name   string
	Go     reflect.Type // nil for Query, Mutation and Subscription
	Fields map[string]*Field

	typename []byte // the name in quotes
}

// Field is how a field is read. Its value is held by the object, or loaded for all objects of a level at once; it is a
// leaf (a scalar, an enum, a list of them), or composite (an object, an interface, a list of them).
type Field struct {
	// Leaf appends the JSON of a leaf that the object holds; false stands for null, and leaves b as it is.
	Leaf func(b []byte, object any) ([]byte, bool)
	// Get returns a composite that the object holds.
	Get func(object any) any
	// Load loads the field for all objects of a level.
	Load Load
	// Root is the resolver of a field of Query or Mutation.
	Root func(ctx context.Context, args map[string]any) (any, error)
	// Source is where the events of a field of Subscription come from, each of which is then the field's value.
	Source func(ctx context.Context, args map[string]any) (Events, error)

	// Append appends the JSON of a leaf that Load or Root has returned.
	Append func(b []byte, value any) ([]byte, bool)
	// Spread appends the objects in a composite value, each as a pointer or nil; false stands for null.
	Spread func(objects []any, value any) ([]any, bool)

	// Args turns the arguments as written into values of Go types; nil for a field without arguments.
	Args func(ctx context.Context, raw map[string]any) (map[string]any, error)
	// Guard decides who may have the field; nil for everybody.
	Guard Guard

	// Weight is what the field costs each time, beside the objects in it.
	Weight int
	// Reads names the Go fields of the object that the field is made of; All when that is not known.
	Reads Reads
	// MadeOf is the Go type of what is loaded, when the value is made of it: who else asks for some of it may not leave out
	// the rest.
	MadeOf reflect.Type
	// Method tells that the value comes from a method or a function; for the log of a null that may not be.
	Method bool
}

// Events waits for the next event. It returns io.EOF after the last one, and the context's error once that is done; it may
// then be called again with another one.
type Events func(ctx context.Context) (any, error)

// Channel makes events of what a resolver returns.
func Channel[T any](c <-chan T, err error) (Events, error) {
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (any, error) {
		select {
		case v, ok := <-c:
			if !ok {
				return nil, io.EOF
			}
			return v, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, nil
}

// Load loads a field for all parents into results, one for each of them. A nil parent has no result. It runs in the
// goroutine of the operation.
type Load func(ctx context.Context, parents []any, args map[string]any, results []Result)

// Result is what was loaded for one parent.
type Result struct {
	Value any // nil stands for null
	Err   error
}

// Guard decides, once an operation, whether a field may be had. An error refuses it for every parent; a Check, if there
// is one, then looks at each.
type Guard func(ctx context.Context) (Check, error)

// Check decides about single parents and results. Nil functions let everything through.
type Check struct {
	Parent func(parent any) bool                   // false: the field is null; the parent of a root field is nil
	Result func(value any) (result any, err error) // what is left of the value
}

// Reads are names of fields of a Go struct.
type Reads struct {
	All   bool
	Names []string
}

// Schema is what operations are compiled against. It is not changed after New.
type Schema struct {
	MaxErrors int // that an operation reports, those first whose places come first; 0: all. See [Omitted].

	types    map[string]*Type
	byGo     map[reflect.Type]*Type
	possible map[string][]*Type // of interfaces and unions
	ast      *ast.Schema
}

// New binds types to a schema. It fails when the schema has an object type or a field without a counterpart, or one that
// can not be read.
func New(schema *ast.Schema, types []*Type) (*Schema, error) {
	s := &Schema{types: map[string]*Type{}, byGo: map[reflect.Type]*Type{}, possible: map[string][]*Type{}, ast: schema}
	for _, t := range types {
		s.types[t.Name] = t
		t.typename = AppendString(nil, t.Name)
		if t.Go != nil && s.byGo[t.Go] == nil {
			s.byGo[t.Go] = t
		}
	}
	for _, d := range schema.Types {
		if d.BuiltIn || len(d.Name) > 1 && d.Name[:2] == "__" {
			continue
		}
		switch d.Kind {
		case ast.Object:
			if err := s.bind(d); err != nil {
				return nil, err
			}
		case ast.Interface, ast.Union:
			for _, member := range schema.PossibleTypes[d.Name] {
				if member.Kind != ast.Object {
					continue // an interface that implements this one
				}
				if s.types[member.Name] == nil {
					return nil, fmt.Errorf("exec: type %s is not bound", member.Name)
				}
				s.possible[d.Name] = append(s.possible[d.Name], s.types[member.Name])
			}
		}
	}
	return s, nil
}

func (s *Schema) bind(d *ast.Definition) error {
	t := s.types[d.Name]
	if t == nil {
		return fmt.Errorf("exec: type %s is not bound", d.Name)
	}
	for _, f := range d.Fields {
		if len(f.Name) > 1 && f.Name[:2] == "__" {
			continue
		}
		bound := t.Fields[f.Name]
		composite := s.composite(f.Type)
		switch {
		case bound == nil:
			return fmt.Errorf("exec: field %s.%s is not bound", d.Name, f.Name)
		case bound.Root == nil && bound.Source == nil && bound.Load == nil && bound.Get == nil && bound.Leaf == nil:
			return fmt.Errorf("exec: field %s.%s has nothing to be read by", d.Name, f.Name)
		case composite && bound.Spread == nil, !composite && bound.Append == nil && bound.Leaf == nil:
			return fmt.Errorf("exec: field %s.%s has nothing to be written by", d.Name, f.Name)
		}
	}
	return nil
}

func (s *Schema) composite(t *ast.Type) bool {
	switch s.ast.Types[t.Name()].Kind {
	case ast.Object, ast.Interface, ast.Union:
		return true
	default:
		return false
	}
}
