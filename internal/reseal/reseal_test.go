package reseal_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/reseal"
	"emporium/internal/seal"
)

// table has two sealed columns, of which b may be NULL.
func table(name string) reseal.Table {
	return reseal.Table{
		Name: name,
		Find: postgres.Stmt{Name: name + ".find", SQL: `SELECT owner_id, id, a, b FROM ` + name + `
			WHERE (owner_id, id) > ($1, $2) AND ($3 <> substring(a FOR 5) OR $3 <> substring(b FOR 5))
			ORDER BY owner_id, id LIMIT $4`},
		Update: postgres.Stmt{Name: name + ".update", SQL: `UPDATE ` + name + ` t SET a = n.a1, b = n.b1
			FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[]) n (owner_id, id, a0, b0, a1, b1)
			WHERE t.owner_id = n.owner_id AND t.id = n.id AND t.a = n.a0 AND t.b IS NOT DISTINCT FROM n.b0`},
		Fields: func(k id.Key) []seal.Field { return []seal.Field{field("a", k), field("b", k)} },
	}
}

func field(column string, k id.Key) seal.Field {
	return seal.Field{Table: "test", Column: column, Row: slices.Concat(k.Owner[:], k.ID[:])}
}

// world is a database with the tables x and y, which hold the same and were sealed with a key that is not primary any more.
type world struct {
	db       *postgres.DB
	old, now *seal.Sealer
	rows     []id.Key               // in order; each third has b
	before   func(statement string) // is called before each; may be nil
}

func newWorld(t *testing.T, rows int) *world {
	t.Helper()
	keys := seal.New()
	rotated, err := keys.Rotate()
	must(t, err)
	w := &world{old: sealer(t, keys), now: sealer(t, rotated)}
	w.db, err = postgres.Open(t.Context(), pgtest.Empty(t), postgres.Options{
		Explain: func(_ context.Context, s postgres.Stmt, _ []any, _ func(context.Context, string, ...any) (string, error)) {
			if w.before != nil {
				w.before(s.Name)
			}
		},
	})
	must(t, err)
	t.Cleanup(w.db.Close)
	var sealed [][]any
	for i := range rows {
		k := id.Key{Owner: id.New(), ID: id.New()}
		row := []any{k.Owner, k.ID, w.old.SealString(field("a", k), "a"), nil}
		if i%3 == 0 {
			row[3] = w.old.SealString(field("b", k), "b")
		}
		w.rows, sealed = append(w.rows, k), append(sealed, row)
	}
	for _, name := range []string{"x", "y"} {
		w.exec(t, "CREATE TABLE "+name+" (owner_id uuid, id uuid, a bytea NOT NULL, b bytea, PRIMARY KEY (owner_id, id))")
		must(t, w.db.InTx(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			return postgres.CopyParts(ctx, tx, "public", []postgres.Part{
				{Table: name, Columns: []string{"owner_id", "id", "a", "b"}, Rows: sealed}})
		}))
	}
	return w
}

func sealer(t *testing.T, keys *seal.Keyset) *seal.Sealer {
	t.Helper()
	s, err := seal.NewSealer(keys)
	must(t, err)
	return s
}

func (w *world) run(ctx context.Context, progress func(int)) (int, error) {
	return reseal.Run(ctx, w.db, w.now, []reseal.Table{table("x"), table("y")}, progress)
}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := postgres.Exec(t.Context(), w.db, postgres.Stmt{Name: "test", SQL: sql}, args...)
	must(t, err)
}

