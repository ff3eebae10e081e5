package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"latchkey/domain/event"
	"latchkey/eventstore"
	"latchkey/eventstore/node"
	"latchkey/internal/journal"
	"latchkey/internal/vault"
)

// The names in a data folder.
const (
	LogName     = "log"
	VaultName   = "vault.db"
	KeyName     = "vault.key"
	JournalName = "revocations.journal"
)

// Target configures a restore.
type Target struct {
	Dir string // an empty folder, which becomes the data folder
	// To is the last event that is restored; the zero Until is the end of the backup.
	To Until
	// Journals are those that are left of the log; Without selects what to do if none of
	// them reaches the end of the backup.
	Journals Journals
	Without  Without
	// KeepSessions keeps sessions alive.
	KeepSessions bool
	// Key is the vault's key if it is kept elsewhere. nil: the one in the archive, which
	// is then written into the folder.
	Key *vault.MasterKey

	OpenVault func(path string) (*bun.DB, error) // opens or creates an SQLite file
	UseCases  func(*eventstore.Client, *vault.Vault) (UseCases, error)
	SetMark   func(context.Context, *vault.Vault, eventstore.Mark) error
	Logger    *slog.Logger
	Progress  func(Progress) // may be nil
}

// Until is a place in the log that was backed up. Zero fields set no limit.
type Until struct {
	Position eventstore.Position // the last event
	Time     time.Time           // no event after this
}

func (u Until) past(e Event) bool {
	return u.Position > 0 && e.Position > u.Position || !u.Time.IsZero() && e.Created.After(u.Time)
}

// Restored is the result of a restore.
type Restored struct {
	Header
	Trailer
	Events   uint64              // in the log, without those that were added at its end
	LeftOut  uint64              // events after To
	Position eventstore.Position // of the last event that was restored, in the log that was backed up
	Epoch    uint64              // that the log is in now
	Key      vault.MasterKey
	repeated
}

// Restore reads an archive into a folder: a log, a vault, its key and a journal of
// revocations, which together are a data folder that can be served. Everything that was
// revoked after the end of the restored log, by the journals or by the events of the
// archive after To, is revoked in it again. After an error the folder is unusable.
// Errors: ErrDamaged, ErrNoJournal.
func Restore(ctx context.Context, archive io.Reader, t Target) (Restored, error) {
	a, err := NewReader(archive)
	if err != nil {
		return Restored{}, err
	}
	defer a.Close()
	r := &restoring{Target: t, archive: a, in: newInventory(), digest: newDigest()}
	r.done.Header = a.Header
	if r.Progress == nil {
		r.Progress = func(Progress) {}
	}
	for _, step := range []func(context.Context) error{r.restoreLog, r.checkJournals, r.restoreVault, r.bringUp} {
		if err := step(ctx); err != nil {
			return Restored{}, err
		}
	}
	return r.done, nil
}

// restoring is a restore in progress.
type restoring struct {
	Target
	archive *Reader
	in      *inventory          // of the restored log
	left    []event.Revocation  // revocations by the archive's events after To, but for those in the vault
	last    eventstore.Position // of the last event of ours in the archive
	digest  *digest
	at      Progress
	done    Restored
}

func (r *restoring) restoreLog(ctx context.Context) error {
	r.at.Head = r.archive.Header.Head
	_, err := node.Import(node.Config{Dir: filepath.Join(r.Dir, LogName), Logger: nil}, func() (node.ImportedEvent, error) {
		for {
			if err := ctx.Err(); err != nil {
				return node.ImportedEvent{}, err
			}
			e, err := r.archive.Event()
			if err != nil {
				return node.ImportedEvent{}, err
			}
			keep, err := r.event(e)
			if err != nil || !keep {
				if err != nil {
					return node.ImportedEvent{}, err
				}
				continue
			}
			return node.ImportedEvent{
				Stream: e.Stream, Revision: e.Revision, ID: e.ID, Type: e.Type, ContentType: e.ContentType,
				Data: e.Data, Metadata: e.Metadata, Created: e.Created,
			}, nil
		}
	})
	if err != nil {
		return fmt.Errorf("restoring the log: %w", err)
	}
	if r.at.Position != r.archive.Header.Head {
		return damaged(fmt.Errorf("its last event is at position %d, but should be at %d", r.at.Position, r.archive.Header.Head))
	}
	if r.To.Position > r.archive.Header.Head {
		return fmt.Errorf("the backup ends at position %d and does not contain position %d", r.archive.Header.Head, r.To.Position)
	}
	if r.done.Events == 0 {
		return errors.New("the backup has no event up to that point")
	}
	return nil
}

// event processes an event of the archive, and reports whether it is restored.
func (r *restoring) event(e Event) (keep bool, err error) {
	if e.Position <= r.at.Position {
		return false, damaged(fmt.Errorf("position %d follows position %d", e.Position, r.at.Position))
	}
	r.at.Position = e.Position
	r.at.Events++
	r.Progress(r.at)
	if r.To.past(e) || r.done.LeftOut > 0 {
		r.done.LeftOut++
		after := newInventory()
		revocation, revokes, err := after.add(e.ID, e.Position, e.Type, e.Data)
		if revokes && revocation.Kind != event.PasswordTaken { // the vault was read after the log
			r.left = append(r.left, revocation)
		}
		r.last = max(r.last, after.last)
		return false, err
	}
	r.done.Events++
	r.done.Position = e.Position
	r.digest.add(e)
	_, _, err = r.in.add(e.ID, e.Position, e.Type, e.Data)
	r.last = max(r.last, r.in.last)
	return true, err
}

