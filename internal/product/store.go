package product

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"emporium/internal/page"
	"emporium/internal/postgres"
)

const (
	productColumns = `p.id, p.slug, p.title, p.description, p.description_html, p.vendor, p.type, p.tags, p.status,
		p.category_id, p.seo_title, p.seo_description, p.metadata, p.created_at, p.updated_at, p.published_at, p.publish_at,
		p.unpublish_at,		p.currency, p.price_min, p.price_max`
	variantColumns = `t.id, t.product_id, t.position, t.sku, t.barcode,
		ARRAY(SELECT o.name FROM products.options o WHERE o.product_id = t.product_id ORDER BY o.position) AS option_names,
		t.option_values AS option_choices, t.currency, t.price AS price_minor, t.compare_at_price AS compare_at_minor,
		t.weight_grams, t.image_id`
	optionColumns     = `t.product_id, t.position, t.name, t.option_values AS values`
	mediaColumns      = `t.id, t.product_id, t.kind, t.url, t.alt, t.position, t.width, t.height`
	categoryColumns   = `id, slug, name, description, parent_id, ancestor_ids, position`
	collectionColumns = `c.id, c.slug, c.title, c.description`
)

// The columns by which reads of the catalogue are told apart.
var (
	productsByID        = postgres.ColumnOf("products.products", "id")
	productsBySlug      = postgres.ColumnOf("products.products", "slug")
	variantsByID        = postgres.ColumnOf("products.variants", "id")
	variantsByProduct   = postgres.ColumnOf("products.variants", "product_id")
	variantsBySKU       = postgres.ColumnOf("products.variants", "sku")
	optionsByProduct    = postgres.ColumnOf("products.options", "product_id")
	mediaByID           = postgres.ColumnOf("products.media", "id")
	mediaByProduct      = postgres.ColumnOf("products.media", "product_id")
	stockByVariant      = postgres.ColumnOf("products.stock", "variant_id")
	categoriesByID      = postgres.ColumnOf("products.categories", "id")
	categoriesBySlug    = postgres.ColumnOf("products.categories", "slug")
	categoriesByParent  = postgres.ColumnOf("products.categories", "parent_id")
	collectionsByID     = postgres.ColumnOf("products.collections", "id")
	collectionsBySlug   = postgres.ColumnOf("products.collections", "slug")
	membersByCollection = postgres.ColumnOf("products.collection_products", "collection_id")
	membersByProduct    = postgres.ColumnOf("products.collection_products", "product_id")
	holdsByOrder        = postgres.ColumnOf("products.hold_orders", "order_id")
)

// The tables are how rows become what they are here.
var (
	products    = postgres.TableOf[Product](productColumns, nil)
	variants    = postgres.TableOf[Variant](variantColumns, nil)
	options     = postgres.TableOf[Option](optionColumns, nil)
	media       = postgres.TableOf[Media](mediaColumns, nil)
	stocks      = postgres.TableOf[stockOf]("t.product_id, t.id AS variant_id, coalesce(s.on_hand, 0) AS on_hand, coalesce(s.held, 0) AS held", nil)
	categories  = postgres.TableOf[Category](categoryColumns, nil)
	collections = postgres.TableOf[Collection](collectionColumns, nil)
)

// ByIDs returns products by key.
func (s *Service) ByIDs(ctx context.Context, ids []uuid.UUID) ([]*Product, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	found := products.In(ctx)
	condition, arg := postgres.AnyOf("p.id", "$1", ids)
	return postgres.Select(ctx, s.db, postgres.Stmt{
		Name:  "products.by_ids",
		SQL:   "SELECT " + found.SQL + " FROM products.products p WHERE " + condition + " AND " + visible(ctx),
		Reads: productsByID.Of(ids...),
	}, found.Scan, arg)
}

