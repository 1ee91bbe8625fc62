package product

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/postgres"
)

// The verbs by which managers and admins edit the catalogue follow, here and in the files of variants, categories and
// collections. What belongs to a product is changed as a Draft of it, read behind the lock of the product's row and
// written like an import's: by the same checks, with the same columns that are drawn from others. A field that is not
// given stays as whoever came before has left it.
//
// Locks are taken in this order: the collection; products by ID; the stock of variants by ID. Categories have a lock of
// their own, with which no other is taken.

// editing is the key of the advisory lock that all who edit share, and an import has alone: it reads what it is going to
// write over long before.
const editing = "hashtextextended('emporium products editing', 0)"

// refuse returns the error of a problem, which undoes the transaction. Field is a path with dots, "" for the whole.
func refuse(code fault.ProblemCode, field, format string, args ...any) error {
	var path []string
	if field != "" {
		path = strings.Split(field, ".")
	}
	return fault.Problems{fault.NewProblem(code, fmt.Sprintf(format, args...), path...)}
}

// refused returns the problems of an error that is about the input: problems, what is wrong with a draft, or what a
// constraint has found.
func refused(err error) []fault.Problem {
	for _, c := range []struct {
		constraint, field string
		code              fault.ProblemCode
		message           string
	}{
		{"products_slug_key", "slug", fault.ProblemTaken, "another product has this slug"},
		{"categories_slug_key", "slug", fault.ProblemTaken, "another category has this slug"},
		{"collections_slug_key", "slug", fault.ProblemTaken, "another collection has this slug"},
		{"variants_sku_key", "sku", fault.ProblemTaken, takenSKU},
		{"products_category_id_fkey", "categoryId", fault.ProblemInvalid, "there is no such category"},
	} {
		if postgres.Violates(err, c.constraint) {
			return []fault.Problem{fault.NewProblem(c.code, c.message, c.field)}
		}
	}
	var r fault.Problems
	var e *fault.Error
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &e) && e.Code == fault.BadUserInput && e.Field != nil:
		return []fault.Problem{fault.NewProblem(fault.ProblemInvalid, e.Message, e.Field...)}
	}
	return nil
}

// ofItem takes the way to a variant or medium off the path of what is wrong with a draft, for an input that is about one.
func ofItem(err error) error {
	var e *fault.Error
	if errors.As(err, &e) && len(e.Field) > 2 && (e.Field[0] == "variants" || e.Field[0] == "media") {
		return wrong(strings.Join(e.Field[2:], "."), "%s", e.Message)
	}
	return err
}

const takenSKU = "another variant has this SKU"

// unknown returns the error that what an input names does not exist.
func unknown(what, field string) error {
	return &fault.Error{Code: fault.NotFound, Message: "there is no such " + what, Field: []string{"input", field}}
}

// change runs fn in a transaction for those who may edit the catalogue, and records what fn says that was done: nothing if
// nothing has changed. What the user can mend are problems, and nothing was written then. It fails with Conflict while an
// import is under way.
func (s *Service) change(ctx context.Context, fn func(ctx context.Context, tx *postgres.Tx) ([]audit.Entry, error)) ([]fault.Problem, error) {
	viewer := auth.From(ctx)
	switch {
	case !viewer.SignedIn():
		return nil, fault.New(fault.Unauthenticated, "sign in first")
	case !viewer.Has(auth.RoleManager, auth.RoleAdmin):
		return nil, fault.New(fault.Forbidden, "your roles do not allow you to edit the catalogue")
	}
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		free, err := enter(ctx, tx)
		if err != nil {
			return err
		}
		if !free {
			return fault.New(fault.Conflict, "the catalogue is being imported; try again when that is done")
		}
		done, err := fn(ctx, tx)
		if err != nil {
			return err
		}
		return s.jobs.Audit(ctx, tx, done...)
	})
	if problems := refused(err); problems != nil {
		return problems, nil
	}
	return nil, err
}

