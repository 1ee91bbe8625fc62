//go:build unix

// Package race reads and writes at two servers at once, by their API and behind their backs, and checks that nobody who asks
// after a change was answered is told what was before it, whatever is killed, frozen or lost meanwhile.
package race

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"emporium/e2e/shop"
)

func TestMain(m *testing.M) { os.Exit(shop.Main(m)) }

// register is something that is written with a number that only grows: the title of a product, a price, a name.
type register struct {
	what     string
	raw      string // SQL that writes $2 behind the backs of the servers to what has the id $1; empty: none does
	rawID    string
	write    func(ctx context.Context, v *shop.Server, n int64) error
	writing  sync.Mutex
	issued   atomic.Int64
	answered atomic.Int64 // the highest that a mutation was answered for
	slowly   bool         // because it takes room

	mu      sync.Mutex
	commits []*commit
}

// commit is one behind the servers' backs.
type commit struct {
	n    int64
	at   time.Time     // when it had returned
	late time.Duration // after which a read was sent that still showed less
}

// seen is what a read has shown of a register.
type seen struct {
	of *register
	n  int64
}

// check is readers and writers of a shop.
type check struct {
	*shop.Shop
	t         *testing.T
	seed      uint64
	registers []*register
	reads     []func(ctx context.Context, v *shop.Server) ([]seen, error)

	stale, strange, asked, wrote, failed atomic.Int64
	mu                                   sync.Mutex
	took                                 []time.Duration // mutations
	tookFrozen                           []time.Duration // at one server while the other one was frozen
	freezes                              []freeze
	expects                              bool // that something fails: what is refused is no fault then
}

// freeze is a while for which a server was stopped.
type freeze struct {
	of         *shop.Server
	from, till time.Time
}

func number(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is %q", name, text)
	}
	return n
}

// raceFor is how long a race runs: for its share of EMPORIUM_RACE_SECONDS, or that many seconds otherwise.
func raceFor(t testing.TB, otherwise int, share float64) time.Duration {
	t.Helper()
	if n := number(t, "EMPORIUM_RACE_SECONDS", 0); n > 0 {
		return time.Duration(float64(n) * share * float64(time.Second))
	}
	return time.Duration(otherwise) * time.Second
}

func versionOf(text string) int64 {
	_, after, ok := strings.Cut(text, " v")
	n, err := strconv.ParseInt(after, 10, 64)
	if !ok || err != nil {
		return -1
	}
	return n
}

// prices are whole cents above 10.00.
func priceOf(n int64) string { return fmt.Sprintf("%d.%02d", (1000+n)/100, (1000+n)%100) }

func versionOfPrice(amount string) int64 {
	n, err := strconv.ParseInt(strings.Replace(amount, ".", "", 1), 10, 64)
	if err != nil {
		return -1
	}
	return n - 1000
}

