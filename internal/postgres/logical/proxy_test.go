package logical

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"emporium/internal/postgres/pgtest"
)

// proxy stands between a client and the server, notes what the server says, and can fall silent without closing.
type proxy struct {
	url string

	mu     sync.Mutex
	said   []byte
	silent bool
	open   []net.Conn
}

func newProxy(t testing.TB, url string) *proxy {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "proxy") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	redirected, server, err := pgtest.Redirect(url, dir)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{url: redirected}
	listener, err := net.Listen("unix", filepath.Join(dir, filepath.Base(server)))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("unix", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.open = append(p.open, client, upstream)
			p.mu.Unlock()
			running.Go(func() {
				_, _ = io.Copy(upstream, client)
				_ = upstream.Close()
			})
			running.Go(func() {
				_, _ = io.Copy(listening{client, p}, upstream)
				_ = client.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		for _, c := range p.open {
			_ = c.Close()
		}
		p.mu.Unlock()
		running.Wait()
		_ = os.RemoveAll(dir)
	})
	return p
}

// silence drops what the server says from now on.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

type listening struct {
	to net.Conn
	p  *proxy
}

func (l listening) Write(b []byte) (int, error) {
	l.p.mu.Lock()
	l.p.said = append(l.p.said, b...)
	silent := l.p.silent
	l.p.mu.Unlock()
	if silent {
		return len(b), nil
	}
	return l.to.Write(b)
}
