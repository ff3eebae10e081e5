package vault

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MasterKey is the 32-byte key that wraps every other key of a vault. Anyone who has it
// and the database can read the vault; without it nobody can.
type MasterKey [32]byte

// NewMasterKey returns a random key.
func NewMasterKey() MasterKey {
	var k MasterKey
	_, _ = rand.Read(k[:]) // crypto/rand.Read never fails: it ends the process instead
	return k
}

// ParseMasterKey reads the text form: 44 characters of base64.
func ParseMasterKey(text []byte) (MasterKey, error) {
	var k MasterKey
	raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(raw) != len(k) {
		return k, errors.New("a vault key must be 32 bytes in base64")
	}
	copy(k[:], raw)
	return k, nil
}

// Text returns the form that ParseMasterKey reads.
func (k MasterKey) Text() string { return base64.StdEncoding.EncodeToString(k[:]) }

// ReadMasterKey reads the key file. It refuses a file that others than its owner may
// read.
func ReadMasterKey(path string) (MasterKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return MasterKey{}, fmt.Errorf("reading the vault key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return MasterKey{}, fmt.Errorf("reading the vault key: %s may be read by others (mode %v): make it 0600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return MasterKey{}, fmt.Errorf("reading the vault key: %w", err)
	}
	k, err := ParseMasterKey(text)
	if err != nil {
		return MasterKey{}, fmt.Errorf("reading the vault key %s: %w", path, err)
	}
	return k, nil
}

// ReadOrCreateMasterKey reads the key file, or creates it with mode 0600 if missing. The
// file is complete and synced before it has its name, so a crash leaves either no key or
// a complete one.
func ReadOrCreateMasterKey(path string) (MasterKey, error) {
	k, err := ReadMasterKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	k = NewMasterKey()
	tmp, err := os.CreateTemp(filepath.Dir(path), ".vault-key-*") // mode 0600
	if err != nil {
		return k, fmt.Errorf("creating the vault key: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(k.Text() + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return k, fmt.Errorf("creating the vault key: %w", err)
	}
	// Link fails if another process was first; its key is then used.
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return k, fmt.Errorf("creating the vault key: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return k, fmt.Errorf("creating the vault key: %w", err)
	}
	return ReadMasterKey(path)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
