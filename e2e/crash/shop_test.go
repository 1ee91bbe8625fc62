// Package crash kills: the server at each step of a purchase and at random moments under load, and Postgres beneath it. It
// drives the real program over HTTP, with a payment provider that is a process of its own and survives, and holds
// the shop's books against the provider's afterwards.
package crash

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/e2e/shop"
	"emporium/internal/payment/testprovider"
)

// requestLimit is the longest that a request may take: the server's own limit, and what a busy machine adds.
const requestLimit = 15*time.Second + 5*time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil { // they wait for other processes most of the time
		panic(err)
	}
	os.Exit(shop.Main(m))
}

// store is a server that is killed and started again, on databases and with a provider that stay.
type store struct {
	t        *testing.T
	binary   string
	dir      string
	addr     string // of the server, every time
	env      []string
	urls     map[string]string        // of the databases, by domain
	pools    map[string]*pgxpool.Pool // by domain
	provider *testprovider.Client
	manager  string // an access token
	plenty   []string
	scarce   []string
	shipping string

	process *process
	dying   bool // so may Postgres: what it does not answer is no fault of the server's
}

// domains are those that have a database, or a schema in a shared one.
var domains = []string{"users", "products", "orders", "payments"}

// openShop starts a provider and a server on empty databases, and fills the shelves.
func openShop(t *testing.T, urls map[string]string, redisURL string) *store {
	t.Helper()
	path, err := shop.Binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &store{t: t, binary: path, dir: t.TempDir(), addr: shop.FreeAddress(t), urls: urls, pools: map[string]*pgxpool.Pool{}}
	key, secret := rand.Text(), rand.Text()
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "HTTP_ADDR=" + s.addr, "ADMIN_ADDR=127.0.0.1:0", "EMPORIUM_DIR=" + s.dir,
		"DATABASE_URL=" + urls["users"], "REDIS_URL=" + redisURL, "ACCESS_TOKEN_TTL=24h", "RATE_LIMIT=0", "RATE_LIMIT_ADDRESS=0", "LOG_LEVEL=warn",
		"KEYSET_FILE=" + filepath.Join(s.dir, "keyset.json"), "SIGNING_KEYS_FILE=" + filepath.Join(s.dir, "signing.json"),
		"PAYMENT_PROVIDER=test", "TEST_PROVIDER_KEY=" + key, "TEST_PROVIDER_WEBHOOK_SECRET=" + secret,
	}
	for _, domain := range domains {
		s.env = append(s.env, strings.ToUpper(domain)+"_DATABASE_URL="+urls[domain])
		pool, err := pgxpool.New(t.Context(), urls[domain])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		s.pools[domain] = pool
	}
	url := s.startProvider()
	s.env = append(s.env, "TEST_PROVIDER_URL="+url)
	s.provider = testprovider.NewClient(url, key, secret)
	t.Cleanup(s.provider.Close)

	s.run("keys", "new", filepath.Join(s.dir, "keyset.json"))
	s.run("keys", "signing", "new", filepath.Join(s.dir, "signing.json"))
	s.run("migrate", "up")
	catalogue := filepath.Join(s.dir, "catalogue.csv")
	text := "Handle,Title,Vendor,Option1 Name,Option1 Value,Variant SKU,Variant Price,Variant Inventory Qty\r\n" +
		"mug,Mug,Kiln,Color,Blue,MUG-1,9.90,100000\r\nmug,,,,Red,MUG-2,10.90,100000\r\nbowl,Bowl,Kiln,,,BOWL,20,100000\r\n" +
		"vase,Vase,Kiln,Size,Small,VASE-1,30,25\r\nvase,,,,Large,VASE-2,45,5\r\n"
	if err := os.WriteFile(catalogue, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run("import", "products", catalogue)
	s.start("")
	s.must("", `mutation { signUp(input: {email: "manager@example.com", password: "correct horse battery", name: "Manager"}) { userErrors { message } } }`, nil)
	s.exec("users", `UPDATE users.users SET roles = '{MANAGER}'`)
	s.manager = s.run("token", "--email", "manager@example.com")
	method := s.must(s.manager, `mutation { shippingMethodCreate(input: {name: "Post", rates: [{price: "4.90"}]}) { shippingMethod { id } userErrors { message } } }`, nil)
	s.shipping = method.Text("shippingMethodCreate", "shippingMethod", "id")
	found := s.must("", `{ products(first: 10) { nodes { variants { id sku } } } }`, nil)
	for _, p := range found.List("products", "nodes") {
		for _, v := range p.List("variants") {
			if strings.HasPrefix(v.Text("sku"), "VASE") {
				s.scarce = append(s.scarce, v.Text("id"))
			} else {
				s.plenty = append(s.plenty, v.Text("id"))
			}
		}
	}
	if len(s.plenty) != 3 || len(s.scarce) != 2 {
		t.Fatalf("the shelves hold %v and %v", s.plenty, s.scarce)
	}
	return s
}

