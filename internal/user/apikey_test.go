package user_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/mail"
	"emporium/internal/page"
	"emporium/internal/user"
)

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	boss := &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}}}
	w.load(t, boss)
	admin := as(t, auth.Actor{ID: boss.ID, Roles: auth.Roles(auth.RoleAdmin)})
	create := func(in user.APIKeyCreateInput) (*user.APIKey, string) {
		t.Helper()
		p, err := w.CreateAPIKey(admin, in)
		must(t, err)
		if p.APIKey == nil || p.Secret == nil || p.UserErrors != nil {
			t.Fatalf("%+v", p)
		}
		return p.APIKey, *p.Secret
	}
	now := *w.clock.Load()
	until := now.Add(time.Hour)
	till, secret := create(user.APIKeyCreateInput{Name: " Till 1 ", ExpiresAt: &until})
	if till.Name != "Till 1" || !strings.HasPrefix(secret, "emp_") || len(secret) != 4+22+1+43 {
		t.Errorf("%+v, %s", till, secret)
	}
	ever, _ := create(user.APIKeyCreateInput{Name: "Warehouse"})
	equal(t, "audit", w.audit(t), []string{`self API_KEY_CREATED {"apiKey": "` + till.ID.String() + `"}`, `self API_KEY_CREATED {"apiKey": "` + ever.ID.String() + `"}`})
	for _, value := range query[string](t, w, "SELECT t::text FROM users.api_keys t") {
		if strings.Contains(value, secret[27:]) {
			t.Errorf("the secret is in %s", value)
		}
	}
	w.unchanged(t, "refused", func() {
		for name, in := range map[string]user.APIKeyCreateInput{"name": {Name: " "}, "expiresAt": {Name: "x", ExpiresAt: &now}} {
			p, err := w.CreateAPIKey(admin, in)
			must(t, err)
			equal(t, name, problems(p.UserErrors), []string{"INVALID " + name})
		}
		for name, a := range map[string]auth.Actor{"manager": staff(auth.RoleManager), "service": staff(auth.RoleService), "": {}} {
			want := fault.Forbidden
			if name == "" {
				want = fault.Unauthenticated
			}
			_, err := w.CreateAPIKey(as(t, a), user.APIKeyCreateInput{Name: "x"})
			code(t, name+" creates", err, want)
			_, err = w.RevokeAPIKey(as(t, a), user.APIKeyRevokeInput{APIKeyID: till.GlobalID()})
			code(t, name+" revokes", err, want)
			_, err = w.APIKeys(as(t, a), page.Args{First: new(5)})
			code(t, name+" lists", err, want)
		}
		for _, key := range []id.ID{id.Of(id.APIKey, id.New()), id.Of(id.User, till.ID)} {
			_, err := w.RevokeAPIKey(admin, user.APIKeyRevokeInput{APIKeyID: key})
			code(t, "an unknown key", err, fault.NotFound)
		}
	})

	check := func(key string) (auth.Actor, error) { return w.CheckAPIKey(t.Context(), key) }
	used := func() int { return query[int](t, w, "SELECT count(last_used_at) FROM users.api_keys")[0] }
	a, err := check(secret)
	must(t, err)
	equal(t, "actor", a, auth.Actor{ID: till.ID, Roles: auth.Roles(auth.RoleService)})
	equal(t, "used", used(), 1)
	foreign, _ := auth.NewAPIKey(ever.ID)
	for name, key := range map[string]string{"another secret": foreign, "unknown": func() string { k, _ := auth.NewAPIKey(id.New()); return k }(),
		"short": secret[:len(secret)-1], "long": secret + "A", "no secret": secret[:27], "empty": "emp_", "no key": "x"} {
		_, err := check(key)
		code(t, name, err, fault.Unauthenticated)
	}
	// What is known is not asked for again, but for two seconds only; the use is noted once a minute.
	equal(t, "at once", statements(t.Context(), func(ctx context.Context) { _, err := w.CheckAPIKey(ctx, secret); must(t, err) }), []string(nil))
	for _, c := range []struct {
		pass time.Duration
		want int
	}{{2 * time.Second, 1}, {57 * time.Second, 1}, {2 * time.Second, 2}, {2 * time.Second, 1}} {
		w.pass(c.pass)
		equal(t, c.pass.String(), len(statements(t.Context(), func(ctx context.Context) { _, err := w.CheckAPIKey(ctx, secret); must(t, err) })), c.want)
	}

	// Another process finds out within two seconds.
	second := user.New(w.cfg)
	_, err = second.CheckAPIKey(t.Context(), secret)
	must(t, err)
	w.audit(t)
	for range 2 {
		p, err := w.RevokeAPIKey(admin, user.APIKeyRevokeInput{APIKeyID: till.GlobalID()})
		must(t, err)
		if p.APIKey.RevokedAt == nil {
			t.Error("it is not revoked")
		}
	}
	equal(t, "audit", w.audit(t), []string{`self API_KEY_REVOKED {"apiKey": "` + till.ID.String() + `"}`})
	_, err = check(secret)
	code(t, "revoked", err, fault.Unauthenticated)
	w.pass(2 * time.Second)
	_, err = second.CheckAPIKey(t.Context(), secret)
	code(t, "revoked elsewhere", err, fault.Unauthenticated)

	soon, secret := create(user.APIKeyCreateInput{Name: "Soon over", ExpiresAt: new(w.clock.Load().Add(time.Second))})
	_, err = check(secret)
	must(t, err)
	w.pass(time.Second)
	_, err = check(secret)
	code(t, "expired, but remembered", err, fault.Unauthenticated)
	w.pass(5 * time.Second)
	_, err = check(secret)
	code(t, "expired", err, fault.Unauthenticated)
	list, err := w.APIKeys(admin, page.Args{First: new(2)})
	must(t, err)
	if nodes := list.Nodes(); len(nodes) != 2 || nodes[0].ID != soon.ID || nodes[1].ID != ever.ID || !list.PageInfo.HasNextPage {
		t.Errorf("the keys are %+v", nodes)
	}
}

