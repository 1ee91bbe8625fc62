package graph

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/order"
)

var everyone = []string{"", "ada", "bob", "support", "manager", "admin", "service"}

// expectation is what each of everyone gets: "data" (something), "null" (nothing, and no error), "empty" (an empty list), or
// the code of the one error with its path.
type expectation map[string]string

func staffOnly(path string) expectation {
	return expectation{"": "UNAUTHENTICATED " + path, "ada": "FORBIDDEN " + path, "bob": "FORBIDDEN " + path,
		"support": "data", "manager": "data", "admin": "data", "service": "FORBIDDEN " + path}
}

func adminsOnly(path string) expectation {
	e := staffOnly(path)
	e["support"], e["manager"] = e["ada"], e["ada"]
	return e
}

func managersOnly(path string) expectation {
	e := staffOnly(path)
	e["support"] = e["ada"]
	return e
}

func adasAlone() expectation {
	return expectation{"": "null", "ada": "data", "bob": "null", "support": "data", "manager": "data", "admin": "data", "service": "null"}
}

func everybody() expectation {
	e := expectation{}
	for _, who := range everyone {
		e[who] = "data"
	}
	return e
}

// TestRoles is the table of role × operation. What is refused is refused whole: no data, and no row was read.
func TestRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	type row struct {
		name, query string
		path        []string // to the value that the expectation is about
		want        expectation
	}
	signedIn := expectation{"": "UNAUTHENTICATED orders", "ada": "data", "bob": "data", "support": "data", "manager": "data", "admin": "data", "service": "data"}
	rows := []row{
		{"users", `{ users(first: 5) { nodes { name email } } }`, []string{"users", "nodes"}, staffOnly("users")},
		{"users, counted", `{ users(first: 0) { totalCount } }`, []string{"users", "totalCount"}, staffOnly("users")},
		{"user by ID", `{ user(id: "` + w.ids["User"].String() + `") { name } }`, []string{"user"}, staffOnly("user")},
		{"user by e-mail", `{ user(email: "ada@example.com") { name } }`, []string{"user"}, staffOnly("user")},
		{"user by order", `{ user(orderNumber: "` + w.numbers["ada"] + `") { name } }`, []string{"user"}, staffOnly("user")},
		{"audit log", `{ auditLog(first: 5) { nodes { action actor { name } subject { name } } } }`, []string{"auditLog", "nodes"}, adminsOnly("auditLog")},
		{"API keys", `{ apiKeys(first: 5) { nodes { name createdBy { name } } edges { node { name } } } }`, []string{"apiKeys", "nodes"}, adminsOnly("apiKeys")},
		{"payments", `{ payments(first: 5) { nodes { status } } }`, []string{"payments", "nodes"}, staffOnly("payments")},
		{"payment differences", `{ paymentDifferences(first: 5) { nodes { kind payment { status } } } }`, []string{"paymentDifferences", "nodes"}, staffOnly("paymentDifferences")},
		{"jobs", `{ jobs(domain: ORDERS, first: 5) { nodes { kind args } edges { node { lastError } } } }`, []string{"jobs", "nodes"}, managersOnly("jobs")},
		{"order by ID", `{ order(id: "` + w.ids["Order"].String() + `") { number } }`, []string{"order"}, adasAlone()},
		{"order by number", `{ order(number: "` + w.numbers["ada"] + `") { number } }`, []string{"order"}, adasAlone()},
		{"payment", `{ payment(id: "` + w.ids["Payment"].String() + `") { status } }`, []string{"payment"}, adasAlone()},
		{"orders", `{ orders(first: 5) { nodes { number } } }`, []string{"orders", "nodes"}, signedIn},
		{"product", `{ product(id: "` + w.ids["Product"].String() + `") { title } }`, []string{"product"}, everybody()},
		{"availability", `{ variant(id: "` + w.ids["Variant"].String() + `") { availability { quantity } } }`, []string{"variant", "availability"}, everybody()},
		{"inventory", `{ variant(id: "` + w.ids["Variant"].String() + `") { inventory { onHand } } }`, []string{"variant", "inventory"},
			expectation{"": "UNAUTHENTICATED variant.inventory", "ada": "FORBIDDEN variant.inventory", "bob": "FORBIDDEN variant.inventory",
				"support": "data", "manager": "data", "admin": "data", "service": "data"}},
		{"a payment's commands", `{ payment(id: "` + w.ids["Payment"].String() + `") { commands { kind actor { name } } } }`, []string{"payment", "commands"},
			expectation{"": "null", "ada": "FORBIDDEN payment.commands", "bob": "null", "support": "data", "manager": "data", "admin": "data", "service": "null"}},
		{"a payment's details", `{ payment(id: "` + w.ids["Payment"].String() + `") { providerDetails { reference } } }`, []string{"payment", "providerDetails"},
			expectation{"": "null", "ada": "FORBIDDEN payment.providerDetails", "bob": "null",
				"support": "data", "manager": "data", "admin": "data", "service": "null"}},
	}
	for name := range nodeRules {
		want := adasAlone()
		if name == "StockMovement" || name == "PriceChange" || name == "PaymentCommand" { // the shop's
			want["ada"] = "null"
		}
		if !guarded(contract(t), contract(t).Types[name]) {
			want = everybody()
		}
		rows = append(rows,
			row{"node " + name, `{ node(id: "` + w.ids[name].String() + `") { id } }`, []string{"node"}, want},
			row{"nodes " + name, `{ nodes(ids: ["` + w.ids[name].String() + `"]) { id } }`, []string{"nodes", "0"}, want})
	}
	for _, r := range rows {
		for _, who := range everyone {
			t.Run(r.name+" as "+who, func(t *testing.T) {
				a := w.ask(who, r.query, nil)
				if got := a.outcome(r.path); got != r.want[who] {
					t.Errorf("got %q, want %q: %s", got, r.want[who], a.body)
				}
				for _, s := range a.statements {
					if r.want[who] != "data" && strings.HasPrefix(r.want[who], "FORBIDDEN "+r.path[0]) && len(r.path) < 3 &&
						s != "users.check_session" && r.want[who] == "FORBIDDEN "+r.path[0] {
						t.Errorf("it was refused, but %s was run", s)
					}
				}
			})
		}
	}
}

