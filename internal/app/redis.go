package app

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"emporium/internal/redisclient"
)

// These are how many connections there are to each server. The sign-in throttle has its own: what the cache waits for must
// not keep anyone from signing in.
const (
	throttleConns = 8
	cacheConns    = 32
)

// redisClient is the connection to Redis, or the lack of one. Nothing depends on Redis: what it lends the process is lost
// without it, and nothing else.
type redisClient struct {
	client redis.UniversalClient // nil without a URL
}

func openRedis(url string, conns int) (*redisClient, error) {
	if url == "" {
		return &redisClient{}, nil
	}
	client, err := redisclient.Open(url, conns)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL %w (it is not shown, because it may hold a password)", err)
	}
	return &redisClient{client: client}, nil
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
	if r == nil || r.client == nil {
		return nil
	}
	if err := r.client.Close(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}
