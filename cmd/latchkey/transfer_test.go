package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mailtest"
)

type transferAnswer struct {
	ID, Direction, Shares, Status string
	Device                        struct{ ID, Name string }
	Recipient, From               struct{ Email string }
}

func (u *user) offer(device, to, shares string) (t transferAnswer) {
	u.t.Helper()
	u.must("POST", "/devices/"+device+"/transfer", map[string]any{"recipient": map[string]any{"email": to}, "shares": shares, "password": userPassword}, &t)
	return t
}

func (u *user) transfers() []transferAnswer {
	u.t.Helper()
	var list struct{ Items []transferAnswer }
	u.must("GET", "/transfers", nil, &list)
	return list.Items
}

type takenDevice struct {
	ID       string
	Name     string
	Serial   string
	Warnings []struct{ Code string }
}

func (u *user) takeOver(transfer string) (d takenDevice) {
	u.t.Helper()
	u.must("POST", "/transfers/"+transfer+"/accept", nil, &d)
	return d
}

func (u *user) devices() (ids []string) {
	u.t.Helper()
	var list struct{ Items []struct{ ID string } }
	u.must("GET", "/devices", nil, &list)
	for _, d := range list.Items {
		ids = append(ids, d.ID)
	}
	return ids
}

// TestDeviceChangesHands: whoever a device is offered to takes it over; nobody else does,
// and no use by the owner before, or of their recipients, is left when it is answered.
func TestDeviceChangesHands(t *testing.T) {
	t.Parallel()
	for _, shares := range []string{"end", "keep"} {
		t.Run(shares, func(t *testing.T) { deviceChangesHands(t, shares) })
	}
}

