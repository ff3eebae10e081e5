package node

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// tail is the end of a write-ahead log. The node writes records sequentially and syncs
// each before the next begins. So a record after an unreadable one proves that the latter
// was synced and acknowledged, and damaged later; if nothing follows, the record may just
// as well have been cut off by a crash.
type tail struct {
	offset       int64  // the records are readable up to here
	beyond       bool   // a record follows the unreadable part
	acknowledged uint64 // the position before the first event of that record; 0 if unknown
}

// readTail reads a write-ahead log as Pebble does, and then searches what follows the
// place where Pebble stops.
func readTail(fsys vfs.FS, path string) (tail, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return tail{}, err
	}
	defer f.Close()
	whole, err := io.ReadAll(f)
	if err != nil {
		return tail{}, err
	}
	number, err := logNumber(fsys.PathBase(path))
	if err != nil {
		return tail{}, err
	}
	t := tail{offset: readable(whole, number)}
	t.find(whole, uint32(number))
	return t, nil
}

// logNumber returns the number of a write-ahead log, from its name.
func logNumber(name string) (uint64, error) {
	return strconv.ParseUint(strings.TrimSuffix(name, ".log"), 10, 64)
}

// newReader returns a reader of the records of a write-ahead log. The type of its number
// has no name outside Pebble.
func newReader[N ~uint64](open func(io.Reader, N) *record.Reader, r io.Reader, number uint64) *record.Reader {
	return open(r, N(number))
}

// readable returns the offset up to which the records of a write-ahead log can be read.
func readable(whole []byte, number uint64) int64 {
	r := newReader(record.NewReader, bytes.NewReader(whole), number)
	for {
		offset := r.Offset()
		if left := chunkBlock - offset%chunkBlock; left < chunkSyncHeader { // the rest of a block is too short for a record
			offset += left
		}
		rec, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, rec)
		}
		if err != nil {
			return offset
		}
	}
}

// The encoding of a record's first chunk, see Pebble's package record: a
// checksum of 4 bytes, a length of 2, a type of 1, the number of the log in 4,
// in the newer format an offset of 8, and the payload.
const (
	chunkBlock      = 32 << 10
	chunkHeader     = 11
	chunkSyncHeader = 19

	chunkFull, chunkFirst         = 5, 6
	chunkSyncFull, chunkSyncFirst = 9, 10
)

// find searches for the start of another record after the offset.
func (t *tail) find(whole []byte, number uint32) {
	mark := binary.LittleEndian.AppendUint32(nil, number)
	for at := int(t.offset) + 1; at+chunkHeader <= len(whole); at++ {
		i := bytes.Index(whole[at+7:], mark)
		if i < 0 {
			return
		}
		at += i
		if payload, ok := firstChunk(whole, at); ok {
			t.beyond = true
			if first := firstEvent(payload); first > 0 {
				t.acknowledged = first - 1
			}
			return
		}
	}
}

// firstChunk returns the payload of a record's first chunk, if one is at offset
// at.
func firstChunk(whole []byte, at int) ([]byte, bool) {
	header := 0
	switch whole[at+6] {
	case chunkFull, chunkFirst:
		header = chunkHeader
	case chunkSyncFull, chunkSyncFirst:
		header = chunkSyncHeader
	default:
		return nil, false
	}
	begin := at + header
	end := begin + int(binary.LittleEndian.Uint16(whole[at+4:]))
	if end > len(whole) || end > (at/chunkBlock+1)*chunkBlock || end == begin {
		return nil, false
	}
	sum := crc32.Checksum(whole[at+6:end], castagnoli)
	sum = bits.RotateLeft32(sum, 17) + 0xa282ead8 // so that a checksum of a checksum is not one
	return whole[begin:end], sum == binary.LittleEndian.Uint32(whole[at:])
}

// firstEvent returns the position of the first event in a batch, whose end may be
// missing; 0 if there is none.
func firstEvent(batch []byte) uint64 {
	entries := batchrepr.Read(batch)
	for {
		kind, key, _, ok, err := entries.Next()
		if err != nil || !ok {
			return 0
		}
		if kind == pebble.InternalKeyKindSet && len(key) == 9 && key[0] == prefixEvent {
			return beUint64(key[1:])
		}
	}
}

// setAside is appended to the name of a file that is kept although the log no longer uses
// it.
const setAside = ".lost"

// acceptLoss truncates the write-ahead logs where they become unreadable or a position is
// missing. What is removed is kept under another name.
func acceptLoss(fsys vfs.FS, dir string, in inspection) error {
	if len(in.logs) == 0 {
		return errors.New("there is no write-ahead log to truncate")
	}
	logs, err := logsFrom(fsys, dir, in.logs[0])
	if err != nil {
		return err
	}
	cut := -1 // the first log that is not complete
	for i, name := range logs {
		first, whole, err := logBegins(fsys, fsys.PathJoin(dir, name))
		if err != nil {
			return err
		}
		beyond := in.gap > 0 && first > in.gap
		if beyond || !whole || name == in.lastLog() && in.tail.beyond {
			cut = i
			if !beyond {
				if err := cutLog(fsys, fsys.PathJoin(dir, name)); err != nil {
					return err
				}
				cut++
			}
			break
		}
	}
	if cut < 0 {
		return nil // the log ends properly; it is only shorter than before
	}
	for _, name := range logs[cut:] {
		path := fsys.PathJoin(dir, name)
		if err := fsys.Rename(path, path+setAside); err != nil {
			return fmt.Errorf("setting %s aside: %w", name, err)
		}
	}
	return syncDir(fsys, dir)
}

// logsFrom returns the names of the write-ahead logs from one on, in order.
func logsFrom(fsys vfs.FS, dir, first string) ([]string, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	logs := matching(names, logPattern)
	slices.SortFunc(logs, compareLogs)
	return logs[slices.Index(logs, first):], nil
}

// compareLogs orders the names of write-ahead logs by their numbers.
func compareLogs(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }

// logBegins returns the first position in a write-ahead log, and whether the log
// can be read to its end.
func logBegins(fsys vfs.FS, path string) (first uint64, whole bool, err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	number, err := logNumber(fsys.PathBase(path))
	if err != nil {
		return 0, false, err
	}
	r := newReader(record.NewReader, f, number)
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return first, true, nil
		}
		var batch []byte
		if err == nil {
			batch, err = io.ReadAll(rec)
		}
		if err != nil {
			return first, false, nil //nolint:nilerr // that is the result
		}
		if first == 0 {
			first = firstEvent(batch)
		}
	}
}

// cutLog replaces a write-ahead log by its readable part.
func cutLog(fsys vfs.FS, path string) error {
	f, err := fsys.Open(path)
	if err != nil {
		return err
	}
	whole, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	number, err := logNumber(fsys.PathBase(path))
	if err != nil {
		return err
	}
	if err := fsys.Rename(path, path+setAside); err != nil {
		return err
	}
	short, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = short.Write(whole[:readable(whole, number)])
	return errors.Join(err, private(short), short.Sync(), short.Close())
}
