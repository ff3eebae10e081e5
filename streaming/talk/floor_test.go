package talk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"latchkey/domain/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// olgas has every device in olga's account.
type olgas struct{}

func (olgas) Owns(account ids.Account, _ ids.Device) bool { return account == "olga" }

// told notes why turns ended.
type told struct {
	mu  sync.Mutex
	why []Reason
}

func (l *told) lost(r Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = append(l.why, r)
}

func (l *told) want(t *testing.T, want ...Reason) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if fmt.Sprint(l.why) != fmt.Sprint(want) {
		t.Errorf("lost for %q, want %q", l.why, want)
	}
}

func by(account ids.Account) Talker { return Talker{Account: account, Device: "cam", Channel: 1} }

func take(t *testing.T, f *Floor, who Talker, l *told) *Turn {
	t.Helper()
	turn, err := f.Take(who, l.lost)
	if err != nil || !turn.Speak() {
		t.Fatalf("%s gets no turn: %v", who.Account, err)
	}
	return turn
}

// TestOneTalks: others wait, on this channel; the owner does not.
func TestOneTalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(olgas{})
		var rita, bob, olga told
		first := take(t, f, by("rita"), &rita)
		if _, err := f.Take(by("bob"), bob.lost); !errors.Is(err, ErrBusy) {
			t.Errorf("bob: %v", err)
		}
		if !f.Busy(by("bob")) || f.Busy(by("rita")) || f.Busy(by("olga")) || f.Busy(Talker{"bob", "cam", 2}) {
			t.Error("the wrong ones are told to wait")
		}
		elsewhere := take(t, f, Talker{"bob", "cam", 2}, &bob)
		owner := take(t, f, by("olga"), &olga)
		if first.Speak() {
			t.Error("rita still talks")
		}
		rita.want(t, Preempted)
		if _, err := f.Take(by("rita"), rita.lost); !errors.Is(err, ErrBusy) {
			t.Errorf("rita: %v", err)
		}
		first.Leave() // of what she does not have
		if !owner.Speak() {
			t.Error("the owner has lost it")
		}
		if who, ok := f.On("cam", 1); !ok || who != "olga" {
			t.Errorf("on the floor: %q, %v", who, ok)
		}
		owner.Leave()
		if who, ok := f.On("cam", 1); ok {
			t.Errorf("%q is on the floor that is free", who)
		}
		owner.Leave()
		if owner.Speak() {
			t.Error("the owner talks after leaving")
		}
		second := take(t, f, by("bob"), &bob)
		second.Leave()
		elsewhere.Leave()
		olga.want(t)
		bob.want(t)
		if len(f.turns) != 0 {
			t.Errorf("%d turns are kept", len(f.turns))
		}
	})
}

// TestAnAccountReplacesItself: a player that lost its connection comes back at once.
func TestAnAccountReplacesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(olgas{})
		for _, who := range []ids.Account{"rita", "olga"} {
			var l told
			old := take(t, f, by(who), &l)
			again := take(t, f, by(who), &l)
			if l.want(t, Replaced); old.Speak() || !again.Speak() {
				t.Error("the wrong one talks")
			}
			again.Leave()
		}
	})
}

// TestSilence frees the channel; sound keeps it.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(olgas{})
		var rita, bob told
		turn := take(t, f, by("rita"), &rita)
		for range 20 {
			time.Sleep(Silence - time.Second)
			if !turn.Speak() {
				t.Fatal("it ended while she talks")
			}
		}
		time.Sleep(Silence - time.Millisecond)
		if _, err := f.Take(by("bob"), bob.lost); !errors.Is(err, ErrBusy) {
			t.Errorf("bob: %v", err)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if rita.want(t, Silent); turn.Speak() {
			t.Error("she still talks")
		}
		take(t, f, by("bob"), &bob).Leave()

		mute, err := f.Take(by("rita"), rita.lost)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(Silence + time.Millisecond)
		synctest.Wait()
		if rita.want(t, Silent, Silent); mute.Speak() {
			t.Error("whoever never spoke keeps the floor")
		}
	})
}

// TestAtMostOneTalks: whoever takes, leaves and speaks in whatever order, one turn holds at
// a time, and each that was lost was told once.
func TestAtMostOneTalks(t *testing.T) {
	f := New(olgas{})
	var speaking, lost, ended sync.Map
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			who := []ids.Account{"olga", "rita", "bob"}[n%3]
			for i := range 500 {
				id := fmt.Sprint(n, ".", i)
				turn, err := f.Take(by(who), func(Reason) {
					if _, twice := lost.LoadOrStore(id, true); twice {
						t.Error("a turn was lost twice")
					}
				})
				if err != nil {
					if who == "olga" {
						t.Errorf("the owner: %v", err)
					}
					continue
				}
				speaking.Store(id, turn)
				if r.IntN(2) == 0 {
					turn.Leave()
					ended.Store(id, true)
				}
			}
		})
	}
	all.Wait()
	holding := 0
	speaking.Range(func(id, turn any) bool {
		_, wasLost := lost.Load(id)
		_, left := ended.Load(id)
		if turn.(*Turn).Speak() {
			holding++
			if wasLost || left {
				t.Errorf("%s speaks although it has ended", id)
			}
		} else if !wasLost && !left {
			t.Errorf("%s ended, and was not told", id)
		}
		turn.(*Turn).Leave()
		return true
	})
	if holding > 1 {
		t.Errorf("%d talk at once", holding)
	}
}
