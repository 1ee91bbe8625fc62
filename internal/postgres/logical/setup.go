package logical

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// SetupError tells why a database can not be followed before somebody has changed something, and what. All other errors
// are of the moment, such as a lost connection.
type SetupError struct {
	Problem, Remedy string
	Err             error // what the server says; may be nil
}

// Error says what is wrong and what to do.
func (e *SetupError) Error() string {
	if e.Err != nil {
		return e.Problem + " (" + e.Err.Error() + "): " + e.Remedy
	}
	return e.Problem + ": " + e.Remedy
}

// Unwrap returns what the server says.
func (e *SetupError) Unwrap() error { return e.Err }

// explain turns what the server refuses into a SetupError.
func explain(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || errors.As(err, new(*SetupError)) {
		return err
	}
	switch pg.Code {
	case "42501": // insufficient_privilege
		return &SetupError{"the role may not replicate", "as a superuser run ALTER ROLE … REPLICATION for it", err}
	case "28000", "28P01": // invalid authorization, password
		return &SetupError{"the server does not let the role in", "check the user, its password and pg_hba.conf", err}
	case "3D000":
		return &SetupError{"the database does not exist", "create it, or correct the URL", err}
	case "53300": // too_many_connections; other limits of connections are of the moment
		if strings.Contains(pg.Message, "max_wal_senders") {
			return &SetupError{"the server has no connection for replication to spare",
				"raise max_wal_senders, or end what nobody needs (pg_stat_replication)", err}
		}
	case "53400": // configuration_limit_exceeded
		return &SetupError{"the server has no free replication slot",
			"raise max_replication_slots, or drop those that nobody uses (pg_replication_slots)", err}
	case "42704": // undefined_object
		return &SetupError{"the server does not know something that is asked for",
			"create the publication that it names, or correct the setting in the URL", err}
	}
	return err
}

// notFull is the error of a table of whose old rows not all columns are in the log.
func notFull(schema, table string) error {
	return &SetupError{Problem: "the old rows of " + schema + "." + table + " are not in the log",
		Remedy: "run ALTER TABLE " + schema + "." + table + " REPLICA IDENTITY FULL"}
}

// lacks is an error if a table does not have all columns that are wanted, or one is wanted twice.
func lacks(schema, table string, has, wanted []string) error {
	for i, column := range wanted {
		if !slices.Contains(has, column) {
			return &SetupError{Problem: "the table " + schema + "." + table + " has no column " + column + " that is published",
				Remedy: "run the migrations that fit the program, and publish all columns"}
		}
		if slices.Contains(wanted[:i], column) {
			return fmt.Errorf("column %s of %s.%s is wanted twice", column, schema, table)
		}
	}
	return nil
}

// check returns the tables of the publication, or why the database can not be followed.
func check(ctx context.Context, conn *pgconn.PgConn, o Options) (published []string, err error) {
	rows, err := query(ctx, conn, o.Timeout, `SELECT pg_catalog.current_setting('server_version_num'),
		pg_catalog.current_setting('server_version'), pg_catalog.current_setting('wal_level'), pg_catalog.pg_is_in_recovery()`)
	if err != nil {
		return nil, fmt.Errorf("ask for the server's settings: %w", err)
	}
	if len(rows) != 1 || len(rows[0]) != 4 {
		return nil, errors.New("ask for the server's settings: unknown answer")
	}
	if number, err := strconv.Atoi(rows[0][0]); err != nil || number < 150000 {
		return nil, &SetupError{Problem: "the server is Postgres " + rows[0][1], Remedy: "it has to be 15 or later"}
	}
	if rows[0][3] == "t" {
		return nil, errors.New("the server is a standby, which is not followed: only its primary is")
	}
	if rows[0][2] != "logical" {
		return nil, &SetupError{Problem: "wal_level is " + rows[0][2],
			Remedy: "run ALTER SYSTEM SET wal_level = logical (or set it where the server is managed), and restart the server"}
	}

	name, err := conn.EscapeString(o.Publication)
	if err != nil {
		return nil, fmt.Errorf("the publication's name: %w", err)
	}
	rows, err = query(ctx, conn, o.Timeout, `SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate
		FROM pg_catalog.pg_publication WHERE pubname = '`+name+`'`)
	if err != nil {
		return nil, fmt.Errorf("look for the publication: %w", err)
	}
	if len(rows) == 0 {
		return nil, &SetupError{Problem: "there is no publication " + o.Publication + " in the database", Remedy: "run the migrations"}
	}
	if rows[0][0] != "t" {
		return nil, &SetupError{Problem: "the publication " + o.Publication + " leaves out changes",
			Remedy: "run ALTER PUBLICATION " + o.Publication + " SET (publish = 'insert, update, delete, truncate')"}
	}

	// A partitioned table may be published as such or by its partitions.
	rows, err = query(ctx, conn, o.Timeout, `SELECT t.schemaname, t.tablename, t.rowfilter IS NOT NULL,
			pg_catalog.array_to_json(t.attnames),
			(SELECT pg_catalog.bool_and(l.relreplident = 'f') FROM pg_catalog.pg_class l
				WHERE l.oid = c.oid OR l.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(c.oid)))
		FROM pg_catalog.pg_publication_tables t
		JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname
		JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
		WHERE t.pubname = '`+name+`' ORDER BY 1, 2`)
	if err != nil {
		return nil, fmt.Errorf("look for the publication's tables: %w", err)
	}
	for _, row := range rows {
		schema, table := row[0], row[1]
		if row[2] == "t" {
			return nil, &SetupError{Problem: "the publication " + o.Publication + " leaves out rows of " + schema + "." + table,
				Remedy: "publish the table without a WHERE"}
		}
		if row[4] != "t" {
			return nil, notFull(schema, table)
		}
		var columns []string
		if err := json.Unmarshal([]byte(row[3]), &columns); err != nil {
			return nil, fmt.Errorf("look for the columns of %s.%s: %w", schema, table, err)
		}
		if err := lacks(schema, table, columns, o.Wants(schema, table)); err != nil {
			return nil, err
		}
		published = append(published, schema+"."+table)
	}
	slices.SortFunc(published, strings.Compare)
	return published, nil
}
