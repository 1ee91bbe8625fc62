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

var (
	paymentsByKey = postgres.ByKeys{Name: "payments.payments_by_key", SQL: selectPayments,
		Owner: "p.owner_id", Column: "p.id", Rows: "payments.payments"}
	paymentsByOrder = postgres.ByKeys{Name: "payments.payments_by_order", SQL: selectPayments,
		Owner: "p.owner_id", Column: "p.order_id", Tail: " ORDER BY p.order_id, p.created_at, p.id",
		Reads: postgres.All("payments.payments")}

	eventsByKey = postgres.ByKeys{Name: "payments.events_by_key", SQL: selectEvents,
		Owner: "e.owner_id", Column: "e.id", Rows: "payments.events"}
	eventsByPayment = postgres.ByKeys{Name: "payments.events_by_payment", SQL: selectEvents,
		Owner: "e.owner_id", Column: "e.payment_id", Tail: " ORDER BY e.payment_id, e.occurred_at, e.id",
		Reads: postgres.All("payments.events")}

	totalsByPayment = postgres.ByKeys{Name: "payments.totals_by_payment", SQL: selectSums,
		Owner: "e.owner_id", Column: "e.payment_id", Tail: groupSums,
		Reads: postgres.All("payments.events", "payments.payments")}
	totalsByOrder = postgres.ByKeys{Name: "payments.totals_by_order", SQL: selectSums,
		Owner: "e.owner_id", Column: "e.order_id", Tail: groupSums,
		Reads: postgres.All("payments.events", "payments.payments")}
)

// batch runs the statement for those of the keys that the viewer may ask for.
func batch[T any](ctx context.Context, s *Service, by postgres.ByKeys, scan pgx.RowToFunc[T], keys []id.Key) ([]T, error) {
	return postgres.SelectByKeys(ctx, s.db, by, scan, keys, auth.From(ctx).Sees)
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
