package node

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrLocked is returned by Open if another process has the folder.
var ErrLocked = errors.New("another process uses this log")

// openStore opens the log in a folder, or creates one in an empty folder. It leaves a
// folder that it does not understand unchanged.
func openStore(cfg Config) (*store, error) {
	if !cfg.ReadOnly {
		if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("creating the log folder: %w", err)
		}
	}
	if err := refuseUnfinished(cfg.FS, cfg.Dir); err != nil {
		return nil, err
	}
	lock, err := lockFolder(cfg)
	if err != nil {
		return nil, err
	}
	if err := refuseUnwritable(cfg); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s, err := openLocked(cfg, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// lockFolder locks out other processes. A folder on a read-only disk needs no lock.
func lockFolder(cfg Config) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(cfg.Dir, cfg.FS)
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, syscall.ENOENT):
		return nil, fmt.Errorf("opening the log in %s: the folder does not exist", cfg.Dir)
	case cfg.ReadOnly && (errors.Is(err, syscall.EROFS) || errors.Is(err, iofs.ErrPermission) && !heldElsewhere(err)):
		return pebble.LockDirectory(cfg.Dir, unlockedFS{cfg.FS})
	case errors.Is(err, syscall.EROFS):
		return nil, fmt.Errorf("opening the log in %s: the folder is on a read-only disk, but the log must be writable (%w)", cfg.Dir, err)
	case noRoom(err):
		return nil, fmt.Errorf("opening the log in %s: %w (%w)", cfg.Dir, errFull, err)
	case errors.Is(err, iofs.ErrPermission) && !heldElsewhere(err):
		return nil, fmt.Errorf("opening the log in %s: this user cannot write there: change the folder's owner to the service's user (%w)", cfg.Dir, err)
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("opening the log in %s: it is not a folder", cfg.Dir)
	}
	return nil, fmt.Errorf("opening the log in %s: %w (%w)", cfg.Dir, ErrLocked, err)
}

// refuseUnwritable refuses a folder in which this user cannot create files, even if it
// can be locked: Pebble would retry forever.
func refuseUnwritable(cfg Config) error {
	if cfg.ReadOnly {
		return nil
	}
	name := cfg.FS.PathJoin(cfg.Dir, "latchkey.probe")
	f, err := cfg.FS.Create(name, vfs.WriteCategoryUnspecified)
	if errors.Is(err, iofs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("opening the log in %s: this user cannot create files there: change the folder's owner to the service's user (%w)", cfg.Dir, err)
	}
	if err != nil {
		return nil // a full disk is handled later
	}
	return errors.Join(f.Close(), cfg.FS.Remove(name))
}

// heldElsewhere reports whether an error is of the lock itself and not of its file.
func heldElsewhere(err error) bool {
	var path *iofs.PathError
	return !errors.As(err, &path)
}

