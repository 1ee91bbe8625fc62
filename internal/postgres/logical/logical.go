// Package logical follows a Postgres database by its logical replication: it tells a Sink which rows have changed, commit
// by commit, in the order of the log. It speaks the protocol itself, over a connection of pgconn, for the plugin pgoutput
// that comes with Postgres 15 and later.
//
// A Stream uses a temporary slot, which the server drops with the connection: nothing is left behind that would keep the
// log from being recycled, and what happens while there is no Stream is not told to anybody. Who keeps something for
// which that matters has to drop it whenever a Stream ends.
//
// The log holds rows, not statements. Of CREATE, ALTER and DROP it shows only that a relation looks different when a row
// of it changes next (Sink.Schema), and rows that an ALTER TABLE rewrites or a DROP TABLE removes are not told.
package logical

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	defaultTimeout      = 10 * time.Second
	defaultStartTimeout = time.Minute

	// quiet is how long nothing may come before the server is asked for a sign of life.
	quiet = 10 * time.Second
)

// LSN is a position in the write-ahead log.
type LSN uint64

// String writes a position as Postgres does: 16/B374D848.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

// ParseLSN reads what String writes.
func ParseLSN(text string) (LSN, error) {
	high, low, ok := strings.Cut(text, "/")
	h, err1 := strconv.ParseUint(high, 16, 32)
	l, err2 := strconv.ParseUint(low, 16, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("%q is not a position in the log, such as 16/B374D848", text)
	}
	return LSN(h<<32 | l), nil
}

// Options for Open.
type Options struct {
	URL         string // of the database; it leads to the server itself, not to a pooler
	Publication string
	Application string // application_name, of which the server keeps 63 bytes

	// Wants returns the columns, each once, whose values the sink is to be told, for a relation; nil: none. It is called
	// by Open for each table of the publication, and by Run when the server describes a relation for the first time or
	// anew.
	Wants func(schema, table string) []string

	Timeout time.Duration // for connecting, for each command, and for an answer while streaming; 0: 10 s
	// StartTimeout bounds the creation of the slot, which waits for every transaction that is running in any database of
	// the server; 0: a minute.
	StartTimeout time.Duration
}

// Sink is told what happens, by the goroutine that called Run, in the order of the log. While it is busy nothing is read,
// and the server, which gives up after wal_sender_timeout, is not answered.
type Sink interface {
	// Begin starts a transaction that has committed at that position; what it changed follows, until Commit.
	Begin(xid uint32, commit LSN)
	// Changed is called once for each row that was inserted, updated or deleted, before its calls of Row.
	Changed(relation *Relation)
	// Row tells a value of a wanted column, by its index in Relation.Columns: the old one and the new one, or only one if
	// they are equal. NULL is not told. The value is in the type's binary form (16 bytes of a UUID, the bytes of a
	// text), or text for a type that has none. It may not be kept: it is in a buffer that is used again.
	Row(relation *Relation, column int, value []byte)
	// Truncate tells that all rows of a relation have been removed.
	Truncate(relation *Relation)
	// Schema tells that a relation looks different from how it was described before in this stream: other columns, other
	// types, another name, or another relation of the same name. Its Tag is empty.
	Schema(relation *Relation)
	// Commit ends the transaction. Its record in the log lies between commit and end.
	Commit(xid uint32, commit, end LSN)
	// Position tells that everything that committed before end has been told. It never goes back. It is called after each
	// Commit and at every sign of life of the server, also when there is nothing new, and also amid a long transaction, which
	// has committed after it.
	Position(end LSN)
}

// Relation is a table as the server has described it. It stays the same pointer for as long as the description does.
type Relation struct {
	Schema, Name string
	Columns      []string // those that are wanted
	Tag          any      // whatever the sink likes to remember; nil at first

	oid         uint32
	description []byte // the message that described it, to compare with
	wanted      []int  // by the number of a column: its index in Columns, or -1
	old, new    [][]byte
}

// Stream is a connection on which the server tells what is committed. Run is called once; the other methods may be called
// from any goroutine at any time.
type Stream struct {
	conn       net.Conn
	frontend   *pgproto3.Frontend
	decoder    decoder
	timeout    time.Duration
	quiet      time.Duration
	pid        uint32
	system     string
	consistent LSN
	published  []string

	streaming bool // otherwise the server can not be asked for anything
	closed    atomic.Bool

	mu        sync.Mutex // of all that is written
	confirmed LSN
	at        int64 // of the confirmation
	update    []byte
	broken    error // why nothing can be written any more
}

// Open connects, checks that everything is in place (wal_level, the publication, its tables and their replica identity,
// the wanted columns), makes a slot and starts streaming. It returns once the slot is consistent; Run has to be called
// soon after, because the server gives up on who does not answer (wal_sender_timeout). The error is a *SetupError if
// trying again is of no use before somebody has changed something. No error holds the URL or a password.
func Open(ctx context.Context, o Options) (*Stream, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = defaultStartTimeout
	}
	if o.Wants == nil {
		o.Wants = func(string, string) []string { return nil }
	}
	conn, err := connect(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("logical replication: %w", explain(err))
	}
	s, err := open(ctx, conn, o)
	if err != nil {
		// The context may have ended, and what is left to do takes no time.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // of no use any more
		return nil, fmt.Errorf("logical replication: %w", explain(err))
	}
	return s, nil
}

