package user_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/user"
)

// said is the outcome of a verb in one text.
func said(p *user.UserPayload, err error) string {
	switch {
	case err != nil:
		return string(fault.CodeOf(err))
	case len(p.UserErrors) > 0:
		return strings.Join(problems(p.UserErrors), ", ")
	}
	return "done"
}

func (w *world) deactivate(ctx context.Context, who uuid.UUID) (*user.UserPayload, error) {
	return w.Deactivate(ctx, user.UserDeactivateInput{UserID: id.Of(id.User, who)})
}

func (w *world) reactivate(ctx context.Context, who uuid.UUID) (*user.UserPayload, error) {
	return w.Reactivate(ctx, user.UserReactivateInput{UserID: id.Of(id.User, who)})
}

func (w *world) setRoles(ctx context.Context, who uuid.UUID, roles ...auth.Role) (*user.UserPayload, error) {
	return w.SetRoles(ctx, user.UserSetRolesInput{UserID: id.Of(id.User, who), Roles: roles})
}

// TestStaffVerbsByRole is the table of actor × target × verb. What is refused writes nothing.
func TestStaffVerbsByRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	everyRole := []auth.Role{auth.RoleCustomer, auth.RoleSupport, auth.RoleManager, auth.RoleAdmin, auth.RoleService}
	account := func(roles ...auth.Role) auth.Actor {
		a := &user.Account{User: user.User{Roles: roles}}
		w.load(t, a)
		return auth.Actor{ID: a.ID, Roles: auth.Roles(roles...)}
	}
	actors, targets := map[string]auth.Actor{"nobody": {}}, map[string]uuid.UUID{"unknown": id.New()}
	for _, r := range everyRole {
		actors[string(r)] = account(r)
		targets[string(r)] = account(r).ID
	}
	actors["external ADMIN"] = auth.Actor{ID: id.New(), External: true, Roles: auth.Roles(auth.RoleAdmin)}
	demoted := account(auth.RoleSupport)
	demoted.Roles = auth.Roles(auth.RoleAdmin) // as a token of a moment ago would have it
	actors["demoted ADMIN"] = demoted
	closed := &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}, Status: user.StatusDeactivated}}
	guest := &user.Account{User: user.User{Guest: true}}
	w.load(t, closed, guest)
	actors["deactivated ADMIN"] = auth.Actor{ID: closed.ID, Roles: auth.Roles(auth.RoleAdmin)}
	targets["guest"], targets["CUSTOMER and SUPPORT"] = guest.ID, account(auth.RoleCustomer, auth.RoleSupport).ID

	verbs := map[string]func(context.Context, uuid.UUID) (*user.UserPayload, error){
		"deactivate": w.deactivate, "reactivate": w.reactivate,
		"set roles": func(ctx context.Context, who uuid.UUID) (*user.UserPayload, error) {
			return w.setRoles(ctx, who, auth.RoleCustomer, auth.RoleManager)
		},
	}
	want := func(actor, verb, target string) string {
		switch {
		case actor == "nobody" || actor == "deactivated ADMIN":
			return "UNAUTHENTICATED"
		case actor == "demoted ADMIN" && target == "self": // by the token
			return "ONESELF userId"
		case actor == "MANAGER" && verb != "set roles":
			return map[string]string{"unknown": "NOT_FOUND", "CUSTOMER": "done", "guest": "done", "self": "ONESELF userId"}[target]
		case actor != "ADMIN" && actor != "external ADMIN":
			return ""
		case target == "unknown":
			return "NOT_FOUND"
		case target == "self":
			return "ONESELF userId"
		case target == "guest" && verb == "set roles":
			return "INVALID roles"
		}
		return "done"
	}
	w.exec(t, "CREATE TABLE accounts AS SELECT * FROM users.users")
	for name, actor := range actors {
		for verb, call := range verbs {
			for target, who := range targets {
				w.exec(t, `UPDATE users.users u SET status = CASE WHEN $1 = u.owner_id THEN $2 ELSE a.status END, roles = a.roles
					FROM accounts a WHERE u.owner_id = a.owner_id`, who, map[bool]user.Status{true: user.StatusDeactivated, false: user.StatusActive}[verb == "reactivate"])
				what := fmt.Sprintf("%s: %s %s", name, verb, target)
				expected := want(name, verb, target)
				if expected == "" {
					expected = "FORBIDDEN"
				}
				w.audit(t)
				before := w.everything(t)
				equal(t, what, said(call(as(t, actor), who)), expected)
				if after := w.everything(t); (after != before) != (expected == "done") {
					t.Errorf("%s: %s, and this is there:\n%s\nbefore:\n%s", what, expected, after, before)
				}
				if expected == "done" {
					equal(t, what+": entries", len(w.audit(t)), 1)
				}
			}
			if actor.ID != uuid.Nil && name != "deactivated ADMIN" {
				expected := want(name, verb, "self")
				if expected == "" {
					expected = "FORBIDDEN"
				}
				w.unchanged(t, name, func() { equal(t, name+": "+verb+" oneself", said(call(as(t, actor), actor.ID)), expected) })
			}
		}
	}
}

func TestDeactivateAndReactivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	boss := &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}}}
	w.load(t, boss)
	admin := auth.Actor{ID: boss.ID, Roles: auth.Roles(auth.RoleAdmin)}
	_, bob := w.signedUp(t, "bob@example.com")
	first, ada := w.signedUp(t, "ada@example.com")
	second, _ := w.signedIn(t, "ada@example.com", goodPassword)
	external := auth.Claims{Actor: auth.Actor{ID: ada.ID, External: true}}
	check := func() (codes []fault.Code) {
		t.Helper()
		for _, c := range []auth.Claims{w.claims(t, first), w.claims(t, second), external, {Actor: bob}} {
			_, err := w.Check(t.Context(), c)
			if err == nil {
				codes = append(codes, "")
			} else {
				codes = append(codes, fault.CodeOf(err))
			}
		}
		return codes
	}
	equal(t, "before", check(), []fault.Code{"", "", "", ""})
	w.audit(t)

	p, err := w.deactivate(as(t, admin), ada.ID)
	must(t, err)
	equal(t, "returned", p, &user.UserPayload{User: w.viewed(t, ada)})
	equal(t, "status", p.User.Status, user.StatusDeactivated)
	equal(t, "at once", check(), []fault.Code{fault.Unauthenticated, fault.Unauthenticated, fault.Unauthenticated, ""})
	equal(t, "rows", w.state(t), "users 3, emails 3, tokens 3 (used 0), sessions 3 (live 1) DEACTIVATED DEACTIVATED")
	equal(t, "audit", w.audit(t), []string{admin.ID.String() + ` DEACTIVATED {"sessionsEnded": 2}`})
	for _, tk := range []*user.Tokens{first, second} {
		r, err := w.Refresh(t.Context(), *tk.RefreshToken, home)
		equal(t, "refresh", outcome(r, err), "INVALID_TOKEN refreshToken")
	}
	in := user.SignInInput{Email: "ada@example.com", Password: goodPassword}
	s, err := w.SignIn(t.Context(), in, home)
	equal(t, "sign in", outcome(s, err), "WRONG_CREDENTIALS")
	w.unchanged(t, "twice", func() { equal(t, "twice", said(w.deactivate(as(t, admin), ada.ID)), "done") })

	p, err = w.reactivate(as(t, admin), ada.ID)
	must(t, err)
	equal(t, "returned", p, &user.UserPayload{User: w.viewed(t, ada)})
	equal(t, "status", p.User.Status, user.StatusActive)
	equal(t, "audit", w.audit(t), []string{admin.ID.String() + ` REACTIVATED`})
	equal(t, "sessions stay ended", check(), []fault.Code{fault.Unauthenticated, fault.Unauthenticated, "", ""})
	w.unchanged(t, "twice", func() { equal(t, "twice", said(w.reactivate(as(t, admin), ada.ID)), "done") })
	w.signedIn(t, "ada@example.com", goodPassword)
	w.unchanged(t, "an order", func() {
		_, err := w.Deactivate(as(t, admin), user.UserDeactivateInput{UserID: id.Owned(id.Order, id.Key{Owner: ada.ID, ID: ada.ID})})
		code(t, "an order", err, fault.NotFound)
	})
}

func TestSetRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	boss := &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}}}
	w.load(t, boss)
	admin := as(t, auth.Actor{ID: boss.ID, Roles: auth.Roles(auth.RoleAdmin)})
	tokens, ada := w.signedUp(t, "ada@example.com")
	roles := func() auth.RoleSet {
		t.Helper()
		a, err := w.Check(t.Context(), w.claims(t, tokens))
		must(t, err)
		return a.Roles
	}
	equal(t, "before", roles(), auth.Roles(auth.RoleCustomer))
	w.audit(t)

	p, err := w.setRoles(admin, ada.ID, auth.RoleManager, auth.RoleCustomer, auth.RoleManager)
	must(t, err)
	equal(t, "returned", p, &user.UserPayload{User: w.viewed(t, ada)})
	equal(t, "roles", p.User.Roles, []auth.Role{auth.RoleCustomer, auth.RoleManager})
	equal(t, "at once", roles(), auth.Roles(auth.RoleCustomer, auth.RoleManager))
	equal(t, "audit", w.audit(t), []string{boss.ID.String() + ` ROLES_SET {"to": ["CUSTOMER", "MANAGER"], "from": ["CUSTOMER"]}`})
	w.unchanged(t, "no change", func() {
		equal(t, "the same", said(w.setRoles(admin, ada.ID, auth.RoleManager, auth.RoleCustomer)), "done")
		equal(t, "none", said(w.setRoles(admin, ada.ID)), "INVALID roles")
		equal(t, "unknown ones", said(w.setRoles(admin, ada.ID, "OWNER")), "INVALID roles")
	})
	equal(t, "down again", said(w.setRoles(admin, ada.ID, auth.RoleCustomer)), "done")
	equal(t, "at once", roles(), auth.Roles(auth.RoleCustomer))
	equal(t, "rows", w.state(t), "users 2, emails 2, tokens 1 (used 0), sessions 1 (live 1)")
}

// waiting waits until so many statements wait for a lock in this database.
func (w *world) waiting(t testing.TB, n int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); query[int](t, w, `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock'`)[0] < n; {
		if time.Now().After(deadline) {
			t.Fatalf("not so many wait: %d", n)
		}
	}
}

// atOnce is together, with every account held until all wait for one: whatever they look at before that is the same.
func (w *world) atOnce(t testing.TB, n int, f func(i int) string) map[string]int {
	t.Helper()
	tx, err := w.raw.Begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), "SELECT FROM users.users FOR UPDATE")
	must(t, err)
	done := make(chan map[string]int, 1)
	go func() { done <- together(n, f) }()
	w.waiting(t, n)
	must(t, tx.Commit(t.Context()))
	return <-done
}

