package graph

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/internal/fault"
)

// form is how an answer is sent: its media type, and by which edition of the specification its status is chosen.
type form struct {
	media media
	draft bool // by the draft that graphql-http's audits check, instead of the edition of September 2026
}

// statusPartial is the status of answers with both data and errors (GraphQL over HTTP, September 2026, "Status Codes").
const statusPartial = 294

// These are header values that need not be made for each answer.
var (
	plainType   = []string{"application/json; charset=utf-8"}
	graphqlType = []string{"application/graphql-response+json; charset=utf-8"}
)

// executed returns the status of an operation that has begun.
func (f form) executed(errors bool) int {
	if errors && f.media == graphqlJSON && !f.draft {
		return statusPartial
	}
	return http.StatusOK
}

// refused returns the status of a well-formed request whose operation can not begin. To clients that are older than the
// specification the draft sends 200.
func (f form) refused(errs gqlerror.List) int {
	switch {
	case f.draft && f.media == plainJSON:
		return http.StatusOK
	case len(errs) > 0 && errs[0].Extensions["code"] == errcode.ParseFailed:
		return http.StatusBadRequest
	case len(errs) > 0 && fault.CodeOf(errs[0]) == fault.RateLimited:
		return http.StatusTooManyRequests
	default:
		return f.status(http.StatusUnprocessableEntity)
	}
}

// status returns the status to send in place of one of the edition of September 2026.
func (f form) status(status int) int {
	if f.draft && status == http.StatusUnprocessableEntity {
		return http.StatusBadRequest
	}
	return status
}

// contentType returns the value of the header. An error is told by its media type, since its status may be that of
// anything on the way: clients that know no other are sent application/json with a status of success alone.
func (f form) contentType(status int) []string {
	if f.media == plainJSON && (f.draft || status < 300) {
		return plainType
	}
	return graphqlType
}

// variant names the representation of an answer that is kept, for its entity tag: each has one of its own.
func (f form) variant(encoding string) string {
	if f.media == plainJSON {
		return encoding
	}
	return strings.TrimSuffix("graphql-"+encoding, "-")
}

// send sends an answer.
func (f form) send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = f.contentType(status)
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever does not read the answer has gone
}
