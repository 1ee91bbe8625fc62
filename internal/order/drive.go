package order

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/jobs"
	"emporium/internal/money"
	"emporium/internal/postgres"
	"emporium/internal/product"
)

// An order that is PENDING is driven through its steps, by the request that has placed it and by a job that takes over when the
// process dies between any two of them. Whoever drives has a lease, so that two do not work at once; but nothing
// depends on that: each step can be done any number of times, by several at once, and late.
//
//  1. product.Hold sets the stock aside.
//  2. Payments.Authorize has the amount promised.
//  3. product.Sell makes the hold a sale, and the order becomes PLACED; or the order is given up.
//
// An order that was given up is settled: what was authorized is voided, what was held is released. First the payments are closed
// and the hold is marked, so that a driver who comes late finds neither.
const (
	placeWithin = 30 * time.Minute // then a PENDING order expires: as long as a customer may take to confirm a payment
	holdFor     = 2 * placeWithin  // the hold outlives the order: its own expiry is for orders that nobody drives
	leaseFor    = 40 * time.Second // longer than all calls of a drive may take
	driveAfter  = 20 * time.Second // when the job looks after an order that a request drives
	settleAfter = 20 * time.Second
)

// driveJob drives an order.
type driveJob struct {
	Owner uuid.UUID `json:"owner"`
	Order uuid.UUID `json:"order"`
}

// Kind names the job.
func (driveJob) Kind() string { return "orders.drive" }

// settleJob settles an order that was given up.
type settleJob struct {
	Owner uuid.UUID `json:"owner"`
	Order uuid.UUID `json:"order"`
}

// Kind names the job.
func (settleJob) Kind() string { return "orders.settle" }

// errDriven is what a second driver gets.
var errDriven = errors.New("somebody else drives the order")

// driven is what a driver needs to know of an order.
type driven struct {
	Number    string
	Currency  money.Currency
	Total     int64
	PaymentID *uuid.UUID
	Method    []byte // sealed
	ReturnURL *string
	ExpiresAt time.Time
	Expired   bool
	Cancel    *CancelReason
	Guest     bool // the owner is to become one
}

// Drive does what is to be done for an order that is being placed, and returns the state that it is in afterwards: still
// PENDING while the customer or the provider takes time. It fails with errDriven while somebody else is at it, and with
// what a service or the provider has failed with; then the job goes on. What is in another state is left alone.
func (s *Service) Drive(ctx context.Context, key id.Key) (Status, error) {
	lease := uuid.New()
	d, claimed, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name: "orders.claim",
		SQL: `UPDATE orders.orders SET lease = $3, lease_until = clock_timestamp() + $4::interval
			WHERE owner_id = $1 AND id = $2 AND status = 'PENDING' AND (lease_until IS NULL OR lease_until < clock_timestamp())
			RETURNING number, currency, total, payment_id, payment_method, return_url, coalesce(expires_at, created_at), coalesce(expires_at, created_at) < clock_timestamp(), cancel_reason, guest`,
	}, pgx.RowToStructByPos[driven], key.Owner, key.ID, lease, leaseFor)
	if err != nil {
		return "", err
	}
	if !claimed {
		status, err := s.statusOf(ctx, key)
		if err == nil && status == StatusPending {
			err = errDriven
		}
		return status, err
	}
	ctx, cancel := context.WithTimeout(ctx, leaseFor-5*time.Second)
	defer cancel()
	defer func() {
		// Also when the request has ended meanwhile: the job need not wait for the lease to lapse.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_, _ = postgres.Exec(ctx, s.db, postgres.Stmt{
			Name: "orders.give_back_lease",
			SQL:  "UPDATE orders.orders SET lease = NULL, lease_until = NULL WHERE owner_id = $1 AND id = $2 AND lease = $3",
		}, key.Owner, key.ID, lease)
	}()
	if err := s.drive(ctx, key, d); err != nil {
		return StatusPending, fmt.Errorf("order %s: %w", d.Number, err)
	}
	return s.statusOf(ctx, key)
}

// timeToAnswer is what is kept of a request's time to say how far an order is.
const timeToAnswer = 2 * time.Second

