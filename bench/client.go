package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

const (
	requestLimit = 15 * time.Second // for one request
	maxBody      = 16 << 20
)

// client speaks just enough HTTP/1.1 over one connection to ask again and again, so that on a small machine the client
// takes little of the CPU that is being measured. It is used by one goroutine at a time.
type client struct {
	conn     net.Conn
	in       *bufio.Reader
	body     []byte
	deadline time.Time
}

func dial(ctx context.Context, addr string) (*client, error) {
	conn, err := (&net.Dialer{Timeout: requestLimit}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}, nil
}

func (c *client) close() { _ = c.conn.Close() }

// do sends a request, made by requestFor, and returns the status and the body, which is valid until the next call. The
// connection is of no use after an error.
func (c *client) do(request []byte) (status int, body []byte, err error) {
	// Moving a deadline costs more than looking at the clock, so it is moved once a while.
	if now := time.Now(); c.deadline.Sub(now) < requestLimit {
		c.deadline = now.Add(requestLimit + 5*time.Second)
		if err := c.conn.SetDeadline(c.deadline); err != nil {
			return 0, nil, err
		}
	}
	if _, err := c.conn.Write(request); err != nil {
		return 0, nil, err
	}
	status, c.body, err = readResponse(c.in, c.body[:0])
	return status, c.body, err
}

// requestFor returns a POST of a JSON body as it goes over the wire. Token may be empty.
func requestFor(addr, path, token string, body []byte) []byte {
	return requestWith(addr, path, token, "", body)
}

// requestWith is requestFor with the encodings that are accepted, if any.
func requestWith(addr, path, token, encoding string, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nContent-Type: application/json\r\n", path, addr)
	if token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", token)
	}
	if encoding != "" {
		fmt.Fprintf(&b, "Accept-Encoding: %s\r\n", encoding)
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(body))
	b.Write(body)
	return b.Bytes()
}

// readResponse reads a response to a POST and appends its body to b.
func readResponse(in *bufio.Reader, b []byte) (status int, body []byte, err error) {
	line, err := readLine(in)
	if err != nil {
		return 0, b, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, b, fmt.Errorf("not a status line of HTTP/1.1: %.60q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil || status < 200 {
		return 0, b, fmt.Errorf("not a final status: %.60q", line)
	}
	length, chunked, last := -1, false, false
	for {
		line, err := readLine(in)
		if err != nil {
			return status, b, err
		}
		if len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return status, b, fmt.Errorf("not a header: %.60q", line)
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 || length > maxBody {
				return status, b, fmt.Errorf("Content-Length: %.60q", value)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			if chunked = bytes.EqualFold(value, []byte("chunked")); !chunked {
				return status, b, fmt.Errorf("Transfer-Encoding: %.60q", value)
			}
		case bytes.EqualFold(name, []byte("Connection")):
			last = bytes.EqualFold(value, []byte("close"))
		}
	}
	switch {
	case chunked:
		b, err = readChunks(in, b)
	case length >= 0:
		b, err = readBytes(in, b, length)
	default:
		err = errors.New("the length of the body is not told")
	}
	if err == nil && last {
		err = fmt.Errorf("the server closes the connection after status %d", status)
	}
	return status, b, err
}

func readChunks(in *bufio.Reader, b []byte) ([]byte, error) {
	for {
		line, err := readLine(in)
		if err != nil {
			return b, err
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 32)
		if err != nil || len(b)+int(n) > maxBody {
			return b, fmt.Errorf("size of a chunk: %.60q", line)
		}
		if n == 0 {
			break
		}
		if b, err = readBytes(in, b, int(n)); err != nil {
			return b, err
		}
		if line, err = readLine(in); err != nil || len(line) > 0 {
			return b, errors.Join(errors.New("a chunk is longer than it says"), err)
		}
	}
	for { // trailers
		line, err := readLine(in)
		if err != nil || len(line) == 0 {
			return b, err
		}
	}
}

// readBytes appends the next n bytes.
func readBytes(in *bufio.Reader, b []byte, n int) ([]byte, error) {
	from := len(b)
	if cap(b) < from+n {
		b = append(make([]byte, 0, 2*(from+n)), b...)
	}
	b = b[:from+n]
	_, err := io.ReadFull(in, b[from:])
	return b, err
}

// readLine returns the next line without its end; it is valid until the next read.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err == io.EOF && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}
