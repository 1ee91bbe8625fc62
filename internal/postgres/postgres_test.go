package postgres_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"emporium/internal/fault"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

// one returns the only value of a statement.
func one[T any](t *testing.T, q postgres.Querier, sql string, args ...any) T {
	t.Helper()
	v, ok, err := postgres.First(t.Context(), q, postgres.Stmt{Name: "test.one", SQL: sql}, pgx.RowTo[T], args...)
	if err != nil || !ok {
		t.Fatalf("%s: %t, %v", sql, ok, err)
	}
	return v
}

// open opens another pool on the test's database: plain as in production, with nothing explained.
func open(t *testing.T, d *pgtest.Databases, conns int) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), d.URLs["orders"], postgres.Options{MaxConns: conns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// eventually polls until it holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !holds(); {
		select {
		case <-deadline:
			t.Fatalf("30 s later it does not hold: %s", what)
		case <-tick.C:
		}
	}
}

func TestHelpers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	run(t, db, "CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL CONSTRAINT counters_n_check CHECK (n >= 0))")
	insert := postgres.Stmt{Name: "test.insert", SQL: "INSERT INTO counters SELECT i, i * 10 FROM generate_series($1::int, $2) i"}
	if n, err := postgres.Exec(t.Context(), db, insert, 1, 3); err != nil || n != 3 {
		t.Errorf("three rows were inserted: %d, %v", n, err)
	}
	read := postgres.Stmt{Name: "test.read", SQL: "SELECT n FROM counters WHERE id >= $1 ORDER BY id"}
	if got, err := postgres.Select(t.Context(), db, read, pgx.RowTo[int], 2); err != nil || !slices.Equal(got, []int{20, 30}) {
		t.Errorf("Select gave %v, %v", got, err)
	}
	if got, err := postgres.Select(t.Context(), db, read, pgx.RowTo[int], 9); err != nil || len(got) != 0 {
		t.Errorf("Select of nothing gave %v, %v", got, err)
	}
	if n, ok, err := postgres.First(t.Context(), db, read, pgx.RowTo[int], 2); err != nil || !ok || n != 20 {
		t.Errorf("First gave %d, %t, %v", n, ok, err)
	}
	if n, ok, err := postgres.First(t.Context(), db, read, pgx.RowTo[int], 9); err != nil || ok || n != 0 {
		t.Errorf("First of nothing gave %d, %t, %v", n, ok, err)
	}
	if n, err := postgres.Exec(t.Context(), db, postgres.Stmt{Name: "test.none", SQL: "UPDATE counters SET n = 0 WHERE id = $1"}, 9); err != nil || n != 0 {
		t.Errorf("no rows were updated: %d, %v", n, err)
	}

	// Errors name the statement, and are internal unless a domain says otherwise.
	_, err := postgres.Exec(t.Context(), db, insert, 3, 4)
	if !postgres.Violates(err, "counters_pkey") || postgres.Violates(err, "counters_n_check") || !strings.HasPrefix(err.Error(), "test.insert: ") || !fault.Is(err, fault.Internal) {
		t.Errorf("a second row with the same key gave %v", err)
	}
	_, err = postgres.Exec(t.Context(), db, postgres.Stmt{Name: "test.debt", SQL: "UPDATE counters SET n = -1"})
	if !postgres.Violates(err, "counters_n_check") {
		t.Errorf("what the check forbids gave %v", err)
	}
	_, err = postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.nonsense", SQL: "SELEC 1"}, pgx.RowTo[int])
	if err == nil || !strings.HasPrefix(err.Error(), "test.nonsense: ") {
		t.Errorf("nonsense gave %v", err)
	}
	_, _, err = postgres.First(t.Context(), db, postgres.Stmt{Name: "test.type", SQL: "SELECT 'x'"}, pgx.RowTo[int])
	if err == nil || !strings.HasPrefix(err.Error(), "test.type: ") {
		t.Errorf("a value of another type gave %v", err)
	}
	if got := one[int64](t, db, "SELECT sum(n) FROM counters"); got != 60 {
		t.Errorf("the failed statements left a sum of %d", got)
	}
	if postgres.Violates(nil, "counters_pkey") || postgres.Violates(errors.New("counters_pkey"), "counters_pkey") {
		t.Error("what is no violation violates")
	}
}

