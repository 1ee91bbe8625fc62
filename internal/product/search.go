package product

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/money"
	"emporium/internal/page"
	"emporium/internal/postgres"
)

const (
	maxText        = 256 // characters of a search
	maxValues      = 100 // values of one list of a filter
	maxFacetValues = 50  // values of one facet
	maxSuggestions = 20
)

// listedProduct is a product with its place in one of several lists, and what its cursor is made of.
type listedProduct struct {
	N, Place int
	Key      string
	Product
}

// placeColumns are those that a list puts before a product's own.
const placeColumns = "n, place, key, "

var listed = postgres.TableOf[listedProduct](placeColumns+productColumns, nil)

// Lists returns for each scope one page of the products in it that match and that the viewer sees, all in one statement.
// The same args hold for each. Prices sort by the lowest; products without one come last in either direction.
//
// It fails with BadUserInput for a filter, text, sort or page that is out of bounds, and for a sort by the place in a
// collection elsewhere, and with Unauthenticated or Forbidden when a shopper asks for what is not on sale.
func (s *Service) Lists(ctx context.Context, scopes []Scope, q Query, args page.Args) ([]*Connection, error) {
	l, err := s.listing(ctx, q, q.Sort == nil || q.Sort.Field == SortRelevance)
	if err != nil {
		return nil, err
	}
	name, key, keys, err := l.order(q.Sort)
	if err != nil {
		return nil, err
	}
	w, err := args.Window(name, len(keys))
	if err != nil {
		return nil, err
	}
	if l.placed && slices.ContainsFunc(scopes, func(s Scope) bool { return s.Collection == uuid.Nil }) {
		return nil, fault.Input("products have a place in a collection only", "sort", "field")
	}
	tail, err := l.Page(w, keys)
	if err != nil {
		return nil, err
	}
	if len(scopes) == 0 {
		return nil, nil
	}
	unique, found := distinct(scopes), listed.In(ctx)
	sql := l.with + l.within(unique, "("+key+")::text AS key, "+strings.TrimPrefix(found.SQL, placeColumns), tail)
	if len(unique) > 1 {
		sql += " ORDER BY n, place"
	}
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{Name: "products.list", SQL: sql, Reads: l.reads}, found.Scan, l.Args()...)
	if err != nil {
		return nil, err
	}
	of := make([][]*listedProduct, len(unique))
	for _, r := range rows {
		of[r.N] = append(of[r.N], r)
	}
	pages := make([]*Connection, len(scopes))
	for i, scope := range scopes {
		built := page.Build(w, of[slices.Index(unique, scope)], func(r *listedProduct) string {
			if len(keys) == 1 {
				return page.Cursor(name, r.ID.String())
			}
			return page.Cursor(name, r.Key, r.ID.String())
		})
		pages[i] = &Connection{Scope: scope, Query: q,
			Connection: page.Of(built, func(r *listedProduct) *Product { return &r.Product })}
	}
	return pages, nil
}

// Counts returns for each scope how many products in it match and are seen by the viewer, all in one statement. It fails
// like Lists.
func (s *Service) Counts(ctx context.Context, scopes []Scope, q Query) ([]int, error) {
	l, err := s.listing(ctx, q, false)
	if err != nil || len(scopes) == 0 {
		return nil, err
	}
	type row struct{ N, Place, Count int }
	unique := distinct(scopes)
	sql := l.with + l.within(unique, "count(*) AS count", "")
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{Name: "products.count", SQL: sql, Reads: l.reads},
		pgx.RowToStructByName[row], l.Args()...)
	if err != nil {
		return nil, err
	}
	of := make([]int, len(unique))
	for _, r := range rows {
		of[r.N] = r.Count
	}
	counts := make([]int, len(scopes))
	for i, scope := range scopes {
		counts[i] = of[slices.Index(unique, scope)]
	}
	return counts, nil
}

