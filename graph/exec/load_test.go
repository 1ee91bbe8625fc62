package exec_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/graph/exec"
)

// crowd is n people, each with a friend.
func crowd(n int) []any {
	people := make([]any, n)
	for i := range people {
		friend := &person{values{"name": fmt.Sprint("friend ", i), "age": i}}
		people[i] = &person{values{"name": fmt.Sprint("person ", i), "best": friend, "friends": list(friend, friend), "age": i}}
	}
	return people
}

// TestLoadsOncePerLevel wants one call for each selected field, with the parents in the order of the answer.
func TestLoadsOncePerLevel(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			people := crowd(n)
			y := newToy(t, setup{root: values{"people": people}, loaded: readings["loaded"]})
			got := y.run(t, `{ people { name best { age } other: best { name } friends { name age } } }`, nil)
			if len(got.errors) > 0 || strings.Count(got.data, `"other":{"name":"friend `) != n {
				t.Error(got)
			}
			var friends, twice []any
			for _, p := range people {
				f := p.(*person).values["best"]
				friends, twice = append(friends, f), append(twice, f, f)
			}
			for field, calls := range map[string][][]any{
				"Person.best":    {people, people},
				"Person.friends": {people},
				"Person.age":     {friends, twice},
				"Person.name":    {people, friends, twice},
			} {
				if !slices.EqualFunc(y.loads[field], calls, slices.Equal[[]any]) {
					t.Errorf("%s was loaded %d times, for other parents or in another order", field, len(y.loads[field]))
				}
			}
		})
	}
}

// What no object is there for is not loaded, and elements that are null are nil among the parents.
func TestLoadsOfEmptyLevelsAndNullElements(t *testing.T) {
	t.Parallel()
	ann, tom := &person{values{"name": "Ann", "best": nil, "friends": list()}}, &cat{values{"name": "Tom", "legs": 3}}
	y := newToy(t, setup{root: values{"maybe": list(nil, ann, nil, ann), "animals": list(nil, tom, nil), "people": list()}, loaded: readings["loaded"]})
	want(t, y.run(t, `{ people { nick } maybe { name best { tags } friends { age } } animals { legs } }`, nil),
		`{"people":[],"maybe":[null,{"name":"Ann","best":null,"friends":[]},null,{"name":"Ann","best":null,"friends":[]}],`+
			`"animals":[null,{"legs":3},null]}`)
	if got := fmt.Sprint(len(y.loads["Person.nick"]), len(y.loads["Person.age"]), len(y.loads["Dog.legs"])); got != "0 0 0" {
		t.Errorf("loads for no parents: %s", got)
	}
	if got := y.loads["Person.name"]; len(got) != 1 || !slices.Equal(got[0], []any{nil, ann, nil, ann}) {
		t.Errorf("loaded for %v", got)
	}
	// A null of a field that is no list is no object at all; those behind an interface have no place among one of its types.
	if got := len(y.loads["Person.tags"]) + len(y.loads["Cat.legs"]) - 1; got > 1 {
		t.Errorf("%d loads", got)
	}
	if got := y.loads["Cat.legs"]; len(got) != 1 || !slices.Equal(got[0], []any{tom}) {
		t.Errorf("loaded for %v", got)
	}
}

// guarded counts how often a guard is asked, and for which parents and results.
type guarded struct {
	asked, parents, results atomic.Int64
}

func (g *guarded) guard(check exec.Check, err error) exec.Guard {
	return func(context.Context) (exec.Check, error) {
		g.asked.Add(1)
		var counted exec.Check
		if check.Parent != nil {
			counted.Parent = func(p any) bool { g.parents.Add(1); return check.Parent(p) }
		}
		if check.Result != nil {
			counted.Result = func(v any) (any, error) { g.results.Add(1); return check.Result(v) }
		}
		return counted, err
	}
}

func (g *guarded) counts() [3]int64 {
	return [3]int64{g.asked.Load(), g.parents.Load(), g.results.Load()}
}

