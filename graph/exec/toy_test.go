package exec_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"

	"emporium/graph/exec"
)

const toySchema = `
interface Named { name: String! }
interface Animal implements Named { name: String! legs: Int owner: Person }
union Thing = Dog | Cat | Rock
scalar Big
enum Mood { CALM WILD }

type Person implements Named {
	name: String!
	nick: String
	age: Int
	adult: Boolean
	mood: Mood
	tags: [String!]
	home: Place
	address: Place!
	best: Person
	boss: Person!
	friends: [Person!]!
	maybe: [Person]
	some: [Person]!
	all: [Person!]
	pet: Animal
	pets: [Animal]
	thing: Thing
	things: [Thing!]
	score(of: Int = 7, by: String, times: [Int!], as: Scale): Int
}
input Scale { base: Int = 10 unit: String }
type Place { city: String! street: String country: Country! }
type Country { code: String! }
type Dog implements Named & Animal { name: String! legs: Int owner: Person barks: Boolean }
type Cat implements Named & Animal { name: String! legs: Int owner: Person lives: Int! }
type Rock { weight: Int! }
type Counter { value: Int! next: Counter }

type Query {
	ann: Person
	ben: Person
	must: Person!
	people: [Person!]!
	maybe: [Person]
	some: [Person]!
	all: [Person!]
	animal: Animal
	animals: [Animal]
	named: Named
	thing: Thing
	things: [Thing]
	count: Int
	size: Int!
	echo(of: Int = 1, by: String, times: [Int!], as: Scale, big: Big): Int
	find(name: String!): Person
}
type Mutation {
	set(to: Int!): Counter
	mustSet(to: Int!): Counter!
}
type Subscription {
	tick(of: Int): Int
	born: Person
}
`

// The objects of the toy are values by field.
type (
	values  map[string]any
	person  struct{ values }
	place   struct{ values }
	country struct{ values }
	dog     struct{ values }
	cat     struct{ values }
	rock    struct{ values }
	counter struct{ values }
)

func (v values) get(field string) any { return v[field] }

var goTypes = map[string]reflect.Type{
	"Person": reflect.TypeFor[*person](), "Place": reflect.TypeFor[*place](), "Country": reflect.TypeFor[*country](),
	"Dog": reflect.TypeFor[*dog](), "Cat": reflect.TypeFor[*cat](), "Rock": reflect.TypeFor[*rock](),
	"Counter": reflect.TypeFor[*counter](), "Query": nil, "Mutation": nil, "Subscription": nil,
}

// Values that are more than themselves: an error fails the field, boom panics, and a function is called with the
// arguments.
type (
	boom string
	call func(args map[string]any) any
)

func evaluate(v any, args map[string]any) (any, error) {
	switch v := v.(type) {
	case error:
		return nil, v
	case boom:
		panic(string(v))
	case call:
		return evaluate(v(args), args)
	}
	return v, nil
}

// list makes a list of objects, where nil is null.
func list(objects ...any) []any { return append([]any{}, objects...) }

// setup is how a toy differs from one in which objects hold all that has no arguments.
type setup struct {
	root   values // of Query and Mutation
	loaded func(field string, leaf bool) bool
	guards map[string]exec.Guard
	change map[string]func(*exec.Field) // has the last word about a field
}

// toy is a schema bound to values. It is safe for concurrent use.
type toy struct {
	setup
	schema *exec.Schema
	ast    *ast.Schema

	mu     sync.Mutex
	loads  map[string][][]any // the parents of each call
	panics []*exec.Panic
}

func parsedToy(t testing.TB) *ast.Schema {
	t.Helper()
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "toy", Input: toySchema})
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func newToy(t testing.TB, with setup) *toy {
	t.Helper()
	y := &toy{setup: with, ast: parsedToy(t), loads: map[string][][]any{}}
	var err error
	if y.schema, err = exec.New(y.ast, y.types()); err != nil {
		t.Fatal(err)
	}
	return y
}

func (y *toy) types() (types []*exec.Type) {
	for _, name := range slices.Sorted(maps.Keys(goTypes)) {
		typ := &exec.Type{Name: name, Go: goTypes[name], Fields: map[string]*exec.Field{}}
		for _, d := range y.ast.Types[name].Fields {
			f := y.field(name, d)
			f.Guard = y.guards[name+"."+d.Name]
			if change := y.change[name+"."+d.Name]; change != nil {
				change(f)
			}
			typ.Fields[d.Name] = f
		}
		types = append(types, typ)
	}
	return types
}

func (y *toy) field(typeName string, d *ast.FieldDefinition) *exec.Field {
	f := &exec.Field{Reads: exec.Reads{Names: []string{d.Name}}}
	name, key := d.Name, typeName+"."+d.Name
	held := func(o any) any {
		v, err := evaluate(o.(interface{ get(string) any }).get(name), nil)
		if err != nil {
			panic(err)
		}
		return v
	}
	leaf := !y.ast.Types[d.Type.Name()].IsCompositeType()
	if leaf {
		f.Append = appendLeaf
	} else {
		f.Spread = func(objects []any, v any) ([]any, bool) {
			if d.Type.Elem == nil {
				return append(objects, v), true
			}
			return append(objects, v.([]any)...), true
		}
	}
	if len(d.Arguments) > 0 {
		f.Args = arguments
	}
	switch {
	case typeName == "Subscription":
		f.Source = func(_ context.Context, args map[string]any) (exec.Events, error) {
			c, err := evaluate(y.root[name], args)
			if err != nil {
				return nil, err
			}
			return exec.Channel(c.(chan any), nil)
		}
	case goTypes[typeName] == nil:
		f.Root = func(_ context.Context, args map[string]any) (any, error) { return evaluate(y.root[name], args) }
	case f.Args != nil || y.loaded != nil && y.loaded(key, leaf):
		f.Load = func(_ context.Context, parents []any, args map[string]any, results []exec.Result) {
			y.mu.Lock()
			y.loads[key] = append(y.loads[key], slices.Clone(parents))
			y.mu.Unlock()
			for i, p := range parents {
				if p != nil {
					results[i].Value, results[i].Err = evaluate(p.(interface{ get(string) any }).get(name), args)
				}
			}
		}
	case leaf:
		f.Leaf = func(b []byte, o any) ([]byte, bool) { return appendLeaf(b, held(o)) }
	default:
		f.Get = held
	}
	return f
}

