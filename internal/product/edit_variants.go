package product

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/postgres"
)

// maxBulk is how many variants can be changed at a time.
const maxBulk = 100

// VariantInput is a new variant: it has one value for each option of its product.
type VariantInput struct {
	OptionValues   []OptionValue
	SKU            *string
	Barcode        *string
	Price          money.Decimal
	CompareAtPrice *money.Decimal
	WeightGrams    *int
}

// VariantCreateInput is a new variant of a product, which comes last.
type VariantCreateInput struct {
	ProductID id.ID
	ImageID   *id.ID
	VariantInput
}

// VariantUpdateInput is what changes of a variant: what is absent stays, null clears.
type VariantUpdateInput struct {
	VariantID id.ID
	VariantFields
}

// VariantFields are the fields of a variant that may be given. Options that are not among OptionValues keep theirs.
type VariantFields struct {
	OptionValues   graphql.Omittable[[]OptionValue]
	SKU            graphql.Omittable[*string]
	Barcode        graphql.Omittable[*string]
	Price          graphql.Omittable[*money.Decimal]
	CompareAtPrice graphql.Omittable[*money.Decimal]
	WeightGrams    graphql.Omittable[*int]
	ImageID        graphql.Omittable[*id.ID]
}

// VariantDeleteInput is the variant that goes.
type VariantDeleteInput struct{ VariantID id.ID }

// VariantsReorderInput is all variants of a product in the order that they get.
type VariantsReorderInput struct {
	ProductID  id.ID
	VariantIDs []id.ID
}

// VariantsBulkUpdateInput is what changes of up to 100 variants.
type VariantsBulkUpdateInput struct{ Variants []VariantUpdateInput }

// VariantPayload is the outcome of writing a variant.
type VariantPayload struct {
	Variant    *Variant
	Product    *Product
	UserErrors []fault.Problem
}

// VariantDeletePayload is the outcome of deleting a variant.
type VariantDeletePayload struct {
	DeletedVariantID *id.ID
	Product          *Product
	UserErrors       []fault.Problem
}

// VariantsBulkUpdatePayload is the outcome of changing many variants: one result for each that was asked for, in order.
type VariantsBulkUpdatePayload struct {
	Results    []VariantUpdateResult
	UserErrors []fault.Problem
}

// VariantUpdateResult is what became of one of many variants.
type VariantUpdateResult struct {
	Variant    *Variant
	UserErrors []fault.Problem
}

// addVariant adds a variant to a draft, in the currency of the others.
func (d *Draft) addVariant(in VariantInput, shop money.Currency) error {
	v := VariantDraft{Variant: Variant{ID: id.New(), Currency: shop, OptionChoices: make([]string, len(d.Options))}}
	if len(d.Variants) > 0 {
		v.Currency = d.Variants[0].Currency
	}
	d.Variants = append(d.Variants, v)
	if len(in.OptionValues) != len(d.Options) {
		return refuse(fault.ProblemInvalid, "optionValues", "a variant has a value for each of the product's options, of which there are %d", len(d.Options))
	}
	return d.fillVariant(len(d.Variants)-1, VariantFields{
		OptionValues: graphql.OmittableOf(in.OptionValues), SKU: graphql.OmittableOf(in.SKU), Barcode: graphql.OmittableOf(in.Barcode),
		Price: graphql.OmittableOf(&in.Price), CompareAtPrice: graphql.OmittableOf(in.CompareAtPrice), WeightGrams: graphql.OmittableOf(in.WeightGrams),
	})
}

