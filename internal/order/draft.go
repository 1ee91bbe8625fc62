package order

import (
	"context"
	"errors"
	"strconv"

	"github.com/google/uuid"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/idempotency"
	"emporium/internal/money"
	"emporium/internal/postgres"
	"emporium/internal/product"
	"emporium/internal/seal"
	"emporium/internal/user"
)

// Snapshot is a variant as an order keeps it: what it was called and cost, and how it was taxed, on the day.
type Snapshot struct {
	ProductID      uuid.UUID `json:"product"`
	VariantID      uuid.UUID `json:"variant"`
	Title          string    `json:"title"`
	VariantTitle   *string   `json:"variantTitle,omitempty"`
	SKU            *string   `json:"sku,omitempty"`
	ImageURL       *string   `json:"imageUrl,omitempty"`
	UnitPriceMinor int64     `json:"unitPrice"`
	TaxName        *string   `json:"taxName,omitempty"`
	TaxBasisPoints *int      `json:"taxBasisPoints,omitempty"`
}

// snapshots returns those of the variants that can be bought as they are now, taxed as goods that are sent to a country;
// "" for one that is not known, where nothing is taxed.
func (s *Service) snapshots(ctx context.Context, variants []uuid.UUID, country string) (map[uuid.UUID]Snapshot, error) {
	goods, err := s.offered(ctx, variants)
	if err != nil {
		return nil, err
	}
	var products []uuid.UUID
	var taxed []TaxedLine
	for _, g := range goods {
		products = append(products, g.product.ID)
		taxed = append(taxed, TaxedLine{g.product.ID, g.variant.ID})
	}
	media, err := s.products.MediaOf(whole(ctx), distinct(products))
	if err != nil {
		return nil, err
	}
	rates := make(map[uuid.UUID]*TaxRate, len(taxed))
	if country != "" && len(taxed) > 0 {
		found, err := s.taxRule.Tax(ctx, TaxQuery{Country: country, Lines: taxed})
		if err != nil {
			return nil, err
		}
		for i, rate := range found.Lines {
			rates[taxed[i].VariantID] = rate
		}
	}
	of := make(map[uuid.UUID]Snapshot, len(goods))
	for variant, g := range goods {
		snap := Snapshot{ProductID: g.product.ID, VariantID: variant, Title: g.product.Title, SKU: g.variant.SKU,
			ImageURL: g.picture(media), UnitPriceMinor: g.variant.PriceMinor}
		if title := g.variant.Title(); title != "" {
			snap.VariantTitle = &title
		}
		if rate := rates[variant]; rate != nil {
			snap.TaxName, snap.TaxBasisPoints = &rate.Name, &rate.BasisPoints
		}
		of[variant] = snap
	}
	return of, nil
}

// picture is the address of the variant's picture, or of the first one of its product.
func (g offered) picture(media []*product.Media) *string {
	var found *string
	for _, m := range media {
		if m.ProductID != g.product.ID {
			continue
		}
		if found == nil && m.Kind == product.MediaImage || g.variant.ImageID != nil && m.ID == *g.variant.ImageID {
			found = &m.URL
		}
	}
	return found
}

// DraftInput is an order that staff writes for a customer: one with an account, or a guest with an e-mail address.
type DraftInput struct {
	CustomerID      *id.ID
	Email           *string
	Lines           []DraftLineInput
	ShippingAddress *PostalAddressInput
	BillingAddress  *PostalAddressInput
	ShippingMethod  *string        // its name
	ShippingTotal   *money.Decimal // what it costs; nothing if it is left out
	Discount        *money.Decimal // an amount off the goods
	Note            *string
}

// DraftLineInput is a line of a draft. Without a price it costs what it costs today.
type DraftLineInput struct {
	VariantID id.ID
	Quantity  int
	UnitPrice *money.Decimal
}

// DraftUpdateInput is what a draft is from now on, whole. Its customer stays.
type DraftUpdateInput struct {
	OrderID id.ID
	Draft   DraftInput
}

// DraftPlaceInput is the draft that becomes an order, and how it is paid: without a payment method it is placed unpaid, and
// the customer pays later.
type DraftPlaceInput struct {
	OrderID       id.ID
	PaymentMethod *string
	ReturnURL     *string
}

