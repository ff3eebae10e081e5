package alarms

import (
	"sync"
	"time"

	"latchkey/internal/alert"
)

const (
	// silence is after how long without a repetition an event is over: it is repeated about
	// once a second while it lasts.
	silence = 8 * time.Second
	// overtaken is by how much a message may be older than the end of its event, by the
	// camera's own clock, to count as one that was overtaken by it.
	overtaken = time.Minute
	// lasting is after how long an event is forgotten whose end the camera did not tell.
	lasting = time.Hour
	// maxEdges is how many events are remembered, and maxEdgesOf how many of one device.
	maxEdges   = 1 << 18
	maxEdgesOf = 256
)

// edges finds where events begin.
type edges struct {
	mu  sync.Mutex
	of  map[string]map[event]*edge // by device
	all int
}

type event struct {
	channel int
	kind    string
}

type edge struct {
	active  bool
	lasting bool
	seen    time.Time // when a message of it last arrived
	ended   time.Time // when it ended, by the camera's clock; zero if unknown
}

// rises reports whether what a device says at a time is the beginning of an event.
func (e *edges) rises(device string, a alert.Alert, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of == nil {
		e.of = map[string]map[event]*edge{}
	}
	of := e.of[device]
	if of == nil {
		of = map[event]*edge{}
		e.of[device] = of
	}
	key := event{a.Channel, a.Type}
	at := of[key]
	if at == nil {
		if !a.Active || !e.room(device, of, now) {
			return false // one that is too many is not told: a device that says so much says nothing
		}
		at = &edge{}
		of[key] = at
		e.all++
	}
	if !a.Active {
		at.active, at.seen, at.ended = false, now, a.At
		return false
	}
	if !at.active && !a.At.IsZero() && a.At.Before(at.ended) && at.ended.Sub(a.At) < overtaken {
		return false // it was sent before the end
	}
	rises := !at.active || at.over(now)
	at.active, at.lasting, at.seen = true, a.Lasting, now
	return rises && !a.Initial
}

// again lets the next message of an event count as its beginning.
func (e *edges) again(device string, a alert.Alert) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if at := e.of[device][event{a.Channel, a.Type}]; at != nil {
		at.active = false
	}
}

// over reports whether an active event has ended without a word.
func (at *edge) over(now time.Time) bool {
	if at.lasting {
		return now.Sub(at.seen) > lasting
	}
	return now.Sub(at.seen) > silence
}

// room drops events that are over, if there are many, and reports whether there is room
// for one more. The caller holds mu.
func (e *edges) room(device string, of map[event]*edge, now time.Time) bool {
	if len(of) >= maxEdgesOf {
		e.all -= drop(of, now)
	}
	if e.all >= maxEdges {
		for device, of := range e.of {
			if e.all -= drop(of, now); len(of) == 0 {
				delete(e.of, device)
			}
		}
		e.of[device] = of
	}
	return len(of) < maxEdgesOf && e.all < maxEdges
}

func drop(of map[event]*edge, now time.Time) (n int) {
	for key, at := range of {
		if !at.active && now.Sub(at.seen) > overtaken || at.over(now) {
			delete(of, key)
			n++
		}
	}
	return n
}

// forget drops the events of a device.
func (e *edges) forget(device string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all -= len(e.of[device])
	delete(e.of, device)
}
