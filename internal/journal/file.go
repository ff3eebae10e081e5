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

// ErrLocked is returned by Open when another process writes the journal.
var ErrLocked = errors.New("another latchkey process writes this journal of revocations")

// ahead is how much of the disk is reserved after the end of the journal, in
// bytes: revocations go on for a while on a disk that is full.
const ahead = 256 << 10

// file is a journal that is open for writing.
type file struct {
	f    *os.File
	end  int64 // where the next line goes
	mark int64 // length of the mark that stands there
	next uint64
}

// openFile opens a journal or makes a new one, with mode 0600, cuts off what a
// crash left at its end, and returns what it holds.
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
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	err = errors.Join(f.Chmod(0o600), f.Truncate(c.end+c.mark), f.Sync(), syncDir(filepath.Dir(path)))
	if err != nil {
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	j := &file{f: f, end: c.end, mark: c.mark, next: c.next}
	j.reserve()
	return j, c, nil
}

// write writes lines in the place of the mark and syncs them. After an error it
// may be called again with the same lines.
func (j *file) write(entries []Entry) error {
	lines, err := j.encode(entries)
	if err != nil {
		return err
	}
	if err := j.sync(lines); err != nil {
		return err
	}
	j.end += int64(len(lines))
	j.mark = 0
	j.next += uint64(len(entries))
	j.reserve()
	return nil
}

// writeMark puts another mark in the place of the last one and syncs it.
func (j *file) writeMark(e Entry) error {
	line, err := j.encode([]Entry{e})
	if err != nil {
		return err
	}
	if err := j.sync(line); err != nil {
		return err
	}
	j.mark = int64(len(line))
	return nil
}

// encode makes lines that cover the mark in whose place they go.
func (j *file) encode(entries []Entry) (lines []byte, err error) {
	for i, e := range entries {
		e.N, e.Batch = j.next+uint64(i), j.next
		if lines, err = encode(lines, e); err != nil {
			return nil, err
		}
	}
	if lack := int(j.mark) - len(lines); lack > 0 {
		lines = append(lines[:len(lines)-1], bytes.Repeat([]byte(" "), lack)...)
		lines = append(lines, '\n')
	}
	return lines, nil
}

func (j *file) sync(lines []byte) error {
	if _, err := j.f.WriteAt(lines, j.end); err != nil {
		return fmt.Errorf("writing the journal of revocations: %w", err)
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("syncing the journal of revocations: %w", err)
	}
	return nil
}

// reserve asks for room on the disk after the end. Not every file system can.
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
