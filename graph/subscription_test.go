package graph

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"emporium/internal/auth"
	"emporium/internal/cache"
	"emporium/internal/id"
	"emporium/internal/order"
	"emporium/internal/postgres"
	"emporium/internal/product"
)

// replica is a process of its own on the databases of a world: it looks for changes itself.
type replica struct {
	*world
	server  *httptest.Server
	streams *Streams
}

// replicate starts another replica of a world; hurry, which may be nil, changes how long it waits.
func (w *world) replicate(hurry func(*pace)) *replica {
	w.t.Helper()
	twin := *w
	twin.services.Products = product.New(w.dbs.Products, "EUR")
	twin.services.Orders = order.New(order.Config{DB: w.dbs.Orders, Sealer: w.sealer, Currency: "EUR",
		Products: twin.services.Products, Users: w.services.Users, TaxIncluded: true, Payments: w.services.Payments})
	r := &replica{world: &twin, streams: NewStreams()}
	r.streams.pace.drain = 50 * time.Millisecond
	if hurry != nil {
		hurry(&r.streams.pace)
	}
	o := w.options
	o.Services, o.Streams = twin.services, r.streams
	var err error
	if twin.handler, err = NewHandler(o); err != nil {
		w.t.Fatal(err)
	}
	r.server = httptest.NewServer(twin.handler)
	ctx, stop := context.WithCancel(context.Background())
	var feeds sync.WaitGroup
	feeds.Go(func() { _ = twin.services.Orders.RunFeed(ctx) })
	feeds.Go(func() { _ = twin.services.Products.RunFeed(ctx) })
	w.t.Cleanup(func() {
		grace, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		r.streams.End(grace)
		stop()
		feeds.Wait()
		r.server.Close()
	})
	return r
}

// line is a WebSocket of a client.
type line struct {
	*websocket.Conn
	t testing.TB
}

// dial opens a WebSocket; nothing is sent yet.
func (r *replica) dial(protocols ...string) *line {
	r.t.Helper()
	c, _, err := websocket.Dial(r.t.Context(), r.server.URL, &websocket.DialOptions{Subprotocols: protocols})
	if err != nil {
		r.t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	r.t.Cleanup(func() { _ = c.CloseNow() })
	return &line{c, r.t}
}

// connect opens a WebSocket as one of the world's people.
func (r *replica) connect(who string) *line {
	r.t.Helper()
	l := r.dial(socketProtocol)
	init := `{"type":"connection_init"}`
	if who != "" {
		init = `{"type":"connection_init","payload":{"Authorization":"Bearer ` + r.tokens[who] + `"}}`
	}
	l.say(init)
	if m := l.hear(); m.Type != "connection_ack" {
		r.t.Fatalf("introduced: %+v", m)
	}
	return l
}

func (l *line) say(text string) {
	l.t.Helper()
	if err := l.Write(l.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) subscribe(id, query string, variables map[string]any) {
	l.t.Helper()
	payload, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		l.t.Fatal(err)
	}
	l.say(`{"type":"subscribe","id":"` + id + `","payload":` + string(payload) + `}`)
}

func (l *line) read() (m message, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, b, err := l.Read(ctx)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}

func (l *line) hear() message {
	l.t.Helper()
	m, err := l.read()
	if err != nil {
		l.t.Fatal(err)
	}
	return m
}

// expect wants the next message to be of a type, with a payload.
func (l *line) expect(id, kind, payload string) {
	l.t.Helper()
	m := l.hear()
	if m.ID != id || m.Type != kind || string(m.Payload) != payload {
		l.t.Fatalf("heard %s %s %s, not %s %s %s", m.ID, m.Type, m.Payload, id, kind, payload)
	}
}

// expectClose wants the connection to be closed with a code.
func (l *line) expectClose(code websocket.StatusCode) {
	l.t.Helper()
	for {
		m, err := l.read()
		if err == nil {
			l.t.Logf("heard %+v", m)
			continue
		}
		if websocket.CloseStatus(err) != code {
			l.t.Fatalf("closed with %v, not %d", err, code)
		}
		return
	}
}

const orderChanged = `subscription($id: ID!) { orderChanged(id: $id) { cursor order { fulfillmentStatus events { kind message } } } }`

func (w *world) note(text string) {
	w.t.Helper()
	a := w.ask("manager", `mutation($id: ID!, $note: String!) { orderNoteAdd(input: {orderId: $id, message: $note}) { userErrors { code } } }`,
		map[string]any{"id": w.ids["Order"].String(), "note": text})
	if a.status != http.StatusOK || !strings.Contains(a.body, `"userErrors":[]`) {
		w.t.Fatalf("note: %s", a.body)
	}
}

// TestOrderChangedOverWebSocket wants what happens at one replica to be told at another.
func TestOrderChangedOverWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.replicate(nil), w.replicate(nil)
	l := b.connect("ada")
	l.subscribe("1", orderChanged, map[string]any{"id": w.ids["Order"].String()})
	l.expect("1", "next", `{"data":{"orderChanged":{"cursor":null,"order":{"fulfillmentStatus":"PARTIALLY_FULFILLED","events":[{"kind":"CREATED","message":""},{"kind":"PLACED","message":""}]}}}}`)
	a.note("left at the door")
	m := l.hear()
	if m.Type != "next" || !strings.Contains(string(m.Payload), `"kind":"NOTE"`) {
		t.Fatalf("%s", m.Payload)
	}
	l.say(`{"type":"complete","id":"1"}`)
	l.say(`{"type":"ping","payload":{"a":1}}`)
	l.expect("", "pong", `{"a":1}`)
}

