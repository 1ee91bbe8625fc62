package exec

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// Run executes a plan and returns the answer's data, and its cost: an object counts one, a field its weight. Errors go to the response that the context carries, as those of
// gqlgen's executor do. The variables are those of the operation, coerced.
func (s *Schema) Run(ctx context.Context, p *Plan, variables map[string]any) (data []byte, cost int) {
	data, cost, _ = s.run(ctx, p, variables, nil)
	return data, cost
}

// RunEvent is Run of a subscription for one of its events. It also reports whether the event has come through: after one
// that the guard has kept back there is nothing more for the viewer.
func (s *Schema) RunEvent(ctx context.Context, p *Plan, variables map[string]any, event any) (data []byte, cost int, came bool) {
	return s.run(ctx, p, variables, event)
}

// Subscribe returns the events of a subscription's plan. An error goes to the response that the context carries; there
// are no events then.
func (s *Schema) Subscribe(ctx context.Context, p *Plan, variables map[string]any) (events Events) {
	x := &execution{schema: s, plan: p, ctx: ctx, variables: variables}
	x.grow()
	if len(p.root.deep) == 0 { // all of it is skipped, or __typename
		return func(context.Context) (any, error) { return nil, io.EOF }
	}
	f := p.root.deep[0]
	defer x.report()
	defer caught(func(err error) { events = nil; x.fail(f, err) })
	err := s.Permitted(ctx, p)
	if err == nil {
		v := &x.values[f.id]
		v.results = make([]Result, 1)
		if args, ok := x.arguments(f, v); !ok {
			err = wrongArguments{}
		} else {
			events, err = f.def.Source(ctx, args)
		}
	}
	if err != nil {
		x.fail(f, err)
		return nil
	}
	return events
}

// Permitted asks the guard of a subscription whether the viewer may still have it.
func (s *Schema) Permitted(ctx context.Context, p *Plan) error {
	if len(p.root.deep) == 0 || p.root.deep[0].guard < 0 {
		return nil
	}
	return ask(ctx, p.root.deep[0].def.Guard).err
}

func (s *Schema) run(ctx context.Context, p *Plan, variables map[string]any, event any) (data []byte, cost int, came bool) {
	x := pool.Get().(*execution)
	defer x.release()
	x.schema, x.plan, x.ctx, x.variables, x.event = s, p, ctx, variables, event
	x.grow()
	x.decide()
	x.begin()
	for _, st := range p.stages {
		x.resolveRoots(st.roots)
		x.load(st.levels)
		x.write(st.fields)
	}
	data, cost = x.end(), x.written+x.weight
	if deep := p.root.deep; len(deep) > 0 && deep[0].def.Source != nil {
		v := &x.values[deep[0].id]
		came = v.results[0].Err == nil && v.results[0].Value != nil && (deep[0].def.Spread == nil || v.children[0].from >= 0)
	}
	x.report()
	return data, cost, came
}

// execution is one run of a plan. It is reused.
type execution struct {
	schema    *Schema
	plan      *Plan
	ctx       context.Context
	variables map[string]any
	event     any // of a subscription

	objects   [][]any // by selection
	values    []values
	decisions []decision // by guard

	buffer   []byte
	stack    []any // elements of lists that are being written
	path     []step
	failures []failure
	careful  bool // each leaf is written under a recover of its own
	written  int  // objects
	weight   int  // of the fields
	void     bool // data is null
	stopped  error
}

var pool = sync.Pool{New: func() any { return new(execution) }}

// values are what a field has for each object of its selection.
type values struct {
	results  []Result
	children []run    // of composites: where the objects are in the selection below
	elements []target // of interfaces and unions: which object of which selection each element of children is
	refused  bool     // the arguments are wrong, which every parent is told
}

// run is a part of a list; from is -1 for null.
type run struct{ from, to int }

// target is an object behind an interface or union; sel is nil for null.
type target struct {
	sel *selection
	at  int
}

type decision struct {
	check Check
	err   error
}

