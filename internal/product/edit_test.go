package product_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
)

// given is a field that is given.
func given[T any](v T) graphql.Omittable[T] { return graphql.OmittableOf(v) }

func text(s string) graphql.Omittable[*string] { return given(&s) }

func amount(t testing.TB, s string) graphql.Omittable[*money.Decimal] { return given(decimal(t, s)) }

// state is every row of the catalogue that editing writes, as text: what belongs to products without its times where they
// are another's to say, the search vector included. The place in a collection follows from when a product came into it.
func (c *catalogue) state(t testing.TB) string {
	t.Helper()
	rows, err := postgres.Select(as(), c.db, postgres.Stmt{Name: "test.state", Reads: postgres.All("products.products", "products.options",
		"products.media", "products.variants", "products.categories", "products.collections", "products.collection_products", "products.stock"), SQL: `
		SELECT concat(kind, ' ', r) FROM (
			SELECT 1 AS n, 'product' AS kind, to_jsonb(p)::text AS r, p.id::text AS k FROM products.products p
			UNION ALL SELECT 2, 'option', to_jsonb(o)::text, concat(product_id, position) FROM products.options o
			UNION ALL SELECT 3, 'medium', to_jsonb(m)::text, m.id::text FROM products.media m
			UNION ALL SELECT 4, 'variant', to_jsonb(v)::text, v.id::text FROM products.variants v
			UNION ALL SELECT 5, 'category', to_jsonb(c)::text, c.id::text FROM products.categories c
			UNION ALL SELECT 6, 'collection', to_jsonb(c)::text, c.id::text FROM products.collections c
			UNION ALL SELECT 7, 'member', concat(collection_id, ' ', product_id), '' FROM products.collection_products
			UNION ALL SELECT 8, 'stock', (to_jsonb(s) - 'changed_in')::text, variant_id::text FROM products.stock s) x ORDER BY n, k, r`},
		pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(rows, "\n")
}

// asImported wants the rows to be those that an import of the same catalogue into an empty database makes.
func (c *catalogue) asImported(t testing.TB) {
	t.Helper()
	categories, err := postgres.Select(as(), c.db, postgres.Stmt{Name: "test.categories", Reads: postgres.All("products.categories"),
		SQL: "SELECT id, slug, name, description, parent_id, '{}'::uuid[] AS ancestor_ids, position FROM products.categories"}, pgx.RowToStructByName[product.Category])
	if err != nil {
		t.Fatal(err)
	}
	collections, err := postgres.Select(as(), c.db, postgres.Stmt{Name: "test.collections", Reads: postgres.All("products.collections"),
		SQL: "SELECT id, slug, title, description FROM products.collections"}, pgx.RowToStructByName[product.Collection])
	if err != nil {
		t.Fatal(err)
	}
	fresh := &catalogue{db: pgtest.New(t).Products}
	fresh.Service = product.New(fresh.db, "EUR")
	if err := fresh.Load(as(), categories, collections, slices.Values(c.all(t)), nil); err != nil {
		t.Fatal(err)
	}
	is, want := strings.Split(c.state(t), "\n"), strings.Split(fresh.state(t), "\n")
	for i := range max(len(is), len(want)) {
		if i >= len(is) || i >= len(want) || is[i] != want[i] {
			t.Fatalf("a fresh import differs: %s\nwant %s", slices.Concat(is, make([]string, len(want)))[i], slices.Concat(want, make([]string, len(is)))[i])
		}
	}
	c.settled(t)
}

// problems returns problems in one line, without what is said to people: "INVALID title, TAKEN slug".
func problems(all []fault.Problem) string {
	parts := make([]string, len(all))
	for i, p := range all {
		parts[i] = strings.TrimSpace(string(p.Code) + " " + strings.Join(p.Field, "."))
	}
	return strings.Join(parts, ", ")
}

// wants compares the problems of a payload, and what was written for those that have some: nothing.
func (c *catalogue) wants(t testing.TB, what, want string, do func() ([]fault.Problem, error)) {
	t.Helper()
	before := c.state(t)
	got, err := do()
	if err != nil || problems(got) != want {
		t.Errorf("%s: %v, %v; want %q", what, got, err, want)
	}
	if wrote := c.state(t) != before; want != "" && wrote {
		t.Errorf("%s: it was refused, and something was written", what)
	}
}

func TestCreateProduct(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager := as(auth.RoleManager)
	p, err := c.CreateProduct(manager, product.ProductCreateInput{
		Title: " Wool Über-Hat ", DescriptionHTML: new("<p onclick=x>Warm &amp; <b>soft</b><script>x</script></p>"), Vendor: new("Acme"), Type: new(" "),
		Tags: []string{"new", " wool", "new"}, CategoryID: new(c.categories[2].GlobalID()), SEO: &product.SEOInput{Title: text("Hat")},
		Metadata: map[string]any{"a": 1.0}, Options: []product.OptionInput{{Name: "Size", Values: []string{"S", "M"}}},
		Media: []product.MediaInput{{URL: "/hat.jpg", Alt: new("a hat")}},
		Variants: []product.VariantInput{{OptionValues: []product.OptionValue{{Name: "Size", Value: "M"}}, Price: *decimal(t, "19.90"), SKU: new("hat-m")},
			{OptionValues: []product.OptionValue{{Name: "Size", Value: "L"}}, Price: *decimal(t, "21"), CompareAtPrice: decimal(t, "25.00"), WeightGrams: new(80)}},
	})
	if err != nil || p.UserErrors != nil {
		t.Fatal(p, err)
	}
	made := p.Product
	if made.Slug != "wool-über-hat" || made.Title != "Wool Über-Hat" || made.Description != "Warm & soft" || made.DescriptionHTML != "<p>Warm &amp; <b>soft</b></p>" ||
		made.Type != nil || !slices.Equal(made.Tags, []string{"new", "wool"}) || made.Status != product.StatusDraft || *made.PriceMin != 1990 || *made.PriceMax != 2100 ||
		made.PublishedAt != nil || *made.SEOTitle != "Hat" || made.SEODescription != nil {
		t.Errorf("made %+v", made)
	}
	c.asImported(t)
	if seen, err := c.BySlug(as(), made.Slug); seen != nil || err != nil {
		t.Errorf("a shopper sees the draft: %v, %v", seen, err)
	}
	if seen, err := c.BySlug(manager, made.Slug); err != nil || !reflect.DeepEqual(seen, made) {
		t.Errorf("staff sees\n%+v, %v, was told\n%+v", seen, err, made)
	}

	if p, err := c.CreateProduct(manager, product.ProductCreateInput{Title: "Bare"}); err != nil || p.UserErrors != nil || p.Product.Slug != "bare" || p.Product.Currency != nil {
		t.Errorf("bare: %+v, %v", p, err)
	}
	c.asImported(t)
	price := *decimal(t, "1")
	for name, r := range map[string]struct {
		want string
		in   product.ProductCreateInput
	}{
		"no title":         {"INVALID title", product.ProductCreateInput{Title: " ", Slug: new("x")}},
		"no slug":          {"INVALID slug", product.ProductCreateInput{Title: "!!!"}},
		"a slug taken":     {"TAKEN slug", product.ProductCreateInput{Title: "X", Slug: new("active")}},
		"a SKU taken":      {"TAKEN variants.0.sku", product.ProductCreateInput{Title: "X", Variants: []product.VariantInput{{Price: price, SKU: new("active-1")}}}},
		"no such category": {"INVALID categoryId", product.ProductCreateInput{Title: "X", CategoryID: new(id.Of(id.Category, id.New()))}},
		"no category":      {"INVALID categoryId", product.ProductCreateInput{Title: "X", CategoryID: new(c.drafts[0].GlobalID())}},
		"a long tag":       {"INVALID tags.1", product.ProductCreateInput{Title: "X", Tags: []string{"a", strings.Repeat("x", 256)}}},
		"two alike":        {"INVALID variants.1.optionValues", product.ProductCreateInput{Title: "X", Variants: []product.VariantInput{{Price: price}, {Price: price}}}},
		"values for none":  {"INVALID variants.0.optionValues", product.ProductCreateInput{Title: "X", Variants: []product.VariantInput{{Price: price, OptionValues: []product.OptionValue{{Name: "Size", Value: "M"}}}}}},
		"decimals":         {"INVALID variants.0.price", product.ProductCreateInput{Title: "X", Variants: []product.VariantInput{{Price: *decimal(t, "1.001")}}}},
		"a negative price": {"INVALID variants.0.price", product.ProductCreateInput{Title: "X", Variants: []product.VariantInput{{Price: *decimal(t, "-1")}}}},
		"another scheme":   {"INVALID media.0.url", product.ProductCreateInput{Title: "X", Media: []product.MediaInput{{URL: "ftp://x"}}}},
		"a password":       {"INVALID media.0.url", product.ProductCreateInput{Title: "X", Media: []product.MediaInput{{URL: "https://ada:b@x.example"}}}},
		"a long alt text":  {"INVALID media.0.alt", product.ProductCreateInput{Title: "X", Media: []product.MediaInput{{URL: "/x", Alt: new(strings.Repeat("x", 5001))}}}},
		"a slashed slug":   {"INVALID slug", product.ProductCreateInput{Title: "X", Slug: new("x/y")}},
		"a spaced slug":    {"INVALID slug", product.ProductCreateInput{Title: "X", Slug: new("x y")}},
		"many tags":        {"INVALID tags", product.ProductCreateInput{Title: "X", Tags: strings.Fields(fmt.Sprint(rand.Perm(251)))}},
		"a long value":     {"INVALID options.0.values.1", product.ProductCreateInput{Title: "X", Options: []product.OptionInput{{Name: "Size", Values: []string{"M", strings.Repeat("x", 256)}}}}},
		"a long SEO text":  {"INVALID seo.title", product.ProductCreateInput{Title: "X", SEO: &product.SEOInput{Title: text(strings.Repeat("x", 200_001))}}},
		"no values":        {"INVALID options.0.values", product.ProductCreateInput{Title: "X", Options: []product.OptionInput{{Name: "Size"}}}},
		"much metadata":    {"INVALID metadata", product.ProductCreateInput{Title: "X", Metadata: map[string]any{"a": strings.Repeat("x", 100_000)}}},
		"a long text":      {"INVALID descriptionHtml", product.ProductCreateInput{Title: "X", DescriptionHTML: new(strings.Repeat("x", 200_001))}},
	} {
		c.wants(t, name, r.want, func() ([]fault.Problem, error) {
			p, err := c.CreateProduct(manager, r.in)
			if err == nil && p.Product != nil {
				t.Errorf("%s: %+v", name, p.Product)
			}
			return p.UserErrors, err
		})
	}
	c.asImported(t)
}

// TestUpdateProduct changes one field after the other: the others stay.
func TestUpdateProduct(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager, key := as(auth.RoleManager), c.drafts[0].GlobalID()
	was, err := c.BySlug(manager, "active")
	if err != nil {
		t.Fatal(err)
	}
	for name, step := range map[string]struct {
		in   product.ProductUpdateInput
		want func(p *product.Product)
	}{
		"title":      {product.ProductUpdateInput{Title: text(" Coat ")}, func(p *product.Product) { p.Title = "Coat" }},
		"slug":       {product.ProductUpdateInput{Slug: text("coat")}, func(p *product.Product) { p.Slug = "coat" }},
		"html":       {product.ProductUpdateInput{DescriptionHTML: text("<p>A <em>coat</em>")}, func(p *product.Product) { p.Description, p.DescriptionHTML = "A coat", "<p>A <em>coat</em>" }},
		"vendor":     {product.ProductUpdateInput{Vendor: text("Weaver")}, func(p *product.Product) { p.Vendor = new("Weaver") }},
		"no vendor":  {product.ProductUpdateInput{Vendor: given[*string](nil)}, func(p *product.Product) { p.Vendor = nil }},
		"type":       {product.ProductUpdateInput{Type: text("Coat")}, func(p *product.Product) { p.Type = new("Coat") }},
		"tags":       {product.ProductUpdateInput{Tags: given([]string{"b", "a"})}, func(p *product.Product) { p.Tags = []string{"b", "a"} }},
		"no tags":    {product.ProductUpdateInput{Tags: given[[]string](nil)}, func(p *product.Product) { p.Tags = []string{} }},
		"category":   {product.ProductUpdateInput{CategoryID: given(new(c.categories[1].GlobalID()))}, func(p *product.Product) { p.CategoryID = &c.categories[1].ID }},
		"none":       {product.ProductUpdateInput{CategoryID: given[*id.ID](nil)}, func(p *product.Product) { p.CategoryID = nil }},
		"SEO text":   {product.ProductUpdateInput{SEO: given(&product.SEOInput{Description: text("Now")})}, func(p *product.Product) { p.SEODescription = new("Now") }},
		"SEO title":  {product.ProductUpdateInput{SEO: given(&product.SEOInput{Title: given[*string](nil)})}, func(p *product.Product) { p.SEOTitle = nil }},
		"no SEO":     {product.ProductUpdateInput{SEO: given[*product.SEOInput](nil)}, func(p *product.Product) { p.SEOTitle, p.SEODescription = nil, nil }},
		"metadata":   {product.ProductUpdateInput{Metadata: given(map[string]any{"x": "y"})}, func(p *product.Product) { p.Metadata = map[string]any{"x": "y"} }},
		"none of it": {product.ProductUpdateInput{Metadata: given[map[string]any](nil)}, func(p *product.Product) { p.Metadata = map[string]any{} }},
	} {
		step.in.ProductID = key
		want := *was
		step.want(&want)
		p, err := c.UpdateProduct(manager, step.in)
		if err != nil || p.UserErrors != nil {
			t.Fatal(name, p, err)
		}
		if same := reflect.DeepEqual(want, *was); p.Product.UpdatedAt.Equal(was.UpdatedAt) != same {
			t.Errorf("%s: updated at %v, before at %v", name, p.Product.UpdatedAt, was.UpdatedAt)
		}
		want.UpdatedAt = p.Product.UpdatedAt
		if seen, err := c.ByIDs(manager, []uuid.UUID{key.Key}); err != nil || !reflect.DeepEqual(*seen[0], want) || !reflect.DeepEqual(*p.Product, want) {
			t.Errorf("%s:\n%+v, told\n%+v, want\n%+v; %v", name, seen[0], p.Product, want, err)
		}
		was = p.Product
	}
	c.asImported(t)
	if found, err := c.Counts(as(), []product.Scope{{}}, product.Query{Text: "coat"}); err != nil || found[0] != 1 {
		t.Errorf("the search finds %v, %v", found, err)
	}

	before := c.state(t)
	if p, err := c.UpdateProduct(manager, product.ProductUpdateInput{ProductID: key}); err != nil || p.UserErrors != nil || c.state(t) != before {
		t.Errorf("a change of nothing: %+v, %v", p, err)
	}
	for name, r := range map[string]struct {
		want string
		in   product.ProductUpdateInput
	}{
		"no title":     {"INVALID title", product.ProductUpdateInput{Title: given[*string](nil)}},
		"an empty one": {"INVALID title", product.ProductUpdateInput{Title: text(" ")}},
		"no slug":      {"INVALID slug", product.ProductUpdateInput{Slug: given[*string](nil)}},
		"a slug taken": {"TAKEN slug", product.ProductUpdateInput{Slug: text("draft"), Title: text("New")}},
		"a bad slug":   {"INVALID slug", product.ProductUpdateInput{Slug: text("x\ty")}},
		"no category":  {"INVALID categoryId", product.ProductUpdateInput{CategoryID: given(new(id.Of(id.Category, id.New())))}},
	} {
		r.in.ProductID = key
		c.wants(t, name, r.want, func() ([]fault.Problem, error) { p, err := c.UpdateProduct(manager, r.in); return p.UserErrors, err })
	}
	for name, unknown := range map[string]id.ID{"an unknown product": id.Of(id.Product, id.New()), "a variant": id.Of(id.Variant, key.Key)} {
		if p, err := c.UpdateProduct(manager, product.ProductUpdateInput{ProductID: unknown, Title: text("X")}); !fault.Is(err, fault.NotFound) || p != nil {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// TestEditsAreForManagers lets everybody else try each kind of verb.
func TestEditsAreForManagers(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	before := c.state(t)
	p, v, k, l := c.drafts[0].GlobalID(), c.drafts[0].Variants[0].GlobalID(), c.categories[0].GlobalID(), c.collections[0].GlobalID()
	for who, r := range map[string]struct {
		ctx  context.Context
		code fault.Code
	}{
		"nobody": {as(), fault.Unauthenticated}, "a customer": {as(auth.RoleCustomer), fault.Forbidden},
		"support": {as(auth.RoleSupport), fault.Forbidden}, "a machine": {as(auth.RoleService), fault.Forbidden},
	} {
		for verb, do := range map[string]func() (any, error){
			"create": func() (any, error) { return c.CreateProduct(r.ctx, product.ProductCreateInput{Title: "X"}) },
			"update": func() (any, error) {
				return c.UpdateProduct(r.ctx, product.ProductUpdateInput{ProductID: p, Title: text("X")})
			},
			"archive":    func() (any, error) { return c.Archive(r.ctx, product.ProductTransitionInput{ProductID: p}) },
			"bulk":       func() (any, error) { return c.UpdateVariants(r.ctx, product.VariantsBulkUpdateInput{}) },
			"variant":    func() (any, error) { return c.DeleteVariant(r.ctx, product.VariantDeleteInput{VariantID: v}) },
			"category":   func() (any, error) { return c.DeleteCategory(r.ctx, product.CategoryDeleteInput{CategoryID: k}) },
			"collection": func() (any, error) { return c.DeleteCollection(r.ctx, product.CollectionDeleteInput{CollectionID: l}) },
		} {
			if got, err := do(); !fault.Is(err, r.code) || !reflect.ValueOf(got).IsNil() {
				t.Errorf("%s by %s: %v, %v", verb, who, got, err)
			}
		}
	}
	if c.state(t) != before {
		t.Error("something was written")
	}
}

// TestTransitions goes from each status by each verb.
func TestTransitions(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	admin := as(auth.RoleAdmin)
	verbs := map[string]func(context.Context, product.ProductTransitionInput) (*product.ProductPayload, error){
		"publish": c.Publish, "unpublish": c.Unpublish, "archive": c.Archive, "restore": c.Restore}
	for from, verb := range map[product.Status]map[string]product.Status{
		product.StatusDraft:    {"publish": "ACTIVE", "unpublish": "DRAFT", "archive": "ARCHIVED", "restore": "DRAFT"},
		product.StatusActive:   {"publish": "ACTIVE", "unpublish": "DRAFT", "archive": "ARCHIVED", "restore": ""},
		product.StatusArchived: {"publish": "", "unpublish": "", "archive": "ARCHIVED", "restore": "DRAFT"},
	} {
		for name, to := range verb {
			made, err := c.CreateProduct(admin, product.ProductCreateInput{Title: "X", Slug: new(string(from) + name)})
			if err != nil {
				t.Fatal(err)
			}
			key := product.ProductTransitionInput{ProductID: made.Product.GlobalID()}
			for _, way := range map[product.Status][]string{product.StatusActive: {"publish"}, product.StatusArchived: {"archive"}}[from] {
				if made, err = verbs[way](admin, key); err != nil {
					t.Fatal(err)
				}
			}
			p, err := verbs[name](admin, key)
			switch {
			case err != nil:
				t.Errorf("%s %s: %v", name, from, err)
			case to == "":
				if problems(p.UserErrors) != "WRONG_STATUS productId" || p.Product != nil {
					t.Errorf("%s %s: %+v", name, from, p)
				}
			case p.UserErrors != nil || p.Product.Status != to || p.Product.UpdatedAt.Equal(made.Product.UpdatedAt) != (from == to):
				t.Errorf("%s %s: %+v, updated at %v, before at %v", name, from, p, p.Product.UpdatedAt, made.Product.UpdatedAt)
			case (p.Product.PublishedAt != nil) != (from == product.StatusActive || to == product.StatusActive):
				t.Errorf("%s %s: published at %v", name, from, p.Product.PublishedAt)
			}
			if seen, err := c.ByIDs(as(), []uuid.UUID{key.ProductID.Key}); err != nil || (len(seen) == 1) != (to == product.StatusActive || to == "" && from == product.StatusActive) {
				t.Errorf("%s %s: a shopper sees %v, %v", name, from, seen, err)
			}
		}
	}
	c.asImported(t)
}

// TestSchedule plans, changes the plan, and lets it come true.
func TestSchedule(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager := as(auth.RoleManager)
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	on := func(p *product.Product, publish, unpublish *time.Time) (*product.ProductPayload, error) {
		return c.Schedule(manager, product.ProductScheduleInput{ProductID: p.GlobalID(), PublishAt: given(publish), UnpublishAt: given(unpublish)})
	}
	plan := func(p *product.Product) string {
		t.Helper()
		seen, err := c.ByIDs(manager, []uuid.UUID{p.ID})
		if err != nil {
			t.Fatal(err)
		}
		show := func(at *time.Time) string {
			if at == nil {
				return "-"
			}
			return fmt.Sprint(at.Sub(noon))
		}
		return fmt.Sprint(seen[0].Status, " ", show(seen[0].PublishAt), " ", show(seen[0].UnpublishAt))
	}
	want := func(p *product.Product, is string) {
		t.Helper()
		if got := plan(p); got != is {
			t.Errorf("%s is %s, want %s", p.Slug, got, is)
		}
	}
	hour := func(n int) *time.Time { return new(noon.Add(time.Duration(n) * time.Hour)) }
	active, draft, archived := &c.drafts[0].Product, &c.drafts[1].Product, &c.drafts[2].Product

	for name, r := range map[string]struct {
		want               string
		p                  *product.Product
		publish, unpublish *time.Time
	}{
		"on sale again":  {"WRONG_STATUS publishAt", active, hour(1), nil},
		"from archive":   {"WRONG_STATUS publishAt", archived, hour(1), nil},
		"off in archive": {"WRONG_STATUS unpublishAt", archived, nil, hour(1)},
		"off alone":      {"INVALID unpublishAt", draft, nil, hour(1)},
		"off before":     {"INVALID unpublishAt", draft, hour(2), hour(1)},
		"off at once":    {"INVALID unpublishAt", draft, hour(2), hour(2)},
	} {
		c.wants(t, name, r.want, func() ([]fault.Problem, error) { p, err := on(r.p, r.publish, r.unpublish); return p.UserErrors, err })
	}
	for _, step := range []struct {
		p                  *product.Product
		publish, unpublish *time.Time
		want               string
	}{
		{archived, nil, nil, "ARCHIVED - -"},
		{active, nil, hour(3), "ACTIVE - 3h0m0s"},
		{draft, hour(1), hour(2), "DRAFT 1h0m0s 2h0m0s"},
		{draft, nil, nil, "DRAFT - -"},
		{draft, hour(1), hour(2), "DRAFT 1h0m0s 2h0m0s"},
	} {
		if p, err := on(step.p, step.publish, step.unpublish); err != nil || p.UserErrors != nil {
			t.Fatal(step, p, err)
		}
		want(step.p, step.want)
	}
	// Without the one, the other has no meaning; what is absent stays.
	if p, err := c.Schedule(manager, product.ProductScheduleInput{ProductID: draft.GlobalID(), PublishAt: given(hour(-1))}); err != nil || p.UserErrors != nil {
		t.Fatal(p, err)
	}
	want(draft, "DRAFT -1h0m0s 2h0m0s")
	c.asImported(t)

	due := func(at *time.Time, n int) {
		t.Helper()
		if got, err := c.PublishDue(as(), *at, 10); err != nil || got != n {
			t.Errorf("due %d, want %d; %v", got, n, err)
		}
	}
	due(hour(-2), 0)
	due(hour(-1), 1)
	want(draft, "ACTIVE - 2h0m0s")
	due(hour(0), 0)
	due(hour(3), 2)
	want(draft, "DRAFT - -")
	want(active, "DRAFT - -")
	// Both at once: it was never on sale.
	missed, err := c.CreateProduct(manager, product.ProductCreateInput{Title: "Missed"})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := on(missed.Product, hour(1), hour(2)); err != nil || p.UserErrors != nil {
		t.Fatal(p, err)
	}
	due(hour(2), 1)
	want(missed.Product, "DRAFT - -")
	if seen, _ := c.BySlug(manager, "missed"); seen.PublishedAt != nil {
		t.Errorf("published at %v", seen.PublishedAt)
	}
	// An import that makes it a thing of the past forgets the plan, another one keeps it.
	if p, err := on(draft, hour(9), nil); err != nil || p.UserErrors != nil {
		t.Fatal(p, err)
	}
	d := c.all(t)[slices.IndexFunc(c.all(t), func(d *product.Draft) bool { return d.Slug == "draft" })]
	d.PublishAt, d.Title = nil, "Imported"
	c.upsert(t, product.UpsertResult{Updated: 1}, d)
	want(draft, "DRAFT 9h0m0s -")
	d.Status = product.StatusActive
	c.upsert(t, product.UpsertResult{Updated: 1}, d)
	want(draft, "ACTIVE - -")
	c.asImported(t)
}

// TestPublishDueAtOnce lets several jobs publish the same, while staff edits: each is published once, and no edit is lost.
func TestPublishDueAtOnce(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager := as(auth.RoleManager)
	var keys []id.ID
	for i := range 40 {
		p, err := c.CreateProduct(manager, product.ProductCreateInput{Title: fmt.Sprint("P", i)})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, p.Product.GlobalID())
		if p, err := c.Schedule(manager, product.ProductScheduleInput{ProductID: keys[i], PublishAt: given(new(epoch))}); err != nil || p.UserErrors != nil {
			t.Fatal(p, err)
		}
	}
	var published atomic.Int32
	race(6, func(n int) {
		if n > 3 {
			for _, key := range keys {
				if p, err := c.UpdateProduct(manager, product.ProductUpdateInput{ProductID: key, Vendor: text("Vendor")}); err != nil || p.UserErrors != nil {
					t.Error(p, err)
				}
			}
			return
		}
		for range 30 {
			done, err := c.PublishDue(as(), time.Now(), 3)
			if err != nil {
				t.Error(err)
			}
			published.Add(int32(done))
		}
	})
	rest, err := c.PublishDue(as(), time.Now(), 100)
	if err != nil || int(published.Load())+rest != len(keys) {
		t.Errorf("%d and %d were published; %v", published.Load(), rest, err)
	}
	counts, err := c.Counts(as(), []product.Scope{{}}, product.Query{Filter: product.Filter{Vendors: []string{"Vendor"}}})
	if err != nil || counts[0] != len(keys) {
		t.Errorf("%v are on sale with their vendor, %v", counts, err)
	}
	c.asImported(t)
}

// TestEditsOfOneProduct lets many change different things of one product: nothing is lost.
func TestEditsOfOneProduct(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager, d := as(auth.RoleManager), c.drafts[0]
	ok := func(p any, err error) {
		t.Helper()
		if err != nil || !reflect.ValueOf(p).Elem().FieldByName("UserErrors").IsNil() {
			t.Error(p, err)
		}
	}
	for range 5 {
		edits := []func(){
			func() {
				ok(c.UpdateProduct(manager, product.ProductUpdateInput{ProductID: d.GlobalID(), Title: text("New title")}))
			},
			func() {
				ok(c.UpdateProduct(manager, product.ProductUpdateInput{ProductID: d.GlobalID(), Vendor: text("New vendor")}))
			},
			func() {
				ok(c.UpdateVariant(manager, product.VariantUpdateInput{VariantID: d.Variants[0].GlobalID(), VariantFields: product.VariantFields{Price: amount(t, "99")}}))
			},
			func() {
				ok(c.UpdateVariant(manager, product.VariantUpdateInput{VariantID: d.Variants[1].GlobalID(), VariantFields: product.VariantFields{Price: amount(t, "1")}}))
			},
			func() {
				ok(c.UpdateMedia(manager, product.MediaUpdateInput{MediaID: d.Media[0].GlobalID(), Alt: text("new")}))
			},
			func() {
				ok(c.AddToCollection(manager, product.CollectionProductsInput{CollectionID: c.collections[2].GlobalID(), ProductIDs: []id.ID{d.GlobalID()}}))
			},
		}
		race(len(edits), func(i int) { edits[i]() })
		got := c.all(t)[0]
		if got.Title != "New title" || *got.Vendor != "New vendor" || *got.PriceMin != 100 || *got.PriceMax != 9900 || *got.Media[0].Alt != "new" || len(got.Collections) != 3 {
			t.Fatalf("something is lost: %+v", got)
		}
		c.asImported(t)
		ok(c.UpdateProduct(manager, product.ProductUpdateInput{ProductID: d.GlobalID(), Title: text("Shirt"), Vendor: text("Acme")}))
		ok(c.RemoveFromCollection(manager, product.CollectionProductsInput{CollectionID: c.collections[2].GlobalID(), ProductIDs: []id.ID{d.GlobalID()}}))
	}
}

// TestEditsAndImports: neither comes in the middle of the other.
func TestEditsAndImports(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager, key := as(auth.RoleManager), c.drafts[0].GlobalID()
	before := c.all(t)
	_, err := c.Upsert(as(), func(yield func(*product.Draft, error) bool) {
		if p, err := c.UpdateProduct(manager, product.ProductUpdateInput{ProductID: key, Title: text("X")}); !fault.Is(err, fault.Conflict) || p != nil {
			t.Errorf("an edit during an import: %v, %v", p, err)
		}
		if n, err := c.PublishDue(as(), later, 10); n != 0 || err != nil {
			t.Errorf("published %d, %v", n, err)
		}
		yield(before[0], nil)
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	c.asImported(t)
	var edited atomic.Int32
	race(4, func(i int) {
		for n := range 10 {
			if i == 0 {
				d := *before[0]
				d.Vendor = new(fmt.Sprint("Import ", n))
				if _, err := c.Upsert(as(), sequence(&d), false); err != nil {
					t.Error(err)
				}
				continue
			}
			p, err := c.UpdateVariant(manager, product.VariantUpdateInput{VariantID: c.drafts[1].Variants[0].GlobalID(),
				VariantFields: product.VariantFields{WeightGrams: given(new(n))}})
			if err == nil && p.UserErrors == nil {
				edited.Add(1)
			} else if !fault.Is(err, fault.Conflict) {
				t.Error(p, err)
			}
		}
	})
	c.asImported(t)
}

// TestPriceHistory follows prices through every way in which they change.
func TestPriceHistory(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager := as(auth.RoleManager)
	actor, v := auth.From(manager).ID, c.drafts[0].Variants[0].ID
	history := func() []string {
		t.Helper()
		pages, err := c.PriceChanges(as(auth.RoleSupport), []uuid.UUID{v}, page.Args{Last: new(100)})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, p := range pages[v].Nodes() {
			by := "import"
			if p.ActorID != nil && *p.ActorID == actor {
				by = "manager"
			}
			show := func(m *money.Money) string {
				if m == nil {
					return "-"
				}
				return m.String()
			}
			all = append(all, fmt.Sprint(p.OldPrice(), "/", show(p.OldCompareAtPrice()), " ", p.NewPrice(), "/", show(p.NewCompareAtPrice()), " by ", by))
		}
		return all
	}
	update := func(f product.VariantFields) product.VariantUpdateInput {
		return product.VariantUpdateInput{VariantID: id.Of(id.Variant, v), VariantFields: f}
	}
	if p, err := c.UpdateVariant(manager, update(product.VariantFields{Price: amount(t, "20.00"), SKU: text("other")})); err != nil || p.UserErrors != nil {
		t.Fatal(p, err)
	}
	if p, err := c.UpdateVariant(manager, update(product.VariantFields{Barcode: text("123"), Price: amount(t, "20")})); err != nil || p.UserErrors != nil {
		t.Fatal(p, err)
	}
	if p, err := c.UpdateVariants(manager, product.VariantsBulkUpdateInput{Variants: []product.VariantUpdateInput{
		update(product.VariantFields{CompareAtPrice: given[*money.Decimal](nil)}), update(product.VariantFields{Price: amount(t, "-1")})}}); err != nil || p.UserErrors != nil {
		t.Fatal(p, err)
	}
	d := c.all(t)[0]
	for i := range d.Variants {
		d.Variants[i].Currency, d.Variants[i].PriceMinor = "USD", d.Variants[i].PriceMinor+1
	}
	if _, err := c.Upsert(as(), sequence(d), true); err != nil {
		t.Fatal(err)
	}
	c.upsert(t, product.UpsertResult{Updated: 1}, d)
	want := []string{"20.00 EUR/- 20.01 USD/- by import", "20.00 EUR/30.00 EUR 20.00 EUR/- by manager", "25.00 EUR/30.00 EUR 20.00 EUR/30.00 EUR by manager"}
	if got := history(); !slices.Equal(got, want) {
		t.Errorf("history %q, want %q", got, want)
	}
	// The history outlives the variant, and is the shop's own.
	pages, err := c.PriceChanges(as(auth.RoleCustomer), []uuid.UUID{v}, page.Args{First: new(5)})
	if err != nil || len(pages[v].Nodes()) != 0 {
		t.Errorf("a customer sees %v, %v", pages, err)
	}
	if p, err := c.DeleteVariant(manager, product.VariantDeleteInput{VariantID: id.Of(id.Variant, v)}); err != nil || p.UserErrors != nil {
		t.Fatal(p, err)
	}
	if got := history(); !slices.Equal(got, want) {
		t.Errorf("history %q, want %q", got, want)
	}
}

func TestMedia(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager, d := as(auth.RoleManager), c.drafts[0]
	added, err := c.AddMedia(manager, product.MediaAddInput{ProductID: d.GlobalID(), MediaInput: product.MediaInput{URL: "https://cdn.test/3.jpg", Alt: new(" back "), Width: new(8), Height: new(6)}})
	if err != nil || added.UserErrors != nil || added.Media.Position != 3 || *added.Media.Alt != "back" || added.Media.Kind != product.MediaImage || added.Product.ID != d.ID {
		t.Fatal(added, err)
	}
	c.asImported(t)
	updated, err := c.UpdateMedia(manager, product.MediaUpdateInput{MediaID: added.Media.GlobalID(), URL: text("/4.jpg"), Alt: given[*string](nil)})
	if err != nil || updated.UserErrors != nil || updated.Media.URL != "/4.jpg" || updated.Media.Alt != nil || updated.Media.Width != nil || updated.Media.ID != added.Media.ID {
		t.Fatal(updated, err)
	}
	order := []id.ID{added.Media.GlobalID(), d.Media[0].GlobalID(), d.Media[1].GlobalID()}
	if p, err := c.ReorderMedia(manager, product.MediaReorderInput{ProductID: d.GlobalID(), MediaIDs: order}); err != nil || p.UserErrors != nil {
		t.Fatal(p, err)
	}
	got := c.all(t)[0]
	if got.Media[0].ID != added.Media.ID || *got.Variants[0].ImageID != d.Media[0].ID || got.Variants[0].ImagePosition != 2 {
		t.Errorf("after the reorder: %+v", got)
	}
	c.asImported(t)
	for name, ids := range map[string][]id.ID{"one missing": order[:2], "one twice": {order[0], order[0], order[1]}, "another's": {order[0], order[1], c.drafts[1].Media[0].GlobalID()},
		"too many": append(slices.Clone(order), order[0]), "no medium": {order[0], order[1], id.Of(id.Variant, order[2].Key)}} {
		c.wants(t, name, "INVALID mediaIds", func() ([]fault.Problem, error) {
			p, err := c.ReorderMedia(manager, product.MediaReorderInput{ProductID: d.GlobalID(), MediaIDs: ids})
			return p.UserErrors, err
		})
	}
	for name, in := range map[string]product.MediaInput{"INVALID url": {URL: "javascript:x"}, "INVALID kind": {URL: "/x", Kind: "FILM"}, "INVALID width": {URL: "/x", Width: new(1)}} {
		c.wants(t, name, name, func() ([]fault.Problem, error) {
			p, err := c.AddMedia(manager, product.MediaAddInput{ProductID: d.GlobalID(), MediaInput: in})
			return p.UserErrors, err
		})
	}
	c.wants(t, "no address", "INVALID url", func() ([]fault.Problem, error) {
		p, err := c.UpdateMedia(manager, product.MediaUpdateInput{MediaID: order[0], URL: given[*string](nil)})
		return p.UserErrors, err
	})
	removed, err := c.RemoveMedia(manager, product.MediaRemoveInput{MediaID: d.Media[0].GlobalID()})
	if err != nil || removed.UserErrors != nil || *removed.RemovedMediaID != d.Media[0].GlobalID() {
		t.Fatal(removed, err)
	}
	if got := c.all(t)[0]; len(got.Media) != 2 || got.Media[1].Position != 2 || got.Variants[0].ImageID != nil {
		t.Errorf("after the removal: %+v", got)
	}
	c.asImported(t)
	if p, err := c.RemoveMedia(manager, product.MediaRemoveInput{MediaID: d.Media[0].GlobalID()}); !fault.Is(err, fault.NotFound) {
		t.Errorf("removed twice: %+v, %v", p, err)
	}
}

// TestCategories makes, moves and deletes.
func TestCategories(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager := as(auth.RoleManager)
	clothes, home, shirts := c.categories[0].GlobalID(), c.categories[1].GlobalID(), c.categories[2].GlobalID()
	made, err := c.CreateCategory(manager, product.CategoryCreateInput{Name: " Linen Shirts ", Description: new("Cool"), ParentID: &shirts})
	if err != nil || made.UserErrors != nil || made.Category.Slug != "linen-shirts" || made.Category.Position != 1 || !slices.Equal(made.Category.AncestorIDs, []uuid.UUID{clothes.Key, shirts.Key}) {
		t.Fatal(made, err)
	}
	c.asImported(t)
	linen := made.Category.GlobalID()
	updated, err := c.UpdateCategory(manager, product.CategoryUpdateInput{CategoryID: linen, Slug: text("linen"), Description: given[*string](nil)})
	if err != nil || updated.UserErrors != nil || updated.Category.Name != "Linen Shirts" || updated.Category.Slug != "linen" || updated.Category.Description != nil {
		t.Fatal(updated, err)
	}
	move := func(what, below *id.ID) ([]fault.Problem, error) {
		p, err := c.MoveCategory(manager, product.CategoryMoveInput{CategoryID: *what, ParentID: below})
		return p.UserErrors, err
	}
	for name, r := range map[string]struct{ what, below *id.ID }{"below itself": {&shirts, &shirts}, "below a child": {&clothes, &shirts}, "below a grandchild": {&clothes, &linen},
		"below none": {&linen, new(id.Of(id.Category, id.New()))}, "below a product": {&linen, new(c.drafts[0].GlobalID())}} {
		c.wants(t, name, "INVALID parentId", func() ([]fault.Problem, error) { return move(r.what, r.below) })
	}
	c.wants(t, "move", "", func() ([]fault.Problem, error) { return move(&shirts, &home) })
	found, err := c.Categories(manager, []uuid.UUID{linen.Key})
	if err != nil || !slices.Equal(found[0].AncestorIDs, []uuid.UUID{home.Key, shirts.Key}) {
		t.Errorf("%+v, %v", found[0], err)
	}
	counts, err := c.Counts(as(), []product.Scope{{Category: home.Key}, {Category: clothes.Key}}, product.Query{})
	if err != nil || !slices.Equal(counts, []int{1, 0}) {
		t.Errorf("products %v, %v", counts, err)
	}
	c.asImported(t)
	before := c.state(t)
	if p, err := move(&shirts, &home); err != nil || p != nil || c.state(t) != before {
		t.Errorf("where it is: %v, %v", p, err)
	}
	c.wants(t, "to the top", "", func() ([]fault.Problem, error) { return move(&linen, nil) })
	c.asImported(t)

	for name, ids := range map[string][]id.ID{"one missing": {home, clothes}, "one below": {home, clothes, shirts}} {
		c.wants(t, name, "INVALID categoryIds", func() ([]fault.Problem, error) {
			p, err := c.ReorderCategories(manager, product.CategoriesReorderInput{CategoryIDs: ids})
			return p.UserErrors, err
		})
	}
	sorted, err := c.ReorderCategories(manager, product.CategoriesReorderInput{CategoryIDs: []id.ID{linen, home, clothes}})
	top, err2 := c.ChildrenOf(as(), []uuid.UUID{uuid.Nil})
	if err != nil || err2 != nil || sorted.UserErrors != nil || !reflect.DeepEqual(sorted.Categories, top) || top[0].ID != linen.Key {
		t.Errorf("%v, %v; %v", sorted, err, top)
	}
	c.asImported(t)

	remove := func(what id.ID) ([]fault.Problem, error) {
		p, err := c.DeleteCategory(manager, product.CategoryDeleteInput{CategoryID: what})
		if err == nil && (p.UserErrors == nil) != (p.DeletedCategoryID != nil) {
			t.Errorf("deleted %v", p)
		}
		return p.UserErrors, err
	}
	c.wants(t, "with categories", "IN_USE categoryId", func() ([]fault.Problem, error) { return remove(home) })
	c.wants(t, "with products", "IN_USE categoryId", func() ([]fault.Problem, error) { return remove(shirts) })
	c.wants(t, "an empty one", "", func() ([]fault.Problem, error) { return remove(linen) })
	if p, err := c.DeleteCategory(manager, product.CategoryDeleteInput{CategoryID: linen}); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleted twice: %v, %v", p, err)
	}
	c.wants(t, "a slug taken", "TAKEN slug", func() ([]fault.Problem, error) {
		p, err := c.CreateCategory(manager, product.CategoryCreateInput{Name: "Home"})
		return p.UserErrors, err
	})
	c.wants(t, "no name", "INVALID name", func() ([]fault.Problem, error) {
		p, err := c.UpdateCategory(manager, product.CategoryUpdateInput{CategoryID: home, Name: text("")})
		return p.UserErrors, err
	})
	c.asImported(t)
}

// TestCategoryMovesAtOnce moves categories below each other from many sides: no ring, and every way up is right.
func TestCategoryMovesAtOnce(t *testing.T) {
	t.Parallel()
	c := &catalogue{db: pgtest.New(t).Products}
	c.Service = product.New(c.db, "EUR")
	manager := as(auth.RoleManager)
	keys := make([]id.ID, 6)
	for i := range keys {
		p, err := c.CreateCategory(manager, product.CategoryCreateInput{Name: fmt.Sprint("C", i)})
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = p.Category.GlobalID()
	}
	// Two opposing moves: one of them is refused.
	for range 10 {
		var refused atomic.Int32
		race(2, func(i int) {
			p, err := c.MoveCategory(manager, product.CategoryMoveInput{CategoryID: keys[i], ParentID: &keys[1-i]})
			if err != nil {
				t.Error(err)
			} else if p.UserErrors != nil {
				refused.Add(1)
			}
		})
		if refused.Load() != 1 {
			t.Fatalf("%d of two opposing moves were refused", refused.Load())
		}
		for i := range 2 {
			if _, err := c.MoveCategory(manager, product.CategoryMoveInput{CategoryID: keys[i]}); err != nil {
				t.Fatal(err)
			}
		}
	}
	race(6, func(i int) {
		r := rand.New(rand.NewPCG(uint64(i), 1))
		for range 25 {
			var below *id.ID
			if r.IntN(5) > 0 {
				below = &keys[r.IntN(len(keys))]
			}
			if _, err := c.MoveCategory(manager, product.CategoryMoveInput{CategoryID: keys[r.IntN(len(keys))], ParentID: below}); err != nil {
				t.Error(err)
			}
		}
	})
	c.asImported(t) // where the ways up are drawn from the parents, and a ring is refused
}

// TestCategoryGoesWhileProductsCome: either the category stays, or the product is not in it.
func TestCategoryGoesWhileProductsCome(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager := as(auth.RoleManager)
	for n := range 15 {
		made, err := c.CreateCategory(manager, product.CategoryCreateInput{Name: fmt.Sprint("C", n)})
		if err != nil {
			t.Fatal(err)
		}
		key := made.Category.GlobalID()
		var outcome [2]string
		race(2, func(i int) {
			var found []fault.Problem
			var err error
			if i == 0 {
				var p *product.CategoryDeletePayload
				if p, err = c.DeleteCategory(manager, product.CategoryDeleteInput{CategoryID: key}); err == nil {
					found = p.UserErrors
				}
			} else {
				var p *product.ProductPayload
				if p, err = c.UpdateProduct(manager, product.ProductUpdateInput{ProductID: c.drafts[0].GlobalID(), CategoryID: given(&key)}); err == nil {
					found = p.UserErrors
				}
			}
			if err != nil {
				t.Error(err)
			}
			outcome[i] = problems(found)
		})
		if outcome != [2]string{"IN_USE categoryId", ""} && outcome != [2]string{"", "INVALID categoryId"} {
			t.Errorf("outcome %q", outcome)
		}
	}
	c.asImported(t)
}

func TestCollections(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager := as(auth.RoleManager)
	made, err := c.CreateCollection(manager, product.CollectionCreateInput{Title: "Best of", Description: new(" ")})
	if err != nil || made.UserErrors != nil || made.Collection.Slug != "best-of" || made.Collection.Description != nil {
		t.Fatal(made, err)
	}
	key := made.Collection.GlobalID()
	updated, err := c.UpdateCollection(manager, product.CollectionUpdateInput{CollectionID: key, Description: text("Good")})
	if err != nil || updated.UserErrors != nil || updated.Collection.Title != "Best of" || *updated.Collection.Description != "Good" {
		t.Fatal(updated, err)
	}
	with := func(drafts ...int) product.CollectionProductsInput {
		in := product.CollectionProductsInput{CollectionID: key}
		for _, i := range drafts {
			in.ProductIDs = append(in.ProductIDs, c.drafts[i].GlobalID())
		}
		return in
	}
	members := func() string {
		t.Helper()
		order := ""
		by := product.Query{Sort: &product.Sort{Field: product.SortPosition, Direction: page.Ascending}}
		there, back := c.walk(t, manager, product.Scope{Collection: key.Key}, by, 1, false), c.walk(t, manager, product.Scope{Collection: key.Key}, by, 2, true)
		two, err := c.Lists(manager, []product.Scope{{Collection: c.collections[0].ID}, {Collection: key.Key}}, by, page.Args{First: new(10)})
		if err != nil || !slices.Equal(there, back) || !slices.Equal(idsOf(two[1]), there) {
			t.Errorf("the list is %v, backwards %v, beside another %v; %v", there, back, two, err)
		}
		for _, r := range there {
			order += fmt.Sprint(slices.IndexFunc(c.drafts, func(d *product.Draft) bool { return d.ID == r }))
		}
		return order
	}
	step := func(want string, p *product.CollectionPayload, err error) {
		t.Helper()
		if err != nil || p.UserErrors != nil || members() != want || p.Collection.ID != key.Key {
			t.Errorf("members %s, want %s; %+v, %v", members(), want, p, err)
		}
		c.asImported(t)
	}
	p, err := c.AddToCollection(manager, with(2, 0, 2))
	step("20", p, err)
	p, err = c.AddToCollection(manager, with(0, 1))
	step("201", p, err)
	p, err = c.ReorderCollection(manager, with(1, 2))
	step("120", p, err)
	p, err = c.ReorderCollection(manager, with(0))
	step("012", p, err)
	p, err = c.RemoveFromCollection(manager, with(1))
	step("02", p, err)
	p, err = c.RemoveFromCollection(manager, product.CollectionProductsInput{CollectionID: key, ProductIDs: []id.ID{id.Of(id.Product, id.New())}})
	step("02", p, err)

	unknown := product.CollectionProductsInput{CollectionID: key, ProductIDs: []id.ID{c.drafts[1].GlobalID(), id.Of(id.Product, id.New())}}
	for name, r := range map[string]struct {
		want string
		do   func() (*product.CollectionPayload, error)
	}{
		"an unknown product": {"INVALID productIds", func() (*product.CollectionPayload, error) { return c.AddToCollection(manager, unknown) }},
		"no products":        {"TOO_MANY productIds", func() (*product.CollectionPayload, error) { return c.AddToCollection(manager, with()) }},
		"one not in it":      {"INVALID productIds", func() (*product.CollectionPayload, error) { return c.ReorderCollection(manager, with(0, 1)) }},
		"a slug taken": {"TAKEN slug", func() (*product.CollectionPayload, error) {
			return c.UpdateCollection(manager, product.CollectionUpdateInput{CollectionID: key, Slug: text("a")})
		}},
	} {
		c.wants(t, name, r.want, func() ([]fault.Problem, error) { p, err := r.do(); return p.UserErrors, err })
	}
	if _, err := c.Lists(manager, []product.Scope{{}}, product.Query{Sort: &product.Sort{Field: product.SortPosition}}, page.Args{First: new(1)}); !fault.Is(err, fault.BadUserInput) {
		t.Errorf("a place in no collection: %v", err)
	}
	// Many add at once: each gets a place of its own.
	race(3, func(i int) {
		if p, err := c.AddToCollection(manager, product.CollectionProductsInput{CollectionID: c.collections[2].GlobalID(), ProductIDs: []id.ID{c.drafts[i].GlobalID()}}); err != nil || p.UserErrors != nil {
			t.Error(p, err)
		}
	})
	places, err := postgres.Select(as(), c.db, postgres.Stmt{Name: "test.places", Reads: postgres.All("products.collection_products"),
		SQL: "SELECT position FROM products.collection_products WHERE collection_id = $1 ORDER BY 1"}, pgx.RowTo[int], c.collections[2].ID)
	if err != nil || !slices.Equal(places, []int{1, 2, 3}) {
		t.Errorf("places %v, %v", places, err)
	}
	deleted, err := c.DeleteCollection(manager, product.CollectionDeleteInput{CollectionID: key})
	if err != nil || deleted.UserErrors != nil || *deleted.DeletedCollectionID != key || members() != "" {
		t.Errorf("%+v, %v", deleted, err)
	}
	if p, err := c.DeleteCollection(manager, product.CollectionDeleteInput{CollectionID: key}); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleted twice: %v, %v", p, err)
	}
	c.asImported(t)
}
