package app

import (
	"reflect"
	"testing"

	"latchkey/domain/event"
	"latchkey/domain/privilege"
)

func (w *world) words(field, sealed string) string {
	w.t.Helper()
	plain, err := w.vault.Unseal(ctx, field, sealed)
	if err != nil {
		w.t.Fatal(err)
	}
	return plain
}

// TestRenameDevice: a name changes what is read, and nothing else.
func TestRenameDevice(t *testing.T) {
	w := newWorld(t)
	share := w.accepted(gives(w.dvr, 1, privilege.LiveView))
	r, err := w.devices.Rename(ctx, Meta{Account: w.alice}, " DS-7216 ", DeviceNames{Name: "Shed", Channels: []ChannelName{{2, "Gate"}}})
	if err != nil {
		t.Fatal(err)
	}
	d := r.Device
	if w.words(event.FieldDevice, d.Name) != "Shed" || w.words(event.FieldChannel, d.Channels[1].Name) != "Gate" || d.Channels[0].Name != "" || d.Channels[1].Capabilities != privilege.Playback {
		t.Errorf("%+v", d)
	}
	w.wantAbsent("shed", "gate")
	// What follows sees the whole device, by its last event alone.
	if _, err := w.shares.PutDevice(ctx, Meta{Account: w.alice}, share, gives(w.dvr, 2, privilege.Playback)); err != nil {
		t.Error(err)
	}
	_, err = w.devices.Add(ctx, Meta{Account: w.eve}, NewDevice{Name: "Mine", Serial: "DS-7216"})
	wantCode(t, err, Conflict, "device_taken")
	_, err = w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "Again", Serial: "DS-7216"})
	wantCode(t, err, Conflict, "device_already_added")
	if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.dvr); err != nil {
		t.Error(err)
	}
	second, err := w.devices.Add(ctx, Meta{Account: w.eve}, NewDevice{Name: "Mine", Serial: "DS-7216"})
	if err != nil || second.Device.Device != "ds-7216.2" {
		t.Errorf("%+v, %v", second, err)
	}
}

func TestRefusedNames(t *testing.T) {
	w := newWorld(t)
	for name, sc := range map[string]struct {
		by, device string
		names      DeviceNames
		kind       Kind
		code       string
		field      Field
	}{
		"another's":       {w.eve, w.dvr, DeviceNames{Name: "x"}, NotFound, "device_not_found", ""},
		"nobody's":        {w.alice, "no-such", DeviceNames{Name: "x"}, NotFound, "device_not_found", ""},
		"no id":           {w.alice, "../x", DeviceNames{Name: "x"}, NotFound, "device_not_found", ""},
		"no channel":      {w.alice, w.dvr, DeviceNames{Channels: []ChannelName{{1, "a"}, {7, "b"}}}, Invalid, "unknown_channel", "channels[1].channel"},
		"a channel twice": {w.alice, w.dvr, DeviceNames{Channels: []ChannelName{{1, "a"}, {2, "b"}, {1, "c"}}}, Invalid, "channel_twice", "channels[2].channel"},
		"spaces":          {w.alice, w.dvr, DeviceNames{Name: "  "}, Invalid, "invalid_body", "name"},
		"control":         {w.alice, w.dvr, DeviceNames{Channels: []ChannelName{{1, "a\x00"}}}, Invalid, "invalid_body", "channels[0].name"},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.log.position
			_, err := w.devices.Rename(ctx, Meta{Account: sc.by}, sc.device, sc.names)
			e := wantCode(t, err, sc.kind, sc.code)
			if sc.field != "" && e.Fields[sc.field] == "" || w.log.position != before {
				t.Errorf("fields %v", e.Fields)
			}
		})
	}
	before := w.log.position
	if r, err := w.devices.Rename(ctx, Meta{Account: w.alice}, w.cam, DeviceNames{Name: "Front door"}); err != nil || w.log.position != before || r.Device.Device != w.cam {
		t.Errorf("the same name: %+v, %v", r, err)
	}
}

// TestRefresh notes facts, and changes no privilege.
func TestRefresh(t *testing.T) {
	w := newWorld(t)
	f := &fakeDevice{facts: DeviceFacts{Serial: "CAM-1", Model: "M", Firmware: "V2", Channels: []ChannelFacts{{Channel: 1, Lacks: privilege.PTZ}}}}
	w.devices.prover, w.devices.unproven = f, true
	r, err := w.devices.Refresh(ctx, Meta{Account: w.alice}, w.cam)
	if err != nil || r.Device.Facts.Model != "M" || r.Device.Facts.Firmware != "V2" || r.Unproven || r.Device.Channels[0].Capabilities != privilege.All {
		t.Fatalf("%+v, %v", r, err)
	}
	if !reflect.DeepEqual(f.asked[0], w.vault.cameras[w.cam]) {
		t.Errorf("asked at %+v", f.asked[0])
	}
	f.facts.Serial = "CAM-2"
	_, err = w.devices.Refresh(ctx, Meta{Account: w.alice}, w.cam)
	wantCode(t, err, Invalid, "serial_mismatch")
	f.err = &NotProven{Reason: "timeout", Service: "rtsp", Channel: 1}
	_, err = w.devices.Refresh(ctx, Meta{Account: w.alice}, w.cam)
	wantCode(t, err, Invalid, "device_timeout")
	asked := len(f.asked)
	_, err = w.devices.Refresh(ctx, Meta{Account: w.eve}, w.cam)
	wantCode(t, err, NotFound, "device_not_found")
	_, err = w.devices.Refresh(ctx, Meta{Account: w.alice}, w.dvr)
	wantCode(t, err, Invalid, "device_unreachable") // it has no address
	if len(f.asked) != asked {
		t.Error("a device was asked that is not the caller's, or has no address")
	}
}

