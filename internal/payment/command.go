package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/idempotency"
	"emporium/internal/money"
	"emporium/internal/payment/provider"
	"emporium/internal/postgres"
)

const (
	// keys are the idempotency keys of clients.
	keys idempotency.Keys = "payments"

	maxNote        = 1000
	maxRefundLines = 250

	// keysKept is how long a provider is relied upon to know a key again. Stripe forgets after a day; refunds take longer.
	keysKept = 20 * time.Hour
)

// CommandKind is what the shop can ask of a provider.
type CommandKind string

const (
	CommandCapture CommandKind = "CAPTURE"
	CommandVoid    CommandKind = "VOID"
	CommandRefund  CommandKind = "REFUND"
)

// CommandStatus tells where a command is.
type CommandStatus string

const (
	CommandPending   CommandStatus = "PENDING" // a job sees to it
	CommandSucceeded CommandStatus = "SUCCEEDED"
	CommandFailed    CommandStatus = "FAILED" // refused; a refund that succeeded can still fail
)

// RefundReason is why money is paid back.
type RefundReason string

const (
	RefundCustomerRequest RefundReason = provider.ReasonCustomerRequest
	RefundReturned        RefundReason = "RETURNED"
	RefundDefective       RefundReason = "DEFECTIVE"
	RefundDuplicate       RefundReason = provider.ReasonDuplicate
	RefundFraud           RefundReason = provider.ReasonFraud
	RefundCanceled        RefundReason = "CANCELED" // the order was
	RefundOther           RefundReason = "OTHER"
)

// Command is what the shop has asked of a provider; its ID is the provider's idempotency key. It is staff's to see.
type Command struct {
	Owner       uuid.UUID
	ID          uuid.UUID
	PaymentID   uuid.UUID
	OrderID     uuid.UUID
	Kind        CommandKind
	Currency    money.Currency
	AmountMinor int64 // of a void, what there was to give up
	Final       bool  // of a capture: the rest is given up
	Status      CommandStatus
	Reason      *RefundReason // of a refund
	Note        *string
	Lines       []RefundLine // that were refunded
	Failure     *string      // why it failed
	ActorID     *uuid.UUID   // nil: the shop itself, for an order
	CreatedAt   time.Time
	FinishedAt  *time.Time
}

// RefundLine is a part of a line of the order that is paid back.
type RefundLine struct {
	OrderLineID uuid.UUID `json:"orderLineId"`
	Quantity    int       `json:"quantity"`
}

// Key returns the owner-first key.
func (c *Command) Key() id.Key { return id.Key{Owner: c.Owner, ID: c.ID} }

// PaymentKey returns the key of the payment.
func (c *Command) PaymentKey() id.Key { return id.Key{Owner: c.Owner, ID: c.PaymentID} }

// GlobalID returns the ID in the graph.
func (c *Command) GlobalID() id.ID { return id.Owned(id.PaymentCommand, c.Key()) }

// OwnedBy returns false: what staff does is not shown to customers.
func (*Command) OwnedBy(uuid.UUID) bool { return false }

// LineQuantities are the lines that were refunded, with IDs of the graph.
func (c *Command) LineQuantities() []LineQuantity {
	lines := make([]LineQuantity, len(c.Lines))
	for i, l := range c.Lines {
		lines[i] = LineQuantity{id.Owned(id.OrderLine, id.Key{Owner: c.Owner, ID: l.OrderLineID}), l.Quantity}
	}
	return lines
}

// Amount is how much it is about.
func (c *Command) Amount() money.Money { return money.New(c.AmountMinor, c.Currency) }

const commandColumns = `c.owner_id AS owner, c.id, c.payment_id, c.order_id, c.kind, c.currency, c.amount AS amount_minor, c.final,
	c.status, c.reason, c.note, c.lines, c.failure, c.actor_id, c.created_at, c.finished_at`

