package postgres_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/fault"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

func TestBuilder(t *testing.T) {
	t.Parallel()
	var b postgres.Builder
	if b.Where() != "" || len(b.Args()) != 0 {
		t.Errorf("an empty builder has %q with %v", b.Where(), b.Args())
	}
	b.And("o.deleted_at IS NULL")
	if place := b.Arg("first"); place != "$1" {
		t.Errorf("the first parameter is %s", place)
	}
	b.And("o.total BETWEEN ? AND ?", 5, 7)
	before := b.Clone()
	b.And("(o.status = ANY(?) OR o.number = $1)", []string{"PLACED"})
	want := " WHERE o.deleted_at IS NULL AND o.total BETWEEN $2 AND $3 AND (o.status = ANY($4) OR o.number = $1)"
	if b.Where() != want || fmt.Sprint(b.Args()) != "[first 5 7 [PLACED]]" {
		t.Errorf("got %q with %v, want %q", b.Where(), b.Args(), want)
	}

	// A clone goes its own way.
	before.And("x = ?", "other")
	if got := before.Where(); got != " WHERE o.deleted_at IS NULL AND o.total BETWEEN $2 AND $3 AND x = $4" || fmt.Sprint(before.Args()) != "[first 5 7 other]" {
		t.Errorf("the clone has %q with %v", got, before.Args())
	}
	if b.Where() != want || fmt.Sprint(b.Args()) != "[first 5 7 [PLACED]]" {
		t.Errorf("the original has %q with %v", b.Where(), b.Args())
	}
}

func TestBuilderCountsPlaces(t *testing.T) {
	t.Parallel()
	for condition, values := range map[string][]any{"a = ?": nil, "a = b": {1}, "a = ? OR b = ?": {1}, "c = ?": {1, 2}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q took %v", condition, values)
				}
			}()
			new(postgres.Builder).And(condition, values...)
		}()
	}
}

// thing is a row of a list. Only id is unique.
type thing struct {
	A  int64
	B  string
	C  float32
	ID uuid.UUID
}

var fields = map[string]struct {
	key     postgres.Key
	text    func(thing) string
	compare func(a, b thing) int
}{
	"a": {postgres.Key{Expr: "a", Cast: "bigint"},
		func(t thing) string { return strconv.FormatInt(t.A, 10) },
		func(a, b thing) int { return cmp.Compare(a.A, b.A) }},
	"b": {postgres.Key{Expr: `b COLLATE "C"`, Cast: "text"},
		func(t thing) string { return t.B },
		func(a, b thing) int { return cmp.Compare(a.B, b.B) }},
	"c": {postgres.Key{Expr: "c", Cast: "real"},
		func(t thing) string { return strconv.FormatFloat(float64(t.C), 'g', -1, 32) },
		func(a, b thing) int { return cmp.Compare(a.C, b.C) }},
	"id": {postgres.Key{Expr: "id", Cast: "uuid"},
		func(t thing) string { return t.ID.String() },
		func(a, b thing) int { return slices.Compare(a.ID[:], b.ID[:]) }},
}

const createThings = `CREATE TABLE things (a bigint NOT NULL, b text NOT NULL, c real NOT NULL, id uuid PRIMARY KEY)`

// makeThings fills a table with rows that share most of their values.
func makeThings(t *testing.T, db *postgres.DB, count int) []thing {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"", "B", "a", "ä", `"quoted"`, "'; DROP TABLE things; --"}
	floats := []float32{-1.5, 0, 0.1, 1e-7, 3e7}
	things := make([]thing, count)
	for i := range things {
		things[i] = thing{A: r.Int64N(4) - 1, B: names[r.IntN(len(names))], C: floats[r.IntN(len(floats))]}
		for j := range things[i].ID {
			things[i].ID[j] = byte(r.Uint32())
		}
	}
	run(t, db, createThings)
	for _, x := range things {
		run(t, db, "INSERT INTO things VALUES ($1, $2, $3, $4)", x.A, x.B, x.C, x.ID)
	}
	return things
}

func run(t *testing.T, db postgres.Querier, sql string, args ...any) {
	t.Helper()
	if _, err := postgres.Exec(t.Context(), db, postgres.Stmt{Name: "test.exec", SQL: sql}, args...); err != nil {
		t.Fatal(err)
	}
}

