// Package product is the service of the catalogue: products, variants, categories, collections and stock. It owns the
// Postgres schema "products". Shoppers see what is on sale; staff sees everything.
package product

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
)

// MaxVariants is the most variants that one product may have.
const MaxVariants = 250

// Status tells whether a product is on sale.
type Status string

const (
	StatusDraft    Status = "DRAFT"
	StatusActive   Status = "ACTIVE"
	StatusArchived Status = "ARCHIVED"
)

// Product is something the shop sells, in one or more variants.
type Product struct {
	ID              uuid.UUID
	Slug            string
	Title           string
	Description     string // plain text
	DescriptionHTML string // sanitised
	Vendor          *string
	Type            *string
	Tags            []string
	Status          Status
	CategoryID      *uuid.UUID
	SEOTitle        *string
	SEODescription  *string
	Metadata        map[string]any
	CreatedAt       time.Time
	UpdatedAt       time.Time
	PublishedAt     *time.Time
	PublishAt       *time.Time      // when a draft goes on sale; see PublishDue
	UnpublishAt     *time.Time      // when it goes off sale again
	Currency        *money.Currency // of the prices; null without variants
	PriceMin        *int64          // minor units
	PriceMax        *int64          // minor units
}

// GlobalID returns the ID in the graph.
func (p *Product) GlobalID() id.ID { return id.Of(id.Product, p.ID) }

// PriceRange returns the lowest and the highest price, or nil without variants.
func (p *Product) PriceRange() *PriceRange {
	if p.Currency == nil || p.PriceMin == nil || p.PriceMax == nil {
		return nil
	}
	return &PriceRange{Min: money.New(*p.PriceMin, *p.Currency), Max: money.New(*p.PriceMax, *p.Currency)}
}

// PublicMetadata returns the metadata that shoppers see: keys that begin with an underscore are the shop's own, such as
// what an import keeps of columns that have no place here, purchase prices among them.
func (p *Product) PublicMetadata() map[string]any {
	shown := make(map[string]any, len(p.Metadata))
	for key, value := range p.Metadata {
		if !strings.HasPrefix(key, "_") {
			shown[key] = value
		}
	}
	return shown
}

// Schedule returns when the product goes on sale, and off it.
func (p *Product) Schedule() *Schedule {
	return &Schedule{PublishAt: p.PublishAt, UnpublishAt: p.UnpublishAt}
}

// SEO returns what search engines are shown.
func (p *Product) SEO() SEO { return SEO{Title: p.SEOTitle, Description: p.SEODescription} }

// PriceRange is the lowest and the highest price.
type PriceRange struct{ Min, Max money.Money }

// Schedule is when a product goes on sale, and off it; nil where that is not planned.
type Schedule struct{ PublishAt, UnpublishAt *time.Time }

// SEO is what search engines are shown; the product's own texts stand in for what is null.
type SEO struct{ Title, Description *string }

// Option is something a buyer chooses, with its values in order.
type Option struct {
	ProductID uuid.UUID
	Position  int
	Name      string
	Values    []string
}

// MediaKind is the kind of a medium.
type MediaKind string

const (
	MediaImage MediaKind = "IMAGE"
	MediaVideo MediaKind = "VIDEO"
)

// Media is a picture or film of a product.
type Media struct {
	ID        uuid.UUID
	ProductID uuid.UUID
	Kind      MediaKind
	URL       string
	Alt       *string
	Position  int
	Width     *int // pixels
	Height    *int // pixels
}

// GlobalID returns the ID in the graph.
func (m *Media) GlobalID() id.ID { return id.Of(id.Media, m.ID) }

// Variant is a product as it can be bought.
type Variant struct {
	ID             uuid.UUID
	ProductID      uuid.UUID
	Position       int
	SKU            *string
	Barcode        *string
	OptionNames    []string // the product's options, read with the variant
	OptionChoices  []string // what was chosen, in the order of OptionNames
	Currency       money.Currency
	PriceMinor     int64
	CompareAtMinor *int64
	WeightGrams    *int
	ImageID        *uuid.UUID
}

// GlobalID returns the ID in the graph.
func (v *Variant) GlobalID() id.ID { return id.Of(id.Variant, v.ID) }

// Title returns the option values in one line, for example "Blue / M".
func (v *Variant) Title() string { return strings.Join(v.OptionChoices, " / ") }

// Price returns what the variant costs.
func (v *Variant) Price() money.Money { return money.New(v.PriceMinor, v.Currency) }

