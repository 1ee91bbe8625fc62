package graph

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"emporium/graph/exec"
	"emporium/internal/auth"
)

// someone is the actor of each viewer, as far as policies look at it.
var someone = func() map[string]auth.Actor {
	actors := map[string]auth.Actor{"": {}, "machine": {ID: uuid.New(), Roles: auth.Roles(auth.RoleService)}}
	for who, role := range roles {
		actors[who] = auth.Actor{ID: uuid.New(), Session: uuid.New(), Roles: auth.Roles(role)}
	}
	return actors
}()

// TestNoGuardedAnswerIsForEverybody takes away each access directive of a guarded field in turn, or says of the field or its
// type that its answers are for everybody: the policies are refused, or the answer goes to nobody whom it does not go to now.
func TestNoGuardedAnswerIsForEverybody(t *testing.T) {
	t.Parallel()
	asIs := contract(t)
	now, err := newPolicies(asIs, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	public := &ast.Directive{Name: "cacheControl", Arguments: ast.ArgumentList{{Name: "scope", Value: &ast.Value{Raw: "PUBLIC", Kind: ast.EnumValue}}}}
	fields := 0
	for _, d := range sortedTypes(asIs) {
		if d.Kind != ast.Object {
			continue
		}
		for _, f := range d.Fields {
			if !guarded(asIs, asIs.Types[f.Type.Name()]) || len(accessMarks(f)) == 0 {
				continue
			}
			fields++
			place := d.Name + "." + f.Name
			for how, change := range map[string]func(s *ast.Schema, f *ast.FieldDefinition){
				"without its directive": func(_ *ast.Schema, f *ast.FieldDefinition) {
					f.Directives = ast.DirectiveList{}
				},
				"said to be public": func(_ *ast.Schema, f *ast.FieldDefinition) { f.Directives = append(f.Directives, public) },
				"of a type that is said to be public": func(s *ast.Schema, f *ast.FieldDefinition) {
					of := s.Types[f.Type.Name()]
					of.Directives = append(of.Directives, public)
				},
			} {
				schema := contract(t)
				change(schema, schema.Types[d.Name].Fields.ForName(f.Name))
				all, err := newPolicies(schema, time.Hour)
				if err != nil {
					if !strings.Contains(err.Error(), place) {
						t.Errorf("%s %s: %v", place, how, err)
					}
					continue
				}
				key := exec.Selected{Type: d.Name, Field: f.Name}
				before, after := now[key], all[key]
				if how == "without its directive" && after.roles == 0 && len(after.viewer) == 0 || !after.guarded {
					t.Errorf("%s %s: %+v", place, how, after)
				}
				for who, actor := range someone {
					if got, want := string(after.appendScope(nil, actor)), string(before.appendScope(nil, actor)); how != "without its directive" && got != want {
						t.Errorf("%s %s: the answer to %q is kept for %q, not %q", place, how, who, got, want)
					}
				}
			}
		}
	}
	if fields < 40 {
		t.Errorf("only %d guarded fields were found", fields)
	}
}

// toyPolicies draws the policies of a schema whose types have what follows.
func toyPolicies(t *testing.T, types string) (*ast.Schema, policies, error) {
	t.Helper()
	text := `directive @public on FIELD_DEFINITION
directive @authenticated on FIELD_DEFINITION
directive @hasRole(anyOf: [Role!]!) on FIELD_DEFINITION
directive @owner(orRole: [Role!]! = []) on FIELD_DEFINITION
directive @open on OBJECT | INTERFACE | UNION
directive @cacheControl(maxAge: Int, scope: CacheControlScope, inheritMaxAge: Boolean) on FIELD_DEFINITION | OBJECT | INTERFACE | UNION
enum CacheControlScope { PUBLIC ROLE PRIVATE }
enum Role { CUSTOMER SUPPORT MANAGER ADMIN SERVICE }
` + types
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "toy", Input: text})
	if err != nil {
		t.Fatal(err)
	}
	all, err := newPolicies(schema, time.Hour)
	return schema, all, err
}

