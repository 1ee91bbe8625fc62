package user

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/postgres"
)

// Export is all that is known here of a user, as it is handed out to them. Secrets are left out.
type Export struct {
	User      ExportedUser      `json:"user"`
	Addresses []ExportedAddress `json:"addresses"`
	Sessions  []ExportedSession `json:"sessions"`
	Audit     []ExportedEntry   `json:"audit"`
}

// AccountExportPayload is all that is known of the viewer, here and in other services.
type AccountExportPayload struct {
	Data       map[string]any
	UserErrors []fault.Problem
}

// ExportedUser is the account.
type ExportedUser struct {
	ID              string      `json:"id"`
	Name            *string     `json:"name"`
	Email           *string     `json:"email"`
	EmailVerifiedAt *time.Time  `json:"emailVerifiedAt"`
	Phone           *string     `json:"phone"`
	Roles           []auth.Role `json:"roles"`
	Status          Status      `json:"status"`
	Guest           bool        `json:"guest"`
	CreatedAt       time.Time   `json:"createdAt"`
}

// ExportedAddress is an entry of the address book.
type ExportedAddress struct {
	ID string `json:"id"`
	Postal
	Country            string `json:"country"`
	DefaultForShipping bool   `json:"defaultForShipping"`
	DefaultForBilling  bool   `json:"defaultForBilling"`
}

// ExportedSession is a session that has not expired.
type ExportedSession struct {
	ID           uuid.UUID  `json:"id"`
	CreatedAt    time.Time  `json:"createdAt"`
	ExpiresAt    time.Time  `json:"expiresAt"`
	EndedAt      *time.Time `json:"endedAt"`
	EndedBecause *string    `json:"endedBecause"`
}

// ExportedEntry is what was done to the account. Who else did it is theirs, not the user's.
type ExportedEntry struct {
	At      time.Time      `json:"at"`
	Action  audit.Action   `json:"action"`
	ByYou   bool           `json:"byYou"`
	Details map[string]any `json:"details"`
}

const exportSessions = `SELECT id, created_at, expires_at, ended_at, ended_because FROM users.sessions WHERE owner_id = $1 ORDER BY id`

// Export returns all that is known here of the viewer, as of one instant, and records that it was handed out. Exports count
// as attempts: too many are fault.RateLimited.
func (s *Service) Export(ctx context.Context) (*Export, error) {
	a := auth.From(ctx)
	if err := requireSignedIn(a); err != nil {
		return nil, err
	}
	if err := s.allow(ctx, auth.ThrottleAccount, "export "+a.ID.String()); err != nil {
		return nil, err
	}
	ctx = postgres.WithWanted(ctx, nil) // all of it, whatever the operation shows besides
	e := &Export{}
	_, err := s.changeOwn(ctx, func(ctx context.Context, tx *postgres.Tx, u *User) error {
		e.User = ExportedUser{u.GlobalID().String(), u.Name, u.Email, u.EmailVerifiedAt, u.Phone, u.Roles, u.Status, u.Guest, u.CreatedAt}
		addresses := s.tables.addresses.In(ctx)
		book, err := postgres.Select(ctx, tx, postgres.Stmt{Name: "users.export_addresses",
			SQL: "SELECT " + addresses.SQL + " " + fromAddresses + byOwner + " ORDER BY id", Reads: postgres.All("users.addresses")}, addresses.Scan, u.ID)
		if err != nil {
			return err
		}
		e.Addresses = make([]ExportedAddress, len(book))
		for i, b := range book {
			e.Addresses[i] = ExportedAddress{b.GlobalID().String(), b.Postal, b.Country,
				same(u.DefaultShippingAddressID, &b.ID), same(u.DefaultBillingAddressID, &b.ID)}
		}
		if e.Sessions, err = postgres.Select(ctx, tx, postgres.Stmt{Name: "users.export_sessions", SQL: exportSessions,
			Reads: postgres.All("users.sessions")}, pgx.RowToStructByPos[ExportedSession], u.ID); err != nil {
			return err
		}
		if err := s.record(ctx, tx, u.ID, u.ID, AuditExported, nil); err != nil {
			return err
		}
		entries := s.tables.audit.In(ctx)
		log, err := postgres.Select(ctx, tx, postgres.Stmt{Name: "users.export_audit",
			SQL: "SELECT " + entries.SQL + " FROM users.audit WHERE subject_id = $1 ORDER BY id", Reads: postgres.All("users.audit")}, entries.Scan, u.ID)
		e.Audit = make([]ExportedEntry, len(log))
		for i, l := range log {
			e.Audit[i] = ExportedEntry{l.At, l.Action, same(l.ActorID, &u.ID), l.Details}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}