// TestPageIsTheSliceOfTheList reads pages of lists in every order and holds each against the same part of a sorted slice.
func TestPageIsTheSliceOfTheList(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	things := makeThings(t, db, 20)
	for _, order := range [][]string{
		{"id"}, {"-id"},
		{"a", "id"}, {"-a", "id"}, {"a", "-id"}, {"-a", "-id"},
		{"c", "-id"}, {"-c", "id"},
		{"a", "b", "id"}, {"-a", "b", "-id"}, {"a", "-b", "id"}, {"b", "-c", "a", "-id"}, {"-b", "-a", "-c", "-id"},
	} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			l := list{db: db}
			for _, name := range order {
				desc := name[0] == '-'
				if desc {
					name = name[1:]
				}
				f := fields[name]
				f.key.Desc = desc
				l.keys = append(l.keys, f.key)
				l.texts = append(l.texts, f.text)
				l.compare = append(l.compare, func(a, b thing) int {
					if desc {
						a, b = b, a
					}
					return f.compare(a, b)
				})
			}
			sorted := slices.Clone(things)
			slices.SortFunc(sorted, func(a, b thing) int {
				for _, compare := range l.compare {
					if c := compare(a, b); c != 0 {
						return c
					}
				}
				return 0
			})

			// Every row is used as a cursor on both sides (-1: without), with partners and sizes that are drawn.
			r := rand.New(rand.NewPCG(3, uint64(len(order))))
			n := len(sorted)
			for at := -1; at < n; at++ {
				for _, other := range []int{-1, r.IntN(n)} {
					for _, backward := range []bool{false, true} {
						for _, size := range []int{0, 1 + r.IntN(6), n - 1 + r.IntN(3)} {
							l.check(t, sorted, at, other, size, backward)
							l.check(t, sorted, other, at, size, backward)
						}
					}
				}
			}
		})
	}
}

type list struct {
	db      *postgres.DB
	keys    []postgres.Key
	texts   []func(thing) string
	compare []func(a, b thing) int
}

func (l list) cursor(x thing) string {
	texts := make([]string, len(l.texts))
	for i, text := range l.texts {
		texts[i] = text(x)
	}
	return page.Cursor("things", texts...)
}

// read reads a page as stores do.
func (l list) read(ctx context.Context, args page.Args) (page.Connection[thing], error) {
	w, err := args.Window("things", len(l.keys))
	if err != nil {
		return page.Connection[thing]{}, err
	}
	var b postgres.Builder
	b.And("a >= ?", -1000) // conditions of the list itself come first
	tail, err := b.Page(w, l.keys)
	if err != nil {
		return page.Connection[thing]{}, err
	}
	rows, err := postgres.Select(ctx, l.db, postgres.Stmt{Name: "test.things", SQL: "SELECT a, b, c, id FROM things" + b.Where() + tail},
		func(row pgx.CollectableRow) (x thing, err error) { return x, row.Scan(&x.A, &x.B, &x.C, &x.ID) }, b.Args()...)
	return page.Build(w, rows, l.cursor), err
}

// check reads a page between two places of the sorted list.
func (l list) check(t *testing.T, sorted []thing, after, before, size int, backward bool) {
	t.Helper()
	what := fmt.Sprintf("%d after %d before %d, backward %t", size, after, before, backward)
	var args page.Args
	rest := sorted
	if before >= 0 {
		args.Before = new(l.cursor(sorted[before]))
		rest = rest[:before]
	}
	if after >= 0 {
		args.After = new(l.cursor(sorted[after]))
		rest = rest[min(after+1, len(rest)):]
	}
	want := rest
	more := len(rest) > size
	if backward {
		args.Last = &size
		want = rest[max(0, len(rest)-size):]
	} else {
		args.First = &size
		want = rest[:min(size, len(rest))]
	}
	got, err := l.read(t.Context(), args)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if nodes := got.Nodes(); !slices.Equal(nodes, want) {
		t.Fatalf("%s: got %v, want %v", what, nodes, want)
	}
	next, previous := more, after >= 0
	if backward {
		next, previous = before >= 0, more
	}
	if got.PageInfo.HasNextPage != next || got.PageInfo.HasPreviousPage != previous {
		t.Fatalf("%s: %+v; want next %t, previous %t", what, got.PageInfo, next, previous)
	}
}

