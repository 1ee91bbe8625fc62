package order

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/feed"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/postgres"
)

// Change says that an order has changed. What it is by now is read by whoever is told.
type Change struct {
	Order  *id.Key // nil: nothing yet, the cursor alone is told
	Cursor *string // of a list of changes: whoever goes on after it misses nothing
}

// OrderKey returns the order's key.
func (c *Change) OrderKey() *id.Key { return c.Order }

// OwnedBy reports whether the order is the owner's.
func (c *Change) OwnedBy(owner uuid.UUID) bool { return c.Order != nil && c.Order.Owner == owner }

// changesCursor names the list of changes in its cursors.
const changesCursor = "order_changes"

// RunFeed looks for changes while somebody follows orders, until ctx is done; once in a process.
func (s *Service) RunFeed(ctx context.Context) error { return s.changes.Run(ctx) }

// Follow tells of changes of an order until ctx is done, and once at the beginning. Of an order that the viewer may not
// see, or that does not exist, it tells nil and ends.
func (s *Service) Follow(ctx context.Context, key id.Key) (<-chan *Change, error) {
	// The order is read after the watch has begun, when the first change is told. Here it is only asked whether it is there.
	found, err := s.ByKeys(ctx, []id.Key{key})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return Nothing(), nil
	}
	w, err := s.changes.Watch(ctx, key)
	if err != nil {
		return nil, err
	}
	return feed.Channel(ctx, w, func(c feed.Change[id.Key]) *Change { return &Change{Order: &c.Key} }), nil
}

// Nothing is what is told of an order that does not exist.
func Nothing() <-chan *Change {
	c := make(chan *Change, 1)
	c <- nil
	close(c)
	return c
}

// FollowAll tells of changes of all orders until ctx is done, for staff: those after a cursor, or else those from now on,
// beginning with a change of nothing that has the cursor. A cursor of something else is BadUserInput.
func (s *Service) FollowAll(ctx context.Context, after *string) (<-chan *Change, error) {
	switch viewer := auth.From(ctx); {
	case !viewer.SignedIn():
		return nil, errAnonymous()
	case !viewer.Staff():
		return nil, fault.New(fault.Forbidden, "only staff may follow everybody's orders")
	}
	var since feed.Position
	if after != nil {
		text, err := page.ParseCursor(*after, changesCursor, "after")
		if err != nil {
			return nil, err
		}
		if since, err = feed.ParsePosition(text, "after"); err != nil {
			return nil, err
		}
	}
	w, err := s.changes.WatchAll(ctx, since)
	if err != nil {
		return nil, err
	}
	return feed.Channel(ctx, w, func(c feed.Change[id.Key]) *Change {
		change := &Change{Cursor: new(page.Cursor(changesCursor, c.Position.Short()))}
		if c.Known {
			change.Order = &c.Key
		}
		return change
	}), nil
}

// changedSince is a feed.Read. A transaction of the future, which a dump of another server has brought along, is none.
func (s *Service) changedSince(ctx context.Context, since feed.Position, limit int) ([]feed.Row[id.Key], feed.Position, error) {
	type row struct {
		Now       string
		Owner, ID *uuid.UUID
		In        *string
	}
	found, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "orders.changed_since",
		SQL: `SELECT s.now::text, o.owner_id, o.id, o.changed_in::text FROM (SELECT pg_current_snapshot() AS now) s
			LEFT JOIN orders.orders o ON o.changed_in >= pg_snapshot_xmin($1::text::pg_snapshot)
				AND NOT pg_visible_in_snapshot(o.changed_in, $1::text::pg_snapshot) AND o.changed_in < pg_snapshot_xmax(s.now)
			ORDER BY o.changed_in FETCH FIRST $2 ROWS WITH TIES`,
		Reads: postgres.All("orders.orders"), Volatile: true,
	}, pgx.RowToStructByPos[row], since.Nullable(), limit)
	if err != nil {
		return nil, "", err
	}
	var rows []feed.Row[id.Key]
	for _, r := range found {
		if r.ID != nil {
			in, err := feed.Transaction(*r.In)
			if err != nil {
				return nil, "", err
			}
			rows = append(rows, feed.Row[id.Key]{Key: id.Key{Owner: *r.Owner, ID: *r.ID}, In: in})
		}
	}
	return rows, feed.Position(found[0].Now), nil
}