// left returns how many values of a table are sealed with the old key, and fails when there are others that the new one
// does not open.
func (w *world) left(t *testing.T, name string) (n int) {
	t.Helper()
	type row struct {
		key  id.Key
		a, b []byte
	}
	rows, err := postgres.Select(t.Context(), w.db, postgres.Stmt{Name: "test", SQL: "SELECT owner_id, id, a, b FROM " + name},
		func(c pgx.CollectableRow) (r row, err error) { return r, c.Scan(&r.key.Owner, &r.key.ID, &r.a, &r.b) })
	must(t, err)
	for _, r := range rows {
		for column, value := range map[string][]byte{"a": r.a, "b": r.b} {
			switch seal.KeyIDOf(value) {
			case w.old.PrimaryKeyID():
				n++
			case w.now.PrimaryKeyID():
				_, err := w.now.Open(field(column, r.key), value)
				must(t, err)
			}
		}
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1200) // 1600 values in each table

	// Interrupted: what was done stays done, in whole batches.
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	n, err := w.run(ctx, func(done int) {
		if done >= 1000 {
			cancel(enough)
		}
	})
	if x, y := w.left(t, "x"), w.left(t, "y"); n != 1000 || !errors.Is(err, enough) || x < 200 || x > 400 || y != 1600 {
		t.Errorf("interrupted: %d, %v; %d and %d are left", n, err, x, y)
	}

	// Resumed: the rest alone.
	var told []int
	n, err = w.run(t.Context(), func(done int) { told = append(told, done) })
	if n != 1400 || err != nil || !slices.Equal(told, []int{200, 700, 1200, 1400}) || w.left(t, "x")+w.left(t, "y") > 0 {
		t.Errorf("resumed: %d, %v, progress %v", n, err, told)
	}
	if n, err := w.run(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("once more: %d, %v", n, err)
	}
}

// TestRunBesideEdits has another process, which still seals under the old key, write between reading and writing.
func TestRunBesideEdits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		edits, passes, done int
		says                string
	}{{1, 2, 60, ""}, {4, 5, 60, ""}, {5, 5, 29, "seal x anew: 1 rows are changed again and again"}} {
		w := newWorld(t, 30)
		k, passes := w.rows[7], 0
		w.before = func(statement string) {
			if statement == "x.update" {
				if passes++; passes <= c.edits {
					w.exec(t, "UPDATE x SET a = $1 WHERE id = $2", w.old.SealString(field("a", k), "edited"), k.ID)
				}
			}
		}
		n, err := w.run(t.Context(), nil)
		if n != c.done || passes != c.passes || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d edits: %d rows in %d passes, %v", c.edits, n, passes, err)
		}
		a, _, err := postgres.First(t.Context(), w.db, postgres.Stmt{Name: "test", SQL: "SELECT a FROM x WHERE id = $1"}, pgx.RowTo[[]byte], k.ID)
		must(t, err)
		if text, err := w.now.OpenString(field("a", k), a); text != "edited" || err != nil {
			t.Errorf("%d edits: the edit became %q, %v", c.edits, text, err)
		}
	}
}

func TestRunLeavesWhatItCanNotOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 510)
	w.exec(t, "UPDATE x SET a = (SELECT a FROM x WHERE id = $1) WHERE id = $2", w.rows[3].ID, w.rows[4].ID)
	w.exec(t, `UPDATE y SET a = '\x00' WHERE id = $1`, w.rows[5].ID)
	for _, want := range []int{1018, 0} {
		n, err := w.run(t.Context(), nil)
		if n != want || !errors.Is(err, seal.ErrOpen) || !strings.HasPrefix(err.Error(), "2 rows") ||
			!strings.Contains(err.Error(), w.rows[4].ID.String()) || w.left(t, "x") != 1 {
			t.Errorf("%d, %v", n, err)
		}
	}
	w.exec(t, `UPDATE y SET a = '\x00'`) // a batch of nothing else
	if n, err := w.run(t.Context(), nil); n != 0 || !errors.Is(err, seal.ErrOpen) || !strings.HasPrefix(err.Error(), "511 rows") {
		t.Errorf("%d, %v", n, err)
	}
}

// TestRunThatFails: what was done before is told.
func TestRunThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.exec(t, "ALTER TABLE y ADD CONSTRAINT frozen CHECK (false) NOT VALID")
	if n, err := w.run(t.Context(), nil); n != 10 || !postgres.Violates(err, "frozen") || !strings.HasPrefix(err.Error(), "seal y anew") {
		t.Errorf("%d, %v", n, err)
	}
}