// outcome describes the value at the path, or the one error.
func (a answer) outcome(path []string) string {
	var decoded struct{ Data any }
	if err := json.Unmarshal([]byte(a.body), &decoded); err != nil {
		return "not JSON"
	}
	if codes := a.codes(); len(codes) > 0 {
		return strings.Join(codes, ", ")
	}
	value := decoded.Data
	for _, step := range path {
		switch v := value.(type) {
		case map[string]any:
			value = v[step]
		case []any:
			value = v[0]
		}
	}
	switch v := value.(type) {
	case nil:
		return "null"
	case []any:
		if len(v) == 0 {
			return "empty"
		}
	}
	return "data"
}

// TestWhatIsNotYoursDoesNotExist asks for Ada's things by their IDs as others, and for IDs that were never given, and
// wants the same bytes.
func TestWhatIsNotYoursDoesNotExist(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	ask := func(who, query string, i id.ID) string {
		a := w.ask(who, query, map[string]any{"id": i.String()})
		return fmt.Sprint(a.status, a.body)
	}
	queries := map[string]string{
		"node":  `query($id: ID!) { node(id: $id) { id __typename } }`,
		"nodes": `query($id: ID!) { nodes(ids: [$id, $id]) { id __typename } }`,
	}
	for name := range nodeRules {
		if !guarded(contract(t), contract(t).Types[name]) {
			continue
		}
		known := w.ids[name]
		unknown := []id.ID{
			{Kind: known.Kind, Owner: known.Owner, Key: uuid.New()},
			{Kind: known.Kind, Owner: uuid.New(), Key: known.Key},
		}
		if known.Owner == uuid.Nil { // a user
			unknown = []id.ID{{Kind: known.Kind, Key: uuid.New()}}
		}
		for _, who := range []string{"", "bob", "service"} {
			for field, query := range queries {
				for _, u := range unknown {
					if got, want := ask(who, query, known), ask(who, query, u); got != want {
						t.Errorf("%s of Ada's %s as %q: %s, of an unknown ID: %s", field, name, who, got, want)
					}
				}
			}
		}
	}
	for field, query := range map[string]string{
		"order": `query($id: ID!) { order(id: $id) { id number customer { name } } }`, "payment": `query($id: ID!) { payment(id: $id) { id order { number } } }`,
	} {
		known := w.ids[strings.ToUpper(field[:1])+field[1:]]
		for _, who := range []string{"", "bob", "service"} {
			got := ask(who, query, known)
			want := ask(who, query, id.ID{Kind: known.Kind, Owner: known.Owner, Key: uuid.New()})
			if got != want || !strings.Contains(got, fmt.Sprintf(`{"%s":null}`, field)) {
				t.Errorf("%s as %q: %s, of an unknown ID: %s", field, who, got, want)
			}
		}
	}
	got := w.ask("bob", `query($n: String) { order(number: $n) { id } }`, map[string]any{"n": w.numbers["ada"]})
	want := w.ask("bob", `query($n: String) { order(number: $n) { id } }`, map[string]any{"n": order.NewNumber()})
	if got.body != want.body {
		t.Errorf("Ada's number as Bob: %s, an unknown number: %s", got.body, want.body)
	}
}

