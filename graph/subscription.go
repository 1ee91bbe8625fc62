package graph

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/graph/exec"
	"emporium/graph/loader"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/order"
	"emporium/internal/postgres"
)

// subscriptions run the operations of streams, for whichever transport brings them.
type subscriptions struct {
	Options
	schema    executable
	answers   *answers   // nil: nothing is kept
	documents *documents // nil: the document was found and admitted before
}

// news is an answer to a subscriber: the JSON of an event, or of all there is.
type news struct {
	body   []byte
	cursor string // from which the subscription can go on after a break; "" if it can not
	last   bool   // there is nothing after it
}

// enter counts a stream until it leaves, or answers that there is no room.
func (s subscriptions) enter(w http.ResponseWriter, r *http.Request, kind string) (context.Context, *visit, bool) {
	ctx, v, err := s.Streams.enter(r.Context(), kind, s.Metrics)
	if err == nil {
		return ctx, v, true
	}
	status := http.StatusTooManyRequests
	if err == errStopping {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Retry-After", "5")
	s.refuse(w, r, status, err)
	return nil, nil, false
}

func (s subscriptions) errTooManyOperations() error {
	return fault.Newf(fault.RateLimited, "a stream carries at most %d operations at once", s.Streams.most.operations)
}

// run tells a subscriber what happens, one event at a time, until there is nothing more, ctx is done, or send fails; of a query
// or mutation it tells the answer. It returns the errors that have ended it, if any; these are not sent.
//
// The viewer of the stream is checked for each event as for a request of its own, and each event has its own loaders and
// deadline. What is not taken by send meanwhile becomes one event later: nothing piles up here. With a cursor, after, the
// subscription goes on from there if it has a variable for it.
func (s subscriptions) run(
	ctx context.Context, executor graphql.GraphExecutor, v *visit, params *graphql.RawParams, after string, send func(news) error,
) (errs gqlerror.List) {
	ctx, cancel := context.WithCancel(graphql.StartOperationTrace(ctx))
	defer cancel()
	defer func() {
		if p := recover(); p != nil { // nobody else would, in a goroutine of ours
			errs = gqlerror.List{presentError(ctx, recovered(ctx, p))}
		}
	}()
	first, done := context.WithTimeout(ctx, s.Timeout)
	defer done()
	viewed, err := s.as(first, v)
	if err != nil {
		return gqlerror.List{presentError(ctx, err)}
	}
	logged := false
	if s.documents != nil {
		var failed *gqlerror.Error
		if logged, failed = s.begin(viewed, s.documents, params); failed != nil {
			return gqlerror.List{failed}
		}
	}
	params.ReadTime = graphql.TraceTiming{Start: graphql.Now(), End: graphql.Now()}
	op, errs := executor.CreateOperationContext(viewed, params)
	if errs != nil {
		return executor.DispatchError(graphql.WithOperationContext(viewed, op), errs).Errors
	}
	if logged {
		s.log(viewed, op)
	}
	if op.Operation.Operation != ast.Subscription {
		finished, ok := v.work()
		if !ok {
			<-ctx.Done() // the stream ends; nothing was done
			return nil
		}
		defer finished()
		body, refused := s.once(viewed, executor, op)
		if refused != nil {
			return refused
		}
		_ = send(news{body: body, last: true})
		return nil
	}
	t := &tab{points: s.Points, paid: max(estimatedCost(op), 1)}
	t.kind, t.payer = payer(viewed)
	if refused := s.reserve(viewed, executor, op, t.paid); refused != nil {
		return refused.Errors
	}
	t.paid-- // whatever comes of it
	defer func() { t.settle(context.WithoutCancel(ctx)) }()
	p := s.schema.plan(op) // there is one: the schema is none of a subscription's fields
	resumable := cursorOf(op.Operation)
	if after != "" && resumable != "" {
		op.Variables[resumable] = after
	}
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
		event, err := t.waitFor(ctx, next, v.nextCheck(s.Streams.pace.recheck))
		switch {
		case ctx.Err() != nil || errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			if err := s.recheck(graphql.WithOperationContext(ctx, op), v, p); err != nil {
				return gqlerror.List{presentError(ctx, err)}
			}
			continue
		case err != nil:
			return gqlerror.List{presentError(ctx, err)}
		}
		response, cost, came, err := s.event(graphql.WithOperationContext(ctx, op), v, op, p, event)
		if err != nil {
			return gqlerror.List{presentError(ctx, err)}
		}
		t.paid -= max(cost, 1)
		if len(response.Errors) > 0 && (!came || failed(response.Errors)) {
			return response.Errors
		}
		now := news{body: appendAnswer(make([]byte, 0, len(response.Data)+64), response, true)}
		if change, ok := event.(*order.Change); ok && change != nil && change.Cursor != nil && resumable != "" {
			now.cursor = *change.Cursor
		}
		if send(now) != nil || !came {
			return nil
		}
	}
}

