package app

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"latchkey/domain/event"
	"latchkey/domain/privilege"
)

// fakeDevice is a Prover in memory.
type fakeDevice struct {
	facts DeviceFacts
	err   error
	asked []Camera
	hook  func()
}

func (f *fakeDevice) Prove(_ context.Context, _ string, c Camera) (DeviceFacts, error) {
	f.asked = append(f.asked, c)
	if f.hook != nil {
		f.hook()
	}
	return f.facts, f.err
}

// proving is a world whose devices are proven.
func proving(t *testing.T, f *fakeDevice) *world {
	t.Helper()
	w := newWorld(t)
	w.devices.prover = f
	return w
}

const hikvision = "rtsp://192.0.2.20/Streaming/Channels/101"

var dvrFacts = DeviceFacts{Serial: "DS-7604 4711/A", Model: "DS-7604", Firmware: "V4.1 build 1", Channels: []ChannelFacts{
	{Channel: 1, Name: "Gate", Listed: true, Lacks: privilege.PTZ},
	{Channel: 2, Name: "Yard", Listed: true},
}}

// TestFactsComplete what a request leaves out, and nothing that it says.
func TestFactsComplete(t *testing.T) {
	for name, sc := range map[string]struct {
		device  NewDevice
		facts   DeviceFacts
		serial  string
		names   []string
		caps    []privilege.Set
		streams []string
	}{
		"all": {NewDevice{Name: "DVR", RTSPURL: hikvision}, dvrFacts, "ds-7604-4711-a", []string{"Gate", "Yard"},
			[]privilege.Set{privilege.All.Without(privilege.PTZ), privilege.All}, []string{hikvision, "rtsp://192.0.2.20/Streaming/Channels/201"}},
		"what is said stays": {NewDevice{Name: "DVR", Serial: "ds-7604-4711-A", Channels: []NewChannel{
			{Channel: 2, Name: "Mine", Capabilities: privilege.LiveView, MainURL: "rtsp://192.0.2.20/x"},
		}}, dvrFacts, "ds-7604-4711-a", []string{"Mine"}, []privilege.Set{privilege.LiveView}, []string{"rtsp://192.0.2.20/x"}},
		"another path names no channels": {NewDevice{Name: "DVR", RTSPURL: "rtsp://192.0.2.20/live"}, dvrFacts, "ds-7604-4711-a",
			[]string{"Gate"}, []privilege.Set{privilege.All.Without(privilege.PTZ)}, []string{"rtsp://192.0.2.20/live"}},
		"it says nothing":             {NewDevice{Name: "Camera", Serial: "abc", RTSPURL: hikvision}, DeviceFacts{}, "abc", []string{""}, []privilege.Set{privilege.All}, []string{hikvision}},
		"a serial that cannot be one": {NewDevice{Name: "Camera", Serial: "abc", RTSPURL: hikvision}, DeviceFacts{Serial: "??"}, "abc", []string{""}, []privilege.Set{privilege.All}, []string{hikvision}},
	} {
		t.Run(name, func(t *testing.T) {
			w := proving(t, &fakeDevice{facts: sc.facts})
			r, err := w.devices.Add(ctx, Meta{Account: w.alice}, sc.device)
			if err != nil {
				t.Fatal(err)
			}
			d := r.Device
			if d.Device != sc.serial || d.Facts.Model != sc.facts.Model || d.Facts.Firmware != sc.facts.Firmware || !d.Facts.Proven() || r.Unproven || len(d.Channels) != len(sc.names) {
				t.Fatalf("%+v", r)
			}
			for i, c := range d.Channels {
				if got, err := w.vault.Unseal(ctx, event.FieldChannel, c.Name); err != nil || got != sc.names[i] || c.Capabilities != sc.caps[i] || w.vault.cameras[d.Device].Channels[i].MainURL != sc.streams[i] {
					t.Errorf("channel %d: %q, %v, %v", c.Channel, got, c.Capabilities, w.vault.cameras[d.Device].Channels[i])
				}
			}
		})
	}
}