// CompareAtPrice returns what the variant cost before, or nil when it is not reduced.
func (v *Variant) CompareAtPrice() *money.Money {
	if v.CompareAtMinor == nil {
		return nil
	}
	m := money.New(*v.CompareAtMinor, v.Currency)
	return &m
}

// OptionValues returns the options with the values chosen.
func (v *Variant) OptionValues() []OptionValue {
	chosen := make([]OptionValue, 0, len(v.OptionChoices))
	for i, value := range v.OptionChoices {
		if i < len(v.OptionNames) {
			chosen = append(chosen, OptionValue{Name: v.OptionNames[i], Value: value})
		}
	}
	return chosen
}

// OptionValue is an option with the value chosen.
type OptionValue struct{ Name, Value string }

// Stock is the stock of a variant in full. Inventory and Availability are the two faces of it that the graph shows.
type Stock struct {
	VariantID uuid.UUID
	OnHand    int
	Held      int
}

// Available returns how many are free to be sold.
func (s *Stock) Available() int { return s.OnHand - s.Held }

// availabilityCap is the most that shoppers are told: competitors shall not read sales off the exact number.
const availabilityCap = 10

// Availability returns what shoppers are told.
func (s *Stock) Availability() Availability {
	free := max(s.Available(), 0)
	return Availability{InStock: free > 0, Quantity: min(free, availabilityCap)}
}

// Availability tells whether something can be had, as shoppers are told.
type Availability struct {
	InStock  bool
	Quantity int
}

// Category is a node of the category tree.
type Category struct {
	ID          uuid.UUID
	Slug        string
	Name        string
	Description *string
	ParentID    *uuid.UUID
	AncestorIDs []uuid.UUID // from the top down
	Position    int
}

// GlobalID returns the ID in the graph.
func (c *Category) GlobalID() id.ID { return id.Of(id.Category, c.ID) }

// Collection is a hand-picked set of products.
type Collection struct {
	ID          uuid.UUID
	Slug        string
	Title       string
	Description *string
}

// GlobalID returns the ID in the graph.
func (c *Collection) GlobalID() id.ID { return id.Of(id.Collection, c.ID) }

// Filter says which products; all that is given has to match.
type Filter struct {
	Price        *money.Range
	CategoryID   *id.ID
	CollectionID *id.ID
	Vendors      []string
	Types        []string
	Tags         []string
	Options      []OptionFilter
	InStock      *bool
	Statuses     []Status
}

// OptionFilter matches products with a variant that has one of the values of the option.
type OptionFilter struct {
	Name   string
	Values []string
}

// SortField is what products can be sorted by.
type SortField string

const (
	SortRelevance SortField = "RELEVANCE"
	SortCreatedAt SortField = "CREATED_AT"
	SortPrice     SortField = "PRICE"
	SortTitle     SortField = "TITLE"
	SortPosition  SortField = "POSITION" // in a collection
)

// Sort is the order of a list of products.
type Sort struct {
	Field     SortField
	Direction page.Direction
}

// Query is a search of the catalogue. Sort nil: by relevance with a Text, otherwise the newest first.
type Query struct {
	Text   string
	Filter Filter
	Sort   *Sort
}

// Scope narrows a list of products to a category with all below it, or to a collection. The zero Scope is the whole
// catalogue. Comparable.
type Scope struct {
	Category   uuid.UUID
	Collection uuid.UUID
}

// Edge is a product in a list.
type Edge = page.Edge[*Product]

// Connection is a page of products. It remembers what was asked, by which the total and the facets are computed when
// they are selected.
type Connection struct {
	page.Connection[*Product]
	Scope Scope
	Query Query
}

// CollectionEdge is a collection in a list.
type CollectionEdge = page.Edge[*Collection]

// CollectionConnection is a page of collections.
type CollectionConnection = page.Connection[*Collection]

// Facets are what matching products could be narrowed down by, with counts of products.
type Facets struct {
	Categories []CategoryFacet
	Vendors    []FacetValue
	Types      []FacetValue
	Tags       []FacetValue
	Options    []OptionFacet
	PriceRange *PriceRange
	InStock    int
	SoldOut    int
}

// FacetValue is a value with the number of products that have it.
type FacetValue struct {
	Value string
	Count int
}

// CategoryFacet is a category with the number of products that stand in it.
type CategoryFacet struct {
	CategoryID uuid.UUID
	Count      int
}

// OptionFacet is an option with its values.
type OptionFacet struct {
	Name   string
	Values []FacetValue
}

// Suggestion is a completion of what somebody has begun to type.
type Suggestion struct {
	Text    string
	Product *Product
}
