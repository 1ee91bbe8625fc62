package devstack

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Attach gives the servers that another process has started in a folder, as Start says by ErrRunning. They stay that
// process's own: they end when it does, and Close of this Stack does nothing.
func Attach(ctx context.Context, dir string) (*Stack, error) {
	h, err := findHome(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := h.pingPostgres(ctx, database); err != nil {
		return nil, fmt.Errorf("devstack: the servers in %s do not answer: %w", h.dir, err)
	}
	return h.stack(nil, h.pingRedis(ctx)), nil
}

// Lock takes a lock that the kernel gives back however the process ends, by a file that stays; release gives it back
// before. It does not wait: held tells that another process has it.
func Lock(path string) (release func(), held bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("lock: %w", err)
	}
	ok, err := tryLock(f, exclusive)
	if err != nil || !ok {
		_ = f.Close()
		return nil, err == nil, err
	}
	return func() { _ = f.Close() }, false, nil
}
