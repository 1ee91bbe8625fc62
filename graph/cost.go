package graph

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// defaultMutation is the weight of fields of Mutation that have no @cost.
const defaultMutation = 10

// costs are what fields cost, drawn from @cost and @listSize as in IBM's GraphQL Cost Directives specification: the type
// cost, in which each object counts 1, plus the weights that fields have been given.
type costs map[*ast.FieldDefinition]cost

type cost struct {
	weight int  // of the field, for each object that it is asked of
	once   bool // an operation may select it once

	list    bool
	assumed int      // elements of a list
	slicing []string // arguments that say how many elements there are at most
	sized   bool     // they are those of the lists nodes or edges, one level below
	bySize  bool     // a list whose elements the field above has said
}

// newCosts reads the directives of a schema. It fails where they make no sense, and for pages of which nothing says how long
// they are.
func newCosts(schema *ast.Schema) (costs, error) {
	all, sized := costs{}, map[*ast.FieldDefinition]bool{}
	var faults []error
	for _, t := range sortedTypes(schema) {
		if t.Kind != ast.Object && t.Kind != ast.Interface || strings.HasPrefix(t.Name, "__") {
			continue
		}
		for _, f := range t.Fields {
			c, below, err := fieldCost(schema, t, f)
			if err != nil {
				faults = append(faults, fmt.Errorf("cost: %s.%s: %w", t.Name, f.Name, err))
			}
			all[f] = c
			for _, b := range below {
				sized[b] = true
			}
		}
	}
	for _, t := range sortedTypes(schema) {
		for _, f := range t.Fields {
			c, ok := all[f]
			if !ok {
				continue
			}
			c.bySize = sized[f]
			all[f] = c
			of := schema.Types[f.Type.Name()]
			if page := of.Fields.ForName("pageInfo"); page != nil && !c.sized {
				faults = append(faults, fmt.Errorf("cost: %s.%s returns pages without @listSize", t.Name, f.Name))
			}
		}
	}
	return all, errors.Join(faults...)
}

// fieldCost reads the directives of a field; below are the lists whose size it says.
func fieldCost(schema *ast.Schema, t *ast.Definition, f *ast.FieldDefinition) (c cost, below []*ast.FieldDefinition, err error) {
	var faults []error
	c = cost{list: f.Type.Elem != nil, once: f.Directives.ForName("once") != nil}
	if t == schema.Mutation {
		c.weight = defaultMutation
	}
	if d := f.Directives.ForName("cost"); d != nil {
		text := d.Arguments.ForName("weight").Value.Raw
		if c.weight, err = strconv.Atoi(text); err != nil || c.weight < 0 {
			faults = append(faults, fmt.Errorf("the weight %q is no whole number", text))
		}
	}
	d := f.Directives.ForName("listSize")
	if d == nil {
		return c, nil, errors.Join(faults...)
	}
	if a := d.Arguments.ForName("assumedSize"); a != nil {
		if c.assumed, err = strconv.Atoi(a.Value.Raw); err != nil || c.assumed < 1 {
			faults = append(faults, errors.New("the assumed size is no number above 0"))
		}
	}
	for _, name := range stringsIn(d, "slicingArguments") {
		if f.Arguments.ForName(name) == nil {
			faults = append(faults, fmt.Errorf("there is no argument %s", name))
		}
		c.slicing = append(c.slicing, name)
	}
	for _, name := range stringsIn(d, "sizedFields") {
		list := schema.Types[f.Type.Name()].Fields.ForName(name)
		if list == nil || list.Type.Elem == nil {
			faults = append(faults, fmt.Errorf("%s has no list %s", f.Type.Name(), name))
			continue
		}
		c.sized = true
		below = append(below, list)
	}
	return c, below, errors.Join(faults...)
}

func stringsIn(d *ast.Directive, argument string) (all []string) {
	a := d.Arguments.ForName(argument)
	if a == nil {
		return nil
	}
	for _, c := range a.Value.Children {
		all = append(all, c.Value.Raw)
	}
	return all
}

// MutateOperationContext refuses an operation that could cost too much, with the values of its variables.
func (l limiter) MutateOperationContext(_ context.Context, op *graphql.OperationContext) *gqlerror.Error {
	e := estimator{costs: l.costs, variables: op.Variables, fragments: map[string]estimate{}}
	total := e.of(op.Operation.SelectionSet)
	for _, name := range e.onces {
		if e.once[name] > 1 {
			return refused("the operation selects `" + name + "` more than once")
		}
	}
	switch {
	case total.noCondition != "":
		// Validation lets a variable with a default stand there, whatever its value (specification, 5.8.5).
		return refused("the condition of @" + total.noCondition + " is null")
	case total.schema && total.fields > total.schemaFields:
		// gqlgen answers for the schema, object by object.
		return refused("ask for the schema in an operation of its own")
	case total.planned > maxPlanned:
		return refused(fmt.Sprintf("the operation has more than %d fields once its fragments are written out", maxPlanned))
	case total.cost() > float64(l.Cost):
		return refused(fmt.Sprintf("the operation could cost %.0f, and may cost %d: ask for smaller pages or fewer levels", total.cost(), l.Cost))
	}
	op.Stats.SetExtension(estimatedName, int(math.Ceil(total.cost())))
	return nil
}

