package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
)

// ordering is a way of placing orders, as fast as answers come, each of a cart that was filled before. There is no
// hand-written counterpart: the figures are absolute.
type ordering struct {
	title   string
	hot     bool // everybody buys the same variant
	relaxed bool // Postgres does not wait for its disk
}

var orderings = []ordering{
	{title: "1,000 products"},
	{title: "one product", hot: true},
	{title: "one product, synchronous_commit off", hot: true, relaxed: true},
}

const (
	ordersDatabase = "emporium_bench_orders" // made anew for each ordering: what is read elsewhere stays as it is
	goods          = 1000
	sampleEvery    = 10 * time.Millisecond
	onCPU          = "CPU" // what a session waits for that waits for nothing
)

// placing is what was found about an ordering under a number of connections.
type placing struct {
	Ordering    string             `json:"ordering"`
	Connections int                `json:"connections"`
	Median      placed             `json:"median"`
	Rounds      []placed           `json:"rounds"`
	Waits       map[string]float64 `json:"waits"` // how many sessions of Postgres waited for what at a time, on average
}

// placed are the figures of a round. CPU is in milliseconds for each order; -1 where it is not known.
type placed struct {
	OrdersPerSecond float64 `json:"orders_per_second"`
	P50             float64 `json:"p50_ms"`
	P99             float64 `json:"p99_ms"`
	ServerCPU       float64 `json:"server_cpu_ms"`
	PostgresCPU     float64 `json:"postgres_cpu_ms"`
	ProviderCPU     float64 `json:"provider_cpu_ms"`
	ClientCPU       float64 `json:"client_cpu_ms"`
}

// placeOrders measures all orderings.
func (s *stand) placeOrders(ctx context.Context, o options, connections []int) (all []placing, err error) {
	if err := s.keys(ctx); err != nil {
		return nil, err
	}
	for _, how := range orderings {
		found, err := s.placeBy(ctx, how, o, connections)
		if err != nil {
			return nil, fmt.Errorf("orders, %s: %w", how.title, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// counter is a shop in which orders are placed.
type counter struct {
	addr     string
	variants []string
	shipping string
}

func (s *stand) placeBy(ctx context.Context, how ordering, o options, connections []int) (all []placing, err error) {
	for _, sql := range []string{"DROP DATABASE IF EXISTS " + ordersDatabase + " WITH (FORCE)", "CREATE DATABASE " + ordersDatabase} {
		if _, err := s.db.Exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	if how.relaxed {
		if _, err := s.db.Exec(ctx, "ALTER DATABASE "+ordersDatabase+" SET synchronous_commit = off"); err != nil {
			return nil, err
		}
	}
	before := s.databaseURL
	s.databaseURL = s.urlOf(ordersDatabase)
	defer func() { s.databaseURL = before }()
	db, err := pgx.Connect(ctx, s.databaseURL)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close(context.WithoutCancel(ctx))) }()
	c, err := s.stock(ctx, db)
	if err != nil {
		return nil, err
	}
	if how.hot {
		c.variants = c.variants[:1]
	}
	provider, env, err := s.provider(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, provider.stop()) }()
	emporium, _, err := s.emporium(ctx, append(append(env, withoutCache), o.env...))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, emporium.stop()) }()
	c.addr = emporium.addr
	postmaster, err := findPostmaster(ctx, db)
	if err != nil {
		return nil, err
	}
	for _, conns := range connections {
		p := placing{Ordering: how.title, Connections: conns, Waits: map[string]float64{}}
		for round := range o.rounds {
			f, waits, err := c.place(ctx, conns, 200+25*conns, db, []int{emporium.cmd.Process.Pid, provider.cmd.Process.Pid}, postmaster)
			if err != nil {
				return nil, err
			}
			s.say("orders, %s, %2d connections, round %d: %7.0f orders/s", how.title, conns, round+1, f.OrdersPerSecond)
			p.Rounds = append(p.Rounds, f)
			for what, n := range waits {
				p.Waits[what] += n / float64(o.rounds)
			}
		}
		for _, of := range placingFigures {
			values := make([]float64, len(p.Rounds))
			for i := range p.Rounds {
				values[i] = *of.of(&p.Rounds[i])
			}
			*of.of(&p.Median) = median(values)
		}
		all = append(all, p)
	}
	return all, nil
}

// urlOf is the URL of another database on the same server.
func (s *stand) urlOf(database string) string {
	if s.stack != nil {
		return s.stack.DatabaseURLFor(database)
	}
	config := strings.SplitN(s.databaseURL, "?", 2)
	config[0] = config[0][:strings.LastIndexByte(config[0], '/')+1] + database
	return strings.Join(config, "?")
}

