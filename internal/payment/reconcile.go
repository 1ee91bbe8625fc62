package payment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/payment/provider"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// young is how new something may be to be on its way still: then it is no difference.
const young = time.Minute

// DifferenceKind says how a provider's books and the ledger differ.
type DifferenceKind string

const (
	MissingFact       DifferenceKind = "MISSING_FACT"        // we had not heard of it; it was applied
	UnknownPayment    DifferenceKind = "UNKNOWN_PAYMENT"     // there is no such payment here
	AmountMismatch    DifferenceKind = "AMOUNT_MISMATCH"     // of the payment, or more here than there
	MissingAtProvider DifferenceKind = "MISSING_AT_PROVIDER" // the provider does not know it
)

// Difference is where a provider's books and the ledger differ, or did. It is staff's to see.
type Difference struct {
	ID         uuid.UUID
	Provider   string
	Kind       DifferenceKind
	Owner      *uuid.UUID // of the payment, if it is known here
	PaymentID  *uuid.UUID
	Reference  *string // the provider's
	Details    map[string]any
	FoundAt    time.Time
	ResolvedAt *time.Time
}

// OwnedBy returns false: differences are the shop's.
func (*Difference) OwnedBy(uuid.UUID) bool { return false }

// PaymentKey returns the key of the payment, if it is known here.
func (d *Difference) PaymentKey() *id.Key {
	if d.Owner == nil || d.PaymentID == nil {
		return nil
	}
	return &id.Key{Owner: *d.Owner, ID: *d.PaymentID}
}

// DifferenceConnection is a page of differences.
type DifferenceConnection = page.Connection[*Difference]

// DifferenceEdge is a difference in a list.
type DifferenceEdge = page.Edge[*Difference]

// DifferenceFilter says which differences; all that is given has to match.
type DifferenceFilter struct {
	Resolved *bool
	Kinds    []DifferenceKind
}

const differenceColumns = `d.id, d.provider, d.kind, d.owner_id AS owner, d.payment_id, d.reference, d.details, d.found_at, d.resolved_at`

func differenceField(row uuid.UUID) seal.Field {
	return seal.Field{Table: "payments.differences", Column: "reference", Row: row[:]}
}

// Differences returns a page of what reconciliation has found, the newest first; for staff.
func (s *Service) Differences(ctx context.Context, f DifferenceFilter, args page.Args) (*DifferenceConnection, error) {
	if err := mayList(ctx); err != nil {
		return nil, err
	}
	const name = "payment_differences"
	w, err := args.Window(name, 1)
	if err != nil {
		return nil, err
	}
	var b postgres.Builder
	if f.Resolved != nil {
		b.And("(d.resolved_at IS NOT NULL) = ?", *f.Resolved)
	}
	if f.Kinds != nil {
		b.And("d.kind = ANY(?)", f.Kinds)
	}
	tail, err := b.Page(w, []postgres.Key{{Expr: "d.id", Cast: "uuid", Desc: true}})
	if err != nil {
		return nil, err
	}
	reading := s.tables.differences.In(ctx)
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{Name: "payments.differences",
		SQL:   "SELECT " + reading.SQL + " FROM payments.differences d" + b.Where() + tail,
		Reads: postgres.All("payments.differences")}, reading.Scan, b.Args()...)
	if err != nil {
		return nil, err
	}
	return new(page.Build(w, rows, func(d *Difference) string { return page.Cursor(name, d.ID.String()) })), nil
}

// differ writes a difference down, unless it is known and open. One that is resolved already is written as such.
func (s *Service) differ(ctx context.Context, d *Difference) error {
	d.ID = id.New()
	_, err := postgres.Exec(ctx, s.db, postgres.Stmt{Name: "payments.differ", SQL: `INSERT INTO payments.differences (id, provider, kind,
		subject, owner_id, payment_id, reference, details, resolved_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`},
		d.ID, d.Provider, d.Kind, s.subject(d), d.Owner, d.PaymentID, s.sealer.SealNullable(differenceField(d.ID), d.Reference),
		d.Details, d.ResolvedAt)
	return err
}

