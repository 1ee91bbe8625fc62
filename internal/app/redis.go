package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisClient is the connection to Redis, or the lack of one. Nothing depends on Redis: what it lends the process is lost
// without it, and nothing else.
type redisClient struct {
	client redis.UniversalClient // nil without a URL
}

// redisLog keeps go-redis, which logs each failed dial as a line of text, to what the throttle and /readyz say better.
type redisLog struct{}

// Printf passes the line on for debugging.
func (redisLog) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, "redis", "line", fmt.Sprintf(format, v...))
}

func init() { redis.SetLogger(redisLog{}) }

func openRedis(url string) (*redisClient, error) {
	if url == "" {
		return &redisClient{}, nil
	}
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("REDIS_URL can not be parsed (it is not shown, because it may hold a password)")
	}
	// go-redis would wait 1.7 s for each command on a dead server, and does not look at contexts, unless told otherwise.
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 500*time.Millisecond, time.Second, time.Second
	o.MaxRetries, o.DialerRetries = 1, 1
	o.ContextTimeoutEnabled = true
	return &redisClient{client: redis.NewClient(o)}, nil
}

// state says in words how Redis is, within a quarter of a second.
func (r *redisClient) state() string {
	const lost = "sign-in attempts are counted for each process by itself"
	if r.client == nil {
		return "off: " + lost
	}
	ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
	defer cancel()
	if err := r.client.Ping(ctx).Err(); err != nil {
		return "does not answer: " + lost
	}
	return "ok"
}

func (r *redisClient) close() error {
	if r.client == nil {
		return nil
	}
	if err := r.client.Close(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}
