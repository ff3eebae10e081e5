package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// subject is a wrapped key of a person. The row of an erased person has an empty key and
// no tag; it stays, so that no new key is ever made. The row of a destroyed key has the
// single byte destroyed; it stays, too, so that the text it sealed counts as forgotten,
// not as unreadable.
//
// A key made here has a random tag, which is part of every text that it seals. So a key
// that was lost with the vault is never mistaken for a later one, and opens its texts
// again once it is restored. Keys of earlier versions have no tag.
type subject struct {
	bun.BaseModel `bun:"table:vault_subjects"`

	Subject string `bun:"subject,pk"`
	Tag     string `bun:"tag,pk"`
	Key     []byte `bun:"key,notnull"`
}

// destroyed replaces a key that was destroyed alone: other keys of the person are not
// affected.
var destroyed = []byte{0}

// name binds a wrapped key to its row.
func (s *subject) name() string {
	if s.Tag == "" {
		return "subject " + s.Subject
	}
	return "subject " + s.Subject + " " + s.Tag
}

// newSubject returns a new key for a person.
func (v *Vault) newSubject(person string) (row *subject, key []byte) {
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails
	row, key = &subject{Subject: person, Tag: base64.RawURLEncoding.EncodeToString(raw)}, randomKey()
	row.Key = v.box.seal(row.name(), key)
	return row, key
}

// bound marks text that is bound to its field. Base64 has no dots: text of earlier
// versions, which was bound to its person only, is never taken for it.
const bound = "2."

// boundName is what text of a field about a person is bound to. No person's name has a
// colon, so it differs from all names used by earlier versions.
func boundName(person, field string) string { return ":" + person + ":" + field }

// Seal encrypts text about a person with that person's key, making one on first use, and
// binds it to its kind of field: Unseal does not open it for another. The same text for
// the same field of the same person returns the same sealed string, as long as the vault
// has the key. Empty text stays empty. ErrForgotten: the person was erased.
func (v *Vault) Seal(ctx context.Context, person, field, plain string) (string, error) {
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
	return by + ":" + bound + base64.RawURLEncoding.EncodeToString(k.seal(boundName(person, field), plain)), nil
}

// Unseal returns the text that Seal sealed for the same kind of field, or that an earlier
// version sealed for any. ErrForgotten: the person or the key of the text was erased.
// ErrUnreadable: the key of the text is missing, the text is of another field, or key or
// text is damaged.
func (v *Vault) Unseal(ctx context.Context, field, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	person, text, ok := strings.Cut(sealed, ":")
	tag := ""
	if t, rest, tagged := strings.Cut(text, ":"); tagged {
		tag, text = t, rest
	}
	name := person
	if rest, is := strings.CutPrefix(text, bound); is {
		name, text = boundName(person, field), rest
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil {
		return "", fmt.Errorf("unsealing text of %s: %w: it is damaged", person, ErrUnreadable)
	}
	k, err := v.keyToOpen(ctx, person, tag)
	if err != nil {
		return "", fmt.Errorf("unsealing text of %s: %w", person, err)
	}
	plain, err := k.open(name, raw)
	if err != nil {
		return "", fmt.Errorf("unsealing text of %s: %w: %w", person, ErrUnreadable, err)
	}
	return plain, nil
}

// Keep returns how long text that is opened after the call may be kept: until the version
// has changed, as something was forgotten here, and at most until the time, as something
// may have been forgotten elsewhere.
func (v *Vault) Keep() (version uint64, until time.Time) { return v.persons.keep() }

// Forget destroys the keys of a person, the credentials of an account (its password and
// its sessions), and when it used devices. Text sealed with the keys can never be read
// again here, and within a minute nowhere; sealing more is refused.
//
// Forget also accepts one of the names that KeysOf returns: then it destroys that key
// only, even if it is not in this vault, and text that is sealed afterwards gets another
// key. This is for holders of an address: the next holder's texts are not affected,
// however often the same key is forgotten again.
func (v *Vault) Forget(ctx context.Context, name string) error {
	person, tag, alone := strings.Cut(name, ":")
	if !alone {
		v.streamUses.writing.RLock()
		defer v.streamUses.writing.RUnlock()
		v.streamUses.drop(func(of streamUseOf) bool { return of.account == person })
	}
	err := v.takeAway(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		if alone {
			return v.destroyKey(ctx, tx, person, tag)
		}
		return true, v.erase(ctx, tx, person)
	})
	if err != nil {
		return fmt.Errorf("forgetting %s: %w", name, err)
	}
	v.persons.drop(person)
	return nil
}