// CreateDraft writes an order that holds and charges nothing yet.
func (s *Service) CreateDraft(ctx context.Context, in DraftInput, idempotencyKey string) (*Payload, error) {
	if err := requireManager(ctx); err != nil {
		return nil, err
	}
	o, lines, err := s.newDraft(ctx, in)
	wrong, refusing := err.(fault.Problems)
	if err != nil && !refusing {
		return nil, err
	}
	made, err := idempotency.Do(ctx, s.db, keys, idempotency.Request{Actor: auth.From(ctx).ID, Key: idempotencyKey, Verb: "orderDraftCreate", Input: in},
		func(ctx context.Context, tx *postgres.Tx) (placed, error) {
			if refusing { // only now: a draft that was made already does not depend on what is on sale by now
				return placed{}, wrong
			}
			o.ID, o.CreatedAt = id.New(), s.now()
			if err := s.insert(ctx, tx, o); err != nil {
				return placed{}, err
			}
			if err := insertDraftLines(ctx, tx, &o.Order, lines); err != nil {
				return placed{}, err
			}
			if err := s.addEvent(ctx, tx, o.Key(), EventCreated, "", actorID(ctx)); err != nil {
				return placed{}, err
			}
			return placed{o.Owner, o.ID}, s.jobs.Audit(ctx, tx, audit.Of(ctx, audit.OrderDraftCreated, o.Order.GlobalID(), audit.Details{
				"lines": len(lines), "total": o.Total().String()})...)
		})
	if problems, ok := err.(fault.Problems); ok {
		return &Payload{UserErrors: problems}, nil
	}
	if err != nil {
		return nil, err
	}
	return s.payload(ctx, id.Key{Owner: made.Owner, ID: made.Order}, nil)
}

// newDraft is draft with the customer: who is named, or a guest.
func (s *Service) newDraft(ctx context.Context, in DraftInput) (*newOrder, []*soldLine, error) {
	o, lines, err := s.draft(ctx, in)
	if err != nil {
		return nil, nil, err
	}
	o.Owner, o.guest = id.New(), true
	if in.CustomerID != nil {
		users := []*user.User(nil)
		if in.CustomerID.Kind == id.User {
			if users, err = s.users.ByIDs(whole(ctx), []uuid.UUID{in.CustomerID.Key}); err != nil {
				return nil, nil, err
			}
		}
		if len(users) == 0 {
			return nil, nil, refuse(fault.ProblemInvalid, "there is no such customer", "customerId")
		}
		o.Owner, o.guest = users[0].ID, false
		if o.Email == nil {
			o.Email = users[0].Email
		}
	}
	if o.Email == nil {
		return nil, nil, refuse(fault.ProblemMissing, "name a customer or an e-mail address", "email")
	}
	return o, lines, nil
}

func insertDraftLines(ctx context.Context, tx *postgres.Tx, o *Order, lines []*soldLine) error {
	for i, l := range lines {
		l.Owner, l.OrderID, l.ID, l.Position = o.Owner, o.ID, id.New(), i+1
	}
	return insertLines(ctx, tx, lines, nil)
}

// UpdateDraft writes a draft anew.
func (s *Service) UpdateDraft(ctx context.Context, in DraftUpdateInput) (*Payload, error) {
	if err := requireManager(ctx); err != nil {
		return nil, err
	}
	fresh, lines, err := s.draft(ctx, in.Draft)
	if problems, ok := err.(fault.Problems); ok {
		return &Payload{UserErrors: problems}, nil
	}
	if err != nil {
		return nil, err
	}
	return s.by(ctx, audit.OrderDraftUpdated, in.OrderID, func(ctx context.Context, tx *postgres.Tx, o *locked) error {
		if o.Status != StatusDraft {
			return refuse(fault.ProblemInvalid, "this is no draft any more", "orderId")
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "orders.delete_draft_lines", SQL: "DELETE FROM orders.lines WHERE owner_id = $1 AND order_id = $2",
		}, o.Owner, o.ID); err != nil {
			return err
		}
		if err := insertDraftLines(ctx, tx, o.Order, lines); err != nil {
			return err
		}
		fresh.Owner, fresh.ID = o.Owner, o.ID
		if fresh.Email == nil {
			fresh.Email = o.Email
		}
		o.tell("lines", len(lines))
		sealed, err := s.sealedColumns(&fresh.Order)
		if err != nil {
			return err
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "orders.update_draft",
			SQL: `UPDATE orders.orders SET email = $3, email_index = $4, shipping_address = $5, billing_address = $6, note = $7, shipping_method = $8,
					changed_in = pg_current_xact_id()
				WHERE owner_id = $1 AND id = $2`,
		}, o.Owner, o.ID, sealed.email, sealed.index, sealed.shipping, sealed.billing, s.sealer.SealNullable(field("note", o.Key()), fresh.Note),
			fresh.ShippingMethod); err != nil {
			return err
		}
		o.SubtotalMinor, o.DiscountMinor, o.ShippingMinor, o.TaxMinor, o.TotalMinor, o.Taxes =
			fresh.SubtotalMinor, fresh.DiscountMinor, fresh.ShippingMinor, fresh.TaxMinor, fresh.TotalMinor, fresh.Taxes
		return nil
	})
}