func connect(ctx context.Context, o Options) (*pgconn.PgConn, error) {
	// The pool's parser, because the URL may hold settings of a pool, which the server would not know.
	pool, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, &SetupError{Problem: "the database URL can not be parsed, or names files that can not be read",
			Remedy: "correct it (it is not shown, because it may hold a password)"}
	}
	cfg := pool.ConnConfig.Config.Copy()
	cfg.RuntimeParams["replication"] = "database"
	if o.Application != "" {
		cfg.RuntimeParams["application_name"] = o.Application
	}
	// Whatever the role or the database has set: waiting for transactions is waiting for their locks, and Postgres 18 only
	// warns of a publication that is gone.
	cfg.RuntimeParams["lock_timeout"] = "0"
	cfg.RuntimeParams["client_min_messages"] = "warning"
	cfg.ConnectTimeout = o.Timeout
	// A command that takes too long is cancelled on the server: one that waits for transactions would not notice that we
	// are gone, and keep its slot.
	cfg.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 2 * time.Second}
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	return pgconn.ConnectConfig(ctx, cfg)
}

func open(ctx context.Context, conn *pgconn.PgConn, o Options) (*Stream, error) {
	s := &Stream{pid: conn.PID(), timeout: o.Timeout, quiet: quiet, decoder: decoder{wants: o.Wants}}
	system, err := query(ctx, conn, o.Timeout, "IDENTIFY_SYSTEM")
	if err != nil {
		return nil, fmt.Errorf("identify the server: %w", err)
	}
	if len(system) != 1 || len(system[0]) < 2 {
		return nil, errors.New("the server does not say who it is")
	}
	s.system = system[0][0] + "/" + system[0][1]
	if s.published, err = check(ctx, conn, o); err != nil {
		return nil, err
	}
	slot := "emporium_" + strings.ToLower(rand.Text()[:16])
	created, err := query(ctx, conn, o.StartTimeout,
		"CREATE_REPLICATION_SLOT "+slot+" TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')")
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("creating the slot took longer than %s: it waits for all transactions that run in any "+
				"database of the server (pg_stat_activity and pg_prepared_xacts show them): %w", o.StartTimeout, err)
		}
		return nil, fmt.Errorf("create the slot: %w", err)
	}
	if len(created) != 1 || len(created[0]) < 2 {
		return nil, errors.New("create the slot: unknown answer of the server")
	}
	if s.consistent, err = ParseLSN(created[0][1]); err != nil {
		return nil, fmt.Errorf("create the slot: %w", err)
	}
	s.decoder.position = s.consistent
	if err := s.start(ctx, conn, slot, o.Publication); err != nil {
		return nil, fmt.Errorf("start streaming: %w", err)
	}
	return s, nil
}

// start takes the connection from pgconn, which would set up a watch of the context for each message.
func (s *Stream) start(ctx context.Context, conn *pgconn.PgConn, slot, publication string) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := conn.SyncConn(bounded); err != nil {
		return err
	}
	taken, err := conn.Hijack()
	if err != nil {
		return err
	}
	s.conn = taken.Conn
	s.frontend = pgproto3.NewFrontend(patient{s}, nil)
	started := false
	defer func() {
		if !started {
			_ = s.conn.Close() // pgconn does not know it any more
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	defer stop()

	name := strings.ReplaceAll(`"`+strings.ReplaceAll(publication, `"`, `""`)+`"`, "'", "''")
	message, err := (&pgproto3.Query{String: "START_REPLICATION SLOT " + slot + " LOGICAL 0/0 (proto_version '1', " +
		"publication_names '" + name + "', binary 'true')"}).Encode(nil)
	if err != nil {
		return err
	}
	if err := s.write(message); err != nil {
		return err
	}
	for {
		message, err := s.frontend.Receive()
		if ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			return err
		}
		switch m := message.(type) {
		case *pgproto3.CopyBothResponse:
			if !stop() {
				return ctx.Err()
			}
			started, s.streaming = true, true
			return nil
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(m)
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		default:
			return fmt.Errorf("the server sends %T instead of starting", m)
		}
	}
}