// stream is an event stream of a client.
type stream struct {
	t    testing.TB
	body io.ReadCloser
	text *bufio.Reader
}

// listen subscribes by an event stream as one of the world's people.
func (r *replica) listen(who, query string, variables map[string]any) *stream {
	r.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		r.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.server.URL, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "text/event-stream")
	if who != "" {
		request.Header.Set("Authorization", "Bearer "+r.tokens[who])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		r.t.Fatalf("%d %s", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	return &stream{r.t, answer.Body, bufio.NewReader(answer.Body)}
}

// block returns the next lines up to an empty one: an event, or a comment.
func (s *stream) block() (string, error) {
	var block strings.Builder
	for {
		text, err := s.text.ReadString('\n')
		if err != nil || text == "\n" {
			return block.String(), err
		}
		block.WriteString(text)
	}
}

// expect wants the next event, after any comments.
func (s *stream) expect(want string) {
	s.t.Helper()
	for {
		got, err := s.block()
		switch {
		case err == nil && got == ":\n":
			continue
		case err != nil || got != want:
			s.t.Fatalf("%q, %v; not %q", got, err, want)
		}
		return
	}
}

// TestOrderChangedAsEvents wants the same over an event stream.
func TestOrderChangedAsEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.replicate(nil), w.replicate(nil)
	s := b.listen("ada", `subscription($id: ID!) { orderChanged(id: $id) { order { events { kind } } } }`, map[string]any{"id": w.ids["Order"].String()})
	s.expect("event: next\ndata: {\"data\":{\"orderChanged\":{\"order\":{\"events\":[{\"kind\":\"CREATED\"},{\"kind\":\"PLACED\"}]}}}}\n")
	a.note("left at the door")
	s.expect("event: next\ndata: {\"data\":{\"orderChanged\":{\"order\":{\"events\":[{\"kind\":\"CREATED\"},{\"kind\":\"PLACED\"},{\"kind\":\"NOTE\"}]}}}}\n")
	b.streams.End(t.Context())
	if text, err := s.block(); !errors.Is(err, io.EOF) || text != "" {
		t.Errorf("the stream goes on, or says that it is complete, so that nobody connects again: %q %v", text, err)
	}
}

