package graph

import (
	"context"
	"math"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/postgres"
	"emporium/internal/telemetry"
)

// dispatch executes an operation, if whoever asks has points enough left. Otherwise it has not begun.
type dispatch func(ctx context.Context, exec graphql.GraphExecutor, op *graphql.OperationContext) (response *graphql.Response, begun bool)

func (o Options) dispatch(ctx context.Context, exec graphql.GraphExecutor, op *graphql.OperationContext) (*graphql.Response, bool) {
	estimated := max(estimatedCost(op), 1)
	if refused := o.reserve(ctx, exec, op, estimated); refused != nil {
		return refused, false
	}
	if op.Operation.Operation == ast.Query { // a mutation is not left half done
		ctx = postgres.WithBudget(ctx, o.Limits.Statements)
	}
	respond, ctx := exec.DispatchOperation(ctx, op)
	response := respond(ctx)
	if o.Points != nil {
		kind, payer := payer(ctx)
		o.Points.Settle(ctx, kind, payer, estimated-max(actualCost(op), 1))
	}
	return response, true
}

// reserve takes points from whoever asks, or returns the answer to those who have too few.
func (o Options) reserve(ctx context.Context, exec graphql.GraphExecutor, op *graphql.OperationContext, points int) (refused *graphql.Response) {
	err := o.take(ctx, points)
	if err == nil {
		return nil
	}
	return exec.DispatchError(graphql.WithOperationContext(ctx, op), gqlerror.List{{Err: err, Message: err.Error()}})
}

// take takes points from whoever asks. If there are too few, the error says when there will be enough.
func (o Options) take(ctx context.Context, points int) error {
	if o.Points == nil {
		return nil
	}
	kind, payer := payer(ctx)
	ok, wait := o.Points.Reserve(ctx, kind, payer, points)
	if ok {
		return nil
	}
	seconds := int(math.Ceil(wait.Seconds()))
	return later{fault.Newf(fault.RateLimited, "this costs more points than are left: come again in %d s", seconds), seconds}
}

// later is an error of what can be done some seconds later.
type later struct {
	error
	seconds int
}

func (l later) Unwrap() error { return l.error }

// explainedCost is what an operation costs: `extensions.cost` of the answer to a POST whose `extensions.cost.explain` is true.
type explainedCost struct {
	Estimated int `json:"estimated"` // before it was executed
	Actual    int `json:"actual"`
}

// costed executes an operation, whatever is kept, and tells in its answer what it costs.
func (p post) costed(ctx context.Context, exec graphql.GraphExecutor, op *graphql.OperationContext) (response *graphql.Response, begun bool, body []byte) {
	if p.answers != nil && op.Operation.Operation == ast.Mutation {
		response, begun = p.answers.mutation(ctx, exec, op)
	} else {
		response, begun = p.dispatch(ctx, exec, op)
	}
	body = appendAnswer(nil, response, begun)
	return response, begun, withExtension(body, "cost", explainedCost{estimatedCost(op), actualCost(op)})
}

// payer is by whom the points of an operation are counted.
func payer(ctx context.Context) (kind, key string) {
	if actor := auth.Peek(ctx); actor.SignedIn() {
		return auth.ThrottleViewerPoints, actor.ID.String()
	}
	return auth.ThrottleAddressPoints, auth.Network(telemetry.RequestFrom(ctx).ClientAddress)
}

// These are the costs of an operation, as they are kept by gqlgen beside it.
const (
	estimatedName = "estimatedCost"
	actualName    = "actualCost"
)

func estimatedCost(op *graphql.OperationContext) int {
	n, _ := op.Stats.GetExtension(estimatedName).(int)
	return n
}

// actualCost is known when the operation is over. Introspection costs what was estimated.
func actualCost(op *graphql.OperationContext) int {
	if n, ok := op.Stats.GetExtension(actualName).(int); ok {
		return n
	}
	return estimatedCost(op)
}
