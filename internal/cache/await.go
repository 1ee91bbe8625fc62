package cache

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"emporium/internal/postgres"
)

const (
	// patience is how long a commit waits for a process that is alive but behind, before that one is cut off.
	patience = 300 * time.Millisecond
	// awaitTimeout bounds the wait whatever happens: by then every lease has run out.
	awaitTimeout = patience + 3*leaseTime
	// nudgeAfter is when the log is made to be written out: the position waited for can lie within a record of somebody
	// else's transaction, or in one that was committed asynchronously.
	nudgeAfter = 3 * time.Millisecond
	// slack covers clocks that do not run at quite the same speed.
	slack = 20 * time.Millisecond
)

// others reads where the log is, since when the server takes writes, and how far every process has followed.
var others = postgres.Stmt{Name: "cache.followers", SQL: `
SELECT (` + writtenLSN + ` - '0/0')::bigint AS written,
	coalesce((SELECT extract(epoch FROM clock_timestamp() - backend_start) FROM pg_stat_activity WHERE backend_type = 'walwriter'), 1e6)::float8 AS up,
	r.pid, coalesce((r.replay_lsn - '0/0')::bigint, 0) AS applied
FROM (SELECT 1) AS one LEFT JOIN pg_stat_replication AS r
	ON r.application_name = '` + application + `' || (SELECT oid FROM pg_database WHERE datname = current_database())`}

type other struct {
	Written int64
	Up      float64 // seconds
	PID     *int32
	Applied int64
}

// nudge writes the log out.
var nudge = postgres.Stmt{Name: "cache.nudge", SQL: `SELECT pg_logical_emit_message(true, 'emporium', '')::text FROM set_config('synchronous_commit', 'on', true)`}

// cutOff ends the connections by which processes follow.
var cutOff = postgres.Stmt{Name: "cache.cut_off", SQL: `SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE pid = ANY($1)`}

// Await returns once no process answers from its cache with what is older than the commits of the database up to now: each
// has applied them, or may not use its cache any more. The caller's transactions are committed.
//
// A process that does not follow in time, because it is frozen or cut off from the network, loses its connection, and the
// wait is over when its lease is.
func (f *Follower) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), awaitTimeout)
	defer cancel()
	start := time.Now()
	found, err := f.others(ctx)
	if err != nil {
		return f.blind(ctx, start, err)
	}
	// After a crash nobody has a connection yet, but those of before may have leases.
	if up := time.Duration(found[0].Up * float64(time.Second)); up < leaseTime+slack {
		wait(ctx, leaseTime+slack-up)
	}
	to := uint64(found[0].Written)
	nudged := false
	for pause := pollEvery / 2; ; pause = min(2*pause, 10*time.Millisecond) {
		behind := slices.DeleteFunc(found, func(o other) bool {
			switch {
			case o.PID == nil:
				return true
			case *o.PID == f.own.Load():
				return f.reached(ctx, to, pause)
			default:
				return uint64(o.Applied) >= to
			}
		})
		if len(behind) == 0 {
			return nil
		}
		if time.Since(start) > patience {
			return f.cutOff(ctx, behind)
		}
		if !nudged && time.Since(start) > nudgeAfter {
			nudged = true
			if _, err := postgres.Exec(ctx, f.db, nudge); err != nil {
				return f.blind(ctx, start, err)
			}
		}
		if len(behind) > 1 || *behind[0].PID != f.own.Load() {
			wait(ctx, pause)
			if found, err = f.others(ctx); err != nil {
				return f.blind(ctx, start, err)
			}
		} else {
			found = behind // we know ourselves how far we are
		}
	}
}

func (f *Follower) others(ctx context.Context) ([]other, error) {
	return postgres.Select(ctx, f.db, others, pgx.RowToStructByPos[other])
}

// reached waits a moment for this process to apply the log up to a position, and reports whether it has.
func (f *Follower) reached(ctx context.Context, to uint64, most time.Duration) bool {
	if f.applied.Load() >= to {
		return true
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		f.mu.Lock()
		f.waiting++
		moved := f.moved
		f.mu.Unlock()
		late := false
		if f.applied.Load() < to {
			select {
			case <-moved:
			case <-timer.C:
				late = true
			case <-ctx.Done():
				late = true
			}
		}
		f.mu.Lock()
		f.waiting--
		f.mu.Unlock()
		if reached := f.applied.Load() >= to; reached || late {
			return reached
		}
	}
}

// cutOff makes sure that processes can not renew their leases, and waits until those have run out.
func (f *Follower) cutOff(ctx context.Context, behind []other) error {
	pids := make([]int32, len(behind))
	for i, o := range behind {
		pids[i] = *o.PID
	}
	f.log.WarnContext(ctx, "processes that do not follow the database are cut off", "backends", pids)
	_, err := postgres.Exec(ctx, f.db, cutOff, pids)
	for err == nil {
		var found []other
		if found, err = f.others(ctx); err != nil || !slices.ContainsFunc(found, func(o other) bool { return o.PID != nil && slices.Contains(pids, *o.PID) }) {
			break
		}
		wait(ctx, pollEvery)
	}
	if err != nil {
		return f.blind(ctx, time.Now(), fmt.Errorf("cut off: %w", err))
	}
	wait(ctx, leaseTime+slack)
	return nil
}

// blind waits for as long as a process may hold a lease that has not followed up to a moment; for when nothing can be known.
func (f *Follower) blind(ctx context.Context, from time.Time, err error) error {
	wait(ctx, leaseTime+confirmTimeout+renewEvery+slack-time.Since(from))
	return err
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
