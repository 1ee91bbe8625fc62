package playground_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator"

	"emporium/internal/httpserver/playground"
)

var config = playground.Config{
	Endpoint:       "/graphql",
	Title:          "Emporium <Playground>",
	DefaultHeaders: `{"X-Shop": "</script><script>alert(1)</script>"}`,
	Tabs: []playground.Tab{
		{Title: "First", Query: "query First { a }", Variables: `{"n": 1}`, Headers: `{"X-Tab": "1"}`},
		{Title: "Second", Query: "# <!-- & 'quotes' \"too\"\nquery Second { b }"},
	},
	Accounts: []playground.Account{{Label: "Customer", Email: "ada@example.com", Password: "correct horse"}},
}

func request(t *testing.T, h http.Handler, method, path string, header http.Header) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func get(t *testing.T, h http.Handler, path string) *http.Response {
	t.Helper()
	return request(t, h, http.MethodGet, path, nil)
}

func body(t *testing.T, res *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gunzip(t *testing.T, b []byte) []byte {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// assets returns the paths that the page refers to, by their extension.
func assets(t *testing.T, page []byte) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*(\.\w+))"`).FindAllSubmatch(page, -1) {
		found[string(m[2])] = string(m[1])
	}
	for _, ext := range []string{".js", ".css", ".svg", ".txt"} {
		if !strings.HasPrefix(found[ext], "/playground/") {
			t.Fatalf("the page refers to %q for %s, want a path below /playground/", found[ext], ext)
		}
	}
	return found
}

func TestIndex(t *testing.T) {
	res := get(t, playground.Handler(config), "/")
	page := body(t, res)

	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d", res.StatusCode)
	}
	for name, want := range map[string]string{
		"Content-Type":           "text/html; charset=utf-8",
		"Cache-Control":          "no-cache",
		"Content-Length":         strconv.Itoa(len(page)),
		"Content-Encoding":       "",
		"Vary":                   "Accept-Encoding",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !bytes.Contains(page, []byte("<title>Emporium &lt;Playground&gt;</title>")) {
		t.Error("the title is missing")
	}
	if m := regexp.MustCompile(`(?i)(?:src|href|action)\s*=\s*["']?(?:https?:)?//[^"'> ]*|url\(|@import`).Find(page); m != nil {
		t.Errorf("the page loads from elsewhere: %s", m)
	}
	assets(t, page)
}

// The page's configuration comes back from its HTML as it went in, whatever is in it.
func TestIndexConfig(t *testing.T) {
	page := body(t, get(t, playground.Handler(config), "/"))

	scripts := regexp.MustCompile(`(?is)<script([^>]*)>(.*?)</script>`).FindAllSubmatch(page, -1)
	if len(scripts) != 2 {
		t.Fatalf("%d script elements, want the configuration and the script:\n%s", len(scripts), page)
	}
	if attrs := string(scripts[0][1]); !strings.Contains(attrs, `type="application/json"`) {
		t.Fatalf("the first script element is no data: %s", attrs)
	}
	if code := bytes.TrimSpace(scripts[1][2]); len(code) > 0 {
		t.Errorf("inline script: %s", code)
	}
	var got struct {
		Endpoint, Title, DefaultHeaders string
		Tabs                            []playground.Tab
		Accounts                        []playground.Account
	}
	dec := json.NewDecoder(bytes.NewReader(scripts[0][2]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatalf("%v in %s", err, scripts[0][2])
	}
	if got.Endpoint != config.Endpoint || got.Title != config.Title || got.DefaultHeaders != config.DefaultHeaders {
		t.Errorf("got %+v", got)
	}
	if len(got.Tabs) != 2 || got.Tabs[0] != config.Tabs[0] || got.Tabs[1] != config.Tabs[1] {
		t.Errorf("tabs: got %+v", got.Tabs)
	}
	if len(got.Accounts) != 1 || got.Accounts[0] != config.Accounts[0] {
		t.Errorf("accounts: got %+v", got.Accounts)
	}
}

func TestEmptyConfig(t *testing.T) {
	page := string(body(t, get(t, playground.Handler(playground.Config{}), "/")))
	for _, want := range []string{`"endpoint":"/graphql"`, `"title":"Playground"`, `"tabs":[]`, `"accounts":[]`} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is missing in\n%s", want, page)
		}
	}
}

