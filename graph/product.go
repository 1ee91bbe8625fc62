package graph

import (
	"context"

	"github.com/google/uuid"

	"emporium/graph/loader"
	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/product"
)

// Edges.
var (
	productCategory    = maybeAlong(categories, func(p *product.Product) *uuid.UUID { return p.CategoryID })
	productCollections = along(
		func(l *loader.Loaders) *loader.Loader[uuid.UUID, []*product.Collection] { return l.CollectionsOf }, productID)
	productOptions = along(
		func(l *loader.Loaders) *loader.Loader[uuid.UUID, []*product.Option] { return l.OptionsOf }, productID)
	productVariants = along(
		func(l *loader.Loaders) *loader.Loader[uuid.UUID, []*product.Variant] { return l.VariantsOf }, productID)
	productMedia = along(
		func(l *loader.Loaders) *loader.Loader[uuid.UUID, []*product.Media] { return l.MediaOf }, productID)

	variantStock = along(func(l *loader.Loaders) *loader.Loader[uuid.UUID, *product.Stock] { return l.Stock },
		func(v *product.Variant) uuid.UUID { return v.ID })
	variantImage = maybeAlong(func(l *loader.Loaders) *loader.Loader[uuid.UUID, *product.Media] { return l.Media },
		func(v *product.Variant) *uuid.UUID { return v.ImageID })
	variantProduct = along(func(l *loader.Loaders) *loader.Loader[uuid.UUID, *product.Product] { return l.Products },
		func(v *product.Variant) uuid.UUID { return v.ProductID })

	categoryParent    = maybeAlong(categories, func(c *product.Category) *uuid.UUID { return c.ParentID })
	categoryAncestors = viaMany[*product.Category, uuid.UUID, *product.Category]{
		loader: categories, keys: func(c *product.Category) []uuid.UUID { return c.AncestorIDs }}
	categoryChildren = along(
		func(l *loader.Loaders) *loader.Loader[uuid.UUID, []*product.Category] { return l.ChildrenOf },
		func(c *product.Category) uuid.UUID { return c.ID })
	categoryProducts = productsIn(func(c *product.Category) product.Scope { return product.Scope{Category: c.ID} })

	collectionProducts = productsIn(func(c *product.Collection) product.Scope { return product.Scope{Collection: c.ID} })

	productTotal = along(func(l *loader.Loaders) *loader.Loader[*product.Connection, int] { return l.ProductCounts },
		func(c *product.Connection) *product.Connection { return c })
	productFacets = along(
		func(l *loader.Loaders) *loader.Loader[*product.Connection, *product.Facets] { return l.ProductFacets },
		func(c *product.Connection) *product.Connection { return c })
	facetCategory = along(categories, func(f *product.CategoryFacet) uuid.UUID { return f.CategoryID })

	productEdges = fields{
		"category": productCategory, "collections": productCollections, "options": productOptions,
		"variants": productVariants, "media": productMedia,
	}
	variantEdges = fields{
		"availability": variantStock, "inventory": variantStock, "image": variantImage, "product": variantProduct,
	}
	categoryEdges = fields{
		"parent": categoryParent, "ancestors": categoryAncestors, "children": categoryChildren, "products": categoryProducts,
	}
	collectionEdges                          = fields{"products": collectionProducts}
	facetsEdges                              = fields{"categories": through(func(f *product.Facets) []product.CategoryFacet { return f.Categories })}
	categoryFacetEdges                       = fields{"category": facetCategory}
	suggestionEdges                          = fields{"product": through(func(s *product.Suggestion) *product.Product { return s.Product })}
	productConnectionEdges, productEdgeEdges = func() (fields, fields) {
		connection, item := pageEdges(func(c *product.Connection) []*product.Edge { return c.Edges })
		connection["totalCount"], connection["facets"] = productTotal, productFacets
		return connection, item
	}()
	collectionConnectionEdges, collectionEdgeEdges = pageEdges(
		func(c *product.CollectionConnection) []*product.CollectionEdge { return c.Edges })
)

func categories(l *loader.Loaders) *loader.Loader[uuid.UUID, *product.Category] { return l.Categories }

func productID(p *product.Product) uuid.UUID { return p.ID }

func productsIn[P any](scope func(P) product.Scope) via[P, loader.ProductsKey, *product.Connection] {
	return via[P, loader.ProductsKey, *product.Connection]{
		loader: func(l *loader.Loaders) *loader.Loader[loader.ProductsKey, *product.Connection] { return l.ProductsOf },
		key: func(p P, args arguments) (loader.ProductsKey, bool) {
			return loader.ProductsKey{Scope: scope(p), Page: loader.PageOf(args.page),
				Sorted: args.sort != nil, Sort: or(args.sort)}, true
		},
	}
}

func (r queryResolver) Product(ctx context.Context, productID *id.ID, slug *string) (*product.Product, error) {
	if err := exactlyOne(productID != nil, slug != nil); err != nil {
		return nil, err
	}
	if slug != nil {
		return r.Services.Products.BySlug(ctx, *slug)
	}
	return ofKind(ctx, loader.From(ctx).Products, id.Product, *productID)
}

func (r queryResolver) Variant(ctx context.Context, variantID *id.ID, sku *string) (*product.Variant, error) {
	if err := exactlyOne(variantID != nil, sku != nil); err != nil {
		return nil, err
	}
	if sku != nil {
		return r.Services.Products.VariantBySKU(ctx, *sku)
	}
	return ofKind(ctx, loader.From(ctx).Variants, id.Variant, *variantID)
}

