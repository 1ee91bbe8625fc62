package graph

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/internal/fault"
)

const (
	maxDepth   = 15      // fields in one another; what is below __schema and __type is not counted
	maxRoots   = 20      // root fields; each may cost a statement
	maxObjects = 100_000 // that an operation may be expected to return
	plainList  = 10      // elements that a list without a page size is expected to have
	maxPlanned = 20_000  // fields, with fragments written out: what a plan has to be made of
	maxErrors  = 50      // in an answer
)

// limits refuses operations that would return too much before any of it is computed: a few bytes of nested lists ask for
// millions of objects.
type limits struct{}

var _ graphql.OperationContextMutator = limits{}

// ExtensionName names the extension, for gqlgen.
func (limits) ExtensionName() string { return "Limits" }

// Validate accepts every schema.
func (limits) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationContext refuses the operation or leaves it as it is.
func (limits) MutateOperationContext(_ context.Context, op *graphql.OperationContext) *gqlerror.Error {
	e := estimator{variables: op.Variables, fragments: map[string]estimate{}}
	total := e.of(op.Operation.SelectionSet)
	switch {
	case total.noCondition != "":
		// Validation lets a variable with a default stand there, whatever its value (specification, 5.8.5).
		return refused("the condition of @" + total.noCondition + " is null")
	case total.fields > maxRoots:
		return refused("the operation has more than " + strconv.Itoa(maxRoots) + " root fields")
	case total.schema && total.fields > total.schemaFields:
		// gqlgen answers for the schema, object by object.
		return refused("ask for the schema in an operation of its own")
	case total.planned > maxPlanned:
		return refused("the operation has more than " + strconv.Itoa(maxPlanned) + " fields once its fragments are written out")
	case total.depth > maxDepth:
		return refused("the operation is nested deeper than " + strconv.Itoa(maxDepth) + " fields")
	case total.objects > maxObjects:
		return refused("the operation could return more than " + strconv.Itoa(maxObjects) +
			" objects: ask for smaller pages or fewer levels")
	}
	return nil
}

func refused(message string) *gqlerror.Error {
	return &gqlerror.Error{Err: fault.New(fault.BadUserInput, message), Message: message}
}

// estimate is what a selection on one object comes to.
type estimate struct {
	fields      int
	depth       int
	objects     float64 // does not overflow, however deep the document
	planned     float64 // fields
	noCondition string  // the directive whose condition is null

	schema       bool // __schema or __type is asked for
	schemaFields int  // fields that are, or __typename
}

// estimator walks each fragment once, however often it is spread: the cost is linear in the document. Fragments have no
// cycles, which validation has made sure of.
type estimator struct {
	variables map[string]any
	fragments map[string]estimate
}

func (e estimator) of(selected ast.SelectionSet) estimate {
	var sum estimate
	add := func(other estimate) {
		sum.fields += other.fields
		sum.depth = max(sum.depth, other.depth)
		sum.objects += other.objects
		sum.planned += other.planned
		sum.schema = sum.schema || other.schema
		sum.schemaFields += other.schemaFields
		sum.noCondition = cmp.Or(sum.noCondition, other.noCondition)
	}
	for _, s := range selected {
		switch s := s.(type) {
		case *ast.Field:
			add(e.conditions(s.Directives))
			add(e.field(s))
		case *ast.InlineFragment:
			add(e.conditions(s.Directives))
			add(e.of(s.SelectionSet))
		case *ast.FragmentSpread:
			add(e.conditions(s.Directives))
			known, ok := e.fragments[s.Name]
			if !ok {
				known = e.of(s.Definition.SelectionSet)
				e.fragments[s.Name] = known
			}
			add(known)
		}
	}
	return sum
}

// conditions looks for one that is null.
func (e estimator) conditions(directives ast.DirectiveList) (none estimate) {
	for _, d := range directives {
		if (d.Name == "skip" || d.Name == "include") && d.ArgumentMap(e.variables)["if"] == nil {
			none.noCondition = d.Name
		}
	}
	return none
}

func (e estimator) field(f *ast.Field) estimate {
	below := e.of(f.SelectionSet)
	one := estimate{fields: 1, depth: 1 + below.depth, noCondition: below.noCondition}
	// Below an interface or union a selection is made for each member.
	one.planned = 1 + below.planned*float64(max(1, len(parsedSchema.PossibleTypes[f.Definition.Type.Name()])))
	if strings.HasPrefix(f.Name, "__") { // tools unwrap types many levels deep
		one.depth, one.schema, one.schemaFields = 1, f.Name != "__typename", 1
	}
	if len(f.SelectionSet) > 0 {
		one.objects = e.size(f) * (1 + below.objects)
	}
	return one
}

// size is how many objects a field is expected to return: the page's size for a connection, whose own lists are then no
// larger, the number of IDs for nodes, or a guess for other lists.
func (e estimator) size(f *ast.Field) float64 {
	arguments := f.ArgumentMap(e.variables)
	for _, name := range []string{"first", "last"} {
		if n, err := graphql.UnmarshalInt(arguments[name]); arguments[name] != nil && err == nil {
			return float64(max(n, 1))
		}
	}
	ids, given := arguments["ids"].([]any)
	page := f.ObjectDefinition.Fields.ForName("pageInfo") != nil
	switch {
	case given:
		return float64(len(ids))
	case f.Definition.Type.Elem == nil, page && (f.Name == "nodes" || f.Name == "edges"):
		return 1
	default:
		return plainList
	}
}
