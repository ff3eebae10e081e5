package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/uptrace/bun"

	"latchkey/domain/ids"
	"latchkey/eventstore"
	"latchkey/internal/app"
	"latchkey/internal/audit"
	"latchkey/internal/backup"
	"latchkey/internal/journal"
	"latchkey/internal/position"
	"latchkey/internal/vault"
	"latchkey/projections"
)

// since are the flags about revocations since the log's end.
type since struct {
	Journal        []string `env:"LATCHKEY_RESTORE_JOURNAL" placeholder:"FILE,..." help:"Journals of revocations of the service whose log this was, one of each process (revocations.journal in its data folder)."`
	NoJournal      bool     `help:"There is no such journal: revoke everything that was granted to others, as some of it may have been revoked already. Owners must share again, and everybody must create new stream keys."`
	NothingRevoked bool     `help:"There is no such journal, and you vouch that nothing was revoked since: nobody removed a device from a share or an account, edited or left one, or revoked a stream key."`
	KeepSessions   bool     `help:"Keep sessions, codes and invitations. Those that have ended, were used or revoked since the backup are valid again, too."`
}

// askForJournal is the advice for backup.ErrNoJournal.
const askForJournal = `: name the journals of revocations of the service with --journal FILE; ` +
	`or, if they are lost, take back everything that was given to others with --no-journal, or vouch for it with --nothing-revoked that nothing was taken back since`

func (s since) without() (backup.Without, error) {
	switch {
	case s.NoJournal && s.NothingRevoked:
		return backup.Refuse, &configFaults{[]string{"only one of --no-journal and --nothing-revoked is possible"}}
	case s.NoJournal:
		return backup.TakeBack, nil
	case s.NothingRevoked:
		return backup.Trust, nil
	}
	return backup.Refuse, nil
}

const withoutDamaged = `: name another copy of it with --journal FILE; ` +
	`or, if there is none, move it away, and take back everything that was given to others with --no-journal, or vouch for it with --nothing-revoked that nothing was taken back since`

// readJournals warns about a journal that may have been truncated.
func readJournals(w io.Writer, paths []string) (backup.Journals, error) {
	var list backup.Journals
	for _, path := range paths {
		c, err := journal.Read(path)
		if errors.Is(err, journal.ErrDamaged) {
			err = fmt.Errorf("%w%s", err, withoutDamaged)
		}
		if err != nil {
			return nil, err
		}
		if c.Torn {
			fmt.Fprintf(w, "warning: %s ends in the middle of a line, after a crash or because it was truncated: it records revocations only up to position %d of the log\n", path, c.Last().Position)
		}
		list = append(list, c)
	}
	return list, nil
}

// restoreCommand creates a data folder from a backup.
type restoreCommand struct {
	Logging `embed:""`

	From     string `arg:"" placeholder:"FILE" help:"The backup; or - for standard input."`
	Data     string `default:"latchkey-data" placeholder:"DIR" help:"The data folder to make: missing, or empty (${default})."`
	Database string `default:"sqlite" placeholder:"DSN" help:"Where to put the vault: sqlite (in the data folder) or postgres://..., a database without a vault (${default})."`
	VaultKey string `placeholder:"FILE" help:"File with the key of the vault, if it is kept apart. Without it: the key in the backup."`
	To       string `env:"LATCHKEY_RESTORE_TO" placeholder:"POSITION|TIME" help:"Restore up to this position of the log, or up to this time: 2026-01-02T15:04:05Z, 2026-01-02T15:04 or 2026-01-02, in UTC. Without it: all of it."`
	since
	Identity       string `placeholder:"FILE" help:"Private key of age, for a backup that is encrypted to its public key."`
	PassphraseFile string `placeholder:"FILE" help:"The passphrase of the backup is the first line of this file."`
	Check          bool   `help:"Check the backup: restore it into a temporary folder, which is removed again. It needs no journal."`
	Quiet          bool   `help:"Do not report progress."`
}

// Help returns additional text for --help.
func (*restoreCommand) Help() string {
	return `The backup is restored beside the data folder, checked, and put in its place only if it is whole. Read models are made from the log when the service starts.

What was taken back after the end of the restored log is taken back again, as the journals of revocations say (--journal). Without a journal that reaches as far as the backup, restore stops and asks. Sessions end; everybody logs in again.

  latchkey restore latchkey-20260102T030000Z-123456.backup --data /var/lib/latchkey --journal /mnt/other/revocations.journal
  latchkey restore --check latchkey-20260102T030000Z-123456.backup`
}

