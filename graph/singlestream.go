package graph

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/telemetry"
)

const (
	singlePath        = "/stream" // ends the path of requests in the mode of a single connection
	streamTokenHeader = "X-GraphQL-Event-Stream-Token"
	streamTokenQuery  = "token" // for a browser's EventSource, which sends no headers
)

// single is an event stream that carries several operations: the protocol graphql-sse, in its mode of a single connection. It
// was reserved by a viewer, and is gone with its connection: what was written to one that broke off could not be told again.
type single struct {
	eventStream
	*visit
	ctx    context.Context // as long as it is there
	hash   [sha256.Size]byte
	frames chan frame
	group  sync.WaitGroup
	unused *time.Timer

	mu      sync.Mutex
	opened  bool
	closed  bool
	running map[string]*operation
	alive   int // operations, those too that the client has ended but that still run
}

type singleKey struct{}

// singleOf returns the stream over which a request wants to be answered; nil if there is none.
func singleOf(ctx context.Context) *single {
	one, _ := ctx.Value(singleKey{}).(*single)
	return one
}

var errNoStream = fault.New(fault.NotFound, "there is no such stream here: reserve one by PUT")

// single answers a request of the mode of a single connection, and reports whether it was one. Operations are taken as all are,
// but never from what is kept before they are parsed: their answers go elsewhere.
func (s eventStream) single(w http.ResponseWriter, r *http.Request, take requests) bool {
	token := cmp.Or(r.Header.Get(streamTokenHeader), r.URL.Query().Get(streamTokenQuery))
	if token == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodPost) {
		return false
	}
	w.Header()["Cache-Control"] = noStore
	hash := sha256.Sum256([]byte(token))
	s.Streams.mu.Lock()
	one := s.Streams.singles[hash]
	s.Streams.mu.Unlock()
	switch {
	case r.Method == http.MethodPut:
		s.viewer(http.HandlerFunc(s.reserve)).ServeHTTP(w, r)
	case one == nil:
		s.refuse(w, r, http.StatusNotFound, errNoStream)
	case r.Method == http.MethodGet:
		s.viewer(http.HandlerFunc(one.open)).ServeHTTP(w, r)
	case r.Method == http.MethodPost:
		take.front = nil
		take.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), singleKey{}, one)))
	case r.Method == http.MethodDelete:
		s.viewer(http.HandlerFunc(one.complete)).ServeHTTP(w, r)
	default:
		w.Header().Set("Allow", "GET, POST, PUT, DELETE")
		s.refuse(w, r, http.StatusMethodNotAllowed, fault.New(fault.BadUserInput, "a stream is reserved by PUT, opened by GET, and used by POST and DELETE"))
	}
	return true
}

// reserve makes a stream of the viewer's, which has to be opened soon.
func (s eventStream) reserve(w http.ResponseWriter, r *http.Request) {
	ctx, v, ok := s.enter(w, r.WithContext(context.WithoutCancel(r.Context())), kindSingle)
	if !ok {
		return
	}
	bearing, _ := bearer(r.Header.Get("Authorization"))
	v.show(bearing, time.Time{})
	token := rand.Text()
	one := &single{eventStream: s, visit: v, ctx: ctx, hash: sha256.Sum256([]byte(token)), frames: make(chan frame), running: map[string]*operation{}}
	s.Streams.mu.Lock()
	s.Streams.singles[one.hash] = one
	s.Streams.mu.Unlock()
	one.mu.Lock() // until the timer is known to whom it wakes
	one.unused = time.AfterFunc(s.Streams.pace.reserved, func() { one.expire(endedUnused) })
	one.mu.Unlock()
	context.AfterFunc(v.ending, func() { one.expire(endedStopping) })
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte(token))
}

// expire ends a stream that was not opened.
func (o *single) expire(why string) {
	o.mu.Lock()
	if o.opened || o.closed {
		o.mu.Unlock()
		return
	}
	o.closed = true
	o.mu.Unlock()
	o.because(why)
	o.gone()
}

// gone forgets the stream, and waits for its operations.
func (o *single) gone() {
	o.unused.Stop()
	o.Streams.mu.Lock()
	delete(o.Streams.singles, o.hash)
	o.Streams.mu.Unlock()
	o.cut()
	o.group.Wait()
	o.leave()
}

// admits reports whether a request is the stream's viewer's, and answers it if not, as if there were no stream. Its token is the
// stream's from now on if it holds for longer.
func (o *single) admits(w http.ResponseWriter, r *http.Request) bool {
	if !o.isOf(auth.Peek(r.Context()).ID) {
		o.refuse(w, r, http.StatusNotFound, errNoStream)
		return false
	}
	if token, ok := bearer(r.Header.Get("Authorization")); ok {
		_, has := o.shown()
		if _, ends, err := o.identify(r.Context(), token); err == nil && ends.After(has) {
			o.show(token, ends)
		}
	}
	return true
}

