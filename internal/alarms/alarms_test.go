package alarms_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/internal/alarms"
	"latchkey/internal/alert"
	"latchkey/internal/vault"
	"latchkey/projections/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rules are who may do what, changed as the index is: first the rule, then the permits.
type rules struct {
	mu      sync.RWMutex
	allowed map[string]bool // account and channel
	unknown bool
}

func (r *rules) Live(time.Time) bool            { return true }
func (r *rules) Pulse() *access.Pulse           { return nil }
func (r *rules) Key(ids.Key) (access.Key, bool) { return access.Key{}, false }
func (r *rules) Pair(a ids.Account, _ ids.Device) access.Pair {
	return pair{r, string(a)}
}

type pair struct {
	rules   *rules
	account string
}

func (p pair) Check(channel int, want privilege.Set, _ time.Time) access.Standing {
	p.rules.mu.RLock()
	defer p.rules.mu.RUnlock()
	switch {
	case p.rules.unknown:
		return access.Standing{Verdict: access.Unavailable}
	case want == privilege.Alarm && p.rules.allowed[fmt.Sprint(p.account, channel)]:
		return access.Standing{Verdict: access.Allowed}
	}
	return access.Standing{Verdict: access.Forbidden}
}

func (r *rules) Check(a ids.Account, d ids.Device, channel int, p privilege.Set, now time.Time) access.Verdict {
	return r.Pair(a, d).Check(channel, p, now).Verdict
}

func (r *rules) set(account string, channel int, may bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.allowed[fmt.Sprint(account, channel)] = may
}

// house is a desk with a vault.
type house struct {
	t      *testing.T
	rules  *rules
	vault  *vault.Vault
	desk   *alarms.Desk
	having alarms.Having
	now    atomic.Pointer[time.Time]
	told   []alarms.Alarm
	raised func()
}

func newHouse(t *testing.T) *house {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vault.db")
	must(t, vault.CreateFile(path))
	db, err := vault.OpenFile(path)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	h := &house{t: t, rules: &rules{allowed: map[string]bool{}}, raised: func() {}}
	start := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	h.now.Store(&start)
	h.vault, err = vault.Open(t.Context(), db, vault.NewMasterKey(), h.clock)
	must(t, err)
	h.having = alarms.Having{Owner: "olga", Channels: []int{1, 2}, Shared: []alarms.Holder{{Account: "rita", Share: "s"}, {Account: "sam", Share: "t"}}}
	for channel := range 3 {
		h.rules.set("olga", channel, channel > 0)
	}
	h.rules.set("rita", 1, true)
	h.desk = alarms.NewDesk(alarms.Config{
		Store: h.vault, Index: h.rules, Now: h.clock, Logger: slog.New(slog.DiscardHandler), Raised: func() { h.raised() },
		Having: func(_ context.Context, device string) (alarms.Having, bool, error) {
			return h.having, device == "cam", nil
		},
		Notices: func(_ context.Context, a alarms.Alarm, _ []alarms.Holder) ([]vault.Notice, error) {
			h.told = append(h.told, a)
			return nil, nil
		},
	})
	return h
}

func (h *house) clock() time.Time { return *h.now.Load() }

func (h *house) advance(d time.Duration) {
	at := h.clock().Add(d)
	h.now.Store(&at)
}

func (h *house) take(a alert.Alert) {
	h.t.Helper()
	must(h.t, h.desk.Take(h.t.Context(), "cam", []alert.Alert{a}, nil))
}

