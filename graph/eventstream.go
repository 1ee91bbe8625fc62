package graph

import (
	"context"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"emporium/internal/fault"
	"emporium/internal/telemetry"
)

// eventStream answers a subscription as server-sent events: the protocol graphql-sse, in its mode of distinct connections.
type eventStream struct{ subscriptions }

// serve answers one request, as it was before it was given a deadline.
func (s eventStream) serve(w http.ResponseWriter, r *http.Request, executor graphql.GraphExecutor, params *graphql.RawParams) {
	leave, ok := s.Streams.enter(telemetry.RequestFrom(r.Context()).ClientAddress)
	if !ok {
		w.Header().Set("Retry-After", "5")
		s.refuse(w, r, http.StatusTooManyRequests, fault.New(fault.RateLimited, "too many subscriptions are open"))
		return
	}
	defer leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-s.Streams.ending:
			cancel()
		case <-ctx.Done():
		}
	}()

	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // of the request; it would end the stream. Not every test server has one.
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	messages, written := make(chan []byte), make(chan error)
	write := func(b []byte) error {
		_ = control.SetWriteDeadline(time.Now().Add(s.Streams.pace.write))
		_, err := w.Write(b)
		if err == nil {
			err = control.Flush()
		}
		return err
	}
	go func() {
		defer close(messages)
		token, _ := bearer(r.Header.Get("Authorization"))
		send := func(response *graphql.Response) error {
			b := appendAnswer([]byte("event: next\ndata: "), response, response.Data != nil)
			messages <- append(b, "\n\n"...)
			return <-written
		}
		if errs := s.run(ctx, executor, token, params, send); errs != nil {
			_ = send(&graphql.Response{Errors: errs})
		}
	}()
	heartbeat := time.NewTicker(s.Streams.pace.heartbeat)
	defer heartbeat.Stop()
	var failed error
	beat := func(b []byte) {
		if failed == nil {
			if failed = write(b); failed != nil {
				cancel()
			}
		}
	}
	beat([]byte(":\n\n"))
	for {
		select {
		case message, more := <-messages:
			if !more {
				beat([]byte("event: complete\ndata:\n\n"))
				return
			}
			beat(message)
			written <- failed
		case <-heartbeat.C:
			beat([]byte(":\n\n"))
		}
	}
}