// subject is what a difference is about: the payment, or the provider's reference of what is none here.
func (s *Service) subject(d *Difference) []byte {
	if d.PaymentID != nil {
		return s.sealer.Index("payments.difference", canonicalReference(d.Provider, d.PaymentID.String()))
	}
	return s.sealer.Index(referenceIndex, canonicalReference(d.Provider, *d.Reference))
}

// resolve closes the open differences of some kinds about the same subject.
func (s *Service) resolve(ctx context.Context, d *Difference, kinds ...DifferenceKind) error {
	_, err := postgres.Exec(ctx, s.db, postgres.Stmt{Name: "payments.resolve_differences", SQL: `UPDATE payments.differences
		SET resolved_at = now() WHERE provider = $1 AND kind = ANY($2) AND subject = $3 AND resolved_at IS NULL`},
		d.Provider, kinds, s.subject(d))
	return err
}

// amounts are what a state says, for a person to compare.
func amounts(st *provider.State) map[string]any {
	return map[string]any{"status": st.Status, "currency": st.Currency, "amount": st.Amount, "authorized": st.Authorized,
		"captured": st.Captured, "voided": st.Voided, "refunded": st.Refunded}
}

func unknownPayment(providerName string, st *provider.State) *Difference {
	d := &Difference{Provider: providerName, Kind: UnknownPayment, Reference: nonEmpty(st.Reference), Details: amounts(st)}
	if d.Reference == nil {
		d.Reference = new(st.PaymentID.String())
	}
	return d
}

// Reconciliation is what a run has found.
type Reconciliation struct {
	Seen        int // payments of the providers
	Applied     int // of which we did not know all
	Differences int // that a person has to look at
}

// Reconcile compares what providers know of payments that began at an instant or later with the ledger, applies what is
// missing, and writes differences down. It can be run again, and by many at once. Of a provider that fails, the others are
// compared nevertheless.
//
// It is for jobs and programs that an operator runs: no viewer is asked for.
func (s *Service) Reconcile(ctx context.Context, since time.Time) (r Reconciliation, err error) {
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Providers)) {
		if _, failed := s.reconcile(ctx, name, since, "", time.Time{}, &r); failed != nil {
			err = errors.Join(err, fmt.Errorf("reconcile %s: %w", name, failed))
		}
	}
	return r, err
}

// reconcilePart is Reconcile of a provider for a job, which has no time for more than a part: the next one goes on.
func (s *Service) reconcilePart(ctx context.Context, part reconcileArgs) error {
	var r Reconciliation
	next, err := s.reconcile(ctx, part.Provider, part.Since, part.Cursor, time.Now().Add(reconcileFor), &r)
	if r.Applied > 0 || r.Differences > 0 {
		s.cfg.Log.WarnContext(ctx, "a provider's books differ from the ledger", "provider", part.Provider, "seen", r.Seen, "applied", r.Applied, "differences", r.Differences)
	}
	if err != nil || next == "" {
		return err
	}
	part.Cursor = next
	return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error { return s.later(ctx, tx, part, time.Time{}) })
}

// reconcile goes through the pages of a provider from a cursor on, until an instant if there is one, and returns the cursor
// of the next. What the provider does not have is looked for when all pages were seen at a time.
func (s *Service) reconcile(ctx context.Context, name string, since time.Time, cursor string, until time.Time, r *Reconciliation) (next string, err error) {
	p, began, seen, whole := s.cfg.Providers[name], time.Now(), map[uuid.UUID]bool{}, cursor == ""
	if p == nil {
		return "", nil // it is not ours any more
	}
	for {
		// The provider's clock may differ from ours.
		states, next, err := p.Since(ctx, since.Add(-young), cursor)
		if err != nil {
			return "", err
		}
		for i := range states {
			key, known, err := s.find(ctx, name, states[i].PaymentID, states[i].Reference)
			if err != nil {
				return "", err
			}
			r.Seen++
			if !known {
				r.Differences++
				if err := s.differ(ctx, unknownPayment(name, &states[i])); err != nil {
					return "", err
				}
				continue
			}
			seen[key.ID] = true
			if err := s.compare(ctx, key, &states[i], r); err != nil {
				return "", err
			}
		}
		cursor = next
		if cursor == "" {
			break
		}
		if !until.IsZero() && time.Now().After(until) {
			return cursor, nil
		}
	}
	if !whole {
		return "", nil
	}
	return "", s.missingAt(ctx, name, since, began.Add(-young), seen, r)
}