func (h *house) list(account string) []alarms.Copy {
	h.t.Helper()
	list, err := h.desk.List(h.t.Context(), account, alarms.Query{Before: 1 << 62, Most: 1000})
	must(h.t, err)
	return list
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func motion(channel int, active bool) alert.Alert {
	return alert.Alert{Channel: channel, Kind: alert.Motion, Type: "vmd", Active: active}
}

// TestAnEventIsOneAlarm: however often it is repeated, and in whatever order it is told.
func TestAnEventIsOneAlarm(t *testing.T) {
	h := newHouse(t)
	want := func(when string, n int) {
		t.Helper()
		if got := len(h.list("olga")); got != n {
			t.Errorf("%s: %d alarms; want %d", when, got, n)
		}
	}
	for range 10 {
		h.take(motion(1, true))
		h.advance(time.Second)
	}
	want("while it lasts", 1)
	h.take(motion(1, false))
	want("at its end", 1)
	h.advance(10 * time.Second)
	h.take(motion(1, true))
	want("again", 2)
	h.advance(10 * time.Second)
	h.take(motion(1, true))
	want("after a silence", 3)
	h.advance(10 * time.Second)
	h.take(motion(2, true))
	want("on another channel", 4)
	h.take(alert.Alert{Channel: 1, Kind: alert.Sound, Type: "audioexception", Active: true})
	want("another event", 5)

	at := h.clock()
	end, late := motion(2, false), motion(2, true)
	end.At, late.At = at, at.Add(-time.Second)
	h.take(end)
	h.advance(6 * time.Second)
	h.take(late)
	want("what was overtaken by the end", 5)
	late.At = at.Add(-2 * time.Hour) // its clock was set back
	h.take(late)
	want("after the clock was set back", 6)

	lasting := alert.Alert{Channel: 1, Kind: alert.Input, Type: "trigger", Active: true, Lasting: true}
	h.take(lasting)
	h.advance(10 * time.Minute)
	h.take(lasting)
	want("one that lasts", 7)
}

// TestWhoHasAnAlarm: whoever held the privilege when it was raised, and holds it now.
func TestWhoHasAnAlarm(t *testing.T) {
	h := newHouse(t)
	h.take(motion(1, true))
	h.take(motion(2, true))
	if got := h.list("rita"); len(got) != 1 || got[0].Channel != 1 || got[0].Kind != "motion" {
		t.Errorf("rita has %+v", got)
	}
	if got := h.list("sam"); len(got) != 0 {
		t.Errorf("sam has %+v", got)
	}
	h.rules.set("sam", 1, true)
	if got := h.list("sam"); len(got) != 0 {
		t.Errorf("sam has what was raised before: %+v", got)
	}
	first := h.list("rita")[0]
	h.rules.set("rita", 1, false)
	if got := h.list("rita"); len(got) != 0 {
		t.Errorf("without the privilege rita has %+v", got)
	}
	if _, err := h.desk.Acknowledge(t.Context(), "rita", first.ID, true); !errors.Is(err, alarms.ErrNoAlarm) {
		t.Errorf("and acknowledges: %v", err)
	}
	h.advance(time.Minute)
	h.take(motion(1, true))
	h.rules.set("rita", 1, true)
	if got := h.list("rita"); len(got) != 1 || got[0].ID != first.ID {
		t.Errorf("with the privilege again, rita has %+v", got)
	}
	if _, err := h.desk.Acknowledge(t.Context(), "sam", first.ID, true); !errors.Is(err, alarms.ErrNoAlarm) {
		t.Errorf("somebody else's: %v", err)
	}
	h.advance(time.Minute)
	seen, err := h.desk.Acknowledge(t.Context(), "rita", first.ID, true)
	if err != nil || !seen.Acknowledged.Equal(h.clock()) {
		t.Errorf("%+v, %v", seen, err)
	}
	h.advance(time.Minute)
	if again, err := h.desk.Acknowledge(t.Context(), "rita", first.ID, true); err != nil || !again.Acknowledged.Equal(seen.Acknowledged) {
		t.Errorf("again: %+v, %v", again, err)
	}
	yes := false
	if got, err := h.desk.List(t.Context(), "olga", alarms.Query{Before: 1 << 62, Most: 2, Acknowledged: &yes}); err != nil || len(got) != 2 || got[0].Seq <= got[1].Seq {
		t.Errorf("%+v, %v", got, err)
	}
	h.rules.mu.Lock()
	h.rules.unknown = true
	h.rules.mu.Unlock()
	if _, err := h.desk.List(t.Context(), "olga", alarms.Query{Before: 1 << 62, Most: 2}); !errors.Is(err, alarms.ErrUnknown) {
		t.Errorf("while nothing is known: %v", err)
	}
}

// TestAnAccountWithTwoShares: it has the alarm once, and so has everybody else.
func TestAnAccountWithTwoShares(t *testing.T) {
	h := newHouse(t)
	h.having.Shared = append(h.having.Shared, alarms.Holder{Account: "rita", Share: "u"}, alarms.Holder{Account: "olga", Share: "v"})
	h.take(alert.Alert{Channel: 1, Kind: alert.Motion, Type: "vmd", Active: true})
	for _, account := range []string{"olga", "rita"} {
		if got := h.list(account); len(got) != 1 {
			t.Errorf("%s has %+v", account, got)
		}
	}
}

// TestTheDeviceItself: what is of no channel, only its owner is told.
func TestTheDeviceItself(t *testing.T) {
	h := newHouse(t)
	full := alert.Alert{Kind: alert.Storage, Type: "diskfull", Active: true}
	h.take(full)
	if got := h.list("olga"); len(got) != 1 || got[0].Channel != 0 || got[0].By != 1 || len(h.list("rita")) != 0 {
		t.Errorf("olga has %+v, rita %+v", got, h.list("rita"))
	}
	h.take(alert.Alert{Channel: 34, Kind: alert.Motion, Type: "vmd", Active: true})
	if got := h.list("olga"); len(got) != 2 || got[0].Channel != 2 {
		t.Errorf("a linked camera: %+v", got)
	}
	h.having.Channels = []int{1}
	h.advance(time.Minute)
	h.take(full)
	if got := h.list("rita"); len(got) != 1 || got[0].Channel != 1 {
		t.Errorf("of a camera with one channel rita has %+v", got)
	}
	h.advance(time.Minute)
	must(t, h.desk.Take(t.Context(), "gone", []alert.Alert{full}, nil))
	if len(h.told) != 3 {
		t.Errorf("%+v", h.told)
	}
}

// TestTimes: the arrival is the order; the camera's own time is kept if it can be believed.
func TestTimes(t *testing.T) {
	h := newHouse(t)
	east := time.FixedZone("", 2*60*60)
	for i, c := range []struct {
		at      time.Time
		unzoned bool
		zone    *time.Location
		want    time.Time
	}{
		{at: h.clock().Add(-time.Minute), want: h.clock().Add(-time.Minute)},
		{at: h.clock().Add(-time.Hour)},
		{at: h.clock().Add(2 * time.Hour), unzoned: true, zone: east, want: h.clock()},
		{at: h.clock(), unzoned: true, want: h.clock()},
		{},
	} {
		a := alert.Alert{Channel: 1, Kind: alert.Kinds[i], Type: fmt.Sprint(i), Active: true, At: c.at, Unzoned: c.unzoned}
		must(t, h.desk.Take(t.Context(), "cam", []alert.Alert{a}, c.zone))
		if got := h.list("olga")[0]; !got.Camera.Equal(c.want) || !got.Raised.Equal(h.clock()) {
			t.Errorf("%d: %+v", i, got)
		}
	}
}

// TestADeviceThatRaisesTooManyIsBounded: and one sooner that many accounts have.
func TestADeviceThatRaisesTooManyIsBounded(t *testing.T) {
	h := newHouse(t)
	for i := range 300 {
		h.take(alert.Alert{Channel: 1, Kind: alert.Other, Type: fmt.Sprint(i), Active: true}) // it knows no more than 256 events
	}
	if kept, left := h.desk.Counts(); kept != 256 || left != 0 {
		t.Errorf("%d were kept, %d left out", kept, left)
	}
	h.advance(time.Hour)
	for i := range 5000 {
		account := fmt.Sprint("a", i)
		h.rules.set(account, 1, true)
		h.having.Shared = append(h.having.Shared, alarms.Holder{Account: account, Share: "s"})
	}
	before, _ := h.desk.Counts()
	for range 20 {
		h.take(motion(1, true))
		h.take(motion(1, false))
	}
	if kept, left := h.desk.Counts(); kept-before < 5 || left < 5 {
		t.Errorf("%d were kept for many, %d left out", kept-before, left)
	}
}

// TestTwoWaysTellOfOneAlarm: what a device posts and is heard of it is one; what begins
// again on the same way is another.
func TestTwoWaysTellOfOneAlarm(t *testing.T) {
	h := newHouse(t)
	_, key, err := h.desk.MakeReceiver(t.Context(), "olga", "cam")
	must(t, err)
	post := func(state string) {
		t.Helper()
		must(t, h.desk.Receive(t.Context(), key, "application/json", strings.NewReader(`{"channelID":1,"eventType":"motiondetection","eventState":"`+state+`"}`)))
	}
	h.take(motion(1, true))
	post("active")
	if n := len(h.list("olga")); n != 1 {
		t.Errorf("%d alarms", n)
	}
	h.take(motion(1, false))
	h.take(motion(1, true))
	if n := len(h.list("olga")); n != 2 {
		t.Errorf("again: %d alarms", n)
	}
	h.take(motion(1, false))
	h.advance(time.Minute)
	post("active")
	post("inactive")
	post("active")
	if n := len(h.list("olga")); n != 4 {
		t.Errorf("posted alone: %d alarms", n)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReceivers(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	if _, there, err := h.desk.ReceiverOf(ctx, "olga", "cam"); err != nil || there {
		t.Errorf("%v, %v", there, err)
	}
	_, before, err := h.desk.MakeReceiver(ctx, "olga", "cam")
	must(t, err)
	made, key, err := h.desk.MakeReceiver(ctx, "olga", "cam")
	if err != nil || len(key) < 20 || made.Created.IsZero() {
		t.Fatalf("%+v, %q, %v", made, key, err)
	}
	const text = `{"channelID":1,"eventType":"VMD","eventState":"active"}`
	if err := h.desk.Receive(ctx, before, "application/json", strings.NewReader(text)); !errors.Is(err, alarms.ErrNoReceiver) {
		t.Errorf("with the key before: %v", err)
	}
	if err := h.desk.Receive(ctx, key, "application/json", strings.NewReader("x")); !errors.Is(err, alert.ErrUnreadable) {
		t.Errorf("nonsense: %v", err)
	}
	must(t, h.desk.Receive(ctx, key, "application/json", strings.NewReader(text)))
	must(t, h.desk.Receive(ctx, key, "application/json", strings.NewReader(text)))
	if got := h.list("rita"); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	h.advance(time.Minute)
	slow := io.MultiReader(strings.NewReader(text), readerFunc(func([]byte) (int, error) { // it is replaced meanwhile
		_, key, err = h.desk.MakeReceiver(ctx, "olga", "cam")
		must(t, err)
		return 0, io.EOF
	}))
	if err := h.desk.Receive(ctx, key, "application/json", slow); !errors.Is(err, alarms.ErrNoReceiver) || len(h.list("rita")) != 1 {
		t.Errorf("a key that ended while the body was read: %v, %+v", err, h.list("rita"))
	}
	slow = io.MultiReader(strings.NewReader(text), readerFunc(func([]byte) (int, error) {
		h.having.Owner = "sam" // it changed hands
		return 0, io.EOF
	}))
	if err := h.desk.Receive(ctx, key, "application/json", slow); !errors.Is(err, alarms.ErrNoReceiver) || len(h.list("rita")) != 1 || len(h.list("sam")) != 0 {
		t.Errorf("while the body was read, a device that changed hands: %v, %+v", err, h.list("sam"))
	}
	if err := h.desk.Receive(ctx, key, "application/json", strings.NewReader(text)); !errors.Is(err, alarms.ErrNoReceiver) {
		t.Errorf("of an owner before: %v", err)
	}
	h.having.Owner = "olga"
	if had, err := h.desk.RevokeReceiver(ctx, "cam"); err != nil || !had {
		t.Errorf("%v, %v", had, err)
	}
	if err := h.desk.Receive(ctx, key, "application/json", strings.NewReader(text)); !errors.Is(err, alarms.ErrNoReceiver) {
		t.Errorf("after it was revoked: %v", err)
	}
}

// farStore has as many alarms as it is told, and notes which are read.
type farStore struct {
	*vault.Vault
	last atomic.Int64
	read chan [2]int64
}

func (s *farStore) LastAlarm(context.Context) (int64, error) { return s.last.Load(), nil }

func (s *farStore) NewAlarms(_ context.Context, after, until int64) ([]alarms.Copy, error) {
	s.read <- [2]int64{after, until}
	return nil, nil
}

// TestManyAlarmsAreReadInParts: however many came while the store was away.
func TestManyAlarmsAreReadInParts(t *testing.T) {
	h := newHouse(t)
	store := &farStore{Vault: h.vault, read: make(chan [2]int64, 100)}
	hub := alarms.NewHub(store, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- hub.Run(ctx) }()
	defer func() { cancel(); <-done }()
	l, err := hub.Listen(t.Context(), "rita", nil)
	for ; errors.Is(err, alarms.ErrEnded); l, err = hub.Listen(t.Context(), "rita", nil) {
		time.Sleep(time.Millisecond)
	}
	must(t, err)
	defer l.Close()
	store.last.Store(2500)
	hub.Wake()
	for _, want := range [][2]int64{{0, 1000}, {1000, 2000}, {2000, 2500}} {
		if got := <-store.read; got != want {
			t.Errorf("%v were read, want %v", got, want)
		}
	}
}

// TestListenersGetEachAlarmOnce: what was missed, and what comes.
func TestListenersGetEachAlarmOnce(t *testing.T) {
	h := newHouse(t)
	hub := alarms.NewHub(h.vault, slog.New(slog.DiscardHandler))
	h.raised = hub.Wake
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- hub.Run(ctx) }()
	defer func() { cancel(); <-done }()
	listen := func(account string, after *int64) *alarms.Listener {
		t.Helper()
		for {
			l, err := hub.Listen(t.Context(), account, after)
			if errors.Is(err, alarms.ErrEnded) {
				time.Sleep(time.Millisecond)
				continue
			}
			must(t, err)
			return l
		}
	}
	next := func(l *alarms.Listener) alarms.Copy {
		t.Helper()
		select {
		case c := <-l.Alarms():
			return c
		case <-time.After(30 * time.Second):
			t.Fatal("no alarm comes")
			return alarms.Copy{}
		}
	}
	l := listen("rita", nil)
	h.take(motion(1, true))
	h.take(motion(2, true)) // not hers
	h.take(alert.Alert{Channel: 1, Kind: alert.Sound, Type: "s", Active: true})
	first, second := next(l), next(l)
	if first.Kind != "motion" || second.Kind != "sound" || first.Account != "rita" {
		t.Errorf("%+v, %+v", first, second)
	}
	l.Close()
	h.take(alert.Alert{Channel: 1, Kind: alert.Face, Type: "f", Active: true})
	again := listen("rita", &first.Seq)
	var got []int64
	for _, c := range again.Missed() {
		got = append(got, c.Seq)
	}
	for again.From() > 0 && len(got) < 2 {
		got = append(got, next(again).Seq)
	}
	if len(got) != 2 || got[0] != second.Seq || !slices.IsSorted(got) {
		t.Errorf("%v after %d", got, first.Seq)
	}
	again.Close()
	beyond := int64(1 << 40)
	if _, err := hub.Listen(t.Context(), "rita", &beyond); !errors.Is(err, alarms.ErrMissed) {
		t.Errorf("%v", err)
	}
	slow := listen("rita", nil)
	for i := range 300 {
		_, _, err := h.vault.RaiseAlarm(t.Context(), vault.RaisedAlarm{Alarm: alarms.Alarm{ID: fmt.Sprint(i), Device: "cam", Channel: 1, By: 1, Kind: fmt.Sprint(i), Raised: h.clock()}, Accounts: []string{"rita"}, Most: 1000})
		must(t, err)
	}
	hub.Wake()
	for range slow.Alarms() {
		time.Sleep(time.Millisecond)
	}
}

// TestAnotherProcessHandsThemOn: what one process keeps, the listeners of another get.
func TestAnotherProcessHandsThemOn(t *testing.T) {
	h := newHouse(t)
	other := alarms.NewHub(h.vault, slog.New(slog.DiscardHandler)) // nobody wakes it
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- other.Run(ctx) }()
	defer func() { cancel(); <-done }()
	l, err := other.Listen(t.Context(), "rita", nil)
	for ; errors.Is(err, alarms.ErrEnded); l, err = other.Listen(t.Context(), "rita", nil) {
		time.Sleep(time.Millisecond)
	}
	must(t, err)
	defer l.Close()
	h.take(motion(1, true))
	select {
	case c := <-l.Alarms():
		if c.Kind != "motion" || c.Account != "rita" {
			t.Errorf("%+v", c)
		}
	case <-time.After(30 * time.Second):
		t.Error("no alarm comes")
	}
}

// wire is where an alarm is sent: it takes bytes as long as its context lasts, and reports
// those that come after the answer.
type wire struct {
	answered atomic.Bool
	leaked   atomic.Int64
}

func (w *wire) send(ctx context.Context, n int) {
	for range n {
		if ctx.Err() != nil {
			return
		}
		if w.answered.Load() {
			w.leaked.Add(1)
		}
	}
}

// TestNothingIsSentAfterTheAnswer: an alarm is raised while the privilege is being revoked,
// 1,000 times.
func TestNothingIsSentAfterTheAnswer(t *testing.T) {
	const rounds = 1000
	r := &rules{allowed: map[string]bool{}}
	permits := access.NewPermits(r, nil, nil)
	sends := alarms.NewSends(permits, slog.New(slog.DiscardHandler))
	sent, refused := 0, 0
	for i := range rounds {
		r.set("rita", 1, true)
		w := &wire{}
		var sending sync.WaitGroup
		outcome := make(chan error, 4)
		for k := range 4 {
			sending.Go(func() {
				for range (i + k) % 7 * 20 { // at any moment of the revocation
					_ = w.answered.Load()
				}
				ctx, end, err := sends.Begin(t.Context(), "rita", "cam", 1, "events")
				if err == nil {
					w.send(ctx, 500)
					end()
				}
				outcome <- err
			})
		}
		for range i % 20 {
			runtime.Gosched()
		}
		r.set("rita", 1, false)
		permits.Changed(access.Change{Account: "rita", Device: "cam"})
		must(t, sends.AwaitCuts(t.Context()))
		w.answered.Store(true)
		sending.Wait()
		for range 4 {
			switch err := <-outcome; {
			case err == nil:
				sent++
			case errors.Is(err, alarms.ErrNotAllowed):
				refused++
			default:
				t.Fatal(err)
			}
		}
		if n := w.leaked.Load(); n > 0 {
			t.Fatalf("round %d: %d pieces after the answer", i, n)
		}
	}
	if sent == 0 || refused == 0 {
		t.Errorf("%d were sent, %d refused: the two do not meet", sent, refused)
	}
}

// TestASendThatHangsDelaysOnlyBriefly: and the caller's own patience counts.
func TestASendThatHangsDelaysOnlyBriefly(t *testing.T) {
	r := &rules{allowed: map[string]bool{"rita1": true}}
	permits := access.NewPermits(r, nil, nil)
	sends := alarms.NewSends(permits, slog.New(slog.DiscardHandler))
	ctx, end, err := sends.Begin(t.Context(), "rita", "cam", 1, "webhook")
	must(t, err)
	r.set("rita", 1, false)
	permits.Changed(access.Change{})
	if ctx.Err() == nil {
		t.Error("the sending goes on")
	}
	brief, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := sends.AwaitCuts(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	end()
	must(t, sends.AwaitCuts(t.Context()))
	r.mu.Lock()
	r.unknown = true
	r.mu.Unlock()
	if _, _, err := sends.Begin(t.Context(), "rita", "cam", 1, "webhook"); !errors.Is(err, alarms.ErrUnknown) {
		t.Errorf("%v", err)
	}
}