// fillVariant changes a variant of a draft as given.
func (d *Draft) fillVariant(i int, in VariantFields) error {
	v := &d.Variants[i]
	chosen := map[string]bool{}
	for _, c := range in.OptionValues.Value() {
		at := slices.IndexFunc(d.Options, func(o Option) bool { return o.Name == c.Name })
		switch {
		case at < 0:
			return refuse(fault.ProblemInvalid, "optionValues", "the product has no option %q", c.Name)
		case chosen[c.Name]:
			return refuse(fault.ProblemInvalid, "optionValues", "%q is given twice", c.Name)
		}
		chosen[c.Name] = true
		v.OptionChoices[at] = strings.TrimSpace(c.Value)
	}
	optional(in.SKU, &v.SKU)
	optional(in.Barcode, &v.Barcode)
	if price, ok := in.Price.ValueOK(); ok {
		if price == nil {
			return refuse(fault.ProblemInvalid, "price", "this can not be taken away")
		}
		minor, err := price.Minor(v.Currency)
		if err != nil {
			return refuse(fault.ProblemInvalid, "price", "%v", err)
		}
		v.PriceMinor = minor
	}
	if price, ok := in.CompareAtPrice.ValueOK(); ok {
		v.CompareAtMinor = nil
		if price != nil {
			minor, err := price.Minor(v.Currency)
			if err != nil {
				return refuse(fault.ProblemInvalid, "compareAtPrice", "%v", err)
			}
			v.CompareAtMinor = &minor
		}
	}
	if weight, ok := in.WeightGrams.ValueOK(); ok {
		v.WeightGrams = weight
	}
	if image, ok := in.ImageID.ValueOK(); ok {
		v.ImageID = nil
		if image != nil {
			if image.Kind != id.Media || d.medium(image.Key) < 0 {
				return refuse(fault.ProblemInvalid, "imageId", "the product has no such medium")
			}
			v.ImageID = &image.Key
		}
	}
	return nil
}

