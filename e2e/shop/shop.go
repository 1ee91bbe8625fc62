// Package shop runs the program for the tests that look at it from outside.
package shop

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/internal/postgres/pgtest"
	"emporium/internal/redisclient/redistest"
)

// Binary builds the program with the hooks of tests, once.
var Binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "emporium")
	if out, err := exec.CommandContext(context.Background(), "go", "build", "-tags", "crashtest", "-o", path, "emporium").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// programs is the folder for what is built.
var programs string

// Main runs the tests of a package, and returns the exit code: os.Exit(shop.Main(m)).
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "emporium-e2e")
	if err != nil {
		panic(err)
	}
	programs = dir
	defer func() { _ = os.RemoveAll(dir) }()
	return m.Run()
}

// Shop is some servers of one shop, on a Postgres and a Redis of its own.
type Shop struct {
	t         *testing.T
	binary    string
	dir       string
	env       []string
	Cluster   *pgtest.Cluster
	Redis     *redistest.Server
	Pool      *pgxpool.Pool
	Servers   []*Server
	Manager   string // access token
	Customers []Customer
}

// Customer is somebody who has an account and an order.
type Customer struct{ Token, ID, Name, Order, Email string }

// Server is a process of the shop.
type Server struct {
	s           *Shop
	N           int
	HTTP, Admin string // addresses
	mu          sync.Mutex
	cmd         *exec.Cmd
	ended       chan struct{}
}

// Open makes a shop with so many servers, which have in their environment what is given besides.
func Open(t *testing.T, servers int, env ...string) *Shop {
	t.Helper()
	path, err := Binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &Shop{t: t, binary: path, dir: t.TempDir(), Cluster: pgtest.NewCluster(t), Redis: redistest.New(t)}
	url := s.Cluster.Migrated(t).URLs["users"]
	s.Pool = s.Cluster.Pool(t, url)
	s.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "DATABASE_URL=" + url, "REDIS_URL=" + s.Redis.URL(),
		"ACCESS_TOKEN_TTL=24h", "RATE_LIMIT=0", "RATE_LIMIT_ADDRESS=0", "LOG_LEVEL=warn", "EMPORIUM_DIR=" + s.dir,
		"KEYSET_FILE=" + filepath.Join(s.dir, "keyset.json"), "SIGNING_KEYS_FILE=" + filepath.Join(s.dir, "signing.json")}, env...)
	s.Run("keys", "new", filepath.Join(s.dir, "keyset.json"))
	s.Run("keys", "signing", "new", filepath.Join(s.dir, "signing.json"))
	text := "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price,Variant Inventory Qty\r\n"
	for i := range Products {
		text += fmt.Sprintf("p%d,Thing v0,Size,Small,P%dS,10.00,1000\r\np%d,,,Large,P%dL,10.00,1000\r\n", i, i, i, i)
	}
	catalogue := filepath.Join(s.dir, "catalogue.csv")
	if err := os.WriteFile(catalogue, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Run("import", "products", catalogue)
	for n := range servers {
		v := &Server{s: s, N: n, HTTP: FreeAddress(t), Admin: FreeAddress(t)}
		s.Servers = append(s.Servers, v)
		v.Start()
	}
	return s
}

// Products is how many there are, of two variants each.
const Products = 6

// FreeAddress is one on which nobody listens yet.
func FreeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Run runs a command of the program and returns what it prints.
func (s *Shop) Run(args ...string) string {
	s.t.Helper()
	return Command(s.t, s.binary, s.env, args...)
}

// Command runs a command of a program and returns what it prints.
func Command(t *testing.T, program string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var errs bytes.Buffer
	cmd.Env, cmd.Stderr = env, &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, errs.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// Start starts the server and waits until it is ready, and its cache is.
func (v *Server) Start() {
	v.s.t.Helper()
	log, err := os.OpenFile(v.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		v.s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(v.s.binary, "serve")
	cmd.Env, cmd.Stderr = append(v.s.env[:len(v.s.env):len(v.s.env)], "HTTP_ADDR="+v.HTTP, "ADMIN_ADDR="+v.Admin), log
	if err := cmd.Start(); err != nil {
		v.s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	v.s.t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails when it has ended
		<-ended
	})
	v.mu.Lock()
	v.cmd, v.ended = cmd, ended
	v.mu.Unlock()
	if !Eventually(time.Minute, v.Caching) {
		v.s.t.Fatalf("server %d does not come to use its cache:\n%s", v.N, v.Log())
	}
}

// Signal sends the server a signal, unless it has ended.
func (v *Server) Signal(sig os.Signal) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_ = v.cmd.Process.Signal(sig)
}

// Kill ends the server without a word.
func (v *Server) Kill() {
	v.Signal(os.Kill)
	<-v.ended
}

// Caching reports whether the server is ready and uses its cache.
func (v *Server) Caching() bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.s.t.Context()), 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.HTTP+"/readyz", nil)
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

// Metric is the sum of a metric's samples whose labels have certain texts in them; NaN if the server does not tell.
func (v *Server) Metric(name string, labels ...string) float64 {
	response, err := client.Get("http://" + v.Admin + "/metrics")
	if err != nil {
		return math.NaN()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return math.NaN()
	}
	sum := 0.0
	for line := range strings.Lines(string(body)) {
		sample, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		of, described, _ := strings.Cut(sample, "{")
		if of != name || slices.ContainsFunc(labels, func(text string) bool { return !strings.Contains(described, text) }) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return math.NaN()
		}
		sum += n
	}
	return sum
}

