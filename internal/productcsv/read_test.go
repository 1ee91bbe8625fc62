package productcsv_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"emporium/internal/fault"
	"emporium/internal/product"
	"emporium/internal/productcsv"
)

// all reads a whole file.
func all(text string) ([]*product.Draft, error) {
	var drafts []*product.Draft
	for d, err := range productcsv.Read(strings.NewReader(text), "shop.csv", "EUR") {
		if err != nil {
			return drafts, err
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

// one reads a file with one product.
func one(t *testing.T, text string) *product.Draft {
	t.Helper()
	drafts, err := all(text)
	if err != nil || len(drafts) != 1 {
		t.Fatalf("%d products, %v, want one", len(drafts), err)
	}
	return drafts[0]
}

func TestReadEverything(t *testing.T) {
	t.Parallel()
	// Columns in another order than Shopify's, a byte order mark, CRLF, an empty row, names in another case.
	file := "\ufeffTitle,handle,Body (HTML),Vendor,Type,Tags,Published,Status,Option1 Name,Option1 Value,Option2 Name,Option2 Value," +
		"Variant SKU,Variant Grams,Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Fulfillment Service," +
		"Variant Price,Variant Compare At Price,Variant Requires Shipping,Variant Taxable,Variant Barcode,Image Src,Image Position," +
		"Image Alt Text,Gift Card,SEO Title,SEO Description,Google Shopping / Gender,Variant Image,Variant Weight Unit,Variant Tax Code," +
		"Cost per item,Collection,Variant Mood\r\n" +
		`Shirt,shirt,"<p>Soft &amp; ""light""</p>` + "\r\n" + `<script>x</script><ul><li>Linen</ul>",Mill,Tops,"linen,  summer ,linen,",TRUE,Draft,Size,S,Colour,Blue,` +
		`SH-S,120.0,shopify,4,deny,manual,19.90,25,true,True,4006381333931,https://x.example/2.jpg,2,Back,FALSE,Seo,Described,unisex,https://x.example/1.jpg,g,tx,7.5,Summer,glad` + "\r\n" +
		strings.Repeat(",", 35) + "\r\n" +
		`,shirt,,,,,,,,M,,Blue,SH-M,,,0,continue,manual,19.9,,FALSE,true,,https://x.example/1.jpg,1,,,,,,/pictures/m.svg,kg,,,,` + "\r\n" +
		`,shirt,,,,,,,,,,,,,,,,,,,,,,https://x.example/3.jpg,,Third,,,,,,kg,,,Winter,` + "\r\n"
	got := one(t, file)
	want := &product.Draft{
		Product: product.Product{
			Slug: "shirt", Title: "Shirt", Description: "Soft & \"light\"\nLinen",
			DescriptionHTML: "<p>Soft &amp; \"light\"</p>\n<ul><li>Linen</ul>",
			Vendor:          new("Mill"), Type: new("Tops"), Tags: []string{"linen", "summer"}, Status: product.StatusDraft,
			SEOTitle: new("Seo"), SEODescription: new("Described"),
			Metadata: map[string]any{"_shopify": map[string]any{
				"product": map[string]any{"Published": "true", "Google Shopping / Gender": "unisex", "Collection": "Summer"},
				"variants": map[string]any{
					"1": map[string]any{"Variant Inventory Tracker": "shopify", "Variant Weight Unit": "g",
						"Variant Tax Code": "tx", "Cost per item": "7.5", "Variant Mood": "glad"},
					"2": map[string]any{"Variant Inventory Policy": "continue", "Variant Requires Shipping": "false"},
				},
				"images": map[string]any{"3": map[string]any{"Collection": "Winter"}},
			}},
		},
		Options: []product.Option{
			{Position: 1, Name: "Size", Values: []string{"S", "M"}},
			{Position: 2, Name: "Colour", Values: []string{"Blue"}},
		},
		Media: []product.Media{
			{Kind: product.MediaImage, URL: "https://x.example/1.jpg", Position: 1},
			{Kind: product.MediaImage, URL: "https://x.example/2.jpg", Position: 2, Alt: new("Back")},
			{Kind: product.MediaImage, URL: "https://x.example/3.jpg", Position: 3, Alt: new("Third")},
			{Kind: product.MediaImage, URL: "/pictures/m.svg", Position: 4},
		},
		Variants: []product.VariantDraft{{
			Variant: product.Variant{
				Position: 1, SKU: new("SH-S"), Barcode: new("4006381333931"), OptionNames: []string{"Size", "Colour"},
				OptionChoices: []string{"S", "Blue"}, Currency: "EUR", PriceMinor: 1990, CompareAtMinor: new(int64(2500)),
				WeightGrams: new(120),
			}, OnHand: new(4), ImagePosition: 1,
		}, {
			Variant: product.Variant{
				Position: 2, SKU: new("SH-M"), OptionNames: []string{"Size", "Colour"},
				OptionChoices: []string{"M", "Blue"}, Currency: "EUR", PriceMinor: 1990,
			}, OnHand: new(0), ImagePosition: 4,
		}},
	}
	same(t, got, want)
}

func TestReadProducts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		want func(*product.Draft) // from a product "a" named "A", active, with one variant for 1.00 EUR
	}{
		"as short as can be": {"Handle,Title,Variant Price\na,A,1", nil},
		"without options":    {"Handle,Title,Variant Price,Option1 Name,Option1 Value\na,A,1,Title,Default Title", nil},
		"an option named Title": {"Handle,Title,Variant Price,Option1 Name,Option1 Value\na,A,1,Title,Mr", func(d *product.Draft) {
			d.Options = []product.Option{{Position: 1, Name: "Title", Values: []string{"Mr"}}}
			d.Variants[0].OptionNames, d.Variants[0].OptionChoices = []string{"Title"}, []string{"Mr"}
		}},
		"without variants":       {"Handle,Title,Variant Price,Variant Taxable\na,A,,TRUE", func(d *product.Draft) { d.Variants = nil }},
		"empty rows and columns": {"Handle,Title,,Variant Price,\n,,,,\n\n\"\"\na,A,,1,\n , ,\t,,\n", nil},
		"Published false":        {"Handle,Title,Variant Price,Published\na,A,1,False", func(d *product.Draft) { d.Status = product.StatusDraft }},
		"Published true":         {"Handle,Title,Variant Price,Published\na,A,1,true", nil},
		"archived":               {"Handle,Title,Variant Price,Status\na,A,1,ARCHIVED", func(d *product.Draft) { d.Status = product.StatusArchived }},
		"Status over Published": {"Handle,Title,Variant Price,Published,Status\na,A,1,false,active", func(d *product.Draft) {
			d.Metadata = map[string]any{"_shopify": map[string]any{"product": map[string]any{"Published": "false"}}}
		}},
		"a picture on each row": {"Handle,Title,Variant Price,Option1 Name,Option1 Value,Image Src,Image Alt Text\n" +
			"a,A,1,S,x,/p,\na,,1,,y,/p,Front\n", func(d *product.Draft) {
			d.Options = []product.Option{{Position: 1, Name: "S", Values: []string{"x", "y"}}}
			d.Variants[0].OptionNames, d.Variants[0].OptionChoices = []string{"S"}, []string{"x"}
			d.Variants = append(d.Variants, d.Variants[0])
			d.Variants[1].Position, d.Variants[1].OptionChoices = 2, []string{"y"}
			d.Media = []product.Media{{Kind: product.MediaImage, URL: "/p", Alt: new("Front"), Position: 1}}
		}},
		"product cells repeated": {"Handle,Title,Variant Price,Option1 Name,Option1 Value,Vendor\na,A,1,S,x,V\na,A,1,S,y,V\n", func(d *product.Draft) {
			d.Vendor = new("V")
			d.Options = []product.Option{{Position: 1, Name: "S", Values: []string{"x", "y"}}}
			d.Variants[0].OptionNames, d.Variants[0].OptionChoices = []string{"S"}, []string{"x"}
			d.Variants = append(d.Variants, d.Variants[0])
			d.Variants[1].Position, d.Variants[1].OptionChoices = 2, []string{"y"}
		}},
		"literal apostrophes in files of others": {"Handle,Title,Variant Price,Vendor\na,A,1,'=1", func(d *product.Draft) { d.Vendor = new("'=1") }},
		"kept from spreadsheets in our own": {"Handle,Title,Variant Price,Vendor,Type,Emporium / Extra\na,A,1,'=1,''twas,",
			func(d *product.Draft) { d.Vendor, d.Type = new("=1"), new("''twas") }},
		"extra": {"Handle,Title,Variant Price,Tags,Image Src,Emporium / Extra\n" +
			`a,A,1,"x, y",/f.mp4,"{""metadata"":{""care"":[1,null]},""tags"":[""x, y""],""media"":{""/f.mp4"":{""kind"":""VIDEO"",""width"":2,""height"":3}}}"`,
			func(d *product.Draft) {
				d.Metadata, d.Tags = map[string]any{"care": []any{1., nil}}, []string{"x, y"}
				d.Media = []product.Media{{Kind: product.MediaVideo, URL: "/f.mp4", Position: 1, Width: new(2), Height: new(3)}}
			}},
		"in normalisation form D": {"Handle,Title,Variant Price,Vendor,Tags,Body (HTML),Noe\u0308l,Emporium / Extra\n" +
			"e\u0301,A,1,e\u0301,\"e\u0301,é\",e&#x301;&#x202e;,e\u0301,\"{\"\"metadata\"\":{\"\"e\u0301\"\":\"\"e\\u0301\"\"}}\"",
			func(d *product.Draft) {
				d.Slug, d.Vendor, d.Tags, d.DescriptionHTML, d.Description = "é", new("é"), []string{"é"}, "é", "é"
				d.Metadata = map[string]any{"é": "é", "_shopify": map[string]any{"product": map[string]any{"Noël": "é"}}}
			}},
		"tags edited beside extra": {"Handle,Title,Variant Price,Tags,Emporium / Extra\n" + `a,A,1,z,"{""tags"":[""x, y""]}"`,
			func(d *product.Draft) { d.Tags = []string{"z"} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := &product.Draft{
				Product: product.Product{Slug: "a", Title: "A", Tags: []string{}, Status: product.StatusActive, Metadata: map[string]any{}},
				Variants: []product.VariantDraft{{Variant: product.Variant{
					Position: 1, OptionChoices: []string{}, Currency: "EUR", PriceMinor: 100}}},
			}
			if c.want != nil {
				c.want(want)
			}
			same(t, one(t, c.file), want)
		})
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	const short = "Handle,Title,Variant Price\n"
	const options = "Handle,Title,Variant Price,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Option3 Name,Option3 Value\n"
	with := func(column, value string) string {
		return "Handle,Title,Variant Price," + column + "\nok,Ok,1,\na,A,1,\"" + strings.ReplaceAll(value, `"`, `""`) + "\"\n"
	}
	many := func(header string, n int, row func(i int) string) string {
		b := strings.Builder{}
		b.WriteString(header)
		for i := range n {
			b.WriteString(row(i))
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		file   string
		line   int
		column string
		reason string
	}{
		"nothing":                {"", 1, "", "the file is empty"},
		"nothing but a mark":     {"\ufeff", 1, "", "the file is empty"},
		"UTF-16":                 {"\xff\xfeH\x00", 1, "", "the file is UTF-16; save it as UTF-8"},
		"columns missing":        {"Title,Vendor\n", 1, "", `missing from the header: "Handle", "Variant Price"`},
		"semicolons":             {"Handle;Title;Variant Price\n", 1, "", `missing from the header: "Handle", "Title", "Variant Price"; the cells have to be separated by commas`},
		"a column twice":         {"Handle,Title,Variant Price,title\n", 1, "title", "there are two columns of that name"},
		"an unknown one twice":   {"Handle,Title,Variant Price,X,x \n", 1, "x", "there are two columns of that name"},
		"header not UTF-8":       {"Handle,Title,Variant Price,\xe9\n", 1, "", "the name of column 4 is not UTF-8"},
		"many columns":           {strings.Repeat(",", 500), 1, "", "there are 501 columns, more than 500"},
		"too few cells":          {short + "a,A\n", 2, "", "there are 2 cells, but 3 columns"},
		"too many cells":         {short + "\na,A,1,\n", 3, "", "there are 4 cells, but 3 columns"},
		"a cell without column":  {"Handle,Title,Variant Price,\na,A,1,x\n", 2, "", "column 4 has a value but no name"},
		"not UTF-8":              {short + "a,\"A\nB\",1\nb,\"\nB\xe9\",1\n", 4, "Title", "the text is not UTF-8"},
		"NUL":                    {short + "a,A\x00,1\n", 2, "Title", "the text contains a NUL character"},
		"a bell":                 {short + "a,A\x07,1\n", 2, "Title", "a text has no control characters other than tab, line feed and carriage return"},
		"a bell of no use":       {with("X", "\x07"), 3, "X", "a text has no control characters other than tab, line feed and carriage return"},
		"writing turned round":   {with("Vendor", "a\u202eb"), 3, "Vendor", "a text has no marks that turn the direction of writing (U+202A to U+202E, U+2066 to U+2069)"},
		"no character":           {with("Tags", "a\uffff"), 3, "Tags", "a text has no code points that are no characters"},
		"a bell in the header":   {"Handle,Title,Variant Price,X\x07\n", 1, "", "the name of column 4: a text has no control characters other than tab, line feed and carriage return"},
		"a long cell":            {short + "a," + strings.Repeat("x", 1<<20+1) + ",1\n", 2, "Title", "the text is longer than 1048576 bytes"},
		"a row without end":      {short + "ok,Ok,1\na,\"" + strings.Repeat("x\n", 3<<20), 3, "", "the row is longer than 4194304 bytes; is a quote not closed?"},
		"a quote not closed":     {short + "a,\"A\nB,1\n", 2, "", "text follows a closing quote, or a quoted cell is not closed (line 3, byte 5)"},
		"text after a quote":     {short + "a,\"A\nB\"C,1\n", 2, "", "text follows a closing quote, or a quoted cell is not closed (line 3, byte 2)"},
		"a bare quote":           {short + "a,5\" nail,1\n", 2, "", "a quote stands in a cell that is not quoted (line 2, byte 4)"},
		"no handle":              {short + ",A,1\n", 2, "Handle", "the handle is missing"},
		"a spaced handle":        {short + "a b,A,1\n", 2, "Handle", `"a b" contains a space or a slash`},
		"a long handle":          {short + strings.Repeat("é", 256) + ",A,1\n", 2, "Handle", "the slug has 256 characters, not 1 to 255"},
		"a handle again":         {short + "a,A,1\nb,B,1\na,A,1\n", 4, "Handle", `"a" was on line 2 already; the rows of a product have to follow one another`},
		"no title":               {short + "a, ,1\n", 2, "Title", "the title is missing from the first row of the product"},
		"a long title":           {short + "a," + strings.Repeat("x", 256) + ",1\n", 2, "Title", "the title has 256 characters, not 1 to 255"},
		"a row with nothing":     {short + "a,A,1\na,,\n", 3, "", "the row has neither a variant nor a picture"},
		"another title":          {"Handle,Title,Variant Price,Option1 Name,Option1 Value\na,A,1,S,x\na,B,1,,y\n", 3, "Title", "the value is not that of line 2, on which the product starts"},
		"no price":               {"Handle,Title,Variant Price,Variant SKU\na,A,,S\n", 2, "Variant Price", "the price is missing"},
		"a price with a comma":   {short + "a,A,\"1,234.00\"\n", 2, "Variant Price", `"1,234.00" has a comma: write prices without thousands separators, with a point before decimals`},
		"a price in words":       {short + "a,A,$5\n", 2, "Variant Price", `"$5" is not a decimal number like "19.90"`},
		"too exact a price":      {short + "a,A,1.999\n", 2, "Variant Price", "1.999 has more decimals than EUR has"},
		"too high a price":       {short + "a,A,999999999999999999\n", 2, "Variant Price", "999999999999999999 is too large"},
		"a negative price":       {short + "a,A,-1\n", 2, "Variant Price", "-1.00 EUR is negative"},
		"a negative old price":   {with("Variant Compare At Price", "-1"), 3, "Variant Compare At Price", "-1.00 EUR is negative"},
		"parts of a gram":        {with("Variant Grams", "0.5"), 3, "Variant Grams", `"0.5" is not a whole number`},
		"negative grams":         {with("Variant Grams", "-5.0"), 3, "Variant Grams", "-5 is negative"},
		"too heavy":              {with("Variant Grams", "2147483648"), 3, "Variant Grams", `"2147483648" is beyond what can be counted`},
		"parts of a piece":       {with("Variant Inventory Qty", "1.0"), 3, "Variant Inventory Qty", `"1.0" is not a whole number`},
		"a signed quantity":      {with("Variant Inventory Qty", "+1"), 3, "Variant Inventory Qty", `"+1" is not a whole number`},
		"oversold":               {with("Variant Inventory Qty", "-2"), 3, "Variant Inventory Qty", "-2 is negative: stock that is oversold can not be kept; write 0 if there is none"},
		"neither true nor false": {with("Variant Taxable", "yes"), 3, "Variant Taxable", `"yes" is neither true nor false`},
		"half published":         {with("Published", "1"), 3, "Published", `"1" is neither true nor false`},
		"a gift, perhaps":        {with("Gift Card", "maybe"), 3, "Gift Card", `"maybe" is neither true nor false`},
		"an unknown status":      {with("Status", "unlisted"), 3, "Status", `"unlisted" is none of active, draft and archived`},
		"a long vendor":          {with("Vendor", strings.Repeat("x", 256)), 3, "Vendor", "the vendor has 256 characters, not 1 to 255"},
		"a long type":            {with("Type", strings.Repeat("x", 256)), 3, "Type", "the type has 256 characters, not 1 to 255"},
		"a long SKU":             {with("Variant SKU", strings.Repeat("x", 256)), 3, "Variant SKU", "the SKU has 256 characters, not 1 to 255"},
		"a long bar code":        {with("Variant Barcode", strings.Repeat("x", 256)), 3, "Variant Barcode", "the barcode has 256 characters, not 1 to 255"},
		"a long SEO title":       {with("SEO Title", strings.Repeat("x", 200_001)), 3, "SEO Title", "the title for search engines has more than 200000 characters"},
		"a long SEO description": {with("SEO Description", strings.Repeat("x", 200_001)), 3, "SEO Description", "the description for search engines has more than 200000 characters"},
		"a long option":          {options + "a,A,1,S,x," + strings.Repeat("x", 256) + ",y,,\n", 2, "Option2 Name", "an option's name has 256 characters, not 1 to 255"},
		"a long option value":    {options + "a,A,1,S,x,C,y,,\na,,1,,x,," + strings.Repeat("x", 256) + ",,\n", 3, "Option2 Value", "an option's value has 256 characters, not 1 to 255"},
		"a long alt text":        {"Handle,Title,Variant Price,Image Src,Image Alt Text\na,A,1,/a,x\na,,,/b,\na,,,/b," + strings.Repeat("x", 5001) + "\n", 4, "Image Alt Text", "the text has 5001 characters, more than 5000"},
		"many tags":              {with("Tags", many("", 251, func(i int) string { return fmt.Sprintf("%d,", i) })), 3, "Tags", "there are 251 tags, more than 250"},
		"much stock":             {with("Variant Inventory Qty", "1000000001"), 3, "Variant Inventory Qty", "variant 1 has a stock of more than 1000000000"},
		"a long tag":             {with("Tags", "a,"+strings.Repeat("x", 256)), 3, "Tags", "a tag has 256 characters, not 1 to 255"},
		"a long description":     {with("Body (HTML)", strings.Repeat("x", 200_001)), 3, "Body (HTML)", "the description has more than 200000 characters"},
		"a long comment":         {with("Body (HTML)", "<!--"+strings.Repeat("x", 200_001)+"-->"), 3, "Body (HTML)", "the description has more than 200000 characters"},
		"much of no use":         {with("X", strings.Repeat("x", 100_000)), 3, "X", "the columns that the catalogue has no place for have more than 100000 bytes in one product"},
		"a picture by ftp":       {with("Image Src", "ftp://x.example/a"), 3, "Image Src", `"ftp://x.example/a" is not an http or https address, nor a path that starts with /`},
		"a script for a picture": {with("Image Src", "javascript:alert(1)"), 3, "Image Src", `"javascript:alert(1)" is not an http or https address, nor a path that starts with /`},
		"somebody else's path":   {with("Variant Image", "//x.example/a"), 3, "Variant Image", `"//x.example/a" is not an http or https address, nor a path that starts with /`},
		"a password":             {with("Image Src", "https://ada:secret@x.example/a"), 3, "Image Src", `"https://ada:secret@x.example/a" is not an http or https address, nor a path that starts with /`},
		"an endless address":     {with("Variant Image", "https://x.example/"+strings.Repeat("a", 2048)), 3, "Variant Image", `"https://x.example/` + strings.Repeat("a", 62) + `" is not an http or https address, nor a path that starts with /`},
		"no host":                {with("Image Src", "https:///a"), 3, "Image Src", `"https:///a" is not an http or https address, nor a path that starts with /`},
		"a backslash":            {with("Image Src", `/\x.example`), 3, "Image Src", `"/\\x.example" is not an http or https address, nor a path that starts with /`},
		"a text of no picture":   {with("Image Alt Text", "Front"), 3, "Image Alt Text", "there is a value, but no Image Src"},
		"a place of no picture":  {with("Image Position", "1"), 3, "Image Position", "there is a value, but no Image Src"},
		"place 0":                {"Handle,Title,Variant Price,Image Src,Image Position\na,A,1,/a,0\n", 2, "Image Position", "positions start from 1"},
		"two texts of a picture": {"Handle,Title,Variant Price,Image Src,Image Alt Text\na,A,1,/a,x\na,,,/a,y\n", 3, "Image Alt Text", "an earlier row says something else about this picture"},
		"a value of no option":   {options + "a,A,1,,x,,,,\n", 2, "Option1 Value", "there is a value, but the first row of the product (line 2) names no such option"},
		"a value missing":        {options + "a,A,1,S,x,C,y,,\na,,1,,z,, ,,\n", 3, "Option2 Value", `the value of the option "C" is missing`},
		"an option left out":     {options + "a,A,1,S,x,,,C,y\n", 2, "Option3 Name", "there is an option after one without a name"},
		"an option twice":        {options + "a,A,1,S,x,S,y,,\n", 2, "Option2 Name", `two options are named "S"`},
		"an option of nothing":   {options + "a,A,,S,,,,,\n", 2, "Option1 Name", "there is an option, but no variant"},
		"a combination again":    {options + "a,A,1,S,x,,,,\na,,1,,y,,,,\na,,1,,x,,,,\n", 4, "Option1 Value", "the variant on line 2 has the same option values"},
		"two without options":    {short + "a,A,1\na,,1\n", 3, "Option1 Value", "the variant on line 2 has the same lack of options"},
		"an SKU again":           {"Handle,Title,Variant Price,Variant SKU\na,A,1,S\nb,B,1,S\n", 3, "Variant SKU", `"S" is the SKU of another variant, on line 2`},
		"many variants":          {many(options+"a,A,1,S,first,,,,\n", 250, func(i int) string { return fmt.Sprintf("a,,1,,%d,,,,\n", i) }), 252, "", "the product has more than 250 variants"},
		"many pictures": {many("Handle,Title,Variant Price,Image Src\na,A,1,/first\n", 250, func(i int) string { return fmt.Sprintf("a,,,/%d\n", i) }),
			252, "Image Src", "the product has more than 250 pictures"},
		"many pictures of variants": {many("Handle,Title,Variant Price,Image Src,Variant Image\na,A,1,/first,/other\n", 249, func(i int) string { return fmt.Sprintf("a,,,/%d,\n", i) }),
			2, "Variant Image", "the product has more than 250 pictures"},
		"a product without end": {many("Handle,Title,Variant Price,Option1 Name,Option1 Value,SEO Description\n", 9, func(i int) string {
			return fmt.Sprintf("a,A,1,S,%d,\"%s\"\n", i, strings.Repeat("x", 1_040_000))
		}), 10, "", "the product takes more than 8388608 bytes"},
		"extra that is not JSON":      {with("Emporium / Extra", "x"), 3, "Emporium / Extra", "the JSON is not what Emporium writes: invalid character 'x' looking for beginning of value"},
		"more than extra":             {with("Emporium / Extra", "{}{}"), 3, "Emporium / Extra", "something follows the JSON"},
		"extra of another kind":       {with("Emporium / Extra", `{"price":1}`), 3, "Emporium / Extra", `the JSON is not what Emporium writes: json: unknown field "price"`},
		"extra NUL":                   {with("Emporium / Extra", `{"metadata":{"a":"\\\u0000"}}`), 3, "Emporium / Extra", "a text has no control characters other than tab, line feed and carriage return"},
		"an extra bell":               {with("Emporium / Extra", `{"metadata":{"a":["\u0007"]}}`), 3, "Emporium / Extra", "a text has no control characters other than tab, line feed and carriage return"},
		"an extra value":              {options[:len(options)-1] + ",Emporium / Extra\n" + `a,A,1,S,x,,,,,"{""options"":{""S"":[""x"",""` + strings.Repeat("y", 256) + `""]}}"`, 2, "Option1 Value", "an option's value has 256 characters, not 1 to 255"},
		"much extra":                  {with("Emporium / Extra", `{"metadata":{"a":"`+strings.Repeat("x", 100_000)+`"}}`), 3, "Emporium / Extra", "metadata have at most 100000 characters as JSON"},
		"an extra tag of nothing":     {with("Emporium / Extra", `{"tags":[""]}`), 3, "Emporium / Extra", "a tag is empty"},
		"an extra kind":               {with("Emporium / Extra", `{"media":{"/a":{"kind":"SONG"}}}`), 3, "Emporium / Extra", `"SONG" is not a kind of media`},
		"an extra width":              {with("Emporium / Extra", `{"media":{"/a":{"width":1}}}`), 3, "Emporium / Extra", `the width and height of "/a" are not those of a picture`},
		"extra in the way of columns": {"Handle,Title,Variant Price,X,Emporium / Extra\n" + `a,A,1,x,"{""metadata"":{""_shopify"":1}}"`, 2, "Emporium / Extra", `the metadata has something under "_shopify" that leaves no place for column "X"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drafts, err := all(c.file)
			var e *productcsv.Error
			if !errors.As(err, &e) || !fault.Is(err, fault.BadUserInput) {
				t.Fatalf("%d products, %v, want an error", len(drafts), err)
			}
			if e.File != "shop.csv" || e.Line != c.line || e.Column != c.column || e.Err.Error() != c.reason {
				t.Errorf("got  %s\nwant line %d, column %q: %s", err, c.line, c.column, c.reason)
			}
			if want := fmt.Sprintf("shop.csv, line %d", c.line); !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), c.reason) {
				t.Errorf("the text is %q", err)
			}
		})
	}
}

func TestReadEndsAtAnError(t *testing.T) {
	t.Parallel()
	file := "Handle,Title,Variant Price\na,A,1\nb,B,x\nc,C,1\n"
	drafts, err := all(file)
	if len(drafts) != 1 || drafts[0].Slug != "a" || err == nil ||
		err.Error() != `shop.csv, line 3, column "Variant Price": "x" is not a decimal number like "19.90"` {
		t.Errorf("%d products, %v", len(drafts), err)
	}

	// Whoever stops early is left alone, and a file that is spent is not an empty one.
	seq := productcsv.Read(strings.NewReader(file), "shop.csv", "EUR")
	for d, err := range seq {
		if err != nil || d.Slug != "a" {
			t.Fatalf("%+v, %v", d, err)
		}
		break
	}
	for d, err := range seq {
		if err == nil || d != nil {
			t.Fatalf("read again: %+v, %v", d, err)
		}
	}

	// A disk that fails is not the user's fault.
	broken := io.MultiReader(strings.NewReader("Handle,Title,Variant Price\na,A,1\n\"b"), iotest.ErrReader(io.ErrUnexpectedEOF))
	for d, err := range productcsv.Read(broken, "shop.csv", "EUR") {
		if d == nil && (!errors.Is(err, io.ErrUnexpectedEOF) || fault.CodeOf(err) != fault.Internal || err.(*productcsv.Error).Line != 3) {
			t.Errorf("%v", err)
		}
	}
}

func TestReadPrices(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		price, currency string
		want            int64
	}{
		{"85", "EUR", 8500}, {"42.99", "EUR", 4299}, {" 0.5 ", "EUR", 50}, {"85.0000", "EUR", 8500}, {"0", "EUR", 0},
		{"1990", "JPY", 1990}, {"1.234", "KWD", 1234},
	} {
		for d, err := range productcsv.Read(strings.NewReader("Handle,Title,Variant Price\na,A,"+c.price), "", moneyOf(c.currency)) {
			if err != nil || d.Variants[0].PriceMinor != c.want || string(d.Variants[0].Currency) != c.currency {
				t.Errorf("%s %s: %v, %v", c.price, c.currency, d, err)
			}
		}
	}
}

// TestSharedFiles reads catalogues of real shops, which stand beside the repository where there are any.
func TestSharedFiles(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ products, variants, images int }{
		"apparel.csv": {20, 22, 20}, "jewelery.csv": {20, 23, 41},
	} {
		drafts, err := all(string(shared(t, name)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		variants, images := 0, 0
		for _, d := range drafts {
			variants, images = variants+len(d.Variants), images+len(d.Media)
		}
		if len(drafts) != want.products || variants != want.variants || images != want.images {
			t.Errorf("%s: %d products, %d variants, %d images, want %+v", name, len(drafts), variants, images, want)
		}
		if name != "jewelery.csv" {
			continue
		}
		d := drafts[slices.IndexFunc(drafts, func(d *product.Draft) bool { return d.Slug == "gemstone" })]
		if d.Title != "Gemstone Necklace" || *d.Vendor != "Sterling Ltd" || len(d.Tags) != 5 || d.Status != product.StatusActive ||
			d.Description != "Gemstone pendant, housed in sterling silver, with sterling silver chain.\nSterling silver chain, 14 inches\nTurquoise or Quartz\nBoho Chic\nMade in USA" ||
			len(d.Metadata) != 0 || d.Variants[1].ImagePosition != 4 || *d.Variants[1].CompareAtMinor != 2999 || *d.Variants[1].OnHand != 0 {
			t.Errorf("gemstone: %+v", d)
		}
	}
}

// shared returns a file from the folder shared/data beside the module, and skips the test where there is none.
func shared(t testing.TB, name string) []byte {
	t.Helper()
	root, err := os.Getwd()
	for ; err == nil; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
	}
	folder := filepath.Join(root, "..", "shared", "data")
	if _, err := os.Stat(folder); err != nil {
		t.Skip("there are no sample catalogues beside the repository")
	}
	file, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// endless gives out a file of rows that are made as they are read.
type endless struct {
	rows, row int
	rest      string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.rest == "" {
		if e.row == e.rows {
			return 0, io.EOF
		}
		product, of := e.row/4, e.row%4
		if e.row++; of == 0 {
			e.rest = fmt.Sprintf("product-%d,Product %d,\"<p>%s</p>\",Size,0,SKU-%d-0,5,/p/%d.svg\n", product, product,
				strings.Repeat("A few words about it. ", 20), product, product)
		} else {
			e.rest = fmt.Sprintf("product-%d,,,,%d,SKU-%d-%d,5,/p/%d-%d.svg\n", product, of, product, of, product, of)
		}
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// TestReadInBoundedMemory is not parallel: it measures the heap of the process.
func TestReadInBoundedMemory(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	runtime.GC()
	before, most, products, variants := heap(), uint64(0), 0, 0
	file := io.MultiReader(strings.NewReader("Handle,Title,Body (HTML),Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src\n"),
		&endless{rows: 100_000})
	for d, err := range productcsv.Read(file, "shop.csv", "EUR") {
		if err != nil {
			t.Fatal(err)
		}
		variants += len(d.Variants)
		if products++; products%1000 == 0 {
			most = max(most, heap())
		}
	}
	if products != 25_000 || variants != 100_000 {
		t.Errorf("%d products with %d variants", products, variants)
	}
	t.Logf("%d MiB more at most", (most-min(before, most))>>20)
	if most > before+64<<20 {
		t.Errorf("the heap grew from %d to %d MiB", before>>20, most>>20)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("Handle,Title,Variant Price\na,A,1\n"))
	f.Add([]byte("\ufeffHandle,Title,Variant Price,Option1 Name,Option1 Value,Image Src,X\r\na,A,1,S,x,/a,'=1\r\na,,2,,\"y\nz\",,\r\n"))
	f.Add([]byte("Handle,Title,Variant Price,Body (HTML),Tags,Published,Status,Emporium / Extra\na,A,1,<p>x</p>,\"a,b\",true,draft,\"{\"\"tags\"\":[\"\"a,b\"\"]}\"\n"))
	f.Add([]byte("Handle,Title,Variant Price,Gift Card,Variant Image,Variant Weight Unit,Image Src,Image Position\n-a,@A,1,TRUE,/b,lb,/a,2\n-a,,,,,kg,/c,1\n"))
	f.Add([]byte("Handle,Title,Variant Price,\"\na,A,1\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		drafts, err := all(string(file))
		if err != nil {
			var e *productcsv.Error
			if !errors.As(err, &e) || e.File != "shop.csv" || e.Line < 1 || e.Line > strings.Count(string(file), "\n")+1 || e.Err.Error() == "" {
				t.Fatalf("an error that does not say where: %v", err)
			}
			if strings.Contains(err.Error(), "%!") {
				t.Fatalf("a badly made error: %v", err)
			}
		}
		// What was read can be written, and means the same again.
		again, err := all(write(t, drafts...))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(again, drafts) {
			t.Fatalf("got  %s\nwant %s", show(again), show(drafts))
		}
	})
}