func openLocked(cfg Config, lock *pebble.Lock) (*store, error) {
	marked, found, err := readMark(cfg.FS, cfg.Dir)
	if err != nil && !(cfg.AcceptLoss && errors.Is(err, errMark)) {
		return nil, fmt.Errorf("%w: opening the log in %s: %w; restore it from a backup (nothing was changed)", ErrDamaged, cfg.Dir, err)
	}
	if !cfg.ReadOnly {
		if err := resumeCreation(cfg.FS, cfg.Dir, marked); err != nil {
			return nil, err
		}
	}
	in, err := examine(cfg, marked.position)
	if err != nil {
		return nil, err
	}
	if cfg.ReadOnly {
		return openToRead(cfg, lock, in)
	}
	if err := tighten(cfg); err != nil {
		return nil, err
	}
	if in.fresh {
		if err := placeFile(cfg.FS, cfg.Dir, creating); err != nil {
			return nil, fmt.Errorf("creating the log in %s: %w", cfg.Dir, err)
		}
	}
	s, err := openToWrite(cfg, lock, in)
	if err != nil {
		return nil, err
	}
	if err := s.start(cfg, marked, found && in.last >= marked.position); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

// examine inspects the folder and compares the result with what was acknowledged. With
// AcceptLoss it truncates the log where it is complete.
func examine(cfg Config, marked uint64) (inspection, error) {
	in, err := inspect(cfg.FS, cfg.Dir, cfg.Logger)
	loss := in.loss(cfg.Dir, marked)
	if in.fresh && marked == 0 || err == nil && loss == nil {
		return in, nil
	}
	if err == nil {
		err = loss
	}
	if broken := checkManifest(cfg.FS, cfg.Dir); broken != nil {
		return in, broken // not the write-ahead logs: this loss cannot be accepted
	}
	if !cfg.AcceptLoss || cfg.ReadOnly || in.fresh || len(in.logs) == 0 {
		return in, err
	}
	cfg.Logger.Warn("accepting the loss of events", "folder", cfg.Dir, "because", err)
	if err := acceptLoss(cfg.FS, cfg.Dir, in); err != nil {
		return in, fmt.Errorf("accepting the loss in %s: %w", cfg.Dir, err)
	}
	if in, err = inspect(cfg.FS, cfg.Dir, cfg.Logger); err != nil {
		return in, err
	}
	if in.gap > 0 { // it was hidden until a damaged log was truncated
		if err := acceptLoss(cfg.FS, cfg.Dir, in); err != nil {
			return in, fmt.Errorf("accepting the loss in %s: %w", cfg.Dir, err)
		}
		if in, err = inspect(cfg.FS, cfg.Dir, cfg.Logger); err != nil {
			return in, err
		}
	}
	if in.gap > 0 {
		return in, damaged(cfg.Dir, "position %d is missing between others", in.gap)
	}
	cfg.Logger.Warn("the log continues without the lost events; files that it no longer uses end in "+setAside, "folder", cfg.Dir, "last", in.last, "acknowledged", max(marked, in.last))
	return in, nil
}

// openToRead opens a log that accepts no writes.
func openToRead(cfg Config, lock *pebble.Lock, in inspection) (*store, error) {
	if in.fresh {
		return nil, fmt.Errorf("opening the log in %s: no log found", cfg.Dir)
	}
	db, err := pebble.Open(cfg.Dir, readOnlyOptions(cfg.FS, cfg.Logger))
	if err != nil {
		return nil, unreadable(cfg.Dir, err)
	}
	s := newStore(cfg, db, lock)
	s.failed = errReadOnly
	s.committed.Store(in.last)
	return s, nil
}

// openRoom is the space for opening a log besides its events, in bytes.
const openRoom = 512 << 10

// openToWrite opens an inspected log.
func openToWrite(cfg Config, lock *pebble.Lock, in inspection) (_ *store, err error) {
	reserve, err := openReserve(cfg.FS, cfg.Dir)
	if err != nil {
		return nil, err
	}
	// Pebble first writes a table from its write-ahead logs, and would retry forever.
	if free, _, known := reserve.free(); known && free+reserve.bytes() < in.bytes+openRoom {
		return nil, fmt.Errorf("opening the log in %s: %w: %d KiB are free, %d KiB are needed to open it",
			cfg.Dir, errFull, (free+reserve.bytes())>>10, (in.bytes+openRoom)>>10)
	}
	closing := make(chan struct{})
	d := &disk{FS: cfg.FS, dir: cfg.Dir, reserve: reserve, closing: closing}
	defer func() {
		if p := recover(); p != nil { // Pebble reports a fatal error this way
			err = fmt.Errorf("opening the log in %s: %v", cfg.Dir, p)
		}
	}()
	options := pebbleOptions(d, lock, cfg.Logger)
	options.ErrorIfExists, options.ErrorIfNotExists = in.fresh, !in.fresh
	db, err := pebble.Open(cfg.Dir, options)
	if err != nil {
		return nil, fmt.Errorf("opening the log in %s: %w", cfg.Dir, err)
	}
	s := newStore(cfg, db, lock)
	s.disk, s.closing = d, closing
	last, err := lastPosition(db)
	if err == nil && last != in.last {
		err = fmt.Errorf("it ends at position %d, but ended at %d a moment ago", last, in.last)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("looking for the end of the log in %s: %w", cfg.Dir, err), db.Close())
	}
	s.committed.Store(last)
	return s, nil
}