func deviceChangesHands(t *testing.T, shares string) {
	camera := startGstCamera(t, "digest")
	data := t.TempDir()
	s := serve(t, binary, data)
	owner, nina, rita, sam := s.register(t, "owner"), s.register(t, "nina"), s.register(t, "rita"), s.register(t, "sam")
	device := owner.addDevice("rtsp://"+camera.addr+"/h264", cameraUser, cameraPassword)
	given := owner.share(rita, device, "live_view")
	rita.accept(given, device)
	rita.must("PUT", "/shares/"+given+"/devices/"+device+"/domain", map[string]any{"domain": "yard"}, nil)
	waiting := owner.share(sam, device, "live_view")
	hers := owner.share(nina, device, "live_view")
	nina.accept(hers, device)
	keys := map[*user]string{owner: owner.streamKey(), rita: rita.streamKey(), nina: nina.streamKey(), sam: sam.streamKey()}
	viewers := map[*user]*rawViewer{owner: watching(t, s.rtsp, "/"+device+"/1", keys[owner], "tcp"), rita: watching(t, s.rtsp, "/yard/1", keys[rita], "tcp")}

	body := func(to, password string) map[string]any {
		return map[string]any{"recipient": map[string]any{"email": to}, "shares": shares, "password": password}
	}
	path := "/devices/" + device + "/transfer"
	for what, step := range map[string]struct {
		who  *user
		body map[string]any
		code string
	}{
		"a wrong password":   {owner, body(nina.login, "not this one"), "wrong_password"},
		"one's own address":  {owner, body(owner.login, userPassword), "own_login"},
		"a device of others": {rita, body(nina.login, userPassword), "device_not_found"},
		"no address":         {owner, map[string]any{"recipient": map[string]any{}, "shares": shares, "password": userPassword}, "invalid_body"},
	} {
		if err := step.who.call("POST", path, step.body, nil); !hasCode(err, step.code) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := owner.call("DELETE", path, nil, nil); !hasCode(err, "transfer_not_found") {
		t.Errorf("withdrawing what was not offered: %v", err)
	}
	first := owner.offer(device, "nobody@example.com", shares) // answered as one to somebody is
	if first.Status != "waiting" || first.Direction != "given" || first.Recipient.Email != "nobody@example.com" {
		t.Errorf("%+v", first)
	}
	if err := owner.call("POST", path, body(nina.login, userPassword), nil); !hasCode(err, "transfer_pending") {
		t.Errorf("a second offer: %v", err)
	}
	owner.must("DELETE", path, nil, nil)
	offered := owner.offer(device, nina.login, shares)
	for who, u := range map[string]*user{"a stranger": sam, "a recipient": rita, "the owner": owner} {
		if err := u.call("POST", "/transfers/"+offered.ID+"/accept", nil, nil); !hasCode(err, "transfer_not_found") {
			t.Errorf("%s accepts: %v", who, err)
		}
	}
	if err := nina.call("POST", "/transfers/"+first.ID+"/accept", nil, nil); !hasCode(err, "transfer_not_found") {
		t.Errorf("an offer that was withdrawn: %v", err)
	}
	if list := nina.transfers(); len(list) != 1 || list[0].ID != offered.ID || list[0].Direction != "received" || list[0].From.Email != owner.login || list[0].Device.Name != "Front door" {
		t.Fatalf("offers to her: %+v", list)
	}
	if list := rita.transfers(); len(list) != 0 {
		t.Errorf("a recipient sees %+v", list)
	}
	owner.must("PATCH", "/devices/"+device, map[string]any{"name": "Back door"}, nil) // the offer stays

	got := nina.takeOver(offered.ID)
	if got.ID != device+".2" || got.Name != "Back door" || len(got.Warnings) == 0 || got.Warnings[len(got.Warnings)-1].Code != "change_camera_password" {
		t.Errorf("the device: %+v", got)
	}
	for u, v := range viewers {
		if drained, err := drain(v); err == nil || drained > 128<<10 {
			t.Errorf("%s: %d bytes came after the answer, then %v", u.login, drained, err)
		}
	}
	for _, u := range []*user{owner, rita, sam, nina} {
		if status := describeStatus(t, s.rtsp, "/"+device+"/1", keys[u]); status == 200 {
			t.Errorf("%s opens the device by its old id", u.login)
		}
	}
	if ids := owner.devices(); len(ids) != 0 {
		t.Errorf("the owner before has %v", ids)
	}
	if ids := nina.devices(); len(ids) != 1 || ids[0] != got.ID {
		t.Errorf("the new owner has %v", ids)
	}
	if status := describeStatus(t, s.rtsp, "/"+got.ID+"/1", keys[nina]); status != 200 {
		t.Errorf("the new owner's picture: status %d", status)
	}
	if status := describeStatus(t, s.rtsp, "/"+got.ID+"/1", keys[owner]); status == 200 {
		t.Error("the owner before opens the device")
	}
	want := map[string]int{"end": 404, "keep": 200}[shares]
	if status := describeStatus(t, s.rtsp, "/"+got.ID+"/1", keys[rita]); status != want {
		t.Errorf("rita's picture: status %d, want %d", status, want)
	}
	if status := describeStatus(t, s.rtsp, "/yard/1", keys[rita]); status != want {
		t.Errorf("rita's picture by her own name: status %d, want %d", status, want)
	}
	if status := describeStatus(t, s.rtsp, "/"+got.ID+"/1", keys[sam]); status == 200 {
		t.Error("who has not accepted sees the device")
	}
	for _, id := range []string{given, waiting, hers} {
		var share struct{ Devices []struct{ Status string } }
		owner.must("GET", "/shares/"+id, nil, &share)
		if len(share.Devices) != 0 {
			t.Errorf("the share %s of the owner before still lists %+v", id, share.Devices)
		}
	}
	sent := nina.sentTo()
	if shares == "end" && len(sent) != 0 {
		t.Errorf("shares of the new owner: %v", sent)
	}
	if shares == "keep" && fmt.Sprint(sent) != fmt.Sprint(map[string]string{rita.login: "accepted ", sam.login: "invited "}) {
		t.Errorf("shares of the new owner: %v", sent)
	}
	if list := owner.transfers(); len(list) != 2 || list[0].Status != "accepted" || list[1].Status != "withdrawn" {
		t.Errorf("what became of the offers: %+v", list)
	}
	if err := nina.call("POST", "/transfers/"+offered.ID+"/accept", nil, nil); !hasCode(err, "transfer_not_found") {
		t.Errorf("accepting twice: %v", err)
	}
	s.stop(t)
	history, err := exec.Command(binary, "audit", "replay", "--data", data, "--quiet").CombinedOutput()
	if err != nil || !strings.Contains(string(history), "by transfer; it is device "+got.ID+" now") || !strings.Contains(string(history), "its shares: "+shares) {
		t.Errorf("the history: %v\n%s", err, tail(string(history), 3000))
	}
	s = serve(t, binary, data)
	if status := describeStatus(t, s.rtsp, "/"+got.ID+"/1", keys[nina]); status != 200 {
		t.Errorf("the new owner's picture after a restart: status %d", status)
	}
}

// sentTo lists what the user shares: for each recipient the status of the first device, and
// the remark.
func (u *user) sentTo() map[string]string {
	u.t.Helper()
	var list struct {
		Items []struct {
			Recipient struct{ Email string }
			Remark    string
			Devices   []struct{ Status string }
		}
	}
	u.must("GET", "/shares/sent", nil, &list)
	out := map[string]string{}
	for _, s := range list.Items {
		out[s.Recipient.Email] = s.Devices[0].Status + " " + s.Remark
	}
	return out
}

// TestTransferNeedsAProvenAddress: an address that nobody has proven gives no device and
// takes none, and whoever reads it is told, registered or not.
func TestTransferNeedsAProvenAddress(t *testing.T) {
	t.Parallel()
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail, "--transfer-ttl", "3s")
	owner, nina := s.register(t, "owner"), s.register(t, "nina")
	code := codeFor(t, mail, nina.login, 1)
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	offer := map[string]any{"recipient": map[string]any{"email": nina.login}, "shares": "end", "password": userPassword}
	if err := owner.call("POST", "/devices/"+device+"/transfer", offer, nil); !hasCode(err, "address_not_verified") {
		t.Errorf("in the name of an address that is not proven: %v", err)
	}
	owner.proveFirst(mail)
	offered := owner.offer(device, nina.login, "end")
	if list := nina.transfers(); len(list) != 0 {
		t.Errorf("before the address is proven: %+v", list)
	}
	if err := nina.call("POST", "/transfers/"+offered.ID+"/accept", nil, nil); !hasCode(err, "transfer_not_found") {
		t.Errorf("before the address is proven: %v", err)
	}
	eventually(t, "she is told by mail", func() bool { return mailed(mail, nina.login, "device is offered") == 1 })
	if err := nina.verify(nina.addresses().Items[0].ID, code); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the offer lapses", func() bool { return owner.transfers()[0].Status == "expired" })
	if err := nina.call("POST", "/transfers/"+offered.ID+"/accept", nil, nil); !hasCode(err, "transfer_expired") {
		t.Errorf("after it has expired: %v", err)
	}
	if list := nina.transfers(); len(list) != 0 {
		t.Errorf("after it has expired: %+v", list)
	}
	again := owner.offer(device, nina.login, "end")
	nina.must("POST", "/transfers/"+again.ID+"/reject", nil, nil)
	if list := owner.transfers(); list[0].Status != "rejected" {
		t.Errorf("%+v", list)
	}
	owner.offer(device, "nobody@example.com", "end")
	eventually(t, "whoever reads an address without an account is told", func() bool { return mailed(mail, "nobody@example.com", "device is offered") == 1 })
}

