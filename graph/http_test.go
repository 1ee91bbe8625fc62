package graph

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"emporium/internal/postgres"
)

// TestRequestsThatAreRefused sends what no client should, and wants a clear answer that repeats nothing of it.
func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	const marker = "xyzzy-marker"
	for _, c := range []struct {
		name, method, contentType, body string
		status                          int
	}{
		{"a form", "POST", "application/x-www-form-urlencoded", "query=mutation{signOut{sessionsEnded}}&x=" + marker, 415},
		{"multipart", "POST", "multipart/form-data; boundary=x", "--x\r\n" + marker, 415},
		{"plain text, which other sites may send", "POST", "text/plain", `{"query":"{ categories { name } }"}`, 415},
		{"no content type", "POST", "", `{"query":"{ categories { name } }"}`, 415},
		{"another charset", "POST", "application/json; charset=iso-8859-1", `{"query":"{ categories { name } }"}`, 415},
		{"malformed JSON", "POST", "application/json", `{"query": "` + marker, 400},
		{"a batch", "POST", "application/json", `[{"query":"{ categories { name } }"}]`, 422},
		{"nothing", "POST", "application/json", "", 400},
		{"blanks", "POST", "application/json", "  \n ", 400},
		{"too much", "POST", "application/json", `{"query":"` + strings.Repeat("x", 300<<10) + `"}`, 413},
		{"a document that does not parse", "POST", "application/json", `{"query":"{ categories { "}`, 400},
		{"an unknown field", "POST", "application/json", `{"query":"{ nothing }"}`, 422},
		{"too many tokens", "POST", "application/json", `{"query":"{ ` + strings.Repeat("a:__typename ", 3000) + `}"}`, 400},
		{"a query that is a number", "POST", "application/json", `{"query":1,"variables":{"password":"` + marker + `"}}`, 422},
		{"variables that are a list", "POST", "application/json", `{"query":"{ categories { name } }","variables":["` + marker + `"]}`, 422},
		{"extensions that are a text", "POST", "application/json", `{"query":"{ categories { name } }","extensions":"` + marker + `"}`, 422},
		{"an operation name that is a list", "POST", "application/json", `{"query":"{ categories { name } }","operationName":["` + marker + `"]}`, 422},
		{"no query", "POST", "application/json", `{"variables":{"x":"` + marker + `"}}`, 422},
		{"a GET with a document", "GET", "", "", 422},
		{"a PUT", "PUT", "application/json", `{"query":"{ categories { name } }"}`, 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(c.method, "/graphql?query=mutation%7BsignOut%7BsessionsEnded%7D%7D", strings.NewReader(c.body))
			r.Header.Set("Accept", "application/graphql-response+json")
			if c.contentType != "" {
				r.Header.Set("Content-Type", c.contentType)
			}
			a := w.send(r)
			if a.status != c.status || strings.Join(a.codes(), "") != "BAD_USER_INPUT " || strings.Contains(a.body, marker) || strings.Contains(a.body, `"data"`) {
				t.Errorf("%d (want %d) %.300s", a.status, c.status, a.body)
			}
			if len(a.statements) > 0 {
				t.Errorf("statements were run: %v", a.statements)
			}
		})
	}
}

// TestCodedBodies refuses bodies in a coding that would have to be undone.
func TestCodedBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	for coding, status := range map[string]int{"gzip": 415, "br": 415, "x": 415, "identity": 200, "": 200} {
		r := w.request("", []byte(`{"query":"{ categories { id } }"}`))
		r.Header.Set("Content-Encoding", coding)
		if a := w.send(r); a.status != status || status == 415 && a.header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%q: %d %v %s", coding, a.status, a.header, a.body)
		}
	}
}

// TestNothingOfTooMuchIsRead refuses a body by the length that it is said to have.
func TestNothingOfTooMuchIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	body := strings.NewReader(strings.Repeat("x", 300<<10))
	r := httptest.NewRequest(http.MethodPost, "/graphql", body)
	r.Header.Set("Content-Type", "application/json")
	if a := w.send(r); a.status != http.StatusRequestEntityTooLarge || body.Len() < 300<<10 {
		t.Errorf("%d, and %d bytes are left", a.status, body.Len())
	}
}

// wide is a small document of 9 to the power of 5 fields, which asks for nothing that there is.
func wide() string {
	document := `{ category(slug: "nope") { ...F0 } }`
	for i := range 5 {
		document += fmt.Sprintf(" fragment F%d on Category {", i)
		for n := range 9 {
			document += fmt.Sprintf(" a%d: parent { ...F%d }", n, i+1)
		}
		document += " }"
	}
	return document + " fragment F5 on Category { id name slug }"
}

