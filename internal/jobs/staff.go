package jobs

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"emporium/internal/audit"
	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/postgres"
)

// Domain says whose queue a job is in; the schema in capitals.
type Domain string

const (
	Users    Domain = "USERS"
	Products Domain = "PRODUCTS"
	Orders   Domain = "ORDERS"
	Payments Domain = "PAYMENTS"
)

// domains are numbered for IDs.
var domains = []Domain{Users, Products, Orders, Payments}

// schema is the Postgres schema of the domain.
func (d Domain) schema() string { return strings.ToLower(string(d)) }

// Queues are those of all domains, by domain. What is not served here is missing.
type Queues map[Domain]*Queue

// State tells where a job is; River's words in capitals.
type State string

const (
	StateAvailable State = "AVAILABLE"
	StatePending   State = "PENDING"
	StateScheduled State = "SCHEDULED"
	StateRunning   State = "RUNNING"
	StateRetryable State = "RETRYABLE"
	StateCompleted State = "COMPLETED"
	StateCancelled State = "CANCELLED"
	StateDiscarded State = "DISCARDED"
)

// Job is a job in a queue, for staff.
type Job struct {
	Domain      Domain
	Number      int64
	Kind        string
	State       State
	Args        map[string]any
	Attempt     int
	MaxAttempts int
	LastError   *string // of the latest try that failed
	CreatedAt   time.Time
	ScheduledAt time.Time // when it is, or was, to run
	AttemptedAt *time.Time
	FinalizedAt *time.Time
}

// GlobalID returns the ID in the graph: the domain's number and the job's, in the form of a UUID.
func (j *Job) GlobalID() id.ID {
	var key uuid.UUID
	key[0] = byte(slices.Index(domains, j.Domain))
	binary.BigEndian.PutUint64(key[8:], uint64(j.Number))
	return id.Of(id.Job, key)
}

// find returns the queue and the number that an ID stands for.
func (qs Queues) find(job id.ID) (*Queue, int64, bool) {
	if job.Kind != id.Job || int(job.Key[0]) >= len(domains) {
		return nil, 0, false
	}
	q := qs[domains[job.Key[0]]]
	return q, int64(binary.BigEndian.Uint64(job.Key[8:])), q != nil
}

// Filter says which jobs; all that is given has to match.
type Filter struct {
	States []State
	Kind   *string
}

// JobEdge is a job in a list.
type JobEdge = page.Edge[*Job]

// Connection is a page of jobs.
type Connection = page.Connection[*Job]

// requireManager lets managers and admins through.
func requireManager(ctx context.Context) error {
	switch {
	case auth.Has(ctx, auth.RoleManager, auth.RoleAdmin):
		return nil
	case !auth.From(ctx).SignedIn():
		return fault.New(fault.Unauthenticated, "sign in to see jobs")
	default:
		return fault.New(fault.Forbidden, "your roles do not allow this")
	}
}

// List returns a page of a domain's jobs, the newest first; for managers and admins. River keeps what is done for a day, and
// what was given up for a week.
func (qs Queues) List(ctx context.Context, domain Domain, f Filter, args page.Args) (*Connection, error) {
	if err := requireManager(ctx); err != nil {
		return nil, err
	}
	name := "jobs/" + string(domain)
	w, err := args.Window(name, 1)
	if err != nil {
		return nil, err
	}
	q := qs[domain]
	if q == nil {
		return nil, fault.Input("this domain has no jobs here", "domain")
	}
	var b postgres.Builder
	if f.States != nil {
		b.And("upper(state::text) = ANY(?)", f.States)
	}
	if f.Kind != nil {
		b.And("kind = ?", *f.Kind)
	}
	tail, err := b.Page(w, []postgres.Key{{Expr: "id", Cast: "bigint", Desc: true}})
	if err != nil {
		return nil, err
	}
	rows, err := postgres.Select(ctx, q.db, q.stmt("jobs", b.Where()+tail), q.scan, b.Args()...)
	if err != nil {
		return nil, err
	}
	return new(page.Build(w, rows, func(j *Job) string { return page.Cursor(name, strconv.FormatInt(j.Number, 10)) })), nil
}

func (q *Queue) stmt(name, tail string) postgres.Stmt {
	table := q.schema + ".river_job"
	// Jobs change all the time, and nobody is told: it is not worth following them.
	return postgres.Stmt{Name: q.schema + "." + name, Reads: postgres.All(table), Volatile: true,
		SQL: `SELECT id, kind, upper(state::text), args, attempt, max_attempts, errors[cardinality(errors)]->>'error', created_at,
			scheduled_at, attempted_at, finalized_at FROM ` + table + tail}
}

func (q *Queue) scan(row pgx.CollectableRow) (*Job, error) {
	j := &Job{}
	for _, d := range domains {
		if q.schema == d.schema() {
			j.Domain = d
		}
	}
	return j, row.Scan(&j.Number, &j.Kind, &j.State, &j.Args, &j.Attempt, &j.MaxAttempts, &j.LastError, &j.CreatedAt,
		&j.ScheduledAt, &j.AttemptedAt, &j.FinalizedAt)
}

// RetryInput is the job to be tried again at once.
type RetryInput struct{ JobID id.ID }

// RetryPayload is the job after that.
type RetryPayload struct {
	Job        *Job
	UserErrors []fault.Problem
}

// Retry lets a job that has failed, was given up or waits for its time run at once; for managers and admins. One that
// runs already, or is done, stays as it is.
func (qs Queues) Retry(ctx context.Context, in RetryInput) (*RetryPayload, error) {
	if err := requireManager(ctx); err != nil {
		return nil, err
	}
	unknown := &fault.Error{Code: fault.NotFound, Message: "there is no such job", Field: []string{"input", "jobId"}}
	q, number, ok := qs.find(in.JobID)
	if !ok {
		return nil, unknown
	}
	var job *Job
	err := q.db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) (err error) {
		var found bool
		job, found, err = postgres.First(ctx, tx, q.stmt("job", " WHERE id = $1 FOR UPDATE"), q.scan, number)
		switch {
		case err != nil:
			return err
		case !found:
			return unknown
		case job.State == StateCompleted || job.State == StateRunning:
			return nil
		}
		waits := job.State == StateAvailable && !job.ScheduledAt.After(time.Now())
		if _, err := q.client.JobRetryTx(ctx, postgres.Raw(tx), number); errors.Is(err, river.ErrNotFound) {
			return unknown
		} else if err != nil || waits { // it would have run at once anyway
			return err
		}
		if err := q.Audit(ctx, tx, audit.Of(ctx, audit.JobRetried, in.JobID, audit.Details{"kind": job.Kind, "state": job.State})...); err != nil {
			return err
		}
		job, _, err = postgres.First(ctx, tx, q.stmt("job", " WHERE id = $1"), q.scan, number)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &RetryPayload{Job: job}, nil
}
