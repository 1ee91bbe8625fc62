package exec_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"emporium/graph/exec"
)

// Plans differ by the variables that may stand in @skip and @include, and by nothing else.
func TestConditions(t *testing.T) {
	t.Parallel()
	y := newToy(t, setup{root: family()})
	const document = `query($a: Boolean!, $n: Int, $b: Boolean = true, $s: String) {
		echo(of: $n, by: $s) count @include(if: $a) size @skip(if: $b) e: echo(times: [1]) @include(if: $b) }`
	keys := map[string]string{}
	for _, a := range []bool{false, true} {
		for _, b := range []any{nil, false, true} {
			for _, n := range []int64{1, 2} {
				variables := map[string]any{"a": a, "n": n, "s": "x"}
				if b != nil {
					variables["b"] = b
				}
				op, coerced := y.operation(t, document, variables)
				key := exec.Conditions(op, coerced)
				skipped := fmt.Sprint(a, b == nil || b == true)
				if known, ok := keys[skipped]; ok && known != key {
					t.Errorf("%v: key %q, for others %q", variables, key, known)
				}
				keys[skipped] = key
			}
		}
	}
	if distinct := slices.Compact(slices.Sorted(maps.Values(keys))); len(distinct) != 4 {
		t.Errorf("keys %v, want four of them", keys)
	}
	op, coerced := y.operation(t, `{ count }`, nil)
	if key := exec.Conditions(op, coerced); key != "" {
		t.Errorf("without variables: %q", key)
	}
}

// A plan holds for all operations with its conditions, whatever their other variables.
func TestOnePlanForManyVariables(t *testing.T) {
	t.Parallel()
	people := map[string]any{}
	for _, p := range crowd(20) {
		people[nameOf(p)] = p
	}
	y := newToy(t, setup{loaded: readings["leaves loaded"], root: values{"echo": call(func(args map[string]any) any { return args["of"] }),
		"find": call(func(args map[string]any) any { return people[args["name"].(string)] })}})
	p, _ := y.compile(t, `query($n: Int, $name: String!) { echo(of: $n) find(name: $name) { name best { age } } }`, map[string]any{"name": "x"})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			name := fmt.Sprint("person ", i)
			for range 20 {
				want(t, y.runPlan(t.Context(), p, map[string]any{"n": int64(i), "name": name}),
					fmt.Sprintf(`{"echo":%d,"find":{"name":%q,"best":{"age":%d}}}`, i, name, i))
			}
		})
	}
	wg.Wait()
	want(t, y.runPlan(t.Context(), p, map[string]any{"n": int64(-1), "name": "nobody"}), `{"echo":null,"find":null}`, "echo 1:34 of must not be negative")
}

// Introspection has no plan; __typename, and what is skipped, does not stand in its way.
func TestCompileLeavesIntrospectionAlone(t *testing.T) {
	t.Parallel()
	y := newToy(t, setup{root: family()})
	for document, planned := range map[string]bool{
		`{ __typename ann { __typename } }`:                                                     true,
		`{ __schema { queryType { name } } }`:                                                   false,
		`{ count a: __type(name: "Person") { name } }`:                                          false,
		`{ ...f } fragment f on Query { ... { __schema { queryType { name } } } }`:              false,
		`{ count __type(name: "Person") @include(if: false) { name } }`:                         true,
		`query($x: Boolean = false) { count __schema @include(if: $x) { queryType { name } } }`: true,
		`mutation { __typename }`:                                                               true,
		`subscription { tick }`:                                                                 true,
	} {
		op, variables := y.operation(t, document, nil)
		if p := y.schema.Compile(op, variables); (p != nil) != planned {
			t.Errorf("%s: plan %v", document, p)
		}
	}
}

