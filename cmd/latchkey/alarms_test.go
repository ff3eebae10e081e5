package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/simcamera"
)

type alarmAnswer struct {
	ID, Device, Kind string
	Channel          int
	RaisedAt         time.Time `json:"raised_at"`
	CameraTime       time.Time `json:"camera_time"`
	AcknowledgedAt   time.Time `json:"acknowledged_at"`
}

func (u *user) alarms() []alarmAnswer {
	u.t.Helper()
	var list struct{ Items []alarmAnswer }
	u.must("GET", "/alarms", nil, &list)
	return list.Items
}

// nextAlarm returns the next alarm on a stream, and fails on the way for events that are
// named.
func (s *eventStream) nextAlarm() (a struct{ Alarm, Device, Kind string }) {
	s.t.Helper()
	for {
		e, ok := s.next()
		if !ok {
			s.t.Fatal("the stream ended")
		}
		if e.name != "alarm" {
			continue
		}
		if err := json.Unmarshal([]byte(e.data), &a); err != nil || !strings.Contains(e.id, "-") {
			s.t.Fatalf("%+v: %v", e, err)
		}
		return a
	}
}

// postAlarm is what a device posts with its key.
func postAlarm(t testing.TB, s *service, path, kind string) int {
	t.Helper()
	body := `<EventNotificationAlert><channelID>1</channelID><eventType>` + kind + `</eventType><eventState>active</eventState></EventNotificationAlert>`
	a, err := http.Post("http://"+s.http+path, "application/xml", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	_, _ = io.Copy(io.Discard, a.Body)
	return a.StatusCode
}

// TestAlarmsReachWhoMayKnowOfThem: owner and recipient are told of a camera's alarm, on
// their streams, in their lists and by webhook; after the privilege was taken away, the
// next one reaches the owner alone. It comes by ISAPI, and posted.
func TestAlarmsReachWhoMayKnowOfThem(t *testing.T) {
	hook := newReceiver(t)
	trust(t, hook)
	s := serve(t, binary, t.TempDir(), loopbackHooks)
	owner, recipient := s.register(t, "owner"), s.register(t, "recipient")
	cam := startSimCamera(t, "127.2.1.9", func(cfg *simcamera.Config) { cfg.Heartbeat = 200 * time.Millisecond })
	var added struct{ ID string }
	owner.must("POST", "/devices", simCamera(cam, "Door"), &added)
	device := added.ID
	share := owner.share(recipient, device, "alarm")
	recipient.accept(share, device)
	recipient.must("PUT", "/accounts/me/webhook", map[string]any{"url": hook.URL}, nil)
	theirs, status := owner.follow("")
	if status != 200 {
		t.Fatalf("status %d", status)
	}
	mine, _ := recipient.follow("")
	eventually(t, "the camera is listened to", func() bool { return cam.AlarmListeners() == 1 })

	cam.RaiseAlarm(1, simcamera.Motion, 100*time.Millisecond)
	cam.RaiseAlarm(2, simcamera.Motion, 100*time.Millisecond) // not shared
	first := mine.nextAlarm()
	if first.Device != device || first.Kind != "motion" {
		t.Errorf("%+v", first)
	}
	if a, b := theirs.nextAlarm(), theirs.nextAlarm(); a.Alarm != first.Alarm && b.Alarm != first.Alarm {
		t.Errorf("the owner: %+v, %+v", a, b)
	}
	if list := recipient.alarms(); len(list) != 1 || list[0].ID != first.Alarm || list[0].Channel != 1 || list[0].CameraTime.IsZero() {
		t.Errorf("the recipient has %+v", list)
	}
	recipient.must("POST", "/alarms/"+first.Alarm+"/acknowledge", nil, nil)
	if list := owner.alarms(); len(list) != 2 || !list[0].AcknowledgedAt.IsZero() || !list[1].AcknowledgedAt.IsZero() {
		t.Errorf("the owner has %+v", list)
	}
	if d := hook.wait(1); d.kind != "alarm" || d.device != device || !strings.Contains(d.body, first.Alarm) {
		t.Errorf("%+v", d)
	}

	var camera struct{ Key, Path string }
	owner.must("POST", "/devices/"+device+"/alarm-receiver", nil, &camera)
	owner.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}, nil)
	cam.RaiseAlarm(1, "linedetection", 100*time.Millisecond)
	if a := theirs.nextAlarm(); a.Kind != "line_crossing" {
		t.Errorf("%+v", a)
	}
	if status := postAlarm(t, s, camera.Path, "fielddetection"); status != http.StatusNoContent {
		t.Errorf("posting: status %d", status)
	}
	if a := theirs.nextAlarm(); a.Kind != "intrusion" {
		t.Errorf("%+v", a)
	}
	if list := recipient.alarms(); len(list) != 0 {
		t.Errorf("without the privilege, the recipient has %+v", list)
	}
	owner.must("POST", "/shares/"+share+"/pause", nil, nil)
	for e, _ := mine.next(); e.name != "paused"; e, _ = mine.next() {
		if e.name == "alarm" {
			t.Errorf("without the privilege, the recipient is told: %+v", e)
		}
	}
	for _, d := range hook.deliveries() {
		if d.kind == "alarm" && !strings.Contains(d.body, first.Alarm) {
			t.Errorf("without the privilege, the webhook is told: %+v", d)
		}
	}
	owner.must("DELETE", "/devices/"+device, nil, nil)
	if list := owner.alarms(); len(list) != 0 {
		t.Errorf("after the device was removed: %+v", list)
	}
	eventually(t, "the camera is left alone", func() bool { return cam.AlarmListeners() == 0 })
	if status := postAlarm(t, s, camera.Path, "VMD"); status != http.StatusNotFound {
		t.Errorf("posting for a device that was removed: status %d", status)
	}
	if n := cam.WrongPasswords(); n != 0 {
		t.Errorf("%d wrong passwords", n)
	}
}

// TestAlarmsByPullPoint: owner and recipient are told of an alarm of a camera that speaks
// ONVIF only, and who may only watch is not.
func TestAlarmsByPullPoint(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir())
	owner, recipient, watcher := s.register(t, "owner"), s.register(t, "recipient"), s.register(t, "watcher")
	cam := startSimCamera(t, "127.2.1.10")
	var added struct{ ID string }
	owner.must("POST", "/devices", map[string]any{
		"name": "Door", "rtsp_url": cam.URL(1, false), "onvif_url": "http://" + cam.HTTPAddr() + "/onvif/device_service", "username": cameraUser, "password": cameraPassword,
	}, &added)
	recipient.accept(owner.share(recipient, added.ID, "alarm"), added.ID)
	watching := owner.share(watcher, added.ID, "live_view")
	watcher.accept(watching, added.ID)
	theirs, _ := owner.follow("")
	mine, _ := recipient.follow("")
	none, _ := watcher.follow("")
	eventually(t, "the camera is listened to", func() bool { return cam.Subscriptions() == 1 })

	cam.RaiseAlarm(1, simcamera.Motion, 100*time.Millisecond)
	a, b := theirs.nextAlarm(), mine.nextAlarm()
	if a.Device != added.ID || a.Kind != "motion" || a != b {
		t.Errorf("the owner is told %+v, the recipient %+v", a, b)
	}
	owner.must("POST", "/shares/"+watching+"/pause", nil, nil)
	for e, ok := none.next(); e.name != "paused"; e, ok = none.next() {
		if !ok || e.name == "alarm" {
			t.Fatalf("without the privilege: %+v, %v", e, ok)
		}
	}
	if list := watcher.alarms(); len(list) != 0 {
		t.Errorf("without the privilege: %+v", list)
	}
}
