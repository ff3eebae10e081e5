// Package notes remembers channels of cameras on the disk, so that what was begun there can
// be ended after a kill.
package notes

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"latchkey/domain/ids"
)

// Channel is a channel of a device.
type Channel struct {
	Device ids.Device `json:"device"`
	Number int        `json:"channel"`
}

// maxNotes limits how many notes are read at the start.
const maxNotes = 10_000

// Folder keeps notes in a folder: a file for each channel that is noted.
type Folder struct{ dir string }

// OpenFolder returns the notes in a folder, which is created if needed.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a folder of notes: %w", err)
	}
	return &Folder{dir}, nil
}

// path names the file of a channel. An id may be too long for one, or have a slash.
func (f *Folder) path(c Channel) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(c.Number) + " " + string(c.Device)))
	return filepath.Join(f.dir, hex.EncodeToString(sum[:16]))
}

// Note notes a channel: it is on the disk when it returns.
func (f *Folder) Note(c Channel) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("writing a note: %w", err)
	}
	if err := writeFile(f.path(c), text); err != nil {
		return fmt.Errorf("writing a note: %w", err)
	}
	dir, err := os.Open(f.dir)
	if err != nil {
		return fmt.Errorf("opening a folder of notes: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("syncing a folder of notes: %w", err)
	}
	return nil
}

func writeFile(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Sync(), file.Close())
}

// Drop removes a note. A crash may bring it back.
func (f *Folder) Drop(c Channel) error {
	if err := os.Remove(f.path(c)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a note: %w", err)
	}
	return nil
}

// All lists what is noted. A note that was not written completely is dropped: what was to
// follow it was never done.
func (f *Folder) All() ([]Channel, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("reading a folder of notes: %w", err)
	}
	var list []Channel
	var faults []error
	for _, e := range entries[:min(len(entries), maxNotes)] {
		path := filepath.Join(f.dir, e.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			faults = append(faults, fmt.Errorf("reading a note: %w", err))
			continue
		}
		var c Channel
		if json.Unmarshal(text, &c) == nil && f.path(c) == path {
			list = append(list, c)
		} else {
			faults = append(faults, os.Remove(path))
		}
	}
	return list, errors.Join(faults...)
}
