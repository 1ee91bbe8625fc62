package user_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/user"
)

func TestSignUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, err := w.SignUp(t.Context(), user.SignUpInput{Email: " Ada@Example.COM ", Password: goodPassword, Name: "  Ada Lovelace "}, home)
	tokens, actor := w.tokens(t, p, err)

	equal(t, "roles in the token", actor.Roles, auth.Roles(auth.RoleCustomer))
	if left := time.Until(tokens.ExpiresAt); left > 15*time.Minute || left < 14*time.Minute {
		t.Errorf("access token ends in %s", left)
	}
	users, err := w.ByIDs(as(t, actor), []uuid.UUID{actor.ID})
	must(t, err)
	if len(users) != 1 {
		t.Fatalf("%d users", len(users))
	}
	want := &user.User{ID: actor.ID, Status: user.StatusActive, Roles: []auth.Role{auth.RoleCustomer},
		Name: new("Ada Lovelace"), Email: new("ada@example.com"), CreatedAt: users[0].CreatedAt}
	equal(t, "user", users[0], want)
	equal(t, "rows", w.state(t), "users 1, emails 1, tokens 1 (used 0), sessions 1 (live 1)")
	equal(t, "session", query[string](t, w, `SELECT owner_id || ' ' || id || ' ' || (expires_at - created_at) FROM users.sessions`),
		[]string{fmt.Sprintf("%s %s 30 days", actor.ID, actor.Session)})

	_, again := w.signedIn(t, "ADA@example.com", goodPassword)
	if again.ID != actor.ID || again.Session == actor.Session {
		t.Errorf("signed in as %+v after signing up as %+v", again, actor)
	}
}

func TestSignUpRefusesWhatTheUserCanMend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("ä", 201)
	for name, tc := range map[string]struct {
		in   user.SignUpInput
		want []string
	}{
		"email":        {user.SignUpInput{Email: "ada", Password: goodPassword, Name: "Ada"}, []string{"INVALID email"}},
		"short":        {user.SignUpInput{Email: "a@example.com", Password: "short", Name: "Ada"}, []string{"WEAK_PASSWORD password"}},
		"common":       {user.SignUpInput{Email: "a@example.com", Password: "password1", Name: "Ada"}, []string{"WEAK_PASSWORD password"}},
		"own e-mail":   {user.SignUpInput{Email: "lovelace@example.com", Password: "Lovelace", Name: "Ada"}, []string{"WEAK_PASSWORD password"}},
		"own name":     {user.SignUpInput{Email: "a@example.com", Password: "ada lovelace", Name: " Ada Lovelace"}, []string{"WEAK_PASSWORD password"}},
		"blank name":   {user.SignUpInput{Email: "a@example.com", Password: goodPassword, Name: " \t"}, []string{"INVALID name"}},
		"long name":    {user.SignUpInput{Email: "a@example.com", Password: goodPassword, Name: long}, []string{"INVALID name"}},
		"control name": {user.SignUpInput{Email: "a@example.com", Password: goodPassword, Name: "A\x00da"}, []string{"INVALID name"}},
		"not UTF-8":    {user.SignUpInput{Email: "a@example.com", Password: goodPassword, Name: "A\xffda"}, []string{"INVALID name"}},
		"all":          {user.SignUpInput{}, []string{"INVALID email", "INVALID name", "WEAK_PASSWORD password"}},
	} {
		p, err := w.SignUp(t.Context(), tc.in, home)
		must(t, err)
		if p.Tokens != nil {
			t.Errorf("%s: tokens", name)
		}
		equal(t, name, problems(p.UserErrors), tc.want)
	}
	equal(t, "rows", w.state(t), "users 0, emails 0, tokens 0 (used 0), sessions 0 (live 0)")

	p, err := w.SignUp(t.Context(), user.SignUpInput{Email: "a@example.com", Password: goodPassword, Name: long[:400]}, home)
	w.tokens(t, p, err)
}

func problems(all []fault.Problem) []string {
	var short []string
	for _, p := range all {
		short = append(short, strings.TrimSpace(string(p.Code)+" "+strings.Join(p.Field, ".")))
	}
	return short
}

