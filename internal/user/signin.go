package user

import (
	"time"

	"emporium/internal/fault"
)

// Problem is something that the user can mend in the input; see [fault.Problem].
type (
	Problem     = fault.Problem
	ProblemCode = fault.ProblemCode
)

const (
	ProblemInvalid          = fault.ProblemInvalid
	ProblemTaken            = fault.ProblemTaken
	ProblemWrongCredentials = fault.ProblemWrongCredentials
	ProblemWeakPassword     = fault.ProblemWeakPassword
	ProblemInvalidToken     = fault.ProblemInvalidToken
	ProblemTooMany          = fault.ProblemTooMany
	ProblemOneself          = fault.ProblemOneself
	ProblemLastAdmin        = fault.ProblemLastAdmin
)

// SignUpInput is who wants an account.
type SignUpInput struct {
	Email    string
	Password string
	Name     string
	Cookie   bool // the refresh token goes into a cookie
}

// SignInInput is who signs in.
type SignInInput struct {
	Email    string
	Password string
	Cookie   bool // the refresh token goes into a cookie
}

// TokenRefreshInput is what is exchanged for new tokens.
type TokenRefreshInput struct {
	RefreshToken *string // nil when it comes in the cookie
}

// PasswordChangeInput is the viewer's old and new password.
type PasswordChangeInput struct {
	CurrentPassword string
	NewPassword     string
}

// Tokens are what a client needs to act as the user.
type Tokens struct {
	AccessToken  string
	ExpiresAt    time.Time // of the access token
	RefreshToken *string   // nil when it is in the cookie
}

// SignInPayload is the outcome of signing in, signing up and refreshing.
type SignInPayload struct {
	Tokens     *Tokens
	UserErrors []Problem
}

// SignOutPayload is the outcome of signing out.
type SignOutPayload struct {
	SessionsEnded int
	UserErrors    []Problem
}

// PasswordChangePayload is the outcome of changing the password.
type PasswordChangePayload struct {
	Changed    bool
	UserErrors []Problem
}