// erase leaves of a person only the fact that they existed.
func (v *Vault) erase(ctx context.Context, tx bun.Tx, person string) error {
	if _, err := tx.NewDelete().Model((*subject)(nil)).Where("subject = ?", person).Exec(ctx); err != nil {
		return err
	}
	if _, err := tx.NewDelete().Model((*password)(nil)).Where("account = ?", person).Exec(ctx); err != nil {
		return err
	}
	if _, err := tx.NewDelete().Model((*session)(nil)).Where("account = ?", person).Exec(ctx); err != nil {
		return err
	}
	if _, err := forgetStreamUses(ctx, tx, "account", person); err != nil {
		return err
	}
	for _, table := range []any{(*outgoing)(nil), (*invitation)(nil), (*application)(nil), (*notice)(nil), (*webhook)(nil), (*alarmCopy)(nil), (*pushRow)(nil)} {
		if _, err := tx.NewDelete().Model(table).Where("account = ?", person).Exec(ctx); err != nil {
			return err
		}
	}
	if _, err := tx.NewDelete().Model((*alarmReceiver)(nil)).Where("owner = ?", person).Exec(ctx); err != nil {
		return err
	}
	if err := forgetShareCodes(ctx, tx, person); err != nil {
		return err
	}
	_, err := tx.NewInsert().Model(&subject{Subject: person, Key: []byte{}}).Exec(ctx)
	return err
}

// destroyKey destroys a key, and reports whether it was not destroyed before.
func (v *Vault) destroyKey(ctx context.Context, tx bun.Tx, person, tag string) (bool, error) {
	p, err := v.readPerson(ctx, tx.Tx.StmtContext(ctx, v.readSubject), person) //nolint:sqlclosecheck // it is closed with the transaction
	if err != nil || p.erased || slices.Contains(p.destroyed, tag) {
		return false, err
	}
	_, err = tx.NewInsert().Model(&subject{Subject: person, Tag: tag, Key: destroyed}).
		On("CONFLICT (subject, tag) DO UPDATE").Set("key = EXCLUDED.key").Exec(ctx)
	return true, err
}

// KeysOf returns the names of the keys with which text about a person may be sealed now,
// as accepted by Forget; none for a person who is unknown or was erased. The name of a
// key is not a secret.
func (v *Vault) KeysOf(ctx context.Context, person string) ([]string, error) {
	var tags []string
	err := v.db.NewSelect().Model((*subject)(nil)).Column("tag").
		Where("subject = ?", person).Where("length(?) > ?", bun.Ident("key"), len(destroyed)).Order("tag").Scan(ctx, &tags)
	if err != nil {
		return nil, fmt.Errorf("listing the keys of %s: %w", person, err)
	}
	for i := range tags {
		tags[i] = person + ":" + tags[i]
	}
	return tags, nil
}

// Erased reports whether a person was erased on purpose.
func (v *Vault) Erased(ctx context.Context, person string) (bool, error) {
	erased, err := v.db.NewSelect().Model((*subject)(nil)).Where("subject = ?", person).Where("length(?) = 0", bun.Ident("key")).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("looking up %s: %w", person, err)
	}
	return erased, nil
}

