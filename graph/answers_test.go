package graph

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"emporium/internal/auth"
	"emporium/internal/cache"
	"emporium/internal/cache/cachetest"
	"emporium/internal/id"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

const rename = `mutation($p: ID!, $t: String!) { productUpdate(input: {productId: $p, title: $t}) { product { title } userErrors { code message } } }`

// rename gives the first product another title, and wants that to be done.
func (k *keeping) rename(title string) {
	k.t.Helper()
	a := k.ask("manager", rename, map[string]any{"p": k.ids["Product"].String(), "t": title})
	if !strings.Contains(a.body, `{"title":"`+title+`"}`) {
		k.t.Errorf("renamed to %s: %s", title, a.body)
	}
}

func (k *keeping) titles() (query string) {
	return `{ product(id: "` + k.ids["Product"].String() + `") { title } }`
}

// TestStandingCounts changes what somebody may do, or ends their session, and wants the next request with the same token to
// get what it may get now, never what was kept.
func TestStandingCounts(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 6)
	user := func(name string) string { return id.Of(id.User, k.person(name)).String() }
	signIn := func(name, as string) {
		t.Helper()
		tokens, err := k.services.Users.OpenSession(t.Context(), name+"@example.com")
		if err != nil {
			t.Fatal(err)
		}
		k.tokens[as] = tokens.AccessToken
	}
	list, adas := `{ users(first: 3) { nodes { name } } }`, `{ order(id: "`+k.ids["Order"].String()+`") { number } }`
	own, open := `{ viewer { roles orders(first: 3) { nodes { number } } } }`, `{ categories { name } }`
	expect := func(who, query, want string) {
		t.Helper()
		if a := k.look(who, query, nil); !strings.Contains(a.body, want) {
			t.Errorf("%s as %q: %s %d %s, want %s", query, who, a.level, a.status, a.body, want)
		}
	}

	signIn("customer0", "riser")
	if a := k.kept("riser", adas, nil); !strings.Contains(a.body, `"order":null`) {
		t.Errorf("a customer gets another's order: %s", a.body)
	}
	k.kept("riser", own, nil)
	expect("riser", list, "FORBIDDEN")
	k.data("admin", userSetRoles, in("userId", user("customer0"), "roles", []string{"SUPPORT"}))
	expect("riser", adas, `"number":`)
	expect("riser", own, `["SUPPORT"]`)
	expect("riser", list, `"name":`)
	k.kept("riser", adas, nil)
	k.kept("riser", list, nil)
	k.data("admin", userSetRoles, in("userId", user("customer0"), "roles", []string{"CUSTOMER"}))
	expect("riser", adas, `"order":null`)
	expect("riser", own, `["CUSTOMER"]`)
	expect("riser", list, "FORBIDDEN")

	refused := func(who, why string) {
		t.Helper()
		for _, query := range []string{own, open, list} {
			if a := k.look(who, query, nil); a.status != http.StatusUnauthorized || strings.Contains(a.body, `"data"`) || a.level != "" {
				t.Errorf("%s: %s: %s %d %s", why, query, a.level, a.status, a.body)
			}
		}
	}
	signIn("customer1", "leaver")
	k.kept("leaver", own, nil)
	k.kept("leaver", open, nil)
	k.data("leaver", `mutation { signOut { sessionsEnded } }`, nil)
	refused("leaver", "signed out")

	signIn("customer2", "closed")
	k.kept("closed", own, nil)
	k.data("admin", userDeactivate, in("userId", user("customer2")))
	refused("closed", "deactivated")

	signIn("customer3", "here")
	signIn("customer3", "there")
	k.kept("here", own, nil)
	k.kept("there", own, nil)
	k.data("here", `mutation($old: String!) { passwordChange(input: {currentPassword: $old, newPassword: "an altogether other one"}) { changed userErrors { code } } }`,
		map[string]any{"old": password})
	refused("there", "the password was changed elsewhere")
	expect("here", own, `["CUSTOMER"]`)

	verifier, err := auth.NewVerifier(auth.VerifierConfig{Issuer: "test", Audience: "test", Leeway: -1}, k.keys)
	if err != nil {
		t.Fatal(err)
	}
	k.options.Verifier = verifier
	if k.handler, err = NewHandler(k.options); err != nil {
		t.Fatal(err)
	}
	claims, err := verifier.Verify(t.Context(), k.tokens["bob"])
	if err != nil {
		t.Fatal(err)
	}
	if k.tokens["bob"], err = auth.NewIssuer("test", "test", k.keys).Issue(claims.Actor, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	until(t, "the token has run out", func() bool { return k.look("bob", own, nil).status == http.StatusUnauthorized })
	refused("bob", "the token has run out")
}

