package app

import (
	"time"

	"emporium/internal/cache"
	"emporium/internal/cache/remote"
)

// documentTTL is how long Redis keeps a document after a client has last sent it.
const documentTTL = 30 * 24 * time.Hour

// openCache makes the response cache, which begins to keep answers once Run follows the databases.
func (a *App) openCache() (err error) {
	if a.cfg.Cache == "off" || !a.serving {
		return nil
	}
	direct := a.cfg.DirectURLs()
	var sources []cache.Source
	for _, db := range a.dbs.all {
		sources = append(sources, cache.Source{Domains: db.domains, DB: db.DB, Direct: direct[db.domains[0]]})
	}
	var second *remote.Store
	if a.cacheRedis, err = openRedis(string(a.cfg.RedisURL), cacheConns); err != nil {
		return err
	}
	if a.cacheRedis.client != nil {
		second = remote.New(remote.Options{Client: a.cacheRedis.client, Sealer: a.secrets.sealer, TTL: a.cfg.CacheMaxAge, Log: a.log})
		a.documents = remote.New(remote.Options{Client: a.cacheRedis.client, Prefix: "emporium:document:1:", TTL: documentTTL, Log: a.log})
	}
	options := cache.Options{ByAge: a.cfg.Cache == "age", Sources: sources, Remote: second, Bytes: uint64(a.cfg.CacheBytes), Log: a.log}
	if changeCache != nil {
		changeCache(&options)
	}
	a.cache, err = cache.New(options)
	return err
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
