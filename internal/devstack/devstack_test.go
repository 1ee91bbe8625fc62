//go:build unix

package devstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// The test program runs itself as another owner or user of servers, to be killed.
const helperMode, helperDir = "DEVSTACK_TEST_HELPER", "DEVSTACK_TEST_DIR"

func TestMain(m *testing.M) {
	os.Unsetenv("TEST_DATABASE_URL") // these tests are about what happens without
	os.Unsetenv("TEST_REDIS_URL")
	var s *Stack
	var err error
	switch os.Getenv(helperMode) {
	case "":
		os.Exit(m.Run())
	case "start":
		s, err = Start(context.Background(), Options{Dir: os.Getenv(helperDir), NeedRedis: true})
	case "share":
		s, err = sharedStack(context.Background(), Options{Dir: os.Getenv(helperDir)})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n') // returns when the test says so, by closing the pipe
	if err := s.Close(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

type helper struct {
	cmd   *exec.Cmd
	leave func() error // ends it in good order
}

func startHelper(t *testing.T, mode, dir string) *helper {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperMode+"="+mode, helperDir+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	h := &helper{cmd: cmd, leave: sync.OnceValue(func() error { in.Close(); return cmd.Wait() })}
	t.Cleanup(func() { h.leave() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		text := lines.Text()
		for lines.Scan() {
			text += "\n" + lines.Text()
		}
		t.Fatalf("helper %s: %s", mode, text)
	}
	return h
}

func (h *helper) kill(t *testing.T) {
	t.Helper()
	must(t, h.cmd.Process.Kill())
	if err := h.leave(); err == nil {
		t.Error("the helper ended well before it was killed")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newDir is a folder that is short enough for sockets, and that an unprivileged user can reach when we are root. It
// checks at the end of the test that no server is left.
func newDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("/tmp", "devstack")
	must(t, err)
	must(t, os.Chmod(parent, 0o755))
	dir := filepath.Join(parent, "emporium")
	t.Cleanup(func() {
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		must(t, err)
		for _, path := range lines {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			must(t, err)
			if p := (process{pid: pid, mark: parent}); p.alive() {
				t.Errorf("left running: %s", commandLine(pid))
				must(t, p.stop())
			}
		}
		must(t, os.RemoveAll(parent))
	})
	return dir
}

func start(t *testing.T, dir string) *Stack {
	t.Helper()
	s, err := Start(t.Context(), Options{Dir: dir, NeedRedis: true, Log: t.Logf})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer conn.Close(t.Context())
	var result string
	must(t, conn.QueryRow(t.Context(), sql).Scan(&result))
	return result
}

// remember and recall write and read data that must survive.
func remember(t *testing.T, s *Stack) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DatabaseURL)
	must(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 'Grüße' AS word")
	must(t, err)
}

func recall(t *testing.T, s *Stack) {
	t.Helper()
	if got := query(t, s.DatabaseURL, "SELECT word FROM kept"); got != "Grüße" {
		t.Errorf("kept data is %q", got)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		must(t, sleep(t.Context(), 5*time.Millisecond))
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	began := time.Now()
	s := start(t, dir)
	t.Logf("cold start: %v", time.Since(began))

	for setting, want := range map[string]string{
		"wal_level": "logical", "fsync": "on", "full_page_writes": "on", "data_checksums": "on", "max_connections": "200",
		"listen_addresses": "", "server_encoding": "UTF8", "lc_collate": "C.UTF-8", "timezone": "UTC",
		"default_text_search_config": "pg_catalog.english",
	} {
		// Postgres 16 dropped lc_collate as a setting.
		sql := fmt.Sprintf("SELECT coalesce(current_setting('%s', true), (SELECT datcollate FROM pg_database WHERE datname = current_database()))", setting)
		if got := query(t, s.DatabaseURL, sql); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	if got := query(t, s.DatabaseURL, "SELECT current_database()::text"); got != "emporium" {
		t.Errorf("DatabaseURL leads to %q", got)
	}
	if got := query(t, s.DatabaseURLFor("postgres"), "SELECT current_database()::text"); got != "postgres" {
		t.Errorf("DatabaseURLFor leads to %q", got)
	}
	options, err := redis.ParseURL(s.RedisURL)
	must(t, err)
	client := redis.NewClient(options)
	defer client.Close()
	must(t, client.Set(t.Context(), "key", "value", 0).Err())

	postgres, redisServer := s.home.postgresProcess(), s.home.redisProcess()
	for _, p := range []process{postgres, redisServer} {
		fi, err := os.Stat(filepath.Join("/proc", strconv.Itoa(p.pid)))
		if err != nil {
			continue // not Linux
		}
		if uid, _ := owner(fi); uid == 0 {
			t.Errorf("runs as root: %s", commandLine(p.pid))
		}
	}
	fi, err := os.Stat(s.home.socketDir())
	must(t, err)
	if fi.Mode().Perm() != 0o700 {
		t.Errorf("sockets are in a folder of mode %v", fi.Mode().Perm())
	}

	remember(t, s)
	must(t, s.Close())
	must(t, s.Close())
	if postgres.alive() || redisServer.alive() {
		t.Error("a server is alive after Close")
	}
	began = time.Now()
	s = start(t, dir)
	t.Logf("warm start: %v", time.Since(began))
	recall(t, s)
}

func TestStartTwice(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first := startHelper(t, "start", dir)
	_, err := Start(t.Context(), Options{Dir: dir})
	if !errors.Is(err, ErrRunning) {
		t.Fatalf("second start: %v", err)
	}
	for _, want := range []string{dir, fmt.Sprintf("process %d ", first.cmd.Process.Pid)} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
	must(t, first.leave())
	start(t, dir)
}

func TestOwnerKilled(t *testing.T) {
	t.Parallel()
	for name, alsoKill := range map[string]bool{"alone": false, "with the servers": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t)
			owner := startHelper(t, "start", dir)
			h, err := findHome(dir)
			must(t, err)
			remember(t, h.stack(nil, nil))
			servers := []process{h.postgresProcess(), h.redisProcess()}
			if alsoKill {
				for _, p := range servers {
					must(t, syscall.Kill(p.pid, syscall.SIGKILL))
				}
			}
			owner.kill(t)
			recall(t, start(t, dir))
			for _, p := range servers {
				if p.alive() {
					t.Errorf("left from before: %s", commandLine(p.pid))
				}
			}
		})
	}
}

// The servers for tests outlive who started them, and so stand for those of systems that do not end them.
func TestStartEndsLivingLeftovers(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	user := startHelper(t, "share", dir)
	h, err := findHome(dir)
	must(t, err)
	remember(t, h.stack(nil, nil))
	servers := []process{h.postgresProcess(), h.redisProcess()}
	user.kill(t)
	for _, p := range servers {
		if !p.alive() {
			t.Fatalf("process %d ended with its starter", p.pid)
		}
	}
	recall(t, start(t, dir))
	for _, p := range servers {
		if p.alive() {
			t.Errorf("left from before: %s", commandLine(p.pid))
		}
	}
}

func TestStaleFiles(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, dir)
	remember(t, s)
	h := s.home
	pidText, err := os.ReadFile(h.postgresPID())
	must(t, err)
	must(t, s.Close())

	// The numbers of the dead are given to a stranger, who must be left alone.
	stranger := exec.Command("sleep", "600")
	stranger.Dir, stranger.SysProcAttr = "/", detached(h.account, 0)
	must(t, stranger.Start())
	defer stranger.Wait()
	defer stranger.Process.Kill()
	_, rest, _ := strings.Cut(string(pidText), "\n")
	for path, text := range map[string]string{
		h.postgresPID(): rest,
		h.redisPID():    "",
		filepath.Join(h.socketDir(), ".s.PGSQL.5432.lock"): rest,
		filepath.Join(h.socketDir(), ".s.PGSQL.5432"):      "",
		h.redisSocket(): "",
	} {
		must(t, os.WriteFile(path, fmt.Appendf(nil, "%d\n%s", stranger.Process.Pid, text), 0o600))
	}
	must(t, os.MkdirAll(filepath.Join(h.data, "initdb-123", "base"), 0o700))
	recall(t, start(t, dir))
	if !strings.HasPrefix(commandLine(stranger.Process.Pid), "sleep") {
		t.Error("the stranger is gone")
	}
}

func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	folders := programFolders()
	found, err := locate(t.Context(), Options{NeedRedis: true})
	must(t, err)
	for name, c := range map[string]struct {
		folders []string
		want    string
	}{
		"missing": {[]string{filepath.Dir(found.postgres[0].path)}, "is needed"},
		"broken": {append([]string{fakeProgram(t, "redis-server", `case "$1" in --version) echo "Redis server v=7.4.1 sha=0";; *) echo "out of luck"; exit 1; esac`)},
			folders...), "out of luck"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t)
			o := Options{Dir: dir, programs: c.folders}
			s, err := Start(t.Context(), o)
			must(t, err)
			defer s.Close()
			if s.RedisErr == nil || !strings.Contains(s.RedisErr.Error(), c.want) || s.RedisURL != "" {
				t.Errorf("RedisErr is %v, RedisURL %q", s.RedisErr, s.RedisURL)
			}
			query(t, s.DatabaseURL, "SELECT 'works'")
			must(t, s.Close())
			o.NeedRedis = true
			if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("with NeedRedis: %v", err)
			}
		})
	}
}