// TestAReadThatOverlapsAMutationIsNotKept holds a reader back that has read before a mutation, until the mutation has
// answered: what it read is kept neither in the process nor in Redis, and whoever asks after the mutation's answer gets what
// is true then, though the first one is still under way.
func TestAReadThatOverlapsAMutationIsNotKept(t *testing.T) {
	t.Parallel()
	g := cachetest.NewGate("filled")
	k := keep(t, newWorldIn(t, pgtest.CommonCluster(t).Migrated(t), 2), func(o *cache.Options) { o.Delay = g.Pass })
	other := k.beside(t, nil)

	g.Closed.Store(true)
	early := make(chan looked, 1)
	go func() { early <- k.look("", k.titles(), nil) }()
	<-g.Arrived // it has read
	k.rename("Renamed")
	later := make(chan looked, 1)
	go func() { later <- k.look("", k.titles(), nil) }()
	elsewhere := other.look("", k.titles(), nil)
	if !strings.Contains(elsewhere.body, "Renamed") {
		t.Errorf("another process, after the mutation's answer: %s %s", elsewhere.level, elsewhere.body)
	}
	close(g.Open)
	if a := <-later; !strings.Contains(a.body, "Renamed") {
		t.Errorf("the same process, after the mutation's answer: %s %s", a.level, a.body)
	}
	if a := <-early; a.why == "" || a.level == cache.Local {
		t.Errorf("what was read before the mutation is kept: %s %s", a.level, a.body)
	}
	for _, p := range []*keeping{k, other} {
		for range 20 {
			if a := p.look("ada", k.titles(), nil); !strings.Contains(a.body, "Renamed") {
				t.Fatalf("it comes back: %s %s", a.level, a.body)
			}
		}
	}
}

// TestMutationsAnswerWhenNothingOlderIsAnswered changes a product many times in one process, and wants each answer that
// another process gives after the mutation's to show it.
func TestMutationsAnswerWhenNothingOlderIsAnswered(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 2)
	other := k.beside(t, nil)
	for n := range 30 {
		for _, p := range []*keeping{k, other} {
			p.kept("", k.titles(), nil)
		}
		title := fmt.Sprint("Title ", n)
		k.rename(title)
		for _, p := range []*keeping{k, other} {
			for _, who := range []string{"", "ada", "manager"} {
				if a := p.look(who, k.titles(), nil); !strings.Contains(a.body, title) {
					t.Fatalf("after %q as %q: %s %s", title, who, a.level, a.body)
				}
			}
		}
	}
}

// TestWhatIsNotWholeIsNotKept asks twice for what fails, wholly and in part, and for what is refused.
func TestWhatIsNotWholeIsNotKept(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 2)
	for _, query := range []string{
		`{ users(first: 1) { nodes { name } } }`,
		`{ categories { name } users(first: 1) { nodes { name } } }`,
		`{ variant(id: "` + k.ids["Variant"].String() + `") { sku inventory { onHand } } }`,
		`{ products(first: 1000) { nodes { title } } }`,
		`{ product { title } }`,
		`{ nothing }`, `{`,
	} {
		for range 3 {
			for _, who := range []string{"ada", ""} {
				got, want := k.look(who, query, nil), k.plain.ask(who, query, nil)
				if got.level == cache.Local || got.level == cache.Shared || got.level == cache.Remote || !same(got.answer, want) || !strings.Contains(got.body, `"errors"`) {
					t.Errorf("%s as %q: %s %d %s; without a cache %s", query, who, got.level, got.status, got.body, want.body)
				}
			}
		}
	}
}