// BySlug returns a product, or nil when there is none.
func (s *Service) BySlug(ctx context.Context, slug string) (*Product, error) {
	found := products.In(ctx)
	p, _, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name:  "products.by_slug",
		SQL:   "SELECT " + found.SQL + " FROM products.products p WHERE p.slug = $1 AND " + visible(ctx),
		Reads: productsBySlug.OfTexts(slug),
	}, found.Scan, slug)
	return p, err
}

// belongingsOf reads rows t that belong to products which the viewer sees, by the products. What else it reads is declared
// by the products too.
func belongingsOf[T any](
	ctx context.Context, s *Service, name string, table *postgres.Table[T], from, tail string, productIDs []uuid.UUID, reads ...postgres.Read,
) ([]*T, error) {
	if len(productIDs) == 0 {
		return nil, nil
	}
	found := table.In(ctx)
	condition, arg := postgres.AnyOf("t.product_id", "$1", productIDs)
	sql := "SELECT " + found.SQL + " FROM " + from
	if !seesAll(ctx) {
		sql += ofVisible(ctx)
		reads = append(reads, productsByID.Of(productIDs...)...)
	}
	return postgres.Select(ctx, s.db, postgres.Stmt{Name: name, SQL: sql + " WHERE " + condition + tail, Reads: reads}, found.Scan, arg)
}

// ofVisible leaves those rows t whose product the viewer sees.
func ofVisible(ctx context.Context) string {
	return " JOIN products.products p ON p.id = t.product_id AND " + visible(ctx)
}

// belonging is what belongs to a product.
type belonging interface{ ofProduct() uuid.UUID }

func (v *Variant) ofProduct() uuid.UUID { return v.ProductID }
func (m *Media) ofProduct() uuid.UUID   { return m.ProductID }

// belongings reads rows t that belong to products which the viewer sees, by a condition that as many of them match as are
// wanted. Only the rows say of which products these are. When there are fewer, they belong to who knows which, if any: then
// all products were read.
func belongings[T any, P interface {
	*T
	belonging
}](
	ctx context.Context, s *Service, stmt postgres.Stmt, table *postgres.Table[T], from, where string, wanted int, arg any,
) ([]*T, error) {
	found, all := table.In(ctx), seesAll(ctx)
	stmt.SQL = "SELECT " + found.SQL + " FROM " + from
	options := strings.Contains(found.SQL, "products.options")
	if !all {
		stmt.SQL += ofVisible(ctx)
		stmt.Later = append(stmt.Later, "products.products")
	}
	if options {
		stmt.Later = append(stmt.Later, "products.options")
	}
	stmt.SQL += where
	return postgres.SelectThen(ctx, s.db, stmt, found.Scan, func(found []*T) (reads []postgres.Read) {
		products := make([]uuid.UUID, len(found))
		for i, t := range found {
			products[i] = P(t).ofProduct()
		}
		products = distinct(products)
		if !all && len(found) < wanted {
			reads = postgres.All("products.products")
		} else if !all {
			reads = productsByID.Of(products...)
		}
		if options {
			reads = append(reads, optionsByProduct.Of(products...)...)
		}
		return reads
	}, arg)
}

// belongingsBy is belongings by the key of the rows.
func belongingsBy[T any, P interface {
	*T
	belonging
}](
	ctx context.Context, s *Service, name string, table *postgres.Table[T], from string, reads []postgres.Read, keys []uuid.UUID,
) ([]*T, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	condition, arg := postgres.AnyOf("t.id", "$1", keys)
	return belongings[T, P](ctx, s, postgres.Stmt{Name: name, Reads: reads}, table, from, " WHERE "+condition, len(distinct(keys)), arg)
}

// Variants returns variants by key.
func (s *Service) Variants(ctx context.Context, ids []uuid.UUID) ([]*Variant, error) {
	return belongingsBy(ctx, s, "products.variants_by_ids", variants, "products.variants t", variantsByID.Of(ids...), ids)
}