// enter keeps imports away until the transaction ends, or reports that there is one.
func enter(ctx context.Context, tx *postgres.Tx) (free bool, err error) {
	free, _, err = postgres.First(ctx, tx, postgres.Stmt{
		Name: "products.edit_lock", SQL: "SELECT pg_try_advisory_xact_lock_shared(" + editing + ")",
	}, pgx.RowTo[bool])
	return free, err
}

// edited is a product as it was, and as it becomes.
type edited struct{ was, is *Draft }

// lockProducts returns products, held locked, in the order of their IDs. What does not exist is left out.
func lockProducts(ctx context.Context, tx *postgres.Tx, keys []uuid.UUID) ([]edited, error) {
	condition, arg := postgres.AnyOf("p.id", "$1", keys)
	found, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name:  "products.lock_products",
		SQL:   "SELECT " + productColumns + " FROM products.products p WHERE " + condition + " ORDER BY p.id FOR NO KEY UPDATE",
		Reads: productsByID.Of(keys...),
	}, pgx.RowToStructByName[Product], arg)
	if err != nil {
		return nil, err
	}
	drafts, err := assemble(ctx, tx, found)
	if err != nil {
		return nil, err
	}
	all := make([]edited, len(drafts))
	for i, d := range drafts {
		all[i] = edited{d, d.clone()}
	}
	return all, nil
}

// clone returns a copy of which everything can be changed by assignment.
func (d *Draft) clone() *Draft {
	c := *d
	c.Tags, c.Metadata = slices.Clone(d.Tags), maps.Clone(d.Metadata)
	c.Options, c.Media, c.Variants = slices.Clone(d.Options), slices.Clone(d.Media), slices.Clone(d.Variants)
	for i := range c.Options {
		c.Options[i].Values = slices.Clone(c.Options[i].Values)
	}
	for i := range c.Variants {
		c.Variants[i].OptionChoices = slices.Clone(c.Variants[i].OptionChoices)
	}
	c.Collections = slices.Clone(d.Collections)
	return &c
}

// check completes a draft whose variants name their pictures by ID.
func (s *Service) check(d *Draft) error {
	for i := range d.Variants {
		v := &d.Variants[i]
		v.ImagePosition = 0
		if v.ImageID != nil {
			v.ImagePosition = 1 + slices.IndexFunc(d.Media, func(m Media) bool { return m.ID == *v.ImageID })
		}
	}
	return d.complete(s.currency)
}

// save writes products that were checked.
func (s *Service) save(ctx context.Context, tx *postgres.Tx, now time.Time, all ...edited) error {
	actor := auth.From(ctx).ID
	stock := restocking{counts: map[uuid.UUID]int{}, why: cause{reason: StockCorrection, actor: &actor, note: new("the variant was deleted")}}
	w := changes{stock: &stock, actor: &actor}
	for _, e := range all {
		e.is.link()
		if _, err := w.add(e.was, e.is, now); err != nil {
			return err
		}
	}
	if err := w.write(ctx, tx); err != nil {
		return err
	}
	return stock.write(ctx, tx)
}

// moment returns the present as Postgres keeps it.
func moment() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// editOf runs fn on the draft of the product that an ID is of, or of a variant or medium of, and writes what fn makes of
// it. The ID has to be of the kind. The draft that is returned is what was written.
func (s *Service) editOf(
	ctx context.Context, action audit.Action, kind id.Kind, of id.ID, fn func(ctx context.Context, tx *postgres.Tx, d *Draft) error,
) (*Draft, []fault.Problem, error) {
	var d *Draft
	problems, err := s.change(ctx, func(ctx context.Context, tx *postgres.Tx) ([]audit.Entry, error) {
		e, err := lockOf(ctx, tx, kind, of)
		if err != nil {
			return nil, err
		}
		d = e.is
		if err := fn(ctx, tx, d); err != nil {
			return nil, err
		}
		if err := s.check(d); err != nil {
			return nil, ofItem(err)
		}
		err = s.save(ctx, tx, moment(), e)
		return e.told(ctx, action), err
	})
	if err != nil || problems != nil {
		return nil, problems, err
	}
	return d, nil, nil
}

