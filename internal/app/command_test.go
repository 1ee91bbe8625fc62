package app_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"emporium/internal/app"
	"emporium/internal/postgres/pgtest"
)

// must runs a command that has to succeed and returns what it printed.
func must(t *testing.T, env []string, args ...string) string {
	t.Helper()
	out, err := command(t, env, args...)
	if err != nil {
		t.Fatalf("emporium %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func TestMigrateCommands(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	env := environment(t, nil, "DATABASE_URL="+url)
	if out := must(t, env, "migrate", "status"); strings.Count(out, "missing") < 4 || strings.Contains(out, "applied") {
		t.Errorf("status of an empty database:\n%s", out)
	}
	if out := must(t, env, "migrate", "up"); strings.Count(out, "applied ") < 4 {
		t.Errorf("up:\n%s", out)
	}
	if out := must(t, env, "migrate", "up"); out != "nothing to do\n" {
		t.Errorf("up again:\n%s", out)
	}
	if out := must(t, env, "migrate", "down", "--yes", "orders"); !strings.HasPrefix(out, "took back orders/") {
		t.Errorf("down:\n%s", out)
	}
	if out := must(t, env, "migrate", "status"); !strings.Contains(out, "orders/0001_orders.sql") || strings.Count(out, "missing") != 1 {
		t.Errorf("status after down:\n%s", out)
	}
	if _, err := command(t, env, "migrate", "down", "payments"); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("down without a question: %v", err)
	}
	if _, err := command(t, env, "migrate", "down", "nothing"); err == nil || !strings.Contains(err.Error(), "users, products, orders, payments") {
		t.Errorf("down of an unknown domain: %v", err)
	}
}

const catalogue = "Handle,Title,Vendor,Option1 Name,Option1 Value,Variant SKU,Variant Price,Variant Inventory Qty\r\n" +
	"mug,Mug,Kiln,Color,Blue,M-1,9.90,3\r\nmug,,,,Red,M-2,10.90,0\r\nbowl,Bowl,Kiln,,,B-1,20,1\r\n"

func TestImportAndExport(t *testing.T) {
	t.Parallel()
	env := environment(t, pgtest.New(t))
	dir := t.TempDir()
	file := filepath.Join(dir, "catalogue.csv")
	if err := os.WriteFile(file, []byte(catalogue), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := must(t, env, "import", "products", "--dry-run", file); !strings.Contains(out, "2 created") {
		t.Errorf("dry run: %s", out)
	}
	if out := must(t, env, "import", "products", file); !strings.Contains(out, "2 created, 0 updated, 0 unchanged") {
		t.Errorf("import after a dry run, which must have changed nothing: %s", out)
	}
	exported := must(t, env, "export", "products")
	copied := filepath.Join(dir, "copy.csv")
	must(t, env, "export", "products", copied)
	if text, err := os.ReadFile(copied); err != nil || string(text) != exported {
		t.Errorf("the exported file differs from what was printed: %v", err)
	}
	if out := must(t, env, "import", "products", copied); !strings.Contains(out, "0 created, 0 updated, 2 unchanged") {
		t.Errorf("a round trip changes something: %s", out)
	}
	bad := filepath.Join(dir, "bad.csv")
	if err := os.WriteFile(bad, []byte(strings.Replace(catalogue, "9.90", "nine", 1)+"new,New,,,,,1,1\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := command(t, env, "import", "products", bad)
	if err == nil || !strings.Contains(err.Error(), "bad.csv") || !strings.Contains(err.Error(), "2") || !strings.Contains(err.Error(), "Variant Price") {
		t.Errorf("a bad row: %v", err)
	}
	if again := must(t, env, "export", "products"); again != exported {
		t.Errorf("a refused import has changed something:\n%s", again)
	}
	if _, err := command(t, env, "export", "products", copied); err == nil {
		t.Error("an export has overwritten a file")
	}
}

// TestTokenCommand opens sessions for accounts that there are, and for nobody else.
func TestTokenCommand(t *testing.T) {
	t.Parallel()
	env := environment(t, pgtest.New(t))
	must(t, env, "seed")
	if out := must(t, env, "seed"); !strings.Contains(out, "seeded") {
		t.Errorf("seeding the same demo twice: %s", out)
	}
	s := start(t, env)
	s.untilReady()
	token := strings.TrimSpace(must(t, env, "token", "--email", "Admin@Example.com"))
	if got := s.ask(token, `{ viewer { email roles } }`); got != `{"data":{"viewer":{"email":"admin@example.com","roles":["ADMIN"]}}}` {
		t.Errorf("as the admin: %s", got)
	}
	if _, err := command(t, env, "token", "--email", "nobody@example.com"); err == nil || !strings.Contains(err.Error(), "no active account") {
		t.Errorf("a token for nobody: %v", err)
	}
	if _, err := command(t, env, "seed", "--scale", "bench"); err == nil {
		t.Error("the bench data was loaded over a shop")
	}
}

// TestKeysRotate rotates the keys of personal data and of tokens under a server that answers all the while.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	env := environment(t, pgtest.New(t), "RATE_LIMIT=0") // it asks for all that there is, all the time
	must(t, env, "seed")
	s := start(t, env)
	s.untilReady()
	token := strings.TrimSpace(must(t, env, "token", "--email", "admin@example.com"))
	const query = `{ users(first: 100) { nodes { name email addresses { line1 } orders(first: 90) { nodes { email shippingAddress { line1 } } } } } payments(first: 100) { nodes { providerDetails { reference } } } }`
	before := s.ask(token, query)
	if strings.Contains(before, `"errors"`) || !strings.Contains(before, "ada@example.com") {
		t.Fatalf("before: %.300s", before)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if got := s.ask(token, query); got != before {
				t.Errorf("during the rotation: %.300s", got)
				return
			}
		}
	})
	out := must(t, env, "keys", "rotate", "--settle", "6s")
	if !strings.Contains(out, "rows sealed anew") || strings.HasPrefix(out, "0 ") {
		t.Errorf("rotate: %s", out)
	}
	if again := must(t, env, "keys", "rotate", "--resume", "--settle", "1ms"); !strings.HasPrefix(again, "0 rows") {
		t.Errorf("there was something left to seal: %s", again)
	}
	must(t, env, "keys", "prune", "--settle", "6s")
	cancel()
	wg.Wait()
	// A process that knows the new key alone opens everything.
	fresh := start(t, env)
	fresh.untilReady()
	if got := fresh.ask(token, query); got != before {
		t.Errorf("with the new key alone: %.300s", got)
	}

	list := must(t, env, "keys", "signing", "add")
	var next string
	for _, line := range strings.Split(strings.TrimSpace(list), "\n") {
		if fields := strings.Fields(line); fields[1] == "accepted" {
			next = fields[0]
		}
	}
	jwks := func(s *server) (keys []string) {
		_, body := s.get("/.well-known/jwks.json")
		var set struct{ Keys []struct{ Kid string } }
		if err := json.Unmarshal([]byte(body), &set); err != nil {
			t.Fatal(err)
		}
		for _, k := range set.Keys {
			keys = append(keys, k.Kid)
		}
		return keys
	}
	eventually(t, "the server publishes both keys", func() bool { return len(jwks(s)) == 2 })
	must(t, env, "keys", "signing", "promote", next)
	second := strings.TrimSpace(must(t, env, "token", "--email", "admin@example.com"))
	for _, bearer := range []string{token, second} {
		if got := s.ask(bearer, `{ viewer { email } }`); !strings.Contains(got, "admin@example.com") {
			t.Errorf("a token during the rotation: %s", got)
		}
	}
	var old string
	for _, line := range strings.Split(strings.TrimSpace(must(t, env, "keys", "signing", "list")), "\n") {
		if fields := strings.Fields(line); fields[0] != next {
			old = fields[0]
		}
	}
	must(t, env, "keys", "signing", "retire", old)
	eventually(t, "the old key is gone", func() bool { return len(jwks(s)) == 1 })
	if got := s.ask(token, `{ viewer { email } }`); !strings.Contains(got, "UNAUTHENTICATED") {
		t.Errorf("a token of a retired key: %s", got)
	}
	if got := s.ask(second, `{ viewer { email } }`); !strings.Contains(got, "admin@example.com") {
		t.Errorf("a token of the new key: %s", got)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"migrate", "--help"}, {"seed", "--help"}, {"import", "products", "--help"}, {"keys", "rotate", "--help"}, {"token", "--help"}} {
		if out := must(t, nil, args...); !strings.Contains(out, "USAGE") {
			t.Errorf("%v: %s", args, out)
		}
	}
	if _, err := command(t, nil, "frobnicate"); err == nil || !strings.Contains(err.Error(), "frobnicate") {
		t.Errorf("an unknown command: %v", err)
	}
}

