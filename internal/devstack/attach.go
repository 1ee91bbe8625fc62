package devstack

import (
	"context"
	"fmt"
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
