package product

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/postgres"
)

// chunk is how many products are written or read at a time.
const chunk = 500

// table is a relation as drafts are written to it.
type table struct {
	name    string
	columns []string
}

var (
	categoryTable = table{"categories", []string{
		"id", "slug", "name", "description", "parent_id", "ancestor_ids", "position"}}
	collectionTable = table{"collections", []string{"id", "slug", "title", "description"}}
	productTable    = table{"products", []string{
		"id", "slug", "title", "description", "description_html", "vendor", "type", "tags", "status", "category_id",
		"seo_title", "seo_description", "metadata", "created_at", "updated_at", "published_at", "publish_at", "unpublish_at",
		"currency", "price_min", "price_max", "option_pairs", "search_text"}}
	optionTable  = table{"options", []string{"product_id", "position", "name", "option_values"}}
	mediaTable   = table{"media", []string{"id", "product_id", "kind", "url", "alt", "position", "width", "height"}}
	variantTable = table{"variants", []string{
		"id", "product_id", "position", "sku", "barcode", "option_values", "currency", "price", "compare_at_price",
		"weight_grams", "image_id"}}
	stockTable      = table{"stock", []string{"variant_id", "on_hand"}}
	movementTable   = table{"stock_movements", []string{"variant_id", "id", "delta", "reason"}}
	membershipTable = table{"collection_products", []string{"collection_id", "product_id", "position"}}
)

func (d *Draft) row() []any {
	return []any{d.ID, d.Slug, d.Title, d.Description, d.DescriptionHTML, d.Vendor, d.Type, d.Tags, d.Status, d.CategoryID,
		d.SEOTitle, d.SEODescription, d.Metadata, d.CreatedAt, d.UpdatedAt, d.PublishedAt, d.PublishAt, d.UnpublishAt,
		d.Currency, d.PriceMin, d.PriceMax, d.optionPairs(), d.searchText()}
}

func (o *Option) row() []any { return []any{o.ProductID, o.Position, o.Name, o.Values} }

func (m *Media) row() []any {
	return []any{m.ID, m.ProductID, m.Kind, m.URL, m.Alt, m.Position, m.Width, m.Height}
}

func (v *Variant) row() []any {
	choices := v.OptionChoices
	if choices == nil {
		choices = []string{}
	}
	return []any{v.ID, v.ProductID, v.Position, v.SKU, v.Barcode, choices, v.Currency, v.PriceMinor, v.CompareAtMinor,
		v.WeightGrams, v.ImageID}
}

