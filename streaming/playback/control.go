package playback

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// Request is what a viewer asks for by PLAY.
type Request struct {
	Range  string // the header, "" if it has none
	Scale  float64
	Speed  float64     // 0, as for Scale: none is requested
	Header base.Header // passed on as it is
	CSeq   byte        // the low byte of the request's number
}

// Playing is what is played from a PLAY on.
type Playing struct {
	Range       string
	Start       time.Time // what the first picture shows, or a little before
	Scale       string    // "", like the next two: the recorder does not say
	Speed       string
	RateControl string
	Starts      []Start // by track
}

// Start is where a track begins for the viewer.
type Start struct {
	Sequence  uint16
	Timestamp uint32
}

// Play plays a range, or goes on. Nothing is passed on before Release.
//
// It fails with ErrRange, ErrNothing, or why the recorder does not play. After ErrRange what
// played before goes on, if it can: see Plays.
func (s *Session) Play(ctx context.Context, r Request) (Playing, error) {
	s.control.Lock()
	defer s.control.Unlock()
	ctx, cancel := context.WithTimeout(ctx, controlWithin)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	w, err := s.wanted(r)
	if err != nil {
		return Playing{}, err
	}
	before := s.standing()
	p, err := s.play(ctx, r, w)
	if err != nil {
		s.leave()
		if err = refusal(err); errors.Is(err, ErrRange) {
			s.restore(ctx, before)
		}
		return Playing{}, err
	}
	s.asked = r
	return p, nil
}

// leave ends the connection to the recorder.
func (s *Session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnect()
}

// standing is what a session does.
type standing struct {
	run   *run
	plays bool
}

func (s *Session) standing() standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return standing{s.run, s.client != nil && s.mode == playing && !s.held}
}

// Plays reports whether anything is passed on until it ends.
func (s *Session) Plays() bool { return s.standing().plays }

// restore makes the session go on with what it did before a PLAY that the recorder refused:
// it plays again from where the viewer is, if it played.
func (s *Session) restore(ctx context.Context, before standing) {
	s.mu.Lock()
	s.run = before.run
	s.mu.Unlock()
	if !before.plays {
		return
	}
	again := s.asked
	again.Range = ""
	w, err := s.wanted(again)
	if err == nil {
		_, err = s.play(ctx, again, w)
	}
	if err != nil {
		s.leave()
		return
	}
	s.Release()
}

// wish is what a PLAY means.
type wish struct {
	start, end time.Time
	npt        bool
	goesOn     bool // from where it is
	speed      float64
}

// wanted reads a request, and clips it.
func (s *Session) wanted(r Request) (wish, error) {
	s.mu.Lock()
	at, run, scale := s.at, s.run, s.scale
	s.mu.Unlock()
	w := wish{speed: 1, end: s.use.To}
	if r.Scale != 0 {
		w.speed = r.Scale
	}
	back := w.speed < 0
	if back {
		w.end = s.use.From
	}
	if r.Range != "" {
		asked, err := ParseRange(r.Range, s.use.From)
		if err != nil {
			return w, err
		}
		w.start, w.npt = asked.Start, asked.NPT
		if !asked.End.IsZero() {
			w.end = asked.End
		}
	}
	switch {
	case !w.start.IsZero():
	case !at.IsZero():
		w.start, w.goesOn = at, w.speed == scale
		if r.Range == "" && run != nil {
			w.end = run.end
		}
	case back && !s.use.To.IsZero():
		w.start = s.use.To
	default:
		w.start = s.use.From
	}
	if !w.end.IsZero() && (back && !w.end.Before(w.start) || !back && !w.end.After(w.start)) {
		if w.goesOn { // it was at the end
			return w, ErrNothing
		}
		return w, ErrRange
	}
	if back {
		return w, s.mayBegin(w.start)
	}
	start, ok := s.clip(w.start, w.end)
	if !ok {
		return w, ErrNothing
	}
	w.goesOn = w.goesOn && start.Equal(w.start)
	w.start = start
	return w, nil
}

// mayBegin reports whether what is before an instant may be seen.
func (s *Session) mayBegin(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if where, _ := s.where(t.Add(-time.Millisecond)); where != inside {
		return ErrNothing
	}
	return nil
}

