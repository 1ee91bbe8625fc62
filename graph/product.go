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
	productEdges = fields{
		"category":    maybeAlong(loader.Categories, func(p *product.Product) *uuid.UUID { return p.CategoryID }),
		"collections": along(loader.CollectionsOf, productID),
		"options":     along(loader.OptionsOf, productID),
		"variants":    along(loader.VariantsOf, productID),
		"media":       along(loader.MediaOf, productID),
		"metadata":    computed[*product.Product, map[string]any]{metadata, []string{"Metadata"}},
	}
	variantStock = along(loader.Stock, func(v *product.Variant) uuid.UUID { return v.ID })
	variantEdges = fields{
		"availability": of(variantStock, func(_ *product.Variant, s *product.Stock) *product.Availability {
			if s == nil {
				return &product.Availability{}
			}
			a := s.Availability()
			return &a
		}, "ID"),
		"inventory": of(variantStock, func(v *product.Variant, s *product.Stock) *product.Stock {
			if s == nil {
				return &product.Stock{VariantID: v.ID}
			}
			return s
		}, "ID"),
		"priceChanges": via[*product.Variant, loader.PageKey, *product.PriceChangeConnection]{loader.PriceChangesOf,
			func(v *product.Variant, args arguments) (loader.PageKey, bool) {
				return loader.PageKey{Of: v.ID, Page: loader.PageOf(args.page)}, true
			},
		},
		"image":   maybeAlong(loader.Media, func(v *product.Variant) *uuid.UUID { return v.ImageID }),
		"product": along(loader.Products, func(v *product.Variant) uuid.UUID { return v.ProductID }),
	}
	inventoryEdges = fields{
		"movements": via[*product.Stock, loader.PageKey, *product.MovementConnection]{loader.StockMovementsOf,
			func(s *product.Stock, args arguments) (loader.PageKey, bool) {
				return loader.PageKey{Of: s.VariantID, Page: loader.PageOf(args.page)}, true
			},
		},
	}
	stockChangeEdges = fields{
		"variant": along(loader.Variants, func(c *product.StockChange) uuid.UUID { return c.VariantID }),
	}
	stockMovementEdges = fields{
		"actor": maybeAlong(loader.Users, func(m *product.Movement) *uuid.UUID { return m.ActorID }),
	}
	priceChangeEdges = fields{
		"actor": maybeAlong(loader.Users, func(c *product.PriceChange) *uuid.UUID { return c.ActorID }),
	}
	stockAdjustEdges = fields{
		"variant": maybeAlong(loader.Variants, func(p *product.StockAdjustPayload) *uuid.UUID { return p.VariantID }),
	}
	stockSetEdges = fields{
		"variant": maybeAlong(loader.Variants, func(p *product.StockSetPayload) *uuid.UUID { return p.VariantID }),
	}
	categoryEdges = fields{
		"parent": maybeAlong(loader.Categories, func(c *product.Category) *uuid.UUID { return c.ParentID }),
		"ancestors": viaMany[*product.Category, uuid.UUID, *product.Category]{
			loader.Categories, func(c *product.Category) []uuid.UUID { return c.AncestorIDs }, []string{"AncestorIDs"}},
		"children": along(loader.ChildrenOf, func(c *product.Category) uuid.UUID { return c.ID }),
		"products": productsIn(func(c *product.Category) product.Scope { return product.Scope{Category: c.ID} }),
	}
	collectionEdges = fields{
		"products": productsIn(func(c *product.Collection) product.Scope { return product.Scope{Collection: c.ID} }),
	}
	productConnectionEdges = fields{
		"totalCount": along(loader.ProductCounts, func(c *product.Connection) *product.Connection { return c }),
		"facets":     along(loader.ProductFacets, func(c *product.Connection) *product.Connection { return c }),
	}
	categoryFacetEdges = fields{
		"category": along(loader.Categories, func(f *product.CategoryFacet) uuid.UUID { return f.CategoryID }),
	}
)

func productID(p *product.Product) uuid.UUID { return p.ID }

func productsIn[P any](scope func(P) product.Scope) edge {
	return via[P, loader.ProductsKey, *product.Connection]{loader.ProductsOf,
		func(p P, args arguments) (loader.ProductsKey, bool) {
			return loader.ProductsKey{Scope: scope(p), Page: loader.PageOf(args.page),
				Sorted: args.sort != nil, Sort: or(args.sort)}, true
		},
	}
}

