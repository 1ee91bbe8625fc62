package cache

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"emporium/internal/postgres"
	"emporium/internal/postgres/logical"
)

// These bound how long an answer may be used that the database has gone past.
const (
	// leaseTime is how long a process may use the cache after the database has last confirmed how far it has followed.
	leaseTime = 500 * time.Millisecond
	// renewEvery leaves room for two renewals that fail.
	renewEvery = 150 * time.Millisecond
	// pollEvery is how often is asked whether something has happened that takes less than a millisecond as a rule.
	pollEvery = time.Millisecond

	retryAfter     = time.Second // after the connection was lost
	mostRetry      = 15 * time.Second
	queryTimeout   = 5 * time.Second
	confirmTimeout = 400 * time.Millisecond // a renewal that takes longer has failed
	maxInvisible   = 1 << 16                // commits that snapshots do not show yet
)

// Publication is the name of the one that migrations make in each database.
const Publication = "emporium"

// application is the name, with the OID of the database, by which processes find each other's connections.
const application = "emporium_cache_"

// Follower follows the log of one database and knows from it which tags have changed when. It is safe for concurrent use.
type Follower struct {
	Name string // of the database, for people

	db     *postgres.DB
	direct string
	log    *slog.Logger

	stamps  *stamps
	epoch   atomic.Uint64 // which history of which database the positions are of; 0 while that is not known
	floor   atomic.Uint64 // what was read before this position is void
	applied atomic.Uint64 // all that was committed before this position is stamped
	clock   atomic.Uint64 // all that was committed before this position is also seen by new snapshots; 0 while not known
	lease   atomic.Int64  // until when (see now) the cache may be used
	caught  atomic.Int64  // when (see now) it had last caught up with the log
	own     atomic.Int32  // process ID of our connection's backend
	last    atomic.Int64  // the latest time given to the server, in microseconds
	peers   peers

	self peer // our connection, once it was seen; of the goroutine that keeps the lease

	mu        sync.Mutex
	at        uint64        // position of the transaction that is being told
	invisible []invisible   // commits in the order of the log that snapshots may not show yet
	waiting   int           // for the position to move
	moved     chan struct{} // closed when it does, if somebody waits
	published map[string]bool
	migrated  uint64 // position of a migration after which it is not known what is published; 0: none
	state     string

	onChange   func(relation string) // of each row
	onEpoch    func()
	onStamp    func(slot uint32)
	onVoid     func()
	delay      func(step string) // for tests
	wakeClock  chan struct{}
	wakeAnswer chan struct{}
	confirming sync.Mutex
}

// invisible is a commit.
type invisible struct {
	xid uint32
	at  uint64
}

// mark is the moment before the first read of an answer.
type mark struct{ epoch, at uint64 }

// began is when the process's monotonic time begins.
var began = time.Now()

// now is the process's monotonic time.
func now() int64 { return int64(time.Since(began)) }

func newFollower(name string, db *postgres.DB, direct string, log *slog.Logger) *Follower {
	return &Follower{Name: name, db: db, direct: direct, log: log.With("database", name), stamps: new(stamps), moved: make(chan struct{}),
		wakeClock: make(chan struct{}, 1), wakeAnswer: make(chan struct{}, 1), state: "starting",
		onChange: func(string) {}, onEpoch: func() {}, onStamp: func(uint32) {}, onVoid: func() {}, delay: func(string) {}}
}

// leased reports whether the cache may be used at a moment.
func (f *Follower) leased(now int64) bool { return now < f.lease.Load() }

// mark notes the moment before a read; ok is false if what is read can not be kept.
func (f *Follower) mark() (m mark, ok bool) {
	m.epoch = f.epoch.Load()
	m.at = f.clock.Load()
	return m, m.epoch != 0 && m.at != 0 && f.epoch.Load() == m.epoch
}

// fresh reports whether nothing that was read has changed since. It says nothing about the lease.
func (f *Follower) fresh(m mark, read []uint32) bool {
	// The floor is looked at last: it rises before stamps are cleared.
	return !f.stamps.newer(read, m.at) && m.epoch == f.epoch.Load() && m.at >= f.floor.Load()
}

// follows reports whether changes of a relation are told.
func (f *Follower) follows(relation string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.published[relation]
}

