package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/eventstore"
	"latchkey/internal/pause"
	"latchkey/internal/vault"
)

// findVault opens the vault if it exists, and changes nothing otherwise. The key's place
// is defined by decision 0004.
func (p *opened) findVault(ctx context.Context, o options, logger *slog.Logger) error {
	if isPostgres(o.Database) {
		return p.findVaultOnServer(ctx, o, logger)
	}
	path := o.vaultPath()
	info, err := os.Stat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return fmt.Errorf("looking for the vault: %w", err)
	}
	key, err := vault.ReadMasterKey(o.keyPath())
	noKey := errors.Is(err, fs.ErrNotExist)
	switch {
	case noKey && o.VaultKey != "":
		return fmt.Errorf("--vault-key: the file %s does not exist", o.VaultKey)
	case err != nil && !noKey:
		return fmt.Errorf("%w: put the right key there", err)
	case missing || info.Size() == 0:
		return nil
	}
	if p.vaultDB, err = vault.OpenFile(path); err != nil {
		return damagedVault(path, err)
	}
	exists, err := vault.Exists(ctx, p.vaultDB)
	switch {
	case err != nil:
		return damagedVault(path, err)
	case !exists:
		return nil
	case noKey:
		return fmt.Errorf("%s is missing, but the vault %s cannot be read without it: put the key back, or name it with --vault-key", o.keyPath(), path)
	}
	return p.useVault(ctx, key, path)
}

func damagedVault(path string, err error) error {
	const readAndWrite = 6
	switch denied := syscall.Access(path, readAndWrite); {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("reading the vault: %w", err)
	case errors.Is(denied, syscall.EACCES):
		return fmt.Errorf("the vault cannot be read: this user cannot read and write %s: change its owner to the service's user", path)
	case errors.Is(denied, syscall.EROFS):
		return fmt.Errorf("the vault cannot be read: %s is on a read-only disk, but must be writable", path)
	}
	if !vault.Damaged(err) {
		return fmt.Errorf("the vault cannot be used: %w", err)
	}
	return fmt.Errorf("the vault cannot be read: %w: put %s back from a backup", err, path)
}

func (p *opened) findVaultOnServer(ctx context.Context, o options, logger *slog.Logger) error {
	exists, err := vault.Exists(ctx, p.vaultBase())
	if err != nil {
		return err
	}
	var key vault.MasterKey
	if o.VaultKey != "" {
		key, err = vault.ReadMasterKey(o.VaultKey)
	} else {
		logger.Warn("the vault's key is kept in the database: anyone with a copy can read the vault; --vault-key keeps it elsewhere")
		if exists {
			key, err = vault.ReadMasterKeyInDatabase(ctx, p.vaultBase())
		}
	}
	if errors.Is(err, vault.ErrNotFound) {
		return errors.New("the vault's key is not in the database, and the vault cannot be read without it: name it with --vault-key")
	}
	if err != nil || !exists {
		return err
	}
	return p.useVault(ctx, key, "the database")
}

// useVault opens an existing vault with its key.
func (p *opened) useVault(ctx context.Context, key vault.MasterKey, where string) (err error) {
	p.vault, err = vault.Open(ctx, p.vaultBase(), key, time.Now)
	if errors.Is(err, vault.ErrWrongKey) {
		return fmt.Errorf("%w: start with the key that it was made with (see --vault-key)", err)
	}
	if errors.Is(err, vault.ErrMixed) {
		return fmt.Errorf("the vault cannot be used: %s and %s-wal are from different times, so they may grant what was already revoked: put both back from one copy, or use latchkey restore", where, where)
	}
	if err != nil {
		return damagedVault(where, err)
	}
	if p.vault.Packed() {
		p.logger.Info("the vault was rewritten to remove forgotten data from its file", "vault", where)
	}
	return nil
}

// logWithin limits the wait for the log that must be checked before a vault is created.
const logWithin = 30 * time.Second

// makeVault creates a vault, and its key, for a log without accounts. With a log that has
// accounts, an empty vault would lock everybody out, and give every address to the first
// person who registers it.
func (p *opened) makeVault(ctx context.Context, o options) error {
	waiting, cancel := context.WithTimeout(ctx, logWithin)
	defer cancel()
	used, err := holdsAccounts(waiting, p.log)
	if err != nil {
		return fmt.Errorf("a new vault is only created for a log without accounts: %w", err)
	}
	if used {
		return o.vaultMissing()
	}
	key, err := o.newKey(ctx, p)
	if err != nil {
		return err
	}
	if p.vaultDB == nil && !isPostgres(o.Database) {
		if err := vault.CreateFile(o.vaultPath()); err != nil {
			return err
		}
		if p.vaultDB, err = vault.OpenFile(o.vaultPath()); err != nil {
			return err
		}
	}
	return p.useVault(ctx, key, o.vaultPath())
}

