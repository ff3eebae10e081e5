// Package speech is what one person says to a camera, however it arrives.
//
// The first piece of sound takes the floor of the channel (package talk) and opens a share in
// the line to the camera (package backchannel). Each piece is checked when it comes and again
// before it is sent, by whoever carries the sound: it holds the permit.
package speech

import (
	"sync"
	"sync/atomic"
	"time"

	"latchkey/streaming/backchannel"
	"latchkey/streaming/talk"
)

// Pause is how long somebody who was interrupted must be quiet to be heard again.
const Pause = time.Second

// askAgain is how often somebody who talks asks for a floor that another one has.
const askAgain = 250 * time.Millisecond

// Config configures a Speech. Every field is required.
type Config struct {
	Talker talk.Talker
	Floor  *talk.Floor
	Lines  *backchannel.Lines
	// May reports whether sound may be passed on now. It must not block.
	May func() bool
	// Began is called when the talker has got the floor; first is true for the first time.
	// It must not block.
	Began func(first bool)
}

// Speech is what one person says to a camera, until Stop.
type Speech struct {
	cfg     Config
	over    atomic.Bool   // nothing is passed on any more
	settled chan struct{} // closed when nothing is on its way to the camera

	mu    sync.Mutex
	floor *holding  // nil: somebody else may have it
	last  time.Time // when something was heard
	muted bool      // it has lost the floor, and has not been quiet since
	retry time.Time // when it may ask for the floor again
	said  bool      // it has had the floor
}

// holding is a turn on the floor, and the line for it. The speech's mutex guards them until
// it is the speech's floor.
type holding struct {
	turn *talk.Turn
	line *backchannel.Line
	lost bool
}

// New returns a speech in which nothing was said.
func New(c Config) *Speech { return &Speech{cfg: c, settled: make(chan struct{})} }

// Say passes a piece of sound on, if the talker has the floor or gets it, and reports
// whether it did. It keeps the sound and does not block. It is not called concurrently, and
// always with the codec that the camera takes.
func (s *Speech) Say(codec backchannel.Codec, sound []byte) bool {
	if len(sound) == 0 || !s.may() {
		return false
	}
	f := s.takeFloor(codec, time.Now())
	return f != nil && f.turn.Speak() && f.line.Say(sound, func() bool { return f.turn.Speak() && s.may() })
}

func (s *Speech) may() bool { return !s.over.Load() && s.cfg.May() }

// takeFloor returns the talker's turn, or nil if somebody else talks.
func (s *Speech) takeFloor(codec backchannel.Codec, now time.Time) *holding {
	has, ask := s.current(now)
	if !ask {
		return has
	}
	f := &holding{}
	turn, err := s.cfg.Floor.Take(s.cfg.Talker, func(why talk.Reason) { s.lost(f, why) })
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.retry = now.Add(askAgain)
		return nil
	case f.lost:
		return nil
	case s.over.Load():
		turn.Leave()
		return nil
	}
	f.turn, f.line = turn, s.cfg.Lines.Line(s.cfg.Talker.Device, s.cfg.Talker.Channel, codec)
	s.floor = f
	first := !s.said
	s.said = true
	s.cfg.Began(first)
	return f
}

// current returns the turn that the talker has, or whether it may ask for one.
func (s *Speech) current(now time.Time) (has *holding, ask bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last) > Pause {
		s.muted = false
	}
	s.last = now
	return s.floor, s.floor == nil && !s.muted && !now.Before(s.retry)
}

// lost ends the talker's turn, but not its speech: it may ask again. One who was
// interrupted must be quiet before, so that nobody is heard who does not know.
func (s *Speech) lost(f *holding, why talk.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.lost, s.muted = true, why != talk.Silent
	if s.floor == f {
		s.floor = nil
		f.line.Leave(false)
	}
}

// Stop ends the speech, without waiting: what is being sent to the camera is until Settled.
// Stopping again does nothing.
func (s *Speech) Stop() {
	if !s.over.CompareAndSwap(false, true) {
		return
	}
	s.mu.Lock()
	f := s.floor
	s.floor = nil
	s.mu.Unlock()
	if f == nil {
		close(s.settled)
		return
	}
	f.turn.Leave()
	f.line.Leave(true)
	go func() {
		defer close(s.settled)
		f.line.Settle()
	}()
}

// Over reports whether the speech has ended.
func (s *Speech) Over() bool { return s.over.Load() }

// Settled is closed when the speech has ended and nothing of it is on its way to the camera.
func (s *Speech) Settled() <-chan struct{} { return s.settled }

// Talks reports whether the talker has the floor.
func (s *Speech) Talks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.floor != nil
}

// Said reports whether the talker has ever had the floor.
func (s *Speech) Said() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said
}