// lockOf returns the product that something belongs to, held locked.
func lockOf(ctx context.Context, tx *postgres.Tx, kind id.Kind, of id.ID) (edited, error) {
	var missing error
	products, stmt := []uuid.UUID{of.Key}, postgres.Stmt{}
	switch kind {
	case id.Variant:
		missing, stmt = unknown("variant", "variantId"), productsOfVariants
	case id.Media:
		missing, stmt = unknown("medium", "mediaId"), postgres.Stmt{Name: "products.products_of_media",
			SQL: "SELECT product_id FROM products.media WHERE id = ANY($1)", Reads: postgres.All("products.media")}
	default:
		missing = unknown("product", "productId")
	}
	if of.Kind != kind {
		return edited{}, missing
	}
	if stmt.Name != "" {
		var err error
		if products, err = postgres.Select(ctx, tx, stmt, pgx.RowTo[uuid.UUID], []uuid.UUID{of.Key}); err != nil {
			return edited{}, err
		}
		if len(products) == 0 {
			return edited{}, missing
		}
	}
	all, err := lockProducts(ctx, tx, products)
	if err != nil {
		return edited{}, err
	}
	// It may be gone by now.
	if len(all) == 0 || kind == id.Variant && all[0].is.variant(of.Key) < 0 || kind == id.Media && all[0].is.medium(of.Key) < 0 {
		return edited{}, missing
	}
	return all[0], nil
}

var productsOfVariants = postgres.Stmt{Name: "products.products_of_variants",
	SQL: "SELECT DISTINCT product_id FROM products.variants WHERE id = ANY($1)", Reads: postgres.All("products.variants")}

// variant returns the place of a variant, -1 if there is none.
func (d *Draft) variant(key uuid.UUID) int {
	return slices.IndexFunc(d.Variants, func(v VariantDraft) bool { return v.ID == key })
}

// medium returns the place of a medium, -1 if there is none.
func (d *Draft) medium(key uuid.UUID) int {
	return slices.IndexFunc(d.Media, func(m Media) bool { return m.ID == key })
}

// required changes a text that has to be there, if it is given.
func required(field string, given graphql.Omittable[*string], into *string) error {
	text, ok := given.ValueOK()
	switch {
	case !ok:
		return nil
	case text == nil:
		return refuse(fault.ProblemInvalid, field, "this can not be taken away")
	}
	*into = strings.TrimSpace(*text)
	return nil
}

// optional changes a text that may be missing, if it is given.
func optional(given graphql.Omittable[*string], into **string) {
	if text, ok := given.ValueOK(); ok {
		*into = trimmed(text)
	}
}

// trimmed returns a text without space around it; an empty one is none.
func trimmed(text *string) *string {
	if text == nil || strings.TrimSpace(*text) == "" {
		return nil
	}
	return new(strings.TrimSpace(*text))
}

// slugFor returns what was given as a slug, or one made of a title: its letters and digits in small letters, with hyphens
// between words.
func slugFor(given *string, title string) string {
	if given := trimmed(given); given != nil {
		return *given
	}
	words := strings.FieldsFunc(strings.ToLower(title), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })
	return strings.Join(words, "-")
}

// reordered returns items in the order of the IDs, which have to name each of them once.
func reordered[T any](items []T, key func(*T) uuid.UUID, kind id.Kind, ids []id.ID, field string) ([]T, error) {
	left := make(map[uuid.UUID]T, len(items))
	for i := range items {
		left[key(&items[i])] = items[i]
	}
	sorted := make([]T, 0, len(items))
	for _, i := range ids {
		item, ok := left[i.Key]
		if !ok || i.Kind != kind {
			break
		}
		delete(left, i.Key)
		sorted = append(sorted, item)
	}
	if len(sorted) != len(ids) || len(left) > 0 {
		return nil, refuse(fault.ProblemInvalid, field, "this has to name each of them once, and nothing else")
	}
	return sorted, nil
}

