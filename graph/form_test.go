package graph

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAccept(t *testing.T) { // allocations can not be counted in parallel
	const response = "application/graphql-response+json"
	for _, c := range []struct {
		headers []string
		want    accepted
	}{
		{nil, accepted{plainJSON, false}},
		{[]string{"*/*"}, accepted{plainJSON, false}},
		{[]string{"application/*"}, accepted{plainJSON, false}},
		{[]string{"application/json"}, accepted{plainJSON, false}},
		{[]string{response}, accepted{graphqlJSON, false}},
		{[]string{"APPLICATION/GraphQL-Response+JSON ; Charset=\"UTF-8\""}, accepted{graphqlJSON, false}},
		{[]string{response + ", application/json;q=0.9"}, accepted{graphqlJSON, false}},
		{[]string{"application/json, " + response}, accepted{graphqlJSON, false}},
		{[]string{"application/json", response}, accepted{graphqlJSON, false}},
		{[]string{response + ";q=0.5, application/json;q=0.6"}, accepted{plainJSON, false}},
		{[]string{response + ";q=0, */*"}, accepted{plainJSON, false}},
		{[]string{"application/json;q=0, */*;q=0.1"}, accepted{graphqlJSON, false}},
		{[]string{"application/json;q=0"}, accepted{noMedia, false}},
		{[]string{"application/json, text/plain, */*"}, accepted{plainJSON, false}},
		{[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, accepted{plainJSON, false}},
		{[]string{"text/html"}, accepted{noMedia, false}},
		{[]string{""}, accepted{noMedia, false}},
		{[]string{"application/json;charset=iso-8859-1"}, accepted{noMedia, false}},
		{[]string{"application/json;q=much"}, accepted{noMedia, false}},
		{[]string{"application/json;q=NaN"}, accepted{noMedia, false}},
		{[]string{"text/event-stream"}, accepted{noMedia, true}},
		{[]string{"text/event-stream, " + response}, accepted{graphqlJSON, true}},
		{[]string{"text/event-stream;q=0, application/json"}, accepted{plainJSON, false}},
	} {
		if got := accept(c.headers); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.headers, got, c.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { accept([]string{response + ", application/json;q=0.9"}) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestStatuses sends each kind of request as each kind of client, and wants the status and the media type that the edition
// of September 2026 names, or the draft that came before.
func TestStatuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	draft := *w
	o := w.options
	o.Draft = true
	var err error
	if draft.handler, err = NewHandler(o); err != nil {
		t.Fatal(err)
	}
	const modern, legacy = "application/graphql-response+json", "application/json"
	for _, c := range []struct {
		name, body string
		modern     int // by the edition of September 2026
		legacy     string
		draft      [2]int // for modern and for legacy clients
	}{
		{"data", `{"query":"{ categories { name } }"}`, 200, legacy, [2]int{200, 200}},
		{"nulls for what may be left out", `{"query":"{ categories { name } }","variables":null,"operationName":null,"extensions":null}`, 200, legacy, [2]int{200, 200}},
		{"data and errors", `{"query":"{ categories { name } orders(first: 1) { totalCount } }"}`, 294, legacy, [2]int{200, 200}},
		{"no JSON", `{"query`, 400, modern, [2]int{400, 400}},
		{"no request", `{"qeury":"{ categories { name } }"}`, 422, modern, [2]int{400, 400}},
		{"no document", `{"query":"{"}`, 400, modern, [2]int{400, 200}},
		{"not valid", `{"query":"{ nothing }"}`, 422, modern, [2]int{400, 200}},
		{"no such operation", `{"query":"query A { categories { name } }","operationName":"B"}`, 422, modern, [2]int{400, 200}},
		{"a variable of another type", `{"query":"query($n: Int!) { products(first: $n) { totalCount } }","variables":{"n":"one"}}`, 422, modern, [2]int{400, 200}},
	} {
		for _, kind := range []string{modern, legacy} {
			for by, served := range map[string]*world{"edition": w, "draft": &draft} {
				r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(c.body))
				r.Header.Set("Content-Type", "application/json; charset=utf-8")
				r.Header.Set("Accept", kind)
				a := served.send(r)
				status, media := c.modern, modern
				if kind == legacy {
					media = c.legacy
					if status == 294 {
						status = 200
					}
				}
				if by == "draft" {
					status, media = c.draft[0], kind
					if kind == legacy {
						status = c.draft[1]
					}
				}
				if got, want := fmt.Sprint(a.status, a.header["Content-Type"]), fmt.Sprint(status, []string{media + "; charset=utf-8"}); got != want {
					t.Errorf("%s, %s, by the %s: %s, want %s: %s", c.name, kind, by, got, want, a.body)
				}
				if strings.Contains(a.body, `"data"`) != strings.Contains(c.name, "data") && c.name != "nulls for what may be left out" {
					t.Errorf("%s: %s", c.name, a.body)
				}
			}
		}
	}
	get := func(served *world, query, media string) answer {
		r := httptest.NewRequest(http.MethodGet, "/graphql?query="+query, nil)
		r.Header.Set("Accept", media)
		return served.send(r)
	}
	if a := get(&draft, "%7Bcategories%7Bname%7D%7D", modern); a.status != 200 || !strings.Contains(a.body, "Clothes") {
		t.Errorf("a document by GET, in the draft: %d %s", a.status, a.body)
	}
	if a := get(&draft, "mutation%7BsignOut%7BsessionsEnded%7D%7D", modern); a.status != 405 || a.header.Get("Allow") != "POST" {
		t.Errorf("a mutation by GET, in the draft: %d %v %s", a.status, a.header, a.body)
	}
	if a := get(w, "%7Bcategories%7Bname%7D%7D", modern); a.status != 422 {
		t.Errorf("a document by GET: %d %s", a.status, a.body)
	}
	if a := get(w, "%7Bcategories%7Bname%7D%7D", "text/html"); a.status != 406 || a.header.Get("Content-Type") == "" {
		t.Errorf("accepting HTML alone: %d %s", a.status, a.body)
	}
}

// TestAnswersThatAreNotKeptAreCompressed asks without a cache: queries are compressed as the client accepts it, mutations and
// small answers are not.
func TestAnswersThatAreNotKeptAreCompressed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20)
	const many = `{ products(first: 20) { nodes { id title description variants { id sku price { amount } } } } }`
	plain := w.ask("", many, nil)
	for accepted, want := range map[string]string{"": "", "gzip": "gzip", "gzip, deflate, br, zstd": "zstd", "br": "", "zstd;q=0, gzip": "gzip"} {
		for _, c := range []struct {
			query      string
			compressed bool
		}{{many, true}, {`{ categories { name } }`, false}, {`mutation { signOutEverywhere { sessionsEnded userErrors { message } } }`, false}} {
			body := encode(map[string]any{"query": c.query})
			r := w.request("", body)
			r.Header.Set("Accept-Encoding", accepted)
			a := w.send(r)
			if got := a.header.Get("Content-Encoding"); got != want && c.compressed || got != "" && !c.compressed {
				t.Errorf("%s, accepting %q: encoded by %q", c.query, accepted, got)
			}
			if c.compressed && a.decoded(t) != plain.body {
				t.Errorf("%s, accepting %q: %.200s", c.query, accepted, a.decoded(t))
			}
		}
	}
}
