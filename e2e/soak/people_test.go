//go:build unix

package soak

import (
	"bufio"
	"context"
	cryptorand "crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"emporium/e2e/shop"
)

// somebody asks from an address and over connections of their own.
type somebody struct {
	*crowd
	*rand.Rand
	address string
	client  *http.Client
	round   context.Context // done when it is over
}

func newSomebody(round context.Context, c *crowd, n uint64) *somebody {
	r := rand.New(rand.NewPCG(uint64(c.rounds), n))
	s := &somebody{crowd: c, Rand: r, round: round, client: &http.Client{Transport: &http.Transport{}, Timeout: 40 * time.Second}}
	s.move()
	return s
}

func (s *somebody) leave() { s.client.CloseIdleConnections() }

// move takes another address.
func (s *somebody) move() {
	s.address = fmt.Sprintf("10.%d.%d.%d", s.IntN(256), s.IntN(256), s.IntN(256))
}

func (s *somebody) server() *shop.Server { return s.Servers[s.IntN(len(s.Servers))] }

// pause is the time between what one client asks, while the round lasts.
func (s *somebody) pause(most time.Duration) {
	timer := time.NewTimer(time.Duration(s.Int64N(int64(most))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.round.Done():
	}
}

// answer is what came back.
type answer struct {
	status int
	body   []byte
}

// send sends a request to a path; headers are names and values. Whatever it was, the server has to be able to deal with it.
func (s *somebody) send(method, path, body string, headers ...string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	response, err := s.open(ctx, method, path, body, headers...)
	if err != nil {
		s.fault("%s %s: %v", method, path, err)
		return answer{}
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.fault("%s %s: %d: %v", method, path, response.StatusCode, err)
	}
	if response.StatusCode >= 500 || strings.Contains(string(text), `"INTERNAL"`) {
		s.fault("%s %s %.300s: %d %.300s", method, path, body, response.StatusCode, text)
	}
	return answer{response.StatusCode, text}
}

// open sends a request, the answer to which may never end.
func (s *somebody) open(ctx context.Context, method, path, body string, headers ...string) (*http.Response, error) {
	return s.openAt(ctx, s.server(), method, path, body, headers...)
}

func (s *somebody) openAt(ctx context.Context, v *shop.Server, method, path, body string, headers ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+v.HTTP+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Forwarded-For", s.address)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	s.asked.Add(1)
	response, err := s.client.Do(r)
	if err == nil {
		switch {
		case response.StatusCode == http.StatusTooManyRequests:
			s.limited.Add(1)
		case response.StatusCode >= 400:
			s.refused.Add(1)
		}
	}
	return response, err
}

func written(query string, variables map[string]any) string {
	b, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// ask asks what has to be answered, unless it came too often.
func (s *somebody) ask(token, query string, variables map[string]any) shop.Object {
	a := s.send(http.MethodPost, "/graphql", written(query, variables), bearer(token)...)
	if a.status == http.StatusTooManyRequests {
		return nil
	}
	var said struct {
		Data   shop.Object
		Errors []any
	}
	if err := json.Unmarshal(a.body, &said); err != nil || a.status != http.StatusOK || len(said.Errors) > 0 {
		s.fault("%s: %d %.500s", query, a.status, a.body)
	}
	return said.Data
}

func bearer(token string) []string {
	if token == "" {
		return nil
	}
	return []string{"Authorization", "Bearer " + token}
}

func (s *somebody) customer() shop.Customer { return s.Customers[s.IntN(len(s.Customers))] }
func (s *somebody) variant() string         { return s.variants[s.IntN(len(s.variants))] }
func (s *somebody) anybody() string {
	return []string{"", s.customer().Token, s.Manager}[s.IntN(3)]
}

// shop looks around: mostly at what others have looked at, too.
func (s *somebody) shop() {
	if s.IntN(50) == 0 {
		s.move()
	}
	name := "Q"
	if s.IntN(4) == 0 {
		name += cryptorand.Text() // which nobody has asked before
	}
	who := s.customer()
	switch s.IntN(5) {
	case 0:
		s.ask(s.anybody(), `query `+name+` { products(first: 20) { nodes { id title variants { id sku price { amount } availability { inStock } } } } }`, nil)
	case 1:
		s.ask("", `query `+name+`($id: ID!) { variant(id: $id) { id price { amount currency } product { title category { name } } } }`, map[string]any{"id": s.variant()})
	case 2:
		s.ask(who.Token, `query `+name+` { viewer { id name email orders(first: 5) { nodes { number status lines { title quantity } events { message } } } } }`, nil)
	case 3:
		s.ask(who.Token, `query `+name+`($id: ID!) { node(id: $id) { id ... on Order { number payments { status } } } }`, map[string]any{"id": who.Order})
	case 4:
		s.ask(s.Manager, `query `+name+` { orders(first: 10) { nodes { id number customer { name } lines { variant { sku inventory { onHand } } } } } }`, nil)
	}
	s.pause(60 * time.Millisecond)
}

// buy fills a cart.
func (s *somebody) buy() {
	made := s.ask("", `mutation($lines: [CartLineInput!]!) { cartLinesAdd(input: {lines: $lines}) { token cart { total { amount } } userErrors { code } } }`,
		map[string]any{"lines": []any{map[string]any{"variantId": s.variant(), "quantity": 1 + s.IntN(3)}}})
	if token := made.Text("cartLinesAdd", "token"); token != "" {
		s.ask("", `mutation($in: CartUpdateInput!) { cartUpdate(input: $in) { cart { note } userErrors { code } } }`,
			map[string]any{"in": map[string]any{"token": token, "note": cryptorand.Text()}})
		s.ask("", `query($token: String!) { cart(token: $token) { lines { quantity } total { amount } } }`, map[string]any{"token": token})
	}
	s.pause(400 * time.Millisecond)
}

// manage changes what others follow.
func (s *somebody) manage() {
	switch s.IntN(3) {
	case 0:
		s.ask(s.Manager, `mutation($in: StockAdjustInput!, $key: String!) { stockAdjust(input: $in, idempotencyKey: $key) { userErrors { code } } }`,
			map[string]any{"key": cryptorand.Text(), "in": map[string]any{"variantId": s.variant(), "delta": 1, "reason": "CORRECTION"}})
	case 1:
		s.ask(s.Manager, `mutation($in: VariantUpdateInput!) { variantUpdate(input: $in) { userErrors { code } } }`,
			map[string]any{"in": map[string]any{"variantId": s.variant(), "price": fmt.Sprintf("%d.%02d", 10+s.IntN(90), s.IntN(100))}})
	case 2:
		if s.IntN(20) == 0 { // an order grows by it
			s.ask(s.Manager, `mutation($in: OrderNoteAddInput!) { orderNoteAdd(input: $in) { userErrors { code } } }`,
				map[string]any{"in": map[string]any{"orderId": s.customer().Order, "message": "called"}})
		}
	}
	s.pause(100 * time.Millisecond)
}

// sign signs in, by passwords that hold and that do not, which are expensive to look at.
func (s *somebody) sign() {
	s.move()
	password, holds := "correct horse battery", true
	if s.IntN(2) == 0 {
		password, holds = cryptorand.Text(), false
	}
	a := s.send(http.MethodPost, "/graphql", written(`mutation($in: SignInInput!) { signIn(input: $in) { tokens { refreshToken } userErrors { code } } }`,
		map[string]any{"in": map[string]any{"email": s.customer().Email, "password": password}}))
	if got := strings.Contains(string(a.body), `"refreshToken":"`); got && !holds {
		s.fault("a wrong password signs in: %.300s", a.body)
	}
	s.pause(2 * time.Second)
}

const stockChanged = `subscription($ids: [ID!]!) { stockChanged(variantIds: $ids) { variant { sku availability { inStock } } } }`

// dial opens a WebSocket.
func (s *somebody) dial(ctx context.Context) *websocket.Conn {
	conn, _, err := websocket.Dial(ctx, "ws://"+s.server().HTTP+"/graphql", &websocket.DialOptions{HTTPClient: &http.Client{Transport: s.client.Transport},
		HTTPHeader: http.Header{"X-Forwarded-For": {s.address}}, Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		s.fault("open a WebSocket: %v", err)
		return nil
	}
	s.opened.Add(1)
	return conn
}

func introduction(token string) string {
	if token == "" {
		return `{"type":"connection_init"}`
	}
	return `{"type":"connection_init","payload":{"Authorization":"Bearer ` + token + `"}}`
}

// socket follows the stock, or an order, or all, over a WebSocket, and leaves in one of the ways in which clients do.
func (s *somebody) socket() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(200+s.IntN(2500))*time.Millisecond)
	defer cancel()
	conn := s.dial(context.WithoutCancel(ctx))
	if conn == nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	if s.IntN(20) == 0 {
		return // without a word
	}
	who := s.customer()
	token := who.Token
	say := func(text string) { _ = conn.Write(context.WithoutCancel(ctx), websocket.MessageText, []byte(text)) } // it may be gone
	ask := func(id, query string, variables map[string]any) {
		say(`{"type":"subscribe","id":"` + id + `","payload":` + written(query, variables) + `}`)
	}
	if s.IntN(4) == 0 {
		token = s.Manager
	}
	say(introduction(token))
	ask("stock", stockChanged, map[string]any{"ids": s.variants})
	ask("order", `subscription($id: ID!) { orderChanged(id: $id) { order { number events { message } } } }`, map[string]any{"id": who.Order})
	if token == s.Manager {
		ask("orders", `subscription { ordersChanged { cursor order { number } } }`, nil)
	}
	ask("once", `{ viewer { name } }`, nil)
	if s.IntN(10) == 0 {
		s.pause(3 * time.Second) // without reading
		return
	}
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.fault("a WebSocket ended: %v", err)
			}
			return
		}
		if strings.Contains(string(text), `"error`) {
			s.fault("over a WebSocket: %.300s", text)
		}
		if strings.Contains(string(text), `"next"`) {
			s.told.Add(1)
		}
		switch s.IntN(60) {
		case 0:
			say(`{"type":"complete","id":"stock"}`)
		case 1:
			_ = conn.Close(websocket.StatusNormalClosure, "")
			return
		case 2:
			return // broken off
		case 3:
			say(`{"type":"ping","payload":{"authorization":"Bearer ` + token + `"}}`)
		}
	}
}