// cancelAt is a writer that ends a context when a text passes.
type cancelAt struct {
	text   string
	cancel context.CancelFunc
}

func (c cancelAt) Write(b []byte) (int, error) {
	if strings.Contains(string(b), c.text) {
		c.cancel()
	}
	return len(b), nil
}

// TestKeysRotateInterrupted ends a rotation at each of its steps and goes on: everything comes under the new key.
func TestKeysRotateInterrupted(t *testing.T) {
	t.Parallel()
	env := environment(t, pgtest.New(t), "RATE_LIMIT=0") // it asks for all that there is, all the time
	must(t, env, "seed")
	for _, step := range []string{" added", " seals from now on", " rows"} {
		ctx, cancel := context.WithCancel(t.Context())
		err := app.Command(ctx, []string{"emporium", "keys", "rotate", "--settle", "100ms"}, env, io.Discard, cancelAt{step, cancel})
		cancel()
		if err == nil && step != " rows" {
			t.Fatalf("after %q: the rotation was not interrupted", step)
		}
		if step == " added" {
			if _, err := command(t, env, "keys", "prune", "--settle", "1ms"); err == nil {
				t.Error("keys were pruned in the middle of a rotation")
			}
		}
		out := must(t, env, "keys", "rotate", "--resume", "--settle", "1ms")
		if step != " rows" && strings.HasPrefix(out, "0 rows") {
			t.Errorf("after %q: %s", step, out)
		}
		if again := must(t, env, "keys", "rotate", "--resume", "--settle", "1ms"); !strings.HasPrefix(again, "0 rows") {
			t.Errorf("after %q there was something left: %s", step, again)
		}
	}
	must(t, env, "keys", "prune", "--settle", "1ms")
	s := start(t, env)
	s.untilReady()
	token := strings.TrimSpace(must(t, env, "token", "--email", "admin@example.com"))
	got := s.ask(token, `{ users(first: 100) { nodes { name email } } orders(first: 100) { nodes { email shippingAddress { line1 } } } }`)
	if strings.Contains(got, `"errors"`) || !strings.Contains(got, "ada@example.com") {
		t.Errorf("after three rotations: %.300s", got)
	}
}

