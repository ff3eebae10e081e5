package backchannel

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ears are cameras that are opened one after the other.
type ears struct {
	mu     sync.Mutex
	opened []*heard
	opens  time.Duration // how long opening takes
	fails  error
	holds  chan struct{} // Say waits for it; nil: it does not
	saying atomic.Int32
}

// heard is what one of them has heard.
type heard struct {
	of     *ears
	sound  []byte
	closed bool
	done   chan struct{}
}

func (e *ears) open(ctx context.Context, _ place, _ Codec) (mouth, error) {
	select {
	case <-time.After(e.opens):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fails != nil {
		return nil, e.fails
	}
	h := &heard{of: e, done: make(chan struct{})}
	e.opened = append(e.opened, h)
	return h, nil
}

func (h *heard) Say(sound []byte) error {
	h.of.saying.Add(1)
	if h.of.holds != nil {
		<-h.of.holds
	}
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	h.sound = append(h.sound, sound...)
	return h.of.fails
}

func (h *heard) Done() <-chan struct{} { return h.done }

func (h *heard) Close() {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	h.closed = true
}

// state returns how many were opened and closed, and what the last one has heard.
func (e *ears) state() (opened, closed int, sound []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.opened {
		if sound = h.sound; h.closed {
			closed++
		}
	}
	return len(e.opened), closed, sound
}

func (e *ears) want(t *testing.T, opened, closed int, sound string) {
	t.Helper()
	synctest.Wait()
	if o, c, s := e.state(); o != opened || c != closed || string(s) != sound {
		t.Errorf("%d opened, %d closed, %q heard; want %d, %d, %q", o, c, s, opened, closed, sound)
	}
}

// quietly runs a test in which time is ours.
func quietly(t *testing.T, e *ears, test func(t *testing.T, l *Lines)) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		l.opener = e.open
		test(t, l)
		l.Close()
	})
}

func yes() bool { return true }

// TestOneLine: those who talk one after the other use the same; it is closed a while after
// the last, or at once.
func TestOneLine(t *testing.T) {
	e := &ears{}
	quietly(t, e, func(t *testing.T, l *Lines) {
		first := l.Line("cam", 1, PCMU)
		e.want(t, 0, 0, "") // nothing is said yet
		first.Say([]byte("x"), yes)
		synctest.Wait()
		first.Say([]byte("one "), yes)
		e.want(t, 1, 0, "one ")
		first.Leave(false)
		first.Leave(true) // once is enough
		time.Sleep(linger / 2)
		second := l.Line("cam", 1, PCMU)
		time.Sleep(linger)
		second.Say([]byte("two"), yes)
		e.want(t, 1, 0, "one two")
		second.Leave(false)
		time.Sleep(linger - time.Millisecond)
		e.want(t, 1, 0, "one two")
		time.Sleep(2 * time.Millisecond)
		e.want(t, 1, 1, "one two")

		third := l.Line("cam", 1, PCMU)
		third.Say([]byte("x"), yes)
		e.want(t, 2, 1, "")
		third.Leave(true)
		third.Settle()
		e.want(t, 2, 2, "")
	})
}

// TestWhatIsLate: what was said while the line was opened is not said later.
func TestWhatIsLate(t *testing.T) {
	e := &ears{opens: time.Second}
	quietly(t, e, func(t *testing.T, l *Lines) {
		line := l.Line("cam", 1, PCMU)
		for range 48 {
			line.Say([]byte("old"), yes)
			time.Sleep(20 * time.Millisecond)
		}
		line.Say([]byte("late"), yes)
		time.Sleep(maxLate + 50*time.Millisecond)
		line.Say([]byte("new"), yes)
		synctest.Wait()
		if _, _, sound := e.state(); !bytes.HasSuffix(sound, []byte("new")) || bytes.Count(sound, []byte("old")) > int(maxLate/(20*time.Millisecond)) {
			t.Errorf("heard %q", sound)
		}
		line.Leave(true)
	})
}

