package quota

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"latchkey/internal/app"
	"latchkey/internal/position"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// shelf is what accounts have, as a read model sees it, which may be behind.
type shelf struct {
	mu      sync.Mutex
	has     map[string]int
	seen    position.Position
	counted int
	after   func() // the next count
	err     error
}

func (s *shelf) Count(_ context.Context, account, _ string) (int, position.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted++
	n, seen := s.has[account], s.seen
	if s.after != nil {
		s.after()
		s.after = nil
	}
	return n, seen, s.err
}

// world is a ledger with a clock.
type world struct {
	*Ledger
	shelf *shelf
	now   time.Time
}

func newWorld(t *testing.T, limits string) *world {
	t.Helper()
	parsed, err := Parse(limits)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{shelf: &shelf{has: map[string]int{}}, now: noon}
	w.Ledger = New(parsed, w.shelf, func() time.Time { return w.now })
	return w
}

func (w *world) hold(t *testing.T) (settle func(position.Position), ok bool) {
	t.Helper()
	settle, err := w.Hold(t.Context(), "olga", app.QuotaDevices)
	if e, is := errors.AsType[*app.Exceeded](err); is {
		if e.Quota != app.QuotaDevices || e.RetryAfter != 0 {
			t.Errorf("refused by %+v", e)
		}
		return nil, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return settle, true
}

func TestNobodyHasMoreThanTheMost(t *testing.T) {
	w := newWorld(t, "devices=10")
	w.shelf.has["olga"] = 4
	var position position.Position
	var mu sync.Mutex
	got := 0
	var all sync.WaitGroup
	for range 100 { // the read model stands still meanwhile
		all.Go(func() {
			settle, ok := w.hold(t)
			if !ok {
				return
			}
			mu.Lock()
			got++
			position++
			at := position
			mu.Unlock()
			settle(at)
		})
	}
	all.Wait()
	if got != 6 {
		t.Errorf("%d of 100 at once got room, want 6 beside the 4 that there are", got)
	}
	w.shelf.has["olga"], w.shelf.seen, w.now = 10, 6, w.now.Add(recountAfter)
	if _, ok := w.hold(t); ok {
		t.Error("there is room although the read model has ten")
	}
}

func TestWhatDidNotComeToBeLeavesItsRoom(t *testing.T) {
	w := newWorld(t, "devices=1")
	settle, _ := w.hold(t)
	settle(0)
	settle, ok := w.hold(t)
	if !ok {
		t.Fatal("a command that was refused keeps its room")
	}
	settle(7)
	if _, ok := w.hold(t); ok {
		t.Error("a second one got room")
	}
}

func TestWhatWasGivenUpLeavesRoomAtOnce(t *testing.T) {
	w := newWorld(t, "devices=1")
	w.shelf.has["olga"] = 1
	if _, ok := w.hold(t); ok {
		t.Fatal("there is room for a second one")
	}
	w.shelf.has["olga"] = 0
	if _, ok := w.hold(t); ok {
		t.Error("it was counted again although nothing was given up here")
	}
	w.shelf.seen = 7
	w.Freed("olga", app.QuotaDevices, 7)
	if _, ok := w.hold(t); !ok {
		t.Error("no room after it was given up")
	}
}

// TestACountThatLagsIsWaitedFor: what was given up a moment ago leaves room, although
// the read model has not seen it yet.
func TestACountThatLagsIsWaitedFor(t *testing.T) {
	w := newWorld(t, "devices=1")
	w.shelf.has["olga"], w.shelf.seen = 1, 6
	if _, ok := w.hold(t); ok {
		t.Fatal("there is room for a second one")
	}
	w.Freed("olga", app.QuotaDevices, 7)
	if _, ok := w.hold(t); ok {
		t.Error("there is room before the count has seen that something was given up")
	}
	w.shelf.after = func() { w.shelf.has["olga"], w.shelf.seen = 0, 7 }
	if _, ok := w.hold(t); !ok {
		t.Error("no room when the count had seen it")
	}
}

// Whoever is refused again and again does not make the database count each time.
func TestRefusalsAreCheap(t *testing.T) {
	w := newWorld(t, "devices=1")
	w.shelf.has["olga"] = 1
	for range 1000 {
		if _, ok := w.hold(t); ok {
			t.Fatal("there is room")
		}
	}
	if w.shelf.counted != 1 {
		t.Errorf("it was counted %d times, want once", w.shelf.counted)
	}
}

func TestACountThatFailsRefuses(t *testing.T) {
	w := newWorld(t, "")
	w.shelf.err = errors.New("away")
	if _, err := w.Hold(t.Context(), "olga", app.QuotaDevices); !errors.Is(err, w.shelf.err) {
		t.Errorf("got %v", err)
	}
}

func TestTalliesAreBounded(t *testing.T) {
	w := newWorld(t, "")
	for i := range 3 * tallies {
		settle, err := w.Hold(t.Context(), fmt.Sprint("account ", i), app.QuotaDevices)
		if err != nil {
			t.Fatal(err)
		}
		settle(position.Position(i + 1))
	}
	if n := len(w.tallies); n > tallies {
		t.Errorf("%d tallies are kept, want at most %d", n, tallies)
	}
}

func TestWhatIsSpentComesBackInADay(t *testing.T) {
	w := newWorld(t, "serial_added=2,log_bytes=1000")
	spend := func(quota, of string, n int) time.Duration {
		e, _ := errors.AsType[*app.Exceeded](w.Spend("olga", quota, of, n))
		if e == nil {
			return 0
		}
		return e.RetryAfter
	}
	for i, want := range []time.Duration{0, 0, 12 * time.Hour} {
		if got := spend(app.QuotaGenerations, "DS-1", 1); got != want {
			t.Errorf("addition %d: wait %v, want %v", i, got, want)
		}
	}
	if got := spend(app.QuotaGenerations, "DS-2", 1); got != 0 {
		t.Errorf("another serial: wait %v", got)
	}
	if got := spend(app.QuotaLogBytes, "", 1001); got != 24*time.Hour {
		t.Errorf("more than is ever given: wait %v, want a day", got)
	}
	if got := spend(app.QuotaLogBytes, "", 900); got != 0 {
		t.Errorf("900 of 1000 bytes: wait %v", got)
	}
	if got := spend(app.QuotaLogBytes, "", 900); got == 0 {
		t.Error("900 bytes more are given")
	}
	w.now = w.now.Add(24 * time.Hour)
	if got := spend(app.QuotaLogBytes, "", 900); got != 0 {
		t.Errorf("a day later: wait %v", got)
	}
}

func TestCommandsThatTakeAwayHaveRoomOfTheirOwn(t *testing.T) {
	w := newWorld(t, "commands=3,requests=2")
	begin := func(kind app.RequestKind) (func(), string) {
		end, err := w.Begin(t.Context(), "olga", kind)
		e, ok := errors.AsType[*app.Exceeded](err)
		if !ok {
			return end, ""
		}
		return nil, e.Quota
	}
	first, _ := begin(app.Reads)
	_, _ = begin(app.Reads)
	if _, quota := begin(app.Reads); quota != Requests {
		t.Errorf("a third request at once is refused by %q, want by %s", quota, Requests)
	}
	if _, quota := begin(app.TakesAway); quota != "" {
		t.Errorf("what takes away is refused by %s", quota)
	}
	if end, quota := begin(app.Changes); quota != "" {
		t.Errorf("what may take away is refused by %s", quota)
	} else {
		end()
	}
	first()
	for range 3 {
		end, quota := begin(app.Gives)
		if quota != "" {
			t.Fatalf("a command is refused by %s", quota)
		}
		end()
	}
	if _, quota := begin(app.Gives); quota != Commands { // a third of a second is too long to wait
		t.Errorf("a fourth command is refused by %q, want by %s", quota, Commands)
	}
	if end, quota := begin(app.TakesAway); quota != "" {
		t.Errorf("what takes away is refused by %s", quota)
	} else {
		end()
	}
	uses, err := w.Of(t.Context(), "olga")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, u := range uses {
		got[u.Name] = u.Used
	}
	if got[Requests] != 1 || got[Commands] != 3 {
		t.Errorf("told: %v, want 1 request and 3 commands", got)
	}
}

func TestParse(t *testing.T) {
	defaults, err := Parse("")
	if err != nil || len(defaults) != len(All()) || defaults[app.QuotaDevices] != 25_000 {
		t.Errorf("the defaults are %v, %v", defaults, err)
	}
	got, err := Parse("devices=7, log_bytes=1MiB,commands=50")
	want := maps.Clone(defaults)
	want[app.QuotaDevices], want[app.QuotaLogBytes], want[Commands] = 7, 1<<20, 50
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, text := range []string{"devices", "devices=", "devices=0", "devices=-1", "devices=x", "devices=1MiB", "cameras=1", "=1", "devices=99999999999999", "devices=1,devices=2"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