// TestWhatIsNeverKept asks for the schema, subscribes, and changes something: none of it is looked up or kept.
func TestWhatIsNeverKept(t *testing.T) {
	t.Parallel()
	var lookups atomic.Int64
	k := keep(t, newWorldIn(t, pgtest.CommonCluster(t).Migrated(t), 1), func(o *cache.Options) {
		o.Observe.Lookup = func(cache.Level) { lookups.Add(1) }
	})
	before := lookups.Load()
	for range 2 {
		for _, query := range []string{`{ __schema { queryType { name } } }`, `{ __type(name: "Product") { name } }`, `{ __typename __schema { queryType { name } } }`} {
			if a := k.look("", query, nil); a.status != http.StatusOK && a.level == "" {
				t.Errorf("%s: %d %s", query, a.status, a.body)
			} else if a.level != cache.Bypass && a.level != "" {
				t.Errorf("%s: %s", query, a.level)
			}
		}
		k.look("ada", `subscription { stockChanged(variantIds: ["`+k.ids["Variant"].String()+`"]) { variant { sku } } }`, nil)
		if a := k.look("bob", `mutation { signOutEverywhere { sessionsEnded } }`, nil); a.level != "" {
			t.Errorf("a mutation was looked up: %s", a.level)
		}
	}
	r := k.replicate(nil) // with the cache of k
	s := r.listen("ada", `subscription($id: ID!) { orderChanged(id: $id) { cursor } }`, map[string]any{"id": k.ids["Order"].String()})
	s.expect("event: next\ndata: {\"data\":{\"orderChanged\":{\"cursor\":null}}}\n")
	if after := lookups.Load(); after != before {
		t.Errorf("%d of them were looked up", after-before)
	}
}

// TestManyMissesRunOnce has a hundred ask the same at once: what it takes is read once.
func TestManyMissesRunOnce(t *testing.T) {
	t.Parallel()
	g := cachetest.NewGate("marked")
	k := keep(t, newWorldIn(t, pgtest.CommonCluster(t).Migrated(t), 2), func(o *cache.Options) { o.Delay = g.Pass })
	const clients = 100
	query := `{ collections(first: 3) { nodes { title slug } } }`
	g.Closed.Store(true)
	all := make(chan looked, clients)
	var begun sync.WaitGroup
	ask := func(who string) {
		begun.Done()
		all <- k.look(who, query, nil)
	}
	begun.Add(clients)
	go ask("")
	<-g.Arrived
	for n := range clients - 1 {
		go ask([]string{"", "ada", "manager"}[n%3])
	}
	begun.Wait()
	close(g.Open)
	levels, statements, body := map[cache.Level]int{}, 0, ""
	for range clients {
		a := <-all
		levels[a.level]++
		for _, s := range a.statements {
			if strings.HasPrefix(s, "products.") {
				statements++
			}
		}
		if body == "" {
			body = a.body
		}
		if a.body != body || strings.Contains(body, `"errors"`) {
			t.Errorf("%s, and %s", a.body, body)
		}
	}
	if statements != 1 || levels[cache.Miss] != 1 {
		t.Errorf("%d statements for %v", statements, levels)
	}
}

// TestNoFlightHasTwoViewers stops the answer to one viewer while it is made: another who asks the same does not wait for it.
func TestNoFlightHasTwoViewers(t *testing.T) {
	t.Parallel()
	g := cachetest.NewGate("filled")
	k := keep(t, newWorldIn(t, pgtest.CommonCluster(t).Migrated(t), 3), func(o *cache.Options) { o.Delay = g.Pass })
	query := `{ viewer { email } orders(first: 3) { nodes { number } } }`
	g.Closed.Store(true)
	adas := make(chan looked, 1)
	go func() { adas <- k.look("ada", query, nil) }()
	<-g.Arrived
	for _, who := range viewers[2:] {
		got, want := k.look(who, query, nil), k.plain.ask(who, query, nil)
		for got.level == cache.Bypass { // the cache is not in use for a moment, on a busy machine
			got = k.look(who, query, nil)
		}
		if got.level != cache.Miss || !same(got.answer, want) {
			t.Errorf("as %q: %s %s; without a cache %s", who, got.level, got.body, want.body)
		}
	}
	close(g.Open)
	if a := <-adas; !strings.Contains(a.body, `"ada@example.com"`) {
		t.Errorf("Ada gets %s", a.body)
	}
}

