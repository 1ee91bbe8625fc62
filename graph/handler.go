package graph

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/graph/loader"
	"emporium/internal/auth"
	"emporium/internal/cache"
	"emporium/internal/cache/remote"
	"emporium/internal/fault"
	"emporium/internal/httpserver"
	"emporium/internal/jobs"
	"emporium/internal/telemetry"
	"emporium/internal/usage"
)

// Options are what the handler needs.
type Options struct {
	Services      loader.Services
	Queues        jobs.Queues // by domain; staff sees the jobs in them
	Cookies       CookiePolicy
	Verifier      *auth.Verifier
	Metrics       *telemetry.Metrics
	Introspection Introspection
	Timeout       time.Duration // of one request; 0: 15 s
	Limits        Limits        // zero: DefaultLimits
	Points        *auth.Points  // bounds what the operations of a viewer or an address cost; nil: nothing does
	Origins       []string      // of pages that may ask, beside those of the server's own
	Draft         bool          // answer as graphql-http's audits want it: see form, and take documents by GET
	Schema        *ast.Schema   // nil: the generated one; another one in tests of the start-up check

	Streams *Streams // nil: some of its own, which nothing ends

	Cache  *cache.Cache  // nil: no answers are kept
	MaxAge time.Duration // of an answer that is kept, where no field says less; 0: an hour
	Purged bool          // a cache in front of the server is told what to drop
	Maker  string        // the program and its settings, as far as they show in answers: those of another maker are not ours

	Usage *usage.Counter // nil: nobody counts what clients use

	Trusted Trust // documents that were registered, and what becomes of others

	Documents *remote.Store // where documents are kept that clients ask for by their digest; nil: in this process alone

	loaders *loader.Set
	watch   watch
}

// Introspection says who may ask for the schema.
type Introspection string

const (
	IntrospectionOn    Introspection = "on"    // everyone
	IntrospectionStaff Introspection = "staff" // SUPPORT, MANAGER and ADMIN
	IntrospectionOff   Introspection = "off"   // nobody
)

const defaultTimeout = 15 * time.Second

// NewHandler returns the GraphQL endpoint: POST with JSON, and GET of documents that are kept. It fails if the schema breaks a rule of access, so that the
// server does not start.
func NewHandler(o Options) (http.Handler, error) {
	root := Resolver{Services: o.Services, Queues: o.Queues, Cookies: o.Cookies}
	gates := directives()
	generated := NewExecutableSchema(Config{Schema: o.Schema, Resolvers: root, Directives: gates})
	if err := errors.Join(CheckAccess(generated.Schema()), checkFunctions(gates)); err != nil {
		return nil, err
	}
	schema, err := newExecutable(generated, root, cmp.Or(o.MaxAge, time.Hour))
	if err != nil {
		return nil, err
	}
	schema.usage = o.Usage
	return o.handler(schema)
}

// handler returns the endpoint over an executable schema.
func (o Options) handler(schema graphql.ExecutableSchema) (http.Handler, error) {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	costs, err := newCosts(schema.Schema())
	if err != nil {
		return nil, err
	}

	// Forms and multipart are not mounted: forms would let other sites send mutations.
	o.loaders = loader.NewSet(o.Services, o.Metrics.Batch)
	if o.Streams == nil {
		o.Streams = NewStreams()
	}
	server := handler.New(schema)
	documents, err := newDocuments(o.Documents, o.Trusted)
	if err != nil {
		return nil, err
	}
	transport := post{dispatch: o.dispatch, documents: documents, log: o.log, open: o.Introspection == IntrospectionOn}
	if e, ok := schema.(executable); ok {
		transport.used = e.used
		if o.Cache != nil {
			transport.answers = &answers{cache: o.Cache, schema: e, maker: o.Maker, dispatch: o.dispatch, metrics: o.Metrics, purged: o.Purged, watch: o.watch}
			if transport.front, err = newFront(transport.answers, o.actor, o.Timeout); err != nil {
				return nil, err
			}
		}
		transport.events = &eventStream{subscriptions{o, e, transport.answers, nil}}
		server.AddTransport(socket{subscriptions{o, e, transport.answers, documents}})
	}
	server.AddTransport(transport)
	queries, err := newParsed()
	if err != nil {
		return nil, err
	}
	server.SetQueryCache(queries)
	server.SetParserTokenLimit(o.Limits.Tokens)
	server.Use(limiter{o.Limits, costs, queries, o.take})
	constraints, err := newConstraints(schema.Schema())
	if err != nil {
		return nil, err
	}
	server.Use(constraints)
	server.SetErrorPresenter(presentError)
	server.SetRecoverFunc(recovered)
	server.SetDisableSuggestion(o.Introspection != IntrospectionOn)
	if o.Introspection != IntrospectionOff {
		server.Use(extension.Introspection{})
	}
	server.AroundOperations(o.operation)
	server.AroundResponses(o.response)
	server.AroundFields(generatedField)
	checked := requests{Options: o, front: transport.front, documents: documents, next: o.viewer(o.admitted(server))}
	all := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if opensSocket(r) { // the viewer is told in its first message
			server.ServeHTTP(w, r)
			return
		}
		if transport.events != nil && strings.HasSuffix(r.URL.Path, singlePath) && transport.events.single(w, r, checked) {
			return
		}
		checked.ServeHTTP(w, r)
	})
	return httpserver.CrossSite(all, o.Origins, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Cache-Control"] = noStore
		o.refuse(w, r, http.StatusForbidden, fault.New(fault.Forbidden, "pages of this origin may not ask"))
	}), nil
}

