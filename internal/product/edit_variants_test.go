package product_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
)

func chosen(pairs ...string) (values []product.OptionValue) {
	for i := 0; i < len(pairs); i += 2 {
		values = append(values, product.OptionValue{Name: pairs[i], Value: pairs[i+1]})
	}
	return values
}

// variantsOf shows the variants of the product "active", in order, like "Blue / M 25.00 EUR".
func variantsOf(d *product.Draft) string {
	var all []string
	for _, v := range d.Variants {
		all = append(all, strings.TrimSpace(v.Title()+" "+v.Price().String()))
	}
	return strings.Join(all, ", ")
}

func TestVariants(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager, d := as(auth.RoleManager), c.drafts[0]
	create := func(f func(*product.VariantCreateInput)) (*product.VariantPayload, error) {
		in := product.VariantCreateInput{ProductID: d.GlobalID(), VariantInput: product.VariantInput{OptionValues: chosen("Size", "XL", "Colour", " Green "), Price: *decimal(t, "30")}}
		f(&in)
		return c.CreateVariant(manager, in)
	}
	made, err := create(func(in *product.VariantCreateInput) { in.SKU, in.ImageID = new("green-xl"), new(d.Media[1].GlobalID()) })
	if err != nil || made.UserErrors != nil || made.Variant.Title() != "Green / XL" || made.Variant.Position != 3 || *made.Variant.ImageID != d.Media[1].ID ||
		*made.Product.PriceMax != 3000 || made.Variant.Currency != "EUR" {
		t.Fatal(made, err)
	}
	got := c.all(t)[0]
	if want := "Blue / M 25.00 EUR, Red / L 19.90 EUR, Green / XL 30.00 EUR"; variantsOf(got) != want || !slices.Contains(got.Options[1].Values, "XL") {
		t.Errorf("variants %s, options %v", variantsOf(got), got.Options)
	}
	c.asImported(t)
	for name, r := range map[string]struct {
		want string
		f    func(*product.VariantCreateInput)
	}{
		"alike":           {"INVALID optionValues", func(in *product.VariantCreateInput) { in.OptionValues = chosen("Size", "M", "Colour", "Blue") }},
		"a value missing": {"INVALID optionValues", func(in *product.VariantCreateInput) { in.OptionValues = chosen("Size", "M") }},
		"one twice":       {"INVALID optionValues", func(in *product.VariantCreateInput) { in.OptionValues = chosen("Size", "M", "Size", "L") }},
		"an empty one":    {"INVALID optionValues", func(in *product.VariantCreateInput) { in.OptionValues = chosen("Size", " ", "Colour", "Pink") }},
		"another option":  {"INVALID optionValues", func(in *product.VariantCreateInput) { in.OptionValues = chosen("Size", "M", "Cut", "Slim") }},
		"a SKU taken": {"TAKEN sku", func(in *product.VariantCreateInput) {
			in.SKU, in.OptionValues = new("draft-1"), chosen("Size", "S", "Colour", "Pink")
		}},
		"its own taken": {"INVALID sku", func(in *product.VariantCreateInput) {
			in.SKU, in.OptionValues = new("active-1"), chosen("Size", "S", "Colour", "Pink")
		}},
		"weight": {"INVALID weightGrams", func(in *product.VariantCreateInput) {
			in.WeightGrams, in.OptionValues = new(-1), chosen("Size", "S", "Colour", "Pink")
		}},
		"another's image": {"INVALID imageId", func(in *product.VariantCreateInput) { in.ImageID = new(c.drafts[1].Media[0].GlobalID()) }},
	} {
		c.wants(t, name, r.want, func() ([]fault.Problem, error) { p, err := create(r.f); return p.UserErrors, err })
	}

	// Absent stays, null clears.
	first := d.Variants[0].GlobalID()
	update := func(f product.VariantFields) ([]fault.Problem, error) {
		p, err := c.UpdateVariant(manager, product.VariantUpdateInput{VariantID: first, VariantFields: f})
		return p.UserErrors, err
	}
	c.wants(t, "price and size", "", func() ([]fault.Problem, error) {
		return update(product.VariantFields{Price: amount(t, "5"), OptionValues: given(chosen("Size", "L"))})
	})
	got = c.all(t)[0]
	if v := got.Variants[0]; v.Title() != "Blue / L" || v.PriceMinor != 500 || *v.CompareAtMinor != 3000 || *v.SKU != "active-1" || *v.WeightGrams != 200 || v.ImageID == nil || *got.PriceMin != 500 {
		t.Errorf("variant %+v", v)
	}
	c.asImported(t)
	c.wants(t, "clear", "", func() ([]fault.Problem, error) {
		return update(product.VariantFields{SKU: given[*string](nil), WeightGrams: given[*int](nil), ImageID: given[*id.ID](nil), Barcode: text(" ")})
	})
	if v := c.all(t)[0].Variants[0]; v.SKU != nil || v.WeightGrams != nil || v.ImageID != nil || v.PriceMinor != 500 {
		t.Errorf("variant %+v", v)
	}
	c.asImported(t)
	c.wants(t, "alike", "INVALID optionValues", func() ([]fault.Problem, error) {
		return update(product.VariantFields{OptionValues: given(chosen("Colour", "Red"))})
	})
	c.wants(t, "a SKU taken", "TAKEN sku", func() ([]fault.Problem, error) { return update(product.VariantFields{SKU: text("draft-2")}) })

	order := []id.ID{made.Variant.GlobalID(), first, d.Variants[1].GlobalID()}
	if p, err := c.ReorderVariants(manager, product.VariantsReorderInput{ProductID: d.GlobalID(), VariantIDs: order}); err != nil || p.UserErrors != nil {
		t.Fatal(p, err)
	}
	if want := "Green / XL 30.00 EUR, Blue / L 5.00 EUR, Red / L 19.90 EUR"; variantsOf(c.all(t)[0]) != want {
		t.Errorf("variants %s", variantsOf(c.all(t)[0]))
	}
	c.wants(t, "one missing", "INVALID variantIds", func() ([]fault.Problem, error) {
		p, err := c.ReorderVariants(manager, product.VariantsReorderInput{ProductID: d.GlobalID(), VariantIDs: order[1:]})
		return p.UserErrors, err
	})
	c.asImported(t)
	for _, unknown := range []id.ID{id.Of(id.Variant, id.New()), id.Of(id.Product, first.Key)} {
		if p, err := c.UpdateVariant(manager, product.VariantUpdateInput{VariantID: unknown}); !fault.Is(err, fault.NotFound) || p != nil {
			t.Errorf("unknown: %+v, %v", p, err)
		}
	}
}

