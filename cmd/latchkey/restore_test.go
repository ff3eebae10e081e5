package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"latchkey/domain/catalogue"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/internal/app"
	"latchkey/internal/backup"
	"latchkey/internal/journal"
	"latchkey/internal/testdb"
	"latchkey/internal/vault"
)

// backedUp is a house that was backed up and then closed, and its backup. after
// runs in between.
func backedUp(t *testing.T, flags []string, after func(h *house)) (h *house, file string) {
	t.Helper()
	dir := t.TempDir()
	h = openHouse(t, filepath.Join(dir, "old"), "sqlite")
	h.furnish()
	mustLatchkey(t, append([]string{"backup", filepath.Join(dir, "backups"), "--data", h.o.Data, "--quiet"}, flags...)...)
	if after != nil {
		after(h)
	}
	h.close()
	return h, onlyFile(t, filepath.Join(dir, "backups"))
}

// status is where the device of the house's share stands in a log.
func (h *house) status(of *house) share.Status {
	h.t.Helper()
	var s share.State
	for _, e := range h.events(0) {
		if e.Stream != "share-"+of.share {
			continue
		}
		event, err := catalogue.Decode(e.Type, e.Data)
		if err != nil {
			h.t.Fatal(err)
		}
		s = share.Evolve(s, event.(share.Event))
	}
	d, ok := s.Find(of.device)
	if !ok || !s.Live {
		return ""
	}
	return d.Status
}

func (h *house) journalFile() string { return filepath.Join(h.o.Data, journalName) }

// takeBack takes the device of the share back, and waits for the journal.
func takeBack(h *house) {
	h.t.Helper()
	r := must[app.Done](h.t)(h.uc.Shares.RemoveDevice(context.Background(), app.Meta{Account: h.owner}, h.share, h.device))
	if err := h.journal.WaitFor(context.Background(), r.Position); err != nil {
		h.t.Fatal(err)
	}
}

// TestRestoreToAnEarlierPosition: what was taken away later, in the backup or
// after it, stays so.
func TestRestoreToAnEarlierPosition(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := openHouse(t, filepath.Join(dir, "old"), "sqlite")
	h.furnish()
	all := h.events(0)
	last := all[len(all)-1]
	other := h.give("person1", h.device)
	takeBack(h)
	later := must[app.Registered](t)(h.uc.Accounts.Register(context.Background(), app.Meta{}, app.Registration{Email: "late@example.com", Password: userPassword, Name: "Late"}))
	mustLatchkey(t, "backup", filepath.Join(dir, "backups"), "--data", h.o.Data)
	file := onlyFile(t, filepath.Join(dir, "backups"))
	revoked := must[app.Done](t)(h.uc.StreamKeys.Revoke(context.Background(), app.Meta{Account: h.people[0]}, h.key.Key.Name))
	if err := h.journal.WaitFor(context.Background(), revoked.Position); err != nil {
		t.Fatal(err)
	}
	h.close()
	for name, to := range map[string]string{"position": fmt.Sprint(last.Position), "time": last.Created.Format(time.RFC3339Nano)} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(dir, name)
			mustLatchkey(t, "restore", file, "--data", data, "--to", to, "--journal", h.journalFile())
			r := openHouse(t, data, "sqlite")
			got := r.events(0)
			sameEvents(t, all, got[:len(all)])
			if s := r.status(h); s != share.StatusRemoved {
				t.Errorf("the device that was taken back is %s", s)
			}
			for _, e := range got[len(all):] {
				if e.Stream == "share-"+other || e.Stream == "account-"+later.Account {
					t.Errorf("what came later is there: %s in %s", e.Type, e.Stream)
				}
			}
			if _, err := r.opened.vault.StreamSecret(context.Background(), h.key.Key.Name); !errors.Is(err, vault.ErrNotFound) {
				t.Errorf("the secret of a key that was revoked after the backup: %v", err)
			}
		})
	}
	refuse(t, "does not contain position 99999", "restore", file, "--data", filepath.Join(dir, "beyond"), "--to", "99999", "--journal", h.journalFile())
	refuse(t, "neither a position nor a time", "restore", file, "--data", filepath.Join(dir, "beyond"), "--to", "yesterday")
	empty(t, filepath.Join(dir, "beyond"))
}

