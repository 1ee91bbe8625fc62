package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"emporium/internal/auth"
	"emporium/internal/cache"
	"emporium/internal/cache/remote"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/redisclient"
)

// keeping is a world whose handler keeps answers, beside one that keeps none. Its databases are those of a cluster of the
// tests' own, because a slot waits for whatever else is under way in a server.
type keeping struct {
	*world
	plain   world // the same without a cache
	cache   *cache.Cache
	store   *remote.Store
	redis   redis.UniversalClient // where other processes would find answers
	prefix  string                // of all keys there
	exceeds func(op *graphql.OperationContext, asked *auth.Asked)
}

// viewers are everyone, and a machine with a key.
var viewers = append(slices.Clone(everyone), "machine")

// looked is how an answer was come by.
type looked struct {
	answer
	level cache.Level // empty: it was no query
	why   string      // it was not kept
}

type lookedKey struct{}

func newKeeping(t testing.TB, size int) *keeping {
	t.Helper()
	return keep(t, newWorldIn(t, pgtest.CommonCluster(t).Migrated(t), size), nil)
}

// keep adds a cache to a world of the tests' own cluster, and waits until it can be used; change may change how it is made.
func keep(t testing.TB, w *world, change func(*cache.Options)) *keeping {
	t.Helper()
	client, err := redisclient.Open(pgtest.CommonCluster(t).RedisURL, 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	k := &keeping{world: w, redis: client, prefix: "test:" + uuid.NewString() + ":"}
	k.plain = *w
	w.tokens["machine"] = w.machine
	k.exceeds = func(op *graphql.OperationContext, asked *auth.Asked) {
		t.Errorf("an answer depends on more of its viewer than the directives say: roles %v, who: %v\n%s", asked.Roles(), asked.ID(), op.RawQuery)
	}
	return k.beside(t, change)
}

// beside returns another process on the databases and the Redis of this one.
func (k *keeping) beside(t testing.TB, change func(*cache.Options)) *keeping {
	t.Helper()
	own := *k.world
	twin := &keeping{world: &own, plain: k.plain, redis: k.redis, prefix: k.prefix, exceeds: k.exceeds}
	twin.store = remote.New(remote.Options{Client: k.redis, Prefix: k.prefix, Sealer: k.sealer, Budget: time.Second})
	o := cache.Options{Bytes: 256 << 20, Remote: twin.store}
	if pgtest.Apart() {
		dbs := map[string]*postgres.DB{"users": k.dbs.Users, "products": k.dbs.Products, "orders": k.dbs.Orders, "payments": k.dbs.Payments}
		for _, domain := range slices.Sorted(maps.Keys(dbs)) { // the same order in all processes, by which entries name them
			db := dbs[domain]
			o.Sources = append(o.Sources, cache.Source{Domains: []string{domain}, DB: db, Direct: k.dbs.URLs[domain]})
		}
	} else {
		o.Sources = []cache.Source{{Domains: slices.Sorted(maps.Keys(k.dbs.URLs)), DB: k.dbs.Users, Direct: k.dbs.URLs["users"]}}
	}
	if change != nil {
		change(&o)
	}
	var err error
	if twin.cache, err = cache.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = twin.cache.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })

	own.options.Cache = twin.cache
	own.options.watch = watch{
		answered: func(ctx context.Context, level cache.Level, why string) {
			if o, ok := ctx.Value(lookedKey{}).(*looked); ok {
				o.level, o.why = level, why
			}
		},
		exceeded: func(op *graphql.OperationContext, asked *auth.Asked) { twin.exceeds(op, asked) },
	}
	if own.handler, err = NewHandler(own.options); err != nil {
		t.Fatal(err)
	}
	until(t, "the cache can be used", twin.cache.Ready)
	// Right after the start, and after each write, nobody can tell yet whether an answer is of before or after it.
	until(t, "answers are kept", func() bool { return twin.look("", `{ categories { name } }`, nil).level == cache.Local })
	return twin
}

// until polls.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// look asks as ask does, and tells how the answer was come by.
func (k *keeping) look(who, query string, variables map[string]any) looked {
	k.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		k.t.Fatal(err)
	}
	return k.lookAt(k.request(who, body))
}

func (k *keeping) lookAt(r *http.Request) looked {
	var o looked
	o.answer = k.send(r.WithContext(context.WithValue(r.Context(), lookedKey{}, &o)))
	return o
}

// kept asks until the answer is kept here, and returns it.
func (k *keeping) kept(who, query string, variables map[string]any) looked {
	k.t.Helper()
	var o looked
	until(k.t, "the answer to "+query+" is kept", func() bool {
		o = k.look(who, query, variables)
		return o.level == cache.Local
	})
	return o
}

// same reports whether two answers are alike: byte for byte, but for the order of their errors.
func same(a, b answer) bool {
	return a.status == b.status && (a.body == b.body ||
		bytes.Contains([]byte(a.body), []byte(`"errors"`)) && maps.Equal(a.parts(), b.parts()))
}

// followed is look while the cache is in use: on a busy machine a lease can run out.
func (k *keeping) followed(who, query string, variables map[string]any) looked {
	for {
		if a := k.look(who, query, variables); !strings.Contains(a.why, "not followed") {
			return a
		}
	}
}