func TestDeleteVariant(t *testing.T) {
	t.Parallel()
	c, v := shelf(t, 10, 3, 0)
	manager := as(auth.RoleManager)
	remove := func(i int) ([]fault.Problem, error) {
		p, err := c.DeleteVariant(manager, product.VariantDeleteInput{VariantID: id.Of(id.Variant, v[i])})
		return p.UserErrors, err
	}
	order := id.New()
	wantErr(t, "hold", c.Hold(as(), order, hold(2, v[0]), later), nil)
	c.wants(t, "held", "IN_USE variantId", func() ([]fault.Problem, error) { return remove(0) })
	wantErr(t, "sell", c.Sell(as(), order), nil)
	c.wants(t, "sold", "", func() ([]fault.Problem, error) { return remove(0) })
	if got := c.ledger(t, v[0]); got != "OPENING 10, SALE -2, CORRECTION -8" {
		t.Errorf("ledger %s", got)
	}
	pages, err := c.Movements(manager, v[:1], page.Args{First: new(1)})
	if m := pages[v[0]].Nodes()[0]; err != nil || *m.ActorID != auth.From(manager).ID || *m.Note != "the variant was deleted" {
		t.Errorf("movement %+v, %v", m, err)
	}
	c.settled(t)
	// What comes back of it later is counted.
	wantErr(t, "restock", c.Restock(as(), order, "k", hold(1, v[0])), nil)
	c.settled(t)
	if p, err := c.DeleteVariant(manager, product.VariantDeleteInput{VariantID: id.Of(id.Variant, v[0])}); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleted twice: %v, %v", p, err)
	}
	c.wants(t, "without stock", "", func() ([]fault.Problem, error) { return remove(2) })
	c.wants(t, "the last", "INVALID variantId", func() ([]fault.Problem, error) { return remove(1) })
	c.wantStock(t, "3/0", v[1])
	if got := c.all(t)[0]; len(got.Variants) != 1 || got.Variants[0].Position != 1 {
		t.Errorf("left %+v", got.Variants)
	}
}

