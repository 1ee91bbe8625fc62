package product

import (
	"context"
	"slices"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/postgres"
)

// CategoryCreateInput is a new category, the last one below its parent, or at the top.
type CategoryCreateInput struct {
	Name        string
	Slug        *string
	Description *string
	ParentID    *id.ID
}

// CategoryUpdateInput is what changes of a category: what is absent stays, null clears.
type CategoryUpdateInput struct {
	CategoryID  id.ID
	Name        graphql.Omittable[*string]
	Slug        graphql.Omittable[*string]
	Description graphql.Omittable[*string]
}

// CategoryMoveInput is a category and the one that it comes below, with all that is below it; nil for the top.
type CategoryMoveInput struct {
	CategoryID id.ID
	ParentID   *id.ID
}

// CategoryDeleteInput is the category that goes.
type CategoryDeleteInput struct{ CategoryID id.ID }

// CategoriesReorderInput is all categories below one, or at the top, in the order that they get.
type CategoriesReorderInput struct {
	ParentID    *id.ID
	CategoryIDs []id.ID
}

// CategoryPayload is the outcome of writing a category.
type CategoryPayload struct {
	Category   *Category
	UserErrors []fault.Problem
}

// CategoriesPayload is the outcome of reordering categories.
type CategoriesPayload struct {
	Categories []*Category
	UserErrors []fault.Problem
}

// CategoryDeletePayload is the outcome of deleting a category.
type CategoryDeletePayload struct {
	DeletedCategoryID *id.ID
	UserErrors        []fault.Problem
}

// plan is the lock of all who change the tree: they go one after the other, so that no two moves make a ring.
func plan(ctx context.Context, tx *postgres.Tx) error {
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{
		Name: "products.tree_lock", SQL: "SELECT pg_advisory_xact_lock(hashtextextended('emporium products categories', 0))",
	})
	return err
}

// changeTree is change with the tree locked.
func (s *Service) changeTree(ctx context.Context, fn func(ctx context.Context, tx *postgres.Tx) ([]audit.Entry, error)) ([]fault.Problem, error) {
	return s.change(ctx, func(ctx context.Context, tx *postgres.Tx) ([]audit.Entry, error) {
		if err := plan(ctx, tx); err != nil {
			return nil, err
		}
		return fn(ctx, tx)
	})
}

// categoryOf returns a category, nil if there is none.
func categoryOf(ctx context.Context, tx *postgres.Tx, category id.ID) (*Category, error) {
	if category.Kind != id.Category {
		return nil, nil
	}
	c, _, err := postgres.First(ctx, tx, postgres.Stmt{
		Name: "products.category_to_edit", SQL: "SELECT " + categoryColumns + " FROM products.categories WHERE id = $1",
		Reads: categoriesByID.Of(category.Key),
	}, pgx.RowToAddrOfStructByName[Category], category.Key)
	return c, err
}

// below puts a category last below a parent, nil for the top.
func (c *Category) below(ctx context.Context, tx *postgres.Tx, parentID *id.ID) error {
	c.ParentID, c.AncestorIDs = nil, []uuid.UUID{}
	if parentID != nil {
		parent, err := categoryOf(ctx, tx, *parentID)
		switch {
		case err != nil:
			return err
		case parent == nil:
			return refuse(fault.ProblemInvalid, "parentId", "there is no such category")
		case parent.ID == c.ID || slices.Contains(parent.AncestorIDs, c.ID):
			return refuse(fault.ProblemInvalid, "parentId", "a category does not stand below itself")
		}
		c.ParentID, c.AncestorIDs = &parent.ID, append(parent.AncestorIDs, parent.ID)
	}
	last, _, err := postgres.First(ctx, tx, postgres.Stmt{
		Name:  "products.last_child",
		SQL:   "SELECT coalesce(max(position), 0) FROM products.categories WHERE parent_id IS NOT DISTINCT FROM $1",
		Reads: postgres.All("products.categories"),
	}, pgx.RowTo[int], c.ParentID)
	c.Position = last + 1
	return err
}

// check checks the texts of a category.
func (c *Category) check() error {
	for _, err := range []error{checkName("slug", "the slug", c.Slug), checkName("name", "the name", c.Name),
		checkLong("description", "the description", deref(c.Description))} {
		if err != nil {
			return err
		}
	}
	return nil
}

