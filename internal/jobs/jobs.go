// Package jobs runs what has to happen later, again or in the background: River, a queue in Postgres. Each domain has a queue in
// its own schema, so that a job is added in the transaction of the change that needs it: there is never one without the
// other. A job runs at least once, and twice when a process dies; so whatever it does can be done again.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"emporium/internal/postgres"
)

const (
	// timeout is how long a try may take. One that is still running at rescueAfter died with its process.
	timeout     = 45 * time.Second
	rescueAfter = 90 * time.Second

	// maxAttempts with pauses of longestPause at most are about six hours: then a person has to look.
	maxAttempts  = 45
	longestPause = 10 * time.Minute

	maxConns   = 4
	startAgain = time.Second
	stopWithin = 10 * time.Second // what runs when the process stops may take this long
)

// Args are what a job is given: stored as JSON, readable by staff, so that neither personal data nor secrets belong into
// them. Kind names the job, like "orders.drive", and never changes.
type Args = river.JobArgs

// Options for Open.
type Options struct {
	Log     *slog.Logger
	Workers int                                              // jobs that run at once; 0: 8
	Observe func(kind string, took time.Duration, err error) // told of each try; may be nil
}

// Queue is the queue of a domain. Jobs are registered before it runs; then it is safe for concurrent use.
type Queue struct {
	db      *postgres.DB
	schema  string
	pool    *pgxpool.Pool
	workers *river.Workers
	client  *river.Client[pgx.Tx]
	observe func(kind string, took time.Duration, err error)
	log     *slog.Logger
	closed  sync.Once
	audited bool // somebody writes entries of the audit log
}

// Open makes the queue in the schema of a database. The URL leads to a session of the same database, not to a transaction
// pooler: workers wait for jobs by LISTEN. It does not wait for the server.
func Open(ctx context.Context, db *postgres.DB, url, schema string, o Options) (*Queue, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("jobs of %s: the database URL can not be parsed (it is not shown, because it may hold a password)", schema)
	}
	cfg.MaxConns, cfg.MinConns = maxConns, 0
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("jobs of %s: %w", schema, err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(string, time.Duration, error) {}
	}
	if o.Workers == 0 {
		o.Workers = 8
	}
	q := &Queue{db: db, schema: schema, pool: pool, workers: river.NewWorkers(), observe: o.Observe, log: o.Log}
	if q.client, err = river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema: schema, Workers: q.workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: o.Workers}},
		JobTimeout: timeout, RescueStuckJobsAfter: rescueAfter, MaxAttempts: maxAttempts, RetryPolicy: pauses{},
		Logger: slog.New(quiet{o.Log.Handler()}), ErrorHandler: reporter{q}, SoftStopTimeout: stopWithin,
	}); err != nil {
		pool.Close()
		return nil, fmt.Errorf("jobs of %s: %w", schema, err)
	}
	return q, nil
}

// Close frees the connections. It is called after Run has returned.
func (q *Queue) Close() { q.closed.Do(q.pool.Close) }

// Schema is that of the domain.
func (q *Queue) Schema() string { return q.schema }

// Handle says what a kind of job does. An error makes it be tried again after a pause; see Later and Never.
func Handle[A Args](q *Queue, work func(ctx context.Context, args A) error) {
	river.AddWorker(q.workers, river.WorkFunc(func(ctx context.Context, job *river.Job[A]) error {
		began := time.Now()
		err := work(ctx, job.Args)
		var later *river.JobSnoozeError
		if errors.As(err, &later) {
			q.observe(job.Kind, time.Since(began), nil)
		} else {
			q.observe(job.Kind, time.Since(began), err)
		}
		return err
	}))
}

// Every adds a job at an interval, once for all processes, as long as one of them runs the queue. The first comes when
// the queue starts.
func (q *Queue) Every(interval time.Duration, args Args) {
	q.client.PeriodicJobs().Add(river.NewPeriodicJob(river.PeriodicInterval(interval), func() (river.JobArgs, *river.InsertOpts) {
		// One that fell behind is enough: it does what all of them would do.
		return args, &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled}}}
	}, &river.PeriodicJobOpts{RunOnStart: true}))
}

// Add adds a job in a transaction: it runs once that has committed, and not before an instant, which may be zero.
func (q *Queue) Add(ctx context.Context, tx *postgres.Tx, args Args, notBefore time.Time) error {
	if _, err := q.client.InsertTx(ctx, postgres.Raw(tx), args, &river.InsertOpts{ScheduledAt: notBefore}); err != nil {
		return fmt.Errorf("add job %s: %w", args.Kind(), err)
	}
	return nil
}

// Later is the error of a job that is not to be done yet: it is tried again after the pause, which counts as no failure.
func Later(pause time.Duration) error { return river.JobSnooze(pause) }

// Never is the error of a job that is not to be tried again.
func Never(err error) error { return river.JobCancel(err) }

// Run works off jobs until ctx is done; then it takes no more and waits for those that run, for ten seconds at most. While
// the database does not answer, it tries again.
func (q *Queue) Run(ctx context.Context) error {
	// River stops when the context of Start ends.
	for err := q.client.Start(ctx); err != nil; err = q.client.Start(ctx) {
		if ctx.Err() == nil {
			q.log.ErrorContext(ctx, "jobs can not be run; trying again", "domain", q.schema, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(startAgain):
		}
	}
	<-q.client.Stopped()
	return nil
}

// pauses double from one second on.
type pauses struct{}

// NextRetry says when a failed job is tried again.
func (pauses) NextRetry(job *rivertype.JobRow) time.Time {
	pause := longestPause
	if failed := len(job.Errors); failed < 10 {
		pause = min(pause, time.Second<<failed)
	}
	return time.Now().Add(pause)
}

// reporter logs what failed.
type reporter struct{ q *Queue }

// HandleError logs a failed try.
func (r reporter) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	r.q.log.WarnContext(ctx, "job failed", "job", job.Kind, "domain", r.q.schema, "id", job.ID, "attempt", job.Attempt, "error", err)
	return nil
}

// HandlePanic logs a panic.
func (r reporter) HandlePanic(ctx context.Context, job *rivertype.JobRow, panicked any, trace string) *river.ErrorHandlerResult {
	r.q.log.ErrorContext(ctx, "job panicked", "job", job.Kind, "domain", r.q.schema, "id", job.ID, "panic", panicked, "trace", trace)
	return nil
}

// quiet keeps what the library says of its ordinary life out of the log.
type quiet struct{ slog.Handler }

// Enabled lets warnings and errors through.
func (h quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

// WithAttrs stays quiet.
func (h quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{h.Handler.WithAttrs(attrs)} }

// WithGroup stays quiet.
func (h quiet) WithGroup(name string) slog.Handler { return quiet{h.Handler.WithGroup(name)} }
