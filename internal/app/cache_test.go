package app_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"emporium/internal/postgres/pgtest"
)

// proxy is a cache in front of a server: it keeps answers to GET by their URLs for as long as s-maxage says, unless it would
// have to ask again before each use (RFC 9111, 5.2.2), and drops those that have a key that it is told.
type proxy struct {
	*httptest.Server
	mu     sync.Mutex
	origin string
	kept   map[string]kept
	hits   int
	purges []string
}

type kept struct {
	body []byte
	keys []string
	ends time.Time
}

var (
	sharedMaxAge  = regexp.MustCompile(`s-maxage=(\d+)`)
	refusesShared = regexp.MustCompile(`no-cache|no-store|private`)
)

func newProxy(t *testing.T) *proxy {
	p := &proxy{kept: map[string]kept{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		if r.Method == http.MethodPost {
			defer p.mu.Unlock()
			if r.Header.Get("X-Purge") != "s3cret" {
				t.Errorf("a purge with the token %q", r.Header.Get("X-Purge"))
			}
			p.purges = append(p.purges, r.Header.Get("Surrogate-Key"))
			for _, key := range strings.Fields(r.Header.Get("Surrogate-Key")) {
				for url, k := range p.kept {
					for _, has := range k.keys {
						if has == key {
							delete(p.kept, url)
						}
					}
				}
			}
			return
		}
		found, ok := p.kept[r.URL.String()]
		if ok = ok && time.Now().Before(found.ends); ok {
			p.hits++
		}
		origin := p.origin
		p.mu.Unlock()
		if !ok {
			response, err := http.Get(origin + r.URL.String())
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			defer func() { _ = response.Body.Close() }()
			found.body, _ = io.ReadAll(response.Body)
			found.keys = strings.Fields(response.Header.Get("Surrogate-Key"))
			control := response.Header.Get("Cache-Control")
			if age := sharedMaxAge.FindStringSubmatch(control); age != nil && !refusesShared.MatchString(control) {
				seconds, _ := strconv.Atoi(age[1])
				found.ends = time.Now().Add(time.Duration(seconds) * time.Second)
				p.mu.Lock()
				p.kept[r.URL.String()] = found
				p.mu.Unlock()
			}
		}
		_, _ = w.Write(found.body)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) counted() (hits, purges int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits, len(p.purges)
}

// shelf puts a mug into a shop, or gives it another title.
func shelf(t *testing.T, env []string, title string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "catalogue.csv")
	if err := os.WriteFile(file, []byte("Handle,Title,Status,Variant SKU,Variant Price\r\nmug,"+title+",active,M-1,9.90\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, env, "import", "products", file)
}

func TestCacheInFront(t *testing.T) {
	t.Parallel()
	front := newProxy(t)
	env := environment(t, pgtest.New(t), "CDN_PURGE_URL="+front.URL, "CDN_PURGE_TOKEN=X-Purge: s3cret")
	shelf(t, env, "Mug")
	s := start(t, env)
	s.untilReady()
	front.mu.Lock()
	front.origin = "http://" + s.HTTPAddr()
	front.mu.Unlock()
	const document = `{ product(slug: "mug") { title } }`
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(document)))
	body, err := json.Marshal(map[string]any{"query": document, "extensions": map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": digest}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.post("", string(body)); !strings.Contains(got, `"Mug"`) {
		t.Fatalf("the product is answered as %s", got)
	}
	url := front.URL + "/graphql?documentId=sha256:" + digest
	eventually(t, "the cache in front is used", func() bool {
		get(t, url)
		hits, _ := front.counted()
		return hits > 0
	})
	for n := range 5 {
		title := fmt.Sprint("Mug ", n)
		shelf(t, env, title)
		changed, want := time.Now(), `{"data":{"product":{"title":"`+title+`"}}}`
		eventually(t, title+" is served", func() bool { _, got := get(t, url); return got == want })
		took := time.Since(changed)
		t.Logf("%s is served after %v", title, took.Round(time.Millisecond))
		if took > time.Second {
			t.Errorf("%s is served after %v", title, took)
		}
		hits, _ := front.counted()
		eventually(t, title+" is kept again", func() bool { get(t, url); now, _ := front.counted(); return now > hits })
	}
	if _, got := get(t, "http://"+s.AdminAddr()+"/metrics"); !strings.Contains(got, `emporium_cache_cdn_purges_total{outcome="ok"}`) ||
		!strings.Contains(got, `emporium_cache_lease_held{`) || !strings.Contains(got, `emporium_cache_lookups_total{level="miss"}`) {
		t.Error("the metrics of the cache are missing")
	}
	front.mu.Lock()
	before := len(front.purges)
	front.mu.Unlock()
	must(t, env, "cache", "purge")
	eventually(t, "a purge reaches the cache in front", func() bool {
		front.mu.Lock()
		defer front.mu.Unlock()
		for _, keys := range front.purges[before:] {
			if keys == "all" {
				return true
			}
		}
		return false
	})
}

// explained asks how a query is answered, and how old the answer is, in seconds.
func (s *server) explained(token, query string) (level string, age float64) {
	s.t.Helper()
	body, _ := json.Marshal(map[string]any{"query": query, "extensions": map[string]any{"cache": map[string]any{"explain": true}}})
	var a struct {
		Extensions struct {
			Cache struct {
				Level string
				Age   float64
			}
		}
	}
	if err := json.Unmarshal([]byte(s.post(token, string(body))), &a); err != nil {
		s.t.Fatal(err)
	}
	return a.Extensions.Cache.Level, a.Extensions.Cache.Age
}

// TestCachePurge wants a purge to reach every process, and Redis.
func TestCachePurge(t *testing.T) {
	t.Parallel()
	env := environment(t, pgtest.New(t), "INTROSPECTION=on")
	shelf(t, env, "Mug")
	one, two := start(t, env), start(t, env)
	const query = `{ product(slug: "mug") { title } }`
	for _, s := range []*server{one, two} {
		s.untilReady()
		eventually(t, "the answer is kept", func() bool { level, _ := s.explained("", query); return level == "local" })
	}
	began := time.Now()
	out := must(t, env, "cache", "purge")
	if strings.Count(out, "2 processes follow it") == 0 || !regexp.MustCompile(`Redis: \d+ answers were deleted`).MatchString(out) {
		t.Errorf("it says %s", out)
	}
	for _, s := range []*server{one, two} {
		if level, age := s.explained("", query); level == "local" && age > time.Since(began).Seconds() {
			t.Errorf("after a purge an answer is %v s old", age)
		}
	}
	if _, err := command(t, env, "cache", "purge", "everything"); err == nil {
		t.Error("an argument is taken")
	}
}

// TestAnswersOfOthers wants what Redis keeps to be found by a server of the same program and settings, and by no other.
func TestAnswersOfOthers(t *testing.T) {
	t.Parallel()
	env := environment(t, pgtest.New(t), "INTROSPECTION=on")
	shelf(t, env, "Mug")
	one, two, other := start(t, env), start(t, env), start(t, append(env[:len(env):len(env)], "PRICES_INCLUDE_TAX=false"))
	kept := func(s *server, query string) {
		eventually(t, "the answer is kept", func() bool { level, _ := s.explained("", query); return level == "local" })
	}
	for _, s := range []*server{one, two, other} {
		s.untilReady()
		kept(s, `{ product(slug: "mug") { title } }`)
	}
	n := 0
	eventually(t, "another server finds an answer in Redis", func() bool {
		n++
		query := fmt.Sprintf(`{ product(slug: "mug") { title } } # %d`, n)
		kept(one, query)
		level, _ := two.explained("", query)
		if apart, _ := other.explained("", query); apart != "miss" {
			t.Errorf("a server of other settings answers by %s", apart)
		}
		return level == "remote"
	})
}

func TestCacheExplain(t *testing.T) {
	t.Parallel()
	env := environment(t, pgtest.New(t))
	shelf(t, env, "Mug")
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mug := file("mug.graphql", "query Mug($slug: String!) {\n  product(slug: $slug) { title }\n}\nmutation Out { signOut { sessionsEnded } }\n")
	for _, c := range []struct {
		args []string
		want []string // in what is printed
	}{
		{[]string{"--operation", "Mug", mug}, []string{"operation: Mug", "for 1h0m0s at most", "Query.product", "shared with all", "see --run"}},
		{[]string{"--operation", "Out", mug}, []string{"kept:      no: it is a mutation"}},
		{[]string{file("me.graphql", "{ viewer { id } }")}, []string{"for one viewer alone"}},
		{[]string{file("schema.graphql", "{ __schema { queryType { name } } }")}, []string{"it asks for the schema"}},
		{[]string{"--operation", "Mug", "--run", "--variables", `{"slug": "mug"}`, mug}, []string{"this one:  can be kept", "products.products", "tags of"}},
		{[]string{"--operation", "Mug", "--run", "--as", "ADMIN", "--variables", `{"slug": "mug"}`, mug}, []string{"this one:  can be kept"}},
		{[]string{"--help"}, []string{"--operation", "--variables", "FILE.graphql"}},
	} {
		out := must(t, env, append([]string{"cache", "explain"}, c.args...)...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%v prints no %q:\n%s", c.args, want, out)
			}
		}
	}
	for _, c := range []struct {
		args []string
		want string // in the error
	}{
		{nil, "name one file"},
		{[]string{filepath.Join(dir, "missing.graphql")}, "missing.graphql"},
		{[]string{mug}, "has 2 operations"},
		{[]string{"--operation", "Cup", mug}, `mug.graphql: it has no operation "Cup"`},
		{[]string{file("bad.graphql", "{\n  product(\n")}, "bad.graphql:3:"},
		{[]string{file("unknown.graphql", "{\n  nothing\n}")}, "unknown.graphql:2:3: Cannot query field"},
		{[]string{"--operation", "Mug", "--run", "--variables", "{\n oops", mug}, "--variables: line 2"},
		{[]string{"--operation", "Mug", "--run", "--variables", "{} {}", mug}, "not one JSON object"},
		{[]string{"--operation", "Mug", "--run", mug}, "slug"},
		{[]string{"--operation", "Mug", "--run", "--as", "KING", "--variables", `{"slug":"mug"}`, mug}, `not "KING"`},
	} {
		if _, err := command(t, env, append([]string{"cache", "explain"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}
