package user_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/seal"
	"emporium/internal/user"
)

// people makes n accounts, each with an address.
func people(n int) iter.Seq[*user.Account] {
	return func(yield func(*user.Account) bool) {
		for i := range n {
			address := newAddress(fmt.Sprintf("Recipient %d", i))
			a := &user.Account{User: user.User{ID: id.New(), Name: new(fmt.Sprintf("Person %d", i)), Email: new(fmt.Sprintf("p%d@example.com", i)),
				DefaultShippingAddressID: &address.ID}, AddressBook: []user.Address{address}}
			if i%3 == 0 {
				a.Phone = new(fmt.Sprintf("+49309018%04d", i%10000))
			}
			if !yield(a) {
				return
			}
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var told []int
	must(t, w.Load(t.Context(), people(4321), func(done int) { told = append(told, done) }))
	equal(t, "progress", told, []int{4000, 4321})
	equal(t, "rows", query[string](t, w, `SELECT (SELECT count(*) FROM users.users) || ' ' || (SELECT count(*) FROM users.email_index)
		|| ' ' || (SELECT count(*) FROM users.phone_index) || ' ' || (SELECT count(*) FROM users.addresses)`), []string{"4321 4321 1441 4321"})

	// All or nothing, and a reason that does not repeat what was given.
	for name, accounts := range map[string][]*user.Account{
		"taken":      {{User: user.User{ID: id.New(), Email: new("new@example.com")}}, {User: user.User{ID: id.New(), Email: new("P7@example.com")}}},
		"no e-mail":  {{User: user.User{ID: id.New()}}},
		"bad e-mail": {{User: user.User{ID: id.New(), Email: new("secret@")}}},
		"bad phone":  {{User: user.User{ID: id.New(), Email: new("new@example.com"), Phone: new("secret")}}},
		"no such default": {{User: user.User{ID: id.New(), Email: new("new@example.com"),
			DefaultBillingAddressID: new(id.New())}, AddressBook: []user.Address{newAddress("Ada")}}},
	} {
		err := w.Load(t.Context(), func(yield func(*user.Account) bool) {
			for _, a := range accounts {
				if !yield(a) {
					return
				}
			}
		}, nil)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	must(t, w.Load(t.Context(), people(0), nil))
	equal(t, "users", query[int](t, w, "SELECT count(*) FROM users.users"), []int{4321})
}

func TestNothingPersonalIsStoredPlain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens, ada := w.signedUp(t, "ada@example.com")
	p, err := w.Refresh(t.Context(), *tokens.RefreshToken, home)
	refreshed, _ := w.tokens(t, p, err)
	w.load(t, &user.Account{User: user.User{Name: new("Charles Babbage"), Email: new("charles@example.org"), Phone: new("+4930901820")},
		AddressBook: []user.Address{newAddress("Charles Babbage")}})
	_, err = w.UpdateProfile(as(t, ada), user.ProfileUpdateInput{Name: set("Ada Lovelace-King"), Phone: set("+4930901820")})
	must(t, err)
	made, err := w.CreateAddress(as(t, ada), user.AddressCreateInput{Name: "Ada Lovelace", Company: new("Analytical Engines"), Line1: "Unter den Linden 77",
		Line2: new("Hinterhaus"), City: "Berlin", Region: new("Brandenburg"), PostalCode: new("10117"), Country: "DE", Phone: new("+4930901820"),
		DefaultFor: []user.AddressPurpose{user.PurposeBilling}})
	must(t, err)
	_, err = w.UpdateAddress(as(t, ada), user.AddressUpdateInput{AddressID: made.Address.GlobalID(), AddressFields: user.AddressFields{Company: set("Babbage & Co.")}})
	must(t, err)
	changed, err := w.RequestEmailChange(as(t, ada), user.EmailChangeRequestInput{NewEmail: "charles@example.org", Password: goodPassword})
	must(t, err)
	equal(t, "taken", problems(changed.UserErrors), []string{"TAKEN newEmail"})
	changed, err = w.RequestEmailChange(as(t, ada), user.EmailChangeRequestInput{NewEmail: "ada@example.org", Password: goodPassword})
	must(t, err)
	equal(t, "a new address", changed.Requested, true)
	_, err = w.SignOut(as(t, ada))
	must(t, err)

	secrets := []string{goodPassword, "ada@example.com", "Ada Lovelace", "charles", "babbage", "example.org", "4930901820", "30901820",
		"Analytical Engines", "Unter den Linden", "Hinterhaus", "Berlin", "Brandenburg", "10117"}
	for _, tk := range []*user.Tokens{tokens, refreshed} {
		secrets = append(secrets, (*tk.RefreshToken)[4+43:], tk.AccessToken)
	}
	columns := query[string](t, w, `SELECT format('SELECT %s FROM users.%I WHERE %I IS NOT NULL',
			CASE data_type WHEN 'bytea' THEN quote_ident(column_name) ELSE format('convert_to(%I::text, ''UTF8'')', column_name) END,
			table_name, column_name)
		FROM information_schema.columns WHERE table_schema = 'users'`)
	values := 0
	for _, sql := range columns {
		for _, value := range query[[]byte](t, w, sql) {
			values++
			for _, secret := range secrets {
				if bytes.Contains(bytes.ToLower(value), bytes.ToLower([]byte(secret))) {
					t.Errorf("%s: %q holds %q", sql, value, secret)
				}
			}
		}
	}
	if len(columns) < 30 || values < 40 {
		t.Errorf("looked at %d values of %d columns only", values, len(columns))
	}
}

// under returns how many sealed values there are by the ID of their key.
func under(t testing.TB, w *world) map[uint32]int {
	t.Helper()
	counts := map[uint32]int{}
	for _, value := range query[[]byte](t, w, `SELECT v FROM users.users, unnest(ARRAY[name, email, phone]) v WHERE v IS NOT NULL
		UNION ALL SELECT details FROM users.addresses UNION ALL SELECT email FROM users.email_changes`) {
		counts[seal.KeyIDOf(value)]++
	}
	return counts
}

// rotated makes a fresh key the one that seals.
func (w *world) rotated(t testing.TB) {
	t.Helper()
	keys, err := w.keys.Rotate()
	must(t, err)
	w.keys, w.cfg.Sealer = keys, sealer(t, keys)
	w.Service = user.New(w.cfg)
}

func TestReseal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, w.Load(t.Context(), people(600), nil)) // 600 names, 600 e-mails, 200 phones, 600 addresses
	support := as(t, staff(auth.RoleSupport))
	ids := query[uuid.UUID](t, w, "SELECT owner_id FROM users.users ORDER BY owner_id")
	users, err := w.ByIDs(support, ids)
	must(t, err)
	book, err := w.AddressesOf(support, ids)
	must(t, err)
	w.rotated(t)
	primary := w.cfg.Sealer.PrimaryKeyID()
	equal(t, "before", under(t, w)[primary], 0)
	var told []int
	n, err := w.Reseal(t.Context(), func(done int) { told = append(told, done) })
	must(t, err)
	equal(t, "rows", n, 1200)
	equal(t, "progress", told, []int{500, 600, 1100, 1200})
	equal(t, "after", under(t, w), map[uint32]int{primary: 2000})
	n, err = w.Reseal(t.Context(), nil)
	must(t, err)
	equal(t, "once more", n, 0)

	// The old key can go, and nothing has changed.
	w.keys, err = w.keys.Prune()
	must(t, err)
	w.cfg.Sealer = sealer(t, w.keys)
	w.Service = user.New(w.cfg)
	again, err := w.ByIDs(support, ids)
	must(t, err)
	equal(t, "users", byID(again), byID(users))
	bookAgain, err := w.AddressesOf(support, ids)
	must(t, err)
	equal(t, "addresses", bookAgain, book)
	one, err := w.ByEmail(support, "p77@example.com")
	must(t, err)
	equal(t, "by e-mail", *one.Name, "Person 77")
}

