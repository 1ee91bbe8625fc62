package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/maypok86/otter/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"

	"emporium/graph/exec"
	"emporium/graph/loader"
	"emporium/internal/fault"
	"emporium/internal/postgres"
	"emporium/internal/usage"
)

// The parser adds @defer to every schema. An answer is written in one piece here, so that it would be taken and not heeded.
func init() { delete(parsedSchema.Directives, "defer") }

// executable is gqlgen's executable schema with operations executed by package exec. Introspection stays with gqlgen.
type executable struct {
	graphql.ExecutableSchema
	schema      *exec.Schema
	plans       *otter.Cache[planKey, *plan]
	policies    policies
	fingerprint string // of the schema
	usage       *usage.Counter
}

// plan is a compiled operation, with what it wants of the rows that are read for it; nil for mutations, which may look
// at more than they show.
type plan struct {
	*exec.Plan
	wanted *postgres.Wanted
	policy *policy                   // by itself, since the front refers to it for longer than plans are kept
	uses   *usage.Set                // what the document names
	inputs []*ast.VariableDefinition // that may hold something of the schema besides
}

// planKey names a plan: an operation of a parsed document, which is kept as long as it is in use, and what its
// variables say about @skip and @include.
type planKey struct {
	operation  *ast.OperationDefinition
	conditions string
}

// newExecutable binds the types of the schema to what reads, loads and guards their fields.
//
// Age is for how long answers may be kept whose fields say nothing of it.
func newExecutable(generated graphql.ExecutableSchema, root ResolverRoot, age time.Duration) (executable, error) {
	schema := generated.Schema()
	types := boundTypes(root, newExecutionContext(nil, generated.(*executableSchema), nil))
	if err := bindEdges(schema, types); err != nil {
		return executable{}, err
	}
	costs, err := newCosts(schema)
	if err != nil {
		return executable{}, err
	}
	for _, t := range types {
		if schema.Types[t.Name] == nil {
			return executable{}, fmt.Errorf("graph: type %s is bound, but not in the schema", t.Name)
		}
		for _, f := range schema.Types[t.Name].Fields {
			if bound := t.Fields[f.Name]; bound != nil {
				if schema.Types[t.Name] == schema.Mutation {
					bound.Root = forgetful(bound.Root)
				}
				bound.Weight = costs[f].weight
				if bound.Guard, err = guardOf(f); err != nil {
					return executable{}, err
				}
			}
		}
	}
	bound, err := exec.New(schema, types)
	if err != nil {
		return executable{}, err
	}
	bound.MaxErrors = maxErrors + 1 // fewErrors says what kind of error comes next
	plans, err := newPlans()
	if err != nil {
		return executable{}, err
	}
	all, err := newPolicies(schema, age)
	if err != nil {
		return executable{}, err
	}
	return executable{generated, bound, plans, all, fingerprint(schema), nil}, nil
}

// fingerprint changes whenever the schema does: answers of another one are not ours, even to the same question.
func fingerprint(schema *ast.Schema) string {
	var text strings.Builder
	formatter.NewFormatter(&text, formatter.WithComments()).FormatSchema(schema)
	sum := sha256.Sum256([]byte(text.String()))
	return hex.EncodeToString(sum[:8])
}

// Exec executes the operation of the context.
func (e executable) Exec(ctx context.Context) graphql.ResponseHandler {
	op := graphql.GetOperationContext(ctx)
	p := e.plan(op)
	if p == nil {
		return e.ExecutableSchema.Exec(ctx)
	}
	return func(ctx context.Context) *graphql.Response {
		if p.wanted != nil {
			ctx = postgres.WithWanted(ctx, p.wanted)
		}
		data, cost := e.schema.Run(ctx, p.Plan, op.Variables)
		op.Stats.SetExtension(actualName, cost)
		return &graphql.Response{Data: data}
	}
}

// plan returns the plan of an operation, or nil if it is left to gqlgen.
func (e executable) plan(op *graphql.OperationContext) *plan {
	key := planKey{op.Operation, exec.Conditions(op.Operation, op.Variables)}
	if p, ok := e.plans.GetIfPresent(key); ok {
		return p
	}
	compiled := e.schema.Compile(op.Operation, op.Variables)
	if compiled == nil {
		return nil
	}
	p := &plan{Plan: compiled, policy: &policy{}, uses: e.usage.Set(e.named(op.Operation)), inputs: inputsOf(op.Operation)}
	if op.Operation.Operation != ast.Mutation {
		p.wanted = wanted(compiled)
		*p.policy = e.policies.of(compiled)
	}
	e.plans.Set(key, p)
	return p
}

// wanted turns what a plan asks for into what stores have to fill.
func wanted(p *exec.Plan) *postgres.Wanted {
	structs, whole := map[reflect.Type]map[string]bool{}, []reflect.Type{}
	for t, reads := range p.Wants {
		if t.Go == nil {
			continue
		}
		row := t.Go.Elem() // several types of the schema may show one
		if reads.All {
			whole = append(whole, row)
		}
		if structs[row] == nil {
			structs[row] = map[string]bool{}
		}
		for _, name := range reads.Names {
			structs[row][name] = true
		}
	}
	for _, row := range whole {
		delete(structs, row)
	}
	return postgres.NewWanted(structs)
}

// forgetful makes what lies below a mutation, and all after it, see what it has written: the mutations of an operation
// share its loaders.
func forgetful(root func(context.Context, map[string]any) (any, error)) func(context.Context, map[string]any) (any, error) {
	return func(ctx context.Context, args map[string]any) (any, error) {
		defer loader.Forget(ctx)
		return root(ctx, args)
	}
}

// generatedField is a middleware for fields that gqlgen executes.
func generatedField(ctx context.Context, next graphql.Resolver) (any, error) {
	// Without SQL nothing else would look at the deadline: fields of what is there would go on for ever.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	result, err := next(ctx)
	fc := graphql.GetFieldContext(ctx)
	if fc.Object == "Mutation" { // in tests that compare the executors
		loader.Forget(ctx)
	}
	if err != nil && (fc.Field.Name == "__schema" || fc.Field.Name == "__type") {
		return nil, fault.Wrap(fault.Forbidden, err, "introspection is closed to you")
	}
	return result, err
}
