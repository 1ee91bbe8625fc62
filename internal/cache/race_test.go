//go:build unix

package cache_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/internal/cache"
	"emporium/internal/cache/remote"
	"emporium/internal/postgres"
	"emporium/internal/postgres/logical"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/redisclient"
	"emporium/internal/redisclient/redistest"
	"emporium/internal/seal"
)

// raceFor is how long each of the races here runs: a quarter of EMPORIUM_RACE_SECONDS, or a few seconds.
func raceFor(t testing.TB) time.Duration {
	t.Helper()
	text := os.Getenv("EMPORIUM_RACE_SECONDS")
	if text == "" {
		return 4 * time.Second
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("EMPORIUM_RACE_SECONDS is %q", text)
	}
	return time.Duration(n) * time.Second / 4
}

// raceSeed is what all that is random in a race comes from. What goroutines and servers do beside is not repeated by it.
func raceSeed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("EMPORIUM_RACE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("EMPORIUM_RACE_SEED is %q", text)
		}
	}
	t.Logf("EMPORIUM_RACE_SEED=%d", seed)
	return seed
}

// dice are random numbers for many goroutines.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newDice(seed, of uint64) *dice { return &dice{r: rand.New(rand.NewPCG(seed, of))} }

func (d *dice) roll(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// hold takes a while at one of so many steps: mostly microseconds, so that others come first, rarely so long that a lease runs
// out.
func (d *dice) hold(one, in int) {
	if d.roll(in) >= one {
		return
	}
	pause := time.Duration(d.roll(2000)) * time.Microsecond
	switch d.roll(400) {
	case 0:
		pause = time.Duration(d.roll(900)) * time.Millisecond
	case 1, 2, 3, 4:
		pause *= 25
	}
	time.Sleep(pause)
}

// register is a thing whose n only grows. It is the unit of the check: who asks after a change was answered sees that change or a
// later one.
type register struct {
	shop     int
	id       uuid.UUID
	writing  sync.Mutex
	issued   atomic.Int64 // the highest n that anybody has tried to write
	answered atomic.Int64 // the highest n that was written and awaited
}

// race is readers and writers of some databases by way of several caches.
type race struct {
	t         *testing.T
	seed      uint64
	shops     []*shop
	registers []*register
	caches    []*raced
	pools     []*pgxpool.Pool // one for each shop, behind the back of all caches

	stale, reads, writes atomic.Int64
	levels               sync.Map // of cache.Level: *atomic.Int64
}

// raced is a cache with pools of its own.
type raced struct {
	*cache.Cache
	dbs []*postgres.DB
}

type raceOptions struct {
	shops, caches int
	naive         bool
	redis         string // URL; empty: there is none
	delays        bool
}

func newRace(t *testing.T, c *pgtest.Cluster, o raceOptions) *race {
	t.Helper()
	r := &race{t: t, seed: raceSeed(t)}
	for range o.shops {
		s := newShopIn(t, c, domainOf(len(r.shops)))
		r.pools = append(r.pools, c.Pool(t, s.url))
		for range 6 {
			r.registers = append(r.registers, &register{shop: len(r.shops), id: s.add(0)})
		}
		r.shops = append(r.shops, s)
	}
	sealer, err := seal.NewSealer(seal.New())
	if err != nil {
		t.Fatal(err)
	}
	for i := range o.caches {
		one := &raced{}
		options := cache.Options{Naive: o.naive, Log: slog.New(slog.DiscardHandler)}
		for n, s := range r.shops {
			db := s.open()
			one.dbs = append(one.dbs, db)
			options.Sources = append(options.Sources, cache.Source{Domains: []string{domainOf(n)}, DB: db, Direct: s.url})
		}
		if o.redis != "" {
			client, err := redisclient.Open(o.redis, 8)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = client.Close() })
			options.Remote = remote.New(remote.Options{Client: client, Sealer: sealer, TTL: time.Minute, Log: options.Log})
		}
		if o.delays {
			d := newDice(r.seed, uint64(100+i))
			options.Delay = func(string) { d.hold(1, 8) }
		}
		if one.Cache, err = cache.New(options); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = one.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		r.caches = append(r.caches, one)
	}
	for _, one := range r.caches {
		redistest.Eventually(t, "the caches can be used", one.Ready)
	}
	return r
}

// domainOf is the schema of a database of a race.
func domainOf(n int) string {
	if n == 0 {
		return "shop"
	}
	return "shop" + strconv.Itoa(n)
}

// thingsOf are the columns by which the things of each database are told apart.
var thingsOf = []postgres.Column{postgres.ColumnOf("shop.things", "id"), postgres.ColumnOf("shop1.things", "id"),
	postgres.ColumnOf("shop2.things", "id"), postgres.ColumnOf("shop3.things", "id")}