// TestNewCredentials keep every share, and replace what is given only after the device
// has accepted them.
func TestNewCredentials(t *testing.T) {
	f := &fakeDevice{facts: DeviceFacts{Serial: "DS-7604"}}
	w := proving(t, f)
	f.facts.Channels = []ChannelFacts{{Channel: 1, Listed: true}, {Channel: 2, Listed: true}}
	id := w.addDevice(w.alice, NewDevice{Name: "DVR", RTSPURL: hikvision, ISAPIURL: "http://192.0.2.20", Username: "admin", Password: "old secret"})
	share := w.accepted(gives(id, 1, privilege.LiveView))
	old := w.vault.cameras[id]

	f.err = &NotProven{Reason: "wrong_password", Service: "isapi"}
	_, err := w.devices.SetCredentials(ctx, Meta{Account: w.alice}, id, NewCredentials{Username: "admin", Password: "wrong"})
	if e := wantCode(t, err, Invalid, "device_wrong_password"); e.Fields["password"] == "" {
		t.Errorf("fields %v", e.Fields)
	}
	f.err, f.facts.Serial = nil, "DS-OTHER"
	_, err = w.devices.SetCredentials(ctx, Meta{Account: w.alice}, id, NewCredentials{Username: "admin", Password: "of another"})
	wantCode(t, err, Invalid, "serial_mismatch")
	f.facts.Serial = "DS-7604"
	_, err = w.devices.SetCredentials(ctx, Meta{Account: w.eve}, id, NewCredentials{Username: "admin", Password: "new secret"})
	wantCode(t, err, NotFound, "device_not_found")
	_, err = w.devices.SetCredentials(ctx, Meta{Account: w.alice}, id, NewCredentials{Channels: []ChannelAddress{{Channel: 7, MainURL: hikvision}}})
	wantFields(t, err, "channels[0].channel")
	_, err = w.devices.SetCredentials(ctx, Meta{Account: w.alice}, id, NewCredentials{RTSPURL: "http://x/"})
	wantFields(t, err, "rtsp_url")
	if !reflect.DeepEqual(w.vault.cameras[id], old) {
		t.Fatalf("what was refused is in force: %+v", w.vault.cameras[id])
	}

	r, err := w.devices.SetCredentials(ctx, Meta{Account: w.alice}, id, NewCredentials{
		RTSPURL: "rtsp://root:new%20secret@192.0.2.99:8554/Streaming/Channels/101", Channels: []ChannelAddress{{Channel: 2, SubURL: "rtsp://192.0.2.99/x"}},
	})
	if err != nil || r.Device.Device != id {
		t.Fatal(err)
	}
	want := Camera{Username: "root", Password: "new secret", ISAPIURL: "http://192.0.2.20", Channels: []CameraChannel{
		{1, "rtsp://192.0.2.99:8554/Streaming/Channels/101", "rtsp://192.0.2.99:8554/Streaming/Channels/102"},
		{2, "rtsp://192.0.2.99:8554/Streaming/Channels/201", "rtsp://192.0.2.99/x"},
	}}
	if got := w.vault.cameras[id]; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	s, err := w.loadShare(ctx, share)
	if in, ok := s.state.Find(id); err != nil || !ok || !in.Active() {
		t.Errorf("the share: %+v, %v", s.state, err)
	}
	w.wantAbsent("new secret", "192.0.2.99")
}

// TestAdditionIsFoundAfterChanges: what a crash left staged is settled though the device
// was renamed since.
func TestAdditionIsFoundAfterChanges(t *testing.T) {
	w := newWorld(t)
	there, err := load(ctx, w.core, deviceKind, deviceStream("cam-1"))
	if err != nil {
		t.Fatal(err)
	}
	adder := there.last.ID.String()
	if _, err := w.devices.Rename(ctx, Meta{Account: w.alice}, w.cam, DeviceNames{Name: "Back door"}); err != nil {
		t.Fatal(err)
	}
	camera := w.vault.cameras[w.cam]
	delete(w.vault.cameras, w.cam)
	w.vault.staged[[2]string{w.cam, adder}] = camera
	if err := w.devices.SettleStaged(ctx, w.cam, adder, w.clock); err != nil || !reflect.DeepEqual(w.vault.cameras[w.cam], camera) {
		t.Errorf("%+v, %v", w.vault.cameras, err)
	}
	if d, err := w.loadDevice(ctx, w.cam); err != nil || d.Changes != 1 || d.Name == "" {
		t.Errorf("%+v, %v", d, err)
	}
}
