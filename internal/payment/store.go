package payment

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// Columns stand in the order in which the scan functions read them.
const (
	selectPayments = `SELECT p.owner_id, p.id, p.order_id, p.provider, p.status, p.method_kind, p.method_brand,
		p.method_last_four, p.currency, p.amount, p.reference, p.created_at FROM payments.payments p`

	selectEvents = `SELECT e.owner_id, e.id, e.payment_id, e.order_id, e.kind, e.currency, e.amount, e.occurred_at
		FROM payments.events e`

	// What a provider reports in another currency than the payment's is kept, but makes no sum.
	selectSums = `SELECT e.owner_id, e.payment_id, e.order_id,
		coalesce(sum(e.amount) FILTER (WHERE e.kind = 'AUTHORIZED'), 0)::bigint,
		coalesce(sum(e.amount) FILTER (WHERE e.kind = 'VOIDED'), 0)::bigint,
		coalesce(sum(e.amount) FILTER (WHERE e.kind = 'CAPTURED'), 0)::bigint,
		coalesce(sum(e.amount) FILTER (WHERE e.kind = 'REFUNDED'), 0)::bigint
		FROM payments.events e
		JOIN payments.payments p ON p.owner_id = e.owner_id AND p.id = e.payment_id AND p.currency = e.currency`
	groupSums = " GROUP BY e.owner_id, e.payment_id, e.order_id"
)

// byKeys is a statement that reads rows by pairs of their owner and a column.
type byKeys struct {
	name   string // of the statement
	sql    string // before WHERE
	owner  string // the column of the owner
	column string // the column beside it
	tail   string // after WHERE
	reads  func(ids []uuid.UUID) []postgres.Tag
}

var (
	paymentsByKey = byKeys{"payments.payments_by_key", selectPayments, "p.owner_id", "p.id", "",
		rowsOf("payments.payments")}
	paymentsByOrder = byKeys{"payments.payments_by_order", selectPayments, "p.owner_id", "p.order_id",
		" ORDER BY p.order_id, p.created_at, p.id", allOf("payments.payments")}

	eventsByKey     = byKeys{"payments.events_by_key", selectEvents, "e.owner_id", "e.id", "", rowsOf("payments.events")}
	eventsByPayment = byKeys{"payments.events_by_payment", selectEvents, "e.owner_id", "e.payment_id",
		" ORDER BY e.payment_id, e.occurred_at, e.id", allOf("payments.events")}

	totalsByPayment = byKeys{"payments.totals_by_payment", selectSums, "e.owner_id", "e.payment_id", groupSums,
		allOf("payments.events", "payments.payments")}
	totalsByOrder = byKeys{"payments.totals_by_order", selectSums, "e.owner_id", "e.order_id", groupSums,
		allOf("payments.events", "payments.payments")}
)

func rowsOf(relation string) func([]uuid.UUID) []postgres.Tag {
	return func(ids []uuid.UUID) []postgres.Tag { return postgres.Rows(relation, ids...) }
}

func allOf(relations ...string) func([]uuid.UUID) []postgres.Tag {
	return func([]uuid.UUID) []postgres.Tag { return postgres.All(relations...) }
}

// batch runs the statement for those of the keys that the viewer may ask for.
//
// The keys of one owner, which is all that a customer has, are a plain condition on an index and on one shard. Pairs of
// several owners, which staff has, are joined: with ANY for both columns the index is searched for every combination
// of an owner and an ID (100 lookups become 10,000), and the plan that avoids it reads all that the owners have.
func batch[T any](ctx context.Context, s *Service, q byKeys, scan pgx.RowToFunc[T], keys []id.Key) ([]T, error) {
	keys = visibleKeys(ctx, keys)
	if len(keys) == 0 {
		return nil, nil
	}
	owners, ids, oneOwner := make([]uuid.UUID, len(keys)), make([]uuid.UUID, len(keys)), true
	for i, k := range keys {
		owners[i], ids[i] = k.Owner, k.ID
		oneOwner = oneOwner && k.Owner == owners[0]
	}
	stmt := postgres.Stmt{Name: q.name, Reads: q.reads(ids)}
	if oneOwner {
		stmt.SQL = q.sql + " WHERE " + q.owner + " = $1 AND " + q.column + " = ANY($2)" + q.tail
		return postgres.Select(ctx, s.db, stmt, scan, owners[0], ids)
	}
	stmt.SQL = q.sql + " WHERE (" + q.owner + ", " + q.column + ") IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))" + q.tail
	return postgres.Select(ctx, s.db, stmt, scan, owners, ids)
}

// The scan functions read into the types below names like Status, where pgx takes a shorter way than by reflection.

func (s *Service) scanPayment(ctx context.Context) pgx.RowToFunc[*Payment] {
	staff := auth.From(ctx).Staff()
	return func(row pgx.CollectableRow) (*Payment, error) {
		var p Payment
		var reference []byte
		err := row.Scan((*[16]byte)(&p.Owner), (*[16]byte)(&p.ID), (*[16]byte)(&p.OrderID), &p.Provider,
			(*string)(&p.Status), &p.Method.Kind, &p.Method.Brand, &p.Method.LastFour, (*string)(&p.Currency),
			&p.AmountMinor, &reference, &p.CreatedAt)
		if err != nil || !staff {
			return &p, err
		}
		p.Reference, err = s.sealer.OpenNullable(field(p.Owner, p.ID), reference)
		return &p, err
	}
}

// canonicalReference is the form in which a provider's reference is indexed: no provider's name contains a zero byte.
func canonicalReference(provider, reference string) string { return provider + "\x00" + reference }

// referenceIndex is the kind of the blind index of references.
const referenceIndex = "payments.reference"

// field is where the reference of a payment is sealed for.
func field(owner, payment uuid.UUID) seal.Field {
	row := make([]byte, 0, 32)
	row = append(row, owner[:]...)
	return seal.Field{Table: "payments.payments", Column: "reference", Row: append(row, payment[:]...)}
}

func scanEvent(row pgx.CollectableRow) (*Event, error) {
	var e Event
	err := row.Scan((*[16]byte)(&e.Owner), (*[16]byte)(&e.ID), (*[16]byte)(&e.PaymentID), (*[16]byte)(&e.OrderID),
		(*string)(&e.Kind), (*string)(&e.Currency), &e.AmountMinor, &e.OccurredAt)
	return &e, err
}

func scanSums(row pgx.CollectableRow) (r sums, err error) {
	var owner uuid.UUID
	err = row.Scan((*[16]byte)(&owner), (*[16]byte)(&r.payment.ID), (*[16]byte)(&r.order.ID), &r.authorized, &r.voided,
		&r.captured, &r.refunded)
	r.payment.Owner, r.order.Owner = owner, owner
	return r, err
}