// n reads a register.
func (one *raced) n(ctx context.Context, g *register) (int64, error) {
	n, ok, err := postgres.First(ctx, one.dbs[g.shop], postgres.Stmt{Name: "test.n", SQL: "SELECT n FROM " + domainOf(g.shop) + ".things WHERE id = $1",
		Reads: thingsOf[g.shop].Of(g.id)}, pgx.RowTo[int64], g.id)
	if err == nil && !ok {
		err = fmt.Errorf("there is no %s", g.id)
	}
	return n, err
}

// ask answers with the numbers of some registers.
func (r *race) ask(ctx context.Context, one *raced, of []*register) ([]int64, cache.Level, error) {
	question := "numbers"
	for _, g := range of {
		question += " " + g.id.String()
	}
	type numbers struct {
		n   []int64
		err error
	}
	got := cache.Get(ctx, one.Cache, key(question), len(of) > 1, func(ctx context.Context) cache.Filled[numbers] {
		var v numbers
		var text []string
		for _, g := range of {
			n, err := one.n(ctx, g)
			if err != nil {
				return cache.Filled[numbers]{Value: numbers{err: err}, Why: "an error"}
			}
			v.n = append(v.n, n)
			text = append(text, strconv.FormatInt(n, 10))
		}
		return cache.Filled[numbers]{Value: v, Body: []byte(strings.Join(text, " ")), MaxAge: time.Minute}
	})
	if got.Value.err != nil || got.Value.n != nil || got.Entry == nil {
		return got.Value.n, got.Level, got.Value.err
	}
	var n []int64
	for _, text := range strings.Fields(string(got.Entry.Body)) {
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, got.Level, err
		}
		n = append(n, number)
	}
	return n, got.Level, nil
}

// read asks once and checks the answer.
func (r *race) read(ctx context.Context, d *dice) {
	one := r.caches[d.roll(len(r.caches))]
	of := []*register{r.registers[d.roll(len(r.registers))]}
	if d.roll(3) == 0 { // what is made of several, of all databases
		of = nil
		for i := d.roll(3); i < len(r.registers); i += 3 {
			of = append(of, r.registers[i])
		}
	}
	least := make([]int64, len(of))
	for i, g := range of {
		least[i] = g.answered.Load()
	}
	n, level, err := r.ask(ctx, one, of)
	if err != nil {
		if ctx.Err() == nil {
			r.t.Errorf("a read: %v", err)
		}
		return
	}
	r.reads.Add(1)
	count, _ := r.levels.LoadOrStore(level, new(atomic.Int64))
	count.(*atomic.Int64).Add(1)
	for i, g := range of {
		if n[i] < least[i] && r.stale.Add(1) <= 5 {
			r.t.Logf("STALE: %s of database %d is %d (%s) after %d was answered", g.id, g.shop, n[i], level, least[i])
		}
		if most := g.issued.Load(); n[i] > most {
			r.t.Errorf("%s is %d, of which only %d was written", g.id, n[i], most)
		}
	}
}

// write changes a register, by way of a cache or behind the back of all.
func (r *race) write(ctx context.Context, d *dice) {
	g := r.registers[d.roll(len(r.registers))]
	g.writing.Lock()
	defer g.writing.Unlock()
	n := g.issued.Add(1)
	sql := "UPDATE " + domainOf(g.shop) + ".things SET n = $2 WHERE id = $1"
	if d.roll(4) == 0 {
		if _, err := r.pools[g.shop].Exec(ctx, sql, g.id, n); err != nil && ctx.Err() == nil {
			r.t.Errorf("a write behind the back: %v", err)
		}
		return
	}
	one := r.caches[d.roll(len(r.caches))]
	recorded, recorder := postgres.Record(ctx)
	if _, err := postgres.Exec(recorded, one.dbs[g.shop], postgres.Stmt{Name: "test.write", SQL: sql}, g.id, n); err != nil {
		if ctx.Err() == nil {
			r.t.Errorf("a write: %v", err)
		}
		return
	}
	if err := one.Await(ctx, recorder.Used()); err != nil && ctx.Err() == nil {
		r.t.Logf("an await: %v", err)
	}
	g.answered.Store(n)
	r.writes.Add(1)
}

// run lets readers and writers loose for a time, or until something stale is read if that is what is wanted.
func (r *race) run(d time.Duration, untilStale bool, meanwhile ...func(ctx context.Context, d *dice)) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	defer cancel()
	var group sync.WaitGroup
	loop := func(of uint64, f func(ctx context.Context, d *dice)) {
		group.Go(func() {
			for d := newDice(r.seed, of); ctx.Err() == nil && !(untilStale && r.stale.Load() > 0); {
				f(context.WithoutCancel(ctx), d)
			}
		})
	}
	for i := range 8 {
		loop(uint64(i), r.read)
	}
	for i := range 3 {
		loop(uint64(20+i), r.write)
	}
	for i, f := range meanwhile {
		loop(uint64(40+i), f)
	}
	group.Wait()
	levels := ""
	r.levels.Range(func(level, n any) bool {
		levels += fmt.Sprintf(" %s %d", level, n.(*atomic.Int64).Load())
		return true
	})
	r.t.Logf("%d writes awaited, %d reads, %d stale;%s", r.writes.Load(), r.reads.Load(), r.stale.Load(), levels)
}