// hear reads an event stream until its client has had enough.
func (s *somebody) hear(r *http.Response) {
	defer func() { _ = r.Body.Close() }()
	for lines := bufio.NewReader(r.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if strings.Contains(line, `"errors"`) {
			s.fault("an event stream says %.300s", line)
		}
		if strings.HasPrefix(line, "event: next") {
			s.told.Add(1)
		}
	}
}

// follow follows the stock over an event stream.
func (s *somebody) follow() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(200+s.IntN(2000))*time.Millisecond)
	defer cancel()
	r, err := s.open(ctx, http.MethodPost, "/graphql", written(stockChanged, map[string]any{"ids": s.variants}),
		append(bearer(s.anybody()), "Accept", "text/event-stream")...)
	if err != nil {
		if ctx.Err() == nil {
			s.fault("open an event stream: %v", err)
		}
		return
	}
	if r.StatusCode != http.StatusOK {
		s.fault("open an event stream: %d", r.StatusCode)
	}
	s.opened.Add(1)
	s.hear(r)
}

// single follows the stock over an event stream for several operations, if it is opened at all.
func (s *somebody) single() {
	token := s.anybody()
	host := s.server() // all of it has to come to one
	ask := func(ctx context.Context, method, path, body string, headers ...string) *http.Response {
		r, err := s.openAt(ctx, host, method, "/graphql/stream"+path, body, append(bearer(token), headers...)...)
		if err != nil && ctx.Err() == nil {
			s.fault("%s a stream: %v", method, err)
		}
		return r
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(500+s.IntN(2000))*time.Millisecond)
	defer cancel()
	background := context.WithoutCancel(ctx)
	reserved := ask(background, http.MethodPut, "", "")
	if reserved == nil {
		return
	}
	ticket, _ := io.ReadAll(reserved.Body)
	_ = reserved.Body.Close()
	if reserved.StatusCode == http.StatusTooManyRequests {
		s.move()
		return
	}
	if reserved.StatusCode != http.StatusCreated {
		s.fault("reserve a stream: %d %.300s", reserved.StatusCode, ticket)
		return
	}
	if s.IntN(20) == 0 {
		return // it is never opened
	}
	s.opened.Add(1)
	mine := []string{"X-GraphQL-Event-Stream-Token", string(ticket)}
	stream := ask(ctx, http.MethodGet, "", "", append(mine, "Accept", "text/event-stream")...)
	if stream == nil {
		return
	}
	for id := range 1 + s.IntN(3) {
		body, err := json.Marshal(map[string]any{"query": stockChanged, "variables": map[string]any{"ids": s.variants},
			"extensions": map[string]any{"operationId": fmt.Sprint(id)}})
		if err != nil {
			panic(err)
		}
		if r := ask(background, http.MethodPost, "", string(body), mine...); r != nil {
			if r.StatusCode != http.StatusAccepted && r.StatusCode != http.StatusNotFound && r.StatusCode != http.StatusTooManyRequests { // its time may be over
				s.fault("an operation over a stream: %d", r.StatusCode)
			}
			_ = r.Body.Close()
		}
	}
	if r := ask(background, http.MethodDelete, "?operationId=0", "", mine...); r != nil {
		_ = r.Body.Close()
	}
	s.hear(stream)
}
