package testprovider

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"emporium/internal/payment/provider"
)

// The buckets of the file.
var (
	payments = []byte("payments") // reference → Payment
	byID     = []byte("by_id")    // the shop's ID of the payment → reference
	byTime   = []byte("by_time")  // nanoseconds and reference → reference
	answers  = []byte("answers")  // idempotency key → answer
	queue    = []byte("queue")    // due nanoseconds and number → task
	settings = []byte("settings") // "webhooks" → Webhooks
)

// Payment is a page of the books.
type Payment struct {
	State      provider.State `json:"state"`
	Card       string         `json:"card"`
	ReturnURL  string         `json:"return_url"`
	Operations []Operation    `json:"operations"` // in the order in which they were done
}

// Operation is a line of a page.
type Operation struct {
	Kind    string             `json:"kind"` // authorize, approve, decline, capture, void, refund, settle
	Key     uuid.UUID          `json:"key"`  // of the call; zero of what the provider or the customer did
	Amount  int64              `json:"amount"`
	Refused provider.ErrorCode `json:"refused"` // empty of what was done
	At      time.Time          `json:"at"`
}

// answer is what was answered to a key.
type answer struct {
	Request []byte          `json:"request"` // a digest
	Status  int             `json:"status"`  // 0: the call failed and shall go well the next time
	Body    json.RawMessage `json:"body"`
}

// Webhooks is how events are delivered. It applies to events that come after.
type Webhooks struct {
	URL        string        `json:"url"`        // empty: no events are made
	Duplicates int           `json:"duplicates"` // how often each is sent on top of once
	Delay      time.Duration `json:"delay"`      // nanoseconds, before the first try
	Shuffle    time.Duration `json:"shuffle"`    // nanoseconds: up to this more, at random, so that the order is lost
}

// task is what is to be done later: a delivery, or the end of a refund.
type task struct {
	Event    *event `json:"event,omitempty"`
	Attempts int    `json:"attempts,omitempty"`

	Reference string `json:"reference,omitempty"`
	Refund    string `json:"refund,omitempty"`
}

// event is the body of a webhook.
type event struct {
	ID      string         `json:"id"`
	Type    string         `json:"type"`
	Created time.Time      `json:"created"`
	Data    provider.State `json:"data"`
}

// refusal is an answer that is no state.
type refusal struct {
	Status  int                `json:"-"`
	Code    provider.ErrorCode `json:"code"`
	Message string             `json:"message"`
}

func (r *refusal) Error() string { return r.Message }

func refuse(status int, code provider.ErrorCode, format string, args ...any) error {
	return &refusal{status, code, fmt.Sprintf(format, args...)}
}

// books are the file. What a method has written is on the disk when it returns.
type books struct{ db *bolt.DB }

func openBooks(path string) (*books, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("test provider: %w", err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("test provider: books %s: %w", path, err)
	}
	db.MaxBatchDelay = time.Millisecond // one fsync for what is written at once; a lone caller should not wait for others
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{payments, byID, byTime, answers, queue, settings} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &books{db}, nil
}

// ledger is the books in a transaction.
type ledger struct {
	*bolt.Tx
	now time.Time
}

// write runs fn, which may run twice, and returns when what it did is on the disk.
func (b *books) write(fn func(l *ledger) error) error {
	return b.db.Batch(func(tx *bolt.Tx) error { return fn(&ledger{tx, time.Now().UTC()}) })
}

func (b *books) read(fn func(l *ledger) error) error {
	return b.db.View(func(tx *bolt.Tx) error { return fn(&ledger{tx, time.Now().UTC()}) })
}

func (l *ledger) get(bucket, key []byte, v any) (bool, error) {
	raw := l.Bucket(bucket).Get(key)
	if raw == nil {
		return false, nil
	}
	return true, json.Unmarshal(raw, v)
}

func (l *ledger) put(bucket, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return l.Bucket(bucket).Put(key, raw)
}

func (l *ledger) payment(reference string) (*Payment, error) {
	p := new(Payment)
	found, err := l.get(payments, []byte(reference), p)
	if err == nil && !found {
		err = refuse(404, provider.CodeNotFound, "there is no payment %.40q", reference)
	}
	return p, err
}

func (l *ledger) referenceOf(paymentID uuid.UUID) string {
	return string(l.Bucket(byID).Get(paymentID[:]))
}

