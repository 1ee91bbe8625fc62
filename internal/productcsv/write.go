package productcsv

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"emporium/internal/markup"
	"emporium/internal/money"
	"emporium/internal/product"
)

// Writer writes products as Read reads them: the same products give the same bytes. It is used by one goroutine at a
// time.
type Writer struct {
	csv      *csv.Writer
	currency money.Currency
	begun    bool
}

// NewWriter returns a Writer of products with prices in the currency.
func NewWriter(w io.Writer, currency money.Currency) *Writer {
	return &Writer{csv: csv.NewWriter(w), currency: currency}
}

// Write writes one product, which comes after Flush or with later ones. It fails, naming the product, when prices are in
// another currency or the product does not hold together.
func (w *Writer) Write(d *product.Draft) error {
	rows, err := w.rows(d)
	if err != nil {
		return fmt.Errorf("product %q: %w", d.Slug, err)
	}
	if err := w.begin(); err != nil {
		return err
	}
	for _, cells := range rows {
		if err := w.csv.Write(cells); err != nil {
			return fmt.Errorf("write products: %w", err)
		}
	}
	return nil
}

// Flush writes what is buffered, and the header if nothing was written before.
func (w *Writer) Flush() error {
	if err := w.begin(); err != nil {
		return err
	}
	w.csv.Flush()
	if err := w.csv.Error(); err != nil {
		return fmt.Errorf("write products: %w", err)
	}
	return nil
}

// begin writes the header once.
func (w *Writer) begin() error {
	if w.begun {
		return nil
	}
	w.begun = true
	header := make([]string, len(columns))
	for i, c := range columns {
		header[i] = c.name
	}
	if err := w.csv.Write(header); err != nil {
		return fmt.Errorf("write products: %w", err)
	}
	return nil
}

// place tells for each column where it stands.
var place = func() map[string]int {
	at := make(map[string]int, len(columns))
	for i, c := range columns {
		at[c.name] = i
	}
	return at
}()

// rows returns the rows of a product.
func (w *Writer) rows(d *product.Draft) ([][]string, error) {
	switch {
	case len(d.Options) > product.MaxOptions:
		return nil, fmt.Errorf("there are %d options, more than %d", len(d.Options), product.MaxOptions)
	case len(d.Variants) > product.MaxVariants:
		return nil, fmt.Errorf("there are %d variants, more than %d", len(d.Variants), product.MaxVariants)
	case len(d.Variants) > 1 && len(d.Options) == 0:
		return nil, fmt.Errorf("there are %d variants, but no options", len(d.Variants))
	case len(d.Media) > product.MaxMedia:
		return nil, fmt.Errorf("there are %d media, more than %d", len(d.Media), product.MaxMedia)
	}
	rest, _ := clone(d.Metadata).(map[string]any)
	rows := make([][]string, max(1, len(d.Variants), len(d.Media)))
	for i := range rows {
		rows[i] = make([]string, len(columns))
		set := func(name, value string) { rows[i][place[name]] = value }
		set("Handle", d.Slug)
		if i < len(d.Variants) {
			if err := w.variant(d, &d.Variants[i], set); err != nil {
				return nil, fmt.Errorf("variant %d: %w", i+1, err)
			}
		}
		if i < len(d.Media) {
			m := d.Media[i]
			set("Image Src", m.URL)
			set("Image Position", strconv.Itoa(i+1))
			set("Image Alt Text", text(m.Alt))
		}
		for _, c := range columns {
			// Where Read would put the cell is where the value is taken from.
			position, usual := strconv.Itoa(i+1), ""
			if i == 0 && c.scope == ofProduct || i < len(d.Variants) && c.scope == ofVariant {
				usual = c.usual
			}
			switch {
			case !c.kept:
			case i == 0 && c.scope == ofProduct:
				set(c.name, take(rest, c, usual, "product"))
			case i < len(d.Variants):
				set(c.name, take(rest, c, usual, "variants", position))
			case i > 0 && c.scope == ofProduct:
				set(c.name, take(rest, c, usual, "images", position))
			}
		}
	}
	if err := w.product(d, rest, func(name, value string) { rows[0][place[name]] = value }); err != nil {
		return nil, err
	}
	for _, cells := range rows {
		for i, cell := range cells {
			cell = newlines.Replace(cell)
			if formula.MatchString(cell) {
				cell = "'" + cell
			}
			if err := textual(cell); err != nil {
				return nil, fmt.Errorf("column %q: the text %w", columns[i].name, err)
			}
			cells[i] = cell
		}
	}
	return rows, nil
}