func nameOf(o any) string { return o.(interface{ get(string) any }).get("name").(string) }

// TestGuards follows a guard of each kind on fields of each kind, read in each way: it is asked once an operation, looks
// at each parent and at each result, and what it refuses is null.
func TestGuards(t *testing.T) {
	t.Parallel()
	deny := errors.New("denied")
	notBen := func(o any) bool { return nameOf(o) != "Ben" }
	root := values{"people": list(
		&person{values{"name": "Ann", "nick": "A", "best": &person{values{"name": "Ann's"}}, "pet": &dog{values{"name": "Rex"}}, "maybe": list()}},
		&person{values{"name": "Ben", "nick": "B", "best": &person{values{"name": "Ben's"}}, "pet": &dog{values{"name": "Bix"}}, "maybe": list()}},
		&person{values{"name": "Cleo", "best": nil}},
	)}
	hide := func(name string) func(any) (any, error) {
		return func(v any) (any, error) {
			if nameOf(v) == name {
				return nil, nil
			}
			return v, nil
		}
	}
	fail := func(v any) (any, error) { return v, fmt.Errorf("no %s", nameOf(v)) }
	for _, e := range []struct {
		name, field, document string
		check                 exec.Check
		err                   error
		data                  string
		errors                []string
		counts                [3]int64
	}{
		{"a leaf for nobody", "nick", `{ people { name nick } }`, exec.Check{}, deny,
			`{"people":[{"name":"Ann","nick":null},{"name":"Ben","nick":null},{"name":"Cleo","nick":null}]}`,
			[]string{"people[0].nick 1:17 denied", "people[1].nick 1:17 denied", "people[2].nick 1:17 denied"}, [3]int64{1, 0, 0}},
		{"a leaf for everybody", "nick", `{ people { nick } }`, exec.Check{}, nil, `{"people":[{"nick":"A"},{"nick":"B"},{"nick":null}]}`, nil, [3]int64{1, 0, 0}},
		{"a leaf of some parents", "nick", `{ people { nick } }`, exec.Check{Parent: notBen}, nil,
			`{"people":[{"nick":"A"},{"nick":null},{"nick":null}]}`, nil, [3]int64{1, 3, 0}},
		{"a composite for nobody", "best", `{ people { best { name } } }`, exec.Check{}, deny, `{"people":[{"best":null},{"best":null},{"best":null}]}`,
			[]string{"people[0].best 1:12 denied", "people[1].best 1:12 denied", "people[2].best 1:12 denied"}, [3]int64{1, 0, 0}},
		{"a composite of some parents", "best", `{ people { best { name } } }`, exec.Check{Parent: notBen}, nil,
			`{"people":[{"best":{"name":"Ann's"}},{"best":null},{"best":null}]}`, nil, [3]int64{1, 3, 0}},
		{"some composites", "best", `{ people { best { name } } }`, exec.Check{Result: hide("Ann's")}, nil,
			`{"people":[{"best":null},{"best":{"name":"Ben's"}},{"best":null}]}`, nil, [3]int64{1, 0, 2}},
		{"parents and results", "best", `{ people { best { name } } }`, exec.Check{Parent: notBen, Result: fail}, nil,
			`{"people":[{"best":null},{"best":null},{"best":null}]}`, []string{"people[0].best 1:12 no Ann's"}, [3]int64{1, 3, 1}},
		{"behind an interface", "pet", `{ people { pet { name } } }`, exec.Check{Parent: notBen, Result: hide("Rex")}, nil,
			`{"people":[{"pet":null},{"pet":null},{"pet":null}]}`, nil, [3]int64{1, 3, 1}},
		{"what may not be null", "boss", `{ people { boss { name } } }`, exec.Check{Parent: func(any) bool { return false }}, nil, `null`,
			[]string{"people[0].boss 1:12 must not be null", "people[1].boss 1:12 must not be null", "people[2].boss 1:12 must not be null"}, [3]int64{1, 3, 0}},
		{"under two aliases", "best", `{ people { a: best { name } b: best { name } } }`, exec.Check{}, nil,
			`{"people":[{"a":{"name":"Ann's"},"b":{"name":"Ann's"}},{"a":{"name":"Ben's"},"b":{"name":"Ben's"}},{"a":null,"b":null}]}`, nil, [3]int64{1, 0, 0}},
		{"without a selection", "best", `{ people { name } }`, exec.Check{}, deny, `{"people":[{"name":"Ann"},{"name":"Ben"},{"name":"Cleo"}]}`, nil, [3]int64{}},
	} {
		for name, reading := range readings {
			t.Run(e.name+"/"+name, func(t *testing.T) {
				var g guarded
				y := newToy(t, setup{root: root, loaded: reading, guards: map[string]exec.Guard{"Person." + e.field: g.guard(e.check, e.err)}})
				want(t, y.run(t, e.document, nil), e.data, e.errors...)
				if got := g.counts(); got != e.counts {
					t.Errorf("the guard was asked, with parents, with results: %v times, want %v", got, e.counts)
				}
			})
		}
	}
}

