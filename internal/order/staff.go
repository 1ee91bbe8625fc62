package order

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/idempotency"
	"emporium/internal/postgres"
	"emporium/internal/product"
)

// keys are the idempotency keys of the domain.
const keys idempotency.Keys = "orders"

// Payload is the outcome of a mutation of an order.
type Payload struct {
	Order      *Order
	UserErrors []fault.Problem
}

// manages reports whether the viewer runs the shop's orders.
func manages(ctx context.Context) bool { return auth.From(ctx).Has(auth.RoleManager, auth.RoleAdmin) }

// requireManager lets those through who run the shop's orders.
func requireManager(ctx context.Context) error {
	switch {
	case !auth.From(ctx).SignedIn():
		return errAnonymous()
	case !manages(ctx):
		return fault.New(fault.Forbidden, "your roles do not allow this")
	}
	return nil
}

// managed returns the key of an order for those who run the shop's orders.
func managed(ctx context.Context, order id.ID) (id.Key, error) {
	if err := requireManager(ctx); err != nil {
		return id.Key{}, err
	}
	return orderKey(order)
}

// orderKey returns the key of an order that a mutation is about.
func orderKey(order id.ID) (id.Key, error) {
	if order.Kind != id.Order {
		return id.Key{}, errUnknown("input", "orderId")
	}
	return order.OwnedKey(), nil
}

// by runs a change of staff, records it, and returns the order as it is afterwards.
func (s *Service) by(ctx context.Context, action audit.Action, order id.ID, fn func(ctx context.Context, tx *postgres.Tx, o *locked) error) (*Payload, error) {
	key, err := managed(ctx, order)
	if err != nil {
		return nil, err
	}
	return s.payload(ctx, key, s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error { return s.act(ctx, tx, action, key, fn) }))
}

// payload is the outcome of a change that has ended with an error, or without one. The order is read again under the
// viewer's access.
func (s *Service) payload(ctx context.Context, key id.Key, err error) (*Payload, error) {
	p := &Payload{UserErrors: []fault.Problem{}}
	if wrong, ok := err.(fault.Problems); ok {
		p.UserErrors = wrong
	} else if err != nil {
		return nil, err
	}
	orders, err := s.ByKeys(ctx, []id.Key{key})
	if err != nil {
		return nil, err
	}
	if len(orders) > 0 {
		p.Order = orders[0]
	}
	return p, nil
}

// ConfirmInput is the order that the shop begins to work on.
type ConfirmInput struct{ OrderID id.ID }

// Confirm says that the shop works on an order from now on: its customer can not cancel it any more.
func (s *Service) Confirm(ctx context.Context, in ConfirmInput) (*Payload, error) {
	return s.by(ctx, audit.OrderConfirmed, in.OrderID, func(ctx context.Context, tx *postgres.Tx, o *locked) error {
		return s.confirm(ctx, tx, o)
	})
}

func (s *Service) confirm(ctx context.Context, tx *postgres.Tx, o *locked) error {
	if o.Status == StatusConfirmed {
		return nil
	}
	if err := o.to(StatusConfirmed, s.now()); err != nil {
		return err
	}
	if err := s.addEvent(ctx, tx, o.Key(), EventConfirmed, "", actorID(ctx)); err != nil {
		return err
	}
	return nil
}

// actorID is who does something; nil when nobody is signed in.
func actorID(ctx context.Context) *uuid.UUID {
	if a := auth.From(ctx); a.SignedIn() {
		return &a.ID
	}
	return nil
}

// CancelInput is the order to be cancelled, why, and what becomes of goods and money.
type CancelInput struct {
	OrderID id.ID
	Reason  *CancelReason // of staff; customers cancel as CUSTOMER
	Note    *string
	Restock bool // put what was sold back on sale
	Refund  bool // refund what was captured; what was authorized is voided always
}

