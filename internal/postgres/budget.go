package postgres

import (
	"context"
	"sync/atomic"

	"emporium/internal/fault"
)

type budgetKey struct{}

type budget struct {
	most int64
	left atomic.Int64
}

// WithBudget returns a context in which so many statements may be run, all together. Those after them fail with
// BAD_USER_INPUT and do not reach the database.
func WithBudget(ctx context.Context, statements int) context.Context {
	b := &budget{most: int64(statements)}
	b.left.Store(b.most)
	return context.WithValue(ctx, budgetKey{}, b)
}

// spend takes a statement from the budget, if there is one.
func spend(ctx context.Context) error {
	if b, ok := ctx.Value(budgetKey{}).(*budget); ok && b.left.Add(-1) < 0 {
		return fault.Newf(fault.BadUserInput, "the operation needs more than %d SQL statements: ask for less at once", b.most)
	}
	return nil
}
