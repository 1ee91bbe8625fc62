// Package graph is the GraphQL side of Emporium: resolvers that go from the contract to the verbs of the domains, the
// directives that guard them, and the one place where errors get their codes. There is a file for each domain.
package graph

import (
	"emporium/graph/loader"
	"emporium/internal/fault"
	"emporium/internal/jobs"
	"emporium/internal/page"
)

// Resolver is the root of all resolvers.
type Resolver struct {
	loader.Services
	Queues  jobs.Queues
	Cookies CookiePolicy
}

var _ ResolverRoot = Resolver{}

// The resolvers of the roots hold nothing but the services. Those of other types are generated, from edges.
type (
	queryResolver        struct{ Resolver }
	mutationResolver     struct{ Resolver }
	subscriptionResolver struct{ Resolver }
)

func (r Resolver) Query() QueryResolver       { return queryResolver{r} }
func (r Resolver) Mutation() MutationResolver { return mutationResolver{r} }

// Subscription returns the resolvers of what events come from.
func (r Resolver) Subscription() SubscriptionResolver { return subscriptionResolver{r} }

// exactlyOne refuses a look-up that was given none or several of its arguments.
func exactlyOne(given ...bool) error {
	n := 0
	for _, g := range given {
		if g {
			n++
		}
	}
	if n != 1 {
		return fault.New(fault.BadUserInput, "give exactly one argument")
	}
	return nil
}

func pageArgs(first *int, after *string, last *int, before *string) page.Args {
	return page.Args{First: first, After: after, Last: last, Before: before}
}

// or returns the value, or the zero value for nil.
func or[T any](value *T) (v T) {
	if value != nil {
		v = *value
	}
	return v
}
