package exec_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"emporium/graph/exec"
)

// The root fields of a query may be executed side by side (6.2.1, 6.3.1), which loads them in the time of the slowest:
// here each waits for all the others.
func TestRootFieldsOfAQueryRunSideBySide(t *testing.T) {
	t.Parallel()
	var met sync.WaitGroup
	met.Add(3)
	meet := func(v any) call {
		return func(map[string]any) any {
			met.Done()
			all := make(chan struct{})
			go func() { met.Wait(); close(all) }()
			select {
			case <-all:
				return v
			case <-time.After(10 * time.Second):
				return fmt.Errorf("the others do not come")
			}
		}
	}
	y := newToy(t, setup{root: values{"size": meet(1), "count": meet(errBroken), "ann": meet(&person{values{"name": "Ann"}})}})
	want(t, y.run(t, `{ size ann { name } __typename count }`, nil), `{"size":1,"ann":{"name":"Ann"},"__typename":"Query","count":null}`,
		"count 1:32 broken")
}

// The fields of a mutation are executed one after another in the order of the document, each with all that is selected
// on it before the next begins (6.2.2, 6.3.1).
func TestMutationsRunSerially(t *testing.T) {
	t.Parallel()
	for name, reading := range readings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log []string
			var state int
			shared := &counter{}
			shared.values = values{"next": shared, "value": call(func(map[string]any) any {
				log = append(log, fmt.Sprint("read ", state))
				return state
			})}
			set := call(func(args map[string]any) any {
				log = append(log, fmt.Sprint("set ", args["to"]))
				if state = args["to"].(int); state == 13 {
					return errBroken
				}
				return shared
			})
			y := newToy(t, setup{root: values{"set": set, "mustSet": set}, loaded: reading})
			run := func(document, data string, events []string, errors ...string) {
				t.Helper()
				log = nil
				want(t, y.run(t, document, nil), data, errors...)
				if !slices.Equal(log, events) {
					t.Errorf("%s\ngot  %q\nwant %q", document, log, events)
				}
			}
			run(`mutation { a: set(to: 1) { value } b: set(to: 3) { next { value } } c: set(to: 2) { value } }`,
				`{"a":{"value":1},"b":{"next":{"value":3}},"c":{"value":2}}`,
				[]string{"set 1", "read 1", "set 3", "read 3", "set 2", "read 2"})
			run(`mutation { __typename b: set(to: 5) { value } t: __typename ...f } fragment f on Mutation { a: set(to: 4) { value __typename } }`,
				`{"__typename":"Mutation","b":{"value":5},"t":"Mutation","a":{"value":4,"__typename":"Counter"}}`,
				[]string{"set 5", "read 5", "set 4", "read 4"})
			// One that fails does not stop the next, not even where it takes all data with it (6.4.4).
			run(`mutation { a: set(to: 1) { value } b: set(to: 13) { value } c: set(to: -1) { value } d: set(to: 2) { value } }`,
				`{"a":{"value":1},"b":null,"c":null,"d":{"value":2}}`, []string{"set 1", "read 1", "set 13", "set 2", "read 2"},
				"b 1:36 broken", "c 1:61 to must not be negative")
			run(`mutation { a: set(to: 1) { value } b: mustSet(to: 13) { value } d: set(to: 2) { value } }`,
				`null`, []string{"set 1", "read 1", "set 13", "set 2", "read 2"}, "b 1:36 broken")
		})
	}
}

// A merged mutation field is executed once (6.3.2).
func TestMergedMutationRunsOnce(t *testing.T) {
	t.Parallel()
	calls := 0
	y := newToy(t, setup{root: values{"set": call(func(args map[string]any) any {
		calls++
		return &counter{values{"value": args["to"], "next": &counter{values{"value": 0}}}}
	})}})
	want(t, y.run(t, `mutation { set(to: 1) { value } set(to: 1) { next { value } } }`, nil), `{"set":{"value":1,"next":{"value":0}}}`)
	if calls != 1 {
		t.Errorf("it ran %d times", calls)
	}
}

