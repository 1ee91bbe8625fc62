package graph

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"emporium/graph/exec"
	"emporium/internal/auth"
)

// beyondCustomer are the roles by which a viewer can see more than a customer does.
var beyondCustomer = auth.Roles(auth.RoleSupport, auth.RoleManager, auth.RoleAdmin, auth.RoleService)

// policy says for how long an answer may be kept, and on what of the viewer it depends: what the directives of the selected
// fields decide by.
type policy struct {
	maxAge  time.Duration  // 0: it is not kept
	roles   auth.RoleSet   // whether the viewer has each of these makes a difference
	viewer  []auth.RoleSet // who the viewer is makes one, except to those who have one of the roles; once for each such set
	guarded bool           // it shows what not everybody may see
}

// scope is for whom an answer holds.
type scope string

const (
	scopePublic scope = "public"
	scopeRole   scope = "role"
	scopeViewer scope = "viewer"
)

// for returns the scope of an answer to an actor.
func (p *policy) scope(a auth.Actor) scope {
	for _, exempt := range p.viewer {
		if !a.SignedIn() || a.Roles&exempt == 0 {
			return scopeViewer
		}
	}
	if p.roles != 0 {
		return scopeRole
	}
	return scopePublic
}

// appendScope appends what the answer to an actor depends on of it.
func (p *policy) appendScope(b []byte, a auth.Actor) []byte {
	switch p.scope(a) {
	case scopeViewer:
		b = append(append(b, 'v', byte(a.Roles)), a.ID[:]...)
		if a.External {
			return append(b, 1)
		}
		return append(b, 0)
	case scopeRole:
		return append(b, 'r', byte(a.Roles&p.roles))
	default:
		return append(b, 'p')
	}
}

// covers reports whether an answer to an actor depends on nothing but what the scope says.
func (p *policy) covers(a auth.Actor, asked *auth.Asked) bool {
	return p.scope(a) == scopeViewer || !asked.ID() && asked.FollowsFrom(a.Roles, p.roles)
}

// with returns what holds for both.
func (p policy) with(other policy) policy {
	p.maxAge = min(p.maxAge, other.maxAge)
	p.roles |= other.roles
	p.guarded = p.guarded || other.guarded
	for _, exempt := range other.viewer {
		if !slices.Contains(p.viewer, exempt) {
			p.viewer = append(slices.Clip(p.viewer), exempt)
		}
	}
	return p
}

const anyAge = time.Duration(math.MaxInt64)

// policies are those of all fields.
type policies map[exec.Selected]policy

// newPolicies draws the policies from the directives of a schema. Age is that of root fields and objects that say nothing of
// it. It fails for a directive that makes no sense, and if a guarded field could end in an answer for everybody.
func newPolicies(schema *ast.Schema, age time.Duration) (policies, error) {
	all := policies{}
	var faults []error
	for _, t := range sortedTypes(schema) {
		if t.Kind != ast.Object {
			continue
		}
		root := t == schema.Query || t == schema.Mutation || t == schema.Subscription
		for _, f := range t.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			p, err := policyOf(schema, f, root, age)
			if err != nil {
				faults = append(faults, fmt.Errorf("cache: %s.%s: %w", t.Name, f.Name, err))
			}
			p.guarded = p.guarded || guarded(schema, schema.Types[f.Type.Name()])
			if p.guarded && p.roles == 0 && len(p.viewer) == 0 {
				faults = append(faults, fmt.Errorf("cache: %s.%s is guarded, or leads to the guarded type %s, and its answers could be kept for everybody", t.Name, f.Name, f.Type.Name()))
			}
			all[exec.Selected{Type: t.Name, Field: f.Name}] = p
		}
	}
	return all, errors.Join(faults...)
}

func policyOf(schema *ast.Schema, f *ast.FieldDefinition, root bool, age time.Duration) (policy, error) {
	of, p := schema.Types[f.Type.Name()], policy{maxAge: anyAge}
	if root || of.IsCompositeType() {
		p.maxAge = age
	}
	var faults []error
	control := func(p *policy, d *ast.Directive) {
		if d != nil {
			faults = append(faults, p.control(d))
		}
	}
	control(&p, of.Directives.ForName("cacheControl"))
	if of.IsAbstractType() {
		// Which of its types it shows is not known before it is asked, and that there is nothing to show can depend on the
		// viewer by the rules of any.
		every := p
		for _, member := range schema.PossibleTypes[of.Name] {
			one := every
			control(&one, member.Directives.ForName("cacheControl"))
			p = p.with(one)
		}
	}
	control(&p, f.Directives.ForName("cacheControl"))
	for _, d := range f.Directives {
		p.guarded = p.guarded || d.Name != "public" && slices.Contains(accessDirectives, d.Name)
		switch d.Name {
		case "authenticated":
			p = p.with(policy{maxAge: anyAge, viewer: []auth.RoleSet{0}})
		case "hasRole":
			p.roles |= auth.Roles(rolesIn(d, "anyOf")...)
		case "owner":
			exempt := auth.Roles(rolesIn(d, "orRole")...)
			p = p.with(policy{maxAge: anyAge, roles: exempt, viewer: []auth.RoleSet{exempt}})
		}
	}
	return p, errors.Join(faults...)
}

// control applies @cacheControl: that of the field comes after that of its type.
func (p *policy) control(d *ast.Directive) error {
	age, inherit := d.Arguments.ForName("maxAge"), d.Arguments.ForName("inheritMaxAge")
	if inherit != nil && inherit.Value.Raw == "true" {
		if age != nil {
			return errors.New("it has an age of its own and inherits one")
		}
		p.maxAge = anyAge
	}
	if age != nil {
		seconds, err := strconv.ParseInt(age.Value.Raw, 10, 32)
		if err != nil || seconds < 0 {
			return fmt.Errorf("%q is no age in seconds", age.Value.Raw)
		}
		p.maxAge = time.Duration(seconds) * time.Second
	}
	if scope := d.Arguments.ForName("scope"); scope != nil {
		switch scope.Value.Raw {
		case "ROLE":
			p.roles |= beyondCustomer
		case "PRIVATE":
			// One person's in Redis, too, whatever its type is.
			*p = p.with(policy{maxAge: anyAge, viewer: []auth.RoleSet{0}, guarded: true})
		}
	}
	return nil
}

// of returns the policy of an operation.
func (all policies) of(p *exec.Plan) policy {
	whole := policy{maxAge: anyAge}
	p.Selects(func(s exec.Selected) bool {
		whole = whole.with(all[s])
		return true
	})
	return whole
}
