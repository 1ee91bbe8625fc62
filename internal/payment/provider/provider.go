// Package provider is what the shop asks of those who move money. A provider is a process of somebody else's: every call
// can be lost, come twice or answer late, so every call that changes something carries a key by which the provider does
// it once, and every answer is the whole state of a payment, never a difference.
package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"

	"emporium/internal/money"
)

// Provider moves money. All methods can be called by many at once. Amounts are minor units of the currency as package
// money counts them, whatever the provider counts by.
//
// All errors but those of ParseWebhook are an *Error.
type Provider interface {
	// Name is [a-z0-9_]+. It is stored with payments and never changes.
	Name() string

	Capabilities() Capabilities

	// Authorize promises an amount without moving it. The payment's ID is the key: called again it answers with the same
	// payment. A decline is a State that FAILED, no error.
	Authorize(ctx context.Context, r AuthorizeRequest) (State, error)

	// Capture moves what was authorised, or a part of it. The command's ID is the key.
	Capture(ctx context.Context, r CaptureRequest) (State, error)

	// Void gives back what is authorised and not captured, or cancels what is under way. What is voided or has failed
	// already is no error, and what turns out to be captured is none either: the State says so.
	Void(ctx context.Context, r VoidRequest) (State, error)

	// Refund gives back what was captured, or a part of it. The command's ID is the key; the State has a Refund that bears
	// it, which may have FAILED, or be PENDING until a webhook or Find tells more.
	Refund(ctx context.Context, r RefundRequest) (State, error)

	// Find returns what the provider knows by its reference or, when that is empty because the answer was lost, by our ID.
	// It is false when the provider never heard of it. A request that is still on its way may be heard of later: when
	// Authorize ended with an unknown outcome, calling it again is the only way to be sure.
	Find(ctx context.Context, paymentID uuid.UUID, reference string) (State, bool, error)

	// Since returns the payments that began at from or later, in pages: the first by an empty cursor, the others by the
	// next of the page before. An empty next is the end. A payment may be on two pages.
	Since(ctx context.Context, from time.Time, cursor string) (states []State, next string, err error)

	// ParseWebhook verifies that the provider sent this, not more than 5 minutes ago, and then reads it; it asks nobody. The
	// error is ErrSignature when it is not the provider's, and another when it is and cannot be read.
	ParseWebhook(header http.Header, body []byte, now time.Time) (Event, error)
}

// Capabilities are what a provider can do in general.
type Capabilities struct {
	PartialCapture bool // less than what was authorised
	MultiCapture   bool // several times, for payments whose State says so
	PartialRefund  bool
}

// AuthorizeRequest asks for money.
type AuthorizeRequest struct {
	PaymentID   uuid.UUID      `json:"payment_id"` // the idempotency key
	Amount      int64          `json:"amount"`
	Currency    money.Currency `json:"currency"`
	Method      string         `json:"method"`      // the provider's token for the customer's card or account, which its own page made
	ReturnURL   string         `json:"return_url"`  // where the customer comes back to when they had to go somewhere
	OrderNumber string         `json:"order"`       // shown to staff at the provider's
	Description string         `json:"description"` // shown to the customer
}

// CaptureRequest moves money that was promised.
type CaptureRequest struct {
	Reference string         `json:"-"`
	CommandID uuid.UUID      `json:"command_id"` // the idempotency key
	Amount    int64          `json:"amount"`
	Currency  money.Currency `json:"currency"` // of the payment
	Final     bool           `json:"final"`    // release the rest
}

// VoidRequest gives up what was promised.
type VoidRequest struct {
	Reference string    `json:"-"`
	CommandID uuid.UUID `json:"command_id"` // the idempotency key
}

// RefundRequest gives money back.
type RefundRequest struct {
	Reference string         `json:"-"`
	CommandID uuid.UUID      `json:"command_id"` // the idempotency key
	Amount    int64          `json:"amount"`
	Currency  money.Currency `json:"currency"` // of the payment
	Reason    string         `json:"reason"`   // one of those that providers care for, or any text, for staff
}