// Cancel cancels an order of which nothing was sent: customers their own until the shop has begun to work on it, and always
// with their money back, managers and admins any. One that is still being placed is cancelled as soon as whoever drives it
// lets go. Goods and money come back at once, or by a job.
func (s *Service) Cancel(ctx context.Context, in CancelInput, idempotencyKey string) (*Payload, error) {
	viewer := auth.From(ctx)
	if !viewer.SignedIn() {
		return nil, errAnonymous()
	}
	key, err := orderKey(in.OrderID)
	if err != nil {
		return nil, err
	}
	staff := manages(ctx)
	if !staff && !viewer.Is(key.Owner) {
		return nil, errUnknown("input", "orderId")
	}
	reason := CancelCustomer
	if staff {
		reason = CancelStaff
		if in.Reason != nil {
			reason = *in.Reason
		}
	} else {
		in.Restock, in.Refund = true, true
	}
	note, err := noteOf(in.Note)
	if err != nil {
		return s.payload(ctx, key, err)
	}
	status, err := idempotency.Do(ctx, s.db, keys, idempotency.Request{Actor: viewer.ID, Key: idempotencyKey, Verb: "orderCancel", Input: in},
		func(ctx context.Context, tx *postgres.Tx) (status Status, err error) {
			err = s.act(ctx, tx, audit.OrderCanceled, key, func(ctx context.Context, tx *postgres.Tx, o *locked) error {
				defer func() { status = o.Status }()
				switch {
				case o.Status == StatusDraft && !staff:
					return errUnknown("input", "orderId")
				case o.Status == StatusCanceled:
					return nil
				case o.Status == StatusPending:
					// Who drives it does the rest.
					o.CancelReason, o.CancelRestock, o.CancelRefund = &reason, true, true
					return nil
				case o.Status == StatusConfirmed && !staff:
					return refuse(fault.ProblemInvalid, "the shop works on this order already; ask it to cancel", "orderId")
				case o.FulfillmentStatus != Unfulfilled:
					return refuse(fault.ProblemInvalid, "goods of this order were sent already: take them back instead", "orderId")
				case !o.Status.may(StatusCanceled):
					return refuse(fault.ProblemInvalid, fmt.Sprintf("an order that is %s can not be cancelled", o.Status), "orderId")
				}
				return s.cancel(ctx, tx, o, reason, in.Restock, in.Refund, note)
			})
			return status, err
		})
	if err == nil {
		switch status {
		case StatusPending:
			s.see(ctx, key, s.driveOn)
		case StatusCanceled:
			s.see(ctx, key, s.settle)
		}
	}
	return s.payload(ctx, key, err)
}

// cancel cancels an order in the transaction that holds it locked.
func (s *Service) cancel(
	ctx context.Context, tx *postgres.Tx, o *locked, reason CancelReason, restock, refund bool, note string,
) error {
	now := s.now()
	if err := o.to(StatusCanceled, now); err != nil {
		return err
	}
	o.CancelReason, o.CancelRestock, o.CancelRefund = &reason, restock, refund
	if err := s.addEvent(ctx, tx, o.Key(), EventCanceled, note, actorID(ctx)); err != nil {
		return err
	}
	if err := s.unredeem(ctx, tx, o.ID); err != nil {
		return err
	}
	if err := s.jobs.Add(ctx, tx, settleJob{o.Owner, o.ID}, now.Add(settleAfter)); err != nil {
		return err
	}
	return s.tellCustomer(ctx, tx, o.Key(), NoticeCanceled)
}

const maxText = 1000

// noteOf returns a text that somebody has written, trimmed.
func noteOf(text *string) (string, error) {
	if text == nil {
		return "", nil
	}
	note := strings.TrimSpace(*text)
	if utf8.RuneCountInString(note) > maxText {
		return "", refuse(fault.ProblemInvalid, "a note has at most 1,000 characters", "note")
	}
	return note, nil
}