// Facets returns for each scope what the products in it that match could be narrowed down by: of each facet the 50 values
// with the most products, then by value; all in one statement. Prices are those in the shop's currency. It fails like
// Lists.
func (s *Service) Facets(ctx context.Context, scopes []Scope, q Query) ([]*Facets, error) {
	l, err := s.listing(ctx, q, false)
	if err != nil || len(scopes) == 0 {
		return nil, err
	}
	unique := distinct(scopes)
	with := "WITH "
	if l.with != "" {
		with = l.with + ", "
	}
	sql := with + "matched AS MATERIALIZED (" + l.within(unique,
		"p.id, p.category_id, p.vendor, p.type, p.tags, p.option_pairs, p.currency, p.price_min, p.price_max", "") + `),
	sellable AS MATERIALIZED (
		SELECT DISTINCT v.product_id FROM products.variants v JOIN products.stock st ON st.variant_id = v.id
		WHERE st.on_hand > st.held AND v.product_id IN (SELECT id FROM matched)
	), chosen AS (
		SELECT n, id, split_part(pair, E'\x1f', 1) AS name, split_part(pair, E'\x1f', 2) AS value
		FROM matched, unnest(option_pairs) AS pair
	), counted AS (
		SELECT n, 'category' AS facet, '' AS name, category_id::text AS value, count(*) AS count
			FROM matched WHERE category_id IS NOT NULL GROUP BY n, category_id
		UNION ALL SELECT n, 'vendor', '', vendor, count(*) FROM matched WHERE vendor IS NOT NULL GROUP BY n, vendor
		UNION ALL SELECT n, 'type', '', type, count(*) FROM matched WHERE type IS NOT NULL GROUP BY n, type
		UNION ALL SELECT n, 'tag', '', tag, count(*) FROM matched, unnest(tags) AS tag GROUP BY n, tag
		UNION ALL SELECT n, 'option', '', name, count(DISTINCT id) FROM chosen GROUP BY n, name
		UNION ALL SELECT n, 'option value', name, value, count(*) FROM chosen GROUP BY n, name, value
		UNION ALL SELECT n, 'in stock', '', '', count(s.product_id)
			FROM matched m LEFT JOIN sellable s ON s.product_id = m.id GROUP BY n
		UNION ALL SELECT n, 'matched', '', '', count(*) FROM matched GROUP BY n
		UNION ALL SELECT n, 'price min', '', '', min(price_min) FROM matched WHERE currency = ` + l.Arg(s.currency) + ` GROUP BY n
		UNION ALL SELECT n, 'price max', '', '', max(price_max) FROM matched WHERE currency = ` + l.Arg(s.currency) + ` GROUP BY n
	), placed AS (
		SELECT *, row_number() OVER (PARTITION BY n, facet, name ORDER BY count DESC, value COLLATE "C") AS place FROM counted
	)
	SELECT n, facet, name, value, count FROM placed WHERE place <= ` + l.Arg(maxFacetValues) + ` ORDER BY n, facet, name, place`
	type row struct {
		N                  int
		Facet, Name, Value string
		Count              int64 // or an amount
	}
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "products.facets", SQL: sql,
		Reads: append(l.reads, postgres.All("products.variants", "products.stock")...),
	}, pgx.RowToStructByName[row], l.Args()...)
	if err != nil {
		return nil, err
	}
	of := make([]Facets, len(unique))
	for _, r := range rows {
		f, value := &of[r.N], FacetValue{Value: r.Value, Count: int(r.Count)}
		switch r.Facet {
		case "category":
			key, err := uuid.Parse(r.Value)
			if err != nil {
				return nil, fmt.Errorf("products.facets: %w", err)
			}
			f.Categories = append(f.Categories, CategoryFacet{CategoryID: key, Count: value.Count})
		case "vendor":
			f.Vendors = append(f.Vendors, value)
		case "type":
			f.Types = append(f.Types, value)
		case "tag":
			f.Tags = append(f.Tags, value)
		case "option":
			f.Options = append(f.Options, OptionFacet{Name: r.Value})
		case "option value": // these come after all options
			if i := slices.IndexFunc(f.Options, func(o OptionFacet) bool { return o.Name == r.Name }); i >= 0 {
				f.Options[i].Values = append(f.Options[i].Values, value)
			}
		case "in stock":
			f.InStock = value.Count
		case "matched": // after "in stock"
			f.SoldOut = value.Count - f.InStock
		case "price max": // before "price min"
			f.PriceRange = &PriceRange{Max: money.New(r.Count, s.currency)}
		case "price min":
			f.PriceRange.Min = money.New(r.Count, s.currency)
		}
	}
	facets := make([]*Facets, len(scopes))
	for i, scope := range scopes {
		copied := of[slices.Index(unique, scope)]
		facets[i] = &copied
	}
	return facets, nil
}

