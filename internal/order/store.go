package order

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// Columns stand in the order in which the scan functions read them.
const (
	selectOrders = `SELECT o.owner_id, o.id, o.number, o.status, o.payment_status, o.fulfillment_status,
		o.email, o.shipping_address, o.billing_address, o.currency, o.subtotal, o.discount_total, o.shipping_total,
		o.tax_total, o.tax_included, o.total, o.created_at, o.placed_at, o.canceled_at FROM orders.orders o`

	selectLines = `SELECT l.owner_id, l.id, l.order_id, l.position, l.product_id, l.variant_id, l.title, l.variant_title,
		l.sku, l.image_url, l.quantity, l.currency, l.unit_price, l.discount, l.tax, l.total FROM orders.lines l`

	selectFulfillments = `SELECT f.owner_id, f.id, f.order_id, f.status, f.carrier, f.tracking_number, f.tracking_url,
		f.created_at, f.shipped_at, f.delivered_at FROM orders.fulfillments f`

	selectFulfillmentLines = `SELECT f.owner_id, f.fulfillment_id, f.line_id, f.quantity FROM orders.fulfillment_lines f
		JOIN orders.lines l ON l.owner_id = f.owner_id AND l.id = f.line_id`

	selectEvents = `SELECT e.owner_id, e.id, e.order_id, e.kind, e.message, e.created_at FROM orders.events e`

	ownerByNumber = `SELECT owner_id FROM orders.order_numbers WHERE number = $1`
	countByOwner  = `SELECT owner_id, count(*) FROM orders.orders WHERE owner_id = ANY($1) GROUP BY owner_id`

	// hasNumber goes through the directory, which is keyed by the number.
	hasNumber = `(o.owner_id, o.id) IN (SELECT n.owner_id, n.order_id FROM orders.order_numbers n WHERE n.number = ?)`
)

// byKeys is a statement that reads rows by pairs of their owner and a column.
type byKeys struct {
	name   string // of the statement
	sql    string // before WHERE
	owner  string // the column of the owner
	column string // the column beside it
	tail   string // after WHERE
	reads  func(ids []uuid.UUID) []postgres.Tag
}

var (
	ordersByKey = byKeys{"orders.orders_by_key", selectOrders, "o.owner_id", "o.id", "", rowsOf("orders.orders")}

	linesByKey   = byKeys{"orders.lines_by_key", selectLines, "l.owner_id", "l.id", "", rowsOf("orders.lines")}
	linesByOrder = byKeys{"orders.lines_by_order", selectLines, "l.owner_id", "l.order_id",
		" ORDER BY l.order_id, l.position", allOf("orders.lines")}

	fulfillmentsByKey = byKeys{"orders.fulfillments_by_key", selectFulfillments, "f.owner_id", "f.id", "",
		rowsOf("orders.fulfillments")}
	fulfillmentsByOrder = byKeys{"orders.fulfillments_by_order", selectFulfillments, "f.owner_id", "f.order_id",
		" ORDER BY f.order_id, f.created_at, f.id", allOf("orders.fulfillments")}

	fulfillmentLines = byKeys{"orders.lines_by_fulfillment", selectFulfillmentLines, "f.owner_id", "f.fulfillment_id",
		" ORDER BY f.fulfillment_id, l.position", allOf("orders.fulfillment_lines", "orders.lines")}

	eventsByKey   = byKeys{"orders.events_by_key", selectEvents, "e.owner_id", "e.id", "", rowsOf("orders.events")}
	eventsByOrder = byKeys{"orders.events_by_order", selectEvents, "e.owner_id", "e.order_id",
		" ORDER BY e.order_id, e.created_at, e.id", allOf("orders.events")}
)

func rowsOf(relation string) func([]uuid.UUID) []postgres.Tag {
	return func(ids []uuid.UUID) []postgres.Tag { return postgres.Rows(relation, ids...) }
}

func allOf(relations ...string) func([]uuid.UUID) []postgres.Tag {
	return func([]uuid.UUID) []postgres.Tag { return postgres.All(relations...) }
}