// open answers with the stream. The token is enough: a browser's EventSource can not say who it is.
func (o *single) open(w http.ResponseWriter, r *http.Request) {
	if !accept(r.Header["Accept"]).events {
		o.refuse(w, r, http.StatusNotAcceptable, fault.New(fault.BadUserInput, "accept text/event-stream"))
		return
	}
	if r.Header.Get("Authorization") != "" && !o.admits(w, r) {
		return
	}
	o.mu.Lock()
	opened, closed := o.opened, o.closed
	o.opened = true
	o.mu.Unlock()
	switch {
	case closed:
		o.refuse(w, r, http.StatusNotFound, errNoStream)
		return
	case opened:
		o.refuse(w, r, http.StatusConflict, fault.New(fault.Conflict, "the stream is open already"))
		return
	}
	o.unused.Stop()
	defer context.AfterFunc(r.Context(), o.cut)()
	o.pump(o.ctx, w, o.visit, o.frames)
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.gone()
}

// operate begins an operation, whose document has been found to be good; it is answered over the stream.
func (o *single) operate(w http.ResponseWriter, r *http.Request, executor graphql.GraphExecutor, params *graphql.RawParams) {
	if !o.admits(w, r) {
		return
	}
	name, _ := params.Extensions["operationId"].(string)
	if name == "" || len(name) > maxOperationID {
		o.refuse(w, r, http.StatusBadRequest, fault.New(fault.BadUserInput, "`extensions.operationId` names the operation, in at most 128 bytes"))
		return
	}
	ctx, cancel := context.WithCancel(telemetry.WithRequest(o.ctx, telemetry.RequestFrom(r.Context())))
	status, err := o.begin(name, &operation{cancel}, func(forget func()) {
		o.follow(ctx, executor, name, params, forget)
	})
	if err != nil {
		cancel()
		o.refuse(w, r, status, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// begin runs an operation, or returns why it can not. Once it is forgotten there is room for another one.
func (o *single) begin(name string, one *operation, run func(forget func())) (status int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return http.StatusNotFound, errNoStream
	case o.running[name] != nil:
		return http.StatusConflict, fault.New(fault.Conflict, "an operation with this ID runs already")
	case o.alive >= o.Streams.most.operations:
		return http.StatusTooManyRequests, o.errTooManyOperations()
	}
	o.running[name] = one
	o.alive++
	o.group.Go(func() {
		defer one.cancel()
		forget := sync.OnceFunc(func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.alive--; o.running[name] == one {
				delete(o.running, name)
			}
		})
		defer forget()
		run(forget)
	})
	return 0, nil
}

// follow tells what comes of an operation, and forgets it once all but its end is told: what waits stays bounded, and the
// client can use the ID again. Its context is that of the stream until the client ends it.
func (o *single) follow(ctx context.Context, executor graphql.GraphExecutor, name string, params *graphql.RawParams, forget func()) {
	named := append([]byte(`{"id":`), encode(name)...)
	finished := false
	over := append(append([]byte("event: complete\ndata: "), named...), "}\n\n"...)
	send := func(n news) error {
		text := append(append(append([]byte("event: next\ndata: "), named...), `,"payload":`...), n.body...)
		return deliver(ctx, o.frames, append(text, "}\n\n"...))
	}
	errs := o.run(ctx, executor, o.visit, params, "", func(n news) error {
		err := send(n)
		if finished = n.last; finished && err == nil {
			forget()
			err = deliver(ctx, o.frames, over)
		}
		return err
	})
	if errs != nil {
		_ = send(news{body: appendAnswer(nil, &graphql.Response{Errors: errs}, false)})
	}
	if !finished {
		forget()
		_ = deliver(ctx, o.frames, over)
	}
}

// complete ends an operation, if it runs.
func (o *single) complete(w http.ResponseWriter, r *http.Request) {
	if !o.admits(w, r) {
		return
	}
	name := r.URL.Query().Get("operationId")
	if name == "" {
		o.refuse(w, r, http.StatusBadRequest, fault.New(fault.BadUserInput, "`operationId` names the operation that is to end"))
		return
	}
	o.mu.Lock()
	if one := o.running[name]; one != nil {
		one.cancel()
		delete(o.running, name)
	}
	o.mu.Unlock()
	w.WriteHeader(http.StatusOK)
}
