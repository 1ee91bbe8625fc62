package graph

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"emporium/internal/id"
)

const (
	userErrors = ` userErrors { code field message } } }`

	passwordResetRequest = `mutation($in: PasswordResetRequestInput!) { passwordResetRequest(input: $in) { requested` + userErrors
	passwordReset        = `mutation($in: PasswordResetInput!) { passwordReset(input: $in) { changed` + userErrors
	emailVerification    = `mutation { emailVerificationRequest { requested` + userErrors
	emailVerify          = `mutation($in: EmailVerifyInput!) { emailVerify(input: $in) { verified` + userErrors
	emailChangeRequest   = `mutation($in: EmailChangeRequestInput!) { emailChangeRequest(input: $in) { requested` + userErrors
	emailChangeConfirm   = `mutation($in: EmailChangeConfirmInput!) { emailChangeConfirm(input: $in) { changed` + userErrors
	accountExport        = `mutation { accountExport { data` + userErrors
	accountDelete        = `mutation($in: AccountDeleteInput!) { accountDelete(input: $in) { deleted` + userErrors
	userCreate           = `mutation($in: UserCreateInput!) { userCreate(input: $in) { user { email roles emailVerified }` + userErrors
	apiKeyCreate         = `mutation($in: ApiKeyCreateInput!) { apiKeyCreate(input: $in) { apiKey { id name createdBy { name } expiresAt revokedAt lastUsedAt } secret` + userErrors
	apiKeyRevoke         = `mutation($in: ApiKeyRevokeInput!) { apiKeyRevoke(input: $in) { apiKey { name revokedAt }` + userErrors
)

// TestAccountMutationsByRole is the table of role × mutation of what accounts do by mail and staff does with accounts and
// keys. What is refused, by the outer gate or for what it was given, has written nothing.
func TestAccountMutationsByRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	signedIn := func(field string) expectation {
		e := everybody()
		e[""] = "UNAUTHENTICATED " + field
		return e
	}
	for _, c := range []struct {
		field, query string
		variables    map[string]any
		want         expectation
		writes       string // an answer that holds this has written something
	}{
		{"passwordResetRequest", passwordResetRequest, in("email", "ada@example.com"), everybody(), "never: jobs do"},
		{"passwordReset", passwordReset, in("token", "x", "newPassword", "a good password"), everybody(), "true"},
		{"emailVerificationRequest", emailVerification, nil, signedIn("emailVerificationRequest"), "never: jobs do"},
		{"emailVerify", emailVerify, in("token", "x"), everybody(), "true"},
		{"emailChangeRequest", emailChangeRequest, in("newEmail", "new@example.com", "password", "wrong"), signedIn("emailChangeRequest"), "true"},
		{"emailChangeConfirm", emailChangeConfirm, in("token", "x"), everybody(), "true"},
		{"accountExport", accountExport, nil, signedIn("accountExport"), `"data":{"addresses"`},
		{"accountDelete", accountDelete, in("password", "wrong"), signedIn("accountDelete"), "true"},
		{"userCreate", userCreate, in("email", "new@example.com", "name", "New"), managersOnly("userCreate"), `"emailVerified":false`},
		{"apiKeyCreate", apiKeyCreate, in("name", "till"), adminsOnly("apiKeyCreate"), `"secret":"emp_`},
		{"apiKeyRevoke", apiKeyRevoke, in("apiKeyId", w.apiKey.String()), adminsOnly("apiKeyRevoke"), `"revokedAt":"`},
	} {
		for _, who := range everyone {
			fields, _ := c.variables["in"].(map[string]any)
			for _, name := range []string{"email", "newEmail"} {
				if fields[name] != nil { // mails to one address are bounded
					fields[name] = "for-" + who + "@example.com"
				}
			}
			before := w.written()
			a := w.ask(who, c.query, c.variables)
			if got := a.outcome([]string{c.field}); got != c.want[who] {
				t.Errorf("%s as %q: %q, want %q: %s", c.field, who, got, c.want[who], a.body)
			}
			if changed := w.written() != before; changed != strings.Contains(a.body, c.writes) {
				t.Errorf("%s as %q: written: %t: %s", c.field, who, changed, a.body)
			}
		}
	}
	// A manager does not make more than customers.
	before := w.written()
	a := w.ask("manager", userCreate, in("email", "other@example.com", "name", "Other", "roles", []string{"CUSTOMER", "SUPPORT"}))
	if strings.Join(a.codes(), "") != "FORBIDDEN userCreate" || w.written() != before {
		t.Errorf("a manager makes support: %s", a.body)
	}
}

