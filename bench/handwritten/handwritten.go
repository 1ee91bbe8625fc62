// Package handwritten answers four questions about the shop as somebody would who writes each answer by hand: net/http,
// pgx, one statement for each edge however many rows, JSON appended to a slice of bytes. It is what Emporium's GraphQL
// server is measured against. For the same parameters both answer with the same bytes.
//
// It does only what the answers need: it asks nobody for a token, logs nothing and counts nothing.
package handwritten

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/internal/id"
	"emporium/internal/seal"
)

// New returns the handler: POST /w1 to /w4 with a JSON object of parameters, and GET /healthz. The pool leads to a
// database that holds all four domains; the sealer is the one that its personal data was sealed by.
func New(pool *pgxpool.Pool, sealer *seal.Sealer) http.Handler {
	h := &handler{pool: pool, sealer: sealer}
	h.buffers.New = func() any { return new([]byte) }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /w1", h.answer(h.product))
	mux.HandleFunc("POST /w2", h.answer(h.category))
	mux.HandleFunc("POST /w3", h.answer(h.latestOrders))
	mux.HandleFunc("POST /w4", h.answer(h.customer))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return mux
}

type handler struct {
	pool    *pgxpool.Pool
	sealer  *seal.Sealer
	buffers sync.Pool // of *[]byte
}

// input are the parameters of all questions; each reads those it knows.
type input struct {
	ID    string `json:"id"`
	First int    `json:"first"`
}

func (h *handler) answer(question func(context.Context, []byte, input) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		var in input
		if err != nil || json.Unmarshal(body, &in) != nil {
			http.Error(w, "the body is not a JSON object of parameters", http.StatusBadRequest)
			return
		}
		buffer := h.buffers.Get().(*[]byte)
		defer h.buffers.Put(buffer)
		b, err := question(r.Context(), (*buffer)[:0], in)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		*buffer = b
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		_, _ = w.Write(b)
	}
}

// keyOf reads a global ID of something that nobody owns.
func keyOf(text string, kind id.Kind) (uuid.UUID, error) {
	parsed, err := id.Parse(text)
	if err != nil || parsed.Kind != kind {
		return uuid.Nil, fmt.Errorf("%.50q is not an ID of the kind that is asked for", text)
	}
	return parsed.Key, nil
}

// span is a run of rows that belong to one parent.
type span struct{ from, to int }

const (
	productByID = `SELECT id, slug, title, description, vendor, type, status, created_at, category_id
		FROM products.products WHERE id = $1 AND status = 'ACTIVE'`
	categoryName = `SELECT name FROM products.categories WHERE id = $1`
)

// product is W1: a product with its category.
func (h *handler) product(ctx context.Context, b []byte, in input) ([]byte, error) {
	key, err := keyOf(in.ID, id.Product)
	if err != nil {
		return nil, err
	}
	var (
		productID, categoryID            pgtype.UUID
		slug, title, description, status string
		vendor, kind                     *string
		created                          time.Time
	)
	err = h.pool.QueryRow(ctx, productByID, key).
		Scan(&productID, &slug, &title, &description, &vendor, &kind, &status, &created, &categoryID)
	if errors.Is(err, pgx.ErrNoRows) {
		return append(b, `{"data":{"product":null}}`...), nil
	} else if err != nil {
		return nil, fmt.Errorf("product: %w", err)
	}
	b = append(b, `{"data":{"product":{"id":`...)
	b = appendID(b, id.Product, productID)
	b = append(b, `,"slug":`...)
	b = appendString(b, slug)
	b = append(b, `,"title":`...)
	b = appendString(b, title)
	b = append(b, `,"description":`...)
	b = appendString(b, description)
	b = append(b, `,"vendor":`...)
	b = appendNullable(b, vendor)
	b = append(b, `,"type":`...)
	b = appendNullable(b, kind)
	b = append(b, `,"status":"`...)
	b = append(b, status...)
	b = append(b, `","createdAt":`...)
	b = appendTime(b, created)
	b = append(b, `,"category":`...)
	if !categoryID.Valid {
		return append(b, `null}}}`...), nil
	}
	var name string
	if err := h.pool.QueryRow(ctx, categoryName, categoryID).Scan(&name); err != nil {
		return nil, fmt.Errorf("category: %w", err)
	}
	b = append(b, `{"name":`...)
	b = appendString(b, name)
	return append(b, `}}}}`...), nil
}

