package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/internal/cache"
	"emporium/internal/fault"
)

// requests takes requests: it answers from what is kept, refuses what is not a GraphQL request before anything else looks at
// it, and gives the rest its deadline.
//
// Refused are forms and plain text, which other sites may send without asking; bodies above a size; batches; and malformed
// JSON, which gqlgen would repeat in its error. A GET can only ask for a document that is kept: no URL makes another site's
// visitors run what somebody has thought out, and none is too long for the caches on the way.
type requests struct {
	Options
	front     *front // nil: nothing is kept
	documents *documents
	next      http.Handler
}

// queryMark begins what is known of a GET; no JSON does.
var queryMark = []byte("?")

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// ServeHTTP answers a request.
func (q requests) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["Cache-Control"] = noStore
	may := accept(r.Header["Accept"])
	form := form{may.answer, q.Draft}
	if may.answer == noMedia && !may.events {
		q.refuse(w, r, http.StatusNotAcceptable, fault.New(fault.BadUserInput,
			"accept application/graphql-response+json, application/json or text/event-stream"))
		return
	}
	buffer := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(buffer)
	buffer.Reset()
	switch r.Method {
	case http.MethodPost:
		if status, err := readBody(w, r, q.Limits.Body, buffer); err != nil {
			q.refuse(w, r, status, err)
			return
		}
	case http.MethodGet, http.MethodHead:
		buffer.Write(queryMark)
		buffer.WriteString(r.URL.RawQuery)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		q.refuse(w, r, http.StatusMethodNotAllowed, fault.New(fault.BadUserInput, "send the request by POST"))
		return
	}
	raw := buffer.Bytes()
	began, fetched := time.Now(), false
	if q.front != nil && may.answer != noMedia && (r.Method != http.MethodPost || !bytes.HasPrefix(raw, queryMark)) {
		var served bool
		if served, fetched = q.front.serve(w, r, raw, form); served {
			return
		}
	}
	ctx, cancel := context.WithDeadline(r.Context(), began.Add(q.Timeout))
	defer cancel()
	if fetched {
		ctx = cache.Fetched(ctx)
	}
	x := &exchange{w: w, r: r, raw: raw, form: form, events: may.events}
	if q.params(ctx, w, r, x) {
		q.next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, exchangeKey{}, x)))
	}
}

// readBody reads the body of a POST, of so many bytes at most.
func readBody(w http.ResponseWriter, r *http.Request, most int64, into *bytes.Buffer) (status int, err error) {
	if kind := r.Header.Get("Content-Type"); kind != "application/json" {
		media, parameters, err := mime.ParseMediaType(kind)
		if charset := parameters["charset"]; err != nil || media != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
			return http.StatusUnsupportedMediaType, fault.New(fault.BadUserInput, "send the request as application/json in UTF-8")
		}
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		w.Header().Set("Accept-Encoding", "identity") // RFC 9110, 15.5.16
		return http.StatusUnsupportedMediaType, fault.New(fault.BadUserInput, "send the request without a Content-Encoding")
	}
	body := io.Reader(r.Body)
	switch {
	case r.ContentLength > most: // nothing of it is read
		return http.StatusRequestEntityTooLarge, errTooLarge(most)
	case r.ContentLength < 0:
		body = http.MaxBytesReader(w, r.Body, most)
	}
	var tooLarge *http.MaxBytesError
	switch _, err := into.ReadFrom(body); {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge, errTooLarge(most)
	case err != nil:
		return http.StatusBadRequest, fault.Wrap(fault.BadUserInput, err, "the request could not be read")
	default:
		return 0, nil
	}
}

func errTooLarge(most int64) error {
	return fault.Newf(fault.BadUserInput, "the request is larger than %d bytes", most)
}

// params decodes what is asked, or refuses it.
func (q requests) params(ctx context.Context, w http.ResponseWriter, r *http.Request, x *exchange) bool {
	ok := false
	if r.Method == http.MethodPost {
		if x.params, ok = decodeParams(x.raw); !ok {
			if crowded(x.raw) {
				q.refuse(w, r, x.form.status(http.StatusUnprocessableEntity),
					fault.Newf(fault.BadUserInput, "the request holds more than %d values", maxValues))
				return false
			}
			// The cause is not wrapped: it may quote what was sent.
			status := http.StatusBadRequest
			if json.Valid(x.raw) {
				status = x.form.status(http.StatusUnprocessableEntity)
			}
			q.refuse(w, r, status, fault.New(fault.BadUserInput,
				"the request is not a JSON object with a `query` or a `documentId` and, if there are any, `variables`, `operationName` and `extensions`"))
			return false
		}
	} else if x.params, ok = paramsOf(r.URL.Query(), q.Draft); !ok {
		q.refuse(w, r, x.form.status(http.StatusUnprocessableEntity), fault.New(fault.BadUserInput,
			"a GET asks for a document that is kept: by `documentId`, or by `extensions` with a persistedQuery, with `variables` and `operationName`"))
		return false
	}
	var failed *gqlerror.Error
	x.persisted, x.untrusted, failed = q.documents.find(ctx, x.params, r.Header)
	switch {
	case failed == nil:
		return true
	case fault.CodeOf(failed) == fault.Forbidden:
		q.refuseUntrusted(w, r, failed)
	case fault.CodeOf(failed) == fault.BadUserInput:
		q.refuse(w, r, x.form.status(http.StatusUnprocessableEntity), failed.Err)
	default:
		status := http.StatusNotFound
		if x.form.media == plainJSON { // as Apollo's servers do, on which older clients rely
			status = http.StatusOK
		}
		x.form.send(w, status, appendAnswer(nil, &graphql.Response{Errors: gqlerror.List{failed}}, false))
		q.count(ctx, "none", "none", "PERSISTED_QUERY_NOT_FOUND", 1, 0)
	}
	return false
}

// ended reports whether there is nothing after what was decoded.
func ended(d *json.Decoder) bool {
	_, err := d.Token()
	return err == io.EOF
}

// paramsOf reads the URL of a GET. Only the draft lets it bring a document.
func paramsOf(query url.Values, draft bool) (*graphql.RawParams, bool) {
	params := &graphql.RawParams{OperationName: query.Get("operationName")}
	for name, into := range map[string]*map[string]any{"variables": &params.Variables, "extensions": &params.Extensions} {
		if text := query.Get(name); text != "" {
			d := json.NewDecoder(strings.NewReader(text))
			d.UseNumber()
			if d.Decode(into) != nil || !ended(d) {
				return nil, false
			}
		}
	}
	if id := query.Get("documentId"); id != "" {
		byDocumentID(params, id)
	}
	if draft {
		params.Query = query.Get("query")
	}
	return params, params.Query != "" || params.Extensions["persistedQuery"] != nil && !query.Has("query")
}
