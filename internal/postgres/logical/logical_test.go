package logical

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// soon is the longest that a test waits for what comes at once.
const soon = 30 * time.Second

// recorder writes down what it is told, and can be waited for.
type recorder struct {
	mu       sync.Mutex
	events   []string
	xids     []uint32
	commits  [][2]LSN
	position LSN
	told     int // calls of Position
	news     chan struct{}
	onCommit func() // called after each
}

func newRecorder() *recorder { return &recorder{news: make(chan struct{}, 1)} }

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
	r.mu.Unlock()
	r.tell()
}

func (r *recorder) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

func (r *recorder) Begin(xid uint32, commit LSN) {
	r.mu.Lock()
	r.xids = append(r.xids, xid)
	r.commits = append(r.commits, [2]LSN{commit, 0})
	r.mu.Unlock()
	r.add("begin")
}

func (r *recorder) Changed(rel *Relation) { r.add("changed %s", rel.Name) }

func (r *recorder) Row(rel *Relation, column int, value []byte) {
	text := string(value)
	if len(value) == 16 {
		text = hex.EncodeToString(value)
	} else if len(text) > 100 {
		text = fmt.Sprintf("%s… %d bytes", text[:10], len(text))
	}
	r.add("%s.%s=%s", rel.Name, rel.Columns[column], text)
}

func (r *recorder) Truncate(rel *Relation) { r.add("truncate %s", rel.Name) }
func (r *recorder) Schema(rel *Relation)   { r.add("schema %s", rel.Name) }

func (r *recorder) Commit(xid uint32, commit, end LSN) {
	r.mu.Lock()
	last := len(r.xids) - 1
	if r.xids[last] != xid || r.commits[last][0] != commit || end <= commit {
		r.events = append(r.events, fmt.Sprintf("commit of %d at %s-%s does not fit", xid, commit, end))
	}
	r.commits[last][1] = end
	r.mu.Unlock()
	r.add("commit")
	if r.onCommit != nil {
		r.onCommit()
	}
}

func (r *recorder) Position(end LSN) {
	r.mu.Lock()
	if end < r.position {
		r.events = append(r.events, fmt.Sprintf("position went back from %s to %s", r.position, end))
	}
	r.position = end
	r.told++
	r.mu.Unlock()
	r.tell()
}

func database(t testing.TB, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(u.Path, "/")
}

// wait returns once the condition holds, which is looked at after each event.
func (r *recorder) wait(t testing.TB, what string, holds func() bool) {
	t.Helper()
	late := time.After(soon)
	for {
		r.mu.Lock()
		ok := holds()
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-r.news:
		case <-late:
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("%s does not come; events: %s", what, strings.Join(r.events, ", "))
		}
	}
}

// follower is a stream that runs.
type follower struct {
	*recorder
	stream *Stream
	ended  chan error // of Run
	cancel context.CancelFunc
	pool   *pgxpool.Pool
}

// follow runs a stream until the test ends.
func follow(t testing.TB, o Options) *follower {
	t.Helper()
	stream, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, stream, newRecorder(), o.URL)
}

func run(t testing.TB, stream *Stream, sink *recorder, url string) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{recorder: sink, stream: stream, ended: make(chan error, 1), cancel: cancel,
		pool: pgtest.CommonCluster(t).Pool(t, url)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.ended <- stream.Run(ctx, sink)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(soon):
			t.Error("Run does not return after its context has ended")
		}
	})
	return f
}

// expect waits until everything that is committed has been told, compares it with what is wanted, and forgets it.
func (f *follower) expect(t testing.TB, want ...string) {
	t.Helper()
	f.caughtUp(t)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.events, want) {
		t.Errorf("told:\n\t%s\nwant:\n\t%s", strings.Join(f.events, "\n\t"), strings.Join(want, "\n\t"))
	}
	f.events = nil
}

// caughtUp waits until everything that is committed has been told, and returns up to where.
func (f *follower) caughtUp(t testing.TB) LSN {
	t.Helper()
	end := f.lsn(t, "SELECT pg_current_wal_flush_lsn()")
	f.wait(t, "position "+end.String(), func() bool { return f.position >= end })
	return end
}

