package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/share"
	"latchkey/eventstore"
)

// memoryLog is a log whose subscriptions end when it is told to.
type memoryLog struct {
	mu      sync.Mutex
	id      eventstore.Identity
	events  []eventstore.Recorded
	changed chan struct{}
	drops   int
}

func newLog() *memoryLog {
	return &memoryLog{id: eventstore.Identity{Log: uuid.New(), Epoch: 1}, changed: make(chan struct{})}
}

func (l *memoryLog) Identity(context.Context) (eventstore.Identity, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id, nil
}

func (l *memoryLog) Identify(ctx context.Context) (eventstore.Identity, error) {
	return l.Identity(ctx)
}

func (l *memoryLog) Holds(_ context.Context, m eventstore.Mark) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.id.Log == uuid.Nil:
		return eventstore.ErrNoIdentity
	case m.Log != l.id.Log:
		return eventstore.ErrOtherLog
	case m.Epoch != l.id.Epoch:
		return eventstore.ErrOtherEpoch
	case m.Position > 0 && (int(m.Position) > len(l.events) || l.events[m.Position-1].ID != m.Event):
		return eventstore.ErrLogCut
	}
	return nil
}

func (l *memoryLog) Tail(_ context.Context, _ int, each func(eventstore.Recorded) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.events) - 1; i >= 0 && each(l.events[i]); i-- {
	}
	return nil
}

// add appends events of the catalogue and returns the position of the last one.
func (l *memoryLog) add(t *testing.T, events ...event.Event) eventstore.Position {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		name, data, err := catalogue.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		l.events = append(l.events, eventstore.Recorded{ID: uuid.New(), Position: eventstore.Position(len(l.events) + 1), Type: name, Data: data})
	}
	l.wake()
	return eventstore.Position(len(l.events))
}

func (l *memoryLog) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// become puts other contents in the place of the log, and drops subscriptions.
func (l *memoryLog) become(id eventstore.Identity, events []eventstore.Recorded) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id, l.events = id, events
	l.drops++
	l.wake()
}

