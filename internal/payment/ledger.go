package payment

import (
	"context"
	"encoding/hex"
	"fmt"
	"reflect"
	"regexp"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment/provider"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// account is a payment as the service itself works on it: opened, and with what was commanded. No viewer is asked for.
type account struct {
	Payment
	Request  *request // what the provider is asked with; nil once it has answered
	AskedAt  *time.Time
	Failure  *string // why it was refused, for the customer
	Multi    bool    // after a capture there can be another
	Live     bool    // the order's attempt under way
	Closed   bool    // the order was released: nothing is captured any more
	Captured int64   // as in the ledger, in the payment's currency
	// What was commanded, less what has failed of it.
	CaptureCommanded, RefundCommanded int64
}

// request is what a provider is asked with, beside what is in the payment.
type request struct {
	Number    string  `json:"number"`
	Method    string  `json:"method"`
	ReturnURL *string `json:"returnUrl,omitempty"`
}

// unknownMethod is the kind of a method that the provider has not told yet.
const unknownMethod = "unknown"

const accountColumns = `owner_id, id, order_id, provider, status, method_kind, method_brand, method_last_four, currency, amount,
	reference, action, created_at, request, asked_at, failure, multi_capture, live, closed, captured, capture_commanded,
	refund_commanded`

func (s *Service) scanAccount(row pgx.CollectableRow) (*account, error) {
	a := &account{}
	var reference, action, sealed []byte
	err := row.Scan(&a.Owner, &a.ID, &a.OrderID, &a.Provider, &a.Status, &a.Method.Kind, &a.Method.Brand, &a.Method.LastFour,
		&a.Currency, &a.AmountMinor, &reference, &action, &a.CreatedAt, &sealed, &a.AskedAt, &a.Failure, &a.Multi, &a.Live,
		&a.Closed, &a.Captured, &a.CaptureCommanded, &a.RefundCommanded)
	if err == nil {
		a.Reference, err = s.sealer.OpenNullable(field("reference", a.Owner, a.ID), reference)
	}
	if err == nil {
		a.Action, err = seal.OpenJSON[*Action](s.sealer, field("action", a.Owner, a.ID), action)
	}
	if err == nil {
		a.Request, err = seal.OpenJSON[*request](s.sealer, field("request", a.Owner, a.ID), sealed)
	}
	return a, err
}

func sealRequest(s *Service, key id.Key, r *request) ([]byte, error) {
	return seal.SealJSON(s.sealer, field("request", key.Owner, key.ID), r)
}

// account returns a payment.
func (s *Service) account(ctx context.Context, q postgres.Querier, key id.Key) (*account, bool, error) {
	return postgres.First(ctx, q, postgres.Stmt{Name: "payments.account",
		SQL:   "SELECT " + accountColumns + " FROM payments.payments WHERE owner_id = $1 AND id = $2",
		Reads: paymentsByID.Of(key.ID)}, s.scanAccount, key.Owner, key.ID)
}

// lock returns a payment that nobody else changes until the transaction ends. All that changes a payment, its ledger or
// its commands locks it first.
func (s *Service) lock(ctx context.Context, tx *postgres.Tx, key id.Key) (*account, error) {
	a, found, err := postgres.First(ctx, tx, postgres.Stmt{Name: "payments.lock",
		SQL:   "SELECT " + accountColumns + " FROM payments.payments WHERE owner_id = $1 AND id = $2 FOR UPDATE",
		Reads: paymentsByID.Of(key.ID)}, s.scanAccount, key.Owner, key.ID)
	if err == nil && !found {
		err = fmt.Errorf("payment %s of %s is gone", key.ID, key.Owner)
	}
	return a, err
}

// save writes what changes of a payment.
func (s *Service) save(ctx context.Context, tx *postgres.Tx, a *account) error {
	action, err := seal.SealJSON(s.sealer, field("action", a.Owner, a.ID), a.Action)
	if err != nil {
		return err
	}
	request, err := sealRequest(s, a.Key(), a.Request)
	if err != nil {
		return err
	}
	_, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "payments.save", SQL: `UPDATE payments.payments SET status = $3,
		method_kind = $4, method_brand = $5, method_last_four = $6, reference = $7, action = $8, request = $9, asked_at = $10,
		failure = $11, multi_capture = $12, live = $13, closed = $14, captured = $15, capture_commanded = $16,
		refund_commanded = $17, updated_at = now() WHERE owner_id = $1 AND id = $2`},
		a.Owner, a.ID, a.Status, a.Method.Kind, a.Method.Brand, a.Method.LastFour,
		s.sealer.SealNullable(field("reference", a.Owner, a.ID), a.Reference), action, request, a.AskedAt, a.Failure, a.Multi,
		a.Live, a.Closed, a.Captured, a.CaptureCommanded, a.RefundCommanded)
	return err
}

