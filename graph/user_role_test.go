package graph

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/postgres"
)

const (
	profileUpdate = `mutation($in: ProfileUpdateInput!) { profileUpdate(input: $in) { user { name phone email } userErrors { code field message } } }`

	addressFields     = `address { id name company line1 line2 city region postalCode country phone }`
	addressCreate     = `mutation($in: AddressCreateInput!) { addressCreate(input: $in) { ` + addressFields + ` userErrors { code field message } } }`
	addressUpdate     = `mutation($in: AddressUpdateInput!) { addressUpdate(input: $in) { ` + addressFields + ` userErrors { code field message } } }`
	addressDelete     = `mutation($in: AddressDeleteInput!) { addressDelete(input: $in) { deletedAddressId user { defaultShippingAddress { id } defaultBillingAddress { id } addresses { id } } userErrors { code field message } } }`
	addressSetDefault = `mutation($in: AddressSetDefaultInput!) { addressSetDefault(input: $in) { user { defaultShippingAddress { id } defaultBillingAddress { id } } userErrors { code field message } } }`

	userDeactivate = `mutation($in: UserDeactivateInput!) { userDeactivate(input: $in) { user { name status } userErrors { code field message } } }`
	userReactivate = `mutation($in: UserReactivateInput!) { userReactivate(input: $in) { user { name status } userErrors { code field message } } }`
	userSetRoles   = `mutation($in: UserSetRolesInput!) { userSetRoles(input: $in) { user { name roles } userErrors { code field message } } }`
)

func in(pairs ...any) map[string]any {
	fields := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		fields[pairs[i].(string)] = pairs[i+1]
	}
	return map[string]any{"in": fields}
}

