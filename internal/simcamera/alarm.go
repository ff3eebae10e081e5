package simcamera

import (
	"sync"
	"time"
)

// maxListeners limits the open alert streams.
const maxListeners = 64

// repeatEvery is how often a device repeats that an event is active.
const repeatEvery = time.Second

// Motion is the event type of motion detection.
const Motion = "VMD"

// alarm is one message of the alert stream.
type alarm struct {
	channel int
	kind    string
	active  bool
	count   int // how often it has been sent
	at      time.Time
}

// alarmHub distributes alarms to the alert streams. Its zero value is ready.
type alarmHub struct {
	mu        sync.Mutex
	listeners map[chan alarm]struct{}
	ringing   map[int]int // active alarms by channel
}

// listen returns a channel of alarms from now on, nil when too many listen.
func (h *alarmHub) listen() chan alarm {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.listeners) >= maxListeners {
		return nil
	}
	if h.listeners == nil {
		h.listeners = map[chan alarm]struct{}{}
	}
	l := make(chan alarm, 64)
	h.listeners[l] = struct{}{}
	return l
}

func (h *alarmHub) leave(l chan alarm) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
}

// say sends an alarm to all listeners; one that does not read misses it.
func (h *alarmHub) say(a alarm) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		select {
		case l <- a:
		default:
		}
	}
}

func (h *alarmHub) ring(channel, by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ringing == nil {
		h.ringing = map[int]int{}
	}
	h.ringing[channel] += by
}

func (h *alarmHub) active(channel int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ringing[channel] > 0
}

func (h *alarmHub) listening() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.listeners)
}

// RaiseAlarm makes an event of a type, such as Motion, active on a channel for a time: it
// is sent at once, again every second, and a last time as inactive. The picture shows it.
func (c *Camera) RaiseAlarm(channel int, kind string, lasting time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.channel(channel) == nil || c.closed {
		return
	}
	c.alarms.ring(channel, 1)
	c.alarms.say(alarm{channel: channel, kind: kind, active: true, count: 1, at: c.cfg.Now()})
	c.tasks.Go(func() { c.keepRinging(channel, kind, lasting) })
}

func (c *Camera) keepRinging(channel int, kind string, lasting time.Duration) {
	defer c.alarms.ring(channel, -1)
	over := time.After(lasting)
	again := time.NewTicker(repeatEvery)
	defer again.Stop()
	for count := 2; ; count++ {
		select {
		case <-c.ctx.Done():
			return
		case <-over:
			c.alarms.say(alarm{channel: channel, kind: kind, count: count, at: c.cfg.Now()})
			return
		case <-again.C:
			c.alarms.say(alarm{channel: channel, kind: kind, active: true, count: count, at: c.cfg.Now()})
		}
	}
}

func (c *Camera) raiseRegularly() {
	if c.cfg.AlarmEvery == 0 {
		return
	}
	every := time.NewTicker(c.cfg.AlarmEvery)
	defer every.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-every.C:
			c.RaiseAlarm(1, Motion, min(c.cfg.AlarmEvery/2, 3*time.Second))
		}
	}
}

// AlarmListeners returns how many alert streams are open.
func (c *Camera) AlarmListeners() int { return c.alarms.listening() }
