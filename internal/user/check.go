package user

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/singleflight"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/postgres"
)

const (
	checkFresh = 2 * time.Second // how long an answer of the database is believed that nobody can tell the end of
	checkAgain = keyUsedEvery    // after which the database is asked in any case: the use of a key is noted then
	checkSize  = 1 << 14         // sessions remembered, about 3 MB
)

// checks remembers what Check has found.
type checks struct {
	mu      sync.Mutex
	known   *simplelru.LRU[checkKey, checked]
	flights singleflight.Group
	trace   Trace // may be nil
}

// Trace runs a read and returns what tells whether its outcome still holds, asked as often as one likes; nil if that can not
// be known.
type Trace func(ctx context.Context, read func(context.Context) error) (still func() bool, err error)

type checkKey struct{ owner, session uuid.UUID }

// checked is what the database said of a session at an instant.
type checked struct {
	at      time.Time
	ok      bool
	ended   bool // by this process, so for ever
	unknown bool // there is none, and it is not worth remembering that
	roles   auth.RoleSet
	expires time.Time         // zero for actors of external issuers, who have no session here, and keys that do not expire
	hash    [sha256.Size]byte // of a key's secret
	still   func() bool       // holds; nil if that is not known
}

// holds reports whether what was read is to be believed.
func (c *checks) holds(read checked, now time.Time) bool {
	switch {
	case read.ended:
		return true
	case c.trace == nil:
		return now.Sub(read.at) < checkFresh
	default:
		return now.Sub(read.at) < checkAgain && read.still != nil && read.still()
	}
}

func newChecks(trace Trace) *checks {
	known, err := simplelru.NewLRU[checkKey, checked](checkSize, nil)
	if err != nil {
		panic("user: " + err.Error()) // the size is positive
	}
	return &checks{known: known, trace: trace}
}

// get returns what is known of a session, if it holds.
func (c *checks) get(key checkKey, now time.Time) (checked, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.known.Get(key)
	return found, ok && c.holds(found, now)
}

// put keeps what was read and returns what holds: a session that was ended while it was being read stays ended.
func (c *checks) put(key checkKey, read checked) checked {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.known.Peek(key); ok && found.ended {
		return found
	}
	if changed, ok := c.known.Peek(checkKey{key.owner, changedKey}); ok && !read.at.After(changed.at) {
		return read // not kept: it may be of before the change
	}
	c.known.Add(key, read)
	return read
}

// end notes that sessions have ended.
func (c *checks) end(owner uuid.UUID, sessions ...uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, session := range sessions {
		c.known.Add(checkKey{owner, session}, checked{ended: true})
	}
}

// changedKey stands for no session: what is known under it is when the account was changed last.
var changedKey = uuid.Max

// changed forgets what was read of an account's sessions before now.
func (c *checks) changed(owner uuid.UUID, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range c.known.Keys() {
		if found, ok := c.known.Peek(key); ok && key.owner == owner && !found.ended {
			c.known.Remove(key)
		}
	}
	c.known.Add(checkKey{owner, changedKey}, checked{at: now})
}

// Check turns verified claims into the actor of the request, with the roles that the account has now. It is
// fault.Unauthenticated when the account is not active or the session has ended. What it finds is believed for as long as
// the trace says that nothing has changed. Without a trace it is two seconds, so that long a deactivation, a change of roles
// or the end of a session that another process has brought about may go unnoticed; what this process has done holds at once.
//
// An actor of an external issuer needs no account here and keeps the roles of the claims, but an account with its ID that
// is not active bars it.
func (s *Service) Check(ctx context.Context, claims auth.Claims) (auth.Actor, error) {
	actor := claims.Actor
	refused := fault.New(fault.Unauthenticated, "invalid or expired token")
	if !actor.SignedIn() || actor.External != (actor.Session == uuid.Nil) {
		return auth.Actor{}, refused
	}
	key := checkKey{actor.ID, actor.Session}
	found, err := s.remembered(ctx, key, s.check)
	if err != nil {
		return auth.Actor{}, err
	}
	if !found.ok || !actor.External && !s.now().Before(found.expires) {
		return auth.Actor{}, refused
	}
	if !actor.External {
		actor.Roles = found.roles
	}
	return actor, nil
}

// remembered returns what is known of a session or key, and asks when that is not fresh.
func (s *Service) remembered(ctx context.Context, key checkKey, ask func(context.Context, checkKey) (checked, error)) (checked, error) {
	if found, fresh := s.checks.get(key, s.now()); fresh {
		return found, nil
	}
	read := func(ctx context.Context) (found checked, err error) {
		asking := func(ctx context.Context) (err error) {
			found, err = ask(ctx, key)
			return err
		}
		var still func() bool
		if s.checks.trace == nil {
			err = asking(ctx)
		} else {
			still, err = s.checks.trace(ctx, asking)
		}
		if err != nil {
			return checked{}, err
		}
		found.still = still
		if found.unknown {
			return found, nil
		}
		return s.checks.put(key, found), nil
	}
	// Of many requests with one token one asks; it does so for all of them, whatever becomes of its own request.
	flight := s.checks.flights.DoChan(string(key.owner[:])+string(key.session[:]), func() (any, error) {
		return read(context.WithoutCancel(ctx))
	})
	select {
	case r := <-flight:
		if r.Err != nil {
			return checked{}, r.Err
		}
		if found := r.Val.(checked); !r.Shared || s.checks.trace == nil || s.checks.holds(found, s.now()) {
			return found, nil
		}
		return read(ctx) // whoever asked may have read before us what has changed since
	case <-ctx.Done():
		return checked{}, fmt.Errorf("check session: %w", context.Cause(ctx))
	}
}

// check asks the database.
func (s *Service) check(ctx context.Context, key checkKey) (checked, error) {
	read := checked{at: s.now()} // before the statement: what it misses has happened later
	type row struct {
		Active  bool
		Roles   []auth.Role
		Expires *time.Time
	}
	r, found, err := postgres.First(ctx, s.db, postgres.Stmt{
		Name: "users.check_session", SQL: checkSession,
		Reads: append(usersByOwner.Of(key.owner), sessionsByID.Of(key.session)...),
	}, pgx.RowToStructByPos[row], key.owner, key.session)
	switch {
	case err != nil:
		return checked{}, err
	case key.session == uuid.Nil:
		read.ok = !found || r.Active
	case found && r.Active && r.Expires != nil:
		read.ok, read.roles, read.expires = true, auth.Roles(r.Roles...), *r.Expires
	}
	return read, nil
}
