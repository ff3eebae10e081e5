package app

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"latchkey/domain/device"
	"latchkey/domain/privilege"
)

func recorder() NewDevice {
	return NewDevice{
		Name: "Warehouse", Serial: " DS-7216-691B23 ", Username: "viewer", Password: "camera secret",
		RTSPURL: "rtsp://192.0.2.20/Streaming/Channels/101", ISAPIURL: "http://192.0.2.20", ONVIFURL: "https://192.0.2.20:8443/onvif",
		Channels: []NewChannel{
			{Channel: 2, Name: "Yard", MainURL: "rtsps://192.0.2.20:322/Streaming/Channels/201", SubURL: "rtsp://192.0.2.20/other", Capabilities: privilege.LiveView},
			{Channel: 1, Name: "Gate", CapabilitiesUnknown: true, Capabilities: privilege.Alarm},
			{Channel: 3, Name: "Nothing"},
		},
	}
}

func TestAddDevice(t *testing.T) {
	w := newWorld(t)
	r, err := w.devices.Add(ctx, Meta{Account: w.alice}, recorder())
	if err != nil || r.Position == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	d := r.Device
	if d.Device != "ds-7216-691b23" || d.Serial != "DS-7216-691B23" || d.Owner != w.alice || !d.Live || d.Generation != 1 || !d.AddedAt.Equal(w.clock) {
		t.Errorf("%+v", d)
	}
	capabilities := []privilege.Set{privilege.All, privilege.LiveView, privilege.None}
	for i, c := range d.Channels {
		if c.Channel != i+1 || c.Capabilities != capabilities[i] {
			t.Errorf("channel %+v; want %d with %v", c, i+1, capabilities[i])
		}
	}
	want := Camera{
		Username: "viewer", Password: "camera secret", ISAPIURL: "http://192.0.2.20", ONVIFURL: "https://192.0.2.20:8443/onvif",
		Channels: []CameraChannel{
			{Channel: 2, MainURL: "rtsps://192.0.2.20:322/Streaming/Channels/201", SubURL: "rtsp://192.0.2.20/other"},
			{Channel: 1, MainURL: "rtsp://192.0.2.20/Streaming/Channels/101", SubURL: "rtsp://192.0.2.20/Streaming/Channels/102"},
			{Channel: 3},
		},
	}
	if got := w.vault.cameras[d.Device]; !reflect.DeepEqual(got, want) {
		t.Errorf("camera %+v; want %+v", got, want)
	}
	w.wantAbsent("warehouse", "yard", "camera secret", "192.0.2", "rtsp")
}

func TestAddDeviceAlone(t *testing.T) {
	w := newWorld(t)
	r, err := w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "Door", RTSPURL: "rtsp://192.0.2.1/h264"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Device.Device) != len("cam-")+10 || !strings.HasPrefix(r.Device.Device, "cam-") {
		t.Errorf("id %q", r.Device.Device)
	}
	if c := r.Device.Channels; len(c) != 1 || c[0].Channel != 1 || c[0].Capabilities != privilege.All {
		t.Errorf("channels %+v", c)
	}
	if c := w.vault.cameras[r.Device.Device].Channels; len(c) != 1 || c[0] != (CameraChannel{Channel: 1, MainURL: "rtsp://192.0.2.1/h264"}) {
		t.Errorf("camera %+v", c)
	}
	other := w.addDevice(w.alice, NewDevice{Name: "Door"})
	if other == r.Device.Device {
		t.Error("two devices have one id")
	}
}