func newCheck(t *testing.T, s *shop.Shop) *check {
	t.Helper()
	c := &check{Shop: s, t: t, seed: number(t, "EMPORIUM_RACE_SEED", rand.Uint64())}
	t.Logf("EMPORIUM_RACE_SEED=%d", c.seed)
	category, catalogue := s.Settle(3)
	mutate := func(ctx context.Context, v *shop.Server, token, name, kind string, keyed bool, in map[string]any) error {
		arguments, input, variables := "$in: "+kind+"!", "input: $in", map[string]any{"in": in}
		if keyed {
			arguments, input, variables["key"] = arguments+", $key: String!", input+", idempotencyKey: $key", cryptorand.Text()
		}
		// An attempt that nobody has answered may have come to something: the same is tried until it is answered.
		for {
			_, err := v.Ask(ctx, token, "mutation("+arguments+") { "+name+"("+input+") { userErrors { code message } } }", variables)
			if err == nil || ctx.Err() != nil || !c.expecting() {
				return err
			}
			pause(ctx, 100*time.Millisecond)
			v = s.Servers[rand.IntN(len(s.Servers))]
		}
	}
	dbID := func(sql, key string) string {
		var id string
		if err := s.Pool.QueryRow(t.Context(), sql, key).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	add := func(g *register) *register {
		c.registers = append(c.registers, g)
		return g
	}
	titles, prices, stock := map[string]*register{}, map[string]*register{}, map[string]*register{}
	for i, p := range catalogue {
		id := p.Text("id")
		g := add(&register{what: fmt.Sprintf("title %d", i), write: func(ctx context.Context, v *shop.Server, n int64) error {
			return mutate(ctx, v, s.Manager, "productUpdate", "ProductUpdateInput", false, map[string]any{"productId": id, "title": fmt.Sprintf("Thing v%d", n)})
		}})
		titles[id] = g
		sku := p.List("variants")[0].Text("sku")
		if i%2 == 0 {
			g.raw, g.rawID = `UPDATE products.products SET title = 'Thing v' || $2::bigint::text WHERE id = $1::uuid`,
				dbID(`SELECT product_id::text FROM products.variants WHERE sku = $1`, sku)
		}
		for j, variant := range p.List("variants") {
			vid := variant.Text("id")
			price := add(&register{what: fmt.Sprintf("price %d/%d", i, j), write: func(ctx context.Context, v *shop.Server, n int64) error {
				return mutate(ctx, v, s.Manager, "variantUpdate", "VariantUpdateInput", false, map[string]any{"variantId": vid, "price": priceOf(n)})
			}})
			prices[vid] = price
			if j == 0 {
				price.raw, price.rawID = `UPDATE products.variants SET price = 1000 + $2::bigint WHERE id = $1::uuid`,
					dbID(`SELECT id::text FROM products.variants WHERE sku = $1`, variant.Text("sku"))
				continue
			}
			stock[vid] = add(&register{what: fmt.Sprintf("stock %d", i), write: func(ctx context.Context, v *shop.Server, n int64) error {
				return mutate(ctx, v, s.Manager, "stockAdjust", "StockAdjustInput", true, map[string]any{"variantId": vid, "delta": 1, "reason": "CORRECTION"})
			}})
		}
	}
	shown := func(p shop.Object) (all []seen) {
		if title, ok := p["title"].(string); ok {
			all = append(all, seen{titles[p.Text("id")], versionOf(title)})
		}
		for _, variant := range p.List("variants") {
			vid := variant.Text("id")
			if amount := variant.Text("price", "amount"); amount != "" {
				all = append(all, seen{prices[vid], versionOfPrice(amount)})
			}
			if onHand, ok := variant.At("inventory")["onHand"].(float64); ok && stock[vid] != nil {
				all = append(all, seen{stock[vid], int64(onHand) - 1000})
			}
		}
		return all
	}
	read := func(token, query string, variables map[string]any, see func(answer shop.Object) ([]seen, error)) {
		c.reads = append(c.reads, func(ctx context.Context, v *shop.Server) ([]seen, error) {
			answer, err := v.Ask(ctx, token, query, variables)
			if err != nil {
				return nil, err
			}
			return see(answer)
		})
	}
	list := func(path ...string) func(shop.Object) ([]seen, error) {
		return func(answer shop.Object) (all []seen, err error) {
			for _, p := range answer.List(path...) {
				all = append(all, shown(p)...)
			}
			if len(answer.List(path...)) != shop.Products {
				err = fmt.Errorf("a list of %d products", len(answer.List(path...)))
			}
			return all, err
		}
	}
	for _, token := range []string{"", s.Manager, s.Customers[0].Token} {
		read(token, `{ products(first: 50) { nodes { id title variants { id price { amount } } } } }`, nil, list("products", "nodes"))
	}
	read("", `query($id: ID!) { category(id: $id) { name products(first: 50) { nodes { id title } } } }`, map[string]any{"id": category}, list("category", "products", "nodes"))
	for i, p := range catalogue {
		id := map[string]any{"id": p.Text("id")}
		one := func(answer shop.Object) ([]seen, error) { return shown(answer.At("product")), nil }
		read("", `query($id: ID!) { product(id: $id) { id title } }`, id, one)
		read(s.Customers[i%3].Token, `query($id: ID!) { product(id: $id) { id title variants { id price { amount } } } }`, id, one)
		read(s.Manager, `query($id: ID!) { product(id: $id) { id variants { id inventory { onHand } } } }`, id, one)
		for _, variant := range p.List("variants") {
			read("", `query($id: ID!) { variant(id: $id) { id price { amount } availability { inStock } } }`, map[string]any{"id": variant.Text("id")}, func(answer shop.Object) ([]seen, error) {
				return shown(shop.Object{"variants": []any{map[string]any(answer.At("variant"))}}), nil
			})
		}
	}
	for i, who := range s.Customers {
		name := add(&register{what: "name " + who.Name, write: func(ctx context.Context, v *shop.Server, n int64) error {
			return mutate(ctx, v, who.Token, "profileUpdate", "ProfileUpdateInput", false, map[string]any{"name": fmt.Sprintf("%s v%d", who.Name, n)})
		}})
		for range 3 {
			read(who.Token, `{ viewer { id email name } }`, nil, func(answer shop.Object) ([]seen, error) {
				viewer := answer.At("viewer")
				if viewer.Text("id") != who.ID || viewer.Text("email") != who.Email || !strings.HasPrefix(viewer.Text("name"), who.Name+" ") {
					c.strange.Add(1)
					return nil, fmt.Errorf("%s is told to be %v", who.Name, viewer)
				}
				return []seen{{name, versionOf(viewer.Text("name"))}}, nil
			})
		}
		order := add(&register{what: "order of " + who.Name, slowly: true, write: func(ctx context.Context, v *shop.Server, n int64) error {
			return mutate(ctx, v, s.Manager, "orderNoteAdd", "OrderNoteAddInput", false, map[string]any{"orderId": who.Order, "message": fmt.Sprintf("note v%d", n)})
		}})
		see := func(o shop.Object) ([]seen, error) {
			if o.Text("id") != who.Order {
				c.strange.Add(1)
				return nil, fmt.Errorf("%s is shown the order %v", who.Name, o)
			}
			n := int64(0)
			for _, e := range o.List("events") {
				n = max(n, versionOf(e.Text("message")))
			}
			return []seen{{order, n}}, nil
		}
		read(who.Token, `query($id: ID!) { order(id: $id) { id events { message } } }`, map[string]any{"id": who.Order}, func(answer shop.Object) ([]seen, error) { return see(answer.At("order")) })
		read(who.Token, `{ orders(first: 5) { nodes { id events { message } } } }`, nil, func(answer shop.Object) ([]seen, error) {
			if n := len(answer.List("orders", "nodes")); n != 1 {
				c.strange.Add(1)
				return nil, fmt.Errorf("%s is shown %d orders", who.Name, n)
			}
			return see(answer.List("orders", "nodes")[0])
		})
		read(s.Customers[(i+1)%3].Token, `query($id: ID!) { order(id: $id) { id } }`, map[string]any{"id": who.Order}, func(answer shop.Object) ([]seen, error) {
			if answer["order"] != nil {
				c.strange.Add(1)
				return nil, errors.New("a customer is shown somebody else's order")
			}
			return nil, nil
		})
		made := s.Must("", `mutation($lines: [CartLineInput!]!) { cartLinesAdd(input: {lines: $lines}) { token userErrors { code message } } }`,
			map[string]any{"lines": []any{map[string]any{"variantId": catalogue[i].List("variants")[0].Text("id"), "quantity": 1}}})
		token := made.Text("cartLinesAdd", "token")
		cart := add(&register{what: fmt.Sprintf("cart %d", i), write: func(ctx context.Context, v *shop.Server, n int64) error {
			return mutate(ctx, v, "", "cartUpdate", "CartUpdateInput", false, map[string]any{"token": token, "note": fmt.Sprintf("note v%d", n)})
		}})
		cart.answered.Store(-1) // there is none yet
		read("", `query($token: String!) { cart(token: $token) { note } }`, map[string]any{"token": token}, func(answer shop.Object) ([]seen, error) {
			return []seen{{cart, versionOf(answer.Text("cart", "note"))}}, nil
		})
	}
	return c
}

// read asks a server once and checks what it says.
func (c *check) read(ctx context.Context, r *rand.Rand) {
	least := make(map[*register]int64, len(c.registers))
	for _, g := range c.registers {
		least[g] = g.answered.Load()
	}
	v := c.Servers[r.IntN(len(c.Servers))]
	which := r.IntN(len(c.reads))
	sent := time.Now()
	all, err := c.reads[which](ctx, v)
	if err != nil {
		c.fault("a read", err)
		return
	}
	c.asked.Add(1)
	for _, got := range all {
		if got.n < least[got.of] && c.stale.Add(1) <= 5 {
			c.t.Logf("STALE: read %d at server %d shows version %d of %s after %d was answered", which, v.N, got.n, got.of.what, least[got.of])
		}
		if most := got.of.issued.Load(); got.n > most {
			c.t.Errorf("%s has version %d, of which only %d was written", got.of.what, got.n, most)
		}
		got.of.mu.Lock()
		for _, one := range got.of.commits {
			if got.n < one.n && sent.After(one.at) {
				one.late = max(one.late, sent.Sub(one.at))
			}
		}
		got.of.mu.Unlock()
	}
}

func (c *check) fault(what string, err error) {
	c.failed.Add(1)
	if !c.expecting() && !errors.Is(err, context.Canceled) {
		c.t.Errorf("%s: %v", what, err)
	}
}

// write changes something.
func (c *check) write(ctx context.Context, r *rand.Rand) {
	g := c.registers[r.IntN(len(c.registers))]
	if g.slowly && r.IntN(8) != 0 || !g.writing.TryLock() {
		return
	}
	defer g.writing.Unlock()
	n := g.issued.Add(1)
	if g.raw != "" && r.IntN(2) == 0 {
		for {
			if _, err := c.Pool.Exec(ctx, g.raw, g.rawID, n); err == nil {
				break
			} else if !c.expecting() {
				c.fault("a write behind the back", err)
				return
			}
			pause(ctx, 100*time.Millisecond)
		}
		g.mu.Lock()
		g.commits = append(g.commits, &commit{n: n, at: time.Now()})
		g.mu.Unlock()
		return
	}
	v := c.Servers[r.IntN(len(c.Servers))]
	began := time.Now()
	if err := g.write(ctx, v, n); err != nil {
		c.fault("a mutation of "+g.what, err)
		return
	}
	took := time.Since(began)
	g.answered.Store(n)
	c.wrote.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took = append(c.took, took)
	for _, other := range c.Servers {
		if other != v && c.frozeWithin(other, began, took) && !c.frozeWithin(v, began, took) {
			c.tookFrozen = append(c.tookFrozen, took)
		}
	}
}

// run lets readers and writers loose until the time is over or what is to happen meanwhile has happened, or something stale is
// read if that is what is wanted.
func (c *check) run(d time.Duration, untilStale bool, meanwhile func(ctx context.Context, r *rand.Rand)) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), d)
	defer cancel()
	var group sync.WaitGroup
	loop := func(of uint64, f func(ctx context.Context, r *rand.Rand)) {
		group.Go(func() {
			for r := rand.New(rand.NewPCG(c.seed, of)); ctx.Err() == nil && (!untilStale || c.stale.Load() == 0); {
				f(context.WithoutCancel(ctx), r)
			}
		})
	}
	for i := range 8 {
		loop(uint64(i), c.read)
	}
	for i := range 4 {
		loop(uint64(20+i), func(f context.Context, r *rand.Rand) {
			c.write(f, r)
			pause(ctx, time.Duration(r.IntN(10))*time.Millisecond) // reads have to come between, or nothing is kept
		})
	}
	if meanwhile != nil {
		loop(40, meanwhile)
	}
	group.Wait()
}

