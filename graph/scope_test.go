package graph

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"emporium/internal/auth"
	"emporium/internal/cache"
	"emporium/internal/id"
	"emporium/internal/postgres/pgtest"
)

// keptQueries is how many generated queries TestKeptAnswersAreOnesOwn asks, besides every path; EMPORIUM_FUZZ_QUERIES says
// otherwise, and EMPORIUM_FUZZ_SEED which.
const keptQueries = 300

// asking is a query of which nobody knows who is to get which answer.
type asking struct {
	name      string
	document  string
	variables map[string]any
}

// questions are every path of the contract and as many generated queries as are asked for.
func (k *keeping) questions(t *testing.T, generated uint64) []asking {
	t.Helper()
	var all []asking
	for _, p := range paths(t, k.world) {
		all = append(all, asking{p.name, p.document, nil})
	}
	seed, queries := number(t, "EMPORIUM_FUZZ_SEED", generatedSeed), newGenerator(contract(t), &k.plain, nil)
	for n := range number(t, "EMPORIUM_FUZZ_QUERIES", generated) {
		document, variables := queries.with(rand.New(rand.NewPCG(seed+n, 0))).operation()
		all = append(all, asking{fmt.Sprint("generated ", seed+n), document, variables})
	}
	return all
}

// TestKeptAnswersAreOnesOwn asks every path of the contract and generated queries as every viewer, in random order, twice
// each. Whoever made an answer that is kept, it is the one that the viewer gets without a cache; and what it depends on of
// its viewer is what the directives say.
func TestKeptAnswersAreOnesOwn(t *testing.T) {
	t.Parallel()
	k := keep(t, newVariedWorldIn(t, pgtest.CommonCluster(t).Migrated(t)), nil)
	all := k.questions(t, keptQueries)
	type task struct {
		*asking
		who string
	}
	var tasks []task
	for i := range all {
		for _, who := range viewers {
			tasks = append(tasks, task{&all[i], who})
		}
	}
	rand.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	if raceDetector { // it takes its time: others each time
		tasks = tasks[:len(tasks)/5]
	}

	var next, wrong, hits, shared atomic.Int64
	var mu sync.Mutex
	keeps, reasons, never := map[*asking]bool{}, map[string]int{}, map[*asking]map[string]bool{}
	fail := func(format string, args ...any) {
		if wrong.Add(1) <= maxDifferences {
			t.Errorf(format, args...)
		}
	}
	start := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(tasks)) && wrong.Load() < maxDifferences; n = next.Add(1) - 1 {
				q := tasks[n]
				first, want := k.look(q.who, q.document, q.variables), k.plain.ask(q.who, q.document, q.variables)
				second := k.look(q.who, q.document, q.variables)
				for _, got := range []looked{first, second} {
					if !same(got.answer, want) {
						given, _ := json.Marshal(q.variables) // was made from JSON
						fail("%s as %q (%s): %d %.1000s\nwithout a cache: %d %.1000s\n%s\nvariables %s", q.name, q.who, got.level,
							got.status, excerpt(got.body, want.body), want.status, excerpt(want.body, got.body), q.document, given)
					}
				}
				why := first.why
				if first.level == "" {
					why = "it was refused"
				}
				switch {
				case why == "" && second.level == cache.Bypass: // a lease has run out, because the machine is busy
				case why == "" && second.level != cache.Local:
					fail("%s as %q: first %s, then %s, because %q\n%s", q.name, q.who, first.level, second.level, second.why, q.document)
				case second.level == cache.Local:
					hits.Add(1)
					if strings.Contains(second.body, `"errors"`) {
						fail("%s as %q: errors are kept: %s", q.name, q.who, second.body)
					}
				}
				if first.level == cache.Local {
					shared.Add(1)
				}
				mu.Lock()
				reasons[why]++
				if why == "" {
					keeps[q.asking] = true
				} else if never[q.asking] == nil {
					never[q.asking] = map[string]bool{why: true}
				} else {
					never[q.asking][why] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()

	t.Logf("%d answers to %d questions as %d viewers in %s: %d were kept, %d more were found that somebody else had made", len(tasks), len(all),
		len(viewers), time.Since(start).Round(time.Millisecond), reasons[""]-int(shared.Load()), shared.Load())
	t.Logf("%d of %d questions have an answer to somebody that is kept", len(keeps), len(all))
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		t.Logf("%6d × %s", reasons[why], why)
	}
	for i := range all {
		q := &all[i]
		if !raceDetector && !keeps[q] && !strings.HasPrefix(q.name, "generated") {
			t.Logf("never kept: %s: %q", q.name, slices.Sorted(maps.Keys(never[q])))
		}
	}
	if hits.Load()*2 < int64(len(tasks)) || shared.Load() == 0 {
		t.Errorf("only %d of %d answers came from the cache, %d of them made for somebody else: too little was tested", hits.Load(), len(tasks), shared.Load())
	}
}

