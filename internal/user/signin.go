package user

import (
	"time"

	"emporium/internal/fault"
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
	UserErrors []fault.Problem
}

// SignOutPayload is the outcome of signing out.
type SignOutPayload struct {
	SessionsEnded int
	UserErrors    []fault.Problem
}

// PasswordChangePayload is the outcome of changing the password.
type PasswordChangePayload struct {
	Changed    bool
	UserErrors []fault.Problem
}