// Load writes categories, collections and products by COPY, in one transaction, and tells progress, which may be nil,
// how many products are done. Nothing of it may exist yet; Upsert is for what does. The categories above each one are
// found out. Memory does not grow with the number of products.
//
// Load, Upsert and Each are for commands: they look at no viewer.
func (s *Service) Load(
	ctx context.Context, categories []Category, collections []Collection, products iter.Seq[*Draft], progress func(done int),
) error {
	var once onlyOnce
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		if err := once.begin(); err != nil {
			return err
		}
		rows, err := plant(ctx, tx, categories)
		if err != nil {
			return err
		}
		if err := categoryTable.copy(ctx, tx, rows); err != nil {
			return err
		}
		rows = nil
		for i := range collections {
			c := &collections[i]
			if c.ID == uuid.Nil {
				c.ID = id.New()
			}
			rows = append(rows, []any{c.ID, c.Slug, c.Title, c.Description})
		}
		if err := collectionTable.copy(ctx, tx, rows); err != nil {
			return err
		}
		now, done, members := time.Now().Truncate(time.Microsecond), 0, map[uuid.UUID]int{}
		for drafts := range chunks(products) {
			var of struct{ products, options, media, variants, stock, movements, memberships [][]any }
			for i, d := range drafts {
				if err := d.complete(s.currency); err != nil {
					return &DraftError{Index: done + i, Slug: d.Slug, Err: err}
				}
				d.begin(now)
				d.link()
				of.products = append(of.products, d.row())
				for i := range d.Options {
					of.options = append(of.options, d.Options[i].row())
				}
				for i := range d.Media {
					of.media = append(of.media, d.Media[i].row())
				}
				for i := range d.Variants {
					v := &d.Variants[i]
					of.variants = append(of.variants, v.row())
					if v.OnHand == nil {
						v.OnHand = new(0)
					}
					of.stock = append(of.stock, []any{v.ID, *v.OnHand})
					if *v.OnHand > 0 {
						of.movements = append(of.movements, []any{v.ID, id.New(), *v.OnHand, StockOpening})
					}
				}
				for _, c := range d.Collections {
					members[c]++
					of.memberships = append(of.memberships, []any{c, d.ID, members[c]})
				}
			}
			for _, part := range []struct {
				table
				rows [][]any
			}{{productTable, of.products}, {optionTable, of.options}, {mediaTable, of.media}, {variantTable, of.variants},
				{stockTable, of.stock}, {movementTable, of.movements}, {membershipTable, of.memberships}} {
				if err := part.copy(ctx, tx, part.rows); err != nil {
					return err
				}
			}
			if done += len(drafts); progress != nil {
				progress(done)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load the catalogue: %w", err)
	}
	s.settle(ctx)
	return nil
}

// settle brings the indexes and the planner's statistics up to date after much was written. Until then each search reads
// the new entries one by one. The server does it by itself in a minute or so, so it is no failure if this can not.
func (s *Service) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	_, _ = postgres.Exec(ctx, s.db, postgres.Stmt{Name: "products.settle", SQL: `VACUUM (ANALYZE) products.categories,
		products.collections, products.products, products.options, products.media, products.variants, products.stock,
		products.stock_movements, products.collection_products, products.price_changes`})
}

// onlyOnce keeps a transaction from being run again: the sequence that it reads may be spent.
type onlyOnce bool

func (o *onlyOnce) begin() error {
	if *o {
		return fault.New(fault.Conflict, "somebody else was writing to the catalogue at the same time; start again")
	}
	*o = true
	return nil
}

// chunks returns the sequence in pieces.
func chunks(drafts iter.Seq[*Draft]) iter.Seq[[]*Draft] {
	return func(yield func([]*Draft) bool) {
		var piece []*Draft
		for d := range drafts {
			if piece = append(piece, d); len(piece) == chunk {
				if !yield(piece) {
					return
				}
				piece = nil
			}
		}
		if len(piece) > 0 {
			yield(piece)
		}
	}
}

func (t table) copy(ctx context.Context, tx *postgres.Tx, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := postgres.Copy(ctx, tx, [2]string{"products", t.name}, t.columns, pgx.CopyFromRows(rows))
	return err
}

// plant completes categories with their IDs, positions and the categories above them, and returns their rows.
func plant(ctx context.Context, tx *postgres.Tx, categories []Category) ([][]any, error) {
	given, above, places := map[uuid.UUID]*Category{}, map[uuid.UUID][]uuid.UUID{}, map[uuid.UUID]int{}
	for i := range categories {
		c := &categories[i]
		if c.ID == uuid.Nil {
			c.ID = id.New()
		}
		given[c.ID] = c
	}
	var elsewhere []uuid.UUID
	for _, c := range given {
		if c.ParentID != nil && given[*c.ParentID] == nil {
			elsewhere = append(elsewhere, *c.ParentID)
		}
	}
	if len(elsewhere) > 0 {
		if err := plan(ctx, tx); err != nil {
			return nil, err
		}
		parents, err := postgres.Select(ctx, tx, postgres.Stmt{
			Name:  "products.categories_above",
			SQL:   "SELECT " + categoryColumns + " FROM products.categories WHERE id = ANY($1)",
			Reads: categoriesByID.Of(elsewhere...),
		}, pgx.RowToStructByName[Category], elsewhere)
		if err != nil {
			return nil, err
		}
		for _, p := range parents {
			above[p.ID] = append(p.AncestorIDs, p.ID)
		}
	}
	rows := make([][]any, len(categories))
	for i := range categories {
		c := &categories[i]
		path := []uuid.UUID{}
		for at := c; at.ParentID != nil; {
			parent := given[*at.ParentID]
			if parent == nil {
				if above[*at.ParentID] == nil {
					return nil, fault.Newf(fault.BadUserInput, "the parent of category %q does not exist", at.Slug)
				}
				path = slices.Concat(above[*at.ParentID], path)
				break
			}
			if parent == c || len(path) > len(categories) {
				return nil, fault.Newf(fault.BadUserInput, "category %q stands below itself", c.Slug)
			}
			path = slices.Insert(path, 0, parent.ID)
			at = parent
		}
		c.AncestorIDs = path
		var parent uuid.UUID
		if c.ParentID != nil {
			parent = *c.ParentID
		}
		places[parent]++
		if c.Position == 0 {
			c.Position = places[parent]
		}
		rows[i] = []any{c.ID, c.Slug, c.Name, c.Description, c.ParentID, c.AncestorIDs, c.Position}
	}
	return rows, nil
}