func categoryPayload(c *Category, problems []fault.Problem, err error) (*CategoryPayload, error) {
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &CategoryPayload{UserErrors: problems}, nil
	}
	return &CategoryPayload{Category: c}, nil
}

// CreateCategory makes a category.
func (s *Service) CreateCategory(ctx context.Context, in CategoryCreateInput) (*CategoryPayload, error) {
	var c *Category
	problems, err := s.changeTree(ctx, func(ctx context.Context, tx *postgres.Tx) ([]audit.Entry, error) {
		c = &Category{ID: id.New(), Slug: slugFor(in.Slug, in.Name), Name: strings.TrimSpace(in.Name), Description: trimmed(in.Description)}
		if err := c.check(); err != nil {
			return nil, err
		}
		if err := c.below(ctx, tx, in.ParentID); err != nil {
			return nil, err
		}
		_, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.insert_category",
			SQL:  "INSERT INTO products.categories (" + categoryColumns + ") VALUES ($1, $2, $3, $4, $5, $6, $7)",
		}, c.ID, c.Slug, c.Name, c.Description, c.ParentID, c.AncestorIDs, c.Position)
		return audit.Of(ctx, audit.CategoryCreated, c.GlobalID(), audit.Details{}), err
	})
	return categoryPayload(c, problems, err)
}

// UpdateCategory changes the texts of a category.
func (s *Service) UpdateCategory(ctx context.Context, in CategoryUpdateInput) (*CategoryPayload, error) {
	var c *Category
	problems, err := s.changeTree(ctx, func(ctx context.Context, tx *postgres.Tx) (done []audit.Entry, err error) {
		if c, err = categoryOf(ctx, tx, in.CategoryID); err != nil {
			return nil, err
		}
		if c == nil {
			return nil, unknown("category", "categoryId")
		}
		was := *c
		for _, err := range []error{required("name", in.Name, &c.Name), required("slug", in.Slug, &c.Slug)} {
			if err != nil {
				return nil, err
			}
		}
		optional(in.Description, &c.Description)
		if err := c.check(); err != nil {
			return nil, err
		}
		_, err = postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.update_category", SQL: "UPDATE products.categories SET slug = $2, name = $3, description = $4 WHERE id = $1",
		}, c.ID, c.Slug, c.Name, c.Description)
		return audit.Of(ctx, audit.CategoryUpdated, c.GlobalID(), audit.Changes(was, *c)), err
	})
	return categoryPayload(c, problems, err)
}

// MoveCategory puts a category with all below it last below another one, or last at the top. Where it stands already it
// stays.
func (s *Service) MoveCategory(ctx context.Context, in CategoryMoveInput) (*CategoryPayload, error) {
	var c *Category
	problems, err := s.changeTree(ctx, func(ctx context.Context, tx *postgres.Tx) (done []audit.Entry, err error) {
		if c, err = categoryOf(ctx, tx, in.CategoryID); err != nil {
			return nil, err
		}
		switch {
		case c == nil:
			return nil, unknown("category", "categoryId")
		case c.ParentID == nil && in.ParentID == nil, c.ParentID != nil && in.ParentID != nil && *in.ParentID == id.Of(id.Category, *c.ParentID):
			return nil, nil
		}
		was := c.ParentID
		if err := c.below(ctx, tx, in.ParentID); err != nil {
			return nil, err
		}
		// Those below keep their way from the category on.
		_, err = postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.move_category",
			SQL: `UPDATE products.categories SET
				parent_id = CASE WHEN id = $1 THEN $2 ELSE parent_id END,
				position = CASE WHEN id = $1 THEN $3 ELSE position END,
				ancestor_ids = $4::uuid[] || CASE WHEN id = $1 THEN '{}' ELSE ancestor_ids[array_position(ancestor_ids, $1):] END
				WHERE id = $1 OR ancestor_ids @> ARRAY[$1]`,
		}, c.ID, c.ParentID, c.Position, c.AncestorIDs)
		return audit.Of(ctx, audit.CategoryMoved, c.GlobalID(), audit.Details{"parent": audit.FromTo(categoryID(was), categoryID(c.ParentID))}), err
	})
	return categoryPayload(c, problems, err)
}

