package productcsv

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"emporium/internal/fault"
	"emporium/internal/intake"
	"emporium/internal/money"
	"emporium/internal/product"
)

// Read turns a file into drafts, one at a time, in memory that grows with the number of products by a few bytes for each.
// File is its name in errors; prices are in the currency. The sequence can be gone through once. It ends with an *Error
// at the first thing that is wrong.
//
// A draft has all that the file can say of a product: what is empty there is empty in the draft. Metadata is never nil.
// A product is ACTIVE, DRAFT or ARCHIVED by its Status where there is one, otherwise ACTIVE unless Published is false.
// Pictures are in the order of their positions, then those without one as they come; one that only a variant names comes
// last. Texts and products have to keep to what package intake and product.Draft.Check say, as in mutations; texts are brought
// into Unicode normalisation form C, and HTML is cleaned.
func Read(r io.Reader, file string, currency money.Currency) iter.Seq2[*product.Draft, error] {
	f := &reading{
		file: file, currency: currency, in: &bounded{r: r},
		seed: maphash.MakeSeed(), handles: map[uint64]int{}, skus: map[uint64]int{},
	}
	return func(yield func(*product.Draft, error) bool) {
		if err := f.products(func(d *product.Draft) bool { return yield(d, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// reading is a file that is being read.
type reading struct {
	file     string
	currency money.Currency
	in       *bounded
	csv      *csv.Reader
	line     int // where the next row starts, or a later one if lines are empty

	header []column
	at     map[string]int // of a column in the header
	ours   bool           // written by Write

	seed          maphash.Seed
	handles, skus map[uint64]int // lines by hash: of 100,000 texts two collide once in 3 billion files
}

// errTooLong is what bounded answers.
var errTooLong = fault.Newf(fault.BadUserInput, "the row is longer than %d bytes; is a quote not closed?", maxRow)

// bounded keeps a row that does not end from filling the memory.
type bounded struct {
	r          io.Reader
	read, mark int64 // bytes: given out; up to the end of the last row
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.read-b.mark > maxRow {
		return 0, errTooLong
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	return n, err
}

func (f *reading) products(yield func(*product.Draft) bool) error {
	if f.csv != nil {
		return f.wrong(1, "", errors.New("a file can be read only once"))
	}
	if err := f.open(); err != nil {
		return err
	}
	var p *building
	for {
		r, err := f.next()
		if err != nil && err != io.EOF {
			return err
		}
		if p != nil && (err == io.EOF || r.value("Handle") != p.draft.Slug) {
			d, err := p.finish()
			if err != nil {
				return err
			}
			if !yield(d) {
				return nil
			}
			p = nil
		}
		switch {
		case err == io.EOF:
			return nil
		case p == nil:
			p, err = f.begin(r)
		default:
			err = p.add(r)
		}
		if err != nil {
			return err
		}
	}
}

func (f *reading) wrong(line int, column string, err error) *Error {
	return &Error{File: f.file, Line: line, Column: column, Err: err}
}

// open reads the header.
func (f *reading) open() error {
	start := bufio.NewReader(f.in.r)
	f.in.r = start
	f.csv = csv.NewReader(f.in)
	f.csv.FieldsPerRecord = -1 // counted by next, which says more about it
	f.line = 1
	bad := func(column, format string, args ...any) error {
		return f.wrong(f.line, column, fault.Newf(fault.BadUserInput, format, args...))
	}
	switch mark, _ := start.Peek(3); {
	case bytes.HasPrefix(mark, []byte("\xef\xbb\xbf")):
		_, _ = start.Discard(3)
	case bytes.HasPrefix(mark, []byte("\xff\xfe")), bytes.HasPrefix(mark, []byte("\xfe\xff")):
		return bad("", "the file is UTF-16; save it as UTF-8")
	}
	r, err := f.read()
	if err == io.EOF {
		return bad("", "the file is empty")
	}
	if err != nil {
		return err
	}
	f.line = r.line
	if len(r.cells) > maxColumns {
		return bad("", "there are %d columns, more than %d", len(r.cells), maxColumns)
	}
	f.at = make(map[string]int, len(r.cells))
	folded := map[string]bool{}
	for i, cell := range r.cells {
		name := intake.Normalize(strings.TrimSpace(cell))
		c := column{name: name, kept: true}
		if strings.HasPrefix(name, "Variant ") {
			c.scope = ofVariant
		}
		if known := slices.IndexFunc(columns, func(c column) bool { return strings.EqualFold(c.name, name) }); known >= 0 {
			c = columns[known]
		}
		f.header = append(f.header, c)
		if name == "" {
			continue // harmless as long as the cells below are empty too
		}
		if err := textual(name); err != nil {
			return bad("", "the name of column %d %v", i+1, err)
		}
		if err := intake.CheckText(name); err != nil {
			return bad("", "the name of column %d: %v", i+1, err)
		}
		fold := strings.ToLower(name)
		if folded[fold] {
			return bad(name, "there are two columns of that name")
		}
		folded[fold] = true
		f.at[c.name] = i
	}
	var missing []string
	for _, name := range required {
		if _, ok := f.at[name]; !ok {
			missing = append(missing, strconv.Quote(name))
		}
	}
	if len(missing) > 0 {
		hint := ""
		if len(r.cells) == 1 && strings.ContainsAny(r.cells[0], ";\t") {
			hint = "; the cells have to be separated by commas"
		}
		return bad("", "missing from the header: %s%s", strings.Join(missing, ", "), hint)
	}
	_, f.ours = f.at[ExtraColumn]
	return nil
}

// textual returns what keeps a text from being one.
func textual(text string) error {
	switch {
	case !utf8.ValidString(text):
		return errors.New("is not UTF-8")
	case strings.Contains(text, "\x00"):
		return errors.New("contains a NUL character")
	case len(text) > maxCell:
		return fmt.Errorf("is longer than %d bytes", maxCell)
	}
	return nil
}

// newlines makes line ends alike. A reader of CSV makes some of them so anyway.
var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// read returns the next row as it stands there, or io.EOF.
func (f *reading) read() (*row, error) {
	f.in.mark = f.csv.InputOffset()
	cells, err := f.csv.Read()
	var syntax *csv.ParseError
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case errors.As(err, &syntax):
		reason := "text follows a closing quote, or a quoted cell is not closed"
		if errors.Is(err, csv.ErrBareQuote) {
			reason = "a quote stands in a cell that is not quoted"
		}
		return nil, f.wrong(syntax.StartLine, "", fault.Newf(fault.BadUserInput, "%s (line %d, byte %d)",
			reason, syntax.Line, syntax.Column))
	case err != nil:
		return nil, f.wrong(f.line, "", err)
	}
	r := &row{reading: f, cells: cells, start: f.in.mark}
	r.line, _ = f.csv.FieldPos(0)
	last := len(cells) - 1
	f.line, _ = f.csv.FieldPos(last)
	f.line += strings.Count(cells[last], "\n") + 1
	return r, nil
}

// next returns the next row that is not empty, checked and with its texts as they were meant, or io.EOF.
func (f *reading) next() (*row, error) {
	for {
		r, err := f.read()
		if err != nil {
			return nil, err
		}
		empty := true
		for i, cell := range r.cells {
			name := ""
			if i < len(f.header) {
				name = f.header[i].name
			}
			if err := textual(cell); err != nil {
				r.fail(name, "the text %v", err)
			} else if err := intake.CheckText(cell); err != nil {
				r.fail(name, "%v", err)
			}
			cell = newlines.Replace(intake.Normalize(cell))
			if f.ours && strings.HasPrefix(cell, "'") && formula.MatchString(cell) {
				cell = cell[1:]
			}
			if strings.TrimSpace(cell) != "" {
				empty = false
				if i < len(f.header) && name == "" {
					r.fail("", "column %d has a value but no name", i+1)
				}
			}
			r.cells[i] = cell
		}
		if r.err == nil && empty {
			continue
		}
		if len(r.cells) != len(f.header) {
			r.fail("", "there are %d cells, but %d columns", len(r.cells), len(f.header))
		}
		if r.err == nil && r.value("Handle") == "" {
			r.fail("Handle", "the handle is missing")
		}
		return r, r.err
	}
}

// row is a row of a file, with the first thing found wrong with it. What is asked of it after that is meaningless.
type row struct {
	*reading
	line  int
	start int64 // byte of the file
	cells []string
	err   error
}

func (r *row) fail(column, format string, args ...any) {
	if r.err == nil {
		r.err = r.wrong(r.line, column, fault.Newf(fault.BadUserInput, format, args...))
	}
}

// cell returns the text of a column exactly; of one that is not there nothing.
func (r *row) cell(name string) string {
	if i, ok := r.at[name]; ok {
		return r.cells[i]
	}
	return ""
}

// value is cell for what is not prose.
func (r *row) value(name string) string { return strings.TrimSpace(r.cell(name)) }

func (r *row) optional(name string) *string {
	if text := r.cell(name); text != "" {
		return &text
	}
	return nil
}

// flag returns "true", "false", or "" for an empty cell.
func (r *row) flag(name string) string {
	flag := strings.ToLower(r.value(name))
	if flag != "" && flag != "true" && flag != "false" {
		r.fail(name, "%.40q is neither true nor false", flag)
	}
	return flag
}

// whole matches a whole number of grams, which other programs like to write with decimals.
var whole = regexp.MustCompile(`^(-?[0-9]+)\.0+$`)

func (r *row) number(name string) *int {
	text := r.value(name)
	if text == "" {
		return nil
	}
	digits := text
	if name == "Variant Grams" {
		digits = whole.ReplaceAllString(text, "$1")
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	switch {
	case errors.Is(err, strconv.ErrRange):
		r.fail(name, "%.40q is beyond what can be counted", text)
	case err != nil || digits[0] == '+':
		r.fail(name, "%.40q is not a whole number", text)
	case n < 0 && name == "Variant Inventory Qty":
		r.fail(name, "%d is negative: stock that is oversold can not be kept; write 0 if there is none", n)
	case n < 0:
		r.fail(name, "%d is negative", n)
	}
	return new(int(n))
}

func (r *row) amount(name string) *int64 {
	text := r.value(name)
	if text == "" {
		return nil
	}
	amount, err := money.Parse(text, r.currency)
	var said *fault.Error
	switch {
	case err != nil && strings.Contains(text, ","):
		r.fail(name, "%.40q has a comma: write prices without thousands separators, with a point before decimals", text)
	case errors.As(err, &said):
		r.fail(name, "%s", said.Message)
	case err != nil:
		r.fail(name, "%v", err)
	case amount.Minor < 0:
		r.fail(name, "%s is negative", amount)
	}
	return &amount.Minor
}

// hasVariant tells whether the row says anything about a variant. Cells that say what is usual are also found in rows
// that have a picture alone.
func (r *row) hasVariant() bool {
	for i, c := range r.header {
		if cell := strings.TrimSpace(r.cells[i]); c.scope == ofVariant && cell != "" && !strings.EqualFold(cell, c.usual) {
			return true
		}
	}
	return false
}

// building is a product whose rows are being read.
type building struct {
	first    *row
	draft    *product.Draft
	extra    extra
	options  map[string]int // line of each combination of option values
	images   []*image
	pictures []string // URL of each variant's, or ""
	rows     []*row   // of the variants
	kept     []kept
	size     int // of kept, in bytes
}

type image struct {
	product.Media
	place  int // as given; 0 when it is not
	row    *row
	column string // with the address
}

// kept is a cell that the catalogue has no place for.
type kept struct {
	variant      int    // position of the variant it belongs to, or 0
	image        *image // that it belongs to, or nil
	column, text string
}

// begin starts a product with its first row.
func (f *reading) begin(r *row) (*building, error) {
	d := &product.Draft{}
	b := &building{first: r, draft: d, options: map[string]int{}}

	d.Slug = r.value("Handle")
	hash := maphash.String(f.seed, d.Slug)
	if line, again := f.handles[hash]; again {
		r.fail("Handle", "%.100q was on line %d already; the rows of a product have to follow one another", d.Slug, line)
	}
	f.handles[hash] = r.line

	if d.Title = r.cell("Title"); strings.TrimSpace(d.Title) == "" {
		r.fail("Title", "the title is missing from the first row of the product")
	}
	if err := d.Describe(r.cell("Body (HTML)")); err != nil {
		r.fail("Body (HTML)", "%v", err)
	}
	d.Vendor, d.Type = r.optional("Vendor"), r.optional("Type")
	d.SEOTitle, d.SEODescription = r.optional("SEO Title"), r.optional("SEO Description")

	published, status := r.flag("Published"), strings.ToLower(r.value("Status"))
	d.Status = product.StatusActive
	if published == "false" {
		d.Status = product.StatusDraft
	}
	if status != "" {
		if d.Status = statuses[status]; d.Status == "" {
			r.fail("Status", "%.40q is none of active, draft and archived", status)
		}
		if published != "" && published != strconv.FormatBool(d.Status == product.StatusActive) {
			b.keep(r, kept{column: "Published", text: published})
		}
	}

	if text := r.cell(ExtraColumn); text != "" {
		if err := b.extra.parse(text); err != nil {
			r.fail(ExtraColumn, "%v", err)
		}
	}
	d.Tags = split(r.cell("Tags"))
	if b.extra.Tags != nil && strings.Join(b.extra.Tags, ", ") == r.cell("Tags") {
		d.Tags = b.extra.Tags
	}
	for i := range product.MaxOptions {
		column := fmt.Sprintf("Option%d Name", i+1)
		name := r.cell(column)
		switch {
		case name == "":
		case len(d.Options) < i:
			r.fail(column, "there is an option after one without a name")
		case slices.ContainsFunc(d.Options, func(o product.Option) bool { return o.Name == name }):
			r.fail(column, "two options are named %.100q", name)
		default:
			d.Options = append(d.Options, product.Option{Position: i + 1, Name: name})
		}
	}

	b.row(r)
	return b, r.err
}

// split reads tags.
func split(cell string) []string {
	tags := []string{}
	for tag := range strings.SplitSeq(cell, ",") {
		if tag = strings.TrimSpace(tag); tag != "" && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

func (e *extra) parse(text string) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fmt.Errorf("the JSON is not what Emporium writes: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("something follows the JSON")
	}
	value, err := intake.JSON(value)
	if err != nil {
		return err
	}
	normalized, err := json.Marshal(value)
	if err != nil {
		return err
	}
	decoder = json.NewDecoder(bytes.NewReader(normalized))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(e); err != nil {
		return fmt.Errorf("the JSON is not what Emporium writes: %w", err)
	}
	if slices.Contains(e.Tags, "") {
		return errors.New("a tag is empty")
	}
	for address, m := range e.Media {
		if m.Kind != "" && m.Kind != product.MediaImage && m.Kind != product.MediaVideo {
			return fmt.Errorf("%.20q is not a kind of media", m.Kind)
		}
		if (m.Width == nil) != (m.Height == nil) || m.Width != nil && min(*m.Width, *m.Height) < 1 {
			return fmt.Errorf("the width and height of %.100q are not those of a picture", address)
		}
	}
	return nil
}

// add reads a row after the first.
func (b *building) add(r *row) error {
	for i, c := range r.header {
		if !c.kept && c.scope == ofProduct && c.name != "Handle" && r.cells[i] != "" && r.cells[i] != b.first.cells[i] {
			r.fail(c.name, "the value is not that of line %d, on which the product starts", b.first.line)
		}
	}
	if b.first.csv.InputOffset()-b.first.start > maxProduct {
		r.fail("", "the product takes more than %d bytes", maxProduct)
	}
	if had := len(b.draft.Variants); b.row(r) == nil && len(b.draft.Variants) == had {
		r.fail("", "the row has neither a variant nor a picture")
	}
	return r.err
}

// row reads what any row may have, and returns its picture.
func (b *building) row(r *row) *image {
	variant := 0
	if r.hasVariant() {
		b.variant(r)
		variant = len(b.draft.Variants)
	}
	picture := b.image(r)
	for i, c := range r.header {
		text := r.cells[i]
		if c.flag && c.kept {
			text = r.flag(c.name)
		}
		switch {
		case !c.kept || text == "" || text == c.usual || c.name == "":
		case r == b.first && c.scope == ofProduct:
			b.keep(r, kept{column: c.name, text: text})
		case variant > 0:
			b.keep(r, kept{variant: variant, column: c.name, text: text})
		case picture != nil && !strings.EqualFold(text, c.usual):
			b.keep(r, kept{image: picture, column: c.name, text: text})
		}
	}
	return picture
}

func (b *building) keep(r *row, k kept) {
	if b.size += len(k.column) + len(k.text); b.size > product.MaxMetadata {
		r.fail(k.column, "the columns that the catalogue has no place for have more than %d bytes in one product", product.MaxMetadata)
	}
	b.kept = append(b.kept, k)
}

func (b *building) variant(r *row) {
	d := b.draft
	if len(d.Variants) == product.MaxVariants {
		r.fail("", "the product has more than %d variants", product.MaxVariants)
		return
	}
	v := product.VariantDraft{Variant: product.Variant{
		Position:       len(d.Variants) + 1,
		SKU:            r.optional("Variant SKU"),
		Barcode:        r.optional("Variant Barcode"),
		OptionChoices:  []string{},
		Currency:       r.currency,
		CompareAtMinor: r.amount("Variant Compare At Price"),
		WeightGrams:    r.number("Variant Grams"),
	}, OnHand: r.number("Variant Inventory Qty")}
	if price := r.amount("Variant Price"); price != nil {
		v.PriceMinor = *price
	} else {
		r.fail("Variant Price", "the price is missing")
	}
	if v.SKU != nil {
		hash := maphash.String(r.seed, *v.SKU)
		if line, again := r.skus[hash]; again {
			r.fail("Variant SKU", "%.100q is the SKU of another variant, on line %d", *v.SKU, line)
		}
		r.skus[hash] = r.line
	}
	for i := range product.MaxOptions {
		column := fmt.Sprintf("Option%d Value", i+1)
		value := r.cell(column)
		switch {
		case i >= len(d.Options) && value != "":
			r.fail(column, "there is a value, but the first row of the product (line %d) names no such option", b.first.line)
		case i >= len(d.Options):
		case strings.TrimSpace(value) == "":
			r.fail(column, "the value of the option %.100q is missing", d.Options[i].Name)
		default:
			v.OptionNames = append(v.OptionNames, d.Options[i].Name)
			v.OptionChoices = append(v.OptionChoices, value)
			if !slices.Contains(d.Options[i].Values, value) {
				d.Options[i].Values = append(d.Options[i].Values, value)
			}
		}
	}
	key := strings.Join(v.OptionChoices, "\x00")
	if line, again := b.options[key]; again {
		what := "option values"
		if len(d.Options) == 0 {
			what = "lack of options"
		}
		r.fail("Option1 Value", "the variant on line %d has the same %s", line, what)
	}
	b.options[key] = r.line
	d.Variants = append(d.Variants, v)
	b.pictures, b.rows = append(b.pictures, r.value("Variant Image")), append(b.rows, r)
}

// image reads the picture of a row, if there is one.
func (b *building) image(r *row) *image {
	m := &image{Media: product.Media{Kind: product.MediaImage, URL: r.value("Image Src"), Alt: r.optional("Image Alt Text")},
		row: r, column: "Image Src"}
	place := r.number("Image Position")
	if m.URL == "" {
		for _, name := range []string{"Image Position", "Image Alt Text"} {
			if r.value(name) != "" {
				r.fail(name, "there is a value, but no Image Src")
			}
		}
		return nil
	}
	if place != nil {
		if m.place = *place; m.place == 0 {
			r.fail("Image Position", "positions start from 1")
		}
	}
	for _, other := range b.images {
		// The same again, as on each row of a product with one picture, or a second copy of it in another place.
		if other.URL == m.URL && (m.place == 0 || m.place == other.place) {
			if m.Alt != nil && other.Alt != nil && *m.Alt != *other.Alt {
				r.fail("Image Alt Text", "an earlier row says something else about this picture")
			}
			if other.Alt == nil {
				other.Alt, other.row = m.Alt, r
			}
			return other
		}
	}
	if len(b.images) == product.MaxMedia {
		r.fail("Image Src", "the product has more than %d pictures", product.MaxMedia)
	}
	b.images = append(b.images, m)
	return m
}

// finish returns the product when all its rows are read.
func (b *building) finish() (*product.Draft, error) {
	d, r := b.draft, b.first

	slices.SortStableFunc(b.images, func(x, y *image) int {
		return cmp.Compare(cmp.Or(x.place, math.MaxInt), cmp.Or(y.place, math.MaxInt))
	})
	for i, address := range b.pictures {
		at := slices.IndexFunc(b.images, func(m *image) bool { return m.URL == address })
		if address != "" && at < 0 {
			at = len(b.images)
			b.images = append(b.images, &image{Media: product.Media{Kind: product.MediaImage, URL: address}, row: b.rows[i], column: "Variant Image"})
		}
		d.Variants[i].ImagePosition = at + 1
	}
	if len(b.images) > product.MaxMedia {
		r.fail("Variant Image", "the product has more than %d pictures", product.MaxMedia)
	}
	for i, m := range b.images {
		m.Position = i + 1
		if more, ok := b.extra.Media[m.URL]; ok {
			m.Kind, m.Width, m.Height = cmp.Or(more.Kind, m.Kind), more.Width, more.Height
		}
		d.Media = append(d.Media, m.Media)
	}

	if len(d.Options) == 1 && len(d.Variants) == 1 && d.Options[0].Name == defaultOption &&
		d.Variants[0].OptionChoices[0] == defaultValue {
		d.Options, d.Variants[0].OptionNames, d.Variants[0].OptionChoices = nil, nil, []string{}
	}
	for i := range d.Options {
		o := &d.Options[i]
		if values := b.extra.Options[o.Name]; complete(values, o.Values) {
			o.Values = values
		}
		if len(o.Values) == 0 {
			r.fail(fmt.Sprintf("Option%d Name", i+1), "there is an option, but no variant")
		}
	}

	d.Metadata = b.extra.Metadata
	if d.Metadata == nil {
		d.Metadata = map[string]any{}
	}
	for _, k := range b.kept {
		o := d.Metadata
		for _, key := range k.path() {
			if _, ok := o[key]; !ok {
				o[key] = map[string]any{}
			}
			below, ok := o[key].(map[string]any)
			if !ok {
				r.fail(ExtraColumn, "the metadata has something under %q that leaves no place for column %.100q", key, k.column)
				return nil, r.err
			}
			o = below
		}
		o[k.column] = k.text
	}
	if r.err == nil {
		b.check()
	}
	return d, r.err
}

// check holds the product against the rules of the catalogue. What breaks one is told with its cell.
func (b *building) check() {
	var e *fault.Error
	if !errors.As(b.draft.Check(b.first.currency), &e) {
		return
	}
	r, column := b.cell(e.Field)
	b.first.err = r.wrong(r.line, column, fault.New(fault.BadUserInput, e.Message))
}

// cells are the columns of what can be wrong with a product, a variant or a medium.
var cells = map[string]string{
	"slug": "Handle", "title": "Title", "vendor": "Vendor", "type": "Type", "tags": "Tags", "descriptionHtml": "Body (HTML)",
	"seo.title": "SEO Title", "seo.description": "SEO Description", "metadata": ExtraColumn,
	"sku": "Variant SKU", "barcode": "Variant Barcode", "price": "Variant Price", "compareAtPrice": "Variant Compare At Price",
	"weightGrams": "Variant Grams", "onHand": "Variant Inventory Qty", "alt": "Image Alt Text", "width": ExtraColumn, "kind": ExtraColumn,
}

// cell returns where a path in the draft comes from.
func (b *building) cell(path []string) (*row, string) {
	at := func(i int) int { n, _ := strconv.Atoi(path[i]); return n }
	switch {
	case path[0] == "variants" && len(path) == 3:
		return b.rows[at(1)], cells[path[2]]
	case path[0] == "media" && len(path) == 3:
		m := b.images[at(1)]
		return m.row, cmp.Or(cells[path[2]], m.column)
	case path[0] == "options" && len(path) == 4: // a value
		r, i := b.first, at(1)
		value := b.draft.Options[i].Values[at(3)]
		if n := slices.IndexFunc(b.draft.Variants, func(v product.VariantDraft) bool { return v.OptionChoices[i] == value }); n >= 0 {
			r = b.rows[n]
		}
		return r, fmt.Sprintf("Option%d Value", i+1)
	case path[0] == "options" && len(path) == 3:
		return b.first, fmt.Sprintf("Option%d Name", at(1)+1)
	case path[0] == "tags":
		return b.first, cells["tags"]
	}
	return b.first, cells[strings.Join(path, ".")]
}

// complete tells whether values, which have to be distinct, have all that are used, and so can stand for them.
func complete(values, used []string) bool {
	for i, v := range values {
		if v == "" || slices.Contains(values[:i], v) {
			return false
		}
	}
	return len(values) > 0 && !slices.ContainsFunc(used, func(v string) bool { return !slices.Contains(values, v) })
}

// path is where in the metadata the cell is.
func (k kept) path() []string {
	switch {
	case k.variant > 0:
		return []string{MetadataKey, "variants", strconv.Itoa(k.variant)}
	case k.image != nil:
		return []string{MetadataKey, "images", strconv.Itoa(k.image.Position)}
	default:
		return []string{MetadataKey, "product"}
	}
}