// draft prices what staff has written.
func (s *Service) draft(ctx context.Context, in DraftInput) (*newOrder, []*soldLine, error) {
	o := &newOrder{Order: Order{Status: StatusDraft, PaymentStatus: PaymentUnpaid, FulfillmentStatus: Unfulfilled, Currency: s.currency,
		TaxIncluded: s.taxIncluded, ShippingMethod: in.ShippingMethod}}
	var wrong fault.Problems
	if in.Email != nil {
		email, err := seal.NormalizeEmail(*in.Email)
		if err != nil {
			wrong = append(wrong, fault.NewProblem(fault.ProblemInvalid, "this is not a valid e-mail address", "email"))
		}
		o.Email = &email
	}
	note, err := noteOf(in.Note)
	if problems, ok := err.(fault.Problems); ok {
		wrong = append(wrong, problems...)
	} else if note != "" {
		o.Note = &note
	}
	country := ""
	for _, a := range []struct {
		field string
		in    *PostalAddressInput
		into  **PostalAddress
	}{{"shippingAddress", in.ShippingAddress, &o.ShippingAddress}, {"billingAddress", in.BillingAddress, &o.BillingAddress}} {
		if a.in != nil {
			address, problems := writtenAddress(a.field, a.in)
			wrong = append(wrong, problems...)
			*a.into = address
		}
	}
	if o.ShippingAddress != nil {
		country = o.ShippingAddress.Country
	}
	if o.BillingAddress == nil {
		o.BillingAddress = o.ShippingAddress
	}
	amount := func(d *money.Decimal, field ...string) int64 {
		if d == nil {
			return 0
		}
		minor, err := d.Minor(s.currency)
		if err != nil || minor < 0 || minor > maxSubtotal {
			wrong = append(wrong, fault.NewProblem(fault.ProblemInvalid, "this is no amount of "+string(s.currency), field...))
			return 0
		}
		return minor
	}
	pricing := PricingInput{TaxIncluded: s.taxIncluded, ShippingMinor: amount(in.ShippingTotal, "shippingTotal")}
	if off := amount(in.Discount, "discount"); off > 0 {
		pricing.Discount = &DiscountTerms{Kind: DiscountFixed, AmountMinor: off}
	}
	if len(in.Lines) == 0 || len(in.Lines) > maxCartLines {
		return nil, nil, append(wrong, fault.NewProblem(fault.ProblemInvalid, "an order has 1 to "+strconv.Itoa(maxCartLines)+" lines", "lines"))
	}
	variants := make([]uuid.UUID, len(in.Lines))
	for i, l := range in.Lines {
		variants[i] = l.VariantID.Key
	}
	goods, err := s.snapshots(ctx, variants, country)
	if err != nil {
		return nil, nil, err
	}
	lines := make([]*soldLine, len(in.Lines))
	for i, l := range in.Lines {
		at := []string{"lines", strconv.Itoa(i)}
		g, ok := goods[l.VariantID.Key]
		switch {
		case l.VariantID.Kind != id.Variant || !ok:
			wrong = append(wrong, fault.NewProblem(fault.ProblemUnavailable, "there is no such variant on sale", append(at, "variantId")...))
			continue
		case l.Quantity < 1 || l.Quantity > maxCartQuantity:
			wrong = append(wrong, badQuantity(1, append(at, "quantity")...))
			continue
		}
		if l.UnitPrice != nil {
			g.UnitPriceMinor = amount(l.UnitPrice, append(at, "unitPrice")...)
		}
		lines[i] = g.line(o.Currency, l.Quantity)
		priced := PricingLine{UnitPriceMinor: g.UnitPriceMinor, Quantity: l.Quantity}
		if g.TaxName != nil {
			priced.Tax = &TaxRate{*g.TaxName, *g.TaxBasisPoints}
		}
		pricing.Lines = append(pricing.Lines, priced)
	}
	if wrong != nil {
		return nil, nil, wrong
	}
	if country != "" {
		rates, err := s.taxRule.Tax(ctx, TaxQuery{Country: country})
		if err != nil {
			return nil, nil, err
		}
		pricing.ShippingTax = rates.Shipping
	}
	prices, err := price(pricing)
	if err != nil {
		return nil, nil, err
	}
	for i, l := range lines {
		p := prices.Lines[i]
		l.DiscountMinor, l.TaxMinor, l.TotalMinor = p.DiscountMinor, p.TaxMinor, p.TotalMinor
	}
	o.SubtotalMinor, o.DiscountMinor, o.ShippingMinor, o.TaxMinor, o.TotalMinor =
		prices.SubtotalMinor, prices.DiscountMinor, prices.ShippingMinor, prices.TaxMinor, prices.TotalMinor
	o.Taxes = taxesOf(prices.Taxes, lines)
	return o, lines, nil
}