// State is all that a provider knows of one payment. Amounts are cumulative and only ever grow, so states can be applied
// in any order and any number of times: of each amount the largest is the newest, of two statuses the one of the higher
// Rank, of a refund's likewise.
type State struct {
	Reference    string         `json:"reference"`  // the provider's own ID of the payment
	PaymentID    uuid.UUID      `json:"payment_id"` // ours, as we gave it; zero if the provider does not know it
	Status       Status         `json:"status"`
	Method       Method         `json:"method"`
	Currency     money.Currency `json:"currency"`
	Amount       int64          `json:"amount"`        // asked for
	Authorized   int64          `json:"authorized"`    // ever promised, captured or voided since or not
	Captured     int64          `json:"captured"`      // refunded since or not
	Voided       int64          `json:"voided"`        // authorised and given up: by Void, by a final capture, by time
	Refunded     int64          `json:"refunded"`      // the sum of the refunds that succeeded
	MultiCapture bool           `json:"multi_capture"` // after a capture that is not final there can be another
	Refunds      []Refund       `json:"refunds"`
	Failure      *Failure       `json:"failure"` // why it FAILED
	Action       *Action        `json:"action"`  // what is to be done while ACTION_REQUIRED
	At           time.Time      `json:"at"`      // of the state, by the provider's clock; it orders nothing
}

// Capturable is how much is authorised, and neither captured nor voided.
func (s *State) Capturable() int64 { return s.Authorized - s.Captured - s.Voided }

// Status tells where a payment is. That it was captured is told by the amount.
type Status string

const (
	Processing     Status = "PROCESSING"
	ActionRequired Status = "ACTION_REQUIRED" // the customer has to do something
	Failed         Status = "FAILED"
	Authorized     Status = "AUTHORIZED" // and it stays so when all of it is captured
	Voided         Status = "VOIDED"     // nothing was captured and nothing will be
)

// Rank orders statuses: of two states of a payment the one with the higher rank is the later one, and of equal ones
// either. What failed can still be authorised, where the provider lets the customer try another card.
func (s Status) Rank() int {
	switch s {
	case ActionRequired:
		return 1
	case Failed:
		return 2
	case Authorized:
		return 3
	case Voided:
		return 4
	default:
		return 0
	}
}

// Method is how the customer pays, as far as may be shown.
type Method struct {
	Kind     string  `json:"kind"` // such as "card"; empty while unknown
	Brand    *string `json:"brand"`
	LastFour *string `json:"last_four"`
}

// Refund is money on its way back.
type Refund struct {
	ID        string       `json:"id"`         // the provider's
	CommandID uuid.UUID    `json:"command_id"` // ours; zero when staff refunded at the provider's
	Amount    int64        `json:"amount"`
	Status    RefundStatus `json:"status"`
	Reason    string       `json:"reason"`
	At        time.Time    `json:"at"` // when it began
}

// Reasons of refunds that providers care for.
const (
	ReasonCustomerRequest = "CUSTOMER_REQUEST"
	ReasonDuplicate       = "DUPLICATE"
	ReasonFraud           = "FRAUD"
)

// RefundStatus tells where a refund is.
type RefundStatus string

const (
	RefundPending   RefundStatus = "PENDING"
	RefundSucceeded RefundStatus = "SUCCEEDED"
	RefundFailed    RefundStatus = "FAILED"
)

// Rank orders statuses as Status.Rank does. A bank can send back what succeeded, so a failure is later than a success;
// it is the one case in which what was Refunded shrinks.
func (s RefundStatus) Rank() int {
	switch s {
	case RefundSucceeded:
		return 1
	case RefundFailed:
		return 2
	default:
		return 0
	}
}

// Failure tells why a payment failed.
type Failure struct {
	Code         FailureCode `json:"code"`
	ProviderCode string      `json:"provider_code"` // the provider's own, for staff
	Message      string      `json:"message"`       // can be shown to the customer
}

// FailureCode is what customers need to tell apart. That a card is stolen is none of it: whoever holds it must not learn.
type FailureCode string

const (
	Declined             FailureCode = "DECLINED"
	InsufficientFunds    FailureCode = "INSUFFICIENT_FUNDS"
	ExpiredCard          FailureCode = "EXPIRED_CARD"
	IncorrectDetails     FailureCode = "INCORRECT_DETAILS" // a number, a check digit
	AuthenticationFailed FailureCode = "AUTHENTICATION_FAILED"
	NotSupported         FailureCode = "NOT_SUPPORTED" // the card cannot pay this, or in this currency
	ProcessingError      FailureCode = "PROCESSING_ERROR"
)

