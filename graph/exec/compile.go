package exec

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
)

// Plan is an operation, compiled: fragments merged, fields bound. It holds for the values of the variables in @skip and
// @include that it was compiled for. It is safe for concurrent use.
type Plan struct {
	root    *selection
	stages  []stage
	objects int // selections whose objects are kept
	values  int // fields whose values are kept
	guarded []*field
	fields  int
	wants   map[*Type]*Reads
	selects map[Selected]struct{}
	size    atomic.Int64 // of the latest answers, roughly, as a hint
}

// stage is a part of an operation that is finished before the next one begins: the whole of a query, a root field of a
// mutation with all that lies below it.
type stage struct {
	fields []*field     // of the root; they are written when the stage is over
	roots  []*field     // those that have a resolver
	levels []*selection // below the roots, parents before children
}

// selection is what is selected on objects of one type.
type selection struct {
	typ    *Type
	fields []*field
	deep   []*field // the fields that are materialised: loaded, or leading to such
	id     int      // where the objects are kept; -1 when they are read while the answer is written
}

// field is a selected field. Its key and its place in the document are those of its first occurrence.
type field struct {
	def       *Field
	selected  graphql.CollectedField
	parent    *Type
	key       []byte // `"alias":`
	typename  []byte // the answer to __typename
	list      bool
	nonNull   bool // of the field
	elementOK bool // elements may be null
	sub       *selection
	subs      map[*Type]*selection // below an interface or union
	id        int                  // where the values are kept; -1 when they are not materialised
	guard     int                  // where the decision is kept; -1 without a guard
}

// Conditions returns the values of the variables that decide about parts of the operation, as a key under which its plan
// can be kept.
func Conditions(op *ast.OperationDefinition, variables map[string]any) string {
	if len(op.VariableDefinitions) == 0 {
		return ""
	}
	var key []byte
	for _, d := range op.VariableDefinitions {
		if d.Type.NamedType == "Boolean" {
			if on, _ := variables[d.Variable].(bool); on {
				key = append(key, '1')
			} else {
				key = append(key, '0')
			}
		}
	}
	return string(key)
}

// Compile makes the plan of a validated operation; nil if it asks for what is left to another executor.
func (s *Schema) Compile(op *ast.OperationDefinition, variables map[string]any) *Plan {
	c := compiler{schema: s, variables: variables, plan: &Plan{wants: map[*Type]*Reads{}, selects: map[Selected]struct{}{}}}
	root := s.ast.Query
	switch op.Operation {
	case ast.Mutation:
		root = s.ast.Mutation
	case ast.Subscription:
		root = s.ast.Subscription
	}
	c.plan.root = c.selection(s.types[root.Name], op.SelectionSet)
	if c.foreign {
		return nil
	}
	c.deepen(c.plan.root)
	fields, roots := c.plan.root.fields, c.plan.root.deep
	if op.Operation != ast.Mutation {
		c.stage(fields, roots)
		return c.plan
	}
	for i, f := range fields {
		n := 0
		if len(roots) > 0 && roots[0] == f {
			n = 1
		}
		c.stage(fields[i:i+1], roots[:n])
		roots = roots[n:]
	}
	return c.plan
}

type compiler struct {
	schema    *Schema
	variables map[string]any
	plan      *Plan
	foreign   bool // it asks for introspection
}

// selection merges what is selected on objects of a type (specification, 6.3.2).
func (c *compiler) selection(t *Type, selected ...ast.SelectionSet) *selection {
	satisfied := []string{t.Name}
	d := c.schema.ast.Types[t.Name]
	satisfied = append(satisfied, d.Interfaces...)
	for name, members := range c.schema.possible {
		if c.schema.ast.Types[name].Kind == ast.Union && slices.Contains(members, t) {
			satisfied = append(satisfied, name)
		}
	}
	g := gatherer{compiler: c, satisfied: satisfied, visited: map[string]bool{}}
	for _, set := range selected {
		g.gather(set)
	}
	c.plan.fields += len(g.groups)
	sel := &selection{typ: t, id: -1}
	for _, group := range g.groups {
		sel.fields = append(sel.fields, c.field(t, d, group))
	}
	return sel
}

// group are the occurrences of one response key.
type group struct {
	first *ast.Field
	sets  []ast.SelectionSet
}

type gatherer struct {
	*compiler
	satisfied []string
	visited   map[string]bool // fragments
	groups    []*group
}

func (g *gatherer) gather(set ast.SelectionSet) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			if !g.included(s.Directives) {
				continue
			}
			i := slices.IndexFunc(g.groups, func(of *group) bool { return of.first.Alias == s.Alias })
			if i < 0 {
				i = len(g.groups)
				g.groups = append(g.groups, &group{first: s})
			}
			g.groups[i].sets = append(g.groups[i].sets, s.SelectionSet)
		case *ast.InlineFragment:
			if g.included(s.Directives) && g.applies(s.TypeCondition) {
				g.gather(s.SelectionSet)
			}
		case *ast.FragmentSpread:
			if g.visited[s.Name] || !g.included(s.Directives) {
				continue
			}
			g.visited[s.Name] = true
			if g.applies(s.Definition.TypeCondition) {
				g.gather(s.Definition.SelectionSet)
			}
		}
	}
}