func TestPolicy(t *testing.T) {
	for endpoint, connect := range map[string]string{
		"":                                 "'self'",
		"/graphql":                         "'self'",
		"https://api.example.com/graphql":  "'self' https://api.example.com",
		"http://localhost:8080/v1/graphql": "'self' http://localhost:8080",
	} {
		h := playground.Handler(playground.Config{Endpoint: endpoint})
		for _, path := range []string{"/", "/nothing"} {
			directives := make(map[string]string)
			for _, d := range strings.Split(get(t, h, path).Header.Get("Content-Security-Policy"), ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(d), " ")
				directives[name] = value
			}
			want := map[string]string{
				"default-src":     "'none'",
				"script-src":      "'self'",
				"style-src":       "'self'",
				"img-src":         "'self' data:",
				"connect-src":     connect,
				"base-uri":        "'none'",
				"form-action":     "'none'",
				"frame-ancestors": "'none'",
			}
			if !maps.Equal(directives, want) {
				t.Errorf("endpoint %q, %s: %v, want %v", endpoint, path, directives, want)
			}
		}
	}
}

func TestAssets(t *testing.T) {
	h := playground.Handler(config)
	for ext, path := range assets(t, body(t, get(t, h, "/"))) {
		res := get(t, h, path)
		content := body(t, res)
		if res.StatusCode != http.StatusOK || len(content) == 0 {
			t.Errorf("%s: status %d, %d bytes", path, res.StatusCode, len(content))
		}
		types := map[string]string{
			".js":  "text/javascript; charset=utf-8",
			".css": "text/css; charset=utf-8",
			".svg": "image/svg+xml",
			".txt": "text/plain; charset=utf-8",
		}
		if got := res.Header.Get("Content-Type"); got != types[ext] {
			t.Errorf("%s: type %q, want %q", path, got, types[ext])
		}
		if got := res.Header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
			t.Errorf("%s: Cache-Control %q", path, got)
		}
		if got := res.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options %q", path, got)
		}
		if !regexp.MustCompile(`^"[0-9a-f]{16}"$`).MatchString(res.Header.Get("ETag")) {
			t.Errorf("%s: ETag %q is not strong", path, res.Header.Get("ETag"))
		}
		if ext == ".css" && regexp.MustCompile(`url\(["']?(?:https?:)?//|@import|@font-face`).Match(content) {
			t.Errorf("%s loads from elsewhere", path)
		}
	}
}

func TestGzip(t *testing.T) {
	h := playground.Handler(config)
	paths := []string{"/"}
	for _, path := range assets(t, body(t, get(t, h, "/"))) {
		paths = append(paths, path)
	}
	for _, path := range paths {
		plain := body(t, get(t, h, path))
		for accept, want := range map[string]bool{
			"":                       false,
			"gzip":                   true,
			"deflate, gzip;q=0.5":    true,
			"br, GZIP ; q=1.0":       true,
			"*":                      true,
			"br":                     false,
			"identity":               false,
			"gzip;q=0":               false,
			"gzip;q=0, *":            false,
			"*;q=0":                  false,
			"gzip;q=much, identity":  false,
			"identity;q=0, *;q=0.01": true,
		} {
			res := request(t, h, http.MethodGet, path, http.Header{"Accept-Encoding": {accept}})
			got := body(t, res)
			if length := res.Header.Get("Content-Length"); length != strconv.Itoa(len(got)) {
				t.Errorf("%s, %q: Content-Length %s for %d bytes", path, accept, length, len(got))
			}
			if zipped := res.Header.Get("Content-Encoding") == "gzip"; zipped != want {
				t.Errorf("%s, %q: gzip is %t, want %t", path, accept, zipped, want)
			}
			if want {
				got = gunzip(t, got)
			}
			if !bytes.Equal(got, plain) {
				t.Errorf("%s, %q: the content differs", path, accept)
			}
		}
	}
}

