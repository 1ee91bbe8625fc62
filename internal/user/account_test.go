package user_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/mail"
	"emporium/internal/postgres"
	"emporium/internal/user"
)

// TestPasswordReset goes the way of somebody who has lost their password, by the mailbox.
func TestPasswordReset(t *testing.T) {
	t.Parallel()
	w, p := newMailWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	p.next(t, mail.EmailVerification, "ada@example.com")
	for _, email := range []string{"nobody@example.com", "nonsense"} {
		got, err := w.RequestPasswordReset(t.Context(), user.PasswordResetRequestInput{Email: email}, home)
		must(t, err)
		equal(t, email, got, &user.PasswordResetRequestPayload{Requested: true})
	}
	ask := func() string {
		t.Helper()
		got, err := w.RequestPasswordReset(t.Context(), user.PasswordResetRequestInput{Email: " Ada@Example.com"}, home)
		must(t, err)
		equal(t, "asked", got, &user.PasswordResetRequestPayload{Requested: true})
		token := p.next(t, mail.PasswordReset, "ada@example.com")
		return token
	}
	first := ask()
	second := ask()
	w.audit(t)
	reset := func(token, password string) string {
		t.Helper()
		got, err := w.ResetPassword(t.Context(), user.PasswordResetInput{Token: token, NewPassword: password}, home)
		must(t, err)
		if got.Changed != (got.UserErrors == nil) {
			t.Errorf("%+v", got)
		}
		return strings.Join(problems(got.UserErrors), ", ")
	}
	w.unchanged(t, "refused", func() {
		equal(t, "an older one", reset(first, nextPassword), "INVALID_TOKEN token")
		equal(t, "no token", reset("x", nextPassword), "INVALID_TOKEN token")
		equal(t, "another token", reset(strings.Repeat("A", 43), nextPassword), "INVALID_TOKEN token")
		equal(t, "a short password", reset(second, "short"), "WEAK_PASSWORD newPassword")
		equal(t, "a name", reset(second, "ada lovelace"), "WEAK_PASSWORD newPassword")
	})
	equal(t, "reset", reset(second, nextPassword), "")
	equal(t, "once more", reset(second, nextPassword), "INVALID_TOKEN token")
	equal(t, "audit", w.audit(t), []string{`self PASSWORD_RESET {"sessionsEnded": 1}`})
	equal(t, "tokens", query[string](t, w, "SELECT purpose FROM users.tokens"), []string{"VERIFY_EMAIL"})
	_, err := w.Check(t.Context(), auth.Claims{Actor: ada})
	code(t, "the session so far", err, fault.Unauthenticated)
	got, err := w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: goodPassword}, home)
	must(t, err)
	equal(t, "the password so far", problems(got.UserErrors), []string{"WRONG_CREDENTIALS"})
	_, ada = w.signedIn(t, "ada@example.com", nextPassword)
	me, err := w.ByIDs(as(t, ada), []uuid.UUID{ada.ID})
	must(t, err)
	equal(t, "verified", me[0].EmailVerified(), true)
	if args := query[string](t, w, "SELECT args::text FROM users.river_job WHERE kind <> 'users.clean_up'"); len(args) < 5 || strings.Contains(strings.ToLower(fmt.Sprint(args)), "example") {
		t.Errorf("the jobs have %v", args)
	}
}