func (x *execution) grow() {
	for len(x.objects) < x.plan.objects {
		x.objects = append(x.objects, nil)
	}
	for len(x.values) < x.plan.values {
		x.values = append(x.values, values{})
	}
}

// release forgets the objects, so that they are not kept alive, but not the room for them.
func (x *execution) release() {
	for i := range x.objects {
		clear(x.objects[i])
		if x.objects[i] = x.objects[i][:0]; cap(x.objects[i]) > maxRoom {
			x.objects[i] = nil
		}
	}
	for i := range x.values {
		v := &x.values[i]
		if cap(v.results) > maxRoom || cap(v.children) > maxRoom || cap(v.elements) > maxRoom {
			*v = values{}
			continue
		}
		clear(v.results)
		clear(v.elements)
		*v = values{results: v.results[:0], children: v.children[:0], elements: v.elements[:0]}
	}
	clear(x.stack[:cap(x.stack)])
	clear(x.failures[:cap(x.failures)])
	clear(x.path[:cap(x.path)])
	clear(x.decisions)
	*x = execution{objects: x.objects, values: x.values, decisions: x.decisions[:0], stack: x.stack[:0], path: x.path[:0],
		failures: x.failures[:0]}
	if len(x.objects) <= maxKept && len(x.values) <= maxKept && cap(x.stack) <= maxRoom && cap(x.failures) <= maxRoom {
		pool.Put(x)
	}
}

// These bound what stays in the pool after an unusually large operation.
const (
	maxKept = 1000 // selections, fields
	maxRoom = 4096 // elements of the stack, errors, and objects of one selection
)

// decide asks the guards of all selected fields.
func (x *execution) decide() {
	for _, f := range x.plan.guarded {
		x.decisions = append(x.decisions, ask(x.ctx, f.def.Guard))
	}
}

func ask(ctx context.Context, guard Guard) (d decision) {
	defer caught(func(err error) { d = decision{err: err} })
	d.check, d.err = guard(ctx)
	return d
}

// resolveRoots runs the resolvers of root fields, side by side if there are several.
func (x *execution) resolveRoots(fields []*field) {
	var group sync.WaitGroup
	for i, f := range fields {
		v := &x.values[f.id]
		v.results = append(v.results[:0], Result{})
		args, ok := x.arguments(f, v)
		if !ok {
			continue
		}
		if f.guard >= 0 && x.decisions[f.guard].err != nil {
			v.results[0].Err = x.decisions[f.guard].err
			continue
		}
		resolve := func() {
			defer caught(func(err error) { v.results[0] = Result{Err: err} })
			if f.guard >= 0 {
				if parent := x.decisions[f.guard].check.Parent; parent != nil && !parent(nil) {
					return
				}
			}
			if f.def.Source != nil {
				v.results[0].Value = x.event
				return
			}
			v.results[0].Value, v.results[0].Err = f.def.Root(x.ctx, args)
		}
		if i < len(fields)-1 {
			group.Go(resolve)
		} else {
			resolve()
		}
	}
	group.Wait()
	for _, f := range fields {
		x.judge(f)
		x.spread(f)
	}
}

// load walks the levels below the roots.
func (x *execution) load(levels []*selection) {
	for _, sel := range levels {
		parents := x.objects[sel.id]
		if len(parents) == 0 {
			continue
		}
		for _, f := range sel.deep {
			x.resolve(f, parents)
			x.judge(f)
			x.spread(f)
		}
	}
}

// resolve finds the values of a field for all parents.
func (x *execution) resolve(f *field, parents []any) {
	v := &x.values[f.id]
	if n := len(parents); cap(v.results) >= n {
		v.results = v.results[:n]
	} else {
		v.results = make([]Result, n)
	}
	args, ok := x.arguments(f, v)
	if !ok {
		return
	}
	if f.guard >= 0 {
		d := x.decisions[f.guard]
		if d.err != nil {
			for i := range v.results {
				v.results[i].Err = d.err
			}
			return
		}
		if d.check.Parent != nil {
			parents = v.visible(parents, d.check.Parent)
		}
	}
	if f.def.Load != nil {
		defer caught(v.failAll)
		f.def.Load(x.ctx, parents, args, v.results)
		return
	}
	each(len(parents), func(i int) {
		if parents[i] != nil {
			v.results[i].Value = f.def.Get(parents[i])
		}
	}, v.fail)
}