// see drives an order, or settles it, for a request: as far as it comes while there is time. The job goes on with the rest, so that
// what fails here is only told to the log.
func (s *Service) see(ctx context.Context, key id.Key, through func(ctx context.Context, key id.Key) error) {
	within, cancel := ctx, func() {}
	if deadline, ok := ctx.Deadline(); ok {
		within, cancel = context.WithDeadline(ctx, deadline.Add(-timeToAnswer))
	}
	defer cancel()
	if err := through(within, key); err != nil && !errors.Is(err, errDriven) {
		s.log.WarnContext(ctx, "an order is not through yet", "order", key.ID, "error", err)
	}
}

// driveOn is Drive for see.
func (s *Service) driveOn(ctx context.Context, key id.Key) error {
	_, err := s.Drive(ctx, key)
	return err
}

func (s *Service) statusOf(ctx context.Context, key id.Key) (Status, error) {
	status, found, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name: "orders.status", SQL: "SELECT status FROM orders.orders WHERE owner_id = $1 AND id = $2",
		Reads: ordersByID.Of(key.ID),
	}, pgx.RowTo[Status], key.Owner, key.ID)
	if err == nil && !found {
		err = errUnknown()
	}
	return status, err
}

func (s *Service) drive(ctx context.Context, key id.Key, d driven) error {
	switch {
	case d.Cancel != nil:
		return s.finish(ctx, key, StatusCanceled, "")
	case d.Expired:
		return s.finish(ctx, key, StatusExpired, "")
	}
	lines, err := s.holdLines(ctx, key)
	if err != nil {
		return err
	}
	s.at("order: before hold")
	err = s.products.Hold(ctx, key.ID, lines, d.ExpiresAt.Add(holdFor-placeWithin))
	var short *product.ShortageError
	switch {
	case errors.As(err, &short):
		return s.finish(ctx, key, StatusCanceled, CancelOutOfStock)
	case errors.Is(err, product.ErrHoldReleased):
		return s.finish(ctx, key, StatusExpired, "")
	case err != nil:
		return err
	}
	s.at("order: after hold")
	if d.PaymentID != nil {
		method, err := s.sealer.OpenNullable(field("payment_method", key), d.Method)
		if err != nil {
			return err
		}
		if method == nil {
			return errors.New("an order that is PENDING has lost what it is paid with")
		}
		outcome, err := s.payments.Authorize(ctx, PaymentRequest{Order: key, Number: d.Number, PaymentID: *d.PaymentID,
			Amount: d.Total, Total: d.Total, Currency: d.Currency, Method: *method, ReturnURL: d.ReturnURL})
		switch {
		case err != nil:
			return err
		case outcome.State == PaymentRefused:
			return s.fail(ctx, key, outcome.Message)
		case outcome.State != PaymentPromised:
			return nil
		}
	}
	if d.Guest {
		o, err := s.read(ctx, s.db, key)
		if err == nil {
			err = s.makeGuest(ctx, o)
		}
		if err != nil {
			return err
		}
	}
	s.at("order: before sale")
	switch err := s.products.Sell(ctx, key.ID); {
	case errors.Is(err, product.ErrHoldReleased):
		return s.finish(ctx, key, StatusExpired, "")
	case err != nil:
		return err
	}
	s.at("order: after sale")
	return s.finish(ctx, key, StatusPlaced, "")
}

// holdLines are what an order wants of the stock.
func (s *Service) holdLines(ctx context.Context, key id.Key) ([]product.HoldLine, error) {
	return postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "orders.hold_lines",
		SQL: `SELECT variant_id, quantity FROM orders.lines
			WHERE owner_id = $1 AND order_id = $2 AND hold_id IS NULL AND quantity > 0 ORDER BY position`,
		Reads: postgres.All("orders.lines"),
	}, pgx.RowToStructByPos[product.HoldLine], key.Owner, key.ID)
}

// fail gives an order up because its payment was refused.
func (s *Service) fail(ctx context.Context, key id.Key, message string) error {
	return s.finishWith(ctx, key, StatusPaymentFailed, "", &message)
}

func (s *Service) finish(ctx context.Context, key id.Key, to Status, reason CancelReason) error {
	return s.finishWith(ctx, key, to, reason, nil)
}

