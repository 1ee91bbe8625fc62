package user_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/mail"
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
		_, token := p.next(t, mail.PasswordReset, "ada@example.com")
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
