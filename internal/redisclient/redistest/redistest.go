//go:build unix

// Package redistest starts Redis servers that a test may kill, freeze, fill and lie about: single ones, a Redis Cluster,
// and a pair that a Sentinel watches. All end with the test.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"emporium/internal/devstack"
)

// patience is how long anything may take until it counts as a hang.
const patience = 30 * time.Second

// Server is a Redis server.
type Server struct {
	Network, Addr string
	t             testing.TB
	args          []string
	dir           string
	cmd           *exec.Cmd
	ended         chan struct{}
	out           *output
}

// New starts a server on a socket, which keeps nothing on disk. The arguments are more of redis-server's.
func New(t testing.TB, args ...string) *Server {
	t.Helper()
	dir := folder(t)
	s := &Server{Network: "unix", Addr: filepath.Join(dir, "s"), t: t, dir: dir}
	s.args = append([]string{"--port", "0", "--unixsocket", s.Addr, "--save", "", "--appendonly", "no"}, args...)
	s.Start()
	return s
}

// folder has a short name: the path of a socket is bounded.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// onPort starts a server on a free port of this machine. Another process may be quicker to take the port: then it is
// tried again with another one.
func onPort(t testing.TB, args func(port string) []string) *Server {
	t.Helper()
	var s *Server
	for range 10 {
		s = &Server{Network: "tcp", Addr: freePort(t), t: t, dir: folder(t)}
		_, port, _ := net.SplitHostPort(s.Addr)
		s.args = args(port)
		if err := s.start(); err == nil {
			return s
		}
	}
	t.Fatalf("no server starts: %s", s.out)
	return nil
}

func freePort(t testing.TB) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr)
		_ = l.Close()
		if addr.Port < 50000 { // the bus of a cluster is 10000 above
			return addr.String()
		}
	}
}

// URL is for redisclient.Open.
func (s *Server) URL() string {
	if s.Network == "unix" {
		return "unix://" + s.Addr
	}
	return "redis://" + s.Addr
}

// Client returns a client to look and to meddle with.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Network: s.Network, Addr: s.Addr, ContextTimeoutEnabled: true})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Start starts the server, the first time or after Kill, empty, and returns when it answers.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("redis-server: %v: %s", err, s.out)
	}
}