// ProductCreateInput is a new product.
type ProductCreateInput struct {
	Title           string
	Slug            *string
	DescriptionHTML *string
	Vendor          *string
	Type            *string
	Tags            []string
	CategoryID      *id.ID
	SEO             *SEOInput
	Metadata        map[string]any
	Options         []OptionInput
	Variants        []VariantInput
	Media           []MediaInput
}

// OptionInput is an option of a new product.
type OptionInput struct {
	Name   string
	Values []string
}

// SEOInput is what changes of what search engines are shown.
type SEOInput struct {
	Title       graphql.Omittable[*string]
	Description graphql.Omittable[*string]
}

// ProductUpdateInput is what changes of a product: what is absent stays, null clears.
type ProductUpdateInput struct {
	ProductID       id.ID
	Title           graphql.Omittable[*string]
	Slug            graphql.Omittable[*string]
	DescriptionHTML graphql.Omittable[*string]
	Vendor          graphql.Omittable[*string]
	Type            graphql.Omittable[*string]
	Tags            graphql.Omittable[[]string]
	CategoryID      graphql.Omittable[*id.ID]
	SEO             graphql.Omittable[*SEOInput]
	Metadata        graphql.Omittable[map[string]any]
}

// ProductPayload is the outcome of editing a product.
type ProductPayload struct {
	Product    *Product
	UserErrors []fault.Problem
}

func productPayload(d *Draft, problems []fault.Problem, err error) (*ProductPayload, error) {
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &ProductPayload{UserErrors: problems}, nil
	}
	return &ProductPayload{Product: &d.Product}, nil
}

// CreateProduct makes a product, which is a draft.
func (s *Service) CreateProduct(ctx context.Context, in ProductCreateInput) (*ProductPayload, error) {
	var d *Draft
	problems, err := s.change(ctx, func(ctx context.Context, tx *postgres.Tx) ([]audit.Entry, error) {
		d = &Draft{Collections: []uuid.UUID{}}
		if err := d.fill(ProductUpdateInput{
			Title: graphql.OmittableOf(&in.Title), DescriptionHTML: graphql.OmittableOf(in.DescriptionHTML),
			Slug: graphql.OmittableOf(new(slugFor(in.Slug, in.Title))), Vendor: graphql.OmittableOf(in.Vendor), Type: graphql.OmittableOf(in.Type),
			Tags: graphql.OmittableOf(in.Tags), CategoryID: graphql.OmittableOf(in.CategoryID), SEO: graphql.OmittableOf(in.SEO),
			Metadata: graphql.OmittableOf(in.Metadata),
		}); err != nil {
			return nil, err
		}
		for _, o := range in.Options {
			d.Options = append(d.Options, Option{Name: strings.TrimSpace(o.Name), Values: o.Values})
		}
		for i := range in.Media {
			d.Media = append(d.Media, in.Media[i].medium())
		}
		for i := range in.Variants {
			if err := d.addVariant(in.Variants[i], s.currency); err != nil {
				return nil, inside(err, variantField(i))
			}
		}
		if err := s.check(d); err != nil {
			return nil, err
		}
		if err := d.checkSKUs(ctx, tx); err != nil {
			return nil, err
		}
		now := moment()
		d.begin(now)
		e := edited{&Draft{}, d}
		err := s.save(ctx, tx, now, e)
		return e.told(ctx, audit.ProductCreated), err
	})
	return productPayload(d, problems, err)
}

// checkSKUs says which variant of a new product has a SKU that is taken. The constraint, which holds in any case, does not.
func (d *Draft) checkSKUs(ctx context.Context, tx *postgres.Tx) error {
	var skus []string
	for _, v := range d.Variants {
		if v.SKU != nil {
			skus = append(skus, *v.SKU)
		}
	}
	taken, err := variantsOfSKUs(ctx, tx, skus)
	if err != nil {
		return err
	}
	for i, v := range d.Variants {
		if _, ok := taken[deref(v.SKU)]; ok {
			return refuse(fault.ProblemTaken, variantField(i)+"sku", takenSKU)
		}
	}
	return nil
}

