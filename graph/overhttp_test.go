package graph

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"emporium/internal/cache"
	"emporium/internal/postgres"
)

// persist has a document kept, and returns by which URL it is asked for.
func (k *keeping) persist(query string, variables map[string]any) (path string) {
	k.t.Helper()
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(query)))
	body := encode(map[string]any{"query": query, "variables": variables, "extensions": map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": digest}}})
	if a := k.send(k.request("", body)); a.status != http.StatusOK {
		k.t.Fatalf("%s: %d %s", query, a.status, a.body)
	}
	path = "/graphql?documentId=sha256:" + digest
	if variables != nil {
		path += "&variables=" + url.QueryEscape(string(encode(variables)))
	}
	return path
}

// get asks by GET; the headers are names and values.
func (k *keeping) get(who, path string, headers ...string) looked {
	k.t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+k.tokens[who])
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return k.lookAt(r)
}

// gotten asks by GET until the answer is kept.
func (k *keeping) gotten(who, path string, headers ...string) (a looked) {
	k.t.Helper()
	until(k.t, "the answer to "+path+" is kept", func() bool {
		a = k.get(who, path, headers...)
		return a.level == cache.Local
	})
	return a
}

// TestGetAsksForWhatIsKept goes the way of Apollo's clients: by digest, with the document when it is not known, by digest again.
func TestGetAsksForWhatIsKept(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 2)
	const query = `query P($slug: String!) { product(slug: $slug) { title slug } }`
	variables := map[string]any{"slug": "shirt-1"}
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(query)))
	path := "/graphql?documentId=sha256:" + digest + "&variables=" + url.QueryEscape(`{"slug":"shirt-1"}`)
	unknown := k.get("", path)
	if unknown.status != http.StatusOK || !strings.Contains(unknown.body, `"PERSISTED_QUERY_NOT_FOUND"`) || unknown.header.Get("Cache-Control") != "no-store" {
		t.Errorf("before it is known: %d %s %v", unknown.status, unknown.body, unknown.header)
	}
	forged := encode(map[string]any{"query": query + " ", "extensions": map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": digest}}})
	if a := k.send(k.request("", forged)); a.status != http.StatusUnprocessableEntity {
		t.Errorf("another document under its digest: %d %s", a.status, a.body)
	}
	if a := k.get("", path); !strings.Contains(a.body, `"PERSISTED_QUERY_NOT_FOUND"`) {
		t.Errorf("after that: %s", a.body)
	}
	if got := k.persist(query, variables); got != path {
		t.Fatalf("it is asked for by %s, not %s", got, path)
	}
	want := k.plain.ask("", query, variables)
	apollo := "/graphql?variables=" + url.QueryEscape(`{"slug":"shirt-1"}`) + "&extensions=" + url.QueryEscape(`{"persistedQuery":{"version":1,"sha256Hash":"`+digest+`"}}`)
	for _, by := range []string{path, apollo, path, apollo} {
		if a := k.get("", by); a.status != http.StatusOK || a.body != want.body {
			t.Errorf("%s: %d %s, want %s", by, a.status, a.body, want.body)
		}
	}
	for _, refused := range []string{"/graphql", "/graphql?query=" + url.QueryEscape("{ categories { name } }"), path + "&query=x", path + "&variables={}{}",
		"/graphql?documentId=" + digest, "/graphql?documentId=sha256:12"} {
		if strings.HasPrefix(refused, path+"&variables") {
			refused = strings.Replace(refused, "&variables", "&variables={}x&", 1)
		}
		if a := k.get("", refused); a.status != http.StatusUnprocessableEntity || a.header.Get("Cache-Control") != "no-store" || strings.Contains(a.body, `"data"`) {
			t.Errorf("%s: %d %s %v", refused, a.status, a.body, a.header)
		}
	}
	out := k.persist(`mutation Out { signOut { sessionsEnded } }`, nil)
	if a := k.get("ada", out); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != http.MethodPost || strings.Contains(a.body, `"data"`) {
		t.Errorf("a mutation by GET: %d %s", a.status, a.body)
	}
	if a := k.look("ada", `{ viewer { name } }`, nil); a.status != http.StatusOK {
		t.Errorf("it was done: %d %s", a.status, a.body)
	}
}

// TestETagsChangeWithTheContent wants a 304 for what has not changed, by all ways to say so, and never for what has, in
// whichever process.
func TestETagsChangeWithTheContent(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 2)
	other := k.beside(t, nil)
	query, variables := `query T($p: ID!) { product(id: $p) { title } }`, map[string]any{"p": k.ids["Product"].String()}
	path := k.persist(query, variables)
	other.persist(query, variables)
	first := k.gotten("", path)
	tag := first.header.Get("ETag")
	if !regexp.MustCompile(`^"[A-Za-z0-9_-]{16,}"$`).MatchString(tag) {
		t.Errorf("ETag %s", tag)
	}
	if age, err := strconv.Atoi(first.header.Get("Age")); err != nil || age < 0 || age > 120 {
		t.Errorf("Age %q", first.header.Get("Age"))
	}
	for _, c := range []struct {
		match  []string
		status int
	}{
		{[]string{tag}, 304}, {[]string{"W/" + tag}, 304}, {[]string{`"x", ` + tag}, 304}, {[]string{tag + `,"x"`}, 304}, {[]string{`W/"x" ,	W/` + tag + ` `}, 304},
		{[]string{"*"}, 304}, {[]string{`"x"`, tag}, 304},
		{[]string{`"x"`}, 200}, {[]string{strings.Trim(tag, `"`)}, 200}, {[]string{tag[:len(tag)-1]}, 200}, {[]string{""}, 200}, {[]string{`"*"`}, 200}, {[]string{`W/"*"`}, 200},
	} {
		for _, who := range []string{"", "ada", "manager"} {
			var headers []string
			for _, line := range c.match {
				headers = append(headers, "If-None-Match", line)
			}
			k.gotten(who, path)
			a := k.get(who, path, headers...)
			if a.status != c.status || (a.body == "") != (c.status == 304) || a.header.Get("ETag") != tag || a.header.Get("Cache-Control") == "" || a.header.Get("Vary") == "" {
				t.Errorf("%q as %q: %d %s %v", c.match, who, a.status, a.body, a.header)
			}
			if c.status == 304 && (a.header.Get("Content-Type") != "" || a.header.Get("Content-Length") != "" || a.header.Get("Content-Encoding") != "") {
				t.Errorf("a 304 tells of a body: %v", a.header)
			}
		}
	}
	r := httptest.NewRequest(http.MethodHead, path, nil)
	if a := k.send(r); a.status != http.StatusOK || a.header.Get("ETag") != tag || a.header.Get("Content-Length") != strconv.Itoa(len(first.body)) {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}

	seen := map[string]string{tag: first.body}
	for n := range 12 {
		title := fmt.Sprint("Title ", n%4) // each comes back
		k.rename(title)
		for _, p := range []*keeping{other, k, other, k} {
			for old, body := range seen {
				a := p.get("", path, "If-None-Match", old)
				if a.status == http.StatusNotModified && !strings.Contains(body, `"`+title+`"`) {
					t.Fatalf("%q after a change to %s: %d for what was %s", old, title, a.status, body)
				}
			}
			a := p.get("", path)
			if !strings.Contains(a.body, `"`+title+`"`) {
				t.Fatalf("after a change to %s: %s", title, a.body)
			}
			if now := a.header.Get("ETag"); now != "" {
				if before, ok := seen[now]; ok && before != a.body {
					t.Fatalf("%s is the ETag of %s and of %s", now, before, a.body)
				}
				seen[now] = a.body
			}
		}
		for _, p := range []*keeping{k, other} {
			if a := p.get("", path, "If-None-Match", p.gotten("", path).header.Get("ETag")); a.status != http.StatusNotModified {
				t.Errorf("what has not changed: %d %s", a.status, a.body)
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d ETags for 5 contents", len(seen))
	}
}

var decoders = map[string]func(io.Reader) (io.Reader, error){
	"":     func(r io.Reader) (io.Reader, error) { return r, nil },
	"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	"br":   func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
	"zstd": func(r io.Reader) (io.Reader, error) {
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20)) // RFC 9659: what browsers take
		return d, err
	},
}

