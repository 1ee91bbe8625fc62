package exec_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"emporium/graph/exec"
)

// explode is a field's function of any kind that panics when it comes to Ben, or to what is his.
func explode(o any) {
	if v, ok := o.(interface{ get(string) any }); ok && v.get("explosive") == true {
		panic("bang")
	}
}

// TestPanics lets everything that a field is made of panic. Only that field is null, at that parent if it is read one by
// one, everything else is written, and the stack comes to the recover function.
func TestPanics(t *testing.T) {
	t.Parallel()
	one := func(name string) *person {
		explosive := name == "Ben"
		return &person{values{"name": name, "explosive": explosive, "nick": name,
			"best": &person{values{"name": name, "explosive": explosive}}, "pet": &dog{values{"name": name, "explosive": explosive}}}}
	}
	root := values{"people": list(one("Ann"), one("Ben"), one("Cleo")), "size": 4}
	bang := func(context.Context, map[string]any) (map[string]any, error) { panic("bang") }
	leaf := func(f *exec.Field) {
		if f.Leaf != nil {
			read := f.Leaf
			f.Leaf = func(b []byte, o any) ([]byte, bool) { b, ok := read(b, o); explode(o); return b, ok }
			return
		}
		load := f.Load
		f.Load = func(ctx context.Context, parents []any, args map[string]any, results []exec.Result) {
			load(ctx, parents, args, results)
			for _, p := range parents {
				explode(p)
			}
		}
	}
	composite := func(f *exec.Field) {
		if f.Get != nil {
			read := f.Get
			f.Get = func(o any) any { explode(o); return read(o) }
			return
		}
		leaf(f)
	}
	spread := func(f *exec.Field) {
		spread := f.Spread
		f.Spread = func(objects []any, v any) ([]any, bool) {
			objects, ok := spread(objects, v)
			for _, o := range objects {
				explode(o)
			}
			return objects, ok
		}
	}
	written := func(f *exec.Field) {
		if f.Leaf != nil {
			leaf(f)
			return
		}
		write := f.Append
		f.Append = func(b []byte, v any) ([]byte, bool) {
			b, ok := write(b, v)
			if v == "Ben" {
				panic("bang")
			}
			return b, ok
		}
	}
	checks := func(check exec.Check) exec.Guard {
		return func(context.Context) (exec.Check, error) { return check, nil }
	}
	parent := checks(exec.Check{Parent: func(p any) bool { explode(p); return true }})
	result := checks(exec.Check{Result: func(v any) (any, error) { explode(v); return v, nil }})
	for _, e := range []struct {
		name, field, selection string
		change                 func(*exec.Field)
		guard                  exec.Guard
		shared                 bool // among all parents
		sharedIfLoaded         bool
	}{
		{name: "leaf, load", field: "nick", change: leaf, sharedIfLoaded: true},
		{name: "get, load", field: "best", selection: "{ name }", change: composite, sharedIfLoaded: true},
		{name: "spread", field: "best", selection: "{ name }", change: spread},
		{name: "spread behind an interface", field: "pet", selection: "{ name }", change: spread},
		{name: "append", field: "nick", change: written},
		{name: "guard", field: "best", selection: "{ name }", guard: func(context.Context) (exec.Check, error) { panic("bang") }, shared: true},
		{name: "guard of a leaf", field: "nick", guard: func(context.Context) (exec.Check, error) { panic("bang") }, shared: true},
		{name: "check of the parent", field: "best", selection: "{ name }", guard: parent},
		{name: "check of a leaf's parent", field: "nick", guard: parent},
		{name: "check of the result", field: "best", selection: "{ name }", guard: result},
		{name: "arguments", field: "score", change: func(f *exec.Field) { f.Args = bang }, shared: true},
	} {
		for name, reading := range readings {
			t.Run(e.name+"/"+name, func(t *testing.T) {
				y := newToy(t, setup{root: root, loaded: reading, change: map[string]func(*exec.Field){"Person." + e.field: e.change},
					guards: map[string]exec.Guard{"Person." + e.field: e.guard}})
				shared := e.shared || e.sharedIfLoaded && reading != nil && reading("", e.selection == "")
				var people, errors []string
				for i, name := range []string{"Ann", "Ben", "Cleo"} {
					value := "null"
					switch {
					case name == "Ben" || shared:
						errors = append(errors, fmt.Sprintf("people[%d].%s 1:17 panic: bang", i, e.field))
					case e.selection == "":
						value = fmt.Sprintf("%q", name)
					default:
						value = fmt.Sprintf(`{"name":%q}`, name)
					}
					people = append(people, fmt.Sprintf(`{"name":%q,%q:%s}`, name, e.field, value))
				}
				want(t, y.run(t, "{ people { name "+e.field+e.selection+" } size }", nil),
					`{"people":[`+strings.Join(people, ",")+`],"size":4}`, errors...)
				for _, p := range y.panics {
					if p.Value != "bang" || !strings.Contains(string(p.Stack), "panic_test.go") {
						t.Errorf("recovered %v\n%s", p.Value, p.Stack)
					}
				}
			})
		}
	}
}

