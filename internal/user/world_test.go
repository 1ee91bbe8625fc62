package user_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/seal"
	"emporium/internal/user"
)

const (
	goodPassword = "correct horse battery"
	nextPassword = "staple of another kind"
	home         = "192.0.2.1"
)

// world is a service on a database of its own, with a second way into that.
type world struct {
	*user.Service
	cfg      user.Config
	verifier *auth.Verifier
	raw      *pgxpool.Pool
	clock    *atomic.Pointer[time.Time] // stands still; see pass
	keys     *seal.Keyset
}

// cheap are the smallest costs that argon2id knows.
var cheap = auth.Params{Memory: 8, Passes: 1, Lanes: 1}

func newWorld(t testing.TB, change ...func(*user.Config)) *world {
	t.Helper()
	d := pgtest.New(t)
	return newWorldOn(t, d, change...)
}

func newWorldOn(t testing.TB, d *pgtest.Databases, change ...func(*user.Config)) *world {
	t.Helper()
	raw, err := pgxpool.New(t.Context(), d.URLs["users"])
	must(t, err)
	t.Cleanup(raw.Close)

	w := &world{raw: raw, keys: seal.New(), clock: new(atomic.Pointer[time.Time])}
	w.clock.Store(new(time.Now()))
	var ring atomic.Pointer[auth.Keyring]
	ring.Store(auth.NewKeyring())
	w.verifier, err = auth.NewVerifier(auth.VerifierConfig{Issuer: "emporium", Audience: "emporium"}, &ring)
	must(t, err)
	w.cfg = user.Config{
		DB: d.Users, Sealer: sealer(t, w.keys), Hasher: hasher(t, cheap), Issuer: auth.NewIssuer("emporium", "emporium", &ring),
		Throttle: throttle(t, 1000, 1000), PhoneRegion: "DE",
		Now: func() time.Time { return *w.clock.Load() },
	}
	for _, f := range change {
		f(&w.cfg)
	}
	w.Service = user.New(w.cfg)
	return w
}

func sealer(t testing.TB, keys *seal.Keyset) *seal.Sealer {
	t.Helper()
	s, err := seal.NewSealer(keys)
	must(t, err)
	return s
}

func hasher(t testing.TB, p auth.Params) *auth.Hasher {
	t.Helper()
	h, err := auth.NewHasher(auth.HasherConfig{Params: p, Queue: 1000})
	must(t, err)
	return h
}

// throttle never gives an attempt back within a test.
func throttle(t testing.TB, account, address int) *auth.Throttle {
	t.Helper()
	th, err := auth.NewThrottle(auth.ThrottleConfig{Limits: map[string]auth.Limit{
		auth.ThrottleMail:    {Burst: account, Every: time.Hour},
		auth.ThrottleAccount: {Burst: account, Every: time.Hour}, auth.ThrottleAddress: {Burst: address, Every: time.Hour},
	}})
	must(t, err)
	return th
}

func (w *world) pass(d time.Duration) { w.clock.Store(new(w.clock.Load().Add(d))) }

// load writes accounts; what they lack is filled in.
func (w *world) load(t testing.TB, accounts ...*user.Account) {
	t.Helper()
	for _, a := range accounts {
		if a.ID == uuid.Nil {
			a.ID = id.New()
		}
		if a.Email == nil && !a.Guest {
			a.Email = new(fmt.Sprintf("%s@example.com", a.ID))
		}
	}
	must(t, w.Load(t.Context(), slices.Values(accounts), nil))
}

// signedUp opens an account and returns its tokens and its actor.
func (w *world) signedUp(t testing.TB, email string) (*user.Tokens, auth.Actor) {
	t.Helper()
	p, err := w.SignUp(t.Context(), user.SignUpInput{Email: email, Password: goodPassword, Name: "Ada Lovelace"}, home)
	return w.tokens(t, p, err)
}

func (w *world) signedIn(t testing.TB, email, password string) (*user.Tokens, auth.Actor) {
	t.Helper()
	p, err := w.SignIn(t.Context(), user.SignInInput{Email: email, Password: password}, home)
	return w.tokens(t, p, err)
}

func (w *world) tokens(t testing.TB, p *user.SignInPayload, err error) (*user.Tokens, auth.Actor) {
	t.Helper()
	must(t, err)
	if p.Tokens == nil || len(p.UserErrors) > 0 || p.Tokens.RefreshToken == nil {
		t.Fatalf("no tokens: %+v", p)
	}
	return p.Tokens, w.claims(t, p.Tokens).Actor
}

func (w *world) claims(t testing.TB, tokens *user.Tokens) auth.Claims {
	t.Helper()
	c, err := w.verifier.Verify(t.Context(), tokens.AccessToken)
	must(t, err)
	return c
}

func (w *world) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	_, err := w.raw.Exec(t.Context(), sql, args...)
	must(t, err)
}

// query returns the first column of a statement's rows.
func query[T any](t testing.TB, w *world, sql string, args ...any) []T {
	t.Helper()
	rows, err := w.raw.Query(t.Context(), sql, args...)
	must(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[T])
	must(t, err)
	return all
}

// state is how many rows there are, and of the sessions how many are live and why the others have ended.
func (w *world) state(t testing.TB) string {
	t.Helper()
	return query[string](t, w, `SELECT format('users %s, emails %s, tokens %s (used %s), sessions %s (live %s)%s',
		(SELECT count(*) FROM users.users), (SELECT count(*) FROM users.email_index),
		(SELECT count(*) FROM users.refresh_tokens), (SELECT count(used_at) FROM users.refresh_tokens),
		(SELECT count(*) FROM users.sessions), (SELECT count(*) FROM users.sessions WHERE ended_at IS NULL),
		(SELECT string_agg(' ' || ended_because, '' ORDER BY ended_because) FROM users.sessions))`)[0]
}

// blocked waits until a statement waits for a lock in this database.
func (w *world) blocked(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if query[int](t, w, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`)[0] > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is blocked")
		}
	}
}

func as(t testing.TB, a auth.Actor) context.Context { return auth.With(t.Context(), a) }

// staff is an actor whom no row stands behind.
func staff(role auth.Role) auth.Actor { return auth.Actor{ID: id.New(), Roles: auth.Roles(role)} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func code(t testing.TB, what string, err error, want fault.Code) {
	t.Helper()
	if !fault.Is(err, want) {
		t.Errorf("%s: got %v, want %s", what, err, want)
	}
}

// statements returns how many statements f runs.
func statements(ctx context.Context, f func(context.Context)) []string {
	ctx, r := postgres.Record(ctx)
	f(ctx)
	return r.Statements()
}
