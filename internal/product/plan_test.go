package product_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"emporium/internal/auth"
	"emporium/internal/id"
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

func TestScratchTimes(t *testing.T) {
	if os.Getenv("SCRATCH") == "" {
		t.Skip()
	}
	n := 10000
	fmt.Sscan(os.Getenv("SCRATCH"), &n)
	var mu sync.Mutex
	plan := map[string]string{}
	on := false
	began := time.Now()
	c := big(t, n, func(ctx context.Context, s postgres.Stmt, args []any, run func(context.Context, string, ...any) (string, error)) {
		if !on {
			return
		}
		text, err := run(ctx, "EXPLAIN (ANALYZE, FORMAT JSON) "+s.SQL, args...)
		mu.Lock()
		plan["last"] = text
		mu.Unlock()
		_ = err
	})
	t.Logf("load: %v", time.Since(began))
	first := 24
	cat := func(i int) product.Scope { return product.Scope{Category: c.categories[i].ID} }
	var all []product.Scope
	for i := range 50 {
		all = append(all, cat(i))
	}
	sort := func(f product.SortField, d page.Direction) *product.Sort {
		return &product.Sort{Field: f, Direction: d}
	}
	whole := []product.Scope{{}}
	for _, q := range []struct {
		name   string
		scopes []product.Scope
		q      product.Query
	}{
		{"newest", whole, product.Query{}},
		{"price up", whole, product.Query{Sort: sort(product.SortPrice, "ASC")}},
		{"price down", whole, product.Query{Sort: sort(product.SortPrice, "DESC")}},
		{"title", whole, product.Query{Sort: sort(product.SortTitle, "ASC")}},
		{"category root", []product.Scope{cat(1)}, product.Query{}},
		{"category leaf", []product.Scope{cat(11)}, product.Query{}},
		{"category leaf price", []product.Scope{cat(11)}, product.Query{Sort: sort(product.SortPrice, "ASC")}},
		{"50 categories", all, product.Query{}},
		{"50 categories title", all, product.Query{Sort: sort(product.SortTitle, "ASC")}},
		{"collection", []product.Scope{{Collection: c.collections[1].ID}}, product.Query{}},
		{"price 50-60", whole, product.Query{Filter: product.Filter{Price: moneyRange(t, "50", "60")}}},
		{"in stock", whole, product.Query{Filter: product.Filter{InStock: new(true)}}},
		{"sold out", whole, product.Query{Filter: product.Filter{InStock: new(false)}}},
		{"option M", whole, product.Query{Filter: product.Filter{Options: []product.OptionFilter{{Name: "Size", Values: []string{"M"}}}}}},
		{"text shirt", whole, product.Query{Text: "shirt"}},
		{"text sh", whole, product.Query{Text: "sh"}},
		{"text s", whole, product.Query{Text: "s"}},
		{"text comfortable (all)", whole, product.Query{Text: "comfortable"}},
		{"text comfortable by price", whole, product.Query{Text: "comfortable", Sort: sort(product.SortPrice, "ASC")}},
		{"text shrit", whole, product.Query{Text: "shrit"}},
		{"text bakcpakc nothing", whole, product.Query{Text: "bakcpakc"}},
		{"text sneekers jakcet", whole, product.Query{Text: "blue sneekers"}},
		{"text 8 wrong words", whole, product.Query{Text: "xqqshirq yqjackqt zqqrouserz qsnqakers wbackkpcak qrscarff xnecklacce ylaamp"}},
		{"shirt in 50 categories", all, product.Query{Text: "shirt"}},
	} {
		for _, what := range []string{"list", "count", "facets"} {
			best := time.Hour
			for range 4 {
				began := time.Now()
				switch what {
				case "list":
					_, err := c.Lists(as(), q.scopes, q.q, page.Args{First: &first})
					if err != nil {
						t.Fatal(err)
					}
				case "count":
					got, err := c.Counts(as(), q.scopes, q.q)
					if err != nil {
						t.Fatal(err)
					}
					if best == time.Hour {
						t.Log(q.name, "matches", got[0])
					}
				case "facets":
					if _, err := c.Facets(as(), q.scopes, q.q); err != nil {
						t.Fatal(err)
					}
				}
				best = min(best, time.Since(began))
			}
			t.Logf("%-28s %-7s %8.2f ms", q.name, what, float64(best.Microseconds())/1000)
			if p := os.Getenv("PLAN"); p == q.name+" "+what {
				on = true
				switch what {
				case "list":
					_, _ = c.Lists(as(), q.scopes, q.q, page.Args{First: &first})
				case "count":
					_, _ = c.Counts(as(), q.scopes, q.q)
				case "facets":
					_, _ = c.Facets(as(), q.scopes, q.q)
				}
				on = false
				_ = os.WriteFile("/tmp/plan.json", []byte(plan["last"]), 0o600)
				return
			}
		}
	}
	for _, prefix := range []string{"s", "shi", "ba sh", "shrit", "xqzzy", "100%_"} {
		began := time.Now()
		got, err := c.Suggest(as(), prefix, 10)
		if err != nil {
			t.Fatal(err)
		}
		title := ""
		if len(got) > 0 {
			title = got[0].Text
		}
		t.Logf("suggest %-10q %d %q %v", prefix, len(got), title, time.Since(began))
	}
	began = time.Now()
	var all2 []*product.Draft
	if err := c.Each(as(), func(d *product.Draft) error { all2 = append(all2, d); return nil }); err != nil {
		t.Fatal(err)
	}
	t.Logf("each: %d in %v", len(all2), time.Since(began))
	began = time.Now()
	seq := func(yield func(*product.Draft, error) bool) {
		for _, d := range all2 {
			if !yield(d, nil) {
				return
			}
		}
	}
	res, err := c.Upsert(as(), seq, false)
	t.Logf("upsert unchanged: %+v %v %v", res, err, time.Since(began))
	for _, d := range all2 {
		d.Title += "!"
		d.Variants[0].PriceMinor++
	}
	began = time.Now()
	res, err = c.Upsert(as(), seq, false)
	t.Logf("upsert updated: %+v %v %v", res, err, time.Since(began))
	for _, d := range all2 {
		d.Slug += "x"
		d.ID = [16]byte{}
		for i := range d.Variants {
			d.Variants[i].ID = [16]byte{}
			d.Variants[i].SKU = nil
		}
		for i := range d.Media {
			d.Media[i].ID = [16]byte{}
		}
	}
	began = time.Now()
	res, err = c.Upsert(as(), seq, false)
	t.Logf("upsert created: %+v %v %v", res, err, time.Since(began))
}

var _ = auth.RoleAdmin
var _ = id.New
