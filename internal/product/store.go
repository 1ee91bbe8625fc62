package product

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/page"
	"emporium/internal/postgres"
)

const (
	productColumns = `p.id, p.slug, p.title, p.description, p.description_html, p.vendor, p.type, p.tags, p.status,
		p.category_id, p.seo_title, p.seo_description, p.metadata, p.created_at, p.updated_at, p.published_at,
		p.currency, p.price_min, p.price_max`
	variantColumns = `t.id, t.product_id, t.position, t.sku, t.barcode,
		ARRAY(SELECT o.name FROM products.options o WHERE o.product_id = t.product_id ORDER BY o.position) AS option_names,
		t.option_values AS option_choices, t.currency, t.price AS price_minor, t.compare_at_price AS compare_at_minor,
		t.weight_grams, t.image_id`
	optionColumns     = `t.product_id, t.position, t.name, t.option_values AS values`
	mediaColumns      = `t.id, t.product_id, t.kind, t.url, t.alt, t.position, t.width, t.height`
	categoryColumns   = `id, slug, name, description, parent_id, ancestor_ids, position`
	collectionColumns = `c.id, c.slug, c.title, c.description`
)

// ByIDs returns products by key.
func (s *Service) ByIDs(ctx context.Context, ids []uuid.UUID) ([]*Product, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return postgres.Select(ctx, s.db, postgres.Stmt{
		Name:  "products.by_ids",
		SQL:   "SELECT " + productColumns + " FROM products.products p WHERE p.id = ANY($1) AND " + visible(ctx),
		Reads: postgres.Rows("products.products", ids...),
	}, pgx.RowToAddrOfStructByName[Product], ids)
}

// BySlug returns a product, or nil when there is none.
func (s *Service) BySlug(ctx context.Context, slug string) (*Product, error) {
	p, _, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name:  "products.by_slug",
		SQL:   "SELECT " + productColumns + " FROM products.products p WHERE p.slug = $1 AND " + visible(ctx),
		Reads: postgres.All("products.products"),
	}, pgx.RowToAddrOfStructByName[Product], slug)
	return p, err
}

// belongings reads rows t of a table whose product the viewer sees.
func belongings[T any](
	ctx context.Context, s *Service, name, columns, from, rest string, reads []postgres.Tag, args ...any,
) ([]*T, error) {
	sql := "SELECT " + columns + " FROM " + from
	if !seesAll(ctx) {
		sql += " JOIN products.products p ON p.id = t.product_id AND " + visible(ctx)
		reads = append(reads, postgres.All("products.products")...)
	}
	return postgres.Select(ctx, s.db, postgres.Stmt{Name: name, SQL: sql + rest, Reads: reads},
		pgx.RowToAddrOfStructByName[T], args...)
}

// Variants returns variants by key.
func (s *Service) Variants(ctx context.Context, ids []uuid.UUID) ([]*Variant, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return belongings[Variant](ctx, s, "products.variants_by_ids", variantColumns, "products.variants t",
		" WHERE t.id = ANY($1)",
		append(postgres.Rows("products.variants", ids...), postgres.All("products.options")...), ids)
}

// VariantBySKU returns a variant, or nil when there is none.
func (s *Service) VariantBySKU(ctx context.Context, sku string) (*Variant, error) {
	found, err := belongings[Variant](ctx, s, "products.variant_by_sku", variantColumns, "products.variants t",
		" WHERE t.sku = $1", postgres.All("products.variants", "products.options"), sku)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// VariantsOf returns the variants of products, ordered by product and position.
func (s *Service) VariantsOf(ctx context.Context, productIDs []uuid.UUID) ([]*Variant, error) {
	if len(productIDs) == 0 {
		return nil, nil
	}
	return belongings[Variant](ctx, s, "products.variants_by_product", variantColumns, "products.variants t",
		" WHERE t.product_id = ANY($1) ORDER BY t.product_id, t.position",
		postgres.All("products.variants", "products.options"), productIDs)
}

// OptionsOf returns the options of products, ordered by product and position.
func (s *Service) OptionsOf(ctx context.Context, productIDs []uuid.UUID) ([]*Option, error) {
	if len(productIDs) == 0 {
		return nil, nil
	}
	return belongings[Option](ctx, s, "products.options_by_product", optionColumns, "products.options t",
		" WHERE t.product_id = ANY($1) ORDER BY t.product_id, t.position", postgres.All("products.options"), productIDs)
}

// MediaOf returns the media of products, ordered by product and position.
func (s *Service) MediaOf(ctx context.Context, productIDs []uuid.UUID) ([]*Media, error) {
	if len(productIDs) == 0 {
		return nil, nil
	}
	return belongings[Media](ctx, s, "products.media_by_product", mediaColumns, "products.media t",
		" WHERE t.product_id = ANY($1) ORDER BY t.product_id, t.position", postgres.All("products.media"), productIDs)
}

// Media returns media by key.
func (s *Service) Media(ctx context.Context, ids []uuid.UUID) ([]*Media, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return belongings[Media](ctx, s, "products.media_by_ids", mediaColumns, "products.media t",
		" WHERE t.id = ANY($1)", postgres.Rows("products.media", ids...), ids)
}

// Stock returns the stock of variants. A variant whose stock was never counted has none.
func (s *Service) Stock(ctx context.Context, variantIDs []uuid.UUID) ([]*Stock, error) {
	if len(variantIDs) == 0 {
		return nil, nil
	}
	return belongings[Stock](ctx, s, "products.stock_by_variant",
		"t.id AS variant_id, coalesce(s.on_hand, 0) AS on_hand, coalesce(s.held, 0) AS held",
		"products.variants t LEFT JOIN products.stock s ON s.variant_id = t.id",
		" WHERE t.id = ANY($1)",
		append(postgres.Rows("products.variants", variantIDs...), postgres.Rows("products.stock", variantIDs...)...),
		variantIDs)
}

// Categories returns categories by key.
func (s *Service) Categories(ctx context.Context, ids []uuid.UUID) ([]*Category, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return postgres.Select(ctx, s.db, postgres.Stmt{
		Name:  "products.categories_by_ids",
		SQL:   "SELECT " + categoryColumns + " FROM products.categories WHERE id = ANY($1)",
		Reads: postgres.Rows("products.categories", ids...),
	}, pgx.RowToAddrOfStructByName[Category], ids)
}

// CategoryBySlug returns a category, or nil when there is none.
func (s *Service) CategoryBySlug(ctx context.Context, slug string) (*Category, error) {
	c, _, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name:  "products.category_by_slug",
		SQL:   "SELECT " + categoryColumns + " FROM products.categories WHERE slug = $1",
		Reads: postgres.All("products.categories"),
	}, pgx.RowToAddrOfStructByName[Category], slug)
	return c, err
}

