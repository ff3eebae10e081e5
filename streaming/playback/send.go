package playback

import (
	"encoding/binary"
	"time"

	"latchkey/domain/privilege"
	"latchkey/streaming/upstream"
)

// send passes on what the recorder plays, until the session is closed.
func (s *Session) send() {
	defer s.survive()
	for {
		it, ok := s.next()
		if !ok {
			return
		}
		s.sendOne(it)
	}
}

// sendOne passes a packet on, if it may be.
func (s *Session) sendOne(it item) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy = false
		s.change.Broadcast()
	}()
	data, report := s.prepare(it)
	if data == nil {
		return
	}
	if err := s.viewer.Send(it.track, data); err != nil {
		s.mu.Lock()
		s.disconnect()
		s.mu.Unlock()
		return
	}
	if report != nil {
		s.viewer.Report(it.track, report.ntp, report.rtp)
	}
}

// next waits for a packet that may be passed on, as far as the viewer's requests are
// concerned; not ok when the session is closed. It ends what is over.
func (s *Session) next() (item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return item{}, false
		case s.held || s.mode != playing && s.mode != pending:
		case len(s.queue) > 0:
			it := s.queue[0]
			s.queue[0] = item{}
			if s.queue = s.queue[1:]; len(s.queue) == 0 {
				s.queue = nil
			}
			s.queued -= len(it.data)
			s.busy = true
			s.change.Broadcast()
			return it, true
		case s.over && s.mode == playing:
			s.end()
			continue
		}
		s.change.Wait()
	}
}

// end reports that what was requested is over, and leaves the recorder. It unlocks the
// session meanwhile.
func (s *Session) end() {
	s.disconnect()
	s.mu.Unlock()
	s.viewer.End()
	s.mu.Lock()
}

// report is a sender report to send.
type report struct {
	ntp uint64
	rtp uint32
}

// reportEvery is how often a viewer gets a sender report of each track.
const reportEvery = 5 * time.Second

