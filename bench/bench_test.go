package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/bench/handwritten"
	"emporium/internal/app"
	"emporium/internal/auth"
	"emporium/internal/config"
	"emporium/internal/id"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/seal"
	"emporium/internal/seed"
)

// The demo shop has everything in it that the bench data may lack: drafts, things that were sold out or never paid,
// guests, markup, texts that need escapes. Both servers have to answer all of it with the same bytes.
func TestBothServersAnswerTheSameAboutTheDemoShop(t *testing.T) {
	if pgtest.Apart() {
		t.Skip("the hand-written server knows one database alone")
	}
	t.Parallel()
	ctx := t.Context()
	url := pgtest.New(t).URLs["users"]
	keys := seal.New()
	keyset, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	signing, err := auth.NewKeyring().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"DATABASE_URL=" + url, "KEYSET=" + string(keyset), "SIGNING_KEYS=" + string(signing)}
	command := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if err := app.Command(ctx, append([]string{"emporium"}, args...), environ, &out, &errs); err != nil {
			t.Fatalf("emporium %s: %v\n%s", strings.Join(args, " "), err, &errs)
		}
		return strings.TrimSpace(out.String())
	}
	command("seed")
	accounts := seed.Accounts()
	staff := slices.IndexFunc(accounts, func(a seed.Account) bool { return slices.Contains(a.Roles, auth.RoleAdmin) })
	token := command("token", "--email", accounts[staff].Email)

	cfg, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(ctx, cfg, slog.New(slog.DiscardHandler), func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	emporium := httptest.NewServer(a.Handler())
	t.Cleanup(emporium.Close)

	sealer, err := seal.NewSealer(keys)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	hand := httptest.NewServer(handwritten.New(pool, sealer))
	t.Cleanup(hand.Close)

	db, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.WithoutCancel(ctx)) })
	servers := []target{{server: nameHandwritten, addr: hand.Listener.Addr().String()},
		{server: nameEmporium, addr: emporium.Listener.Addr().String()}}
	for _, w := range slices.Concat(questions(), scaling()) {
		if err := w.read(ctx, db, 1000, 1); err != nil {
			t.Fatal(err)
		}
		asked := servers
		if w.series != "" {
			asked = servers[1:]
		}
		targets, expected, err := w.prepare(ctx, asked, token)
		if err != nil {
			t.Errorf("%s: %v", w.name, err)
			continue
		}
		if len(targets) != len(asked) || len(expected) != len(w.variables) {
			t.Errorf("%s: %d variables, %d targets, %d expectations", w.name, len(w.variables), len(targets), len(expected))
		}
		for _, to := range targets {
			if len(to.requests) != len(w.variables) {
				t.Errorf("%s: %d variables, %d requests to %s", w.name, len(w.variables), len(to.requests), to.server)
			}
		}
	}

	// Whatever there is, seen by everybody or not, and what there is not.
	for _, test := range []struct {
		workload, table string
		key             string
		kind            id.Kind
	}{
		{"w1", "products.products", "id", id.Product},
		{"w2", "products.categories", "id", id.Category},
		{"w4", "users.users", "owner_id", id.User},
	} {
		w := questions()[slices.IndexFunc(questions(), func(w *workload) bool { return w.name == test.workload })]
		all, err := ids(ctx, db, test.kind, "SELECT "+test.key+" FROM "+test.table+" WHERE $1::text <> '' LIMIT $2", 1, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) < 10 {
			t.Errorf("%s: only %d rows in the demo shop", test.table, len(all))
		}
		all = append(all, map[string]any{"id": id.Of(test.kind, id.New()).String()})
		clients := [2]*client{}
		for i, server := range []*httptest.Server{hand, emporium} {
			if clients[i], err = dial(ctx, server.Listener.Addr().String()); err != nil {
				t.Fatal(err)
			}
			defer clients[i].close()
		}
		for _, variables := range all {
			plain, _ := json.Marshal(variables)
			query, _ := w.forGraphQL(variables)
			statusA, a, errA := clients[0].do(requestFor("test", "/"+w.name, "", plain))
			bearer := ""
			if w.staff {
				bearer = token
			}
			statusB, b, errB := clients[1].do(requestFor("test", "/graphql", bearer, query))
			if errA != nil || errB != nil || statusA != 200 || statusB != 200 || !bytes.Equal(a, b) {
				t.Errorf("%s %s:\n%d %s %v\n%d %s %v", w.name, plain, statusA, around(a, b), errA, statusB, around(b, a), errB)
			}
		}
	}
}
