package postgres_test

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

type (
	name    string
	names   []string
	word    string
	words   []word
	count   int64
	small   int16
	flag    bool
	payload map[string]any
)

// row is a table with one column.
type row[T any] struct{ V T }

// modes are pools on the same database, by the way in which they run statements.
type modes map[string]*postgres.DB

func openModes(t *testing.T) modes {
	t.Helper()
	databaseURL := pgtest.New(t).URLs["orders"]
	all := modes{}
	for _, mode := range pgtest.Modes {
		all[mode] = pgtest.InMode(t, databaseURL, mode, postgres.Options{MaxConns: 2})
	}
	return all
}

// checked is a value that a column has to become.
type checked func(t *testing.T, on modes, what string)

const (
	direct = true  // stored as it comes
	byPgx  = false // left to pgx, of whose forms we know nothing
)

// becomes reads an expression into a field of type T in all modes.
func becomes[T any](expression string, want T, how bool) checked {
	return func(t *testing.T, on modes, what string) {
		table := postgres.TableOf[row[T]]("("+expression+") AS v", nil)
		for mode, db := range on {
			left := 0
			reading := table.In(t.Context())
			rows, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.row", SQL: "SELECT " + reading.SQL},
				pgtest.LeftToPgx(reading.Scan, &left))
			if err != nil || len(rows) != 1 {
				t.Errorf("%s: %s into %T in mode %s: %d rows, %v", what, expression, want, mode, len(rows), err)
				continue
			}
			if !reflect.DeepEqual(rows[0].V, want) {
				t.Errorf("%s: %s in mode %s is %#v, want %#v", what, expression, mode, rows[0].V, want)
			}
			if usual := mode == pgtest.Modes[0]; usual && (left == 0) != (how == direct) {
				t.Errorf("%s: %s into %T in mode %s: %d rows were left to pgx", what, expression, want, mode, left)
			}
		}
	}
}