// TestDeleteVariantWhileItIsBought: either the order has it, and it stays; or it is gone, and the order is told so.
func TestDeleteVariantWhileItIsBought(t *testing.T) {
	t.Parallel()
	stock := make([]int, 21)
	for i := range stock {
		stock[i] = 5
	}
	c, v := shelf(t, stock...)
	manager := as(auth.RoleManager)
	var kept, gone atomic.Int32
	for i := range 20 {
		var deleted, held bool
		race(2, func(n int) {
			if n == 0 {
				p, err := c.DeleteVariant(manager, product.VariantDeleteInput{VariantID: id.Of(id.Variant, v[i])})
				if err != nil || p.UserErrors != nil && problems(p.UserErrors) != "IN_USE variantId" {
					t.Error(p, err)
					return
				}
				deleted = p.UserErrors == nil
				return
			}
			err := c.Hold(as(), id.New(), hold(1, v[i]), later)
			if err != nil && !fault.Is(err, fault.Conflict) {
				t.Error(err)
			}
			held = err == nil
		})
		if deleted == held {
			t.Errorf("deleted %t, held %t", deleted, held)
		}
		if held {
			kept.Add(1)
		} else {
			gone.Add(1)
		}
	}
	t.Logf("%d were bought, %d deleted", kept.Load(), gone.Load())
	c.settled(t)
}

func set(name, was string, values ...string) product.OptionSetInput {
	o := product.OptionSetInput{Name: name}
	if was != "" {
		o.Was = &was
	}
	for _, v := range values {
		to, from, renamed := strings.Cut(v, "<")
		value := product.OptionValueSetInput{Value: to}
		if renamed {
			value.Was = &from
		}
		o.Values = append(o.Values, value)
	}
	return o
}

