package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

var (
	// ErrNotFound: the vault has no such entry.
	ErrNotFound = errors.New("not in the vault")
	// ErrForgotten: the key of this person was destroyed; the text is gone.
	ErrForgotten = errors.New("forgotten")
	// ErrNoSession: the token is unknown or has expired.
	ErrNoSession = errors.New("no such session")
	// ErrWrongKey: the vault was sealed with another master key.
	ErrWrongKey = errors.New("the vault was sealed with another key")
)

// Vault is safe for concurrent use, also by several processes on one database.
type Vault struct {
	db     *bun.DB
	now    func() time.Time
	box    box    // wraps keys and secrets; derived from the master key
	naming []byte // keys the hashes in stream names; the same for ever
	dummy  string // a password hash that fits no password

	subjects subjectKeys
	hashing  chan struct{} // bounds the memory that password hashing takes
}

// tables are created where they are missing. Their columns are plain types, so
// that the same statements serve SQLite and PostgreSQL.
var tables = []any{
	(*setting)(nil), (*subject)(nil), (*password)(nil), (*session)(nil), (*secret)(nil),
}

// setting is a value of the vault itself, sealed.
type setting struct {
	bun.BaseModel `bun:"table:vault_settings"`

	Name  string `bun:"name,pk"`
	Value []byte `bun:"value,notnull"`
}

// Open opens the vault in db, or makes a new one there. ErrWrongKey: the
// database holds a vault that another master key has sealed.
func Open(ctx context.Context, db *bun.DB, master MasterKey, now func() time.Time) (*Vault, error) {
	for _, t := range tables {
		if _, err := db.NewCreateTable().Model(t).IfNotExists().Exec(ctx); err != nil {
			return nil, fmt.Errorf("creating the vault's tables: %w", err)
		}
	}
	v := &Vault{db: db, now: now, box: newBox(master[:], "latchkey vault v1"), hashing: make(chan struct{}, hashingAtOnce)}
	v.subjects.now = now
	var err error
	if v.naming, err = v.setting(ctx, "naming", randomKey()); err != nil {
		return nil, err
	}
	if v.dummy, err = hashPassword("no password has this hash"); err != nil {
		return nil, err
	}
	return v, nil
}

// setting reads a setting; the first process to ask gives it its value.
func (v *Vault) setting(ctx context.Context, name string, first []byte) ([]byte, error) {
	row := &setting{Name: name, Value: v.box.seal("setting "+name, first)}
	if _, err := v.db.NewInsert().Model(row).On("CONFLICT (name) DO NOTHING").Exec(ctx); err != nil {
		return nil, fmt.Errorf("writing the vault's %s: %w", name, err)
	}
	if err := v.db.NewSelect().Model(row).WherePK().Scan(ctx); err != nil {
		return nil, fmt.Errorf("reading the vault's %s: %w", name, err)
	}
	value, err := v.box.open("setting "+name, row.Value)
	if err != nil {
		return nil, fmt.Errorf("opening the vault: %w", ErrWrongKey)
	}
	return value, nil
}

// LoginHash is the name that an address has in the log: a keyed hash of its
// kind ("email" or "phone") and its normalised form, 32 hexadecimal digits.
// Without the vault nobody can find the address of a hash by trying.
func (v *Vault) LoginHash(kind, address string) string {
	mac := hmac.New(sha256.New, v.naming)
	fmt.Fprintf(mac, "login\x00%s\x00%s", kind, address)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// Ping says whether the vault's database answers.
func (v *Vault) Ping(ctx context.Context) error {
	if err := v.db.PingContext(ctx); err != nil {
		return fmt.Errorf("asking the vault's database: %w", err)
	}
	return nil
}

func notFound(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// subjectKeys remembers unwrapped keys for a short time, so that a key which
// another process destroys is not used here for longer than that.
type subjectKeys struct {
	now func() time.Time

	mu    sync.Mutex
	keys  map[string]siv
	until time.Time
}

const (
	subjectKeysKept = time.Minute
	subjectKeysMax  = 8_192
)

func (s *subjectKeys) get(name string) (siv, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().After(s.until) {
		s.keys = nil
	}
	k, ok := s.keys[name]
	return k, ok
}

func (s *subjectKeys) put(name string, k siv) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil || len(s.keys) >= subjectKeysMax {
		s.keys = make(map[string]siv)
		s.until = s.now().Add(subjectKeysKept)
	}
	s.keys[name] = k
}

func (s *subjectKeys) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, name)
}