// LineQuantity is how many of a line.
type LineQuantity struct {
	OrderLineID id.ID
	Quantity    int
}

// wanted adds up how many of which line somebody wants, and refuses lines that are not the order's and quantities
// beyond what left returns, with the path of the field at fault.
func wanted(order *Order, lines []*Line, want []LineQuantity, left func(*Line) int) (map[uuid.UUID]int, error) {
	if len(want) == 0 {
		return nil, refuse(fault.ProblemInvalid, "name one line at least", "lines")
	}
	of := make(map[uuid.UUID]*Line, len(lines))
	for _, l := range lines {
		of[l.ID] = l
	}
	sum := map[uuid.UUID]int{}
	for i, w := range want {
		l := of[w.OrderLineID.Key]
		field := []string{"lines", strconv.Itoa(i)}
		if w.OrderLineID.Kind != id.OrderLine || w.OrderLineID.Owner != order.Owner || l == nil {
			return nil, refuse(fault.ProblemInvalid, "this is no line of the order", append(field, "orderLineId")...)
		}
		if w.Quantity < 1 || w.Quantity > left(l)-sum[l.ID] {
			return nil, refuse(fault.ProblemInvalid, fmt.Sprintf("there are %d left of this line", left(l)-sum[l.ID]), append(field, "quantity")...)
		}
		sum[l.ID] += w.Quantity
	}
	return sum, nil
}

// FulfillInput is what goes into a parcel.
type FulfillInput struct {
	OrderID        id.ID
	Lines          []LineQuantity // nil: all that is left
	Carrier        *string
	TrackingNumber *string
	TrackingURL    *string
	Ship           bool // it leaves at once
}

// FulfillmentPayload is the outcome of a mutation of a parcel.
type FulfillmentPayload struct {
	Order       *Order
	Fulfillment *Fulfillment
	UserErrors  []fault.Problem
}

// Fulfill packs goods of an order into a parcel; an order that was placed is confirmed by it. Without an idempotency key each call
// packs another parcel.
func (s *Service) Fulfill(ctx context.Context, in FulfillInput, idempotencyKey *string) (*FulfillmentPayload, error) {
	key, err := managed(ctx, in.OrderID)
	if err != nil {
		return nil, err
	}
	pack := func(ctx context.Context, tx *postgres.Tx) (parcel uuid.UUID, err error) {
		parcel = id.New()
		return parcel, s.act(ctx, tx, audit.OrderFulfilled, key, s.packing(in, parcel))
	}
	var parcel uuid.UUID
	if idempotencyKey == nil {
		err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
			parcel, err = pack(ctx, tx)
			return err
		})
	} else {
		parcel, err = idempotency.Do(ctx, s.db, keys, idempotency.Request{Actor: auth.From(ctx).ID, Key: *idempotencyKey, Verb: "orderFulfill", Input: in}, pack)
	}
	p, err := s.payload(ctx, key, err)
	return s.parcelPayload(ctx, p, err, parcel)
}

