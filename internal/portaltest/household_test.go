package portaltest

import (
	"testing"
	"time"

	"latchkey/internal/simcamera"
)

// household is a server with people and cameras as they are in life: what pages look good
// with, or do not.
type household struct {
	*server
	olga, rita *account // an owner of much, and a neighbour
}

func newHousehold(t testing.TB) *household {
	t.Helper()
	h := &household{server: serve(t)}
	h.olga, h.rita = h.register("olga@example.com", "Olga Lind"), h.register("rita.brandt@example.com", "Rita Brandt")
	tom, cleaners := h.register("tom.keller@example.com", "Tom Keller"), h.register("office@spotless.example.com", "Spotless Cleaning")

	one := func(c *simcamera.Config) { c.Channels = 1 }
	front := camera(t, "DS-4711", one)
	door := h.olga.install(front, "Front door")
	garden := h.olga.install(camera(t, "DS-4712", one), "Garden")
	garage := h.olga.install(camera(t, "DS-4713", one), "Garage")
	gone := camera(t, "DS-4714", one)
	h.olga.install(gone, "Summer house")
	h.olga.install(camera(t, "DS-7604", func(c *simcamera.Config) { c.Channels, c.Recorder, c.Model = 4, true, "DS-7604NI-K1" }), "Workshop recorder", "Workbench", "Drive", "Yard", "Back door")
	_ = gone.Close()

	neighbour := h.olga.offer(h.rita, "The neighbour", []string{door, garden}, "live_view", "playback", "alarm")
	h.rita.accept(neighbour, door)
	h.rita.accept(neighbour, garden)
	h.olga.offer(tom, "My brother", []string{door, garage}, "live_view")
	weekly := map[string]any{
		"until": time.Now().AddDate(0, 1, 0).UTC().Format(time.RFC3339),
		"hours": map[string]any{"zone": "Europe/Berlin", "spans": []any{map[string]any{"days": []string{"tue", "fri"}, "start": "08:00", "end": "12:30"}}},
	}
	cleaners.accept(h.olga.offerFor(cleaners, "Tuesdays and Fridays", weekly, []string{door}, "live_view", "two_way_audio"), door)

	boats := h.rita.install(camera(t, "DS-4715", one), "Boathouse")
	jetty := h.rita.install(camera(t, "DS-4716", one), "Jetty")
	h.olga.accept(h.rita.offer(h.olga, "Next door", []string{boats}, "live_view", "playback", "ptz"), boats)
	h.rita.offer(h.olga, "Next door", []string{jetty}, "live_view")
	h.eventually("an alarm comes", func() bool {
		front.RaiseAlarm(1, simcamera.Motion, time.Second)
		var alarms struct{ Items []any }
		h.olga.must("GET", "/alarms", nil, &alarms)
		return len(alarms.Items) > 0
	})
	h.olga.must("POST", "/stream-keys", map[string]any{"label": "Television"}, nil)
	return h
}

// install adds a device and names its cameras, the only one as the device.
func (a *account) install(c *simcamera.Camera, name string, cameras ...string) string {
	a.s.t.Helper()
	device := a.add(c, name)
	if len(cameras) == 0 {
		cameras = []string{name}
	}
	var channels []any
	for i, camera := range cameras {
		channels = append(channels, map[string]any{"channel": i + 1, "name": camera})
	}
	a.must("PATCH", "/devices/"+device, map[string]any{"channels": channels}, nil)
	return device
}
