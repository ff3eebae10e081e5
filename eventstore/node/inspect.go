package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	// ErrDamaged is returned by Open for a log with a missing or unreadable file. Nothing
	// was changed in its folder.
	ErrDamaged = errors.New("the log is damaged")
	// ErrLoss is returned by Open, as a *LossError, for a log from which acknowledged
	// events are missing. Nothing was changed in its folder.
	ErrLoss = errors.New("acknowledged events are missing")
)

// LossError describes what is missing from a log. It is an ErrLoss.
type LossError struct {
	Dir          string
	Last         uint64 // the position at which the log ends
	Acknowledged uint64 // the last position that is known to have been acknowledged
	Why          string
}

func (e *LossError) Error() string {
	return fmt.Sprintf("the log in %s ends at position %d, but position %d was acknowledged (%s): restore it from a backup, or accept the loss with `latchkey recover`",
		e.Dir, e.Last, e.Acknowledged, e.Why)
}

func (e *LossError) Unwrap() error { return ErrLoss }

// damaged describes why a log cannot be opened.
func damaged(dir, format string, args ...any) error {
	return fmt.Errorf("%w: in %s %s; restore it from a backup (nothing was changed)", ErrDamaged, dir, fmt.Sprintf(format, args...))
}

// The names of Pebble's files.
var (
	logPattern      = regexp.MustCompile(`^[0-9]{6,}\.log$`)
	tablePattern    = regexp.MustCompile(`^[0-9]{6,}\.sst$`)
	manifestPattern = regexp.MustCompile(`^marker\.manifest\.[0-9]+\.(MANIFEST-[0-9]+)$`)
	formatPattern   = regexp.MustCompile(`^marker\.format-version\.[0-9]+\.[0-9]+$`)
	pebblePattern   = regexp.MustCompile(`^([0-9]{6,}\.(log|sst|blob|dbtmp)|MANIFEST-[0-9]+|OPTIONS-[0-9]+|marker\..+)$`)
	missingPattern  = regexp.MustCompile(`L[0-9]: ([0-9]{6,})`)
)

func matching(names []string, pattern *regexp.Regexp) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !pattern.MatchString(name) })
}

// inspection is what was found in a folder before anything was changed in it.
type inspection struct {
	fresh bool     // there is no log
	last  uint64   // the last position
	logs  []string // the needed write-ahead logs, in order
	bytes uint64   // of the records in them
	tail  tail     // of the last of them
	gap   uint64   // the highest position that is missing below the last; 0: none
	below uint64   // the position below the gap
}

// inspect reads the folder and changes nothing.
func inspect(fsys vfs.FS, dir string, logger *slog.Logger) (inspection, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return inspection{}, fmt.Errorf("opening the log in %s: %w", dir, err)
	}
	slices.Sort(names)
	if len(matching(names, pebblePattern)) == 0 && !slices.Contains(names, markName) {
		return inspection{fresh: true}, nil
	}
	if err := checkNames(dir, names); err != nil {
		return inspection{}, err
	}
	in, err := read(fsys, dir, logger)
	if !pebble.IsCorruptionError(err) || len(in.logs) == 0 {
		return in, err
	}
	// A write-ahead log is damaged if Pebble is sure that more follows. How far does the
	// log reach up to there?
	t, tailErr := readTail(fsys, fsys.PathJoin(dir, in.lastLog()))
	if tailErr != nil {
		return in, err
	}
	t.beyond = true
	short, shortErr := read(&cutFS{FS: fsys, name: in.lastLog(), length: t.offset}, dir, logger)
	if shortErr != nil {
		return in, err
	}
	short.tail = t
	return short, nil
}

// lastLog is the name of the last write-ahead log that was read.
func (in inspection) lastLog() string { return in.logs[len(in.logs)-1] }

