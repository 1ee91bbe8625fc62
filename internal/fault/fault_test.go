package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"emporium/internal/fault"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	deadline := fmt.Errorf("orders.by_id: %w", context.DeadlineExceeded)
	for name, c := range map[string]struct {
		err     error
		code    fault.Code
		message string // what may be shown; "" for an error without a code
		logged  string
	}{
		"New":                            {fault.New(fault.NotFound, "no such order"), fault.NotFound, "no such order", "no such order"},
		"Newf":                           {fault.Newf(fault.Conflict, "%d are left", 3), fault.Conflict, "3 are left", "3 are left"},
		"Wrap":                           {fault.Wrap(fault.Conflict, io.EOF, "taken"), fault.Conflict, "taken", "taken: EOF"},
		"Input":                          {fault.Input("too long", "input", "name"), fault.BadUserInput, "too long", "too long"},
		"with more around it":            {fmt.Errorf("users: %w", fault.New(fault.Forbidden, "not you")), fault.Forbidden, "not you", "users: not you"},
		"one of several":                 {errors.Join(io.EOF, fault.New(fault.RateLimited, "slow down")), fault.RateLimited, "slow down", "EOF\nslow down"},
		"the outermost counts":           {fault.Wrap(fault.Internal, fault.New(fault.NotFound, "no key"), "keys"), fault.Internal, "keys", "keys: no key"},
		"a code beats a deadline inside": {fault.Wrap(fault.Unauthenticated, deadline, "not verified"), fault.Unauthenticated, "not verified", "not verified: " + deadline.Error()},
		"a deadline":                     {deadline, fault.Timeout, "", deadline.Error()},
		"a cancellation":                 {context.Canceled, fault.Internal, "", "context canceled"},
		"anything else":                  {io.ErrUnexpectedEOF, fault.Internal, "", "unexpected EOF"},
	} {
		if got := fault.CodeOf(c.err); got != c.code {
			t.Errorf("%s: its code is %s, want %s", name, got, c.code)
		}
		for _, code := range []fault.Code{fault.Unauthenticated, fault.Forbidden, fault.NotFound, fault.BadUserInput,
			fault.Conflict, fault.InProgress, fault.RateLimited, fault.Timeout, fault.Internal} {
			if got := fault.Is(c.err, code); got != (code == c.code) {
				t.Errorf("%s: Is(%s) = %t", name, code, got)
			}
		}
		var coded *fault.Error
		if errors.As(c.err, &coded) != (c.message != "") || coded != nil && coded.Message != c.message {
			t.Errorf("%s: it shows %+v, want %q", name, coded, c.message)
		}
		if c.err.Error() != c.logged {
			t.Errorf("%s: it is logged as %q, want %q", name, c.err, c.logged)
		}
	}
}

func TestNoErrorHasNoCode(t *testing.T) {
	t.Parallel()
	for _, code := range []fault.Code{fault.Internal, fault.Timeout, ""} {
		if fault.Is(nil, code) {
			t.Errorf("nil carries %q", code)
		}
	}
}

func TestWhatAnErrorCarries(t *testing.T) {
	t.Parallel()
	var coded *fault.Error
	if err := fault.Input("too long", "input", "lines", "0"); !errors.As(err, &coded) ||
		!slices.Equal(coded.Field, []string{"input", "lines", "0"}) || coded.Unwrap() != nil {
		t.Errorf("Input made %+v", coded)
	}
	if err := fault.Wrap(fault.Internal, io.EOF, "x"); !errors.Is(err, io.EOF) {
		t.Errorf("the cause of %v can not be found", err)
	}
}