// TestWhatRedisHolds fills Redis with answers of all scopes. Each key goes by itself, there are no more than there are
// answers, what is somebody's can not be read there, and another process answers from it to those whom it is for.
func TestWhatRedisHolds(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 3)
	other, remotes := k.beside(t, nil), 0 // before there is anything in Redis: what was changed before it began it can not tell
	open := []string{`{ categories { name slug } }`, `{ products(first: 20) { nodes { title description variants { sku price { amount } } } } }`, k.titles()}
	hers := []string{`{ viewer { name email phone addresses { name line1 city } orders(first: 10) { nodes { number email shippingAddress { line1 } payments { id } } } } }`,
		`{ me: viewer { e: email } }`, `{ categories { name } viewer { name } }`, `{ node(id: "` + k.ids["User"].String() + `") { ... on User { name email } } }`,
		`{ cart { id email note lines { quantity } } }`}
	staffs := []string{`{ users(first: 50) { nodes { name email phone addresses { line1 } } } }`, `{ payments(first: 20) { nodes { id providerDetails { reference } } } }`}
	asked := 1 // that of keep
	for _, who := range viewers {
		for _, query := range append(append(open[:len(open):len(open)], hers...), staffs...) {
			if a := k.look(who, query, nil); a.level == cache.Miss && a.why == "" {
				asked++
			}
		}
	}
	var keys []string
	until(t, "Redis has all answers", func() bool {
		var err error
		if keys, err = k.redis.Keys(t.Context(), k.prefix+"*").Result(); err != nil {
			t.Fatal(err)
		}
		return len(keys) >= asked
	})
	if len(keys) > asked {
		t.Errorf("%d keys for %d answers", len(keys), asked)
	}
	var readable bytes.Buffer
	sealed := 0
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	for _, key := range keys {
		ttl, err := k.redis.TTL(t.Context(), key).Result()
		if err != nil || ttl <= 0 || ttl > 2*time.Hour {
			t.Errorf("%s goes in %v, %v", key, ttl, err)
		}
		if kind := k.redis.Type(t.Context(), key).Val(); kind != "string" {
			t.Errorf("%s is a %s", key, kind)
		}
		value, err := k.redis.Get(t.Context(), key).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		readable.WriteString(key)
		readable.Write(value)
		if value[0] == 3 {
			sealed++
		}
		if value[0] == 2 { // compressed
			_, n := binary.Uvarint(value[1:])
			text, err := decoder.DecodeAll(value[1+n:], nil)
			if err != nil {
				t.Fatal(err)
			}
			readable.Write(text)
		}
	}
	if !strings.Contains(readable.String(), "Shirt 0") || !strings.Contains(readable.String(), "Clothes") {
		t.Error("even public answers can not be found: the search is of no use")
	}
	for _, personal := range []string{"Name of", "@example.com", "Street 1", "+49309", "ref-", "Berlin", "Ring twice", k.numbers["ada"], k.ids["User"].String(), k.ids["Cart"].String()} {
		if strings.Contains(readable.String(), personal) {
			t.Errorf("%q can be read in Redis", personal)
		}
	}
	if sealed == 0 || sealed == len(keys) {
		t.Errorf("%d of %d are sealed", sealed, len(keys))
	}

	for _, who := range viewers {
		for _, query := range append(append(open[:len(open):len(open)], hers...), staffs...) {
			got, want := other.look(who, query, nil), k.plain.ask(who, query, nil)
			if !same(got.answer, want) {
				t.Errorf("%s as %q from another process: %s %s; without a cache %s", query, who, got.level, got.body, want.body)
			}
			if got.level == cache.Remote {
				remotes++
			}
		}
	}
	if remotes < len(keys)/2 {
		t.Errorf("another process found %d of %d answers in Redis", remotes, len(keys))
	}
	t.Logf("%d keys, %d of them sealed; another process found %d", len(keys), sealed, remotes)
}

