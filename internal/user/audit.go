package user

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/postgres"
)

// What is done to accounts. The actions of other services are in package audit.
const (
	AuditSignedUp          audit.Action = "SIGNED_UP"
	AuditSignedIn          audit.Action = "SIGNED_IN"
	AuditSignedOut         audit.Action = "SIGNED_OUT"
	AuditTokenReused       audit.Action = "TOKEN_REUSED"
	AuditPasswordChanged   audit.Action = "PASSWORD_CHANGED"
	AuditProfileUpdated    audit.Action = "PROFILE_UPDATED"
	AuditAddressCreated    audit.Action = "ADDRESS_CREATED"
	AuditAddressUpdated    audit.Action = "ADDRESS_UPDATED"
	AuditAddressDeleted    audit.Action = "ADDRESS_DELETED"
	AuditDefaultAddressSet audit.Action = "DEFAULT_ADDRESS_SET"
	AuditDeactivated       audit.Action = "DEACTIVATED"
	AuditReactivated       audit.Action = "REACTIVATED"
	AuditRolesSet          audit.Action = "ROLES_SET"

	AuditEmailVerified        audit.Action = "EMAIL_VERIFIED"
	AuditEmailChangeRequested audit.Action = "EMAIL_CHANGE_REQUESTED"
	AuditEmailChanged         audit.Action = "EMAIL_CHANGED"
	AuditPasswordReset        audit.Action = "PASSWORD_RESET"
	AuditCreated              audit.Action = "CREATED"
	AuditDeleted              audit.Action = "DELETED"
	AuditExported             audit.Action = "EXPORTED"
	AuditAPIKeyCreated        audit.Action = "API_KEY_CREATED"
	AuditAPIKeyRevoked        audit.Action = "API_KEY_REVOKED"
)

// AuditEntry is a line of the audit log: it is there if, and only if, what it tells of was written; of what other services
// have written, a moment later.
type AuditEntry struct {
	SubjectID uuid.UUID // what it was done to: a user, or an object of another service
	ID        uuid.UUID
	At        time.Time  // as the ID has it, to the millisecond
	ActorID   *uuid.UUID // nil when it is not known, or was nobody of the graph
	Action    audit.Action
	Details   map[string]any // no personal data

	SubjectKind    int16      // an id.Kind
	SubjectOwnerID *uuid.UUID // of what somebody owns
}

// ActorGlobalID returns the actor's ID in the graph.
func (e *AuditEntry) ActorGlobalID() *id.ID {
	if e.ActorID == nil {
		return nil
	}
	return new(id.Of(id.User, *e.ActorID))
}

// SubjectUser returns the subject if it is a user.
func (e *AuditEntry) SubjectUser() *uuid.UUID {
	if id.Kind(e.SubjectKind) != id.User {
		return nil
	}
	return &e.SubjectID
}

// SubjectGlobalID returns the subject's ID in the graph.
func (e *AuditEntry) SubjectGlobalID() id.ID {
	subject := id.Of(id.Kind(e.SubjectKind), e.SubjectID)
	if e.SubjectOwnerID != nil {
		subject.Owner = *e.SubjectOwnerID
	}
	return subject
}

// AuditFilter says which entries; all that is given has to match.
type AuditFilter struct {
	ActorID   *id.ID
	SubjectID *id.ID
	Actions   []audit.Action // any of them
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
	switch {
	case f.ActorID == nil:
	case f.ActorID.Kind != id.User && f.ActorID.Kind != id.APIKey: // a machine acts under the ID of its key
		b.And("false")
	default:
		b.And("actor_id = ?", f.ActorID.Key)
	}
	if f.SubjectID != nil {
		b.And("subject_id = ?", f.SubjectID.Key)
		b.And("subject_kind = ?", int16(f.SubjectID.Kind))
		if f.SubjectID.Owner != uuid.Nil {
			b.And("subject_owner_id = ?", f.SubjectID.Owner)
		}
	}
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
	entries := s.tables.audit.In(ctx, "SubjectKind") // edges begin with it
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
type details = audit.Details

// record writes an entry of the audit log in the transaction of what it tells of. Actor is uuid.Nil where it is not known.
func (s *Service) record(ctx context.Context, tx *postgres.Tx, actor, subject uuid.UUID, action audit.Action, d details) error {
	var by *uuid.UUID
	if actor != uuid.Nil {
		by = &actor
	}
	return insertEntry(ctx, tx, audit.By(by, action, id.Of(id.User, subject), d))
}

// WriteAudit writes entries that other services have made, each once however often it is called: for the jobs in which they
// travel. It looks at no viewer.
func (s *Service) WriteAudit(ctx context.Context, entries []audit.Entry) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		for _, e := range entries {
			if err := insertEntry(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

func insertEntry(ctx context.Context, tx *postgres.Tx, e audit.Entry) error {
	at, err := id.Time(e.ID)
	if err != nil {
		return err
	}
	var subject id.ID
	switch {
	case e.Object != "":
		if subject, err = id.Parse(e.Object); err != nil {
			return err
		}
	case e.Actor != nil:
		subject = id.Of(id.User, *e.Actor)
	default:
		return fmt.Errorf("%s is about nothing, and by nobody", e.Action)
	}
	var owner *uuid.UUID
	if subject.Owner != uuid.Nil {
		owner = &subject.Owner
	}
	if e.Details == nil {
		e.Details = details{}
	}
	_, err = postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_audit", SQL: insertAudit},
		subject.Key, e.ID, at, e.Actor, e.Action, e.Details, int16(subject.Kind), owner)
	return err
}
