package payment

import (
	"context"
	"fmt"
	"iter"

	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// Draft is a payment with its ledger, to be stored as it is. The owner, the payment and the order of the events are those
// of the payment, whatever they say themselves.
type Draft struct {
	Payment Payment
	Events  []EventDraft
}

// EventDraft is an entry of a ledger with the provider's ID of it, which is unique for the provider.
type EventDraft struct {
	Event   Event
	EventID string
}

// loadChunk is how many payments are held in memory.
const loadChunk = 1000

// Load stores new payments in one transaction: all of them or none. Progress, which may be nil, is told how many are
// written so far. A payment, event or reference that exists already fails it.
//
// It is for programs that an operator runs: no viewer is asked for.
func (s *Service) Load(ctx context.Context, payments iter.Seq[*Draft], progress func(done int)) error {
	if err := postgres.LoadChunks(ctx, s.db, payments, loadChunk, s.write, progress); err != nil {
		return fmt.Errorf("load payments: %w", err)
	}
	return nil
}

func (s *Service) write(ctx context.Context, tx *postgres.Tx, chunk []*Draft) error {
	var payments, references, events, providerEvents [][]any
	for _, d := range chunk {
		p := &d.Payment
		action, err := seal.SealJSON(s.sealer, field("action", p.Owner, p.ID), p.Action)
		if err != nil {
			return err
		}
		captured := int64(0)
		for _, e := range d.Events {
			if e.Event.Kind == EventCaptured && e.Event.Currency == p.Currency {
				captured += e.Event.AmountMinor
			}
		}
		payments = append(payments, []any{p.Owner, p.ID, p.OrderID, p.Provider, p.Status, p.Method.Kind, p.Method.Brand,
			p.Method.LastFour, p.Currency, p.AmountMinor, s.sealer.SealNullable(field("reference", p.Owner, p.ID), p.Reference),
			action, p.Status.live(), captured, p.CreatedAt})
		if p.Reference != nil {
			index := s.sealer.Index(referenceIndex, canonicalReference(p.Provider, *p.Reference))
			references = append(references, []any{p.Provider, index, p.Owner, p.ID})
		}
		for _, e := range d.Events {
			events = append(events, []any{p.Owner, e.Event.ID, p.ID, p.OrderID, p.Provider, e.EventID, e.Event.Kind,
				e.Event.Currency, e.Event.AmountMinor, e.Event.OccurredAt})
			providerEvents = append(providerEvents, []any{p.Provider, e.EventID, p.Owner})
		}
	}
	return postgres.CopyParts(ctx, tx, "payments", []postgres.Part{
		{Table: "payments", Rows: payments, Columns: []string{"owner_id", "id", "order_id", "provider", "status", "method_kind",
			"method_brand", "method_last_four", "currency", "amount", "reference", "action", "live", "captured",
			"created_at"}},
		{Table: "provider_references", Rows: references, Columns: []string{"provider", "reference_index", "owner_id",
			"payment_id"}},
		{Table: "events", Rows: events, Columns: []string{"owner_id", "id", "payment_id", "order_id", "provider", "event_id",
			"kind", "currency", "amount", "occurred_at"}},
		{Table: "provider_events", Rows: providerEvents, Columns: []string{"provider", "event_id", "owner_id"}},
	})
}