func (r *race) fresh() {
	r.t.Helper()
	if n := r.stale.Load(); n > 0 {
		r.t.Errorf("%d answers were older than a change that was answered before they were asked for", n)
	}
	if r.writes.Load() == 0 || r.reads.Load() == 0 {
		r.t.Error("nothing was looked at")
	}
}

// TestRace checks several caches of one database.
func TestRace(t *testing.T) {
	r := newRace(t, pgtest.CommonCluster(t), raceOptions{shops: 1, caches: 3, delays: true})
	r.run(raceFor(t), false)
	r.fresh()
}

// TestRaceWithRedis checks caches that share what they keep, of four databases.
func TestRaceWithRedis(t *testing.T) {
	r := newRace(t, pgtest.CommonCluster(t), raceOptions{shops: 4, caches: 2, delays: true, redis: redistest.New(t).URL()})
	r.run(raceFor(t), false)
	r.fresh()
}

// TestRaceWithLostConnections ends the connections by which the caches follow at random moments.
func TestRaceWithLostConnections(t *testing.T) {
	c := pgtest.CommonCluster(t)
	r := newRace(t, c, raceOptions{shops: 1, caches: 3, delays: true, redis: redistest.New(t).URL()})
	r.run(raceFor(t), false, func(ctx context.Context, d *dice) {
		time.Sleep(time.Duration(d.roll(700)) * time.Millisecond)
		if _, err := r.pools[0].Exec(ctx, `SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_replication
			WHERE application_name = 'emporium_cache_' || (SELECT oid FROM pg_database WHERE datname = current_database())
			ORDER BY random() LIMIT 1) AS one`); err != nil {
			t.Errorf("end a connection: %v", err)
		}
	})
	r.fresh()
}

// TestRaceWithLateCommits checks that a commit that is in the log, and not to be seen yet, is waited for: a standby that is slow
// holds every commit between the two.
func TestRaceWithLateCommits(t *testing.T) {
	c := pgtest.NewCluster(t)
	r := newRace(t, c, raceOptions{shops: 1, caches: 2, redis: redistest.New(t).URL()})
	followLate(t, c, r.shops[0].url, newDice(r.seed, 200))
	r.run(raceFor(t), false)
	r.fresh()
}

// followLate follows a database as a synchronous standby that takes its time, until the test ends.
func followLate(t *testing.T, c *pgtest.Cluster, url string, d *dice) {
	t.Helper()
	stream, err := logical.Open(t.Context(), logical.Options{URL: url, Publication: cache.Publication, Application: "late"})
	if err != nil {
		t.Fatal(err)
	}
	s := &late{moved: make(chan logical.LSN, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = stream.Run(ctx, s) })
	group.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case at := <-s.moved:
				time.Sleep(time.Duration(d.roll(15)) * time.Millisecond)
				_ = stream.Confirm(at, time.Now()) // fails when it has ended
			}
		}
	})
	t.Cleanup(func() {
		c.Exec(noCancel{t}, url, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
		cancel()
		group.Wait()
	})
	c.Exec(t, url, "ALTER SYSTEM SET synchronous_standby_names = 'late'", "SELECT pg_reload_conf()")
}

// noCancel is a test whose context lasts while it cleans up.
type noCancel struct{ testing.TB }

func (n noCancel) Context() context.Context { return context.WithoutCancel(n.TB.Context()) }

// late is told how far the log is.
type late struct{ moved chan logical.LSN }

func (s *late) Position(end logical.LSN) {
	select { // the latest is what counts
	case <-s.moved:
	default:
	}
	s.moved <- end
}

func (s *late) Begin(uint32, logical.LSN)               {}
func (s *late) Changed(*logical.Relation)               {}
func (s *late) Row(*logical.Relation, int, []byte)      {}
func (s *late) Truncate(*logical.Relation)              {}
func (s *late) Schema(*logical.Relation)                {}
func (s *late) Commit(uint32, logical.LSN, logical.LSN) {}

// TestRaceFindsNaive checks the check: a cache that forgets what its own process changes, and nothing else, is found out.
func TestRaceFindsNaive(t *testing.T) {
	r := newRace(t, pgtest.CommonCluster(t), raceOptions{shops: 1, caches: 2, naive: true})
	r.run(20*time.Second, true)
	if r.stale.Load() == 0 {
		t.Error("a cache that hears of nothing was taken for a good one")
	}
}
