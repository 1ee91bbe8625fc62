package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"emporium/internal/cache"
	"emporium/internal/cache/cdn"
	"emporium/internal/cache/remote"
)

// documentTTL is how long Redis keeps a document after a process has learned it from a client.
const documentTTL = 30 * 24 * time.Hour

// openCache makes the response cache, which begins to keep answers once Run follows the databases.
func (a *App) openCache() (err error) {
	if a.cfg.Cache == "off" || !a.serving {
		return nil
	}
	if a.cache, err = a.newCache(); err != nil {
		return err
	}
	if a.cacheRedis.client != nil {
		a.documents = remote.New(remote.Options{Client: a.cacheRedis.client, Prefix: "emporium:document:1:", TTL: documentTTL,
			Budget: a.cfg.CacheBudget, Log: a.log})
	}
	a.metrics.CacheSize(a.cache.Size)
	for i, f := range a.cache.Follows() {
		a.metrics.CacheFollower(f.Database, func() (time.Duration, bool) {
			now := a.cache.Follows()[i]
			return now.Lag, now.Leased
		})
	}
	return nil
}

// maker names what makes the answers: the program, and those of its settings that show in them. Redis keeps answers longer
// than a deployment takes, and what another program would answer is not for this one to give.
func (a *App) maker() string {
	if a.cache == nil {
		return ""
	}
	program, err := executable()
	if err != nil {
		a.log.Warn("the program can not be told from others: its answers are not shared with other processes", "error", err)
		program = rand.Text()
	}
	return fmt.Sprintf("%s %s %t %s", program, a.cfg.Currency, a.cfg.TaxIncluded, a.cfg.PhoneRegion)
}

// executable is a digest of the file that runs.
var executable = sync.OnceValues(func() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := xxhash.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return strconv.FormatUint(h.Sum64(), 36), nil
})

// newCache makes a cache, and what belongs to it.
func (a *App) newCache() (*cache.Cache, error) {
	direct := a.cfg.DirectURLs()
	var sources []cache.Source
	for _, db := range a.dbs.all {
		sources = append(sources, cache.Source{Domains: db.domains, DB: db.DB, Direct: direct[db.domains[0]]})
	}
	var second *remote.Store
	var err error
	if a.cacheRedis, err = openRedis(string(a.cfg.RedisURL), cacheConns); err != nil {
		return nil, err
	}
	if a.cacheRedis.client != nil {
		second = remote.New(remote.Options{Client: a.cacheRedis.client, Sealer: a.secrets.sealer, TTL: a.cfg.CacheMaxAge,
			Budget: a.cfg.CacheBudget, Observe: a.metrics.CacheRedis, Log: a.log})
		a.metrics.CacheRedisBreaker(second.Broken)
	}
	if a.cfg.CDNPurgeURL != "" {
		a.purger = cdn.New(cdn.Options{URL: string(a.cfg.CDNPurgeURL), Token: string(a.cfg.CDNPurgeToken), All: cache.KeyOfAll,
			Append: cache.AppendSurrogateKey, Barrier: func(ctx context.Context) error { return a.cache.Barrier(ctx) },
			Observe: a.metrics.CachePurge, Log: a.log})
		a.metrics.CachePurgesPending(a.purger.Pending)
	}
	options := cache.Options{ByAge: a.cfg.Cache == "age", Sources: sources, Remote: second, Bytes: uint64(a.cfg.CacheBytes), Log: a.log,
		Observe: a.observer()}
	if changeCache != nil {
		changeCache(&options)
	}
	return cache.New(options)
}

// observer tells the metrics what happens in the cache.
func (a *App) observer() cache.Observer {
	m := a.metrics
	o := cache.Observer{
		Lookup: func(l cache.Level) { m.CacheLookup(string(l)) },
		Stale:  func(l cache.Level) { m.CacheStale(string(l)) },
		Reject: func(r cache.Reason) { m.CacheRefused(string(r)) },
		Change: m.CacheInvalidation, Epoch: m.CacheEpoch, Await: m.CacheWait,
	}
	if a.purger != nil {
		o.Stamp, o.Void = a.purger.Changed, a.purger.All
	}
	return o
}

// cacheState says in words for each database whether its changes are followed, so that answers can be kept.
func (a *App) cacheState() map[string]string {
	if a.cache == nil {
		return map[string]string{"cache": "off"}
	}
	state := map[string]string{}
	for database, how := range a.cache.State() {
		if how != "ok" {
			how = "answers are not kept: " + how
		}
		state["cache of "+database] = how
	}
	return state
}