var (
	commandsByID = postgres.ColumnOf("payments.commands", "id")

	commandsByKey = postgres.ByKeys{Name: "payments.commands_by_key", From: "FROM payments.commands c",
		Owner: "c.owner_id", Column: "c.id", Reads: commandsByID}
	commandsByPayment = postgres.ByKeys{Name: "payments.commands_by_payment", From: "FROM payments.commands c",
		Owner: "c.owner_id", Column: "c.payment_id", Tail: " ORDER BY c.payment_id, c.id",
		Reads: postgres.ColumnOf("payments.commands", "payment_id")}
)

// Commands returns the commands with these keys, in any order; for staff.
func (s *Service) Commands(ctx context.Context, keys []id.Key) ([]*Command, error) {
	return s.commandsBy(ctx, commandsByKey, keys)
}

// CommandsOf returns the commands of payments, by payment, the oldest first; for staff.
func (s *Service) CommandsOf(ctx context.Context, payments []id.Key) ([]*Command, error) {
	return s.commandsBy(ctx, commandsByPayment, payments)
}

func (s *Service) commandsBy(ctx context.Context, by postgres.ByKeys, keys []id.Key) ([]*Command, error) {
	reading := s.tables.commands.In(ctx)
	return postgres.SelectByKeys(ctx, s.db, by, reading.SQL, reading.Scan, keys, func(uuid.UUID) bool { return auth.Staff(ctx) })
}

// commandsWhere reads commands of a payment for the service itself.
func (s *Service) commandsWhere(ctx context.Context, q postgres.Querier, payment id.Key, condition string, args ...any) ([]*Command, error) {
	reading := s.tables.commands.In(ctx)
	return postgres.Select(ctx, q, postgres.Stmt{Name: "payments.commands_of_one", SQL: "SELECT " + reading.SQL +
		" FROM payments.commands c WHERE c.owner_id = $1 AND c.payment_id = $2" + condition + " ORDER BY c.id",
		Reads: postgres.All("payments.commands")}, reading.Scan, append([]any{payment.Owner, payment.ID}, args...)...)
}

// LineQuantity is how many of a line of the order.
type LineQuantity struct {
	OrderLineID id.ID
	Quantity    int
}

// CaptureInput is what is to be collected.
type CaptureInput struct {
	PaymentID id.ID
	Amount    *money.Decimal // nil: all that is left
}

// VoidInput is the payment whose promise is given back.
type VoidInput struct{ PaymentID id.ID }

// RefundInput is what is to be paid back: an amount, or lines of the order.
type RefundInput struct {
	PaymentID id.ID
	Amount    *money.Decimal
	Lines     []LineQuantity
	Reason    RefundReason
	Note      *string
}

// CommandPayload is the outcome of a command: what was commanded, where it is by now, or what is wrong with it.
type CommandPayload struct {
	PaymentKey *id.Key
	CommandKey *id.Key
	UserErrors []fault.Problem
}

// The payloads of the mutations, which the graph shows alike.
type (
	CapturePayload CommandPayload
	VoidPayload    CommandPayload
	RefundPayload  CommandPayload
)

// capturable is what can still be captured, as far as is known: less what others have captured, or we have commanded.
func (a *account) capturable(t sums) int64 {
	return max(0, min(t.Authorized-t.Voided-max(t.Captured, a.CaptureCommanded), a.AmountMinor-a.CaptureCommanded))
}

// refundable is what can still be refunded, likewise.
func (a *account) refundable(t sums) int64 {
	return max(0, t.Captured-max(t.Refunded, a.RefundCommanded))
}

