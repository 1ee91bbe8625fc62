package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"emporium/internal/app"
	"emporium/internal/config"
	"emporium/internal/devstack"
	"emporium/internal/postgres/pgtest"
	"emporium/migrations"
)

// environment returns the variables of a production-like configuration on databases of the test's own: no demo data, keys
// in files.
func environment(t *testing.T, dbs *pgtest.Databases, more ...string) []string {
	t.Helper()
	dir := t.TempDir()
	env := []string{
		"HTTP_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "EMPORIUM_DIR=" + dir,
		"KEYSET_FILE=" + filepath.Join(dir, "keyset.json"), "SIGNING_KEYS_FILE=" + filepath.Join(dir, "signing.json"),
		"LOG_LEVEL=error", "SHUTDOWN_GRACE=5s",
	}
	if dbs != nil {
		env = append(env, "DATABASE_URL="+dbs.URLs["users"], "REDIS_URL="+dbs.RedisURL)
		if pgtest.Apart() {
			for _, domain := range config.Domains {
				env = append(env, strings.ToUpper(domain)+"_DATABASE_URL="+dbs.URLs[domain])
			}
		}
	}
	for _, keys := range [][]string{{"keys", "new", "keyset.json"}, {"keys", "signing", "new", "signing.json"}} {
		file := filepath.Join(dir, keys[len(keys)-1])
		if out, err := command(t, env, append(keys[:len(keys)-1], file)...); err != nil {
			t.Fatalf("%v: %v %s", keys, err, out)
		}
	}
	return append(env, more...)
}

func command(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	err := app.Command(t.Context(), append([]string{"emporium"}, args...), env, &out, &errs)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, errs.String())
	}
	return out.String(), err
}

// server is an app that runs until the test ends, or stop is called.
type server struct {
	*app.App
	t      *testing.T
	stop   func() error
	failed bool // it is expected to
}