// line is a line of what is snapshotted, without discount and tax.
func (g Snapshot) line(currency money.Currency, quantity int) *soldLine {
	return &soldLine{Line: &Line{ProductID: g.ProductID, VariantID: g.VariantID, Title: g.Title, VariantTitle: g.VariantTitle, SKU: g.SKU,
		ImageURL: g.ImageURL, Quantity: quantity, Currency: currency, UnitPriceMinor: g.UnitPriceMinor},
		TaxName: g.TaxName, TaxBasisPoints: g.TaxBasisPoints}
}

// taxesOf are taxes as orders keep them: what is not of the lines is of the shipping.
func taxesOf(all []TaxAmount, lines []*soldLine) []OrderTax {
	of := map[TaxRate]int64{}
	for _, l := range lines {
		if l.TaxName != nil {
			of[TaxRate{*l.TaxName, *l.TaxBasisPoints}] += l.TaxMinor
		}
	}
	taxes := make([]OrderTax, len(all))
	for i, t := range all {
		taxes[i] = OrderTax{t.Name, t.BasisPoints, t.Minor, t.Minor - of[t.TaxRate]}
	}
	return taxes
}

// PlaceDraft places a draft: from here on it goes the way of every order.
func (s *Service) PlaceDraft(ctx context.Context, in DraftPlaceInput, idempotencyKey string) (*Payload, error) {
	key, err := managed(ctx, in.OrderID)
	if err != nil {
		return nil, err
	}
	if in.PaymentMethod != nil && (*in.PaymentMethod == "" || len(*in.PaymentMethod) > maxMethod) {
		return s.payload(ctx, key, refuse(fault.ProblemInvalid, "this is no payment method", "paymentMethod"))
	}
	if wrong := leadsAway(in.ReturnURL, "returnUrl"); wrong != nil {
		return s.payload(ctx, key, wrong)
	}
	_, err = idempotency.Do(ctx, s.db, keys, idempotency.Request{Actor: auth.From(ctx).ID, Key: idempotencyKey, Verb: "orderDraftPlace", Input: in},
		func(ctx context.Context, tx *postgres.Tx) (placed, error) {
			err := s.act(ctx, tx, audit.OrderDraftPlaced, key, func(ctx context.Context, tx *postgres.Tx, o *locked) error {
				if o.Status != StatusDraft {
					return refuse(fault.ProblemInvalid, "this is no draft any more", "orderId")
				}
				now := s.now()
				if err := o.to(StatusPending, now); err != nil {
					return err
				}
				var payment *uuid.UUID
				if in.PaymentMethod != nil && o.TotalMinor > 0 {
					payment = new(id.New())
				}
				if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
					Name: "orders.place_draft",
					SQL: `UPDATE orders.orders SET status = 'PENDING', payment_id = $3, payment_method = $4, return_url = $5, expires_at = $6,
							changed_in = pg_current_xact_id()
						WHERE owner_id = $1 AND id = $2`,
				}, o.Owner, o.ID, payment, s.sealer.SealNullable(field("payment_method", key), in.PaymentMethod), in.ReturnURL,
					now.Add(placeWithin)); err != nil {
					return err
				}
				return s.jobs.Add(ctx, tx, driveJob{o.Owner, o.ID}, now.Add(driveAfter))
			})
			return placed{key.Owner, key.ID}, err
		})
	if err != nil {
		return s.payload(ctx, key, err)
	}
	s.see(ctx, key, s.driveOn)
	p, err := s.payload(ctx, key, nil)
	if err == nil && p.Order != nil {
		p.UserErrors = p.Order.whyNot()
	}
	return p, err
}