func (a answer) decoded(t testing.TB) string {
	t.Helper()
	r, err := decoders[a.header.Get("Content-Encoding")](strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", a.header.Get("Content-Encoding"), err)
	}
	return string(text)
}

// TestEncodings wants the same answer in each coding that is accepted, and in none that is not.
func TestEncodings(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 20)
	const query = `{ products(first: 20) { nodes { id title description variants { id sku price { amount currency } } } } }`
	path := k.persist(query, nil)
	k.gotten("", path)
	want := k.plain.ask("", query, nil).body
	tags := map[string]string{}
	for _, c := range []struct {
		accepted []string
		coding   string
	}{
		{nil, ""}, {[]string{""}, ""}, {[]string{"identity"}, ""}, {[]string{"gzip"}, "gzip"}, {[]string{"GZIP"}, "gzip"}, {[]string{"br"}, "br"}, {[]string{"zstd"}, "zstd"},
		{[]string{"gzip, deflate, br"}, "br"}, {[]string{"gzip, deflate, br, zstd"}, "zstd"}, {[]string{"gzip;q=0"}, ""}, {[]string{"gzip;q=0.0, br;q=0.5"}, "br"},
		{[]string{"zstd;q=0,br;q=0,gzip; q=1"}, "gzip"}, {[]string{"deflate"}, ""}, {[]string{"xgzip, brx"}, ""}, {[]string{"deflate", "gzip"}, "gzip"}, {[]string{"gzip;q=x"}, ""},
	} {
		var headers []string
		for _, line := range c.accepted {
			headers = append(headers, "Accept-Encoding", line)
		}
		get, post := k.get("", path, headers...), k.request("", encode(map[string]any{"query": query}))
		post.Header["Accept-Encoding"] = c.accepted
		for method, a := range map[string]answer{"GET": get.answer, "POST": k.send(post)} {
			if a.header.Get("Content-Encoding") != c.coding || a.decoded(t) != want || !strings.Contains(a.header.Get("Vary"), "Accept-Encoding") ||
				a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) || c.coding != "" && len(a.body) > len(want)/2 {
				t.Errorf("%s, %q: %d bytes in %q of %d: %v", method, c.accepted, len(a.body), a.header.Get("Content-Encoding"), len(want), a.header)
			}
		}
		tag := get.header.Get("ETag")
		if before, ok := tags[c.coding]; ok && before != tag {
			t.Errorf("%s has the ETags %s and %s", c.coding, before, tag)
		}
		tags[c.coding] = tag
		for coding, tag := range tags { // what is another sequence of bytes is something else
			want := map[bool]int{true: http.StatusNotModified, false: http.StatusOK}[coding == c.coding]
			if a := k.get("", path, append(headers, "If-None-Match", tag)...); a.status != want {
				t.Errorf("%q for the ETag of %q: %d", c.accepted, coding, a.status)
			}
		}
	}
	if all := slices.Compact(slices.Sorted(maps.Values(tags))); len(all) != 4 {
		t.Errorf("ETags %v", tags)
	}
	k.rename("Renamed")
	for coding := range decoders {
		if a := k.get("", path, "Accept-Encoding", coding); !strings.Contains(a.decoded(t), `"Renamed"`) {
			t.Errorf("%q after a change: %.200s", coding, a.decoded(t))
		}
	}
}