func TestSignUpOfManyWithOneEmail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	results := together(20, func(i int) string {
		email := "ada@example.com"
		if i%2 == 0 {
			email = "ADA@EXAMPLE.com"
		}
		p, err := w.SignUp(t.Context(), user.SignUpInput{Email: email, Password: goodPassword, Name: "Ada"}, home)
		return outcome(p, err)
	})
	equal(t, "outcomes", results, map[string]int{"tokens": 1, "TAKEN email": 19})
	equal(t, "rows", w.state(t), "users 1, emails 1, tokens 1 (used 0), sessions 1 (live 1)")
}

// together runs f n times at once and counts the results.
func together(n int, f func(i int) string) map[string]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	counts, start := map[string]int{}, make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			result := f(i)
			mu.Lock()
			counts[result]++
			mu.Unlock()
		})
	}
	close(start)
	wg.Wait()
	return counts
}

func outcome(p *user.SignInPayload, err error) string {
	switch {
	case err != nil:
		return string(fault.CodeOf(err))
	case p.Tokens != nil:
		return "tokens"
	}
	return strings.Join(problems(p.UserErrors), " ")
}

// refusedSignIns loads accounts that nobody can sign in to and returns an input for each.
func refusedSignIns(t testing.TB, w *world) map[string]user.SignInInput {
	hash, err := w.cfg.Hasher.Hash(t.Context(), goodPassword)
	must(t, err)
	w.load(t,
		&user.Account{User: user.User{Email: new("ada@example.com")}, PasswordHash: &hash},
		&user.Account{User: user.User{Email: new("gone@example.com"), Status: user.StatusDeactivated}, PasswordHash: &hash},
		&user.Account{User: user.User{Email: new("guest@example.com"), Guest: true}},
		&user.Account{User: user.User{Email: new("none@example.com")}},
	)
	// A guest's address is not in the directory; even if it were, there is nothing to sign in with.
	guest := query[uuid.UUID](t, w, "SELECT owner_id FROM users.users WHERE guest")[0]
	w.exec(t, "INSERT INTO users.email_index VALUES ($1, $2)", w.cfg.Sealer.Index("users.email", "guest@example.com"), guest)
	return map[string]user.SignInInput{
		"unknown":     {Email: "nobody@example.com", Password: goodPassword},
		"malformed":   {Email: "nobody", Password: goodPassword},
		"wrong":       {Email: "ada@example.com", Password: nextPassword},
		"empty":       {Email: "ada@example.com"},
		"deactivated": {Email: "gone@example.com", Password: goodPassword},
		"guest":       {Email: "guest@example.com", Password: goodPassword},
		"no password": {Email: "none@example.com", Password: goodPassword},
	}
}

func TestSignInAnswersAlike(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	want := &user.SignInPayload{UserErrors: []fault.Problem{
		{Code: fault.ProblemWrongCredentials, Field: []string{}, Message: "the e-mail address or the password is wrong"},
	}}
	for name, in := range refusedSignIns(t, w) {
		ctx := t.Context()
		got := statements(ctx, func(ctx context.Context) {
			p, err := w.SignIn(ctx, in, home)
			must(t, err)
			equal(t, name, p, want)
		})
		equal(t, name+": statements", got, []string{"users.owner_by_email", "users.credentials"})
	}
	equal(t, "rows", w.state(t), "users 4, emails 4, tokens 0 (used 0), sessions 0 (live 0)")
	w.signedIn(t, "ada@example.com", goodPassword)
}

// Argon2id allocates its memory anew for each hash, so that what is allocated tells how many hashes were made. This test
// runs while no other does.
func TestSignInDoesTheSameWork(t *testing.T) {
	const memory = 32 << 10 // KiB
	w := newWorld(t, func(c *user.Config) { c.Hasher = hasher(t, auth.Params{Memory: memory, Passes: 1, Lanes: 1}) })
	hashes := func(in user.SignInInput) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := w.SignIn(t.Context(), in, home)
		must(t, err)
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc + memory<<9) / (memory << 10) // rounded
	}
	for name, in := range refusedSignIns(t, w) {
		equal(t, name+": hashes", hashes(in), 1)
	}
	equal(t, "right: hashes", hashes(user.SignInInput{Email: "ada@example.com", Password: goodPassword}), 1)
}