// TestSocketCloseCodes breaks each rule of the protocol and wants the code for it.
func TestSocketCloseCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.replicate(func(p *pace) { p.init = time.Second })
	const init = `{"type":"connection_init"}`
	const follow = `{"type":"subscribe","id":"1","payload":{"query":"subscription($v: [ID!]!) { stockChanged(variantIds: $v) { variant { sku } } }","variables":{"v":["%"]}}}`
	subscribe := strings.ReplaceAll(follow, "%", w.ids["Variant"].String())
	for name, c := range map[string]struct {
		says []string
		code websocket.StatusCode
	}{
		"no JSON":                               {[]string{`{`}, 4400},
		"a list":                                {[]string{`[]`}, 4400},
		"a type that there is not":              {[]string{init, `{"type":"start"}`}, 4400},
		"a subscription without a query":        {[]string{init, `{"type":"subscribe","id":"1","payload":{}}`}, 4400},
		"a subscription without an ID":          {[]string{init, `{"type":"subscribe","payload":{"query":"{ __typename }"}}`}, 4400},
		"a payload that is a list":              {[]string{`{"type":"connection_init","payload":[1]}`}, 4400},
		"subscribed before the acknowledgement": {[]string{subscribe}, 4401},
		"a token that does not hold":            {[]string{`{"type":"connection_init","payload":{"Authorization":"Bearer nonsense"}}`}, 4403},
		"a token without a scheme":              {[]string{`{"type":"connection_init","payload":{"authorization":"nonsense"}}`}, 4403},
		"silence":                               {nil, 4408},
		"pings alone":                           {[]string{`{"type":"ping"}`}, 4408},
		"the same ID twice":                     {[]string{init, subscribe, subscribe}, 4409},
		"introduced twice":                      {[]string{init, init}, 4429},
		"a message that is too large":           {[]string{init, `{"type":"ping","payload":"` + strings.Repeat("x", 256<<10) + `"}`}, 1009},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := r.dial(socketProtocol)
			for _, text := range c.says {
				if l.Write(t.Context(), websocket.MessageText, []byte(text)) != nil {
					break
				}
			}
			l.expectClose(c.code)
		})
	}
	t.Run("another protocol", func(t *testing.T) {
		t.Parallel()
		r.dial("graphql-ws").expectClose(4406)
	})
	t.Run("binary", func(t *testing.T) {
		t.Parallel()
		l := r.dial(socketProtocol)
		_ = l.Write(t.Context(), websocket.MessageBinary, []byte(init))
		l.expectClose(4400)
	})
	t.Run("another origin", func(t *testing.T) {
		t.Parallel()
		_, answer, err := websocket.Dial(t.Context(), r.server.URL, &websocket.DialOptions{Subprotocols: []string{socketProtocol},
			HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}})
		if err == nil || answer.StatusCode != http.StatusForbidden {
			t.Errorf("%v %+v", err, answer)
		}
	})
	t.Run("an ID again after it was completed", func(t *testing.T) {
		t.Parallel()
		l := r.connect("")
		for range 3 {
			l.say(subscribe)
			if m := l.hear(); m.Type != "next" || m.ID != "1" {
				t.Fatalf("%+v", m)
			}
			l.say(`{"type":"complete","id":"1"}`)
		}
	})
	t.Run("too many operations", func(t *testing.T) {
		t.Parallel()
		l := r.connect("")
		for i := range r.streams.most.operations + 1 {
			l.say(strings.Replace(subscribe, `"id":"1"`, fmt.Sprintf(`"id":"o%d"`, i), 1))
		}
		for {
			m := l.hear()
			if m.Type == "error" {
				if m.ID != fmt.Sprintf("o%d", r.streams.most.operations) || !strings.Contains(string(m.Payload), "RATE_LIMITED") {
					t.Fatalf("%+v", m)
				}
				return
			}
		}
	})
}