// A result of a leaf can be judged if it was loaded. A leaf that its object holds is written without ever being a value:
// it is refused if its guard wants to see that.
func TestGuardOfALeafsResult(t *testing.T) {
	t.Parallel()
	guards := map[string]exec.Guard{"Person.nick": func(context.Context) (exec.Check, error) {
		return exec.Check{Result: func(v any) (any, error) { return v.(string) + "!", nil }}, nil
	}}
	root := values{"ann": &person{values{"name": "Ann", "nick": "A"}}}
	y := newToy(t, setup{root: root, guards: guards, loaded: readings["loaded"]})
	want(t, y.run(t, `{ ann { nick } }`, nil), `{"ann":{"nick":"A!"}}`)
	y = newToy(t, setup{root: root, guards: guards})
	want(t, y.run(t, `{ ann { name nick } }`, nil), `{"ann":{"name":"Ann","nick":null}}`, "ann.nick 1:14 exec: a guard can not judge a leaf that its object holds")
}

// Parents that a check refuses are nil for the loader, which does not see others of theirs.
func TestRefusedParentsAreNilToTheLoader(t *testing.T) {
	t.Parallel()
	people := crowd(3)
	y := newToy(t, setup{root: values{"people": people}, loaded: readings["loaded"], guards: map[string]exec.Guard{
		"Person.age": func(context.Context) (exec.Check, error) {
			return exec.Check{Parent: func(o any) bool { return o != people[1] }}, nil
		}}})
	want(t, y.run(t, `{ people { age name } }`, nil),
		`{"people":[{"age":0,"name":"person 0"},{"age":null,"name":"person 1"},{"age":2,"name":"person 2"}]}`)
	if got := y.loads["Person.age"]; len(got) != 1 || !slices.Equal(got[0], []any{people[0], nil, people[2]}) {
		t.Errorf("loaded for %v", got)
	}
	if got := y.loads["Person.name"]; len(got) != 1 || !slices.Equal(got[0], people) {
		t.Errorf("the other field was loaded for %v", got)
	}
}

