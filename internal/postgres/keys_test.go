package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

// key is the n-th of the keys of TestAnyOf and others.
func key(n int) uuid.UUID { return uuid.UUID{0: 1, 15: byte(n)} }

func keysOf(numbers ...int) []uuid.UUID {
	keys := make([]uuid.UUID, len(numbers))
	for i, n := range numbers {
		keys[i] = key(n)
	}
	return keys
}

// makeKeyed makes a table with the keys 1 to 200, and those without a parent, ten to each parent.
func makeKeyed(t *testing.T, db *postgres.DB) {
	t.Helper()
	run(t, db, "CREATE TABLE keyed (id uuid PRIMARY KEY, parent_id uuid, owner_id uuid NOT NULL)")
	for n := 1; n <= 200; n++ {
		var parent *uuid.UUID
		if n > 20 {
			parent = new(key(n / 10))
		}
		run(t, db, "INSERT INTO keyed VALUES ($1, $2, $3)", key(n), parent, key(n%2))
	}
	run(t, db, "CREATE INDEX ON keyed (parent_id)")
	run(t, db, "ANALYZE keyed")
}

// TestAnyOfText is what statements are made of.
func TestAnyOfText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		keys      []uuid.UUID
		condition string
		arg       any
	}{
		{nil, "a.id = ANY($3)", []uuid.UUID(nil)},
		{keysOf(), "a.id = ANY($3)", keysOf()},
		{keysOf(1), "a.id = $3", key(1)},
		{keysOf(1, 1), "a.id = ANY($3)", keysOf(1, 1)},
		{keysOf(1, 2), "a.id = ANY($3)", keysOf(1, 2)},
	} {
		condition, arg := postgres.AnyOf("a.id", "$3", c.keys)
		if condition != c.condition || fmt.Sprintf("%T %v", arg, arg) != fmt.Sprintf("%T %v", c.arg, c.arg) {
			t.Errorf("%v: %q with %T %v", c.keys, condition, arg, arg)
		}
	}
}

// TestAnyOf reads the same rows by one key and by that key among others, in all modes.
func TestAnyOf(t *testing.T) {
	t.Parallel()
	on := openModes(t)
	makeKeyed(t, on[pgtest.Modes[0]])
	for mode, db := range on {
		for _, column := range []string{"id", "parent_id"} {
			read := func(keys []uuid.UUID) []string {
				t.Helper()
				condition, arg := postgres.AnyOf(column, "$2", keys)
				found, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.keyed",
					SQL: "SELECT id::text FROM keyed WHERE id <> $1 AND " + condition + " ORDER BY id"}, pgx.RowTo[string], key(35), arg)
				if err != nil {
					t.Errorf("%s in mode %s: %v", column, mode, err)
				}
				return found
			}
			var all []string
			counts := map[string]int{}
			for _, n := range []int{3, 5, 35, 200, 201} {
				single := read(keysOf(n))
				if twice := read(keysOf(n, n)); !slices.Equal(single, twice) {
					t.Errorf("%s in mode %s: the key %d gives %v, twice %v", column, mode, n, single, twice)
				}
				counts[fmt.Sprint(n)] = len(single)
				all = append(all, single...)
			}
			want := map[string]map[string]int{
				"id":        {"3": 1, "5": 1, "35": 0, "200": 1, "201": 0},
				"parent_id": {"3": 9, "5": 10, "35": 0, "200": 0, "201": 0},
			}[column]
			if fmt.Sprint(counts) != fmt.Sprint(want) {
				t.Errorf("%s in mode %s: %v rows, want %v", column, mode, counts, want)
			}
			slices.Sort(all)
			if together := read(keysOf(3, 5, 35, 200, 201)); !slices.Equal(together, all) {
				t.Errorf("%s in mode %s: together %v, one by one %v", column, mode, together, all)
			}
			for _, none := range [][]uuid.UUID{nil, {}} {
				if got := read(none); len(got) != 0 {
					t.Errorf("%s in mode %s: no keys give %v", column, mode, got)
				}
			}
		}
	}
}

// TestSelectByKeys reads the rows of one owner and of several; of owners that are not visible none.
func TestSelectByKeys(t *testing.T) {
	t.Parallel()
	on := openModes(t)
	makeKeyed(t, on[pgtest.Modes[0]])
	by := postgres.ByKeys{Name: "test.by_keys", From: "FROM keyed", Owner: "owner_id", Column: "id", Tail: " ORDER BY id"}
	pair := func(owner, n int) id.Key { return id.Key{Owner: key(owner), ID: key(n)} }
	for mode, db := range on {
		for _, c := range []struct {
			keys []id.Key
			want []int
		}{
			{nil, nil},
			{[]id.Key{pair(1, 3)}, []int{3}},
			{[]id.Key{pair(0, 3)}, nil}, // of the other owner
			{[]id.Key{pair(1, 3), pair(1, 5), pair(1, 3)}, []int{3, 5}},
			{[]id.Key{pair(1, 3), pair(0, 4), pair(0, 5)}, []int{3, 4}},
			{[]id.Key{pair(7, 3), pair(1, 5)}, []int{5}}, // one is not visible
			{[]id.Key{pair(7, 3)}, nil},
		} {
			got, err := postgres.SelectByKeys(t.Context(), db, by, "id", pgx.RowTo[uuid.UUID], c.keys,
				func(owner uuid.UUID) bool { return owner != key(7) })
			if err != nil || !slices.Equal(got, keysOf(c.want...)) {
				t.Errorf("%v in mode %s: %v, %v; want %v", c.keys, mode, got, err, c.want)
			}
		}
	}
}