// TestCredentialsInURLs: people paste an address as their camera's manual has it.
func TestCredentialsInURLs(t *testing.T) {
	for name, d := range map[string]NewDevice{
		"the device's":    {RTSPURL: "rtsp://viewer:p%40ss@192.0.2.1:8554/Streaming/Channels/101?a=b%2Fc"},
		"given as well":   {Username: "viewer", Password: "p@ss", RTSPURL: "rtsp://viewer:p%40ss@192.0.2.1:8554/Streaming/Channels/101?a=b%2Fc"},
		"one channel's":   {Channels: []NewChannel{{Channel: 1, MainURL: "rtsp://viewer:p@ss@192.0.2.1:8554/Streaming/Channels/101?a=b%2Fc"}}},
		"both streams'":   {Channels: []NewChannel{{Channel: 1, MainURL: "rtsp://viewer:p%40ss@192.0.2.1:8554/Streaming/Channels/101?a=b%2Fc", SubURL: "rtsp://viewer:p%40ss@192.0.2.1:8554/Streaming/Channels/102?a=b%2Fc"}}},
		"channel 1 apart": {RTSPURL: "rtsp://viewer:p%40ss@192.0.2.1:8554/Streaming/Channels/101?a=b%2Fc", Channels: []NewChannel{{Channel: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d.Name = "Door"
			pasted := d.Channels
			held := slices.Clone(pasted)
			got := w.vault.cameras[w.addDevice(w.alice, d)]
			want := Camera{Username: "viewer", Password: "p@ss", Channels: []CameraChannel{{
				Channel: 1, MainURL: "rtsp://192.0.2.1:8554/Streaming/Channels/101?a=b%2Fc", SubURL: "rtsp://192.0.2.1:8554/Streaming/Channels/102?a=b%2Fc",
			}}}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("camera %+v; want %+v", got, want)
			}
			if !slices.Equal(pasted, held) {
				t.Error("the caller's own list was changed")
			}
		})
	}
}

func TestAddDeviceRefuses(t *testing.T) {
	w := newWorld(t)
	events := len(w.log.all())
	with := func(change func(*NewDevice)) NewDevice { d := recorder(); change(&d); return d }
	for name, in := range map[string]struct {
		d      NewDevice
		fields []Field
	}{
		"no name":               {with(func(d *NewDevice) { d.Name = "" }), []Field{"name"}},
		"a name of spaces":      {with(func(d *NewDevice) { d.Name = " \u00a0 " }), []Field{"name"}},
		"a long name":           {with(func(d *NewDevice) { d.Name = strings.Repeat("n", 129) }), []Field{"name"}},
		"a short serial":        {with(func(d *NewDevice) { d.Serial = "ab" }), []Field{"serial"}},
		"a serial with a dot":   {with(func(d *NewDevice) { d.Serial = "abc.2" }), []Field{"serial"}},
		"a serial of spaces":    {with(func(d *NewDevice) { d.Serial = "   " }), []Field{"serial"}},
		"a long user name":      {with(func(d *NewDevice) { d.Username = strings.Repeat("n", 257) }), []Field{"username"}},
		"a line in a password":  {with(func(d *NewDevice) { d.Password = "a\r\nb" }), []Field{"password"}},
		"another scheme":        {with(func(d *NewDevice) { d.ISAPIURL = "file:///etc/passwd" }), []Field{"isapi_url"}},
		"ftp":                   {with(func(d *NewDevice) { d.ONVIFURL = "ftp://192.0.2.1" }), []Field{"onvif_url"}},
		"another user in a URL": {with(func(d *NewDevice) { d.RTSPURL = "rtsp://u:p@192.0.2.1/" }), []Field{"rtsp_url"}},
		"another password":      {with(func(d *NewDevice) { d.Channels[0].SubURL = "rtsp://viewer:p@192.0.2.1/" }), []Field{"channels[0].sub_url"}},
		"a password, no user":   {with(func(d *NewDevice) { d.Username = ""; d.RTSPURL = "rtsp://u:p@192.0.2.1/" }), []Field{"rtsp_url"}},
		"two users in URLs": {with(func(d *NewDevice) {
			d.Username, d.Password, d.RTSPURL, d.Channels[0].MainURL = "", "", "rtsp://u:p@192.0.2.1/", "rtsp://u:q@192.0.2.1/"
		}), []Field{"channels[0].main_url"}},
		"a line in a URL's password": {with(func(d *NewDevice) { d.Username, d.Password, d.RTSPURL = "", "", "rtsp://u:p%0d%0aq@192.0.2.1/" }), []Field{"rtsp_url"}},
		"a user in another URL":      {with(func(d *NewDevice) { d.ISAPIURL = "http://viewer:p@192.0.2.1/" }), []Field{"isapi_url"}},
		"no rtsp":                    {NewDevice{Name: "Web", RTSPURL: "http://u:p@192.0.2.1/"}, []Field{"rtsp_url"}},
		"no host":                    {with(func(d *NewDevice) { d.Channels[0].MainURL = "rtsp:///live" }), []Field{"channels[0].main_url"}},
		"opaque":                     {with(func(d *NewDevice) { d.Channels[0].MainURL = "rtsp:192.0.2.1" }), []Field{"channels[0].main_url"}},
		"http for rtsp":              {with(func(d *NewDevice) { d.Channels[0].SubURL = "http://192.0.2.1" }), []Field{"channels[0].sub_url"}},
		"a port too high":            {with(func(d *NewDevice) { d.ISAPIURL = "http://192.0.2.1:65536" }), []Field{"isapi_url"}},
		"a fragment":                 {with(func(d *NewDevice) { d.ISAPIURL = "http://192.0.2.1/#a" }), []Field{"isapi_url"}},
		"a line in a URL":            {with(func(d *NewDevice) { d.ISAPIURL = "http://192.0.2.1/\r\nx" }), []Field{"isapi_url"}},
		"a long URL":                 {with(func(d *NewDevice) { d.ISAPIURL = "http://192.0.2.1/" + strings.Repeat("a", 2048) }), []Field{"isapi_url"}},
		"channel 0":                  {with(func(d *NewDevice) { d.Channels[2].Channel = 0 }), []Field{"channels[2].channel"}},
		"channel 512":                {with(func(d *NewDevice) { d.Channels[2].Channel = 512 }), []Field{"channels[2].channel"}},
		"channel 1 given twice":      {with(func(d *NewDevice) { d.Channels[1].MainURL = "rtsp://192.0.2.1/" }), []Field{"rtsp_url"}},
		"too much in names": {with(func(d *NewDevice) {
			d.RTSPURL, d.Channels = "", make([]NewChannel, 200)
			for i := range d.Channels {
				d.Channels[i] = NewChannel{Channel: i + 1, Name: strings.Repeat("n", 100), MainURL: "rtsp://192.0.2.1/1"}
			}
		}), []Field{"channels"}},
		"too many channels": {with(func(d *NewDevice) { d.Channels = make([]NewChannel, 512) }), []Field{"channels", "rtsp_url"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.devices.Add(ctx, Meta{Account: w.alice}, in.d)
			wantFields(t, err, in.fields...)
			for _, reason := range append(slices.Collect(maps.Values(wantCode(t, err, Invalid, "invalid_body").Fields)), err.Error()) {
				if strings.Contains(reason, "u:p") || strings.Contains(reason, "192.0.2") {
					t.Errorf("the error repeats the address: %s", reason)
				}
			}
		})
	}
	_, err := w.devices.Add(ctx, Meta{Account: w.alice}, with(func(d *NewDevice) { d.Channels[2].Channel = 2 }))
	wantField(t, wantCode(t, err, Invalid, "channel_twice"), "channels[2].channel")
	_, err = w.devices.Add(ctx, Meta{}, recorder())
	wantCode(t, err, Unauthenticated, "unauthenticated")
	if n := len(w.log.all()); n != events {
		t.Fatalf("refusals wrote %d events", n-events)
	}
}

