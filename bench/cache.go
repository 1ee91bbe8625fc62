package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/seal"
)

// The parts of the workload set cache. Each can be run by itself.
const (
	partHits   = "cache-hits"
	partMisses = "cache-misses"
	partMixed  = "cache-mixed"
	partMemory = "cache-memory"
	partFresh  = "cache-fresh"
)

var cacheParts = []string{partHits, partMisses, partMixed, partMemory, partFresh}

const (
	nameBare  = "bare handler"
	nameRedis = "bare Redis GET"

	hitConns    = 32
	hotAnswers  = 50     // that are asked for again and again; few, so that each is surely kept
	wideAnswers = 10_000 // more than CACHE_BYTES=1 MiB keeps
)

// withoutCache is for the server whose answers are measured as they are made.
const withoutCache = "CACHE=off"

// held is a figure against a goal.
type held struct {
	What   string `json:"what"`
	Goal   string `json:"goal"`
	Figure string `json:"figure"`
	Met    bool   `json:"met"`
}

func (h held) String() string {
	if h.Met {
		return "met"
	}
	return "missed"
}

// cached is all that was found about the cache.
type cached struct {
	Hits   []hits    `json:"hits,omitempty"`
	Misses []misses  `json:"misses,omitempty"`
	Mixed  []mixed   `json:"mixed,omitempty"`
	Memory []memory  `json:"memory,omitempty"`
	Fresh  freshness `json:"fresh,omitzero"`
}

// measureCache measures the parts that are wanted.
func (s *stand) measureCache(ctx context.Context, o options) (c cached, err error) {
	if err := s.seed(ctx); err != nil {
		return c, err
	}
	wants := func(part string) bool { return slices.Contains(o.cache, part) }
	if wants(partHits) {
		if c.Hits, err = s.cacheHits(ctx, o); err != nil {
			return c, fmt.Errorf("%s: %w", partHits, err)
		}
	}
	if wants(partMisses) {
		if c.Misses, err = s.cacheMisses(ctx, o); err != nil {
			return c, fmt.Errorf("%s: %w", partMisses, err)
		}
	}
	if wants(partMemory) {
		if c.Memory, err = s.cacheMemory(ctx, o); err != nil {
			return c, fmt.Errorf("%s: %w", partMemory, err)
		}
	}
	if wants(partMixed) || wants(partFresh) {
		if err := s.cacheWrites(ctx, o, wants(partMixed), wants(partFresh), &c); err != nil {
			return c, err
		}
	}
	return c, nil
}

// asking is one question of a kind with its variables.
type asking struct {
	query     string
	variables map[string]any
	token     string
	encoding  string // that is accepted
}

func (a asking) body() []byte {
	b, err := json.Marshal(map[string]any{"query": a.query, "variables": a.variables})
	if err != nil {
		panic(err) // texts and numbers
	}
	return b
}

func (a asking) request(addr, path string) []byte {
	return requestWith(addr, path, a.token, a.encoding, a.body())
}

// hot is a way of asking for what is kept.
type hot struct {
	name, title string
	fromRedis   bool
	askings     []asking
}

// hits is what was found about a way of asking for what is kept.
type hits struct {
	Name        string  `json:"name"`
	Title       string  `json:"title"`
	Against     string  `json:"against"`
	Connections int     `json:"connections"`
	Answers     int     `json:"answers"` // different ones
	Bytes       int     `json:"bytes"`   // of the first, as sent
	Kept        float64 `json:"kept"`    // share of Emporium's answers that came from the cache
	Statements  float64 `json:"statements"`
	Redis       float64 `json:"redis"` // share of Emporium's answers that came from Redis; -1 if it is not known
	Bare        summary `json:"bare"`
	Emporium    summary `json:"emporium"`
	Ratio       result  `json:"ratio"`
	Goal        held    `json:"goal"`
}

const (
	viewersOrders = `query MyOrders { viewer { name orders(first: 10) { nodes { number status total { amount currency } createdAt lines { title quantity total { amount currency } } } } } }`
	productWide   = `query ProductWide($id: ID!) { product(id: $id) { id slug title description vendor type status createdAt
		variants { id sku price { amount currency } } category { name slug products(first: 8) { nodes { id slug title priceRange { min { amount currency } } } } } } }`
)

