//go:build unix

// Package race reads and writes at two servers at once, by their API and behind their backs, and checks that nobody who asks
// after a change was answered is told what was before it, whatever is killed, frozen or lost meanwhile.
package race

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/internal/postgres/pgtest"
	"emporium/internal/redisclient/redistest"
)

// binary builds the program with the hooks of tests.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "emporium")
	if out, err := exec.CommandContext(context.Background(), "go", "build", "-tags", "crashtest", "-o", path, "emporium").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// programs is the folder for what is built.
var programs string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "emporium-race")
	if err != nil {
		panic(err)
	}
	programs = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// shop is some servers of one shop.
type shop struct {
	t         *testing.T
	binary    string
	dir       string
	env       []string
	cluster   *pgtest.Cluster
	redis     *redistest.Server
	pool      *pgxpool.Pool
	servers   []*server
	manager   string // access token
	customers []customer

	mu      sync.Mutex
	expects bool // that something fails: what is refused is no fault then
}

// customer is somebody who has an account and an order.
type customer struct{ token, id, name, order, email string }

// server is a process of the shop.
type server struct {
	s           *shop
	n           int
	http, admin string // addresses
	mu          sync.Mutex
	cmd         *exec.Cmd
	ended       chan struct{}
	freezes     [][2]time.Time // from when till when it was stopped
}

// openShop makes a shop with so many servers, which have in their environment what is given besides.
func openShop(t *testing.T, servers int, env ...string) *shop {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, binary: path, dir: t.TempDir(), cluster: pgtest.NewCluster(t), redis: redistest.New(t)}
	url := s.cluster.Migrated(t).URLs["users"]
	s.pool = s.cluster.Pool(t, url)
	s.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "DATABASE_URL=" + url, "REDIS_URL=" + s.redis.URL(),
		"ACCESS_TOKEN_TTL=24h", "RATE_LIMIT=0", "RATE_LIMIT_ADDRESS=0", "LOG_LEVEL=warn", "EMPORIUM_DIR=" + s.dir,
		"KEYSET_FILE=" + filepath.Join(s.dir, "keyset.json"), "SIGNING_KEYS_FILE=" + filepath.Join(s.dir, "signing.json")}, env...)
	s.run("keys", "new", filepath.Join(s.dir, "keyset.json"))
	s.run("keys", "signing", "new", filepath.Join(s.dir, "signing.json"))
	text := "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price,Variant Inventory Qty\r\n"
	for i := range products {
		text += fmt.Sprintf("p%d,Thing v0,Size,Small,P%dS,10.00,1000\r\np%d,,,Large,P%dL,10.00,1000\r\n", i, i, i, i)
	}
	catalogue := filepath.Join(s.dir, "catalogue.csv")
	if err := os.WriteFile(catalogue, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run("import", "products", catalogue)
	for n := range servers {
		v := &server{s: s, n: n, http: freeAddress(t), admin: freeAddress(t)}
		s.servers = append(s.servers, v)
		v.start()
	}
	return s
}

// products is how many there are, of two variants each.
const products = 6

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// run runs a command of the program and returns what it prints.
func (s *shop) run(args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.binary, args...)
	var errs bytes.Buffer
	cmd.Env, cmd.Stderr = s.env, &errs
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("emporium %s: %v\n%s", strings.Join(args, " "), err, errs.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// start starts the server and waits until it is ready, and its cache is.
func (v *server) start() {
	v.s.t.Helper()
	log, err := os.OpenFile(v.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		v.s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(v.s.binary, "serve")
	cmd.Env, cmd.Stderr = append(v.s.env[:len(v.s.env):len(v.s.env)], "HTTP_ADDR="+v.http, "ADMIN_ADDR="+v.admin), log
	if err := cmd.Start(); err != nil {
		v.s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	v.s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill() // fails when it has ended
		<-ended
	})
	v.mu.Lock()
	v.cmd, v.ended = cmd, ended
	v.mu.Unlock()
	if !eventually(time.Minute, v.caching) {
		v.s.t.Fatalf("server %d does not come to use its cache:\n%s", v.n, v.log())
	}
}

func (v *server) signal(sig os.Signal) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_ = v.cmd.Process.Signal(sig) // fails when it has ended
}

// kill ends the server without a word.
func (v *server) kill() {
	v.signal(syscall.SIGKILL)
	<-v.ended
}

// caching reports whether the server is ready and uses its cache.
func (v *server) caching() bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.s.t.Context()), 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.http+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := client.Do(r)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return err == nil && response.StatusCode == http.StatusOK && !bytes.Contains(body, []byte("answers are not kept"))
}

// lookups are the answers of the server by where they came from, of which it counts those from the cache by a name.
func (v *server) lookups() string {
	response, err := client.Get("http://" + v.admin + "/metrics")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body)
	cached, all := 0.0, 0.0
	for line := range strings.Lines(string(body)) {
		if !strings.Contains(line, "operation") || !strings.Contains(line, "_count{") || !strings.Contains(line, `"query"`) {
			continue
		}
		n, _ := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
		all += n
		if strings.Contains(line, `"cached"`) {
			cached += n
		}
	}
	return fmt.Sprintf("%.0f of %.0f queries were answered from the cache", cached, all)
}

