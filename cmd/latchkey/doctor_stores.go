package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	"golang.org/x/sys/unix"

	"latchkey/eventstore"
	"latchkey/internal/regular"
)

// eventStore asks the log how it is. An embedded one that does not run is not opened.
func (d *doctor) eventStore(ctx context.Context) []finding {
	target := d.o.Eventstore
	if target == "embedded" {
		socket, err := filepath.Abs(filepath.Join(d.o.Data, "eventstore.sock"))
		if err != nil {
			return []finding{ok("event store", "%v", err).but(problem, "Choose another --data.")}
		}
		if !answers(socket) {
			if err := d.o.refuseNewLog(); err != nil {
				return []finding{ok("event store", "%v", err).but(problem, "The service will not start.")}
			}
			return []finding{ok("event store", "it is embedded, and does not run")}
		}
		target = "unix://" + socket
	}
	client, err := eventstore.Open(eventstore.Config{Target: target, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return []finding{ok("event store", "%v", err).but(problem, "Correct --eventstore.")}
	}
	defer func() { _ = client.Close() }()
	state, err := newLogState(client, target)
	if err != nil {
		return []finding{ok("event store", "%v", err).but(problem, "Correct --eventstore.")}
	}
	defer func() { _ = state.close() }() // only read from
	switch word, ready := state.State(ctx); {
	case !ready && word == "unavailable":
		return []finding{ok("event store", "%s: %s", redacted(target), state.Reason()).but(problem, "Start it, or correct --eventstore; a firewall may be between.")}
	case !ready:
		return []finding{ok("event store", "%s: %s: %s", redacted(target), word, state.Reason()).but(problem, "See \"When it is not ready\" in docs/operations.md.")}
	}
	return []finding{ok("event store", "%s answers", redacted(target))}
}

// database looks at the read models and the vault.
func (d *doctor) database(ctx context.Context) []finding {
	if !isPostgres(d.o.Database) {
		return []finding{sqliteFile(filepath.Join(d.o.Data, "projections.db")), sqliteFile(filepath.Join(d.o.Data, "vault.db"))}
	}
	db, err := sql.Open("pgx", d.o.Database)
	if err != nil {
		return []finding{ok("database", "%v", err).but(problem, "Correct --database.")}
	}
	defer func() { _ = db.Close() }()
	var version string
	var now time.Time
	var mayCreate, has bool
	before := d.now()
	err = db.QueryRowContext(ctx, `SELECT current_setting('server_version'), clock_timestamp(), has_schema_privilege(current_schema(), 'CREATE'), to_regclass('vault_invitations') IS NOT NULL`).Scan(&version, &now, &mayCreate, &has)
	if err != nil {
		return []finding{ok("database", "%s: %v", redacted(d.o.Database), err).but(problem, "Start it, or correct --database; a firewall may be between.")}
	}
	f := ok("database", "PostgreSQL %s answers; it has the tables of a service", version)
	if !has {
		f.Text = fmt.Sprintf("PostgreSQL %s answers; the service makes its tables at the first start", version)
	}
	if !mayCreate {
		f = f.but(problem, "This role may not make tables, which a start and an update do: GRANT CREATE ON SCHEMA.")
	}
	list := []finding{f}
	if apart := now.Sub(before.Add(d.now().Sub(before) / 2)).Abs(); apart > mostApart {
		list = append(list, ok("clock", "that of the database is %v away from ours", apart.Round(time.Millisecond)).but(problem, "Have both machines set their clocks by NTP."))
	}
	return list
}

// mostApart is how far clocks may be from each other.
const mostApart = 2 * time.Second

// sqliteFile looks whether a file is a database. It is not opened as one: that would write
// beside it.
func sqliteFile(path string) finding {
	name := filepath.Base(path)
	f, err := regular.Open(path)
	if errors.Is(err, regular.ErrNot) {
		return ok("database", "%s: %v", name, regular.ErrNot).but(problem, "Put the database there: restore a backup (latchkey restore).")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return ok("database", "%s is made at the first start", name)
	}
	if err != nil {
		return ok("database", "%v", err).but(problem, "Run this as the user of the service, and let that user read its data folder.")
	}
	defer f.Close()
	const magic = "SQLite format 3\x00"
	head := make([]byte, len(magic))
	n, err := io.ReadFull(f, head)
	if n == 0 && errors.Is(err, io.EOF) {
		return ok("database", "%s is empty", name)
	}
	if string(head) != magic {
		return ok("database", "%s is not a database of SQLite", name).but(problem, "It is damaged, or another file: restore a backup (latchkey restore).")
	}
	return ok("database", "%s is there", name)
}

// folder looks at the data folder.
func (d *doctor) folder(context.Context) []finding {
	info, err := os.Stat(d.o.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := existing(d.o.Data)
		if unwritable(parent) {
			return []finding{ok("data folder", "%s does not exist, and %s cannot be written to", d.o.Data, parent).but(problem, "Make it for the user of the service, or choose another with --data.")}
		}
		return []finding{ok("data folder", "%s is made at the first start", d.o.Data)}
	case err != nil:
		return []finding{ok("data folder", "%v", err).but(problem, "Run this as the user of the service.")}
	case !info.IsDir():
		return []finding{ok("data folder", "%s is not a folder", d.o.Data).but(problem, "Choose another with --data.")}
	case unwritable(d.o.Data):
		return []finding{ok("data folder", "%s cannot be written to", d.o.Data).but(problem, "Make it writable for this user, or run this as the user of the service.")}
	case info.Mode().Perm()&0o077 != 0:
		return []finding{ok("data folder", "%s is open to other users (%v)", d.o.Data, info.Mode().Perm()).but(warning, "The next start closes it; until then: chmod 700.")}
	}
	return []finding{ok("data folder", "%s is writable, and closed to other users", d.o.Data)}
}

// existing returns the nearest folder above a path that exists.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil {
			return path
		}
		above := filepath.Dir(path)
		if above == path {
			return path
		}
		path = above
	}
}

// Free space of the data folder, in bytes.
const (
	leastFree = 256 << 20
	fewFree   = 1 << 30
)

func freeIn(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("reading the free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// disk looks at the space that is left.
func (d *doctor) disk(context.Context) []finding {
	dir := existing(d.o.Data)
	free, err := d.free(dir)
	if err != nil {
		return []finding{ok("disk", "%v", err).but(warning, "Look with df.")}
	}
	f := ok("disk", "%d MiB are free for the data folder", free>>20)
	switch {
	case free < leastFree:
		f = f.but(problem, "Make room: the log takes no writes when its disk is nearly full.")
	case free < fewFree:
		f = f.but(warning, "Make room soon.")
	}
	return []finding{f}
}
