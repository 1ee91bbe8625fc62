package auth

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestActor(t *testing.T) {
	id := uuid.New()
	for _, tc := range []struct {
		name            string
		actor           Actor
		signedIn, staff bool
	}{
		{"anonymous", Actor{}, false, false},
		{"anonymous with roles", Actor{Roles: Roles(RoleAdmin)}, false, false},
		{"no roles", Actor{ID: id}, true, false},
		{"customer", Actor{ID: id, Roles: Roles(RoleCustomer)}, true, false},
		{"service", Actor{ID: id, Roles: Roles(RoleService)}, true, false},
		{"support", Actor{ID: id, Roles: Roles(RoleCustomer, RoleSupport)}, true, true},
		{"manager", Actor{ID: id, Roles: Roles(RoleManager)}, true, true},
		{"admin", Actor{ID: id, Roles: Roles(RoleAdmin)}, true, true},
	} {
		a := tc.actor
		if a.SignedIn() != tc.signedIn || a.Staff() != tc.staff || a.Is(id) != tc.signedIn {
			t.Errorf("%s: SignedIn %v, Staff %v, Is %v", tc.name, a.SignedIn(), a.Staff(), a.Is(id))
		}
		if a.Is(uuid.Nil) || a.Is(uuid.New()) {
			t.Errorf("%s: is somebody else", tc.name)
		}
		for _, r := range allRoles {
			if want := a.SignedIn() && slices.Contains(a.Roles.List(), r); a.Has(r) != want {
				t.Errorf("%s: Has(%s) = %v", tc.name, r, !want)
			}
		}
		if a.Has() || a.Has("OWNER") {
			t.Errorf("%s: has a role that is none", tc.name)
		}
	}
	ctx := context.Background()
	if From(ctx) != (Actor{}) {
		t.Error("somebody in an empty context")
	}
	want := Actor{ID: id, Session: uuid.New(), Roles: Roles(RoleSupport)}
	if got := From(With(ctx, want)); got != want {
		t.Errorf("From = %+v", got)
	}
	if got := From(With(With(ctx, want), Actor{})); got.SignedIn() {
		t.Error("the anonymous actor did not replace another")
	}
}

func TestRoles(t *testing.T) {
	s := Roles(RoleAdmin, RoleCustomer, "", "admin", RoleAdmin)
	if got := s.String(); got != "CUSTOMER,ADMIN" {
		t.Errorf("String = %q", got)
	}
	if s := RoleSet(0); s.List() == nil || len(s.List()) != 0 || s.String() != "" {
		t.Error("the empty set")
	}
	for _, r := range allRoles {
		var got Role
		var b strings.Builder
		r.MarshalGQL(&b)
		if err := got.UnmarshalGQL(string(r)); err != nil || got != r || b.String() != `"`+string(r)+`"` {
			t.Errorf("%s: %v, %v, %s", r, got, err, b.String())
		}
	}
	for _, v := range []any{"", "admin", "OWNER", 1, nil, []string{"ADMIN"}, strings.Repeat("x", 1<<20)} {
		r := RoleCustomer
		if err := r.UnmarshalGQL(v); err == nil || r != RoleCustomer || len(err.Error()) > 100 {
			t.Errorf("%.20v: %v, %.200v", v, r, err)
		}
	}
}

// TestAsked asks about an actor, and wants to know of whom the same would have been said.
func TestAsked(t *testing.T) {
	t.Parallel()
	admin := Actor{ID: uuid.New(), Roles: Roles(RoleAdmin)}
	shop, admins := Roles(RoleSupport, RoleManager, RoleAdmin), Roles(RoleAdmin)
	for name, c := range map[string]struct {
		ask   func(ctx context.Context)
		actor Actor
		known RoleSet
		want  bool
		id    bool
	}{
		"nothing":              {func(context.Context) {}, admin, 0, true, false},
		"who it is":            {func(ctx context.Context) { From(ctx) }, admin, shop, true, true},
		"what shows nowhere":   {func(ctx context.Context) { Peek(ctx) }, admin, 0, true, false},
		"a role that is known": {func(ctx context.Context) { Has(ctx, RoleAdmin) }, admin, admins, true, false},
		"a role that is not":   {func(ctx context.Context) { Has(ctx, RoleAdmin) }, admin, 0, false, false},
		"one of several, of which it has a known":  {func(ctx context.Context) { Staff(ctx) }, admin, admins, true, false},
		"one of several, of which it has another":  {func(ctx context.Context) { Staff(ctx) }, Actor{ID: uuid.New(), Roles: Roles(RoleSupport)}, admins, false, false},
		"one of several, all known, and it has no": {func(ctx context.Context) { Staff(ctx) }, Actor{}, shop, true, false},
		"one of several, and it has no":            {func(ctx context.Context) { Staff(ctx) }, Actor{}, admins, false, false},
		"two questions, one of which is open":      {func(ctx context.Context) { Staff(ctx); Has(ctx, RoleService) }, admin, admins, false, false},
		"whose things it sees, of staff":           {func(ctx context.Context) { Sees(ctx) }, admin, shop, true, false},
		"whose things it sees, of a customer":      {func(ctx context.Context) { Sees(ctx) }, Actor{ID: uuid.New()}, shop, true, true},
		"in a context below": {func(ctx context.Context) {
			Has(With(ctx, Actor{ID: uuid.New(), Roles: admins}), RoleService)
		}, admin, admins, false, false},
	} {
		ctx, asked := Watch(With(context.Background(), c.actor))
		c.ask(ctx)
		if got := asked.FollowsFrom(c.actor.Roles, c.known); got != c.want || asked.ID() != c.id {
			t.Errorf("%s: follows %v, asked who %v; want %v, %v", name, got, asked.ID(), c.want, c.id)
		}
	}
}
