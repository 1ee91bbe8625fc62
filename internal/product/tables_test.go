package product_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
)

// TestRowsAreReadAsTheyCome runs the statement behind each verb in every way that pgx has: all give what was loaded, with
// no field left out, and as usual without pgx's way of reading rows.
func TestRowsAreReadAsTheyCome(t *testing.T) {
	t.Parallel()
	d := pgtest.New(t)
	of := pgtest.NewTables(t, d.URLs["products"])
	v := product.New(of.DB, "EUR")
	top := product.Category{ID: id.New(), Slug: "clothes", Name: "Clothes"}
	below := product.Category{ID: id.New(), Slug: "shirts", Name: "Shirts", Description: new("All shirts"), ParentID: &top.ID, AncestorIDs: []uuid.UUID{top.ID}, Position: 3}
	collection := product.Collection{ID: id.New(), Slug: "summer", Title: "Summer", Description: new("Warm")}
	made := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	shirt := &product.Draft{
		Product: product.Product{ID: id.New(), Slug: "shirt", Title: "Shirt", Description: "A shirt", DescriptionHTML: "<p>A shirt</p>", Vendor: new("Acme"),
			Type: new("Shirt"), Tags: []string{"new", "blue"}, Status: product.StatusActive, CategoryID: &below.ID, SEOTitle: new("Buy it"), SEODescription: new("Now"),
			Metadata: map[string]any{"season": "summer", "rank": 1.5}, CreatedAt: made, UpdatedAt: made, PublishedAt: &made, UnpublishAt: new(made.AddDate(0, 1, 0))},
		Options: []product.Option{{Name: "Colour", Values: []string{"Blue"}}},
		Media:   []product.Media{{Kind: product.MediaImage, URL: "https://cdn.test/1.jpg", Alt: new("front"), Width: new(800), Height: new(600)}},
		Variants: []product.VariantDraft{{Variant: product.Variant{SKU: new("s-1"), Barcode: new("4006381333931"), OptionChoices: []string{"Blue"}, PriceMinor: 2500,
			CompareAtMinor: new(int64(3000)), WeightGrams: new(200)}, OnHand: new(12), ImagePosition: 1}},
		Collections: []uuid.UUID{collection.ID},
	}
	if err := v.Load(as(), []product.Category{top, below}, []product.Collection{collection}, slices.Values([]*product.Draft{shirt}), nil); err != nil {
		t.Fatal(err)
	}
	// The draft was completed; the names of options are read from their own table.
	p, variant, option, picture := shirt.Product, shirt.Variants[0].Variant, shirt.Options[0], shirt.Media[0]
	variant.OptionNames = []string{"Colour"}
	if below.AncestorIDs[0] != top.ID {
		t.Fatal("the category has moved")
	}
	stock := product.StockOf{ProductID: p.ID, Stock: product.Stock{VariantID: variant.ID, OnHand: 12}}
	filled := p
	filled.PublishAt = &made // of drafts alone; see below
	for _, row := range []any{filled, variant, option, picture, below, collection} {
		pgtest.Filled(t, "what was loaded", row)
	}

	for who, ctx := range map[string]context.Context{"a shopper": as(), "staff": as(auth.RoleSupport)} {
		call := func(name string) string { return name + " by " + who }
		for _, one := range [][]uuid.UUID{{p.ID}, {p.ID, id.New()}} {
			pgtest.CheckRows(ctx, t, call("ByIDs"), of, product.Products, func() error { _, err := v.ByIDs(ctx, one); return err }, p)
			pgtest.CheckRows(ctx, t, call("VariantsOf"), of, product.Variants, func() error { _, err := v.VariantsOf(ctx, one); return err }, variant)
			pgtest.CheckRows(ctx, t, call("OptionsOf"), of, product.Options, func() error { _, err := v.OptionsOf(ctx, one); return err }, option)
			pgtest.CheckRows(ctx, t, call("MediaOf"), of, product.MediaTable, func() error { _, err := v.MediaOf(ctx, one); return err }, picture)
			pgtest.CheckRows(ctx, t, call("CollectionsOf"), of, product.Members, func() error { _, err := v.CollectionsOf(ctx, one); return err },
				product.Member{ProductID: p.ID, Collection: collection})
		}
		pgtest.CheckRows(ctx, t, call("BySlug"), of, product.Products, func() error { _, err := v.BySlug(ctx, "shirt"); return err }, p)
		pgtest.CheckRows(ctx, t, call("Variants"), of, product.Variants, func() error { _, err := v.Variants(ctx, []uuid.UUID{variant.ID}); return err }, variant)
		pgtest.CheckRows(ctx, t, call("VariantBySKU"), of, product.Variants, func() error { _, err := v.VariantBySKU(ctx, "s-1"); return err }, variant)
		pgtest.CheckRows(ctx, t, call("Media"), of, product.MediaTable, func() error { _, err := v.Media(ctx, []uuid.UUID{picture.ID}); return err }, picture)
		pgtest.CheckRows(ctx, t, call("Stock"), of, product.Stocks, func() error { _, err := v.Stock(ctx, []uuid.UUID{variant.ID}); return err }, stock)
		pgtest.CheckRows(ctx, t, call("Categories"), of, product.Categories, func() error { _, err := v.Categories(ctx, []uuid.UUID{below.ID}); return err }, below)
		pgtest.CheckRows(ctx, t, call("CategoryBySlug"), of, product.Categories, func() error { _, err := v.CategoryBySlug(ctx, "shirts"); return err }, below)
		pgtest.CheckRows(ctx, t, call("ChildrenOf"), of, product.Categories, func() error { _, err := v.ChildrenOf(ctx, []uuid.UUID{top.ID}); return err }, below)
		pgtest.CheckRows(ctx, t, call("CollectionsByIDs"), of, product.Collections, func() error {
			_, err := v.CollectionsByIDs(ctx, []uuid.UUID{collection.ID})
			return err
		}, collection)
		pgtest.CheckRows(ctx, t, call("CollectionBySlug"), of, product.Collections, func() error { _, err := v.CollectionBySlug(ctx, "summer"); return err }, collection)
		pgtest.CheckRows(ctx, t, call("Collections"), of, product.ListedCollections, func() error {
			_, err := v.Collections(ctx, page.Args{First: new(5)})
			return err
		}, product.ListedCollection{Key: "summer", Collection: collection})

		for _, c := range []struct {
			name   string
			scopes []product.Scope
			query  product.Query
			want   []product.ListedProduct
		}{
			{"all", []product.Scope{{}}, product.Query{}, []product.ListedProduct{{}}},
			{"one scope", []product.Scope{{Category: top.ID}}, product.Query{}, []product.ListedProduct{{}}},
			{"two scopes", []product.Scope{{Category: below.ID}, {Collection: collection.ID}}, product.Query{}, []product.ListedProduct{{Place: 1}, {N: 1, Place: 1}}},
			{"a search", []product.Scope{{}}, product.Query{Text: "shirt", Sort: &product.Sort{Field: product.SortTitle}}, []product.ListedProduct{{Key: "shirt"}}},
			{"by price", []product.Scope{{}}, product.Query{Sort: &product.Sort{Field: product.SortPrice, Direction: page.Ascending}}, []product.ListedProduct{{Key: "2500"}}},
			{"by title", []product.Scope{{}}, product.Query{Sort: &product.Sort{Field: product.SortTitle, Direction: page.Descending}}, []product.ListedProduct{{Key: "shirt"}}},
		} {
			for i := range c.want {
				c.want[i].Product = p
			}
			pgtest.CheckRows(ctx, t, call("Lists of "+c.name), of, product.Listed, func() error {
				_, err := v.Lists(ctx, c.scopes, c.query, page.Args{First: new(5)})
				return err
			}, c.want...)
		}
	}

	// One movement with an actor and a note, one of an order.
	manager, order := as(auth.RoleManager), id.New()
	if p, err := v.AdjustStock(manager, product.StockAdjustInput{VariantID: variant.GlobalID(), Delta: 3, Reason: product.StockReceived, Note: new("a parcel")}, "k"); err != nil || len(p.UserErrors) > 0 {
		t.Fatal(p, err)
	}
	if err := errors.Join(v.Hold(as(), order, hold(2, variant.ID), later), v.Sell(as(), order)); err != nil {
		t.Fatal(err)
	}
	pages, err := v.Movements(manager, []uuid.UUID{variant.ID}, page.Args{First: new(2)})
	if err != nil {
		t.Fatal(err)
	}
	sale, adjusted := *pages[variant.ID].Nodes()[0], *pages[variant.ID].Nodes()[1]
	if sale.Delta != -2 || *sale.OrderID != order || *adjusted.ActorID != auth.From(manager).ID || *adjusted.Note != "a parcel" || adjusted.CreatedAt.IsZero() {
		t.Errorf("movements %+v, %+v", sale, adjusted)
	}
	for _, variants := range [][]uuid.UUID{{variant.ID}, {variant.ID, id.New()}} {
		pgtest.CheckRows(manager, t, "Movements", of, product.Movements, func() error {
			_, err := v.Movements(manager, variants, page.Args{First: new(1)}) // and one more, which tells of the next page
			return err
		}, sale, adjusted)
	}
	pgtest.CheckRows(manager, t, "MovementsByKeys", of, product.Movements, func() error {
		_, err := v.MovementsByKeys(manager, []id.Key{sale.Key()})
		return err
	}, sale)

	price := product.VariantFields{Price: graphql.OmittableOf(decimal(t, "23.00")), CompareAtPrice: graphql.OmittableOf(decimal(t, "29.00"))}
	if p, err := v.UpdateVariant(manager, product.VariantUpdateInput{VariantID: variant.GlobalID(), VariantFields: price}); err != nil || p.UserErrors != nil {
		t.Fatal(p, err)
	}
	changes, err := v.PriceChanges(manager, []uuid.UUID{variant.ID}, page.Args{First: new(2)})
	if err != nil || len(changes[variant.ID].Nodes()) != 1 {
		t.Fatal(changes, err)
	}
	change := *changes[variant.ID].Nodes()[0]
	pgtest.Filled(t, "a change of prices", change)
	for _, variants := range [][]uuid.UUID{{variant.ID}, {variant.ID, id.New()}} {
		pgtest.CheckRows(manager, t, "PriceChanges", of, product.Prices, func() error {
			_, err := v.PriceChanges(manager, variants, page.Args{First: new(1)})
			return err
		}, change)
	}
	pgtest.CheckRows(manager, t, "PriceChangesByKeys", of, product.Prices, func() error {
		_, err := v.PriceChangesByKeys(manager, []id.Key{change.Key()})
		return err
	}, change)

	planned := &product.Draft{Product: product.Product{Slug: "planned", Title: "Planned", CreatedAt: made, PublishAt: new(made), UnpublishAt: new(made.AddDate(0, 1, 0))}}
	if err := v.Load(as(), nil, nil, slices.Values([]*product.Draft{planned}), nil); err != nil {
		t.Fatal(err)
	}
	staff := as(auth.RoleSupport)
	pgtest.CheckRows(staff, t, "ByIDs of a draft", of, product.Products, func() error { _, err := v.ByIDs(staff, []uuid.UUID{planned.ID}); return err }, planned.Product)
}
