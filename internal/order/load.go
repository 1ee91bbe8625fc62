package order

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"

	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// Draft is an order with all that belongs to it, to be stored as it is. The owner, the order and the currency of the
// parts are those of the order, whatever they say themselves; how many of a line were sent and came back follows from the
// parcels, and is filled in.
type Draft struct {
	Order            Order
	Paid             PaymentFacts // the sums: what is owed follows from them
	Lines            []Line
	Fulfillments     []Fulfillment
	FulfillmentLines []FulfillmentLine
	Events           []Event
}

// loadChunk is how many orders are held in memory.
const loadChunk = 500

// Load stores new orders in one transaction: all of them or none. Progress, which may be nil, is told how many are
// written so far. An order, line, parcel, event or number that exists already fails it.
//
// It is for programs that an operator runs: no viewer is asked for.
func (s *Service) Load(ctx context.Context, orders iter.Seq[*Draft], progress func(done int)) error {
	if err := postgres.LoadChunks(ctx, s.db, orders, loadChunk, s.write, progress); err != nil {
		return fmt.Errorf("load orders: %w", err)
	}
	return nil
}

const addOwners = `INSERT INTO orders.owners (owner_id) SELECT DISTINCT unnest($1::uuid[]) ORDER BY 1
	ON CONFLICT DO NOTHING`

func (s *Service) write(ctx context.Context, tx *postgres.Tx, chunk []*Draft) error {
	owners := make([]uuid.UUID, len(chunk))
	var orders, numbers, lines, fulfillments, fulfillmentLines, events [][]any
	for i, d := range chunk {
		o := &d.Order
		owners[i] = o.Owner
		row, err := s.row(d)
		if err != nil {
			return fmt.Errorf("order %s: %w", o.ID, err)
		}
		orders = append(orders, row)
		numbers = append(numbers, []any{o.Number, o.Owner, o.ID})
		d.CountSent()
		for _, l := range d.Lines {
			lines = append(lines, []any{o.Owner, l.ID, o.ID, l.Position, l.ProductID, l.VariantID, l.Title, l.VariantTitle,
				l.SKU, l.ImageURL, l.Quantity, o.Currency, l.UnitPriceMinor, l.DiscountMinor, l.TaxMinor, l.TotalMinor,
				l.Fulfilled, l.Returned})
		}
		for _, f := range d.Fulfillments {
			fulfillments = append(fulfillments, []any{o.Owner, f.ID, o.ID, f.Status, f.Carrier, f.TrackingNumber,
				f.TrackingURL, f.CreatedAt, f.ShippedAt, f.DeliveredAt})
		}
		for _, l := range d.FulfillmentLines {
			fulfillmentLines = append(fulfillmentLines, []any{o.Owner, l.FulfillmentID, l.LineID, l.Quantity})
		}
		for _, e := range d.Events {
			events = append(events, []any{o.Owner, e.ID, o.ID, e.Kind, e.Message, e.ActorID, e.CreatedAt})
		}
	}
	if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.add_owners", SQL: addOwners}, owners); err != nil {
		return err
	}
	return postgres.CopyParts(ctx, tx, "orders", []postgres.Part{
		{Table: "orders", Rows: orders, Columns: []string{"owner_id", "id", "number", "status", "payment_status",
			"fulfillment_status", "email", "email_index", "shipping_address", "billing_address", "currency", "subtotal",
			"discount_total", "shipping_total", "tax_total", "tax_included", "total", "tax_lines", "shipping_method",
			"discount_code", "note", "cancel_reason", "failure", "created_at", "placed_at", "canceled_at", "expires_at", "settled_at",
			"authorized", "voided", "captured", "refunded"}},
		{Table: "order_numbers", Rows: numbers, Columns: []string{"number", "owner_id", "order_id"}},
		{Table: "lines", Rows: lines, Columns: []string{"owner_id", "id", "order_id", "position", "product_id", "variant_id",
			"title", "variant_title", "sku", "image_url", "quantity", "currency", "unit_price", "discount", "tax", "total", "fulfilled",
			"returned"}},
		{Table: "fulfillments", Rows: fulfillments, Columns: []string{"owner_id", "id", "order_id", "status", "carrier",
			"tracking_number", "tracking_url", "created_at", "shipped_at", "delivered_at"}},
		{Table: "fulfillment_lines", Rows: fulfillmentLines, Columns: []string{"owner_id", "fulfillment_id", "line_id",
			"quantity"}},
		{Table: "events", Rows: events, Columns: []string{"owner_id", "id", "order_id", "kind", "message", "actor_id", "created_at"}},
	})
}