// State says in words how the follower is.
func (f *Follower) State() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == "" && !f.leased(now()) {
		return "catching up"
	}
	return f.state
}

func (f *Follower) setState(state string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = state
}

// Run follows until ctx is done. Whatever goes wrong ends the lease, so that the cache is not used, and is tried again.
func (f *Follower) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { f.watch(ctx) })
	said, pause := "", retryAfter
	for ctx.Err() == nil {
		err := f.follow(ctx)
		f.lease.Store(0)
		if ctx.Err() != nil {
			return nil
		}
		var setup *logical.SetupError
		if !errors.As(err, &setup) {
			pause = retryAfter
		}
		f.setState(err.Error())
		if err.Error() != said {
			said = err.Error()
			f.log.WarnContext(ctx, "the response cache is not used: the changes of the database can not be followed; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, mostRetry) // of what takes an operator
	}
	return nil
}

// follow follows over one connection.
func (f *Follower) follow(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	side, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
		defer cancel()
		_ = side.Close(closing)
	}()
	id, err := f.identify(ctx, side)
	if err != nil {
		return err
	}
	if f.State() == "starting" {
		f.setState("waiting for transactions that run in the cluster")
	}
	stream, err := logical.Open(ctx, logical.Options{URL: f.direct, Publication: Publication, Application: application + id.Database,
		Wants: wants, Timeout: queryTimeout, StartTimeout: 5 * time.Minute})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	first, err := f.begin(ctx, stream, side, id)
	if err != nil {
		return err
	}
	defer f.end()
	group.Go(func() error { return stream.Run(ctx, (*sink)(f)) })
	group.Go(func() error { return f.answer(ctx, stream) })
	group.Go(func() error { return f.keep(ctx, stream, side, first) })
	err = group.Wait()
	if err == nil {
		err = errors.New("the connection has ended")
	}
	return err
}

// wants are the columns of a relation whose values are tags.
func wants(schema, table string) []string {
	var names []string
	for name := range postgres.Columns(schema + "." + table) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (f *Follower) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	config, err := pgx.ParseConfig(f.direct)
	if err != nil {
		return nil, errors.New("the address of the database can not be parsed")
	}
	config.RuntimeParams["application_name"] = "emporium"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// identity is what tells histories of databases apart.
type identity struct {
	Standby  bool
	Reads    bool   // who follows, and how far
	Database string // OID
	Primary  string // since when the server takes writes, in microseconds
}

// identifying reads it. The writer of the log is started when a server begins to take writes: at its start, after a crash, when
// it is promoted.
var identifying = postgres.Stmt{Name: "cache.identify", Volatile: true, SQL: `
SELECT pg_is_in_recovery(), pg_has_role('pg_read_all_stats', 'USAGE'), (SELECT oid::text FROM pg_database WHERE datname = current_database()),
	coalesce((SELECT (extract(epoch FROM backend_start) * 1e6)::bigint::text FROM pg_stat_activity WHERE backend_type = 'walwriter'), '')`}

// identify looks at the database by way of a connection that is to follow it, and of the pool by which it is read: what is
// followed has to be what is read, and who commits by the pool has to see there who follows.
func (f *Follower) identify(ctx context.Context, conn *pgx.Conn) (id identity, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	rows, err := conn.Query(ctx, identifying.SQL)
	if err == nil {
		id, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[identity])
	}
	if err != nil {
		return id, fmt.Errorf("look at the database: %w", err)
	}
	read, _, err := postgres.First(ctx, f.db, identifying, pgx.RowToStructByPos[identity])
	switch {
	case err != nil:
		return id, fmt.Errorf("look at the database: %w", err)
	case id.Standby:
		return id, &logical.SetupError{Problem: "the database is a standby", Remedy: "give the address of the primary (DATABASE_DIRECT_URL)"}
	case !id.Reads || !read.Reads:
		return id, &logical.SetupError{Problem: "the role may not see who else follows", Remedy: "GRANT pg_read_all_stats (or pg_monitor) to it, " +
			"and to that of DATABASE_URL if it is another"}
	case id != read:
		return id, errors.New("the database that is read is not the one that is followed: DATABASE_DIRECT_URL has to lead to the database of DATABASE_URL")
	}
	return id, nil
}

func (i identity) epoch(system string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s", system, i.Database, i.Primary)
	return h.Sum64() | 1 // never 0
}