// fact is an entry of a ledger that is to be written.
type fact struct {
	kind     EventKind
	currency money.Currency
	amount   int64
	eventID  string
	at       time.Time
}

// ledger is what was reported of a payment so far.
type ledger struct {
	ids  map[string]bool
	sums map[sumKey]int64 // there is one for each kind that was reported, be it of nothing
}

type sumKey struct {
	currency money.Currency
	kind     EventKind
}

func (l *ledger) add(f fact) {
	l.ids[f.eventID] = true
	l.sums[sumKey{f.currency, f.kind}] += f.amount
}

// of returns the sum of a kind in a currency, and whether there was any.
func (l *ledger) of(c money.Currency, kind EventKind) (sum int64, reported bool) {
	sum, reported = l.sums[sumKey{c, kind}]
	return sum, reported
}

// totals are the sums in the payment's currency: what came in another makes none.
func (l *ledger) totals(c money.Currency) sums {
	of := func(kind EventKind) int64 { sum, _ := l.of(c, kind); return sum }
	return sums{Authorized: of(EventAuthorized), Voided: of(EventVoided), Captured: of(EventCaptured),
		Refunded: of(EventRefunded) - of(EventRefundFailed)}
}

// readLedger reads the ledger of a payment that is locked.
func readLedger(ctx context.Context, q postgres.Querier, key id.Key) (*ledger, error) {
	facts, err := postgres.Select(ctx, q, postgres.Stmt{Name: "payments.ledger",
		SQL:   "SELECT kind, currency, amount, event_id, occurred_at FROM payments.events WHERE owner_id = $1 AND payment_id = $2",
		Reads: postgres.All("payments.events")},
		func(row pgx.CollectableRow) (f fact, err error) {
			return f, row.Scan(&f.kind, &f.currency, &f.amount, &f.eventID, &f.at)
		}, key.Owner, key.ID)
	l := &ledger{ids: map[string]bool{}, sums: map[sumKey]int64{}}
	for _, f := range facts {
		l.add(f)
	}
	return l, err
}

// status is where a payment is, going by its ledger alone: whatever order the facts came in.
func (l *ledger) status(a *account) Status {
	t := l.totals(a.Currency)
	_, failed := l.of(a.Currency, EventFailed)
	_, voided := l.of(a.Currency, EventVoided)
	_, action := l.of(a.Currency, EventActionRequired)
	switch {
	case t.Captured > 0 && t.Refunded >= t.Captured:
		return StatusRefunded
	case t.Captured > 0 && t.Refunded > 0:
		return StatusPartiallyRefunded
	case t.Captured > 0 && t.Captured < a.AmountMinor:
		return StatusPartiallyCaptured
	case t.Captured > 0:
		return StatusCaptured
	case t.Authorized > t.Voided:
		return StatusAuthorized
	case t.Authorized > 0:
		return StatusVoided
	case failed: // and cancelled, or not: it was refused
		return StatusFailed
	case voided:
		return StatusVoided
	case action:
		return StatusActionRequired
	default:
		return StatusPending
	}
}