// Capture collects what was promised, or a part of it, for managers and admins. The provider is asked at once; if it does
// not answer, the command stays pending and a job goes on.
func (s *Service) Capture(ctx context.Context, in CaptureInput, key string) (*CapturePayload, error) {
	if err := mayCommand(auth.From(ctx)); err != nil {
		return nil, err
	}
	// Before the transaction, as another service is asked. That an order was placed stays true.
	placed, err := s.placed(ctx, in.PaymentID)
	if err != nil {
		return nil, err
	}
	payload, err := s.command(ctx, idempotency.Request{Key: key, Verb: "paymentCapture", Input: in}, in.PaymentID,
		func(a *account, t sums, before []*Command) (*Command, *fault.Problem) {
			c := &Command{Kind: CommandCapture, AmountMinor: a.capturable(t)}
			if in.Amount != nil {
				minor, err := in.Amount.Minor(a.Currency)
				if err != nil || minor <= 0 {
					return nil, problem(fault.ProblemInvalid, "amount", "this is no amount in %s", a.Currency)
				}
				c.AmountMinor = minor
			}
			if !placed {
				return nil, problem(fault.ProblemStale, "paymentId", "the order is not placed yet, and may come to nothing")
			}
			return c, s.mayCapture(a, t, before, c)
		})
	return (*CapturePayload)(payload), err
}

// placed reports whether the order of a payment was placed.
func (s *Service) placed(ctx context.Context, payment id.ID) (bool, error) {
	if s.cfg.Placed == nil || payment.Kind != id.Payment {
		return true, nil
	}
	a, found, err := s.account(ctx, s.db, payment.OwnedKey())
	if err != nil || !found {
		return true, err
	}
	return s.cfg.Placed(ctx, a.OrderKey())
}

// mayCapture says why not. It decides whether the capture is the last one.
func (s *Service) mayCapture(a *account, t sums, before []*Command, c *Command) *fault.Problem {
	captures, voids := 0, 0
	for _, b := range before {
		switch {
		case b.Status == CommandFailed:
		case b.Kind == CommandCapture:
			captures++
		case b.Kind == CommandVoid:
			voids++
		}
	}
	left, can := a.capturable(t), s.capabilities(a)
	switch {
	case a.Closed:
		return problem(fault.ProblemStale, "paymentId", "the order was given up: nothing is collected for it any more")
	case voids > 0:
		return problem(fault.ProblemStale, "paymentId", "the promise was given back")
	case left == 0:
		return problem(fault.ProblemStale, "paymentId", "there is nothing left to collect")
	case c.AmountMinor > left:
		return problem(fault.ProblemInvalid, "amount", "%s can be collected", money.New(left, a.Currency))
	case captures > 0 && !(can.MultiCapture && a.Multi):
		return problem(fault.ProblemStale, "paymentId", "the provider collects once for a payment")
	case c.AmountMinor < left && !can.PartialCapture:
		return problem(fault.ProblemInvalid, "amount", "the provider collects all or nothing, which is %s", money.New(left, a.Currency))
	}
	c.Final = c.AmountMinor == left || !(can.MultiCapture && a.Multi)
	return nil
}

func (s *Service) capabilities(a *account) provider.Capabilities {
	if p := s.cfg.Providers[a.Provider]; p != nil {
		return p.Capabilities()
	}
	return provider.Capabilities{}
}

// Void gives back what was promised and not collected, or cancels what is under way, for managers and admins. The provider
// is asked as by Capture.
func (s *Service) Void(ctx context.Context, in VoidInput, key string) (*VoidPayload, error) {
	payload, err := s.command(ctx, idempotency.Request{Key: key, Verb: "paymentVoid", Input: in}, in.PaymentID,
		func(a *account, t sums, before []*Command) (*Command, *fault.Problem) {
			for _, b := range before {
				if b.Status == CommandPending && b.Kind != CommandRefund {
					return nil, problem(fault.ProblemStale, "paymentId", "another command is under way")
				}
			}
			switch {
			case !a.Status.live() && a.capturable(t) == 0:
				return nil, problem(fault.ProblemStale, "paymentId", "there is nothing to give back")
			case a.Status == StatusPending && a.AskedAt == nil:
				return nil, problem(fault.ProblemStale, "paymentId", "the provider was not asked yet")
			}
			return &Command{Kind: CommandVoid, AmountMinor: max(0, t.Authorized-t.Voided-t.Captured)}, nil
		})
	return (*VoidPayload)(payload), err
}

