package product_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
)

func sequence(drafts ...*product.Draft) iter.Seq2[*product.Draft, error] {
	return func(yield func(*product.Draft, error) bool) {
		for _, d := range drafts {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// all reads the whole catalogue.
func (c *catalogue) all(t testing.TB) []*product.Draft {
	t.Helper()
	var found []*product.Draft
	if err := c.Each(as(), func(d *product.Draft) error { found = append(found, d); return nil }); err != nil {
		t.Fatal(err)
	}
	return found
}

// dump is the whole catalogue as text, to compare.
func (c *catalogue) dump(t testing.TB) string {
	t.Helper()
	text, err := json.MarshalIndent(c.all(t), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (c *catalogue) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := postgres.Exec(as(), c.db, postgres.Stmt{Name: "test.exec", SQL: sql}, args...); err != nil {
		t.Fatal(err)
	}
}

func (c *catalogue) upsert(t testing.TB, want product.UpsertResult, drafts ...*product.Draft) {
	t.Helper()
	got, err := c.Upsert(as(), sequence(drafts...), false)
	if err != nil || got != want {
		t.Fatalf("upsert: %+v, not %+v; %v", got, want, err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	c := random(t, 0, 0)
	more := random(t, 2000, 8)
	for _, d := range more.drafts {
		d.CategoryID, d.Collections = &c.categories[4].ID, []uuid.UUID{c.collections[0].ID}
	}
	var progress []int
	if err := c.Load(as(), nil, nil, slices.Values(more.drafts), func(done int) { progress = append(progress, done) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(progress, []int{500, 1000, 1500, 2000}) {
		t.Errorf("progress %v", progress)
	}
	got := c.all(t)
	slices.SortFunc(more.drafts, func(a, b *product.Draft) int { return strings.Compare(a.Slug, b.Slug) })
	a, _ := json.Marshal(draftsOf(got))
	b, _ := json.Marshal(draftsOf(more.drafts))
	if string(a) != string(b) {
		t.Error("what was loaded is not what is there")
	}

	// A second load of the same fails, and leaves nothing of itself.
	before := c.dump(t)
	fresh := &product.Draft{Product: product.Product{Slug: "aaa", Title: "Fresh"}}
	clash := &product.Draft{Product: product.Product{Slug: more.drafts[0].Slug, Title: "Again"}}
	if err := c.Load(as(), nil, nil, slices.Values([]*product.Draft{fresh, clash}), nil); err == nil {
		t.Error("a slug was loaded twice")
	}
	if c.dump(t) != before {
		t.Error("a load that failed has written something")
	}
	if err := c.Load(as(), []product.Category{{Slug: "x", Name: "X", ParentID: new(id.New())}}, nil, slices.Values[[]*product.Draft](nil), nil); !fault.Is(err, fault.BadUserInput) {
		t.Errorf("a category below none: %v", err)
	}
	a1, a2 := id.New(), id.New()
	if err := c.Load(as(), []product.Category{{ID: a1, Slug: "x", Name: "X", ParentID: &a2}, {ID: a2, Slug: "y", Name: "Y", ParentID: &a1}}, nil,
		slices.Values[[]*product.Draft](nil), nil); !fault.Is(err, fault.BadUserInput) {
		t.Errorf("categories in a ring: %v", err)
	}
	below := []product.Category{{Slug: "below", Name: "Below", ParentID: &c.categories[5].ID}}
	if err := c.Load(as(), below, nil, slices.Values[[]*product.Draft](nil), nil); err != nil {
		t.Fatal(err)
	}
	if want := append(slices.Clone(c.categories[5].AncestorIDs), c.categories[5].ID); !slices.Equal(below[0].AncestorIDs, want) {
		t.Errorf("ancestors %v, not %v", below[0].AncestorIDs, want)
	}
}

// draftsOf brings drafts into the form that Each gives.
func draftsOf(drafts []*product.Draft) []product.Draft {
	copies := make([]product.Draft, len(drafts))
	for i, d := range drafts {
		copies[i] = *d
		d := &copies[i]
		d.CreatedAt, d.UpdatedAt = d.CreatedAt.UTC(), d.UpdatedAt.UTC()
		if d.PublishedAt != nil {
			d.PublishedAt = new(d.PublishedAt.UTC())
		}
		if len(d.Options) == 0 {
			d.Options = nil
		}
		d.Variants = slices.Clone(d.Variants)
		for j := range d.Variants {
			v := &d.Variants[j]
			if len(v.OptionChoices) == 0 {
				v.OptionNames, v.OptionChoices = nil, nil
			}
		}
	}
	return copies
}

func TestEachStopsAtAnError(t *testing.T) {
	t.Parallel()
	c := random(t, 20, 9)
	stop, n := errors.New("enough"), 0
	if err := c.Each(as(), func(*product.Draft) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

// What Each gives, Upsert finds unchanged, over several batches, and in a handful of statements for each.
func TestUpsertOfWhatIsThere(t *testing.T) {
	t.Parallel()
	c := random(t, 1200, 10)
	before := c.dump(t)
	ctx, rec := postgres.Record(as())
	got, err := c.Upsert(ctx, sequence(c.all(t)...), false)
	if err != nil || got != (product.UpsertResult{Unchanged: 1200}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if n := len(rec.Statements()); n != 3*5+2 {
		t.Errorf("%d statements: %v", n, rec.Statements())
	}
	if c.dump(t) != before {
		t.Error("an upsert of what is there has changed something")
	}

	// As from a file, where nothing has an ID: the same.
	drafts := c.all(t)
	for _, d := range drafts {
		d.ID, d.Collections, d.Metadata, d.PublishedAt = uuid.Nil, nil, nil, nil
		for i := range d.Variants {
			d.Variants[i].ID = uuid.Nil
		}
	}
	c.upsert(t, product.UpsertResult{Unchanged: 1200}, drafts...)

	for _, d := range drafts {
		d.Title += "!"
	}
	ctx, rec = postgres.Record(as())
	if got, err = c.Upsert(ctx, sequence(drafts...), true); err != nil || got != (product.UpsertResult{Updated: 1200}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if n := len(rec.Statements()); n > 3*6+3 {
		t.Errorf("%d statements: %v", n, rec.Statements())
	}
	if c.dump(t) != before {
		t.Error("a dry run has changed something")
	}
}

func TestUpsert(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	was := c.all(t)[0] // active
	draft := func() *product.Draft {
		return &product.Draft{
			Product: product.Product{
				Slug: "active", Title: "Shirt", Status: product.StatusActive, Vendor: new("Acme"), Tags: []string{"new"},
				CategoryID: &c.categories[2].ID, SEOTitle: new("Buy it"),
			},
			Options: []product.Option{{Name: "Colour"}, {Name: "Size", Values: []string{"S", "M", "L"}}},
			Media:   []product.Media{{URL: "https://cdn.test/1.jpg", Alt: new("front"), Width: new(800), Height: new(600)}, {URL: "/2.mp4", Kind: product.MediaVideo}},
			Variants: []product.VariantDraft{
				{Variant: product.Variant{SKU: new("active-1"), OptionChoices: []string{"Blue", "M"}, PriceMinor: 2500, CompareAtMinor: new(int64(3000)), WeightGrams: new(200)}, ImagePosition: 1},
				{Variant: product.Variant{SKU: new("active-2"), OptionChoices: []string{"Red", "L"}, PriceMinor: 1990, Barcode: new("4006381333931")}},
			},
		}
	}
	read := func() *product.Draft { t.Helper(); return c.all(t)[0] }

	c.upsert(t, product.UpsertResult{Unchanged: 1}, draft())

	// Stock alone: the product's own row stays as it is.
	d := draft()
	d.Variants[0].OnHand, d.Variants[1].OnHand = new(3), new(0)
	c.upsert(t, product.UpsertResult{Updated: 1}, d)
	got := read()
	if *got.Variants[0].OnHand != 3 || *got.Variants[1].OnHand != 0 || !got.UpdatedAt.Equal(was.UpdatedAt) {
		t.Errorf("after the count: %+v", got)
	}
	c.upsert(t, product.UpsertResult{Unchanged: 1}, d)

	// What is held for orders is not counted away.
	order := id.New()
	if err := c.Hold(as(), order, []product.HoldLine{{VariantID: got.Variants[0].ID, Quantity: 2}}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	d = draft()
	d.Variants[0].OnHand = new(1)
	c.upsert(t, product.UpsertResult{Updated: 1}, d)
	stock, err := c.Stock(as(), []uuid.UUID{got.Variants[0].ID})
	if err != nil || *stock[0] != (product.Stock{VariantID: got.Variants[0].ID, OnHand: 2, Held: 2}) {
		t.Errorf("stock %+v, %v", stock[0], err)
	}
	if err := c.Release(as(), order); err != nil {
		t.Fatal(err)
	}

	// Prices, order, pictures, SKUs that swap, a value that is renamed, a variant that goes and one that comes.
	d = draft()
	d.Title, d.Tags, d.Vendor = "Better Shirt", []string{"b", "a", "b"}, new("")
	d.Media = []product.Media{{URL: "/3.jpg"}, d.Media[0]}
	d.Variants = []product.VariantDraft{
		{Variant: product.Variant{SKU: new("active-1"), OptionChoices: []string{"Crimson", "L"}, PriceMinor: 9900}}, // by SKU: the one that was Blue, M
		{Variant: product.Variant{SKU: new("active-3"), OptionChoices: []string{"Red", "L"}, PriceMinor: 100}, ImagePosition: 1},
		{Variant: product.Variant{SKU: new("active-2"), OptionChoices: []string{"Blue", "S"}, PriceMinor: 200}, OnHand: new(7)},
	}
	c.upsert(t, product.UpsertResult{Updated: 1}, d)
	got = read()
	if got.ID != was.ID || !got.CreatedAt.Equal(was.CreatedAt) || !got.UpdatedAt.After(was.UpdatedAt) || !got.PublishedAt.Equal(*was.PublishedAt) ||
		got.Title != "Better Shirt" || got.Vendor != nil || !slices.Equal(got.Tags, []string{"b", "a"}) || got.Metadata["season"] != "summer" ||
		*got.PriceMin != 100 || *got.PriceMax != 9900 || len(got.Collections) != 2 {
		t.Errorf("product %+v", got.Product)
	}
	if len(got.Media) != 2 || got.Media[1].ID != was.Media[0].ID || got.Media[0].ID == was.Media[1].ID {
		t.Errorf("media %+v", got.Media)
	}
	v := got.Variants
	if len(v) != 3 || v[0].ID != was.Variants[0].ID || *v[0].OnHand != 2 || v[0].ImageID != nil || v[1].ID != was.Variants[1].ID ||
		*v[1].SKU != "active-3" || *v[1].ImageID != got.Media[0].ID || v[2].ID == was.Variants[1].ID || *v[2].OnHand != 7 {
		t.Errorf("variants %+v", v)
	}
	if !slices.Equal(got.Options[0].Values, []string{"Crimson", "Red", "Blue"}) {
		t.Errorf("options %+v", got.Options)
	}
	for pair, n := range map[string]int{"Crimson": 1, "Red": 1} {
		counts, err := c.Counts(as(), []product.Scope{{}}, product.Query{Text: "better", Filter: product.Filter{
			Options: []product.OptionFilter{{Name: "Colour", Values: []string{pair}}}}})
		if err != nil || counts[0] != n {
			t.Errorf("%s: %v, %v", pair, counts, err)
		}
	}

	// SKUs may move between products of one import; collections and variants go when the draft says so.
	d = draft()
	d.Variants, d.Options, d.Collections, d.Metadata = []product.VariantDraft{{Variant: product.Variant{SKU: new("new-1"), PriceMinor: 5}}}, nil, []uuid.UUID{c.collections[2].ID}, map[string]any{}
	fresh := draft()
	fresh.Slug, fresh.Collections = "fresh", []uuid.UUID{c.collections[2].ID}
	c.upsert(t, product.UpsertResult{Created: 1, Updated: 1}, fresh, d)
	got = read()
	if len(got.Variants) != 1 || len(got.Options) != 0 || !slices.Equal(got.Collections, d.Collections) || len(got.Metadata) != 0 {
		t.Errorf("after the removal: %+v", got)
	}
	made, err := c.BySlug(as(), "fresh")
	if err != nil || made.PublishedAt == nil || *made.PriceMin != 1990 {
		t.Errorf("made %+v, %v", made, err)
	}
	lists, err := c.Lists(as(), []product.Scope{{Collection: c.collections[2].ID}}, product.Query{}, page.Args{First: new(5)})
	if err != nil || len(lists[0].Edges) != 2 {
		t.Errorf("collection %+v, %v", lists, err)
	}
	var leftover int
	if leftover, _, err = postgres.First(as(), c.db, postgres.Stmt{
		Name:  "test.orphans",
		SQL:   "SELECT count(*) FROM products.stock s LEFT JOIN products.variants v ON v.id = s.variant_id WHERE v.id IS NULL",
		Reads: postgres.All("products.stock", "products.variants"),
	}, pgx.RowTo[int]); err != nil || leftover != 0 {
		t.Errorf("%d rows of stock are left over; %v", leftover, err)
	}
}

// Whatever fails, nothing is written, and the error says what it is about.
func TestUpsertRollsBack(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	before := c.dump(t)
	good := func() *product.Draft {
		return &product.Draft{Product: product.Product{Slug: "aaa", Title: "Good"},
			Options:  []product.Option{{Name: "Size"}},
			Variants: []product.VariantDraft{{Variant: product.Variant{SKU: new("good"), OptionChoices: []string{"S"}, PriceMinor: 1}}}}
	}
	for what, mend := range map[string]func(*product.Draft){
		"the slug has 0":             func(d *product.Draft) { d.Slug = "" },
		"the title has 256":          func(d *product.Draft) { d.Title = strings.Repeat("é", 256) },
		"is not a status":            func(d *product.Draft) { d.Status = "SOLD" },
		"a tag has 0":                func(d *product.Draft) { d.Tags = []string{""} },
		"the description has more":   func(d *product.Draft) { d.Description = strings.Repeat("x", 200_001) },
		"4 options":                  func(d *product.Draft) { d.Options = make([]product.Option, 4) },
		"two options are named":      func(d *product.Draft) { d.Options = []product.Option{{Name: "a"}, {Name: "a"}} },
		`option "Fit" has no values`: func(d *product.Draft) { d.Options, d.Variants = []product.Option{{Name: "Fit"}}, nil },
		"251 variants":               func(d *product.Draft) { d.Variants = make([]product.VariantDraft, 251) },
		"0 option values":            func(d *product.Draft) { d.Variants[0].OptionChoices = nil },
		"same option values":         func(d *product.Draft) { d.Variants = append(d.Variants, d.Variants[0]) },
		`have the SKU "good"`: func(d *product.Draft) {
			d.Variants = append(d.Variants, product.VariantDraft{Variant: product.Variant{SKU: new("good"), OptionChoices: []string{"M"}}})
		},
		"others in EUR": func(d *product.Draft) {
			d.Variants = append(d.Variants, product.VariantDraft{Variant: product.Variant{OptionChoices: []string{"M"}, Currency: "USD"}})
		},
		"negative price":  func(d *product.Draft) { d.Variants[0].PriceMinor = -1 },
		"negative weight": func(d *product.Draft) { d.Variants[0].WeightGrams = new(-1) },
		"negative stock":  func(d *product.Draft) { d.Variants[0].OnHand = new(-1) },
		"picture 1 of 0":  func(d *product.Draft) { d.Variants[0].ImagePosition = 1 },
		"not an http or":  func(d *product.Draft) { d.Media = []product.Media{{URL: "ftp://x"}} },
		"kind of media":   func(d *product.Draft) { d.Media = []product.Media{{URL: "/x", Kind: "SONG"}} },
		"the width":       func(d *product.Draft) { d.Media = []product.Media{{URL: "/x", Width: new(1)}} },
		"twice":           func(d *product.Draft) { d.Slug = "aaa" },
	} {
		d := good()
		d.Slug, d.Variants[0].SKU = "bbb", new("good")
		first := good()
		first.Variants[0].SKU = nil
		mend(d)
		_, err := c.Upsert(as(), sequence(first, d), false)
		var of *product.DraftError
		if !errors.As(err, &of) || of.Index != 1 || of.Slug != d.Slug || !strings.Contains(err.Error(), what) || !fault.Is(err, fault.BadUserInput) {
			t.Errorf("%s: %v", what, err)
		}
	}

	broken := errors.New("line 7 is no CSV")
	for what, test := range map[string]struct {
		drafts iter.Seq2[*product.Draft, error]
		is     func(error) bool
	}{
		"the sequence fails": {func(yield func(*product.Draft, error) bool) { _ = yield(good(), nil) && yield(nil, broken) },
			func(err error) bool { return errors.Is(err, broken) }},
		"a SKU that another product has": {sequence(func() *product.Draft { d := good(); d.Variants[0].SKU = new("draft-1"); return d }()),
			func(err error) bool {
				return fault.Is(err, fault.BadUserInput) && strings.Contains(err.Error(), "SKU draft-1 is in product aaa and SKU draft-1 is in product draft")
			}},
		"an unknown category": {sequence(func() *product.Draft { d := good(); d.CategoryID = new(id.New()); return d }()),
			func(err error) bool { return fault.Is(err, fault.BadUserInput) }},
		"an unknown collection": {sequence(func() *product.Draft { d := good(); d.Collections = []uuid.UUID{id.New()}; return d }()),
			func(err error) bool { return fault.Is(err, fault.BadUserInput) }},
		"NUL in a text": {sequence(func() *product.Draft { d := good(); d.Description = "a\x00"; return d }()),
			func(err error) bool { return fault.Is(err, fault.BadUserInput) }},
	} {
		if got, err := c.Upsert(as(), test.drafts, false); !test.is(err) || got != (product.UpsertResult{}) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}

	got, err := c.Upsert(as(), sequence(good()), true)
	if err != nil || got != (product.UpsertResult{Created: 1}) {
		t.Errorf("dry run: %+v, %v", got, err)
	}
	// One import at a time.
	_, err = c.Upsert(as(), func(yield func(*product.Draft, error) bool) {
		_, err := c.Upsert(as(), sequence(good()), false)
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("a second import at the same time: %v", err)
		}
		yield(nil, broken)
	}, false)
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	if after := c.dump(t); after != before {
		t.Errorf("something was written:\n%s, not\n%s", after, before)
	}
}

// Prices in a currency with other decimals, and of another currency than the shop's, are kept, and filtered exactly.
func TestCurrencies(t *testing.T) {
	t.Parallel()
	c := &catalogue{db: pgtest.New(t).Products}
	c.Service = product.New(c.db, "KWD")
	for i, price := range []int64{1999, 2000, 2001} {
		c.upsert(t, product.UpsertResult{Created: 1}, &product.Draft{
			Product:  product.Product{Slug: fmt.Sprint("p", i), Title: "X", Status: product.StatusActive},
			Variants: []product.VariantDraft{{Variant: product.Variant{PriceMinor: price}}}})
	}
	c.upsert(t, product.UpsertResult{Created: 1}, &product.Draft{
		Product:  product.Product{Slug: "yen", Title: "X", Status: product.StatusActive},
		Variants: []product.VariantDraft{{Variant: product.Variant{PriceMinor: 2000, Currency: "JPY"}}}})
	for _, test := range []struct {
		price money.Range
		want  int
	}{{*moneyRange(t, "2", "2.000"), 1}, {money.Range{Min: decimal(t, "1.9991")}, -1}, {money.Range{Min: decimal(t, "2")}, 2}, {money.Range{Max: decimal(t, "2")}, 2}, {money.Range{}, 3}} {
		counts, err := c.Counts(as(), []product.Scope{{}}, product.Query{Filter: product.Filter{Price: &test.price}})
		if test.want < 0 && fault.Is(err, fault.BadUserInput) {
			continue
		}
		if err != nil || counts[0] != test.want {
			t.Errorf("%+v: %v, %v", test.price, counts, err)
		}
	}
	facets, err := c.Facets(as(), []product.Scope{{}}, product.Query{})
	if err != nil || *facets[0].PriceRange != (product.PriceRange{Min: money.New(1999, "KWD"), Max: money.New(2001, "KWD")}) || facets[0].SoldOut != 4 {
		t.Errorf("%+v, %v", facets[0], err)
	}
}