// DeleteCategory deletes a category without products and without others below it.
func (s *Service) DeleteCategory(ctx context.Context, in CategoryDeleteInput) (*CategoryDeletePayload, error) {
	problems, err := s.changeTree(ctx, func(ctx context.Context, tx *postgres.Tx) ([]audit.Entry, error) {
		c, err := categoryOf(ctx, tx, in.CategoryID)
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, unknown("category", "categoryId")
		}
		// The references find what has come meanwhile.
		_, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "products.delete_category", SQL: "DELETE FROM products.categories WHERE id = $1"}, c.ID)
		switch {
		case postgres.Violates(err, "categories_parent_id_fkey"):
			return nil, refuse(fault.ProblemInUse, "categoryId", "there are categories below it")
		case postgres.Violates(err, "products_category_id_fkey"):
			return nil, refuse(fault.ProblemInUse, "categoryId", "there are products in it")
		}
		return audit.Of(ctx, audit.CategoryDeleted, c.GlobalID(), audit.Details{"slug": c.Slug}), err
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &CategoryDeletePayload{UserErrors: problems}, nil
	}
	return &CategoryDeletePayload{DeletedCategoryID: &in.CategoryID}, nil
}

// ReorderCategories puts all categories directly below one, or at the top, into an order.
func (s *Service) ReorderCategories(ctx context.Context, in CategoriesReorderInput) (*CategoriesPayload, error) {
	var sorted []Category
	problems, err := s.changeTree(ctx, func(ctx context.Context, tx *postgres.Tx) ([]audit.Entry, error) {
		var parent *uuid.UUID
		var above id.ID // none at the top
		if in.ParentID != nil {
			c, err := categoryOf(ctx, tx, *in.ParentID)
			if err != nil {
				return nil, err
			}
			if c == nil {
				return nil, unknown("category", "parentId")
			}
			parent, above = &c.ID, *in.ParentID
		}
		children, err := postgres.Select(ctx, tx, postgres.Stmt{
			Name: "products.children_to_reorder", SQL: "SELECT " + categoryColumns + " FROM products.categories WHERE parent_id IS NOT DISTINCT FROM $1",
			Reads: postgres.All("products.categories"),
		}, pgx.RowToStructByName[Category], parent)
		if err != nil {
			return nil, err
		}
		if sorted, err = reordered(children, func(c *Category) uuid.UUID { return c.ID }, id.Category, in.CategoryIDs, "categoryIds"); err != nil {
			return nil, err
		}
		keys := make([]uuid.UUID, len(sorted))
		for i := range sorted {
			keys[i], sorted[i].Position = sorted[i].ID, i+1
		}
		n, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.reorder_categories",
			SQL: `UPDATE products.categories c SET position = t.position FROM unnest($1::uuid[]) WITH ORDINALITY AS t(id, position)
				WHERE c.id = t.id AND c.position <> t.position`,
		}, keys)
		if err != nil || n == 0 {
			return nil, err
		}
		return audit.Of(ctx, audit.CategoriesReordered, above, audit.Details{"categories": len(keys)}), nil
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &CategoriesPayload{UserErrors: problems}, nil
	}
	payload := &CategoriesPayload{Categories: make([]*Category, len(sorted))}
	for i := range sorted {
		payload.Categories[i] = &sorted[i]
	}
	return payload, nil
}

// CollectionCreateInput is a new collection.
type CollectionCreateInput struct {
	Title       string
	Slug        *string
	Description *string
}

// CollectionUpdateInput is what changes of a collection: what is absent stays, null clears.
type CollectionUpdateInput struct {
	CollectionID id.ID
	Title        graphql.Omittable[*string]
	Slug         graphql.Omittable[*string]
	Description  graphql.Omittable[*string]
}

// CollectionDeleteInput is the collection that goes.
type CollectionDeleteInput struct{ CollectionID id.ID }

// CollectionProductsInput is a collection and products.
type CollectionProductsInput struct {
	CollectionID id.ID
	ProductIDs   []id.ID
}

// CollectionPayload is the outcome of writing a collection.
type CollectionPayload struct {
	Collection *Collection
	UserErrors []fault.Problem
}

// CollectionDeletePayload is the outcome of deleting a collection.
type CollectionDeletePayload struct {
	DeletedCollectionID *id.ID
	UserErrors          []fault.Problem
}

// check checks the texts of a collection.
func (c *Collection) check() error {
	for _, err := range []error{checkName("slug", "the slug", c.Slug), checkName("title", "the title", c.Title),
		checkLong("description", "the description", deref(c.Description))} {
		if err != nil {
			return err
		}
	}
	return nil
}