// TestListsHoldOnesOwn compares lists and their totals, nested ones included, with what the viewer owns.
func TestListsHoldOnesOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	all := w.data("admin", `{ orders(first: 100) { totalCount nodes { number customer { email } } } users(first: 0) { totalCount } }`, nil)
	if total := all["orders"].(map[string]any)["totalCount"].(float64); total != 3*7 {
		t.Fatalf("staff sees %v orders, want 21", total)
	}
	for _, who := range []string{"ada", "bob", "service"} {
		got := w.data(who, `{ orders(first: 20) { totalCount nodes { number customer { email }
			payments { order { customer { email orders(first: 10) { totalCount nodes { customer { email } } } } } } } }
			viewer { email orders(first: 100) { totalCount } } }`, nil)
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		orders := got["orders"].(map[string]any)
		if orders["totalCount"] != 3.0 || len(orders["nodes"].([]any)) != 3 {
			t.Errorf("%s sees %v orders", who, orders["totalCount"])
		}
		for _, other := range everyone[1:] {
			if other != who && strings.Contains(string(text), other+"@example.com") {
				t.Errorf("%s sees something of %s: %s", who, other, text)
			}
		}
		// A filter for somebody else's things finds nothing, and its total counts nothing.
		if who == "ada" {
			continue
		}
		for name, filter := range map[string]string{
			"customer": `customerId: "` + w.ids["User"].String() + `"`, "number": `number: "` + w.numbers["ada"] + `"`, "e-mail": `email: "ada@example.com"`,
		} {
			got := w.data(who, `{ orders(first: 5, filter: {`+filter+`}) { totalCount nodes { number } } }`, nil)["orders"].(map[string]any)
			if got["totalCount"] != 0.0 || len(got["nodes"].([]any)) != 0 {
				t.Errorf("%s finds Ada's orders by %s: %v", who, name, got)
			}
		}
	}
}

// TestSignedOutAndForgedTokens wants every token that does not hold to end the request before the graph.
func TestSignedOutAndForgedTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	if a := w.ask("bob", `mutation { signOut { sessionsEnded } }`, nil); !strings.Contains(a.body, `"sessionsEnded":1`) {
		t.Fatalf("sign out: %s", a.body)
	}
	token := w.tokens["ada"]
	parts := strings.Split(token, ".")
	for name, header := range map[string]string{
		"of a session that has ended": "Bearer " + w.tokens["bob"],
		"with another payload":        "Bearer " + parts[0] + "." + strings.Split(w.tokens["admin"], ".")[1] + "." + parts[2],
		"without a signature":         "Bearer eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"cut short":                   "Bearer " + token[:len(token)-4],
		"of another scheme":           "Basic " + token,
		"empty":                       "Bearer ",
		"huge":                        "Bearer " + strings.Repeat("x", 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":"{ categories { name } }"}`))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", header)
			a := w.send(r)
			if a.status != 401 || strings.Contains(a.body, `"data"`) || fmt.Sprint(a.codes()) != "[UNAUTHENTICATED ]" {
				t.Errorf("%d %s", a.status, a.body)
			}
			if a.header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate header (RFC 9110, 11.6.1)")
			}
		})
	}
}

// TestMetadataOfTheShop shows keys that begin with an underscore to staff and machines alone.
func TestMetadataOfTheShop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	for _, who := range everyone {
		want := `{"data":{"products":{"nodes":[{"metadata":{"care":"cold wash"}}]}}}`
		if who != "" && who != "ada" && who != "bob" {
			want = `{"data":{"products":{"nodes":[{"metadata":{"_cost":"4.20","care":"cold wash"}}]}}}`
		}
		if a := w.ask(who, `{ products(first: 1) { nodes { metadata } } }`, nil); a.body != want {
			t.Errorf("as %q: %s", who, a.body)
		}
	}
}
