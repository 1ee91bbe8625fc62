package product_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
)

func word(r *rand.Rand) string {
	var b strings.Builder
	for range 2 + r.IntN(3) {
		b.WriteByte("bcdfghklmnprstvw"[r.IntN(16)])
		b.WriteByte("aeiou"[r.IntN(5)])
	}
	return b.String()
}

// big is a catalogue of n products with prose, three variants each, in 60 categories on two levels.
func big(t testing.TB, n int, explain postgres.Explain) *catalogue {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 0))
	dbs := pgtest.New(t)
	db, err := postgres.Open(context.Background(), dbs.URLs["products"], postgres.Options{Explain: explain})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	c := &catalogue{db: db, Service: product.New(db, "EUR")}
	for i := range 60 {
		category := product.Category{ID: at(i, r), Slug: fmt.Sprintf("c-%d", i), Name: word(r)}
		if i >= 10 {
			category.ParentID = &c.categories[i%10].ID
		}
		c.categories = append(c.categories, category)
	}
	for i := range 20 {
		c.collections = append(c.collections, product.Collection{ID: at(i, r), Slug: fmt.Sprintf("k-%d", i), Title: word(r)})
	}
	words := make([]string, 3000)
	for i := range words {
		words[i] = word(r)
	}
	kinds := []string{"Shirt", "Jacket", "Trousers", "Sneakers", "Backpack", "Scarf", "Ring", "Necklace", "Lamp", "Chair"}
	prose := func(n int) string {
		text := make([]string, n)
		for i := range text {
			text[i] = words[min(r.IntN(3000), r.IntN(3000), r.IntN(3000))]
		}
		return strings.Join(text, " ")
	}
	drafts := func(yield func(*product.Draft) bool) {
		for i := range n {
			d := &product.Draft{
				Product: product.Product{
					ID: at(i, r), Slug: fmt.Sprintf("p-%d", i), Title: prose(2) + " " + pick(r, kinds...),
					Description: prose(80) + " comfortable", Status: product.StatusActive, Vendor: new(words[r.IntN(200)]), Type: new(pick(r, kinds...)),
					Tags: []string{words[r.IntN(50)], words[r.IntN(50)]}, CategoryID: &c.categories[r.IntN(60)].ID,
					CreatedAt: epoch.Add(time.Duration(i) * time.Minute),
				},
				Options: []product.Option{{Name: "Size"}},
				Media:   []product.Media{{URL: fmt.Sprintf("/media/%d.jpg", i)}},
			}
			if i%20 == 0 {
				d.Status = product.StatusDraft
			}
			if i%7 == 0 {
				d.Collections = append(d.Collections, c.collections[i/7%20].ID)
			}
			price := int64(r.IntN(20000))
			for _, size := range []string{"S", "M", "L"} {
				d.Variants = append(d.Variants, product.VariantDraft{Variant: product.Variant{
					OptionChoices: []string{size}, PriceMinor: price, SKU: new(fmt.Sprintf("SKU-%d-%s", i, size))}, OnHand: new(r.IntN(4)), ImagePosition: 1})
				price += int64(r.IntN(500))
			}
			if !yield(d) {
				return
			}
		}
	}
	if err := c.Load(as(), c.categories, c.collections, drafts, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// Lists, searches and look-ups of a large catalogue go by an index that was made for them.
func TestPlansUseIndexes(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it loads 10,000 products")
	}
	t.Parallel()
	plan := ""
	c := big(t, 10_000, func(
		ctx context.Context, s postgres.Stmt, args []any, run func(context.Context, string, ...any) (string, error),
	) {
		if strings.HasPrefix(s.SQL, "SELECT") || strings.HasPrefix(s.SQL, "WITH") {
			var err error
			if plan, err = run(ctx, "EXPLAIN (FORMAT JSON) "+s.SQL, args...); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
	})
	first := 24
	leaf := []product.Scope{{Category: c.categories[11].ID}}
	list := func(scopes []product.Scope, q product.Query) func() error {
		return func() error {
			pages, err := c.Lists(as(), scopes, q, page.Args{First: &first})
			if err == nil && len(pages[0].Edges) == 0 {
				err = errors.New("the list is empty")
			}
			return err
		}
	}
	whole := []product.Scope{{}}
	for name, q := range map[string]struct {
		do      func() error
		indexes []string
	}{
		"newest":     {list(whole, product.Query{}), nil}, // by key, or by status and key
		"cheapest":   {list(whole, product.Query{Sort: &product.Sort{Field: product.SortPrice, Direction: page.Ascending}}), []string{"products_by_price_up"}},
		"dearest":    {list(whole, product.Query{Sort: &product.Sort{Field: product.SortPrice, Direction: page.Descending}}), []string{"products_by_price_down"}},
		"by title":   {list(whole, product.Query{Sort: &product.Sort{Field: product.SortTitle}}), []string{"products_by_title"}},
		"category":   {list(leaf, product.Query{}), nil}, // by category, or the newest until there are enough
		"collection": {list([]product.Scope{{Collection: c.collections[1].ID}}, product.Query{}), []string{"collection_products_pkey"}},
		"in a collection's order": {list([]product.Scope{{Collection: c.collections[1].ID}}, product.Query{Sort: &product.Sort{Field: product.SortPosition}}),
			[]string{"collection_products_by_position"}},
		"search":   {list(whole, product.Query{Text: "sneakers"}), []string{"products_by_search"}},
		"misspelt": {list(whole, product.Query{Text: "bakcpack"}), []string{"products_by_search", "products_by_trigram"}},
		"count":    {func() error { _, err := c.Counts(as(), leaf, product.Query{}); return err }, []string{"products_by_category"}},
		"suggest": {func() error { _, err := c.Suggest(as(), "ba", 10); return err },
			[]string{"products_by_title", "products_by_search", "products_by_trigram"}},
		"slug": {func() error { _, err := c.BySlug(as(), "p-1"); return err }, []string{"products_slug_key"}},
		"SKU":  {func() error { _, err := c.VariantBySKU(as(), "SKU-1-M"); return err }, []string{"variants_sku_key"}},
	} {
		if err := q.do(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(plan, `"Seq Scan"`) && regexp.MustCompile(`"Seq Scan",[^}]*"Relation Name": "(products|variants)"`).MatchString(plan) {
			t.Errorf("%s reads a whole table: %s", name, plan)
		}
		for _, index := range q.indexes {
			if !strings.Contains(plan, `"`+index+`"`) {
				t.Errorf("%s does not use %s: %s", name, index, plan)
			}
		}
	}
}