// TestCacheControl is the table of what @cacheControl makes of an operation.
func TestCacheControl(t *testing.T) {
	t.Parallel()
	_, all, err := toyPolicies(t, `
type Query {
	plain: Plain @public
	minute: Plain @public @cacheControl(maxAge: 60)
	day: Plain @public @cacheControl(maxAge: 86400)
	number: Int @public
	brief: Brief @public
	briefer: Brief @public @cacheControl(maxAge: 1)
	longer: Brief @public @cacheControl(maxAge: 100)
	never: Int @public @cacheControl(maxAge: 0)
	inherits: Plain @public @cacheControl(inheritMaxAge: true)
	mine: Mine @authenticated
	own: Plain @public @cacheControl(scope: PRIVATE)
	staff: Mine @hasRole(anyOf: [SUPPORT, ADMIN])
	either: Mine @owner(orRole: [SUPPORT])
	shown: Shown @public
	any: Any @public
	all: [Shown!]! @public @cacheControl(maxAge: 30)
	open: Byrole @public @cacheControl(scope: PUBLIC)
	hours: Int @authenticated
	rates: [Plain!] @hasRole(anyOf: [MANAGER])
	note: Plain @owner
}
interface Shown @open { n: Int }
union Any @open @cacheControl(maxAge: 20) = Plain | Byrole
type Plain implements Shown @open {
	n: Int
	nested: Plain
	briefly: Int @cacheControl(maxAge: 5)
	nothing: Int @cacheControl(maxAge: 0)
	inherits: Plain @cacheControl(inheritMaxAge: true)
}
type Brief @open @cacheControl(maxAge: 10) { n: Int nested: Plain inherits: Plain @cacheControl(inheritMaxAge: true) }
type Byrole implements Shown @open @cacheControl(scope: ROLE, maxAge: 40) { n: Int }
type Mine { n: Int }
`)
	if err != nil {
		t.Fatal(err)
	}
	const forAll, forRole, forOne = "p", "r", "v"
	for _, c := range []struct {
		fields   string
		age      time.Duration
		ada, sam string // for whom the answer to a customer, and to SUPPORT, is kept
	}{
		{"Query.plain Plain.n", time.Hour, forAll, forAll},
		{"Query.number", time.Hour, forAll, forAll},
		{"Query.minute Plain.n", time.Minute, forAll, forAll},
		{"Query.day Plain.n", 24 * time.Hour, forAll, forAll},
		{"Query.day Plain.n Plain.nested", time.Hour, forAll, forAll}, // an object that says nothing
		{"Query.day Plain.n Plain.inherits", 24 * time.Hour, forAll, forAll},
		{"Query.day Query.minute", time.Minute, forAll, forAll},
		{"Query.plain Plain.briefly", 5 * time.Second, forAll, forAll},
		{"Query.brief Brief.n", 10 * time.Second, forAll, forAll}, // by its type
		{"Query.briefer Brief.n", time.Second, forAll, forAll},    // the field counts more than the type
		{"Query.longer Brief.n", 100 * time.Second, forAll, forAll},
		{"Query.longer Query.brief", 10 * time.Second, forAll, forAll},
		{"Query.brief Brief.nested Plain.n", 10 * time.Second, forAll, forAll},
		{"Query.never", 0, forAll, forAll},
		{"Query.plain Plain.n Plain.nothing", 0, forAll, forAll},
		{"Query.inherits Query.brief", 10 * time.Second, forAll, forAll},
		{"Query.mine Mine.n", time.Hour, forOne, forOne},
		{"Query.own Plain.n", time.Hour, forOne, forOne},
		{"Query.own Query.staff", time.Hour, forOne, forOne},
		{"Query.staff Mine.n", time.Hour, forRole, forRole},
		{"Query.either Mine.n", time.Hour, forOne, forRole},
		{"Query.either Query.mine", time.Hour, forOne, forOne},
		{"Query.plain Query.either", time.Hour, forOne, forRole},
		{"Query.shown", 40 * time.Second, forRole, forRole}, // what it can turn out to be
		{"Query.any", 20 * time.Second, forRole, forRole},
		{"Query.all Plain.n", 30 * time.Second, forRole, forRole},
		{"Query.open Byrole.n", 40 * time.Second, forRole, forRole}, // nothing makes it wider
	} {
		whole := policy{maxAge: anyAge}
		for name := range strings.FieldsSeq(c.fields) {
			typeName, field, _ := strings.Cut(name, ".")
			one, ok := all[exec.Selected{Type: typeName, Field: field}]
			if !ok {
				t.Fatalf("there is no %s", name)
			}
			whole = whole.with(one)
		}
		ada, sam := string(whole.appendScope(nil, someone["ada"])[:1]), string(whole.appendScope(nil, someone["support"])[:1])
		if whole.maxAge != c.age || ada != c.ada || sam != c.sam {
			t.Errorf("%s: %v, a customer's %q, support's %q; want %v, %q, %q", c.fields, whole.maxAge, ada, sam, c.age, c.ada, c.sam)
		}
	}
	for field, guarded := range map[string]bool{"plain": false, "open": false, "own": true, "mine": true, "staff": true, "either": true, "hours": true, "rates": true, "note": true} {
		if p := all[exec.Selected{Type: "Query", Field: field}]; p.guarded != guarded {
			t.Errorf("what Query.%s shows is sealed in Redis: %v", field, p.guarded)
		}
	}

	for name, field := range map[string]string{
		"a negative age":                 `n: Int @public @cacheControl(maxAge: -1)`,
		"an age beyond all":              `n: Int @public @cacheControl(maxAge: 99999999999999999999)`,
		"no age":                         `n: Int @public @cacheControl(maxAge: null)`,
		"an age of its own and another":  `n: Int @public @cacheControl(maxAge: 1, inheritMaxAge: true)`,
		"a guarded type for everybody":   `n: Guarded @public`,
		"a union with a guarded type":    `n: Mixed @public`,
		"a guarded type for every owner": `n: Guarded @cacheControl(scope: PUBLIC)`,
	} {
		if _, _, err := toyPolicies(t, `type Query { `+field+` } type Guarded { n: Int } type Free @open { n: Int } union Mixed = Free | Guarded`); err == nil ||
			!strings.Contains(err.Error(), "Query.n") {
			t.Errorf("%s is not refused: %v", name, err)
		}
	}
}