// TestOptions changes the options of a product with the variants Blue / M and Red / L.
func TestOptions(t *testing.T) {
	t.Parallel()
	cut := set("Cut", "", "Slim", "Wide")
	wide := cut
	wide.VariantsValue = new("Wide")
	loose := cut
	loose.VariantsValue = new("Loose")
	colour, size := set("Colour", "", "Blue", "Red"), set("Size", "", "S", "M", "L")
	for name, r := range map[string]struct {
		in       []product.OptionSetInput
		problems string
		variants string // without prices
	}{
		"as they are":         {[]product.OptionSetInput{colour, size}, "", "Blue / M, Red / L"},
		"renamed":             {[]product.OptionSetInput{set("Tone", "Colour", "Navy<Blue", "Red"), size}, "", "Navy / M, Red / L"},
		"values swapped":      {[]product.OptionSetInput{set("Colour", "", "Blue<Red", "Red<Blue"), size}, "", "Red / M, Blue / L"},
		"names swapped":       {[]product.OptionSetInput{set("Size", "Colour", "Blue", "Red"), set("Colour", "Size", "M", "L")}, "", "Blue / M, Red / L"},
		"another order":       {[]product.OptionSetInput{size, colour}, "", "M / Blue, L / Red"},
		"added":               {[]product.OptionSetInput{colour, cut, size}, "", "Blue / Slim / M, Red / Slim / L"},
		"added, another":      {[]product.OptionSetInput{colour, size, wide}, "", "Blue / M / Wide, Red / L / Wide"},
		"one removed":         {[]product.OptionSetInput{size}, "", "M, L"},
		"a value removed":     {[]product.OptionSetInput{colour, set("Size", "", "M", "L")}, "", "Blue / M, Red / L"},
		"all removed":         {nil, "IN_USE options", ""},
		"a value in use":      {[]product.OptionSetInput{colour, set("Size", "", "S", "M")}, "IN_USE options.1.values", ""},
		"values made one":     {[]product.OptionSetInput{set("Colour", "", "Blue", "Blue<Red"), size}, "INVALID options.0.values.1.value", ""},
		"one made two":        {[]product.OptionSetInput{set("Colour", "", "Navy<Blue", "Sky<Blue", "Red"), size}, "INVALID options.0.values.1.was", ""},
		"an option made two":  {[]product.OptionSetInput{set("A", "Colour", "Blue", "Red"), set("B", "Colour", "Blue", "Red")}, "INVALID options.1.was", ""},
		"no such option":      {[]product.OptionSetInput{set("Cut", "Shape", "Slim"), colour, size}, "INVALID options.0.was", ""},
		"no such value":       {[]product.OptionSetInput{set("Colour", "", "Blue", "Red", "Pink<Rose"), size}, "INVALID options.0.values.2.was", ""},
		"no values":           {[]product.OptionSetInput{set("Colour", ""), size}, "INVALID options.0.values", ""},
		"an empty value":      {[]product.OptionSetInput{set("Colour", "", "Blue", " "), size}, "INVALID options.0.values.1.value", ""},
		"no name":             {[]product.OptionSetInput{set(" ", "Colour", "Blue", "Red"), size}, "INVALID options.0.name", ""},
		"one name":            {[]product.OptionSetInput{set("Size", "Colour", "Blue", "Red"), set("Size", "Size", "M", "L")}, "INVALID options.1.name", ""},
		"four":                {[]product.OptionSetInput{colour, size, cut, set("Fit", "", "A")}, "INVALID options", ""},
		"a value of no value": {[]product.OptionSetInput{colour, size, loose}, "INVALID options.2.variantsValue", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := boutique(t)
			c.wants(t, name, r.problems, func() ([]fault.Problem, error) {
				p, err := c.SetOptions(as(auth.RoleManager), product.OptionsSetInput{ProductID: c.drafts[0].GlobalID(), Options: r.in})
				return p.UserErrors, err
			})
			got := c.all(t)[0]
			var titles []string
			for i, v := range got.Variants {
				titles = append(titles, v.Title())
				if v.ID != c.drafts[0].Variants[i].ID {
					t.Error("a variant has another ID")
				}
			}
			if all := strings.Join(titles, ", "); r.problems == "" && all != r.variants {
				t.Errorf("variants %s, want %s", all, r.variants)
			}
			for i := range r.in {
				if r.problems != "" {
					break
				}
				if o := got.Options[i]; o.Name != r.in[i].Name || len(o.Values) != len(r.in[i].Values) {
					t.Errorf("option %+v", o)
				}
			}
			c.asImported(t)
		})
	}
}