// packing packs goods of a locked order into a parcel.
func (s *Service) packing(in FulfillInput, parcel uuid.UUID) func(ctx context.Context, tx *postgres.Tx, o *locked) error {
	return func(ctx context.Context, tx *postgres.Tx, o *locked) error {
		if wrong := leadsAway(in.TrackingURL, "trackingUrl"); wrong != nil {
			return wrong
		}
		if o.Status != StatusPlaced && o.Status != StatusConfirmed {
			return refuse(fault.ProblemInvalid, fmt.Sprintf("goods of an order that is %s are not sent", o.Status), "orderId")
		}
		lines, err := s.linesIn(ctx, tx, o.Key())
		if err != nil {
			return err
		}
		left := func(l *Line) int { return l.Quantity - l.Fulfilled }
		want := in.Lines
		if want == nil {
			for _, l := range lines {
				if left(l) > 0 {
					want = append(want, LineQuantity{l.GlobalID(), left(l)})
				}
			}
		}
		packed, err := wanted(o.Order, lines, want, left)
		if err != nil {
			return err
		}
		if err := s.confirm(ctx, tx, o); err != nil {
			return err
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "orders.add_parcel",
			SQL: `INSERT INTO orders.fulfillments (owner_id, id, order_id, status, carrier, tracking_number, tracking_url)
				VALUES ($1, $2, $3, 'PENDING', $4, $5, $6)`,
		}, o.Owner, parcel, o.ID, in.Carrier, in.TrackingNumber, in.TrackingURL); err != nil {
			return err
		}
		if err := s.countLines(ctx, tx, o.Key(), "orders.add_parcel_lines",
			`INSERT INTO orders.fulfillment_lines (owner_id, fulfillment_id, line_id, quantity)
				SELECT $1, $4, t.id, t.quantity FROM unnest($2::uuid[], $3::int[]) AS t(id, quantity)`, packed, parcel); err != nil {
			return err
		}
		if err := s.countLines(ctx, tx, o.Key(), "orders.fulfill_lines",
			`UPDATE orders.lines l SET fulfilled = l.fulfilled + t.quantity FROM unnest($2::uuid[], $3::int[]) AS t(id, quantity)
				WHERE l.owner_id = $1 AND l.id = t.id`, packed); err != nil {
			return err
		}
		o.tell("fulfillment", parcelID(o.Owner, parcel))
		if in.Ship {
			return s.moveParcel(ctx, tx, o, parcel, ParcelShipped, nil)
		}
		if err := s.addEvent(ctx, tx, o.Key(), EventPacked, "", actorID(ctx)); err != nil {
			return err
		}
		return s.recount(ctx, tx, o)
	}
}

// countLines runs a statement over lines and quantities: the owner is $1, the lines are $2, the quantities $3.
func (s *Service) countLines(ctx context.Context, tx *postgres.Tx, key id.Key, name, sql string, of map[uuid.UUID]int, more ...any) error {
	ids, quantities := make([]uuid.UUID, 0, len(of)), make([]int, 0, len(of))
	for line, n := range of {
		ids, quantities = append(ids, line), append(quantities, n)
	}
	_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: name, SQL: sql}, append([]any{key.Owner, ids, quantities}, more...)...)
	return err
}

// recount derives the state of the goods from lines and parcels.
func (s *Service) recount(ctx context.Context, tx *postgres.Tx, o *locked) error {
	lines, err := s.linesIn(ctx, tx, o.Key())
	if err != nil {
		return err
	}
	parcels, err := s.parcelsIn(ctx, tx, o.Key())
	if err != nil {
		return err
	}
	o.FulfillmentStatus = fulfillmentStatus(lines, parcels)
	return s.complete(ctx, tx, o)
}

func (s *Service) parcelPayload(ctx context.Context, p *Payload, err error, parcel uuid.UUID) (*FulfillmentPayload, error) {
	if err != nil {
		return nil, err
	}
	out := &FulfillmentPayload{Order: p.Order, UserErrors: p.UserErrors}
	if p.Order != nil {
		found, err := s.Fulfillments(ctx, []id.Key{{Owner: p.Order.Owner, ID: parcel}})
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			out.Fulfillment = found[0]
		}
	}
	return out, nil
}

// ParcelInput is a parcel, and what becomes of it.
type ParcelInput struct {
	FulfillmentID  id.ID
	Carrier        *string
	TrackingNumber *string
	TrackingURL    *string
}

// Ship says that a parcel is on its way.
func (s *Service) Ship(ctx context.Context, in ParcelInput) (*FulfillmentPayload, error) {
	return s.parcel(ctx, audit.FulfillmentShipped, in.FulfillmentID, ParcelShipped, &in)
}

// DeliverInput is the parcel that has arrived.
type DeliverInput struct{ FulfillmentID id.ID }

