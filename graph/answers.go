package graph

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"emporium/internal/auth"
	"emporium/internal/cache"
	"emporium/internal/postgres"
	"emporium/internal/telemetry"
)

// answers answers queries from the cache, and makes mutations wait until nothing older is answered from it.
type answers struct {
	cache    *cache.Cache
	schema   executable
	maker    string // see Options
	dispatch dispatch
	metrics  *telemetry.Metrics
	purged   bool // a cache in front of the server is told what to drop
	watch    watch
}

// watch is told what becomes of answers; for tests.
type watch struct {
	answered func(ctx context.Context, level cache.Level, why string)
	// exceeded is told of an answer that depends on more of the viewer than its operation's policy says.
	exceeded func(op *graphql.OperationContext, asked *auth.Asked)
}

// answered is an answer that was not found in the cache.
type answered struct {
	response *graphql.Response
	body     []byte
	begun    bool // the operation
}

// query answers a query. With an entry come the plan and the digest of the question.
func (a *answers) query(ctx context.Context, exec graphql.GraphExecutor, op *graphql.OperationContext) (
	found cache.Result[answered], plan *plan, digest [sha256.Size]byte,
) {
	if a.watch.answered != nil {
		defer func() { a.watch.answered(ctx, found.Level, found.Why) }()
	}
	respond := func(ctx context.Context) answered {
		response, begun := a.dispatch(ctx, exec, op)
		return answered{response, appendAnswer(make([]byte, 0, len(response.Data)+64), response, begun), begun}
	}
	pass := func(why string) cache.Result[answered] {
		a.metrics.CacheRefused("policy")
		return cache.Result[answered]{Value: respond(ctx), Level: cache.Bypass, Why: why}
	}
	plan = a.schema.plan(op)
	switch {
	case plan == nil:
		return pass("it asks for the schema"), nil, digest
	case plan.policy.maxAge <= 0:
		return pass("@cacheControl(maxAge: 0)"), plan, digest
	}
	actor := auth.Peek(ctx)
	digest, ok := a.digest(op)
	if !ok {
		return pass("its variables have no canonical form"), plan, digest
	}
	found = cache.Get(ctx, a.cache, plan.policy.key(digest, actor), plan.policy.guarded, func(ctx context.Context) cache.Filled[answered] {
		ctx, asked := auth.Watch(ctx)
		m := respond(ctx)
		filled := cache.Filled[answered]{Value: m, MaxAge: plan.policy.maxAge}
		switch {
		case len(m.response.Errors) > 0:
			filled.Why, filled.Reason = "it has errors", cache.Failed
		case !plan.policy.covers(actor, asked):
			filled.Why, filled.Reason = "it depends on more of the viewer than its fields say", cache.Scope
			slog.ErrorContext(ctx, "an answer depends on more of the viewer than its operation's policy says, and was not kept",
				"operation", operationName(op.Operation), "roles", asked.Roles().String(), "id", asked.ID())
			if a.watch.exceeded != nil {
				a.watch.exceeded(op, asked)
			}
		default:
			filled.Body = m.body
		}
		return filled
	})
	return found, plan, digest
}

// digest names a question, whoever asks it: no two whose answers can differ share one. Every part begins with its length.
func (a *answers) digest(op *graphql.OperationContext) (digest [sha256.Size]byte, ok bool) {
	variables, err := json.Marshal(op.Variables) // members of objects in the order of their names, numbers as they came
	if err != nil {
		return digest, false
	}
	room := [1024]byte{}
	b := room[:0]
	part := func(text string) {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	part(a.schema.fingerprint)
	part(a.maker)
	part(op.RawQuery)
	part(op.Operation.Name)
	part(string(variables))
	return sha256.Sum256(b), true
}

// mutation runs a mutation, and waits.
func (a *answers) mutation(ctx context.Context, exec graphql.GraphExecutor, op *graphql.OperationContext) (response *graphql.Response, begun bool) {
	ctx, recorder := postgres.Record(ctx)
	response, begun = a.dispatch(ctx, exec, op)
	if err := a.cache.Await(ctx, recorder.Used()); err != nil {
		// What was written is written, and leases have run out by now.
		slog.ErrorContext(ctx, "it could not be found out who follows the database; waited for as long as a lease lasts", "error", err)
	}
	return response, begun
}

// hit tells metrics and log of an answer from the cache.
func (a *answers) hit(ctx context.Context, op *graphql.OperationContext) {
	name, took := operationName(op.Operation), time.Since(op.Stats.OperationStart)
	a.metrics.Operation(name, string(ast.Query), "cached", took)
	slog.LogAttrs(ctx, slog.LevelDebug, "operation", slog.String("operation", name), slog.String("outcome", "cached"),
		slog.Int64("us", took.Microseconds()))
}
