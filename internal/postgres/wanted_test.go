package postgres_test

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/google/uuid"

	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

// fieldsOf are the names of fields of a struct that are wanted.
type fieldsOf map[reflect.Type]map[string]bool

func wanted(structs ...any) *postgres.Wanted {
	all := fieldsOf{}
	for i := 0; i < len(structs); i += 2 {
		names := map[string]bool{}
		for name := range strings.FieldsSeq(structs[i+1].(string)) {
			names[name] = true
		}
		all[reflect.TypeOf(structs[i])] = names
	}
	return postgres.NewWanted(all)
}

// TestWantedColumns says which columns are asked for, of the keys owner, id and method.ref and the rest.
func TestWantedColumns(t *testing.T) {
	t.Parallel()
	columns := map[string]string{}
	for _, c := range postgres.SplitColumns(wholeColumns) {
		columns[strings.Trim(c[strings.LastIndexAny(c, " .")+1:], `"`)] = c
	}
	columns["ref"] = `w.method_ref AS "method.ref"`
	for _, c := range []struct {
		name   string
		wanted *postgres.Wanted // nil: the context has none
		needed []string
		want   string
	}{
		{"no context", nil, nil, "owner id status seo_title kind last_four ref created_at tags TOTAL placed_at email postal"},
		{"no context, needed", nil, []string{"Total"}, "owner id status seo_title kind last_four ref created_at tags TOTAL placed_at email postal"},
		{"nothing is named", wanted(), nil, "owner id status seo_title kind last_four ref created_at tags TOTAL placed_at email postal"},
		{"another struct is named", wanted(method{}, ""), nil, "owner id status seo_title kind last_four ref created_at tags TOTAL placed_at email postal"},
		{"keys alone", wanted(whole{}, "", Base{}, ""), nil, "owner id ref"},
		{"some", wanted(whole{}, "Status Email", Base{}, "Tags"), nil, "owner id status ref tags email"},
		{"a key by name", wanted(whole{}, "ID", Base{}, ""), nil, "owner id ref"},
		{"what stands in a field comes with it", wanted(whole{}, "Method", Base{}, ""), nil, "owner id kind last_four ref"},
		{"sealed ones come alone", wanted(whole{}, "Postal", Base{}, ""), nil, "owner id ref postal"},
		{"what is embedded is a struct of its own", wanted(whole{}, ""), nil, "owner id ref created_at tags"},
		{"the rest of it too", wanted(Base{}, ""), nil, "owner id status seo_title kind last_four ref TOTAL placed_at email postal"},
		{"fields that there are not", wanted(whole{}, "Nothing status seo_title", Base{}, "X"), nil, "owner id ref"},
		{"fields that are not of it", wanted(whole{}, "Tags", Base{}, "Status"), nil, "owner id ref"},
		{"needed", wanted(whole{}, "", Base{}, ""), []string{"Total", "CreatedAt"}, "owner id ref created_at TOTAL"},
		{"needed and wanted", wanted(whole{}, "Total Status", Base{}, ""), []string{"Total", "PlacedAt"}, "owner id status ref TOTAL placed_at"},
		{"needed besides", wanted(whole{}, "Method", Base{}, ""), []string{"SEOTitle"}, "owner id seo_title kind last_four ref"},
	} {
		var texts []string
		for short := range strings.FieldsSeq(c.want) {
			texts = append(texts, columns[short])
		}
		ctx := t.Context()
		if c.wanted != nil {
			ctx = postgres.WithWanted(ctx, c.wanted)
		}
		table := wholes()
		for range 2 {
			if got, want := table.In(ctx, c.needed...).SQL, strings.Join(texts, ", "); got != want {
				t.Errorf("%s:\n%s\nwant\n%s", c.name, got, want)
			}
		}
	}
}

