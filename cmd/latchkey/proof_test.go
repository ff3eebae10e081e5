package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/simcamera"
)

// startSimCamera starts a simulated camera on an address of its own: wrong passwords are
// counted by address.
func startSimCamera(t testing.TB, ip string, change ...func(*simcamera.Config)) *simcamera.Camera {
	t.Helper()
	cfg := simcamera.Config{
		RTSP: ip + ":0", HTTP: ip + ":0", Username: cameraUser, Password: cameraPassword, LockAfter: 5,
		Serial: "DS-2CD2042WD-4711", Model: "DS-2CD2042WD", Firmware: "V5.5.71 build 180723",
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := simcamera.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// deviceAnswer is a device as the API shows it.
type deviceAnswer struct {
	ID, Serial, Name, Model, Firmware string
	Proven                            bool
	Channels                          []struct {
		Channel      int
		Name         string
		Capabilities []string
	}
	Warnings []struct{ Code, Detail string }
}

// proving starts a service that proves devices.
func proving(t testing.TB, more ...string) *service {
	t.Helper()
	return serve(t, binary, t.TempDir(), append([]string{"--device-proof", "required"}, more...)...)
}

// TestADeviceIsProven: it is what it says, and not what is typed.
func TestADeviceIsProven(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.0.1")
	recorder := startSimCamera(t, "127.2.0.2", func(c *simcamera.Config) {
		c.Recorder, c.Fixed, c.Channels, c.Serial = true, true, 3, "DS-7604NI/K1 4712"
	})
	s := proving(t)
	owner := s.register(t, "owner")
	var one deviceAnswer
	owner.must("POST", "/devices", map[string]any{
		"name": "Door", "rtsp_url": cam.URL(1, false), "isapi_url": "http://" + cam.HTTPAddr(), "username": cameraUser, "password": cameraPassword,
	}, &one)
	if one.ID != "ds-2cd2042wd-4711" || one.Model != "DS-2CD2042WD" || one.Firmware != "V5.5.71 build 180723" || !one.Proven || len(one.Warnings) != 0 {
		t.Errorf("%+v", one)
	}
	var all deviceAnswer
	owner.must("POST", "/devices", map[string]any{
		"name": "DVR", "rtsp_url": recorder.URL(1, false), "isapi_url": "http://" + recorder.HTTPAddr(), "username": cameraUser, "password": cameraPassword,
	}, &all)
	if all.ID != "ds-7604ni-k1-4712" || len(all.Channels) != 3 || all.Channels[2].Name != "Linked Camera 03" || fmt.Sprint(all.Channels[2].Capabilities) != "[live_view playback alarm two_way_audio]" {
		t.Errorf("%+v", all)
	}
	key := owner.streamKey()
	if got := describeStatus(t, s.rtsp, "/"+all.ID+"/3", key); got != 200 { // by an address that nobody typed
		t.Errorf("the linked camera is answered %d", got)
	}
	var list struct{ Items []deviceAnswer }
	owner.must("GET", "/devices", nil, &list)
	if len(list.Items) != 2 || list.Items[0].Firmware != one.Firmware || !list.Items[1].Proven {
		t.Errorf("%+v", list)
	}
	stranger := s.register(t, "stranger")
	err := stranger.call("POST", "/devices", map[string]any{
		"name": "Mine", "rtsp_url": cam.URL(1, false), "isapi_url": "http://" + cam.HTTPAddr(), "username": cameraUser, "password": cameraPassword,
	}, nil)
	if !hasCode(err, "device_taken") || !strings.Contains(err.Error(), "request access") {
		t.Errorf("in another account: %v", err)
	}
	if cam.WrongPasswords()+recorder.WrongPasswords() != 0 {
		t.Error("a wrong password was given")
	}
}

// TestADeviceOfAnother: GStreamer's server, which is no Hikvision device.
func TestADeviceOfAnotherMake(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"basic", "digest"} {
		cam := startGstCamera(t, method)
		s := proving(t)
		owner := s.register(t, "owner")
		add := func(path, password string) error {
			return owner.call("POST", "/devices", map[string]any{
				"name": "Door", "rtsp_url": "rtsp://" + cam.addr + path, "username": cameraUser, "password": password,
			}, nil)
		}
		if err := add("/pcma", cameraPassword); err != nil {
			t.Errorf("%s: %v", method, err)
		}
		if err := add("/nothing", cameraPassword); !hasCode(err, "device_no_such_path") {
			t.Errorf("%s: no such path: %v", method, err)
		}
		if err := add("/pcma", "wrong"); !hasCode(err, "device_wrong_password") {
			t.Errorf("%s: wrong password: %v", method, err)
		}
	}
}

// TestWhyADeviceIsNotAdded: each reason is told apart, with the field at fault; nothing
// is added, and the camera is never locked.
func TestWhyADeviceIsNotAdded(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.0.3", func(c *simcamera.Config) { c.Fixed = true })
	web := &http.Server{}
	l, err := net.Listen("tcp", "127.2.0.4:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = web.Serve(l) }()
	t.Cleanup(func() { web.Close() })
	s := proving(t, "--camera-nets", "127.2.0.0/16")
	owner := s.register(t, "owner")
	right := func(change map[string]any) map[string]any {
		d := map[string]any{
			"name": "Door", "rtsp_url": cam.URL(1, false), "isapi_url": "http://" + cam.HTTPAddr(), "username": cameraUser, "password": cameraPassword,
		}
		for k, v := range change {
			if d[k] = v; v == nil {
				delete(d, k)
			}
		}
		return d
	}
	for _, sc := range []struct {
		name   string
		change map[string]any
		status int
		code   string
		field  string
	}{
		{"no such path", map[string]any{"rtsp_url": cam.URL(9, false)}, 422, "device_no_such_path", "/rtsp_url"},
		{"nobody there", map[string]any{"rtsp_url": "rtsp://127.2.0.99:1/x"}, 422, "device_unreachable", "/rtsp_url"},
		{"a web server", map[string]any{"rtsp_url": "rtsp://" + l.Addr().String() + "/x"}, 422, "device_not_rtsp", "/rtsp_url"},
		{"no ISAPI", map[string]any{"isapi_url": "http://" + l.Addr().String()}, 422, "device_unsupported", "/isapi_url"},
		{"outside", map[string]any{"rtsp_url": "rtsp://127.3.0.1/x"}, 422, "device_address_forbidden", "/rtsp_url"},
		{"another serial", map[string]any{"serial": "DS-OTHER"}, 422, "serial_mismatch", "/serial"},
		{"it does not move", map[string]any{"rtsp_url": nil, "channels": []any{map[string]any{"channel": 1, "rtsp_url": cam.URL(1, false), "capabilities": []string{"ptz"}}}}, 422, "beyond_capability", "/channels/0/capabilities"},
		{"no such channel", map[string]any{"rtsp_url": nil, "channels": []any{map[string]any{"channel": 9, "rtsp_url": cam.URL(1, false)}}}, 422, "unknown_channel", "/channels/0/channel"},
		{"no address", map[string]any{"rtsp_url": nil, "isapi_url": nil}, 422, "invalid_body", "/rtsp_url"},
		{"wrong password", map[string]any{"password": "wrong"}, 422, "device_wrong_password", "/password"},
		{"wrong password again", map[string]any{"password": "wrong 2"}, 422, "device_wrong_password", "/password"},
		{"wrong password, a third time", map[string]any{"password": "wrong 3"}, 422, "device_wrong_password", "/password"},
		{"once too often", map[string]any{"password": "wrong 4"}, 429, "device_attempts_exhausted", ""},
		{"nor with the right one", nil, 429, "device_attempts_exhausted", ""},
	} {
		res, p := post(t, s, owner.token, "/devices", right(sc.change))
		if res.StatusCode != sc.status || p.Code != sc.code || sc.field != "" && p.Errors[sc.field] == "" {
			t.Errorf("%s: status %d, %+v", sc.name, res.StatusCode, p)
		}
		if sc.status == 429 && res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: it does not say when to try again", sc.name)
		}
	}
	if cam.Locked() || cam.WrongPasswords() != 3 {
		t.Errorf("%d wrong passwords, locked %v", cam.WrongPasswords(), cam.Locked())
	}
	var list struct{ Items []deviceAnswer }
	owner.must("GET", "/devices", nil, &list)
	if len(list.Items) != 0 {
		t.Errorf("%+v", list)
	}
	if said := s.said(); strings.Contains(said, cameraPassword) || strings.Contains(said, "wrong 4") {
		t.Error("a password is in what the service prints")
	}
}

// refusal is a problem document with the fields at fault.
type refusal struct {
	Code, Detail string
	Errors       map[string]string
	Certificate  string `json:"certificate_sha256"`
}

func post(t testing.TB, s *service, token, path string, body any) (*http.Response, refusal) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest("POST", "http://"+s.http+"/api/v1"+path, strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var p refusal
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil && !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Fatal(err)
	}
	return res, p
}