// Suggest returns titles that complete what somebody has begun to type, each once: first those that begin with it, then
// those with words that do, then, if there are none, those that look like it; the shorter the better. First is 1 to 20.
func (s *Service) Suggest(ctx context.Context, prefix string, first int) ([]Suggestion, error) {
	if first < 1 || first > maxSuggestions {
		return nil, fault.Input(fmt.Sprintf("`first` is between 1 and %d", maxSuggestions), "first")
	}
	t, err := parseText(prefix, "prefix")
	if err != nil || len(t.words) == 0 {
		return nil, err
	}
	var b postgres.Builder
	sees := visible(ctx)
	like := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(t.raw) + "%"
	words := make([]string, len(t.words))
	for i, word := range t.words {
		words[i] = word + ":A"
	}
	words[len(words)-1] += "*"
	alike, rank := t.alike(&b)
	read := products.In(ctx, "Title")
	// Several products may share a title, so more are read than are wanted.
	sql := `WITH begun AS MATERIALIZED (
		SELECT p.id, p.title, 2 AS grade, 0::bigint AS rank FROM products.products p
		WHERE ` + sees + ` AND lower(p.title) COLLATE "C" LIKE lower(` + b.Arg(like) + `)
		ORDER BY length(p.title), lower(p.title) COLLATE "C", p.id LIMIT ` + b.Arg(3*first) + `
	), inside AS MATERIALIZED (
		SELECT p.id, p.title, 1, 0::bigint FROM products.products p
		WHERE ` + sees + ` AND p.search @@ ` + unestimated("to_tsquery('simple', "+b.Arg(strings.Join(words, " & "))+"::text)") + `
		ORDER BY length(p.title), lower(p.title) COLLATE "C", p.id LIMIT ` + b.Arg(3*first) + `
	), found AS (
		SELECT * FROM begun UNION ALL SELECT * FROM inside
		UNION ALL SELECT p.id, p.title, 0, ` + rank + ` FROM products.products p
			WHERE ` + sees + ` AND NOT EXISTS (SELECT FROM begun) AND NOT EXISTS (SELECT FROM inside) AND ` + alike + `
				AND public.word_similarity(lower(` + b.Arg(t.raw) + `), lower(p.title)) > 0.2 -- not for its description
	), best AS (
		SELECT DISTINCT ON (lower(title)) * FROM found ORDER BY lower(title), grade DESC, rank DESC, id
	)
	SELECT ` + read.SQL + ` FROM best b JOIN products.products p ON p.id = b.id
	ORDER BY b.grade DESC, b.rank DESC, length(p.title), lower(p.title) COLLATE "C" LIMIT ` + b.Arg(first)
	found, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "products.suggest", SQL: sql, Reads: postgres.All("products.products"),
	}, read.Scan, b.Args()...)
	suggestions := make([]Suggestion, len(found))
	for i, p := range found {
		suggestions[i] = Suggestion{Text: p.Title, Product: p}
	}
	return suggestions, err
}

// listing is a Query as SQL over the products p that the viewer sees.
type listing struct {
	postgres.Builder
	with  string // common table expressions that from needs
	from  string
	text  bool // there is f.rank
	reads []postgres.Read

	placed bool // m is the product's membership of the scope's collection
}