// Collect has the server collect its garbage.
func (v *Server) Collect() error {
	response, err := client.Get("http://" + v.Admin + "/debug/pprof/heap?gc=1")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

func (v *Server) logPath() string { return filepath.Join(v.s.dir, fmt.Sprintf("server%d.log", v.N)) }

// Log is the end of the server's log.
func (v *Server) Log() string {
	text, _ := os.ReadFile(v.logPath())
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// Eventually polls until the condition holds, and tells whether it ever did.
func Eventually(limit time.Duration, condition func() bool) bool {
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

// Object is a part of an answer.
type Object map[string]any

// At follows a path to an object; nil where there is none.
func (o Object) At(path ...string) Object {
	for _, name := range path {
		next, _ := o[name].(map[string]any)
		o = next
	}
	return o
}

// Text is what a path leads to; empty where there is no text.
func (o Object) Text(path ...string) string {
	text, _ := o.At(path[:len(path)-1]...)[path[len(path)-1]].(string)
	return text
}

// List is the objects that a path leads to.
func (o Object) List(path ...string) (all []Object) {
	items, _ := o.At(path[:len(path)-1]...)[path[len(path)-1]].([]any)
	for _, item := range items {
		one, _ := item.(map[string]any)
		all = append(all, one)
	}
	return all
}

// client keeps connections. A request to a server that is frozen is answered when it goes on: given up it would be done all the
// same, later, over what was written meanwhile.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: 40 * time.Second}

// ErrRefused is an answer with errors.
var ErrRefused = errors.New("refused")

// Ask sends a request once.
func (v *Server) Ask(ctx context.Context, token, query string, variables map[string]any) (Object, error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+v.HTTP+"/graphql", bytes.NewReader(body))
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
		Data   Object
		Errors []struct{ Message string }
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("status %d: %w: %.200s", response.StatusCode, err, raw)
	}
	if len(answer.Errors) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrRefused, answer.Errors[0].Message)
	}
	for name := range answer.Data {
		if wrong := answer.Data.List(name, "userErrors"); len(wrong) > 0 {
			return nil, fmt.Errorf("%w: %s: %v", ErrRefused, name, wrong)
		}
	}
	return answer.Data, nil
}

// Must is Ask for what has to succeed.
func (s *Shop) Must(token, query string, variables map[string]any) Object {
	s.t.Helper()
	answer, err := s.Servers[0].Ask(s.t.Context(), token, query, variables)
	if err != nil {
		s.t.Fatalf("%v\n%s\n%s", err, query, s.Servers[0].Log())
	}
	return answer
}

// Settle gives the shop a manager, a category with all products, and some customers with an order each.
func (s *Shop) Settle(customers int) (category string, catalogue []Object) {
	s.t.Helper()
	s.Must("", `mutation { signUp(input: {email: "manager@example.com", password: "correct horse battery", name: "Manager"}) { userErrors { message } } }`, nil)
	if _, err := s.Pool.Exec(s.t.Context(), `UPDATE users.users SET roles = '{MANAGER}'`); err != nil {
		s.t.Fatal(err)
	}
	s.Manager = s.Run("token", "--email", "manager@example.com")
	category = s.Must(s.Manager, `mutation { categoryCreate(input: {name: "Things"}) { category { id } userErrors { message } } }`, nil).
		Text("categoryCreate", "category", "id")
	catalogue = s.Must("", `{ products(first: 50) { nodes { id variants { id sku } } } }`, nil).List("products", "nodes")
	if len(catalogue) != Products {
		s.t.Fatalf("there are %d products", len(catalogue))
	}
	for _, p := range catalogue {
		s.Must(s.Manager, `mutation($in: ProductUpdateInput!) { productUpdate(input: $in) { userErrors { message } } }`,
			map[string]any{"in": map[string]any{"productId": p.Text("id"), "categoryId": category}})
	}
	for i := range customers {
		c := Customer{Name: fmt.Sprintf("Customer%d", i), Email: fmt.Sprintf("c%d@example.com", i)}
		s.Must("", `mutation($in: SignUpInput!) { signUp(input: $in) { userErrors { message } } }`,
			map[string]any{"in": map[string]any{"email": c.Email, "password": "correct horse battery", "name": c.Name + " v0"}})
		c.Token = s.Run("token", "--email", c.Email)
		c.ID = s.Must(c.Token, `{ viewer { id } }`, nil).Text("viewer", "id")
		c.Order = s.Must(s.Manager, `mutation($in: OrderDraftInput!, $key: String!) { orderDraftCreate(input: $in, idempotencyKey: $key) { order { id } userErrors { code message } } }`,
			map[string]any{"key": rand.Text(), "in": map[string]any{"customerId": c.ID,
				"lines": []any{map[string]any{"variantId": catalogue[0].List("variants")[0].Text("id"), "quantity": 1}}, "shippingMethod": "Post", "shippingTotal": "0",
				"shippingAddress": map[string]any{"name": "Kim Lee", "line1": "Am Markt 1", "city": "Köln", "postalCode": "50667", "country": "DE"}}}).
			Text("orderDraftCreate", "order", "id")
		s.Must(s.Manager, `mutation($id: ID!, $key: String!) { orderDraftPlace(input: {orderId: $id}, idempotencyKey: $key) { order { id status } userErrors { code message } } }`,
			map[string]any{"id": c.Order, "key": rand.Text()})
		s.Customers = append(s.Customers, c)
	}
	return category, catalogue
}
