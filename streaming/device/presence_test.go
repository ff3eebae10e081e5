package device

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/simcamera"
)

// street is devices that respond or do not.
type street struct {
	mu     sync.Mutex
	ids    []string
	away   map[string]Kind
	pulled map[string]bool
	asked  map[string][]time.Time
	atOnce int
	most   int
}

func newStreet(n int) *street {
	s := &street{away: map[string]Kind{}, pulled: map[string]bool{}, asked: map[string][]time.Time{}}
	for i := range n {
		s.ids = append(s.ids, fmt.Sprintf("cam-%05d", i))
	}
	return s
}

func (s *street) watch() *Watch {
	return NewWatch(WatchConfig{
		Devices: func(_ context.Context, after string, most int) ([]string, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			from, found := slices.BinarySearch(s.ids, after)
			if found {
				from++
			}
			return slices.Clone(s.ids[from:min(from+most, len(s.ids))]), nil
		},
		Address: func(_ context.Context, id string) (string, error) { return "rtsp://" + id, nil },
		Pulled:  func(id string) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.pulled[id] },
		Alive:   s.alive,
	})
}

func (s *street) alive(_ context.Context, address string) error {
	id := address[len("rtsp://"):]
	s.mu.Lock()
	s.asked[id] = append(s.asked[id], time.Now())
	s.atOnce++
	s.most = max(s.most, s.atOnce)
	away := s.away[id]
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.atOnce--
	if away != "" {
		return fail(away, RTSP)
	}
	return nil
}

func (s *street) set(id string, away Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away[id] = away
}

func (s *street) times(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked[id])
}

func running(t *testing.T, w *Watch) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
}

// TestSinceWhen: a device goes, and comes back; since when is told, and stays.
func TestSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(3)
		w := s.watch()
		if p := w.Of("cam-00000"); p.State != Unknown || !p.Since.IsZero() {
			t.Errorf("at first: %+v", p)
		}
		running(t, w)
		time.Sleep(2 * time.Minute)
		first := w.Of("cam-00000")
		if first.State != Online || first.Since.IsZero() || first.Reason != "" {
			t.Errorf("%+v", first)
		}
		time.Sleep(10 * time.Minute)
		if now := w.Of("cam-00000"); now != first {
			t.Errorf("%+v, want %+v", now, first)
		}
		s.set("cam-00000", NotReachable)
		time.Sleep(3 * time.Minute)
		gone := w.Of("cam-00000")
		if gone.State != Offline || gone.Reason != NotReachable || !gone.Since.After(first.Since) || w.Of("cam-00001").State != Online {
			t.Errorf("%+v", gone)
		}
		s.set("cam-00000", "")
		time.Sleep(3 * time.Minute)
		if back := w.Of("cam-00000"); back.State != Online || back.Reason != "" || !back.Since.After(gone.Since) {
			t.Errorf("%+v", back)
		}
	})
}

// TestGently: about once a minute, few at once, and not those that are pulled.
func TestGently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(1200) // more than a page
		s.pulled["cam-00007"] = true
		w := s.watch()
		running(t, w)
		const rounds = 10
		time.Sleep(rounds * time.Minute)
		if n := s.times("cam-00001"); n < rounds/2 || n > rounds+1 {
			t.Errorf("asked %d times in %d minutes", n, rounds)
		}
		if s.times("cam-01199") == 0 || s.times("cam-00007") != 0 || w.Of("cam-00007").State != Online {
			t.Errorf("the last %d, the one that is pulled %d, %+v", s.times("cam-01199"), s.times("cam-00007"), w.Of("cam-00007"))
		}
		if s.most > maxAskedAtOnce {
			t.Errorf("%d at once", s.most)
		}
	})
}

// TestOneLostAnswer is not a device that is away.
func TestOneLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(1)
		w := s.watch()
		w.Report("cam-00000", "")
		lost := true
		w.cfg.Alive = func(context.Context, string) error {
			if lost = !lost; !lost {
				return fail(Timeout, RTSP)
			}
			return nil
		}
		running(t, w)
		for range 300 {
			time.Sleep(time.Second)
			if p := w.Of("cam-00000"); p.State != Online {
				t.Fatalf("%+v", p)
			}
		}
	})
}