// hots are the questions of cache-hits.
func (s *stand) hots(ctx context.Context, o options) (all []hot, err error) {
	kept := map[string][]asking{}
	for _, w := range questions()[:2] {
		if err := w.read(ctx, s.db, hotAnswers, o.seed); err != nil {
			return nil, err
		}
		for _, v := range w.variables {
			kept[w.name] = append(kept[w.name], asking{query: w.query, variables: v})
		}
	}
	encoded := func(encoding string) []asking {
		of := slices.Clone(kept["w2"])
		for i := range of {
			of[i].encoding = encoding
		}
		return of
	}
	tokens, err := s.customers(ctx, 10)
	if err != nil {
		return nil, err
	}
	var private []asking
	for _, token := range tokens {
		private = append(private, asking{query: viewersOrders, token: token})
	}
	products, err := ids(ctx, s.db, id.Product, `SELECT id FROM products.products WHERE status = 'ACTIVE' AND category_id IS NOT NULL
		ORDER BY md5(id::text || $1::text) LIMIT $2`, o.seed, wideAnswers)
	if err != nil {
		return nil, err
	}
	var wide []asking
	for _, v := range products {
		wide = append(wide, asking{query: productWide, variables: v})
	}
	return []hot{
		{name: "hot-w1", title: "w1, kept in the process", askings: kept["w1"]},
		{name: "hot-w2", title: "w2, kept in the process", askings: kept["w2"]},
		{name: "hot-w2-gzip", title: "w2, gzip", askings: encoded("gzip")},
		{name: "hot-w2-zstd", title: "w2, zstd", askings: encoded("gzip, zstd")},
		{name: "hot-viewer", title: "a viewer's own orders, by Bearer token", askings: private},
		{name: "redis-w1", title: "a product with what is beside it, kept in Redis", fromRedis: true, askings: wide},
	}, nil
}

// customers signs in as many customers who have ordered.
func (s *stand) customers(ctx context.Context, n int) ([]string, error) {
	return s.tokens(ctx, `SELECT owner_id, email FROM users.users u WHERE status = 'ACTIVE' AND roles = ARRAY['CUSTOMER'] AND email IS NOT NULL
		AND EXISTS (SELECT FROM orders.orders o WHERE o.owner_id = u.owner_id) ORDER BY owner_id LIMIT $1`, n)
}

// tokens signs in the accounts that a statement finds.
func (s *stand) tokens(ctx context.Context, sql string, n int) (tokens []string, err error) {
	sealer, err := s.sealer()
	if err != nil {
		return nil, err
	}
	type account struct {
		Owner uuid.UUID
		Email []byte
	}
	rows, _ := s.db.Query(ctx, sql, n) // CollectRows returns the error
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[account])
	if err != nil {
		return nil, err
	}
	for _, a := range found {
		email, err := sealer.OpenString(seal.Field{Table: "users.users", Column: "email", Row: a.Owner[:]}, a.Email)
		if err != nil {
			return nil, err
		}
		token, err := s.command(ctx, io.Discard, "token", "--email", email)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, token)
	}
	if len(tokens) < n {
		return nil, fmt.Errorf("the database has %d such accounts, not %d", len(tokens), n)
	}
	return tokens, nil
}

// cacheHits measures what is kept against handlers that have the same bytes at hand.
func (s *stand) cacheHits(ctx context.Context, o options) (all []hits, err error) {
	hots, err := s.hots(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, small := range []bool{false, true} {
		env := slices.Clone(o.env)
		if small {
			env = append(env, "CACHE_BYTES=1048576") // the least there is: nearly all of the wide answers are only in Redis
		}
		of := slices.DeleteFunc(slices.Clone(hots), func(h hot) bool { return h.fromRedis != small || small && s.redisURL == "" })
		if len(of) == 0 {
			continue
		}
		found, err := s.hitsOf(ctx, o, of, env)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (s *stand) hitsOf(ctx context.Context, o options, hots []hot, env []string) (all []hits, err error) {
	emporium, admin, err := s.caching(ctx, env)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, emporium.stop()) }()
	for _, h := range hots {
		found, err := s.hitsFor(ctx, o, h, emporium, admin)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.name, err)
		}
		all = append(all, found)
	}
	return all, nil
}

// caching starts Emporium and waits until it keeps answers.
func (s *stand) caching(ctx context.Context, env []string) (*process, string, error) {
	p, admin, err := s.emporium(ctx, append([]string{"CACHE=on"}, env...))
	if err != nil {
		return nil, "", err
	}
	if err := untilKept(ctx, p.addr); err != nil {
		return nil, "", errors.Join(err, p.stop())
	}
	return p, admin, nil
}