func (v *values) fail(i int, err error) { v.results[i] = Result{Err: err} }

func (v *values) failAll(err error) {
	for i := range v.results {
		v.fail(i, err)
	}
}

// visible puts nil in place of parents that the check does not let through.
func (v *values) visible(parents []any, check func(any) bool) []any {
	kept := make([]any, len(parents))
	each(len(parents), func(i int) {
		if p := parents[i]; p != nil && check(p) {
			kept[i] = p
		}
	}, v.fail)
	return kept
}

// arguments returns the values of a field's arguments; false when they are wrong.
func (x *execution) arguments(f *field, v *values) (args map[string]any, ok bool) {
	if f.def.Args == nil {
		return nil, true
	}
	defer caught(v.failAll) // of gqlparser, for a number that does not fit, for example
	args, err := f.def.Args(x.ctx, f.selected.ArgumentMap(x.variables))
	v.refused = err != nil
	return args, err == nil
}

// judge lets the guard look at the results.
func (x *execution) judge(f *field) {
	if f.guard < 0 || x.decisions[f.guard].check.Result == nil {
		return
	}
	v := &x.values[f.id]
	each(len(v.results), func(i int) {
		if r := &v.results[i]; r.Err == nil && r.Value != nil {
			r.Value, r.Err = x.decisions[f.guard].check.Result(r.Value)
		}
	}, v.fail)
}

// spread puts the objects in a field's values together: they are the parents of the next level.
func (x *execution) spread(f *field) {
	if f.def.Spread == nil {
		return
	}
	v := &x.values[f.id]
	v.children, v.elements = v.children[:0], v.elements[:0]
	var objects []any
	if f.sub != nil {
		objects = x.objects[f.sub.id][:0]
	}
	from := 0
	each(len(v.results), func(i int) {
		from = len(objects)
		r, some := &v.results[i], false
		if r.Err == nil && r.Value != nil {
			objects, some = f.def.Spread(objects, r.Value)
		}
		if f.subs != nil {
			for _, o := range objects[from:] {
				v.elements = append(v.elements, x.target(f, o))
			}
		}
		c := run{from, len(objects)}
		if !some {
			c.from = -1
		}
		v.children = append(v.children, c)
	}, func(i int, err error) {
		objects, v.elements = objects[:from], v.elements[:min(from, len(v.elements))]
		v.children = append(v.children, run{from: -1})
		v.fail(i, err)
	})
	if f.sub != nil {
		x.objects[f.sub.id] = objects
	}
}

// target puts an object behind an interface or union among those of its type.
func (x *execution) target(f *field, o any) (t target) {
	if t.sel = x.schema.member(f, o); t.sel != nil {
		t.at = len(x.objects[t.sel.id])
		x.objects[t.sel.id] = append(x.objects[t.sel.id], o)
	}
	return t
}

// member returns what is selected on an object behind an interface or union; nil if there is no object.
func (s *Schema) member(f *field, o any) *selection {
	if v := reflect.ValueOf(o); o == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	sel := f.subs[s.byGo[reflect.TypeOf(o)]]
	if sel == nil {
		panic(fmt.Sprintf("exec: %T is no member of %s", o, f.selected.Definition.Type.Name()))
	}
	return sel
}

// Panic is the error of a field that has panicked.
type Panic struct {
	Value any
	Stack []byte
}

// Error describes it without the stack.
func (p *Panic) Error() string { return fmt.Sprint("panic: ", p.Value) }

// each calls do for 0 to n-1. One that panics fails alone.
func each(n int, do func(i int), fail func(i int, err error)) {
	for i := 0; i < n; i++ {
		func() {
			defer caught(func(err error) { fail(i, err) })
			for ; i < n; i++ {
				do(i)
			}
		}()
	}
}

