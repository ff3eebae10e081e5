package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/event"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// memoryLog is a Log with faults: before runs before each append, outside the
// lock, so that it can append itself; crash makes an append fail before or
// after it was written.
type memoryLog struct {
	mu       sync.Mutex
	streams  map[string][]Stored
	position position.Position
	life     atomic.Uint64
	full     bool   // takes only what takes away
	noRoom   bool   // takes nothing that adds a device or accepts one
	behind   bool   // the read model
	finding  func() // called when shares are looked for, if not nil
	calls    int    // of reading
	reads    int    // events

	before func(stream string)
	crash  func(stream string) crash
}

// crash is when an append fails.
type crash uint8

const (
	noCrash crash = iota
	crashBefore
	crashAfter
)

var errCrash = errors.New("the power went")

func (l *memoryLog) Load(_ context.Context, stream string, from int64) ([]Stored, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	events := l.streams[stream]
	events = events[min(int(from), len(events)):]
	l.reads += len(events)
	return slices.Clone(events), nil
}

func (l *memoryLog) Life() uint64 { return l.life.Load() }

func (l *memoryLog) LoadBack(_ context.Context, stream string, until func(Stored, int) bool) ([]Stored, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	events := l.streams[stream]
	read := 0
	for i, e := range slices.Backward(events) {
		l.reads++
		read += len(e.Data) + len(e.Metadata)
		if until(e, read) {
			return slices.Clone(events[i:]), nil
		}
	}
	return slices.Clone(events), nil
}

func (l *memoryLog) First(_ context.Context, stream string) (Stored, bool, error) {
	return l.one(stream, func(events []Stored) Stored { return events[0] })
}

func (l *memoryLog) Last(_ context.Context, stream string) (Stored, bool, error) {
	return l.one(stream, func(events []Stored) Stored { return events[len(events)-1] })
}

func (l *memoryLog) one(stream string, pick func([]Stored) Stored) (Stored, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if len(l.streams[stream]) == 0 {
		return Stored{}, false, nil
	}
	l.reads++
	return pick(l.streams[stream]), true, nil
}

func (l *memoryLog) Append(ctx context.Context, stream string, expected int64, events []Pending) (position.Position, error) {
	if l.before != nil {
		l.before(stream)
	}
	when := noCrash
	if l.crash != nil {
		when = l.crash(stream)
	}
	if when == crashBefore {
		return 0, errCrash
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(events) == 0 {
		return 0, errors.New("an append of nothing")
	}
	if l.full && slices.ContainsFunc(events, func(e Pending) bool { return !e.TakesAway }) {
		return 0, fmt.Errorf("appending: %w", ErrFull)
	}
	if l.noRoom && slices.ContainsFunc(events, func(e Pending) bool {
		return strings.Contains(e.Type, ".added.") || strings.Contains(e.Type, ".accepted.")
	}) {
		return 0, fmt.Errorf("appending: %w", ErrIndexFull)
	}
	if position, ok := l.written(stream, expected, events); ok {
		return position, nil
	}
	if int64(len(l.streams[stream]))-1 != expected {
		return 0, fmt.Errorf("appending: %w", ErrConflict)
	}
	for _, e := range events {
		l.position += 10
		l.streams[stream] = append(l.streams[stream], Stored{
			ID: e.ID, Revision: int64(len(l.streams[stream])), Position: l.position,
			Type: e.Type, Data: e.Data, Metadata: e.Metadata,
		})
	}
	if when == crashAfter {
		return 0, errCrash
	}
	return l.position, nil
}

// written reports whether events of these ids stand there already: as EventStoreDB
// does, whatever is in them.
func (l *memoryLog) written(stream string, expected int64, events []Pending) (position position.Position, ok bool) {
	there := l.streams[stream]
	if int64(len(there)) < expected+1+int64(len(events)) {
		return 0, false
	}
	for i, e := range events {
		if there[expected+1+int64(i)].ID != e.ID {
			return 0, false
		}
		position = there[expected+1+int64(i)].Position
	}
	return position, true
}

// all gives every stored event, for looking through.
func (l *memoryLog) all() []Stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Stored
	for _, events := range l.streams {
		list = append(list, events...)
	}
	return list
}