// CreateVariant gives a product another variant, of which there is nothing in stock. A value that its option does not have
// yet is added to it.
func (s *Service) CreateVariant(ctx context.Context, in VariantCreateInput) (*VariantPayload, error) {
	d, problems, err := s.editOf(ctx, audit.VariantCreated, id.Product, in.ProductID, func(_ context.Context, _ *postgres.Tx, d *Draft) error {
		if len(d.Variants) >= MaxVariants {
			return refuse(fault.ProblemTooMany, "", "a product has at most %d variants", MaxVariants)
		}
		if err := d.addVariant(in.VariantInput, s.currency); err != nil {
			return err
		}
		return d.fillVariant(len(d.Variants)-1, VariantFields{ImageID: graphql.OmittableOf(in.ImageID)})
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &VariantPayload{UserErrors: problems}, nil
	}
	return &VariantPayload{Variant: &d.Variants[len(d.Variants)-1].Variant, Product: &d.Product}, nil
}

// UpdateVariant changes a variant.
func (s *Service) UpdateVariant(ctx context.Context, in VariantUpdateInput) (*VariantPayload, error) {
	d, problems, err := s.editOf(ctx, audit.VariantUpdated, id.Variant, in.VariantID, func(_ context.Context, _ *postgres.Tx, d *Draft) error {
		return d.fillVariant(d.variant(in.VariantID.Key), in.VariantFields)
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &VariantPayload{UserErrors: problems}, nil
	}
	return &VariantPayload{Variant: &d.Variants[d.variant(in.VariantID.Key)].Variant, Product: &d.Product}, nil
}

// DeleteVariant deletes a variant that is not the last one of its product and of which orders under way hold nothing. What
// is on hand goes out of the books, by a movement of the ledger, which outlives the variant, like the history of its prices.
func (s *Service) DeleteVariant(ctx context.Context, in VariantDeleteInput) (*VariantDeletePayload, error) {
	d, problems, err := s.editOf(ctx, audit.VariantDeleted, id.Variant, in.VariantID, func(ctx context.Context, tx *postgres.Tx, d *Draft) error {
		if len(d.Variants) == 1 {
			return refuse(fault.ProblemInvalid, "variantId", "a product keeps one variant at least")
		}
		// Held until the end: an order that comes now finds no stock any more.
		stock, found, err := lockStock(ctx, tx, in.VariantID)
		switch {
		case err != nil:
			return err
		case found && stock.Held > 0:
			return refuse(fault.ProblemInUse, "variantId", "orders under way hold %d of it", stock.Held)
		}
		i := d.variant(in.VariantID.Key)
		d.Variants = slices.Delete(d.Variants, i, i+1)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &VariantDeletePayload{UserErrors: problems}, nil
	}
	return &VariantDeletePayload{DeletedVariantID: &in.VariantID, Product: &d.Product}, nil
}

// ReorderVariants puts all variants of a product into an order.
func (s *Service) ReorderVariants(ctx context.Context, in VariantsReorderInput) (*ProductPayload, error) {
	return productPayload(s.editOf(ctx, audit.ProductVariantsReordered, id.Product, in.ProductID, func(_ context.Context, _ *postgres.Tx, d *Draft) (err error) {
		d.Variants, err = reordered(d.Variants, func(v *VariantDraft) uuid.UUID { return v.ID }, id.Variant, in.VariantIDs, "variantIds")
		return err
	}))
}

// UpdateVariants changes up to 100 variants of any products, one after the other in the order given. One that can not be
// changed has problems of its own and keeps none of the others from being changed.
func (s *Service) UpdateVariants(ctx context.Context, in VariantsBulkUpdateInput) (*VariantsBulkUpdatePayload, error) {
	var results []VariantUpdateResult
	once := func() ([]fault.Problem, error) {
		return s.change(ctx, func(ctx context.Context, tx *postgres.Tx) (done []audit.Entry, err error) {
			if n := len(in.Variants); n == 0 || n > maxBulk {
				return nil, refuse(fault.ProblemTooMany, "variants", "there are %d variants, not 1 to %d", n, maxBulk)
			}
			results, done, err = s.updateVariants(ctx, tx, in.Variants)
			return done, err
		})
	}
	problems, err := once()
	// SKUs are looked up first. One that somebody else has taken since is found at the commit, which does not say whose it is.
	for range 3 {
		if len(problems) == 0 || problems[0].Code != fault.ProblemTaken {
			break
		}
		problems, err = once()
	}
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &VariantsBulkUpdatePayload{Results: []VariantUpdateResult{}, UserErrors: problems}, nil
	}
	return &VariantsBulkUpdatePayload{Results: results}, nil
}

func (s *Service) updateVariants(ctx context.Context, tx *postgres.Tx, items []VariantUpdateInput) ([]VariantUpdateResult, []audit.Entry, error) {
	var keys []uuid.UUID
	var skus []string
	for _, item := range items {
		if item.VariantID.Kind == id.Variant {
			keys = append(keys, item.VariantID.Key)
		}
		if sku := trimmed(item.SKU.Value()); sku != nil {
			skus = append(skus, *sku)
		}
	}
	products, err := postgres.Select(ctx, tx, productsOfVariants, pgx.RowTo[uuid.UUID], keys)
	if err != nil {
		return nil, nil, err
	}
	all, err := lockProducts(ctx, tx, products)
	if err != nil {
		return nil, nil, err
	}
	taken, err := variantsOfSKUs(ctx, tx, skus)
	if err != nil {
		return nil, nil, err
	}
	results, places := make([]VariantUpdateResult, len(items)), make([]int, len(items)) // places: of the product
	for n, item := range items {
		key := item.VariantID.Key
		at := slices.IndexFunc(all, func(e edited) bool { return e.is.variant(key) >= 0 })
		if places[n] = at; item.VariantID.Kind != id.Variant || at < 0 {
			results[n].UserErrors = refused(refuse(fault.ProblemInvalid, "variantId", "there is no such variant"))
			continue
		}
		d := all[at].is.clone()
		i := d.variant(key)
		before := d.Variants[i].SKU
		err := d.fillVariant(i, item.VariantFields)
		if err == nil {
			err = ofItem(s.check(d))
		}
		sku := d.Variants[i].SKU
		if owner, ok := taken[deref(sku)]; err == nil && ok && owner != key {
			err = refuse(fault.ProblemTaken, "sku", takenSKU)
		}
		if err != nil {
			if results[n].UserErrors = refused(err); results[n].UserErrors == nil {
				return nil, nil, err
			}
			continue
		}
		if !same(before, sku) {
			delete(taken, deref(before))
			if sku != nil {
				taken[*sku] = key
			}
		}
		all[at].is = d
	}
	if err := s.save(ctx, tx, moment(), all...); err != nil {
		return nil, nil, err
	}
	var done []audit.Entry
	for _, e := range all {
		done = append(done, e.told(ctx, audit.VariantUpdated)...)
	}
	for n, item := range items {
		if results[n].UserErrors == nil {
			d := all[places[n]].is
			results[n].Variant = &d.Variants[d.variant(item.VariantID.Key)].Variant
		}
	}
	return results, done, nil
}

// deref returns a text, "" for none.
func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// variantsOfSKUs returns which variants have SKUs.
func variantsOfSKUs(ctx context.Context, tx *postgres.Tx, skus []string) (map[string]uuid.UUID, error) {
	of := map[string]uuid.UUID{}
	if len(skus) == 0 {
		return of, nil
	}
	type row struct {
		SKU string
		ID  uuid.UUID
	}
	rows, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name: "products.skus", SQL: "SELECT sku, id FROM products.variants WHERE sku = ANY($1)", Reads: postgres.All("products.variants"),
	}, pgx.RowToStructByPos[row], skus)
	for _, r := range rows {
		of[r.SKU] = r.ID
	}
	return of, err
}

