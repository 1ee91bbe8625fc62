package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/graph/loader"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/telemetry"
)

// Options are what the handler needs.
type Options struct {
	Services      loader.Services
	Cookies       CookiePolicy
	Verifier      *auth.Verifier
	Metrics       *telemetry.Metrics
	Introspection Introspection
	Timeout       time.Duration // of one operation; 0: 15 s
	Schema        *ast.Schema   // nil: the generated one; another one in tests of the start-up check
}

// Introspection says who may ask for the schema.
type Introspection string

const (
	IntrospectionOn    Introspection = "on"    // everyone
	IntrospectionStaff Introspection = "staff" // SUPPORT, MANAGER and ADMIN
	IntrospectionOff   Introspection = "off"   // nobody
)

const (
	maxBody        = 256 << 10 // bytes of a request
	maxTokens      = 5_000     // of a document; the validator's cost grows with their square
	cachedQueries  = 1_000     // parsed documents
	defaultTimeout = 15 * time.Second
)

// NewHandler returns the GraphQL endpoint: POST with JSON, and GET for queries. It fails if the schema breaks a rule of
// access, so that the server does not start.
func NewHandler(o Options) (http.Handler, error) {
	root := Resolver{Services: o.Services, Cookies: o.Cookies}
	gates := directives()
	schema := NewExecutableSchema(Config{Schema: o.Schema, Resolvers: root, Directives: gates})
	if err := errors.Join(CheckAccess(schema.Schema()), checkFunctions(gates)); err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}

	// Forms, multipart and WebSocket are not mounted: forms would let other sites send mutations.
	server := handler.New(schema)
	server.AddTransport(transport.Options{AllowedMethods: []string{http.MethodOptions, http.MethodGet, http.MethodPost}})
	server.AddTransport(transport.GET{})
	server.AddTransport(transport.POST{})
	server.SetQueryCache(lru.New[*ast.QueryDocument](cachedQueries))
	server.SetParserTokenLimit(maxTokens)
	server.SetErrorPresenter(presentError)
	server.SetRecoverFunc(recovered)
	server.SetDisableSuggestion(o.Introspection != IntrospectionOn)
	if o.Introspection != IntrospectionOff {
		server.Use(extension.Introspection{})
	}
	server.AroundOperations(o.operation)
	server.AroundResponses(o.response)
	server.AroundFields(prefetch)
	return checkBody(o.viewer(withExchange(server))), nil
}

// checkBody refuses what is not a JSON object of bounded size before anything else looks at it: forms and plain text,
// which other sites may send without asking; batches; and malformed JSON, which gqlgen would repeat in its error.
func checkBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
			refuse(w, r, http.StatusUnsupportedMediaType, fault.New(fault.BadUserInput, "send the request as application/json"))
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			refuse(w, r, http.StatusRequestEntityTooLarge, fault.New(fault.BadUserInput, "the request is larger than 256 KiB"))
			return
		case err != nil:
			refuse(w, r, http.StatusBadRequest, fault.Wrap(fault.BadUserInput, err, "the request could not be read"))
			return
		case !json.Valid(body) || bytes.TrimLeft(body, " \t\r\n")[0] != '{':
			refuse(w, r, http.StatusBadRequest, fault.New(fault.BadUserInput, "the request is not a JSON object"))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// operation gives each operation its deadline and its loaders.
func (o Options) operation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	if o.Introspection == IntrospectionStaff && !auth.From(ctx).Staff() {
		graphql.GetOperationContext(ctx).DisableIntrospection = true
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	ctx = loader.With(ctx, loader.New(ctx, o.Services, o.Metrics.Batch))
	respond := next(ctx)
	return func(ctx context.Context) *graphql.Response {
		defer cancel()
		return respond(ctx)
	}
}

// response counts and logs each answer.
func (o Options) response(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	op := graphql.GetOperationContext(ctx)
	response := next(ctx)
	if response == nil || op.Operation == nil {
		return response
	}
	took := time.Since(op.Stats.OperationStart)
	name, result := operationName(op.Operation), outcome(response.Errors)
	o.Metrics.Operation(name, string(op.Operation.Operation), result, took)
	slog.InfoContext(ctx, "operation", "operation", name, "kind", op.Operation.Operation, "outcome", result,
		"errors", len(response.Errors), "ms", float64(took.Microseconds())/1000)
	return response
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
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" || len(r.Header.Values("Authorization")) > 1 {
			refuseToken(w, r, fault.New(fault.Unauthenticated, "the Authorization header is not of the form `Bearer TOKEN`"))
			return
		}
		claims, err := o.Verifier.Verify(r.Context(), strings.TrimSpace(token))
		if err != nil {
			refuseToken(w, r, err)
			return
		}
		actor, err := o.Services.Users.Check(r.Context(), claims)
		if err != nil {
			refuseToken(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(auth.With(r.Context(), actor)))
	})
}

// refuseToken answers a request whose viewer is not known.
func refuseToken(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	switch fault.CodeOf(err) {
	case fault.Unauthenticated:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer realm="emporium", error="invalid_token"`)
	case fault.Timeout:
		status = http.StatusServiceUnavailable
	}
	refuse(w, r, status, err)
}

// refuse answers a request that did not get as far as the graph.
func refuse(w http.ResponseWriter, r *http.Request, status int, err error) {
	shown := presentError(r.Context(), err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": gqlerror.List{shown}})
}
