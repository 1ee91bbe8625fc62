package user

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/jobs"
	"emporium/internal/mail"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/seal"
)

// Config is what the service works with. DB, Sealer, Hasher, Issuer and Throttle are needed.
type Config struct {
	DB       *postgres.DB
	Sealer   *seal.Sealer
	Hasher   *auth.Hasher
	Issuer   *auth.Issuer
	Throttle *auth.Throttle

	Jobs   *jobs.Queue // of the domain; nil: nothing is done later, and so no mail is sent
	Mailer mail.Mailer // needed with Jobs

	// Forget deletes what other services know of somebody whose account was deleted and that is of no use without it. A job
	// calls it, perhaps more than once; it is fault.InProgress while that has to wait. May be nil.
	Forget func(ctx context.Context, owner uuid.UUID) error

	// Trace makes known what becomes of what was read, so that sessions need not be looked up for each request; may be nil.
	Trace Trace

	UsageRetention time.Duration // of what a client has used of the schema, after the last time; 0 means 180 days

	AccessTTL   time.Duration    // of an access token; 0 means 15 minutes
	SessionTTL  time.Duration    // from signing in to having to sign in again; 0 means 30 days
	PhoneRegion string           // where telephone numbers without a country code are dialled; "" asks for the code
	Log         *slog.Logger     // nil: nobody hears
	Now         func() time.Time // nil means time.Now
}

// Service is the service of people. It is safe for concurrent use. Whoever calls is the actor of the context
// ([auth.From]): what is not theirs does not exist, unless they are staff. For verbs of staff, others get
// fault.Forbidden, or fault.Unauthenticated when not signed in.
type Service struct {
	db          *postgres.DB
	sealer      *seal.Sealer
	hasher      *auth.Hasher
	issuer      *auth.Issuer
	throttle    *auth.Throttle
	jobs        *jobs.Queue
	mailer      mail.Mailer
	forget      func(ctx context.Context, owner uuid.UUID) error
	usageFor    time.Duration
	accessTTL   time.Duration
	sessionTTL  time.Duration
	phoneRegion string
	log         *slog.Logger
	now         func() time.Time
	checks      *checks
	tables      tables
}

// New returns the service, and makes it work off its jobs; it does no I/O.
func New(cfg Config) *Service {
	if cfg.AccessTTL == 0 {
		cfg.AccessTTL = 15 * time.Minute
	}
	if cfg.SessionTTL == 0 {
		cfg.SessionTTL = 30 * 24 * time.Hour
	}
	if cfg.UsageRetention == 0 {
		cfg.UsageRetention = 180 * 24 * time.Hour
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Service{
		db: cfg.DB, sealer: cfg.Sealer, hasher: cfg.Hasher, issuer: cfg.Issuer, throttle: cfg.Throttle,
		jobs: cfg.Jobs, mailer: cfg.Mailer, forget: cfg.Forget,
		usageFor: cfg.UsageRetention, accessTTL: cfg.AccessTTL, sessionTTL: cfg.SessionTTL, phoneRegion: cfg.PhoneRegion,
		log: cfg.Log, now: cfg.Now, checks: newChecks(cfg.Trace),
	}
	s.tables = s.newTables()
	if s.jobs != nil {
		s.work(s.jobs)
	}
	return s
}

// ByIDs returns the users of these IDs that the viewer may see, in any order; the rest is left out.
func (s *Service) ByIDs(ctx context.Context, ids []uuid.UUID) ([]*User, error) {
	viewer, ok := only(ctx)
	if !ok || len(ids) == 0 {
		return nil, nil
	}
	users := s.tables.users.In(ctx)
	condition, arg := postgres.AnyOf("owner_id", "$1", ids)
	return postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "users.by_id", SQL: "SELECT " + users.SQL + " " + fromUsers + " WHERE " + condition + viewed,
		Reads: usersByOwner.Of(ids...),
	}, users.Scan, arg, viewer)
}

// ByEmail returns the account with the e-mail address, in any case, or nil; for staff. Guests are not found by it, since
// any number of them may give one address.
func (s *Service) ByEmail(ctx context.Context, email string) (*User, error) {
	if err := staffOnly(ctx); err != nil {
		return nil, err
	}
	normalized, err := seal.NormalizeEmail(email)
	if err != nil {
		return nil, err
	}
	users := s.tables.users.In(ctx)
	u, _, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name: "users.by_email", SQL: "SELECT " + users.SQL + " " + fromUsers + byEmail,
		Reads: postgres.All("users.users", "users.email_index"),
	}, users.Scan, s.emailIndex(normalized))
	return u, err
}