func (r queryResolver) Products(ctx context.Context, first *int, after *string, last *int, before *string, query *string, filter *product.Filter, sort *product.Sort) (*product.Connection, error) {
	found, err := r.Services.Products.Lists(ctx, []product.Scope{{}},
		product.Query{Text: or(query), Filter: or(filter), Sort: sort}, pageArgs(first, after, last, before))
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

func (r queryResolver) ProductSuggest(ctx context.Context, prefix string, first int) ([]*product.Suggestion, error) {
	found, err := r.Services.Products.Suggest(ctx, prefix, first)
	suggestions := make([]*product.Suggestion, len(found))
	for i := range found {
		suggestions[i] = &found[i]
	}
	return suggestions, err
}

func (r queryResolver) Category(ctx context.Context, categoryID *id.ID, slug *string) (*product.Category, error) {
	if err := exactlyOne(categoryID != nil, slug != nil); err != nil {
		return nil, err
	}
	if slug != nil {
		return r.Services.Products.CategoryBySlug(ctx, *slug)
	}
	return ofKind(ctx, loader.From(ctx).Categories, id.Category, *categoryID)
}

func (r queryResolver) Categories(ctx context.Context) ([]*product.Category, error) {
	return loader.From(ctx).ChildrenOf.Now(ctx, uuid.Nil)
}

func (r queryResolver) Collection(ctx context.Context, collectionID *id.ID, slug *string) (*product.Collection, error) {
	if err := exactlyOne(collectionID != nil, slug != nil); err != nil {
		return nil, err
	}
	if slug != nil {
		return r.Services.Products.CollectionBySlug(ctx, *slug)
	}
	return ofKind(ctx, loader.From(ctx).Collections, id.Collection, *collectionID)
}

func (r queryResolver) Collections(ctx context.Context, first *int, after *string, last *int, before *string) (*product.CollectionConnection, error) {
	return r.Services.Products.Collections(ctx, pageArgs(first, after, last, before))
}

// ofKind loads what an ID names; an ID of another kind names nothing here.
func ofKind[V any](ctx context.Context, l *loader.Loader[uuid.UUID, *V], kind id.Kind, i id.ID) (*V, error) {
	if i.Kind != kind {
		return nil, nil
	}
	return l.Now(ctx, i.Key)
}

func (r productResolver) Category(ctx context.Context, p *product.Product) (*product.Category, error) {
	return productCategory.get(ctx, p, arguments{})
}

func (r productResolver) Metadata(ctx context.Context, p *product.Product) (map[string]any, error) {
	if auth.From(ctx).Has(auth.RoleSupport, auth.RoleManager, auth.RoleAdmin, auth.RoleService) {
		return p.Metadata, nil
	}
	return p.PublicMetadata(), nil
}

func (r productResolver) Collections(ctx context.Context, p *product.Product) ([]*product.Collection, error) {
	return productCollections.get(ctx, p, arguments{})
}

func (r productResolver) Options(ctx context.Context, p *product.Product) ([]*product.Option, error) {
	return productOptions.get(ctx, p, arguments{})
}

func (r productResolver) Variants(ctx context.Context, p *product.Product) ([]*product.Variant, error) {
	return productVariants.get(ctx, p, arguments{})
}

func (r productResolver) Media(ctx context.Context, p *product.Product) ([]*product.Media, error) {
	return productMedia.get(ctx, p, arguments{})
}

func (r productConnectionResolver) TotalCount(ctx context.Context, c *product.Connection) (int, error) {
	return productTotal.get(ctx, c, arguments{})
}

func (r productConnectionResolver) Facets(ctx context.Context, c *product.Connection) (*product.Facets, error) {
	return productFacets.get(ctx, c, arguments{})
}

func (r categoryFacetResolver) Category(ctx context.Context, f *product.CategoryFacet) (*product.Category, error) {
	return facetCategory.get(ctx, f, arguments{})
}

func (r variantResolver) Availability(ctx context.Context, v *product.Variant) (*product.Availability, error) {
	stock, err := r.Inventory(ctx, v)
	if err != nil {
		return nil, err
	}
	availability := stock.Availability()
	return &availability, nil
}

func (r variantResolver) Inventory(ctx context.Context, v *product.Variant) (*product.Stock, error) {
	stock, err := variantStock.get(ctx, v, arguments{})
	if stock == nil {
		stock = &product.Stock{VariantID: v.ID}
	}
	return stock, err
}

func (r variantResolver) Image(ctx context.Context, v *product.Variant) (*product.Media, error) {
	return variantImage.get(ctx, v, arguments{})
}

func (r variantResolver) Product(ctx context.Context, v *product.Variant) (*product.Product, error) {
	return variantProduct.get(ctx, v, arguments{})
}

func (r categoryResolver) Parent(ctx context.Context, c *product.Category) (*product.Category, error) {
	return categoryParent.get(ctx, c, arguments{})
}

func (r categoryResolver) Ancestors(ctx context.Context, c *product.Category) ([]*product.Category, error) {
	return categoryAncestors.get(ctx, c)
}

func (r categoryResolver) Children(ctx context.Context, c *product.Category) ([]*product.Category, error) {
	return categoryChildren.get(ctx, c, arguments{})
}

func (r categoryResolver) Products(ctx context.Context, c *product.Category, first *int, after *string, last *int, before *string, sort *product.Sort) (*product.Connection, error) {
	return categoryProducts.get(ctx, c, arguments{page: pageArgs(first, after, last, before), sort: sort})
}

func (r collectionResolver) Products(ctx context.Context, c *product.Collection, first *int, after *string, last *int, before *string, sort *product.Sort) (*product.Connection, error) {
	return collectionProducts.get(ctx, c, arguments{page: pageArgs(first, after, last, before), sort: sort})
}
