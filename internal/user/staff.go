package user

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/mail"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// UserDeactivateInput is the account that staff closes.
type UserDeactivateInput struct{ UserID id.ID }

// UserReactivateInput is the account that staff opens again.
type UserReactivateInput struct{ UserID id.ID }

// UserSetRolesInput is all roles that a user has from now on.
type UserSetRolesInput struct {
	UserID id.ID
	Roles  []auth.Role
}

// UserCreateInput is an account that staff opens for somebody.
type UserCreateInput struct {
	Email string
	Name  string
	Roles []auth.Role
}

// UserPayload is the outcome of what staff does to an account.
type UserPayload struct {
	User       *User
	UserErrors []fault.Problem
}

// Deactivate closes an account and ends all its sessions; what it was sent by mail is void, and stays so when it is opened
// again. For admins, and for managers when it is a customer's.
func (s *Service) Deactivate(ctx context.Context, in UserDeactivateInput) (*UserPayload, error) {
	var ended []uuid.UUID
	p, err := s.manage(ctx, in.UserID, []auth.Role{auth.RoleManager, auth.RoleAdmin}, func(ctx context.Context, tx *postgres.Tx, u *User) (*fault.Problem, error) {
		ended = nil
		if u.Status == StatusDeactivated {
			return nil, nil
		}
		if last, err := s.lastAdmin(ctx, tx, u); last != nil || err != nil {
			return last, err
		}
		u.Status = StatusDeactivated
		now := s.now()
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.update_status", SQL: updateStatus}, u.ID, u.Status, now); err != nil {
			return nil, err
		}
		if err := s.forgetChange(ctx, tx, u.ID); err != nil {
			return nil, err
		}
		if err := s.dropTokens(ctx, tx, u.ID, ""); err != nil {
			return nil, err
		}
		// Whoever was signing in meanwhile has held the account, so that their session is there by now.
		var err error
		if ended, err = postgres.Select(ctx, tx, postgres.Stmt{Name: "users.end_sessions", SQL: endSessions},
			pgx.RowTo[uuid.UUID], u.ID, uuid.Nil, now, endedDeactivated); err != nil {
			return nil, err
		}
		return nil, s.record(ctx, tx, auth.From(ctx).ID, u.ID, AuditDeactivated, details{"sessionsEnded": len(ended)})
	})
	if p != nil && p.User != nil {
		s.checks.end(p.User.ID, ended...)
	}
	return p, err
}

// Reactivate opens an account again that was closed. Its sessions stay ended. For those who may deactivate it.
func (s *Service) Reactivate(ctx context.Context, in UserReactivateInput) (*UserPayload, error) {
	return s.manage(ctx, in.UserID, []auth.Role{auth.RoleManager, auth.RoleAdmin}, func(ctx context.Context, tx *postgres.Tx, u *User) (*fault.Problem, error) {
		if u.Status == StatusActive {
			return nil, nil
		}
		u.Status = StatusActive
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.update_status", SQL: updateStatus}, u.ID, u.Status, s.now()); err != nil {
			return nil, err
		}
		return nil, s.record(ctx, tx, auth.From(ctx).ID, u.ID, AuditReactivated, nil)
	})
}

// SetRoles gives an account roles in place of those that it has; for admins. They take effect in all its sessions.
func (s *Service) SetRoles(ctx context.Context, in UserSetRolesInput) (*UserPayload, error) {
	set := auth.Roles(in.Roles...)
	return s.manage(ctx, in.UserID, []auth.Role{auth.RoleAdmin}, func(ctx context.Context, tx *postgres.Tx, u *User) (*fault.Problem, error) {
		before := auth.Roles(u.Roles...)
		switch {
		case set == 0:
			return new(fault.NewProblem(fault.ProblemInvalid, "a user has one role at least", "roles")), nil
		case u.Guest && set != auth.Roles(auth.RoleCustomer):
			return new(fault.NewProblem(fault.ProblemInvalid, "a guest is a customer and nothing else", "roles")), nil
		case set == before:
			return nil, nil
		case !set.Has(auth.RoleAdmin):
			if last, err := s.lastAdmin(ctx, tx, u); last != nil || err != nil {
				return last, err
			}
		}
		u.Roles = set.List()
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.update_roles", SQL: updateRoles}, u.ID, u.Roles, s.now()); err != nil {
			return nil, err
		}
		return nil, s.record(ctx, tx, auth.From(ctx).ID, u.ID, AuditRolesSet, details{"from": before.List(), "to": u.Roles})
	})
}

// Create opens an account for somebody, who is sent a mail by which to choose a password; for admins, and for managers when
// it is a customer's.
func (s *Service) Create(ctx context.Context, in UserCreateInput) (*UserPayload, error) {
	anyOf := []auth.Role{auth.RoleManager, auth.RoleAdmin}
	if err := requireRole(ctx, anyOf...); err != nil {
		return nil, err
	}
	var problems []fault.Problem
	email, err := seal.NormalizeEmail(in.Email)
	if err != nil {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, "this is not a valid e-mail address", "email"))
	}
	name, ok := normalizeName(in.Name)
	if !ok {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, badName, "name"))
	}
	roles := auth.Roles(in.Roles...)
	if roles == 0 {
		problems = append(problems, fault.NewProblem(fault.ProblemInvalid, "a user has one role at least", "roles"))
	}
	if problems != nil {
		return &UserPayload{UserErrors: problems}, nil
	}
	u := &User{ID: id.New(), Status: StatusActive, Roles: roles.List(), Name: &name, Email: &email, CreatedAt: s.now()}
	err = s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		own, err := s.asStaff(ctx, tx, anyOf)
		if err != nil {
			return err
		}
		if !mayManage(own, roles) {
			return fault.New(fault.Forbidden, "your roles do not allow this")
		}
		n, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.insert_email", SQL: insertEmail}, s.emailIndex(email), u.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return errTaken
		}
		if _, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "users.create", SQL: createUser}, u.ID, u.Roles,
			s.sealer.SealString(userField(u.ID, "name"), name), s.sealer.SealString(userField(u.ID, "email"), email), u.CreatedAt); err != nil {
			return err
		}
		if err := s.later(ctx, tx, linkJob{u.ID, mail.Invitation}); err != nil {
			return err
		}
		return s.record(ctx, tx, auth.From(ctx).ID, u.ID, AuditCreated, details{"roles": u.Roles})
	})
	if errors.Is(err, errTaken) {
		return &UserPayload{UserErrors: []fault.Problem{fault.NewProblem(fault.ProblemTaken, "an account with this e-mail address exists already", "email")}}, nil
	}
	if err != nil {
		return nil, err
	}
	return &UserPayload{User: u}, nil
}

