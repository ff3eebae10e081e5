package main

import (
	"strings"
	"testing"

	"latchkey/internal/mailtest"
)

type accessRequests struct {
	Items []struct {
		ID      string
		Message string
		Device  struct{ ID, Name string }
		From    struct{ Email, Name string }
	}
	Next string
}

func (u *user) accessRequests() accessRequests {
	u.t.Helper()
	var list accessRequests
	u.must("GET", "/access-requests", nil, &list)
	return list
}

func (u *user) requestAccess(serial, message string) error {
	return u.call("POST", "/access-requests", map[string]any{"serial": serial, "message": message}, nil)
}

// TestAccessIsRequested: whoever finds a device in another account asks its owner, who is
// told at once, and shares the device or dismisses the request. Nothing tells whether
// there is such a device.
func TestAccessIsRequested(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir())
	owner, rita, sam := s.register(t, "owner"), s.register(t, "rita"), s.register(t, "sam")
	const serial = "DS-7216-691B23"
	add := map[string]any{"name": "Yard", "serial": serial, "rtsp_url": "rtsp://127.0.0.1:1/h264"}
	var device deviceAnswer
	owner.must("POST", "/devices", add, &device)
	if err := rita.call("POST", "/devices", add, nil); !hasCode(err, "device_taken") || !strings.Contains(err.Error(), "request access") {
		t.Fatalf("a device of another: %v", err)
	}
	events, _ := owner.follow("")
	if e, _ := events.next(); e.name != "ready" {
		t.Fatalf("the stream begins with %+v", e)
	}
	body := func(serial string) string { return `{"serial":"` + serial + `","message":"Flat 3"}` }
	taken, free := rita.ask("POST", "/api/v1/access-requests", body(serial)), rita.ask("POST", "/api/v1/access-requests", body("ds-0000"))
	if taken != free || !strings.HasPrefix(taken, "202 ") {
		t.Errorf("a device that there is: %s, one that there is not: %s", taken, free)
	}
	if e, ok := events.next(); !ok || e.name != "access_requested" {
		t.Fatalf("the owner is told %+v, %v", e, ok)
	}
	list := owner.accessRequests()
	if len(list.Items) != 1 || list.Items[0].Message != "Flat 3" || list.Items[0].From.Email != rita.login || list.Items[0].Device.ID != device.ID || list.Items[0].Device.Name != "Yard" {
		t.Fatalf("requests: %+v", list)
	}
	if err := rita.requestAccess(serial, "Again"); err != nil {
		t.Fatal(err)
	}
	if err := sam.requestAccess(serial, ""); err != nil {
		t.Fatal(err)
	}
	if list = owner.accessRequests(); len(list.Items) != 2 || list.Items[0].From.Email != sam.login || list.Items[1].Message != "Flat 3" {
		t.Fatalf("requests: %+v", list)
	}
	if n := len(rita.accessRequests().Items); n != 0 {
		t.Errorf("who asks sees %d requests", n)
	}
	if err := rita.call("POST", "/access-requests/"+list.Items[0].ID+"/dismiss", nil, nil); !hasCode(err, "access_request_not_found") {
		t.Errorf("another dismisses it: %v", err)
	}
	for range 2 {
		owner.must("POST", "/access-requests/"+list.Items[0].ID+"/dismiss", nil, nil)
	}
	if err := sam.requestAccess(serial, "Please"); err != nil {
		t.Fatal(err)
	}
	if list = owner.accessRequests(); len(list.Items) != 1 || list.Items[0].From.Email != rita.login {
		t.Fatalf("after one was dismissed: %+v", list)
	}
	share := owner.share(rita, device.ID, "live_view")
	if list = owner.accessRequests(); len(list.Items) != 0 {
		t.Errorf("after it was answered: %+v", list)
	}
	rita.accept(share, device.ID)
	if list = owner.accessRequests(); len(list.Items) != 0 {
		t.Errorf("after the share was accepted: %+v", list)
	}
	if err := owner.requestAccess(serial, ""); !hasCode(err, "device_already_added") {
		t.Errorf("access to one's own: %v", err)
	}
	if err := rita.requestAccess("a b", ""); !hasCode(err, "invalid_body") {
		t.Errorf("what is no serial: %v", err)
	}
	if err := rita.requestAccess(serial, strings.Repeat("x", 501)); !hasCode(err, "invalid_body") {
		t.Errorf("a long message: %v", err)
	}
}

// TestARequestEndsWithItsDevice: what was asked of one owner the next one does not see,
// and can be asked again.
func TestARequestEndsWithItsDevice(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir())
	first, second, rita := s.register(t, "first"), s.register(t, "second"), s.register(t, "rita")
	add := map[string]any{"name": "Yard", "serial": "ds-1", "rtsp_url": "rtsp://127.0.0.1:1/h264"}
	ask := func() {
		t.Helper()
		if err := rita.requestAccess("ds-1", "Flat 3"); err != nil {
			t.Fatal(err)
		}
	}
	seen := func(u *user, want int) string {
		t.Helper()
		list := u.accessRequests()
		if len(list.Items) != want {
			t.Fatalf("%+v; want %d", list, want)
		}
		if want == 0 {
			return ""
		}
		return list.Items[0].ID
	}
	ask() // nobody has it
	first.must("POST", "/devices", add, nil)
	seen(first, 0)
	ask()
	id := seen(first, 1)
	first.must("DELETE", "/devices/ds-1", nil, nil)
	seen(first, 0)
	second.must("POST", "/devices", add, nil)
	seen(second, 0)
	for _, u := range []*user{first, second} {
		if err := u.call("POST", "/access-requests/"+id+"/dismiss", nil, nil); !hasCode(err, "access_request_not_found") {
			t.Errorf("a request of the time before is dismissed: %v", err)
		}
	}
	ask()
	seen(first, 0)
	seen(second, 1)
	rita.must("DELETE", "/accounts/me", map[string]any{"password": userPassword}, nil)
	seen(second, 0)
}

// TestWhoAsksIsProven: the owner is shown an address that was verified.
func TestWhoAsksIsProven(t *testing.T) {
	t.Parallel()
	mail := mailtest.Start(t)
	s := verifying(t, t.TempDir(), mail)
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	if err := rita.requestAccess(device, ""); !hasCode(err, "address_not_verified") {
		t.Fatalf("without a proven address: %v", err)
	}
	if err := rita.verify(rita.addresses().Items[0].ID, codeFor(t, mail, rita.login, 1)); err != nil {
		t.Fatal(err)
	}
	if err := rita.requestAccess(device, ""); err != nil {
		t.Fatal(err)
	}
	if list := owner.accessRequests(); len(list.Items) != 1 {
		t.Errorf("%+v", list)
	}
}
