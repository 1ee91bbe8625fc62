package graph

import (
	"context"
	"fmt"
	"reflect"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"emporium/graph/exec"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/product"
)

// guardOf returns what the directives of a field decide: who may ask for it, before it is resolved, and with @owner
// what of the result is the viewer's. It fails for a directive that it does not know. The verbs of the domains check once
// more.
func guardOf(f *ast.FieldDefinition) (guard exec.Guard, err error) {
	for _, d := range f.Directives {
		switch d.Name {
		case "public", "deprecated", "cacheControl", "cost", "listSize", "once":
		case "authenticated":
			guard = authenticated
		case "hasRole":
			guard = hasRole(rolesIn(d, "anyOf"))
		case "owner":
			guard = owner(rolesIn(d, "orRole"))
		default:
			return nil, fmt.Errorf("graph: @%s has no guard", d.Name)
		}
	}
	return guard, nil
}

func rolesIn(d *ast.Directive, argument string) []auth.Role {
	given := d.Arguments.ForName(argument)
	if given == nil {
		return nil
	}
	var roles []auth.Role
	for _, v := range given.Value.Children {
		roles = append(roles, auth.Role(v.Value.Raw))
	}
	return roles
}

func authenticated(ctx context.Context) (exec.Check, error) {
	if !auth.From(ctx).SignedIn() {
		return exec.Check{}, errUnauthenticated()
	}
	return exec.Check{}, nil
}

func hasRole(anyOf []auth.Role) exec.Guard {
	return func(ctx context.Context) (exec.Check, error) {
		switch {
		case auth.Has(ctx, anyOf...):
			return exec.Check{}, nil
		case !auth.From(ctx).SignedIn():
			return exec.Check{}, errUnauthenticated()
		default:
			return exec.Check{}, errForbidden()
		}
	}
}

// owner hides what is not the viewer's: the parent is looked at before the field is resolved, the result after. Both nil
// and no error is the answer of an unknown ID.
func owner(orRole []auth.Role) exec.Guard {
	return func(ctx context.Context) (exec.Check, error) {
		if auth.Has(ctx, orRole...) {
			return exec.Check{}, nil
		}
		actor := auth.From(ctx)
		return exec.Check{
			Parent: func(parent any) bool {
				o, ok := parent.(owned)
				return !ok || visible(actor, o)
			},
			Result: func(result any) (any, error) { return onlyVisible(actor, result) },
		}, nil
	}
}

// directives are the same guards for gqlgen's executor.
func directives() DirectiveRoot {
	return DirectiveRoot{
		Public: func(ctx context.Context, _ any, next graphql.Resolver) (any, error) { return next(ctx) },
		Authenticated: func(ctx context.Context, object any, next graphql.Resolver) (any, error) {
			return gated(ctx, authenticated, object, next)
		},
		HasRole: func(ctx context.Context, object any, next graphql.Resolver, anyOf []auth.Role) (any, error) {
			return gated(ctx, hasRole(anyOf), object, next)
		},
		Owner: func(ctx context.Context, object any, next graphql.Resolver, orRole []auth.Role) (any, error) {
			return gated(ctx, owner(orRole), object, next)
		},
	}
}

func gated(ctx context.Context, guard exec.Guard, object any, next graphql.Resolver) (any, error) {
	check, err := guard(ctx)
	if err != nil {
		return nil, err
	}
	if check.Parent != nil && !check.Parent(object) {
		return nil, nil
	}
	result, err := next(ctx)
	if err != nil || check.Result == nil {
		return result, err
	}
	return check.Result(result)
}

// owned is what every guarded type implements.
type owned = auth.Owned

func visible(actor auth.Actor, o owned) bool {
	if b, ok := o.(auth.Borne); ok && b.Borne() {
		return true
	}
	return actor.SignedIn() && o.OwnedBy(actor.ID)
}

// onlyVisible returns the result if it is the viewer's, a list with null in place of what is not, and nil otherwise. A
// result that can not be judged fails: denied unless allowed.
func onlyVisible(actor auth.Actor, result any) (any, error) {
	switch r := result.(type) {
	case nil:
		return nil, nil
	case []Node:
		for i, node := range r {
			one, err := onlyVisible(actor, node)
			if err != nil {
				return nil, err
			}
			if one == nil {
				r[i] = nil
			}
		}
		return r, nil
	case owned:
		if isNil(r) || !visible(actor, r) {
			return nil, nil
		}
		return r, nil
	case *product.Product, *product.Variant, *product.Category, *product.Collection, *product.Media:
		return r, nil
	}
	if list, ok := ownedList(result); ok {
		for _, one := range list {
			if !visible(actor, one) {
				return nil, nil
			}
		}
		return result, nil
	}
	return nil, fmt.Errorf("@owner can not tell whose a %T is", result)
}

// Fresh errors each time: gqlgen writes the path into the error that it is given.
func errUnauthenticated() error {
	return fault.New(fault.Unauthenticated, "sign in first")
}

func errForbidden() error {
	return fault.New(fault.Forbidden, "your roles do not allow this")
}

func isNil(v any) bool {
	value := reflect.ValueOf(v)
	return value.Kind() == reflect.Pointer && value.IsNil()
}

// ownedList returns the elements of a slice of owned things.
func ownedList(v any) ([]owned, bool) {
	value := reflect.ValueOf(v)
	if value.Kind() != reflect.Slice || !value.Type().Elem().Implements(reflect.TypeFor[owned]()) {
		return nil, false
	}
	list := make([]owned, value.Len())
	for i := range list {
		list[i] = value.Index(i).Interface().(owned)
	}
	return list, true
}
