package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mailtest"
	"latchkey/internal/simcamera"
)

// simCamera is the form for a simulated camera.
func simCamera(c *simcamera.Camera, name string) map[string]any {
	return map[string]any{
		"name": name, "rtsp_url": c.URL(1, false), "isapi_url": "http://" + c.HTTPAddr(), "username": cameraUser, "password": cameraPassword,
	}
}

type reclaimAnswer struct {
	ID, Direction, Serial, Status string
	Device                        struct{ ID, Name string }
	From                          struct{ Email string }
}

func (u *user) reclaims() []reclaimAnswer {
	u.t.Helper()
	var list struct{ Items []reclaimAnswer }
	u.must("GET", "/reclaims", nil, &list)
	return list.Items
}

func (u *user) claim(form map[string]any) (r reclaimAnswer) {
	u.t.Helper()
	u.must("POST", "/reclaims", form, &r)
	return r
}

func (u *user) statusOf(claim string) string {
	u.t.Helper()
	for _, r := range u.reclaims() {
		if r.ID == claim {
			return r.Status
		}
	}
	return ""
}

// TestReclaim: whoever proves the password of a device that is in another account gets it
// after the waiting time, unless its owner objects.
func TestReclaim(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.1.2")
	data := t.TempDir()
	s := serve(t, binary, data, "--device-proof", "required", "--reclaim-wait", "4s")
	owner, cleo, carl, rita := s.register(t, "owner"), s.register(t, "cleo"), s.register(t, "carl"), s.register(t, "rita")
	form := simCamera(cam, "Found")
	with := func(change map[string]any) map[string]any {
		out := map[string]any{}
		for k, v := range form {
			out[k] = v
		}
		for k, v := range change {
			out[k] = v
		}
		return out
	}
	if err := cleo.call("POST", "/reclaims", form, nil); !hasCode(err, "device_not_taken") {
		t.Errorf("a device that nobody has: %v", err)
	}
	var device deviceAnswer
	owner.must("POST", "/devices", simCamera(cam, "Door"), &device)
	given := owner.share(rita, device.ID, "live_view")
	rita.accept(given, device.ID)
	keys := map[*user]string{owner: owner.streamKey(), rita: rita.streamKey(), carl: carl.streamKey()}
	for what, step := range map[string]struct {
		who  *user
		form map[string]any
		code string
	}{
		"one's own":                {owner, form, "device_already_added"},
		"a wrong password":         {cleo, with(map[string]any{"password": "wrong"}), "device_wrong_password"},
		"by RTSP only":             {cleo, with(map[string]any{"isapi_url": "", "serial": device.Serial}), "invalid_body"},
		"a serial of another":      {cleo, with(map[string]any{"serial": "DS-OTHER"}), "serial_mismatch"},
		"what is not there at all": {cleo, with(map[string]any{"isapi_url": "http://127.2.1.3:1"}), "device_unreachable"},
	} {
		if err := step.who.call("POST", "/reclaims", step.form, nil); !hasCode(err, step.code) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := cleo.call("POST", "/devices", form, nil); !hasCode(err, "device_taken") || !strings.Contains(err.Error(), "reclaim it") {
		t.Errorf("adding it: %v", err)
	}
	events, _ := owner.follow("")
	if e, _ := events.next(); e.name != "ready" {
		t.Fatalf("the stream begins with %+v", e)
	}
	hers := cleo.claim(form)
	if hers.Status != "waiting" || hers.Direction != "given" || hers.Serial != device.ID || hers.Device.ID != "" || hers.From.Email != "" {
		t.Errorf("the claim: %+v", hers)
	}
	if e, ok := events.next(); !ok || e.name != "reclaim_claimed" {
		t.Fatalf("the owner is told %+v, %v", e, ok)
	}
	if list := cleo.reclaims(); len(list) != 1 || list[0].Device.ID != "" || list[0].From.Email != "" {
		t.Errorf("what the claimant learns: %+v", list)
	}
	if list := owner.reclaims(); len(list) != 1 || list[0].Direction != "received" || list[0].From.Email != cleo.login || list[0].Device.Name != "Door" {
		t.Errorf("what the owner sees: %+v", list)
	}
	if err := cleo.call("POST", "/reclaims/"+hers.ID+"/complete", form, nil); !hasCode(err, "reclaim_waiting") {
		t.Errorf("too soon: %v", err)
	}
	for who, u := range map[string]*user{"the claimant": cleo, "a stranger": carl} {
		if err := u.call("POST", "/reclaims/"+hers.ID+"/object", nil, nil); !hasCode(err, "reclaim_not_found") {
			t.Errorf("%s objects: %v", who, err)
		}
	}
	owner.must("POST", "/reclaims/"+hers.ID+"/object", nil, nil)
	for what, path := range map[string]string{"completing": "/reclaims/" + hers.ID + "/complete", "claiming again": "/reclaims"} {
		if err := cleo.call("POST", path, form, nil); !hasCode(err, "reclaim_objected") {
			t.Errorf("%s after an objection: %v", what, err)
		}
	}
	his := carl.claim(form)
	if again := carl.claim(form); again.ID != his.ID || again.Status == "" {
		t.Errorf("claiming again: %+v", again)
	}
	eventually(t, "the waiting time is over", func() bool { return carl.statusOf(his.ID) == "ready" })
	if err := carl.call("POST", "/reclaims/"+his.ID+"/complete", with(map[string]any{"password": "wrong"}), nil); !hasCode(err, "device_wrong_password") {
		t.Errorf("without a proof: %v", err)
	}
	viewers := []*rawViewer{watching(t, s.rtsp, "/"+device.ID+"/1", keys[owner], "tcp"), watching(t, s.rtsp, "/"+device.ID+"/1", keys[rita], "tcp")}
	var got takenDevice
	carl.must("POST", "/reclaims/"+his.ID+"/complete", form, &got)
	for _, v := range viewers {
		if drained, err := drain(v); err == nil || drained > 128<<10 {
			t.Errorf("%d bytes came after the answer, then %v", drained, err)
		}
	}
	if got.ID != device.ID+".2" || got.Name != "Found" {
		t.Errorf("%+v", got)
	}
	if ids := owner.devices(); len(ids) != 0 {
		t.Errorf("the owner before has %v", ids)
	}
	if n := rita.received(); n != 0 {
		t.Errorf("the recipient still has %d shares", n)
	}
	if status := describeStatus(t, s.rtsp, "/"+got.ID+"/1", keys[carl]); status != 200 {
		t.Errorf("the new owner's picture: status %d", status)
	}
	for _, u := range []*user{owner, rita} {
		if status := describeStatus(t, s.rtsp, "/"+got.ID+"/1", keys[u]); status == 200 {
			t.Errorf("%s opens the device", u.login)
		}
	}
	if owner.statusOf(his.ID) != "completed" || carl.statusOf(his.ID) != "completed" || owner.statusOf(hers.ID) != "objected" {
		t.Errorf("the owner before sees %+v", owner.reclaims())
	}
	if err := owner.call("POST", "/reclaims/"+his.ID+"/object", nil, nil); !hasCode(err, "reclaim_completed") {
		t.Errorf("objecting too late: %v", err)
	}
	s.stop(t)
	history, err := exec.Command(binary, "audit", "replay", "--data", data, "--quiet").CombinedOutput()
	if err != nil || !strings.Contains(string(history), "by reclaim; it is device "+got.ID+" now") || !strings.Contains(string(history), "objected to the claim") {
		t.Errorf("the history: %v\n%s", err, tail(string(history), 3000))
	}
}

// TestAServerThatSaysTheSerial: anybody can make a server that says any serial. While the
// service reaches the device where its owner said, with the owner's password, such a server
// is not the device.
func TestAServerThatSaysTheSerial(t *testing.T) {
	t.Parallel()
	cam, fake := startSimCamera(t, "127.2.1.4"), startSimCamera(t, "127.2.1.5")
	s := serve(t, binary, t.TempDir(), "--device-proof", "required", "--reclaim-wait", "1s")
	owner, mallory := s.register(t, "owner"), s.register(t, "mallory")
	var device deviceAnswer
	owner.must("POST", "/devices", simCamera(cam, "Door"), &device)
	claim := mallory.claim(simCamera(fake, "Mine"))
	eventually(t, "the waiting time is over", func() bool { return mallory.statusOf(claim.ID) == "ready" })
	path := "/reclaims/" + claim.ID + "/complete"
	if err := mallory.call("POST", path, simCamera(fake, "Mine"), nil); !hasCode(err, "device_still_reached") {
		t.Errorf("a device that says another's serial: %v", err)
	}
	if cam.WrongPasswords() != 0 {
		t.Error("the claimant's password was given to the owner's device")
	}
	// A device that was sold and reset does not know its old password.
	cam.SetPassword("reset")
	mallory.must("POST", path, simCamera(fake, "Mine"), nil)
	if ids := owner.devices(); len(ids) != 0 {
		t.Errorf("the owner before has %v", ids)
	}
}

// TestTheOwnerIsTold at every address that they have proven, once each, when a device is
// claimed and when it has gone.
func TestTheOwnerIsTold(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.1.6")
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail, "--device-proof", "required", "--reclaim-wait", "1s")
	owner, cleo := s.register(t, "owner"), s.register(t, "cleo")
	prove := func(u *user, address string, at int) {
		t.Helper()
		if err := u.verify(u.addresses().Items[at].ID, codeFor(t, mail, address, 1)); err != nil {
			t.Fatal(err)
		}
	}
	prove(owner, owner.login, 0)
	owner.must("POST", "/accounts/me/addresses", map[string]any{"email": "second@example.com"}, nil)
	prove(owner, "second@example.com", 1)
	owner.must("POST", "/accounts/me/addresses", map[string]any{"email": "unproven@example.com"}, nil)
	owner.must("POST", "/devices", simCamera(cam, "Door"), nil)
	if err := cleo.call("POST", "/reclaims", simCamera(cam, "Found"), nil); !hasCode(err, "address_not_verified") {
		t.Errorf("who has no proven address: %v", err)
	}
	prove(cleo, cleo.login, 0)
	claim := cleo.claim(simCamera(cam, "Found"))
	told := func(words string, n int) func() bool {
		return func() bool {
			return mailed(mail, owner.login, words) == n && mailed(mail, "second@example.com", words) == n
		}
	}
	eventually(t, "the owner is told of the claim", told("Subject: Somebody claims a device of yours", 1))
	eventually(t, "the waiting time is over", func() bool { return cleo.statusOf(claim.ID) == "ready" })
	cleo.must("POST", "/reclaims/"+claim.ID+"/complete", simCamera(cam, "Found"), nil)
	eventually(t, "the owner is told that it is gone", told("Subject: A device has left your account", 1))
	if n := mailed(mail, "unproven@example.com", "claims a device") + mailed(mail, cleo.login, "claims a device"); n != 0 {
		t.Errorf("%d mails went to others", n)
	}
}