// Two admins who remove each other at the same moment: one comes second, and is no admin any more.
func TestTwoAdminsRemoveEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}}}, &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}}}
	w.load(t, one, two)
	ids := []uuid.UUID{one.ID, two.ID}
	demote := func(ctx context.Context, who uuid.UUID) (*user.UserPayload, error) {
		return w.setRoles(ctx, who, auth.RoleSupport)
	}
	for name, tc := range map[string]struct {
		verbs [2]func(context.Context, uuid.UUID) (*user.UserPayload, error)
		lost  []string // what the second one is told
	}{
		"deactivate":          {[2]func(context.Context, uuid.UUID) (*user.UserPayload, error){w.deactivate, w.deactivate}, []string{"UNAUTHENTICATED"}},
		"demote":              {[2]func(context.Context, uuid.UUID) (*user.UserPayload, error){demote, demote}, []string{"FORBIDDEN"}},
		"one of each":         {[2]func(context.Context, uuid.UUID) (*user.UserPayload, error){w.deactivate, demote}, []string{"UNAUTHENTICATED", "FORBIDDEN"}},
		"the other way round": {[2]func(context.Context, uuid.UUID) (*user.UserPayload, error){demote, w.deactivate}, []string{"UNAUTHENTICATED", "FORBIDDEN"}},
	} {
		w.exec(t, "UPDATE users.users SET roles = '{ADMIN}', status = 'ACTIVE'")
		w.audit(t)
		tx, err := w.raw.Begin(t.Context())
		must(t, err)
		_, err = tx.Exec(t.Context(), "SELECT FROM users.staff_lock FOR UPDATE")
		must(t, err)
		done := make(chan map[string]int, 1)
		go func() {
			done <- together(2, func(i int) string {
				return said(tc.verbs[i](as(t, auth.Actor{ID: ids[i], Roles: auth.Roles(auth.RoleAdmin)}), ids[1-i]))
			})
		}()
		w.waiting(t, 2) // both have been let in as admins
		must(t, tx.Commit(t.Context()))
		got := <-done
		lost := slices.DeleteFunc(slices.Clone(tc.lost), func(l string) bool { return got[l] != 1 })
		if got["done"] != 1 || len(lost) != 1 || len(got) != 2 {
			t.Errorf("%s: %v", name, got)
		}
		equal(t, name+": admins", query[int](t, w, "SELECT count(*) FROM users.users WHERE roles @> '{ADMIN}' AND status = 'ACTIVE'"), []int{1})
		equal(t, name+": entries", len(w.audit(t)), 1)
	}
}

// Admins of an external issuer have no account that would be left: of the accounts one admin stays, whoever asks and
// however many at once.
func TestTheLastAdminStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var accounts []*user.Account
	for range 5 {
		accounts = append(accounts, &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin, auth.RoleCustomer}}})
	}
	w.load(t, accounts...)
	w.load(t, &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}, Status: user.StatusDeactivated}}) // does not count
	got := w.atOnce(t, len(accounts), func(i int) string {
		ctx := as(t, auth.Actor{ID: id.New(), External: true, Roles: auth.Roles(auth.RoleAdmin)})
		if i%2 == 0 {
			return said(w.deactivate(ctx, accounts[i].ID))
		}
		return said(w.setRoles(ctx, accounts[i].ID, auth.RoleCustomer))
	})
	equal(t, "outcomes", got, map[string]int{"done": 4, "LAST_ADMIN userId": 1})
	last := query[uuid.UUID](t, w, "SELECT owner_id FROM users.users WHERE roles @> '{ADMIN}' AND status = 'ACTIVE'")
	equal(t, "admins", len(last), 1)
	equal(t, "entries", len(w.audit(t)), 4)
	ctx := as(t, auth.Actor{ID: id.New(), External: true, Roles: auth.Roles(auth.RoleAdmin)})
	w.unchanged(t, "the last one", func() {
		equal(t, "deactivate", said(w.deactivate(ctx, last[0])), "LAST_ADMIN userId")
		equal(t, "demote", said(w.setRoles(ctx, last[0], auth.RoleManager)), "LAST_ADMIN userId")
	})
	equal(t, "more roles", said(w.setRoles(ctx, last[0], auth.RoleManager, auth.RoleAdmin)), "done")
}

// Whoever signs in while the account is being closed does not keep a session.
func TestSignInWhileTheAccountIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	boss := &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}}}
	w.load(t, boss)
	_, ada := w.signedUp(t, "ada@example.com")
	admin := as(t, auth.Actor{ID: boss.ID, Roles: auth.Roles(auth.RoleAdmin)})
	results := together(12, func(i int) string {
		if i == 6 {
			return said(w.deactivate(admin, ada.ID))
		}
		p, err := w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: goodPassword}, home)
		return outcome(p, err)
	})
	equal(t, "outcomes", results["done"]+results["tokens"]+results["WRONG_CREDENTIALS"], 12)
	equal(t, "live sessions", query[int](t, w, "SELECT count(*) FROM users.sessions WHERE ended_at IS NULL"), []int{0})
}
