package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// cancelDeadline bounds the cancellation of a statement.
const cancelDeadline = 2 * time.Second

// canceller asks the server to cancel the statement whose context ends, and keeps the connection; pgx's default closes it.
// A request to cancel names a connection, not a statement. It comes on a connection of its own, and its end says that it was
// delivered; pgx's CancelRequestContextWatcherHandler hangs up without waiting for that, so that on a busy server it may hit
// whatever runs next. Here the next statement waits for it, or runs on another connection.
type canceller struct {
	conn *pgconn.PgConn
	done chan error
}

// lateCancel marks a connection to which a request to cancel may still come.
const lateCancel = "late cancel"

// HandleCancel is called when the context has ended.
func (c *canceller) HandleCancel(context.Context) {
	deadline := time.Now().Add(cancelDeadline)
	_ = c.conn.Conn().SetDeadline(deadline) // fails when it is closed
	c.done = make(chan error, 1)
	go func() {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		defer cancel()
		err := c.conn.CancelRequest(ctx)
		if err == nil {
			err = ctx.Err() // it does not say so
		}
		c.done <- err
	}()
}

// HandleUnwatchAfterCancel is called after HandleCancel, before the connection is used again.
func (c *canceller) HandleUnwatchAfterCancel() {
	if err := <-c.done; err != nil {
		c.conn.CustomData()[lateCancel] = true
	}
	_ = c.conn.Conn().SetDeadline(time.Time{})
}

// usable reports whether what is sent over a connection can not be hit by an earlier cancellation.
func usable(_ context.Context, conn *pgx.Conn) (bool, error) {
	return conn.PgConn().CustomData()[lateCancel] == nil, nil
}
