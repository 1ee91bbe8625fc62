package playground

import (
	"embed"
	"strings"
)

//go:embed examples/*.graphql
var examples embed.FS

// Examples are tabs for the shop's own schema: the catalogue for everyone, the account for customers and what they can
// change of it, and orders, stock and the catalogue for staff.
func Examples() []Tab {
	return []Tab{
		example("Products, with facets", "products", `{ "first": 5, "sort": { "field": "TITLE" } }`),
		example("A product in detail", "product_details", ""),
		example("My account and orders", "account", `{ "orders": 5 }`),
		example("My profile and addresses", "profile", `{
  "profile": { "phone": "+49 30 901820" },
  "address": { "name": "Ada Lindqvist", "line1": "Unter den Linden 77", "city": "Berlin", "postalCode": "10117", "country": "DE", "defaultFor": ["SHIPPING"] }
}`),
		example("A lost password", "password_lost", `{ "email": "ada@example.com" }`),
		example("A new password, by mail", "password_new", `{ "token": "the code in the mail", "password": "staple of another kind" }`),
		example("Orders, for staff", "staff_orders", `{ "first": 20 }`),
		example("Stock, for staff", "staff_stock", `{ "first": 5 }`),
		example("Catalogue, for staff", "staff_catalogue", `{
  "product": {
    "title": "Scarf of My Own",
    "descriptionHtml": "<p>Knitted by <b>hand</b>.</p>",
    "tags": ["winter"],
    "options": [{ "name": "Colour" }],
    "variants": [
      { "optionValues": [{ "name": "Colour", "value": "Moss" }], "price": "39.00", "compareAtPrice": "45.00" },
      { "optionValues": [{ "name": "Colour", "value": "Sand" }], "price": "35.00" }
    ]
  }
}`),
	}
}

func example(title, name, variables string) Tab {
	query, err := examples.ReadFile("examples/" + name + ".graphql")
	if err != nil {
		panic("playground: " + err.Error())
	}
	return Tab{Title: title, Query: strings.TrimSpace(string(query)), Variables: variables}
}
