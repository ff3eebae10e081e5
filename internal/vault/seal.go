package vault

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// subject is a key of a person, wrapped. The row of an erased person has an
// empty key and no tag; it stays, so that no other key is ever made.
//
// A key made here has a random tag, which stands in every text that it seals.
// So a key that was lost with the vault is never mistaken for the one that was
// made after it, and opens its texts again once it is back. Keys of earlier
// versions have no tag.
type subject struct {
	bun.BaseModel `bun:"table:vault_subjects"`

	Subject string `bun:"subject,pk"`
	Tag     string `bun:"tag,pk"`
	Key     []byte `bun:"key,notnull"`
}

// name binds a wrapped key to its row.
func (s *subject) name() string {
	if s.Tag == "" {
		return "subject " + s.Subject
	}
	return "subject " + s.Subject + " " + s.Tag
}

// newSubject makes a key for a person.
func (v *Vault) newSubject(person string) (row *subject, key []byte) {
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails
	row, key = &subject{Subject: person, Tag: base64.RawURLEncoding.EncodeToString(raw)}, randomKey()
	row.Key = v.box.seal(row.name(), key)
	return row, key
}

// Seal encrypts text about a person with that person's key, making one on first
// use. The same text of the same person gives the same sealed string, as long as
// the vault has the key. Empty text stays empty. ErrForgotten: the person was
// erased.
func (v *Vault) Seal(ctx context.Context, person, plain string) (string, error) {
	if plain == "" {
		return "", nil
	}
	if person == "" || strings.Contains(person, ":") {
		return "", fmt.Errorf("sealing text of %q: not a subject", person)
	}
	k, err := v.keyToSeal(ctx, person)
	if err != nil {
		return "", fmt.Errorf("sealing text of %s: %w", person, err)
	}
	by := person
	if k.tag != "" {
		by += ":" + k.tag
	}
	return by + ":" + base64.RawURLEncoding.EncodeToString(k.seal(person, plain)), nil
}

// Unseal returns the text that Seal sealed. ErrForgotten: the person was erased.
// ErrUnreadable: the vault lacks the key of the text, or either is damaged.
func (v *Vault) Unseal(ctx context.Context, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	person, text, ok := strings.Cut(sealed, ":")
	tag := ""
	if t, rest, tagged := strings.Cut(text, ":"); tagged {
		tag, text = t, rest
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil {
		return "", fmt.Errorf("unsealing text of %s: %w: it is damaged", person, ErrUnreadable)
	}
	k, err := v.keyToOpen(ctx, person, tag)
	if err != nil {
		return "", fmt.Errorf("unsealing text of %s: %w", person, err)
	}
	plain, err := k.open(person, raw)
	if err != nil {
		return "", fmt.Errorf("unsealing text of %s: %w: %w", person, ErrUnreadable, err)
	}
	return plain, nil
}

// Forget destroys the keys of a person. Text sealed with them can never be read
// again here, and within a minute nowhere; sealing more is refused.
func (v *Vault) Forget(ctx context.Context, person string) error {
	err := v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		if _, err := tx.NewDelete().Model((*subject)(nil)).Where("subject = ?", person).Exec(ctx); err != nil {
			return false, err
		}
		_, err := tx.NewInsert().Model(&subject{Subject: person, Key: []byte{}}).Exec(ctx)
		return true, err
	})
	if err != nil {
		return fmt.Errorf("forgetting %s: %w", person, err)
	}
	v.persons.drop(person)
	return nil
}

// Knows reports whether the vault has a key of a person, or remembers that the
// person was forgotten. A person with text in the log whom it does not know was
// lost with a part of the vault.
func (v *Vault) Knows(ctx context.Context, person string) (bool, error) {
	known, err := v.db.NewSelect().Model((*subject)(nil)).Where("subject = ?", person).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("looking for the key of %s: %w", person, err)
	}
	return known, nil
}

// keyToSeal returns the key for new text about a person, making one if the vault
// has none.
func (v *Vault) keyToSeal(ctx context.Context, person string) (personKey, error) {
	p, ok := v.persons.get(person)
	if !ok || len(p.keys) == 0 {
		var err error
		if p, err = v.loadPerson(ctx, person); err != nil {
			return personKey{}, err
		}
	}
	if !p.erased && len(p.keys) == 0 {
		var err error
		if p, err = v.makeKey(ctx, person); err != nil {
			return personKey{}, err
		}
	}
	switch {
	case p.erased:
		return personKey{}, ErrForgotten
	case len(p.keys) == 0:
		return personKey{}, errors.New("a key was made and is not there")
	}
	return p.keys[0], nil
}

