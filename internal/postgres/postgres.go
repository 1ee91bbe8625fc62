// Package postgres is the way to a database: a pool, transactions, and one small helper through which every statement
// goes. Each statement has a name, by which it is counted and traced, and declares the tags of what it reads, which are
// recorded for whoever asked for a Recorder in the context. The raw pool is not exported.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"emporium/internal/fault"
)

// statementDeadline bounds a statement whose context has no deadline of its own.
const statementDeadline = 15 * time.Second

// rollbackDeadline bounds a rollback; a connection on which it takes longer is closed.
const rollbackDeadline = 5 * time.Second

// Stmt is a statement: its name, its text with $1 … parameters, and what it reads.
type Stmt struct {
	Name  string // like "orders.lines_by_order"; unique in the program, a label of metrics
	SQL   string
	Reads []Read

	// Later are relations of which the rows that are found tell what is read; see SelectThen.
	Later []string

	// Volatile says that the rows depend on what no tag stands for: on the time, by a function or a parameter, or on what
	// nobody follows the changes of. An answer that is made of them can not be kept.
	Volatile bool
}

// Observer is told of each statement that was run: its name, how long it took and how it ended. Called from many
// goroutines.
type Observer func(statement string, took time.Duration, err error)

// Options for Open.
type Options struct {
	MaxConns int      // connections at most; 0: what the URL says, otherwise 16
	Pooled   bool     // the URL leads to a transaction pooler such as PgBouncer: no statement stays prepared on a connection
	Observe  Observer // may be nil
	Explain  Explain  // may be nil; for tests
}

// Explain is told of each statement before it is run, with a function that runs a query on the same connection.
type Explain func(ctx context.Context, s Stmt, args []any, run func(ctx context.Context, sql string, args ...any) (string, error))

// DB is a database. It is safe for concurrent use.
type DB struct {
	pool    *pgxpool.Pool
	observe Observer
	explain Explain
}

// Open makes a pool for the URL (or keyword string). It does not wait for the server: a server that is down shows in
// Ping and in the first statement.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", redact(err))
	}
	if o.MaxConns > 0 {
		cfg.MaxConns = int32(o.MaxConns)
	} else if cfg.MaxConns < 16 {
		cfg.MaxConns = 16
	}
	if o.Pooled && cfg.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	cfg.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler { return &canceller{conn: conn} }
	cfg.PrepareConn = usable
	cfg.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		// Times are UTC inside as outside; pgx's default is the machine's zone.
		conn.TypeMap().RegisterType(&pgtype.Type{Name: "timestamptz", OID: pgtype.TimestamptzOID,
			Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC}})
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("database pool: %w", redact(err))
	}
	observe := o.Observe
	if observe == nil {
		observe = func(string, time.Duration, error) {}
	}
	return &DB{pool: pool, observe: observe, explain: o.Explain}, nil
}

// redact keeps a password in a URL out of an error: pgx repeats the text that it could not parse.
func redact(err error) error {
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		return errors.New("can not be parsed, or names files that can not be read (it is not shown, because it may hold a password)")
	}
	return err
}

// Close waits for running statements and closes all connections.
func (db *DB) Close() { db.pool.Close() }

// Ping asks the server for a sign of life.
func (db *DB) Ping(ctx context.Context) error { return db.pool.Ping(ctx) }

// PoolStat are the figures of the pool, for metrics.
type PoolStat struct {
	Acquired, Idle, Max int32         // connections
	Waited              int64         // acquisitions that had to wait
	WaitTime            time.Duration // spent in them
}

// Stat returns the figures of the pool.
func (db *DB) Stat() PoolStat {
	s := db.pool.Stat()
	return PoolStat{Acquired: s.AcquiredConns(), Idle: s.IdleConns(), Max: s.MaxConns(),
		Waited: s.EmptyAcquireCount(), WaitTime: s.EmptyAcquireWaitTime()}
}

// Querier is a DB or a Tx.
type Querier interface {
	begin(ctx context.Context, s Stmt, args []any) (context.Context, func(error), error)
	query(ctx context.Context, sql string, args []any) (pgx.Rows, error)
}

// Tx is a transaction; see DB.InTx. It is used by one goroutine at a time.
type Tx struct {
	tx pgx.Tx
	db *DB
}

// Raw returns pgx's own transaction, for package jobs, whose library writes into the transaction of a change.
func Raw(tx *Tx) pgx.Tx { return tx.tx }

func (db *DB) query(ctx context.Context, sql string, args []any) (pgx.Rows, error) {
	return db.pool.Query(ctx, sql, encodable(args)...)
}

func (tx *Tx) query(ctx context.Context, sql string, args []any) (pgx.Rows, error) {
	return tx.tx.Query(ctx, sql, encodable(args)...)
}

// encodable puts types that pgx encodes as they are in place of UUIDs, which it would turn into text and back.
func encodable(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		switch a := arg.(type) {
		case uuid.UUID:
			out[i] = pgtype.UUID{Bytes: a, Valid: true}
		case *uuid.UUID:
			if a != nil {
				out[i] = pgtype.UUID{Bytes: *a, Valid: true}
			}
		case []uuid.UUID:
			if a == nil {
				continue
			}
			keys := make(pgtype.FlatArray[pgtype.UUID], len(a))
			for j, key := range a {
				keys[j] = pgtype.UUID{Bytes: key, Valid: true}
			}
			out[i] = keys
		default:
			out[i] = arg
		}
	}
	return out
}

func (tx *Tx) begin(ctx context.Context, s Stmt, args []any) (context.Context, func(error), error) {
	return tx.db.start(ctx, s, args, tx)
}