// untilKept waits until a server says of all databases that their changes are followed.
func untilKept(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for state := ""; ; {
		var ready struct{ Parts map[string]string }
		response, err := http.Get("http://" + addr + "/readyz")
		if err == nil {
			err = errors.Join(json.NewDecoder(response.Body).Decode(&ready), response.Body.Close())
		}
		ok, seen := err == nil, false
		for part, how := range ready.Parts {
			if strings.HasPrefix(part, "cache of ") {
				seen, state = true, how
				ok = ok && how == "ok"
			}
		}
		if ok && seen {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cache is not used: %s %w", state, errors.Join(err, context.Cause(ctx)))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// hitsFor lets Emporium keep the answers, gives a bare handler what Emporium sends, and measures both.
func (s *stand) hitsFor(ctx context.Context, o options, h hot, emporium *process, admin string) (found hits, err error) {
	answers, expected, err := s.recordAnswers(ctx, h, emporium.addr)
	if err != nil {
		return found, err
	}
	command, against := serveBare, nameBare
	if h.fromRedis {
		command, against = serveRedis, nameRedis
		if err := s.fill(ctx, answers); err != nil {
			return found, err
		}
	}
	hand, err := s.bareHandler(ctx, command, answers)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, hand.stop()) }()
	targets := []target{hand.target(), emporium.target()}
	targets[0].server = against
	for i, a := range h.askings {
		targets[0].requests = append(targets[0].requests, a.request(hand.addr, pathOf(h, i)))
		targets[1].requests = append(targets[1].requests, a.request(emporium.addr, "/graphql"))
	}
	rounds, counted, redisHits := map[string][]result{}, scraped{}, -1.0
	p := plan{connections: hitConns, warmup: o.warmup, duration: o.duration}
	for round := range o.rounds {
		p.seed = o.seed + uint64(round)
		for _, t := range turns(targets, round) {
			before, err := scrape(ctx, admin)
			if err != nil {
				return found, err
			}
			hadHits := s.redisHits(ctx)
			r, err := drive(ctx, t, expected, "", p)
			if err != nil {
				return found, fmt.Errorf("%s: %w", t.server, err)
			}
			if t.server == nameEmporium {
				after, err := scrape(ctx, admin)
				if err != nil {
					return found, err
				}
				for name, v := range after.since(before) {
					counted[name] += v
				}
				if now := s.redisHits(ctx); hadHits >= 0 && now >= 0 {
					redisHits = max(redisHits, 0) + now - hadHits
				}
			}
			s.say("%s, %2d connections, round %d: %-14s %7.0f requests/s, CPU %.4f ms", h.name, hitConns, round+1, t.server, r.RequestsPerSecond, r.ServerCPU)
			rounds[t.server] = append(rounds[t.server], r)
		}
	}
	if o.pprof != "" {
		file := filepath.Join(o.pprof, h.name+".pprof")
		if err := profiled(ctx, targets[1], expected, "", p, admin, file); err != nil {
			return found, err
		}
	}
	found = hits{Name: h.name, Title: h.title, Against: against, Connections: hitConns, Answers: len(h.askings), Bytes: len(expected[0].exact),
		Bare: summarise(rounds[against]), Emporium: summarise(rounds[nameEmporium]), Redis: -1}
	found.Ratio = ratio(found.Emporium.Median, found.Bare.Median)
	asked, kept := counted.operations()
	found.Kept, found.Statements = kept/max(asked, 1), counted.statements()/max(asked, 1)
	if redisHits >= 0 {
		found.Redis = redisHits / max(asked, 1)
	}
	goal := 0.60
	if h.fromRedis {
		goal = 0.80
	}
	v := found.Ratio.RequestsPerSecond
	found.Goal = held{What: h.name + ": requests/s, of the " + against + "'s", Goal: fmt.Sprintf(">= %.2f", goal), Figure: fmt.Sprintf("%.3f", v), Met: v >= goal}
	return found, nil
}

func pathOf(h hot, i int) string { return fmt.Sprintf("/%s/%d", h.name, i) }

// bareHandler starts this program again as a server of fixed answers. Its collector is set as Emporium's is.
func (s *stand) bareHandler(ctx context.Context, command string, answers map[string]*fixed) (*process, error) {
	text, err := json.Marshal(answers)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, "answers.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	return s.again(ctx, command, "/healthz", fixedFile+"="+file, "GOGC=1000")
}

// recordAnswers asks for each answer until it is kept, and notes the last one with its headers.
func (s *stand) recordAnswers(ctx context.Context, h hot, addr string) (map[string]*fixed, []expectation, error) {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	answers, expected := make([]*fixed, len(h.askings)), make([]expectation, len(h.askings))
	errs := make([]error, len(h.askings))
	var group sync.WaitGroup
	// What Redis is to keep is put there by and by, and not at all when too much waits.
	times, room := 2, make(chan struct{}, 16)
	if h.fromRedis {
		times, room = 3, make(chan struct{}, 2)
	}
	for i, a := range h.askings {
		room <- struct{}{}
		group.Go(func() {
			defer func() { <-room }()
			for range times {
				if answers[i], errs[i] = a.record(ctx, transport, addr); errs[i] != nil {
					return
				}
			}
			expected[i] = expectation{exact: string(answers[i].Body)}
		})
	}
	group.Wait()
	byPath := map[string]*fixed{}
	for i, a := range answers {
		byPath[pathOf(h, i)] = a
	}
	return byPath, expected, errors.Join(errs...)
}

// record asks once and returns what is to be sent again.
func (a asking) record(ctx context.Context, by http.RoundTripper, addr string) (*fixed, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/graphql", bytes.NewReader(a.body()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.encoding != "" {
		r.Header.Set("Accept-Encoding", a.encoding)
	}
	response, err := by.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, err
	}
	header := maps.Clone(response.Header)
	delete(header, "Date") // the server's own
	if response.StatusCode != http.StatusOK || header.Get("Content-Encoding") == "" && !bytes.HasPrefix(body, answered) {
		return nil, fmt.Errorf("status %d: %.400s", response.StatusCode, body)
	}
	return &fixed{header, body}, nil
}