// mailed counts the mails to an address with some words.
func mailed(mail *mailtest.Server, address, words string) (n int) {
	for _, m := range mail.To(address) {
		if strings.Contains(m.Text, words) {
			n++
		}
	}
	return n
}

// TestTransferFinishesAfterAKill: killed at any moment of the hand-over, the service starts
// with the old owner or the new one, and what follows is done.
func TestTransferFinishesAfterAKill(t *testing.T) {
	t.Parallel()
	camera := startGstCamera(t, "digest")
	for i, after := range []time.Duration{3 * time.Millisecond, 15 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond, 160 * time.Millisecond} {
		data := t.TempDir()
		s := serve(t, binary, data)
		owner, nina, rita := s.register(t, "owner"), s.register(t, "nina"), s.register(t, "rita")
		device := owner.addDevice("rtsp://"+camera.addr+"/h264", cameraUser, cameraPassword)
		given := owner.share(rita, device, "live_view")
		rita.accept(given, device)
		offered := owner.offer(device, nina.login, "keep")
		key := nina.streamKey()
		answered := make(chan error, 1)
		go func() {
			answered <- nina.api.do(t.Context(), "POST", "/transfers/"+offered.ID+"/accept", nina.token, nil, nil)
		}()
		time.Sleep(after)
		s.kill()
		acknowledged := <-answered == nil
		s = serve(t, binary, data)
		for _, u := range []*user{owner, nina, rita} {
			u.api = s.api
		}
		next := device + ".2"
		had, has := owner.devices(), nina.devices()
		if len(had)+len(has) != 1 || acknowledged && len(has) != 1 {
			t.Fatalf("killed after %v: the owner before has %v, the new one %v; it was answered: %v", after, had, has, acknowledged)
		}
		if len(has) == 0 { // nothing has happened: it can be accepted
			nina.takeOver(offered.ID)
		}
		eventually(t, fmt.Sprintf("run %d: the new owner sees the camera and the share goes on", i), func() bool {
			return describeStatus(t, s.rtsp, "/"+next+"/1", key) == 200 && nina.sentTo()[rita.login] == "accepted "
		})
		var share struct{ Devices []struct{ Status string } }
		eventually(t, "the share of the owner before ends", func() bool {
			owner.must("GET", "/shares/"+given, nil, &share)
			return len(share.Devices) == 0
		})
		s.kill()
	}
}

