package order

import (
	"context"

	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
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

var (
	ordersByKey = postgres.ByKeys{Name: "orders.orders_by_key", SQL: selectOrders,
		Owner: "o.owner_id", Column: "o.id", Rows: "orders.orders"}

	linesByKey = postgres.ByKeys{Name: "orders.lines_by_key", SQL: selectLines,
		Owner: "l.owner_id", Column: "l.id", Rows: "orders.lines"}
	linesByOrder = postgres.ByKeys{Name: "orders.lines_by_order", SQL: selectLines,
		Owner: "l.owner_id", Column: "l.order_id", Tail: " ORDER BY l.order_id, l.position", Reads: postgres.All("orders.lines")}

	fulfillmentsByKey = postgres.ByKeys{Name: "orders.fulfillments_by_key", SQL: selectFulfillments,
		Owner: "f.owner_id", Column: "f.id", Rows: "orders.fulfillments"}
	fulfillmentsByOrder = postgres.ByKeys{Name: "orders.fulfillments_by_order", SQL: selectFulfillments,
		Owner: "f.owner_id", Column: "f.order_id", Tail: " ORDER BY f.order_id, f.created_at, f.id",
		Reads: postgres.All("orders.fulfillments")}

	fulfillmentLines = postgres.ByKeys{Name: "orders.lines_by_fulfillment", SQL: selectFulfillmentLines,
		Owner: "f.owner_id", Column: "f.fulfillment_id", Tail: " ORDER BY f.fulfillment_id, l.position",
		Reads: postgres.All("orders.fulfillment_lines", "orders.lines")}

	eventsByKey = postgres.ByKeys{Name: "orders.events_by_key", SQL: selectEvents,
		Owner: "e.owner_id", Column: "e.id", Rows: "orders.events"}
	eventsByOrder = postgres.ByKeys{Name: "orders.events_by_order", SQL: selectEvents,
		Owner: "e.owner_id", Column: "e.order_id", Tail: " ORDER BY e.order_id, e.created_at, e.id",
		Reads: postgres.All("orders.events")}
)

// batch runs the statement for those of the keys that the viewer may ask for.
func batch[T any](ctx context.Context, s *Service, by postgres.ByKeys, scan pgx.RowToFunc[T], keys []id.Key) ([]T, error) {
	return postgres.SelectByKeys(ctx, s.db, by, scan, keys, auth.From(ctx).Sees)
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
