package webrtc

import (
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"latchkey/projections/access"
)

// fan sends to a part of the viewers. It wakes up for a part of a picture and not for a
// packet, and what it sends to many viewers goes to the kernel together.
type fan struct {
	wake chan struct{} // of one: somebody is ready
	stop chan struct{}
	done chan struct{} // closed when run has ended
	once sync.Once

	sending sync.Mutex // held while something is sent to any of its viewers
	batch   *batch

	mu    sync.Mutex
	ready []*viewer // something waits for them

	paused []pause // by time; only run uses it
}

// pause is a viewer that gets more after some time.
type pause struct {
	v     *viewer
	until time.Time
}

// newFans returns a fan for each processor, with a descriptor of the socket for each: Go lets
// one goroutine write to one at a time.
func newFans(socket *net.UDPConn) ([]*fan, error) {
	var list []*fan
	for range runtime.GOMAXPROCS(0) {
		b, err := newBatch(socket)
		if err != nil {
			closeFans(list)
			return nil, err
		}
		f := &fan{wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), batch: b}
		list = append(list, f)
		go f.run()
	}
	return list, nil
}

// closeFans ends fans, whose viewers have parted.
func closeFans(list []*fan) {
	for _, f := range list {
		f.once.Do(func() { close(f.stop) })
		<-f.done
		f.batch.close()
	}
}

func (f *fan) run() {
	defer close(f.done)
	timer := time.NewTimer(turnPause)
	defer timer.Stop()
	for {
		select {
		case <-f.wake:
		case <-timer.C:
		case <-f.stop:
			return
		}
		f.pass()
		if len(f.paused) > 0 {
			timer.Reset(time.Until(f.paused[0].until))
		}
	}
}

// rouse notes that something waits for a viewer. Call signal after it.
func (f *fan) rouse(v *viewer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !v.roused {
		v.roused = true
		f.ready = append(f.ready, v)
	}
}

// signal wakes the fan if something waits.
func (f *fan) signal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ready) == 0 {
		return
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take returns the viewers that something waits for.
func (f *fan) take() []*viewer {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.ready
	f.ready = nil
	for _, v := range list {
		v.roused = false
	}
	return list
}

// maxResumed is how many viewers that have waited for the rest come before each new one. So a
// large picture is complete at one viewer after the other, and not at all of them at the end,
// and yet nobody waits for the catch-up of others.
const maxResumed = 4

// pass gives a turn to each viewer that something waits for.
func (f *fan) pass() {
	for _, v := range f.take() {
		f.resume(maxResumed)
		if !v.paused {
			f.turn(v)
		}
	}
	f.resume(len(f.paused))
	f.sending.Lock()
	defer f.sending.Unlock()
	f.batch.flush()
}

// resume gives a turn to viewers whose pause is over, but not to more than this many.
func (f *fan) resume(most int) {
	for ; most > 0 && len(f.paused) > 0 && !time.Now().Before(f.paused[0].until); most-- {
		v := f.paused[0].v
		f.paused = f.paused[1:]
		v.paused = false
		f.turn(v)
	}
}

// turn sends a part of what waits for a viewer.
func (f *fan) turn(v *viewer) {
	more := false
	f.with(v, func() { more = v.flush() })
	if more {
		v.paused = true
		f.paused = append(f.paused, pause{v, time.Now().Add(turnPause)})
	}
}

// with calls a function that may send to a viewer, unless the viewer has parted. Only such
// functions send media, and what they send may wait in the batch.
func (f *fan) with(v *viewer, send func()) {
	f.sending.Lock()
	defer f.sending.Unlock()
	if v.parted {
		return
	}
	defer func() {
		if fault := recover(); fault != nil {
			v.log.Error("sending to a viewer panicked", "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
			v.end(access.Unknown)
		}
	}()
	send()
}

// part ends what a viewer gets: no media is sent to it after part has returned.
func (f *fan) part(v *viewer) {
	f.sending.Lock()
	defer f.sending.Unlock()
	v.parted = true
	f.batch.flush()
}
