package devstack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// home is the place of one pair of servers.
type home struct {
	dir     string   // Options.Dir, absolute and without symlinks, so that every process names it alike
	data    string   // the folder that belongs to the servers
	account *account // whom the servers run as; nil: as this process

	shared    bool // used by several processes, for tests
	needRedis bool
	settings  []string
	log       func(format string, args ...any)

	postgres     program
	redis        program
	redisMissing error // why there is no program for Redis
}

// account is an unprivileged user that root's servers run as.
type account struct {
	uid, gid uint32
}

// openHome finds the programs and makes the folders; it starts and locks nothing.
func openHome(ctx context.Context, o Options, shared bool) (*home, error) {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	installed, err := locate(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("devstack: %w", err)
	}
	h := &home{shared: shared, needRedis: o.NeedRedis, settings: o.Settings, log: o.Log,
		redis: installed.redis, redisMissing: installed.redisErr}
	if err := h.settle(ctx, o.Dir); err != nil {
		return nil, fmt.Errorf("devstack: %w", err)
	}
	major, err := h.clusterMajor()
	if err != nil {
		return nil, fmt.Errorf("devstack: %w", err)
	}
	if h.postgres, err = installed.postgresFor(major); err != nil {
		return nil, fmt.Errorf("devstack: the data in %s: %w; install that version, or remove the folder with all data",
			h.clusterDir(), err)
	}
	return h, nil
}

// findHome is openHome for what only stops servers: the folders must be there.
func findHome(dir string) (*home, error) {
	h := &home{log: func(string, ...any) {}}
	var err error
	if h.dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("devstack: %w", err)
	}
	if h.dir, err = filepath.EvalSymlinks(h.dir); err != nil {
		return nil, fmt.Errorf("devstack: %w", err)
	}
	if h.data, err = filepath.EvalSymlinks(filepath.Join(h.dir, "data")); err != nil {
		return nil, fmt.Errorf("devstack: %w", err)
	}
	return h, nil
}

// settle makes dir and, there or elsewhere, a folder that the servers can own.
func (h *home) settle(ctx context.Context, dir string) error {
	if dir == "" {
		return errors.New("Options.Dir is empty")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if h.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	// Of several first starts at the same moment, one chooses the place.
	guard, err := os.Open(h.dir)
	if err != nil {
		return err
	}
	defer guard.Close()
	if err := waitLock(ctx, guard, exclusive); err != nil {
		return fmt.Errorf("lock %s: %w", h.dir, err)
	}
	link := filepath.Join(h.dir, "data")
	if h.account, err = chooseAccount(link); err != nil {
		return err
	}
	h.data = link
	if target, err := os.Readlink(link); err == nil { // by settleOutside, or by a person; what it leads to may be gone
		if h.data = target; !filepath.IsAbs(target) {
			h.data = filepath.Join(h.dir, target)
		}
	}
	if err := h.account.own(h.data); err != nil {
		if h.data != link || os.Remove(link) != nil {
			return err // there is data: better to say what is wrong with it than to start without
		}
		if outsideErr := h.settleOutside(link, err); outsideErr != nil {
			return errors.Join(err, outsideErr)
		}
	}
	h.data, err = filepath.EvalSymlinks(link)
	return err
}

// settleOutside makes link a symlink to a folder elsewhere, because the servers can not have one at link.
func (h *home) settleOutside(link string, why error) error {
	state := "/var/lib/emporium"
	if h.account == nil {
		user, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		state = filepath.Join(user, ".local", "state", "emporium")
	}
	if err := os.MkdirAll(state, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(state, 0o755); err != nil { // whatever the umask
		return err
	}
	state, err := filepath.EvalSymlinks(state)
	if err != nil {
		return err
	}
	h.data = filepath.Join(state, hash(link))
	// Anything there was left when Options.Dir was removed, which is how people ask for a fresh start.
	if lock, err := os.Open(h.lockPath()); err == nil {
		defer lock.Close()
		if free, err := tryLock(lock, exclusive); err != nil || !free {
			return fmt.Errorf("%w: the servers in %s are still used by process %d", ErrRunning, h.data, readPID(h.lockPath()))
		}
		if err := h.down(); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(h.data); err != nil {
		return err
	}
	if err := h.account.own(h.data); err != nil {
		return err
	}
	h.log("the data goes to %s: %v", h.data, why)
	return os.Symlink(h.data, link)
}

// chooseAccount says whom root's servers run as: whoever owns the data, so that `sudo make run` after `make run` works.
func chooseAccount(data string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if fi, err := os.Stat(data); err == nil {
		if uid, gid := owner(fi); uid != 0 {
			return &account{uid: uid, gid: gid}, nil
		}
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseInt(u.Uid, 10, 64)
		gid, err2 := strconv.ParseInt(u.Gid, 10, 64)
		if err1 == nil && err2 == nil && uid != 0 {
			return &account{uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("no user postgres or nobody to run Postgres as, which refuses to be root: create one, or start as an ordinary user")
}

// own makes sure of a folder that belongs to the account, is closed to others, and can be reached by the account.
func (a *account) own(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	uid := uint32(os.Geteuid())
	if a != nil {
		uid = a.uid
		if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
			return err
		}
	} else if is, _ := owner(fi); is != uid {
		return fmt.Errorf("%s belongs to another user (%d): start as that user or as root, or remove the folder", path, is)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return err
	}
	// Some mounted file systems accept the calls above without heeding them.
	if fi, err = os.Stat(path); err != nil {
		return err
	}
	if is, _ := owner(fi); is != uid || fi.Mode().Perm() != 0o700 {
		return fmt.Errorf("the file system of %s does not keep owners and modes", path)
	}
	if a == nil {
		return nil
	}
	probe := exec.Command("true")
	probe.Dir, probe.Env, probe.SysProcAttr = path, []string{}, detached(a, 0)
	if err := probe.Run(); err != nil {
		return fmt.Errorf("%s can not be reached by user %d, who runs the servers: %w", path, a.uid, err)
	}
	return nil
}

func (h *home) lockPath() string    { return filepath.Join(h.data, "lock") }
func (h *home) clusterDir() string  { return filepath.Join(h.data, "postgres") }
func (h *home) postgresPID() string { return filepath.Join(h.clusterDir(), "postmaster.pid") }
func (h *home) redisPID() string    { return filepath.Join(h.data, "redis.pid") }
func (h *home) redisSocket() string { return filepath.Join(h.socketDir(), "redis.sock") }

// socketDir is inside data if a socket's path may be that long (104 bytes with its final NUL on macOS, 108 on Linux)
// and has no character that Postgres or a URL's list of hosts would take apart. The other place does not depend on
// TMPDIR, so that every process finds it.
func (h *home) socketDir() string {
	dir := filepath.Join(h.data, "run")
	if len(dir)+len("/.s.PGSQL.5432") < 104 && !strings.ContainsAny(dir, `,"`) {
		return dir
	}
	return "/tmp/emporium-" + hash(h.data)
}

// resetSockets empties the folder for sockets. Making it anew proves that in /tmp nobody else has laid it out for us.
func (h *home) resetSockets() error {
	dir := h.socketDir()
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return h.account.own(dir)
}

func (h *home) databaseURL(name string) string {
	// The port is named because PGPORT would count otherwise, and with it the name of the socket.
	q := url.Values{"host": {h.socketDir()}, "port": {"5432"}, "user": {superuser}}.Encode()
	return "postgres:///" + url.PathEscape(name) + "?" + strings.ReplaceAll(q, "+", "%20") // as Postgres reads it
}

func hash(s string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:12]
}
