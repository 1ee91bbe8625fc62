// Package pgtest gives each test databases of its own, cloned from migrated templates on a real Postgres server, so that
// tests run in parallel and see nobody else's rows.
//
// Normally the four domains share one database, as in the default configuration. With EMPORIUM_TEST_APART=1 each domain
// has one of its own, holding its own schema alone, which proves that no statement crosses a border.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"emporium/internal/devstack"
	"emporium/internal/postgres"
	"emporium/migrations"
)

// Databases are the databases of one test: one for each domain, or the same one four times.
type Databases struct {
	Users, Products, Orders, Payments *postgres.DB

	URLs     map[string]string // by domain
	RedisURL string            // of the server that the tests share: keys need a prefix of the test's own
}

// Apart tells whether each domain has a database of its own.
func Apart() bool { return os.Getenv("EMPORIUM_TEST_APART") == "1" }

// New returns fresh databases, migrated and empty. They are dropped when the test ends. A server that can not be had
// fails the test.
//
// Each distinct statement that a test runs is also explained: one that does not declare what it reads, or what it depends on
// besides, fails the test.
func New(t testing.TB) *Databases {
	t.Helper()
	ctx := context.Background()
	s, err := server(ctx)
	if err != nil {
		t.Fatalf("tests need Postgres and Redis: %v", err)
	}
	return newDatabases(t, s, drop)
}

// What becomes of a database when its test ends.
const (
	drop = true
	keep = false // until its server goes
)

func newDatabases(t testing.TB, s *devstack.Stack, dropped bool) *Databases {
	t.Helper()
	d := &Databases{URLs: map[string]string{}, RedisURL: s.RedisURL}
	if !Apart() {
		db := d.clone(t, s, dropped, migrations.Domains...)
		d.Users, d.Products, d.Orders, d.Payments = db, db, db, db
		return d
	}
	for domain, db := range map[string]**postgres.DB{
		"users": &d.Users, "products": &d.Products, "orders": &d.Orders, "payments": &d.Payments,
	} {
		*db = d.clone(t, s, dropped, domain)
	}
	return d
}

// server is the server that all tests of this process share. It is left running when the process ends; see
// devstack.ForTests for who stops it.
var server = func() func(context.Context) (*devstack.Stack, error) {
	var once sync.Once
	var stack *devstack.Stack
	var err error
	return func(ctx context.Context) (*devstack.Stack, error) {
		once.Do(func() { stack, err = devstack.ForTests(ctx) })
		return stack, err
	}
}()

func (d *Databases) clone(t testing.TB, s *devstack.Stack, dropped bool, domains ...string) *postgres.DB {
	t.Helper()
	ctx := context.Background()
	template, err := template(ctx, s, domains)
	if err != nil {
		t.Fatalf("template database: %v", err)
	}
	url := create(t, s, template, dropped)
	for _, domain := range domains {
		d.URLs[domain] = url
	}
	db, err := postgres.Open(ctx, url, postgres.Options{MaxConns: 20, Explain: explain(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// create makes a database from a template, to be dropped when the test ends or to be kept.
func create(t testing.TB, s *devstack.Stack, template string, dropped bool) (url string) {
	t.Helper()
	ctx := context.Background()
	name := "emporium_test_" + strings.ToLower(rand.Text()[:16])
	if err := admin(ctx, s, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template)
		return err
	}); err != nil {
		t.Fatalf("create database: %v", err)
	}
	if !dropped {
		return s.DatabaseURLFor(name)
	}
	t.Cleanup(func() {
		err := admin(ctx, s, func(c *pgx.Conn) error {
			for deadline := time.Now().Add(20 * time.Second); ; {
				_, err := c.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
				// The slot of a follower that has just hung up goes with its backend, which takes a moment to notice.
				var pg *pgconn.PgError
				if !errors.As(err, &pg) || pg.Code != "55006" || time.Now().After(deadline) {
					return err
				}
			}
		})
		if err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return s.DatabaseURLFor(name)
}

// template returns the name of a migrated database to clone. Whichever process needs it first makes it.
func template(ctx context.Context, s *devstack.Stack, domains []string) (string, error) {
	hash, err := migrations.Hash()
	if err != nil {
		return "", err
	}
	name := "emporium_template_" + hash
	if len(domains) == 1 {
		name += "_" + domains[0]
	}
	return name, admin(ctx, s, func(c *pgx.Conn) error {
		// A session lock, so that a maker that dies gives it back; its half-made database has another name.
		if _, err := c.Exec(ctx, "SELECT pg_advisory_lock(hashtext($1))", name); err != nil {
			return err
		}
		var exists bool
		if err := c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil || exists {
			return err
		}
		draft := name + "_draft"
		for _, sql := range []string{"DROP DATABASE IF EXISTS " + draft + " WITH (FORCE)", "CREATE DATABASE " + draft} {
			if _, err := c.Exec(ctx, sql); err != nil {
				return err
			}
		}
		for _, domain := range domains {
			if _, err := migrations.Up(ctx, s.DatabaseURLFor(draft), domain); err != nil {
				return err
			}
		}
		_, err := c.Exec(ctx, "ALTER DATABASE "+draft+" RENAME TO "+name)
		return err
	})
}

func admin(ctx context.Context, s *devstack.Stack, do func(*pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, s.DatabaseURLFor("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	return do(c)
}

// Prefix returns a text that no other test uses, for keys in the shared Redis.
func Prefix() string { return "test:" + rand.Text() + ":" }

// Empty returns the URL of a database of the test's own without any schema.
func Empty(t testing.TB) string {
	t.Helper()
	ctx := context.Background()
	s, err := server(ctx)
	if err != nil {
		t.Fatalf("tests need Postgres and Redis: %v", err)
	}
	return create(t, s, "template0", drop)
}

// Redirect returns the URL with its server's unix socket looked for in another directory, and the path of the socket; for
// tests in which the server is not there at first.
func Redirect(raw, dir string) (redirected, socket string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", fmt.Errorf("database URL: %w", err)
	}
	q := u.Query()
	socket = q.Get("host") + "/.s.PGSQL.5432"
	q.Set("host", dir)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String(), socket, nil
}
