package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"latchkey/api/internal/rest"
)

// Complaints about products like this one, each as a test (docs/manual-coverage.md).

// TestADeviceThatWasMine: a device that was in the recipient's own account can be shared
// with them, and their lists of own and received devices may meet.
func TestADeviceThatWasMine(t *testing.T) {
	v := newVillage(t)
	const body = `{"name":"Doorbell","serial":"DS-BELL-1","rtsp_url":"rtsp://192.0.2.30/1"}`
	var mine, theirs rest.Device
	v.wantStatus(v.do("POST", "/api/v1/devices", v.recipient.token, body), 201).decode(t, &mine)
	v.wantProblem(v.do("POST", "/api/v1/devices", v.owner.token, body), 409, "device_taken")
	v.wantStatus(v.do("DELETE", "/api/v1/devices/"+mine.ID, v.recipient.token, nil), 204)
	v.wantStatus(v.do("POST", "/api/v1/devices", v.owner.token, body), 201).decode(t, &theirs)
	v.wantStatus(v.do("PUT", v.path("/devices/", theirs.ID), v.owner.token, `{"channels":[{"channel":1,"privileges":["live_view"]}]}`), 200)
	v.wantStatus(v.do("POST", v.path("/devices/", theirs.ID, "/accept"), v.recipient.token, nil), 200)
	v.wantStatus(v.do("POST", "/api/v1/devices", v.recipient.token, `{"name":"Garage","rtsp_url":"rtsp://192.0.2.31/1"}`), 201)
	var may rest.PrivilegeList
	v.wantStatus(v.do("GET", "/api/v1/privileges", v.recipient.token, nil), 200).decode(t, &may)
	roles := map[string]string{}
	for _, d := range may.Items {
		roles[d.Device] = string(d.Role)
	}
	if len(roles) != 2 || roles[theirs.ID] != "recipient" {
		t.Errorf("what the recipient may use: %v", roles)
	}
}

// TestManyChannelsAtOnce: two hundred channels are granted in one request, and changed by
// one Save, which a Save of somebody who has not seen it does not undo.
func TestManyChannelsAtOnce(t *testing.T) {
	v := newVillage(t)
	const n = 200
	list := func(one string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = strings.ReplaceAll(one, "{n}", fmt.Sprint(i+1))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	var dvr rest.Device
	v.wantStatus(v.do("POST", "/api/v1/devices", v.owner.token, `{"name":"Site","channels":`+list(`{"channel":{n},"rtsp_url":"rtsp://192.0.2.40/{n}"}`)+`}`), 201).decode(t, &dvr)
	grants := func(privilege string) string {
		return `[{"device":"` + dvr.ID + `","channels":` + list(`{"channel":{n},"privileges":["`+privilege+`"]}`) + `}]`
	}
	var s rest.Share
	made := v.wantStatus(v.do("POST", "/api/v1/shares", v.owner.token, `{"recipient":{"email":"site@example.com"},"devices":`+grants("live_view")+`}`), 201)
	made.decode(t, &s)
	save := `{"remark":"","devices":` + grants("playback") + `}`
	v.wantStatus(v.do("PUT", "/api/v1/shares/"+s.ID, v.owner.token, save, "If-Match", made.Header.Get("ETag")), 200).decode(t, &s)
	v.wantProblem(v.do("PUT", "/api/v1/shares/"+s.ID, v.owner.token, save, "If-Match", made.Header.Get("ETag")), 412, "revision_changed")
	if len(s.Devices) != 1 || len(s.Devices[0].Channels) != n {
		t.Fatalf("%d devices", len(s.Devices))
	}
	for _, c := range s.Devices[0].Channels {
		if !slices.Equal(c.Privileges.Names(), []string{"playback"}) {
			t.Fatalf("channel %d has %v", c.Channel, c.Privileges.Names())
		}
	}
}

// TestNoSecretIsGivenBack: no answer about a device has an address or credentials of its
// camera, so none can be sent back changed, and no change of anything else touches them.
func TestNoSecretIsGivenBack(t *testing.T) {
	v := newVillage(t)
	const password = "the cameras own password"
	var d rest.Device
	made := v.wantStatus(v.do("POST", "/api/v1/devices", v.owner.token, `{"name":"Yard","rtsp_url":"rtsp://192.0.2.50/1","username":"viewer-of-the-yard","password":"`+password+`"}`), 201)
	made.decode(t, &d)
	kept := v.vault.cameras[d.ID]
	if kept.Password != password {
		t.Fatalf("the vault has %+v", kept)
	}
	for path, a := range map[string]answer{
		"adding":   made,
		"one":      v.wantStatus(v.do("GET", "/api/v1/devices/"+d.ID, v.owner.token, nil), 200),
		"list":     v.wantStatus(v.do("GET", "/api/v1/devices", v.owner.token, nil), 200),
		"form":     v.wantStatus(v.do("GET", "/api/v1/shares/form", v.owner.token, nil), 200),
		"renaming": v.wantStatus(v.do("PATCH", "/api/v1/devices/"+d.ID, v.owner.token, `{"name":"Court"}`), 200),
	} {
		for _, secret := range []string{password, "viewer-of-the-yard", "192.0.2.50", "redacted", "***"} {
			if strings.Contains(string(a.body), secret) {
				t.Errorf("%s shows %q: %s", path, secret, a.body)
			}
		}
	}
	v.wantProblem(v.do("PATCH", "/api/v1/devices/"+d.ID, v.owner.token, `{"name":"Court","password":"<redacted>"}`), 422, "invalid_body")
	if now := v.vault.cameras[d.ID]; now.Password != kept.Password || now.Username != kept.Username {
		t.Errorf("the vault has %+v", now)
	}
}

// TestAThousandRecipients: nothing limits with how many people a camera is shared.
func TestAThousandRecipients(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	v := newVillage(t)
	const n = 1000
	for i := range n {
		v.share(v.owner, fmt.Sprintf("guest%d@example.com", i), grant(v.spare, "live_view"))
	}
	var ways []string
	for query := "?limit=200"; query != ""; {
		var page rest.DeviceAccess
		v.wantStatus(v.do("GET", "/api/v1/devices/"+v.spare+"/access"+query, v.owner.token, nil), 200).decode(t, &page)
		for _, w := range page.Items {
			ways = append(ways, w.Recipient.Email)
		}
		if query = ""; page.Next != "" {
			query = "?limit=200&cursor=" + page.Next
		}
	}
	slices.Sort(ways)
	if ways = slices.Compact(ways); len(ways) != n {
		t.Errorf("%d ways in are listed", len(ways))
	}
}

// TestShareWithoutDevices: a share is one also while it holds no device ("No device."), and
// shows with whom and the remark.
func TestShareWithoutDevices(t *testing.T) {
	v := newVillage(t)
	v.wantStatus(v.do("POST", "/api/v1/shares", v.owner.token, `{"recipient":{"phone":"+86 189 6919 0000"},"remark":"HC TEST","devices":[]}`), 201)
	sent := v.shares(v.owner, "sent")
	i := slices.IndexFunc(sent, func(s rest.Share) bool { return s.Recipient.Phone == "+8618969190000" })
	if i < 0 || sent[i].Remark != "HC TEST" || len(sent[i].Devices) != 0 {
		t.Errorf("sent: %+v", sent)
	}
}
