package order

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/idempotency"
	"emporium/internal/intake"
	"emporium/internal/money"
	"emporium/internal/postgres"
)

// guestTokenFor is how long a guest can come back to an order.
const guestTokenFor = 72 * time.Hour

// maxMethod is the most bytes of what a provider's form has given a customer's card.
const maxMethod = 500

// leadsAway refuses an address that is a path: it is followed from a bank's page or a mail, where it would lead elsewhere.
func leadsAway(address *string, field string) fault.Problems {
	if address == nil || intake.Web(*address) {
		return nil
	}
	return fault.Problems{fault.NewProblem(fault.ProblemInvalid, "this is not an http or https address", field)}
}

// PlaceInput is what is ordered, and how it is paid.
type PlaceInput struct {
	CartToken     *string       // of somebody who is not signed in
	ExpectedTotal money.Decimal // what the customer was shown; another total places nothing
	PaymentMethod *string       // what the provider's form has given; not needed for what costs nothing
	ReturnURL     *string       // where the customer comes back to after an action, for example at their bank
}

// PlacePayload is the outcome of placing an order.
type PlacePayload struct {
	Order      *Order
	Guest      *GuestAccess
	UserErrors []fault.Problem
}

// GuestAccess is how a guest comes back to an order.
type GuestAccess struct {
	Token     string // an access token
	ExpiresAt time.Time
}

// placed is what is remembered of placing an order.
type placed struct {
	Owner uuid.UUID `json:"owner"`
	Order uuid.UUID `json:"order"`
}

// Place makes an order of a cart: the viewer's, or the one of the token. It returns when the order is placed, or has come
// to nothing, or has to wait for the customer or the provider; then a job goes on.
//
// The same key again returns the same order as it is by then. Whoever loses a race for the last of something, or for the
// cart, gets a user error, and nothing is charged.
func (s *Service) Place(ctx context.Context, in PlaceInput, idempotencyKey string) (*PlacePayload, error) {
	viewer := auth.From(ctx)
	refusal := func(p ...fault.Problem) (*PlacePayload, error) { return &PlacePayload{UserErrors: p}, nil }
	if in.PaymentMethod != nil && (*in.PaymentMethod == "" || len(*in.PaymentMethod) > maxMethod) {
		return refusal(fault.NewProblem(fault.ProblemInvalid, "this is no payment method", "paymentMethod"))
	}
	if wrong := leadsAway(in.ReturnURL, "returnUrl"); wrong != nil {
		return refusal(wrong...)
	}
	owner := viewer.ID
	switch {
	case in.CartToken != nil && viewer.SignedIn():
		// What was put into a cart before signing in is bought with the account.
		p, err := s.MergeCart(ctx, CartMergeInput{Token: *in.CartToken})
		if err != nil {
			return nil, err
		}
		if len(p.UserErrors) > 0 {
			return refusal(p.UserErrors...)
		}
	case in.CartToken != nil:
		key, ok, err := s.findCart(ctx, in.CartToken)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, errNoCart(in.CartToken)
		}
		owner = key.Owner
	case !viewer.SignedIn():
		return nil, fault.New(fault.Unauthenticated, "sign in, or give the token of a cart")
	}
	request := idempotency.Request{Actor: owner, Key: idempotencyKey, Verb: "orderPlace", Input: in}
	for try := 1; ; try++ {
		q, err := s.quoteToPlace(ctx, in.CartToken, viewer)
		if err != nil {
			return nil, err
		}
		done, err := idempotency.Do(ctx, s.db, keys, request, func(ctx context.Context, tx *postgres.Tx) (placed, error) {
			return s.placeCart(ctx, tx, in, q)
		})
		switch problems, isProblem := err.(fault.Problems); {
		case isProblem:
			return refusal(problems...)
		case errors.Is(err, errCartChanged) && try < 3:
			continue
		case errors.Is(err, errCartChanged):
			return refusal(fault.NewProblem(fault.ProblemStale, "the cart is being changed"))
		case err != nil:
			return nil, err
		}
		s.at("order: it exists")
		return s.placePayload(ctx, id.Key{Owner: done.Owner, ID: done.Order})
	}
}

// quoted is a cart with its prices.
type quoted struct {
	cart  *Cart
	quote *Quote
	email *string // where messages go
}

// errCartChanged is why an order is not placed whose cart was changed after it was priced.
var errCartChanged = errors.New("the cart has changed meanwhile")

// quoteToPlace prices the cart that is meant, outside of a transaction; nil if there is none to be ordered, which for one
// that was ordered with the same key already does not matter.
func (s *Service) quoteToPlace(ctx context.Context, token *string, viewer auth.Actor) (*quoted, error) {
	if viewer.SignedIn() {
		token = nil
	}
	c, err := s.Cart(whole(ctx), token)
	if err != nil || c == nil || c.Status != CartOpen {
		return nil, err
	}
	q, err := s.quote(ctx, c, c.Lines)
	if err != nil {
		return nil, err
	}
	email := c.Email
	if email == nil && viewer.SignedIn() {
		users, err := s.users.ByIDs(whole(ctx), []uuid.UUID{viewer.ID})
		if err != nil {
			return nil, err
		}
		if len(users) > 0 {
			email = users[0].Email
		}
	}
	return &quoted{c, q, email}, nil
}