// report tells figures and fails for what must not be. What is committed behind the back has to show soon, if nothing holds it up
// on purpose.
func (c *check) report(soon bool) {
	c.t.Helper()
	var late []time.Duration
	for _, g := range c.registers {
		for _, one := range g.commits {
			late = append(late, one.late)
		}
	}
	c.t.Logf("%d reads, %d mutations, %d commits behind the back, %d requests failed; %d stale answers, %d of somebody else",
		c.asked.Load(), c.wrote.Load(), len(late), c.failed.Load(), c.stale.Load(), c.strange.Load())
	c.t.Logf("mutations took %s; at one server while the other one was frozen %s", quantiles(c.took), quantiles(c.tookFrozen))
	c.t.Logf("commits behind the back showed after %s", quantiles(late))
	for _, v := range c.Servers {
		const operations = "emporium_graphql_operation_duration_seconds_count"
		c.t.Logf("server %d: %.0f of %.0f queries were answered from the cache", v.N, v.Metric(operations, `"query"`, `"cached"`), v.Metric(operations, `"query"`))
	}
	if c.asked.Load() < 100 || c.wrote.Load() < 10 || len(late) < 5 {
		c.t.Error("too little was looked at")
	}
	if n := c.stale.Load(); n > 0 {
		c.t.Errorf("%d answers were older than a change that was answered before they were asked for", n)
	}
	if n := c.strange.Load(); n > 0 {
		c.t.Errorf("%d answers were somebody else's", n)
	}
	slices.Sort(late)
	// Leases bound it by 1.05 s, whatever the machine does, and whatever happens to it.
	if most := at(late, 1); most > 1100*time.Millisecond {
		c.t.Errorf("what was committed behind the back showed after %v", most)
	}
	// A machine that runs other tests beside is no measure.
	byHand := number(c.t, "EMPORIUM_RACE_SECONDS", 0) > 0
	if p99 := at(late, 0.99); soon && byHand && p99 > 250*time.Millisecond {
		c.t.Errorf("what was committed behind the back showed after %v (p99)", p99)
	}
}