// TestNotProven: each reason has its code and the field at fault, and adds nothing.
func TestNotProven(t *testing.T) {
	two := NewDevice{Name: "DVR", RTSPURL: hikvision, ISAPIURL: "http://192.0.2.20", ONVIFURL: "http://192.0.2.20/onvif", Channels: []NewChannel{
		{Channel: 1}, {Channel: 2, MainURL: "rtsp://192.0.2.20/2"},
	}}
	for name, sc := range map[string]struct {
		device NewDevice
		facts  DeviceFacts
		err    error
		kind   Kind
		code   string
		field  Field
	}{
		"password":                 {two, DeviceFacts{}, &NotProven{Reason: "wrong_password", Service: "rtsp", Channel: 1}, Invalid, "device_wrong_password", "password"},
		"password of ISAPI":        {two, DeviceFacts{}, &NotProven{Reason: "wrong_password", Service: "isapi"}, Invalid, "device_wrong_password", "isapi_url"},
		"path":                     {two, DeviceFacts{}, &NotProven{Reason: "no_such_path", Service: "rtsp", Channel: 1}, Invalid, "device_no_such_path", "rtsp_url"},
		"path of a channel":        {two, DeviceFacts{}, &NotProven{Reason: "no_such_path", Service: "rtsp", Channel: 2}, Invalid, "device_no_such_path", "channels[1].main_url"},
		"away":                     {two, DeviceFacts{}, &NotProven{Reason: "not_reachable", Service: "onvif"}, Invalid, "device_unreachable", "onvif_url"},
		"no RTSP":                  {two, DeviceFacts{}, &NotProven{Reason: "not_rtsp", Service: "rtsp", Channel: 1}, Invalid, "device_not_rtsp", "rtsp_url"},
		"time":                     {two, DeviceFacts{}, &NotProven{Reason: "timeout", Service: "rtsp", Channel: 1}, Invalid, "device_timeout", "rtsp_url"},
		"policy":                   {two, DeviceFacts{}, &NotProven{Reason: "address_forbidden", Service: "rtsp", Channel: 1}, Invalid, "device_address_forbidden", "rtsp_url"},
		"a description":            {two, DeviceFacts{}, &NotProven{Reason: "description_unreadable", Service: "rtsp", Channel: 1}, Invalid, "device_description_unreadable", "rtsp_url"},
		"a certificate":            {two, DeviceFacts{}, &NotProven{Reason: "certificate_not_trusted", Service: "rtsp", Channel: 1, Certificate: "ab"}, Invalid, "certificate_not_trusted", "rtsp_url"},
		"a fingerprint of nothing": {NewDevice{Name: "DVR", RTSPURL: hikvision, Certificate: "ab:cd"}, DeviceFacts{}, nil, Invalid, "invalid_body", "certificate_sha256"},
		"a reason of a new build":  {two, DeviceFacts{}, &NotProven{Reason: "moon", Service: "rtsp", Channel: 1}, Invalid, "device_unsupported", "rtsp_url"},
		"guesses":                  {two, DeviceFacts{}, &NotProven{Reason: "too_many_attempts", RetryAfter: time.Minute}, TooSoon, "device_attempts_exhausted", ""},
		"proofs":                   {two, DeviceFacts{}, &NotProven{Reason: "too_many_proofs", RetryAfter: time.Minute}, TooSoon, "device_proofs_exhausted", ""},
		"a bug":                    {two, DeviceFacts{}, errors.New("a bug"), Unavailable, "unavailable", ""},
		"no address":               {NewDevice{Name: "DVR"}, DeviceFacts{}, nil, Invalid, "invalid_body", "rtsp_url"},
		"another serial":           {NewDevice{Name: "DVR", Serial: "DS-1", RTSPURL: hikvision}, dvrFacts, nil, Invalid, "serial_mismatch", "serial"},
		"wider than it is":         {NewDevice{Name: "DVR", RTSPURL: hikvision, Channels: []NewChannel{{Channel: 2}, {Channel: 1, Capabilities: privilege.All}}}, dvrFacts, nil, Invalid, "beyond_capability", "channels[1].capabilities"},
		"a channel that it hasn't": {NewDevice{Name: "DVR", Channels: []NewChannel{{Channel: 3, MainURL: hikvision}}}, dvrFacts, nil, Invalid, "unknown_channel", "channels[0].channel"},
	} {
		t.Run(name, func(t *testing.T) {
			w := proving(t, &fakeDevice{facts: sc.facts, err: sc.err})
			before, cameras := w.log.position, len(w.vault.cameras)+len(w.vault.staged)
			_, err := w.devices.Add(ctx, Meta{Account: w.alice}, sc.device)
			e := wantCode(t, err, sc.kind, sc.code)
			if sc.field != "" && (len(e.Fields) != 1 || e.Fields[sc.field] == "") {
				t.Errorf("fields %v; want %s", e.Fields, sc.field)
			}
			if wants := sc.code == "certificate_not_trusted"; wants != (e.Certificate != "") {
				t.Errorf("the fingerprint is %q", e.Certificate)
			}
			if sc.kind == TooSoon && e.RetryAfter != time.Minute {
				t.Errorf("wait %v", e.RetryAfter)
			}
			if w.log.position != before || len(w.vault.cameras)+len(w.vault.staged) != cameras {
				t.Error("something changed")
			}
		})
	}
}