// finishWith brings an order that is PENDING to another state, with its cart and its discount, unless somebody else has
// done so. One that was asked to be cancelled just before it would be placed is cancelled.
func (s *Service) finishWith(ctx context.Context, key id.Key, to Status, reason CancelReason, failure *string) error {
	s.at("order: before it is finished")
	err := s.change(ctx, key, func(ctx context.Context, tx *postgres.Tx, o *locked) error {
		if o.Status != StatusPending {
			return nil
		}
		if to == StatusPlaced && o.CancelReason != nil {
			to = StatusCanceled
		}
		if reason != "" {
			o.CancelReason = &reason
		}
		o.Failure = failure
		return s.endPlacing(ctx, tx, o, to)
	})
	if err != nil {
		return err
	}
	s.at("order: after it is finished")
	if to != StatusPlaced {
		// The job settles it if this does not.
		if err := s.settle(ctx, key); err != nil {
			s.log.WarnContext(ctx, "an order is not settled yet", "order", key.ID, "error", err)
		}
	}
	return nil
}

// endPlacing brings an order that is PENDING to another state, in the transaction that holds it locked.
func (s *Service) endPlacing(ctx context.Context, tx *postgres.Tx, o *locked, to Status) error {
	kind := map[Status]EventKind{StatusPlaced: EventPlaced, StatusExpired: EventExpired, StatusCanceled: EventCanceled}[to]
	now := s.now()
	if err := o.to(to, now); err != nil {
		return err
	}
	if to == StatusPlaced {
		o.PlacedAt = &now
		if o.TotalMinor == 0 {
			o.PaymentStatus = PaymentPaid
		}
	}
	if kind != "" { // that a payment was refused is told by its ledger
		if err := s.addEvent(ctx, tx, o.Key(), kind, "", nil); err != nil {
			return err
		}
	}
	if o.CartID != nil {
		cart, back := CartOrdered, &o.ID
		if to != StatusPlaced {
			cart, back = CartOpen, nil
		}
		if _, err := s.setCartStatus(ctx, tx, id.Key{Owner: o.Owner, ID: *o.CartID}, CartPlacing, cart, back); err != nil {
			return err
		}
	}
	if to == StatusPlaced {
		return s.tellCustomer(ctx, tx, o.Key(), NoticePlaced)
	}
	if err := s.unredeem(ctx, tx, o.ID); err != nil {
		return err
	}
	if err := s.jobs.Add(ctx, tx, settleJob{o.Owner, o.ID}, now.Add(settleAfter)); err != nil {
		return err
	}
	if to == StatusPaymentFailed {
		return s.tellCustomer(ctx, tx, o.Key(), NoticePaymentFailed)
	}
	return nil
}

// settle brings back the money and the goods of an order that was given up.
func (s *Service) settle(ctx context.Context, key id.Key) error {
	type unsettled struct {
		Status  Status
		Restock bool
		Refund  bool
		Placed  bool
	}
	o, found, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name: "orders.unsettled",
		SQL: `SELECT status, cancel_restock, cancel_refund, placed_at IS NOT NULL FROM orders.orders
			WHERE owner_id = $1 AND id = $2 AND settled_at IS NULL`,
		Reads: ordersByID.Of(key.ID),
	}, pgx.RowToStructByPos[unsettled], key.Owner, key.ID)
	if err != nil || !found || !o.Status.givenUp() {
		return err
	}
	// What was never placed is brought back whatever was said.
	if err := s.payments.Release(ctx, key, o.Refund || !o.Placed); err != nil {
		return fmt.Errorf("payments: %w", err)
	}
	s.at("order: after the money is back")
	if o.Restock || !o.Placed {
		if err := s.bringBack(ctx, key); err != nil {
			return fmt.Errorf("stock: %w", err)
		}
	}
	s.at("order: after the goods are back")
	_, err = postgres.Exec(ctx, s.db, postgres.Stmt{
		Name: "orders.settled",
		SQL: `UPDATE orders.orders SET settled_at = now(), updated_at = now(), changed_in = pg_current_xact_id()
			WHERE owner_id = $1 AND id = $2 AND settled_at IS NULL`,
	}, key.Owner, key.ID)
	return err
}