// product writes what the first row alone has.
func (w *Writer) product(d *product.Draft, rest map[string]any, set func(name, value string)) error {
	body, _ := markup.Clean(d.DescriptionHTML)
	set("Title", d.Title)
	set("Body (HTML)", body)
	set("Vendor", text(d.Vendor))
	set("Type", text(d.Type))
	set("SEO Title", text(d.SEOTitle))
	set("SEO Description", text(d.SEODescription))
	status := strings.ToLower(string(d.Status))
	if statuses[status] == "" {
		return fmt.Errorf("%.20q is not a status", d.Status)
	}
	set("Status", status)
	published := strconv.FormatBool(d.Status == product.StatusActive)
	set("Published", take(rest, column{name: "Published", flag: true, usual: published}, published, "product"))

	var more extra
	tags := strings.Join(d.Tags, ", ")
	if !slices.Equal(split(newlines.Replace(tags)), d.Tags) {
		more.Tags = d.Tags
	}
	set("Tags", tags)

	for i, o := range d.Options {
		set(fmt.Sprintf("Option%d Name", i+1), o.Name)
		var used []string
		for _, v := range d.Variants {
			if !slices.Contains(used, v.OptionChoices[i]) {
				used = append(used, v.OptionChoices[i])
			}
		}
		if !slices.Equal(used, o.Values) && len(o.Values) > 0 {
			if more.Options == nil {
				more.Options = map[string][]string{}
			}
			more.Options[o.Name] = o.Values
		}
	}
	if len(d.Options) == 0 && len(d.Variants) > 0 {
		set("Option1 Name", defaultOption)
	}

	for _, m := range d.Media {
		about := medium{Kind: m.Kind, Width: m.Width, Height: m.Height}
		if about.Kind == product.MediaImage {
			about.Kind = ""
		}
		if about != (medium{}) {
			if more.Media == nil {
				more.Media = map[string]medium{}
			}
			more.Media[m.URL] = about
		}
	}

	more.Metadata = rest
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(more); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	if text := strings.TrimSuffix(b.String(), "\n"); text != "{}" {
		set(ExtraColumn, text)
	}
	return nil
}

// variant writes what a row with a variant has.
func (w *Writer) variant(d *product.Draft, v *product.VariantDraft, set func(name, value string)) error {
	switch {
	case v.Currency != w.currency:
		return fmt.Errorf("the price is in %s, not in %s", v.Currency, w.currency)
	case len(v.OptionChoices) != len(d.Options):
		return fmt.Errorf("there are %d option values for %d options", len(v.OptionChoices), len(d.Options))
	case v.ImagePosition < 0 || v.ImagePosition > len(d.Media):
		return fmt.Errorf("it has picture %d of %d", v.ImagePosition, len(d.Media))
	}
	for i, value := range v.OptionChoices {
		set(fmt.Sprintf("Option%d Value", i+1), value)
	}
	if len(d.Options) == 0 {
		set("Option1 Value", defaultValue)
	}
	set("Variant SKU", text(v.SKU))
	set("Variant Barcode", text(v.Barcode))
	set("Variant Price", v.Price().Amount().String())
	if before := v.CompareAtPrice(); before != nil {
		set("Variant Compare At Price", before.Amount().String())
	}
	if v.WeightGrams != nil {
		set("Variant Grams", strconv.Itoa(*v.WeightGrams))
	}
	if v.OnHand != nil {
		set("Variant Inventory Qty", strconv.Itoa(*v.OnHand))
	}
	if v.ImagePosition > 0 {
		set("Variant Image", d.Media[v.ImagePosition-1].URL)
	}
	return nil
}

// text returns an optional text.
func text(t *string) string {
	if t == nil {
		return ""
	}
	return *t
}

// clone returns a copy of a JSON value whose objects can be changed.
func clone(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	c := make(map[string]any, len(object))
	for key, below := range object {
		c[key] = clone(below)
	}
	return c
}

// take returns what stands in a kept column: the value that the metadata has at the path below MetadataKey, taken out of
// it, or otherwise what is usual there. A value that Read would not put back there is left in the metadata.
func take(metadata map[string]any, c column, usual string, path ...string) string {
	path = append([]string{MetadataKey}, path...)
	at := make([]map[string]any, len(path)+1)
	at[0] = metadata
	for i, key := range path {
		below, ok := at[i][key].(map[string]any)
		if !ok {
			return usual
		}
		at[i+1] = below
	}
	value, _ := at[len(path)][c.name].(string)
	if value == "" || value == c.usual || c.flag && value != "true" && value != "false" ||
		newlines.Replace(value) != value || textual(value) != nil {
		return usual
	}
	delete(at[len(path)], c.name)
	for i := len(path); i > 0 && len(at[i]) == 0; i-- {
		delete(at[i-1], path[i-1])
	}
	return value
}
