package order

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/idempotency"
	"emporium/internal/money"
	"emporium/internal/postgres"
	"emporium/internal/product"
)

// EditInput is what changes of an order that was placed.
type EditInput struct {
	OrderID id.ID
	Add     []EditAddInput
	Reduce  []LineQuantity // how many of a line remain
	Reason  *string
	DryRun  bool // say what it would come to, and change nothing
}

// EditAddInput is a variant that comes in addition, as a line of its own, at the price of today.
type EditAddInput struct {
	VariantID id.ID
	Quantity  int
}

// EditPayload is the outcome of an edit.
type EditPayload struct {
	Order      *Order // as it is after the edit; of a dry run as it is
	Preview    *EditPreview
	UserErrors []fault.Problem
}

// EditPreview is what an edit would come to. Amounts are minor units of Currency.
type EditPreview struct {
	Owner    uuid.UUID
	Currency money.Currency
	totals
	DueMinor int64
}

// OwnedBy reports whether the order is the owner's.
func (p *EditPreview) OwnedBy(owner uuid.UUID) bool { return p.Owner == owner }

// Subtotal is the sum of the lines before discounts.
func (p *EditPreview) Subtotal() money.Money { return money.New(p.SubtotalMinor, p.Currency) }

// DiscountTotal is what is taken off.
func (p *EditPreview) DiscountTotal() money.Money { return money.New(p.DiscountMinor, p.Currency) }

// TaxTotal is the tax in, or on top of, the prices.
func (p *EditPreview) TaxTotal() money.Money { return money.New(p.TaxMinor, p.Currency) }

// Total is what the order would cost.
func (p *EditPreview) Total() money.Money { return money.New(p.TotalMinor, p.Currency) }

// Due is what would be neither promised nor paid; negative for what would be too much.
func (p *EditPreview) Due() money.Money { return money.New(p.DueMinor, p.Currency) }

// totals are those of an order that its lines make.
type totals struct{ SubtotalMinor, DiscountMinor, TaxMinor, TotalMinor int64 }

// edit is what is stored of an edit: what was asked for, with the goods as they were when it was.
type edit struct {
	Add    []editLine        `json:"add,omitempty"`
	Reduce map[uuid.UUID]int `json:"reduce,omitempty"` // by line: how many remain
	Taken  []takenLine       `json:"taken,omitempty"`  // what that has taken away, once it is applied
	Reason string            `json:"reason,omitempty"`
}

// added is what it wants of the stock.
func (e *edit) added() []product.HoldLine {
	lines := make([]product.HoldLine, len(e.Add))
	for i, a := range e.Add {
		lines[i] = product.HoldLine{VariantID: a.VariantID, Quantity: a.Quantity}
	}
	return lines
}

// editLine is a line to be added.
type editLine struct {
	ID uuid.UUID `json:"id"`
	Snapshot
	Quantity int `json:"quantity"`
}

// takenLine is what an edit has taken away of what was sold under a hold.
type takenLine struct {
	Hold     uuid.UUID `json:"hold"`
	Variant  uuid.UUID `json:"variant"`
	Quantity int       `json:"quantity"`
}

// editJob sees an edit through.
type editJob struct {
	Owner uuid.UUID `json:"owner"`
	Edit  uuid.UUID `json:"edit"`
}

// Kind names the job.
func (editJob) Kind() string { return "orders.edit" }