// row returns the columns of an order with what is personal sealed.
func (s *Service) row(d *Draft) ([]any, error) {
	o := &d.Order
	sealed, err := s.sealedColumns(o)
	if err != nil {
		return nil, err
	}
	var settled *time.Time // what was given up in the past has been seen to
	if o.Status.givenUp() {
		settled = &o.CreatedAt
	}
	return []any{o.Owner, o.ID, o.Number, o.Status, o.PaymentStatus, o.FulfillmentStatus, sealed.email, sealed.index, sealed.shipping,
		sealed.billing, o.Currency, o.SubtotalMinor, o.DiscountMinor, o.ShippingMinor, o.TaxMinor, o.TaxIncluded, o.TotalMinor,
		o.Taxes, o.ShippingMethod, o.DiscountCode, s.sealer.SealNullable(field("note", o.Key()), o.Note), o.CancelReason, o.Failure,
		o.CreatedAt, o.PlacedAt, o.CanceledAt, o.ExpiresAt, settled, d.Paid.Authorized, d.Paid.Voided, d.Paid.Captured, d.Paid.Refunded}, nil
}

// sealedColumns are those of an order that hold what is personal.
type sealedColumns struct{ email, index, shipping, billing []byte }

func (s *Service) sealedColumns(o *Order) (c sealedColumns, err error) {
	if o.Email != nil {
		normalized, err := seal.NormalizeEmail(*o.Email)
		if err != nil {
			return c, err
		}
		c.email = s.sealer.SealString(field("email", o.Key()), normalized)
		c.index = s.sealer.Index(emailIndex, normalized)
	}
	if c.shipping, err = seal.SealJSON(s.sealer, field("shipping_address", o.Key()), o.ShippingAddress); err != nil {
		return c, err
	}
	c.billing, err = seal.SealJSON(s.sealer, field("billing_address", o.Key()), o.BillingAddress)
	return c, err
}

// CountSent fills in how many of each line are in parcels, and how many of them came back. Load does so.
func (d *Draft) CountSent() {
	status := map[uuid.UUID]ParcelStatus{}
	for _, f := range d.Fulfillments {
		status[f.ID] = f.Status
	}
	for i := range d.Lines {
		l := &d.Lines[i]
		l.Fulfilled, l.Returned = 0, 0
		for _, packed := range d.FulfillmentLines {
			switch s := status[packed.FulfillmentID]; {
			case packed.LineID != l.ID || s == ParcelCanceled:
			case s == ParcelReturned:
				l.Returned += packed.Quantity
				fallthrough
			default:
				l.Fulfilled += packed.Quantity
			}
		}
	}
}

// Terms are what carts are priced by, beside the catalogue.
type Terms struct {
	ShippingMethods []ShippingMethod
	Discounts       []Discount
	Taxes           []CountryTax
}

// LoadTerms stores terms in one transaction. What is there already, by its key or code, is left as it is.
//
// It is for programs that an operator runs: no viewer is asked for.
func (s *Service) LoadTerms(ctx context.Context, t Terms) error {
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		for _, m := range t.ShippingMethods {
			n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.load_shipping_method",
				SQL: `INSERT INTO orders.shipping_methods (id, name, description, countries, currency, position, active)
					VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`},
				m.ID, m.Name, m.Description, m.Countries, m.Currency, m.Position, m.Active)
			if err == nil && n == 1 {
				err = insertRates(ctx, tx, &m)
			}
			if err != nil {
				return err
			}
		}
		for _, d := range t.Discounts {
			if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.load_discount",
				SQL: `INSERT INTO orders.discounts (id, code, kind, basis_points, amount, currency, minimum_subtotal, starts_at, ends_at,
					usage_limit, customer_limit, active) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING`},
				d.ID, d.Code, d.Kind, d.BasisPoints, d.AmountMinor, d.Currency, d.MinimumSubtotalMinor, d.StartsAt, d.EndsAt,
				d.UsageLimit, d.CustomerLimit, d.Active); err != nil {
				return err
			}
		}
		for _, c := range t.Taxes {
			if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.load_tax_rate",
				SQL: `INSERT INTO orders.tax_rates (country, name, basis_points, applies_to_shipping) VALUES ($1, $2, $3, $4)
					ON CONFLICT DO NOTHING`}, c.Country, c.Name, c.BasisPoints, c.AppliesToShipping); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load terms: %w", err)
	}
	return nil
}