// prepare returns a packet as the viewer gets it, and perhaps a report that follows; nil
// if it is dropped. It waits while what the packet shows is too new.
func (s *Session) prepare(it item) ([]byte, *report) {
	p, ok := partsOf(it.data)
	if !ok {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tracks[it.track]
	at := &it.run.places[it.track]
	shows := p.shows()
	if !shows.IsZero() {
		shows = s.source.ours(shows)
	}
	it.run.begin(it.track, t.clock, it.data, shows)
	if !s.mayPass(it, p) {
		if at.shifted {
			at.shift-- // the viewer sees no gap
		}
		return nil, nil
	}
	return s.pass(it, p)
}

// mayPass decides about a packet, as often as needed.
func (s *Session) mayPass(it item, p parts) bool {
	for {
		switch v := s.judge(it, p); {
		case s.closed || s.run != it.run || s.mode != playing && s.mode != pending:
			return false
		case v == pass:
			s.holds, s.skips = time.Time{}, time.Time{}
			return true
		case v == drop:
			return false
		case v == finish || since(&s.holds) > maxHold:
			if s.mode == playing && !s.held { // otherwise the viewer has just asked for something
				s.end()
			}
			return false
		}
		s.mu.Unlock()
		wait := time.NewTimer(holdEvery)
		select {
		case <-wait.C:
		case <-s.ctx.Done():
			wait.Stop()
		}
		s.mu.Lock()
	}
}

// since returns how long ago a time was, which is now if it is zero.
func since(t *time.Time) time.Duration {
	if t.IsZero() {
		*t = time.Now()
	}
	return time.Since(*t)
}

// verdict is what becomes of a packet.
type verdict int

const (
	pass verdict = iota
	drop
	wait   // what it shows is too new, or it is not known what is permitted
	finish // and of all that follow
)

// judge decides about a packet.
func (s *Session) judge(it item, p parts) verdict {
	r, t := it.run, s.tracks[it.track]
	at := &r.places[it.track]
	ts := upstream.Timestamp(it.data)
	if r.unsure && !at.refd {
		return s.skip()
	}
	if !s.viewer.Permitted() {
		return wait
	}
	for _, speed := range r.hard {
		switch where, by := s.where(r.shows(it.track, t.clock, ts, speed)); {
		case where == inside:
		case where == tooNew && speed > 0:
			return wait
		case where == tooNew:
			at.waits = true
			return s.skip()
		case speed < 0:
			return finish
		default:
			at.waits = true
			if by > maxEarly {
				return finish
			}
			return s.skip()
		}
	}
	if r.beyond(r.shows(it.track, t.clock, ts, r.speed)) {
		at.over = true
		if t.video || s.allOver(r) {
			return finish
		}
		return drop
	}
	if at.waits && !s.begins(it, p) {
		return s.skip()
	}
	at.waits = false
	return pass
}

// skip drops what may not be seen, or cannot be decoded, but not without end.
func (s *Session) skip() verdict {
	if since(&s.skips) > maxSkip {
		return finish
	}
	return drop
}

// begins reports whether a viewer can begin with a packet.
func (s *Session) begins(it item, p parts) bool {
	t := s.tracks[it.track]
	if !t.video {
		return true
	}
	for _, f := range t.media.Formats {
		if f.PayloadType() == it.data[1]&0x7f {
			begins, known := upstream.Begins(f, p.payload)
			return begins || !known
		}
	}
	return true
}

// allOver reports whether nothing more is wanted of any track.
func (s *Session) allOver(r *run) bool {
	for n, t := range s.tracks {
		if t.wanted && !r.places[n].over {
			return false
		}
	}
	return true
}

// place of a time, compared with what may be seen now.
type where int

const (
	inside where = iota
	tooOld
	tooNew
)

// where compares a time with what may be seen now; by is by how much it is too old.
func (s *Session) where(t time.Time) (w where, by time.Duration) {
	now := s.of.cfg.Now()
	if latest := now.Add(s.doubt().Earlier); !t.Before(latest) { // what is recorded is past, whatever the recorder says
		t = latest.Add(-time.Millisecond)
	}
	until := now
	if !t.Before(now) {
		until = t.Add(time.Millisecond)
	}
	switch first, ok := s.playable(privilege.Interval{From: t, To: until}, now); {
	case !ok:
		return tooNew, 0
	case first.From.After(t):
		return tooOld, first.From.Sub(t)
	}
	return inside, 0
}

// pass returns a packet as the viewer gets it: on the viewer's timeline, with a sequence
// that has a gap only where the recorder's has one.
func (s *Session) pass(it item, p parts) ([]byte, *report) {
	r, t := it.run, s.tracks[it.track]
	at := &r.places[it.track]
	seq, ts := upstream.Sequence(it.data), upstream.Timestamp(it.data)
	if !at.shifted {
		at.shift, at.shifted = t.next-seq, true
	}
	seq += at.shift
	if int16(seq+1-t.next) > 0 {
		t.next = seq + 1
	}
	out := t.base + ticks(r.out, t.clock) + ts - at.base
	line := r.out + elapsed(ts, at.base, t.clock)
	s.last = max(s.last, line)
	if t.video || len(s.tracks) == 1 || s.at.IsZero() {
		shows := r.shows(it.track, t.clock, ts, r.speed)
		if step := shows.Sub(s.at); step != 0 && step.Abs() < time.Second {
			s.step = step
		}
		s.at = shows
	}
	r.passed = true
	binary.BigEndian.PutUint16(it.data[2:], seq)
	binary.BigEndian.PutUint32(it.data[4:], out)
	p.answers(r.cseq)
	if !t.reported.IsZero() && time.Since(t.reported) < reportEvery {
		return it.data, nil
	}
	t.reported = time.Now()
	return it.data, &report{ntp: upstream.NTP(r.start.Add(line - r.out)), rtp: out}
}