// create adds a page.
func (l *ledger) create(p *Payment) error {
	p.State.Reference = "tp_" + rand.Text()
	if err := l.Bucket(byID).Put(p.State.PaymentID[:], []byte(p.State.Reference)); err != nil {
		return err
	}
	return l.Bucket(byTime).Put(append(nanos(l.now), p.State.Reference...), []byte(p.State.Reference))
}

// done writes the page with what happened to it, and the event that tells of it.
func (l *ledger) done(p *Payment, eventType string, op Operation) error {
	p.State.At, op.At = l.now, l.now
	p.Operations = append(p.Operations, op)
	if err := l.put(payments, []byte(p.State.Reference), p); err != nil || eventType == "" {
		return err
	}
	var how Webhooks
	if _, err := l.get(settings, []byte("webhooks"), &how); err != nil || how.URL == "" {
		return err
	}
	e := &event{ID: "evt_" + rand.Text(), Type: eventType, Created: l.now, Data: p.State}
	for range 1 + how.Duplicates {
		if err := l.later(l.now.Add(how.Delay+upTo(how.Shuffle)), task{Event: e}); err != nil {
			return err
		}
	}
	return nil
}

// later queues a task.
func (l *ledger) later(due time.Time, t task) error {
	b := l.Bucket(queue)
	number, err := b.NextSequence()
	if err != nil {
		return err
	}
	return l.put(queue, binary.BigEndian.AppendUint64(nanos(due), number), t)
}

// queued is a task with its key.
type queued struct {
	key []byte
	task
}

// due returns up to limit tasks whose time has come, the oldest first, and how long it is until the next when there is
// none; -1 when nothing is queued.
func (l *ledger) due(limit int) (tasks []queued, wait time.Duration, err error) {
	c := l.Bucket(queue).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if early := time.Unix(0, int64(binary.BigEndian.Uint64(k))).Sub(l.now); early > 0 {
			return tasks, early, nil
		}
		q := queued{key: bytes.Clone(k)}
		if err := json.Unmarshal(v, &q.task); err != nil {
			return nil, 0, err
		}
		if tasks = append(tasks, q); len(tasks) == limit {
			return tasks, 0, nil
		}
	}
	return tasks, -1, nil
}

// all returns every page.
func (l *ledger) all() ([]*Payment, error) {
	found := []*Payment{}
	err := l.Bucket(payments).ForEach(func(_, v []byte) error {
		p := new(Payment)
		found = append(found, p)
		return json.Unmarshal(v, p)
	})
	return found, err
}

// since returns up to limit states of payments that began at from or later and after the cursor, and the next cursor.
func (l *ledger) since(from time.Time, cursor string, limit int) ([]provider.State, string, error) {
	states := []provider.State{}
	c := l.Bucket(byTime).Cursor()
	k, reference := c.Seek(nanos(from))
	if cursor != "" {
		if k, reference = c.Seek([]byte(cursor)); string(k) == cursor {
			k, reference = c.Next()
		}
	}
	last := ""
	for ; k != nil; k, reference = c.Next() {
		if len(states) == limit {
			return states, last, nil
		}
		p, err := l.payment(string(reference))
		if err != nil {
			return nil, "", err
		}
		states, last = append(states, p.State), string(k)
	}
	return states, "", nil
}

func nanos(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(0, t.UnixNano())))
}

// authorize begins a payment.
func (l *ledger) authorize(r provider.AuthorizeRequest, c card, actionURL string) (*Payment, error) {
	p := &Payment{Card: r.Method, ReturnURL: r.ReturnURL, State: provider.State{PaymentID: r.PaymentID, Currency: r.Currency,
		Amount: r.Amount, Method: provider.Method{Kind: "card", Brand: &c.brand, LastFour: &c.lastFour}, MultiCapture: true,
		Refunds: []provider.Refund{}}}
	if err := l.create(p); err != nil {
		return nil, err
	}
	s, told := &p.State, "payment.authorized"
	switch {
	case c.decline != "":
		told, s.Status, s.Failure = "payment.failed", provider.Failed, failure(c.decline, c.declineCode)
	case c.authorize == askCustomer:
		told, s.Status, s.Action = "payment.action_required", provider.ActionRequired, &provider.Action{URL: actionURL + s.Reference}
	default:
		s.Status, s.Authorized = provider.Authorized, s.Amount
	}
	return p, l.done(p, told, Operation{Kind: "authorize", Key: r.PaymentID, Amount: r.Amount})
}

func failure(code provider.FailureCode, own string) *provider.Failure {
	return &provider.Failure{Code: code, ProviderCode: own, Message: code.Message()}
}