// Refund pays back what was collected, or a part of it, for managers and admins. The provider is asked as by Capture; a
// refund can stay pending for days.
func (s *Service) Refund(ctx context.Context, in RefundInput, key string) (*RefundPayload, error) {
	if err := mayCommand(auth.From(ctx)); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		payload, err := s.refund(ctx, in, key)
		switch {
		case !errors.Is(err, errLinesMoved):
			return (*RefundPayload)(payload), err
		case try == 3:
			return nil, fault.Wrap(fault.InProgress, err, "lines of the order are being paid back; ask again")
		}
	}
}

// errLinesMoved is why a refund is not commanded when lines were refunded after it was asked what they are worth.
var errLinesMoved = errors.New("lines were paid back meanwhile")

func (s *Service) refund(ctx context.Context, in RefundInput, key string) (*CommandPayload, error) {
	var lines []RefundLine
	var worth int64
	var known []uuid.UUID
	var wrong *fault.Problem
	switch {
	case (in.Amount == nil) == (len(in.Lines) == 0):
		wrong = problem(fault.ProblemInvalid, "amount", "give an amount or lines")
	case in.Note != nil && utf8.RuneCountInString(*in.Note) > maxNote:
		wrong = problem(fault.ProblemInvalid, "note", "a note has at most %d characters", maxNote)
	case len(in.Lines) > 0:
		var err error
		if lines, worth, known, wrong, err = s.worth(ctx, in); err != nil {
			return nil, err
		}
	}
	payload, err := s.command(ctx, idempotency.Request{Key: key, Verb: "paymentRefund", Input: in}, in.PaymentID,
		func(a *account, t sums, before []*Command) (*Command, *fault.Problem) {
			if in.Amount == nil && wrong == nil && !slices.Equal(known, lineRefunds(before, a.ID)) {
				return nil, nil
			}
			c := &Command{Kind: CommandRefund, AmountMinor: worth, Lines: lines, Reason: &in.Reason, Note: trimmed(in.Note)}
			if in.Amount != nil {
				var err error
				if c.AmountMinor, err = in.Amount.Minor(a.Currency); err != nil {
					return nil, problem(fault.ProblemInvalid, "amount", "this is no amount in %s", a.Currency)
				}
			}
			left, field := a.refundable(t), "amount"
			if in.Amount == nil {
				field = "lines"
			}
			switch {
			case wrong != nil:
				return nil, wrong
			case c.AmountMinor <= 0:
				return nil, problem(fault.ProblemInvalid, field, "there is nothing to pay back")
			case c.AmountMinor > left:
				return nil, problem(fault.ProblemInvalid, field, "%s can be paid back", money.New(left, a.Currency))
			case c.AmountMinor < t.Captured && !s.capabilities(a).PartialRefund:
				return nil, problem(fault.ProblemInvalid, field, "the provider pays back all or nothing, which is %s", money.New(t.Captured, a.Currency))
			}
			return c, nil
		})
	return payload, err
}

// lineRefunds are the refunds by lines of a payment that have not failed.
func lineRefunds(of []*Command, payment uuid.UUID) (refunds []uuid.UUID) {
	for _, c := range of {
		if c.PaymentID == payment && c.paysLinesBack() {
			refunds = append(refunds, c.ID)
		}
	}
	return refunds
}

func (c *Command) paysLinesBack() bool { return c.Status != CommandFailed && len(c.Lines) > 0 }