// newKey returns the key for a new vault.
func (o options) newKey(ctx context.Context, p *opened) (vault.MasterKey, error) {
	switch {
	case o.VaultKey != "":
		return vault.ReadMasterKey(o.VaultKey)
	case isPostgres(o.Database):
		return vault.MasterKeyInDatabase(ctx, p.vaultBase())
	default:
		return vault.ReadOrCreateMasterKey(o.keyPath())
	}
}

// vaultMissing describes what to do about a log with accounts but without a vault.
func (o options) vaultMissing() error {
	const restore = "put it back from the backup that belongs to this log, with its key, or use latchkey restore"
	if isPostgres(o.Database) {
		return errors.New("the log has accounts, but the database has no vault: " + restore)
	}
	if info, err := os.Stat(o.vaultPath()); err == nil {
		return fmt.Errorf("the log has accounts, but the vault %s is empty (%d bytes): %s", o.vaultPath(), info.Size(), restore)
	}
	return fmt.Errorf("the log has accounts, but the vault %s is missing: %s", o.vaultPath(), restore)
}

func (o options) vaultPath() string { return filepath.Join(o.Data, "vault.db") }

func (o options) keyPath() string {
	if o.VaultKey != "" {
		return o.VaultKey
	}
	return filepath.Join(o.Data, "vault.key")
}

// errFound ends a read of the log.
var errFound = errors.New("found")

// holdsAccounts reports whether the log has any event of ours; the first one is always of
// an account. It retries until the log responds or the context ends.
func holdsAccounts(ctx context.Context, log *eventstore.Client) (bool, error) {
	for {
		err := log.ReadAll(ctx, 0, event.Prefix, func(eventstore.Recorded) error { return errFound })
		if errors.Is(err, errFound) {
			return true, nil
		}
		if !errors.Is(err, eventstore.ErrUnavailable) || !pause.For(ctx, time.Second) {
			return false, err
		}
	}
}

// matchVault compares the vault with the log, and refuses one that does not belong to it.
// A vault that is older than the log may be served; sessions that were ended since then
// must not come back, so all of them end, and passwords that were replaced are void. ErrUnavailable: the log does not respond, and
// the comparison was not made.
func (p *opened) matchVault(ctx context.Context, logger *slog.Logger) error {
	id, err := p.log.Identify(ctx)
	if err != nil {
		return err
	}
	mark, err := p.vault.Mark(ctx)
	if err != nil {
		return err
	}
	if err := p.refuseEmptied(ctx); err != nil {
		return err
	}
	if mark.Log == "" { // new, or from a version without marks
		err = p.vault.SetMark(ctx, vault.Mark{Log: id.Log.String(), Epoch: id.Epoch})
	} else {
		err = p.holds(ctx, mark)
	}
	if err != nil {
		return err
	}
	return p.compareTaken(ctx, logger)
}

// refuseEmptied refuses a vault without any password for a log with accounts.
func (p *opened) refuseEmptied(ctx context.Context) error {
	empty, err := p.vault.Empty(ctx)
	if err != nil || !empty {
		return err
	}
	used, err := holdsAccounts(ctx, p.log)
	if err == nil && used {
		err = errors.New("the log has accounts, but the vault has none: put the vault back from the backup that belongs to this log, or use latchkey restore")
	}
	return err
}

// holds refuses a vault whose mark the log does not have.
func (p *opened) holds(ctx context.Context, m vault.Mark) error {
	mark, err := logMark(m)
	if err != nil {
		return err
	}
	err = p.log.Holds(ctx, mark)
	switch {
	case errors.Is(err, eventstore.ErrOtherLog), errors.Is(err, eventstore.ErrNoIdentity):
		return fmt.Errorf("the vault belongs to another log: %w: correct --data, --eventstore or --database, or put back the vault of this log", err)
	case errors.Is(err, eventstore.ErrOtherEpoch):
		return p.otherEpoch(ctx, m)
	case errors.Is(err, eventstore.ErrLogCut):
		head, headErr := headOf(ctx, p.log)
		if headErr != nil {
			return headErr
		}
		return fmt.Errorf("the vault has seen position %d of the log, but the log ends at %d or is another copy: %w: put the newer log back, or run latchkey recover", m.Position, head, err)
	}
	return err
}

