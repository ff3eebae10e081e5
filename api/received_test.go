package api

import (
	"fmt"
	"testing"

	"latchkey/api/internal/rest"
)

// TestReceivedDetails: one request tells the recipient what a device is, what they may do
// with which of its cameras, from whom it is, and their own name for it; of cameras that
// are not shared, nothing.
func TestReceivedDetails(t *testing.T) {
	v := newVillage(t)
	var dvr rest.Device
	v.wantStatus(v.do("POST", "/api/v1/devices", v.owner.token, `{"name":"Warehouse","channels":[
		{"channel":1,"name":"Gate","rtsp_url":"rtsp://192.0.2.20/1"},{"channel":2,"name":"Safe","rtsp_url":"rtsp://192.0.2.20/2"}]}`), 201).decode(t, &dvr)
	changed := v.do("PUT", v.path("/devices/", dvr.ID), v.owner.token, `{"channels":[{"channel":1,"privileges":["live_view","ptz"]}]}`)
	v.wantStatus(changed, 200)
	v.wantStatus(v.do("POST", v.path("/devices/", dvr.ID, "/accept"), v.recipient.token, nil), 200)
	named := v.wantStatus(v.do("PUT", v.path("/devices/", dvr.ID, "/domain"), v.recipient.token, `{"domain":"stock"}`), 200)
	a := v.wantStatus(v.do("GET", v.path(), v.recipient.token, nil), 200)
	if a.Header.Get("ETag") != named.Header.Get("ETag") {
		t.Errorf("the command answers %s, the query %s", named.Header.Get("ETag"), a.Header.Get("ETag"))
	}
	var s rest.Share
	a.decode(t, &s)
	d := s.Devices[1]
	if d.Name != "Warehouse" || d.Domain != "stock" || s.From.Email != v.owner.email || s.From.Name != "alice" || len(d.Channels) != 1 ||
		len(d.Cameras) != 1 || d.Cameras[0] != (rest.LinkedCamera{Channel: 1, Name: "Gate"}) {
		t.Errorf("details: %s", a.body)
	}
	for _, list := range v.shares(v.recipient, "received") {
		for _, d := range list.Devices {
			if d.Cameras != nil {
				t.Errorf("a list has the cameras: %+v", d)
			}
		}
	}
	v.wantStatus(v.do("GET", v.path(), v.owner.token, nil), 200).decode(t, &s)
	v.wantStatus(v.do("PUT", v.path(), v.owner.token, s), 200) // what was read may be sent back
}

// TestLeaving: a device can be left whatever state it is in; it is then in none of the
// recipient's lists, and the owner sees that they left.
func TestLeaving(t *testing.T) {
	for name, prepare := range map[string]func(v *village){
		"invited": func(*village) {},
		"dismissed": func(v *village) {
			v.wantStatus(v.do("POST", v.path("/devices/", v.device, "/dismiss"), v.recipient.token, nil), 204)
		},
		"accepted":     func(v *village) { v.accept() },
		"share paused": func(v *village) { v.accept(); v.wantStatus(v.do("POST", v.path("/pause"), v.owner.token, nil), 200) },
		"device paused": func(v *village) {
			v.accept()
			v.wantStatus(v.do("POST", v.path("/devices/", v.device, "/pause"), v.owner.token, nil), 200)
		},
		"pending, paused": func(v *village) { v.wantStatus(v.do("POST", v.path("/pause"), v.owner.token, nil), 200) },
		"expired": func(v *village) {
			v.accept()
			v.wantStatus(v.do("PUT", v.path("/devices/", v.device), v.owner.token, `{"channels":[{"channel":1,"privileges":["live_view"]}],"terms":{"until":"`+v.clock.Now().Add(2*3600e9).UTC().Format("2006-01-02T15:04:05Z")+`"}}`), 200)
			v.clock.advance(3 * 3600e9)
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVillage(t)
			prepare(v)
			v.wantStatus(v.do("DELETE", v.path("/devices/", v.device), v.recipient.token, nil), 204)
			received, privileges := v.shares(v.recipient, "received"), rest.PrivilegeList{}
			v.wantStatus(v.do("GET", "/api/v1/privileges", v.recipient.token, nil), 200).decode(t, &privileges)
			for _, s := range received {
				if len(s.Devices) != 0 {
					t.Errorf("received: %+v", s.Devices)
				}
			}
			if n := v.invitations(v.recipient, "").Count + v.invitations(v.recipient, "?dismissed=true").Count; n != 0 || len(privileges.Items) != 0 {
				t.Errorf("%d invitations, privileges %+v", n, privileges.Items)
			}
			if sent := v.shares(v.owner, "sent"); len(sent) != 1 || len(sent[0].Devices) != 1 || sent[0].Devices[0].Status != "left" {
				t.Errorf("the owner sees %+v", sent)
			}
		})
	}
}

// TestALargeShareIsSentBack: whatever its size, what was read may be saved as it is.
func TestALargeShareIsSentBack(t *testing.T) {
	v := newVillage(t)
	var channels []map[string]any
	var grants []map[string]any
	for n := 1; n <= 200; n++ {
		channels = append(channels, map[string]any{"channel": n, "name": fmt.Sprint("Camera ", n), "rtsp_url": fmt.Sprint("rtsp://192.0.2.20/", n)})
		grants = append(grants, map[string]any{"channel": n, "privileges": []string{"live_view"}})
	}
	var dvr rest.Device
	v.wantStatus(v.do("POST", "/api/v1/devices", v.owner.token, map[string]any{"name": "Warehouse", "channels": channels}), 201).decode(t, &dvr)
	v.wantStatus(v.do("PUT", v.path("/devices/", dvr.ID), v.owner.token, map[string]any{"channels": grants}), 200)
	read := v.wantStatus(v.do("GET", v.path(), v.owner.token, nil), 200)
	var s rest.Share
	read.decode(t, &s)
	if len(s.Devices) != 2 || len(s.Devices[1].Cameras) != 200 {
		t.Fatalf("%s", read.body)
	}
	saved := v.wantStatus(v.do("PUT", v.path(), v.owner.token, s, "If-Match", read.Header.Get("ETag")), 200)
	if saved.Header.Get("ETag") != read.Header.Get("ETag") {
		t.Errorf("what was read changed something: %s became %s", read.Header.Get("ETag"), saved.Header.Get("ETag"))
	}
	v.wantStatus(v.do("PUT", v.path("/devices/", dvr.ID), v.owner.token, s.Devices[1]), 200)
}