// TestOptionsAtRandom sets options at random: whatever comes out, each variant has one value of each option, no two are
// alike, and values follow their names. What is refused changes nothing.
func TestOptionsAtRandom(t *testing.T) {
	t.Parallel()
	c := &catalogue{db: pgtest.New(t).Products}
	c.Service = product.New(c.db, "EUR")
	manager, r := as(auth.RoleManager), rand.New(rand.NewPCG(4, 4))
	in := product.ProductCreateInput{Title: "Thing", Options: []product.OptionInput{{Name: "A"}, {Name: "B"}}}
	for i := range 6 {
		in.Variants = append(in.Variants, product.VariantInput{OptionValues: chosen("A", fmt.Sprint("a", i%2), "B", fmt.Sprint("b", i/2)), Price: *decimal(t, "1")})
	}
	made, err := c.CreateProduct(manager, in)
	if err != nil || made.UserErrors != nil {
		t.Fatal(made, err)
	}
	changed := 0
	for n := range 150 {
		before := c.all(t)[0]
		var options []product.OptionSetInput
		became := map[string]string{} // "option/value" of before to that of now
		for i, o := range before.Options {
			if r.IntN(6) == 0 {
				continue
			}
			next := product.OptionSetInput{Name: o.Name}
			if r.IntN(3) == 0 {
				next.Was, next.Name = &before.Options[i].Name, fmt.Sprint("N", n, i)
			}
			for j, v := range o.Values {
				if r.IntN(15) == 0 {
					continue
				}
				value := product.OptionValueSetInput{Value: v}
				if r.IntN(3) == 0 {
					value.Was, value.Value = &o.Values[j], fmt.Sprint("v", r.IntN(60))
				}
				next.Values = append(next.Values, value)
				became[o.Name+"/"+v] = next.Name + "/" + value.Value
			}
			options = append(options, next)
		}
		if r.IntN(2) == 0 {
			options = append(options, set(fmt.Sprint("X", n), "", "x", "y"))
		}
		r.Shuffle(len(options), func(i, j int) { options[i], options[j] = options[j], options[i] })
		state := c.state(t)
		p, err := c.SetOptions(manager, product.OptionsSetInput{ProductID: made.Product.GlobalID(), Options: options})
		if err != nil {
			t.Fatal(err)
		}
		if p.UserErrors != nil {
			if c.state(t) != state {
				t.Fatal("it was refused, and something was written")
			}
			continue
		}
		changed++
		now, seen := c.all(t)[0], map[string]bool{}
		for i, v := range now.Variants {
			if v.ID != before.Variants[i].ID || len(v.OptionChoices) != len(now.Options) || seen[v.Title()] {
				t.Fatalf("variants %s of %+v", variantsOf(now), now.Options)
			}
			seen[v.Title()] = true
			has := map[string]bool{}
			for k, chosen := range v.OptionValues() {
				has[chosen.Name+"/"+chosen.Value] = true
				if !slices.Contains(now.Options[k].Values, chosen.Value) {
					t.Fatalf("%s is none of %v", chosen.Value, now.Options[k])
				}
			}
			for _, was := range before.Variants[i].OptionValues() {
				if to, ok := became[was.Name+"/"+was.Value]; ok && !has[to] {
					t.Fatalf("%s has become %s, and variant %v does not have it", was, to, v.OptionValues())
				}
			}
		}
	}
	if changed < 30 {
		t.Errorf("only %d were changed", changed)
	}
	c.asImported(t)
}

func TestUpdateVariants(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager := as(auth.RoleManager)
	item := func(draft, variant int, f product.VariantFields) product.VariantUpdateInput {
		return product.VariantUpdateInput{VariantID: c.drafts[draft].Variants[variant].GlobalID(), VariantFields: f}
	}
	items := []product.VariantUpdateInput{
		item(0, 0, product.VariantFields{Price: amount(t, "7")}),
		item(1, 0, product.VariantFields{Price: amount(t, "-7"), SKU: text("never")}),
		item(2, 1, product.VariantFields{SKU: text("active-2")}),
		{VariantID: id.Of(id.Variant, id.New())},
		{VariantID: c.drafts[0].GlobalID()},
		item(0, 1, product.VariantFields{OptionValues: given(chosen("Colour", "Blue", "Size", "M"))}),
		item(0, 1, product.VariantFields{SKU: text("free"), CompareAtPrice: amount(t, "20.00")}),
		item(2, 1, product.VariantFields{SKU: text("active-2")}), // by now it is free
		item(2, 0, product.VariantFields{SKU: text("free")}),
		item(0, 0, product.VariantFields{WeightGrams: given(new(5))}),
	}
	p, err := c.UpdateVariants(manager, product.VariantsBulkUpdateInput{Variants: items})
	if err != nil || p.UserErrors != nil || len(p.Results) != len(items) {
		t.Fatal(p, err)
	}
	want := []string{"", "INVALID price", "TAKEN sku", "INVALID variantId", "INVALID variantId", "INVALID optionValues", "", "", "TAKEN sku", ""}
	for i, r := range p.Results {
		if problems(r.UserErrors) != want[i] || (r.Variant != nil) != (want[i] == "") || r.Variant != nil && r.Variant.GlobalID() != items[i].VariantID {
			t.Errorf("item %d: %+v, want %s", i, r, want[i])
		}
	}
	if first := p.Results[0].Variant; *first.WeightGrams != 5 || first.PriceMinor != 700 {
		t.Errorf("the first: %+v", first)
	}
	all := c.all(t) // active, archived, draft
	if a, z, d := all[0], all[1], all[2]; *a.PriceMin != 700 || *a.Variants[1].SKU != "free" || *a.Variants[1].CompareAtMinor != 2000 || *z.Variants[1].SKU != "active-2" ||
		*z.Variants[0].SKU != "archived-1" || *d.Variants[0].SKU != "draft-1" || *d.PriceMax != 2500 || !d.UpdatedAt.Equal(d.CreatedAt) {
		t.Errorf("written\n%+v\n%+v\n%+v", a, z, d)
	}
	c.asImported(t)
	for name, n := range map[string]int{"none": 0, "too many": 101} {
		c.wants(t, name, "TOO_MANY variants", func() ([]fault.Problem, error) {
			p, err := c.UpdateVariants(manager, product.VariantsBulkUpdateInput{Variants: slices.Repeat(items[:1], n)})
			return p.UserErrors, err
		})
	}
}