func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), strings.Repeat("a long, long way/", 8), "emporium")
	s := start(t, dir)
	if sockets := s.home.socketDir(); !strings.HasPrefix(sockets, "/tmp/emporium-") {
		t.Errorf("sockets are in %s", sockets)
	} else {
		defer os.RemoveAll(sockets)
	}
	query(t, s.DatabaseURL, "SELECT 'works'")
	must(t, s.home.pingRedis(t.Context()))
	must(t, s.Close())
}

func TestPostgresDoesNotStart(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, dir)
	must(t, s.Close())
	conf := filepath.Join(s.home.clusterDir(), "postgresql.conf")
	good, err := os.ReadFile(conf)
	must(t, err)
	must(t, os.WriteFile(conf, []byte("no_such_setting = 1\n"), 0o600))
	_, err = Start(t.Context(), Options{Dir: dir})
	for _, want := range []string{"no_such_setting", filepath.Join(dir, "postgres.log")} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not contain %q", err, want)
		}
	}
	must(t, os.WriteFile(conf, good, 0o600))
	start(t, dir) // the failed start has let go of the folder
}

func TestStartCanceled(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	for _, when := range []string{"creating", "starting"} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Start(ctx, Options{Dir: dir, Log: func(format string, _ ...any) {
			if strings.HasPrefix(format, when) {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("canceled while %s: %v", when, err)
		}
	}
	start(t, dir)
}

func TestRootInUnreachableFolder(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's servers run as that user, who reaches what he owns")
	}
	closed := newDir(t)
	must(t, os.Mkdir(closed, 0o700))
	dir := filepath.Join(closed, ".emporium")
	s := start(t, dir)
	remember(t, s)
	target, err := os.Readlink(filepath.Join(dir, "data"))
	must(t, err)
	defer os.RemoveAll(target)
	if !strings.HasPrefix(target, "/var/lib/emporium/") {
		t.Errorf("the data is in %s", target)
	}
	must(t, s.Close())
	s = start(t, dir)
	recall(t, s)

	// Who removes the folder wants a fresh start, though not under the feet of a running server.
	must(t, os.RemoveAll(dir))
	if _, err := Start(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrRunning) {
		t.Errorf("the folder was removed while in use: %v", err)
	}
	must(t, s.Close())
	s = start(t, dir)
	if got := query(t, s.DatabaseURL, "SELECT count(*)::text FROM pg_tables WHERE tablename = 'kept'"); got != "0" {
		t.Error("the removed folder's data is back")
	}
	must(t, s.Close())
}

func TestDataMayBeALink(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.Symlink("../elsewhere/data", filepath.Join(dir, "data")))
	s := start(t, dir)
	if want := filepath.Join(filepath.Dir(dir), "elsewhere", "data"); s.home.data != want {
		t.Errorf("the data is in %s, want %s", s.home.data, want)
	}
	must(t, s.Close())
}