// begin completes a draft that is new.
func (d *Draft) begin(now time.Time) {
	if d.CreatedAt.IsZero() {
		d.CreatedAt = now
	}
	if d.ID == uuid.Nil {
		// Lists are sorted by when products were made through the ID.
		var entropy [16]byte
		_, _ = rand.Read(entropy[:])
		d.ID = id.At(d.CreatedAt, entropy)
	}
	if d.UpdatedAt.IsZero() {
		d.UpdatedAt = d.CreatedAt
	}
	if d.PublishedAt == nil && d.Status == StatusActive {
		d.PublishedAt = new(d.CreatedAt)
	}
	if d.Metadata == nil {
		d.Metadata = map[string]any{}
	}
}

// UpsertResult counts what became of products.
type UpsertResult struct{ Created, Updated, Unchanged int }

var errDryRun = errors.New("dry run")

// Upsert writes products as they are in the drafts, found by slug, in one transaction. An existing product keeps its ID,
// its CreatedAt, and what the draft leaves nil of CategoryID, PublishedAt, Metadata, Collections and its schedule; a variant
// with the same option values, otherwise one with the same SKU, and a medium with the same URL keep their IDs; what a
// draft has no more is removed. Stock that is given replaces what is on hand, but never goes below what is held for orders under way; a variant
// that is removed while it is held keeps as much for them.
//
// An error of the sequence, and a *DraftError for a draft that is wrong, undoes everything. So does dryRun in the end,
// with the result that it would have had. Another Upsert at the same time fails with Conflict, and so does an edit of
// staff; for edits that are under way it waits. Memory does not grow with the number of drafts but by their slugs and by
// the variants whose stock changes.
func (s *Service) Upsert(ctx context.Context, drafts iter.Seq2[*Draft, error], dryRun bool) (UpsertResult, error) {
	var once onlyOnce
	var result UpsertResult
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		if err := once.begin(); err != nil {
			return err
		}
		free, _, err := postgres.First(ctx, tx, postgres.Stmt{
			Name: "products.upsert_lock",
			SQL: "SELECT CASE WHEN pg_try_advisory_xact_lock(hashtextextended('emporium products upsert', 0))" +
				" THEN (SELECT true FROM pg_advisory_xact_lock(" + editing + ")) ELSE false END",
		}, pgx.RowTo[bool])
		if err != nil {
			return err
		}
		if !free {
			return fault.New(fault.Conflict, "another import is under way")
		}
		index, seen := 0, map[string]bool{}
		var failed error
		checked := func(yield func(*Draft) bool) {
			for d, err := range drafts {
				if err == nil {
					if err = d.complete(s.currency); err == nil && seen[d.Slug] {
						err = fault.New(fault.BadUserInput, "it is there twice")
					}
					if err != nil {
						err = &DraftError{Index: index, Slug: d.Slug, Err: err}
					}
				}
				if failed = err; failed != nil {
					return
				}
				seen[d.Slug] = true
				index++
				if !yield(d) {
					return
				}
			}
		}
		now := time.Now().Truncate(time.Microsecond)
		stock := restocking{counts: map[uuid.UUID]int{}, why: cause{reason: StockImport}}
		for piece := range chunks(checked) {
			if failed != nil {
				break
			}
			if err := upsert(ctx, tx, piece, now, &result, &stock); err != nil {
				return err
			}
		}
		if failed != nil {
			return failed
		}
		twice, err := postgres.Select(ctx, tx, postgres.Stmt{
			Name: "products.skus_twice",
			SQL: `SELECT format('SKU %s is in product %s', v.sku, p.slug) FROM products.variants v
				JOIN products.products p ON p.id = v.product_id
				WHERE v.sku IN (SELECT sku FROM products.variants GROUP BY sku HAVING count(*) > 1)
				ORDER BY v.sku, p.slug LIMIT 2`,
			Reads: postgres.All("products.variants", "products.products"),
		}, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(twice) > 0 {
			return fault.New(fault.BadUserInput, strings.Join(twice, " and "))
		}
		if err := stock.write(ctx, tx); err != nil {
			return err
		}
		if dryRun {
			return errDryRun
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return UpsertResult{}, fmt.Errorf("write products: %w", err)
	}
	if result.Created+result.Updated > 0 {
		s.settle(ctx)
	}
	return result, nil
}

// upsert writes one piece of drafts.
func upsert(ctx context.Context, tx *postgres.Tx, drafts []*Draft, now time.Time, result *UpsertResult, stock *restocking) error {
	slugs := make([]string, len(drafts))
	for i, d := range drafts {
		slugs[i] = d.Slug
	}
	found, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name:  "products.drafts_by_slug",
		SQL:   "SELECT " + productColumns + " FROM products.products p WHERE p.slug = ANY($1)",
		Reads: postgres.All("products.products"),
	}, pgx.RowToStructByName[Product], slugs)
	if err != nil {
		return err
	}
	existing, err := assemble(ctx, tx, found)
	if err != nil {
		return err
	}
	old := map[string]*Draft{}
	for _, d := range existing {
		old[d.Slug] = d
	}

	w := changes{stock: stock}
	for _, d := range drafts {
		was := old[d.Slug]
		if was == nil {
			was = &Draft{}
			d.begin(now)
			result.Created++
		} else {
			d.adopt(was, now)
		}
		d.link()
		changed, err := w.add(was, d, now)
		switch {
		case err != nil:
			return fmt.Errorf("product %q: %w", d.Slug, err)
		case was.ID == uuid.Nil:
		case changed:
			result.Updated++
		default:
			result.Unchanged++
		}
	}
	return w.write(ctx, tx)
}

