package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/projections/access"
)

// memoryPTZ notes the orders, and answers what it is told.
type memoryPTZ struct {
	orders []string
	last   PTZUse
	err    error
	at     *PTZVector
}

func (m *memoryPTZ) note(u PTZUse, format string, args ...any) error {
	m.last = u
	if m.err == nil {
		m.orders = append(m.orders, fmt.Sprintf(format, args...))
	}
	return m.err
}

func (m *memoryPTZ) Move(_ context.Context, u PTZUse, v PTZVector, stopAfter time.Duration) error {
	return m.note(u, "move %v %v", v, stopAfter)
}
func (m *memoryPTZ) Stop(_ context.Context, u PTZUse) error { return m.note(u, "stop") }
func (m *memoryPTZ) By(_ context.Context, u PTZUse, v PTZVector) error {
	return m.note(u, "by %v", v)
}
func (m *memoryPTZ) To(_ context.Context, u PTZUse, v PTZVector) error { return m.note(u, "to %v", v) }
func (m *memoryPTZ) ToPreset(_ context.Context, u PTZUse, preset string) error {
	return m.note(u, "preset %s", preset)
}
func (m *memoryPTZ) Release(_ context.Context, u PTZUse) error { return m.note(u, "release") }
func (m *memoryPTZ) Presets(_ context.Context, u PTZUse) ([]PTZPreset, error) {
	return []PTZPreset{{"1", "Gate"}}, m.note(u, "presets")
}
func (m *memoryPTZ) Status(_ context.Context, u PTZUse) (PTZStatus, error) {
	return PTZStatus{At: m.at, Moving: true, Own: true}, m.note(u, "status")
}

func ptzVillage(t *testing.T) (*village, *memoryPTZ, string) {
	t.Helper()
	m := &memoryPTZ{}
	v := newVillage(t, func(c *Config) { c.PTZ = m })
	return v, m, "/api/v1/devices/" + v.device + "/channels/1/ptz"
}

// TestPTZ: every order is passed on as it was meant.
func TestPTZ(t *testing.T) {
	v, m, base := ptzVillage(t)
	for _, c := range []struct {
		method, path string
		body         any
		status       int
		want         string
	}{
		{"POST", "/move", `{"pan":0.5,"tilt":-1,"stop_after":2.5}`, 204, "move {0.5 -1 0} 2.5s"},
		{"POST", "/move", `{}`, 204, "move {0 0 0} 5s"},
		{"POST", "/stop", nil, 204, "stop"},
		{"POST", "/relative", `{"zoom":1}`, 204, "by {0 0 1}"},
		{"POST", "/absolute", `{"pan":1,"tilt":0,"zoom":0.25}`, 204, "to {1 0 0.25}"},
		{"POST", "/presets/gate-1/goto", nil, 204, "preset gate-1"},
		{"DELETE", "", nil, 204, "release"},
	} {
		m.orders = nil
		v.wantStatus(v.do(c.method, base+c.path, v.owner.token, c.body), c.status)
		if got := strings.Join(m.orders, ","); got != c.want {
			t.Errorf("%s: %q, want %q", c.path, got, c.want)
		}
	}
	if string(m.last.Account) != v.owner.id || string(m.last.Device) != v.device || m.last.Channel != 1 || m.last.Session != v.owner.token || !m.last.Address.IsValid() {
		t.Errorf("%+v", m.last)
	}
	var presets rest.PTZPresetList
	v.wantStatus(v.do("GET", base+"/presets", v.owner.token, nil), 200).decode(t, &presets)
	if fmt.Sprint(presets.Items) != "[{1 Gate}]" {
		t.Errorf("%+v", presets)
	}
	for _, at := range []*PTZVector{nil, {}, {0.5, -0.5, 1}} {
		m.at = at
		var status rest.PTZStatus
		a := v.wantStatus(v.do("GET", base+"/status", v.owner.token, nil), 200)
		if a.decode(t, &status); status.Mover != rest.PTZStatusMoverYou || !status.Moving || (status.Position == nil) != (at == nil) {
			t.Errorf("%s", a.body)
		}
	}
}