// A resolver of the root that panics takes its field alone, wherever it runs.
func TestPanicsOfRootFields(t *testing.T) {
	t.Parallel()
	bang := func(context.Context, map[string]any) (map[string]any, error) { panic("bang") }
	y := newToy(t, setup{root: values{"ann": boom("bang"), "count": boom("bang"), "size": 4, "echo": 1, "set": boom("bang"), "must": boom("bang")},
		change: map[string]func(*exec.Field){"Query.echo": func(f *exec.Field) { f.Args = bang }}})
	want(t, y.run(t, `{ ann { name } size count }`, nil), `{"ann":null,"size":4,"count":null}`, "ann 1:3 panic: bang", "count 1:21 panic: bang")
	want(t, y.run(t, `{ size must { name } ann { name } }`, nil), `null`, "must 1:8 panic: bang", "ann 1:22 panic: bang")
	want(t, y.run(t, `{ size echo }`, nil), `{"size":4,"echo":null}`, "echo 1:8 panic: bang")
	want(t, y.run(t, `mutation { set(to: 1) { value } b: set(to: 1) { value } }`, nil), `{"set":null,"b":null}`, "set 1:12 panic: bang", "b 1:33 panic: bang")
	for _, check := range []exec.Check{
		{Parent: func(p any) bool { return p.(*person) != nil }},
		{Result: func(any) (any, error) { panic("bang") }},
	} {
		y := newToy(t, setup{root: family(), guards: map[string]exec.Guard{"Query.ann": func(context.Context) (exec.Check, error) { return check, nil }}})
		got := y.run(t, `{ ann { name } size }`, nil)
		if got.data != `{"ann":null,"size":4}` || len(got.errors) != 1 || len(y.panics) != 1 {
			t.Error(got)
		}
	}
}

// A number that does not fit makes gqlparser panic, and clients send what they like. The other root fields are finished
// before the execution is used for another operation.
func TestArgumentThatOverflows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		finished := false
		y := newToy(t, setup{root: values{"echo": 1, "size": call(func(map[string]any) any {
			time.Sleep(time.Second) // of the bubble's clock: until everybody else waits
			finished = true
			return 4
		})}})
		got := y.run(t, `{ size echo(big: 99999999999999999999) }`, nil)
		if got.data != `{"size":4,"echo":null}` || len(got.errors) != 1 || !finished {
			t.Error(got)
		}
	})
}

// After a panic all is written again with care: once, whatever was written, failed or null before.
func TestPanicAfterOtherFailures(t *testing.T) {
	t.Parallel()
	loaded := func(field string, _ bool) bool { return field == "Person.age" }
	y := newToy(t, setup{loaded: loaded, root: values{"size": 1, "people": list(
		&person{values{"name": "Ann", "age": errBroken, "maybe": list(nil, &person{values{"name": nil}}, &person{values{"name": "x", "nick": boom("1")}})}},
		&person{values{"name": "Ben", "nick": boom("2"), "maybe": list(&person{values{"nick": "y", "name": boom("3")}}), "home": boom("4")}},
		&person{values{"name": "Cleo", "age": errBroken, "best": &person{values{"boss": boom("5"), "name": "z"}}}},
	)}})
	want(t, y.run(t, `{ people { name age maybe { nick name } home { city } nick best { boss { name } name } t: name } size }`, nil),
		`{"people":[{"name":"Ann","age":null,"maybe":[null,null,{"nick":null,"name":"x"}],"home":null,"nick":null,"best":null,"t":"Ann"},`+
			`{"name":"Ben","age":null,"maybe":[null],"home":null,"nick":null,"best":null,"t":"Ben"},`+
			`{"name":"Cleo","age":null,"maybe":null,"home":null,"nick":null,"best":null,"t":"Cleo"}],"size":1}`,
		"people[0].age 1:17 broken", "people[0].maybe[1].name 1:34 must not be null", "people[0].maybe[2].nick 1:29 panic: 1",
		"people[1].maybe[0].name 1:34 panic: 3", "people[1].home 1:41 panic: 4", "people[1].nick 1:55 panic: 2",
		"people[2].age 1:17 broken", "people[2].best.boss 1:67 panic: 5")
}

