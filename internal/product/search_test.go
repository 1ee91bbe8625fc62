package product_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
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

func TestNoScopes(t *testing.T) {
	t.Parallel()
	c := random(t, 3, 3)
	ctx, rec := postgres.Record(as())
	lists, err1 := c.Lists(ctx, nil, product.Query{}, page.Args{First: new(1)})
	counts, err2 := c.Counts(ctx, nil, product.Query{})
	facets, err3 := c.Facets(ctx, nil, product.Query{})
	if lists != nil || counts != nil || facets != nil || cmp.Or(err1, err2, err3) != nil {
		t.Error(lists, counts, facets, err1, err2, err3)
	}
	if n := len(rec.Statements()); n != 0 {
		t.Errorf("%d statements for nothing", n)
	}
	facets, err := c.Facets(ctx, []product.Scope{{Category: id.New()}}, product.Query{})
	if err != nil || !reflect.DeepEqual(facets, []*product.Facets{{}}) {
		t.Errorf("facets of nothing are %+v, %v", facets, err)
	}
}

// What comes in front of a cursor, or goes, changes nothing behind it.
func TestCursorsAreStable(t *testing.T) {
	t.Parallel()
	for _, sort := range []*product.Sort{nil, {Field: product.SortPrice}, {Field: product.SortPrice, Direction: page.Descending}, {Field: product.SortTitle}} {
		t.Run(fmt.Sprint(sort), func(t *testing.T) {
			t.Parallel()
			c := random(t, 40, 5)
			q := product.Query{Sort: sort}
			before := c.walk(t, as(), product.Scope{}, q, 7, false)
			pages, err := c.Lists(as(), []product.Scope{{}}, q, page.Args{First: new(10)})
			if err != nil {
				t.Fatal(err)
			}
			newcomers := random(t, 30, 6).drafts
			for _, d := range newcomers {
				d.ID, d.CategoryID, d.Collections, d.Slug = uuid.Nil, nil, nil, "new-"+d.Slug
			}
			if err := c.Load(as(), nil, nil, slices.Values(newcomers), nil); err != nil {
				t.Fatal(err)
			}
			gone := before[4]
			if _, err := postgres.Exec(as(), c.db, postgres.Stmt{
				Name: "test.delete", SQL: "DELETE FROM products.products WHERE id = $1"}, gone); err != nil {
				t.Fatal(err)
			}
			rest, err := c.Lists(as(), []product.Scope{{}}, q, page.Args{First: new(100), After: pages[0].PageInfo.EndCursor()})
			if err != nil {
				t.Fatal(err)
			}
			known := slices.DeleteFunc(idsOf(rest[0]), func(key uuid.UUID) bool { return !slices.Contains(before, key) })
			if !slices.Equal(known, before[10:]) {
				t.Errorf("behind the cursor there is\n%v, not\n%v", known, before[10:])
			}
			back, err := c.Lists(as(), []product.Scope{{}}, q, page.Args{Last: new(100), Before: pages[0].PageInfo.EndCursor()})
			if err != nil {
				t.Fatal(err)
			}
			known = slices.DeleteFunc(idsOf(back[0]), func(key uuid.UUID) bool { return !slices.Contains(before, key) })
			if want := slices.Delete(slices.Clone(before[:9]), 4, 5); !slices.Equal(known, want) {
				t.Errorf("before the cursor there is\n%v, not\n%v", known, want)
			}
		})
	}
}

