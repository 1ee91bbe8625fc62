package postgres

import (
	"cmp"
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// Tag names something that a statement reads, in 64 bits: the rows of a relation that have a certain value in a column,
// or any row that is or comes to be in it. It is the same in all processes. Two things may share a tag by chance, so a
// tag is good for saying "perhaps changed", never for "the same".
type Tag uint64

// WholeTag is that of a relation as a whole.
func WholeTag(relation string) Tag { return Tag(xxhash.Sum64String(relation)) }

// Column is a column by whose values reads of a relation are told apart. There is a variable for each, so that whoever
// follows the changes of the database knows which values matter.
type Column struct {
	relation, name string
	prefix         string // what the tags of its values are made of
}

var columns = struct {
	sync.Mutex
	of map[string]map[string]Column
}{of: map[string]map[string]Column{}}

// ColumnOf returns the column of a relation, "products.variants" and "product_id". It is called when a package is
// initialised, not later.
func ColumnOf(relation, name string) Column {
	c := Column{relation, name, relation + "\x00" + name + "\x00"}
	columns.Lock()
	defer columns.Unlock()
	if columns.of[relation] == nil {
		columns.of[relation] = map[string]Column{}
	}
	columns.of[relation][name] = c
	return c
}

// Columns returns those that reads of a relation are told apart by, by their names.
func Columns(relation string) map[string]Column {
	columns.Lock()
	defer columns.Unlock()
	return maps.Clone(columns.of[relation])
}

// Tag is that of the rows with a value, as Postgres sends it in binary form: 16 bytes of a UUID, the bytes of a text.
func (c Column) Tag(value []byte) Tag {
	room := [128]byte{}
	return Tag(xxhash.Sum64(append(append(room[:0], c.prefix...), value...)))
}

// Of declares rows by their values: those that there are, and those that come to have one of them.
func (c Column) Of(keys ...uuid.UUID) []Read {
	return []Read{{Relation: c.relation, column: c, keys: keys}}
}

// OfTexts is Of for a column of texts.
func (c Column) OfTexts(values ...string) []Read {
	return []Read{{Relation: c.relation, column: c, texts: values}}
}

// Read is what a statement declares to read of a relation: rows by the values of a column, or all of it. It becomes tags
// only for whoever records them.
type Read struct {
	Relation string
	Whole    bool

	column Column
	keys   []uuid.UUID
	texts  []string
}

// All declares whole relations: what a list, a search or a count reads.
func All(relations ...string) []Read {
	reads := make([]Read, len(relations))
	for i, r := range relations {
		reads[i] = Read{Relation: r, Whole: true}
	}
	return reads
}

// Column returns the column by whose values rows are told apart; false if all of the relation is read.
func (r Read) Column() (name string, ok bool) { return r.column.name, !r.Whole }

// Empty reports whether nothing is declared: no keys of a relation.
func (r Read) Empty() bool { return !r.Whole && len(r.keys)+len(r.texts) == 0 }

// appendTags appends the tags of what is read. Beyond so many values of a column the whole relation is what is read.
func (r Read) appendTags(tags []Tag, most int) []Tag {
	if r.Whole || len(r.keys)+len(r.texts) > most {
		return append(tags, WholeTag(r.Relation))
	}
	for i := range r.keys {
		tags = append(tags, r.column.Tag(r.keys[i][:]))
	}
	for _, text := range r.texts {
		tags = append(tags, r.column.Tag([]byte(text)))
	}
	return tags
}

// names calls yield with the names of the tags, for people.
func (r Read) names(yield func(string)) {
	if r.Whole {
		yield(r.Relation + ":*")
	}
	for _, key := range r.keys {
		yield(r.Relation + "." + r.column.name + ":" + key.String())
	}
	for _, text := range r.texts {
		// What it says may be personal, and is of no use to whoever wants to know what an answer depends on.
		yield(r.Relation + "." + r.column.name + ":#" + hex.EncodeToString(binaryTag(r.column.Tag([]byte(text)))))
	}
}

func binaryTag(t Tag) []byte {
	return []byte{byte(t >> 56), byte(t >> 48), byte(t >> 40), byte(t >> 32), byte(t >> 24), byte(t >> 16), byte(t >> 8), byte(t)}
}

// Recorder collects what was read on behalf of a context. It is safe for concurrent use.
type Recorder struct {
	mu          sync.Mutex
	statements  []string
	reads       []Read
	uncacheable string
	parent      *Recorder
	used        map[*DB]struct{}
}

type recorderKey struct{}

// Record returns a context whose statements are recorded, also by whoever records the context already.
func Record(ctx context.Context) (context.Context, *Recorder) {
	r := &Recorder{parent: recorderFrom(ctx), used: map[*DB]struct{}{}}
	return context.WithValue(ctx, recorderKey{}, r), r
}

func recorderFrom(ctx context.Context) *Recorder {
	r, _ := ctx.Value(recorderKey{}).(*Recorder)
	return r
}

func (r *Recorder) add(db *DB, s Stmt) {
	if r.parent != nil {
		r.parent.add(db, s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements = append(r.statements, s.Name)
	r.reads = append(r.reads, s.Reads...)
	r.used[db] = struct{}{}
	switch {
	case r.uncacheable != "":
	case s.Volatile:
		r.uncacheable = "statement " + s.Name + " depends on more than the database"
	case len(s.Reads) == 0:
		r.uncacheable = "statement " + s.Name + " does not say what it reads"
	}
}

func (r *Recorder) also(reads []Read) {
	if r.parent != nil {
		r.parent.also(reads)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, reads...)
}

// Uncacheable notes on whatever is recorded that its answer depends on something that no tag stands for, such as the
// time.
func Uncacheable(ctx context.Context, reason string) {
	for r := recorderFrom(ctx); r != nil; r = r.parent {
		r.mu.Lock()
		r.uncacheable = cmp.Or(r.uncacheable, reason)
		r.mu.Unlock()
	}
}

// Statements returns the names of the statements so far, in the order in which they began.
func (r *Recorder) Statements() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.statements)
}

// Uncacheable returns why an answer made of what was read can not be kept, or nothing.
func (r *Recorder) Uncacheable() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.uncacheable
}

// Used returns the databases in which a statement was run.
func (r *Recorder) Used() []*DB {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.used))
}

// Relations returns the relations of what was read so far, sorted.
func (r *Recorder) Relations() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []string
	for _, read := range r.reads {
		found = append(found, read.Relation)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Tags returns the tags of what was read so far, sorted, by relation; of a relation of which a statement has read more
// than so many values, that of the whole.
func (r *Recorder) Tags(most int) map[string][]Tag {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := map[string][]Tag{}
	for _, read := range r.reads {
		of[read.Relation] = read.appendTags(of[read.Relation], most)
	}
	for relation, tags := range of {
		slices.Sort(tags)
		of[relation] = slices.Compact(tags)
	}
	return of
}

// Names returns the names of the tags of what was read so far, sorted, for people.
func (r *Recorder) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, read := range r.reads {
		read.names(func(name string) { names = append(names, name) })
	}
	slices.Sort(names)
	return slices.Compact(names)
}