// adopt takes over what is kept of the product as it was.
func (d *Draft) adopt(was *Draft, now time.Time) {
	d.ID, d.CreatedAt, d.UpdatedAt = was.ID, was.CreatedAt, was.UpdatedAt
	if d.PublishedAt == nil || was.PublishedAt != nil && d.PublishedAt.Equal(*was.PublishedAt) {
		d.PublishedAt = was.PublishedAt // the same instant may be written in another time zone
	}
	if d.PublishedAt == nil && d.Status == StatusActive {
		d.PublishedAt = new(now)
	}
	if d.PublishAt == nil && d.UnpublishAt == nil {
		d.PublishAt, d.UnpublishAt = was.PublishAt, was.UnpublishAt
	}
	if d.Metadata == nil {
		d.Metadata = was.Metadata
	}
	if d.CategoryID == nil {
		d.CategoryID = was.CategoryID
	}
	taken := map[uuid.UUID]bool{}
	for i := range d.Media {
		m := &d.Media[i]
		m.ID = uuid.Nil
		for _, other := range was.Media {
			if other.URL == m.URL && !taken[other.ID] {
				m.ID = other.ID
				taken[m.ID] = true
				break
			}
		}
	}
	match := func(same func(a, b *Variant) bool) {
		for i := range d.Variants {
			v := &d.Variants[i].Variant
			for j := range was.Variants {
				other := &was.Variants[j].Variant
				if v.ID == uuid.Nil && !taken[other.ID] && same(v, other) {
					v.ID = other.ID
					taken[v.ID] = true
				}
			}
		}
	}
	for i := range d.Variants {
		d.Variants[i].ID = uuid.Nil
	}
	match(func(a, b *Variant) bool { return slices.Equal(a.OptionChoices, b.OptionChoices) })
	match(func(a, b *Variant) bool { return a.SKU != nil && b.SKU != nil && *a.SKU == *b.SKU })
}