// TestKeysAreChangedByOneAtATime starts rotations side by side: one works, the others say why not.
func TestKeysAreChangedByOneAtATime(t *testing.T) {
	t.Parallel()
	env := environment(t, pgtest.New(t))
	must(t, env, "seed")
	var wg sync.WaitGroup
	refused := make(chan error, 4)
	for range 4 {
		wg.Go(func() {
			_, err := command(t, env, "keys", "rotate", "--settle", "2s")
			refused <- err
		})
	}
	wg.Wait()
	close(refused)
	worked := 0
	for err := range refused {
		switch {
		case err == nil:
			worked++
		case !strings.Contains(err.Error(), "another command is changing"):
			t.Error(err)
		}
	}
	if worked != 1 {
		t.Errorf("%d rotations worked at the same time", worked)
	}
	must(t, env, "keys", "prune", "--settle", "1ms")
}

func TestTestProviderCommand(t *testing.T) {
	t.Parallel()
	books := filepath.Join(t.TempDir(), "new", "books.db")
	args := []string{"testprovider", "--addr", "127.0.0.1:0", "--books", books}
	if _, err := command(t, nil, args...); err == nil || !strings.Contains(err.Error(), "TEST_PROVIDER_KEY") {
		t.Errorf("without secrets: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	log, errs := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		env := []string{"TEST_PROVIDER_KEY=k", "TEST_PROVIDER_WEBHOOK_SECRET=s"}
		ended <- app.Command(ctx, append([]string{"emporium"}, args...), env, io.Discard, errs)
		_ = errs.Close()
	}()
	var line struct{ URL string }
	if err := json.NewDecoder(log).Decode(&line); err != nil {
		t.Fatalf("%v, %v", err, <-ended)
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
	response, err := http.Get(line.URL + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	stop()
	if err := <-ended; err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("status %d, %v", response.StatusCode, err)
	}
	if _, err := os.Stat(books); err != nil {
		t.Error(err)
	}
}