// placeCart makes the order of a quote, with all that belongs to it, in one transaction: the cart is locked, and what it
// was priced by has not changed.
func (s *Service) placeCart(ctx context.Context, tx *postgres.Tx, in PlaceInput, q *quoted) (placed, error) {
	if q == nil {
		return placed{}, refuse(fault.ProblemCartClosed, "there is no cart to be ordered: it was ordered already, or is empty")
	}
	c, _, err := s.cartForOrder(ctx, tx, q.cart.Key())
	switch {
	case err != nil:
		return placed{}, err
	case c.Status != CartOpen:
		return placed{}, errClosed(c)
	case !c.UpdatedAt.Equal(q.cart.UpdatedAt):
		return placed{}, errCartChanged
	case len(q.quote.Problems) > 0:
		return placed{}, fault.Problems(q.quote.Problems)
	}
	expected, err := in.ExpectedTotal.Minor(s.currency)
	if err != nil || expected != q.quote.TotalMinor {
		return placed{}, refuse(fault.ProblemStale, "the total is "+q.quote.Total().String()+" by now", "expectedTotal")
	}
	now := s.now()
	o := &newOrder{Order: Order{Owner: c.Owner, ID: id.New(), Status: StatusPending, PaymentStatus: PaymentUnpaid, FulfillmentStatus: Unfulfilled,
		Email: q.email, ShippingAddress: c.ShippingAddress, BillingAddress: c.BillingAddress, Note: c.Note, Currency: q.quote.Currency,
		CreatedAt: now, ExpiresAt: new(now.Add(placeWithin)), ShippingMethod: &q.quote.Shipping.Name},
		cart: &c.ID, guest: c.Guest, returnURL: in.ReturnURL}
	if o.BillingAddress == nil {
		o.BillingAddress = o.ShippingAddress
	}
	if q.quote.Discount != nil {
		o.DiscountCode = &q.quote.Discount.Code
	}
	o.priced(q.quote)
	if o.TotalMinor > 0 {
		if in.PaymentMethod == nil {
			return placed{}, refuse(fault.ProblemMissing, "a payment method is needed", "paymentMethod")
		}
		o.payWith(id.New(), *in.PaymentMethod)
	}
	lines := make([]*soldLine, len(q.quote.Goods))
	for i, l := range q.quote.Goods {
		lines[i] = &soldLine{Line: &Line{Owner: o.Owner, ID: id.New(), OrderID: o.ID, Position: i + 1, ProductID: l.ProductID, VariantID: l.VariantID,
			Title: l.Title, VariantTitle: l.VariantTitle, SKU: l.SKU, ImageURL: l.ImageURL, Quantity: l.Quantity, Currency: o.Currency,
			UnitPriceMinor: l.UnitPriceMinor, DiscountMinor: l.DiscountMinor, TaxMinor: l.TaxMinor, TotalMinor: l.TotalMinor}}
		if l.Tax != nil {
			lines[i].TaxName, lines[i].TaxBasisPoints = &l.Tax.Name, &l.Tax.BasisPoints
		}
	}
	o.Taxes = taxesOf(q.quote.Taxes, lines)
	if err := s.insert(ctx, tx, o); err != nil {
		return placed{}, err
	}
	if err := insertLines(ctx, tx, lines, nil); err != nil {
		return placed{}, err
	}
	if err := s.addEvent(ctx, tx, o.Key(), EventCreated, "", actorID(ctx)); err != nil {
		return placed{}, err
	}
	if err := s.jobs.Add(ctx, tx, driveJob{o.Owner, o.ID}, now.Add(driveAfter)); err != nil {
		return placed{}, err
	}
	if _, err := s.setCartStatus(ctx, tx, c.Key(), CartOpen, CartPlacing, &o.ID); err != nil {
		return placed{}, err
	}
	// The discount comes last: many wait for it.
	if wrong, err := s.redeem(ctx, tx, q.quote, o.Owner, o.ID); err != nil {
		return placed{}, err
	} else if wrong != nil {
		return placed{}, fault.Problems{*wrong}
	}
	return placed{o.Owner, o.ID}, nil
}

// newOrder is an order to be stored, with what is not shown of it.
type newOrder struct {
	Order
	cart      *uuid.UUID
	guest     bool
	payment   *uuid.UUID
	method    *string
	returnURL *string
}

func (o *newOrder) payWith(payment uuid.UUID, method string) { o.payment, o.method = &payment, &method }

// priced takes over the sums of a quote; its taxes follow from the lines.
func (o *newOrder) priced(q *Quote) {
	o.SubtotalMinor, o.DiscountMinor, o.ShippingMinor, o.TaxMinor, o.TaxIncluded, o.TotalMinor =
		q.SubtotalMinor, q.DiscountMinor, q.ShippingMinor, q.TaxMinor, q.TaxIncluded, q.TotalMinor
}