// TestManyErrors wants a refused field under a list to fail in order, and not thousands of times.
func TestManyErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 60)
	a := w.ask("ada", `{ products(first: 60) { nodes { variants { inventory { onHand } } } } }`, nil)
	var decoded struct {
		Errors []struct {
			Message string
			Path    []any
		}
	}
	if err := json.Unmarshal([]byte(a.body), &decoded); err != nil {
		t.Fatal(err)
	}
	if n := len(decoded.Errors); n != maxErrors+1 || decoded.Errors[n-1].Message != "and 70 errors more" {
		t.Fatalf("%d errors, the last: %+v", n, decoded.Errors[n-1])
	}
	for i, e := range decoded.Errors[:maxErrors] {
		if want := []any{"products", "nodes", float64(i / 2), "variants", float64(i % 2), "inventory"}; !slices.Equal(e.Path, want) {
			t.Errorf("error %d at %v, want %v", i, e.Path, want)
		}
	}
}

// TestDeadline gives a request no time: it ends, and says so.
func TestDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	o := w.options
	o.Timeout = time.Nanosecond
	var err error
	if w.handler, err = NewHandler(o); err != nil {
		t.Fatal(err)
	}
	if a := w.ask("", `{ categories { name } }`, nil); strings.Join(a.codes(), "") != "TIMEOUT " {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestErrors wants each kind of bad input to name its place, with the code of the contract.
func TestErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	for _, c := range []struct {
		name, query string
		variables   map[string]any
		want        string // a code with its path
		says        string
	}{
		{"no page size", `{ orders { nodes { id } } }`, nil, "BAD_USER_INPUT orders", "first"},
		{"too large a page", `{ orders(first: 101) { nodes { id } } }`, nil, "BAD_USER_INPUT orders", "100"},
		{"a nested page without a size", `{ viewer { orders { nodes { id } } } }`, nil, "BAD_USER_INPUT viewer.orders", "first"},
		{"a foreign cursor", `{ orders(first: 1, after: "bm9uc2Vuc2U") { nodes { id } } }`, nil, "BAD_USER_INPUT orders", "cursor"},
		{"no ID", `{ node(id: "nonsense") { id } }`, nil, "BAD_USER_INPUT node", `"field":["id"]`},
		{"an ID of the wrong length", `query($id: ID!) { order(id: $id) { id } }`, map[string]any{"id": "CAAA"}, "BAD_USER_INPUT order", `"field":["id"]`},
		{"no argument", `{ product { id } }`, nil, "BAD_USER_INPUT product", "exactly one"},
		{"two arguments", `{ product(id: "` + w.ids["Product"].String() + `", slug: "x") { id } }`, nil, "BAD_USER_INPUT product", "exactly one"},
		{"not an e-mail address", `{ user(email: "nobody") { id } }`, nil, "BAD_USER_INPUT user", `"field":["email"]`},
		{"not a date", `{ orders(first: 1, filter: {createdAt: {from: "yesterday"}}) { nodes { id } } }`, nil, "BAD_USER_INPUT orders", `"field":["filter","createdAt","from"]`},
		{"not a decimal", `{ products(first: 1, filter: {price: {min: "1e3"}}) { nodes { id } } }`, nil, "BAD_USER_INPUT products", `"field":["filter","price","min"]`},
		{"more decimals than cents", `{ products(first: 1, filter: {price: {min: "1.005"}}) { nodes { id } } }`, nil, "BAD_USER_INPUT products", "decimals"},
		{"a NUL character", `query($q: String) { products(first: 1, query: $q) { nodes { id } } }`, map[string]any{"q": "a\x00b"}, "BAD_USER_INPUT products", ""},
		{"too many IDs", `query($ids: [ID!]!) { nodes(ids: $ids) { id } }`, map[string]any{"ids": strings.Split(strings.Repeat(w.ids["User"].String()+",", 101), ",")[:101]}, "BAD_USER_INPUT nodes", "100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := w.ask("admin", c.query, c.variables)
			if codes := a.codes(); len(codes) != 1 || codes[0] != c.want || !strings.Contains(a.body, c.says) {
				t.Errorf("want %s: %s", c.want, a.body)
			}
		})
	}
}

