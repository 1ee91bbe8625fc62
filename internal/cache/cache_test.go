package cache_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/cache"
	"emporium/internal/cache/cachetest"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// shop is a database with a table of things, and one that is not followed.
type shop struct {
	t   testing.TB
	url string
	db  *postgres.DB

	schema string
}

var (
	thingByID    = postgres.ColumnOf("shop.things", "id")
	thingByColor = postgres.ColumnOf("shop.things", "color")
)

const createShop = `
CREATE SCHEMA shop;
CREATE TABLE shop.things (id uuid PRIMARY KEY, owner_id uuid, color text, n int NOT NULL DEFAULT 0);
CREATE TABLE shop.schema_migrations (id int);
CREATE TABLE shop.secrets (id int);
ALTER TABLE shop.things REPLICA IDENTITY FULL;
ALTER TABLE shop.schema_migrations REPLICA IDENTITY FULL;
CREATE PUBLICATION emporium FOR TABLE shop.things, shop.schema_migrations`

func newShop(t testing.TB, c *pgtest.Cluster) *shop {
	t.Helper()
	return newShopIn(t, c, "shop")
}

// newShopIn is one whose schema has another name.
func newShopIn(t testing.TB, c *pgtest.Cluster, schema string) *shop {
	t.Helper()
	url := c.Empty(t)
	c.Exec(t, url, strings.NewReplacer("SCHEMA shop", "SCHEMA "+schema, "shop.", schema+".").Replace(createShop))
	s := &shop{t: t, url: url, schema: schema}
	s.db = s.open()
	return s
}

// open opens a pool.
func (s *shop) open() *postgres.DB {
	s.t.Helper()
	db, err := postgres.Open(context.Background(), s.url, postgres.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(db.Close)
	return db
}

// process is a cache as one process has it.
type process struct {
	*cache.Cache
	t  testing.TB
	db *postgres.DB
}

// start runs a cache until the test ends, and waits until it can be used.
func (s *shop) start(o cache.Options) *process {
	s.t.Helper()
	return s.startWith(s.open(), o)
}

// startWith is start with a pool of another role.
func (s *shop) startWith(db *postgres.DB, o cache.Options) *process {
	s.t.Helper()
	o.Sources = []cache.Source{{Domains: []string{"shop"}, DB: db, Direct: s.url}}
	if testing.Verbose() {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	c, err := cache.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	s.t.Cleanup(func() { cancel(); <-done })
	p := &process{c, s.t, db}
	p.until("the cache can be used", c.Ready)
	return p
}

// until polls.
func (p *process) until(what string, holds func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: not after 20 s; %v", what, p.State())
		}
		time.Sleep(time.Millisecond)
	}
}

// add puts a thing into the shop.
func (s *shop) add(n int) uuid.UUID {
	s.t.Helper()
	id := uuid.Must(uuid.NewV7())
	s.write("INSERT INTO "+s.schema+".things (id, owner_id, color, n) VALUES ($1, $1, 'red', $2)", id, n)
	return id
}

// write commits a statement.
func (s *shop) write(sql string, args ...any) {
	s.t.Helper()
	if _, err := postgres.Exec(context.Background(), s.db, postgres.Stmt{Name: "test.write", SQL: sql}, args...); err != nil {
		s.t.Fatal(err)
	}
}

func key(text string) cache.Key { return sha256.Sum256([]byte(text)) }

// answer is how an answer was come by.
type answer struct {
	text  string
	level cache.Level
	why   string
}

// ask answers "n of a thing" by way of the cache.
func (p *process) ask(id uuid.UUID, within ...func(ctx context.Context)) answer {
	return p.answer("n of "+id.String(), func(ctx context.Context) (string, error) {
		n, ok, err := postgres.First(ctx, p.db, postgres.Stmt{Name: "test.n", SQL: "SELECT n FROM shop.things WHERE id = $1", Reads: thingByID.Of(id)},
			pgx.RowTo[int], id)
		for _, f := range within {
			f(ctx)
		}
		return fmt.Sprint(n, ok), err
	})
}