func (f *follower) lsn(t testing.TB, sql string, args ...any) LSN {
	t.Helper()
	var text string
	if err := f.pool.QueryRow(t.Context(), strings.Replace(sql, "SELECT ", "SELECT (", 1)+")::text", args...).Scan(&text); err != nil {
		t.Fatal(err)
	}
	lsn, err := ParseLSN(text)
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

func (f *follower) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := f.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// shop makes a database with tables of which items and notes are published, and returns options that follow it.
func shop(t testing.TB) Options {
	t.Helper()
	c := pgtest.CommonCluster(t)
	url := c.Empty(t)
	c.Exec(t, url, `CREATE TABLE items (id uuid PRIMARY KEY, slug text, price numeric(12,2), owner uuid);
		CREATE TABLE notes (id int PRIMARY KEY, item uuid REFERENCES items, body text);
		CREATE TABLE drafts (id int PRIMARY KEY, body text);
		ALTER TABLE items REPLICA IDENTITY FULL;
		ALTER TABLE notes REPLICA IDENTITY FULL;
		CREATE PUBLICATION emporium FOR TABLE items, notes`)
	return Options{URL: url, Publication: "emporium", Application: "follower", Wants: wants}
}

func wants(schema, table string) []string {
	return map[string][]string{"public.items": {"id", "slug"}, "public.notes": {"item", "body"}}[schema+"."+table]
}

// key is a UUID as text for SQL; its digits are as the recorder writes them.
func key(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func digits(n int) string { return strings.ReplaceAll(key(n), "-", "") }

func TestChangesAreTold(t *testing.T) {
	t.Parallel()
	f := follow(t, shop(t))
	if got := f.stream.Published(); !slices.Equal(got, []string{"public.items", "public.notes"}) {
		t.Errorf("published: %v", got)
	}
	f.exec(t, "INSERT INTO items VALUES ($1, 'lamp', 12.50, NULL)", key(1))
	f.expect(t, "begin", "changed items", "items.id="+digits(1), "items.slug=lamp", "commit")

	f.exec(t, "UPDATE items SET price = 13 WHERE id = $1", key(1))
	f.expect(t, "begin", "changed items", "items.id="+digits(1), "items.slug=lamp", "commit")

	f.exec(t, "UPDATE items SET slug = 'table-lamp' WHERE id = $1", key(1))
	f.expect(t, "begin", "changed items", "items.id="+digits(1), "items.slug=lamp", "items.slug=table-lamp", "commit")

	f.exec(t, "UPDATE items SET id = $2 WHERE id = $1", key(1), key(2))
	f.expect(t, "begin", "changed items", "items.id="+digits(1), "items.id="+digits(2), "items.slug=table-lamp", "commit")

	f.exec(t, "UPDATE items SET slug = NULL")
	f.expect(t, "begin", "changed items", "items.id="+digits(2), "items.slug=table-lamp", "commit")

	f.exec(t, "UPDATE items SET slug = ''")
	f.expect(t, "begin", "changed items", "items.id="+digits(2), "items.slug=", "commit")

	f.exec(t, "DELETE FROM items")
	f.expect(t, "begin", "changed items", "items.id="+digits(2), "items.slug=", "commit")

	f.exec(t, "TRUNCATE items, notes")
	f.expect(t, "begin", "truncate items", "truncate notes", "commit")
}

func TestConfirmShowsOnTheServer(t *testing.T) {
	t.Parallel()
	f := follow(t, shop(t))
	f.exec(t, "INSERT INTO items (id) VALUES ($1)", key(1))
	position := f.caughtUp(t)
	at := time.Date(2024, 5, 6, 7, 8, 9, 123456000, time.UTC)
	for _, report := range []struct {
		position LSN
		at       time.Time
	}{{position, at}, {position - 100, at.Add(-time.Second)}} { // the second is older
		if err := f.stream.Confirm(report.position, report.at); err != nil {
			t.Fatal(err)
		}
	}
	poll(t, func() (bool, string) {
		var replayed, application string
		var reply *time.Time
		if err := f.pool.QueryRow(t.Context(), `SELECT coalesce(replay_lsn::text, ''), application_name, reply_time
			FROM pg_stat_replication WHERE pid = $1`, int(f.stream.PID())).Scan(&replayed, &application, &reply); err != nil {
			t.Fatal(err)
		}
		return replayed == position.String() && application == "follower" && reply != nil && reply.Equal(at),
			fmt.Sprintf("replayed %s, application %s, reply %v", replayed, application, reply)
	})
}

// poll asks again until it holds, for what can only be asked for.
func poll(t testing.TB, holds func() (bool, string)) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(soon); ; <-tick.C {
		ok, is := holds()
		if ok {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("does not come to be: %s", is)
		}
	}
}

func TestTransactionsAreToldAsTheyCommit(t *testing.T) {
	t.Parallel()
	f := follow(t, shop(t))
	f.exec(t, "CREATE TABLE other (id int)") // is nobody's business
	f.expect(t)

	tx, err := f.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"INSERT INTO items VALUES ('" + key(1) + "', 'one')",
		"SAVEPOINT a",
		"INSERT INTO items VALUES ('" + key(2) + "', 'undone')",
		"ROLLBACK TO a",
		"SAVEPOINT b",
		"INSERT INTO notes VALUES (1, '" + key(1) + "', 'kept')",
		"RELEASE b",
		"INSERT INTO drafts VALUES (1, 'unpublished')",
	} {
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var xid uint32
	if err := tx.QueryRow(t.Context(), "SELECT pg_current_xact_id()::text::int").Scan(&xid); err != nil {
		t.Fatal(err)
	}
	// Another one begins later and commits first.
	f.exec(t, "INSERT INTO items VALUES ('"+key(3)+"', 'first')")
	before := f.lsn(t, "SELECT pg_current_wal_flush_lsn()")
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := f.lsn(t, "SELECT pg_current_wal_flush_lsn()")
	f.expect(t, "begin", "changed items", "items.id="+digits(3), "items.slug=first", "commit",
		"begin", "changed items", "items.id="+digits(1), "items.slug=one",
		"changed notes", "notes.item="+digits(1), "notes.body=kept", "commit")
	f.mu.Lock()
	if last := len(f.xids) - 1; f.xids[last] != xid || f.commits[last][0] < before || f.commits[last][1] > after {
		t.Errorf("transaction %d at %v, not %d between %s and %s", f.xids[last], f.commits[last], xid, before, after)
	}
	if f.commits[0][0] <= f.stream.Consistent() {
		t.Errorf("told of a commit at %s, though the slot is consistent at %s", f.commits[0][0], f.stream.Consistent())
	}
	f.mu.Unlock()

	tx, err = f.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "DELETE FROM notes"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.exec(t, "UPDATE items SET slug = upper(slug)")
	f.expect(t, "begin",
		"changed items", "items.id="+digits(1), "items.slug=one", "items.slug=ONE",
		"changed items", "items.id="+digits(3), "items.slug=first", "items.slug=FIRST", "commit")
}

func TestPositionAdvancesWithoutChangesOfThePublication(t *testing.T) {
	t.Parallel()
	f := follow(t, shop(t))
	start := f.caughtUp(t)
	for n := range 3 {
		f.exec(t, "INSERT INTO drafts VALUES ($1)", n)
		if end := f.caughtUp(t); end <= start {
			t.Errorf("the log ends at %s", end)
		}
	}
	f.expect(t)
}

// counter counts what it is told.
type counter struct {
	recorder
	changed, rows, commits int
}

func (c *counter) Changed(*Relation)          { c.changed++ }
func (c *counter) Row(*Relation, int, []byte) { c.rows++ }
func (c *counter) Begin(uint32, LSN)          {}
func (c *counter) Commit(uint32, LSN, LSN)    { c.mu.Lock(); c.commits++; c.mu.Unlock(); c.tell() }

func TestLargeTransaction(t *testing.T) {
	t.Parallel()
	o := shop(t)
	stream, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sink := &counter{recorder: recorder{news: make(chan struct{}, 1)}}
	ended := make(chan error, 1)
	go func() { ended <- stream.Run(ctx, sink) }()
	pgtest.CommonCluster(t).Exec(t, o.URL, "INSERT INTO items SELECT gen_random_uuid(), 'item-' || n, n FROM generate_series(1, 100000) n")
	sink.wait(t, "the commit", func() bool { return sink.commits == 1 })
	cancel()
	<-ended
	if sink.changed != 100_000 || sink.rows != 200_000 {
		t.Errorf("%d rows changed and %d values were told", sink.changed, sink.rows)
	}
}

func TestLargeValuesThatAreNotSentAgain(t *testing.T) {
	t.Parallel()
	f := follow(t, shop(t))
	// Not compressed, so that it is moved out of the row.
	f.exec(t, "ALTER TABLE notes ALTER body SET STORAGE EXTERNAL")
	body := strings.Repeat("0123456789", 2000)
	f.exec(t, "INSERT INTO notes VALUES (1, NULL, $1)", body)
	told := "notes.body=0123456789… 20000 bytes"
	f.expect(t, "begin", "changed notes", told, "commit")
	f.exec(t, "UPDATE notes SET id = 2")
	f.expect(t, "begin", "changed notes", told, "commit")
	f.exec(t, "UPDATE notes SET body = body || 'x'")
	f.expect(t, "begin", "changed notes", told, "notes.body=0123456789… 20001 bytes", "commit")
	f.exec(t, "DELETE FROM notes")
	f.expect(t, "begin", "changed notes", "notes.body=0123456789… 20001 bytes", "commit")
}

func TestTypesWithoutBinaryFormAndPartitions(t *testing.T) {
	t.Parallel()
	o := shop(t)
	pgtest.CommonCluster(t).Exec(t, o.URL, `CREATE TABLE parts (id int, grant_of aclitem, at date) PARTITION BY RANGE (at);
		CREATE TABLE parts_2024 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
		ALTER TABLE parts_2024 REPLICA IDENTITY FULL;
		ALTER PUBLICATION emporium ADD TABLE parts`)
	o.Wants = func(schema, table string) []string {
		if table == "parts_2024" {
			return []string{"grant_of"}
		}
		return nil
	}
	f := follow(t, o)
	f.exec(t, "INSERT INTO parts VALUES (1, 'postgres=r/postgres', '2024-02-29')")
	f.expect(t, "begin", "changed parts_2024", "parts_2024.grant_of=postgres=r/postgres", "commit")

	f.exec(t, "ALTER PUBLICATION emporium SET (publish_via_partition_root)")
	o.Wants = nil
	setupError(t, o, "old rows of public.parts are not")
}

func TestSchemaChangesAreNoticed(t *testing.T) {
	t.Parallel()
	f := follow(t, shop(t))
	one := func(sql string) []string {
		f.exec(t, sql)
		return []string{"begin", "changed items", "items.id=" + digits(1), "items.slug=a", "commit"}
	}
	insert := func(columns, rest string) string {
		return "INSERT INTO items (id, slug" + columns + ") VALUES ('" + key(1) + "', 'a'" + rest + ")"
	}
	noticed := func(want []string) []string { return slices.Insert(want, 1, "schema items") }
	f.expect(t, one(insert("", ""))...)
	f.exec(t, "ANALYZE items") // describes it again, as it is
	f.expect(t, one("DELETE FROM items")...)
	f.exec(t, "ALTER TABLE items ADD color text")
	f.expect(t, noticed(one(insert(", color", ", 'red'")))...)
	f.expect(t, one("UPDATE items SET color = 'blue'")...)
	f.exec(t, "ALTER TABLE items DROP price")
	f.expect(t, noticed(one("DELETE FROM items"))...)
	f.exec(t, "ALTER TABLE items ALTER slug TYPE varchar(20)")
	f.expect(t, noticed(one(insert("", "")))...)

	// Another table of the same name.
	f.exec(t, `DROP TABLE items CASCADE; CREATE TABLE items (slug text, id uuid); ALTER TABLE items REPLICA IDENTITY FULL;
		ALTER PUBLICATION emporium ADD TABLE items`)
	f.expect(t, noticed(one(insert("", "")))...)

	f.exec(t, "ALTER TABLE items RENAME slug TO name")
	f.exec(t, "DELETE FROM items")
	var setup *SetupError
	if err := f.end(t); !errors.As(err, &setup) || !strings.Contains(err.Error(), "public.items has no column slug") {
		t.Errorf("%v", err)
	}
}

// end returns what Run returns.
func (f *follower) end(t testing.TB) error {
	t.Helper()
	select {
	case err := <-f.ended:
		return err
	case <-time.After(soon):
		t.Fatal("Run does not return")
		return nil
	}
}

func TestOldRowsThatAreNoLongerInTheLog(t *testing.T) {
	t.Parallel()
	f := follow(t, shop(t))
	f.exec(t, "INSERT INTO items VALUES ('"+key(1)+"', 'a')")
	f.exec(t, "ALTER TABLE items REPLICA IDENTITY DEFAULT")
	f.exec(t, "UPDATE items SET slug = 'b'")
	var setup *SetupError
	if err := f.end(t); !errors.As(err, &setup) || !strings.Contains(err.Error(), "ALTER TABLE public.items REPLICA IDENTITY FULL") {
		t.Errorf("%v", err)
	}
}

func TestPublicationThatIsDropped(t *testing.T) {
	t.Parallel()
	f := follow(t, shop(t))
	f.exec(t, "DROP PUBLICATION emporium")
	f.exec(t, "INSERT INTO items VALUES ('"+key(1)+"', 'a')")
	var setup *SetupError
	if err := f.end(t); !errors.As(err, &setup) || !strings.Contains(err.Error(), "emporium") {
		t.Errorf("%v", err)
	}
}

func TestSlotWaitsForTransactionsOfOtherDatabases(t *testing.T) {
	t.Parallel()
	c := pgtest.CommonCluster(t)
	o := shop(t)
	o.Application = "waits"
	c.Exec(t, o.URL, "ALTER ROLE postgres IN DATABASE "+database(t, o.URL)+" SET lock_timeout = '1ms'")
	other := c.Pool(t, c.Empty(t))
	tx, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "SELECT pg_current_xact_id()"); err != nil {
		t.Fatal(err)
	}
	senders := func(application, where string) (n int) {
		if err := other.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' AND application_name = $1 AND "+where,
			application).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}

	// It gives up in time, and the server does too.
	impatient := o
	impatient.Application, impatient.StartTimeout = "impatient", 200*time.Millisecond
	if _, err := Open(t.Context(), impatient); err == nil || errors.As(err, new(*SetupError)) ||
		!strings.Contains(err.Error(), "creating the slot took longer than 200ms") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	poll(t, func() (bool, string) { return senders("impatient", "true") == 0, "the server goes on with it" })

	// So it does if the caller gives up.
	ctx, cancel := context.WithCancel(t.Context())
	impatient.StartTimeout = 0
	failed := make(chan error, 1)
	go func() {
		_, err := Open(ctx, impatient)
		failed <- err
	}()
	poll(t, func() (bool, string) {
		return senders("impatient", "wait_event_type = 'Lock'") == 1, "it does not wait for the transaction"
	})
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	poll(t, func() (bool, string) { return senders("impatient", "true") == 0, "the server goes on with it" })

	type opened struct {
		stream *Stream
		err    error
	}
	done := make(chan opened, 1)
	go func() {
		s, err := Open(t.Context(), o)
		done <- opened{s, err}
	}()
	poll(t, func() (bool, string) {
		return senders("waits", "wait_event_type = 'Lock'") == 1, "it does not wait for the transaction"
	})
	select {
	case <-done:
		t.Fatal("the slot did not wait for a transaction of another database")
	default:
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := <-done
	if got.err != nil {
		t.Fatal(got.err)
	}
	f := run(t, got.stream, newRecorder(), o.URL)
	f.exec(t, "INSERT INTO items (id) VALUES ($1)", key(1))
	f.expect(t, "begin", "changed items", "items.id="+digits(1), "commit")
}