// Edit changes the lines of an order that was placed: reduces lines of which not so many were sent yet, and adds others.
// What is added is held before it counts; what is taken away goes back on sale. The price of shipping stays, and the discount of a
// line goes down with its quantity. What the customer then owes, or is owed, is the order's balance.
func (s *Service) Edit(ctx context.Context, in EditInput, idempotencyKey string) (*EditPayload, error) {
	key, err := managed(ctx, in.OrderID)
	if err != nil {
		return nil, err
	}
	e, err := s.readEdit(ctx, key, in)
	wrong, refusing := err.(fault.Problems)
	if err != nil && (in.DryRun || !refusing) {
		return s.editPayload(ctx, key, nil, err)
	}
	if in.DryRun {
		var preview *EditPreview
		err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
			o, err := s.lock(ctx, tx, key)
			if err != nil {
				return err
			}
			_, t, err := s.edited(ctx, tx, o, &e)
			preview = &EditPreview{Owner: o.Owner, Currency: o.Currency, totals: t, DueMinor: o.Paid.due(t.TotalMinor)}
			return err
		})
		if err != nil {
			preview = nil
		}
		return s.editPayload(ctx, key, preview, err)
	}
	edit, err := idempotency.Do(ctx, s.db, keys, idempotency.Request{Actor: auth.From(ctx).ID, Key: idempotencyKey, Verb: "orderEdit", Input: in},
		func(ctx context.Context, tx *postgres.Tx) (uuid.UUID, error) {
			edit := id.New()
			if refusing { // only now: an edit that was made already does not depend on what is on sale by now
				return edit, wrong
			}
			o, err := s.lock(ctx, tx, key)
			if err != nil {
				return edit, err
			}
			if _, _, err := s.edited(ctx, tx, o, &e); err != nil {
				return edit, err
			}
			_, err = postgres.Exec(ctx, tx, postgres.Stmt{
				Name: "orders.add_edit",
				SQL:  "INSERT INTO orders.edits (owner_id, id, order_id, status, changes, actor_id) VALUES ($1, $2, $3, 'PENDING', $4, $5)",
			}, key.Owner, edit, key.ID, e, actorID(ctx))
			if postgres.Violates(err, "edits_one_at_a_time") {
				return edit, refuse(fault.ProblemStale, "another edit of this order is under way", "orderId")
			}
			if err != nil {
				return edit, err
			}
			return edit, s.jobs.Add(ctx, tx, editJob{key.Owner, edit}, s.now().Add(settleAfter))
		})
	if err == nil {
		err = s.settleEdit(ctx, id.Key{Owner: key.Owner, ID: edit})
	}
	return s.editPayload(ctx, key, nil, err)
}

func (s *Service) editPayload(ctx context.Context, key id.Key, preview *EditPreview, err error) (*EditPayload, error) {
	p, err := s.payload(ctx, key, err)
	if err != nil {
		return nil, err
	}
	return &EditPayload{Order: p.Order, Preview: preview, UserErrors: p.UserErrors}, nil
}

// readEdit turns the input into what is stored, with the goods as they are now.
func (s *Service) readEdit(ctx context.Context, key id.Key, in EditInput) (edit, error) {
	e := edit{}
	var err error
	if e.Reason, err = noteOf(in.Reason); err != nil {
		return e, err
	}
	if len(in.Add)+len(in.Reduce) == 0 {
		return e, refuse(fault.ProblemInvalid, "say what is to change")
	}
	if len(in.Add) > maxCartLines {
		return e, refuse(fault.ProblemTooMany, fmt.Sprintf("at most %d lines are added at once", maxCartLines), "add")
	}
	if len(in.Add) > 0 {
		orders, err := s.ByKeys(postgres.WithWanted(ctx, nil), []id.Key{key})
		if err != nil {
			return e, err
		}
		if len(orders) == 0 {
			return e, errUnknown("input", "orderId")
		}
		variants, country := make([]uuid.UUID, len(in.Add)), ""
		for i, a := range in.Add {
			if a.Quantity < 1 || a.Quantity > maxCartQuantity {
				return e, fault.Problems{badQuantity(1, "add", strconv.Itoa(i), "quantity")}
			}
			variants[i] = a.VariantID.Key
		}
		if a := orders[0].ShippingAddress; a != nil {
			country = a.Country
		}
		goods, err := s.snapshots(ctx, variants, country)
		if err != nil {
			return e, err
		}
		for i, a := range in.Add {
			snapshot, ok := goods[a.VariantID.Key]
			if a.VariantID.Kind != id.Variant || !ok {
				return e, refuse(fault.ProblemUnavailable, "there is no such variant on sale", "add", strconv.Itoa(i), "variantId")
			}
			e.Add = append(e.Add, editLine{ID: id.New(), Snapshot: snapshot, Quantity: a.Quantity})
		}
	}
	for i, r := range in.Reduce {
		if r.OrderLineID.Kind != id.OrderLine || r.OrderLineID.Owner != key.Owner {
			return e, refuse(fault.ProblemInvalid, "this is no line of the order", "reduce", strconv.Itoa(i), "orderLineId")
		}
		if e.Reduce == nil {
			e.Reduce = map[uuid.UUID]int{}
		}
		e.Reduce[r.OrderLineID.Key] = r.Quantity
	}
	return e, nil
}