func (s *Server) start() error {
	path, err := devstack.RedisServer(s.t.Context())
	if err != nil {
		s.t.Fatalf("this test needs Redis: %v", err)
	}
	cmd, ended := exec.Command(path, append(s.args, "--dir", s.dir)...), make(chan struct{})
	s.out = &output{}
	cmd.Stdout, cmd.Stderr = s.out, s.out
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.cmd, s.ended = cmd, ended
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill() // also ends one that is stopped
		<-ended
	})
	for deadline := time.Now().Add(patience); ; {
		select {
		case <-ended:
			return fmt.Errorf("ended")
		case <-time.After(2 * time.Millisecond):
		}
		if err = s.ping(); err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

func (s *Server) ping() error {
	conn, err := net.DialTimeout(s.Network, s.Addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err == nil && !bytes.HasPrefix(answer[:n], []byte("+PONG")) {
		err = fmt.Errorf("answered %q", answer[:n])
	}
	return err
}

// Kill ends the server without a goodbye.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// Freeze stops the server in its tracks: connections are taken, by the kernel, and nothing answers.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets the server go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Cluster is a Redis Cluster of masters.
type Cluster []*Server

// NewCluster starts a cluster of three masters without replicas.
func NewCluster(t testing.TB) Cluster {
	t.Helper()
	var c Cluster
	for range 3 {
		c = append(c, onPort(t, func(port string) []string {
			return []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--cluster-enabled", "yes",
				"--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"}
		}))
	}
	ctx := t.Context()
	_, port, _ := net.SplitHostPort(c[0].Addr)
	for i, s := range c {
		client := s.Client()
		must(t, client.ClusterAddSlotsRange(ctx, i*16384/len(c), (i+1)*16384/len(c)-1).Err())
		if i > 0 {
			must(t, client.ClusterMeet(ctx, "127.0.0.1", port).Err())
		}
	}
	for _, s := range c {
		client := s.Client()
		Eventually(t, "the cluster is complete", func() bool {
			info := client.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384") &&
				strings.Contains(info, "cluster_size:3")
		})
	}
	return c
}

// URL is for redisclient.Open.
func (c Cluster) URL() string {
	var addrs []string
	for _, s := range c {
		addrs = append(addrs, s.Addr)
	}
	return "redis+cluster://" + strings.Join(addrs, ",")
}

// Watched is a master and a replica that one Sentinel watches.
type Watched struct {
	Master, Replica, Sentinel *Server
}

// NewWatched starts them, and returns when the Sentinel knows of both and the replica follows.
func NewWatched(t testing.TB) Watched {
	t.Helper()
	plain := func(more ...string) *Server {
		return onPort(t, func(port string) []string {
			return append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"}, more...)
		})
	}
	var w Watched
	w.Master = plain()
	_, port, _ := net.SplitHostPort(w.Master.Addr)
	w.Replica = plain("--replicaof", "127.0.0.1", port)
	w.Sentinel = onPort(t, func(own string) []string {
		file := filepath.Join(folder(t), "sentinel.conf") // a Sentinel writes to it
		conf := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 %s 1\nsentinel down-after-milliseconds shop 500\n"+
			"sentinel failover-timeout shop 5000\n", own, port)
		must(t, os.WriteFile(file, []byte(conf), 0o600))
		return []string{file, "--sentinel"}
	})
	replica, sentinel := w.Replica.Client(), redis.NewSentinelClient(&redis.Options{Addr: w.Sentinel.Addr})
	t.Cleanup(func() { _ = sentinel.Close() })
	Eventually(t, "the replica follows", func() bool {
		return strings.Contains(replica.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	Eventually(t, "the Sentinel knows the replica", func() bool {
		known, err := sentinel.Replicas(t.Context(), "shop").Result()
		return err == nil && len(known) == 1 && known[0]["master-link-status"] == "ok"
	})
	return w
}

// URL is for redisclient.Open.
func (w Watched) URL() string { return "redis+sentinel://" + w.Sentinel.Addr + "/shop" }

// Eventually waits until it is so, and fails the test when it does not become so.
func Eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to this: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Proxy is a way to a server on which things can happen.
type Proxy struct {
	Addr    string
	to      *Server
	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	delay   time.Duration
	garbage []byte
	closed  bool
	ctx     context.Context
	all     sync.WaitGroup
}

// NewProxy listens on a port of this machine.
func NewProxy(t testing.TB, to *Server) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{Addr: l.Addr().String(), to: to, conns: map[net.Conn]struct{}{}, ctx: ctx}
	p.all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Cut()
		p.all.Wait()
	})
	return p
}

// URL is for redisclient.Open.
func (p *Proxy) URL() string { return "redis://" + p.Addr }

// Delay holds up each thing that a client sends from now on.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Garble answers with this instead of what the server would say from now on; nil: it does not.
func (p *Proxy) Garble(garbage []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.garbage = garbage
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

// Conns is the number of connections of clients.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *Proxy) serve(conn net.Conn) {
	defer conn.Close()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.conns[conn] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, conn)
		p.mu.Unlock()
	}()
	server, err := net.DialTimeout(p.to.Network, p.to.Addr, time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	p.all.Go(func() {
		defer conn.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	buf := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		delay, garbage := p.delay, p.garbage
		p.mu.Unlock()
		if delay > 0 {
			select {
			case <-time.After(delay):
			case <-p.ctx.Done():
				return
			}
		}
		to, what := server, buf[:n]
		if garbage != nil {
			to, what = conn, garbage
		}
		if _, err := to.Write(what); err != nil {
			return
		}
	}
}

// output is what a server prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