// Knows reports whether the vault has a key of a person, or remembers that the person was
// forgotten. An unknown person with text in the log was lost with a part of the vault.
func (v *Vault) Knows(ctx context.Context, person string) (bool, error) {
	known, err := v.db.NewSelect().Model((*subject)(nil)).Where("subject = ?", person).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("looking up the key of %s: %w", person, err)
	}
	return known, nil
}

// keyToSeal returns the key for new text about a person, making one if needed.
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
		return personKey{}, errors.New("a key was created but is missing")
	}
	return p.keys[0], nil
}

// makeKey makes a key for a person, unless another caller is faster.
func (v *Vault) makeKey(ctx context.Context, name string) (person, error) {
	drops, _ := v.persons.keep()
	made := make(chan person, 2) // the change may be tried twice; the last attempt counts
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
	v.persons.put(name, p, drops)
	return p, nil
}

// ensureKey makes a key for a person, unless a usable one exists or the person was
// erased.
func (v *Vault) ensureKey(ctx context.Context, tx bun.Tx, name string) (person, error) {
	p, err := v.readPerson(ctx, tx.Tx.StmtContext(ctx, v.readSubject), name)
	if err != nil || p.erased || len(p.keys) > 0 {
		return p, err
	}
	row, key := v.newSubject(name)
	_, err = tx.NewInsert().Model(row).Exec(ctx)
	p.keys = []personKey{{siv: newSIV(key), tag: row.Tag}}
	return p, err
}

// keyToOpen returns the key of a person that has the tag.
func (v *Vault) keyToOpen(ctx context.Context, person, tag string) (personKey, error) {
	p, ok := v.persons.get(person)
	k, found := p.find(tag)
	if !ok || !found && !p.erased && !slices.Contains(p.destroyed, tag) { // another process may have made it
		var err error
		if p, err = v.loadPerson(ctx, person); err != nil {
			return personKey{}, err
		}
		k, found = p.find(tag)
	}
	switch {
	case p.erased, slices.Contains(p.destroyed, tag):
		return personKey{}, ErrForgotten
	case !found:
		return personKey{}, fmt.Errorf("%w: its key is not in the vault", ErrUnreadable)
	}
	return k, nil
}

// loadPerson reads the keys of a person and caches them.
func (v *Vault) loadPerson(ctx context.Context, name string) (person, error) {
	drops, _ := v.persons.keep()
	p, err := v.readPerson(ctx, v.readSubject, name)
	if err == nil {
		v.persons.put(name, p, drops)
	}
	return p, err
}

// readPerson reads the keys of a person, without those that cannot be unwrapped.
func (v *Vault) readPerson(ctx context.Context, read *sql.Stmt, name string) (p person, err error) {
	rows, err := subjects(read.QueryContext(ctx, name))
	if err != nil {
		return person{}, fmt.Errorf("reading the keys of %s: %w", name, err)
	}
	for _, row := range rows {
		if len(row.Key) == 0 {
			return person{erased: true}, nil
		}
		if bytes.Equal(row.Key, destroyed) {
			p.destroyed = append(p.destroyed, row.Tag)
			continue
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

// person is what the vault knows about a person.
type person struct {
	erased    bool
	destroyed []string    // tags of keys that were destroyed individually
	keys      []personKey // the first seals new text
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

// persons caches unwrapped keys briefly, so that a key destroyed by another process is
// not used here for longer than that.
type persons struct {
	now func() time.Time

	mu    sync.Mutex
	known map[string]person
	until time.Time
	drops uint64 // how often somebody was dropped: what was read before may be wrong
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

// put keeps what was read about a person, unless somebody was dropped since.
func (s *persons) put(name string, p person, drops uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drops != drops {
		return
	}
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
	s.drops++
}

// keep returns how often somebody was dropped, and until when keys that are cached now may
// be used.
func (s *persons) keep() (drops uint64, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.known == nil || now.After(s.until) {
		return s.drops, now.Add(personsKept)
	}
	return s.drops, s.until
}