// TestWholeIsAllColumns: without a Wanted the list is what it was.
func TestWholeIsAllColumns(t *testing.T) {
	t.Parallel()
	if got, want := wholes().In(t.Context()).SQL, strings.Join(postgres.SplitColumns(wholeColumns), ", "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestWantedRows leaves the other fields as they are, in all modes; what opens a sealed column finds the keys.
func TestWantedRows(t *testing.T) {
	t.Parallel()
	for mode, db := range openModes(t) {
		ctx := postgres.WithWanted(t.Context(), wanted(whole{}, "Email Total", Base{}, ""))
		left := 0
		reading := wholes().In(ctx)
		got, err := postgres.Select(ctx, db, postgres.Stmt{Name: "test.wholes", SQL: "SELECT " + reading.SQL + fromWholes},
			pgtest.LeftToPgx(reading.Scan, &left))
		want := []*whole{
			{Owner: wholeA, ID: wholeB, Method: method{Ref: wholeC}, Total: 7, Email: new("a@example.com")},
			{Owner: wholeA, ID: wholeC, Method: method{Ref: wholeB}},
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("in mode %s: %+v, %v", mode, got, err)
		}
		if (left == 0) != (mode == pgtest.Modes[0]) {
			t.Errorf("in mode %s %d rows were left to pgx", mode, left)
		}
	}
}

// TestNothingWanted reads rows without a column, as many as there are.
func TestNothingWanted(t *testing.T) {
	t.Parallel()
	table := postgres.TableOf[row[string]]("v", nil)
	ctx := postgres.WithWanted(t.Context(), wanted(row[string]{}, ""))
	for mode, db := range openModes(t) {
		reading := table.In(ctx)
		got, err := postgres.Select(ctx, db, postgres.Stmt{Name: "test.nothing", SQL: "SELECT " + reading.SQL + " FROM (VALUES ('a'), ('b')) AS x (v)"}, reading.Scan)
		if err != nil || len(got) != 2 || *got[0] != (row[string]{}) || reading.SQL != "" {
			t.Errorf("in mode %s: %q, %v, %v", mode, reading.SQL, got, err)
		}
	}
}

// TestChoiceIsMadeOnce for a Wanted, a table and what is needed: the text is the same one.
func TestChoiceIsMadeOnce(t *testing.T) {
	t.Parallel()
	one, other := wholes(), wholes()
	w := wanted(whole{}, "Status")
	ctx := postgres.WithWanted(t.Context(), w)
	var wg sync.WaitGroup
	var texts [64]string
	for i := range texts {
		wg.Go(func() { texts[i] = one.In(ctx, "Total").SQL })
	}
	wg.Wait()
	for _, text := range texts {
		if text == "" || unsafe.StringData(text) != unsafe.StringData(texts[0]) {
			t.Errorf("the text was made again: %q", text)
		}
	}
	for what, text := range map[string]string{
		"another table":      other.In(ctx, "Total").SQL,
		"an equal Wanted":    one.In(postgres.WithWanted(t.Context(), wanted(whole{}, "Status")), "Total").SQL,
		"the table again":    one.In(ctx, "Total").SQL,
		"a context below it": one.In(postgres.WithWanted(postgres.WithWanted(ctx, wanted()), w), "Total").SQL,
	} {
		if text != texts[0] {
			t.Errorf("%s: %q, want %q", what, text, texts[0])
		}
	}
	for what, text := range map[string]string{
		"nothing needed":       one.In(ctx).SQL,
		"something else":       one.In(ctx, "Total", "Email").SQL,
		"the innermost Wanted": one.In(postgres.WithWanted(ctx, wanted()), "Total").SQL,
		"no Wanted":            one.In(t.Context(), "Total").SQL,
	} {
		if text == texts[0] {
			t.Errorf("%s: %q", what, text)
		}
	}
}

func TestSplitColumns(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]string{
		"a":                      {"a"},
		"a, b,c":                 {"a", "b", "c"},
		" a ,\n\t b AS c\n":      {"a", "b AS c"},
		"coalesce(a, b) AS c, d": {"coalesce(a, b) AS c", "d"},
		"coalesce(sum(a) FILTER (WHERE b IN (1, 2)), 0)::bigint AS c, d": {"coalesce(sum(a) FILTER (WHERE b IN (1, 2)), 0)::bigint AS c", "d"},
		"ARRAY[a, b] AS c, (ARRAY(SELECT x, y))[1] AS d":                 {"ARRAY[a, b] AS c", "(ARRAY(SELECT x, y))[1] AS d"},
		`a AS "b.c", d`: {`a AS "b.c"`, "d"},
		"":              {""},
	} {
		if got := postgres.SplitColumns(list); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}

// TestFieldsOfColumns finds fields by the names that columns have in any of the forms of a SELECT.
func TestFieldsOfColumns(t *testing.T) {
	t.Parallel()
	type target struct {
		PlacedAt string
		Method   method
		Base
	}
	for _, sql := range []string{"placed_at", "o.placed_at", "s.o.placed_at", "PLACED_AT", "placedat", `"PlacedAt"`, "x AS placed_at", `x AS "placed_at"`,
		"coalesce(o.x, 'a.b') AS placed_at", "x\n\tAS\n\tplaced_at", `x AS "method.kind"`, `x AS "METHOD.last_four"`, "tags", "b.created_at"} {
		if got := postgres.TableOf[target](sql, nil).In(t.Context()).SQL; got != sql {
			t.Errorf("%q: %q", sql, got)
		}
	}
	for _, sql := range []string{"", "x", "o.x", "placed_at AS x", "placed at x", `x AS "method.x"`, `x AS "method.kind.x"`, `x AS "placed_at.x"`, "method.kind.",
		"placed_at, x", "placed_at,", "count(*)", "o.*", "*"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is a column of %T", sql, target{})
				}
			}()
			postgres.TableOf[target](sql, nil)
		}()
	}
}