const createUser = `INSERT INTO users.users (owner_id, roles, name, email, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)`

// mayManage reports whether roles allow to manage an account with other roles: admins may manage everybody, managers
// those who are customers and nothing more. So nobody manages an account that may do more than their own, and nobody but
// an admin, who may do everything, hands out roles.
func mayManage(roles, others auth.RoleSet) bool {
	return roles.Has(auth.RoleAdmin) || roles.Has(auth.RoleManager) && others == auth.Roles(auth.RoleCustomer)
}

// manage runs change in a transaction that holds somebody else's account locked, for an actor who may manage it, and
// returns the account as change has left it. Change writes nothing when it returns a problem.
//
// All that is managed goes one after the other: what the actor may do is looked at anew behind those who came first, who
// may have taken it away.
func (s *Service) manage(
	ctx context.Context, userID id.ID, anyOf []auth.Role, change func(ctx context.Context, tx *postgres.Tx, u *User) (*fault.Problem, error),
) (*UserPayload, error) {
	a := auth.From(ctx)
	if err := requireRole(ctx, anyOf...); err != nil {
		return nil, err
	}
	unknown := &fault.Error{Code: fault.NotFound, Message: "there is no such user", Field: []string{"input", "userId"}}
	if userID.Kind != id.User {
		return nil, unknown
	}
	if a.Is(userID.Key) {
		return &UserPayload{UserErrors: []fault.Problem{fault.NewProblem(fault.ProblemOneself, "somebody else has to do this to your account", "userId")}}, nil
	}
	var u *User
	var problem *fault.Problem
	err := s.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		roles, err := s.asStaff(ctx, tx, anyOf)
		if err != nil {
			return err
		}
		if u, err = s.lock(ctx, tx, userID.Key); err != nil {
			return err
		}
		if u == nil {
			return unknown
		}
		if !mayManage(roles, auth.Roles(u.Roles...)) {
			return fault.New(fault.Forbidden, "your roles do not allow this")
		}
		if u.Status == StatusDeleted {
			problem = new(fault.NewProblem(fault.ProblemInvalid, "the account was deleted", "userId"))
			return nil
		}
		problem, err = change(ctx, tx, u)
		return err
	})
	if err != nil {
		return nil, err
	}
	if problem != nil {
		return &UserPayload{UserErrors: []fault.Problem{*problem}}, nil
	}
	s.checks.changed(u.ID, s.now())
	return &UserPayload{User: u}, nil
}

// lockStaff lets no other change of staff come in between until the transaction ends.
func (s *Service) lockStaff(ctx context.Context, tx *postgres.Tx) error {
	_, found, err := postgres.First(ctx, tx, postgres.Stmt{Name: "users.lock_staff", SQL: lockStaff,
		Reads: postgres.All("users.staff_lock")}, pgx.RowTo[bool])
	if err == nil && !found {
		err = errors.New("the row of users.staff_lock is missing")
	}
	return err
}

// asStaff lets no other change of staff come in between, and returns the roles that the actor has by now, of which one is
// needed.
func (s *Service) asStaff(ctx context.Context, tx *postgres.Tx, anyOf []auth.Role) (auth.RoleSet, error) {
	if err := s.lockStaff(ctx, tx); err != nil {
		return 0, err
	}
	actor := auth.From(ctx)
	if !actor.External {
		roles, found, err := postgres.First(ctx, tx, postgres.Stmt{Name: "users.active_roles", SQL: activeRoles,
			Reads: usersByOwner.Of(actor.ID)}, pgx.RowTo[[]auth.Role], actor.ID)
		if err != nil {
			return 0, err
		}
		if !found {
			return 0, fault.New(fault.Unauthenticated, "your account is not active")
		}
		actor.Roles = auth.Roles(roles...)
	}
	return actor.Roles, requireRole(auth.With(ctx, actor), anyOf...)
}

// lastAdmin is the problem that a user is the only admin with an active account.
func (s *Service) lastAdmin(ctx context.Context, tx *postgres.Tx, u *User) (*fault.Problem, error) {
	if u.Status != StatusActive || !slices.Contains(u.Roles, auth.RoleAdmin) {
		return nil, nil
	}
	_, others, err := postgres.First(ctx, tx, postgres.Stmt{Name: "users.other_admin", SQL: otherAdmin,
		Reads: postgres.All("users.users")}, pgx.RowTo[bool], u.ID)
	if others || err != nil {
		return nil, err
	}
	return new(fault.NewProblem(fault.ProblemLastAdmin, "the last admin stays", "userId")), nil
}