// Root's data is closed to an ordinary user, who is told so rather than given an empty cluster elsewhere.
func TestForeignData(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a folder that belongs to somebody else")
	}
	dir := newDir(t)
	must(t, os.Mkdir(dir, 0o755))
	data := filepath.Join(dir, "data")
	must(t, os.MkdirAll(filepath.Join(data, "postgres"), 0o700))
	must(t, os.Chown(data, 12345, 12345))
	must(t, os.Chmod(data, 0o777))
	// Not even root puts something in its place: the servers run as its owner.
	h := &home{log: t.Logf}
	must(t, h.settle(t.Context(), dir))
	if h.account == nil || h.account.uid != 12345 || h.data != data {
		t.Errorf("account %+v for %s", h.account, h.data)
	}
	if err := (*account)(nil).own(data); err == nil || !strings.Contains(err.Error(), "belongs to another user (12345)") {
		t.Errorf("as another user: %v", err)
	}
}

func TestSharedByProcesses(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	helpers := make([]*helper, 4)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range helpers {
		wg.Go(func() { helpers[i] = startHelper(t, "share", dir) })
	}
	wg.Wait()
	t.Logf("cold start of four: %v", time.Since(began))
	h, err := findHome(dir)
	must(t, err)
	servers := []process{h.postgresProcess(), h.redisProcess()}
	pids := []int{servers[0].pid, servers[1].pid}
	if got := query(t, h.databaseURL(database), "SHOW fsync"); got != "off" {
		t.Errorf("fsync is %s", got)
	}
	if err := stopShared(timeout(t, 50*time.Millisecond), dir); !errors.Is(err, ErrRunning) {
		t.Errorf("stop while in use: %v", err)
	}
	for i, helper := range helpers {
		must(t, h.ping(t.Context()))
		if now := []int{h.postgresProcess().pid, h.redisProcess().pid}; !slices.Equal(now, pids) {
			t.Errorf("%d users later the servers are %v, at first %v", i, now, pids)
		}
		must(t, helper.leave())
	}
	if servers[0].alive() || servers[1].alive() {
		t.Error("the last to leave did not stop the servers")
	}

	// A user that is killed leaves them running, for the next one or for the command that stops them.
	startHelper(t, "share", dir).kill(t)
	before := h.postgresProcess()
	next := startHelper(t, "share", dir)
	if after := h.postgresProcess(); !before.alive() || after.pid != before.pid {
		t.Errorf("the servers of process %d were not taken over", before.pid)
	}
	next.kill(t)
	must(t, stopShared(t.Context(), dir))
	if before.alive() || h.redisProcess().alive() {
		t.Error("alive after the stop")
	}
	must(t, stopShared(t.Context(), dir))
	must(t, stopShared(t.Context(), filepath.Join(dir, "nothing here")))
}