// introspectionCost is that of a field about the schema, whatever is below it.
const introspectionCost = 100

// unsizedList is how many elements a list has whose size nothing above it says: one that an interface leads to.
const unsizedList = 5

// estimate is what a selection on one object comes to.
type estimate struct {
	fixed float64 // does not overflow, however deep the document
	each  float64 // for each element of the lists whose size the field above says

	fields      int
	planned     float64 // fields
	noCondition string  // the directive whose condition is null

	schema       bool // __schema or __type is asked for
	schemaFields int  // fields that are, or __typename
}

func (e estimate) cost() float64 { return e.fixed + e.each*unsizedList }

func (e *estimate) add(other estimate) {
	e.fixed += other.fixed
	e.each += other.each
	e.fields += other.fields
	e.planned += other.planned
	e.schema = e.schema || other.schema
	e.schemaFields += other.schemaFields
	e.noCondition = cmp.Or(e.noCondition, other.noCondition)
}

// estimator walks each fragment once, however often it is spread: the time is linear in the document. Fragments have no
// cycles, which validation has made sure of.
type estimator struct {
	costs     costs
	variables map[string]any
	fragments map[string]estimate

	once  map[string]int
	onces []string
}

func (e *estimator) of(selected ast.SelectionSet) (sum estimate) {
	for _, s := range selected {
		switch s := s.(type) {
		case *ast.Field:
			sum.add(e.conditions(s.Directives))
			sum.add(e.field(s))
		case *ast.InlineFragment:
			sum.add(e.conditions(s.Directives))
			sum.add(e.of(s.SelectionSet))
		case *ast.FragmentSpread:
			sum.add(e.conditions(s.Directives))
			known, ok := e.fragments[s.Name]
			if !ok {
				known = e.of(s.Definition.SelectionSet)
				e.fragments[s.Name] = known
			}
			sum.add(known)
		}
	}
	return sum
}

// conditions looks for one that is null.
func (e *estimator) conditions(directives ast.DirectiveList) (none estimate) {
	for _, d := range directives {
		if (d.Name == "skip" || d.Name == "include") && d.ArgumentMap(e.variables)["if"] == nil {
			none.noCondition = d.Name
		}
	}
	return none
}

func (e *estimator) field(f *ast.Field) estimate {
	below := e.of(f.SelectionSet)
	one := estimate{fields: 1, noCondition: below.noCondition}
	// Below an interface or union a selection is made for each member.
	one.planned = 1 + below.planned*float64(max(1, len(parsedSchema.PossibleTypes[f.Definition.Type.Name()])))
	if strings.HasPrefix(f.Name, "__") {
		if one.schemaFields = 1; f.Name != "__typename" {
			one.schema, one.fixed = true, introspectionCost
		}
		return one
	}
	c := e.costs[f.Definition]
	if c.once {
		if e.once == nil {
			e.once = map[string]int{}
		}
		if e.once[f.Name]++; !slices.Contains(e.onces, f.Name) {
			e.onces = append(e.onces, f.Name)
		}
	}
	one.fixed = float64(c.weight)
	if len(f.SelectionSet) == 0 {
		return one
	}
	var arguments map[string]any
	if len(c.slicing) > 0 {
		arguments = f.ArgumentMap(e.variables)
	}
	switch {
	case c.bySize:
		one.each = 1 + below.cost()
	case c.sized:
		one.fixed += 1 + below.fixed + c.size(arguments)*below.each
	default:
		one.fixed += c.size(arguments) * (1 + below.cost())
	}
	return one
}

// size is how many elements a field has at most, as far as that is known.
func (c cost) size(arguments map[string]any) float64 {
	for _, name := range c.slicing {
		if list, ok := arguments[name].([]any); ok {
			return float64(len(list))
		}
		if n, err := graphql.UnmarshalInt(arguments[name]); arguments[name] != nil && err == nil {
			return float64(max(n, 1))
		}
	}
	switch {
	case c.assumed > 0:
		return float64(c.assumed)
	case c.list:
		return unsizedList
	default:
		return 1
	}
}