// isRefused reads an expression into a field of type T, which has to fail in all modes.
func isRefused[T any](expression string) checked {
	return func(t *testing.T, on modes, what string) {
		table := postgres.TableOf[row[T]]("("+expression+") AS v", nil)
		for mode, db := range on {
			reading := table.In(t.Context())
			rows, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.row", SQL: "SELECT " + reading.SQL}, reading.Scan)
			var server *pgconn.PgError
			if err == nil {
				t.Errorf("%s: %s in mode %s became %#v", what, expression, mode, rows[0].V)
			} else if errors.As(err, &server) {
				t.Errorf("%s: %s in mode %s is no value: %v", what, expression, mode, err)
			} else if !strings.HasPrefix(err.Error(), "test.row: ") || rows != nil {
				t.Errorf("%s: %s in mode %s: %v, %v", what, expression, mode, rows, err)
			}
		}
	}
}

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func TestColumns(t *testing.T) {
	t.Parallel()
	on := openModes(t)
	const one, two = "'0190a5d0-0000-7000-8000-000000000001'::uuid", "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid"
	first, second := uuid.MustParse("0190a5d0-0000-7000-8000-000000000001"), uuid.Max
	long := strings.Repeat("ä", 70_000)

	for what, cases := range map[string][]checked{
		"UUID": {
			becomes(one, first, direct),
			becomes(one, &first, direct),
			becomes(one, new(&first), direct),
			becomes("'00000000-0000-0000-0000-000000000000'::uuid", uuid.Nil, direct),
			becomes[*uuid.UUID]("NULL::uuid", nil, direct),
			isRefused[uuid.UUID]("'x'::bytea"),
			isRefused[uuid.UUID]("7"),
			isRefused[uuid.UUID]("NULL::uuid"),
		},
		"UUIDs": {
			becomes("ARRAY["+one+", "+two+"]", []uuid.UUID{first, second}, direct),
			becomes("ARRAY["+one+"]", &[]uuid.UUID{first}, direct),
			becomes("'{}'::uuid[]", []uuid.UUID{}, direct),
			becomes[[]uuid.UUID]("NULL::uuid[]", nil, direct),
			becomes[*[]uuid.UUID]("NULL::uuid[]", nil, direct),
			becomes("'[5:6]={"+strings.Trim(one[:38], "'")+","+second.String()+"}'::uuid[]", []uuid.UUID{first, second}, direct),
			isRefused[[]uuid.UUID]("ARRAY[" + one + ", NULL]"),
			isRefused[[]uuid.UUID]("ARRAY[[" + one + "], [" + two + "]]"),
			isRefused[[]uuid.UUID](one),
		},
		"text": {
			becomes("'a'::text", "a", direct),
			becomes("''::text", "", direct),
			becomes("'a'::varchar(5)", "a", direct),
			becomes("'a'::char(3)", "a  ", direct),
			becomes("'a'::text", name("a"), direct),
			becomes("'a'::text", new("a"), direct),
			becomes("''::text", new(""), direct),
			becomes("'a'::text", new(name("a")), direct),
			becomes[*string]("NULL::text", nil, direct),
			becomes[*name]("NULL::varchar", nil, direct),
			becomes("repeat('ä', 70000)", long, direct),
			becomes("E'\\n\"\\\\🧥,{}'", "\n\"\\🧥,{}", direct),
			becomes("7", "7", byPgx),
			becomes("'a'::name", "a", byPgx),
			isRefused[string]("NULL::text"),
			isRefused[name]("NULL::text"),
			isRefused[name]("NULL::varchar"),
		},
		"texts": {
			becomes("ARRAY['a', '', 'b,\"{}']", []string{"a", "", `b,"{}`}, direct),
			becomes("ARRAY['a', 'NULL']::varchar[]", []string{"a", "NULL"}, direct),
			becomes("ARRAY['a']", names{"a"}, direct),
			becomes("ARRAY['a', 'b']", words{"a", "b"}, direct),
			becomes("ARRAY['a', 'b']", []word{"a", "b"}, direct),
			becomes("ARRAY['a']", &[]string{"a"}, direct),
			becomes("'{}'::text[]", []string{}, direct),
			becomes("'{}'::text[]", words{}, direct),
			becomes[[]string]("NULL::text[]", nil, direct),
			becomes[words]("NULL::text[]", nil, direct),
			becomes("ARRAY(SELECT repeat('ä', 70000) FROM generate_series(1, 2))", []string{long, long}, direct),
			becomes("'[0:1]={a,b}'::text[]", []string{"a", "b"}, direct),
			isRefused[[]string]("ARRAY['a', NULL]"),
			isRefused[words]("ARRAY[NULL]::text[]"),
			isRefused[[]string]("ARRAY[['a'], ['b']]"),
			isRefused[words]("ARRAY[['a', 'b'], ['c', 'd']]"),
			isRefused[[]string]("7"),
		},
		"int": {
			becomes("7::int2", 7, direct), becomes("-7::int4", -7, direct), becomes("'-9223372036854775808'::int8", math.MinInt64, direct),
			becomes("32767::int2", int16(math.MaxInt16), direct), becomes("-32768::int4", int16(math.MinInt16), direct), becomes("5::int8", int16(5), direct),
			becomes("-1::int2", int32(-1), direct), becomes("2147483647::int4", int32(math.MaxInt32), direct), becomes("-2147483648::int8", int32(math.MinInt32), direct),
			becomes("-1::int2", int64(-1), direct), becomes("'-2147483648'::int4", int64(math.MinInt32), direct), becomes("9223372036854775807::int8", int64(math.MaxInt64), direct),
			becomes("-1::int8", count(-1), direct), becomes("-1::int4", small(-1), direct),
			becomes("7::int4", new(7), direct), becomes("0::int8", new(int64(0)), direct), becomes("7::int2", new(count(7)), direct),
			becomes[*int]("NULL::int4", nil, direct), becomes[*count]("NULL::int8", nil, direct),
			becomes("7::int4", uint16(7), byPgx), becomes("7::int8", int8(7), byPgx), becomes("7::numeric", int64(7), byPgx),
			isRefused[int16]("32768::int4"), isRefused[int16]("-32769::int8"), isRefused[small]("32768::int4"), isRefused[*small]("32768::int8"),
			isRefused[int32]("2147483648::int8"), isRefused[int32]("-2147483649::int8"),
			isRefused[int64]("9223372036854775808::numeric"), isRefused[int8]("128::int4"),
			isRefused[int]("NULL::int4"), isRefused[int64]("NULL::int8"), isRefused[count]("NULL::int2"), isRefused[int]("'x'::text"),
		},
		"bool": {
			becomes("true", true, direct), becomes("false", false, direct), becomes("true", flag(true), direct),
			becomes("false", new(false), direct), becomes[*bool]("NULL::bool", nil, direct),
			isRefused[bool]("NULL::bool"), isRefused[flag]("NULL::bool"), isRefused[bool]("1"),
		},
		"time": {
			becomes("'2026-03-01T12:00:00.123456Z'::timestamptz", at("2026-03-01T12:00:00.123456Z"), direct),
			becomes("'2026-03-01T12:00:00+05:30'::timestamptz", at("2026-03-01T06:30:00Z"), direct),
			becomes("'2000-01-01T00:00:00Z'::timestamptz", at("2000-01-01T00:00:00Z"), direct),
			becomes("'1999-12-31T23:59:59.999999Z'::timestamptz", at("1999-12-31T23:59:59.999999Z"), direct),
			becomes("'1999-12-31T23:59:58.000001Z'::timestamptz", new(at("1999-12-31T23:59:58.000001Z")), direct),
			becomes("'1969-12-31T23:59:59.5Z'::timestamptz", at("1969-12-31T23:59:59.5Z"), direct),
			becomes("'1883-01-01T00:00:00.25Z'::timestamptz", at("1883-01-01T00:00:00.25Z"), direct),
			becomes("'0001-01-01T00:00:00Z'::timestamptz", time.Time{}, direct),
			becomes("'0001-12-31 23:59:59.000001+00 BC'::timestamptz", time.Date(0, 12, 31, 23, 59, 59, 1000, time.UTC), direct),
			becomes("'4714-11-24 00:00:00+00 BC'::timestamptz", time.Date(-4713, 11, 24, 0, 0, 0, 0, time.UTC), direct),
			becomes("'9999-12-31T23:59:59.999999Z'::timestamptz", at("9999-12-31T23:59:59.999999Z"), direct),
			becomes("'12345-01-01 00:00:00.000001+00'::timestamptz", time.Date(12345, 1, 1, 0, 0, 0, 1000, time.UTC), direct),
			becomes("'294276-12-31 23:59:59.999999+00'::timestamptz", time.Date(294276, 12, 31, 23, 59, 59, 999_999_000, time.UTC), direct),
			becomes[*time.Time]("NULL::timestamptz", nil, direct),
			becomes("'2026-03-01'::date", at("2026-03-01T00:00:00Z"), byPgx),
			isRefused[time.Time]("'infinity'::timestamptz"),
			isRefused[*time.Time]("'-infinity'::timestamptz"),
			isRefused[time.Time]("NULL::timestamptz"),
			isRefused[time.Time]("'x'::text"),
		},
		"JSON": {
			becomes(`'{"a": 1, "b": [true, null, "ä"], "c": {"d": 1e3}}'::jsonb`,
				map[string]any{"a": 1., "b": []any{true, nil, "ä"}, "c": map[string]any{"d": 1000.}}, direct),
			becomes("'{}'::jsonb", map[string]any{}, direct),
			becomes("'null'::jsonb", map[string]any(nil), direct),
			becomes("NULL::jsonb", map[string]any(nil), direct),
			becomes(`'{"a": 1}'::json`, map[string]any{"a": 1.}, byPgx),
			becomes(`'{"a": 1}'::jsonb`, payload{"a": 1.}, byPgx),
			isRefused[map[string]any]("'[]'::jsonb"),
			isRefused[map[string]any](`'"a"'::jsonb`),
			isRefused[map[string]any]("'1'::jsonb"),
		},
		"what only pgx knows": {
			becomes("1.5::float8", 1.5, byPgx),
			becomes("'\\x00ff'::bytea", []byte{0, 255}, byPgx),
			becomes("ARRAY[1, 2]", []int32{1, 2}, byPgx),
		},
	} {
		for _, check := range cases {
			check(t, on, what)
		}
	}
}