// TestZeroBytes: JSON can carry U+0000, Postgres can not.
func TestZeroBytes(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	run(t, db, "CREATE TABLE texts (t text, j jsonb)")
	for name, c := range map[string]struct {
		sql string
		arg any
	}{
		"a text":        {"INSERT INTO texts (t) VALUES ($1)", "a\x00b"},
		"a list":        {"INSERT INTO texts (t) SELECT unnest($1::text[])", []string{"a", "\x00"}},
		"JSON":          {"INSERT INTO texts (j) VALUES ($1)", map[string]any{"a": "\x00"}},
		"not UTF-8":     {"INSERT INTO texts (t) VALUES ($1)", "\xff"},
		"in a question": {"SELECT t FROM texts WHERE t = $1", "\x00"},
	} {
		for how, err := range map[string]error{
			"Exec": func() error {
				_, err := postgres.Exec(t.Context(), db, postgres.Stmt{Name: "test.zero", SQL: c.sql}, c.arg)
				return err
			}(),
			"Select": func() error {
				_, err := postgres.Select(t.Context(), db, postgres.Stmt{Name: "test.zero", SQL: c.sql}, pgx.RowTo[string], c.arg)
				return err
			}(),
		} {
			var coded *fault.Error
			if !errors.As(err, &coded) || coded.Code != fault.BadUserInput || coded.Message != "a text contains a character that can not be stored" {
				t.Errorf("%s, %s: %v", name, how, err)
			}
		}
	}
	if n := one[int64](t, db, "SELECT count(*) FROM texts"); n != 0 {
		t.Errorf("%d rows were written", n)
	}
}

func TestInTx(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	run(t, db, "CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL)")
	run(t, db, "INSERT INTO counters VALUES (1, 0)")
	add := func(ctx context.Context, q postgres.Querier, n int) error {
		_, err := postgres.Exec(ctx, q, postgres.Stmt{Name: "test.add", SQL: "UPDATE counters SET n = n + $1"}, n)
		return err
	}
	refused := errors.New("refused")
	deadlock := &pgconn.PgError{Code: "40P01", Message: "deadlock detected"}
	for name, c := range map[string]struct {
		fails func(try int) error
		err   error
		tries int
		added int
	}{
		"success":                {func(int) error { return nil }, nil, 1, 1},
		"a refusal":              {func(int) error { return refused }, refused, 1, 0},
		"a violation":            {func(int) error { return &pgconn.PgError{Code: "23505"} }, &pgconn.PgError{}, 1, 0},
		"one lost race":          {func(try int) error { return oneOf(try == 1, deadlock) }, nil, 2, 1},
		"four lost races":        {func(try int) error { return oneOf(try < 5, deadlock) }, nil, 5, 1},
		"lost races only":        {func(int) error { return deadlock }, deadlock, 5, 0},
		"a lost race, a refusal": {func(try int) error { return errors.Join(oneOf(try == 1, deadlock), oneOf(try == 2, refused)) }, refused, 2, 0},
	} {
		before := one[int](t, db, "SELECT n FROM counters")
		tries := 0
		err := db.InTx(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			tries++
			if err := add(ctx, tx, 1); err != nil {
				return err
			}
			return c.fails(tries)
		})
		var pg *pgconn.PgError
		if _, any := c.err.(*pgconn.PgError); any && !errors.As(err, &pg) || !any && !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		if added := one[int](t, db, "SELECT n FROM counters") - before; tries != c.tries || added != c.added {
			t.Errorf("%s: %d tries added %d, want %d and %d", name, tries, added, c.tries, c.added)
		}
	}

	// A panic goes on its way, and leaves neither a change nor a transaction behind.
	func() {
		defer func() {
			if p := recover(); p != "oh" {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = db.InTx(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			if err := add(ctx, tx, 1000); err != nil {
				t.Error(err)
			}
			panic("oh")
		})
	}()
	if n := one[int](t, db, "SELECT n FROM counters"); n >= 1000 {
		t.Errorf("what the panic interrupted was committed: %d", n)
	}
	if got := db.Stat().Acquired; got != 0 {
		t.Errorf("%d connections were not given back", got)
	}

	// A context that has ended ends the trying too.
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	err := db.InTx(ctx, func(context.Context, *postgres.Tx) error {
		tries++
		cancel()
		return deadlock
	})
	if tries != 1 || err == nil {
		t.Errorf("with an ended context: %d tries, %v", tries, err)
	}
}

