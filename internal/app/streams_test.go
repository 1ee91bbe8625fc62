package app_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"emporium/internal/id"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
)

// TestStreamsAtReplicas follows the stock at two servers on one database, changes it past both, and stops one: its client is
// told, the server is gone in time, and the other goes on.
func TestStreamsAtReplicas(t *testing.T) {
	t.Parallel()
	dbs := pgtest.New(t)
	env := environment(t, dbs)
	products, shirt, variant, five := product.New(dbs.Products, "EUR"), id.New(), id.New(), 5
	draft := &product.Draft{
		Product:  product.Product{ID: shirt, Slug: "shirt", Title: "Shirt", Status: product.StatusActive},
		Variants: []product.VariantDraft{{OnHand: &five, Variant: product.Variant{ID: variant, Position: 1, Currency: "EUR", PriceMinor: 1990}}},
	}
	a, b := start(t, env), start(t, env)
	a.untilReady()
	b.untilReady()
	if err := products.Load(t.Context(), nil, nil, slices.Values([]*product.Draft{draft}), nil); err != nil {
		t.Fatal(err)
	}
	connect := func(s *server) *websocket.Conn {
		t.Helper()
		c, _, err := websocket.Dial(t.Context(), "ws://"+s.HTTPAddr()+"/graphql", &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		subscribe, err := json.Marshal(map[string]any{"type": "subscribe", "id": "1", "payload": map[string]any{
			"query":     `subscription($id: ID!) { stockChanged(variantIds: [$id]) { variant { availability { quantity } } } }`,
			"variables": map[string]any{"id": id.Of(id.Variant, variant).String()}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{`{"type":"connection_init"}`, string(subscribe)} {
			if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text, "connection_init") {
				hear(t, c, `"connection_ack"`)
			}
		}
		return c
	}
	atA, atB := connect(a), connect(b)
	hear(t, atA, `"quantity":5`)
	hear(t, atB, `"quantity":5`)
	if err := products.Hold(t.Context(), id.New(), []product.HoldLine{{VariantID: variant, Quantity: 2}}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	hear(t, atA, `"quantity":3`)
	hear(t, atB, `"quantity":3`)
	stopped := make(chan error, 1)
	go func() { stopped <- a.stop() }()
	if _, _, err := atA.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the client of a server that stops: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := products.Hold(t.Context(), id.New(), []product.HoldLine{{VariantID: variant, Quantity: 2}}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	hear(t, atB, `"quantity":1`)
}

// hear wants the next message to contain something.
func hear(t *testing.T, c *websocket.Conn, want string) {
	t.Helper()
	_, message, err := c.Read(t.Context())
	if err != nil || !strings.Contains(string(message), want) {
		t.Fatalf("heard %s, %v; not %s", message, err, want)
	}
}