func TestSignInIsThrottled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *user.Config) { c.Throttle = throttle(t, 3, 8) })
	w.signedUp(t, "ada@example.com") // one of the address
	try := func(email, password, address string) string {
		t.Helper()
		p, err := w.SignIn(t.Context(), user.SignInInput{Email: email, Password: password}, address)
		if err != nil {
			if f := (*fault.Error)(nil); !errors.As(err, &f) || !strings.Contains(f.Message, "try again in 3600 seconds") {
				t.Errorf("message: %v", err)
			}
		}
		return outcome(p, err)
	}
	// By account, in any case and from anywhere; a good sign-in begins anew.
	equal(t, "first", try("ada@example.com", "wrong", "192.0.2.2"), "WRONG_CREDENTIALS")
	equal(t, "second", try("Ada@example.com", "wrong", "192.0.2.3"), "WRONG_CREDENTIALS")
	equal(t, "third", try("ada@example.com", goodPassword, "192.0.2.4"), "tokens")
	for range 3 {
		equal(t, "again", try("ada@example.com", "wrong", "192.0.2.5"), "WRONG_CREDENTIALS")
	}
	for _, password := range []string{"wrong", goodPassword} {
		ctx := t.Context()
		equal(t, "statements of a throttled attempt", statements(ctx, func(context.Context) {
			equal(t, "beyond", try("ada@EXAMPLE.com", password, "192.0.2.6"), "RATE_LIMITED")
		}), nil)
	}
	// An account that does not exist answers alike.
	for range 3 {
		equal(t, "unknown", try("nobody@example.com", "wrong", "192.0.2.7"), "WRONG_CREDENTIALS")
	}
	equal(t, "unknown, beyond", try("nobody@example.com", "wrong", "192.0.2.7"), "RATE_LIMITED")
	// By address, whichever account; signing up counts too.
	for i := range 7 {
		equal(t, "address", try(fmt.Sprintf("%d@example.com", i), "wrong", home), "WRONG_CREDENTIALS")
	}
	equal(t, "address, beyond", try("8@example.com", "wrong", home), "RATE_LIMITED")
	p, err := w.SignUp(t.Context(), user.SignUpInput{Email: "bob@example.com", Password: goodPassword, Name: "Bob"}, home)
	equal(t, "sign-up, beyond", outcome(p, err), "RATE_LIMITED")
	equal(t, "rows", w.state(t), "users 1, emails 1, tokens 2 (used 0), sessions 2 (live 2)")
}

func TestSignInRehashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signedUp(t, "ada@example.com")
	old := query[string](t, w, "SELECT password_hash FROM users.users")[0]

	w.cfg.Hasher = hasher(t, auth.Params{Memory: 16, Passes: 1, Lanes: 1})
	w.Service = user.New(w.cfg)
	p, err := w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: nextPassword}, home)
	equal(t, "wrong password", outcome(p, err), "WRONG_CREDENTIALS")
	equal(t, "hash after a wrong password", query[string](t, w, "SELECT password_hash FROM users.users")[0], old)

	// Many at once: each of them signs in, whoever hashes anew.
	equal(t, "outcomes", together(10, func(int) string {
		p, err := w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: goodPassword}, home)
		return outcome(p, err)
	}), map[string]int{"tokens": 10})
	fresh := query[string](t, w, "SELECT password_hash FROM users.users")[0]
	if fresh == old || !strings.Contains(fresh, "$m=16,") {
		t.Errorf("hash after signing in: %.30s", fresh)
	}
	w.signedIn(t, "ada@example.com", goodPassword)
	equal(t, "hash stays", query[string](t, w, "SELECT password_hash FROM users.users")[0], fresh)
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, actor := w.signedUp(t, "ada@example.com")
	ends := query[time.Time](t, w, "SELECT expires_at FROM users.sessions")[0]
	w.exec(t, "UPDATE users.users SET roles = '{CUSTOMER,SUPPORT}'")

	p, err := w.Refresh(t.Context(), *first.RefreshToken, home)
	second, again := w.tokens(t, p, err)
	equal(t, "actor", again, auth.Actor{ID: actor.ID, Session: actor.Session, Roles: auth.Roles(auth.RoleCustomer, auth.RoleSupport)})
	equal(t, "rows", w.state(t), "users 1, emails 1, tokens 2 (used 1), sessions 1 (live 1)")

	// Just before the session ends the access token ends with it, and nothing was extended.
	w.pass(30*24*time.Hour - time.Minute)
	p, err = w.Refresh(t.Context(), *second.RefreshToken, home)
	must(t, err)
	if p.Tokens == nil || p.Tokens.ExpiresAt.After(ends) {
		t.Errorf("tokens %+v of a session until %s", p.Tokens, ends)
	}
	equal(t, "session's end", query[time.Time](t, w, "SELECT expires_at FROM users.sessions")[0], ends)
	w.pass(2 * time.Minute)
	third := p.Tokens
	p, err = w.Refresh(t.Context(), *third.RefreshToken, home)
	equal(t, "expired", outcome(p, err), "INVALID_TOKEN refreshToken")
	equal(t, "rows", w.state(t), "users 1, emails 1, tokens 3 (used 2), sessions 1 (live 1)")
}

func TestRefreshTwiceEndsTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, actor := w.signedUp(t, "ada@example.com")
	w.signedIn(t, "ada@example.com", goodPassword) // another session, which stays
	p, err := w.Refresh(t.Context(), *first.RefreshToken, home)
	second, _ := w.tokens(t, p, err)
	claims := w.claims(t, second)
	_, err = w.Check(t.Context(), claims)
	must(t, err)

	p, err = w.Refresh(t.Context(), *first.RefreshToken, home)
	equal(t, "second use", outcome(p, err), "INVALID_TOKEN refreshToken")
	equal(t, "rows", w.state(t), "users 1, emails 1, tokens 3 (used 1), sessions 2 (live 1) TOKEN_REUSED")
	equal(t, "ended", query[uuid.UUID](t, w, "SELECT id FROM users.sessions WHERE ended_at IS NOT NULL"), []uuid.UUID{actor.Session})
	_, err = w.Check(t.Context(), claims)
	code(t, "access token of the ended session", err, fault.Unauthenticated)
	p, err = w.Refresh(t.Context(), *second.RefreshToken, home)
	equal(t, "successor", outcome(p, err), "INVALID_TOKEN refreshToken")
	equal(t, "rows", w.state(t), "users 1, emails 1, tokens 3 (used 1), sessions 2 (live 1) TOKEN_REUSED")
}

func TestRefreshOfManyWithOneToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, _ := w.signedUp(t, "ada@example.com")
	equal(t, "outcomes", together(20, func(int) string {
		p, err := w.Refresh(t.Context(), *first.RefreshToken, home)
		return outcome(p, err)
	}), map[string]int{"tokens": 1, "INVALID_TOKEN refreshToken": 19})
	equal(t, "rows", w.state(t), "users 1, emails 1, tokens 2 (used 1), sessions 1 (live 0) TOKEN_REUSED")
}

func TestRefreshRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *user.Config) { c.Throttle = throttle(t, 1000, 9) })
	tokens, actor := w.signedUp(t, "ada@example.com") // one of the address
	unknown, _ := auth.NewRefreshToken(actor.ID, actor.Session)
	stranger, _ := auth.NewRefreshToken(id.New(), id.New())
	for _, token := range []string{"", "ert_", tokens.AccessToken, *tokens.RefreshToken + "A", unknown, stranger} {
		p, err := w.Refresh(t.Context(), token, home)
		equal(t, "outcome", outcome(p, err), "INVALID_TOKEN refreshToken")
	}
	equal(t, "rows", w.state(t), "users 1, emails 1, tokens 1 (used 0), sessions 1 (live 1)")

	w.exec(t, "UPDATE users.users SET status = 'DEACTIVATED'")
	p, err := w.Refresh(t.Context(), *tokens.RefreshToken, home)
	equal(t, "deactivated", outcome(p, err), "INVALID_TOKEN refreshToken")
	w.exec(t, "UPDATE users.users SET status = 'ACTIVE'")
	p, err = w.Refresh(t.Context(), *tokens.RefreshToken, home)
	tokens, _ = w.tokens(t, p, err)
	equal(t, "rows", w.state(t), "users 1, emails 1, tokens 2 (used 1), sessions 1 (live 1)")

	// Refusals count, good tokens do not.
	p, err = w.Refresh(t.Context(), "", home)
	equal(t, "ninth attempt", outcome(p, err), "INVALID_TOKEN refreshToken")
	p, err = w.Refresh(t.Context(), "", home)
	equal(t, "tenth attempt", outcome(p, err), "RATE_LIMITED")
	p, err = w.Refresh(t.Context(), *tokens.RefreshToken, home)
	w.tokens(t, p, err)
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens, actor := w.signedUp(t, "ada@example.com")
	w.signedIn(t, "ada@example.com", goodPassword)
	w.signedUp(t, "bob@example.com")
	claims := w.claims(t, tokens)
	_, err := w.Check(t.Context(), claims)
	must(t, err)

	for _, ended := range []int{1, 0} {
		p, err := w.SignOut(as(t, actor))
		must(t, err)
		equal(t, "payload", p, &user.SignOutPayload{SessionsEnded: ended})
		equal(t, "rows", w.state(t), "users 2, emails 2, tokens 3 (used 0), sessions 3 (live 2) SIGNED_OUT")
	}
	equal(t, "ended", query[uuid.UUID](t, w, "SELECT id FROM users.sessions WHERE ended_at IS NOT NULL"), []uuid.UUID{actor.Session})
	_, err = w.Check(t.Context(), claims)
	code(t, "access token, at once", err, fault.Unauthenticated)
	r, err := w.Refresh(t.Context(), *tokens.RefreshToken, home)
	equal(t, "refresh token", outcome(r, err), "INVALID_TOKEN refreshToken")

	external := auth.Actor{ID: actor.ID, Roles: actor.Roles, External: true}
	p, err := w.SignOut(as(t, external))
	must(t, err)
	equal(t, "of an external issuer", p, &user.SignOutPayload{})

	_, err = w.SignOut(t.Context())
	code(t, "anonymous", err, fault.Unauthenticated)
	_, err = w.SignOutEverywhere(t.Context())
	code(t, "anonymous, everywhere", err, fault.Unauthenticated)
	equal(t, "rows", w.state(t), "users 2, emails 2, tokens 3 (used 0), sessions 3 (live 2) SIGNED_OUT")
}

func TestSignOutEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, bob := w.signedUp(t, "bob@example.com")
	first, actor := w.signedUp(t, "ada@example.com")
	second, _ := w.signedIn(t, "ada@example.com", goodPassword)
	expired, _ := w.signedIn(t, "ada@example.com", goodPassword)
	w.exec(t, "UPDATE users.sessions SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day' WHERE id = $1",
		w.claims(t, expired).Actor.Session)
	for _, tokens := range []*user.Tokens{first, second} {
		_, err := w.Check(t.Context(), w.claims(t, tokens))
		must(t, err)
	}
	p, err := w.SignOutEverywhere(as(t, actor))
	must(t, err)
	equal(t, "payload", p, &user.SignOutPayload{SessionsEnded: 2})
	equal(t, "rows", w.state(t), "users 2, emails 2, tokens 4 (used 0), sessions 4 (live 2) SIGNED_OUT SIGNED_OUT")
	equal(t, "of others", query[uuid.UUID](t, w, "SELECT id FROM users.sessions WHERE ended_at IS NULL AND expires_at > now()"), []uuid.UUID{bob.Session})
	for _, tokens := range []*user.Tokens{first, second} {
		_, err := w.Check(t.Context(), w.claims(t, tokens))
		code(t, "access token, at once", err, fault.Unauthenticated)
	}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens, actor := w.signedUp(t, "ada@example.com")
	other, _ := w.signedIn(t, "ada@example.com", goodPassword)
	w.signedUp(t, "bob@example.com")
	for _, tk := range []*user.Tokens{tokens, other} {
		_, err := w.Check(t.Context(), w.claims(t, tk))
		must(t, err)
	}
	change := func(current, next string) *user.PasswordChangePayload {
		t.Helper()
		p, err := w.ChangePassword(as(t, actor), user.PasswordChangeInput{CurrentPassword: current, NewPassword: next})
		must(t, err)
		return p
	}
	before := query[string](t, w, "SELECT password_hash FROM users.users ORDER BY owner_id")
	equal(t, "wrong", problems(change(nextPassword, nextPassword).UserErrors), []string{"WRONG_CREDENTIALS currentPassword"})
	equal(t, "weak", problems(change(goodPassword, "12345678").UserErrors), []string{"WEAK_PASSWORD newPassword"})
	equal(t, "name", problems(change(goodPassword, "Ada Lovelace").UserErrors), []string{"WEAK_PASSWORD newPassword"})
	equal(t, "e-mail", problems(change(goodPassword, "ada@example.com").UserErrors), []string{"WEAK_PASSWORD newPassword"})
	equal(t, "hashes", query[string](t, w, "SELECT password_hash FROM users.users ORDER BY owner_id"), before)
	equal(t, "rows", w.state(t), "users 2, emails 2, tokens 3 (used 0), sessions 3 (live 3)")

	equal(t, "changed", change(goodPassword, nextPassword), &user.PasswordChangePayload{Changed: true})
	after := query[string](t, w, "SELECT password_hash FROM users.users ORDER BY owner_id")
	if after[0] == before[0] || after[1] != before[1] {
		t.Errorf("hashes %v after %v", after, before)
	}
	equal(t, "rows", w.state(t), "users 2, emails 2, tokens 3 (used 0), sessions 3 (live 2) PASSWORD_CHANGED")
	_, err := w.Check(t.Context(), w.claims(t, tokens))
	must(t, err)
	_, err = w.Check(t.Context(), w.claims(t, other))
	code(t, "the other session", err, fault.Unauthenticated)
	p, err := w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: goodPassword}, home)
	equal(t, "old password", outcome(p, err), "WRONG_CREDENTIALS")
	w.signedIn(t, "ada@example.com", nextPassword)

	_, err = w.ChangePassword(t.Context(), user.PasswordChangeInput{CurrentPassword: nextPassword, NewPassword: goodPassword})
	code(t, "anonymous", err, fault.Unauthenticated)
	q, err := w.ChangePassword(as(t, auth.Actor{ID: id.New(), External: true}), user.PasswordChangeInput{CurrentPassword: nextPassword, NewPassword: goodPassword})
	must(t, err)
	equal(t, "external", problems(q.UserErrors), []string{"INVALID"})
}

func TestChangePasswordIsThrottledWithSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *user.Config) { c.Throttle = throttle(t, 2, 1000) })
	_, actor := w.signedUp(t, "ada@example.com")
	wrong := user.PasswordChangeInput{CurrentPassword: "wrong", NewPassword: nextPassword}
	p, err := w.ChangePassword(as(t, actor), wrong)
	must(t, err)
	equal(t, "first", problems(p.UserErrors), []string{"WRONG_CREDENTIALS currentPassword"})
	s, err := w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: "wrong"}, home)
	equal(t, "second", outcome(s, err), "WRONG_CREDENTIALS")
	_, err = w.ChangePassword(as(t, actor), user.PasswordChangeInput{CurrentPassword: goodPassword, NewPassword: nextPassword})
	code(t, "third", err, fault.RateLimited)
}

// Whoever signs in with the old password while it is being changed does not keep a session.
func TestSignInWhileThePasswordChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, actor := w.signedUp(t, "ada@example.com")
	hash, err := w.cfg.Hasher.Hash(t.Context(), nextPassword)
	must(t, err)

	tx, err := w.raw.Begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), "UPDATE users.users SET password_hash = $1", hash)
	must(t, err)
	done := make(chan string, 1)
	go func() {
		p, err := w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: goodPassword}, home)
		done <- outcome(p, err)
	}()
	w.blocked(t) // the password was verified
	_, err = tx.Exec(t.Context(), "UPDATE users.sessions SET ended_at = now(), ended_because = 'PASSWORD_CHANGED'")
	must(t, err)
	must(t, tx.Commit(t.Context()))
	equal(t, "outcome", <-done, "WRONG_CREDENTIALS")
	equal(t, "rows", w.state(t), "users 1, emails 1, tokens 1 (used 0), sessions 1 (live 0) PASSWORD_CHANGED")

	// The other way round: many change and sign in; in the end only sessions that know the password, or changed it, live.
	current := []string{nextPassword, goodPassword}
	together(12, func(i int) string {
		if i%3 == 0 {
			p, err := w.ChangePassword(as(t, actor), user.PasswordChangeInput{CurrentPassword: current[0], NewPassword: current[1]})
			if err != nil {
				return err.Error()
			}
			return fmt.Sprint(p.Changed)
		}
		p, err := w.SignIn(t.Context(), user.SignInInput{Email: "ada@example.com", Password: current[0]}, home)
		return outcome(p, err)
	})
	equal(t, "live sessions of the old password", query[int](t, w, "SELECT count(*) FROM users.sessions WHERE ended_at IS NULL"), []int{0})
	w.signedIn(t, "ada@example.com", goodPassword)
}

func TestRefreshTokensAreStoredHashed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens, actor := w.signedUp(t, "ada@example.com")
	_, session, hash, err := auth.ParseRefreshToken(*tokens.RefreshToken)
	must(t, err)
	equal(t, "session", session, actor.Session)
	equal(t, "stored", query[[]byte](t, w, "SELECT token_hash FROM users.refresh_tokens"), [][]byte{hash[:]})
	equal(t, "length", len(hash), sha256.Size)
}