// sql runs a statement on the users' database and returns the first column.
func (w *world) sql(sql string, args ...any) []string {
	w.t.Helper()
	rows, err := postgres.Select(w.t.Context(), w.dbs.Users, postgres.Stmt{Name: "test.users", SQL: sql, Reads: postgres.All("users.users",
		"users.addresses", "users.phone_index", "users.email_index", "users.sessions", "users.refresh_tokens", "users.audit", "users.tokens", "users.email_changes", "users.api_keys")}, pgx.RowTo[string], args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// written is all that the schema users holds.
func (w *world) written() string {
	w.t.Helper()
	return strings.Join(w.sql(`SELECT 'user ' || t::text AS row FROM users.users t UNION ALL SELECT 'address ' || t::text FROM users.addresses t
		UNION ALL SELECT 'phone ' || t::text FROM users.phone_index t UNION ALL SELECT 'email ' || t::text FROM users.email_index t
		UNION ALL SELECT 'session ' || t::text FROM users.sessions t UNION ALL SELECT 'token ' || t::text FROM users.refresh_tokens t
		UNION ALL SELECT 'key ' || t.id || coalesce(t.revoked_at::text, '') FROM users.api_keys t UNION ALL SELECT 'mailed ' || t::text FROM users.tokens t
		UNION ALL SELECT 'change ' || t::text FROM users.email_changes t
		UNION ALL SELECT 'audit ' || t::text FROM users.audit t ORDER BY row`), "\n")
}

// TestMutationsByRole is the table of role × mutation. What is refused has written nothing; what is done is recorded.
func TestMutationsByRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	address := w.ids["Address"].String()
	customer := w.data("admin", `{ user(email: "customer0@example.com") { id } }`, nil)["user"].(map[string]any)["id"].(string)
	key, err := id.Parse(customer)
	if err != nil {
		t.Fatal(err)
	}
	signedIn := func(field string) expectation {
		e := everybody()
		e[""] = "UNAUTHENTICATED " + field
		return e
	}
	adas := func(field string) expectation {
		e := expectation{}
		for _, who := range everyone {
			e[who] = "NOT_FOUND " + field
		}
		e["ada"], e[""] = "data", "UNAUTHENTICATED "+field
		return e
	}
	for _, c := range []struct {
		field, object, query string
		variables            map[string]any
		before               string // SQL
		want                 expectation
	}{
		{"profileUpdate", "user", profileUpdate, in("name", "Somebody", "phone", "+4930901899"), "", signedIn("profileUpdate")},
		{"addressCreate", "address", addressCreate, in("name", "A", "line1", "B", "city", "C", "country", "DE"), "", signedIn("addressCreate")},
		{"addressUpdate", "address", addressUpdate, in("addressId", address, "city", "Jena"), "", adas("addressUpdate")},
		{"addressSetDefault", "user", addressSetDefault, in("addressId", address, "purpose", "BILLING"), "", adas("addressSetDefault")},
		{"userDeactivate", "user", userDeactivate, in("userId", customer), `UPDATE users.users SET status = 'ACTIVE' WHERE owner_id = $1 RETURNING ''`, managersOnly("userDeactivate")},
		{"userReactivate", "user", userReactivate, in("userId", customer), `UPDATE users.users SET status = 'DEACTIVATED' WHERE owner_id = $1 RETURNING ''`, managersOnly("userReactivate")},
		{"userSetRoles", "user", userSetRoles, in("userId", customer, "roles", []string{"SUPPORT"}), `UPDATE users.users SET roles = '{CUSTOMER}' WHERE owner_id = $1 RETURNING ''`, adminsOnly("userSetRoles")},
		{"addressDelete", "deletedAddressId", addressDelete, in("addressId", address), "", adas("addressDelete")},
	} {
		for _, who := range everyone {
			if c.before != "" {
				w.sql(c.before, key.Key)
			}
			before, entries := w.written(), len(w.sql(`SELECT '' FROM users.audit`))
			a := w.ask(who, c.query, c.variables)
			if got := a.outcome([]string{c.field, c.object}); got != c.want[who] {
				t.Errorf("%s as %q: %q, want %q: %s", c.field, who, got, c.want[who], a.body)
			}
			if changed := w.written() != before; changed != (c.want[who] == "data") {
				t.Errorf("%s as %q: %q, and written: %t", c.field, who, c.want[who], changed)
			}
			if more := len(w.sql(`SELECT '' FROM users.audit`)) - entries; more != map[bool]int{true: 1}[c.want[who] == "data"] {
				t.Errorf("%s as %q: %d entries in the audit log", c.field, who, more)
			}
		}
	}
}

// TestStaffOverHTTP closes an account: what its user holds is void at once. Who may do more than the viewer, and the viewer
// themselves, are out of reach.
func TestStaffOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ids := map[string]string{}
	for who := range roles {
		ids[who] = w.data(who, `{ viewer { id } }`, nil)["viewer"].(map[string]any)["id"].(string)
	}
	for _, c := range []struct{ who, query, whom, want string }{
		{"manager", userDeactivate, "admin", "FORBIDDEN userDeactivate"},
		{"manager", userDeactivate, "support", "FORBIDDEN userDeactivate"},
		{"manager", userReactivate, "service", "FORBIDDEN userReactivate"},
		{"manager", userDeactivate, "manager", `"user":null,"userErrors":[{"code":"ONESELF","field":["userId"],"message":"somebody else has to do this to your account"}]`},
		{"admin", userDeactivate, "admin", `"user":null,"userErrors":[{"code":"ONESELF","field":["userId"],"message":"somebody else has to do this to your account"}]`},
		{"admin", userDeactivate, "ada", `{"data":{"userDeactivate":{"user":{"name":"Name of ada","status":"DEACTIVATED"},"userErrors":[]}}}`},
		{"admin", userReactivate, "ada", `{"data":{"userReactivate":{"user":{"name":"Name of ada","status":"ACTIVE"},"userErrors":[]}}}`},
		{"admin", userDeactivate, "bob", `"DEACTIVATED"`},
	} {
		a := w.ask(c.who, c.query, in("userId", ids[c.whom]))
		if !strings.Contains(a.body+strings.Join(a.codes(), ""), c.want) {
			t.Errorf("%s, %s: %s, want %s", c.who, c.whom, a.body, c.want)
		}
	}
	for _, who := range []string{"ada", "bob"} {
		if a := w.ask(who, `{ categories { name } }`, nil); a.status != 401 {
			t.Errorf("the token of %s: %d %s", who, a.status, a.body)
		}
	}
	if a := w.ask("", signIn, input("bob@example.com", password, false)); !strings.Contains(a.body, "WRONG_CREDENTIALS") {
		t.Errorf("Bob signs in: %s", a.body)
	}
	w.data("", signIn, input("ada@example.com", password, false))

	if a := w.ask("support", `{ auditLog(first: 1) { nodes { at } } }`, nil); strings.Join(a.codes(), "") != "FORBIDDEN auditLog" {
		t.Errorf("support: %s", a.body)
	}
	w.data("admin", userSetRoles, in("userId", ids["support"], "roles", []string{"ADMIN", "SUPPORT"}))
	got := w.ask("support", `{ auditLog(first: 3, filter: {actions: [ROLES_SET, REACTIVATED, DEACTIVATED]}) { nodes { action actor { name } actorId subject { name } subjectId details } } }`, nil)
	admin := `"actor":{"name":"Name of admin"},"actorId":"` + ids["admin"] + `",`
	if want := `{"data":{"auditLog":{"nodes":[` +
		`{"action":"ROLES_SET",` + admin + `"subject":{"name":"Name of support"},"subjectId":"` + ids["support"] + `","details":{"from":["SUPPORT"],"to":["SUPPORT","ADMIN"]}},` +
		`{"action":"DEACTIVATED",` + admin + `"subject":{"name":"Name of bob"},"subjectId":"` + ids["bob"] + `","details":{"sessionsEnded":1}},` +
		`{"action":"REACTIVATED",` + admin + `"subject":{"name":"Name of ada"},"subjectId":"` + ids["ada"] + `","details":{}}]}}}`; got.body != want {
		t.Errorf("audit log\n%s, want\n%s", got.body, want)
	}
}