func TestSubStream(t *testing.T) {
	for in, want := range map[string]string{
		"":                                       "",
		"rtsp://h/live":                          "",
		"rtsp://h/Streaming/Channels/101":        "rtsp://h/Streaming/Channels/102",
		"rtsp://h:8554/streaming/channels/1201/": "rtsp://h:8554/streaming/channels/1202/",
		"rtsp://h/ISAPI/Streaming/channels/101?a=b": "rtsp://h/ISAPI/Streaming/channels/102?a=b",
		"rtsp://h/Streaming/Channels/102":           "",
		"rtsp://h/Streaming/tracks/101":             "",
		"rtsp://h/Streaming/Channels/111":           "",
		"rtsp://h/a%2Fb/Streaming/Channels/101":     "",
	} {
		if got := subStream(in); got != want {
			t.Errorf("%s: %q; want %q", in, got, want)
		}
	}
}

func TestGenerations(t *testing.T) {
	w := newWorld(t)
	_, err := w.devices.Add(ctx, Meta{Account: w.eve}, NewDevice{Name: "Mine now", Serial: "cam-1", RTSPURL: "rtsp://203.0.113.1/evil"})
	wantField(t, wantCode(t, err, Conflict, "device_taken"), "serial")
	_, err = w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "Again", Serial: "CAM-1", RTSPURL: "rtsp://192.0.2.9/other"})
	wantField(t, wantCode(t, err, Conflict, "device_already_added"), "serial")
	if url := w.vault.cameras[w.cam].Channels[0].MainURL; url != "rtsp://192.0.2.1/live" {
		t.Fatalf("whoever was refused changed the camera to %s", url)
	}
	for _, who := range []string{w.eve, w.bob} {
		_, err = w.devices.Remove(ctx, Meta{Account: who}, w.cam)
		wantCode(t, err, NotFound, "device_not_found")
	}
	if _, err = w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.vault.cameras[w.cam]; ok {
		t.Error("the camera's secrets are still there")
	}
	_, err = w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam)
	wantCode(t, err, NotFound, "device_not_found")
	second := w.addDevice(w.eve, NewDevice{Name: "Mine now", Serial: "cam-1"})
	if second != w.cam+".2" {
		t.Fatalf("the second generation is %q", second)
	}
	for _, id := range []string{w.cam, second, second + "2", w.cam + ".1", w.cam + ".02", w.cam + ".3", "", "..", "share-x/../y", strings.Repeat("a", 65)} {
		_, err = w.devices.Remove(ctx, Meta{Account: w.alice}, id)
		wantCode(t, err, NotFound, "device_not_found")
	}
	if _, err = w.devices.Remove(ctx, Meta{Account: w.eve}, second); err != nil {
		t.Fatal(err)
	}
}

