package graph

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/manifest"
	"emporium/internal/usage"
)

// TrustMode says what becomes of documents that are in no manifest.
type TrustMode string

// The modes, from the laxest to the strictest.
const (
	TrustOff     TrustMode = "off"     // they are run
	TrustLog     TrustMode = "log"     // they are run, logged and counted
	TrustRequire TrustMode = "require" // they are refused
)

// Trust says which documents are run.
type Trust struct {
	Documents *manifest.Set        // nil: there are none
	Mode      TrustMode            // empty: off
	Clients   map[string]TrustMode // by name; a laxer one than Mode is for staff alone, since anybody can take a name
}

// active reports whether what is in no manifest is told apart for anybody.
func (t Trust) active() bool {
	strict := func(m TrustMode) bool { return m == TrustLog || m == TrustRequire }
	for _, m := range t.Clients {
		if strict(m) {
			return true
		}
	}
	return strict(t.Mode)
}

// of returns the mode for a client, named by its headers.
func (t Trust) of(h http.Header, staff bool) TrustMode {
	order := []TrustMode{TrustOff, TrustLog, TrustRequire}
	own, listed := t.Clients[usage.ClientOf(h).Name]
	if listed && (staff || slices.Index(order, own) > slices.Index(order, t.Mode)) {
		return own
	}
	return t.Mode
}

// refuses reports whether a client may not run what is in no manifest, whoever the viewer is.
func (t Trust) refuses(h http.Header) bool {
	return t.of(h, false) == TrustRequire && t.of(h, true) == TrustRequire
}

// label names a client in metrics, where only those that are listed have a name.
func (t Trust) label(h http.Header) string {
	name := usage.ClientOf(h).Name
	if _, listed := t.Clients[name]; !listed {
		return usage.Other.Name
	}
	return name
}

// LoadTrusted loads manifests. A document that the server would refuse to anybody, by its form or its schema, is a problem.
func LoadTrusted(files []string, l Limits) (*manifest.Set, []error) {
	return manifest.Load(files, func(text string) error { return l.checkDocument(Schema(), text) })
}

// checkDocument names the lines of a document at which it is bad.
func (l Limits) checkDocument(schema *ast.Schema, text string) error {
	document, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, l.Tokens)
	if err != nil {
		return inLines(gqlerror.List{gqlerror.WrapIfUnwrapped(err)})
	}
	if len(document.Operations) == 0 {
		return errors.New("it has no operation")
	}
	if refusal := l.shape(document); refusal != nil {
		return errors.New(refusal.Message)
	}
	return inLines(validator.ValidateWithRules(schema, document, rules.NewDefaultRules()))
}

func inLines(errs gqlerror.List) error {
	var all []string
	for _, e := range errs[:min(len(errs), maxInvalid)] {
		where := ""
		if len(e.Locations) > 0 {
			where = fmt.Sprintf("line %d of the document: ", e.Locations[0].Line)
		}
		all = append(all, where+e.Message)
	}
	if len(all) == 0 {
		return nil
	}
	return errors.New(strings.Join(all, "; "))
}

func errUntrusted() *gqlerror.Error {
	const message = "only documents that were registered with the server are run"
	return &gqlerror.Error{Err: fault.New(fault.Forbidden, message), Message: message, Extensions: map[string]any{"code": string(fault.Forbidden)}}
}

// find puts the document that a request asks for into its parameters, and reports whether it is in no manifest while that matters.
// Whether the client may run it is another question, unless nobody may by this client's name.
func (d *documents) find(ctx context.Context, params *graphql.RawParams, h http.Header) (p *persisted, untrusted bool, failed *gqlerror.Error) {
	p, wellFormed := persistedQuery(params)
	if p != nil {
		if text, ok := d.trust.Documents.Find(p.id); ok && (!p.keep || text == params.Query) {
			params.Query, p.keep = text, false // where it stands it stays
			return p, false, nil
		}
	}
	untrusted = d.trust.active() && (params.Query == "" || !d.trust.Documents.Has(params.Query))
	switch {
	case p == nil || p.keep && wellFormed && sha256.Sum256([]byte(params.Query)) == p.digest:
		if untrusted && d.trust.refuses(h) {
			return nil, true, errUntrusted()
		}
		return p, untrusted, nil
	case !wellFormed && (p.keep || d.trust.Documents == nil):
		return nil, untrusted, refused("`extensions.persistedQuery.sha256Hash` is not the SHA-256 of the document, in hexadecimal")
	case p.keep:
		return nil, untrusted, refused("`extensions.persistedQuery.sha256Hash` is that of another document")
	case d.trust.active() && d.trust.refuses(h):
		return nil, true, errUntrusted()
	}
	var ok bool
	if wellFormed {
		params.Query, ok = d.get(ctx, p.digest)
	}
	if !ok {
		return nil, untrusted, errNotPersisted()
	}
	return p, untrusted, nil
}

// admit decides about a document that is in no manifest, once it is known who asks and before anything of it is parsed; logged is to be
// told of the operation.
func (o Options) admit(ctx context.Context, h http.Header) (logged bool, refused *gqlerror.Error) {
	switch o.Trusted.of(h, auth.Peek(ctx).Staff()) {
	case TrustRequire:
		return false, errUntrusted()
	case TrustLog:
		return true, nil
	default:
		return false, nil
	}
}

// admitted lets requests through whose document may be run.
func (o Options) admitted(next http.Handler) http.Handler {
	if !o.Trusted.active() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if x := r.Context().Value(exchangeKey{}).(*exchange); x.untrusted {
			var err *gqlerror.Error
			if x.logged, err = o.admit(r.Context(), r.Header); err != nil {
				o.refuseUntrusted(w, r, err)
				return
			}
			x.exempt = o.Trusted.of(r.Header, false) == TrustRequire
		}
		next.ServeHTTP(w, r)
	})
}

func (o Options) refuseUntrusted(w http.ResponseWriter, r *http.Request, err *gqlerror.Error) {
	o.Metrics.Untrusted(o.Trusted.label(r.Header), "refused")
	o.refuse(w, r, http.StatusForbidden, err.Err)
}

// log notes that an operation is run that is in no manifest.
func (o Options) log(ctx context.Context, op *graphql.OperationContext) {
	o.Metrics.Untrusted(o.Trusted.label(op.Headers), "run")
	client := usage.ClientOf(op.Headers).Shown()
	slog.LogAttrs(ctx, slog.LevelWarn, "untrusted document", slog.String("operation", operationName(op.Operation)), slog.String("client", client.Name),
		slog.String("version", client.Version), slog.String("sha256", fmt.Sprintf("%x", sha256.Sum256([]byte(op.RawQuery)))))
}

// begin finds and admits the document of an operation over a connection, where nothing has looked at it before.
func (o Options) begin(ctx context.Context, d *documents, params *graphql.RawParams) (logged bool, failed *gqlerror.Error) {
	_, untrusted, failed := d.find(ctx, params, params.Headers)
	if failed == nil && untrusted {
		logged, failed = o.admit(ctx, params.Headers)
	}
	if failed != nil {
		if failed.Extensions == nil {
			failed = presentError(ctx, failed)
		}
		if failed.Extensions["code"] == string(fault.Forbidden) {
			o.Metrics.Untrusted(o.Trusted.label(params.Headers), "refused")
		}
		o.count(ctx, "none", "none", outcome(gqlerror.List{failed}), 1, 0)
	}
	return logged, failed
}
