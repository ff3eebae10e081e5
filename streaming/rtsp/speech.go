package rtsp

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"latchkey/projections/access"
	"latchkey/streaming/backchannel"
	"latchkey/streaming/talk"
)

// speech is what a viewer says to a camera, from the SETUP of the back channel on.
type speech struct {
	door   *Door
	viewer *viewer
	codec  backchannel.Codec
	permit *access.Permit

	over    atomic.Bool   // nothing is passed on any more
	settled chan struct{} // closed when nothing is on its way to the camera

	mu    sync.Mutex
	floor *holding  // nil: somebody else may have it
	last  time.Time // when something was heard
	muted bool      // it has lost the floor, and has not been quiet since
	retry time.Time // when it may ask for the floor again
	said  bool      // it was noted that it talks
}

// holding is a turn on the floor, and the line for it. The speech's mutex guards them until it
// is the speech's floor.
type holding struct {
	turn *talk.Turn
	line *backchannel.Line
	lost bool
}

func (s *speech) talker() talk.Talker {
	return talk.Talker{Account: s.viewer.key.Account, Device: s.viewer.device, Channel: s.viewer.channel}
}

// hear takes an RTP packet.
func (s *speech) hear(packet []byte) {
	pt, sound, ok := soundOf(packet)
	if !ok {
		s.door.dropped(droppedTalk, 1)
		return
	}
	s.hearPacket(pt, sound)
}

// soundOf returns what an RTP packet of a viewer holds (RFC 3550, section 5.1).
func soundOf(packet []byte) (pt uint8, sound []byte, ok bool) {
	var p rtp.Packet
	if err := p.Unmarshal(packet); err != nil || p.Version != 2 {
		return 0, nil, false
	}
	return p.PayloadType, p.Payload, true
}

// hearPacket passes sound on, if the viewer has the floor or gets it. It does not block. It
// is not called concurrently.
func (s *speech) hearPacket(pt uint8, sound []byte) {
	defer s.survive()
	if pt != payloadTypes[s.codec] || len(sound) == 0 || !s.viewer.wire.playing.Load() || !s.may() || !s.speak(sound) {
		s.door.dropped(droppedTalk, 1)
	}
}

// survive ends the speech for a bug, and not everybody's streams.
func (s *speech) survive() {
	if p := recover(); p != nil {
		s.door.log.Error("hearing a viewer panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		s.stop()
	}
}

// may reports whether sound may be passed on now.
func (s *speech) may() bool {
	return !s.over.Load() && s.viewer.cutFor.Load() == nil && s.door.live() && s.permit.Check(s.door.cfg.Now()) == access.Allowed
}

func (s *speech) speak(sound []byte) bool {
	f := s.takeFloor(time.Now())
	return f != nil && f.turn.Speak() && f.line.Say(sound, func() bool { return f.turn.Speak() && s.may() })
}

const (
	// pauseOf is how long somebody who was interrupted must be quiet to be heard again.
	pauseOf = time.Second
	// askAgain is how often somebody who talks asks for a floor that another one has.
	askAgain = 250 * time.Millisecond
)

// takeFloor returns the viewer's turn, or nil if somebody else talks.
func (s *speech) takeFloor(now time.Time) *holding {
	has, ask := s.current(now)
	if !ask {
		return has
	}
	f := &holding{}
	turn, err := s.door.floor.Take(s.talker(), func(why talk.Reason) { s.lost(f, why) })
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
	f.turn, f.line = turn, s.door.cfg.Lines.Line(s.viewer.device, s.viewer.channel, s.codec)
	s.floor = f
	if !s.said {
		s.said = true
		s.door.metrics.talks.Inc()
		s.door.log.Info("a viewer talks", "viewer", s.viewer.id, "account", s.viewer.key.Account, "device", s.viewer.device, "channel", s.viewer.channel)
	}
	s.door.noteTalk(s)
	return f
}

// current returns the turn that the viewer has, or whether it may ask for one.
func (s *speech) current(now time.Time) (has *holding, ask bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last) > pauseOf {
		s.muted = false
	}
	s.last = now
	return s.floor, s.floor == nil && !s.muted && !now.Before(s.retry)
}

// lost ends the viewer's turn, but not its speech: it may ask again. One who was
// interrupted must be quiet before, so that nobody is heard who does not know.
func (s *speech) lost(f *holding, why talk.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.lost, s.muted = true, why != talk.Silent
	if s.floor == f {
		s.floor = nil
		f.line.Leave(false)
	}
}

// revoked ends the speech, and nothing else of a viewer that watches too.
func (s *speech) revoked(reason access.Reason) {
	if s.viewer.talks.Load() {
		s.door.cut(s.viewer, reason)
		return
	}
	s.door.metrics.cut.WithLabelValues(string(reason)).Inc()
	s.door.log.Info("a viewer may not talk any more", "viewer", s.viewer.id, "account", s.viewer.key.Account, "device", s.viewer.device, "reason", reason)
	s.stop()
}

// stop ends the speech, without waiting: what is being sent to the camera is until
// settled.
func (s *speech) stop() {
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

// release ends the speech and gives its permit back.
func (s *speech) release() {
	s.stop()
	if !s.viewer.alone {
		s.permit.Release()
	}
}

// close ends the speech of a viewer that leaves.
func (s *speech) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	said := s.said
	s.mu.Unlock()
	if said && !s.over.Load() {
		s.door.noteTalk(s)
	}
	s.release()
	s.door.sweep.Go(func() {
		<-s.settled
		s.door.speeches.remove(s)
	})
}

// talks reports whether the viewer has the floor.
func (s *speech) talks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.floor != nil
}

// noteTalk records that a viewer talks.
func (d *Door) noteTalk(s *speech) {
	if d.cfg.Uses == nil {
		return
	}
	if _, live := d.cfg.Access.Key(s.viewer.key.Name); live {
		d.cfg.Uses.Used(s.viewer.talkUse(s.viewer.talkTransport()), d.cfg.Now())
	}
}

// noteTalks records who talks.
func (d *Door) noteTalks() {
	for _, s := range d.speeches.list() {
		if s.talks() {
			d.noteTalk(s)
		}
	}
}

// speeches are those that may be on their way to a camera.
type speeches struct {
	mu  sync.Mutex
	all map[*speech]struct{}
}

func (l *speeches) add(s *speech) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*speech]struct{}{}
	}
	l.all[s] = struct{}{}
}

func (l *speeches) remove(s *speech) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, s)
}

func (l *speeches) list() []*speech {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.all))
}

// awaitSpeeches returns when nothing more is sent to cameras of what was said by those who
// may no longer; or after cutTimeout, for a camera that hangs.
func (d *Door) awaitSpeeches(ctx context.Context) error {
	timeout := time.NewTimer(cutTimeout)
	defer timeout.Stop()
	for _, s := range d.speeches.list() {
		if !s.over.Load() {
			continue
		}
		select {
		case <-s.settled:
		case <-timeout.C:
			d.log.Error("a camera that was talked to did not let go in time", "device", s.viewer.device)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// endSpeech ends what a viewer says, without waiting.
func (v *viewer) endSpeech() {
	if s := v.speech.Load(); s != nil {
		s.stop()
	}
}
