package graph

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"emporium/internal/auth"
	"emporium/internal/cache"
	"emporium/internal/postgres"
)

// mostTags bounds how many tags an answer shows.
const mostTags = 100

// explanation says how an answer was come by: `extensions.cache` of the answer to a POST whose `extensions.cache.explain`
// is true. Staff may ask, and where the schema is open to everyone, everyone.
type explanation struct {
	Level  cache.Level `json:"level"`  // local, remote, shared, miss or bypass
	Age    float64     `json:"age"`    // of the answer, in seconds
	MaxAge float64     `json:"maxAge"` // for which it may be kept, in seconds
	Scope  scope       `json:"scope"`  // for whom the answer holds: public, role or viewer
	// Tags are what the answer was made of: names if it was made just now; of one that was kept before only the surrogate keys
	// are known, after a #.
	Tags     []string `json:"tags"`
	MoreTags int      `json:"moreTags"` // that are not shown
	Reason   string   `json:"reason,omitempty"`
}

// wantsExplanation reports whether a request asks how its answer is come by, or what it costs.
func wantsExplanation(r *http.Request, params *graphql.RawParams, of string) bool {
	asked, _ := params.Extensions[of].(map[string]any)
	return r.Method == http.MethodPost && asked["explain"] == true
}

// explained answers a query like any other, under the same key, and returns the answer with the explanation in it. What is
// kept is without.
func (a *answers) explained(ctx context.Context, exec graphql.GraphExecutor, op *graphql.OperationContext) []byte {
	recorded, recorder := postgres.Record(ctx)
	found, plan, _ := a.query(recorded, exec, op)
	e := explanation{Level: found.Level, Reason: found.Why, Scope: scopePublic, Tags: []string{}}
	if plan != nil {
		e.MaxAge, e.Scope = plan.policy.maxAge.Seconds(), plan.policy.scope(auth.Peek(ctx))
	}
	names, body := recorder.Names(), found.Value.body
	if found.Entry != nil {
		e.Age = time.Since(found.Entry.Made).Seconds()
		if body == nil {
			body, names = found.Entry.Body, nil
			for _, slot := range found.Entry.Tags() {
				names = append(names, string(cache.AppendSurrogateKey([]byte{'#'}, slot)))
			}
		}
	}
	e.Tags = append(e.Tags, names[:min(len(names), mostTags)]...)
	e.MoreTags = len(names) - len(e.Tags)
	if found.Value.body == nil {
		a.hit(ctx, op)
	}
	return withExtension(body, "cache", e)
}

// withExtension returns a copy of an answer, which has no extensions yet, with one.
func withExtension(answer []byte, name string, value any) []byte {
	answer = bytes.TrimSuffix(answer, []byte{'}'})
	b := append(make([]byte, 0, len(answer)+1024), answer...)
	b = append(b, `,"extensions":{"`+name+`":`...)
	return append(append(b, encode(value)...), "}}"...)
}
