package simcamera

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"latchkey/internal/simcamera/picture"
)

// What the fastest continuous movement does in a second.
const (
	panSpeed  = 60.0 // degrees
	tiltSpeed = 12.0 // degrees
	zoomSpeed = 1.0  // times
)

// maxPresets limits the presets that a camera remembers.
const maxPresets = 255

// velocity is a continuous movement, each part from -100 to 100.
type velocity struct{ pan, tilt, zoom float64 }

// head is where a channel looks, and how that moves.
type head struct {
	mu      sync.Mutex
	from    picture.View // at since
	since   time.Time
	speed   velocity
	until   time.Time // a momentary movement ends then; zero for none
	presets map[int]picture.View
	orders  []string
}

// maxOrders limits the orders that a channel remembers.
const maxOrders = 10_000

// note remembers an order. The caller holds mu.
func (h *head) note(format string, args ...any) {
	if len(h.orders) < maxOrders {
		h.orders = append(h.orders, fmt.Sprintf(format, args...))
	}
}

// Orders returns what a channel was ordered to do by PTZ, in order: "move 50 0 0" (pan,
// tilt and zoom from -100 to 100), "stop", "turn", "preset 3".
func (c *Camera) Orders(channel int) []string {
	ch := c.channel(channel)
	if ch == nil {
		return nil
	}
	ch.head.mu.Lock()
	defer ch.head.mu.Unlock()
	return slices.Clone(ch.head.orders)
}

// Moving reports whether a channel moves until another order.
func (c *Camera) Moving(channel int) bool {
	ch := c.channel(channel)
	if ch == nil {
		return false
	}
	ch.head.mu.Lock()
	defer ch.head.mu.Unlock()
	return ch.head.moving(time.Now())
}

// home is where a channel looks first: each channel elsewhere.
func home(channel int) picture.View {
	return picture.View{Pan: float64((channel-1)*90%360 + (channel-1)/4*20), Zoom: 1}
}

func newHead(channel int) *head {
	h := home(channel)
	return &head{from: h, since: time.Now(), presets: map[int]picture.View{
		1: h,
		2: {Pan: h.Pan + 40, Zoom: 1},
		3: {Pan: h.Pan - 25, Tilt: 4, Zoom: 2},
	}}
}

// now returns where the head looks at this moment.
func (h *head) now() picture.View {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at(time.Now())
}

func (h *head) at(t time.Time) picture.View {
	if !h.until.IsZero() && t.After(h.until) {
		t = h.until
	}
	s := max(t.Sub(h.since).Seconds(), 0)
	v := h.from
	v.Pan = math.Mod(v.Pan+h.speed.pan/100*panSpeed*s, 360)
	if v.Pan < 0 {
		v.Pan += 360
	}
	v.Tilt = min(max(v.Tilt+h.speed.tilt/100*tiltSpeed*s, -picture.MaxTilt), picture.MaxTilt)
	v.Zoom = min(max(v.Zoom+h.speed.zoom/100*zoomSpeed*s, 1), picture.MaxZoom)
	return v
}

// moving reports whether the head moves at a time. The caller holds mu.
func (h *head) moving(t time.Time) bool {
	return h.speed != velocity{} && (h.until.IsZero() || t.Before(h.until))
}

// move continues until another order, or for a time if that is not zero.
func (h *head) move(v velocity, lasting time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if (v == velocity{}) {
		h.note("stop")
	} else {
		h.note("move %g %g %g", v.pan, v.tilt, v.zoom)
	}
	now := time.Now()
	h.from, h.since, h.speed, h.until = h.at(now), now, v, time.Time{}
	if lasting > 0 {
		h.until = now.Add(lasting)
	}
}

// turn looks at once where change says, given where the head looks, and stays.
func (h *head) turn(order string, change func(picture.View) picture.View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("%s", order)
	now := time.Now()
	h.from = change(h.at(now))
	h.since, h.speed, h.until = now, velocity{}, time.Time{}
	h.from = h.at(now) // within the limits
}

// recall turns to a preset; false if there is none.
func (h *head) recall(id int) bool {
	h.mu.Lock()
	v, ok := h.presets[id]
	h.mu.Unlock()
	if ok {
		h.turn(fmt.Sprintf("preset %d", id), func(picture.View) picture.View { return v })
	}
	return ok
}

// store keeps the view as a preset; false if the number is out of bounds.
func (h *head) store(id int) bool {
	if id < 1 || id > maxPresets {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.presets[id] = h.at(time.Now())
	return true
}

// stored returns the numbers of the presets, in order.
func (h *head) stored() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.presets))
}

// View returns where a channel looks now, or false if the channel does not exist.
func (c *Camera) View(channel int) (picture.View, bool) {
	ch := c.channel(channel)
	if ch == nil {
		return picture.View{}, false
	}
	return ch.head.now(), true
}