// TestReports: what others see of a device counts at once.
func TestReports(t *testing.T) {
	s := newStreet(1)
	w := s.watch()
	for _, sc := range []struct {
		reason Kind
		want   State
	}{
		{"", Online}, {NotReachable, Offline}, {Timeout, Offline}, {WrongPassword, Online}, {NotRTSP, Offline}, {"", Online},
	} {
		w.Report("cam-00000", sc.reason)
		if p := w.Of("cam-00000"); p.State != sc.want || p.Reason != sc.reason || p.Since.IsZero() {
			t.Errorf("%q: %+v", sc.reason, p)
		}
	}
	w.Report("cam-00000", WrongPassword)
	w.responded("cam-00000") // to whoever gives none
	if p := w.Of("cam-00000"); p.State != Online || p.Reason != WrongPassword {
		t.Errorf("%+v", p)
	}
	w.forget(map[string]bool{})
	if p := w.Of("cam-00000"); p.State != Unknown {
		t.Errorf("what was removed: %+v", p)
	}
}

// TestAPublicationEnds: the device is gone, until anything else is heard of it; what was seen
// before the end does not count.
func TestAPublicationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(2)
		w := s.watch()
		s.pulled["cam-00000"], s.pulled["cam-00001"] = true, true
		address := w.cfg.Address
		w.cfg.Address = func(ctx context.Context, id string) (string, error) {
			if id == "cam-00000" {
				return "", nil
			}
			return address(ctx, id)
		}
		pulled := w.cfg.Pulled
		w.cfg.Pulled = func(id string) bool {
			defer func() {
				if pulled(id) && time.Since(w.Of(id).Since) > 5*time.Minute { // while it is looked at
					s.mu.Lock()
					s.pulled[id] = false
					s.mu.Unlock()
					w.Unpublished(id, Silent)
				}
			}()
			return pulled(id)
		}
		w.Report("cam-00000", "")
		w.Report("cam-00001", "")
		running(t, w)
		time.Sleep(5 * time.Minute)
		if p := w.Of("cam-00000"); p.State != Online {
			t.Errorf("while it publishes: %+v", p)
		}
		time.Sleep(10 * time.Minute)
		if p := w.Of("cam-00000"); p.State != Offline || p.Reason != Silent || p.Since.IsZero() {
			t.Errorf("without an address: %+v", p)
		}
		if p := w.Of("cam-00001"); p.State != Online || p.Reason != "" {
			t.Errorf("one that responds: %+v", p)
		}
		w.Report("cam-00000", "")
		if p := w.Of("cam-00000"); p.State != Online {
			t.Errorf("it publishes again: %+v", p)
		}
	})
}

// TestInterruptions are told for an hour, whatever else is seen of the device, and counted as
// long as each is within an hour of the one before.
func TestInterruptions(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := newStreet(1).watch()
	w.cfg.Now = func() time.Time { return now }
	w.Interrupted("cam-00000", Ended) // nothing else is known of it
	w.Report("cam-00000", "")
	if p := w.Of("cam-00000"); p.Interruptions != (Interruptions{}) {
		t.Errorf("at first: %+v", p)
	}
	for n := range 3 {
		now = now.Add(50 * time.Minute)
		w.Interrupted("cam-00000", []Kind{Ended, Ended, Silent}[n])
		w.Report("cam-00000", NotReachable)
		w.Report("cam-00000", "")
	}
	last := now
	now = now.Add(time.Hour)
	if p := w.Of("cam-00000"); p.State != Online || p.Reason != "" || p.Interruptions != (Interruptions{3, last, Silent}) {
		t.Errorf("%+v", p)
	}
	now = now.Add(time.Second)
	if p := w.Of("cam-00000"); p.Interruptions != (Interruptions{}) {
		t.Errorf("later: %+v", p)
	}
	w.Interrupted("cam-00000", Ended)
	if p := w.Of("cam-00000"); p.Interruptions != (Interruptions{1, now, Ended}) {
		t.Errorf("again: %+v", p)
	}
}

// TestAlive: a camera with a password responds to whoever gives none, and counts nothing.
func TestAlive(t *testing.T) {
	camera := startCamera(t)
	client := newClient(t)
	for range 10 {
		if err := client.Alive(t.Context(), camera.URL(1, false)); err != nil {
			t.Fatal(err)
		}
	}
	if n := camera.WrongPasswords(); n != 0 {
		t.Errorf("%d wrong passwords", n)
	}
	camera.Attack(simcamera.Noise)
	if k := kindIn(client.Alive(t.Context(), camera.URL(1, false))); k != NotRTSP {
		t.Errorf("noise: %s", k)
	}
	camera.GoAway()
	if k := kindIn(client.Alive(t.Context(), camera.URL(1, false))); k != NotReachable {
		t.Errorf("away: %s", k)
	}
}
