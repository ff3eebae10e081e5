package api

import (
	"encoding/json"
	"testing"

	"latchkey/api/internal/rest"
)

// TestGivenBack: what a read of a share returns can be sent back as it is, and
// changes nothing, whatever became of its devices.
func TestGivenBack(t *testing.T) {
	w := newWorld(t)
	olga, rita := w.person("olga"), w.person("rita")
	accepted, refused, left, open := w.camera(olga, "one"), w.camera(olga, "two"), w.camera(olga, "three"), w.camera(olga, "four")
	s := w.share(olga, rita.email, grant(accepted, "live_view", "ptz"), grant(refused, "live_view"), grant(left, "live_view"), grant(open, "playback"))
	at := "/api/v1/shares/" + s.ID
	w.wantStatus(w.do("POST", at+"/devices/"+accepted+"/accept", rita.token, nil), 200)
	w.wantStatus(w.do("POST", at+"/devices/"+refused+"/reject", rita.token, nil), 200)
	w.wantStatus(w.do("DELETE", at+"/devices/"+left, rita.token, nil), 204)

	read := w.wantStatus(w.do("GET", at, olga.token, nil), 200)
	back := w.wantStatus(w.do("PUT", at, olga.token, json.RawMessage(read.body)), 200)
	if back.Header.Get("ETag") != read.Header.Get("ETag") || string(back.body) != string(read.body) {
		t.Errorf("sent back\n%s%s\nreturned\n%s%s", read.Header.Get("ETag"), read.body, back.Header.Get("ETag"), back.body)
	}
	var share rest.Share
	read.decode(t, &share)
	if len(share.Devices) != 4 {
		t.Fatalf("%d devices: %s", len(share.Devices), read.body)
	}
	for _, d := range share.Devices {
		one := w.wantStatus(w.do("PUT", at+"/devices/"+d.Device, olga.token, d), 200)
		if one.Header.Get("ETag") != read.Header.Get("ETag") {
			t.Errorf("%s, %s, changed the share", d.Device, d.Status)
		}
	}

	// Left out it is gone for good; taken out alone, too; with channels it is invited again.
	share.Devices = []rest.ShareDevice{share.Devices[0], share.Devices[2], share.Devices[3]}
	w.wantDevices(w.do("PUT", at, olga.token, share), map[string]rest.ShareDeviceStatus{accepted: "accepted", left: "left", open: "invited"})
	w.wantStatus(w.do("DELETE", at+"/devices/"+left, olga.token, nil), 204)
	w.wantProblem(w.do("DELETE", at+"/devices/"+left, olga.token, nil), 404, "device_not_in_share")
	w.wantDevices(w.do("GET", at, olga.token, nil), map[string]rest.ShareDeviceStatus{accepted: "accepted", open: "invited"})
	w.wantDevices(w.do("PUT", at+"/devices/"+refused, olga.token, grant(refused, "playback")), map[string]rest.ShareDeviceStatus{
		accepted: "accepted", open: "invited", refused: "invited",
	})
	w.wantProblem(w.do("PUT", at+"/devices/"+left, olga.token, map[string]any{"channels": []any{}, "device": left}), 422, "no_channels")
}

func (w *world) wantDevices(a answer, want map[string]rest.ShareDeviceStatus) {
	w.t.Helper()
	var s rest.Share
	w.wantStatus(a, 200).decode(w.t, &s)
	if len(s.Devices) != len(want) {
		w.t.Errorf("%d devices; want %v: %s", len(s.Devices), want, a.body)
	}
	for _, d := range s.Devices {
		if d.Status != want[d.Device] {
			w.t.Errorf("%s is %s; want %s", d.Device, d.Status, want[d.Device])
		}
	}
}

// TestUnreadableGivenBack: what could not be read is not overwritten when the rest
// is sent back.
func TestUnreadableGivenBack(t *testing.T) {
	v := newVillage(t)
	sent := v.shares(v.owner, "sent")
	at := "/api/v1/shares/" + sent[0].ID
	v.vault.lose("login-" + v.vault.LoginHash("email", v.recipient.email))
	v.vault.lose(v.owner.id)
	read := v.wantStatus(v.do("GET", at, v.owner.token, nil), 200)
	back := v.wantStatus(v.do("PUT", at, v.owner.token, json.RawMessage(read.body)), 200)
	if back.Header.Get("ETag") != read.Header.Get("ETag") {
		t.Errorf("%s sent back changed the share: %s", read.body, back.body)
	}
}

// TestNoRemarkGivenBack: a share without a remark is one that can be sent back.
func TestNoRemarkGivenBack(t *testing.T) {
	w := newWorld(t)
	olga := w.person("olga")
	s := w.wantStatus(w.do("POST", "/api/v1/shares", olga.token, map[string]any{"recipient": map[string]any{"email": "rita@example.com"}}), 201)
	at := s.Header.Get("Location")
	read := w.wantStatus(w.do("GET", at, olga.token, nil), 200)
	back := w.wantStatus(w.do("PUT", at, olga.token, json.RawMessage(read.body)), 200)
	if back.Header.Get("ETag") != read.Header.Get("ETag") {
		t.Errorf("%s sent back changed the share: %s", read.body, back.body)
	}
}