var errBehind = errors.New("the read model is behind")

// SharesWithDevice is the read model's answer, which is never behind.
func (l *memoryLog) SharesWithDevice(_ context.Context, device string, atLeast position.Position) (holding, lost []string, err error) {
	if l.finding != nil {
		l.finding()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if atLeast > l.position || l.behind {
		return nil, nil, errBehind
	}
	for name, events := range l.streams {
		id, ok := strings.CutPrefix(name, "share-")
		if state, err := fold(share.State{}, events, share.Evolve); ok && err == nil && state.Live {
			switch d, held := state.Find(device); {
			case held && d.Status == share.StatusRemoved:
				lost = append(lost, id)
			case held:
				holding = append(holding, id)
			}
		}
	}
	return holding, lost, nil
}

// types gives the kinds of a stream's events.
func (l *memoryLog) types(stream string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for _, e := range l.streams[stream] {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(e.Type, event.Prefix), ".v1"))
	}
	return strings.Join(names, " ")
}

// memoryVault is every port but the Log.
type memoryVault struct {
	slow time.Duration // of staging a camera

	mu        sync.Mutex
	passwords map[string]string
	cameras   map[string]Camera
	staged    map[[2]string]Camera // by device and command
	erased    map[string]bool
	secrets   map[string]string
	taken     map[string]bool // device domains
	fail      error           // of every write

	failConfirm error

	applied        map[string]string // account: login
	beforePassword func(account string)
	beforeCommit   func(account string)
	ended          int // how often all sessions of an account ended
}

func (v *memoryVault) Seal(_ context.Context, subject, field, plain string) (string, error) {
	if plain == "" {
		return "", nil
	}
	return subject + ":" + base64.RawURLEncoding.EncodeToString([]byte(field+"\x00"+plain)), nil
}

func (v *memoryVault) Unseal(_ context.Context, field, sealed string) (string, error) {
	_, text, _ := strings.Cut(sealed, ":")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	plain, ok := strings.CutPrefix(string(raw), field+"\x00")
	if sealed != "" && (err != nil || !ok) {
		return "", fmt.Errorf("%q cannot be read", sealed)
	}
	return plain, nil
}

// memoryChange is a PasswordChange.
type memoryChange struct {
	vault               *memoryVault
	account, held, next string
	any                 bool
}

func (v *memoryVault) PreparePassword(ctx context.Context, account, current, next string) (PasswordChange, error) {
	right, err := v.VerifyPassword(ctx, account, current)
	if err != nil || !right {
		return nil, err
	}
	return &memoryChange{vault: v, account: account, held: current, next: next}, nil
}

func (v *memoryVault) PrepareReset(_ context.Context, account, next string) (PasswordChange, error) {
	return &memoryChange{vault: v, account: account, next: next, any: true}, v.fail
}

func (c *memoryChange) Commit(_ context.Context, s *NewSession) (string, error) {
	v := c.vault
	if v.beforeCommit != nil {
		v.beforeCommit(c.account)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		return "", v.fail
	}
	if v.passwords[c.account] != c.held && !c.any {
		return "", ErrPasswordChanged
	}
	v.passwords[c.account] = c.next
	v.ended++
	if s == nil {
		return "", nil
	}
	return "a new session", nil
}

func (v *memoryVault) LoginHash(kind, address string) string {
	sum := sha256.Sum256([]byte("test key\x00" + kind + "\x00" + address))
	return hex.EncodeToString(sum[:16])
}

// Knows: a key is made with the password.
func (v *memoryVault) Knows(_ context.Context, subject string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, has := v.passwords[subject]
	return has || v.erased[subject], v.fail
}

func (v *memoryVault) Erased(_ context.Context, subject string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.erased[subject], v.fail
}

func (v *memoryVault) VoidPassword(_ context.Context, account string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, has := v.passwords[account]
	if has {
		v.passwords[account] = "\x00void"
	}
	return has, nil
}

