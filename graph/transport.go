package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/internal/auth"
	"emporium/internal/cache"
)

// decodeParams reads the body of a request: one JSON object with a query, or the ID of one that is kept or trusted, in documentId or
// in one of the members that Relay's clients are told to use. Numbers keep all their digits.
func decodeParams(body []byte) (*graphql.RawParams, bool) {
	if crowded(body) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	params := &graphql.RawParams{}
	asked := struct {
		*graphql.RawParams
		DocumentID any `json:"documentId"`
		DocID      any `json:"doc_id"`
		ID         any `json:"id"`
	}{RawParams: params}
	if d.Decode(&asked) != nil {
		return nil, false
	}
	for _, member := range []any{asked.DocumentID, asked.DocID, asked.ID} {
		if id, _ := member.(string); id != "" && params.Query == "" {
			byDocumentID(params, id)
			break
		}
	}
	if params.Query == "" && params.Extensions["persistedQuery"] == nil {
		return nil, false
	}
	_, err := d.Token()
	return params, err == io.EOF
}

// crowded reports whether JSON holds more values than are read, by the commas between them.
func crowded(body []byte) bool {
	commas, inText := 0, false
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			inText = !inText
		case '\\':
			i++ // which stands in texts alone
		case ',':
			if !inText {
				commas++
			}
		}
	}
	return commas >= maxValues
}

// post runs a request that has been let through. Unlike gqlgen's own transport it writes the data as the executor
// has made it, where encoding it with the rest would read it once more, and leaves it out where there is none because
// the operation did not begin (GraphQL specification, 7.1).
//
// A subscription is answered as an event stream if the request accepts one. Clients that can read either say so of queries
// too, whose answers are JSON all the same; whoever accepts nothing else gets everything as one.
type post struct {
	dispatch  dispatch
	events    *eventStream // nil: subscriptions are refused
	answers   *answers     // nil: nothing is kept
	front     *front
	documents *documents
	used      func(*graphql.OperationContext)                  // is told of operations that are answered; may be nil
	log       func(context.Context, *graphql.OperationContext) // is told of those in no manifest
	open      bool                                             // everybody may ask how an answer was come by
}

// Supports accepts every request: requests has seen to it.
func (post) Supports(*http.Request) bool { return true }

// Do answers one request.
func (p post) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	ctx := r.Context()
	x := ctx.Value(exchangeKey{}).(*exchange)
	params := x.params
	params.Headers = r.Header
	params.ReadTime = graphql.TraceTiming{Start: graphql.Now(), End: graphql.Now()}
	op, errs := exec.CreateOperationContext(ctx, params)
	streamed := p.events != nil && x.form.media == noMedia // which tells errors, too
	one := singleOf(ctx)
	errs = errs[:min(len(errs), maxInvalid)]
	if errs != nil && (!streamed || one != nil) {
		response := exec.DispatchError(graphql.WithOperationContext(ctx, op), errs)
		x.retry(response)
		x.form.send(w, x.form.refused(errs), appendAnswer(nil, response, false))
		return
	}
	if errs == nil && x.logged {
		p.log(ctx, op)
	}
	if errs == nil && x.persisted != nil && x.persisted.keep {
		p.documents.keep(x.persisted.digest, params.Query)
	}
	switch {
	case one != nil:
		one.operate(w, r, exec, params)
		return
	case errs == nil && op.Operation.Operation == ast.Mutation && r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		response := exec.DispatchError(graphql.WithOperationContext(ctx, op), gqlerror.List{refused("send mutations by POST")})
		x.form.send(w, http.StatusMethodNotAllowed, appendAnswer(nil, response, false))
		return
	case streamed, op.Operation.Operation == ast.Subscription && p.events != nil && x.events:
		p.events.serve(w, x.r.WithContext(auth.With(x.r.Context(), auth.Peek(ctx))), exec, params)
		return
	case op.Operation.Operation == ast.Subscription, x.form.media == noMedia:
		response := exec.DispatchError(graphql.WithOperationContext(ctx, op), gqlerror.List{refused(
			"a subscription is answered as text/event-stream, which has to be accepted, or over a WebSocket")})
		x.form.send(w, http.StatusNotAcceptable, appendAnswer(nil, response, false))
		return
	}
	kind := op.Operation.Operation
	x.compress = kind == ast.Query
	if p.used != nil {
		p.used(op)
	}
	switch {
	case wantsExplanation(r, x.params, "cost"):
		x.send(p.costed(ctx, exec, op))
	case p.answers == nil:
		response, begun := p.dispatch(ctx, exec, op)
		x.answer(response, begun)
	case kind == ast.Mutation:
		response, begun := p.answers.mutation(ctx, exec, op)
		x.answer(response, begun)
	default:
		p.query(w, r, x, exec, op)
	}
}