// VariantBySKU returns a variant, or nil when there is none.
func (s *Service) VariantBySKU(ctx context.Context, sku string) (*Variant, error) {
	found, err := belongings(ctx, s, postgres.Stmt{Name: "products.variant_by_sku", Reads: variantsBySKU.OfTexts(sku)}, variants,
		"products.variants t", " WHERE t.sku = $1", 1, sku)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// byProduct is the order of what belongs to products.
const byProduct = " ORDER BY t.product_id, t.position"

// VariantsOf returns the variants of products, ordered by product and position.
func (s *Service) VariantsOf(ctx context.Context, productIDs []uuid.UUID) ([]*Variant, error) {
	return belongingsOf(ctx, s, "products.variants_by_product", variants, "products.variants t", byProduct, productIDs,
		append(variantsByProduct.Of(productIDs...), optionsByProduct.Of(productIDs...)...)...)
}

// OptionsOf returns the options of products, ordered by product and position.
func (s *Service) OptionsOf(ctx context.Context, productIDs []uuid.UUID) ([]*Option, error) {
	return belongingsOf(ctx, s, "products.options_by_product", options, "products.options t", byProduct, productIDs,
		optionsByProduct.Of(productIDs...)...)
}

// MediaOf returns the media of products, ordered by product and position.
func (s *Service) MediaOf(ctx context.Context, productIDs []uuid.UUID) ([]*Media, error) {
	return belongingsOf(ctx, s, "products.media_by_product", media, "products.media t", byProduct, productIDs,
		mediaByProduct.Of(productIDs...)...)
}

// Media returns media by key.
func (s *Service) Media(ctx context.Context, ids []uuid.UUID) ([]*Media, error) {
	return belongingsBy(ctx, s, "products.media_by_ids", media, "products.media t", mediaByID.Of(ids...), ids)
}

// stockOf is the stock of a variant, with the variant's product.
type stockOf struct {
	ProductID uuid.UUID
	Stock
}

func (s *stockOf) ofProduct() uuid.UUID { return s.ProductID }

// Stock returns the stock of variants. A variant whose stock was never counted has none.
func (s *Service) Stock(ctx context.Context, variantIDs []uuid.UUID) ([]*Stock, error) {
	found, err := belongingsBy(ctx, s, "products.stock_by_variant", stocks,
		"products.variants t LEFT JOIN products.stock s ON s.variant_id = t.id",
		append(variantsByID.Of(variantIDs...), stockByVariant.Of(variantIDs...)...), variantIDs)
	if err != nil {
		return nil, err
	}
	stock := make([]*Stock, len(found))
	for i, x := range found {
		stock[i] = &x.Stock
	}
	return stock, nil
}

// Categories returns categories by key.
func (s *Service) Categories(ctx context.Context, ids []uuid.UUID) ([]*Category, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	found := categories.In(ctx)
	condition, arg := postgres.AnyOf("id", "$1", ids)
	return postgres.Select(ctx, s.db, postgres.Stmt{
		Name:  "products.categories_by_ids",
		SQL:   "SELECT " + found.SQL + " FROM products.categories WHERE " + condition,
		Reads: categoriesByID.Of(ids...),
	}, found.Scan, arg)
}

// CategoryBySlug returns a category, or nil when there is none.
func (s *Service) CategoryBySlug(ctx context.Context, slug string) (*Category, error) {
	found := categories.In(ctx)
	c, _, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name:  "products.category_by_slug",
		SQL:   "SELECT " + found.SQL + " FROM products.categories WHERE slug = $1",
		Reads: categoriesBySlug.OfTexts(slug),
	}, found.Scan, slug)
	return c, err
}