// edited returns the lines of an order as an edit makes them, those that it adds last, and the totals that follow, and notes in
// the edit what it takes away. The order is locked.
func (s *Service) edited(ctx context.Context, tx *postgres.Tx, o *locked, e *edit) ([]*soldLine, totals, error) {
	if o.Status != StatusPlaced && o.Status != StatusConfirmed {
		return nil, totals{}, refuse(fault.ProblemInvalid, fmt.Sprintf("an order that is %s can not be edited", o.Status), "orderId")
	}
	lines, err := s.soldLines(ctx, tx, o.Key())
	if err != nil {
		return nil, totals{}, err
	}
	e.Taken = nil
	shippingTax := o.TaxMinor
	known := 0
	for _, l := range lines {
		shippingTax -= l.TaxMinor
		n, reduced := e.Reduce[l.ID]
		if !reduced {
			continue
		}
		known++
		switch {
		case n < 0 || n > l.Quantity:
			return nil, totals{}, refuse(fault.ProblemInvalid, fmt.Sprintf("of line %d between %d and %d can remain; what is added is a line of its own",
				l.Position, l.Fulfilled, l.Quantity), "reduce")
		case n < l.Fulfilled:
			return nil, totals{}, refuse(fault.ProblemInvalid, fmt.Sprintf("%d of line %d were sent already", l.Fulfilled, l.Position), "reduce")
		case n == l.Quantity:
			continue
		}
		e.Taken = append(e.Taken, takenLine{l.HoldID, l.VariantID, l.Quantity - n})
		l.DiscountMinor = mulDiv(l.DiscountMinor, int64(n), int64(l.Quantity))
		l.Quantity = n
		l.price(o.TaxIncluded)
	}
	if known < len(e.Reduce) {
		return nil, totals{}, refuse(fault.ProblemInvalid, "this is no line of the order", "reduce")
	}
	for _, a := range e.Add {
		l := a.line(o.Currency, a.Quantity)
		l.Owner, l.ID, l.OrderID, l.Position = o.Owner, a.ID, o.ID, len(lines)+1
		l.price(o.TaxIncluded)
		lines = append(lines, l)
	}
	t := totals{TaxMinor: shippingTax}
	quantity := 0
	for _, l := range lines {
		quantity += l.Quantity
		t.SubtotalMinor += l.UnitPriceMinor * int64(l.Quantity)
		t.DiscountMinor += l.DiscountMinor
		t.TaxMinor += l.TaxMinor
	}
	switch {
	case quantity == 0:
		return nil, totals{}, refuse(fault.ProblemInvalid, "nothing would be left: cancel the order instead", "reduce")
	case t.SubtotalMinor > maxSubtotal:
		return nil, totals{}, refuse(fault.ProblemInvalid, "this is worth more than one order can be", "add")
	}
	t.TotalMinor = t.SubtotalMinor - t.DiscountMinor + o.ShippingMinor
	if !o.TaxIncluded {
		t.TotalMinor += t.TaxMinor
	}
	return lines, t, nil
}

// soldLine is a line with the tax that it bears, and what its stock was sold under.
type soldLine struct {
	*Line
	HoldID         uuid.UUID
	TaxName        *string
	TaxBasisPoints *int
}

// price works out the total and the tax of a line from its quantity and its discount, neither of which has grown. The tax of an
// order that was loaded without its rates goes down with the total.
func (l *soldLine) price(taxIncluded bool) {
	before := l.TotalMinor
	l.TotalMinor = l.UnitPriceMinor*int64(l.Quantity) - l.DiscountMinor
	switch {
	case l.TaxBasisPoints != nil:
		l.TaxMinor = taxOf(l.TotalMinor, int64(*l.TaxBasisPoints), taxIncluded)
	case before > 0:
		l.TaxMinor = mulDiv(l.TaxMinor, l.TotalMinor, before)
	}
}