// TestTokensWorkOnce uses each kind of token twenty times at once.
func TestTokensWorkOnce(t *testing.T) {
	t.Parallel()
	w, p := newMailWorld(t)
	w.signedUp(t, "ada@example.com")
	verify := p.next(t, mail.EmailVerification, "ada@example.com")
	_, err := w.RequestPasswordReset(t.Context(), user.PasswordResetRequestInput{Email: "ada@example.com"}, home)
	must(t, err)
	reset := p.next(t, mail.PasswordReset, "ada@example.com")
	change := ""
	askForChange := func() { // a new password would call it off
		_, ada := w.signedIn(t, "ada@example.com", nextPassword)
		asked, err := w.RequestEmailChange(as(t, ada), user.EmailChangeRequestInput{NewEmail: "new@example.com", Password: nextPassword})
		must(t, err)
		equal(t, "asked", asked, &user.EmailChangeRequestPayload{Requested: true})
		p.next(t, mail.EmailChangeNotice, "ada@example.com")
		change = p.next(t, mail.EmailChange, "new@example.com")
	}
	for _, c := range []struct {
		name  string
		begin func()
		use   func() (bool, []fault.Problem, error)
	}{
		{"EMAIL_VERIFIED", func() {}, func() (bool, []fault.Problem, error) {
			got, err := w.VerifyEmail(t.Context(), user.EmailVerifyInput{Token: verify}, home)
			return got.Verified, got.UserErrors, err
		}},
		{"PASSWORD_RESET", func() {}, func() (bool, []fault.Problem, error) {
			got, err := w.ResetPassword(t.Context(), user.PasswordResetInput{Token: reset, NewPassword: nextPassword}, home)
			return got.Changed, got.UserErrors, err
		}},
		{"EMAIL_CHANGED", askForChange, func() (bool, []fault.Problem, error) {
			got, err := w.ConfirmEmailChange(t.Context(), user.EmailChangeConfirmInput{Token: change}, home)
			return got.Changed, got.UserErrors, err
		}},
	} {
		c.begin()
		w.audit(t)
		results := together(20, func(int) string {
			ok, refused, err := c.use()
			if err != nil || ok == (refused != nil) {
				return fmt.Sprint(ok, refused, err)
			}
			return strings.Join(problems(refused), "")
		})
		equal(t, c.name, results, map[string]int{"": 1, "INVALID_TOKEN token": 19})
		if entries := w.audit(t); len(entries) != 1 || !strings.HasPrefix(entries[0], "self "+c.name) {
			t.Errorf("%s is recorded as %v", c.name, entries)
		}
	}
	_, ada := w.signedIn(t, "new@example.com", nextPassword)
	if me := w.viewed(t, ada); *me.Email != "new@example.com" || !me.EmailVerified() {
		t.Errorf("the account is %+v", me)
	}
	equal(t, "state", w.state(t), "users 1, emails 1, tokens 3 (used 0), sessions 3 (live 1) EMAIL_CHANGED PASSWORD_CHANGED")
	equal(t, "left", query[int](t, w, "SELECT (SELECT count(*) FROM users.tokens) + (SELECT count(*) FROM users.email_changes)"), []int{0})
}

// TestTokensExpire wants each token to last as long as its mail says, and no use for another purpose.
func TestTokensExpire(t *testing.T) {
	t.Parallel()
	w, p := newMailWorld(t)
	w.signedUp(t, "ada@example.com")
	verify := p.next(t, mail.EmailVerification, "ada@example.com")
	_, err := w.RequestPasswordReset(t.Context(), user.PasswordResetRequestInput{Email: "ada@example.com"}, home)
	must(t, err)
	reset := p.next(t, mail.PasswordReset, "ada@example.com")
	refused := func(what string) {
		t.Helper()
		w.unchanged(t, what, func() {
			got, err := w.ResetPassword(t.Context(), user.PasswordResetInput{Token: verify, NewPassword: nextPassword}, home)
			must(t, err)
			equal(t, what, problems(got.UserErrors), []string{"INVALID_TOKEN token"})
			changed, err := w.ConfirmEmailChange(t.Context(), user.EmailChangeConfirmInput{Token: reset}, home)
			must(t, err)
			equal(t, what, problems(changed.UserErrors), []string{"INVALID_TOKEN token"})
		})
	}
	refused("another purpose")
	w.pass(time.Hour)
	got, err := w.ResetPassword(t.Context(), user.PasswordResetInput{Token: reset, NewPassword: nextPassword}, home)
	must(t, err)
	equal(t, "after an hour", problems(got.UserErrors), []string{"INVALID_TOKEN token"})
	w.pass(71 * time.Hour)
	verified, err := w.VerifyEmail(t.Context(), user.EmailVerifyInput{Token: verify}, home)
	must(t, err)
	equal(t, "after three days", problems(verified.UserErrors), []string{"INVALID_TOKEN token"})
}