// missing are the facts of a state that the ledger does not have. Their IDs are made of what they reach, so that the same
// fact has the same ID whoever reports it.
func (s *Service) missing(l *ledger, a *account, st *provider.State) []fact {
	currency, prefix := st.Currency, a.ID.String()
	if currency == "" {
		currency = a.Currency
	}
	if currency != a.Currency {
		prefix += "/" + string(currency)
	}
	var facts []fact
	add := func(kind EventKind, amount int64, at time.Time, format string, args ...any) {
		if at.IsZero() {
			at = time.Now()
		}
		f := fact{kind, currency, amount, prefix + "/" + fmt.Sprintf(format, args...), at}
		if !l.ids[f.eventID] {
			facts = append(facts, f)
		}
	}
	if st.Status == provider.ActionRequired {
		add(EventActionRequired, 0, st.At, "action_required")
	}
	if st.Status == provider.Failed {
		add(EventFailed, 0, st.At, "failed")
	}
	for _, part := range []struct {
		kind  EventKind
		name  string
		total int64
		even  bool // of nothing
	}{
		{EventAuthorized, "authorized", st.Authorized, false},
		{EventCaptured, "captured", st.Captured, false},
		{EventVoided, "voided", st.Voided, st.Status == provider.Voided},
	} {
		known, reported := l.of(currency, part.kind)
		if part.total > known || part.even && !reported {
			add(part.kind, part.total-known, st.At, "%s/%d", part.name, part.total)
		}
	}
	for _, r := range st.Refunds {
		// The provider's ID is as confidential as its reference.
		name := "refund/" + hex.EncodeToString(s.sealer.Index(refundIndex, canonicalReference(a.Provider, r.ID))[:16])
		refunded, failed := l.ids[prefix+"/"+name], l.ids[prefix+"/"+name+"/failed"]
		switch {
		case r.Status == provider.RefundSucceeded && !failed:
			add(EventRefunded, r.Amount, r.At, "%s", name)
		case r.Status == provider.RefundFailed && refunded:
			add(EventRefundFailed, r.Amount, st.At, "%s/failed", name)
		case r.Status == provider.RefundFailed: // it never left; a late word of success is not believed
			add(EventRefundFailed, 0, st.At, "%s/failed", name)
		}
	}
	return facts
}

// record writes facts, and returns those that were new.
func record(ctx context.Context, tx *postgres.Tx, a *account, facts []fact) ([]fact, error) {
	if len(facts) == 0 {
		return nil, nil
	}
	eventIDs := make([]string, len(facts))
	for i, f := range facts {
		eventIDs[i] = f.eventID
	}
	claimed, err := postgres.Select(ctx, tx, postgres.Stmt{Name: "payments.claim_events", SQL: `INSERT INTO payments.provider_events
		(provider, event_id, owner_id) SELECT $1, e, $3 FROM unnest($2::text[]) AS e ON CONFLICT DO NOTHING RETURNING event_id`},
		pgx.RowTo[string], a.Provider, eventIDs, a.Owner)
	if err != nil {
		return nil, err
	}
	isNew := map[string]bool{}
	for _, e := range claimed {
		isNew[e] = true
	}
	var fresh []fact
	for _, f := range facts {
		if !isNew[f.eventID] {
			continue
		}
		fresh = append(fresh, f)
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "payments.insert_event", SQL: `INSERT INTO payments.events (owner_id, id,
			payment_id, order_id, provider, event_id, kind, currency, amount, occurred_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`},
			a.Owner, id.New(), a.ID, a.OrderID, a.Provider, f.eventID, f.kind, f.currency, f.amount, f.at); err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// apply writes what a state tells and the ledger does not know, in one transaction, with whatever else belongs to it, and