// whole is a row of every kind of column, with what is embedded and what stands in a field.
type whole struct {
	Owner, ID uuid.UUID
	Status    name
	SEOTitle  *string
	Method    method
	Base
	Total    int64
	PlacedAt *time.Time
	Email    *string // opened
	Postal   postal  // opened
}

type method struct {
	Kind     string
	LastFour *string
	Ref      uuid.UUID
}

// Base is embedded.
type Base struct {
	CreatedAt time.Time
	Tags      []string
}

type postal struct{ City, Key string }

const wholeColumns = `w.owner_id AS owner, w.id, w.status, w.seo_title, w.method_kind AS "method.kind",
	w.method_four AS "method.last_four", w.method_ref AS "method.ref", w.created_at, ARRAY(SELECT unnest(w.tags) ORDER BY 1) AS tags,
	coalesce(w.total, 0)::bigint AS TOTAL, w.placed_at, w.email, w.details AS postal`

var (
	wholeA = uuid.MustParse("0190a5d0-0000-7000-8000-00000000000a")
	wholeB = uuid.MustParse("0190a5d0-0000-7000-8000-00000000000b")
	wholeC = uuid.MustParse("0190a5d0-0000-7000-8000-00000000000c")
)

var errSealed = errors.New("it can not be opened")

// wholes returns the table with what opens its sealed columns: they are "sealed" by their key in front.
func wholes() *postgres.Table[whole] {
	return postgres.TableOf(wholeColumns, map[string]postgres.Unseal[whole]{
		"Email": func(_ context.Context, w *whole, sealed []byte) error {
			if sealed == nil {
				return nil
			}
			text, ok := strings.CutPrefix(string(sealed), w.ID.String()+":")
			if !ok {
				return errSealed
			}
			w.Email = &text
			return nil
		},
		"Postal": func(ctx context.Context, w *whole, sealed []byte) error {
			w.Postal = postal{City: string(sealed), Key: w.Owner.String() + ctx.Value(cityKey{}).(string)}
			return nil
		},
	})
}