// stock fills an empty database with goods of which there are plenty, and a way to send them.
func (s *stand) stock(ctx context.Context, db *pgx.Conn) (c counter, err error) {
	var csv strings.Builder
	csv.WriteString("Handle,Title,Vendor,Variant SKU,Variant Price,Variant Inventory Qty\r\n")
	for i := range goods {
		fmt.Fprintf(&csv, "thing-%d,Thing %d,Kiln,T-%d,%d.90,1000000\r\n", i, i, i, 5+i%40)
	}
	file := filepath.Join(s.dir, "orders.csv")
	if err := os.WriteFile(file, []byte(csv.String()), 0o600); err != nil {
		return c, err
	}
	if _, err := s.command(ctx, io.Discard, "import", "products", file); err != nil {
		return c, err
	}
	method := uuid.New()
	if _, err := db.Exec(ctx, `INSERT INTO orders.shipping_methods (id, name, countries, currency) VALUES ($1, 'Post', '{}', 'EUR')`, method); err != nil {
		return c, err
	}
	if _, err := db.Exec(ctx, `INSERT INTO orders.shipping_rates (method_id, from_subtotal, price) VALUES ($1, 0, 490)`, method); err != nil {
		return c, err
	}
	c.shipping = id.Of(id.ShippingMethod, method).String()
	rows, err := db.Query(ctx, "SELECT id FROM products.variants ORDER BY sku")
	if err != nil {
		return c, err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	for _, key := range keys {
		c.variants = append(c.variants, id.Of(id.Variant, key).String())
	}
	return c, err
}

// provider starts the payment provider that moves no money, and returns what Emporium needs to reach it.
func (s *stand) provider(ctx context.Context) (*process, []string, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	books := filepath.Join(s.dir, "orders-books.db")
	if err := os.RemoveAll(books); err != nil {
		return nil, nil, err
	}
	env := []string{"PAYMENT_PROVIDER=test", "TEST_PROVIDER_URL=http://" + addr, "TEST_PROVIDER_KEY=" + rand.Text(), "TEST_PROVIDER_WEBHOOK_SECRET=" + rand.Text()}
	cmd := exec.Command(s.program, "testprovider", "--addr", addr, "--books", books)
	cmd.Env = append(s.environment(), env...)
	p, err := s.start(ctx, "provider", addr, "/healthz", cmd)
	return p, env, err
}

// asker asks over a connection of its own.
type asker struct {
	*client
	addr string
}

// ask sends a mutation and reads its answer.
func (a asker) ask(query string, variables, answer any) error {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	status, text, err := a.do(requestFor(a.addr, "/graphql", "", body))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("status %d: %w: %.400s", status, err, text)
	}
	return nil
}

// fill fills a cart and returns the request that orders it.
func (c counter) fill(a asker, variant string) ([]byte, error) {
	var made struct {
		Data struct{ CartLinesAdd struct{ Token string } }
	}
	if err := a.ask(`mutation($v: ID!) { cartLinesAdd(input: {lines: [{variantId: $v}]}) { token } }`, map[string]any{"v": variant}, &made); err != nil {
		return nil, err
	}
	token := made.Data.CartLinesAdd.Token
	var updated struct {
		Data struct {
			CartUpdate struct {
				Cart struct{ Total struct{ Amount string } }
			}
		}
	}
	if err := a.ask(`mutation($in: CartUpdateInput!) { cartUpdate(input: $in) { cart { total { amount } } userErrors { message } } }`, map[string]any{"in": map[string]any{
		"token": token, "email": "kim@example.com", "shippingMethodId": c.shipping,
		"shippingAddress": map[string]any{"name": "Kim Lee", "line1": "Am Markt 1", "city": "Köln", "country": "DE"}}}, &updated); err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{
		"query": `mutation($in: OrderPlaceInput!, $key: String!) { orderPlace(input: $in, idempotencyKey: $key) { order { id number status } userErrors { message } } }`,
		"variables": map[string]any{"key": rand.Text(), "in": map[string]any{
			"cartToken": token, "expectedTotal": updated.Data.CartUpdate.Cart.Total.Amount, "paymentMethod": "card_ok"}}})
	return requestFor(c.addr, "/graphql", "", body), err
}