// Run restores, and reports its progress on standard error.
func (c *restoreCommand) Run(ctx context.Context, std streams) (err error) {
	until, without, err := c.check()
	if err != nil {
		return err
	}
	journals, err := readJournals(std.err, c.Journal)
	if err != nil {
		return err
	}
	logger := c.logger(std)
	place := &placing{data: c.Data, database: c.Database, ownKey: c.VaultKey != ""}
	if c.Check {
		without = backup.Trust
		place = &placing{data: filepath.Join(os.TempDir(), "latchkey-check"), database: "sqlite", only: true}
	}
	if err := place.begin(ctx, logger); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.end()) }()
	target := backup.Target{
		Dir: place.stage, To: until, Journals: journals, Without: without, KeepSessions: c.KeepSessions,
		OpenVault: openVaultFile, UseCases: restoredUseCases, SetMark: setVaultMark,
		Logger: logger, Progress: newBackupProgress(std.err, c.Quiet).tell,
	}
	if target.Key, err = c.key(); err != nil {
		return err
	}
	done, err := c.restore(ctx, std.in, target)
	if errors.Is(err, backup.ErrNoJournal) {
		err = fmt.Errorf("%w%s", err, askForJournal)
	}
	if err != nil {
		return err
	}
	if c.Check {
		fmt.Fprintf(std.err, "the backup is whole: %d events, up to position %d, and %d rows of the vault, of %s\n", done.Events, done.Position, done.Rows, done.Created.Format(time.RFC3339))
		return nil
	}
	if err := place.finish(ctx, done.Key, logger); err != nil {
		return err
	}
	c.tell(std.err, done)
	return nil
}

// check reads the flags.
func (c *restoreCommand) check() (backup.Until, backup.Without, error) {
	var u backup.Until
	if c.Database != "sqlite" && !isPostgres(c.Database) {
		return u, 0, &configFaults{[]string{"--database: want sqlite or postgres://..."}}
	}
	if c.To != "" {
		at, err := position.Parse(c.To)
		if err == nil && at > 0 {
			u.Position = at
		} else if u.Time, err = audit.ParseTime(c.To, time.UTC); err != nil {
			return u, 0, &configFaults{[]string{fmt.Sprintf("--to: %q is neither a position nor a time", c.To)}}
		}
	}
	without, err := c.without()
	return u, without, err
}

func (c *restoreCommand) key() (*vault.MasterKey, error) {
	if c.VaultKey == "" {
		return nil, nil
	}
	k, err := vault.ReadMasterKey(c.VaultKey)
	return &k, err
}

func (c *restoreCommand) restore(ctx context.Context, in io.Reader, t backup.Target) (done backup.Restored, err error) {
	if c.From != "-" {
		f, err := os.Open(c.From)
		if err != nil {
			return done, fmt.Errorf("opening the backup: %w", err)
		}
		defer f.Close()
		in = f
	}
	plain, err := backup.Decrypt(in, c.Identity, c.PassphraseFile)
	if err != nil {
		return done, err
	}
	return backup.Restore(ctx, plain, t)
}

// tell reports what was restored.
func (c *restoreCommand) tell(w io.Writer, r backup.Restored) {
	fmt.Fprintf(w, "restored %d events, up to position %d, and the vault of %s to %s; the log is in epoch %d now\n",
		r.Events, r.Position, r.Created.Format(time.RFC3339), c.Data, r.Epoch)
	tellRepeated(w, r.Repeated, r.Erased)
	if r.LeftOut > 0 {
		fmt.Fprintf(w, "%d later events of the backup were left out\n", r.LeftOut)
	}
	if c.NoJournal {
		fmt.Fprintln(w, "as no journal records what was revoked since, everything that was granted to others was revoked: owners must share again, and everybody must create new stream keys; passwords are those of the backup: whoever has changed theirs since must do so again")
	}
	if !c.KeepSessions {
		fmt.Fprintln(w, "all sessions, codes and invitations have ended: everybody must log in again")
	}
	fmt.Fprintln(w, "the read models are rebuilt from the log when the service starts")
}

func tellRepeated(w io.Writer, revocations, erased int) {
	if revocations > 0 {
		fmt.Fprintf(w, "%d revocations that the log lacked were repeated\n", revocations)
	}
	if erased > 0 {
		fmt.Fprintf(w, "%d erased persons were erased again\n", erased)
	}
}

// placing puts a data folder in its place: everything is first created in a folder next
// to it, or inside it if it cannot be replaced.
type placing struct {
	data, database string
	ownKey         bool // the vault's key is kept elsewhere
	only           bool // nothing is put in place

	stage string
	store *projections.Store // PostgreSQL; nil: the vault stays in the folder
}

// begin refuses a folder or a database that is in use, and creates the stage.
func (p *placing) begin(ctx context.Context, logger *slog.Logger) (err error) {
	if p.only {
		p.stage, err = os.MkdirTemp("", "latchkey-check-")
		return err
	}
	entries, err := os.ReadDir(p.data)
	exists := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading the data folder: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("the data folder %s is not empty: restore into an empty one, or move this one away (nothing was changed)", p.data)
	}
	if isPostgres(p.database) {
		if p.store, err = projections.Open(ctx, projections.OpenConfig{Database: p.database, Logger: logger}); err != nil {
			return err
		}
		empty, err := vault.Empty(ctx, p.store.DB())
		if err != nil || !empty {
			return errors.Join(err, p.store.Close(), errors.New("the database already holds a vault: restore into a database without one (nothing was changed)"))
		}
	}
	parent, base := filepath.Split(filepath.Clean(p.data))
	if parent == "" {
		parent = "."
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return fmt.Errorf("creating the parent of the data folder: %w", err)
	}
	if exists && !sameDevice(parent, p.data) { // a mount point cannot be replaced
		parent, base = p.data, "latchkey"
	}
	if p.stage, err = os.MkdirTemp(parent, "."+base+".restore-*"); err != nil {
		return fmt.Errorf("creating a folder to restore into: %w", err)
	}
	return nil
}

