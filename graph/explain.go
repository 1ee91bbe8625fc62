package graph

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"emporium/graph/exec"
	"emporium/internal/auth"
	"emporium/internal/postgres"
)

// Schema returns the schema that is served, which is not to be changed.
func Schema() *ast.Schema { return parsedSchema }

// Question is an operation of a document.
type Question struct {
	File      string // name of the document, for errors
	Document  string
	Operation string         // "" if there is only one
	Variables map[string]any // as JSON has them
}

// Explanation says what becomes of answers to a question.
type Explanation struct {
	Operation string
	Why       string        // they are not kept; "" if they are
	MaxAge    time.Duration // for which they are
	Limits    []string      // the fields that say no longer, as Type.field
	Scopes    []ScopeOf
	Guarded   bool // they show what not everybody may see: sealed in Redis, and not left to caches on the way

	plan *plan
}

// ScopeOf is for whom an answer to somebody holds: "public", "role" or "viewer".
type ScopeOf struct{ Who, Scope string }

// Explain says what the schema says of a question, without running it. Age is that of fields that say nothing of it. Errors
// name the file, the line and the reason.
func Explain(q Question, age time.Duration) (*Explanation, error) {
	root := Resolver{}
	schema, err := newExecutable(NewExecutableSchema(Config{Resolvers: root, Directives: directives()}), root, age)
	if err != nil {
		return nil, err
	}
	document, errs := gqlparser.LoadQueryWithRules(schema.Schema(), q.Document, rules.NewDefaultRules())
	if errs != nil {
		return nil, q.at(errs)
	}
	var op *ast.OperationDefinition
	switch op = document.Operations.ForName(q.Operation); {
	case op != nil:
	case q.Operation == "" && len(document.Operations) > 1:
		return nil, fmt.Errorf("%s: it has %d operations: name one of them", q.File, len(document.Operations))
	case q.Operation == "":
		return nil, fmt.Errorf("%s: it has no operation", q.File)
	default:
		return nil, fmt.Errorf("%s: it has no operation %q", q.File, q.Operation)
	}
	e := &Explanation{Operation: operationName(op)}
	if op.Operation != ast.Query {
		e.Why = "it is a " + string(op.Operation)
		return e, nil
	}
	variables := q.Variables
	if variables != nil {
		if variables, err = validator.VariableValues(schema.Schema(), op, q.Variables); err != nil {
			return nil, q.at(gqlerror.List{gqlerror.WrapIfUnwrapped(err)})
		}
	}
	compiled := schema.schema.Compile(op, variables)
	if compiled == nil {
		e.Why = "it asks for the schema"
		return e, nil
	}
	of := schema.policies.of(compiled)
	e.plan = &plan{Plan: compiled, policy: &of}
	p := e.plan.policy
	e.MaxAge, e.Guarded = p.maxAge, p.guarded
	compiled.Selects(func(s exec.Selected) bool {
		if schema.policies[s].maxAge == p.maxAge {
			e.Limits = append(e.Limits, s.Type+"."+s.Field)
		}
		return true
	})
	slices.Sort(e.Limits)
	if p.maxAge <= 0 {
		e.Why = "a field says @cacheControl(maxAge: 0)"
	}
	e.Scopes = append(e.Scopes, ScopeOf{"nobody in particular", string(p.scope(auth.Actor{}))})
	for _, role := range []auth.Role{auth.RoleCustomer, auth.RoleSupport, auth.RoleManager, auth.RoleAdmin} {
		e.Scopes = append(e.Scopes, ScopeOf{string(role), string(p.scope(auth.Actor{ID: [16]byte{1}, Roles: auth.Roles(role)}))})
	}
	return e, nil
}

func (q Question) at(errs gqlerror.List) error {
	var all []error
	for _, e := range errs {
		place := q.File
		if len(e.Locations) > 0 {
			place += fmt.Sprintf(":%d:%d", e.Locations[0].Line, e.Locations[0].Column)
		}
		if path := e.Path.String(); path != "" {
			place += ": " + path
		}
		all = append(all, fmt.Errorf("%s: %s", place, e.Message))
	}
	return errors.Join(all...)
}

// Ran is what was found by running a question.
type Ran struct {
	Statements int
	Tags       []string // what its answer was read from; a change of any voids it
	Relations  []string
	Why        string // it can not be kept, as far as what was read decides
	Errors     []string
}

// Run runs a question that Explain has explained, for an actor, by way of all that a request goes through, and without a
// cache. It changes nothing.
func (e *Explanation) Run(ctx context.Context, o Options, q Question, actor auth.Actor) (*Ran, error) {
	if e.plan == nil {
		return nil, errors.New(e.Why + ": only queries of data are run")
	}
	o.Cache, o.Documents = nil, nil
	handler, err := NewHandler(o)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"query": q.Document, "operationName": q.Operation, "variables": q.Variables})
	if err != nil {
		return nil, err
	}
	ctx, recorder := postgres.Record(auth.With(ctx, actor))
	ctx, asked := auth.Watch(ctx)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/graphql", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	out := &written{header: http.Header{}}
	handler.ServeHTTP(out, r)
	var answer struct{ Errors gqlerror.List }
	if err := json.Unmarshal(out.body.Bytes(), &answer); err != nil {
		return nil, fmt.Errorf("%s: the answer can not be read: %w", q.File, err)
	}
	ran := &Ran{Statements: len(recorder.Statements()), Tags: recorder.Names(), Relations: recorder.Relations(), Why: recorder.Uncacheable()}
	for _, e := range answer.Errors {
		ran.Errors = append(ran.Errors, strings.TrimPrefix(e.Path.String()+": "+e.Message, ": "))
	}
	if !e.plan.policy.covers(actor, asked) {
		ran.Why = cmp.Or(ran.Why, "it depends on more of the viewer than its fields say")
	}
	if len(ran.Errors) > 0 {
		ran.Why = cmp.Or(ran.Why, "it has errors")
	}
	return ran, nil
}

// written is an answer that is kept in memory.
type written struct {
	header http.Header
	body   bytes.Buffer
}

func (w *written) Header() http.Header         { return w.header }
func (w *written) WriteHeader(int)             {}
func (w *written) Write(b []byte) (int, error) { return w.body.Write(b) }