// TestLoserKeepsOut: of two who add the same serial at once, the loser's
// address never stands in for the winner's.
func TestLoserKeepsOut(t *testing.T) {
	w := newWorld(t)
	w.log.before = once(func(string) {
		if _, err := w.node().devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "Ours", Serial: "new-1", RTSPURL: "rtsp://192.0.2.9/ours"}); err != nil {
			t.Error(err)
		}
	})
	_, err := w.devices.Add(ctx, Meta{Account: w.eve}, NewDevice{Name: "Theirs", Serial: "new-1", RTSPURL: "rtsp://203.0.113.1/theirs"})
	wantCode(t, err, Conflict, "device_taken")
	if url := w.vault.cameras["new-1"].Channels[0].MainURL; url != "rtsp://192.0.2.9/ours" {
		t.Fatalf("the camera is %s", url)
	}
}

func TestAddDeviceRepeat(t *testing.T) {
	for name, serial := range map[string]string{"with serial": "new-1", "without": ""} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := NewDevice{Name: "Door", Serial: serial, RTSPURL: "rtsp://192.0.2.9/live"}
			m := Meta{Account: w.alice, IdempotencyKey: "key"}
			w.vault.fail = errors.New("the vault is away")
			_, err := w.devices.Add(ctx, m, d)
			wantCode(t, err, Unavailable, "unavailable")
			w.vault.fail = nil
			first, err := w.devices.Add(ctx, m, d)
			if err != nil || w.vault.cameras[first.Device.Device].Channels[0].MainURL != d.RTSPURL {
				t.Fatalf("the repeat did not finish it: %+v, %v", first, err)
			}
			again, err := w.devices.Add(ctx, m, d)
			if err != nil || !reflect.DeepEqual(again, first) {
				t.Fatalf("%+v, %v; want %+v", again, err, first)
			}
			if got := w.log.types(deviceStream(first.Device.Serial)); got != "device.added" {
				t.Fatalf("stream: %s", got)
			}
			if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, first.Device.Device); err != nil {
				t.Fatal(err)
			}
			late, err := w.devices.Add(ctx, m, d)
			if err != nil || late.Position != first.Position {
				t.Fatalf("%+v, %v; want the answer of then", late, err)
			}
			if _, ok := w.vault.cameras[first.Device.Device]; ok {
				t.Error("a late repeat brought the secrets of a removed device back")
			}
			d.RTSPURL += "2"
			_, err = w.devices.Add(ctx, m, d)
			wantCode(t, err, Invalid, "idempotency_key_reused")
		})
	}
}