// checkJournals compares the journals with the whole archive, which itself has the
// revocations between To and its end.
func (r *restoring) checkJournals(context.Context) error {
	if r.Without == Refuse && !r.Journals.reach(r.archive.Header.Log, r.last) {
		return fmt.Errorf("%w: the backup is from position %d of log %s", ErrNoJournal, r.last, r.archive.Header.Log.Log)
	}
	return nil
}

func (r *restoring) restoreVault(ctx context.Context) error {
	db, err := r.OpenVault(filepath.Join(r.Dir, VaultName))
	if err != nil {
		return err
	}
	err = vault.Load(ctx, db, nil, func() (vault.Row, bool, error) {
		for {
			row, err := r.archive.Row()
			if errors.Is(err, io.EOF) {
				return row, false, nil
			}
			r.at.Rows++
			r.Progress(r.at)
			if err != nil || !slices.Contains(vault.Passing, row.Table) || r.KeepSessions {
				return row, true, err
			}
		}
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("restoring the vault: %w", err)
	}
	key, trailer, err := r.archive.Finish()
	if err != nil {
		return err
	}
	r.done.Trailer = trailer
	return r.keepKey(key)
}

func (r *restoring) keepKey(inArchive *vault.MasterKey) error {
	if r.Key != nil {
		r.done.Key = *r.Key
		return nil
	}
	if inArchive == nil {
		return errors.New("the key of the vault is not in the backup: name its file with --vault-key")
	}
	r.done.Key = *inArchive
	return writeFile(filepath.Join(r.Dir, KeyName), inArchive.Text()+"\n")
}

// bringUp opens and checks the restored data, and repeats later revocations.
func (r *restoring) bringUp(ctx context.Context) (err error) {
	log, stop, err := openLog(filepath.Join(r.Dir, LogName), r.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := r.digest.check(ctx, log); err != nil {
		return err
	}
	db, err := r.OpenVault(filepath.Join(r.Dir, VaultName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	v, err := vault.Open(ctx, db, r.done.Key, time.Now)
	if err != nil {
		return fmt.Errorf("opening the restored vault: %w", err)
	}
	return r.takeAway(ctx, log, v)
}

func (r *restoring) takeAway(ctx context.Context, log *eventstore.Client, v *vault.Vault) error {
	uc, err := r.UseCases(log, v)
	if err != nil {
		return err
	}
	id := r.archive.Header.Log
	persons := r.Journals.erased(id.Log)
	read := eventstore.Mark{Identity: id, Position: r.archive.Header.Head} // the vault was read after that
	list := append(r.left, r.Journals.lost(eventstore.Identity{Log: id.Log, Epoch: r.in.epoch}, r.in, read)...)
	if r.Without == TakeBack && !r.Journals.reach(id, r.last) {
		list = append(list, r.in.everything()...)
	}
	if r.done.repeated, err = repeat(ctx, uc, v, list, persons); err != nil {
		return err
	}
	id.Epoch = max(id.Epoch, r.Journals.epoch(id.Log)) + 1
	if err := log.BeginEpoch(ctx, id); err != nil {
		return err
	}
	r.done.Epoch = id.Epoch
	mark, err := markOf(ctx, log, id)
	if err != nil {
		return err
	}
	if err := r.SetMark(ctx, v, mark); err != nil {
		return err
	}
	return writeJournal(ctx, filepath.Join(r.Dir, JournalName), log, persons, r.Logger)
}

// markOf returns the mark of the last event of a log.
func markOf(ctx context.Context, log *eventstore.Client, id eventstore.Identity) (eventstore.Mark, error) {
	m := eventstore.Mark{Identity: id}
	err := log.Tail(ctx, 1, func(r eventstore.Recorded) bool { m.Position, m.Event = r.Position, r.ID; return false })
	return m, err
}

// writeJournal begins a journal for a log, with the erased persons; it gets the rest from
// the log when that is served.
func writeJournal(ctx context.Context, path string, log *eventstore.Client, persons []string, logger *slog.Logger) error {
	j, err := journal.Open(path, logger)
	if err != nil {
		return err
	}
	err = j.Begin(ctx, log)
	for _, person := range persons {
		if err == nil {
			err = j.Erased(person)
		}
	}
	return errors.Join(err, j.Close())
}

// openLog serves the log of a folder to this process alone.
func openLog(dir string, logger *slog.Logger) (log *eventstore.Client, stop func() error, err error) {
	n, err := node.Open(node.Config{Dir: dir, Logger: logger})
	if err != nil {
		return nil, nil, err
	}
	sockets, err := os.MkdirTemp("", "latchkey-") // a socket's path must be short
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("creating a folder for a socket: %w", err), n.Close())
	}
	path := filepath.Join(sockets, "s")
	l, err := node.Listen(path)
	if err != nil {
		return nil, nil, errors.Join(err, n.Close(), os.RemoveAll(sockets))
	}
	served := make(chan error, 1)
	go func() { served <- n.Serve(l) }()
	log, err = eventstore.Open(eventstore.Config{Target: "unix://" + path, Logger: logger, CallTimeout: time.Minute})
	stop = func() error {
		var closing error
		if log != nil {
			closing = log.Close()
		}
		return errors.Join(closing, n.Close(), <-served, os.RemoveAll(sockets))
	}
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return log, stop, nil
}

// writeFile creates a file that only its owner may read, and syncs it.
func writeFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
