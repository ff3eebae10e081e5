package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/uptrace/bun"

	"latchkey/internal/hashing"
	"latchkey/internal/heavy"
)

var (
	// ErrNotFound is returned if the vault has no such entry.
	ErrNotFound = errors.New("not in the vault")
	// ErrForgotten is returned if the keys of a person were destroyed; the text is gone.
	ErrForgotten = errors.New("forgotten")
	// ErrUnreadable is returned if a sealed text cannot be opened although its person was
	// not forgotten. Its key is missing from the vault, or it is damaged.
	ErrUnreadable = errors.New("unreadable")
	// ErrNoSession is returned for a token that is unknown or has expired.
	ErrNoSession = errors.New("no such session")
	// ErrBadHash is returned if the hash of a password was not made by a vault. It is not
	// computed, as it might take any time and memory.
	ErrBadHash = errors.New("the hash of the password is damaged or has parameters that are out of bounds")
	// ErrWrongKey is returned if the vault was sealed with another master key.
	ErrWrongKey = errors.New("the vault was sealed with another key")
)

// Vault is safe for concurrent use, also by several processes on one database.
type Vault struct {
	*writer
	statements
	now    func() time.Time
	box    box    // wraps keys and secrets; derived from the master key
	naming []byte // keys the hashes in stream names; never changes
	// binding keys the MACs of rows; derived from the master key.
	binding []byte
	dummy   string // a password hash that no password matches

	persons    persons
	scrub      scrubber
	uses       uses // of sessions
	streamUses streamUses
	expired    hourly // requests
	hashing    *hashing.Queue

	afterCheck func() // for tests
}

// tables are created if missing. Their columns have plain types, so that the same
// statements serve SQLite and PostgreSQL.
var tables = []any{
	(*setting)(nil), (*subject)(nil), (*password)(nil), (*session)(nil), (*secret)(nil), (*state)(nil), (*request)(nil), (*limit)(nil), (*network)(nil), (*outgoing)(nil), (*code)(nil), (*invitation)(nil),
	(*streamUse)(nil), (*shareCode)(nil), (*application)(nil), (*notice)(nil), (*reminder)(nil), (*webhook)(nil),
	(*alarmRow)(nil), (*alarmCopy)(nil), (*alarmCount)(nil), (*alarmReceiver)(nil), (*pushRow)(nil), (*lease)(nil),
}

// setting is a value of the vault itself, sealed.
type setting struct {
	bun.BaseModel `bun:"table:vault_settings"`

	Name  string `bun:"name,pk"`
	Value []byte `bun:"value,notnull"`
}

// settingNaming is the setting that keys the hashes in stream names. It exists from the
// vault's beginning.
const settingNaming = "naming"

// Open opens the vault in db, or creates one there; Exists reports which. ErrWrongKey:
// the database holds a vault sealed with another master key.
func Open(ctx context.Context, db *bun.DB, master MasterKey, now func() time.Time) (*Vault, error) {
	exists, err := Exists(ctx, db)
	if err != nil {
		return nil, err
	}
	v := &Vault{
		writer: &writer{db: db, sqlite: isSQLite(db)}, now: now,
		box: newBox(master[:], "latchkey vault v1"), binding: derive(master[:], "latchkey vault rows v1"), hashing: hashing.New(heavy.Cores(runtime.GOMAXPROCS(0))),
	}
	v.persons.now = now
	bound := !exists
	if exists { // a wrong key must not change anything
		if v.naming, bound, err = v.namingOf(ctx, db); err != nil {
			return nil, err
		}
	}
	if err := prepare(ctx, db); err != nil {
		return nil, fmt.Errorf("preparing the vault's tables: %w", err)
	}
	if err := v.sameTime(ctx); err != nil {
		return nil, err
	}
	if !bound {
		if err := v.bindRows(ctx); err != nil {
			return nil, err
		}
	}
	if err := v.scrubOpened(ctx, exists); err != nil {
		return nil, err
	}
	if v.statements, err = prepareStatements(ctx, db); err != nil {
		return nil, err
	}
	if !exists {
		if v.naming, err = v.firstNaming(ctx, randomKey()); err != nil {
			return nil, err
		}
	}
	if v.raise, err = unsynced(ctx, db); err != nil {
		return nil, err
	}
	if v.dummy, err = hashPassword("no password has this hash"); err != nil {
		return nil, err
	}
	return v, nil
}

// unsynced reports whether the server's commits do not wait for the disk unless requested
// to.
func unsynced(ctx context.Context, db *bun.DB) (bool, error) {
	if isSQLite(db) {
		return false, nil
	}
	var commit string
	if err := db.NewRaw("SHOW synchronous_commit").Scan(ctx, &commit); err != nil {
		return false, fmt.Errorf("reading the database's commit settings: %w", err)
	}
	return commit == "off", nil
}

// firstNaming creates the naming key; of several concurrent processes, the first sets its
// value.
func (v *Vault) firstNaming(ctx context.Context, value []byte) ([]byte, error) {
	row := &setting{Name: settingNaming, Value: v.box.seal(boundNaming, value)}
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(row).On("CONFLICT (name) DO NOTHING").Exec(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("writing the vault's naming key: %w", err)
	}
	naming, _, err := v.namingOf(ctx, v.db)
	return naming, err
}

// LoginHash returns the name of an address in the log: a keyed hash of its kind ("email"
// or "phone") and its normalised form, 32 hexadecimal digits. Without the vault, the
// address of a hash cannot be found by trial.
func (v *Vault) LoginHash(kind, address string) string {
	mac := hmac.New(sha256.New, v.naming)
	fmt.Fprintf(mac, "login\x00%s\x00%s", kind, address)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// Ping reports whether the vault's database responds, and accepts writes. If it rejected
// the last change, Ping fails for some seconds, and then tries a change itself.
func (v *Vault) Ping(ctx context.Context) error {
	if err := v.db.PingContext(ctx); err != nil {
		return fmt.Errorf("pinging the vault's database: %w", err)
	}
	failed := v.doubt.Load()
	if failed == 0 {
		return nil
	}
	if time.Since(time.Unix(0, failed)) < doubtFor {
		return errors.New("the vault's database rejected the last change")
	}
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(&state{ID: stateRow}).On("CONFLICT (id) DO UPDATE").Set("taken = state.taken").Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("writing to the vault's database: %w", err)
	}
	return nil
}

func notFound(err error) bool { return errors.Is(err, sql.ErrNoRows) }
