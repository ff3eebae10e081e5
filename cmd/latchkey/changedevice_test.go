package main

import (
	"testing"

	"latchkey/internal/simcamera"
)

// TestNewCredentialsKeepTheShares: the camera's password is changed at the camera; its
// owner says the new one, and whoever may watch goes on watching.
func TestNewCredentialsKeepTheShares(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.1.1")
	s := proving(t)
	owner, recipient, stranger := s.register(t, "owner"), s.register(t, "recipient"), s.register(t, "stranger")
	var d deviceAnswer
	owner.must("POST", "/devices", map[string]any{
		"name": "Door", "rtsp_url": cam.URL(1, false), "isapi_url": "http://" + cam.HTTPAddr(), "username": cameraUser, "password": cameraPassword,
	}, &d)
	share := owner.share(recipient, d.ID, "live_view")
	recipient.accept(share, d.ID)
	key, path := recipient.streamKey(), "/"+d.ID+"/1"
	if got := describeStatus(t, s.rtsp, path, key); got != 200 {
		t.Fatalf("before: status %d", got)
	}

	cam.SetPassword("changed")
	credentials := func(password string) map[string]any {
		return map[string]any{"username": cameraUser, "password": password}
	}
	if err := owner.call("PUT", "/devices/"+d.ID+"/credentials", credentials("typed wrong"), nil); !hasCode(err, "device_wrong_password") {
		t.Errorf("a wrong password: %v", err)
	}
	for path, body := range map[string]any{"/credentials": credentials("changed"), "/refresh": nil} {
		method := map[string]string{"/credentials": "PUT", "/refresh": "POST"}[path]
		if err := stranger.call(method, "/devices/"+d.ID+path, body, nil); !hasCode(err, "device_not_found") {
			t.Errorf("a stranger, %s: %v", path, err)
		}
		if err := recipient.call(method, "/devices/"+d.ID+path, body, nil); !hasCode(err, "device_not_found") {
			t.Errorf("the recipient, %s: %v", path, err)
		}
	}
	var now deviceAnswer
	owner.must("PUT", "/devices/"+d.ID+"/credentials", credentials("changed"), &now)
	if now.ID != d.ID || !now.Proven {
		t.Errorf("%+v", now)
	}
	if got := describeStatus(t, s.rtsp, path, key); got != 200 {
		t.Errorf("after: status %d", got)
	}
	if cam.Locked() {
		t.Error("the camera is locked")
	}
}

// TestADeviceIsRenamedAndRefreshed: the recipient reads the new name; a new firmware is
// noted.
func TestADeviceIsRenamedAndRefreshed(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.1.2")
	s := proving(t)
	owner, recipient := s.register(t, "owner"), s.register(t, "recipient")
	var d deviceAnswer
	owner.must("POST", "/devices", map[string]any{
		"name": "Door", "rtsp_url": cam.URL(1, false), "isapi_url": "http://" + cam.HTTPAddr(), "username": cameraUser, "password": cameraPassword,
	}, &d)
	owner.share(recipient, d.ID, "live_view")
	var renamed deviceAnswer
	owner.must("PATCH", "/devices/"+d.ID, map[string]any{"name": "Back door", "channels": []any{map[string]any{"channel": 1, "name": "Yard"}}}, &renamed)
	if renamed.Name != "Back door" || renamed.Channels[0].Name != "Yard" {
		t.Errorf("%+v", renamed)
	}
	var got deviceAnswer
	owner.must("GET", "/devices/"+d.ID, nil, &got)
	if got.Name != "Back door" || got.Firmware != d.Firmware {
		t.Errorf("%+v", got)
	}
	var received struct {
		Items []struct{ Devices []struct{ Name string } }
	}
	recipient.must("GET", "/shares/received", nil, &received)
	if len(received.Items) != 1 || received.Items[0].Devices[0].Name != "Back door" {
		t.Errorf("%+v", received)
	}
	if err := recipient.call("PATCH", "/devices/"+d.ID, map[string]any{"name": "Mine"}, nil); !hasCode(err, "device_not_found") {
		t.Errorf("the recipient renames it: %v", err)
	}

	addr, isapi := cam.RTSPAddr(), cam.HTTPAddr()
	if err := cam.Close(); err != nil {
		t.Fatal(err)
	}
	if err := owner.call("POST", "/devices/"+d.ID+"/refresh", nil, nil); !hasCode(err, "device_unreachable") {
		t.Errorf("while it is away: %v", err)
	}
	startSimCamera(t, "127.2.1.2", func(c *simcamera.Config) {
		c.RTSP, c.HTTP, c.Firmware = addr, isapi, "V5.6.0 build 200101"
	})
	owner.must("POST", "/devices/"+d.ID+"/refresh", nil, &got)
	if got.Firmware != "V5.6.0 build 200101" || got.Name != "Back door" {
		t.Errorf("%+v", got)
	}
}

// TestOnlineSinceWhen: what a proof and viewers see of a device is told to its owner.
func TestOnlineSinceWhen(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.1.3")
	s := proving(t)
	owner := s.register(t, "owner")
	var d deviceAnswer
	owner.must("POST", "/devices", map[string]any{"name": "Door", "rtsp_url": cam.URL(1, false), "username": cameraUser, "password": cameraPassword}, &d)
	type online struct {
		State, Since, Reason string
		Interruptions        struct {
			At, Reason string
			Count      int
		}
	}
	read := func() online {
		var got struct{ Online online }
		owner.must("GET", "/devices/"+d.ID, nil, &got)
		return got.Online
	}
	first := read()
	if first.State != "online" || first.Since == "" || first.Reason != "" {
		t.Errorf("after it was added: %+v", first)
	}
	key, path := owner.streamKey(), "/"+d.ID+"/1"
	cam.GoAway()
	eventually(t, "it is offline", func() bool { // a dial in backoff tells nothing new
		_ = describeStatus(t, s.rtsp, path, key)
		return read().State == "offline"
	})
	gone := read()
	if gone.Reason != "not_reachable" || gone.Since <= first.Since {
		t.Errorf("while it is away: %+v, before %+v", gone, first)
	}
	if again := read(); again != gone {
		t.Errorf("%+v, before %+v", again, gone)
	}
	if err := cam.ComeBack(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is online", func() bool {
		_ = describeStatus(t, s.rtsp, path, key)
		return read().State == "online"
	})
	back := read()
	if back.Since <= gone.Since || back.Reason != "" || back.Interruptions.Count != 0 {
		t.Errorf("%+v, before %+v", back, gone)
	}
	eventually(t, "it plays", func() bool { return describeStatus(t, s.rtsp, path, key) == 200 })
	cam.GoAway()
	eventually(t, "its stream has broken off", func() bool { return read().Interruptions.Count == 1 })
	if broken := read().Interruptions; broken.Reason != "ended" || broken.At <= back.Since {
		t.Errorf("%+v, before %+v", broken, back)
	}
	stranger := s.register(t, "stranger")
	if err := stranger.call("GET", "/devices/"+d.ID, nil, nil); !hasCode(err, "device_not_found") {
		t.Errorf("a stranger: %v", err)
	}
}