// Root fields have no parent: a check that refuses nil refuses them, and their resolver is not called.
func TestGuardsOfRootFields(t *testing.T) {
	t.Parallel()
	ann := &person{values{"name": "Ann"}}
	deny := errors.New("denied")
	for _, e := range []struct {
		name   string
		check  exec.Check
		err    error
		data   string
		errors []string
		called bool
	}{
		{"for everybody", exec.Check{}, nil, `{"ann":{"name":"Ann"},"size":1}`, nil, true},
		{"for nobody", exec.Check{}, deny, `{"ann":null,"size":1}`, []string{"ann 1:3 denied"}, false},
		{"by a parent that is not there", exec.Check{Parent: func(p any) bool { return p != nil }}, nil, `{"ann":null,"size":1}`, nil, false},
		{"by a parent of any kind", exec.Check{Parent: func(any) bool { return true }}, nil, `{"ann":{"name":"Ann"},"size":1}`, nil, true},
		{"a result that is hidden", exec.Check{Result: func(any) (any, error) { return nil, nil }}, nil, `{"ann":null,"size":1}`, nil, true},
		{"a result that fails", exec.Check{Result: func(any) (any, error) { return ann, deny }}, nil, `{"ann":null,"size":1}`, []string{"ann 1:3 denied"}, true},
		{"another result", exec.Check{Result: func(any) (any, error) { return &person{values{"name": "X"}}, nil }}, nil, `{"ann":{"name":"X"},"size":1}`, nil, true},
	} {
		t.Run(e.name, func(t *testing.T) {
			called := false
			var g guarded
			y := newToy(t, setup{guards: map[string]exec.Guard{"Query.ann": g.guard(e.check, e.err)},
				root: values{"size": 1, "ann": call(func(map[string]any) any { called = true; return ann })}})
			want(t, y.run(t, `{ ann { name } size }`, nil), e.data, e.errors...)
			if called != e.called || g.asked.Load() != 1 {
				t.Errorf("resolver called: %v, guard asked %d times", called, g.asked.Load())
			}
		})
	}
}

// An error that is the same for all places, as a guard's is, has the path of each: gqlgen writes paths into errors of its
// own kind.
func TestSharedErrors(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]error{"plain": errors.New("denied"), "of gqlgen": gqlerror.Errorf("denied"),
		"wrapped": fmt.Errorf("%w", errors.New("denied"))} {
		t.Run(name, func(t *testing.T) {
			y := newToy(t, setup{root: values{"people": crowd(2)}, guards: map[string]exec.Guard{
				"Person.best": func(context.Context) (exec.Check, error) { return exec.Check{}, shared }}})
			for range 2 {
				want(t, y.run(t, `{ people { best { name } b: best { name } } }`, nil), `{"people":[{"best":null,"b":null},{"best":null,"b":null}]}`,
					"people[0].best 1:12 denied", "people[0].b 1:26 denied", "people[1].best 1:12 denied", "people[1].b 1:26 denied")
			}
		})
	}
}

// A pointer that is nil is null, however it is wrapped.
func TestTypedNils(t *testing.T) {
	t.Parallel()
	var nobody *person
	var nothing *dog
	nodes := func(objects []any, v any) ([]any, bool) { return exec.Interfaces(objects, v.([]any), true) }
	one := func(objects []any, v any) ([]any, bool) { return exec.One(objects, v.(*person)) }
	change := map[string]func(*exec.Field){
		"Query.animals": func(f *exec.Field) { f.Spread = nodes }, "Person.pets": func(f *exec.Field) { f.Spread = nodes },
		"Query.ann": func(f *exec.Field) { f.Spread = one }, "Person.best": func(f *exec.Field) { f.Spread = one },
	}
	ben := &person{values{"name": "Ben", "best": nobody, "pet": nothing, "thing": nothing, "pets": list(nothing, &cat{values{"name": "Tom"}}),
		"things": list(nothing)}}
	for name, reading := range readings {
		t.Run(name, func(t *testing.T) {
			y := newToy(t, setup{root: values{"ann": nobody, "ben": ben, "animal": nothing, "animals": list(nothing, nil)}, loaded: reading, change: change})
			want(t, y.run(t, `{ ann { name } animal { name } animals { name }
				ben { best { name } pet { name } thing { __typename } pets { name } name things { __typename } } }`, nil),
				`{"ann":null,"animal":null,"animals":[null,null],"ben":{"best":null,"pet":null,"thing":null,"pets":[null,{"name":"Tom"}],"name":"Ben","things":null}}`,
				"ben.things[0] - must not be null")
		})
	}
}