const insertOrder = `INSERT INTO orders.orders (owner_id, id, number, status, email, email_index, shipping_address, billing_address, note,
		currency, subtotal, discount_total, shipping_total, tax_total, tax_included, total, tax_lines, shipping_method, discount_code,
		cart_id, guest, payment_id, payment_method, return_url, created_at, expires_at)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)`

// insert stores a new order under a number that none has yet.
func (s *Service) insert(ctx context.Context, tx *postgres.Tx, o *newOrder) error {
	if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.add_owners", SQL: addOwners}, []uuid.UUID{o.Owner}); err != nil {
		return err
	}
	for {
		o.Number = NewNumber()
		n, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "orders.take_number",
			SQL:  "INSERT INTO orders.order_numbers (number, owner_id, order_id) VALUES ($1, $2, $3) ON CONFLICT (number) DO NOTHING",
		}, o.Number, o.Owner, o.ID)
		if err != nil {
			return err
		}
		if n == 1 {
			break
		}
	}
	sealed, err := s.sealedColumns(&o.Order)
	if err != nil {
		return err
	}
	_, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "orders.insert_order", SQL: insertOrder}, o.Owner, o.ID, o.Number, o.Status,
		sealed.email, sealed.index, sealed.shipping, sealed.billing, s.sealer.SealNullable(field("note", o.Key()), o.Note),
		o.Currency, o.SubtotalMinor, o.DiscountMinor, o.ShippingMinor, o.TaxMinor, o.TaxIncluded, o.TotalMinor, o.Taxes,
		o.ShippingMethod, o.DiscountCode, o.cart, o.guest, o.payment,
		s.sealer.SealNullable(field("payment_method", o.Key()), o.method), o.returnURL, o.CreatedAt, o.ExpiresAt)
	return err
}

// insertLines stores lines of an order. Hold is what their stock is held under, if it is not the order.
func insertLines(ctx context.Context, tx *postgres.Tx, lines []*soldLine, hold *uuid.UUID) error {
	rows := make([][]any, len(lines))
	for i, l := range lines {
		rows[i] = []any{l.Owner, l.ID, l.OrderID, l.Position, l.ProductID, l.VariantID, l.Title, l.VariantTitle, l.SKU, l.ImageURL, l.Quantity,
			l.Currency, l.UnitPriceMinor, l.DiscountMinor, l.TaxMinor, l.TotalMinor, l.TaxName, l.TaxBasisPoints, hold}
	}
	return postgres.CopyParts(ctx, tx, "orders", []postgres.Part{{Table: "lines", Rows: rows, Columns: []string{"owner_id", "id", "order_id", "position",
		"product_id", "variant_id", "title", "variant_title", "sku", "image_url", "quantity", "currency", "unit_price", "discount", "tax", "total",
		"tax_name", "tax_basis_points", "hold_id"}}})
}

// placePayload drives an order that is being placed and says what has become of it.
func (s *Service) placePayload(ctx context.Context, key id.Key) (*PlacePayload, error) {
	s.see(ctx, key, s.driveOn)
	o, err := s.read(ctx, s.db, key)
	if err != nil {
		return nil, err
	}
	p := &PlacePayload{Order: o, UserErrors: o.whyNot()}
	if !auth.From(ctx).Is(o.Owner) {
		// Who has the token of the cart is who has ordered.
		o.borne = true
		if p.Guest, err = s.guestAccess(ctx, o); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// whyNot are the problems for which an order has come to nothing.
func (o *Order) whyNot() []fault.Problem {
	switch {
	case o.Status == StatusPaymentFailed:
		return []fault.Problem{fault.NewProblem(fault.ProblemPaymentFailed, strings.TrimSpace("the payment was refused: "+or(o.Failure)), "paymentMethod")}
	case o.Status == StatusCanceled && o.PlacedAt == nil && o.CancelReason != nil && *o.CancelReason == CancelOutOfStock:
		return []fault.Problem{fault.NewProblem(fault.ProblemOutOfStock, "somebody else was faster: not everything is there any more", "lines")}
	}
	return []fault.Problem{}
}

// guestAccess makes the buyer a guest, and opens a session by which they come back.
func (s *Service) guestAccess(ctx context.Context, o *Order) (*GuestAccess, error) {
	if err := s.makeGuest(ctx, o); err != nil {
		return nil, err
	}
	token, expires, err := s.users.OpenGuestSession(ctx, o.Owner, guestTokenFor)
	if err != nil {
		return nil, err
	}
	return &GuestAccess{Token: token, ExpiresAt: expires}, nil
}

// makeGuest makes the owner of an order a guest: no order is placed that belongs to nobody.
func (s *Service) makeGuest(ctx context.Context, o *Order) error {
	name := ""
	if o.ShippingAddress != nil {
		name = o.ShippingAddress.Name
	}
	return s.users.CreateGuest(ctx, o.Owner, or(o.Email), name)
}
