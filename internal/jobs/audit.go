package jobs

import (
	"context"
	"time"

	"emporium/internal/audit"
	"emporium/internal/postgres"
)

// AuditTo makes the queue carry entries of the audit log to whoever writes them, which is called again with the same
// entries until it has returned no error. Before it is called, none are taken.
func (q *Queue) AuditTo(write func(ctx context.Context, entries []audit.Entry) error) {
	Handle(q, func(ctx context.Context, a audit.Entries) error { return write(ctx, a.Entries) })
	q.audited = true
}

// Audit adds entries of the audit log in the transaction of what they tell of. It does nothing without entries, and where
// nobody writes them: in a queue without AuditTo, or without a queue.
func (q *Queue) Audit(ctx context.Context, tx *postgres.Tx, entries ...audit.Entry) error {
	if q == nil || !q.audited || len(entries) == 0 {
		return nil
	}
	return q.Add(ctx, tx, audit.Entries{Entries: entries}, time.Time{})
}