// begin takes up a stream whose slot is consistent: all that is committed from here on will be told. What was kept before
// is void.
func (f *Follower) begin(ctx context.Context, stream *logical.Stream, side *pgx.Conn, id identity) ([]uint32, error) {
	start, epoch := uint64(stream.Consistent()), id.epoch(stream.System())
	f.lease.Store(0)
	f.epoch.Store(0)
	f.clock.Store(0)
	f.floor.Store(start)
	f.stamps.clear()
	f.applied.Store(start)
	f.own.Store(int32(stream.PID()))
	f.epoch.Store(epoch)
	f.onEpoch()
	f.onVoid()
	f.mu.Lock()
	f.invisible = nil
	f.published, f.migrated = setOf(stream.Published()), 0
	f.mu.Unlock()
	// What was committed before the slot was consistent is not told, and may still be waiting to become visible. A snapshot
	// names what runs among the transactions before the last one that has ended, so there has to be one that has ended since.
	if err := endOne(ctx, side); err != nil {
		return nil, err
	}
	running, err := snapshotOf(ctx, side)
	if err != nil {
		return nil, err
	}
	var first []uint32
	for xid := range running.running {
		first = append(first, uint32(xid))
	}
	return first, nil
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// end gives up what was true of a stream.
func (f *Follower) end() {
	f.lease.Store(0)
	f.epoch.Store(0)
	f.clock.Store(0)
	f.peers.leave(f.self)
	f.own.Store(0)
}

// sink is the follower as what is told of the log.
type sink Follower

func (s *sink) follower() *Follower { return (*Follower)(s) }

// Begin begins a transaction.
func (s *sink) Begin(_ uint32, commit logical.LSN) {
	// One more than the place of its commit: that of the commit before may end where this one begins.
	s.follower().at = uint64(commit) + 1
}

// relation is what is known of a relation.
type relation struct {
	whole      uint32
	columns    []postgres.Column
	name       string
	migrations bool
}

func (f *Follower) relation(r *logical.Relation) *relation {
	if known, ok := r.Tag.(*relation); ok {
		return known
	}
	name := r.Schema + "." + r.Name
	known := &relation{whole: slotOf(postgres.WholeTag(name)), name: name, migrations: r.Name == "schema_migrations"}
	columns := postgres.Columns(name)
	for _, c := range r.Columns {
		known.columns = append(known.columns, columns[c])
	}
	r.Tag = known
	return known
}

// Changed stamps a relation.
func (s *sink) Changed(r *logical.Relation) {
	f := s.follower()
	of := f.relation(r)
	if of.migrations {
		f.mu.Lock()
		f.published, f.migrated = nil, f.at
		f.mu.Unlock()
		f.floor.Store(f.at)
		f.onVoid()
	}
	f.stamps.put(of.whole, f.at)
	f.onStamp(of.whole)
	f.onChange(of.name)
}

// Row stamps a value.
func (s *sink) Row(r *logical.Relation, column int, value []byte) {
	f := s.follower()
	slot := slotOf(f.relation(r).columns[column].Tag(value))
	f.stamps.put(slot, f.at)
	f.onStamp(slot)
}

// Truncate voids everything.
func (s *sink) Truncate(*logical.Relation) {
	f := s.follower()
	f.floor.Store(f.at)
	f.onVoid()
}

// Schema voids everything: a table has other columns than before.
func (s *sink) Schema(*logical.Relation) {
	f := s.follower()
	f.floor.Store(max(f.at, f.applied.Load()+1))
	f.onVoid()
}

// Commit notes that a transaction may not be visible yet.
func (s *sink) Commit(xid uint32, _, _ logical.LSN) {
	f := s.follower()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.invisible = append(f.invisible, invisible{xid, f.at})
}

// Position tells whoever waits that all before it is stamped.
func (s *sink) Position(end logical.LSN) {
	f := s.follower()
	f.delay("decoded")
	if uint64(end) <= f.applied.Load() {
		return
	}
	f.mu.Lock()
	f.applied.Store(uint64(end))
	if f.waiting > 0 {
		close(f.moved)
		f.moved = make(chan struct{})
	}
	f.mu.Unlock()
	wake(f.wakeClock)
	wake(f.wakeAnswer)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// answer tells the server how far has been applied, which is how other processes learn it.
func (f *Follower) answer(ctx context.Context, stream *logical.Stream) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wakeAnswer:
		}
		if err := f.confirm(stream, f.next()); err != nil {
			return err
		}
	}
}