func (v *memoryVault) HasPassword(_ context.Context, account string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, has := v.passwords[account]
	return has, v.fail
}

func (v *memoryVault) HasCamera(_ context.Context, device string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, has := v.cameras[device]
	return has, v.fail
}

func (v *memoryVault) Camera(_ context.Context, device string) (Camera, bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, found := v.cameras[device]
	return c, found, v.fail
}

func (v *memoryVault) StageCamera(_ context.Context, device, command string, c Camera) error {
	time.Sleep(v.slow)
	return set(v, v.staged, [2]string{device, command}, c)
}

func (v *memoryVault) DropStaged(_ context.Context, device, command string) error {
	return forget(v, v.staged, [2]string{device, command})
}

func (v *memoryVault) ConfirmCamera(_ context.Context, device, command string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, staged := v.staged[[2]string{device, command}]
	if v.fail == nil && v.failConfirm == nil && staged {
		v.cameras[device] = c
		delete(v.staged, [2]string{device, command})
	}
	return staged, errors.Join(v.fail, v.failConfirm)
}

func set[K comparable, V any](v *memoryVault, m map[K]V, key K, value V) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		return v.fail
	}
	m[key] = value
	return nil
}

func forget[K comparable, V any](v *memoryVault, m map[K]V, key K) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		return v.fail
	}
	delete(m, key)
	return nil
}

func (v *memoryVault) SetPassword(_ context.Context, account, password string) error {
	if v.beforePassword != nil {
		v.beforePassword(account)
	}
	return set(v, v.passwords, account, password)
}

func (v *memoryVault) Apply(_ context.Context, account, login, password string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, has := v.passwords[account]; has {
		return ErrApplied
	}
	if v.fail != nil {
		return v.fail
	}
	if v.applied == nil {
		v.applied = map[string]string{}
	}
	v.passwords[account], v.applied[account] = password, login
	return nil
}

func (v *memoryVault) EndApplications(_ context.Context, login string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.DeleteFunc(v.applied, func(_, of string) bool { return of == login })
	return v.fail
}

func (v *memoryVault) VerifyPassword(_ context.Context, account, password string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.passwords[account]
	return ok && known == password, v.fail
}

func (v *memoryVault) SetCamera(_ context.Context, device string, c Camera) error {
	return set(v, v.cameras, device, c)
}

func (v *memoryVault) ForgetCamera(_ context.Context, device string) error {
	return forget(v, v.cameras, device)
}

func (v *memoryVault) SetStreamSecret(_ context.Context, key, secret string) error {
	return set(v, v.secrets, key, secret)
}

func (v *memoryVault) StreamSecret(_ context.Context, key string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	secret, ok := v.secrets[key]
	if !ok {
		return "", errors.New("no such secret")
	}
	return secret, nil
}

func (v *memoryVault) ForgetStreamSecret(_ context.Context, key string) error {
	return forget(v, v.secrets, key)
}

func (v *memoryVault) DomainTaken(_ context.Context, account ids.Account, domain string, _ ids.Device) (bool, error) {
	return v.taken[string(account)+" "+domain], v.fail
}

// server is the use cases as a process has them.
type server struct {
	*core
	accounts    *Accounts
	devices     *Devices
	shares      *Shares
	keys        *StreamKeys
	revocations *Revocations
}

func (s *server) loadAccount(ctx context.Context, id string) (stream[account.State], error) {
	return load(ctx, s.core, accountKind, accountStream(id))
}

// world is a server over memory, with an owner, a recipient and a stranger.
type world struct {
	*server
	t     testing.TB
	log   *memoryLog
	vault *memoryVault
	clock time.Time

	requests        Requests
	alice, bob, eve string
	cam             string // Alice's: channel 1 with everything
	dvr             string // Alice's: channel 1 live, channel 2 playback
}

const password = "correct horse"

var ctx = context.Background()

func emptyWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, requests: &recentRequests{}, log: &memoryLog{streams: map[string][]Stored{}}, clock: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC),
		vault: &memoryVault{passwords: map[string]string{}, cameras: map[string]Camera{}, staged: map[[2]string]Camera{}, erased: map[string]bool{}, secrets: map[string]string{}, taken: map[string]bool{}},
	}
	w.server = w.node()
	return w
}

