package user_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/user"
)

func TestSessionsAreAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens, ada := w.signedUp(t, "ada@example.com")
	equal(t, "session", query[string](t, w, "SELECT details->>'session' FROM users.audit"), []string{ada.Session.String()})
	equal(t, "sign up", w.audit(t), []string{"self SIGNED_UP"})
	w.unchanged(t, "refused", func() {
		_, err := w.SignUp(t.Context(), user.SignUpInput{Email: "ada@example.com", Password: goodPassword, Name: "Ada"}, home)
		must(t, err)
		_, err = w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: "wrong"}, home)
		must(t, err)
		_, err = w.ChangePassword(as(t, ada), user.PasswordChangeInput{CurrentPassword: "wrong", NewPassword: nextPassword})
		must(t, err)
		_, err = w.SignOut(as(t, auth.Actor{ID: ada.ID, External: true}))
		must(t, err)
	})

	_, again := w.signedIn(t, "ada@example.com", goodPassword)
	w.signedIn(t, "ada@example.com", goodPassword)
	_, err := w.SignOut(as(t, again))
	must(t, err)
	_, err = w.SignOut(as(t, again))
	must(t, err)
	_, err = w.ChangePassword(as(t, ada), user.PasswordChangeInput{CurrentPassword: goodPassword, NewPassword: nextPassword})
	must(t, err)
	_, err = w.OpenSession(t.Context(), "ada@example.com")
	must(t, err)
	for range 3 {
		_, err = w.Refresh(t.Context(), *tokens.RefreshToken, home)
		must(t, err)
	}
	_, err = w.SignOutEverywhere(as(t, ada))
	must(t, err)
	equal(t, "audit", w.audit(t), []string{"self SIGNED_IN", "self SIGNED_IN", `self SIGNED_OUT {"sessionsEnded": 1}`,
		`self PASSWORD_CHANGED {"sessionsEnded": 1}`, `nobody SIGNED_IN {"operator": true}`, "nobody TOKEN_REUSED", `self SIGNED_OUT {"sessionsEnded": 1}`})
}

// What can not be recorded is not done: both are one transaction.
func TestNothingIsDoneUnrecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	boss := &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}}}
	closed := &user.Account{User: user.User{Status: user.StatusDeactivated}}
	w.load(t, boss, closed)
	tokens, ada := w.signedUp(t, "ada@example.com")
	_, err := w.Refresh(t.Context(), *tokens.RefreshToken, home)
	must(t, err)
	made, err := w.CreateAddress(as(t, ada), user.AddressCreateInput{Name: "Ada", Line1: "Main St 1", City: "Berlin", Country: "DE"})
	must(t, err)
	verbs := ownVerbs(w, made.Address.GlobalID())
	admin := auth.Actor{ID: boss.ID, Roles: auth.Roles(auth.RoleAdmin)}
	for name, verb := range map[string]func() error{
		"deactivate": func() error { _, err := w.deactivate(as(t, admin), ada.ID); return err },
		"reactivate": func() error { _, err := w.reactivate(as(t, admin), closed.ID); return err },
		"set roles":  func() error { _, err := w.setRoles(as(t, admin), ada.ID, auth.RoleSupport); return err },
		"sign up": func() error {
			_, err := w.SignUp(t.Context(), user.SignUpInput{Email: "new@example.com", Password: goodPassword, Name: "New"}, home)
			return err
		},
		"sign in": func() error {
			_, err := w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: goodPassword}, home)
			return err
		},
		"open session": func() error { _, err := w.OpenSession(t.Context(), "ada@example.com"); return err },
		"reuse":        func() error { _, err := w.Refresh(t.Context(), *tokens.RefreshToken, home); return err },
		"sign out":     func() error { _, err := w.SignOut(as(t, ada)); return err },
		"password": func() error {
			_, err := w.ChangePassword(as(t, ada), user.PasswordChangeInput{CurrentPassword: goodPassword, NewPassword: nextPassword})
			return err
		},
	} {
		verbs[name] = func(context.Context) error { return verb() }
	}
	w.exec(t, "ALTER TABLE users.audit ADD CONSTRAINT full_disk CHECK (false) NOT VALID")
	for name, verb := range verbs {
		w.unchanged(t, name, func() { code(t, name, verb(as(t, ada)), fault.Internal) })
	}
	_, err = w.Check(t.Context(), w.claims(t, tokens))
	must(t, err) // nothing has ended
}

func TestAuditLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	boss := &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}}}
	w.load(t, boss)
	admin := as(t, auth.Actor{ID: boss.ID, Roles: auth.Roles(auth.RoleAdmin)})
	_, ada := w.signedUp(t, "ada@example.com")
	pause := func() { time.Sleep(3 * time.Millisecond) } // instants are told apart by the millisecond
	pause()
	_, bob := w.signedUp(t, "bob@example.com")
	must(t, ownVerbs(w, id.ID{})["profile"](as(t, bob)))
	pause()
	_, err := w.deactivate(admin, ada.ID)
	must(t, err)
	_, err = w.OpenSession(t.Context(), "bob@example.com")
	must(t, err)

	names := map[uuid.UUID]string{ada.ID: "ada", bob.ID: "bob", boss.ID: "boss"}
	list := func(f user.AuditFilter, args page.Args) ([]string, *user.AuditConnection) {
		t.Helper()
		c, err := w.AuditLog(admin, f, args)
		must(t, err)
		lines := []string{}
		for _, e := range c.Nodes() {
			actor := "nobody"
			if e.ActorID != nil {
				actor = names[*e.ActorID]
			}
			lines = append(lines, fmt.Sprint(actor, " ", e.Action, " ", names[e.SubjectID]))
		}
		return lines, c
	}
	all := []string{"nobody SIGNED_IN bob", "boss DEACTIVATED ada", "bob PROFILE_UPDATED bob", "bob SIGNED_UP bob", "ada SIGNED_UP ada"}
	got, c := list(user.AuditFilter{}, page.Args{First: new(10)})
	equal(t, "newest first", got, all)
	equal(t, "page", [2]bool{c.PageInfo.HasNextPage, c.PageInfo.HasPreviousPage}, [2]bool{})
	e := c.Edges[1].Node
	equal(t, "entry", e, &user.AuditEntry{SubjectID: ada.ID, ID: e.ID, At: e.At, ActorID: &boss.ID, Action: user.AuditDeactivated,
		Details: map[string]any{"sessionsEnded": 1.0}, SubjectKind: int16(id.User)})
	at, err := id.Time(e.ID)
	must(t, err)
	equal(t, "instant", e.At, at)

	for name, tc := range map[string]struct {
		args page.Args
		want []string
	}{
		"first":        {page.Args{First: new(2)}, all[:2]},
		"first, after": {page.Args{First: new(2), After: new(c.Edges[1].Cursor())}, all[2:4]},
		"last":         {page.Args{Last: new(2)}, all[3:]},
		"last, before": {page.Args{Last: new(2), Before: new(c.Edges[3].Cursor())}, all[1:3]},
		"between":      {page.Args{First: new(9), After: new(c.Edges[0].Cursor()), Before: new(c.Edges[4].Cursor())}, all[1:4]},
	} {
		got, _ := list(user.AuditFilter{}, tc.args)
		equal(t, name, got, tc.want)
	}
	of := func(i int, later time.Duration) *time.Time { return new(c.Edges[i].Node.At.Add(later)) }
	for name, tc := range map[string]struct {
		filter user.AuditFilter
		want   []string
	}{
		"actor":             {user.AuditFilter{ActorID: new(id.Of(id.User, bob.ID))}, all[2:4]},
		"subject":           {user.AuditFilter{SubjectID: new(id.Of(id.User, ada.ID))}, []string{all[1], all[4]}},
		"actor and subject": {user.AuditFilter{ActorID: new(id.Of(id.User, bob.ID)), SubjectID: new(id.Of(id.User, ada.ID))}, []string{}},
		"not a user":        {user.AuditFilter{SubjectID: &id.ID{Kind: id.Order, Key: ada.ID}}, []string{}},
		"actions":           {user.AuditFilter{Actions: []audit.Action{user.AuditSignedUp, user.AuditSignedIn}}, []string{all[0], all[3], all[4]}},
		"no action":         {user.AuditFilter{Actions: []audit.Action{}}, []string{}},
		"from":              {user.AuditFilter{At: &page.TimeRange{From: of(3, 0)}}, all[:4]},
		"until":             {user.AuditFilter{At: &page.TimeRange{Until: of(3, 0)}}, all[4:]},
		"from just after":   {user.AuditFilter{At: &page.TimeRange{From: of(4, 1)}}, all[:4]},
		"until just after":  {user.AuditFilter{At: &page.TimeRange{Until: of(4, 1)}}, all[4:]},
		"span":              {user.AuditFilter{At: &page.TimeRange{From: of(3, 0), Until: of(1, 0)}}, all[2:4]},
	} {
		got, _ := list(tc.filter, page.Args{First: new(10)})
		equal(t, name, got, tc.want)
	}
	for role, want := range map[auth.Role]fault.Code{auth.RoleCustomer: fault.Forbidden, auth.RoleSupport: fault.Forbidden,
		auth.RoleManager: fault.Forbidden, auth.RoleService: fault.Forbidden} {
		_, err := w.AuditLog(as(t, staff(role)), user.AuditFilter{}, page.Args{First: new(1)})
		code(t, string(role), err, want)
	}
	_, err = w.AuditLog(t.Context(), user.AuditFilter{}, page.Args{First: new(1)})
	code(t, "nobody", err, fault.Unauthenticated)
	_, err = w.AuditLog(admin, user.AuditFilter{}, page.Args{})
	code(t, "no size", err, fault.BadUserInput)
	_, err = w.AuditLog(admin, user.AuditFilter{}, page.Args{First: new(1), After: new("x")})
	code(t, "a cursor of nothing", err, fault.BadUserInput)
}
