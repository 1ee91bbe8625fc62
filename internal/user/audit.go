package user

import (
	"context"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/postgres"
)

// AuditAction is what was done to an account.
type AuditAction string

const (
	AuditSignedUp          AuditAction = "SIGNED_UP"
	AuditSignedIn          AuditAction = "SIGNED_IN"
	AuditSignedOut         AuditAction = "SIGNED_OUT"
	AuditTokenReused       AuditAction = "TOKEN_REUSED"
	AuditPasswordChanged   AuditAction = "PASSWORD_CHANGED"
	AuditProfileUpdated    AuditAction = "PROFILE_UPDATED"
	AuditAddressCreated    AuditAction = "ADDRESS_CREATED"
	AuditAddressUpdated    AuditAction = "ADDRESS_UPDATED"
	AuditAddressDeleted    AuditAction = "ADDRESS_DELETED"
	AuditDefaultAddressSet AuditAction = "DEFAULT_ADDRESS_SET"
	AuditDeactivated       AuditAction = "DEACTIVATED"
	AuditReactivated       AuditAction = "REACTIVATED"
	AuditRolesSet          AuditAction = "ROLES_SET"

	AuditEmailVerified        AuditAction = "EMAIL_VERIFIED"
	AuditEmailChangeRequested AuditAction = "EMAIL_CHANGE_REQUESTED"
	AuditEmailChanged         AuditAction = "EMAIL_CHANGED"
	AuditPasswordReset        AuditAction = "PASSWORD_RESET"
	AuditCreated              AuditAction = "CREATED"
	AuditDeleted              AuditAction = "DELETED"
	AuditExported             AuditAction = "EXPORTED"
	AuditAPIKeyCreated        AuditAction = "API_KEY_CREATED"
	AuditAPIKeyRevoked        AuditAction = "API_KEY_REVOKED"
)

// AuditEntry is a line of the audit log: it is there if, and only if, what it tells of was written.
type AuditEntry struct {
	SubjectID uuid.UUID
	ID        uuid.UUID
	At        time.Time  // as the ID has it, to the millisecond
	ActorID   *uuid.UUID // nil when it is not known, or was nobody of the graph
	Action    AuditAction
	Details   map[string]any // no personal data
}

// ActorGlobalID returns the actor's ID in the graph.
func (e *AuditEntry) ActorGlobalID() *id.ID {
	if e.ActorID == nil {
		return nil
	}
	return new(id.Of(id.User, *e.ActorID))
}

// SubjectGlobalID returns the subject's ID in the graph.
func (e *AuditEntry) SubjectGlobalID() id.ID { return id.Of(id.User, e.SubjectID) }

// AuditFilter says which entries; all that is given has to match.
type AuditFilter struct {
	ActorID   *id.ID
	SubjectID *id.ID
	Actions   []AuditAction // any of them
	At        *page.TimeRange
}

// AuditConnection is a page of the audit log.
type AuditConnection = page.Connection[*AuditEntry]

// AuditEdge is an entry in a list.
type AuditEdge = page.Edge[*AuditEntry]

// AuditLog returns a page of the audit log, newest first; for admins.
func (s *Service) AuditLog(ctx context.Context, f AuditFilter, args page.Args) (*AuditConnection, error) {
	if err := requireRole(ctx, auth.RoleAdmin); err != nil {
		return nil, err
	}
	const name = "AUDIT"
	w, err := args.Window(name, 1)
	if err != nil {
		return nil, err
	}
	b := new(postgres.Builder)
	isUser := func(column string, user *id.ID) {
		switch {
		case user == nil:
		case user.Kind != id.User:
			b.And("false")
		default:
			b.And(column+" = ?", user.Key)
		}
	}
	isUser("actor_id", f.ActorID)
	isUser("subject_id", f.SubjectID)
	if f.Actions != nil {
		b.And("action = ANY(?)", f.Actions)
	}
	// Keys begin with the instant, in whole milliseconds.
	from := func(t time.Time) uuid.UUID { return id.At(t.Add(time.Millisecond-1), uuid.Nil) }
	if f.At != nil && f.At.From != nil {
		b.And("id >= ?", from(*f.At.From))
	}
	if f.At != nil && f.At.Until != nil {
		b.And("id < ?", from(*f.At.Until))
	}
	order, err := b.Page(w, []postgres.Key{{Expr: "id", Cast: "uuid", Desc: true}})
	if err != nil {
		return nil, err
	}
	entries := s.tables.audit.In(ctx)
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "users.audit_log", SQL: "SELECT " + entries.SQL + " FROM users.audit" + b.Where() + order,
		Reads: postgres.All("users.audit"),
	}, entries.Scan, b.Args()...)
	if err != nil {
		return nil, err
	}
	return new(page.Build(w, rows, func(e *AuditEntry) string { return page.Cursor(name, e.ID.String()) })), nil
}

// details are what an entry tells besides; no personal data.
type details = map[string]any

// record writes an entry of the audit log in the transaction of what it tells of. Actor is uuid.Nil where it is not known.
func (s *Service) record(ctx context.Context, tx *postgres.Tx, actor, subject uuid.UUID, action AuditAction, d details) error {
	key := id.New()
	at, err := id.Time(key)
	if err != nil {
		return err
	}
	var by *uuid.UUID
	if actor != uuid.Nil {
		by = &actor
	}
	if d == nil {
		d = details{}
	}
	_, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_audit", SQL: insertAudit}, subject, key, at, by, action, d)
	return err
}