// node is one more server over the same log and vault.
func (w *world) node() *server {
	w.t.Helper()
	u, err := New(Config{
		Log: w.log, Sealer: w.vault, Passwords: w.vault, Cameras: w.vault, StreamSecrets: w.vault, Domains: w.vault, Shares: w.log, Requests: w.requests,
		Registration: Open, Now: func() time.Time { return w.clock },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	u.Shares.core.folded.few = 0 // so that all tests go on from what is known
	return &server{core: u.Shares.core, accounts: u.Accounts, devices: u.Devices, shares: u.Shares, keys: u.StreamKeys, revocations: u.Revocations}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := emptyWorld(t)
	w.alice, w.bob, w.eve = w.person("alice"), w.person("bob"), w.person("eve")
	w.cam = w.addDevice(w.alice, NewDevice{Name: "Front door", Serial: "CAM-1", RTSPURL: "rtsp://192.0.2.1/live"})
	w.dvr = w.addDevice(w.alice, NewDevice{Name: "Warehouse", Serial: "DS-7216", Channels: []NewChannel{
		{Channel: 1, Capabilities: privilege.LiveView}, {Channel: 2, Capabilities: privilege.Playback},
	}})
	return w
}

func (w *world) person(name string) string {
	w.t.Helper()
	r, err := w.accounts.Register(ctx, Meta{}, Registration{Email: name + "@example.com", Password: password, Name: name})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Account
}

func (w *world) addDevice(owner string, d NewDevice) string {
	w.t.Helper()
	r, err := w.devices.Add(ctx, Meta{Account: owner}, d)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Device.Device
}

// share shares with Bob what is given, and answers the share's id.
func (w *world) share(devices ...DeviceGrants) string {
	w.t.Helper()
	r, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "bob@example.com", Devices: devices})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Share.ID
}

func (w *world) accepted(devices ...DeviceGrants) string {
	w.t.Helper()
	id := w.share(devices...)
	for _, d := range devices {
		if _, err := w.shares.Accept(ctx, Meta{Account: w.bob}, id, d.Device); err != nil {
			w.t.Fatal(err)
		}
	}
	return id
}

func gives(device string, channel int, p privilege.Set) DeviceGrants {
	return DeviceGrants{Device: device, Grants: []share.Grant{{Channel: channel, Privileges: p}}}
}

// changes is the answer of Shares.Save as that of the other commands on shares.
func changes(r ShareSaved, err error) (ShareChanged, error) { return r.ShareChanged, err }

// wantCode checks a refusal.
func wantCode(t testing.TB, err error, kind Kind, code string) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != kind || e.Code != code || e.Message == "" {
		t.Fatalf("error %v; want %s, kind %d", err, code, kind)
	}
	return e
}

// wantFields checks that exactly these fields are at fault.
func wantFields(t testing.TB, err error, fields ...Field) {
	t.Helper()
	e := wantCode(t, err, Invalid, "invalid_body")
	if got := slices.Sorted(maps.Keys(e.Fields)); !slices.Equal(got, fields) {
		t.Fatalf("fields %v; want %v", got, fields)
	}
}

// wantField checks that a refusal is about one field, and says why.
func wantField(t testing.TB, e *Error, field Field) {
	t.Helper()
	if len(e.Fields) != 1 || e.Fields[field] == "" {
		t.Fatalf("%s is about %v; want %s", e.Code, e.Fields, field)
	}
}

// wantAbsent checks that the log holds none of the words.
func (w *world) wantAbsent(words ...string) {
	w.t.Helper()
	for _, e := range w.log.all() {
		for _, word := range words {
			if bytes.Contains(bytes.ToLower(append(slices.Clone(e.Data), e.Metadata...)), bytes.ToLower([]byte(word))) {
				w.t.Errorf("%s holds %q: %s %s", e.Type, word, e.Data, e.Metadata)
			}
		}
	}
}
