package product_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/product"
)

func decimal(t testing.TB, text string) *money.Decimal {
	t.Helper()
	d, err := money.ParseDecimal(text)
	if err != nil {
		t.Fatal(err)
	}
	return &d
}

func (c *catalogue) randomFilter(t testing.TB, r *rand.Rand, staff bool) product.Filter {
	var f product.Filter
	for range r.IntN(3) {
		switch r.IntN(9) {
		case 0:
			f.Price = &money.Range{}
			low := r.IntN(90)
			if r.IntN(3) > 0 {
				f.Price.Min = decimal(t, fmt.Sprint(low))
			}
			if r.IntN(3) > 0 {
				f.Price.Max = decimal(t, fmt.Sprint(low+r.IntN(12)))
			}
		case 1:
			f.CategoryID = new(id.Of(id.Category, pick(r, c.categories...).ID))
			if r.IntN(9) == 0 {
				f.CategoryID.Key = id.New()
			}
		case 2:
			f.CollectionID = new(id.Of(id.Collection, pick(r, c.collections...).ID))
		case 3:
			f.Vendors = some(r, "Acme", "acme", "Nordwind", "nobody")
		case 4:
			f.Types = some(r, "Tops", "Bottoms")
		case 5:
			f.Tags = some(r, "new", "sale", "vegan")
		case 6:
			f.Options = append(f.Options, product.OptionFilter{Name: pick(r, "Colour", "Size", "Fit"), Values: some(r, "Blue", "Red", "S", "M")})
			f.Options = slices.DeleteFunc(f.Options, func(o product.OptionFilter) bool { return len(o.Values) == 0 })
		case 7:
			f.InStock = new(r.IntN(2) == 0)
		case 8:
			f.Statuses = []product.Status{product.StatusActive}
			if staff {
				f.Statuses = some(r, product.StatusActive, product.StatusDraft, product.StatusArchived)
			}
		}
	}
	return f
}

// Every list, total and facet agrees with the same thing written down in plain Go, page by page from either end, for one
// scope as for many at once.
func TestListsAgreeWithModel(t *testing.T) {
	t.Parallel()
	c := random(t, 300, 1)
	scopes := []product.Scope{{}}
	for _, k := range c.categories {
		scopes = append(scopes, product.Scope{Category: k.ID})
	}
	for i, k := range c.collections {
		scopes = append(scopes, product.Scope{Collection: k.ID}, product.Scope{Category: c.categories[i].ID, Collection: k.ID})
	}
	scopes = append(scopes, product.Scope{Category: id.New()}, scopes[1]) // unknown, and one twice
	var sorts []*product.Sort
	for _, field := range []product.SortField{product.SortRelevance, product.SortCreatedAt, product.SortPrice, product.SortTitle} {
		sorts = append(sorts, &product.Sort{Field: field, Direction: page.Ascending}, &product.Sort{Field: field, Direction: page.Descending})
	}
	sorts = append(sorts, nil)

	r := rand.New(rand.NewPCG(2, 0))
	nonempty := 0
	for round := range 120 {
		staff := r.IntN(2) == 0
		viewer := as(pick(r, auth.RoleCustomer, auth.RoleCustomer))
		if staff {
			viewer = as(pick(r, auth.RoleSupport, auth.RoleManager, auth.RoleAdmin, auth.RoleService))
		}
		q := product.Query{Filter: c.randomFilter(t, r, staff), Sort: pick(r, sorts...)}
		label := fmt.Sprintf("round %d, staff %t, %+v, sort %+v", round, staff, q.Filter, q.Sort)

		// Batches are compared with the model, single lists with the model too.
		batch := some(r, scopes...)
		if round%10 == 0 {
			batch = scopes
		}
		if len(batch) == 0 {
			batch = scopes[:1]
		}
		size := 1 + r.IntN(40)
		args := page.Args{First: &size}
		if r.IntN(2) == 0 {
			args = page.Args{Last: &size}
		}
		ctx, rec := postgres.Record(viewer)
		pages, err := c.Lists(ctx, batch, q, args)
		if err != nil {
			t.Fatal(label, err)
		}
		counts, err := c.Counts(ctx, batch, q)
		if err != nil {
			t.Fatal(label, err)
		}
		facets, err := c.Facets(ctx, batch, q)
		if err != nil {
			t.Fatal(label, err)
		}
		if got := rec.Statements(); !slices.Equal(got, []string{"products.list", "products.count", "products.facets"}) {
			t.Fatalf("%s: statements %v", label, got)
		}
		for i, scope := range batch {
			want := c.list(staff, scope, q)
			if len(want) > 0 {
				nonempty++
			}
			onPage := want[:min(size, len(want))]
			if args.Last != nil {
				onPage = want[max(0, len(want)-size):]
			}
			if got := idsOf(pages[i]); !slices.Equal(got, draftIDs(onPage)) {
				t.Fatalf("%s, scope %+v: page is\n%v, want\n%v", label, scope, got, draftIDs(onPage))
			}
			info := pages[i].PageInfo
			if more := len(want) > size; info.HasNextPage != (more && args.First != nil) || info.HasPreviousPage != (more && args.Last != nil) {
				t.Fatalf("%s, scope %+v: page info %+v of %d", label, scope, info, len(want))
			}
			if pages[i].Scope != scope || !reflect.DeepEqual(pages[i].Query, q) {
				t.Fatalf("%s: the page forgot what was asked", label)
			}
			if counts[i] != len(want) {
				t.Fatalf("%s, scope %+v: %d counted, want %d", label, scope, counts[i], len(want))
			}
			if want := c.facets(want); !reflect.DeepEqual(facets[i], want) {
				t.Fatalf("%s, scope %+v: facets\n%+v, want\n%+v", label, scope, facets[i], want)
			}
		}
		if round%4 == 0 {
			scope := pick(r, batch...)
			want := draftIDs(c.list(staff, scope, q))
			for _, backward := range []bool{false, true} {
				if got := c.walk(t, viewer, scope, q, 1+r.IntN(20), backward); !slices.Equal(got, want) {
					t.Fatalf("%s, scope %+v, backward %t: walked\n%v, want\n%v", label, scope, backward, got, want)
				}
			}
		}
	}
	if nonempty < 300 {
		t.Errorf("only %d lists had something in them", nonempty)
	}
}

func TestNothingOfFacetsAndScopes(t *testing.T) {
	t.Parallel()
	c := random(t, 3, 3)
	ctx, rec := postgres.Record(context.Background())
	size := 1
	if got, err := c.Lists(ctx, nil, product.Query{}, page.Args{First: &size}); got != nil || err != nil {
		t.Error(got, err)
	}
	if got, err := c.Counts(ctx, nil, product.Query{}); got != nil || err != nil {
		t.Error(got, err)
	}
	if got, err := c.Facets(ctx, nil, product.Query{}); got != nil || err != nil {
		t.Error(got, err)
	}
	if n := len(rec.Statements()); n != 0 {
		t.Errorf("%d statements for nothing", n)
	}
	got, err := c.Facets(ctx, []product.Scope{{Category: uuid.New()}}, product.Query{})
	if err != nil || !reflect.DeepEqual(got, []*product.Facets{{}}) {
		t.Errorf("facets of nothing are %+v, %v", got, err)
	}
}

func moneyRange(t testing.TB, from, to string) *money.Range {
	t.Helper()
	return &money.Range{Min: decimal(t, from), Max: decimal(t, to)}
}