// TestWhoMayFollow asks as everybody for everything: what is not the viewer's ends like what does not exist.
func TestWhoMayFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	r := w.replicate(nil)
	one := `subscription($id: ID!) { it: orderChanged(id: $id) { order { __typename } } }`
	all := `subscription { it: ordersChanged { order { __typename } } }`
	stock := `subscription($ids: [ID!]!) { it: stockChanged(variantIds: $ids) { variant { sku } } }`
	hers := w.ids["Order"].String()
	unknown := id.Owned(id.Order, id.Key{Owner: w.ids["Order"].OwnedKey().Owner, ID: id.New()}).String()
	const null, some = `{"data":{"it":null}}`, `{"data":{"it":{"order":{"__typename":"Order"}}}}`
	begin := `{"data":{"it":{"order":null}}}`
	variant := `{"data":{"it":{"variant":{"sku":"SH-0-S"}}}}`
	for _, c := range []struct {
		query     string
		variables map[string]any
		want      map[string]string // by who; what begins with a code is an error
	}{
		{one, map[string]any{"id": hers}, map[string]string{"": null, "ada": some, "bob": null, "service": null, "support": some, "manager": some, "admin": some}},
		{one, map[string]any{"id": unknown}, map[string]string{"": null, "ada": null, "bob": null, "service": null, "support": null, "manager": null, "admin": null}},
		{one, map[string]any{"id": w.ids["Variant"].String()}, map[string]string{"": null, "ada": null, "admin": null}},
		{all, nil, map[string]string{"": "UNAUTHENTICATED", "ada": "FORBIDDEN", "service": "FORBIDDEN", "support": begin, "manager": begin, "admin": begin}},
		{stock, map[string]any{"ids": []string{w.ids["Variant"].String(), hers}}, map[string]string{"": variant, "ada": variant, "admin": variant}},
		{stock, map[string]any{"ids": []string{hers}}, map[string]string{"": null, "admin": null}},
		{`subscription { it: ordersChanged(after: "nonsense") { cursor } }`, nil, map[string]string{"ada": "FORBIDDEN", "support": "BAD_USER_INPUT"}},
		{`subscription { nothing }`, nil, map[string]string{"": "BAD_USER_INPUT"}},
	} {
		for who, want := range c.want {
			l := r.connect(who)
			l.subscribe("x", c.query, c.variables)
			if !strings.HasPrefix(c.query, "subscription") || strings.Contains(c.query, "nothing") {
				if m := l.hear(); m.Type != "error" || !strings.Contains(string(m.Payload), want) {
					t.Errorf("%s as %q: %s %s", c.query, who, m.Type, m.Payload)
				}
				continue
			}
			s := r.listen(who, c.query, c.variables)
			m := l.hear()
			block, err := s.block()
			for block == ":\n" {
				block, err = s.block()
			}
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(want, "{") {
				if m.Type != "next" || string(m.Payload) != want || block != "event: next\ndata: "+want+"\n" {
					t.Errorf("%s as %q: %s %s; %s", c.query, who, m.Type, m.Payload, block)
				}
			} else if m.Type != "error" || !strings.Contains(string(m.Payload), want) || !strings.HasPrefix(block, "event: next") || !strings.Contains(block, want) {
				t.Errorf("%s as %q: %s %s; %s", c.query, who, m.Type, m.Payload, block)
			}
			if want == null {
				l.expect("x", "complete", "")
			}
			if want == null || want[0] != '{' {
				s.expect("event: complete\ndata:\n")
			}
			_ = l.CloseNow()
			_ = s.body.Close()
		}
	}
	for query, status := range map[string]int{`{"query":"{ categories { name } }"}`: 200, `{"query":"subscription { nothing }"}`: 422} {
		request := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(query))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Accept", "application/json, text/event-stream")
		if a := w.send(request); a.status != status || !strings.HasSuffix(a.header.Get("Content-Type"), "json; charset=utf-8") {
			t.Errorf("%s, accepting either: %d %s", query, a.status, a.body)
		}
	}
	a := w.ask("ada", one, map[string]any{"id": hers})
	if a.status != http.StatusNotAcceptable || strings.Join(a.codes(), "") != "BAD_USER_INPUT " {
		t.Errorf("asked as a query: %d %s", a.status, a.body)
	}
}