// operation gives each operation its loaders.
func (o Options) operation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	// Answers do not depend on it, but for those about the schema, which are not kept.
	if o.Introspection == IntrospectionStaff && !auth.Peek(ctx).Has(auth.RoleSupport, auth.RoleManager, auth.RoleAdmin) {
		graphql.GetOperationContext(ctx).DisableIntrospection = true
	}
	respond := next(loader.With(ctx, o.loaders))
	return func(ctx context.Context) *graphql.Response {
		response := respond(ctx)
		if response == nil && ctx.Err() != nil {
			// gqlgen says nothing, "null", when the deadline passes before it begins.
			response = &graphql.Response{Errors: gqlerror.List{presentError(ctx, ctx.Err())}}
		}
		return response
	}
}

// response counts and logs each answer, those to what does not parse or validate too.
func (o Options) response(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	response := next(ctx)
	if response == nil {
		return nil
	}
	response.Errors = oneByOne(fewErrors(response.Errors))
	name, kind, took := "none", "none", time.Duration(0)
	if graphql.HasOperationContext(ctx) {
		op := graphql.GetOperationContext(ctx)
		took = time.Since(op.Stats.OperationStart)
		if op.Operation != nil {
			name, kind = operationName(op.Operation), string(op.Operation.Operation)
		}
	}
	o.count(ctx, name, kind, outcome(response.Errors), len(response.Errors), took)
	return response
}

// count tells metrics and log of an answer.
func (o Options) count(ctx context.Context, name, kind, outcome string, errors int, took time.Duration) {
	o.Metrics.Operation(name, kind, outcome, took)
	slog.LogAttrs(ctx, slog.LevelInfo, "operation", slog.String("operation", name), slog.String("kind", kind),
		slog.String("outcome", outcome), slog.Int("errors", errors), slog.Int64("us", took.Microseconds()))
}

// viewer turns the bearer token into the actor of the request. A token that does not hold ends the request: to carry on
// as nobody would hide from the client that it has to sign in again.
func (o Options) viewer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := r.Header.Get("Authorization")
		if header == "" {
			next.ServeHTTP(w, r)
			return
		}
		token, ok := bearer(header)
		if !ok || len(r.Header.Values("Authorization")) > 1 {
			o.refuseToken(w, r, errNoBearer())
			return
		}
		actor, err := o.actor(r.Context(), token)
		if err != nil {
			o.refuseToken(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(auth.With(r.Context(), actor)))
	})
}

// bearer returns the token of an Authorization header.
func bearer(header string) (token string, ok bool) {
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

func errNoBearer() error {
	return fault.New(fault.Unauthenticated, "the Authorization header is not of the form `Bearer TOKEN`")
}

// actor returns whom a bearer token stands for.
func (o Options) actor(ctx context.Context, token string) (auth.Actor, error) {
	actor, _, err := o.identify(ctx, token)
	return actor, err
}

// identify returns whom a bearer token stands for, a machine by its key or a person by an access token, and when the token
// stops to hold, if it says so.
func (o Options) identify(ctx context.Context, token string) (actor auth.Actor, ends time.Time, err error) {
	if auth.IsAPIKey(token) {
		actor, err = o.Services.Users.CheckAPIKey(ctx, token)
		return actor, ends, err
	}
	claims, err := o.Verifier.Verify(ctx, token)
	if err != nil {
		return actor, ends, err
	}
	actor, err = o.Services.Users.Check(ctx, claims)
	return actor, o.Verifier.Until(claims), err
}

// refuseToken answers a request whose viewer is not known.
func (o Options) refuseToken(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	switch fault.CodeOf(err) {
	case fault.Unauthenticated:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer realm="emporium", error="invalid_token"`)
	case fault.Timeout:
		status = http.StatusServiceUnavailable
	}
	o.refuse(w, r, status, err)
}

// refuse answers a request that did not get as far as the graph.
func (o Options) refuse(w http.ResponseWriter, r *http.Request, status int, err error) {
	shown := presentError(r.Context(), err)
	o.count(r.Context(), "none", "none", outcome(gqlerror.List{shown}), 1, 0)
	form := form{accept(r.Header["Accept"]).answer, o.Draft}
	form.send(w, status, appendAnswer(nil, &graphql.Response{Errors: gqlerror.List{shown}}, false))
}