// TestUnknownColumnsAreNamed in the panic, with the struct.
func TestUnknownColumnsAreNamed(t *testing.T) {
	t.Parallel()
	defer func() {
		if got, want := recover(), "postgres: postgres_test.Base has no field for the column placed_at"; got != want {
			t.Errorf("panic %v, want %q", got, want)
		}
	}()
	postgres.TableOf[Base]("tags, o.placed_at", nil)
}

// array is the binary form of an array of one dimension; nil elements are NULL.
func array(elements ...[]byte) []byte {
	raw := binary.BigEndian.AppendUint32(nil, 1)
	raw = append(raw, 0, 0, 0, 0, 0, 0, 0, 25) // no NULLs, of text
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(elements)))
	raw = append(raw, 0, 0, 0, 1)
	for _, e := range elements {
		if e == nil {
			raw = append(raw, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		raw = append(binary.BigEndian.AppendUint32(raw, uint32(len(e))), e...)
	}
	return raw
}

// FuzzArray stores any bytes as arrays: they are stored as what they say, or refused.
func FuzzArray(f *testing.F) {
	id := uuid.Max
	f.Add([]byte(nil))
	f.Add(make([]byte, 12))
	f.Add(array())
	f.Add(array([]byte("a"), []byte{}))
	f.Add(array([]byte("a"), nil))
	f.Add(array(id[:], uuid.Nil[:]))
	f.Add(array(id[:])[:25])
	huge := array([]byte("a"))
	copy(huge[12:], "\xff\xff\xff\xff")
	f.Add(huge)
	long := array([]byte("a"))
	copy(long[20:], "\x7f\xff\xff\xff")
	f.Add(long)
	flat := array([]byte("a"))
	flat[3] = 2
	f.Add(flat)
	f.Fuzz(func(t *testing.T, raw []byte) {
		kept := slices.Clone(raw)
		var texts []string
		if err := postgres.StoreArray(&texts, raw); err == nil && len(texts) > 0 {
			var elements [][]byte
			for _, text := range texts {
				elements = append(elements, []byte(text))
			}
			if again := array(elements...); len(raw) < len(again) || string(again[20:]) != string(raw[20:len(again)]) {
				t.Errorf("%x became %q", raw, texts)
			}
		} else if err != nil && texts != nil {
			t.Errorf("%x was refused (%v) and became %q", raw, err, texts)
		}
		var ids []uuid.UUID
		if err := postgres.StoreArray(&ids, raw); err != nil && ids != nil {
			t.Errorf("%x was refused (%v) and became %v", raw, err, ids)
		}
		if !slices.Equal(raw, kept) {
			t.Errorf("%x was changed to %x", kept, raw)
		}
	})
}

// TestTextsAreCopied: what a row came in is written over by the next one.
func TestTextsAreCopied(t *testing.T) {
	t.Parallel()
	raw := array([]byte("abc"))
	var texts []string
	if err := postgres.StoreArray(&texts, raw); err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if !slices.Equal(texts, []string{"abc"}) {
		t.Errorf("%q", texts)
	}
}