func TestBackendIsTerminated(t *testing.T) {
	t.Parallel()
	f := follow(t, shop(t))
	f.exec(t, "SELECT pg_terminate_backend($1)", int(f.stream.PID()))
	err := f.end(t)
	if err == nil || errors.As(err, new(*SetupError)) || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := f.stream.Confirm(1, time.Now()); err == nil {
		t.Error("confirmed on a stream that has ended")
	}
	poll(t, func() (bool, string) {
		var slots int
		if err := f.pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_replication_slots WHERE active_pid = $1", int(f.stream.PID())).Scan(&slots); err != nil {
			t.Fatal(err)
		}
		return slots == 0, "the slot stays"
	})
}

// TestEndLeavesNothing is not parallel, so that the goroutines are its own.
func TestEndLeavesNothing(t *testing.T) {
	o := shop(t)
	for _, way := range []string{"context", "close"} {
		f := follow(t, o)
		f.caughtUp(t)
		pid := int(f.stream.PID())
		began := time.Now()
		want := context.Canceled
		if way == "context" {
			f.cancel()
		} else {
			want = net.ErrClosed
			if err := errors.Join(f.stream.Close(), f.stream.Close()); err != nil {
				t.Error(err)
			}
		}
		if err := f.end(t); !errors.Is(err, want) {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s: it took %s", way, took)
		}
		poll(t, func() (bool, string) {
			var n int
			if err := f.pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n == 0, "the server goes on"
		})
		poll(t, func() (bool, string) {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			return !strings.Contains(string(stacks), "logical.(*Stream)"), string(stacks)
		})
	}
	// Open and never run.
	stream, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	if err := stream.Run(t.Context(), newRecorder()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t)
	url := c.Empty(t)
	c.Exec(t, url, "CREATE TABLE items (id uuid, slug text); ALTER TABLE items REPLICA IDENTITY FULL; CREATE PUBLICATION emporium FOR TABLE items")
	stream, err := Open(t.Context(), Options{URL: url, Publication: "emporium"})
	if err != nil {
		t.Fatal(err)
	}
	sink, ended := newRecorder(), make(chan error, 1)
	go func() { ended <- stream.Run(t.Context(), sink) }()
	c.Exec(t, url, "INSERT INTO items VALUES ('"+key(1)+"')")
	sink.wait(t, "the row", func() bool { return len(sink.commits) == 1 })
	c.Kill(t)
	select {
	case err := <-ended:
		if err == nil || errors.As(err, new(*SetupError)) {
			t.Errorf("%v", err)
		}
	case <-time.After(soon):
		t.Error("Run goes on without a server")
	}
	if _, err := Open(t.Context(), Options{URL: url, Publication: "emporium"}); err == nil || errors.As(err, new(*SetupError)) {
		t.Errorf("a server that is down: %v", err)
	}
}