// Deliver says that a parcel has arrived.
func (s *Service) Deliver(ctx context.Context, in DeliverInput) (*FulfillmentPayload, error) {
	return s.parcel(ctx, audit.FulfillmentDelivered, in.FulfillmentID, ParcelDelivered, nil)
}

// ParcelCancelInput is the parcel that is unpacked.
type ParcelCancelInput struct{ FulfillmentID id.ID }

// CancelParcel unpacks a parcel that was not sent.
func (s *Service) CancelParcel(ctx context.Context, in ParcelCancelInput) (*FulfillmentPayload, error) {
	return s.parcel(ctx, audit.FulfillmentCanceled, in.FulfillmentID, ParcelCanceled, nil)
}

// parcel brings a parcel to another state.
func (s *Service) parcel(ctx context.Context, action audit.Action, parcel id.ID, to ParcelStatus, tracking *ParcelInput) (*FulfillmentPayload, error) {
	if err := requireManager(ctx); err != nil {
		return nil, err
	}
	unknown := &fault.Error{Code: fault.NotFound, Message: "there is no such parcel", Field: []string{"input", "fulfillmentId"}}
	if parcel.Kind != id.Fulfillment {
		return nil, unknown
	}
	found, err := s.Fulfillments(ctx, []id.Key{parcel.OwnedKey()})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, unknown
	}
	order := id.Owned(id.Order, found[0].OrderKey())
	p, err := s.by(ctx, action, order, func(ctx context.Context, tx *postgres.Tx, o *locked) error {
		return s.moveParcel(ctx, tx, o, parcel.Key, to, tracking)
	})
	return s.parcelPayload(ctx, p, err, parcel.Key)
}

// moveParcel brings a parcel to another state in the transaction that holds its order locked.
func (s *Service) moveParcel(ctx context.Context, tx *postgres.Tx, o *locked, parcel uuid.UUID, to ParcelStatus, tracking *ParcelInput) error {
	type row struct{ Status ParcelStatus }
	p, found, err := postgres.First(ctx, tx, postgres.Stmt{
		Name: "orders.parcel_status", SQL: "SELECT status FROM orders.fulfillments WHERE owner_id = $1 AND id = $2",
		Reads: fulfillmentsByID.Of(parcel),
	}, pgx.RowToStructByPos[row], o.Owner, parcel)
	switch {
	case err != nil:
		return err
	case !found:
		return errUnknown("input", "fulfillmentId")
	case p.Status == to:
		return nil
	case !slices.Contains(parcelTransitions[p.Status], to):
		return refuse(fault.ProblemInvalid, fmt.Sprintf("a parcel that is %s can not become %s", p.Status, to), "fulfillmentId")
	}
	o.tell("fulfillment", parcelID(o.Owner, parcel))
	o.tell("parcelStatus", audit.FromTo(p.Status, to))
	t := or(tracking)
	if wrong := leadsAway(t.TrackingURL, "trackingUrl"); wrong != nil {
		return wrong
	}
	if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
		Name: "orders.move_parcel",
		SQL: `UPDATE orders.fulfillments SET status = $3, carrier = coalesce($5, carrier), tracking_number = coalesce($6, tracking_number),
				tracking_url = coalesce($7, tracking_url),
				shipped_at = CASE WHEN $3 = 'SHIPPED' THEN $4 ELSE shipped_at END,
				delivered_at = CASE WHEN $3 = 'DELIVERED' THEN $4 ELSE delivered_at END
			WHERE owner_id = $1 AND id = $2`,
	}, o.Owner, parcel, to, s.now(), t.Carrier, t.TrackingNumber, t.TrackingURL); err != nil {
		return err
	}
	switch to {
	case ParcelShipped:
		err = s.addEvent(ctx, tx, o.Key(), EventShipped, "", actorID(ctx))
		if err == nil {
			err = s.tellCustomer(ctx, tx, o.Key(), NoticeShipped)
		}
	case ParcelDelivered:
		err = s.addEvent(ctx, tx, o.Key(), EventDelivered, "", actorID(ctx))
	case ParcelCanceled:
		_, err = postgres.Exec(ctx, tx, postgres.Stmt{
			Name: "orders.unpack_lines",
			SQL: `UPDATE orders.lines l SET fulfilled = l.fulfilled - f.quantity FROM orders.fulfillment_lines f
				WHERE f.owner_id = $1 AND f.fulfillment_id = $2 AND l.owner_id = f.owner_id AND l.id = f.line_id`,
			Reads: postgres.All("orders.fulfillment_lines"),
		}, o.Owner, parcel)
	}
	if err != nil {
		return err
	}
	return s.recount(ctx, tx, o)
}

