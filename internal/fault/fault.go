// Package fault holds the error codes that every layer shares. A domain says what went wrong with a code; the graph
// turns the code into extensions.code in one place; what carries no code is an internal error and stays opaque.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Code says what kind of failure an error is. The values are those of the contract's extensions.code.
type Code string

const (
	Unauthenticated Code = "UNAUTHENTICATED" // nobody is signed in, or the token does not hold
	Forbidden       Code = "FORBIDDEN"       // the viewer lacks a role
	NotFound        Code = "NOT_FOUND"       // there is no such thing, or it is not the viewer's
	BadUserInput    Code = "BAD_USER_INPUT"  // the request can not be understood or is out of bounds
	Conflict        Code = "CONFLICT"        // the state of things does not allow it
	InProgress      Code = "IN_PROGRESS"     // the same request is being answered already; ask again for its outcome
	RateLimited     Code = "RATE_LIMITED"    // too many requests; try again later
	Timeout         Code = "TIMEOUT"         // a deadline passed
	Internal        Code = "INTERNAL"        // our fault; the details are in the log alone
)

// Error is a failure with a code and a message that may be shown to whoever sent the request.
type Error struct {
	Code    Code
	Message string
	Field   []string // path of the input field at fault, if there is one
	Err     error    // the cause; never shown
}

// New returns an error with a code and a public message.
func New(code Code, message string) error { return &Error{Code: code, Message: message} }

// Newf is New with a format.
func Newf(code Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an error with a code, a public message and a cause that stays inside.
func Wrap(code Code, err error, message string) error {
	return &Error{Code: code, Message: message, Err: err}
}

// Input returns a BadUserInput error about the input field at the path.
func Input(message string, field ...string) error {
	return &Error{Code: BadUserInput, Message: message, Field: field}
}

// Error returns the message with its cause, for logs. The public part alone is Message.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the outermost Error in err's chain. A passed deadline without a code is a Timeout; anything
// else is Internal.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	default:
		return Internal
	}
}

// Is reports whether err carries the code.
func Is(err error, code Code) bool { return err != nil && CodeOf(err) == code }