func (p *process) answer(question string, read func(context.Context) (string, error)) answer {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := cache.Get(ctx, p.Cache, key(question), false, func(ctx context.Context) cache.Filled[string] {
		text, err := read(ctx)
		if err != nil {
			p.t.Error(err)
		}
		return cache.Filled[string]{Value: text, Body: []byte(text), MaxAge: time.Hour}
	})
	if r.Value == "" && r.Entry != nil {
		return answer{string(r.Entry.Body), r.Level, r.Why}
	}
	return answer{r.Value, r.Level, r.Why}
}

// await waits as a mutation does.
func (p *process) await() {
	p.t.Helper()
	if err := p.Await(context.Background(), []*postgres.DB{p.db}); err != nil {
		p.t.Error(err)
	}
}

// settle asks until an answer is kept, which takes a moment after a change.
func (p *process) settle(id uuid.UUID) answer {
	p.t.Helper()
	var a answer
	p.until("the answer is kept", func() bool { a = p.ask(id); return a.level == cache.Local })
	return a
}

func TestHitsUntilChanged(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	one, two := s.add(1), s.add(2)
	p := s.start(cache.Options{})
	if a := p.ask(one); a != (answer{"1 true", cache.Miss, ""}) {
		t.Errorf("the first answer is %+v", a)
	}
	for range 3 {
		if a := p.ask(one); a != (answer{"1 true", cache.Local, ""}) {
			t.Errorf("another answer is %+v", a)
		}
	}
	p.settle(two)
	for n := 10; n < 60; n++ {
		s.write("UPDATE shop.things SET n = $2 WHERE id = $1", one, n)
		p.await()
		if a := p.ask(one); a.text != fmt.Sprint(n, " true") || a.level == cache.Local {
			t.Fatalf("after the change to %d: %+v", n, a)
		}
		if a := p.ask(two); a != (answer{"2 true", cache.Local, ""}) {
			t.Fatalf("what has not changed: %+v", a)
		}
		p.settle(one)
	}
	// What is not there yet can come to be there.
	three := uuid.Must(uuid.NewV7())
	p.until("the lack is kept", func() bool { return p.ask(three) == answer{"0 false", cache.Local, ""} })
	s.write("INSERT INTO shop.things (id, n) VALUES ($1, 3)", three)
	p.await()
	if a := p.ask(three); a.text != "3 true" {
		t.Errorf("what was inserted: %+v", a)
	}
	p.settle(three)
	s.write("DELETE FROM shop.things WHERE id = $1", three)
	p.await()
	if a := p.ask(three); a.text != "0 false" {
		t.Errorf("what was deleted: %+v", a)
	}
	p.settle(two)
	s.write("TRUNCATE shop.things")
	p.await()
	if a := p.ask(two); a.text != "0 false" {
		t.Errorf("what was truncated: %+v", a)
	}
}

// TestListsByColumn are void when a row comes to have the value, or has it no more.
func TestListsByColumn(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing := s.add(1)
	p := s.start(cache.Options{})
	count := func(color string) answer {
		return p.answer("count of "+color, func(ctx context.Context) (string, error) {
			n, _, err := postgres.First(ctx, p.db, postgres.Stmt{Name: "test.count", SQL: "SELECT count(*) FROM shop.things WHERE color = $1",
				Reads: thingByColor.OfTexts(color)}, pgx.RowTo[int], color)
			return fmt.Sprint(n), err
		})
	}
	kept := func(color, want string) {
		t.Helper()
		p.until(color+" is kept as "+want, func() bool { return count(color) == answer{want, cache.Local, ""} })
	}
	kept("red", "1")
	kept("blue", "0")
	kept("green", "0")
	s.write("UPDATE shop.things SET color = 'blue' WHERE id = $1", thing)
	p.await()
	for color, want := range map[string]answer{"red": {"0", cache.Miss, ""}, "blue": {"1", cache.Miss, ""}, "green": {"0", cache.Local, ""}} {
		got := count(color)
		got.why = ""
		if got != want {
			t.Errorf("%s: %+v, want %+v", color, got, want)
		}
	}
	kept("blue", "1")
	s.write("UPDATE shop.things SET color = NULL WHERE id = $1", thing)
	p.await()
	if got := count("blue"); got.text != "0" {
		t.Errorf("blue: %+v", got)
	}
}

