package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/simcamera"
)

// ptz is the path of a channel's PTZ.
func ptzPath(device string, channel int) string {
	return fmt.Sprintf("/devices/%s/channels/%d/ptz", device, channel)
}

func (u *user) refused(t testing.TB, code, method, path string, body any) {
	t.Helper()
	if err := u.call(method, path, body, nil); !hasCode(err, code) {
		t.Errorf("%s %s by %s: %v, want %s", method, path, u.login, err, code)
	}
}

// TestPTZ: a recipient with that privilege alone moves a camera; however that ends, the
// camera is told to stop: before the answer that takes it away, at the end of the service,
// and at the start after a kill.
func TestPTZ(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.2.1")
	data := t.TempDir()
	s := serve(t, binary, data)
	owner, rita, bob, mallory := s.register(t, "olga"), s.register(t, "rita"), s.register(t, "bob"), s.register(t, "mallory")
	form := simCamera(cam, "Gate")
	form["channels"] = []any{
		map[string]any{"channel": 1}, map[string]any{"channel": 2, "capabilities": []string{"live_view"}},
	}
	var device struct{ ID string }
	owner.must("POST", "/devices", form, &device)
	shares := map[*user]string{}
	for _, u := range []*user{rita, bob} {
		shares[u] = owner.share(u, device.ID, "ptz")
		u.accept(shares[u], device.ID)
	}
	rita.must("PUT", "/shares/"+shares[rita]+"/devices/"+device.ID+"/domain", map[string]any{"domain": "gate"}, nil)
	here, byDomain := ptzPath(device.ID, 1), ptzPath("gate", 1)
	move := map[string]any{"pan": 0.5, "stop_after": 10}

	rita.must("POST", byDomain+"/move", move, nil)
	if !cam.Moving(1) {
		t.Fatal("it does not move")
	}
	bob.refused(t, "ptz_busy", "POST", here+"/move", move)
	mallory.refused(t, "device_not_found", "POST", here+"/move", move)
	mallory.refused(t, "device_not_found", "DELETE", here, nil)
	owner.refused(t, "device_not_found", "POST", ptzPath(device.ID, 3)+"/stop", nil)
	rita.refused(t, "privilege_missing", "POST", ptzPath(device.ID, 2)+"/stop", nil)
	owner.refused(t, "ptz_not_available", "POST", ptzPath(device.ID, 2)+"/stop", nil)
	var viewers struct {
		Items []struct{ ID, Transport, Address, Share string }
	}
	owner.must("GET", "/devices/"+device.ID+"/viewers", nil, &viewers)
	if len(viewers.Items) != 1 || viewers.Items[0].Transport != "ptz" || viewers.Items[0].Share != shares[rita] || viewers.Items[0].Address != "127.0.0.1" {
		t.Fatalf("the viewers: %+v", viewers)
	}

	// The owner ends that one use, then takes the privilege away during another.
	owner.must("DELETE", "/devices/"+device.ID+"/viewers/"+viewers.Items[0].ID, nil, nil)
	if cam.Moving(1) {
		t.Error("it moves after the owner ended the use")
	}
	rita.must("POST", byDomain+"/move", move, nil)
	owner.must("PUT", "/shares/"+shares[rita]+"/devices/"+device.ID, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}, nil)
	if cam.Moving(1) {
		t.Error("it moves after the answer that took the privilege away")
	}
	rita.refused(t, "privilege_missing", "POST", here+"/move", move)
	wantOrders(t, cam, "move 50 0 0", "stop", "move 50 0 0", "stop")

	// A session ends.
	bob.must("POST", here+"/move", move, nil)
	bob.must("DELETE", "/sessions/current", nil, nil)
	if cam.Moving(1) {
		t.Error("it moves after the session has ended")
	}
	bob = s.login(t, "bob")
	var presets struct{ Items []struct{ ID, Name string } }
	bob.must("GET", here+"/presets", nil, &presets)
	if len(presets.Items) != 3 {
		t.Errorf("%+v", presets)
	}
	bob.refused(t, "preset_not_found", "POST", here+"/presets/94/goto", nil)
	bob.must("POST", here+"/presets/2/goto", nil, nil)
	owner.must("POST", here+"/move", move, nil) // takes it over
	wantOrders(t, cam, "move 50 0 0", "stop", "move 50 0 0", "stop", "move 50 0 0", "stop", "preset 2", "move 50 0 0")

	if code := s.stop(t); code != 0 {
		t.Fatalf("the service ended with status %d", code)
	}
	if cam.Moving(1) {
		t.Error("it moves after the end of the service")
	}
	checkNothingOf(t, s, cam)

	s = serve(t, binary, data)
	owner = s.login(t, "olga")
	owner.must("POST", here+"/move", move, nil)
	s.kill()
	if !cam.Moving(1) {
		t.Error("the kill stopped it")
	}
	s = serve(t, binary, data)
	eventually(t, "the camera stops after the start", func() bool { return !cam.Moving(1) })
	checkNothingOf(t, s, cam)
	if n := cam.WrongPasswords(); n != 0 {
		t.Errorf("%d wrong passwords", n)
	}
}

// TestNoOrderAfterTheAnswer: orders come as fast as they can while the privilege is taken
// away; none reaches the camera after the answer, and it stands still.
func TestNoOrderAfterTheAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir())
	owner, rita := s.register(t, "olga"), s.register(t, "rita")
	for n, protocol := range []string{"isapi_url", "onvif_url"} {
		cam := startSimCamera(t, fmt.Sprint("127.2.2.", 2+n))
		form := simCamera(cam, "Gate")
		delete(form, "isapi_url")
		form[protocol] = "http://" + cam.HTTPAddr()
		var device struct{ ID string }
		owner.must("POST", "/devices", form, &device)
		share := owner.share(rita, device.ID, "ptz")
		rita.accept(share, device.ID)
		path := "/shares/" + share + "/devices/" + device.ID
		grant := func(privileges ...string) {
			owner.must("PUT", path, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": privileges}}}, nil)
		}
		moved := 0
		for round := range 8 {
			grant("ptz")
			stop := make(chan struct{})
			var going sync.WaitGroup
			for range 2 {
				going.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							_ = rita.call("POST", ptzPath(device.ID, 1)+"/move", map[string]any{"pan": 0.5, "stop_after": 10}, nil)
						}
					}
				})
			}
			time.Sleep(time.Duration(3*round) * time.Millisecond)
			grant("live_view")
			at := cam.Orders(1)
			if cam.Moving(1) {
				t.Errorf("round %d by %s: it moves after the answer: %q", round, protocol, at)
			}
			time.Sleep(20 * time.Millisecond)
			if now := cam.Orders(1); !slices.Equal(now, at) {
				t.Errorf("round %d by %s: after the answer came %q", round, protocol, now[len(at):])
			}
			close(stop)
			going.Wait()
			moved = len(at)
		}
		t.Logf("%s: %d orders", protocol, moved)
		if moved < 4 {
			t.Errorf("%d orders by %s", moved, protocol)
		}
	}
}

func wantOrders(t *testing.T, cam *simcamera.Camera, want ...string) {
	t.Helper()
	if got := cam.Orders(1); !slices.Equal(got, want) {
		t.Errorf("the camera was told %q, want %q", got, want)
	}
}

// checkNothingOf: the log has nothing of the camera's address and password.
func checkNothingOf(t *testing.T, s *service, cam *simcamera.Camera) {
	t.Helper()
	for _, secret := range []string{cam.HTTPAddr(), cameraPassword} {
		if strings.Contains(s.said(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
}
