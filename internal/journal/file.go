package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrLocked is returned by Open if another process is writing the journal.
var ErrLocked = errors.New("another latchkey process is writing this journal of revocations")

// ahead is how much of the disk is reserved after the end of the journal, in bytes:
// revocations still work for a while on a full disk.
const ahead = 256 << 10

// room: the end of every line is at a multiple of it, in bytes. It fits a mark, and two
// of it are a sector, which a disk writes atomically; so a mark can be overwritten by
// another.
const room = 256

// file is a journal that is open for writing.
type file struct {
	f      *os.File
	disk   disk
	end    int64 // where the next line goes
	mark   int64 // length of the last line if it is a mark, else 0
	next   uint64
	failed bool // there may be garbage after the end
}

// disk is the file that lines are written to.
type disk interface {
	io.WriterAt
	Truncate(size int64) error
	Sync() error
}

// openFile opens a journal or creates it, with mode 0600, truncates what a crash left at
// its end, and returns its contents.
func openFile(path string) (_ *file, c *Contents, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the journal of revocations: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if c, err = parse(data); err != nil {
		return nil, nil, fmt.Errorf("opening %s: %w: move it away, and a new one is created from the log", path, err)
	}
	err = errors.Join(f.Chmod(0o600), f.Truncate(c.end), f.Sync(), syncDir(filepath.Dir(path)))
	if err != nil {
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	j := &file{f: f, disk: f, end: c.end, mark: c.mark, next: c.next}
	j.reserve()
	return j, c, nil
}

// write writes entries in one line and syncs it. After an error it may be called
// again.
func (j *file) write(entries []Entry) error {
	line, err := j.encode(entries)
	if err != nil {
		return err
	}
	if err := j.append(line); err != nil {
		return err
	}
	j.mark = 0
	j.next += uint64(len(entries))
	return nil
}

// writeMark writes a mark and syncs it, overwriting the last one if nothing was written
// since.
func (j *file) writeMark(e Entry) error {
	line, err := j.encode([]Entry{e})
	if err != nil {
		return err
	}
	if j.mark == room && len(line) == room && j.end%room == 0 {
		return j.sync(line, j.end-room)
	}
	if err := j.append(line); err != nil {
		return err
	}
	j.mark = int64(len(line))
	return nil
}

// encode returns the line of entries that are synced together, padded to room.
func (j *file) encode(entries []Entry) (line []byte, err error) {
	for i, e := range entries {
		e.N = j.next + uint64(i)
		if i > 0 {
			line = append(line, between)
		}
		if line, err = encode(line, e); err != nil {
			return nil, err
		}
	}
	if over := (j.end + int64(len(line)) + 1) % room; over > 0 {
		line = append(line, bytes.Repeat([]byte(" "), int(room-over))...)
	}
	return append(line, '\n'), nil
}

// append writes a line after the last one. The newline is written once the rest is
// synced: after a crash, a line that has one is complete.
func (j *file) append(line []byte) error {
	if j.failed {
		if err := errors.Join(j.disk.Truncate(j.end), j.disk.Sync()); err != nil {
			return fmt.Errorf("truncating the journal of revocations: %w", err)
		}
	}
	j.failed = true
	last := len(line) - 1
	if err := j.sync(line[:last], j.end); err != nil {
		return err
	}
	if err := j.sync(line[last:], j.end+int64(last)); err != nil {
		return err
	}
	j.failed = false
	j.end += int64(len(line))
	j.reserve()
	return nil
}

func (j *file) sync(data []byte, at int64) error {
	if _, err := j.disk.WriteAt(data, at); err != nil {
		return fmt.Errorf("writing the journal of revocations: %w", err)
	}
	if err := j.disk.Sync(); err != nil {
		return fmt.Errorf("syncing the journal of revocations: %w", err)
	}
	return nil
}

// reserve requests disk space after the end. Not every file system supports it.
func (j *file) reserve() {
	_ = unix.Fallocate(int(j.f.Fd()), unix.FALLOC_FL_KEEP_SIZE, j.end, ahead)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
