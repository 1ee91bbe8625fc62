package product

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/fault"
	"emporium/internal/feed"
	"emporium/internal/id"
	"emporium/internal/postgres"
)

// maxFollowed is how many variants one may follow at once.
const maxFollowed = 100

// StockChange says that the stock of a variant has changed. What it is by now is read by whoever is told.
type StockChange struct{ VariantID uuid.UUID }

// RunFeed looks for changes while somebody follows the stock, until ctx is done; once in a process.
func (s *Service) RunFeed(ctx context.Context) error { return s.changes.Run(ctx) }

// FollowStock tells of changes of the stock of variants until ctx is done, and once of each at the beginning. Variants
// that the viewer does not see are left out; if there are no others, it tells nil and ends.
func (s *Service) FollowStock(ctx context.Context, variants []*id.ID) (<-chan *StockChange, error) {
	if len(variants) > maxFollowed {
		return nil, fault.Input("at most 100 variants can be followed at once", "variantIds")
	}
	var wanted, keys []uuid.UUID
	for _, v := range variants {
		if v.Kind == id.Variant {
			wanted = append(wanted, v.Key)
		}
	}
	seen, err := s.Variants(ctx, wanted)
	if err != nil {
		return nil, err
	}
	for _, v := range seen {
		keys = append(keys, v.ID)
	}
	if len(keys) == 0 {
		c := make(chan *StockChange, 1)
		c <- nil
		close(c)
		return c, nil
	}
	w, err := s.changes.Watch(ctx, keys...)
	if err != nil {
		return nil, err
	}
	return feed.Channel(ctx, w, func(c feed.Change[uuid.UUID]) *StockChange { return &StockChange{c.Key} }), nil
}

// stockChangedSince is a feed.Read. A transaction of the future, which a dump of another server has brought along, is none.
func (s *Service) stockChangedSince(ctx context.Context, since feed.Position, limit int) ([]feed.Row[uuid.UUID], feed.Position, error) {
	type row struct {
		Now     string
		Variant *uuid.UUID
		In      *string
	}
	found, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "products.stock_changed_since",
		SQL: `SELECT s.now::text, x.variant_id, x.changed_in::text FROM (SELECT pg_current_snapshot() AS now) s
			LEFT JOIN products.stock x ON x.changed_in >= pg_snapshot_xmin($1::text::pg_snapshot)
				AND NOT pg_visible_in_snapshot(x.changed_in, $1::text::pg_snapshot) AND x.changed_in < pg_snapshot_xmax(s.now)
			ORDER BY x.changed_in FETCH FIRST $2 ROWS WITH TIES`,
		Reads: postgres.All("products.stock"), Volatile: true,
	}, pgx.RowToStructByPos[row], since.Nullable(), limit)
	if err != nil {
		return nil, "", err
	}
	var rows []feed.Row[uuid.UUID]
	for _, r := range found {
		if r.Variant != nil {
			in, err := feed.Transaction(*r.In)
			if err != nil {
				return nil, "", err
			}
			rows = append(rows, feed.Row[uuid.UUID]{Key: *r.Variant, In: in})
		}
	}
	return rows, feed.Position(found[0].Now), nil
}