// changes are the rows to be written and removed for a piece of drafts.
type changes struct {
	products, options, media, variants, joined, left []json.RawMessage

	reordered, goneMedia, goneVariants []uuid.UUID // reordered: products whose options are written anew
	prices                             []PriceChange
	actor                              *uuid.UUID  // who changes prices; nil for imports
	stock                              *restocking // of all pieces
}

// add compares a product as it was with its draft, and notes what has to be written.
func (w *changes) add(was, d *Draft, now time.Time) (changed bool, err error) {
	note := func(t table, into *[]json.RawMessage, before, after []any) bool {
		b, err1 := t.json(before)
		a, err2 := t.json(after)
		err = errors.Join(err, err1, err2)
		if bytes.Equal(a, b) {
			return false
		}
		*into = append(*into, a)
		return true
	}

	var options []json.RawMessage
	changed = len(was.Options) != len(d.Options)
	for i := range d.Options {
		var before []any
		if i < len(was.Options) {
			before = was.Options[i].row()
		}
		changed = note(optionTable, &options, before, d.Options[i].row()) || changed
	}
	if changed {
		w.reordered = append(w.reordered, d.ID)
		options = nil
		for i := range d.Options {
			note(optionTable, &options, nil, d.Options[i].row())
		}
		w.options = append(w.options, options...)
	}

	media := map[uuid.UUID]*Media{}
	for i := range was.Media {
		media[was.Media[i].ID] = &was.Media[i]
	}
	for i := range d.Media {
		m := &d.Media[i]
		var before []any
		if old := media[m.ID]; old != nil {
			before = old.row()
			delete(media, m.ID)
		}
		changed = note(mediaTable, &w.media, before, m.row()) || changed
	}
	for gone := range media {
		w.goneMedia, changed = append(w.goneMedia, gone), true
	}

	restocked := false
	variants := map[uuid.UUID]*VariantDraft{}
	for i := range was.Variants {
		variants[was.Variants[i].ID] = &was.Variants[i]
	}
	for i := range d.Variants {
		v := &d.Variants[i]
		var before []any
		old := variants[v.ID]
		if old != nil {
			before = old.row()
			delete(variants, v.ID)
			w.prices = append(w.prices, priceChange(&old.Variant, &v.Variant)...)
			if v.OnHand == nil {
				v.OnHand = old.OnHand
			}
		} else if v.OnHand == nil {
			v.OnHand = new(0)
		}
		changed = note(variantTable, &w.variants, before, v.row()) || changed
		if old == nil || *old.OnHand != *v.OnHand {
			w.stock.counts[v.ID], restocked = *v.OnHand, true
		}
	}
	for gone := range variants {
		w.goneVariants, w.stock.gone, changed = append(w.goneVariants, gone), append(w.stock.gone, gone), true
	}

	if d.Collections == nil {
		d.Collections = was.Collections
	}
	move := func(into *[]json.RawMessage, from, to []uuid.UUID) {
		for _, c := range to {
			if !slices.Contains(from, c) {
				changed = note(membershipTable, into, nil, []any{c, d.ID, nil}) || changed
			}
		}
	}
	move(&w.joined, was.Collections, d.Collections)
	move(&w.left, d.Collections, was.Collections)

	var before []any
	if was.ID != uuid.Nil {
		before = was.row()
	}
	if changed && before != nil {
		d.UpdatedAt = now
	}
	if note(productTable, &w.products, before, d.row()) && before != nil && !changed {
		// Something of the product alone has changed: what was noted carries the old time.
		d.UpdatedAt, changed = now, true
		w.products = w.products[:len(w.products)-1]
		note(productTable, &w.products, nil, d.row())
	}
	return changed || restocked, err
}