// read opens the log read-only. Pebble does not delete, flush or create anything
// meanwhile.
func read(fsys vfs.FS, dir string, logger *slog.Logger) (inspection, error) {
	watched := &watchedFS{FS: fsys}
	db, err := pebble.Open(dir, readOnlyOptions(watched, logger))
	in := inspection{logs: watched.logs()}
	if err != nil {
		return in, unreadable(dir, err)
	}
	err = in.readEnd(fsys, dir, db, logger)
	return in, errors.Join(err, db.Close())
}

// cutFS presents one write-ahead log as truncated, and none of the later ones.
type cutFS struct {
	vfs.FS
	name   string
	length int64
}

func (c *cutFS) Unwrap() vfs.FS { return c.FS }

func (c *cutFS) List(dir string) ([]string, error) {
	names, err := c.FS.List(dir)
	return slices.DeleteFunc(names, func(name string) bool {
		return logPattern.MatchString(name) && compareLogs(name, c.name) > 0
	}), err
}

func (c *cutFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.Open(name, opts...)
	if err != nil || c.PathBase(name) != c.name {
		return f, err
	}
	return &cutFile{File: f, left: c.length}, nil
}

// cutFile is the beginning of a file.
type cutFile struct {
	vfs.File
	left int64
}

func (c *cutFile) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.EOF
	}
	n, err := c.File.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// checkNames checks that the files exist that every log has.
func checkNames(dir string, names []string) error {
	if len(matching(names, formatPattern)) == 0 {
		return damaged(dir, "the file marker.format-version.* is missing")
	}
	markers := matching(names, manifestPattern)
	if len(markers) == 0 {
		return damaged(dir, "the file marker.manifest.* is missing")
	}
	// Of several the last counts: the others are from an interrupted move.
	manifest := manifestPattern.FindStringSubmatch(markers[len(markers)-1])[1]
	if !slices.Contains(names, manifest) {
		return damaged(dir, "the file %s is missing", manifest)
	}
	if len(matching(names, logPattern)) == 0 {
		return damaged(dir, "the write-ahead log (*.log) is missing")
	}
	return nil
}

// checkManifest checks the manifest for unreadable records. Pebble ignores everything
// after one, as after a crash in the middle of writing it; it would then not know
// existing files of the log.
func checkManifest(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return nil // the error found before is more specific
	}
	slices.Sort(names)
	markers := matching(names, manifestPattern)
	if len(markers) == 0 {
		return nil
	}
	name := manifestPattern.FindStringSubmatch(markers[len(markers)-1])[1]
	f, err := fsys.Open(fsys.PathJoin(dir, name))
	if err != nil {
		return nil
	}
	defer f.Close()
	whole, err := io.ReadAll(f)
	if err != nil {
		return damaged(dir, "the file %s cannot be read", name)
	}
	end := min(readable(whole, 0), int64(len(whole)))
	if len(bytes.Trim(whole[end:], "\x00")) > 0 {
		return damaged(dir, "the file %s is damaged at byte %d", name, end)
	}
	return nil
}

func readOnlyOptions(fsys vfs.FS, logger *slog.Logger) *pebble.Options {
	o := pebbleOptions(fsys, nil, logger)
	o.ReadOnly, o.ErrorIfNotExists, o.CacheSize = true, true, 8<<20
	o.FS = unlockedFS{fsys} // the caller has the lock
	return o
}

// unlockedFS grants every lock.
type unlockedFS struct{ vfs.FS }

func (unlockedFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }
func (f unlockedFS) Unwrap() vfs.FS               { return f.FS }

// watchedFS records which write-ahead logs are read.
type watchedFS struct {
	vfs.FS
	mu     sync.Mutex
	opened []string
}

func (w *watchedFS) Unwrap() vfs.FS { return w.FS }

func (w *watchedFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if base := w.PathBase(name); logPattern.MatchString(base) {
		w.mu.Lock()
		w.opened = append(w.opened, base)
		w.mu.Unlock()
	}
	return w.FS.Open(name, opts...)
}

func (w *watchedFS) logs() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.opened)
}

