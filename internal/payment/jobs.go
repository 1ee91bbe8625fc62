package payment

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/idempotency"
	"emporium/internal/jobs"
	"emporium/internal/payment/provider"
	"emporium/internal/postgres"
)

const (
	// tellAfter is when a job tells an order of its money, which whoever applied the facts tries at once.
	tellAfter = 2 * time.Second

	reconcileEvery = time.Hour
	reconcileBack  = 26 * time.Hour // what the job looks at; a run that failed is made up for
	reconcileFor   = 20 * time.Second
	cleanEvery     = time.Hour
	cleanAtOnce    = 1000
	inboxKept      = 30 * 24 * time.Hour // after it was applied
)

// What the jobs are given.
type (
	tellArgs struct {
		Owner uuid.UUID `json:"owner"`
		Order uuid.UUID `json:"order"`
	}
	syncArgs struct {
		Owner   uuid.UUID `json:"owner"`
		Payment uuid.UUID `json:"payment"`
	}
	commandArgs struct {
		Owner   uuid.UUID `json:"owner"`
		Command uuid.UUID `json:"command"`
	}
	inboxArgs struct {
		ID uuid.UUID `json:"id"`
	}
	reconcileArgs struct { // of no provider: all, over what the job looks at
		Provider string    `json:"provider,omitempty"`
		Since    time.Time `json:"since,omitzero"`
		Cursor   string    `json:"cursor,omitempty"`
	}
	cleanArgs struct{}
)

func (tellArgs) Kind() string      { return "payments.tell" }
func (syncArgs) Kind() string      { return "payments.sync" }
func (commandArgs) Kind() string   { return "payments.command" }
func (inboxArgs) Kind() string     { return "payments.inbox" }
func (reconcileArgs) Kind() string { return "payments.reconcile" }
func (cleanArgs) Kind() string     { return "payments.clean" }

func (s *Service) handleJobs() {
	q := s.cfg.Jobs
	jobs.Handle(q, func(ctx context.Context, a tellArgs) error { return s.tell(ctx, id.Key{Owner: a.Owner, ID: a.Order}) })
	jobs.Handle(q, func(ctx context.Context, a syncArgs) error {
		done, err := s.sync(ctx, id.Key{Owner: a.Owner, ID: a.Payment})
		return s.orLater(ctx, done, err, a.Payment)
	})
	jobs.Handle(q, func(ctx context.Context, a commandArgs) error {
		status, err := s.pursue(ctx, id.Key{Owner: a.Owner, ID: a.Command})
		return s.orLater(ctx, status != CommandPending, err, a.Command)
	})
	jobs.Handle(q, func(ctx context.Context, a inboxArgs) error {
		done, err := s.applyInbox(ctx, a.ID)
		return s.orLater(ctx, done, err, a.ID)
	})
	jobs.Handle(q, func(ctx context.Context, _ cleanArgs) error { return s.clean(ctx, time.Now()) })
	q.Every(cleanEvery, cleanArgs{})
	jobs.Handle(q, func(ctx context.Context, a reconcileArgs) error {
		if a.Provider != "" {
			return s.reconcilePart(ctx, a)
		}
		return s.inTx(ctx, "reconcile", func(ctx context.Context, tx *postgres.Tx) error {
			for name := range s.cfg.Providers {
				if err := s.later(ctx, tx, reconcileArgs{Provider: name, Since: time.Now().Add(-reconcileBack)}, time.Time{}); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if len(s.cfg.Providers) > 0 {
		q.Every(reconcileEvery, reconcileArgs{})
	}
}

// orLater ends a try of a job about a row. What is not done yet is tried again for as long as it takes; and so it is when
// the provider does not answer, which is no failure of ours that would be given up at some time.
func (s *Service) orLater(ctx context.Context, done bool, err error, row uuid.UUID) error {
	switch {
	case err != nil && !provider.IsTemporary(err):
		return err
	case err != nil:
		s.cfg.Log.WarnContext(ctx, "a provider does not answer; trying again later", "row", row, "error", err)
	case done:
		return nil
	}
	return jobs.Later(pause(age(row)))
}

// later adds a job.
func (s *Service) later(ctx context.Context, tx *postgres.Tx, args jobs.Args, notBefore time.Time) error {
	if s.cfg.Jobs == nil {
		return errors.New("payment: there is no queue of jobs")
	}
	return s.cfg.Jobs.Add(ctx, tx, args, notBefore)
}

// age is how old a row is, going by its key.
func age(key uuid.UUID) time.Duration {
	made, err := id.Time(key)
	if err != nil {
		return 0
	}
	return time.Since(made)
}

// pause is how long to wait for news of something that is so old: they become rarer.
func pause(age time.Duration) time.Duration { return min(max(age/4, 2*time.Second), time.Hour) }

// clean deletes what is of no use any more.
func (s *Service) clean(ctx context.Context, now time.Time) error {
	for {
		n, err := idempotency.DeleteBefore(ctx, s.db, keys, now.Add(-idempotency.TTL), cleanAtOnce)
		if err != nil {
			return err
		}
		m, err := postgres.Exec(ctx, s.db, postgres.Stmt{Name: "payments.clean_inbox", SQL: `DELETE FROM payments.inbox WHERE applied_at < $1
			AND (provider, event_id) IN (SELECT provider, event_id FROM payments.inbox WHERE applied_at < $1 ORDER BY applied_at LIMIT $2)`,
			Reads: postgres.All("payments.inbox")}, now.Add(-inboxKept), cleanAtOnce)
		if err != nil || n < cleanAtOnce && m < cleanAtOnce {
			return err
		}
	}
}