func oneOf(holds bool, err error) error {
	if holds {
		return err
	}
	return nil
}

// TestDeadlockIsTriedAgain lets two transactions lock two rows in opposite order.
func TestDeadlockIsTriedAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	run(t, db, "CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL)")
	run(t, db, "INSERT INTO counters VALUES (1, 0), (2, 0)")
	var tries atomic.Int32
	var both sync.WaitGroup // both transactions hold their first row
	both.Add(2)
	move := func(first, second int) error {
		waited := false
		return db.InTx(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			tries.Add(1)
			for _, id := range []int{first, second} {
				if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "test.add", SQL: "UPDATE counters SET n = n + 1 WHERE id = $1"}, id); err != nil {
					return err
				}
				if !waited {
					waited = true
					both.Done()
					both.Wait()
				}
			}
			return nil
		})
	}
	other := make(chan error, 1)
	go func() { other <- move(2, 1) }()
	if err := errors.Join(move(1, 2), <-other); err != nil {
		t.Fatal(err)
	}
	if got := one[[]int32](t, db, "SELECT array_agg(n ORDER BY id) FROM counters"); !slices.Equal(got, []int32{2, 2}) {
		t.Errorf("the rows hold %v, want each transaction once", got)
	}
	if got := tries.Load(); got < 3 {
		t.Errorf("%d tries: there was no deadlock", got)
	}
}

// TestSerializationFailureIsTriedAgain lets a row change between a transaction's reading and writing it.
func TestSerializationFailureIsTriedAgain(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.New(t), 2)
	run(t, db, "CREATE TABLE counters (n int NOT NULL)")
	run(t, db, "INSERT INTO counters VALUES (0)")
	var seen []int
	err := db.InTx(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "test.level", SQL: "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"}); err != nil {
			return err
		}
		n, _, err := postgres.First(ctx, tx, postgres.Stmt{Name: "test.read", SQL: "SELECT n FROM counters"}, pgx.RowTo[int])
		if err != nil {
			return err
		}
		if seen = append(seen, n); len(seen) <= 2 {
			run(t, db, "UPDATE counters SET n = n + 10")
		}
		_, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "test.write", SQL: "UPDATE counters SET n = $1"}, n+1)
		return err
	})
	if err != nil || !slices.Equal(seen, []int{0, 10, 20}) {
		t.Errorf("the tries saw %v, %v", seen, err)
	}
	if n := one[int](t, db, "SELECT n FROM counters"); n != 21 {
		t.Errorf("the row holds %d, want 21", n)
	}
}

func TestInSnapshot(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	run(t, db, "CREATE TABLE counters (n int NOT NULL)")
	run(t, db, "INSERT INTO counters VALUES (0)")
	read := postgres.Stmt{Name: "test.read", SQL: "SELECT n FROM counters"}
	var seen []int
	err := db.InSnapshot(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		for range 2 {
			n, _, err := postgres.First(ctx, tx, read, pgx.RowTo[int])
			if err != nil {
				return err
			}
			seen = append(seen, n)
			run(t, db, "UPDATE counters SET n = n + 1")
		}
		_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "test.write", SQL: "UPDATE counters SET n = 100"})
		return err
	})
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "25006" || !slices.Equal(seen, []int{0, 0}) {
		t.Errorf("it saw %v and wrote: %v", seen, err)
	}
	if n := one[int](t, db, "SELECT n FROM counters"); n != 2 {
		t.Errorf("the row holds %d, want 2", n)
	}
}