// TestAccountsOverHTTP sets a password by a token, exports and deletes.
func TestAccountsOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	viewer, err := id.Parse(w.data("ada", `{ viewer { id } }`, nil)["viewer"].(map[string]any)["id"].(string))
	if err != nil {
		t.Fatal(err)
	}
	token := strings.Repeat("A", 43) // 256 bits of zero
	w.sql(`INSERT INTO users.tokens VALUES (sha256(decode(repeat('00', 32), 'hex')), $1, 'SET_PASSWORD', now() + interval '1 hour') RETURNING ''`, viewer.Key)
	for _, want := range []string{
		`{"data":{"passwordReset":{"changed":false,"userErrors":[{"code":"WEAK_PASSWORD","field":["newPassword"],"message":"the password is too common or too simple"}]}}}`,
		`{"data":{"passwordReset":{"changed":true,"userErrors":[]}}}`,
		`{"data":{"passwordReset":{"changed":false,"userErrors":[{"code":"INVALID_TOKEN","field":["token"],"message":"the token is unknown, expired or used"}]}}}`,
	} {
		chosen := "another good password"
		if strings.Contains(want, "WEAK") {
			chosen = "password1234"
		}
		if a := w.ask("", passwordReset, in("token", token, "newPassword", chosen)); a.body != want {
			t.Errorf("%s, want %s", a.body, want)
		}
	}
	if a := w.ask("ada", `{ viewer { id } }`, nil); a.status != 401 {
		t.Errorf("the session so far: %d %s", a.status, a.body)
	}
	signedIn := w.data("", signIn, input("ada@example.com", "another good password", false))["signIn"].(map[string]any)["tokens"].(map[string]any)
	w.tokens["ada"] = signedIn["accessToken"].(string)

	w.data("ada", `mutation { cartUpdate(input: {email: "other@example.com", note: "Ring twice.",
		shippingAddress: {name: "Aunt Ada", line1: "Ring 2", city: "Bonn", country: "DE"}}) { userErrors { code } } }`, nil)
	// What else is selected does not make the export smaller.
	a := w.ask("ada", `mutation { profileUpdate(input: {}) { user { id emailVerified } } accountExport { data } }`, nil)
	var got struct {
		Data struct {
			ProfileUpdate struct{ User struct{ EmailVerified bool } }
			AccountExport struct{ Data map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(a.codes()) > 0 || !got.Data.ProfileUpdate.User.EmailVerified {
		t.Fatalf("export: %s", a.body)
	}
	data := got.Data.AccountExport.Data
	if keys := slices.Sorted(maps.Keys(data)); !slices.Equal(keys, []string{"addresses", "audit", "cart", "orders", "payments", "sessions", "user"}) {
		t.Errorf("the export has %v", keys)
	}
	account, orders, payments := data["user"].(map[string]any), data["orders"].([]any), data["payments"].([]any)
	if account["email"] != "ada@example.com" || account["name"] != "Name of ada" || len(orders) != 3 || len(payments) != 3 {
		t.Errorf("the export is of %v, with %d orders and %d payments", account, len(orders), len(payments))
	}
	for _, o := range orders {
		o := o.(map[string]any)
		if len(o["lines"].([]any)) != 3 || len(o["parcels"].([]any)) != 1 || len(o["events"].([]any)) != 2 ||
			o["total"].(map[string]any)["amount"] != "59.70" || o["shippingAddress"].(map[string]any)["name"] != "Name of ada" {
			t.Errorf("an order is %v", o)
		}
	}
	cart := data["cart"].(map[string]any)
	if lines := cart["lines"].([]any); cart["email"] != "other@example.com" || cart["note"] != "Ring twice." || len(lines) != 4 ||
		cart["shippingAddress"].(map[string]any)["name"] != "Aunt Ada" || lines[0].(map[string]any)["variantId"] == "" {
		t.Errorf("the cart is %v", cart)
	}
	for _, p := range payments {
		if p := p.(map[string]any); len(p["events"].([]any)) != 2 || p["provider"] == "" || p["amount"].(map[string]any)["currency"] != "EUR" {
			t.Errorf("a payment is %v", p)
		}
	}
	for _, other := range []string{"bob", "support", "admin", "customer0"} {
		if strings.Contains(a.body, other) {
			t.Errorf("the export tells of %s", other)
		}
	}

	if a := w.ask("ada", accountDelete, in("password", "another good password")); a.body != `{"data":{"accountDelete":{"deleted":true,"userErrors":[]}}}` {
		t.Errorf("delete: %s", a.body)
	}
	if a := w.ask("ada", `{ viewer { id } }`, nil); a.status != 401 {
		t.Errorf("the session of a deleted account: %d %s", a.status, a.body)
	}
	// Orders stay as they were placed.
	kept := w.ask("support", `query($n: String!) { order(number: $n) { email shippingAddress { name } customer { status name email emailVerified orders(first: 1) { totalCount } } } }`,
		map[string]any{"n": w.numbers["ada"]})
	if kept.body != `{"data":{"order":{"email":"ada@example.com","shippingAddress":{"name":"Name of ada"},"customer":{"status":"DELETED","name":null,"email":null,"emailVerified":false,"orders":{"totalCount":3}}}}}` {
		t.Errorf("an order of a deleted account: %s", kept.body)
	}
}

// TestMachines lets a machine in by its key, as SERVICE and as nobody's account, until the key is void.
func TestMachines(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.tokens["machine"] = w.machine
	if got := w.data("machine", `{ viewer { id } orders(first: 5) { totalCount nodes { id } } }`, nil); got["viewer"] != nil || got["orders"].(map[string]any)["totalCount"] != 0.0 {
		t.Errorf("a machine sees %v", got)
	}
	w.data("machine", stockAdjust, w.adjusting("by-a-machine", 1))
	for query, want := range map[string]string{`{ users(first: 1) { totalCount } }`: "FORBIDDEN users", `{ apiKeys(first: 1) { nodes { id } } }`: "FORBIDDEN apiKeys",
		`mutation { emailVerificationRequest { requested } }`: "NOT_FOUND emailVerificationRequest", accountExport: "NOT_FOUND accountExport"} {
		if a := w.ask("machine", query, nil); strings.Join(a.codes(), "") != want {
			t.Errorf("%s as a machine: %s", query, a.body)
		}
	}
	w.tokens["forged"] = w.machine[:len(w.machine)-43] + strings.Repeat("A", 43)
	if a := w.ask("forged", `{ categories { name } }`, nil); a.status != 401 || strings.Contains(a.body, `"data"`) {
		t.Errorf("a forged key: %d %s", a.status, a.body)
	}
	list := w.ask("admin", `{ apiKeys(first: 1) { nodes { id name createdBy { name } revokedAt } edges { cursor } } }`, nil)
	if !strings.Contains(list.body, `{"id":"`+w.apiKey.String()+`","name":"warehouse","createdBy":{"name":"Name of admin"},"revokedAt":null}`) || strings.Contains(list.body, "emp_") {
		t.Errorf("the keys: %s", list.body)
	}
	w.data("admin", apiKeyRevoke, in("apiKeyId", w.apiKey.String()))
	if a := w.ask("machine", `{ categories { name } }`, nil); a.status != 401 {
		t.Errorf("with a key that is void: %d %s", a.status, a.body)
	}
	if a := w.ask("admin", apiKeyRevoke, in("apiKeyId", w.ids["User"].String())); strings.Join(a.codes(), "") != "NOT_FOUND apiKeyRevoke" {
		t.Errorf("no key: %s", a.body)
	}
}