// TestUserCreate is the table of who may open an account for whom; whoever is invited chooses a password by the mail.
func TestUserCreate(t *testing.T) {
	t.Parallel()
	w, p := newMailWorld(t)
	actors := map[string]auth.Actor{"nobody": {}}
	for _, r := range []auth.Role{auth.RoleCustomer, auth.RoleSupport, auth.RoleManager, auth.RoleAdmin, auth.RoleService} {
		a := &user.Account{User: user.User{Roles: []auth.Role{r}}}
		w.load(t, a)
		actors[string(r)] = auth.Actor{ID: a.ID, Roles: auth.Roles(r)}
	}
	demoted := actors["CUSTOMER"]
	demoted.Roles = auth.Roles(auth.RoleAdmin)
	actors["demoted"] = demoted
	w.audit(t)
	n := 0
	for name, a := range actors {
		for what, roles := range map[string][]auth.Role{"customer": {auth.RoleCustomer}, "support": {auth.RoleSupport}, "admin": {auth.RoleAdmin}, "both": {auth.RoleCustomer, auth.RoleSupport}} {
			want := "FORBIDDEN"
			switch {
			case name == "nobody":
				want = "UNAUTHENTICATED"
			case name == "ADMIN", name == "MANAGER" && what == "customer":
				want = "done"
			}
			n++
			before := w.everything(t)
			in := user.UserCreateInput{Email: strings.ToUpper(name[:1]) + string(rune('a'+n)) + "@example.com", Name: "Grace Hopper", Roles: roles}
			got, err := w.Create(as(t, a), in)
			equal(t, name+" creates "+what, said(got, err), want)
			if want != "done" {
				equal(t, name+": rows", w.everything(t), before)
				continue
			}
			token := p.next(t, mail.Invitation, strings.ToLower(in.Email))
			entries := w.audit(t)
			if len(entries) != 1 || !strings.Contains(entries[0], a.ID.String()+" CREATED") {
				t.Errorf("audit: %v", entries)
			}
			in2, err := w.SignIn(t.Context(), user.SignInInput{Email: in.Email, Password: goodPassword}, home)
			must(t, err)
			equal(t, "before", problems(in2.UserErrors), []string{"WRONG_CREDENTIALS"})
			set, err := w.ResetPassword(t.Context(), user.PasswordResetInput{Token: token, NewPassword: goodPassword}, home)
			must(t, err)
			equal(t, "set", set, &user.PasswordResetPayload{Changed: true})
			_, grace := w.signedIn(t, in.Email, goodPassword)
			if me := w.viewed(t, grace); !me.EmailVerified() || grace.Roles != auth.Roles(roles...) || me.ID != got.User.ID {
				t.Errorf("the account is %+v", me)
			}
			w.audit(t)
			w.unchanged(t, "taken", func() {
				equal(t, "taken", said(w.Create(as(t, a), in)), "TAKEN email")
				equal(t, "nonsense", said(w.Create(as(t, a), user.UserCreateInput{Email: "x"})), "INVALID email, INVALID name, INVALID roles")
			})
		}
	}
}
