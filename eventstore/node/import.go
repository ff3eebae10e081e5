package node

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
)

// ImportedEvent is an event of another log, as it will be stored in the new one. Streams
// of metadata ($$...) and tombstones are events like all others.
type ImportedEvent struct {
	Stream      string
	Revision    uint64 // rises within a stream; that of a tombstone is math.MaxInt64
	ID          uuid.UUID
	Type        string
	ContentType string
	Data        []byte
	Metadata    []byte    // the custom metadata
	Created     time.Time // kept in steps of 100 ns
}

// unfinished marks the folder of an incomplete import. Such a log is never opened: its
// end would be missing.
const unfinished = "latchkey.import"

// importBytes is roughly how much of an import is written at once.
const importBytes = 4 << 20

// Import creates a log in an empty or missing folder from the events that next returns,
// in order, until it returns io.EOF. Positions are counted from 1; everything else is
// kept. It returns the position of the last event once everything is synced. After an
// error the folder cannot be opened as a log and has to be emptied.
func Import(cfg Config, next func() (ImportedEvent, error)) (last uint64, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return 0, err
	}
	if err := beginImport(cfg.FS, cfg.Dir); err != nil {
		return 0, err
	}
	s, err := openImport(cfg)
	if err != nil {
		return 0, err
	}
	if err := s.importAll(next); err != nil {
		return 0, errors.Join(err, s.close())
	}
	last = s.committed.Load()
	if err := errors.Join(s.db.Flush(), s.close()); err != nil {
		return 0, fmt.Errorf("importing into %s: %w", cfg.Dir, err)
	}
	if err := writeMark(cfg.FS, cfg.Dir, markSlot{generation: 1, position: last}); err != nil {
		return 0, err
	}
	if err := removeFile(cfg.FS, cfg.Dir, unfinished); err != nil {
		return 0, fmt.Errorf("importing into %s: %w", cfg.Dir, err)
	}
	return last, nil
}

// beginImport marks an empty folder as one with an import in progress.
func beginImport(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating the log folder: %w", err)
	}
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("importing into %s: %w", dir, err)
	}
	if len(names) > 0 {
		return fmt.Errorf("importing into %s: the folder is not empty, it holds %s", dir, names[0])
	}
	if err := placeFile(fs, dir, unfinished); err != nil {
		return fmt.Errorf("importing into %s: %w", dir, err)
	}
	return nil
}

// openImport opens a store without a write-ahead log: only the flush at the end counts.
func openImport(cfg Config) (*store, error) {
	lock, err := lockFolder(cfg)
	if err != nil {
		return nil, err
	}
	reserve, err := openReserve(cfg.FS, cfg.Dir)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	closing := make(chan struct{})
	d := &disk{FS: cfg.FS, dir: cfg.Dir, reserve: reserve, closing: closing}
	options := pebbleOptions(d, lock, cfg.Logger)
	options.DisableWAL, options.ErrorIfExists = true, true
	db, err := pebble.Open(cfg.Dir, options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("importing into %s: %w", cfg.Dir, err), lock.Close())
	}
	cfg.NoSync = true
	s := newStore(cfg, db, lock)
	s.disk, s.closing = d, closing
	return s, nil
}

// importAll writes the events that next returns.
func (s *store) importAll(next func() (ImportedEvent, error)) error {
	c, size := s.newCommit(), 0
	for {
		e, err := next()
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("importing the event after position %d: %w", c.pos, err)
		}
		if err == nil {
			if err := s.importEvent(c, &e); err != nil {
				return fmt.Errorf("importing the event after position %d: %w", c.pos, err)
			}
			size += 200 + len(e.Data) + len(e.Metadata)
		}
		if err == nil && size < importBytes {
			continue
		}
		if failed := s.commitBatch(c); failed != nil {
			return failed
		}
		if err != nil {
			return nil
		}
		s.boundHeads()
		c, size = s.newCommit(), 0
	}
}

func (s *store) importEvent(c *commitBatch, e *ImportedEvent) error {
	if err := e.check(); err != nil {
		return err
	}
	h, err := s.head(e.Stream)
	if err != nil {
		return err
	}
	if h.last >= int64(e.Revision) {
		return fmt.Errorf("revision %d of stream %q follows revision %d", e.Revision, e.Stream, h.last)
	}
	h.last = int64(e.Revision) - 1
	h.tombstoned = e.Revision == deletedStream
	p := proposed{id: e.ID, kind: e.Type, contentType: e.ContentType, custom: e.Metadata, data: e.Data}
	return s.addAt(c, e.Stream, h, p, ticks(e.Created))
}

func (e *ImportedEvent) check() error {
	switch {
	case e.Stream == "" || len(e.Stream) > maxName || e.Stream == metadataPrefix || e.Stream == "$all":
		return fmt.Errorf("%q is not a valid stream name", e.Stream)
	case e.Type == "":
		return fmt.Errorf("the event in stream %q has no type", e.Stream)
	case e.ID == uuid.Nil:
		return fmt.Errorf("the event in stream %q has no id", e.Stream)
	case e.Revision > deletedStream:
		return fmt.Errorf("%d is not a valid revision of an event in stream %q", e.Revision, e.Stream)
	}
	return nil
}

// refuseUnfinished refuses the folder of an incomplete import.
func refuseUnfinished(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("opening the log in %s: %w", dir, err)
	}
	for _, name := range names {
		if name == unfinished {
			return fmt.Errorf("opening the log in %s: it holds an incomplete restore; empty the folder and restore again", dir)
		}
	}
	return nil
}