// TestWhatIsNotKept is what can not be followed.
func TestWhatIsNotKept(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	p := s.start(cache.Options{})
	for why, read := range map[string]func(ctx context.Context) (string, error){
		"changes of shop.secrets are not followed": func(ctx context.Context) (string, error) {
			_, err := postgres.Select(ctx, p.db, postgres.Stmt{Name: "test.secrets", SQL: "SELECT id FROM shop.secrets", Reads: postgres.All("shop.secrets")}, pgx.RowTo[int])
			return "secrets", err
		},
		"statement test.undeclared does not say what it reads": func(ctx context.Context) (string, error) {
			_, err := postgres.Select(ctx, p.db, postgres.Stmt{Name: "test.undeclared", SQL: "SELECT n FROM shop.things"}, pgx.RowTo[int])
			return "undeclared", err
		},
		"the weather": func(ctx context.Context) (string, error) {
			postgres.Uncacheable(ctx, "the weather")
			return "weather", nil
		},
	} {
		for range 2 {
			if got := p.answer(why, read); got.level != cache.Miss || got.why != why {
				t.Errorf("%s: %+v", why, got)
			}
		}
	}
}

// TestChangeWhileFilling happens between the read of an answer and its being kept.
func TestChangeWhileFilling(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing := s.add(1)
	p := s.start(cache.Options{})
	a := p.ask(thing, func(context.Context) {
		s.write("UPDATE shop.things SET n = 2 WHERE id = $1", thing)
		p.await()
		// Whoever asks now, after the change was made known, does not join the answer that is under way and get the old one.
		done := make(chan answer)
		go func() { done <- p.ask(thing) }()
		t.Cleanup(func() {
			if a := <-done; a.text != "2 true" {
				t.Errorf("asked after the change: %+v", a)
			}
		})
	})
	if a != (answer{"1 true", cache.Miss, "changed meanwhile"}) {
		t.Errorf("the answer is %+v", a)
	}
	if a := p.ask(thing); a.text != "2 true" {
		t.Errorf("asked again: %+v", a)
	}
}

// TestChangeBeforeLanding happens between an answer's being found true and its being given to those who wait for it: whoever
// has come to wait after the change was made known gets another.
func TestChangeBeforeLanding(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing, other := s.add(1), s.add(1)
	landing, joined := cachetest.NewGate("landing"), cachetest.NewGate("joined")
	close(joined.Open)
	p := s.start(cache.Options{Delay: func(step string) { landing.Pass(step); joined.Pass(step) }})
	p.settle(other) // the clock runs
	landing.Closed.Store(true)
	early, later := make(chan answer, 1), make(chan answer, 1)
	go func() { early <- p.ask(thing) }()
	<-landing.Arrived
	s.write("UPDATE shop.things SET n = 2 WHERE id = $1", thing)
	p.await()
	joined.Closed.Store(true)
	go func() { later <- p.ask(thing) }()
	<-joined.Arrived
	close(landing.Open)
	if a := <-early; a != (answer{"1 true", cache.Miss, ""}) {
		t.Errorf("the first answer is %+v", a)
	}
	if a := <-later; a.text != "2 true" {
		t.Errorf("who came after the change was made known gets %+v", a)
	}
}

// TestFlights makes one answer for all who ask at once.
func TestFlights(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing := s.add(1)
	p := s.start(cache.Options{})
	var fills atomic.Int32
	begun, release := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	ask := func() {
		if a := p.ask(thing, func(context.Context) {
			if fills.Add(1) == 1 {
				close(begun)
			}
			<-release
		}); a.text != "1 true" {
			t.Errorf("%+v", a)
		}
	}
	group.Go(ask)
	<-begun
	var asking sync.WaitGroup
	for range 99 {
		asking.Add(1)
		group.Go(func() { asking.Done(); ask() })
	}
	asking.Wait()
	close(release)
	group.Wait()
	if n := fills.Load(); n != 1 {
		t.Errorf("100 who asked at once made %d answers", n)
	}
}

// TestTwoProcesses answer nothing older than a commit that one of them has awaited.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing := s.add(0)
	one, two := s.start(cache.Options{}), s.start(cache.Options{})
	var took []time.Duration
	for n := 1; n <= 200; n++ {
		one.settle(thing)
		two.settle(thing)
		s.write("UPDATE shop.things SET n = $2 WHERE id = $1", thing, n)
		start := time.Now()
		one.await()
		took = append(took, time.Since(start))
		if a := two.ask(thing); a.text != fmt.Sprint(n, " true") {
			t.Fatalf("the other process says %+v after %d", a, n)
		}
		if a := one.ask(thing); a.text != fmt.Sprint(n, " true") {
			t.Fatalf("the process itself says %+v after %d", a, n)
		}
	}
	t.Logf("the wait took %v", took[len(took)/2])
}