// worth asks what lines are worth, before the transaction: what can be mended is a problem, which a request that was
// answered before does not meet. What was refunded of them, by any payment of the order, is worth nothing any more; known are those
// refunds of this payment.
func (s *Service) worth(ctx context.Context, in RefundInput) (
	lines []RefundLine, worth int64, known []uuid.UUID, wrong *fault.Problem, err error,
) {
	if s.cfg.LineAmounts == nil {
		return nil, 0, nil, problem(fault.ProblemInvalid, "lines", "refunds are by amount here"), nil
	}
	a, found, err := s.account(ctx, s.db, in.PaymentID.OwnedKey())
	if err != nil || !found {
		return nil, 0, nil, nil, err
	}
	if len(in.Lines) > maxRefundLines {
		return nil, 0, nil, problem(fault.ProblemInvalid, "lines", "at most %d lines at a time", maxRefundLines), nil
	}
	for _, l := range in.Lines {
		if l.OrderLineID.Kind != id.OrderLine || l.OrderLineID.Owner != a.Owner || l.Quantity <= 0 {
			return nil, 0, nil, problem(fault.ProblemInvalid, "lines", "these are not lines of the order, or none of them"), nil
		}
		lines = append(lines, RefundLine{OrderLineID: l.OrderLineID.Key, Quantity: l.Quantity})
	}
	reading := s.tables.commands.Whole(ctx)
	commands, err := postgres.Select(ctx, s.db, postgres.Stmt{Name: "payments.refunds_of_order", SQL: "SELECT " + reading.SQL +
		" FROM payments.commands c WHERE c.owner_id = $1 AND c.order_id = $2 AND c.kind = 'REFUND' ORDER BY c.id",
		Reads: postgres.All("payments.commands")}, reading.Scan, a.Owner, a.OrderID)
	if err != nil {
		return nil, 0, nil, nil, err
	}
	var before []LineQuantity
	for _, c := range commands {
		if c.paysLinesBack() {
			before = append(before, c.LineQuantities()...)
		}
	}
	known = lineRefunds(commands, a.ID)
	worth, err = s.cfg.LineAmounts(ctx, a.OrderKey(), in.Lines, before)
	var coded *fault.Error
	if errors.As(err, &coded) && coded.Code != fault.Internal && coded.Code != fault.Timeout {
		return nil, 0, nil, problem(fault.ProblemInvalid, "lines", "%s", coded.Message), nil
	}
	return lines, worth, known, nil, err
}

func trimmed(note *string) *string {
	if note == nil {
		return nil
	}
	return nonEmpty(strings.TrimSpace(*note))
}

func problem(code fault.ProblemCode, field, format string, args ...any) *fault.Problem {
	return new(fault.NewProblem(code, fmt.Sprintf(format, args...), field))
}

func mayCommand(viewer auth.Actor) error {
	switch {
	case !viewer.SignedIn():
		return fault.New(fault.Unauthenticated, "sign in first")
	case !viewer.Has(auth.RoleManager, auth.RoleAdmin):
		return fault.New(fault.Forbidden, "your roles do not allow you to move money")
	}
	return nil
}

// outcome is what an idempotency key remembers of a command.
type commandOutcome struct {
	Payment *id.Key         `json:"payment,omitempty"`
	Command *id.Key         `json:"command,omitempty"`
	Errors  []fault.Problem `json:"errors"`
}

// command writes down what decide makes of a payment, once for a key, and drives it. Decide is called with the payment
// locked.
func (s *Service) command(
	ctx context.Context, r idempotency.Request, paymentID id.ID, decide func(a *account, t sums, before []*Command) (*Command, *fault.Problem),
) (*CommandPayload, error) {
	viewer := auth.From(ctx)
	if err := mayCommand(viewer); err != nil {
		return nil, err
	}
	r.Actor = viewer.ID
	point := strings.ToLower(strings.TrimPrefix(r.Verb, "payment"))
	out, err := idempotency.Do(ctx, s.db, keys, r, func(ctx context.Context, tx *postgres.Tx) (out commandOutcome, err error) {
		found := paymentID.Kind == id.Payment
		if found {
			if _, found, err = s.account(ctx, tx, paymentID.OwnedKey()); err != nil {
				return out, err
			}
		}
		if !found {
			out.Errors = []fault.Problem{*problem(fault.ProblemInvalid, "paymentId", "there is no such payment")}
			return out, nil
		}
		out = commandOutcome{Payment: new(paymentID.OwnedKey()), Errors: []fault.Problem{}}
		c, wrong, err := s.issue(ctx, tx, paymentID.OwnedKey(), &viewer.ID, func(a *account, t sums, before []*Command) (*Command, *fault.Problem) {
			if s.cfg.Providers[a.Provider] == nil {
				return nil, problem(fault.ProblemInvalid, "paymentId", "there is no provider %q here", a.Provider)
			}
			return decide(a, t, before)
		})
		switch {
		case wrong != nil:
			out.Errors = []fault.Problem{*wrong}
		case err == nil && c == nil:
			return out, errLinesMoved
		case err == nil:
			out.Command = new(c.Key())
			err = s.cfg.Jobs.Audit(ctx, tx, audit.Of(ctx, requested[c.Kind], paymentID, c.told())...)
		}
		s.cfg.At(point + "/committing")
		return out, err
	})
	if err != nil {
		return nil, err
	}
	s.cfg.At(point + "/committed")
	if out.Command != nil {
		ctx, cancel := withTimeToAnswer(ctx)
		defer cancel()
		if _, err := s.drive(ctx, *out.Command); err != nil {
			s.cfg.Log.WarnContext(ctx, "a provider did not answer a command; a job goes on", "command", out.Command.ID, "error", err)
		}
	}
	return &CommandPayload{PaymentKey: out.Payment, CommandKey: out.Command, UserErrors: out.Errors}, nil
}

