package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// cacheMetrics are the figures of the response cache.
type cacheMetrics struct {
	lookups       *prometheus.CounterVec
	stale         *prometheus.CounterVec
	refused       *prometheus.CounterVec
	invalidations *prometheus.CounterVec
	epochs        prometheus.Counter
	waits         prometheus.Histogram
	redis         *prometheus.HistogramVec
	purges        *prometheus.CounterVec

	// The counters of labels that were seen are looked up without a lock and without allocating anything: one is wanted for
	// each row that changes, and for each answer. There are as many as tables and levels.
	level, void, table known
}

// known are counters by the value of their label. It is safe for concurrent use.
type known struct {
	of  atomic.Pointer[map[string]prometheus.Counter]
	mu  sync.Mutex // of those who add one
	vec *prometheus.CounterVec
}

func (k *known) inc(label string) {
	if of := k.of.Load(); of != nil {
		if c := (*of)[label]; c != nil {
			c.Inc()
			return
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	next := map[string]prometheus.Counter{}
	if of := k.of.Load(); of != nil {
		maps.Copy(next, *of)
	}
	c := k.vec.WithLabelValues(label)
	next[label] = c
	k.of.Store(&next)
	c.Inc()
}

func newCacheMetrics() *cacheMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	c := &cacheMetrics{
		lookups: counter("emporium_cache_lookups_total",
			"Lookups in the response cache by where the answer came from: local (this process), remote (Redis), shared (somebody was just asking the same), miss, or bypass (the cache could not be used).", "level"),
		stale: counter("emporium_cache_stale_total",
			"Answers that were found void, or too old, when somebody asked for them, by where they were: local or remote. The lookup goes on, and is counted by how it ends.", "level"),
		refused: counter("emporium_cache_refused_total",
			"Answers that were not kept, by reason.", "reason"),
		invalidations: counter("emporium_cache_invalidations_total",
			"Changes of rows that void answers, by table.", "table"),
		epochs: prometheus.NewCounter(prometheus.CounterOpts{Name: "emporium_cache_epochs_total",
			Help: "How often all answers became void because the changes of a database were followed anew."}),
		waits: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "emporium_cache_mutation_wait_seconds",
			Help:    "How long mutations waited until no process answered with what is older.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2}}),
		redis: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "emporium_cache_redis_duration_seconds",
			Help:    "Gets and puts of answers in Redis by outcome; puts count from when they are sent, nobody waits for them.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .5}}, []string{"op", "outcome"}),
		purges: counter("emporium_cache_cdn_purges_total",
			"Requests to the cache in front of the server to drop what has changed, by outcome (ok or error).", "outcome"),
	}
	c.level.vec, c.void.vec, c.table.vec = c.lookups, c.stale, c.invalidations
	return c
}

func (c *cacheMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.lookups, c.stale, c.refused, c.invalidations, c.epochs, c.waits, c.redis, c.purges}
}

// CacheLookup counts a lookup by its level.
func (m *Metrics) CacheLookup(level string) { m.cache.level.inc(level) }

// CacheStale counts an answer that was found and is no longer true, by its level.
func (m *Metrics) CacheStale(level string) { m.cache.void.inc(level) }

// CacheRefused counts an answer that is not kept. Reason is one of a fixed set.
func (m *Metrics) CacheRefused(reason string) { m.cache.refused.WithLabelValues(reason).Inc() }

// CacheInvalidation counts a change of a row. It is called for each, and costs less than 100 ns.
func (m *Metrics) CacheInvalidation(table string) { m.cache.table.inc(table) }

// CacheEpoch counts that everything became void.
func (m *Metrics) CacheEpoch() { m.cache.epochs.Inc() }

// CacheWait counts the wait of a mutation.
func (m *Metrics) CacheWait(took time.Duration) { m.cache.waits.Observe(took.Seconds()) }

// CacheRedis counts a get or put; it is a remote.Options.Observe.
func (m *Metrics) CacheRedis(op, outcome string, took time.Duration) {
	m.cache.redis.WithLabelValues(op, outcome).Observe(took.Seconds())
}

// CachePurge counts a request to the cache in front of the server.
func (m *Metrics) CachePurge(err error) {
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	m.cache.purges.WithLabelValues(outcome).Inc()
}

// CacheSize adds how many answers the process keeps, in how many bytes, read whenever the metrics are.
func (m *Metrics) CacheSize(size func() (entries int, bytes uint64)) {
	m.gauge("emporium_cache_entries", "Answers that this process keeps.", nil, func() float64 {
		entries, _ := size()
		return float64(entries)
	})
	m.gauge("emporium_cache_bytes", "What the answers that this process keeps take, about.", nil, func() float64 {
		_, bytes := size()
		return float64(bytes)
	})
}

// CacheFollower adds how a database is followed, read whenever the metrics are.
func (m *Metrics) CacheFollower(database string, state func() (lag time.Duration, leased bool)) {
	labels := prometheus.Labels{"database": database}
	m.gauge("emporium_cache_follower_lag_seconds", "Time since all changes of the database were known to be applied; up to 0.4 is usual.",
		labels, func() float64 {
			lag, _ := state()
			return lag.Seconds()
		})
	m.gauge("emporium_cache_lease_held", "1 while what is kept may be used, as far as this database goes.", labels, func() float64 {
		_, leased := state()
		return truth(leased)
	})
}

// CacheRedisBreaker adds whether Redis is left alone, read whenever the metrics are.
func (m *Metrics) CacheRedisBreaker(open func() bool) {
	m.gauge("emporium_cache_redis_breaker_open", "1 while Redis does not answer and is not asked for answers.", nil,
		func() float64 { return truth(open()) })
}

// CachePurgesPending adds how many surrogate keys wait to be purged, read whenever the metrics are.
func (m *Metrics) CachePurgesPending(pending func() int) {
	m.gauge("emporium_cache_cdn_keys_pending", "Surrogate keys that the cache in front of the server is yet to be told of.", nil,
		func() float64 { return float64(pending()) })
}

func (m *Metrics) gauge(name, help string, labels prometheus.Labels, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
