package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"emporium/internal/telemetry"
)

// FuzzRequest sends anything as body, URL, method, Accept and Content-Type to what reads requests. Either it hands on a request
// that says what the body says, or it refuses it: with a 4xx, as JSON, and without repeating what was sent.
func FuzzRequest(f *testing.F) {
	const kept = `{"query":"{ a }","extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + "0000000000000000000000000000000000000000000000000000000000000000" + `"}}}`
	for _, body := range []string{`{"query":"{ a }"}`, `{"query":"{ a }","variables":{"a":1e400},"operationName":null}`, kept, strings.Replace(kept, `"query":"{ a }",`, "", 1),
		`[{"query":"{ a }"}]`, `{"query":1}`, `{"query":"{ a }"}{}`, "\xff", "", strings.Repeat(`{"query":`, 100)} {
		f.Add("POST", body, "", "application/json", "application/json; charset=utf-8")
	}
	f.Add("GET", "", "documentId=sha256:00&variables=%7B%7D", "*/*;q=0.1, application/graphql-response+json;charset=\"utf-8\"", "")
	f.Add("GET", "", `extensions={"persistedQuery":{"version":1,"sha256Hash":"00"}}&variables=[]`, "text/event-stream", "")
	f.Add("GET", "", "query=%zz&query={a};b", "application/json;q=NaN", "multipart/form-data")
	f.Add("HEAD", "", "variables=1", "", "application/json; charset=utf-16")
	f.Add("PUT", "", "", "image/png", "text/plain; a=\"")
	metrics := telemetry.NewMetrics()
	documents, err := newDocuments(nil, Trust{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, body, query, accepts, kind string) {
		for _, draft := range []bool{false, true} {
			var passed *exchange
			q := requests{Options: Options{Metrics: metrics, Limits: DefaultLimits(), Timeout: time.Minute, Draft: draft}, documents: documents,
				next: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { passed = r.Context().Value(exchangeKey{}).(*exchange) })}
			r := (&http.Request{Method: method, URL: &url.URL{Path: "/graphql", RawQuery: query}, Header: http.Header{}, ContentLength: -1,
				Body: http.NoBody}).WithContext(context.Background())
			if body != "" {
				r.Body = httptest.NewRequest(http.MethodPost, "/", bytes.NewReader([]byte(body))).Body
			}
			r.Header.Set("Accept", accepts)
			r.Header.Set("Content-Type", kind)
			w := httptest.NewRecorder()
			q.ServeHTTP(w, r)
			if passed != nil {
				if method == http.MethodPost && !json.Valid([]byte(body)) || passed.params == nil || passed.form.media == noMedia && !passed.events {
					t.Errorf("%s %q %q: let through as %+v", method, query, body, passed.params)
				}
				continue
			}
			var answer struct {
				Errors []struct{ Message string }
				Data   any
			}
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.Errors) != 1 || answer.Data != nil {
				t.Fatalf("%s %q %q: %d %q", method, query, body, w.Code, w.Body)
			}
			if known := strings.Contains(w.Body.String(), "PERSISTED_QUERY_NOT_FOUND"); w.Code < 400 && !known || w.Code >= 500 {
				t.Errorf("%s %q %q: %d %s", method, query, body, w.Code, w.Body)
			}
			for _, sent := range []string{body, query, accepts, kind} {
				if len(sent) > 40 && strings.Contains(w.Body.String(), sent) {
					t.Errorf("%q is repeated: %s", sent, w.Body)
				}
			}
		}
	})
}