func TestConfirmFromEverywhere(t *testing.T) {
	t.Parallel()
	o := shop(t)
	stream, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	sink := newRecorder()
	sink.onCommit = func() {
		if err := stream.Confirm(sink.position, time.Now()); err != nil {
			t.Error(err)
		}
	}
	f := run(t, stream, sink, o.URL)
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := range 50 {
				if err := stream.Confirm(stream.Consistent()+LSN(n), time.Now()); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					f.exec(t, "INSERT INTO items (id) VALUES ($1)", key(n*100+i))
				}
			}
		})
	}
	all.Wait()
	f.caughtUp(t)
}

func TestServerAsksForASignOfLife(t *testing.T) {
	t.Parallel()
	o := shop(t)
	o.URL += "&options=-c%20wal_sender_timeout%3D400ms" // it asks at half of it, and leaves at the end
	f := follow(t, o)
	f.caughtUp(t)
	f.mu.Lock()
	told := f.told
	f.mu.Unlock()
	f.wait(t, "8 keepalives", func() bool { return f.told >= told+8 })
	var replayed *string
	if err := f.pool.QueryRow(t.Context(), "SELECT replay_lsn::text FROM pg_stat_replication WHERE pid = $1", int(f.stream.PID())).Scan(&replayed); err != nil {
		t.Fatal(err)
	}
	if replayed != nil {
		t.Errorf("nothing was confirmed, but the server was told %s", *replayed)
	}
}

func TestServerIsAskedForASignOfLife(t *testing.T) {
	t.Parallel()
	o := shop(t)
	p := newProxy(t, o.URL)
	o.URL = p.url
	stream, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	stream.quiet, stream.timeout = 10*time.Millisecond, 2*time.Second
	f := run(t, stream, newRecorder(), o.URL)
	f.caughtUp(t)
	f.mu.Lock()
	told := f.told
	f.mu.Unlock()
	f.wait(t, "5 answers", func() bool { return f.told >= told+5 })
	p.silence()
	select {
	case err := <-f.ended:
		if !strings.Contains(err.Error(), "has not answered") || errors.As(err, new(*SetupError)) {
			t.Errorf("%v", err)
		}
	case <-time.After(soon):
		t.Error("Run waits for a server that is silent")
	}
}
