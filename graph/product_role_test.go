package graph

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/httpserver/playground"
	"emporium/internal/id"
	"emporium/internal/postgres"
)

// catalogueState is every row that editing writes.
func (w *world) catalogueState() string {
	w.t.Helper()
	tables := []string{"products", "options", "media", "variants", "stock", "stock_movements", "price_changes", "categories", "collections", "collection_products"}
	var reads, parts []string
	for _, table := range tables {
		reads, parts = append(reads, "products."+table), append(parts, "SELECT '"+table+" ' || t::text AS row FROM products."+table+" t")
	}
	rows, err := postgres.Select(w.t.Context(), w.dbs.Products, postgres.Stmt{Name: "test.catalogue", SQL: strings.Join(parts, " UNION ALL ") + " ORDER BY row",
		Reads: postgres.All(reads...)}, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(rows, "\n")
}

// keysOf runs a statement on the products' database and returns the keys that it finds as quoted IDs of a kind.
func (w *world) keysOf(kind id.Kind, sql string, args ...any) []string {
	w.t.Helper()
	rows, err := postgres.Select(w.t.Context(), w.dbs.Products, postgres.Stmt{Name: "test.keys", SQL: sql, Reads: postgres.All("products.media",
		"products.variants", "products.categories", "products.collections", "products.collection_products")}, pgx.RowTo[uuid.UUID], args...)
	if err != nil {
		w.t.Fatal(err)
	}
	found := make([]string, len(rows))
	for i, row := range rows {
		found[i] = `"` + id.Of(kind, row).String() + `"`
	}
	return found
}

// edit is a mutation of the catalogue with an input that everybody with the role may send, and what it shows.
type edit struct{ field, input, shows string }

func (e edit) document() string {
	return fmt.Sprintf("mutation { %s(input: {%s}) { %s userErrors { code field message } } }", e.field, e.input, e.shows)
}

// edits are all mutations of the catalogue, in an order in which each can be done in a fresh world; twice, if it is told
// another number.
func (w *world) edits(n int) []edit {
	of := func(kind string) string { return `"` + w.ids[kind].String() + `"` }
	product, variant, media, category, collection := "productId: "+of("Product"), "variantId: "+of("Variant"), "mediaId: "+of("Media"), of("Category"), "collectionId: "+of("Collection")
	backwards := func(kind id.Kind, table string) string {
		return "[" + strings.Join(w.keysOf(kind, "SELECT id FROM products."+table+" WHERE product_id = $1 ORDER BY position DESC", w.ids["Product"].Key), ", ") + "]"
	}
	last := func(kind id.Kind, table string) string {
		return w.keysOf(kind, "SELECT id FROM products."+table+" ORDER BY id DESC LIMIT 1")[0]
	}
	tops := strings.Join(w.keysOf(id.Category, "SELECT id FROM products.categories WHERE parent_id IS NULL ORDER BY position DESC"), ", ")
	name := fmt.Sprint("New ", n)
	return []edit{
		{"productCreate", fmt.Sprintf(`title: %q, options: [{name: "Size"}], variants: [{price: "1.00", optionValues: [{name: "Size", value: "M"}]}]`, name), "product { slug variants { title } }"},
		{"productUpdate", product + fmt.Sprintf(`, vendor: %q, metadata: {a: "b"}`, name), "product { vendor title metadata }"},
		{"productSchedule", product + fmt.Sprintf(`, unpublishAt: "20%d-01-01T00:00:00Z"`, 90+n), "product { schedule { publishAt unpublishAt } }"},
		{"productUnpublish", product, "product { status }"},
		{"productArchive", product, "product { status }"},
		{"productRestore", product, "product { status }"},
		{"productPublish", product, "product { status }"},
		{"productOptionsSet", product + fmt.Sprintf(`, options: [{name: "Size%d", was: "Size%s", values: [{value: "M"}, {value: "S"}, {value: "L%d"}]}]`, n, map[int]string{2: "1"}[n], n), "product { options { name values } }"},
		{"productMediaAdd", product + `, url: "/c.svg", alt: "new"`, "media { position alt } product { media { url } }"},
		{"productMediaUpdate", media + fmt.Sprintf(`, alt: %q`, name), "media { alt }"},
		{"productMediaReorder", product + ", mediaIds: " + backwards(id.Media, "media"), "product { media { url } }"},
		{"variantUpdate", variant + fmt.Sprintf(`, price: "%d.50"`, 20+n), "variant { price { amount } priceChanges(first: 1) { nodes { newPrice { amount } actor { name } } } }"},
		{"variantCreate", product + fmt.Sprintf(`, price: "20", optionValues: [{name: "Size%d", value: "L%d"}]`, n, n), "variant { title price { amount } } product { priceRange { max { amount } } }"},
		{"variantsReorder", product + ", variantIds: " + backwards(id.Variant, "variants"), "product { variants { title } }"},
		{"variantsBulkUpdate", fmt.Sprintf(`variants: [{%s, barcode: "%d"}, {variantId: %s, sku: "x"}]`, variant, n, of("Product")), "results { variant { barcode } userErrors { code field } }"},
		{"categoryCreate", fmt.Sprintf(`name: %q, parentId: %s`, name, category), "category { slug ancestors { name } }"},
		{"categoryUpdate", fmt.Sprintf("categoryId: %s, description: %q", category, name), "category { description name }"},
		{"categoryMove", "categoryId: " + category, "category { parent { id } ancestors { id } }"},
		{"categoriesReorder", "categoryIds: [" + tops + "]", "categories { slug }"},
		{"collectionCreate", fmt.Sprintf(`title: %q`, name), "collection { slug }"},
		{"collectionUpdate", collection + fmt.Sprintf(`, description: %q`, name), "collection { description }"},
		{"collectionProductsReorder", collection + ", productIds: [" + of("Product") + "]", "collection { id }"},
		{"collectionProductsRemove", collection + ", productIds: [" + of("Product") + "]", "collection { products(first: 5) { totalCount } }"},
		{"collectionProductsAdd", collection + ", productIds: [" + of("Product") + "]", "collection { products(first: 5) { totalCount } }"},
		{"productMediaRemove", "mediaId: " + last(id.Media, "media"), "removedMediaId product { media { url } }"},
		{"variantDelete", "variantId: " + last(id.Variant, "variants"), "deletedVariantId product { priceRange { max { amount } } }"},
		{"categoryDelete", "categoryId: " + last(id.Category, "categories"), "deletedCategoryId"},
		{"collectionDelete", "collectionId: " + last(id.Collection, "collections"), "deletedCollectionId"},
	}
}

// TestCatalogueRoles asks for every mutation of the catalogue as everybody. What is refused has returned nothing, read
// nothing and written nothing; what is done has no problems.
func TestCatalogueRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	var all, listed []string
	for _, f := range contract(t).Mutation.Fields {
		if regexp.MustCompile("^(product|variant|categor|collection)").MatchString(f.Name) {
			all = append(all, f.Name)
		}
	}
	for _, e := range w.edits(1) {
		listed = append(listed, e.field)
	}
	slices.Sort(all)
	slices.Sort(listed)
	if !slices.Equal(all, listed) {
		t.Errorf("mutations of the catalogue\n%v, in the test\n%v", all, listed)
	}
	refused := map[string]string{"": "UNAUTHENTICATED", "ada": "FORBIDDEN", "bob": "FORBIDDEN", "support": "FORBIDDEN", "service": "FORBIDDEN"}
	before := w.catalogueState()
	for who, code := range refused {
		for _, e := range w.edits(1) {
			a := w.ask(who, e.document(), nil)
			if got := a.codes(); len(got) != 1 || got[0] != code+" "+e.field || !strings.Contains(a.body, fmt.Sprintf(`"data":{"%s":null}`, e.field)) {
				t.Errorf("%s as %q: %s", e.field, who, a.body)
			}
			if slices.ContainsFunc(a.statements, func(s string) bool { return s != "users.check_session" }) {
				t.Errorf("%s as %q: %v", e.field, who, a.statements)
			}
		}
		if w.catalogueState() != before {
			t.Fatalf("%q has written something", who)
		}
	}

	// Each is done by a manager and again by an admin. # stands for which time it is.
	shown := map[string]string{
		"productCreate":            `{"product":{"slug":"new-#","variants":[{"title":"M"}]},"userErrors":[]}`,
		"productUpdate":            `{"product":{"vendor":"New #","title":"Shirt 0","metadata":{"a":"b"}},"userErrors":[]}`,
		"productSchedule":          `{"product":{"schedule":{"publishAt":null,"unpublishAt":"209#-01-01T00:00:00Z"}},"userErrors":[]}`,
		"productUnpublish":         `{"product":{"status":"DRAFT"},"userErrors":[]}`,
		"productArchive":           `{"product":{"status":"ARCHIVED"},"userErrors":[]}`,
		"productRestore":           `{"product":{"status":"DRAFT"},"userErrors":[]}`,
		"productPublish":           `{"product":{"status":"ACTIVE"},"userErrors":[]}`,
		"productOptionsSet":        `{"product":{"options":[{"name":"Size#","values":["M","S","L#"]}]},"userErrors":[]}`,
		"productMediaUpdate":       `{"media":{"alt":"New #"},"userErrors":[]}`,
		"variantCreate":            `{"variant":{"title":"L#","price":{"amount":"20.00"}},"product":{"priceRange":{"max":{"amount":"MAX"}}},"userErrors":[]}`,
		"variantUpdate":            `{"variant":{"price":{"amount":"2#.50"},"priceChanges":{"nodes":[{"newPrice":{"amount":"2#.50"},"actor":{"name":"Name of WHO"}}]}},"userErrors":[]}`,
		"variantsBulkUpdate":       `{"results":[{"variant":{"barcode":"#"},"userErrors":[]},{"variant":null,"userErrors":[{"code":"INVALID","field":["variantId"]}]}],"userErrors":[]}`,
		"categoryMove":             `{"category":{"parent":null,"ancestors":[]},"userErrors":[]}`,
		"categoryUpdate":           `{"category":{"description":"New #","name":"Shirts"},"userErrors":[]}`,
		"collectionCreate":         `{"collection":{"slug":"new-#"},"userErrors":[]}`,
		"collectionProductsRemove": `{"collection":{"products":{"totalCount":1}},"userErrors":[]}`,
		"collectionProductsAdd":    `{"collection":{"products":{"totalCount":2}},"userErrors":[]}`,
		"variantDelete":            `{"deletedVariantId":DELETED,"product":{"priceRange":{"max":{"amount":"2#.50"}}},"userErrors":[]}`,
		"collectionDelete":         `{"deletedCollectionId":DELETED,"userErrors":[]}`,
		"categoryDelete":           `{"deletedCategoryId":DELETED,"userErrors":[]}`,
	}
	for n, who := range []string{"manager", "admin"} {
		n++
		for i := range w.edits(n) {
			e := w.edits(n)[i] // what it names has been made by those before
			_, deleted, _ := strings.Cut(e.input, ": ")
			before := w.catalogueState()
			a := w.ask(who, e.document(), nil)
			want := strings.NewReplacer("#", fmt.Sprint(n), "WHO", who, "DELETED", deleted, "MAX", map[int]string{1: "21.50", 2: "22.50"}[n]).Replace(shown[e.field])
			var answer struct{ Data map[string]json.RawMessage }
			if err := json.Unmarshal([]byte(a.body), &answer); err != nil || len(a.codes()) > 0 || !strings.HasSuffix(string(answer.Data[e.field]), `"userErrors":[]}`) {
				t.Errorf("%s as %s: %s", e.field, who, a.body)
			} else if got := string(answer.Data[e.field]); want != "" && got != want {
				t.Errorf("%s as %s:\n%s, want\n%s", e.field, who, got, want)
			}
			already := map[string]bool{"collectionProductsReorder": n == 1, "categoryMove": n == 2} // nothing is left to write
			if (w.catalogueState() == before) != already[e.field] {
				t.Errorf("%s as %s: whether it has written something is %t", e.field, who, w.catalogueState() != before)
			}
		}
	}
}

