package backchannel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/streaming/device"
	"latchkey/streaming/notes"
)

// A channel that was opened by ISAPI stays busy until it is closed by a request, even if the
// connection of the talker ends. So each opening is noted first. If that request fails, or
// the process is killed, it is sent later: for some time, and before the next opening. A
// channel without a note is never closed: another program may be talking.

// Notes remembers, also after a kill, which channels may be open at their devices;
// notes.Folder implements it.
type Notes interface {
	Note(c notes.Channel) error
	Drop(c notes.Channel) error
	All() ([]notes.Channel, error)
}

const (
	// retryAfter and retryAtMost are the pauses between attempts to close what was left
	// open, and giveUpAfter is when they end: until the next opening or start.
	retryAfter, retryAtMost = time.Second, 30 * time.Second
	giveUpAfter             = 10 * time.Minute
)

// held is a channel that is, or was, talked to by ISAPI. There is one for each such
// channel.
type held struct {
	at   place
	turn chan struct{} // held while it is opened, talked to or closed

	// Guarded by the turn.
	left    bool // it may be open without a talk
	chasing bool // it is being closed
}

// heldAt returns the one of a channel.
func (l *Lines) heldAt(at place) *held {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[at]
	if h == nil {
		h = &held{at: at, turn: make(chan struct{}, 1)}
		l.held[at] = h
	}
	return h
}

func (h *held) channel() notes.Channel {
	return notes.Channel{Device: h.at.device, Number: h.at.channel}
}

// recover closes what an earlier process left open.
func (l *Lines) recover() {
	if l.cfg.Notes == nil {
		return
	}
	list, err := l.cfg.Notes.All()
	if err != nil {
		l.cfg.Logger.Error("which cameras were talked to when the service ended is not fully known", "error", err)
	}
	for _, c := range list {
		l.cfg.Logger.Info("a camera may have been left busy by a talk; it is told that it is over", "device", c.Device, "channel", c.Number)
		h := l.heldAt(place{device: c.Device, channel: c.Number})
		h.turn <- struct{}{}
		l.leave(h)
		<-h.turn
	}
}

// take gives the turn of a channel, if it comes in time.
func (h *held) take(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the end of a talk: %w", ctx.Err())
	}
}

// openISAPI opens a channel, after what was left open of it is closed.
func (l *Lines) openISAPI(ctx context.Context, at place, source Source, codec Codec) (mouth, error) {
	h := l.heldAt(at)
	if err := h.take(ctx); err != nil {
		return nil, err
	}
	t, err := l.begin(ctx, h, source)
	if err != nil {
		<-h.turn
		return nil, err
	}
	m := &isapiMouth{Talk: t, of: l, held: h}
	if Codec(t.Codec()) != codec {
		m.Close()
		return nil, errOther
	}
	return m, nil
}

// begin opens a channel and notes it. The caller has its turn.
func (l *Lines) begin(ctx context.Context, h *held, source Source) (*device.Talk, error) {
	target := source.target(h.at.channel)
	if h.left && l.cfg.ISAPI.HangUp(ctx, target) == nil {
		l.closed(h)
	}
	if l.cfg.Notes != nil {
		if err := l.cfg.Notes.Note(h.channel()); err != nil {
			l.cfg.Logger.Error("a talk could not be noted", "error", err)
			return nil, errNotNoted
		}
	}
	t, err := l.cfg.ISAPI.Talk(ctx, target)
	switch {
	case err == nil:
		h.left = false // it is closed in the end
	case errors.Is(err, device.ErrLeftOpen):
		l.leave(h)
	case !h.left: // we have not opened it
		l.closed(h)
	}
	return t, err
}

var errNotNoted = errors.New("it could not be noted that the camera is talked to")

// closed notes that a channel is not open by us. The caller has its turn.
func (l *Lines) closed(h *held) {
	h.left = false
	if l.cfg.Notes == nil {
		return
	}
	if err := l.cfg.Notes.Drop(h.channel()); err != nil { // the next start closes it once more
		l.cfg.Logger.Warn("it could not be noted that a talk is over", "device", h.at.device, "channel", h.at.channel, "error", err)
	}
}

// leave starts closing a channel that may be open. The caller has its turn.
func (l *Lines) leave(h *held) {
	h.left = true
	if h.chasing || l.ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() == nil { // Close waits for it
		h.chasing = true
		l.chases.Go(func() { l.chase(h) })
	}
}

// chase closes a channel that was left open, unless the next opening does before.
func (l *Lines) chase(h *held) {
	began := time.Now()
	for pause := l.retryAfter; ; pause = min(2*pause, retryAtMost) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-l.ctx.Done(): // it stays noted
			timer.Stop()
			return
		}
		if h.take(l.ctx) != nil {
			return
		}
		if h.left {
			l.hangUp(h)
		}
		over := !h.left || time.Since(began) > giveUpAfter
		h.chasing = !over
		<-h.turn
		if over {
			return
		}
	}
}

// hangUp closes a channel that was left open. The caller has its turn.
func (l *Lines) hangUp(h *held) {
	ctx, cancel := context.WithTimeout(l.ctx, within)
	defer cancel()
	source, err := l.cfg.Sources.Source(ctx, h.at.device, h.at.channel)
	gone := errors.Is(err, ErrNone) || err == nil && source.ISAPIURL == ""
	if err == nil && !gone {
		err = l.cfg.ISAPI.HangUp(ctx, source.target(h.at.channel))
	}
	if err == nil || gone {
		l.closed(h)
	}
}

// isapiMouth sends bare sound. It has the turn of its channel.
type isapiMouth struct {
	*device.Talk
	of   *Lines
	held *held
}

func (m *isapiMouth) Say(sound []byte) error {
	_, err := m.Write(sound)
	return err
}

func (*isapiMouth) Done() <-chan struct{} { return nil }

// Close is called once.
func (m *isapiMouth) Close() {
	if m.Talk.Close() == nil {
		m.of.closed(m.held)
	} else {
		m.of.leave(m.held)
	}
	<-m.held.turn
}
