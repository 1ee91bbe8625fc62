//go:build unix

package redisclient

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"emporium/internal/redisclient/redistest"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	type want struct {
		addrs                string
		user, password       string
		watchUser, watchPass string
		name                 string
		db                   int
		tls                  bool
	}
	for url, w := range map[string]want{
		"redis://h":                      {addrs: "h:6379"},
		"redis://u:p@h:1/3":              {addrs: "h:1", user: "u", password: "p", db: 3},
		"rediss://:p%40@h:1":             {addrs: "h:1", password: "p@", tls: true},
		"unix:///run/r.sock?db=2":        {addrs: "/run/r.sock", db: 2},
		"redis+cluster://a":              {addrs: "a:6379"},
		"redis+cluster://a:1,b:2,c":      {addrs: "a:1 b:2 c:6379"},
		"redis+cluster://u:p@a:1,b:2/":   {addrs: "a:1 b:2", user: "u", password: "p"},
		"rediss+cluster://:p%2F@a:1,b/0": {addrs: "a:1 b:6379", password: "p/", tls: true},
		"redis+cluster://[::1]:1,[::2]":  {addrs: "[::1]:1 [::2]:6379"},
		"redis+sentinel://a/shop":        {addrs: "a:26379", name: "shop"},
		"redis+sentinel://u:p%3A@a:1,b/my%20shop/4?sentinel_username=su&sentinel_password=s%26p": {
			addrs: "a:1 b:26379", name: "my shop", db: 4, user: "u", password: "p:", watchUser: "su", watchPass: "s&p"},
		"rediss+sentinel://:p@a,b,c/shop/?protocol=2": {addrs: "a:26379 b:26379 c:26379", name: "shop", password: "p", tls: true},
	} {
		got, err := parse(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		var g want
		switch {
		case got.single != nil:
			o := got.single
			g = want{addrs: o.Addr, user: o.Username, password: o.Password, db: o.DB, tls: o.TLSConfig != nil}
		case got.cluster != nil:
			o := got.cluster
			g = want{addrs: strings.Join(o.Addrs, " "), user: o.Username, password: o.Password, tls: o.TLSConfig != nil}
			if g.tls && (o.TLSConfig.ServerName != "" || o.TLSConfig.InsecureSkipVerify) {
				t.Errorf("%s: checks the wrong name", url)
			}
		case got.sentinel != nil:
			o := got.sentinel
			g = want{addrs: strings.Join(o.SentinelAddrs, " "), user: o.Username, password: o.Password, name: o.MasterName, db: o.DB,
				watchUser: o.SentinelUsername, watchPass: o.SentinelPassword, tls: o.TLSConfig != nil}
			if g.tls && (o.TLSConfig.ServerName != "" || o.TLSConfig.InsecureSkipVerify) {
				t.Errorf("%s: checks the wrong name", url)
			}
		}
		if g != w {
			t.Errorf("%s:\n%+v, want\n%+v", url, g, w)
		}
		client, err := Open(url, 4)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		_ = client.Close()
	}
}

func TestBadURLs(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	for url, want := range map[string]string{
		"":                                                     "is none of redis://",
		"hunter2":                                              "is none of",
		"http://:hunter2@h":                                    "is none of",
		"unix+cluster://hunter2":                               "is none of",
		"redis+ring://:hunter2@h":                              "is none of",
		"redis+cluster+x://:hunter2@h":                         "is none of",
		"redis://:hunter2@h:port":                              "can not be parsed",
		"redis://:hunter2@h/x":                                 "can not be parsed",
		"redis://:hunter2@h?unknown=1":                         "can not be parsed",
		"redis+cluster://:hunter2@":                            "has a host number 1",
		"redis+cluster://:hunter2@a,,b":                        "has a host number 2",
		"redis+cluster://:hunter2@a,b:":                        "has a host number 2",
		"redis+cluster://:hunter2@a,::1":                       "has a host number 2",
		"redis+cluster://:hunter2@a, b":                        "has a host number 2",
		"redis+cluster://:hunter2@a/1":                         "names a database",
		"redis+cluster://:hunter2@a?addr=b:1":                  "has a parameter addr",
		"redis+cluster://:hunter2@a?x=%zz":                     "has parameters",
		"redis+cluster://:hunter2@a?unknown=1":                 "can not be parsed",
		"redis+cluster://:hun%zzhunter2@a":                     "can not be parsed",
		"redis+sentinel://:hunter2@a":                          "does not name what",
		"redis+sentinel://:hunter2@a/":                         "does not name what",
		"redis+sentinel://:hunter2@a/%zz":                      "does not name what",
		"redis+sentinel://:hunter2@a/shop/x":                   "can not be parsed",
		"redis+sentinel://:%zzhunter2@a/shop":                  "can not be parsed",
		"redis+sentinel://:hunter2@a/shop/0/more":              "can not be parsed",
		"redis+sentinel://:hunter2@a/shop?route_randomly=true": "can not be parsed",
	} {
		err := Check(url)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v, want %q", url, err, want)
		}
		if client, err := Open(url, 1); err == nil {
			_ = client.Close()
			t.Errorf("%q: opened", url)
		}
	}
}