// TestCatalogueOverHTTP edits as a client does, by the Playground's example too: several mutations in one operation see what
// those before have done, and shoppers see it when it is on sale.
func TestCatalogueOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	for _, tab := range playground.Examples() {
		if tab.Title != "Catalogue, for staff" {
			continue
		}
		var variables map[string]any
		if err := json.Unmarshal([]byte(tab.Variables), &variables); err != nil {
			t.Fatal(err)
		}
		want := []string{`"userErrors":[]`, `"userErrors":[{"code":"TAKEN","field":["slug"],"message":"another product has this slug"}]`}
		for _, want := range want { // once more it is there already
			if a := w.ask("manager", tab.Query, variables); len(a.codes()) > 0 || !strings.Contains(a.body, want) {
				t.Errorf("the example: %s, want %s", a.body, want)
			}
		}
	}
	seen := func(who string) string {
		return w.ask(who, `query($id: ID!) { product(id: $id) { title schedule { unpublishAt } variants { priceChanges(first: 5) { nodes { oldPrice { amount } } } } } }`,
			map[string]any{"id": w.ids["Product"].String()}).body
	}
	for _, who := range everyone {
		body, refused := seen(who), strings.Contains(seen(who), `"schedule":null,"variants":[{"priceChanges":null}`)
		if staff := who != "" && who != "ada" && who != "bob"; refused == staff || !strings.Contains(body, `"title":"Shirt 0"`) {
			t.Errorf("as %q: %s", who, body)
		}
	}
	a := w.ask("manager", `mutation($p: ID!) {
		a: productUpdate(input: {productId: $p, title: "Coat"}) { product { title } }
		b: productUnpublish(input: {productId: $p}) { product { title status } }
		c: productUnpublish(input: {productId: $p}) { product { status } userErrors { code } }
		d: productRestore(input: {productId: $p}) { product { status } userErrors { code } }
	}`, map[string]any{"p": w.ids["Product"].String()})
	if want := `{"data":{"a":{"product":{"title":"Coat"}},"b":{"product":{"title":"Coat","status":"DRAFT"}},"c":{"product":{"status":"DRAFT"},"userErrors":[]},"d":{"product":{"status":"DRAFT"},"userErrors":[]}}}`; a.body != want {
		t.Errorf("one operation: %s", a.body)
	}
	for _, who := range everyone {
		if staff := who != "" && who != "ada" && who != "bob"; strings.Contains(seen(who), `"title":"Coat"`) != staff {
			t.Errorf("the draft as %q: %s", who, seen(who))
		}
	}
	unknown := map[string]any{"p": id.Of(id.Product, id.New()).String()}
	if a := w.ask("admin", `mutation($p: ID!) { productArchive(input: {productId: $p}) { product { id } } }`, unknown); strings.Join(a.codes(), "") != "NOT_FOUND productArchive" ||
		!strings.Contains(a.body, `"field":["input","productId"]`) {
		t.Errorf("an unknown product: %s", a.body)
	}
	// A picture elsewhere is an address, nothing else.
	if a := w.ask("admin", `mutation($p: ID!) { productMediaAdd(input: {productId: $p, url: "javascript:x"}) { media { id } } }`, unknown); strings.Join(a.codes(), "") != "BAD_USER_INPUT productMediaAdd" {
		t.Errorf("a script for a picture: %d %s", a.status, a.body)
	}
}