func TestSharedSurvivesDeadServerAndBrokenCluster(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	share := func() *Stack {
		s, err := sharedStack(t.Context(), Options{Dir: dir, Log: t.Logf})
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		return s
	}
	s := share()
	must(t, syscall.Kill(s.home.postgresProcess().pid, syscall.SIGKILL))
	eventually(t, "Postgres killed", func() bool { return !s.home.postgresProcess().alive() })
	// While the first user is there nobody can start it, and nobody waits for ever.
	if _, err := sharedStack(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "do not answer") {
		t.Errorf("shared a dead server: %v", err)
	}
	must(t, s.Close())
	must(t, os.Remove(filepath.Join(s.home.clusterDir(), "global", "pg_control")))
	s = share()
	must(t, s.Close())
}

func TestForTestsFromEnvironment(t *testing.T) {
	t.Setenv("TEST_DATABASE_URL", "host=/tmp user=me")
	if _, err := ForTests(t.Context()); err == nil || !strings.Contains(err.Error(), "TEST_REDIS_URL") {
		t.Errorf("with half of the environment: %v", err)
	}
	t.Setenv("TEST_REDIS_URL", "redis://localhost:1/0")
	s, err := ForTests(t.Context())
	must(t, err)
	if s.DatabaseURL != "host=/tmp user=me" || s.RedisURL != "redis://localhost:1/0" {
		t.Errorf("got %q and %q", s.DatabaseURL, s.RedisURL)
	}
	must(t, s.Close())
}

func TestFolderForTests(t *testing.T) {
	t.Parallel()
	dir, err := testFolder()
	must(t, err)
	root, ok := strings.CutSuffix(dir, filepath.Join("/", ".emporium", "test"))
	if _, err := os.Stat(filepath.Join(root, "go.mod")); !ok || err != nil {
		t.Errorf("%s: %v", dir, err)
	}
}

func TestDatabaseURLFor(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres:///emporium?host=%2Frun%2Fa%20b&user=postgres": "/run/a b",
		"postgresql://me:pw@db.example:5433/emporium":            "db.example",
		"host=/tmp user=me dbname=emporium":                      "/tmp",
	} {
		const name = `o'dd\ name/1`
		c, err := pgx.ParseConfig((&Stack{DatabaseURL: url}).DatabaseURLFor(name))
		must(t, err)
		if c.Database != name || c.Host != want {
			t.Errorf("%s: database %q on %q", url, c.Database, c.Host)
		}
	}
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