func (s *Service) listing(ctx context.Context, q Query, ranked bool) (*listing, error) {
	l := &listing{from: "products.products p", reads: postgres.All("products.products")}
	t, err := parseText(q.Text, "query")
	if err != nil {
		return nil, err
	}
	if t.raw != "" {
		l.search(t, visible(ctx), ranked)
	}
	f := q.Filter
	for field, values := range map[string][]string{"vendors": f.Vendors, "types": f.Types, "tags": f.Tags} {
		if len(values) > maxValues {
			return nil, tooMany(field)
		}
	}
	if err := l.statuses(ctx, f.Statuses); err != nil {
		return nil, err
	}
	if f.Price != nil {
		from, to, err := f.Price.Minor(s.currency)
		if err != nil {
			var bad *fault.Error
			if errors.As(err, &bad) {
				return nil, fault.Input(bad.Message, "filter", "price")
			}
			return nil, err
		}
		l.And("p.currency = ?", s.currency)
		if from != nil {
			l.And("p.price_max >= ?", *from)
		}
		if to != nil {
			l.And("p.price_min <= ?", *to)
		}
		if from != nil && to != nil {
			// The range may lie between two prices of the product.
			l.And("EXISTS (SELECT FROM products.variants v WHERE v.product_id = p.id AND v.price BETWEEN ? AND ?)", *from, *to)
			l.reads = append(l.reads, postgres.All("products.variants")...)
		}
	}
	if c := f.CategoryID; c != nil {
		if c.Kind != id.Category {
			return nil, fault.Input("`categoryId` is not the ID of a category", "filter", "categoryId")
		}
		l.category(&l.Builder, l.Arg(c.Key)+"::uuid")
	}
	if c := f.CollectionID; c != nil {
		if c.Kind != id.Collection {
			return nil, fault.Input("`collectionId` is not the ID of a collection", "filter", "collectionId")
		}
		l.collection(&l.Builder, l.Arg(c.Key)+"::uuid", c.Key)
	}
	if len(f.Vendors) > 0 {
		l.And("p.vendor = ANY(?)", f.Vendors)
	}
	if len(f.Types) > 0 {
		l.And("p.type = ANY(?)", f.Types)
	}
	if len(f.Tags) > 0 {
		l.And("p.tags @> ?", f.Tags)
	}
	if len(f.Options) > maxValues {
		return nil, tooMany("options")
	}
	for _, o := range f.Options {
		if len(o.Values) > maxValues {
			return nil, tooMany("options", "values")
		}
		if len(o.Values) > 0 {
			pairs := make([]string, len(o.Values))
			for i, value := range o.Values {
				pairs[i] = optionPair(o.Name, value)
			}
			l.And("p.option_pairs && ?", pairs)
		}
	}
	if f.InStock != nil {
		// Not correlated: Citus can not run EXISTS over reference tables outside and distributed stock inside.
		condition := `p.id IN (SELECT v.product_id FROM products.variants v
			JOIN products.stock st ON st.variant_id = v.id WHERE st.on_hand > st.held)`
		if !*f.InStock {
			condition = "NOT (" + condition + ")"
		}
		l.And(condition)
		l.reads = append(l.reads, postgres.All("products.variants", "products.stock")...)
	}
	return l, nil
}

func tooMany(path ...string) error {
	field := path[len(path)-1]
	return fault.Input(fmt.Sprintf("`%s` has more than %d values", field, maxValues), append([]string{"filter"}, path...)...)
}

// statuses narrows to what the viewer sees, and of that to what was asked for.
func (l *listing) statuses(ctx context.Context, asked []Status) error {
	if len(asked) > maxValues {
		return tooMany("statuses")
	}
	if !seesAll(ctx) {
		if slices.ContainsFunc(asked, func(s Status) bool { return s != StatusActive }) {
			if !auth.From(ctx).SignedIn() {
				return fault.New(fault.Unauthenticated, "sign in as staff to see products that are not on sale")
			}
			return fault.New(fault.Forbidden, "staff alone sees products that are not on sale")
		}
		l.And(visible(ctx))
		return nil
	}
	switch asked = distinct(asked); len(asked) {
	case 0:
	case 1: // unlike ANY, this lets an index that starts with the status give the order
		l.And("p.status = ?", asked[0])
	default:
		l.And("p.status = ANY(?)", asked)
	}
	return nil
}

func (l *listing) category(b *postgres.Builder, key string) {
	b.And("p.category_id IN (SELECT c.id FROM products.categories c WHERE c.id = " + key +
		" OR c.ancestor_ids @> ARRAY[" + key + "])")
	l.reads = append(l.reads, postgres.All("products.categories")...)
}

// collection narrows to what is in a collection, which is one of those.
func (l *listing) collection(b *postgres.Builder, key string, collections ...uuid.UUID) {
	if l.placed {
		b.And("m.collection_id = " + key)
	} else {
		b.And("p.id IN (SELECT cp.product_id FROM products.collection_products cp WHERE cp.collection_id = " + key + ")")
	}
	l.reads = append(l.reads, membersByCollection.Of(collections...)...)
}

// order returns the name of a sort, by which its cursors are known, the key in cursors besides the ID, and all keys.
func (l *listing) order(sort *Sort) (name, key string, keys []postgres.Key, err error) {
	by := Sort{Field: SortRelevance}
	if sort != nil {
		by = *sort
	}
	if by.Field == SortRelevance && !l.text {
		by = Sort{Field: SortCreatedAt, Direction: page.Descending}
	}
	down := by.Direction == page.Descending
	name = string(by.Field) + " ASC"
	if down {
		name = string(by.Field) + " DESC"
	}
	cast := ""
	switch by.Field {
	case SortRelevance:
		name, key, cast, down = string(SortRelevance), "f.rank", "bigint", true
	case SortCreatedAt: // which is in the ID
		return name, "''", []postgres.Key{{Expr: "p.id", Cast: "uuid", Desc: down}}, nil
	case SortPrice:
		key, cast = "coalesce(p.price_min, 9223372036854775807)", "bigint"
		if down {
			key = "coalesce(p.price_min, -1)"
		}
	case SortTitle:
		key, cast = `lower(p.title) COLLATE "C"`, "text"
	case SortPosition:
		key, cast = "m.position", "bigint"
		l.from, l.placed = l.from+" JOIN products.collection_products m ON m.product_id = p.id", true
	default:
		return "", "", nil, fault.Input("products can not be sorted by this", "sort", "field")
	}
	return name, key, []postgres.Key{
		{Expr: key, Cast: cast, Desc: down},
		{Expr: "p.id", Cast: "uuid", Desc: down},
	}, nil
}