// cursorOf returns the name of the variable that says after which cursor a subscription goes on; "" if there is none.
func cursorOf(op *ast.OperationDefinition) string {
	if field, ok := op.SelectionSet[0].(*ast.Field); ok {
		if after := field.Arguments.ForName("after"); after != nil && after.Value.Kind == ast.Variable {
			return after.Value.Raw
		}
	}
	return ""
}

// once answers a query or a mutation as over HTTP: from the cache, or waiting for it. Errors are of one that has not begun.
func (s subscriptions) once(ctx context.Context, executor graphql.GraphExecutor, op *graphql.OperationContext) ([]byte, gqlerror.List) {
	s.schema.used(op)
	var response *graphql.Response
	var begun bool
	switch {
	case s.answers == nil:
		response, begun = s.dispatch(ctx, executor, op)
	case op.Operation.Operation == ast.Mutation:
		response, begun = s.answers.mutation(ctx, executor, op)
	default:
		found, _, _ := s.answers.query(ctx, executor, op)
		if found.Entry == nil {
			response, begun = found.Value.response, found.Value.begun
			break
		}
		if found.Value.body == nil {
			s.answers.hit(ctx, op)
		}
		return found.Entry.Body, nil
	}
	if !begun {
		return nil, response.Errors
	}
	return appendAnswer(make([]byte, 0, len(response.Data)+64), response, true), nil
}

// failed reports whether an event could not be told in full through our fault. It then counts as not told, and the
// subscription ends: its client begins again from the one before.
func failed(errs gqlerror.List) bool {
	return slices.ContainsFunc(errs, func(e *gqlerror.Error) bool {
		code := e.Extensions["code"]
		return code == string(fault.Internal) || code == string(fault.Timeout)
	})
}

// tab is what a subscriber has paid for events, in points, of which the estimate is the beginning.
type tab struct {
	points      *auth.Points // nil: there are no bounds
	kind, payer string
	paid        int // and not used; below 0: it is owed
}

// waitFor waits for an event, but not for longer than most. While there are no points for it there is none: what happens
// meanwhile becomes one event later.
func (t *tab) waitFor(ctx context.Context, next exec.Events, most time.Duration) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if t.paid < 0 { // as a debt it is one that can be paid, whatever the event has cost
		t.settle(ctx)
		t.paid = 0
	}
	for t.points != nil && t.paid == 0 {
		ok, wait := t.points.Reserve(ctx, t.kind, t.payer, 1)
		if ok {
			t.paid = 1
			break
		}
		select {
		case <-time.After(max(wait, 50*time.Millisecond)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return next(ctx)
}

// settle gives back what was not used, or remembers what is owed.
func (t *tab) settle(ctx context.Context) {
	if t.points != nil {
		t.points.Settle(ctx, t.kind, t.payer, t.paid)
	}
}

// recheck fails if the viewer may not have the subscription any more. Whether it still may can be left open: nothing is told
// by it.
func (s subscriptions) recheck(ctx context.Context, v *visit, p *plan) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	ctx, err := s.as(ctx, v)
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
	ctx context.Context, v *visit, op *graphql.OperationContext, p *plan, event any,
) (response *graphql.Response, cost int, came bool, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if ctx, err = s.as(ctx, v); err != nil {
		return nil, 0, false, err
	}
	ctx = loader.With(graphql.WithResponseContext(postgres.WithBudget(ctx, s.Limits.Statements), presentError, recovered), s.loaders)
	if p.wanted != nil {
		ctx = postgres.WithWanted(ctx, p.wanted)
	}
	response = &graphql.Response{}
	response.Data, cost, came = s.schema.schema.RunEvent(ctx, p.Plan, op.Variables, event)
	response.Errors = fewErrors(graphql.GetErrors(ctx))
	s.count(ctx, operationName(op.Operation), string(ast.Subscription), outcome(response.Errors), len(response.Errors), time.Since(began))
	return response, cost, came, nil
}
