package playback

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"latchkey/domain/privilege"
	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

// onvifReplay is what a device must be required to do to play recordings (ONVIF Streaming
// Specification, 6.2): some play live otherwise.
const onvifReplay = "onvif-replay"

// open asks for the description of what may be seen of the interval.
func (s *Session) open(ctx context.Context) error {
	source, err := s.of.cfg.Sources.Recordings(ctx, s.use.Device, s.use.Channel, s.use.Replay)
	if err != nil {
		return err
	}
	s.source = source
	start, ok := s.clip(s.use.From, s.use.To)
	if !ok {
		return ErrNothing
	}
	return s.connect(ctx, start, s.use.To)
}

// clip returns the first instant of an interval that may be seen. What may be seen moves
// on while the recorder prepares, so at its edge it is a little later.
func (s *Session) clip(from, to time.Time) (time.Time, bool) {
	now := s.of.cfg.Now()
	if latest := now.Add(s.doubt().Earlier); to.IsZero() || to.After(latest) {
		to = latest
	}
	start, ok := s.first(privilege.Interval{From: from, To: to}, now)
	if !ok || start.Equal(from) || s.source.times == nil {
		return start, ok
	}
	// The address expresses only whole seconds.
	whole := start.Add(time.Second - 1).Truncate(time.Second)
	if at, ok := s.first(privilege.Interval{From: whole, To: to}, now); ok && at.Equal(whole) {
		return at, true
	}
	return start, true
}

// first returns the first instant of an interval that may be seen.
func (s *Session) first(within privilege.Interval, now time.Time) (time.Time, bool) {
	first, ok := s.playable(within, now)
	if !ok {
		return time.Time{}, false
	}
	if later, ok := s.playable(within, now.Add(edge)); ok && later.From.Before(first.To) {
		return later.From, true
	}
	return first.From, true
}

// playable returns the first interval of the recorder's times of which all that they may
// mean may be seen.
func (s *Session) playable(within privilege.Interval, now time.Time) (privilege.Interval, bool) {
	return s.doubt().Playable(within, now, s.use.Playable)
}

func (s *Session) doubt() privilege.Doubt { return privilege.DoubtOf(s.source.Zone) }

// edge is how far a playback stays from the edge of what may be seen, if that moves.
const edge = 2 * time.Second

// connection is one to a recorder. It is named before it is open.
type connection struct{ *rtspclient.Client }

// connect connects to the recorder, and describes what it has from start to end.
func (s *Session) connect(ctx context.Context, start, end time.Time) error {
	address, begin := s.source.address(start, end)
	return refusal(s.of.cfg.Contact(ctx, s.use.Device, address, func(ctx context.Context, dial upstream.DialFunc) error {
		c := &connection{}
		client, err := rtspclient.Dial(ctx, address, rtspclient.Options{
			Dial: dial, Username: s.source.Username, Password: s.source.Password, Certificate: s.source.Certificate, UserAgent: upstream.Agent,
			Check: func(header base.Header) error {
				if upstream.IsAgent(header["Server"]) {
					return ErrRecorder // a door never serves a door
				}
				return nil
			},
			Packet:   func(t *rtspclient.Track, data []byte, _ time.Time) { s.take(c, t, data) },
			Bye:      func(t *rtspclient.Track) { s.bye(c, t) },
			Response: func(res *base.Response) { s.answered(c, res) },
		})
		if err != nil {
			return err
		}
		c.Client = client
		defer context.AfterFunc(s.ctx, c.Close)()
		d, err := c.Describe(ctx, nil)
		if err == nil {
			err = s.connected(c, d, begin)
		}
		if err != nil {
			c.Close()
		}
		return err
	}))
}

// connected takes over a connection.
func (s *Session) connected(c *connection, d *rtspclient.Description, begin time.Time) error {
	ours, theirs := describe(d.Tracks)
	if len(theirs) == 0 {
		return rtspclient.ErrNoTracks
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.desc != nil && !same(s.desc, ours):
		return errOther
	case s.desc == nil:
		s.desc = ours
		for _, m := range ours.Medias {
			s.tracks = append(s.tracks, &track{
				media: m, clock: m.Formats[0].ClockRate(), video: m.Type == description.MediaTypeVideo,
				base: rand.Uint32(), next: uint16(rand.Uint32()),
			})
		}
	}
	s.client, s.theirs, s.begin = c, theirs, begin
	s.work.Go(func() {
		select {
		case <-c.Done():
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.client == c {
			s.over = true
			s.change.Broadcast()
		}
	})
	return nil
}

// same reports whether a viewer of one description can receive another one.
func same(a, b *description.Session) bool {
	if len(a.Medias) != len(b.Medias) {
		return false
	}
	for i, m := range a.Medias {
		o := b.Medias[i]
		if m.Type != o.Type || len(m.Formats) != len(o.Formats) {
			return false
		}
		for j, f := range m.Formats {
			if g := o.Formats[j]; f.PayloadType() != g.PayloadType() || f.Codec() != g.Codec() || f.ClockRate() != g.ClockRate() {
				return false
			}
		}
	}
	return true
}

// setUp sets up the tracks that the viewer receives, once for each connection.
func (s *Session) setUp(ctx context.Context) error {
	s.mu.Lock()
	c, theirs, done := s.client, s.theirs, s.set
	var wanted []*rtspclient.Track
	for n, t := range s.tracks {
		if t.wanted && n < len(theirs) {
			wanted = append(wanted, theirs[n])
		}
	}
	s.mu.Unlock()
	switch {
	case c == nil:
		return ErrRecorder
	case done:
		return nil
	case len(wanted) == 0:
		return errors.New("playing no track")
	}
	for _, t := range wanted {
		if err := c.Setup(ctx, t, s.required(nil)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == c {
		s.set = true
	}
	return nil
}

// required adds what an ONVIF device must be told.
func (s *Session) required(header base.Header) base.Header {
	all := base.Header{}
	for name, value := range header {
		all[name] = value
	}
	if s.source.Replay {
		all["Require"] = base.HeaderValue{onvifReplay}
	}
	return all
}

// take receives a packet of a connection. It waits while too much waits for the viewer.
func (s *Session) take(c *connection, t *rtspclient.Track, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.number(c, t)
	s.heard = time.Now()
	for {
		switch {
		case n < 0 || s.client != c || s.closed || s.mode == idle || s.mode == seeking:
			return
		case s.mode == pending && s.queued+len(data) > maxPending:
			return
		case s.mode == pending || s.queued < maxQueue:
			s.queue = append(s.queue, item{s.run, n, data})
			s.queued += len(data)
			s.change.Broadcast()
			return
		}
		s.change.Wait()
	}
}

// number returns that of a track of the connection in use, or -1.
func (s *Session) number(c *connection, t *rtspclient.Track) int {
	if s.client != c {
		return -1
	}
	for n, other := range s.theirs {
		if other == t {
			return n
		}
	}
	return -1
}

// bye notes that the recorder has said that a track is over.
func (s *Session) bye(c *connection, t *rtspclient.Track) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.number(c, t)
	if n < 0 || s.run == nil || s.mode != playing && s.mode != pending {
		return
	}
	if s.tracks[n].video || len(s.tracks) == 1 {
		s.over = true
		s.change.Broadcast()
	}
}

// answered is called with each response, between the packets before it and those after
// it.
func (s *Session) answered(c *connection, _ *base.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == c && s.clear {
		s.queue, s.queued = nil, 0
	}
}
