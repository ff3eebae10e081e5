package api

import (
	"testing"

	"latchkey/api/internal/rest"
)

// TestPauseAndResume: the owner pauses and resumes a share and a device in it; both
// sides see it, nothing is lost, and nobody else may do it or learn of it.
func TestPauseAndResume(t *testing.T) {
	v := newVillage(t)
	v.accept()
	v.wantStatus(v.do("PUT", v.path("/devices/", v.device, "/domain"), v.recipient.token, `{"domain":"door"}`), 200)

	s := v.changed(v.do("POST", v.path("/pause"), v.owner.token, nil))
	if s.Status != rest.Paused || s.Devices[0].Status != rest.Accepted || s.Devices[0].Paused || len(s.Devices[0].Channels[0].Privileges.Names()) != 2 {
		t.Fatalf("paused: %+v", s)
	}
	for _, who := range []struct {
		person
		list string
	}{{v.owner, "sent"}, {v.recipient, "received"}} {
		if list := v.shares(who.person, who.list); len(list) != 1 || list[0].Status != rest.Paused {
			t.Errorf("%s: %+v", who.list, list)
		}
	}
	position := v.wantStatus(v.do("POST", v.path("/pause"), v.owner.token, nil), 200).Header.Get("Latchkey-Position")
	if again := v.wantStatus(v.do("POST", v.path("/pause"), v.owner.token, nil), 200).Header.Get("Latchkey-Position"); again != position {
		t.Errorf("pausing again wrote something: %s, then %s", position, again)
	}

	// What is set while it is paused is kept, and what is sent back is as it was.
	v.wantStatus(v.do("PUT", v.path("/devices/", v.spare), v.owner.token, `{"channels":[{"channel":1,"privileges":["ptz"]}]}`), 200)
	v.wantStatus(v.do("POST", v.path("/devices/", v.spare, "/accept"), v.recipient.token, nil), 200)
	s = v.changed(v.do("POST", v.path("/devices/", v.spare, "/pause"), v.owner.token, nil))
	if !s.Devices[1].Paused || s.Devices[0].Paused {
		t.Fatalf("a paused device: %+v", s.Devices)
	}
	read := v.wantStatus(v.do("GET", v.path(), v.owner.token, nil), 200)
	if back := v.wantStatus(v.do("PUT", v.path(), v.owner.token, string(read.body)), 200); string(back.body) != string(read.body) {
		t.Errorf("sent back:\n%s\nbecame\n%s", read.body, back.body)
	}
	s = v.changed(v.do("POST", v.path("/resume"), v.owner.token, nil))
	if s.Status != rest.Live || s.Devices[0].Paused || !s.Devices[1].Paused {
		t.Fatalf("resumed: %+v", s)
	}
	s = v.changed(v.do("POST", v.path("/devices/", v.spare, "/resume"), v.owner.token, nil))
	if s.Devices[1].Paused || s.Devices[1].Status != rest.Accepted {
		t.Fatalf("resumed the device: %+v", s)
	}
	if s := v.shares(v.recipient, "received")[0]; s.Devices[0].Domain != "door" {
		t.Errorf("the domain is lost: %+v", s.Devices)
	}

	for _, path := range []string{"/pause", "/resume", "/devices/" + v.device + "/pause", "/devices/" + v.device + "/resume"} {
		v.wantProblem(v.do("POST", v.path(path), v.recipient.token, nil), 403, "not_the_owner")
		v.wantProblem(v.do("POST", v.path(path), v.stranger.token, nil), 404, "share_not_found")
		v.wantProblem(v.do("POST", v.path(path), v.owner.token, nil, "If-Match", `"999"`), 412, "revision_changed")
		v.wantStatus(v.do("POST", v.path(path), "", nil), 401)
	}
	v.wantProblem(v.do("POST", v.path("/devices/nonsense/pause"), v.owner.token, nil), 404, "device_not_in_share")
}