// Message is what a customer is told of a failure.
func (c FailureCode) Message() string {
	switch c {
	case InsufficientFunds:
		return "There is not enough money on the card."
	case ExpiredCard:
		return "The card has expired."
	case IncorrectDetails:
		return "The details of the card are not right."
	case AuthenticationFailed:
		return "The payment was not confirmed."
	case NotSupported:
		return "The card cannot be used for this payment."
	case ProcessingError:
		return "The card could not be charged; try again later."
	default:
		return "The card was declined."
	}
}

// Action is what the customer has to do: to go to the URL, or to let the provider's script in the page do it with the
// secret. One of the two may be empty.
type Action struct {
	URL          string `json:"url"`
	ClientSecret string `json:"client_secret"`
}

// Event is a webhook.
type Event struct {
	ID       string // the provider's; an event that is sent again has the same
	Type     string // the provider's own
	At       time.Time
	Relevant bool // it is about a payment; of others State is empty
	// Incomplete: State has nothing but Reference or PaymentID, the message does not tell the rest. Find does.
	Incomplete bool
	State      State
}

// ErrSignature says that a webhook is not the provider's, or too old.
var ErrSignature = errors.New("the webhook's signature is missing, wrong or too old")

// Error is a call that brought no State.
type Error struct {
	Code      ErrorCode
	Temporary bool // worth another try with the same key
	// Unknown: the provider may have done it, or may still do it. Only the same call again, or Find, can tell.
	Unknown bool
	Err     error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Code)
	}
	return fmt.Sprintf("%s: %v", e.Code, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Lost is the error of a call that got no answer, by what the HTTP client says.
func Lost(err error) *Error {
	e := &Error{Code: CodeNetwork, Temporary: true, Unknown: true, Err: err}
	var dial *net.OpError
	var slow interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.Canceled):
		e.Code = CodeCanceled
	case errors.As(err, &dial) && dial.Op == "dial":
		e.Unknown = false // nothing was sent
	case errors.As(err, &slow) && slow.Timeout():
		e.Code = CodeTimeout
	}
	return e
}

// Refused is the error of an answer with a status of HTTP that is not 2xx.
func Refused(status int, err error) *Error {
	e := &Error{Code: CodeBadRequest, Err: err}
	switch {
	case status >= 500:
		e.Code, e.Temporary, e.Unknown = CodeUnavailable, true, true
	case status == http.StatusTooManyRequests:
		e.Code, e.Temporary = CodeRateLimited, true
	case status == http.StatusConflict:
		e.Code, e.Temporary, e.Unknown = CodeInProgress, true, true
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		e.Code = CodeCredentials
	case status == http.StatusNotFound:
		e.Code = CodeNotFound
	}
	return e
}

// IsTemporary reports whether another try with the same key may succeed.
func IsTemporary(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Temporary
}

// IsUnknown reports whether the provider may have done what was asked for. Of an error that is no *Error, nothing is known.
func IsUnknown(err error) bool {
	var e *Error
	return err != nil && (!errors.As(err, &e) || e.Unknown)
}

// CodeOf returns the code of an error, empty when it is no *Error.
func CodeOf(err error) ErrorCode {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

// ErrorCode says what went wrong.
type ErrorCode string

// Temporary codes. Of the first five the outcome is unknown: it may have been done.
const (
	CodeNetwork     ErrorCode = "network"      // the connection failed or broke
	CodeTimeout     ErrorCode = "timeout"      // the deadline passed
	CodeCanceled    ErrorCode = "canceled"     // the caller left
	CodeUnavailable ErrorCode = "unavailable"  // the provider failed
	CodeInProgress  ErrorCode = "in_progress"  // the same key is being worked on
	CodeRateLimited ErrorCode = "rate_limited" // too many calls: not done
	CodeCircuitOpen ErrorCode = "circuit_open" // not sent: the provider has failed too often just now
)

// Permanent codes: the provider refuses, and nothing was done.
const (
	CodeBadRequest    ErrorCode = "bad_request"
	CodeCredentials   ErrorCode = "credentials"
	CodeNotFound      ErrorCode = "not_found"      // no such payment
	CodeKeyReused     ErrorCode = "key_reused"     // the key came with another request before
	CodeNotCapturable ErrorCode = "not_capturable" // failed, voided, expired, captured, or less is left
	CodeNotVoidable   ErrorCode = "not_voidable"
	CodeNotRefundable ErrorCode = "not_refundable" // less is captured and not refunded
	CodeCurrency      ErrorCode = "currency"       // the provider cannot do this amount in this currency
)