// TestARestoreRevivesNoOffer: what was withdrawn or rejected after the backup takes no
// device, and without a journal no offer of the backup does.
func TestARestoreRevivesNoOffer(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	data, backups := filepath.Join(dir, "data"), filepath.Join(dir, "backups")
	s := serve(t, binary, data)
	owner, nina := s.register(t, "owner"), s.register(t, "nina")
	offers := map[string]string{}
	for _, what := range []string{"withdrawn", "rejected", "waiting"} {
		offers[what] = owner.offer(owner.addDevice("rtsp://127.0.0.1:1/h264", "", ""), nina.login, "end").ID
	}
	mustLatchkey(t, "backup", backups, "--data", data)
	if err := owner.call("POST", "/transfers/"+offers["rejected"]+"/reject", nil, nil); !hasCode(err, "not_the_recipient") {
		t.Errorf("the owner rejects: %v", err)
	}
	device, _, _ := strings.Cut(offers["withdrawn"], "~")
	owner.must("DELETE", "/devices/"+device+"/transfer", nil, nil)
	nina.must("POST", "/transfers/"+offers["rejected"]+"/reject", nil, nil)
	s.stop(t)
	for name, c := range map[string]struct {
		args   []string
		accept map[string]bool
	}{
		"journal": {[]string{"--journal", filepath.Join(data, journalName)}, map[string]bool{"waiting": true}},
		"none":    {[]string{"--no-journal"}, nil},
	} {
		restored := filepath.Join(dir, name)
		mustLatchkey(t, append([]string{"restore", onlyFile(t, backups), "--data", restored}, c.args...)...)
		s := serve(t, binary, restored)
		nina := s.login(t, "nina")
		if list := nina.transfers(); len(list) != len(c.accept) {
			t.Errorf("%s: %+v", name, list)
		}
		for what, id := range offers {
			if err := nina.call("POST", "/transfers/"+id+"/accept", nil, nil); c.accept[what] && err != nil || !c.accept[what] && !hasCode(err, "transfer_not_found") {
				t.Errorf("%s: accepting what was %s: %v", name, what, err)
			}
		}
		s.stop(t)
	}
}

// TestAChangeOfPasswordEndsOffers: whoever knew the password before may have offered the
// device.
func TestAChangeOfPasswordEndsOffers(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := serve(t, binary, data)
	olga, nina := s.register(t, "olga"), s.register(t, "nina")
	device := olga.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	refused := func(offered transferAnswer) {
		t.Helper()
		if err := nina.call("POST", "/transfers/"+offered.ID+"/accept", nil, nil); !hasCode(err, "transfer_not_found") {
			t.Errorf("after the change: %v", err)
		}
		eventually(t, "the list says that it was withdrawn", func() bool { return len(nina.transfers()) == 0 })
	}
	offered := olga.offer(device, nina.login, "end")
	var session struct{ Token string }
	olga.must("PUT", "/accounts/me/password", map[string]any{"current": userPassword, "new": otherPassword}, &session)
	refused(offered)
	olga.token = session.Token
	if list := olga.transfers(); len(list) != 1 || list[0].Status != "withdrawn" {
		t.Errorf("%+v", list)
	}
	olga.must("PUT", "/accounts/me/password", map[string]any{"current": otherPassword, "new": userPassword}, &session)
	olga.token = session.Token
	offered = olga.offer(device, nina.login, "end")
	s.stop(t)
	setPassword(t, data)
	s = serve(t, binary, data)
	nina.api = s.api
	refused(offered)
}
