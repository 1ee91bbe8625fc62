// Package playground serves a page on which people explore the GraphQL API: GraphiQL, with example tabs and a helper
// that signs in with demo accounts. Everything the page loads is embedded, so it works without any network.
//
// The page is built from src/ into dist/ by src/build.sh; dist/ is committed, so that building the server needs
// neither npm nor a network.
package playground

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// Config is what the page is made of. All of it is sent to every visitor.
type Config struct {
	// Endpoint is where the page sends its GraphQL requests; "/graphql" when empty.
	Endpoint string `json:"endpoint"`
	// Tabs are opened on the first visit, in this order, and stay in the page's Examples menu.
	Tabs []Tab `json:"tabs"`
	// DefaultHeaders is a JSON object of headers for every tab that has none of its own, or empty.
	DefaultHeaders string `json:"defaultHeaders"`
	// Accounts can be signed in with from the page's bar. They are demo accounts: their passwords are public.
	Accounts []Account `json:"accounts"`
	// Title is the page's title; "Playground" when empty.
	Title string `json:"title"`
}

// Tab is an example.
type Tab struct {
	// Title names the example in the menu. The tab itself is named after its operation.
	Title string `json:"title"`
	// Query is a GraphQL document.
	Query string `json:"query"`
	// Variables is a JSON object, or empty.
	Variables string `json:"variables"`
	// Headers is a JSON object, or empty for the Config's DefaultHeaders.
	Headers string `json:"headers"`
}

// Account is a demo account.
type Account struct {
	// Label is what the account is called in the page's bar.
	Label string `json:"label"`
	// Email and Password are what signIn is asked with.
	Email    string `json:"email"`
	Password string `json:"password"`
}

// The assets are stored gzipped only, as most clients ask for them.
//
//go:embed dist/*.gz
var dist embed.FS

//go:embed index.html
var index string

var indexTemplate = template.Must(template.New("index.html").Parse(index))

const (
	assetPrefix = "/playground/"

	// What is named after its content never changes. The page itself is small and asked for again each time.
	cacheForever    = "public, max-age=31536000, immutable"
	cacheRevalidate = "no-cache"
)

// Handler serves the page at "/" and what it loads below "/playground/"; every other path is not found.
func Handler(cfg Config) http.Handler {
	if cfg.Endpoint == "" {
		cfg.Endpoint = "/graphql"
	}
	if cfg.Title == "" {
		cfg.Title = "Playground"
	}

	h := &handler{policy: policy(cfg.Endpoint), files: make(map[string]*file)}
	h.files["/"] = newPage(cfg, map[string]string{
		"Script":   h.add("app.js", "text/javascript; charset=utf-8"),
		"Style":    h.add("app.css", "text/css; charset=utf-8"),
		"Icon":     h.add("icon.svg", "image/svg+xml"),
		"Licenses": h.add("licenses.txt", "text/plain; charset=utf-8"),
	})
	return h
}

type handler struct {
	policy string
	files  map[string]*file // by URL path
}

// file is something that is served, kept gzipped.
type file struct {
	contentType  string
	cacheControl string
	hash         string // of the content; names it in the ETag
	gzipped      []byte
}

// add takes an asset of dist into the handler and returns the URL path at which it is served.
func (h *handler) add(name, contentType string) string {
	gzipped, err := dist.ReadFile("dist/" + name + ".gz")
	if err != nil {
		panic(fmt.Sprintf("playground: an asset is missing; run src/build.sh: %v", err))
	}
	f := newFile(contentType, cacheForever, gzipped)
	ext := path.Ext(name)
	urlPath := assetPrefix + strings.TrimSuffix(name, ext) + "." + f.hash + ext
	h.files[urlPath] = f
	return urlPath
}

func newPage(cfg Config, assets map[string]string) *file {
	// The script expects lists, not null.
	cfg.Tabs = append([]Tab{}, cfg.Tabs...)
	cfg.Accounts = append([]Account{}, cfg.Accounts...)

	var page bytes.Buffer
	zw := gzip.NewWriter(&page)
	err := indexTemplate.Execute(zw, struct {
		Config Config
		Assets map[string]string
	}{cfg, assets})
	if err := errors.Join(err, zw.Close()); err != nil {
		panic(fmt.Sprintf("playground: index.html: %v", err))
	}
	return newFile("text/html; charset=utf-8", cacheRevalidate, page.Bytes())
}

func newFile(contentType, cacheControl string, gzipped []byte) *file {
	sum := sha256.Sum256(gzipped)
	return &file{contentType, cacheControl, hex.EncodeToString(sum[:8]), gzipped}
}

// policy is the page's Content-Security-Policy: nothing but its own assets and its endpoint.
func policy(endpoint string) string {
	connect := "'self'"
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		connect += " " + u.Scheme + "://" + u.Host
	}
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"style-src 'self'",
		"img-src 'self' data:", // the editor's style sheet carries its marks as data: URLs
		"connect-src " + connect,
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", h.policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")

	f, ok := h.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	f.serve(w, r)
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", f.cacheControl)
	header.Add("Vary", "Accept-Encoding")

	// The two encodings are different bytes, so each has an ETag of its own. ServeContent answers conditional, range
	// and HEAD requests.
	if acceptsGzip(r.Header.Values("Accept-Encoding")) {
		header.Set("Content-Encoding", "gzip")
		header.Set("Content-Length", strconv.Itoa(len(f.gzipped)))
		header.Set("ETag", `"`+f.hash+`-gzip"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.gzipped))
		return
	}
	plain, err := f.plain()
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	header.Set("ETag", `"`+f.hash+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(plain))
}

func (f *file) plain() ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(f.gzipped))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(zr)
}

// acceptsGzip tells whether Accept-Encoding headers allow gzip: by name, or else by "*", with a weight above 0.
func acceptsGzip(values []string) bool {
	named, star := -1.0, -1.0
	for _, item := range strings.Split(strings.Join(values, ","), ",") {
		coding, params, _ := strings.Cut(item, ";")
		weight := 1.0
		if name, value, ok := strings.Cut(params, "="); ok && strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				q = 0
			}
			weight = q
		}
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			named = max(named, weight)
		case "*":
			star = max(star, weight)
		}
	}
	if named >= 0 {
		return named > 0
	}
	return star > 0
}