func (p *opened) otherEpoch(ctx context.Context, m vault.Mark) error {
	id, err := p.log.Identity(ctx)
	if err != nil {
		return err
	}
	if id.Epoch > m.Epoch {
		return fmt.Errorf("the log was restored (epoch %d) without its vault (epoch %d): put back the vault that was restored with it, or use latchkey restore for both", id.Epoch, m.Epoch)
	}
	return fmt.Errorf("the vault is from a later epoch of the log (%d) than the log itself (%d): put the newer log back, or use latchkey restore for both", m.Epoch, id.Epoch)
}

func logMark(m vault.Mark) (eventstore.Mark, error) {
	mark := eventstore.Mark{Identity: eventstore.Identity{Epoch: m.Epoch}, Position: m.Position}
	var err error
	if mark.Log, err = uuid.Parse(m.Log); err == nil && m.Position > 0 {
		mark.Event, err = uuid.Parse(m.Event)
	}
	if err != nil {
		return mark, fmt.Errorf("reading the mark of the vault: %w", err)
	}
	return mark, nil
}

// The stream vaultStream records, outside the vault, which vault the log is used with and
// how much was revoked in it. Neither name may ever change. The type does not begin with
// the prefix that projections subscribe to.
const (
	vaultStream = "latchkey-vault"
	vaultType   = "latchkey-vault.seen.v1"
)

// vaultSeen is an event of vaultStream.
type vaultSeen struct {
	Vault string `json:"vault"`
	Taken uint64 `json:"taken"`
}

// lastSeen returns the last event of vaultStream; expected is the revision for appending
// the next one.
func (p *opened) lastSeen(ctx context.Context) (seen vaultSeen, expected eventstore.Expected, err error) {
	last, err := p.log.Last(ctx, vaultStream)
	if errors.Is(err, eventstore.ErrStreamNotFound) {
		return vaultSeen{}, eventstore.NoStream(), nil
	}
	if err == nil {
		err = json.Unmarshal(last.Data, &seen)
	}
	if err != nil {
		return vaultSeen{}, expected, fmt.Errorf("reading the log's record of its vault: %w", err)
	}
	return seen, eventstore.Exactly(last.Revision), nil
}

// errOtherVault is returned for a vault other than the one that the log was used with.
var errOtherVault = errors.New("the log was used with another vault: put that one back, with its key, from the backup that belongs to this log")

// compareTaken ends all sessions if the vault is an older copy in which ended sessions
// are still alive, and then records the number of revocations.
func (p *opened) compareTaken(ctx context.Context, logger *slog.Logger) error {
	for {
		err := p.compareTakenOnce(ctx, logger)
		if !errors.Is(err, eventstore.ErrConflict) {
			return err
		}
	}
}

func (p *opened) compareTakenOnce(ctx context.Context, logger *slog.Logger) error {
	seen, expected, err := p.lastSeen(ctx)
	if err != nil {
		return err
	}
	if seen.Vault != "" && seen.Vault != p.vault.ID() {
		return errOtherVault
	}
	taken, err := p.vault.Taken(ctx)
	if err != nil {
		return err
	}
	if taken < seen.Taken {
		logger.Warn("the vault is an older copy, in which ended sessions were still alive: ending all sessions", "changes_lost", seen.Taken-taken)
		if err := p.voidPasswords(ctx, logger); err != nil { // first: the next step makes the vault count as matched
			return err
		}
		if err := p.vault.EndAllSessions(ctx, seen.Taken+1); err != nil {
			return err
		}
		if taken, err = p.vault.Taken(ctx); err != nil {
			return err
		}
	}
	if seen.Vault != "" && taken == seen.Taken {
		return nil
	}
	data, err := json.Marshal(vaultSeen{Vault: p.vault.ID(), Taken: taken})
	if err != nil {
		return err
	}
	_, err = p.log.Append(eventstore.WithReserve(ctx), vaultStream, expected, eventstore.Event{ID: uuid.New(), Type: vaultType, Data: data})
	return err
}

// voidPasswords makes the passwords void that were replaced after the vault was copied.
func (p *opened) voidPasswords(ctx context.Context, logger *slog.Logger) error {
	mark, err := p.vault.Mark(ctx)
	if err != nil {
		return err
	}
	count := 0
	err = p.log.ReadAll(ctx, mark.Position, account.PasswordChanged{}.Type(), func(r eventstore.Recorded) error {
		revoked, _, err := catalogue.RevocationOf(r.ID, r.Type, r.Data)
		if err != nil {
			return err
		}
		done, err := p.vault.VoidPassword(ctx, revoked.Account)
		if done {
			count++
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("making passwords void that were replaced since: %w", err)
	}
	if count > 0 {
		logger.Warn("passwords that were replaced since the vault was copied are void: their accounts need new ones, by a code to an address or by latchkey account password", "accounts", count)
	}
	return nil
}