// misses is what came of many who ask for the same at once.
type misses struct {
	Question string `json:"question"`
	At       int    `json:"at_once"`
	Alone    int    `json:"statements_alone"` // that one who asks alone causes
	Together int    `json:"statements_together"`
	Runs     int    `json:"executions"` // operations that were not answered from the cache
	Goal     held   `json:"goal"`
}

// cacheMisses asks for the same answer, which is not kept yet, over many connections at once.
func (s *stand) cacheMisses(ctx context.Context, o options) (all []misses, err error) {
	const atOnce, tries = 100, 5
	emporium, admin, err := s.caching(ctx, o.env)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, emporium.stop()) }()
	clients := make([]*client, atOnce)
	for i := range clients {
		if clients[i], err = dial(ctx, emporium.addr); err != nil {
			return nil, err
		}
		defer clients[i].close()
	}
	ask := func(request []byte, clients []*client) (scraped, error) {
		before, err := scrape(ctx, admin)
		if err != nil {
			return nil, err
		}
		begin, errs := make(chan struct{}), make([]error, len(clients))
		var group sync.WaitGroup
		for i, c := range clients {
			group.Go(func() {
				<-begin
				status, body, err := c.do(request)
				if err == nil && (status != http.StatusOK || !bytes.HasPrefix(body, answered)) {
					err = fmt.Errorf("status %d: %.400s", status, body)
				}
				errs[i] = err
			})
		}
		close(begin)
		group.Wait()
		after, err := scrape(ctx, admin)
		return after.since(before), errors.Join(append(errs, err)...)
	}
	for _, w := range questions()[:2] {
		if err := w.read(ctx, s.db, tries, o.seed); err != nil {
			return nil, err
		}
		m := misses{Question: w.name, At: atOnce}
		for _, v := range w.variables {
			for _, together := range []bool{false, true} {
				// A comment makes it another question, which nobody has asked before, here or in Redis.
				request := asking{query: w.query + "# " + rand.Text(), variables: v}.request(emporium.addr, "/graphql")
				asking := clients[:1]
				if together {
					asking = clients
				}
				d, err := ask(request, asking)
				if err != nil {
					return nil, err
				}
				if !together {
					m.Alone += int(d.statements())
					continue
				}
				m.Together += int(d.statements())
				all, kept := d.operations()
				m.Runs += int(all - kept)
			}
		}
		n := len(w.variables)
		m.Goal = held{What: fmt.Sprintf("%s: executions for %d times %d who ask at once", w.name, n, atOnce), Goal: fmt.Sprint("= ", n),
			Figure: fmt.Sprintf("%d, with %d statements (%d when one asks)", m.Runs, m.Together, m.Alone), Met: m.Runs == n && m.Together == m.Alone}
		s.say("%s", m.Goal.What+": "+m.Goal.Figure)
		all = append(all, m)
	}
	return all, nil
}
