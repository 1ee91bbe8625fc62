package productcsv_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/markup"
	"emporium/internal/money"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
	"emporium/internal/productcsv"
)

func moneyOf(code string) money.Currency { return money.Currency(code) }

// write returns the file with products.
func write(t testing.TB, drafts ...*product.Draft) string {
	t.Helper()
	var b strings.Builder
	w := productcsv.NewWriter(&b, "EUR")
	for _, d := range drafts {
		if err := w.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func show(v any) string {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func same(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %s\nwant %s", show(got), show(want))
	}
}

const header = "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,Option2 Name," +
	"Option2 Value,Option3 Name,Option3 Value,Variant SKU,Variant Grams,Variant Inventory Tracker,Variant Inventory Qty," +
	"Variant Inventory Policy,Variant Fulfillment Service,Variant Price,Variant Compare At Price,Variant Requires Shipping," +
	"Variant Taxable,Variant Barcode,Image Src,Image Position,Image Alt Text,Gift Card,SEO Title,SEO Description," +
	"Google Shopping / Google Product Category,Google Shopping / Gender,Google Shopping / Age Group,Google Shopping / MPN," +
	"Google Shopping / AdWords Grouping,Google Shopping / AdWords Labels,Google Shopping / Condition," +
	"Google Shopping / Custom Product,Google Shopping / Custom Label 0,Google Shopping / Custom Label 1," +
	"Google Shopping / Custom Label 2,Google Shopping / Custom Label 3,Google Shopping / Custom Label 4,Variant Image," +
	"Variant Weight Unit,Variant Tax Code,Cost per item,Status,Emporium / Extra\n"

func TestWrite(t *testing.T) {
	t.Parallel()
	if got := write(t); got != header {
		t.Errorf("an empty shop is written as\n%s", got)
	}
	d := &product.Draft{
		Product: product.Product{
			ID: id.New(), Slug: "mug", Title: "=Mug", DescriptionHTML: "<p>A \"mug\"</p>\n", Vendor: new("Kiln"), Tags: []string{"a", "b"},
			Status: product.StatusArchived, Metadata: map[string]any{"care": "none", "_shopify": map[string]any{
				"product":  map[string]any{"Gift Card": "true", "Collection": "C"},
				"variants": map[string]any{"2": map[string]any{"Cost per item": "3"}, "9": map[string]any{"Cost per item": "4"}},
			}},
		},
		Options: []product.Option{{Name: "Size", Values: []string{"L", "S"}}},
		Media:   []product.Media{{URL: "/1", Kind: product.MediaImage}, {URL: "/2", Alt: new("Two"), Width: new(3), Height: new(4)}, {URL: "/3"}},
		Variants: []product.VariantDraft{
			{Variant: product.Variant{OptionChoices: []string{"S"}, Currency: "EUR", PriceMinor: 990, SKU: new("-1")}, OnHand: new(3), ImagePosition: 2},
			{Variant: product.Variant{OptionChoices: []string{"L"}, Currency: "EUR", PriceMinor: 1000, CompareAtMinor: new(int64(1)), WeightGrams: new(5)}},
		},
	}
	before := show(d)
	want := header +
		`mug,'=Mug,"<p>A ""mug""</p>` + "\n" + `",Kiln,,,"a, b",false,Size,S,,,,,'-1,,,3,deny,manual,9.90,,true,true,,/1,1,,true,,,,,,,,,,,,,,,,/2,kg,,,archived,` +
		`"{""metadata"":{""_shopify"":{""product"":{""Collection"":""C""},""variants"":{""9"":{""Cost per item"":""4""}}},""care"":""none""},""options"":{""Size"":[""L"",""S""]},""media"":{""/2"":{""width"":3,""height"":4}}}"` + "\n" +
		`mug,,,,,,,,,L,,,,,,5,,,deny,manual,10.00,0.01,true,true,,/2,2,Two,,,,,,,,,,,,,,,,,,kg,,3,,` + "\n" +
		`mug,,,,,,,,,,,,,,,,,,,,,,,,,/3,3,,,,,,,,,,,,,,,,,,,,,,,` + "\n"
	if got := write(t, d); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if show(d) != before {
		t.Errorf("Write has changed the product to %s", show(d))
	}
}

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	variant := product.VariantDraft{Variant: product.Variant{Currency: "EUR"}}
	for reason, d := range map[string]*product.Draft{
		"there are 4 options, more than 3":                                 {Options: make([]product.Option, 4)},
		"there are 251 variants, more than 250":                            {Variants: make([]product.VariantDraft, 251)},
		"there are 251 media, more than 250":                               {Media: make([]product.Media, 251)},
		"there are 2 variants, but no options":                             {Variants: []product.VariantDraft{variant, variant}},
		"variant 1: the price is in USD, not in EUR":                       {Variants: []product.VariantDraft{{Variant: product.Variant{Currency: "USD"}}}},
		"variant 1: there are 0 option values for 1 options":               {Options: make([]product.Option, 1), Variants: []product.VariantDraft{variant}},
		"variant 1: it has picture 2 of 0":                                 {Variants: []product.VariantDraft{{Variant: variant.Variant, ImagePosition: 2}}},
		`"GONE" is not a status`:                                           {Product: product.Product{Status: "GONE"}},
		"metadata: json: unsupported type: func()":                         {Product: product.Product{Status: product.StatusDraft, Metadata: map[string]any{"f": func() {}}}},
		`column "Emporium / Extra": the text is longer than 1048576 bytes`: {Product: product.Product{Status: product.StatusDraft, Metadata: map[string]any{"x": strings.Repeat("x", 1<<20)}}},
	} {
		d.Slug = "a"
		var b strings.Builder
		w := productcsv.NewWriter(&b, "EUR")
		if err := w.Write(d); err == nil || err.Error() != `product "a": `+reason {
			t.Errorf("got  %v\nwant %s", err, reason)
		}
		if err := w.Flush(); err != nil || b.String() != header {
			t.Errorf("%s: %v, written nonetheless:\n%s", reason, err, b.String())
		}
	}

	w := productcsv.NewWriter(full{}, "EUR")
	err := errors.Join(w.Write(&product.Draft{Product: product.Product{Slug: "a", Status: product.StatusDraft}}), w.Flush())
	if !errors.Is(err, errFull) {
		t.Errorf("a full disk: %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// text makes a text of up to n pieces, of which many are awkward.
func text(r *rand.Rand, n int) string {
	pieces := []string{"a", "B", "é", "漢", " ", "'", `"`, ",", "\n", "=", "+", "-", "@", "\t", "＝", "&", "<", ";", `\`, "%s", "'=", "\u2028"}
	var b strings.Builder
	for range r.IntN(n + 1) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func maybe[T any](r *rand.Rand, v T) *T {
	if r.IntN(2) == 0 {
		return nil
	}
	return &v
}

func filled(r *rand.Rand, n int) *string {
	if text := text(r, n); text != "" {
		return &text
	}
	return nil
}

// object makes metadata, some of it in the way of what Read keeps there.
func object(r *rand.Rand) map[string]any {
	cells := func() any {
		o := map[string]any{}
		for _, column := range []string{"Gift Card", "Published", "Variant Taxable", "Variant Inventory Policy", "Cost per item",
			"Google Shopping / Gender", "Product Category", "Collection", "Title", "Variant Mood"} {
			switch r.IntN(8) {
			case 0:
				o[column] = text(r, 4)
			case 1:
				o[column] = []string{"true", "false", "deny", "\r\n", "TRUE"}[r.IntN(5)]
			case 2:
				o[column] = []any{1.5, nil, map[string]any{}}[r.IntN(3)]
			}
		}
		return o
	}
	rows := func() any {
		o := map[string]any{}
		for _, position := range []string{"0", "1", "2", "3", "17", "x"} {
			if r.IntN(2) == 0 {
				o[position] = cells()
			}
		}
		return o
	}
	m := map[string]any{}
	if r.IntN(3) == 0 {
		m[text(r, 5)] = []any{text(r, 5), 1.25, true, nil, map[string]any{"a\r\n": "\r\n"}}
	}
	switch r.IntN(4) {
	case 0:
		m["_shopify"] = []any{"x", 1., map[string]any{}}[r.IntN(3)]
	case 1:
		m["_shopify"] = map[string]any{"product": cells(), "variants": rows(), "images": rows()}
	case 2:
		m["_shopify"] = map[string]any{"product": cells(), "variants": 1., "else": rows()}
	}
	return m
}

// random makes a product in the form in which Read returns it.
func random(r *rand.Rand, n int) *product.Draft {
	d := &product.Draft{Product: product.Product{
		Slug: fmt.Sprintf("%sp-%d", []string{"", "-", "=", "'=", "é"}[r.IntN(5)], n), Title: "x" + text(r, 8), Vendor: filled(r, 5),
		Type: filled(r, 5), Tags: []string{}, Status: []product.Status{product.StatusActive, product.StatusDraft, product.StatusArchived}[r.IntN(3)],
		SEOTitle: filled(r, 5), SEODescription: filled(r, 5), Metadata: object(r),
	}}
	if r.IntN(2) == 0 {
		d.Title = text(r, 8) + "x"
	}
	d.DescriptionHTML, d.Description = markup.Clean([]string{"", "<p>", "</b>", "<img>"}[r.IntN(4)] + text(r, 30))
	for range r.IntN(4) {
		if tag := text(r, 3); tag != "" && !slices.Contains(d.Tags, tag) {
			d.Tags = append(d.Tags, tag)
		}
	}
	for i := range r.IntN(5) {
		m := product.Media{Kind: product.MediaImage, URL: fmt.Sprintf("%s/%d?a=b,c", []string{"", "https://x.example"}[r.IntN(2)], i), Alt: filled(r, 4), Position: i + 1}
		if r.IntN(3) == 0 {
			m.Kind = product.MediaVideo
		}
		if r.IntN(2) == 0 {
			m.Width, m.Height = new(1+r.IntN(9)), new(1+r.IntN(9))
		}
		d.Media = append(d.Media, m)
	}
	var names []string
	for i := range r.IntN(4) {
		o := product.Option{Position: i + 1, Name: fmt.Sprintf("%sO%d", text(r, 2), i)}
		for v := range 1 + r.IntN(3) {
			o.Values = append(o.Values, fmt.Sprintf("%sv%d", text(r, 2), v))
		}
		d.Options, names = append(d.Options, o), append(names, o.Name)
	}
	combinations := [][]string{{}}
	for _, o := range d.Options {
		var longer [][]string
		for _, c := range combinations {
			for _, value := range o.Values {
				longer = append(longer, append(slices.Clone(c), value))
			}
		}
		combinations = longer
	}
	r.Shuffle(len(combinations), func(i, j int) { combinations[i], combinations[j] = combinations[j], combinations[i] })
	for i, choices := range combinations[:r.IntN(len(combinations)+1)] {
		v := product.VariantDraft{Variant: product.Variant{
			Position: i + 1, Barcode: filled(r, 3), OptionNames: names, OptionChoices: choices, Currency: "EUR",
			PriceMinor: r.Int64N(1_000_00), CompareAtMinor: maybe(r, r.Int64N(1000)), WeightGrams: maybe(r, r.IntN(5000)),
		}, OnHand: maybe(r, r.IntN(10)), ImagePosition: r.IntN(len(d.Media) + 1)}
		if r.IntN(2) == 0 {
			v.SKU = new(fmt.Sprintf("%s%d-%d", text(r, 2), n, i))
		}
		d.Variants = append(d.Variants, v)
	}
	return d
}

func TestRoundTripOfRandomProducts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		var drafts []*product.Draft
		for n := range r.IntN(5) {
			drafts = append(drafts, random(r, n))
		}
		file := write(t, drafts...)
		again, err := all(file)
		if err != nil {
			t.Fatalf("seed %d: %v in\n%s", seed, err, file)
		}
		if same(t, again, drafts); t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, file)
		}
		if second := write(t, again...); second != file {
			t.Fatalf("seed %d: written again\n%s\nfirst\n%s", seed, second, file)
		}
	}
}

func TestNothingForSpreadsheetsToRun(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\n=1", "＝1"} {
		d := &product.Draft{Product: product.Product{Slug: "a", Title: text, Vendor: &text, Tags: []string{text}, Status: product.StatusDraft,
			Metadata: map[string]any{"_shopify": map[string]any{"product": map[string]any{"Product Category": text}}}}}
		file := write(t, d)
		if n := strings.Count(file, "'"+text); n != 4 {
			t.Errorf("%q is kept from being run in %d cells of 4:\n%s", text, n, file)
		}
	}
}

// export returns the file with the whole catalogue.
func export(t *testing.T, s *product.Service) string {
	t.Helper()
	var b strings.Builder
	w := productcsv.NewWriter(&b, "EUR")
	if err := s.Each(t.Context(), w.Write); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func imported(t *testing.T, s *product.Service, file string, want product.UpsertResult) {
	t.Helper()
	got, err := s.Upsert(t.Context(), productcsv.Read(strings.NewReader(file), "shop.csv", "EUR"), false)
	if err != nil || got != want {
		t.Fatalf("imported %+v, %v, want %+v", got, err, want)
	}
}

func TestThroughTheDatabase(t *testing.T) {
	t.Parallel()
	s := product.New(pgtest.New(t).Products, "EUR")
	r := rand.New(rand.NewPCG(1, 2))
	const n = 60
	var drafts []*product.Draft
	collection := product.Collection{ID: id.New(), Slug: "c", Title: "C"}
	for i := range n {
		d := random(r, i)
		if i%2 == 0 {
			d.Collections = []uuid.UUID{collection.ID}
		}
		drafts = append(drafts, d)
	}
	if err := s.Load(t.Context(), nil, []product.Collection{collection}, slices.Values(drafts), nil); err != nil {
		t.Fatal(err)
	}
	first := export(t, s)
	imported(t, s, first, product.UpsertResult{Unchanged: n})
	if second := export(t, s); second != first {
		t.Errorf("exported again\n%s\nfirst\n%s", second, first)
	}

	// Into a shop that has none of it.
	other := product.New(pgtest.New(t).Products, "EUR")
	imported(t, other, first, product.UpsertResult{Created: n})
	if second := export(t, other); second != first {
		t.Errorf("exported from another shop\n%s\nfirst\n%s", second, first)
	}
	imported(t, other, first, product.UpsertResult{Unchanged: n})
}

func TestImportIsUndoneByAnError(t *testing.T) {
	t.Parallel()
	s := product.New(pgtest.New(t).Products, "EUR")
	file := "Handle,Title,Variant Price\na,A,1\nb,B,2\nc,C,x\n"
	_, err := s.Upsert(t.Context(), productcsv.Read(strings.NewReader(file), "shop.csv", "EUR"), false)
	var e *productcsv.Error
	if !errors.As(err, &e) || e.Line != 4 || e.Column != "Variant Price" {
		t.Errorf("%v", err)
	}
	if got := export(t, s); got != header {
		t.Errorf("written nonetheless:\n%s", got)
	}
}

func TestSharedFilesThroughTheDatabase(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"apparel.csv", "jewelery.csv"} {
		file := string(shared(t, name))
		s := product.New(pgtest.New(t).Products, "EUR")
		imported(t, s, file, product.UpsertResult{Created: 20})
		first := export(t, s)
		imported(t, s, first, product.UpsertResult{Unchanged: 20})
		imported(t, s, file, product.UpsertResult{Unchanged: 20})
		if second := export(t, s); second != first {
			t.Errorf("%s: exported again\n%s\nfirst\n%s", name, second, first)
		}
	}
}