// place fills n carts and then orders them. All but the last few orders come while all connections are busy.
func (c counter) place(ctx context.Context, connections, n int, db *pgx.Conn, pids []int, postmaster int) (f placed, waits map[string]float64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clients := make([]asker, connections)
	for i := range clients {
		one, err := dial(ctx, c.addr)
		if err != nil {
			return f, nil, err
		}
		defer one.close()
		clients[i] = asker{one, c.addr}
	}
	each := func(do func(a asker, i int) error) error {
		var next atomic.Int64
		var group sync.WaitGroup
		for _, a := range clients {
			group.Go(func() {
				for i := next.Add(1) - 1; i < int64(n) && ctx.Err() == nil; i = next.Add(1) - 1 {
					if err := do(a, int(i)); err != nil {
						cancel(err)
					}
				}
			})
		}
		group.Wait()
		return context.Cause(ctx)
	}
	requests, took := make([][]byte, n), make([]time.Duration, n)
	if err := each(func(a asker, i int) (err error) {
		requests[i], err = c.fill(a, c.variants[i%len(c.variants)])
		return err
	}); err != nil {
		return f, nil, err
	}
	sampled := make(chan map[string]float64, 1)
	sampling, stop := context.WithCancel(ctx)
	defer stop()
	go func() { sampled <- waitsOf(sampling, db) }()
	before, provider := clocks(pids[0], postmaster), cpuOf(pids[1])
	began := time.Now()
	if err := each(func(a asker, i int) error {
		sent := time.Now()
		status, body, err := a.do(requests[i])
		took[i] = time.Since(sent)
		if err == nil && !strings.Contains(string(body), `"status":"PLACED"`) {
			err = fmt.Errorf("status %d: %.400s", status, body)
		}
		return err
	}); err != nil {
		return f, nil, err
	}
	elapsed := time.Since(began)
	after := clocks(pids[0], postmaster)
	stop()
	slices.Sort(took)
	f = placed{OrdersPerSecond: float64(n) / elapsed.Seconds(), P50: milliseconds(percentile(took, 50)), P99: milliseconds(percentile(took, 99))}
	f.ProviderCPU = milliseconds(cpuOf(pids[1])-provider) / float64(n)
	for i, cpu := range []*float64{&f.ServerCPU, &f.PostgresCPU, &f.ClientCPU} {
		*cpu = -1
		if before[i] >= 0 && after[i] >= 0 {
			*cpu = milliseconds(after[i]-before[i]) / float64(n)
		}
	}
	return f, <-sampled, nil
}

func cpuOf(pid int) time.Duration {
	cpu, _ := processCPU(pid)
	return cpu
}

// waitsOf looks again and again at what the sessions of a database do, until ctx is done.
func waitsOf(ctx context.Context, db *pgx.Conn) map[string]float64 {
	waits, samples := map[string]float64{}, 0.0
	for ; ctx.Err() == nil; sleepUntil(ctx, time.Now().Add(sampleEvery)) {
		// Not with ctx: a query that is interrupted costs the connection.
		rows, err := db.Query(context.WithoutCancel(ctx), `SELECT coalesce(wait_event_type || ':' || wait_event, $1) FROM pg_stat_activity
			WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()`, onCPU)
		if err != nil {
			return waits
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return waits
		}
		samples++
		for _, what := range found {
			waits[what]++
		}
	}
	for what := range waits {
		waits[what] /= samples
	}
	return waits
}

// placingFigures names the figures, in the order of the columns.
var placingFigures = []struct {
	title  string
	digits int
	of     func(*placed) *float64
}{
	{"orders/s", 0, func(f *placed) *float64 { return &f.OrdersPerSecond }},
	{"p50 ms", 1, func(f *placed) *float64 { return &f.P50 }},
	{"p99 ms", 1, func(f *placed) *float64 { return &f.P99 }},
	{"server CPU", 2, func(f *placed) *float64 { return &f.ServerCPU }},
	{"postgres CPU", 2, func(f *placed) *float64 { return &f.PostgresCPU }},
	{"provider CPU", 2, func(f *placed) *float64 { return &f.ProviderCPU }},
	{"client CPU", 2, func(f *placed) *float64 { return &f.ClientCPU }},
}

// reportPlacings writes a table for a person, with what the sessions of Postgres waited for.
func reportPlacings(out io.Writer, all []placing) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "orderPlace\tconnections")
	for _, f := range placingFigures {
		fmt.Fprint(table, "\t", f.title)
	}
	fmt.Fprintln(table, "\tsessions of Postgres that waited, on average")
	for _, p := range all {
		fmt.Fprintf(table, "%s\t%d", p.Ordering, p.Connections)
		for _, f := range placingFigures {
			fmt.Fprintf(table, "\t%.*f", f.digits, *f.of(&p.Median))
		}
		var waits []string
		for _, what := range slices.SortedFunc(maps.Keys(p.Waits), func(a, b string) int { return cmp.Compare(p.Waits[b], p.Waits[a]) }) {
			if n := p.Waits[what]; n >= 0.05 && what != onCPU {
				waits = append(waits, fmt.Sprintf("%s %.1f", what, n))
			}
		}
		fmt.Fprintf(table, "\t%s\n", strings.Join(waits, ", "))
	}
	return table.Flush()
}
