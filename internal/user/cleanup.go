package user

import (
	"context"
	"errors"
	"time"

	"emporium/internal/postgres"
)

// expiring are the tables whose rows are of no use once they have expired, with their keys. Refresh tokens go with their
// session. What has ended stays until it would have expired anyway: its user sees it in the export.
var expiring = []struct{ table, key string }{
	{"users.sessions", "owner_id, id"}, {"users.tokens", "hash"}, {"users.email_changes", "owner_id"},
}

// cleanUp deletes what is of no more use.
func (s *Service) cleanUp(ctx context.Context) error {
	for {
		if n, err := s.DeleteExpired(ctx, s.now(), cleanUpBatch); err != nil || n < cleanUpBatch {
			return errors.Join(err, s.ForgetUsage(ctx, s.now().Add(-s.usageFor)))
		}
	}
}

// DeleteExpired deletes up to limit sessions, tokens and changes of e-mail addresses that had expired by an instant, and
// returns how many it has deleted: whoever calls it goes on until it is less than the limit. Access is not checked: this is
// for jobs.
func (s *Service) DeleteExpired(ctx context.Context, now time.Time, limit int) (int, error) {
	deleted := 0
	for _, of := range expiring {
		n, err := postgres.Exec(ctx, s.db, postgres.Stmt{Name: "users.delete_expired_" + of.table[len("users."):],
			SQL: "DELETE FROM " + of.table + " WHERE expires_at <= $1 AND (" + of.key + ") IN (SELECT " + of.key + " FROM " + of.table +
				" WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
			Reads: postgres.All(of.table)}, now, limit-deleted)
		if err != nil {
			return deleted, err
		}
		if deleted += int(n); deleted >= limit {
			break
		}
	}
	return deleted, nil
}
