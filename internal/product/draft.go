package product

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/intake"
	"emporium/internal/markup"
	"emporium/internal/money"
)

// Bounds of a product, beside MaxVariants.
const (
	MaxOptions  = 3
	MaxMedia    = 250
	MaxTags     = 250
	MaxAlt      = 5000    // characters
	MaxMetadata = 100_000 // bytes of JSON

	maxName        = 255     // characters of a slug, title, vendor, type, tag, option, value, SKU or barcode
	maxDescription = 200_000 // characters; a search vector holds a megabyte
	maxSide        = 1_000_000
)

// Draft is a product with all that belongs to it, as it is written as a whole. The order in the slices is the order in
// the shop; positions need not be given. Load and Upsert complete the drafts that they are given: a zero ID is made, of
// a zero CreatedAt the present is taken, an empty Status is DRAFT, the values of variants are added to those of the
// options, and Currency, PriceMin and PriceMax are drawn from the variants.
type Draft struct {
	Product
	Options     []Option
	Media       []Media
	Variants    []VariantDraft
	Collections []uuid.UUID // nil leaves those of an existing product alone
}

// VariantDraft is a variant of a Draft. It has one of OptionChoices for each option, and the currency of the other
// variants; an empty one is the shop's. ImageID follows from ImagePosition.
type VariantDraft struct {
	Variant
	OnHand        *int // nil leaves the stock of an existing variant alone; a new one has none
	ImagePosition int  // of the variant's picture in Media, from 1; 0 without one
}

// DraftError is what is wrong with one draft of a sequence.
type DraftError struct {
	Index int // of the draft in the sequence, from 0
	Slug  string
	Err   error
}

// Error names the product and what is wrong with it.
func (e *DraftError) Error() string { return fmt.Sprintf("product %q: %v", e.Slug, e.Err) }

// Unwrap returns what is wrong.
func (e *DraftError) Unwrap() error { return e.Err }

// wrong returns the error that something of a draft is not acceptable. Field is its path in the draft, with dots.
func wrong(field, format string, args ...any) error {
	return &fault.Error{Code: fault.BadUserInput, Message: fmt.Sprintf(format, args...), Field: strings.Split(field, ".")}
}

// checkName checks a text that has to be there.
func checkName(field, what, text string) error {
	if n := utf8.RuneCountInString(text); n == 0 || n > maxName {
		return wrong(field, "%s has %d characters, not 1 to %d", what, n, maxName)
	}
	return nil
}

// checkOptional checks a text that may be missing. An empty one is none.
func checkOptional(field, what string, text **string) error {
	if *text == nil || **text == "" {
		*text = nil
		return nil
	}
	return checkName(field, what, **text)
}

// checkLong checks a description.
func checkLong(field, what, text string) error {
	if utf8.RuneCountInString(text) > maxDescription {
		return wrong(field, "%s has more than %d characters", what, maxDescription)
	}
	return nil
}