// TestWrongPolicyIsNoticed takes from all policies what an answer depends on of its viewer. Nothing that is somebody's is
// kept all the same, and it is told. (What it is about is caught by the same means in TestKeptAnswersAreOnesOwn.)
func TestWrongPolicyIsNoticed(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 2)
	var told atomic.Int64
	k.exceeds = func(*graphql.OperationContext, *auth.Asked) { told.Add(1) }
	root := Resolver{Services: k.options.Services, Queues: k.options.Queues, Cookies: k.options.Cookies}
	schema, err := newExecutable(NewExecutableSchema(Config{Resolvers: root, Directives: directives()}), root, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for field, p := range schema.policies {
		schema.policies[field] = policy{maxAge: p.maxAge}
	}
	if k.handler, err = k.options.handler(schema); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		`{ viewer { email } }`, `{ orders(first: 5) { nodes { number } totalCount } }`, `{ order(id: "` + k.ids["Order"].String() + `") { number } }`,
		`{ node(id: "` + k.ids["Address"].String() + `") { id ... on Address { city } } }`, `{ cart { id } }`,
		`{ users(first: 3) { nodes { name } } }`, `{ products(first: 3) { nodes { title metadata } } }`,
		`{ variant(id: "` + k.ids["Variant"].String() + `") { inventory { onHand } } }`,
	} {
		before := told.Load()
		for range 2 {
			for _, who := range viewers {
				got, want := k.look(who, query, nil), k.plain.ask(who, query, nil)
				if got.level == cache.Local || !same(got.answer, want) {
					t.Errorf("%s as %q: %s %s, without a cache %s", query, who, got.level, got.body, want.body)
				}
			}
		}
		if told.Load() == before {
			t.Errorf("%s: the policy says nothing of a viewer, and nobody was told", query)
		}
	}
}

// alike are groups of viewers who are to share an answer.
type alike [][]string

var (
	byRole     = alike{{"", "ada", "bob"}, {"support"}, {"manager"}, {"admin"}, {"service", "machine"}}
	eachAlone  = alike{{""}, {"ada"}, {"bob"}, {"support"}, {"manager"}, {"admin"}, {"service"}, {"machine"}}
	staffByIts = alike{{""}, {"ada"}, {"bob"}, {"support", "support2"}, {"manager"}, {"admin"}, {"service"}, {"machine"}}
)

func (a alike) share(one, other string) bool {
	for _, group := range a {
		if slices.Contains(group, one) && slices.Contains(group, other) {
			return true
		}
	}
	return false
}