// List returns a page of the users that match, guests too, in the order of their creation; for staff.
// Filter.OrderNumber is left aside: whoever knows orders turns it into Filter.Owners.
func (s *Service) List(ctx context.Context, f Filter, sort Sort, args page.Args) (*Connection, error) {
	if err := staffOnly(ctx); err != nil {
		return nil, err
	}
	if sort.Field != SortCreatedAt {
		return nil, fault.Input("users are sorted by CREATED_AT", "sort", "field")
	}
	name := string(sort.Field) + " " + string(sort.Direction)
	w, err := args.Window(name, 1)
	if err != nil {
		return nil, err
	}
	b, reads, err := s.matching(f)
	if err != nil {
		return nil, err
	}
	// Keys are UUIDv7, so that their order is that of creation.
	order, err := b.Page(w, []postgres.Key{{Expr: "owner_id", Cast: "uuid", Desc: sort.Direction == page.Descending}})
	if err != nil {
		return nil, err
	}
	users := s.tables.users.In(ctx)
	rows, err := postgres.Select(ctx, s.db, postgres.Stmt{
		Name: "users.list", SQL: "SELECT " + users.SQL + " " + fromUsers + b.Where() + order, Reads: reads,
	}, users.Scan, b.Args()...)
	if err != nil {
		return nil, err
	}
	return &Connection{
		Connection: page.Build(w, rows, func(u *User) string { return page.Cursor(name, u.ID.String()) }),
		Filter:     f,
	}, nil
}

// Count returns how many users match; for staff. See List.
func (s *Service) Count(ctx context.Context, f Filter) (int, error) {
	if err := staffOnly(ctx); err != nil {
		return 0, err
	}
	b, reads, err := s.matching(f)
	if err != nil {
		return 0, err
	}
	n, _, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name: "users.count", SQL: "SELECT count(*) FROM users.users" + b.Where(), Reads: reads,
	}, pgx.RowTo[int], b.Args()...)
	return n, err
}

// matching returns the conditions of a filter and what they read.
func (s *Service) matching(f Filter) (*postgres.Builder, []postgres.Read, error) {
	b, reads := new(postgres.Builder), postgres.All("users.users")
	if f.Email != nil {
		email, err := seal.NormalizeEmail(*f.Email)
		if err != nil {
			return nil, nil, fault.Input("not a valid e-mail address", "filter", "email")
		}
		b.And("owner_id = (SELECT owner_id FROM users.email_index WHERE email_index = ?)", s.emailIndex(email))
		reads = append(reads, postgres.All("users.email_index")...)
	}
	if f.Phone != nil {
		phone, err := seal.NormalizePhone(*f.Phone, s.phoneRegion)
		if err != nil {
			return nil, nil, fault.Input("not a valid phone number", "filter", "phone")
		}
		b.And("owner_id IN (SELECT owner_id FROM users.phone_index WHERE phone_index = ?)", s.phoneIndex(phone))
		reads = append(reads, postgres.All("users.phone_index")...)
	}
	if f.Owners != nil {
		b.And("owner_id = ANY(?)", f.Owners)
	}
	if len(f.Owners) > 0 {
		reads = append(reads[1:], usersByOwner.Of(f.Owners...)...)
	}
	if f.Role != nil {
		b.And("roles @> ?", []auth.Role{*f.Role})
	}
	if f.Status != nil {
		b.And("status = ?", *f.Status)
	}
	if f.CreatedAt != nil && f.CreatedAt.From != nil {
		b.And("created_at >= ?", *f.CreatedAt.From)
	}
	if f.CreatedAt != nil && f.CreatedAt.Until != nil {
		b.And("created_at < ?", *f.CreatedAt.Until)
	}
	return b, reads, nil
}

// AddressesOf returns the address books of these users that the viewer may see, each oldest first.
func (s *Service) AddressesOf(ctx context.Context, owners []uuid.UUID) ([]*Address, error) {
	viewer, ok := only(ctx)
	if !ok || len(owners) == 0 {
		return nil, nil
	}
	addresses := s.tables.addresses.In(ctx)
	condition, arg := postgres.AnyOf("owner_id", "$1", owners)
	return postgres.Select(ctx, s.db, postgres.Stmt{
		Name:  "users.addresses_by_owner",
		SQL:   "SELECT " + addresses.SQL + " " + fromAddresses + " WHERE " + condition + viewed + " ORDER BY owner_id, id",
		Reads: addressesByOwner.Of(owners...),
	}, addresses.Scan, arg, viewer)
}

// Addresses returns the addresses of these keys that the viewer may see, in any order; the rest is left out.
func (s *Service) Addresses(ctx context.Context, keys []id.Key) ([]*Address, error) {
	addresses := s.tables.addresses.In(ctx)
	return postgres.SelectByKeys(ctx, s.db, addressesByKey, addresses.SQL, addresses.Scan, keys, auth.Sees(ctx))
}

func staffOnly(ctx context.Context) error {
	return requireRole(ctx, auth.RoleSupport, auth.RoleManager, auth.RoleAdmin)
}

// requireRole is nil for an actor with one of the roles.
func requireRole(ctx context.Context, anyOf ...auth.Role) error {
	if auth.Has(ctx, anyOf...) {
		return nil
	}
	if err := requireSignedIn(auth.From(ctx)); err != nil {
		return err
	}
	return fault.New(fault.Forbidden, "your roles do not allow this")
}

func requireSignedIn(a auth.Actor) error {
	if !a.SignedIn() {
		return fault.New(fault.Unauthenticated, "sign in first")
	}
	return nil
}
