package order_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/postgres/pgtest"
)

// TestRowsAreReadAsTheyCome runs the statement behind each verb in every way that pgx has: all give what was loaded, with
// no field left out, and as usual without pgx's way of reading rows.
func TestRowsAreReadAsTheyCome(t *testing.T) {
	t.Parallel()
	s, owner := open(t), id.New()
	d := draft(owner, day, func(d *order.Draft) {
		d.Order.Status, d.Order.CanceledAt = order.StatusCanceled, new(day.Add(3*time.Hour))
		d.Order.CancelReason, d.Order.Failure = new(order.CancelOther), new("Refused.")
		d.Fulfillments[1].Status = order.ParcelReturned
		d.Events = d.Events[2:]
	})
	s.load(t, d)
	o, line, parcel, packed, event := d.Order, d.Lines[0], d.Fulfillments[0], d.FulfillmentLines[0], d.Events[0]
	for _, row := range []any{o, line, parcel, packed, event} {
		pgtest.Filled(t, "what was loaded", row)
	}

	of := pgtest.NewTables(t, s.dbs.URLs["orders"])
	v, ctx := order.New(order.Config{DB: of.DB, Sealer: sealer(t, s.keys), Currency: "EUR"}), staff(t.Context())
	keys, others := []id.Key{o.Key()}, []id.Key{o.Key(), {Owner: id.New(), ID: id.New()}}

	pgtest.CheckRows(ctx, t, "ByKeys", of, v.OrderTable(), func() error { _, err := v.ByKeys(ctx, keys); return err }, o)
	pgtest.CheckRows(ctx, t, "ByKeys of two owners", of, v.OrderTable(), func() error { _, err := v.ByKeys(ctx, others); return err }, o)
	pgtest.CheckRows(ctx, t, "ByNumber", of, v.OrderTable(), func() error { _, err := v.ByNumber(ctx, o.Number); return err }, o)
	for _, sort := range []order.Sort{byTime(page.Descending), byTotal(page.Ascending)} {
		pgtest.CheckRows(ctx, t, "List", of, v.OrderTable(), func() error {
			_, err := v.List(ctx, order.Filter{}, sort, page.Args{First: new(5)})
			return err
		}, o)
	}
	for _, owners := range [][]uuid.UUID{{owner}, {owner, id.New()}} {
		pgtest.CheckRows(ctx, t, "ListByOwners", of, v.OrderTable(), func() error {
			_, err := v.ListByOwners(ctx, owners, page.Args{First: new(5)})
			return err
		}, o)
	}
	pgtest.CheckRows(ctx, t, "LinesOf", of, v.LineTable(), func() error { _, err := v.LinesOf(ctx, keys); return err }, d.Lines...)
	pgtest.CheckRows(ctx, t, "Lines", of, v.LineTable(), func() error { _, err := v.Lines(ctx, []id.Key{line.Key()}); return err }, line)
	pgtest.CheckRows(ctx, t, "FulfillmentsOf", of, v.FulfillmentTable(), func() error { _, err := v.FulfillmentsOf(ctx, keys); return err }, d.Fulfillments...)
	pgtest.CheckRows(ctx, t, "Fulfillments", of, v.FulfillmentTable(), func() error {
		_, err := v.Fulfillments(ctx, []id.Key{parcel.Key()})
		return err
	}, parcel)
	pgtest.CheckRows(ctx, t, "FulfillmentLinesOf", of, v.FulfillmentLineTable(), func() error {
		_, err := v.FulfillmentLinesOf(ctx, []id.Key{parcel.Key()})
		return err
	}, d.FulfillmentLines[:2]...)
	pgtest.CheckRows(ctx, t, "EventsOf", of, v.EventTable(), func() error { _, err := v.EventsOf(ctx, keys); return err }, d.Events...)
	pgtest.CheckRows(ctx, t, "Events", of, v.EventTable(), func() error { _, err := v.Events(ctx, []id.Key{event.Key()}); return err }, event)
}