// ChildrenOf returns the categories directly below others, ordered by parent and position. Below uuid.Nil are those at
// the top.
func (s *Service) ChildrenOf(ctx context.Context, categoryIDs []uuid.UUID) ([]*Category, error) {
	if len(categoryIDs) == 0 {
		return nil, nil
	}
	where := "parent_id = ANY($1)"
	if slices.Contains(categoryIDs, uuid.Nil) {
		where = "(parent_id = ANY($1) OR parent_id IS NULL)"
	}
	return postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "products.categories_by_parent",
		SQL: "SELECT " + categoryColumns + " FROM products.categories WHERE " + where +
			" ORDER BY parent_id NULLS FIRST, position, id",
		Reads: postgres.All("products.categories"),
	}, pgx.RowToAddrOfStructByName[Category], categoryIDs)
}

// CollectionsByIDs returns collections by key.
func (s *Service) CollectionsByIDs(ctx context.Context, ids []uuid.UUID) ([]*Collection, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return postgres.Select(ctx, s.db, postgres.Stmt{
		Name:  "products.collections_by_ids",
		SQL:   "SELECT " + collectionColumns + " FROM products.collections c WHERE c.id = ANY($1)",
		Reads: postgres.Rows("products.collections", ids...),
	}, pgx.RowToAddrOfStructByName[Collection], ids)
}

// CollectionBySlug returns a collection, or nil when there is none.
func (s *Service) CollectionBySlug(ctx context.Context, slug string) (*Collection, error) {
	c, _, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name:  "products.collection_by_slug",
		SQL:   "SELECT " + collectionColumns + " FROM products.collections c WHERE c.slug = $1",
		Reads: postgres.All("products.collections"),
	}, pgx.RowToAddrOfStructByName[Collection], slug)
	return c, err
}

// CollectionsOf returns the collections of each product, by title. A product in none has no entry.
func (s *Service) CollectionsOf(ctx context.Context, productIDs []uuid.UUID) (map[uuid.UUID][]*Collection, error) {
	of := map[uuid.UUID][]*Collection{}
	if len(productIDs) == 0 {
		return of, nil
	}
	type row struct {
		ProductID uuid.UUID
		Collection
	}
	rows, err := belongings[row](ctx, s, "products.collections_by_product", "t.product_id, "+collectionColumns,
		"products.collection_products t JOIN products.collections c ON c.id = t.collection_id",
		` WHERE t.product_id = ANY($1) ORDER BY lower(c.title) COLLATE "C", c.id`,
		postgres.All("products.collection_products", "products.collections"), productIDs)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		of[r.ProductID] = append(of[r.ProductID], &r.Collection)
	}
	return of, nil
}

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
	type row struct {
		Key string
		Collection
	}
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name:  "products.collections",
		SQL:   "SELECT lower(c.title) AS key, " + collectionColumns + " FROM products.collections c" + b.Where() + tail,
		Reads: postgres.All("products.collections"),
	}, pgx.RowToAddrOfStructByName[row], b.Args()...)
	if err != nil {
		return nil, err
	}
	built := page.Build(w, rows, func(r *row) string { return page.Cursor(sort, r.Key, r.ID.String()) })
	c := CollectionConnection{PageInfo: built.PageInfo, Edges: make([]*CollectionEdge, len(built.Edges))}
	for i, e := range built.Edges {
		c.Edges[i] = &CollectionEdge{Cursor: e.Cursor, Node: &e.Node.Collection}
	}
	return &c, nil
}