func TestEmailVerification(t *testing.T) {
	t.Parallel()
	w, p := newMailWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	first := p.next(t, mail.EmailVerification, "ada@example.com")
	if w.viewed(t, ada).EmailVerified() {
		t.Error("it is verified at once")
	}
	asked, err := w.RequestEmailVerification(as(t, ada))
	must(t, err)
	equal(t, "asked", asked, &user.EmailVerificationRequestPayload{Requested: true})
	second := p.next(t, mail.EmailVerification, "ada@example.com")
	for _, c := range []struct {
		token string
		want  []string
	}{{first, []string{"INVALID_TOKEN token"}}, {second, nil}, {second, []string{"INVALID_TOKEN token"}}} {
		got, err := w.VerifyEmail(t.Context(), user.EmailVerifyInput{Token: c.token}, home)
		must(t, err)
		equal(t, "problems", problems(got.UserErrors), c.want)
	}
	if !w.viewed(t, ada).EmailVerified() {
		t.Error("it is not verified")
	}
	asked, err = w.RequestEmailVerification(as(t, ada))
	must(t, err)
	equal(t, "asked again", problems(asked.UserErrors), []string{"INVALID"})
	_, err = w.RequestEmailVerification(t.Context())
	code(t, "nobody", err, fault.Unauthenticated)
}

// TestEmailChange swaps the address, which somebody else may take first, and tells the former address before the new one.
func TestEmailChange(t *testing.T) {
	t.Parallel()
	w, p := newMailWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	p.next(t, mail.EmailVerification, "ada@example.com")
	_, other := w.signedIn(t, "ada@example.com", goodPassword)
	_, bob := w.signedUp(t, "bob@example.com")
	p.next(t, mail.EmailVerification, "bob@example.com")
	ask := func(a auth.Actor, email, password string) []string {
		t.Helper()
		got, err := w.RequestEmailChange(as(t, a), user.EmailChangeRequestInput{NewEmail: email, Password: password})
		must(t, err)
		if got.Requested != (got.UserErrors == nil) {
			t.Errorf("%+v", got)
		}
		return problems(got.UserErrors)
	}
	w.unchanged(t, "refused", func() {
		equal(t, "a wrong password", ask(ada, "new@example.com", "wrong"), []string{"WRONG_CREDENTIALS password"})
		equal(t, "no address", ask(ada, "new@", goodPassword), []string{"INVALID newEmail"})
		equal(t, "the same", ask(ada, "Ada@example.com", goodPassword), []string{"INVALID newEmail"})
		equal(t, "taken", ask(ada, "bob@example.com", goodPassword), []string{"TAKEN newEmail"})
		equal(t, "no account", ask(auth.Actor{ID: id.New(), External: true}, "new@example.com", goodPassword), []string{"INVALID password"})
		_, err := w.RequestEmailChange(t.Context(), user.EmailChangeRequestInput{NewEmail: "new@example.com", Password: goodPassword})
		code(t, "nobody", err, fault.Unauthenticated)
	})

	tokens := map[string]string{}
	for name, a := range map[string]auth.Actor{"ada": ada, "bob": bob} {
		equal(t, name+" asks for another", ask(a, "other@example.com", goodPassword), nil)
		p.next(t, mail.EmailChangeNotice, name+"@example.com")
		tokens["old "+name] = p.next(t, mail.EmailChange, "other@example.com")
		equal(t, name+" asks", ask(a, "new@example.com", goodPassword), nil)
		p.next(t, mail.EmailChangeNotice, name+"@example.com")
		tokens[name] = p.next(t, mail.EmailChange, "new@example.com")
	}
	w.audit(t)
	confirm := func(ctx context.Context, token string) []string {
		t.Helper()
		got, err := w.ConfirmEmailChange(ctx, user.EmailChangeConfirmInput{Token: token}, home)
		must(t, err)
		if got.Changed != (got.UserErrors == nil) {
			t.Errorf("%+v", got)
		}
		return problems(got.UserErrors)
	}
	equal(t, "an older token", confirm(t.Context(), tokens["old ada"]), []string{"INVALID_TOKEN token"})
	equal(t, "Ada confirms", confirm(as(t, ada), tokens["ada"]), nil)
	equal(t, "audit", w.audit(t), []string{`self EMAIL_CHANGED {"sessionsEnded": 1}`})
	w.unchanged(t, "taken", func() { equal(t, "Bob confirms", confirm(t.Context(), tokens["bob"]), []string{"TAKEN"}) })
	_, err := w.Check(t.Context(), auth.Claims{Actor: other})
	code(t, "Ada's other session", err, fault.Unauthenticated)
	_, err = w.Check(t.Context(), auth.Claims{Actor: ada})
	must(t, err)
	w.signedIn(t, "new@example.com", goodPassword)
	got, err := w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: goodPassword}, home)
	must(t, err)
	equal(t, "the former address", problems(got.UserErrors), []string{"WRONG_CREDENTIALS"})
	w.signedUp(t, "ada@example.com") // is free
}