// within returns a SELECT of the columns for the products in each of the distinct scopes, with the scope's index as n
// and the place among the scope's rows. The tail orders and limits each scope's rows on its own.
func (l *listing) within(scopes []Scope, columns, tail string) string {
	if len(scopes) == 1 {
		if key := scopes[0].Category; key != uuid.Nil {
			l.category(&l.Builder, l.Arg(key)+"::uuid")
		}
		if key := scopes[0].Collection; key != uuid.Nil {
			l.collection(&l.Builder, l.Arg(key)+"::uuid", key)
		}
		return "SELECT 0 AS n, 0 AS place, " + columns + " FROM " + l.from + l.Where() + tail
	}
	// Scopes of one shape share a branch, so that each branch has conditions that an index can serve.
	type shape struct{ category, collection bool }
	type group struct {
		ns                      []int
		categories, collections []uuid.UUID
	}
	groups := map[shape]*group{}
	var shapes []shape
	for n, scope := range scopes {
		of := shape{scope.Category != uuid.Nil, scope.Collection != uuid.Nil}
		if groups[of] == nil {
			groups[of], shapes = &group{}, append(shapes, of)
		}
		g := groups[of]
		g.ns = append(g.ns, n)
		g.categories = append(g.categories, scope.Category)
		g.collections = append(g.collections, scope.Collection)
	}
	branches := make([]string, len(shapes))
	for i, of := range shapes {
		g, b := groups[of], l.Clone()
		if of.category {
			l.category(b, "s.category")
		}
		if of.collection {
			l.collection(b, "s.collection", g.collections...)
		}
		branches[i] = "SELECT s.n, p.* FROM unnest(" + l.Arg(g.ns) + "::int[], " + l.Arg(g.categories) + "::uuid[], " +
			l.Arg(g.collections) + "::uuid[]) AS s(n, category, collection) CROSS JOIN LATERAL (" +
			"SELECT row_number() OVER () AS place, p.* FROM (SELECT " + columns + " FROM " + l.from + b.Where() + tail + ") p) p"
	}
	return strings.Join(branches, " UNION ALL ")
}

// text is what was typed into a search box.
type text struct {
	raw        string   // without space around it
	words      []string // its runs of letters and digits, in small letters
	head, tail string   // before the last word, and the last word, when the text ends in it
	plain      bool     // no quotes, minus signs or ORs
}

func parseText(raw, field string) (text, error) {
	t := text{raw: strings.TrimSpace(raw)}
	if utf8.RuneCountInString(t.raw) > maxText {
		return t, fault.Input(fmt.Sprintf("`%s` is at most %d characters long", field, maxText), field)
	}
	ofWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) }
	t.words = strings.FieldsFunc(strings.ToLower(t.raw), func(r rune) bool { return !ofWord(r) })
	t.plain = !strings.Contains(t.raw, `"`) && !slices.Contains(t.words, "or") &&
		!slices.ContainsFunc(strings.Fields(t.raw), func(s string) bool { return s[0] == '-' })
	start := strings.LastIndexFunc(t.raw, func(r rune) bool { return !ofWord(r) })
	if start >= 0 {
		_, size := utf8.DecodeRuneInString(t.raw[start:])
		start += size
	}
	t.head, t.tail = t.raw[:max(start, 0)], t.raw[max(start, 0):]
	if strings.HasSuffix(t.head, "-") && !t.plain {
		t.head, t.tail = "", "" // the last word may be one that is not wanted
	}
	return t, nil
}

