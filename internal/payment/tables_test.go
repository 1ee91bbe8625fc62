package payment_test

import (
	"testing"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/seal"
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

	command := payment.Command{Owner: owner, ID: id.New(), PaymentID: p.ID, OrderID: p.OrderID, Kind: payment.CommandRefund, Currency: "EUR",
		AmountMinor: 300, Final: true, Status: payment.CommandFailed, Reason: new(payment.RefundReturned), Note: new("worn"),
		Lines: []payment.RefundLine{{OrderLineID: id.New(), Quantity: 2}}, Failure: new("not_refundable"), ActorID: new(id.New()), CreatedAt: day,
		FinishedAt: new(day)}
	pgtest.Filled(t, "the command", command)
	s.exec(t, `INSERT INTO payments.commands (owner_id, id, payment_id, order_id, kind, currency, amount, final, status, reason, note, lines, failure,
		actor_id, created_at, finished_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`, command.Owner, command.ID,
		command.PaymentID, command.OrderID, command.Kind, command.Currency, command.AmountMinor, command.Final, command.Status, command.Reason,
		command.Note, command.Lines, command.Failure, command.ActorID, command.CreatedAt, command.FinishedAt)
	pgtest.CheckRows(ctx, t, "Commands", of, v.CommandTable(), func() error { _, err := v.Commands(ctx, []id.Key{command.Key()}); return err }, command)
	pgtest.CheckRows(ctx, t, "CommandsOf", of, v.CommandTable(), func() error { _, err := v.CommandsOf(ctx, payments); return err }, command)

	d1 := payment.Difference{ID: id.New(), Provider: "acme", Kind: payment.AmountMismatch, Owner: &owner, PaymentID: &p.ID, Reference: new("a reference"),
		Details: map[string]any{"captured": 1.}, FoundAt: day, ResolvedAt: new(day)}
	pgtest.Filled(t, "the difference", d1)
	reference := sealer(t, s.keys).SealString(seal.Field{Table: "payments.differences", Column: "reference", Row: d1.ID[:]}, *d1.Reference)
	s.exec(t, `INSERT INTO payments.differences (id, provider, kind, subject, owner_id, payment_id, reference, details, found_at, resolved_at)
		VALUES ($1, $2, $3, sha256('x'), $4, $5, $6, $7, $8, $9)`, d1.ID, d1.Provider, d1.Kind, d1.Owner, d1.PaymentID, reference, d1.Details, d1.FoundAt, d1.ResolvedAt)
	pgtest.CheckRows(ctx, t, "Differences", of, v.DifferenceTable(), func() error {
		_, err := v.Differences(ctx, payment.DifferenceFilter{}, page.Args{First: new(5)})
		return err
	}, d1)
}
