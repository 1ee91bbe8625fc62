package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/idempotency"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

const keys idempotency.Keys = "products"

// tally is a change that can be counted: it adds a row to a table of the test's own.
type tally struct {
	t  testing.TB
	db *postgres.DB
}

func newTally(t testing.TB) tally {
	t.Helper()
	c := tally{t, pgtest.New(t).Products}
	c.exec("CREATE TABLE products.tally (n int)")
	return c
}

func (c tally) exec(sql string, args ...any) {
	c.t.Helper()
	if _, err := postgres.Exec(c.t.Context(), c.db, postgres.Stmt{Name: "test.exec", SQL: sql}, args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c tally) count(relation string) int {
	c.t.Helper()
	n, _, err := postgres.First(c.t.Context(), c.db, postgres.Stmt{Name: "test.count", SQL: "SELECT count(*) FROM products." + relation,
		Reads: postgres.All("products." + relation)}, pgx.RowTo[int])
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

type outcome struct{ Run int }

// do adds a row, and answers with the number of rows that there were.
func (c tally) do(ctx context.Context, r idempotency.Request, after ...func() error) (outcome, error) {
	return idempotency.Do(ctx, c.db, keys, r, func(ctx context.Context, tx *postgres.Tx) (outcome, error) {
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "test.tally", SQL: "INSERT INTO products.tally VALUES (1)"}); err != nil {
			return outcome{}, err
		}
		n, _, err := postgres.First(ctx, tx, postgres.Stmt{Name: "test.count", SQL: "SELECT count(*) FROM products.tally",
			Reads: postgres.All("products.tally")}, pgx.RowTo[int])
		for _, f := range after {
			err = errors.Join(err, f())
		}
		return outcome{n}, err
	})
}

func request(actor uuid.UUID, key string, input any) idempotency.Request {
	return idempotency.Request{Actor: actor, Key: key, Verb: "add", Input: input}
}

func TestDo(t *testing.T) {
	t.Parallel()
	c := newTally(t)
	ctx := t.Context()
	ada, bob := id.New(), id.New()
	want := func(what string, r idempotency.Request, run int, code fault.Code) {
		t.Helper()
		got, err := c.do(ctx, r)
		if code == "" && (err != nil || got.Run != run) || code != "" && !fault.Is(err, code) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	want("first", request(ada, "k", 1), 1, "")
	want("again", request(ada, "k", 1), 1, "")
	want("another input", request(ada, "k", 2), 0, fault.Conflict)
	want("another verb", idempotency.Request{Actor: ada, Key: "k", Verb: "remove", Input: 1}, 0, fault.Conflict)
	want("another key", request(ada, "K", 1), 2, "")
	want("another actor", request(bob, "k", 2), 3, "")
	want("the first once more", request(ada, "k", 1), 1, "")

	// A change that fails, or panics, leaves nothing behind, not even its key.
	broken := errors.New("broken")
	if _, err := c.do(ctx, request(ada, "fails", 1), func() error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = c.do(ctx, request(ada, "fails", 1), func() error { panic("broken") })
	}()
	want("after failures, with something else", request(ada, "fails", 2), 4, "")

	// A day later a key may stand for something else.
	c.exec("UPDATE products.idempotency_keys SET created_at = now() - interval '24 hours' WHERE actor_id = $1 AND key = 'k'", ada)
	want("a day later", request(ada, "k", 3), 5, "")
	want("a day later, again", request(ada, "k", 3), 5, "")
	c.exec("UPDATE products.idempotency_keys SET created_at = now() - interval '23 hours' WHERE actor_id = $1", ada)
	want("almost a day later", request(ada, "k", 1), 0, fault.Conflict)

	for _, key := range []string{"", " ", "a b", "tab\t", "é", "\x7f", string(make([]byte, 256))} {
		want(fmt.Sprintf("key %.10q", key), request(ada, key, 1), 0, fault.BadUserInput)
	}
	long := fmt.Sprintf("%0255d", 7)
	want("a long key", request(ada, long, 1), 6, "")
	if n := c.count("tally"); n != 6 {
		t.Errorf("%d changes", n)
	}

	for _, test := range []struct{ limit, want int }{{2, 2}, {100, 1}, {100, 0}} { // of Ada's three; Bob's is young
		n, err := idempotency.DeleteBefore(ctx, c.db, keys, time.Now().Add(-22*time.Hour), test.limit)
		if err != nil || n != test.want {
			t.Errorf("%d of at most %d keys were deleted, want %d; %v", n, test.limit, test.want, err)
		}
	}
}

// TestOneOfTwenty asks twenty times at once with one key: one runs, the others have its outcome or are told that it is under
// way, and everybody has it in the end.
func TestOneOfTwenty(t *testing.T) {
	t.Parallel()
	c := newTally(t)
	for round := range 10 {
		r := request(id.New(), "k", round)
		var inProgress, answered atomic.Int32
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 20 {
			wg.Go(func() {
				<-start
				got, err := c.do(context.Background(), r)
				switch {
				case fault.Is(err, fault.InProgress):
					inProgress.Add(1)
				case err != nil || got.Run != round+1:
					t.Errorf("%+v, %v", got, err)
				default:
					answered.Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		if answered.Load() == 0 || answered.Load()+inProgress.Load() != 20 {
			t.Errorf("%d were answered, %d are under way", answered.Load(), inProgress.Load())
		}
		if got, err := c.do(context.Background(), r); err != nil || got.Run != round+1 {
			t.Errorf("in the end: %+v, %v", got, err)
		}
		if n := c.count("tally"); n != round+1 {
			t.Fatalf("%d changes in round %d", n, round)
		}
	}
}

// TestInProgress asks while the first is at work, which the others do not wait for; other actors and keys are not held up.
func TestInProgress(t *testing.T) {
	t.Parallel()
	c := newTally(t)
	ada := id.New()
	got, err := c.do(t.Context(), request(ada, "k", 1), func() error {
		if _, err := c.do(t.Context(), request(ada, "k", 1)); !fault.Is(err, fault.InProgress) {
			t.Errorf("the same meanwhile: %v", err)
		}
		if _, err := c.do(t.Context(), request(ada, "other", 1)); err != nil {
			t.Errorf("another key meanwhile: %v", err)
		}
		_, err := c.do(t.Context(), request(id.New(), "k", 1))
		return err
	})
	if err != nil || got.Run != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if n := c.count("tally"); n != 3 {
		t.Errorf("%d changes", n)
	}
}

// TestSecondCoordinator lets a key be written by somebody whom the lock does not stop: the change is undone.
func TestSecondCoordinator(t *testing.T) {
	t.Parallel()
	c := newTally(t)
	r := request(id.New(), "k", 1)
	_, err := c.do(t.Context(), r, func() error {
		c.exec("INSERT INTO products.idempotency_keys (actor_id, key, request_hash, outcome) VALUES ($1, 'k', '\\x00', '{}')", r.Actor)
		return nil
	})
	if !fault.Is(err, fault.InProgress) || c.count("tally") != 0 {
		t.Errorf("%v, %d changes", err, c.count("tally"))
	}
}
