package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
)

// cacheDatabase is made anew, since it is written to; what is read elsewhere stays as it is.
const cacheDatabase = "emporium_bench_cache"

// The kinds of shots.
const (
	read = iota
	write
)

const (
	mixedWarmup   = 5 * time.Second // the cache is empty before
	mixedDuration = 10 * time.Second
	writeShare    = 0.05
)

// mixed is what was found about reads and writes together.
type mixed struct {
	Cache      string    `json:"cache"` // on or off
	Questions  int       `json:"questions"`
	Rate       float64   `json:"requests_per_second"`
	Rounds     []float64 `json:"rounds"`
	ReadP50    float64   `json:"read_p50_ms"`
	ReadP99    float64   `json:"read_p99_ms"`
	WriteP50   float64   `json:"write_p50_ms"`
	WriteP99   float64   `json:"write_p99_ms"`
	Statements float64   `json:"statements_per_request"`
	Local      float64   `json:"local"` // share of the reads that were answered from the process
	Remote     float64   `json:"remote"`
	Kept       float64   `json:"kept"` // share that did not run, wherever it came from
	PeakRSS    float64   `json:"peak_rss_bytes"`
}

// freshness is what it costs that nothing old is answered.
type freshness struct {
	Latency []latency `json:"latency,omitempty"`
	Seeding *seeding  `json:"seeding,omitempty"`
	WAL     []wal     `json:"wal,omitempty"`
}