// ReturnInput is what has come back of an order.
type ReturnInput struct {
	OrderID id.ID
	Lines   []LineQuantity
	Reason  *string
	Restock bool // put it back on sale
}

// restockJob puts what has come back on sale.
type restockJob struct {
	Owner  uuid.UUID `json:"owner"`
	Return uuid.UUID `json:"return"`
}

// Kind names the job.
func (restockJob) Kind() string { return "orders.restock" }

// Return takes goods back that were sent. The money is given back by a refund of its own.
func (s *Service) Return(ctx context.Context, in ReturnInput, idempotencyKey string) (*Payload, error) {
	key, err := managed(ctx, in.OrderID)
	if err != nil {
		return nil, err
	}
	reason, err := noteOf(in.Reason)
	if err != nil {
		return s.payload(ctx, key, err)
	}
	back, err := idempotency.Do(ctx, s.db, keys, idempotency.Request{Actor: auth.From(ctx).ID, Key: idempotencyKey, Verb: "orderReturn", Input: in},
		func(ctx context.Context, tx *postgres.Tx) (uuid.UUID, error) {
			back := id.New()
			return back, s.act(ctx, tx, audit.OrderReturned, key, func(ctx context.Context, tx *postgres.Tx, o *locked) error {
				lines, err := s.linesIn(ctx, tx, key)
				if err != nil {
					return err
				}
				sent, err := s.sentLines(ctx, tx, key)
				if err != nil {
					return err
				}
				returned, err := wanted(o.Order, lines, in.Lines, func(l *Line) int { return sent[l.ID] - l.Returned })
				if err != nil {
					return err
				}
				if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
					Name: "orders.add_return",
					SQL:  "INSERT INTO orders.returns (owner_id, id, order_id, reason, restock) VALUES ($1, $2, $3, nullif($4, ''), $5)",
				}, key.Owner, back, key.ID, reason, in.Restock); err != nil {
					return err
				}
				if err := s.countLines(ctx, tx, key, "orders.add_return_lines",
					`INSERT INTO orders.return_lines (owner_id, return_id, line_id, quantity)
						SELECT $1, $4, t.id, t.quantity FROM unnest($2::uuid[], $3::int[]) AS t(id, quantity)`, returned, back); err != nil {
					return err
				}
				if err := s.countLines(ctx, tx, key, "orders.return_lines",
					`UPDATE orders.lines l SET returned = l.returned + t.quantity FROM unnest($2::uuid[], $3::int[]) AS t(id, quantity)
						WHERE l.owner_id = $1 AND l.id = t.id`, returned); err != nil {
					return err
				}
				if err := s.addEvent(ctx, tx, key, EventReturned, reason, actorID(ctx)); err != nil {
					return err
				}
				o.tell("lines", len(returned))
				o.tell("restock", in.Restock)
				if in.Restock {
					if err := s.jobs.Add(ctx, tx, restockJob{key.Owner, back}, s.now().Add(settleAfter)); err != nil {
						return err
					}
				}
				return s.recount(ctx, tx, o)
			})
		})
	if err == nil && in.Restock {
		if err := s.restockReturn(ctx, id.Key{Owner: key.Owner, ID: back}); err != nil {
			s.log.WarnContext(ctx, "what came back is not on sale yet", "order", key.ID, "error", err)
		}
	}
	return s.payload(ctx, key, err)
}

