package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/internal/app"
	"latchkey/internal/testdb"
	"latchkey/internal/vault"
)

// house is a service in this process, with an owner who shares.
type house struct {
	*runningService
	t        *testing.T
	o        options
	uc       app.UseCases
	owner    string
	people   []string // recipients: person0@example.com and so on
	device   string
	share    string // with person0, accepted
	key      app.StreamKeyAdded
	token    string // of person0's session
	stopOnce sync.Once
}

func houseOptions(t *testing.T, data, database string) options {
	t.Helper()
	o, err := settings{Data: data, HTTP: "127.0.0.1:0", RTSP: "127.0.0.1:0", Eventstore: "embedded", Database: database,
		MaxStaleness: "5s", SessionTTL: "1h", CloseAfter: "10s", MemoryLimit: "auto", CameraNets: anyNetwork, People: People{Registration: "open", Verification: off}, DeviceProof: proofOff, Logging: Logging{LogLevel: "info", LogFormat: "text"}}.check()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// openHouse serves a data folder.
func openHouse(t *testing.T, data, database string) *house {
	t.Helper()
	return openHouseWith(t, houseOptions(t, data, database))
}

func openHouseWith(t *testing.T, o options) *house {
	t.Helper()
	h := &house{t: t, o: o}
	if err := h.o.makeDataDir(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	var err error
	if h.runningService, err = startService(context.Background(), h.o, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	if h.uc, err = newUseCases(h.opened, nil, nil, nil, nil, options{}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) close() {
	h.stopOnce.Do(func() {
		if err := h.stop(); err != nil {
			h.t.Error(err)
		}
	})
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// furnish makes an owner with a camera, two recipients, a share that one of them
// has accepted, a stream key and a session of theirs.
func (h *house) furnish() {
	h.t.Helper()
	ctx := context.Background()
	person := func(name string) string {
		return must[app.Registered](h.t)(h.uc.Accounts.Register(ctx, app.Meta{}, app.Registration{Email: name + "@example.com", Password: userPassword, Name: "The " + name})).Account
	}
	h.owner = person("owner")
	for i := range 2 {
		h.people = append(h.people, person(fmt.Sprint("person", i)))
	}
	h.device = must[app.DeviceAdded](h.t)(h.uc.Devices.Add(ctx, app.Meta{Account: h.owner}, app.NewDevice{Name: "Front door", Serial: "front-door", RTSPURL: "rtsp://192.0.2.1/live"})).Device.Device
	h.share = h.give("person0", h.device)
	must[app.ShareChanged](h.t)(h.uc.Shares.Accept(ctx, app.Meta{Account: h.people[0]}, h.share, h.device))
	h.key = must[app.StreamKeyAdded](h.t)(h.uc.StreamKeys.Add(ctx, app.Meta{Account: h.people[0]}, app.NewStreamKey{Label: "player"}))
	h.token = must[string](h.t)(h.opened.vault.NewSession(ctx, h.people[0], vault.NewSession{TTL: time.Hour}))
}

func (h *house) give(person, device string) string {
	h.t.Helper()
	r := must[app.ShareSaved](h.t)(h.uc.Shares.Save(context.Background(), app.Meta{Account: h.owner}, app.NewShare{
		Email: person + "@example.com", Remark: "a neighbour",
		Devices: []app.DeviceGrants{{Device: device, Grants: []share.Grant{{Channel: 1, Privileges: privilege.LiveView}}}},
	}))
	return r.Share.ID
}

// load gives commands, about a thousand a second, until stop is called, which
// returns how many there were.
func (h *house) load() (stop func() int64) {
	ctx, cancel := context.WithCancel(context.Background())
	limit := rate.NewLimiter(1000, 50)
	var done atomic.Int64
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := 0; limit.Wait(ctx) == nil; i++ {
				m := app.Meta{Account: h.owner}
				var err error
				if i%20 == 0 {
					_, err = h.uc.Devices.Add(ctx, m, app.NewDevice{Name: "Camera", Serial: fmt.Sprintf("load-%d-%d", worker, i), RTSPURL: "rtsp://192.0.2.2/live"})
				} else {
					_, err = h.uc.Shares.Save(ctx, m, app.NewShare{Email: fmt.Sprintf("friend%d-%d@example.com", worker, i),
						Devices: []app.DeviceGrants{{Device: h.device, Grants: []share.Grant{{Channel: 1, Privileges: privilege.LiveView}}}}})
				}
				if err == nil {
					done.Add(1)
				} else if ctx.Err() == nil {
					h.t.Error(err)
					return
				}
			}
		})
	}
	return func() int64 { cancel(); wg.Wait(); return done.Load() }
}

// events are those of the log, up to a position; 0 is all of them.
func (h *house) events(to eventstore.Position) (list []eventstore.Recorded) {
	h.t.Helper()
	err := h.opened.log.ReadAll(context.Background(), 0, "", func(r eventstore.Recorded) error {
		if to == 0 || r.Position <= to {
			list = append(list, r)
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// latchkey runs a command in this process.
func latchkey(in io.Reader, args ...string) (code int, out []byte, said string) {
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), args, func(string) (string, bool) { return "", false }, streams{in: in, out: &stdout, err: &stderr})
	return code, stdout.Bytes(), stderr.String()
}

func mustLatchkey(t *testing.T, args ...string) (said string) {
	t.Helper()
	code, _, said := latchkey(nil, args...)
	if code != 0 {
		t.Fatalf("latchkey %s: exit status %d\n%s", strings.Join(args, " "), code, said)
	}
	return said
}

func refuse(t *testing.T, want string, args ...string) {
	t.Helper()
	code, _, said := latchkey(nil, args...)
	if code == 0 || !strings.Contains(said, want) {
		t.Fatalf("latchkey %s: exit status %d, want %q\n%s", strings.Join(args, " "), code, want, said)
	}
}

// onlyFile is the path of the only file in a folder.
func onlyFile(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%s holds %v, %v; want one file", dir, entries, err)
	}
	return filepath.Join(dir, entries[0].Name())
}

func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) || len(entries) > 0 {
		t.Fatalf("%s holds %v, %v; want nothing", dir, entries, err)
	}
}

// TestRoundTrip backs up a service under load, and restores it with what was
// taken away since.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	sqlite := func() string { return "sqlite" }
	postgres := func() string { return testdb.Postgres(t) }
	for name, databases := range map[string]struct{ from, to func() string }{
		"SQLite":               {sqlite, sqlite},
		"PostgreSQL":           {postgres, postgres},
		"SQLite to PostgreSQL": {sqlite, postgres},
		"PostgreSQL to SQLite": {postgres, sqlite},
	} {
		t.Run(name, func(t *testing.T) { testRoundTrip(t, databases.from(), databases.to()) })
	}
}

