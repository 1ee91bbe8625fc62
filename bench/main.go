// Bench measures Emporium's GraphQL server against a handler that answers the same questions without GraphQL, written by
// hand over net/http and pgx, in the same run on the same data. README.md beside it says how to read what it prints.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/bench/handwritten"
	"emporium/internal/seal"
)

const (
	nameEmporium     = "emporium"
	nameHandwritten  = "hand-written"
	serveHandwritten = "serve-handwritten" // the command by which this program starts itself
	poolConns        = 16                  // connections of each server to Postgres
)

// options are the flags.
type options struct {
	dir              string
	workloads        string
	connections      string
	rounds           int
	warmup, duration time.Duration
	variables        int
	seed             uint64
	json             bool
	orders           bool     // are placed, too
	cache            []string // parts of the workload set cache
	pprof            string
	env              []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	command := ""
	if len(os.Args) == 2 {
		command = os.Args[1]
	}
	switch command {
	case serveHandwritten:
		err = serve(ctx)
	case serveBare, serveRedis:
		err = bare(ctx, command == serveRedis)
	case holdKeys:
		err = hold(ctx)
	default:
		err = bench(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serve is the hand-written server, configured like Emporium, until ctx is done.
func serve(ctx context.Context) error {
	keys, err := seal.Load("", os.Getenv("KEYSET_FILE"))
	if err != nil {
		return err
	}
	sealer, err := seal.NewSealer(keys)
	if err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	config.MaxConns = poolConns
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	l, err := net.Listen("tcp", os.Getenv("HTTP_ADDR"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handwritten.New(pool, sealer), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func bench(ctx context.Context) (err error) {
	var o options
	flag.StringVar(&o.dir, "dir", filepath.Join(".emporium", "bench"), "folder that keeps the database, the keys and the logs")
	flag.StringVar(&o.workloads, "workloads", "w1,w2,w3,w4,orders,cache", "which workloads; scaling stands for all that only Emporium is asked about, orders for placing orders, "+
		"cache for those of the response cache: "+strings.Join(cacheParts, ", "))
	flag.StringVar(&o.connections, "connections", "1,32", "under how many connections, one after the other")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each is measured; the servers take turns, and so does which one begins")
	flag.DurationVar(&o.warmup, "warmup", time.Second, "before each measurement")
	flag.DurationVar(&o.duration, "duration", 3*time.Second, "of each measurement")
	flag.IntVar(&o.variables, "variables", 1000, "most distinct variables of a workload")
	flag.Uint64Var(&o.seed, "seed", 1, "chooses the variables and their order")
	flag.BoolVar(&o.json, "json", false, "print lines of JSON instead of a table")
	flag.StringVar(&o.pprof, "pprof", "", "write CPU profiles of Emporium to this `folder`, taken in a round of their own")
	flag.Func("env", "a `VARIABLE=value` for Emporium's server; may be repeated", func(v string) error {
		if !strings.Contains(v, "=") {
			return errors.New("not of the form VARIABLE=value")
		}
		o.env = append(o.env, v)
		return nil
	})
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("%q is not a flag; see -help", flag.Arg(0))
	}
	workloads, connections, err := o.parse()
	if err != nil {
		return err
	}
	say := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

	s, err := openStand(ctx, o.dir, say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var version string
	if err := s.db.QueryRow(ctx, "SELECT current_setting('server_version')").Scan(&version); err != nil {
		return err
	}
	var cells []cell
	if len(workloads) > 0 {
		if cells, err = s.answers(ctx, o, workloads, connections); err != nil {
			return err
		}
	}
	var placings []placing
	if o.orders {
		if placings, err = s.placeOrders(ctx, o, connections); err != nil {
			return err
		}
	}
	var kept cached
	if len(o.cache) > 0 {
		if kept, err = s.measureCache(ctx, o); err != nil {
			return err
		}
	}
	if o.json {
		err := errors.Join(lines(os.Stdout, cells), lines(os.Stdout, placings))
		if len(o.cache) > 0 {
			err = errors.Join(err, lines(os.Stdout, []cached{kept}))
		}
		return err
	}
	fmt.Printf("\n%s/%s, %d CPUs, %s, PostgreSQL %s, %d connections to it from each server\n"+
		"medians of %d rounds, those of questions of %s; CPU in ms for each request\n"+
		"questions and orders without the response cache (CACHE=off)\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), version, poolConns, o.rounds, o.duration)
	if len(cells) > 0 {
		err = report(os.Stdout, cells)
	}
	if len(placings) > 0 {
		fmt.Println()
		err = errors.Join(err, reportPlacings(os.Stdout, placings))
	}
	if len(o.cache) > 0 {
		err = errors.Join(err, kept.report(os.Stdout))
	}
	return err
}

// answers seeds the database if it is empty, and measures how the servers answer questions about it.
func (s *stand) answers(ctx context.Context, o options, workloads []*workload, connections []int) (cells []cell, err error) {
	if err := s.seed(ctx); err != nil {
		return nil, err
	}
	token, err := s.token(ctx)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	hand, err := s.handwritten(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, hand.stop()) }()
	emporium, admin, err := s.emporium(ctx, append([]string{withoutCache}, o.env...))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, emporium.stop()) }()
	postmaster, err := findPostmaster(ctx, s.db)
	if err != nil {
		return nil, err
	}
	for _, w := range workloads {
		if err := w.read(ctx, s.db, o.variables, o.seed); err != nil {
			return nil, err
		}
		servers := []target{hand.target(), emporium.target()}
		if w.series != "" {
			servers = servers[1:]
		}
		targets, expected, err := w.prepare(ctx, servers, token)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		for _, conns := range connections {
			p := plan{connections: conns, warmup: o.warmup, duration: o.duration, postmaster: postmaster}
			rounds := map[string][]result{}
			for round := range o.rounds {
				p.seed = o.seed + uint64(round)
				for _, t := range turns(targets, round) {
					r, err := drive(ctx, t, expected, w.marker, p)
					if err != nil {
						return nil, fmt.Errorf("%s: %s: %w", w.name, t.server, err)
					}
					s.say("%s, %2d connections, round %d: %-12s %7.0f requests/s", w.name, conns, round+1, t.server, r.RequestsPerSecond)
					rounds[t.server] = append(rounds[t.server], r)
				}
			}
			if o.pprof != "" {
				file := filepath.Join(o.pprof, fmt.Sprintf("%s-%d.pprof", w.name, conns))
				if err := profiled(ctx, targets[len(targets)-1], expected, w.marker, p, admin, file); err != nil {
					return nil, fmt.Errorf("%s: %w", w.name, err)
				}
			}
			cells = append(cells, newCell(w, conns, expected[0], rounds))
		}
	}
	return cells, nil
}

func (o *options) parse() (workloads []*workload, connections []int, err error) {
	known := slices.Concat(questions(), scaling())
	for name := range strings.SplitSeq(o.workloads, ",") {
		if name == "orders" {
			o.orders = true
			continue
		}
		if name == "cache" {
			o.cache = append(o.cache, cacheParts...)
			continue
		}
		if slices.Contains(cacheParts, name) {
			o.cache = append(o.cache, name)
			continue
		}
		if name == "scaling" {
			workloads = append(workloads, scaling()...)
			continue
		}
		i := slices.IndexFunc(known, func(w *workload) bool { return w.name == name })
		if i < 0 {
			return nil, nil, fmt.Errorf("-workloads: there is no %q", name)
		}
		workloads = append(workloads, known[i])
	}
	for text := range strings.SplitSeq(o.connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1024 {
			return nil, nil, fmt.Errorf("-connections: %q is not a number from 1 to 1024", text)
		}
		connections = append(connections, n)
	}
	switch {
	case o.rounds < 1:
		return nil, nil, errors.New("-rounds: at least 1")
	case o.duration < time.Second || o.duration > time.Hour || o.warmup < 0 || o.warmup > time.Hour:
		return nil, nil, errors.New("-duration is from 1s to 1h, -warmup from 0 to 1h")
	case o.variables < 1 || o.variables > 100_000:
		return nil, nil, errors.New("-variables: from 1 to 100000")
	}
	return workloads, connections, nil
}

// turns returns the targets in the order of a round: the one that began in the last round comes last in this one, so that
// none is always measured on a machine that another has just warmed up.
func turns(targets []target, round int) []target {
	first := round % len(targets)
	return slices.Concat(targets[first:], targets[:first])
}

// prepare makes the requests of the servers, lets all answer each of them with the same bytes, and returns the servers as
// targets with what is to be measured.
func (w *workload) prepare(ctx context.Context, servers []target, token string) ([]target, []expectation, error) {
	targets := slices.Clone(servers)
	if !w.staff {
		token = ""
	}
	for _, variables := range slices.Concat(w.variables, w.also) {
		plain, err := json.Marshal(variables)
		if err != nil {
			return nil, nil, err
		}
		query, err := w.forGraphQL(variables)
		if err != nil {
			return nil, nil, err
		}
		for i, t := range targets {
			request := requestFor(t.addr, "/graphql", token, query)
			if t.server == nameHandwritten {
				request = requestFor(t.addr, "/"+w.name, "", plain)
			}
			targets[i].requests = append(t.requests, request)
		}
	}
	expected, err := agree(ctx, targets, w.marker)
	if err != nil {
		return nil, nil, err
	}
	n := len(w.variables)
	for i := range targets {
		targets[i].requests = targets[i].requests[:n]
	}
	return targets, expected[:n], nil
}

// profiled loads Emporium once more and writes its profile. The figures of this round are left out, since being profiled
// costs something.
func profiled(ctx context.Context, t target, expected []expectation, marker string, p plan, admin, file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() { written <- profile(ctx, admin, p.warmup+p.duration, file) }()
	_, err := drive(ctx, t, expected, marker, p)
	return errors.Join(err, <-written)
}