// run runs a command of the program and returns what it prints.
func (s *store) run(args ...string) string {
	s.t.Helper()
	return shop.Command(s.t, s.binary, s.env, args...)
}

// startProvider starts the payment provider, which ends with the test however that ends.
func (s *store) startProvider() (url string) {
	s.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), s.binary, "testprovider", "--addr", "127.0.0.1:0",
		"--books", filepath.Join(s.dir, "books.db"), "--webhook-url", "http://"+s.addr+"/webhooks/test", "--until-stdin-closes")
	cmd.Env = s.env
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		s.t.Fatalf("the provider did not start: %v", err)
	}
	return strings.TrimSpace(line)
}

// process is a server that was started.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// kill ends the server without a word, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails when it has ended
	<-p.ended
}

// launch starts the server, which dies at a point like "order: after hold" if that is not empty.
func (s *store) launch(killAt string) {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), s.binary, "serve")
	cmd.Env, cmd.Stderr = s.env, log
	if killAt != "" {
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "EMPORIUM_KILL_AT="+killAt+"#1")
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	s.process = p
	s.t.Cleanup(p.kill)
}

// start launches the server and waits until it is ready. One that is to die may do so before, of what an earlier one has left;
// what it has not come to is done by another one, if it lives so long.
func (s *store) start(killAt string) {
	s.t.Helper()
	for range 3 {
		s.launch(killAt)
		if s.ready() {
			return
		}
		if killAt == "" || !s.died() {
			s.t.Fatalf("the server did not become ready:\n%s", s.log())
		}
	}
}

// ready waits until the server is ready, or has ended.
func (s *store) ready() (ready bool) {
	shop.Eventually(30*time.Second, func() bool {
		select {
		case <-s.process.ended:
			return true
		default:
		}
		r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.addr+"/readyz", nil)
		if err != nil {
			return false
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		ready = response.StatusCode == http.StatusOK
		return ready
	})
	return ready
}

// log is the end of the server's log.
func (s *store) log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "server.log"))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// died waits for the end of the server.
func (s *store) died() bool {
	select {
	case <-s.process.ended:
		state, ok := s.process.cmd.ProcessState.Sys().(syscall.WaitStatus)
		return ok && state.Signaled() && state.Signal() == syscall.SIGKILL
	case <-time.After(20 * time.Second):
		return false
	}
}

// problems are the user errors of what a mutation has answered.
func problems(of shop.Object) (codes []string) {
	for _, p := range of.List("userErrors") {
		codes = append(codes, p.Text("code")+": "+p.Text("message"))
	}
	return codes
}

// refused is an answer with errors, by the code of the first.
type refused struct{ code, message string }

func (e *refused) Error() string { return e.code + ": " + e.message }

// errHung is the error of a request that was not answered in time.
var errHung = errors.New("the request hung")

// buyers keeps no more connections than there are buyers.
var buyers = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}

// ask sends a request once.
func (s *store) ask(ctx context.Context, token, query string, variables map[string]any) (shop.Object, error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, requestLimit, errHung)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+"/graphql", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := buyers.Do(r)
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	var answer struct {
		Data   shop.Object
		Errors []struct {
			Message    string
			Extensions struct{ Code string }
		}
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("status %d: %w: %.200s", response.StatusCode, err, raw)
	}
	if len(answer.Errors) > 0 {
		return nil, &refused{answer.Errors[0].Extensions.Code, answer.Errors[0].Message}
	}
	return answer.Data, nil
}

// send sends a request again and again, as a client would, until it is answered: the server may be dead or about to die, or
// still be at it.
func (s *store) send(ctx context.Context, token, query string, variables map[string]any) (shop.Object, error) {
	var answer shop.Object
	var err error
	if !shop.Eventually(90*time.Second, func() bool {
		answer, err = s.ask(ctx, token, query, variables)
		var no *refused
		switch {
		case ctx.Err() != nil, errors.Is(err, errHung):
			return true
		case errors.As(err, &no):
			return no.code != "IN_PROGRESS" && no.code != "TIMEOUT" && !(s.dying && no.code == "INTERNAL")
		}
		return err == nil
	}) {
		err = fmt.Errorf("never answered: %w", err)
	}
	return answer, err
}

// must is send for what has to succeed.
func (s *store) must(token, query string, variables map[string]any) shop.Object {
	s.t.Helper()
	answer, err := s.ask(s.t.Context(), token, query, variables)
	if err != nil {
		s.t.Fatalf("%v\n%s\n%s", err, query, s.log())
	}
	for name := range answer {
		if wrong := problems(answer.At(name)); len(wrong) > 0 {
			s.t.Fatalf("%v\n%s", wrong, query)
		}
	}
	return answer
}

// request is a mutation with a key, which can be sent again.
type request struct {
	name, token, query string
	variables          map[string]any
}