// TestFrozenProcess is waited for until its lease is over, and cut off.
func TestFrozenProcess(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing := s.add(1)
	one := s.start(cache.Options{})
	var frozen atomic.Pointer[chan struct{}]
	two := s.start(cache.Options{Delay: func(step string) {
		if c := frozen.Load(); c != nil && step == "decoded" {
			<-*c
		}
	}})
	two.settle(thing)
	ice := make(chan struct{})
	frozen.Store(&ice)
	s.write("UPDATE shop.things SET n = 2 WHERE id = $1", thing)
	start := time.Now()
	one.await()
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the wait took %v", took)
	}
	if a := two.ask(thing); a != (answer{"2 true", cache.Bypass, "the changes of the database are not followed"}) {
		t.Errorf("the process that does not follow says %+v", a)
	}
	// The next one does not wait for it.
	s.write("UPDATE shop.things SET n = 3 WHERE id = $1", thing)
	start = time.Now()
	one.await()
	if took := time.Since(start); took > 700*time.Millisecond {
		t.Errorf("the second wait took %v", took)
	}
	frozen.Store(nil)
	close(ice)
	two.until("it follows again", two.Ready)
	if a := two.settle(thing); a.text != "3 true" {
		t.Errorf("thawed it says %+v", a)
	}
}

// TestLeaseCountsFromTheNote freezes a process right after the server has shown its note, until it was cut off: what it then
// makes of that is no lease any more.
func TestLeaseCountsFromTheNote(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.NewCluster(t))
	thing := s.add(1)
	one := s.start(cache.Options{})
	noted, decoded, next := cachetest.NewGate("noted"), cachetest.NewGate("decoded"), cachetest.NewGate("applied")
	close(next.Open)
	two := s.start(cache.Options{Delay: func(step string) { noted.Pass(step); decoded.Pass(step); next.Pass(step) }})
	defer close(decoded.Open)
	two.settle(thing)
	noted.Closed.Store(true)
	<-noted.Arrived
	decoded.Closed.Store(true)
	s.write("UPDATE shop.things SET n = 2 WHERE id = $1", thing)
	<-decoded.Arrived
	one.await()
	next.Closed.Store(true)
	close(noted.Open)
	<-next.Arrived // it renews its lease once more
	if a := two.ask(thing); a != (answer{"2 true", cache.Bypass, "the changes of the database are not followed"}) {
		t.Errorf("the process that was cut off says %+v", a)
	}
}

// TestByAge keeps what is nobody's, and knows of no change.
func TestByAge(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing := s.add(1)
	p := s.start(cache.Options{ByAge: true})
	if a := p.ask(thing); a != (answer{"1 true", cache.Miss, ""}) {
		t.Errorf("the first answer is %+v", a)
	}
	s.write("UPDATE shop.things SET n = 2 WHERE id = $1", thing)
	p.await()
	if a := p.ask(thing); a != (answer{"1 true", cache.Local, ""}) {
		t.Errorf("the second answer is %+v", a)
	}
	for range 2 {
		r := cache.Get(t.Context(), p.Cache, key("mine"), true, func(context.Context) cache.Filled[string] {
			return cache.Filled[string]{Value: "x", Body: []byte("x"), MaxAge: time.Hour}
		})
		if r.Level != cache.Miss || r.Entry != nil {
			t.Errorf("one person's: %+v", r)
		}
	}
	for range 2 {
		r := cache.Get(t.Context(), p.Cache, key("old"), false, func(context.Context) cache.Filled[string] {
			return cache.Filled[string]{Value: "x", Body: []byte("x"), MaxAge: time.Nanosecond}
		})
		if r.Level != cache.Miss {
			t.Errorf("what is too old: %+v", r)
		}
	}
}

// TestEntriesSurviveEncoding keeps entries as they are, and takes nothing else for one.
func TestEntriesSurviveEncoding(t *testing.T) {
	t.Parallel()
	cache.CheckEncoding(t)
}

