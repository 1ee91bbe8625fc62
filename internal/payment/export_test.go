package payment

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/payment/provider"
	"emporium/internal/postgres"
)

// What the rows of the service's statements are read by.

func (s *Service) PaymentTable() *postgres.Table[Payment] { return s.tables.payments }
func (s *Service) EventTable() *postgres.Table[Event]     { return s.tables.events }
func (s *Service) SumTable() *postgres.Table[Sums]        { return s.tables.sums }

func (s *Service) CommandTable() *postgres.Table[Command]       { return s.tables.commands }
func (s *Service) DifferenceTable() *postgres.Table[Difference] { return s.tables.differences }

// Sums are sums.
type Sums = sums

// Apply applies a state of a payment.
func (s *Service) Apply(ctx context.Context, key id.Key, st provider.State) (changed bool, err error) {
	_, changed, err = s.apply(ctx, key, &st)
	return changed, err
}

// Begin writes a payment down and asks nobody.
func (s *Service) Begin(ctx context.Context, r order.PaymentRequest) error {
	_, err := s.begin(ctx, id.Key{Owner: r.Order.Owner, ID: r.PaymentID}, r)
	return err
}

// Pursue drives a command as its job does.
func (s *Service) Pursue(ctx context.Context, key id.Key) (CommandStatus, error) {
	return s.pursue(ctx, key)
}

// CanBecome reports whether steps lead from one status to another.
func CanBecome(from, to Status) bool { return canBecome(from, to) }

// ApplyInbox applies a message of the inbox.
func (s *Service) ApplyInbox(ctx context.Context, row string) (done bool, err error) {
	return s.applyInbox(ctx, uuid.MustParse(row))
}

// Compare compares a state as reconciliation does.
func (s *Service) Compare(ctx context.Context, key id.Key, st provider.State) error {
	return s.compare(ctx, key, &st, &Reconciliation{})
}

// Clean deletes what is of no use any more at an instant.
func (s *Service) Clean(ctx context.Context, now time.Time) error { return s.clean(ctx, now) }

// Age makes a message of the inbox older: its row has another key then, for which it is sealed anew.
func (s *Service) Age(t testing.TB, row string, by time.Duration) {
	t.Helper()
	key, older := uuid.MustParse(row), id.At(time.Now().Add(-by), uuid.New())
	sealed, _, err := postgres.First(t.Context(), s.db, postgres.Stmt{Name: "test.message", SQL: "SELECT payload FROM payments.inbox WHERE id = $1",
		Reads: postgres.All("payments.inbox")}, pgx.RowTo[[]byte], key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := s.sealer.Open(inboxField(key), sealed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Exec(t.Context(), s.db, postgres.Stmt{Name: "test.age", SQL: "UPDATE payments.inbox SET id = $2, payload = $3 WHERE id = $1"},
		key, older, s.sealer.Seal(inboxField(older), plain)); err != nil {
		t.Fatal(err)
	}
}