// ChildrenOf returns the categories directly below others, ordered by parent and position. Below uuid.Nil are those at
// the top.
func (s *Service) ChildrenOf(ctx context.Context, categoryIDs []uuid.UUID) ([]*Category, error) {
	if len(categoryIDs) == 0 {
		return nil, nil
	}
	found := categories.In(ctx)
	where, arg := postgres.AnyOf("parent_id", "$1", categoryIDs)
	reads := categoriesByParent.Of(categoryIDs...)
	if slices.Contains(categoryIDs, uuid.Nil) {
		where = "(" + where + " OR parent_id IS NULL)"
		reads = postgres.All("products.categories") // there is no tag of NULL
	}
	return postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "products.categories_by_parent",
		SQL: "SELECT " + found.SQL + " FROM products.categories WHERE " + where +
			" ORDER BY parent_id NULLS FIRST, position, id",
		Reads: reads,
	}, found.Scan, arg)
}

// CollectionsByIDs returns collections by key.
func (s *Service) CollectionsByIDs(ctx context.Context, ids []uuid.UUID) ([]*Collection, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	found := collections.In(ctx)
	condition, arg := postgres.AnyOf("c.id", "$1", ids)
	return postgres.Select(ctx, s.db, postgres.Stmt{
		Name:  "products.collections_by_ids",
		SQL:   "SELECT " + found.SQL + " FROM products.collections c WHERE " + condition,
		Reads: collectionsByID.Of(ids...),
	}, found.Scan, arg)
}

// CollectionBySlug returns a collection, or nil when there is none.
func (s *Service) CollectionBySlug(ctx context.Context, slug string) (*Collection, error) {
	found := collections.In(ctx)
	c, _, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name:  "products.collection_by_slug",
		SQL:   "SELECT " + found.SQL + " FROM products.collections c WHERE c.slug = $1",
		Reads: collectionsBySlug.OfTexts(slug),
	}, found.Scan, slug)
	return c, err
}

// member is a collection as one that a product is in.
type member struct {
	ProductID uuid.UUID
	Collection
}

var members = postgres.TableOf[member]("t.product_id, "+collectionColumns, nil)

// CollectionsOf returns the collections of each product, by title. A product in none has no entry.
func (s *Service) CollectionsOf(ctx context.Context, productIDs []uuid.UUID) (map[uuid.UUID][]*Collection, error) {
	of := map[uuid.UUID][]*Collection{}
	if len(productIDs) == 0 {
		return of, nil
	}
	rows, err := belongingsOf(ctx, s, "products.collections_by_product", members,
		"products.collection_products t JOIN products.collections c ON c.id = t.collection_id",
		` ORDER BY lower(c.title) COLLATE "C", c.id`, productIDs,
		append(membersByProduct.Of(productIDs...), postgres.All("products.collections")...)...)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		of[r.ProductID] = append(of[r.ProductID], &r.Collection)
	}
	return of, nil
}

// listedCollection is a collection with its place in the order of a list.
type listedCollection struct {
	Key string
	Collection
}

var listedCollections = postgres.TableOf[listedCollection]("lower(c.title) AS key, "+collectionColumns, nil)

// Collections returns a page of all collections, by title.
func (s *Service) Collections(ctx context.Context, args page.Args) (*CollectionConnection, error) {
	const sort = "TITLE"
	w, err := args.Window(sort, 2)
	if err != nil {
		return nil, err
	}
	var b postgres.Builder
	tail, err := b.Page(w, []postgres.Key{
		{Expr: `lower(c.title) COLLATE "C"`, Cast: "text"},
		{Expr: "c.id", Cast: "uuid"},
	})
	if err != nil {
		return nil, err
	}
	listed := listedCollections.In(ctx)
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name:  "products.collections",
		SQL:   "SELECT " + listed.SQL + " FROM products.collections c" + b.Where() + tail,
		Reads: postgres.All("products.collections"),
	}, listed.Scan, b.Args()...)
	if err != nil {
		return nil, err
	}
	built := page.Build(w, rows, func(r *listedCollection) string { return page.Cursor(sort, r.Key, r.ID.String()) })
	return new(page.Of(built, func(r *listedCollection) *Collection { return &r.Collection })), nil
}