// TestNothingIsMissed breaks off, changes orders, and goes on: by the cursor, or by the beginning.
func TestNothingIsMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.replicate(nil), w.replicate(nil)
	all := `subscription($after: String) { ordersChanged(after: $after) { cursor order { number events { message } } } }`
	type event struct {
		Data struct {
			OrdersChanged struct {
				Cursor string
				Order  *struct {
					Number string
					Events []struct{ Message string }
				}
			}
		}
	}
	hear := func(l *line) (e event) {
		t.Helper()
		m := l.hear()
		if err := json.Unmarshal(m.Payload, &e); err != nil || m.Type != "next" || e.Data.OrdersChanged.Cursor == "" {
			t.Fatalf("%s %s %v", m.Type, m.Payload, err)
		}
		return e
	}
	last := func(e event) string {
		t.Helper()
		if e.Data.OrdersChanged.Order == nil {
			t.Fatal("there is no order")
		}
		return e.Data.OrdersChanged.Order.Events[len(e.Data.OrdersChanged.Order.Events)-1].Message
	}
	l := a.connect("support")
	l.subscribe("1", all, nil)
	begin := hear(l)
	if begin.Data.OrdersChanged.Order != nil {
		t.Fatalf("it begins with an order")
	}
	_ = l.CloseNow()
	w.note("one")
	l = b.connect("admin")
	l.subscribe("1", all, map[string]any{"after": begin.Data.OrdersChanged.Cursor})
	one := hear(l)
	if last(one) != "one" {
		t.Errorf("%+v", one)
	}
	w.note("two")
	if two := hear(l); last(two) != "two" {
		t.Errorf("%+v", two)
	}
	_ = l.CloseNow()
	l = a.connect("manager")
	l.subscribe("1", all, map[string]any{"after": one.Data.OrdersChanged.Cursor})
	if two := hear(l); last(two) != "two" {
		t.Errorf("%+v", two)
	}
}

// TestLateTransactions wants a change that is committed late to be told then, though another one was told before.
func TestLateTransactions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	r := w.replicate(nil)
	l := r.connect("support")
	l.subscribe("1", `subscription { ordersChanged { order { number } } }`, nil)
	l.expect("1", "next", `{"data":{"ordersChanged":{"order":null}}}`)
	change := func(ctx context.Context, tx *postgres.Tx, number string) error {
		_, err := postgres.Exec(ctx, tx, postgres.Stmt{Name: "test",
			SQL: "UPDATE orders.orders SET updated_at = now(), changed_in = pg_current_xact_id() WHERE number = $1"}, number)
		return err
	}
	begun, end, late := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		late <- w.dbs.Orders.InTx(context.Background(), func(ctx context.Context, tx *postgres.Tx) error {
			if err := change(ctx, tx, w.numbers["bob"]); err != nil {
				return err
			}
			close(begun)
			<-end
			return nil
		})
	}()
	<-begun
	for range 3 {
		if err := w.dbs.Orders.InTx(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			return change(ctx, tx, w.numbers["ada"])
		}); err != nil {
			t.Fatal(err)
		}
		l.expect("1", "next", fmt.Sprintf(`{"data":{"ordersChanged":{"order":{"number":%q}}}}`, w.numbers["ada"]))
	}
	close(end)
	if err := <-late; err != nil {
		t.Fatal(err)
	}
	l.expect("1", "next", fmt.Sprintf(`{"data":{"ordersChanged":{"order":{"number":%q}}}}`, w.numbers["bob"]))
}

// TestStockChanged wants holds, sales and corrections of the stock to be told, at another replica.
func TestStockChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.replicate(nil), w.replicate(nil)
	l := b.connect("manager")
	l.subscribe("1", `subscription($id: ID!) { stockChanged(variantIds: [$id]) { variant { inventory { onHand held } } } }`,
		map[string]any{"id": w.ids["Variant"].String()})
	expect := func(onHand, held int) {
		t.Helper()
		l.expect("1", "next", fmt.Sprintf(`{"data":{"stockChanged":{"variant":{"inventory":{"onHand":%d,"held":%d}}}}}`, onHand, held))
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect(20, 0)
	products, lines := a.services.Products, []product.HoldLine{{VariantID: w.ids["Variant"].Key, Quantity: 3}}
	first, second := id.New(), id.New()
	must(products.Hold(t.Context(), first, lines, time.Now().Add(time.Hour)))
	expect(20, 3)
	must(products.Sell(t.Context(), first))
	expect(17, 0)
	must(products.Restock(t.Context(), first, "back", lines))
	expect(20, 0)
	must(products.Hold(t.Context(), second, lines, time.Now().Add(time.Hour)))
	expect(20, 3)
	must(products.Release(t.Context(), second))
	expect(20, 0)
	answer := w.ask("manager", `mutation($id: ID!) { stockAdjust(input: {variantId: $id, delta: 5, reason: RECEIVED}, idempotencyKey: "k") { userErrors { code } } }`,
		map[string]any{"id": w.ids["Variant"].String()})
	if !strings.Contains(answer.body, `"userErrors":[]`) {
		t.Fatal(answer.body)
	}
	expect(25, 0)
}

