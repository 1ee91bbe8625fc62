package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// run starts a server and returns when it is ready, or with the end of its log when it is not.
func (h *home) run(ctx context.Context, logName string, onDeath syscall.Signal, path string, args []string,
	ready func(context.Context) error) error {
	log, err := h.logFile(logName)
	if err != nil {
		return fmt.Errorf("devstack: %w", err)
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("devstack: %w", err)
	}
	if h.shared {
		onDeath = 0 // others go on using it
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = h.data, environment(), log, log
	cmd.SysProcAttr = detached(h.account, onDeath)
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		// The kernel sends onDeath when the thread that forked ends, so this one stays for as long as the server does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("devstack: start %s: %w", path, err)
	}
	failed := func(how string) error {
		return fmt.Errorf("devstack: %s %s; the end of %s:\n%s", filepath.Base(path), how, log.Name(), tail(log.Name(), before))
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		const startingUp = "57P03"
		pgErr := (*pgconn.PgError)(nil)
		refused := errors.As(err, &pgErr) && pgErr.Code != startingUp
		if !refused {
			select {
			case <-ended:
				return failed("ended while it started")
			case <-ctx.Done():
			case <-time.After(pause):
				continue
			}
		}
		// Not by its pid file, which it may not have written yet.
		stopErr := process{pid: cmd.Process.Pid, mark: path, signals: []syscall.Signal{syscall.SIGTERM, syscall.SIGQUIT}}.stop()
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return errors.Join(fmt.Errorf("%w: %w", failed("did not become ready"), err), stopErr)
	}
}

// environment keeps ours from the servers: PGPORT and the like would change what Postgres does.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
}

// tail is the end of a log, but nothing from before the offset.
func tail(path string, from int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil {
		from = max(from, fi.Size()-8<<10)
	}
	text, err := io.ReadAll(io.NewSectionReader(f, from, 8<<10))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// process is a server that may have been started by another process.
type process struct {
	pid     int
	mark    string           // in its command line, because numbers are used again
	signals []syscall.Signal // that ask it to end, the kindest first
}

func (p process) alive() bool {
	return p.pid > 0 && strings.Contains(commandLine(p.pid), p.mark)
}

// stop ends the process and returns when it is gone, at once if there is none. It gives each signal ten seconds.
func (p process) stop() error {
	for _, signal := range append(p.signals, syscall.SIGKILL) {
		if !p.alive() {
			return nil
		}
		if err := kill(p.pid, signal); err != nil {
			if !p.alive() {
				return nil
			}
			return fmt.Errorf("devstack: stop process %d: %w", p.pid, err)
		}
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if !p.alive() {
				return nil
			}
		}
	}
	return fmt.Errorf("devstack: process %d (%s) does not end, not even by SIGKILL", p.pid, p.mark)
}

// commandLine is empty for a process that is gone or a zombie. It is read by all users, unlike other files of /proc.
func commandLine(pid int) string {
	if runtime.GOOS == "linux" {
		text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		return strings.ReplaceAll(string(text), "\x00", " ")
	}
	text, _ := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return string(text)
}