// lets the order know. States can be applied in any order, any number of times and at once. It returns the payment as it
// is then, and whether there was anything new.
func (s *Service) apply(
	ctx context.Context, key id.Key, st *provider.State, also ...func(ctx context.Context, tx *postgres.Tx, a *account, changed bool) error,
) (a *account, changed bool, err error) {
	err = s.inTx(ctx, "apply", func(ctx context.Context, tx *postgres.Tx) error {
		if a, err = s.lock(ctx, tx, key); err != nil {
			return err
		}
		changed, err = s.applyTo(ctx, tx, a, st, also...)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	if changed {
		s.tellNow(ctx, a.OrderKey())
	}
	return a, changed, nil
}

// applyTo is apply for a payment that is locked.
func (s *Service) applyTo(
	ctx context.Context, tx *postgres.Tx, a *account, st *provider.State,
	also ...func(ctx context.Context, tx *postgres.Tx, a *account, changed bool) error,
) (changed bool, err error) {
	before := *a
	l, err := readLedger(ctx, tx, a.Key())
	if err != nil {
		return false, err
	}
	fresh, err := record(ctx, tx, a, s.missing(l, a, st))
	if err != nil {
		return false, err
	}
	for _, f := range fresh {
		l.add(f)
	}
	a.Status, a.Captured = l.status(a), l.totals(a.Currency).Captured
	a.Live = a.Live && a.Status.live()
	if !canBecome(before.Status, a.Status) {
		s.cfg.Log.ErrorContext(ctx, "a provider reports what can not be", "payment", a.ID, "from", before.Status, "to", a.Status)
	}
	a.learn(st)
	if err := s.refer(ctx, tx, a, st.Reference); err != nil {
		return false, err
	}
	if err := s.finishRefunds(ctx, tx, a, st.Refunds); err != nil {
		return false, err
	}
	changed = len(fresh) > 0
	for _, do := range also {
		if err := do(ctx, tx, a, changed); err != nil {
			return false, err
		}
	}
	if !reflect.DeepEqual(before, *a) {
		if err := s.save(ctx, tx, a); err != nil {
			return false, err
		}
	}
	if changed {
		err = s.later(ctx, tx, tellArgs{a.Owner, a.OrderID}, time.Now().Add(tellAfter))
	}
	return changed, err
}

var lastFour = regexp.MustCompile(`^[0-9]{4}$`)

// learn takes over what a state tells beside amounts.
func (a *account) learn(st *provider.State) {
	if st.Reference != "" || a.Status != StatusPending {
		a.Request = nil // there is an answer: the method's token is not needed any more
	}
	if m := st.Method; m.Kind != "" && (a.Method.Kind == unknownMethod || st.Status.Rank() >= provider.Authorized.Rank()) {
		a.Method = Method{Kind: m.Kind, Brand: m.Brand}
		if m.LastFour != nil && lastFour.MatchString(*m.LastFour) {
			a.Method.LastFour = m.LastFour
		}
	}
	if st.Failure != nil && a.Status == StatusFailed {
		a.Failure = &st.Failure.Message
	}
	if st.Status.Rank() >= provider.Authorized.Rank() {
		a.Multi = st.MultiCapture
	}
	if a.Status != StatusActionRequired {
		a.Action = nil
	} else if st.Action != nil {
		a.Action = &Action{URL: nonEmpty(st.Action.URL), ClientSecret: nonEmpty(st.Action.ClientSecret)}
	}
}

func nonEmpty(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// refer makes a payment be found by the provider's reference. The first one is the payment's.
func (s *Service) refer(ctx context.Context, tx *postgres.Tx, a *account, reference string) error {
	if reference == "" || a.Reference != nil && *a.Reference == reference {
		return nil
	}
	if a.Reference == nil {
		a.Reference = &reference
	}
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "payments.refer", SQL: `INSERT INTO payments.provider_references
		(provider, reference_index, owner_id, payment_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`},
		a.Provider, s.sealer.Index(referenceIndex, canonicalReference(a.Provider, reference)), a.Owner, a.ID)
	return err
}

// find returns the key of the payment that a state is about: by the provider's reference or, as long as we have not heard
// of that, by our ID, which the provider gives back.
func (s *Service) find(ctx context.Context, providerName string, paymentID uuid.UUID, reference string) (key id.Key, found bool, err error) {
	if reference != "" {
		key, found, err = postgres.First(ctx, s.db, postgres.Stmt{Name: "payments.find_reference",
			SQL:   "SELECT owner_id, payment_id FROM payments.provider_references WHERE provider = $1 AND reference_index = $2",
			Reads: postgres.All("payments.provider_references")}, pgx.RowToStructByPos[id.Key],
			providerName, s.sealer.Index(referenceIndex, canonicalReference(providerName, reference)))
		if err != nil || found {
			return key, found, err
		}
	}
	if paymentID == uuid.Nil {
		return key, false, nil
	}
	return postgres.First(ctx, s.db, postgres.Stmt{Name: "payments.find",
		SQL:   "SELECT owner_id, id FROM payments.payments WHERE id = $1 AND provider = $2",
		Reads: paymentsByID.Of(paymentID)}, pgx.RowToStructByPos[id.Key], paymentID, providerName)
}

// Facts returns what is known of an order's money. No viewer is asked for.
func (s *Service) Facts(ctx context.Context, of id.Key) (order.PaymentFacts, error) {
	type row struct {
		ID      uuid.UUID
		Kind    EventKind
		Amount  int64
		At      time.Time
		Foreign bool
	}
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{Name: "payments.facts", SQL: `SELECT e.id, e.kind, e.amount, e.occurred_at,
		e.currency <> p.currency FROM payments.events e
		JOIN payments.payments p ON p.owner_id = e.owner_id AND p.id = e.payment_id
		WHERE e.owner_id = $1 AND e.order_id = $2 ORDER BY e.recorded_at, e.id`,
		Reads: postgres.All("payments.events", "payments.payments")}, pgx.RowToStructByPos[row], of.Owner, of.ID)
	facts := order.PaymentFacts{Revision: int64(len(rows))}
	for _, r := range rows {
		if r.Foreign {
			continue
		}
		entry := order.PaymentEntry{ID: r.ID, Amount: r.Amount, At: r.At}
		switch r.Kind {
		case EventAuthorized:
			facts.Authorized += r.Amount
			entry.Kind = order.EventPaymentAuthorized
		case EventCaptured:
			facts.Captured += r.Amount
			entry.Kind = order.EventPaymentCaptured
		case EventRefunded:
			facts.Refunded += r.Amount
			entry.Kind = order.EventRefunded
		case EventFailed:
			entry.Kind = order.EventPaymentFailed
		case EventVoided:
			facts.Voided += r.Amount
			entry.Kind = order.EventPaymentVoided
		case EventRefundFailed:
			facts.Refunded -= r.Amount
			continue
		default:
			continue
		}
		facts.Entries = append(facts.Entries, entry)
	}
	return facts, err
}

// tellNow lets the order know at once. A job does so too: this is for immediate answers.
func (s *Service) tellNow(ctx context.Context, of id.Key) {
	if err := s.tell(ctx, of); err != nil {
		s.cfg.Log.WarnContext(ctx, "an order was not told of its money; a job tells it", "order", of.ID, "error", err)
	}
}

func (s *Service) tell(ctx context.Context, of id.Key) error {
	if s.cfg.Tell == nil {
		return nil
	}
	facts, err := s.Facts(ctx, of)
	if err != nil {
		return err
	}
	return s.cfg.Tell(ctx, of, facts)
}

// inTx is a transaction between two points of the injection of faults.
func (s *Service) inTx(ctx context.Context, point string, fn func(ctx context.Context, tx *postgres.Tx) error) error {
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		err := fn(ctx, tx)
		if err == nil {
			s.cfg.At(point + "/committing")
		}
		return err
	})
	if err == nil {
		s.cfg.At(point + "/committed")
	}
	return err
}
