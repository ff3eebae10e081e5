package app

import (
	"context"
	"errors"
	"strings"
	"testing"

	"latchkey/domain/request"
)

// TestAskingTellsNothing: a request for a device of another account is the same work and
// has the same answer as one for a serial that nobody has.
func TestAskingTellsNothing(t *testing.T) {
	w := newWorld(t)
	for _, key := range []string{"", "key"} {
		var calls, written [2]int
		for i, serial := range []string{"cam-1", "cam-9"} {
			w.log.calls = 0
			m := Meta{Account: w.bob}
			if key != "" {
				m = Meta{Account: w.eve, IdempotencyKey: key + serial}
			}
			if _, err := w.devices.RequestAccess(ctx, m, serial, "Flat 3"); err != nil {
				t.Fatal(err)
			}
			calls[i], written[i] = w.log.calls, len(w.log.streams[requestStream(request.ID(serial, m.Account))])
		}
		if calls[0] != calls[1] || written != [2]int{1, 1} {
			t.Errorf("the log is asked %v times, and has %v events", calls, written)
		}
	}
	for name := range w.log.streams {
		for _, e := range w.log.streams[name] {
			if strings.Contains(string(e.Data), "Flat 3") {
				t.Errorf("%s has the message in clear", name)
			}
		}
	}
}

type asked int

func (a asked) AccessRequestsFor(context.Context, string) (int, error) { return int(a), nil }

// TestADeviceIsAskedForSoOften: beyond the limit nothing is written, and nothing tells.
func TestADeviceIsAskedForSoOften(t *testing.T) {
	w := newWorld(t)
	for n, want := range map[int]int{mostAsked: 0, mostAsked - 1: 1} {
		w.devices.asked = asked(n)
		for range 2 { // the second is too soon
			if _, err := w.devices.RequestAccess(ctx, Meta{Account: w.eve}, "CAM-1", ""); err != nil {
				t.Fatal(err)
			}
		}
		stream := requestStream(request.ID("cam-1", w.eve))
		if got := len(w.log.streams[stream]); got != want {
			t.Errorf("with %d requests: %d events; want %d", n, got, want)
		}
		delete(w.log.streams, stream)
	}
}

// TestRequestsAreLimited: an account asks a limited number of times a day.
func TestRequestsAreLimited(t *testing.T) {
	w := newWorld(t)
	w.devices.core.quotas = &counting{quota: QuotaRequests, most: 2}
	for i, serial := range []string{"cam-1", "cam-9", "cam-8"} {
		_, err := w.devices.RequestAccess(ctx, Meta{Account: w.eve}, serial, "")
		if e, ok := errors.AsType[*Error](err); ok != (i == 2) || ok && (e.Quota != QuotaRequests || e.Kind != TooSoon) {
			t.Errorf("request %d: %v", i, err)
		}
	}
}
