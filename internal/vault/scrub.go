package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"
)

// scrubber tracks whether forgotten data may still be in the files of the database, where
// no statement finds it but anyone with the files can: in the write-ahead log, in free
// pages, and in the free space of pages, where SQLite leaves copies of rows that it has
// moved to another page, despite its secure_delete.
type scrubber struct {
	remains atomic.Bool               // something was forgotten since the files were last clean
	last    atomic.Pointer[time.Time] // when that was
	atOpen  bool                      // the file had remains when it was opened

	mu   sync.Mutex // one Scrub at a time
	next time.Time  // not before this time
	pack time.Time  // the file is not packed before this time
	wait time.Duration
}

const (
	// A scrub that was blocked is retried after this time, then after twice as long each
	// time.
	firstScrubWait, maxScrubWait = time.Second, time.Minute
	// packShare limits the fraction of time spent packing the file, during which nothing
	// else is written: one part in packShare. A vault of 80 MB takes 0.7 s. On a server,
	// the tables cannot be read meanwhile; the same limit applies.
	packShare = 60
	// serverScrubEvery is the minimum interval between rewrites of the tables on a
	// server.
	serverScrubEvery = time.Minute
	// scrubBusy is how long a scrub waits for other readers or writers.
	scrubBusy = 100 * time.Millisecond
	// inMemory is the maximum size of a file that is copied in memory.
	inMemory = 64 << 20
)

// packed is SQLite's user_version of a file without remains. Files of earlier versions
// have 0, as has one in which something was forgotten since it was packed: the process
// that opens it after a crash packs it.
const packed = 1

var setPacked = fmt.Sprintf("PRAGMA user_version = %d", packed)

// errInTheWay is returned if forgotten data could not be removed from the files now,
// because another process, or a reader, needs them unchanged.
var errInTheWay = errors.New("the vault is being read or written")

// forgetting runs do in a transaction. If do reports that it forgot something, the next
// Scrub removes it from the files.
func (v *Vault) forgetting(ctx context.Context, do func(context.Context, bun.Tx) (bool, error), lazy bool) error {
	var some atomic.Bool // the change may be tried twice
	err := v.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		forgot, err := do(ctx, tx)
		if err != nil || !forgot {
			return err
		}
		some.Store(true)
		if v.sqlite {
			_, err = tx.ExecContext(ctx, "PRAGMA user_version = 0")
		}
		return err
	}, lazy)
	if some.Load() { // also on error: it may have been written
		now := time.Now()
		v.scrub.last.Store(&now)
		v.scrub.remains.Store(true)
	}
	return err
}

// Scrub removes data forgotten since the last time from the files of the database. Call
// it often; it does nothing if there is nothing to do, or if it is not time yet. An error
// is only a delay: the next call tries again.
//
// SQLite: the file is rewritten without its free space, and the write-ahead log is
// truncated. A large file is not packed at once, but so rarely that this takes a sixtieth
// of the time; the log is still truncated and deleted rows are overwritten. PostgreSQL:
// the tables are rewritten, at most once a minute, and as rarely if they are large; the
// server's write-ahead log keeps forgotten data until the server drops it.
func (v *Vault) Scrub(ctx context.Context) error { return v.scrubNow(ctx, false) }

// ScrubNow is Scrub without delay, for the end of a process.
func (v *Vault) ScrubNow(ctx context.Context) error { return v.scrubNow(ctx, true) }

func (v *Vault) scrubNow(ctx context.Context, now bool) error {
	s := &v.scrub
	if !s.remains.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !now && v.now().Before(s.next) || !s.remains.Swap(false) {
		return nil
	}
	scrub := v.scrubFile
	if !v.sqlite {
		scrub = v.scrubTables
	}
	clean, err := scrub(ctx, now)
	if err != nil || !clean {
		s.remains.Store(true)
	}
	if err != nil {
		s.wait = min(max(2*s.wait, firstScrubWait), maxScrubWait)
		s.next = v.now().Add(s.wait)
		return fmt.Errorf("removing forgotten data from the vault's files: %w", err)
	}
	s.wait = 0
	return nil
}

// scrubFile packs the file, if it is time, and truncates the write-ahead log. It reports
// whether the file is packed.
func (v *Vault) scrubFile(ctx context.Context, now bool) (clean bool, err error) {
	v.committing.Lock() // or changes of this process would wait in SQLite, and eventually fail
	defer v.committing.Unlock()
	err = v.onConn(ctx, func(conn bun.Conn) error {
		if now || !v.now().Before(v.scrub.pack) {
			began := time.Now()
			if err := pack(ctx, conn); err != nil {
				return err
			}
			clean = true
			v.scrub.pack = v.now().Add(packShare * time.Since(began))
		}
		room, err := logOf(ctx, conn)
		if err != nil {
			return err
		}
		// Commits after the truncation do not belong to an earlier copy of the file.
		err = conn.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { return noteTime(ctx, tx.Tx) })
		if err != nil {
			return err
		}
		if err := cutLog(ctx, conn); err != nil {
			return err
		}
		return room.fill(ctx, conn)
	})
	return clean, err
}

// logRoom is the space that a write-ahead log takes on the disk.
type logRoom struct {
	path string
	size int64
}

// maxRoom is roughly the size to which a log grows before SQLite restarts it from its
// beginning.
const maxRoom = 4 << 20

func logOf(ctx context.Context, conn bun.Conn) (logRoom, error) {
	var file string
	if err := conn.NewRaw("SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(ctx, &file); err != nil {
		return logRoom{}, err
	}
	info, err := os.Stat(file + "-wal")
	if err != nil {
		return logRoom{}, err
	}
	return logRoom{file + "-wal", min(info.Size(), maxRoom)}, nil
}

