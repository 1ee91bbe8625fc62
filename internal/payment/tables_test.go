package payment_test

import (
	"testing"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/postgres/pgtest"
)

// TestRowsAreReadAsTheyCome runs the statement behind each verb in every way that pgx has: all give what was loaded, with
// no field left out, and as usual without pgx's way of reading rows.
func TestRowsAreReadAsTheyCome(t *testing.T) {
	t.Parallel()
	s, owner := open(t), id.New()
	d := draft(owner, day, []entry{{payment.EventAuthorized, 5000}, {payment.EventVoided, 1000}, {payment.EventCaptured, 3000}, {payment.EventRefunded, 500}})
	d.Payment.Action = &payment.Action{URL: new("https://bank.example"), ClientSecret: new("secret")}
	s.load(t, d)
	p := d.Payment
	var ledger []payment.Event
	for _, e := range d.Events {
		ledger = append(ledger, e.Event)
	}
	sums := payment.Sums{Owner: owner, PaymentID: p.ID, OrderID: p.OrderID, Authorized: 5000, Voided: 1000, Captured: 3000, Refunded: 500}
	for _, row := range []any{p, p.Method, ledger[0], sums} {
		pgtest.Filled(t, "what was loaded", row)
	}

	of := pgtest.NewTables(t, s.dbs.URLs["payments"])
	v, ctx := payment.New(payment.Config{DB: of.DB, Sealer: sealer(t, s.keys), Currency: "EUR"}), as(t.Context(), owner, auth.RoleSupport)
	payments, orders := []id.Key{p.Key()}, []id.Key{p.OrderKey()}
	others := []id.Key{p.Key(), {Owner: id.New(), ID: id.New()}}

	pgtest.CheckRows(ctx, t, "ByKeys", of, v.PaymentTable(), func() error { _, err := v.ByKeys(ctx, payments); return err }, p)
	pgtest.CheckRows(ctx, t, "ByKeys of two owners", of, v.PaymentTable(), func() error { _, err := v.ByKeys(ctx, others); return err }, p)
	pgtest.CheckRows(ctx, t, "PaymentsOf", of, v.PaymentTable(), func() error { _, err := v.PaymentsOf(ctx, orders); return err }, p)
	pgtest.CheckRows(ctx, t, "List", of, v.PaymentTable(), func() error {
		_, err := v.List(ctx, payment.Filter{}, byTime(page.Descending), page.Args{First: new(5)})
		return err
	}, p)
	pgtest.CheckRows(ctx, t, "EventsOf", of, v.EventTable(), func() error { _, err := v.EventsOf(ctx, payments); return err }, ledger...)
	pgtest.CheckRows(ctx, t, "Events", of, v.EventTable(), func() error { _, err := v.Events(ctx, []id.Key{ledger[0].Key()}); return err }, ledger[0])
	pgtest.CheckRows(ctx, t, "TotalsOf", of, v.SumTable(), func() error { _, err := v.TotalsOf(ctx, payments); return err }, sums)
	pgtest.CheckRows(ctx, t, "TotalsOf two owners", of, v.SumTable(), func() error { _, err := v.TotalsOf(ctx, others); return err }, sums)
	pgtest.CheckRows(ctx, t, "TotalsOfOrders", of, v.SumTable(), func() error { _, err := v.TotalsOfOrders(ctx, orders); return err }, sums)
}
