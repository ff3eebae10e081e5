package main

import (
	"bytes"
	"image/jpeg"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
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

type recordingsAnswer struct {
	From, To time.Time
	Items    []struct{ From, To time.Time }
}

func (u *user) recordings(device, query string) (a recordingsAnswer) {
	u.t.Helper()
	u.must("GET", "/devices/"+device+"/channels/1/recordings?"+query, nil, &a)
	return a
}

// TestPicturesAndRecordings: of a real camera, to whoever may view live and play back, by
// their own domain too; many callers cost the camera one picture a second; nothing of the
// camera is in it; and only what may be played back is listed.
func TestPicturesAndRecordings(t *testing.T) {
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
	type stream struct {
		Video struct{ Codec, Profile string }
	}
	var streams struct{ Main, Sub stream }
	rita.must("GET", "/devices/door/channels/1/streams", nil, &streams)
	if streams.Main.Video.Codec != "H264" || streams.Main.Video.Profile == "" {
		t.Errorf("the streams: %+v", streams)
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
	yesterday := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	for who, name := range map[*user]string{owner: device.ID, rita: "door"} {
		got := who.recordings(name, "date="+yesterday+"&zone=Europe/Berlin")
		if len(got.Items) != 1 || !got.Items[0].From.Equal(got.From) || !got.Items[0].To.Equal(got.To) {
			t.Errorf("%s: recorded yesterday: %+v", name, got)
		}
	}
	now := "from=" + time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339) + "&to=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	if got := owner.recordings(device.ID, now); len(got.Items) != 1 || time.Since(got.Items[0].To) > time.Minute {
		t.Errorf("the owner, until now: %+v", got)
	}
	if got := rita.recordings("door", now); len(got.Items) != 1 || time.Since(got.Items[0].To) < 15*time.Minute {
		t.Errorf("without live view: %+v", got)
	}
	if err := sam.call("GET", "/devices/"+device.ID+"/channels/1/recordings?"+now, nil, nil); !hasCode(err, "device_not_found") {
		t.Errorf("a stranger's list: %v", err)
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
