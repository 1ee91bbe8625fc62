package jobs_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/jobs"
	"emporium/internal/page"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
)

type greet struct {
	Name string `json:"name"`
}

func (greet) Kind() string { return "test.greet" }

type sweep struct{}

func (sweep) Kind() string { return "test.sweep" }

func open(t *testing.T, dbs *pgtest.Databases) *jobs.Queue {
	t.Helper()
	q, err := jobs.Open(t.Context(), dbs.Orders, dbs.URLs["orders"], "orders", jobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

// run runs queues until the test ends.
func run(t *testing.T, queues ...*jobs.Queue) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, len(queues))
	for _, q := range queues {
		go func() { done <- q.Run(ctx) }()
	}
	t.Cleanup(func() {
		stop()
		for range queues {
			if err := <-done; err != nil {
				t.Errorf("the queue stopped: %v", err)
			}
		}
	})
}

func add(t *testing.T, q *jobs.Queue, db *postgres.DB, a jobs.Args, fail error) {
	t.Helper()
	err := db.InTx(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		if err := q.Add(ctx, tx, a, time.Time{}); err != nil {
			return err
		}
		return fail
	})
	if !errors.Is(err, fail) {
		t.Fatal(err)
	}
}

func next(t *testing.T, c <-chan string) string {
	t.Helper()
	select {
	case s := <-c:
		return s
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		return ""
	}
}

func manager(ctx context.Context) context.Context {
	return auth.With(ctx, auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleManager)})
}

// TestJobsComeWithTheirTransaction adds one job in a transaction that fails and one in one that commits, which fails
// itself at first and is put off then.
func TestJobsComeWithTheirTransaction(t *testing.T) {
	t.Parallel()
	dbs := pgtest.New(t)
	q := open(t, dbs)
	ran := make(chan string, 10)
	var tries atomic.Int32
	jobs.Handle(q, func(_ context.Context, a greet) error {
		switch tries.Add(1) {
		case 1:
			return errors.New("not yet")
		case 2:
			return jobs.Later(time.Millisecond)
		}
		ran <- a.Name
		return nil
	})
	add(t, q, dbs.Orders, greet{"never"}, errors.New("undone"))
	add(t, q, dbs.Orders, greet{"Ada"}, nil)
	run(t, q)
	if name := next(t, ran); name != "Ada" {
		t.Errorf("%s was greeted", name)
	}
	qs := jobs.Queues{jobs.Orders: q}
	for { // the job is completed a moment after its work has returned
		c, err := qs.List(manager(t.Context()), jobs.Orders, jobs.Filter{}, page.Args{First: new(10)})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Nodes()) != 1 {
			t.Fatalf("there are %d jobs", len(c.Nodes()))
		}
		j := c.Nodes()[0]
		if j.State != jobs.StateCompleted {
			if t.Context().Err() != nil {
				t.Fatal("it was never completed")
			}
			continue
		}
		if j.Kind != "test.greet" || j.Domain != jobs.Orders || j.Args["name"] != "Ada" || j.LastError == nil || *j.LastError != "not yet" || j.FinalizedAt == nil {
			t.Errorf("the job is %+v", j)
		}
		return
	}
}

// TestSweepsRunOnceForAll runs the queue in two clients, which have the same sweep at a long interval: it runs once.
func TestSweepsRunOnceForAll(t *testing.T) {
	t.Parallel()
	dbs := pgtest.New(t)
	ran := make(chan string, 10)
	var queues []*jobs.Queue
	for range 2 {
		q := open(t, dbs)
		jobs.Handle(q, func(context.Context, sweep) error { ran <- "swept"; return nil })
		q.Every(time.Hour, sweep{})
		queues = append(queues, q)
	}
	run(t, queues...)
	next(t, ran)
	c, err := jobs.Queues{jobs.Orders: queues[0]}.List(manager(t.Context()), jobs.Orders, jobs.Filter{}, page.Args{First: new(10)})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Nodes()) != 1 {
		t.Errorf("there are %d jobs, one was due", len(c.Nodes()))
	}
}

// TestStaffRetries gives a job up, finds it among those, and lets it run again.
func TestStaffRetries(t *testing.T) {
	t.Parallel()
	dbs := pgtest.New(t)
	q := open(t, dbs)
	var mended atomic.Bool
	ran := make(chan string, 10)
	jobs.Handle(q, func(_ context.Context, a greet) error {
		if !mended.Load() {
			ran <- "failed"
			return jobs.Never(errors.New("no such person"))
		}
		ran <- a.Name
		return nil
	})
	add(t, q, dbs.Orders, greet{"Bo"}, nil)
	run(t, q)
	next(t, ran)
	qs := jobs.Queues{jobs.Orders: q}
	ctx := manager(t.Context())
	var job *jobs.Job
	for job == nil {
		c, err := qs.List(ctx, jobs.Orders, jobs.Filter{States: []jobs.State{jobs.StateCancelled}, Kind: new("test.greet")}, page.Args{First: new(1)})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Nodes()) > 0 {
			job = c.Nodes()[0]
		}
	}
	customer := auth.With(t.Context(), auth.Actor{ID: id.New(), Roles: auth.Roles(auth.RoleCustomer)})
	for name, c := range map[string]struct {
		ctx  context.Context
		id   id.ID
		want fault.Code
	}{
		"a customer":        {customer, job.GlobalID(), fault.Forbidden},
		"nobody":            {t.Context(), job.GlobalID(), fault.Unauthenticated},
		"an unknown job":    {ctx, (&jobs.Job{Domain: jobs.Orders, Number: 1 << 40}).GlobalID(), fault.NotFound},
		"an unknown domain": {ctx, (&jobs.Job{Domain: jobs.Users, Number: job.Number}).GlobalID(), fault.NotFound},
		"no job":            {ctx, id.Of(id.Product, id.New()), fault.NotFound},
	} {
		if _, err := qs.Retry(c.ctx, jobs.RetryInput{JobID: c.id}); !fault.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := qs.List(customer, jobs.Orders, jobs.Filter{}, page.Args{First: new(1)}); !fault.Is(err, fault.Forbidden) {
		t.Errorf("a customer sees jobs: %v", err)
	}
	mended.Store(true)
	p, err := qs.Retry(ctx, jobs.RetryInput{JobID: job.GlobalID()})
	if err != nil || p.Job.Number != job.Number || p.Job.State == jobs.StateCancelled {
		t.Fatalf("retry: %+v, %v", p, err)
	}
	if name := next(t, ran); name != "Bo" {
		t.Errorf("it ran as %q", name)
	}
}
