package user_test

import (
	"context"
	"testing"
	"time"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/user"
)

func TestCheckTakesRolesFromTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens, actor := w.signedUp(t, "ada@example.com")
	claims := w.claims(t, tokens)
	claims.Actor.Roles = auth.Roles(auth.RoleAdmin) // as of an old token

	check := func() (a auth.Actor) {
		t.Helper()
		a, err := w.Check(t.Context(), claims)
		must(t, err)
		return a
	}
	ctx := t.Context()
	for _, want := range [][]string{{"users.check_session"}, nil, nil} {
		equal(t, "statements", statements(ctx, func(ctx context.Context) {
			a, err := w.Check(ctx, claims)
			must(t, err)
			equal(t, "actor", a, actor)
		}), want)
	}
	w.exec(t, "UPDATE users.users SET roles = '{MANAGER,SUPPORT}'")
	w.pass(2*time.Second - 1)
	equal(t, "within two seconds", check().Roles, auth.Roles(auth.RoleCustomer))
	w.pass(1)
	equal(t, "after two seconds", check().Roles, auth.Roles(auth.RoleManager, auth.RoleSupport))
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"deactivated":    "UPDATE users.users SET status = 'DEACTIVATED'",
		"session ended":  "UPDATE users.sessions SET ended_at = now(), ended_because = 'SIGNED_OUT'",
		"session gone":   "DELETE FROM users.sessions",
		"session of old": "UPDATE users.sessions SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tokens, _ := w.signedUp(t, "ada@example.com")
			claims := w.claims(t, tokens)
			_, err := w.Check(t.Context(), claims)
			must(t, err)
			w.exec(t, sql)
			_, err = w.Check(t.Context(), claims)
			must(t, err) // as it was a moment ago
			w.pass(2 * time.Second)
			_, err = w.Check(t.Context(), claims)
			code(t, "after two seconds", err, fault.Unauthenticated)
			ctx := t.Context()
			equal(t, "statements of a refusal", statements(ctx, func(ctx context.Context) {
				_, err := w.Check(ctx, claims)
				code(t, "at once again", err, fault.Unauthenticated)
			}), nil)
		})
	}
	t.Run("strangers", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		_, ada := w.signedUp(t, "ada@example.com")
		_, bob := w.signedUp(t, "bob@example.com")
		for name, a := range map[string]auth.Actor{
			"anonymous":               {},
			"roles of nobody":         {Roles: auth.Roles(auth.RoleAdmin)},
			"unknown user":            {ID: id.New(), Session: ada.Session},
			"session of another":      {ID: ada.ID, Session: bob.Session},
			"own without a session":   {ID: ada.ID},
			"external with a session": {ID: ada.ID, Session: ada.Session, External: true},
		} {
			got, err := w.Check(t.Context(), auth.Claims{Actor: a})
			code(t, name, err, fault.Unauthenticated)
			equal(t, name, got, auth.Actor{})
		}
	})
	t.Run("at the end of the session", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, func(c *user.Config) { c.SessionTTL = time.Minute })
		tokens, _ := w.signedUp(t, "ada@example.com")
		claims := w.claims(t, tokens)
		ends := query[time.Time](t, w, "SELECT expires_at FROM users.sessions")[0]
		w.pass(ends.Sub(*w.clock.Load()) - time.Millisecond)
		_, err := w.Check(t.Context(), claims)
		must(t, err)
		w.pass(time.Millisecond) // what was found is still fresh
		_, err = w.Check(t.Context(), claims)
		code(t, "ended", err, fault.Unauthenticated)
	})
}

func TestCheckOfExternalActors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	actor := auth.Actor{ID: auth.ExternalID("https://idp.example.com", "ada"), Roles: auth.Roles(auth.RoleSupport), External: true}
	claims := auth.Claims{Actor: actor, Issuer: "https://idp.example.com", Subject: "ada"}
	check := func(what string, want auth.Actor) {
		t.Helper()
		got, err := w.Check(t.Context(), claims)
		must(t, err)
		equal(t, what, got, want)
	}
	check("without an account", actor)
	w.load(t, &user.Account{User: user.User{ID: actor.ID}})
	w.pass(2 * time.Second)
	check("with an account", actor)
	claims.Actor.Roles = auth.Roles(auth.RoleAdmin)
	check("with another token", claims.Actor)
	w.exec(t, "UPDATE users.users SET status = 'DEACTIVATED'")
	check("within two seconds", claims.Actor)
	w.pass(2 * time.Second)
	_, err := w.Check(t.Context(), claims)
	code(t, "deactivated", err, fault.Unauthenticated)
}

// Many requests with one token are one statement, and one that gives up takes nobody along.
func TestCheckOfManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens, actor := w.signedUp(t, "ada@example.com")
	claims := w.claims(t, tokens)
	tx, err := w.raw.Begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), "LOCK TABLE users.sessions IN ACCESS EXCLUSIVE MODE")
	must(t, err)

	first, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() { _, err := w.Check(first, claims); gaveUp <- err }()
	w.blocked(t)
	results := make(chan map[string]int)
	var got []string
	go func() {
		ctx := t.Context()
		got = statements(ctx, func(ctx context.Context) {
			results <- together(50, func(int) string {
				a, err := w.Check(ctx, claims)
				if err != nil || a != actor {
					return "refused"
				}
				return "passed"
			})
		})
		close(results)
	}()
	cancel()
	if err := <-gaveUp; err == nil {
		t.Error("a cancelled check passed")
	}
	must(t, tx.Rollback(t.Context()))
	equal(t, "outcomes", <-results, map[string]int{"passed": 50})
	<-results
	if len(got) > 1 { // none for those who joined the first; one if it was through before they came
		t.Errorf("%d statements", len(got))
	}
}

// A session that is signed out while a check of it is under way is refused from then on.
func TestCheckForgetsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens, actor := w.signedUp(t, "ada@example.com")
	claims := w.claims(t, tokens)
	var after []string
	together(30, func(i int) string {
		if i == 15 {
			_, err := w.SignOut(as(t, actor))
			must(t, err)
			for range 100 {
				if _, err := w.Check(t.Context(), claims); !fault.Is(err, fault.Unauthenticated) {
					after = append(after, "passed")
				}
			}
			return ""
		}
		_, _ = w.Check(t.Context(), claims)
		return ""
	})
	equal(t, "checks after the answer", after, nil)
	for range 3 {
		w.pass(3 * time.Second)
		_, err := w.Check(t.Context(), claims)
		code(t, "later", err, fault.Unauthenticated)
	}
}

func TestCheckThatCanNotAskIsNotTheTokensFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens, actor := w.signedUp(t, "ada@example.com")
	w.exec(t, "ALTER TABLE users.sessions RENAME TO elsewhere")
	_, err := w.Check(t.Context(), w.claims(t, tokens))
	code(t, "without the table", err, fault.Internal)
	w.exec(t, "ALTER TABLE users.elsewhere RENAME TO sessions")
	got, err := w.Check(t.Context(), w.claims(t, tokens))
	must(t, err)
	equal(t, "failures are not remembered", got, actor)
}
