package app

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

var update = flag.Bool("update", false, "write the golden file anew; the logs that exist were written as it says")

const goldenLog = "testdata/log.golden.txt"

// TestTheLogOfThen: the same commands write the same log as in earlier versions: the
// names of streams, the bytes of events, and ids and fingerprints, by which a repeat is
// recognised that was first sent to an earlier version.
func TestTheLogOfThen(t *testing.T) {
	w := emptyWorld(t)
	ids := 0
	w.newID = func() string { ids++; return fmt.Sprintf("0198c0de-0000-7000-8000-%012d", ids) }
	w.random = rand.NewChaCha8([32]byte{1})
	everyCommand(t, w)
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(w.log.streams)) {
		fmt.Fprintln(&out, name)
		for _, e := range w.log.streams[name] {
			id := e.ID.String()
			if strings.HasPrefix(name, "domain-") {
				id = "a new one each time"
			}
			fmt.Fprintf(&out, "\t%s %s\n\t\t%s\n\t\t%s\n", e.Type, id, e.Data, e.Metadata)
		}
	}
	if *update {
		if err := os.WriteFile(goldenLog, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenLog)
	if err != nil {
		t.Fatal(err)
	}
	got, lines := strings.Split(out.String(), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(got), len(lines)) {
		if got[i] != lines[i] {
			t.Fatalf("line %d is\n%s\nwant\n%s", i+1, got[i], lines[i])
		}
	}
	if len(got) != len(lines) {
		t.Errorf("%d lines, want %d", len(got), len(lines))
	}
}

// everyCommand gives each command once, with an idempotency key.
func everyCommand(t *testing.T, w *world) {
	t.Helper()
	n := 0
	as := func(account string) Meta {
		n++
		w.clock = w.clock.Add(1234567 * time.Nanosecond)
		return Meta{Account: account, IdempotencyKey: fmt.Sprint("key ", n)}
	}
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	alice, err := w.accounts.Register(ctx, as(""), Registration{Email: " Alice@Example.COM ", Password: password, Name: "Alice <1>"})
	ok("register", err)
	bob, err := w.accounts.Register(ctx, as(""), Registration{Phone: "+86 189 6919 0000", Password: password})
	ok("register by phone", err)
	cam, err := w.devices.Add(ctx, as(alice.Account), NewDevice{Name: "Door & gate", Serial: " CAM-1 ", RTSPURL: "rtsp://viewer:p%40ss@192.0.2.1/Streaming/Channels/101", ISAPIURL: "http://192.0.2.1", ONVIFURL: "http://192.0.2.1/onvif"})
	ok("add a device", err)
	dvr, err := w.devices.Add(ctx, as(alice.Account), NewDevice{Name: "Recorder", Username: "admin", Password: "secret", Channels: []NewChannel{
		{Channel: 2, Name: "Yard", MainURL: "rtsp://192.0.2.2/2", SubURL: "rtsp://192.0.2.2/2s", Capabilities: privilege.LiveView | privilege.Playback}, {Channel: 1, CapabilitiesUnknown: true},
	}})
	ok("add a device without serial", err)
	on := func(device string, channel int, p privilege.Set) DeviceGrants {
		return DeviceGrants{Device: device, Grants: []share.Grant{{Channel: channel, Privileges: p}}}
	}
	saved, err := w.shares.Save(ctx, as(alice.Account), NewShare{Phone: "0086 18969190000", Remark: "Neighbour", Devices: []DeviceGrants{on("CAM-1", 1, privilege.LiveView)}})
	ok("save a share", err)
	id := saved.Share.ID
	_, err = w.shares.Save(ctx, as(alice.Account), NewShare{Email: "carol@example.com"})
	ok("save a share without devices", err)
	_, err = w.shares.PutDevice(ctx, as(alice.Account), id, on(dvr.Device.Device, 2, privilege.Playback))
	ok("put a device", err)
	_, err = w.shares.Accept(ctx, as(bob.Account), id, "Cam-1")
	ok("accept", err)
	_, err = w.shares.SetDomain(ctx, as(bob.Account), id, "cam-1", "door")
	ok("set a domain", err)
	_, err = w.shares.Reject(ctx, as(bob.Account), id, dvr.Device.Device)
	ok("reject", err)
	_, err = w.shares.Replace(ctx, as(alice.Account), id, "Uncle", nil, []DeviceGrants{on("cam-1", 1, privilege.All), on(dvr.Device.Device, 1, privilege.PTZ)})
	ok("replace", err)
	_, err = w.shares.RemoveDevice(ctx, as(bob.Account), id, "CAM-1")
	ok("leave a device", err)
	_, err = w.shares.PutDevice(ctx, as(alice.Account), id, on(cam.Device.Device, 1, privilege.Alarm))
	ok("put it again", err)
	expires := w.clock.Add(time.Hour)
	key, err := w.keys.Add(ctx, as(bob.Account), NewStreamKey{Label: "Phone", Expires: &expires})
	ok("add a stream key", err)
	_, err = w.keys.Add(ctx, as(alice.Account), NewStreamKey{Device: "CAM-1"})
	ok("add a stream key of a device", err)
	_, err = w.keys.Revoke(ctx, as(bob.Account), key.Key.Name)
	ok("revoke it", err)
	_, err = w.devices.Remove(ctx, as(alice.Account), "CAM-1")
	ok("remove a device", err)
	_, err = w.devices.Add(ctx, as(bob.Account), NewDevice{Name: "Mine now", Serial: "cam-1", RTSPURL: "rtsp://192.0.2.3/"})
	ok("add it to another account", err)
	_, err = w.shares.Delete(ctx, as(alice.Account), id)
	ok("delete a share", err)
	_, err = w.shares.Save(ctx, as(alice.Account), NewShare{Phone: "+8618969190000", Devices: []DeviceGrants{on(dvr.Device.Device, 2, privilege.LiveView)}})
	ok("open it again", err)
	_, err = w.shares.Delete(ctx, as(bob.Account), id)
	ok("leave it", err)
}