// TestPasswordCallsOffEmailChange has somebody who knows the password ask for another e-mail address, and the user do what the
// warning says, or staff close the account: then neither the token that was sent nor the job that would send it is of use.
func TestPasswordCallsOffEmailChange(t *testing.T) {
	t.Parallel()
	for name, mend := range map[string]func(w *world, p *post, ada auth.Actor){
		"change": func(w *world, _ *post, ada auth.Actor) {
			got, err := w.ChangePassword(as(t, ada), user.PasswordChangeInput{CurrentPassword: goodPassword, NewPassword: nextPassword})
			must(t, err)
			equal(t, "changed", got, &user.PasswordChangePayload{Changed: true})
		},
		"reset": func(w *world, p *post, _ auth.Actor) {
			_, err := w.RequestPasswordReset(t.Context(), user.PasswordResetRequestInput{Email: "ada@example.com"}, home)
			must(t, err)
			got, err := w.ResetPassword(t.Context(), user.PasswordResetInput{Token: p.next(t, mail.PasswordReset, "ada@example.com"), NewPassword: nextPassword}, home)
			must(t, err)
			equal(t, "reset", got, &user.PasswordResetPayload{Changed: true})
		},
		"deactivated": func(w *world, _ *post, ada auth.Actor) {
			boss := &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}}}
			w.load(t, boss)
			admin := auth.Actor{ID: boss.ID, Roles: auth.Roles(auth.RoleAdmin)}
			equal(t, "closed", said(w.deactivate(as(t, admin), ada.ID)), "done")
			equal(t, "opened", said(w.reactivate(as(t, admin), ada.ID)), "done")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p := newMailWorld(t)
			_, ada := w.signedUp(t, "ada@example.com")
			p.next(t, mail.EmailVerification, "ada@example.com")
			_, thief := w.signedIn(t, "ada@example.com", goodPassword)
			_, err := w.RequestEmailChange(as(t, thief), user.EmailChangeRequestInput{NewEmail: "thief@example.com", Password: goodPassword})
			must(t, err)
			p.next(t, mail.EmailChangeNotice, "ada@example.com")
			token := p.next(t, mail.EmailChange, "thief@example.com")
			// Whoever has read Ada's mails may have asked for this, too.
			_, err = w.RequestPasswordReset(t.Context(), user.PasswordResetRequestInput{Email: "ada@example.com"}, home)
			must(t, err)
			second := p.next(t, mail.PasswordReset, "ada@example.com")
			mend(w, p, ada)
			w.unchanged(t, "too late", func() {
				got, err := w.ConfirmEmailChange(t.Context(), user.EmailChangeConfirmInput{Token: token}, home)
				must(t, err)
				equal(t, "the thief confirms", problems(got.UserErrors), []string{"INVALID_TOKEN token"})
				reset, err := w.ResetPassword(t.Context(), user.PasswordResetInput{Token: second, NewPassword: "a third one of them"}, home)
				must(t, err)
				equal(t, "the thief resets", problems(reset.UserErrors), []string{"INVALID_TOKEN token"})
			})
			equal(t, "changes under way", query[int](t, w, "SELECT count(*) FROM users.email_changes"), []int{0})
			equal(t, "the address", query[int](t, w, "SELECT count(*) FROM users.email_index WHERE owner_id = $1", ada.ID), []int{1})
		})
	}
}