// TestWhoSharesAnAnswer has each viewer make an answer and each other one ask the same after that: those find it for whom it
// is the same by what the directives say, and nobody else does.
func TestWhoSharesAnAnswer(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 4)
	k.data("admin", userSetRoles, in("userId", id.Of(id.User, k.person("customer0")).String(), "roles", []string{"SUPPORT"}))
	session, err := k.services.Users.OpenSession(t.Context(), "customer0@example.com")
	if err != nil {
		t.Fatal(err)
	}
	k.tokens["support2"] = session.AccessToken
	idOf := func(name string) string { return `"` + k.ids[name].String() + `"` }
	conditional := `query($private: Boolean!) { categories { name } ...Hers } fragment Hers on Query { viewer @include(if: $private) { email } }`
	skipped := `query($public: Boolean! = true) { collections(first: 1) { nodes { title } } mine: viewer @skip(if: $public) { name } }`
	support := append(slices.Clone(viewers), "support2")
	for _, c := range []struct {
		name, query string
		variables   map[string]any
		want        alike
	}{
		{"nothing of the viewer", `{ categories { name slug children { name } } }`, nil, alike{support}},
		{"a type name alone", `{ __typename }`, nil, alike{support}},
		{"an object of a public type by a public root", `{ collection(slug: "summer") { title } }`, nil, alike{support}},
		{"a role", `{ products(first: 2) { nodes { title } } }`, nil, append(alike{{"support", "support2"}}, byRole...)},
		{"a role below what is public", `{ categories { name products(first: 2) { nodes { title } } } }`, nil, append(alike{{"support", "support2"}}, byRole...)},
		{"by ID", `{ product(id: ` + idOf("Product") + `) { title metadata } }`, nil, append(alike{{"support", "support2"}}, byRole...)},
		{"the viewer", `{ viewer { email } }`, nil, eachAlone},
		{"the viewer under an alias", `{ categories: viewer { name: email } }`, nil, eachAlone},
		{"the viewer in a fragment", `{ categories { name } ...F } fragment F on Query { ... { ... on Query { viewer { email } } } }`, nil, eachAlone},
		{"the viewer's type name alone", `{ viewer { __typename } }`, nil, eachAlone},
		{"what is one's own", `{ orders(first: 5) { nodes { number } } }`, nil, eachAlone},
		{"somebody's or nobody's", `{ order(id: ` + idOf("Order") + `) { number } }`, nil, staffByIts},
		{"a node that is somebody's", `{ node(id: ` + idOf("Order") + `) { id } }`, nil, staffByIts},
		{"a node of a public type", `{ node(id: ` + idOf("Product") + `) { ... on Product { title } } }`, nil, staffByIts},
		{"nodes", `{ nodes(ids: [` + idOf("Category") + `, ` + idOf("Address") + `]) { __typename ... on Address { city } } }`, nil, staffByIts},
		{"for staff", `{ users(first: 3) { nodes { name email } } }`, nil, alike{{"support", "support2"}}},
		{"for staff, with the viewer", `{ users(first: 3) { nodes { name } } me: viewer { id } }`, nil, nil},
		{"for staff below what is public", `{ variant(id: ` + idOf("Variant") + `) { sku inventory { onHand } } }`, nil, alike{{"support", "support2"}, {"service", "machine"}}},
		{"a person below what is public", `{ variant(id: ` + idOf("Variant") + `) { inventory { movements(first: 5) { nodes { actor { name } } } } } }`, nil, alike{{"support", "support2"}}},
		{"without what is private", conditional, map[string]any{"private": false}, alike{support}},
		{"with what is private", conditional, map[string]any{"private": true}, eachAlone},
		{"what is private skipped by default", skipped, nil, alike{support}},
		{"what is private not skipped", skipped, map[string]any{"public": false}, eachAlone},
	} {
		t.Run(c.name, func(t *testing.T) {
			made := 0
			for i, one := range support {
				for j, other := range support {
					if one == other {
						continue
					}
					query := fmt.Sprintf("# %d %d\n%s", i, j, c.query) // a asking that nobody has asked
					first := k.followed(one, query, c.variables)
					if first.level == cache.Local || first.level == cache.Shared {
						t.Fatalf("a new asking of %q was known", one)
					}
					if first.why == "" {
						made++
						if again := k.followed(one, query, c.variables); again.level != cache.Local {
							t.Errorf("as %q once more: %s, because %q", one, again.level, again.why)
						}
					}
					second, want := k.followed(other, query, c.variables), k.plain.ask(other, query, c.variables)
					if !same(second.answer, want) {
						t.Errorf("made for %q, asked by %q: %s; without a cache %s", one, other, second.body, want.body)
					}
					if shares := first.why == "" && (c.want.share(one, other)); shares != (second.level == cache.Local) {
						t.Errorf("made for %q (%q), asked by %q: %s", one, first.why, other, second.level)
					}
				}
			}
			if made == 0 {
				t.Error("none was kept")
			}
		})
	}
}