// TestViewerGoes ends the session, the token and the role of a subscriber, while nothing happens otherwise.
func TestViewerGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	r := w.replicate(func(p *pace) { p.recheck = 100 * time.Millisecond })
	one, all := `subscription($id: ID!) { orderChanged(id: $id) { cursor } }`, `subscription { ordersChanged { order { number } } }`
	hers := map[string]any{"id": w.ids["Order"].String()}
	ada, support := r.connect("ada"), r.connect("support")
	ada.subscribe("1", one, hers)
	support.subscribe("1", all, nil)
	support.subscribe("2", one, hers)
	stream := r.listen("ada", one, hers)
	if m := ada.hear(); m.Type != "next" {
		t.Fatalf("%+v", m)
	}
	for range 2 {
		if m := support.hear(); m.Type != "next" {
			t.Fatalf("%+v", m)
		}
	}
	stream.expect("event: next\ndata: {\"data\":{\"orderChanged\":{\"cursor\":null}}}\n")

	person, err := w.services.Users.ByEmail(auth.With(t.Context(), auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleAdmin)}), "support@example.com")
	if err != nil {
		t.Fatal(err)
	}
	w.data("admin", `mutation($id: ID!) { userSetRoles(input: {userId: $id, roles: [CUSTOMER]}) { user { roles } } }`, map[string]any{"id": person.GlobalID().String()})
	if m := support.hear(); m.ID != "1" || m.Type != "error" || !strings.Contains(string(m.Payload), "FORBIDDEN") {
		t.Errorf("without the role: %+v %s", m, m.Payload)
	}
	w.note("not for support any more")
	support.expect("2", "next", `{"data":{"orderChanged":null}}`)
	support.expect("2", "complete", "")

	if m := ada.hear(); m.Type != "next" {
		t.Fatalf("%+v", m)
	}
	w.data("ada", `mutation { signOut { sessionsEnded } }`, nil)
	ada.expectClose(4403)
	stream.expect("event: next\ndata: {\"data\":{\"orderChanged\":{\"cursor\":null}}}\n")
	for {
		block, err := stream.block()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(block, "UNAUTHENTICATED") {
			break
		}
	}
	stream.expect("event: complete\ndata:\n")
}

// TestTokenExpires wants a subscription to end with its token, though the session goes on, and a fresh token to be taken.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	verifier, err := auth.NewVerifier(auth.VerifierConfig{Issuer: "test", Audience: "test", Leeway: -1}, w.keys)
	if err != nil {
		t.Fatal(err)
	}
	w.options.Verifier = verifier
	claims, err := verifier.Verify(t.Context(), w.tokens["ada"])
	if err != nil {
		t.Fatal(err)
	}
	fresh := w.tokens["ada"]
	if w.tokens["ada"], err = auth.NewIssuer("test", "test", w.keys).Issue(claims.Actor, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	r := w.replicate(func(p *pace) { p.recheck = time.Hour })
	one, hers := `subscription($id: ID!) { orderChanged(id: $id) { cursor } }`, map[string]any{"id": w.ids["Order"].String()}
	l := r.connect("ada")
	l.subscribe("1", one, hers)
	l.expect("1", "next", `{"data":{"orderChanged":{"cursor":null}}}`)
	l.expectClose(4403)
	w.tokens["ada"] = fresh
	l = r.connect("ada")
	l.subscribe("1", one, hers)
	l.expect("1", "next", `{"data":{"orderChanged":{"cursor":null}}}`)
}

