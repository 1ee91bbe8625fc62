package pgtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"emporium/internal/postgres"
)

// Modes are the ways in which pgx runs statements: as usual, when most values come in binary form, and two for poolers,
// when all come as text.
var Modes = []string{"cache_statement", "exec", "simple_protocol"}

// InMode opens another pool on a database, plain as in production, that runs statements in one of the Modes.
func InMode(t testing.TB, databaseURL, mode string, o postgres.Options) *postgres.DB {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery += "&default_query_exec_mode=" + mode
	db, err := postgres.Open(t.Context(), u.String(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// leftToPgx counts the rows that pgx is asked to scan.
type leftToPgx struct {
	pgx.CollectableRow
	count *int
}

func (r leftToPgx) Scan(targets ...any) error {
	*r.count++
	return r.CollectableRow.Scan(targets...)
}

// LeftToPgx returns a scan function that counts for which rows it asks pgx.
func LeftToPgx[T any](scan pgx.RowToFunc[T], count *int) pgx.RowToFunc[T] {
	return func(row pgx.CollectableRow) (T, error) { return scan(leftToPgx{row, count}) }
}

// Tables checks how statements of a domain become rows.
type Tables struct {
	DB    *postgres.DB // for the service whose statements they are
	modes map[string]*postgres.DB

	mu   sync.Mutex
	last postgres.Stmt
	args []any
}

// NewTables opens pools on a database.
func NewTables(t testing.TB, databaseURL string) *Tables {
	t.Helper()
	tables := &Tables{modes: map[string]*postgres.DB{}}
	for _, mode := range Modes {
		tables.modes[mode] = InMode(t, databaseURL, mode, postgres.Options{})
	}
	tables.DB = InMode(t, databaseURL, Modes[0], postgres.Options{
		Explain: func(_ context.Context, s postgres.Stmt, args []any, _ func(context.Context, string, ...any) (string, error)) {
			tables.mu.Lock()
			defer tables.mu.Unlock()
			tables.last, tables.args = s, args
		}})
	return tables
}

// CheckRows calls a verb, whose last statement is one that reads a table, and runs that statement again in all Modes:
// each has to give the rows that are wanted. As usual no row may be left to pgx, which takes much longer; as text all are.
func CheckRows[T any](ctx context.Context, t testing.TB, what string, of *Tables, table *postgres.Table[T], verb func() error, want ...T) {
	t.Helper()
	if err := verb(); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	for mode, db := range of.modes {
		left := 0
		rows, err := postgres.Select(ctx, db, of.last, LeftToPgx(table.In(ctx).Scan, &left), of.args...)
		if err != nil {
			t.Errorf("%s in mode %s: %v", what, mode, err)
			continue
		}
		got := make([]T, len(rows))
		for i, row := range rows {
			got[i] = *row
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s in mode %s:\n%s\nwant\n%s", what, mode, text(got), text(want))
		}
		if wantLeft := map[bool]int{true: 0, false: len(rows)}[mode == Modes[0]]; left != wantLeft {
			t.Errorf("%s in mode %s: %d of %d rows were left to pgx, want %d", what, mode, left, len(rows), wantLeft)
		}
	}
}

// text shows what pointers point to.
func text(v any) string {
	written, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%+v", v)
	}
	return string(written)
}

// Filled fails for every field of a struct that has its zero value.
func Filled(t testing.TB, what string, row any) {
	t.Helper()
	v := reflect.Indirect(reflect.ValueOf(row))
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() && v.Field(i).IsZero() {
			t.Errorf("%s: %s is empty", what, v.Type().Field(i).Name)
		}
	}
}