// TestARepeatConnectsToNothing: the answer is that of the first time, though the device
// is away now.
func TestARepeatConnectsToNothing(t *testing.T) {
	f := &fakeDevice{facts: dvrFacts}
	w := proving(t, f)
	m := Meta{Account: w.alice, IdempotencyKey: "one"}
	first, err := w.devices.Add(ctx, m, NewDevice{Name: "DVR", RTSPURL: hikvision})
	if err != nil {
		t.Fatal(err)
	}
	f.err = &NotProven{Reason: "not_reachable", Service: "rtsp", Channel: 1}
	for range 2 {
		again, err := w.devices.Add(ctx, m, NewDevice{Name: "DVR", RTSPURL: hikvision})
		if err != nil || !reflect.DeepEqual(again, first) {
			t.Fatalf("%+v, %v; want %+v", again, err, first)
		}
	}
	if len(f.asked) != 1 {
		t.Errorf("the device was asked %d times", len(f.asked))
	}
	_, err = w.devices.Add(ctx, m, NewDevice{Name: "Other", RTSPURL: hikvision})
	wantCode(t, err, Invalid, "device_unreachable") // the device is asked before the log
}

// TestAWrongPasswordMayBeMended with the same key: what was refused has not used it.
func TestAWrongPasswordMayBeMended(t *testing.T) {
	f := &fakeDevice{facts: dvrFacts, err: &NotProven{Reason: "wrong_password", Service: "rtsp", Channel: 1}}
	w := proving(t, f)
	m := Meta{Account: w.alice, IdempotencyKey: "one"}
	d := NewDevice{Name: "DVR", RTSPURL: hikvision, Username: "admin", Password: "x"}
	_, err := w.devices.Add(ctx, m, d)
	wantCode(t, err, Invalid, "device_wrong_password")
	f.err, d.Password = nil, "right"
	if _, err := w.devices.Add(ctx, m, d); err != nil || f.asked[1].Password != "right" {
		t.Errorf("%v", err)
	}
}

// TestASlowDeviceBlocksNobody: other commands of the account go on meanwhile, those on
// the same device too.
func TestASlowDeviceBlocksNobody(t *testing.T) {
	f := &fakeDevice{facts: dvrFacts}
	w := proving(t, f)
	f.hook = func() {
		f.hook = nil
		w.devices.prover = nil
		if _, err := w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "Faster", Serial: "ds-7604-4711-A"}); err != nil {
			t.Error(err)
		}
	}
	_, err := w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "DVR", RTSPURL: hikvision})
	wantCode(t, err, Conflict, "device_already_added")
}

// TestADeviceElsewhere is told to whoever proved it, whoever has it.
func TestADeviceElsewhere(t *testing.T) {
	f := &fakeDevice{facts: DeviceFacts{Serial: "CAM-1"}}
	w := proving(t, f)
	_, err := w.devices.Add(ctx, Meta{Account: w.eve}, NewDevice{Name: "Mine", RTSPURL: hikvision})
	wantCode(t, err, Conflict, "device_taken")
	f.err = &NotProven{Reason: "wrong_password", Service: "rtsp", Channel: 1}
	_, err = w.devices.Add(ctx, Meta{Account: w.eve}, NewDevice{Name: "Mine", Serial: "CAM-1", RTSPURL: hikvision})
	wantCode(t, err, Invalid, "device_wrong_password")
}