// CreateCollection makes a collection.
func (s *Service) CreateCollection(ctx context.Context, in CollectionCreateInput) (*CollectionPayload, error) {
	c := &Collection{ID: id.New(), Slug: slugFor(in.Slug, in.Title), Title: strings.TrimSpace(in.Title), Description: trimmed(in.Description)}
	problems, err := s.change(ctx, func(ctx context.Context, tx *postgres.Tx) ([]audit.Entry, error) {
		if err := c.check(); err != nil {
			return nil, err
		}
		_, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.insert_collection", SQL: "INSERT INTO products.collections (id, slug, title, description) VALUES ($1, $2, $3, $4)",
		}, c.ID, c.Slug, c.Title, c.Description)
		return audit.Of(ctx, audit.CollectionCreated, c.GlobalID(), audit.Details{}), err
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &CollectionPayload{UserErrors: problems}, nil
	}
	return &CollectionPayload{Collection: c}, nil
}

// editCollection runs fn with a collection, held locked. Fn returns what there is to be told of what it has changed.
func (s *Service) editCollection(
	ctx context.Context, action audit.Action, collection id.ID, fn func(ctx context.Context, tx *postgres.Tx, c *Collection) (audit.Details, error),
) (*CollectionPayload, error) {
	var c *Collection
	problems, err := s.change(ctx, func(ctx context.Context, tx *postgres.Tx) ([]audit.Entry, error) {
		missing := unknown("collection", "collectionId")
		if collection.Kind != id.Collection {
			return nil, missing
		}
		var found bool
		var err error
		if c, found, err = postgres.First(ctx, tx, postgres.Stmt{
			Name: "products.lock_collection", SQL: "SELECT " + collectionColumns + " FROM products.collections c WHERE c.id = $1 FOR NO KEY UPDATE",
			Reads: collectionsByID.Of(collection.Key),
		}, pgx.RowToAddrOfStructByName[Collection], collection.Key); err != nil {
			return nil, err
		}
		if !found {
			return nil, missing
		}
		d, err := fn(ctx, tx, c)
		return audit.Of(ctx, action, collection, d), err
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &CollectionPayload{UserErrors: problems}, nil
	}
	return &CollectionPayload{Collection: c}, nil
}

// UpdateCollection changes the texts of a collection.
func (s *Service) UpdateCollection(ctx context.Context, in CollectionUpdateInput) (*CollectionPayload, error) {
	return s.editCollection(ctx, audit.CollectionUpdated, in.CollectionID, func(ctx context.Context, tx *postgres.Tx, c *Collection) (audit.Details, error) {
		was := *c
		for _, err := range []error{required("title", in.Title, &c.Title), required("slug", in.Slug, &c.Slug)} {
			if err != nil {
				return nil, err
			}
		}
		optional(in.Description, &c.Description)
		if err := c.check(); err != nil {
			return nil, err
		}
		_, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.update_collection", SQL: "UPDATE products.collections SET slug = $2, title = $3, description = $4 WHERE id = $1",
		}, c.ID, c.Slug, c.Title, c.Description)
		return audit.Changes(was, *c), err
	})
}

// DeleteCollection deletes a collection. Its products stay.
func (s *Service) DeleteCollection(ctx context.Context, in CollectionDeleteInput) (*CollectionDeletePayload, error) {
	p, err := s.editCollection(ctx, audit.CollectionDeleted, in.CollectionID, func(ctx context.Context, tx *postgres.Tx, c *Collection) (audit.Details, error) {
		_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "products.delete_collection", SQL: "DELETE FROM products.collections WHERE id = $1"}, c.ID)
		return audit.Details{"slug": c.Slug}, err
	})
	if err != nil {
		return nil, err
	}
	if p.UserErrors != nil {
		return &CollectionDeletePayload{UserErrors: p.UserErrors}, nil
	}
	return &CollectionDeletePayload{DeletedCollectionID: &in.CollectionID}, nil
}

// AddToCollection puts products at the end of a collection. Those that are in it stay where they are.
func (s *Service) AddToCollection(ctx context.Context, in CollectionProductsInput) (*CollectionPayload, error) {
	return s.editMembers(ctx, audit.CollectionProductsAdded, in, true, func(d *Draft, c uuid.UUID) {
		if !slices.Contains(d.Collections, c) {
			d.Collections = append(d.Collections, c)
		}
	})
}

