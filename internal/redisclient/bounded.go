package redisclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// Bounds of what a server may announce. go-redis makes room for a value, or a list, before it comes, however long it
// is said to be: one line of a server that lies, or that is none, would end the process.
const (
	maxValue = 16 << 20 // bytes
	maxItems = 1 << 17  // of a list; the answer with all 16,384 slots of a cluster has fewer
	maxLine  = 64 << 10 // bytes
)

var errAnswer = errors.New("redis: the server announced an answer out of bounds")

// dialer dials as go-redis does, and bounds what comes.
func dialer(config *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	dial := redis.NewDialer(&redis.Options{DialTimeout: dialTimeout, TLSConfig: config})
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		b := &bounded{Conn: conn}
		if raw, ok := conn.(syscall.Conn); ok {
			return &boundedSocket{b, raw}, nil
		}
		return b, nil
	}
}

// bounded is a connection that breaks when the server announces too much. It looks at the lines of RESP (version 2 and 3)
// that carry lengths, and skips values.
type bounded struct {
	net.Conn
	skip int      // bytes of a value, and its end of line, that are still to come
	line [32]byte // the beginning of a line
	len  int      // of the line so far
}

// boundedSocket also lets go-redis look whether the server has closed the connection.
type boundedSocket struct {
	*bounded
	raw syscall.Conn
}

// SyscallConn implements syscall.Conn.
func (b *boundedSocket) SyscallConn() (syscall.RawConn, error) { return b.raw.SyscallConn() }

// NetConn returns the connection below, as that of TLS does.
func (b *bounded) NetConn() net.Conn { return b.Conn }

// Read implements net.Conn. A connection has one reader at a time.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if n > 0 && !b.follow(p[:n]) {
		return 0, errAnswer
	}
	return n, err
}

// follow reports whether all is in bounds.
func (b *bounded) follow(p []byte) bool {
	for len(p) > 0 {
		if b.skip > 0 {
			n := min(b.skip, len(p))
			b.skip -= n
			p = p[n:]
			continue
		}
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end+1]
		}
		if b.len < len(b.line) {
			copy(b.line[b.len:], part)
		}
		b.len += len(part)
		if b.len > maxLine {
			return false
		}
		if end >= 0 {
			if !b.announced(b.line[:min(b.len, len(b.line))]) {
				return false
			}
			b.len = 0
		}
		p = p[len(part):]
	}
	return true
}

// announced reads a line, of which it may get the beginning alone.
func (b *bounded) announced(line []byte) bool {
	switch line[0] {
	case '$', '=', '!': // strings
		n, err := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
		if err != nil || n > maxValue {
			return false
		}
		if n >= 0 {
			b.skip = n + 2
		}
	case '*', '~', '>', '%', '|': // lists and maps
		n, err := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
		return err == nil && n <= maxItems
	}
	return true
}
