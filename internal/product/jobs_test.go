package product_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/idempotency"
	"emporium/internal/jobs"
	"emporium/internal/postgres"
	"emporium/internal/product"
)

// TestJobs leaves a product, a hold and an idempotency key whose time has come, and waits for the jobs to see to them. What
// is not due stays.
func TestJobs(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 10)
	manager := as(auth.RoleManager)
	products := make([]uuid.UUID, 2)
	for i, at := range []time.Time{epoch, time.Now().Add(time.Hour)} {
		p, err := c.CreateProduct(manager, product.ProductCreateInput{Title: []string{"Due", "Later"}[i]})
		if err != nil {
			t.Fatal(err)
		}
		products[i] = p.Product.ID
		if p, err := c.Schedule(manager, product.ProductScheduleInput{ProductID: p.Product.GlobalID(), PublishAt: given(&at)}); err != nil || p.UserErrors != nil {
			t.Fatal(p, err)
		}
	}
	for i, until := range []time.Time{epoch, time.Now().Add(time.Hour)} {
		if err := c.Hold(as(), id.New(), hold(i+1, v...), until); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		if p, err := c.AdjustStock(manager, product.StockAdjustInput{VariantID: id.Of(id.Variant, v[0]), Delta: 1, Reason: product.StockReceived},
			[]string{"old", "young"}[i]); err != nil || len(p.UserErrors) > 0 {
			t.Fatal(p, err)
		}
	}
	if _, err := postgres.Exec(as(), c.db, postgres.Stmt{Name: "test.age",
		SQL: "UPDATE products.idempotency_keys SET created_at = $1 WHERE key = 'old'"}, time.Now().Add(-idempotency.TTL-time.Minute)); err != nil {
		t.Fatal(err)
	}

	q, err := jobs.Open(t.Context(), c.db, c.url, "products", jobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	c.RunJobs(q, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the queue stopped: %v", err)
		}
	})
	const want = "ACTIVE DRAFT, held 2, young"
	for deadline := time.Now().Add(20 * time.Second); ; {
		got, _, err := postgres.First(as(), c.db, postgres.Stmt{Name: "test.done", Reads: postgres.All("products.products", "products.stock", "products.idempotency_keys"),
			SQL: `SELECT format('%s %s, held %s, %s', (SELECT status FROM products.products WHERE id = $1), (SELECT status FROM products.products WHERE id = $2),
				(SELECT held FROM products.stock), (SELECT string_agg(key, ' ' ORDER BY key) FROM products.idempotency_keys))`}, pgx.RowTo[string], products[0], products[1])
		if err != nil {
			t.Fatal(err)
		}
		if got == want {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it came to %q, not to %q", got, want)
		}
	}
	c.settled(t)
}
