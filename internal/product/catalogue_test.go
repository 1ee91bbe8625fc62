package product_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
)

// catalogue is a shop with what a test put into it.
type catalogue struct {
	*product.Service
	db          *postgres.DB
	url         string // of the database, where a test needs it
	categories  []product.Category
	collections []product.Collection
	drafts      []*product.Draft
}

// as returns a context whose viewer has a role; without one nobody is signed in.
func as(roles ...auth.Role) context.Context {
	if len(roles) == 0 {
		return context.Background()
	}
	return auth.With(context.Background(), auth.Actor{ID: id.New(), Roles: auth.Roles(roles...)})
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(n int, r *rand.Rand) uuid.UUID {
	var entropy [16]byte
	for i := range entropy {
		entropy[i] = byte(r.UintN(256))
	}
	return id.At(epoch.Add(time.Duration(n)*time.Minute), entropy)
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func some[T any](r *rand.Rand, from ...T) []T {
	var found []T
	for _, v := range from {
		if r.IntN(3) == 0 {
			found = append(found, v)
		}
	}
	return found
}

// random fills a fresh catalogue with n products that are drawn from a seed, a fifth of them not on sale.
func random(t testing.TB, n int, seed uint64) *catalogue {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	c := &catalogue{db: pgtest.New(t).Products}
	c.Service = product.New(c.db, "EUR")
	for i := range 12 {
		category := product.Category{ID: at(i, r), Slug: fmt.Sprintf("category-%d", i), Name: fmt.Sprintf("Category %d", i)}
		if i >= 3 {
			category.ParentID = &c.categories[r.IntN(i)].ID
		}
		c.categories = append(c.categories, category)
	}
	var collectionIDs []uuid.UUID
	for i := range 4 {
		c.collections = append(c.collections, product.Collection{
			ID: at(i, r), Slug: fmt.Sprintf("collection-%d", i), Title: fmt.Sprintf("Collection %d", 9-i)})
		collectionIDs = append(collectionIDs, c.collections[i].ID)
	}
	for i := range n {
		d := &product.Draft{Product: product.Product{
			ID: at(i, r), Slug: fmt.Sprintf("product-%d", i), CreatedAt: epoch.Add(time.Duration(i) * time.Minute),
			Title: strings.Join([]string{
				pick(r, "Blue", "red", "Striped", "über", "Warm", "Light"),
				pick(r, "linen", "Cotton", "wool", "Denim"),
				pick(r, "Shirt", "jacket", "Trousers", "socks", "hat")}, " "),
			Description: strings.Repeat(pick(r, "Washes well. ", "Keeps you dry. ", "Made to be worn for years. "), 1+r.IntN(3)),
			Status:      pick(r, product.StatusActive, product.StatusActive, product.StatusActive, product.StatusActive, product.StatusDraft, product.StatusArchived),
			Tags:        some(r, "new", "sale", "organic", "vegan"),
		}}
		if r.IntN(5) > 0 {
			d.Vendor = new(pick(r, "Acme", "Müller & Söhne", "Nordwind", "acme"))
		}
		if r.IntN(5) > 0 {
			d.Type = new(pick(r, "Tops", "Bottoms", "Other"))
		}
		if r.IntN(6) > 0 {
			d.CategoryID = &c.categories[r.IntN(len(c.categories))].ID
		}
		d.Collections = some(r, collectionIDs...)
		currency := money.Currency("EUR")
		if r.IntN(15) == 0 {
			currency = "USD"
		}
		price := func() int64 { return int64(r.IntN(20)) * 500 }
		onHand := func() *int { return pick(r, nil, new(0), new(1+r.IntN(20))) }
		switch r.IntN(4) {
		case 0: // no variants
		case 1:
			d.Variants = []product.VariantDraft{{Variant: product.Variant{PriceMinor: price(), Currency: currency}, OnHand: onHand()}}
		default:
			d.Options = []product.Option{{Name: "Colour"}, {Name: "Size"}}
			for _, colour := range some(r, "Blue", "Red", "Green") {
				for _, size := range some(r, "S", "M", "L") {
					d.Variants = append(d.Variants, product.VariantDraft{Variant: product.Variant{
						OptionChoices: []string{colour, size}, PriceMinor: price(), Currency: currency}, OnHand: onHand()})
				}
			}
			if len(d.Variants) == 0 {
				d.Options = nil
			}
		}
		for i := range d.Variants {
			d.Variants[i].ID = id.New()
		}
		c.drafts = append(c.drafts, d)
	}
	if err := c.Load(as(), c.categories, c.collections, slices.Values(c.drafts), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// matches says in plain Go which products a query without text is about.
func (c *catalogue) matches(d *product.Draft, staff bool, scope product.Scope, f product.Filter) bool {
	within := func(category uuid.UUID) bool {
		return d.CategoryID != nil && slices.ContainsFunc(c.categories, func(k product.Category) bool {
			return k.ID == *d.CategoryID && (k.ID == category || slices.Contains(k.AncestorIDs, category))
		})
	}
	inStock := slices.ContainsFunc(d.Variants, func(v product.VariantDraft) bool { return v.OnHand != nil && *v.OnHand > 0 })
	inRange := func(v product.VariantDraft) bool {
		from, to, err := f.Price.Minor("EUR")
		return err == nil && v.Currency == "EUR" && (from == nil || v.PriceMinor >= *from) && (to == nil || v.PriceMinor <= *to)
	}
	return (staff || d.Status == product.StatusActive) &&
		(len(f.Statuses) == 0 || slices.Contains(f.Statuses, d.Status)) &&
		(scope.Category == uuid.Nil || within(scope.Category)) &&
		(scope.Collection == uuid.Nil || slices.Contains(d.Collections, scope.Collection)) &&
		(f.CategoryID == nil || within(f.CategoryID.Key)) &&
		(f.CollectionID == nil || slices.Contains(d.Collections, f.CollectionID.Key)) &&
		(len(f.Vendors) == 0 || d.Vendor != nil && slices.Contains(f.Vendors, *d.Vendor)) &&
		(len(f.Types) == 0 || d.Type != nil && slices.Contains(f.Types, *d.Type)) &&
		!slices.ContainsFunc(f.Tags, func(tag string) bool { return !slices.Contains(d.Tags, tag) }) &&
		!slices.ContainsFunc(f.Options, func(o product.OptionFilter) bool {
			return !slices.ContainsFunc(d.Variants, func(v product.VariantDraft) bool {
				return slices.ContainsFunc(v.OptionValues(), func(chosen product.OptionValue) bool {
					return chosen.Name == o.Name && slices.Contains(o.Values, chosen.Value)
				})
			})
		}) &&
		(f.InStock == nil || *f.InStock == inStock) &&
		(f.Price == nil || slices.ContainsFunc(d.Variants, inRange))
}

// list says in plain Go what a list without text is, in order.
func (c *catalogue) list(staff bool, scope product.Scope, q product.Query) []*product.Draft {
	var found []*product.Draft
	for _, d := range c.drafts {
		if c.matches(d, staff, scope, q.Filter) {
			found = append(found, d)
		}
	}
	by := product.Sort{Field: product.SortCreatedAt, Direction: page.Descending}
	if q.Sort != nil && q.Sort.Field != product.SortRelevance {
		by = *q.Sort
	}
	down := by.Direction == page.Descending
	slices.SortFunc(found, func(a, b *product.Draft) int {
		order := 0
		switch by.Field {
		case product.SortTitle:
			order = strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title))
		case product.SortPrice:
			switch {
			case a.PriceMin == nil && b.PriceMin == nil:
			case a.PriceMin == nil || b.PriceMin == nil: // last in either direction
				if (a.PriceMin == nil) != down {
					order = 1
				} else {
					order = -1
				}
			default:
				order = cmp.Compare(*a.PriceMin, *b.PriceMin)
			}
		}
		order = cmp.Or(order, strings.Compare(a.ID.String(), b.ID.String()))
		if down {
			return -order
		}
		return order
	})
	return found
}

// facets counts in plain Go.
func (c *catalogue) facets(list []*product.Draft) *product.Facets {
	f := &product.Facets{}
	counts := map[string]map[string]int{}
	count := func(facet, value string) {
		if counts[facet] == nil {
			counts[facet] = map[string]int{}
		}
		counts[facet][value]++
	}
	for _, d := range list {
		if d.CategoryID != nil {
			count("category", d.CategoryID.String())
		}
		if d.Vendor != nil {
			count("vendor", *d.Vendor)
		}
		if d.Type != nil {
			count("type", *d.Type)
		}
		for _, tag := range d.Tags {
			count("tag", tag)
		}
		seen := map[product.OptionValue]bool{}
		names := map[string]bool{}
		for _, v := range d.Variants {
			for _, o := range v.OptionValues() {
				if !seen[o] {
					seen[o] = true
					count("option "+o.Name, o.Value)
				}
				if !names[o.Name] {
					names[o.Name] = true
					count("option", o.Name)
				}
			}
		}
		if d.PriceMin != nil && *d.Currency == "EUR" {
			if f.PriceRange == nil {
				f.PriceRange = &product.PriceRange{Min: money.New(*d.PriceMin, "EUR"), Max: money.New(*d.PriceMax, "EUR")}
			}
			f.PriceRange.Min.Minor = min(f.PriceRange.Min.Minor, *d.PriceMin)
			f.PriceRange.Max.Minor = max(f.PriceRange.Max.Minor, *d.PriceMax)
		}
		if slices.ContainsFunc(d.Variants, func(v product.VariantDraft) bool { return v.OnHand != nil && *v.OnHand > 0 }) {
			f.InStock++
		} else {
			f.SoldOut++
		}
	}
	values := func(facet string) []product.FacetValue {
		var found []product.FacetValue
		for value, n := range counts[facet] {
			found = append(found, product.FacetValue{Value: value, Count: n})
		}
		slices.SortFunc(found, func(a, b product.FacetValue) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Value, b.Value))
		})
		return found[:min(len(found), 50)]
	}
	for _, v := range values("category") {
		f.Categories = append(f.Categories, product.CategoryFacet{CategoryID: uuid.MustParse(v.Value), Count: v.Count})
	}
	f.Vendors, f.Types, f.Tags = values("vendor"), values("type"), values("tag")
	for _, o := range values("option") {
		f.Options = append(f.Options, product.OptionFacet{Name: o.Value, Values: values("option " + o.Value)})
	}
	return f
}