func sameDevice(a, b string) bool {
	var sa, sb syscall.Stat_t
	return syscall.Stat(a, &sa) == nil && syscall.Stat(b, &sb) == nil && sa.Dev == sb.Dev
}

// finish puts the restored data in its place.
func (p *placing) finish(ctx context.Context, key vault.MasterKey, logger *slog.Logger) error {
	if p.store != nil {
		if err := p.moveVault(ctx, key); err != nil {
			return fmt.Errorf("putting the vault into the database: %w", err)
		}
	}
	if err := syncTree(p.stage); err != nil {
		return fmt.Errorf("syncing the restored files: %w", err)
	}
	if filepath.Dir(p.stage) == filepath.Clean(p.data) {
		return p.unpack()
	}
	if err := os.Remove(p.data); err != nil && !errors.Is(err, os.ErrNotExist) { // it is empty
		return fmt.Errorf("putting the data folder in its place: %w", err)
	}
	if err := os.Rename(p.stage, p.data); err != nil {
		return fmt.Errorf("putting the data folder in its place: %w", err)
	}
	return backup.SyncDir(filepath.Dir(filepath.Clean(p.data)))
}

// unpack moves the content of the stage to the folder around it, the log last: a served
// log has everything.
func (p *placing) unpack() error {
	entries, err := os.ReadDir(p.stage)
	if err != nil {
		return err
	}
	names := []string{}
	for _, e := range entries {
		if e.Name() != backup.LogName {
			names = append(names, e.Name())
		}
	}
	for _, name := range append(names, backup.LogName) {
		if err := os.Rename(filepath.Join(p.stage, name), filepath.Join(p.data, name)); err != nil {
			return fmt.Errorf("putting %s in its place: %w", name, err)
		}
	}
	return backup.SyncDir(p.data)
}

// moveVault copies the vault from its file to the database, in one transaction,
// and removes the file.
func (p *placing) moveVault(ctx context.Context, key vault.MasterKey) error {
	path := filepath.Join(p.stage, backup.VaultName)
	from, err := openVaultFile(path)
	if err != nil {
		return err
	}
	var rows []vault.Row
	err = vault.Dump(ctx, from, func(r vault.Row) error { rows = append(rows, r); return nil })
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	kept := &key
	if p.ownKey {
		kept = nil
	}
	err = vault.Load(ctx, p.store.DB(), kept, func() (r vault.Row, more bool, err error) {
		if len(rows) == 0 {
			return r, false, nil
		}
		r, rows = rows[0], rows[1:]
		return r, true, nil
	})
	if err != nil {
		return err
	}
	for _, name := range []string{backup.VaultName, backup.VaultName + "-wal", backup.VaultName + "-shm", backup.KeyName} {
		if err := os.Remove(filepath.Join(p.stage, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// end removes what was not put in its place.
func (p *placing) end() error {
	errs := []error{os.RemoveAll(p.stage)}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	return errors.Join(errs...)
}

// syncTree syncs every file and folder below a folder.
func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		return backup.SyncDir(path)
	})
}

func openVaultFile(path string) (*bun.DB, error) {
	if err := vault.CreateFile(path); err != nil {
		return nil, err
	}
	return vault.OpenFile(path)
}

// restoredUseCases are the commands for a log that is not being served.
func restoredUseCases(log *eventstore.Client, v *vault.Vault) (backup.UseCases, error) {
	u, err := app.New(app.Config{
		Log: appLog{client: log}, Sealer: v, Passwords: passwords{v, func(context.Context) {}}, Cameras: cameraVault{v}, StreamSecrets: streamSecrets{v}, Domains: noDomains{},
	})
	if err != nil {
		return nil, err
	}
	return u.Revocations, nil
}

// noDomains is for commands that do not need domains.
type noDomains struct{}

func (noDomains) DomainTaken(context.Context, ids.Account, string, ids.Device) (bool, error) {
	return false, errors.New("device domains are not known without read models")
}

// setVaultMark assigns a vault to a log.
func setVaultMark(ctx context.Context, v *vault.Vault, m eventstore.Mark) error {
	mark := vault.Mark{Log: m.Log.String(), Epoch: m.Epoch, Position: m.Position}
	if m.Position > 0 {
		mark.Event = m.Event.String()
	}
	return v.SetMark(ctx, mark)
}

// vaultMark returns how far a vault has seen which log; the zero Mark if it has none.
func vaultMark(ctx context.Context, v *vault.Vault) (eventstore.Mark, error) {
	m, err := v.Mark(ctx)
	if err != nil || m.Log == "" {
		return eventstore.Mark{}, err
	}
	return logMark(m)
}
