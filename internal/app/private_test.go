package app_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"emporium/internal/app"
	"emporium/internal/config"
	"emporium/internal/httpserver/playground"
)

// TestPrivateServers goes the way of `make run`: a demo shop with a Playground, on servers of its own, that survives a
// restart, that commands work beside, and that says so when its Postgres ends.
func TestPrivateServers(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "emporium-private") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // root's servers run as somebody else
		t.Fatal(err)
	}
	env := []string{"EMPORIUM_DIR=" + filepath.Join(dir, "state"), "HTTP_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "TEST_PROVIDER_ADDR=127.0.0.1:0", "LOG_LEVEL=error"}
	s := start(t, env)
	s.untilReady()
	const query = `{ product(slug: "harbour-linen-shirt") { id title } }`
	before := s.ask("", query)
	if !strings.Contains(before, "Harbour Linen Shirt") {
		t.Errorf("the demo shop: %s", before)
	}
	if status, body := s.get("/"); status != 200 || !strings.Contains(body, "ada@example.com") {
		t.Errorf("the Playground with its demo sign-ins: %d %.200s", status, body)
	}
	if got := s.ask("", `mutation { passwordResetRequest(input: {email: "ada@example.com"}) { requested } }`); got != `{"data":{"passwordResetRequest":{"requested":true}}}` {
		t.Errorf("a reset: %s", got)
	}
	eventually(t, "the mail is in the mailbox", func() bool {
		_, body := s.get("/mailbox")
		return strings.Contains(body, "ada@example.com") && strings.Contains(body, "Choose a new password")
	})
	if _, err := newApp(t, env); err == nil || !strings.Contains(err.Error(), "already running") || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("a second start in the same folder: %v", err)
	}
	token := strings.TrimSpace(must(t, env, "token", "--email", "ada@example.com"))
	if got := s.ask(token, `{ viewer { name } }`); !strings.Contains(got, "Ada") {
		t.Errorf("a token made beside the server: %s", got)
	}
	buyInThePlayground(t, s, env)
	leave(t, s, env)
	eventually(t, "the customer was told by mail", func() bool {
		_, body := s.get("/mailbox")
		return strings.Contains(body, "is on its way")
	})
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}

	again := start(t, env)
	again.untilReady()
	if got := again.ask("", query); got != before {
		t.Errorf("after a restart: %s", got)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "state", "data", "postgres", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(pid), "\n")
	number, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(number, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server ends with its Postgres", func() bool { status, _ := again.get("/healthz"); return status == 0 })
	if err := again.stop(); err == nil || !strings.Contains(err.Error(), "the private Postgres") {
		t.Errorf("the server ended with: %v", err)
	}
	again.failed = true

	after := start(t, env)
	after.untilReady()
	if got := after.ask("", query); got != before {
		t.Errorf("after Postgres was killed: %s", got)
	}
}

// leave deletes an account of which there is a cart, which goes with it.
func leave(t *testing.T, s *server, env []string) {
	t.Helper()
	field := func(answer, name string) string {
		t.Helper()
		_, rest, found := strings.Cut(answer, `"`+name+`":"`)
		value, _, _ := strings.Cut(rest, `"`)
		if !found || strings.Contains(answer, `"errors"`) {
			t.Fatalf("no %s: %s", name, answer)
		}
		return value
	}
	eve := field(s.ask("", `mutation { signUp(input: {email: "eve@example.com", password: "a good long phrase", name: "Eve"}) { tokens { accessToken } } }`), "accessToken")
	cart := field(s.ask(eve, `mutation {
		cartLinesAdd(input: {lines: [{variantId: "BAGg07358Hauks6cYKBHHp0", quantity: 1}]}) { userErrors { code } }
		cartUpdate(input: {email: "eve@example.org", note: "Ring twice."}) { cart { id } } }`), "id")
	if got := s.ask(eve, `mutation { accountDelete(input: {password: "a good long phrase"}) { deleted } }`); got != `{"data":{"accountDelete":{"deleted":true}}}` {
		t.Fatalf("delete: %s", got)
	}
	manager := strings.TrimSpace(must(t, env, "token", "--email", "manager@example.com"))
	eventually(t, "the cart is closed", func() bool {
		return s.ask(manager, `{ node(id: "`+cart+`") { ... on Cart { status email note lines { id } } } }`) ==
			`{"data":{"node":{"status":"ABANDONED","email":null,"note":null,"lines":[]}}}`
	})
}

// buyInThePlayground runs the tabs of a purchase in their order, with the variables that they come with and the IDs that have
// to be pasted.
func buyInThePlayground(t *testing.T, s *server, env []string) {
	t.Helper()
	ada := strings.TrimSpace(must(t, env, "token", "--email", "ada@example.com"))
	manager := strings.TrimSpace(must(t, env, "token", "--email", "manager@example.com"))
	pasted := strings.NewReplacer()
	ran := 0
	for _, tab := range playground.Examples() {
		if !strings.HasPrefix(tab.Title, "Purchase ") {
			continue
		}
		token, want := ada, []string{`"total":{"amount":"104.90"`, `"status":"PLACED"`, `"paymentStatus":"AUTHORIZED"`,
			`"status":"AUTHORIZED"`, `"paymentStatus":"PAID","fulfillmentStatus":"FULFILLED"`, `"paymentStatus":"PARTIALLY_REFUNDED"`}[ran]
		if strings.HasSuffix(tab.Title, ", for staff") {
			token = manager
		}
		variables := tab.Variables
		if variables == "" {
			variables = "{}"
		}
		query, err := json.Marshal(tab.Query)
		if err != nil {
			t.Fatal(err)
		}
		got := s.post(token, `{"query": `+string(query)+`, "variables": `+pasted.Replace(variables)+`}`)
		if !strings.Contains(got, want) || strings.Contains(got, `"errors"`) {
			t.Fatalf("%s: %s", tab.Title, got)
		}
		if ran == 3 {
			var answer struct {
				Data struct {
					Orders struct {
						Nodes []struct {
							ID       string
							Payments []struct{ ID string }
							Lines    []struct{ ID string }
						}
					}
				}
			}
			if err := json.Unmarshal([]byte(got), &answer); err != nil {
				t.Fatal(err)
			}
			newest := answer.Data.Orders.Nodes[0]
			pasted = strings.NewReplacer("the order's ID", newest.ID, "the payment's ID", newest.Payments[0].ID, "the line's ID", newest.Lines[0].ID)
		}
		ran++
	}
	if ran != 6 {
		t.Errorf("%d tabs of a purchase were run", ran)
	}
}

// TestDemoGivesWay starts on private servers that hold another shop.
func TestDemoGivesWay(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "emporium-private")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"EMPORIUM_DIR=" + filepath.Join(dir, "state"), "HTTP_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "TEST_PROVIDER_ADDR=127.0.0.1:0", "LOG_LEVEL=error"}
	file := filepath.Join(dir, "catalogue.csv")
	if err := os.WriteFile(file, []byte(catalogue), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, env, "import", "products", file)
	s := start(t, env)
	s.untilReady()
	if got := s.ask("", `{ products(first: 10, sort: {field: TITLE}) { nodes { title } } }`); got != `{"data":{"products":{"nodes":[{"title":"Bowl"},{"title":"Mug"}]}}}` {
		t.Errorf("the shop: %s", got)
	}
}

func newApp(t *testing.T, env []string) (*app.App, error) {
	t.Helper()
	cfg, err := config.Load(env)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), cfg, slog.New(slog.DiscardHandler), t.Logf)
	if err == nil {
		t.Cleanup(func() { _ = a.Close() })
	}
	return a, err
}