// play makes the recorder play.
func (s *Session) play(ctx context.Context, r Request, w wish) (Playing, error) {
	s.mu.Lock()
	connected := s.client != nil && !s.over && s.client.Err() == nil
	played, begin := s.set, s.begin
	goesOn := s.paused && w.goesOn && len(s.queue) == 0 && !s.busy // otherwise it is further than the viewer
	s.mu.Unlock()
	switch {
	case connected && goesOn:
		if p, err := s.ask(ctx, r, w, goOn); err == nil {
			return p, nil
		}
	case connected && !played:
		how := byRange
		if s.source.times != nil && w.speed > 0 && isFrom(begin, w.start) && (s.use.To.IsZero() || !w.end.After(s.use.To)) {
			how = byAddress
		}
		if err := s.setUp(ctx); err != nil {
			return Playing{}, err
		}
		p, err := s.ask(ctx, r, w, how)
		if err == nil || how == byAddress || s.source.times == nil || ctx.Err() != nil {
			return p, err
		}
	case connected:
		s.pauseForSeek(ctx)
		if p, err := s.ask(ctx, r, w, byRange); err == nil {
			return p, nil
		}
	}
	if err := s.reconnect(ctx, w); err != nil {
		return Playing{}, err
	}
	how := byAddress
	if s.source.times == nil || w.speed < 0 {
		how = byRange
	}
	return s.ask(ctx, r, w, how)
}

// isFrom reports whether a connection that begins at one time is for what begins at
// another one.
func isFrom(begin, start time.Time) bool {
	return !start.Before(begin) && start.Sub(begin) < time.Second
}

// reconnect replaces the connection to the recorder, by one for what is wanted now. The
// old one has ended before the new one begins.
func (s *Session) reconnect(ctx context.Context, w wish) error {
	s.mu.Lock()
	c := s.client
	s.disconnect()
	s.mu.Unlock()
	if c != nil {
		c.Close()
	}
	start, end := w.start, w.end
	if w.speed < 0 {
		start, end = end, start
	}
	if err := s.connect(ctx, start, end); err != nil {
		return err
	}
	return s.setUp(ctx)
}

