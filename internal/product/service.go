package product

import (
	"context"
	"log/slog"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/feed"
	"emporium/internal/jobs"
	"emporium/internal/money"
	"emporium/internal/postgres"
)

// Service is the catalogue. Its verbs are safe for concurrent use, run one statement each unless they say otherwise, and
// show the viewer of the context (auth.From) what that viewer may see: what is not on sale, with all that belongs to it,
// does not exist for shoppers. Batch reads return what they found in any order; what was not found is left out.
type Service struct {
	db       *postgres.DB
	currency money.Currency
	changes  *feed.Feed[uuid.UUID] // of the stock, by variant
	jobs     *jobs.Queue           // of the domain; see RunJobs
}

// New returns the catalogue in a database. Currency is the shop's: filters and facets speak of prices in it.
func New(db *postgres.DB, currency money.Currency) *Service {
	s := &Service{db: db, currency: currency}
	s.changes = feed.New(s.stockChangedSince, slog.Default())
	return s
}

// seesAll reports whether the viewer sees products that are not on sale.
func seesAll(ctx context.Context) bool {
	return auth.Has(ctx, auth.RoleSupport, auth.RoleManager, auth.RoleAdmin, auth.RoleService)
}

// visible is the condition under which the viewer sees product p.
func visible(ctx context.Context) string {
	if seesAll(ctx) {
		return "true"
	}
	return "p.status = 'ACTIVE'"
}