func (db *DB) begin(ctx context.Context, s Stmt, args []any) (context.Context, func(error), error) {
	return db.start(ctx, s, args, db)
}

func (db *DB) start(ctx context.Context, s Stmt, args []any, on Querier) (context.Context, func(error), error) {
	if err := spend(ctx); err != nil {
		return nil, nil, err
	}
	if db.explain != nil {
		db.explain(ctx, s, args, func(ctx context.Context, sql string, args ...any) (string, error) {
			rows, err := on.query(ctx, sql, args)
			if err != nil {
				return "", err
			}
			return pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
		})
	}
	if r := recorderFrom(ctx); r != nil {
		r.add(db, s)
	}
	cancel := func() {}
	if _, bounded := ctx.Deadline(); !bounded {
		ctx, cancel = context.WithTimeout(ctx, statementDeadline)
	}
	began := time.Now()
	return ctx, func(err error) {
		cancel()
		db.observe(s.Name, time.Since(began), err)
	}, nil
}

// Select runs a statement and returns its rows, each read by scan (for example pgx.RowToAddrOfStructByName).
func Select[T any](ctx context.Context, q Querier, s Stmt, scan pgx.RowToFunc[T], args ...any) (found []T, err error) {
	ctx, done, err := q.begin(ctx, s, args)
	if err != nil {
		return nil, err
	}
	defer func() { done(err) }()
	rows, err := q.query(ctx, s.SQL, args)
	if err != nil {
		return nil, named(ctx, s, err)
	}
	if found, err = pgx.CollectRows(rows, scan); err != nil {
		return nil, named(ctx, s, err)
	}
	return found, nil
}

// SelectThen is Select for a statement that reads rows whose keys stand in others of its rows, such as the options of a
// variant that was asked for by its ID: then returns what was read of the relations in Later. It is no mistake to learn
// of them so late: a reader's position in the log is from before its first statement.
func SelectThen[T any](ctx context.Context, q Querier, s Stmt, scan pgx.RowToFunc[T], then func(found []T) []Read, args ...any) ([]T, error) {
	found, err := Select(ctx, q, s, scan, args...)
	if r := recorderFrom(ctx); r != nil && err == nil {
		r.also(then(found))
	}
	return found, err
}

// named puts the statement's name before an error. A statement that the server has cancelled because the context ended
// fails as the context did. Text that no Postgres database can hold (U+0000) came from outside
// and is not our failure.
func named(ctx context.Context, s Stmt, err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "22021" || pg.Code == "22P05") {
		return fault.Wrap(fault.BadUserInput, err, "a text contains a character that can not be stored")
	}
	if pg != nil && pg.Code == "57014" && ctx.Err() != nil {
		return fmt.Errorf("%s: %w: %w", s.Name, ctx.Err(), err)
	}
	return fmt.Errorf("%s: %w", s.Name, err)
}

// First is Select for at most one row; ok tells whether there was one. Further rows are ignored.
func First[T any](ctx context.Context, q Querier, s Stmt, scan pgx.RowToFunc[T], args ...any) (row T, ok bool, err error) {
	rows, err := Select(ctx, q, s, scan, args...)
	if err != nil || len(rows) == 0 {
		return row, false, err
	}
	return rows[0], true, nil
}

// Exec runs a statement and returns how many rows it touched.
func Exec(ctx context.Context, q Querier, s Stmt, args ...any) (touched int64, err error) {
	ctx, done, err := q.begin(ctx, s, args)
	if err != nil {
		return 0, err
	}
	defer func() { done(err) }()
	rows, err := q.query(ctx, s.SQL, args)
	if err != nil {
		return 0, named(ctx, s, err)
	}
	rows.Close()
	if err = rows.Err(); err != nil {
		return 0, named(ctx, s, err)
	}
	return rows.CommandTag().RowsAffected(), nil
}

// Copy writes rows by COPY inside a transaction and returns how many. Table is schema and name.
func Copy(ctx context.Context, tx *Tx, table [2]string, columns []string, rows pgx.CopyFromSource) (int64, error) {
	n, err := tx.tx.CopyFrom(ctx, pgx.Identifier(table[:]), columns, rows)
	if err != nil {
		return 0, fmt.Errorf("copy into %s.%s: %w", table[0], table[1], err)
	}
	return n, nil
}

// txTries is how often a transaction is tried that lost to another one.
const txTries = 5

// InTx runs fn in a transaction (READ COMMITTED) and commits it, or rolls it back when fn fails or panics. A deadlock or
// a serialization failure runs fn again, up to five times in all: fn must not change anything outside.
func (db *DB) InTx(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	for try := 1; ; try++ {
		err := db.inTx(ctx, pgx.TxOptions{}, fn)
		if err == nil || try == txTries || !lostRace(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(rand.IntN(10*try)+1) * time.Millisecond):
		}
	}
}

// InSnapshot runs fn in a read-only transaction that sees the database as it was at one moment (REPEATABLE READ), for
// reads of many statements that have to agree.
func (db *DB) InSnapshot(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.inTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, fn)
}

// inTx tries once. pgx.BeginTxFunc would roll back with the context as it is then: one that has ended costs the connection.
func (db *DB) inTx(ctx context.Context, o pgx.TxOptions, fn func(ctx context.Context, tx *Tx) error) (err error) {
	tx, err := db.pool.BeginTx(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackDeadline)
		defer cancel()
		if failed := tx.Rollback(ctx); failed != nil && !errors.Is(failed, pgx.ErrTxClosed) {
			err = errors.Join(err, failed)
		}
	}()
	if err := fn(ctx, &Tx{tx: tx, db: db}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func lostRace(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

// Violates reports whether err is a violation of the named constraint or unique index.
func Violates(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.ConstraintName == constraint
}