func idsOf(c *product.Connection) []uuid.UUID {
	ids := make([]uuid.UUID, len(c.Edges))
	for i, e := range c.Edges {
		ids[i] = e.Node.ID
	}
	return ids
}

func draftIDs(drafts []*product.Draft) []uuid.UUID {
	ids := make([]uuid.UUID, len(drafts))
	for i, d := range drafts {
		ids[i] = d.ID
	}
	return ids
}

// walk reads a whole list page by page, forward or backward, and returns it in the order of the list.
func (c *catalogue) walk(t testing.TB, ctx context.Context, scope product.Scope, q product.Query, size int, backward bool) []uuid.UUID {
	t.Helper()
	var ids []uuid.UUID
	args := page.Args{First: &size}
	if backward {
		args = page.Args{Last: &size}
	}
	for range 1000 {
		pages, err := c.Lists(ctx, []product.Scope{scope}, q, args)
		if err != nil {
			t.Fatal(err)
		}
		got := pages[0]
		if backward {
			ids = append(idsOf(got), ids...)
			if !got.PageInfo.HasPreviousPage {
				return ids
			}
			args.Before = got.PageInfo.StartCursor()
		} else {
			ids = append(ids, idsOf(got)...)
			if !got.PageInfo.HasNextPage {
				return ids
			}
			args.After = got.PageInfo.EndCursor()
		}
	}
	t.Fatal("the list does not end")
	return nil
}