func appendLeaf(b []byte, v any) ([]byte, bool) {
	switch v := v.(type) {
	case string:
		return exec.AppendString(b, v), true
	case int:
		return exec.AppendInt(b, v), true
	case bool:
		return exec.AppendBoolean(b, v), true
	case []string:
		return exec.AppendList(b, v, exec.AppendString), true
	}
	return b, false
}

// arguments refuses negative numbers.
func arguments(_ context.Context, raw map[string]any) (map[string]any, error) {
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		if n, ok := raw[name].(int64); ok {
			if n < 0 {
				return nil, fmt.Errorf("%s must not be negative", name)
			}
			raw[name] = int(n)
		}
	}
	return raw, nil
}

// outcome is all that comes of an operation. Errors are written as "path line:column message".
type outcome struct {
	data   string
	errors []string
}

func (o outcome) String() string { return fmt.Sprintf("%s\nerrors: %q", o.data, o.errors) }

func (y *toy) operation(t testing.TB, document string, variables map[string]any) (*ast.OperationDefinition, map[string]any) {
	t.Helper()
	doc, errs := gqlparser.LoadQueryWithRules(y.ast, document, nil)
	if errs != nil {
		t.Fatalf("%s: %v", document, errs)
	}
	coerced, err := validator.VariableValues(y.ast, doc.Operations[0], variables)
	if err != nil {
		t.Fatalf("%s: %v", document, err)
	}
	return doc.Operations[0], coerced
}

func (y *toy) compile(t testing.TB, document string, variables map[string]any) (*exec.Plan, map[string]any) {
	t.Helper()
	op, coerced := y.operation(t, document, variables)
	p := y.schema.Compile(op, coerced)
	if p == nil {
		t.Fatalf("%s: no plan", document)
	}
	return p, coerced
}

func (y *toy) run(t testing.TB, document string, variables map[string]any) outcome {
	t.Helper()
	p, coerced := y.compile(t, document, variables)
	return y.runPlan(t.Context(), p, coerced)
}

func (y *toy) runPlan(ctx context.Context, p *exec.Plan, variables map[string]any) outcome {
	ctx = y.context(ctx)
	data, _ := y.schema.Run(ctx, p, variables)
	o := outcome{data: string(data)}
	for _, err := range graphql.GetErrors(ctx) {
		at := "-"
		if len(err.Locations) == 1 {
			at = fmt.Sprintf("%d:%d", err.Locations[0].Line, err.Locations[0].Column)
		}
		o.errors = append(o.errors, fmt.Sprintf("%s %s %s", err.Path, at, err.Message))
	}
	return o
}

// context is what gqlgen's handler makes for an operation.
func (y *toy) context(ctx context.Context) context.Context {
	recovered := func(_ context.Context, v any) error {
		p, ok := v.(*exec.Panic)
		if !ok {
			return fmt.Errorf("recovered a %T", v)
		}
		y.mu.Lock()
		defer y.mu.Unlock()
		y.panics = append(y.panics, p)
		return p
	}
	ctx = graphql.WithOperationContext(ctx, &graphql.OperationContext{RecoverFunc: recovered})
	return graphql.WithResponseContext(ctx, presented, recovered)
}

// presented gives an error the place of its field where it has none, as the server does, and shortens what gqlgen says
// about nulls, which depends on how a field is read.
func presented(ctx context.Context, err error) *gqlerror.Error {
	shown := graphql.DefaultErrorPresenter(ctx, err)
	if null := (*graphql.InvalidNullError)(nil); errors.As(err, &null) {
		shown.Message = "must not be null"
	}
	if fc := graphql.GetFieldContext(ctx); len(shown.Locations) == 0 && fc.Field.Field != nil {
		shown.Locations = []gqlerror.Location{{Line: fc.Field.Position.Line, Column: fc.Field.Position.Column}}
	}
	return shown
}

func want(t testing.TB, got outcome, data string, errors ...string) {
	t.Helper()
	if got.data != data || !slices.Equal(got.errors, errors) {
		t.Errorf("got  %s\nwant %s", got, outcome{data, errors})
	}
}

// readings are the ways in which what has no arguments can be read. They must not make a difference.
var readings = map[string]func(field string, leaf bool) bool{
	"held":              nil,
	"loaded":            func(string, bool) bool { return true },
	"leaves loaded":     func(_ string, leaf bool) bool { return leaf },
	"composites loaded": func(_ string, leaf bool) bool { return !leaf },
}

// example is an operation with its whole outcome.
type example struct {
	name      string
	document  string
	variables map[string]any
	data      string
	errors    []string
}

// check runs examples with each of the readings.
func check(t *testing.T, root values, examples ...example) {
	t.Helper()
	for name, reading := range readings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newToy(t, setup{root: root, loaded: reading})
			for _, e := range examples {
				t.Run(e.name, func(t *testing.T) {
					t.Helper()
					want(t, y.run(t, e.document, e.variables), e.data, e.errors...)
				})
			}
		})
	}
}