// json returns a row as an object by column; no row as nil.
func (t table) json(row []any) (json.RawMessage, error) {
	if row == nil {
		return nil, nil
	}
	object := make(map[string]any, len(row))
	for i, column := range t.columns {
		object[column] = row[i]
	}
	return json.Marshal(object)
}

// write writes the changes. Variants and media go before others come, which may take their places.
func (w *changes) write(ctx context.Context, tx *postgres.Tx) error {
	remove := func(name, sql string, ids []uuid.UUID) func() error {
		return func() error {
			if len(ids) == 0 {
				return nil
			}
			_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: name, SQL: sql}, ids)
			return err
		}
	}
	put := func(t table, conflict string, rows []json.RawMessage) func() error {
		return func() error {
			if len(rows) == 0 {
				return nil
			}
			columns, set := strings.Join(t.columns, ", "), make([]string, len(t.columns))
			for i, c := range t.columns {
				set[i] = c + " = EXCLUDED." + c
			}
			sql := "INSERT INTO products." + t.name + " (" + columns + ") SELECT " + columns +
				" FROM json_populate_recordset(NULL::products." + t.name + ", $1::json)"
			if conflict != "" {
				sql += " ON CONFLICT (" + conflict + ") DO UPDATE SET " + strings.Join(set, ", ")
			}
			return writeJSON(ctx, tx, postgres.Stmt{Name: "products.put_" + t.name, SQL: sql}, rows)
		}
	}
	for _, step := range []func() error{
		remove("products.remove_variants", "DELETE FROM products.variants WHERE id = ANY($1)", w.goneVariants),
		remove("products.remove_media", "DELETE FROM products.media WHERE id = ANY($1)", w.goneMedia),
		remove("products.remove_options", "DELETE FROM products.options WHERE product_id = ANY($1)", w.reordered),
		put(productTable, "id", w.products),
		put(optionTable, "", w.options),
		put(mediaTable, "id", w.media),
		put(variantTable, "id", w.variants),
		func() error { return recordPrices(ctx, tx, w.actor, w.prices) },
		func() error {
			if len(w.left) == 0 {
				return nil
			}
			return writeJSON(ctx, tx, postgres.Stmt{
				Name: "products.leave_collections",
				SQL: `DELETE FROM products.collection_products WHERE (collection_id, product_id) IN (
					SELECT collection_id, product_id FROM json_populate_recordset(NULL::products.collection_products, $1::json))`,
			}, w.left)
		},
		func() error {
			if len(w.joined) == 0 {
				return nil
			}
			return writeJSON(ctx, tx, postgres.Stmt{
				Name: "products.join_collections",
				SQL: `INSERT INTO products.collection_products (collection_id, product_id, position)
					SELECT r.collection_id, r.product_id, row_number() OVER (PARTITION BY r.collection_id) + coalesce((
						SELECT max(c.position) FROM products.collection_products c WHERE c.collection_id = r.collection_id), 0)
					FROM json_populate_recordset(NULL::products.collection_products, $1::json) r`,
				Reads: postgres.All("products.collection_products"),
			}, w.joined)
		},
	} {
		if err := step(); err != nil {
			switch {
			case postgres.Violates(err, "products_category_id_fkey"):
				return fault.Wrap(fault.BadUserInput, err, "a product stands in a category that does not exist")
			case postgres.Violates(err, "collection_products_collection_id_fkey"):
				return fault.Wrap(fault.BadUserInput, err, "a product is in a collection that does not exist")
			}
			return err
		}
	}
	return nil
}

func writeJSON(ctx context.Context, tx *postgres.Tx, stmt postgres.Stmt, rows []json.RawMessage) error {
	all, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("%s: %w", stmt.Name, err)
	}
	_, err = postgres.Exec(ctx, tx, stmt, string(all))
	return err
}