// OptionsSetInput is all options of a product, in order.
type OptionsSetInput struct {
	ProductID id.ID
	Options   []OptionSetInput
}

// OptionSetInput is an option as it becomes: the one that is named Was so far, otherwise the one that has the name already,
// otherwise a new one, of which the variants that there are get a value.
type OptionSetInput struct {
	Name          string
	Was           *string
	Values        []OptionValueSetInput
	VariantsValue *string // the first of Values when nil
}

// OptionValueSetInput is a value of an option as it becomes, found like the option.
type OptionValueSetInput struct {
	Value string
	Was   *string
}

// SetOptions gives a product options in place of those that it has, and its variants the values that follow. It refuses
// what would take the value of a variant away or make two variants alike.
func (s *Service) SetOptions(ctx context.Context, in OptionsSetInput) (*ProductPayload, error) {
	return productPayload(s.editOf(ctx, audit.ProductOptionsSet, id.Product, in.ProductID, func(_ context.Context, _ *postgres.Tx, d *Draft) error {
		return d.setOptions(in.Options)
	}))
}

func (d *Draft) setOptions(in []OptionSetInput) error {
	before := make([]string, len(d.Options))
	for i, o := range d.Options {
		before[i] = o.Name
	}
	options, used := make([]Option, len(in)), map[int]bool{}
	choices := make([][]string, len(d.Variants))
	for i, o := range in {
		field := fmt.Sprintf("options.%d.", i)
		options[i].Name = strings.TrimSpace(o.Name)
		old, err := formerly(before, o.Was, options[i].Name, used, field)
		if err != nil {
			return err
		}
		values, become := []string{}, map[string]string{} // become: of a former value
		if old >= 0 {
			values = d.Options[old].Values
		}
		taken := map[int]bool{}
		for j, v := range o.Values {
			value, field := strings.TrimSpace(v.Value), fmt.Sprintf("%svalues.%d.", field, j)
			if err := checkName(field+"value", "an option's value", value); err != nil {
				return err
			}
			if slices.Contains(options[i].Values, value) {
				return refuse(fault.ProblemInvalid, field+"value", "%q is there twice", value)
			}
			options[i].Values = append(options[i].Values, value)
			former, err := formerly(values, v.Was, value, taken, field)
			if err != nil {
				return err
			}
			if former >= 0 {
				become[values[former]] = value
			}
		}
		if len(o.Values) == 0 {
			return refuse(fault.ProblemInvalid, field+"values", "an option has one value at least")
		}
		first := options[i].Values[0]
		if o.VariantsValue != nil {
			if first = strings.TrimSpace(*o.VariantsValue); !slices.Contains(options[i].Values, first) {
				return refuse(fault.ProblemInvalid, field+"variantsValue", "%q is none of the values", first)
			}
		}
		for n := range d.Variants {
			value := first
			if old >= 0 {
				var ok bool
				if value, ok = become[d.Variants[n].OptionChoices[old]]; !ok {
					return refuse(fault.ProblemInUse, field+"values", "variant %q has the value %q", d.Variants[n].Title(), d.Variants[n].OptionChoices[old])
				}
			}
			choices[n] = append(choices[n], value)
		}
	}
	alike := map[string]int{}
	for n := range d.Variants {
		key := strings.Join(choices[n], "\x1f")
		if other, ok := alike[key]; ok {
			return refuse(fault.ProblemInUse, "options", "variants %q and %q would be alike", d.Variants[other].Title(), d.Variants[n].Title())
		}
		alike[key] = n
	}
	for n := range d.Variants {
		if d.Variants[n].OptionChoices = choices[n]; choices[n] == nil {
			d.Variants[n].OptionChoices = []string{}
		}
	}
	d.Options = options
	return nil
}

// formerly returns the place that something had under the name that it was said to have, otherwise under its own; -1 for
// what is new. Nothing is found twice.
func formerly(before []string, was *string, name string, used map[int]bool, field string) (int, error) {
	wanted := name
	if was != nil {
		wanted = *was
	}
	at := slices.Index(before, wanted)
	switch {
	case at < 0 && was != nil:
		return -1, refuse(fault.ProblemInvalid, field+"was", "there is no %q", *was)
	case at < 0:
		return -1, nil
	case used[at]:
		return -1, refuse(fault.ProblemInvalid, field+"was", "%q becomes two", wanted)
	}
	used[at] = true
	return at, nil
}