// compare applies a state and says what differs.
func (s *Service) compare(ctx context.Context, key id.Key, st *provider.State, r *Reconciliation) error {
	a, changed, err := s.apply(ctx, key, st)
	if err != nil {
		return err
	}
	d := &Difference{Provider: a.Provider, Owner: &a.Owner, PaymentID: &a.ID, Reference: nonEmpty(st.Reference), Details: amounts(st)}
	if changed {
		r.Applied++
		if time.Since(st.At) > young { // a younger fact was on its way
			d.Kind, d.ResolvedAt = MissingFact, new(time.Now())
			if err := s.differ(ctx, d); err != nil {
				return err
			}
		}
	}
	if mismatch, err := s.mismatch(ctx, a, st); err != nil {
		return err
	} else if mismatch {
		// A page may be older than what we have heard since.
		fresh, found, err := s.cfg.Providers[a.Provider].Find(ctx, a.ID, st.Reference)
		if err != nil {
			return err
		}
		if found {
			if a, _, err = s.apply(ctx, key, &fresh); err != nil {
				return err
			}
			if mismatch, err = s.mismatch(ctx, a, &fresh); err != nil {
				return err
			}
			d.Details = amounts(&fresh)
		}
		if mismatch {
			r.Differences++
			d.Kind, d.ResolvedAt = AmountMismatch, nil
			return s.differ(ctx, d)
		}
	}
	unknown := unknownPayment(a.Provider, st)
	if err := s.resolve(ctx, unknown, UnknownPayment); err != nil {
		return err
	}
	return s.resolve(ctx, d, AmountMismatch, MissingAtProvider)
}

// mismatch reports whether the ledger says something else than a state that was applied.
func (s *Service) mismatch(ctx context.Context, a *account, st *provider.State) (bool, error) {
	l, err := readLedger(ctx, s.db, a.Key())
	if err != nil {
		return false, err
	}
	refunded := int64(0)
	for _, r := range st.Refunds {
		if r.Status == provider.RefundSucceeded {
			refunded += r.Amount
		}
	}
	foreign := false
	for k := range l.sums {
		foreign = foreign || k.currency != a.Currency
	}
	return foreign || st.Currency != a.Currency || st.Amount != a.AmountMinor ||
		l.totals(a.Currency) != sums{Authorized: st.Authorized, Voided: st.Voided, Captured: st.Captured, Refunded: refunded}, nil
}

// missingAt looks for payments that the provider was asked about and does not have.
func (s *Service) missingAt(ctx context.Context, name string, from, until time.Time, seen map[uuid.UUID]bool, r *Reconciliation) error {
	for after := (id.Key{}); ; {
		rows, err := postgres.Select(ctx, s.db, postgres.Stmt{Name: "payments.asked_between", SQL: `SELECT owner_id, id FROM payments.payments
			WHERE provider = $1 AND id > $2 AND asked_at >= $3 AND asked_at < $4 ORDER BY id LIMIT 500`,
			Reads: postgres.All("payments.payments")}, pgx.RowToStructByPos[id.Key], name, after.ID, from, until)
		if err != nil || len(rows) == 0 {
			return err
		}
		after = rows[len(rows)-1]
		for _, key := range rows {
			if seen[key.ID] {
				continue
			}
			a, found, err := s.account(ctx, s.db, key)
			if err != nil {
				return err
			}
			// What never had an answer is found out by the job of the payment.
			if !found || a.Reference == nil {
				continue
			}
			_, err = s.look(ctx, a)
			d := &Difference{Provider: name, Kind: MissingAtProvider, Owner: &a.Owner, PaymentID: &a.ID, Reference: a.Reference,
				Details: map[string]any{"status": a.Status, "currency": a.Currency, "amount": a.AmountMinor, "captured": a.Captured}}
			switch {
			case errors.Is(err, errUnheard):
				r.Differences++
				err = s.differ(ctx, d)
			case err == nil:
				err = s.resolve(ctx, d, MissingAtProvider)
			}
			if err != nil {
				return err
			}
		}
	}
}