func start(t *testing.T, env []string) *server {
	t.Helper()
	cfg, err := config.Load(env)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), cfg, slog.New(slog.DiscardHandler), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx, nil) }()
	s := &server{App: a, t: t}
	s.stop = sync.OnceValue(func() error {
		cancel()
		err := <-ended
		if closed := a.Close(); err == nil {
			err = closed
		}
		return err
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil && !s.failed {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

func (s *server) get(path string) (int, string) {
	s.t.Helper()
	return get(s.t, "http://"+s.HTTPAddr()+path)
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (s *server) ask(token, query string) string {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.post(token, string(body))
}

// post sends the body of a request.
func (s *server) post(token, body string) string {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.HTTPAddr()+"/graphql", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(answer)
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func (s *server) untilReady() {
	s.t.Helper()
	eventually(s.t, "ready", func() bool { status, _ := s.get("/readyz"); return status == http.StatusOK })
}

// TestServe goes once around a server: ready, answers, keys, metrics, no Playground in production, stopped.
func TestServe(t *testing.T) {
	t.Parallel()
	s := start(t, environment(t, pgtest.New(t)))
	s.untilReady()
	if _, body := s.get("/readyz"); !strings.Contains(body, `"redis":"ok"`) {
		t.Errorf("readyz: %s", body)
	}
	if status, body := s.get("/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %s", status, body)
	}
	if got := s.ask("", `{ categories { name } }`); got != `{"data":{"categories":[]}}` {
		t.Errorf("an empty shop: %s", got)
	}
	if status, body := s.get("/.well-known/jwks.json"); status != 200 || !strings.Contains(body, `"kty":"OKP"`) || strings.Contains(body, `"d":`) {
		t.Errorf("jwks: %d %s", status, body)
	}
	if status, _ := s.get("/"); status != 404 {
		t.Errorf("the Playground is there in production: %d", status)
	}
	if status, _ := s.get("/metrics"); status != 404 {
		t.Errorf("metrics are public: %d", status)
	}
	_, metrics := get(t, "http://"+s.AdminAddr()+"/metrics")
	for _, want := range []string{
		`emporium_graphql_operation_duration_seconds_count{kind="query",operation="anonymous",outcome="ok"} 1`,
		`emporium_sql_statement_duration_seconds_count{outcome="ok",statement="products.`,
		`emporium_http_request_duration_seconds_count{method="POST",route="/graphql",status="200"} 1`,
		`emporium_pool_connections_max`, `emporium_loader_batch_keys_count{edge="category.children"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if err := s.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if status, _ := s.get("/healthz"); status != 0 {
		t.Errorf("after the stop it still answers: %d", status)
	}
}

// TestWithoutRedis runs, and says what is lost; with a Redis that is not there, too.
func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"none": "", "dead": "redis://127.0.0.1:1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, environment(t, pgtest.New(t), "REDIS_URL="+url))
			s.untilReady()
			if _, body := s.get("/readyz"); !strings.Contains(body, "sign-in attempts are counted for each process") {
				t.Errorf("readyz: %s", body)
			}
			got := s.ask("", `mutation { signUp(input: {email: "eve@example.com", password: "a good long phrase", name: "Eve"}) { tokens { accessToken } } }`)
			if !strings.Contains(got, `"accessToken":"ey`) {
				t.Errorf("sign up: %s", got)
			}
		})
	}
}

// TestWithoutPostgres is alive but not ready, answers with an error and not with a hang, and recovers when the server comes.
func TestWithoutPostgres(t *testing.T) {
	t.Parallel()
	dbs := pgtest.New(t)
	// A socket that is refused at first, and leads to Postgres later.
	dir, err := os.MkdirTemp("/tmp", "emporium-pg") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var urls []string
	var socket string
	for _, domain := range config.Domains {
		var url string
		if url, socket, err = pgtest.Redirect(dbs.URLs[domain], dir); err != nil {
			t.Fatal(err)
		}
		urls = append(urls, strings.ToUpper(domain)+"_DATABASE_URL="+url, "DATABASE_URL="+url)
	}
	s := start(t, environment(t, nil, urls...))
	if status, body := s.get("/readyz"); status != 503 || !strings.Contains(body, "does not answer") {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, _ := s.get("/healthz"); status != 200 {
		t.Errorf("healthz: %d", status)
	}
	if got := s.ask("", `{ categories { name } }`); !strings.Contains(got, `"code":"INTERNAL"`) || strings.Contains(got, dir) {
		t.Errorf("without Postgres: %s", got)
	}
	if err := os.Symlink(socket, filepath.Join(dir, ".s.PGSQL.5432")); err != nil {
		t.Fatal(err)
	}
	s.untilReady()
	if got := s.ask("", `{ categories { name } }`); got != `{"data":{"categories":[]}}` {
		t.Errorf("with Postgres: %s", got)
	}
}

// TestEightReplicasMigrateOnce starts eight servers on empty databases at the same moment.
func TestEightReplicasMigrateOnce(t *testing.T) {
	t.Parallel()
	stack, err := devstack.ForTests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	url := pgtest.Empty(t)
	var wg sync.WaitGroup
	applied := make(chan migrations.Step, 100)
	for range 8 {
		wg.Go(func() {
			for _, domain := range migrations.Domains {
				steps, err := migrations.Up(t.Context(), url, domain)
				if err != nil {
					t.Error(err)
				}
				for _, s := range steps {
					applied <- s
				}
			}
		})
	}
	wg.Wait()
	close(applied)
	count := map[string]int{}
	for s := range applied {
		count[s.Domain]++
	}
	for _, domain := range migrations.Domains {
		status, err := migrations.Status(t.Context(), url, domain)
		if err != nil || len(status) == 0 {
			t.Fatalf("%s: %v %v", domain, status, err)
		}
		if count[domain] != len(status) {
			t.Errorf("%s: %d migrations were applied, there are %d", domain, count[domain], len(status))
		}
		// Down and up again leave the same schema.
		if _, err := migrations.Down(t.Context(), url, domain); err != nil {
			t.Errorf("down: %v", err)
		}
		if again, err := migrations.Up(t.Context(), url, domain); err != nil || len(again) != 1 {
			t.Errorf("up again: %v %v", again, err)
		}
	}
}

// TestDrain stops a server in the middle of a request: the request is answered, new ones are not.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := start(t, environment(t, pgtest.New(t)))
	s.untilReady()
	// A request that has begun: its headers are read, its body is on the way.
	conn, err := net.Dial("tcp", s.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body := `{"query":"{ categories { name } }"}`
	if _, err := fmt.Fprintf(conn, "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		len(body), body[:5]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the request is being answered", func() bool {
		_, metrics := get(t, "http://"+s.AdminAddr()+"/metrics")
		return strings.Contains(metrics, "emporium_http_requests_in_flight 1")
	})
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	eventually(t, "new requests are refused", func() bool { status, _ := s.get("/healthz"); return status == 0 })
	select {
	case err := <-stopped:
		t.Fatalf("the server did not wait for its request: %v", err)
	default:
	}
	if _, err := io.WriteString(conn, body[5:]); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), `{"data":{"categories":[]}}`) {
		t.Errorf("the request that was running: %v %s", err, answer)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// TestConfigurationFaults wants a clear refusal, and no secret in it.
func TestConfigurationFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ env, want string }{
		"no keyset":           {"KEYSET_FILE=", "KEYSET or KEYSET_FILE is missing"},
		"no signing keys":     {"SIGNING_KEYS_FILE=", "SIGNING_KEYS or SIGNING_KEYS_FILE is missing"},
		"a wrong keyset":      {"KEYSET={\"hunter2\": 1}", "KEYSET"},
		"a wrong URL":         {"DATABASE_URL=postgres://u:hunter2@h:port/", "database URL"},
		"a wrong currency":    {"CURRENCY=EURO", "CURRENCY"},
		"half a certificate":  {"TLS_CERT_FILE=x.pem", "TLS_KEY_FILE"},
		"a wrong OIDC issuer": {`OIDC_ISSUERS=[{"issuer": "http://example.com"}]`, "OIDC_ISSUERS"},
		"a wrong Redis URL":   {"REDIS_URL=http://u:hunter2@x", "REDIS_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := command(t, environment(t, nil, "DATABASE_URL=postgres:///nothing?host=/nowhere", c.env), "serve")
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v", err)
			}
		})
	}
}