// requested are the actions by which the audit log knows commands.
var requested = map[CommandKind]audit.Action{CommandCapture: audit.PaymentCaptureRequested, CommandVoid: audit.PaymentVoidRequested,
	CommandRefund: audit.PaymentRefundRequested}

// told is what the audit log tells of a command. What becomes of it is told by the command itself.
func (c *Command) told() audit.Details {
	d := audit.Details{"command": c.GlobalID().String(), "order": id.Owned(id.Order, id.Key{Owner: c.Owner, ID: c.OrderID}).String(),
		"amount": c.Amount().String()}
	if c.Reason != nil {
		d["reason"] = *c.Reason
	}
	return d
}

// timeToAnswer is what is kept of a request's time to say that the provider has not answered.
const timeToAnswer = 2 * time.Second

func withTimeToAnswer(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-timeToAnswer))
}

// issue writes a command down, with the job that goes on with it, and takes its amount from what is left.
func (s *Service) issue(
	ctx context.Context, tx *postgres.Tx, payment id.Key, actor *uuid.UUID, decide func(a *account, t sums, before []*Command) (*Command, *fault.Problem),
) (*Command, *fault.Problem, error) {
	a, err := s.lock(ctx, tx, payment)
	if err != nil {
		return nil, nil, err
	}
	l, err := readLedger(ctx, tx, payment)
	if err != nil {
		return nil, nil, err
	}
	before, err := s.commandsWhere(ctx, tx, payment, "")
	if err != nil {
		return nil, nil, err
	}
	c, wrong := decide(a, l.totals(a.Currency), before)
	if wrong != nil || c == nil {
		return nil, wrong, nil
	}
	c.Owner, c.ID, c.PaymentID, c.OrderID, c.Currency, c.Status, c.ActorID = a.Owner, id.New(), a.ID, a.OrderID, a.Currency, CommandPending, actor
	switch c.Kind {
	case CommandCapture:
		a.CaptureCommanded += c.AmountMinor
	case CommandRefund:
		a.RefundCommanded += c.AmountMinor
	}
	if err := s.save(ctx, tx, a); err != nil {
		return nil, nil, err
	}
	if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "payments.insert_command", SQL: `INSERT INTO payments.commands (owner_id, id,
		payment_id, order_id, kind, currency, amount, final, reason, note, lines, actor_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`},
		c.Owner, c.ID, c.PaymentID, c.OrderID, c.Kind, c.Currency, c.AmountMinor, c.Final, c.Reason, c.Note, c.Lines, c.ActorID); err != nil {
		return nil, nil, err
	}
	return c, nil, s.later(ctx, tx, commandArgs{c.Owner, c.ID}, time.Now().Add(s.cfg.TakeOver))
}

