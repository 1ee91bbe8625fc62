package graph

import (
	"context"

	"github.com/google/uuid"

	"emporium/graph/loader"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/telemetry"
	"emporium/internal/user"
)

// Edges.
var (
	userEdges = fields{
		"addresses": along(loader.AddressesOf, func(u *user.User) uuid.UUID { return u.ID }),
		"orders": via[*user.User, loader.PageKey, *order.Connection]{loader.OrdersOf,
			func(u *user.User, args arguments) (loader.PageKey, bool) {
				return loader.PageKey{Of: u.ID, Page: loader.PageOf(args.page)}, true
			},
		},
		"defaultShippingAddress": defaultAddress(func(u *user.User) *uuid.UUID { return u.DefaultShippingAddressID }),
		"defaultBillingAddress":  defaultAddress(func(u *user.User) *uuid.UUID { return u.DefaultBillingAddressID }),
	}
	auditEntryEdges = fields{
		"actor":   maybeAlong(loader.Users, func(e *user.AuditEntry) *uuid.UUID { return e.ActorID }),
		"subject": maybeAlong(loader.Users, (*user.AuditEntry).SubjectUser),
		"node":    toNode[*user.AuditEntry]{(*user.AuditEntry).SubjectGlobalID},
	}
	apiKeyEdges         = fields{"createdBy": along(loader.Users, func(k *user.APIKey) uuid.UUID { return k.CreatedBy })}
	userConnectionEdges = fields{
		"totalCount": along(loader.UserCounts, func(c *user.Connection) *user.Connection { return c }),
	}
)

func defaultAddress(of func(*user.User) *uuid.UUID) edge {
	return maybeAlong(loader.Addresses, func(u *user.User) *id.Key {
		if address := of(u); address != nil {
			return &id.Key{Owner: u.ID, ID: *address}
		}
		return nil
	})
}

func (r queryResolver) Viewer(ctx context.Context) (*user.User, error) {
	return loader.Users.Now(ctx, auth.From(ctx).ID)
}

func (r queryResolver) User(ctx context.Context, userID *id.ID, email *string, orderNumber *string) (*user.User, error) {
	if err := exactlyOne(userID != nil, email != nil, orderNumber != nil); err != nil {
		return nil, err
	}
	switch {
	case email != nil:
		return r.Services.Users.ByEmail(ctx, *email)
	case orderNumber != nil:
		owner, ok, err := r.Services.Orders.OwnerByNumber(ctx, *orderNumber)
		if err != nil || !ok {
			return nil, err
		}
		return loader.Users.Now(ctx, owner)
	case userID.Kind != id.User:
		return nil, nil
	}
	return loader.Users.Now(ctx, userID.Key)
}

func (r queryResolver) Users(ctx context.Context, first *int, after *string, last *int, before *string, filter *user.Filter, sort user.Sort) (*user.Connection, error) {
	f := or(filter)
	if f.OrderNumber != nil {
		owner, ok, err := r.Services.Orders.OwnerByNumber(ctx, *f.OrderNumber)
		if err != nil {
			return nil, err
		}
		f.Owners = []uuid.UUID{}
		if ok {
			f.Owners = append(f.Owners, owner)
		}
	}
	return r.Services.Users.List(ctx, f, sort, pageArgs(first, after, last, before))
}

func (r queryResolver) AuditLog(ctx context.Context, first *int, after *string, last *int, before *string, filter *user.AuditFilter) (*user.AuditConnection, error) {
	return r.Services.Users.AuditLog(ctx, or(filter), pageArgs(first, after, last, before))
}

func (r queryResolver) APIKeys(ctx context.Context, first *int, after *string, last *int, before *string) (*user.APIKeyConnection, error) {
	return r.Services.Users.APIKeys(ctx, pageArgs(first, after, last, before))
}

func (r mutationResolver) SignUp(ctx context.Context, in user.SignUpInput) (*user.SignInPayload, error) {
	if err := checkCookie(ctx, in.Cookie); err != nil {
		return nil, err
	}
	payload, err := r.Users.SignUp(ctx, in, telemetry.RequestFrom(ctx).ClientAddress)
	return r.keepRefreshToken(ctx, payload, err, in.Cookie)
}

func (r mutationResolver) SignIn(ctx context.Context, in user.SignInInput) (*user.SignInPayload, error) {
	if err := checkCookie(ctx, in.Cookie); err != nil {
		return nil, err
	}
	payload, err := r.Users.SignIn(ctx, in, telemetry.RequestFrom(ctx).ClientAddress)
	return r.keepRefreshToken(ctx, payload, err, in.Cookie)
}

func (r mutationResolver) TokenRefresh(ctx context.Context, in user.TokenRefreshInput) (*user.SignInPayload, error) {
	token, fromCookie := or(in.RefreshToken), false
	if in.RefreshToken == nil {
		token, fromCookie = refreshCookie(ctx), true
	}
	if token == "" {
		return nil, fault.Input("there is no refresh token, neither in the input nor in the cookie", "refreshToken")
	}
	payload, err := r.Users.Refresh(ctx, token, telemetry.RequestFrom(ctx).ClientAddress)
	if fromCookie && err == nil && payload.Tokens == nil {
		r.Cookies.drop(ctx)
	}
	return r.keepRefreshToken(ctx, payload, err, fromCookie)
}