// soldLines returns the lines of an order with their taxes, in its transaction.
func (s *Service) soldLines(ctx context.Context, tx *postgres.Tx, key id.Key) ([]*soldLine, error) {
	lines, err := s.linesIn(ctx, tx, key)
	if err != nil {
		return nil, err
	}
	type rate struct {
		Line, Hold  uuid.UUID
		Name        *string
		BasisPoints *int
	}
	rates, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name:  "orders.tax_of_lines",
		SQL:   "SELECT id, coalesce(hold_id, order_id), tax_name, tax_basis_points FROM orders.lines WHERE owner_id = $1 AND order_id = $2",
		Reads: postgres.All("orders.lines"),
	}, pgx.RowToStructByPos[rate], key.Owner, key.ID)
	if err != nil {
		return nil, err
	}
	of := make(map[uuid.UUID]rate, len(rates))
	for _, r := range rates {
		of[r.Line] = r
	}
	sold := make([]*soldLine, len(lines))
	for i, l := range lines {
		sold[i] = &soldLine{l, of[l.ID].Hold, of[l.ID].Name, of[l.ID].BasisPoints}
	}
	return sold, nil
}

// retaxed are the taxes of an order with other lines: those of the shipping stay.
func retaxed(before []OrderTax, lines []*soldLine) []OrderTax {
	var after []OrderTax
	add := func(name string, basisPoints int, minor, shipping int64) {
		for i := range after {
			if after[i].Name == name && after[i].BasisPoints == basisPoints {
				after[i].Minor += minor
				after[i].ShippingMinor += shipping
				return
			}
		}
		after = append(after, OrderTax{name, basisPoints, minor, shipping})
	}
	for _, t := range before {
		if t.ShippingMinor > 0 {
			add(t.Name, t.BasisPoints, t.ShippingMinor, t.ShippingMinor)
		}
	}
	for _, l := range lines {
		if l.TaxName != nil && l.TaxMinor > 0 {
			add(*l.TaxName, *l.TaxBasisPoints, l.TaxMinor, 0)
		}
	}
	return after
}

// storedEdit is an edit as it is stored.
type storedEdit struct {
	OrderID   uuid.UUID
	Status    string
	Changes   edit
	Problem   *fault.Problem
	SettledAt *time.Time
	ActorID   *uuid.UUID
}

const (
	editPending = "PENDING"
	editApplied = "APPLIED"
	editRefused = "REFUSED"
)

func (s *Service) editOf(ctx context.Context, q postgres.Querier, key id.Key) (storedEdit, error) {
	e, found, err := postgres.First(ctx, q, postgres.Stmt{
		Name:  "orders.edit",
		SQL:   "SELECT order_id, status, changes, problem, settled_at, actor_id FROM orders.edits WHERE owner_id = $1 AND id = $2",
		Reads: editsByID.Of(key.ID),
	}, pgx.RowToStructByPos[storedEdit], key.Owner, key.ID)
	if err == nil && !found {
		err = errUnknown()
	}
	return e, err
}

// settleEdit does what is left to be done for an edit: holds and sells what it adds, applies it, moves the rest of the stock. It can be called any
// number of times. An edit that could not be applied is a problem.
func (s *Service) settleEdit(ctx context.Context, key id.Key) error {
	e, err := s.editOf(ctx, s.db, key)
	if err != nil {
		return err
	}
	order := id.Key{Owner: key.Owner, ID: e.OrderID}
	if e.Status == editPending {
		if err := s.applyEdit(ctx, key, order, e); err != nil {
			return err
		}
		if e, err = s.editOf(ctx, s.db, key); err != nil {
			return err
		}
	}
	if e.SettledAt == nil {
		if err := s.moveEdited(ctx, key, e); err != nil {
			return err
		}
	}
	if e.Problem != nil {
		return fault.Problems{*e.Problem}
	}
	return nil
}