const (
	categoryExists = `SELECT EXISTS (SELECT FROM products.categories WHERE id = $1)`

	productsBelow = `SELECT id, slug, title, currency, price_min FROM products.products
		WHERE status = 'ACTIVE' AND category_id IN
			(SELECT id FROM products.categories WHERE id = $1 OR ancestor_ids @> ARRAY[$1::uuid])
		ORDER BY id DESC LIMIT 20`

	variantsOf = `SELECT id, product_id, sku, currency, price FROM products.variants
		WHERE product_id = ANY($1) ORDER BY product_id, position`
)

// category is W2: the newest 20 products in a category and below it, with their variants.
func (h *handler) category(ctx context.Context, b []byte, in input) ([]byte, error) {
	key, err := keyOf(in.ID, id.Category)
	if err != nil {
		return nil, err
	}
	var found bool
	if err := h.pool.QueryRow(ctx, categoryExists, key).Scan(&found); err != nil {
		return nil, fmt.Errorf("category: %w", err)
	}
	if !found {
		return append(b, `{"data":{"category":null}}`...), nil
	}
	type product struct {
		id          pgtype.UUID
		slug, title string
		currency    *string
		price       *int64
	}
	var p product
	products, ids := make([]product, 0, 20), make([]pgtype.UUID, 0, 20)
	rows, _ := h.pool.Query(ctx, productsBelow, key) // ForEachRow returns the error
	_, err = pgx.ForEachRow(rows, []any{&p.id, &p.slug, &p.title, &p.currency, &p.price}, func() error {
		products, ids = append(products, p), append(ids, p.id)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("products: %w", err)
	}

	type variant struct {
		id, product pgtype.UUID
		sku         *string
		currency    string
		price       int64
	}
	var v variant
	variants, of := make([]variant, 0, 64), make(map[pgtype.UUID]span, len(products))
	if len(products) > 0 {
		rows, _ := h.pool.Query(ctx, variantsOf, ids)
		_, err = pgx.ForEachRow(rows, []any{&v.id, &v.product, &v.sku, &v.currency, &v.price}, func() error {
			variants = append(variants, v)
			extend(of, v.product, len(variants))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("variants: %w", err)
		}
	}

	b = append(b, `{"data":{"category":{"products":{"nodes":[`...)
	for i := range products {
		p := &products[i]
		b = comma(b, i)
		b = append(b, `{"id":`...)
		b = appendID(b, id.Product, p.id)
		b = append(b, `,"slug":`...)
		b = appendString(b, p.slug)
		b = append(b, `,"title":`...)
		b = appendString(b, p.title)
		b = append(b, `,"priceRange":`...)
		if p.currency == nil || p.price == nil {
			b = append(b, `null`...)
		} else {
			b = append(b, `{"min":`...)
			b = appendMoney(b, *p.price, *p.currency)
			b = append(b, '}')
		}
		b = append(b, `,"variants":[`...)
		own := of[p.id]
		for j := range variants[own.from:own.to] {
			v := &variants[own.from+j]
			b = comma(b, j)
			b = append(b, `{"id":`...)
			b = appendID(b, id.Variant, v.id)
			b = append(b, `,"sku":`...)
			b = appendNullable(b, v.sku)
			b = append(b, `,"price":`...)
			b = appendMoney(b, v.price, v.currency)
			b = append(b, '}')
		}
		b = append(b, `]}`...)
	}
	return append(b, `]}}}}`...), nil
}

const (
	newestOrders = `SELECT owner_id, id, number, status, currency, total FROM orders.orders ORDER BY id DESC LIMIT $1`

	customersByID = `SELECT owner_id, name FROM users.users WHERE owner_id = ANY($1)`

	// The rows of several owners: a join with the pairs looks each up once; ANY for both columns would look up every
	// combination of an owner and an order.
	linesOfOrders = `SELECT order_id, quantity, title, currency, unit_price, variant_id FROM orders.lines
		WHERE (owner_id, order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) ORDER BY order_id, position`
	paymentsOfOrders = `SELECT owner_id, id, order_id, status, currency, amount FROM payments.payments
		WHERE (owner_id, order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) ORDER BY order_id, created_at, id`

	variantsByID = `SELECT id, sku, product_id FROM products.variants WHERE id = ANY($1)`
	titlesByID   = `SELECT id, title FROM products.products WHERE id = ANY($1)`
)

// latestOrders is W3: the newest orders of everybody, with customers, lines, what was bought, and payments.
func (h *handler) latestOrders(ctx context.Context, b []byte, in input) ([]byte, error) {
	if in.First < 1 || in.First > 100 {
		return nil, errors.New("first is between 1 and 100")
	}
	type order struct {
		owner, id                pgtype.UUID
		number, status, currency string
		total                    int64
	}
	var o order
	orders := make([]order, 0, in.First)
	owners, ids := make([]pgtype.UUID, 0, in.First), make([]pgtype.UUID, 0, in.First)
	rows, _ := h.pool.Query(ctx, newestOrders, in.First)
	_, err := pgx.ForEachRow(rows, []any{&o.owner, &o.id, &o.number, &o.status, &o.currency, &o.total}, func() error {
		orders, owners, ids = append(orders, o), append(owners, o.owner), append(ids, o.id)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}

	names := make(map[pgtype.UUID]*string, len(orders))
	var owner pgtype.UUID
	var sealed []byte
	rows, _ = h.pool.Query(ctx, customersByID, owners)
	_, err = pgx.ForEachRow(rows, []any{&owner, &sealed}, func() (err error) {
		names[owner], err = h.open(owner, sealed)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("customers: %w", err)
	}

	type line struct {
		order, variant  pgtype.UUID
		quantity        int32
		title, currency string
		price           int64
	}
	var l line
	lines, linesOf, variantIDs := make([]line, 0, 4*in.First), make(map[pgtype.UUID]span, len(orders)), make([]pgtype.UUID, 0, 4*in.First)
	rows, _ = h.pool.Query(ctx, linesOfOrders, owners, ids)
	_, err = pgx.ForEachRow(rows, []any{&l.order, &l.quantity, &l.title, &l.currency, &l.price, &l.variant}, func() error {
		lines, variantIDs = append(lines, l), append(variantIDs, l.variant)
		extend(linesOf, l.order, len(lines))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lines: %w", err)
	}

	type payment struct {
		owner, id, order pgtype.UUID
		status, currency string
		amount           int64
	}
	var p payment
	payments, paymentsOf := make([]payment, 0, 2*in.First), make(map[pgtype.UUID]span, len(orders))
	rows, _ = h.pool.Query(ctx, paymentsOfOrders, owners, ids)
	_, err = pgx.ForEachRow(rows, []any{&p.owner, &p.id, &p.order, &p.status, &p.currency, &p.amount}, func() error {
		payments = append(payments, p)
		extend(paymentsOf, p.order, len(payments))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("payments: %w", err)
	}

	type variant struct {
		id, product pgtype.UUID
		sku         *string
	}
	var v variant
	variants, productIDs := make(map[pgtype.UUID]variant, len(lines)), make([]pgtype.UUID, 0, len(lines))
	rows, _ = h.pool.Query(ctx, variantsByID, variantIDs)
	_, err = pgx.ForEachRow(rows, []any{&v.id, &v.sku, &v.product}, func() error {
		variants[v.id], productIDs = v, append(productIDs, v.product)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("variants: %w", err)
	}

	titles := make(map[pgtype.UUID]string, len(productIDs))
	var productID pgtype.UUID
	var title string
	rows, _ = h.pool.Query(ctx, titlesByID, productIDs)
	_, err = pgx.ForEachRow(rows, []any{&productID, &title}, func() error {
		titles[productID] = title
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("products: %w", err)
	}

	b = append(b, `{"data":{"orders":{"nodes":[`...)
	for i := range orders {
		o := &orders[i]
		b = comma(b, i)
		b = append(b, `{"id":`...)
		b = appendOwnedID(b, id.Order, o.owner, o.id)
		b = append(b, `,"number":"`...)
		b = append(b, o.number...)
		b = append(b, `","status":"`...)
		b = append(b, o.status...)
		b = append(b, `","total":`...)
		b = appendMoney(b, o.total, o.currency)
		b = append(b, `,"customer":`...)
		if name, found := names[o.owner]; found {
			b = append(b, `{"id":`...)
			b = appendID(b, id.User, o.owner)
			b = append(b, `,"name":`...)
			b = appendNullable(b, name)
			b = append(b, '}')
		} else {
			b = append(b, `null`...)
		}
		b = append(b, `,"lines":[`...)
		own := linesOf[o.id]
		for j := range lines[own.from:own.to] {
			l := &lines[own.from+j]
			b = comma(b, j)
			b = append(b, `{"quantity":`...)
			b = strconv.AppendInt(b, int64(l.quantity), 10)
			b = append(b, `,"title":`...)
			b = appendString(b, l.title)
			b = append(b, `,"unitPrice":`...)
			b = appendMoney(b, l.price, l.currency)
			b = append(b, `,"variant":`...)
			v, found := variants[l.variant]
			if !found {
				b = append(b, `null}`...)
				continue
			}
			b = append(b, `{"id":`...)
			b = appendID(b, id.Variant, v.id)
			b = append(b, `,"sku":`...)
			b = appendNullable(b, v.sku)
			b = append(b, `,"product":{"id":`...)
			b = appendID(b, id.Product, v.product)
			b = append(b, `,"title":`...)
			b = appendString(b, titles[v.product])
			b = append(b, `}}}`...)
		}
		b = append(b, `],"payments":[`...)
		own = paymentsOf[o.id]
		for j := range payments[own.from:own.to] {
			p := &payments[own.from+j]
			b = comma(b, j)
			b = append(b, `{"id":`...)
			b = appendOwnedID(b, id.Payment, p.owner, p.id)
			b = append(b, `,"status":"`...)
			b = append(b, p.status...)
			b = append(b, `","amount":`...)
			b = appendMoney(b, p.amount, p.currency)
			b = append(b, '}')
		}
		b = append(b, `]}`...)
	}
	return append(b, `]}}}`...), nil
}

const (
	nameByID = `SELECT owner_id, name FROM users.users WHERE owner_id = $1`

	ordersOfOwner = `SELECT id, number, status, currency, total, created_at FROM orders.orders
		WHERE owner_id = $1 ORDER BY id DESC LIMIT 10`

	linesOfOwner = `SELECT order_id, title, quantity, currency, total FROM orders.lines
		WHERE owner_id = $1 AND order_id = ANY($2) ORDER BY order_id, position`
	paymentsOfOwner = `SELECT order_id, status, currency, amount FROM payments.payments
		WHERE owner_id = $1 AND order_id = ANY($2) ORDER BY order_id, created_at, id`
)

// customer is W4: a customer with the newest ten orders, their lines and payments.
func (h *handler) customer(ctx context.Context, b []byte, in input) ([]byte, error) {
	key, err := keyOf(in.ID, id.User)
	if err != nil {
		return nil, err
	}
	var owner pgtype.UUID
	var sealed []byte
	err = h.pool.QueryRow(ctx, nameByID, key).Scan(&owner, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return append(b, `{"data":{"user":null}}`...), nil
	} else if err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	name, err := h.open(owner, sealed)
	if err != nil {
		return nil, err
	}

	type order struct {
		id                       pgtype.UUID
		number, status, currency string
		total                    int64
		created                  time.Time
	}
	var o order
	orders, ids := make([]order, 0, 10), make([]pgtype.UUID, 0, 10)
	rows, _ := h.pool.Query(ctx, ordersOfOwner, owner)
	_, err = pgx.ForEachRow(rows, []any{&o.id, &o.number, &o.status, &o.currency, &o.total, &o.created}, func() error {
		orders, ids = append(orders, o), append(ids, o.id)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}

	type line struct {
		order           pgtype.UUID
		title, currency string
		quantity        int32
		total           int64
	}
	var l line
	lines, linesOf := make([]line, 0, 40), make(map[pgtype.UUID]span, len(orders))
	rows, _ = h.pool.Query(ctx, linesOfOwner, owner, ids)
	_, err = pgx.ForEachRow(rows, []any{&l.order, &l.title, &l.quantity, &l.currency, &l.total}, func() error {
		lines = append(lines, l)
		extend(linesOf, l.order, len(lines))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lines: %w", err)
	}

	type payment struct {
		order            pgtype.UUID
		status, currency string
		amount           int64
	}
	var p payment
	payments, paymentsOf := make([]payment, 0, 20), make(map[pgtype.UUID]span, len(orders))
	rows, _ = h.pool.Query(ctx, paymentsOfOwner, owner, ids)
	_, err = pgx.ForEachRow(rows, []any{&p.order, &p.status, &p.currency, &p.amount}, func() error {
		payments = append(payments, p)
		extend(paymentsOf, p.order, len(payments))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("payments: %w", err)
	}

	b = append(b, `{"data":{"user":{"name":`...)
	b = appendNullable(b, name)
	b = append(b, `,"orders":{"nodes":[`...)
	for i := range orders {
		o := &orders[i]
		b = comma(b, i)
		b = append(b, `{"number":"`...)
		b = append(b, o.number...)
		b = append(b, `","status":"`...)
		b = append(b, o.status...)
		b = append(b, `","total":`...)
		b = appendMoney(b, o.total, o.currency)
		b = append(b, `,"createdAt":`...)
		b = appendTime(b, o.created)
		b = append(b, `,"lines":[`...)
		own := linesOf[o.id]
		for j := range lines[own.from:own.to] {
			l := &lines[own.from+j]
			b = comma(b, j)
			b = append(b, `{"title":`...)
			b = appendString(b, l.title)
			b = append(b, `,"quantity":`...)
			b = strconv.AppendInt(b, int64(l.quantity), 10)
			b = append(b, `,"total":`...)
			b = appendMoney(b, l.total, l.currency)
			b = append(b, '}')
		}
		b = append(b, `],"payments":[`...)
		own = paymentsOf[o.id]
		for j := range payments[own.from:own.to] {
			p := &payments[own.from+j]
			b = comma(b, j)
			b = append(b, `{"status":"`...)
			b = append(b, p.status...)
			b = append(b, `","amount":`...)
			b = appendMoney(b, p.amount, p.currency)
			b = append(b, '}')
		}
		b = append(b, `]}`...)
	}
	return append(b, `]}}}}`...), nil
}

// open opens the name of a user.
func (h *handler) open(owner pgtype.UUID, sealed []byte) (*string, error) {
	return h.sealer.OpenNullable(seal.Field{Table: "users.users", Column: "name", Row: owner.Bytes[:]}, sealed)
}

// extend makes the last of n rows, which come ordered by parent, the end of its parent's span.
func extend(of map[pgtype.UUID]span, parent pgtype.UUID, n int) {
	s, seen := of[parent]
	if !seen {
		s.from = n - 1
	}
	s.to = n
	of[parent] = s
}

// comma separates element i of a list from the one before.
func comma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}