// TestPace: nobody talks faster than others hear.
func TestPace(t *testing.T) {
	e := &ears{}
	quietly(t, e, func(t *testing.T, l *Lines) {
		line := l.Line("cam", 1, PCMU)
		taken := 0
		for range 1000 { // ten times as fast
			if line.Say(make([]byte, 160), yes) {
				taken += 160
			}
			time.Sleep(2 * time.Millisecond)
		}
		if most := mostRate*2 + mostBurst; taken > most || taken < most-1000 {
			t.Errorf("%d bytes in two seconds", taken)
		}
		if line.Say(make([]byte, MaxSound+1), yes) || line.Say(nil, yes) {
			t.Error("it takes what is no piece of sound")
		}
		line.Leave(true)
	})
}

// TestACameraThatFails is left alone for a while, and then opened again.
func TestACameraThatFails(t *testing.T) {
	e := &ears{fails: errors.New("no")}
	quietly(t, e, func(t *testing.T, l *Lines) {
		line := l.Line("cam", 1, PCMU)
		say := func(d time.Duration) {
			for range d / (20 * time.Millisecond) {
				line.Say([]byte("x"), yes)
				time.Sleep(20 * time.Millisecond)
			}
		}
		say(time.Second)
		e.want(t, 0, 0, "")
		e.mu.Lock()
		e.fails = nil
		e.mu.Unlock()
		say(reopenAfter)
		if opened, _, sound := e.state(); opened != 1 || len(sound) == 0 {
			t.Errorf("%d opened, %q", opened, sound)
		}
		e.mu.Lock()
		close(e.opened[0].done) // it hangs up
		e.mu.Unlock()
		say(reopenAfter + time.Second)
		if opened, closed, sound := e.state(); opened != 2 || closed != 1 || len(sound) == 0 {
			t.Errorf("%d opened, %d closed, %q", opened, closed, sound)
		}
		line.Leave(true)
	})
}

// TestSettle: after it nothing is on its way that was allowed before, also if the camera
// hangs.
func TestSettle(t *testing.T) {
	e := &ears{holds: make(chan struct{})}
	l := New(Config{})
	l.opener = e.open
	line := l.Line("cam", 1, PCMU)
	var may atomic.Bool
	may.Store(true)
	for e.saying.Load() == 0 {
		line.Say([]byte("x"), may.Load)
		time.Sleep(time.Millisecond)
	}
	may.Store(false)
	settled := make(chan struct{})
	go func() { line.Settle(); close(settled) }()
	select {
	case <-settled:
		t.Error("it does not wait for what is on its way")
	case <-time.After(50 * time.Millisecond):
	}
	close(e.holds)
	<-settled
	_, _, before := e.state()
	for range 20 {
		line.Say([]byte("z"), may.Load)
		time.Sleep(time.Millisecond)
	}
	if _, _, after := e.state(); len(after) != len(before) {
		t.Errorf("%q was sent after it", after[len(before):])
	}
	line.Leave(true)
	l.Close()
}

// TestTalkspurts: the clock goes on while nothing is said.
func TestTalkspurts(t *testing.T) {
	s := talkspurts{pt: 8, sequence: 0xffff, timestamp: 0xffffff00, ssrc: 7}
	now := time.Now()
	for n, c := range []struct {
		after     time.Duration
		sound     int
		second    byte
		timestamp uint32
	}{
		{0, 160, 0x88, 0xffffff00}, {20 * time.Millisecond, 160, 8, 0xffffffa0}, {25 * time.Millisecond, 80, 8, 0x40},
		{time.Second, 160, 0x88, 0x40 + 80 + (1045-50)*8},
	} {
		now = now.Add(c.after)
		p := s.packet(make([]byte, c.sound), now)
		ts := uint32(p[4])<<24 | uint32(p[5])<<16 | uint32(p[6])<<8 | uint32(p[7])
		if len(p) != 12+c.sound || p[0] != 0x80 || p[1] != c.second || ts != c.timestamp || p[11] != 7 || p[3] != byte(0xff+n) {
			t.Errorf("packet %d: % x, timestamp %#x, want %#x", n, p[:12], ts, c.timestamp)
		}
	}
}
