package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/simcamera"
)

var allPrivileges = []string{"live_view", "playback", "alarm", "two_way_audio", "ptz"}

// action is something that one privilege covers.
type action struct {
	name, privilege string
	allowed         func() bool
}

// TestEachPrivilegeAlone: with each of the 32 combinations of privileges, a recipient can
// do exactly what they cover, and what none covers is refused with all of them.
func TestEachPrivilegeAlone(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.3.1", func(cfg *simcamera.Config) { cfg.Heartbeat = 200 * time.Millisecond })
	s := serve(t, binary, t.TempDir())
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	var added struct{ ID string }
	owner.must("POST", "/devices", simCamera(cam, "Gate"), &added)
	device := added.ID
	share := owner.share(rita, device, allPrivileges...)
	rita.accept(share, device)
	key := rita.streamKey()
	eventually(t, "the camera is listened to", func() bool { return cam.AlarmListeners() == 1 })
	actions := actionsOn(t, s, rita, device, key)
	for combination := range 1 << len(allPrivileges) {
		var given []string
		for i, p := range allPrivileges {
			if combination>>i&1 != 0 {
				given = append(given, p)
			}
		}
		if given == nil {
			owner.must("POST", "/shares/"+share+"/pause", nil, nil) // one without privileges cannot be made
		} else {
			owner.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": invitation(device, given...)["channels"]}, nil)
		}
		for _, a := range actions {
			if want := slices.Contains(given, a.privilege); a.allowed() != want {
				t.Errorf("with %v, %s: allowed is %v", given, a.name, !want)
			}
		}
		knows := alarmReaches(t, cam, owner, rita)
		if want := slices.Contains(given, "alarm"); knows != want {
			t.Errorf("with %v, of an alarm: told is %v", given, knows)
		}
		if given == nil {
			owner.must("POST", "/shares/"+share+"/resume", nil, nil)
		}
	}
	for _, who := range []*user{owner, rita} {
		writesAreRefused(t, s, who, device)
	}
	if orders := cam.Orders(1); slices.ContainsFunc(orders, func(o string) bool { return o != "stop" }) {
		t.Errorf("the camera was told %q", orders)
	}
}

// actionsOn are what a recipient may do with a device, by its privileges.
func actionsOn(t *testing.T, s *service, u *user, device, key string) []action {
	path := "/devices/" + device + "/channels/1/"
	rest := func(method, at string) func() bool {
		return func() bool {
			err := u.call(method, path+at, nil, nil)
			if err != nil && !hasCode(err, "privilege_missing") && !hasCode(err, "device_not_found") {
				t.Errorf("%s %s: %v", method, at, err)
			}
			return err == nil
		}
	}
	describes := func(at, header string, want func(sdp string) bool) func() bool {
		return func() bool {
			v, err := dialRaw(s.rtsp, at, key)
			if err != nil {
				t.Fatal(err)
			}
			defer v.close()
			headers := []string{"Accept: application/sdp"}
			if header != "" {
				headers = append(headers, header)
			}
			r, err := v.do("DESCRIBE", v.url, headers...)
			if err != nil {
				t.Fatal(err)
			}
			if r.status != 200 && r.status != 403 && r.status != 404 {
				t.Errorf("DESCRIBE %s %s: status %d", at, header, r.status)
			}
			return r.status == 200 && want(r.body)
		}
	}
	now := time.Now().UTC()
	stamp := func(ago time.Duration) string { return now.Add(-ago).Format("20060102T150405Z") }
	const backChannel = "Require: www.onvif.org/ver20/backchannel"
	video := func(sdp string) bool { return strings.Contains(sdp, "m=video") }
	talk := func(sdp string) bool { return strings.Contains(sdp, "a=sendonly") }
	recorded := fmt.Sprintf("recordings?from=%s&to=%s", now.Add(-2*time.Hour).Format(time.RFC3339), now.Add(-time.Hour).Format(time.RFC3339))
	return []action{
		{"watching live", "live_view", describes("/"+device+"/1", "", video)},
		{"the sub stream", "live_view", describes("/"+device+"/Streaming/Channels/102", "", video)},
		{"a picture", "live_view", func() bool { status, _ := u.getPicture(device); return status == 200 }},
		{"what the streams are", "live_view", rest("GET", "streams")},
		{"playing back", "playback", describes("/"+device+"/1/playback?starttime="+stamp(2*time.Hour)+"&endtime="+stamp(time.Hour), "", video)},
		{"playing back a track", "playback", describes("/"+device+"/Streaming/tracks/101?starttime="+stamp(2*time.Hour), "", video)},
		{"the list of recordings", "playback", rest("GET", recorded)},
		{"talking", "two_way_audio", describes("/"+device+"/1", backChannel, talk)},
		{"stopping its movement", "ptz", rest("POST", "ptz/stop")},
		{"where it looks", "ptz", rest("GET", "ptz/status")},
		{"its presets", "ptz", rest("GET", "ptz/presets")},
	}
}