// Fields are counted after merging, for each type that they may be selected on.
func TestFields(t *testing.T) {
	t.Parallel()
	y := newToy(t, setup{root: family()})
	for document, fields := range map[string]int{
		`{ count }`:                                          1,
		`{ ann { name age } }`:                               3,
		`{ ann { name name } ann { name } }`:                 2,
		`{ count @skip(if: true) }`:                          0,
		`{ animals { name } }`:                               3,
		`{ things { ... on Dog { name legs } __typename } }`: 6,
		`{ ann { ...f best { ...f } } } fragment f on Person { name age }`: 6,
	} {
		p, _ := y.compile(t, document, nil)
		if p.Fields() != fields {
			t.Errorf("%s: %d fields, want %d", document, p.Fields(), fields)
		}
	}
}

// A plan tells for each type all that is read of its objects, anywhere in the operation.
func TestWants(t *testing.T) {
	t.Parallel()
	y := newToy(t, setup{root: family(), change: map[string]func(*exec.Field){
		"Cat.lives": func(f *exec.Field) { f.Reads = exec.Reads{All: true} },
		"Dog.barks": func(f *exec.Field) { f.Reads = exec.Reads{Names: []string{"legs", "voice"}} },
	}})
	p, _ := y.compile(t, `{ ann { name n: name best { age } address { __typename } } animals { legs ... on Dog { barks } ... on Cat { lives } } thing { __typename } }`, nil)
	got := map[string]string{}
	for typ, reads := range p.Wants {
		slices.Sort(reads.Names)
		got[typ.Name] = fmt.Sprint(reads.All, reads.Names)
	}
	expected := map[string]string{"Query": "false [animals ann thing]", "Person": "false [address age best name]",
		"Dog": "false [legs voice]", "Cat": "true [legs]"}
	if !maps.Equal(got, expected) {
		t.Errorf("got  %v\nwant %v", got, expected)
	}
	for range p.Wants {
		break // stopping early is allowed
	}
}

// TestNewRefuses takes something away from the bindings, and wants no schema.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	y := newToy(t, setup{})
	field := func(types []*exec.Type, name, field string) *exec.Field {
		return types[slices.IndexFunc(types, func(t *exec.Type) bool { return t.Name == name })].Fields[field]
	}
	without := func(name string) func([]*exec.Type) []*exec.Type {
		return func(types []*exec.Type) []*exec.Type {
			return slices.DeleteFunc(types, func(t *exec.Type) bool { return t.Name == name })
		}
	}
	for name, e := range map[string]struct {
		change func([]*exec.Type) []*exec.Type
		err    string
	}{
		"nothing missing": {func(types []*exec.Type) []*exec.Type { return types }, ""},
		"an object type":  {without("Place"), "exec: type Place is not bound"},
		"the root":        {without("Query"), "exec: type Query is not bound"},
		"a member":        {without("Rock"), "exec: type Rock is not bound"},
		"a field": {func(types []*exec.Type) []*exec.Type {
			delete(types[slices.IndexFunc(types, func(t *exec.Type) bool { return t.Name == "Dog" })].Fields, "legs")
			return types
		}, "exec: field Dog.legs is not bound"},
		"how a leaf is read": {func(types []*exec.Type) []*exec.Type {
			field(types, "Dog", "legs").Leaf = nil
			return types
		}, "exec: field Dog.legs has nothing to be read by"},
		"how a composite is read": {func(types []*exec.Type) []*exec.Type {
			field(types, "Dog", "owner").Get = nil
			return types
		}, "exec: field Dog.owner has nothing to be read by"},
		"how a composite is spread": {func(types []*exec.Type) []*exec.Type {
			field(types, "Dog", "owner").Spread = nil
			return types
		}, "exec: field Dog.owner has nothing to be written by"},
		"how a loaded leaf is written": {func(types []*exec.Type) []*exec.Type {
			field(types, "Person", "score").Append = nil
			return types
		}, "exec: field Person.score has nothing to be written by"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if _, err := exec.New(y.ast, e.change(y.types())); err != nil {
				got = err.Error()
			}
			if got != e.err {
				t.Errorf("got  %q\nwant %q", got, e.err)
			}
		})
	}
}