func TestConditional(t *testing.T) {
	h := playground.Handler(config)
	script := assets(t, body(t, get(t, h, "/")))[".js"]
	for _, path := range []string{"/", script} {
		seen := make(map[string]bool)
		for _, accept := range []string{"", "gzip"} {
			encoding := http.Header{"Accept-Encoding": {accept}}
			etag := request(t, h, http.MethodGet, path, encoding).Header.Get("ETag")
			if etag == "" || strings.HasPrefix(etag, "W/") || seen[etag] {
				t.Errorf("%s, %q: ETag %q, want a strong one for each encoding", path, accept, etag)
			}
			seen[etag] = true

			encoding.Set("If-None-Match", `"other", `+etag)
			res := request(t, h, http.MethodGet, path, encoding)
			if b := body(t, res); res.StatusCode != http.StatusNotModified || len(b) != 0 {
				t.Errorf("%s, %q: status %d and %d bytes, want 304 and none", path, accept, res.StatusCode, len(b))
			}
			if res.Header.Get("ETag") != etag || res.Header.Get("Cache-Control") == "" || res.Header.Get("Vary") == "" {
				t.Errorf("%s, %q: a 304 without the headers of the 200: %v", path, accept, res.Header)
			}

			encoding.Set("If-None-Match", `"other"`)
			if res := request(t, h, http.MethodGet, path, encoding); res.StatusCode != http.StatusOK {
				t.Errorf("%s, %q: status %d for another ETag", path, accept, res.StatusCode)
			}
		}
	}
}

func TestHead(t *testing.T) {
	h := playground.Handler(config)
	script := assets(t, body(t, get(t, h, "/")))[".js"]
	for _, path := range []string{"/", script} {
		for _, accept := range []string{"", "gzip"} {
			encoding := http.Header{"Accept-Encoding": {accept}}
			want := request(t, h, http.MethodGet, path, encoding)
			got := request(t, h, http.MethodHead, path, encoding)
			if b := body(t, got); got.StatusCode != http.StatusOK || len(b) != 0 {
				t.Errorf("%s, %q: status %d, %d bytes", path, accept, got.StatusCode, len(b))
			}
			if !maps.EqualFunc(got.Header, want.Header, func(a, b []string) bool { return strings.Join(a, ",") == strings.Join(b, ",") }) {
				t.Errorf("%s, %q: headers %v, want those of GET %v", path, accept, got.Header, want.Header)
			}
		}
	}
}

func TestNotFound(t *testing.T) {
	h := playground.Handler(config)
	script := assets(t, body(t, get(t, h, "/")))[".js"]
	for _, path := range []string{
		"/nothing", "/index.html", "/playground", "/playground/", "/playground/app.js", "/playground/app.js.gz",
		"/playground/../playground.go", "/dist/app.js.gz", script + "/", strings.Replace(script, ".js", ".css", 1),
	} {
		res := get(t, h, path)
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, res.StatusCode)
		}
		if cc := res.Header.Get("Cache-Control"); cc != "" {
			t.Errorf("%s: a 404 with Cache-Control %q", path, cc)
		}
	}
}

func TestMethodNotAllowed(t *testing.T) {
	h := playground.Handler(config)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		res := request(t, h, method, "/", nil)
		if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: status %d, Allow %q", method, res.StatusCode, res.Header.Get("Allow"))
		}
	}
}

// What is in dist has to stay small enough for a repository.
func TestSize(t *testing.T) {
	files, err := os.ReadDir("dist")
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 450<<10 {
		t.Errorf("dist has %d bytes, want at most 450 KiB", total)
	}
}

// The examples are valid against the schema and have the variables that they need.
func TestExamples(t *testing.T) {
	const path = "../../../schema.graphqls"
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	schema, gqlErr := gqlparser.LoadSchema(&ast.Source{Name: path, Input: string(source)})
	if gqlErr != nil {
		t.Fatal(gqlErr)
	}
	for _, tab := range playground.Examples() {
		doc, errs := gqlparser.LoadQueryWithRules(schema, tab.Query, nil)
		if len(errs) > 0 {
			t.Errorf("%s: %v", tab.Title, errs)
			continue
		}
		if len(doc.Operations) != 1 || doc.Operations[0].Name == "" {
			t.Errorf("%s: want one operation with a name", tab.Title)
			continue
		}
		variables := make(map[string]any)
		if tab.Variables != "" {
			if err := json.Unmarshal([]byte(tab.Variables), &variables); err != nil {
				t.Errorf("%s: variables: %v", tab.Title, err)
			}
		}
		if _, err := validator.VariableValues(schema, doc.Operations[0], variables); err != nil {
			t.Errorf("%s: %v", tab.Title, err)
		}
	}
}