// item is a variant and how many.
type item struct {
	variant  string
	quantity int
}

// cart fills a cart and returns the request that orders it.
func (s *store) cart(ctx context.Context, card string, items ...item) (request, error) {
	lines := make([]map[string]any, len(items))
	for i, it := range items {
		lines[i] = map[string]any{"variantId": it.variant, "quantity": it.quantity}
	}
	// An answer that is lost leaves a cart that nobody knows, and nothing comes of it.
	made, err := s.send(ctx, "", `mutation($lines: [CartLineInput!]!) { cartLinesAdd(input: {lines: $lines}) { token userErrors { code message } } }`,
		map[string]any{"lines": lines})
	if err != nil {
		return request{}, err
	}
	token := made.Text("cartLinesAdd", "token")
	updated, err := s.send(ctx, "", `mutation($in: CartUpdateInput!) { cartUpdate(input: $in) { cart { total { amount } } userErrors { code message } } }`,
		map[string]any{"in": map[string]any{"token": token, "email": "kim@example.com", "shippingMethodId": s.shipping,
			"shippingAddress": map[string]any{"name": "Kim Lee", "line1": "Am Markt 1", "city": "Köln", "postalCode": "50667", "country": "DE"}}})
	if err != nil {
		return request{}, err
	}
	total := updated.Text("cartUpdate", "cart", "total", "amount")
	if total == "" {
		return request{}, fmt.Errorf("no total: %v", updated)
	}
	return request{"orderPlace", "", `mutation($in: OrderPlaceInput!, $key: String!) { orderPlace(input: $in, idempotencyKey: $key) {
		order { id status } guest { token } userErrors { code message } } }`,
		map[string]any{"key": rand.Text(), "in": map[string]any{"cartToken": token, "expectedTotal": total, "paymentMethod": card}}}, nil
}

// do sends a request until it is answered.
func (s *store) do(ctx context.Context, r request) (shop.Object, error) {
	answer, err := s.send(ctx, r.token, r.query, r.variables)
	return answer.At(r.name), err
}

// managed is a mutation of the manager's.
func (s *store) managed(name, kind, payload string, in map[string]any) request {
	return request{name, s.manager, fmt.Sprintf(`mutation($in: %s!, $key: String!) { %s(input: $in, idempotencyKey: $key) { %s userErrors { code message } } }`,
		kind, name, payload), map[string]any{"in": in, "key": rand.Text()}}
}

func (s *store) cancel(order string) request {
	return s.managed("orderCancel", "OrderCancelInput", "order { id status }", map[string]any{"orderId": order, "reason": "OTHER"})
}

func (s *store) capture(payment string) request {
	return s.managed("paymentCapture", "PaymentCaptureInput", "payment { id } command { id status }", map[string]any{"paymentId": payment})
}

func (s *store) void(payment string) request {
	return s.managed("paymentVoid", "PaymentVoidInput", "payment { id } command { id status }", map[string]any{"paymentId": payment})
}

func (s *store) refund(payment, amount string) request {
	return s.managed("paymentRefund", "PaymentRefundInput", "payment { id } command { id status }",
		map[string]any{"paymentId": payment, "amount": amount, "reason": "CUSTOMER_REQUEST"})
}

// edit adds a variant to an order and takes one of a line away.
func (s *store) edit(order, line, variant string) request {
	return s.managed("orderEdit", "OrderEditInput", "order { id status }", map[string]any{"orderId": order,
		"add":    []map[string]any{{"variantId": variant, "quantity": 1}},
		"reduce": []map[string]any{{"orderLineId": line, "quantity": 1}}})
}

// look returns an order with its payments and lines.
func (s *store) look(ctx context.Context, token, order string) (shop.Object, error) {
	answer, err := s.send(ctx, token, `query($id: ID!) { order(id: $id) { status payments { id status action { url } } lines { id } } }`, map[string]any{"id": order})
	return answer.At("order"), err
}

// approve is what a customer does at their bank.
func (s *store) approve(ctx context.Context, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("answer=approve"))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := buyers.Do(r)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func (s *store) exec(domain, sql string, args ...any) {
	s.t.Helper()
	if _, err := s.pools[domain].Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// rows reads texts, several columns of a row joined by a space.
func (s *store) rows(domain, sql string, args ...any) []string {
	s.t.Helper()
	found, err := s.pools[domain].Query(s.t.Context(), sql, args...)
	var all []string
	if err == nil {
		all, err = pgx.CollectRows(found, pgx.RowTo[string])
	}
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return all
}

// sums reads a number for each key.
func (s *store) sums(domain, sql string) map[string]int64 {
	s.t.Helper()
	all := map[string]int64{}
	for _, row := range s.rows(domain, "SELECT k::text || ' ' || v::text FROM ("+sql+") AS x(k, v)") {
		key, value, _ := strings.Cut(row, " ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			n = math.MinInt64
		}
		all[key] = n
	}
	return all
}
