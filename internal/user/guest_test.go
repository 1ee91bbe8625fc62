package user_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/user"
)

// TestGuests makes a guest twice and lets them in for an hour.
func TestGuests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	guest, account := id.New(), &user.Account{User: user.User{Email: new("ada@example.com")}}
	w.load(t, account)
	must(t, w.CreateGuest(t.Context(), guest, "Ada@Example.com", " Ada Lovelace "))
	before := w.everything(t)
	must(t, w.CreateGuest(t.Context(), guest, "other@example.com", ""))
	code(t, "an account", w.CreateGuest(t.Context(), account.ID, "ada@example.com", "Ada"), fault.Conflict)
	code(t, "no e-mail address", w.CreateGuest(t.Context(), id.New(), "ada@", "Ada"), fault.BadUserInput)
	code(t, "no name", w.CreateGuest(t.Context(), id.New(), "ada@example.com", "A\x00a"), fault.BadUserInput)
	if after := w.everything(t); after != before {
		t.Errorf("this is there:\n%s\nbefore:\n%s", after, before)
	}

	token, expires, err := w.OpenGuestSession(t.Context(), guest, time.Hour)
	must(t, err)
	equal(t, "expires", expires, w.clock.Load().Add(time.Hour).UTC().Truncate(time.Second))
	claims := w.claims(t, &user.Tokens{AccessToken: token})
	actor, err := w.Check(t.Context(), claims)
	must(t, err)
	equal(t, "actor", actor, auth.Actor{ID: guest, Session: actor.Session, Roles: auth.Roles(auth.RoleCustomer)})
	found, err := w.ByIDs(as(t, actor), []uuid.UUID{guest})
	must(t, err)
	if len(found) != 1 || !found[0].Guest || *found[0].Name != "Ada Lovelace" || *found[0].Email != "ada@example.com" || found[0].Status != user.StatusActive {
		t.Errorf("the guest is %+v", found)
	}
	equal(t, "state", w.state(t), "users 2, emails 1, tokens 0 (used 0), sessions 1 (live 1)")
	equal(t, "entries", len(w.audit(t)), 1)

	w.pass(time.Hour)
	_, err = w.Check(t.Context(), claims)
	code(t, "after an hour", err, fault.Unauthenticated)
	w.exec(t, "UPDATE users.users SET status = 'DEACTIVATED' WHERE guest")
	_, _, err = w.OpenGuestSession(t.Context(), guest, time.Hour)
	code(t, "deactivated", err, fault.NotFound)
	_, _, err = w.OpenGuestSession(t.Context(), account.ID, time.Hour)
	code(t, "an account", err, fault.NotFound)
	_, _, err = w.OpenGuestSession(t.Context(), id.New(), time.Hour)
	code(t, "nobody", err, fault.NotFound)
	equal(t, "state", w.state(t), "users 2, emails 1, tokens 0 (used 0), sessions 1 (live 1)")
}