// TestAddressesOverHTTP goes the way of a client, and tells absent from null in each form that an operation has for them.
func TestAddressesOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	want := func(a answer, body string) {
		t.Helper()
		if a.body != body {
			t.Errorf("got\n%s, want\n%s", a.body, body)
		}
	}
	want(w.ask("ada", profileUpdate, in("phone", "030 901820")), `{"data":{"profileUpdate":{"user":{"name":"Name of ada","phone":"+4930901820","email":"ada@example.com"},"userErrors":[]}}}`)
	want(w.ask("ada", profileUpdate, in("name", "", "phone", "1")), `{"data":{"profileUpdate":{"user":null,"userErrors":[`+
		`{"code":"INVALID","field":["name"],"message":"the name must have 1 to 200 characters, none of them a control character"},`+
		`{"code":"INVALID","field":["phone"],"message":"this is not a valid telephone number; begin with + and the country code"}]}}}`)
	want(w.ask("ada", `mutation { profileUpdate(input: {phone: null}) { user { name phone } userErrors { code } } }`, nil),
		`{"data":{"profileUpdate":{"user":{"name":"Name of ada","phone":null},"userErrors":[]}}}`)

	created := w.data("ada", addressCreate, in("name", "Ada", "company", "Engines", "line1", "Street 1", "line2", "Yard", "city", "Berlin", "region", "BE",
		"postalCode", "10117", "country", "DE", "phone", "030 901820", "defaultFor", []string{"SHIPPING"}))["addressCreate"].(map[string]any)["address"].(map[string]any)
	address := created["id"].(string)
	shown := func(company, line2, region string) string {
		return `{"data":{"addressUpdate":{"address":{"id":"` + address + `","name":"Ada","company":` + company + `,"line1":"Street 1","line2":` + line2 +
			`,"city":"Berlin","region":` + region + `,"postalCode":"10117","country":"DE","phone":"+4930901820"},"userErrors":[]}}}`
	}
	want(w.ask("ada", addressUpdate, in("addressId", address, "company", nil)), shown("null", `"Yard"`, `"BE"`))
	literal := `mutation($id: ID!, $line2: String, $region: String) { addressUpdate(input: {addressId: $id, line2: $line2, region: $region, company: "New"}) { ` +
		addressFields + ` userErrors { code field message } } }`
	want(w.ask("ada", literal, map[string]any{"id": address, "line2": nil}), shown(`"New"`, "null", `"BE"`))
	want(w.ask("ada", addressUpdate, in("addressId", address, "name", nil, "line1", " ")), `{"data":{"addressUpdate":{"address":null,"userErrors":[`+
		`{"code":"INVALID","field":["name"],"message":"this must have 1 to 200 characters, none of them a control character"},`+
		`{"code":"INVALID","field":["line1"],"message":"this must have 1 to 200 characters, none of them a control character"}]}}}`)
	for _, in := range []map[string]any{in("addressId", address, "country", "XX"), in("addressId", address, "country", "de")} {
		if a := w.ask("ada", addressUpdate, in); strings.Join(a.codes(), "") != "BAD_USER_INPUT addressUpdate" || !strings.Contains(a.body, `"field":["input","country"]`) {
			t.Errorf("a country that is none: %s", a.body)
		}
	}

	// What a mutation answers is as it is after it, however often something was asked for before.
	const createTwice = `mutation($in: AddressCreateInput!) { a: addressCreate(input: $in) { user { addresses { id } } } p: profileUpdate(input: {}) { user { addresses { id } } }
		b: addressCreate(input: $in) { user { addresses { id } } } }`
	oracle := *w
	oracle.handler = oracleHandler(w)
	for i, shop := range []*world{w, &oracle} {
		got := shop.data("ada", createTwice, in("name", "A", "line1", "B", "city", "C", "country", "DE"))
		for field, more := range map[string]int{"a": 1, "p": 1, "b": 2} {
			if n := len(got[field].(map[string]any)["user"].(map[string]any)["addresses"].([]any)); n != 3+2*i+more {
				t.Errorf("%s of executor %d: %d addresses, want %d", field, i, n, 3+2*i+more)
			}
		}
	}

	other := w.data("ada", `{ viewer { addresses { id } defaultBillingAddress { id } } }`, nil)["viewer"].(map[string]any)["defaultBillingAddress"].(map[string]any)["id"].(string)
	want(w.ask("ada", addressSetDefault, in("addressId", address, "purpose", "BILLING")), `{"data":{"addressSetDefault":{"user":{"defaultShippingAddress":{"id":"`+
		address+`"},"defaultBillingAddress":{"id":"`+address+`"}},"userErrors":[]}}}`)
	gone := w.ask("ada", addressDelete, in("addressId", address))
	if !strings.HasPrefix(gone.body, `{"data":{"addressDelete":{"deletedAddressId":"`+address+`","user":{"defaultShippingAddress":null,"defaultBillingAddress":null,"addresses":[`) ||
		!strings.Contains(gone.body, other) || strings.Count(gone.body, address) != 1 {
		t.Errorf("deleted: %s", gone.body)
	}
}