// TestArguments follows 6.4.1: literals, variables, defaults of the one and the other, and null, which is not the same as
// nothing.
func TestArguments(t *testing.T) {
	t.Parallel()
	var got []map[string]any
	spy := call(func(args map[string]any) any { got = append(got, args); return len(got) })
	y := newToy(t, setup{root: values{"echo": spy, "ann": &person{values{"score": spy}}}})
	for _, e := range []struct {
		name, arguments string
		declared        string
		variables       map[string]any
		want            map[string]any
	}{
		{"the default", ``, ``, nil, map[string]any{"of": 1}},
		{"a literal", `(of: 5, by: "x")`, ``, nil, map[string]any{"of": 5, "by": "x"}},
		{"null instead of the default", `(of: null)`, ``, nil, map[string]any{"of": nil}},
		{"a variable", `(of: $n, by: $s)`, `($n: Int, $s: String)`, map[string]any{"n": 3, "s": "y"}, map[string]any{"of": 3, "by": "y"}},
		{"a variable that is null", `(of: $n)`, `($n: Int)`, map[string]any{"n": nil}, map[string]any{"of": nil}},
		{"a variable that is not given leaves the default", `(of: $n, by: $s)`, `($n: Int, $s: String)`, nil, map[string]any{"of": 1}},
		{"the default of a variable", `(of: $n)`, `($n: Int = 8)`, nil, map[string]any{"of": 8}},
		{"a list", `(times: [1, 2])`, ``, nil, map[string]any{"of": 1, "times": []any{int64(1), int64(2)}}},
		{"a list with a variable", `(times: [1, $n])`, `($n: Int!)`, map[string]any{"n": 2}, map[string]any{"of": 1, "times": []any{int64(1), 2}}},
		{"an object", `(as: {base: 2, unit: "m"})`, ``, nil, map[string]any{"of": 1, "as": map[string]any{"base": int64(2), "unit": "m"}}},
		{"an object with a variable that is not given", `(as: {base: 2, unit: $s})`, `($s: String)`, nil,
			map[string]any{"of": 1, "as": map[string]any{"base": int64(2)}}},
	} {
		t.Run(e.name, func(t *testing.T) {
			got = nil
			variables := map[string]any{}
			for k, v := range e.variables {
				if n, ok := v.(int); ok {
					v = int64(n) // as it is decoded from JSON
				}
				variables[k] = v
			}
			want(t, y.run(t, "query"+e.declared+" { echo"+e.arguments+" }", variables), `{"echo":1}`)
			if len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(e.want) {
				t.Errorf("got  %v\nwant %v", got, e.want)
			}
		})
	}
	t.Run("the same field with others under aliases", func(t *testing.T) {
		y := newToy(t, setup{root: values{"ann": &person{values{"score": call(func(args map[string]any) any { return args["of"] })}}}})
		want(t, y.run(t, `query($n: Int = 3) { ann { a: score(of: 1) b: score(of: $n) score } }`, nil), `{"ann":{"a":1,"b":3,"score":7}}`)
		if n := len(y.loads["Person.score"]); n != 3 {
			t.Errorf("loaded %d times", n)
		}
	})
}

// A wrong argument is an error of its field, at every place (6.4.1). Neither resolver nor guard come to a word.
func TestWrongArgument(t *testing.T) {
	t.Parallel()
	never := call(func(map[string]any) any { return boom("it was executed") })
	deny := func(context.Context) (exec.Check, error) { return exec.Check{}, fmt.Errorf("denied") }
	y := newToy(t, setup{
		root: values{"echo": never, "size": 4, "people": list(&person{values{"name": "A", "score": never}}, &person{values{"name": "B", "score": never}}),
			"set": never},
		guards: map[string]exec.Guard{"Query.echo": deny, "Person.score": deny},
	})
	want(t, y.run(t, `query($n: Int) { echo(of: $n) size people { name score(of: $n) } }`, map[string]any{"n": int64(-1)}),
		`{"echo":null,"size":4,"people":[{"name":"A","score":null},{"name":"B","score":null}]}`,
		"echo 1:18 of must not be negative", "people[0].score 1:50 of must not be negative", "people[1].score 1:50 of must not be negative")
	want(t, y.run(t, `mutation { a: set(to: -1) { value } t: __typename }`, nil), `{"a":null,"t":"Mutation"}`, "a 1:12 to must not be negative")
	if len(y.panics)+len(y.loads) > 0 {
		t.Errorf("%d panics, loads %v", len(y.panics), y.loads)
	}
}