// TestInternalErrorsAreOpaque takes the orders' table away and wants nothing of Postgres outside.
func TestInternalErrorsAreOpaque(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	if _, err := postgres.Exec(t.Context(), w.dbs.Orders, postgres.Stmt{Name: "test.break", SQL: `ALTER TABLE orders.orders RENAME TO gone`}); err != nil {
		t.Fatal(err)
	}
	a := w.ask("ada", `{ orders(first: 5) { nodes { id } } categories { name } }`, nil)
	if got := a.codes(); len(got) != 1 || got[0] != "INTERNAL orders" {
		t.Errorf("codes %v", got)
	}
	for _, inside := range []string{"relation", "orders.orders", "SQLSTATE", "42P01"} {
		if strings.Contains(a.body, inside) {
			t.Errorf("the answer tells %q: %s", inside, a.body)
		}
	}
	if !strings.Contains(a.body, `"requestId":"request"`) || !strings.Contains(a.body, `"Clothes"`) {
		t.Errorf("the request's ID or the rest of the answer is missing: %s", a.body)
	}
}

const signIn = `mutation($in: SignInInput!) { signIn(input: $in) { tokens { accessToken refreshToken expiresAt } userErrors { code field message } } }`

func input(email, password string, cookie bool) map[string]any {
	return map[string]any{"in": map[string]any{"email": email, "password": password, "cookie": cookie}}
}

// TestSignInOverHTTP goes the way of a client: sign up, sign in, refresh, change the password, sign out everywhere.
func TestSignInOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	up := w.data("", `mutation($in: SignUpInput!) { signUp(input: $in) { tokens { accessToken refreshToken } userErrors { code field } } }`,
		map[string]any{"in": map[string]any{"email": " Eve@Example.COM", "password": password, "name": "Eve"}})["signUp"].(map[string]any)
	if up["tokens"] == nil {
		t.Fatalf("sign up: %v", up)
	}
	again := w.data("", `mutation($in: SignUpInput!) { signUp(input: $in) { tokens { accessToken } userErrors { code field } } }`,
		map[string]any{"in": map[string]any{"email": "eve@example.com", "password": password, "name": "Eve"}})["signUp"].(map[string]any)
	if text, _ := json.Marshal(again); string(text) != `{"tokens":null,"userErrors":[{"code":"TAKEN","field":["email"]}]}` {
		t.Errorf("signing up twice: %s", text)
	}

	in := w.data("", signIn, input("eve@example.com", password, false))["signIn"].(map[string]any)["tokens"].(map[string]any)
	w.tokens["eve"] = in["accessToken"].(string)
	if got := w.data("eve", `{ viewer { name email roles addresses { city } orders(first: 5) { totalCount nodes { id } } } }`, nil)["viewer"].(map[string]any); fmt.Sprint(got) != "map[addresses:[] email:eve@example.com name:Eve orders:map[nodes:[] totalCount:0] roles:[CUSTOMER]]" {
		t.Errorf("viewer: %v", got)
	}
	// Unknown and wrong look alike.
	unknown := w.ask("", signIn, input("nobody@example.com", password, false))
	wrong := w.ask("", signIn, input("eve@example.com", "not her password", false))
	if unknown.body != wrong.body || !strings.Contains(wrong.body, "WRONG_CREDENTIALS") {
		t.Errorf("unknown: %s, wrong: %s", unknown.body, wrong.body)
	}

	const refresh = `mutation($t: String) { tokenRefresh(input: {refreshToken: $t}) { tokens { accessToken refreshToken } userErrors { code field } } }`
	first := in["refreshToken"].(string)
	next := w.data("", refresh, map[string]any{"t": first})["tokenRefresh"].(map[string]any)["tokens"].(map[string]any)
	w.tokens["eve"] = next["accessToken"].(string)
	w.data("eve", `{ viewer { name } }`, nil)
	// The second use of a token ends the session, and everything that came of it.
	if reused := w.ask("", refresh, map[string]any{"t": first}); !strings.Contains(reused.body, "INVALID_TOKEN") {
		t.Errorf("second use: %s", reused.body)
	}
	if dead := w.ask("", refresh, map[string]any{"t": next["refreshToken"]}); !strings.Contains(dead.body, "INVALID_TOKEN") {
		t.Errorf("the token of the session that was ended: %s", dead.body)
	}

	changed := w.data("ada", `mutation($old: String!, $new: String!) { passwordChange(input: {currentPassword: $old, newPassword: $new}) { changed userErrors { code field } } }`,
		map[string]any{"old": password, "new": "another good long phrase"})["passwordChange"].(map[string]any)
	if changed["changed"] != true {
		t.Errorf("password change: %v", changed)
	}
	if old := w.ask("", signIn, input("ada@example.com", password, false)); !strings.Contains(old.body, "WRONG_CREDENTIALS") {
		t.Errorf("the old password still works: %s", old.body)
	}
	w.data("", signIn, input("ada@example.com", "another good long phrase", false))
	if out := w.data("ada", `mutation { signOutEverywhere { sessionsEnded } }`, nil)["signOutEverywhere"].(map[string]any); out["sessionsEnded"] != 2.0 {
		t.Errorf("signed out of %v sessions, want 2", out["sessionsEnded"])
	}
	if a := w.ask("ada", `{ viewer { name } }`, nil); a.status != 401 {
		t.Errorf("after signing out: %d %s", a.status, a.body)
	}
}

