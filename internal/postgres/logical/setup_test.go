package logical

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"emporium/internal/postgres/pgtest"
)

// setupError wants Open to say what somebody has to do.
func setupError(t testing.TB, o Options, says ...string) {
	t.Helper()
	stream, err := Open(t.Context(), o)
	if err == nil {
		_ = stream.Close()
		t.Errorf("opened, instead of saying %q", says)
		return
	}
	var setup *SetupError
	if !errors.As(err, &setup) || setup.Problem == "" || setup.Remedy == "" {
		t.Errorf("not a SetupError: %v", err)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestSetupErrors(t *testing.T) {
	t.Parallel()
	c := pgtest.CommonCluster(t)
	o := shop(t)
	c.Exec(t, o.URL, `DROP ROLE IF EXISTS bystander, follower; CREATE ROLE bystander LOGIN; CREATE ROLE follower LOGIN REPLICATION;
		CREATE TABLE loose (id int PRIMARY KEY);
		CREATE PUBLICATION loose FOR TABLE loose;
		CREATE PUBLICATION inserts FOR TABLE items WITH (publish = 'insert, update');
		CREATE PUBLICATION filtered FOR TABLE items WHERE (price > 1);
		CREATE PUBLICATION part FOR TABLE items (id, price);
		CREATE PUBLICATION "it's ""odd""" FOR TABLE items`)
	with := func(change func(*Options)) Options {
		changed := o
		change(&changed)
		return changed
	}
	setupError(t, with(func(o *Options) { o.Publication = "nobody's" }), "no publication nobody's")
	setupError(t, with(func(o *Options) { o.Publication = "loose" }), "ALTER TABLE public.loose REPLICA IDENTITY FULL")
	setupError(t, with(func(o *Options) { o.Publication = "inserts" }), "leaves out changes")
	setupError(t, with(func(o *Options) { o.Publication = "filtered" }), "leaves out rows of public.items")
	setupError(t, with(func(o *Options) { o.Publication = "part" }), "public.items has no column slug")
	setupError(t, with(func(o *Options) { o.URL = c.URLAs(t, o.URL, "bystander") }), "may not replicate", "REPLICATION")
	setupError(t, with(func(o *Options) { o.URL = c.URLAs(t, o.URL, "stranger") }), "does not let the role in")
	setupError(t, with(func(o *Options) { o.URL = c.URL("nowhere") }), "the database does not exist")
	setupError(t, with(func(o *Options) { o.URL += "&sesame=1" }), "sesame", "correct the setting")
	setupError(t, with(func(o *Options) { o.URL = "postgres://me:secret@host:port/db" }), "can not be parsed")
	setupError(t, with(func(o *Options) { o.Wants = func(string, string) []string { return []string{"id", "color"} } }), "public.items has no column color")
	for _, url := range []string{"postgres://me:secret@host:port/db", "postgres://me:secret@127.0.0.1:1/db"} {
		if _, err := Open(t.Context(), with(func(o *Options) { o.URL = url })); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
	if _, err := Open(t.Context(), with(func(o *Options) { o.Wants = func(string, string) []string { return []string{"id", "id"} } })); err == nil {
		t.Error("opened with a column that is wanted twice")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ended, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}

	// An odd name, a setting of a pool in the URL, and a role that may do no more than replicate.
	f := follow(t, with(func(o *Options) {
		o.Publication, o.URL = `it's "odd"`, c.URLAs(t, o.URL, "follower")+"&pool_max_conns=3"
	}))
	pgtest.CommonCluster(t).Exec(t, o.URL, "INSERT INTO items (id) VALUES ('"+key(1)+"')")
	f.expect(t, "begin", "changed items", "items.id="+digits(1), "commit")
}

func TestMigratedDatabase(t *testing.T) {
	t.Parallel()
	c := pgtest.CommonCluster(t)
	dbs := c.Migrated(t)
	if err := dbs.Products.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	url := dbs.URLs["products"]
	c.Exec(t, url, "ALTER TABLE products.variants REPLICA IDENTITY FULL; CREATE PUBLICATION test FOR TABLE products.variants")
	f := follow(t, Options{URL: url, Publication: "test", Wants: func(schema, table string) []string { return []string{"id", "product_id"} }})
	if got := f.stream.Published(); len(got) != 1 || got[0] != "products.variants" {
		t.Errorf("published: %v", got)
	}
	if system := f.stream.System(); !strings.HasSuffix(system, "/1") || len(system) < 10 {
		t.Errorf("system: %s", system)
	}
	f.expect(t)
}

func TestWALLevel(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t, "wal_level=replica")
	setupError(t, Options{URL: c.URL("postgres"), Publication: "emporium"}, "wal_level is replica", "ALTER SYSTEM")
}

func TestLimitsOfTheServer(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t, "max_wal_senders=2", "max_replication_slots=1")
	url := c.Empty(t)
	c.Exec(t, url, "CREATE PUBLICATION emporium")
	o := Options{URL: url, Publication: "emporium"}
	stream, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	setupError(t, o, "no free replication slot", "max_replication_slots")
	// The connection that failed has to be gone on the server as well.
	pool := c.Pool(t, url)
	poll(t, func() (bool, string) {
		var n int
		if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 1, "a connection too many"
	})
	other, err := pgconn.Connect(t.Context(), url+"&replication=database")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close(context.WithoutCancel(t.Context())) }()
	setupError(t, o, "max_wal_senders")
}

func TestLSN(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]LSN{"16/B374D848": 0x16_b374d848, "0/0": 0, "FFFFFFFF/FFFFFFFF": 1<<64 - 1, "1/A": 1<<32 | 10} {
		if got, err := ParseLSN(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "/", "1", "1/", "/1", "1/2/3", "100000000/0", "g/0", "-1/0"} {
		if got, err := ParseLSN(text); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestStatusUpdate(t *testing.T) {
	t.Parallel()
	got := appendStatus(nil, 0x0102, time.Date(2000, 1, 1, 0, 0, 1, 0, time.UTC).UnixMicro()-epoch, true)
	want := "d\x00\x00\x00\x26r" + strings.Repeat("\x00\x00\x00\x00\x00\x00\x01\x02", 3) + "\x00\x00\x00\x00\x00\x0f\x42\x40\x01"
	if string(got) != want {
		t.Errorf("%q", got)
	}
}