// TestAddressesThatDoNotFit are a pool and a direct address that lead to different databases, and a pool whose role does not see
// who follows: nothing is kept, because nobody would hear of changes, or wait for those who keep answers.
func TestAddressesThatDoNotFit(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t)
	s, another := newShop(t, c), newShop(t, c)
	c.Exec(t, s.url, "CREATE ROLE reader LOGIN", "GRANT USAGE ON SCHEMA shop TO reader", "GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA shop TO reader")
	thing := s.add(1)
	reader := shop{t: t, url: c.URLAs(t, s.url, "reader")}
	for _, x := range []struct {
		says   string
		pool   *postgres.DB
		direct string
	}{
		{"is not the one that is followed", s.open(), another.url},
		{"may not see who else follows", reader.open(), s.url},
	} {
		source := cache.Source{Domains: []string{"shop"}, DB: x.pool, Direct: x.direct}
		one, err := cache.New(cache.Options{Sources: []cache.Source{source}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = one.Run(ctx) }()
		p := &process{one, t, x.pool}
		p.until(x.says, func() bool { return p.Ready() || strings.Contains(p.State()["shop"], x.says) })
		for range 2 {
			if a := p.ask(thing); a.level != cache.Bypass || a.text != "1 true" {
				t.Errorf("%s: %+v", x.says, a)
			}
		}
		cancel()
		<-done
	}
	c.Exec(t, s.url, "GRANT pg_read_all_stats TO reader")
	if a := s.startWith(reader.open(), cache.Options{}).settle(thing); a.text != "1 true" {
		t.Errorf("once it may: %+v", a)
	}
}

// TestTablesThatMigrationsPublish are looked at again after a migration: what is read from a table whose changes are told no
// more is kept no more, and what is told again is kept again.
func TestTablesThatMigrationsPublish(t *testing.T) {
	t.Parallel()
	s := newShop(t, pgtest.CommonCluster(t))
	thing := s.add(0)
	p := s.start(cache.Options{})
	for n := 1; n < 7; n += 2 {
		p.settle(thing)
		s.write("ALTER PUBLICATION emporium DROP TABLE shop.things")
		s.write("INSERT INTO shop.schema_migrations VALUES ($1)", n)
		p.await()
		p.until("it is known that changes are not told", func() bool { return p.ask(thing).why == "changes of shop.things are not followed" })
		s.write("UPDATE shop.things SET n = $2 WHERE id = $1", thing, n)
		p.await()
		if a := p.ask(thing); a.text != fmt.Sprint(n, " true") || a.level == cache.Local {
			t.Errorf("of a table whose changes are not told: %+v", a)
		}
		s.write("ALTER PUBLICATION emporium ADD TABLE shop.things")
		s.write("INSERT INTO shop.schema_migrations VALUES ($1)", n)
		p.settle(thing)
		s.write("UPDATE shop.things SET n = $2 WHERE id = $1", thing, n+1)
		p.await()
		if a := p.ask(thing); a.text != fmt.Sprint(n+1, " true") {
			t.Errorf("of a table whose changes are told again: %+v", a)
		}
	}
}

// TestSnapshots knows of each commit whether new snapshots see it, however many transactions there have been.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	cache.CheckSnapshots(t)
}

// TestLostProcess is one whose connection is gone, which it has not noticed: nobody sees it any more, and it may answer from its
// cache for as long as its lease lasts.
func TestLostProcess(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t) // so that no other test's process is lost
	s := newShop(t, c)
	thing, other := s.add(1), s.add(1)
	one := s.start(cache.Options{})
	var frozen atomic.Pointer[chan struct{}]
	two := s.start(cache.Options{Delay: func(step string) {
		if c := frozen.Load(); c != nil && step == "decoded" {
			<-*c
		}
	}})
	for n := 2; n < 6; n++ {
		two.until("it follows", two.Ready)
		two.settle(thing)
		ice := make(chan struct{})
		frozen.Store(&ice)
		s.write("UPDATE shop.things SET n = n + 1 WHERE id = $1", other) // which it is in the middle of when its connection goes
		s.write(`SELECT pg_terminate_backend(pid) FROM pg_stat_replication ORDER BY backend_start DESC LIMIT 1`)
		two.until("the connection is gone", func() bool {
			n, _, err := postgres.First(context.Background(), s.db, postgres.Stmt{Name: "test.followers", SQL: "SELECT count(*) FROM pg_stat_replication"}, pgx.RowTo[int])
			return err == nil && n == 1
		})
		s.write("UPDATE shop.things SET n = $2 WHERE id = $1", thing, n)
		start := time.Now()
		one.await()
		took := time.Since(start)
		if a := two.ask(thing); a.text != fmt.Sprint(n, " true") {
			t.Errorf("after a wait of %v the lost process says %+v, not %d", took, a, n)
		}
		if took > 1500*time.Millisecond {
			t.Errorf("the wait took %v", took)
		}
		frozen.Store(nil)
		close(ice)
	}
}

