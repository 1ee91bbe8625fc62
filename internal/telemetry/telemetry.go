// Package telemetry says what the process does: logs as JSON lines and metrics for Prometheus. No personal data goes
// into either: a viewer is named by ID, a statement by name, an operation by name.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/postgres"
)

// Request is what is known of an HTTP request from its first moment on.
type Request struct {
	ID            string // also sent back as X-Request-Id
	ClientAddress string // the client's IP address
}

type requestKey struct{}

// WithRequest returns a context that carries the request.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// RequestFrom returns the request that the context belongs to, or an empty one.
func RequestFrom(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}

// NewLogger writes JSON lines at the level and above. Lines that are logged with a context carry the request's ID and
// the viewer's.
func NewLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(contextHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})})
}

type contextHandler struct{ slog.Handler }

// Handle adds what the context knows.
func (h contextHandler) Handle(ctx context.Context, r slog.Record) error {
	if request := RequestFrom(ctx); request.ID != "" {
		r.AddAttrs(slog.String("request_id", request.ID))
	}
	if actor := auth.Peek(ctx); actor.SignedIn() {
		r.AddAttrs(slog.String("viewer", actor.ID.String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the context's attributes on derived loggers.
func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the context's attributes on derived loggers.
func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{h.Handler.WithGroup(name)}
}

// Metrics are the figures of one process, in a registry of their own, so that several can live in one test binary.
type Metrics struct {
	registry   *prometheus.Registry
	http       *prometheus.HistogramVec
	inFlight   prometheus.Gauge
	operations *prometheus.HistogramVec
	statements *prometheus.HistogramVec
	batches    *prometheus.HistogramVec
	jobs       *prometheus.HistogramVec
	streams    *prometheus.GaugeVec
	ended      *prometheus.CounterVec
	untrusted  *prometheus.CounterVec
	cache      *cacheMetrics
	names      nameLimit
}

// maxOperationNames bounds the label "operation": names come from clients, and each distinct one costs memory for ever.
const maxOperationNames = 200

// NewMetrics makes the metrics of a process.
func NewMetrics() *Metrics {
	latency := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		http: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "emporium_http_request_duration_seconds",
			Help: "HTTP requests by route, method and status.", Buckets: latency}, []string{"route", "method", "status"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "emporium_http_requests_in_flight",
			Help: "HTTP requests being answered."}),
		operations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "emporium_graphql_operation_duration_seconds",
			Help: "GraphQL operations by name, kind and outcome (ok or the code of the first error).", Buckets: latency},
			[]string{"operation", "kind", "outcome"}),
		statements: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "emporium_sql_statement_duration_seconds",
			Help: "SQL statements by name and outcome.", Buckets: latency}, []string{"statement", "outcome"}),
		batches: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "emporium_loader_batch_keys",
			Help: "Keys fetched together, by edge.", Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000}},
			[]string{"edge"}),
		jobs: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "emporium_job_duration_seconds",
			Help: "Tries of jobs by kind and outcome.", Buckets: latency}, []string{"job", "outcome"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "emporium_streams_open",
			Help: "Open WebSockets and event streams by kind."}, []string{"kind"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "emporium_streams_ended_total",
			Help: "WebSockets and event streams that have ended, by kind and reason."}, []string{"kind", "reason"}),
		untrusted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "emporium_untrusted_documents_total",
			Help: "Operations whose document is in no manifest, by client (of those that are listed) and by what was done (run or refused)."},
			[]string{"client", "done"}),
		cache: newCacheMetrics(),
		names: newNameLimit(maxOperationNames),
	}
	m.registry.MustRegister(m.cache.collectors()...)
	m.registry.MustRegister(m.http, m.inFlight, m.operations, m.statements, m.batches, m.jobs, m.untrusted, m.streams, m.ended,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus's text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Request counts an HTTP request. Route is one of a fixed set, never the raw path.
func (m *Metrics) Request(route, method, status string, took time.Duration) {
	m.http.WithLabelValues(route, method, status).Observe(took.Seconds())
}

// InFlight changes the number of requests being answered.
func (m *Metrics) InFlight(change int) { m.inFlight.Add(float64(change)) }

// Operation counts a GraphQL operation. Beyond 200 distinct names further ones count as "other".
func (m *Metrics) Operation(name, kind, outcome string, took time.Duration) {
	m.operations.WithLabelValues(m.names.label(name), kind, outcome).Observe(took.Seconds())
}

// Untrusted counts an operation whose document is in no manifest. Client is one of a fixed set.
func (m *Metrics) Untrusted(client, done string) { m.untrusted.WithLabelValues(client, done).Inc() }

// Statement counts an SQL statement; it is a postgres.Observer.
func (m *Metrics) Statement(name string, took time.Duration, err error) {
	m.statements.WithLabelValues(name, outcome(err)).Observe(took.Seconds())
}

// Job counts a try of a job.
func (m *Metrics) Job(kind string, took time.Duration, err error) {
	m.jobs.WithLabelValues(kind, outcome(err)).Observe(took.Seconds())
}

// StreamOpened counts a stream until it has ended. Kind is one of a fixed set.
func (m *Metrics) StreamOpened(kind string) { m.streams.WithLabelValues(kind).Inc() }

// StreamEnded counts the end of a stream. The reason is one of a fixed set.
func (m *Metrics) StreamEnded(kind, reason string) {
	m.streams.WithLabelValues(kind).Dec()
	m.ended.WithLabelValues(kind, reason).Inc()
}

// UnsentMails adds how many mails were dropped for want of a mail server, read whenever the metrics are.
func (m *Metrics) UnsentMails(count func() int64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "emporium_mails_unsent_total",
		Help: "Mails that were not sent because there is no mail server."}, func() float64 { return float64(count()) }))
}

// Circuit adds whether nothing is asked of a payment provider because it fails, read whenever the metrics are.
func (m *Metrics) Circuit(provider string, open func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "emporium_payment_provider_circuit_open",
		Help: "1 while a payment provider fails and is not asked.", ConstLabels: prometheus.Labels{"provider": provider},
	}, func() float64 {
		if open() {
			return 1
		}
		return 0
	}))
}

// outcome is how something ended, for a label.
func outcome(err error) string {
	if err != nil {
		return string(fault.CodeOf(err))
	}
	return "ok"
}

// Batch counts a loader's batch.
func (m *Metrics) Batch(edge string, keys int) {
	m.batches.WithLabelValues(edge).Observe(float64(keys))
}

// Pool adds the figures of a database's pool, read whenever the metrics are.
func (m *Metrics) Pool(name string, stat func() postgres.PoolStat) {
	gauge := func(metric, help string, value func(postgres.PoolStat) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: metric, Help: help, ConstLabels: prometheus.Labels{"database": name},
		}, func() float64 { return value(stat()) }))
	}
	gauge("emporium_pool_connections_acquired", "Database connections in use.",
		func(s postgres.PoolStat) float64 { return float64(s.Acquired) })
	gauge("emporium_pool_connections_idle", "Database connections at rest.",
		func(s postgres.PoolStat) float64 { return float64(s.Idle) })
	gauge("emporium_pool_connections_max", "Database connections at most.",
		func(s postgres.PoolStat) float64 { return float64(s.Max) })
	gauge("emporium_pool_waits", "Acquisitions that had to wait, since the start.",
		func(s postgres.PoolStat) float64 { return float64(s.Waited) })
	gauge("emporium_pool_wait_seconds", "Time spent waiting for a connection, since the start.",
		func(s postgres.PoolStat) float64 { return s.WaitTime.Seconds() })
}
