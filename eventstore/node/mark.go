package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// markName is the file that records how far the log was acknowledged. Pebble takes a
// damaged end of its last write-ahead log for the end of the log; the mark reveals the
// difference.
const markName = "latchkey.mark"

// The file has two slots, each in its own sector, that are written alternately: whatever
// a crash leaves of one, the other is intact.
//
//	magic       8 bytes
//	version     4 bytes, of the log's format
//	generation  8 bytes; the slot with the higher one counts
//	position    8 bytes: the last that was acknowledged
//	checksum    4 bytes, CRC-32C of the rest
const (
	markMagic   = "latchkey"
	markVersion = 1
	markSector  = 4096
	markBytes   = 32
	markEvery   = 100 * time.Millisecond // the minimum interval between writes
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errMark    = errors.New("its file " + markName + " is damaged")
)

// markSlot is the content of one slot.
type markSlot struct{ generation, position uint64 }

func (m markSlot) encode() []byte {
	b := append(make([]byte, 0, markBytes), markMagic...)
	b = binary.BigEndian.AppendUint32(b, markVersion)
	b = be(be(b, m.generation), m.position)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeMark reads one slot. It returns false if the slot is damaged.
func decodeMark(b []byte) (m markSlot, version uint32, ok bool) {
	if len(b) < markBytes || string(b[:8]) != markMagic || binary.BigEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return m, 0, false
	}
	return markSlot{beUint64(b[12:]), beUint64(b[20:])}, binary.BigEndian.Uint32(b[8:]), true
}

// readMark returns the mark of a folder. found is false for a log that was written before
// there were marks.
func readMark(fsys vfs.FS, dir string) (m markSlot, found bool, err error) {
	f, err := fsys.Open(fsys.PathJoin(dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	defer f.Close()
	whole, err := io.ReadAll(io.LimitReader(f, 2*markSector))
	if err != nil {
		return m, false, err
	}
	for offset := 0; offset < len(whole); offset += markSector {
		slot, version, ok := decodeMark(whole[offset:])
		if !ok {
			continue
		}
		if version > markVersion {
			return m, false, fmt.Errorf("it was written by a newer version of latchkey (format %d)", version)
		}
		if !found || slot.generation > m.generation {
			m, found = slot, true
		}
	}
	if !found {
		return m, false, errMark
	}
	return m, true, nil
}

// writeMark creates the file of a mark atomically.
func writeMark(fsys vfs.FS, dir string, m markSlot) error {
	name := fsys.PathJoin(dir, markName)
	f, err := fsys.Create(name+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("writing the log's mark: %w", err)
	}
	whole := make([]byte, 2*markSector)
	copy(whole, m.encode())
	copy(whole[markSector:], m.encode())
	_, err = f.Write(whole)
	if err = errors.Join(err, private(f), f.Sync(), f.Close()); err == nil {
		err = errors.Join(fsys.Rename(name+".new", name), syncDir(fsys, dir))
	}
	if err != nil {
		return fmt.Errorf("writing the log's mark: %w", err)
	}
	return nil
}

// marker writes the mark while the log is open.
type marker struct {
	file vfs.File
	last markSlot
	wake chan struct{} // of capacity 1: the log has grown
	done chan struct{} // closed when keep has ended
	warn func(error)   // called for the first failure in a row
	bad  bool
}

func openMarker(fsys vfs.FS, dir string, last markSlot, warn func(error)) (*marker, error) {
	f, err := fsys.OpenReadWrite(fsys.PathJoin(dir, markName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("opening the log's mark: %w", err)
	}
	return &marker{file: f, last: last, wake: make(chan struct{}, 1), done: make(chan struct{}), warn: warn}, nil
}

// grown reports that the log has grown. It never blocks.
func (m *marker) grown() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// keep follows position until closing.
func (m *marker) keep(position func() uint64, closing <-chan struct{}) {
	defer close(m.done)
	for {
		select {
		case <-m.wake:
			m.set(position())
		case <-closing:
			return
		}
		select {
		case <-time.After(markEvery):
		case <-closing:
			return
		}
	}
}

// set writes a position into the older slot. If that fails, the mark is merely older.
func (m *marker) set(position uint64) {
	if position <= m.last.position {
		return
	}
	next := markSlot{m.last.generation + 1, position}
	_, err := m.file.WriteAt(next.encode(), int64(next.generation%2)*markSector)
	if err = errors.Join(err, m.file.SyncData()); err != nil {
		if !m.bad {
			m.warn(err)
		}
		m.bad = true
		return
	}
	m.last, m.bad = next, false
}

// close writes the last position, when nothing else writes any more.
func (m *marker) close(position uint64) error {
	<-m.done
	m.set(position)
	return m.file.Close()
}