// search makes a text a part of the listing: exact words, of which the last may be unfinished, in any grammatical form;
// or, when no product has these, words that look like them in titles.
func (l *listing) search(t text, sees string, ranked bool) {
	raw := l.Arg(t.raw) + "::text"
	either := func(text string) string {
		return "websearch_to_tsquery('english', " + text + ") || websearch_to_tsquery('simple', " + text + ")"
	}
	q := either(raw)
	if t.tail != "" {
		q += " || ((" + either(l.Arg(t.head)+"::text") + ") && to_tsquery('simple', " + l.Arg(t.tail+":*") + "))"
	}
	q = unestimated(q)
	rank := "0::bigint"
	if ranked {
		rank = "(1e6 * (ts_rank_cd(p.search, " + q + ", 32) + public.similarity(lower(p.title), lower(" + raw + "))))::bigint"
	}
	l.with = "WITH exact AS MATERIALIZED (SELECT p.id, " + rank + " AS rank FROM products.products p WHERE " + sees +
		" AND p.search @@ " + q + "), found AS MATERIALIZED (SELECT id, rank FROM exact"
	if t.plain && len(t.words) > 0 {
		alike, rank := t.alike(&l.Builder)
		l.with += " UNION ALL SELECT p.id, " + rank + " FROM products.products p WHERE " + sees +
			" AND NOT EXISTS (SELECT FROM exact) AND " + alike
	}
	l.with += ") "
	l.from, l.text = "products.products p JOIN found f ON f.id = p.id", true
}

// unestimated hides an expression from the planner, which takes words that it has no statistics of, and unfinished ones,
// for frequent, and would read the whole table for them rather than the index.
func unestimated(expression string) string { return "(SELECT " + expression + ")" }

// alike returns the condition that each word, up to eight of them, is in product p or looks like one of its title, and
// how well they do.
func (t text) alike(b *postgres.Builder) (condition, rank string) {
	var conditions, ranks []string
	for _, word := range t.words[:min(len(t.words), 8)] {
		place := b.Arg(word) + "::text"
		exact := "p.search @@ " + unestimated("plainto_tsquery('english', "+place+") || plainto_tsquery('simple', "+place+")")
		slipped := "false"
		if q := slips(word); q != "" {
			slipped = "p.search @@ " + unestimated("to_tsquery('simple', "+b.Arg(q)+"::text)")
		}
		// The operator, which the trigram index serves, takes its threshold from a setting. It is set for this transaction
		// alone, and before the index is asked, since the index waits for the word.
		similar := "lower(p.title) OPERATOR(public.%>) " +
			"(SELECT " + place + " FROM set_config('pg_trgm.word_similarity_threshold', '0.45', true))"
		conditions = append(conditions, "("+exact+" OR "+slipped+" OR "+similar+")")
		ranks = append(ranks, "CASE WHEN "+exact+" THEN 1 ELSE public.word_similarity("+place+", lower(p.title)) END")
	}
	return strings.Join(conditions, " AND "), "(1e6 * (" + strings.Join(ranks, " + ") + "))::bigint"
}

// accents are the letters that people type without their marks.
var accents = map[rune]string{
	'a': "àáâãäå", 'c': "ç", 'e': "èéêë", 'i': "ìíîï", 'n': "ñ", 'o': "òóôõöø", 's': "š", 'u': "ùúûü", 'y': "ýÿ", 'z': "ž",
}

// slips returns a tsquery of the words that become word by one slip of the fingers: a letter too many, too few, wrong or
// without its mark, or two in the wrong order. In short words these leave too few trigrams alike to be found by them.
func slips(word string) string {
	letters := []rune(word)
	if len(letters) < 3 || len(letters) > 20 || slices.ContainsFunc(letters, unicode.IsDigit) {
		return ""
	}
	alphabet := slices.Concat([]rune("abcdefghijklmnopqrstuvwxyz"), letters)
	slices.Sort(alphabet)
	alphabet = slices.Compact(alphabet)
	var found []string
	add := func(parts ...[]rune) { found = append(found, string(slices.Concat(parts...))) }
	for i := range len(letters) + 1 {
		before, after := letters[:i], letters[i:]
		for _, r := range alphabet {
			add(before, []rune{r}, after)
			if len(after) > 0 {
				add(before, []rune{r}, after[1:])
			}
		}
		if len(after) > 0 {
			add(before, after[1:])
			for _, r := range accents[after[0]] {
				add(before, []rune{r}, after[1:])
			}
		}
		if len(after) > 1 {
			add(before, []rune{after[1], after[0]}, after[2:])
		}
	}
	slices.Sort(found)
	return strings.Join(slices.Compact(found), "|")
}

// distinct returns the values without repetition, in the order of their first appearance.
func distinct[T comparable](values []T) []T {
	var seen []T
	for _, v := range values {
		if !slices.Contains(seen, v) {
			seen = append(seen, v)
		}
	}
	return seen
}