func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func quantiles(all []time.Duration) string {
	all = slices.Sorted(slices.Values(all))
	round := func(q float64) time.Duration { return at(all, q).Round(10 * time.Microsecond) }
	return fmt.Sprintf("p50 %v, p99 %v, max %v (%d)", round(0.5), round(0.99), round(1), len(all))
}

// TestRace checks two servers as they are.
func TestRace(t *testing.T) {
	c := newCheck(t, shop.Open(t, 2))
	c.run(raceFor(t, 8, 0.2), false, nil)
	c.report(true)
}

// delays has servers take pauses where something else can come first.
func delays(t *testing.T) string {
	return "EMPORIUM_CACHE_DELAYS=" + strconv.FormatUint(number(t, "EMPORIUM_RACE_SEED", rand.Uint64()), 10)
}

// TestRaceWithDelays checks two servers that take pauses where something else can come first.
func TestRaceWithDelays(t *testing.T) {
	c := newCheck(t, shop.Open(t, 2, delays(t)))
	c.run(raceFor(t, 6, 0.3), false, nil)
	c.report(false)
}

// TestRaceFindsNaive checks the check: servers that forget what they change themselves, and nothing else, are found out.
func TestRaceFindsNaive(t *testing.T) {
	c := newCheck(t, shop.Open(t, 2, "EMPORIUM_CACHE_NAIVE=1"))
	began := time.Now()
	c.run(30*time.Second, true, nil)
	if c.stale.Load() == 0 {
		t.Error("servers that hear of nothing were taken for good ones")
	}
	t.Logf("found out after %v", time.Since(began))
}

