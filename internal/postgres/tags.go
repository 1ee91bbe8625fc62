package postgres

import (
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"
)

// Tag names something that a statement reads: a row, "products.variants:0190…", or a whole relation in the sense of
// "any row that is or comes to be in it", "products.variants:*".
type Tag string

// Read is what a statement declares to read of a relation: rows by their keys, or all of it. It becomes tags only for
// whoever records them.
type Read struct {
	Relation string
	Keys     []uuid.UUID
	Whole    bool
}

// All declares whole relations: what a list, a search or a count reads.
func All(relations ...string) []Read {
	reads := make([]Read, len(relations))
	for i, r := range relations {
		reads[i] = Read{Relation: r, Whole: true}
	}
	return reads
}

// Rows declares single rows of a relation.
func Rows(relation string, keys ...uuid.UUID) []Read {
	return []Read{{Relation: relation, Keys: keys}}
}

// tags calls yield for each tag.
func (r Read) tags(yield func(Tag)) {
	if r.Whole {
		yield(Tag(r.Relation + ":*"))
	}
	for _, key := range r.Keys {
		yield(Tag(r.Relation + ":" + key.String()))
	}
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
	for _, read := range s.Reads {
		read.tags(func(t Tag) { r.tags[t] = struct{}{} })
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