func testRoundTrip(t *testing.T, from, to string) {
	dir, ctx := t.TempDir(), context.Background()
	h := openHouse(t, filepath.Join(dir, "old"), from)
	h.furnish()
	kept := h.give("person1", h.device)
	must[app.ShareChanged](t)(h.uc.Shares.Accept(ctx, app.Meta{Account: h.people[1]}, kept, h.device))

	stop := h.load()
	began := time.Now()
	time.Sleep(time.Second) // of load before the backup
	mustLatchkey(t, "backup", filepath.Join(dir, "backups"), "--data", h.o.Data, "--database", from, "--quiet")
	file := onlyFile(t, filepath.Join(dir, "backups"))
	head := headIn(t, file)
	eventually(t, "the load goes on after the backup", func() bool {
		all := h.events(0)
		return all[len(all)-1].Position > head
	})
	commands := stop()
	t.Logf("%d commands in %v", commands, time.Since(began).Round(time.Millisecond))
	if commands < 10 {
		t.Fatalf("there was no load: %d commands", commands)
	}

	// What is taken away after the backup.
	if _, err := h.uc.Shares.Delete(ctx, app.Meta{Account: h.owner}, h.share); err != nil {
		t.Fatal(err)
	}
	done := must[app.Done](t)(h.uc.StreamKeys.Revoke(ctx, app.Meta{Account: h.people[0]}, h.key.Key.Name))
	if err := h.journal.WaitFor(ctx, done.Position); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.opened.vault.Forget(ctx, h.people[1]), h.journal.Erased(h.people[1]), h.opened.vault.EndSession(ctx, h.token)); err != nil {
		t.Fatal(err)
	}
	before := h.events(head)
	h.close()

	data := filepath.Join(dir, "new")
	said := mustLatchkey(t, "restore", file, "--data", data, "--database", to, "--journal", filepath.Join(h.o.Data, journalName), "--quiet")
	for _, want := range []string{"revocations that the log lacked were repeated", "1 erased persons"} {
		if !strings.Contains(said, want) {
			t.Errorf("restore said %q; want %q in it", said, want)
		}
	}
	r := openHouse(t, data, to)
	r.owner, r.people, r.device, r.key = h.owner, h.people, h.device, h.key
	after := r.events(0)
	sameEvents(t, before, after[:min(len(before), len(after))])
	r.checkTakenAway(h)
	r.checkKept(before, kept)
	r.checkReadModels()
	// Its own journal goes on.
	gone := must[app.Done](t)(r.uc.Shares.Delete(ctx, app.Meta{Account: r.owner}, kept))
	if err := r.journal.WaitFor(ctx, gone.Position); err != nil {
		t.Fatal(err)
	}
}

func headIn(t *testing.T, file string) (head eventstore.Position) {
	t.Helper()
	name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".age"), ".backup")
	if _, err := fmt.Sscan(name[strings.LastIndex(name, "-")+1:], &head); err != nil {
		t.Fatal(err)
	}
	return head
}

func sameEvents(t *testing.T, want, got []eventstore.Recorded) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d events; want %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("event %d: %+v; want %+v", i, got[i], want[i])
		}
	}
}