// Each calls fn with every product and all that belongs to it, ordered by slug, as they were at one moment. An error of
// fn ends it and is returned. Memory does not grow with the number of products.
func (s *Service) Each(ctx context.Context, fn func(*Draft) error) error {
	return s.db.InSnapshot(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		for after := ""; ; {
			found, err := postgres.Select(ctx, tx, postgres.Stmt{
				Name:  "products.drafts",
				SQL:   "SELECT " + productColumns + " FROM products.products p WHERE p.slug > $1 ORDER BY p.slug LIMIT $2",
				Reads: postgres.All("products.products"),
			}, pgx.RowToStructByName[Product], after, chunk)
			if err != nil {
				return err
			}
			drafts, err := assemble(ctx, tx, found)
			if err != nil {
				return err
			}
			for _, d := range drafts {
				if err := fn(d); err != nil {
					return err
				}
			}
			if len(drafts) < chunk {
				return nil
			}
			after = found[len(found)-1].Slug
		}
	})
}

// assemble reads what belongs to products.
func assemble(ctx context.Context, tx *postgres.Tx, products []Product) ([]*Draft, error) {
	if len(products) == 0 {
		return nil, nil
	}
	drafts, ids, of := make([]*Draft, len(products)), make([]uuid.UUID, len(products)), map[uuid.UUID]*Draft{}
	for i, p := range products {
		drafts[i], ids[i] = &Draft{Product: p, Collections: []uuid.UUID{}}, p.ID
		of[p.ID] = drafts[i]
	}
	options, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name:  "products.draft_options",
		SQL:   "SELECT " + optionColumns + " FROM products.options t WHERE t.product_id = ANY($1) ORDER BY t.product_id, t.position",
		Reads: postgres.All("products.options"),
	}, pgx.RowToStructByName[Option], ids)
	if err != nil {
		return nil, err
	}
	for _, o := range options {
		d := of[o.ProductID]
		d.Options = append(d.Options, o)
	}
	media, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name:  "products.draft_media",
		SQL:   "SELECT " + mediaColumns + " FROM products.media t WHERE t.product_id = ANY($1) ORDER BY t.product_id, t.position",
		Reads: postgres.All("products.media"),
	}, pgx.RowToStructByName[Media], ids)
	if err != nil {
		return nil, err
	}
	for _, m := range media {
		d := of[m.ProductID]
		d.Media = append(d.Media, m)
	}
	type stocked struct {
		Variant
		OnHand int
	}
	variants, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name: "products.draft_variants",
		SQL: "SELECT " + variantColumns + `, coalesce(s.on_hand, 0) AS on_hand FROM products.variants t
			LEFT JOIN products.stock s ON s.variant_id = t.id WHERE t.product_id = ANY($1) ORDER BY t.product_id, t.position`,
		Reads: postgres.All("products.variants", "products.options", "products.stock"),
	}, pgx.RowToStructByName[stocked], ids)
	if err != nil {
		return nil, err
	}
	for _, v := range variants {
		d := of[v.ProductID]
		draft := VariantDraft{Variant: v.Variant, OnHand: new(v.OnHand)}
		if v.ImageID != nil {
			draft.ImagePosition = 1 + slices.IndexFunc(d.Media, func(m Media) bool { return m.ID == *v.ImageID })
		}
		d.Variants = append(d.Variants, draft)
	}
	type membership struct{ ProductID, CollectionID uuid.UUID }
	memberships, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name: "products.draft_collections",
		SQL: `SELECT product_id, collection_id FROM products.collection_products WHERE product_id = ANY($1)
			ORDER BY product_id, collection_id`,
		Reads: postgres.All("products.collection_products"),
	}, pgx.RowToStructByName[membership], ids)
	if err != nil {
		return nil, err
	}
	for _, m := range memberships {
		d := of[m.ProductID]
		d.Collections = append(d.Collections, m.CollectionID)
	}
	return drafts, nil
}