// TestStartingProcess waits for a transaction before it can follow, and nobody waits for it until it does.
func TestStartingProcess(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t)
	s := newShop(t, c)
	thing := s.add(1)
	one := s.start(cache.Options{})
	long, err := c.Pool(t, s.url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := long.Exec(t.Context(), "UPDATE shop.things SET color = 'green'"); err != nil {
		t.Fatal(err)
	}
	ready := make(chan *process)
	go func() { ready <- s.start(cache.Options{}) }()
	one.until("the other one waits", func() bool {
		n, _, err := postgres.First(context.Background(), s.db, postgres.Stmt{Name: "test.followers", SQL: "SELECT count(*) FROM pg_stat_replication"}, pgx.RowTo[int])
		return err == nil && n == 2
	})
	for n := 2; n < 5; n++ {
		s.write("INSERT INTO shop.things (id, n) VALUES (gen_random_uuid(), 1)")
		start := time.Now()
		one.await()
		if took := time.Since(start); took > 250*time.Millisecond {
			t.Errorf("a commit has waited %v for a process that can not answer from its cache yet", took)
		}
	}
	ended := time.Now()
	if err := long.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	two := <-ready
	if took := time.Since(ended); took > 3*time.Second {
		t.Errorf("the other process began %v after the transaction had ended", took)
	}
	if a := two.settle(thing); a.text != "1 true" {
		t.Errorf("it says %+v", a)
	}
}

// TestInvisibleAtTheBeginning is a commit that lies in the log before the place from which on it is told, and becomes visible
// after an answer was read without it.
func TestInvisibleAtTheBeginning(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t)
	s := newShop(t, c)
	thing, other, third := s.add(1), s.add(1), s.add(1)
	pool := c.Pool(t, s.url)
	p := &process{t: t, db: s.db}
	is := func(sql string, args ...any) func() bool {
		return func() bool {
			var yes bool
			err := pool.QueryRow(t.Context(), sql, args...).Scan(&yes)
			return err == nil && yes
		}
	}
	begin := func(id uuid.UUID) (pgx.Tx, string) {
		t.Helper()
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var xid string
		if err := tx.QueryRow(t.Context(), "UPDATE shop.things SET n = n + 1 WHERE id = $1 RETURNING pg_current_xact_id()::text", id).Scan(&xid); err != nil {
			t.Fatal(err)
		}
		return tx, xid
	}
	// A commit is held between log and visibility by a standby that does not come, until it is canceled.
	const held, release = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')", "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
	c.Exec(t, s.url, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
	commit := func(tx pgx.Tx) chan error {
		done := make(chan error, 1)
		go func() { done <- tx.Commit(context.Background()) }()
		return done
	}
	p.until("commits are held", func() bool {
		tx, _ := begin(third)
		done := commit(tx)
		for {
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				return false
			default:
			}
			if is(held)() {
				c.Exec(t, s.url, release)
				<-done
				return true
			}
		}
	})

	waiting := "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' AND transactionid = $1::xid)"
	before, beforeID := begin(other)
	ready := make(chan *process)
	go func() { ready <- s.start(cache.Options{}) }()
	p.until("the slot waits for what runs", is(waiting, beforeID))
	while, whileID := begin(third)
	if err := before.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.until("the slot waits for what ran then", is(waiting, whileID))
	tx, _ := begin(thing)
	done := commit(tx)
	p.until("the commit is held", is(held))
	if err := while.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	follower := <-ready
	for range 3 {
		if a := follower.ask(thing); a.text != "1 true" || a.level == cache.Local {
			t.Errorf("before the commit is visible: %+v", a)
		}
	}
	c.Exec(t, s.url, release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	follower.until("the change is told", func() bool { return follower.ask(thing).text == "2 true" })
}