// metadata shows the shop's own keys to those who work there.
func metadata(ctx context.Context, p *product.Product) map[string]any {
	if auth.Has(ctx, auth.RoleSupport, auth.RoleManager, auth.RoleAdmin, auth.RoleService) {
		return p.Metadata
	}
	return p.PublicMetadata()
}

func (r queryResolver) Product(ctx context.Context, productID *id.ID, slug *string) (*product.Product, error) {
	if err := exactlyOne(productID != nil, slug != nil); err != nil {
		return nil, err
	}
	if slug != nil {
		return r.Services.Products.BySlug(ctx, *slug)
	}
	return ofKind(ctx, loader.Products, id.Product, *productID)
}

func (r queryResolver) Variant(ctx context.Context, variantID *id.ID, sku *string) (*product.Variant, error) {
	if err := exactlyOne(variantID != nil, sku != nil); err != nil {
		return nil, err
	}
	if sku != nil {
		return r.Services.Products.VariantBySKU(ctx, *sku)
	}
	return ofKind(ctx, loader.Variants, id.Variant, *variantID)
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
	return ofKind(ctx, loader.Categories, id.Category, *categoryID)
}

func (r queryResolver) Categories(ctx context.Context) ([]*product.Category, error) {
	return loader.ChildrenOf.Now(ctx, uuid.Nil)
}

func (r queryResolver) Collection(ctx context.Context, collectionID *id.ID, slug *string) (*product.Collection, error) {
	if err := exactlyOne(collectionID != nil, slug != nil); err != nil {
		return nil, err
	}
	if slug != nil {
		return r.Services.Products.CollectionBySlug(ctx, *slug)
	}
	return ofKind(ctx, loader.Collections, id.Collection, *collectionID)
}

func (r queryResolver) Collections(ctx context.Context, first *int, after *string, last *int, before *string) (*product.CollectionConnection, error) {
	return r.Services.Products.Collections(ctx, pageArgs(first, after, last, before))
}

func (r mutationResolver) StockAdjust(ctx context.Context, in product.StockAdjustInput, idempotencyKey string) (*product.StockAdjustPayload, error) {
	return r.Services.Products.AdjustStock(ctx, in, idempotencyKey)
}

func (r mutationResolver) StockSet(ctx context.Context, in product.StockSetInput, idempotencyKey string) (*product.StockSetPayload, error) {
	return r.Services.Products.SetStock(ctx, in, idempotencyKey)
}

func (r mutationResolver) ProductCreate(ctx context.Context, in product.ProductCreateInput) (*product.ProductPayload, error) {
	return r.Services.Products.CreateProduct(ctx, in)
}

func (r mutationResolver) ProductUpdate(ctx context.Context, in product.ProductUpdateInput) (*product.ProductPayload, error) {
	return r.Services.Products.UpdateProduct(ctx, in)
}

func (r mutationResolver) ProductPublish(ctx context.Context, in product.ProductTransitionInput) (*product.ProductPayload, error) {
	return r.Services.Products.Publish(ctx, in)
}

func (r mutationResolver) ProductUnpublish(ctx context.Context, in product.ProductTransitionInput) (*product.ProductPayload, error) {
	return r.Services.Products.Unpublish(ctx, in)
}

func (r mutationResolver) ProductArchive(ctx context.Context, in product.ProductTransitionInput) (*product.ProductPayload, error) {
	return r.Services.Products.Archive(ctx, in)
}

func (r mutationResolver) ProductRestore(ctx context.Context, in product.ProductTransitionInput) (*product.ProductPayload, error) {
	return r.Services.Products.Restore(ctx, in)
}

func (r mutationResolver) ProductSchedule(ctx context.Context, in product.ProductScheduleInput) (*product.ProductPayload, error) {
	return r.Services.Products.Schedule(ctx, in)
}

func (r mutationResolver) ProductOptionsSet(ctx context.Context, in product.OptionsSetInput) (*product.ProductPayload, error) {
	return r.Services.Products.SetOptions(ctx, in)
}

func (r mutationResolver) ProductMediaAdd(ctx context.Context, in product.MediaAddInput) (*product.MediaPayload, error) {
	return r.Services.Products.AddMedia(ctx, in)
}

func (r mutationResolver) ProductMediaUpdate(ctx context.Context, in product.MediaUpdateInput) (*product.MediaPayload, error) {
	return r.Services.Products.UpdateMedia(ctx, in)
}