// TestAddressesOfOthersDoNotExist wants the bytes of an unknown ID for Ada's addresses, from Bob and from staff, and
// nothing written.
func TestAddressesOfOthersDoNotExist(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	known := w.ids["Address"]
	for name, c := range map[string]struct {
		query string
		more  []any
	}{
		"update": {addressUpdate, []any{"city", "Jena"}}, "update to what is wrong": {addressUpdate, []any{"city", ""}}, "update nothing": {addressUpdate, nil},
		"delete": {addressDelete, nil}, "set default": {addressSetDefault, []any{"purpose", "SHIPPING"}},
	} {
		for _, who := range []string{"bob", "service", "support", "admin"} {
			ask := func(address id.ID) string {
				variables := in(append([]any{"addressId", address.String()}, c.more...)...)
				a := w.ask(who, c.query, variables)
				return fmt.Sprint(a.status, a.body)
			}
			viewer, err := id.Parse(w.data(who, `{ viewer { id } }`, nil)["viewer"].(map[string]any)["id"].(string))
			if err != nil {
				t.Fatal(err)
			}
			before := w.written()
			unknown := ask(id.Owned(id.Address, id.Key{Owner: viewer.Key, ID: uuid.New()}))
			if !strings.Contains(unknown, `"code":"NOT_FOUND"`) || !strings.Contains(unknown, `"field":["input","addressId"]`) {
				t.Errorf("%s of an unknown ID: %s", name, unknown)
			}
			for what, address := range map[string]id.ID{"Ada's": known, "of another owner": id.Owned(id.Address, id.Key{Owner: viewer.Key, ID: known.Key}),
				"an order": w.ids["Order"], "a product": w.ids["Product"]} {
				if got := ask(address); got != unknown {
					t.Errorf("%s as %s, %s: %s, of an unknown ID: %s", name, who, what, got, unknown)
				}
			}
			if w.written() != before {
				t.Errorf("%s as %s has written something", name, who)
			}
		}
	}
}