// checkTakenAway: nothing that was taken away from the old house is given.
func (h *house) checkTakenAway(old *house) {
	h.t.Helper()
	ctx := context.Background()
	if _, err := h.uc.Shares.Accept(ctx, app.Meta{Account: old.people[0]}, old.share, old.device); err == nil {
		h.t.Error("a share that was deleted can be accepted")
	}
	for _, e := range h.events(0) {
		if e.Stream == "share-"+old.share && strings.HasPrefix(e.Type, "latchkey.share.deleted") {
			old = nil
			break
		}
	}
	if old != nil {
		h.t.Error("the deleted share is live again")
	}
	if _, err := h.opened.vault.StreamSecret(ctx, h.key.Key.Name); !errors.Is(err, vault.ErrNotFound) {
		h.t.Errorf("the secret of a revoked stream key: %v", err)
	}
}

// checkKept: accounts can log in and texts can be read, but for who was erased,
// devices have their cameras, and sessions have ended.
func (h *house) checkKept(events []eventstore.Recorded, kept string) {
	h.t.Helper()
	ctx := context.Background()
	for _, account := range append(slices.Clone(h.people), h.owner) {
		if right, err := h.opened.vault.VerifyPassword(ctx, account, userPassword); right != (account != h.people[1]) || err != nil {
			h.t.Errorf("the password of %s is %v, %v", account, right, err)
		}
	}
	devices := 0
	for _, e := range events {
		var added struct{ Device, Owner, Name, Account string }
		if err := json.Unmarshal(e.Data, &added); err != nil {
			h.t.Fatal(err)
		}
		switch e.Type {
		case "latchkey.device.added.v1":
			devices++
			if cam, err := h.opened.vault.Camera(ctx, added.Device); err != nil || len(cam.Channels) != 1 {
				h.t.Fatalf("the camera of %s: %+v, %v", added.Device, cam, err)
			}
			if name, err := h.opened.vault.Unseal(ctx, event.FieldDevice, added.Name); err != nil || name != "Camera" && name != "Front door" {
				h.t.Fatalf("the name of %s: %q, %v", added.Device, name, err)
			}
		case "latchkey.account.registered.v1":
			name, err := h.opened.vault.Unseal(ctx, event.FieldName, added.Name)
			if erased := added.Account == h.people[1]; erased != errors.Is(err, vault.ErrForgotten) || !erased && (err != nil || !strings.HasPrefix(name, "The ")) {
				h.t.Errorf("the name of account %s: %q, %v", added.Account, name, err)
			}
		}
	}
	if devices < 2 {
		h.t.Errorf("only %d devices", devices)
	}
	if n, err := h.opened.vaultBase().NewSelect().Table("vault_sessions").Count(ctx); n != 0 || err != nil {
		h.t.Errorf("%d sessions go on, %v", n, err)
	}
	// The share that nobody touched is as it was.
	if _, err := h.uc.Shares.SetDomain(ctx, app.Meta{Account: h.people[1]}, kept, h.device, "mine"); err != nil {
		h.t.Errorf("the share that stayed: %v", err)
	}
}

// checkReadModels: they equal what a rebuild makes.
func (h *house) checkReadModels() {
	h.t.Helper()
	answers := func() string {
		var all []string
		for _, name := range []string{"owner", "person0", "person1"} {
			u := &user{t: h.t, api: newAPIClient(h.httpAddr()), login: name + "@example.com"}
			account := must[string](h.t)(h.uc.Accounts.ByLogin(context.Background(), "email", u.login))
			u.token = must[string](h.t)(h.opened.vault.NewSession(context.Background(), account, vault.NewSession{TTL: time.Hour})) // who was erased cannot log in
			for _, path := range []string{"/shares/sent", "/shares/received", "/shares/history", "/devices", "/privileges", "/stream-keys"} {
				var answer any
				u.must("GET", path+"?limit=100", nil, &answer)
				raw := must[[]byte](h.t)(json.Marshal(answer))
				all = append(all, name+path+" "+string(raw))
			}
		}
		return strings.Join(all, "\n")
	}
	h.waitReadModels()
	before := answers()
	for _, name := range []string{"sent_shares", "received_shares", "share_history", "devices", "accounts", "privileges"} {
		mustLatchkey(h.t, append([]string{"projections", "rebuild", name}, h.flags()...)...)
	}
	if after := answers(); after != before {
		h.t.Errorf("the read models are not what a rebuild makes.\nbefore: %s\nafter:  %s", before, after)
	}
}

// flags are those of a tool for the house.
func (h *house) flags() []string {
	return []string{"--data", h.o.Data, "--database", h.o.Database, "--eventstore", h.o.Eventstore}
}

func (h *house) waitReadModels() {
	h.t.Helper()
	last := h.events(0)
	var head eventstore.Position
	for _, e := range last {
		if strings.HasPrefix(e.Type, event.Prefix) {
			head = e.Position
		}
	}
	eventually(h.t, "the read models have caught up", func() bool {
		list, err := h.opened.store.Status(context.Background())
		if err != nil {
			return false
		}
		for _, s := range list {
			if s.Position < head {
				return false
			}
		}
		return true
	})
}