// checkSlug checks a name in addresses, of which it is one part.
func checkSlug(slug string) error {
	if strings.ContainsFunc(slug, func(r rune) bool { return r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return wrong("slug", "%.100q contains a space or a slash", slug)
	}
	return checkName("slug", "the slug", slug)
}

func checkMetadata(metadata map[string]any) error {
	if text, err := json.Marshal(metadata); err != nil || len(text) > MaxMetadata {
		return wrong("metadata", "metadata have at most %d characters as JSON", MaxMetadata)
	}
	return nil
}

// Describe gives the product a description, of which what is dangerous is taken out.
func (p *Product) Describe(html string) error {
	// What is longer takes long to be cleaned, too.
	if err := checkLong("descriptionHtml", "the description", html); err != nil {
		return err
	}
	p.DescriptionHTML, p.Description = markup.Clean(html)
	return nil
}

// Check holds a draft, of a shop with this currency, against all that a product has to keep to, and leaves it as it is. The
// error names the path in the draft.
func (d *Draft) Check(shop money.Currency) error {
	return cmp.Or(checkSlug(d.Slug), checkMetadata(d.Metadata), d.clone().complete(shop))
}

// complete checks a draft and makes it whole, but for IDs and times.
func (d *Draft) complete(shop money.Currency) error {
	if d.Status == "" {
		d.Status = StatusDraft
	}
	if !slices.Contains([]Status{StatusDraft, StatusActive, StatusArchived}, d.Status) {
		return wrong("status", "%.20q is not a status", d.Status)
	}
	for _, err := range []error{checkName("slug", "the slug", d.Slug), checkName("title", "the title", d.Title),
		checkOptional("vendor", "the vendor", &d.Vendor), checkOptional("type", "the type", &d.Type),
		checkLong("descriptionHtml", "the description", d.Description), checkLong("descriptionHtml", "the description", d.DescriptionHTML),
		checkLong("seo.title", "the title for search engines", deref(d.SEOTitle)),
		checkLong("seo.description", "the description for search engines", deref(d.SEODescription))} {
		if err != nil {
			return err
		}
	}
	d.CreatedAt, d.UpdatedAt = d.CreatedAt.Truncate(time.Microsecond), d.UpdatedAt.Truncate(time.Microsecond)
	for _, t := range []**time.Time{&d.PublishedAt, &d.PublishAt, &d.UnpublishAt} {
		if *t != nil {
			*t = new((*t).Truncate(time.Microsecond))
		}
	}
	tags := []string{}
	for i, tag := range d.Tags {
		if err := checkName(fmt.Sprintf("tags.%d", i), "a tag", tag); err != nil {
			return err
		}
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	if d.Tags = tags; len(tags) > MaxTags {
		return wrong("tags", "there are %d tags, more than %d", len(tags), MaxTags)
	}

	if len(d.Options) > MaxOptions {
		return wrong("options", "there are %d options, more than %d", len(d.Options), MaxOptions)
	}
	if len(d.Media) > MaxMedia {
		return wrong("media", "there are %d media, more than %d", len(d.Media), MaxMedia)
	}
	if len(d.Variants) > MaxVariants {
		return wrong("variants", "there are %d variants, more than %d", len(d.Variants), MaxVariants)
	}
	names := make([]string, len(d.Options))
	for i := range d.Options {
		o, field := &d.Options[i], fmt.Sprintf("options.%d.name", i)
		if err := checkName(field, "an option's name", o.Name); err != nil {
			return err
		}
		if slices.Contains(names[:i], o.Name) {
			return wrong(field, "two options are named %q", o.Name)
		}
		names[i], o.Position = o.Name, i+1
		for j, value := range o.Values {
			if err := checkName(fmt.Sprintf("options.%d.values.%d", i, j), "an option's value", value); err != nil {
				return err
			}
		}
	}
	for i := range d.Media {
		m, field := &d.Media[i], fmt.Sprintf("media.%d.", i)
		m.Position = i + 1
		if m.Kind == "" {
			m.Kind = MediaImage
		}
		if m.Kind != MediaImage && m.Kind != MediaVideo {
			return wrong(field+"kind", "%.20q is not a kind of media", m.Kind)
		}
		if err := intake.CheckURL(m.URL); err != nil {
			return wrong(field+"url", "%v", err)
		}
		if n := utf8.RuneCountInString(deref(m.Alt)); n > MaxAlt {
			return wrong(field+"alt", "the text has %d characters, more than %d", n, MaxAlt)
		}
		if (m.Width == nil) != (m.Height == nil) || m.Width != nil && min(*m.Width, *m.Height) < 1 {
			return wrong(field+"width", "the width and the height of medium %d are not both positive or both unknown", i+1)
		}
		if m.Width != nil && max(*m.Width, *m.Height) > maxSide {
			return wrong(field+"width", "medium %d is wider or higher than %d", i+1, maxSide)
		}
	}

	d.Currency, d.PriceMin, d.PriceMax = nil, nil, nil
	choices, skus := map[string]int{}, map[string]int{}
	for i := range d.Variants {
		v, n := &d.Variants[i], i+1
		bad := func(field, format string, args ...any) error {
			return wrong(variantField(i)+field, format, args...)
		}
		v.Position, v.OptionNames = n, names
		if len(v.OptionChoices) != len(d.Options) {
			return bad("optionValues", "variant %d has %d option values for %d options", n, len(v.OptionChoices), len(d.Options))
		}
		for j, value := range v.OptionChoices {
			if err := checkName(variantField(i)+"optionValues", "an option's value", value); err != nil {
				return err
			}
			if !slices.Contains(d.Options[j].Values, value) {
				d.Options[j].Values = append(d.Options[j].Values, value)
			}
		}
		for _, err := range []error{checkOptional(variantField(i)+"sku", "the SKU", &v.SKU),
			checkOptional(variantField(i)+"barcode", "the barcode", &v.Barcode)} {
			if err != nil {
				return err
			}
		}
		key := strings.Join(v.OptionChoices, "\x1f")
		if other := choices[key]; other > 0 {
			return bad("optionValues", "variants %d and %d have the same option values", other, n)
		}
		choices[key] = n
		if v.SKU != nil {
			if other := skus[*v.SKU]; other > 0 {
				return bad("sku", "variants %d and %d have the SKU %q", other, n, *v.SKU)
			}
			skus[*v.SKU] = n
		}
		if v.Currency == "" {
			v.Currency = shop
		}
		switch {
		case v.Currency != d.Variants[0].Currency:
			return bad("price", "variant %d has a price in %s, others in %s", n, v.Currency, d.Variants[0].Currency)
		case v.PriceMinor < 0:
			return bad("price", "variant %d has a negative price", n)
		case v.CompareAtMinor != nil && *v.CompareAtMinor < 0:
			return bad("compareAtPrice", "variant %d has a negative price", n)
		case v.WeightGrams != nil && *v.WeightGrams < 0:
			return bad("weightGrams", "variant %d has a negative weight", n)
		case v.OnHand != nil && *v.OnHand < 0:
			return bad("onHand", "variant %d has a negative stock", n)
		case v.OnHand != nil && *v.OnHand > maxStock:
			return bad("onHand", "variant %d has a stock of more than %d", n, maxStock)
		case v.ImagePosition < 0 || v.ImagePosition > len(d.Media):
			return bad("imageId", "variant %d has picture %d of %d", n, v.ImagePosition, len(d.Media))
		}
		if d.Currency == nil {
			d.Currency, d.PriceMin, d.PriceMax = &v.Currency, new(v.PriceMinor), new(v.PriceMinor)
		}
		*d.PriceMin, *d.PriceMax = min(*d.PriceMin, v.PriceMinor), max(*d.PriceMax, v.PriceMinor)
	}
	for i := range d.Options {
		if len(d.Options[i].Values) == 0 {
			return wrong(fmt.Sprintf("options.%d.values", i), "option %q has no values", d.Options[i].Name)
		}
	}
	return nil
}

// variantField is the path of a variant in a draft, to which that of one of its fields is added.
func variantField(i int) string { return fmt.Sprintf("variants.%d.", i) }

// keepSchedule takes away what of the schedule has no meaning in the product's status.
func (d *Draft) keepSchedule() {
	if d.Status != StatusDraft {
		d.PublishAt = nil
	}
	if d.Status == StatusArchived || d.Status == StatusDraft && d.PublishAt == nil {
		d.UnpublishAt = nil
	}
}

// optionPairs are what an option filter is matched with.
func (d *Draft) optionPairs() []string {
	pairs := []string{}
	for _, v := range d.Variants {
		for i, value := range v.OptionChoices {
			if i < len(d.Options) {
				pairs = append(pairs, optionPair(d.Options[i].Name, value))
			}
		}
	}
	slices.Sort(pairs)
	return slices.Compact(pairs)
}

// optionPair is an element of products.option_pairs.
func optionPair(name, value string) string { return name + "\x1f" + value }

// searchText is what is searched besides title and description.
func (d *Draft) searchText() string {
	parts := slices.Clone(d.Tags)
	for _, part := range []*string{d.Type, d.Vendor} {
		if part != nil {
			parts = append(parts, *part)
		}
	}
	return strings.Join(parts, "\n")
}

// link gives everything of a draft its ID and says whose it is.
func (d *Draft) link() {
	d.keepSchedule()
	for i := range d.Options {
		d.Options[i].ProductID = d.ID
	}
	for i := range d.Media {
		m := &d.Media[i]
		if m.ProductID = d.ID; m.ID == uuid.Nil {
			m.ID = id.New()
		}
	}
	for i := range d.Variants {
		v := &d.Variants[i]
		if v.ProductID = d.ID; v.ID == uuid.Nil {
			v.ID = id.New()
		}
		v.ImageID = nil
		if v.ImagePosition > 0 {
			v.ImageID = new(d.Media[v.ImagePosition-1].ID)
		}
	}
}