// TestAnswersOfAnotherMaker are not taken for one's own, though they lie in the same Redis under the same question.
func TestAnswersOfAnotherMaker(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 1)
	same, other := k.beside(t, nil), k.beside(t, nil)
	other.options.Maker = "another"
	var err error
	if other.handler, err = NewHandler(other.options); err != nil {
		t.Fatal(err)
	}
	n := 0
	until(t, "an answer is found in Redis", func() bool {
		n++
		query := fmt.Sprintf("%s # %d", k.titles(), n)
		k.kept("", query, nil)
		found := same.look("", query, nil)
		if a := other.look("", query, nil); a.level != cache.Miss {
			t.Errorf("what another one has made is found: %s", a.level)
		}
		return found.level == cache.Remote
	})
}

// late notes what was known when an answer was written.
type late struct {
	http.ResponseWriter
	waited *atomic.Int64
	seen   int64
}

func (l *late) WriteHeader(status int) {
	l.seen = l.waited.Load()
	l.ResponseWriter.WriteHeader(status)
}

// TestMutationsWaitBeforeTheyAnswer wants the wait to be over before anything is written of the answer: of a mutation that
// was done, of one of which a part failed, and of one whose verb refused.
func TestMutationsWaitBeforeTheyAnswer(t *testing.T) {
	t.Parallel()
	var waited atomic.Int64
	k := keep(t, newWorldIn(t, pgtest.CommonCluster(t).Migrated(t), 2), func(o *cache.Options) {
		o.Observe.Await = func(time.Duration) { waited.Add(1) }
	})
	handler := k.handler
	var last *late
	k.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last = &late{ResponseWriter: w, waited: &waited}
		handler.ServeHTTP(last, r)
	})
	product := k.ids["Product"].String()
	for n, c := range []struct{ name, who, query, want string }{
		{"done", "manager", `mutation { productUpdate(input: {productId: "` + product + `", title: "One"}) { product { title } } }`, `"One"`},
		{"half of it failed", "manager", `mutation { a: productUpdate(input: {productId: "` + product + `", title: "Two"}) { product { title } }
			b: userSetRoles(input: {userId: "` + k.ids["User"].String() + `", roles: [ADMIN]}) { userErrors { code } } }`, "FORBIDDEN"},
		{"an error below", "manager", `mutation { productUpdate(input: {productId: "` + product + `", title: "Three"}) { product { title category { products(first: 1000) { totalCount } } } } }`, `"errors"`},
		{"a user error", "manager", `mutation { productUpdate(input: {productId: "` + product + `", title: ""}) { product { title } userErrors { field } } }`, `userErrors`},
	} {
		k.kept("ada", k.titles(), nil)
		before := waited.Load()
		a := k.ask(c.who, c.query, nil)
		if last.seen <= before || !strings.Contains(a.body, c.want) {
			t.Errorf("%s: %d waits before, %d when it was written: %s", c.name, before, last.seen, a.body)
		}
		want := []string{"One", "Two", "Three", "Three"}[n]
		if got := k.look("ada", k.titles(), nil); !strings.Contains(got.body, want) {
			t.Errorf("%s: afterwards %s %s, want %s", c.name, got.level, got.body, want)
		}
	}
}

// TestWhoAsksIsFoundOutInTime holds up what tells who asks, for a question that is known: the answer says in time that there is
// none.
func TestWhoAsksIsFoundOutInTime(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 2)
	k.options.Timeout = 300 * time.Millisecond
	var err error
	if k.handler, err = NewHandler(k.options); err != nil {
		t.Fatal(err)
	}
	k.kept("", k.titles(), nil)
	tokens, err := k.services.Users.OpenSession(t.Context(), "ada@example.com")
	if err != nil {
		t.Fatal(err)
	}
	k.tokens["ada again"] = tokens.AccessToken // which nobody has asked with
	err = k.dbs.Users.InTx(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		if _, err := postgres.Raw(tx).Exec(ctx, `LOCK TABLE users.sessions IN ACCESS EXCLUSIVE MODE`); err != nil {
			return err
		}
		began := time.Now()
		a := k.look("ada again", k.titles(), nil)
		if took := time.Since(began); took > 5*time.Second || a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, `"TIMEOUT"`) {
			t.Errorf("after %v: %d %s", took, a.status, a.body)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	until(t, "it is known who asks", func() bool { return strings.Contains(k.look("ada again", k.titles(), nil).body, `"title"`) })
}