// TestSingleKeyIsPlannedOnce runs statements ten times on one connection: Postgres makes five plans before it decides
// whether the next ones may be the same.
func TestSingleKeyIsPlannedOnce(t *testing.T) {
	t.Parallel()
	d := pgtest.New(t)
	db := open(t, d, 1)
	makeKeyed(t, db)
	run(t, db, "INSERT INTO keyed SELECT gen_random_uuid(), NULL, gen_random_uuid() FROM generate_series(1, 20000)")
	run(t, db, "ANALYZE keyed")
	type plans struct{ Generic, Custom int64 }
	planned := func(name string, keys func(i int) []uuid.UUID) plans {
		t.Helper()
		var sql string
		for i := range 10 {
			condition, arg := postgres.AnyOf("id", "$1", keys(i))
			sql = "SELECT /* " + name + " */ owner_id FROM keyed WHERE " + condition
			if _, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.planned", SQL: sql}, pgx.RowTo[uuid.UUID], arg); err != nil {
				t.Fatal(err)
			}
		}
		found, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.plans",
			SQL: "SELECT generic_plans AS generic, custom_plans AS custom FROM pg_prepared_statements WHERE statement = $1"}, pgx.RowToStructByName[plans], sql)
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %v", name, found, err)
		}
		return found[0]
	}
	if got, want := planned("one", func(i int) []uuid.UUID { return keysOf(i) }), (plans{Generic: 5, Custom: 5}); got != want {
		t.Errorf("one key: %+v, want %+v", got, want)
	}
	// That is why it is not an array of one.
	if got, want := planned("many", func(i int) []uuid.UUID { return keysOf(i, i+1) }), (plans{Custom: 10}); got != want {
		t.Errorf("two keys: %+v, want %+v: if Postgres has learnt to plan arrays once, AnyOf may go", got, want)
	}
}

// TestUUIDParameters reach Postgres as what they are, by whatever type they are given, in all modes. The text that Postgres
// makes of them is compared with that of the same value given as text.
func TestUUIDParameters(t *testing.T) {
	t.Parallel()
	one, two := key(1), uuid.Max
	var none *uuid.UUID
	type named []uuid.UUID
	for mode, db := range openModes(t) {
		for _, c := range []struct {
			what, as string
			arg      any
			want     any // a text that is cast, or nil
		}{
			{"a UUID", "uuid", one, one.String()},
			{"the nil UUID", "uuid", uuid.Nil, uuid.Nil.String()},
			{"a pointer", "uuid", &two, two.String()},
			{"a nil pointer", "uuid", none, nil},
			{"nothing", "uuid", nil, nil},
			{"a null UUID", "uuid", uuid.NullUUID{}, nil},
			{"a UUID that may be null", "uuid", uuid.NullUUID{UUID: one, Valid: true}, one.String()},
			{"a text", "uuid", one.String(), one.String()},
			{"a list", "uuid[]", []uuid.UUID{one, two, one}, "{" + one.String() + "," + two.String() + "," + one.String() + "}"},
			{"a list of one", "uuid[]", []uuid.UUID{one}, "{" + one.String() + "}"},
			{"an empty list", "uuid[]", []uuid.UUID{}, "{}"},
			{"a nil list", "uuid[]", []uuid.UUID(nil), nil},
			{"no list", "uuid[]", nil, nil},
			{"a named list", "uuid[]", named{one}, "{" + one.String() + "}"},
		} {
			if mode != pgtest.Modes[0] && c.what == "a named list" {
				continue // pgx has to be told the type of the parameter to know how to write it
			}
			type result struct {
				Text *string
				Null bool
			}
			got, _, err := postgres.First(t.Context(), db, postgres.Stmt{Name: "test.parameter",
				SQL: "SELECT $1::" + c.as + "::text AS text, $1::" + c.as + " IS NULL AS null"}, pgx.RowToStructByName[result], c.arg)
			if err != nil || got.Null != (c.want == nil) || (got.Text == nil) != (c.want == nil) || got.Text != nil && *got.Text != c.want {
				t.Errorf("%s in mode %s: %+v, %v; want %v", c.what, mode, got, err, c.want)
			}
		}
	}
	if one != key(1) || two != uuid.Max {
		t.Error("a parameter was changed")
	}
}

// TestUUIDParametersInTransactions go the same way.
func TestUUIDParametersInTransactions(t *testing.T) {
	t.Parallel()
	for mode, db := range openModes(t) {
		err := db.InTx(t.Context(), func(_ context.Context, tx *postgres.Tx) error {
			if got := one[string](t, tx, "SELECT concat_ws(' ', $1::uuid, $2::uuid, $3::uuid[], $4::uuid[] IS NULL)", key(1), (*uuid.UUID)(nil), keysOf(), []uuid.UUID(nil)); got != key(1).String()+" {} t" {
				t.Errorf("in mode %s: %q", mode, got)
			}
			return nil
		})
		if err != nil {
			t.Errorf("in mode %s: %v", mode, err)
		}
	}
}
