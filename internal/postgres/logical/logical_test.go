package logical

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
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