// pauseForSeek pauses the recorder, which otherwise might play what it was asked for
// before to its end first (RFC 2326, section 10.5). Without a pause, its packets up to the
// response are dropped.
func (s *Session) pauseForSeek(ctx context.Context) {
	s.mu.Lock()
	c, paused := s.client, s.paused
	s.mode, s.queue, s.queued = seeking, nil, 0
	s.change.Broadcast()
	s.mu.Unlock()
	if c == nil || paused {
		return
	}
	_, err := c.Pause(ctx, s.required(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear = err != nil
}

// manner is how the recorder is told what to play.
type manner int

const (
	byRange   manner = iota // by the Range header
	byAddress               // by the address that it was asked to describe
	goOn                    // it was paused
)

// errSilent is returned if a recorder does not say what it plays: it may not have heeded
// the request.
var errSilent = errors.New("the recorder does not say what it plays")

// ask sends PLAY, and begins a run with the response.
func (s *Session) ask(ctx context.Context, r Request, w wish, how manner) (Playing, error) {
	next := &run{start: w.start, end: w.end, cseq: r.CSeq, places: make([]place, len(s.tracks))}
	s.mu.Lock()
	c := s.client
	if c == nil {
		s.mu.Unlock()
		return Playing{}, ErrRecorder
	}
	s.mode, s.run, s.held, s.over = pending, next, true, false
	origin := s.begin
	s.mu.Unlock()
	res, err := c.Play(ctx, s.headers(r, w, how))
	if err != nil {
		return Playing{}, err
	}
	says, err := heard(res, s.source, origin)
	if err != nil {
		return Playing{}, err
	}
	if how == byRange && says.start.IsZero() {
		if s.source.times != nil { // the address can say it
			return Playing{}, errSilent
		}
		next.unsure = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != c {
		return Playing{}, ErrClosed
	}
	switch {
	case !says.start.IsZero():
		next.start = says.start
	case how == byAddress:
		next.start = origin
	case how == goOn: // with the next picture
		next.start = next.start.Add(s.step)
	}
	next.speeds(r.Scale, says.scale)
	if w.speed < 0 && next.speed > 0 { // it does not play backwards: then what was requested has no end
		next.end = time.Time{}
	}
	if next.beyond(next.start) {
		return Playing{}, ErrNothing // the next recording is after the end
	}
	if err := s.place(next, res, how != goOn); err != nil {
		return Playing{}, err
	}
	s.mode, s.clear, s.paused, s.heard, s.scale = playing, false, false, time.Now(), w.speed
	s.skips, s.holds = time.Time{}, time.Time{}
	s.at = next.start
	return s.says(next, w, says), nil
}

// headers returns those of a PLAY to the recorder.
func (s *Session) headers(r Request, w wish, how manner) base.Header {
	header := s.required(r.Header)
	switch how {
	case byAddress:
		header["Range"] = base.HeaderValue{"npt=0.000-"}
	case goOn:
		header["Range"] = nil
	default:
		asked := Range{Start: s.source.theirs(w.start), End: s.source.theirs(w.end)}
		if w.speed < 0 { // some refuse an end before the start, so what is beyond it is not passed on
			asked.End = time.Time{}
		}
		header["Range"] = base.HeaderValue{asked.text(time.Time{})}
	}
	if r.Scale != 0 && (r.Scale != 1 || how != byAddress) {
		header["Scale"] = base.HeaderValue{formatSpeed(r.Scale)}
	}
	if r.Speed != 0 {
		header["Speed"] = base.HeaderValue{formatSpeed(r.Speed)}
	}
	return header
}

// place puts a run on the viewer's timeline, after what was passed on. A run that begins
// somewhere else begins with a key frame. It fails if the response contradicts itself in where
// a track begins.
func (s *Session) place(r *run, res *base.Response, elsewhere bool) error {
	r.out = max(time.Since(s.began), s.last+40*time.Millisecond)
	infos := parseRTPInfo(strings.Join(res.Header["RTP-Info"], ","))
	for n := range r.places {
		at := &r.places[n]
		at.waits = elsewhere
		for _, i := range infos {
			if n >= len(s.theirs) || !i.hasTime || !s.theirs[n].Is(i.url) {
				continue
			}
			if at.based && at.base != i.time {
				return errContradicts
			}
			at.base, at.based, at.info = i.time, true, true
		}
	}
	return nil
}

// says returns what the response to the viewer says of a run.
func (s *Session) says(r *run, w wish, says said) Playing {
	told := Range{Start: r.start, End: r.end, NPT: w.npt}
	if w.start.After(told.Start) && r.speed > 0 {
		told.Start = w.start // what is before is not passed on, or is of the key frame
	}
	p := Playing{Range: told.text(s.use.From), Start: told.Start, RateControl: says.rateControl}
	if says.scale != 0 {
		p.Scale = formatSpeed(says.scale)
	}
	if says.speed != 0 {
		p.Speed = formatSpeed(says.speed)
	}
	after := scaled(told.Start.Sub(r.start), 1/r.speed)
	for _, t := range s.tracks {
		p.Starts = append(p.Starts, Start{t.next, t.base + ticks(r.out+after, t.clock)})
	}
	return p
}

// Settle waits until nothing of what played before is being passed on. Between Play and
// Release, nothing else is.
func (s *Session) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.busy && !s.closed {
		s.change.Wait()
	}
}

// Shows returns what the last packet of the video shows. A Viewer that asks in Send learns it
// of that packet.
func (s *Session) Shows() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// Release begins to pass on what plays.
func (s *Session) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.heard = false, time.Now()
	s.change.Broadcast()
}

// Pause stops what plays. A recorder that cannot pause is left, and asked again later.
func (s *Session) Pause(ctx context.Context) {
	s.control.Lock()
	defer s.control.Unlock()
	ctx, cancel := context.WithTimeout(ctx, controlWithin)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	s.mu.Lock()
	c := s.client
	if c == nil || s.mode != playing || s.paused {
		s.held = true
		s.mu.Unlock()
		return
	}
	s.mode = pending
	s.change.Broadcast()
	s.mu.Unlock()
	_, err := c.Pause(ctx, s.required(nil))
	s.drain(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
	if s.client != c {
		return
	}
	if err != nil {
		s.disconnect()
		return
	}
	s.mode, s.paused = playing, true
}

// drainWithin is how long what came before a pause may take to be passed on.
const drainWithin = 250 * time.Millisecond

// drain waits until what came before a pause was passed on: then the recorder goes on where
// the viewer is.
func (s *Session) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.change.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for (len(s.queue) > 0 || s.busy) && ctx.Err() == nil && s.mode == pending && !s.closed {
		s.change.Wait()
	}
}
