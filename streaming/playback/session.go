package playback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"latchkey/streaming/rtspclient"
)

const (
	// maxQueue is how much waits for a viewer, in bytes, before the recorder is slowed
	// down. While it is asked for something, maxPending: its response comes after its
	// packets.
	maxQueue   = 512 << 10
	maxPending = 8 << 20
	// silence is how long a recorder that plays may send nothing: then nothing more is
	// recorded.
	silence = 12 * time.Second
	// holdEvery and maxHold are how often, and for how long, it is asked whether what is
	// too new may be seen yet.
	holdEvery, maxHold = 50 * time.Millisecond, time.Second
	// maxEarly is how much before what may be seen a recorder may begin, in what is
	// recorded, and maxSkip for how long it may send such.
	maxEarly = 30 * time.Second
	maxSkip  = 10 * time.Second
	// controlWithin limits a request of a viewer: several of ours to the recorder.
	controlWithin = 20 * time.Second
)

// Viewer receives what a session plays. Its methods are called one after the other, never
// by a method of the session.
type Viewer interface {
	// Permitted reports whether anything may be passed on now. It must not block.
	Permitted() bool
	// Send sends an RTP packet of a track. It may block: then the recorder waits. It may
	// keep the packet. After an error nothing more is sent.
	Send(track int, data []byte) error
	// Report sends a sender report: the two times are the same instant.
	Report(track int, ntp uint64, rtp uint32)
	// End reports that what was requested is over. It may be requested to play again.
	End()
}

// mode is what is done with the recorder's packets.
type mode int

const (
	idle    mode = iota // nothing plays: they are dropped
	seeking             // they are of what was played before: they are dropped
	pending             // they are kept, whatever it takes, while the recorder is asked
	playing             // they are kept up to maxQueue
)

// Session is the playback of one viewer. Its methods may be called concurrently; Play and
// Pause wait for each other.
type Session struct {
	of     *Recorders
	use    Use
	log    *slog.Logger
	source Source
	desc   *description.Session

	control sync.Mutex // held by Play and Pause
	asked   Request    // what was last played, under control

	mu     sync.Mutex
	change *sync.Cond // of any of the following
	viewer Viewer
	client *connection // nil: not connected
	theirs []*rtspclient.Track
	begin  time.Time // what the address that it is connected to begins at
	set    bool      // its tracks are set up
	tracks []*track
	mode   mode
	clear  bool // seeking without a pause: packets before a response are dropped
	held   bool // nothing is passed on
	paused bool // the recorder is paused, and goes on where it was
	over   bool // the recorder sends nothing more
	queue  []item
	queued int
	run    *run
	at     time.Time     // what was passed on last; zero: nothing yet
	step   time.Duration // from the picture before it
	busy   bool          // a packet is being passed on
	scale  float64       // of the last PLAY
	heard  time.Time
	skips  time.Time // since when packets are dropped as they are too early
	holds  time.Time // since when one waits as it is too new
	began  time.Time
	last   time.Duration // of what was passed on, on the viewer's timeline
	closed bool
	once   sync.Once // frees its place

	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	sending sync.WaitGroup
}

// track is a track as viewers see it.
type track struct {
	media    *description.Media
	clock    int
	video    bool
	wanted   bool
	base     uint32 // timestamp where the viewer's timeline begins
	next     uint16
	reported time.Time
}

// item is a packet of the recorder.
type item struct {
	run   *run
	track int
	data  []byte
}

func newSession(r *Recorders, u Use) *Session {
	s := &Session{of: r, use: u, log: r.cfg.Logger.With("device", u.Device, "channel", u.Channel), began: time.Now()}
	s.change = sync.NewCond(&s.mu)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Description is what viewers see of the recording: the kind and formats of its video and
// audio. It must not be changed.
func (s *Session) Description() *description.Session { return s.desc }

// Length returns how long the recording is that the address names; false if that is open.
func (s *Session) Length() (time.Duration, bool) {
	return s.use.To.Sub(s.use.From), !s.use.To.IsZero()
}

// Begin gives the session to its viewer. Call it once, before Play.
func (s *Session) Begin(v Viewer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.viewer != nil || s.closed {
		return
	}
	s.viewer = v
	s.sending.Go(s.send)
	s.work.Go(s.watch)
}

// Want notes that the viewer receives a track. Call it before the first Play.
func (s *Session) Want(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n >= 0 && n < len(s.tracks) {
		s.tracks[n].wanted = true
	}
}

// Replays reports whether the session is of ONVIF replay.
func (s *Session) Replays() bool { return s.source.Replay }

// Stop ends the session, and returns when nothing more is passed on. The session must
// still be closed.
func (s *Session) Stop() {
	s.mu.Lock()
	s.closed = true
	s.cancel()
	s.disconnect()
	s.mu.Unlock()
	s.sending.Wait()
}

// Close ends the session, and returns when nothing more is passed on, nor sent to the
// recorder.
func (s *Session) Close() {
	s.Stop()
	s.work.Wait()
	s.once.Do(func() { s.of.give(s.use) })
}

// disconnect ends the connection to the recorder, without waiting.
func (s *Session) disconnect() {
	c := s.client
	s.client, s.theirs, s.set, s.mode, s.paused, s.over, s.clear = nil, nil, false, idle, false, false, false
	s.queue, s.queued = nil, 0
	s.change.Broadcast()
	if c != nil {
		s.work.Go(c.Close) // it waits for take
	}
}

// watch ends a playback when the recorder sends nothing more.
func (s *Session) watch() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		if s.mode == playing && !s.held && !s.paused && len(s.queue) == 0 && time.Since(s.heard) > silence {
			s.over = true
			s.change.Broadcast()
		}
		s.mu.Unlock()
	}
}

// describe builds the description for viewers from the recorder's own: the kind and
// formats of its video and audio, and nothing else. Metadata is left out: it carries
// alarms, which are a separate privilege.
func describe(theirs []*rtspclient.Track) (*description.Session, []*rtspclient.Track) {
	ours := &description.Session{}
	var list []*rtspclient.Track
	for _, t := range theirs {
		m := t.Media
		if m.IsBackChannel || m.Type != description.MediaTypeVideo && m.Type != description.MediaTypeAudio || len(list) == maxTracks {
			continue
		}
		media := &description.Media{Type: m.Type}
		for _, f := range m.Formats {
			media.Formats = append(media.Formats, withoutAddresses(f))
		}
		ours.Medias = append(ours.Medias, media)
		list = append(list, t)
	}
	return ours, list
}

const maxTracks = 8

// withoutAddresses removes parameters of an unknown format if they look like an address.
func withoutAddresses(f format.Format) format.Format {
	g, ok := f.(*format.Generic)
	if !ok {
		return f
	}
	plain := *g
	plain.FMT = map[string]string{}
	for name, value := range g.FMT {
		if !strings.Contains(value, "://") && !strings.Contains(value, "@") {
			plain.FMT[name] = value
		}
	}
	return &plain
}

// survive ends the session for a panic: what one recorder sends ends nobody else's.
func (s *Session) survive() {
	if r := recover(); r != nil {
		s.log.Error("playing a recording panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		go s.Close()
	}
}

var errOther = errors.New("the recorder plays something else than before")