func TestBadQueries(t *testing.T) {
	t.Parallel()
	c := random(t, 3, 4)
	many := make([]string, 101)
	customer, staff := as(auth.RoleCustomer), as(auth.RoleSupport)
	first := page.Args{First: new(1)}
	other := page.Cursor("TITLE DESC", "x", id.New().String())
	for name, test := range map[string]struct {
		ctx   context.Context
		q     product.Query
		args  page.Args
		code  fault.Code
		field string
	}{
		"text too long":         {staff, product.Query{Text: strings.Repeat("é", 257)}, first, fault.BadUserInput, "query"},
		"vendors":               {staff, product.Query{Filter: product.Filter{Vendors: many}}, first, fault.BadUserInput, "filter.vendors"},
		"types":                 {staff, product.Query{Filter: product.Filter{Types: many}}, first, fault.BadUserInput, "filter.types"},
		"tags":                  {staff, product.Query{Filter: product.Filter{Tags: many}}, first, fault.BadUserInput, "filter.tags"},
		"statuses":              {staff, product.Query{Filter: product.Filter{Statuses: make([]product.Status, 101)}}, first, fault.BadUserInput, "filter.statuses"},
		"options":               {staff, product.Query{Filter: product.Filter{Options: make([]product.OptionFilter, 101)}}, first, fault.BadUserInput, "filter.options"},
		"option values":         {staff, product.Query{Filter: product.Filter{Options: []product.OptionFilter{{Values: many}}}}, first, fault.BadUserInput, "filter.options.values"},
		"category of a kind":    {staff, product.Query{Filter: product.Filter{CategoryID: new(id.Of(id.Product, id.New()))}}, first, fault.BadUserInput, "filter.categoryId"},
		"collection of a kind":  {staff, product.Query{Filter: product.Filter{CollectionID: new(id.Of(id.User, id.New()))}}, first, fault.BadUserInput, "filter.collectionId"},
		"half a cent":           {staff, product.Query{Filter: product.Filter{Price: moneyRange(t, "0.005", "1")}}, first, fault.BadUserInput, "filter.price"},
		"range upside down":     {staff, product.Query{Filter: product.Filter{Price: moneyRange(t, "2", "1")}}, first, fault.BadUserInput, "filter.price"},
		"sort":                  {staff, product.Query{Sort: &product.Sort{Field: "COLOUR"}}, first, fault.BadUserInput, "sort.field"},
		"no first":              {staff, product.Query{}, page.Args{}, fault.BadUserInput, "first"},
		"cursor of another":     {staff, product.Query{}, page.Args{First: new(1), After: &other}, fault.BadUserInput, "after"},
		"NUL":                   {staff, product.Query{Text: "a\x00b"}, first, fault.BadUserInput, ""},
		"drafts for customers":  {customer, product.Query{Filter: product.Filter{Statuses: []product.Status{"ACTIVE", "DRAFT"}}}, first, fault.Forbidden, ""},
		"archived for nobody":   {as(), product.Query{Filter: product.Filter{Statuses: []product.Status{"ARCHIVED"}}}, first, fault.Unauthenticated, ""},
		"drafts without viewer": {as(), product.Query{Filter: product.Filter{Statuses: []product.Status{"DRAFT"}}}, first, fault.Unauthenticated, ""},
	} {
		lists, err := c.Lists(test.ctx, []product.Scope{{}}, test.q, test.args)
		var f *fault.Error
		if lists != nil || !fault.Is(err, test.code) || !errors.As(err, &f) || strings.Join(f.Field, ".") != test.field {
			t.Errorf("%s: %v, %v, field %v", name, lists, err, f)
		}
	}
	if _, err := c.Suggest(staff, "x", 21); !fault.Is(err, fault.BadUserInput) {
		t.Error(err)
	}
}