// RemoveFromCollection takes products out of a collection. Those that are not in it, or do not exist, stay out of it.
func (s *Service) RemoveFromCollection(ctx context.Context, in CollectionProductsInput) (*CollectionPayload, error) {
	return s.editMembers(ctx, audit.CollectionProductsRemoved, in, false, func(d *Draft, c uuid.UUID) {
		d.Collections = slices.DeleteFunc(d.Collections, func(other uuid.UUID) bool { return other == c })
	})
}

// editMembers changes the collections of up to 100 products.
func (s *Service) editMembers(ctx context.Context, action audit.Action, in CollectionProductsInput, known bool, change func(d *Draft, collection uuid.UUID)) (*CollectionPayload, error) {
	return s.editCollection(ctx, action, in.CollectionID, func(ctx context.Context, tx *postgres.Tx, c *Collection) (audit.Details, error) {
		keys, err := productKeys(in.ProductIDs)
		if err != nil {
			return nil, err
		}
		all, err := lockProducts(ctx, tx, keys)
		if err != nil {
			return nil, err
		}
		if known && len(all) < len(keys) {
			return nil, refuse(fault.ProblemInvalid, "productIds", "one of the products does not exist")
		}
		for _, e := range all {
			change(e.is, c.ID)
			if err := s.check(e.is); err != nil {
				return nil, err
			}
		}
		// They are locked by now: what is added comes in the order given.
		slices.SortFunc(all, func(a, b edited) int { return slices.Index(keys, a.is.ID) - slices.Index(keys, b.is.ID) })
		var moved []id.ID
		for _, e := range all {
			if slices.Contains(e.was.Collections, c.ID) != slices.Contains(e.is.Collections, c.ID) {
				moved = append(moved, e.is.GlobalID())
			}
		}
		return aboutProducts(moved), s.save(ctx, tx, moment(), all...)
	})
}

// aboutProducts are the details that name products; nil if there are none.
func aboutProducts(products []id.ID) audit.Details {
	if len(products) == 0 {
		return nil
	}
	names := make([]string, len(products))
	for i, p := range products {
		names[i] = p.String()
	}
	return audit.Details{"products": names}
}

// categoryID is the ID of a category in the graph; nil for the top.
func categoryID(key *uuid.UUID) *string {
	if key == nil {
		return nil
	}
	return new(id.Of(id.Category, *key).String())
}

// productKeys returns the keys that are named, each once.
func productKeys(ids []id.ID) ([]uuid.UUID, error) {
	if len(ids) == 0 || len(ids) > maxBulk {
		return nil, refuse(fault.ProblemTooMany, "productIds", "there are %d products, not 1 to %d", len(ids), maxBulk)
	}
	keys := make([]uuid.UUID, len(ids))
	for i, p := range ids {
		if p.Kind != id.Product {
			return nil, refuse(fault.ProblemInvalid, "productIds", "one of the products does not exist")
		}
		keys[i] = p.Key
	}
	return distinct(keys), nil
}

// ReorderCollection puts up to 100 products of a collection in front, in the order given; the others follow as they stood.
func (s *Service) ReorderCollection(ctx context.Context, in CollectionProductsInput) (*CollectionPayload, error) {
	return s.editCollection(ctx, audit.CollectionProductsReordered, in.CollectionID, func(ctx context.Context, tx *postgres.Tx, c *Collection) (audit.Details, error) {
		keys, err := productKeys(in.ProductIDs)
		if err != nil {
			return nil, err
		}
		placed, _, err := postgres.First(ctx, tx, postgres.Stmt{
			Name: "products.count_members", SQL: "SELECT count(*) FROM products.collection_products WHERE collection_id = $1 AND product_id = ANY($2)",
			Reads: postgres.All("products.collection_products"),
		}, pgx.RowTo[int], c.ID, keys)
		if err != nil {
			return nil, err
		}
		if placed < len(keys) {
			return nil, refuse(fault.ProblemInvalid, "productIds", "one of the products is not in the collection")
		}
		n, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.reorder_collection",
			SQL: `UPDATE products.collection_products m SET position = t.position FROM (
					SELECT product_id, row_number() OVER (ORDER BY array_position($2::uuid[], product_id), position, product_id) AS position
					FROM products.collection_products WHERE collection_id = $1) t
				WHERE m.collection_id = $1 AND m.product_id = t.product_id AND m.position <> t.position`,
			Reads: postgres.All("products.collection_products"),
		}, c.ID, keys)
		if n == 0 {
			return nil, err
		}
		return aboutProducts(in.ProductIDs), err
	})
}