// TestScopesAreToldApart writes the scopes of all viewers and wants those of whom an answer is not to be shared by to differ.
func TestScopesAreToldApart(t *testing.T) {
	t.Parallel()
	staff := auth.Roles(auth.RoleSupport, auth.RoleManager, auth.RoleAdmin)
	external := someone["ada"]
	external.External = true
	both := someone["ada"]
	both.Roles |= auth.Roles(auth.RoleSupport)
	elsewhere := someone["ada"]
	elsewhere.Session = uuid.New()
	for _, c := range []struct {
		name       string
		policy     policy
		one, other auth.Actor
		shared     bool
	}{
		{"a public answer", policy{}, someone["ada"], someone[""], true},
		{"two customers by role", policy{roles: staff}, someone["ada"], someone["bob"], true},
		{"a customer and nobody by role", policy{roles: staff}, someone["ada"], someone[""], true},
		{"a role that makes no difference", policy{roles: auth.Roles(auth.RoleAdmin)}, someone["support"], someone["bob"], true},
		{"two roles", policy{roles: staff}, someone["support"], someone["manager"], false},
		{"one with another role besides", policy{roles: staff}, both, someone["ada"], false},
		{"two people", policy{viewer: []auth.RoleSet{0}}, someone["ada"], someone["bob"], false},
		{"two of staff who are exempt", policy{roles: staff, viewer: []auth.RoleSet{staff}}, someone["support"], auth.Actor{ID: uuid.New(), Roles: auth.Roles(auth.RoleSupport)}, true},
		{"two of staff where one field exempts nobody", policy{roles: staff, viewer: []auth.RoleSet{staff, 0}}, someone["support"], auth.Actor{ID: uuid.New(), Roles: auth.Roles(auth.RoleSupport)}, false},
		{"somebody exempt and somebody not", policy{roles: staff, viewer: []auth.RoleSet{staff}}, someone["support"], someone["ada"], false},
		{"a person of ours and of another issuer", policy{viewer: []auth.RoleSet{0}}, someone["ada"], external, false},
		{"a person before and after a change of roles", policy{viewer: []auth.RoleSet{0}}, someone["ada"], both, false},
		{"a person on two devices", policy{viewer: []auth.RoleSet{0}}, someone["ada"], elsewhere, true},
	} {
		one, other := string(c.policy.appendScope(nil, c.one)), string(c.policy.appendScope(nil, c.other))
		if (one == other) != c.shared {
			t.Errorf("%s: %q and %q", c.name, one, other)
		}
	}
}
