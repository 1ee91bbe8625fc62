package user_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/user"
)

// TestRowsAreReadAsTheyCome runs the statement behind each verb in every way that pgx has: all give what was loaded, with
// no field left out, and as usual without pgx's way of reading rows.
func TestRowsAreReadAsTheyCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	of := pgtest.NewTables(t, w.raw.Config().ConnString())
	cfg := w.cfg
	cfg.DB = of.DB
	v := user.New(cfg)

	owner, place := id.New(), id.New()
	a := &user.Account{
		User: user.User{ID: owner, Status: user.StatusDeactivated, Roles: []auth.Role{auth.RoleCustomer, auth.RoleAdmin},
			Name: new("Ada"), Email: new("ada@example.com"),
			EmailVerifiedAt: new(time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC)), Phone: new("+4922112345"),
			DefaultShippingAddressID: &place, DefaultBillingAddressID: &place, CreatedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		AddressBook: []user.Address{{Owner: owner, ID: place, Country: "DE", Postal: user.Postal{Name: "Ada", Company: new("Lovelace"), Line1: "1",
			Line2: new("2"), City: "Köln", Region: new("NRW"), PostalCode: new("50667"), Phone: new("+4922112345")}}},
	}
	guest := &user.Account{User: user.User{ID: id.New(), Guest: true, Status: user.StatusActive, Roles: []auth.Role{auth.RoleCustomer},
		Email: new("bob@example.com"), CreatedAt: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)}}
	w.load(t, a, guest)
	filled := a.User
	filled.Guest = guest.Guest // no account has every field
	for _, row := range []any{filled, a.AddressBook[0], a.AddressBook[0].Postal} {
		pgtest.Filled(t, "what was loaded", row)
	}
	ctx := auth.With(t.Context(), auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleSupport)})

	for name, ids := range map[string][]uuid.UUID{"ByIDs": {owner}, "ByIDs, two": {owner, id.New()}} {
		pgtest.CheckRows(ctx, t, name, of, v.UserTable(), func() error { _, err := v.ByIDs(ctx, ids); return err }, a.User)
	}
	pgtest.CheckRows(ctx, t, "ByEmail", of, v.UserTable(), func() error { _, err := v.ByEmail(ctx, "ada@example.com"); return err }, a.User)
	pgtest.CheckRows(ctx, t, "List", of, v.UserTable(), func() error {
		_, err := v.List(ctx, user.Filter{}, user.Sort{Field: user.SortCreatedAt, Direction: page.Ascending}, page.Args{First: new(5)})
		return err
	}, a.User, guest.User)
	for name, owners := range map[string][]uuid.UUID{"AddressesOf": {owner}, "AddressesOf two": {owner, id.New()}} {
		pgtest.CheckRows(ctx, t, name, of, v.AddressTable(), func() error { _, err := v.AddressesOf(ctx, owners); return err }, a.AddressBook...)
	}
	key := a.AddressBook[0].Key()
	for name, keys := range map[string][]id.Key{"Addresses": {key}, "Addresses of two": {key, {Owner: id.New(), ID: id.New()}}} {
		pgtest.CheckRows(ctx, t, name, of, v.AddressTable(), func() error { _, err := v.Addresses(ctx, keys); return err }, a.AddressBook...)
	}

	made := time.UnixMilli(1_772_400_000_000).UTC()
	e := user.AuditEntry{SubjectID: owner, ID: id.At(made, id.New()), At: made, ActorID: &guest.ID, Action: user.AuditRolesSet,
		Details: map[string]any{"to": []any{"ADMIN"}}, SubjectKind: int16(id.User), SubjectOwnerID: &guest.ID}
	pgtest.Filled(t, "what was written", e)
	w.exec(t, "INSERT INTO users.audit VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", e.SubjectID, e.ID, e.At, e.ActorID, e.Action, e.Details,
		e.SubjectKind, e.SubjectOwnerID)
	admin := auth.With(t.Context(), auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleAdmin)})
	pgtest.CheckRows(admin, t, "AuditLog", of, v.AuditTable(), func() error {
		_, err := v.AuditLog(admin, user.AuditFilter{}, page.Args{First: new(5)})
		return err
	}, e)

	k := user.APIKey{ID: id.New(), Name: "till", CreatedBy: owner, CreatedAt: made, ExpiresAt: &made, RevokedAt: &made, LastUsedAt: &made}
	pgtest.Filled(t, "what was written", k)
	w.exec(t, "INSERT INTO users.api_keys VALUES ($1, $2, sha256(''), $3, $4, $5, $6, $7)", k.ID, k.Name, k.CreatedBy, k.CreatedAt, k.ExpiresAt, k.RevokedAt, k.LastUsedAt)
	pgtest.CheckRows(admin, t, "APIKeys", of, v.APIKeyTable(), func() error { _, err := v.APIKeys(admin, page.Args{First: new(5)}); return err }, k)
}