func (r mutationResolver) ProductMediaRemove(ctx context.Context, in product.MediaRemoveInput) (*product.MediaRemovePayload, error) {
	return r.Services.Products.RemoveMedia(ctx, in)
}

func (r mutationResolver) ProductMediaReorder(ctx context.Context, in product.MediaReorderInput) (*product.ProductPayload, error) {
	return r.Services.Products.ReorderMedia(ctx, in)
}

func (r mutationResolver) VariantCreate(ctx context.Context, in product.VariantCreateInput) (*product.VariantPayload, error) {
	return r.Services.Products.CreateVariant(ctx, in)
}

func (r mutationResolver) VariantUpdate(ctx context.Context, in product.VariantUpdateInput) (*product.VariantPayload, error) {
	return r.Services.Products.UpdateVariant(ctx, in)
}

func (r mutationResolver) VariantDelete(ctx context.Context, in product.VariantDeleteInput) (*product.VariantDeletePayload, error) {
	return r.Services.Products.DeleteVariant(ctx, in)
}

func (r mutationResolver) VariantsReorder(ctx context.Context, in product.VariantsReorderInput) (*product.ProductPayload, error) {
	return r.Services.Products.ReorderVariants(ctx, in)
}

func (r mutationResolver) VariantsBulkUpdate(ctx context.Context, in product.VariantsBulkUpdateInput) (*product.VariantsBulkUpdatePayload, error) {
	return r.Services.Products.UpdateVariants(ctx, in)
}

func (r mutationResolver) CategoryCreate(ctx context.Context, in product.CategoryCreateInput) (*product.CategoryPayload, error) {
	return r.Services.Products.CreateCategory(ctx, in)
}

func (r mutationResolver) CategoryUpdate(ctx context.Context, in product.CategoryUpdateInput) (*product.CategoryPayload, error) {
	return r.Services.Products.UpdateCategory(ctx, in)
}

func (r mutationResolver) CategoryMove(ctx context.Context, in product.CategoryMoveInput) (*product.CategoryPayload, error) {
	return r.Services.Products.MoveCategory(ctx, in)
}

func (r mutationResolver) CategoriesReorder(ctx context.Context, in product.CategoriesReorderInput) (*product.CategoriesPayload, error) {
	return r.Services.Products.ReorderCategories(ctx, in)
}

func (r mutationResolver) CategoryDelete(ctx context.Context, in product.CategoryDeleteInput) (*product.CategoryDeletePayload, error) {
	return r.Services.Products.DeleteCategory(ctx, in)
}

func (r mutationResolver) CollectionCreate(ctx context.Context, in product.CollectionCreateInput) (*product.CollectionPayload, error) {
	return r.Services.Products.CreateCollection(ctx, in)
}

func (r mutationResolver) CollectionUpdate(ctx context.Context, in product.CollectionUpdateInput) (*product.CollectionPayload, error) {
	return r.Services.Products.UpdateCollection(ctx, in)
}

func (r mutationResolver) CollectionDelete(ctx context.Context, in product.CollectionDeleteInput) (*product.CollectionDeletePayload, error) {
	return r.Services.Products.DeleteCollection(ctx, in)
}

func (r mutationResolver) CollectionProductsAdd(ctx context.Context, in product.CollectionProductsInput) (*product.CollectionPayload, error) {
	return r.Services.Products.AddToCollection(ctx, in)
}

func (r mutationResolver) CollectionProductsRemove(ctx context.Context, in product.CollectionProductsInput) (*product.CollectionPayload, error) {
	return r.Services.Products.RemoveFromCollection(ctx, in)
}

func (r mutationResolver) CollectionProductsReorder(ctx context.Context, in product.CollectionProductsInput) (*product.CollectionPayload, error) {
	return r.Services.Products.ReorderCollection(ctx, in)
}

// ofKind loads what an ID names; an ID of another kind names nothing here.
func ofKind[V any](ctx context.Context, l loader.Edge[uuid.UUID, *V], kind id.Kind, i id.ID) (*V, error) {
	if i.Kind != kind {
		return nil, nil
	}
	return l.Now(ctx, i.Key)
}

func (r subscriptionResolver) StockChanged(ctx context.Context, variantIDs []*id.ID) (<-chan *product.StockChange, error) {
	return r.Services.Products.FollowStock(ctx, variantIDs)
}