// TestNoTokenBeforeTheWarning holds the mail to the new address back until the former one has been told, and goes on when
// that takes no mail any more.
func TestNoTokenBeforeTheWarning(t *testing.T) {
	t.Parallel()
	w, p := newMailWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	p.next(t, mail.EmailVerification, "ada@example.com")
	tried := make(chan mail.Template, 10)
	answers := make(chan error, 10)
	p.fail = func(m mail.Message) error { tried <- m.Template; return <-answers }
	_, err := w.RequestEmailChange(as(t, ada), user.EmailChangeRequestInput{NewEmail: "new@example.com", Password: goodPassword})
	must(t, err)
	equal(t, "first", <-tried, mail.EmailChangeNotice)
	answers <- errors.New("not now")
	equal(t, "second", <-tried, mail.EmailChangeNotice)
	equal(t, "tokens", query[string](t, w, "SELECT purpose FROM users.tokens"), []string{"VERIFY_EMAIL"})
	answers <- mail.ErrRefused
	equal(t, "third", <-tried, mail.EmailChange)
	answers <- nil
	p.next(t, mail.EmailChange, "new@example.com")
}

// TestDeleteAccount leaves nothing personal, and everything of others.
func TestDeleteAccount(t *testing.T) {
	t.Parallel()
	w, p := newMailWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	p.next(t, mail.EmailVerification, "ada@example.com")
	_, bob := w.signedUp(t, "bob@example.com")
	p.next(t, mail.EmailVerification, "bob@example.com")
	_, err := w.UpdateProfile(as(t, ada), user.ProfileUpdateInput{Phone: set("+4930901820")})
	must(t, err)
	_, err = w.CreateAddress(as(t, ada), user.AddressCreateInput{Name: "Ada", Line1: "1", City: "Berlin", Country: "DE", DefaultFor: []user.AddressPurpose{user.PurposeBilling}})
	must(t, err)
	_, err = w.RequestEmailChange(as(t, ada), user.EmailChangeRequestInput{NewEmail: "new@example.com", Password: goodPassword})
	must(t, err)
	p.next(t, mail.EmailChangeNotice, "ada@example.com")
	p.next(t, mail.EmailChange, "new@example.com")
	w.audit(t)
	w.unchanged(t, "a wrong password", func() {
		got, err := w.DeleteAccount(as(t, ada), user.AccountDeleteInput{Password: "wrong"})
		must(t, err)
		equal(t, "a wrong password", problems(got.UserErrors), []string{"WRONG_CREDENTIALS password"})
		_, err = w.DeleteAccount(t.Context(), user.AccountDeleteInput{Password: goodPassword})
		code(t, "nobody", err, fault.Unauthenticated)
	})
	got, err := w.DeleteAccount(as(t, ada), user.AccountDeleteInput{Password: goodPassword})
	must(t, err)
	equal(t, "deleted", got, &user.AccountDeletePayload{Deleted: true})
	equal(t, "audit", w.audit(t), []string{`self DELETED {"sessionsEnded": 1}`})
	equal(t, "the row", query[string](t, w, `SELECT concat_ws(' ', status, roles, num_nonnulls(name, email, phone, password_hash, email_verified_at,
		default_shipping_address_id, default_billing_address_id)) FROM users.users WHERE owner_id = $1`, ada.ID), []string{"DELETED {CUSTOMER} 0"})
	for _, table := range []string{"addresses", "sessions", "refresh_tokens", "email_index", "phone_index", "tokens", "email_changes"} {
		equal(t, table, query[int](t, w, "SELECT count(*) FROM users."+table+" WHERE owner_id = $1", ada.ID), []int{0})
	}
	equal(t, "mails", query[string](t, w, "SELECT recipient FROM users.mailbox ORDER BY 1"), []string{"bob@example.com", "new@example.com"})
	_, err = w.Check(t.Context(), auth.Claims{Actor: ada})
	code(t, "the session", err, fault.Unauthenticated)
	_, err = w.Check(t.Context(), auth.Claims{Actor: auth.Actor{ID: ada.ID, External: true}})
	code(t, "an external token", err, fault.Unauthenticated)
	_, err = w.Check(t.Context(), auth.Claims{Actor: bob})
	must(t, err)
	in, err := w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: goodPassword}, home)
	must(t, err)
	equal(t, "sign in", problems(in.UserErrors), []string{"WRONG_CREDENTIALS"})
	_, again := w.signedUp(t, "ada@example.com")
	p.next(t, mail.EmailVerification, "ada@example.com")
	if again.ID == ada.ID {
		t.Error("it is the same account again")
	}

	// Staff sees that there was one, and can do nothing to it.
	boss := &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}}}
	w.load(t, boss)
	admin := auth.Actor{ID: boss.ID, Roles: auth.Roles(auth.RoleAdmin)}
	seen, err := w.ByIDs(as(t, admin), []uuid.UUID{ada.ID})
	must(t, err)
	equal(t, "status", seen[0].Status, user.StatusDeleted)
	w.unchanged(t, "staff", func() {
		equal(t, "reactivate", said(w.reactivate(as(t, admin), ada.ID)), "INVALID userId")
		equal(t, "deactivate", said(w.deactivate(as(t, admin), ada.ID)), "INVALID userId")
		equal(t, "roles", said(w.setRoles(as(t, admin), ada.ID, auth.RoleAdmin)), "INVALID userId")
	})
}