// shared is a cache in front of the server that knows nothing of it but RFC 9111: it keeps what it may by URL and by what
// Vary names, and gives it to everybody who asks for the same without asking again, if it may.
type shared struct {
	k    *keeping
	kept map[string][]sharedAnswer
	hits int
}

type sharedAnswer struct {
	request http.Header
	answer  answer
}

func (s *shared) get(who, path string, headers ...string) answer {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+s.k.tokens[who])
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	for _, one := range s.kept[path] {
		if !slices.ContainsFunc(varies(one.answer.header), func(name string) bool { return !slices.Equal(one.request.Values(name), r.Header.Values(name)) }) {
			s.hits++
			return one.answer
		}
	}
	a := s.k.send(r)
	control := a.header.Get("Cache-Control")
	has := func(directive string) bool {
		return regexp.MustCompile(`(^|[ ,])` + directive + `([=, ]|$)`).MatchString(control)
	}
	if a.status != http.StatusOK || has("no-store") || has("private") || has("no-cache") || !has("s-maxage") {
		return a
	}
	age, err := strconv.Atoi(regexp.MustCompile(`s-maxage=(\d+)`).FindStringSubmatch(control)[1])
	if old, bad := strconv.Atoi(a.header.Get("Age")); err != nil || bad != nil || old < 0 || old > age || !strings.HasPrefix(a.header.Get("Surrogate-Key"), cache.KeyOfAll+" ") {
		s.k.t.Errorf("%s is left to caches with %v", path, a.header)
	}
	s.kept[path] = append(s.kept[path], sharedAnswer{r.Header, a})
	return a
}

