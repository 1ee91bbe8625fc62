package remote

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	purgeBatch = 500         // keys that are looked at in one call
	purgeLimit = time.Minute // of a purge whose context has no deadline
)

// Purge deletes all entries, and returns how many there were. It may also delete what is put meanwhile, and what still
// waits in a process's queue is put afterwards. It takes until the deadline of ctx, or a minute if there is none; what was
// deleted before an error is counted and stays deleted. It works while the breaker is open.
//
// It looks at all keys of Redis (SCAN), a few hundred at a time, between which Redis serves others. Another generation in
// the names would be quicker, but each process would have to learn of it, and Redis may evict it and bring the past back.
func (s *Store) Purge(ctx context.Context) (int64, error) {
	if s.o.Client == nil {
		return 0, nil
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, purgeLimit)
		defer cancel()
	}
	var deleted atomic.Int64
	var err error
	if cluster, ok := s.o.Client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return s.purge(ctx, c, &deleted) })
	} else {
		err = s.purge(ctx, s.o.Client, &deleted)
	}
	if err != nil {
		return deleted.Load(), fmt.Errorf("remote: purge: %w", err)
	}
	return deleted.Load(), nil
}

func (s *Store) purge(ctx context.Context, c redis.Cmdable, deleted *atomic.Int64) error {
	pattern := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s.o.Prefix) + "*"
	for cursor := uint64(0); ; {
		keys, next, err := c.Scan(ctx, cursor, pattern, purgeBatch).Result()
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			// One command for each: a command's keys must be in one slot.
			cmds, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
				for _, key := range keys {
					p.Unlink(ctx, key)
				}
				return nil
			})
			for _, cmd := range cmds {
				if n, ok := cmd.(*redis.IntCmd); ok && n.Err() == nil {
					deleted.Add(n.Val())
				}
			}
			if err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