// TestOthersForgetDeletedAccounts has another service fail, then ask for patience, and sees that it is called again.
func TestOthersForgetDeletedAccounts(t *testing.T) {
	t.Parallel()
	told := make(chan uuid.UUID, 10)
	answers := make(chan error, 10)
	w, p := newMailWorld(t, func(c *user.Config) {
		c.Forget = func(_ context.Context, owner uuid.UUID) error { told <- owner; return <-answers }
	})
	_, ada := w.signedUp(t, "ada@example.com")
	p.next(t, mail.EmailVerification, "ada@example.com")
	got, err := w.DeleteAccount(as(t, ada), user.AccountDeleteInput{Password: goodPassword})
	must(t, err)
	equal(t, "deleted", got, &user.AccountDeletePayload{Deleted: true})
	equal(t, "told", <-told, ada.ID)
	answers <- errors.New("not now")
	equal(t, "told again", <-told, ada.ID)
	answers <- fault.New(fault.InProgress, "wait")
	for query[int](t, w, "SELECT count(*) FROM users.river_job WHERE kind = 'users.forget' AND state = 'scheduled'")[0] == 0 {
		must(t, t.Context().Err())
	}
}

// TestLastAdminsDoNotDeleteThemselves lets two admins do so at once: one of them stays.
func TestLastAdminsDoNotDeleteThemselves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	_, bob := w.signedUp(t, "bob@example.com")
	w.exec(t, "UPDATE users.users SET roles = '{ADMIN}'")
	results := together(2, func(i int) string {
		got, err := w.DeleteAccount(as(t, []auth.Actor{ada, bob}[i]), user.AccountDeleteInput{Password: goodPassword})
		if err != nil {
			return err.Error()
		}
		return strings.Join(problems(got.UserErrors), "")
	})
	equal(t, "results", results, map[string]int{"": 1, "LAST_ADMIN": 1})
	equal(t, "admins", query[int](t, w, "SELECT count(*) FROM users.users WHERE roles @> '{ADMIN}' AND status = 'ACTIVE'"), []int{1})
}