type cityKey struct{}

const fromWholes = ` FROM (VALUES
	('0190a5d0-0000-7000-8000-00000000000a'::uuid, '0190a5d0-0000-7000-8000-00000000000b'::uuid, 'NEW', 'SEO', 'card', '4242',
		'0190a5d0-0000-7000-8000-00000000000c'::uuid, '2026-03-01T12:00:00Z'::timestamptz, '{b,a}'::text[], 7,
		'2026-03-02T12:00:00Z'::timestamptz, '0190a5d0-0000-7000-8000-00000000000b:a@example.com'::bytea, 'Köln'::bytea),
	('0190a5d0-0000-7000-8000-00000000000a', '0190a5d0-0000-7000-8000-00000000000c', '', NULL, '', NULL,
		'0190a5d0-0000-7000-8000-00000000000b', '2026-03-01T12:00:00Z', '{}', NULL, NULL, NULL, ''))
	AS w (owner_id, id, status, seo_title, method_kind, method_four, method_ref, created_at, tags, total, placed_at, email, details)
	ORDER BY w.id`

// TestRowsOfManyColumns reads embedded and nested fields, and sealed columns, which find the keys that stand before them.
func TestRowsOfManyColumns(t *testing.T) {
	t.Parallel()
	created := at("2026-03-01T12:00:00Z")
	want := []*whole{
		{Owner: wholeA, ID: wholeB, Status: "NEW", SEOTitle: new("SEO"), Method: method{Kind: "card", LastFour: new("4242"), Ref: wholeC},
			Base: Base{CreatedAt: created, Tags: []string{"a", "b"}}, Total: 7, PlacedAt: new(created.Add(24 * time.Hour)),
			Email: new("a@example.com"), Postal: postal{City: "Köln", Key: wholeA.String() + "!"}},
		{Owner: wholeA, ID: wholeC, Method: method{Ref: wholeB}, Base: Base{CreatedAt: created, Tags: []string{}},
			Postal: postal{Key: wholeA.String() + "!"}},
	}
	ctx := context.WithValue(t.Context(), cityKey{}, "!")
	for mode, db := range openModes(t) {
		left := 0
		reading := wholes().In(ctx)
		got, err := postgres.Select(ctx, db, postgres.Stmt{Name: "test.wholes", SQL: "SELECT " + reading.SQL + fromWholes},
			pgtest.LeftToPgx(reading.Scan, &left))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("in mode %s: %+v, %v", mode, got, err)
		}
		if (left == 0) != (mode == pgtest.Modes[0]) {
			t.Errorf("in mode %s %d rows were left to pgx", mode, left)
		}
		// One that can not be opened fails the read, and says which column it was.
		reading = wholes().In(ctx)
		broken := strings.Replace(fromWholes, "00b:a@", "00c:a@", 1)
		got, err = postgres.Select(ctx, db, postgres.Stmt{Name: "test.wholes", SQL: "SELECT " + reading.SQL + broken}, reading.Scan)
		if !errors.Is(err, errSealed) || got != nil || !strings.Contains(err.Error(), "column w.email: ") {
			t.Errorf("in mode %s: %v, %v", mode, got, err)
		}
	}
}

// TestManyRows are structs of their own, whatever they share the room with.
func TestManyRows(t *testing.T) {
	t.Parallel()
	db := openModes(t)[pgtest.Modes[0]]
	table := postgres.TableOf[row[*int]]("nullif(i, 150)::int8 AS v", nil)
	reading := table.In(t.Context())
	rows, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.many",
		SQL: "SELECT " + reading.SQL + " FROM generate_series(1, 300) i ORDER BY i"}, reading.Scan)
	if err != nil || len(rows) != 300 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, r := range rows {
		switch {
		case i == 149 && r.V != nil, i != 149 && (r.V == nil || *r.V != i+1):
			t.Errorf("row %d is %v", i, r.V)
		}
	}
}

// TestStatementsOfOtherColumns fail in all modes: a row is not what the table says.
func TestStatementsOfOtherColumns(t *testing.T) {
	t.Parallel()
	type pair struct{ A, B string }
	table := postgres.TableOf[pair]("a, b", nil)
	for mode, db := range openModes(t) {
		for _, columns := range []string{"'a'", "'a', 'b', 'c'", ""} {
			got, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.pair", SQL: "SELECT " + columns}, table.In(t.Context()).Scan)
			if err == nil || got != nil {
				t.Errorf("in mode %s the columns (%s) became %v", mode, columns, got)
			}
		}
		// The form of one row is that of all.
		got, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.pair", SQL: "SELECT 'a', 'b' UNION ALL SELECT 'c', NULL"},
			table.In(t.Context()).Scan)
		if err == nil || got != nil {
			t.Errorf("in mode %s a NULL in the second row became %v", mode, got)
		}
	}
}