// alarmReaches raises an alarm, and reports whether the recipient can see it as soon as the
// owner does.
func alarmReaches(t *testing.T, cam *simcamera.Camera, owner, recipient *user) bool {
	t.Helper()
	newest := func(u *user) string {
		list := u.alarms()
		if len(list) == 0 {
			return ""
		}
		return list[0].ID
	}
	eventually(t, "the camera is listened to", func() bool { return cam.AlarmListeners() == 1 })
	before := newest(owner)
	kinds := []string{simcamera.Motion, "linedetection", "fielddetection"} // the end of one may come late
	cam.RaiseAlarm(1, kinds[len(owner.alarms())%len(kinds)], 50*time.Millisecond)
	var raised string
	eventually(t, "the owner knows of the alarm", func() bool { raised = newest(owner); return raised != before })
	return slices.ContainsFunc(recipient.alarms(), func(a alarmAnswer) bool { return a.ID == raised })
}

// writesAreRefused tries what cameras let administrators do, and no privilege covers.
func writesAreRefused(t *testing.T, s *service, u *user, device string) {
	t.Helper()
	for _, path := range []string{
		"/ISAPI/System/reboot", "/ISAPI/System/factoryReset", "/ISAPI/System/updateFirmware", "/ISAPI/System/time", "/ISAPI/System/deviceInfo",
		"/ISAPI/System/Network/interfaces/1", "/ISAPI/Security/users/1", "/ISAPI/Security/adminAccesses", "/ISAPI/Streaming/channels/101",
		"/ISAPI/Image/channels/1", "/ISAPI/PTZCtrl/channels/1/presets/1", "/ISAPI/PTZCtrl/channels/1/continuous", "/ISAPI/System/IO/outputs/1/trigger",
		"/ISAPI/System/TwoWayAudio/channels/1/open", "/ISAPI/ContentMgmt/record/control/manual/start/tracks/101", "/ISAPI/ContentMgmt/Storage/hdd/1/format",
		"/ISAPI/Event/notification/httpHosts/1", "/ISAPI/Event/triggers/VMD-1", "/onvif/device_service", "/onvif/ptz_service", "/onvif/media_service",
	} {
		for _, at := range []string{path, "/api/v1/devices/" + device + path, "/api/v1/devices/" + device + "/channels/1" + path} {
			for _, method := range []string{"PUT", "POST", "DELETE", "GET"} {
				r, err := http.NewRequest(method, "http://"+s.http+at, strings.NewReader("<x/>"))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+u.token)
				a, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				a.Body.Close()
				if a.StatusCode != 404 && a.StatusCode != 405 {
					t.Errorf("%s %s: status %d", method, at, a.StatusCode)
				}
			}
		}
	}
	v, err := dialRaw(s.rtsp, "/"+device+"/1", u.streamKey())
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	for _, method := range []string{"ANNOUNCE", "RECORD", "REDIRECT", "PUT"} {
		if r, err := v.do(method, v.url); err != nil || r.status < 400 {
			t.Errorf("%s through the door: %v, %v", method, r, err)
			break
		}
	}
}

// TestWhatIsTakenEndsAlone: a recipient uses everything at once; each privilege that is
// taken away ends what it carries, before the answer, and nothing else.
func TestWhatIsTakenEndsAlone(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.3.2", func(cfg *simcamera.Config) { cfg.Heartbeat = 200 * time.Millisecond })
	s := serve(t, binary, t.TempDir())
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	var added struct{ ID string }
	owner.must("POST", "/devices", simCamera(cam, "Gate"), &added)
	device := added.ID
	share := owner.share(rita, device, allPrivileges...)
	rita.accept(share, device)
	key := rita.streamKey()
	eventually(t, "the camera is listened to", func() bool { return cam.AlarmListeners() == 1 })
	stamp := time.Now().UTC().Add(-2 * time.Hour).Format("20060102T150405Z")
	goesOn := func(v *rawViewer) bool {
		_ = v.conn.SetReadDeadline(time.Now().Add(patience))
		for range 20 {
			if _, err := v.packet(); err != nil {
				return false
			}
		}
		return true
	}
	ends := func(v *rawViewer) bool {
		_, err := drain(v)
		return err != nil
	}
	for _, taken := range []string{"live_view", "playback", "alarm", "ptz"} {
		live, old := watching(t, s.rtsp, "/"+device+"/1", key, "tcp"), watching(t, s.rtsp, "/"+device+"/1/playback?starttime="+stamp, key, "tcp")
		rita.must("POST", ptzPath(device, 1)+"/move", map[string]any{"pan": 0.1, "stop_after": 10}, nil)
		left := slices.DeleteFunc(slices.Clone(allPrivileges), func(p string) bool { return p == taken })
		owner.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": invitation(device, left...)["channels"]}, nil)
		if moving := cam.Moving(1); moving != (taken != "ptz") {
			t.Errorf("without %s, it moves: %v", taken, moving)
		}
		for name, v := range map[string]*rawViewer{"live_view": live, "playback": old} {
			if name == taken {
				if !ends(v) {
					t.Errorf("without %s, it goes on", taken)
				}
			} else if !goesOn(v) {
				t.Errorf("without %s, %s ended", taken, name)
			}
		}
		if knows := alarmReaches(t, cam, owner, rita); knows != (taken != "alarm") {
			t.Errorf("without %s, told of an alarm: %v", taken, knows)
		}
		owner.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": invitation(device, allPrivileges...)["channels"]}, nil)
		live.close()
		old.close()
		eventually(t, "both are gone", func() bool {
			return !slices.ContainsFunc(owner.viewers(device), func(v viewerAnswer) bool { return strings.HasPrefix(v.Transport, "rtsp") })
		})
		rita.must("DELETE", ptzPath(device, 1), nil, nil)
	}
}