// applyEdit sells what a PENDING edit adds and changes the order, or refuses the edit. As with an order itself the sale comes
// first: a hold can lapse before it.
func (s *Service) applyEdit(ctx context.Context, key, order id.Key, e storedEdit) error {
	var wrong *fault.Problem
	if len(e.Changes.Add) > 0 {
		s.at("order: before an edit is held")
		err := s.products.Hold(ctx, key.ID, e.Changes.added(), s.now().Add(holdFor))
		if err == nil {
			s.at("order: after an edit is held")
			err = s.products.Sell(ctx, key.ID)
		}
		var short *product.ShortageError
		switch {
		case errors.As(err, &short):
			wrong = new(fault.NewProblem(fault.ProblemOutOfStock, "there is not as much in stock", "add"))
		case errors.Is(err, product.ErrHoldReleased):
			wrong = new(fault.NewProblem(fault.ProblemStale, "the edit took too long", "add"))
		case err != nil:
			return err
		}
		s.at("order: after an edit is sold")
	}
	return s.change(ctx, order, func(ctx context.Context, tx *postgres.Tx, o *locked) error {
		before := o.told()
		now, err := s.editOf(ctx, tx, key)
		if err != nil || now.Status != editPending {
			return err
		}
		status := editApplied
		lines, t, err := s.edited(ctx, tx, o, &e.Changes)
		if problems, ok := err.(fault.Problems); ok && wrong == nil {
			wrong = &problems[0]
		} else if err != nil && !ok {
			return err
		}
		if wrong != nil {
			status = editRefused
		} else if err := s.storeEdited(ctx, tx, o, key.ID, lines, t, e); err != nil {
			return err
		} else {
			// Perhaps it is a job that sees it through: it was staff who asked.
			o.tell("added", len(e.Changes.Add))
			o.tell("reduced", len(e.Changes.Taken))
			entries := s.entries(ctx, audit.OrderEdited, o, before)
			for i := range entries {
				entries[i].Actor = e.ActorID
			}
			if err := s.jobs.Audit(ctx, tx, entries...); err != nil {
				return err
			}
		}
		_, err = postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "orders.end_edit",
			SQL:  "UPDATE orders.edits SET status = $3, problem = $4, changes = $5 WHERE owner_id = $1 AND id = $2",
		}, key.Owner, key.ID, status, wrong, e.Changes)
		return err
	})
}

// storeEdited writes the lines and the totals of an edit.
func (s *Service) storeEdited(ctx context.Context, tx *postgres.Tx, o *locked, edit uuid.UUID, lines []*soldLine, t totals, e storedEdit) error {
	added := len(lines) - len(e.Changes.Add)
	if err := insertLines(ctx, tx, lines[added:], &edit); err != nil {
		return err
	}
	var ids []uuid.UUID
	var quantities []int
	var discounts, taxes, totals []int64
	for _, l := range lines[:added] {
		if _, reduced := e.Changes.Reduce[l.ID]; reduced {
			ids, quantities = append(ids, l.ID), append(quantities, l.Quantity)
			discounts, taxes, totals = append(discounts, l.DiscountMinor), append(taxes, l.TaxMinor), append(totals, l.TotalMinor)
		}
	}
	if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
		Name: "orders.reduce_lines",
		SQL: `UPDATE orders.lines l SET quantity = t.quantity, discount = t.discount, tax = t.tax, total = t.total
			FROM unnest($2::uuid[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[]) AS t(id, quantity, discount, tax, total)
			WHERE l.owner_id = $1 AND l.id = t.id`,
	}, o.Owner, ids, quantities, discounts, taxes, totals); err != nil {
		return err
	}
	o.SubtotalMinor, o.DiscountMinor, o.TaxMinor, o.TotalMinor = t.SubtotalMinor, t.DiscountMinor, t.TaxMinor, t.TotalMinor
	o.Taxes = retaxed(o.Taxes, lines)
	o.PaymentStatus = o.Paid.status(o.TotalMinor)
	if err := s.addEvent(ctx, tx, o.Key(), EventEdited, e.Changes.Reason, e.ActorID); err != nil {
		return err
	}
	return s.recount(ctx, tx, o)
}

// moveEdited puts what an edit has taken away back on sale, or what a refused one has held or bought.
func (s *Service) moveEdited(ctx context.Context, key id.Key, e storedEdit) error {
	if e.Status == editRefused {
		if len(e.Changes.Add) > 0 {
			err := s.products.Release(ctx, key.ID)
			if errors.Is(err, product.ErrHoldSold) {
				err = s.products.Restock(ctx, key.ID, "refused", e.Changes.added())
			}
			if err != nil {
				return err
			}
		}
	} else {
		holds := map[uuid.UUID][]product.HoldLine{}
		for _, t := range e.Changes.Taken {
			holds[t.Hold] = append(holds[t.Hold], product.HoldLine{VariantID: t.Variant, Quantity: t.Quantity})
		}
		for hold, lines := range holds {
			if err := s.restock(ctx, hold, "edit "+key.ID.String(), lines); err != nil {
				return err
			}
		}
	}
	_, err := postgres.Exec(ctx, s.db, postgres.Stmt{
		Name: "orders.settle_edit", SQL: "UPDATE orders.edits SET settled_at = now() WHERE owner_id = $1 AND id = $2 AND settled_at IS NULL",
	}, key.Owner, key.ID)
	return err
}
