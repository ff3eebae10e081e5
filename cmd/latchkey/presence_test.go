package main

import (
	"testing"

	"latchkey/streaming/device"
)

// TestReasonsOfInterruptions: a device whose streams break off is told as such, although it is
// online.
func TestReasonsOfInterruptions(t *testing.T) {
	for label, want := range map[string]string{
		"ended by camera": "ended", "network": "ended", "timeout": "ended", "protocol": "ended", "silent": "silent", "noise": "unsupported", "too large": "unsupported",
	} {
		watch := device.NewWatch(device.WatchConfig{})
		reached(watch)("cam-1", "")
		dropped(watch)("cam-1", label)
		got := presence{watch}.Of("cam-1")
		if i := got.Interruptions; got.State != "online" || i.Count != 1 || i.Reason != want || i.Last.IsZero() {
			t.Errorf("%q: %+v, want %s", label, got, want)
		}
	}
}

// TestReasonsOfPublishing: a device that publishes no more is offline.
func TestReasonsOfPublishing(t *testing.T) {
	for silent, want := range map[bool]string{false: "ended", true: "silent"} {
		watch := device.NewWatch(device.WatchConfig{})
		reached(watch)("cam-1", "")
		unpublished(watch)("cam-1", silent)
		if got := (presence{watch}).Of("cam-1"); got.State != "offline" || got.Reason != want {
			t.Errorf("%v: %+v, want %s", silent, got, want)
		}
	}
}

// TestReasonsOfDials: what the pool says of a camera is told in the words of the API. One
// that refuses to play responds.
func TestReasonsOfDials(t *testing.T) {
	for label, want := range map[string]device.Presence{
		"":                     {State: device.Online},
		"refused":              {State: device.Offline, Reason: device.NotReachable},
		"timeout":              {State: device.Offline, Reason: device.Timeout},
		"status 401":           {State: device.Online, Reason: device.WrongPassword},
		"status 403":           {State: device.Online, Reason: device.Refused},
		"status 404":           {State: device.Online, Reason: device.NoSuchPath},
		"status 453":           {State: device.Online, Reason: device.Busy},
		"status 4xx":           {State: device.Online, Reason: device.Refused},
		"status 503":           {State: device.Online, Reason: device.Busy},
		"status 5xx":           {State: device.Online, Reason: device.Refused},
		"status 3xx":           {State: device.Online, Reason: device.Unsupported},
		"silent":               {State: device.Online, Reason: device.Silent},
		"too large":            {State: device.Online, Reason: device.Unsupported},
		"redirected elsewhere": {State: device.Online, Reason: device.Unsupported},
	} {
		watch := device.NewWatch(device.WatchConfig{})
		reached(watch)("cam-1", label)
		got := watch.Of("cam-1")
		if got.State != want.State || got.Reason != want.Reason {
			t.Errorf("%q: %s, %q, want %s, %q", label, got.State, got.Reason, want.State, want.Reason)
		}
	}
}
