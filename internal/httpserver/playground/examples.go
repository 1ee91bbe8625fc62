package playground

import (
	"embed"
	"strings"
)

//go:embed examples/*.graphql
var examples embed.FS

// Examples are tabs for the shop's own schema: the catalogue for everyone, the account for customers and what they can
// change of it, a whole purchase, and orders, stock and the catalogue for staff. IDs are those of the demo shop, which are
// the same everywhere.
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
		example("Purchase 1: the cart", "purchase_cart", `{
  "variant": "BAGg07358Hauks6cYKBHHp0",
  "shippingMethod": "EgGY62YyAHDukQtJfLUf8CM",
  "address": { "name": "Ada Lindqvist", "line1": "Unter den Linden 77", "city": "Berlin", "postalCode": "10117", "country": "DE" }
}`),
		example("Purchase 2: the order", "purchase_order", `{ "expectedTotal": "104.90", "paymentMethod": "card_ok", "key": "first-purchase" }`),
		example("Purchase 3: its status", "purchase_status", ""),
		example("Purchase 4: what waits, for staff", "purchase_queue", ""),
		example("Purchase 5: sent and paid, for staff", "purchase_send", `{ "order": "the order's ID", "payment": "the payment's ID", "key": "first-capture" }`),
		example("Purchase 6: returned and refunded, for staff", "purchase_return", `{
  "order": "the order's ID", "line": "the line's ID", "payment": "the payment's ID", "key": "first-return", "refundKey": "first-refund"
}`),
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