// query answers a query by way of the cache.
func (p post) query(w http.ResponseWriter, r *http.Request, x *exchange, exec graphql.GraphExecutor, op *graphql.OperationContext) {
	ctx := r.Context()
	explains := wantsExplanation(r, x.params, "cache")
	if explains && (p.open || auth.Staff(ctx)) {
		x.form.send(w, http.StatusOK, p.answers.explained(ctx, exec, op))
		return
	}
	found, plan, digest := p.answers.query(ctx, exec, op)
	if found.Entry == nil {
		x.send(found.Value.response, found.Value.begun, found.Value.body)
		return
	}
	// Or the front would answer without looking at who asks, or without keeping a document again that was lost.
	if keeps := x.persisted != nil && x.persisted.keep; !explains && !x.untrusted && !keeps {
		p.front.named(x, op, digest, plan)
	}
	if x.exempt { // a cache on the way would give it to those who may not ask
		x.form.send(w, http.StatusOK, found.Entry.Body)
	} else {
		p.answers.write(w, r, found.Entry, plan.policy, auth.Peek(ctx), x.form)
	}
	if found.Value.body == nil {
		p.answers.hit(ctx, op)
	}
}

// answer sends the answer of an operation.
func (x *exchange) answer(response *graphql.Response, begun bool) {
	x.send(response, begun, appendAnswer(make([]byte, 0, len(response.Data)+64), response, begun))
}

// send sends the answer of an operation that has begun, or was not let in.
func (x *exchange) send(response *graphql.Response, begun bool, body []byte) {
	status := x.form.executed(len(response.Errors) > 0)
	if !begun {
		status = http.StatusTooManyRequests
		x.retry(response)
	}
	if x.compress {
		addVary(x.w.Header(), varyForm)
		var encoding string
		if body, encoding = cache.Compress(body, list(x.r.Header["Accept-Encoding"])); encoding != "" {
			x.w.Header().Set("Content-Encoding", encoding)
		}
	}
	x.form.send(x.w, status, body)
}

// retry says when what came too soon can be asked again.
func (x *exchange) retry(response *graphql.Response) {
	if seconds, ok := response.Errors[0].Extensions["retryAfter"]; ok {
		x.w.Header().Set("Retry-After", fmt.Sprint(seconds))
	}
}

// appendAnswer appends the JSON of an answer, with data even if it is null when the operation has begun.
func appendAnswer(b []byte, response *graphql.Response, begun bool) []byte {
	separator := byte('{')
	member := func(name string, value []byte) {
		b = append(b, separator, '"')
		b = append(append(b, name...), '"', ':')
		b = append(b, value...)
		separator = ','
	}
	if len(response.Errors) > 0 {
		member("errors", encode(response.Errors))
	}
	if response.Data != nil || begun {
		data := []byte(response.Data)
		if data == nil {
			data = []byte("null")
		}
		member("data", data)
	}
	if len(response.Extensions) > 0 {
		member("extensions", encode(response.Extensions))
	}
	return append(b, '}')
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		b, _ = json.Marshal(gqlerror.List{{Message: "internal error", Extensions: map[string]any{"code": "INTERNAL"}}})
	}
	return b
}