// TestFailingEvent wants an event that can not be read to end the subscription, and one that begins again to have it.
func TestFailingEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.replicate(nil)
	l := r.connect("support")
	all := `subscription($after: String) { ordersChanged(after: $after) { cursor order { lines { title } } } }`
	l.subscribe("1", all, nil)
	var begin struct {
		Data struct{ OrdersChanged struct{ Cursor string } }
	}
	if err := json.Unmarshal(l.hear().Payload, &begin); err != nil {
		t.Fatal(err)
	}
	rename := func(from, to string) {
		t.Helper()
		if _, err := postgres.Exec(t.Context(), w.dbs.Orders, postgres.Stmt{Name: "test", SQL: "ALTER TABLE orders." + from + " RENAME TO " + to}); err != nil {
			t.Fatal(err)
		}
	}
	rename("lines", "lost")
	w.note("something")
	if m := l.hear(); m.Type != "error" || !strings.Contains(string(m.Payload), "INTERNAL") {
		t.Errorf("%+v %s", m, m.Payload)
	}
	rename("lost", "lines")
	l.subscribe("1", all, map[string]any{"after": begin.Data.OrdersChanged.Cursor})
	if m := l.hear(); m.Type != "next" || !strings.Contains(string(m.Payload), `"title":"Shirt"`) {
		t.Errorf("%+v %s", m, m.Payload)
	}
}

// TestStatementsOfEvents counts what a subscription and an event of it cost.
func TestStatementsOfEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	r := w.replicate(nil)
	ctx, recorder := postgres.Record(t.Context())
	ctx, cancel := context.WithCancel(ctx)
	request := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(
		`{"query":"subscription { orderChanged(id: \"`+w.ids["Order"].String()+`\") { order { number lines { title } } } }"}`))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Authorization", "Bearer "+w.tokens["ada"])
	out := told{httptest.NewRecorder(), make(chan string, 10)}
	var done sync.WaitGroup
	done.Go(func() { r.handler.ServeHTTP(out, request.WithContext(ctx)) })
	for !strings.Contains(<-out.blocks, "event: next") {
	}
	cancel()
	done.Wait()
	want := []string{"users.check_session", "orders.published_orders_by_key", "orders.published_orders_by_key", "orders.lines_by_order"}
	if got := recorder.Statements(); !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

// TestBudgetOfEvents wants an event to have as many statements as a query, and the next one to have them again.
func TestBudgetOfEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.options.Limits.Statements = 1
	l := w.replicate(nil).connect("ada")
	l.subscribe("few", `subscription($id: ID!) { orderChanged(id: $id) { order { number } } }`, map[string]any{"id": w.ids["Order"].String()})
	l.subscribe("many", `subscription($id: ID!) { orderChanged(id: $id) { order { lines { title } } } }`, map[string]any{"id": w.ids["Order"].String()})
	for range 2 {
		for range 2 {
			if m := l.hear(); m.Type != "next" || strings.Contains(string(m.Payload), "more than 1 SQL statements") != (m.ID == "many") {
				t.Errorf("%s %s %s", m.ID, m.Type, m.Payload)
			}
		}
		w.note("again")
	}
}

// TestEventsCostPoints follows the stock, and finds that the points of the address are used by it.
func TestEventsCostPoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.meter(100_000, 60)
	r := w.replicate(nil)
	left := func(points int) bool {
		ok, _ := w.options.Points.Reserve(t.Context(), auth.ThrottleAddressPoints, "", points)
		if ok {
			w.options.Points.Settle(t.Context(), auth.ThrottleAddressPoints, "", points)
		}
		return ok
	}
	l := r.connect("")
	l.subscribe("1", stockChanged, w.variant())
	for n := range 18 {
		if m := l.hear(); m.Type != "next" {
			t.Fatalf("%s %s", m.Type, m.Payload)
		}
		if n == 0 && !left(50) {
			t.Error("the beginning costs more than is in it")
		}
		w.data("manager", `mutation($id: ID!, $key: String!) { stockAdjust(input: {variantId: $id, delta: 1, reason: RECEIVED}, idempotencyKey: $key) { userErrors { code } } }`,
			map[string]any{"id": w.ids["Variant"].String(), "key": fmt.Sprint(n)})
	}
	if left(30) {
		t.Error("events cost nothing")
	}
}