func varies(h http.Header) (names []string) {
	for _, name := range strings.Split(strings.Join(h.Values("Vary"), ","), ",") {
		names = append(names, strings.TrimSpace(name))
	}
	return names
}

// TestASharedCacheGivesNobodyAnothersAnswer has everybody ask for everything by way of a cache that all share.
func TestASharedCacheGivesNobodyAnothersAnswer(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 12)
	k.options.Purged = true
	var err error
	if k.handler, err = NewHandler(k.options); err != nil {
		t.Fatal(err)
	}
	// Staff sees more than others where others see something, too.
	if _, err := postgres.Exec(t.Context(), k.dbs.Products, postgres.Stmt{Name: "test.draft", SQL: `UPDATE products.products SET status = 'DRAFT' WHERE slug = 'shirt-3'`}); err != nil {
		t.Fatal(err)
	}
	queries := map[string]bool{ // and whether nobody in particular gets an answer that others may get
		`{ categories { name slug } }`: true,
		`{ products(first: 12) { nodes { title status variants { sku price { amount } } } } }`: true,
		k.titles():                                true,
		`{ viewer { name email } }`:               false,
		`{ cart { id email note } }`:              false,
		`{ categories { name } viewer { name } }`: false,
		`{ order(id: "` + k.ids["Order"].String() + `") { number email } }`:             false,
		`{ node(id: "` + k.ids["User"].String() + `") { ... on User { name email } } }`: false,
		`{ users(first: 5) { nodes { name email } } }`:                                  false,
		`{ payments(first: 5) { nodes { id } } }`:                                       false,
	}
	for query, public := range queries {
		path := k.persist(query, nil)
		s := &shared{k: k, kept: map[string][]sharedAnswer{}}
		for _, who := range append([]string{"", "ada", "manager", "", "bob"}, viewers...) {
			want := k.plain.ask(who, query, nil)
			if !strings.Contains(want.body, `"errors"`) {
				k.gotten(who, path)
			}
			for _, headers := range [][]string{nil, {"Accept-Encoding", "gzip"}, {"Cookie", "a=b", "Origin", "http://example.com"}, {"Accept-Encoding", "br, zstd"}} {
				got := s.get(who, path, headers...)
				got.body = got.decoded(t)
				if !same(got, want) {
					t.Errorf("%s as %q, %q: %d %s, without a cache %s", query, who, headers, got.status, got.body, want.body)
				}
				if got.header.Get("Set-Cookie") != "" || got.header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s as %q: %v", query, who, got.header)
				}
			}
		}
		if public != (s.hits > 0) {
			t.Errorf("%s: the cache has answered %d times by itself", query, s.hits)
		}
		for _, one := range s.kept[path] {
			if bytes.Contains([]byte(one.answer.body), []byte("@example.com")) {
				t.Errorf("%s: the cache keeps %s", query, one.answer.body)
			}
		}
	}
}