// TestQuestionsAreToldApart asks what differs in places that a careless key would run together, and wants each to have its
// own answer; and what does not differ to share one.
func TestQuestionsAreToldApart(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 3)
	ask := func(who, body string) (looked, answer) {
		t.Helper()
		return k.lookAt(k.request(who, []byte(body))), k.plain.send(k.request(who, []byte(body)))
	}
	body := func(query, rest string) string { return `{"query":` + string(encode(query)) + rest + `}` }
	two := `query($a: String, $b: String) { a: product(slug: $a) { slug } b: product(slug: $b) { slug } }`
	page := `query($n: Int = 2) { products(first: $n) { nodes { slug } } }`
	filtered := `query($f: ProductFilter) { products(first: 5, filter: $f) { nodes { slug } } }`
	several := `query A { categories { name } } query AB { collections(first: 1) { nodes { title } } } query B { categories { slug } }`
	for name, group := range map[string][]string{
		"texts that run together": {
			body(two, `,"variables":{"a":"shirt-1","b":"shirt-2"}`), body(two, `,"variables":{"a":"shirt-2","b":"shirt-1"}`),
			body(two, `,"variables":{"a":"shirt-1shirt-2","b":""}`), body(two, `,"variables":{"a":"","b":"shirt-1shirt-2"}`),
			body(two, `,"variables":{"a":"shirt-1\",\"b\":\"shirt-2"}`), body(two, `,"variables":{"a":"shirt-1,b:shirt-2","b":"shirt-2"}`),
			body(two, `,"variables":{"a":"shirt-1"}`), body(two, `,"variables":{"b":"shirt-1"}`), body(two, `,"variables":{"a":"shirt-1\u0000","b":"shirt-2"}`),
			body(two, `,"variables":{"a":"shirt-1 ","b":"shirt-2"}`), body(two, `,"variables":{"a":null,"b":"shirt-1"}`), body(two, ``),
		},
		"several operations": {
			body(several, `,"operationName":"A"`), body(several, `,"operationName":"AB"`), body(several, `,"operationName":"B"`),
			body(several+" ", `,"operationName":"B"`),
		},
		"numbers and defaults": {
			body(page, ``), body(page, `,"variables":{"n":1}`), body(page, `,"variables":{"n":10}`), body(page, `,"variables":{"n":3}`),
			body(page, `,"variables":{"n":null}`), body(page, `,"variables":{"n":"2"}`), body(page, `,"variables":{"n":1.5}`),
			body(page, `,"variables":{"n":1e1}`), body(page, `,"variables":{"n":12345678901234567890}`), body(page, `,"variables":{"n":-0}`),
		},
		"inputs": {
			body(filtered, `,"variables":{"f":{"tags":["linen"]}}`), body(filtered, `,"variables":{"f":{"tags":["lin","en"]}}`),
			body(filtered, `,"variables":{"f":{"tags":[]}}`), body(filtered, `,"variables":{"f":{}}`), body(filtered, `,"variables":{"f":null}`), body(filtered, ``),
			body(filtered, `,"variables":{"f":{"tags":null}}`), body(filtered, `,"variables":{"f":{"tags":["linen,silk"]}}`), body(filtered, `,"variables":{"f":{"tags":["linen","silk"]}}`),
		},
	} {
		for _, one := range group {
			first, want := ask("", one)
			if first.level == cache.Local {
				t.Errorf("%s: %s is taken for another asking", name, one)
			}
			again, _ := ask("ada", one)
			if !same(first.answer, want) || !same(again.answer, want) || first.level == cache.Miss && first.why == "" && again.level != cache.Local {
				t.Errorf("%s: %s: %s %s, then %s %s; without a cache %s", name, one, first.level, first.body, again.level, again.body, want.body)
			}
		}
	}
	for name, pair := range map[string][2]string{
		"a default that is given":        {body(page, ` `), body(page, `,"variables":{"n":2}`)},
		"members in another order":       {body(filtered, `,"variables":{"f":{"tags":["linen"],"inStock":true}}`), body(filtered, `,"variables":{"f":{"inStock":true,"tags":["linen"]}}`)},
		"a variable that is not there":   {body(page, `,"variables":{"n":1}`), body(page, `,"variables":{"n":1,"x":1}`)},
		"the only operation by its name": {body(`query Only { categories { id } }`, ``), body(`query Only { categories { id } }`, `,"operationName":"Only"`)},
	} {
		first, _ := ask("", pair[0])
		second, want := ask("bob", pair[1])
		if first.level == cache.Bypass || second.level != cache.Local || !same(second.answer, want) {
			t.Errorf("%s: %s %q, then %s %q: %s", name, first.level, first.why, second.level, second.why, second.body)
		}
	}
}
