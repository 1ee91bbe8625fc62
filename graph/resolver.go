// Package graph is the GraphQL side of Emporium: resolvers that go from the contract to the verbs of the domains, the
// directives that guard them, and the one place where errors get their codes. There is a file for each domain.
package graph

import (
	"reflect"

	"emporium/graph/loader"
	"emporium/internal/fault"
	"emporium/internal/order"
	"emporium/internal/page"
	"emporium/internal/payment"
	"emporium/internal/product"
	"emporium/internal/user"
)

// Resolver is the root of all resolvers.
type Resolver struct {
	loader.Services
	Cookies CookiePolicy
}

var _ ResolverRoot = Resolver{}

// The resolvers of each type. They hold nothing but the services.
type (
	queryResolver             struct{ Resolver }
	mutationResolver          struct{ Resolver }
	userResolver              struct{ Resolver }
	userConnectionResolver    struct{ Resolver }
	productResolver           struct{ Resolver }
	productConnectionResolver struct{ Resolver }
	variantResolver           struct{ Resolver }
	categoryResolver          struct{ Resolver }
	categoryFacetResolver     struct{ Resolver }
	collectionResolver        struct{ Resolver }
	orderResolver             struct{ Resolver }
	orderConnectionResolver   struct{ Resolver }
	orderLineResolver         struct{ Resolver }
	fulfillmentResolver       struct{ Resolver }
	fulfillmentLineResolver   struct{ Resolver }
	paymentResolver           struct{ Resolver }
	paymentConnectionResolver struct{ Resolver }
)

func (r Resolver) Query() QueryResolver                         { return queryResolver{r} }
func (r Resolver) Mutation() MutationResolver                   { return mutationResolver{r} }
func (r Resolver) User() UserResolver                           { return userResolver{r} }
func (r Resolver) UserConnection() UserConnectionResolver       { return userConnectionResolver{r} }
func (r Resolver) Product() ProductResolver                     { return productResolver{r} }
func (r Resolver) ProductConnection() ProductConnectionResolver { return productConnectionResolver{r} }
func (r Resolver) Variant() VariantResolver                     { return variantResolver{r} }
func (r Resolver) Category() CategoryResolver                   { return categoryResolver{r} }
func (r Resolver) CategoryFacet() CategoryFacetResolver         { return categoryFacetResolver{r} }
func (r Resolver) Collection() CollectionResolver               { return collectionResolver{r} }
func (r Resolver) Order() OrderResolver                         { return orderResolver{r} }
func (r Resolver) OrderConnection() OrderConnectionResolver     { return orderConnectionResolver{r} }
func (r Resolver) OrderLine() OrderLineResolver                 { return orderLineResolver{r} }
func (r Resolver) Fulfillment() FulfillmentResolver             { return fulfillmentResolver{r} }
func (r Resolver) FulfillmentLine() FulfillmentLineResolver     { return fulfillmentLineResolver{r} }
func (r Resolver) Payment() PaymentResolver                     { return paymentResolver{r} }
func (r Resolver) PaymentConnection() PaymentConnectionResolver { return paymentConnectionResolver{r} }

// typeNames are the types of the contract that edges lead from, or that belong to somebody, by the Go type behind them.
var typeNames = map[reflect.Type]string{
	reflect.TypeFor[*user.User]():       "User",
	reflect.TypeFor[*user.Address]():    "Address",
	reflect.TypeFor[*user.Connection](): "UserConnection",
	reflect.TypeFor[*user.Edge]():       "UserEdge",

	reflect.TypeFor[*product.Product]():              "Product",
	reflect.TypeFor[*product.Connection]():           "ProductConnection",
	reflect.TypeFor[*product.Edge]():                 "ProductEdge",
	reflect.TypeFor[*product.Facets]():               "ProductFacets",
	reflect.TypeFor[*product.CategoryFacet]():        "CategoryFacet",
	reflect.TypeFor[*product.Suggestion]():           "ProductSuggestion",
	reflect.TypeFor[*product.Variant]():              "Variant",
	reflect.TypeFor[*product.Media]():                "Media",
	reflect.TypeFor[*product.Category]():             "Category",
	reflect.TypeFor[*product.Collection]():           "Collection",
	reflect.TypeFor[*product.CollectionConnection](): "CollectionConnection",
	reflect.TypeFor[*product.CollectionEdge]():       "CollectionEdge",

	reflect.TypeFor[*order.Order]():           "Order",
	reflect.TypeFor[*order.Connection]():      "OrderConnection",
	reflect.TypeFor[*order.Edge]():            "OrderEdge",
	reflect.TypeFor[*order.Line]():            "OrderLine",
	reflect.TypeFor[*order.PostalAddress]():   "PostalAddress",
	reflect.TypeFor[*order.Fulfillment]():     "Fulfillment",
	reflect.TypeFor[*order.FulfillmentLine](): "FulfillmentLine",
	reflect.TypeFor[*order.Event]():           "OrderEvent",

	reflect.TypeFor[*payment.Payment]():    "Payment",
	reflect.TypeFor[*payment.Connection](): "PaymentConnection",
	reflect.TypeFor[*payment.Edge]():       "PaymentEdge",
	reflect.TypeFor[*payment.Event]():      "PaymentEvent",
}

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
