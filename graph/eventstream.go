package graph

import (
	"context"
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

// eventStream answers operations as server-sent events: the protocol graphql-sse, as in
// https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md.
type eventStream struct{ subscriptions }

// frame is what is to be written of a stream. Written, which has room for it, is told how that went.
type frame struct {
	text    []byte
	written chan<- error
}

// deliver has something written to a stream, and waits until it is. Nothing is once ctx is done.
func deliver(ctx context.Context, frames chan<- frame, text []byte) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	written := make(chan error, 1)
	select {
	case frames <- frame{text, written}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve answers one request in the mode of distinct connections, as it was before it was given a deadline.
//
// A stream that ends because the server stops does not say that it is complete: its client connects again.
func (s eventStream) serve(w http.ResponseWriter, r *http.Request, executor graphql.GraphExecutor, params *graphql.RawParams) {
	ctx, v, ok := s.enter(w, r, kindEvents)
	if !ok {
		return
	}
	defer v.leave()
	token, _ := bearer(r.Header.Get("Authorization"))
	v.show(token, time.Time{})
	frames, ended := make(chan frame), make(chan struct{})
	go func() {
		defer close(ended)
		defer close(frames)
		finished := false
		send := func(n news) error {
			text := []byte{}
			if n.cursor != "" {
				text = append(append(append(text, "id: "...), n.cursor...), '\n')
			}
			text = append(append(append(text, "event: next\ndata: "...), n.body...), "\n\n"...)
			if finished = n.last; finished {
				text = append(text, complete...)
			}
			return deliver(ctx, frames, text)
		}
		errs := s.run(ctx, executor, v, params, r.Header.Get("Last-Event-ID"), send)
		if errs != nil {
			_ = send(news{body: appendAnswer(nil, &graphql.Response{Errors: errs}, false), last: true})
		}
		if !finished {
			_ = deliver(ctx, frames, []byte(complete))
		}
	}()
	s.pump(ctx, w, v, frames)
	v.cut()
	<-ended
}

const complete = "event: complete\ndata:\n\n"

// pump writes a stream until there are no more frames, ctx is done, the client does not take one, or the server stops.
func (s eventStream) pump(ctx context.Context, w http.ResponseWriter, v *visit, frames <-chan frame) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // of the request; it would end the stream. Not every test server has one.
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	hurry := func() (deadline time.Time) {
		deadline = time.Now().Add(s.Streams.pace.write)
		_ = control.SetWriteDeadline(deadline)
		return deadline
	}
	defer hurry() // the end has to be written, too
	write := func(text []byte) error {
		deadline := hurry()
		_, err := w.Write(text)
		if err == nil {
			err = control.Flush()
		}
		if err != nil && !time.Now().Before(deadline) { // HTTP/2 says only that the stream is closed
			v.because(endedSlow)
		}
		_ = control.SetWriteDeadline(time.Time{}) // HTTP/2 resets the stream at a deadline even if nothing is written
		return err
	}
	heartbeat := time.NewTicker(s.Streams.pace.heartbeat)
	defer heartbeat.Stop()
	for err := write([]byte(":\n\n")); err == nil; {
		select {
		case f, more := <-frames:
			if !more {
				if ctx.Err() == nil { // it may have ended because nobody is there
					v.because(endedComplete)
				}
				return
			}
			err = write(f.text)
			f.written <- err
		case <-heartbeat.C:
			err = write([]byte(":\n\n"))
		case <-v.ending.Done():
			v.because(endedStopping)
			return
		case <-ctx.Done():
			return
		}
	}
}
