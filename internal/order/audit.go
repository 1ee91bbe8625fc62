package order

import (
	"context"

	"github.com/google/uuid"

	"emporium/internal/audit"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/postgres"
)

// told is what the audit log tells of an order when it becomes something else.
type told struct {
	Status            Status
	PaymentStatus     PaymentStatus
	FulfillmentStatus FulfillmentStatus
	CancelReason      *CancelReason
	Currency          money.Currency
	TotalMinor        int64
}

func (o *Order) told() told {
	return told{o.Status, o.PaymentStatus, o.FulfillmentStatus, o.CancelReason, o.Currency, o.TotalMinor}
}

// tell notes something that the audit log tells of a change, beside what has become of statuses and the total.
func (o *locked) tell(name string, value any) {
	if o.Details == nil {
		o.Details = audit.Details{}
	}
	o.Details[name] = value
}

// act is changeIn for what somebody does to an order. It is recorded in the same transaction if it has changed something, and
// if whoever does it is staff or a machine, or does it to what is not theirs.
func (s *Service) act(
	ctx context.Context, tx *postgres.Tx, action audit.Action, key id.Key, fn func(ctx context.Context, tx *postgres.Tx, o *locked) error,
) error {
	var entries []audit.Entry
	err := s.changeIn(ctx, tx, key, func(ctx context.Context, tx *postgres.Tx, o *locked) error {
		before := o.told()
		if err := fn(ctx, tx, o); err != nil {
			return err
		}
		entries = s.entries(ctx, action, o, before)
		return nil
	})
	if err != nil || !audit.Concerns(ctx, key.Owner) {
		return err
	}
	return s.jobs.Audit(ctx, tx, entries...)
}

// entries tell what has become of a locked order.
func (s *Service) entries(ctx context.Context, action audit.Action, o *locked, before told) []audit.Entry {
	d := audit.Changes(before, o.told())
	delete(d, "fields") // they are all told of
	for name, value := range o.Details {
		if d == nil {
			d = audit.Details{}
		}
		d[name] = value
	}
	return audit.Of(ctx, action, o.GlobalID(), d)
}

// parcelID is the ID of a parcel in the graph.
func parcelID(owner, parcel uuid.UUID) string {
	return id.Owned(id.Fulfillment, id.Key{Owner: owner, ID: parcel}).String()
}