// inside puts the path of an item before the fields of problems.
func inside(err error, prefix string) error {
	var r fault.Problems
	if errors.As(err, &r) {
		for i := range r {
			r[i].Field = append(strings.Split(strings.TrimSuffix(prefix, "."), "."), r[i].Field...)
		}
	}
	return err
}

// UpdateProduct changes a product.
func (s *Service) UpdateProduct(ctx context.Context, in ProductUpdateInput) (*ProductPayload, error) {
	return productPayload(s.editOf(ctx, audit.ProductUpdated, id.Product, in.ProductID, func(_ context.Context, _ *postgres.Tx, d *Draft) error {
		return d.fill(in)
	}))
}

// fill changes a draft as given.
func (d *Draft) fill(in ProductUpdateInput) error {
	for _, err := range []error{required("title", in.Title, &d.Title), required("slug", in.Slug, &d.Slug)} {
		if err != nil {
			return err
		}
	}
	if in.Slug.IsSet() {
		if err := checkSlug(d.Slug); err != nil {
			return err
		}
	}
	if html, ok := in.DescriptionHTML.ValueOK(); ok {
		d.DescriptionHTML, d.Description = "", ""
		if html != nil {
			if err := d.Describe(*html); err != nil {
				return err
			}
		}
	}
	optional(in.Vendor, &d.Vendor)
	optional(in.Type, &d.Type)
	if tags, ok := in.Tags.ValueOK(); ok {
		d.Tags = make([]string, len(tags))
		for i, tag := range tags {
			d.Tags[i] = strings.TrimSpace(tag)
		}
	}
	if category, ok := in.CategoryID.ValueOK(); ok {
		d.CategoryID = nil
		if category != nil {
			if category.Kind != id.Category {
				return refuse(fault.ProblemInvalid, "categoryId", "there is no such category")
			}
			d.CategoryID = &category.Key
		}
	}
	if seo, ok := in.SEO.ValueOK(); ok {
		if seo == nil {
			d.SEOTitle, d.SEODescription = nil, nil
		} else {
			optional(seo.Title, &d.SEOTitle)
			optional(seo.Description, &d.SEODescription)
		}
	}
	if metadata, ok := in.Metadata.ValueOK(); ok {
		if err := checkMetadata(metadata); err != nil {
			return err
		}
		d.Metadata = map[string]any{}
		maps.Copy(d.Metadata, metadata)
	}
	return nil
}

// transitions are the statuses that each verb leads from, and the one that it leads to. From that one it does nothing.
var transitions = map[audit.Action]struct {
	from []Status
	to   Status
}{
	audit.ProductPublished:   {[]Status{StatusDraft}, StatusActive},
	audit.ProductUnpublished: {[]Status{StatusActive}, StatusDraft},
	audit.ProductArchived:    {[]Status{StatusDraft, StatusActive}, StatusArchived},
	audit.ProductRestored:    {[]Status{StatusArchived}, StatusDraft},
}

// ProductTransitionInput is the product whose status changes.
type ProductTransitionInput struct{ ProductID id.ID }

// Publish puts a product on sale.
func (s *Service) Publish(ctx context.Context, in ProductTransitionInput) (*ProductPayload, error) {
	return s.move(ctx, audit.ProductPublished, in.ProductID)
}

// Unpublish takes a product off sale; it is a draft again.
func (s *Service) Unpublish(ctx context.Context, in ProductTransitionInput) (*ProductPayload, error) {
	return s.move(ctx, audit.ProductUnpublished, in.ProductID)
}

// Archive takes a product out of the shop. Orders keep it.
func (s *Service) Archive(ctx context.Context, in ProductTransitionInput) (*ProductPayload, error) {
	return s.move(ctx, audit.ProductArchived, in.ProductID)
}

// Restore makes a draft of what was archived.
func (s *Service) Restore(ctx context.Context, in ProductTransitionInput) (*ProductPayload, error) {
	return s.move(ctx, audit.ProductRestored, in.ProductID)
}

