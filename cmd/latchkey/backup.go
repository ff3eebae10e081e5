package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"time"

	"filippo.io/age"

	"latchkey/internal/backup"
	"latchkey/internal/vault"
)

// backupCommand copies everything that cannot be rebuilt.
type backupCommand struct {
	storage
	Logging `embed:""`

	To             string   `arg:"" placeholder:"DIR" help:"Folder for the backup, which gets a file named after the time and the position in the log; or - for standard output."`
	EncryptTo      []string `placeholder:"age1...,..." help:"Encrypt to these public keys of age (https://age-encryption.org)."`
	PassphraseFile string   `placeholder:"FILE" help:"Encrypt with the passphrase that is the first line of this file."`
	WithoutKey     bool     `help:"Leave out the key of the vault. Keep it elsewhere: the vault in the backup cannot be read without it."`
	Quiet          bool     `help:"Do not report progress."`
}

// Help returns additional text for --help.
func (*backupCommand) Help() string {
	return `A consistent copy of the log, the vault and its key, taken while the service runs or while it does not. Read models are left out: they are made from the log.

The key of the vault is in the backup unless it is kept apart (--vault-key) or left out (--without-key). Whoever has a backup with the key can read everything in it: encrypt it.

The journal of revocations is not in it. Keep that on another disk, or copy it often: latchkey restore asks for it.

  latchkey backup /var/backups/latchkey --data /var/lib/latchkey
  latchkey backup - --passphrase-file /etc/latchkey/backup.pass | ssh host 'cat > latchkey.backup'`
}

// Run writes the backup, and its progress to standard error.
func (c *backupCommand) Run(ctx context.Context, std streams) (err error) {
	recipients, err := backup.Recipients(c.EncryptTo, c.PassphraseFile)
	if err != nil {
		return &configFaults{[]string{err.Error()}}
	}
	st, err := c.open(ctx, c.logger(std))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	if err := st.refuseCut(ctx, filepath.Join(c.Data, journalName)); err != nil {
		return err
	}
	key, err := c.key(ctx, st)
	if err != nil {
		return err
	}
	p := newBackupProgress(std.err, c.Quiet)
	var report backup.Report
	write := func(w io.Writer) (err error) {
		report, err = c.write(ctx, st, key, recipients, p, w)
		return err
	}
	if c.To == "-" {
		if err := write(std.out); err != nil {
			return err
		}
		fmt.Fprintf(std.err, "backed up %d events, up to position %d, and %d rows of the vault\n", report.Events, report.Head, report.Rows)
	} else {
		path, sum, err := backup.WriteFile(c.To, func(w io.Writer) (string, error) {
			err := write(w)
			return backupName(report, len(recipients) > 0), err
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(std.err, "backed up %d events, up to position %d, and %d rows of the vault to %s (SHA-256 %x)\n", report.Events, report.Head, report.Rows, path, sum)
	}
	c.remind(std.err, report, len(recipients) > 0)
	return nil
}

func (c *backupCommand) write(ctx context.Context, st *opened, key *vault.MasterKey, to []age.Recipient, p *backupProgress, w io.Writer) (backup.Report, error) {
	sealed, err := backup.Encrypt(w, to)
	if err != nil {
		return backup.Report{}, err
	}
	report, err := backup.Write(ctx, backup.Source{Log: st.log, Vault: st.vaultBase(), Key: key, Tool: version(), Progress: p.tell}, sealed)
	return report, errors.Join(err, sealed.Close())
}

// key returns the vault's key, unless it is kept elsewhere.
func (c *backupCommand) key(ctx context.Context, st *opened) (*vault.MasterKey, error) {
	if c.WithoutKey || c.VaultKey != "" {
		return nil, nil
	}
	if isPostgres(c.Database) {
		key, err := vault.ReadMasterKeyInDatabase(ctx, st.vaultBase())
		return &key, err
	}
	key, err := vault.ReadMasterKey(options{settings: settings{Data: c.Data}}.keyPath())
	return &key, err
}

// remind prints what to know about the backup.
func (c *backupCommand) remind(w io.Writer, r backup.Report, encrypted bool) {
	switch {
	case !r.Key:
		fmt.Fprintln(w, "it does not contain the vault's key: keep a copy of the key elsewhere")
	case !encrypted:
		fmt.Fprintln(w, "it contains the vault's key and is not encrypted: anyone who has it can read everything")
	}
	for _, device := range r.Cameras {
		fmt.Fprintf(w, "the vault has no camera for device %s: its owner has to add it again\n", device)
	}
}

// backupName returns the file name of a backup.
func backupName(r backup.Report, encrypted bool) string {
	name := fmt.Sprintf("latchkey-%s-%d.backup", r.Created.Format("20060102T150405Z"), r.Head)
	if encrypted {
		name += ".age"
	}
	return name
}

// version returns the version of this build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "latchkey"
	}
	return "latchkey " + info.Main.Version
}

// backupProgress reports the progress of a backup or restore, every two seconds.
type backupProgress struct {
	w    io.Writer
	next time.Time
	seen int
}

func newBackupProgress(w io.Writer, quiet bool) *backupProgress {
	if quiet {
		w = io.Discard
	}
	return &backupProgress{w: w, next: time.Now().Add(progressEvery)}
}

func (p *backupProgress) tell(at backup.Progress) {
	p.seen++
	if p.seen%256 != 0 || time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(progressEvery)
	fmt.Fprintf(p.w, "%3.0f %% of the log: %d events, %d rows of the vault\n", 100*float64(at.Position)/float64(max(at.Head, 1)), at.Events, at.Rows)
}