// start enables writes: the mark and the reserve are maintained from now on.
func (s *store) start(cfg Config, marked markSlot, whole bool) error {
	last := s.committed.Load()
	if !whole || marked.position > last { // it was missing, or its value was given up
		marked = markSlot{generation: marked.generation + 1, position: last}
		if err := writeMark(cfg.FS, cfg.Dir, marked); err != nil {
			return err
		}
	}
	if err := removeFile(cfg.FS, cfg.Dir, creating); err != nil {
		return fmt.Errorf("creating the log in %s: %w", cfg.Dir, err)
	}
	s.disk.waits.Store(true)
	if !cfg.NoSync {
		m, err := openMarker(cfg.FS, cfg.Dir, marked, func(err error) {
			cfg.Logger.Warn("the log's mark cannot be written: damage at the end of the log might go unnoticed", "error", err)
		})
		if err != nil {
			return err
		}
		m.set(last) // unacknowledged events that exist can be read from now on
		s.marker = m
		go m.keep(s.committed.Load, s.closing)
	}
	s.tended = make(chan struct{})
	go func() {
		defer close(s.tended)
		s.disk.reserve.tend(s.closing)
	}()
	return nil
}

// creating marks the folder of a log that is being created and has no events yet.
const creating = "latchkey.new"

// resumeCreation removes the leftovers of a log whose creation was interrupted. Nothing
// was written to such a log.
func resumeCreation(fsys vfs.FS, dir string, marked markSlot) error {
	names, err := fsys.List(dir)
	if err != nil {
		return fmt.Errorf("opening the log in %s: %w", dir, err)
	}
	if !slices.Contains(names, creating) || marked.position > 0 {
		return nil
	}
	for _, name := range names {
		if tablePattern.MatchString(name) {
			return nil
		}
		if logPattern.MatchString(name) {
			if t, err := readTail(fsys, fsys.PathJoin(dir, name)); err != nil || t.offset > 0 || t.beyond {
				return err
			}
		}
	}
	for _, name := range names {
		if pebblePattern.MatchString(name) || name == markName {
			if err := fsys.Remove(fsys.PathJoin(dir, name)); err != nil {
				return fmt.Errorf("recreating the log in %s: %w", dir, err)
			}
		}
	}
	return syncDir(fsys, dir)
}

// placeFile creates an empty file, durably.
func placeFile(fsys vfs.FS, dir, name string) error {
	f, err := fsys.Create(fsys.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return errors.Join(private(f), f.Sync(), f.Close(), syncDir(fsys, dir))
}

// removeFile removes a file if it exists, durably.
func removeFile(fsys vfs.FS, dir, name string) error {
	err := fsys.Remove(fsys.PathJoin(dir, name))
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(fsys, dir))
}

// syncDir makes the names in a folder durable.
func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// tighten denies all other users access to the folder and its files, including those
// created by an earlier version.
func tighten(cfg Config) error {
	if cfg.FS != vfs.Default {
		return nil
	}
	root, err := filepath.EvalSymlinks(cfg.Dir)
	if err != nil {
		return fmt.Errorf("opening the log in %s: %w", cfg.Dir, err)
	}
	changed := false
	err = filepath.WalkDir(root, func(path string, e iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := iofs.FileMode(0o600)
		if e.IsDir() {
			mode = 0o700
		} else if !e.Type().IsRegular() {
			return nil
		}
		c, err := tightenPath(path, mode)
		changed = changed || c
		return err
	})
	if err != nil {
		return fmt.Errorf("opening the log in %s: %w", cfg.Dir, err)
	}
	if changed {
		cfg.Logger.Info("the log folder was accessible to other users; its mode is now restricted", "folder", cfg.Dir)
	}
	return nil
}

func tightenPath(path string, mode os.FileMode) (changed bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("reading the mode of %s: %w", path, err)
	}
	if info.Mode().Perm()&^mode == 0 {
		return false, nil
	}
	if err := os.Chmod(path, info.Mode().Perm()&mode); err != nil {
		return false, fmt.Errorf("restricting the mode of %s: %w", path, err)
	}
	return true, nil
}
