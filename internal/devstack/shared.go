package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ForTests gives the Postgres and Redis that all test processes of this module share, and starts them if this is the
// first. They live in <module root>/.emporium/test, are tuned for speed (a crash of the machine may lose the data, which
// is then made anew), and stop when the last user calls Close. Users that end without Close leave them running; the next
// one takes them over, and StopTests stops them.
//
// With TEST_DATABASE_URL and TEST_REDIS_URL set it uses those and starts nothing.
//
// The data stays for the next run: who makes databases also removes those that a crashed run has left.
//
// It installs nothing: a missing server is an error that says what to do.
func ForTests(ctx context.Context) (*Stack, error) {
	return sharedStack(ctx, Options{})
}

// HoldTests is ForTests for what runs around a whole test run, so that the servers do not stop and start between
// packages: it may install missing servers, and says on standard error what it does.
func HoldTests(ctx context.Context) (*Stack, error) {
	return sharedStack(ctx, Options{Install: true, Log: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}})
}

// StopTests stops the servers of ForTests once nobody uses them, and waits for that until ctx is done or for ten
// seconds. It succeeds if there is nothing to stop; the error is ErrRunning if they are still in use.
func StopTests(ctx context.Context) error {
	dir, err := testFolder()
	if err != nil {
		return err
	}
	return stopShared(ctx, dir)
}

func stopShared(ctx context.Context, dir string) error {
	h, err := findHome(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	lock, err := os.OpenFile(h.lockPath(), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("devstack: %w", err)
	}
	defer lock.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := waitLock(ctx, lock, exclusive); err != nil {
		return fmt.Errorf("devstack: %w: other processes still use the servers in %s (%w)", ErrRunning, h.dir, err)
	}
	return h.down()
}

func sharedStack(ctx context.Context, o Options) (*Stack, error) {
	db, redis := os.Getenv("TEST_DATABASE_URL"), os.Getenv("TEST_REDIS_URL")
	if db != "" && redis != "" {
		return &Stack{DatabaseURL: db, RedisURL: redis}, nil
	}
	if db != "" || redis != "" {
		return nil, errors.New("devstack: set both TEST_DATABASE_URL and TEST_REDIS_URL, or neither")
	}
	if o.Dir == "" {
		dir, err := testFolder()
		if err != nil {
			return nil, err
		}
		o.Dir = dir
	}
	o.NeedRedis = true
	h, err := openHome(ctx, o, true)
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(h.lockPath(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("devstack: %w", err)
	}
	if err := h.join(ctx, lock); err != nil {
		lock.Close()
		return nil, err
	}
	return h.stack(lock, nil), nil
}

// join returns with the lock shared and the servers running. Every user holds the lock shared; who gets it exclusively
// is alone, and may start or stop the servers.
func (h *home) join(ctx context.Context, lock *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, 2*startLimit)
	defer cancel()
	for try := 1; ; try++ {
		alone, err := tryLock(lock, exclusive)
		if err != nil {
			return fmt.Errorf("devstack: lock %s: %w", lock.Name(), err)
		}
		if alone && (!h.current() || h.ping(ctx) != nil) {
			if _, err := h.up(ctx); err != nil {
				return err
			}
		}
		if err := waitLock(ctx, lock, shared); err != nil {
			return fmt.Errorf("devstack: waiting for the process that starts the servers in %s: %w", h.dir, err)
		}
		// Going from exclusive to shared is not atomic, and a starter or a server may have died: look again.
		if err = h.ping(ctx); err == nil {
			return nil
		}
		if err := unlock(lock); err != nil {
			return fmt.Errorf("devstack: %w", err)
		}
		if try == 20 {
			return fmt.Errorf("devstack: the servers in %s do not answer, and can not be started anew while other "+
				"processes hold %s: %w", h.dir, lock.Name(), err)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("devstack: %w", err)
		}
	}
}

func (h *home) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := h.pingPostgres(ctx, database); err != nil {
		return err
	}
	return h.pingRedis(ctx)
}

// waitLock polls, because a blocking flock can not be given up.
func waitLock(ctx context.Context, f *os.File, how lockKind) error {
	for {
		if ok, err := tryLock(f, how); ok || err != nil {
			return err
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

func testFolder() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("devstack: %w", err)
	}
	for start := dir; ; {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".emporium", "test"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("devstack: no go.mod in %s or above it", start)
		}
		dir = parent
	}
}

// sleep waits for d, or less if ctx is done before, which is then the error.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
