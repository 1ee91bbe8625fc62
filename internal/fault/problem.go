package fault

import "strings"

// ProblemCode is what can be wrong with an input that the user can mend.
type ProblemCode string

const (
	ProblemInvalid          ProblemCode = "INVALID"
	ProblemTaken            ProblemCode = "TAKEN"
	ProblemStale            ProblemCode = "STALE"
	ProblemWrongStatus      ProblemCode = "WRONG_STATUS"
	ProblemInUse            ProblemCode = "IN_USE"
	ProblemOutOfStock       ProblemCode = "OUT_OF_STOCK"
	ProblemWrongCredentials ProblemCode = "WRONG_CREDENTIALS"
	ProblemWeakPassword     ProblemCode = "WEAK_PASSWORD"
	ProblemInvalidToken     ProblemCode = "INVALID_TOKEN"
	ProblemTooMany          ProblemCode = "TOO_MANY"
	ProblemOneself          ProblemCode = "ONESELF"
	ProblemLastAdmin        ProblemCode = "LAST_ADMIN"
	ProblemCartClosed       ProblemCode = "CART_CLOSED"
	ProblemNotApplicable    ProblemCode = "NOT_APPLICABLE"
	ProblemUnavailable      ProblemCode = "UNAVAILABLE"
	ProblemPaymentFailed    ProblemCode = "PAYMENT_FAILED"
	ProblemMissing          ProblemCode = "MISSING"
)

// Problem is something that the user can mend in the input of a mutation. It is part of the outcome: an Error is for the
// rest.
type Problem struct {
	Code    ProblemCode
	Field   []string // the path from the input object on; empty when it is about the whole
	Message string
}

// Problems are what keeps a change from being made. As an error they undo its transaction; the verb makes them part of
// its outcome.
type Problems []Problem

// Error names the problems, of which a log should see none.
func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i := range p {
		texts[i] = strings.Join(p[i].Field, ".") + ": " + p[i].Message
	}
	return strings.Join(texts, "; ")
}

// NewProblem returns a problem with the field at the path, or with the whole input.
func NewProblem(code ProblemCode, message string, field ...string) Problem {
	return Problem{Code: code, Field: append([]string{}, field...), Message: message}
}
