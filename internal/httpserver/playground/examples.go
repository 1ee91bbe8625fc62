package playground

import "embed"

//go:embed examples/*.graphql
var examples embed.FS

// Examples are tabs for the shop's own schema: the catalogue for everyone, the account for customers, and the orders
// for staff.
func Examples() []Tab {
	return []Tab{
		example("Products, with facets", "products", `{ "first": 10 }`),
		example("A product in detail", "product_details", ""),
		example("My account and orders", "account", `{ "orders": 5 }`),
		example("Orders, for staff", "staff_orders", `{ "first": 20 }`),
	}
}

func example(title, name, variables string) Tab {
	query, err := examples.ReadFile("examples/" + name + ".graphql")
	if err != nil {
		panic("playground: " + err.Error())
	}
	return Tab{Title: title, Query: string(query), Variables: variables}
}