// query runs a command and returns the rows of its only result as text; NULL is empty.
func query(ctx context.Context, conn *pgconn.PgConn, timeout time.Duration, sql string) ([][]string, error) {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results, err := conn.Exec(bounded, sql).ReadAll()
	if err != nil {
		if end := bounded.Err(); end != nil { // the server says only that it was asked to cancel
			return nil, fmt.Errorf("%w: %w", end, err)
		}
		return nil, err
	}
	var rows [][]string
	for _, result := range results {
		for _, values := range result.Rows {
			row := make([]string, len(values))
			for i, value := range values {
				row[i] = string(value)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// Consistent returns the position from which on everything that commits is told.
func (s *Stream) Consistent() LSN { return s.consistent }

// PID returns the process on the server that sends the stream, for pg_terminate_backend.
func (s *Stream) PID() uint32 { return s.pid }

// System returns the identifier of the server's data and its timeline, "7234567890123456789/1": positions of streams are
// comparable if it is the same.
func (s *Stream) System() string { return s.system }

// Published returns the tables of the publication when the stream was opened, as "schema.table", sorted.
func (s *Stream) Published() []string { return s.published }

// Run tells the sink what happens until the connection is lost or ctx is done, and closes the stream. It always returns
// an error: that of ctx, net.ErrClosed after Close, a *SetupError, or why the connection was lost.
func (s *Stream) Run(ctx context.Context, sink Sink) error {
	defer s.Close()
	// Only a closed connection ends a read at once.
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	err := s.run(sink)
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case s.closed.Load():
		err = net.ErrClosed
	case errors.Is(err, net.ErrClosed): // by a write that has failed
		s.mu.Lock()
		err = s.broken
		s.mu.Unlock()
	}
	return fmt.Errorf("logical replication: %w", explain(err))
}

func (s *Stream) run(sink Sink) error {
	for {
		message, err := s.frontend.Receive()
		if err != nil {
			return fmt.Errorf("the connection is lost: %w", err)
		}
		switch m := message.(type) {
		case *pgproto3.CopyData:
			asked, err := s.decoder.message(m.Data, sink)
			if err != nil {
				return err
			}
			if asked {
				if err := s.answer(false); err != nil {
					return err
				}
			}
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(m)
		case *pgproto3.NoticeResponse:
			// Postgres 18 goes on without a publication that is gone, and warns.
			if m.Code == "55000" {
				return &SetupError{Problem: "the server warns: " + m.Message, Remedy: "create the publication again"}
			}
		case *pgproto3.ParameterStatus:
		default:
			return fmt.Errorf("the server ends the stream (%T)", m)
		}
	}
}

// patient reads from the connection, and asks the server for a sign of life when nothing comes for a while.
type patient struct{ s *Stream }

func (p patient) Read(into []byte) (int, error) {
	s := p.s
	wait, asked := s.quiet, false
	if !s.streaming {
		wait, asked = s.timeout, true
	}
	for ; ; wait, asked = s.timeout, true {
		if err := s.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return 0, err
		}
		n, err := s.conn.Read(into)
		if n > 0 || err == nil {
			return n, nil
		}
		var late net.Error
		if !errors.As(err, &late) || !late.Timeout() {
			return 0, err
		}
		if asked {
			return 0, fmt.Errorf("the server has not answered for %s: %w", s.timeout, err)
		}
		if err := s.answer(true); err != nil {
			return 0, err
		}
	}
}

// Confirm reports to the server that everything before a position has been applied, as of a moment of the caller's clock,
// which pg_stat_replication shows as reply_time. A smaller position or an earlier moment than one before changes nothing.
// Whatever else is sent to the server, because it asks or is asked for a sign of life, repeats both as they were
// confirmed last. It takes Timeout at most.
func (s *Stream) Confirm(position LSN, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed = max(s.confirmed, position)
	s.at = max(s.at, at.UnixMicro()-epoch)
	if err := s.status(false); err != nil {
		return fmt.Errorf("logical replication: confirm: %w", err)
	}
	return nil
}

// epoch is that of Postgres, 2000-01-01, in microseconds of Unix.
const epoch = 946_684_800_000_000

// answer sends what was confirmed last, and may ask for an answer.
func (s *Stream) answer(ask bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status(ask)
}

// status sends a standby status update; s.mu is locked.
func (s *Stream) status(ask bool) error {
	s.update = appendStatus(s.update[:0], s.confirmed, s.at, ask)
	return s.send(s.update)
}

func (s *Stream) write(message []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send(message)
}

// send writes a message; s.mu is locked. After a failure nothing is written any more, because half a message may be out:
// so who waits for its turn waits no longer than the one before.
func (s *Stream) send(message []byte) error {
	if s.broken != nil {
		return s.broken
	}
	err := s.conn.SetWriteDeadline(time.Now().Add(s.timeout))
	if err == nil {
		_, err = s.conn.Write(message)
	}
	if err != nil {
		s.broken = err
		_ = s.conn.Close() // so that Run ends too
	}
	return err
}

// Close ends the stream: Run returns, and the server drops the slot. Calling it again does nothing.
func (s *Stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	// Whoever is writing right now may be stuck, and is freed by closing the connection.
	if s.mu.TryLock() {
		if s.broken == nil {
			// The server takes a word of farewell for the end, a cut connection for a fault to be logged.
			if err := s.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err == nil {
				_, _ = s.conn.Write([]byte{'X', 0, 0, 0, 4})
			}
			s.broken = net.ErrClosed
		}
		s.mu.Unlock()
	}
	if err := s.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("logical replication: close: %w", err)
	}
	return nil
}