// TestUpdateVariantsAtOnce changes the same variants in opposite orders, while orders hold and sell them: nobody waits in
// a circle, and every SKU is somebody's.
func TestUpdateVariantsAtOnce(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager := as(auth.RoleManager)
	var keys []uuid.UUID
	for range 8 {
		p, err := c.CreateProduct(manager, product.ProductCreateInput{Title: "P", Slug: new(id.New().String()), Variants: []product.VariantInput{{Price: *decimal(t, "1")}}})
		if err != nil || p.UserErrors != nil {
			t.Fatal(p, err)
		}
		vs, err := c.VariantsOf(manager, []uuid.UUID{p.Product.ID})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, vs[0].ID)
	}
	const deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
	before := c.count(t, deadlocks)
	race(4, func(i int) {
		for n := range 15 {
			var items []product.VariantUpdateInput
			for k, key := range keys {
				items = append(items, product.VariantUpdateInput{VariantID: id.Of(id.Variant, key),
					VariantFields: product.VariantFields{Price: amount(t, fmt.Sprintf("%d.%d", n, i)), SKU: text(fmt.Sprint("S", (k+i)%(len(keys)+2)))}})
			}
			if i%2 == 0 {
				slices.Reverse(items)
			}
			p, err := c.UpdateVariants(manager, product.VariantsBulkUpdateInput{Variants: items})
			if err != nil || p.UserErrors != nil {
				t.Error(p, err)
			}
		}
	})
	if after := c.count(t, deadlocks); after != before {
		t.Errorf("%d deadlocks", after-before)
	}
	c.asImported(t)
}

// TestSKUWantedTwice lets two products want one SKU at once, one of them in bulk: one gets it, the other is told so.
func TestSKUWantedTwice(t *testing.T) {
	t.Parallel()
	c := boutique(t)
	manager := as(auth.RoleManager)
	for n := range 20 {
		sku := text(fmt.Sprint("wanted-", n))
		var outcome [2]string
		race(2, func(i int) {
			in := product.VariantUpdateInput{VariantID: c.drafts[i].Variants[0].GlobalID(), VariantFields: product.VariantFields{SKU: sku}}
			if i == 0 {
				p, err := c.UpdateVariant(manager, in)
				if err != nil {
					t.Error(err)
					return
				}
				outcome[i] = problems(p.UserErrors)
				return
			}
			p, err := c.UpdateVariants(manager, product.VariantsBulkUpdateInput{Variants: []product.VariantUpdateInput{in}})
			if err != nil || p.UserErrors != nil {
				t.Error(p, err)
				return
			}
			outcome[i] = problems(p.Results[0].UserErrors)
		})
		if outcome != [2]string{"", "TAKEN sku"} && outcome != [2]string{"TAKEN sku", ""} {
			t.Errorf("outcome %q", outcome)
		}
	}
	c.asImported(t)
}
