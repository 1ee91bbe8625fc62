package order

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/postgres"
)

// locked is an order in the transaction that holds it locked. What is changed of it is written at the end of change.
type locked struct {
	*Order
	CartID          *uuid.UUID
	PaymentRevision int64
	Paid            paid
	CancelRestock   bool
	CancelRefund    bool
	Details         audit.Details // what the audit log tells besides; see tell
}

// paid are the sums of the payments' facts that the order has taken over.
type paid struct{ Authorized, Voided, Captured, Refunded int64 }

// due is what nobody has promised or paid yet of a total.
func (p paid) due(total int64) int64 { return total - (p.Authorized - p.Voided - p.Refunded) }

// errUnknown is the answer about what does not exist and about what is not the viewer's.
func errUnknown(field ...string) error {
	return &fault.Error{Code: fault.NotFound, Message: "there is no such order", Field: field}
}

// change runs fn in a transaction that holds an order locked, and writes the states, reasons and totals that fn has set.
// All that happens to an order goes through here, one after the other. The order's row is the first lock of such a
// transaction; those of its cart and its discount follow.
func (s *Service) change(ctx context.Context, key id.Key, fn func(ctx context.Context, tx *postgres.Tx, o *locked) error) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error { return s.changeIn(ctx, tx, key, fn) })
}

// changeIn is change in a transaction that there is already.
func (s *Service) changeIn(ctx context.Context, tx *postgres.Tx, key id.Key, fn func(ctx context.Context, tx *postgres.Tx, o *locked) error) error {
	o, err := s.lock(ctx, tx, key)
	if err != nil {
		return err
	}
	if err := fn(ctx, tx, o); err != nil {
		return err
	}
	return s.store(ctx, tx, o)
}

// lock returns an order and keeps everybody else from changing it. It fails with NotFound if there is none.
func (s *Service) lock(ctx context.Context, tx *postgres.Tx, key id.Key) (*locked, error) {
	type extra struct {
		CartID          *uuid.UUID
		PaymentRevision int64
		paid
		CancelRestock bool
		CancelRefund  bool
	}
	e, found, err := postgres.First(ctx, tx, postgres.Stmt{
		Name: "orders.lock",
		SQL: `SELECT cart_id, payment_revision, authorized, voided, captured, refunded, cancel_restock, cancel_refund FROM orders.orders
			WHERE owner_id = $1 AND id = $2 FOR UPDATE`,
		Reads: ordersByID.Of(key.ID),
	}, pgx.RowToStructByPos[extra], key.Owner, key.ID)
	if err == nil && !found {
		err = errUnknown("input", "orderId")
	}
	if err != nil {
		return nil, err
	}
	o, err := s.read(ctx, tx, key)
	if err != nil {
		return nil, err
	}
	return &locked{Order: o, CartID: e.CartID, PaymentRevision: e.PaymentRevision, Paid: e.paid,
		CancelRestock: e.CancelRestock, CancelRefund: e.CancelRefund}, nil
}

// read returns an order, whoever asks. It fails with NotFound if there is none.
func (s *Service) read(ctx context.Context, q postgres.Querier, key id.Key) (*Order, error) {
	orders := s.tables.orders.Whole(ctx)
	o, found, err := postgres.First(ctx, q, postgres.Stmt{
		Name: "orders.order", SQL: "SELECT " + orders.SQL + " " + fromOrders + " WHERE o.owner_id = $1 AND o.id = $2",
		Reads: ordersByID.Of(key.ID),
	}, orders.Scan, key.Owner, key.ID)
	if err == nil && !found {
		err = errUnknown("input", "orderId")
	}
	return o, err
}

// store writes what can change of an order. What a customer pays with is forgotten as soon as it is of no more use.
func (s *Service) store(ctx context.Context, tx *postgres.Tx, o *locked) error {
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{
		Name: "orders.store",
		SQL: `UPDATE orders.orders SET status = $3, payment_status = $4, fulfillment_status = $5, payment_revision = $6,
				cancel_reason = $7, cancel_restock = $8, cancel_refund = $9, failure = $10, placed_at = $11, canceled_at = $12,
				subtotal = $13, discount_total = $14, shipping_total = $15, tax_total = $16, total = $17, tax_lines = $18,
				authorized = $19, voided = $20, captured = $21, refunded = $22,
				payment_method = CASE WHEN $3 = 'PENDING' THEN payment_method END,
				updated_at = now(), changed_in = pg_current_xact_id()
			WHERE owner_id = $1 AND id = $2`,
	}, o.Owner, o.ID, o.Status, o.PaymentStatus, o.FulfillmentStatus, o.PaymentRevision, o.CancelReason, o.CancelRestock,
		o.CancelRefund, o.Failure, o.PlacedAt, o.CanceledAt, o.SubtotalMinor, o.DiscountMinor, o.ShippingMinor, o.TaxMinor,
		o.TotalMinor, o.Taxes, o.Paid.Authorized, o.Paid.Voided, o.Paid.Captured, o.Paid.Refunded)
	return err
}

