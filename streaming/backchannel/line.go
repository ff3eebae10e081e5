package backchannel

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"latchkey/domain/ids"
	"latchkey/streaming/device"
	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

const (
	// MaxSound is the longest piece of sound, in bytes: 200 ms.
	MaxSound = 1600
	// maxLate is how long a piece of sound may wait.
	maxLate = 200 * time.Millisecond
	// maxQueue is how many pieces may.
	maxQueue = 64
	// linger is how long a line stays open for the next one who talks.
	linger = 2 * time.Second
	// reopenAfter is how long a camera is left alone after the line to it has failed.
	reopenAfter = 2 * time.Second
	// Nobody talks faster than others hear. A clock may be a little fast.
	mostRate, mostBurst = 8200, 2 * MaxSound
)

// line is the way to one channel. Its goroutine opens it with the first sound, and closes
// it at the end.
type line struct {
	of    *Lines
	at    place
	codec Codec
	queue chan piece
	pace  *rate.Limiter

	refs int // guarded by the mutex of Lines
	ctx  context.Context
	end  context.CancelFunc
	over chan struct{} // closed when nothing more is sent to the camera

	sending sync.Mutex // held while a piece is sent
}

// piece is some sound that was said.
type piece struct {
	sound []byte
	at    time.Time
	may   func() bool
}

// Line is a share in a line. It must be left.
type Line struct {
	*line
	once sync.Once
}

// Line returns a share in the line of a channel, which takes the codec.
func (l *Lines) Line(device ids.Device, channel int, codec Codec) *Line {
	at := place{device, channel}
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.lines[at]
	if ln == nil || ln.codec != codec || ln.ctx.Err() != nil {
		ln = &line{
			of: l, at: at, codec: codec, queue: make(chan piece, maxQueue), pace: rate.NewLimiter(mostRate, mostBurst), over: make(chan struct{}),
		}
		ln.ctx, ln.end = context.WithCancel(l.ctx) // after Close nothing is said
		l.lines[at] = ln
		go ln.run()
	}
	ln.refs++
	return &Line{line: ln}
}

// Say passes sound on, as soon as the line is open. It does not block and keeps the sound;
// what comes too fast, or would come too late, is dropped. may is called before it is
// sent, and decides whether it is. It reports whether the sound was taken.
func (l *Line) Say(sound []byte, may func() bool) bool {
	if len(sound) == 0 || len(sound) > MaxSound || !l.pace.AllowN(time.Now(), len(sound)) {
		return false
	}
	select {
	case l.queue <- piece{sound, time.Now(), may}:
		return true
	default:
		return false
	}
}

// Leave gives the share up. The line of the last one is closed after a while, or at once.
func (l *Line) Leave(atOnce bool) {
	l.once.Do(func() {
		l.of.mu.Lock()
		l.refs--
		unused := l.refs == 0
		l.of.mu.Unlock()
		switch {
		case unused && atOnce:
			l.closeUnused()
		case unused:
			time.AfterFunc(linger, l.closeUnused)
		}
	})
}

func (l *line) closeUnused() {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.refs > 0 {
		return
	}
	l.end()
	if l.of.lines[l.at] == l {
		delete(l.of.lines, l.at)
	}
}

// hangUpWithin is how long Settle waits for the end of a line, after the sound.
const hangUpWithin = time.Second

// Settle returns when nothing is being sent that was allowed before the call; if the line
// is being closed, when it is, or takes long to say so to the camera.
func (l *Line) Settle() {
	l.sending.Lock()
	l.sending.Unlock() //nolint:staticcheck // what was being sent is
	if l.ctx.Err() == nil {
		return
	}
	timer := time.NewTimer(hangUpWithin)
	defer timer.Stop()
	select {
	case <-l.over:
	case <-timer.C:
	}
}

// Close closes every line, and waits for that.
func (l *Lines) Close() {
	l.mu.Lock()
	l.end()
	var list []*line
	for _, ln := range l.lines {
		ln.end()
		list = append(list, ln)
	}
	l.mu.Unlock()
	for _, ln := range list {
		<-ln.over
	}
	l.chases.Wait()
}

// run opens the line when somebody talks, sends what is said, and closes it.
func (l *line) run() {
	defer close(l.over)
	defer l.survive()
	for {
		select {
		case <-l.ctx.Done():
			return
		case p := <-l.queue:
			if !p.may() {
				continue
			}
		}
		err := l.talk()
		if err == nil || l.ctx.Err() != nil {
			continue
		}
		wait := reopenAfter
		var away *upstream.AwayError
		if errors.As(err, &away) {
			wait = max(wait, away.Wait)
		}
		l.of.cfg.Logger.Warn("a camera could not be talked to", "device", l.at.device, "channel", l.at.channel, "reason", reasonOf(err))
		l.rest(wait)
	}
}

// survive keeps a bug from ending everything.
func (l *line) survive() {
	if r := recover(); r != nil {
		l.of.cfg.Logger.Error("talking to a camera panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		l.end()
	}
}

// rest drops what is said, for a while.
func (l *line) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-l.ctx.Done():
			return
		case <-l.queue:
		}
	}
}

var errHungUp = errors.New("the camera has hung up")

// talk opens the line and sends until it ends.
func (l *line) talk() error {
	m, err := l.of.opener(l.ctx, l.at, l.codec)
	if err != nil {
		return err
	}
	defer m.Close()
	for {
		select {
		case <-l.ctx.Done():
			return nil
		case <-m.Done():
			return errHungUp
		case p := <-l.queue:
			if err := l.say(m, p); err != nil {
				return err
			}
		}
	}
}

// say sends a piece of sound if it still may be sent, and is not late.
func (l *line) say(m mouth, p piece) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	if l.ctx.Err() != nil || time.Since(p.at) > maxLate || !p.may() {
		return nil
	}
	return m.Say(p.sound)
}

// reasonOf returns what may be logged of an error, which may contain addresses.
func reasonOf(err error) string {
	var away *upstream.AwayError
	var failure *device.Failure
	var codec *CodecError
	switch {
	case errors.As(err, &failure):
		return string(failure.Kind)
	case errors.As(err, &codec), errors.Is(err, ErrNone), errors.Is(err, errOther), errors.Is(err, errHungUp), errors.Is(err, errDoor):
		return err.Error()
	case errors.As(err, &away):
		return "away"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	if status, ok := errors.AsType[*rtspclient.StatusError](err); ok {
		return status.Error()
	}
	return "not reached"
}