// unreadable describes in one sentence what Pebble has found.
func unreadable(dir string, err error) error {
	if errors.Is(err, iofs.ErrPermission) {
		return fmt.Errorf("opening the log in %s: this user cannot read all of its files: change their owner to the service's user (%w)", dir, err)
	}
	text := err.Error()
	if m := missingPattern.FindStringSubmatch(text); m != nil {
		what := "is missing"
		if strings.Contains(text, "size mismatch") {
			what = "has the wrong size"
		}
		return fmt.Errorf("%w (%w)", damaged(dir, "the file %s.sst %s", m[1], what), err)
	}
	return fmt.Errorf("%w (%w)", damaged(dir, "a file cannot be read"), err)
}

// readEnd finds where the log ends and whether it is complete up to there.
func (in *inspection) readEnd(fsys vfs.FS, dir string, db *pebble.DB, logger *slog.Logger) error {
	var err error
	if in.last, err = lastPosition(db); err != nil {
		return fmt.Errorf("%w (%w)", damaged(dir, "the end of the log cannot be read"), err)
	}
	for i, name := range in.logs {
		path := fsys.PathJoin(dir, name)
		if i == len(in.logs)-1 {
			in.tail, err = readTail(fsys, path)
			in.bytes += uint64(in.tail.offset)
		} else if info, statErr := fsys.Stat(path); statErr == nil {
			in.bytes += uint64(info.Size())
		}
		if err != nil {
			return fmt.Errorf("opening the log in %s: reading %s: %w", dir, name, err)
		}
	}
	if in.gap, in.below, err = findGap(db, in.last, in.bytes); err != nil {
		// It is found and refused again when it is read there.
		logger.Error("the log is damaged: a part of it cannot be read", "folder", dir, "error", err)
	}
	return nil
}

// leastChecked is the minimum number of events checked at the end of the log.
const leastChecked = 1000

// findGap searches for a missing position among the last events, as many as the
// write-ahead logs can hold, as only those can go missing unnoticed: all tables are named
// in the manifest. It returns the highest missing position, 0 for none, and the position
// below the gap.
func findGap(db *pebble.DB, last, bytes uint64) (gap, below uint64, err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixEvent}, UpperBound: eventKey(nil, last+1)})
	if err != nil {
		return 0, 0, fmt.Errorf("looking for gaps: %w", err)
	}
	want, seen, checked := last, uint64(0), 0
	ok := it.Last()
	for ; ok && (seen <= bytes || checked < leastChecked); ok = it.Prev() {
		if below = beUint64(it.Key()[1:]); below != want {
			return want, below, it.Close()
		}
		value := it.LazyValue()
		seen += uint64(value.Len()) + 100
		want--
		checked++
	}
	if err := it.Close(); err != nil {
		return 0, 0, fmt.Errorf("looking for gaps below position %d: %w", want+1, err)
	}
	if !ok {
		return want, 0, nil // all positions down to it are there; 0 is before the first
	}
	return 0, 0, nil
}

// lastPosition is that of the last event, 0 for an empty log.
func lastPosition(db *pebble.DB) (uint64, error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixEvent}, UpperBound: []byte{prefixEvent + 1}})
	if err != nil {
		return 0, err
	}
	var pos uint64
	if it.Last() {
		pos = beUint64(it.Key()[1:])
	}
	return pos, it.Close()
}

// loss compares what was found with what is known to have been acknowledged. It returns
// nil if nothing is missing.
func (in inspection) loss(dir string, marked uint64) *LossError {
	switch {
	case in.gap > 0:
		return &LossError{Dir: dir, Last: in.below, Acknowledged: in.last, Why: fmt.Sprintf("position %d is missing between others", in.gap)}
	case in.tail.beyond:
		return &LossError{Dir: dir, Last: in.last, Acknowledged: max(in.tail.acknowledged, in.last+1, marked),
			Why: fmt.Sprintf("%s is damaged at byte %d, before its end", in.lastLog(), in.tail.offset)}
	case in.last < marked:
		return &LossError{Dir: dir, Last: in.last, Acknowledged: marked, Why: "by the file " + markName}
	}
	return nil
}
