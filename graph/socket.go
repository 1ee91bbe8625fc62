package graph

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/coder/websocket"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"emporium/internal/fault"
)

// The sub-protocol and its close codes, as in https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md.
const (
	socketProtocol = "graphql-transport-ws"

	closeBadMessage   websocket.StatusCode = 4400
	closeUnauthorized websocket.StatusCode = 4401 // subscribed before the connection was acknowledged; clients give up
	closeForbidden    websocket.StatusCode = 4403 // the token does not hold, or no more; clients try again with a fresh one
	closeNoProtocol   websocket.StatusCode = 4406
	closeInitTimeout  websocket.StatusCode = 4408
	closeSameID       websocket.StatusCode = 4409
	closeInitAgain    websocket.StatusCode = 4429
)

const maxOperationID = 128 // bytes

// socket is the protocol graphql-transport-ws over WebSockets. gqlgen's own transport executes with an executor that is not
// ours and checks the viewer once a connection.
type socket struct{ subscriptions }

func opensSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// Supports accepts requests that open a WebSocket.
func (socket) Supports(r *http.Request) bool { return opensSocket(r) }

// Do serves one connection.
func (s socket) Do(w http.ResponseWriter, r *http.Request, executor graphql.GraphExecutor) {
	ctx, v, ok := s.enter(w, r, kindSocket)
	if !ok {
		return
	}
	defer v.leave()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{socketProtocol}, InsecureSkipVerify: true}) // CrossSite has
	if err != nil {
		v.because(endedProtocol)
		return // it has been answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(s.Limits.Body)
	c := &connection{socket: s, executor: executor, conn: conn, visit: v, headers: r.Header, running: map[string]*operation{}}
	defer c.group.Wait()
	defer v.cut()
	if conn.Subprotocol() != socketProtocol {
		c.close(closeNoProtocol, "the protocol is "+socketProtocol)
		return
	}
	c.group.Go(func() { c.watch(ctx) })
	hurry := time.AfterFunc(s.Streams.pace.init, func() {
		if !c.introduced() {
			c.close(closeInitTimeout, "Connection initialisation timeout")
		}
	})
	defer hurry.Stop()
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if kind != websocket.MessageText || !c.receive(ctx, message) {
			c.close(closeBadMessage, "Invalid message")
			return
		}
	}
}

// connection is a WebSocket with the operations that run over it.
type connection struct {
	socket
	*visit
	executor graphql.GraphExecutor
	conn     *websocket.Conn
	headers  http.Header // of the handshake, with what the client has called itself since
	group    sync.WaitGroup

	mu      sync.Mutex
	init    bool // the client has introduced itself
	acked   bool // and was let in
	running map[string]*operation
	alive   int // operations, those too that the client has ended but that still run
}

type operation struct{ cancel context.CancelFunc }

// message is one in either direction.
type message struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// watch asks the client from time to time whether it is there, and tells it when the server stops.
func (c *connection) watch(ctx context.Context) {
	tick := time.NewTicker(c.Streams.pace.ping)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.ending.Done():
			c.close(websocket.StatusGoingAway, "the server stops")
			return
		case <-tick.C:
			ping, cancel := context.WithTimeout(ctx, c.Streams.pace.write)
			err := c.conn.Ping(ping)
			cancel()
			if err != nil {
				c.because(endedSilent)
				_ = c.conn.CloseNow()
				return
			}
		}
	}
}

func (c *connection) introduced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.init
}

func (c *connection) close(code websocket.StatusCode, reason string) {
	why := endedProtocol
	switch code {
	case websocket.StatusGoingAway:
		why = endedStopping
	case websocket.StatusTryAgainLater:
		why = endedBusy
	case closeForbidden:
		why = endedToken
	}
	c.because(why)
	_ = c.conn.Close(code, reason)
}

func (c *connection) send(ctx context.Context, m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.write(ctx, b)
}

// write sends a message, or closes the connection when the client does not take it.
func (c *connection) write(ctx context.Context, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, c.Streams.pace.write)
	defer cancel()
	err := c.conn.Write(ctx, websocket.MessageText, b)
	if err != nil { // waiting for what is written before counts too
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			c.because(endedSlow)
		}
		_ = c.conn.CloseNow()
	}
	return err
}

// receive handles a message; false if it is none of the protocol.
func (c *connection) receive(ctx context.Context, b []byte) bool {
	var m message
	if json.Unmarshal(b, &m) != nil {
		return false
	}
	switch m.Type {
	case "connection_init":
		return c.introduce(ctx, m.Payload)
	case "ping":
		return c.pong(ctx, m.Payload)
	case "pong":
		return isObject(m.Payload)
	case "subscribe":
		return c.subscribe(ctx, m)
	case "complete":
		c.mu.Lock()
		defer c.mu.Unlock()
		if o := c.running[m.ID]; o != nil {
			o.cancel()
			delete(c.running, m.ID)
		}
		return m.ID != ""
	default:
		return false
	}
}

// credentials are what a client says of itself, in the form of the header.
type credentials struct {
	Authorization *string `json:"authorization"` // in any case of letters
}

// isObject reports whether a payload is an object, as all of the protocol are, or is left out.
func isObject(payload json.RawMessage) bool {
	return len(payload) == 0 || payload[0] == '{' || string(payload) == "null"
}

