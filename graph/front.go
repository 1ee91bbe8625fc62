package graph

import (
	"bytes"
	"context"
	"crypto/sha256"
	"hash/maphash"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/maypok86/otter/v2"

	"emporium/internal/auth"
	"emporium/internal/cache"
	"emporium/internal/usage"
)

// front answers requests before anything of them is parsed: one that has come before, byte for byte, asks the same, so that
// its answer is looked up at once. It serves what is kept, here or in Redis, and leaves everything else to what is behind it.
type front struct {
	answers *answers
	actor   func(ctx context.Context, token string) (auth.Actor, error)
	timeout time.Duration // for finding out who asks
	seed    maphash.Seed
	known   *otter.Cache[uint64, *question]
}

// question is a request for an answer that can be kept.
type question struct {
	request []byte // the body of a POST, the query of a GET
	name    string // of the operation
	digest  [sha256.Size]byte
	policy  *policy
	uses    *usage.Set
}

func newFront(a *answers, actor func(context.Context, string) (auth.Actor, error), timeout time.Duration) (*front, error) {
	known, err := otter.New(&otter.Options[uint64, *question]{
		MaximumWeight: keptQuestions,
		Weigher:       func(_ uint64, q *question) uint32 { return uint32(len(q.request) + questionBytes) },
	})
	return &front{a, actor, timeout, maphash.MakeSeed(), known}, err
}

// remember notes what a request asks for.
func (f *front) remember(request []byte, name string, digest [sha256.Size]byte, p *policy, uses *usage.Set) {
	f.known.Set(maphash.Bytes(f.seed, request), &question{bytes.Clone(request), name, digest, p, uses})
}

// serve answers a request if its answer is kept, and reports whether it has; if not, also whether Redis was asked.
func (f *front) serve(w http.ResponseWriter, r *http.Request, request []byte, form form) (served, fetched bool) {
	q, ok := f.known.GetIfPresent(maphash.Bytes(f.seed, request))
	if !ok || !bytes.Equal(q.request, request) {
		return false, false
	}
	start := time.Now()
	actor, ok := f.viewer(r)
	if !ok {
		return false, false
	}
	key, level := q.policy.key(q.digest, actor), cache.Local
	e, ok := f.answers.cache.Lookup(key)
	if !ok {
		level = cache.Remote
		if e, ok = f.answers.cache.Fetch(r.Context(), key, q.policy.guarded); !ok {
			return false, true
		}
	}
	if f.answers.watch.answered != nil {
		f.answers.watch.answered(r.Context(), level, "")
	}
	f.answers.write(w, r, e, q.policy, actor, form)
	q.uses.Count(r.Header)
	f.answers.metrics.Operation(q.name, "query", "cached", time.Since(start))
	return true, false
}

// viewer returns who asks, if that can be told.
func (f *front) viewer(r *http.Request) (auth.Actor, bool) {
	headers := r.Header["Authorization"]
	if len(headers) == 0 {
		return auth.Actor{}, true
	}
	token, ok := bearer(headers[0])
	if !ok || len(headers) > 1 {
		return auth.Actor{}, false
	}
	ctx, cancel := context.WithTimeout(r.Context(), f.timeout)
	defer cancel()
	actor, err := f.actor(ctx, token)
	return actor, err == nil
}

// key names the answer to a question for an actor.
func (p *policy) key(digest [sha256.Size]byte, actor auth.Actor) cache.Key {
	room := [sha256.Size + 20]byte{}
	return sha256.Sum256(p.appendScope(append(room[:0], digest[:]...), actor))
}

// These are header values that need not be made for each answer.
var (
	noStore    = []string{"no-store"}
	varyForm   = []string{"Accept, Accept-Encoding"}
	varyViewer = []string{"Accept, Accept-Encoding, Authorization"}
)

// write sends an answer that is kept. To a GET it says for how long, and for whom, others may keep it (RFC 9111).
func (a *answers) write(w http.ResponseWriter, r *http.Request, e *cache.Entry, p *policy, actor auth.Actor, form form) {
	h := w.Header()
	body, encoding := e.Variant(list(r.Header["Accept-Encoding"]))
	h["Content-Type"] = form.contentType(http.StatusOK)
	vary := varyForm
	if r.Method == http.MethodPost {
		h["Cache-Control"] = noStore
	} else {
		etag := e.ETag(form.variant(encoding))
		if p.scope(actor) != scopePublic {
			vary = varyViewer
		}
		a.describe(h, e, p, actor, etag)
		if matches(list(r.Header["If-None-Match"]), etag) {
			addVary(h, vary)
			h.Del("Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	addVary(h, vary)
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	_, _ = w.Write(body) // whoever does not read the answer has gone
}

// addVary sets the header, or adds to what it says of origins.
func addVary(h http.Header, vary []string) {
	if of := h["Vary"]; len(of) > 0 {
		vary = append(slices.Clip(of), vary...)
	}
	h["Vary"] = vary
}

// list returns a header that is a list, which may come in several lines (RFC 9110, 5.3).
func list(lines []string) string {
	if len(lines) == 1 {
		return lines[0]
	}
	return strings.Join(lines, ",")
}

// maxSurrogateKeys bounds the header; what depends on more is not left to a cache on the way.
const maxSurrogateKeys = 250

// describe sets the headers about caching. Caches of clients always ask again, which costs a 304 as long as nothing has
// changed; those in front of the server may keep public answers for as long as the fields say, if they are told what to drop.
func (a *answers) describe(h http.Header, e *cache.Entry, p *policy, actor auth.Actor, etag string) {
	h.Set("ETag", etag)
	h.Set("Age", strconv.Itoa(max(0, int(time.Since(e.Made).Seconds())))) // another process may have made it, by another clock
	s := p.scope(actor)
	if p.guarded || s == scopeViewer || s == scopeRole && actor.Roles&p.roles != 0 {
		h.Set("Cache-Control", "private, no-cache")
		return
	}
	tags := e.Tags()
	if !a.purged || len(tags) > maxSurrogateKeys {
		h.Set("Cache-Control", "public, no-cache")
		return
	}
	// Not no-cache, which also keeps shared caches from answering by themselves, whatever s-maxage says.
	h.Set("Cache-Control", "public, max-age=0, must-revalidate, s-maxage="+strconv.Itoa(int(e.Ends.Sub(e.Made).Seconds())))
	keys := append(make([]byte, 0, 6*len(tags)+len(cache.KeyOfAll)), cache.KeyOfAll...)
	for _, tag := range tags {
		keys = cache.AppendSurrogateKey(append(keys, ' '), tag)
	}
	h.Set("Surrogate-Key", string(keys))
}

// matches reports whether an If-None-Match names an entity tag, compared weakly (RFC 9110, 13.1.2).
func matches(header, etag string) bool {
	for header != "" {
		var one string
		one, header, _ = strings.Cut(header, ",")
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == etag || one == "*" {
			return true
		}
	}
	return false
}

// named is an answer's operation, for the front.
func (f *front) named(x *exchange, op *graphql.OperationContext, digest [sha256.Size]byte, p *plan) {
	if f != nil && len(x.raw) > 0 {
		f.remember(x.raw, operationName(op.Operation), digest, p.policy, f.answers.schema.usedBy(p, op))
	}
}
