package pgtest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/postgres"
)

// TestUndeclared declares wrongly what statements read, and wants to be told.
func TestUndeclared(t *testing.T) {
	t.Parallel()
	db := New(t).Products
	run := func(ctx context.Context, sql string, args ...any) (string, error) {
		found, _, err := postgres.First(ctx, db, postgres.Stmt{Name: "test.run", SQL: sql, Volatile: true, Later: []string{
			"products.variants", "products.products", "products.options"}}, pgx.RowTo[string], args...)
		return found, err
	}
	key := uuid.New()
	variants, products := postgres.ColumnOf("products.variants", "product_id"), postgres.ColumnOf("products.products", "id")
	const joined = `SELECT v.id FROM products.variants v JOIN products.products p ON p.id = v.product_id WHERE v.product_id = ANY($1)`
	for _, c := range []struct {
		what string
		stmt postgres.Stmt
		args []any
		want string // in the finding; nothing for none
	}{
		{"wholes", postgres.Stmt{SQL: joined, Reads: postgres.All("products.variants", "products.products")}, []any{[]uuid.UUID{key}}, ""},
		{"columns", postgres.Stmt{SQL: joined, Reads: append(variants.Of(key), products.Of(key)...)}, []any{[]uuid.UUID{key}}, ""},
		{"what the rows tell", postgres.Stmt{SQL: joined, Reads: variants.Of(key), Later: []string{"products.products"}}, []any{[]uuid.UUID{key}}, ""},
		{"one missing", postgres.Stmt{SQL: joined, Reads: variants.Of(key)}, []any{[]uuid.UUID{key}}, "reads products.products without declaring it"},
		{"none of its values", postgres.Stmt{SQL: joined, Reads: append(variants.Of(key), products.Of()...)}, []any{[]uuid.UUID{key}},
			"reads products.products without declaring it"},
		{"another column", postgres.Stmt{SQL: "SELECT id FROM products.variants WHERE product_id = $1",
			Reads: postgres.ColumnOf("products.variants", "id").Of(key)}, []any{key}, "declares to read products.variants by id, but nothing"},
		{"a column behind OR", postgres.Stmt{SQL: "SELECT id FROM products.variants WHERE (product_id = $1 OR price = 5)", Reads: variants.Of(key)},
			[]any{key}, "declares to read products.variants by product_id, but nothing"},
		{"a column beside OR", postgres.Stmt{SQL: "SELECT id FROM products.variants WHERE product_id = $1 AND (sku = 'a' OR price = 5)", Reads: variants.Of(key)},
			[]any{key}, ""},
		{"a bound of a column", postgres.Stmt{SQL: "SELECT id FROM products.variants WHERE product_id > $1", Reads: variants.Of(key)},
			[]any{key}, "declares to read products.variants by product_id, but nothing"},
		{"one of two scans", postgres.Stmt{SQL: "SELECT id FROM products.variants WHERE product_id = $1 UNION ALL SELECT id FROM products.variants", Reads: variants.Of(key)},
			[]any{key}, "declares to read products.variants by product_id, but nothing in its plan restricts variants"},
		{"no such column", postgres.Stmt{SQL: "SELECT id FROM products.variants", Reads: append(postgres.All("products.variants"),
			postgres.ColumnOf("products.variants", "colour").Of(key)...)}, nil, "products.variants by colour, which is missing"},
		{"a number", postgres.Stmt{SQL: "SELECT id FROM products.variants WHERE price = $1",
			Reads: postgres.ColumnOf("products.variants", "price").OfTexts("5")}, []any{5}, "products.variants by price, which is bigint"},
		{"a list", postgres.Stmt{SQL: "SELECT id FROM products.variants WHERE option_values = $1",
			Reads: postgres.ColumnOf("products.variants", "option_values").OfTexts("5")}, []any{[]string{}}, "by option_values, which is ARRAY"},
		{"the time", postgres.Stmt{SQL: "SELECT id FROM products.products WHERE published_at < Now()", Reads: postgres.All("products.products")},
			nil, "asks for Now( and is not declared volatile"},
		{"the time, declared", postgres.Stmt{SQL: "SELECT id FROM products.products WHERE published_at < now()", Reads: postgres.All("products.products"),
			Volatile: true}, nil, ""},
		{"the time of a change", postgres.Stmt{SQL: "UPDATE products.products SET updated_at = now()"}, nil, ""},
		{"chance", postgres.Stmt{SQL: "SELECT id FROM products.products ORDER BY random()", Reads: postgres.All("products.products")}, nil, "asks for random("},
	} {
		c.stmt.Name = "test.stmt"
		got := strings.Join(Undeclared(t.Context(), c.stmt, c.args, run), "; ")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: found %q, want %q", c.what, got, c.want)
		}
	}

	now := time.Now()
	for _, c := range []struct {
		stmt postgres.Stmt
		arg  any
		want bool
	}{
		{postgres.Stmt{SQL: "SELECT 1 WHERE $1 < '2000-01-01'::timestamptz"}, now.Add(-time.Millisecond), true},
		{postgres.Stmt{SQL: "SELECT 1 WHERE $1 < '2000-01-01'::timestamptz FOR UPDATE"}, &now, false}, // to be
		{postgres.Stmt{SQL: "SELECT 1 WHERE $1 < '2000-01-01'::timestamptz FOR UPDATE"}, new(now.Add(-time.Millisecond)), true},
		{postgres.Stmt{SQL: "SELECT 1 WHERE $1 < '2000-01-01'::timestamptz", Volatile: true}, now.Add(-time.Millisecond), false},
		{postgres.Stmt{SQL: "SELECT 1 WHERE $1 < '2000-01-01'::timestamptz"}, now.Add(-time.Hour), false},
		{postgres.Stmt{SQL: "UPDATE t SET at = $1"}, now.Add(-time.Millisecond), false},
	} {
		if got := whenGivenTheTime(c.stmt, []any{1, c.arg}, now); (len(got) == 1) != c.want {
			t.Errorf("%s given %v: %v", c.stmt.SQL, c.arg, got)
		}
	}
}
