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
