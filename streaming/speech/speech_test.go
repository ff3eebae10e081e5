package speech

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/domain/ids"
	"latchkey/streaming/backchannel"
	"latchkey/streaming/talk"
)

// olgas has every device in olga's account.
type olgas struct{}

func (olgas) Owns(account ids.Account, _ ids.Device) bool { return account == "olga" }

// mute is no camera: what is said is taken, and goes nowhere.
type mute struct{}

func (mute) Source(context.Context, ids.Device, int) (backchannel.Source, error) {
	return backchannel.Source{}, backchannel.ErrNone
}

// room is a channel in which people talk.
type room struct {
	t     *testing.T
	lines *backchannel.Lines
	floor *talk.Floor
}

func newRoom(t *testing.T) *room {
	r := &room{t: t, lines: backchannel.New(backchannel.Config{Sources: mute{}}), floor: talk.New(olgas{})}
	t.Cleanup(r.lines.Close)
	return r
}

// person is somebody in a room.
type person struct {
	*Speech
	t       *testing.T
	may     atomic.Bool
	began   int // times
	firstly int
}

func (r *room) person(account ids.Account) *person {
	p := &person{t: r.t}
	p.may.Store(true)
	p.Speech = New(Config{
		Talker: talk.Talker{Account: account, Device: "cam", Channel: 1}, Floor: r.floor, Lines: r.lines, May: p.may.Load,
		Began: func(first bool) {
			p.began++
			if first {
				p.firstly++
			}
		},
	})
	r.t.Cleanup(p.Stop)
	return p
}

// says talks for a time, as players do, and reports whether anything was passed on.
func (p *person) says(d time.Duration) bool {
	taken := false
	for range d / (20 * time.Millisecond) {
		taken = p.Say(backchannel.PCMU, make([]byte, 160)) || taken
		time.Sleep(20 * time.Millisecond)
	}
	return taken
}

func TestOneIsHeardAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		rita, bob, olga := r.person("rita"), r.person("bob"), r.person("olga")
		if rita.Said() || rita.Talks() || rita.Say(backchannel.PCMU, nil) || rita.Talks() {
			t.Error("she talks before she says anything")
		}
		if !rita.says(100*time.Millisecond) || !rita.Talks() {
			t.Error("rita is not heard")
		}
		if bob.says(100*time.Millisecond) || bob.Said() {
			t.Error("bob is heard, too")
		}
		if !olga.says(100*time.Millisecond) || rita.Talks() {
			t.Error("the owner does not interrupt")
		}
		olga.Stop()
		if rita.says(2 * time.Second) {
			t.Error("she is put on air unaware")
		}
		time.Sleep(Pause + time.Millisecond)
		if !rita.says(100*time.Millisecond) || rita.began != 2 || rita.firstly != 1 {
			t.Errorf("after a pause she had the floor %d times, %d of them the first", rita.began, rita.firstly)
		}
	})
}

func TestFloorIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		rita, bob := r.person("rita"), r.person("bob")
		rita.says(100 * time.Millisecond)
		bob.says(100 * time.Millisecond)
		rita.Stop()
		if !bob.says(askAgain) {
			t.Error("he does not get the floor that is free")
		}
	})
}

func TestSilenceFreesTheFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		rita := r.person("rita")
		rita.says(100 * time.Millisecond)
		time.Sleep(talk.Silence + time.Millisecond)
		synctest.Wait()
		if rita.Talks() {
			t.Error("she still has the floor")
		}
		if !rita.says(20 * time.Millisecond) {
			t.Error("she is not heard again at once")
		}
	})
}

func TestNothingIsSaidThatMayNotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		rita := r.person("rita")
		rita.may.Store(false)
		if rita.says(100*time.Millisecond) || rita.Said() {
			t.Error("she takes the floor without a permit")
		}
		rita.may.Store(true)
		rita.says(100 * time.Millisecond)
		rita.Stop()
		rita.Stop()
		<-rita.Settled()
		if rita.says(100*time.Millisecond) || !rita.Over() || rita.Talks() {
			t.Error("she is heard after the end")
		}
	})
}