// drive asks the provider for what was commanded, unless that is done. An error means that nothing is known yet: the same
// call is made again later. Several may drive a command at once.
func (s *Service) drive(ctx context.Context, key id.Key) (CommandStatus, error) {
	c, found, err := s.commandOf(ctx, s.db, key)
	if err != nil || !found {
		return CommandFailed, err
	}
	if c.Status != CommandPending {
		return c.Status, nil
	}
	a, _, err := s.account(ctx, s.db, c.PaymentKey())
	if err != nil {
		return c.Status, err
	}
	if a.Reference == nil && a.Status == StatusPending { // the provider has to know what is meant
		if a, err = s.settle(ctx, a); err != nil {
			return c.Status, err
		}
	}
	if a.Reference == nil {
		return s.end(ctx, c, CommandFailed, "the provider does not know the payment")
	}
	if time.Since(c.CreatedAt) > keysKept {
		if status, done, err := s.recall(ctx, a, c); done || err != nil {
			return status, err
		}
	}
	st, err := s.call(ctx, a.Provider, strings.ToLower(string(c.Kind)), func(ctx context.Context, p provider.Provider) (provider.State, error) {
		switch c.Kind {
		case CommandCapture:
			return p.Capture(ctx, provider.CaptureRequest{Reference: *a.Reference, CommandID: c.ID, Amount: c.AmountMinor, Currency: c.Currency, Final: c.Final})
		case CommandVoid:
			return p.Void(ctx, provider.VoidRequest{Reference: *a.Reference, CommandID: c.ID})
		default:
			reason := RefundOther
			if c.Reason != nil {
				reason = *c.Reason
			}
			return p.Refund(ctx, provider.RefundRequest{Reference: *a.Reference, CommandID: c.ID, Amount: c.AmountMinor, Currency: c.Currency, Reason: string(reason)})
		}
	})
	switch {
	case refused(err):
		s.cfg.Log.WarnContext(ctx, "a provider refuses a command", "command", c.ID, "kind", c.Kind, "error", err)
		return s.end(ctx, c, CommandFailed, refusal(err))
	case err != nil:
		return c.Status, err
	}
	becomes, why := CommandSucceeded, ""
	switch {
	case c.Kind == CommandRefund: // apply goes by the refund in the state
		becomes = CommandPending
	case c.Kind == CommandVoid && (st.Capturable() > 0 || st.Status == provider.Processing || st.Status == provider.ActionRequired):
		becomes = CommandPending
	case c.Kind == CommandVoid && st.Captured > 0 && st.Voided == 0:
		becomes, why = CommandFailed, tookAll
	}
	_, _, err = s.apply(ctx, a.Key(), st, func(ctx context.Context, tx *postgres.Tx, a *account, _ bool) error {
		return s.finish(ctx, tx, a, c.ID, becomes, why)
	})
	if err != nil {
		return c.Status, err
	}
	return s.statusOf(ctx, key)
}

// recall looks whether the provider has done, or accepted, a command that is so old that its key may be forgotten: the same
// call would move the money a second time.
func (s *Service) recall(ctx context.Context, a *account, c *Command) (status CommandStatus, done bool, err error) {
	st, err := s.known(ctx, a)
	if errors.Is(err, errUnheard) { // the call says so, too
		return c.Status, false, nil
	} else if err != nil {
		return c.Status, false, err
	}
	_, _, err = s.apply(ctx, a.Key(), st, func(ctx context.Context, tx *postgres.Tx, a *account, _ bool) error {
		switch c.Kind {
		case CommandRefund: // apply has gone by the refund in the state
			done = slices.ContainsFunc(st.Refunds, func(r provider.Refund) bool { return r.CommandID == c.ID })
		case CommandCapture:
			// Captures are sums without names: it is this one if no other command accounts for as much.
			others, err := s.commandsWhere(ctx, tx, a.Key(), " AND c.kind = 'CAPTURE' AND c.status = 'SUCCEEDED' AND c.id <> $3", c.ID)
			if err != nil {
				return err
			}
			unaccounted := st.Captured
			for _, o := range others {
				unaccounted -= o.AmountMinor
			}
			if done = unaccounted >= c.AmountMinor; done {
				return s.finish(ctx, tx, a, c.ID, CommandSucceeded, "")
			}
		}
		return nil
	})
	if err != nil || !done {
		return c.Status, false, err
	}
	status, err = s.statusOf(ctx, c.Key())
	return status, true, err
}