// batch runs the statement for those of the keys that the viewer may ask for.
//
// The keys of one owner, which is all that a customer has, are a plain condition on an index and on one shard. Pairs of
// several owners, which staff has, are joined: with ANY for both columns the index is searched for every combination
// of an owner and an ID (100 lookups become 10,000), and the plan that avoids it reads all that the owners have.
func batch[T any](ctx context.Context, s *Service, q byKeys, scan pgx.RowToFunc[T], keys []id.Key) ([]T, error) {
	keys = visibleKeys(ctx, keys)
	if len(keys) == 0 {
		return nil, nil
	}
	owners, ids, oneOwner := make([]uuid.UUID, len(keys)), make([]uuid.UUID, len(keys)), true
	for i, k := range keys {
		owners[i], ids[i] = k.Owner, k.ID
		oneOwner = oneOwner && k.Owner == owners[0]
	}
	stmt := postgres.Stmt{Name: q.name, Reads: q.reads(ids)}
	if oneOwner {
		stmt.SQL = q.sql + " WHERE " + q.owner + " = $1 AND " + q.column + " = ANY($2)" + q.tail
		return postgres.Select(ctx, s.db, stmt, scan, owners[0], ids)
	}
	stmt.SQL = q.sql + " WHERE (" + q.owner + ", " + q.column + ") IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))" + q.tail
	return postgres.Select(ctx, s.db, stmt, scan, owners, ids)
}

// The scan functions read into the types below names like Status, where pgx takes a shorter way than by reflection.

func (s *Service) scanOrder(row pgx.CollectableRow) (*Order, error) {
	var o Order
	var email, shipping, billing []byte
	err := row.Scan((*[16]byte)(&o.Owner), (*[16]byte)(&o.ID), &o.Number, (*string)(&o.Status), (*string)(&o.PaymentStatus),
		(*string)(&o.FulfillmentStatus), &email, &shipping, &billing, (*string)(&o.Currency), &o.SubtotalMinor,
		&o.DiscountMinor, &o.ShippingMinor, &o.TaxMinor, &o.TaxIncluded, &o.TotalMinor, &o.CreatedAt, &o.PlacedAt,
		&o.CanceledAt)
	if err != nil {
		return nil, err
	}
	if o.Email, err = s.sealer.OpenNullable(field("email", o.Key()), email); err != nil {
		return nil, err
	}
	if o.ShippingAddress, err = s.openAddress("shipping_address", o.Key(), shipping); err != nil {
		return nil, err
	}
	o.BillingAddress, err = s.openAddress("billing_address", o.Key(), billing)
	return &o, err
}

func (s *Service) openAddress(column string, key id.Key, sealed []byte) (*PostalAddress, error) {
	a, err := seal.OpenJSON[*PostalAddress](s.sealer, field(column, key), sealed)
	if a != nil {
		a.Owner = key.Owner
	}
	return a, err
}

// emailIndex is the kind of the blind index of e-mail addresses.
const emailIndex = "orders.email"

// field is where a column of an order is sealed for.
func field(column string, key id.Key) seal.Field {
	row := make([]byte, 0, 32)
	row = append(row, key.Owner[:]...)
	return seal.Field{Table: "orders.orders", Column: column, Row: append(row, key.ID[:]...)}
}

func scanLine(row pgx.CollectableRow) (*Line, error) {
	var l Line
	err := row.Scan((*[16]byte)(&l.Owner), (*[16]byte)(&l.ID), (*[16]byte)(&l.OrderID), &l.Position,
		(*[16]byte)(&l.ProductID), (*[16]byte)(&l.VariantID), &l.Title, &l.VariantTitle, &l.SKU, &l.ImageURL, &l.Quantity,
		(*string)(&l.Currency), &l.UnitPriceMinor, &l.DiscountMinor, &l.TaxMinor, &l.TotalMinor)
	return &l, err
}

func scanFulfillment(row pgx.CollectableRow) (*Fulfillment, error) {
	var f Fulfillment
	err := row.Scan((*[16]byte)(&f.Owner), (*[16]byte)(&f.ID), (*[16]byte)(&f.OrderID), (*string)(&f.Status), &f.Carrier,
		&f.TrackingNumber, &f.TrackingURL, &f.CreatedAt, &f.ShippedAt, &f.DeliveredAt)
	return &f, err
}

func scanFulfillmentLine(row pgx.CollectableRow) (*FulfillmentLine, error) {
	var l FulfillmentLine
	err := row.Scan((*[16]byte)(&l.Owner), (*[16]byte)(&l.FulfillmentID), (*[16]byte)(&l.LineID), &l.Quantity)
	return &l, err
}

func scanEvent(row pgx.CollectableRow) (*Event, error) {
	var e Event
	err := row.Scan((*[16]byte)(&e.Owner), (*[16]byte)(&e.ID), (*[16]byte)(&e.OrderID), (*string)(&e.Kind), &e.Message,
		&e.CreatedAt)
	return &e, err
}
