// Package devstack finds or starts a private Postgres and Redis for development and tests.
//
// [Start] serves one owner, such as `make run`: a cluster under Options.Dir that survives restarts, and a Redis that
// does not (it holds a cache). [ForTests] serves any number of test processes with one pair of servers, tuned for speed.
//
// Both listen on unix sockets in a directory that is closed to other users, and on no TCP port, so they never collide
// with a server that is already on the machine. They run in a session of their own: Ctrl-C at the terminal reaches the
// program, which drains and then calls [Stack.Close]. On Linux the servers of a Start end when their owner dies, however
// it dies; elsewhere, and for what is left anyway, the next start ends what it finds and goes on.
//
// Postgres refuses to run as root, so under root both servers run as the owner of the data, or as "postgres" or
// "nobody". When that user can not reach or own a folder under Options.Dir (a checkout in /root, a mounted Windows
// disk), Options.Dir/data is a symlink to a folder outside that can be owned.
//
// What Options.Dir holds:
//
//	data/          the servers' own folder, mode 0700, or a symlink to it
//	data/lock      locked (flock) by who uses the servers, so the kernel frees it however the user ends
//	data/postgres  the cluster
//	data/run       the sockets; in /tmp/emporium-<hash> if the path would be too long for a socket
//	postgres.log   the log of Postgres
//	redis.log      the log of Redis
package devstack

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
)

// ErrRunning is what errors.Is finds in the error of a Start in a folder that a living process uses.
var ErrRunning = errors.New("already running")

// The database that DatabaseURL names; it is created with the cluster.
const database = "emporium"

// Options says where a stack lives and what it may do.
type Options struct {
	// Dir is the folder that holds all state, for example ".emporium". It is made if it is missing.
	Dir string
	// Log receives progress for a person; nil keeps silent.
	Log func(format string, args ...any)
	// Install allows to install missing servers by the system's package manager; what is run is logged before.
	Install bool
	// NeedRedis makes a missing or failing Redis an error of Start; otherwise it is reported in Stack.RedisErr.
	NeedRedis bool
	// Settings of Postgres, "name=value", that count more than those that it is started with otherwise.
	Settings []string

	programs []string // folders to look for programs in; nil: programFolders()
}

// Stack is a Postgres and a Redis that are ready for connections until Close.
type Stack struct {
	DatabaseURL string // for pgx and psql
	RedisURL    string // for redis.ParseURL; empty if RedisErr is set
	RedisErr    error  // why there is no Redis, if Options.NeedRedis was not set

	home *home // nil if the servers are somebody else's

	mu   sync.Mutex
	lock *os.File // nil once closed
}

// Start starts a Postgres and a Redis in o.Dir for this process alone. If another process has done so, the error is
// ErrRunning and names the folder and the process. Canceling ctx abandons the start; it does not stop a started stack.
func Start(ctx context.Context, o Options) (*Stack, error) {
	h, err := openHome(ctx, o, false)
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(h.lockPath(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("devstack: %w", err)
	}
	s, err := h.startAlone(ctx, lock)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

func (h *home) startAlone(ctx context.Context, lock *os.File) (*Stack, error) {
	if ok, err := tryLock(lock, exclusive); err != nil {
		return nil, fmt.Errorf("devstack: lock %s: %w", lock.Name(), err)
	} else if !ok {
		owner := "another process"
		if pid := readPID(lock.Name()); pid > 0 {
			owner = fmt.Sprintf("process %d", pid)
		}
		return nil, fmt.Errorf("devstack: %w: %s runs the servers in %s; stop it first, or use another folder",
			ErrRunning, owner, h.dir)
	}
	if err := writePID(lock); err != nil {
		return nil, fmt.Errorf("devstack: %w", err)
	}
	redisErr, err := h.up(ctx)
	if err != nil {
		return nil, err
	}
	return h.stack(lock, redisErr), nil
}

func (h *home) stack(lock *os.File, redisErr error) *Stack {
	s := &Stack{DatabaseURL: h.databaseURL(database), RedisErr: redisErr, home: h, lock: lock}
	if redisErr == nil {
		s.RedisURL = (&url.URL{Scheme: "unix", Path: h.redisSocket(), RawQuery: "db=0"}).String()
	}
	return s
}

// DatabaseURLFor is DatabaseURL with another database of the same server.
func (s *Stack) DatabaseURLFor(dbname string) string {
	u, err := url.Parse(s.DatabaseURL)
	if err != nil || u.Scheme == "" { // of the form "host=… dbname=…", where the last mention counts
		return s.DatabaseURL + " dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(dbname) + "'"
	}
	u.Path, u.RawPath = "/"+dbname, ""
	return u.String()
}

// Close stops the servers, cutting open connections, and frees the folder for the next Start. Servers that are shared
// (ForTests) are stopped by the last user to leave. Calling Close again does nothing.
func (s *Stack) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	defer func() {
		s.lock.Close()
		s.lock = nil
	}()
	if s.home.shared {
		// A failed upgrade loses the shared lock too, so of several that leave at once the last one succeeds.
		if last, err := tryLock(s.lock, exclusive); err != nil || !last {
			return err
		}
	}
	return s.home.down()
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// readPID reads the first line of a pid file; 0 means that there is none.
func readPID(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return 0
	}
	return pid
}

// up starts both servers in a folder that the caller has locked exclusively, after ending what an earlier owner left.
func (h *home) up(ctx context.Context) (redisErr, err error) {
	if err := h.down(); err != nil {
		return nil, err
	}
	// A pid file that is left names nobody, or a stranger who got the number, on whom Postgres would not start.
	for _, path := range []string{h.postgresPID(), h.redisPID()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("devstack: %w", err)
		}
	}
	if err := h.resetSockets(); err != nil {
		return nil, fmt.Errorf("devstack: folder for sockets: %w", err)
	}
	h.log("starting %s in %s", strings.TrimSuffix(h.postgres.name+" and "+h.redis.name, " and "), h.dir)
	redis := make(chan error, 1)
	go func() { redis <- h.startRedis(ctx) }()
	err = h.startPostgres(ctx)
	redisErr = <-redis
	if err == nil && redisErr != nil && h.needRedis {
		err = redisErr
	}
	if err != nil {
		return nil, errors.Join(err, h.down())
	}
	if redisErr != nil {
		h.log("no Redis: %v", redisErr)
	}
	return redisErr, nil
}

// down stops the servers of the folder, whoever started them.
func (h *home) down() error {
	redis := make(chan error, 1)
	go func() { redis <- h.redisProcess().stop() }()
	return errors.Join(h.postgresProcess().stop(), <-redis)
}

// logFile opens a server's log for appending, emptied once it has grown large.
func (h *home) logFile(name string) (*os.File, error) {
	path := filepath.Join(h.dir, name)
	if fi, err := os.Stat(path); err == nil && fi.Size() > 16<<20 {
		if err := os.Truncate(path, 0); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
}