// PayInput is how what is still owed for an order is paid.
type PayInput struct {
	OrderID       id.ID
	PaymentMethod string
	ReturnURL     *string
}

// attempt is what is remembered of paying for an order.
type attempt struct {
	Payment uuid.UUID `json:"payment"`
	Amount  int64     `json:"amount"`
}

// Pay pays what is still owed for an order that was placed: for its customer, and for managers and admins. An order has
// one payment under way at a time.
func (s *Service) Pay(ctx context.Context, in PayInput, idempotencyKey string) (*Payload, error) {
	viewer := auth.From(ctx)
	if !viewer.SignedIn() {
		return nil, errAnonymous()
	}
	key, err := orderKey(in.OrderID)
	if err != nil {
		return nil, err
	}
	if !viewer.Is(key.Owner) && !manages(ctx) {
		return nil, errUnknown("input", "orderId")
	}
	if in.PaymentMethod == "" || len(in.PaymentMethod) > maxMethod {
		return s.payload(ctx, key, refuse(fault.ProblemInvalid, "this is no payment method", "paymentMethod"))
	}
	if wrong := leadsAway(in.ReturnURL, "returnUrl"); wrong != nil {
		return s.payload(ctx, key, wrong)
	}
	a, err := idempotency.Do(ctx, s.db, keys, idempotency.Request{Actor: viewer.ID, Key: idempotencyKey, Verb: "orderPay", Input: in},
		func(ctx context.Context, tx *postgres.Tx) (a attempt, err error) {
			o, err := s.lock(ctx, tx, key)
			switch {
			case err != nil:
				return a, err
			case !o.Owed():
				return a, refuse(fault.ProblemInvalid, "nothing is owed for this order", "orderId")
			}
			a = attempt{id.New(), o.Paid.due(o.TotalMinor)}
			if a.Amount <= 0 {
				return a, refuse(fault.ProblemInvalid, "nothing is owed for this order", "orderId")
			}
			if viewer.Is(key.Owner) {
				return a, nil // what people pay for themselves is their own affair
			}
			return a, s.jobs.Audit(ctx, tx, audit.Of(ctx, audit.OrderPaymentStarted, in.OrderID, audit.Details{
				"payment": id.Owned(id.Payment, id.Key{Owner: key.Owner, ID: a.Payment}).String(), "amount": money.New(a.Amount, o.Currency).String()})...)
		})
	if err != nil {
		return s.payload(ctx, key, err)
	}
	orders, err := s.ByKeys(whole(ctx), []id.Key{key})
	if err != nil {
		return nil, err
	}
	if len(orders) == 0 {
		return nil, errUnknown("input", "orderId")
	}
	o := orders[0]
	var outcome PaymentOutcome
	s.see(ctx, key, func(ctx context.Context, key id.Key) error {
		outcome, err = s.payments.Authorize(ctx, PaymentRequest{Order: key, Number: o.Number, PaymentID: a.Payment, Amount: a.Amount,
			Total: o.TotalMinor, Currency: o.Currency, Method: in.PaymentMethod, ReturnURL: in.ReturnURL})
		return err
	})
	var conflict *fault.Error
	switch {
	case fault.Is(err, fault.Conflict) && errors.As(err, &conflict):
		return s.payload(ctx, key, refuse(fault.ProblemStale, conflict.Message, "orderId"))
	case outcome.State == PaymentRefused:
		return s.payload(ctx, key, refuse(fault.ProblemPaymentFailed, "the payment was refused: "+outcome.Message, "paymentMethod"))
	}
	return s.payload(ctx, key, nil)
}
