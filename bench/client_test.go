package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestResponsesAreRead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		in     string
		status int
		body   string
		err    string // a part of the error; "" for none
	}{
		"with a length": {in: "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", status: 200, body: "hello"},
		"empty":         {in: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200},
		"an error":      {in: "HTTP/1.1 503 Service Unavailable\r\nContent-Length:2\r\n\r\nno", status: 503, body: "no"},
		"in chunks": {
			in:     "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, chunks!!\r\n0\r\n\r\n",
			status: 200, body: "hello, chunks!!",
		},
		"in chunks with a trailer": {
			in:     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nETag: x\r\n\r\n",
			status: 200, body: "hi",
		},
		"cut off":            {in: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", status: 200, err: "unexpected EOF"},
		"cut off in chunks":  {in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", status: 200, err: "unexpected EOF"},
		"cut off in headers": {in: "HTTP/1.1 200 OK\r\nContent-Len", status: 200, err: "unexpected EOF"},
		"no answer":          {in: "", err: "EOF"},
		"no length":          {in: "HTTP/1.1 200 OK\r\n\r\n", status: 200, err: "not told"},
		"negative length":    {in: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", status: 200, err: "Content-Length"},
		"endless":            {in: "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", status: 200, err: "Content-Length"},
		"endless chunk":      {in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", status: 200, err: "chunk"},
		"longer chunk":       {in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", status: 200, err: "longer"},
		"the last one":       {in: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", status: 200, body: "hi", err: "closes"},
		"another protocol":   {in: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", err: "status line"},
		"not final":          {in: "HTTP/1.1 100 Continue\r\n\r\n", err: "final"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body, err := readResponse(bufio.NewReader(strings.NewReader(test.in)), nil)
			if status != test.status || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("got status %d, error %v; want %d, %q", status, err, test.status, test.err)
			}
			if test.body != "" && string(body) != test.body {
				t.Errorf("got %q, want %q", body, test.body)
			}
		})
	}
}

func FuzzResponsesAreRead(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		_, body, _ := readResponse(bufio.NewReader(bytes.NewReader(in)), nil)
		if len(body) > maxBody {
			t.Errorf("%d bytes", len(body))
		}
	})
}

// The same connection has to serve answers of all kinds one after the other.
func TestClientAsksAgainAndAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, _ := io.ReadAll(r.Body)
		body := strings.Repeat(string(asked), 1000) // long ones come in chunks
		fmt.Fprint(w, r.Method, " ", r.URL.Path, " ", r.Header.Get("Authorization"), " ", r.Header.Get("Content-Type"), " ", body)
	}))
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	c, err := dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	for i := range 20 {
		asked := strings.Repeat("x", 7*i)
		status, body, err := c.do(requestFor(addr, "/here", "secret", []byte(asked)))
		want := "POST /here Bearer secret application/json " + strings.Repeat(asked, 1000)
		if err != nil || status != http.StatusOK || string(body) != want {
			t.Fatalf("request %d: status %d, %d bytes, error %v; want %d bytes", i, status, len(body), err, len(want))
		}
	}
}