// pong answers a ping. One that carries a token renews the client's: running operations go on with it.
func (c *connection) pong(ctx context.Context, payload json.RawMessage) bool {
	var who credentials
	if !isObject(payload) || len(payload) > 0 && json.Unmarshal(payload, &who) != nil {
		return false
	}
	if who.Authorization != nil {
		payload = json.RawMessage(`{"authorization":"` + c.refresh(ctx, *who.Authorization) + `"}`)
	}
	_ = c.send(ctx, message{Type: "pong", Payload: payload})
	return true
}

// refresh takes a fresh token of the same viewer, and returns what has become of it.
func (c *connection) refresh(ctx context.Context, authorization string) string {
	c.mu.Lock()
	acked := c.acked
	c.mu.Unlock()
	token, ok := bearer(authorization)
	if had, _ := c.shown(); !acked || !ok || had == "" {
		return "refused"
	}
	switch err := c.renew(ctx, c.visit, token); {
	case err == nil:
		return "accepted"
	case fault.CodeOf(err) == fault.Unauthenticated:
		return "refused"
	default:
		presentError(ctx, err) // which logs it
		return "unknown"
	}
}

// introduce lets the client in as whom its token says.
func (c *connection) introduce(ctx context.Context, payload json.RawMessage) bool {
	c.mu.Lock()
	again := c.init
	c.init = true
	c.mu.Unlock()
	if again {
		c.close(closeInitAgain, "Too many initialisation requests")
		return true
	}
	var who credentials
	if !isObject(payload) || len(payload) > 0 && json.Unmarshal(payload, &who) != nil {
		return false
	}
	c.headers = withClient(c.headers, payload)
	if who.Authorization != nil && *who.Authorization != "" {
		token, ok := bearer(*who.Authorization)
		if !ok {
			c.close(closeForbidden, "Forbidden")
			return true
		}
		checking, cancel := context.WithTimeout(ctx, c.Timeout)
		actor, ends, err := c.identify(checking, token)
		cancel()
		switch {
		case fault.CodeOf(err) == fault.Unauthenticated:
			c.close(closeForbidden, "Forbidden")
			return true
		case err != nil:
			presentError(ctx, err) // which logs it
			c.close(websocket.StatusTryAgainLater, "try again later")
			return true
		case !c.of(actor.ID):
			c.close(websocket.StatusTryAgainLater, "too many connections are open")
			return true
		}
		c.show(token, ends)
	}
	c.mu.Lock()
	c.acked = true
	c.mu.Unlock()
	_ = c.send(ctx, message{Type: "connection_ack"})
	return true
}

// subscribe begins an operation.
func (c *connection) subscribe(ctx context.Context, m message) bool {
	params, ok := decodeParams(m.Payload)
	if !ok || m.ID == "" || len(m.ID) > maxOperationID {
		return false
	}
	params.Headers = c.headers
	running, cancel := context.WithCancel(ctx)
	o := &operation{cancel}
	c.mu.Lock()
	acked, same, full := c.acked, c.running[m.ID] != nil, c.alive >= c.Streams.most.operations
	if acked && !same && !full {
		c.running[m.ID] = o
		c.alive++
	}
	c.mu.Unlock()
	switch {
	case !acked:
		cancel()
		c.close(closeUnauthorized, "Unauthorized")
	case same:
		cancel()
		c.close(closeSameID, "Subscriber for "+m.ID[:min(len(m.ID), 64)]+" already exists")
	case full:
		defer cancel()
		_ = c.send(ctx, message{m.ID, "error", encode(gqlerror.List{presentError(ctx, c.errTooManyOperations())})})
	default:
		c.group.Go(func() {
			defer cancel()
			finished := false
			errs := c.run(running, c.executor, c.visit, params, "", func(n news) error {
				err := c.next(ctx, m.ID, n)
				if finished = n.last; finished {
					c.finish(ctx, m.ID, o, nil)
				}
				return err
			})
			if !finished {
				c.finish(ctx, m.ID, o, errs)
			}
		})
	}
	return true
}

// next tells an event. The context is the connection's: one that ends while something is written ends the connection.
func (c *connection) next(ctx context.Context, id string, n news) error {
	b := append(make([]byte, 0, len(n.body)+len(id)+64), `{"id":`...)
	b = append(append(b, encode(id)...), `,"type":"next","payload":`...)
	return c.write(ctx, append(append(b, n.body...), '}'))
}

// finish forgets an operation and tells how it has ended, unless the client has ended it. One that ends with the connection
// has not come to its own end: its client begins it again elsewhere.
func (c *connection) finish(ctx context.Context, id string, o *operation, errs gqlerror.List) {
	c.mu.Lock()
	c.alive--
	ended := c.running[id] != o
	if !ended {
		delete(c.running, id)
	}
	c.mu.Unlock()
	token, _ := c.shown()
	switch {
	case ended || ctx.Err() != nil || c.ending.Err() != nil:
	case errs == nil:
		_ = c.send(ctx, message{ID: id, Type: "complete"})
	case token != "" && outcome(errs) == string(fault.Unauthenticated):
		c.close(closeForbidden, "the token holds no longer")
	default:
		_ = c.send(ctx, message{id, "error", encode(errs)})
	}
}