// reader gives what it holds in small pieces.
type reader struct {
	net.Conn
	io.Reader
	step int
}

func (r *reader) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), r.step)]) }

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 100_000)
	for answer, passes := range map[string]bool{
		"+OK\r\n:1\r\n-ERR no\r\n_\r\n#t\r\n,1.5\r\n(123\r\n":       true,
		"$5\r\n$9999\r\n$-1\r\n*-1\r\n*2\r\n$0\r\n\r\n$1\r\n\n\r\n": true,
		"$100000\r\n" + big + "\r\n+OK\r\n":                         true,
		"%1\r\n+a\r\n=8\r\ntxt:$999\r\n>1\r\n+x\r\n~0\r\n":          true,
		"$16777216\r\n":                        true,
		"$16777217\r\n":                        false,
		"$9223372036854775807\r\n":             false,
		"$99999999999999999999999999\r\n":      false,
		"$" + strings.Repeat("1", 40) + "\r\n": false,
		"$?\r\n":                               false,
		"$\r\n":                                false,
		"+OK\r\n$1\r\nx\r\n*999999999\r\n":     false,
		"*1\r\n%999999999\r\n":                 false,
		">999999999\r\n":                       false,
		"~999999999\r\n":                       false,
		"|999999999\r\n":                       false,
		"=999999999\r\n":                       false,
		"!999999999\r\n":                       false,
		"+" + big + "\r\n":                     false,
		big:                                    false,
		"\n\n\r\n":                             true,
	} {
		for _, step := range []int{1, 2, 7, 1 << 20} {
			got, err := io.ReadAll(&bounded{Conn: &reader{Reader: strings.NewReader(answer), step: step}})
			if passes && (err != nil || string(got) != answer) {
				t.Errorf("%.40q by %d: %.40q, %v", answer, step, got, err)
			} else if !passes && !errors.Is(err, errAnswer) {
				t.Errorf("%.40q by %d: %v", answer, step, err)
			}
		}
	}
}

// FuzzBounded wants the same verdict however an answer is cut into pieces, and what passes to be what came.
func FuzzBounded(f *testing.F) {
	f.Add([]byte("$5\r\nhello\r\n*1\r\n:1\r\n"), 3)
	f.Add([]byte("$99999999999\r\n"), 1)
	f.Fuzz(func(t *testing.T, answer []byte, step int) {
		whole, err := io.ReadAll(&bounded{Conn: &reader{Reader: bytes.NewReader(answer), step: 1 << 20}})
		if err == nil && !bytes.Equal(whole, answer) {
			t.Errorf("%q became %q", answer, whole)
		}
		_, again := io.ReadAll(&bounded{Conn: &reader{Reader: bytes.NewReader(answer), step: max(step, 1)}})
		if (err == nil) != (again == nil) {
			t.Errorf("%q: %v whole, %v in pieces", answer, err, again)
		}
	})
}

// TestClients asks a server of each kind, and looks at what the connection's wrapping must not take away: go-redis sees
// that a server was restarted before it sends anything.
func TestClients(t *testing.T) {
	t.Parallel()
	single := redistest.New(t)
	for kind, url := range map[string]string{"single": single.URL(), "cluster": redistest.NewCluster(t).URL(), "sentinel": redistest.NewWatched(t).URL()} {
		client, err := Open(url, 4)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for _, key := range []string{"a", "b", "c", "d"} {
			redistest.Eventually(t, kind+" answers", func() bool {
				return client.Set(t.Context(), key, strings.Repeat(key, 100_000), time.Minute).Err() == nil
			})
			if got, err := client.Get(t.Context(), key).Result(); err != nil || got != strings.Repeat(key, 100_000) {
				t.Errorf("%s: %d bytes, %v", kind, len(got), err)
			}
			if err := client.Get(t.Context(), "no "+key).Err(); !errors.Is(err, redis.Nil) {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
	client, err := Open(single.URL(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	single.Kill()
	single.Start()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestLibraryLogsForDebuggingAlone(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	lines{}.Printf(t.Context(), "failed to dial %s", "x")
	if log.Len() != 0 {
		t.Errorf("logged %s", bufio.NewScanner(&log).Text())
	}
}