// TestBadPTZChangesNothing: what is out of range, or no number, is refused with its field.
func TestBadPTZChangesNothing(t *testing.T) {
	v, m, base := ptzVillage(t)
	for _, c := range []struct{ path, body, field string }{
		{"/move", `{"pan":1.01}`, "/pan"}, {"/move", `{"tilt":-1.5}`, "/tilt"}, {"/move", `{"zoom":"1"}`, "/zoom"}, {"/move", `{"pan":null}`, "/pan"},
		{"/move", `{"stop_after":0}`, "/stop_after"}, {"/move", `{"stop_after":11}`, "/stop_after"}, {"/move", `{"speed":1}`, "/speed"},
		{"/relative", `{"pan":2}`, "/pan"}, {"/relative", `{"stop_after":2}`, "/stop_after"},
		{"/absolute", `{"pan":0,"tilt":0,"zoom":-0.1}`, "/zoom"}, {"/absolute", `{"pan":0,"tilt":0}`, "/zoom"},
	} {
		a := v.wantStatus(v.do("POST", base+c.path, v.owner.token, c.body), 422)
		if p := a.problem(t); p.Code != "invalid_body" || p.Errors[c.field] == "" {
			t.Errorf("%s %s: %s", c.path, c.body, a.body)
		}
	}
	for _, body := range []string{`{"pan":NaN}`, `{"pan":Infinity}`, `{"pan":1e999}`, `[]`, ``} {
		if a := v.do("POST", base+"/move", v.owner.token, body); a.StatusCode != 400 && a.StatusCode != 422 {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	for _, path := range []string{"0", "512", "-1", "x", "1.5"} {
		v.wantStatus(v.do("POST", "/api/v1/devices/"+v.device+"/channels/"+path+"/ptz/stop", v.owner.token, nil), 404)
	}
	if len(m.orders) != 0 {
		t.Errorf("%q", m.orders)
	}
}

// TestPTZRefusals: each has its code, and none has anything of the camera.
func TestPTZRefusals(t *testing.T) {
	v, m, base := ptzVillage(t)
	secret := errors.New("http://192.0.2.10 admin hunter2")
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{&Denied{access.NotFound}, 404, "device_not_found"}, {&Denied{access.Forbidden}, 403, "privilege_missing"}, {&Denied{access.Unavailable}, 503, "unavailable"},
		{ErrPTZBusy, 409, "ptz_busy"}, {ErrPTZNotAvailable, 409, "ptz_not_available"}, {ErrPTZNotNow, 503, "unavailable"},
		{ErrNoSuchPreset, 404, "preset_not_found"}, {&DeviceFault{Reason: "refused"}, 502, "camera_refused"}, {&DeviceFault{Reason: "wrong_password"}, 502, "camera_refused"}, {&DeviceFault{Reason: "not_reachable"}, 502, "camera_unavailable"},
	} {
		m.err = fmt.Errorf("%w: %w", c.err, secret)
		for method, paths := range map[string][]string{"POST": {"/stop", "/presets/1/goto"}, "GET": {"/status", "/presets"}} {
			for _, path := range paths {
				a := v.wantStatus(v.do(method, base+path, v.owner.token, nil), c.status)
				if p := a.problem(t); p.Code != c.code || strings.Contains(string(a.body), "192.0.2.10") || strings.Contains(string(a.body), "hunter2") {
					t.Errorf("%v: %s", c.err, a.body)
				}
			}
		}
		v.clock.advance(time.Minute)
	}
	m.err = nil
	v.wantStatus(v.do("POST", base+"/stop", "", nil), 401)
	v.wantStatus(v.do("POST", "/api/v1/devices/nowhere/channels/1/ptz/release", v.owner.token, nil), 404)
	v.wantStatus(v.do("POST", base+"/stop", v.owner.token, nil, "If-Match", `"1"`), 412)
	if len(m.orders) != 0 {
		t.Errorf("%q", m.orders)
	}
}

// TestNoAnswerOfPTZWithoutAPermit: what PTZ permits a moment after the answer was refused a
// permit is not sent, as nothing would cut it.
func TestNoAnswerOfPTZWithoutAPermit(t *testing.T) {
	v, m, base := ptzVillage(t)
	m.at = &PTZVector{}
	v.accept() // live view and playback
	v.wantProblem(v.do("GET", base+"/status", v.recipient.token, nil), 403, "privilege_missing")
	v.wantProblem(v.do("GET", base+"/presets", v.stranger.token, nil), 404, "device_not_found")
}

// TestTheOwnerIsToldWhyACameraIsNotMoved: whichever the reason.
func TestTheOwnerIsToldWhyACameraIsNotMoved(t *testing.T) {
	v, m, base := ptzVillage(t)
	for reason, words := range reasonsOfDevices {
		m.err = &DeviceFault{Reason: reason}
		a := v.wantStatus(v.do("GET", base+"/status", v.owner.token, nil), 502)
		if p := a.problem(t); !strings.HasSuffix(p.Detail, words) {
			t.Errorf("%s: %q", reason, p.Detail)
		}
	}
	for _, reason := range []string{"certificate_not_trusted", "description_unreadable", "busy"} {
		if reasonsOfDevices[reason] == "" {
			t.Errorf("%s has no words", reason)
		}
	}
}

// TestPTZOrdersAreLimited: an account cannot flood a camera; but it can always stop one.
func TestPTZOrdersAreLimited(t *testing.T) {
	v, _, base := ptzVillage(t)
	limited := 0
	for range ptzBurst + 10 {
		if a := v.do("POST", base+"/move", v.owner.token, `{"pan":1}`); a.StatusCode == http.StatusTooManyRequests {
			limited++
		}
		v.wantStatus(v.do("POST", base+"/stop", v.owner.token, nil), 204)
	}
	if limited != 10 {
		t.Errorf("%d of 10 too many were refused", limited)
	}
	v.wantStatus(v.do("DELETE", base, v.owner.token, nil), 204)
}

// TestWithoutPTZ: a server that moves nothing says so.
func TestWithoutPTZ(t *testing.T) {
	v := newVillage(t)
	a := v.wantStatus(v.do("POST", "/api/v1/devices/"+v.device+"/channels/1/ptz/stop", v.owner.token, nil), 409)
	if a.problem(t).Code != "ptz_not_available" {
		t.Errorf("%s", a.body)
	}
}