// TestReuse runs very different operations one after another and side by side: no execution may leak anything of the
// one before into the next. The answers of the first runs are compared with those of later ones.
func TestReuse(t *testing.T) {
	t.Parallel()
	root := family()
	for name, v := range map[string]any{"all": crowd(300), "some": list(nil, root["ben"], nil), "maybe": nil, "count": errBroken,
		"set": call(func(args map[string]any) any { return &counter{values{"value": args["to"], "next": nil}} })} {
		root[name] = v
	}
	root["people"] = append(crowd(40), &person{values{"name": "Broken", "nick": errBroken, "best": errBroken, "age": errBroken}})
	root["must"] = &person{values{"name": boom("bang"), "age": 1}}
	deny := func(context.Context) (exec.Check, error) { return exec.Check{}, fmt.Errorf("denied") }
	y := newToy(t, setup{root: root, guards: map[string]exec.Guard{"Person.nick": deny, "Person.boss": func(context.Context) (exec.Check, error) {
		return exec.Check{Parent: func(p any) bool { return nameOf(p) != "Ben" }}, nil
	}},
		loaded: func(field string, leaf bool) bool { return !leaf || field == "Person.age" || field == "Dog.legs" }})
	type prepared struct {
		document  string
		plan      *exec.Plan
		variables map[string]any
		first     outcome
	}
	var operations []*prepared
	for _, document := range []string{
		`{ size }`, `{ __typename }`, `{ count }`, `{ all { name age best { age friends { age } } friends { name } } }`,
		`{ all { best { best { best { name } } } } }`, `{ some { name age best { name } } maybe { name } }`, `{ people { name age best { name } } }`,
		`{ must { name age } ann { name } }`, `{ things { ... on Animal { owner { age } legs } __typename } animals { legs } }`,
		`{ animals { owner { pets { legs } } } thing { ... on Rock { weight } } }`, `{ ann { nick boss { name } pets { legs name } things { __typename } } ben { boss { name } } }`,
		`{ echo(of: -1) size }`, `{ people { score(of: -1) } }`, `mutation { a: set(to: 1) { value } b: set(to: -2) { value } c: set(to: 3) { next { value } } }`,
		`{ ann { maybe { friends { name } } address { country { code } } } }`,
	} {
		p, variables := y.compile(t, document, nil)
		operations = append(operations, &prepared{document, p, variables, y.runPlan(t.Context(), p, variables)})
		if first := operations[len(operations)-1].first; !json.Valid([]byte(first.data)) {
			t.Errorf("%s: %s", document, first)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 100 {
				o := operations[random.IntN(len(operations))]
				if random.IntN(10) == 0 {
					y.runPlan(cancelled, o.plan, o.variables) // stops anywhere
					continue
				}
				want(t, y.runPlan(t.Context(), o.plan, o.variables), o.first.data, o.first.errors...)
			}
		})
	}
	wg.Wait()
	for _, o := range operations {
		// Compiled again, and so planned and run without what plans keep.
		want(t, y.run(t, o.document, nil), o.first.data, o.first.errors...)
	}
}

// The data that was returned stays as it is, whatever runs next.
func TestAnswersAreNotReused(t *testing.T) {
	t.Parallel()
	y := newToy(t, setup{root: family()})
	p, variables := y.compile(t, `{ ann { name age } }`, nil)
	ctx := y.context(t.Context())
	first, _ := y.schema.Run(ctx, p, variables)
	before := string(first)
	for range 10 {
		next, _ := y.schema.Run(ctx, p, variables)
		copy(next, "XXXXXXXXXXXX")
	}
	if string(first) != before {
		t.Errorf("%s became %s", before, first)
	}
}

// An operation that is compiled by itself has the same plan each time, in parallel too: the schema is not changed.
func TestCompileConcurrently(t *testing.T) {
	t.Parallel()
	y := newToy(t, setup{root: family()})
	op, variables := y.operation(t, `{ things { ... on Animal { owner { name } legs } __typename } ann { ...f best { ...f } } } fragment f on Person { name }`, nil)
	expected := y.runPlan(t.Context(), y.schema.Compile(op, variables), variables)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				want(t, y.runPlan(t.Context(), y.schema.Compile(op, variables), variables), expected.data)
			}
		})
	}
	wg.Wait()
}