func (v *server) logPath() string { return filepath.Join(v.s.dir, fmt.Sprintf("server%d.log", v.n)) }

// log is the end of the server's log.
func (v *server) log() string {
	text, _ := os.ReadFile(v.logPath())
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// eventually polls until the condition holds, and tells whether it ever did.
func eventually(limit time.Duration, condition func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			return condition()
		case <-tick.C:
		}
	}
	return true
}

// object is a part of an answer.
type object map[string]any

func (o object) at(path ...string) object {
	for _, name := range path {
		next, _ := o[name].(map[string]any)
		o = next
	}
	return o
}

func (o object) text(path ...string) string {
	text, _ := o.at(path[:len(path)-1]...)[path[len(path)-1]].(string)
	return text
}

func (o object) list(path ...string) (all []object) {
	items, _ := o.at(path[:len(path)-1]...)[path[len(path)-1]].([]any)
	for _, item := range items {
		one, _ := item.(map[string]any)
		all = append(all, one)
	}
	return all
}

// client keeps connections. A request to a server that is frozen is answered when it goes on: given up it would be done all the
// same, later, over what was written meanwhile.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: 40 * time.Second}

// errRefused is an answer with errors.
var errRefused = errors.New("refused")

// ask sends a request once.
func (v *server) ask(ctx context.Context, token, query string, variables map[string]any) (object, error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+v.http+"/graphql", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data   object
		Errors []struct{ Message string }
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("status %d: %w: %.200s", response.StatusCode, err, raw)
	}
	if len(answer.Errors) > 0 {
		return nil, fmt.Errorf("%w: %s", errRefused, answer.Errors[0].Message)
	}
	for name := range answer.Data {
		if wrong := answer.Data.list(name, "userErrors"); len(wrong) > 0 {
			return nil, fmt.Errorf("%w: %s: %v", errRefused, name, wrong)
		}
	}
	return answer.Data, nil
}

// must is ask for what has to succeed.
func (s *shop) must(token, query string, variables map[string]any) object {
	s.t.Helper()
	answer, err := s.servers[0].ask(s.t.Context(), token, query, variables)
	if err != nil {
		s.t.Fatalf("%v\n%s\n%s", err, query, s.servers[0].log())
	}
	return answer
}

// settle gives the shop a manager, a category with all products, and some customers with an order each.
func (s *shop) settle(customers int) (category string, catalogue []object) {
	s.t.Helper()
	s.must("", `mutation { signUp(input: {email: "manager@example.com", password: "correct horse battery", name: "Manager"}) { userErrors { message } } }`, nil)
	if _, err := s.pool.Exec(s.t.Context(), `UPDATE users.users SET roles = '{MANAGER}'`); err != nil {
		s.t.Fatal(err)
	}
	s.manager = s.run("token", "--email", "manager@example.com")
	category = s.must(s.manager, `mutation { categoryCreate(input: {name: "Things"}) { category { id } userErrors { message } } }`, nil).
		text("categoryCreate", "category", "id")
	catalogue = s.must("", `{ products(first: 50) { nodes { id variants { id sku } } } }`, nil).list("products", "nodes")
	if len(catalogue) != products {
		s.t.Fatalf("there are %d products", len(catalogue))
	}
	for _, p := range catalogue {
		s.must(s.manager, `mutation($in: ProductUpdateInput!) { productUpdate(input: $in) { userErrors { message } } }`,
			map[string]any{"in": map[string]any{"productId": p.text("id"), "categoryId": category}})
	}
	for i := range customers {
		c := customer{name: fmt.Sprintf("Customer%d", i), email: fmt.Sprintf("c%d@example.com", i)}
		s.must("", `mutation($in: SignUpInput!) { signUp(input: $in) { userErrors { message } } }`,
			map[string]any{"in": map[string]any{"email": c.email, "password": "correct horse battery", "name": c.name + " v0"}})
		c.token = s.run("token", "--email", c.email)
		c.id = s.must(c.token, `{ viewer { id } }`, nil).text("viewer", "id")
		c.order = s.must(s.manager, `mutation($in: OrderDraftInput!, $key: String!) { orderDraftCreate(input: $in, idempotencyKey: $key) { order { id } userErrors { code message } } }`,
			map[string]any{"key": rand.Text(), "in": map[string]any{"customerId": c.id,
				"lines": []any{map[string]any{"variantId": catalogue[0].list("variants")[0].text("id"), "quantity": 1}}, "shippingMethod": "Post", "shippingTotal": "0",
				"shippingAddress": map[string]any{"name": "Kim Lee", "line1": "Am Markt 1", "city": "Köln", "postalCode": "50667", "country": "DE"}}}).
			text("orderDraftCreate", "order", "id")
		s.must(s.manager, `mutation($id: ID!, $key: String!) { orderDraftPlace(input: {orderId: $id}, idempotencyKey: $key) { order { id status } userErrors { code message } } }`,
			map[string]any{"id": c.order, "key": rand.Text()})
		s.customers = append(s.customers, c)
	}
	return category, catalogue
}

// expecting tells whether something may fail at the moment.
func (s *shop) expecting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expects
}

func (s *shop) expect(something bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expects = something
}