// TestExport holds what is known of Ada and nothing of others, no secrets among it.
func TestExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	w.signedUp(t, "bob@example.com")
	_, err := w.CreateAddress(as(t, ada), user.AddressCreateInput{Name: "Ada", Line1: "1", City: "Köln", Country: "DE", DefaultFor: []user.AddressPurpose{user.PurposeBilling}})
	must(t, err)
	_, err = w.Deactivate(as(t, auth.Actor{ID: id.New(), External: true, Roles: auth.Roles(auth.RoleAdmin)}), user.UserDeactivateInput{UserID: id.Of(id.User, ada.ID)})
	must(t, err)
	w.exec(t, "UPDATE users.users SET status = 'ACTIVE'")
	// What an operation shows besides does not make it smaller.
	ctx := postgres.WithWanted(as(t, ada), postgres.NewWanted(map[reflect.Type]map[string]bool{reflect.TypeFor[user.User](): {"Guest": true}, reflect.TypeFor[user.Address](): {}}))
	e, err := w.Export(ctx)
	must(t, err)
	if e.User.ID != id.Of(id.User, ada.ID).String() || *e.User.Name != "Ada Lovelace" || *e.User.Email != "ada@example.com" || e.User.CreatedAt.IsZero() ||
		len(e.Addresses) != 1 || e.Addresses[0].City != "Köln" || e.Addresses[0].Country != "DE" || !e.Addresses[0].DefaultForBilling || e.Addresses[0].DefaultForShipping ||
		len(e.Sessions) != 1 || *e.Sessions[0].EndedBecause != "DEACTIVATED" {
		t.Errorf("the export is %+v", e)
	}
	var actions []string
	for _, a := range e.Audit {
		actions = append(actions, fmt.Sprint(a.Action, " ", a.ByYou))
	}
	equal(t, "audit", actions, []string{"SIGNED_UP true", "ADDRESS_CREATED true", "DEFAULT_ADDRESS_SET true", "DEACTIVATED false", "EXPORTED true"})
	text, err := json.Marshal(e)
	must(t, err)
	for _, secret := range []string{"bob", "argon2id", "hash"} {
		if strings.Contains(strings.ToLower(string(text)), secret) {
			t.Errorf("the export tells %s: %s", secret, text)
		}
	}
	_, err = w.Export(t.Context())
	code(t, "nobody", err, fault.Unauthenticated)
}

// TestMailsAreThrottled asks until it is too much, for those who are there and those who are not alike.
func TestMailsAreThrottled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *user.Config) { c.Throttle = throttle(t, 3, 1000) })
	_, ada := w.signedUp(t, "ada@example.com")
	for _, email := range []string{"ada@example.com", "nobody@example.com"} {
		for i := range 4 {
			_, err := w.RequestPasswordReset(t.Context(), user.PasswordResetRequestInput{Email: email}, home)
			if i < 3 {
				must(t, err)
			} else {
				code(t, email, err, fault.RateLimited)
			}
		}
	}
	for i := range 4 {
		if _, err := w.RequestEmailVerification(as(t, ada)); (err != nil) != (i == 3) {
			t.Errorf("verification %d: %v", i, err)
		}
	}
	w = newWorld(t, func(c *user.Config) { c.Throttle = throttle(t, 1000, 2) })
	for i := range 3 {
		_, err := w.VerifyEmail(t.Context(), user.EmailVerifyInput{Token: "x"}, home)
		if i == 2 {
			code(t, "bad tokens", err, fault.RateLimited)
		} else {
			must(t, err)
		}
	}
}

