package main

import (
	"bytes"
	"image/jpeg"
	"io"
	"net/http"
	"strings"
	"testing"
)

// getPicture asks for a still picture and answers the status and the body.
func (u *user) getPicture(device string) (int, []byte) {
	u.t.Helper()
	r, err := http.NewRequest("GET", "http://"+u.api.host+"/api/v1/devices/"+device+"/channels/1/snapshot", nil)
	if err != nil {
		u.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+u.token)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		u.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	if a.StatusCode == 200 && (a.Header.Get("Content-Type") != "image/jpeg" || a.Header.Get("Cache-Control") != "no-store") {
		u.t.Errorf("the headers of a picture: %v", a.Header)
	}
	for name, values := range a.Header {
		if strings.Contains(name+strings.Join(values, " "), "DS-2CD2042WD") {
			u.t.Errorf("a header of the camera: %s: %v", name, values)
		}
	}
	return a.StatusCode, body
}

// TestAStillPicture: from a real camera, to whoever may view live, by their own domain too;
// many callers cost the camera one a second; nothing of the camera is in it.
func TestAStillPicture(t *testing.T) {
	cam := startSimCamera(t, "127.2.1.8")
	s := serve(t, binary, t.TempDir())
	owner, rita, sam := s.register(t, "owner"), s.register(t, "rita"), s.register(t, "sam")
	var device deviceAnswer
	owner.must("POST", "/devices", simCamera(cam, "Door"), &device)
	share := owner.share(rita, device.ID, "live_view")
	if status, _ := rita.getPicture(device.ID); status != 404 {
		t.Errorf("before it is accepted: status %d", status)
	}
	rita.accept(share, device.ID)
	rita.must("PUT", "/shares/"+share+"/devices/"+device.ID+"/domain", map[string]any{"domain": "door"}, nil)
	before := cam.Stills()
	for who, name := range map[*user]string{owner: device.ID, rita: "door"} {
		for range 5 {
			status, body := who.getPicture(name)
			if picture, err := jpeg.Decode(bytes.NewReader(body)); status != 200 || err != nil || picture.Bounds().Dx() != 640 {
				t.Fatalf("%s: status %d, %v", name, status, err)
			}
			if bytes.Contains(body, []byte("DS-2CD2042WD")) {
				t.Error("the picture says what the camera is")
			}
		}
	}
	if n := cam.Stills() - before; n > 3 {
		t.Errorf("ten pictures cost the camera %d", n)
	}
	used := false
	for _, item := range owner.access(device.ID).Items {
		used = used || item.Share == share && !item.LastUse.At.IsZero()
	}
	if !used {
		t.Error("the owner does not see that it was used")
	}
	owner.must("PUT", "/shares/"+share+"/devices/"+device.ID, invitation(device.ID, "playback"), nil)
	if status, body := rita.getPicture("door"); status != 403 || !strings.Contains(string(body), "privilege_missing") {
		t.Errorf("without live view: status %d, %s", status, body)
	}
	if status, _ := sam.getPicture(device.ID); status != 404 {
		t.Errorf("a stranger: status %d", status)
	}
	cam.GoAway()
	eventually(t, "the owner is told why there is none", func() bool {
		status, body := owner.getPicture(device.ID)
		return status == 502 && strings.Contains(string(body), "cannot be reached")
	})
	if said := s.said(); strings.Contains(said, cam.HTTPAddr()) || strings.Contains(said, cameraPassword) {
		t.Error("the log says how the camera is reached")
	}
}
