package api

import (
	"testing"

	"latchkey/api/internal/rest"
)

func TestWhoCanUseADevice(t *testing.T) {
	v := newVillage(t)
	path := "/api/v1/devices/" + v.device + "/access"
	access := func() (a rest.DeviceAccess) {
		t.Helper()
		v.wantStatus(v.do("GET", path, v.owner.token, nil), 200).decode(t, &a)
		return a
	}
	a := access()
	if len(a.Items) != 1 || a.Items[0].Share != v.id || a.Items[0].Status != "invited" || a.Items[0].Recipient.Email != v.recipient.email || a.Sessions.Count != 1 {
		t.Fatalf("%+v", a)
	}
	v.accept()
	v.wantStatus(v.do("POST", "/api/v1/stream-keys", v.owner.token, map[string]any{"label": "TV"}), 201)
	v.wantStatus(v.do("POST", v.path("/pause"), v.owner.token, nil), 200)
	a = access()
	if len(a.Items) != 2 || a.Items[0].Status != "accepted" || !a.Items[0].Paused || a.Items[1].Kind != rest.DeviceWayKindStreamKey || a.Items[1].StreamKey.Label != "TV" {
		t.Fatalf("%+v", a)
	}
	var first rest.DeviceAccess
	v.wantStatus(v.do("GET", path+"?limit=1", v.owner.token, nil), 200).decode(t, &first)
	if len(first.Items) != 1 || first.Next == "" {
		t.Errorf("the first page: %+v", first)
	}
	for query, want := range map[string]int{"?query=BOB": 1, "?query=nobody": 0, "?order=newest": 2} {
		var some rest.DeviceAccess
		v.wantStatus(v.do("GET", path+query, v.owner.token, nil), 200).decode(t, &some)
		if len(some.Items) != want || want == 2 && some.Items[0].Kind != rest.DeviceWayKindStreamKey {
			t.Errorf("%s: %+v", query, some.Items)
		}
	}
	for _, path := range []string{path, "/api/v1/devices/" + v.device + "/viewers"} {
		for _, other := range []person{v.recipient, v.stranger} {
			v.wantProblem(v.do("GET", path, other.token, nil), 404, "device_not_found")
		}
	}
}

func TestWhetherAndWhy(t *testing.T) {
	v := newVillage(t)
	ask := func(who person, channel, privilege string) (c rest.PrivilegeCheck) {
		t.Helper()
		v.wantStatus(v.do("GET", "/api/v1/privileges/check?device="+v.device+"&channel="+channel+"&privilege="+privilege, who.token, nil), 200).decode(t, &c)
		return c
	}
	missing := func(who person, device, channel string) {
		t.Helper()
		v.wantProblem(v.do("GET", "/api/v1/privileges/check?device="+device+"&channel="+channel+"&privilege=live_view", who.token, nil), 404, "device_not_found")
	}
	missing(v.recipient, v.device, "1")
	v.accept()
	if c := ask(v.owner, "1", "ptz"); !c.Allowed || c.Reason != "owner" || c.Via.Share != "" {
		t.Errorf("the owner: %+v", c)
	}
	if c := ask(v.recipient, "1", "live_view"); !c.Allowed || c.Reason != "shared" || c.Via.Share != v.id {
		t.Errorf("the recipient: %+v", c)
	}
	if c := ask(v.recipient, "1", "ptz"); c.Allowed || c.Reason != "not_granted" {
		t.Errorf("beyond the share: %+v", c)
	}
	missing(v.stranger, v.device, "1")
	missing(v.owner, "no-such-device", "1")
	missing(v.owner, v.device, "2")
	v.wantStatus(v.do("POST", v.path("/pause"), v.owner.token, nil), 200)
	if c := ask(v.recipient, "1", "live_view"); c.Allowed || c.Reason != "share_paused" {
		t.Errorf("paused: %+v", c)
	}
	for _, query := range []string{"", "?device=x&channel=0&privilege=ptz", "?device=x&channel=1&privilege=all"} {
		v.wantProblem(v.do("GET", "/api/v1/privileges/check"+query, v.owner.token, nil), 400, "invalid_parameter")
	}
}

// TestAMissingParameterIsNamed: it is required, and not text.
func TestAMissingParameterIsNamed(t *testing.T) {
	v := newVillage(t)
	p := v.wantProblem(v.do("GET", "/api/v1/privileges/check?channel=1&privilege=live_view", v.owner.token, nil), 400, "invalid_parameter")
	if p.Errors["device"] != "It is required." {
		t.Errorf("%v", p.Errors)
	}
}