// TestCancelledStatements end on the server, and keep their connection.
func TestCancelledStatements(t *testing.T) {
	t.Parallel()
	d := pgtest.New(t)
	db := open(t, d, 1)
	pid := one[int32](t, db, "SELECT pg_backend_pid()")
	state := func() string {
		return one[string](t, d.Orders, "SELECT state || ' ' || query FROM pg_stat_activity WHERE pid = $1", pid)
	}
	sleep := postgres.Stmt{Name: "test.sleep", SQL: "SELECT pg_sleep(600)"}

	for round := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := postgres.Exec(ctx, db, sleep)
			ended <- err
		}()
		eventually(t, "the statement runs", func() bool { return state() == "active SELECT pg_sleep(600)" })
		cancel()
		err := <-ended
		if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "test.sleep: ") {
			t.Errorf("round %d: the cancelled statement ended with %v", round, err)
		}
		eventually(t, "the server stops", func() bool { return !strings.HasPrefix(state(), "active") })
		if got := one[int32](t, db, "SELECT pg_backend_pid()"); got != pid {
			t.Errorf("round %d: the connection is %d, want %d", round, got, pid)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := postgres.Exec(ctx, db, sleep); !fault.Is(err, fault.Timeout) {
		t.Errorf("the statement that took too long ended with %v, want TIMEOUT", err)
	}
	if got := one[int32](t, db, "SELECT pg_backend_pid()"); got != pid {
		t.Errorf("after a deadline the connection is %d, want %d", got, pid)
	}

	// A transaction that is cancelled in the middle is rolled back.
	run(t, db, "CREATE TABLE counters (n int NOT NULL)")
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	err := db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		run(t, tx, "INSERT INTO counters VALUES (1)")
		cancel()
		_, err := postgres.Exec(ctx, tx, sleep)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled transaction ended with %v", err)
	}
	if got := one[int32](t, db, "SELECT pg_backend_pid()"); got != pid {
		t.Errorf("after a cancelled transaction the connection is %d, want %d", got, pid)
	}
	if n := one[int64](t, d.Orders, "SELECT count(*) FROM counters"); n != 0 {
		t.Errorf("the cancelled transaction wrote %d rows", n)
	}
}

// TestLateCancellation has requests to cancel on the way for longer than the statement takes. They may hit no other one.
func TestLateCancellation(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		late time.Duration
		kept bool // the connection is
	}{
		"soon enough": {300 * time.Millisecond, true},
		"too late":    {2500 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgtest.New(t)
			url, cancelled := delayCancellation(t, d.URLs["orders"], c.late)
			db, err := postgres.Open(t.Context(), url, postgres.Options{MaxConns: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(db.Close)
			pid := one[int32](t, db, "SELECT pg_backend_pid()")
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, _ = postgres.Exec(ctx, db, postgres.Stmt{Name: "test.sleep", SQL: "SELECT pg_sleep(0.2)"}) // it may or may not have been told in time
			if got := one[int32](t, db, "SELECT pg_backend_pid() FROM pg_sleep(0.6)"); (got == pid) != c.kept {
				t.Errorf("the next statement runs on %d after %d", got, pid)
			}
			<-cancelled
		})
	}
}