// confirm says how far has been applied, in the order in which it is.
func (f *Follower) confirm(stream *logical.Stream, at time.Time) error {
	f.confirming.Lock()
	defer f.confirming.Unlock()
	f.delay("applied")
	if err := stream.Confirm(logical.LSN(f.applied.Load()), at); err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	return nil
}

// next returns the time, in microseconds, later than whatever it has returned before.
func (f *Follower) next() time.Time {
	for {
		last := f.last.Load()
		at := max(time.Now().UnixMicro(), last+1)
		if f.last.CompareAndSwap(last, at) {
			return time.UnixMicro(at)
		}
	}
}

// keep moves the clock and renews the lease. First are the transactions that ran when the slot had become consistent.
func (f *Follower) keep(ctx context.Context, stream *logical.Stream, side *pgx.Conn, first []uint32) error {
	f.mu.Lock()
	for _, xid := range first {
		f.invisible = slices.Insert(f.invisible, 0, invisible{xid: xid})
	}
	f.mu.Unlock()
	renewal := renewal{follower: f, stream: stream, side: side}
	timer := time.NewTimer(0)
	defer timer.Stop()
	wake(f.wakeClock)
	look := pollEvery
	for {
		pause, clock := time.Until(renewal.due), f.clock.Load()
		behind, err := f.advance(ctx, side)
		if err != nil {
			return err
		}
		if err := f.republish(ctx, side); err != nil {
			return err
		}
		if renewal.sent != 0 || pause <= 0 {
			if err := renewal.step(ctx); err != nil {
				return err
			}
			pause = time.Until(renewal.due)
			if renewal.sent != 0 { // often at first, then ever less so
				pause = min(max(pollEvery, time.Duration(now()-renewal.sent)/8), renewEvery/4)
			}
		}
		if !behind || f.clock.Load() != clock {
			look = pollEvery
		}
		if behind { // by milliseconds as a rule, or until a standby has confirmed, or a transaction of before ends
			pause = min(pause, look)
			look = min(2*look, 16*pollEvery)
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return nil
		case <-f.wakeClock:
		case <-timer.C:
		}
	}
}

// advance moves the clock as far as new snapshots see, and reports whether that is less than what is applied.
//
// The log shows a commit before snapshots do: a transaction is decoded once its commit is written, and leaves the list of
// running ones after that. A read in between sees the state before it.
func (f *Follower) advance(ctx context.Context, side *pgx.Conn) (behind bool, err error) {
	f.mu.Lock()
	to, commits := f.applied.Load(), slices.Clone(f.invisible)
	f.mu.Unlock()
	if len(commits) == 0 {
		f.clock.Store(to)
		return false, nil
	}
	if len(commits) > maxInvisible {
		return false, fmt.Errorf("%d commits are not visible yet", len(commits))
	}
	seen, err := snapshotOf(ctx, side)
	if err != nil {
		return false, err
	}
	f.delay("seen")
	f.mu.Lock()
	defer f.mu.Unlock()
	rest := f.invisible[:0]
	for i, c := range f.invisible {
		// One that ran at the beginning and is told now is known by its commit.
		told := c.at == 0 && slices.ContainsFunc(f.invisible[i+1:], func(later invisible) bool { return later.xid == c.xid })
		if i >= len(commits) || !told && !seen.shows(c.xid) {
			rest = append(rest, c)
		}
	}
	f.invisible = rest
	if len(rest) > 0 {
		if rest[0].at == 0 {
			return true, nil // the clock does not run yet
		}
		to = min(to, rest[0].at-1)
	}
	f.clock.Store(to)
	return len(rest) > 0, nil
}