// TestRefreshTokenInCookie keeps the refresh token out of the answer and out of reach of scripts.
func TestRefreshTokenInCookie(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	a := w.ask("", signIn, input("ada@example.com", password, true))
	cookies := (&http.Response{Header: a.header}).Cookies()
	if len(cookies) != 1 || !strings.Contains(a.body, `"refreshToken":null`) {
		t.Fatalf("%v %s", cookies, a.body)
	}
	c := cookies[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/graphql" || !strings.HasPrefix(c.Value, "ert_") {
		t.Errorf("cookie %+v", c)
	}
	send := func(value string) answer {
		r := httptest.NewRequest(http.MethodPost, "/graphql",
			strings.NewReader(`{"query":"mutation { tokenRefresh { tokens { accessToken refreshToken } userErrors { code } } }"}`))
		r.Header.Set("Content-Type", "application/json")
		if value != "" {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: value})
		}
		return w.send(r)
	}
	refreshed := send(c.Value)
	renewed := (&http.Response{Header: refreshed.header}).Cookies()
	if len(renewed) != 1 || renewed[0].Value == c.Value || !strings.Contains(refreshed.body, `"refreshToken":null`) ||
		!strings.Contains(refreshed.body, `"accessToken":"ey`) {
		t.Errorf("refresh: %v %s", renewed, refreshed.body)
	}
	if refused := send(c.Value); !strings.Contains(refused.body, "INVALID_TOKEN") || (&http.Response{Header: refused.header}).Cookies()[0].MaxAge >= 0 {
		t.Errorf("a used cookie: %s %v", refused.body, refused.header)
	}
	if none := send(""); len(none.codes()) != 1 || none.codes()[0] != "BAD_USER_INPUT tokenRefresh" {
		t.Errorf("without a token: %s", none.body)
	}
}

// TestOneErrorDoesNotRunIntoAnother sends the same failing operation from many clients: each error has its own path.
func TestOneErrorDoesNotRunIntoAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			a := w.ask("bob", `{ a: users(first: 1) { totalCount } b: payments(first: 1) { totalCount } c: users(first: 1) { totalCount } }`, nil)
			if got := strings.Join(a.codes(), ","); got != "FORBIDDEN a,FORBIDDEN b,FORBIDDEN c" {
				t.Errorf("codes %s", got)
			}
		})
	}
	wg.Wait()
}

// TestIntrospection is refused to those who may not.
func TestIntrospection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	const query = `{ __schema { types { name } } }`
	if a := w.ask("", query, nil); !strings.Contains(a.body, `"PaymentEvent"`) {
		t.Errorf("on: %.200s", a.body)
	}
	for mode, allowed := range map[Introspection][]string{IntrospectionStaff: {"support", "admin"}, IntrospectionOff: nil} {
		closed := *w
		var err error
		o := w.options
		o.Introspection = mode
		if closed.handler, err = NewHandler(o); err != nil {
			t.Fatal(err)
		}
		for _, who := range everyone {
			a := closed.ask(who, query, nil)
			want := false
			for _, name := range allowed {
				want = want || name == who
			}
			if who != "manager" && strings.Contains(a.body, `"PaymentEvent"`) != want {
				t.Errorf("%s as %q: %.200s", mode, who, a.body)
			}
			if !want && who != "manager" && !strings.Contains(strings.Join(a.codes(), ""), "FORBIDDEN __schema") {
				t.Errorf("%s as %q: %v", mode, who, a.codes())
			}
			if hint := closed.ask(who, `{ product(slug: "x") { titel } }`, nil); strings.Contains(hint.body, "title") {
				t.Errorf("%s as %q: a suggestion tells the schema: %s", mode, who, hint.body)
			}
		}
	}
}