// act is what the customer decided. It does nothing when there is nothing to decide any more.
func (l *ledger) act(reference string, approved bool) (*Payment, error) {
	p, err := l.payment(reference)
	if err != nil || p.State.Status != provider.ActionRequired {
		return p, err
	}
	s, fails := &p.State, cards[p.Card].action
	if !approved {
		fails = provider.AuthenticationFailed
	}
	s.Action = nil
	kind := "decline"
	if approved {
		kind = "approve"
	}
	if fails != "" {
		s.Status, s.Failure = provider.Failed, failure(fails, "authentication_failed")
		return p, l.done(p, "payment.failed", Operation{Kind: kind})
	}
	s.Status, s.Authorized = provider.Authorized, s.Amount
	return p, l.done(p, "payment.authorized", Operation{Kind: kind, Amount: s.Amount})
}

func (l *ledger) capture(p *Payment, r provider.CaptureRequest) error {
	s, op := &p.State, Operation{Kind: "capture", Key: r.CommandID, Amount: r.Amount}
	if err := ofCurrency(s, r.Amount, string(r.Currency)); err != nil {
		return err
	}
	if cards[p.Card].capture == fail || r.Amount > s.Capturable() {
		op.Refused = provider.CodeNotCapturable
		return l.refused(p, op, "%d cannot be captured of %d", r.Amount, s.Capturable())
	}
	s.Captured += r.Amount
	if r.Final {
		s.Voided += s.Capturable()
	}
	return l.done(p, "payment.captured", op)
}

func (l *ledger) void(p *Payment, r provider.VoidRequest) error {
	s := &p.State
	op, told := Operation{Kind: "void", Key: r.CommandID, Amount: s.Capturable()}, "payment.voided"
	switch {
	case s.Status == provider.Failed || s.Status == provider.Voided || s.Authorized > 0 && op.Amount == 0:
		told = "" // nothing is left
	case s.Captured == 0:
		s.Status, s.Action = provider.Voided, nil
	}
	s.Voided += op.Amount
	return l.done(p, told, op)
}

func (l *ledger) refund(p *Payment, r provider.RefundRequest, delay time.Duration) error {
	s, op := &p.State, Operation{Kind: "refund", Key: r.CommandID, Amount: r.Amount}
	if err := ofCurrency(s, r.Amount, string(r.Currency)); err != nil {
		return err
	}
	left := s.Captured
	for _, other := range s.Refunds {
		if other.Status != provider.RefundFailed {
			left -= other.Amount
		}
	}
	if r.Amount > left {
		op.Refused = provider.CodeNotRefundable
		return l.refused(p, op, "%d cannot be refunded of %d", r.Amount, left)
	}
	refund := provider.Refund{ID: "re_" + rand.Text(), CommandID: r.CommandID, Amount: r.Amount, Reason: r.Reason, At: l.now}
	switch cards[p.Card].refund {
	case fail:
		refund.Status = provider.RefundFailed
	case pending:
		refund.Status = provider.RefundPending
		if err := l.later(l.now.Add(delay), task{Reference: s.Reference, Refund: refund.ID}); err != nil {
			return err
		}
	default:
		refund.Status = provider.RefundSucceeded
		s.Refunded += r.Amount
	}
	s.Refunds = append(s.Refunds, refund)
	return l.done(p, "refund."+strings.ToLower(string(refund.Status)), op)
}

// settle ends a pending refund.
func (l *ledger) settle(reference, refund string) error {
	p, err := l.payment(reference)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(p.State.Refunds, func(r provider.Refund) bool { return r.ID == refund })
	if i < 0 || p.State.Refunds[i].Status != provider.RefundPending {
		return nil
	}
	p.State.Refunds[i].Status = provider.RefundSucceeded
	p.State.Refunded += p.State.Refunds[i].Amount
	return l.done(p, "refund.succeeded", Operation{Kind: "settle", Amount: p.State.Refunds[i].Amount})
}

// refused books that nothing was done.
func (l *ledger) refused(p *Payment, op Operation, format string, args ...any) error {
	if err := l.done(p, "", op); err != nil {
		return err
	}
	return refuse(422, op.Refused, format, args...)
}

func ofCurrency(s *provider.State, amount int64, currency string) error {
	if amount <= 0 || currency != string(s.Currency) {
		return refuse(400, provider.CodeBadRequest, "%d %.10q is no amount of a payment in %s", amount, currency, s.Currency)
	}
	return nil
}
