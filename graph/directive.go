package graph

import (
	"context"
	"fmt"
	"reflect"

	"github.com/99designs/gqlgen/graphql"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/product"
)

// directives are the outer gate: they decide before a resolver runs, and @owner again over what it returned. The verbs
// of the domains check once more.
func directives() DirectiveRoot {
	return DirectiveRoot{Public: public, Authenticated: authenticated, HasRole: hasRole, Owner: owner}
}

func public(ctx context.Context, _ any, next graphql.Resolver) (any, error) { return next(ctx) }

func authenticated(ctx context.Context, _ any, next graphql.Resolver) (any, error) {
	if !auth.From(ctx).SignedIn() {
		return nil, errUnauthenticated()
	}
	return next(ctx)
}

func hasRole(ctx context.Context, _ any, next graphql.Resolver, anyOf []auth.Role) (any, error) {
	actor := auth.From(ctx)
	if !actor.SignedIn() {
		return nil, errUnauthenticated()
	}
	if !actor.Has(anyOf...) {
		return nil, errForbidden()
	}
	return next(ctx)
}

// owner hides what is not the viewer's: the parent is looked at before the resolver runs, the result after. Both nil
// and no error is the answer of an unknown ID.
func owner(ctx context.Context, obj any, next graphql.Resolver, orRole []auth.Role) (any, error) {
	actor := auth.From(ctx)
	if actor.Has(orRole...) {
		return next(ctx)
	}
	if parent, ok := obj.(owned); ok && !visible(actor, parent) {
		return nil, nil
	}
	result, err := next(ctx)
	if err != nil {
		return nil, err
	}
	return onlyVisible(actor, result)
}

// owned is what every guarded type implements.
type owned = auth.Owned

func visible(actor auth.Actor, o owned) bool { return actor.SignedIn() && o.OwnedBy(actor.ID) }

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