func (r mutationResolver) SignOut(ctx context.Context) (*user.SignOutPayload, error) {
	payload, err := r.Users.SignOut(ctx)
	if err == nil {
		r.Cookies.drop(ctx)
	}
	return payload, err
}

func (r mutationResolver) SignOutEverywhere(ctx context.Context) (*user.SignOutPayload, error) {
	payload, err := r.Users.SignOutEverywhere(ctx)
	if err == nil {
		r.Cookies.drop(ctx)
	}
	return payload, err
}

func (r mutationResolver) PasswordChange(ctx context.Context, in user.PasswordChangeInput) (*user.PasswordChangePayload, error) {
	return r.Users.ChangePassword(ctx, in)
}

func (r mutationResolver) PasswordResetRequest(ctx context.Context, in user.PasswordResetRequestInput) (*user.PasswordResetRequestPayload, error) {
	return r.Users.RequestPasswordReset(ctx, in, telemetry.RequestFrom(ctx).ClientAddress)
}

func (r mutationResolver) PasswordReset(ctx context.Context, in user.PasswordResetInput) (*user.PasswordResetPayload, error) {
	return r.Users.ResetPassword(ctx, in, telemetry.RequestFrom(ctx).ClientAddress)
}

func (r mutationResolver) EmailVerificationRequest(ctx context.Context) (*user.EmailVerificationRequestPayload, error) {
	return r.Users.RequestEmailVerification(ctx)
}

func (r mutationResolver) EmailVerify(ctx context.Context, in user.EmailVerifyInput) (*user.EmailVerifyPayload, error) {
	return r.Users.VerifyEmail(ctx, in, telemetry.RequestFrom(ctx).ClientAddress)
}

func (r mutationResolver) EmailChangeRequest(ctx context.Context, in user.EmailChangeRequestInput) (*user.EmailChangeRequestPayload, error) {
	return r.Users.RequestEmailChange(ctx, in)
}

func (r mutationResolver) EmailChangeConfirm(ctx context.Context, in user.EmailChangeConfirmInput) (*user.EmailChangeConfirmPayload, error) {
	return r.Users.ConfirmEmailChange(ctx, in, telemetry.RequestFrom(ctx).ClientAddress)
}

func (r mutationResolver) AccountExport(ctx context.Context) (*user.AccountExportPayload, error) {
	data, err := r.export(ctx)
	if err != nil {
		return nil, err
	}
	return &user.AccountExportPayload{Data: data}, nil
}

func (r mutationResolver) AccountDelete(ctx context.Context, in user.AccountDeleteInput) (*user.AccountDeletePayload, error) {
	payload, err := r.Users.DeleteAccount(ctx, in)
	if err == nil && payload.Deleted {
		r.Cookies.drop(ctx)
	}
	return payload, err
}

func (r mutationResolver) ProfileUpdate(ctx context.Context, in user.ProfileUpdateInput) (*user.ProfileUpdatePayload, error) {
	return r.Users.UpdateProfile(ctx, in)
}

func (r mutationResolver) AddressCreate(ctx context.Context, in user.AddressCreateInput) (*user.AddressPayload, error) {
	return r.Users.CreateAddress(ctx, in)
}

func (r mutationResolver) AddressUpdate(ctx context.Context, in user.AddressUpdateInput) (*user.AddressPayload, error) {
	return r.Users.UpdateAddress(ctx, in)
}

func (r mutationResolver) AddressDelete(ctx context.Context, in user.AddressDeleteInput) (*user.AddressDeletePayload, error) {
	return r.Users.DeleteAddress(ctx, in)
}

func (r mutationResolver) AddressSetDefault(ctx context.Context, in user.AddressSetDefaultInput) (*user.AddressPayload, error) {
	return r.Users.SetDefaultAddress(ctx, in)
}

func (r mutationResolver) UserCreate(ctx context.Context, in user.UserCreateInput) (*user.UserPayload, error) {
	return r.Users.Create(ctx, in)
}

func (r mutationResolver) APIKeyCreate(ctx context.Context, in user.APIKeyCreateInput) (*user.APIKeyCreatePayload, error) {
	return r.Users.CreateAPIKey(ctx, in)
}

func (r mutationResolver) APIKeyRevoke(ctx context.Context, in user.APIKeyRevokeInput) (*user.APIKeyPayload, error) {
	return r.Users.RevokeAPIKey(ctx, in)
}

func (r mutationResolver) UserDeactivate(ctx context.Context, in user.UserDeactivateInput) (*user.UserPayload, error) {
	return r.Users.Deactivate(ctx, in)
}

func (r mutationResolver) UserReactivate(ctx context.Context, in user.UserReactivateInput) (*user.UserPayload, error) {
	return r.Users.Reactivate(ctx, in)
}

func (r mutationResolver) UserSetRoles(ctx context.Context, in user.UserSetRolesInput) (*user.UserPayload, error) {
	return r.Users.SetRoles(ctx, in)
}

// keepRefreshToken moves the refresh token from the answer into the cookie for clients that want it there.
func (r mutationResolver) keepRefreshToken(ctx context.Context, payload *user.SignInPayload, err error, cookie bool) (*user.SignInPayload, error) {
	if err != nil || !cookie || payload.Tokens == nil || payload.Tokens.RefreshToken == nil {
		return payload, err
	}
	r.Cookies.set(ctx, *payload.Tokens.RefreshToken)
	payload.Tokens.RefreshToken = nil
	return payload, nil
}