// fill extends a truncated log to its former size with zeros, which SQLite takes for an
// empty log. Without it each commit would extend the file, and its sync would wait for
// the file system's journal, which takes half as long again. SQLite's write lock keeps
// all processes from writing to the log meanwhile.
func (r logRoom) fill(ctx context.Context, conn bun.Conn) (err error) {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		_, ended := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		err = errors.Join(err, ended)
	}()
	f, err := os.OpenFile(r.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil || info.Size() > 0 { // another process was faster
		return err
	}
	if _, err := f.Write(make([]byte, r.size)); err != nil {
		return err
	}
	return f.Sync()
}

// onConn runs do on a connection with a short busy timeout.
func (v *Vault) onConn(ctx context.Context, do func(bun.Conn) error) (err error) {
	conn, err := v.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", scrubBusy.Milliseconds())); err != nil {
		return err
	}
	defer func() {
		_, again := conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds()))
		err = errors.Join(err, again)
	}()
	return do(conn)
}

// pack rewrites the file row by row: the new one has no deleted data. A crash leaves the
// old one.
func pack(ctx context.Context, conn bun.Conn) error {
	var size int64
	if err := conn.NewRaw("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").Scan(ctx, &size); err != nil {
		return err
	}
	store := "FILE" // of the copy, which contains no more than the vault
	if size <= inMemory {
		store = "MEMORY"
	}
	for _, statement := range []string{
		"PRAGMA temp_store = " + store, "VACUUM", setPacked,
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// cutLog moves the content of the write-ahead log to the file, and truncates the log.
func cutLog(ctx context.Context, db bun.IDB) error {
	var busy, frames, moved int
	if err := db.NewRaw("PRAGMA wal_checkpoint(TRUNCATE)").Scan(ctx, &busy, &frames, &moved); err != nil {
		return err
	}
	if busy != 0 {
		return errInTheWay
	}
	return nil
}

// scrubOpened packs a file that has remains: it was written by an earlier version, or by
// a process that was killed. If that fails, possibly for lack of space, Scrub tries
// again. It does not detect remains in tables on a server: see MayRemain.
func (v *Vault) scrubOpened(ctx context.Context, exists bool) error {
	if !v.sqlite {
		return nil
	}
	var version int
	if err := v.db.NewRaw("PRAGMA user_version").Scan(ctx, &version); err != nil {
		return fmt.Errorf("reading the version of the vault's file: %w", err)
	}
	if version == packed {
		return nil
	}
	v.scrub.remains.Store(true)
	err := v.ScrubNow(ctx)
	v.scrub.atOpen = err == nil && exists
	if ctx.Err() != nil {
		return err
	}
	return nil
}

// Packed reports whether the file of an existing vault may have had remains of forgotten
// data, which were removed when it was opened.
func (v *Vault) Packed() bool { return v.scrub.atOpen }

// MayRemain makes the next Scrub check a database that does not reveal whether it has
// remains of forgotten data, such as a PostgreSQL server after a process was killed. A
// file reveals it.
func (v *Vault) MayRemain() {
	if !v.sqlite {
		v.scrub.remains.Store(true)
	}
}

// remainIn are the tables with erasable rows.
var remainIn = []string{"vault_secrets", "vault_subjects", "vault_passwords", "vault_sessions", "vault_outbox", "vault_stream_uses", "vault_webhooks", "vault_alarms", "vault_alarm_copies", "vault_pushes"}

// scrubLock is the number of PostgreSQL's advisory lock for scrubbing: "lkscrub".
const scrubLock = 0x6c6b7363727562

// scrubTables rewrites the tables, so that none of their files has versions of deleted or
// replaced rows. One process at a time does it.
func (v *Vault) scrubTables(ctx context.Context, _ bool) (clean bool, err error) {
	conn, err := v.db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var mine bool
	if err := conn.NewRaw("SELECT pg_try_advisory_lock(?)", int64(scrubLock)).Scan(ctx, &mine); err != nil || !mine {
		return false, errors.Join(err, errInTheWay)
	}
	began := time.Now()
	defer func() {
		_, reset := conn.ExecContext(context.WithoutCancel(ctx), "RESET lock_timeout")
		_, unlocked := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock(?)", int64(scrubLock))
		err = errors.Join(err, reset, unlocked)
	}()
	if err := v.nobodySeesOldRows(ctx, conn); err != nil {
		return false, err
	}
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("SET lock_timeout = %d", scrubBusy.Milliseconds())); err != nil {
		return false, err
	}
	for _, table := range remainIn {
		if _, err := conn.ExecContext(ctx, "VACUUM (FULL) "+table); err != nil {
			return false, err
		}
	}
	v.scrub.next = v.now().Add(max(serverScrubEvery, packShare*time.Since(began)))
	return true, nil
}

// nobodySeesOldRows returns an error while a transaction runs that began before something
// was last forgotten: the server would keep what it can see.
func (v *Vault) nobodySeesOldRows(ctx context.Context, db bun.IDB) error {
	last := v.scrub.last.Load()
	if last == nil {
		return nil
	}
	var older int
	err := db.NewRaw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"+
		" AND backend_xmin IS NOT NULL AND xact_start < clock_timestamp() - make_interval(secs => ?)", time.Since(*last).Seconds()).Scan(ctx, &older)
	if err == nil && older > 0 {
		err = errInTheWay
	}
	return err
}
