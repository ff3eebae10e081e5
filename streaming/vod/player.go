package vod

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"latchkey/streaming/fmp4"
	"latchkey/streaming/playback"
)

// Screen is a browser. Its methods may be called concurrently. After an error of one, it
// shows nothing more.
type Screen interface {
	// Permitted reports whether anything may be shown now. It must not block.
	Permitted() bool
	// Order waits for the next message of the browser.
	Order(ctx context.Context) ([]byte, error)
	// Say sends a message, and Show data: both may block.
	Say(ctx context.Context, message any) error
	Show(ctx context.Context, data []byte) error
}

// Recorders opens recordings: playback.Recorders.
type Recorders interface {
	Open(ctx context.Context, u playback.Use) (*playback.Session, error)
}

const (
	// openWithin limits how long a recorder may take until it can be asked to play.
	openWithin = 20 * time.Second
	// ordersEvery and ordersBurst limit the orders of one browser: a slider that is dragged
	// sends one for each picture of the screen.
	ordersEvery = 20 * time.Millisecond
	ordersBurst = 200
)

// errTooFast ends a browser that gives more orders than a person can.
var errTooFast = &OrderError{"too many orders"}

// player plays recordings to one screen.
type player struct {
	recorders Recorders
	use       playback.Use
	screen    Screen
	ctx       context.Context
	end       context.CancelCauseFunc

	mu     sync.Mutex
	wishes wishes
	wake   chan struct{} // has one value if there are wishes

	session *playback.Session // nil: nothing was opened yet
	reel    *reel
	speed   float64
	paused  bool
}

// Play plays recordings to a screen until the context ends or the screen does, and returns
// when nothing more is shown and the recorder has been left. The use says who watches which
// channel, and what of it may be seen. The error is an *OrderError for a message that is
// no order; otherwise it says how the screen ended.
func Play(ctx context.Context, recorders Recorders, use playback.Use, screen Screen) error {
	p := &player{recorders: recorders, use: use, screen: screen, wake: make(chan struct{}, 1), speed: 1}
	p.ctx, p.end = context.WithCancelCause(ctx)
	var reading sync.WaitGroup
	reading.Go(p.listen)
	p.run()
	p.end(nil)
	if p.session != nil {
		p.session.Close()
	}
	reading.Wait()
	return context.Cause(p.ctx)
}

// listen reads orders until the player ends.
func (p *player) listen() {
	limit := rate.NewLimiter(rate.Every(ordersEvery), ordersBurst)
	for {
		data, err := p.screen.Order(p.ctx)
		if err == nil && !limit.Allow() {
			err = errTooFast
		}
		var o Order
		if err == nil {
			o, err = ReadOrder(data)
		}
		if err != nil {
			p.end(err)
			return
		}
		p.mu.Lock()
		p.wishes.add(o)
		p.mu.Unlock()
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// take returns the wishes, which are carried out now.
func (p *player) take() wishes {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.wishes
	p.wishes = wishes{}
	return w
}

// run carries orders out, one after the other.
func (p *player) run() {
	for {
		select {
		case <-p.wake:
		case <-p.ctx.Done():
			return
		}
		if w := p.take(); !w.empty() {
			p.carryOut(w)
		}
	}
}

// carryOut does what is wished.
func (p *player) carryOut(w wishes) {
	if w.speed != 0 {
		p.speed = w.speed
	}
	var err error
	switch plays := p.session != nil; {
	case !w.seek.IsZero():
		p.paused = false
		err = p.play(w.seek, w.text)
	case !plays:
	case w.speed != 0 && !p.paused, w.pause != nil && !*w.pause:
		p.paused = false
		err = p.play(time.Time{}, "")
	}
	if err == nil && w.pause != nil && *w.pause && p.session != nil {
		p.paused = true
		p.session.Pause(p.ctx)
		p.say(message{Paused: true})
	}
	if err != nil && p.ctx.Err() == nil {
		p.say(message{End: reasonOf(err), Seek: w.text, Codec: codecOf(err)})
	}
}

// message is what a browser is told.
type message struct {
	// Start is what the next picture shows, or a little before. Binary messages that follow
	// belong to it: see reel.
	Start *time.Time `json:"start,omitempty"`
	Seek  string     `json:"seek,omitempty"`  // the order, as it was given
	Speed float64    `json:"speed,omitempty"` // in recorded seconds per second
	// MIME is what the next binary message, an initialization segment, begins.
	MIME   string `json:"mime,omitempty"`
	Paused bool   `json:"paused,omitempty"`
	// End is why nothing more is shown until the next order.
	End   string `json:"end,omitempty"`
	Codec string `json:"codec,omitempty"` // that cannot be shown
}

// Why nothing more is shown.
const (
	endOver     = "over"     // of what is recorded, or of what may be seen
	endNothing  = "nothing"  // of this time can be played
	endBusy     = "busy"     // too much is played of the device
	endCodec    = "codec"    // the video cannot be packed
	endRecorder = "recorder" // it does not play
)

// reasonOf is why nothing is shown.
func reasonOf(err error) string {
	unsupported := (*fmp4.UnsupportedError)(nil)
	switch {
	case errors.Is(err, playback.ErrNothing), errors.Is(err, playback.ErrRange), errors.Is(err, playback.ErrNoRecorder), errors.Is(err, playback.ErrNoReplay):
		return endNothing
	case errors.Is(err, playback.ErrBusy):
		return endBusy
	case errors.As(err, &unsupported):
		return endCodec
	}
	return endRecorder
}

func codecOf(err error) string {
	unsupported := (*fmp4.UnsupportedError)(nil)
	if errors.As(err, &unsupported) {
		return unsupported.Codec
	}
	return ""
}

func (p *player) say(m message) {
	if err := p.screen.Say(p.ctx, m); err != nil {
		p.end(err)
	}
}

// play plays from an instant on, or goes on if it is zero.
func (p *player) play(at time.Time, text string) error {
	if p.session == nil {
		if err := p.open(at); err != nil {
			return err
		}
	}
	r := playback.Request{}
	if !at.IsZero() {
		r.Range = "clock=" + at.Format("20060102T150405.000Z") + "-"
	}
	if p.speed != 1 || p.reel.speed != 1 {
		r.Scale = p.speed
	}
	playing, err := p.session.Play(p.ctx, r)
	if errors.Is(err, playback.ErrClosed) { // it ended by itself: the next order opens another
		p.session.Close()
		p.session = nil
	}
	if err != nil {
		return err
	}
	p.session.Settle()
	speed := p.speed
	if said, err := strconv.ParseFloat(playing.Scale, 64); err == nil && said > 0 {
		speed = said
	}
	p.reel.begin(playing.Starts, speed)
	p.say(message{Start: &playing.Start, Seek: text, Speed: speed})
	p.session.Release()
	return nil
}

// open connects to the recorder.
func (p *player) open(at time.Time) error {
	ctx, cancel := context.WithTimeout(p.ctx, openWithin)
	defer cancel()
	use := p.use
	use.From = at
	s, err := p.recorders.Open(ctx, use)
	if err != nil {
		return err
	}
	m, err := fmp4.New(s.Description())
	if err != nil {
		s.Close()
		return err
	}
	p.session, p.reel = s, &reel{player: p, session: s, muxer: m, speed: 1}
	s.Begin(p.reel)
	s.Want(m.Video())
	s.Want(m.Sound())
	return nil
}
