package api

import (
	"strings"
	"testing"

	"latchkey/api/internal/rest"
	"latchkey/domain/device"
	"latchkey/domain/privilege"
)

// TestTheFormNeedsOneRequest: presets in the caller's language, and for each channel what
// can be given and what is ticked at first.
func TestTheFormNeedsOneRequest(t *testing.T) {
	policy, err := device.NewFirmwarePolicy(map[string]string{"*": "V5.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	v := newVillage(t)
	var dvr rest.Device
	v.wantStatus(v.do("POST", "/api/v1/devices", v.owner.token, `{"name":"Warehouse","channels":[
		{"channel":1,"name":"Gate","rtsp_url":"rtsp://192.0.2.20/1","capabilities":["live_view","ptz"]},{"channel":2,"rtsp_url":"rtsp://192.0.2.20/2","capabilities":["playback"]}]}`), 201).decode(t, &dvr)
	read := func(path, language string) (form rest.ShareForm) {
		t.Helper()
		a := v.wantStatus(v.do("GET", path, v.owner.token, nil, "Accept-Language", language), 200)
		if got := a.Header.Get("Content-Language"); got != language {
			t.Errorf("Content-Language %q, want %q", got, language)
		}
		a.decode(t, &form)
		return form
	}
	form := read("/api/v1/shares/form", "de")
	if len(form.Items) != 3 || len(form.Presets) != 4 || form.Presets[0].Name != "Nachbar" || form.Presets[3].Seconds != 86400 || form.Presets[3].Privileges.Has(privilege.Playback) {
		t.Fatalf("the form: %+v", form)
	}
	form = read("/api/v1/shares/form?device="+dvr.ID, "en")
	if len(form.Items) != 1 || form.Items[0].Device != dvr.ID || form.Presets[0].Name != "Neighbour" || form.Items[0].NeedsFirmware != "" {
		t.Fatalf("of one device: %+v", form)
	}
	for i, want := range []rest.OfferedChannel{
		{Channel: 1, Name: "Gate", Privileges: privilege.LiveView | privilege.PTZ, Defaults: privilege.LiveView},
		{Channel: 2, Privileges: privilege.Playback},
	} {
		if got := form.Items[0].Channels[i]; got != want {
			t.Errorf("channel %d: %+v, want %+v", i+1, got, want)
		}
	}
	missing := v.wantProblem(v.do("GET", "/api/v1/shares/form?device=nothing", v.owner.token, nil), 404, "device_not_found")
	if p := v.wantProblem(v.do("GET", "/api/v1/shares/form?device="+dvr.ID, v.stranger.token, nil), 404, "device_not_found"); p.Detail != missing.Detail {
		t.Errorf("somebody else's device is answered %q", p.Detail)
	}
	var list rest.PresetList
	v.wantStatus(v.do("GET", "/api/v1/presets", v.owner.token, nil), 200).decode(t, &list)
	if len(list.Items) != 4 || list.Items[3].ID != "installer" || list.Items[3].Name != "Installer" {
		t.Errorf("presets: %+v", list)
	}

	old := newVillage(t, func(c *Config) { c.Firmware = policy })
	var of rest.ShareForm
	old.wantStatus(old.do("GET", "/api/v1/shares/form", old.owner.token, nil), 200).decode(t, &of)
	if of.Items[0].NeedsFirmware != "V5.0.0" {
		t.Errorf("a device that cannot be shared: %+v", of.Items[0])
	}
}

// TestNobodyPassesOn: what was shared with somebody is not theirs to share; they are
// answered as if it did not exist.
func TestNobodyPassesOn(t *testing.T) {
	v := newVillage(t)
	v.accept()
	try := func(device string) problemDocument {
		t.Helper()
		p := v.wantProblem(v.do("POST", "/api/v1/shares", v.recipient.token, map[string]any{
			"recipient": map[string]any{"email": v.stranger.email}, "devices": []any{grant(device, "live_view")},
		}), 404, "device_not_found")
		if p.Errors["/devices/0/device"] == "" {
			t.Errorf("the field is not named: %+v", p)
		}
		p.RequestID = ""
		return p
	}
	const nothing = "cam-nothing22"
	shared, missing := try(v.device), try(nothing)
	if strings.ReplaceAll(shared.Detail, v.device, nothing) != missing.Detail || shared.Errors["/devices/0/device"] != missing.Errors["/devices/0/device"] {
		t.Errorf("a shared device is answered %+v, a missing one %+v", shared, missing)
	}
	if sent := v.shares(v.recipient, "sent"); len(sent) != 0 {
		t.Errorf("the recipient shares %+v", sent)
	}
}

// TestWithdrawnUnseen: of an invitation that its owner withdrew, no list has anything.
func TestWithdrawnUnseen(t *testing.T) {
	v := newVillage(t)
	v.wantStatus(v.do("DELETE", v.path("/devices/", v.device), v.owner.token, nil), 204)
	if list := v.invitations(v.recipient, ""); list.Count != 0 {
		t.Errorf("invitations: %+v", list)
	}
	for _, s := range v.shares(v.recipient, "received") {
		if len(s.Devices) != 0 {
			t.Errorf("received: %+v", s)
		}
	}
	v.wantProblem(v.do("POST", v.path("/devices/", v.device, "/accept"), v.recipient.token, nil), 409, "not_invited")
}
