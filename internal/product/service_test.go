package product_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
)

// boutique has one product of each status, alike in everything, in a collection and in a category two levels deep.
func boutique(t testing.TB) *catalogue {
	t.Helper()
	c := &catalogue{db: pgtest.New(t).Products}
	c.Service = product.New(c.db, "EUR")
	c.categories = []product.Category{{ID: id.New(), Slug: "clothes", Name: "Clothes"}, {Slug: "home", Name: "Home", Position: 1}, {Slug: "shirts", Name: "Shirts"}}
	c.categories[2].ParentID = &c.categories[0].ID
	c.collections = []product.Collection{{ID: id.New(), Slug: "z", Title: "zebra"}, {ID: id.New(), Slug: "a", Title: "Apple"}, {ID: id.New(), Slug: "m", Title: "mango"}}
	c.categories[2].ID = id.New()
	for _, status := range []product.Status{product.StatusActive, product.StatusDraft, product.StatusArchived} {
		slug := strings.ToLower(string(status))
		c.drafts = append(c.drafts, &product.Draft{
			Product: product.Product{
				ID: id.New(), Slug: slug, Title: "Shirt", Status: status, Vendor: new("Acme"), Tags: []string{"new"},
				CategoryID: &c.categories[2].ID, SEOTitle: new("Buy it"), Metadata: map[string]any{"season": "summer", "rank": 1.5},
			},
			Options: []product.Option{{Name: "Colour"}, {Name: "Size", Values: []string{"S", "M", "L"}}},
			Media:   []product.Media{{URL: "https://cdn.test/1.jpg", Alt: new("front"), Width: new(800), Height: new(600)}, {URL: "/2.mp4", Kind: product.MediaVideo}},
			Variants: []product.VariantDraft{
				{Variant: product.Variant{SKU: new(slug + "-1"), OptionChoices: []string{"Blue", "M"}, PriceMinor: 2500, CompareAtMinor: new(int64(3000)), WeightGrams: new(200)}, OnHand: new(12), ImagePosition: 1},
				{Variant: product.Variant{SKU: new(slug + "-2"), OptionChoices: []string{"Red", "L"}, PriceMinor: 1990, Barcode: new("4006381333931")}},
			},
			Collections: []uuid.UUID{c.collections[0].ID, c.collections[1].ID},
		})
	}
	if err := c.Load(as(), c.categories, c.collections, slices.Values(c.drafts), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// Shoppers, signed in or not, see what is on sale, by whatever way they come; staff and machines see everything.
func TestVisibility(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	var products, variants, media []uuid.UUID
	for _, d := range c.drafts {
		products = append(products, d.ID)
		for i := range d.Variants {
			variants = append(variants, d.Variants[i].ID)
			media = append(media, d.Media[i].ID)
		}
	}
	for name, viewer := range map[string]struct {
		ctx  context.Context
		sees int // products
	}{
		"nobody":   {as(), 1},
		"customer": {as(auth.RoleCustomer), 1},
		"support":  {as(auth.RoleSupport), 3},
		"manager":  {as(auth.RoleManager), 3},
		"admin":    {as(auth.RoleAdmin, auth.RoleCustomer), 3},
		"service":  {as(auth.RoleService), 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, rec := postgres.Record(viewer.ctx)
			n := 0
			expect := func(what string, got int, err error, per int) {
				t.Helper()
				n++
				if err != nil || got != per*viewer.sees {
					t.Errorf("%s: %d, not %d; %v", what, got, per*viewer.sees, err)
				}
				if len(rec.Statements()) != n {
					t.Errorf("%s took %d statements", what, len(rec.Statements())-n+1)
				}
			}
			byIDs, err := c.ByIDs(ctx, products)
			expect("products", len(byIDs), err, 1)
			byID, err := c.Variants(ctx, variants)
			expect("variants by ID", len(byID), err, 2)
			of, err := c.VariantsOf(ctx, products)
			expect("variants of products", len(of), err, 2)
			options, err := c.OptionsOf(ctx, products)
			expect("options", len(options), err, 2)
			mediaOf, err := c.MediaOf(ctx, products)
			expect("media of products", len(mediaOf), err, 2)
			byKey, err := c.Media(ctx, media)
			expect("media by ID", len(byKey), err, 2)
			stock, err := c.Stock(ctx, variants)
			expect("stock", len(stock), err, 2)
			collections, err := c.CollectionsOf(ctx, products)
			expect("collections", len(collections), err, 1)
			lists, err := c.Lists(ctx, []product.Scope{{Collection: c.collections[0].ID}}, product.Query{}, page.Args{First: new(10)})
			expect("list", len(lists[0].Edges), err, 1)
			counts, err := c.Counts(ctx, []product.Scope{{Category: c.categories[0].ID}}, product.Query{})
			expect("count", counts[0], err, 1)
			facets, err := c.Facets(ctx, []product.Scope{{}}, product.Query{Text: "shirt"})
			expect("facets", facets[0].InStock, err, 1)
			suggestions, err := c.Suggest(ctx, "shi", 10)
			if n++; err != nil || len(suggestions) != 1 { // one title, whichever has it
				t.Errorf("suggestions %v, %v", suggestions, err)
			}
			for i, d := range c.drafts {
				p, err := c.BySlug(ctx, d.Slug)
				if err != nil || (p != nil) != (i < viewer.sees) {
					t.Errorf("%s by slug: %v, %v", d.Slug, p, err)
				}
				v, err := c.VariantBySKU(ctx, *d.Variants[0].SKU)
				if err != nil || (v != nil) != (i < viewer.sees) {
					t.Errorf("%s by SKU: %v, %v", d.Slug, v, err)
				}
			}
		})
	}
}

// What was written is read, whole and in order.
func TestReads(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	ctx := as()
	d := c.drafts[0]
	p, err := c.BySlug(ctx, "active")
	if err != nil {
		t.Fatal(err)
	}
	want := d.Product
	if !p.CreatedAt.Equal(want.CreatedAt) || !p.UpdatedAt.Equal(want.UpdatedAt) || !p.PublishedAt.Equal(*want.PublishedAt) {
		t.Errorf("times %v %v %v", p.CreatedAt, p.UpdatedAt, p.PublishedAt)
	}
	p.CreatedAt, p.UpdatedAt, p.PublishedAt = want.CreatedAt, want.UpdatedAt, want.PublishedAt
	if !reflect.DeepEqual(*p, want) || *p.PriceMin != 1990 || *p.PriceMax != 2500 || *p.Currency != "EUR" {
		t.Errorf("product\n%+v, not\n%+v", *p, want)
	}
	variants, err := c.VariantsOf(ctx, []uuid.UUID{d.ID})
	if err != nil || len(variants) != 2 || !reflect.DeepEqual(*variants[0], d.Variants[0].Variant) || !reflect.DeepEqual(*variants[1], d.Variants[1].Variant) {
		t.Errorf("variants %+v, %v", variants, err)
	}
	if v := variants[0]; v.Title() != "Blue / M" || !reflect.DeepEqual(v.OptionValues(), []product.OptionValue{{Name: "Colour", Value: "Blue"}, {Name: "Size", Value: "M"}}) || *v.ImageID != d.Media[0].ID {
		t.Errorf("variant %+v", v)
	}
	options, err := c.OptionsOf(ctx, []uuid.UUID{d.ID})
	if err != nil || !reflect.DeepEqual(options, []*product.Option{
		{ProductID: d.ID, Position: 1, Name: "Colour", Values: []string{"Blue", "Red"}},
		{ProductID: d.ID, Position: 2, Name: "Size", Values: []string{"S", "M", "L"}},
	}) {
		t.Errorf("options %+v, %v", options, err)
	}
	media, err := c.MediaOf(ctx, []uuid.UUID{d.ID})
	if err != nil || len(media) != 2 || !reflect.DeepEqual(*media[0], d.Media[0]) || !reflect.DeepEqual(*media[1], d.Media[1]) {
		t.Errorf("media %+v, %v", media, err)
	}
	if _, err := postgres.Exec(ctx, c.db, postgres.Stmt{Name: "test.delete", SQL: "DELETE FROM products.stock WHERE variant_id = $1"}, d.Variants[1].ID); err != nil {
		t.Fatal(err)
	}
	stock, err := c.Stock(ctx, []uuid.UUID{d.Variants[1].ID, d.Variants[0].ID, id.New()})
	slices.SortFunc(stock, func(a, b *product.Stock) int { return b.OnHand - a.OnHand })
	if err != nil || !reflect.DeepEqual(stock, []*product.Stock{{VariantID: d.Variants[0].ID, OnHand: 12}, {VariantID: d.Variants[1].ID}}) {
		t.Errorf("stock %+v, %v", stock, err)
	}

	shirts, err := c.CategoryBySlug(ctx, "shirts")
	if err != nil || !reflect.DeepEqual(*shirts, c.categories[2]) || !slices.Equal(shirts.AncestorIDs, []uuid.UUID{c.categories[0].ID}) {
		t.Errorf("category %+v, %v", shirts, err)
	}
	children, err := c.ChildrenOf(ctx, []uuid.UUID{c.categories[0].ID, uuid.Nil})
	var slugs []string
	for _, k := range children {
		slugs = append(slugs, k.Slug)
	}
	if err != nil || !slices.Equal(slugs, []string{"clothes", "home", "shirts"}) {
		t.Errorf("children %v, %v", slugs, err)
	}
	if children, err = c.ChildrenOf(ctx, []uuid.UUID{c.categories[0].ID}); err != nil || len(children) != 1 {
		t.Errorf("children of one: %v, %v", children, err)
	}
	byID, err := c.Categories(ctx, []uuid.UUID{c.categories[0].ID, id.New()})
	if err != nil || len(byID) != 1 || !reflect.DeepEqual(*byID[0], c.categories[0]) {
		t.Errorf("categories %v, %v", byID, err)
	}

	of, err := c.CollectionsOf(ctx, []uuid.UUID{d.ID, id.New()})
	if err != nil || !reflect.DeepEqual(of, map[uuid.UUID][]*product.Collection{d.ID: {&c.collections[1], &c.collections[0]}}) {
		t.Errorf("collections of the product %v, %v", of, err)
	}
	kept, err := c.CollectionsByIDs(ctx, []uuid.UUID{c.collections[2].ID, id.New()})
	if err != nil || len(kept) != 1 || *kept[0] != c.collections[2] {
		t.Errorf("collections by ID %v, %v", kept, err)
	}
	one, err := c.CollectionBySlug(ctx, "m")
	if err != nil || *one != c.collections[2] {
		t.Errorf("collection by slug %v, %v", one, err)
	}
	var titles []string
	for args := (page.Args{First: new(2)}); ; {
		got, err := c.Collections(ctx, args)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range got.Nodes() {
			titles = append(titles, k.Title)
		}
		if !got.PageInfo.HasNextPage {
			break
		}
		args.After = got.PageInfo.EndCursor()
	}
	if !slices.Equal(titles, []string{"Apple", "mango", "zebra"}) {
		t.Errorf("collections %v", titles)
	}
	last, err := c.Collections(ctx, page.Args{Last: new(1)})
	if err != nil || last.Edges[0].Node.Title != "zebra" || !last.PageInfo.HasPreviousPage {
		t.Errorf("last collection %+v, %v", last, err)
	}

	for what, missing := range map[string]func() (any, error){
		"product":    func() (any, error) { p, err := c.BySlug(ctx, "no"); return p == nil, err },
		"variant":    func() (any, error) { v, err := c.VariantBySKU(ctx, "no"); return v == nil, err },
		"category":   func() (any, error) { k, err := c.CategoryBySlug(ctx, "no"); return k == nil, err },
		"collection": func() (any, error) { k, err := c.CollectionBySlug(ctx, "no"); return k == nil, err },
	} {
		if none, err := missing(); none != true || err != nil {
			t.Errorf("%s that is not there: %v, %v", what, none, err)
		}
	}
	counted, rec := postgres.Record(ctx)
	_, err1 := c.ByIDs(counted, nil)
	_, err2 := c.VariantsOf(counted, nil)
	_, err3 := c.Stock(counted, nil)
	if fmt.Sprint(err1, err2, err3, rec.Statements()) != "<nil> <nil> <nil> []" {
		t.Error(err1, err2, err3, rec.Statements())
	}
}