func (g *gatherer) applies(condition string) bool {
	return condition == "" || slices.Contains(g.satisfied, condition)
}

// included follows @skip and @include (specification, 3.13).
func (c *compiler) included(directives ast.DirectiveList) bool {
	on := func(name string) (value, given bool) {
		d := directives.ForName(name)
		if d == nil {
			return false, false
		}
		v, _ := d.ArgumentMap(c.variables)["if"].(bool)
		return v, true
	}
	if skip, given := on("skip"); given && skip {
		return false
	}
	include, given := on("include")
	return !given || include
}

func (c *compiler) field(t *Type, d *ast.Definition, g *group) *field {
	f := &field{
		selected: graphql.CollectedField{Field: g.first, Selections: slices.Concat(g.sets...)},
		parent:   t, key: append(AppendString(nil, g.first.Alias), ':'), id: -1, guard: -1,
	}
	if g.first.Name == "__typename" {
		f.typename = t.typename
		return f
	}
	if strings.HasPrefix(g.first.Name, "__") {
		c.foreign = true
		return f
	}
	f.def = t.Fields[g.first.Name]
	c.plan.selects[Selected{t.Name, g.first.Name}] = struct{}{}
	typ := d.Fields.ForName(g.first.Name).Type
	f.nonNull, f.list = typ.NonNull, typ.Elem != nil
	if f.list {
		f.elementOK = !typ.Elem.NonNull
	}
	if f.def.Guard != nil {
		f.guard = slices.IndexFunc(c.plan.guarded, func(of *field) bool { return of.def == f.def })
		if f.guard < 0 {
			f.guard = len(c.plan.guarded)
			c.plan.guarded = append(c.plan.guarded, f)
		}
	}
	c.want(t, f.def.Reads)
	if made := c.schema.byGo[f.def.MadeOf]; made != nil {
		c.want(made, Reads{All: true})
	}
	if f.def.Spread == nil {
		return f
	}
	if members, abstract := c.schema.possible[typ.Name()]; abstract {
		f.subs = make(map[*Type]*selection, len(members))
		for _, m := range members {
			f.subs[m] = c.selection(m, g.sets...)
		}
	} else {
		f.sub = c.selection(c.schema.types[typ.Name()], g.sets...)
	}
	return f
}

// want notes what the objects of a type are asked for, anywhere in the operation.
func (c *compiler) want(t *Type, reads Reads) {
	w := c.plan.wants[t]
	if w == nil {
		w = &Reads{}
		c.plan.wants[t] = w
	}
	w.All = w.All || reads.All
	for _, name := range reads.Names {
		if !slices.Contains(w.Names, name) {
			w.Names = append(w.Names, name)
		}
	}
}

// stage gives each field that is materialised, and each selection below one, its place, level by level.
func (c *compiler) stage(fields, roots []*field) {
	st := stage{fields: fields, roots: roots}
	for level := c.below(roots); len(level) > 0; {
		st.levels = append(st.levels, level...)
		var next []*selection
		for _, sel := range level {
			next = append(next, c.below(sel.deep)...)
		}
		level = next
	}
	c.plan.stages = append(c.plan.stages, st)
}

func (c *compiler) below(fields []*field) (next []*selection) {
	for _, f := range fields {
		f.id = c.plan.values
		c.plan.values++
		if f.sub != nil {
			next = append(next, f.sub)
		}
		for _, t := range sortedTypes(f.subs) {
			next = append(next, f.subs[t])
		}
	}
	for _, sel := range next {
		sel.id = c.plan.objects
		c.plan.objects++
	}
	return next
}

func sortedTypes(subs map[*Type]*selection) []*Type {
	types := make([]*Type, 0, len(subs))
	for t := range subs {
		types = append(types, t)
	}
	slices.SortFunc(types, func(a, b *Type) int { return strings.Compare(a.Name, b.Name) })
	return types
}

// deepen reports whether something below a selection is loaded, and notes by which fields. What lies above is then
// materialised, so that it can be loaded for all objects; the rest is read while the answer is written.
func (c *compiler) deepen(sel *selection) bool {
	for _, f := range sel.fields {
		below := f.sub != nil && c.deepen(f.sub)
		for _, sub := range f.subs {
			below = c.deepen(sub) || below
		}
		if below || f.def != nil && (f.def.Root != nil || f.def.Source != nil || f.def.Load != nil) {
			sel.deep = append(sel.deep, f)
		}
	}
	return len(sel.deep) > 0
}

// Fields returns how many fields the plan has, which is what it costs to keep.
func (p *Plan) Fields() int { return p.fields }

// Selected is a field of an object type.
type Selected struct{ Type, Field string }

// Selects calls yield for each field that is selected, but for __typename: of an interface or union for each of its types.
func (p *Plan) Selects(yield func(Selected) bool) {
	for s := range p.selects {
		if !yield(s) {
			return
		}
	}
}

// Wants calls yield for each type that objects are asked for, with what they are asked for in all.
func (p *Plan) Wants(yield func(t *Type, reads Reads) bool) {
	for t, r := range p.wants {
		if !yield(t, *r) {
			return
		}
	}
}
