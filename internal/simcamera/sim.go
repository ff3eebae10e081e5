package simcamera

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// maxFor bounds how long an order may last.
const maxFor = time.Hour

// simulate is the control interface of the simulation, for those who run it as a
// process of its own:
//
//	POST /sim/alarm?channel=1&type=VMD&for=5s
//	POST /sim/away?for=3s       gone, and back by itself
//	POST /sim/flap?times=5&for=500ms
//	POST /sim/stall?for=5s      answers, but sends nothing
//	POST /sim/delay?by=200ms    every RTSP answer comes late; 0s ends that
//	POST /sim/password          the new password is the body
func (s *httpServer) simulate(w http.ResponseWriter, r *http.Request) {
	c := s.camera
	o, err := parseSim(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch r.PathValue("order") {
	case "alarm":
		if c.channel(o.channel) == nil {
			http.Error(w, "no such channel", http.StatusNotFound)
			return
		}
		c.RaiseAlarm(o.channel, o.kind, o.lasting)
	case "away":
		c.later(func() { c.flap(1, o.lasting) })
	case "flap":
		c.later(func() { c.flap(o.times, o.lasting) })
	case "stall":
		c.Stall(true)
		c.later(func() { c.pause(o.lasting); c.Stall(false) })
	case "delay":
		c.Delay(o.by)
	case "password":
		text, err := body(w, r)
		if err != nil {
			http.Error(w, "the password is too long", http.StatusBadRequest)
			return
		}
		c.SetPassword(string(text))
	default:
		http.Error(w, "no such order", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// simOrder is the query of an order to the simulation.
type simOrder struct {
	channel int
	kind    string
	times   int
	lasting time.Duration
	by      time.Duration
}

func parseSim(query string) (simOrder, error) {
	o := simOrder{channel: 1, kind: Motion, times: 1, lasting: 3 * time.Second}
	values, err := url.ParseQuery(query)
	if err != nil {
		return simOrder{}, fmt.Errorf("reading the order: %w", err)
	}
	if v := values.Get("type"); v != "" && len(v) <= 64 {
		o.kind = v
	}
	for name, to := range map[string]*int{"channel": &o.channel, "times": &o.times} {
		v := values.Get(name)
		if v == "" {
			continue
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 1000 {
			return simOrder{}, fmt.Errorf("%s is not a number from 1 to 1000", name)
		}
		*to = n
	}
	for name, to := range map[string]*time.Duration{"for": &o.lasting, "by": &o.by} {
		v := values.Get(name)
		if v == "" {
			continue
		}
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 || d > maxFor {
			return simOrder{}, fmt.Errorf("%s is not a duration from 0s to %s", name, maxFor)
		}
		*to = d
	}
	return o, nil
}

// later runs something in parallel with the request that ordered it, whose connection it
// may close.
func (c *Camera) later(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.tasks.Go(do)
	}
}

// flap goes away and comes back several times.
func (c *Camera) flap(times int, lasting time.Duration) {
	c.pause(50 * time.Millisecond) // let the response to the order out
	for i := range times {
		c.GoAway()
		c.pause(lasting)
		if err := c.ComeBack(); err != nil && c.ctx.Err() == nil {
			c.cfg.Logger.Error("camera: coming back", "error", err)
			return
		}
		if i < times-1 {
			c.pause(lasting)
		}
	}
}

// pause waits, or less when the camera stops.
func (c *Camera) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.ctx.Done():
	}
}