// TestOwedPoints has a subscriber wait for an event until what earlier ones have cost is paid.
func TestOwedPoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		throttle, err := auth.NewThrottle(auth.ThrottleConfig{Secret: []byte("x"), Limits: map[string]auth.Limit{"kind": {Burst: 10, Every: time.Second}}})
		if err != nil {
			t.Fatal(err)
		}
		points, err := auth.NewPoints(throttle)
		if err != nil {
			t.Fatal(err)
		}
		if ok, _ := points.Reserve(t.Context(), "kind", "ada", 10); !ok {
			t.Fatal("there are no points")
		}
		asked := 0
		next := func(context.Context) (any, error) {
			asked++
			return "event", nil
		}
		began, owes := time.Now(), &tab{points, "kind", "ada", -5}
		if event, err := owes.waitFor(t.Context(), next, 2*time.Second); !errors.Is(err, context.DeadlineExceeded) || asked > 0 || time.Since(began) != 2*time.Second {
			t.Errorf("%v %v after %v", event, err, time.Since(began))
		}
		event, err := owes.waitFor(t.Context(), next, time.Minute)
		if took := time.Since(began); event != "event" || err != nil || owes.paid != 1 || took < 4*time.Second || took > 7*time.Second {
			t.Errorf("%v %v after %v, owing %d", event, err, took, owes.paid)
		}
		owes.paid -= 1_000 // more than there ever are
		if event, err := owes.waitFor(t.Context(), next, time.Minute); event != "event" || err != nil || asked != 2 {
			t.Errorf("%v %v", event, err)
		}
	})
}

// TestPanicsOverStreams wants a panic to end the operation alone, with an error.
func TestPanicsOverStreams(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, 1)
	k.options.watch.answered = func(context.Context, cache.Level, string) { panic("at the disco") }
	r := k.replicate(nil)
	l := r.connect("")
	l.subscribe("1", `{ categories { name } }`, nil)
	if m := l.hear(); m.ID != "1" || m.Type != "error" || !strings.Contains(string(m.Payload), "INTERNAL") {
		t.Errorf("%+v %s", m, m.Payload)
	}
	l.subscribe("1", stockChanged, k.variant())
	if m := l.hear(); m.Type != "next" {
		t.Errorf("%+v %s", m, m.Payload)
	}
	s := r.listen("", `{ categories { name } }`, nil)
	if text, err := s.event(); err != nil || !strings.Contains(text, "INTERNAL") {
		t.Errorf("%s %v", text, err)
	}
	s.expect("event: complete\ndata:\n")
}

// told tells what is written.
type told struct {
	*httptest.ResponseRecorder
	blocks chan string
}

func (w told) Write(b []byte) (int, error) {
	w.blocks <- string(b)
	return len(b), nil
}

// TestStreamsEnd wants all streams to be told that the server stops, and gone when End returns; a client that leaves to
// leave nothing behind; and an event stream to say something now and then.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	r := w.replicate(func(p *pace) { p.heartbeat, p.ping = 20*time.Millisecond, 20*time.Millisecond })
	open := func() int {
		r.streams.mu.Lock()
		defer r.streams.mu.Unlock()
		return len(r.streams.visits) + len(r.streams.byAddress) + len(r.streams.byViewer) + len(r.streams.singles)
	}
	variables := map[string]any{"ids": []string{w.ids["Variant"].String()}}
	stock := `subscription($ids: [ID!]!) { stockChanged(variantIds: $ids) { variant { sku } } }`
	s := r.listen("", stock, variables)
	for range 10 {
		if _, err := s.block(); err != nil {
			t.Fatal(err)
		}
	}
	l := r.connect("")
	l.subscribe("1", stock, variables)
	l.hear()
	_ = s.body.Close()
	_ = l.CloseNow()
	gone := make(chan struct{})
	go func() {
		r.streams.open.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
	}
	if open() != 0 {
		t.Fatalf("%d streams are left", open())
	}

	l = r.connect("")
	l.subscribe("1", stock, variables)
	l.hear()
	ended := make(chan struct{})
	go func() {
		r.streams.End(t.Context())
		close(ended)
	}()
	l.expectClose(websocket.StatusGoingAway)
	<-ended
	if open() != 0 {
		t.Errorf("%d streams are left", open())
	}
	if _, answer, err := websocket.Dial(t.Context(), r.server.URL, nil); err == nil || answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a connection after the end: %v", err)
	}
}