func (l *memoryLog) Subscribe(ctx context.Context, after eventstore.Position, prefix string, h eventstore.Handler) error {
	if prefix != event.Prefix {
		return fmt.Errorf("prefix %q", prefix)
	}
	for drops := -1; ; {
		l.mu.Lock()
		now, changed := l.drops, l.changed
		var fresh []eventstore.Recorded
		if int(after) < len(l.events) {
			fresh = l.events[after:]
		}
		l.mu.Unlock()
		if now != drops {
			if err := h.Resume(ctx); err != nil {
				return err
			}
			drops = now
			continue
		}
		if len(fresh) > 0 {
			if err := h.Events(fresh); err != nil {
				return err
			}
			after = fresh[len(fresh)-1].Position
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run opens the journal and keeps it up to date until stop is called.
func run(t *testing.T, path string, log *memoryLog) (j *Journal, stop func()) {
	t.Helper()
	j, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx, log) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := errors.Join(<-done, j.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return j, stop
}

func reach(t *testing.T, j *Journal, position eventstore.Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := j.WaitFor(ctx, position); err != nil {
		t.Fatal(err)
	}
}

var (
	at      = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	harmful = []event.Event{
		share.DeviceRemoved{Share: "s", Device: "cam", Reason: share.ByOwner, At: at},
		share.Left{Share: "s", Device: "cam", At: at},
		share.Rejected{Share: "s", Device: "cam", At: at},
		share.PrivilegesEdited{Share: "s", Device: "cam", At: at},
		share.Deleted{Share: "s", At: at},
		device.Removed{Device: "cam", Owner: "o", At: at},
		account.StreamKeyRevoked{Account: "o", Key: "k", At: at},
	}
	harmless = share.Accepted{Share: "s", Device: "cam", At: at}
)

func kinds(c *Contents) string {
	var list []string
	for _, e := range c.Entries {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%d:%s %s%s", e.Position, e.Kind, e.Key, e.Person)))
	}
	return strings.Join(list, ", ")
}

func read(t *testing.T, path string) *Contents {
	t.Helper()
	c, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const allOfThem = "2:share_device, 3:share_device, 4:share_device, 5:share_device, 6:share, 7:device, 8:stream_key k"

func TestWhatIsTakenAwayIsInTheFile(t *testing.T) {
	log, path := newLog(), filepath.Join(t.TempDir(), "revocations.journal")
	log.add(t, harmless)
	idle, err := Open(filepath.Join(t.TempDir(), "idle"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if state, ok := idle.State(); ok {
		t.Errorf("a journal that has not begun is %q", state)
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	j, stop := run(t, path, log)
	reach(t, j, log.add(t, harmful...))
	if state, ok := j.State(); state != "ok" || !ok {
		t.Errorf("state %q, %v", state, ok)
	}
	c := read(t, path)
	if got := kinds(c); got != allOfThem {
		t.Fatalf("%s; want %s", got, allOfThem)
	}
	for i, e := range c.Entries {
		r, ok := e.Revocation()
		if !ok || r.Event != log.events[i+1].ID || e.Log != log.id.Log || e.Epoch != 1 {
			t.Errorf("%+v", e)
		}
	}
	if err := j.Erased("anna"); err != nil {
		t.Fatal(err)
	}
	last := log.add(t, harmless, harmless)
	reach(t, j, last)
	stop()
	c = read(t, path)
	if got := c.Entries[len(c.Entries)-1].Erased(); got != "anna" {
		t.Errorf("erased %q", got)
	}
	if !c.Reaches(log.id, last) || c.Reaches(log.id, last+1) {
		t.Errorf("the journal reaches %v; want position %d", c.Last(), last)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// Started again it goes on where it was, and adds nothing twice.
	j, stop = run(t, path, log)
	reach(t, j, log.add(t, harmful[6]))
	stop()
	if got, want := kinds(read(t, path)), allOfThem+", 8:erased anna, 11:stream_key k"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

// TestAPauseIsInTheFile: what a pause puts out of force counts as taken away.
func TestAPauseIsInTheFile(t *testing.T) {
	log, path := newLog(), filepath.Join(t.TempDir(), "j")
	log.add(t, harmless)
	j, stop := run(t, path, log)
	reach(t, j, log.add(t, share.Paused{Share: "s", At: at}, share.Paused{Share: "s", Device: "cam", At: at}, share.Resumed{Share: "s", At: at}))
	stop()
	c := read(t, path)
	if got, want := kinds(c), "2:share_paused, 3:share_paused"; got != want {
		t.Fatalf("%s; want %s", got, want)
	}
	for i, device := range []string{"", "cam"} {
		if r, ok := c.Entries[i].Revocation(); !ok || r.Kind != event.SharePaused || r.Share != "s" || r.Device != device {
			t.Errorf("entry %d: %+v, %v", i, r, ok)
		}
	}
}

// TestItStaysSmall: a log that grows without revocations does not make it grow.
func TestItStaysSmall(t *testing.T) {
	log, path := newLog(), filepath.Join(t.TempDir(), "j")
	j, stop := run(t, path, log)
	for range 50 {
		reach(t, j, log.add(t, harmless))
		j.mu.Lock()
		err := j.saveMark()
		j.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	stop()
	data, err := os.ReadFile(path)
	if err != nil || strings.Count(string(data), "\n") != 2 {
		t.Errorf("%v\n%s", err, data)
	}
}

// TestACrashLosesNothingSynced: the file ends anywhere. What is left is a
// beginning of the entries, and the journal catches up to all of them.
func TestACrashLosesNothingSynced(t *testing.T) {
	log, dir := newLog(), t.TempDir()
	path := filepath.Join(dir, "whole")
	j, stop := run(t, path, log)
	for _, e := range harmful {
		reach(t, j, log.add(t, e))
	}
	last := log.add(t, harmless)
	reach(t, j, last)
	stop()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := kinds(read(t, path))
	for n := 0; n <= len(whole); n += 101 {
		cut := filepath.Join(dir, fmt.Sprint("cut", n))
		garbage := []string{"", "\x00\x00\x00\x00", `{"n":3,"kind"`}[n%3]
		if err := os.WriteFile(cut, append(append([]byte(nil), whole[:n]...), garbage...), 0o600); err != nil {
			t.Fatal(err)
		}
		c, left := read(t, cut), string(whole[:n])+garbage
		if got := kinds(c); !strings.HasPrefix(want, got) || c.Torn != (left != "" && !strings.HasSuffix(left, "\n")) {
			t.Fatalf("cut at %d: %s, torn %v", n, got, c.Torn)
		}
		j, stop := run(t, cut, log)
		reach(t, j, last)
		stop()
		if got := kinds(read(t, cut)); got != want {
			t.Fatalf("cut at %d and caught up: %s; want %s", n, got, want)
		}
	}
}

// TestDamageIsNoticed: one byte changes in any line, the last one included, or a
// line before the last one is missing.
func TestDamageIsNoticed(t *testing.T) {
	log, path := newLog(), filepath.Join(t.TempDir(), "j")
	j, stop := run(t, path, log)
	for _, e := range harmful {
		reach(t, j, log.add(t, e))
	}
	reach(t, j, log.add(t, harmless))
	stop()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: Read: %v", what, err)
		}
		if _, err := Open(path, nil); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: Open: %v", what, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(data) {
			t.Fatalf("%s: a damaged journal was changed: %v", what, err)
		}
	}
	for _, file := range [][]byte{whole, whole[:strings.LastIndex(strings.TrimSpace(string(whole)), "\n")+1]} {
		for i := 0; i < len(file)-1; i += 13 {
			data := append([]byte(nil), file...)
			data[i] ^= 1
			refused(fmt.Sprint("byte ", i), data)
		}
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for i := range len(lines) - 2 {
		refused(fmt.Sprint("line ", i), []byte(strings.Join(append(append([]string(nil), lines[:i]...), lines[i+1:]...), "")))
	}
}

func TestOneProcessWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, nil); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second process: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAnotherLogIsNoticed: at the start, and when a subscription begins again.
func TestAnotherLogIsNoticed(t *testing.T) {
	other := newLog()
	for _, c := range []struct {
		name string
		id   func(eventstore.Identity) eventstore.Identity
		keep int // events of five
		want error
	}{
		{"a shorter log", func(id eventstore.Identity) eventstore.Identity { return id }, 3, eventstore.ErrLogCut},
		{"another log", func(eventstore.Identity) eventstore.Identity { return other.id }, 5, eventstore.ErrOtherLog},
		{"an older epoch", func(id eventstore.Identity) eventstore.Identity { id.Epoch--; return id }, 5, eventstore.ErrLogCut},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, path := newLog(), filepath.Join(t.TempDir(), "j")
			log.id.Epoch = 2
			j, stop := run(t, path, log)
			reach(t, j, log.add(t, harmful[:5]...))
			log.become(c.id(log.id), log.events[:c.keep])
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if err := j.WaitFor(ctx, 6); !errors.Is(err, c.want) {
				t.Errorf("running: %v", err)
			}
			if state, ok := j.State(); ok {
				t.Errorf("state %q", state)
			}
			stop()
			j, err := Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Begin(ctx, log); !errors.Is(err, c.want) {
				t.Errorf("at the start: %v", err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestItGoesOnWithTheRightLog once that is back, and lacks nothing.
func TestItGoesOnWithTheRightLog(t *testing.T) {
	other := newLog()
	for _, c := range []struct {
		name string
		id   func(eventstore.Identity) eventstore.Identity
		keep int // events of six
		want error
	}{
		{"a shorter log", func(id eventstore.Identity) eventstore.Identity { return id }, 3, eventstore.ErrLogCut},
		{"another log", func(eventstore.Identity) eventstore.Identity { return other.id }, 6, eventstore.ErrOtherLog},
		{"an older epoch", func(id eventstore.Identity) eventstore.Identity { id.Epoch--; return id }, 6, eventstore.ErrLogCut},
		{"an empty log", func(eventstore.Identity) eventstore.Identity { return eventstore.Identity{} }, 0, eventstore.ErrNoIdentity},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			log, path := newLog(), filepath.Join(t.TempDir(), "j")
			log.id.Epoch = 2
			log.add(t, harmless)
			j, _ := run(t, path, log)
			reach(t, j, log.add(t, harmful[:5]...))
			right, events := log.id, log.events
			log.become(c.id(right), events[:c.keep:c.keep])
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if err := j.WaitFor(ctx, 7); !errors.Is(err, c.want) {
				t.Fatalf("under the wrong log: %v", err)
			}
			if state, ok := j.State(); ok || !strings.Contains(state, c.want.Error()) {
				t.Fatalf("under the wrong log: %q, %v", state, ok)
			}
			log.become(right, events)
			last := log.add(t, harmful[5:]...)
			eventually(t, func() bool { _, ok := j.State(); return ok })
			reach(t, j, last)
			if state, ok := j.State(); state != "ok" || !ok {
				t.Errorf("under the right log: %q, %v", state, ok)
			}
			if got := kinds(read(t, path)); got != allOfThem {
				t.Errorf("%s; want %s", got, allOfThem)
			}
		})
	}
}

// TestARestoredLog: the journal keeps what it had and begins again.
func TestARestoredLog(t *testing.T) {
	log, path := newLog(), filepath.Join(t.TempDir(), "j")
	before := log.id
	j, stop := run(t, path, log)
	reach(t, j, log.add(t, harmful...))
	restored := before
	restored.Epoch = 3
	log.become(restored, append([]eventstore.Recorded(nil), log.events[:2]...))
	last := log.add(t, harmless, harmful[6])
	eventually(t, func() bool { return len(read(t, path).Marks) == 2 })
	reach(t, j, last)
	stop()
	c := read(t, path)
	if got, want := kinds(c), strings.ReplaceAll("1:share_device, 2:share_device, 3:share_device, 4:share_device, 5:share, 6:device, 7:stream_key k", "  ", " ")+", 1:share_device, 2:share_device, 4:stream_key k"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
	for _, r := range []struct {
		epoch    uint64
		position eventstore.Position
		want     bool
	}{{1, 7, true}, {1, 8, true}, {2, 100, true}, {3, 4, true}, {3, 5, false}, {4, 1, false}} {
		if got := c.Reaches(eventstore.Identity{Log: before.Log, Epoch: r.epoch}, r.position); got != r.want {
			t.Errorf("epoch %d, position %d: %v", r.epoch, r.position, got)
		}
	}
	if c.Reaches(newLog().id, 1) {
		t.Error("it reaches into another log")
	}
}

// TestAnUnknownEventStopsIt: it may be one that takes something away.
func TestAnUnknownEventStopsIt(t *testing.T) {
	log := newLog()
	log.events = append(log.events, eventstore.Recorded{ID: uuid.New(), Position: 1, Type: "latchkey.share.frozen.v1", Data: []byte("{}")})
	j, _ := run(t, filepath.Join(t.TempDir(), "j"), log)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := j.WaitFor(ctx, 1); !errors.Is(err, event.ErrUnknown) {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 30 s")
		}
	}
}