// sentLines is how many of each line of an order have left the house: what is only packed can be unpacked again.
func (s *Service) sentLines(ctx context.Context, tx *postgres.Tx, key id.Key) (map[uuid.UUID]int, error) {
	type row struct {
		Line     uuid.UUID
		Quantity int
	}
	rows, err := postgres.Select(ctx, tx, postgres.Stmt{
		Name: "orders.sent_lines",
		SQL: `SELECT l.line_id, sum(l.quantity) FROM orders.fulfillments f
			JOIN orders.fulfillment_lines l ON l.owner_id = f.owner_id AND l.fulfillment_id = f.id
			WHERE f.owner_id = $1 AND f.order_id = $2 AND f.status NOT IN ('PENDING', 'CANCELED') GROUP BY l.line_id`,
		Reads: postgres.All("orders.fulfillments", "orders.fulfillment_lines"),
	}, pgx.RowToStructByPos[row], key.Owner, key.ID)
	sent := make(map[uuid.UUID]int, len(rows))
	for _, r := range rows {
		sent[r.Line] = r.Quantity
	}
	return sent, err
}

// restockReturn puts what has come back on sale, once.
func (s *Service) restockReturn(ctx context.Context, back id.Key) error {
	type line struct {
		HoldID   uuid.UUID
		Variant  uuid.UUID
		Quantity int
	}
	lines, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "orders.lines_to_restock",
		SQL: `SELECT coalesce(l.hold_id, l.order_id), l.variant_id, r.quantity FROM orders.returns b
			JOIN orders.return_lines r ON r.owner_id = b.owner_id AND r.return_id = b.id
			JOIN orders.lines l ON l.owner_id = r.owner_id AND l.id = r.line_id
			WHERE b.owner_id = $1 AND b.id = $2 AND b.restock AND b.restocked_at IS NULL`,
		Reads: postgres.All("orders.returns", "orders.return_lines", "orders.lines"),
	}, pgx.RowToStructByPos[line], back.Owner, back.ID)
	if err != nil || len(lines) == 0 {
		return err
	}
	holds := map[uuid.UUID][]product.HoldLine{}
	for _, l := range lines {
		holds[l.HoldID] = append(holds[l.HoldID], product.HoldLine{VariantID: l.Variant, Quantity: l.Quantity})
	}
	for hold, lines := range holds {
		if err := s.restock(ctx, hold, "return "+back.ID.String(), lines); err != nil {
			return err
		}
	}
	_, err = postgres.Exec(ctx, s.db, postgres.Stmt{
		Name: "orders.restocked",
		SQL:  "UPDATE orders.returns SET restocked_at = now() WHERE owner_id = $1 AND id = $2 AND restocked_at IS NULL",
	}, back.Owner, back.ID)
	return err
}

// WasPlaced reports whether an order was placed, whatever has become of it since. It is for the payment service; no viewer is
// asked for.
func (s *Service) WasPlaced(ctx context.Context, key id.Key) (bool, error) {
	o, err := s.read(ctx, s.db, key)
	return err == nil && o.PlacedAt != nil, err
}

