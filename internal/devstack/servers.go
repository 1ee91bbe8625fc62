package devstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	superuser  = "postgres"
	startLimit = 2 * time.Minute // the recovery of a big database after a crash takes its time
)

// postgresArgs is the whole configuration: the command line counts more than what is in the cluster's files.
func (h *home) postgresArgs() []string {
	settings := []string{
		"listen_addresses=", "port=5432", "unix_socket_directories=" + h.socketDir(), "unix_socket_permissions=0700",
		"wal_level=logical", "shared_buffers=256MB", "timezone=UTC", "log_timezone=UTC", "log_checkpoints=off",
		"max_slot_wal_keep_size=2GB", // a forgotten replication slot must not fill the disk
		"cluster_name=emporium",
	}
	if h.shared {
		settings = append(settings, "max_connections=300", "max_wal_senders=50", "max_replication_slots=100",
			"fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_wal_size=2GB", "checkpoint_timeout=1h")
	} else {
		settings = append(settings, "max_connections=200", "max_wal_senders=20", "max_replication_slots=20", "fsync=on")
	}
	args := []string{"-D", h.clusterDir()}
	for _, setting := range append(settings, h.settings...) {
		args = append(args, "-c", setting)
	}
	return args
}

func (h *home) startPostgres(ctx context.Context) error {
	for fresh := false; ; fresh = true {
		if err := h.initCluster(ctx); err != nil {
			return fmt.Errorf("devstack: %w", err)
		}
		err := h.runPostgres(ctx)
		if err == nil || fresh || !h.shared || ctx.Err() != nil {
			return err
		}
		// Without fsync a crash of the machine breaks a cluster for good, and the data of tests is worth nothing.
		h.log("making the cluster for tests anew: %v", err)
		if err := os.RemoveAll(h.clusterDir()); err != nil {
			return fmt.Errorf("devstack: %w", err)
		}
	}
}

func (h *home) runPostgres(ctx context.Context) error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		// SIGINT is Postgres's fast shutdown: it does not wait for clients to leave.
		err := h.run(ctx, "postgres.log", syscall.SIGINT, h.postgres.path, h.postgresArgs(), h.createDatabase)
		// Children of a postmaster that was killed need a moment to notice.
		if err == nil || !strings.Contains(err.Error(), "pre-existing shared memory block") || time.Now().After(deadline) {
			return err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("devstack: %w", err)
		}
	}
}

// createDatabase succeeds once Postgres answers and our database is there.
func (h *home) createDatabase(ctx context.Context) error {
	err := h.pingPostgres(ctx, database)
	if pgErr := (*pgconn.PgError)(nil); !errors.As(err, &pgErr) || pgErr.Code != "3D000" { // database does not exist
		return err
	}
	conn, err := pgx.Connect(ctx, h.databaseURL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize())
	return err
}

func (h *home) pingPostgres(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, h.databaseURL(name))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return conn.Ping(ctx)
}

// initCluster makes the cluster if there is none. It appears under its name only when it is complete.
func (h *home) initCluster(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(h.clusterDir(), "PG_VERSION")); err == nil {
		return nil
	}
	halves, _ := filepath.Glob(filepath.Join(h.data, "initdb-*")) // the only error is a bad pattern
	for _, half := range halves {
		if err := os.RemoveAll(half); err != nil {
			return err
		}
	}
	h.log("creating a %s cluster in %s", h.postgres.name, h.clusterDir())
	tmp, err := os.MkdirTemp(h.data, "initdb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := h.account.own(tmp); err != nil {
		return err
	}
	out, err := h.initdb(ctx, tmp, "C.UTF-8")
	if err != nil && bytes.Contains(out, []byte("invalid locale name")) {
		out, err = h.initdb(ctx, tmp, "C") // sorts alike, but knows letters and their case in ASCII only
	}
	if ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, bytes.TrimSpace(out))
	}
	return os.Rename(tmp, h.clusterDir())
}

func (h *home) initdb(ctx context.Context, dir, locale string) (output []byte, err error) {
	// Data that is seconds old may be lost with the machine, so this need not wait for the disk.
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(h.postgres.path), "initdb"), "-D", dir,
		"--username="+superuser, "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale="+locale,
		"--text-search-config=english", "--data-checksums", "--no-sync", "--no-instructions")
	cmd.Dir, cmd.Env, cmd.SysProcAttr = h.data, environment(), detached(h.account, 0)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // so that it ends its own children
	return cmd.CombinedOutput()
}

// clusterMajor is the version that made the cluster; 0 if there is none, or none worth keeping.
func (h *home) clusterMajor() (int, error) {
	if h.shared {
		return 0, nil
	}
	text, err := os.ReadFile(filepath.Join(h.clusterDir(), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func (h *home) postgresProcess() process {
	return process{
		pid: readPID(h.postgresPID()), mark: h.clusterDir(),
		// Fast; then immediate, because a fast shutdown waits for a replication client that may hang.
		signals: []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT},
	}
}

// current tells whether a Postgres that another process has started runs with the arguments that we would use.
func (h *home) current() bool {
	want := ""
	for _, arg := range h.postgresArgs() {
		want += ` "` + arg + `"`
	}
	used, err := os.ReadFile(filepath.Join(h.clusterDir(), "postmaster.opts"))
	return err == nil && strings.HasSuffix(string(used), want+"\n")
}

func (h *home) startRedis(ctx context.Context) error {
	if h.redisMissing != nil {
		return fmt.Errorf("devstack: %w", h.redisMissing)
	}
	return h.run(ctx, "redis.log", syscall.SIGTERM, h.redis.path, []string{
		"--port", "0", "--unixsocket", h.redisSocket(), "--unixsocketperm", "700",
		"--save", "", "--appendonly", "no", // it holds a cache, which may be empty after a start
		"--dir", h.data, "--pidfile", h.redisPID(), "--daemonize", "no",
		"--set-proc-title", "no", // so that its command line goes on naming the pid file
	}, h.pingRedis)
}

func (h *home) redisProcess() process {
	return process{pid: readPID(h.redisPID()), mark: h.redisPID(), signals: []syscall.Signal{syscall.SIGTERM}}
}

func (h *home) pingRedis(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", h.redisSocket())
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(answer[:n])); got != "+PONG" {
		return fmt.Errorf("redis: answered %q to PING", got)
	}
	return nil
}
