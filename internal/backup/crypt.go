package backup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
)

// ageMagic is the start of a file encrypted by age.
const ageMagic = "age-encryption.org/"

// Recipients reads the recipients of an archive: age public keys, or the passphrase in
// the first line of a file. With neither, the archive is not encrypted.
func Recipients(keys []string, passphraseFile string) ([]age.Recipient, error) {
	var list []age.Recipient
	for _, key := range keys {
		some, err := age.ParseRecipients(strings.NewReader(key))
		if err != nil {
			return nil, fmt.Errorf("%q is not an age public key: those begin with age1", key)
		}
		list = append(list, some...)
	}
	if passphraseFile == "" {
		return list, nil
	}
	if len(list) > 0 {
		return nil, errors.New("a backup is encrypted either to keys or with a passphrase, not both")
	}
	passphrase, err := readPassphrase(passphraseFile)
	if err != nil {
		return nil, err
	}
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("using the passphrase: %w", err)
	}
	return []age.Recipient{r}, nil
}

// Encrypt returns a writer that encrypts to the recipients, and must be closed. Without
// recipients it writes plain text.
func Encrypt(w io.Writer, to []age.Recipient) (io.WriteCloser, error) {
	if len(to) == 0 {
		return passOn{w}, nil
	}
	e, err := age.Encrypt(w, to...)
	if err != nil {
		return nil, fmt.Errorf("encrypting the backup: %w", err)
	}
	return e, nil
}

type passOn struct{ io.Writer }

func (passOn) Close() error { return nil }

// Decrypt returns a reader of an archive that may be encrypted; the names of the files
// with age private keys or the passphrase may be "".
func Decrypt(r io.Reader, identityFile, passphraseFile string) (io.Reader, error) {
	in := bufio.NewReader(r)
	begin, err := in.Peek(len(ageMagic))
	if err != nil || string(begin) != ageMagic {
		return in, nil // NewReader reports what is wrong with it
	}
	var with []age.Identity
	if identityFile != "" {
		if with, err = readIdentities(identityFile); err != nil {
			return nil, err
		}
	}
	if passphraseFile != "" {
		passphrase, err := readPassphrase(passphraseFile)
		if err != nil {
			return nil, err
		}
		id, err := age.NewScryptIdentity(passphrase)
		if err != nil {
			return nil, fmt.Errorf("using the passphrase: %w", err)
		}
		with = append(with, id)
	}
	if len(with) == 0 {
		return nil, errors.New("the backup is encrypted: name the key with --identity or the passphrase with --passphrase-file")
	}
	plain, err := age.Decrypt(in, with...)
	var noMatch *age.NoIdentityMatchError
	if errors.As(err, &noMatch) {
		return nil, errors.New("the backup cannot be decrypted: it was encrypted to another key or with another passphrase")
	}
	if err != nil {
		return nil, damaged(err)
	}
	return tampered{plain}, nil
}

// tampered describes errors of age in the text that it reads.
type tampered struct{ r io.Reader }

func (t tampered) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = damaged(err)
	}
	return n, err
}

func readIdentities(path string) ([]age.Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key of the backup: %w", err)
	}
	defer f.Close()
	list, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("reading the key of the backup %s: it holds no age private key", path)
	}
	return list, nil
}

// leastPassphrase is the minimum length of a passphrase in bytes.
const leastPassphrase = 12

func readPassphrase(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the passphrase: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimRight(line, "\r")
	if len(line) < leastPassphrase {
		return "", fmt.Errorf("the passphrase in %s is too short: it needs %d characters", path, leastPassphrase)
	}
	return line, nil
}