// TestRestoreAsksForTheJournal: without one that reaches the backup, nothing is
// restored, or everything that was given is taken back, or somebody vouches.
func TestRestoreAsksForTheJournal(t *testing.T) {
	t.Parallel()
	var older string
	h, file := backedUp(t, nil, func(h *house) {
		older = filepath.Join(filepath.Dir(h.o.Data), "older.journal")
		other := h.give("person1", h.device)
		gone := must[app.Done](t)(h.uc.Shares.Delete(context.Background(), app.Meta{Account: h.owner}, other))
		if err := h.journal.WaitFor(context.Background(), gone.Position); err != nil { // a line of its own
			t.Fatal(err)
		}
		takeBack(h)
	})
	stranger, _ := backedUp(t, nil, nil)
	raw := must[[]byte](t)(os.ReadFile(h.journalFile()))
	first, _, _ := bytes.Cut(raw, []byte("\n"))
	if err := os.WriteFile(older, append(first, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	end := bytes.LastIndexByte(bytes.TrimSpace(raw), '\n') + 1
	broken := func(name string, raw []byte) string {
		path := filepath.Join(filepath.Dir(older), name)
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flipped := bytes.Clone(raw)
	flipped[end+20] ^= 1
	for _, args := range [][]string{{"restore", file}, {"recover"}} {
		refuse(t, "is damaged: line ", append(args, "--data", filepath.Join(dir, "refused"), "--journal", broken("flipped", flipped))...)
		refuse(t, "name another copy of it", append(args, "--data", filepath.Join(dir, "refused"), "--journal", broken("flipped", flipped))...)
	}
	t.Run("cut short", func(t *testing.T) {
		whole := must[*journal.Contents](t)(journal.Read(broken("whole", raw[:end])))
		said := mustLatchkey(t, "restore", file, "--data", filepath.Join(dir, "torn"), "--journal", broken("torn", raw[:len(raw)-1]))
		if want := fmt.Sprintf("torn ends in the middle of a line, after a crash or because it was truncated: it records revocations only up to position %d of the log", whole.Last().Position); !strings.Contains(said, want) {
			t.Errorf("restore said %s; want %q in it", said, want)
		}
	})
	for _, journal := range [][]string{nil, {"--journal", older}, {"--journal", stranger.journalFile()}} {
		data := filepath.Join(dir, "refused")
		refuse(t, "no record of what was revoked since", append([]string{"restore", file, "--data", data}, journal...)...)
		empty(t, data)
	}
	if code, _, said := latchkey(nil, "restore", file, "--data", filepath.Join(dir, "both"), "--no-journal", "--nothing-revoked"); code != 2 {
		t.Errorf("both flags: exit status %d, %s", code, said)
	}
	for _, c := range []struct {
		flag string
		want share.Status
		keys int
	}{{"--no-journal", share.StatusRemoved, 0}, {"--nothing-revoked", share.StatusAccepted, 1}} {
		t.Run(c.flag, func(t *testing.T) {
			data := filepath.Join(dir, c.flag[2:])
			mustLatchkey(t, "restore", file, "--data", data, c.flag)
			r := openHouse(t, data, "sqlite")
			if got := r.status(h); got != c.want {
				t.Errorf("the device in the share is %s; want %s", got, c.want)
			}
			_, err := r.opened.vault.StreamSecret(context.Background(), h.key.Key.Name)
			if lives := err == nil; lives != (c.keys == 1) {
				t.Errorf("the stream key: %v", err)
			}
		})
	}
	t.Run("several journals", func(t *testing.T) {
		data := filepath.Join(dir, "several")
		mustLatchkey(t, "restore", file, "--data", data, "--journal", older, "--journal", h.journalFile())
		if got := openHouse(t, data, "sqlite").status(h); got != share.StatusRemoved {
			t.Errorf("the device in the share is %s", got)
		}
	})
}

// TestADamagedBackupIsRefused: cut off or changed anywhere, it leaves nothing
// behind.
func TestADamagedBackupIsRefused(t *testing.T) {
	t.Parallel()
	h, file := backedUp(t, nil, nil)
	whole := must[[]byte](t)(os.ReadFile(file))
	dir := t.TempDir()
	bad, data := filepath.Join(dir, "bad.backup"), filepath.Join(dir, "data")
	try := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(bad, content, 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, said := latchkey(nil, "restore", bad, "--data", data, "--journal", h.journalFile())
		if code != 1 || !strings.Contains(said, "damaged") && !strings.Contains(said, "not a latchkey backup") && !strings.Contains(said, "format") {
			t.Fatalf("%s: exit status %d: %s", what, code, said)
		}
		if names := must[[]os.DirEntry](t)(os.ReadDir(dir)); len(names) != 1 {
			t.Fatalf("%s: %v is left", what, names)
		}
	}
	for i := range 24 {
		n := i * len(whole) / 24
		try(fmt.Sprint("cut at ", n), whole[:n])
		changed := bytes.Clone(whole)
		changed[n] ^= 0x20
		try(fmt.Sprint("changed at ", n), changed)
	}
	try("cut by a byte", whole[:len(whole)-1])
	try("longer by a byte", append(bytes.Clone(whole), 0))
	mustLatchkey(t, "restore", file, "--check")
	mustLatchkey(t, "restore", file, "--data", data, "--journal", h.journalFile())
}

// TestEncryptedBackups: with a key and with a passphrase; nothing else opens
// them.
func TestEncryptedBackups(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	id := must[*age.X25519Identity](t)(age.GenerateX25519Identity())
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, passphrase, wrong := write("key", id.String()+"\n"), write("passphrase", "correct horse battery staple\n"), write("wrong", "correct horse battery stable\n")
	otherID := must[*age.X25519Identity](t)(age.GenerateX25519Identity())
	other := write("other", otherID.String()+"\n")
	for _, c := range []struct{ encrypt, decrypt, wrong []string }{
		{[]string{"--encrypt-to", id.Recipient().String()}, []string{"--identity", key}, []string{"--identity", other}},
		{[]string{"--passphrase-file", passphrase}, []string{"--passphrase-file", passphrase}, []string{"--passphrase-file", wrong}},
	} {
		h, file := backedUp(t, c.encrypt, nil)
		raw := must[[]byte](t)(os.ReadFile(file))
		if !strings.HasSuffix(file, ".age") || bytes.Contains(raw, []byte("latchkey-backup")) {
			t.Errorf("%s is not encrypted", file)
		}
		data := filepath.Join(t.TempDir(), "data")
		args := []string{"restore", file, "--data", data, "--journal", h.journalFile()}
		refuse(t, "the backup is encrypted", args...)
		refuse(t, "to another key or with another passphrase", append(args, c.wrong...)...)
		empty(t, filepath.Dir(data))
		raw[len(raw)-30] ^= 1
		refuse(t, "damaged", append([]string{"restore", write("flipped", string(raw)), "--data", data, "--journal", h.journalFile()}, c.decrypt...)...)
		empty(t, filepath.Dir(data))
		mustLatchkey(t, append(args, c.decrypt...)...)
		if got := openHouse(t, data, "sqlite").status(h); got != share.StatusAccepted {
			t.Errorf("the device in the share is %s", got)
		}
	}
	refuse(t, "too short", "backup", "-", "--data", dir, "--passphrase-file", write("short", "secret\n"))
	refuse(t, "not an age public key", "backup", "-", "--data", dir, "--encrypt-to", "age1nonsense")
}

func TestRestoreIntoWhatIsInUse(t *testing.T) {
	t.Parallel()
	h, file := backedUp(t, nil, nil)
	before := must[os.FileInfo](t)(os.Stat(filepath.Join(h.o.Data, "vault.db")))
	refuse(t, "is not empty", "restore", file, "--data", h.o.Data, "--journal", h.journalFile())
	if after := must[os.FileInfo](t)(os.Stat(filepath.Join(h.o.Data, "vault.db"))); !after.ModTime().Equal(before.ModTime()) {
		t.Error("the vault was changed")
	}
	data := t.TempDir() // empty, and there
	mustLatchkey(t, "restore", file, "--data", data, "--journal", h.journalFile())
	for _, name := range []string{"vault.db", "vault.key", journalName} {
		if info := must[os.FileInfo](t)(os.Stat(filepath.Join(data, name))); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	openHouse(t, data, "sqlite")
}

// TestThroughAPipe: and without the vault's key, which is then needed.
func TestThroughAPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := openHouse(t, filepath.Join(dir, "old"), "sqlite")
	h.furnish()
	code, archive, said := latchkey(nil, "backup", "-", "--data", h.o.Data, "--without-key")
	if code != 0 || !strings.Contains(said, "it does not contain the vault's key") {
		t.Fatalf("exit status %d: %s", code, said)
	}
	h.close()
	restore := func(name string, more ...string) (int, string) {
		args := append([]string{"restore", "-", "--data", filepath.Join(dir, name), "--journal", h.journalFile(), "--keep-sessions"}, more...)
		code, _, said := latchkey(bytes.NewReader(archive), args...)
		return code, said
	}
	if code, said := restore("refused"); code != 1 || !strings.Contains(said, "--vault-key") {
		t.Fatalf("without a key: exit status %d: %s", code, said)
	}
	empty(t, filepath.Join(dir, "refused"))
	key := filepath.Join(h.o.Data, "vault.key")
	if code, said := restore("new", "--vault-key", key); code != 0 {
		t.Fatalf("exit status %d: %s", code, said)
	}
	o := houseOptions(t, filepath.Join(dir, "new"), "sqlite")
	o.VaultKey = key
	st := must[*opened](t)(o.open(context.Background(), h.logger, false))
	if account, err := st.vault.Session(context.Background(), h.token); account != h.people[0] || err != nil {
		t.Errorf("the session that was to be kept: %q, %v", account, err)
	}
	if err := st.close(); err != nil {
		t.Fatal(err)
	}
}

// TestRecover goes on with an older log, and gives nothing that was taken away
// since.
func TestRecover(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) { testRecover(t, "sqlite", false) })
	t.Run("PostgreSQL", func(t *testing.T) { testRecover(t, testdb.Postgres(t), false) })
	t.Run("PostgreSQL and a node", func(t *testing.T) { testRecover(t, testdb.Postgres(t), true) })
}

func testRecover(t *testing.T, database string, apart bool) {
	ctx := context.Background()
	h, startLog, stopLog := cutHouse(t, database, apart)
	startLog()
	refused := func() {
		t.Helper()
		_, err := startService(ctx, h.o, h.logger)
		if err == nil || !strings.Contains(err.Error(), "latchkey recover") {
			t.Fatalf("a log that lost its end is served: %v", err)
		}
	}
	ask := append([]string{"recover"}, h.flags()...)
	accept := append([]string{"recover", "--yes"}, h.flags()...)
	refused()
	refuse(t, "accept the loss with --yes", ask...)
	refused()
	hidden := h.journalFile() + ".hidden"
	if err := os.Rename(h.journalFile(), hidden); err != nil {
		t.Fatal(err)
	}
	refuse(t, "no record of what was revoked since", accept...)
	refused()
	if err := os.Rename(hidden, h.journalFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	said := mustLatchkey(t, accept...)
	if !strings.Contains(said, "1 revocations that the log lacked were repeated") {
		t.Errorf("recover said %s", said)
	}
	h.recovered()
	if said := mustLatchkey(t, accept...); !strings.Contains(said, "nothing is lost") {
		t.Errorf("a second recovery said %s", said)
	}
	stopLog()
}

// cutHouse is a house that was closed, and whose log lost its end: there its
// device was taken back. A log that is apart is served by a node, between
// startLog and stopLog.
func cutHouse(t *testing.T, database string, apart bool) (h *house, startLog, stopLog func()) {
	t.Helper()
	dir := t.TempDir()
	o := houseOptions(t, filepath.Join(dir, "data"), database)
	log := filepath.Join(o.Data, "log")
	startLog, stopLog = func() {}, func() {}
	if apart {
		log = filepath.Join(dir, "log")
		o.Eventstore = "unix://" + filepath.Join(dir, "n.sock")
		var n *process
		startLog = func() { t.Helper(); n = startNodeIn(t, dir) }
		stopLog = func() {
			t.Helper()
			if n.stop(t) != 0 {
				t.Fatalf("the node ended badly: %s", n.said())
			}
		}
	}
	startLog()
	h = openHouseWith(t, o)
	h.furnish()
	h.close()
	stopLog()
	older := filepath.Join(dir, "older")
	copyTree(t, log, older)
	startLog()
	again := openHouseWith(t, o)
	again.owner, again.device, again.share = h.owner, h.device, h.share
	takeBack(again)
	again.give("person1", h.device)
	again.waitReadModels()
	again.close()
	stopLog()
	if err := os.Rename(log, log+newer); err != nil {
		t.Fatal(err)
	}
	copyTree(t, older, log)
	return h, startLog, stopLog
}

// newer is the end of the name of the log that cutHouse put away.
const newer = ".newer"

// TestRecoverTheLogOfANode that knows by itself that its log lost its end, and
// refuses it: recover opens the log in the node's place.
func TestRecoverTheLogOfANode(t *testing.T) {
	t.Parallel()
	h, startLog, stopLog := cutHouse(t, testdb.Postgres(t), true)
	dir := filepath.Dir(h.o.Data)
	mark := must[[]byte](t)(os.ReadFile(filepath.Join(dir, "log"+newer, "latchkey.mark")))
	if err := os.WriteFile(filepath.Join(dir, "log", "latchkey.mark"), mark, 0o600); err != nil {
		t.Fatal(err)
	}
	refuse(t, "latchkey recover", "node", "--data", filepath.Join(dir, "log"), "--socket", filepath.Join(dir, "n.sock"))
	said := mustLatchkey(t, "recover", "--yes", "--data", dir, "--database", h.o.Database, "--journal", h.journalFile())
	for _, want := range []string{"the node itself has seen", "the vault has seen", "1 revocations that the log lacked were repeated"} {
		if !strings.Contains(said, want) {
			t.Errorf("recover said %s; want %q in it", said, want)
		}
	}
	startLog()
	h.recovered()
	stopLog()
}

// recovered: the house is served, and what was taken away stays so.
func (h *house) recovered() {
	h.t.Helper()
	r := openHouseWith(h.t, h.o)
	if got := r.status(h); got != share.StatusRemoved {
		h.t.Errorf("the device that was taken back is %s", got)
	}
	if _, err := r.opened.vault.Session(context.Background(), h.token); !errors.Is(err, vault.ErrNoSession) {
		h.t.Errorf("a session goes on: %v", err)
	}
	r.owner, r.people, r.key = h.owner, h.people, h.key
	r.checkReadModels()
	r.close()
}

// TestRecoverIsRepeated after an error, wherever that was.
func TestRecoverIsRepeated(t *testing.T) {
	t.Parallel()
	for marks, served := range []bool{false, true} {
		t.Run(fmt.Sprint("after mark ", marks), func(t *testing.T) {
			h, _, _ := cutHouse(t, "sqlite", false)
			recoverFailing(t, h, marks)
			if !served {
				if _, err := startService(t.Context(), h.o, h.logger); err == nil || !strings.Contains(err.Error(), "latchkey recover") {
					t.Fatalf("an interrupted recovery is served: %v", err)
				}
			}
			mustLatchkey(t, append([]string{"recover", "--yes"}, h.flags()...)...)
			h.recovered()
		})
	}
}

// recoverFailing accepts a loss, and fails after it has marked the vault so many
// times.
func recoverFailing(t *testing.T, h *house, marks int) {
	t.Helper()
	c := &recoverCommand{storage: storage{Data: h.o.Data, Eventstore: h.o.Eventstore, Database: h.o.Database}, Yes: true}
	names, journals, err := c.journals(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	st := must[*opened](t)(c.openLossy(t.Context(), h.o, h.logger))
	defer func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	}()
	derived := must[[]backup.Derived](t)(st.derived(t.Context()))
	loss := must[backup.Loss](t)(backup.FindLoss(t.Context(), st.log, append(derived, journals.Derived(names)...)))
	broken := errors.New("the database is away")
	_, err = backup.Recover(t.Context(), backup.Recovery{
		Log: st.log, Vault: st.vault, UseCases: must[backup.UseCases](t)(restoredUseCases(st.log, st.vault)), Loss: loss, Journals: journals,
		EndSessions: func(ctx context.Context) error { return st.vault.EndAllSessions(ctx, 0) },
		Mark:        vaultMark,
		SetMark: func(ctx context.Context, v *vault.Vault, m eventstore.Mark) error {
			if marks--; marks < 0 {
				return broken
			}
			return setVaultMark(ctx, v, m)
		},
	})
	if !errors.Is(err, broken) {
		t.Fatalf("the recovery: %v", err)
	}
}

// TestARestoredVaultSurvivesACrash: the vault is in the database for good when
// the restore has answered, though what else is in there does not wait for it.
func TestARestoredVaultSurvivesACrash(t *testing.T) {
	t.Parallel()
	h, file := backedUp(t, nil, nil)
	server := testdb.NewServer(t, "wal_writer_delay=10s", "wal_writer_flush_after=1GB")
	data := filepath.Join(t.TempDir(), "data")
	mustLatchkey(t, "restore", file, "--data", data, "--database", server.DSN, "--journal", h.journalFile())
	server.Crash()
	server.Start()
	r := openHouse(t, data, server.DSN)
	if got := r.status(h); got != share.StatusAccepted {
		t.Errorf("the device in the share is %s", got)
	}
	if right, err := r.opened.vault.VerifyPassword(t.Context(), h.owner, userPassword); !right || err != nil {
		t.Errorf("the owner's password is %v, %v", right, err)
	}
}