// texts is a shop for searching.
func texts(t testing.TB) *catalogue {
	t.Helper()
	c := &catalogue{db: pgtest.New(t).Products}
	c.Service = product.New(c.db, "EUR")
	for i, p := range []product.Product{
		{Title: "Linen Shirt", Vendor: new("Nordwind"), Tags: []string{"summer"}},
		{Title: "Linen Shirt Dress with Long Sleeves"},
		{Title: "Trousers", Description: "Goes well with a linen shirt."},
		{Title: "Denim Jacket", Vendor: new("Acme Industries"), Type: new("Outerwear")},
		{Title: "Trail Running Sneakers"},
		{Title: "Blue T-Shirt"},
		{Title: "Über-Mütze"},
		{Title: "100% Wool_Scarf"},
		{Title: "The Who Poster"},
		{Title: "Linen Shirt Draft", Status: product.StatusDraft},
	} {
		p.ID, p.Slug, p.Status = id.New(), fmt.Sprint("p", i), cmp.Or(p.Status, product.StatusActive)
		c.drafts = append(c.drafts, &product.Draft{Product: p})
	}
	if err := c.Load(as(), nil, nil, slices.Values(c.drafts), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSearch(t *testing.T) {
	t.Parallel()
	c := texts(t)
	for _, test := range []struct {
		text string
		want string // titles, best first
	}{
		{"linen shirt", "Linen Shirt|Linen Shirt Dress with Long Sleeves|Trousers"},  // title before description, short before long
		{"Linen Shirts", "Linen Shirt|Linen Shirt Dress with Long Sleeves|Trousers"}, // in any form
		{"linen shi", "Linen Shirt|Linen Shirt Dress with Long Sleeves|Trousers"},    // as it is typed
		{"running", "Trail Running Sneakers"},
		{"run sneaker", "Trail Running Sneakers"},
		{"nordwind", "Linen Shirt"},
		{"summer", "Linen Shirt"},
		{"industries jackets", "Denim Jacket"}, // vendor and title, each in its form
		{"outerw", "Denim Jacket"},
		{`"shirt dress"`, "Linen Shirt Dress with Long Sleeves"},
		{`"dress shirt"`, ""},
		{"linen -dress -trousers", "Linen Shirt"},
		{"poster or sneakers", "Trail Running Sneakers|The Who Poster"},
		{"the who", "The Who Poster"},
		{"über", "Über-Mütze"},
		{"t-shirt", "Blue T-Shirt"},
		{"t-sh", "Blue T-Shirt"},
		{"100%", "100% Wool_Scarf"},
		// Slips of the fingers.
		{"jaket", "Denim Jacket"},
		{"jakcet", "Denim Jacket"},
		{"jackett", "Denim Jacket"},
		{"kacket", "Denim Jacket"},
		{"snekers", "Trail Running Sneakers"},
		{"trial sneekers", "Trail Running Sneakers"},
		{"linen drss", "Linen Shirt Dress with Long Sleeves"},
		{"tshirt blue", "Blue T-Shirt"},
		{"mutze", "Über-Mütze"},
		{"denim -jaket", "Denim Jacket"}, // nothing is guessed of what is not wanted, or is quoted
		{`"jaket"`, ""},
		// Nothing to find, and nothing to fail on.
		{"zzzzqqq", ""}, {"!!!", ""}, {"'", ""}, {`"`, ""}, {"-", ""}, {"& | ! ( ) : * < > \\", ""}, {"a:*", ""}, {"')--", ""}, {"👕", ""},
		{"%", ""}, {"_", ""}, {"or", ""}, {"-\"", ""}, {"\u0301", ""}, {strings.Repeat("ab ", 85), ""}, {strings.Repeat("x", 256), ""},
	} {
		lists, err := c.Lists(as(), []product.Scope{{}}, product.Query{Text: test.text}, page.Args{First: new(10)})
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		var titles []string
		for _, p := range lists[0].Nodes() {
			titles = append(titles, p.Title)
		}
		if got := strings.Join(titles, "|"); got != test.want && test.text != "-" && test.text != "or" {
			t.Errorf("%q finds %q, not %q", test.text, got, test.want)
		}
		counts, err := c.Counts(as(), []product.Scope{{}}, product.Query{Text: test.text})
		if err != nil || counts[0] != len(titles) {
			t.Errorf("%q: %v counted, %v", test.text, counts, err)
		}
		facets, err := c.Facets(as(), []product.Scope{{}}, product.Query{Text: test.text})
		if err != nil || facets[0].SoldOut != len(titles) {
			t.Errorf("%q: facets %+v, %v", test.text, facets, err)
		}
		if _, err := c.Suggest(as(), test.text, 5); err != nil {
			t.Errorf("suggest %q: %v", test.text, err)
		}
	}
	for _, backward := range []bool{false, true} {
		whole := c.walk(t, as(), product.Scope{}, product.Query{Text: "linen shirt"}, 1, backward)
		if want := draftIDs(c.drafts[:3]); !slices.Equal(whole, want) {
			t.Errorf("walked %v, not %v (backward %t)", whole, want, backward)
		}
	}
	if got := c.walk(t, as(), product.Scope{}, product.Query{Text: " \t "}, 5, false); len(got) != 9 {
		t.Errorf("white space finds %d", len(got))
	}
	if got := c.walk(t, as(auth.RoleManager), product.Scope{}, product.Query{Text: "linen"}, 5, false); len(got) != 4 {
		t.Errorf("staff finds %d", len(got))
	}
	byTitle := product.Query{Text: "linen", Sort: &product.Sort{Field: product.SortTitle, Direction: page.Descending}}
	if got, want := c.walk(t, as(), product.Scope{}, byTitle, 1, false), draftIDs([]*product.Draft{c.drafts[2], c.drafts[1], c.drafts[0]}); !slices.Equal(got, want) {
		t.Errorf("by title: %v, not %v", got, want)
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	c := texts(t)
	for _, test := range []struct {
		viewer context.Context
		prefix string
		first  int
		want   string
	}{
		{as(), "lin", 10, "Linen Shirt|Linen Shirt Dress with Long Sleeves"},
		{as(auth.RoleSupport), "lin", 10, "Linen Shirt|Linen Shirt Draft|Linen Shirt Dress with Long Sleeves"},
		{as(), "lin", 1, "Linen Shirt"},
		{as(), "shi", 10, "Linen Shirt|Blue T-Shirt|Linen Shirt Dress with Long Sleeves"},
		{as(), "linen dr", 10, "Linen Shirt Dress with Long Sleeves"},
		{as(), "T", 10, "Trousers|The Who Poster|Trail Running Sneakers|Blue T-Shirt"},
		{as(), "ÜB", 10, "Über-Mütze"},
		{as(), "100% wool_", 10, "100% Wool_Scarf"},
		{as(), "1_0", 10, ""},
		{as(), "%inen", 10, "Linen Shirt|Linen Shirt Dress with Long Sleeves"}, // as a slip, not as a pattern
		{as(), "denmi", 10, "Denim Jacket"},
		{as(), "", 10, ""},
		{as(), " ?! ", 10, ""},
	} {
		ctx, rec := postgres.Record(test.viewer)
		got, err := c.Suggest(ctx, test.prefix, test.first)
		var titles []string
		for _, s := range got {
			titles = append(titles, s.Text)
			if s.Product == nil || s.Product.Title != s.Text {
				t.Errorf("%q: %+v", test.prefix, s)
			}
		}
		if err != nil || strings.Join(titles, "|") != test.want || len(rec.Statements()) > 1 {
			t.Errorf("%q: %q, not %q; %v; %v", test.prefix, titles, test.want, err, rec.Statements())
		}
	}
}

func moneyRange(t testing.TB, from, to string) *money.Range {
	t.Helper()
	return &money.Range{Min: decimal(t, from), Max: decimal(t, to)}
}
