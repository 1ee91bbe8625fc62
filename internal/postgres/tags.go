package postgres

import (
	"context"
	"slices"
	"sync"
)

// Tag names something that a statement reads: a row, "products.variants:0190…", or a whole relation in the sense of
// "any row that is or comes to be in it", "products.variants:*".
type Tag string

// All returns the tag of a whole relation: what a list, a search or a count reads.
func All(relations ...string) []Tag {
	tags := make([]Tag, len(relations))
	for i, r := range relations {
		tags[i] = Tag(r + ":*")
	}
	return tags
}

// Rows returns the tags of single rows of a relation, read by a key of any kind that prints.
func Rows[K interface{ String() string }](relation string, keys ...K) []Tag {
	tags := make([]Tag, len(keys))
	for i, k := range keys {
		tags[i] = Tag(relation + ":" + k.String())
	}
	return tags
}

// Recorder collects what was read on behalf of a context. It is safe for concurrent use.
type Recorder struct {
	mu         sync.Mutex
	statements []string
	tags       map[Tag]struct{}
}

type recorderKey struct{}

// Record returns a context whose statements are recorded.
func Record(ctx context.Context) (context.Context, *Recorder) {
	r := &Recorder{tags: map[Tag]struct{}{}}
	return context.WithValue(ctx, recorderKey{}, r), r
}

func recorderFrom(ctx context.Context) *Recorder {
	r, _ := ctx.Value(recorderKey{}).(*Recorder)
	return r
}

func (r *Recorder) add(s Stmt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements = append(r.statements, s.Name)
	for _, t := range s.Reads {
		r.tags[t] = struct{}{}
	}
}

// Statements returns the names of the statements so far, in the order in which they began.
func (r *Recorder) Statements() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.statements)
}

// Tags returns the tags of what was read so far, sorted.
func (r *Recorder) Tags() []Tag {
	r.mu.Lock()
	defer r.mu.Unlock()
	tags := make([]Tag, 0, len(r.tags))
	for t := range r.tags {
		tags = append(tags, t)
	}
	slices.Sort(tags)
	return tags
}
