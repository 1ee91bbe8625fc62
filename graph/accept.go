package graph

import (
	"strconv"
	"strings"
)

// media is a media type of answers.
type media uint8

const (
	noMedia     media = iota
	plainJSON         // application/json, for clients that are older than the specification
	graphqlJSON       // application/graphql-response+json
)

// accepted is what an Accept header allows (RFC 9110, 12.5.1).
type accepted struct {
	answer media // the best for an answer in one piece; noMedia: none will do
	events bool  // an event stream will do
}

// weight is how much a media type is wanted: quality in thousandths, and how exactly it was named, from 0, not at all, to 3.
type weight struct{ quality, exactness int }

// accept reads the values of the Accept header. Whoever sends none, or takes anything, gets application/json, which
// everything can show.
func accept(headers []string) accepted {
	if len(headers) == 0 {
		return accepted{answer: plainJSON}
	}
	var plain, graphql, events weight
	for _, header := range headers {
		for header != "" {
			var one string
			one, header, _ = strings.Cut(header, ",")
			name, parameters, _ := strings.Cut(one, ";")
			name = strings.TrimSpace(name)
			quality, ok := parameter(parameters)
			if !ok {
				continue
			}
			switch {
			case name == "*/*":
				plain.take(quality, 1)
				graphql.take(quality, 1)
			case strings.EqualFold(name, "application/*"):
				plain.take(quality, 2)
				graphql.take(quality, 2)
			case strings.EqualFold(name, "application/json"):
				plain.take(quality, 3)
			case strings.EqualFold(name, "application/graphql-response+json"):
				graphql.take(quality, 3)
			case strings.EqualFold(name, "text/event-stream"):
				events.take(quality, 3)
			}
		}
	}
	a := accepted{events: events.quality > 0}
	switch {
	case plain.quality == 0 && graphql.quality == 0:
	case graphql.quality > plain.quality,
		graphql.quality == plain.quality && graphql.exactness >= plain.exactness && graphql.exactness == 3:
		a.answer = graphqlJSON
	default:
		a.answer = plainJSON
	}
	return a
}

// take notes a media range; the most exact one counts.
func (w *weight) take(quality, exactness int) {
	if exactness >= w.exactness {
		*w = weight{quality, exactness}
	}
}

// parameter reads the parameters of a media range: the quality in thousandths. A charset that is not UTF-8 is refused.
func parameter(list string) (quality int, ok bool) {
	quality = 1000
	for list != "" {
		var one string
		one, list, _ = strings.Cut(list, ";")
		name, value, _ := strings.Cut(one, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "q"):
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || !(q >= 0 && q <= 1) { // nor NaN
				return 0, false
			}
			quality = int(q*1000 + 0.5)
		case strings.EqualFold(name, "charset"):
			value = strings.Trim(value, `"`)
			if !strings.EqualFold(value, "utf-8") && !strings.EqualFold(value, "utf8") {
				return 0, false
			}
		}
	}
	return quality, true
}