// delayCancellation returns the URL of a way to a database that delivers requests to cancel later, also when who sent them is gone,
// and what is closed when it has delivered the first.
func delayCancellation(t *testing.T, url string, late time.Duration) (string, <-chan struct{}) {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	delivered := make(chan struct{})
	serve := func(client net.Conn) {
		defer client.Close()
		network, address := pgconn.NetworkAddress(cfg.Host, cfg.Port)
		server, err := net.Dial(network, address)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		first := make([]byte, 8) // a length and a code
		if _, err := io.ReadFull(client, first); err != nil {
			return
		}
		if cancel := binary.BigEndian.Uint32(first[4:]) == 80877102; cancel {
			first, _ = io.ReadAll(io.MultiReader(bytes.NewReader(first), io.LimitReader(client, int64(binary.BigEndian.Uint32(first))-8)))
			time.Sleep(late) // it is this that is tested
			_, _ = server.Write(first)
			_, _ = io.Copy(client, server)
			close(delivered)
			return
		}
		all.Go(func() {
			_, _ = io.Copy(client, server)
			_ = client.Close()
		})
		_, _ = io.Copy(server, io.MultiReader(bytes.NewReader(first), client))
	}
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", cfg.User, cfg.Password, l.Addr(), cfg.Database), delivered
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	key := uuid.MustParse("0190a5d0-0000-7000-8000-000000000001")
	ctx, recorder := postgres.Record(t.Context())
	if s, tags := recorder.Statements(), recorder.Names(); len(s) != 0 || len(tags) != 0 {
		t.Errorf("a new recorder holds %v and %v", s, tags)
	}
	statement := func(name string, reads ...postgres.Read) postgres.Stmt {
		return postgres.Stmt{Name: name, SQL: "SELECT 1 WHERE $1", Reads: reads}
	}
	if _, err := postgres.Select(ctx, db, statement("orders.list", postgres.All("orders.orders", "orders.lines")...), pgx.RowTo[int], true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := postgres.First(ctx, db, statement("products.by_id", postgres.ColumnOf("products.products", "id").Of(key)...), pgx.RowTo[int], true); err != nil {
		t.Fatal(err)
	}
	err := db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		_, err := postgres.Exec(ctx, tx, statement("orders.list", postgres.All("orders.orders")...), false)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Exec(ctx, db, postgres.Stmt{Name: "test.fails", SQL: "SELECT 1/0", Reads: postgres.All("users.users")}); err == nil {
		t.Fatal("1/0 is something")
	}
	run(t, db, "SELECT 1") // of another context

	if got, want := recorder.Statements(), []string{"orders.list", "products.by_id", "orders.list", "test.fails"}; !slices.Equal(got, want) {
		t.Errorf("the statements are %v, want %v", got, want)
	}
	if got, want := recorder.Names(), []string{"orders.lines:*", "orders.orders:*",
		"products.products.id:0190a5d0-0000-7000-8000-000000000001", "users.users:*"}; !slices.Equal(got, want) {
		t.Errorf("the tags are %v, want %v", got, want)
	}
	recorder.Statements()[0] = "overwritten"
	if got := recorder.Statements()[0]; got != "orders.list" {
		t.Errorf("the recorder can be changed from outside: %q", got)
	}

	// Whoever records already hears of all of it, too.
	outside, outer := postgres.Record(t.Context())
	inside, inner := postgres.Record(outside)
	if _, err := postgres.Exec(inside, db, statement("orders.list", postgres.All("orders.orders")...), true); err != nil {
		t.Fatal(err)
	}
	postgres.Uncacheable(inside, "the weather")
	for _, r := range []*postgres.Recorder{inner, outer} {
		if r.Uncacheable() != "the weather" || len(r.Names()) != 1 || len(r.Used()) != 1 {
			t.Errorf("recorded: %v in %d databases, %q", r.Names(), len(r.Used()), r.Uncacheable())
		}
	}
	postgres.Uncacheable(outside, "the time")
	if inner.Uncacheable() != "the weather" || outer.Uncacheable() != "the weather" {
		t.Errorf("of several reasons the first counts: %q, %q", inner.Uncacheable(), outer.Uncacheable())
	}

	// Resolvers read at the same time.
	ctx, recorder = postgres.Record(t.Context())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 5 {
				if _, err := postgres.Exec(ctx, db, statement("orders.list", postgres.All("orders.orders")...), true); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := len(recorder.Statements()); got != 40 || len(recorder.Names()) != 1 {
		t.Errorf("%d statements were recorded, with %v", got, recorder.Names())
	}
}

func TestObserver(t *testing.T) {
	t.Parallel()
	type seen struct {
		name string
		code fault.Code
	}
	var all []seen
	db, err := postgres.Open(t.Context(), pgtest.New(t).URLs["orders"], postgres.Options{MaxConns: 1,
		Observe: func(name string, took time.Duration, err error) {
			s := seen{name: name}
			if err != nil {
				s.code = fault.CodeOf(err)
			}
			if all = append(all, s); took <= 0 || took > time.Minute {
				t.Errorf("%s took %s", name, took)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	run(t, db, "SELECT 1")
	_, _ = postgres.Exec(t.Context(), db, postgres.Stmt{Name: "test.zero", SQL: "SELECT $1::text"}, "\x00")
	_, _, _ = postgres.First(t.Context(), db, postgres.Stmt{Name: "test.fails", SQL: "SELECT 1/0"}, pgx.RowTo[int])
	if want := []seen{{"test.exec", ""}, {"test.zero", fault.BadUserInput}, {"test.fails", fault.Internal}}; !slices.Equal(all, want) {
		t.Errorf("observed were %v, want %v", all, want)
	}
	if s := db.Stat(); s.Max != 1 || s.Acquired != 0 || s.Idle != 1 {
		t.Errorf("the pool has %+v", s)
	}
}

func TestTimesAreUTC(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	run(t, db, "CREATE TABLE instants (t timestamptz)")
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.FixedZone("", 7200))
	run(t, db, "INSERT INTO instants VALUES ($1)", at)
	got := one[time.Time](t, db, "SELECT t FROM instants")
	if got != at.UTC() {
		t.Errorf("%s came back as %s", at, got)
	}
}

// TestOpenNeverRepeatsAPassword: what can not be parsed is printed at start, and ends up in logs.
func TestOpenNeverRepeatsAPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://emporium:hunter2@db:port/emporium",
		"postgres://emporium:hunter2@[::1/emporium",
		"postgres://emporium:hunter2@db:5432/emporium?sslmode=perhaps",
		"postgres://emporium:hunter2@db/emporium?sslmode=verify-full&sslrootcert=/no/such/ca.pem",
		"postgres://emporium:hunter2@db/emporium?sslmode=require&sslcert=/no/such/cert.pem&sslkey=/no/such/key.pem",
		"postgres://emporium:hunter2@db/emporium?connect_timeout=soon",
		"postgres://emporium:hunter2@db/emporium?pool_max_conns=many",
		"postgres://emporium:hunter2@db/emporium?pool_max_conn_lifetime=long",
		"postgres://emporium:hunter2@db/emporium?pool_health_check_period=often",
		"postgres://emporium:hunter2@db/emporium?default_query_exec_mode=fast",
		"postgres://emporium:hunter2@db/emporium?statement_cache_capacity=many",
		"postgres://emporium:hunter2@db/emporium?target_session_attrs=any-at-all",
		"postgres://emporium:hunter2%zz@db/emporium",
		" postgres://emporium:hunter2@db/emporium",
		"postgresql//emporium:hunter2@db/emporium",
		"mysql://emporium:hunter2@db/emporium",
		"host=db user=emporium password=hunter2 port=many",
		"host=db user=emporium password='hunter2",
		"host=db user=emporium password=hunter2 sslmode",
		"hunter2",
	} {
		db, err := postgres.Open(t.Context(), url, postgres.Options{})
		if err == nil {
			db.Close()
			t.Errorf("%q was taken", url)
			continue
		}
		if text := err.Error(); strings.Contains(text, "hunter2") || strings.Contains(text, "emporium:") {
			t.Errorf("%q: the error repeats it: %v", url, err)
		}
		for cause := errors.Unwrap(err); cause != nil; cause = errors.Unwrap(cause) {
			if strings.Contains(cause.Error(), "hunter2") {
				t.Errorf("%q: a cause of the error repeats it: %v", url, cause)
			}
		}
	}
}

// TestServerDown: opening does not wait, asking fails, and the password stays where it is.
func TestServerDown(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(t.Context(), "postgres://emporium:hunter2@127.0.0.1:1/emporium?sslmode=disable", postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, execErr := postgres.Exec(t.Context(), db, postgres.Stmt{Name: "test.exec", SQL: "SELECT 1"})
	for what, err := range map[string]error{"Ping": db.Ping(t.Context()), "Exec": execErr} {
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestBudget runs more statements than a context has: those beyond do not reach the database, whoever runs them.
func TestBudget(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t).Orders
	ctx, recorder := postgres.Record(postgres.WithBudget(t.Context(), 3))
	one := postgres.Stmt{Name: "one", SQL: "SELECT 1", Reads: postgres.All("orders.orders")}
	failed := make(chan error, 8)
	var group sync.WaitGroup
	for range cap(failed) {
		group.Go(func() {
			if _, err := postgres.Select(ctx, db, one, pgx.RowTo[int]); err != nil {
				failed <- err
			}
		})
	}
	group.Wait()
	close(failed)
	n := 0
	for err := range failed {
		n++
		if fault.CodeOf(err) != fault.BadUserInput || !strings.Contains(err.Error(), "more than 3 SQL statements") {
			t.Errorf("%v", err)
		}
	}
	if n != 5 || len(recorder.Statements()) != 3 {
		t.Errorf("%d of 8 failed, %d were run", n, len(recorder.Statements()))
	}
	if _, err := postgres.Exec(ctx, db, one); fault.CodeOf(err) != fault.BadUserInput {
		t.Errorf("to execute: %v", err)
	}
	if _, err := postgres.Exec(t.Context(), db, one); err != nil {
		t.Errorf("without a budget: %v", err)
	}
}
