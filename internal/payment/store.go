package payment

import (
	"context"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

const (
	paymentColumns = `p.owner_id AS owner, p.id, p.order_id, p.provider, p.status, p.method_kind AS "method.kind",
		p.method_brand AS "method.brand", p.method_last_four AS "method.last_four", p.currency, p.amount AS amount_minor,
		p.reference, p.action, p.created_at`
	fromPayments = `FROM payments.payments p`

	eventColumns = `e.owner_id AS owner, e.id, e.payment_id, e.order_id, e.kind, e.currency, e.amount AS amount_minor,
		e.occurred_at`
	fromEvents = `FROM payments.events e`

	// What a provider reports in another currency than the payment's is kept, but makes no sum.
	sumColumns = `e.owner_id AS owner, e.payment_id, e.order_id,
		coalesce(sum(e.amount) FILTER (WHERE e.kind = 'AUTHORIZED'), 0)::bigint AS authorized,
		coalesce(sum(e.amount) FILTER (WHERE e.kind = 'VOIDED'), 0)::bigint AS voided,
		coalesce(sum(e.amount) FILTER (WHERE e.kind = 'CAPTURED'), 0)::bigint AS captured,
		coalesce(sum(CASE e.kind WHEN 'REFUNDED' THEN e.amount WHEN 'REFUND_FAILED' THEN -e.amount END), 0)::bigint AS refunded`
	fromSums = `FROM payments.events e
		JOIN payments.payments p ON p.owner_id = e.owner_id AND p.id = e.payment_id AND p.currency = e.currency`
	groupSums = " GROUP BY e.owner_id, e.payment_id, e.order_id"
)

var (
	paymentsByID    = postgres.ColumnOf("payments.payments", "id")
	paymentsByOwner = postgres.ColumnOf("payments.payments", "owner_id")

	paymentsByKey = postgres.ByKeys{Name: "payments.payments_by_key", From: fromPayments,
		Owner: "p.owner_id", Column: "p.id", Reads: paymentsByID}
	paymentsByOrder = postgres.ByKeys{Name: "payments.payments_by_order", From: fromPayments,
		Owner: "p.owner_id", Column: "p.order_id", Tail: " ORDER BY p.order_id, p.created_at, p.id",
		Reads: postgres.ColumnOf("payments.payments", "order_id")}

	eventsByKey = postgres.ByKeys{Name: "payments.events_by_key", From: fromEvents,
		Owner: "e.owner_id", Column: "e.id", Reads: postgres.ColumnOf("payments.events", "id")}
	eventsByPayment = postgres.ByKeys{Name: "payments.events_by_payment", From: fromEvents,
		Owner: "e.owner_id", Column: "e.payment_id", Tail: " ORDER BY e.payment_id, e.occurred_at, e.id",
		Reads: postgres.ColumnOf("payments.events", "payment_id")}

	totalsByPayment = postgres.ByKeys{Name: "payments.totals_by_payment", From: fromSums,
		Owner: "e.owner_id", Column: "e.payment_id", Tail: groupSums,
		Reads: postgres.ColumnOf("payments.events", "payment_id"), ReadsOwned: []postgres.Column{paymentsByOwner}}
	totalsByOrder = postgres.ByKeys{Name: "payments.totals_by_order", From: fromSums,
		Owner: "e.owner_id", Column: "e.order_id", Tail: groupSums,
		Reads: postgres.ColumnOf("payments.events", "order_id"), ReadsOwned: []postgres.Column{paymentsByOwner}}
)

// tables are how rows become what they are here.
type tables struct {
	payments *postgres.Table[Payment]
	events   *postgres.Table[Event]
	sums     *postgres.Table[sums]

	commands    *postgres.Table[Command]
	differences *postgres.Table[Difference]
}

func (s *Service) newTables() tables {
	return tables{
		payments: postgres.TableOf(paymentColumns, map[string]postgres.Unseal[Payment]{
			"Reference": func(ctx context.Context, p *Payment, sealed []byte) (err error) {
				if auth.Staff(ctx) {
					p.Reference, err = s.sealer.OpenNullable(field("reference", p.Owner, p.ID), sealed)
				}
				return err
			},
			"Action": func(ctx context.Context, p *Payment, sealed []byte) (err error) {
				// A payment is also read whole for answers that show no action. Where one is shown, the field's @owner asks who the
				// viewer is.
				if auth.Peek(ctx).Is(p.Owner) {
					p.Action, err = seal.OpenJSON[*Action](s.sealer, field("action", p.Owner, p.ID), sealed)
				}
				return err
			},
		}),
		events: postgres.TableOf[Event](eventColumns, nil),
		sums:   postgres.TableOf[sums](sumColumns, nil),

		commands: postgres.TableOf[Command](commandColumns, nil),
		differences: postgres.TableOf(differenceColumns, map[string]postgres.Unseal[Difference]{
			"Reference": func(_ context.Context, d *Difference, sealed []byte) (err error) {
				d.Reference, err = s.sealer.OpenNullable(differenceField(d.ID), sealed)
				return err
			},
		}),
	}
}

// batch runs the statement for those of the keys that the viewer may ask for.
func batch[T any](ctx context.Context, s *Service, by postgres.ByKeys, table *postgres.Table[T], keys []id.Key) ([]*T, error) {
	reading := table.In(ctx)
	return postgres.SelectByKeys(ctx, s.db, by, reading.SQL, reading.Scan, keys, auth.Sees(ctx))
}

// canonicalReference is the form in which a provider's reference is indexed: no provider's name contains a zero byte.
func canonicalReference(provider, reference string) string { return provider + "\x00" + reference }

// referenceIndex is the kind of the blind index of references.
const referenceIndex = "payments.reference"

// refundIndex is that of refunds.
const refundIndex = "payments.refund"

// field is where a column of a payment is sealed for.
func field(column string, owner, payment uuid.UUID) seal.Field {
	row := make([]byte, 0, 32)
	row = append(row, owner[:]...)
	return seal.Field{Table: "payments.payments", Column: column, Row: append(row, payment[:]...)}
}
