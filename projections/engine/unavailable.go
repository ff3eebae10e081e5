package engine

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"latchkey/eventstore"
)

// Unavailable reports whether err means that the database is locked, full, unreachable or
// restarting, SQLite or PostgreSQL: the same call may succeed later. Errors of the log,
// and a caller's cancelled context, do not count.
func Unavailable(err error) bool {
	if err == nil || errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, ErrBehind) {
		return false
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return liteUnavailable(lite.Code())
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return postgresUnavailable(pg.Code)
	}
	for _, known := range []error{
		context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	var connecting *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connecting) || errors.As(err, &network) || pgconn.SafeToRetry(err)
}

// liteUnavailable checks a result code of SQLite, whose lower byte is the
// class: https://www.sqlite.org/rescode.html.
func liteUnavailable(code int) bool {
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return false
}

// postgresUnavailable checks an SQLSTATE, whose first two characters are the
// class: https://www.postgresql.org/docs/current/errcodes-appendix.html.
func postgresUnavailable(code string) bool {
	switch code {
	case "25006", // the server is a standby
		"25P03", // idle in a transaction for too long
		"55P03", // a lock was not available in time
		"57014", // a statement took too long
		"57P01", // the server was shut down
		"57P02", // another process of the server crashed
		"57P03", // the server is starting, or recovering
		"57P05": // idle for too long
		return true
	}
	if len(code) != 5 {
		return false
	}
	switch code[:2] {
	case "08", // the connection failed
		"40", // rolled back, such as for a deadlock
		"53", // disk full, out of memory, too many connections
		"58": // an error of the operating system
		return true
	}
	return false
}
