package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/internal/devstack"
)

// Cluster is a Postgres (and a Redis) apart from those that all tests share, for tests that concern all databases of a
// server: a replication slot waits for the transactions in all of them, and whoever kills a server kills everybody's. Its
// databases stay until it goes itself: one with a slot can not be dropped.
type Cluster struct {
	RedisURL string // empty if Redis is missing

	stack    *devstack.Stack
	dir      string
	settings []string
}

// NewCluster starts one for a test, which takes a second or two, and stops it when the test ends. Settings of Postgres,
// "name=value", count more than those of devstack: "wal_level=replica".
func NewCluster(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	c, err := newCluster(settings)
	if err != nil {
		t.Fatalf("a Postgres of the test's own: %v", err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Errorf("stop the test's Postgres: %v", err)
		}
	})
	return c
}

var common struct {
	sync.Mutex
	cluster *Cluster
	err     error
}

// CommonCluster returns one that all tests of this process share, and starts it for the first. Main stops it.
func CommonCluster(t testing.TB) *Cluster {
	t.Helper()
	common.Lock()
	defer common.Unlock()
	if common.cluster == nil && common.err == nil {
		common.cluster, common.err = newCluster(nil)
	}
	if common.err != nil {
		t.Fatalf("a Postgres of the tests' own: %v", common.err)
	}
	return common.cluster
}

// Main runs the tests of a package that calls CommonCluster, and returns the exit code: os.Exit(pgtest.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	common.Lock()
	defer common.Unlock()
	if common.cluster != nil {
		if err := common.cluster.close(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the tests' Postgres:", err)
			return max(code, 1)
		}
	}
	return code
}

func newCluster(settings []string) (*Cluster, error) {
	// In /tmp, because the path of a socket must be short, and open, because root's Postgres runs as another user.
	const prefix = "emporium-pg-"
	sweep("/tmp/" + prefix + "*")
	dir, err := os.MkdirTemp("/tmp", prefix)
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, settings: append([]string{"fsync=off", "full_page_writes=off"}, settings...)}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err = c.start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c.RedisURL = c.stack.RedisURL
	return c, nil
}

// sweep removes the folders of test processes that ended without a chance to do so. Their servers ended with them. A folder
// that is new may not have been locked yet.
func sweep(pattern string) {
	folders, _ := filepath.Glob(pattern) // the only error is a bad pattern
	for _, dir := range folders {
		lock := filepath.Join(dir, "data", "lock")
		if fi, err := os.Stat(lock); err != nil || time.Since(fi.ModTime()) < time.Hour {
			continue
		}
		if release, held, err := devstack.Lock(lock); err == nil && !held {
			_ = os.RemoveAll(dir) // what is left is tried by the next
			release()
		}
	}
}

func (c *Cluster) start() error {
	stack, err := devstack.Start(context.Background(), devstack.Options{Dir: c.dir, Settings: c.settings})
	if err == nil {
		c.stack = stack
	}
	return err
}

// Restart starts the server again after Kill, at the same address. Its Redis loses what it has.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	if err := errors.Join(c.stack.Close(), c.start()); err != nil {
		t.Fatalf("start the test's Postgres again: %v", err)
	}
}

func (c *Cluster) close() error { return errors.Join(c.stack.Close(), os.RemoveAll(c.dir)) }

// URL leads the superuser to a database; "postgres" is always there.
func (c *Cluster) URL(database string) string { return c.stack.DatabaseURLFor(database) }

// URLAs is a URL of this cluster with another user, who needs no password.
func (c *Cluster) URLAs(t testing.TB, databaseURL, user string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("user", user)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String()
}

// Empty returns the URL of a database of the test's own without any schema.
func (c *Cluster) Empty(t testing.TB) string {
	t.Helper()
	return create(t, c.stack, "template0", keep)
}

// Migrated returns databases of the test's own as New does, on this cluster.
func (c *Cluster) Migrated(t testing.TB) *Databases {
	t.Helper()
	return newDatabases(t, c.stack, keep)
}

// Pool opens a plain pool of pgx, for tests that look at what no store shows.
func (c *Cluster) Pool(t testing.TB, databaseURL string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Exec runs statements as they are, several in one text if need be, on a connection of their own.
func (c *Cluster) Exec(t testing.TB, databaseURL string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// Kill kills the Postgres server, which leaves it no time for anything.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "data", "postgres", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	server, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
}