// TestPagingVisitsEachRowOnce while rows come and go elsewhere in the list.
func TestPagingVisitsEachRowOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	things := makeThings(t, db, 60)
	for _, backward := range []bool{false, true} {
		l := list{db: db,
			keys: []postgres.Key{{Expr: "a", Cast: "bigint", Desc: true}, {Expr: "id", Cast: "uuid"}}, texts: []func(thing) string{fields["a"].text, fields["id"].text}}
		seen := map[uuid.UUID]int{}
		args := page.Args{First: new(7)}
		if backward {
			args = page.Args{Last: new(7)}
		}
		for pages := 0; ; pages++ {
			c, err := l.read(t.Context(), args)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range c.Nodes() {
				seen[x.ID]++
			}
			// A row that is not visited comes before the first page, and one comes behind the last.
			run(t, db, "INSERT INTO things VALUES ($1, '', 0, gen_random_uuid())", 100)
			run(t, db, "INSERT INTO things VALUES ($1, '', 0, gen_random_uuid())", -100)
			if pages == 2 {
				// The row that a cursor was made for may go; its place stays.
				run(t, db, "DELETE FROM things WHERE id = $1", c.Edges[0].Node.ID)
				run(t, db, "DELETE FROM things WHERE id = $1", c.Edges[len(c.Edges)-1].Node.ID)
			}
			if backward {
				args.Before = c.PageInfo.StartCursor()
			} else {
				args.After = c.PageInfo.EndCursor()
			}
			if pages == 6 { // 49 of 60
				break
			}
		}
		expected := 0
		for _, x := range things {
			if seen[x.ID] > 1 {
				t.Errorf("backward %t: %s was visited %d times", backward, x.ID, seen[x.ID])
			}
			expected += seen[x.ID]
		}
		if expected < 42 {
			t.Errorf("backward %t: %d rows were visited", backward, expected)
		}
		run(t, db, "DROP TABLE things")
		things = makeThings(t, db, 60)
	}
}

// TestTamperedCursors never reach Postgres: it would refuse them in its own words, or not at all.
func TestTamperedCursors(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	makeThings(t, db, 3)
	good := map[string][]string{
		"bigint": {"0", "-5", "9223372036854775807", "-9223372036854775808"},
		"real":   {"0", "-1.5", "0.1", "1e-07", "3e+07", "3.4028235e+38"},
		"uuid":   {"0190a5d0-0000-7000-8000-000000000001"},
		"text":   {"", "a", "'; DROP TABLE things; --", "$1", "\\", "ä🧥"},
	}
	bad := map[string][]string{
		"bigint": {"", " ", "x", "1.5", "1e3", "0x10", "1_000", "9223372036854775808", "-9223372036854775809", "NaN", "1; DROP TABLE things", "1\x00", "１"},
		"real":   {"", " ", "x", "NaN", "Infinity", "-inf", "0x1p-2", "0x_1p-2", "1_0", "1e", "1e99", "1e-99", "1e99999", "1,5", ".", "1\x00"},
		"uuid": {"", "x", "0190a5d0", "0190a5d00000700080000000000000001", "urn:uuid:0190a5d0-0000-7000-8000-000000000001",
			"{0190a5d0-0000-7000-8000-000000000001}", "x0190a5d0-0000-7000-8000-000000000001y", "0190a5d0-0000-7000-8000-00000000000g", "0190a5d0-0000-7000-8000-000000000001\x00"},
		"text": {"\x00", "a\x00b"}, // Postgres is the one to refuse these
	}
	for _, f := range fields {
		l := list{db: db, keys: []postgres.Key{f.key}, texts: []func(thing) string{f.text}}
		for _, value := range good[f.key.Cast] {
			if _, err := l.read(t.Context(), page.Args{First: new(1), After: new(page.Cursor("things", value))}); err != nil {
				t.Errorf("%s: the cursor %q is refused: %v", f.key.Cast, value, err)
			}
		}
		for _, value := range bad[f.key.Cast] {
			cursor := page.Cursor("things", value)
			for _, args := range []page.Args{{First: new(1), After: &cursor}, {Last: new(1), Before: &cursor}} {
				c, err := l.read(t.Context(), args)
				if !fault.Is(err, fault.BadUserInput) || len(c.Edges) != 0 {
					t.Errorf("%s: the cursor %q gives %v, %v; want BAD_USER_INPUT", f.key.Cast, value, c.Nodes(), err)
				}
			}
		}
	}
}
