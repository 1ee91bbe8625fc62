//go:build unix

package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"emporium/e2e/attack"
)

// attacks are sent as they are, and with something broken in them.
var attacks = attack.All()

func (s *somebody) attack() {
	if s.IntN(10) == 0 {
		s.move()
	}
	body := attacks[s.IntN(len(attacks))].Body
	switch s.IntN(4) {
	case 0:
		text := []byte(body)
		for range 1 + s.IntN(4) {
			text[s.IntN(len(text))] = byte(s.IntN(256))
		}
		body = string(text)
	case 1:
		body = body[:s.IntN(len(body))]
	}
	s.send(http.MethodPost, "/graphql", body, bearer(s.anybody())...)
	s.pause(100 * time.Millisecond)
}

// garble sends what is hardly HTTP, and HTTP that is no request to a graph.
func (s *somebody) garble() {
	defer s.pause(100 * time.Millisecond)
	document := written(`{ categories { name } }`, nil)
	switch s.IntN(10) {
	case 0:
		s.send(http.MethodPost, "/graphql", strings.Repeat("x", 1<<20))
	case 1:
		s.send(http.MethodPost, "/graphql", document, "Content-Type", "multipart/form-data; boundary=x")
	case 2:
		s.send(http.MethodPost, "/graphql", document, "Content-Type", "text/plain", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	case 3:
		s.send(http.MethodPost, "/graphql", document, "Accept", "image/png")
	case 4:
		s.send([]string{http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodTrace, "BREW"}[s.IntN(5)], "/graphql", document)
	case 5:
		s.send(http.MethodGet, "/graphql?query=%7Bcategories%7Bname%7D%7D&variables=%00%ff", "")
	case 6:
		s.send(http.MethodPost, "/graphql", document, "Content-Encoding", "gzip")
	case 7:
		s.send(http.MethodGet, "/../..//etc/passwd%00?"+strings.Repeat("a=b&", s.IntN(500)), "")
	case 8: // no end of the head, or of the body
		s.raw([]string{"POST /graphql HTTP/1.1\r\nHost: x\r\nX-A: ", "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
			"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}[s.IntN(3)])
	case 9:
		noise := make([]byte, s.IntN(4096))
		for i := range noise {
			noise[i] = byte(s.IntN(256))
		}
		s.raw(string(noise))
	}
}

// raw sends bytes, listens for a moment, and is gone.
func (s *somebody) raw(text string) {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).Dial("tcp", s.server().HTTP)
	if err != nil {
		s.fault("connect: %v", err)
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Duration(1+s.IntN(1000)) * time.Millisecond)) // what it can not say or hear then is not waited for
	_, _ = io.WriteString(conn, text)
	heard, _ := io.ReadAll(conn)
	if bytes.HasPrefix(heard, []byte("HTTP/1.1 5")) {
		s.fault("%.100q is answered by %.300s", text, heard)
	}
}

// trespass asks for what is somebody else's, with tokens that hold and that do not.
func (s *somebody) trespass() {
	defer s.pause(100 * time.Millisecond)
	who := s.customer()
	other := s.customer()
	query := written(`query($id: ID!) { order(id: $id) { id number } }`, map[string]any{"id": other.Order})
	if s.IntN(2) == 0 {
		a := s.send(http.MethodPost, "/graphql", query, bearer(who.Token)...)
		if shown := strings.Contains(string(a.body), other.Order); shown != (who == other) && a.status != http.StatusTooManyRequests {
			s.fault("%s is answered about the order of %s: %.300s", who.Name, other.Name, a.body)
		}
		return
	}
	head, rest, _ := strings.Cut(who.Token, ".")
	forged := []string{who.Token[:len(who.Token)-4] + "AAAA", "eyJhbGciOiJub25lIn0." + rest, head + "." + head + "." + head, strings.Repeat("a.", 5000), "Bearer", "\xff"}[s.IntN(6)]
	a := s.send(http.MethodPost, "/graphql", query, "Authorization", "Bearer "+forged)
	if strings.Contains(string(a.body), other.Order) {
		s.fault("a forged token is believed: %.300s", a.body)
	}
}

// badSocket breaks the protocol of a WebSocket.
func (s *somebody) badSocket() {
	defer s.pause(200 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn := s.dial(ctx)
	if conn == nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	say := func(text string) { _ = conn.Write(ctx, websocket.MessageText, []byte(text)) } // it may be closed by then
	follow := written(stockChanged, map[string]any{"ids": s.variants[:1]})
	begin := s.IntN(2) == 0
	if begin {
		say(introduction(s.anybody()))
	}
	switch s.IntN(9) {
	case 0:
		say(`{"type":"connection_init"}`)
		say(`{"type":"connection_init"}`)
	case 1:
		say(`{"type":"subscribe","id":"1","payload":` + follow + `}`)
		say(`{"type":"subscribe","id":"1","payload":` + follow + `}`)
	case 2:
		say(`{"type":"subscribe","id":"` + strings.Repeat("x", 10_000) + `","payload":` + follow + `}`)
	case 3:
		say(strings.Repeat("[", 300_000))
	case 4:
		_ = conn.Write(ctx, websocket.MessageBinary, []byte{0, 1, 2})
	case 5:
		say(`{"type":"` + []string{"next", "start", "", "complete"}[s.IntN(4)] + `"}`)
	case 6:
		for i := range 60 {
			say(`{"type":"subscribe","id":"` + string(rune('A'+i)) + `","payload":` + follow + `}`)
		}
	case 7:
		say(introduction("eyJhbGciOiJub25lIn0.e30."))
	case 8:
		id, err := json.Marshal(attacks[s.IntN(len(attacks))].Name)
		if err != nil {
			panic(err)
		}
		body := attacks[s.IntN(len(attacks))].Body
		say(`{"type":"subscribe","id":` + string(id) + `,"payload":` + body[:min(len(body), 200_000)] + `}`)
	}
	for {
		_, text, err := conn.Read(ctx)
		if websocket.CloseStatus(err) == websocket.StatusInternalError {
			s.fault("a WebSocket: %v", err)
		}
		if err != nil {
			return
		}
		if strings.Contains(string(text), `"INTERNAL"`) {
			s.fault("over a WebSocket: %.300s", text)
		}
	}
}