func (s *Service) move(ctx context.Context, verb audit.Action, product id.ID) (*ProductPayload, error) {
	return productPayload(s.editOf(ctx, verb, id.Product, product, func(_ context.Context, _ *postgres.Tx, d *Draft) error {
		t := transitions[verb]
		switch {
		case d.Status == t.to:
			return nil
		case !slices.Contains(t.from, d.Status):
			return refuse(fault.ProblemWrongStatus, "productId", "the product is %s", d.Status)
		}
		if d.Status = t.to; d.Status == StatusActive && d.PublishedAt == nil {
			d.PublishedAt = new(moment())
		}
		return nil
	}))
}

// ProductScheduleInput is what changes of when a product goes on sale and off it: what is absent stays, null clears.
type ProductScheduleInput struct {
	ProductID   id.ID
	PublishAt   graphql.Omittable[*time.Time]
	UnpublishAt graphql.Omittable[*time.Time]
}

// Schedule plans when a draft goes on sale, and when that or what is on sale goes off it. An instant that has passed is
// due at once. Any other change of the status forgets what it makes meaningless.
func (s *Service) Schedule(ctx context.Context, in ProductScheduleInput) (*ProductPayload, error) {
	return productPayload(s.editOf(ctx, audit.ProductScheduled, id.Product, in.ProductID, func(_ context.Context, _ *postgres.Tx, d *Draft) error {
		if at, ok := in.PublishAt.ValueOK(); ok {
			if at != nil && d.Status != StatusDraft {
				return refuse(fault.ProblemWrongStatus, "publishAt", "the product is %s; only a draft goes on sale", d.Status)
			}
			d.PublishAt = at
		}
		if at, ok := in.UnpublishAt.ValueOK(); ok {
			switch {
			case at == nil:
			case d.Status == StatusArchived:
				return refuse(fault.ProblemWrongStatus, "unpublishAt", "the product is %s", d.Status)
			case d.Status == StatusDraft && d.PublishAt == nil:
				return refuse(fault.ProblemInvalid, "unpublishAt", "the product is not on sale by then")
			}
			d.UnpublishAt = at
		}
		if d.PublishAt != nil && d.UnpublishAt != nil && !d.PublishAt.Truncate(time.Microsecond).Before(d.UnpublishAt.Truncate(time.Microsecond)) {
			return refuse(fault.ProblemInvalid, "unpublishAt", "a product goes off sale after it has gone on sale")
		}
		return nil
	}))
}

// PublishDue puts up to limit products on sale, or takes them off it, for which that is due by now, those that have waited
// longest first, and returns how many. One for which both are due stays a draft. It passes over those that somebody else
// is at, so that any number of processes may call it at once, and does nothing while an import is under way. It is for a job
// and looks at no viewer.
func (s *Service) PublishDue(ctx context.Context, now time.Time, limit int) (changed int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		changed = 0
		free, err := enter(ctx, tx)
		if err != nil || !free {
			return err
		}
		// Two statements: a copy of the table on another node would skip other rows.
		due, err := postgres.Select(ctx, tx, postgres.Stmt{
			Name: "products.lock_due",
			SQL: `SELECT p.id FROM products.products p WHERE (p.publish_at IS NOT NULL OR p.unpublish_at IS NOT NULL)
				AND least(p.publish_at, p.unpublish_at) <= $1 ORDER BY least(p.publish_at, p.unpublish_at), p.id LIMIT $2
				FOR NO KEY UPDATE SKIP LOCKED`,
			Reads: postgres.All("products.products"), Volatile: true,
		}, pgx.RowTo[uuid.UUID], now, limit)
		if err != nil || len(due) == 0 {
			return err
		}
		n, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "products.publish_due",
			SQL: `UPDATE products.products SET publish_at = NULL, updated_at = $2,
				status = CASE WHEN unpublish_at <= $3 THEN 'DRAFT' ELSE 'ACTIVE' END,
				published_at = CASE WHEN unpublish_at <= $3 THEN published_at ELSE coalesce(published_at, $2) END,
				unpublish_at = CASE WHEN unpublish_at <= $3 THEN NULL ELSE unpublish_at END
				WHERE id = ANY($1)`,
		}, due, moment(), now)
		changed = int(n)
		return err
	})
	return changed, err
}