// TestUnproven: with --device-proof off a device is added as it is described, with a
// warning, and nobody connects to it.
func TestUnproven(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.0.5")
	s := serve(t, binary, t.TempDir(), "--device-proof", "off")
	owner := s.register(t, "owner")
	var d deviceAnswer
	owner.must("POST", "/devices", map[string]any{"name": "Door", "serial": "ABC-1", "rtsp_url": cam.URL(1, false), "username": cameraUser, "password": "wrong"}, &d)
	if d.ID != "abc-1" || d.Proven || d.Model != "" || len(d.Channels) != 1 || len(d.Channels[0].Capabilities) != 5 || len(d.Warnings) != 1 || d.Warnings[0].Code != "device_not_proven" {
		t.Errorf("%+v", d)
	}
	if n := cam.WrongPasswords(); n != 0 {
		t.Errorf("the camera was asked, %d times", n)
	}
	var got struct{ Online map[string]string }
	owner.must("GET", "/devices/"+d.ID, nil, &got)
	if len(got.Online) != 1 || got.Online["state"] != "unknown" {
		t.Errorf("%v", got.Online)
	}
}

// TestOldFirmwareIsNotShared before it is updated, and the answer says to which version.
func TestOldFirmwareIsNotShared(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "firmware.yaml")
	if err := os.WriteFile(file, []byte("DS-2CD*: V5.6.0 build 190101\nDS-76*: V4.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := startSimCamera(t, "127.2.0.6")
	current := startSimCamera(t, "127.2.0.7", func(c *simcamera.Config) { c.Serial, c.Model = "DVR-1", "DS-7604" })
	s := proving(t, "--sharing-firmware", file)
	owner, recipient := s.register(t, "owner"), s.register(t, "recipient")
	add := func(c *simcamera.Camera) string {
		var d deviceAnswer
		owner.must("POST", "/devices", map[string]any{
			"name": "Door", "rtsp_url": c.URL(1, false), "isapi_url": "http://" + c.HTTPAddr(), "username": cameraUser, "password": cameraPassword,
		}, &d)
		return d.ID
	}
	first, second := add(old), add(current)
	offer := func(devices ...any) map[string]any {
		return map[string]any{"recipient": map[string]any{"email": recipient.login}, "devices": devices}
	}
	res, p := post(t, s, owner.token, "/shares", offer(invitation(second, "live_view"), invitation(first, "live_view")))
	if res.StatusCode != 422 || p.Code != "firmware_too_old" || !strings.Contains(p.Detail, "V5.6.0 build 190101") || p.Errors["/devices/1/device"] == "" {
		t.Errorf("status %d, %+v", res.StatusCode, p)
	}
	id := owner.share(recipient, second, "live_view")
	if err := owner.call("PUT", "/shares/"+id+"/devices/"+first, invitation(first, "live_view"), nil); !hasCode(err, "firmware_too_old") {
		t.Errorf("put into a share: %v", err)
	}
}