func byID(users []*user.User) map[uuid.UUID]*user.User {
	all := map[uuid.UUID]*user.User{}
	for _, u := range users {
		all[u.ID] = u
	}
	return all
}

// An edit between reading and writing is not lost, and is sealed anew as well.
func TestResealBesideAnEdit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, w.Load(t.Context(), people(30), nil))
	ids := query[uuid.UUID](t, w, "SELECT owner_id FROM users.users ORDER BY owner_id")
	old := w.cfg.Sealer
	w.rotated(t)

	// Another process still seals under the old key.
	tx, err := w.raw.Begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	field := seal.Field{Table: "users.users", Column: "name", Row: ids[7][:]}
	_, err = tx.Exec(t.Context(), "UPDATE users.users SET name = $1 WHERE owner_id = $2", old.SealString(field, "Renamed"), ids[7])
	must(t, err)
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() { n, err := w.Reseal(t.Context(), nil); done <- result{n, err} }()
	w.blocked(t)
	must(t, tx.Commit(t.Context()))
	equal(t, "rows", <-done, result{60, nil})
	equal(t, "keys", under(t, w), map[uint32]int{w.cfg.Sealer.PrimaryKeyID(): 100})
	users, err := w.ByIDs(as(t, staff(auth.RoleSupport)), ids[7:8])
	must(t, err)
	equal(t, "name", *users[0].Name, "Renamed")
}
