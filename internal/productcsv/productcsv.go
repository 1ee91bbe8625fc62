// Package productcsv reads and writes products in the CSV format of Shopify, so that a shop can move in and out.
//
// A product is one or more rows that follow one another and have the same Handle. The first has what belongs to the
// product as a whole; it and the others have one variant, one picture, or one of each. Columns may come in any order.
// Handle, Title and Variant Price must be there.
//
// What has no place in the catalogue is kept under MetadataKey in the product's metadata, and written again: columns
// that Emporium has no use for, and those that are unknown. Only what differs from what Write writes by itself is kept.
// It may hold what shoppers must not see, such as "Cost per item".
//
// What the columns of Shopify can not express, such as the rest of the metadata, is written as JSON into ExtraColumn,
// which other programs ignore. So nothing of a product is lost on the way out and in again but its category and
// collections, which the format does not know, and its times. An empty text and none are the same to the format, and so
// are line ends of all kinds; a description takes the form that markup.Clean gives it.
//
// Spreadsheets run a cell as a formula that starts with =, +, - or @. Write puts an apostrophe before such a cell, and
// Read takes it away again, but only from files that have ExtraColumn: files of others are taken literally.
package productcsv

import (
	"fmt"
	"regexp"

	"emporium/internal/product"
)

const (
	// MetadataKey is where metadata keeps what has no place in the catalogue: an object with the objects "product" (by
	// column), "variants" and "images" (by position from "1", then by column).
	MetadataKey = "_shopify"

	// ExtraColumn is the column of Emporium's own.
	ExtraColumn = "Emporium / Extra"
)

// Bounds of what is read at a time. Those of a product are the catalogue's.
const (
	maxColumns = 500
	maxCell    = 1 << 20 // bytes
	maxRow     = 4 << 20 // bytes
	maxProduct = 8 << 20 // bytes of all its rows
)

// Error is what is wrong with a file, and where.
type Error struct {
	File   string
	Line   int    // of the file, from 1, on which the row starts
	Column string // as the header names it; empty when it is about the whole row
	Err    error  // what is wrong: a fault.BadUserInput, or why the file could not be read
}

// Error names the file, the line, the column and what is wrong.
func (e *Error) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("%s, line %d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("%s, line %d, column %q: %v", e.File, e.Line, e.Column, e.Err)
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// scope is what the cells of a column belong to.
type scope int

const (
	ofProduct scope = iota
	ofVariant
	ofImage
)

// column is a column of the format.
type column struct {
	name  string
	scope scope
	kept  bool   // in the metadata, because the catalogue has no place for it
	usual string // of a kept column, what need not be kept
	flag  bool   // of a kept column: true or false
}

// columns are those that Write writes, in Shopify's order.
var columns = []column{
	{name: "Handle"},
	{name: "Title"},
	{name: "Body (HTML)"},
	{name: "Vendor"},
	{name: "Product Category", kept: true},
	{name: "Type"},
	{name: "Tags"},
	{name: "Published"},
	{name: "Option1 Name"},
	{name: "Option1 Value", scope: ofVariant},
	{name: "Option2 Name"},
	{name: "Option2 Value", scope: ofVariant},
	{name: "Option3 Name"},
	{name: "Option3 Value", scope: ofVariant},
	{name: "Variant SKU", scope: ofVariant},
	{name: "Variant Grams", scope: ofVariant},
	{name: "Variant Inventory Tracker", scope: ofVariant, kept: true},
	{name: "Variant Inventory Qty", scope: ofVariant},
	{name: "Variant Inventory Policy", scope: ofVariant, kept: true, usual: "deny"},
	{name: "Variant Fulfillment Service", scope: ofVariant, kept: true, usual: "manual"},
	{name: "Variant Price", scope: ofVariant},
	{name: "Variant Compare At Price", scope: ofVariant},
	{name: "Variant Requires Shipping", scope: ofVariant, kept: true, usual: "true", flag: true},
	{name: "Variant Taxable", scope: ofVariant, kept: true, usual: "true", flag: true},
	{name: "Variant Barcode", scope: ofVariant},
	{name: "Image Src", scope: ofImage},
	{name: "Image Position", scope: ofImage},
	{name: "Image Alt Text", scope: ofImage},
	{name: "Gift Card", kept: true, usual: "false", flag: true},
	{name: "SEO Title"},
	{name: "SEO Description"},
	{name: "Google Shopping / Google Product Category", kept: true},
	{name: "Google Shopping / Gender", kept: true},
	{name: "Google Shopping / Age Group", kept: true},
	{name: "Google Shopping / MPN", kept: true},
	{name: "Google Shopping / AdWords Grouping", kept: true},
	{name: "Google Shopping / AdWords Labels", kept: true},
	{name: "Google Shopping / Condition", kept: true},
	{name: "Google Shopping / Custom Product", kept: true},
	{name: "Google Shopping / Custom Label 0", kept: true},
	{name: "Google Shopping / Custom Label 1", kept: true},
	{name: "Google Shopping / Custom Label 2", kept: true},
	{name: "Google Shopping / Custom Label 3", kept: true},
	{name: "Google Shopping / Custom Label 4", kept: true},
	{name: "Variant Image", scope: ofVariant},
	{name: "Variant Weight Unit", scope: ofVariant, kept: true, usual: "kg"},
	{name: "Variant Tax Code", scope: ofVariant, kept: true},
	{name: "Cost per item", scope: ofVariant, kept: true},
	{name: "Status"},
	{name: ExtraColumn},
}

// required are the columns without which a file is refused.
var required = []string{"Handle", "Title", "Variant Price"}

// A product without options is written with the one that Shopify gives it.
const (
	defaultOption = "Title"
	defaultValue  = "Default Title"
)

// statuses are the values of the column Status.
var statuses = map[string]product.Status{
	"active": product.StatusActive, "draft": product.StatusDraft, "archived": product.StatusArchived,
}

// extra is the JSON in ExtraColumn.
type extra struct {
	Metadata map[string]any      `json:"metadata,omitempty"` // but for what stands in columns
	Tags     []string            `json:"tags,omitempty"`     // when they can not be told from the column Tags
	Options  map[string][]string `json:"options,omitempty"`  // the values of those not in the order of the variants
	Media    map[string]medium   `json:"media,omitempty"`    // by URL
}

// medium is what the columns do not tell about a picture or film.
type medium struct {
	Kind   product.MediaKind `json:"kind,omitempty"` // empty for pictures
	Width  *int              `json:"width,omitempty"`
	Height *int              `json:"height,omitempty"`
}

// formula matches a cell that a spreadsheet may run, and one that Write has kept from it.
var formula = regexp.MustCompile(`^'*[=+\-@\t\n＝＋－＠]`)
