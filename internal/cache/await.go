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
	// unheard bounds the lease of a process that has not applied a commit, from that commit on, whatever else is known of it:
	// see renewal.
	unheard = leaseTime + confirmTimeout + renewEvery
	// awaitTimeout bounds the wait whatever happens.
	awaitTimeout = unheard + leaseTime
	// nudgeAfter is when the log is made to be written out: the position waited for can lie within a record of somebody
	// else's transaction, or in one that was committed asynchronously.
	nudgeAfter = 3 * time.Millisecond
	// slack covers clocks that do not run at quite the same speed.
	slack = 20 * time.Millisecond
)

// others reads where the log is, since when the server takes writes, and who follows, how far, and as of when. Who has not
// begun to stream has no lease: it may be waiting for a transaction that takes long.
var others = postgres.Stmt{Name: "cache.followers", Volatile: true, SQL: `
SELECT (` + writtenLSN + ` - '0/0')::bigint AS written,
	coalesce((SELECT extract(epoch FROM clock_timestamp() - backend_start) FROM pg_stat_activity WHERE backend_type = 'walwriter'), 1e6)::float8 AS up,
	r.pid, coalesce((extract(epoch FROM r.backend_start) * 1e6)::bigint, 0) AS since, coalesce((r.replay_lsn - '0/0')::bigint, 0) AS applied, r.reply_time
FROM (SELECT 1) AS one LEFT JOIN pg_stat_replication AS r
	ON r.application_name = '` + application + `' || (SELECT oid FROM pg_database WHERE datname = current_database()) AND r.state <> 'startup'`}

type other struct {
	Written int64
	Up      float64 // seconds
	PID     *int32
	Since   int64
	Applied int64
	Replied *time.Time
}

// nudge writes the log out.
var nudge = postgres.Stmt{Name: "cache.nudge", SQL: `SELECT pg_logical_emit_message(true, 'emporium', '')::text FROM set_config('synchronous_commit', 'on', true)`}

// cutOff ends the connections by which processes follow.
var cutOff = postgres.Stmt{Name: "cache.cut_off", SQL: `SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE pid = ANY($1)`}

// Await returns once no process answers from its cache with what is older than the commits of the database up to now: each
// has applied them, or may not use its cache any more. The caller's transactions are committed.
//
// A process that does not follow in time, because it is frozen or cut off from the network, loses its connection, and the
// wait is over when its lease is. So it is for one that has lost its connection before, whoever ended that.
func (f *Follower) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), awaitTimeout)
	defer cancel()
	start := time.Now()
	err := f.await(ctx, start)
	if err != nil {
		// Nothing can be known, and no lease lasts longer without the commit.
		wait(ctx, unheard+slack-time.Since(start))
	}
	return err
}

func (f *Follower) await(ctx context.Context, start time.Time) error {
	found, err := f.look(ctx)
	if err != nil {
		return err
	}
	// After a crash nobody has a connection yet, but those of before may have leases.
	crash := now() + int64(leaseTime+slack) - int64(found[0].Up*float64(time.Second))
	to := uint64(found[0].Written)
	nudged := false
	var ended []int32
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
			break
		}
		if time.Since(start) > unheard+slack {
			return nil
		}
		if time.Since(start) > patience {
			if ended, err = f.cutOff(ctx, behind, ended); err != nil {
				return err
			}
		}
		if !nudged && time.Since(start) > nudgeAfter {
			nudged = true
			if _, err := postgres.Exec(ctx, f.db, nudge); err != nil {
				return err
			}
		}
		if len(ended) == 0 && len(behind) == 1 && *behind[0].PID == f.own.Load() {
			found = behind // we know ourselves how far we are
			continue
		}
		wait(ctx, pause)
		if found, err = f.look(ctx); err != nil {
			return err
		}
	}
	for {
		rest := min(time.Duration(max(crash, f.peers.lapse())-now()), unheard+slack-time.Since(start))
		if rest <= 0 {
			return ctx.Err()
		}
		wait(ctx, min(rest, 10*time.Millisecond)) // one of our own connections may be found to have ended
	}
}

// look sees who follows.
func (f *Follower) look(ctx context.Context) ([]other, error) {
	from := now()
	found, err := postgres.Select(ctx, f.db, others, pgx.RowToStructByPos[other])
	if err == nil {
		f.saw(from, found)
	}
	return found, err
}

// lookFrom is look over a connection of our own.
func (f *Follower) lookFrom(ctx context.Context, conn *pgx.Conn) ([]other, error) {
	from := now()
	rows, err := conn.Query(ctx, others.SQL)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[other])
	if err == nil {
		f.saw(from, found)
	}
	return found, err
}

func (f *Follower) saw(from int64, found []other) {
	there := make([]peer, 0, len(found))
	for _, o := range found {
		if o.PID != nil {
			there = append(there, peer{*o.PID, o.Since})
		}
	}
	f.peers.looked(from, now(), there)
}

// watch looks who follows often enough to know of everybody who did, until ctx is done. A commit that comes after a gap has to
// take it that somebody has come and gone.
func (f *Follower) watch(ctx context.Context) {
	tick := time.NewTicker(renewEvery / 3)
	defer tick.Stop()
	for {
		if f.peers.since() > renewEvery {
			looking, cancel := context.WithTimeout(ctx, queryTimeout)
			_, _ = f.look(looking) // whoever waits for others finds out by itself
			cancel()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
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

// cutOff ends the connections of processes, so that they can not renew their leases, unless that was done, and returns whose
// were ended.
func (f *Follower) cutOff(ctx context.Context, behind []other, ended []int32) ([]int32, error) {
	var pids []int32
	for _, o := range behind {
		if !slices.Contains(ended, *o.PID) {
			pids = append(pids, *o.PID)
		}
	}
	if len(pids) == 0 {
		return ended, nil
	}
	f.log.WarnContext(ctx, "processes that do not follow the database are cut off", "backends", pids)
	if _, err := postgres.Exec(ctx, f.db, cutOff, pids); err != nil {
		return ended, fmt.Errorf("cut off: %w", err)
	}
	return append(ended, pids...), nil
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
