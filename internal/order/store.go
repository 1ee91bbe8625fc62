package order

import (
	"context"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

const (
	orderColumns = `o.owner_id AS owner, o.id, o.number, o.status, o.payment_status, o.fulfillment_status,
		o.email, o.shipping_address, o.billing_address, o.currency, o.subtotal AS subtotal_minor,
		o.discount_total AS discount_minor, o.shipping_total AS shipping_minor, o.tax_total AS tax_minor, o.tax_included,
		o.total AS total_minor, o.tax_lines AS taxes, o.shipping_method, o.discount_code, o.note, o.cancel_reason, o.failure,
		o.created_at, o.placed_at, o.canceled_at, o.expires_at`
	fromOrders = `FROM orders.orders o`

	lineColumns = `l.owner_id AS owner, l.id, l.order_id, l.position, l.product_id, l.variant_id, l.title, l.variant_title,
		l.sku, l.image_url, l.quantity, l.currency, l.unit_price AS unit_price_minor, l.discount AS discount_minor,
		l.tax AS tax_minor, l.total AS total_minor, l.fulfilled, l.returned`
	fromLines = `FROM orders.lines l`

	fulfillmentColumns = `f.owner_id AS owner, f.id, f.order_id, f.status, f.carrier, f.tracking_number, f.tracking_url,
		f.created_at, f.shipped_at, f.delivered_at`
	fromFulfillments = `FROM orders.fulfillments f`

	fulfillmentLineColumns = `f.owner_id AS owner, f.fulfillment_id, f.line_id, f.quantity`

	eventColumns = `e.owner_id AS owner, e.id, e.order_id, e.kind, e.message, e.actor_id, e.created_at`
	fromEvents   = `FROM orders.events e`

	ownerByNumber = `SELECT owner_id FROM orders.order_numbers WHERE number = $1`

	// notDraft leaves out what the shop is still writing, of which customers know nothing.
	notDraft = `o.status <> 'DRAFT'`

	// hasNumber goes through the directory, which is keyed by the number.
	hasNumber = `(o.owner_id, o.id) IN (SELECT n.owner_id, n.order_id FROM orders.order_numbers n WHERE n.number = ?)`
)

// The columns by which reads of orders are told apart, besides those of the batches below.
var (
	ordersByID       = postgres.ColumnOf("orders.orders", "id")
	ordersByOwner    = postgres.ColumnOf("orders.orders", "owner_id")
	numbersByNumber  = postgres.ColumnOf("orders.order_numbers", "number")
	ownersByOwner    = postgres.ColumnOf("orders.owners", "owner_id")
	linesByID        = postgres.ColumnOf("orders.lines", "id")
	fulfillmentsByID = postgres.ColumnOf("orders.fulfillments", "id")
	editsByID        = postgres.ColumnOf("orders.edits", "id")
)

var (
	ordersByKey = postgres.ByKeys{Name: "orders.orders_by_key", From: fromOrders,
		Owner: "o.owner_id", Column: "o.id", Reads: ordersByID}

	publishedByKey = postgres.ByKeys{Name: "orders.published_orders_by_key", From: fromOrders,
		Owner: "o.owner_id", Column: "o.id", Tail: " AND " + notDraft, Reads: ordersByID}

	linesByKey = postgres.ByKeys{Name: "orders.lines_by_key", From: fromLines,
		Owner: "l.owner_id", Column: "l.id", Reads: linesByID}
	linesByOrder = postgres.ByKeys{Name: "orders.lines_by_order", From: fromLines,
		Owner: "l.owner_id", Column: "l.order_id", Tail: " ORDER BY l.order_id, l.position",
		Reads: postgres.ColumnOf("orders.lines", "order_id")}

	fulfillmentsByKey = postgres.ByKeys{Name: "orders.fulfillments_by_key", From: fromFulfillments,
		Owner: "f.owner_id", Column: "f.id", Reads: fulfillmentsByID}
	fulfillmentsByOrder = postgres.ByKeys{Name: "orders.fulfillments_by_order", From: fromFulfillments,
		Owner: "f.owner_id", Column: "f.order_id", Tail: " ORDER BY f.order_id, f.created_at, f.id",
		Reads: postgres.ColumnOf("orders.fulfillments", "order_id")}

	fulfillmentLines = postgres.ByKeys{Name: "orders.lines_by_fulfillment",
		From:  `FROM orders.fulfillment_lines f JOIN orders.lines l ON l.owner_id = f.owner_id AND l.id = f.line_id`,
		Owner: "f.owner_id", Column: "f.fulfillment_id", Tail: " ORDER BY f.fulfillment_id, l.position",
		Reads:      postgres.ColumnOf("orders.fulfillment_lines", "fulfillment_id"),
		ReadsOwned: []postgres.Column{postgres.ColumnOf("orders.lines", "owner_id")}}

	eventsByKey = postgres.ByKeys{Name: "orders.events_by_key", From: fromEvents,
		Owner: "e.owner_id", Column: "e.id", Reads: postgres.ColumnOf("orders.events", "id")}
	eventsByOrder = postgres.ByKeys{Name: "orders.events_by_order", From: fromEvents,
		Owner: "e.owner_id", Column: "e.order_id", Tail: " ORDER BY e.order_id, e.created_at, e.id",
		Reads: postgres.ColumnOf("orders.events", "order_id")}
)

// tables are how rows become what they are here.
type tables struct {
	orders           *postgres.Table[Order]
	lines            *postgres.Table[Line]
	fulfillments     *postgres.Table[Fulfillment]
	fulfillmentLines *postgres.Table[FulfillmentLine]
	events           *postgres.Table[Event]
	carts            *postgres.Table[Cart]
	cartLines        *postgres.Table[CartLine]
}

func (s *Service) newTables() tables {
	return tables{
		orders: postgres.TableOf(orderColumns, map[string]postgres.Unseal[Order]{
			"Email": func(_ context.Context, o *Order, sealed []byte) (err error) {
				o.Email, err = s.sealer.OpenNullable(field("email", o.Key()), sealed)
				return err
			},
			"ShippingAddress": func(_ context.Context, o *Order, sealed []byte) (err error) {
				o.ShippingAddress, err = s.openAddress(field("shipping_address", o.Key()), o.Owner, sealed)
				return err
			},
			"BillingAddress": func(_ context.Context, o *Order, sealed []byte) (err error) {
				o.BillingAddress, err = s.openAddress(field("billing_address", o.Key()), o.Owner, sealed)
				return err
			},
			"Note": func(_ context.Context, o *Order, sealed []byte) (err error) {
				o.Note, err = s.sealer.OpenNullable(field("note", o.Key()), sealed)
				return err
			},
		}),
		lines:            postgres.TableOf[Line](lineColumns, nil),
		fulfillments:     postgres.TableOf[Fulfillment](fulfillmentColumns, nil),
		fulfillmentLines: postgres.TableOf[FulfillmentLine](fulfillmentLineColumns, nil),
		events:           postgres.TableOf[Event](eventColumns, nil),
		carts:            s.cartTable(),
		cartLines:        postgres.TableOf[CartLine](cartLineColumns, nil),
	}
}

// batch runs the statement for those of the keys that the viewer may ask for.
func batch[T any](ctx context.Context, s *Service, by postgres.ByKeys, table *postgres.Table[T], keys []id.Key) ([]*T, error) {
	reading := table.In(ctx)
	return postgres.SelectByKeys(ctx, s.db, by, reading.SQL, reading.Scan, keys, auth.Sees(ctx))
}

// openAddress opens an address that belongs to an owner.
func (s *Service) openAddress(f seal.Field, owner uuid.UUID, sealed []byte) (*PostalAddress, error) {
	a, err := seal.OpenJSON[*PostalAddress](s.sealer, f, sealed)
	if a != nil {
		a.Owner = owner
	}
	return a, err
}

// emailIndex is the kind of the blind index of e-mail addresses.
const emailIndex = "orders.email"

// field is where a column of an order is sealed for.
func field(column string, key id.Key) seal.Field { return fieldOf("orders.orders", column, key) }

// cartField is where a column of a cart is sealed for.
func cartField(column string, key id.Key) seal.Field { return fieldOf("orders.carts", column, key) }

func fieldOf(table, column string, key id.Key) seal.Field {
	row := make([]byte, 0, 32)
	row = append(row, key.Owner[:]...)
	return seal.Field{Table: table, Column: column, Row: append(row, key.ID[:]...)}
}