func TestEndSharesOfDevice(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.All), gives(w.dvr, 2, privilege.Playback))
	other, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "carol@example.com", Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}})
	if err != nil {
		t.Fatal(err)
	}
	w.log.behind = true // so that the policy has something to do
	if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam); err != nil {
		t.Fatal(err)
	}
	history := w.log.streams[deviceStream("cam-1")]
	cause := history[len(history)-1].ID
	w.log.before = once(func(string) { // another change at the same time
		if _, err := w.node().shares.Reject(ctx, Meta{Account: w.bob}, id, w.dvr); err != nil {
			t.Error(err)
		}
	})
	for range 2 {
		if err := w.devices.EndShares(ctx, cause, w.cam, []string{id, other.Share.ID}); err != nil {
			t.Fatal(err)
		}
	}
	for share, want := range map[string]string{
		id:             "share.opened share.invited share.invited share.accepted share.accepted share.rejected share.device_removed",
		other.Share.ID: "share.opened share.invited share.device_removed",
	} {
		if got := w.log.types(shareStream(share)); got != want {
			t.Errorf("stream: %s; want %s", got, want)
		}
	}
	added := w.log.streams[shareStream(other.Share.ID)][2]
	if want := uuid.NewSHA1(cause, []byte(shareStream(other.Share.ID)+"\x002")); added.ID != want {
		t.Errorf("event %s; want %s: whoever else follows the cause writes the same", added.ID, want)
	}
	if err := w.devices.EndShares(ctx, cause, w.cam, []string{"nonsense"}); err == nil {
		t.Error("nonsense is a share")
	}
	_, err = w.shares.Accept(ctx, Meta{Account: w.bob}, id, w.cam)
	wantCode(t, err, Conflict, "not_invited")
}

// TestEndSharesWithoutVault: that the camera's secrets cannot be forgotten yet
// keeps no share alive, and is tried again.
func TestEndSharesWithoutVault(t *testing.T) {
	w := newWorld(t)
	id := w.accepted(gives(w.cam, 1, privilege.All))
	w.vault.fail = errors.New("the vault is away")
	if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, w.cam); err != nil {
		t.Fatal(err)
	}
	cause := w.log.streams[deviceStream("cam-1")][1].ID
	if err := w.devices.EndShares(ctx, cause, w.cam, []string{id}); err == nil {
		t.Error("nobody would try again to forget the secrets")
	}
	if got := w.log.types(shareStream(id)); got != "share.opened share.invited share.accepted share.device_removed" {
		t.Errorf("stream: %s", got)
	}
	w.vault.fail = nil
	if err := w.devices.EndShares(ctx, cause, w.cam, []string{id}); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.vault.cameras[w.cam]; ok {
		t.Error("the camera's secrets are still there")
	}
}

// once runs f the first time only, also when f leads to itself.
func once(f func(string)) func(string) {
	done := false
	return func(s string) {
		if !done {
			done = true
			f(s)
		}
	}
}

// TestHistoryIsNotRead: however often a device was added and removed, no command
// on it reads more than its last event, least of all one of a stranger's.
func TestHistoryIsNotRead(t *testing.T) {
	w := newWorld(t)
	id := w.cam
	for range 50 {
		if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, id); err != nil {
			t.Fatal(err)
		}
		r, err := w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "Front door", Serial: "cam-1", RTSPURL: "rtsp://10.0.0.1/1"})
		if err != nil {
			t.Fatal(err)
		}
		id = r.Device.Device
	}
	stranger := w.bob
	for name, c := range map[string]struct {
		do   func() error
		want error
		most int // events read
	}{
		"a stranger removes it": {func() error { _, err := w.devices.Remove(ctx, Meta{Account: stranger}, id); return err }, device.ErrNotFound, 1},
		"with a key": {func() error {
			_, err := w.devices.Remove(ctx, Meta{Account: stranger, IdempotencyKey: "k"}, id)
			return err
		}, device.ErrNotFound, 1},
		"a stranger adds it": {func() error {
			_, err := w.devices.Add(ctx, Meta{Account: stranger, IdempotencyKey: "k"}, NewDevice{Name: "n", Serial: "cam-1", RTSPURL: "rtsp://10.0.0.1/1"})
			return err
		}, device.ErrTaken, 1},
		"its owner adds it again": {func() error {
			_, err := w.devices.Add(ctx, Meta{Account: w.alice}, NewDevice{Name: "n", Serial: "cam-1", RTSPURL: "rtsp://10.0.0.1/1"})
			return err
		}, device.ErrAlreadyAdded, 1},
	} {
		w.log.reads = 0
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if w.log.reads > c.most {
			t.Errorf("%s: %d events were read, want %d at most", name, w.log.reads, c.most)
		}
	}
	w.log.reads = 0
	if _, err := w.devices.Remove(ctx, Meta{Account: w.alice}, id); err != nil || w.log.reads > 1 {
		t.Errorf("its owner removes it: %v, %d events were read", err, w.log.reads)
	}
}