// MediaInput is a picture or film of a product.
type MediaInput struct {
	URL    string
	Alt    *string
	Kind   MediaKind
	Width  *int
	Height *int
}

func (in MediaInput) medium() Media {
	return Media{ID: id.New(), Kind: in.Kind, URL: in.URL, Alt: trimmed(in.Alt), Width: in.Width, Height: in.Height}
}

// MediaAddInput is a medium that a product gets, as the last one.
type MediaAddInput struct {
	ProductID id.ID
	MediaInput
}

// MediaUpdateInput is what changes of a medium: what is absent stays, null clears.
type MediaUpdateInput struct {
	MediaID id.ID
	URL     graphql.Omittable[*string]
	Alt     graphql.Omittable[*string]
}

// MediaRemoveInput is the medium that goes.
type MediaRemoveInput struct{ MediaID id.ID }

// MediaReorderInput is all media of a product in the order that they get.
type MediaReorderInput struct {
	ProductID id.ID
	MediaIDs  []id.ID
}

// MediaPayload is the outcome of writing a medium.
type MediaPayload struct {
	Media      *Media
	Product    *Product
	UserErrors []fault.Problem
}

// MediaRemovePayload is the outcome of removing a medium.
type MediaRemovePayload struct {
	RemovedMediaID *id.ID
	Product        *Product
	UserErrors     []fault.Problem
}

// AddMedia gives a product a picture or film that lies somewhere.
func (s *Service) AddMedia(ctx context.Context, in MediaAddInput) (*MediaPayload, error) {
	d, problems, err := s.editOf(ctx, audit.MediaAdded, id.Product, in.ProductID, func(_ context.Context, _ *postgres.Tx, d *Draft) error {
		d.Media = append(d.Media, in.medium())
		return nil
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &MediaPayload{UserErrors: problems}, nil
	}
	return &MediaPayload{Media: &d.Media[len(d.Media)-1], Product: &d.Product}, nil
}

// UpdateMedia changes a medium.
func (s *Service) UpdateMedia(ctx context.Context, in MediaUpdateInput) (*MediaPayload, error) {
	d, problems, err := s.editOf(ctx, audit.MediaUpdated, id.Media, in.MediaID, func(_ context.Context, _ *postgres.Tx, d *Draft) error {
		m := &d.Media[d.medium(in.MediaID.Key)]
		before := m.URL
		if err := required("url", in.URL, &m.URL); err != nil {
			return err
		}
		if m.URL != before { // of another picture
			m.Width, m.Height = nil, nil
		}
		optional(in.Alt, &m.Alt)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &MediaPayload{UserErrors: problems}, nil
	}
	return &MediaPayload{Media: &d.Media[d.medium(in.MediaID.Key)], Product: &d.Product}, nil
}

// RemoveMedia takes a medium from its product. Variants that it was the picture of have none then.
func (s *Service) RemoveMedia(ctx context.Context, in MediaRemoveInput) (*MediaRemovePayload, error) {
	d, problems, err := s.editOf(ctx, audit.MediaRemoved, id.Media, in.MediaID, func(_ context.Context, _ *postgres.Tx, d *Draft) error {
		i := d.medium(in.MediaID.Key)
		d.Media = slices.Delete(d.Media, i, i+1)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if problems != nil {
		return &MediaRemovePayload{UserErrors: problems}, nil
	}
	return &MediaRemovePayload{RemovedMediaID: &in.MediaID, Product: &d.Product}, nil
}

// ReorderMedia puts all media of a product into an order.
func (s *Service) ReorderMedia(ctx context.Context, in MediaReorderInput) (*ProductPayload, error) {
	return productPayload(s.editOf(ctx, audit.ProductMediaReordered, id.Product, in.ProductID, func(_ context.Context, _ *postgres.Tx, d *Draft) (err error) {
		d.Media, err = reordered(d.Media, func(m *Media) uuid.UUID { return m.ID }, id.Media, in.MediaIDs, "mediaIds")
		return err
	}))
}