// to brings the order to another state if that is allowed; to the one that it is in already always.
func (o *locked) to(next Status, now time.Time) error {
	if o.Status == next {
		return nil
	}
	if !o.Status.may(next) {
		return fault.Newf(fault.Conflict, "an order that is %s can not become %s", o.Status, next)
	}
	o.Status = next
	if next == StatusCanceled {
		o.CanceledAt = &now
	}
	return nil
}

// addEvent writes down what has happened to an order. Actor is nil for what the shop does by itself.
func (s *Service) addEvent(ctx context.Context, tx *postgres.Tx, key id.Key, kind EventKind, message string, actor *uuid.UUID) error {
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{
		Name: "orders.add_event",
		SQL:  `INSERT INTO orders.events (owner_id, id, order_id, kind, message, actor_id, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
	}, key.Owner, id.New(), key.ID, kind, message, actor, s.now())
	return err
}

// addEntries writes down what has happened to the money of an order. What was written down before stays as it is.
func (s *Service) addEntries(ctx context.Context, tx *postgres.Tx, o *Order, entries []PaymentEntry) error {
	ids, kinds, messages, times := make([]uuid.UUID, len(entries)), make([]EventKind, len(entries)), make([]string, len(entries)), make([]time.Time, len(entries))
	for i, e := range entries {
		if ids[i], kinds[i], times[i] = e.ID, e.Kind, e.At; e.Amount > 0 {
			messages[i] = money.New(e.Amount, o.Currency).String()
		}
	}
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{
		Name: "orders.add_entries",
		SQL: `INSERT INTO orders.events (owner_id, id, order_id, kind, message, created_at)
			SELECT $1, t.id, $2, t.kind, t.message, t.at FROM unnest($3::uuid[], $4::text[], $5::text[], $6::timestamptz[]) AS t(id, kind, message, at)
			ON CONFLICT (owner_id, id) DO NOTHING`,
	}, o.Owner, o.ID, ids, kinds, messages, times)
	return err
}

// linesIn returns the lines of an order, as they stand in it, in its transaction.
func (s *Service) linesIn(ctx context.Context, tx *postgres.Tx, key id.Key) ([]*Line, error) {
	lines := s.tables.lines.Whole(ctx)
	return postgres.Select(ctx, tx, postgres.Stmt{
		Name: "orders.lines_of_locked", SQL: "SELECT " + lines.SQL + " " + fromLines + " WHERE l.owner_id = $1 AND l.order_id = $2 ORDER BY l.position",
		Reads: postgres.All("orders.lines"),
	}, lines.Scan, key.Owner, key.ID)
}

// parcelsIn returns the parcels of an order, the oldest first, in its transaction.
func (s *Service) parcelsIn(ctx context.Context, tx *postgres.Tx, key id.Key) ([]*Fulfillment, error) {
	parcels := s.tables.fulfillments.Whole(ctx)
	return postgres.Select(ctx, tx, postgres.Stmt{
		Name: "orders.parcels_of_locked", SQL: "SELECT " + parcels.SQL + " " + fromFulfillments + " WHERE f.owner_id = $1 AND f.order_id = $2 ORDER BY f.id",
		Reads: postgres.All("orders.fulfillments"),
	}, parcels.Scan, key.Owner, key.ID)
}

// complete closes an order of which everything has arrived and is paid.
func (s *Service) complete(ctx context.Context, tx *postgres.Tx, o *locked) error {
	paid := o.PaymentStatus == PaymentPaid || o.Paid.Captured >= o.TotalMinor // what was refunded since is paid, too
	if o.Status != StatusConfirmed || o.FulfillmentStatus != Delivered && o.FulfillmentStatus != Returned || !paid {
		return nil
	}
	o.Status = StatusCompleted
	return s.addEvent(ctx, tx, o.Key(), EventCompleted, "", nil)
}

// or returns the value, or the zero value for nil.
func or[T any](value *T) (v T) {
	if value != nil {
		v = *value
	}
	return v
}
