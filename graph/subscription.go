package graph

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/graph/exec"
	"emporium/graph/loader"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/postgres"
)

// subscriptions run subscriptions, for whichever transport brings them.
type subscriptions struct {
	Options
	schema executable
}

// errNotSubscribed is about an operation that belongs into a request of its own: there it can set the cookie.
func errNotSubscribed() error {
	return fault.New(fault.BadUserInput, "only subscriptions are answered here: send queries and mutations by POST, accepting application/json")
}

// run tells a subscriber what happens, one event at a time, until there is nothing more, ctx is done, or send fails. It
// returns the errors that have ended it, if any; these are not sent.
//
// The viewer, given by the token, is checked for each event as for a request of its own, and each event has its own
// loaders and deadline. What is not taken by send meanwhile becomes one event later: nothing piles up here.
func (s subscriptions) run(
	ctx context.Context, executor graphql.GraphExecutor, token string, params *graphql.RawParams, send func(*graphql.Response) error,
) gqlerror.List {
	ctx, cancel := context.WithCancel(graphql.StartOperationTrace(ctx))
	defer cancel()
	first, done := context.WithTimeout(ctx, s.Timeout)
	defer done()
	viewed, err := s.as(first, token)
	if err != nil {
		return gqlerror.List{presentError(ctx, err)}
	}
	params.ReadTime = graphql.TraceTiming{Start: graphql.Now(), End: graphql.Now()}
	op, errs := executor.CreateOperationContext(viewed, params)
	if errs == nil && op.Operation.Operation != ast.Subscription {
		errs = gqlerror.List{{Err: errNotSubscribed(), Message: errNotSubscribed().Error()}}
	}
	if errs != nil {
		return executor.DispatchError(graphql.WithOperationContext(viewed, op), errs).Errors
	}
	p := s.schema.plan(op) // there is one: the schema is none of a subscription's fields
	began := time.Now()
	source := auth.With(graphql.WithOperationContext(ctx, op), auth.From(viewed))
	source = loader.With(graphql.WithResponseContext(source, presentError, recovered), s.loaders)
	late := time.AfterFunc(s.Timeout, cancel) // the source outlives the deadline of its beginning
	next := s.schema.schema.Subscribe(source, p.Plan, op.Variables)
	if !late.Stop() || next == nil {
		errs := graphql.GetErrors(source)
		if len(errs) == 0 {
			errs = gqlerror.List{presentError(source, context.DeadlineExceeded)}
		}
		s.count(source, operationName(op.Operation), string(ast.Subscription), outcome(errs), len(errs), time.Since(began))
		return errs
	}
	s.schema.usedBy(p, op).Count(op.Headers)
	for {
		event, err := waitFor(ctx, next, s.Streams.pace.recheck)
		switch {
		case ctx.Err() != nil || errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			if err := s.recheck(graphql.WithOperationContext(ctx, op), token, p); err != nil {
				return gqlerror.List{presentError(ctx, err)}
			}
			continue
		case err != nil:
			return gqlerror.List{presentError(ctx, err)}
		}
		response, came, err := s.event(graphql.WithOperationContext(ctx, op), token, op, p, event)
		if err != nil {
			return gqlerror.List{presentError(ctx, err)}
		}
		if len(response.Errors) > 0 && (!came || failed(response.Errors)) {
			return response.Errors
		}
		if send(response) != nil || !came {
			return nil
		}
	}
}

// failed reports whether an event could not be told in full through our fault. It then counts as not told, and the
// subscription ends: its client begins again from the one before.
func failed(errs gqlerror.List) bool {
	return slices.ContainsFunc(errs, func(e *gqlerror.Error) bool {
		code := e.Extensions["code"]
		return code == string(fault.Internal) || code == string(fault.Timeout)
	})
}

func waitFor(ctx context.Context, next exec.Events, most time.Duration) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return next(ctx)
}

// as returns a context of the viewer that the token stands for; nobody without one.
func (s subscriptions) as(ctx context.Context, token string) (context.Context, error) {
	if token == "" {
		return ctx, nil
	}
	actor, err := s.actor(ctx, token)
	return auth.With(ctx, actor), err
}

// recheck fails if the viewer may not have the subscription any more. Whether it still may can be left open: nothing is told
// by it.
func (s subscriptions) recheck(ctx context.Context, token string, p *plan) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	ctx, err := s.as(ctx, token)
	if err == nil {
		err = s.schema.schema.Permitted(ctx, p.Plan)
	}
	if code := fault.CodeOf(err); code == fault.Unauthenticated || code == fault.Forbidden {
		return err
	}
	return nil
}

// event makes the answer of an event, and reports whether there was something for the viewer in it. It fails if the viewer
// is not known any more.
func (s subscriptions) event(
	ctx context.Context, token string, op *graphql.OperationContext, p *plan, event any,
) (response *graphql.Response, came bool, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if ctx, err = s.as(ctx, token); err != nil {
		return nil, false, err
	}
	ctx = loader.With(graphql.WithResponseContext(ctx, presentError, recovered), s.loaders)
	if p.wanted != nil {
		ctx = postgres.WithWanted(ctx, p.wanted)
	}
	response = &graphql.Response{}
	response.Data, came = s.schema.schema.RunEvent(ctx, p.Plan, op.Variables, event)
	response.Errors = fewErrors(graphql.GetErrors(ctx))
	s.count(ctx, operationName(op.Operation), string(ast.Subscription), outcome(response.Errors), len(response.Errors), time.Since(began))
	return response, came, nil
}