// bringBack releases what an order holds, or puts what was sold to it back on sale.
func (s *Service) bringBack(ctx context.Context, key id.Key) error {
	type line struct {
		HoldID   uuid.UUID
		Variant  uuid.UUID
		Quantity int
	}
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "orders.lines_to_bring_back",
		SQL: `SELECT coalesce(hold_id, order_id), variant_id, quantity - fulfilled FROM orders.lines
			WHERE owner_id = $1 AND order_id = $2 AND quantity > fulfilled ORDER BY position`,
		Reads: postgres.All("orders.lines"),
	}, pgx.RowToStructByPos[line], key.Owner, key.ID)
	if err != nil {
		return err
	}
	holds := map[uuid.UUID][]product.HoldLine{key.ID: nil}
	for _, r := range rows {
		holds[r.HoldID] = append(holds[r.HoldID], product.HoldLine{VariantID: r.Variant, Quantity: r.Quantity})
	}
	for hold, lines := range holds {
		err := s.products.Release(ctx, hold)
		if errors.Is(err, product.ErrHoldSold) {
			err = nil
			if len(lines) > 0 {
				err = s.products.Restock(ctx, hold, "canceled", lines)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// PaymentsChanged takes over what the ledgers of an order's payments say: the payment service calls it after each change,
// any number of times, late and out of turn. It drives an order that has waited for its payment.
func (s *Service) PaymentsChanged(ctx context.Context, key id.Key, f PaymentFacts) error {
	var status Status
	err := s.change(ctx, key, func(ctx context.Context, tx *postgres.Tx, o *locked) error {
		if status = o.Status; f.Revision <= o.PaymentRevision {
			return nil
		}
		o.PaymentRevision = f.Revision
		o.Paid = paid{f.Authorized, f.Voided, f.Captured, f.Refunded}
		o.PaymentStatus = o.Paid.status(o.TotalMinor)
		if err := s.addEntries(ctx, tx, o.Order, f.Entries); err != nil {
			return err
		}
		if o.Status.givenUp() && s.owes(o) {
			// Money that has come too late goes back, too.
			if _, err := postgres.Exec(ctx, tx, postgres.Stmt{
				Name: "orders.unsettle",
				SQL:  "UPDATE orders.orders SET settled_at = NULL, changed_in = pg_current_xact_id() WHERE owner_id = $1 AND id = $2",
			}, o.Owner, o.ID); err != nil {
				return err
			}
			return s.jobs.Add(ctx, tx, settleJob{o.Owner, o.ID}, s.now().Add(settleAfter))
		}
		return s.complete(ctx, tx, o)
	})
	if err != nil {
		return err
	}
	if status == StatusPending {
		if _, err := s.Drive(ctx, key); err != nil && !errors.Is(err, errDriven) {
			return err
		}
	}
	return nil
}

// owes tells whether money of an order that was given up has to go back.
func (s *Service) owes(o *locked) bool {
	return o.Paid.Authorized-o.Paid.Voided > o.Paid.Captured ||
		o.Paid.Captured > o.Paid.Refunded && (o.CancelRefund || o.PlacedAt == nil)
}

// runJobs says what the jobs of the domain do.
func (s *Service) runJobs(q *jobs.Queue) {
	jobs.Handle(q, func(ctx context.Context, j driveJob) error {
		key := id.Key{Owner: j.Owner, ID: j.Order}
		status, err := s.Drive(ctx, key)
		switch {
		case errors.Is(err, errDriven):
			return jobs.Later(5 * time.Second)
		case fault.Is(err, fault.NotFound):
			return jobs.Never(err)
		case err != nil:
			return err
		case status == StatusPending:
			return jobs.Later(30 * time.Second)
		}
		return nil
	})
	jobs.Handle(q, func(ctx context.Context, j settleJob) error {
		err := s.settle(ctx, id.Key{Owner: j.Owner, ID: j.Order})
		if fault.Is(err, fault.InProgress) { // a refund may take the provider days
			return jobs.Later(time.Minute)
		}
		return err
	})
	jobs.Handle(q, s.sendNotice)
	jobs.Handle(q, func(ctx context.Context, j editJob) error {
		err := s.settleEdit(ctx, id.Key{Owner: j.Owner, ID: j.Edit})
		if _, through := err.(fault.Problems); through {
			return nil
		}
		return err
	})
	jobs.Handle(q, func(ctx context.Context, j restockJob) error {
		return s.restockReturn(ctx, id.Key{Owner: j.Owner, ID: j.Return})
	})
	jobs.Handle(q, func(ctx context.Context, _ cleanJob) error { return s.clean(ctx) })
	q.Every(time.Minute, cleanJob{})
}