// caught turns a panic into an error.
func caught(fail func(error)) {
	if r := recover(); r != nil {
		fail(&Panic{Value: r, Stack: debug.Stack()})
	}
}

// step is a part of a path: a field, or an index where field is nil.
type step struct {
	field *field
	index int
}

// compare orders indices by number, and everything else by its text.
func (s step) compare(other step) int {
	if s.field == nil && other.field == nil {
		return cmp.Compare(s.index, other.index)
	}
	return strings.Compare(s.text(), other.text())
}

func (s step) text() string {
	if s.field == nil {
		return strconv.Itoa(s.index)
	}
	return s.field.selected.Alias
}

// failure is an error with its place.
type failure struct {
	path []step
	err  error
}

// fail notes an error at a field below the path, or at the path itself.
func (x *execution) fail(f *field, err error) {
	path := make([]step, len(x.path), len(x.path)+1)
	copy(path, x.path)
	if f != nil {
		path = append(path, step{field: f})
	}
	x.failures = append(x.failures, failure{path, err})
}

// Omitted is an error that is reported besides MaxErrors others: how many there are more.
type Omitted int

// Error says so.
func (n Omitted) Error() string { return fmt.Sprintf("%d errors more", int(n)) }

// report hands the errors over with the context that gqlgen's executor would have made for each. To make thousands, of
// which few are shown, would take longer than the rest.
func (x *execution) report() {
	if most := x.schema.MaxErrors; most > 0 && len(x.failures) > most {
		slices.SortStableFunc(x.failures, func(a, b failure) int { return slices.CompareFunc(a.path, b.path, step.compare) })
		graphql.AddError(x.ctx, Omitted(len(x.failures)-most))
		x.failures = x.failures[:most]
	}
	for _, f := range x.failures {
		ctx := graphql.WithFieldContext(x.ctx, &graphql.FieldContext{Object: x.plan.root.typ.Name})
		for i, s := range f.path {
			fc := &graphql.FieldContext{Index: &f.path[i].index}
			if s.field != nil {
				fc = &graphql.FieldContext{Object: s.field.parent.Name, Field: s.field.selected,
					IsMethod: s.field.def.Method, IsResolver: s.field.def.Load != nil || s.field.def.Root != nil}
			}
			ctx = graphql.WithFieldContext(ctx, fc)
		}
		op := graphql.GetOperationContext(ctx)
		switch err := f.err.(type) {
		case *Panic:
			op.Error(ctx, op.Recover(ctx, err))
		case invalidNull:
			graphql.AddInvalidNullError(ctx, "")
		case wrongArguments:
			last := f.path[len(f.path)-1].field
			_, failed := last.def.Args(ctx, last.selected.ArgumentMap(x.variables))
			op.Error(ctx, failed)
		default:
			op.Error(ctx, placed(ctx, f.path, err))
		}
	}
}

// placed gives an error its place in the document: that of its field, or of the list if it stands at an element. An error
// of gqlgen's kind is copied, since paths are written into it and it may stand at several fields.
func placed(ctx context.Context, path []step, err error) error {
	if own, ok := err.(*gqlerror.Error); ok {
		kept := *own
		err = &kept
	}
	if path[len(path)-1].field != nil {
		return graphql.AddFieldLocationToError(ctx, err)
	}
	at := path[len(path)-2].field.selected.Position
	wrapped := gqlerror.WrapPath(graphql.GetPath(ctx), err)
	wrapped.Locations = []gqlerror.Location{{Line: at.Line, Column: at.Column}}
	return wrapped
}

// invalidNull stands for a null where the schema allows none.
type invalidNull struct{}

func (invalidNull) Error() string { return "must not be null" }

// wrongArguments stands for the error that a field's arguments fail with, which names the path.
type wrongArguments struct{}

func (wrongArguments) Error() string { return "wrong arguments" }
