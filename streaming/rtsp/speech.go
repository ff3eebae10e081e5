package rtsp

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"

	"latchkey/projections/access"
	"latchkey/streaming/backchannel"
	said "latchkey/streaming/speech"
	"latchkey/streaming/talk"
)

// speech is what a viewer says to a camera, from the SETUP of the back channel on.
type speech struct {
	*said.Speech
	door   *Door
	viewer *viewer
	codec  backchannel.Codec
	permit *access.Permit
}

func (h *handler) newSpeech(v *viewer) *speech {
	s := &speech{door: h.Door, viewer: v, permit: v.permit}
	s.Speech = said.New(said.Config{Talker: s.talker(), Floor: h.floor, Lines: h.cfg.Lines, May: s.may, Began: s.began})
	return s
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
	if pt != payloadTypes[s.codec] || !s.viewer.wire.playing.Load() || !s.Say(s.codec, sound) {
		s.door.dropped(droppedTalk, 1)
	}
}

// survive ends the speech for a bug, and not everybody's streams.
func (s *speech) survive() {
	if p := recover(); p != nil {
		s.door.log.Error("hearing a viewer panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		s.Stop()
	}
}

// may reports whether sound may be passed on now.
func (s *speech) may() bool {
	return s.viewer.cutFor.Load() == nil && s.door.live() && s.permit.Check(s.door.cfg.Now()) == access.Allowed
}

// began records that the viewer has the floor.
func (s *speech) began(first bool) {
	if first {
		s.door.metrics.talks.Inc()
		s.door.log.Info("a viewer talks", "viewer", s.viewer.id, "account", s.viewer.key.Account, "device", s.viewer.device, "channel", s.viewer.channel)
	}
	s.door.noteTalk(s)
}

// revoked ends the speech, and nothing else of a viewer that watches too.
func (s *speech) revoked(reason access.Reason) {
	if s.viewer.talks.Load() {
		s.door.cut(s.viewer, reason)
		return
	}
	s.door.metrics.cut.WithLabelValues(string(reason)).Inc()
	s.door.log.Info("a viewer may not talk any more", "viewer", s.viewer.id, "account", s.viewer.key.Account, "device", s.viewer.device, "reason", reason)
	s.Stop()
}

// release ends the speech and gives its permit back.
func (s *speech) release() {
	s.Stop()
	if !s.viewer.alone {
		s.permit.Release()
	}
}

// close ends the speech of a viewer that leaves.
func (s *speech) close() {
	if s == nil {
		return
	}
	if s.Said() && !s.Over() {
		s.door.noteTalk(s)
	}
	s.release()
	s.door.sweep.Go(func() {
		<-s.Settled()
		s.door.speeches.remove(s)
	})
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
		if s.Talks() {
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
		if !s.Over() {
			continue
		}
		select {
		case <-s.Settled():
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
		s.Stop()
	}
}