// pause is how long a fault lasts, and how often something is tried again: of this test's faults and writers the times between
// are a part. It ends with the context.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// freeze stops a server for a while.
func (c *check) freeze(v *shop.Server, d time.Duration) {
	from := time.Now()
	c.mu.Lock()
	c.freezes = append(c.freezes, freeze{of: v, from: from})
	n := len(c.freezes) - 1
	c.mu.Unlock()
	v.Signal(syscall.SIGSTOP)
	pause(context.Background(), d) // it has to be set going again whatever happens
	c.mu.Lock()
	c.freezes[n].till = time.Now()
	c.mu.Unlock()
	v.Signal(syscall.SIGCONT)
}

// frozeWithin reports whether a server was frozen at some moment of a while; the lock is held.
func (c *check) frozeWithin(v *shop.Server, from time.Time, d time.Duration) bool {
	return slices.ContainsFunc(c.freezes, func(f freeze) bool {
		return f.of == v && f.from.Before(from.Add(d)) && (f.till.IsZero() || f.till.After(from))
	})
}

// expecting tells whether something may fail at the moment.
func (c *check) expecting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.expects
}

func (c *check) expect(something bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expects = something
}

// TestRaceWithFaults checks two servers while one of them is frozen or killed, their connections to the log end, Redis dies,
// and, now and then, Postgres.
func TestRaceWithFaults(t *testing.T) {
	s := shop.Open(t, 2, delays(t))
	c := newCheck(t, s)
	c.expect(true)
	var again []time.Duration
	faults := []func(r *rand.Rand){
		func(r *rand.Rand) { // at first, so that each run has it
			v := s.Servers[r.IntN(2)]
			c.freeze(v, time.Duration(200+r.IntN(2800))*time.Millisecond)
			thawed := time.Now()
			if shop.Eventually(20*time.Second, v.Caching) {
				again = append(again, time.Since(thawed))
			} else {
				t.Errorf("server %d does not use its cache again", v.N)
			}
		},
		func(*rand.Rand) {
			if _, err := s.Pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_replication`); err != nil {
				t.Logf("end connections: %v", err)
			}
		},
		func(*rand.Rand) {
			s.Redis.Kill()
			s.Redis.Start()
		},
		func(r *rand.Rand) {
			v := s.Servers[r.IntN(2)]
			v.Kill()
			v.Start()
		},
		func(*rand.Rand) {
			s.Cluster.Kill(t)
			s.Cluster.Restart(t)
		},
	}
	step := 0
	c.run(raceFor(t, 20, 0.5), false, func(ctx context.Context, r *rand.Rand) {
		which := step
		if step >= len(faults) {
			which = r.IntN(len(faults) - 1)
			if r.IntN(40) == 0 {
				which = len(faults) - 1
			}
		}
		step++
		faults[which](r)
		pause(ctx, time.Duration(r.IntN(1500))*time.Millisecond)
	})
	t.Logf("%d faults; the cache was used again after a freeze in %s", step, quantiles(again))
	c.expect(false)
	c.run(2*time.Second, false, nil)
	c.report(false)
	slices.Sort(c.tookFrozen)
	if most := at(c.tookFrozen, 1); most > 3*time.Second { // 1.1 s, and what a busy machine adds
		t.Errorf("a mutation took %v while the other server was frozen", most)
	}
	if step < len(faults) {
		t.Errorf("there were only %d faults", step)
	}
}
