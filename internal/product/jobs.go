package product

import (
	"context"
	"log/slog"
	"time"

	"emporium/internal/idempotency"
	"emporium/internal/jobs"
)

// publishJob publishes and unpublishes products whose time has come.
type publishJob struct{}

// Kind names the job.
func (publishJob) Kind() string { return "products.publish" }

// expireJob releases holds that have expired.
type expireJob struct{}

// Kind names the job.
func (expireJob) Kind() string { return "products.expire_holds" }

// cleanJob forgets what is of no more use.
type cleanJob struct{}

// Kind names the job.
func (cleanJob) Kind() string { return "products.clean" }

// jobLimit is how many rows a job takes at once; it goes on until there are fewer.
const jobLimit = 500

// RunJobs gives the service the queue of the domain, and says what its jobs do. It is called before any verb; without it nothing
// is recorded in the audit log.
func (s *Service) RunJobs(q *jobs.Queue, log *slog.Logger) {
	s.jobs = q
	all := func(ctx context.Context, what string, do func() (int, error)) error {
		for total := 0; ; {
			n, err := do()
			total += n
			if total > 0 && (err != nil || n < jobLimit) {
				log.InfoContext(ctx, what, "count", total)
			}
			if err != nil || n < jobLimit {
				return err
			}
		}
	}
	jobs.Handle(q, func(ctx context.Context, _ publishJob) error {
		return all(ctx, "products published or unpublished as planned", func() (int, error) { return s.PublishDue(ctx, time.Now(), jobLimit) })
	})
	q.Every(5*time.Second, publishJob{})
	jobs.Handle(q, func(ctx context.Context, _ expireJob) error {
		return all(ctx, "holds of orders expired", func() (int, error) { return s.ReleaseExpired(ctx, time.Now(), jobLimit) })
	})
	q.Every(30*time.Second, expireJob{})
	jobs.Handle(q, func(ctx context.Context, _ cleanJob) error {
		return all(ctx, "idempotency keys forgotten", func() (int, error) {
			return s.ForgetKeys(ctx, time.Now().Add(-idempotency.TTL), jobLimit)
		})
	})
	q.Every(10*time.Minute, cleanJob{})
}