// TestDeleteExpired deletes in batches what has expired, and nothing else.
func TestDeleteExpired(t *testing.T) {
	t.Parallel()
	w, p := newMailWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	p.next(t, mail.EmailVerification, "ada@example.com")
	for range 3 {
		w.signedIn(t, "ada@example.com", goodPassword)
	}
	_, err := w.RequestEmailChange(as(t, ada), user.EmailChangeRequestInput{NewEmail: "new@example.com", Password: goodPassword})
	must(t, err)
	p.next(t, mail.EmailChangeNotice, "ada@example.com")
	p.next(t, mail.EmailChange, "new@example.com")
	now := *w.clock.Load()
	for _, c := range []struct {
		after time.Duration
		limit int
		want  int
		left  string
	}{
		{24*time.Hour - time.Second, 10, 0, "4 4 2 1"},
		{24 * time.Hour, 10, 2, "4 4 1 0"},
		{73 * time.Hour, 10, 1, "4 4 0 0"},
		{721 * time.Hour, 3, 3, "1 1 0 0"},
		{721 * time.Hour, 3, 1, "0 0 0 0"},
	} {
		n, err := w.DeleteExpired(t.Context(), now.Add(c.after), c.limit)
		must(t, err)
		equal(t, "deleted", n, c.want)
		equal(t, "left", query[string](t, w, `SELECT concat_ws(' ', (SELECT count(*) FROM users.sessions), (SELECT count(*) FROM users.refresh_tokens),
			(SELECT count(*) FROM users.tokens), (SELECT count(*) FROM users.email_changes))`), []string{c.left})
	}
}

// TestMailbox keeps the latest 200 mails and shows them without letting them do anything.
func TestMailbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	writer, err := mail.NewWriter("Shop <shop@example.com>", "https://shop.example.com")
	must(t, err)
	box := user.NewMailbox(w.cfg.DB, writer)
	for i := range 202 {
		must(t, box.Send(t.Context(), mail.Message{Template: mail.EmailChangeNotice, To: fmt.Sprintf("%d@example.com", i), Data: mail.Person{Name: `<script>"alert`}}))
	}
	mails, err := box.Mails(t.Context())
	must(t, err)
	if len(mails) != 200 || mails[0].To != "201@example.com" || mails[199].To != "2@example.com" {
		t.Fatalf("%d mails, the latest to %s", len(mails), mails[0].To)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /mailbox", box)
	mux.Handle("GET /mailbox/{id}", box)
	get := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRecorder()
		mux.ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
		return r
	}
	list := get("/mailbox")
	if body := list.Body.String(); strings.Count(body, "<tr><td>") != 200 || !strings.Contains(body, `<a href="/mailbox/`+mails[0].ID.String()+`">Your e-mail address`) {
		t.Errorf("the list is %s", body)
	}
	one := get("/mailbox/" + mails[0].ID.String())
	if body := one.Body.String(); one.Code != 200 || strings.Contains(body, "<script") || !strings.Contains(body, "Hello &lt;script&gt;") ||
		!strings.Contains(body, "&amp;lt;script") || !strings.Contains(one.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("the mail is %d %v %s", one.Code, one.Header(), body)
	}
	for _, path := range []string{"/mailbox/" + id.New().String(), "/mailbox/x"} {
		if r := get(path); r.Code != 404 {
			t.Errorf("%s: %d", path, r.Code)
		}
	}
}