// makeKey makes a key for a person, unless somebody else is faster.
func (v *Vault) makeKey(ctx context.Context, name string) (person, error) {
	made := make(chan person, 2) // the change may be tried twice, and the last try counts
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		p, err := v.ensureKey(ctx, tx, name)
		made <- p
		return err
	})
	if err != nil {
		return person{}, err
	}
	if !v.sqlite { // two processes may have made one each, and use the same
		return v.loadPerson(ctx, name)
	}
	var p person
	for len(made) > 0 {
		p = <-made
	}
	v.persons.put(name, p)
	return p, nil
}

// ensureKey makes a key for a person, unless there is one that can be used or
// the person was erased.
func (v *Vault) ensureKey(ctx context.Context, tx bun.Tx, name string) (person, error) {
	p, err := v.readPerson(ctx, tx.Tx.StmtContext(ctx, v.readSubject), name)
	if err != nil || p.erased || len(p.keys) > 0 {
		return p, err
	}
	row, key := v.newSubject(name)
	_, err = tx.NewInsert().Model(row).Exec(ctx)
	return person{keys: []personKey{{siv: newSIV(key), tag: row.Tag}}}, err
}

// keyToOpen returns the key of a person that has the tag.
func (v *Vault) keyToOpen(ctx context.Context, person, tag string) (personKey, error) {
	p, ok := v.persons.get(person)
	k, found := p.find(tag)
	if !ok || !found && !p.erased { // another process may have made it
		var err error
		if p, err = v.loadPerson(ctx, person); err != nil {
			return personKey{}, err
		}
		k, found = p.find(tag)
	}
	switch {
	case p.erased:
		return personKey{}, ErrForgotten
	case !found:
		return personKey{}, fmt.Errorf("%w: the vault lacks its key", ErrUnreadable)
	}
	return k, nil
}

// loadPerson reads the keys of a person and remembers them for a while.
func (v *Vault) loadPerson(ctx context.Context, name string) (person, error) {
	p, err := v.readPerson(ctx, v.readSubject, name)
	if err == nil {
		v.persons.put(name, p)
	}
	return p, err
}

// readPerson reads the keys of a person. One that cannot be unwrapped is left
// out.
func (v *Vault) readPerson(ctx context.Context, read *sql.Stmt, name string) (p person, err error) {
	rows, err := subjects(read.QueryContext(ctx, name))
	if err != nil {
		return person{}, fmt.Errorf("reading the keys of %s: %w", name, err)
	}
	for _, row := range rows {
		if len(row.Key) == 0 {
			return person{erased: true}, nil
		}
		if key, err := v.box.open(row.name(), row.Key); err == nil {
			p.keys = append(p.keys, personKey{siv: newSIV(key), tag: row.Tag})
		}
	}
	return p, nil
}

func subjects(rows *sql.Rows, err error) (list []subject, _ error) {
	if err != nil {
		return nil, err
	}
	for rows.Next() && err == nil {
		var row subject
		err = rows.Scan(&row.Subject, &row.Tag, &row.Key)
		list = append(list, row)
	}
	return list, errors.Join(err, rows.Close(), rows.Err())
}

// person is what the vault has of a person.
type person struct {
	erased bool
	keys   []personKey // the first seals new text
}

type personKey struct {
	siv
	tag string
}

func (p person) find(tag string) (personKey, bool) {
	for _, k := range p.keys {
		if k.tag == tag {
			return k, true
		}
	}
	return personKey{}, false
}

// persons remembers unwrapped keys for a short time, so that a key which another
// process destroys is not used here for longer than that.
type persons struct {
	now func() time.Time

	mu    sync.Mutex
	known map[string]person
	until time.Time
}

const (
	personsKept = time.Minute
	personsMax  = 8_192
)

func (s *persons) get(name string) (person, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().After(s.until) {
		s.known = nil
	}
	p, ok := s.known[name]
	return p, ok
}

func (s *persons) put(name string, p person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= personsMax {
		s.known = make(map[string]person)
		s.until = s.now().Add(personsKept)
	}
	s.known[name] = p
}

func (s *persons) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, name)
}