// republish finds out what is published after a migration, once new snapshots see it. Until then nothing is.
func (f *Follower) republish(ctx context.Context, side *pgx.Conn) error {
	f.mu.Lock()
	at := f.migrated
	f.mu.Unlock()
	if at == 0 || f.clock.Load() < at {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	rows, err := side.Query(ctx, publishedTables.SQL)
	if err != nil {
		return fmt.Errorf("look for the publication's tables: %w", err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for the publication's tables: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.migrated == at {
		f.published, f.migrated = setOf(tables), 0
	}
	return nil
}

// snapshot is what a new snapshot sees.
type snapshot struct {
	next    uint64 // transactions from here on had not begun
	running map[uint64]struct{}
}

func snapshotOf(ctx context.Context, conn *pgx.Conn) (s snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var text string
	if err := conn.QueryRow(ctx, "SELECT pg_current_snapshot()::text").Scan(&text); err != nil {
		return s, fmt.Errorf("read the snapshot: %w", err)
	}
	return parseSnapshot(text)
}

// endOne runs a transaction that has an ID.
func endOne(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if _, err := conn.Exec(ctx, "SELECT pg_current_xact_id()"); err != nil {
		return fmt.Errorf("take the ID of a transaction: %w", err)
	}
	return nil
}

// parseSnapshot reads xmin:xmax:xip,… (PostgreSQL documentation, 9.27.12).
func parseSnapshot(text string) (s snapshot, err error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return s, fmt.Errorf("%q is no snapshot", text)
	}
	if s.next, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return s, fmt.Errorf("%q is no snapshot", text)
	}
	s.running = map[uint64]struct{}{}
	if parts[2] == "" {
		return s, nil
	}
	for _, part := range strings.Split(parts[2], ",") {
		xid, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			return s, fmt.Errorf("%q is no snapshot", text)
		}
		s.running[xid] = struct{}{}
	}
	return s, nil
}

// shows reports whether the effects of a committed transaction are seen. The log has the lower half of its ID: it is meant
// that is nearest to the snapshot, before it or after.
func (s snapshot) shows(xid uint32) bool {
	full := s.next + uint64(int64(int32(xid-uint32(s.next))))
	_, running := s.running[full]
	return full < s.next && !running
}

// renewal is what is going on of the renewal of a lease.
//
// The lease is renewed when the server shows, in pg_stat_replication, that it has taken note of how far we are: whoever
// commits from then on finds us there, and waits for us. It counts from before the note was sent.
//
// Whoever can not look waits for as long as a lease lasts that does without what it has committed. That is bounded because
// each renewal takes that we have got to where the log was at some moment, which is not long ago.
type renewal struct {
	follower *Follower
	stream   *logical.Stream
	side     *pgx.Conn

	due     time.Time
	sent    int64     // when the note was sent (see now); 0: none is under way
	note    time.Time // what it says
	visible int64     // when the server had first shown us; 0: it has not
	written uint64    // how far the log was written
	asked   int64     // at this moment or later
}

func (r *renewal) step(ctx context.Context) error {
	f := r.follower
	if r.sent == 0 {
		r.sent, r.note = now(), f.next()
		if err := f.confirm(r.stream, r.note); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	asked := now()
	found, err := f.lookFrom(ctx, r.side)
	if err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	f.delay("noted")
	written, noted := uint64(found[0].Written), false
	for _, o := range found {
		if o.PID != nil && *o.PID == f.own.Load() {
			f.self = peer{*o.PID, o.Since}
			noted = o.Replied != nil && !o.Replied.Before(r.note)
		}
	}
	if !noted {
		if now()-r.sent > int64(confirmTimeout) {
			r.again(renewEvery) // the server does not answer: the lease runs out
		}
		return nil
	}
	if r.visible == 0 {
		// Whoever has committed before we were to be seen does not wait for us. So we have to get as far as the log is now.
		r.visible, r.written, r.asked = now(), written, asked
		f.setState("")
		r.again(0)
		return nil
	}
	if f.applied.Load() < r.written {
		// Far behind. Nobody's commits may stay unseen for long, so it does not do to get as far as the log was long ago.
		if now()-r.sent > int64(confirmTimeout) {
			r.written, r.asked = written, asked
			r.again(0)
		}
		return nil
	}
	if r.sent-r.visible >= int64(visibleFor) { // by now everybody knows of us
		f.lease.Store(min(r.sent+int64(leaseTime), r.asked+int64(unheard)))
	}
	f.caught.Store(r.sent)
	r.written, r.asked = written, asked
	r.again(renewEvery)
	return nil
}

func (r *renewal) again(after time.Duration) { r.sent, r.due = 0, time.Now().Add(after) }

// writtenLSN is the end of what the log has of transactions that were committed by then. With asynchronous commits that is
// not on disk yet.
const writtenLSN = `CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END`