// TestReclaimFinishesAfterAKill: killed at any moment of the take-over, the service starts
// with the old owner or the new one, and the same request goes on.
func TestReclaimFinishesAfterAKill(t *testing.T) {
	t.Parallel()
	for i, after := range []time.Duration{20 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond} {
		cam := startSimCamera(t, fmt.Sprintf("127.2.1.%d", 10+i))
		data := t.TempDir()
		more := []string{"--device-proof", "required", "--reclaim-wait", "1s"}
		s := serve(t, binary, data, more...)
		owner, cleo := s.register(t, "owner"), s.register(t, "cleo")
		owner.must("POST", "/devices", simCamera(cam, "Door"), nil)
		claim, key := cleo.claim(simCamera(cam, "Found")), cleo.streamKey()
		eventually(t, "the waiting time is over", func() bool { return cleo.statusOf(claim.ID) == "ready" })
		go func() {
			_ = cleo.api.do(t.Context(), "POST", "/reclaims/"+claim.ID+"/complete", cleo.token, simCamera(cam, "Found"), nil)
		}()
		time.Sleep(after)
		s.kill()
		s = serve(t, binary, data, more...)
		owner.api, cleo.api = s.api, s.api
		had, has := owner.devices(), cleo.devices()
		if len(had)+len(has) != 1 {
			t.Fatalf("killed after %v: the owner before has %v, the new one %v", after, had, has)
		}
		var got takenDevice
		cleo.must("POST", "/reclaims/"+claim.ID+"/complete", simCamera(cam, "Found"), &got)
		eventually(t, "the new owner sees the camera", func() bool { return describeStatus(t, s.rtsp, "/"+got.ID+"/1", key) == 200 })
		if ids := owner.devices(); len(ids) != 0 {
			t.Errorf("the owner before has %v", ids)
		}
		s.kill()
	}
}
