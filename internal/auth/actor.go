// Package auth knows who asks: the actor of a request and its roles, the tokens that name it, the passwords that prove
// it, and the throttle in front of them. It stores nothing.
package auth

import (
	"context"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"
)

// Role is what an actor may do beyond its own things.
type Role string

const (
	RoleCustomer Role = "CUSTOMER"
	RoleSupport  Role = "SUPPORT"
	RoleManager  Role = "MANAGER"
	RoleAdmin    Role = "ADMIN"
	RoleService  Role = "SERVICE" // machines
)

// allRoles is in the order of the bits of a RoleSet; new roles go to the end.
var allRoles = [...]Role{RoleCustomer, RoleSupport, RoleManager, RoleAdmin, RoleService}

// Valid reports whether r is one of the constants.
func (r Role) Valid() bool { return r.bit() != 0 }

func (r Role) bit() RoleSet {
	for i, known := range allRoles {
		if r == known {
			return 1 << i
		}
	}
	return 0
}

// UnmarshalGQL takes the GraphQL enum value.
func (r *Role) UnmarshalGQL(v any) error {
	s, ok := v.(string)
	if !ok || !Role(s).Valid() {
		return fmt.Errorf("%.40q is not a Role", fmt.Sprint(v))
	}
	*r = Role(s)
	return nil
}

// MarshalGQL writes the GraphQL enum value.
func (r Role) MarshalGQL(w io.Writer) { _, _ = w.Write(r.AppendGQL(nil)) }

// AppendGQL appends the GraphQL enum value.
func (r Role) AppendGQL(b []byte) []byte { return strconv.AppendQuote(b, string(r)) }

// RoleSet is a set of roles, a bit for each.
type RoleSet uint8

// Roles returns the set of the given roles; unknown ones are left out.
func Roles(roles ...Role) RoleSet {
	var s RoleSet
	for _, r := range roles {
		s |= r.bit()
	}
	return s
}

// Has reports whether at least one of the roles is in the set.
func (s RoleSet) Has(roles ...Role) bool { return s&Roles(roles...) != 0 }

// List returns the roles in the order CUSTOMER, SUPPORT, MANAGER, ADMIN, SERVICE; never nil.
func (s RoleSet) List() []Role {
	list := make([]Role, 0, len(allRoles))
	for _, r := range allRoles {
		if s.Has(r) {
			list = append(list, r)
		}
	}
	return list
}

// String returns the roles with commas between them.
func (s RoleSet) String() string {
	var b strings.Builder
	for i, r := range s.List() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(r))
	}
	return b.String()
}

// Actor is who asks. The zero Actor is anonymous, and nothing below is true of it.
type Actor struct {
	ID       uuid.UUID // the user
	Session  uuid.UUID // uuid.Nil for an external actor
	Roles    RoleSet
	External bool // vouched for by an external issuer; see [ExternalID]
}

// SignedIn reports whether the actor is somebody.
func (a Actor) SignedIn() bool { return a.ID != uuid.Nil }

// Has reports whether the actor has at least one of the roles.
func (a Actor) Has(roles ...Role) bool { return a.SignedIn() && a.Roles.Has(roles...) }

// Staff reports whether the actor works here: SUPPORT, MANAGER or ADMIN.
func (a Actor) Staff() bool { return a.Has(RoleSupport, RoleManager, RoleAdmin) }

// Is reports whether the actor is that owner. Nobody is uuid.Nil.
func (a Actor) Is(owner uuid.UUID) bool { return a.SignedIn() && a.ID == owner }

type actorKey struct{}

// viewer is an actor in a context, and who wants to know what is asked about it.
type viewer struct {
	Actor
	asked *Asked
}

// With returns a context that carries the actor.
func With(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, viewer{a, of(ctx).asked})
}

func of(ctx context.Context) viewer {
	v, _ := ctx.Value(actorKey{}).(viewer)
	return v
}

// From returns the actor that the context carries, or the anonymous one. What is made of it depends on who asks: where a
// role decides, [Has] and [Sees] say so.
func From(ctx context.Context) Actor {
	v := of(ctx)
	v.asked.noteID()
	return v.Actor
}

// Peek is From for what shows in no answer, such as logs and limits, or shows only where something else has asked From.
func Peek(ctx context.Context) Actor { return of(ctx).Actor }

// Has reports whether the actor that the context carries has at least one of the roles.
func Has(ctx context.Context, roles ...Role) bool {
	v := of(ctx)
	v.asked.noteRoles(Roles(roles...))
	return v.Actor.Has(roles...)
}

// Staff reports whether the actor that the context carries works here.
func Staff(ctx context.Context) bool { return Has(ctx, RoleSupport, RoleManager, RoleAdmin) }

// Sees returns whose things the actor that the context carries may see: its own, or for staff everybody's.
func Sees(ctx context.Context) func(owner uuid.UUID) bool {
	if Staff(ctx) {
		return func(uuid.UUID) bool { return true }
	}
	return From(ctx).Is
}

// Asked is what was asked about an actor: answers that were given meanwhile depend on that, and on nothing else of it. It is
// safe for concurrent use.
type Asked struct {
	id    atomic.Bool
	roles [256 / 64]atomic.Uint64 // a bit for each RoleSet of which it was asked whether the actor has one
}

func (a *Asked) noteID() {
	if a != nil && !a.id.Load() {
		a.id.Store(true)
	}
}

func (a *Asked) noteRoles(anyOf RoleSet) {
	if a == nil {
		return
	}
	if word, bit := &a.roles[anyOf/64], uint64(1)<<(anyOf%64); word.Load()&bit == 0 {
		word.Or(bit)
	}
}

// sets are those of which it was asked whether the actor has a role.
func (a *Asked) sets(yield func(RoleSet) bool) {
	for i := range a.roles {
		for word := a.roles[i].Load(); word != 0; word &= word - 1 {
			if !yield(RoleSet(64*i + bits.TrailingZeros64(word))) {
				return
			}
		}
	}
}

// Roles returns the roles that were asked about.
func (a *Asked) Roles() RoleSet {
	var all RoleSet
	for set := range a.sets {
		all |= set
	}
	return all
}

// FollowsFrom reports whether the same would have been said about everybody who, of the known roles, has the same ones: that
// somebody has SUPPORT or ADMIN is known of each admin, whether or not they have SUPPORT.
func (a *Asked) FollowsFrom(has, known RoleSet) bool {
	for anyOf := range a.sets {
		if anyOf&^known != 0 && anyOf&known&has == 0 {
			return false
		}
	}
	return true
}

// ID reports whether it was asked who the actor is.
func (a *Asked) ID() bool { return a.id.Load() }

// Watch returns a context in which what is asked about the actor is noted.
func Watch(ctx context.Context) (context.Context, *Asked) {
	v := of(ctx)
	v.asked = &Asked{}
	return context.WithValue(ctx, actorKey{}, v), v.asked
}

// Owned is implemented by whatever belongs to somebody.
type Owned interface{ OwnedBy(owner uuid.UUID) bool }

// Borne is implemented by what can belong to the bearer of a token instead, such as the cart of somebody without an
// account. It is true of what was reached by the token, and of nothing else.
type Borne interface{ Borne() bool }