// What is no member of an interface or union is a bug of whoever made it: the field is null.
func TestObjectThatIsNoMember(t *testing.T) {
	t.Parallel()
	for name, reading := range readings {
		t.Run(name, func(t *testing.T) {
			y := newToy(t, setup{loaded: reading, root: values{"size": 1, "animals": list(&dog{values{"name": "Rex"}}, &rock{}),
				"ann": &person{values{"pet": &rock{}, "name": "Ann", "pets": list(&dog{values{"name": "Rex"}}, &rock{}, nil)}}, "ben": &person{values{"pets": list(&dog{values{"name": "Rex"}})}}}})
			want(t, y.run(t, `{ size animals { name } ann { pet { name } pets { name } name } ben { pets { name } } }`, nil),
				`{"size":1,"animals":null,"ann":{"pet":null,"pets":null,"name":"Ann"},"ben":{"pets":[{"name":"Rex"}]}}`,
				"animals 1:8 panic: exec: *exec_test.rock is no member of Animal", "ann.pet 1:31 panic: exec: *exec_test.rock is no member of Animal",
				"ann.pets 1:44 panic: exec: *exec_test.rock is no member of Animal")
		})
	}
}

// TestDeadline cancels an operation while its answer is written, when nothing else looks at the context any more.
func TestDeadline(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for _, e := range []struct {
		name, document, data, err string
		others                    []string
	}{
		{"in a list", `{ size maybe { name } }`, `{"size":4,"maybe":[`, "maybe[%d] 1:8 context canceled", nil},
		{"in a list that may have no null", `{ size all { name } }`, `{"size":4,"all":null}`, "all[%d] 1:8 context canceled", nil},
		{"in data that may not be null", `{ size people { name } }`, `null`, "people[%d] 1:8 context canceled", nil},
		{"below a list", `{ size maybe { name best { name } } }`, `{"size":4,"maybe":[`, "maybe[%d].best 1:21 context canceled", nil},
		{"before a panic", `{ size ben { maybe { name } nick } }`, `{"size":4,"ben":{"maybe":[`, "ben.maybe[%d] 1:14 context canceled",
			[]string{"ben.nick 1:29 panic: bang"}},
	} {
		t.Run(e.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			read, last := 0, 0
			friend := &person{values{"name": "friend"}}
			one := &person{values{"best": friend, "name": call(func(map[string]any) any {
				if read++; read == n/2 {
					cancel()
					last = read
				}
				return "x"
			})}}
			people := make([]any, n)
			for i := range people {
				people[i] = one
			}
			y := newToy(t, setup{root: values{"maybe": people, "people": people, "all": people, "size": 4,
				"ben": &person{values{"maybe": people, "nick": boom("bang")}}}})
			p, variables := y.compile(t, e.document, nil)
			got := y.runPlan(ctx, p, variables)
			if !strings.HasPrefix(got.data, e.data) || len(got.errors) == 0 {
				t.Fatalf("%.100s… %v", got.data, got.errors)
			}
			var at int
			if _, err := fmt.Sscanf(got.errors[0], e.err, &at); err != nil || !slices.Equal(got.errors[1:], e.others) {
				t.Errorf("errors: %q, %v", got.errors, err)
			}
			if rest := read - last; rest > 1000 {
				t.Errorf("it went on for %d objects", rest)
			}
		})
	}
}
