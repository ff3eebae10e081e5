package api

import (
	"context"
	"net/http"
	"testing"

	"latchkey/internal/app"
)

// aDevice is a network with one device on it.
type aDevice struct{ searches bool }

func (a aDevice) Look(_ context.Context, _ string, d DeviceToCheck) (CheckedDevice, error) {
	if d.Password != "hunter2" {
		return CheckedDevice{}, app.NotFoundAt(&app.NotProven{Reason: "wrong_password", Service: "rtsp"})
	}
	if d.Address != "192.0.2.10" {
		return CheckedDevice{}, app.NotFoundAt(&app.NotProven{Reason: "not_reachable", Service: "rtsp"})
	}
	return CheckedDevice{
		RTSPURL: "rtsp://192.0.2.10/Streaming/Channels/101", ONVIFURL: "http://192.0.2.10", Model: "DS-2CD2042WD-I", Serial: "FOUND-1",
		Channels: []CheckedChannel{{1, "Door"}}, Picture: []byte{0xff, 0xd8, 0xff},
	}, nil
}

func (a aDevice) Neighbours(context.Context, string) ([]Neighbour, error) {
	if !a.searches {
		return nil, ErrSearchOff
	}
	return []Neighbour{{Address: "http://192.0.2.10/onvif/device_service", Host: "192.0.2.10", Name: "Front <door>", Model: "DS-2CD2042WD-I"}}, nil
}

func TestDeviceChecks(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Finder = aDevice{searches: true} })
	alice := w.person("alice").token
	check := func(address, password string) answer {
		return w.do("POST", "/api/v1/device-checks", alice, map[string]any{"address": address, "username": "admin", "password": password})
	}
	var found struct {
		RtspURL string `json:"rtsp_url"`
		Model   string
		Picture []byte
	}
	w.wantStatus(check("192.0.2.10", "hunter2"), http.StatusOK).decode(t, &found)
	if found.RtspURL != "rtsp://192.0.2.10/Streaming/Channels/101" || found.Model != "DS-2CD2042WD-I" || len(found.Picture) != 3 {
		t.Errorf("%+v", found)
	}
	w.wantProblem(check("192.0.2.10", "wrong"), http.StatusUnprocessableEntity, "device_wrong_password")
	w.wantProblem(check("192.0.2.11", "hunter2"), http.StatusUnprocessableEntity, "device_unreachable")
	w.wantProblem(check("", "hunter2"), http.StatusUnprocessableEntity, "invalid_body")

	var list struct{ Found []struct{ Host, Name string } }
	w.wantStatus(w.do("POST", "/api/v1/device-searches", alice, nil), http.StatusOK).decode(t, &list)
	if len(list.Found) != 1 || list.Found[0].Name != "Front <door>" {
		t.Errorf("%+v", list)
	}
	off := newWorld(t, func(c *Config) { c.Finder = aDevice{} })
	off.wantProblem(off.do("POST", "/api/v1/device-searches", off.person("alice").token, nil), http.StatusForbidden, "device_search_off")
	none := newWorld(t)
	none.wantProblem(none.do("POST", "/api/v1/device-searches", none.person("alice").token, nil), http.StatusForbidden, "device_search_off")
}