// AmountOf is what lines of an order have cost, with what tax came on top, in minor units: what is paid back for them, once.
// Before is how many of them were paid back already; all parts of a line come to what it has cost, to the cent. It is for the
// payment service; no viewer is asked for.
func (s *Service) AmountOf(ctx context.Context, key id.Key, want, before []LineQuantity) (sum int64, err error) {
	paidBack := map[uuid.UUID]int{}
	for _, b := range before {
		paidBack[b.OrderLineID.Key] += b.Quantity
	}
	err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		o, err := s.lock(ctx, tx, key)
		if err != nil {
			return err
		}
		lines, err := s.linesIn(ctx, tx, key)
		if err != nil {
			return err
		}
		of, err := wanted(o.Order, lines, want, func(l *Line) int { return max(0, l.Quantity-paidBack[l.ID]) })
		if problems, ok := err.(fault.Problems); ok {
			return fault.Input(problems[0].Message, problems[0].Field...)
		} else if err != nil {
			return err
		}
		sum = 0
		for _, l := range lines {
			if n := of[l.ID]; n > 0 {
				paid := l.TotalMinor
				if !o.TaxIncluded {
					paid += l.TaxMinor
				}
				done := int64(paidBack[l.ID])
				sum += mulDiv(paid, done+int64(n), int64(l.Quantity)) - mulDiv(paid, done, int64(l.Quantity))
			}
		}
		return nil
	})
	return sum, err
}

// restock puts back on sale what was sold under a hold. An order that was loaded from elsewhere has held nothing here, so that
// there is nothing to be put back.
func (s *Service) restock(ctx context.Context, hold uuid.UUID, key string, lines []product.HoldLine) error {
	if err := s.products.Restock(ctx, hold, key, lines); !errors.Is(err, product.ErrNoHold) {
		return err
	}
	return nil
}

// NoteInput is something that staff writes down about an order.
type NoteInput struct {
	OrderID id.ID
	Message string
}

// AddNote writes something down about an order, which its customer reads too.
func (s *Service) AddNote(ctx context.Context, in NoteInput) (*Payload, error) {
	return s.by(ctx, audit.OrderNoteAdded, in.OrderID, func(ctx context.Context, tx *postgres.Tx, o *locked) error {
		note, err := noteOf(&in.Message)
		if err == nil && note == "" {
			err = refuse(fault.ProblemInvalid, "write something", "message")
		}
		if err != nil {
			return err
		}
		o.tell("characters", utf8.RuneCountInString(note)) // what it says may be about the customer
		return s.addEvent(ctx, tx, o.Key(), EventNote, note, actorID(ctx))
	})
}

// cleanJob does what is to be done once in a while.
type cleanJob struct{}

// Kind names the job.
func (cleanJob) Kind() string { return "orders.clean" }

const (
	cleanLimit = 1000 // rows at once
	cartsIdle  = 60 * 24 * time.Hour
)

// clean drives and settles orders that nobody looks after any more, because their jobs were given up, and forgets what is
// of no more use.
func (s *Service) clean(ctx context.Context) error {
	type open struct {
		Owner, ID uuid.UUID
		Pending   bool
	}
	left, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "orders.left",
		SQL: `(SELECT owner_id, id, true FROM orders.orders WHERE status = 'PENDING' AND expires_at < now() - interval '5 minutes'
				ORDER BY expires_at LIMIT 100)
			UNION ALL
			(SELECT owner_id, id, false FROM orders.orders WHERE status IN ('CANCELED', 'PAYMENT_FAILED', 'EXPIRED') AND settled_at IS NULL
				AND updated_at < now() - interval '10 minutes' ORDER BY updated_at LIMIT 100)`,
		Reads: postgres.All("orders.orders"), Volatile: true,
	}, pgx.RowToStructByPos[open])
	if err != nil {
		return err
	}
	for _, o := range left {
		key := id.Key{Owner: o.Owner, ID: o.ID}
		if o.Pending {
			_, err = s.Drive(ctx, key)
		} else {
			err = s.settle(ctx, key)
		}
		if err != nil { // it comes again the next time
			s.log.WarnContext(ctx, "an order that was left is not through", "order", o.ID, "error", err)
		}
	}
	if _, err := s.AbandonCarts(ctx, s.now().Add(-cartsIdle), cleanLimit); err != nil {
		return err
	}
	_, err = idempotency.DeleteBefore(ctx, s.db, keys, s.now().Add(-idempotency.TTL), cleanLimit)
	return err
}