// latency is that of writes.
type latency struct {
	How         string  `json:"how"`
	Connections int     `json:"connections"`
	Rate        float64 `json:"writes_per_second"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
}

// seeding is what was seen while much was loaded at once and the changes were followed.
type seeding struct {
	Seconds float64 `json:"seconds"`
	Rows    float64 `json:"rows"`
	Behind  float64 `json:"behind_seconds"` // in all, in which something was committed that was not followed yet
	Longest float64 `json:"longest_lag_seconds"`
	Rate    float64 `json:"changes_per_second"` // while behind
	CPU     float64 `json:"server_cpu_seconds"`
}

// wal is what the log takes for the same writes.
type wal struct {
	Identity string  `json:"identity"`
	Writes   int     `json:"writes"`
	Bytes    float64 `json:"bytes_per_write"`
}

// cacheWrites measures what has to do with writes, in a database of its own.
func (s *stand) cacheWrites(ctx context.Context, o options, wantMixed, wantFresh bool, c *cached) (err error) {
	err = s.newDatabase(ctx, cacheDatabase, !wantFresh)
	if err != nil {
		return err
	}
	url, main := s.databaseURL, s.db
	s.databaseURL = s.urlOf(cacheDatabase)
	if s.db, err = pgx.Connect(ctx, s.databaseURL); err != nil {
		s.databaseURL, s.db = url, main
		return err
	}
	defer func() {
		closing := context.WithoutCancel(ctx)
		err = errors.Join(err, s.db.Close(closing))
		s.databaseURL, s.db = url, main
		_, dropped := s.db.Exec(closing, "DROP DATABASE IF EXISTS "+cacheDatabase+" WITH (FORCE)") // it takes as much room as the other
		err = errors.Join(err, dropped)
	}()
	if wantFresh {
		found, err := s.seedFollowed(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: seed: %w", partFresh, err)
		}
		c.Fresh.Seeding = &found
	}
	w, err := s.writes(ctx, o)
	if err != nil {
		return err
	}
	if wantMixed {
		if c.Mixed, err = s.cacheMixed(ctx, o, w); err != nil {
			return fmt.Errorf("%s: %w", partMixed, err)
		}
	}
	if wantFresh {
		if c.Fresh.Latency, err = s.cacheLatency(ctx, o, w); err != nil {
			return fmt.Errorf("%s: %w", partFresh, err)
		}
		if c.Fresh.WAL, err = s.cacheWAL(ctx, o, w); err != nil {
			return fmt.Errorf("%s: WAL: %w", partFresh, err)
		}
	}
	return nil
}

// newDatabase makes one in place of one that there was: empty, or with all that is in the database of the questions.
func (s *stand) newDatabase(ctx context.Context, name string, filled bool) (err error) {
	var original string
	if err := s.db.QueryRow(ctx, "SELECT current_database()").Scan(&original); err != nil {
		return err
	}
	steps := []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)", "CREATE DATABASE " + name}
	if filled {
		steps[1] += " TEMPLATE " + pgx.Identifier{original}.Sanitize() + " STRATEGY file_copy"
		// Nobody may be connected to a template.
		if err := s.db.Close(ctx); err != nil {
			return err
		}
		if s.db, err = pgx.Connect(ctx, s.urlOf("postgres")); err != nil {
			return err
		}
	}
	for _, sql := range steps {
		if _, err := s.db.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if filled {
		if err := s.db.Close(ctx); err != nil {
			return err
		}
		if s.db, err = pgx.Connect(ctx, s.databaseURL); err != nil {
			return err
		}
	}
	return nil
}

// seedFollowed loads the bench data while a server follows the changes.
func (s *stand) seedFollowed(ctx context.Context, o options) (found seeding, err error) {
	emporium, _, err := s.caching(ctx, o.env)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, emporium.stop()) }()
	watched := make(chan lags, 1)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() { watched <- watchLag(watching, s.databaseURL) }()
	s.say("seeding %s, which is followed", cacheDatabase)
	before := cpuOf(emporium.cmd.Process.Pid)
	start := time.Now()
	if _, err := s.command(ctx, io.Discard, "seed", "--scale", "bench"); err != nil {
		return found, err
	}
	found.Seconds = time.Since(start).Seconds()
	time.Sleep(3 * time.Second) // it catches up
	stop()
	l := <-watched
	if l.err != nil {
		return found, l.err
	}
	found.Behind, found.Longest, found.CPU = l.behind.Seconds(), l.longest.Seconds(), (cpuOf(emporium.cmd.Process.Pid) - before).Seconds()
	if err := s.db.QueryRow(ctx, `SELECT tup_inserted + tup_updated + tup_deleted FROM pg_stat_database WHERE datname = current_database()`).Scan(&found.Rows); err != nil {
		return found, err
	}
	found.Rate = found.Rows / max(found.Behind, 0.001)
	s.say("seeded %.0f rows in %.1f s; behind for %.1f s, at most by %.1f s", found.Rows, found.Seconds, found.Behind, found.Longest)
	_, err = s.db.Exec(ctx, "CHECKPOINT")
	return found, err
}

// lags is how far whoever follows a database was behind it.
type lags struct {
	behind, longest time.Duration
	err             error
}

// watchLag commits something again and again and looks how long it takes until who follows has got as far, which is what a write
// that comes at this moment waits for. What is written and not committed yet is nobody's lag.
func watchLag(ctx context.Context, url string) (l lags) {
	// Not with ctx: a query that is interrupted costs the connection.
	always := context.WithoutCancel(ctx)
	db, err := pgx.Connect(always, url)
	if err != nil {
		return lags{err: err}
	}
	defer db.Close(always)
	for ; ctx.Err() == nil; sleepUntil(ctx, time.Now().Add(10*sampleEvery)) {
		if _, err := db.Exec(always, `SELECT pg_logical_emit_message(true, 'emporium', '')`); err != nil {
			return lags{err: err}
		}
		start := time.Now()
		var to int64
		if err := db.QueryRow(always, "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint").Scan(&to); err != nil {
			return lags{err: err}
		}
		for there := false; !there && ctx.Err() == nil; {
			err := db.QueryRow(always, `SELECT coalesce(bool_and((replay_lsn - '0/0')::bigint >= $1), false) FROM pg_stat_replication
				WHERE application_name LIKE 'emporium_cache_%'`, to).Scan(&there)
			if err != nil {
				return lags{err: err}
			}
			if !there {
				time.Sleep(time.Millisecond)
			}
		}
		lag := time.Since(start)
		l.longest = max(l.longest, lag)
		if lag > 10*sampleEvery { // more than it takes to look
			l.behind += lag
		}
	}
	return l
}

// writing makes reads and writes at random.
type writing struct {
	staff    string
	products []string
	variants []string
	reads    [][]asking // by class, the most popular first
	serial   atomic.Int64
}

// The classes of reads, out of a hundred.
var readClasses = []struct {
	name  string
	share int
}{{"product pages", 50}, {"lists by category", 25}, {"searches", 15}, {"viewer's orders", 10}}

func (s *stand) writes(ctx context.Context, o options) (*writing, error) {
	staff, err := s.tokens(ctx, `SELECT owner_id, email FROM users.users WHERE status = 'ACTIVE' AND roles && ARRAY['MANAGER', 'ADMIN'] AND email IS NOT NULL
		ORDER BY owner_id LIMIT $1`, 1)
	if err != nil {
		return nil, err
	}
	w := &writing{staff: staff[0], reads: make([][]asking, len(readClasses))}
	keys := func(of id.Kind, sql string) ([]string, error) {
		rows, _ := s.db.Query(ctx, sql+" ORDER BY md5(id::text || $1::text)", fmt.Sprint(o.seed)) // CollectRows returns the error
		found, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		texts := make([]string, len(found))
		for i, key := range found {
			texts[i] = id.Of(of, key).String()
		}
		return texts, err
	}
	if w.products, err = keys(id.Product, "SELECT id FROM products.products WHERE status = 'ACTIVE'"); err != nil {
		return nil, err
	}
	if w.variants, err = keys(id.Variant, "SELECT id FROM products.variants"); err != nil {
		return nil, err
	}
	categories, err := keys(id.Category, "SELECT id FROM products.categories")
	if err != nil {
		return nil, err
	}
	for _, key := range w.products {
		w.reads[0] = append(w.reads[0], asking{query: productPage, variables: map[string]any{"id": key}})
	}
	for _, sort := range []string{"CREATED_AT", "PRICE", "TITLE"} {
		for _, first := range []int{20, 40} {
			for _, key := range categories {
				w.reads[1] = append(w.reads[1], asking{query: categoryList, variables: map[string]any{"id": key, "first": first, "field": sort}})
			}
		}
	}
	rows, _ := s.db.Query(ctx, `SELECT word FROM (SELECT DISTINCT unnest(string_to_array(lower(title), ' ')) AS word FROM products.products) w
		WHERE length(word) > 2 ORDER BY md5(word || $1::text) LIMIT 300`, fmt.Sprint(o.seed))
	words, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	for _, word := range words {
		w.reads[2] = append(w.reads[2], asking{query: search, variables: map[string]any{"words": word}})
	}
	viewers, err := s.customers(ctx, 20)
	if err != nil {
		return nil, err
	}
	for _, token := range viewers {
		w.reads[3] = append(w.reads[3], asking{query: viewersOrders, token: token})
	}
	return w, nil
}

const (
	productPage = `query ProductDetail($id: ID!) { product(id: $id) { id slug title description vendor type status createdAt category { name slug }
		priceRange { min { amount currency } max { amount currency } } variants { id sku price { amount currency } } } }`
	categoryList = `query CategoryList($id: ID!, $first: Int!, $field: ProductSortField!) { products(first: $first, filter: {categoryId: $id}, sort: {field: $field}) {
		nodes { id slug title priceRange { min { amount currency } } variants { id price { amount currency } } } } }`
	search = `query Search($words: String!) { products(first: 20, query: $words) { nodes { id slug title priceRange { min { amount currency } } } } }`
)

// shots returns a source of reads, and of as large a share of writes. What is popular among the reads is also what is written.
func (w *writing) shots(addr string, writes float64) func(*rand.Rand) func() shot {
	requests := make([][][]byte, len(w.reads))
	for class, askings := range w.reads {
		for _, a := range askings {
			requests[class] = append(requests[class], a.request(addr, "/graphql"))
		}
	}
	return func(r *rand.Rand) func() shot {
		zipf := make([]*rand.Zipf, len(requests))
		for class := range requests {
			zipf[class] = rand.NewZipf(r, 1.1, 1, uint64(len(requests[class])-1))
		}
		goods := rand.NewZipf(r, 1.1, 1, uint64(len(w.products)-1))
		return func() shot {
			if r.Float64() < writes {
				return shot{write, w.write(addr, r, int(goods.Uint64()), int(goods.Uint64()))}
			}
			n, class := r.IntN(100), 0
			for n >= readClasses[class].share {
				n -= readClasses[class].share
				class++
			}
			return shot{read, requests[class][zipf[class].Uint64()]}
		}
	}
}

// write is a change of a product or a variant, or a new cart.
func (w *writing) write(addr string, r *rand.Rand, product, variant int) []byte {
	n := w.serial.Add(1)
	a := asking{token: w.staff}
	switch r.IntN(10) {
	case 0, 1, 2, 3:
		a.query = `mutation Stock($v: ID!, $key: String!) { stockAdjust(input: {variantId: $v, delta: 1, reason: RECEIVED}, idempotencyKey: $key) { variant { id } userErrors { message } } }`
		a.variables = map[string]any{"v": w.variants[variant], "key": fmt.Sprint("bench-", time.Now().UnixNano(), "-", n)}
	case 4, 5:
		a.query = `mutation Price($v: ID!, $price: Decimal!) { variantUpdate(input: {variantId: $v, price: $price}) { variant { id } userErrors { message } } }`
		a.variables = map[string]any{"v": w.variants[variant], "price": fmt.Sprintf("%d.%02d", 5+n%90, n%100)}
	case 6, 7:
		a.query = `mutation Edit($p: ID!, $text: String!) { productUpdate(input: {productId: $p, descriptionHtml: $text}) { product { id } userErrors { message } } }`
		a.variables = map[string]any{"p": w.products[product], "text": fmt.Sprintf("<p>Edited %d times.</p>", n)}
	default:
		a.token = ""
		a.query = `mutation Cart($v: ID!) { cartLinesAdd(input: {lines: [{variantId: $v}]}) { cart { id } userErrors { message } } }`
		a.variables = map[string]any{"v": w.variants[variant]}
	}
	return a.request(addr, "/graphql")
}

// cacheMixed asks and writes with and without the cache, in turns. Each round has a server of its own, so that none follows what is
// written to another.
func (s *stand) cacheMixed(ctx context.Context, o options, w *writing) ([]mixed, error) {
	states := []string{"off", "on"}
	rounds := map[string][]mixed{}
	for round := range min(o.rounds, 3) {
		for i := range states {
			state := states[(i+round)%len(states)]
			m, err := s.mixedRound(ctx, o, w, state, o.seed+uint64(round))
			if err != nil {
				return nil, err
			}
			s.say("mixed, cache %s, round %d: %.0f requests/s, %.2f statements each", state, round+1, m.Rate, m.Statements)
			rounds[state] = append(rounds[state], m)
		}
	}
	var all []mixed
	for _, state := range states {
		m := rounds[state][0]
		for _, r := range rounds[state] {
			m.Rounds = append(m.Rounds, r.Rate)
		}
		for _, of := range []func(*mixed) *float64{
			func(m *mixed) *float64 { return &m.Rate }, func(m *mixed) *float64 { return &m.ReadP50 }, func(m *mixed) *float64 { return &m.ReadP99 },
			func(m *mixed) *float64 { return &m.WriteP50 }, func(m *mixed) *float64 { return &m.WriteP99 },
			func(m *mixed) *float64 { return &m.Statements }, func(m *mixed) *float64 { return &m.Kept }, func(m *mixed) *float64 { return &m.PeakRSS },
			func(m *mixed) *float64 { return &m.Local }, func(m *mixed) *float64 { return &m.Remote },
		} {
			var values []float64
			for i := range rounds[state] {
				values = append(values, *of(&rounds[state][i]))
			}
			*of(&m) = median(values)
		}
		all = append(all, m)
	}
	return all, nil
}

func (s *stand) mixedRound(ctx context.Context, o options, w *writing, state string, seed uint64) (m mixed, err error) {
	emporium, admin, err := s.inState(ctx, o, state)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, emporium.stop()) }()
	m.Cache = state
	for _, class := range w.reads {
		m.Questions += len(class)
	}
	before, err := scrape(ctx, admin)
	if err != nil {
		return m, err
	}
	took, err := pump(ctx, emporium.addr, hitConns, mixedWarmup, mixedDuration, seed, w.shots(emporium.addr, writeShare))
	if err != nil {
		return m, err
	}
	after, err := scrape(ctx, admin)
	if err != nil {
		return m, err
	}
	d := after.since(before)
	asked, kept := d.operations()
	reads := asked - d.sum("emporium_graphql_operation_duration_seconds_count", `kind="mutation"`)
	m.Rate = float64(len(took[read])+len(took[write])) / mixedDuration.Seconds()
	m.ReadP50, m.ReadP99 = milliseconds(percentile(took[read], 50)), milliseconds(percentile(took[read], 99))
	m.WriteP50, m.WriteP99 = milliseconds(percentile(took[write], 50)), milliseconds(percentile(took[write], 99))
	m.Statements, m.Kept = d.statements()/max(asked, 1), kept/max(reads, 1)
	m.Local, m.Remote = level(d, "local", reads), level(d, "remote", reads)
	m.PeakRSS = float64(peakRSS(emporium.cmd.Process.Pid))
	return m, nil
}

// level is the share of reads that were answered from a level of the cache; -1 where the server does not tell.
func level(d scraped, name string, reads float64) float64 {
	const lookups = "emporium_cache_lookups_total"
	if d.sum(lookups) == 0 {
		return -1
	}
	return d.sum(lookups, `="`+name+`"`) / max(reads, 1)
}

// inState starts a server with or without the cache.
func (s *stand) inState(ctx context.Context, o options, state string) (*process, string, error) {
	if state == "on" {
		return s.caching(ctx, o.env)
	}
	return s.emporium(ctx, append([]string{withoutCache}, o.env...))
}

// cacheLatency measures how long writes take with and without somebody who follows them.
func (s *stand) cacheLatency(ctx context.Context, o options, w *writing) (all []latency, err error) {
	hows := []struct {
		name, state string
		processes   int
	}{{"CACHE=off", "off", 1}, {"one process", "on", 1}, {"two processes", "on", 2}}
	rounds := map[string]map[int][]latency{}
	for round := range min(o.rounds, 3) {
		for i := range hows {
			how := hows[(i+round)%len(hows)]
			err := func() (err error) {
				var first *process
				for range how.processes {
					p, _, err := s.inState(ctx, o, how.state)
					if err != nil {
						return err
					}
					defer func() { err = errors.Join(err, p.stop()) }()
					first = cmp.Or(first, p)
				}
				for _, conns := range []int{1, 16} {
					took, err := pump(ctx, first.addr, conns, o.warmup, o.duration, o.seed+uint64(round), w.shots(first.addr, 1))
					if err != nil {
						return err
					}
					l := latency{how.name, conns, float64(len(took[write])) / o.duration.Seconds(), milliseconds(percentile(took[write], 50)), milliseconds(percentile(took[write], 99))}
					s.say("writes, %s, %2d connections, round %d: %.0f writes/s, p50 %.2f ms, p99 %.2f ms", how.name, conns, round+1, l.Rate, l.P50, l.P99)
					if rounds[how.name] == nil {
						rounds[how.name] = map[int][]latency{}
					}
					rounds[how.name][conns] = append(rounds[how.name][conns], l)
				}
				return nil
			}()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", how.name, err)
			}
		}
	}
	for _, conns := range []int{1, 16} {
		for _, how := range hows {
			of := rounds[how.name][conns]
			l := of[0]
			for _, field := range []func(*latency) *float64{
				func(l *latency) *float64 { return &l.Rate }, func(l *latency) *float64 { return &l.P50 }, func(l *latency) *float64 { return &l.P99 },
			} {
				var values []float64
				for i := range of {
					values = append(values, *field(&of[i]))
				}
				*field(&l) = median(values)
			}
			all = append(all, l)
		}
	}
	return all, nil
}

// cacheWAL counts the bytes of the log for the same writes, as migrations have set the tables up, and as Postgres does by itself.
func (s *stand) cacheWAL(ctx context.Context, o options, w *writing) (all []wal, err error) {
	const writes = 2000
	few := &writing{staff: w.staff, products: w.products[:20], variants: w.variants[:20], reads: w.reads}
	for _, identity := range []string{"FULL", "DEFAULT"} {
		if identity == "DEFAULT" {
			if err := s.defaultIdentity(ctx); err != nil {
				return nil, err
			}
		}
		err := func() (err error) {
			emporium, _, err := s.inState(ctx, o, "off")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, emporium.stop()) }()
			c, err := dial(ctx, emporium.addr)
			if err != nil {
				return err
			}
			defer c.close()
			var at [2]int64
			if _, err := s.db.Exec(ctx, "CHECKPOINT"); err != nil {
				return err
			}
			r := rand.New(rand.NewPCG(o.seed, 1))
			// The first quarter is not counted: the first change of a page after a checkpoint logs all of it.
			for n := range writes + writes/4 {
				if n == writes/4 {
					if err := s.position(ctx, &at[0]); err != nil {
						return err
					}
				}
				status, body, err := c.do(few.write(emporium.addr, r, r.IntN(20), r.IntN(20)))
				if err == nil && (status != 200 || strings.Contains(string(body), `rrors":[{`)) {
					err = fmt.Errorf("status %d: %.400s", status, body)
				}
				if err != nil {
					return err
				}
			}
			if err := s.position(ctx, &at[1]); err != nil {
				return err
			}
			all = append(all, wal{identity, writes, float64(at[1]-at[0]) / writes})
			s.say("WAL, REPLICA IDENTITY %s: %.0f bytes a write", identity, all[len(all)-1].Bytes)
			return nil
		}()
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *stand) position(ctx context.Context, at *int64) error {
	return s.db.QueryRow(ctx, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").Scan(at)
}

// defaultIdentity makes the log name changed rows by their primary keys alone, where they have some.
func (s *stand) defaultIdentity(ctx context.Context) error {
	rows, _ := s.db.Query(ctx, `SELECT c.oid::regclass::text FROM pg_class c WHERE c.relreplident = 'f' AND c.relkind IN ('r', 'p')
		AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)`)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, table := range tables {
		if err == nil {
			_, err = s.db.Exec(ctx, "ALTER TABLE "+table+" REPLICA IDENTITY DEFAULT")
		}
	}
	return err
}

func sortDurations(of []time.Duration) { slices.Sort(of) }
