package graph

import (
	"context"

	"emporium/internal/jobs"
)

func (r queryResolver) Jobs(ctx context.Context, domain jobs.Domain, first *int, after *string, last *int, before *string, filter *jobs.Filter) (*jobs.Connection, error) {
	return r.Queues.List(ctx, domain, or(filter), pageArgs(first, after, last, before))
}

func (r mutationResolver) JobRetry(ctx context.Context, in jobs.RetryInput) (*jobs.RetryPayload, error) {
	return r.Queues.Retry(ctx, in)
}