// pursue drives a command that was begun before. A refund that the provider has accepted is asked after: the same call may
// be answered as it was at first.
func (s *Service) pursue(ctx context.Context, key id.Key) (CommandStatus, error) {
	status, err := s.drive(ctx, key)
	if err != nil || status != CommandPending {
		return status, err
	}
	c, _, err := s.commandOf(ctx, s.db, key)
	if err != nil {
		return status, err
	}
	a, _, err := s.account(ctx, s.db, c.PaymentKey())
	if err == nil {
		_, err = s.look(ctx, a)
	}
	if err != nil {
		return status, err
	}
	return s.statusOf(ctx, key)
}

func (s *Service) statusOf(ctx context.Context, key id.Key) (CommandStatus, error) {
	c, found, err := s.commandOf(ctx, s.db, key)
	if err != nil || !found {
		return CommandPending, err
	}
	return c.Status, nil
}

// refusal is what staff is told of a provider's refusal: its code, which holds nothing of the customer.
func refusal(err error) string {
	var e *provider.Error
	if errors.As(err, &e) {
		return string(e.Code)
	}
	return "refused"
}

func (s *Service) commandOf(ctx context.Context, q postgres.Querier, key id.Key) (*Command, bool, error) {
	reading := s.tables.commands.In(ctx)
	return postgres.First(ctx, q, postgres.Stmt{Name: "payments.command", SQL: "SELECT " + reading.SQL +
		" FROM payments.commands c WHERE c.owner_id = $1 AND c.id = $2", Reads: commandsByID.Of(key.ID)},
		reading.Scan, key.Owner, key.ID)
}

// end finishes a command that brought no state.
func (s *Service) end(ctx context.Context, c *Command, status CommandStatus, why string) (CommandStatus, error) {
	err := s.inTx(ctx, "end", func(ctx context.Context, tx *postgres.Tx) error {
		a, err := s.lock(ctx, tx, c.PaymentKey())
		if err != nil {
			return err
		}
		if err := s.finish(ctx, tx, a, c.ID, status, why); err != nil {
			return err
		}
		return s.save(ctx, tx, a)
	})
	if err != nil {
		return c.Status, err
	}
	return status, nil
}

// finish moves a command of a locked payment on, and gives back what has failed. A command that has failed stays so.
func (s *Service) finish(ctx context.Context, tx *postgres.Tx, a *account, commandID uuid.UUID, status CommandStatus, why string) error {
	c, found, err := s.commandOf(ctx, tx, id.Key{Owner: a.Owner, ID: commandID})
	if err != nil || !found || c.PaymentID != a.ID || c.Status == status || status == CommandPending || c.Status == CommandFailed {
		return err
	}
	if status == CommandFailed {
		switch c.Kind {
		case CommandCapture:
			a.CaptureCommanded -= c.AmountMinor
		case CommandRefund:
			a.RefundCommanded -= c.AmountMinor
		}
	}
	_, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "payments.finish_command",
		SQL: "UPDATE payments.commands SET status = $3, failure = $4, finished_at = now() WHERE owner_id = $1 AND id = $2"},
		a.Owner, commandID, status, nonEmpty(why))
	return err
}

// finishRefunds moves the commands on whose refunds are in a state.
func (s *Service) finishRefunds(ctx context.Context, tx *postgres.Tx, a *account, refunds []provider.Refund) error {
	for _, r := range refunds {
		status, why := CommandPending, ""
		switch r.Status {
		case provider.RefundSucceeded:
			status = CommandSucceeded
		case provider.RefundFailed:
			status, why = CommandFailed, "the refund failed"
		}
		if r.CommandID == uuid.Nil || status == CommandPending {
			continue
		}
		if err := s.finish(ctx, tx, a, r.CommandID, status, why); err != nil {
			return err
		}
	}
	return nil
}

// tookAll is why a void failed that came too late.
const tookAll = "it was collected already"
